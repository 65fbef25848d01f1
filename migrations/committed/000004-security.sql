--! Previous: sha1:4ba9abfd5043693cf59461e34005b110602fb1b9
--! Hash: sha1:92a0d0a1195f324ff7b6b1ef1d12ee02ca0e726e
--! Message: security

-- Sign-in attempts, security events, changes, errors and rate limits. The logs are append-only for every role but the owner, and
-- partitioned by month: detaching a partition removes an old month.

-- Function bodies are checked on first use, so a function may precede the objects that it uses.
set local check_function_bodies = off;

-- Every attempt to sign in, successful or not. The address is stored as typed and may belong to no account.
create table security.login_attempts (
  id uuid not null default plinth.uuid_v7(),
  user_id uuid references identity.users on delete set null,
  email text,
  ip_address inet,
  user_agent text,
  status text not null,
  failure_reason text,
  correlation_id text,
  created_at timestamptz not null default now(),
  primary key (id, created_at),
  constraint login_attempts_success_has_no_failure_reason check (status <> 'success' or failure_reason is null),
  constraint login_attempts_status_check check (status in ('success', 'failed', 'locked', 'challenged'))
) partition by range (created_at);

alter table security.login_attempts enable row level security;

-- One account's attempts by time; also serves the foreign key.
create index login_attempts_user_id_created_at_idx on security.login_attempts (user_id, created_at);
-- Attempts on many accounts from one address.
create index login_attempts_ip_address_created_at_idx on security.login_attempts (ip_address, created_at);
-- Number of failed attempts in the last hour.
create index login_attempts_status_created_at_idx on security.login_attempts (status, created_at);
-- Finds attempts on the name of a deleted account from before the account existed.
create index login_attempts_email_idx on security.login_attempts (email) where user_id is null and email is not null;

comment on table security.login_attempts is 'One row per sign-in attempt; partitioned by month of created_at.';
comment on column security.login_attempts.id is 'Id (UUIDv7).';
comment on column security.login_attempts.user_id is 'The account tried; null if there is none or it was deleted.';
comment on column security.login_attempts.email is
  'Username or address as entered, lower case. For a name without an account, which may be a password, the start of its SHA-256.';
comment on column security.login_attempts.ip_address is 'IP address of the client; null if the account was deleted.';
comment on column security.login_attempts.user_agent is 'User-Agent header of the client; null if the account was deleted.';
comment on column security.login_attempts.status is
  'Result: success, failed, locked (rejected unchecked because the account was locked) or challenged (correct so far; '
  'a second factor is required).';
comment on column security.login_attempts.failure_reason is
  'Reason for the failure: unknown_account, wrong_password, account_locked, account_disabled, network_not_allowed, '
  'challenge_expired, wrong_code, code_reused, second_factor_locked, wrong_passkey or passkey_cloned; null on success.';
comment on column security.login_attempts.correlation_id is 'Id of the API request, also in its log.';
comment on column security.login_attempts.created_at is 'Time of the attempt; the partition key.';

-- Every security event: the actor, the action, the account concerned and the origin.
create table security.security_audit_log (
  id uuid not null default plinth.uuid_v7(),
  user_id uuid references identity.users on delete set null,
  actor_id uuid references identity.users on delete set null,
  event_type text not null,
  event_data jsonb not null default '{}',
  severity text not null default 'info',
  source text,
  ip_address inet,
  user_agent text,
  correlation_id text,
  metadata jsonb not null default '{}',
  created_at timestamptz not null default now(),
  primary key (id, created_at),
  constraint security_audit_log_event_type_check check (event_type ~ '^[a-z][a-z0-9_]{0,99}$'),
  constraint security_audit_log_severity_check check (severity in ('debug', 'info', 'warning', 'error', 'critical')),
  constraint security_audit_log_event_data_is_an_object check (jsonb_typeof(event_data) = 'object'),
  constraint security_audit_log_metadata_is_an_object check (jsonb_typeof(metadata) = 'object')
) partition by range (created_at);

alter table security.security_audit_log enable row level security;

-- One account's events by time; also serves the foreign key.
create index security_audit_log_user_id_created_at_idx on security.security_audit_log (user_id, created_at);
-- Serves the foreign key: few events have an actor other than the account itself, but each delete checks it.
create index security_audit_log_actor_id_created_at_idx on security.security_audit_log (actor_id, created_at);
create index security_audit_log_event_type_created_at_idx on security.security_audit_log (event_type, created_at);
create index security_audit_log_severity_created_at_idx on security.security_audit_log (severity, created_at);
-- Finds the events of a line in the API's log.
create index security_audit_log_correlation_id_idx on security.security_audit_log (correlation_id);

comment on table security.security_audit_log is 'One row per security event; partitioned by month of created_at.';
comment on column security.security_audit_log.id is 'Id (UUIDv7).';
comment on column security.security_audit_log.user_id is 'The account concerned; null if there is none or it was deleted.';
comment on column security.security_audit_log.actor_id is 'The account that acted; null for visitors, jobs and psql.';
comment on column security.security_audit_log.event_type is 'Type of event, such as login_succeeded or role_granted.';
comment on column security.security_audit_log.event_data is 'Details of the event without secrets (JSON object).';
comment on column security.security_audit_log.severity is 'Severity: debug, info, warning, error or critical.';
comment on column security.security_audit_log.source is 'Database role that caused the event.';
comment on column security.security_audit_log.ip_address is
  'IP address of the client; null if the account that acted was deleted.';
comment on column security.security_audit_log.user_agent is 'User-Agent header of the client; null if the account was deleted.';
comment on column security.security_audit_log.correlation_id is 'Id of the API request, also in its log.';
comment on column security.security_audit_log.metadata is 'Data added by the application (JSON object).';
comment on column security.security_audit_log.created_at is 'Time of the event; the partition key.';

-- Limits by name. Their numbers are data, so that they can be tuned without a release.
create table security.rate_limit_rules (
  rule_name text primary key,
  algorithm text not null,
  limit_value integer not null,
  window_length interval not null,
  is_enabled boolean not null default true,
  description text not null,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint rate_limit_rules_rule_name_check check (rule_name ~ '^[a-z][a-z0-9_]{0,99}$'),
  constraint rate_limit_rules_algorithm_check check (algorithm in ('fixed_window', 'sliding_window', 'token_bucket')),
  constraint rate_limit_rules_limit_value_check check (limit_value between 1 and 1000000000),
  constraint rate_limit_rules_window_length_check
    check (window_length between interval '1 second' and interval '366 days')
);

alter table security.rate_limit_rules enable row level security;

comment on table security.rate_limit_rules is 'One row per named rate limit of the product.';
comment on column security.rate_limit_rules.rule_name is 'Unique name, such as login_per_address.';
comment on column security.rate_limit_rules.algorithm is 'Algorithm: fixed_window, sliding_window or token_bucket.';
comment on column security.rate_limit_rules.limit_value is 'Number of requests allowed per window.';
comment on column security.rate_limit_rules.window_length is 'Length of the window.';
comment on column security.rate_limit_rules.is_enabled is 'Whether the rule applies; a disabled rule allows everything.';
comment on column security.rate_limit_rules.description is 'Description of what is limited, and the reason for the number.';
comment on column security.rate_limit_rules.created_at is 'Time when the rule was created.';
comment on column security.rate_limit_rules.updated_at is 'Time of the last change.';

-- A key is an address or an account, so only its SHA-256 is stored. The hash is no secret (IPv4 addresses are few enough to try),
-- but the table is not a list of visitors. Not unlogged: a crash empties unlogged tables and a standby lacks them, so crashing
-- the server would reset the limits.
create table security.rate_limit_records (
  id uuid primary key default plinth.uuid_v7(),
  key_hash bytea not null,
  algorithm text not null,
  window_start timestamptz not null,
  window_end timestamptz not null,
  request_count bigint not null,
  tokens_used numeric,
  limit_value integer not null,
  metadata jsonb not null default '{}',
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint rate_limit_records_key_hash_algorithm_window_start_key unique (key_hash, algorithm, window_start),
  constraint rate_limit_records_key_hash_is_a_sha256 check (octet_length(key_hash) = 32),
  constraint rate_limit_records_algorithm_check check (algorithm in ('fixed_window', 'sliding_window', 'token_bucket')),
  constraint rate_limit_records_window_end_after_window_start check (window_end > window_start),
  constraint rate_limit_records_request_count_is_positive check (request_count > 0),
  constraint rate_limit_records_limit_value_is_positive check (limit_value > 0),
  constraint rate_limit_records_tokens_used_belongs_to_a_bucket
    check ((algorithm = 'token_bucket') = (tokens_used is not null) and tokens_used >= 0),
  constraint rate_limit_records_metadata_is_an_object check (jsonb_typeof(metadata) = 'object'),
  constraint rate_limit_records_tokens_used_are_whole check (tokens_used < 1e38 and tokens_used = round(tokens_used))
) with (fillfactor = 70);

alter table security.rate_limit_records enable row level security;

-- Serves the cleanup job: past windows.
create index rate_limit_records_window_end_idx on security.rate_limit_records (window_end);

comment on table security.rate_limit_records is
  'One row per key, algorithm and window with a count; a token bucket has one row while it is not full.';
comment on column security.rate_limit_records.id is 'Id (UUIDv7).';
comment on column security.rate_limit_records.key_hash is 'SHA-256 of the window''s length in microseconds, a colon and the key.';
comment on column security.rate_limit_records.algorithm is 'Algorithm: fixed_window, sliding_window or token_bucket.';
comment on column security.rate_limit_records.window_start is 'Start of the window; for a bucket, the time of the last take.';
comment on column security.rate_limit_records.window_end is
  'End of the window; for a bucket, the time when it will be full again.';
comment on column security.rate_limit_records.request_count is
  'Number of requests in the window; for a bucket, tokens missing at window_start, rounded up.';
comment on column security.rate_limit_records.tokens_used is
  'For a bucket: tokens missing at window_start, times microseconds of the window. A whole number, so that refilling '
  'never drifts.';
comment on column security.rate_limit_records.limit_value is 'Limit at the last counted call.';
comment on column security.rate_limit_records.metadata is 'Name of the rule, if any (JSON object).';
comment on column security.rate_limit_records.created_at is 'Time when the row was created.';
comment on column security.rate_limit_records.updated_at is 'Time of the last change.';

-- Numbers of the rules that detect attacks; their logic is in private.suspicious_subjects.
create table security.suspicious_activity_rules (
  rule_name text primary key,
  description text not null,
  threshold integer not null,
  window_length interval not null,
  severity text not null,
  is_enabled boolean not null default true,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint suspicious_activity_rules_rule_name_check check (rule_name ~ '^[a-z][a-z0-9_]{0,99}$'),
  constraint suspicious_activity_rules_threshold_check check (threshold between 1 and 1000000),
  constraint suspicious_activity_rules_window_length_check
    check (window_length between interval '1 minute' and interval '1 day'),
  constraint suspicious_activity_rules_severity_check check (severity in ('warning', 'error', 'critical'))
);

alter table security.suspicious_activity_rules enable row level security;

comment on table security.suspicious_activity_rules is 'One row per rule for suspicious activity.';
comment on column security.suspicious_activity_rules.rule_name is
  'Unique name, also recorded in the events that the rule causes.';
comment on column security.suspicious_activity_rules.description is 'Description of what is counted, and for whom.';
comment on column security.suspicious_activity_rules.threshold is
  'Number of events in the window from which they are suspicious.';
comment on column security.suspicious_activity_rules.window_length is
  'Length of the window; a subject is reported once per window.';
comment on column security.suspicious_activity_rules.severity is 'Severity of the event: warning, error or critical.';
comment on column security.suspicious_activity_rules.is_enabled is 'Whether the rule applies; a disabled rule finds nothing.';
comment on column security.suspicious_activity_rules.created_at is 'Time when the rule was created.';
comment on column security.suspicious_activity_rules.updated_at is 'Time of the last change.';

-- Every change to data that determines access; the triggers list the tables.
create table security.audit_trail (
  id uuid not null default plinth.uuid_v7(),
  table_name text not null,
  operation text not null,
  row_key jsonb not null,
  user_id uuid references identity.users on delete set null,
  actor_id uuid references identity.users on delete set null,
  changed_columns text[],
  old_values jsonb,
  new_values jsonb,
  transaction_number bigint not null,
  source text not null,
  correlation_id text,
  ip_address inet,
  created_at timestamptz not null default now(),
  primary key (id, created_at),
  constraint audit_trail_operation_check check (operation in ('INSERT', 'UPDATE', 'DELETE')),
  constraint audit_trail_row_key_is_an_object check (jsonb_typeof(row_key) = 'object'),
  constraint audit_trail_update_names_columns check ((operation = 'UPDATE') = (changed_columns is not null)),
  constraint audit_trail_insert_has_no_old_values check (operation <> 'INSERT' or old_values is null),
  constraint audit_trail_delete_has_no_new_values check (operation <> 'DELETE' or new_values is null)
) partition by range (created_at);

alter table security.audit_trail enable row level security;

-- One account's changes by time; also serve the foreign keys.
create index audit_trail_user_id_created_at_idx on security.audit_trail (user_id, created_at);
create index audit_trail_actor_id_created_at_idx on security.audit_trail (actor_id, created_at);
-- Changes to a table, and within it to a row.
create index audit_trail_table_name_created_at_idx on security.audit_trail (table_name, created_at);
-- Finds the changes of a line in the API's log.
create index audit_trail_correlation_id_idx on security.audit_trail (correlation_id);

comment on table security.audit_trail is
  'One row per changed row of the audited tables; partitioned by month of created_at. Secrets are never stored in it.';
comment on column security.audit_trail.id is 'Id (UUIDv7).';
comment on column security.audit_trail.table_name is 'Schema and name of the table.';
comment on column security.audit_trail.operation is 'Operation: INSERT, UPDATE or DELETE.';
comment on column security.audit_trail.row_key is 'Primary key of the row (JSON object).';
comment on column security.audit_trail.user_id is 'The account concerned; null if there is none or it was deleted.';
comment on column security.audit_trail.actor_id is 'The account that acted; null for visitors, jobs and psql.';
comment on column security.audit_trail.changed_columns is
  'Columns changed by an update, including columns whose values are not stored.';
comment on column security.audit_trail.old_values is
  'Values before the change (JSON object), for an update only the changed ones; null if the account was deleted.';
comment on column security.audit_trail.new_values is
  'Values after the change (JSON object), for an update only the changed ones; null if the account was deleted.';
comment on column security.audit_trail.transaction_number is 'Number of the transaction; changes made together share it.';
comment on column security.audit_trail.source is 'Database role that made the change.';
comment on column security.audit_trail.correlation_id is 'Id of the API request, also in its log.';
comment on column security.audit_trail.ip_address is 'IP address of the client; null if the account that acted was deleted.';
comment on column security.audit_trail.created_at is 'Time of the transaction; the partition key.';

-- Internal errors. The client receives the id.
create table security.error_logs (
  id uuid not null,
  user_id uuid references identity.users on delete set null,
  message text not null,
  error_code text not null,
  stack_fingerprint text,
  context jsonb not null default '{}',
  correlation_id text,
  source text not null,
  created_at timestamptz not null default now(),
  primary key (id, created_at),
  constraint error_logs_message_check check (length(message) <= 1000),
  constraint error_logs_error_code_check check (length(error_code) between 1 and 100),
  constraint error_logs_stack_fingerprint_check check (stack_fingerprint ~ '^[0-9a-f]{16}$'),
  constraint error_logs_context_is_an_object check (jsonb_typeof(context) = 'object')
) partition by range (created_at);

alter table security.error_logs enable row level security;

-- Serves the foreign key.
create index error_logs_user_id_created_at_idx on security.error_logs (user_id, created_at);
-- Frequency of an error, and its first occurrence.
create index error_logs_stack_fingerprint_created_at_idx on security.error_logs (stack_fingerprint, created_at);
create index error_logs_created_at_idx on security.error_logs (created_at);
create index error_logs_correlation_id_idx on security.error_logs (correlation_id);

comment on table security.error_logs is 'One row per unexpected error; partitioned by month of created_at, kept for 90 days.';
comment on column security.error_logs.id is 'Id (UUIDv7); the errorId that the client received, also in the API''s log.';
comment on column security.error_logs.user_id is 'The caller; null for visitors and deleted accounts.';
comment on column security.error_logs.message is 'Message of the error without quoted values; empty if the account was deleted.';
comment on column security.error_logs.error_code is 'SQLSTATE, system error code, or class of the error.';
comment on column security.error_logs.stack_fingerprint is
  'Fingerprint of the error''s location, 16 hexadecimal digits; errors from the same place share it.';
comment on column security.error_logs.context is
  'Location of the error (JSON object): GraphQL path, table, constraint. No values.';
comment on column security.error_logs.correlation_id is 'Id of the API request, also in its log.';
comment on column security.error_logs.source is 'Database role that reported the error.';
comment on column security.error_logs.created_at is 'Time of the error; the partition key.';

-- Many people may share one address: an office or a school behind one router. Limits per address therefore only stop machines;
-- limits per account, which one person uses, are small. Sign-in has no limit per account: the lockout (private.lockout_duration)
-- covers it without revealing whether the account exists.
insert into security.rate_limit_rules (rule_name, algorithm, limit_value, window_length, description) values
  (
    'login_per_address', 'sliding_window', 300, '15 minutes',
    'Sign-ins from one address, right or wrong: 300 people behind one router may come in at once, a machine gets no further.'
  ),
  (
    'register_per_address', 'sliding_window', 100, '1 hour',
    'New accounts from one address: a class may register in a lesson.'
  ),
  (
    'password_change_per_account', 'token_bucket', 10, '1 hour',
    'Changes of password of one account: each costs two password hashes.'
  ),
  (
    'password_reset_per_address', 'sliding_window', 50, '1 hour',
    'Requests to reset a password from one address, each of which may send a mail.'
  ),
  ('room_password_per_account', 'sliding_window', 10, '15 minutes', 'Passwords of rooms tried by one account.'),
  (
    'room_password_per_room', 'sliding_window', 200, '1 hour',
    'Passwords tried on one room by all accounts together, so that many accounts guess no faster.'
  ),
  ('room_create_per_account', 'token_bucket', 100, '1 hour', 'New rooms of one account.'),
  ('room_invite_per_account', 'token_bucket', 100, '1 hour', 'Invites by one account.'),
  ('data_export_per_user', 'fixed_window', 5, '1 day', 'Exports of their own data that a user may request.');

insert into security.suspicious_activity_rules (rule_name, threshold, window_length, severity, description) values
  (
    'many_accounts_from_one_address', 50, '1 hour', 'warning',
    'Accounts signed in from one address. An office has many as well; a bot net''s exit has more.'
  ),
  (
    'password_spraying', 20, '15 minutes', 'error',
    'Accounts, existing or not, for which sign-in failed from one address.'
  ),
  (
    'one_account_from_many_addresses', 8, '1 hour', 'warning',
    'Networks (/16 or /32) from which sign-in to one account was tried, with or without success.'
  ),
  (
    'fast_network_change', 2, '10 minutes', 'warning',
    'Networks (/16 or /32) from which one account was signed in to, or one of its sessions went on. A phone that leaves the house does this too.'
  ),
  (
    'token_reuse', 1, '10 minutes', 'critical',
    'Refresh tokens of one account used again after their time: somebody has a copy.'
  );

--! Included security/functions/consume_rate_limit.sql
-- The limiter for a product's own functions. It counts in the caller's transaction: a rollback undoes the count. To limit calls
-- that are expected to fail, count them in a separate transaction, as the API does.
create or replace function security.consume_rate_limit(
  key text,
  algorithm text,
  limit_value integer,
  window_length interval,
  cost integer default 1
)
  returns table (allowed boolean, remaining integer, retry_after interval, reset_at timestamptz)
  language sql
  volatile
  security definer
  set search_path = pg_catalog
as $$
  select c.allowed, c.remaining, c.retry_after, c.reset_at
  from private.consume_rate_limit_at(key, algorithm, limit_value, window_length, cost) c
$$;

comment on function security.consume_rate_limit(text, text, integer, interval, integer) is
  'Counts a call against a limit (fixed_window, sliding_window or token_bucket) or rejects it; exact under concurrent calls. remaining: calls left; retry_after: when this call could pass; reset_at: when no past call counts any more. PL422 for bad arguments.';
--! EndIncluded security/functions/consume_rate_limit.sql
--! Included security/functions/read_client_address.sql
-- An address as a header or a proxy may write it: with a port, in brackets, with a zone, first in a list.
create or replace function security.read_client_address(address text)
  returns inet
  language plpgsql
  immutable
  set search_path = pg_catalog
as $$
declare
  v_first constant text := btrim(split_part(read_client_address.address, ',', 1));
begin
  return coalesce(
    substring(v_first from '^\[([0-9A-Fa-f:.]+)(?:%[^]]*)?\](?::[0-9]+)?$'),
    substring(v_first from '^([0-9.]+):[0-9]+$'),
    substring(v_first from '^([0-9A-Fa-f:.]+)%.*$'),
    v_first
  )::inet;
exception
  when invalid_text_representation then
    return null;
end
$$;

comment on function security.read_client_address(text) is
  E'@behavior -*\nReturns a client''s address as text, without a port, brackets or a zone; null if the text is not an address.';
--! EndIncluded security/functions/read_client_address.sql
--! Included security/functions/track_login_attempt.sql
-- Records a sign-in attempt and updates the account's counters: a failure is counted and may lock the account, a success clears
-- the counters. An attempt rejected because the account is locked does not extend the lock; otherwise anyone could keep an
-- account locked forever. Every attempt is recorded: for an unknown or deleted account without the account; values that are too
-- long are truncated.
create or replace function security.track_login_attempt(
  user_id uuid,
  email text,
  ip_address inet,
  user_agent text,
  status text,
  failure_reason text
)
  returns uuid
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_id uuid;
  v_user_id uuid;
  v_locked_until timestamptz;
begin
  -- Takes the lock the foreign key would take: deleting the account concurrently must not fail the record.
  select u.id into v_user_id from identity.users u where u.id = track_login_attempt.user_id for key share;
  insert into security.login_attempts (user_id, email, ip_address, user_agent, status, failure_reason, correlation_id)
  values (
    v_user_id,
    coalesce(
      plinth.normalize_email(track_login_attempt.email), plinth.normalize_username(left(track_login_attempt.email, 320))
    ),
    track_login_attempt.ip_address,
    left(track_login_attempt.user_agent, 1000),
    track_login_attempt.status,
    case when track_login_attempt.status <> 'success' then left(track_login_attempt.failure_reason, 1000) end,
    plinth.correlation_id()
  )
  returning id into v_id;

  if track_login_attempt.status = 'success' then
    update identity.users u
    set failed_login_attempts = 0, locked_until = null, last_login_at = now()
    where u.id = v_user_id;
  elsif track_login_attempt.status = 'failed'
    -- Second factors are counted separately, in private.mfa_attempts.
    and coalesce(track_login_attempt.failure_reason, '') not in (
      'account_disabled', 'network_not_allowed', 'challenge_expired', 'wrong_code', 'code_reused', 'wrong_passkey',
      'passkey_cloned'
    )
  then
    update identity.users u
    set
      failed_login_attempts = u.failed_login_attempts + 1,
      locked_until = nullif(now() + private.lockout_duration(u.failed_login_attempts + 1), now())
    where u.id = v_user_id
    returning u.locked_until into v_locked_until;
    if v_locked_until is not null then
      perform private.record_security_event(
        'account_locked', v_user_id, jsonb_build_object('locked_until', v_locked_until), 'warning'
      );
      -- Once per lock: attempts during the lock do not reach this point.
      perform private.notify_user(
        v_user_id, 'account-locked', jsonb_build_object('locked_until', v_locked_until)
      );
    end if;
  end if;
  return v_id;
end
$$;

comment on function security.track_login_attempt(uuid, text, inet, text, text, text) is
  'Records a sign-in attempt, counts failures and locks or clears the account; returns the attempt''s id.';
grant execute on function security.track_login_attempt(uuid, text, inet, text, text, text) to :PLINTH_SERVICE;

-- The same for a caller that has the address as text. The address is recorded if it is valid; the attempt is recorded in any
-- case.
create or replace function security.track_login_attempt(
  user_id uuid,
  email text,
  ip_address text,
  user_agent text,
  status text,
  failure_reason text
)
  returns uuid
  language sql
  volatile
  security definer
  set search_path = pg_catalog
as $$
  select security.track_login_attempt(
    track_login_attempt.user_id,
    track_login_attempt.email,
    security.read_client_address(track_login_attempt.ip_address),
    track_login_attempt.user_agent,
    track_login_attempt.status,
    track_login_attempt.failure_reason
  )
$$;

comment on function security.track_login_attempt(uuid, text, text, text, text, text) is
  'Records a sign-in attempt from an address given as text; see track_login_attempt(uuid, text, inet, text, text, text).';
grant execute on function security.track_login_attempt(uuid, text, text, text, text, text) to :PLINTH_SERVICE;
--! EndIncluded security/functions/track_login_attempt.sql
--! Included security/private/client_network_of.sql
-- The identity of a client for limits and rules: an IPv4 address, or the IPv6 network assigned to one customer.
create or replace function private.client_network_of(address inet)
  returns cidr
  language sql
  immutable
  parallel safe
as $$
  select network(set_masklen(address, case family(address) when 4 then 32 else 56 end))::cidr
$$;

comment on function private.client_network_of(inet) is 'Returns the network of one client: /32 for IPv4, /56 for IPv6.';
--! EndIncluded security/private/client_network_of.sql
--! Included security/private/consume_rate_limit_at.sql
-- Counts a call against a limit, or rejects it; rejected calls do not count. Calls of one key and algorithm wait for each other
-- at an advisory lock and read the time after it, so that exactly the limit is allowed under any concurrency. All arithmetic is
-- in whole numbers (microseconds, and tokens times microseconds), so that nothing drifts.
--   fixed_window    at most limit_value in each window since 1970-01-01 UTC; up to twice that around a window's edge
--   sliding_window  two counters: the current window's, plus the previous one weighted by how much of it the last
--                   window_length still covers ("How we built rate limiting capable of scaling to millions of domains",
--                   Cloudflare, 2017); exact by that definition, which assumes evenly spread calls in the previous window
--   token_bucket    holds limit_value tokens and refills evenly in window_length (RFC 2697's committed bucket, in calls)
-- A clock that was set back is trusted: at worst that time is refilled twice, and no caller is locked out.
create or replace function private.consume_rate_limit_at(
  key text,
  algorithm text,
  limit_value integer,
  window_length interval,
  cost integer default 1,
  at timestamptz default null,
  metadata jsonb default '{}'
)
  returns table (allowed boolean, remaining integer, retry_after interval, reset_at timestamptz)
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_tick constant interval := interval '1 microsecond';
  v_seconds numeric := extract(epoch from consume_rate_limit_at.window_length);
  v_limit numeric := consume_rate_limit_at.limit_value;
  v_cost numeric := consume_rate_limit_at.cost;
  -- In microseconds; v_now, v_start and v_end since 1970.
  v_window numeric;
  v_now numeric;
  v_start numeric;
  v_end numeric;
  v_wait numeric := 0;
  v_hash bytea;
  v_count numeric;
  v_previous numeric;
  -- Tokens times microseconds of the window: the used part of limit times window.
  v_used numeric;
  v_bucket security.rate_limit_records;
begin
  if consume_rate_limit_at.key is null or length(consume_rate_limit_at.key) not between 1 and 1000 then
    raise exception 'A key must have 1 to 1000 characters.' using errcode = 'PL422', column = 'key';
  elsif consume_rate_limit_at.algorithm is null
    or consume_rate_limit_at.algorithm not in ('fixed_window', 'sliding_window', 'token_bucket')
  then
    raise exception 'The algorithm must be fixed_window, sliding_window or token_bucket.'
      using errcode = 'PL422', column = 'algorithm';
  elsif v_limit is null or v_limit not between 1 and 1000000000 then
    raise exception 'A limit must be from 1 to 1000000000.' using errcode = 'PL422', column = 'limit_value';
  elsif v_seconds is null or v_seconds not between 0.001 and 31622400 then
    raise exception 'A window must be from 1 millisecond to 366 days long.' using errcode = 'PL422', column = 'window_length';
  elsif v_cost is null or v_cost not between 1 and v_limit then
    raise exception 'A cost must be from 1 to the limit.' using errcode = 'PL422', column = 'cost';
  elsif consume_rate_limit_at.at not between '1970-01-02' and '9999-01-01' then
    raise exception 'The time is out of range.' using errcode = 'PL422', column = 'at';
  end if;

  v_window := trunc(v_seconds * 1000000);
  -- The window length is part of the key: another length is another counter.
  v_hash := sha256(convert_to(v_window || ':' || consume_rate_limit_at.key, 'UTF8'));
  perform pg_advisory_xact_lock(hashtextextended(encode(v_hash, 'hex') || consume_rate_limit_at.algorithm, 0));
  v_now := trunc(extract(epoch from coalesce(consume_rate_limit_at.at, clock_timestamp())) * 1000000);

  if consume_rate_limit_at.algorithm = 'token_bucket' then
    -- A missing row is a full bucket, so a full one may be deleted at any time; the lock guards against that.
    select r.* into v_bucket
    from security.rate_limit_records r
    where r.key_hash = v_hash and r.algorithm = 'token_bucket'
    for update;
    v_used := greatest(
      0,
      -- After the limit was lowered, the debt is at most an empty bucket.
      least(coalesce(v_bucket.tokens_used, 0), v_limit * v_window)
        - v_limit * greatest(0, v_now - coalesce(trunc(extract(epoch from v_bucket.window_start) * 1000000), v_now))
    );
    allowed := v_used + v_cost * v_window <= v_limit * v_window;
    if allowed then
      v_used := v_used + v_cost * v_window;
    else
      v_wait := ceil((v_used + v_cost * v_window - v_limit * v_window) / v_limit);
    end if;
    remaining := div(v_limit * v_window - v_used, v_window);
    v_end := v_now + ceil(v_used / v_limit);
    v_start := v_now;
    v_count := ceil(v_used / v_window);
  else
    v_start := v_now - v_now % v_window;
    v_end := v_start + v_window;
    select
      coalesce(sum(r.request_count) filter (where r.window_start = timestamptz 'epoch' + v_start::bigint * v_tick), 0),
      coalesce(sum(r.request_count) filter (where r.window_start < timestamptz 'epoch' + v_start::bigint * v_tick), 0)
    into v_count, v_previous
    from security.rate_limit_records r
    where r.key_hash = v_hash
      and r.algorithm = consume_rate_limit_at.algorithm
      and r.window_start in (
        timestamptz 'epoch' + v_start::bigint * v_tick,
        timestamptz 'epoch' + (v_start - v_window)::bigint * v_tick
      );
    if consume_rate_limit_at.algorithm = 'fixed_window' then
      v_previous := 0;
    end if;
    v_used := v_count * v_window + v_previous * (v_end - v_now);
    allowed := v_used + v_cost * v_window <= v_limit * v_window;
    if allowed then
      v_count := v_count + v_cost;
      v_used := v_used + v_cost * v_window;
    elsif consume_rate_limit_at.algorithm = 'fixed_window' then
      v_wait := v_end - v_now;
    elsif v_count + v_cost <= v_limit then
      -- Until enough of the previous window has passed.
      v_wait := v_end - v_now - div((v_limit - v_count - v_cost) * v_window, v_previous);
    else
      -- Into the next window, where this window is the previous one.
      v_wait := v_end - v_now + greatest(0, v_window - div((v_limit - v_cost) * v_window, v_count));
    end if;
    remaining := div(greatest(0, v_limit * v_window - v_used), v_window);
  end if;

  if allowed then
    if v_bucket.id is not null then
      update security.rate_limit_records r
      set
        window_start = timestamptz 'epoch' + v_start::bigint * v_tick,
        window_end = timestamptz 'epoch' + v_end::bigint * v_tick,
        request_count = v_count,
        tokens_used = v_used,
        limit_value = v_limit,
        metadata = consume_rate_limit_at.metadata
      where r.id = v_bucket.id;
    else
      insert into security.rate_limit_records as r
        (key_hash, algorithm, window_start, window_end, request_count, tokens_used, limit_value, metadata)
      values (
        v_hash,
        consume_rate_limit_at.algorithm,
        timestamptz 'epoch' + v_start::bigint * v_tick,
        timestamptz 'epoch' + v_end::bigint * v_tick,
        v_count,
        case when consume_rate_limit_at.algorithm = 'token_bucket' then v_used end,
        v_limit,
        consume_rate_limit_at.metadata
      )
      on conflict on constraint rate_limit_records_key_hash_algorithm_window_start_key do update
      set request_count = excluded.request_count, limit_value = excluded.limit_value, metadata = excluded.metadata;
    end if;
  end if;

  retry_after := v_wait::bigint * v_tick;
  reset_at := timestamptz 'epoch' + v_tick * (
    case
      when consume_rate_limit_at.algorithm <> 'sliding_window' then v_end
      when v_count > 0 then v_end + v_window
      when v_previous > 0 then v_end
      else v_now
    end
  )::bigint;
  return next;
end
$$;

comment on function private.consume_rate_limit_at(text, text, integer, interval, integer, timestamptz, jsonb) is
  'Works like security.consume_rate_limit at a given time; null means now, after waiting for other calls with the key. PL422.';
--! EndIncluded security/private/consume_rate_limit_at.sql
--! Included security/private/consume_rate_limit_rule.sql
-- Limits by name, with the numbers in security.rate_limit_rules. The rule's name is part of the key, so that rules do not share
-- counters.
create or replace function private.consume_rate_limit_rule(rule_name text, key text)
  returns table (allowed boolean, remaining integer, retry_after interval, reset_at timestamptz)
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_rule security.rate_limit_rules;
begin
  select r.* into v_rule from security.rate_limit_rules r where r.rule_name = consume_rate_limit_rule.rule_name;
  if v_rule.rule_name is null then
    raise exception 'Rate limit rule not found.' using errcode = 'PL422', column = 'rule_name';
  end if;
  if consume_rate_limit_rule.key is null or length(consume_rate_limit_rule.key) not between 1 and 800 then
    raise exception 'A key must have 1 to 800 characters.' using errcode = 'PL422', column = 'key';
  end if;
  if not v_rule.is_enabled then
    return query select true, null::integer, interval '0', null::timestamptz;
    return;
  end if;
  return query
    select c.allowed, c.remaining, c.retry_after, c.reset_at
    from private.consume_rate_limit_at(
      v_rule.rule_name || ':' || consume_rate_limit_rule.key,
      v_rule.algorithm,
      v_rule.limit_value,
      v_rule.window_length,
      metadata => jsonb_build_object('rule', v_rule.rule_name)
    ) c;
end
$$;

comment on function private.consume_rate_limit_rule(text, text) is
  'Counts a call against a rule of security.rate_limit_rules or rejects it. A disabled rule allows the call; an unknown one is PL422.';
grant execute on function private.consume_rate_limit_rule(text, text) to :PLINTH_SERVICE;
--! EndIncluded security/private/consume_rate_limit_rule.sql
--! Included security/private/delete_expired_rate_limits.sql
-- Deletes one batch of expired rate limit counters. A sliding window still counts while it is the previous one. A minute of
-- grace covers a caller that read the time just before.
create or replace function private.delete_expired_rate_limits(batch_size integer default 1000)
  returns integer
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_deleted integer;
begin
  perform private.check_batch_size(batch_size);
  with expired as (
    select r.id
    from security.rate_limit_records r
    where r.window_end < now() - interval '1 minute'
      and (
        r.algorithm <> 'sliding_window'
        or r.window_end + (r.window_end - r.window_start) < now() - interval '1 minute'
      )
    limit batch_size
    for update skip locked
  )
  delete from security.rate_limit_records r using expired e where r.id = e.id;
  get diagnostics v_deleted = row_count;
  return v_deleted;
end
$$;

comment on function private.delete_expired_rate_limits(integer) is
  'Deletes up to batch_size expired counters; returns their number.';
grant execute on function private.delete_expired_rate_limits(integer) to :PLINTH_WORKER;
--! EndIncluded security/private/delete_expired_rate_limits.sql
--! Included security/private/delete_old_error_logs.sql
-- Deletes one batch of the error log: after 90 days an error is fixed, or has recurred.
create or replace function private.delete_old_error_logs(batch_size integer default 1000)
  returns integer
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
begin
  perform private.check_batch_size(batch_size);
  return private.delete_old_rows('security.error_logs', 'created_at', '90 days', batch_size);
end
$$;

comment on function private.delete_old_error_logs(integer) is
  'Deletes up to batch_size errors older than 90 days; returns their number.';
grant execute on function private.delete_old_error_logs(integer) to :PLINTH_WORKER;
--! EndIncluded security/private/delete_old_error_logs.sql
--! Included security/private/detect_suspicious_activity.sql
-- Checks every minute from since to now, so that a worker catches up after downtime. It may run at any frequency: a subject
-- reported for a window is not reported again for an overlapping window. Runs wait for each other.
create or replace function private.detect_suspicious_activity(since timestamptz default now() - interval '3 minutes')
  returns integer
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_until constant timestamptz := clock_timestamp();
  v_at timestamptz;
  v_found record;
  v_reported integer := 0;
begin
  if since is null or since < v_until - interval '1 day 1 minute' or since > v_until then
    raise exception 'since must be within the last day.' using errcode = 'PL422', column = 'since';
  end if;
  perform pg_advisory_xact_lock(hashtextextended('private.detect_suspicious_activity', 0));
  for v_at in
    select g from generate_series(v_until, since, interval '-1 minute') g order by g
  loop
    for v_found in
      select s.*
      from private.suspicious_subjects(v_at) s
      where not exists (
        select
        from security.security_audit_log e
        where e.event_type = 'suspicious_activity'
          and e.created_at > v_at - s.window_length
          and e.event_data ->> 'rule' = s.rule_name
          and e.event_data ->> 'subject' = s.subject
          and (e.event_data ->> 'window_end')::timestamptz > v_at - s.window_length
          and (e.event_data ->> 'window_start')::timestamptz < v_at
      )
      order by s.rule_name, s.subject
    loop
      perform private.report_suspicious_activity(
        v_found.rule_name,
        v_found.user_id,
        v_found.evidence || jsonb_build_object(
          'subject', v_found.subject,
          'observed', v_found.observed,
          'threshold', v_found.threshold,
          'window_start', v_at - v_found.window_length,
          'window_end', v_at
        ),
        v_found.severity
      );
      v_reported := v_reported + 1;
    end loop;
  end loop;
  return v_reported;
end
$$;

comment on function private.detect_suspicious_activity(timestamptz) is
  'Reports broken enabled rules, minute by minute since a time within the last day; returns the number of new reports.';
grant execute on function private.detect_suspicious_activity(timestamptz) to :PLINTH_WORKER;
--! EndIncluded security/private/detect_suspicious_activity.sql
--! Included security/private/enforce_rate_limit.sql
-- For SQL functions. A rejected call does not count, so the error undoes nothing. A later error in the transaction undoes the
-- count; calls that must count even if they fail are therefore counted before, in a transaction of their own.
create or replace function private.enforce_rate_limit(rule_name text, key text)
  returns void
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_outcome record;
begin
  select c.allowed, c.retry_after into v_outcome
  from private.consume_rate_limit_rule(enforce_rate_limit.rule_name, enforce_rate_limit.key) c;
  if not v_outcome.allowed then
    raise exception 'Too many attempts; try again later.'
      using
        errcode = 'PL429',
        hint = format('Try again in %s seconds.', greatest(1, ceil(extract(epoch from v_outcome.retry_after))));
  end if;
end
$$;

comment on function private.enforce_rate_limit(text, text) is
  'Counts a call against a rule; PL429 with the seconds to wait in the hint when the limit is exceeded.';
grant execute on function private.enforce_rate_limit(text, text) to :PLINTH_SERVICE;
--! EndIncluded security/private/enforce_rate_limit.sql
--! Included security/private/erase_errors.sql
create or replace function private.erase_errors(account_id uuid)
  returns void
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
begin
  perform from security.error_logs e where e.user_id = account_id order by e.created_at, e.id for update;
  update security.error_logs e
  set user_id = null, message = '', context = '{}', correlation_id = null
  where e.user_id = account_id;
end
$$;

comment on function private.erase_errors(uuid) is
  'Clears message and context of an account''s errors; code and fingerprint stay, so that they can still be counted.';
--! EndIncluded security/private/erase_errors.sql
--! Included security/private/erase_login_attempts.sql
-- The right to be forgotten, for the logs that outlive an account. The event, its time and its kind stay; the person, address and
-- program are cleared. The only code that updates these logs.
--
-- Rows are locked in time order before they change: two accounts that acted on each other may be deleted at the same moment and
-- would otherwise deadlock. The references are cleared with the values, so that the foreign keys have nothing left to do.
create or replace function private.erase_login_attempts(account identity.users)
  returns void
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  -- In the spelling in which private.finish_login and security.track_login_attempt store names of unknown accounts; in privacy
  -- mode as the server sends them.
  v_names text[] := array(
    select account.email where account.email is not null
    union
    select account.username
    union
    select 'hmac:' || left(encode(account.hashed_email, 'hex'), 16) where account.hashed_email is not null
    union
    select 'sha256:' || left(encode(sha256(convert_to(account.username, 'UTF8')), 'hex'), 16)
    union
    select v.new_value
    from private.user_verifications v
    where v.user_id = account.id
      and v.kind = 'email'
      and v.used_at is not null
      and not exists (select from identity.users u where u.email = v.new_value and u.id <> account.id)
  );
  v_attempt record;
begin
  perform
  from security.login_attempts a
  where a.user_id = account.id or a.user_id is null and a.email = any (v_names)
  order by a.created_at, a.id
  for update;

  -- The audit log entry of an attempt on an unknown name: written in the same transaction, so with the same time.
  for v_attempt in
    select a.created_at, a.ip_address
    from security.login_attempts a
    where a.user_id is null and a.email = any (v_names)
    order by a.created_at, a.id
  loop
    update security.security_audit_log l
    set ip_address = null, user_agent = null, correlation_id = null
    where l.event_type = 'login_failed'
      and l.created_at = v_attempt.created_at
      and l.user_id is null
      and l.actor_id is null
      and l.ip_address is not distinct from v_attempt.ip_address;
  end loop;

  update security.login_attempts a
  set user_id = null, email = null, ip_address = null, user_agent = null, correlation_id = null
  where a.user_id = account.id or a.user_id is null and a.email = any (v_names);
end
$$;

comment on function private.erase_login_attempts(identity.users) is
  'Clears name, address and program of an account''s sign-ins, and of attempts on its names before they belonged to an account.';
--! EndIncluded security/private/erase_login_attempts.sql
--! Included security/private/erase_security_events.sql
-- Events about the account lose their data. The address and program of an event belong to the acting person. Those of another
-- person stay, so that deleting an account does not hide what an administrator did to it.
create or replace function private.erase_security_events(account_id uuid)
  returns void
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
begin
  perform
  from security.security_audit_log l
  where l.user_id = account_id or l.actor_id = account_id
  order by l.created_at, l.id
  for update;

  update security.security_audit_log l
  set
    user_id = nullif(l.user_id, account_id),
    actor_id = nullif(l.actor_id, account_id),
    event_data = case when l.user_id = account_id then '{}' else l.event_data end,
    metadata = case when l.user_id = account_id then '{}' else l.metadata end,
    ip_address = case when coalesce(l.actor_id, account_id) <> account_id then l.ip_address end,
    user_agent = case when coalesce(l.actor_id, account_id) <> account_id then l.user_agent end,
    correlation_id = case when coalesce(l.actor_id, account_id) <> account_id then l.correlation_id end
  where l.user_id = account_id or l.actor_id = account_id;
end
$$;

comment on function private.erase_security_events(uuid) is
  'Clears an account''s data, address and program from the audit log; those of other people who acted on it stay.';
--! EndIncluded security/private/erase_security_events.sql
--! Included security/private/forget_data_changes.sql
-- Before the delete, because afterwards the rows have no user_id.
create or replace function private.forget_data_changes()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
begin
  perform
  from security.audit_trail t
  where t.user_id = old.id or t.actor_id = old.id
  order by t.created_at, t.id
  for update;

  update security.audit_trail t
  set
    user_id = nullif(t.user_id, old.id),
    actor_id = nullif(t.actor_id, old.id),
    old_values = case when t.user_id = old.id then null else t.old_values end,
    new_values = case when t.user_id = old.id then null else t.new_values end,
    ip_address = case when coalesce(t.actor_id, old.id) <> old.id then t.ip_address end,
    correlation_id = case when coalesce(t.actor_id, old.id) <> old.id then t.correlation_id end
  where t.user_id = old.id or t.actor_id = old.id;
  return old;
end
$$;

comment on function private.forget_data_changes() is
  'Trigger: clears an account''s values and addresses from the audit trail when it is deleted.';
--! EndIncluded security/private/forget_data_changes.sql
--! Included security/private/lease_requests.sql
-- The API counts requests in memory. A server calls this only for a client that has used a share of its limit. It reserves a
-- block of requests at a time, so that a client spread over many servers is held to one limit. The limit is the server's setting.
create or replace function private.lease_requests(
  client text,
  limit_value integer,
  window_length interval,
  wanted integer
)
  returns table (granted integer, remaining integer, retry_after interval)
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_cost integer := lease_requests.wanted;
  v_outcome record;
begin
  -- All requests wanted, else the rest, else the time until more are available.
  for v_try in 1 .. 2 loop
    select c.allowed, c.remaining, c.retry_after into v_outcome
    from private.consume_rate_limit_at(
      'api_per_client:' || lease_requests.client,
      'sliding_window',
      lease_requests.limit_value,
      lease_requests.window_length,
      v_cost,
      metadata => '{"rule": "api_per_client"}'
    ) c;
    exit when v_outcome.allowed;
    v_cost := greatest(1, v_outcome.remaining);
  end loop;
  granted := case when v_outcome.allowed then v_cost else 0 end;
  remaining := v_outcome.remaining;
  retry_after := v_outcome.retry_after;
  return next;
end
$$;

comment on function private.lease_requests(text, integer, interval, integer) is
  'Counts a block of API requests of a client in advance: all that are wanted, or the rest, or none and the time to wait.';
grant execute on function private.lease_requests(text, integer, interval, integer) to :PLINTH_SERVICE;
--! EndIncluded security/private/lease_requests.sql
--! Included security/private/lockout_duration.sql
-- Five wrong passwords may be honest mistakes. From the fifth on, each locks the account twice as long as the last, from one
-- minute up to one hour, so that guessing is slow and the owner is never locked out permanently (OWASP ASVS 5, 6.3.1).
create or replace function private.lockout_duration(failed_attempts integer)
  returns interval
  language sql
  immutable
  parallel safe
as $$
  select case
    when failed_attempts < 5 then interval '0'
    else least(interval '1 hour', interval '1 minute' * power(2, least(failed_attempts - 5, 10)))
  end
$$;

comment on function private.lockout_duration(integer) is
  'Returns how long an account stays locked after this many wrong passwords in a row: 0, then 1 minute doubling up to 1 hour.';
--! EndIncluded security/private/lockout_duration.sql
--! Included security/private/network_of.sql
-- Without a location database, "somewhere else" means another network: the first 16 bits of an IPv4 address, the first 32 of an
-- IPv6 address, which is the size assigned to providers. Neighbours may differ and distant places may match: a hint, no proof.
create or replace function private.network_of(address inet)
  returns cidr
  language sql
  immutable
  parallel safe
as $$
  select network(set_masklen(address, case family(address) when 4 then 16 else 32 end))::cidr
$$;

comment on function private.network_of(inet) is 'Returns the coarse network of an address: /16 for IPv4, /32 for IPv6.';
--! EndIncluded security/private/network_of.sql
--! Included security/private/notification_of.sql
-- The only list of audit log events that their owner is notified of (OWASP ASVS 5, 6.3.7). The functions for sign-in and for
-- changing a password or address send their own emails, since those depend on more than the event.
create or replace function private.notification_of(event_type text, event_data jsonb)
  returns text
  language sql
  immutable
  set search_path = pg_catalog
as $$
  select case
    when event_type in (
      'factor_added', 'factor_removed', 'mfa_locked', 'recovery_code_used', 'recovery_codes_replaced', 'passkey_cloned'
    ) then 'mfa-changed'
    when event_type = 'provider_unlinked' then 'oauth-changed'
    -- A new account created with a provider needs no notification.
    when event_type = 'provider_linked' and event_data ->> 'by' = 'link' then 'oauth-changed'
    when event_type = 'api_token_created' then 'api-token-created'
    when event_type = 'security_settings_changed' then 'security-settings-changed'
    when event_type in ('refresh_token_reused', 'sessions_ended_by_administrator') then 'session-ended'
    when event_type = 'suspicious_activity' then 'suspicious-activity'
  end
$$;

comment on function private.notification_of(text, jsonb) is
  'Returns the mail template that notifies an account''s owner of an event of the audit log; null for other events.';
--! EndIncluded security/private/notification_of.sql
--! Included security/private/record_error.sql
-- The only way into the error log. The API sends errors in batches some time after they happened, so user and time are arguments.
-- An account that is being deleted is not waited for.
create or replace function private.record_error(
  error_id uuid,
  user_id uuid,
  message text,
  error_code text,
  stack_fingerprint text,
  context jsonb,
  correlation_id text,
  happened_at timestamptz
)
  returns void
  language sql
  volatile
  security definer
  set search_path = pg_catalog
as $$
  with account as materialized (
    select u.id from identity.users u where u.id = record_error.user_id for key share skip locked
  ),
  known as (
    -- For a deleted account only the kind of error is kept; see private.erase_errors.
    select (select a.id from account a) as user_id, record_error.user_id is null or exists (select from account) as is_kept
  )
  insert into security.error_logs
    (id, user_id, message, error_code, stack_fingerprint, context, correlation_id, source, created_at)
  select
    record_error.error_id,
    k.user_id,
    case when k.is_kept then left(record_error.message, 1000) else '' end,
    left(record_error.error_code, 100),
    record_error.stack_fingerprint,
    case when k.is_kept then coalesce(record_error.context, '{}') else '{}' end,
    case when k.is_kept then left(record_error.correlation_id, 200) end,
    session_user,
    -- A server's clock is trusted for a day at most.
    least(now(), greatest(now() - interval '1 day', coalesce(record_error.happened_at, now())))
  from known k
  -- Sent again because the response was lost.
  on conflict do nothing
$$;

comment on function private.record_error(uuid, uuid, text, text, text, jsonb, text, timestamptz) is
  'Adds a row to security.error_logs. The caller removes secrets and parameters.';
grant execute on function private.record_error(uuid, uuid, text, text, text, jsonb, text, timestamptz) to :PLINTH_SERVICE;
--! EndIncluded security/private/record_error.sql
--! Included security/private/record_security_event.sql
-- The only way into the audit log. Context (address, agent, correlation id, actor) comes from the request's settings.
create or replace function private.record_security_event(
  event_type text,
  user_id uuid,
  event_data jsonb default '{}',
  severity text default 'info'
)
  returns void
  language sql
  volatile
  security definer
  set search_path = pg_catalog
as $$
  -- The account may be gone (a token of a deleted user), but the event still counts. Locked as the foreign key would, so that it
  -- cannot be deleted between the check and the insert. An account being deleted counts as gone: its deletion may wait for a row
  -- that the caller has changed, and both would deadlock.
  with subject as materialized (
    select u.id from identity.users u where u.id = record_security_event.user_id for key share skip locked
  ),
  actor as materialized (
    select u.id from identity.users u where u.id = plinth.current_user_id() for key share skip locked
  ),
  context as (
    select
      (select s.id from subject s) as subject_id,
      (select a.id from actor a) as actor_id,
      -- Address and program of a deleted account are not kept.
      (plinth.current_user_id() is null or exists (select from actor))
        and (record_security_event.user_id is null or exists (select from subject) or exists (select from actor)) as is_kept
  )
  insert into security.security_audit_log
    (user_id, actor_id, event_type, event_data, severity, source, ip_address, user_agent, correlation_id)
  select
    c.subject_id,
    c.actor_id,
    record_security_event.event_type,
    coalesce(record_security_event.event_data, '{}'),
    record_security_event.severity,
    session_user,
    case when c.is_kept then plinth.client_ip() end,
    case when c.is_kept then left(plinth.user_agent(), 1000) end,
    case when c.is_kept then plinth.correlation_id() end
  from context c;
  select private.notify_user(record_security_event.user_id, n.template, jsonb_build_object('event', record_security_event.event_type))
  from private.notification_of(record_security_event.event_type, record_security_event.event_data) n (template)
  where n.template is not null
$$;

comment on function private.record_security_event(text, uuid, jsonb, text) is
  'Adds a row to security.security_audit_log with the request''s context, and notifies the owner if private.notification_of lists the event.';
--! EndIncluded security/private/record_security_event.sql
--! Included security/private/report_suspicious_activity.sql
-- The only place that handles a broken rule. It also notifies the affected account, if any.
create or replace function private.report_suspicious_activity(
  rule_name text,
  user_id uuid,
  event_data jsonb,
  severity text
)
  returns void
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
begin
  perform private.record_security_event(
    'suspicious_activity',
    report_suspicious_activity.user_id,
    report_suspicious_activity.event_data || jsonb_build_object('rule', report_suspicious_activity.rule_name),
    report_suspicious_activity.severity
  );
end
$$;

comment on function private.report_suspicious_activity(text, uuid, jsonb, text) is
  'Audits a broken rule of security.suspicious_activity_rules: event suspicious_activity with the rule and its evidence.';
--! EndIncluded security/private/report_suspicious_activity.sql
--! Included security/private/suspicious_subjects.sql
-- Enabled rules of security.suspicious_activity_rules that are broken at a time, with their subjects: one branch for each rule,
-- counting over the rule's window that ends at that time. Subjects are client networks (addresses) or accounts.
create or replace function private.suspicious_subjects(at timestamptz)
  returns table (
    rule_name text,
    severity text,
    threshold integer,
    window_length interval,
    subject text,
    user_id uuid,
    observed bigint,
    evidence jsonb
  )
  language sql
  stable
  set search_path = pg_catalog
as $$
  with rules as (
    select r.* from security.suspicious_activity_rules r where r.is_enabled
  ),
  -- The networks of an account's activity: sign-ins, and sessions that moved, with the network they left.
  activity as (
    select a.user_id, private.network_of(a.ip_address) as network, a.created_at
    from security.login_attempts a
    where a.status = 'success' and a.user_id is not null and a.ip_address is not null
      and a.created_at > suspicious_subjects.at - interval '1 day'
    union all
    select e.user_id, private.network_of(m.address::inet), m.seen_at::timestamptz
    from security.security_audit_log e
    cross join lateral (
      values
        (e.event_data ->> 'from_address', e.event_data ->> 'from_seen_at'),
        (e.event_data ->> 'to_address', e.created_at::text)
    ) m (address, seen_at)
    where e.event_type = 'session_network_changed' and e.user_id is not null
      and e.created_at > suspicious_subjects.at - interval '1 day'
  ),
  broken as (
    select
      r.rule_name, private.client_network_of(a.ip_address)::text as subject, null::uuid as user_id,
      count(distinct a.user_id) as observed,
      jsonb_build_object('address', private.client_network_of(a.ip_address), 'accounts', count(distinct a.user_id))
        as evidence
    from rules r
    join security.login_attempts a
      on a.status = 'success' and a.user_id is not null and a.ip_address is not null
      and a.created_at > suspicious_subjects.at - r.window_length and a.created_at <= suspicious_subjects.at
    where r.rule_name = 'many_accounts_from_one_address'
    group by r.rule_name, private.client_network_of(a.ip_address)

    union all
    select
      r.rule_name, private.client_network_of(a.ip_address)::text, null,
      count(distinct coalesce(a.user_id::text, a.email)) filter (where a.status <> 'success'),
      jsonb_build_object(
        'address', private.client_network_of(a.ip_address),
        'failed_accounts', count(distinct coalesce(a.user_id::text, a.email)) filter (where a.status <> 'success'),
        'failed_attempts', count(*) filter (where a.status <> 'success'),
        -- Accounts whose password may have been guessed.
        'signed_in_user_ids', coalesce(jsonb_agg(distinct a.user_id) filter (where a.status = 'success'), '[]')
      )
    from rules r
    join security.login_attempts a
      on a.status in ('failed', 'locked', 'success') and a.ip_address is not null
      and a.created_at > suspicious_subjects.at - r.window_length and a.created_at <= suspicious_subjects.at
    where r.rule_name = 'password_spraying'
    group by r.rule_name, private.client_network_of(a.ip_address)

    union all
    select
      r.rule_name, a.user_id::text, a.user_id,
      count(distinct private.network_of(a.ip_address)),
      jsonb_build_object(
        'networks', count(distinct private.network_of(a.ip_address)),
        'attempts', count(*),
        'succeeded', count(*) filter (where a.status = 'success')
      )
    from rules r
    join security.login_attempts a
      on a.status in ('failed', 'locked', 'success') and a.user_id is not null and a.ip_address is not null
      and a.created_at > suspicious_subjects.at - r.window_length and a.created_at <= suspicious_subjects.at
    where r.rule_name = 'one_account_from_many_addresses'
    group by r.rule_name, a.user_id

    union all
    select
      r.rule_name, a.user_id::text, a.user_id,
      count(distinct a.network),
      jsonb_build_object('networks', jsonb_agg(distinct a.network))
    from rules r
    join activity a
      on a.created_at > suspicious_subjects.at - r.window_length and a.created_at <= suspicious_subjects.at
    where r.rule_name = 'fast_network_change'
    group by r.rule_name, a.user_id

    union all
    select
      r.rule_name, e.user_id::text, e.user_id,
      count(*),
      jsonb_build_object('session_ids', jsonb_agg(distinct e.event_data -> 'session_id'))
    from rules r
    join security.security_audit_log e
      on e.event_type = 'refresh_token_reused' and e.user_id is not null
      and e.created_at > suspicious_subjects.at - r.window_length and e.created_at <= suspicious_subjects.at
    where r.rule_name = 'token_reuse'
    group by r.rule_name, e.user_id
  )
  select r.rule_name, r.severity, r.threshold, r.window_length, b.subject, b.user_id, b.observed, b.evidence
  from broken b
  join rules r on r.rule_name = b.rule_name
  where b.observed >= r.threshold
$$;

comment on function private.suspicious_subjects(timestamptz) is
  'Returns subjects that break an enabled rule of security.suspicious_activity_rules in its window that ends at a time.';
--! EndIncluded security/private/suspicious_subjects.sql
--! Included security/triggers/record_data_change.sql
create or replace trigger _700_record_data_change
  after insert or update or delete on security.rate_limit_rules
  for each row
  execute function private.record_data_change('rule_name', '', 'updated_at', '');

create or replace trigger _700_record_data_change
  after insert or update or delete on security.suspicious_activity_rules
  for each row
  execute function private.record_data_change('rule_name', '', 'updated_at', '');
--! EndIncluded security/triggers/record_data_change.sql
--! Included security/triggers/touch_updated_at.sql
-- See plinth.touch_updated_at.
create or replace trigger _900_touch_updated_at
  before update on security.rate_limit_records
  for each row
  execute function plinth.touch_updated_at();

create or replace trigger _900_touch_updated_at
  before update on security.rate_limit_rules
  for each row
  execute function plinth.touch_updated_at();

create or replace trigger _900_touch_updated_at
  before update on security.suspicious_activity_rules
  for each row
  execute function plinth.touch_updated_at();
--! EndIncluded security/triggers/touch_updated_at.sql
--! Included security/triggers/users.sql
create or replace trigger _700_forget_data_changes
  before delete on identity.users
  for each row
  execute function private.forget_data_changes();
--! EndIncluded security/triggers/users.sql
--! Included security/policies/audit_trail.sql
-- Users see the changes to their own rows, auditors see all; only private.record_data_change writes. A change that another user
-- made from an address is visible to auditors only: the address is that user's personal data.
revoke all on security.audit_trail from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on security.audit_trail to :PLINTH_USER;

drop policy if exists select_own on security.audit_trail;
create policy select_own on security.audit_trail
  for select to :PLINTH_USER
  using (
    user_id = (select plinth.current_user_id())
    and (actor_id = (select plinth.current_user_id()) or ip_address is null)
  );
comment on policy select_own on security.audit_trail is
  'Users read the changes of their own rows that they made themselves, and those without an address.';

drop policy if exists select_auditor on security.audit_trail;
create policy select_auditor on security.audit_trail
  for select to :PLINTH_USER
  using ((select access.has_permission('view_audit_log')));
comment on policy select_auditor on security.audit_trail is 'Users with view_audit_log read all changes.';
--! EndIncluded security/policies/audit_trail.sql
--! Included security/policies/error_logs.sql
-- Auditors read the errors; only private.record_error writes.
revoke all on security.error_logs from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on security.error_logs to :PLINTH_USER;

drop policy if exists select_auditor on security.error_logs;
create policy select_auditor on security.error_logs
  for select to :PLINTH_USER
  using ((select access.has_permission('view_audit_log')));
comment on policy select_auditor on security.error_logs is 'Users with view_audit_log read all errors.';
--! EndIncluded security/policies/error_logs.sql
--! Included security/policies/login_attempts.sql
-- Users see the attempts on their own account, auditors see all; only track_login_attempt writes.
revoke all on security.login_attempts from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on security.login_attempts to :PLINTH_USER;

drop policy if exists select_own on security.login_attempts;
create policy select_own on security.login_attempts
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on security.login_attempts is 'Users read the attempts on their own account.';

drop policy if exists select_auditor on security.login_attempts;
create policy select_auditor on security.login_attempts
  for select to :PLINTH_USER
  using ((select access.has_permission('view_audit_log')));
comment on policy select_auditor on security.login_attempts is 'Users with view_audit_log read all attempts.';
--! EndIncluded security/policies/login_attempts.sql
--! Included security/policies/rate_limit_records.sql
-- Counters are internal to the limiter: no other reader needs hashes of addresses and accounts. No grant, no policy.
revoke all on security.rate_limit_records from :PLINTH_ANONYMOUS, :PLINTH_USER;
--! EndIncluded security/policies/rate_limit_records.sql
--! Included security/policies/rate_limit_rules.sql
-- Users who manage security tune the rules; auditors read them. No insert and no delete: code looks the rules up by name.
revoke all on security.rate_limit_rules from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select, update (algorithm, limit_value, window_length, is_enabled) on security.rate_limit_rules to :PLINTH_USER;

drop policy if exists select_permitted on security.rate_limit_rules;
create policy select_permitted on security.rate_limit_rules
  for select to :PLINTH_USER
  using ((select access.has_permission('manage_security')) or (select access.has_permission('view_audit_log')));
comment on policy select_permitted on security.rate_limit_rules is
  'Users with manage_security or view_audit_log read the limits.';

drop policy if exists update_manager on security.rate_limit_rules;
create policy update_manager on security.rate_limit_rules
  for update to :PLINTH_USER
  using ((select access.has_permission('manage_security')))
  with check ((select access.has_permission('manage_security')));
comment on policy update_manager on security.rate_limit_rules is 'Users with manage_security change the limits.';
--! EndIncluded security/policies/rate_limit_rules.sql
--! Included security/policies/security_audit_log.sql
-- Users see the events of their own account, auditors see all; only private.record_security_event writes. An event that another
-- user, such as an administrator, caused from an address is visible to auditors only, as in security.audit_trail: the address
-- is that user's personal data. If no user was signed in, the address belongs to the person who tried to.
revoke all on security.security_audit_log from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on security.security_audit_log to :PLINTH_USER;

drop policy if exists select_own on security.security_audit_log;
create policy select_own on security.security_audit_log
  for select to :PLINTH_USER
  using (
    user_id = (select plinth.current_user_id())
    and (actor_id is null or actor_id = (select plinth.current_user_id()) or ip_address is null)
  );
comment on policy select_own on security.security_audit_log is
  'Users read the events of their own account, except those that another user caused from an address.';

drop policy if exists select_auditor on security.security_audit_log;
create policy select_auditor on security.security_audit_log
  for select to :PLINTH_USER
  using ((select access.has_permission('view_audit_log')));
comment on policy select_auditor on security.security_audit_log is 'Users with view_audit_log read all events.';
--! EndIncluded security/policies/security_audit_log.sql
--! Included security/policies/suspicious_activity_rules.sql
-- Users who manage security tune the rules; auditors read them. No insert and no delete: code looks the rules up by name.
revoke all on security.suspicious_activity_rules from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select, update (threshold, window_length, severity, is_enabled) on security.suspicious_activity_rules to :PLINTH_USER;

drop policy if exists select_permitted on security.suspicious_activity_rules;
create policy select_permitted on security.suspicious_activity_rules
  for select to :PLINTH_USER
  using ((select access.has_permission('manage_security')) or (select access.has_permission('view_audit_log')));
comment on policy select_permitted on security.suspicious_activity_rules is
  'Users with manage_security or view_audit_log read the rules for suspicious activity.';

drop policy if exists update_manager on security.suspicious_activity_rules;
create policy update_manager on security.suspicious_activity_rules
  for update to :PLINTH_USER
  using ((select access.has_permission('manage_security')))
  with check ((select access.has_permission('manage_security')));
comment on policy update_manager on security.suspicious_activity_rules is 'Users with manage_security change the rules for suspicious activity.';
--! EndIncluded security/policies/suspicious_activity_rules.sql

-- This month and the next three; the worker adds later months every day.
select from private.ensure_partitions(3);
