-- Schema private as the migrations leave it. Generated (plinth schema dump): read it, do not edit it.

create schema private;
comment on schema private is 'Secrets, and functions for the API service and the job worker. Not accessible to API roles.';
grant usage on schema private to :PLINTH_SERVICE, :PLINTH_WORKER;

-- Tables ----------------------------------------------------------------------------------------------

-- One row per day (UTC) and account with activity. Counts never fall: activity stays counted when it is deleted or archived later.
create table private.account_days (
  day date not null,
  account_id uuid not null,
  plan_code text not null,
  sign_ins bigint not null default 0,
  chat_messages bigint not null default 0,
  room_messages bigint not null default 0,
  content_sessions bigint not null default 0,
  token_uses bigint not null default 0,
  constraint account_days_pkey primary key (day, account_id),
  constraint account_days_counts_are_not_negative check (least(sign_ins, chat_messages, room_messages, content_sessions, token_uses) >= 0),
  constraint account_days_account_id_fkey foreign key (account_id) references private.rolled_up_accounts(id) on delete cascade
);

alter table private.account_days enable row level security;

create index account_days_account_id_day_idx on private.account_days using btree (account_id, day);

comment on table private.account_days is 'One row per day (UTC) and account with activity. Counts never fall: activity stays counted when it is deleted or archived later.';
comment on column private.account_days.day is 'Day in UTC.';
comment on column private.account_days.account_id is 'Random key of the account.';
comment on column private.account_days.plan_code is 'Code of the plan at the end of the day; free without a subscription.';
comment on column private.account_days.sign_ins is 'Number of successful sign-ins.';
comment on column private.account_days.chat_messages is 'Number of messages to models.';
comment on column private.account_days.room_messages is 'Number of messages posted in rooms and in the general chat.';
comment on column private.account_days.content_sessions is 'Number of sessions with content that began.';
comment on column private.account_days.token_uses is 'Number of uses of tokens.';

-- One row per day (UTC), account and model with usage, with the plan of the account. The sum of a day and model is that of billing.daily_usage.
create table private.account_usage_days (
  id bigint generated always as identity,
  day date not null,
  account_id uuid,
  plan_code text,
  model_id uuid,
  requests bigint not null,
  input_tokens bigint not null,
  output_tokens bigint not null,
  total_tokens bigint not null,
  unpriced_tokens bigint not null,
  cost numeric not null,
  currency text not null,
  constraint account_usage_days_pkey primary key (id),
  constraint account_usage_days_day_account_id_model_id_key unique nulls not distinct (day, account_id, model_id),
  constraint account_usage_days_account_id_fkey foreign key (account_id) references private.rolled_up_accounts(id) on delete cascade,
  constraint account_usage_days_model_id_fkey foreign key (model_id) references llm.models(id) on delete restrict
);

alter table private.account_usage_days enable row level security;

create index account_usage_days_account_id_idx on private.account_usage_days using btree (account_id);
create index account_usage_days_model_id_idx on private.account_usage_days using btree (model_id);

comment on table private.account_usage_days is 'One row per day (UTC), account and model with usage, with the plan of the account. The sum of a day and model is that of billing.daily_usage.';
comment on column private.account_usage_days.id is 'Number of the row.';
comment on column private.account_usage_days.day is 'Day of the usage in UTC.';
comment on column private.account_usage_days.account_id is 'Random key of the account; null for usage of accounts that were deleted before it was summed.';
comment on column private.account_usage_days.plan_code is 'Code of the plan at the end of the day; free without a subscription; null without an account.';
comment on column private.account_usage_days.model_id is 'The model; null if none was named.';
comment on column private.account_usage_days.requests is 'Number of uses, without corrections.';
comment on column private.account_usage_days.input_tokens is 'Number of tokens sent, cached ones included.';
comment on column private.account_usage_days.output_tokens is 'Number of tokens generated, reasoning included.';
comment on column private.account_usage_days.total_tokens is 'Sum of input and output tokens.';
comment on column private.account_usage_days.unpriced_tokens is 'Number of tokens whose cost is unknown and not included in cost.';
comment on column private.account_usage_days.cost is 'Exact cost of the priced tokens, in units of currency.';
comment on column private.account_usage_days.currency is 'Currency of the cost (ISO 4217 code).';

-- One row per API token: the hash that identifies it. Not readable by any API role.
create table private.api_token_hashes (
  token_id uuid not null,
  token_hash bytea not null,
  constraint api_token_hashes_pkey primary key (token_id),
  constraint api_token_hashes_token_hash_key unique (token_hash),
  constraint api_token_hashes_token_hash_is_sha256 check (octet_length(token_hash) = 32),
  constraint api_token_hashes_token_id_fkey foreign key (token_id) references identity.api_tokens(id) on delete cascade
);

alter table private.api_token_hashes enable row level security;

comment on table private.api_token_hashes is 'One row per API token: the hash that identifies it. Not readable by any API role.';
comment on column private.api_token_hashes.token_id is 'The token.';
comment on column private.api_token_hashes.token_hash is 'SHA-256 of the token; its 256 random bits need no salt.';

-- One row per deleted account whose rows are still in archives; deleted with the last of them.
create table private.archive_erasures (
  user_id uuid not null,
  certificate_id uuid not null,
  marks text[] not null,
  rows_erased bigint not null default 0,
  requested_at timestamp with time zone not null default now(),
  constraint archive_erasures_pkey primary key (user_id),
  constraint archive_erasures_certificate_id_fkey foreign key (certificate_id) references security.erasure_certificates(id) on delete cascade
);

alter table private.archive_erasures enable row level security;

create index archive_erasures_certificate_id_idx on private.archive_erasures using btree (certificate_id);

comment on table private.archive_erasures is E'@dataExport omit: the account is deleted\nOne row per deleted account whose rows are still in archives; deleted with the last of them.';
comment on column private.archive_erasures.user_id is E'@userId keep: deleted when the archives are clean\nThe account.';
comment on column private.archive_erasures.certificate_id is 'Certificate of the erasure.';
comment on column private.archive_erasures.marks is 'Hashes by which rows are found that do not name the account''s id.';
comment on column private.archive_erasures.rows_erased is 'Number of rows erased from archives so far.';
comment on column private.archive_erasures.requested_at is 'Time of the erasure.';

-- One row per account and archived month of learning.content_consumption, with the sums that the summary of its activity needs.
create table private.archived_consumption (
  user_id uuid not null,
  archive_id uuid not null,
  sessions bigint not null,
  active_seconds bigint not null,
  days datemultirange not null,
  constraint archived_consumption_pkey primary key (user_id, archive_id),
  constraint archived_consumption_archive_id_fkey foreign key (archive_id) references security.archives(id) on delete cascade,
  constraint archived_consumption_user_id_fkey foreign key (user_id) references identity.users(id) on delete cascade
);

alter table private.archived_consumption enable row level security;

create index archived_consumption_archive_id_idx on private.archived_consumption using btree (archive_id);

comment on table private.archived_consumption is 'One row per account and archived month of learning.content_consumption, with the sums that the summary of its activity needs.';
comment on column private.archived_consumption.user_id is 'The account.';
comment on column private.archived_consumption.archive_id is 'The archive.';
comment on column private.archived_consumption.sessions is 'Number of sessions.';
comment on column private.archived_consumption.active_seconds is 'Time spent in the sessions, in seconds; time with two items open at once counts once.';
comment on column private.archived_consumption.days is 'Days (UTC) on which a session began.';

-- One row per closed block of commitments to rows of the audit logs, each chained to the one before. Block 0 is the start.
create table private.audit_blocks (
  number bigint not null,
  previous_hash bytea not null,
  root bytea not null,
  entry_count integer not null,
  closed_at timestamp with time zone not null,
  hash bytea not null,
  constraint audit_blocks_pkey primary key (number),
  constraint audit_blocks_entry_count_is_not_negative check (entry_count >= 0),
  constraint audit_blocks_hashes_are_sha256 check (octet_length(previous_hash) = 32 and octet_length(root) = 32 and octet_length(hash) = 32),
  constraint audit_blocks_number_is_not_negative check (number >= 0)
);

alter table private.audit_blocks enable row level security;

comment on table private.audit_blocks is 'One row per closed block of commitments to rows of the audit logs, each chained to the one before. Block 0 is the start.';
comment on column private.audit_blocks.number is 'Number of the block, without gaps.';
comment on column private.audit_blocks.previous_hash is 'Hash of the block before; zeros for block 0.';
comment on column private.audit_blocks.root is 'SHA-256 of the block''s entries, see private.audit_root.';
comment on column private.audit_blocks.entry_count is 'Number of entries.';
comment on column private.audit_blocks.closed_at is 'Time when the block was closed.';
comment on column private.audit_blocks.hash is 'SHA-256 of all other columns, see private.audit_block_hash.';

-- One row per row of the audit logs (version 0) and per erasure of it. They stay when the row is erased, archived or dropped.
create table private.audit_commitments (
  row_id uuid not null,
  log text not null,
  version integer not null,
  row_created_at timestamp with time zone not null,
  fixed_hash bytea not null,
  content_hash bytea not null,
  created_at timestamp with time zone not null default now(),
  account_id uuid,
  block_number bigint,
  constraint audit_commitments_pkey primary key (row_id, log, version),
  constraint audit_commitments_hashes_are_sha256 check (octet_length(fixed_hash) = 32 and octet_length(content_hash) = 32),
  constraint audit_commitments_log_check check (log = any (array['security.security_audit_log'::text, 'security.audit_trail'::text])),
  constraint audit_commitments_version_is_not_negative check (version >= 0),
  constraint audit_commitments_account_id_fkey foreign key (account_id) references identity.users(id) on delete set null
);

alter table private.audit_commitments enable row level security;

create index audit_commitments_account_id_idx on private.audit_commitments using btree (account_id);
create index audit_commitments_block_number_idx on private.audit_commitments using btree (block_number) where (block_number is not null);
create index audit_commitments_pending_idx on private.audit_commitments using btree (row_id) where (block_number is null);
create index audit_commitments_row_created_at_idx on private.audit_commitments using brin (row_created_at);

comment on table private.audit_commitments is E'@dataExport omit: hashes of rows that are exported themselves\nOne row per row of the audit logs (version 0) and per erasure of it. They stay when the row is erased, archived or dropped.';
comment on column private.audit_commitments.row_id is 'Id of the row of the log.';
comment on column private.audit_commitments.log is 'Schema and name of the log.';
comment on column private.audit_commitments.version is 'Number of erasures of the row until this entry; 0 for the row as it was written.';
comment on column private.audit_commitments.row_created_at is 'Column created_at of the row of the log.';
comment on column private.audit_commitments.fixed_hash is 'Salted SHA-256 of the columns that erasure keeps.';
comment on column private.audit_commitments.content_hash is 'Salted SHA-256 of the other columns.';
comment on column private.audit_commitments.created_at is 'Time of the transaction that wrote or erased the row.';
comment on column private.audit_commitments.account_id is 'The account whose erasure cleared the row, null once it is deleted: if it exists, nothing entitled anyone to clear the row.';
comment on column private.audit_commitments.block_number is 'Number of the block that contains the entry; null until then.';

-- One row per item and time at which it may complete a course or a training: when its availability begins or ends.
create table private.completion_checks (
  item_id uuid not null,
  due_at timestamp with time zone not null,
  constraint completion_checks_pkey primary key (item_id, due_at),
  constraint completion_checks_item_id_fkey foreign key (item_id) references learning.content_items(id) on delete cascade
);

alter table private.completion_checks enable row level security;

create index completion_checks_due_at_idx on private.completion_checks using btree (due_at);

comment on table private.completion_checks is 'One row per item and time at which it may complete a course or a training: when its availability begins or ends.';
comment on column private.completion_checks.item_id is 'The item.';
comment on column private.completion_checks.due_at is 'Time of the check; the row is deleted once it was processed.';

-- One row per part of the content that only one transaction changes at a time.
create table private.content_locks (
  lock_name text not null,
  taken bigint not null default 0,
  constraint content_locks_pkey primary key (lock_name)
);

alter table private.content_locks enable row level security;

comment on table private.content_locks is 'One row per part of the content that only one transaction changes at a time.';
comment on column private.content_locks.lock_name is 'Name of the lock: categories (the tree) or prerequisites (the graph).';
comment on column private.content_locks.taken is 'Number of times the lock was taken.';

-- One row per part of an export's JSON document; the parts in order are the document.
create table private.data_export_parts (
  export_id uuid not null,
  user_id uuid not null,
  part_number integer not null,
  content text not null,
  constraint data_export_parts_pkey primary key (export_id, user_id, part_number),
  constraint data_export_parts_part_number_is_not_negative check (part_number >= 0),
  constraint data_export_parts_export_id_user_id_fkey foreign key (export_id, user_id) references identity.data_exports(id, user_id) on delete cascade
);

alter table private.data_export_parts enable row level security;

comment on table private.data_export_parts is 'One row per part of an export''s JSON document; the parts in order are the document.';
comment on column private.data_export_parts.export_id is 'The export.';
comment on column private.data_export_parts.user_id is 'The user whose data it holds.';
comment on column private.data_export_parts.part_number is 'Position in the document, from 0.';
comment on column private.data_export_parts.content is 'Text of this part of the JSON document.';

-- One row per request to sum a day, the first time or again; a day may have several.
create table private.days_to_roll_up (
  id bigint generated always as identity,
  day date not null,
  constraint days_to_roll_up_pkey primary key (id),
  constraint days_to_roll_up_day_is_plausible check (day >= '2000-01-01'::date and day < 'infinity'::date)
);

alter table private.days_to_roll_up enable row level security;

create index days_to_roll_up_day_idx on private.days_to_roll_up using btree (day);

comment on table private.days_to_roll_up is 'One row per request to sum a day, the first time or again; a day may have several.';
comment on column private.days_to_roll_up.id is 'Number of the row.';
comment on column private.days_to_roll_up.day is 'Day in UTC.';

-- One row per pair of users with a direct room.
create table private.direct_rooms (
  first_user_id uuid not null,
  second_user_id uuid not null,
  room_id uuid not null,
  constraint direct_rooms_pkey primary key (first_user_id, second_user_id),
  constraint direct_rooms_room_id_key unique (room_id),
  constraint direct_rooms_are_of_two_in_order check (first_user_id < second_user_id),
  constraint direct_rooms_first_user_id_fkey foreign key (first_user_id) references identity.users(id) on delete cascade,
  constraint direct_rooms_room_id_fkey foreign key (room_id) references rooms.chat_rooms(id) on delete cascade,
  constraint direct_rooms_second_user_id_fkey foreign key (second_user_id) references identity.users(id) on delete cascade
);

alter table private.direct_rooms enable row level security;

create index direct_rooms_second_user_id_idx on private.direct_rooms using btree (second_user_id);

comment on table private.direct_rooms is 'One row per pair of users with a direct room.';
comment on column private.direct_rooms.first_user_id is 'The user of the pair with the smaller id.';
comment on column private.direct_rooms.second_user_id is 'The other user of the pair.';
comment on column private.direct_rooms.room_id is 'The direct room of the pair.';

-- One row per account that the statement of the current transaction deletes.
create table private.erasures_in_progress (
  user_id uuid not null,
  requested_by text not null,
  purposes text[] not null,
  marks text[] not null,
  counts jsonb not null,
  constraint erasures_in_progress_pkey primary key (user_id)
);

alter table private.erasures_in_progress enable row level security;

comment on table private.erasures_in_progress is E'@dataExport omit: exists only during the statement that deletes the account\nOne row per account that the statement of the current transaction deletes.';
comment on column private.erasures_in_progress.user_id is E'@userId keep: deleted by the same statement\nThe account.';
comment on column private.erasures_in_progress.requested_by is 'Requester of the erasure.';
comment on column private.erasures_in_progress.purposes is 'Purposes of the account''s keys.';
comment on column private.erasures_in_progress.marks is 'Marks for the archives, see private.archive_erasures.';
comment on column private.erasures_in_progress.counts is 'Numbers of deleted and updated rows by table, before or during the deletion.';

-- One row per user who ever received the free plan's monthly tokens.
create table private.free_quotas (
  user_id uuid not null,
  granted_month date not null,
  constraint free_quotas_pkey primary key (user_id),
  constraint free_quotas_granted_month_check check (extract(day from granted_month) = 1::numeric),
  constraint free_quotas_user_id_fkey foreign key (user_id) references identity.users(id) on delete cascade
);

alter table private.free_quotas enable row level security;

comment on table private.free_quotas is 'One row per user who ever received the free plan''s monthly tokens.';
comment on column private.free_quotas.user_id is 'The user.';
comment on column private.free_quotas.granted_month is 'First day of the latest month (UTC) whose tokens were granted.';

-- One row per kind of value that is looked up by a keyed hash. Not readable by any API role.
create table private.lookup_keys (
  name text not null,
  sealed_key text not null,
  created_at timestamp with time zone not null default now(),
  updated_at timestamp with time zone not null default now(),
  constraint lookup_keys_pkey primary key (name),
  constraint lookup_keys_name_check check (name = any (array['email'::text, 'imported email'::text])),
  constraint lookup_keys_sealed_key_is_sealed check (sealed_key ~ '^v[1-9][0-9]{0,5}[.][A-Za-z0-9_-]{38,}$'::text)
);

alter table private.lookup_keys enable row level security;

create trigger _900_touch_updated_at
  before update on private.lookup_keys
  for each row
  execute function plinth.touch_updated_at();

comment on table private.lookup_keys is 'One row per kind of value that is looked up by a keyed hash. Not readable by any API role.';
comment on column private.lookup_keys.name is 'Kind of value: email (identity.users.hashed_email) or imported email (hashes of another system in plinth.external_ids).';
comment on column private.lookup_keys.sealed_key is 'HMAC key or, for imported email, hash function and salt, encrypted with a master key: v<version>.<base64url>.';
comment on column private.lookup_keys.created_at is 'Time when the key was created.';
comment on column private.lookup_keys.updated_at is 'Time when the key was last encrypted.';

-- One row per mail or SMS to be sent or recently sent; kept for 7 days after sending, 30 days after failure.
create table private.mail_outbox (
  id uuid not null default plinth.uuid_v7(),
  user_id uuid,
  channel text not null default 'email'::text,
  to_address text not null,
  template text not null,
  variables jsonb not null default '{}'::jsonb,
  status text not null default 'pending'::text,
  attempts integer not null default 0,
  next_attempt_at timestamp with time zone not null default now(),
  expires_at timestamp with time zone,
  last_error text,
  created_at timestamp with time zone not null default now(),
  sent_at timestamp with time zone,
  constraint mail_outbox_pkey primary key (id),
  constraint mail_outbox_attempts_is_not_negative check (attempts >= 0),
  constraint mail_outbox_channel_check check (channel = any (array['email'::text, 'sms'::text])),
  constraint mail_outbox_sent_with_time check ((status = 'sent'::text) = (sent_at is not null)),
  constraint mail_outbox_status_check check (status = any (array['pending'::text, 'sent'::text, 'failed'::text])),
  constraint mail_outbox_template_check check (template ~ '^[a-z]+(-[a-z]+)*$'::text and length(template) <= 100),
  constraint mail_outbox_to_address_check check (to_address ~ '^[^[:space:][:cntrl:]]+$'::text and length(to_address) >= 3 and length(to_address) <= 254),
  constraint mail_outbox_variables_is_an_object check (jsonb_typeof(variables) = 'object'::text),
  constraint mail_outbox_user_id_fkey foreign key (user_id) references identity.users(id) on delete cascade
);

alter table private.mail_outbox enable row level security;

create index mail_outbox_done_idx on private.mail_outbox using btree (created_at) where (status <> 'pending'::text);
create index mail_outbox_due_idx on private.mail_outbox using btree (next_attempt_at) where (status = 'pending'::text);
create index mail_outbox_to_address_idx on private.mail_outbox using btree (to_address) where (user_id is null);
create index mail_outbox_user_id_idx on private.mail_outbox using btree (user_id);

create trigger _500_forget_last_mail
  after update of status on private.mail_outbox
  for each row
  when (new.template = 'account-deleted'::text and new.user_id is null and new.status <> 'pending'::text)
  execute function private.forget_last_mail();

comment on table private.mail_outbox is 'One row per mail or SMS to be sent or recently sent; kept for 7 days after sending, 30 days after failure.';
comment on column private.mail_outbox.id is 'Id (UUIDv7); also part of the Message-ID, so that a repeated message can be recognized.';
comment on column private.mail_outbox.user_id is 'The account concerned; its messages are deleted with it.';
comment on column private.mail_outbox.channel is 'Channel: email or sms.';
comment on column private.mail_outbox.to_address is 'E-mail address or phone number of the recipient.';
comment on column private.mail_outbox.template is 'Name of the template, such as password-reset; see src/mail/templates.';
comment on column private.mail_outbox.variables is 'Variables of the template (JSON object). Secrets are stored only encrypted, as sealed_token, and deleted when the message is done.';
comment on column private.mail_outbox.status is 'State: pending, sent, or failed (rejected permanently, too old, or tried ten times).';
comment on column private.mail_outbox.attempts is 'Number of times a worker has claimed it for sending.';
comment on column private.mail_outbox.next_attempt_at is 'Time of the next attempt; while a worker is sending it, the end of the worker''s lease.';
comment on column private.mail_outbox.expires_at is 'Time after which the message is no longer sent; null if it does not expire.';
comment on column private.mail_outbox.last_error is 'Error of the last attempt.';
comment on column private.mail_outbox.created_at is 'Time when the message was queued.';
comment on column private.mail_outbox.sent_at is 'Time when the mail server accepted the message.';

-- One row per account with wrong codes since a second factor was last accepted.
create table private.mfa_attempts (
  user_id uuid not null,
  failed_attempts integer not null,
  last_failed_at timestamp with time zone not null default now(),
  locked_until timestamp with time zone,
  constraint mfa_attempts_pkey primary key (user_id),
  constraint mfa_attempts_failed_attempts_is_positive check (failed_attempts > 0),
  constraint mfa_attempts_user_id_fkey foreign key (user_id) references identity.users(id) on delete cascade
);

alter table private.mfa_attempts enable row level security;

comment on table private.mfa_attempts is 'One row per account with wrong codes since a second factor was last accepted.';
comment on column private.mfa_attempts.user_id is 'The account.';
comment on column private.mfa_attempts.failed_attempts is 'Number of wrong codes in a row, over all sessions and challenges.';
comment on column private.mfa_attempts.last_failed_at is 'Time of the last wrong code.';
comment on column private.mfa_attempts.locked_until is 'Time until which codes are rejected; null or in the past if not locked.';

-- One row per model provider with a key.
create table private.model_provider_keys (
  provider_id uuid not null,
  sealed_key text not null,
  updated_at timestamp with time zone not null default now(),
  constraint model_provider_keys_pkey primary key (provider_id),
  constraint model_provider_keys_sealed_key_check check (sealed_key ~ '^v[1-9][0-9]*[.]'::text and length(sealed_key) <= 8192),
  constraint model_provider_keys_provider_id_fkey foreign key (provider_id) references llm.model_providers(id) on delete cascade
);

alter table private.model_provider_keys enable row level security;

comment on table private.model_provider_keys is 'One row per model provider with a key.';
comment on column private.model_provider_keys.provider_id is 'The provider.';
comment on column private.model_provider_keys.sealed_key is 'API key, sealed with a master key outside the database.';
comment on column private.model_provider_keys.updated_at is 'Time when the key was set.';

-- One row per sign-in or link in progress at another provider; usable once, for ten minutes.
create table private.oauth_states (
  id uuid not null default plinth.uuid_v7(),
  flow_hash bytea not null,
  state_hash bytea not null,
  provider text not null,
  purpose text not null,
  user_id uuid,
  session_id uuid,
  redirect_uri text not null,
  secrets_sealed text not null,
  device_name text,
  created_at timestamp with time zone not null default now(),
  expires_at timestamp with time zone not null default now() + '00:10:00'::interval,
  used_at timestamp with time zone,
  constraint oauth_states_pkey primary key (id),
  constraint oauth_states_flow_hash_key unique (flow_hash),
  constraint oauth_states_state_hash_key unique (state_hash),
  constraint oauth_states_device_name_check check (length(device_name) >= 1 and length(device_name) <= 100 and device_name !~ '[[:cntrl:]]'::text),
  constraint oauth_states_hashes_are_sha256 check (octet_length(flow_hash) = 32 and octet_length(state_hash) = 32),
  constraint oauth_states_link_has_a_session check ((purpose = 'link'::text) = (session_id is not null) and (session_id is null) = (user_id is null)),
  constraint oauth_states_provider_check check (provider ~ '^[a-z][a-z0-9_-]{0,49}$'::text),
  constraint oauth_states_purpose_check check (purpose = any (array['sign_in'::text, 'link'::text])),
  constraint oauth_states_redirect_uri_check check (length(redirect_uri) >= 1 and length(redirect_uri) <= 2048),
  constraint oauth_states_session_id_user_id_fkey foreign key (session_id, user_id) references identity.user_sessions(id, user_id) on delete cascade
);

alter table private.oauth_states enable row level security;

create index oauth_states_expires_at_idx on private.oauth_states using btree (expires_at);
create index oauth_states_session_id_user_id_idx on private.oauth_states using btree (session_id, user_id);

comment on table private.oauth_states is 'One row per sign-in or link in progress at another provider; usable once, for ten minutes.';
comment on column private.oauth_states.id is 'Id (UUIDv7).';
comment on column private.oauth_states.flow_hash is 'SHA-256 of the flow token, which only the client that started the flow holds.';
comment on column private.oauth_states.state_hash is 'SHA-256 of the state that the provider returns.';
comment on column private.oauth_states.provider is 'Name of the provider in the settings.';
comment on column private.oauth_states.purpose is 'Purpose: sign_in, or link (add the provider to the signed-in account).';
comment on column private.oauth_states.user_id is 'The user who links the provider; null for a sign-in.';
comment on column private.oauth_states.session_id is 'The session that links the provider and the only one that may finish; null for a sign-in.';
comment on column private.oauth_states.redirect_uri is 'URL to which the provider redirects the browser.';
comment on column private.oauth_states.secrets_sealed is 'PKCE code verifier and nonce (JSON), encrypted for the purpose "oauth flow".';
comment on column private.oauth_states.device_name is 'Name for the device of the new session.';
comment on column private.oauth_states.created_at is 'Time when the client started the flow.';
comment on column private.oauth_states.expires_at is 'Time when the flow expires.';
comment on column private.oauth_states.used_at is 'Time when the flow was used; it cannot be used again. Null if not used.';

-- One row per account at another provider: its tokens of the last sign-in, encrypted.
create table private.oauth_tokens (
  profile_id uuid not null,
  access_token_sealed text not null,
  refresh_token_sealed text,
  updated_at timestamp with time zone not null default now(),
  constraint oauth_tokens_pkey primary key (profile_id),
  constraint oauth_tokens_are_sealed check (access_token_sealed ~ '^v[1-9][0-9]{0,5}[.][A-Za-z0-9_-]{38,}$'::text and refresh_token_sealed ~ '^v[1-9][0-9]{0,5}[.][A-Za-z0-9_-]{38,}$'::text),
  constraint oauth_tokens_are_small check (length(access_token_sealed) <= 32768 and length(refresh_token_sealed) <= 32768),
  constraint oauth_tokens_profile_id_fkey foreign key (profile_id) references identity.oauth_profiles(id) on delete cascade
);

alter table private.oauth_tokens enable row level security;

comment on table private.oauth_tokens is 'One row per account at another provider: its tokens of the last sign-in, encrypted.';
comment on column private.oauth_tokens.profile_id is 'The account at the provider.';
comment on column private.oauth_tokens.access_token_sealed is 'Access token, encrypted for the purpose "oauth token".';
comment on column private.oauth_tokens.refresh_token_sealed is 'Refresh token, encrypted for the purpose "oauth token"; null if the provider issued none.';
comment on column private.oauth_tokens.updated_at is 'Time when the provider issued the tokens.';

-- One row per passkey ceremony in progress. Not readable by any API role.
create table private.passkey_challenges (
  challenge bytea not null,
  purpose text not null,
  user_id uuid,
  created_at timestamp with time zone not null default now(),
  expires_at timestamp with time zone not null default now() + '00:05:00'::interval,
  constraint passkey_challenges_pkey primary key (challenge),
  constraint passkey_challenges_bound_to_an_account check ((user_id is null) = (purpose = 'sign_in'::text)),
  constraint passkey_challenges_challenge_is_32_bytes check (octet_length(challenge) = 32),
  constraint passkey_challenges_purpose_check check (purpose = any (array['register'::text, 'sign_in'::text, 'second_factor'::text, 'reauthenticate'::text])),
  constraint passkey_challenges_user_id_fkey foreign key (user_id) references identity.users(id) on delete cascade
);

alter table private.passkey_challenges enable row level security;

create index passkey_challenges_expires_at_idx on private.passkey_challenges using btree (expires_at);
create index passkey_challenges_user_id_idx on private.passkey_challenges using btree (user_id);

comment on table private.passkey_challenges is 'One row per passkey ceremony in progress. Not readable by any API role.';
comment on column private.passkey_challenges.challenge is 'Challenge of 32 random bytes for the authenticator to sign.';
comment on column private.passkey_challenges.purpose is 'Purpose of the response: register, sign_in, second_factor or reauthenticate.';
comment on column private.passkey_challenges.user_id is 'The user who must respond; null for a sign-in with only a passkey.';
comment on column private.passkey_challenges.created_at is 'Time when the ceremony started.';
comment on column private.passkey_challenges.expires_at is 'Time when the challenge expires.';

-- One row per passkey: its public key and the properties its authenticator reported. Not readable by any API role.
create table private.passkeys (
  factor_id uuid not null,
  credential_id bytea not null,
  public_key bytea not null,
  sign_count bigint not null default 0,
  transports text[] not null default '{}'::text[],
  backup_eligible boolean not null,
  backed_up boolean not null,
  aaguid uuid,
  constraint passkeys_pkey primary key (factor_id),
  constraint passkeys_credential_id_key unique (credential_id),
  constraint passkeys_backed_up_only_if_eligible check (backup_eligible or not backed_up),
  constraint passkeys_credential_id_check check (octet_length(credential_id) >= 1 and octet_length(credential_id) <= 1023),
  constraint passkeys_public_key_check check (octet_length(public_key) >= 1 and octet_length(public_key) <= 4096),
  constraint passkeys_sign_count_check check (sign_count >= 0 and sign_count <= '4294967295'::bigint),
  constraint passkeys_transports_check check (cardinality(transports) <= 10 and array_position(transports, null::text) is null),
  constraint passkeys_factor_id_fkey foreign key (factor_id) references identity.mfa_factors(id) on delete cascade
);

alter table private.passkeys enable row level security;

comment on table private.passkeys is 'One row per passkey: its public key and the properties its authenticator reported. Not readable by any API role.';
comment on column private.passkeys.factor_id is 'The second factor of the passkey.';
comment on column private.passkeys.credential_id is 'Id of the key at the authenticator; unique across accounts.';
comment on column private.passkeys.public_key is 'Public key as COSE_Key (RFC 9052).';
comment on column private.passkeys.sign_count is 'Highest signature counter seen; 0 for authenticators without a counter.';
comment on column private.passkeys.transports is 'Transports of the authenticator, such as usb or internal; a hint for browsers.';
comment on column private.passkeys.backup_eligible is 'Whether the key can be copied between devices; never changes.';
comment on column private.passkeys.backed_up is 'Whether the key was backed up when last used.';
comment on column private.passkeys.aaguid is 'Model id of the authenticator (AAGUID); null if it reports none.';

-- One row per earlier password of an account that cannot be chosen again. Not readable by any API role.
create table private.password_history (
  id uuid not null default plinth.uuid_v7(),
  user_id uuid not null,
  password_hash text not null,
  hash_algorithm text not null,
  created_at timestamp with time zone not null default clock_timestamp(),
  constraint password_history_pkey primary key (id),
  constraint password_history_hash_algorithm_check check (hash_algorithm = any (array['argon2id'::text, 'bcrypt'::text, 'bcrypt-sha256'::text, 'wrapped'::text])),
  constraint password_history_user_id_fkey foreign key (user_id) references identity.users(id) on delete cascade
);

alter table private.password_history enable row level security;

create index password_history_user_id_created_at_idx on private.password_history using btree (user_id, created_at desc);

comment on table private.password_history is 'One row per earlier password of an account that cannot be chosen again. Not readable by any API role.';
comment on column private.password_history.id is 'Id (UUIDv7).';
comment on column private.password_history.user_id is 'The user.';
comment on column private.password_history.password_hash is 'Hash of the earlier password, as in private.user_passwords.';
comment on column private.password_history.hash_algorithm is 'Algorithm of the hash, as in private.user_passwords.';
comment on column private.password_history.created_at is 'Time when the password was replaced.';

-- One row per requested password reset for which mail was sent; kept for 30 days.
create table private.password_reset_tokens (
  id uuid not null default plinth.uuid_v7(),
  user_id uuid not null,
  token_hash bytea not null,
  used_at timestamp with time zone,
  is_used boolean not null generated always as (used_at is not null) stored,
  expires_at timestamp with time zone not null default now() + '00:30:00'::interval,
  client_ip inet,
  user_agent text,
  security_context jsonb not null default '{}'::jsonb,
  created_at timestamp with time zone not null default now(),
  constraint password_reset_tokens_pkey primary key (id),
  constraint password_reset_tokens_token_hash_key unique (token_hash),
  constraint password_reset_tokens_security_context_is_an_object check (jsonb_typeof(security_context) = 'object'::text),
  constraint password_reset_tokens_token_hash_is_sha256 check (octet_length(token_hash) = 32),
  constraint password_reset_tokens_user_id_fkey foreign key (user_id) references identity.users(id) on delete cascade
);

alter table private.password_reset_tokens enable row level security;

create index password_reset_tokens_expires_at_idx on private.password_reset_tokens using btree (expires_at);
create index password_reset_tokens_user_id_expires_at_idx on private.password_reset_tokens using btree (user_id, expires_at);

comment on table private.password_reset_tokens is 'One row per requested password reset for which mail was sent; kept for 30 days.';
comment on column private.password_reset_tokens.id is 'Id (UUIDv7).';
comment on column private.password_reset_tokens.user_id is 'The user whose password can be set.';
comment on column private.password_reset_tokens.token_hash is 'SHA-256 of the token; the token itself is only in the mail.';
comment on column private.password_reset_tokens.used_at is 'Time when the password was set with the token; null if not used.';
comment on column private.password_reset_tokens.is_used is 'Whether the password was set with the token.';
comment on column private.password_reset_tokens.expires_at is 'Time when the token expires: after 30 minutes, or when another token was used.';
comment on column private.password_reset_tokens.client_ip is 'IP address of the request.';
comment on column private.password_reset_tokens.user_agent is 'User-Agent header of the request.';
comment on column private.password_reset_tokens.security_context is 'Further details of the request (JSON object).';
comment on column private.password_reset_tokens.created_at is 'Time of the request.';

-- One row per event that a payment provider sent, including events of unknown kinds.
create table private.payment_events (
  id uuid not null default plinth.uuid_v7(),
  provider text not null,
  provider_event_id text not null,
  event_type text not null,
  provider_customer_id text,
  occurred_at timestamp with time zone not null,
  payload jsonb not null default '{}'::jsonb,
  received_at timestamp with time zone not null default now(),
  processed_at timestamp with time zone,
  outcome text,
  attempts integer not null default 0,
  next_attempt_at timestamp with time zone not null default now(),
  constraint payment_events_pkey primary key (id),
  constraint payment_events_provider_event_key unique (provider, provider_event_id),
  constraint payment_events_event_type_check check (length(event_type) >= 1 and length(event_type) <= 255),
  constraint payment_events_payload_is_a_small_object check (jsonb_typeof(payload) = 'object'::text and pg_column_size(payload) < 10000),
  constraint payment_events_processed_has_an_outcome check (processed_at is null or outcome is not null),
  constraint payment_events_provider_check check (provider ~ '^[a-z][a-z0-9_]{0,49}$'::text),
  constraint payment_events_provider_event_id_check check (length(provider_event_id) >= 1 and length(provider_event_id) <= 255)
);

alter table private.payment_events enable row level security;

create index payment_events_customer_idx on private.payment_events using btree (provider, provider_customer_id) where (processed_at is null);
create index payment_events_next_attempt_at_idx on private.payment_events using btree (next_attempt_at) where (processed_at is null);
create index payment_events_received_at_idx on private.payment_events using brin (received_at);

comment on table private.payment_events is 'One row per event that a payment provider sent, including events of unknown kinds.';
comment on column private.payment_events.id is 'Id (UUIDv7).';
comment on column private.payment_events.provider is 'Name of the payment provider, such as stripe.';
comment on column private.payment_events.provider_event_id is 'Id of the event at the provider; the same event sent again is the same row.';
comment on column private.payment_events.event_type is 'Type of the event, in the provider''s terms.';
comment on column private.payment_events.provider_customer_id is 'Id of the customer at the provider; null if the event names none.';
comment on column private.payment_events.occurred_at is 'Time of the event, by the provider''s clock; later events take precedence.';
comment on column private.payment_events.payload is 'Required fields of the event, and no others (JSON object).';
comment on column private.payment_events.received_at is 'Time when the event first arrived.';
comment on column private.payment_events.processed_at is 'Time when the event was processed; null while it is pending or waiting.';
comment on column private.payment_events.outcome is 'Outcome: applied, ignored, or the reason it waits.';
comment on column private.payment_events.attempts is 'Number of attempts that failed.';
comment on column private.payment_events.next_attempt_at is 'Time of the next attempt.';

-- One row per charge with refunds, failed refund, or dispute of a payment, according to its latest event.
create table private.payment_reversals (
  payment_id uuid not null,
  kind text not null,
  reversal_key text not null,
  amount_cents bigint not null default 0,
  is_in_force boolean not null,
  occurred_at timestamp with time zone not null,
  latest_order text not null,
  constraint payment_reversals_pkey primary key (payment_id, kind, reversal_key),
  constraint payment_reversals_amount_cents_is_not_negative check (amount_cents >= 0),
  constraint payment_reversals_kind_check check (kind = any (array['refunded'::text, 'refund_failed'::text, 'disputed'::text])),
  constraint payment_reversals_payment_id_fkey foreign key (payment_id) references billing.payments(id) on delete cascade
);

alter table private.payment_reversals enable row level security;

comment on table private.payment_reversals is 'One row per charge with refunds, failed refund, or dispute of a payment, according to its latest event.';
comment on column private.payment_reversals.payment_id is 'The payment.';
comment on column private.payment_reversals.kind is 'Kind: refunded (total refunds of a charge), refund_failed (one refund that did not arrive) or disputed.';
comment on column private.payment_reversals.reversal_key is 'Id of the charge, refund or dispute at the provider; earlier for reversals recorded before ids were stored.';
comment on column private.payment_reversals.amount_cents is 'Amount in the currency''s smallest unit; 0 for disputes, which concern the whole payment.';
comment on column private.payment_reversals.is_in_force is 'Whether the reversal counts; false for an inquiry, and for a dispute that was won or prevented.';
comment on column private.payment_reversals.occurred_at is 'Time of the earliest event about the reversal.';
comment on column private.payment_reversals.latest_order is 'Rank of the latest event about the reversal.';

-- One row per GraphQL document that clients may name by its hash. Not readable by any API role.
create table private.persisted_documents (
  hash text not null,
  document text not null,
  added_at timestamp with time zone not null default now(),
  constraint persisted_documents_pkey primary key (hash),
  constraint persisted_documents_document_check check (length(document) >= 1 and length(document) <= 1000000),
  constraint persisted_documents_hash_is_sha256 check (hash = encode(sha256(convert_to(document, 'UTF8'::name)), 'hex'::text))
);

alter table private.persisted_documents enable row level security;

create trigger _900_announce
  after insert or delete or update or truncate on private.persisted_documents
  for each statement
  execute function private.announce_persisted_documents();

comment on table private.persisted_documents is 'One row per GraphQL document that clients may name by its hash. Not readable by any API role.';
comment on column private.persisted_documents.hash is 'SHA-256 of the document in lowercase hexadecimal digits.';
comment on column private.persisted_documents.document is 'Text of the document, exactly as hashed; at most 1,000,000 characters.';
comment on column private.persisted_documents.added_at is 'Time when the document was first added.';

-- One row per use of a prompt that was counted under a key in the last week.
create table private.prompt_use_keys (
  user_id uuid not null,
  idempotency_key text not null,
  prompt_id uuid not null,
  created_at timestamp with time zone not null default now(),
  constraint prompt_use_keys_pkey primary key (user_id, idempotency_key),
  constraint prompt_use_keys_idempotency_key_check check (length(idempotency_key) >= 1 and length(idempotency_key) <= 255),
  constraint prompt_use_keys_prompt_id_fkey foreign key (prompt_id) references llm.prompts(id) on delete cascade,
  constraint prompt_use_keys_user_id_fkey foreign key (user_id) references identity.users(id) on delete cascade
);

alter table private.prompt_use_keys enable row level security;

create index prompt_use_keys_created_at_idx on private.prompt_use_keys using btree (created_at);
create index prompt_use_keys_prompt_id_idx on private.prompt_use_keys using btree (prompt_id);

comment on table private.prompt_use_keys is 'One row per use of a prompt that was counted under a key in the last week.';
comment on column private.prompt_use_keys.user_id is 'The user.';
comment on column private.prompt_use_keys.idempotency_key is 'Idempotency key of the use; reporting the same use again counts once.';
comment on column private.prompt_use_keys.prompt_id is 'The prompt.';
comment on column private.prompt_use_keys.created_at is 'Time when the use was counted.';

-- One row per subscription that must be canceled at its payment provider because its account was deleted; deleted when that is done.
create table private.provider_cancellations (
  provider text not null,
  provider_subscription_id text not null,
  requested_at timestamp with time zone not null default now(),
  attempts integer not null default 0,
  next_attempt_at timestamp with time zone not null default now(),
  last_error text,
  constraint provider_cancellations_pkey primary key (provider, provider_subscription_id)
);

alter table private.provider_cancellations enable row level security;

create index provider_cancellations_next_attempt_at_idx on private.provider_cancellations using btree (next_attempt_at);

comment on table private.provider_cancellations is 'One row per subscription that must be canceled at its payment provider because its account was deleted; deleted when that is done.';
comment on column private.provider_cancellations.provider is 'Name of the payment provider, such as stripe.';
comment on column private.provider_cancellations.provider_subscription_id is 'Id of the subscription at the provider.';
comment on column private.provider_cancellations.requested_at is 'Time when the account was deleted.';
comment on column private.provider_cancellations.attempts is 'Number of cancellation requests sent to the provider.';
comment on column private.provider_cancellations.next_attempt_at is 'Earliest time of the next attempt.';
comment on column private.provider_cancellations.last_error is 'Kind of the last failure; null if none failed.';

-- One row per invoice or purchase of a subscription at a payment provider, including those with nothing to pay.
create table private.provider_invoices (
  provider text not null,
  provider_payment_id text not null,
  provider_subscription_id text not null,
  lines jsonb not null default '[]'::jsonb,
  renews boolean not null default false,
  amount_cents bigint not null default 0,
  paid_order text,
  failed_order text,
  constraint provider_invoices_pkey primary key (provider, provider_payment_id),
  constraint provider_invoices_amount_cents_is_not_negative check (amount_cents >= 0),
  constraint provider_invoices_lines_is_an_array check (jsonb_typeof(lines) = 'array'::text),
  constraint provider_invoices_subscription_fkey foreign key (provider, provider_subscription_id) references private.provider_subscriptions(provider, provider_subscription_id) on delete cascade
);

alter table private.provider_invoices enable row level security;

create index provider_invoices_subscription_idx on private.provider_invoices using btree (provider, provider_subscription_id);

comment on table private.provider_invoices is 'One row per invoice or purchase of a subscription at a payment provider, including those with nothing to pay.';
comment on column private.provider_invoices.provider is 'Name of the payment provider, such as stripe.';
comment on column private.provider_invoices.provider_payment_id is 'Id of the invoice or purchase at the provider.';
comment on column private.provider_invoices.provider_subscription_id is 'Id of the subscription at the provider.';
comment on column private.provider_invoices.lines is 'Invoice lines for a whole period (JSON array of price or plan, start, end in seconds); without prorations and single items.';
comment on column private.provider_invoices.renews is 'Whether the invoice bills the next period; if so, the subscription is unpaid when the invoice fails.';
comment on column private.provider_invoices.amount_cents is 'Amount paid, or due while unpaid, in the currency''s smallest unit.';
comment on column private.provider_invoices.paid_order is 'Rank of the event that reported the payment; null if none did.';
comment on column private.provider_invoices.failed_order is 'Rank of the latest event that reported a failed attempt; null if none did.';

-- One row per subscription at a payment provider: the state reported by its own events, and the state derived from them and its invoices.
create table private.provider_subscriptions (
  provider text not null,
  provider_subscription_id text not null,
  provider_customer_id text,
  user_id uuid,
  status text,
  status_order text,
  was_live boolean not null default false,
  provider_price_id text,
  plan_id uuid,
  cancel_at_period_end boolean not null default false,
  trial_end timestamp with time zone,
  object_order text,
  started_at timestamp with time zone,
  ended_at timestamp with time zone,
  period_start timestamp with time zone,
  period_end timestamp with time zone,
  paid_period_end timestamp with time zone,
  revoked_period_end timestamp with time zone,
  updated_at timestamp with time zone not null default now(),
  items jsonb,
  price_history jsonb not null default '{}'::jsonb,
  cancel_at timestamp with time zone,
  standing text,
  paid_plan_id uuid,
  constraint provider_subscriptions_pkey primary key (provider, provider_subscription_id),
  constraint provider_subscriptions_price_history_is_an_object check (jsonb_typeof(price_history) = 'object'::text),
  constraint provider_subscriptions_paid_plan_id_fkey foreign key (paid_plan_id) references billing.subscription_plans(id) on delete restrict,
  constraint provider_subscriptions_plan_id_fkey foreign key (plan_id) references billing.subscription_plans(id) on delete restrict,
  constraint provider_subscriptions_user_id_fkey foreign key (user_id) references identity.users(id) on delete cascade
);

alter table private.provider_subscriptions enable row level security;

create index provider_subscriptions_paid_plan_id_idx on private.provider_subscriptions using btree (paid_plan_id);
create index provider_subscriptions_plan_id_idx on private.provider_subscriptions using btree (plan_id);
create index provider_subscriptions_user_id_idx on private.provider_subscriptions using btree (user_id);

create trigger _500_request_provider_cancellation
  after delete on private.provider_subscriptions
  for each row
  when (old.user_id is not null)
  execute function private.request_provider_cancellation();
create trigger _900_touch_updated_at
  before update on private.provider_subscriptions
  for each row
  execute function plinth.touch_updated_at();

comment on table private.provider_subscriptions is 'One row per subscription at a payment provider: the state reported by its own events, and the state derived from them and its invoices.';
comment on column private.provider_subscriptions.provider is 'Name of the payment provider, such as stripe.';
comment on column private.provider_subscriptions.provider_subscription_id is 'Id of the subscription at the provider.';
comment on column private.provider_subscriptions.provider_customer_id is 'Id of the customer at the provider.';
comment on column private.provider_subscriptions.user_id is 'The user; null if not known yet.';
comment on column private.provider_subscriptions.status is 'State in the latest event about the subscription itself: incomplete, trialing, active, past_due, paused or canceled.';
comment on column private.provider_subscriptions.status_order is 'Rank of the event that reported the state; canceled is final.';
comment on column private.provider_subscriptions.was_live is 'Whether the subscription ever was trialing, active, past_due or paused.';
comment on column private.provider_subscriptions.provider_price_id is 'Derived: id at the provider of the plan item''s price; null if unknown.';
comment on column private.provider_subscriptions.plan_id is 'Derived: the plan; null while none of its prices is known.';
comment on column private.provider_subscriptions.cancel_at_period_end is 'Whether it ends with the current period, in the latest event about the subscription itself.';
comment on column private.provider_subscriptions.trial_end is 'End of the trial, in the latest event about the subscription itself.';
comment on column private.provider_subscriptions.object_order is 'Rank of the latest event about the subscription itself.';
comment on column private.provider_subscriptions.started_at is 'Earliest start reported by an event.';
comment on column private.provider_subscriptions.ended_at is 'Time when the subscription ended; null while it has not.';
comment on column private.provider_subscriptions.period_start is 'Derived: start of the current period (inclusive).';
comment on column private.provider_subscriptions.period_end is 'Derived: end of the current period (exclusive); null for lifetime.';
comment on column private.provider_subscriptions.paid_period_end is 'Derived: time until which the current period is paid; infinity for lifetime, null if unpaid or the money was returned.';
comment on column private.provider_subscriptions.revoked_period_end is 'Derived: end of the current period if its money was returned, infinity for lifetime; null otherwise.';
comment on column private.provider_subscriptions.updated_at is 'Time of the last change.';
comment on column private.provider_subscriptions.items is 'Items in the latest event about the subscription itself (JSON array of price, start, end in seconds).';
comment on column private.provider_subscriptions.price_history is 'Prices of the items in each of the latest 50 events about the subscription itself (JSON object by rank of the event).';
comment on column private.provider_subscriptions.cancel_at is 'Time when the provider will end the subscription, in the latest event about the subscription itself; null if it will not.';
comment on column private.provider_subscriptions.standing is 'Derived: state, including the reports of its invoices since the latest event about the subscription itself.';
comment on column private.provider_subscriptions.paid_plan_id is 'Derived: the plan whose price was paid for the current period; null if none was.';

-- One row per recently recorded heartbeat, so that each counts once.
create table private.recorded_heartbeats (
  user_id uuid not null,
  event_id uuid not null,
  created_at timestamp with time zone not null default now(),
  digest bytea,
  constraint recorded_heartbeats_pkey primary key (user_id, event_id),
  constraint recorded_heartbeats_digest_is_sha256 check (octet_length(digest) = 32),
  constraint recorded_heartbeats_user_id_fkey foreign key (user_id) references identity.users(id) on delete cascade
);

alter table private.recorded_heartbeats enable row level security;

create index recorded_heartbeats_created_at_idx on private.recorded_heartbeats using btree (created_at);

comment on table private.recorded_heartbeats is 'One row per recently recorded heartbeat, so that each counts once.';
comment on column private.recorded_heartbeats.user_id is 'The user.';
comment on column private.recorded_heartbeats.event_id is 'Id of the heartbeat, set by the client.';
comment on column private.recorded_heartbeats.created_at is 'Time when the heartbeat was recorded.';
comment on column private.recorded_heartbeats.digest is 'SHA-256 of the heartbeat; null for heartbeats recorded before digests were stored.';

-- One row per recovery code of an account's current set; each works once. Not readable by any API role.
create table private.recovery_codes (
  id uuid not null default plinth.uuid_v7(),
  user_id uuid not null,
  code_hash bytea not null,
  created_at timestamp with time zone not null default now(),
  used_at timestamp with time zone,
  constraint recovery_codes_pkey primary key (id),
  constraint recovery_codes_user_id_code_hash_key unique (user_id, code_hash),
  constraint recovery_codes_code_hash_is_sha256 check (octet_length(code_hash) = 32),
  constraint recovery_codes_user_id_fkey foreign key (user_id) references identity.users(id) on delete cascade
);

alter table private.recovery_codes enable row level security;

comment on table private.recovery_codes is 'One row per recovery code of an account''s current set; each works once. Not readable by any API role.';
comment on column private.recovery_codes.id is 'Id (UUIDv7).';
comment on column private.recovery_codes.user_id is 'The owner of the code.';
comment on column private.recovery_codes.code_hash is 'SHA-256 of the code; the code itself is not stored.';
comment on column private.recovery_codes.created_at is 'Time when the set was created.';
comment on column private.recovery_codes.used_at is 'Time when the code was used; null if not used.';

-- One row per refresh token. The tokens of a session form a chain; only the last one is valid.
create table private.refresh_tokens (
  id uuid not null default plinth.uuid_v7(),
  session_id uuid not null,
  user_id uuid not null,
  parent_id uuid,
  token_hash bytea not null,
  created_at timestamp with time zone not null default now(),
  expires_at timestamp with time zone not null,
  used_at timestamp with time zone,
  successor_sealed bytea,
  constraint refresh_tokens_pkey primary key (id),
  constraint refresh_tokens_parent_id_key unique (parent_id),
  constraint refresh_tokens_token_hash_key unique (token_hash),
  constraint refresh_tokens_token_hash_is_sha256 check (octet_length(token_hash) = 32),
  constraint refresh_tokens_used_with_successor check ((used_at is null) = (successor_sealed is null)),
  constraint refresh_tokens_session_id_user_id_fkey foreign key (session_id, user_id) references identity.user_sessions(id, user_id) on delete cascade
);

alter table private.refresh_tokens enable row level security;

create index refresh_tokens_expires_at_idx on private.refresh_tokens using btree (expires_at);
create unique index refresh_tokens_one_live_per_session_key on private.refresh_tokens using btree (session_id) where (used_at is null);
create index refresh_tokens_session_id_user_id_idx on private.refresh_tokens using btree (session_id, user_id);

comment on table private.refresh_tokens is 'One row per refresh token. The tokens of a session form a chain; only the last one is valid.';
comment on column private.refresh_tokens.id is 'Id (UUIDv7).';
comment on column private.refresh_tokens.session_id is 'The session; all its tokens are one family.';
comment on column private.refresh_tokens.user_id is 'The owner of the session.';
comment on column private.refresh_tokens.parent_id is 'The token it replaced, which may have been deleted since; null for the first.';
comment on column private.refresh_tokens.token_hash is 'SHA-256 of the token; the token itself is not stored.';
comment on column private.refresh_tokens.created_at is 'Time when the token was issued.';
comment on column private.refresh_tokens.expires_at is 'Time when the token expires.';
comment on column private.refresh_tokens.used_at is 'Time when it was exchanged for its successor; null while valid.';
comment on column private.refresh_tokens.successor_sealed is 'Successor, encrypted with a key derived from this token.';

-- One row per record created under an idempotency key. Private, because a digest would confirm a guess at a deleted text.
create table private.request_digests (
  id bigint generated always as identity,
  user_id uuid,
  room_message_id uuid,
  chat_room_id uuid,
  general_chat_message_id uuid,
  chat_message_id uuid,
  skill_evidence_id uuid,
  digest bytea not null,
  constraint request_digests_pkey primary key (id),
  constraint request_digests_chat_message_id_key unique (chat_message_id),
  constraint request_digests_chat_room_id_key unique (chat_room_id),
  constraint request_digests_general_chat_message_id_key unique (general_chat_message_id),
  constraint request_digests_room_message_id_key unique (room_message_id),
  constraint request_digests_skill_evidence_id_key unique (skill_evidence_id),
  constraint request_digests_are_of_one_row check (num_nonnulls(room_message_id, chat_room_id, general_chat_message_id, chat_message_id, skill_evidence_id) = 1),
  constraint request_digests_digest_is_sha256 check (octet_length(digest) = 32),
  constraint request_digests_chat_message_id_fkey foreign key (chat_message_id) references llm.messages(id) on delete cascade,
  constraint request_digests_chat_room_id_fkey foreign key (chat_room_id) references rooms.chat_rooms(id) on delete cascade,
  constraint request_digests_general_chat_message_id_fkey foreign key (general_chat_message_id) references rooms.general_chat_messages(id) on delete cascade,
  constraint request_digests_room_message_id_fkey foreign key (room_message_id) references rooms.room_messages(id) on delete cascade,
  constraint request_digests_skill_evidence_id_fkey foreign key (skill_evidence_id) references learning.skill_evidence(id) on delete cascade,
  constraint request_digests_user_id_fkey foreign key (user_id) references identity.users(id) on delete cascade
);

alter table private.request_digests enable row level security;

create index request_digests_user_id_idx on private.request_digests using btree (user_id);

comment on table private.request_digests is 'One row per record created under an idempotency key. Private, because a digest would confirm a guess at a deleted text.';
comment on column private.request_digests.id is 'Surrogate key.';
comment on column private.request_digests.user_id is 'The account that sent the request; null for the AI of a room.';
comment on column private.request_digests.room_message_id is 'The room message that the request created, or null.';
comment on column private.request_digests.chat_room_id is 'The room that the request created, or null.';
comment on column private.request_digests.general_chat_message_id is 'The general chat message that the request created, or null.';
comment on column private.request_digests.chat_message_id is 'The chat message that the request created, or null.';
comment on column private.request_digests.skill_evidence_id is 'The evidence that the request created, or null.';
comment on column private.request_digests.digest is 'SHA-256 of the arguments of the request.';

-- One row per day (UTC) of payment, plan and currency.
create table private.revenue_days (
  id bigint generated always as identity,
  day date not null,
  plan_code text,
  currency text not null,
  payments bigint not null,
  gross_cents bigint not null,
  refunded_cents bigint not null,
  disputed_cents bigint not null,
  constraint revenue_days_pkey primary key (id),
  constraint revenue_days_day_plan_code_currency_key unique nulls not distinct (day, plan_code, currency)
);

alter table private.revenue_days enable row level security;

comment on table private.revenue_days is 'One row per day (UTC) of payment, plan and currency.';
comment on column private.revenue_days.id is 'Number of the row.';
comment on column private.revenue_days.day is 'Day of the payments in UTC.';
comment on column private.revenue_days.plan_code is 'Code of the plan that was paid; null for payments without a plan.';
comment on column private.revenue_days.currency is 'ISO 4217 code of the amounts.';
comment on column private.revenue_days.payments is 'Number of payments received.';
comment on column private.revenue_days.gross_cents is 'Sum of the payments in the currency''s smallest unit.';
comment on column private.revenue_days.refunded_cents is 'Part of these payments that was refunded since, in the smallest unit.';
comment on column private.revenue_days.disputed_cents is 'Part of these payments that is in dispute, in the smallest unit.';

-- State of the roll-ups of analytics, in a single row.
create table private.roll_up_state (
  is_only_row boolean not null default true,
  watermark timestamp with time zone,
  refreshed_at timestamp with time zone,
  constraint roll_up_state_pkey primary key (is_only_row),
  constraint roll_up_state_is_one_row check (is_only_row)
);

alter table private.roll_up_state enable row level security;

comment on table private.roll_up_state is 'State of the roll-ups of analytics, in a single row.';
comment on column private.roll_up_state.is_only_row is 'Always true: there is one row.';
comment on column private.roll_up_state.watermark is 'Time up to which new rows were looked for; null before the first run. Their days are summed or in days_to_roll_up.';
comment on column private.roll_up_state.refreshed_at is 'Time when a day was last summed; null before the first run.';

-- One row per account that existed when a roll-up ran, deleted ones included: a random key for counting accounts without naming them.
create table private.rolled_up_accounts (
  id uuid not null default gen_random_uuid(),
  user_id uuid,
  signed_up_on date not null,
  seconds_to_verified bigint,
  seconds_to_first_message bigint,
  seconds_to_first_payment bigint,
  constraint rolled_up_accounts_pkey primary key (id),
  constraint rolled_up_accounts_user_id_key unique (user_id),
  constraint rolled_up_accounts_user_id_fkey foreign key (user_id) references identity.users(id) on delete set null
);

alter table private.rolled_up_accounts enable row level security;

create index rolled_up_accounts_signed_up_on_idx on private.rolled_up_accounts using btree (signed_up_on);

comment on table private.rolled_up_accounts is 'One row per account that existed when a roll-up ran, deleted ones included: a random key for counting accounts without naming them.';
comment on column private.rolled_up_accounts.id is 'Random key, which nothing else refers to.';
comment on column private.rolled_up_accounts.user_id is 'The account; null after its deletion.';
comment on column private.rolled_up_accounts.signed_up_on is 'Day (UTC) on which the account was created.';
comment on column private.rolled_up_accounts.seconds_to_verified is 'Seconds from sign-up to the verification of an e-mail address; null if none was verified.';
comment on column private.rolled_up_accounts.seconds_to_first_message is 'Seconds from sign-up to the first message to a model; null if there was none.';
comment on column private.rolled_up_accounts.seconds_to_first_payment is 'Seconds from sign-up to the first payment above zero; null if there was none.';

-- One row per room with a password.
create table private.room_passwords (
  room_id uuid not null,
  password_hash text not null,
  updated_at timestamp with time zone not null default now(),
  constraint room_passwords_pkey primary key (room_id),
  constraint room_passwords_password_hash_is_a_phc_string check (password_hash ~ '^\$[a-z0-9-]+\$'::text and length(password_hash) <= 500),
  constraint room_passwords_room_id_fkey foreign key (room_id) references rooms.chat_rooms(id) on delete cascade
);

alter table private.room_passwords enable row level security;

comment on table private.room_passwords is 'One row per room with a password.';
comment on column private.room_passwords.room_id is 'The room.';
comment on column private.room_passwords.password_hash is 'Password hash (PHC string), as for accounts.';
comment on column private.room_passwords.updated_at is 'Time when the password was set.';

-- One row per room, kind, user and block of message numbers with a count.
create table private.room_tallies (
  id bigint generated always as identity,
  room_id uuid not null,
  kind text not null,
  user_id uuid,
  level smallint not null,
  bucket bigint not null,
  peer_id uuid,
  amount bigint not null,
  constraint room_tallies_pkey primary key (id),
  constraint room_tallies_key unique nulls not distinct (room_id, kind, user_id, level, bucket, peer_id),
  constraint room_tallies_amount_is_not_negative check (amount >= 0),
  constraint room_tallies_kind_check check (kind = any (array['uncounted'::text, 'deleted'::text, 'private'::text, 'mention'::text])),
  constraint room_tallies_level_check check (level >= 0 and level <= 3),
  constraint room_tallies_peer_id_fkey foreign key (peer_id) references identity.users(id) on delete cascade,
  constraint room_tallies_room_id_fkey foreign key (room_id) references rooms.chat_rooms(id) on delete cascade,
  constraint room_tallies_user_id_fkey foreign key (user_id) references identity.users(id) on delete cascade
) with (fillfactor=80);

alter table private.room_tallies enable row level security;

create index room_tallies_peer_id_idx on private.room_tallies using btree (peer_id);
create index room_tallies_user_id_idx on private.room_tallies using btree (user_id);

comment on table private.room_tallies is 'One row per room, kind, user and block of message numbers with a count.';
comment on column private.room_tallies.id is 'Surrogate key.';
comment on column private.room_tallies.room_id is 'The room.';
comment on column private.room_tallies.kind is 'Kind of count. uncounted: deleted or private messages, unread for no user. deleted: uncounted messages that user_id sent to all. private: private messages to user_id from peer_id. mention: mentions of user_id by peer_id.';
comment on column private.room_tallies.user_id is 'The user it is counted for; null for all users.';
comment on column private.room_tallies.level is 'Size of the block. 0: bucket is a message''s sequence; 1: sequence / 64; 2: sequence / 4096; 3: sequence / 262144.';
comment on column private.room_tallies.bucket is 'Number of the block of message numbers.';
comment on column private.room_tallies.peer_id is 'The sender of the messages; null for the AI, and if the sender is irrelevant.';
comment on column private.room_tallies.amount is 'Number of messages.';

-- One row per answer that a room's AI is writing: its claim, and the hold that pays.
create table private.room_turns (
  room_id uuid not null,
  answer_id uuid not null,
  user_id uuid,
  hold_id uuid,
  claim_id uuid,
  claims smallint not null,
  lease_expires_at timestamp with time zone not null,
  constraint room_turns_pkey primary key (room_id),
  constraint room_turns_claims_check check (claims >= 0 and claims <= 3),
  constraint room_turns_hold_id_fkey foreign key (hold_id) references billing.token_holds(id) on delete set null,
  constraint room_turns_room_id_fkey foreign key (room_id) references rooms.room_answers(room_id) on delete cascade,
  constraint room_turns_user_id_fkey foreign key (user_id) references identity.users(id) on delete set null
) with (fillfactor=50);

alter table private.room_turns enable row level security;

create index room_turns_hold_id_idx on private.room_turns using btree (hold_id);
create index room_turns_user_id_idx on private.room_turns using btree (user_id);

comment on table private.room_turns is 'One row per answer that a room''s AI is writing: its claim, and the hold that pays.';
comment on column private.room_turns.room_id is 'The room.';
comment on column private.room_turns.answer_id is 'Idempotency key of the message that the answer becomes.';
comment on column private.room_turns.user_id is 'The sender of the answered message, who pays; null for a deleted account.';
comment on column private.room_turns.hold_id is 'The hold of the reserved tokens.';
comment on column private.room_turns.claim_id is 'Claim of the server that writes the answer; null while it waits for one.';
comment on column private.room_turns.claims is 'Number of claims so far.';
comment on column private.room_turns.lease_expires_at is 'Time from which another server may claim the answer.';

-- One row per sign-in that waits for a second factor. Not readable by any API role.
create table private.sign_in_challenges (
  id uuid not null default plinth.uuid_v7(),
  user_id uuid not null,
  token_hash bytea not null,
  token_version integer not null,
  methods text[] not null,
  device_name text,
  failed_attempts integer not null default 0,
  created_at timestamp with time zone not null default now(),
  expires_at timestamp with time zone not null default now() + '00:10:00'::interval,
  used_at timestamp with time zone,
  constraint sign_in_challenges_pkey primary key (id),
  constraint sign_in_challenges_token_hash_key unique (token_hash),
  constraint sign_in_challenges_device_name_check check (length(device_name) >= 1 and length(device_name) <= 100 and device_name !~ '[[:cntrl:]]'::text),
  constraint sign_in_challenges_failed_attempts_is_not_negative check (failed_attempts >= 0),
  constraint sign_in_challenges_methods_check check (cardinality(methods) >= 1 and cardinality(methods) <= 10 and array_position(methods, null::text) is null),
  constraint sign_in_challenges_token_hash_is_sha256 check (octet_length(token_hash) = 32),
  constraint sign_in_challenges_user_id_fkey foreign key (user_id) references identity.users(id) on delete cascade
);

alter table private.sign_in_challenges enable row level security;

create index sign_in_challenges_expires_at_idx on private.sign_in_challenges using btree (expires_at);
create index sign_in_challenges_user_id_idx on private.sign_in_challenges using btree (user_id);

comment on table private.sign_in_challenges is 'One row per sign-in that waits for a second factor. Not readable by any API role.';
comment on column private.sign_in_challenges.id is 'Id (UUIDv7).';
comment on column private.sign_in_challenges.user_id is 'The user who is signing in.';
comment on column private.sign_in_challenges.token_hash is 'SHA-256 of the token with which the client continues.';
comment on column private.sign_in_challenges.token_version is 'Version of the account''s access tokens (token_version) when the first factor was accepted; a different version ends the challenge.';
comment on column private.sign_in_challenges.methods is 'Factors accepted so far, as amr values of RFC 8176.';
comment on column private.sign_in_challenges.device_name is 'Name for the device of the new session; null if not given.';
comment on column private.sign_in_challenges.failed_attempts is 'Number of wrong answers to this challenge; the tenth ends it.';
comment on column private.sign_in_challenges.created_at is 'Time when the first factor was accepted.';
comment on column private.sign_in_challenges.expires_at is 'Time when the challenge expires.';
comment on column private.sign_in_challenges.used_at is 'Time when the challenge became a session; null if it has not.';

-- One row per day (UTC) and status of sign-in attempts.
create table private.sign_in_days (
  day date not null,
  status text not null,
  attempts bigint not null,
  users bigint not null,
  ip_addresses bigint not null,
  constraint sign_in_days_pkey primary key (day, status)
);

alter table private.sign_in_days enable row level security;

comment on table private.sign_in_days is 'One row per day (UTC) and status of sign-in attempts.';
comment on column private.sign_in_days.day is 'Day in UTC.';
comment on column private.sign_in_days.status is 'Result of the attempts.';
comment on column private.sign_in_days.attempts is 'Number of attempts.';
comment on column private.sign_in_days.users is 'Number of accounts that were tried.';
comment on column private.sign_in_days.ip_addresses is 'Number of client addresses.';

-- One row per state of a subscription and event that is allowed in it.
create table private.subscription_transitions (
  from_status text not null,
  event text not null,
  to_status text not null,
  is_providers boolean not null default false,
  constraint subscription_transitions_pkey primary key (from_status, event)
);

alter table private.subscription_transitions enable row level security;

comment on table private.subscription_transitions is 'One row per state of a subscription and event that is allowed in it.';
comment on column private.subscription_transitions.from_status is 'State before the event.';
comment on column private.subscription_transitions.event is 'Name of the event.';
comment on column private.subscription_transitions.to_status is 'State after the event.';
comment on column private.subscription_transitions.is_providers is 'Whether the transition is allowed only for subscriptions billed by a payment provider.';

-- Revoked access tokens: one row per revoked token, session or account, until none of its tokens can be valid.
create table private.token_blacklist (
  id uuid not null default plinth.uuid_v7(),
  kind text not null,
  subject_id uuid not null,
  token_version integer,
  reason text not null,
  created_at timestamp with time zone not null default clock_timestamp(),
  expires_at timestamp with time zone not null default now() + '1 day 00:05:00'::interval,
  constraint token_blacklist_pkey primary key (id),
  constraint token_blacklist_kind_check check (kind = any (array['token'::text, 'session'::text, 'user'::text])),
  constraint token_blacklist_token_version_only_for_users check (token_version is null or kind = 'user'::text)
);

alter table private.token_blacklist enable row level security;

create index token_blacklist_expires_at_idx on private.token_blacklist using btree (expires_at);
create index token_blacklist_subject_id_idx on private.token_blacklist using btree (subject_id);

create trigger _900_notify
  after insert on private.token_blacklist
  for each statement
  execute function private.notify_revocation();

comment on table private.token_blacklist is 'Revoked access tokens: one row per revoked token, session or account, until none of its tokens can be valid.';
comment on column private.token_blacklist.id is 'Id (UUIDv7).';
comment on column private.token_blacklist.kind is 'Scope of the revocation: one token, the tokens of a session, or those of a user.';
comment on column private.token_blacklist.subject_id is 'Id of the token (jti), session or user.';
comment on column private.token_blacklist.token_version is 'For a user: tokens of a lower version are revoked; null for all tokens.';
comment on column private.token_blacklist.reason is 'Reason for the revocation, such as logout.';
comment on column private.token_blacklist.created_at is 'Time of the revocation.';
comment on column private.token_blacklist.expires_at is 'Time from which the row has no effect and is deleted.';

-- One row per authenticator app: its encrypted secret. Not readable by any API role.
create table private.totp_secrets (
  factor_id uuid not null,
  sealed_secret text not null,
  last_used_step bigint,
  constraint totp_secrets_pkey primary key (factor_id),
  constraint totp_secrets_last_used_step_is_not_negative check (last_used_step >= 0),
  constraint totp_secrets_sealed_secret_is_sealed check (sealed_secret ~ '^v[1-9][0-9]*\.[A-Za-z0-9_-]+$'::text),
  constraint totp_secrets_factor_id_fkey foreign key (factor_id) references identity.mfa_factors(id) on delete cascade
);

alter table private.totp_secrets enable row level security;

comment on table private.totp_secrets is 'One row per authenticator app: its encrypted secret. Not readable by any API role.';
comment on column private.totp_secrets.factor_id is 'The second factor of the app.';
comment on column private.totp_secrets.sealed_secret is 'Shared secret and the owner''s id, encrypted for the purpose "totp secret".';
comment on column private.totp_secrets.last_used_step is 'Number of the 30-second step whose code was last accepted; codes of this step and earlier ones are rejected.';

-- One row per answer that is streaming or recently ended: the state that each delta changes, and the hold that pays. Its deltas are deleted with it.
create table private.turns (
  message_id uuid not null,
  user_id uuid not null,
  chat_id uuid not null,
  writer text not null,
  last_sequence integer not null default 0,
  streamed_bytes integer not null default 0,
  lease interval not null,
  lease_expires_at timestamp with time zone not null,
  max_tokens bigint not null,
  input_tokens bigint not null,
  hold_id uuid,
  is_usage_estimated boolean not null default false,
  created_at timestamp with time zone not null default now(),
  ended_at timestamp with time zone,
  claim_id uuid,
  claims smallint not null default 0,
  tools jsonb,
  estimated_input_tokens bigint,
  uses_own_model boolean not null default false,
  constraint turns_pkey primary key (message_id),
  constraint turns_user_id_message_id_key unique (user_id, message_id),
  constraint turns_claims_check check (claims >= 0 and claims <= 3),
  constraint turns_input_tokens_is_not_negative check (input_tokens >= 0),
  constraint turns_last_sequence_is_not_negative check (last_sequence >= 0),
  constraint turns_lease_check check (lease >= '00:00:05'::interval and lease <= '01:00:00'::interval),
  constraint turns_max_tokens_is_positive check (max_tokens > 0),
  constraint turns_only_servers_claim check (writer = 'server'::text or claim_id is null and claims = 0 and tools is null and not uses_own_model),
  constraint turns_streamed_bytes_is_limited check (streamed_bytes >= 0 and streamed_bytes <= 1000000),
  constraint turns_writer_check check (writer = any (array['client'::text, 'service'::text, 'server'::text])),
  constraint turns_hold_id_fkey foreign key (hold_id) references billing.token_holds(id) on delete set null,
  constraint turns_message_id_fkey foreign key (user_id, message_id, chat_id) references llm.messages(user_id, id, chat_id) on delete cascade
) with (fillfactor=50);

alter table private.turns enable row level security;

create index turns_ended_at_idx on private.turns using btree (ended_at) where (ended_at is not null);
create index turns_hold_id_idx on private.turns using btree (hold_id);
create index turns_running_idx on private.turns using btree (message_id) where (ended_at is null);
create index turns_user_id_message_id_chat_id_idx on private.turns using btree (user_id, message_id, chat_id);

create trigger _200_bill_deleted_turn
  before delete on private.turns
  for each row
  when (old.ended_at is null)
  execute function private.bill_deleted_turn();

comment on table private.turns is 'One row per answer that is streaming or recently ended: the state that each delta changes, and the hold that pays. Its deltas are deleted with it.';
comment on column private.turns.message_id is 'The answer.';
comment on column private.turns.user_id is 'The owner of the chat.';
comment on column private.turns.chat_id is 'The chat.';
comment on column private.turns.writer is 'Writer that appends: client (the owner, through the API), service (private.append_delta) or server (the built-in answerer).';
comment on column private.turns.last_sequence is 'Sequence number of the last delta; 0 before the first.';
comment on column private.turns.streamed_bytes is 'Size of content and thinking so far, in bytes.';
comment on column private.turns.lease is 'Time that the writer may stay silent.';
comment on column private.turns.lease_expires_at is 'Time from which others may end the turn. Each delta extends it.';
comment on column private.turns.max_tokens is 'Number of tokens reserved for the turn.';
comment on column private.turns.input_tokens is 'Input tokens reported at the start; charged if the writer never reports its usage.';
comment on column private.turns.hold_id is 'The hold of the reserved tokens; settled or released when the turn ends.';
comment on column private.turns.is_usage_estimated is 'Whether the charge is based on the streamed text because the writer never reported its usage; a service may still report it.';
comment on column private.turns.created_at is 'Time when the turn started.';
comment on column private.turns.ended_at is 'Time when the turn ended; null while it is running.';
comment on column private.turns.claim_id is 'Claim of the server that writes the answer; null while it waits for one.';
comment on column private.turns.claims is 'Number of claims so far.';
comment on column private.turns.tools is 'Tools that the model may call (JSON array), or null.';
comment on column private.turns.estimated_input_tokens is 'Tokens that the model will read, estimated when the answer was requested; null if the writer is no server, or for the user''s own model.';
comment on column private.turns.uses_own_model is 'Whether the model of the user''s own settings writes the answer; such answers are not charged.';

-- One row per idempotency key of a call that created no hold and no grant, and per message whose tokens were counted.
create table private.usage_keys (
  user_id uuid not null,
  operation text not null,
  idempotency_key text not null,
  arguments jsonb not null,
  event_id uuid,
  amount bigint,
  constraint usage_keys_pkey primary key (user_id, operation, idempotency_key),
  constraint usage_keys_idempotency_key_check check (length(idempotency_key) >= 1 and length(idempotency_key) <= 255),
  constraint usage_keys_operation_check check (operation = any (array['record'::text, 'correct'::text, 'close_grant'::text, 'message'::text, 'grant_subscription'::text])),
  constraint usage_keys_user_id_fkey foreign key (user_id) references billing.usage_tracking(user_id) on delete cascade
);

alter table private.usage_keys enable row level security;

comment on table private.usage_keys is 'One row per idempotency key of a call that created no hold and no grant, and per message whose tokens were counted.';
comment on column private.usage_keys.user_id is 'The user whose tokens were counted.';
comment on column private.usage_keys.operation is 'Operation: record, correct, close_grant, grant_subscription, or message (the key is the message''s id).';
comment on column private.usage_keys.idempotency_key is 'Idempotency key of the caller.';
comment on column private.usage_keys.arguments is 'Arguments of the call, to detect a different call with the same key.';
comment on column private.usage_keys.event_id is 'The usage event that the call created; null if it created none.';
comment on column private.usage_keys.amount is 'Result of close_grant: number of tokens carried over.';

-- One row per user and purpose with encrypted data: the user's Fernet key, encrypted. Deleting the row makes that data unreadable.
create table private.user_keys (
  id uuid not null default plinth.uuid_v7(),
  user_id uuid not null,
  wrapped_key text not null,
  master_key_version integer not null generated always as ("substring"(wrapped_key, '^v([0-9]+)'::text)::integer) stored,
  created_at timestamp with time zone not null default now(),
  updated_at timestamp with time zone not null default now(),
  purpose text not null default 'conversation memory'::text,
  constraint user_keys_pkey primary key (id),
  constraint user_keys_id_user_id_key unique (id, user_id),
  constraint user_keys_user_id_purpose_key unique (user_id, purpose),
  constraint user_keys_purpose_check check (purpose = any (array['conversation memory'::text, 'memories'::text])),
  constraint user_keys_wrapped_key_is_sealed check (wrapped_key ~ '^v[1-9][0-9]{0,5}[.][A-Za-z0-9_-]{38,}$'::text),
  constraint user_keys_user_id_fkey foreign key (user_id) references identity.users(id) on delete cascade
);

alter table private.user_keys enable row level security;

create index user_keys_master_key_version_idx on private.user_keys using btree (master_key_version);

create trigger _900_touch_updated_at
  before update on private.user_keys
  for each row
  execute function plinth.touch_updated_at('master_key_version');

comment on table private.user_keys is 'One row per user and purpose with encrypted data: the user''s Fernet key, encrypted. Deleting the row makes that data unreadable.';
comment on column private.user_keys.id is 'Id (UUIDv7); after a key is deleted, the user''s next key has a different id.';
comment on column private.user_keys.user_id is 'The owner of the key; bound into the encryption, so that the key opens in no other row.';
comment on column private.user_keys.wrapped_key is 'Fernet key, encrypted with a master key: v<version>.<base64url>.';
comment on column private.user_keys.master_key_version is 'Version of the master key that encrypted the key.';
comment on column private.user_keys.created_at is 'Time when the key was created.';
comment on column private.user_keys.updated_at is 'Time when the key was last encrypted.';
comment on column private.user_keys.purpose is 'Data that the key encrypts: conversation memory or memories.';

-- One row per user with a key for the own model.
create table private.user_model_keys (
  user_id uuid not null,
  sealed_key text not null,
  updated_at timestamp with time zone not null default now(),
  constraint user_model_keys_pkey primary key (user_id),
  constraint user_model_keys_sealed_key_check check (sealed_key ~ '^v[1-9][0-9]*[.]'::text and length(sealed_key) <= 8192),
  constraint user_model_keys_user_id_fkey foreign key (user_id) references identity.users(id) on delete cascade
);

alter table private.user_model_keys enable row level security;

comment on table private.user_model_keys is 'One row per user with a key for the own model.';
comment on column private.user_model_keys.user_id is 'The user.';
comment on column private.user_model_keys.sealed_key is 'API key, sealed with a master key outside the database.';
comment on column private.user_model_keys.updated_at is 'Time when the key was set.';

-- One row per account with a password. Not readable by any API role.
create table private.user_passwords (
  user_id uuid not null,
  password_hash text not null,
  hash_algorithm text not null default 'argon2id'::text,
  updated_at timestamp with time zone not null default now(),
  suffices_alone boolean not null default true,
  constraint user_passwords_pkey primary key (user_id),
  constraint user_passwords_hash_algorithm_check check (hash_algorithm = any (array['argon2id'::text, 'bcrypt'::text, 'bcrypt-sha256'::text, 'wrapped'::text])),
  constraint user_passwords_password_hash_check check (
case hash_algorithm
    when 'argon2id'::text then password_hash ~ '^\$argon2id\$v=19\$m=\d+,t=\d+,p=\d+\$[A-Za-z0-9+/]+\$[A-Za-z0-9+/]+$'::text
    when 'bcrypt'::text then password_hash ~ '^\$2[aby]\$\d\d\$[./A-Za-z0-9]{53}$'::text
    when 'bcrypt-sha256'::text then password_hash ~ '^\$bcrypt-sha256\$v=2,t=2b,r=\d\d?\$[./A-Za-z0-9]{22}\$[./A-Za-z0-9]{31}$'::text
    when 'wrapped'::text then password_hash ~ '^\$plinth-wrapped\$v=1\$f=[a-z0-9-]+,l=\d+(,[a-z]+=[A-Za-z0-9+/]+)*\$m=\d+,t=\d+,p=\d+\$[A-Za-z0-9+/]+\$[A-Za-z0-9+/]+$'::text
    else null::boolean
end),
  constraint user_passwords_user_id_fkey foreign key (user_id) references identity.users(id) on delete cascade
);

alter table private.user_passwords enable row level security;

create index user_passwords_bcrypt_idx on private.user_passwords using btree (user_id) where (hash_algorithm <> 'argon2id'::text);

comment on table private.user_passwords is 'One row per account with a password. Not readable by any API role.';
comment on column private.user_passwords.user_id is 'The user.';
comment on column private.user_passwords.password_hash is 'Password hash: PHC string (argon2id, bcrypt-sha256 in passlib''s second form), modular crypt string (bcrypt), or the argon2id hash of another system''s digest with that system''s salt and parameters ($plinth-wrapped$…).';
comment on column private.user_passwords.hash_algorithm is 'Algorithm: argon2id (default), bcrypt-sha256 (PLINTH_PASSWORD_HASH=bcrypt), bcrypt or wrapped (imported; replaced at the next sign-in).';
comment on column private.user_passwords.updated_at is 'Time when the hash was last set.';
comment on column private.user_passwords.suffices_alone is 'Whether the password met the rule for use without a second factor (15 characters); if not, the last factor cannot be removed.';

-- One row per address or number that a user was asked to verify; kept for 30 days.
create table private.user_verifications (
  id uuid not null default plinth.uuid_v7(),
  user_id uuid not null,
  kind text not null,
  new_value text not null,
  hashed_email bytea,
  token_hash bytea,
  code_hash text,
  attempts integer not null default 0,
  client_ip inet,
  user_agent text,
  created_at timestamp with time zone not null default now(),
  expires_at timestamp with time zone not null,
  used_at timestamp with time zone,
  purpose text not null default 'prove'::text,
  constraint user_verifications_pkey primary key (id),
  constraint user_verifications_token_hash_key unique (token_hash),
  constraint user_verifications_attempts_check check (attempts >= 0 and attempts <= 5),
  constraint user_verifications_kind_check check (kind = any (array['email'::text, 'phone'::text])),
  constraint user_verifications_purpose_check check (purpose = any (array['prove'::text, 'change'::text])),
  constraint user_verifications_secret_suits_kind check ((kind = 'email'::text) = (token_hash is not null) and (kind = 'phone'::text) = (code_hash is not null)),
  constraint user_verifications_token_hash_is_sha256 check (octet_length(token_hash) = 32),
  constraint user_verifications_user_id_fkey foreign key (user_id) references identity.users(id) on delete cascade
);

alter table private.user_verifications enable row level security;

create index user_verifications_expires_at_idx on private.user_verifications using btree (expires_at);
create index user_verifications_new_value_idx on private.user_verifications using btree (new_value, created_at) where (kind = 'phone'::text);
create index user_verifications_user_id_created_at_idx on private.user_verifications using btree (user_id, created_at desc);

comment on table private.user_verifications is 'One row per address or number that a user was asked to verify; kept for 30 days.';
comment on column private.user_verifications.id is 'Id (UUIDv7).';
comment on column private.user_verifications.user_id is 'The user who claims the address or number.';
comment on column private.user_verifications.kind is 'Kind: email or phone.';
comment on column private.user_verifications.new_value is 'Address (lower case) or number (E.164) to verify.';
comment on column private.user_verifications.hashed_email is 'HMAC-SHA256 of the new e-mail address, for identity.users.hashed_email; null if none was given.';
comment on column private.user_verifications.token_hash is 'For an address: SHA-256 of the token in the link.';
comment on column private.user_verifications.code_hash is 'For a number: argon2id hash of the code (PHC string).';
comment on column private.user_verifications.attempts is 'Number of codes tried, right or wrong; at most 5.';
comment on column private.user_verifications.client_ip is 'IP address of the request.';
comment on column private.user_verifications.user_agent is 'User-Agent header of the request.';
comment on column private.user_verifications.created_at is 'Time of the request.';
comment on column private.user_verifications.expires_at is 'Time when the link or code expires: after a day for links, ten minutes for codes, or when replaced by a newer one.';
comment on column private.user_verifications.used_at is 'Time when the address or number was verified; null if not verified.';
comment on column private.user_verifications.purpose is 'Purpose: prove (that the owner of the account owns its address) or change (the account''s address or number to this one).';

-- Functions -------------------------------------------------------------------------------------------

-- Uses up a second factor; returns a null refusal and the amr values shown, or the reason for the refusal. Counts and audits; the caller holds the account's row lock.
create or replace function private.accept_second_factor(user_id uuid, proof jsonb, out refusal text, out methods text[])
  returns record
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/identity/private/accept_second_factor.sql

comment on function private.accept_second_factor(user_id uuid, proof jsonb, out refusal text, out methods text[]) is 'Uses up a second factor; returns a null refusal and the amr values shown, or the reason for the refusal. Counts and audits; the caller holds the account''s row lock.';
revoke execute on function private.accept_second_factor(user_id uuid, proof jsonb, out refusal text, out methods text[]) from public;

-- Returns the grants, policies and row that decide on an operation, for access.explain_access. PL404 for an unknown account, table or function.
create or replace function private.access_case(user_id uuid, operation text, object text, key jsonb default null::jsonb, new_values jsonb default null::jsonb, database_role text default null::text, returns_row boolean default false)
  returns jsonb
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/access/private/access_case.sql

comment on function private.access_case(user_id uuid, operation text, object text, key jsonb, new_values jsonb, database_role text, returns_row boolean) is 'Returns the grants, policies and row that decide on an operation, for access.explain_access. PL404 for an unknown account, table or function.';
revoke execute on function private.access_case(user_id uuid, operation text, object text, key jsonb, new_values jsonb, database_role text, returns_row boolean) from public;

-- Returns the policies that a row must pass for a command, with the parts of their conditions, and the condition that PostgreSQL makes of them.
create or replace function private.access_step(role_id oid, relation_id oid, command text, is_check boolean, purpose text)
  returns jsonb
  language sql
  stable
  set search_path to 'pg_catalog'; -- fixtures/access/private/access_step.sql

comment on function private.access_step(role_id oid, relation_id oid, command text, is_check boolean, purpose text) is 'Returns the policies that a row must pass for a command, with the parts of their conditions, and the condition that PostgreSQL makes of them.';
revoke execute on function private.access_step(role_id oid, relation_id oid, command text, is_check boolean, purpose text) from public;

-- Returns the whole seconds before a time, as seconds since the year 2000 (UTC).
create or replace function private.active_stretch(ended_at timestamp with time zone, seconds integer)
  returns int4multirange
  language sql
  stable; -- fixtures/learning/private/active_stretch.sql

comment on function private.active_stretch(ended_at timestamp with time zone, seconds integer) is 'Returns the whole seconds before a time, as seconds since the year 2000 (UTC).';
revoke execute on function private.active_stretch(ended_at timestamp with time zone, seconds integer) from public;

-- Adds mentions to a message and updates the counts.
create or replace function private.add_mentions(message rooms.room_messages, mentions uuid[])
  returns void
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/rooms/private/add_mentions.sql

comment on function private.add_mentions(message rooms.room_messages, mentions uuid[]) is 'Adds mentions to a message and updates the counts.';
revoke execute on function private.add_mentions(message rooms.room_messages, mentions uuid[]) from public;

-- Records that the calling session has just shown these factors (amr values); returns the time.
create or replace function private.add_session_methods(methods text[])
  returns timestamp with time zone
  language sql
  set search_path to 'pg_catalog'; -- fixtures/identity/private/add_session_methods.sql

comment on function private.add_session_methods(methods text[]) is 'Records that the calling session has just shown these factors (amr values); returns the time.';
revoke execute on function private.add_session_methods(methods text[]) from public;

-- Records evidence and moves the level by as much of delta as fits into 0 to 10. A known source_key changes nothing; PL409 if it was recorded with another digest.
create or replace function private.add_skill_evidence(user_id uuid, skill_id uuid, kind text, delta numeric, source_key text default null::text, note text default null::text, digest bytea default null::bytea)
  returns learning.skill_evidence
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/learning/private/add_skill_evidence.sql

comment on function private.add_skill_evidence(user_id uuid, skill_id uuid, kind text, delta numeric, source_key text, note text, digest bytea) is 'Records evidence and moves the level by as much of delta as fits into 0 to 10. A known source_key changes nothing; PL409 if it was recorded with another digest.';
revoke execute on function private.add_skill_evidence(user_id uuid, skill_id uuid, kind text, delta numeric, source_key text, note text, digest bytea) from public;

-- Makes a user a member unless they are one, and accepts an open invite; PL403 for a banned user, PL404 without a room.
create or replace function private.add_to_room(room_id uuid, user_id uuid)
  returns rooms.room_members
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/rooms/private/add_to_room.sql

comment on function private.add_to_room(room_id uuid, user_id uuid) is 'Makes a user a member unless they are one, and accepts an open invite; PL403 for a banned user, PL404 without a room.';
revoke execute on function private.add_to_room(room_id uuid, user_id uuid) from public;

-- Returns how many seconds of a stretch are not among the active ones yet.
create or replace function private.added_seconds(active int4multirange, stretch int4multirange, seconds integer)
  returns integer
  language sql
  immutable; -- fixtures/learning/private/added_seconds.sql

comment on function private.added_seconds(active int4multirange, stretch int4multirange, seconds integer) is 'Returns how many seconds of a stretch are not among the active ones yet.';
revoke execute on function private.added_seconds(active int4multirange, stretch int4multirange, seconds integer) from public;

-- Adds recipients and mentions to a message just posted; PL422 for recipients who are not members.
create or replace function private.address_message(message rooms.room_messages, recipients uuid[], mentions uuid[])
  returns void
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/rooms/private/address_message.sql

comment on function private.address_message(message rooms.room_messages, recipients uuid[], mentions uuid[]) is 'Adds recipients and mentions to a message just posted; PL422 for recipients who are not members.';
revoke execute on function private.address_message(message rooms.room_messages, recipients uuid[], mentions uuid[]) from public;

-- Gives an imported account the keyed hash (and the address) that replaces another system's hash of the address; does nothing without such an account.
create or replace function private.adopt_imported_email(system text, email_ids text[], hashed_email bytea, email text default null::text)
  returns void
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/private/adopt_imported_email.sql

comment on function private.adopt_imported_email(system text, email_ids text[], hashed_email bytea, email text) is 'Gives an imported account the keyed hash (and the address) that replaces another system''s hash of the address; does nothing without such an account.';
revoke execute on function private.adopt_imported_email(system text, email_ids text[], hashed_email bytea, email text) from public;
grant execute on function private.adopt_imported_email(system text, email_ids text[], hashed_email bytea, email text) to :PLINTH_SERVICE;

-- Renews, expires and cancels one subscription up to a moment; returns the number of steps.
create or replace function private.advance_subscription(subscription_id uuid, at timestamp with time zone)
  returns integer
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/billing/private/advance_subscription.sql

comment on function private.advance_subscription(subscription_id uuid, at timestamp with time zone) is 'Renews, expires and cancels one subscription up to a moment; returns the number of steps.';
revoke execute on function private.advance_subscription(subscription_id uuid, at timestamp with time zone) from public;

-- Advances up to batch_size subscriptions that are due; returns their number.
create or replace function private.advance_subscriptions(batch_size integer default 100)
  returns integer
  language sql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/billing/private/advance_subscriptions.sql

comment on function private.advance_subscriptions(batch_size integer) is 'Advances up to batch_size subscriptions that are due; returns their number.';
revoke execute on function private.advance_subscriptions(batch_size integer) from public;
grant execute on function private.advance_subscriptions(batch_size integer) to :PLINTH_WORKER;

-- Advances up to batch_size subscriptions that are due at a moment; returns their number.
create or replace function private.advance_subscriptions_at(batch_size integer, at timestamp with time zone)
  returns integer
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/billing/private/advance_subscriptions_at.sql

comment on function private.advance_subscriptions_at(batch_size integer, at timestamp with time zone) is 'Advances up to batch_size subscriptions that are due at a moment; returns their number.';
revoke execute on function private.advance_subscriptions_at(batch_size integer, at timestamp with time zone) from public;

-- Sets the progress of a user's active training to the share of the skill's items that the user completed, if that is higher.
create or replace function private.advance_training(user_id uuid, skill_id uuid)
  returns void
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/learning/private/advance_training.sql

comment on function private.advance_training(user_id uuid, skill_id uuid) is 'Sets the progress of a user''s active training to the share of the skill''s items that the user completed, if that is higher.';
revoke execute on function private.advance_training(user_id uuid, skill_id uuid) from public;

-- Adds the event audit_log_imported, so that rows of the same transaction may say earlier times. For the import of another system's log.
create or replace function private.announce_audit_import(system text)
  returns void
  language sql
  set search_path to 'pg_catalog'; -- fixtures/security/private/announce_audit_import.sql

comment on function private.announce_audit_import(system text) is 'Adds the event audit_log_imported, so that rows of the same transaction may say earlier times. For the import of another system''s log.';
revoke execute on function private.announce_audit_import(system text) from public;

-- Trigger: tells every server that documents were added or removed.
create or replace function private.announce_persisted_documents()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/plinth/triggers/persisted_documents.sql

comment on function private.announce_persisted_documents() is 'Trigger: tells every server that documents were added or removed.';
revoke execute on function private.announce_persisted_documents() from public;

-- Counts a change of a user's memberships, read marks or invites, and announces it.
create or replace function private.announce_user(user_id uuid)
  returns void
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/rooms/private/announce_user.sql

comment on function private.announce_user(user_id uuid) is 'Counts a change of a user''s memberships, read marks or invites, and announces it.';
revoke execute on function private.announce_user(user_id uuid) from public;

-- Returns the last max_count messages before an answer, oldest first, with the images attached to them.
create or replace function private.answer_context(message_id uuid, max_count integer default 50)
  returns table(role text, content text, tool_calls jsonb, tool_call_id text, images jsonb)
  language sql
  stable security definer
  set search_path to 'pg_catalog'; -- fixtures/llm/private/answer_context.sql

comment on function private.answer_context(message_id uuid, max_count integer) is 'Returns the last max_count messages before an answer, oldest first, with the images attached to them.';
revoke execute on function private.answer_context(message_id uuid, max_count integer) from public;
grant execute on function private.answer_context(message_id uuid, max_count integer) to :PLINTH_SERVICE;

-- Appends the next deltas of a claimed answer; see private.write_deltas. PL409 also when another server has claimed it.
create or replace function private.append_answer(message_id uuid, claim_id uuid, first_sequence integer, contents text[], thinking text[] default null::text[])
  returns integer
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/llm/private/append_answer.sql

comment on function private.append_answer(message_id uuid, claim_id uuid, first_sequence integer, contents text[], thinking text[]) is 'Appends the next deltas of a claimed answer; see private.write_deltas. PL409 also when another server has claimed it.';
revoke execute on function private.append_answer(message_id uuid, claim_id uuid, first_sequence integer, contents text[], thinking text[]) from public;
grant execute on function private.append_answer(message_id uuid, claim_id uuid, first_sequence integer, contents text[], thinking text[]) to :PLINTH_SERVICE;

-- Appends the next delta of an answer, from sequence 1 on; see private.write_delta.
create or replace function private.append_delta(message_id uuid, sequence integer, content text default null::text, thinking text default null::text)
  returns integer
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/llm/private/append_delta.sql

comment on function private.append_delta(message_id uuid, sequence integer, content text, thinking text) is 'Appends the next delta of an answer, from sequence 1 on; see private.write_delta.';
revoke execute on function private.append_delta(message_id uuid, sequence integer, content text, thinking text) from public;
grant execute on function private.append_delta(message_id uuid, sequence integer, content text, thinking text) to :PLINTH_SERVICE;

-- Appends the next deltas of an answer, the first of them as first_sequence; see private.write_deltas.
create or replace function private.append_deltas(message_id uuid, first_sequence integer, contents text[], thinking text[] default null::text[])
  returns integer
  language sql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/llm/private/append_deltas.sql

comment on function private.append_deltas(message_id uuid, first_sequence integer, contents text[], thinking text[]) is 'Appends the next deltas of an answer, the first of them as first_sequence; see private.write_deltas.';
revoke execute on function private.append_deltas(message_id uuid, first_sequence integer, contents text[], thinking text[]) from public;
grant execute on function private.append_deltas(message_id uuid, first_sequence integer, contents text[], thinking text[]) to :PLINTH_SERVICE;

-- Appends the next piece of the answer that a room's AI is writing; the same piece again changes nothing. PL409 for a gap, another text, a lost claim or a changed audience.
create or replace function private.append_room_answer(room_id uuid, claim_id uuid, piece integer, content text)
  returns integer
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/rooms/private/append_room_answer.sql

comment on function private.append_room_answer(room_id uuid, claim_id uuid, piece integer, content text) is 'Appends the next piece of the answer that a room''s AI is writing; the same piece again changes nothing. PL409 for a gap, another text, a lost claim or a changed audience.';
revoke execute on function private.append_room_answer(room_id uuid, claim_id uuid, piece integer, content text) from public;
grant execute on function private.append_room_answer(room_id uuid, claim_id uuid, piece integer, content text) to :PLINTH_SERVICE;

-- Adds an event to a room's log, locks the room and announces it; returns its number, or null for a deleted room.
create or replace function private.append_room_event(room_id uuid, kind text, message_id uuid default null::uuid, user_id uuid default null::uuid)
  returns bigint
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/rooms/private/append_room_event.sql

comment on function private.append_room_event(room_id uuid, kind text, message_id uuid, user_id uuid) is 'Adds an event to a room''s log, locks the room and announces it; returns its number, or null for a deleted room.';
revoke execute on function private.append_room_event(room_id uuid, kind text, message_id uuid, user_id uuid) from public;

-- Returns whether the row policies of a table apply to a role: owners (unless forced), superusers and roles that bypass them are exempt.
create or replace function private.applies_row_security(role_id oid, relation_id oid)
  returns boolean
  language sql
  stable
  set search_path to 'pg_catalog'; -- fixtures/access/private/applies_row_security.sql

comment on function private.applies_row_security(role_id oid, relation_id oid) is 'Returns whether the row policies of a table apply to a role: owners (unless forced), superusers and roles that bypass them are exempt.';
revoke execute on function private.applies_row_security(role_id oid, relation_id oid) from public;

-- Adds the event that corrects a usage to these counts; returns the event. The caller has locked the user's ledger.
create or replace function private.apply_correction(event_id uuid, input_tokens bigint, output_tokens bigint, cached_input_tokens bigint, reasoning_tokens bigint, idempotency_key text, at timestamp with time zone)
  returns billing.usage_events
  language plpgsql; -- fixtures/billing/private/apply_correction.sql

comment on function private.apply_correction(event_id uuid, input_tokens bigint, output_tokens bigint, cached_input_tokens bigint, reasoning_tokens bigint, idempotency_key text, at timestamp with time zone) is 'Adds the event that corrects a usage to these counts; returns the event. The caller has locked the user''s ledger.';
revoke execute on function private.apply_correction(event_id uuid, input_tokens bigint, output_tokens bigint, cached_input_tokens bigint, reasoning_tokens bigint, idempotency_key text, at timestamp with time zone) from public;

-- Merges a heartbeat into sessions and progress, once for each event_id of a user; returns the progress after it. PL409 when the event_id was used for another heartbeat.
create or replace function private.apply_heartbeat(user_id uuid, item_id uuid, event_id uuid, version integer, duration_seconds integer, from_seconds integer, to_seconds integer, active_seconds integer, occurred_at timestamp with time zone, access_checked_at timestamp with time zone, digest bytea)
  returns learning.content_progress
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/learning/private/apply_heartbeat.sql

comment on function private.apply_heartbeat(user_id uuid, item_id uuid, event_id uuid, version integer, duration_seconds integer, from_seconds integer, to_seconds integer, active_seconds integer, occurred_at timestamp with time zone, access_checked_at timestamp with time zone, digest bytea) is 'Merges a heartbeat into sessions and progress, once for each event_id of a user; returns the progress after it. PL409 when the event_id was used for another heartbeat.';
revoke execute on function private.apply_heartbeat(user_id uuid, item_id uuid, event_id uuid, version integer, duration_seconds integer, from_seconds integer, to_seconds integer, active_seconds integer, occurred_at timestamp with time zone, access_checked_at timestamp with time zone, digest bytea) from public;

-- Applies an event of a payment provider; returns applied, ignored, kept_current or waiting_for_….
create or replace function private.apply_payment_event(event private.payment_events)
  returns text
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/billing/private/apply_payment_event.sql

comment on function private.apply_payment_event(event private.payment_events) is 'Applies an event of a payment provider; returns applied, ignored, kept_current or waiting_for_….';
revoke execute on function private.apply_payment_event(event private.payment_events) from public;

-- Makes a user's subscription match its provider's events; returns applied, kept_current or waiting_for_….
create or replace function private.apply_provider_subscription(provider text, provider_subscription_id text, at timestamp with time zone)
  returns text
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/billing/private/apply_provider_subscription.sql

comment on function private.apply_provider_subscription(provider text, provider_subscription_id text, at timestamp with time zone) is 'Makes a user''s subscription match its provider''s events; returns applied, kept_current or waiting_for_….';
revoke execute on function private.apply_provider_subscription(provider text, provider_subscription_id text, at timestamp with time zone) from public;

-- Returns hashes by which archived rows are found that belong to an account and do not name its id.
create or replace function private.archive_marks(account identity.users)
  returns text[]
  language sql
  stable
  set search_path to 'pg_catalog'
  set "TimeZone" to 'UTC'; -- fixtures/security/private/archive_marks.sql

comment on function private.archive_marks(account identity.users) is 'Returns hashes by which archived rows are found that belong to an account and do not name its id.';
revoke execute on function private.archive_marks(account identity.users) from public;

-- Returns the name of the table that holds a month of a log between its removal from the log and its archive.
create or replace function private.archive_table(log text, month date)
  returns text
  language sql
  immutable
  set search_path to 'pg_catalog'; -- fixtures/security/private/archive_table.sql

comment on function private.archive_table(log text, month date) is 'Returns the name of the table that holds a month of a log between its removal from the log and its archive.';
revoke execute on function private.archive_table(log text, month date) from public;

-- Returns the archives that have a file.
create or replace function private.archives_with_files()
  returns table(archive_id uuid, log text, month date, file_name text, is_encrypted boolean, sha256 text)
  language sql
  stable security definer
  set search_path to 'pg_catalog'; -- fixtures/security/private/archives_with_files.sql

comment on function private.archives_with_files() is 'Returns the archives that have a file.';
revoke execute on function private.archives_with_files() from public;
grant execute on function private.archives_with_files() to :PLINTH_WORKER;

-- Returns the actor behind the current statement, for the audit logs. Called with the owner's rights.
create or replace function private.audit_actor(out actor_kind text, out acting_role text, out user_id uuid, out api_token_id uuid, out session_id uuid, out job_name text, out migration text, out has_ignored_claims boolean)
  returns record
  language plpgsql
  stable
  set search_path to 'pg_catalog'; -- fixtures/security/private/audit_actor.sql

comment on function private.audit_actor(out actor_kind text, out acting_role text, out user_id uuid, out api_token_id uuid, out session_id uuid, out job_name text, out migration text, out has_ignored_claims boolean) is 'Returns the actor behind the current statement, for the audit logs. Called with the owner''s rights.';
revoke execute on function private.audit_actor(out actor_kind text, out acting_role text, out user_id uuid, out api_token_id uuid, out session_id uuid, out job_name text, out migration text, out has_ignored_claims boolean) from public;

-- Returns the SHA-256 that chains a block to the one before.
create or replace function private.audit_block_hash(number bigint, previous_hash bytea, root bytea, entry_count integer, closed_at timestamp with time zone)
  returns bytea
  language sql
  immutable
  set search_path to 'pg_catalog'; -- fixtures/security/private/audit_block_hash.sql

comment on function private.audit_block_hash(number bigint, previous_hash bytea, root bytea, entry_count integer, closed_at timestamp with time zone) is 'Returns the SHA-256 that chains a block to the one before.';
revoke execute on function private.audit_block_hash(number bigint, previous_hash bytea, root bytea, entry_count integer, closed_at timestamp with time zone) from public;

-- Returns the id of the event that announces the imported rows of a transaction, made from the transaction's time.
create or replace function private.audit_import_id(at timestamp with time zone)
  returns uuid
  language sql
  immutable strict
  set search_path to 'pg_catalog'; -- fixtures/security/private/audit_import_id.sql

comment on function private.audit_import_id(at timestamp with time zone) is 'Returns the id of the event that announces the imported rows of a transaction, made from the transaction''s time.';
revoke execute on function private.audit_import_id(at timestamp with time zone) from public;

-- Returns the number of a block's entries and the SHA-256 of all of them.
create or replace function private.audit_root(block_number bigint, out entry_count integer, out root bytea)
  returns record
  language sql
  stable
  set search_path to 'pg_catalog'; -- fixtures/security/private/audit_root.sql

comment on function private.audit_root(block_number bigint, out entry_count integer, out root bytea) is 'Returns the number of a block''s entries and the SHA-256 of all of them.';
revoke execute on function private.audit_root(block_number bigint, out entry_count integer, out root bytea) from public;

-- Returns the salted SHA-256 of a row of an audit log: of the columns that erasure clears (is_content), or of the others. Null without a salt.
create or replace function private.audit_row_hash(log text, audit_row jsonb, is_content boolean)
  returns bytea
  language sql
  immutable
  set search_path to 'pg_catalog'; -- fixtures/security/private/audit_row_hash.sql

comment on function private.audit_row_hash(log text, audit_row jsonb, is_content boolean) is 'Returns the salted SHA-256 of a row of an audit log: of the columns that erasure clears (is_content), or of the others. Null without a salt.';
revoke execute on function private.audit_row_hash(log text, audit_row jsonb, is_content boolean) from public;

-- Returns the user's grants in force with the rest of each, in the order of use; a row without an id holds what the free plan has not yet granted this month.
create or replace function private.available_grants(user_id uuid, at timestamp with time zone)
  returns setof billing.grant_balance
  language sql
  stable; -- fixtures/billing/private/available_grants.sql

comment on function private.available_grants(user_id uuid, at timestamp with time zone) is 'Returns the user''s grants in force with the rest of each, in the order of use; a row without an id holds what the free plan has not yet granted this month.';
revoke execute on function private.available_grants(user_id uuid, at timestamp with time zone) from public;

-- Moves a due month of a log out of it, to be archived; returns the id of the archive. PL409 if the month is not due.
create or replace function private.begin_archive(log text, month date)
  returns uuid
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/security/private/begin_archive.sql

comment on function private.begin_archive(log text, month date) is 'Moves a due month of a log out of it, to be archived; returns the id of the archive. PL409 if the month is not due.';
revoke execute on function private.begin_archive(log text, month date) from public;
grant execute on function private.begin_archive(log text, month date) to :PLINTH_WORKER;

-- Prepares a log for the rows of an archive, in the transaction that loads them. PL404 for an unknown archive, PL409 for one that is not archived, or while deleted accounts are being erased from archives.
create or replace function private.begin_attach(archive_id uuid)
  returns void
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/security/private/begin_attach.sql

comment on function private.begin_attach(archive_id uuid) is 'Prepares a log for the rows of an archive, in the transaction that loads them. PL404 for an unknown archive, PL409 for one that is not archived, or while deleted accounts are being erased from archives.';
revoke execute on function private.begin_attach(archive_id uuid) from public;

-- Trigger: rejects the deletion of an account by an API token or without a recent sign-in (PL403), with a legal hold (PL409) or with an invalid reference (PL422), and notes what is known only before the deletion.
create or replace function private.begin_erasure()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/security/private/begin_erasure.sql

comment on function private.begin_erasure() is 'Trigger: rejects the deletion of an account by an API token or without a recent sign-in (PL403), with a legal hold (PL409) or with an invalid reference (PL422), and notes what is known only before the deletion.';
revoke execute on function private.begin_erasure() from public;

-- Trigger: bills the text streamed so far when a streaming answer is deleted.
create or replace function private.bill_deleted_turn()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/llm/triggers/turns.sql

comment on function private.bill_deleted_turn() is 'Trigger: bills the text streamed so far when a streaming answer is deleted.';
revoke execute on function private.bill_deleted_turn() from public;

-- Settles the hold of a turn for what it used, or releases it; records the usage where the hold was released before.
create or replace function private.bill_turn(turn private.turns, model_id uuid, input_tokens bigint, output_tokens bigint, cached_input_tokens bigint default 0, reasoning_tokens bigint default 0, message_id uuid default null::uuid)
  returns void
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/llm/private/bill_turn.sql

comment on function private.bill_turn(turn private.turns, model_id uuid, input_tokens bigint, output_tokens bigint, cached_input_tokens bigint, reasoning_tokens bigint, message_id uuid) is 'Settles the hold of a turn for what it used, or releases it; records the usage where the hold was released before.';
revoke execute on function private.bill_turn(turn private.turns, model_id uuid, input_tokens bigint, output_tokens bigint, cached_input_tokens bigint, reasoning_tokens bigint, message_id uuid) from public;

-- Returns the same stretches, without the shortest gaps between them if there are many.
create or replace function private.bounded_stretches(active int4multirange)
  returns int4multirange
  language sql
  stable
  set search_path to 'pg_catalog'; -- fixtures/learning/private/bounded_stretches.sql

comment on function private.bounded_stretches(active int4multirange) is 'Returns the same stretches, without the shortest gaps between them if there are many.';
revoke execute on function private.bounded_stretches(active int4multirange) from public;

-- Ends a claimed answer that failed, with the text received; returns the state in which it ended, null without the claim.
create or replace function private.break_off_answer(message_id uuid, claim_id uuid, error_code text, error_message text, input_tokens bigint default null::bigint, output_tokens bigint default null::bigint, cached_input_tokens bigint default 0, reasoning_tokens bigint default 0)
  returns text
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/llm/private/break_off_answer.sql

comment on function private.break_off_answer(message_id uuid, claim_id uuid, error_code text, error_message text, input_tokens bigint, output_tokens bigint, cached_input_tokens bigint, reasoning_tokens bigint) is 'Ends a claimed answer that failed, with the text received; returns the state in which it ended, null without the claim.';
revoke execute on function private.break_off_answer(message_id uuid, claim_id uuid, error_code text, error_message text, input_tokens bigint, output_tokens bigint, cached_input_tokens bigint, reasoning_tokens bigint) from public;
grant execute on function private.break_off_answer(message_id uuid, claim_id uuid, error_code text, error_message text, input_tokens bigint, output_tokens bigint, cached_input_tokens bigint, reasoning_tokens bigint) to :PLINTH_SERVICE;

-- Ends up to batch_size answers whose writer's lease has expired; returns their number. A turn that cannot be ended is left with a warning.
create or replace function private.break_off_expired_turns(batch_size integer default 100)
  returns integer
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/llm/private/break_off_expired_turns.sql

comment on function private.break_off_expired_turns(batch_size integer) is 'Ends up to batch_size answers whose writer''s lease has expired; returns their number. A turn that cannot be ended is left with a warning.';
revoke execute on function private.break_off_expired_turns(batch_size integer) from public;
grant execute on function private.break_off_expired_turns(batch_size integer) to :PLINTH_WORKER;

-- Ends up to batch_size answers that a killed server left behind; returns their number.
create or replace function private.break_off_lost_answers(batch_size integer default 100)
  returns integer
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/llm/private/break_off_lost_answers.sql

comment on function private.break_off_lost_answers(batch_size integer) is 'Ends up to batch_size answers that a killed server left behind; returns their number.';
revoke execute on function private.break_off_lost_answers(batch_size integer) from public;
grant execute on function private.break_off_lost_answers(batch_size integer) to :PLINTH_SERVICE;

-- Ends a failed answer of a room's AI, which posts nothing; returns false without the claim.
create or replace function private.break_off_room_answer(room_id uuid, claim_id uuid, error_code text, input_tokens bigint default null::bigint, output_tokens bigint default null::bigint, cached_input_tokens bigint default 0, reasoning_tokens bigint default 0)
  returns boolean
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/rooms/private/break_off_room_answer.sql

comment on function private.break_off_room_answer(room_id uuid, claim_id uuid, error_code text, input_tokens bigint, output_tokens bigint, cached_input_tokens bigint, reasoning_tokens bigint) is 'Ends a failed answer of a room''s AI, which posts nothing; returns false without the claim.';
revoke execute on function private.break_off_room_answer(room_id uuid, claim_id uuid, error_code text, input_tokens bigint, output_tokens bigint, cached_input_tokens bigint, reasoning_tokens bigint) from public;
grant execute on function private.break_off_room_answer(room_id uuid, claim_id uuid, error_code text, input_tokens bigint, output_tokens bigint, cached_input_tokens bigint, reasoning_tokens bigint) to :PLINTH_SERVICE;

-- Ends a failed answer with the text received; see private.end_turn.
create or replace function private.break_off_turn(message_id uuid, error_code text default null::text, error_message text default null::text, input_tokens bigint default null::bigint, output_tokens bigint default null::bigint, cached_input_tokens bigint default 0, reasoning_tokens bigint default 0)
  returns llm.messages
  language sql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/llm/private/break_off_turn.sql

comment on function private.break_off_turn(message_id uuid, error_code text, error_message text, input_tokens bigint, output_tokens bigint, cached_input_tokens bigint, reasoning_tokens bigint) is 'Ends a failed answer with the text received; see private.end_turn.';
revoke execute on function private.break_off_turn(message_id uuid, error_code text, error_message text, input_tokens bigint, output_tokens bigint, cached_input_tokens bigint, reasoning_tokens bigint) from public;
grant execute on function private.break_off_turn(message_id uuid, error_code text, error_message text, input_tokens bigint, output_tokens bigint, cached_input_tokens bigint, reasoning_tokens bigint) to :PLINTH_SERVICE;

-- Returns whether a user may use a model.
create or replace function private.can_user_use_model(user_id uuid, model_id uuid)
  returns boolean
  language plpgsql
  stable parallel safe
  set search_path to 'pg_catalog'
  set plan_cache_mode to 'force_generic_plan'; -- fixtures/access/private/can_user_use_model.sql

comment on function private.can_user_use_model(user_id uuid, model_id uuid) is 'Returns whether a user may use a model.';
revoke execute on function private.can_user_use_model(user_id uuid, model_id uuid) from public;

-- Returns an argument of a function as text; what JavaScript takes as false is empty.
create or replace function private.casbin_argument(value jsonb)
  returns text
  language sql
  immutable parallel safe; -- fixtures/access/private/casbin_argument.sql

comment on function private.casbin_argument(value jsonb) is 'Returns an argument of a function as text; what JavaScript takes as false is empty.';
revoke execute on function private.casbin_argument(value jsonb) from public;

-- Returns the result of + - * / or %, computed as JavaScript does; + joins texts.
create or replace function private.casbin_arithmetic(op text, a jsonb, b jsonb)
  returns jsonb
  language plpgsql
  immutable parallel safe; -- fixtures/access/private/casbin_arithmetic.sql

comment on function private.casbin_arithmetic(op text, a jsonb, b jsonb) is 'Returns the result of + - * / or %, computed as JavaScript does; + joins texts.';
revoke execute on function private.casbin_arithmetic(op text, a jsonb, b jsonb) from public;

-- Returns the alternatives of a parsed matcher, with the conditions that select rules by index and the rest.
create or replace function private.casbin_branches(matcher jsonb)
  returns jsonb
  language plpgsql
  immutable parallel safe; -- fixtures/access/private/casbin_branches.sql

comment on function private.casbin_branches(matcher jsonb) is 'Returns the alternatives of a parsed matcher, with the conditions that select rules by index and the rest.';
revoke execute on function private.casbin_branches(matcher jsonb) from public;

-- Returns the result of a function of a matcher, such as keyMatch2. PL422 for a pattern outside the grammar.
create or replace function private.casbin_call(function_name text, key text, pattern text, parameter text, translated jsonb)
  returns jsonb
  language plpgsql
  immutable parallel safe; -- fixtures/access/private/casbin_call.sql

comment on function private.casbin_call(function_name text, key text, pattern text, parameter text, translated jsonb) is 'Returns the result of a function of a matcher, such as keyMatch2. PL422 for a pattern outside the grammar.';
revoke execute on function private.casbin_call(function_name text, key text, pattern text, parameter text, translated jsonb) from public;

-- Returns the active rules of a type whose values are among those of a selection.
create or replace function private.casbin_candidates(model text, ptype text, selections jsonb)
  returns table(id bigint, rule text[], compiled jsonb)
  language plpgsql
  stable parallel safe
  set plan_cache_mode to 'force_generic_plan'; -- fixtures/access/private/casbin_candidates.sql

comment on function private.casbin_candidates(model text, ptype text, selections jsonb) is 'Returns the active rules of a type whose values are among those of a selection.';
revoke execute on function private.casbin_candidates(model text, ptype text, selections jsonb) from public;

-- Returns each rule that a model does not take, with its number in the list, column and reason; without a number, what is wrong with the model.
create or replace function private.casbin_check(definition text, rules jsonb)
  returns table(rule integer, place text, reason text)
  language plpgsql
  stable; -- fixtures/access/private/casbin_check.sql

comment on function private.casbin_check(definition text, rules jsonb) is 'Returns each rule that a model does not take, with its number in the list, column and reason; without a number, what is wrong with the model.';
revoke execute on function private.casbin_check(definition text, rules jsonb) from public;

-- Checks a rule against its parsed model. PL422 with the column as detail for a rule outside the grammar.
create or replace function private.casbin_check_rule(model jsonb, ptype text, rule text[])
  returns jsonb
  language plpgsql
  immutable; -- fixtures/access/private/casbin_check_rule.sql

comment on function private.casbin_check_rule(model jsonb, ptype text, rule text[]) is 'Checks a rule against its parsed model. PL422 with the column as detail for a rule outside the grammar.';
revoke execute on function private.casbin_check_rule(model jsonb, ptype text, rule text[]) from public;

-- Parses a Casbin model. PL422 with section, line, column and reason for a model outside the grammar.
create or replace function private.casbin_compile(definition text)
  returns jsonb
  language plpgsql
  immutable; -- fixtures/access/private/casbin_compile.sql

comment on function private.casbin_compile(definition text) is 'Parses a Casbin model. PL422 with section, line, column and reason for a model outside the grammar.';
revoke execute on function private.casbin_compile(definition text) from public;

-- Parses one entry of a Casbin model. PL422 with the place as detail for what is outside the grammar.
create or replace function private.casbin_definition(letter text, name text, value text, model jsonb)
  returns jsonb
  language plpgsql
  immutable parallel safe; -- fixtures/access/private/casbin_definition.sql

comment on function private.casbin_definition(letter text, name text, value text, model jsonb) is 'Parses one entry of a Casbin model. PL422 with the place as detail for what is outside the grammar.';
revoke execute on function private.casbin_definition(letter text, name text, value text, model jsonb) from public;

-- Returns the effect of a rule for a value of the matcher. PL422 for a value of another type, where node-casbin throws.
create or replace function private.casbin_effect(value jsonb, eft text)
  returns double precision
  language plpgsql
  immutable parallel safe; -- fixtures/access/private/casbin_effect.sql

comment on function private.casbin_effect(value jsonb, eft text) is 'Returns the effect of a rule for a value of the matcher. PL422 for a value of another type, where node-casbin throws.';
revoke execute on function private.casbin_effect(value jsonb, eft text) from public;

-- Returns whether the model and its rules allow a request; types names its definitions of request, policy, effect and matcher. PL404 for an unknown model, PL422 for a request that the model does not take.
create or replace function private.casbin_enforce(model text, request jsonb, types text[] default '{r,p,e,m}'::text[])
  returns boolean
  language plpgsql
  stable parallel safe security definer
  set search_path to 'pg_catalog'
  set plan_cache_mode to 'force_generic_plan'; -- fixtures/access/private/casbin_enforce.sql

comment on function private.casbin_enforce(model text, request jsonb, types text[]) is 'Returns whether the model and its rules allow a request; types names its definitions of request, policy, effect and matcher. PL404 for an unknown model, PL422 for a request that the model does not take.';
revoke execute on function private.casbin_enforce(model text, request jsonb, types text[]) from public;
grant execute on function private.casbin_enforce(model text, request jsonb, types text[]) to :PLINTH_SERVICE, :PLINTH_WORKER;

-- Returns whether two values are equal by JavaScript's ==.
create or replace function private.casbin_equal(a jsonb, b jsonb)
  returns boolean
  language plpgsql
  immutable parallel safe; -- fixtures/access/private/casbin_equal.sql

comment on function private.casbin_equal(a jsonb, b jsonb) is 'Returns whether two values are equal by JavaScript''s ==.';
revoke execute on function private.casbin_equal(a jsonb, b jsonb) from public;

-- Returns the value of a parsed expression for a request and a rule. PL422 where node-casbin throws.
create or replace function private.casbin_eval(node jsonb, model text, request jsonb, rule text[], compiled jsonb)
  returns jsonb
  language plpgsql
  stable parallel safe; -- fixtures/access/private/casbin_eval.sql

comment on function private.casbin_eval(node jsonb, model text, request jsonb, rule text[], compiled jsonb) is 'Returns the value of a parsed expression for a request and a rule. PL422 where node-casbin throws.';
revoke execute on function private.casbin_eval(node jsonb, model text, request jsonb, rule text[], compiled jsonb) from public;

-- Parses an expression of a matcher, or of a rule if names ->> eval is false. PL422 with the place as detail.
create or replace function private.casbin_expression(source text, names jsonb)
  returns jsonb
  language plpgsql
  immutable parallel safe; -- fixtures/access/private/casbin_expression.sql

comment on function private.casbin_expression(source text, names jsonb) is 'Parses an expression of a matcher, or of a rule if names ->> eval is false. PL422 with the place as detail.';
revoke execute on function private.casbin_expression(source text, names jsonb) from public;

-- Translates a pattern of globMatch into a regular expression. PL422 for one with other wildcards than * and ?.
create or replace function private.casbin_glob(pattern text)
  returns text
  language plpgsql
  immutable parallel safe; -- fixtures/access/private/casbin_glob.sql

comment on function private.casbin_glob(pattern text) is 'Translates a pattern of globMatch into a regular expression. PL422 for one with other wildcards than * and ?.';
revoke execute on function private.casbin_glob(pattern text) from public;

-- Returns whether a name is the role or inherits it, as g(name, role, domain) in a matcher asks.
create or replace function private.casbin_has_role(model text, ptype text, name text, role text, domain text)
  returns boolean
  language sql
  stable parallel safe; -- fixtures/access/private/casbin_has_role.sql

comment on function private.casbin_has_role(model text, ptype text, name text, role text, domain text) is 'Returns whether a name is the role or inherits it, as g(name, role, domain) in a matcher asks.';
revoke execute on function private.casbin_has_role(model text, ptype text, name text, role text, domain text) from public;

-- Returns the address or CIDR of a text, or null if it is none.
create or replace function private.casbin_inet(value text)
  returns inet
  language sql
  immutable parallel safe; -- fixtures/access/private/casbin_inet.sql

comment on function private.casbin_inet(value text) is 'Returns the address or CIDR of a text, or null if it is none.';
revoke execute on function private.casbin_inet(value text) from public;

-- Returns whether an IP address is equal to another or within a CIDR. PL422 for a text that is no address.
create or replace function private.casbin_ip_match(address text, pattern text)
  returns boolean
  language plpgsql
  immutable parallel safe; -- fixtures/access/private/casbin_ip_match.sql

comment on function private.casbin_ip_match(address text, pattern text) is 'Returns whether an IP address is equal to another or within a CIDR. PL422 for a text that is no address.';
revoke execute on function private.casbin_ip_match(address text, pattern text) from public;

-- Returns whether the caller, a function with definer rights, runs for the server or the owner and not for a user.
create or replace function private.casbin_is_trusted()
  returns boolean
  language sql
  stable parallel safe; -- fixtures/access/private/casbin_is_trusted.sql

comment on function private.casbin_is_trusted() is 'Returns whether the caller, a function with definer rights, runs for the server or the owner and not for a user.';
revoke execute on function private.casbin_is_trusted() from public;

-- Returns the JavaScript regular expression of a pattern of keyMatch2, 3, 4, 5 or keyGet2. PL422 for a parameter without a name.
create or replace function private.casbin_key_pattern(function_name text, pattern text)
  returns text
  language plpgsql
  immutable parallel safe; -- fixtures/access/private/casbin_key_pattern.sql

comment on function private.casbin_key_pattern(function_name text, pattern text) is 'Returns the JavaScript regular expression of a pattern of keyMatch2, 3, 4, 5 or keyGet2. PL422 for a parameter without a name.';
revoke execute on function private.casbin_key_pattern(function_name text, pattern text) from public;

-- Returns whether a value is less than another by JavaScript's <, or by its <=.
create or replace function private.casbin_less(a jsonb, b jsonb, or_equal boolean)
  returns boolean
  language plpgsql
  immutable parallel safe; -- fixtures/access/private/casbin_less.sql

comment on function private.casbin_less(a jsonb, b jsonb, or_equal boolean) is 'Returns whether a value is less than another by JavaScript''s <, or by its <=.';
revoke execute on function private.casbin_less(a jsonb, b jsonb, or_equal boolean) from public;

-- Returns the entries of a Casbin model file with their sections and places. PL422 for a section that is repeated.
create or replace function private.casbin_lines(definition text)
  returns table(section text, entry text, starts integer[], lines integer[], columns integer[])
  language plpgsql
  immutable parallel safe; -- fixtures/access/private/casbin_lines.sql

comment on function private.casbin_lines(definition text) is 'Returns the entries of a Casbin model file with their sections and places. PL422 for a section that is repeated.';
revoke execute on function private.casbin_lines(definition text) from public;

-- Returns the values at a place of the rules that a selection of first values selects, by effect.
create or replace function private.casbin_listed(model text, selection jsonb, object integer, eft integer, out allowed text[], out denied text[])
  returns record
  language plpgsql
  stable parallel safe
  set plan_cache_mode to 'force_generic_plan'; -- fixtures/access/private/casbin_listed.sql

comment on function private.casbin_listed(model text, selection jsonb, object integer, eft integer, out allowed text[], out denied text[]) is 'Returns the values at a place of the rules that a selection of first values selects, by effect.';
revoke execute on function private.casbin_listed(model text, selection jsonb, object integer, eft integer, out allowed text[], out denied text[]) from public;

-- Returns a regular expression that matches only the text.
create or replace function private.casbin_literal(value text)
  returns text
  language sql
  immutable parallel safe; -- fixtures/access/private/casbin_literal.sql

comment on function private.casbin_literal(value text) is 'Returns a regular expression that matches only the text.';
revoke execute on function private.casbin_literal(value text) from public;

-- Waits until no other transaction changes access rules.
create or replace function private.casbin_lock()
  returns void
  language sql; -- fixtures/access/private/casbin_lock.sql

comment on function private.casbin_lock() is 'Waits until no other transaction changes access rules.';
revoke execute on function private.casbin_lock() from public;

-- Returns whether the caller, a function with definer rights, may change access rules.
create or replace function private.casbin_may_manage()
  returns boolean
  language sql
  stable; -- fixtures/access/private/casbin_may_manage.sql

comment on function private.casbin_may_manage() is 'Returns whether the caller, a function with definer rights, may change access rules.';
revoke execute on function private.casbin_may_manage() from public;

-- Returns an attribute of a value, null if it has none. PL422 for an attribute of nothing, where JavaScript throws.
create or replace function private.casbin_member(value jsonb, name text)
  returns jsonb
  language plpgsql
  immutable parallel safe; -- fixtures/access/private/casbin_member.sql

comment on function private.casbin_member(value jsonb, name text) is 'Returns an attribute of a value, null if it has none. PL422 for an attribute of nothing, where JavaScript throws.';
revoke execute on function private.casbin_member(value jsonb, name text) from public;

-- Returns a role and the names that inherit it: the reverse of private.casbin_roles.
create or replace function private.casbin_members(model text, ptype text, role text, domain text)
  returns text[]
  language plpgsql
  stable parallel safe
  set plan_cache_mode to 'force_generic_plan'; -- fixtures/access/private/casbin_members.sql

comment on function private.casbin_members(model text, ptype text, role text, domain text) is 'Returns a role and the names that inherit it: the reverse of private.casbin_roles.';
revoke execute on function private.casbin_members(model text, ptype text, role text, domain text) from public;

-- Returns a model in parsed form. PL404 for an unknown model, PL422 for definitions that it does not have.
create or replace function private.casbin_model(model text, types text[])
  returns jsonb
  language plpgsql
  stable parallel safe; -- fixtures/access/private/casbin_model.sql

comment on function private.casbin_model(model text, types text[]) is 'Returns a model in parsed form. PL404 for an unknown model, PL422 for definitions that it does not have.';
revoke execute on function private.casbin_model(model text, types text[]) from public;

-- Returns each node of a parsed expression.
create or replace function private.casbin_nodes(node jsonb)
  returns setof jsonb
  language sql
  immutable parallel safe; -- fixtures/access/private/casbin_nodes.sql

comment on function private.casbin_nodes(node jsonb) is 'Returns each node of a parsed expression.';
revoke execute on function private.casbin_nodes(node jsonb) from public;

-- Returns the value as a number, as JavaScript converts it; NaN if it is none.
create or replace function private.casbin_number(value jsonb)
  returns double precision
  language plpgsql
  immutable parallel safe; -- fixtures/access/private/casbin_number.sql

comment on function private.casbin_number(value jsonb) is 'Returns the value as a number, as JavaScript converts it; NaN if it is none.';
revoke execute on function private.casbin_number(value jsonb) from public;

-- Returns a number as JSON; NaN and the infinities as an object.
create or replace function private.casbin_number_value(value double precision)
  returns jsonb
  language sql
  immutable parallel safe; -- fixtures/access/private/casbin_number_value.sql

comment on function private.casbin_number_value(value double precision) is 'Returns a number as JSON; NaN and the infinities as an object.';
revoke execute on function private.casbin_number_value(value double precision) from public;

-- Creates a version that the following changes of the transaction belong to, and returns its number.
create or replace function private.casbin_open_version(reason text)
  returns bigint
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/access/private/casbin_open_version.sql

comment on function private.casbin_open_version(reason text) is 'Creates a version that the following changes of the transaction belong to, and returns its number.';
revoke execute on function private.casbin_open_version(reason text) from public;

-- Parses tokens from an index on. PL422 with the place as detail for what is outside the grammar.
create or replace function private.casbin_parse(tokens jsonb, at integer, precedence integer, depth integer, names jsonb, allows_list boolean default false, out node jsonb, out next integer)
  returns record
  language plpgsql
  immutable parallel safe; -- fixtures/access/private/casbin_parse.sql

comment on function private.casbin_parse(tokens jsonb, at integer, precedence integer, depth integer, names jsonb, allows_list boolean, out node jsonb, out next integer) is 'Parses tokens from an index on. PL422 with the place as detail for what is outside the grammar.';
revoke execute on function private.casbin_parse(tokens jsonb, at integer, precedence integer, depth integer, names jsonb, allows_list boolean, out node jsonb, out next integer) from public;

-- Parses the call of a function. PL422 with the place as detail for an unknown function or a wrong number of arguments.
create or replace function private.casbin_parse_call(tokens jsonb, at integer, depth integer, names jsonb, out node jsonb, out next integer)
  returns record
  language plpgsql
  immutable parallel safe; -- fixtures/access/private/casbin_parse_call.sql

comment on function private.casbin_parse_call(tokens jsonb, at integer, depth integer, names jsonb, out node jsonb, out next integer) is 'Parses the call of a function. PL422 with the place as detail for an unknown function or a wrong number of arguments.';
revoke execute on function private.casbin_parse_call(tokens jsonb, at integer, depth integer, names jsonb, out node jsonb, out next integer) from public;

-- Returns the objects that a request permits, as a list and a pattern; null for a model that does not reduce to these.
create or replace function private.casbin_partial(model text, request jsonb, place integer, out objects text[], out pattern text)
  returns record
  language plpgsql
  stable parallel safe; -- fixtures/access/private/casbin_partial.sql

comment on function private.casbin_partial(model text, request jsonb, place integer, out objects text[], out pattern text) is 'Returns the objects that a request permits, as a list and a pattern; null for a model that does not reduce to these.';
revoke execute on function private.casbin_partial(model text, request jsonb, place integer, out objects text[], out pattern text) from public;

-- Returns how one alternative of a matcher depends on the object: the rules it selects, the rest, and the comparison.
create or replace function private.casbin_partial_branch(model text, branch jsonb, request jsonb, place integer, out selection jsonb, out rest jsonb, out kind text, out object integer, out role_type text, out domain text)
  returns record
  language plpgsql
  stable parallel safe; -- fixtures/access/private/casbin_partial_branch.sql

comment on function private.casbin_partial_branch(model text, branch jsonb, request jsonb, place integer, out selection jsonb, out rest jsonb, out kind text, out object integer, out role_type text, out domain text) is 'Returns how one alternative of a matcher depends on the object: the rules it selects, the rest, and the comparison.';
revoke execute on function private.casbin_partial_branch(model text, branch jsonb, request jsonb, place integer, out selection jsonb, out rest jsonb, out kind text, out object integer, out role_type text, out domain text) from public;

-- Returns private.casbin_partial of a request without its object. PL404 for an unknown model, PL422 for one without sub and obj.
create or replace function private.casbin_partial_of(model text, sub jsonb, act text, context jsonb, out objects text[], out pattern text)
  returns record
  language plpgsql
  stable parallel safe; -- fixtures/access/private/casbin_partial_of.sql

comment on function private.casbin_partial_of(model text, sub jsonb, act text, context jsonb, out objects text[], out pattern text) is 'Returns private.casbin_partial of a request without its object. PL404 for an unknown model, PL422 for one without sub and obj.';
revoke execute on function private.casbin_partial_of(model text, sub jsonb, act text, context jsonb, out objects text[], out pattern text) from public;

-- Returns the translated pattern of a function. PL422 with the place as detail for a pattern outside the grammar.
create or replace function private.casbin_pattern(function_name text, pattern text)
  returns jsonb
  language plpgsql
  immutable parallel safe; -- fixtures/access/private/casbin_pattern.sql

comment on function private.casbin_pattern(function_name text, pattern text) is 'Returns the translated pattern of a function. PL422 with the place as detail for a pattern outside the grammar.';
revoke execute on function private.casbin_pattern(function_name text, pattern text) from public;

-- Returns the line and column of a place in an entry of a Casbin model file.
create or replace function private.casbin_place(at integer, starts integer[], lines integer[], columns integer[])
  returns text
  language sql
  immutable parallel safe; -- fixtures/access/private/casbin_place.sql

comment on function private.casbin_place(at integer, starts integer[], lines integer[], columns integer[]) is 'Returns the line and column of a place in an entry of a Casbin model file.';
revoke execute on function private.casbin_place(at integer, starts integer[], lines integer[], columns integer[]) from public;

-- Returns the order of a subject's rules by its roles, for subjectPriority. PL422 for roles that form a cycle.
create or replace function private.casbin_rank(model text, subject text, domain text)
  returns integer
  language plpgsql
  stable parallel safe
  set plan_cache_mode to 'force_generic_plan'; -- fixtures/access/private/casbin_rank.sql

comment on function private.casbin_rank(model text, subject text, domain text) is 'Returns the order of a subject''s rules by its roles, for subjectPriority. PL422 for roles that form a cycle.';
revoke execute on function private.casbin_rank(model text, subject text, domain text) from public;

-- Returns the text of Casbin's own model of roles (rbac_model.conf).
create or replace function private.casbin_rbac_model()
  returns text
  language sql
  immutable parallel safe
  set search_path to 'pg_catalog'; -- fixtures/access/private/casbin_rbac_model.sql

comment on function private.casbin_rbac_model() is 'Returns the text of Casbin''s own model of roles (rbac_model.conf).';
revoke execute on function private.casbin_rbac_model() from public;

-- Translates a JavaScript regular expression. PL422 with the place as detail for one outside the supported subset.
create or replace function private.casbin_regex(source text)
  returns text
  language plpgsql
  immutable parallel safe; -- fixtures/access/private/casbin_regex.sql

comment on function private.casbin_regex(source text) is 'Translates a JavaScript regular expression. PL422 with the place as detail for one outside the supported subset.';
revoke execute on function private.casbin_regex(source text) from public;

-- Translates a class of a JavaScript regular expression. PL422 with the place as detail for what means something else here.
create or replace function private.casbin_regex_class(source text, out translated text, out length integer)
  returns record
  language plpgsql
  immutable parallel safe strict; -- fixtures/access/private/casbin_regex_class.sql

comment on function private.casbin_regex_class(source text, out translated text, out length integer) is 'Translates a class of a JavaScript regular expression. PL422 with the place as detail for what means something else here.';
revoke execute on function private.casbin_regex_class(source text, out translated text, out length integer) from public;

-- Returns the values of a request in the order of the model's definition. PL422 for a context that lacks one.
create or replace function private.casbin_request(model text, sub jsonb, obj jsonb, act jsonb, context jsonb)
  returns jsonb
  language plpgsql
  stable parallel safe; -- fixtures/access/private/casbin_request.sql

comment on function private.casbin_request(model text, sub jsonb, obj jsonb, act jsonb, context jsonb) is 'Returns the values of a request in the order of the model''s definition. PL422 for a context that lacks one.';
revoke execute on function private.casbin_request(model text, sub jsonb, obj jsonb, act jsonb, context jsonb) from public;

-- Raises PL403 unless the caller may ask what the subject may do, and PL401 for a visitor.
create or replace function private.casbin_require_asker(model text, sub jsonb)
  returns void
  language plpgsql
  stable parallel safe; -- fixtures/access/private/casbin_require_asker.sql

comment on function private.casbin_require_asker(model text, sub jsonb) is 'Raises PL403 unless the caller may ask what the subject may do, and PL401 for a visitor.';
revoke execute on function private.casbin_require_asker(model text, sub jsonb) from public;

-- Raises PL403 unless the caller may change access rules.
create or replace function private.casbin_require_manager()
  returns void
  language plpgsql
  stable; -- fixtures/access/private/casbin_require_manager.sql

comment on function private.casbin_require_manager() is 'Raises PL403 unless the caller may change access rules.';
revoke execute on function private.casbin_require_manager() from public;

-- Returns a name and the roles that it inherits by rules of the type, in the domain if one is given.
create or replace function private.casbin_roles(model text, ptype text, name text, domain text default null::text)
  returns text[]
  language plpgsql
  stable parallel safe
  set plan_cache_mode to 'force_generic_plan'; -- fixtures/access/private/casbin_roles.sql

comment on function private.casbin_roles(model text, ptype text, name text, domain text) is 'Returns a name and the roles that it inherits by rules of the type, in the domain if one is given.';
revoke execute on function private.casbin_roles(model text, ptype text, name text, domain text) from public;

-- Returns the id of an access rule in plinth.external_ids, made from its number.
create or replace function private.casbin_row_id(id bigint)
  returns uuid
  language sql
  immutable parallel safe strict
  set search_path to 'pg_catalog'; -- fixtures/access/private/casbin_row_id.sql

comment on function private.casbin_row_id(id bigint) is 'Returns the id of an access rule in plinth.external_ids, made from its number.';
revoke execute on function private.casbin_row_id(id bigint) from public;

-- Returns which rules a request can match, by the values of their columns: [] if only evaluation tells, null if none.
create or replace function private.casbin_selections(model text, matcher jsonb, request jsonb)
  returns jsonb
  language plpgsql
  stable parallel safe; -- fixtures/access/private/casbin_selections.sql

comment on function private.casbin_selections(model text, matcher jsonb, request jsonb) is 'Returns which rules a request can match, by the values of their columns: [] if only evaluation tells, null if none.';
revoke execute on function private.casbin_selections(model text, matcher jsonb, request jsonb) from public;

-- Returns the value as text, as JavaScript's String() does.
create or replace function private.casbin_text(value jsonb)
  returns text
  language plpgsql
  immutable parallel safe; -- fixtures/access/private/casbin_text.sql

comment on function private.casbin_text(value jsonb) is 'Returns the value as text, as JavaScript''s String() does.';
revoke execute on function private.casbin_text(value jsonb) from public;

-- Splits an expression into tokens. PL422 with the place as detail for what is none.
create or replace function private.casbin_tokens(source text, is_rule boolean)
  returns jsonb
  language plpgsql
  immutable parallel safe; -- fixtures/access/private/casbin_tokens.sql

comment on function private.casbin_tokens(source text, is_rule boolean) is 'Splits an expression into tokens. PL422 with the place as detail for what is none.';
revoke execute on function private.casbin_tokens(source text, is_rule boolean) from public;

-- Returns whether JavaScript takes the value as true. SQL's null stands for undefined.
create or replace function private.casbin_truthy(value jsonb)
  returns boolean
  language sql
  immutable parallel safe; -- fixtures/access/private/casbin_truthy.sql

comment on function private.casbin_truthy(value jsonb) is 'Returns whether JavaScript takes the value as true. SQL''s null stands for undefined.';
revoke execute on function private.casbin_truthy(value jsonb) from public;

-- Returns the value of a text in quotes, with the escapes of jsep.
create or replace function private.casbin_unquote(quoted text)
  returns jsonb
  language sql
  immutable parallel safe; -- fixtures/access/private/casbin_unquote.sql

comment on function private.casbin_unquote(quoted text) is 'Returns the value of a text in quotes, with the escapes of jsep.';
revoke execute on function private.casbin_unquote(quoted text) from public;

-- Returns the text with each character beyond U+FFFF as two characters, as JavaScript counts them.
create or replace function private.casbin_utf16(value text)
  returns text
  language sql
  immutable parallel safe; -- fixtures/access/private/casbin_utf16.sql

comment on function private.casbin_utf16(value text) is 'Returns the text with each character beyond U+FFFF as two characters, as JavaScript counts them.';
revoke execute on function private.casbin_utf16(value text) from public;

-- Returns the UTF-16 units of a text, by which JavaScript orders texts.
create or replace function private.casbin_utf16_units(value text)
  returns integer[]
  language sql
  immutable parallel safe; -- fixtures/access/private/casbin_utf16_units.sql

comment on function private.casbin_utf16_units(value text) is 'Returns the UTF-16 units of a text, by which JavaScript orders texts.';
revoke execute on function private.casbin_utf16_units(value text) from public;

-- Returns a list of texts as an array; null for none.
create or replace function private.casbin_values(list jsonb)
  returns text[]
  language plpgsql
  immutable parallel safe; -- fixtures/access/private/casbin_values.sql

comment on function private.casbin_values(list jsonb) is 'Returns a list of texts as an array; null for none.';
revoke execute on function private.casbin_values(list jsonb) from public;

-- Trigger: writes the unsigned certificate of a deleted account, and notes that its rows in archives are to be erased.
create or replace function private.certify_erasure()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
  set "TimeZone" to 'UTC'; -- fixtures/security/private/certify_erasure.sql

comment on function private.certify_erasure() is 'Trigger: writes the unsigned certificate of a deleted account, and notes that its rows in archives are to be erased.';
revoke execute on function private.certify_erasure() from public;

-- Replaces or deletes the text of a general chat message, and keeps the previous one. PL401, PL403, PL404, PL409.
create or replace function private.change_general_chat_message(message_id uuid, content text)
  returns rooms.general_chat_messages
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/rooms/private/change_general_chat_message.sql

comment on function private.change_general_chat_message(message_id uuid, content text) is 'Replaces or deletes the text of a general chat message, and keeps the previous one. PL401, PL403, PL404, PL409.';
revoke execute on function private.change_general_chat_message(message_id uuid, content text) from public;

-- Sets a new password and ends the other sessions unless end_other_sessions is false; no row when refused. Counts and audits in both cases.
create or replace function private.change_password(user_id uuid, session_id uuid, password_matches boolean, checked_token_version integer, new_password_hash text, new_hash_algorithm text, refresh_token_hash bytea, suffices_alone boolean default true, end_other_sessions boolean default true, checked_password_hash text default null::text, is_known boolean default false, history_length integer default 5)
  returns table(token_version integer, refresh_expires_at timestamp with time zone, is_refused_as_known boolean)
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/private/change_password.sql

comment on function private.change_password(user_id uuid, session_id uuid, password_matches boolean, checked_token_version integer, new_password_hash text, new_hash_algorithm text, refresh_token_hash bytea, suffices_alone boolean, end_other_sessions boolean, checked_password_hash text, is_known boolean, history_length integer) is 'Sets a new password and ends the other sessions unless end_other_sessions is false; no row when refused. Counts and audits in both cases.';
revoke execute on function private.change_password(user_id uuid, session_id uuid, password_matches boolean, checked_token_version integer, new_password_hash text, new_hash_algorithm text, refresh_token_hash bytea, suffices_alone boolean, end_other_sessions boolean, checked_password_hash text, is_known boolean, history_length integer) from public;
grant execute on function private.change_password(user_id uuid, session_id uuid, password_matches boolean, checked_token_version integer, new_password_hash text, new_hash_algorithm text, refresh_token_hash bytea, suffices_alone boolean, end_other_sessions boolean, checked_password_hash text, is_known boolean, history_length integer) to :PLINTH_SERVICE;

-- Changes the plan of a trialing or active subscription at once; returns the change with its proration. PL409, PL422.
create or replace function private.change_subscription_plan(subscription_id uuid, plan_id uuid, at timestamp with time zone)
  returns billing.subscription_changes
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/billing/private/change_subscription_plan.sql

comment on function private.change_subscription_plan(subscription_id uuid, plan_id uuid, at timestamp with time zone) is 'Changes the plan of a trialing or active subscription at once; returns the change with its proration. PL409, PL422.';
revoke execute on function private.change_subscription_plan(subscription_id uuid, plan_id uuid, at timestamp with time zone) from public;

-- Raises PL422 unless batch_size is from 1 to most.
create or replace function private.check_batch_size(batch_size integer, most integer default 100000)
  returns void
  language plpgsql
  immutable parallel safe
  set search_path to 'pg_catalog'; -- fixtures/plinth/private/check_batch_size.sql

comment on function private.check_batch_size(batch_size integer, most integer) is 'Raises PL422 unless batch_size is from 1 to most.';
revoke execute on function private.check_batch_size(batch_size integer, most integer) from public;

-- Trigger: checks a rule against its model and parses its patterns. PL422 with rule, column and reason for one outside the grammar.
create or replace function private.check_casbin_rule()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/access/triggers/casbin_rules.sql

comment on function private.check_casbin_rule() is 'Trigger: checks a rule against its model and parses its patterns. PL422 with rule, column and reason for one outside the grammar.';
revoke execute on function private.check_casbin_rule() from public;

-- Checks that policies for the same command grant the same columns. PL422 otherwise.
create or replace function private.check_granted_columns(target regclass, suffix text, grants text)
  returns void
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/plinth/private/check_granted_columns.sql

comment on function private.check_granted_columns(target regclass, suffix text, grants text) is 'Checks that policies for the same command grant the same columns. PL422 otherwise.';
revoke execute on function private.check_granted_columns(target regclass, suffix text, grants text) from public;

-- Allows the signed-in account to change its providers and locks its row; PL401 without a live session, PL403 without a recent sign-in.
create or replace function private.check_provider_change()
  returns void
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/identity/private/check_provider_change.sql

comment on function private.check_provider_change() is 'Allows the signed-in account to change its providers and locks its row; PL401 without a live session, PL403 without a recent sign-in.';
revoke execute on function private.check_provider_change() from public;

-- Raises PL422 unless 0 <= cached <= input and 0 <= reasoning <= output, each up to 10^12; otherwise returns true.
create or replace function private.check_token_counts(input_tokens bigint, output_tokens bigint, cached_input_tokens bigint, reasoning_tokens bigint)
  returns boolean
  language plpgsql
  immutable; -- fixtures/billing/private/check_token_counts.sql

comment on function private.check_token_counts(input_tokens bigint, output_tokens bigint, cached_input_tokens bigint, reasoning_tokens bigint) is 'Raises PL422 unless 0 <= cached <= input and 0 <= reasoning <= output, each up to 10^12; otherwise returns true.';
revoke execute on function private.check_token_counts(input_tokens bigint, output_tokens bigint, cached_input_tokens bigint, reasoning_tokens bigint) from public;

-- Claims up to max_count requested answers for the calling server, those of different users in turns and at most five at a time of a user's own model, and returns the endpoint, model and sealed key of each.
create or replace function private.claim_answers(max_count integer default 10)
  returns table(message_id uuid, claim_id uuid, user_id uuid, max_tokens bigint, tools jsonb, lease_seconds integer, is_own boolean, provider_id uuid, endpoint text, auth_type text, model text, sealed_key text)
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/llm/private/claim_answers.sql

comment on function private.claim_answers(max_count integer) is 'Claims up to max_count requested answers for the calling server, those of different users in turns and at most five at a time of a user''s own model, and returns the endpoint, model and sealed key of each.';
revoke execute on function private.claim_answers(max_count integer) from public;
grant execute on function private.claim_answers(max_count integer) to :PLINTH_SERVICE;

-- Makes an event the one that counts its message. The caller has locked the user's ledger.
create or replace function private.claim_message(event billing.usage_events, at timestamp with time zone)
  returns void
  language plpgsql; -- fixtures/billing/private/claim_message.sql

comment on function private.claim_message(event billing.usage_events, at timestamp with time zone) is 'Makes an event the one that counts its message. The caller has locked the user''s ledger.';
revoke execute on function private.claim_message(event billing.usage_events, at timestamp with time zone) from public;

-- Claims up to max_count of these rooms, or of all, that wait for an answer of their AI; returns the message, endpoint, model and sealed key of each.
create or replace function private.claim_room_answers(room_ids uuid[] default null::uuid[], max_count integer default 10)
  returns table(room_id uuid, claim_id uuid, message_id uuid, audience_version bigint, max_tokens bigint, lease_seconds integer, provider_id uuid, endpoint text, auth_type text, model text, sealed_key text)
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/rooms/private/claim_room_answers.sql

comment on function private.claim_room_answers(room_ids uuid[], max_count integer) is 'Claims up to max_count of these rooms, or of all, that wait for an answer of their AI; returns the message, endpoint, model and sealed key of each.';
revoke execute on function private.claim_room_answers(room_ids uuid[], max_count integer) from public;
grant execute on function private.claim_room_answers(room_ids uuid[], max_count integer) to :PLINTH_SERVICE;

-- Returns the network of one client: /32 for IPv4, /56 for IPv6.
create or replace function private.client_network_of(address inet)
  returns cidr
  language sql
  immutable parallel safe; -- fixtures/security/private/client_network_of.sql

comment on function private.client_network_of(address inet) is 'Returns the network of one client: /32 for IPv4, /56 for IPv6.';
revoke execute on function private.client_network_of(address inet) from public;

-- Closes a block of up to max_entries commitments to rows of the audit logs; returns their number, 0 if there is none.
create or replace function private.close_audit_block(max_entries integer default 10000)
  returns integer
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/security/private/close_audit_block.sql

comment on function private.close_audit_block(max_entries integer) is 'Closes a block of up to max_entries commitments to rows of the audit logs; returns their number, 0 if there is none.';
revoke execute on function private.close_audit_block(max_entries integer) from public;
grant execute on function private.close_audit_block(max_entries integer) to :PLINTH_WORKER;

-- Ends the plan grants of a source and carries over up to rollover_limit unused, unheld tokens; returns their number. The same key again returns the same number.
create or replace function private.close_plan_grant(user_id uuid, source_id uuid, closed_at timestamp with time zone, rollover_limit bigint, rollover_expires_at timestamp with time zone, idempotency_key text, at timestamp with time zone default now())
  returns bigint
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/billing/private/close_plan_grant.sql

comment on function private.close_plan_grant(user_id uuid, source_id uuid, closed_at timestamp with time zone, rollover_limit bigint, rollover_expires_at timestamp with time zone, idempotency_key text, at timestamp with time zone) is 'Ends the plan grants of a source and carries over up to rollover_limit unused, unheld tokens; returns their number. The same key again returns the same number.';
revoke execute on function private.close_plan_grant(user_id uuid, source_id uuid, closed_at timestamp with time zone, rollover_limit bigint, rollover_expires_at timestamp with time zone, idempotency_key text, at timestamp with time zone) from public;
grant execute on function private.close_plan_grant(user_id uuid, source_id uuid, closed_at timestamp with time zone, rollover_limit bigint, rollover_expires_at timestamp with time zone, idempotency_key text, at timestamp with time zone) to :PLINTH_SERVICE;

-- Ends the unlimited plan grants of a source; limited ones stay.
create or replace function private.close_unlimited_grants(user_id uuid, source_id uuid, closed_at timestamp with time zone)
  returns void
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/billing/private/close_unlimited_grants.sql

comment on function private.close_unlimited_grants(user_id uuid, source_id uuid, closed_at timestamp with time zone) is 'Ends the unlimited plan grants of a source; limited ones stay.';
revoke execute on function private.close_unlimited_grants(user_id uuid, source_id uuid, closed_at timestamp with time zone) from public;

-- Commits to what an erasure leaves of an archived row of an audit log; returns it with its new salt.
create or replace function private.commit_archived_erasure(log text, former jsonb, remaining jsonb, account_id uuid)
  returns jsonb
  language plpgsql
  set search_path to 'pg_catalog'
  set "TimeZone" to 'UTC'; -- fixtures/security/private/commit_archived_erasure.sql

comment on function private.commit_archived_erasure(log text, former jsonb, remaining jsonb, account_id uuid) is 'Commits to what an erasure leaves of an archived row of an audit log; returns it with its new salt.';
revoke execute on function private.commit_archived_erasure(log text, former jsonb, remaining jsonb, account_id uuid) from public;

-- Trigger: commits to the rows of an audit log, which is its argument, and to their erasures.
create or replace function private.commit_audit_row()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
  set "TimeZone" to 'UTC'; -- fixtures/security/private/commit_audit_row.sql

comment on function private.commit_audit_row() is 'Trigger: commits to the rows of an audit log, which is its argument, and to their erasures.';
revoke execute on function private.commit_audit_row() from public;

-- Trigger: parses the definition of a model. PL422 with section, line, column and reason for one outside the grammar.
create or replace function private.compile_casbin_model()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/access/triggers/casbin_models.sql

comment on function private.compile_casbin_model() is 'Trigger: parses the definition of a model. PL422 with section, line, column and reason for one outside the grammar.';
revoke execute on function private.compile_casbin_model() from public;

-- Completes the items for the learners who have played enough of them by their present duration. Repeating it changes nothing.
create or replace function private.complete_played_items(item_ids uuid[])
  returns void
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/learning/private/complete_played_items.sql

comment on function private.complete_played_items(item_ids uuid[]) is 'Completes the items for the learners who have played enough of them by their present duration. Repeating it changes nothing.';
revoke execute on function private.complete_played_items(item_ids uuid[]) from public;

-- Opens a session, or a challenge when the account has a second factor; every one-factor sign-in ends here.
create or replace function private.complete_sign_in(user_id uuid, methods text[], refresh_token_hash bytea, device_name text, challenge_hash bytea)
  returns table(session_id uuid, token_version integer, refresh_expires_at timestamp with time zone, challenge_expires_at timestamp with time zone, challenge_methods text[])
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/identity/private/complete_sign_in.sql

comment on function private.complete_sign_in(user_id uuid, methods text[], refresh_token_hash bytea, device_name text, challenge_hash bytea) is 'Opens a session, or a challenge when the account has a second factor; every one-factor sign-in ends here.';
revoke execute on function private.complete_sign_in(user_id uuid, methods text[], refresh_token_hash bytea, device_name text, challenge_hash bytea) from public;

-- Computes a subscription's state, plan, period and payment from all events of its provider, and stores them.
create or replace function private.conclude_provider_subscription(provider text, provider_subscription_id text)
  returns private.provider_subscriptions
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/billing/private/conclude_provider_subscription.sql

comment on function private.conclude_provider_subscription(provider text, provider_subscription_id text) is 'Computes a subscription''s state, plan, period and payment from all events of its provider, and stores them.';
revoke execute on function private.conclude_provider_subscription(provider text, provider_subscription_id text) from public;

-- Returns the parts of a condition that pg_get_expr wrote, split at AND, OR and NOT: each with its depth and its operator, which is null for a part without parts.
create or replace function private.condition_parts(expression text, level integer default 0)
  returns table(depth integer, operator text, condition text)
  language plpgsql
  immutable
  set search_path to 'pg_catalog'; -- fixtures/access/private/condition_parts.sql

comment on function private.condition_parts(expression text, level integer) is 'Returns the parts of a condition that pg_get_expr wrote, split at AND, OR and NOT: each with its depth and its operator, which is null for a part without parts.';
revoke execute on function private.condition_parts(expression text, level integer) from public;

-- Returns whether a live session's owner has shown the current password; counts and audits a failure.
create or replace function private.confirm_password(user_id uuid, session_id uuid, password_matches boolean, checked_token_version integer, checked_password_hash text, failure_event text)
  returns boolean
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/identity/private/confirm_password.sql

comment on function private.confirm_password(user_id uuid, session_id uuid, password_matches boolean, checked_token_version integer, checked_password_hash text, failure_event text) is 'Returns whether a live session''s owner has shown the current password; counts and audits a failure.';
revoke execute on function private.confirm_password(user_id uuid, session_id uuid, password_matches boolean, checked_token_version integer, checked_password_hash text, failure_event text) from public;

-- Confirms an authenticator app; returns whether the recovery codes were stored. PL403, PL404, or PL422 for a wrong code.
create or replace function private.confirm_totp(factor_id uuid, step bigint, code_hashes bytea[])
  returns boolean
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/private/confirm_totp.sql

comment on function private.confirm_totp(factor_id uuid, step bigint, code_hashes bytea[]) is 'Confirms an authenticator app; returns whether the recovery codes were stored. PL403, PL404, or PL422 for a wrong code.';
revoke execute on function private.confirm_totp(factor_id uuid, step bigint, code_hashes bytea[]) from public;
grant execute on function private.confirm_totp(factor_id uuid, step bigint, code_hashes bytea[]) to :PLINTH_SERVICE;

-- Works like security.consume_rate_limit at a given time; null means now, after waiting for other calls with the key. PL422.
create or replace function private.consume_rate_limit_at(key text, algorithm text, limit_value integer, window_length interval, cost integer default 1, at timestamp with time zone default null::timestamp with time zone, metadata jsonb default '{}'::jsonb)
  returns table(allowed boolean, remaining integer, retry_after interval, reset_at timestamp with time zone)
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/security/private/consume_rate_limit_at.sql

comment on function private.consume_rate_limit_at(key text, algorithm text, limit_value integer, window_length interval, cost integer, at timestamp with time zone, metadata jsonb) is 'Works like security.consume_rate_limit at a given time; null means now, after waiting for other calls with the key. PL422.';
revoke execute on function private.consume_rate_limit_at(key text, algorithm text, limit_value integer, window_length interval, cost integer, at timestamp with time zone, metadata jsonb) from public;

-- Counts a call against a rule of security.rate_limit_rules or rejects it. A disabled rule allows the call; an unknown one is PL422.
create or replace function private.consume_rate_limit_rule(rule_name text, key text)
  returns table(allowed boolean, remaining integer, retry_after interval, reset_at timestamp with time zone)
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
  set plan_cache_mode to 'force_generic_plan'; -- fixtures/security/private/consume_rate_limit_rule.sql

comment on function private.consume_rate_limit_rule(rule_name text, key text) is 'Counts a call against a rule of security.rate_limit_rules or rejects it. A disabled rule allows the call; an unknown one is PL422.';
revoke execute on function private.consume_rate_limit_rule(rule_name text, key text) from public;
grant execute on function private.consume_rate_limit_rule(rule_name text, key text) to :PLINTH_SERVICE;

-- Returns available items that match the words, or whose title is similar to a text, and that match all filters.
create or replace function private.content_matching(any_query tsquery, languages text[], queries tsquery[], similar_to text, content_types text[], categories uuid[], tags text[], min_level integer, max_level integer)
  returns setof learning.content_items
  language sql
  stable; -- fixtures/learning/private/content_matching.sql

comment on function private.content_matching(any_query tsquery, languages text[], queries tsquery[], similar_to text, content_types text[], categories uuid[], tags text[], min_level integer, max_level integer) is 'Returns available items that match the words, or whose title is similar to a text, and that match all filters.';
revoke execute on function private.content_matching(any_query tsquery, languages text[], queries tsquery[], similar_to text, content_types text[], categories uuid[], tags text[], min_level integer, max_level integer) from public;

-- Returns the item and all items that must be completed before it, directly or not.
create or replace function private.content_required_for(item_id uuid)
  returns setof uuid
  language sql
  stable
  set search_path to 'pg_catalog'; -- fixtures/learning/private/content_required_for.sql

comment on function private.content_required_for(item_id uuid) is 'Returns the item and all items that must be completed before it, directly or not.';
revoke execute on function private.content_required_for(item_id uuid) from public;

-- Returns the searched languages in use (all, or one with its regional variants), the words as each language parses them, and a query for any of these.
create or replace function private.content_search_terms(query text, language text, out languages text[], out queries tsquery[], out any_query tsquery)
  returns record
  language plpgsql
  stable
  set search_path to 'pg_catalog'; -- fixtures/learning/private/content_search_terms.sql

comment on function private.content_search_terms(query text, language text, out languages text[], out queries tsquery[], out any_query tsquery) is 'Returns the searched languages in use (all, or one with its regional variants), the words as each language parses them, and a query for any of these.';
revoke execute on function private.content_search_terms(query text, language text, out languages text[], out queries tsquery[], out any_query tsquery) from public;

-- Returns the ids of a category and all its descendants; null for null.
create or replace function private.content_subtree(category_id uuid)
  returns uuid[]
  language sql
  stable
  set search_path to 'pg_catalog'; -- fixtures/learning/private/content_subtree.sql

comment on function private.content_subtree(category_id uuid) is 'Returns the ids of a category and all its descendants; null for null.';
revoke execute on function private.content_subtree(category_id uuid) from public;

-- Replaces the estimate billed for an ended turn with the counts of its writer.
create or replace function private.correct_turn_usage(turn private.turns, model_id uuid, input_tokens bigint, output_tokens bigint, cached_input_tokens bigint, reasoning_tokens bigint)
  returns void
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/llm/private/correct_turn_usage.sql

comment on function private.correct_turn_usage(turn private.turns, model_id uuid, input_tokens bigint, output_tokens bigint, cached_input_tokens bigint, reasoning_tokens bigint) is 'Replaces the estimate billed for an ended turn with the counts of its writer.';
revoke execute on function private.correct_turn_usage(turn private.turns, model_id uuid, input_tokens bigint, output_tokens bigint, cached_input_tokens bigint, reasoning_tokens bigint) from public;

-- Corrects a recorded usage to these counts by an event of the difference; the same key again returns the same event. PL404 for unknown usage, PL409 for a key used for another request.
create or replace function private.correct_usage(event_id uuid, input_tokens bigint, output_tokens bigint, idempotency_key text, cached_input_tokens bigint default 0, reasoning_tokens bigint default 0, at timestamp with time zone default now())
  returns billing.usage_events
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/billing/private/correct_usage.sql

comment on function private.correct_usage(event_id uuid, input_tokens bigint, output_tokens bigint, idempotency_key text, cached_input_tokens bigint, reasoning_tokens bigint, at timestamp with time zone) is 'Corrects a recorded usage to these counts by an event of the difference; the same key again returns the same event. PL404 for unknown usage, PL409 for a key used for another request.';
revoke execute on function private.correct_usage(event_id uuid, input_tokens bigint, output_tokens bigint, idempotency_key text, cached_input_tokens bigint, reasoning_tokens bigint, at timestamp with time zone) from public;
grant execute on function private.correct_usage(event_id uuid, input_tokens bigint, output_tokens bigint, idempotency_key text, cached_input_tokens bigint, reasoning_tokens bigint, at timestamp with time zone) to :PLINTH_SERVICE;

-- Keeps the sums of each account over a month of sessions that leaves learning.content_consumption.
create or replace function private.count_archived_consumption(archive_id uuid, source regclass)
  returns void
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/security/private/count_archived_consumption.sql

comment on function private.count_archived_consumption(archive_id uuid, source regclass) is 'Keeps the sums of each account over a month of sessions that leaves learning.content_consumption.';
revoke execute on function private.count_archived_consumption(archive_id uuid, source regclass) from public;

-- Adds an amount (1, or -1 to undo) at a message's number, in all levels.
create or replace function private.count_in_room(room_id uuid, kind text, user_id uuid, peer_id uuid, sequence bigint, amount integer)
  returns void
  language sql
  set search_path to 'pg_catalog'; -- fixtures/rooms/private/count_in_room.sql

comment on function private.count_in_room(room_id uuid, kind text, user_id uuid, peer_id uuid, sequence bigint, amount integer) is 'Adds an amount (1, or -1 to undo) at a message''s number, in all levels.';
revoke execute on function private.count_in_room(room_id uuid, kind text, user_id uuid, peer_id uuid, sequence bigint, amount integer) from public;

-- Corrects the unread and mention counts of a room for a message that is restored (1) or deleted (-1).
create or replace function private.count_message(message rooms.room_messages, amount integer)
  returns void
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/rooms/private/count_message.sql

comment on function private.count_message(message rooms.room_messages, amount integer) is 'Corrects the unread and mention counts of a room for a message that is restored (1) or deleted (-1).';
revoke execute on function private.count_message(message rooms.room_messages, amount integer) from public;

-- Trigger: excludes a private message from the common count.
create or replace function private.count_private_message()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/rooms/triggers/room_messages.sql

comment on function private.count_private_message() is 'Trigger: excludes a private message from the common count.';
revoke execute on function private.count_private_message() from public;

-- Returns the total seconds of the stretches.
create or replace function private.count_seconds(stretches int4multirange)
  returns integer
  language plpgsql
  immutable; -- fixtures/learning/private/count_seconds.sql

comment on function private.count_seconds(stretches int4multirange) is 'Returns the total seconds of the stretches.';
revoke execute on function private.count_seconds(stretches int4multirange) from public;

-- Counts a wrong code over all sessions and challenges of the account and locks its codes for a while from the tenth on.
create or replace function private.count_wrong_code(user_id uuid)
  returns void
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/identity/private/count_wrong_code.sql

comment on function private.count_wrong_code(user_id uuid) is 'Counts a wrong code over all sessions and challenges of the account and locks its codes for a while from the tenth on.';
revoke execute on function private.count_wrong_code(user_id uuid) from public;

-- Returns the sum of a user's tallies of a kind after a watermark, without those from some peers.
create or replace function private.counted_in_room_after(room_id uuid, kind text, user_id uuid, watermark bigint, without_peers uuid[] default '{}'::uuid[])
  returns bigint
  language plpgsql
  stable
  set search_path to 'pg_catalog'; -- fixtures/rooms/private/counted_in_room_after.sql

comment on function private.counted_in_room_after(room_id uuid, kind text, user_id uuid, watermark bigint, without_peers uuid[]) is 'Returns the sum of a user''s tallies of a kind after a watermark, without those from some peers.';
revoke execute on function private.counted_in_room_after(room_id uuid, kind text, user_id uuid, watermark bigint, without_peers uuid[]) from public;

-- Returns how many seconds of an item the stretches cover; all of them when its duration is unknown.
create or replace function private.covered_seconds(covered int4multirange, duration_seconds integer)
  returns integer
  language sql
  immutable; -- fixtures/learning/private/covered_seconds.sql

comment on function private.covered_seconds(covered int4multirange, duration_seconds integer) is 'Returns how many seconds of an item the stretches cover; all of them when its duration is unknown.';
revoke execute on function private.covered_seconds(covered int4multirange, duration_seconds integer) from public;

-- Adds an API token to the account of a recently signed-in session; returns its id. PL401, PL402 (50 live tokens), PL403, PL422.
create or replace function private.create_api_token(user_id uuid, session_id uuid, name text, scopes text[], expires_at timestamp with time zone, token_prefix text, token_hash bytea)
  returns uuid
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/private/create_api_token.sql

comment on function private.create_api_token(user_id uuid, session_id uuid, name text, scopes text[], expires_at timestamp with time zone, token_prefix text, token_hash bytea) is 'Adds an API token to the account of a recently signed-in session; returns its id. PL401, PL402 (50 live tokens), PL403, PL422.';
revoke execute on function private.create_api_token(user_id uuid, session_id uuid, name text, scopes text[], expires_at timestamp with time zone, token_prefix text, token_hash bytea) from public;
grant execute on function private.create_api_token(user_id uuid, session_id uuid, name text, scopes text[], expires_at timestamp with time zone, token_prefix text, token_hash bytea) to :PLINTH_SERVICE;

-- Stores an encrypted memory; no row when the key was deleted. PL402 at 10,000 memories, PL404 for a chat or room that is not the user's, PL422 for a time of expiry in the past.
create or replace function private.create_memory(user_id uuid, key_id uuid, content text, word_hashes text[], kind text, source text, importance integer, confidence double precision, chat_id uuid default null::uuid, room_id uuid default null::uuid, expires_at timestamp with time zone default null::timestamp with time zone)
  returns setof llm.memories
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/llm/private/create_memory.sql

comment on function private.create_memory(user_id uuid, key_id uuid, content text, word_hashes text[], kind text, source text, importance integer, confidence double precision, chat_id uuid, room_id uuid, expires_at timestamp with time zone) is 'Stores an encrypted memory; no row when the key was deleted. PL402 at 10,000 memories, PL404 for a chat or room that is not the user''s, PL422 for a time of expiry in the past.';
revoke execute on function private.create_memory(user_id uuid, key_id uuid, content text, word_hashes text[], kind text, source text, importance integer, confidence double precision, chat_id uuid, room_id uuid, expires_at timestamp with time zone) from public;
grant execute on function private.create_memory(user_id uuid, key_id uuid, content text, word_hashes text[], kind text, source text, importance integer, confidence double precision, chat_id uuid, room_id uuid, expires_at timestamp with time zone) to :PLINTH_SERVICE;

-- Creates the partition for a month of a log; returns its name, or null if it exists.
create or replace function private.create_month_partition(parent regclass, month date)
  returns text
  language plpgsql
  set search_path to 'pg_catalog'
  set "TimeZone" to 'UTC'; -- fixtures/plinth/private/create_month_partition.sql

comment on function private.create_month_partition(parent regclass, month date) is 'Creates the partition for a month of a log; returns its name, or null if it exists.';
revoke execute on function private.create_month_partition(parent regclass, month date) from public;

-- Completes courses, advances trainings and adds evidence for items a user completed; repeating it changes nothing.
create or replace function private.credit_completions(user_id uuid, item_ids uuid[])
  returns void
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/learning/private/credit_completions.sql

comment on function private.credit_completions(user_id uuid, item_ids uuid[]) is 'Completes courses, advances trainings and adds evidence for items a user completed; repeating it changes nothing.';
revoke execute on function private.credit_completions(user_id uuid, item_ids uuid[]) from public;

-- Advances trainings and adds evidence of skills for items a user completed; repeating it changes nothing.
create or replace function private.credit_skills(user_id uuid, item_ids uuid[])
  returns void
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/learning/private/credit_skills.sql

comment on function private.credit_skills(user_id uuid, item_ids uuid[]) is 'Advances trainings and adds evidence of skills for items a user completed; repeating it changes nothing.';
revoke execute on function private.credit_skills(user_id uuid, item_ids uuid[]) from public;

-- Returns the code of the user's plan (trialing, active or past_due), or free.
create or replace function private.current_plan_code(user_id uuid)
  returns text
  language sql
  stable; -- fixtures/billing/private/current_plan_code.sql

comment on function private.current_plan_code(user_id uuid) is 'Returns the code of the user''s plan (trialing, active or past_due), or free.';
revoke execute on function private.current_plan_code(user_id uuid) from public;

-- Returns the caller's role in a room; PL401 without a sign-in, PL404 for a non-member.
create or replace function private.current_room_role(room_id uuid)
  returns text
  language plpgsql
  stable
  set search_path to 'pg_catalog'; -- fixtures/rooms/private/current_room_role.sql

comment on function private.current_room_role(room_id uuid) is 'Returns the caller''s role in a room; PL401 without a sign-in, PL404 for a non-member.';
revoke execute on function private.current_room_role(room_id uuid) from public;

-- Returns the comments of the tables of exports (without a column) and of their columns, without smart tags.
create or replace function private.data_export_descriptions()
  returns table(table_name text, column_name text, description text)
  language sql
  stable security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/private/data_export_descriptions.sql

comment on function private.data_export_descriptions() is 'Returns the comments of the tables of exports (without a column) and of their columns, without smart tags.';
revoke execute on function private.data_export_descriptions() from public;
grant execute on function private.data_export_descriptions() to :PLINTH_SERVICE;

-- Returns the SQL that reads a user's rows of a table ($1) as JSON texts, without secrets.
create or replace function private.data_export_query(table_oid oid, condition text)
  returns text
  language sql
  stable
  set search_path to 'pg_catalog'; -- fixtures/identity/private/data_export_query.sql

comment on function private.data_export_query(table_oid oid, condition text) is 'Returns the SQL that reads a user''s rows of a table ($1) as JSON texts, without secrets.';
revoke execute on function private.data_export_query(table_oid oid, condition text) from public;

-- Returns the tables of an export and the condition by which a row is the user's ($1), found in the catalogue.
create or replace function private.data_export_sources()
  returns table(table_oid oid, table_name text, condition text)
  language sql
  stable
  set search_path to 'pg_catalog'; -- fixtures/identity/private/data_export_sources.sql

comment on function private.data_export_sources() is 'Returns the tables of an export and the condition by which a row is the user''s ($1), found in the catalogue.';
revoke execute on function private.data_export_sources() from public;

-- Deletes one account whose deletion is due; returns deleted, postponed, canceled, blocked by <schema>.<table> (<constraint>), or null when none is due.
create or replace function private.delete_due_account()
  returns text
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/private/delete_due_account.sql

comment on function private.delete_due_account() is 'Deletes one account whose deletion is due; returns deleted, postponed, canceled, blocked by <schema>.<table> (<constraint>), or null when none is due.';
revoke execute on function private.delete_due_account() from public;
grant execute on function private.delete_due_account() to :PLINTH_WORKER;

-- Deletes up to batch_size turns that ended a day ago, with their deltas; returns their number.
create or replace function private.delete_ended_turns(batch_size integer default 1000)
  returns integer
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/llm/private/delete_ended_turns.sql

comment on function private.delete_ended_turns(batch_size integer) is 'Deletes up to batch_size turns that ended a day ago, with their deltas; returns their number.';
revoke execute on function private.delete_ended_turns(batch_size integer) from public;
grant execute on function private.delete_ended_turns(batch_size integer) to :PLINTH_WORKER;

-- Deletes the contents of up to batch_size expired exports; returns their number.
create or replace function private.delete_expired_exports(batch_size integer default 100)
  returns integer
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/private/delete_expired_exports.sql

comment on function private.delete_expired_exports(batch_size integer) is 'Deletes the contents of up to batch_size expired exports; returns their number.';
revoke execute on function private.delete_expired_exports(batch_size integer) from public;
grant execute on function private.delete_expired_exports(batch_size integer) to :PLINTH_WORKER;

-- Deletes expired memories, up to max_count; returns their number.
create or replace function private.delete_expired_memories(max_count integer)
  returns integer
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/llm/private/delete_expired_memories.sql

comment on function private.delete_expired_memories(max_count integer) is 'Deletes expired memories, up to max_count; returns their number.';
revoke execute on function private.delete_expired_memories(max_count integer) from public;
grant execute on function private.delete_expired_memories(max_count integer) to :PLINTH_WORKER;

-- Deletes expired presence and typing rows, up to max_count of each; returns the larger of both numbers.
create or replace function private.delete_expired_presence(max_count integer)
  returns integer
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/rooms/private/delete_expired_presence.sql

comment on function private.delete_expired_presence(max_count integer) is 'Deletes expired presence and typing rows, up to max_count of each; returns the larger of both numbers.';
revoke execute on function private.delete_expired_presence(max_count integer) from public;
grant execute on function private.delete_expired_presence(max_count integer) to :PLINTH_WORKER;

-- Deletes up to batch_size expired counters; returns their number.
create or replace function private.delete_expired_rate_limits(batch_size integer default 1000)
  returns integer
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/security/private/delete_expired_rate_limits.sql

comment on function private.delete_expired_rate_limits(batch_size integer) is 'Deletes up to batch_size expired counters; returns their number.';
revoke execute on function private.delete_expired_rate_limits(batch_size integer) from public;
grant execute on function private.delete_expired_rate_limits(batch_size integer) to :PLINTH_WORKER;

-- Deletes up to batch_size expired refresh tokens, revocations, challenges, provider flows and unconfirmed factors; returns their number.
create or replace function private.delete_expired_sign_in_data(batch_size integer default 1000)
  returns integer
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/private/delete_expired_sign_in_data.sql

comment on function private.delete_expired_sign_in_data(batch_size integer) is 'Deletes up to batch_size expired refresh tokens, revocations, challenges, provider flows and unconfirmed factors; returns their number.';
revoke execute on function private.delete_expired_sign_in_data(batch_size integer) from public;
grant execute on function private.delete_expired_sign_in_data(batch_size integer) to :PLINTH_WORKER;

-- Deletes up to batch_size reset tokens and verifications that ended 30 days ago; returns their number.
create or replace function private.delete_expired_verifications(batch_size integer default 1000)
  returns integer
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/private/delete_expired_verifications.sql

comment on function private.delete_expired_verifications(batch_size integer) is 'Deletes up to batch_size reset tokens and verifications that ended 30 days ago; returns their number.';
revoke execute on function private.delete_expired_verifications(batch_size integer) from public;
grant execute on function private.delete_expired_verifications(batch_size integer) to :PLINTH_WORKER;

-- Deletes all memories of a user with their encryption key, permanently; returns their number.
create or replace function private.delete_memories(user_id uuid)
  returns integer
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/llm/private/delete_memories.sql

comment on function private.delete_memories(user_id uuid) is 'Deletes all memories of a user with their encryption key, permanently; returns their number.';
revoke execute on function private.delete_memories(user_id uuid) from public;
grant execute on function private.delete_memories(user_id uuid) to :PLINTH_SERVICE;

-- Deletes a user's memory; PL404 if the user has no such memory.
create or replace function private.delete_memory(user_id uuid, id uuid)
  returns void
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/llm/private/delete_memory.sql

comment on function private.delete_memory(user_id uuid, id uuid) is 'Deletes a user''s memory; PL404 if the user has no such memory.';
revoke execute on function private.delete_memory(user_id uuid, id uuid) from public;
grant execute on function private.delete_memory(user_id uuid, id uuid) to :PLINTH_SERVICE;

-- Deletes up to batch_size API tokens that were revoked or expired 90 days ago; returns their number.
create or replace function private.delete_old_api_tokens(batch_size integer default 1000)
  returns integer
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/private/delete_old_api_tokens.sql

comment on function private.delete_old_api_tokens(batch_size integer) is 'Deletes up to batch_size API tokens that were revoked or expired 90 days ago; returns their number.';
revoke execute on function private.delete_old_api_tokens(batch_size integer) from public;
grant execute on function private.delete_old_api_tokens(batch_size integer) to :PLINTH_WORKER;

-- Deletes up to batch_size emails that were sent 7 days ago or failed 30 days ago; returns their number.
create or replace function private.delete_old_emails(batch_size integer default 1000)
  returns integer
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/private/delete_old_emails.sql

comment on function private.delete_old_emails(batch_size integer) is 'Deletes up to batch_size emails that were sent 7 days ago or failed 30 days ago; returns their number.';
revoke execute on function private.delete_old_emails(batch_size integer) from public;
grant execute on function private.delete_old_emails(batch_size integer) to :PLINTH_WORKER;

-- Deletes up to batch_size errors that are older than the retention policy keeps; returns their number.
create or replace function private.delete_old_error_logs(batch_size integer default 1000)
  returns integer
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/security/private/delete_old_error_logs.sql

comment on function private.delete_old_error_logs(batch_size integer) is 'Deletes up to batch_size errors that are older than the retention policy keeps; returns their number.';
revoke execute on function private.delete_old_error_logs(batch_size integer) from public;
grant execute on function private.delete_old_error_logs(batch_size integer) to :PLINTH_WORKER;

-- Deletes up to batch_size deduplication keys of heartbeats older than 35 days; returns their number.
create or replace function private.delete_old_heartbeats(batch_size integer default 10000)
  returns integer
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/learning/private/delete_old_heartbeats.sql

comment on function private.delete_old_heartbeats(batch_size integer) is 'Deletes up to batch_size deduplication keys of heartbeats older than 35 days; returns their number.';
revoke execute on function private.delete_old_heartbeats(batch_size integer) from public;
grant execute on function private.delete_old_heartbeats(batch_size integer) to :PLINTH_WORKER;

-- Deletes up to batch_size keys of prompt uses that are a week old; returns their number.
create or replace function private.delete_old_prompt_use_keys(batch_size integer default 1000)
  returns integer
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/llm/private/delete_old_prompt_use_keys.sql

comment on function private.delete_old_prompt_use_keys(batch_size integer) is 'Deletes up to batch_size keys of prompt uses that are a week old; returns their number.';
revoke execute on function private.delete_old_prompt_use_keys(batch_size integer) from public;
grant execute on function private.delete_old_prompt_use_keys(batch_size integer) to :PLINTH_WORKER;

-- Deletes up to batch_size rows, oldest first, whose time in the column since is at least kept ago; returns their number.
create or replace function private.delete_old_rows(target regclass, since name, kept interval, batch_size integer)
  returns integer
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/plinth/private/delete_old_rows.sql

comment on function private.delete_old_rows(target regclass, since name, kept interval, batch_size integer) is 'Deletes up to batch_size rows, oldest first, whose time in the column since is at least kept ago; returns their number.';
revoke execute on function private.delete_old_rows(target regclass, since name, kept interval, batch_size integer) from public;

-- Trigger: the key of a user's own model is deleted when its endpoint changes.
create or replace function private.delete_own_model_key()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/llm/triggers/model_keys.sql

comment on function private.delete_own_model_key() is 'Trigger: the key of a user''s own model is deleted when its endpoint changes.';
revoke execute on function private.delete_own_model_key() from public;

-- Trigger: a provider's key is deleted when its address changes.
create or replace function private.delete_provider_key()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/llm/triggers/model_keys.sql

comment on function private.delete_provider_key() is 'Trigger: a provider''s key is deleted when its address changes.';
revoke execute on function private.delete_provider_key() from public;

-- Deletes a user's key for a purpose, or all of the user's keys, and all data encrypted under them, permanently; returns whether there was one.
create or replace function private.delete_user_key(user_id uuid, purpose text default null::text)
  returns boolean
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/private/delete_user_key.sql

comment on function private.delete_user_key(user_id uuid, purpose text) is 'Deletes a user''s key for a purpose, or all of the user''s keys, and all data encrypted under them, permanently; returns whether there was one.';
revoke execute on function private.delete_user_key(user_id uuid, purpose text) from public;
grant execute on function private.delete_user_key(user_id uuid, purpose text) to :PLINTH_SERVICE;

-- Returns private.known_device, and for an unknown browser the name that the program gives itself.
create or replace function private.describe_user_agent(user_agent text)
  returns jsonb
  language sql
  immutable parallel safe strict
  set search_path to 'pg_catalog'; -- fixtures/identity/private/describe_user_agent.sql

comment on function private.describe_user_agent(user_agent text) is 'Returns private.known_device, and for an unknown browser the name that the program gives itself.';
revoke execute on function private.describe_user_agent(user_agent text) from public;

-- Moves a month of a log into the table private.archive_table(log, month); returns its name.
create or replace function private.detach_log_month(log text, month date)
  returns text
  language plpgsql
  set search_path to 'pg_catalog'
  set "TimeZone" to 'UTC'
  set lock_timeout to '200ms'; -- fixtures/security/private/detach_log_month.sql

comment on function private.detach_log_month(log text, month date) is 'Moves a month of a log into the table private.archive_table(log, month); returns its name.';
revoke execute on function private.detach_log_month(log text, month date) from public;

-- Reports broken enabled rules, minute by minute since a time within the last day; returns the number of new reports.
create or replace function private.detect_suspicious_activity(since timestamp with time zone default (now() - '00:03:00'::interval))
  returns integer
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/security/private/detect_suspicious_activity.sql

comment on function private.detect_suspicious_activity(since timestamp with time zone) is 'Reports broken enabled rules, minute by minute since a time within the last day; returns the number of new reports.';
revoke execute on function private.detect_suspicious_activity(since timestamp with time zone) from public;
grant execute on function private.detect_suspicious_activity(since timestamp with time zone) to :PLINTH_WORKER;

-- Returns the part of a payment that is in dispute and not refunded. Net revenue is the amount without it and without refunds.
create or replace function private.disputed_cents(amount_cents bigint, refunded_cents bigint, disputed_at timestamp with time zone)
  returns bigint
  language sql
  immutable parallel safe; -- fixtures/billing/private/disputed_cents.sql

comment on function private.disputed_cents(amount_cents bigint, refunded_cents bigint, disputed_at timestamp with time zone) is 'Returns the part of a payment that is in dispute and not refunded. Net revenue is the amount without it and without refunds.';
revoke execute on function private.disputed_cents(amount_cents bigint, refunded_cents bigint, disputed_at timestamp with time zone) from public;

-- Deletes a due month of a log and registers it; returns the number of rows. PL409 if the month is not due.
create or replace function private.drop_log_month(log text, month date)
  returns bigint
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/security/private/drop_log_month.sql

comment on function private.drop_log_month(log text, month date) is 'Deletes a due month of a log and registers it; returns the number of rows. PL409 if the month is not due.';
revoke execute on function private.drop_log_month(log text, month date) from public;
grant execute on function private.drop_log_month(log text, month date) to :PLINTH_WORKER;

-- Returns the months of all logs that are older than their policy keeps, oldest first for each log, with the action to take.
create or replace function private.due_log_months()
  returns table(log text, month date, action text, estimated_rows bigint)
  language plpgsql
  stable security definer
  set search_path to 'pg_catalog'
  set "TimeZone" to 'UTC'; -- fixtures/security/private/due_log_months.sql

comment on function private.due_log_months() is 'Returns the months of all logs that are older than their policy keeps, oldest first for each log, with the action to take.';
revoke execute on function private.due_log_months() from public;
grant execute on function private.due_log_months() to :PLINTH_WORKER;

-- Registers the rows of a month that was moved out of its log, and drops its table; returns the number of rows.
create or replace function private.end_archive_table(archive_id uuid)
  returns bigint
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/security/private/end_archive_table.sql

comment on function private.end_archive_table(archive_id uuid) is 'Registers the rows of a month that was moved out of its log, and drops its table; returns the number of rows.';
revoke execute on function private.end_archive_table(archive_id uuid) from public;

-- Ends up to batch_size expired sessions and deletes those that ended 90 days ago; returns their number.
create or replace function private.end_expired_sessions(batch_size integer default 1000)
  returns integer
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/private/end_expired_sessions.sql

comment on function private.end_expired_sessions(batch_size integer) is 'Ends up to batch_size expired sessions and deletes those that ended 90 days ago; returns their number.';
revoke execute on function private.end_expired_sessions(batch_size integer) from public;
grant execute on function private.end_expired_sessions(batch_size integer) to :PLINTH_WORKER;

-- Ends the answer that a room's AI is writing and settles its usage.
create or replace function private.end_room_answer(room_id uuid, state text, error_code text, message_id uuid default null::uuid, input_tokens bigint default null::bigint, output_tokens bigint default null::bigint, cached_input_tokens bigint default 0, reasoning_tokens bigint default 0)
  returns void
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/rooms/private/end_room_answer.sql

comment on function private.end_room_answer(room_id uuid, state text, error_code text, message_id uuid, input_tokens bigint, output_tokens bigint, cached_input_tokens bigint, reasoning_tokens bigint) is 'Ends the answer that a room''s AI is writing and settles its usage.';
revoke execute on function private.end_room_answer(room_id uuid, state text, error_code text, message_id uuid, input_tokens bigint, output_tokens bigint, cached_input_tokens bigint, reasoning_tokens bigint) from public;

-- Ends a user's live sessions except one; returns their number.
create or replace function private.end_sessions(user_id uuid, reason text, except_session_id uuid default null::uuid)
  returns integer
  language sql
  set search_path to 'pg_catalog'; -- fixtures/identity/private/end_sessions.sql

comment on function private.end_sessions(user_id uuid, reason text, except_session_id uuid) is 'Ends a user''s live sessions except one; returns their number.';
revoke execute on function private.end_sessions(user_id uuid, reason text, except_session_id uuid) from public;

-- Ends an answer with the text received and counts its usage; an ended answer is returned unchanged. PL404 for an unknown turn, PL409 when the number of deltas differs from the expected one.
create or replace function private.end_turn(message_id uuid, state text, finish_reason text, error_code text default null::text, error_message text default null::text, tool_calls jsonb default null::jsonb, expected_sequence integer default null::integer, input_tokens bigint default null::bigint, output_tokens bigint default null::bigint, cached_input_tokens bigint default 0, reasoning_tokens bigint default 0, user_id uuid default null::uuid, writer text default null::text, only_expired boolean default false)
  returns llm.messages
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/llm/private/end_turn.sql

comment on function private.end_turn(message_id uuid, state text, finish_reason text, error_code text, error_message text, tool_calls jsonb, expected_sequence integer, input_tokens bigint, output_tokens bigint, cached_input_tokens bigint, reasoning_tokens bigint, user_id uuid, writer text, only_expired boolean) is 'Ends an answer with the text received and counts its usage; an ended answer is returned unchanged. PL404 for an unknown turn, PL409 when the number of deltas differs from the expected one.';
revoke execute on function private.end_turn(message_id uuid, state text, finish_reason text, error_code text, error_message text, tool_calls jsonb, expected_sequence integer, input_tokens bigint, output_tokens bigint, cached_input_tokens bigint, reasoning_tokens bigint, user_id uuid, writer text, only_expired boolean) from public;

-- Counts a call against a rule; PL429 with the seconds to wait in the hint when the limit is exceeded.
create or replace function private.enforce_rate_limit(rule_name text, key text)
  returns void
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/security/private/enforce_rate_limit.sql

comment on function private.enforce_rate_limit(rule_name text, key text) is 'Counts a call against a rule; PL429 with the seconds to wait in the hint when the limit is exceeded.';
revoke execute on function private.enforce_rate_limit(rule_name text, key text) from public;
grant execute on function private.enforce_rate_limit(rule_name text, key text) to :PLINTH_SERVICE;

-- Grants the tokens of the user's plan, or the free plan, for the current period, unless they were granted.
create or replace function private.ensure_current_grants(user_id uuid)
  returns void
  language sql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/billing/private/ensure_current_grants.sql

comment on function private.ensure_current_grants(user_id uuid) is 'Grants the tokens of the user''s plan, or the free plan, for the current period, unless they were granted.';
revoke execute on function private.ensure_current_grants(user_id uuid) from public;

-- Grants the tokens of the periods that contain a moment, once. Without may_wait it does nothing while the account is locked.
create or replace function private.ensure_grants_at(user_id uuid, at timestamp with time zone, may_wait boolean default true)
  returns void
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/billing/private/ensure_grants_at.sql

comment on function private.ensure_grants_at(user_id uuid, at timestamp with time zone, may_wait boolean) is 'Grants the tokens of the periods that contain a moment, once. Without may_wait it does nothing while the account is locked.';
revoke execute on function private.ensure_grants_at(user_id uuid, at timestamp with time zone, may_wait boolean) from public;

-- Creates the missing monthly partitions of all logs, from this month to months_ahead later, and those of rows in default partitions; returns the names created.
create or replace function private.ensure_partitions(months_ahead integer default 3)
  returns table(partition_name text)
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
  set "TimeZone" to 'UTC'; -- fixtures/plinth/private/ensure_partitions.sql

comment on function private.ensure_partitions(months_ahead integer) is 'Creates the missing monthly partitions of all logs, from this month to months_ahead later, and those of rows in default partitions; returns the names created.';
revoke execute on function private.ensure_partitions(months_ahead integer) from public;
grant execute on function private.ensure_partitions(months_ahead integer) to :PLINTH_WORKER;

-- Returns the columns of an audit log that may hold personal data, which an erasure clears.
create or replace function private.erasable_audit_columns(log text)
  returns text[]
  language sql
  immutable
  set search_path to 'pg_catalog'; -- fixtures/security/private/erasable_audit_columns.sql

comment on function private.erasable_audit_columns(log text) is 'Returns the columns of an audit log that may hold personal data, which an erasure clears.';
revoke execute on function private.erasable_audit_columns(log text) from public;

-- Returns archived rows of a log without the accounts that they belong to; null for a row that goes with its account.
create or replace function private.erase_archived_lines(log text, lines text[], account_ids uuid[])
  returns setof text
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
  set "TimeZone" to 'UTC'
  set "DateStyle" to 'ISO, YMD'
  set "IntervalStyle" to 'iso_8601'
  set extra_float_digits to '1'; -- fixtures/security/private/erase_archived_lines.sql

comment on function private.erase_archived_lines(log text, lines text[], account_ids uuid[]) is 'Returns archived rows of a log without the accounts that they belong to; null for a row that goes with its account.';
revoke execute on function private.erase_archived_lines(log text, lines text[], account_ids uuid[]) from public;
grant execute on function private.erase_archived_lines(log text, lines text[], account_ids uuid[]) to :PLINTH_WORKER;

-- Deletes or clears the rows of a deleted account that name it in columns with the tag @userId.
create or replace function private.erase_declared_rows(user_id uuid)
  returns void
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/identity/private/erase_declared_rows.sql

comment on function private.erase_declared_rows(user_id uuid) is 'Deletes or clears the rows of a deleted account that name it in columns with the tag @userId.';
revoke execute on function private.erase_declared_rows(user_id uuid) from public;

-- Clears message and context of an account's errors; code and fingerprint stay, so that they can still be counted.
create or replace function private.erase_errors(account_id uuid)
  returns void
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/security/private/erase_errors.sql

comment on function private.erase_errors(account_id uuid) is 'Clears message and context of an account''s errors; code and fingerprint stay, so that they can still be counted.';
revoke execute on function private.erase_errors(account_id uuid) from public;

-- Clears address and program of the audit log's entries about attempts on names of an account before they belonged to it. PL409 unless it is being erased.
create or replace function private.erase_failed_sign_ins(account_id uuid, times timestamp with time zone[], addresses inet[])
  returns void
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/security/private/erase_failed_sign_ins.sql

comment on function private.erase_failed_sign_ins(account_id uuid, times timestamp with time zone[], addresses inet[]) is 'Clears address and program of the audit log''s entries about attempts on names of an account before they belonged to it. PL409 unless it is being erased.';
revoke execute on function private.erase_failed_sign_ins(account_id uuid, times timestamp with time zone[], addresses inet[]) from public;
grant execute on function private.erase_failed_sign_ins(account_id uuid, times timestamp with time zone[], addresses inet[]) to :PLINTH_WORKER;

-- Deletes the queue's jobs whose payload, output or keys name an account by id, address or phone number.
create or replace function private.erase_jobs(account identity.users)
  returns void
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/security/private/erase_jobs.sql

comment on function private.erase_jobs(account identity.users) is 'Deletes the queue''s jobs whose payload, output or keys name an account by id, address or phone number.';
revoke execute on function private.erase_jobs(account identity.users) from public;

-- Clears name, address and program of an account's sign-ins, and of attempts on its names before they belonged to an account.
create or replace function private.erase_login_attempts(account identity.users)
  returns void
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/security/private/erase_login_attempts.sql

comment on function private.erase_login_attempts(account identity.users) is 'Clears name, address and program of an account''s sign-ins, and of attempts on its names before they belonged to an account.';
revoke execute on function private.erase_login_attempts(account identity.users) from public;

-- Trigger: clears a deleted account from the log of reads of personal data; the reads stay.
create or replace function private.erase_personal_data_reads()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/security/private/erase_personal_data_reads.sql

comment on function private.erase_personal_data_reads() is 'Trigger: clears a deleted account from the log of reads of personal data; the reads stay.';
revoke execute on function private.erase_personal_data_reads() from public;

-- Deletes the counters of an account's id, names and numbers.
create or replace function private.erase_rate_limits(account identity.users)
  returns void
  language sql
  set search_path to 'pg_catalog'; -- fixtures/security/private/erase_rate_limits.sql

comment on function private.erase_rate_limits(account identity.users) is 'Deletes the counters of an account''s id, names and numbers.';
revoke execute on function private.erase_rate_limits(account identity.users) from public;

-- Clears an account's data, address and program from the audit log; those of other people who acted on it stay.
create or replace function private.erase_security_events(account_id uuid)
  returns void
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/security/private/erase_security_events.sql

comment on function private.erase_security_events(account_id uuid) is 'Clears an account''s data, address and program from the audit log; those of other people who acted on it stay.';
revoke execute on function private.erase_security_events(account_id uuid) from public;

-- Trigger: clears the data about a deleted account from logs, queued mails and jobs, counters, and columns with the tag @userId.
create or replace function private.erase_traces_of_user()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/triggers/users.sql

comment on function private.erase_traces_of_user() is 'Trigger: clears the data about a deleted account from logs, queued mails and jobs, counters, and columns with the tag @userId.';
revoke execute on function private.erase_traces_of_user() from public;

-- Returns the text with the five special characters of HTML escaped.
create or replace function private.escape_html(plain text)
  returns text
  language sql
  immutable parallel safe
  set search_path to 'pg_catalog'; -- fixtures/learning/private/escape_html.sql

comment on function private.escape_html(plain text) is 'Returns the text with the five special characters of HTML escaped.';
revoke execute on function private.escape_html(plain text) from public;

-- Returns the approximate number of tokens that a model reads before it writes an answer.
create or replace function private.estimated_input_tokens(message_id uuid, tools jsonb)
  returns bigint
  language sql
  stable
  set search_path to 'pg_catalog'; -- fixtures/llm/private/estimated_input_tokens.sql

comment on function private.estimated_input_tokens(message_id uuid, tools jsonb) is 'Returns the approximate number of tokens that a model reads before it writes an answer.';
revoke execute on function private.estimated_input_tokens(message_id uuid, tools jsonb) from public;

-- Returns the approximate number of tokens of a text of so many bytes.
create or replace function private.estimated_tokens(bytes integer)
  returns bigint
  language sql
  immutable parallel safe
  set search_path to 'pg_catalog'; -- fixtures/llm/private/estimated_tokens.sql

comment on function private.estimated_tokens(bytes integer) is 'Returns the approximate number of tokens of a text of so many bytes.';
revoke execute on function private.estimated_tokens(bytes integer) from public;

-- Expires the due holds of up to batch_size users; returns the number of users. Users whose ledger is locked are skipped.
create or replace function private.expire_token_holds(batch_size integer default 1000, at timestamp with time zone default now())
  returns integer
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/billing/private/expire_token_holds.sql

comment on function private.expire_token_holds(batch_size integer, at timestamp with time zone) is 'Expires the due holds of up to batch_size users; returns the number of users. Users whose ledger is locked are skipped.';
revoke execute on function private.expire_token_holds(batch_size integer, at timestamp with time zone) from public;
grant execute on function private.expire_token_holds(batch_size integer, at timestamp with time zone) to :PLINTH_WORKER;

-- Expires the holds of a user that ended from one moment (next_hold_expires_at) to another; returns the next end of a hold. The caller has locked the user's row of usage_tracking.
create or replace function private.expire_user_holds(user_id uuid, since timestamp with time zone, at timestamp with time zone)
  returns timestamp with time zone
  language plpgsql; -- fixtures/billing/private/expire_user_holds.sql

comment on function private.expire_user_holds(user_id uuid, since timestamp with time zone, at timestamp with time zone) is 'Expires the holds of a user that ended from one moment (next_hold_expires_at) to another; returns the next end of a hold. The caller has locked the user''s row of usage_tracking.';
revoke execute on function private.expire_user_holds(user_id uuid, since timestamp with time zone, at timestamp with time zone) from public;

-- Returns the database role of a user, a visitor or a named role. PL422 for an unknown role or for a user with another role.
create or replace function private.explained_role(user_id uuid, database_role text)
  returns name
  language plpgsql
  stable
  set search_path to 'pg_catalog'; -- fixtures/access/private/explained_role.sql

comment on function private.explained_role(user_id uuid, database_role text) is 'Returns the database role of a user, a visitor or a named role. PL422 for an unknown role or for a user with another role.';
revoke execute on function private.explained_role(user_id uuid, database_role text) from public;

-- Returns the named columns of the row with this key as texts; null if it does not exist. PL422 if the key is invalid or matches several rows.
create or replace function private.explained_row(relation_id oid, key jsonb, columns name[])
  returns jsonb
  language plpgsql
  stable
  set search_path to 'pg_catalog'
  set row_security to 'off'; -- fixtures/access/private/explained_row.sql

comment on function private.explained_row(relation_id oid, key jsonb, columns name[]) is 'Returns the named columns of the row with this key as texts; null if it does not exist. PL422 if the key is invalid or matches several rows.';
revoke execute on function private.explained_row(relation_id oid, key jsonb, columns name[]) from public;

-- Returns an item as an object of the import format.
create or replace function private.export_content_item(item_id uuid)
  returns jsonb
  language sql
  stable
  set search_path to 'pg_catalog'; -- fixtures/learning/private/export_content_item.sql

comment on function private.export_content_item(item_id uuid) is 'Returns an item as an object of the import format.';
revoke execute on function private.export_content_item(item_id uuid) from public;

-- Extends the lease of a claimed answer while its model is silent; returns whether the answer is still to be written.
create or replace function private.extend_answer_lease(message_id uuid, claim_id uuid)
  returns boolean
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/llm/private/extend_answer_lease.sql

comment on function private.extend_answer_lease(message_id uuid, claim_id uuid) is 'Extends the lease of a claimed answer while its model is silent; returns whether the answer is still to be written.';
revoke execute on function private.extend_answer_lease(message_id uuid, claim_id uuid) from public;
grant execute on function private.extend_answer_lease(message_id uuid, claim_id uuid) to :PLINTH_SERVICE;

-- Extends the lease of a room's answer while the model is silent; returns whether the answer is still to be written.
create or replace function private.extend_room_lease(room_id uuid, claim_id uuid)
  returns boolean
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/rooms/private/extend_room_lease.sql

comment on function private.extend_room_lease(room_id uuid, claim_id uuid) is 'Extends the lease of a room''s answer while the model is silent; returns whether the answer is still to be written.';
revoke execute on function private.extend_room_lease(room_id uuid, claim_id uuid) from public;
grant execute on function private.extend_room_lease(room_id uuid, claim_id uuid) to :PLINTH_SERVICE;

-- Audits a new factor and credits it to the calling session.
create or replace function private.factor_was_added(user_id uuid, factor_id uuid, kind text, methods text[])
  returns void
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/identity/private/factor_was_added.sql

comment on function private.factor_was_added(user_id uuid, factor_id uuid, kind text, methods text[]) is 'Audits a new factor and credits it to the calling session.';
revoke execute on function private.factor_was_added(user_id uuid, factor_id uuid, kind text, methods text[]) from public;

-- Ends a flow whose response was not accepted; audited with the reason.
create or replace function private.fail_provider_flow(flow_id uuid, reason text)
  returns void
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/private/fail_provider_flow.sql

comment on function private.fail_provider_flow(flow_id uuid, reason text) is 'Ends a flow whose response was not accepted; audited with the reason.';
revoke execute on function private.fail_provider_flow(flow_id uuid, reason text) from public;
grant execute on function private.fail_provider_flow(flow_id uuid, reason text) to :PLINTH_SERVICE;

-- Returns the id of the account with this username or email address, or null.
create or replace function private.find_account(identifier text)
  returns uuid
  language sql
  stable
  set search_path to 'pg_catalog'; -- fixtures/identity/private/find_account.sql

comment on function private.find_account(identifier text) is 'Returns the id of the account with this username or email address, or null.';
revoke execute on function private.find_account(identifier text) from public;

-- Returns the live API token with this hash, its user, scopes and allowed networks; no row without one.
create or replace function private.find_api_token(token_hash bytea)
  returns table(token_id uuid, user_id uuid, token_version integer, scopes text[], expires_at timestamp with time zone, allowed_networks text[])
  language sql
  stable security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/private/find_api_token.sql

comment on function private.find_api_token(token_hash bytea) is 'Returns the live API token with this hash, its user, scopes and allowed networks; no row without one.';
revoke execute on function private.find_api_token(token_hash bytea) from public;
grant execute on function private.find_api_token(token_hash bytea) to :PLINTH_SERVICE;

-- Returns a user's encrypted memory with its sealed key; no row without a memory.
create or replace function private.find_conversation_memory(user_id uuid)
  returns table(memory text, wrapped_key text, version bigint, created_at timestamp with time zone, updated_at timestamp with time zone)
  language sql
  stable security definer
  set search_path to 'pg_catalog'; -- fixtures/llm/private/find_conversation_memory.sql

comment on function private.find_conversation_memory(user_id uuid) is 'Returns a user''s encrypted memory with its sealed key; no row without a memory.';
revoke execute on function private.find_conversation_memory(user_id uuid) from public;
grant execute on function private.find_conversation_memory(user_id uuid) to :PLINTH_SERVICE;

-- Returns the signed-in user's customer id at a payment provider, or null.
create or replace function private.find_customer(provider text)
  returns text
  language sql
  stable security definer
  set search_path to 'pg_catalog'; -- fixtures/billing/private/find_customer.sql

comment on function private.find_customer(provider text) is 'Returns the signed-in user''s customer id at a payment provider, or null.';
revoke execute on function private.find_customer(provider text) from public;
grant execute on function private.find_customer(provider text) to :PLINTH_SERVICE;

-- Returns size and number of parts of a downloadable export of the signed-in user, and records the download as a read; no row otherwise. PL403 with an API token.
create or replace function private.find_data_export(export_id uuid)
  returns table(size_bytes bigint, part_count integer)
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/private/find_data_export.sql

comment on function private.find_data_export(export_id uuid) is 'Returns size and number of parts of a downloadable export of the signed-in user, and records the download as a read; no row otherwise. PL403 with an API token.';
revoke execute on function private.find_data_export(export_id uuid) from public;
grant execute on function private.find_data_export(export_id uuid) to :PLINTH_SERVICE;

-- Finds the days whose rows are new since the watermark, and new accounts; returns the number of days that wait to be summed.
create or replace function private.find_days_to_roll_up()
  returns integer
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
  set "TimeZone" to 'UTC'; -- fixtures/analytics/private/find_days_to_roll_up.sql

comment on function private.find_days_to_roll_up() is 'Finds the days whose rows are new since the watermark, and new accounts; returns the number of days that wait to be summed.';
revoke execute on function private.find_days_to_roll_up() from public;
grant execute on function private.find_days_to_roll_up() to :PLINTH_WORKER;

-- Returns the message that a sender (null for the AI) posted in a room under a key, or nulls. PL409 when it was another request.
create or replace function private.find_keyed_room_message(room_id uuid, sender_id uuid, idempotency_key uuid, content text, digest bytea)
  returns rooms.room_messages
  language plpgsql
  stable
  set search_path to 'pg_catalog'; -- fixtures/rooms/private/find_keyed_room_message.sql

comment on function private.find_keyed_room_message(room_id uuid, sender_id uuid, idempotency_key uuid, content text, digest bytea) is 'Returns the message that a sender (null for the AI) posted in a room under a key, or nulls. PL409 when it was another request.';
revoke execute on function private.find_keyed_room_message(room_id uuid, sender_id uuid, idempotency_key uuid, content text, digest bytea) from public;

-- Returns the password hash of the account with this username, email address or email hash; one row of nulls without one.
create or replace function private.find_login(identifier text, hashed_email bytea default null::bytea)
  returns table(user_id uuid, password_hash text, hash_algorithm text, token_version integer, bcrypt_is_in_use boolean)
  language sql
  stable security definer
  set search_path to 'pg_catalog'
  set plan_cache_mode to 'force_generic_plan'; -- fixtures/identity/private/find_login.sql

comment on function private.find_login(identifier text, hashed_email bytea) is 'Returns the password hash of the account with this username, email address or email hash; one row of nulls without one.';
revoke execute on function private.find_login(identifier text, hashed_email bytea) from public;
grant execute on function private.find_login(identifier text, hashed_email bytea) to :PLINTH_SERVICE;

-- Returns the sealed key of a kind of lookup; null without one.
create or replace function private.find_lookup_key(name text)
  returns text
  language sql
  stable security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/private/find_lookup_key.sql

comment on function private.find_lookup_key(name text) is 'Returns the sealed key of a kind of lookup; null without one.';
revoke execute on function private.find_lookup_key(name text) from public;
grant execute on function private.find_lookup_key(name text) to :PLINTH_SERVICE;

-- Returns the ids of the members that a message mentions, without its sender, at most 50; of a private message only recipients. PL422.
create or replace function private.find_mentions(room_id uuid, sender_id uuid, content text, declared uuid[], recipients uuid[])
  returns uuid[]
  language plpgsql
  stable
  set search_path to 'pg_catalog'; -- fixtures/rooms/private/find_mentions.sql

comment on function private.find_mentions(room_id uuid, sender_id uuid, content text, declared uuid[], recipients uuid[]) is 'Returns the ids of the members that a message mentions, without its sender, at most 50; of a private message only recipients. PL422.';
revoke execute on function private.find_mentions(room_id uuid, sender_id uuid, content text, declared uuid[], recipients uuid[]) from public;

-- Returns the user of a passkey and its public key.
create or replace function private.find_passkey(credential_id bytea)
  returns table(user_id uuid, factor_id uuid, public_key bytea, backup_eligible boolean)
  language sql
  stable security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/private/find_passkey.sql

comment on function private.find_passkey(credential_id bytea) is 'Returns the user of a passkey and its public key.';
revoke execute on function private.find_passkey(credential_id bytea) from public;
grant execute on function private.find_passkey(credential_id bytea) to :PLINTH_SERVICE;

-- Returns the password hash of an account, to check the current password before a change.
create or replace function private.find_password(user_id uuid)
  returns table(password_hash text, hash_algorithm text, token_version integer)
  language sql
  stable security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/private/find_password.sql

comment on function private.find_password(user_id uuid) is 'Returns the password hash of an account, to check the current password before a change.';
revoke execute on function private.find_password(user_id uuid) from public;
grant execute on function private.find_password(user_id uuid) to :PLINTH_SERVICE;

-- Returns the hashes of an account's last passwords, the current one included, newest first.
create or replace function private.find_password_history(user_id uuid, history_length integer)
  returns table(password_hash text)
  language sql
  stable security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/private/find_password_history.sql

comment on function private.find_password_history(user_id uuid, history_length integer) is 'Returns the hashes of an account''s last passwords, the current one included, newest first.';
revoke execute on function private.find_password_history(user_id uuid, history_length integer) from public;
grant execute on function private.find_password_history(user_id uuid, history_length integer) to :PLINTH_SERVICE;

-- Returns the names of the account, which its password may not contain, and whether a second factor is enforced.
create or replace function private.find_password_owner(user_id uuid)
  returns table(username text, email text, display_name text, second_factor boolean)
  language sql
  stable security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/private/find_password_owner.sql

comment on function private.find_password_owner(user_id uuid) is 'Returns the names of the account, which its password may not contain, and whether a second factor is enforced.';
revoke execute on function private.find_password_owner(user_id uuid) from public;
grant execute on function private.find_password_owner(user_id uuid) to :PLINTH_SERVICE;

-- Returns the account of a live reset token; no row for any other token.
create or replace function private.find_password_reset(token_hash bytea)
  returns table(user_id uuid, username text, email text, display_name text, second_factor boolean)
  language sql
  stable security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/private/find_password_reset.sql

comment on function private.find_password_reset(token_hash bytea) is 'Returns the account of a live reset token; no row for any other token.';
revoke execute on function private.find_password_reset(token_hash bytea) from public;
grant execute on function private.find_password_reset(token_hash bytea) to :PLINTH_SERVICE;

-- Returns the hash of a room's password, or null.
create or replace function private.find_room_password(room_id uuid)
  returns text
  language sql
  stable security definer
  set search_path to 'pg_catalog'; -- fixtures/rooms/private/find_room_password.sql

comment on function private.find_room_password(room_id uuid) is 'Returns the hash of a room''s password, or null.';
revoke execute on function private.find_room_password(room_id uuid) from public;
grant execute on function private.find_room_password(room_id uuid) to :PLINTH_SERVICE;

-- Returns the user of a half-finished sign-in; null when it is unknown or over.
create or replace function private.find_sign_in_challenge(token_hash bytea)
  returns uuid
  language sql
  stable security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/private/find_sign_in_challenge.sql

comment on function private.find_sign_in_challenge(token_hash bytea) is 'Returns the user of a half-finished sign-in; null when it is unknown or over.';
revoke execute on function private.find_sign_in_challenge(token_hash bytea) from public;
grant execute on function private.find_sign_in_challenge(token_hash bytea) to :PLINTH_SERVICE;

-- Returns the sealed secrets of the account's confirmed authenticator apps.
create or replace function private.find_totp_secrets(user_id uuid)
  returns table(factor_id uuid, sealed_secret text)
  language sql
  stable security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/private/find_totp_secrets.sql

comment on function private.find_totp_secrets(user_id uuid) is 'Returns the sealed secrets of the account''s confirmed authenticator apps.';
revoke execute on function private.find_totp_secrets(user_id uuid) from public;
grant execute on function private.find_totp_secrets(user_id uuid) to :PLINTH_SERVICE;

-- Returns the sealed secret of an authenticator app that the calling user has not confirmed; null without one.
create or replace function private.find_unconfirmed_totp(factor_id uuid)
  returns text
  language sql
  stable security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/private/find_unconfirmed_totp.sql

comment on function private.find_unconfirmed_totp(factor_id uuid) is 'Returns the sealed secret of an authenticator app that the calling user has not confirmed; null without one.';
revoke execute on function private.find_unconfirmed_totp(factor_id uuid) from public;
grant execute on function private.find_unconfirmed_totp(factor_id uuid) to :PLINTH_SERVICE;

-- Returns the user's sealed key for a purpose; no row when it was never created or was deleted.
create or replace function private.find_user_key(user_id uuid, purpose text default 'conversation memory'::text)
  returns table(key_id uuid, wrapped_key text)
  language sql
  stable security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/private/find_user_key.sql

comment on function private.find_user_key(user_id uuid, purpose text) is 'Returns the user''s sealed key for a purpose; no row when it was never created or was deleted.';
revoke execute on function private.find_user_key(user_id uuid, purpose text) from public;
grant execute on function private.find_user_key(user_id uuid, purpose text) to :PLINTH_SERVICE;

-- Ends a claimed answer as complete and settles its usage; returns the state in which it ended, null without the claim.
create or replace function private.finish_answer(message_id uuid, claim_id uuid, finish_reason text, last_sequence integer, tool_calls jsonb default null::jsonb, input_tokens bigint default null::bigint, output_tokens bigint default null::bigint, cached_input_tokens bigint default 0, reasoning_tokens bigint default 0)
  returns text
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/llm/private/finish_answer.sql

comment on function private.finish_answer(message_id uuid, claim_id uuid, finish_reason text, last_sequence integer, tool_calls jsonb, input_tokens bigint, output_tokens bigint, cached_input_tokens bigint, reasoning_tokens bigint) is 'Ends a claimed answer as complete and settles its usage; returns the state in which it ended, null without the claim.';
revoke execute on function private.finish_answer(message_id uuid, claim_id uuid, finish_reason text, last_sequence integer, tool_calls jsonb, input_tokens bigint, output_tokens bigint, cached_input_tokens bigint, reasoning_tokens bigint) from public;
grant execute on function private.finish_answer(message_id uuid, claim_id uuid, finish_reason text, last_sequence integer, tool_calls jsonb, input_tokens bigint, output_tokens bigint, cached_input_tokens bigint, reasoning_tokens bigint) to :PLINTH_SERVICE;

-- Registers the file of an archive and drops its rows. PL409 if the number of rows differs, or the archive is not being written.
create or replace function private.finish_archive(archive_id uuid, file_name text, file_bytes bigint, sha256 text, row_count bigint, is_encrypted boolean, migration text)
  returns void
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/security/private/finish_archive.sql

comment on function private.finish_archive(archive_id uuid, file_name text, file_bytes bigint, sha256 text, row_count bigint, is_encrypted boolean, migration text) is 'Registers the file of an archive and drops its rows. PL409 if the number of rows differs, or the archive is not being written.';
revoke execute on function private.finish_archive(archive_id uuid, file_name text, file_bytes bigint, sha256 text, row_count bigint, is_encrypted boolean, migration text) from public;
grant execute on function private.finish_archive(archive_id uuid, file_name text, file_bytes bigint, sha256 text, row_count bigint, is_encrypted boolean, migration text) to :PLINTH_WORKER;

-- Notes that no archive has rows of an erased account any more; its certificate can be signed.
create or replace function private.finish_archive_erasure(user_id uuid)
  returns void
  language sql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/security/private/finish_archive_erasure.sql

comment on function private.finish_archive_erasure(user_id uuid) is 'Notes that no archive has rows of an erased account any more; its certificate can be signed.';
revoke execute on function private.finish_archive_erasure(user_id uuid) from public;
grant execute on function private.finish_archive_erasure(user_id uuid) to :PLINTH_WORKER;

-- Marks a leased email as sent (error null), to be retried, or failed; returns which.
create or replace function private.finish_email(email_id uuid, error text, is_permanent boolean default false)
  returns text
  language sql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/private/finish_email.sql

comment on function private.finish_email(email_id uuid, error text, is_permanent boolean) is 'Marks a leased email as sent (error null), to be retried, or failed; returns which.';
revoke execute on function private.finish_email(email_id uuid, error text, is_permanent boolean) from public;
grant execute on function private.finish_email(email_id uuid, error text, is_permanent boolean) to :PLINTH_WORKER;

-- Opens a session, or a challenge, if the password matched and nothing forbids it; no row when refused. Counts and audits in both cases.
create or replace function private.finish_login(user_id uuid, identifier text, password_matches boolean, checked_token_version integer, refresh_token_hash bytea, device_name text default null::text, challenge_hash bytea default null::bytea)
  returns table(session_id uuid, token_version integer, refresh_expires_at timestamp with time zone, challenge_expires_at timestamp with time zone, challenge_methods text[])
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
  set plan_cache_mode to 'force_generic_plan'; -- fixtures/identity/private/finish_login.sql

comment on function private.finish_login(user_id uuid, identifier text, password_matches boolean, checked_token_version integer, refresh_token_hash bytea, device_name text, challenge_hash bytea) is 'Opens a session, or a challenge, if the password matched and nothing forbids it; no row when refused. Counts and audits in both cases.';
revoke execute on function private.finish_login(user_id uuid, identifier text, password_matches boolean, checked_token_version integer, refresh_token_hash bytea, device_name text, challenge_hash bytea) from public;
grant execute on function private.finish_login(user_id uuid, identifier text, password_matches boolean, checked_token_version integer, refresh_token_hash bytea, device_name text, challenge_hash bytea) to :PLINTH_SERVICE;

-- Adds a passkey to the calling user; PL409 when it already belongs to an account.
create or replace function private.finish_passkey_registration(name text, credential_id bytea, public_key bytea, sign_count bigint, transports text[], backup_eligible boolean, backed_up boolean, aaguid uuid, code_hashes bytea[])
  returns table(factor_id uuid, codes_were_stored boolean)
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/private/finish_passkey_registration.sql

comment on function private.finish_passkey_registration(name text, credential_id bytea, public_key bytea, sign_count bigint, transports text[], backup_eligible boolean, backed_up boolean, aaguid uuid, code_hashes bytea[]) is 'Adds a passkey to the calling user; PL409 when it already belongs to an account.';
revoke execute on function private.finish_passkey_registration(name text, credential_id bytea, public_key bytea, sign_count bigint, transports text[], backup_eligible boolean, backed_up boolean, aaguid uuid, code_hashes bytea[]) from public;
grant execute on function private.finish_passkey_registration(name text, credential_id bytea, public_key bytea, sign_count bigint, transports text[], backup_eligible boolean, backed_up boolean, aaguid uuid, code_hashes bytea[]) to :PLINTH_SERVICE;

-- Opens a session for a passkey that verified its user; no row when refused. Counts and audits in both cases.
create or replace function private.finish_passkey_sign_in(user_id uuid, proof jsonb, refresh_token_hash bytea, device_name text default null::text)
  returns table(session_id uuid, token_version integer, refresh_expires_at timestamp with time zone)
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/private/finish_passkey_sign_in.sql

comment on function private.finish_passkey_sign_in(user_id uuid, proof jsonb, refresh_token_hash bytea, device_name text) is 'Opens a session for a passkey that verified its user; no row when refused. Counts and audits in both cases.';
revoke execute on function private.finish_passkey_sign_in(user_id uuid, proof jsonb, refresh_token_hash bytea, device_name text) from public;
grant execute on function private.finish_passkey_sign_in(user_id uuid, proof jsonb, refresh_token_hash bytea, device_name text) to :PLINTH_SERVICE;

-- Makes a number the account's after its code was checked; returns verified, refused or taken.
create or replace function private.finish_phone_verification(user_id uuid, verification_id uuid, code_matches boolean)
  returns text
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/private/finish_phone_verification.sql

comment on function private.finish_phone_verification(user_id uuid, verification_id uuid, code_matches boolean) is 'Makes a number the account''s after its code was checked; returns verified, refused or taken.';
revoke execute on function private.finish_phone_verification(user_id uuid, verification_id uuid, code_matches boolean) from public;
grant execute on function private.finish_phone_verification(user_id uuid, verification_id uuid, code_matches boolean) to :PLINTH_SERVICE;

-- Deletes the row of a canceled subscription (error null), or schedules the next attempt.
create or replace function private.finish_provider_cancellation(provider text, provider_subscription_id text, error text)
  returns void
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/billing/private/finish_provider_cancellation.sql

comment on function private.finish_provider_cancellation(provider text, provider_subscription_id text, error text) is 'Deletes the row of a canceled subscription (error null), or schedules the next attempt.';
revoke execute on function private.finish_provider_cancellation(provider text, provider_subscription_id text, error text) from public;
grant execute on function private.finish_provider_cancellation(provider text, provider_subscription_id text, error text) to :PLINTH_WORKER;

-- Links an account at a provider to the session's account; outcome linked, refused, belongs_to_another or has_another. Audited.
create or replace function private.finish_provider_link(flow_id uuid, provider_user_id text, email text, email_verified boolean, user_info jsonb, access_token_sealed text, refresh_token_sealed text, token_expires_at timestamp with time zone)
  returns table(outcome text, profile_id uuid)
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/private/finish_provider_link.sql

comment on function private.finish_provider_link(flow_id uuid, provider_user_id text, email text, email_verified boolean, user_info jsonb, access_token_sealed text, refresh_token_sealed text, token_expires_at timestamp with time zone) is 'Links an account at a provider to the session''s account; outcome linked, refused, belongs_to_another or has_another. Audited.';
revoke execute on function private.finish_provider_link(flow_id uuid, provider_user_id text, email text, email_verified boolean, user_info jsonb, access_token_sealed text, refresh_token_sealed text, token_expires_at timestamp with time zone) from public;
grant execute on function private.finish_provider_link(flow_id uuid, provider_user_id text, email text, email_verified boolean, user_info jsonb, access_token_sealed text, refresh_token_sealed text, token_expires_at timestamp with time zone) to :PLINTH_SERVICE;

-- Opens a session, or a challenge, for a user authenticated by a provider; outcome accepted, refused, not_registered or address_taken. Counts and audits.
create or replace function private.finish_provider_sign_in(flow_id uuid, provider_user_id text, email text, email_verified boolean, user_info jsonb, access_token_sealed text, refresh_token_sealed text, token_expires_at timestamp with time zone, may_register boolean, verified_email text, verified_email_hash bytea, refresh_token_hash bytea, challenge_hash bytea)
  returns table(outcome text, user_id uuid, session_id uuid, token_version integer, refresh_expires_at timestamp with time zone, challenge_expires_at timestamp with time zone, challenge_methods text[])
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/private/finish_provider_sign_in.sql

comment on function private.finish_provider_sign_in(flow_id uuid, provider_user_id text, email text, email_verified boolean, user_info jsonb, access_token_sealed text, refresh_token_sealed text, token_expires_at timestamp with time zone, may_register boolean, verified_email text, verified_email_hash bytea, refresh_token_hash bytea, challenge_hash bytea) is 'Opens a session, or a challenge, for a user authenticated by a provider; outcome accepted, refused, not_registered or address_taken. Counts and audits.';
revoke execute on function private.finish_provider_sign_in(flow_id uuid, provider_user_id text, email text, email_verified boolean, user_info jsonb, access_token_sealed text, refresh_token_sealed text, token_expires_at timestamp with time zone, may_register boolean, verified_email text, verified_email_hash bytea, refresh_token_hash bytea, challenge_hash bytea) from public;
grant execute on function private.finish_provider_sign_in(flow_id uuid, provider_user_id text, email text, email_verified boolean, user_info jsonb, access_token_sealed text, refresh_token_sealed text, token_expires_at timestamp with time zone, may_register boolean, verified_email text, verified_email_hash bytea, refresh_token_hash bytea, challenge_hash bytea) to :PLINTH_SERVICE;

-- Posts the answer of a room's AI and settles its usage; returns its message, null without the claim. PL409 when the audience has changed.
create or replace function private.finish_room_answer(room_id uuid, claim_id uuid, input_tokens bigint default null::bigint, output_tokens bigint default null::bigint, cached_input_tokens bigint default 0, reasoning_tokens bigint default 0)
  returns uuid
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/rooms/private/finish_room_answer.sql

comment on function private.finish_room_answer(room_id uuid, claim_id uuid, input_tokens bigint, output_tokens bigint, cached_input_tokens bigint, reasoning_tokens bigint) is 'Posts the answer of a room''s AI and settles its usage; returns its message, null without the claim. PL409 when the audience has changed.';
revoke execute on function private.finish_room_answer(room_id uuid, claim_id uuid, input_tokens bigint, output_tokens bigint, cached_input_tokens bigint, reasoning_tokens bigint) from public;
grant execute on function private.finish_room_answer(room_id uuid, claim_id uuid, input_tokens bigint, output_tokens bigint, cached_input_tokens bigint, reasoning_tokens bigint) to :PLINTH_SERVICE;

-- Opens a session for a challenge and a second factor; no row when refused. Counts and audits in both cases.
create or replace function private.finish_sign_in(token_hash bytea, proof jsonb, refresh_token_hash bytea, device_name text default null::text)
  returns table(user_id uuid, session_id uuid, token_version integer, refresh_expires_at timestamp with time zone)
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/private/finish_sign_in.sql

comment on function private.finish_sign_in(token_hash bytea, proof jsonb, refresh_token_hash bytea, device_name text) is 'Opens a session for a challenge and a second factor; no row when refused. Counts and audits in both cases.';
revoke execute on function private.finish_sign_in(token_hash bytea, proof jsonb, refresh_token_hash bytea, device_name text) from public;
grant execute on function private.finish_sign_in(token_hash bytea, proof jsonb, refresh_token_hash bytea, device_name text) to :PLINTH_SERVICE;

-- Ends a complete answer and records its usage; see private.end_turn.
create or replace function private.finish_turn(message_id uuid, finish_reason text default 'stop'::text, last_sequence integer default null::integer, tool_calls jsonb default null::jsonb, input_tokens bigint default null::bigint, output_tokens bigint default null::bigint, cached_input_tokens bigint default 0, reasoning_tokens bigint default 0)
  returns llm.messages
  language sql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/llm/private/finish_turn.sql

comment on function private.finish_turn(message_id uuid, finish_reason text, last_sequence integer, tool_calls jsonb, input_tokens bigint, output_tokens bigint, cached_input_tokens bigint, reasoning_tokens bigint) is 'Ends a complete answer and records its usage; see private.end_turn.';
revoke execute on function private.finish_turn(message_id uuid, finish_reason text, last_sequence integer, tool_calls jsonb, input_tokens bigint, output_tokens bigint, cached_input_tokens bigint, reasoning_tokens bigint) from public;
grant execute on function private.finish_turn(message_id uuid, finish_reason text, last_sequence integer, tool_calls jsonb, input_tokens bigint, output_tokens bigint, cached_input_tokens bigint, reasoning_tokens bigint) to :PLINTH_SERVICE;

-- Moves a subscription to the plan that its provider bills, with its proration in the history.
create or replace function private.follow_provider_plan(subscription billing.user_subscriptions, plan billing.subscription_plans, known private.provider_subscriptions, at timestamp with time zone)
  returns void
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/billing/private/follow_provider_plan.sql

comment on function private.follow_provider_plan(subscription billing.user_subscriptions, plan billing.subscription_plans, known private.provider_subscriptions, at timestamp with time zone) is 'Moves a subscription to the plan that its provider bills, with its proration in the history.';
revoke execute on function private.follow_provider_plan(subscription billing.user_subscriptions, plan billing.subscription_plans, known private.provider_subscriptions, at timestamp with time zone) from public;

-- Trigger: logs a change of a room; the AI joins when enabled and leaves when disabled.
create or replace function private.follow_room_change()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/rooms/triggers/chat_rooms.sql

comment on function private.follow_room_change() is 'Trigger: logs a change of a room; the AI joins when enabled and leaves when disabled.';
revoke execute on function private.follow_room_change() from public;

-- Trigger: notifies the subscribers of inviter and invitee that an invite changed.
create or replace function private.follow_room_invite()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/rooms/triggers/room_invites.sql

comment on function private.follow_room_invite() is 'Trigger: notifies the subscribers of inviter and invitee that an invite changed.';
revoke execute on function private.follow_room_invite() from public;

-- Trigger: logs members who join, leave or change role, and notifies the member's own subscribers.
create or replace function private.follow_room_member()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/rooms/triggers/room_members.sql

comment on function private.follow_room_member() is 'Trigger: logs members who join, leave or change role, and notifies the member''s own subscribers.';
revoke execute on function private.follow_room_member() from public;

-- Trigger: corrects the counts and logs the event when a message is edited, deleted or restored.
create or replace function private.follow_room_message()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/rooms/triggers/room_messages.sql

comment on function private.follow_room_message() is 'Trigger: corrects the counts and logs the event when a message is edited, deleted or restored.';
revoke execute on function private.follow_room_message() from public;

-- Trigger: a block changes the audience of the rooms that both users are in.
create or replace function private.follow_user_block()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/rooms/triggers/user_blocks.sql

comment on function private.follow_user_block() is 'Trigger: a block changes the audience of the rooms that both users are in.';
revoke execute on function private.follow_user_block() from public;

-- Trigger: clears an account's values and addresses from the audit trail when it is deleted.
create or replace function private.forget_data_changes()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/security/private/forget_data_changes.sql

comment on function private.forget_data_changes() is 'Trigger: clears an account''s values and addresses from the audit trail when it is deleted.';
revoke execute on function private.forget_data_changes() from public;

-- Trigger: deletes the mail about a deleted account once it was sent or has failed.
create or replace function private.forget_last_mail()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/triggers/mail_outbox.sql

comment on function private.forget_last_mail() is 'Trigger: deletes the mail about a deleted account once it was sent or has failed.';
revoke execute on function private.forget_last_mail() from public;

-- Returns the free plan on offer, the one in USD first; null without one.
create or replace function private.free_plan()
  returns billing.subscription_plans
  language sql
  stable
  set search_path to 'pg_catalog'; -- fixtures/billing/private/free_plan.sql

comment on function private.free_plan() is 'Returns the free plan on offer, the one in USD first; null without one.';
revoke execute on function private.free_plan() from public;

-- Returns what decides on a call of a function. PL404 for an unknown name, PL422 for a name of several functions.
create or replace function private.function_access_case(role_id oid, object text)
  returns jsonb
  language plpgsql
  stable
  set search_path to 'pg_catalog'; -- fixtures/access/private/function_access_case.sql

comment on function private.function_access_case(role_id oid, object text) is 'Returns what decides on a call of a function. PL404 for an unknown name, PL422 for a name of several functions.';
revoke execute on function private.function_access_case(role_id oid, object text) from public;

-- Grants the free plan's tokens of the month unless the user has them; returns whether it did.
create or replace function private.grant_free_quota(user_id uuid, at timestamp with time zone)
  returns boolean
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/billing/private/grant_free_quota.sql

comment on function private.grant_free_quota(user_id uuid, at timestamp with time zone) is 'Grants the free plan''s tokens of the month unless the user has them; returns whether it did.';
revoke execute on function private.grant_free_quota(user_id uuid, at timestamp with time zone) from public;

-- Grants up to batch_size users without a plan, who signed in within 60 days, the free plan's tokens of this month.
create or replace function private.grant_free_quotas(batch_size integer default 500)
  returns integer
  language sql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/billing/private/grant_free_quotas.sql

comment on function private.grant_free_quotas(batch_size integer) is 'Grants up to batch_size users without a plan, who signed in within 60 days, the free plan''s tokens of this month.';
revoke execute on function private.grant_free_quotas(batch_size integer) from public;
grant execute on function private.grant_free_quotas(batch_size integer) to :PLINTH_WORKER;

-- Grants up to batch_size users the free plan's tokens of the month around a moment; returns their number.
create or replace function private.grant_free_quotas_at(batch_size integer, at timestamp with time zone)
  returns integer
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/billing/private/grant_free_quotas_at.sql

comment on function private.grant_free_quotas_at(batch_size integer, at timestamp with time zone) is 'Grants up to batch_size users the free plan''s tokens of the month around a moment; returns their number.';
revoke execute on function private.grant_free_quotas_at(batch_size integer, at timestamp with time zone) from public;

-- Grants the tokens of a subscription's quota period once, carrying over what the plan allows; returns whether it did.
create or replace function private.grant_quota(subscription_id uuid)
  returns boolean
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/billing/private/grant_quota.sql

comment on function private.grant_quota(subscription_id uuid) is 'Grants the tokens of a subscription''s quota period once, carrying over what the plan allows; returns whether it did.';
revoke execute on function private.grant_quota(subscription_id uuid) from public;

-- Runs billing.grant_subscription as of a time.
create or replace function private.grant_subscription_at(user_id uuid, plan_id uuid, at timestamp with time zone)
  returns billing.user_subscriptions
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/billing/private/grant_subscription_at.sql

comment on function private.grant_subscription_at(user_id uuid, plan_id uuid, at timestamp with time zone) is 'Runs billing.grant_subscription as of a time.';
revoke execute on function private.grant_subscription_at(user_id uuid, plan_id uuid, at timestamp with time zone) from public;

-- Grants a user tokens (null: unlimited while in force) and returns the grant's id; the same key again returns the same id. PL404 for an unknown account, PL409 for a key used for another request.
create or replace function private.grant_tokens(user_id uuid, amount bigint, source text, source_id uuid, priority integer, starts_at timestamp with time zone, expires_at timestamp with time zone, idempotency_key text, at timestamp with time zone default now())
  returns uuid
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/billing/private/grant_tokens.sql

comment on function private.grant_tokens(user_id uuid, amount bigint, source text, source_id uuid, priority integer, starts_at timestamp with time zone, expires_at timestamp with time zone, idempotency_key text, at timestamp with time zone) is 'Grants a user tokens (null: unlimited while in force) and returns the grant''s id; the same key again returns the same id. PL404 for an unknown account, PL409 for a key used for another request.';
revoke execute on function private.grant_tokens(user_id uuid, amount bigint, source text, source_id uuid, priority integer, starts_at timestamp with time zone, expires_at timestamp with time zone, idempotency_key text, at timestamp with time zone) from public;
grant execute on function private.grant_tokens(user_id uuid, amount bigint, source text, source_id uuid, priority integer, starts_at timestamp with time zone, expires_at timestamp with time zone, idempotency_key text, at timestamp with time zone) to :PLINTH_SERVICE;

-- Returns the commands that a list of privileges names. PL422 for others than select, insert, update and delete.
create or replace function private.granted_commands(grants text)
  returns text[]
  language plpgsql
  immutable
  set search_path to 'pg_catalog'; -- fixtures/plinth/private/granted_commands.sql

comment on function private.granted_commands(grants text) is 'Returns the commands that a list of privileges names. PL422 for others than select, insert, update and delete.';
revoke execute on function private.granted_commands(grants text) from public;

-- Raises PL409 unless an active account that is not being deleted holds the role admin without an expiry.
create or replace function private.guard_last_administrator()
  returns void
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/access/private/guard_last_administrator.sql

comment on function private.guard_last_administrator() is 'Raises PL409 unless an active account that is not being deleted holds the role admin without an expiry.';
revoke execute on function private.guard_last_administrator() from public;

-- Returns whether an account could be signed in to without this profile or factor (null: as it is). The caller holds the account's row lock.
create or replace function private.has_another_way_in(user_id uuid, except_id uuid)
  returns boolean
  language sql
  stable
  set search_path to 'pg_catalog'; -- fixtures/identity/private/has_another_way_in.sql

comment on function private.has_another_way_in(user_id uuid, except_id uuid) is 'Returns whether an account could be signed in to without this profile or factor (null: as it is). The caller holds the account''s row lock.';
revoke execute on function private.has_another_way_in(user_id uuid, except_id uuid) from public;

-- Returns whether the account was sent five links or codes of this kind within a day.
create or replace function private.has_asked_too_often(user_id uuid, kind text)
  returns boolean
  language sql
  stable
  set search_path to 'pg_catalog'; -- fixtures/identity/private/has_asked_too_often.sql

comment on function private.has_asked_too_often(user_id uuid, kind text) is 'Returns whether the account was sent five links or codes of this kind within a day.';
revoke execute on function private.has_asked_too_often(user_id uuid, kind text) from public;

-- Returns whether the user has completed every currently available part of the course; false for a course without parts.
create or replace function private.has_completed_parts(user_id uuid, course_id uuid)
  returns boolean
  language sql
  stable
  set search_path to 'pg_catalog'; -- fixtures/learning/private/has_completed_parts.sql

comment on function private.has_completed_parts(user_id uuid, course_id uuid) is 'Returns whether the user has completed every currently available part of the course; false for a course without parts.';
revoke execute on function private.has_completed_parts(user_id uuid, course_id uuid) from public;

-- Returns the digest of a heartbeat's fields; occurred_at is null when it was omitted.
create or replace function private.heartbeat_digest(item_id uuid, from_seconds integer, to_seconds integer, active_seconds integer, occurred_at timestamp with time zone, version integer)
  returns bytea
  language sql
  immutable; -- fixtures/learning/private/heartbeat_digest.sql

comment on function private.heartbeat_digest(item_id uuid, from_seconds integer, to_seconds integer, active_seconds integer, occurred_at timestamp with time zone, version integer) is 'Returns the digest of a heartbeat''s fields; occurred_at is null when it was omitted.';
revoke execute on function private.heartbeat_digest(item_id uuid, from_seconds integer, to_seconds integer, active_seconds integer, occurred_at timestamp with time zone, version integer) from public;

-- Reads {eventId, itemId, fromSeconds, toSeconds, activeSeconds, occurredAt, version}; raises a data exception (class 22) for any other form.
create or replace function private.heartbeat_fields(heartbeat jsonb)
  returns table(event_id uuid, item_id uuid, from_seconds integer, to_seconds integer, active_seconds integer, occurred_at timestamp with time zone, version integer)
  language sql
  stable rows 1
  set search_path to 'pg_catalog'; -- fixtures/learning/private/heartbeat_fields.sql

comment on function private.heartbeat_fields(heartbeat jsonb) is 'Reads {eventId, itemId, fromSeconds, toSeconds, activeSeconds, occurredAt, version}; raises a data exception (class 22) for any other form.';
revoke execute on function private.heartbeat_fields(heartbeat jsonb) from public;

-- Returns the name of the first invalid parameter of a heartbeat, or null.
create or replace function private.heartbeat_problem(event_id uuid, from_seconds integer, to_seconds integer, active_seconds integer, occurred_at timestamp with time zone)
  returns text
  language sql
  stable; -- fixtures/learning/private/heartbeat_problem.sql

comment on function private.heartbeat_problem(event_id uuid, from_seconds integer, to_seconds integer, active_seconds integer, occurred_at timestamp with time zone) is 'Returns the name of the first invalid parameter of a heartbeat, or null.';
revoke execute on function private.heartbeat_problem(event_id uuid, from_seconds integer, to_seconds integer, active_seconds integer, occurred_at timestamp with time zone) from public;

-- Returns the permissions of the signed-in user that apply in this session, with the expiry of the role that has them.
create or replace function private.held_permissions()
  returns table(permission_id uuid, expires_at timestamp with time zone)
  language sql
  stable; -- fixtures/access/private/held_permissions.sql

comment on function private.held_permissions() is 'Returns the permissions of the signed-in user that apply in this session, with the expiry of the role that has them.';
revoke execute on function private.held_permissions() from public;

-- Adds rules of another system to the model default; returns the place of each with its id in plinth.external_ids. PL422 for a rule outside the grammar.
create or replace function private.import_casbin_rules(system text, rules jsonb)
  returns table(n integer, row_id uuid)
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/access/private/import_casbin_rules.sql

comment on function private.import_casbin_rules(system text, rules jsonb) is 'Adds rules of another system to the model default; returns the place of each with its id in plinth.external_ids. PL422 for a rule outside the grammar.';
revoke execute on function private.import_casbin_rules(system text, rules jsonb) from public;

-- Imports an array of a user's chats from elsewhere; returns one result for each chat: inserted, updated, unchanged or rejected with the reason.
create or replace function private.import_chats(chats jsonb, user_id uuid)
  returns table(ordinal integer, outcome text, message text)
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/llm/private/import_chats.sql

comment on function private.import_chats(chats jsonb, user_id uuid) is 'Imports an array of a user''s chats from elsewhere; returns one result for each chat: inserted, updated, unchanged or rejected with the reason.';
revoke execute on function private.import_chats(chats jsonb, user_id uuid) from public;

-- Imports an array of categories and items; returns one result for each line: inserted, updated, unchanged or rejected with the reason.
create or replace function private.import_content(lines jsonb)
  returns table(ordinal integer, outcome text, message text)
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/learning/private/import_content.sql

comment on function private.import_content(lines jsonb) is 'Imports an array of categories and items; returns one result for each line: inserted, updated, unchanged or rejected with the reason.';
revoke execute on function private.import_content(lines jsonb) from public;

-- Imports a category; returns inserted, updated or unchanged. PL404 without its parent.
create or replace function private.import_content_category(line jsonb)
  returns text
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/learning/private/import_content_category.sql

comment on function private.import_content_category(line jsonb) is 'Imports a category; returns inserted, updated or unchanged. PL404 without its parent.';
revoke execute on function private.import_content_category(line jsonb) from public;

-- Imports and publishes an item; returns inserted, updated or unchanged. PL404 for a missing row that it refers to, PL409 for a deleted item, PL422 without a text.
create or replace function private.import_content_item(line jsonb)
  returns text
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/learning/private/import_content_item.sql

comment on function private.import_content_item(line jsonb) is 'Imports and publishes an item; returns inserted, updated or unchanged. PL404 for a missing row that it refers to, PL409 for a deleted item, PL422 without a text.';
revoke execute on function private.import_content_item(line jsonb) from public;

-- Adds the messages that an imported chat lacks, with their attachments and ratings; returns their number.
create or replace function private.import_messages(user_id uuid, chat_id uuid, messages jsonb)
  returns integer
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/llm/private/import_messages.sql

comment on function private.import_messages(user_id uuid, chat_id uuid, messages jsonb) is 'Adds the messages that an imported chat lacks, with their attachments and ratings; returns their number.';
revoke execute on function private.import_messages(user_id uuid, chat_id uuid, messages jsonb) from public;

-- Imports an array of models with prices; returns one result for each model: inserted, updated, unchanged or rejected with the reason.
create or replace function private.import_models(models jsonb, make_public boolean default false)
  returns table(ordinal integer, outcome text, message text)
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/llm/private/import_models.sql

comment on function private.import_models(models jsonb, make_public boolean) is 'Imports an array of models with prices; returns one result for each model: inserted, updated, unchanged or rejected with the reason.';
revoke execute on function private.import_models(models jsonb, make_public boolean) from public;

-- Imports an array of library prompts; returns one result for each row: inserted, updated, unchanged or rejected with the reason.
create or replace function private.import_prompts(prompts jsonb)
  returns table(ordinal integer, outcome text, message text)
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/llm/private/import_prompts.sql

comment on function private.import_prompts(prompts jsonb) is 'Imports an array of library prompts; returns one result for each row: inserted, updated, unchanged or rejected with the reason.';
revoke execute on function private.import_prompts(prompts jsonb) from public;

-- Adds a subscription of another system: active, canceled (until the end of its period) or expired; returns its id. PL404, PL422, 23505 for a second current one.
create or replace function private.import_subscription(user_id uuid, plan_id uuid, status text, period_end timestamp with time zone, started_at timestamp with time zone default null::timestamp with time zone, ended_at timestamp with time zone default null::timestamp with time zone)
  returns uuid
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/billing/private/import_subscription.sql

comment on function private.import_subscription(user_id uuid, plan_id uuid, status text, period_end timestamp with time zone, started_at timestamp with time zone, ended_at timestamp with time zone) is 'Adds a subscription of another system: active, canceled (until the end of its period) or expired; returns its id. PL404, PL422, 23505 for a second current one.';
revoke execute on function private.import_subscription(user_id uuid, plan_id uuid, status text, period_end timestamp with time zone, started_at timestamp with time zone, ended_at timestamp with time zone) from public;

-- Returns the id of an imported message if the chat already has it; otherwise null.
create or replace function private.imported_message_id(user_id uuid, chat_id uuid, key text, id uuid)
  returns uuid
  language sql
  stable
  set search_path to 'pg_catalog'; -- fixtures/llm/private/imported_message_id.sql

comment on function private.imported_message_id(user_id uuid, chat_id uuid, key text, id uuid) is 'Returns the id of an imported message if the chat already has it; otherwise null.';
revoke execute on function private.imported_message_id(user_id uuid, chat_id uuid, key text, id uuid) from public;

-- Attaches [{url, mimeType, sizeBytes, name}] to a new message. PL422 for more than 10 and for a value that violates a constraint.
create or replace function private.insert_attachments(message llm.messages, attachments jsonb)
  returns void
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/llm/private/insert_attachments.sql

comment on function private.insert_attachments(message llm.messages, attachments jsonb) is 'Attaches [{url, mimeType, sizeBytes, name}] to a new message. PL422 for more than 10 and for a value that violates a constraint.';
revoke execute on function private.insert_attachments(message llm.messages, attachments jsonb) from public;

-- Returns whether an API token found before is still valid.
create or replace function private.is_api_token_live(user_id uuid, token_id uuid, token_version integer)
  returns boolean
  language sql
  stable security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/private/is_api_token_live.sql

comment on function private.is_api_token_live(user_id uuid, token_id uuid, token_version integer) is 'Returns whether an API token found before is still valid.';
revoke execute on function private.is_api_token_live(user_id uuid, token_id uuid, token_version integer) from public;
grant execute on function private.is_api_token_live(user_id uuid, token_id uuid, token_version integer) to :PLINTH_SERVICE;

-- Returns whether the second user has blocked the first.
create or replace function private.is_blocked(user_id uuid, by_user_id uuid)
  returns boolean
  language sql
  stable
  set search_path to 'pg_catalog'; -- fixtures/rooms/private/is_blocked.sql

comment on function private.is_blocked(user_id uuid, by_user_id uuid) is 'Returns whether the second user has blocked the first.';
revoke execute on function private.is_blocked(user_id uuid, by_user_id uuid) from public;

-- Returns whether this many different seconds of an item complete it; null when its duration is unknown.
create or replace function private.is_played(seconds integer, duration_seconds integer)
  returns boolean
  language sql
  immutable; -- fixtures/learning/private/is_played.sql

comment on function private.is_played(seconds integer, duration_seconds integer) is 'Returns whether this many different seconds of an item complete it; null when its duration is unknown.';
revoke execute on function private.is_played(seconds integer, duration_seconds integer) from public;

-- Returns whether a column is left out of exports.
create or replace function private.is_secret_column(table_oid oid, column_name text, type_oid oid)
  returns boolean
  language sql
  stable
  set search_path to 'pg_catalog'; -- fixtures/identity/private/is_secret_column.sql

comment on function private.is_secret_column(table_oid oid, column_name text, type_oid oid) is 'Returns whether a column is left out of exports.';
revoke execute on function private.is_secret_column(table_oid oid, column_name text, type_oid oid) from public;

-- Returns whether an access token with these claims is still valid.
create or replace function private.is_token_live(user_id uuid, session_id uuid, token_id uuid, token_version integer)
  returns boolean
  language sql
  stable security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/private/is_token_live.sql

comment on function private.is_token_live(user_id uuid, session_id uuid, token_id uuid, token_version integer) is 'Returns whether an access token with these claims is still valid.';
revoke execute on function private.is_token_live(user_id uuid, session_id uuid, token_id uuid, token_version integer) from public;
grant execute on function private.is_token_live(user_id uuid, session_id uuid, token_id uuid, token_version integer) to :PLINTH_SERVICE;

-- Returns whether a change from one plan to the other takes effect at once.
create or replace function private.is_upgrade(old_plan billing.subscription_plans, new_plan billing.subscription_plans)
  returns boolean
  language sql
  immutable
  set search_path to 'pg_catalog'; -- fixtures/billing/private/is_upgrade.sql

comment on function private.is_upgrade(old_plan billing.subscription_plans, new_plan billing.subscription_plans) is 'Returns whether a change from one plan to the other takes effect at once.';
revoke execute on function private.is_upgrade(old_plan billing.subscription_plans, new_plan billing.subscription_plans) from public;

-- Adds a refresh token to a session; returns its expiry time if the session is not used before.
create or replace function private.issue_refresh_token(session_id uuid, token_hash bytea, parent_id uuid default null::uuid)
  returns timestamp with time zone
  language sql
  set search_path to 'pg_catalog'; -- fixtures/identity/private/issue_refresh_token.sql

comment on function private.issue_refresh_token(session_id uuid, token_hash bytea, parent_id uuid) is 'Adds a refresh token to a session; returns its expiry time if the session is not used before.';
revoke execute on function private.issue_refresh_token(session_id uuid, token_hash bytea, parent_id uuid) from public;

-- Makes the signed-in user a member if the hash that was verified still is the room's; returns the membership's id, or null. PL403 for a banned user.
create or replace function private.join_room_with_password(room_id uuid, verified_hash text)
  returns uuid
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/rooms/private/join_room_with_password.sql

comment on function private.join_room_with_password(room_id uuid, verified_hash text) is 'Makes the signed-in user a member if the hash that was verified still is the room''s; returns the membership''s id, or null. PL403 for a banned user.';
revoke execute on function private.join_room_with_password(room_id uuid, verified_hash text) from public;
grant execute on function private.join_room_with_password(room_id uuid, verified_hash text) to :PLINTH_SERVICE;

-- Trigger: rejects a change of roles after which no administrator without an expiry remains (PL409).
create or replace function private.keep_last_administrator()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/access/triggers/keep_last_administrator.sql

comment on function private.keep_last_administrator() is 'Trigger: rejects a change of roles after which no administrator without an expiry remains (PL409).';
revoke execute on function private.keep_last_administrator() from public;

-- Trigger: rejects disabling or deleting the account of the last administrator (PL409). Argument: column with the account's id.
create or replace function private.keep_last_administrator_account()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/access/triggers/keep_last_administrator.sql

comment on function private.keep_last_administrator_account() is 'Trigger: rejects disabling or deleting the account of the last administrator (PL409). Argument: column with the account''s id.';
revoke execute on function private.keep_last_administrator_account() from public;

-- Saves the text of a message before it is replaced or deleted.
create or replace function private.keep_revision(message rooms.room_messages, change text)
  returns void
  language sql
  set search_path to 'pg_catalog'; -- fixtures/rooms/private/keep_revision.sql

comment on function private.keep_revision(message rooms.room_messages, change text) is 'Saves the text of a message before it is replaced or deleted.';
revoke execute on function private.keep_revision(message rooms.room_messages, change text) from public;

-- Returns the time before which the entries of a log are deleted; null if its policy does not delete.
create or replace function private.kept_since(log text)
  returns timestamp with time zone
  language sql
  stable security definer
  set search_path to 'pg_catalog'; -- fixtures/security/private/kept_since.sql

comment on function private.kept_since(log text) is 'Returns the time before which the entries of a log are deleted; null if its policy does not delete.';
revoke execute on function private.kept_since(log text) from public;
grant execute on function private.kept_since(log text) to :PLINTH_WORKER;

-- Returns the condition that finds the row t of a table by the values of its key, which are the parameter $1. PL422 for an unknown column.
create or replace function private.key_condition(relation_id oid, key jsonb)
  returns text
  language plpgsql
  stable
  set search_path to 'pg_catalog'; -- fixtures/access/private/key_condition.sql

comment on function private.key_condition(relation_id oid, key jsonb) is 'Returns the condition that finds the row t of a table by the values of its key, which are the parameter $1. PL422 for an unknown column.';
revoke execute on function private.key_condition(relation_id oid, key jsonb) from public;

-- Returns platform and browser from a User-Agent header as a JSON object; unknown parts are omitted.
create or replace function private.known_device(user_agent text)
  returns jsonb
  language sql
  immutable parallel safe strict
  set search_path to 'pg_catalog'; -- fixtures/identity/private/known_device.sql

comment on function private.known_device(user_agent text) is 'Returns platform and browser from a User-Agent header as a JSON object; unknown parts are omitted.';
revoke execute on function private.known_device(user_agent text) from public;

-- Returns a user's latest decision on a purpose; null without one.
create or replace function private.last_consent(user_id uuid, purpose text)
  returns identity.consents
  language sql
  stable
  set search_path to 'pg_catalog'; -- fixtures/identity/private/last_consent.sql

comment on function private.last_consent(user_id uuid, purpose text) is 'Returns a user''s latest decision on a purpose; null without one.';
revoke execute on function private.last_consent(user_id uuid, purpose text) from public;

-- Returns the latest use of each session or API token in a report.
create or replace function private.latest_uses(ids uuid[], seen_at timestamp with time zone[], ip_addresses inet[])
  returns table(id uuid, at timestamp with time zone, ip_address inet)
  language sql
  stable; -- fixtures/identity/private/latest_uses.sql

comment on function private.latest_uses(ids uuid[], seen_at timestamp with time zone[], ip_addresses inet[]) is 'Returns the latest use of each session or API token in a report.';
revoke execute on function private.latest_uses(ids uuid[], seen_at timestamp with time zone[], ip_addresses inet[]) from public;

-- Counts a block of API requests of a client in advance: all that are wanted, or the rest, or none and the time to wait.
create or replace function private.lease_requests(client text, limit_value integer, window_length interval, wanted integer)
  returns table(granted integer, remaining integer, retry_after interval)
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/security/private/lease_requests.sql

comment on function private.lease_requests(client text, limit_value integer, window_length interval, wanted integer) is 'Counts a block of API requests of a client in advance: all that are wanted, or the rest, or none and the time to wait.';
revoke execute on function private.lease_requests(client text, limit_value integer, window_length interval, wanted integer) from public;
grant execute on function private.lease_requests(client text, limit_value integer, window_length interval, wanted integer) to :PLINTH_SERVICE;

-- Trigger: empties the messages of an account that is being deleted and removes it from its rooms.
create or replace function private.leave_rooms_of_user()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/rooms/triggers/users.sql

comment on function private.leave_rooms_of_user() is 'Trigger: empties the messages of an account that is being deleted and removes it from its rooms.';
revoke execute on function private.leave_rooms_of_user() from public;

-- Returns how many hard or soft limits of a user (on a model, or all) this many more tokens would exceed.
create or replace function private.limits_passed(user_id uuid, model_id uuid, tokens bigint, is_hard boolean, at timestamp with time zone)
  returns integer
  language sql
  stable; -- fixtures/billing/private/limits_passed.sql

comment on function private.limits_passed(user_id uuid, model_id uuid, tokens bigint, is_hard boolean, at timestamp with time zone) is 'Returns how many hard or soft limits of a user (on a model, or all) this many more tokens would exceed.';
revoke execute on function private.limits_passed(user_id uuid, model_id uuid, tokens bigint, is_hard boolean, at timestamp with time zone) from public;

-- Returns a user's encrypted memories that have not expired, newest first; after_id continues a list.
create or replace function private.list_memories(user_id uuid, max_count integer, after_id uuid default null::uuid, kind text default null::text)
  returns setof llm.memories
  language sql
  stable security definer
  set search_path to 'pg_catalog'; -- fixtures/llm/private/list_memories.sql

comment on function private.list_memories(user_id uuid, max_count integer, after_id uuid, kind text) is 'Returns a user''s encrypted memories that have not expired, newest first; after_id continues a list.';
revoke execute on function private.list_memories(user_id uuid, max_count integer, after_id uuid, kind text) from public;
grant execute on function private.list_memories(user_id uuid, max_count integer, after_id uuid, kind text) to :PLINTH_SERVICE;

-- Returns credential ids (hex) and transports of an account's passkeys, as JSON.
create or replace function private.list_passkeys(user_id uuid)
  returns jsonb
  language sql
  stable
  set search_path to 'pg_catalog'; -- fixtures/identity/private/list_passkeys.sql

comment on function private.list_passkeys(user_id uuid) is 'Returns credential ids (hex) and transports of an account''s passkeys, as JSON.';
revoke execute on function private.list_passkeys(user_id uuid) from public;

-- Returns every added document; the text is null for the hashes in known.
create or replace function private.list_persisted_documents(known text[] default '{}'::text[])
  returns table(hash text, document text)
  language sql
  stable security definer
  set search_path to 'pg_catalog'; -- fixtures/plinth/private/list_persisted_documents.sql

comment on function private.list_persisted_documents(known text[]) is 'Returns every added document; the text is null for the hashes in known.';
revoke execute on function private.list_persisted_documents(known text[]) from public;
grant execute on function private.list_persisted_documents(known text[]) to :PLINTH_SERVICE;

-- Returns the revocations not older than max_age, which is the longest life of an access token.
create or replace function private.list_revocations(max_age interval default '1 day 00:05:00'::interval)
  returns table(kind text, subject_id uuid, token_version integer, expires_at timestamp with time zone)
  language sql
  stable security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/private/list_revocations.sql

comment on function private.list_revocations(max_age interval) is 'Returns the revocations not older than max_age, which is the longest life of an access token.';
revoke execute on function private.list_revocations(max_age interval) from public;
grant execute on function private.list_revocations(max_age interval) to :PLINTH_SERVICE;

-- Adds rows of an attached archive to its log; returns their number. Rows of deleted owners are left out, references to deleted rows are cleared.
create or replace function private.load_archive_rows(archive_id uuid, columns text[], lines text[])
  returns bigint
  language plpgsql
  set search_path to 'pg_catalog'
  set "TimeZone" to 'UTC'; -- fixtures/security/private/load_archive_rows.sql

comment on function private.load_archive_rows(archive_id uuid, columns text[], lines text[]) is 'Adds rows of an attached archive to its log; returns their number. Rows of deleted owners are left out, references to deleted rows are cleared.';
revoke execute on function private.load_archive_rows(archive_id uuid, columns text[], lines text[]) from public;

-- Prevents the deletion of accounts until the transaction ends.
create or replace function private.lock_accounts(user_ids uuid[])
  returns void
  language sql
  set search_path to 'pg_catalog'; -- fixtures/identity/private/lock_accounts.sql

comment on function private.lock_accounts(user_ids uuid[]) is 'Prevents the deletion of accounts until the transaction ends.';
revoke execute on function private.lock_accounts(user_ids uuid[]) from public;

-- Trigger: locks the acting account, which the change will name, against concurrent deletion.
create or replace function private.lock_acting_account()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/private/lock_acting_account.sql

comment on function private.lock_acting_account() is 'Trigger: locks the acting account, which the change will name, against concurrent deletion.';
revoke execute on function private.lock_acting_account() from public;

-- Trigger: locks the counters of members and invited users of a deleted room, in one order.
create or replace function private.lock_audience_of_room()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/rooms/triggers/chat_rooms.sql

comment on function private.lock_audience_of_room() is 'Trigger: locks the counters of members and invited users of a deleted room, in one order.';
revoke execute on function private.lock_audience_of_room() from public;

-- Trigger: lets one transaction at a time change access rules.
create or replace function private.lock_casbin()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/access/private/lock_casbin.sql

comment on function private.lock_casbin() is 'Trigger: lets one transaction at a time change access rules.';
revoke execute on function private.lock_casbin() from public;

-- Prevents content changes (exclusive) and completions (shared) from missing each other until the transaction ends.
create or replace function private.lock_completions(exclusively boolean)
  returns void
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/learning/private/lock_completions.sql

comment on function private.lock_completions(exclusively boolean) is 'Prevents content changes (exclusive) and completions (shared) from missing each other until the transaction ends.';
revoke execute on function private.lock_completions(exclusively boolean) from public;

-- Locks an item for a change of its state. PL403 without edit_content, PL404 for an unknown item.
create or replace function private.lock_content_item(item_id uuid)
  returns learning.content_items
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/learning/private/lock_content_item.sql

comment on function private.lock_content_item(item_id uuid) is 'Locks an item for a change of its state. PL403 without edit_content, PL404 for an unknown item.';
revoke execute on function private.lock_content_item(item_id uuid) from public;

-- Locks a partitioned table, the tables it references and its default partition; tries for some seconds, then raises 55P03.
create or replace function private.lock_for_new_partition(partitioned_table regclass)
  returns void
  language plpgsql
  set search_path to 'pg_catalog'
  set lock_timeout to '200ms'; -- fixtures/plinth/private/lock_for_new_partition.sql

comment on function private.lock_for_new_partition(partitioned_table regclass) is 'Locks a partitioned table, the tables it references and its default partition; tries for some seconds, then raises 55P03.';
revoke execute on function private.lock_for_new_partition(partitioned_table regclass) from public;

-- Returns the signed-in user's id and keeps the account from being deleted before the transaction ends; PL401 if no user is signed in.
create or replace function private.lock_own_account()
  returns uuid
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/private/lock_own_account.sql

comment on function private.lock_own_account() is 'Returns the signed-in user''s id and keeps the account from being deleted before the transaction ends; PL401 if no user is signed in.';
revoke execute on function private.lock_own_account() from public;

-- Locks one person at one provider until the transaction ends.
create or replace function private.lock_provider_subject(provider text, provider_user_id text)
  returns void
  language sql
  set search_path to 'pg_catalog'; -- fixtures/identity/private/lock_provider_subject.sql

comment on function private.lock_provider_subject(provider text, provider_user_id text) is 'Locks one person at one provider until the transaction ends.';
revoke execute on function private.lock_provider_subject(provider text, provider_user_id text) from public;

-- Locks a room until the transaction ends and returns it; PL404.
create or replace function private.lock_room(room_id uuid)
  returns rooms.chat_rooms
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/rooms/private/lock_room.sql

comment on function private.lock_room(room_id uuid) is 'Locks a room until the transaction ends and returns it; PL404.';
revoke execute on function private.lock_room(room_id uuid) from public;

-- Locks the room of a message and returns its id; PL404 for a message that the caller cannot see.
create or replace function private.lock_room_of_message(message_id uuid)
  returns uuid
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/rooms/private/lock_room_of_message.sql

comment on function private.lock_room_of_message(message_id uuid) is 'Locks the room of a message and returns its id; PL404 for a message that the caller cannot see.';
revoke execute on function private.lock_room_of_message(message_id uuid) from public;

-- Locks the answer of a room that a server has claimed; returns null without the claim.
create or replace function private.lock_room_turn(room_id uuid, claim_id uuid)
  returns private.room_turns
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/rooms/private/lock_room_turn.sql

comment on function private.lock_room_turn(room_id uuid, claim_id uuid) is 'Locks the answer of a room that a server has claimed; returns null without the claim.';
revoke execute on function private.lock_room_turn(room_id uuid, claim_id uuid) from public;

-- Locks an account and returns its current subscription, brought up to date as of a time, or null. PL401, PL404.
create or replace function private.lock_subscriber(user_id uuid, at timestamp with time zone)
  returns billing.user_subscriptions
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/billing/private/lock_subscriber.sql

comment on function private.lock_subscriber(user_id uuid, at timestamp with time zone) is 'Locks an account and returns its current subscription, brought up to date as of a time, or null. PL401, PL404.';
revoke execute on function private.lock_subscriber(user_id uuid, at timestamp with time zone) from public;

-- Locks a user's ledger until the end of the transaction, with due holds expired and the month started; returns a time before which no open hold ends, null without one. PL404 for an unknown account.
create or replace function private.lock_usage(user_id uuid, at timestamp with time zone)
  returns timestamp with time zone
  language plpgsql; -- fixtures/billing/private/lock_usage.sql

comment on function private.lock_usage(user_id uuid, at timestamp with time zone) is 'Locks a user''s ledger until the end of the transaction, with due holds expired and the month started; returns a time before which no open hold ends, null without one. PL404 for an unknown account.';
revoke execute on function private.lock_usage(user_id uuid, at timestamp with time zone) from public;

-- Locks the counters of several users in one order before a caller notifies them, so that two callers do not deadlock.
create or replace function private.lock_user_counters(user_ids uuid[])
  returns void
  language sql
  set search_path to 'pg_catalog'; -- fixtures/rooms/private/lock_user_counters.sql

comment on function private.lock_user_counters(user_ids uuid[]) is 'Locks the counters of several users in one order before a caller notifies them, so that two callers do not deadlock.';
revoke execute on function private.lock_user_counters(user_ids uuid[]) from public;

-- Returns how long an account stays locked after this many wrong passwords in a row: 0, then 1 minute doubling up to 1 hour.
create or replace function private.lockout_duration(failed_attempts integer)
  returns interval
  language sql
  immutable parallel safe; -- fixtures/security/private/lockout_duration.sql

comment on function private.lockout_duration(failed_attempts integer) is 'Returns how long an account stays locked after this many wrong passwords in a row: 0, then 1 minute doubling up to 1 hour.';
revoke execute on function private.lockout_duration(failed_attempts integer) from public;

-- Returns the table of a log, whether it is partitioned, its time column and the condition for rows that may leave it; no row for a file.
create or replace function private.log_source(log text)
  returns table(target regclass, is_partitioned boolean, time_column name, condition text)
  language sql
  stable
  set search_path to 'pg_catalog'; -- fixtures/security/private/log_source.sql

comment on function private.log_source(log text) is 'Returns the table of a log, whether it is partitioned, its time column and the condition for rows that may leave it; no row for a file.';
revoke execute on function private.log_source(log text) from public;

-- Sets the similarity threshold of the search until the end of the transaction.
create or replace function private.look_for_similar_titles()
  returns void
  language plpgsql
  stable
  set search_path to 'pg_catalog'; -- fixtures/learning/private/look_for_similar_titles.sql

comment on function private.look_for_similar_titles() is 'Sets the similarity threshold of the search until the end of the transaction.';
revoke execute on function private.look_for_similar_titles() from public;

-- Returns the names of the account and the context of the request, for mail texts.
create or replace function private.mail_variables(user_id uuid)
  returns jsonb
  language sql
  stable
  set search_path to 'pg_catalog'; -- fixtures/identity/private/mail_variables.sql

comment on function private.mail_variables(user_id uuid) is 'Returns the names of the account and the context of the request, for mail texts.';
revoke execute on function private.mail_variables(user_id uuid) from public;

-- Returns whether an answer in a room may use a user's memories: the user is its only person, and it is not public.
create or replace function private.may_recall_in_room(user_id uuid, room_id uuid)
  returns boolean
  language sql
  stable security definer
  set search_path to 'pg_catalog'; -- fixtures/llm/private/may_recall_in_room.sql

comment on function private.may_recall_in_room(user_id uuid, room_id uuid) is 'Returns whether an answer in a room may use a user''s memories: the user is its only person, and it is not public.';
revoke execute on function private.may_recall_in_room(user_id uuid, room_id uuid) from public;
grant execute on function private.may_recall_in_room(user_id uuid, room_id uuid) to :PLINTH_SERVICE;

-- Trigger: counts the rows that were cleared before an account is deleted.
create or replace function private.measure_erasure()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/security/private/measure_erasure.sql

comment on function private.measure_erasure() is 'Trigger: counts the rows that were cleared before an account is deleted.';
revoke execute on function private.measure_erasure() from public;

-- Returns user names that a text may mention: a row for each place, with the name there and its prefix at each full stop.
create or replace function private.mentioned_names(content text)
  returns table(names text[])
  language plpgsql
  immutable rows 5
  set search_path to 'pg_catalog'; -- fixtures/rooms/private/mentioned_names.sql

comment on function private.mentioned_names(content text) is 'Returns user names that a text may mention: a row for each place, with the name there and its prefix at each full stop.';
revoke execute on function private.mentioned_names(content text) from public;

-- Merges one event's data of a refund or dispute and returns the payment with their sum; the order of calls makes no difference.
create or replace function private.merge_payment_reversal(payment_id uuid, event_order text, occurred_at timestamp with time zone, news jsonb)
  returns billing.payments
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/billing/private/merge_payment_reversal.sql

comment on function private.merge_payment_reversal(payment_id uuid, event_order text, occurred_at timestamp with time zone, news jsonb) is 'Merges one event''s data of a refund or dispute and returns the payment with their sum; the order of calls makes no difference.';
revoke execute on function private.merge_payment_reversal(payment_id uuid, event_order text, occurred_at timestamp with time zone, news jsonb) from public;

-- Merges one event's data of an invoice or purchase into private.provider_invoices; the order of calls makes no difference.
create or replace function private.merge_provider_invoice(provider text, event_order text, news jsonb)
  returns void
  language sql
  set search_path to 'pg_catalog'; -- fixtures/billing/private/merge_provider_invoice.sql

comment on function private.merge_provider_invoice(provider text, event_order text, news jsonb) is 'Merges one event''s data of an invoice or purchase into private.provider_invoices; the order of calls makes no difference.';
revoke execute on function private.merge_provider_invoice(provider text, event_order text, news jsonb) from public;

-- Merges one event's data of a subscription itself into private.provider_subscriptions; the order of calls makes no difference.
create or replace function private.merge_provider_subscription(provider text, provider_subscription_id text, event_order text, news jsonb)
  returns void
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/billing/private/merge_provider_subscription.sql

comment on function private.merge_provider_subscription(provider text, provider_subscription_id text, event_order text, news jsonb) is 'Merges one event''s data of a subscription itself into private.provider_subscriptions; the order of calls makes no difference.';
revoke execute on function private.merge_provider_subscription(provider text, provider_subscription_id text, event_order text, news jsonb) from public;

-- Returns how long codes are refused after this many wrong ones in a row: 0, then 1 minute doubling up to 1 day.
create or replace function private.mfa_lockout_duration(failed_attempts integer)
  returns interval
  language sql
  immutable parallel safe; -- fixtures/identity/private/mfa_lockout_duration.sql

comment on function private.mfa_lockout_duration(failed_attempts integer) is 'Returns how long codes are refused after this many wrong ones in a row: 0, then 1 minute doubling up to 1 day.';
revoke execute on function private.mfa_lockout_duration(failed_attempts integer) from public;

-- Returns the models that a user may use, once for each source: public, user, role or plan.
create or replace function private.model_access(user_id uuid)
  returns table(model_id uuid, source text, role_id uuid, plan_code text, expires_at timestamp with time zone)
  language sql
  stable; -- fixtures/access/private/model_access.sql

comment on function private.model_access(user_id uuid) is 'Returns the models that a user may use, once for each source: public, user, role or plan.';
revoke execute on function private.model_access(user_id uuid) from public;

-- Makes a message the end of its chat's active path.
create or replace function private.move_head(user_id uuid, chat_id uuid, message_id uuid)
  returns void
  language sql
  set search_path to 'pg_catalog'; -- fixtures/llm/private/move_head.sql

comment on function private.move_head(user_id uuid, chat_id uuid, message_id uuid) is 'Makes a message the end of its chat''s active path.';
revoke execute on function private.move_head(user_id uuid, chat_id uuid, message_id uuid) from public;

-- Returns the names and addresses by which an account signs in or did, as the log of sign-ins spells them.
create or replace function private.names_of_account(account identity.users)
  returns text[]
  language sql
  stable
  set search_path to 'pg_catalog'; -- fixtures/security/private/names_of_account.sql

comment on function private.names_of_account(account identity.users) is 'Returns the names and addresses by which an account signs in or did, as the log of sign-ins spells them.';
revoke execute on function private.names_of_account(account identity.users) from public;

-- Returns whether the request comes from a network the user allows.
create or replace function private.network_is_allowed(user_id uuid)
  returns boolean
  language sql
  stable
  set search_path to 'pg_catalog'; -- fixtures/identity/private/network_is_allowed.sql

comment on function private.network_is_allowed(user_id uuid) is 'Returns whether the request comes from a network the user allows.';
revoke execute on function private.network_is_allowed(user_id uuid) from public;

-- Returns the coarse network of an address: /16 for IPv4, /32 for IPv6.
create or replace function private.network_of(address inet)
  returns cidr
  language sql
  immutable parallel safe; -- fixtures/security/private/network_of.sql

comment on function private.network_of(address inet) is 'Returns the coarse network of an address: /16 for IPv4, /32 for IPv6.';
revoke execute on function private.network_of(address inet) from public;

-- Returns the values of a new row as texts. PL422 for an unknown or generated column or an invalid value.
create or replace function private.new_row(relation_id oid, new_values jsonb)
  returns jsonb
  language plpgsql
  stable
  set search_path to 'pg_catalog'; -- fixtures/access/private/new_row.sql

comment on function private.new_row(relation_id oid, new_values jsonb) is 'Returns the values of a new row as texts. PL422 for an unknown or generated column or an invalid value.';
revoke execute on function private.new_row(relation_id oid, new_values jsonb) from public;

-- Returns the mail template that notifies an account's owner of an event of the audit log; null for other events.
create or replace function private.notification_of(event_type text, event_data jsonb)
  returns text
  language sql
  immutable
  set search_path to 'pg_catalog'; -- fixtures/security/private/notification_of.sql

comment on function private.notification_of(event_type text, event_data jsonb) is 'Returns the mail template that notifies an account''s owner of an event of the audit log; null for other events.';
revoke execute on function private.notification_of(event_type text, event_data jsonb) from public;

-- Queues a notification when the account is signed in to with a new program or from a new network.
create or replace function private.notify_new_sign_in(user_id uuid)
  returns void
  language sql
  set search_path to 'pg_catalog'; -- fixtures/identity/private/notify_new_sign_in.sql

comment on function private.notify_new_sign_in(user_id uuid) is 'Queues a notification when the account is signed in to with a new program or from a new network.';
revoke execute on function private.notify_new_sign_in(user_id uuid) from public;

-- Trigger: notifies every server of a revocation through NOTIFY plinth_revocation.
create or replace function private.notify_revocation()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/triggers/token_blacklist.sql

comment on function private.notify_revocation() is 'Trigger: notifies every server of a revocation through NOTIFY plinth_revocation.';
revoke execute on function private.notify_revocation() from public;

-- Queues a notification to the account's address; does nothing without an address.
create or replace function private.notify_user(user_id uuid, template text, variables jsonb default '{}'::jsonb)
  returns void
  language sql
  set search_path to 'pg_catalog'; -- fixtures/identity/private/notify_user.sql

comment on function private.notify_user(user_id uuid, template text, variables jsonb) is 'Queues a notification to the account''s address; does nothing without an address.';
revoke execute on function private.notify_user(user_id uuid, template text, variables jsonb) from public;

-- Trigger: numbers the event of a change of a room.
create or replace function private.number_room_change()
  returns trigger
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/rooms/triggers/chat_rooms.sql

comment on function private.number_room_change() is 'Trigger: numbers the event of a change of a room.';
revoke execute on function private.number_room_change() from public;

-- Trigger: sets the numbers and time of a message, and announces it.
create or replace function private.number_room_message()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/rooms/triggers/room_messages.sql

comment on function private.number_room_message() is 'Trigger: sets the numbers and time of a message, and announces it.';
revoke execute on function private.number_room_message() from public;

-- Returns a plan that new subscriptions may choose; PL404 for any other.
create or replace function private.offered_plan(plan_id uuid)
  returns billing.subscription_plans
  language plpgsql
  stable
  set search_path to 'pg_catalog'; -- fixtures/billing/private/offered_plan.sql

comment on function private.offered_plan(plan_id uuid) is 'Returns a plan that new subscriptions may choose; PL404 for any other.';
revoke execute on function private.offered_plan(plan_id uuid) from public;

-- Returns the months that were moved out of their log and are not archived yet, with their columns and size in blocks.
create or replace function private.open_archives()
  returns table(archive_id uuid, log text, month date, columns jsonb, blocks bigint)
  language sql
  stable security definer
  set search_path to 'pg_catalog'; -- fixtures/security/private/open_archives.sql

comment on function private.open_archives() is 'Returns the months that were moved out of their log and are not archived yet, with their columns and size in blocks.';
revoke execute on function private.open_archives() from public;
grant execute on function private.open_archives() to :PLINTH_WORKER;

-- Returns the version of an item that is being played, its duration and type, and the time access was last decided; reason says why the caller may not play it, or is null.
create or replace function private.open_for_recording(item_id uuid, version integer, out reason text, out playable_version integer, out duration_seconds integer, out content_type text, out access_checked_at timestamp with time zone)
  returns record
  language plpgsql
  stable
  set search_path to 'pg_catalog'; -- fixtures/learning/private/open_for_recording.sql

comment on function private.open_for_recording(item_id uuid, version integer, out reason text, out playable_version integer, out duration_seconds integer, out content_type text, out access_checked_at timestamp with time zone) is 'Returns the version of an item that is being played, its duration and type, and the time access was last decided; reason says why the caller may not play it, or is null.';
revoke execute on function private.open_for_recording(item_id uuid, version integer, out reason text, out playable_version integer, out duration_seconds integer, out content_type text, out access_checked_at timestamp with time zone) from public;

-- Starts the answer of a room's AI to a message from its first piece, under a new claim. The caller has locked the room.
create or replace function private.open_room_answer(room rooms.chat_rooms, message_id uuid, user_id uuid)
  returns void
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/rooms/private/open_room_answer.sql

comment on function private.open_room_answer(room rooms.chat_rooms, message_id uuid, user_id uuid) is 'Starts the answer of a room''s AI to a message from its first piece, under a new claim. The caller has locked the room.';
revoke execute on function private.open_room_answer(room rooms.chat_rooms, message_id uuid, user_id uuid) from public;

-- Creates a session and its first refresh token; returns both and the token version to sign with.
create or replace function private.open_session(user_id uuid, methods text[], refresh_token_hash bytea, device_name text)
  returns table(session_id uuid, token_version integer, refresh_expires_at timestamp with time zone)
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/identity/private/open_session.sql

comment on function private.open_session(user_id uuid, methods text[], refresh_token_hash bytea, device_name text) is 'Creates a session and its first refresh token; returns both and the token version to sign with.';
revoke execute on function private.open_session(user_id uuid, methods text[], refresh_token_hash bytea, device_name text) from public;

-- Starts an answer of a model in a chat; the same key again returns the same one. PL402 when the user lacks the tokens, PL404 for an unknown chat, message or model, PL409 while another answer is under way and for a key used for another request.
create or replace function private.open_turn(user_id uuid, chat_id uuid, model_id uuid, parent_id uuid, max_tokens bigint, input_tokens bigint, idempotency_key text, lease_seconds integer, writer text, tools jsonb default null::jsonb, uses_own_model boolean default false)
  returns llm.messages
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/llm/private/open_turn.sql

comment on function private.open_turn(user_id uuid, chat_id uuid, model_id uuid, parent_id uuid, max_tokens bigint, input_tokens bigint, idempotency_key text, lease_seconds integer, writer text, tools jsonb, uses_own_model boolean) is 'Starts an answer of a model in a chat; the same key again returns the same one. PL402 when the user lacks the tokens, PL404 for an unknown chat, message or model, PL409 while another answer is under way and for a key used for another request.';
revoke execute on function private.open_turn(user_id uuid, chat_id uuid, model_id uuid, parent_id uuid, max_tokens bigint, input_tokens bigint, idempotency_key text, lease_seconds integer, writer text, tools jsonb, uses_own_model boolean) from public;

-- Returns counts, sizes and ages of the queues, logs, sessions and replicas as JSON, for the metrics of the servers and workers.
create or replace function private.operational_state()
  returns jsonb
  language plpgsql
  stable security definer
  set search_path to 'pg_catalog'; -- fixtures/plinth/private/operational_state.sql

comment on function private.operational_state() is 'Returns counts, sizes and ages of the queues, logs, sessions and replicas as JSON, for the metrics of the servers and workers.';
revoke execute on function private.operational_state() from public;
grant execute on function private.operational_state() to :PLINTH_SERVICE, :PLINTH_WORKER;

-- Returns the days of a history up to today (UTC), or for one day the 24 hours before this one and this one; oldest first.
create or replace function private.operations_buckets(days integer)
  returns table(starts_at timestamp with time zone, ends_at timestamp with time zone)
  language sql
  stable rows 90
  set search_path to 'pg_catalog'; -- fixtures/security/private/operations_buckets.sql

comment on function private.operations_buckets(days integer) is 'Returns the days of a history up to today (UTC), or for one day the 24 hours before this one and this one; oldest first.';
revoke execute on function private.operations_buckets(days integer) from public;

-- Pauses an active subscription; PL409 when it is not active, free, lifetime, or billed by a provider.
create or replace function private.pause_subscription(subscription_id uuid, at timestamp with time zone)
  returns billing.user_subscriptions
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/billing/private/pause_subscription.sql

comment on function private.pause_subscription(subscription_id uuid, at timestamp with time zone) is 'Pauses an active subscription; PL409 when it is not active, free, lifetime, or billed by a provider.';
revoke execute on function private.pause_subscription(subscription_id uuid, at timestamp with time zone) from public;

-- Returns the plan of an event's payment and its period; null without one.
create or replace function private.payment_period(provider text, news jsonb)
  returns table(plan_id uuid, period_start timestamp with time zone, period_end timestamp with time zone)
  language sql
  stable
  set search_path to 'pg_catalog'; -- fixtures/billing/private/payment_period.sql

comment on function private.payment_period(provider text, news jsonb) is 'Returns the plan of an event''s payment and its period; null without one.';
revoke execute on function private.payment_period(provider text, news jsonb) from public;

-- Returns the accounts whose rows are still to be erased from archives.
create or replace function private.pending_archive_erasures()
  returns table(user_id uuid, certificate_id uuid, marks text[])
  language sql
  stable security definer
  set search_path to 'pg_catalog'; -- fixtures/security/private/pending_archive_erasures.sql

comment on function private.pending_archive_erasures() is 'Returns the accounts whose rows are still to be erased from archives.';
revoke execute on function private.pending_archive_erasures() from public;
grant execute on function private.pending_archive_erasures() to :PLINTH_WORKER;

-- Returns the personal-data class of a column of a table or partition; null if it has none.
create or replace function private.personal_data_class(table_oid regclass, column_name name)
  returns text
  language sql
  stable
  set search_path to 'pg_catalog'; -- fixtures/security/private/personal_data_class.sql

comment on function private.personal_data_class(table_oid regclass, column_name name) is 'Returns the personal-data class of a column of a table or partition; null if it has none.';
revoke execute on function private.personal_data_class(table_oid regclass, column_name name) from public;

-- Returns the classes of personal data in tables and views, given by schema and name.
create or replace function private.personal_data_classes(relations text[])
  returns text[]
  language sql
  stable
  set search_path to 'pg_catalog'; -- fixtures/security/private/personal_data_classes.sql

comment on function private.personal_data_classes(relations text[]) is 'Returns the classes of personal data in tables and views, given by schema and name.';
revoke execute on function private.personal_data_classes(relations text[]) from public;

-- Places a legal hold on an account, which cannot be deleted until it is released. PL404 for an unknown account, PL409 for a second hold.
create or replace function private.place_legal_hold(user_id uuid, reason text)
  returns uuid
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/security/private/place_legal_hold.sql

comment on function private.place_legal_hold(user_id uuid, reason text) is 'Places a legal hold on an account, which cannot be deleted until it is released. PL404 for an unknown account, PL409 for a second hold.';
revoke execute on function private.place_legal_hold(user_id uuid, reason text) from public;

-- Trigger: sets the start of a new member's history and the read mark.
create or replace function private.place_room_member()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/rooms/triggers/room_members.sql

comment on function private.place_room_member() is 'Trigger: sets the start of a new member''s history and the read mark.';
revoke execute on function private.place_room_member() from public;

-- Adds a heartbeat to its session, joining or creating sessions; returns the created_at of that session.
create or replace function private.place_session(user_id uuid, item_id uuid, version integer, covered int4multirange, stretch int4multirange, active_seconds integer, began_at timestamp with time zone, occurred_at timestamp with time zone)
  returns timestamp with time zone
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/learning/private/place_session.sql

comment on function private.place_session(user_id uuid, item_id uuid, version integer, covered int4multirange, stretch int4multirange, active_seconds integer, began_at timestamp with time zone, occurred_at timestamp with time zone) is 'Adds a heartbeat to its session, joining or creating sessions; returns the created_at of that session.';
revoke execute on function private.place_session(user_id uuid, item_id uuid, version integer, covered int4multirange, stretch int4multirange, active_seconds integer, began_at timestamp with time zone, occurred_at timestamp with time zone) from public;

-- Returns the code of the plan that a user had just before a time (trialing, active or past_due), or free.
create or replace function private.plan_code_at(user_id uuid, at timestamp with time zone)
  returns text
  language sql
  stable
  set search_path to 'pg_catalog'; -- fixtures/analytics/private/plan_code_at.sql

comment on function private.plan_code_at(user_id uuid, at timestamp with time zone) is 'Returns the code of the plan that a user had just before a time (trialing, active or past_due), or free.';
revoke execute on function private.plan_code_at(user_id uuid, at timestamp with time zone) from public;

-- Returns the plan, its price and its period among items or lines of a provider; no row when no price there sells a plan.
create or replace function private.plan_period(provider text, lines jsonb)
  returns table(plan_id uuid, provider_price_id text, period_start timestamp with time zone, period_end timestamp with time zone)
  language sql
  stable
  set search_path to 'pg_catalog'; -- fixtures/billing/private/plan_period.sql

comment on function private.plan_period(provider text, lines jsonb) is 'Returns the plan, its price and its period among items or lines of a provider; no row when no price there sells a plan.';
revoke execute on function private.plan_period(provider text, lines jsonb) from public;

-- Returns the plans of a subscription's quota period in order, with their start times.
create or replace function private.plans_of_period(subscription billing.user_subscriptions)
  returns table(plan_id uuid, began_at timestamp with time zone)
  language sql
  stable
  set search_path to 'pg_catalog'; -- fixtures/billing/private/plans_of_period.sql

comment on function private.plans_of_period(subscription billing.user_subscriptions) is 'Returns the plans of a subscription''s quota period in order, with their start times.';
revoke execute on function private.plans_of_period(subscription billing.user_subscriptions) from public;

-- Returns the columns of a table that its policies read.
create or replace function private.policy_columns(relation_id oid)
  returns name[]
  language sql
  stable
  set search_path to 'pg_catalog'; -- fixtures/access/private/policy_columns.sql

comment on function private.policy_columns(relation_id oid) is 'Returns the columns of a table that its policies read.';
revoke execute on function private.policy_columns(relation_id oid) from public;

-- Posts an answer of the room's AI; with recipients, to them only. With token counts it records the model's usage on the account of the sender it replies to, else of the room's creator, unless billed_user_id names another. The same idempotency key returns the same message. PL403 where no AI is a member, PL409 when the audience has changed since the context was read or the key was used for another message, PL404, PL422.
create or replace function private.post_ai_message(room_id uuid, content text, reply_to_id uuid default null::uuid, mentions uuid[] default null::uuid[], recipients uuid[] default null::uuid[], metadata jsonb default null::jsonb, audience_version bigint default null::bigint, idempotency_key uuid default null::uuid, model_id uuid default null::uuid, input_tokens bigint default null::bigint, output_tokens bigint default null::bigint, cached_input_tokens bigint default 0, reasoning_tokens bigint default 0, billed_user_id uuid default null::uuid)
  returns rooms.room_messages
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/rooms/private/post_ai_message.sql

comment on function private.post_ai_message(room_id uuid, content text, reply_to_id uuid, mentions uuid[], recipients uuid[], metadata jsonb, audience_version bigint, idempotency_key uuid, model_id uuid, input_tokens bigint, output_tokens bigint, cached_input_tokens bigint, reasoning_tokens bigint, billed_user_id uuid) is 'Posts an answer of the room''s AI; with recipients, to them only. With token counts it records the model''s usage on the account of the sender it replies to, else of the room''s creator, unless billed_user_id names another. The same idempotency key returns the same message. PL403 where no AI is a member, PL409 when the audience has changed since the context was read or the key was used for another message, PL404, PL422.';
revoke execute on function private.post_ai_message(room_id uuid, content text, reply_to_id uuid, mentions uuid[], recipients uuid[], metadata jsonb, audience_version bigint, idempotency_key uuid, model_id uuid, input_tokens bigint, output_tokens bigint, cached_input_tokens bigint, reasoning_tokens bigint, billed_user_id uuid) from public;
grant execute on function private.post_ai_message(room_id uuid, content text, reply_to_id uuid, mentions uuid[], recipients uuid[], metadata jsonb, audience_version bigint, idempotency_key uuid, model_id uuid, input_tokens bigint, output_tokens bigint, cached_input_tokens bigint, reasoning_tokens bigint, billed_user_id uuid) to :PLINTH_SERVICE;

-- Prices an event, adds it and updates the totals; returns it as stored. The caller has locked the user's ledger.
create or replace function private.post_usage_event(event billing.usage_events)
  returns billing.usage_events
  language plpgsql; -- fixtures/billing/private/post_usage_event.sql

comment on function private.post_usage_event(event billing.usage_events) is 'Prices an event, adds it and updates the totals; returns it as stored. The caller has locked the user''s ledger.';
revoke execute on function private.post_usage_event(event billing.usage_events) from public;

-- Returns how many undeleted public messages a sender posted in a room after a watermark.
create or replace function private.posted_in_room_after(room_id uuid, sender_id uuid, watermark bigint)
  returns bigint
  language plpgsql
  stable
  set search_path to 'pg_catalog'; -- fixtures/rooms/private/posted_in_room_after.sql

comment on function private.posted_in_room_after(room_id uuid, sender_id uuid, watermark bigint) is 'Returns how many undeleted public messages a sender posted in a room after a watermark.';
revoke execute on function private.posted_in_room_after(room_id uuid, sender_id uuid, watermark bigint) from public;

-- Returns the data that a provider needs to sell a plan to the signed-in user. PL401, PL404, PL409 when the plan is not sold or the user already pays.
create or replace function private.prepare_checkout(plan_id uuid, provider text)
  returns table(user_id uuid, email text, provider_customer_id text, provider_price_id text, billing_cycle text, trial_days integer)
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/billing/private/prepare_checkout.sql

comment on function private.prepare_checkout(plan_id uuid, provider text) is 'Returns the data that a provider needs to sell a plan to the signed-in user. PL401, PL404, PL409 when the plan is not sold or the user already pays.';
revoke execute on function private.prepare_checkout(plan_id uuid, provider text) from public;
grant execute on function private.prepare_checkout(plan_id uuid, provider text) to :PLINTH_SERVICE;

-- Returns the sections of the report on personal data for a period, each with its rows as JSON. PL422 for an empty period.
create or replace function private.privacy_report(period_start timestamp with time zone, period_end timestamp with time zone)
  returns table(section text, description text, rows json)
  language plpgsql
  stable
  set search_path to 'pg_catalog'; -- fixtures/security/private/privacy_report.sql

comment on function private.privacy_report(period_start timestamp with time zone, period_end timestamp with time zone) is 'Returns the sections of the report on personal data for a period, each with its rows as JSON. PL422 for an empty period.';
revoke execute on function private.privacy_report(period_start timestamp with time zone, period_end timestamp with time zone) from public;

-- Processes one event of the inbox, once, and then the events of the same customer that waited for it; returns its outcome.
create or replace function private.process_payment_event(event_id uuid)
  returns text
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/billing/private/process_payment_event.sql

comment on function private.process_payment_event(event_id uuid) is 'Processes one event of the inbox, once, and then the events of the same customer that waited for it; returns its outcome.';
revoke execute on function private.process_payment_event(event_id uuid) from public;
grant execute on function private.process_payment_event(event_id uuid) to :PLINTH_SERVICE;

-- Processes up to batch_size events that a server left behind or that wait; returns the number of attempts.
create or replace function private.process_payment_events(batch_size integer default 50)
  returns integer
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/billing/private/process_payment_events.sql

comment on function private.process_payment_events(batch_size integer) is 'Processes up to batch_size events that a server left behind or that wait; returns the number of attempts.';
revoke execute on function private.process_payment_events(batch_size integer) from public;
grant execute on function private.process_payment_events(batch_size integer) to :PLINTH_WORKER;

-- Returns credit (zero or negative) and charge in cents for a plan change at a moment of a period; both zero without a period.
create or replace function private.proration(old_price_cents bigint, new_price_cents bigint, period_start timestamp with time zone, period_end timestamp with time zone, at timestamp with time zone)
  returns table(period_seconds bigint, unused_seconds bigint, credit_cents bigint, charge_cents bigint)
  language sql
  immutable
  set search_path to 'pg_catalog'; -- fixtures/billing/private/proration.sql

comment on function private.proration(old_price_cents bigint, new_price_cents bigint, period_start timestamp with time zone, period_end timestamp with time zone, at timestamp with time zone) is 'Returns credit (zero or negative) and charge in cents for a plan change at a moment of a period; both zero without a period.';
revoke execute on function private.proration(old_price_cents bigint, new_price_cents bigint, period_start timestamp with time zone, period_end timestamp with time zone, at timestamp with time zone) from public;

-- Queues one mail in the caller's transaction; the worker sends it within seconds.
create or replace function private.queue_mail(user_id uuid, to_address text, template text, variables jsonb, channel text default 'email'::text, expires_at timestamp with time zone default null::timestamp with time zone)
  returns void
  language sql
  set search_path to 'pg_catalog'; -- fixtures/identity/private/queue_mail.sql

comment on function private.queue_mail(user_id uuid, to_address text, template text, variables jsonb, channel text, expires_at timestamp with time zone) is 'Queues one mail in the caller''s transaction; the worker sends it within seconds.';
revoke execute on function private.queue_mail(user_id uuid, to_address text, template text, variables jsonb, channel text, expires_at timestamp with time zone) from public;

-- Returns the tokens due for a period whose plan changed: quotas in order, and the seconds left of the period at the start of each. Switching back and forth neither gains nor loses tokens.
create or replace function private.quota_of_walk(quotas bigint[], unused_seconds bigint[], period_seconds bigint)
  returns bigint
  language plpgsql
  immutable
  set search_path to 'pg_catalog'; -- fixtures/billing/private/quota_of_walk.sql

comment on function private.quota_of_walk(quotas bigint[], unused_seconds bigint[], period_seconds bigint) is 'Returns the tokens due for a period whose plan changed: quotas in order, and the seconds left of the period at the start of each. Switching back and forth neither gains nor loses tokens.';
revoke execute on function private.quota_of_walk(quotas bigint[], unused_seconds bigint[], period_seconds bigint) from public;

-- Returns the rows in some blocks of a month that is being archived, each as a JSON object. PL409 if it is not.
create or replace function private.read_archive_rows(archive_id uuid, first_block bigint, block_count integer)
  returns setof text
  language plpgsql
  stable security definer
  set search_path to 'pg_catalog'
  set "TimeZone" to 'UTC'
  set "DateStyle" to 'ISO, YMD'
  set "IntervalStyle" to 'iso_8601'
  set extra_float_digits to '1'; -- fixtures/security/private/read_archive_rows.sql

comment on function private.read_archive_rows(archive_id uuid, first_block bigint, block_count integer) is 'Returns the rows in some blocks of a month that is being archived, each as a JSON object. PL409 if it is not.';
revoke execute on function private.read_archive_rows(archive_id uuid, first_block bigint, block_count integer) from public;
grant execute on function private.read_archive_rows(archive_id uuid, first_block bigint, block_count integer) to :PLINTH_WORKER;

-- Returns one part of an export of the signed-in user; null if it does not exist.
create or replace function private.read_data_export_part(export_id uuid, part_number integer)
  returns text
  language sql
  stable security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/private/read_data_export_part.sql

comment on function private.read_data_export_part(export_id uuid, part_number integer) is 'Returns one part of an export of the signed-in user; null if it does not exist.';
revoke execute on function private.read_data_export_part(export_id uuid, part_number integer) from public;
grant execute on function private.read_data_export_part(export_id uuid, part_number integer) to :PLINTH_SERVICE;

-- Returns a user's encrypted memories with these ids that have not expired.
create or replace function private.read_memories(user_id uuid, ids uuid[])
  returns setof llm.memories
  language sql
  stable security definer
  set search_path to 'pg_catalog'; -- fixtures/llm/private/read_memories.sql

comment on function private.read_memories(user_id uuid, ids uuid[]) is 'Returns a user''s encrypted memories with these ids that have not expired.';
revoke execute on function private.read_memories(user_id uuid, ids uuid[]) from public;
grant execute on function private.read_memories(user_id uuid, ids uuid[]) to :PLINTH_SERVICE;

-- Marks the calling session as freshly authenticated; returns the time, or null if refused. PL422 for a password where there is a second factor.
create or replace function private.reauthenticate(proof jsonb)
  returns timestamp with time zone
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/private/reauthenticate.sql

comment on function private.reauthenticate(proof jsonb) is 'Marks the calling session as freshly authenticated; returns the time, or null if refused. PL422 for a password where there is a second factor.';
revoke execute on function private.reauthenticate(proof jsonb) from public;
grant execute on function private.reauthenticate(proof jsonb) to :PLINTH_SERVICE;

-- Stores an event of a payment provider; returns its id, the same for an event stored before.
create or replace function private.receive_payment_event(provider text, provider_event_id text, event_type text, provider_customer_id text, occurred_at timestamp with time zone, payload jsonb)
  returns uuid
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/billing/private/receive_payment_event.sql

comment on function private.receive_payment_event(provider text, provider_event_id text, event_type text, provider_customer_id text, occurred_at timestamp with time zone, payload jsonb) is 'Stores an event of a payment provider; returns its id, the same for an event stored before.';
revoke execute on function private.receive_payment_event(provider text, provider_event_id text, event_type text, provider_customer_id text, occurred_at timestamp with time zone, payload jsonb) from public;
grant execute on function private.receive_payment_event(provider text, provider_event_id text, event_type text, provider_customer_id text, occurred_at timestamp with time zone, payload jsonb) to :PLINTH_SERVICE;

-- Trigger: checks the rules of a model whose definition changed. PL422 for a rule that the new one does not take.
create or replace function private.recheck_casbin_rules()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/access/triggers/casbin_models.sql

comment on function private.recheck_casbin_rules() is 'Trigger: checks the rules of a model whose definition changed. PL422 for a rule that the new one does not take.';
revoke execute on function private.recheck_casbin_rules() from public;

-- Trigger: adds a version with the rows that a statement changed. Its argument is the key column.
create or replace function private.record_casbin_changes()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/access/private/record_casbin_changes.sql

comment on function private.record_casbin_changes() is 'Trigger: adds a version with the rows that a statement changed. Its argument is the key column.';
revoke execute on function private.record_casbin_changes() from public;

-- Records the learners who had completed one of the courses, and their progress in the trainings of the skills, with the content available at a moment. Repeating it changes nothing.
create or replace function private.record_completions(course_ids uuid[], skill_ids uuid[], at timestamp with time zone default clock_timestamp())
  returns void
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/learning/private/record_completions.sql

comment on function private.record_completions(course_ids uuid[], skill_ids uuid[], at timestamp with time zone) is 'Records the learners who had completed one of the courses, and their progress in the trainings of the skills, with the content available at a moment. Repeating it changes nothing.';
revoke execute on function private.record_completions(course_ids uuid[], skill_ids uuid[], at timestamp with time zone) from public;

-- Records and audits the caller's consent to a purpose, or its withdrawal; returns it.
create or replace function private.record_consent(purpose text, version integer, is_given boolean, last_decided_at timestamp with time zone)
  returns identity.consents
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/identity/private/record_consent.sql

comment on function private.record_consent(purpose text, version integer, is_given boolean, last_decided_at timestamp with time zone) is 'Records and audits the caller''s consent to a purpose, or its withdrawal; returns it.';
revoke execute on function private.record_consent(purpose text, version integer, is_given boolean, last_decided_at timestamp with time zone) from public;

-- Trigger: adds a row to security.audit_trail. Arguments: key columns, account column, noise columns, columns whose values are not kept.
create or replace function private.record_data_change()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/security/private/record_data_change.sql

comment on function private.record_data_change() is 'Trigger: adds a row to security.audit_trail. Arguments: key columns, account column, noise columns, columns whose values are not kept.';
revoke execute on function private.record_data_change() from public;

-- Records completions caused by the start or end of an item's availability, at up to batch_size moments; returns the number handled.
create or replace function private.record_due_completions(batch_size integer default 1000)
  returns integer
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/learning/private/record_due_completions.sql

comment on function private.record_due_completions(batch_size integer) is 'Records completions caused by the start or end of an item''s availability, at up to batch_size moments; returns the number handled.';
revoke execute on function private.record_due_completions(batch_size integer) from public;
grant execute on function private.record_due_completions(batch_size integer) to :PLINTH_WORKER;

-- Adds a row to security.error_logs. The caller removes secrets and parameters.
create or replace function private.record_error(error_id uuid, user_id uuid, message text, error_code text, stack_fingerprint text, context jsonb, correlation_id text, happened_at timestamp with time zone)
  returns void
  language sql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/security/private/record_error.sql

comment on function private.record_error(error_id uuid, user_id uuid, message text, error_code text, stack_fingerprint text, context jsonb, correlation_id text, happened_at timestamp with time zone) is 'Adds a row to security.error_logs. The caller removes secrets and parameters.';
revoke execute on function private.record_error(error_id uuid, user_id uuid, message text, error_code text, stack_fingerprint text, context jsonb, correlation_id text, happened_at timestamp with time zone) from public;
grant execute on function private.record_error(error_id uuid, user_id uuid, message text, error_code text, stack_fingerprint text, context jsonb, correlation_id text, happened_at timestamp with time zone) to :PLINTH_SERVICE;

-- Brings the ledger up to a message's tokens_used, unless a service has settled the message.
create or replace function private.record_message_usage(message llm.messages, at timestamp with time zone default now())
  returns void
  language plpgsql; -- fixtures/llm/private/record_message_usage.sql

comment on function private.record_message_usage(message llm.messages, at timestamp with time zone) is 'Brings the ledger up to a message''s tokens_used, unless a service has settled the message.';
revoke execute on function private.record_message_usage(message llm.messages, at timestamp with time zone) from public;

-- Adds one row per person to security.personal_data_reads with the request's context; returns the id of the read.
create or replace function private.record_personal_data_reads(reads jsonb, operation text, document_hash text default null::text, origin text default 'api'::text, reason text default null::text)
  returns uuid
  language sql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/security/private/record_personal_data_reads.sql

comment on function private.record_personal_data_reads(reads jsonb, operation text, document_hash text, origin text, reason text) is 'Adds one row per person to security.personal_data_reads with the request''s context; returns the id of the read.';
revoke execute on function private.record_personal_data_reads(reads jsonb, operation text, document_hash text, origin text, reason text) from public;
grant execute on function private.record_personal_data_reads(reads jsonb, operation text, document_hash text, origin text, reason text) to :PLINTH_SERVICE;

-- Records that memories of a user were given to a model.
create or replace function private.record_recall(user_id uuid, ids uuid[])
  returns void
  language sql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/llm/private/record_recall.sql

comment on function private.record_recall(user_id uuid, ids uuid[]) is 'Records that memories of a user were given to a model.';
revoke execute on function private.record_recall(user_id uuid, ids uuid[]) from public;
grant execute on function private.record_recall(user_id uuid, ids uuid[]) to :PLINTH_SERVICE;

-- Adds a row to security.security_audit_log with the request's context, and notifies the owner if private.notification_of lists the event.
create or replace function private.record_security_event(event_type text, user_id uuid, event_data jsonb default '{}'::jsonb, severity text default 'info'::text)
  returns void
  language sql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/security/private/record_security_event.sql

comment on function private.record_security_event(event_type text, user_id uuid, event_data jsonb, severity text) is 'Adds a row to security.security_audit_log with the request''s context, and notifies the owner if private.notification_of lists the event.';
revoke execute on function private.record_security_event(event_type text, user_id uuid, event_data jsonb, severity text) from public;

-- Trigger: writes session_network_changed to the audit log when a session continues from another network.
create or replace function private.record_session_network_change()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/triggers/user_sessions.sql

comment on function private.record_session_network_change() is 'Trigger: writes session_network_changed to the audit log when a session continues from another network.';
revoke execute on function private.record_session_network_change() from public;

-- Adds a row to billing.subscription_changes and to the audit log.
create or replace function private.record_subscription_change(event text, before billing.user_subscriptions, after billing.user_subscriptions, effective_at timestamp with time zone, details jsonb default '{}'::jsonb)
  returns billing.subscription_changes
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/billing/private/record_subscription_change.sql

comment on function private.record_subscription_change(event text, before billing.user_subscriptions, after billing.user_subscriptions, effective_at timestamp with time zone, details jsonb) is 'Adds a row to billing.subscription_changes and to the audit log.';
revoke execute on function private.record_subscription_change(event text, before billing.user_subscriptions, after billing.user_subscriptions, effective_at timestamp with time zone, details jsonb) from public;

-- Records and charges usage without a hold; the same key again returns the same event. PL409 for a key used for another request, PL404 for an unknown user, model or message.
create or replace function private.record_usage(user_id uuid, model_id uuid, input_tokens bigint, output_tokens bigint, idempotency_key text, cached_input_tokens bigint default 0, reasoning_tokens bigint default 0, occurred_at timestamp with time zone default null::timestamp with time zone, message_id uuid default null::uuid, at timestamp with time zone default now())
  returns billing.usage_events
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/billing/private/record_usage.sql

comment on function private.record_usage(user_id uuid, model_id uuid, input_tokens bigint, output_tokens bigint, idempotency_key text, cached_input_tokens bigint, reasoning_tokens bigint, occurred_at timestamp with time zone, message_id uuid, at timestamp with time zone) is 'Records and charges usage without a hold; the same key again returns the same event. PL409 for a key used for another request, PL404 for an unknown user, model or message.';
revoke execute on function private.record_usage(user_id uuid, model_id uuid, input_tokens bigint, output_tokens bigint, idempotency_key text, cached_input_tokens bigint, reasoning_tokens bigint, occurred_at timestamp with time zone, message_id uuid, at timestamp with time zone) from public;
grant execute on function private.record_usage(user_id uuid, model_id uuid, input_tokens bigint, output_tokens bigint, idempotency_key text, cached_input_tokens bigint, reasoning_tokens bigint, occurred_at timestamp with time zone, message_id uuid, at timestamp with time zone) to :PLINTH_SERVICE;

-- Returns the event that an earlier call recorded. PL404 if it is archived.
create or replace function private.recorded_usage(event_id uuid, recorded_at timestamp with time zone default null::timestamp with time zone)
  returns billing.usage_events
  language plpgsql
  stable
  set search_path to 'pg_catalog'; -- fixtures/billing/private/recorded_usage.sql

comment on function private.recorded_usage(event_id uuid, recorded_at timestamp with time zone) is 'Returns the event that an earlier call recorded. PL404 if it is archived.';
revoke execute on function private.recorded_usage(event_id uuid, recorded_at timestamp with time zone) from public;

-- Refreshes analytics.content_popularity; returns its number of rows.
create or replace function private.refresh_content_popularity()
  returns integer
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/analytics/private/refresh_content_popularity.sql

comment on function private.refresh_content_popularity() is 'Refreshes analytics.content_popularity; returns its number of rows.';
revoke execute on function private.refresh_content_popularity() from public;
grant execute on function private.refresh_content_popularity() to :PLINTH_WORKER;

-- Refreshes analytics.subscription_metrics without blocking its readers; returns its number of rows.
create or replace function private.refresh_subscription_metrics()
  returns integer
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/analytics/private/refresh_subscription_metrics.sql

comment on function private.refresh_subscription_metrics() is 'Refreshes analytics.subscription_metrics without blocking its readers; returns its number of rows.';
revoke execute on function private.refresh_subscription_metrics() from public;
grant execute on function private.refresh_subscription_metrics() to :PLINTH_WORKER;

-- Raises PL403 when the request was made with an API token.
create or replace function private.refuse_api_token()
  returns void
  language plpgsql
  stable
  set search_path to 'pg_catalog'; -- fixtures/identity/private/refuse_api_token.sql

comment on function private.refuse_api_token() is 'Raises PL403 when the request was made with an API token.';
revoke execute on function private.refuse_api_token() from public;

-- Raises PL403 in a direct room in which one member has blocked the other.
create or replace function private.refuse_blocked_direct(room_id uuid, sender_id uuid)
  returns void
  language plpgsql
  stable
  set search_path to 'pg_catalog'; -- fixtures/rooms/private/refuse_blocked_direct.sql

comment on function private.refuse_blocked_direct(room_id uuid, sender_id uuid) is 'Raises PL403 in a direct room in which one member has blocked the other.';
revoke execute on function private.refuse_blocked_direct(room_id uuid, sender_id uuid) from public;

-- Raises PL409 unless a request is the one that its idempotency key was used for; null counts as the same.
create or replace function private.refuse_other_request(is_same boolean)
  returns void
  language plpgsql
  stable
  set search_path to 'pg_catalog'; -- fixtures/plinth/private/refuse_other_request.sql

comment on function private.refuse_other_request(is_same boolean) is 'Raises PL409 unless a request is the one that its idempotency key was used for; null counts as the same.';
revoke execute on function private.refuse_other_request(is_same boolean) from public;

-- Raises why something may not be recorded (PL403, or PL404 for content the caller cannot see); does nothing when reason is null.
create or replace function private.refuse_recording(reason text)
  returns void
  language plpgsql
  stable
  set search_path to 'pg_catalog'; -- fixtures/learning/private/refuse_recording.sql

comment on function private.refuse_recording(reason text) is 'Raises why something may not be recorded (PL403, or PL404 for content the caller cannot see); does nothing when reason is null.';
revoke execute on function private.refuse_recording(reason text) from public;

-- Stores new recovery codes for the calling user. Needs a recent sign-in (PL403) and a confirmed factor (PL409).
create or replace function private.regenerate_recovery_codes(code_hashes bytea[])
  returns void
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/private/regenerate_recovery_codes.sql

comment on function private.regenerate_recovery_codes(code_hashes bytea[]) is 'Stores new recovery codes for the calling user. Needs a recent sign-in (PL403) and a confirmed factor (PL409).';
revoke execute on function private.regenerate_recovery_codes(code_hashes bytea[]) from public;
grant execute on function private.regenerate_recovery_codes(code_hashes bytea[]) to :PLINTH_SERVICE;

-- Creates an account without a password and with a free name; returns its id, or null if another account has verified the address.
create or replace function private.register_by_provider(suggested_username text, verified_email text, verified_email_hash bytea, display_name text)
  returns uuid
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/identity/private/register_by_provider.sql

comment on function private.register_by_provider(suggested_username text, verified_email text, verified_email_hash bytea, display_name text) is 'Creates an account without a password and with a free name; returns its id, or null if another account has verified the address.';
revoke execute on function private.register_by_provider(suggested_username text, verified_email text, verified_email_hash bytea, display_name text) from public;

-- Creates an account with settings, password and the role user; returns its id. 23505 names the taken field.
create or replace function private.register_user(username text, email text, display_name text, password_hash text, hash_algorithm text, hashed_email bytea default null::bytea)
  returns uuid
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/private/register_user.sql

comment on function private.register_user(username text, email text, display_name text, password_hash text, hash_algorithm text, hashed_email bytea) is 'Creates an account with settings, password and the role user; returns its id. 23505 names the taken field.';
revoke execute on function private.register_user(username text, email text, display_name text, password_hash text, hash_algorithm text, hashed_email bytea) from public;
grant execute on function private.register_user(username text, email text, display_name text, password_hash text, hash_algorithm text, hashed_email bytea) to :PLINTH_SERVICE;

-- Returns whether a role holds a privilege on a table or on the named columns of it, through which role, and the columns that it lacks.
create or replace function private.relation_grant(role_id oid, relation_id oid, privilege text, columns text[])
  returns access.explained_grant
  language sql
  stable
  set search_path to 'pg_catalog'; -- fixtures/access/private/relation_grant.sql

comment on function private.relation_grant(role_id oid, relation_id oid, privilege text, columns text[]) is 'Returns whether a role holds a privilege on a table or on the named columns of it, through which role, and the columns that it lacks.';
revoke execute on function private.relation_grant(role_id oid, relation_id oid, privilege text, columns text[]) from public;

-- Returns a claimed answer without deltas, so that another server writes it; returns whether it was returned.
create or replace function private.release_answer(message_id uuid, claim_id uuid)
  returns boolean
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/llm/private/release_answer.sql

comment on function private.release_answer(message_id uuid, claim_id uuid) is 'Returns a claimed answer without deltas, so that another server writes it; returns whether it was returned.';
revoke execute on function private.release_answer(message_id uuid, claim_id uuid) from public;
grant execute on function private.release_answer(message_id uuid, claim_id uuid) to :PLINTH_SERVICE;

-- Releases all tokens of a hold; a released or expired hold stays unchanged. PL404 for an unknown hold, PL409 when it was settled.
create or replace function private.release_hold(hold_id uuid, at timestamp with time zone default now())
  returns billing.token_holds
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/billing/private/release_hold.sql

comment on function private.release_hold(hold_id uuid, at timestamp with time zone) is 'Releases all tokens of a hold; a released or expired hold stays unchanged. PL404 for an unknown hold, PL409 when it was settled.';
revoke execute on function private.release_hold(hold_id uuid, at timestamp with time zone) from public;
grant execute on function private.release_hold(hold_id uuid, at timestamp with time zone) to :PLINTH_SERVICE;

-- Releases the legal hold of an account; a deletion that waited goes on. PL404 if there is none.
create or replace function private.release_legal_hold(user_id uuid)
  returns uuid
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/security/private/release_legal_hold.sql

comment on function private.release_legal_hold(user_id uuid) is 'Releases the legal hold of an account; a deletion that waited goes on. PL404 if there is none.';
revoke execute on function private.release_legal_hold(user_id uuid) from public;

-- Returns the answer of a room, so that a server starts it again with the present context; returns false without the claim.
create or replace function private.release_room_answer(room_id uuid, claim_id uuid)
  returns boolean
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/rooms/private/release_room_answer.sql

comment on function private.release_room_answer(room_id uuid, claim_id uuid) is 'Returns the answer of a room, so that a server starts it again with the present context; returns false without the claim.';
revoke execute on function private.release_room_answer(room_id uuid, claim_id uuid) from public;
grant execute on function private.release_room_answer(room_id uuid, claim_id uuid) to :PLINTH_SERVICE;

-- Ends a membership and hands over the room or deletes an empty one; returns whether there was a membership.
create or replace function private.remove_from_room(room_id uuid, user_id uuid)
  returns boolean
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/rooms/private/remove_from_room.sql

comment on function private.remove_from_room(room_id uuid, user_id uuid) is 'Ends a membership and hands over the room or deletes an empty one; returns whether there was a membership.';
revoke execute on function private.remove_from_room(room_id uuid, user_id uuid) from public;

-- Moves a subscription into its next period by the event renewed or payment_succeeded and grants its tokens.
create or replace function private.renew_subscription(subscription_id uuid, event text, at timestamp with time zone)
  returns billing.user_subscriptions
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/billing/private/renew_subscription.sql

comment on function private.renew_subscription(subscription_id uuid, event text, at timestamp with time zone) is 'Moves a subscription into its next period by the event renewed or payment_succeeded and grants its tokens.';
revoke execute on function private.renew_subscription(subscription_id uuid, event text, at timestamp with time zone) from public;

-- Moves the month of an attached archive out of its log, to be archived again. PL404 for an unknown archive, PL409 for one that is not attached.
create or replace function private.reopen_archive(archive_id uuid)
  returns void
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/security/private/reopen_archive.sql

comment on function private.reopen_archive(archive_id uuid) is 'Moves the month of an attached archive out of its log, to be archived again. PL404 for an unknown archive, PL409 for one that is not attached.';
revoke execute on function private.reopen_archive(archive_id uuid) from public;

-- Reopens the grants of a subscription's current period that ended with the subscription.
create or replace function private.reopen_plan_grants(subscription_id uuid)
  returns void
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/billing/private/reopen_plan_grants.sql

comment on function private.reopen_plan_grants(subscription_id uuid) is 'Reopens the grants of a subscription''s current period that ended with the subscription.';
revoke execute on function private.reopen_plan_grants(subscription_id uuid) from public;

-- Registers the rewritten file of an archive and the numbers of rows erased from it. PL409 if another file is registered than the one that was read.
create or replace function private.replace_archive_file(archive_id uuid, old_sha256 text, file_name text, file_bytes bigint, sha256 text, row_count bigint, is_encrypted boolean, user_ids uuid[], rows_erased bigint[])
  returns void
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/security/private/replace_archive_file.sql

comment on function private.replace_archive_file(archive_id uuid, old_sha256 text, file_name text, file_bytes bigint, sha256 text, row_count bigint, is_encrypted boolean, user_ids uuid[], rows_erased bigint[]) is 'Registers the rewritten file of an archive and the numbers of rows erased from it. PL409 if another file is registered than the one that was read.';
revoke execute on function private.replace_archive_file(archive_id uuid, old_sha256 text, file_name text, file_bytes bigint, sha256 text, row_count bigint, is_encrypted boolean, user_ids uuid[], rows_erased bigint[]) from public;
grant execute on function private.replace_archive_file(archive_id uuid, old_sha256 text, file_name text, file_bytes bigint, sha256 text, row_count bigint, is_encrypted boolean, user_ids uuid[], rows_erased bigint[]) to :PLINTH_WORKER;

-- Replaces a hash by another one of the same password; returns false if the password was changed meanwhile.
create or replace function private.replace_password_hash(user_id uuid, old_password_hash text, new_password_hash text, new_hash_algorithm text)
  returns boolean
  language sql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/private/replace_password_hash.sql

comment on function private.replace_password_hash(user_id uuid, old_password_hash text, new_password_hash text, new_hash_algorithm text) is 'Replaces a hash by another one of the same password; returns false if the password was changed meanwhile.';
revoke execute on function private.replace_password_hash(user_id uuid, old_password_hash text, new_password_hash text, new_hash_algorithm text) from public;
grant execute on function private.replace_password_hash(user_id uuid, old_password_hash text, new_password_hash text, new_hash_algorithm text) to :PLINTH_SERVICE;

-- Turns on row-level security, grants privileges to users and replaces the policy of each command.
create or replace function private.replace_policies(target regclass, suffix text, grants text, condition text, subject text, whose text)
  returns void
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/plinth/private/replace_policies.sql

comment on function private.replace_policies(target regclass, suffix text, grants text, condition text, subject text, whose text) is 'Turns on row-level security, grants privileges to users and replaces the policy of each command.';
revoke execute on function private.replace_policies(target regclass, suffix text, grants text, condition text, subject text, whose text) from public;

-- Replaces a policy and its comment; for the helpers of an application's migrations.
create or replace function private.replace_policy(target regclass, policy text, command text, roles text, condition text, description text)
  returns void
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/plinth/private/replace_policy.sql

comment on function private.replace_policy(target regclass, policy text, command text, roles text, condition text, description text) is 'Replaces a policy and its comment; for the helpers of an application''s migrations.';
revoke execute on function private.replace_policy(target regclass, policy text, command text, roles text, condition text, description text) from public;

-- Audits a broken rule of security.suspicious_activity_rules: event suspicious_activity with the rule and its evidence.
create or replace function private.report_suspicious_activity(rule_name text, user_id uuid, event_data jsonb, severity text)
  returns void
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/security/private/report_suspicious_activity.sql

comment on function private.report_suspicious_activity(rule_name text, user_id uuid, event_data jsonb, severity text) is 'Audits a broken rule of security.suspicious_activity_rules: event suspicious_activity with the rule and its evidence.';
revoke execute on function private.report_suspicious_activity(rule_name text, user_id uuid, event_data jsonb, severity text) from public;

-- Corrects the billed usage of an ended answer to the model's count, for a day, whichever client wrote it. The same report again changes nothing. PL404 for an unknown turn, PL409 for one that has not ended or another report, PL422.
create or replace function private.report_turn_usage(message_id uuid, input_tokens bigint, output_tokens bigint, cached_input_tokens bigint default 0, reasoning_tokens bigint default 0)
  returns llm.messages
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/llm/private/report_turn_usage.sql

comment on function private.report_turn_usage(message_id uuid, input_tokens bigint, output_tokens bigint, cached_input_tokens bigint, reasoning_tokens bigint) is 'Corrects the billed usage of an ended answer to the model''s count, for a day, whichever client wrote it. The same report again changes nothing. PL404 for an unknown turn, PL409 for one that has not ended or another report, PL422.';
revoke execute on function private.report_turn_usage(message_id uuid, input_tokens bigint, output_tokens bigint, cached_input_tokens bigint, reasoning_tokens bigint) from public;
grant execute on function private.report_turn_usage(message_id uuid, input_tokens bigint, output_tokens bigint, cached_input_tokens bigint, reasoning_tokens bigint) to :PLINTH_SERVICE;

-- Returns the SHA-256 of the arguments of a request.
create or replace function private.request_digest(arguments jsonb)
  returns bytea
  language sql
  immutable
  set search_path to 'pg_catalog'; -- fixtures/plinth/private/request_digest.sql

comment on function private.request_digest(arguments jsonb) is 'Returns the SHA-256 of the arguments of a request.';
revoke execute on function private.request_digest(arguments jsonb) from public;

-- Queues a link to a new address; returns accepted (also for a taken one), refused, unchanged or too_many.
create or replace function private.request_email_change(user_id uuid, session_id uuid, password_matches boolean, checked_token_version integer, checked_password_hash text, new_email text, token_hash bytea, sealed_token text, hashed_email bytea default null::bytea)
  returns text
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/private/request_email_change.sql

comment on function private.request_email_change(user_id uuid, session_id uuid, password_matches boolean, checked_token_version integer, checked_password_hash text, new_email text, token_hash bytea, sealed_token text, hashed_email bytea) is 'Queues a link to a new address; returns accepted (also for a taken one), refused, unchanged or too_many.';
revoke execute on function private.request_email_change(user_id uuid, session_id uuid, password_matches boolean, checked_token_version integer, checked_password_hash text, new_email text, token_hash bytea, sealed_token text, hashed_email bytea) from public;
grant execute on function private.request_email_change(user_id uuid, session_id uuid, password_matches boolean, checked_token_version integer, checked_password_hash text, new_email text, token_hash bytea, sealed_token text, hashed_email bytea) to :PLINTH_SERVICE;

-- Queues a link that verifies the account's address; returns sent, no_address, already_verified or too_many.
create or replace function private.request_email_verification(user_id uuid, token_hash bytea, sealed_token text)
  returns text
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/private/request_email_verification.sql

comment on function private.request_email_verification(user_id uuid, token_hash bytea, sealed_token text) is 'Queues a link that verifies the account''s address; returns sent, no_address, already_verified or too_many.';
revoke execute on function private.request_email_verification(user_id uuid, token_hash bytea, sealed_token text) from public;
grant execute on function private.request_email_verification(user_id uuid, token_hash bytea, sealed_token text) to :PLINTH_SERVICE;

-- Queues a link to set a new password, if there is such an account with an address; returns nothing.
create or replace function private.request_password_reset(identifier text, token_hash bytea, sealed_token text)
  returns void
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/private/request_password_reset.sql

comment on function private.request_password_reset(identifier text, token_hash bytea, sealed_token text) is 'Queues a link to set a new password, if there is such an account with an address; returns nothing.';
revoke execute on function private.request_password_reset(identifier text, token_hash bytea, sealed_token text) from public;
grant execute on function private.request_password_reset(identifier text, token_hash bytea, sealed_token text) to :PLINTH_SERVICE;

-- Queues a code to a number; returns sent, too_many or refused.
create or replace function private.request_phone_verification(user_id uuid, phone_number text, code_hash text, sealed_code text)
  returns text
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/private/request_phone_verification.sql

comment on function private.request_phone_verification(user_id uuid, phone_number text, code_hash text, sealed_code text) is 'Queues a code to a number; returns sent, too_many or refused.';
revoke execute on function private.request_phone_verification(user_id uuid, phone_number text, code_hash text, sealed_code text) from public;
grant execute on function private.request_phone_verification(user_id uuid, phone_number text, code_hash text, sealed_code text) to :PLINTH_SERVICE;

-- Trigger: requests the cancellation of a deleted account's subscriptions at the payment provider.
create or replace function private.request_provider_cancellation()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/billing/triggers/provider_subscriptions.sql

comment on function private.request_provider_cancellation() is 'Trigger: requests the cancellation of a deleted account''s subscriptions at the payment provider.';
revoke execute on function private.request_provider_cancellation() from public;

-- Trigger: requests that the day is summed again that a payment leaves.
create or replace function private.request_roll_up_of_payment()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/billing/triggers/payments.sql

comment on function private.request_roll_up_of_payment() is 'Trigger: requests that the day is summed again that a payment leaves.';
revoke execute on function private.request_roll_up_of_payment() from public;

-- Raises PL403 unless the signed-in user has manage_users and every permission of the account.
create or replace function private.require_administration(user_id uuid)
  returns void
  language plpgsql
  stable
  set search_path to 'pg_catalog'; -- fixtures/access/private/require_administration.sql

comment on function private.require_administration(user_id uuid) is 'Raises PL403 unless the signed-in user has manage_users and every permission of the account.';
revoke execute on function private.require_administration(user_id uuid) from public;

-- Raises PL409 unless the policy of a log asks for this action for the month.
create or replace function private.require_due_month(log text, month date, action text)
  returns void
  language plpgsql
  stable
  set search_path to 'pg_catalog'; -- fixtures/security/private/require_due_month.sql

comment on function private.require_due_month(log text, month date, action text) is 'Raises PL409 unless the policy of a log asks for this action for the month.';
revoke execute on function private.require_due_month(log text, month date, action text) from public;

-- Raises PL401 or PL403 unless the signed-in user has read_operations, and PL422 for another number of days than 1 to 90.
create or replace function private.require_operations(days integer default 1)
  returns void
  language plpgsql
  stable
  set search_path to 'pg_catalog'; -- fixtures/security/private/require_operations.sql

comment on function private.require_operations(days integer) is 'Raises PL401 or PL403 unless the signed-in user has read_operations, and PL422 for another number of days than 1 to 90.';
revoke execute on function private.require_operations(days integer) from public;

-- Raises PL404 without a subscription, PL409 when a payment provider bills it.
create or replace function private.require_own_billing(subscription billing.user_subscriptions)
  returns void
  language plpgsql
  stable
  set search_path to 'pg_catalog'; -- fixtures/billing/private/require_own_billing.sql

comment on function private.require_own_billing(subscription billing.user_subscriptions) is 'Raises PL404 without a subscription, PL409 when a payment provider bills it.';
revoke execute on function private.require_own_billing(subscription billing.user_subscriptions) from public;

-- Requires that the signed-in user may use an own model and has set one. PL403, PL422.
create or replace function private.require_own_model(user_id uuid)
  returns void
  language plpgsql
  stable
  set search_path to 'pg_catalog'; -- fixtures/llm/private/require_own_model.sql

comment on function private.require_own_model(user_id uuid) is 'Requires that the signed-in user may use an own model and has set one. PL403, PL422.';
revoke execute on function private.require_own_model(user_id uuid) from public;

-- Raises PL403 with the hint "Confirm it is you with reauthenticate." unless the calling session was authenticated within 10 minutes.
create or replace function private.require_recent_authentication()
  returns void
  language plpgsql
  stable security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/private/require_recent_authentication.sql

comment on function private.require_recent_authentication() is 'Raises PL403 with the hint "Confirm it is you with reauthenticate." unless the calling session was authenticated within 10 minutes.';
revoke execute on function private.require_recent_authentication() from public;
grant execute on function private.require_recent_authentication() to :PLINTH_SERVICE;

-- Raises PL404 for a message that cannot be replied to.
create or replace function private.require_reply(room_id uuid, sender_id uuid, reply_to_id uuid, is_private boolean)
  returns void
  language plpgsql
  stable
  set search_path to 'pg_catalog'; -- fixtures/rooms/private/require_reply.sql

comment on function private.require_reply(room_id uuid, sender_id uuid, reply_to_id uuid, is_private boolean) is 'Raises PL404 for a message that cannot be replied to.';
revoke execute on function private.require_reply(room_id uuid, sender_id uuid, reply_to_id uuid, is_private boolean) from public;

-- Raises PL403 for a member who does not moderate the room; PL404 for a non-member.
create or replace function private.require_room_moderator(room_id uuid)
  returns void
  language plpgsql
  stable
  set search_path to 'pg_catalog'; -- fixtures/rooms/private/require_room_moderator.sql

comment on function private.require_room_moderator(room_id uuid) is 'Raises PL403 for a member who does not moderate the room; PL404 for a non-member.';
revoke execute on function private.require_room_moderator(room_id uuid) from public;

-- Raises PL422 when both plans cost something in different currencies.
create or replace function private.require_same_currency(old_plan billing.subscription_plans, new_plan billing.subscription_plans)
  returns void
  language plpgsql
  immutable
  set search_path to 'pg_catalog'; -- fixtures/billing/private/require_same_currency.sql

comment on function private.require_same_currency(old_plan billing.subscription_plans, new_plan billing.subscription_plans) is 'Raises PL422 when both plans cost something in different currencies.';
revoke execute on function private.require_same_currency(old_plan billing.subscription_plans, new_plan billing.subscription_plans) from public;

-- Raises PL403 unless the signed-in user has manage_subscriptions.
create or replace function private.require_subscription_manager()
  returns void
  language plpgsql
  stable
  set search_path to 'pg_catalog'; -- fixtures/billing/private/require_subscription_manager.sql

comment on function private.require_subscription_manager() is 'Raises PL403 unless the signed-in user has manage_subscriptions.';
revoke execute on function private.require_subscription_manager() from public;

-- Returns the signed-in user's id; PL401 if no user is signed in.
create or replace function private.require_user_id()
  returns uuid
  language plpgsql
  stable parallel safe
  set search_path to 'pg_catalog'; -- fixtures/plinth/private/require_user_id.sql

comment on function private.require_user_id() is 'Returns the signed-in user''s id; PL401 if no user is signed in.';
revoke execute on function private.require_user_id() from public;

-- Reserves tokens for a call; the same key again returns the same hold. PL402 when grants or hard limits do not cover it, PL409 for a key used for another request, PL404 for an unknown user and for a model that the user may not use.
create or replace function private.reserve_tokens(user_id uuid, model_id uuid, max_tokens bigint, idempotency_key text, ttl interval default '00:05:00'::interval, at timestamp with time zone default now())
  returns billing.token_holds
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
  set plan_cache_mode to 'force_generic_plan'; -- fixtures/billing/private/reserve_tokens.sql

comment on function private.reserve_tokens(user_id uuid, model_id uuid, max_tokens bigint, idempotency_key text, ttl interval, at timestamp with time zone) is 'Reserves tokens for a call; the same key again returns the same hold. PL402 when grants or hard limits do not cover it, PL409 for a key used for another request, PL404 for an unknown user and for a model that the user may not use.';
revoke execute on function private.reserve_tokens(user_id uuid, model_id uuid, max_tokens bigint, idempotency_key text, ttl interval, at timestamp with time zone) from public;
grant execute on function private.reserve_tokens(user_id uuid, model_id uuid, max_tokens bigint, idempotency_key text, ttl interval, at timestamp with time zone) to :PLINTH_SERVICE;

-- Sets a password with a single-use token and ends all sessions; returns false for an invalid token.
create or replace function private.reset_password(token_hash bytea, new_password_hash text, new_hash_algorithm text, suffices_alone boolean, history_length integer)
  returns boolean
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/private/reset_password.sql

comment on function private.reset_password(token_hash bytea, new_password_hash text, new_hash_algorithm text, suffices_alone boolean, history_length integer) is 'Sets a password with a single-use token and ends all sessions; returns false for an invalid token.';
revoke execute on function private.reset_password(token_hash bytea, new_password_hash text, new_hash_algorithm text, suffices_alone boolean, history_length integer) from public;
grant execute on function private.reset_password(token_hash bytea, new_password_hash text, new_hash_algorithm text, suffices_alone boolean, history_length integer) to :PLINTH_SERVICE;

-- Starts the month in up to batch_size rows of usage_tracking that are in an earlier one; returns their number.
create or replace function private.reset_usage_tracking(batch_size integer default 1000, at timestamp with time zone default now())
  returns integer
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/billing/private/reset_usage_tracking.sql

comment on function private.reset_usage_tracking(batch_size integer, at timestamp with time zone) is 'Starts the month in up to batch_size rows of usage_tracking that are in an earlier one; returns their number.';
revoke execute on function private.reset_usage_tracking(batch_size integer, at timestamp with time zone) from public;
grant execute on function private.reset_usage_tracking(batch_size integer, at timestamp with time zone) to :PLINTH_WORKER;

-- Retires the ended grants of up to batch_size users; returns the number of users.
create or replace function private.retire_token_grants(batch_size integer default 1000, at timestamp with time zone default now())
  returns integer
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/billing/private/retire_token_grants.sql

comment on function private.retire_token_grants(batch_size integer, at timestamp with time zone) is 'Retires the ended grants of up to batch_size users; returns the number of users.';
revoke execute on function private.retire_token_grants(batch_size integer, at timestamp with time zone) from public;
grant execute on function private.retire_token_grants(batch_size integer, at timestamp with time zone) to :PLINTH_WORKER;

-- Trigger: notifies the servers of an API token that was revoked or deleted.
create or replace function private.revoke_api_token()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/triggers/api_tokens.sql

comment on function private.revoke_api_token() is 'Trigger: notifies the servers of an API token that was revoked or deleted.';
revoke execute on function private.revoke_api_token() from public;

-- Trigger: revokes a user's API tokens when token_version grows.
create or replace function private.revoke_api_tokens_of_user()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/triggers/users.sql

comment on function private.revoke_api_tokens_of_user() is 'Trigger: revokes a user''s API tokens when token_version grows.';
revoke execute on function private.revoke_api_tokens_of_user() from public;

-- Trigger: revokes the access tokens of a session that ended or was deleted.
create or replace function private.revoke_session_tokens()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/triggers/user_sessions.sql

comment on function private.revoke_session_tokens() is 'Trigger: revokes the access tokens of a session that ended or was deleted.';
revoke execute on function private.revoke_session_tokens() from public;

-- Trigger: revokes a user's access tokens when token_version grows or the account is disabled or deleted.
create or replace function private.revoke_user_tokens()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/triggers/users.sql

comment on function private.revoke_user_tokens() is 'Trigger: revokes a user''s access tokens when token_version grows or the account is disabled or deleted.';
revoke execute on function private.revoke_user_tokens() from public;

-- Sums a day's activity by account into private.account_days, and notes each account's first message.
create or replace function private.roll_up_activity(day date, day_start timestamp with time zone, day_end timestamp with time zone)
  returns void
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/analytics/private/roll_up_activity.sql

comment on function private.roll_up_activity(day date, day_start timestamp with time zone, day_end timestamp with time zone) is 'Sums a day''s activity by account into private.account_days, and notes each account''s first message.';
revoke execute on function private.roll_up_activity(day date, day_start timestamp with time zone, day_end timestamp with time zone) from public;

-- Sums the newest day that waits for it, and returns it; null if no day waits. A repeated call changes nothing.
create or replace function private.roll_up_day()
  returns date
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
  set "TimeZone" to 'UTC'; -- fixtures/analytics/private/roll_up_day.sql

comment on function private.roll_up_day() is 'Sums the newest day that waits for it, and returns it; null if no day waits. A repeated call changes nothing.';
revoke execute on function private.roll_up_day() from public;
grant execute on function private.roll_up_day() to :PLINTH_WORKER;

-- Sums a day's payments by plan and currency into private.revenue_days, and notes each account's first payment.
create or replace function private.roll_up_revenue(day date)
  returns void
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/analytics/private/roll_up_revenue.sql

comment on function private.roll_up_revenue(day date) is 'Sums a day''s payments by plan and currency into private.revenue_days, and notes each account''s first payment.';
revoke execute on function private.roll_up_revenue(day date) from public;

-- Sums a day's sign-in attempts by status into private.sign_in_days.
create or replace function private.roll_up_sign_ins(day date, day_start timestamp with time zone, day_end timestamp with time zone)
  returns void
  language sql
  set search_path to 'pg_catalog'; -- fixtures/analytics/private/roll_up_sign_ins.sql

comment on function private.roll_up_sign_ins(day date, day_start timestamp with time zone, day_end timestamp with time zone) is 'Sums a day''s sign-in attempts by status into private.sign_in_days.';
revoke execute on function private.roll_up_sign_ins(day date, day_start timestamp with time zone, day_end timestamp with time zone) from public;

-- Copies a day of billing.daily_usage into private.account_usage_days, with the plan that each account had.
create or replace function private.roll_up_usage(day date, day_end timestamp with time zone)
  returns void
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/analytics/private/roll_up_usage.sql

comment on function private.roll_up_usage(day date, day_end timestamp with time zone) is 'Copies a day of billing.daily_usage into private.account_usage_days, with the plan that each account had.';
revoke execute on function private.roll_up_usage(day date, day_end timestamp with time zone) from public;

-- Runs rooms.room_context for the service, which acts for the AI of any room.
create or replace function private.room_context(room_id uuid, max_count integer default 50, audience_id uuid default null::uuid)
  returns table(message_id uuid, sequence bigint, sender_id uuid, sender_type text, sender_name text, reply_to_id uuid, content text, created_at timestamp with time zone, audience_version bigint)
  language plpgsql
  stable security definer
  set search_path to 'pg_catalog'; -- fixtures/rooms/private/room_context.sql

comment on function private.room_context(room_id uuid, max_count integer, audience_id uuid) is 'Runs rooms.room_context for the service, which acts for the AI of any room.';
revoke execute on function private.room_context(room_id uuid, max_count integer, audience_id uuid) from public;
grant execute on function private.room_context(room_id uuid, max_count integer, audience_id uuid) to :PLINTH_SERVICE;

-- Returns rooms with an AI member in which a member wrote after its last answer, and the last such message; longest waiting first.
create or replace function private.rooms_to_answer(room_id uuid default null::uuid, max_count integer default 100)
  returns table(room_id uuid, message_id uuid)
  language sql
  stable security definer
  set search_path to 'pg_catalog'; -- fixtures/rooms/private/rooms_to_answer.sql

comment on function private.rooms_to_answer(room_id uuid, max_count integer) is 'Returns rooms with an AI member in which a member wrote after its last answer, and the last such message; longest waiting first.';
revoke execute on function private.rooms_to_answer(room_id uuid, max_count integer) from public;
grant execute on function private.rooms_to_answer(room_id uuid, max_count integer) to :PLINTH_SERVICE;

-- Exchanges a refresh token for its successor; returns rotated, replayed (same successor again) or refused.
create or replace function private.rotate_refresh_token(presented_hash bytea, successor_hash bytea, successor_sealed bytea)
  returns table(outcome text, user_id uuid, session_id uuid, token_version integer, sealed bytea, refresh_expires_at timestamp with time zone)
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
  set plan_cache_mode to 'force_generic_plan'; -- fixtures/identity/private/rotate_refresh_token.sql

comment on function private.rotate_refresh_token(presented_hash bytea, successor_hash bytea, successor_sealed bytea) is 'Exchanges a refresh token for its successor; returns rotated, replayed (same successor again) or refused.';
revoke execute on function private.rotate_refresh_token(presented_hash bytea, successor_hash bytea, successor_sealed bytea) from public;
grant execute on function private.rotate_refresh_token(presented_hash bytea, successor_hash bytea, successor_sealed bytea) to :PLINTH_SERVICE;

-- Returns the numbers of rows that the transaction deleted and updated so far, by table, less those of an earlier call.
create or replace function private.row_changes(since jsonb default '{}'::jsonb)
  returns jsonb
  language sql
  set search_path to 'pg_catalog'; -- fixtures/security/private/row_changes.sql

comment on function private.row_changes(since jsonb) is 'Returns the numbers of rows that the transaction deleted and updated so far, by table, less those of an earlier call.';
revoke execute on function private.row_changes(since jsonb) from public;

-- Returns a FROM clause of one row of a table, made of the texts in the parameter $1.
create or replace function private.row_source(relation_id oid, columns name[])
  returns text
  language sql
  stable
  set search_path to 'pg_catalog'; -- fixtures/access/private/row_source.sql

comment on function private.row_source(relation_id oid, columns name[]) is 'Returns a FROM clause of one row of a table, made of the texts in the parameter $1.';
revoke execute on function private.row_source(relation_id oid, columns name[]) from public;

-- Creates or updates a user's account at a provider with its sealed tokens; returns the profile's id.
create or replace function private.save_provider_profile(user_id uuid, provider text, provider_user_id text, email text, email_verified boolean, user_info jsonb, access_token_sealed text, refresh_token_sealed text, token_expires_at timestamp with time zone, last_used_at timestamp with time zone)
  returns uuid
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/identity/private/save_provider_profile.sql

comment on function private.save_provider_profile(user_id uuid, provider text, provider_user_id text, email text, email_verified boolean, user_info jsonb, access_token_sealed text, refresh_token_sealed text, token_expires_at timestamp with time zone, last_used_at timestamp with time zone) is 'Creates or updates a user''s account at a provider with its sealed tokens; returns the profile''s id.';
revoke execute on function private.save_provider_profile(user_id uuid, provider text, provider_user_id text, email text, email_verified boolean, user_info jsonb, access_token_sealed text, refresh_token_sealed text, token_expires_at timestamp with time zone, last_used_at timestamp with time zone) from public;

-- Runs billing.change_plan for a user as of a time.
create or replace function private.schedule_plan_at(user_id uuid, plan_id uuid, at timestamp with time zone)
  returns billing.user_subscriptions
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/billing/private/schedule_plan_at.sql

comment on function private.schedule_plan_at(user_id uuid, plan_id uuid, at timestamp with time zone) is 'Runs billing.change_plan for a user as of a time.';
revoke execute on function private.schedule_plan_at(user_id uuid, plan_id uuid, at timestamp with time zone) from public;

-- Returns whether a role may use a schema, and through which role.
create or replace function private.schema_grant(role_id oid, schema_id oid)
  returns access.explained_grant
  language sql
  stable
  set search_path to 'pg_catalog'; -- fixtures/access/private/schema_grant.sql

comment on function private.schema_grant(role_id oid, schema_id oid) is 'Returns whether a role may use a schema, and through which role.';
revoke execute on function private.schema_grant(role_id oid, schema_id oid) from public;

-- Returns a user's memories with any of these hashed words, all of the second list and none of the third, best first.
create or replace function private.search_memories(user_id uuid, any_of text[], all_of text[], none_of text[], max_count integer)
  returns table(memory_id uuid, rank double precision)
  language sql
  stable security definer
  set search_path to 'pg_catalog'; -- fixtures/llm/private/search_memories.sql

comment on function private.search_memories(user_id uuid, any_of text[], all_of text[], none_of text[], max_count integer) is 'Returns a user''s memories with any of these hashed words, all of the second list and none of the third, best first.';
revoke execute on function private.search_memories(user_id uuid, any_of text[], all_of text[], none_of text[], max_count integer) from public;
grant execute on function private.search_memories(user_id uuid, any_of text[], all_of text[], none_of text[], max_count integer) to :PLINTH_SERVICE;

-- Returns the second factors of an account: passkey, totp, recovery_code; empty without a confirmed factor.
create or replace function private.second_factors(user_id uuid)
  returns text[]
  language sql
  stable
  set search_path to 'pg_catalog'; -- fixtures/identity/private/second_factors.sql

comment on function private.second_factors(user_id uuid) is 'Returns the second factors of an account: passkey, totp, recovery_code; empty without a confirmed factor.';
revoke execute on function private.second_factors(user_id uuid) from public;

-- Returns whether a user may see a message of a room.
create or replace function private.sees_message(message_id uuid, user_id uuid)
  returns boolean
  language sql
  stable
  set search_path to 'pg_catalog'; -- fixtures/rooms/private/sees_message.sql

comment on function private.sees_message(message_id uuid, user_id uuid) is 'Returns whether a user may see a message of a room.';
revoke execute on function private.sees_message(message_id uuid, user_id uuid) from public;

-- Returns whether a user may see a room: as a member, by an invite, or because it is public.
create or replace function private.sees_room(room_id uuid, user_id uuid)
  returns boolean
  language sql
  stable
  set search_path to 'pg_catalog'; -- fixtures/rooms/private/sees_room.sql

comment on function private.sees_room(room_id uuid, user_id uuid) is 'Returns whether a user may see a room: as a member, by an invite, or because it is public.';
revoke execute on function private.sees_room(room_id uuid, user_id uuid) from public;

-- Stores a verification of an address and queues its link; without a token it only stores.
create or replace function private.send_email_verification(user_id uuid, address text, token_hash bytea, sealed_token text)
  returns void
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/identity/private/send_email_verification.sql

comment on function private.send_email_verification(user_id uuid, address text, token_hash bytea, sealed_token text) is 'Stores a verification of an address and queues its link; without a token it only stores.';
revoke execute on function private.send_email_verification(user_id uuid, address text, token_hash bytea, sealed_token text) from public;

-- Returns whether the session of the signed-in user passed a second factor.
create or replace function private.session_has_second_factor()
  returns boolean
  language plpgsql
  stable parallel safe
  set search_path to 'pg_catalog'; -- fixtures/access/private/session_has_second_factor.sql

comment on function private.session_has_second_factor() is 'Returns whether the session of the signed-in user passed a second factor.';
revoke execute on function private.session_has_second_factor() from public;

-- Returns how long a user's sessions may stay idle: session_timeout_minutes, or 30 days.
create or replace function private.session_idle_limit(user_id uuid)
  returns interval
  language sql
  stable
  set search_path to 'pg_catalog'; -- fixtures/identity/private/session_idle_limit.sql

comment on function private.session_idle_limit(user_id uuid) is 'Returns how long a user''s sessions may stay idle: session_timeout_minutes, or 30 days.';
revoke execute on function private.session_idle_limit(user_id uuid) from public;

-- Runs billing.cancel_subscription or billing.resume_subscription for a user as of a time.
create or replace function private.set_cancellation_at(user_id uuid, cancel boolean, at timestamp with time zone)
  returns billing.user_subscriptions
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/billing/private/set_cancellation_at.sql

comment on function private.set_cancellation_at(user_id uuid, cancel boolean, at timestamp with time zone) is 'Runs billing.cancel_subscription or billing.resume_subscription for a user as of a time.';
revoke execute on function private.set_cancellation_at(user_id uuid, cancel boolean, at timestamp with time zone) from public;

-- Writes a user's encrypted memory; no row when the key was deleted. PL409 when its version is not the expected one (0: no memory yet).
create or replace function private.set_conversation_memory(user_id uuid, key_id uuid, memory text, expected_version bigint default null::bigint)
  returns table(version bigint, created_at timestamp with time zone, updated_at timestamp with time zone)
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/llm/private/set_conversation_memory.sql

comment on function private.set_conversation_memory(user_id uuid, key_id uuid, memory text, expected_version bigint) is 'Writes a user''s encrypted memory; no row when the key was deleted. PL409 when its version is not the expected one (0: no memory yet).';
revoke execute on function private.set_conversation_memory(user_id uuid, key_id uuid, memory text, expected_version bigint) from public;
grant execute on function private.set_conversation_memory(user_id uuid, key_id uuid, memory text, expected_version bigint) to :PLINTH_SERVICE;

-- Stores the sealed key of the signed-in user's own model, or deletes it (null); returns whether there was something to do. PL403 without use_own_model.
create or replace function private.set_own_model_key(sealed_key text)
  returns boolean
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/llm/private/set_own_model_key.sql

comment on function private.set_own_model_key(sealed_key text) is 'Stores the sealed key of the signed-in user''s own model, or deletes it (null); returns whether there was something to do. PL403 without use_own_model.';
revoke execute on function private.set_own_model_key(sealed_key text) from public;
grant execute on function private.set_own_model_key(sealed_key text) to :PLINTH_SERVICE;

-- Stores a password, keeps the last history_length - 1 before it, and ends links that were sent under the old one.
create or replace function private.set_password(user_id uuid, password_hash text, hash_algorithm text, suffices_alone boolean, history_length integer)
  returns void
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/identity/private/set_password.sql

comment on function private.set_password(user_id uuid, password_hash text, hash_algorithm text, suffices_alone boolean, history_length integer) is 'Stores a password, keeps the last history_length - 1 before it, and ends links that were sent under the old one.';
revoke execute on function private.set_password(user_id uuid, password_hash text, hash_algorithm text, suffices_alone boolean, history_length integer) from public;

-- Stores the sealed key of a provider, or deletes it (null); returns whether there was something to do. PL404 for an unknown provider and for callers without manage_models.
create or replace function private.set_provider_key(provider_id uuid, sealed_key text)
  returns boolean
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/llm/private/set_provider_key.sql

comment on function private.set_provider_key(provider_id uuid, sealed_key text) is 'Stores the sealed key of a provider, or deletes it (null); returns whether there was something to do. PL404 for an unknown provider and for callers without manage_models.';
revoke execute on function private.set_provider_key(provider_id uuid, sealed_key text) from public;
grant execute on function private.set_provider_key(provider_id uuid, sealed_key text) to :PLINTH_SERVICE;

-- Sets or (null) removes the password of a room that the signed-in user moderates. PL403, PL404.
create or replace function private.set_room_password(room_id uuid, password_hash text)
  returns void
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/rooms/private/set_room_password.sql

comment on function private.set_room_password(room_id uuid, password_hash text) is 'Sets or (null) removes the password of a room that the signed-in user moderates. PL403, PL404.';
revoke execute on function private.set_room_password(room_id uuid, password_hash text) from public;
grant execute on function private.set_room_password(room_id uuid, password_hash text) to :PLINTH_SERVICE;

-- Records and charges the usage of a call; the same call again returns the same event. PL404 for an unknown hold or message, PL409 for a hold that was released or settled with other token counts.
create or replace function private.settle_hold(hold_id uuid, input_tokens bigint, output_tokens bigint, cached_input_tokens bigint default 0, reasoning_tokens bigint default 0, occurred_at timestamp with time zone default null::timestamp with time zone, message_id uuid default null::uuid, at timestamp with time zone default now())
  returns billing.usage_events
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
  set plan_cache_mode to 'force_generic_plan'; -- fixtures/billing/private/settle_hold.sql

comment on function private.settle_hold(hold_id uuid, input_tokens bigint, output_tokens bigint, cached_input_tokens bigint, reasoning_tokens bigint, occurred_at timestamp with time zone, message_id uuid, at timestamp with time zone) is 'Records and charges the usage of a call; the same call again returns the same event. PL404 for an unknown hold or message, PL409 for a hold that was released or settled with other token counts.';
revoke execute on function private.settle_hold(hold_id uuid, input_tokens bigint, output_tokens bigint, cached_input_tokens bigint, reasoning_tokens bigint, occurred_at timestamp with time zone, message_id uuid, at timestamp with time zone) from public;
grant execute on function private.settle_hold(hold_id uuid, input_tokens bigint, output_tokens bigint, cached_input_tokens bigint, reasoning_tokens bigint, occurred_at timestamp with time zone, message_id uuid, at timestamp with time zone) to :PLINTH_SERVICE;

-- Tries to apply an event and stores the outcome: done, or the time of the next attempt.
create or replace function private.settle_payment_event(event private.payment_events)
  returns text
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/billing/private/settle_payment_event.sql

comment on function private.settle_payment_event(event private.payment_events) is 'Tries to apply an event and stores the outcome: done, or the time of the next attempt.';
revoke execute on function private.settle_payment_event(event private.payment_events) from public;

-- Stores the signature of a certificate, once.
create or replace function private.sign_certificate(id uuid, signature text)
  returns void
  language sql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/security/private/sign_certificate.sql

comment on function private.sign_certificate(id uuid, signature text) is 'Stores the signature of a certificate, once.';
revoke execute on function private.sign_certificate(id uuid, signature text) from public;
grant execute on function private.sign_certificate(id uuid, signature text) to :PLINTH_WORKER;

-- Returns the value of a smart tag, such as @dataExport, in the comment of a table or column; null without the tag.
create or replace function private.smart_tag(comment text, tag text)
  returns text
  language sql
  immutable
  set search_path to 'pg_catalog'; -- fixtures/identity/private/smart_tag.sql

comment on function private.smart_tag(comment text, tag text) is 'Returns the value of a smart tag, such as @dataExport, in the comment of a table or column; null without the tag.';
revoke execute on function private.smart_tag(comment text, tag text) from public;

-- Stores the challenge of a passkey with its purpose and account.
create or replace function private.start_passkey_ceremony(challenge bytea, purpose text, user_id uuid)
  returns void
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/identity/private/start_passkey_ceremony.sql

comment on function private.start_passkey_ceremony(challenge bytea, purpose text, user_id uuid) is 'Stores the challenge of a passkey with its purpose and account.';
revoke execute on function private.start_passkey_ceremony(challenge bytea, purpose text, user_id uuid) from public;

-- Starts a confirmation of the calling user with a passkey; returns the passkeys to choose from.
create or replace function private.start_passkey_reauthentication(challenge bytea)
  returns jsonb
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/private/start_passkey_reauthentication.sql

comment on function private.start_passkey_reauthentication(challenge bytea) is 'Starts a confirmation of the calling user with a passkey; returns the passkeys to choose from.';
revoke execute on function private.start_passkey_reauthentication(challenge bytea) from public;
grant execute on function private.start_passkey_reauthentication(challenge bytea) to :PLINTH_SERVICE;

-- Starts the registration of a passkey for the calling user. Needs a recent sign-in (PL403); PL409 when there are too many.
create or replace function private.start_passkey_registration(challenge bytea)
  returns table(user_id uuid, username text, passkeys jsonb)
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/private/start_passkey_registration.sql

comment on function private.start_passkey_registration(challenge bytea) is 'Starts the registration of a passkey for the calling user. Needs a recent sign-in (PL403); PL409 when there are too many.';
revoke execute on function private.start_passkey_registration(challenge bytea) from public;
grant execute on function private.start_passkey_registration(challenge bytea) to :PLINTH_SERVICE;

-- Starts a sign-in with a passkey, alone or as second factor; returns the passkeys to choose from, null when the challenge is not live.
create or replace function private.start_passkey_sign_in(challenge bytea, token_hash bytea default null::bytea)
  returns jsonb
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/private/start_passkey_sign_in.sql

comment on function private.start_passkey_sign_in(challenge bytea, token_hash bytea) is 'Starts a sign-in with a passkey, alone or as second factor; returns the passkeys to choose from, null when the challenge is not live.';
revoke execute on function private.start_passkey_sign_in(challenge bytea, token_hash bytea) from public;
grant execute on function private.start_passkey_sign_in(challenge bytea, token_hash bytea) to :PLINTH_SERVICE;

-- Starts a sign-in or link at a provider; returns the time by which it must be finished. PL401 for a link without a session.
create or replace function private.start_provider_flow(provider text, purpose text, flow_hash bytea, state_hash bytea, redirect_uri text, secrets_sealed text, device_name text default null::text)
  returns timestamp with time zone
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/private/start_provider_flow.sql

comment on function private.start_provider_flow(provider text, purpose text, flow_hash bytea, state_hash bytea, redirect_uri text, secrets_sealed text, device_name text) is 'Starts a sign-in or link at a provider; returns the time by which it must be finished. PL401 for a link without a session.';
revoke execute on function private.start_provider_flow(provider text, purpose text, flow_hash bytea, state_hash bytea, redirect_uri text, secrets_sealed text, device_name text) from public;
grant execute on function private.start_provider_flow(provider text, purpose text, flow_hash bytea, state_hash bytea, redirect_uri text, secrets_sealed text, device_name text) to :PLINTH_SERVICE;

-- Starts a subscription, on trial or active, and grants its first tokens; 23505 when the user has a current one.
create or replace function private.start_subscription(user_id uuid, plan_id uuid, trial boolean, at timestamp with time zone)
  returns billing.user_subscriptions
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/billing/private/start_subscription.sql

comment on function private.start_subscription(user_id uuid, plan_id uuid, trial boolean, at timestamp with time zone) is 'Starts a subscription, on trial or active, and grants its first tokens; 23505 when the user has a current one.';
revoke execute on function private.start_subscription(user_id uuid, plan_id uuid, trial boolean, at timestamp with time zone) from public;

-- Adds an unconfirmed authenticator app for the calling user. Needs a recent sign-in (PL403); PL409 when there are too many.
create or replace function private.start_totp(name text, sealed_secret text)
  returns table(factor_id uuid, username text)
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/private/start_totp.sql

comment on function private.start_totp(name text, sealed_secret text) is 'Adds an unconfirmed authenticator app for the calling user. Needs a recent sign-in (PL403); PL409 when there are too many.';
revoke execute on function private.start_totp(name text, sealed_secret text) from public;
grant execute on function private.start_totp(name text, sealed_secret text) to :PLINTH_SERVICE;

-- Starts an answer that the service writes, after parent_id or at the end of the active path; see private.open_turn.
create or replace function private.start_turn(user_id uuid, chat_id uuid, model_id uuid, parent_id uuid default null::uuid, max_tokens bigint default 4096, input_tokens bigint default 0, idempotency_key text default null::text, lease_seconds integer default 60)
  returns llm.messages
  language sql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/llm/private/start_turn.sql

comment on function private.start_turn(user_id uuid, chat_id uuid, model_id uuid, parent_id uuid, max_tokens bigint, input_tokens bigint, idempotency_key text, lease_seconds integer) is 'Starts an answer that the service writes, after parent_id or at the end of the active path; see private.open_turn.';
revoke execute on function private.start_turn(user_id uuid, chat_id uuid, model_id uuid, parent_id uuid, max_tokens bigint, input_tokens bigint, idempotency_key text, lease_seconds integer) from public;
grant execute on function private.start_turn(user_id uuid, chat_id uuid, model_id uuid, parent_id uuid, max_tokens bigint, input_tokens bigint, idempotency_key text, lease_seconds integer) to :PLINTH_SERVICE;

-- Stores a sealed key unless there is one; returns the stored key, which may be another server's.
create or replace function private.store_lookup_key(name text, sealed_key text)
  returns text
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/private/store_lookup_key.sql

comment on function private.store_lookup_key(name text, sealed_key text) is 'Stores a sealed key unless there is one; returns the stored key, which may be another server''s.';
revoke execute on function private.store_lookup_key(name text, sealed_key text) from public;
grant execute on function private.store_lookup_key(name text, sealed_key text) to :PLINTH_SERVICE;

-- Replaces the account's recovery codes; the old codes become invalid.
create or replace function private.store_recovery_codes(user_id uuid, code_hashes bytea[])
  returns void
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/identity/private/store_recovery_codes.sql

comment on function private.store_recovery_codes(user_id uuid, code_hashes bytea[]) is 'Replaces the account''s recovery codes; the old codes become invalid.';
revoke execute on function private.store_recovery_codes(user_id uuid, code_hashes bytea[]) from public;

-- Stores a sealed key for a user who has none for the purpose; returns the stored key, which may be another server's.
create or replace function private.store_user_key(user_id uuid, new_wrapped_key text, purpose text default 'conversation memory'::text)
  returns table(key_id uuid, wrapped_key text)
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/private/store_user_key.sql

comment on function private.store_user_key(user_id uuid, new_wrapped_key text, purpose text) is 'Stores a sealed key for a user who has none for the purpose; returns the stored key, which may be another server''s.';
revoke execute on function private.store_user_key(user_id uuid, new_wrapped_key text, purpose text) from public;
grant execute on function private.store_user_key(user_id uuid, new_wrapped_key text, purpose text) to :PLINTH_SERVICE;

-- Runs billing.subscribe for a user as of a time.
create or replace function private.subscribe_at(user_id uuid, plan_id uuid, at timestamp with time zone)
  returns billing.user_subscriptions
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/billing/private/subscribe_at.sql

comment on function private.subscribe_at(user_id uuid, plan_id uuid, at timestamp with time zone) is 'Runs billing.subscribe for a user as of a time.';
revoke execute on function private.subscribe_at(user_id uuid, plan_id uuid, at timestamp with time zone) from public;

-- Returns the first moment of the period around a moment, and of the next; null for lifetime. Counted in months from the anchor, in UTC.
create or replace function private.subscription_period(billing_cycle text, anchor_at timestamp with time zone, at timestamp with time zone)
  returns table(period_start timestamp with time zone, period_end timestamp with time zone)
  language plpgsql
  immutable
  set search_path to 'pg_catalog'; -- fixtures/billing/private/subscription_period.sql

comment on function private.subscription_period(billing_cycle text, anchor_at timestamp with time zone, at timestamp with time zone) is 'Returns the first moment of the period around a moment, and of the next; null for lifetime. Counted in months from the anchor, in UTC.';
revoke execute on function private.subscription_period(billing_cycle text, anchor_at timestamp with time zone, at timestamp with time zone) from public;

-- Returns subjects that break an enabled rule of security.suspicious_activity_rules in its window that ends at a time.
create or replace function private.suspicious_subjects(at timestamp with time zone)
  returns table(rule_name text, severity text, threshold integer, window_length interval, subject text, user_id uuid, observed bigint, evidence jsonb)
  language sql
  stable
  set search_path to 'pg_catalog'; -- fixtures/security/private/suspicious_subjects.sql

comment on function private.suspicious_subjects(at timestamp with time zone) is 'Returns subjects that break an enabled rule of security.suspicious_activity_rules in its window that ends at a time.';
revoke execute on function private.suspicious_subjects(at timestamp with time zone) from public;

-- Returns what is wrong in a state that private.operational_state() returned, and what to do, critical findings first.
create or replace function private.system_findings(state jsonb)
  returns setof security.system_finding
  language sql
  stable rows 5
  set search_path to 'pg_catalog'; -- fixtures/security/private/system_findings.sql

comment on function private.system_findings(state jsonb) is 'Returns what is wrong in a state that private.operational_state() returned, and what to do, critical findings first.';
revoke execute on function private.system_findings(state jsonb) from public;

-- Returns what decides on an operation on a row of a table: grants, policies, and the columns of the row that the policies read.
create or replace function private.table_access_case(role_id oid, relation_id oid, operation text, key jsonb, new_values jsonb, returns_row boolean)
  returns jsonb
  language plpgsql
  stable
  set search_path to 'pg_catalog'; -- fixtures/access/private/table_access_case.sql

comment on function private.table_access_case(role_id oid, relation_id oid, operation text, key jsonb, new_values jsonb, returns_row boolean) is 'Returns what decides on an operation on a row of a table: grants, policies, and the columns of the row that the policies read.';
revoke execute on function private.table_access_case(role_id oid, relation_id oid, operation text, key jsonb, new_values jsonb, returns_row boolean) from public;

-- Leases up to batch_size due emails to the caller, which sends them and calls private.finish_email for each.
create or replace function private.take_emails(batch_size integer, lease interval default '00:02:00'::interval)
  returns table(id uuid, channel text, to_address text, template text, variables jsonb, created_at timestamp with time zone)
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/private/take_emails.sql

comment on function private.take_emails(batch_size integer, lease interval) is 'Leases up to batch_size due emails to the caller, which sends them and calls private.finish_email for each.';
revoke execute on function private.take_emails(batch_size integer, lease interval) from public;
grant execute on function private.take_emails(batch_size integer, lease interval) to :PLINTH_WORKER;

-- Returns whether this challenge is open for this purpose and account, and closes it.
create or replace function private.take_passkey_challenge(challenge bytea, purpose text, user_id uuid)
  returns boolean
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/private/take_passkey_challenge.sql

comment on function private.take_passkey_challenge(challenge bytea, purpose text, user_id uuid) is 'Returns whether this challenge is open for this purpose and account, and closes it.';
revoke execute on function private.take_passkey_challenge(challenge bytea, purpose text, user_id uuid) from public;
grant execute on function private.take_passkey_challenge(challenge bytea, purpose text, user_id uuid) to :PLINTH_SERVICE;

-- Counts an attempt at the account's live code and returns its hash; no row without a live code or after five attempts.
create or replace function private.take_phone_attempt(user_id uuid)
  returns table(verification_id uuid, code_hash text)
  language sql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/private/take_phone_attempt.sql

comment on function private.take_phone_attempt(user_id uuid) is 'Counts an attempt at the account''s live code and returns its hash; no row without a live code or after five attempts.';
revoke execute on function private.take_phone_attempt(user_id uuid) from public;
grant execute on function private.take_phone_attempt(user_id uuid) to :PLINTH_SERVICE;

-- Leases up to batch_size subscriptions to the caller, which cancels them at the provider and calls private.finish_provider_cancellation for each.
create or replace function private.take_provider_cancellations(provider text, batch_size integer, lease interval default '00:02:00'::interval)
  returns table(provider_subscription_id text)
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/billing/private/take_provider_cancellations.sql

comment on function private.take_provider_cancellations(provider text, batch_size integer, lease interval) is 'Leases up to batch_size subscriptions to the caller, which cancels them at the provider and calls private.finish_provider_cancellation for each.';
revoke execute on function private.take_provider_cancellations(provider text, batch_size integer, lease interval) from public;
grant execute on function private.take_provider_cancellations(provider text, batch_size integer, lease interval) to :PLINTH_WORKER;

-- Uses up a flow and returns the data to finish it; no row if it is unknown, used, expired or another session's.
create or replace function private.take_provider_flow(purpose text, flow_hash bytea, state_hash bytea)
  returns table(flow_id uuid, provider text, redirect_uri text, secrets_sealed text)
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/private/take_provider_flow.sql

comment on function private.take_provider_flow(purpose text, flow_hash bytea, state_hash bytea) is 'Uses up a flow and returns the data to finish it; no row if it is unknown, used, expired or another session''s.';
revoke execute on function private.take_provider_flow(purpose text, flow_hash bytea, state_hash bytea) from public;
grant execute on function private.take_provider_flow(purpose text, flow_hash bytea, state_hash bytea) to :PLINTH_SERVICE;

-- Takes tokens from the user's grants in force, in order; returns the grants, the tokens taken from each, and the missing number.
create or replace function private.take_tokens(user_id uuid, tokens bigint, for_hold boolean, at timestamp with time zone, out grant_ids uuid[], out grant_tokens bigint[], out missing bigint)
  returns record
  language plpgsql; -- fixtures/billing/private/take_tokens.sql

comment on function private.take_tokens(user_id uuid, tokens bigint, for_hold boolean, at timestamp with time zone, out grant_ids uuid[], out grant_tokens bigint[], out missing bigint) is 'Takes tokens from the user''s grants in force, in order; returns the grants, the tokens taken from each, and the missing number.';
revoke execute on function private.take_tokens(user_id uuid, tokens bigint, for_hold boolean, at timestamp with time zone, out grant_ids uuid[], out grant_tokens bigint[], out missing bigint) from public;

-- Returns a text without fenced code and code between backticks.
create or replace function private.text_without_code(value text)
  returns text
  language plpgsql
  immutable
  set search_path to 'pg_catalog'; -- fixtures/rooms/private/text_without_code.sql

comment on function private.text_without_code(value text) is 'Returns a text without fenced code and code between backticks.';
revoke execute on function private.text_without_code(value text) from public;

-- Returns the first line of a text as a title of up to 80 characters; null without one.
create or replace function private.title_of(content text)
  returns text
  language sql
  immutable parallel safe
  set search_path to 'pg_catalog'; -- fixtures/llm/private/title_of.sql

comment on function private.title_of(content text) is 'Returns the first line of a text as a title of up to 80 characters; null without one.';
revoke execute on function private.title_of(content text) from public;

-- Returns a user's tokens at a moment: left, held, used this month, by grant, and the time when they run out at the rate of the last seven whole days.
create or replace function private.token_balance_at(user_id uuid, at timestamp with time zone default now())
  returns billing.token_balance
  language plpgsql
  stable security definer
  set search_path to 'pg_catalog'; -- fixtures/billing/private/token_balance_at.sql

comment on function private.token_balance_at(user_id uuid, at timestamp with time zone) is 'Returns a user''s tokens at a moment: left, held, used this month, by grant, and the time when they run out at the rate of the last seven whole days.';
revoke execute on function private.token_balance_at(user_id uuid, at timestamp with time zone) from public;
grant execute on function private.token_balance_at(user_id uuid, at timestamp with time zone) to :PLINTH_SERVICE;

-- Grants the tokens due for the plans of a subscription's current period beyond those already granted; returns their number.
create or replace function private.top_up_quota(subscription_id uuid, at timestamp with time zone)
  returns bigint
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/billing/private/top_up_quota.sql

comment on function private.top_up_quota(subscription_id uuid, at timestamp with time zone) is 'Grants the tokens due for the plans of a subscription''s current period beyond those already granted; returns their number.';
revoke execute on function private.top_up_quota(subscription_id uuid, at timestamp with time zone) from public;

-- Records time and address of the use of API tokens, at most once a minute; returns the number of changed rows.
create or replace function private.touch_api_tokens(token_ids uuid[], seen_at timestamp with time zone[], ip_addresses inet[])
  returns integer
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/private/touch_api_tokens.sql

comment on function private.touch_api_tokens(token_ids uuid[], seen_at timestamp with time zone[], ip_addresses inet[]) is 'Records time and address of the use of API tokens, at most once a minute; returns the number of changed rows.';
revoke execute on function private.touch_api_tokens(token_ids uuid[], seen_at timestamp with time zone[], ip_addresses inet[]) from public;
grant execute on function private.touch_api_tokens(token_ids uuid[], seen_at timestamp with time zone[], ip_addresses inet[]) to :PLINTH_SERVICE;

-- Trigger: sets the time and author of a row that really changed.
create or replace function private.touch_casbin()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/access/private/touch_casbin.sql

comment on function private.touch_casbin() is 'Trigger: sets the time and author of a row that really changed.';
revoke execute on function private.touch_casbin() from public;

-- Records time and address of the use of sessions, at most once a minute; returns the number of changed rows.
create or replace function private.touch_sessions(session_ids uuid[], seen_at timestamp with time zone[], ip_addresses inet[])
  returns integer
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/private/touch_sessions.sql

comment on function private.touch_sessions(session_ids uuid[], seen_at timestamp with time zone[], ip_addresses inet[]) is 'Records time and address of the use of sessions, at most once a minute; returns the number of changed rows.';
revoke execute on function private.touch_sessions(session_ids uuid[], seen_at timestamp with time zone[], ip_addresses inet[]) from public;
grant execute on function private.touch_sessions(session_ids uuid[], seen_at timestamp with time zone[], ip_addresses inet[]) to :PLINTH_SERVICE;

-- Moves a subscription by an event of private.subscription_transitions; PL409 when its state does not allow it.
create or replace function private.transition_subscription(subscription_id uuid, event text, at timestamp with time zone, recorded_as text default null::text)
  returns billing.user_subscriptions
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/billing/private/transition_subscription.sql

comment on function private.transition_subscription(subscription_id uuid, event text, at timestamp with time zone, recorded_as text) is 'Moves a subscription by an event of private.subscription_transitions; PL409 when its state does not allow it.';
revoke execute on function private.transition_subscription(subscription_id uuid, event text, at timestamp with time zone, recorded_as text) from public;

-- Locks an account until the end of the transaction if it is free; returns whether it did. False for an unknown account, too.
create or replace function private.try_lock_account(user_id uuid)
  returns boolean
  language plpgsql
  set search_path to 'pg_catalog'
  set lock_timeout to '1ms'; -- fixtures/identity/private/try_lock_account.sql

comment on function private.try_lock_account(user_id uuid) is 'Locks an account until the end of the transaction if it is free; returns whether it did. False for an unknown account, too.';
revoke execute on function private.try_lock_account(user_id uuid) from public;

-- Locks a user's ledger unless it is locked; then returns false. A missing ledger counts as unlocked.
create or replace function private.try_lock_usage(user_id uuid)
  returns boolean
  language plpgsql
  set search_path to 'pg_catalog'
  set lock_timeout to '1ms'; -- fixtures/billing/private/try_lock_usage.sql

comment on function private.try_lock_usage(user_id uuid) is 'Locks a user''s ledger unless it is locked; then returns false. A missing ledger counts as unlocked.';
revoke execute on function private.try_lock_usage(user_id uuid) from public;

-- Returns the last max_count messages before an answer, oldest first: the model's input.
create or replace function private.turn_context(message_id uuid, max_count integer default 50)
  returns setof llm.messages
  language sql
  stable security definer
  set search_path to 'pg_catalog'; -- fixtures/llm/private/turn_context.sql

comment on function private.turn_context(message_id uuid, max_count integer) is 'Returns the last max_count messages before an answer, oldest first: the model''s input.';
revoke execute on function private.turn_context(message_id uuid, max_count integer) from public;
grant execute on function private.turn_context(message_id uuid, max_count integer) to :PLINTH_SERVICE;

-- Returns how many messages of a room after a watermark count as unread for no member: deleted and private ones.
create or replace function private.uncounted_in_room_after(room_id uuid, watermark bigint)
  returns bigint
  language plpgsql
  stable
  set search_path to 'pg_catalog'; -- fixtures/rooms/private/uncounted_in_room_after.sql

comment on function private.uncounted_in_room_after(room_id uuid, watermark bigint) is 'Returns how many messages of a room after a watermark count as unread for no member: deleted and private ones.';
revoke execute on function private.uncounted_in_room_after(room_id uuid, watermark bigint) from public;

-- Resumes a paused subscription: the period is extended by the length of the pause. PL409 when it is not paused.
create or replace function private.unpause_subscription(subscription_id uuid, at timestamp with time zone)
  returns billing.user_subscriptions
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/billing/private/unpause_subscription.sql

comment on function private.unpause_subscription(subscription_id uuid, at timestamp with time zone) is 'Resumes a paused subscription: the period is extended by the length of the pause. PL409 when it is not paused.';
revoke execute on function private.unpause_subscription(subscription_id uuid, at timestamp with time zone) from public;

-- Returns up to 100 certificates without a signature whose accounts are erased from archives, too.
create or replace function private.unsigned_certificates()
  returns table(id uuid, statement text, statement_sha256 text, archived_rows bigint, erased_at timestamp with time zone)
  language sql
  stable security definer
  set search_path to 'pg_catalog'; -- fixtures/security/private/unsigned_certificates.sql

comment on function private.unsigned_certificates() is 'Returns up to 100 certificates without a signature whose accounts are erased from archives, too.';
revoke execute on function private.unsigned_certificates() from public;
grant execute on function private.unsigned_certificates() to :PLINTH_WORKER;

-- Changes a user's memory. PL404 if the user has no such memory, PL409 when its version is not the expected one, PL422 for a time of expiry in the past.
create or replace function private.update_memory(user_id uuid, id uuid, key_id uuid, changes jsonb, expected_version bigint default null::bigint)
  returns setof llm.memories
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/llm/private/update_memory.sql

comment on function private.update_memory(user_id uuid, id uuid, key_id uuid, changes jsonb, expected_version bigint) is 'Changes a user''s memory. PL404 if the user has no such memory, PL409 when its version is not the expected one, PL422 for a time of expiry in the past.';
revoke execute on function private.update_memory(user_id uuid, id uuid, key_id uuid, changes jsonb, expected_version bigint) from public;
grant execute on function private.update_memory(user_id uuid, id uuid, key_id uuid, changes jsonb, expected_version bigint) to :PLINTH_SERVICE;

-- Returns the earlier use of the key, or nulls. PL409 when it was used with other arguments, PL422 without a key.
create or replace function private.used_key(user_id uuid, operation text, idempotency_key text, arguments jsonb)
  returns private.usage_keys
  language plpgsql
  stable; -- fixtures/billing/private/used_key.sql

comment on function private.used_key(user_id uuid, operation text, idempotency_key text, arguments jsonb) is 'Returns the earlier use of the key, or nulls. PL409 when it was used with other arguments, PL422 without a key.';
revoke execute on function private.used_key(user_id uuid, operation text, idempotency_key text, arguments jsonb) from public;

-- Returns a well-formed username made of a name or address; it may be taken.
create or replace function private.username_from(suggestion text)
  returns text
  language sql
  immutable
  set search_path to 'pg_catalog'; -- fixtures/identity/private/username_from.sql

comment on function private.username_from(suggestion text) is 'Returns a well-formed username made of a name or address; it may be taken.';
revoke execute on function private.username_from(suggestion text) from public;

-- Returns the least UUIDv7 of a time, so that a range of ids is a range of times.
create or replace function private.uuid_v7_at(at timestamp with time zone)
  returns uuid
  language sql
  immutable parallel safe
  set search_path to 'pg_catalog'; -- fixtures/plinth/private/uuid_v7_at.sql

comment on function private.uuid_v7_at(at timestamp with time zone) is 'Returns the least UUIDv7 of a time, so that a range of ids is a range of times.';
revoke execute on function private.uuid_v7_at(at timestamp with time zone) from public;

-- Verifies the account's address, or moves it to the address the link was sent to; returns false for an invalid token.
create or replace function private.verify_email(token_hash bytea)
  returns boolean
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/private/verify_email.sql

comment on function private.verify_email(token_hash bytea) is 'Verifies the account''s address, or moves it to the address the link was sent to; returns false for an invalid token.';
revoke execute on function private.verify_email(token_hash bytea) from public;
grant execute on function private.verify_email(token_hash bytea) to :PLINTH_SERVICE;

-- Returns what decides on an operation on a row of a view: grants on it and on its tables, and the policies of these.
create or replace function private.view_access_case(role_id oid, relation_id oid, operation text, key jsonb, user_id uuid)
  returns jsonb
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/access/private/view_access_case.sql

comment on function private.view_access_case(role_id oid, relation_id oid, operation text, key jsonb, user_id uuid) is 'Returns what decides on an operation on a row of a view: grants on it and on its tables, and the policies of these.';
revoke execute on function private.view_access_case(role_id oid, relation_id oid, operation text, key jsonb, user_id uuid) from public;

-- Returns the price history of a model to import; USD per million tokens.
create or replace function private.wanted_prices(price_history jsonb)
  returns table(input_price numeric, output_price numeric, cached_input_price numeric, reasoning_price numeric, effective_from timestamp with time zone, effective_to timestamp with time zone)
  language sql
  stable
  set search_path to 'pg_catalog'
  set "TimeZone" to 'UTC'; -- fixtures/llm/private/wanted_prices.sql

comment on function private.wanted_prices(price_history jsonb) is 'Returns the price history of a model to import; USD per million tokens.';
revoke execute on function private.wanted_prices(price_history jsonb) from public;

-- Returns a use of a model without an erased account.
create or replace function private.without_account(entry billing.usage_events, account_id uuid)
  returns billing.usage_events
  language plpgsql
  immutable
  set search_path to 'pg_catalog'; -- fixtures/security/private/without_account.sql

comment on function private.without_account(entry billing.usage_events, account_id uuid) is 'Returns a use of a model without an erased account.';
revoke execute on function private.without_account(entry billing.usage_events, account_id uuid) from public;

-- Returns a change of the audit trail without an erased account.
create or replace function private.without_account(entry security.audit_trail, account_id uuid)
  returns security.audit_trail
  language plpgsql
  immutable
  set search_path to 'pg_catalog'; -- fixtures/security/private/without_account.sql

comment on function private.without_account(entry security.audit_trail, account_id uuid) is 'Returns a change of the audit trail without an erased account.';
revoke execute on function private.without_account(entry security.audit_trail, account_id uuid) from public;

-- Returns an error without an erased account.
create or replace function private.without_account(entry security.error_logs, account_id uuid)
  returns security.error_logs
  language plpgsql
  immutable
  set search_path to 'pg_catalog'; -- fixtures/security/private/without_account.sql

comment on function private.without_account(entry security.error_logs, account_id uuid) is 'Returns an error without an erased account.';
revoke execute on function private.without_account(entry security.error_logs, account_id uuid) from public;

-- Returns a sign-in attempt without the person.
create or replace function private.without_account(entry security.login_attempts, account_id uuid)
  returns security.login_attempts
  language plpgsql
  immutable
  set search_path to 'pg_catalog'; -- fixtures/security/private/without_account.sql

comment on function private.without_account(entry security.login_attempts, account_id uuid) is 'Returns a sign-in attempt without the person.';
revoke execute on function private.without_account(entry security.login_attempts, account_id uuid) from public;

-- Returns a read of personal data without an erased account as its reader or the person concerned.
create or replace function private.without_account(entry security.personal_data_reads, account_id uuid)
  returns security.personal_data_reads
  language plpgsql
  immutable
  set search_path to 'pg_catalog'; -- fixtures/security/private/without_account.sql

comment on function private.without_account(entry security.personal_data_reads, account_id uuid) is 'Returns a read of personal data without an erased account as its reader or the person concerned.';
revoke execute on function private.without_account(entry security.personal_data_reads, account_id uuid) from public;

-- Returns an event of the audit log without an erased account.
create or replace function private.without_account(entry security.security_audit_log, account_id uuid)
  returns security.security_audit_log
  language plpgsql
  immutable
  set search_path to 'pg_catalog'; -- fixtures/security/private/without_account.sql

comment on function private.without_account(entry security.security_audit_log, account_id uuid) is 'Returns an event of the audit log without an erased account.';
revoke execute on function private.without_account(entry security.security_audit_log, account_id uuid) from public;

-- Returns an archived row of any log without an account, by its foreign keys and the classes of its columns; null for a row that goes.
create or replace function private.without_account_by_class(log regclass, entry jsonb, account_id uuid)
  returns jsonb
  language plpgsql
  stable
  set search_path to 'pg_catalog'; -- fixtures/security/private/without_account_by_class.sql

comment on function private.without_account_by_class(log regclass, entry jsonb, account_id uuid) is 'Returns an archived row of any log without an account, by its foreign keys and the classes of its columns; null for a row that goes.';
revoke execute on function private.without_account_by_class(log regclass, entry jsonb, account_id uuid) from public;

-- Returns JSON with the nil UUID in place of the id of an account.
create or replace function private.without_id(value jsonb, account_id uuid)
  returns jsonb
  language sql
  immutable
  set search_path to 'pg_catalog'; -- fixtures/security/private/without_id.sql

comment on function private.without_id(value jsonb, account_id uuid) is 'Returns JSON with the nil UUID in place of the id of an account.';
revoke execute on function private.without_id(value jsonb, account_id uuid) from public;

-- Returns a JSON object without the members whose names suggest secrets.
create or replace function private.without_secrets(document jsonb)
  returns jsonb
  language sql
  immutable
  set search_path to 'pg_catalog'; -- fixtures/identity/private/without_secrets.sql

comment on function private.without_secrets(document jsonb) is 'Returns a JSON object without the members whose names suggest secrets.';
revoke execute on function private.without_secrets(document jsonb) from public;

-- Writes the next tables of a pending export; returns continued, finished, failed_<sqlstate> in <table>, or null when none is pending.
create or replace function private.write_data_export()
  returns text
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
  set row_security to 'off'; -- fixtures/identity/private/write_data_export.sql

comment on function private.write_data_export() is 'Writes the next tables of a pending export; returns continued, finished, failed_<sqlstate> in <table>, or null when none is pending.';
revoke execute on function private.write_data_export() from public;
grant execute on function private.write_data_export() to :PLINTH_WORKER;

-- Appends a delta; returns the last sequence. The same delta again changes nothing. PL409 for a gap, another text or a turn that ended, PL404 for an unknown turn, PL422 for its size.
create or replace function private.write_delta(message_id uuid, sequence integer, content text, thinking text, user_id uuid, writer text)
  returns integer
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/llm/private/write_delta.sql

comment on function private.write_delta(message_id uuid, sequence integer, content text, thinking text, user_id uuid, writer text) is 'Appends a delta; returns the last sequence. The same delta again changes nothing. PL409 for a gap, another text or a turn that ended, PL404 for an unknown turn, PL422 for its size.';
revoke execute on function private.write_delta(message_id uuid, sequence integer, content text, thinking text, user_id uuid, writer text) from public;

-- Appends deltas, all or none; returns the last sequence. The same deltas again change nothing. PL409 for a gap, another text or a turn that ended, PL404 for an unknown turn, PL422 for their number or size.
create or replace function private.write_deltas(message_id uuid, first_sequence integer, contents text[], thinking text[], user_id uuid, writer text)
  returns integer
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/llm/private/write_deltas.sql

comment on function private.write_deltas(message_id uuid, first_sequence integer, contents text[], thinking text[], user_id uuid, writer text) is 'Appends deltas, all or none; returns the last sequence. The same deltas again change nothing. PL409 for a gap, another text or a turn that ended, PL404 for an unknown turn, PL422 for their number or size.';
revoke execute on function private.write_deltas(message_id uuid, first_sequence integer, contents text[], thinking text[], user_id uuid, writer text) from public;
