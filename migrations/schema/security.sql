-- Schema security as the migrations leave it. Generated (plinth schema dump): read it, do not edit it.

create schema security;
comment on schema security is 'Append-only records of sign-ins and security events, and the rules for them.';
grant usage on schema security to :PLINTH_ANONYMOUS, :PLINTH_SERVICE, :PLINTH_USER;

-- Types and sequences ---------------------------------------------------------------------------------

-- Accounts in a day or hour.
create type security.activity_count as (
  starts_at timestamp with time zone,
  active_accounts bigint,
  new_accounts bigint
);

comment on type security.activity_count is 'Accounts in a day or hour.';

-- Unexpected errors in a day or hour.
create type security.error_count as (
  starts_at timestamp with time zone,
  error_code text,
  errors bigint
);

comment on type security.error_count is 'Unexpected errors in a day or hour.';

-- State of the partitions of a log.
create type security.log_state as (
  log text,
  months_ahead integer
);

comment on type security.log_state is 'State of the partitions of a log.';

-- State of the queue of a job.
create type security.queue_state as (
  queue text,
  waiting bigint,
  active bigint,
  failed bigint,
  oldest_seconds integer,
  succeeded_at timestamp with time zone
);

comment on type security.queue_state is 'State of the queue of a job.';

-- Payments in a day or hour.
create type security.revenue_count as (
  starts_at timestamp with time zone,
  currency text,
  payments bigint,
  paid_cents bigint,
  refunded_cents bigint,
  paid numeric,
  refunded numeric,
  disputed_cents bigint,
  disputed numeric,
  net numeric
);

comment on type security.revenue_count is 'Payments in a day or hour.';

-- Sign-in attempts in a day or hour.
create type security.sign_in_count as (
  starts_at timestamp with time zone,
  succeeded bigint,
  failed bigint,
  locked bigint,
  accounts bigint
);

comment on type security.sign_in_count is 'Sign-in attempts in a day or hour.';

-- A fault of the system, and its remedy.
create type security.system_finding as (
  severity text,
  area text,
  problem text,
  remedy text
);

comment on type security.system_finding is 'A fault of the system, and its remedy.';

-- State of the jobs, logs, database and replicas at one time.
create type security.system_state as (
  observed_at timestamp with time zone,
  findings security.system_finding[],
  queues security.queue_state[],
  logs security.log_state[],
  default_partition_rows bigint,
  database_bytes bigint,
  connections integer,
  connections_limit integer,
  oldest_transaction_seconds integer,
  waiting_for_locks integer,
  has_all_sessions boolean,
  waiting_emails bigint,
  replicas integer,
  replica_lag_bytes bigint,
  replica_lag_seconds numeric,
  inactive_slots integer,
  slot_bytes bigint,
  is_archive_failing boolean
);

comment on type security.system_state is 'State of the jobs, logs, database and replicas at one time.';

-- Use of a model in a day or hour.
create type security.token_use_count as (
  starts_at timestamp with time zone,
  model text,
  currency text,
  tokens bigint,
  cost numeric
);

comment on type security.token_use_count is 'Use of a model in a day or hour.';

-- Tables ----------------------------------------------------------------------------------------------

-- One row per month of a log that was archived or dropped.
create table security.archives (
  id uuid not null default plinth.uuid_v7(),
  log text not null,
  month date not null,
  state text not null,
  row_count bigint,
  first_at timestamp with time zone,
  last_at timestamp with time zone,
  file_name text,
  file_bytes bigint,
  sha256 text,
  is_encrypted boolean,
  migration text,
  created_at timestamp with time zone not null default now(),
  updated_at timestamp with time zone not null default now(),
  constraint archives_pkey primary key (id),
  constraint archives_archived_has_a_file check ((state <> all (array['archived'::text, 'attached'::text])) or num_nulls(file_name, sha256) = 0),
  constraint archives_month_is_a_first_day check (month = date_trunc('month'::text, month::timestamp with time zone)),
  constraint archives_sha256_check check (sha256 ~ '^[0-9a-f]{64}$'::text),
  constraint archives_state_check check (state = any (array['detached'::text, 'archived'::text, 'attached'::text, 'dropped'::text])),
  constraint archives_log_fkey foreign key (log) references security.retention_policies(log)
);

alter table security.archives enable row level security;

create index archives_log_month_idx on security.archives using btree (log, month);
create unique index archives_open_month_idx on security.archives using btree (log, month) where (state = any (array['detached'::text, 'attached'::text]));

create trigger _900_touch_updated_at
  before update on security.archives
  for each row
  execute function plinth.touch_updated_at();

comment on table security.archives is 'One row per month of a log that was archived or dropped.';
comment on column security.archives.id is 'Id (UUIDv7).';
comment on column security.archives.log is 'Log that the month belongs to.';
comment on column security.archives.month is 'First day of the month (UTC).';
comment on column security.archives.state is 'State: detached, archived, attached or dropped.';
comment on column security.archives.row_count is 'Number of rows; null while they are being written.';
comment on column security.archives.first_at is 'Time of the first entry; null if there is none.';
comment on column security.archives.last_at is 'Time of the last entry; null if there is none.';
comment on column security.archives.file_name is 'Name of the file in the folder of archives; null if there is none.';
comment on column security.archives.file_bytes is 'Size of the file in bytes.';
comment on column security.archives.sha256 is 'SHA-256 of the file, in hexadecimal digits.';
comment on column security.archives.is_encrypted is 'Whether the file is encrypted.';
comment on column security.archives.migration is 'Latest migration at the time of writing, which tells the columns.';
comment on column security.archives.created_at is 'Time when the month left its log.';
comment on column security.archives.updated_at is 'Time of the last change.';
comment on constraint archives_state_check on security.archives is E'@name archive_state\nState of a month that left its log.\ndetached: Moved out of the log; being written to a file.\narchived: In a verified file, and no longer in the database.\nattached: In the log again, for reading.\ndropped: Deleted.';
comment on constraint archives_log_fkey on security.archives is '@behavior -*';

create policy select_permitted on security.archives
  for select to :PLINTH_USER
  using ((select access.has_permission('manage_security'::text)) or (select access.has_permission('view_audit_log'::text)));
comment on policy select_permitted on security.archives is 'Users with manage_security or view_audit_log read the register of archives.';

grant select on security.archives to :PLINTH_USER;

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
  actor_kind text,
  acting_role text,
  api_token_id uuid,
  session_id uuid,
  job_name text,
  migration text,
  has_ignored_claims boolean,
  fixed_salt uuid,
  content_salt uuid,
  constraint audit_trail_pkey primary key (id, created_at),
  constraint audit_trail_actor_kind_check check (actor_kind = any (array['user'::text, 'api_token'::text, 'visitor'::text, 'job'::text, 'migration'::text, 'database_role'::text])),
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

create trigger _800_commit_audit_row
  before insert or update on security.audit_trail
  for each row
  execute function private.commit_audit_row('security.audit_trail');

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
comment on column security.audit_trail.actor_kind is 'Kind of actor; null for changes from before it was recorded.';
comment on column security.audit_trail.acting_role is 'Database role that the session had become, or source.';
comment on column security.audit_trail.api_token_id is 'API token that acted on behalf of the actor, or null. The token may have been deleted since.';
comment on column security.audit_trail.session_id is 'Session of the user that acted, or null. It may have been deleted since.';
comment on column security.audit_trail.job_name is 'Name of the job that acted, or null.';
comment on column security.audit_trail.migration is 'Schema of the history and file of the migration that acted, or null.';
comment on column security.audit_trail.has_ignored_claims is 'Whether a database role other than the API''s claimed to be a user, which is not recorded as the actor.';
comment on column security.audit_trail.fixed_salt is E'@behavior -*\n@dataExport omit\nRandom salt of the commitment to the columns that erasure keeps.';
comment on column security.audit_trail.content_salt is E'@behavior -*\n@dataExport omit\nRandom salt of the commitment to the other columns; erasure replaces it.';
comment on constraint audit_trail_actor_kind_check on security.audit_trail is E'@name actor_kind\nKind of actor behind an event or a change.\nuser: A user in a session.\napi_token: A program with an API token of a user.\nvisitor: The API, for a client without a user, such as at a sign-in.\njob: A job of the worker.\nmigration: A migration.\ndatabase_role: A database role outside the API, such as an administrator in psql.';
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

-- Personal-data class of each column of Plinth's tables, for the record of processing activities.
create table security.column_classes (
  schema_name text not null,
  table_name text not null,
  column_name text not null,
  class text not null,
  constraint column_classes_pkey primary key (schema_name, table_name, column_name),
  constraint column_classes_class_check check (class = any (array['none'::text, 'pseudonym'::text, 'contact'::text, 'content'::text, 'credential'::text, 'financial'::text]))
);

alter table security.column_classes enable row level security;

comment on table security.column_classes is E'@behavior -*\nPersonal-data class of each column of Plinth''s tables, for the record of processing activities.';
comment on column security.column_classes.schema_name is 'Schema of the table.';
comment on column security.column_classes.table_name is 'Name of the table; its partitions have the same classes.';
comment on column security.column_classes.column_name is 'Name of the column.';
comment on column security.column_classes.class is 'Class of its values.';
comment on constraint column_classes_class_check on security.column_classes is E'@name personal_data_class\nKind of personal data in a column.\nnone: Does not describe a person.\npseudonym: Ids, times and states of an account, which name nobody without the account.\ncontact: Names, addresses, devices and networks of a person.\ncontent: Texts and settings that a person wrote, or that were written about a person.\ncredential: Secrets of a person, and hashes of secrets.\nfinancial: Amounts that a person paid or owes, and references of the payment provider.';

create policy select_permitted on security.column_classes
  for select to :PLINTH_USER
  using ((select access.has_permission('manage_security'::text)) or (select access.has_permission('view_audit_log'::text)));
comment on policy select_permitted on security.column_classes is 'Users with manage_security or view_audit_log read the classes of columns.';

grant select on security.column_classes to :PLINTH_USER;

-- One row per erased account: the deleted and cleared rows by table, and the signature. It does not name the account.
create table security.erasure_certificates (
  id uuid not null,
  subject text not null,
  salt text not null,
  requested_by text not null,
  statement json not null,
  statement_sha256 text not null,
  archived_rows bigint,
  signature text,
  signed_at timestamp with time zone,
  created_at timestamp with time zone not null default now(),
  constraint erasure_certificates_pkey primary key (id),
  constraint erasure_certificates_is_signed_at check ((signature is null) = (signed_at is null)),
  constraint erasure_certificates_requested_by_check check (requested_by = any (array['self'::text, 'administrator'::text, 'command'::text, 'database_role'::text])),
  constraint erasure_certificates_statement_sha256_check check (statement_sha256 ~ '^[0-9a-f]{64}$'::text)
);

alter table security.erasure_certificates enable row level security;

create index erasure_certificates_unsigned_idx on security.erasure_certificates using btree (id) where (signature is null);

comment on table security.erasure_certificates is E'@behavior -*\nOne row per erased account: the deleted and cleared rows by table, and the signature. It does not name the account.';
comment on column security.erasure_certificates.id is 'Id (UUIDv7).';
comment on column security.erasure_certificates.subject is 'SHA-256 of the salt and the id of the account, in hexadecimal digits.';
comment on column security.erasure_certificates.salt is 'Random salt of the subject.';
comment on column security.erasure_certificates.requested_by is 'Requester of the erasure.';
comment on column security.erasure_certificates.statement is 'Content of the certificate: counts by table and class, keys shredded.';
comment on column security.erasure_certificates.statement_sha256 is 'SHA-256 of the statement, in hexadecimal digits.';
comment on column security.erasure_certificates.archived_rows is 'Number of rows erased from archives; null if there are no archives, or while the erasure is pending there.';
comment on column security.erasure_certificates.signature is 'Signed certificate (JWS, RFC 7515); null until it is signed.';
comment on column security.erasure_certificates.signed_at is 'Time of the signature.';
comment on column security.erasure_certificates.created_at is 'Time of the erasure.';
comment on constraint erasure_certificates_requested_by_check on security.erasure_certificates is E'@name erasure_requester\nRequester of an erasure.\nself: The owner of the account.\nadministrator: Another user.\ncommand: An operator, with plinth privacy erase.\ndatabase_role: A role of the database, with SQL.';

create policy select_permitted on security.erasure_certificates
  for select to :PLINTH_USER
  using ((select access.has_permission('manage_security'::text)) or (select access.has_permission('view_audit_log'::text)));
comment on policy select_permitted on security.erasure_certificates is 'Users with manage_security or view_audit_log read the certificates of erasures.';

grant select on security.erasure_certificates to :PLINTH_USER;

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

-- One row per legal hold: an account that cannot be erased until the hold is released.
create table security.legal_holds (
  id uuid not null default plinth.uuid_v7(),
  user_id uuid not null,
  reason text not null,
  placed_by uuid,
  released_by uuid,
  released_at timestamp with time zone,
  created_at timestamp with time zone not null default now(),
  constraint legal_holds_pkey primary key (id),
  constraint legal_holds_reason_check check (length(reason) >= 1 and length(reason) <= 500),
  constraint legal_holds_release_is_later check (released_at >= created_at),
  constraint legal_holds_placed_by_fkey foreign key (placed_by) references identity.users(id) on delete set null,
  constraint legal_holds_released_by_fkey foreign key (released_by) references identity.users(id) on delete set null,
  constraint legal_holds_user_id_fkey foreign key (user_id) references identity.users(id) on delete cascade
);

alter table security.legal_holds enable row level security;

create unique index legal_holds_open_idx on security.legal_holds using btree (user_id) where (released_at is null);
create index legal_holds_placed_by_idx on security.legal_holds using btree (placed_by);
create index legal_holds_released_by_idx on security.legal_holds using btree (released_by);
create index legal_holds_user_id_idx on security.legal_holds using btree (user_id);

create trigger _700_record_data_change
  after insert or delete or update on security.legal_holds
  for each row
  execute function private.record_data_change('id', '', '', 'user_id,reason');

comment on table security.legal_holds is E'@behavior -*\n@dataExport omit: the account may be the subject of an investigation\nOne row per legal hold: an account that cannot be erased until the hold is released.';
comment on column security.legal_holds.id is 'Id (UUIDv7).';
comment on column security.legal_holds.user_id is 'The account.';
comment on column security.legal_holds.reason is 'Reason, such as the number of a case, 1 to 500 characters.';
comment on column security.legal_holds.placed_by is 'User who placed the hold; null for a command, or a deleted user.';
comment on column security.legal_holds.released_by is 'User who released the hold; null for a command, or a deleted user.';
comment on column security.legal_holds.released_at is 'Time of the release; null while the hold is in force.';
comment on column security.legal_holds.created_at is 'Time when the hold was placed.';

create policy select_manager on security.legal_holds
  for select to :PLINTH_USER
  using ((select access.has_permission('manage_security'::text)));
comment on policy select_manager on security.legal_holds is 'Users with manage_security read the legal holds.';

grant select on security.legal_holds to :PLINTH_USER;

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

-- One row per read of personal data and person concerned; partitioned by month of created_at. Append-only.
create table security.personal_data_reads (
  id uuid not null default plinth.uuid_v7(),
  read_id uuid not null,
  user_id uuid,
  actor_id uuid,
  api_token_id uuid,
  actor_roles text[] not null default '{}'::text[],
  origin text not null,
  source text not null,
  operation text,
  document_hash text,
  relations text[] not null,
  classes text[] not null default '{}'::text[],
  row_count bigint,
  subject_count integer not null,
  reason text,
  ip_address inet,
  user_agent text,
  correlation_id text,
  created_at timestamp with time zone not null default now(),
  constraint personal_data_reads_pkey primary key (id, created_at),
  constraint personal_data_reads_document_hash_check check (document_hash ~ '^[0-9a-f]{64}$'::text),
  constraint personal_data_reads_origin_check check (origin = any (array['api'::text, 'export'::text, 'command'::text])),
  constraint personal_data_reads_row_count_check check (row_count >= 0),
  constraint personal_data_reads_subject_count_check check (subject_count >= 0),
  constraint personal_data_reads_actor_id_fkey foreign key (actor_id) references identity.users(id) on delete set null,
  constraint personal_data_reads_user_id_fkey foreign key (user_id) references identity.users(id) on delete set null
) partition by range (created_at);

alter table security.personal_data_reads enable row level security;

create index personal_data_reads_actor_id_created_at_idx on security.personal_data_reads using btree (actor_id, created_at);
create index personal_data_reads_created_at_idx on security.personal_data_reads using btree (created_at);
create index personal_data_reads_user_id_created_at_idx on security.personal_data_reads using btree (user_id, created_at);

comment on table security.personal_data_reads is 'One row per read of personal data and person concerned; partitioned by month of created_at. Append-only.';
comment on column security.personal_data_reads.id is 'Id (UUIDv7).';
comment on column security.personal_data_reads.read_id is 'Id of the read, the same for all people whose data it returned.';
comment on column security.personal_data_reads.user_id is 'The person whose data was read; null if the rows belong to no account, the account was deleted, or the read has more than 1,000 people.';
comment on column security.personal_data_reads.actor_id is 'The account that read; null for commands.';
comment on column security.personal_data_reads.api_token_id is E'@dataExport omit\nAPI token of the request; null without one.';
comment on column security.personal_data_reads.actor_roles is 'Roles of the account that read, at that time.';
comment on column security.personal_data_reads.origin is 'Origin of the read: api, export or command.';
comment on column security.personal_data_reads.source is 'Database role that read.';
comment on column security.personal_data_reads.operation is 'Name of the GraphQL operation, or the command.';
comment on column security.personal_data_reads.document_hash is 'SHA-256 of the GraphQL document (hex).';
comment on column security.personal_data_reads.relations is 'Tables and views that were read, by schema and name.';
comment on column security.personal_data_reads.classes is 'Classes of personal data in them.';
comment on column security.personal_data_reads.row_count is 'Number of rows of the person; null for an export by its owner.';
comment on column security.personal_data_reads.subject_count is 'Number of people whose data the read returned.';
comment on column security.personal_data_reads.reason is 'Reason that the reader gave.';
comment on column security.personal_data_reads.ip_address is 'IP address of the client; null if the account that read was deleted.';
comment on column security.personal_data_reads.user_agent is 'User-Agent header of the client; null if the account that read was deleted.';
comment on column security.personal_data_reads.correlation_id is 'Id of the API request, also in its log.';
comment on column security.personal_data_reads.created_at is 'Time of the read; the partition key.';
comment on constraint personal_data_reads_origin_check on security.personal_data_reads is E'Origin of a read of personal data.\napi: A request of the API that a permission allowed.\nexport: An export of all data of a person.\ncommand: Another command of an operator.';
comment on constraint personal_data_reads_actor_id_fkey on security.personal_data_reads is '@behavior -*';
comment on constraint personal_data_reads_user_id_fkey on security.personal_data_reads is '@behavior -*';

create policy select_auditor on security.personal_data_reads
  for select to :PLINTH_USER
  using ((select access.has_permission('view_audit_log'::text)));
comment on policy select_auditor on security.personal_data_reads is 'Users with view_audit_log read the log of reads.';

grant select on security.personal_data_reads to :PLINTH_USER;

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

-- One row per log: how long its entries are kept, and the action after that.
create table security.retention_policies (
  log text not null,
  kept_for interval not null,
  minimum_kept_for interval not null,
  action text not null,
  description text not null,
  created_at timestamp with time zone not null default now(),
  updated_at timestamp with time zone not null default now(),
  constraint retention_policies_pkey primary key (log),
  constraint retention_policies_action_check check (action = any (array['keep'::text, 'archive'::text, 'drop'::text])),
  constraint retention_policies_bookkeeping_is_not_dropped check (action <> 'drop'::text or log <> 'billing.usage_events'::text and log <> 'private.payment_events'::text),
  constraint retention_policies_files_are_not_archived check (action <> 'archive'::text or log ~ '\.'::text),
  constraint retention_policies_kept_for_is_enough check (least(extract(year from kept_for), extract(month from kept_for), extract(day from kept_for), extract(hour from kept_for), extract(minute from kept_for), extract(second from kept_for)) >= 0::numeric and kept_for >= minimum_kept_for and kept_for <= '100 years'::interval and ('2001-01-01 00:00:00'::timestamp without time zone + kept_for) >= ('2001-01-01 00:00:00'::timestamp without time zone + minimum_kept_for)),
  constraint retention_policies_log_check check (log ~ '^[a-z_]+(\.[a-z_]+)?$'::text),
  constraint retention_policies_minimum_is_positive check (minimum_kept_for >= '1 day'::interval)
);

alter table security.retention_policies enable row level security;

create trigger _700_record_data_change
  after insert or delete or update on security.retention_policies
  for each row
  execute function private.record_data_change('log', '', 'updated_at', '');
create trigger _900_touch_updated_at
  before update on security.retention_policies
  for each row
  execute function plinth.touch_updated_at();

comment on table security.retention_policies is 'One row per log: how long its entries are kept, and the action after that.';
comment on column security.retention_policies.log is 'Schema and name of the log''s table; server_log is the log file of the embedded server.';
comment on column security.retention_policies.kept_for is 'Length of time for which entries are kept. The action applies to whole months (UTC) that are older.';
comment on column security.retention_policies.minimum_kept_for is 'Shortest allowed length of time, because of other features.';
comment on column security.retention_policies.action is 'Action after that time: keep, archive or drop.';
comment on column security.retention_policies.description is 'Description of the entries, and the reason for the numbers.';
comment on column security.retention_policies.created_at is 'Time when the policy was created.';
comment on column security.retention_policies.updated_at is 'Time of the last change.';
comment on constraint retention_policies_action_check on security.retention_policies is E'@name retention_action\nAction on entries that are older than their policy keeps.\nkeep: Nothing.\narchive: Written to a file and deleted from the database.\ndrop: Deleted.';

create policy select_permitted on security.retention_policies
  for select to :PLINTH_USER
  using ((select access.has_permission('manage_security'::text)) or (select access.has_permission('view_audit_log'::text)));
comment on policy select_permitted on security.retention_policies is 'Users with manage_security or view_audit_log read the retention policies.';
create policy update_manager on security.retention_policies
  for update to :PLINTH_USER
  using ((select access.has_permission('manage_security'::text)))
  with check ((select access.has_permission('manage_security'::text)));
comment on policy update_manager on security.retention_policies is 'Users with manage_security change the retention policies.';

grant select, update (kept_for, action) on security.retention_policies to :PLINTH_USER;

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
  actor_kind text,
  acting_role text,
  api_token_id uuid,
  session_id uuid,
  job_name text,
  migration text,
  has_ignored_claims boolean,
  fixed_salt uuid,
  content_salt uuid,
  constraint security_audit_log_pkey primary key (id, created_at),
  constraint security_audit_log_actor_kind_check check (actor_kind = any (array['user'::text, 'api_token'::text, 'visitor'::text, 'job'::text, 'migration'::text, 'database_role'::text])),
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

create trigger _800_commit_audit_row
  before insert or update on security.security_audit_log
  for each row
  execute function private.commit_audit_row('security.security_audit_log');

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
comment on column security.security_audit_log.actor_kind is 'Kind of actor; null for events from before it was recorded.';
comment on column security.security_audit_log.acting_role is 'Database role that the session had become, or source.';
comment on column security.security_audit_log.api_token_id is 'API token that acted on behalf of the actor, or null. The token may have been deleted since.';
comment on column security.security_audit_log.session_id is 'Session of the user that acted, or null. It may have been deleted since.';
comment on column security.security_audit_log.job_name is 'Name of the job that acted, or null.';
comment on column security.security_audit_log.migration is 'Schema of the history and file of the migration that acted, or null.';
comment on column security.security_audit_log.has_ignored_claims is 'Whether a database role other than the API''s claimed to be a user, which is not recorded as the actor.';
comment on column security.security_audit_log.fixed_salt is E'@behavior -*\n@dataExport omit\nRandom salt of the commitment to the columns that erasure keeps.';
comment on column security.security_audit_log.content_salt is E'@behavior -*\n@dataExport omit\nRandom salt of the commitment to the other columns; erasure replaces it.';
comment on constraint security_audit_log_actor_kind_check on security.security_audit_log is E'@name actor_kind\nKind of actor behind an event or a change.\nuser: A user in a session.\napi_token: A program with an API token of a user.\nvisitor: The API, for a client without a user, such as at a sign-in.\njob: A job of the worker.\nmigration: A migration.\ndatabase_role: A database role outside the API, such as an administrator in psql.';
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

-- Views -----------------------------------------------------------------------------------------------

-- Reads of the caller's personal data. Grain: one row per read.
create view security.my_personal_data_reads with (security_barrier=true) as
 select id,
    user_id,
    created_at,
    not actor_id is distinct from user_id as is_own,
    actor_roles,
    origin,
    relations,
    classes,
    row_count
   from security.personal_data_reads r
  where user_id = (( select plinth.current_user_id() as current_user_id));

comment on view security.my_personal_data_reads is E'@behavior -query:resource:list -query:resource:connection -query:resource:single\n@primaryKey id,created_at\n@foreignKey (user_id) references identity.users (id)|@fieldName user|@foreignFieldName personalDataReads\nReads of the caller''s personal data. Grain: one row per read.';
comment on column security.my_personal_data_reads.id is 'Id (UUIDv7).';
comment on column security.my_personal_data_reads.user_id is 'The person whose data was read: the caller.';
comment on column security.my_personal_data_reads.created_at is 'Time of the read.';
comment on column security.my_personal_data_reads.is_own is 'Whether the caller read the data, as by an export.';
comment on column security.my_personal_data_reads.actor_roles is 'Roles that the reader had; empty for an operator''s command.';
comment on column security.my_personal_data_reads.origin is 'Origin of the read: api, export or command.';
comment on column security.my_personal_data_reads.relations is 'Tables and views that were read.';
comment on column security.my_personal_data_reads.classes is 'Classes of personal data in them.';
comment on column security.my_personal_data_reads.row_count is 'Number of rows; null for an export by the caller.';

grant select on security.my_personal_data_reads to :PLINTH_USER;

-- Personal-data class of each classified column: of Plinth's tables, and of an application's tables by the tag @personalData.
create view security.personal_data with (security_invoker=true) as
 select c.schema_name,
    c.table_name,
    c.column_name,
    c.class
   from security.column_classes c
union all
 select n.nspname as schema_name,
    t.relname as table_name,
    a.attname as column_name,
    "substring"(d.description, '(?n)^@personalData[ \t]+([a-z]+)'::text) as class
   from pg_description d
     join pg_class t on t.oid = d.objoid and d.classoid = 'pg_class'::regclass::oid
     join pg_namespace n on n.oid = t.relnamespace
     join pg_attribute a on a.attrelid = t.oid and a.attnum = d.objsubid and not a.attisdropped
  where d.objsubid > 0 and d.description ~ '(?n)^@personalData\M'::text and (t.relkind = any (array['r'::"char", 'p'::"char"])) and not t.relispartition;

comment on view security.personal_data is E'@behavior -*\nPersonal-data class of each classified column: of Plinth''s tables, and of an application''s tables by the tag @personalData.';
comment on column security.personal_data.schema_name is 'Schema of the table.';
comment on column security.personal_data.table_name is 'Name of the table; its partitions have the same classes.';
comment on column security.personal_data.column_name is 'Name of the column.';
comment on column security.personal_data.class is 'Class of its values; see security.column_classes.';

grant select on security.personal_data to :PLINTH_USER;

-- Functions -------------------------------------------------------------------------------------------

-- Returns the number of accounts that were active and that were created for each day (UTC), or each of the last 24 hours for one day; oldest first. Deleted accounts are not counted. Needs read_operations (PL403).
create or replace function security.activity_counts(days integer default 30)
  returns setof security.activity_count
  language plpgsql
  stable security definer rows 90
  set search_path to 'pg_catalog'; -- fixtures/security/functions/activity_counts.sql

comment on function security.activity_counts(days integer) is E'@behavior -queryField:resource:connection +queryField:resource:list -filterProc\n@listSuffix omit\nReturns the number of accounts that were active and that were created for each day (UTC), or each of the last 24 hours for one day; oldest first. Deleted accounts are not counted. Needs read_operations (PL403).';
revoke execute on function security.activity_counts(days integer) from public;
grant execute on function security.activity_counts(days integer) to :PLINTH_USER;

-- Counts a call against a limit (fixed_window, sliding_window or token_bucket) or rejects it; exact under concurrent calls. remaining: calls left; retry_after: when this call could pass; reset_at: when no past call counts any more. PL422 for bad arguments.
create or replace function security.consume_rate_limit(key text, algorithm text, limit_value integer, window_length interval, cost integer default 1)
  returns table(allowed boolean, remaining integer, retry_after interval, reset_at timestamp with time zone)
  language sql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/security/functions/consume_rate_limit.sql

comment on function security.consume_rate_limit(key text, algorithm text, limit_value integer, window_length interval, cost integer) is 'Counts a call against a limit (fixed_window, sliding_window or token_bucket) or rejects it; exact under concurrent calls. remaining: calls left; retry_after: when this call could pass; reset_at: when no past call counts any more. PL422 for bad arguments.';
revoke execute on function security.consume_rate_limit(key text, algorithm text, limit_value integer, window_length interval, cost integer) from public;

-- Returns the number of unexpected errors by code for each day (UTC) with one, or each of the last 24 hours for one day; oldest first. Needs read_operations (PL403).
create or replace function security.error_counts(days integer default 30)
  returns setof security.error_count
  language plpgsql
  stable security definer rows 200
  set search_path to 'pg_catalog'; -- fixtures/security/functions/error_counts.sql

comment on function security.error_counts(days integer) is E'@behavior -queryField:resource:connection +queryField:resource:list -filterProc\n@listSuffix omit\nReturns the number of unexpected errors by code for each day (UTC) with one, or each of the last 24 hours for one day; oldest first. Needs read_operations (PL403).';
revoke execute on function security.error_counts(days integer) from public;
grant execute on function security.error_counts(days integer) to :PLINTH_USER;

-- Returns a client's address as text, without a port, brackets or a zone; null if the text is not an address.
create or replace function security.read_client_address(address text)
  returns inet
  language plpgsql
  immutable
  set search_path to 'pg_catalog'; -- fixtures/security/functions/read_client_address.sql

comment on function security.read_client_address(address text) is E'@behavior -*\nReturns a client''s address as text, without a port, brackets or a zone; null if the text is not an address.';
revoke execute on function security.read_client_address(address text) from public;

-- Returns payments, what of them was refunded or is in dispute, and net revenue by currency for each day (UTC) with a payment, or each of the last 24 hours for one day; oldest first. Needs read_operations (PL403).
create or replace function security.revenue_counts(days integer default 30)
  returns setof security.revenue_count
  language plpgsql
  stable security definer rows 90
  set search_path to 'pg_catalog'; -- fixtures/security/functions/revenue_counts.sql

comment on function security.revenue_counts(days integer) is E'@behavior -queryField:resource:connection +queryField:resource:list -filterProc\n@listSuffix omit\nReturns payments, what of them was refunded or is in dispute, and net revenue by currency for each day (UTC) with a payment, or each of the last 24 hours for one day; oldest first. Needs read_operations (PL403).';
revoke execute on function security.revenue_counts(days integer) from public;
grant execute on function security.revenue_counts(days integer) to :PLINTH_USER;

-- Returns the number of sign-in attempts by outcome for each day (UTC), or each of the last 24 hours for one day; oldest first. Needs read_operations (PL403).
create or replace function security.sign_in_counts(days integer default 30)
  returns setof security.sign_in_count
  language plpgsql
  stable security definer rows 90
  set search_path to 'pg_catalog'; -- fixtures/security/functions/sign_in_counts.sql

comment on function security.sign_in_counts(days integer) is E'@behavior -queryField:resource:connection +queryField:resource:list -filterProc\n@listSuffix omit\nReturns the number of sign-in attempts by outcome for each day (UTC), or each of the last 24 hours for one day; oldest first. Needs read_operations (PL403).';
revoke execute on function security.sign_in_counts(days integer) from public;
grant execute on function security.sign_in_counts(days integer) to :PLINTH_USER;

-- Returns what is wrong with the system and what to do, and the state of its jobs, logs, database and replicas: numbers only. Needs read_operations (PL403).
create or replace function security.system_state()
  returns security.system_state
  language plpgsql
  stable security definer
  set search_path to 'pg_catalog'; -- fixtures/security/functions/system_state.sql

comment on function security.system_state() is 'Returns what is wrong with the system and what to do, and the state of its jobs, logs, database and replicas: numbers only. Needs read_operations (PL403).';
revoke execute on function security.system_state() from public;
grant execute on function security.system_state() to :PLINTH_USER;

-- Returns tokens and their cost by model for each day (UTC) with usage, or each of the last 24 hours for one day; oldest first. Needs read_operations (PL403).
create or replace function security.token_use_counts(days integer default 30)
  returns setof security.token_use_count
  language plpgsql
  stable security definer rows 500
  set search_path to 'pg_catalog'; -- fixtures/security/functions/token_use_counts.sql

comment on function security.token_use_counts(days integer) is E'@behavior -queryField:resource:connection +queryField:resource:list -filterProc\n@listSuffix omit\nReturns tokens and their cost by model for each day (UTC) with usage, or each of the last 24 hours for one day; oldest first. Needs read_operations (PL403).';
revoke execute on function security.token_use_counts(days integer) from public;
grant execute on function security.token_use_counts(days integer) to :PLINTH_USER;

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
