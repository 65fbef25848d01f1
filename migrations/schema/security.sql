-- Schema security as the migrations leave it. Generated (plinth schema dump): read it, do not edit it.

create schema security;
comment on schema security is 'Append-only records of sign-ins and security events, and the rules for them.';
grant usage on schema security to :PLINTH_ANONYMOUS, :PLINTH_SERVICE, :PLINTH_USER;

-- Tables ----------------------------------------------------------------------------------------------

-- One row per changed row of the audited tables; partitioned by month of created_at. Secrets are never stored in it.
create table security.audit_trail (
  id uuid not null default plinth.uuid_v7(),
  table_name text not null,
  operation text not null,
  row_key jsonb not null,
  user_id uuid,
  actor_id uuid,
  changed_columns text[],
  old_values jsonb,
  new_values jsonb,
  transaction_number bigint not null,
  source text not null,
  correlation_id text,
  ip_address inet,
  created_at timestamp with time zone not null default now(),
  constraint audit_trail_pkey primary key (id, created_at),
  constraint audit_trail_delete_has_no_new_values check (operation <> 'DELETE'::text or new_values is null),
  constraint audit_trail_insert_has_no_old_values check (operation <> 'INSERT'::text or old_values is null),
  constraint audit_trail_operation_check check (operation = any (array['INSERT'::text, 'UPDATE'::text, 'DELETE'::text])),
  constraint audit_trail_row_key_is_an_object check (jsonb_typeof(row_key) = 'object'::text),
  constraint audit_trail_update_names_columns check ((operation = 'UPDATE'::text) = (changed_columns is not null)),
  constraint audit_trail_actor_id_fkey foreign key (actor_id) references identity.users(id) on delete set null,
  constraint audit_trail_user_id_fkey foreign key (user_id) references identity.users(id) on delete set null
) partition by range (created_at);

alter table security.audit_trail enable row level security;

create index audit_trail_actor_id_created_at_idx on security.audit_trail using btree (actor_id, created_at);
create index audit_trail_correlation_id_idx on security.audit_trail using btree (correlation_id);
create index audit_trail_table_name_created_at_idx on security.audit_trail using btree (table_name, created_at);
create index audit_trail_user_id_created_at_idx on security.audit_trail using btree (user_id, created_at);

comment on table security.audit_trail is 'One row per changed row of the audited tables; partitioned by month of created_at. Secrets are never stored in it.';
comment on column security.audit_trail.id is 'Id (UUIDv7).';
comment on column security.audit_trail.table_name is 'Schema and name of the table.';
comment on column security.audit_trail.operation is 'Operation: INSERT, UPDATE or DELETE.';
comment on column security.audit_trail.row_key is 'Primary key of the row (JSON object).';
comment on column security.audit_trail.user_id is 'The account concerned; null if there is none or it was deleted.';
comment on column security.audit_trail.actor_id is 'The account that acted; null for visitors, jobs and psql.';
comment on column security.audit_trail.changed_columns is 'Columns changed by an update, including columns whose values are not stored.';
comment on column security.audit_trail.old_values is 'Values before the change (JSON object), for an update only the changed ones; null if the account was deleted.';
comment on column security.audit_trail.new_values is 'Values after the change (JSON object), for an update only the changed ones; null if the account was deleted.';
comment on column security.audit_trail.transaction_number is 'Number of the transaction; changes made together share it.';
comment on column security.audit_trail.source is 'Database role that made the change.';
comment on column security.audit_trail.correlation_id is 'Id of the API request, also in its log.';
comment on column security.audit_trail.ip_address is 'IP address of the client; null if the account that acted was deleted.';
comment on column security.audit_trail.created_at is 'Time of the transaction; the partition key.';
comment on constraint audit_trail_operation_check on security.audit_trail is E'Operation on a row.\nINSERT: The row was created.\nUPDATE: The row was changed.\nDELETE: The row was deleted.';

create policy select_auditor on security.audit_trail
  for select to :PLINTH_USER
  using ((select access.has_permission('view_audit_log'::text)));
comment on policy select_auditor on security.audit_trail is 'Users with view_audit_log read all changes.';
create policy select_own on security.audit_trail
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()) and (actor_id = (select plinth.current_user_id()) or ip_address is null));
comment on policy select_own on security.audit_trail is 'Users read the changes of their own rows that they made themselves, and those without an address.';

grant select on security.audit_trail to :PLINTH_USER;

-- One row per unexpected error; partitioned by month of created_at, kept for 90 days.
create table security.error_logs (
  id uuid not null,
  user_id uuid,
  message text not null,
  error_code text not null,
  stack_fingerprint text,
  context jsonb not null default '{}'::jsonb,
  correlation_id text,
  source text not null,
  created_at timestamp with time zone not null default now(),
  constraint error_logs_pkey primary key (id, created_at),
  constraint error_logs_context_is_an_object check (jsonb_typeof(context) = 'object'::text),
  constraint error_logs_error_code_check check (length(error_code) >= 1 and length(error_code) <= 100),
  constraint error_logs_message_check check (length(message) <= 1000),
  constraint error_logs_stack_fingerprint_check check (stack_fingerprint ~ '^[0-9a-f]{16}$'::text),
  constraint error_logs_user_id_fkey foreign key (user_id) references identity.users(id) on delete set null
) partition by range (created_at);

alter table security.error_logs enable row level security;

create index error_logs_correlation_id_idx on security.error_logs using btree (correlation_id);
create index error_logs_created_at_idx on security.error_logs using btree (created_at);
create index error_logs_stack_fingerprint_created_at_idx on security.error_logs using btree (stack_fingerprint, created_at);
create index error_logs_user_id_created_at_idx on security.error_logs using btree (user_id, created_at);

comment on table security.error_logs is 'One row per unexpected error; partitioned by month of created_at, kept for 90 days.';
comment on column security.error_logs.id is 'Id (UUIDv7); the errorId that the client received, also in the API''s log.';
comment on column security.error_logs.user_id is 'The caller; null for visitors and deleted accounts.';
comment on column security.error_logs.message is 'Message of the error without quoted values; empty if the account was deleted.';
comment on column security.error_logs.error_code is 'SQLSTATE, system error code, or class of the error.';
comment on column security.error_logs.stack_fingerprint is 'Fingerprint of the error''s location, 16 hexadecimal digits; errors from the same place share it.';
comment on column security.error_logs.context is 'Location of the error (JSON object): GraphQL path, table, constraint. No values.';
comment on column security.error_logs.correlation_id is 'Id of the API request, also in its log.';
comment on column security.error_logs.source is 'Database role that reported the error.';
comment on column security.error_logs.created_at is 'Time of the error; the partition key.';

create policy select_auditor on security.error_logs
  for select to :PLINTH_USER
  using ((select access.has_permission('view_audit_log'::text)));
comment on policy select_auditor on security.error_logs is 'Users with view_audit_log read all errors.';

grant select on security.error_logs to :PLINTH_USER;

-- One row per sign-in attempt; partitioned by month of created_at.
create table security.login_attempts (
  id uuid not null default plinth.uuid_v7(),
  user_id uuid,
  email text,
  ip_address inet,
  user_agent text,
  status text not null,
  failure_reason text,
  correlation_id text,
  created_at timestamp with time zone not null default now(),
  constraint login_attempts_pkey primary key (id, created_at),
  constraint login_attempts_status_check check (status = any (array['success'::text, 'failed'::text, 'locked'::text, 'challenged'::text])),
  constraint login_attempts_success_has_no_failure_reason check (status <> 'success'::text or failure_reason is null),
  constraint login_attempts_user_id_fkey foreign key (user_id) references identity.users(id) on delete set null
) partition by range (created_at);

alter table security.login_attempts enable row level security;

create index login_attempts_created_at_idx on security.login_attempts using btree (created_at);
create index login_attempts_email_idx on security.login_attempts using btree (email) where ((user_id is null) and (email is not null));
create index login_attempts_ip_address_created_at_idx on security.login_attempts using btree (ip_address, created_at);
create index login_attempts_status_created_at_idx on security.login_attempts using btree (status, created_at);
create index login_attempts_user_id_created_at_idx on security.login_attempts using btree (user_id, created_at);

comment on table security.login_attempts is 'One row per sign-in attempt; partitioned by month of created_at.';
comment on column security.login_attempts.id is 'Id (UUIDv7).';
comment on column security.login_attempts.user_id is 'The account tried; null if there is none or it was deleted.';
comment on column security.login_attempts.email is 'Username or address as entered, lower case. For a name without an account, which may be a password, the start of its SHA-256.';
comment on column security.login_attempts.ip_address is 'IP address of the client; null if the account was deleted.';
comment on column security.login_attempts.user_agent is 'User-Agent header of the client; null if the account was deleted.';
comment on column security.login_attempts.status is 'Result: success, failed, locked (rejected unchecked because the account was locked) or challenged (correct so far; a second factor is required).';
comment on column security.login_attempts.failure_reason is 'Reason for the failure: unknown_account, wrong_password, account_locked, account_disabled, network_not_allowed, challenge_expired, wrong_code, code_reused, second_factor_locked, wrong_passkey or passkey_cloned; null on success.';
comment on column security.login_attempts.correlation_id is 'Id of the API request, also in its log.';
comment on column security.login_attempts.created_at is 'Time of the attempt; the partition key.';
comment on constraint login_attempts_status_check on security.login_attempts is E'Result of a sign-in attempt.\nsuccess: Signed in.\nfailed: Rejected.\nlocked: Rejected unchecked because the account was locked.\nchallenged: Correct so far; a second factor is required.';

create policy select_auditor on security.login_attempts
  for select to :PLINTH_USER
  using ((select access.has_permission('view_audit_log'::text)));
comment on policy select_auditor on security.login_attempts is 'Users with view_audit_log read all attempts.';
create policy select_own on security.login_attempts
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on security.login_attempts is 'Users read the attempts on their own account.';

grant select on security.login_attempts to :PLINTH_USER;

-- One row per key, algorithm and window with a count; a token bucket has one row while it is not full.
create table security.rate_limit_records (
  id uuid not null default plinth.uuid_v7(),
  key_hash bytea not null,
  algorithm text not null,
  window_start timestamp with time zone not null,
  window_end timestamp with time zone not null,
  request_count bigint not null,
  tokens_used numeric,
  limit_value integer not null,
  metadata jsonb not null default '{}'::jsonb,
  created_at timestamp with time zone not null default now(),
  updated_at timestamp with time zone not null default now(),
  constraint rate_limit_records_pkey primary key (id),
  constraint rate_limit_records_key_hash_algorithm_window_start_key unique (key_hash, algorithm, window_start),
  constraint rate_limit_records_algorithm_check check (algorithm = any (array['fixed_window'::text, 'sliding_window'::text, 'token_bucket'::text])),
  constraint rate_limit_records_key_hash_is_a_sha256 check (octet_length(key_hash) = 32),
  constraint rate_limit_records_limit_value_is_positive check (limit_value > 0),
  constraint rate_limit_records_metadata_is_an_object check (jsonb_typeof(metadata) = 'object'::text),
  constraint rate_limit_records_request_count_is_positive check (request_count > 0),
  constraint rate_limit_records_tokens_used_are_whole check (tokens_used < '100000000000000000000000000000000000000'::numeric and tokens_used = round(tokens_used)),
  constraint rate_limit_records_tokens_used_belongs_to_a_bucket check ((algorithm = 'token_bucket'::text) = (tokens_used is not null) and tokens_used >= 0::numeric),
  constraint rate_limit_records_window_end_after_window_start check (window_end > window_start)
) with (fillfactor=70);

alter table security.rate_limit_records enable row level security;

create index rate_limit_records_window_end_idx on security.rate_limit_records using btree (window_end);

create trigger _900_touch_updated_at
  before update on security.rate_limit_records
  for each row
  execute function plinth.touch_updated_at();

comment on table security.rate_limit_records is 'One row per key, algorithm and window with a count; a token bucket has one row while it is not full.';
comment on column security.rate_limit_records.id is 'Id (UUIDv7).';
comment on column security.rate_limit_records.key_hash is 'SHA-256 of the window''s length in microseconds, a colon and the key.';
comment on column security.rate_limit_records.algorithm is 'Algorithm: fixed_window, sliding_window or token_bucket.';
comment on column security.rate_limit_records.window_start is 'Start of the window; for a bucket, the time of the last take.';
comment on column security.rate_limit_records.window_end is 'End of the window; for a bucket, the time when it will be full again.';
comment on column security.rate_limit_records.request_count is 'Number of requests in the window; for a bucket, tokens missing at window_start, rounded up.';
comment on column security.rate_limit_records.tokens_used is 'For a bucket: tokens missing at window_start, times microseconds of the window. A whole number, so that refilling never drifts.';
comment on column security.rate_limit_records.limit_value is 'Limit at the last counted call.';
comment on column security.rate_limit_records.metadata is 'Name of the rule, if any (JSON object).';
comment on column security.rate_limit_records.created_at is 'Time when the row was created.';
comment on column security.rate_limit_records.updated_at is 'Time of the last change.';
comment on constraint rate_limit_records_algorithm_check on security.rate_limit_records is E'@name rate_limit_algorithm\nAlgorithm of a rate limit.\nfixed_window: Counts requests in fixed windows.\nsliding_window: Counts requests in a window that ends now.\ntoken_bucket: Refills a bucket of tokens at a steady rate.';

-- One row per named rate limit of the product.
create table security.rate_limit_rules (
  rule_name text not null,
  algorithm text not null,
  limit_value integer not null,
  window_length interval not null,
  is_enabled boolean not null default true,
  description text not null,
  created_at timestamp with time zone not null default now(),
  updated_at timestamp with time zone not null default now(),
  constraint rate_limit_rules_pkey primary key (rule_name),
  constraint rate_limit_rules_algorithm_check check (algorithm = any (array['fixed_window'::text, 'sliding_window'::text, 'token_bucket'::text])),
  constraint rate_limit_rules_limit_value_check check (limit_value >= 1 and limit_value <= 1000000000),
  constraint rate_limit_rules_rule_name_check check (rule_name ~ '^[a-z][a-z0-9_]{0,99}$'::text),
  constraint rate_limit_rules_window_length_check check (window_length >= '00:00:01'::interval and window_length <= '366 days'::interval)
);

alter table security.rate_limit_rules enable row level security;

create trigger _700_record_data_change
  after insert or delete or update on security.rate_limit_rules
  for each row
  execute function private.record_data_change('rule_name', '', 'updated_at', '');
create trigger _900_touch_updated_at
  before update on security.rate_limit_rules
  for each row
  execute function plinth.touch_updated_at();

comment on table security.rate_limit_rules is 'One row per named rate limit of the product.';
comment on column security.rate_limit_rules.rule_name is 'Unique name, such as login_per_address.';
comment on column security.rate_limit_rules.algorithm is 'Algorithm: fixed_window, sliding_window or token_bucket.';
comment on column security.rate_limit_rules.limit_value is 'Number of requests allowed per window.';
comment on column security.rate_limit_rules.window_length is 'Length of the window.';
comment on column security.rate_limit_rules.is_enabled is 'Whether the rule applies; a disabled rule allows everything.';
comment on column security.rate_limit_rules.description is 'Description of what is limited, and the reason for the number.';
comment on column security.rate_limit_rules.created_at is 'Time when the rule was created.';
comment on column security.rate_limit_rules.updated_at is 'Time of the last change.';
comment on constraint rate_limit_rules_algorithm_check on security.rate_limit_rules is E'@name rate_limit_algorithm\nAlgorithm of a rate limit.\nfixed_window: Counts requests in fixed windows.\nsliding_window: Counts requests in a window that ends now.\ntoken_bucket: Refills a bucket of tokens at a steady rate.';

create policy select_permitted on security.rate_limit_rules
  for select to :PLINTH_USER
  using ((select access.has_permission('manage_security'::text)) or (select access.has_permission('view_audit_log'::text)));
comment on policy select_permitted on security.rate_limit_rules is 'Users with manage_security or view_audit_log read the limits.';
create policy update_manager on security.rate_limit_rules
  for update to :PLINTH_USER
  using ((select access.has_permission('manage_security'::text)))
  with check ((select access.has_permission('manage_security'::text)));
comment on policy update_manager on security.rate_limit_rules is 'Users with manage_security change the limits.';

grant
  select,
  update (algorithm, limit_value, window_length, is_enabled)
  on security.rate_limit_rules to :PLINTH_USER;

-- One row per security event; partitioned by month of created_at.
create table security.security_audit_log (
  id uuid not null default plinth.uuid_v7(),
  user_id uuid,
  actor_id uuid,
  event_type text not null,
  event_data jsonb not null default '{}'::jsonb,
  severity text not null default 'info'::text,
  source text,
  ip_address inet,
  user_agent text,
  correlation_id text,
  metadata jsonb not null default '{}'::jsonb,
  created_at timestamp with time zone not null default now(),
  constraint security_audit_log_pkey primary key (id, created_at),
  constraint security_audit_log_event_data_is_an_object check (jsonb_typeof(event_data) = 'object'::text),
  constraint security_audit_log_event_type_check check (event_type ~ '^[a-z][a-z0-9_]{0,99}$'::text),
  constraint security_audit_log_metadata_is_an_object check (jsonb_typeof(metadata) = 'object'::text),
  constraint security_audit_log_severity_check check (severity = any (array['debug'::text, 'info'::text, 'warning'::text, 'error'::text, 'critical'::text])),
  constraint security_audit_log_actor_id_fkey foreign key (actor_id) references identity.users(id) on delete set null,
  constraint security_audit_log_user_id_fkey foreign key (user_id) references identity.users(id) on delete set null
) partition by range (created_at);

alter table security.security_audit_log enable row level security;

create index security_audit_log_actor_id_created_at_idx on security.security_audit_log using btree (actor_id, created_at);
create index security_audit_log_correlation_id_idx on security.security_audit_log using btree (correlation_id);
create index security_audit_log_created_at_idx on security.security_audit_log using btree (created_at);
create index security_audit_log_event_type_created_at_idx on security.security_audit_log using btree (event_type, created_at);
create index security_audit_log_severity_created_at_idx on security.security_audit_log using btree (severity, created_at);
create index security_audit_log_user_id_created_at_idx on security.security_audit_log using btree (user_id, created_at);

comment on table security.security_audit_log is 'One row per security event; partitioned by month of created_at.';
comment on column security.security_audit_log.id is 'Id (UUIDv7).';
comment on column security.security_audit_log.user_id is 'The account concerned; null if there is none or it was deleted.';
comment on column security.security_audit_log.actor_id is 'The account that acted; null for visitors, jobs and psql.';
comment on column security.security_audit_log.event_type is 'Type of event, such as login_succeeded or role_granted.';
comment on column security.security_audit_log.event_data is 'Details of the event without secrets (JSON object).';
comment on column security.security_audit_log.severity is 'Severity: debug, info, warning, error or critical.';
comment on column security.security_audit_log.source is 'Database role that caused the event.';
comment on column security.security_audit_log.ip_address is 'IP address of the client; null if the account that acted was deleted.';
comment on column security.security_audit_log.user_agent is 'User-Agent header of the client; null if the account was deleted.';
comment on column security.security_audit_log.correlation_id is 'Id of the API request, also in its log.';
comment on column security.security_audit_log.metadata is 'Data added by the application (JSON object).';
comment on column security.security_audit_log.created_at is 'Time of the event; the partition key.';
comment on constraint security_audit_log_severity_check on security.security_audit_log is E'@name security_event_severity\nSeverity of a security event.\ndebug: Of use for debugging only.\ninfo: Expected.\nwarning: Unusual.\nerror: A failure or an attack that was stopped.\ncritical: Needs attention at once.';

create policy select_auditor on security.security_audit_log
  for select to :PLINTH_USER
  using ((select access.has_permission('view_audit_log'::text)));
comment on policy select_auditor on security.security_audit_log is 'Users with view_audit_log read all events.';
create policy select_own on security.security_audit_log
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()) and (actor_id is null or actor_id = (select plinth.current_user_id()) or ip_address is null));
comment on policy select_own on security.security_audit_log is 'Users read the events of their own account, except those that another user caused from an address.';

grant select on security.security_audit_log to :PLINTH_USER;

-- One row per rule for suspicious activity.
create table security.suspicious_activity_rules (
  rule_name text not null,
  description text not null,
  threshold integer not null,
  window_length interval not null,
  severity text not null,
  is_enabled boolean not null default true,
  created_at timestamp with time zone not null default now(),
  updated_at timestamp with time zone not null default now(),
  constraint suspicious_activity_rules_pkey primary key (rule_name),
  constraint suspicious_activity_rules_rule_name_check check (rule_name ~ '^[a-z][a-z0-9_]{0,99}$'::text),
  constraint suspicious_activity_rules_severity_check check (severity = any (array['warning'::text, 'error'::text, 'critical'::text])),
  constraint suspicious_activity_rules_threshold_check check (threshold >= 1 and threshold <= 1000000),
  constraint suspicious_activity_rules_window_length_check check (window_length >= '00:01:00'::interval and window_length <= '1 day'::interval)
);

alter table security.suspicious_activity_rules enable row level security;

create trigger _700_record_data_change
  after insert or delete or update on security.suspicious_activity_rules
  for each row
  execute function private.record_data_change('rule_name', '', 'updated_at', '');
create trigger _900_touch_updated_at
  before update on security.suspicious_activity_rules
  for each row
  execute function plinth.touch_updated_at();

comment on table security.suspicious_activity_rules is 'One row per rule for suspicious activity.';
comment on column security.suspicious_activity_rules.rule_name is 'Unique name, also recorded in the events that the rule causes.';
comment on column security.suspicious_activity_rules.description is 'Description of what is counted, and for whom.';
comment on column security.suspicious_activity_rules.threshold is 'Number of events in the window from which they are suspicious.';
comment on column security.suspicious_activity_rules.window_length is 'Length of the window; a subject is reported once per window.';
comment on column security.suspicious_activity_rules.severity is 'Severity of the event: warning, error or critical.';
comment on column security.suspicious_activity_rules.is_enabled is 'Whether the rule applies; a disabled rule finds nothing.';
comment on column security.suspicious_activity_rules.created_at is 'Time when the rule was created.';
comment on column security.suspicious_activity_rules.updated_at is 'Time of the last change.';
comment on constraint suspicious_activity_rules_severity_check on security.suspicious_activity_rules is E'Severity of the events that a rule records.\nwarning: Unusual.\nerror: A failure or an attack that was stopped.\ncritical: Needs attention at once.';

create policy select_permitted on security.suspicious_activity_rules
  for select to :PLINTH_USER
  using ((select access.has_permission('manage_security'::text)) or (select access.has_permission('view_audit_log'::text)));
comment on policy select_permitted on security.suspicious_activity_rules is 'Users with manage_security or view_audit_log read the rules for suspicious activity.';
create policy update_manager on security.suspicious_activity_rules
  for update to :PLINTH_USER
  using ((select access.has_permission('manage_security'::text)))
  with check ((select access.has_permission('manage_security'::text)));
comment on policy update_manager on security.suspicious_activity_rules is 'Users with manage_security change the rules for suspicious activity.';

grant
  select,
  update (threshold, window_length, severity, is_enabled)
  on security.suspicious_activity_rules to :PLINTH_USER;

-- Functions -------------------------------------------------------------------------------------------

-- Counts a call against a limit (fixed_window, sliding_window or token_bucket) or rejects it; exact under concurrent calls. remaining: calls left; retry_after: when this call could pass; reset_at: when no past call counts any more. PL422 for bad arguments.
create or replace function security.consume_rate_limit(key text, algorithm text, limit_value integer, window_length interval, cost integer default 1)
  returns table(allowed boolean, remaining integer, retry_after interval, reset_at timestamp with time zone)
  language sql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/security/functions/consume_rate_limit.sql

comment on function security.consume_rate_limit(key text, algorithm text, limit_value integer, window_length interval, cost integer) is 'Counts a call against a limit (fixed_window, sliding_window or token_bucket) or rejects it; exact under concurrent calls. remaining: calls left; retry_after: when this call could pass; reset_at: when no past call counts any more. PL422 for bad arguments.';
revoke execute on function security.consume_rate_limit(key text, algorithm text, limit_value integer, window_length interval, cost integer) from public;

-- Returns a client's address as text, without a port, brackets or a zone; null if the text is not an address.
create or replace function security.read_client_address(address text)
  returns inet
  language plpgsql
  immutable
  set search_path to 'pg_catalog'; -- fixtures/security/functions/read_client_address.sql

comment on function security.read_client_address(address text) is E'@behavior -*\nReturns a client''s address as text, without a port, brackets or a zone; null if the text is not an address.';
revoke execute on function security.read_client_address(address text) from public;

-- Records a sign-in attempt, counts failures and locks or clears the account; returns the attempt's id.
create or replace function security.track_login_attempt(user_id uuid, email text, ip_address inet, user_agent text, status text, failure_reason text)
  returns uuid
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/security/functions/track_login_attempt.sql

comment on function security.track_login_attempt(user_id uuid, email text, ip_address inet, user_agent text, status text, failure_reason text) is 'Records a sign-in attempt, counts failures and locks or clears the account; returns the attempt''s id.';
revoke execute on function security.track_login_attempt(user_id uuid, email text, ip_address inet, user_agent text, status text, failure_reason text) from public;
grant execute on function security.track_login_attempt(user_id uuid, email text, ip_address inet, user_agent text, status text, failure_reason text) to :PLINTH_SERVICE;

-- Records a sign-in attempt from an address given as text; see track_login_attempt(uuid, text, inet, text, text, text).
create or replace function security.track_login_attempt(user_id uuid, email text, ip_address text, user_agent text, status text, failure_reason text)
  returns uuid
  language sql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/security/functions/track_login_attempt.sql

comment on function security.track_login_attempt(user_id uuid, email text, ip_address text, user_agent text, status text, failure_reason text) is 'Records a sign-in attempt from an address given as text; see track_login_attempt(uuid, text, inet, text, text, text).';
revoke execute on function security.track_login_attempt(user_id uuid, email text, ip_address text, user_agent text, status text, failure_reason text) from public;
grant execute on function security.track_login_attempt(user_id uuid, email text, ip_address text, user_agent text, status text, failure_reason text) to :PLINTH_SERVICE;
