-- Schema private as the migrations leave it. Generated (plinth schema dump): read it, do not edit it.

create schema private;
comment on schema private is 'Secrets, and functions for the API service and the job worker. Not accessible to API roles.';
grant usage on schema private to :PLINTH_SERVICE, :PLINTH_WORKER;

-- Tables ----------------------------------------------------------------------------------------------

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
  constraint lookup_keys_name_check check (name = 'email'::text),
  constraint lookup_keys_sealed_key_is_sealed check (sealed_key ~ '^v[1-9][0-9]{0,5}[.][A-Za-z0-9_-]{38,}$'::text)
);

alter table private.lookup_keys enable row level security;

create trigger _900_touch_updated_at
  before update on private.lookup_keys
  for each row
  execute function plinth.touch_updated_at();

comment on table private.lookup_keys is 'One row per kind of value that is looked up by a keyed hash. Not readable by any API role.';
comment on column private.lookup_keys.name is 'Kind of value: email (identity.users.hashed_email).';
comment on column private.lookup_keys.sealed_key is 'HMAC key, encrypted with a master key: v<version>.<base64url>.';
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
comment on column private.mail_outbox.id is 'Id (UUIDv7); also part of the Message-ID, so that a repeated message can be recognised.';
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
  constraint password_history_hash_algorithm_check check (hash_algorithm = any (array['argon2id'::text, 'bcrypt'::text, 'bcrypt-sha256'::text])),
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
  constraint turns_pkey primary key (message_id),
  constraint turns_user_id_message_id_key unique (user_id, message_id),
  constraint turns_input_tokens_is_not_negative check (input_tokens >= 0),
  constraint turns_last_sequence_is_not_negative check (last_sequence >= 0),
  constraint turns_lease_check check (lease >= '00:00:05'::interval and lease <= '01:00:00'::interval),
  constraint turns_max_tokens_is_positive check (max_tokens > 0),
  constraint turns_streamed_bytes_is_limited check (streamed_bytes >= 0 and streamed_bytes <= 1000000),
  constraint turns_writer_check check (writer = any (array['client'::text, 'service'::text])),
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
comment on column private.turns.writer is 'Writer that appends: client (the owner, through the API) or service (private.append_delta).';
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

-- One row per user with encrypted data: the user's Fernet key, encrypted. Deleting the row makes that data unreadable.
create table private.user_keys (
  id uuid not null default plinth.uuid_v7(),
  user_id uuid not null,
  wrapped_key text not null,
  master_key_version integer not null generated always as ("substring"(wrapped_key, '^v([0-9]+)'::text)::integer) stored,
  created_at timestamp with time zone not null default now(),
  updated_at timestamp with time zone not null default now(),
  constraint user_keys_pkey primary key (id),
  constraint user_keys_id_user_id_key unique (id, user_id),
  constraint user_keys_user_id_key unique (user_id),
  constraint user_keys_wrapped_key_is_sealed check (wrapped_key ~ '^v[1-9][0-9]{0,5}[.][A-Za-z0-9_-]{38,}$'::text),
  constraint user_keys_user_id_fkey foreign key (user_id) references identity.users(id) on delete cascade
);

alter table private.user_keys enable row level security;

create index user_keys_master_key_version_idx on private.user_keys using btree (master_key_version);

create trigger _900_touch_updated_at
  before update on private.user_keys
  for each row
  execute function plinth.touch_updated_at('master_key_version');

comment on table private.user_keys is 'One row per user with encrypted data: the user''s Fernet key, encrypted. Deleting the row makes that data unreadable.';
comment on column private.user_keys.id is 'Id (UUIDv7); after a key is deleted, the user''s next key has a different id.';
comment on column private.user_keys.user_id is 'The owner of the key; bound into the encryption, so that the key opens in no other row.';
comment on column private.user_keys.wrapped_key is 'Fernet key, encrypted with a master key: v<version>.<base64url>.';
comment on column private.user_keys.master_key_version is 'Version of the master key that encrypted the key.';
comment on column private.user_keys.created_at is 'Time when the key was created.';
comment on column private.user_keys.updated_at is 'Time when the key was last encrypted.';

-- One row per account with a password. Not readable by any API role.
create table private.user_passwords (
  user_id uuid not null,
  password_hash text not null,
  hash_algorithm text not null default 'argon2id'::text,
  updated_at timestamp with time zone not null default now(),
  suffices_alone boolean not null default true,
  constraint user_passwords_pkey primary key (user_id),
  constraint user_passwords_hash_algorithm_check check (hash_algorithm = any (array['argon2id'::text, 'bcrypt'::text, 'bcrypt-sha256'::text])),
  constraint user_passwords_password_hash_check check (
case hash_algorithm
    when 'argon2id'::text then password_hash ~ '^\$argon2id\$v=19\$m=\d+,t=\d+,p=\d+\$[A-Za-z0-9+/]+\$[A-Za-z0-9+/]+$'::text
    when 'bcrypt'::text then password_hash ~ '^\$2[aby]\$\d\d\$[./A-Za-z0-9]{53}$'::text
    when 'bcrypt-sha256'::text then password_hash ~ '^\$bcrypt-sha256\$v=2,t=2b,r=\d\d?\$[./A-Za-z0-9]{22}\$[./A-Za-z0-9]{31}$'::text
    else null::boolean
end),
  constraint user_passwords_user_id_fkey foreign key (user_id) references identity.users(id) on delete cascade
);

alter table private.user_passwords enable row level security;

create index user_passwords_bcrypt_idx on private.user_passwords using btree (user_id) where (hash_algorithm <> 'argon2id'::text);

comment on table private.user_passwords is 'One row per account with a password. Not readable by any API role.';
comment on column private.user_passwords.user_id is 'The user.';
comment on column private.user_passwords.password_hash is 'Password hash: PHC string (argon2id, bcrypt-sha256 in passlib''s second form) or modular crypt string (bcrypt).';
comment on column private.user_passwords.hash_algorithm is 'Algorithm: argon2id (default), bcrypt-sha256 (PLINTH_PASSWORD_HASH=bcrypt) or bcrypt (imported; replaced at the next sign-in).';
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
  set search_path to 'pg_catalog'
as $$
#variable_conflict use_column
declare
  v_method text := accept_second_factor.proof ->> 'method';
  v_factor_id uuid := (accept_second_factor.proof ->> 'factor_id')::uuid;
  v_attempts private.mfa_attempts;
  v_totp private.totp_secrets;
  v_passkey private.passkeys;
  v_step bigint := (accept_second_factor.proof ->> 'step')::bigint;
  v_count bigint := (accept_second_factor.proof ->> 'sign_count')::bigint;
begin
  select a.* into v_attempts from private.mfa_attempts a where a.user_id = accept_second_factor.user_id;

  -- Locks the factor before its secret, in the same order as the removal of a factor does.
  if v_method = 'totp' then
    select t.* into v_totp
    from private.totp_secrets t
    join identity.mfa_factors f on f.id = t.factor_id
    where t.factor_id = v_factor_id
      and f.user_id = accept_second_factor.user_id
      and f.confirmed_at is not null
    for no key update of f;
    refusal := case
      -- NIST SP 800-63B-4, 3.2.2: 100 wrong codes in a row disable codes; a recovery code or a passkey resets the count.
      when v_attempts.locked_until > now() or v_attempts.failed_attempts >= 100 then 'second_factor_locked'
      when v_step is null or v_totp.factor_id is null then 'wrong_code'
      -- A correct code that was used before is rejected, but not counted as a guess.
      when v_step <= v_totp.last_used_step then 'code_reused'
    end;
    if refusal is null then
      update private.totp_secrets t set last_used_step = v_step where t.factor_id = v_factor_id;
    end if;
    methods := array['otp'];

  elsif v_method = 'recovery_code' then
    if v_attempts.locked_until > now() then
      refusal := 'second_factor_locked';
    else
      update private.recovery_codes c
      set used_at = now()
      where c.user_id = accept_second_factor.user_id
        and c.code_hash = decode(accept_second_factor.proof ->> 'code_hash', 'hex')
        and c.used_at is null
        -- Codes replace a factor. An account without one has nothing to recover.
        and exists (
          select from identity.mfa_factors f where f.user_id = accept_second_factor.user_id and f.confirmed_at is not null
        );
      if not found then
        refusal := 'wrong_code';
      else
        perform private.record_security_event(
          'recovery_code_used', accept_second_factor.user_id,
          jsonb_build_object(
            'left',
            (
              select count(*)
              from private.recovery_codes c
              where c.user_id = accept_second_factor.user_id and c.used_at is null
            )
          ),
          'warning'
        );
      end if;
    end if;
    methods := array['otp'];

  elsif v_method = 'passkey' then
    select p.* into v_passkey
    from private.passkeys p
    join identity.mfa_factors f on f.id = p.factor_id
    where p.factor_id = v_factor_id
      and f.user_id = accept_second_factor.user_id
      and f.confirmed_at is not null
    for no key update of f;
    refusal := case
      when v_passkey.factor_id is null or not coalesce((accept_second_factor.proof ->> 'verified')::boolean, false)
      then 'wrong_passkey'
      -- WebAuthn Level 3, 6.1.1: a counter that does not increase means that two devices hold the key.
      when (v_count > 0 or v_passkey.sign_count > 0) and v_count <= v_passkey.sign_count then 'passkey_cloned'
    end;
    if refusal = 'passkey_cloned' then
      perform private.record_security_event(
        'passkey_cloned', accept_second_factor.user_id,
        jsonb_build_object('factor_id', v_factor_id, 'sign_count', v_count, 'expected_above', v_passkey.sign_count), 'warning'
      );
    elsif refusal is null then
      update private.passkeys p
      set
        sign_count = v_count,
        backed_up = p.backup_eligible and coalesce((accept_second_factor.proof ->> 'backed_up')::boolean, false)
      where p.factor_id = v_factor_id;
    end if;
    methods := array[case when v_passkey.backup_eligible then 'swk' else 'hwk' end];

  else
    raise exception 'Second factor not found.' using errcode = 'PL422';
  end if;

  if refusal is null then
    update identity.mfa_factors f set last_used_at = now() where f.id = v_factor_id;
    delete from private.mfa_attempts a where a.user_id = accept_second_factor.user_id;
    return;
  end if;
  methods := null;
  if refusal = 'wrong_code' then
    perform private.count_wrong_code(accept_second_factor.user_id);
  end if;
  perform private.record_security_event(
    'mfa_failed', accept_second_factor.user_id, jsonb_build_object('method', v_method, 'reason', refusal), 'warning'
  );
end
$$;

comment on function private.accept_second_factor(user_id uuid, proof jsonb, out refusal text, out methods text[]) is 'Uses up a second factor; returns a null refusal and the amr values shown, or the reason for the refusal. Counts and audits; the caller holds the account''s row lock.';
revoke execute on function private.accept_second_factor(user_id uuid, proof jsonb, out refusal text, out methods text[]) from public;

-- Returns the whole seconds before a time, as seconds since the year 2000 (UTC).
create or replace function private.active_stretch(ended_at timestamp with time zone, seconds integer)
  returns int4multirange
  language sql
  stable
as $$
  select int4multirange(int4range(
    (floor(extract(epoch from ended_at)) - 946684800)::integer - seconds,
    (floor(extract(epoch from ended_at)) - 946684800)::integer
  ))
$$;

comment on function private.active_stretch(ended_at timestamp with time zone, seconds integer) is 'Returns the whole seconds before a time, as seconds since the year 2000 (UTC).';
revoke execute on function private.active_stretch(ended_at timestamp with time zone, seconds integer) from public;

-- Adds mentions to a message and updates the counts.
create or replace function private.add_mentions(message rooms.room_messages, mentions uuid[])
  returns void
  language plpgsql
  set search_path to 'pg_catalog'
as $$
begin
  insert into rooms.room_message_mentions (message_id, user_id)
  select message.id, m.user_id
  from rooms.room_members m
  where m.room_id = message.room_id and m.user_id = any (mentions);
  perform private.count_in_room(message.room_id, 'mention', m.user_id, message.sender_id, message.sequence, 1)
  from rooms.room_message_mentions m
  where m.message_id = message.id and m.user_id = any (mentions);
end
$$;

comment on function private.add_mentions(message rooms.room_messages, mentions uuid[]) is 'Adds mentions to a message and updates the counts.';
revoke execute on function private.add_mentions(message rooms.room_messages, mentions uuid[]) from public;

-- Records that the calling session has just shown these factors (amr values); returns the time.
create or replace function private.add_session_methods(methods text[])
  returns timestamp with time zone
  language sql
  set search_path to 'pg_catalog'
as $$
  update identity.user_sessions s
  set
    authenticated_at = now(),
    authentication_methods = (
      select array_agg(distinct m order by m) from unnest(s.authentication_methods || add_session_methods.methods) m
    )
  where s.id = plinth.current_session_id()
    and s.user_id = plinth.current_user_id()
    and s.ended_at is null
  returning s.authenticated_at
$$;

comment on function private.add_session_methods(methods text[]) is 'Records that the calling session has just shown these factors (amr values); returns the time.';
revoke execute on function private.add_session_methods(methods text[]) from public;

-- Records evidence and moves the level by as much of delta as fits into 0 to 10. A known source_key changes nothing; PL409 if it was recorded with another digest.
create or replace function private.add_skill_evidence(user_id uuid, skill_id uuid, kind text, delta numeric, source_key text default null::text, note text default null::text, digest bytea default null::bytea)
  returns learning.skill_evidence
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
#variable_conflict use_column
declare
  v_level numeric;
  v_result learning.skill_evidence;
begin
  perform from identity.users u where u.id = add_skill_evidence.user_id for key share;
  insert into learning.user_skills (user_id, skill_id)
  values (add_skill_evidence.user_id, add_skill_evidence.skill_id)
  on conflict do nothing;
  select us.level into v_level
  from learning.user_skills us
  where us.user_id = add_skill_evidence.user_id and us.skill_id = add_skill_evidence.skill_id
  for no key update;

  -- Already recorded: the first record counts.
  select e.* into v_result
  from learning.skill_evidence e
  where e.user_id = add_skill_evidence.user_id
    and e.skill_id = add_skill_evidence.skill_id
    and e.source_key = add_skill_evidence.source_key;
  if found then
    -- Evidence older than the digests is compared by its stored delta.
    perform private.refuse_other_request(coalesce(
      (select d.digest = add_skill_evidence.digest from private.request_digests d where d.skill_evidence_id = v_result.id),
      v_result.note is not distinct from add_skill_evidence.note
        and v_result.delta between least(add_skill_evidence.delta, 0) and greatest(add_skill_evidence.delta, 0)
    )) where add_skill_evidence.digest is not null;
    return v_result;
  end if;

  insert into learning.skill_evidence (user_id, skill_id, kind, delta, source_key, note, recorded_by)
  values (
    add_skill_evidence.user_id, add_skill_evidence.skill_id, add_skill_evidence.kind,
    least(greatest(v_level + add_skill_evidence.delta, 0), 10) - v_level,
    add_skill_evidence.source_key, add_skill_evidence.note, plinth.current_user_id()
  )
  returning * into v_result;
  if add_skill_evidence.digest is not null and add_skill_evidence.source_key is not null then
    insert into private.request_digests (user_id, skill_evidence_id, digest)
    values (v_result.user_id, v_result.id, add_skill_evidence.digest);
  end if;
  return v_result;
end
$$;

comment on function private.add_skill_evidence(user_id uuid, skill_id uuid, kind text, delta numeric, source_key text, note text, digest bytea) is 'Records evidence and moves the level by as much of delta as fits into 0 to 10. A known source_key changes nothing; PL409 if it was recorded with another digest.';
revoke execute on function private.add_skill_evidence(user_id uuid, skill_id uuid, kind text, delta numeric, source_key text, note text, digest bytea) from public;

-- Makes a user a member unless they are one, and accepts an open invite; PL403 for a banned user, PL404 without a room.
create or replace function private.add_to_room(room_id uuid, user_id uuid)
  returns rooms.room_members
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
declare
  v_member rooms.room_members;
begin
  perform private.lock_room(add_to_room.room_id);
  if exists (
    select from rooms.room_bans b where b.room_id = add_to_room.room_id and b.user_id = add_to_room.user_id
  ) then
    raise exception 'You are banned from this room.' using errcode = 'PL403';
  end if;
  select m.* into v_member
  from rooms.room_members m
  where m.room_id = add_to_room.room_id and m.user_id = add_to_room.user_id;
  if v_member.id is null then
    -- The inviter is notified too.
    perform private.lock_user_counters(array(
      select add_to_room.user_id
      union all
      select i.inviter_id
      from rooms.room_invites i
      where i.room_id = add_to_room.room_id and i.invitee_id = add_to_room.user_id and i.status = 'pending'
    ));
    insert into rooms.room_members as m (room_id, user_id)
    values (add_to_room.room_id, add_to_room.user_id)
    returning m.* into v_member;
    update rooms.room_invites i
    set status = 'accepted', responded_at = clock_timestamp()
    where i.room_id = add_to_room.room_id and i.invitee_id = add_to_room.user_id and i.status = 'pending';
  end if;
  return v_member;
end
$$;

comment on function private.add_to_room(room_id uuid, user_id uuid) is 'Makes a user a member unless they are one, and accepts an open invite; PL403 for a banned user, PL404 without a room.';
revoke execute on function private.add_to_room(room_id uuid, user_id uuid) from public;

-- Returns how many seconds of a stretch are not among the active ones yet.
create or replace function private.added_seconds(active int4multirange, stretch int4multirange, seconds integer)
  returns integer
  language sql
  immutable
as $$
  select case when active && stretch then seconds - private.count_seconds(active * stretch) else seconds end
$$;

comment on function private.added_seconds(active int4multirange, stretch int4multirange, seconds integer) is 'Returns how many seconds of a stretch are not among the active ones yet.';
revoke execute on function private.added_seconds(active int4multirange, stretch int4multirange, seconds integer) from public;

-- Adds recipients and mentions to a message just posted; PL422 for recipients who are not members.
create or replace function private.address_message(message rooms.room_messages, recipients uuid[], mentions uuid[])
  returns void
  language plpgsql
  set search_path to 'pg_catalog'
as $$
begin
  if recipients is not null then
    if (
      select count(*) <> cardinality(recipients)
      from rooms.room_members m
      where m.room_id = message.room_id and m.user_id = any (recipients)
    ) then
      raise exception 'Recipients must be other members of the room.' using errcode = 'PL422', column = 'recipients';
    end if;
    insert into rooms.room_message_recipients (message_id, user_id) select message.id, r from unnest(recipients) r;
    perform private.count_in_room(message.room_id, 'private', r, message.sender_id, message.sequence, 1)
    from unnest(recipients) r;
  end if;
  if cardinality(mentions) > 0 then
    perform private.add_mentions(message, mentions);
  end if;
end
$$;

comment on function private.address_message(message rooms.room_messages, recipients uuid[], mentions uuid[]) is 'Adds recipients and mentions to a message just posted; PL422 for recipients who are not members.';
revoke execute on function private.address_message(message rooms.room_messages, recipients uuid[], mentions uuid[]) from public;

-- Renews, expires and cancels one subscription up to a moment; returns the number of steps.
create or replace function private.advance_subscription(subscription_id uuid, at timestamp with time zone)
  returns integer
  language plpgsql
  set search_path to 'pg_catalog'
as $$
declare
  v_subscription billing.user_subscriptions;
  v_before billing.user_subscriptions;
  v_plan billing.subscription_plans;
  v_end timestamptz;
  v_quota record;
  v_steps integer := 0;
begin
  loop
    select s.* into v_subscription
    from billing.user_subscriptions s
    where s.id = advance_subscription.subscription_id
    for update;
    if v_subscription.due_at is null or v_subscription.due_at > advance_subscription.at then
      -- A grant that failed or waited for the payment.
      if v_subscription.status in ('trialing', 'active') then
        perform private.grant_quota(v_subscription.id);
      end if;
      return v_steps;
    end if;
    v_steps := v_steps + 1;
    v_end := v_subscription.current_period_end;

    if v_subscription.status = 'past_due' then
      perform private.transition_subscription(v_subscription.id, 'grace_ended', v_subscription.due_at);
      continue;
    end if;
    if v_end is null then
      -- A lifetime plan: only its tokens have periods.
      select * into v_quota
      from private.subscription_period('monthly', v_subscription.anchor_at, v_subscription.quota_period_end);
      update billing.user_subscriptions s
      set quota_period_start = v_quota.period_start, quota_period_end = v_quota.period_end
      where s.id = v_subscription.id;
      perform private.grant_quota(v_subscription.id);
      continue;
    end if;
    if v_subscription.cancel_at_period_end then
      perform private.transition_subscription(v_subscription.id, 'canceled', v_end);
      continue;
    end if;
    if v_subscription.pending_plan_id is not null then
      v_before := v_subscription;
      update billing.user_subscriptions s
      set
        plan_id = s.pending_plan_id,
        pending_plan_id = null,
        anchor_at = case when o.billing_cycle = n.billing_cycle then s.anchor_at else v_end end
      from billing.subscription_plans o, billing.subscription_plans n
      where s.id = v_before.id and o.id = s.plan_id and n.id = s.pending_plan_id
      returning s.* into v_subscription;
      perform private.record_subscription_change('downgraded', v_before, v_subscription, v_end);
    end if;
    select p.* into strict v_plan from billing.subscription_plans p where p.id = v_subscription.plan_id;
    if v_plan.price_cents = 0 then
      perform private.renew_subscription(v_subscription.id, 'renewed', v_end);
    elsif v_subscription.status = 'trialing' and v_subscription.provider is null then
      perform private.transition_subscription(v_subscription.id, 'trial_ended', v_end);
    else
      perform private.transition_subscription(v_subscription.id, 'payment_failed', v_end, 'payment_due');
    end if;
  end loop;
end
$$;

comment on function private.advance_subscription(subscription_id uuid, at timestamp with time zone) is 'Renews, expires and cancels one subscription up to a moment; returns the number of steps.';
revoke execute on function private.advance_subscription(subscription_id uuid, at timestamp with time zone) from public;

-- Advances up to batch_size subscriptions that are due; returns their number.
create or replace function private.advance_subscriptions(batch_size integer default 100)
  returns integer
  language sql
  security definer
  set search_path to 'pg_catalog'
as $$
  select private.advance_subscriptions_at(batch_size, now())
$$;

comment on function private.advance_subscriptions(batch_size integer) is 'Advances up to batch_size subscriptions that are due; returns their number.';
revoke execute on function private.advance_subscriptions(batch_size integer) from public;
grant execute on function private.advance_subscriptions(batch_size integer) to :PLINTH_WORKER;

-- Advances up to batch_size subscriptions that are due at a moment; returns their number.
create or replace function private.advance_subscriptions_at(batch_size integer, at timestamp with time zone)
  returns integer
  language plpgsql
  set search_path to 'pg_catalog'
as $$
declare
  v_row record;
  v_handled integer := 0;
begin
  if batch_size is null or batch_size not between 1 and 100000 then
    raise exception 'The batch size must be from 1 to 100000.' using errcode = 'PL422';
  end if;
  for v_row in
    select s.id, s.user_id
    from billing.user_subscriptions s
    where s.due_at <= advance_subscriptions_at.at
    order by s.due_at
    limit batch_size
  loop
    continue when not private.try_lock_account(v_row.user_id) or not private.try_lock_usage(v_row.user_id);
    begin
      if private.advance_subscription(v_row.id, advance_subscriptions_at.at) > 0 then
        v_handled := v_handled + 1;
      end if;
    exception
      when others then
        raise warning 'subscription % could not be advanced: %', v_row.id, sqlstate;
    end;
  end loop;
  return v_handled;
end
$$;

comment on function private.advance_subscriptions_at(batch_size integer, at timestamp with time zone) is 'Advances up to batch_size subscriptions that are due at a moment; returns their number.';
revoke execute on function private.advance_subscriptions_at(batch_size integer, at timestamp with time zone) from public;

-- Sets the progress of a user's active training to the share of the skill's items that the user completed, if that is higher.
create or replace function private.advance_training(user_id uuid, skill_id uuid)
  returns void
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
#variable_conflict use_column
declare
  v_training learning.training;
  v_share numeric;
begin
  select t.* into v_training
  from learning.training t
  where t.user_id = advance_training.user_id and t.skill_id = advance_training.skill_id and t.status = 'active'
  for no key update;
  if not found then
    return;
  end if;
  select trunc(count(p.completed_version)::numeric / nullif(count(*), 0), 4) into v_share
  from learning.content_skills cs
  join learning.content_items i on i.id = cs.item_id
  left join learning.content_progress p
    on p.item_id = i.id
    and p.user_id = v_training.user_id
    and (v_training.run = 1 or p.completed_at >= v_training.started_at)
  where cs.skill_id = v_training.skill_id
    and i.available_from <= now()
    and (i.available_until is null or i.available_until > now());
  if v_share > v_training.progress then
    update learning.training t
    set progress = v_share
    where t.user_id = v_training.user_id and t.skill_id = v_training.skill_id;
  end if;
end
$$;

comment on function private.advance_training(user_id uuid, skill_id uuid) is 'Sets the progress of a user''s active training to the share of the skill''s items that the user completed, if that is higher.';
revoke execute on function private.advance_training(user_id uuid, skill_id uuid) from public;

-- Counts a change of a user's memberships, read marks or invites, and announces it.
create or replace function private.announce_user(user_id uuid)
  returns void
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
declare
  v_sequence bigint;
begin
  -- An account that is being deleted has no subscribers.
  insert into rooms.user_event_counters as c (user_id, sequence)
  select u.id, 1 from identity.users u where u.id = announce_user.user_id
  on conflict on constraint user_event_counters_pkey do update set sequence = c.sequence + 1
  returning c.sequence into v_sequence;
  if v_sequence is not null then
    perform plinth.announce('user:' || announce_user.user_id, v_sequence);
  end if;
end
$$;

comment on function private.announce_user(user_id uuid) is 'Counts a change of a user''s memberships, read marks or invites, and announces it.';
revoke execute on function private.announce_user(user_id uuid) from public;

-- Appends the next delta of an answer, from sequence 1 on; see private.write_delta.
create or replace function private.append_delta(message_id uuid, sequence integer, content text default null::text, thinking text default null::text)
  returns integer
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
begin
  return private.write_delta(
    append_delta.message_id, append_delta.sequence, append_delta.content, append_delta.thinking, null, 'service'
  );
end
$$;

comment on function private.append_delta(message_id uuid, sequence integer, content text, thinking text) is 'Appends the next delta of an answer, from sequence 1 on; see private.write_delta.';
revoke execute on function private.append_delta(message_id uuid, sequence integer, content text, thinking text) from public;
grant execute on function private.append_delta(message_id uuid, sequence integer, content text, thinking text) to :PLINTH_SERVICE;

-- Appends the next deltas of an answer, the first of them as first_sequence; see private.write_deltas.
create or replace function private.append_deltas(message_id uuid, first_sequence integer, contents text[], thinking text[] default null::text[])
  returns integer
  language sql
  security definer
  set search_path to 'pg_catalog'
as $$
  select private.write_deltas(
    append_deltas.message_id, append_deltas.first_sequence, append_deltas.contents, append_deltas.thinking, null, 'service'
  )
$$;

comment on function private.append_deltas(message_id uuid, first_sequence integer, contents text[], thinking text[]) is 'Appends the next deltas of an answer, the first of them as first_sequence; see private.write_deltas.';
revoke execute on function private.append_deltas(message_id uuid, first_sequence integer, contents text[], thinking text[]) from public;
grant execute on function private.append_deltas(message_id uuid, first_sequence integer, contents text[], thinking text[]) to :PLINTH_SERVICE;

-- Adds an event to a room's log, locks the room and announces it; returns its number, or null for a deleted room.
create or replace function private.append_room_event(room_id uuid, kind text, message_id uuid default null::uuid, user_id uuid default null::uuid)
  returns bigint
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
declare
  v_sequence bigint;
begin
  update rooms.chat_rooms r
  set last_event_sequence = r.last_event_sequence + 1
  where r.id = append_room_event.room_id
  returning r.last_event_sequence into v_sequence;
  if v_sequence is not null then
    insert into rooms.room_changes (room_id, sequence, kind, message_id, user_id)
    values (
      append_room_event.room_id, v_sequence, append_room_event.kind, append_room_event.message_id,
      -- An account that is being deleted is not named.
      (select u.id from identity.users u where u.id = append_room_event.user_id)
    );
    perform plinth.announce('room:' || append_room_event.room_id, v_sequence);
  end if;
  return v_sequence;
end
$$;

comment on function private.append_room_event(room_id uuid, kind text, message_id uuid, user_id uuid) is 'Adds an event to a room''s log, locks the room and announces it; returns its number, or null for a deleted room.';
revoke execute on function private.append_room_event(room_id uuid, kind text, message_id uuid, user_id uuid) from public;

-- Adds the event that corrects a usage to these counts; returns the event. The caller has locked the user's ledger.
create or replace function private.apply_correction(event_id uuid, input_tokens bigint, output_tokens bigint, cached_input_tokens bigint, reasoning_tokens bigint, idempotency_key text, at timestamp with time zone)
  returns billing.usage_events
  language plpgsql
as $$
#variable_conflict use_column
declare
  v_event billing.usage_events;
  v_before record;
  v_taken record;
  v_difference bigint;
  v_back bigint;
begin
  select e.* into strict v_event from billing.usage_events e where e.id = apply_correction.event_id;
  select
    sum(e.input_tokens)::bigint as input_tokens,
    sum(e.output_tokens)::bigint as output_tokens,
    sum(e.cached_input_tokens)::bigint as cached_input_tokens,
    sum(e.reasoning_tokens)::bigint as reasoning_tokens,
    sum(e.overdraft_tokens)::bigint as overdraft_tokens
  into v_before
  from billing.usage_events e
  where e.id = v_event.id or e.corrects_event_id = v_event.id;

  v_event.input_tokens := apply_correction.input_tokens - v_before.input_tokens;
  v_event.output_tokens := apply_correction.output_tokens - v_before.output_tokens;
  v_event.cached_input_tokens := apply_correction.cached_input_tokens - v_before.cached_input_tokens;
  v_event.reasoning_tokens := apply_correction.reasoning_tokens - v_before.reasoning_tokens;
  v_difference := v_event.input_tokens + v_event.output_tokens;

  if v_difference > 0 then
    v_taken := private.take_tokens(v_event.user_id, v_difference, false, apply_correction.at);
    v_event.grant_ids := v_taken.grant_ids;
    v_event.grant_tokens := v_taken.grant_tokens;
    v_event.overdraft_tokens := v_taken.missing;
  else
    v_event.overdraft_tokens := - least(- v_difference, v_before.overdraft_tokens);
    v_back := v_event.overdraft_tokens - v_difference;
    v_event.grant_ids := '{}';
    v_event.grant_tokens := '{}';
    for v_taken in
      select a.grant_id, sum(a.tokens)::bigint as tokens
      from (
        select a.grant_id, a.tokens, row_number() over (order by e.created_at, e.id, a.position) as position
        from billing.usage_events e
        cross join unnest(e.grant_ids, e.grant_tokens) with ordinality as a (grant_id, tokens, position)
        where e.id = v_event.id or e.corrects_event_id = v_event.id
      ) a
      group by a.grant_id
      having sum(a.tokens) > 0
      order by max(a.position) filter (where a.tokens > 0) desc
    loop
      exit when v_back <= 0;
      v_taken.tokens := least(v_taken.tokens, v_back);
      update billing.token_grants g
      set
        consumed = g.consumed - v_taken.tokens,
        retired_at = case when g.expires_at <= apply_correction.at then g.retired_at end
      where g.id = v_taken.grant_id;
      v_event.grant_ids := v_event.grant_ids || v_taken.grant_id;
      v_event.grant_tokens := v_event.grant_tokens || - v_taken.tokens;
      v_back := v_back - v_taken.tokens;
    end loop;
  end if;

  v_event.corrects_event_id := v_event.id;
  v_event.id := plinth.uuid_v7();
  v_event.kind := 'correction';
  v_event.hold_id := null;
  v_event.idempotency_key := apply_correction.idempotency_key;
  v_event.created_at := apply_correction.at;
  return private.post_usage_event(v_event);
end
$$;

comment on function private.apply_correction(event_id uuid, input_tokens bigint, output_tokens bigint, cached_input_tokens bigint, reasoning_tokens bigint, idempotency_key text, at timestamp with time zone) is 'Adds the event that corrects a usage to these counts; returns the event. The caller has locked the user''s ledger.';
revoke execute on function private.apply_correction(event_id uuid, input_tokens bigint, output_tokens bigint, cached_input_tokens bigint, reasoning_tokens bigint, idempotency_key text, at timestamp with time zone) from public;

-- Merges a heartbeat into sessions and progress, once for each event_id of a user; returns the progress after it. PL409 when the event_id was used for another heartbeat.
create or replace function private.apply_heartbeat(user_id uuid, item_id uuid, event_id uuid, version integer, duration_seconds integer, from_seconds integer, to_seconds integer, active_seconds integer, occurred_at timestamp with time zone, access_checked_at timestamp with time zone, digest bytea)
  returns learning.content_progress
  language plpgsql
  set search_path to 'pg_catalog'
as $$
#variable_conflict use_column
declare
  v_gap constant interval := '30 minutes';
  v_occurred_at constant timestamptz := least(apply_heartbeat.occurred_at, now());
  v_began_at constant timestamptz := v_occurred_at - make_interval(secs => apply_heartbeat.active_seconds);
  v_covered constant int4multirange := int4multirange(int4range(apply_heartbeat.from_seconds, apply_heartbeat.to_seconds));
  v_stretch constant int4multirange := private.active_stretch(v_occurred_at, apply_heartbeat.active_seconds);
  v_session timestamptz;
  v_seconds integer;
  v_size integer;
  p learning.content_progress;
begin
  insert into private.recorded_heartbeats (user_id, event_id, digest)
  values (apply_heartbeat.user_id, apply_heartbeat.event_id, apply_heartbeat.digest)
  on conflict do nothing;
  if not found then
    if exists (
      select
      from private.recorded_heartbeats r
      where r.user_id = apply_heartbeat.user_id and r.event_id = apply_heartbeat.event_id and r.digest <> apply_heartbeat.digest
    ) then
      raise exception 'This event id was already used for another heartbeat.'
        using errcode = 'PL409', schema = 'learning', table = 'content_progress', column = 'event_id',
          hint = 'Use a new event id for each heartbeat.';
    end if;
    select t.* into p
    from learning.content_progress t
    where t.user_id = apply_heartbeat.user_id and t.item_id = apply_heartbeat.item_id;
    return p;
  end if;

  -- Nearly every heartbeat is the latest of the version being played, and needs little work.
  update learning.content_progress t
  set covered = t.covered + v_covered,
    covered_seconds = private.covered_seconds(t.covered + v_covered, apply_heartbeat.duration_seconds),
    duration_seconds = apply_heartbeat.duration_seconds,
    position_seconds = apply_heartbeat.to_seconds,
    position_at = v_occurred_at,
    active_seconds = t.active_seconds + private.added_seconds(t.active, v_stretch, apply_heartbeat.active_seconds),
    active = t.active + v_stretch,
    started_at = least(t.started_at, v_began_at),
    last_activity_at = greatest(t.last_activity_at, v_occurred_at),
    access_checked_at = apply_heartbeat.access_checked_at
  where t.user_id = apply_heartbeat.user_id
    and t.item_id = apply_heartbeat.item_id
    and t.version = apply_heartbeat.version
    and t.position_at < v_occurred_at
  returning t.* into p;
  while p.user_id is null loop
    -- A newer version is another text: its covered stretches and position start over. The sessions keep what was seen of the
    -- previous version, and completed items stay completed. An older version adds only time.
    update learning.content_progress t
    set version = greatest(t.version, apply_heartbeat.version),
      covered = case
        when apply_heartbeat.version = t.version then t.covered + v_covered
        when apply_heartbeat.version > t.version then v_covered
        else t.covered
      end,
      covered_seconds = case
        when apply_heartbeat.version = t.version
          then private.covered_seconds(t.covered + v_covered, apply_heartbeat.duration_seconds)
        when apply_heartbeat.version > t.version
          then private.covered_seconds(v_covered, apply_heartbeat.duration_seconds)
        else t.covered_seconds
      end,
      duration_seconds = apply_heartbeat.duration_seconds,
      position_seconds = case
        when (apply_heartbeat.version, v_occurred_at, apply_heartbeat.to_seconds)
          > (t.version, coalesce(t.position_at, '-infinity'), t.position_seconds)
          then apply_heartbeat.to_seconds
        else t.position_seconds
      end,
      position_at = case
        when (apply_heartbeat.version, v_occurred_at) > (t.version, coalesce(t.position_at, '-infinity')) then v_occurred_at
        else t.position_at
      end,
      active_seconds = t.active_seconds + private.added_seconds(t.active, v_stretch, apply_heartbeat.active_seconds),
      active = t.active + v_stretch,
      started_at = least(t.started_at, v_began_at),
      last_activity_at = greatest(t.last_activity_at, v_occurred_at),
      access_checked_at = apply_heartbeat.access_checked_at
    where t.user_id = apply_heartbeat.user_id and t.item_id = apply_heartbeat.item_id
    returning t.* into p;
    exit when found;
    insert into learning.content_progress (user_id, item_id, version, started_at, last_activity_at)
    values (apply_heartbeat.user_id, apply_heartbeat.item_id, apply_heartbeat.version, v_began_at, v_occurred_at)
    on conflict do nothing;
  end loop;

  -- Nearly every heartbeat continues the latest session.
  update learning.content_consumption c
  set last_activity_at = greatest(c.last_activity_at, v_occurred_at),
    active_seconds = c.active_seconds + private.added_seconds(c.active, v_stretch, apply_heartbeat.active_seconds),
    active = c.active + v_stretch,
    heartbeat_count = c.heartbeat_count + 1,
    covered = c.covered + v_covered
  where c.user_id = apply_heartbeat.user_id
    and c.item_id = apply_heartbeat.item_id
    and c.created_at = p.session_created_at
    and c.version = apply_heartbeat.version
    and c.started_at <= v_began_at
    and c.last_activity_at >= v_began_at - v_gap
  returning pg_column_size(c.active) into v_size;
  -- Beyond the first 140 stretches, one in twenty additions looks for gaps to close.
  if pg_column_size(p.active) > 1800 and pg_column_size(p.active) % 256 < 13 then
    update learning.content_progress t
    set active = private.bounded_stretches(t.active)
    where t.user_id = apply_heartbeat.user_id and t.item_id = apply_heartbeat.item_id
    returning t.* into p;
  end if;
  if v_size > 1800 and v_size % 256 < 13 then
    update learning.content_consumption c
    set active = private.bounded_stretches(c.active)
    where c.user_id = apply_heartbeat.user_id and c.item_id = apply_heartbeat.item_id and c.created_at = p.session_created_at;
  end if;
  if v_size is null then
    v_session := private.place_session(
      apply_heartbeat.user_id, apply_heartbeat.item_id, apply_heartbeat.version, v_covered, v_stretch,
      apply_heartbeat.active_seconds, v_began_at, v_occurred_at
    );
    -- The next heartbeat looks in the session with the latest activity, or in the session that absorbed it.
    if p.session_created_at is null or v_occurred_at >= p.last_activity_at or v_session < p.session_created_at and not exists (
      select
      from learning.content_consumption c
      where c.user_id = p.user_id and c.item_id = p.item_id and c.created_at = p.session_created_at
    ) then
      update learning.content_progress t
      set session_created_at = v_session
      where t.user_id = apply_heartbeat.user_id and t.item_id = apply_heartbeat.item_id
      returning t.* into p;
    end if;
  end if;

  if apply_heartbeat.version > coalesce(p.completed_version, 0) then
    v_seconds := p.covered_seconds;
    if apply_heartbeat.version < p.version then
      -- A late heartbeat of a version that the user has left behind.
      select private.covered_seconds(range_agg(c.covered), apply_heartbeat.duration_seconds) into v_seconds
      from learning.content_consumption c
      where c.user_id = apply_heartbeat.user_id
        and c.item_id = apply_heartbeat.item_id
        and c.version = apply_heartbeat.version;
    end if;
    if private.is_played(v_seconds, apply_heartbeat.duration_seconds) then
      update learning.content_progress t
      set completed_version = apply_heartbeat.version, completed_at = v_occurred_at
      where t.user_id = apply_heartbeat.user_id and t.item_id = apply_heartbeat.item_id
      returning t.* into p;
    end if;
  end if;
  return p;
end
$$;

comment on function private.apply_heartbeat(user_id uuid, item_id uuid, event_id uuid, version integer, duration_seconds integer, from_seconds integer, to_seconds integer, active_seconds integer, occurred_at timestamp with time zone, access_checked_at timestamp with time zone, digest bytea) is 'Merges a heartbeat into sessions and progress, once for each event_id of a user; returns the progress after it. PL409 when the event_id was used for another heartbeat.';
revoke execute on function private.apply_heartbeat(user_id uuid, item_id uuid, event_id uuid, version integer, duration_seconds integer, from_seconds integer, to_seconds integer, active_seconds integer, occurred_at timestamp with time zone, access_checked_at timestamp with time zone, digest bytea) from public;

-- Applies an event of a payment provider; returns applied, ignored, kept_current or waiting_for_….
create or replace function private.apply_payment_event(event private.payment_events)
  returns text
  language plpgsql
  set search_path to 'pg_catalog'
as $$
declare
  v_news jsonb := event.payload;
  v_kind text := v_news ->> 'kind';
  v_user_id uuid;
  v_payment billing.payments;
  -- Seconds of the provider's clock, then the later stage in a subscription's life, then any fixed order.
  v_order text := concat_ws(
    '.',
    lpad(floor(extract(epoch from event.occurred_at))::bigint::text, 12, '0'),
    coalesce(v_news ->> 'rank', '5'),
    event.provider_event_id
  );
begin
  if v_kind is null then
    return 'ignored';
  end if;
  -- Ours, because only our own checkout writes it into the provider's objects.
  v_user_id := (select u.id from identity.users u where u.id = (v_news ->> 'user_id')::uuid);
  if v_user_id is not null and event.provider_customer_id is not null then
    insert into billing.provider_customers (provider, provider_customer_id, user_id)
    values (event.provider, event.provider_customer_id, v_user_id)
    on conflict on constraint provider_customers_pkey do nothing;
  end if;
  v_user_id := coalesce(
    (
      select c.user_id
      from billing.provider_customers c
      where c.provider = event.provider and c.provider_customer_id = event.provider_customer_id
    ),
    v_user_id
  );
  -- Account first: the global lock order.
  perform from identity.users u where u.id = v_user_id for no key update;

  if v_kind in ('invoice', 'purchase') then
    insert into billing.payments as p (
      user_id, plan_id, provider, provider_payment_id, provider_reference, provider_subscription_id, amount_cents, currency,
      period_start, period_end, paid_at, failed_at, failure_code
    )
    select
      v_user_id, f.plan_id, event.provider, v_news ->> 'payment', v_news ->> 'reference', v_news ->> 'subscription',
      (v_news ->> 'amount')::bigint, upper(v_news ->> 'currency'), f.period_start, f.period_end,
      case when (v_news ->> 'paid')::boolean then event.occurred_at end,
      case when not (v_news ->> 'paid')::boolean then event.occurred_at end,
      v_news ->> 'failure_code'
    from private.payment_period(event.provider, v_news) f
    -- Nothing was charged (a trial, a full discount), so there is no payment.
    where (v_news ->> 'amount')::bigint > 0
    on conflict on constraint payments_provider_payment_key do update
    set
      user_id = coalesce(p.user_id, excluded.user_id),
      plan_id = coalesce(p.plan_id, excluded.plan_id),
      period_start = coalesce(p.period_start, excluded.period_start),
      period_end = coalesce(p.period_end, excluded.period_end),
      provider_reference = coalesce(p.provider_reference, excluded.provider_reference),
      amount_cents = case when p.paid_at is null then excluded.amount_cents else p.amount_cents end,
      paid_at = least(p.paid_at, excluded.paid_at),
      failed_at = greatest(p.failed_at, excluded.failed_at),
      failure_code = case
        when excluded.failed_at >= coalesce(p.failed_at, '-infinity') then coalesce(excluded.failure_code, p.failure_code)
        else p.failure_code
      end;
  elsif v_kind = 'transaction' then
    update billing.payments p
    set provider_reference = coalesce(p.provider_reference, v_news ->> 'reference')
    where p.provider = event.provider and p.provider_payment_id = v_news ->> 'payment';
    return case when found then 'applied' else 'waiting_for_payment' end;
  elsif v_kind in ('refund', 'refund_failed', 'dispute') then
    select p.* into v_payment
    from billing.payments p
    where p.provider = event.provider
      and (p.provider_payment_id in (v_news ->> 'payment', v_news ->> 'reference') or p.provider_reference = v_news ->> 'reference')
    order by p.provider_payment_id = v_news ->> 'payment' desc nulls last, p.id
    limit 1;
    if v_payment.id is null then
      return 'waiting_for_payment';
    end if;
    v_payment := private.merge_payment_reversal(v_payment.id, v_order, event.occurred_at, v_news);
    if exists (
      select
      from private.provider_subscriptions m
      where m.provider = event.provider and m.provider_subscription_id = v_payment.provider_subscription_id
    ) then
      return private.apply_provider_subscription(event.provider, v_payment.provider_subscription_id, event.occurred_at);
    end if;
    return 'applied';
  end if;

  if v_news ->> 'subscription' is null then
    return 'applied';
  end if;
  perform private.merge_provider_subscription(
    event.provider, v_news ->> 'subscription', v_order,
    v_news || jsonb_build_object('customer', event.provider_customer_id)
  );
  if v_kind in ('invoice', 'purchase') or (v_news ->> 'for_life')::boolean then
    perform private.merge_provider_invoice(event.provider, v_order, v_news);
  end if;
  if v_user_id is not null then
    update private.provider_subscriptions m
    set user_id = v_user_id
    where m.provider = event.provider
      and m.provider_subscription_id = v_news ->> 'subscription'
      and m.user_id is null;
  end if;
  return private.apply_provider_subscription(event.provider, v_news ->> 'subscription', event.occurred_at);
end
$$;

comment on function private.apply_payment_event(event private.payment_events) is 'Applies an event of a payment provider; returns applied, ignored, kept_current or waiting_for_….';
revoke execute on function private.apply_payment_event(event private.payment_events) from public;

-- Makes a user's subscription match its provider's events; returns applied, kept_current or waiting_for_….
create or replace function private.apply_provider_subscription(provider text, provider_subscription_id text, at timestamp with time zone)
  returns text
  language plpgsql
  set search_path to 'pg_catalog'
as $$
declare
  v_known private.provider_subscriptions;
  v_user_id uuid;
  v_plan billing.subscription_plans;
  v_status text;
  v_subscription billing.user_subscriptions;
  v_before billing.user_subscriptions;
  v_current billing.user_subscriptions;
  v_quota record;
  v_event text;
  v_cancels boolean;
  v_by_clock boolean;
  v_revives boolean := true;
  v_other text;
begin
  v_user_id := (
    select coalesce(m.user_id, c.user_id)
    from private.provider_subscriptions m
    left join billing.provider_customers c
      on c.provider = m.provider and c.provider_customer_id = m.provider_customer_id
    where m.provider = apply_provider_subscription.provider
      and m.provider_subscription_id = apply_provider_subscription.provider_subscription_id
  );
  if v_user_id is null then
    return 'waiting_for_customer';
  end if;
  -- Account first: the global lock order.
  perform from identity.users u where u.id = v_user_id for no key update;
  update private.provider_subscriptions m
  set user_id = v_user_id
  where m.provider = apply_provider_subscription.provider
    and m.provider_subscription_id = apply_provider_subscription.provider_subscription_id;
  v_known := private.conclude_provider_subscription(
    apply_provider_subscription.provider, apply_provider_subscription.provider_subscription_id
  );
  -- Payments that arrived before their user was known.
  update billing.payments p
  set user_id = v_user_id
  where p.provider = v_known.provider
    and p.provider_subscription_id = v_known.provider_subscription_id
    and p.user_id is null;
  select p.* into v_plan
  from billing.subscription_plans p
  where p.id = v_known.plan_id;
  if v_plan.id is null then
    return 'waiting_for_price';
  end if;
  if v_known.period_start is null then
    return 'waiting_for_period';
  end if;
  if not v_known.was_live then
    -- Never paid: an abandoned checkout.
    return 'applied';
  end if;
  v_status := v_known.standing;
  v_cancels := v_known.cancel_at_period_end or coalesce(v_known.cancel_at <= v_known.period_end, false);
  if v_status in ('trialing', 'active', 'past_due', 'paused')
    and v_known.revoked_period_end >= coalesce(v_known.period_end, 'infinity')
  then
    v_status := 'expired';
  end if;
  if v_status not in ('trialing', 'active', 'past_due', 'paused', 'canceled', 'expired') then
    return 'applied';
  end if;
  if v_known.period_end is null then
    select * into v_quota
    from private.subscription_period('monthly', v_known.period_start, greatest(apply_provider_subscription.at, v_known.period_start));
  else
    select v_known.period_start as period_start, v_known.period_end as period_end into v_quota;
  end if;

  select s.* into v_subscription
  from billing.user_subscriptions s
  where s.provider = v_known.provider and s.provider_subscription_id = v_known.provider_subscription_id
  for update;

  -- Our own clock ends a subscription when the provider is silent. The provider revives it only if it knows of time after that
  -- end. A subscription that ended because of a refund is revived when the money is back.
  if v_subscription.status in ('canceled', 'expired') then
    v_revives := coalesce(v_known.period_end, 'infinity') > v_subscription.ended_at;
    if v_subscription.status = 'expired' then
      select c.event = 'grace_ended' into v_by_clock
      from billing.subscription_changes c
      where c.subscription_id = v_subscription.id and c.to_status = 'expired' and c.from_status is distinct from 'expired'
      order by c.id desc
      limit 1;
      v_revives := not coalesce(v_by_clock, false) or (v_revives and v_status <> 'past_due');
    end if;
  end if;

  if v_status in ('trialing', 'active', 'past_due', 'paused') and v_revives then
    select s.* into v_current
    from billing.user_subscriptions s
    where s.user_id = v_user_id
      and s.status in ('trialing', 'active', 'past_due', 'paused')
      and s.id is distinct from v_subscription.id;
    if v_current.id is not null then
      if v_current.provider is null
        and (
          v_current.status in ('trialing', 'past_due')
          or exists (select from billing.subscription_plans p where p.id = v_current.plan_id and p.price_cents = 0)
        )
      then
        perform private.transition_subscription(v_current.id, 'canceled', apply_provider_subscription.at, 'replaced');
      else
        perform private.record_security_event(
          'second_subscription', v_user_id,
          jsonb_build_object('provider', v_known.provider, 'subscription_id', v_current.id), 'warning'
        );
        return 'kept_current';
      end if;
    end if;
  end if;

  if v_subscription.id is null then
    insert into billing.user_subscriptions (
      user_id, plan_id, status, started_at, anchor_at, current_period_start, current_period_end, cancel_at_period_end,
      trial_end, past_due_since, paused_at, ended_at, quota_period_start, quota_period_end, provider, provider_subscription_id
    ) values (
      v_user_id, v_plan.id, v_status, v_known.started_at, v_known.period_start, v_known.period_start, v_known.period_end,
      v_cancels,
      case when v_status = 'trialing' then coalesce(v_known.trial_end, v_known.period_end) else v_known.trial_end end,
      case when v_status = 'past_due' then apply_provider_subscription.at end,
      case when v_status = 'paused' then apply_provider_subscription.at end,
      case when v_status in ('canceled', 'expired') then coalesce(v_known.ended_at, apply_provider_subscription.at) end,
      v_quota.period_start, v_quota.period_end, v_known.provider, v_known.provider_subscription_id
    )
    returning * into v_subscription;
    perform private.record_subscription_change(
      case when v_status = 'trialing' then 'trial_started' else 'started' end, null, v_subscription, v_known.started_at,
      jsonb_build_object('charge_cents', case when v_status = 'trialing' then 0 else v_plan.price_cents end)
    );
  else
    if v_subscription.plan_id <> v_plan.id then
      perform private.follow_provider_plan(v_subscription, v_plan, v_known, apply_provider_subscription.at);
    end if;
    v_before := v_subscription;
    update billing.user_subscriptions s
    set
      started_at = least(s.started_at, v_known.started_at),
      anchor_at = v_known.period_start,
      current_period_start = v_known.period_start,
      current_period_end = v_known.period_end,
      quota_period_start = case when v_known.period_end is null then s.quota_period_start else v_known.period_start end,
      quota_period_end = coalesce(v_known.period_end, s.quota_period_end),
      cancel_at_period_end = v_cancels,
      trial_end = case when s.status = 'trialing' or v_status = 'trialing' then coalesce(v_known.trial_end, v_known.period_end) else v_known.trial_end end,
      ended_at = case when s.status = 'canceled' then coalesce(v_known.ended_at, s.ended_at) else s.ended_at end
    where s.id = v_subscription.id
    returning s.* into v_subscription;
    if v_before.current_period_start < v_subscription.current_period_start
      and v_status = v_before.status
    then
      perform private.record_subscription_change('renewed', v_before, v_subscription, v_subscription.current_period_start);
    end if;
    v_event := case
      when v_status = v_subscription.status then null
      when v_status = 'canceled' then 'canceled'
      when v_status = 'expired' then case when v_subscription.status <> 'canceled' then 'revoked' end
      when not v_revives then null
      when v_subscription.status = 'expired' and v_by_clock and v_status = 'active' then 'payment_succeeded'
      else 'provider_' || v_status
    end;
    if v_event is not null then
      perform private.transition_subscription(
        v_subscription.id, v_event,
        case when v_status = 'canceled' then coalesce(v_known.ended_at, apply_provider_subscription.at) else apply_provider_subscription.at end
      );
      update billing.user_subscriptions s
      set ended_at = v_known.ended_at
      where s.id = v_subscription.id and s.status = 'canceled' and v_known.ended_at is not null;
      if v_subscription.ended_at is not null
        and v_status in ('trialing', 'active', 'past_due', 'paused')
        and v_subscription.quota_granted_from = v_subscription.quota_period_start
      then
        perform private.reopen_plan_grants(v_subscription.id);
      end if;
    end if;
  end if;
  update billing.payments p
  set subscription_id = v_subscription.id
  where p.provider = v_known.provider
    and p.provider_subscription_id = v_known.provider_subscription_id
    and p.subscription_id is null;
  perform private.grant_quota(v_subscription.id);
  perform private.top_up_quota(v_subscription.id, apply_provider_subscription.at);

  -- Another subscription that was set aside for this one takes its place.
  if v_status in ('canceled', 'expired') then
    for v_other in
      select m.provider_subscription_id
      from private.provider_subscriptions m
      where m.user_id = v_user_id
        and m.provider = v_known.provider
        and m.provider_subscription_id <> v_known.provider_subscription_id
        and m.standing in ('trialing', 'active', 'past_due', 'paused')
        and m.revoked_period_end is null
      order by m.started_at, m.provider_subscription_id
    loop
      perform private.apply_provider_subscription(v_known.provider, v_other, apply_provider_subscription.at);
    end loop;
  end if;
  return 'applied';
end
$$;

comment on function private.apply_provider_subscription(provider text, provider_subscription_id text, at timestamp with time zone) is 'Makes a user''s subscription match its provider''s events; returns applied, kept_current or waiting_for_….';
revoke execute on function private.apply_provider_subscription(provider text, provider_subscription_id text, at timestamp with time zone) from public;

-- Returns the user's grants in force with the rest of each, in the order of use; a row without an id holds what the free plan has not yet granted this month.
create or replace function private.available_grants(user_id uuid, at timestamp with time zone)
  returns setof billing.grant_balance
  language sql
  stable
as $$
  select b.grant_id, b.source, b.available, b.held, b.expires_at
  from (
    select
      g.id as grant_id,
      g.source,
      g.amount - g.consumed - g.held + due.tokens as available,
      g.held - due.tokens as held,
      g.expires_at,
      g.priority,
      g.created_at
    from billing.token_grants g
    cross join lateral (
      select coalesce(sum(a.tokens), 0)::bigint as tokens
      from billing.usage_tracking t
      join billing.token_holds h
        on h.user_id = t.user_id
        and h.state = 'open'
        and h.expires_at between t.next_hold_expires_at and available_grants.at
      cross join unnest(h.grant_ids, h.grant_tokens) as a (grant_id, tokens)
      where t.user_id = available_grants.user_id and a.grant_id = g.id
    ) due
    where g.user_id = available_grants.user_id
      and g.retired_at is null
      and g.starts_at <= available_grants.at
      and (g.expires_at is null or g.expires_at > available_grants.at)
    union all
    select null, 'plan', p.token_quota, 0, m.ends_at, 100, available_grants.at
    from private.free_plan() p
    cross join (
      select
        date_trunc('month', available_grants.at at time zone 'UTC') as starts,
        (date_trunc('month', available_grants.at at time zone 'UTC') + interval '1 month') at time zone 'UTC' as ends_at
    ) m
    where p.id is not null
      and p.token_quota is distinct from 0
      and exists (select from identity.users u where u.id = available_grants.user_id)
      and not exists (
        select
        from private.free_quotas q
        where q.user_id = available_grants.user_id and q.granted_month >= m.starts::date
      )
      and private.current_plan_code(available_grants.user_id) = 'free'
  ) b
  order by b.priority, b.expires_at, b.created_at, b.grant_id
$$;

comment on function private.available_grants(user_id uuid, at timestamp with time zone) is 'Returns the user''s grants in force with the rest of each, in the order of use; a row without an id holds what the free plan has not yet granted this month.';
revoke execute on function private.available_grants(user_id uuid, at timestamp with time zone) from public;

-- Trigger: bills the text streamed so far when a streaming answer is deleted.
create or replace function private.bill_deleted_turn()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
declare
  v_model_id uuid;
begin
  if exists (select from identity.users u where u.id = old.user_id) then
    select h.model_id into v_model_id from billing.token_holds h where h.id = old.hold_id;
    perform private.bill_turn(
      old, v_model_id, old.input_tokens, private.estimated_tokens(old.streamed_bytes)
    );
  end if;
  return old;
end
$$;

comment on function private.bill_deleted_turn() is 'Trigger: bills the text streamed so far when a streaming answer is deleted.';
revoke execute on function private.bill_deleted_turn() from public;

-- Settles the hold of a turn for what it used, or releases it; records the usage where the hold was released before.
create or replace function private.bill_turn(turn private.turns, model_id uuid, input_tokens bigint, output_tokens bigint, cached_input_tokens bigint default 0, reasoning_tokens bigint default 0, message_id uuid default null::uuid)
  returns void
  language plpgsql
  set search_path to 'pg_catalog'
as $$
declare
  v_hold record;
  v_event billing.usage_events;
  v_locked timestamptz;
begin
  select h.state, h.usage_event_id into v_hold from billing.token_holds h where h.id = turn.hold_id;
  -- A service that ends the hold itself must not prevent the end of the answer.
  if v_hold.state = 'settled' then
    v_locked := private.lock_usage(turn.user_id, now());
    select e.* into strict v_event from billing.usage_events e where e.id = v_hold.usage_event_id;
    v_event.message_id := bill_turn.message_id;
    if v_event.message_id is not null then
      perform private.claim_message(v_event, now());
    end if;
  elsif bill_turn.input_tokens + bill_turn.output_tokens = 0 then
    perform private.release_hold(turn.hold_id) where v_hold.state is not null;
  elsif v_hold.state is null or v_hold.state = 'released' then
    perform private.record_usage(
      turn.user_id, bill_turn.model_id, bill_turn.input_tokens, bill_turn.output_tokens, 'turn:' || turn.message_id,
      bill_turn.cached_input_tokens, bill_turn.reasoning_tokens, null, bill_turn.message_id
    );
  else
    perform private.settle_hold(
      turn.hold_id, bill_turn.input_tokens, bill_turn.output_tokens, bill_turn.cached_input_tokens,
      bill_turn.reasoning_tokens, null, bill_turn.message_id
    );
  end if;
end
$$;

comment on function private.bill_turn(turn private.turns, model_id uuid, input_tokens bigint, output_tokens bigint, cached_input_tokens bigint, reasoning_tokens bigint, message_id uuid) is 'Settles the hold of a turn for what it used, or releases it; records the usage where the hold was released before.';
revoke execute on function private.bill_turn(turn private.turns, model_id uuid, input_tokens bigint, output_tokens bigint, cached_input_tokens bigint, reasoning_tokens bigint, message_id uuid) from public;

-- Returns the same stretches, without the shortest gaps between them if there are many.
create or replace function private.bounded_stretches(active int4multirange)
  returns int4multirange
  language sql
  stable
  set search_path to 'pg_catalog'
as $$
  with stretches as (
    select lower(r) as began, upper(r) as ended, lower(r) - lag(upper(r)) over (order by r) as gap from unnest(active) r
  ),
  closing as (
    select
      case
        when pg_column_size(active) > 16384 then greatest(percentile_disc(0.5) within group (order by s.gap), 2)
        when pg_column_size(active) > 1800 then 2
        else 0
      end as gap
    from stretches s
  )
  select coalesce(range_agg(int4range(s.began - case when s.gap <= c.gap then s.gap else 0 end, s.ended)), '{}')
  from stretches s cross join closing c
$$;

comment on function private.bounded_stretches(active int4multirange) is 'Returns the same stretches, without the shortest gaps between them if there are many.';
revoke execute on function private.bounded_stretches(active int4multirange) from public;

-- Ends up to batch_size answers whose writer's lease has expired; returns their number. A turn that cannot be ended is left with a warning.
create or replace function private.break_off_expired_turns(batch_size integer default 100)
  returns integer
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
declare
  v_id uuid;
  v_turns integer := 0;
begin
  if batch_size is null or batch_size not between 1 and 10000 then
    raise exception 'batch_size must be from 1 to 10000.' using errcode = 'PL422';
  end if;
  for v_id in
    select t.message_id
    from private.turns t
    where t.ended_at is null and t.lease_expires_at <= clock_timestamp()
    order by t.user_id, t.chat_id
    limit batch_size
  loop
    begin
      perform private.end_turn(v_id, 'broken_off', 'expired', only_expired => true);
      v_turns := v_turns + 1;
    exception
      -- The chat was deleted in the meantime, and the turn with it.
      when sqlstate 'PL404' then
        v_turns := v_turns + 1;
      -- A turn that fails is reported and does not block the others.
      when others then
        raise warning 'turn % could not be ended: %', v_id, sqlstate;
    end;
  end loop;
  return v_turns;
end
$$;

comment on function private.break_off_expired_turns(batch_size integer) is 'Ends up to batch_size answers whose writer''s lease has expired; returns their number. A turn that cannot be ended is left with a warning.';
revoke execute on function private.break_off_expired_turns(batch_size integer) from public;
grant execute on function private.break_off_expired_turns(batch_size integer) to :PLINTH_WORKER;

-- Ends a failed answer with the text received; see private.end_turn.
create or replace function private.break_off_turn(message_id uuid, error_code text default null::text, error_message text default null::text, input_tokens bigint default null::bigint, output_tokens bigint default null::bigint, cached_input_tokens bigint default 0, reasoning_tokens bigint default 0)
  returns llm.messages
  language sql
  security definer
  set search_path to 'pg_catalog'
as $$
  select private.end_turn(
    break_off_turn.message_id, 'broken_off', 'error', break_off_turn.error_code, break_off_turn.error_message, null, null,
    break_off_turn.input_tokens, break_off_turn.output_tokens, break_off_turn.cached_input_tokens,
    break_off_turn.reasoning_tokens, null, 'service'
  )
$$;

comment on function private.break_off_turn(message_id uuid, error_code text, error_message text, input_tokens bigint, output_tokens bigint, cached_input_tokens bigint, reasoning_tokens bigint) is 'Ends a failed answer with the text received; see private.end_turn.';
revoke execute on function private.break_off_turn(message_id uuid, error_code text, error_message text, input_tokens bigint, output_tokens bigint, cached_input_tokens bigint, reasoning_tokens bigint) from public;
grant execute on function private.break_off_turn(message_id uuid, error_code text, error_message text, input_tokens bigint, output_tokens bigint, cached_input_tokens bigint, reasoning_tokens bigint) to :PLINTH_SERVICE;

-- Returns whether a user may use a model.
create or replace function private.can_user_use_model(user_id uuid, model_id uuid)
  returns boolean
  language sql
  stable parallel safe
  set search_path to 'pg_catalog'
as $$
  select exists (
    select
    from llm.models m
    join llm.model_providers p on p.id = m.provider_id
    where m.id = can_user_use_model.model_id
      and m.is_active
      and p.is_active
      and (
        m.is_public
        or exists (
          select
          from access.user_model_access a
          where a.user_id = can_user_use_model.user_id
            and a.model_id = m.id
            and a.is_active
        )
      )
  )
$$;

comment on function private.can_user_use_model(user_id uuid, model_id uuid) is 'Returns whether a user may use a model.';
revoke execute on function private.can_user_use_model(user_id uuid, model_id uuid) from public;

-- Replaces or deletes the text of a general chat message, and keeps the previous one. PL401, PL403, PL404, PL409.
create or replace function private.change_general_chat_message(message_id uuid, content text)
  returns rooms.general_chat_messages
  language plpgsql
  set search_path to 'pg_catalog'
as $$
declare
  v_user constant uuid := plinth.current_user_id();
  v_message rooms.general_chat_messages;
begin
  if v_user is null then
    raise exception 'You must be signed in.' using errcode = 'PL401';
  end if;
  perform from identity.users u where u.id = v_user for key share;
  select m.* into v_message
  from rooms.general_chat_messages m
  where m.id = change_general_chat_message.message_id
  for no key update;
  if v_message.id is null then
    raise exception 'Message not found.' using errcode = 'PL404';
  elsif v_message.sender_id is distinct from v_user
    and not (content = '' and access.has_permission('moderate_general_chat'))
  then
    raise exception 'This is not your message.' using errcode = 'PL403';
  elsif v_message.content = content then
    return v_message;
  elsif v_message.is_deleted then
    raise exception 'This message was deleted.' using errcode = 'PL409';
  end if;
  insert into rooms.general_chat_revisions (message_id, revision, author_id, actor_id, change, content)
  select
    v_message.id, count(*) + 1, v_message.sender_id, v_user,
    case when change_general_chat_message.content = '' then 'deleted' else 'edited' end, v_message.content
  from rooms.general_chat_revisions r
  where r.message_id = v_message.id;
  update rooms.general_chat_messages m
  set
    content = change_general_chat_message.content,
    is_deleted = change_general_chat_message.content = '',
    deleted_at = case when change_general_chat_message.content = '' then clock_timestamp() end,
    edited_at = case when change_general_chat_message.content = '' then m.edited_at else clock_timestamp() end
  where m.id = v_message.id
  returning m.* into v_message;
  return v_message;
end
$$;

comment on function private.change_general_chat_message(message_id uuid, content text) is 'Replaces or deletes the text of a general chat message, and keeps the previous one. PL401, PL403, PL404, PL409.';
revoke execute on function private.change_general_chat_message(message_id uuid, content text) from public;

-- Sets a new password and ends the other sessions unless end_other_sessions is false; no row when refused. Counts and audits in both cases.
create or replace function private.change_password(user_id uuid, session_id uuid, password_matches boolean, checked_token_version integer, new_password_hash text, new_hash_algorithm text, refresh_token_hash bytea, suffices_alone boolean default true, end_other_sessions boolean default true, checked_password_hash text default null::text, is_known boolean default false, history_length integer default 5)
  returns table(token_version integer, refresh_expires_at timestamp with time zone, is_refused_as_known boolean)
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
#variable_conflict use_column
begin
  if not private.confirm_password(
    change_password.user_id, change_password.session_id, change_password.password_matches,
    change_password.checked_token_version, change_password.checked_password_hash, 'password_change_failed'
  ) then
    return;
  end if;
  -- Reported only to a caller who knows the current password; otherwise it would allow uncounted guesses.
  is_refused_as_known := change_password.is_known;
  if is_refused_as_known then
    perform private.record_security_event(
      'password_change_failed', change_password.user_id, jsonb_build_object('reason', 'used_before')
    );
    return next;
    return;
  end if;

  perform private.set_password(
    change_password.user_id, change_password.new_password_hash, change_password.new_hash_algorithm,
    change_password.suffices_alone, change_password.history_length
  );
  update identity.users u
  set
    password_changed_at = now(),
    token_version = u.token_version + change_password.end_other_sessions::integer,
    failed_login_attempts = 0
  where u.id = change_password.user_id
  returning u.token_version into token_version;

  if change_password.end_other_sessions then
    perform private.end_sessions(change_password.user_id, 'password_changed', change_password.session_id);
  end if;
  -- The old family of this session ends as well; its tokens are deleted, so they are simply unknown.
  delete from private.refresh_tokens t where t.session_id = change_password.session_id;
  refresh_expires_at := private.issue_refresh_token(change_password.session_id, change_password.refresh_token_hash);
  perform private.record_security_event(
    'password_changed', change_password.user_id,
    jsonb_build_object('ended_other_sessions', change_password.end_other_sessions)
  );
  perform private.notify_user(change_password.user_id, 'password-changed');
  return next;
end
$$;

comment on function private.change_password(user_id uuid, session_id uuid, password_matches boolean, checked_token_version integer, new_password_hash text, new_hash_algorithm text, refresh_token_hash bytea, suffices_alone boolean, end_other_sessions boolean, checked_password_hash text, is_known boolean, history_length integer) is 'Sets a new password and ends the other sessions unless end_other_sessions is false; no row when refused. Counts and audits in both cases.';
revoke execute on function private.change_password(user_id uuid, session_id uuid, password_matches boolean, checked_token_version integer, new_password_hash text, new_hash_algorithm text, refresh_token_hash bytea, suffices_alone boolean, end_other_sessions boolean, checked_password_hash text, is_known boolean, history_length integer) from public;
grant execute on function private.change_password(user_id uuid, session_id uuid, password_matches boolean, checked_token_version integer, new_password_hash text, new_hash_algorithm text, refresh_token_hash bytea, suffices_alone boolean, end_other_sessions boolean, checked_password_hash text, is_known boolean, history_length integer) to :PLINTH_SERVICE;

-- Changes the plan of a trialing or active subscription at once; returns the change with its proration. PL409, PL422.
create or replace function private.change_subscription_plan(subscription_id uuid, plan_id uuid, at timestamp with time zone)
  returns billing.subscription_changes
  language plpgsql
  set search_path to 'pg_catalog'
as $$
declare
  v_before billing.user_subscriptions;
  v_after billing.user_subscriptions;
  v_old billing.subscription_plans;
  v_new billing.subscription_plans;
  v_proration record;
  v_charge bigint;
  v_restarts boolean;
  v_period record;
  v_quota record;
  v_tokens bigint := 0;
begin
  select s.* into v_before
  from billing.user_subscriptions s
  where s.id = change_subscription_plan.subscription_id
  for update;
  select p.* into v_old from billing.subscription_plans p where p.id = v_before.plan_id;
  select p.* into v_new from billing.subscription_plans p where p.id = change_subscription_plan.plan_id;
  if v_before.id is null or v_new.id is null then
    raise exception 'Subscription or plan not found.' using errcode = 'PL404', column = 'plan_id';
  end if;
  if v_before.status not in ('trialing', 'active') then
    raise exception 'A subscription with status % cannot change its plan.', v_before.status using errcode = 'PL409';
  end if;
  if v_old.id = v_new.id then
    raise exception 'The subscription is already on that plan.' using errcode = 'PL409', column = 'plan_id';
  end if;
  if v_old.billing_cycle = 'lifetime' then
    raise exception 'A lifetime plan cannot be changed.' using errcode = 'PL409', column = 'plan_id';
  end if;
  perform private.require_same_currency(v_old, v_new);

  v_restarts := v_before.status = 'active'
    and (v_old.billing_cycle <> v_new.billing_cycle or (v_old.price_cents = 0 and v_new.price_cents > 0));
  select * into v_proration
  from private.proration(
    v_old.price_cents, v_new.price_cents, v_before.current_period_start, v_before.current_period_end,
    change_subscription_plan.at
  );
  v_charge := case when v_restarts then v_new.price_cents else v_proration.charge_cents end;
  if v_before.status = 'trialing' then
    v_proration.credit_cents := 0;
    v_charge := 0;
  end if;

  if v_restarts then
    select * into v_period
    from private.subscription_period(v_new.billing_cycle, change_subscription_plan.at, change_subscription_plan.at);
    v_quota := v_period;
    if v_period.period_end is null then
      select * into v_quota
      from private.subscription_period('monthly', change_subscription_plan.at, change_subscription_plan.at);
    end if;
    update billing.user_subscriptions s
    set
      plan_id = v_new.id,
      pending_plan_id = null,
      anchor_at = change_subscription_plan.at,
      current_period_start = v_period.period_start,
      current_period_end = v_period.period_end,
      quota_period_start = v_quota.period_start,
      quota_period_end = v_quota.period_end,
      quota_granted_from = case when v_old.code <> 'free' then s.quota_granted_from end
    where s.id = v_before.id;
    perform private.grant_quota(v_before.id);
  else
    update billing.user_subscriptions s
    set plan_id = v_new.id, pending_plan_id = null
    where s.id = v_before.id;
    v_tokens := private.top_up_quota(v_before.id, change_subscription_plan.at);
  end if;
  select s.* into strict v_after from billing.user_subscriptions s where s.id = v_before.id;
  return private.record_subscription_change(
    case when private.is_upgrade(v_old, v_new) then 'upgraded' else 'downgraded' end,
    v_before, v_after, change_subscription_plan.at,
    jsonb_build_object(
      'credit_cents', v_proration.credit_cents, 'charge_cents', v_charge, 'period_seconds', v_proration.period_seconds,
      'unused_seconds', v_proration.unused_seconds, 'tokens_granted', v_tokens
    )
  );
end
$$;

comment on function private.change_subscription_plan(subscription_id uuid, plan_id uuid, at timestamp with time zone) is 'Changes the plan of a trialing or active subscription at once; returns the change with its proration. PL409, PL422.';
revoke execute on function private.change_subscription_plan(subscription_id uuid, plan_id uuid, at timestamp with time zone) from public;

-- Allows the signed-in account to change its providers and locks its row; PL401 without a live session, PL403 without a recent sign-in.
create or replace function private.check_provider_change()
  returns void
  language plpgsql
  set search_path to 'pg_catalog'
as $$
begin
  perform from identity.users u where u.id = plinth.current_user_id() and u.account_status = 'active' for no key update;
  if not found then
    raise exception 'You must be signed in.' using errcode = 'PL401';
  end if;
  perform
  from identity.user_sessions s
  where s.id = plinth.current_session_id()
    and s.user_id = plinth.current_user_id()
    and s.ended_at is null
    and s.expires_at > now()
  for key share;
  if not found then
    raise exception 'You must be signed in.' using errcode = 'PL401';
  end if;
  perform private.require_recent_authentication();
end
$$;

comment on function private.check_provider_change() is 'Allows the signed-in account to change its providers and locks its row; PL401 without a live session, PL403 without a recent sign-in.';
revoke execute on function private.check_provider_change() from public;

-- Raises PL422 unless 0 <= cached <= input and 0 <= reasoning <= output, each up to 10^12; otherwise returns true.
create or replace function private.check_token_counts(input_tokens bigint, output_tokens bigint, cached_input_tokens bigint, reasoning_tokens bigint)
  returns boolean
  language plpgsql
  immutable
as $$
declare
  v_column text := case
    when input_tokens between 0 and 1000000000000 is not true then 'input_tokens'
    when output_tokens between 0 and 1000000000000 is not true then 'output_tokens'
    when cached_input_tokens between 0 and input_tokens is not true then 'cached_input_tokens'
    when reasoning_tokens between 0 and output_tokens is not true then 'reasoning_tokens'
  end;
begin
  if v_column is not null then
    raise exception 'Invalid token count.'
      using errcode = 'PL422', column = v_column,
        hint = 'Cached tokens are part of the input, reasoning tokens of the output.';
  end if;
  return true;
end
$$;

comment on function private.check_token_counts(input_tokens bigint, output_tokens bigint, cached_input_tokens bigint, reasoning_tokens bigint) is 'Raises PL422 unless 0 <= cached <= input and 0 <= reasoning <= output, each up to 10^12; otherwise returns true.';
revoke execute on function private.check_token_counts(input_tokens bigint, output_tokens bigint, cached_input_tokens bigint, reasoning_tokens bigint) from public;

-- Makes an event the one that counts its message. The caller has locked the user's ledger.
create or replace function private.claim_message(event billing.usage_events, at timestamp with time zone)
  returns void
  language plpgsql
as $$
declare
  v_reported uuid;
begin
  select k.event_id into v_reported
  from private.usage_keys k
  join billing.usage_events e on e.id = k.event_id and e.source in ('message', 'self_reported')
  where k.user_id = event.user_id and k.operation = 'message' and k.idempotency_key = event.message_id::text;
  if found then
    perform private.apply_correction(v_reported, 0, 0, 0, 0, null, claim_message.at);
  end if;
  insert into private.usage_keys as k (user_id, operation, idempotency_key, arguments, event_id)
  values (event.user_id, 'message', event.message_id::text, '{}', event.id)
  on conflict on constraint usage_keys_pkey do update
  set event_id = excluded.event_id
  where k.event_id = v_reported;
end
$$;

comment on function private.claim_message(event billing.usage_events, at timestamp with time zone) is 'Makes an event the one that counts its message. The caller has locked the user''s ledger.';
revoke execute on function private.claim_message(event billing.usage_events, at timestamp with time zone) from public;

-- Returns the network of one client: /32 for IPv4, /56 for IPv6.
create or replace function private.client_network_of(address inet)
  returns cidr
  language sql
  immutable parallel safe
as $$
  select network(set_masklen(address, case family(address) when 4 then 32 else 56 end))::cidr
$$;

comment on function private.client_network_of(address inet) is 'Returns the network of one client: /32 for IPv4, /56 for IPv6.';
revoke execute on function private.client_network_of(address inet) from public;

-- Ends the plan grants of a source and carries over up to rollover_limit unused, unheld tokens; returns their number. The same key again returns the same number.
create or replace function private.close_plan_grant(user_id uuid, source_id uuid, closed_at timestamp with time zone, rollover_limit bigint, rollover_expires_at timestamp with time zone, idempotency_key text, at timestamp with time zone default now())
  returns bigint
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
#variable_conflict use_column
declare
  v_locked timestamptz;
  v_arguments jsonb := jsonb_build_array(
    close_plan_grant.source_id, extract(epoch from close_plan_grant.closed_at), close_plan_grant.rollover_limit,
    extract(epoch from close_plan_grant.rollover_expires_at)
  );
  v_key private.usage_keys;
  v_carried bigint;
  v_priority integer;
  v_last text;
begin
  if close_plan_grant.closed_at is null then
    raise exception 'A closing time is required.' using errcode = 'PL422', column = 'closed_at';
  end if;
  if close_plan_grant.rollover_limit >= 0 is not true then
    raise exception 'The rollover limit must not be negative.' using errcode = 'PL422', column = 'rollover_limit';
  end if;
  v_locked := private.lock_usage(close_plan_grant.user_id, close_plan_grant.at);
  v_key := private.used_key(close_plan_grant.user_id, 'close_grant', close_plan_grant.idempotency_key, v_arguments);
  if v_key.amount is not null then
    return v_key.amount;
  end if;
  -- The period's grants have usually ended when a late job closes them. The next period may have begun at that moment; its grant
  -- is chosen only if there is none before it.
  with period as (
    select g.id, g.starts_at < close_plan_grant.closed_at as began_before
    from billing.token_grants g
    where g.user_id = close_plan_grant.user_id
      and g.source = 'plan'
      and g.source_id = close_plan_grant.source_id
      and g.closed_at is null
      and g.starts_at <= close_plan_grant.closed_at
      and (g.expires_at is null or g.expires_at >= close_plan_grant.closed_at)
  ),
  closed as (
    update billing.token_grants g
    set expires_at = close_plan_grant.closed_at, closed_at = close_plan_grant.at
    from period p
    where g.id = p.id and (p.began_before or not exists (select from period o where o.began_before))
    returning g.id, g.priority, g.amount - g.consumed - g.held as rest
  )
  -- An unlimited grant has no rest to carry over.
  select least(coalesce(sum(c.rest), 0), close_plan_grant.rollover_limit, 1000000000000000), min(c.priority), max(c.id::text)
  into v_carried, v_priority, v_last
  from closed c;
  if v_carried > 0 then
    perform private.grant_tokens(
      close_plan_grant.user_id, v_carried, 'rollover', close_plan_grant.source_id, v_priority,
      close_plan_grant.closed_at, close_plan_grant.rollover_expires_at, 'rollover of ' || v_last, close_plan_grant.at
    );
  end if;
  insert into private.usage_keys (user_id, operation, idempotency_key, arguments, amount)
  values (close_plan_grant.user_id, 'close_grant', close_plan_grant.idempotency_key, v_arguments, v_carried);
  return v_carried;
end
$$;

comment on function private.close_plan_grant(user_id uuid, source_id uuid, closed_at timestamp with time zone, rollover_limit bigint, rollover_expires_at timestamp with time zone, idempotency_key text, at timestamp with time zone) is 'Ends the plan grants of a source and carries over up to rollover_limit unused, unheld tokens; returns their number. The same key again returns the same number.';
revoke execute on function private.close_plan_grant(user_id uuid, source_id uuid, closed_at timestamp with time zone, rollover_limit bigint, rollover_expires_at timestamp with time zone, idempotency_key text, at timestamp with time zone) from public;
grant execute on function private.close_plan_grant(user_id uuid, source_id uuid, closed_at timestamp with time zone, rollover_limit bigint, rollover_expires_at timestamp with time zone, idempotency_key text, at timestamp with time zone) to :PLINTH_SERVICE;

-- Ends the unlimited plan grants of a source; limited ones stay.
create or replace function private.close_unlimited_grants(user_id uuid, source_id uuid, closed_at timestamp with time zone)
  returns void
  language plpgsql
  set search_path to 'pg_catalog'
as $$
declare
  v_locked timestamptz;
  v_last uuid;
begin
  v_locked := private.lock_usage(close_unlimited_grants.user_id, now());
  with closed as (
    update billing.token_grants g
    set expires_at = greatest(close_unlimited_grants.closed_at, g.starts_at), closed_at = now()
    where g.user_id = close_unlimited_grants.user_id
      and g.source = 'plan'
      and g.source_id = close_unlimited_grants.source_id
      and g.amount is null
      and g.closed_at is null
    returning g.id
  )
  select max(c.id::text)::uuid into v_last from closed c;
  if v_last is not null then
    insert into private.usage_keys (user_id, operation, idempotency_key, arguments, amount)
    values (
      close_unlimited_grants.user_id, 'close_grant', format('unlimited-end:%s', v_last),
      jsonb_build_array(
        close_unlimited_grants.source_id, extract(epoch from close_unlimited_grants.closed_at), 0,
        extract(epoch from close_unlimited_grants.closed_at)
      ),
      0
    );
  end if;
end
$$;

comment on function private.close_unlimited_grants(user_id uuid, source_id uuid, closed_at timestamp with time zone) is 'Ends the unlimited plan grants of a source; limited ones stay.';
revoke execute on function private.close_unlimited_grants(user_id uuid, source_id uuid, closed_at timestamp with time zone) from public;

-- Completes the items for the learners who have played enough of them by their present duration. Repeating it changes nothing.
create or replace function private.complete_played_items(item_ids uuid[])
  returns void
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
#variable_conflict use_column
declare
  v_played jsonb;
  v_row record;
begin
  perform private.lock_completions(true);
  select jsonb_agg(jsonb_build_object('user_id', p.user_id, 'item_id', p.item_id)) into v_played
  from learning.content_progress p
  join learning.content_items i on i.id = p.item_id
  where i.id = any (complete_played_items.item_ids)
    and p.version > coalesce(p.completed_version, 0)
    and private.is_played(private.covered_seconds(p.covered, i.duration_seconds), i.duration_seconds);
  if v_played is null then
    return;
  end if;
  perform private.lock_accounts(array(select (r ->> 'user_id')::uuid from jsonb_array_elements(v_played) r));
  for v_row in
    select r.* from jsonb_to_recordset(v_played) as r (user_id uuid, item_id uuid) order by r.user_id, r.item_id
  loop
    perform
    from learning.content_progress p
    where p.user_id = v_row.user_id and p.item_id = v_row.item_id
    for no key update skip locked;
    if found then
      update learning.content_progress p
      set
        completed_version = p.version,
        completed_at = clock_timestamp(),
        duration_seconds = i.duration_seconds,
        covered_seconds = private.covered_seconds(p.covered, i.duration_seconds)
      from learning.content_items i
      where p.user_id = v_row.user_id
        and p.item_id = v_row.item_id
        and i.id = p.item_id
        and p.version > coalesce(p.completed_version, 0)
        and private.is_played(private.covered_seconds(p.covered, i.duration_seconds), i.duration_seconds);
      if found then
        perform private.credit_completions(v_row.user_id, array[v_row.item_id]);
      end if;
    elsif exists (select from identity.users u where u.id = v_row.user_id) then
      insert into private.completion_checks (item_id, due_at)
      values (v_row.item_id, clock_timestamp())
      on conflict do nothing;
    end if;
  end loop;
end
$$;

comment on function private.complete_played_items(item_ids uuid[]) is 'Completes the items for the learners who have played enough of them by their present duration. Repeating it changes nothing.';
revoke execute on function private.complete_played_items(item_ids uuid[]) from public;

-- Opens a session, or a challenge when the account has a second factor; every one-factor sign-in ends here.
create or replace function private.complete_sign_in(user_id uuid, methods text[], refresh_token_hash bytea, device_name text, challenge_hash bytea)
  returns table(session_id uuid, token_version integer, refresh_expires_at timestamp with time zone, challenge_expires_at timestamp with time zone, challenge_methods text[])
  language plpgsql
  set search_path to 'pg_catalog'
as $$
#variable_conflict use_column
begin
  challenge_methods := private.second_factors(complete_sign_in.user_id);
  if cardinality(challenge_methods) > 0 then
    if complete_sign_in.challenge_hash is null then
      raise exception 'An account with a second factor cannot be signed in here.' using errcode = 'PL403';
    end if;
    insert into private.sign_in_challenges as c (user_id, token_hash, token_version, methods, device_name)
    select u.id, complete_sign_in.challenge_hash, u.token_version, complete_sign_in.methods, complete_sign_in.device_name
    from identity.users u
    where u.id = complete_sign_in.user_id
    returning c.expires_at into challenge_expires_at;
    perform private.record_security_event(
      'sign_in_challenged', complete_sign_in.user_id, jsonb_build_object('methods', to_jsonb(complete_sign_in.methods))
    );
    return next;
    return;
  end if;
  challenge_methods := null;

  select o.session_id, o.token_version, o.refresh_expires_at
  into session_id, token_version, refresh_expires_at
  from private.open_session(
    complete_sign_in.user_id, complete_sign_in.methods, complete_sign_in.refresh_token_hash, complete_sign_in.device_name
  ) o;
  return next;
end
$$;

comment on function private.complete_sign_in(user_id uuid, methods text[], refresh_token_hash bytea, device_name text, challenge_hash bytea) is 'Opens a session, or a challenge when the account has a second factor; every one-factor sign-in ends here.';
revoke execute on function private.complete_sign_in(user_id uuid, methods text[], refresh_token_hash bytea, device_name text, challenge_hash bytea) from public;

-- Computes a subscription's state, plan, period and payment from all events of its provider, and stores them.
create or replace function private.conclude_provider_subscription(provider text, provider_subscription_id text)
  returns private.provider_subscriptions
  language plpgsql
  set search_path to 'pg_catalog'
as $$
declare
  v_known private.provider_subscriptions;
  v_item record;
  v_newest record;
  v_sums record;
begin
  select m.* into strict v_known
  from private.provider_subscriptions m
  where m.provider = conclude_provider_subscription.provider
    and m.provider_subscription_id = conclude_provider_subscription.provider_subscription_id;
  select b.* into v_item from private.plan_period(v_known.provider, coalesce(v_known.items, '[]')) b;

  -- An invoice newer than the latest state of the subscription knows of the next period. A failed invoice counts only if it
  -- renews: an unpaid upgrade is no upgrade.
  select b.plan_id, b.provider_price_id, b.period_start, b.period_end, i.paid_order is not null as is_paid into v_newest
  from private.provider_invoices i
  cross join lateral private.plan_period(i.provider, i.lines) b
  where i.provider = v_known.provider
    and i.provider_subscription_id = v_known.provider_subscription_id
    and (i.paid_order is not null or i.renews)
    and (
      v_item.plan_id is null
      or v_item.period_start is null
      or (
        greatest(i.paid_order collate "C", i.failed_order collate "C") > coalesce(v_known.object_order, '') collate "C"
        and coalesce(b.period_end, 'infinity') > coalesce(v_item.period_end, 'infinity')
      )
    )
  order by coalesce(b.period_end, 'infinity') desc, b.period_start desc, i.paid_order nulls last, i.provider_payment_id
  limit 1;
  v_known.plan_id := case
    when v_newest.is_paid then v_newest.plan_id
    else coalesce(v_item.plan_id, v_newest.plan_id)
  end;
  v_known.provider_price_id := case
    when v_newest.is_paid then v_newest.provider_price_id
    else coalesce(v_item.provider_price_id, v_newest.provider_price_id)
  end;
  v_known.period_start := coalesce(v_newest.period_start, v_item.period_start);
  v_known.period_end := case when v_newest.period_start is not null then v_newest.period_end else v_item.period_end end;

  -- The invoices for the current period.
  select
    bool_or(i.paid_order is not null and not r.is_given_back) as is_paid,
    bool_or(r.is_given_back) as is_given_back,
    max(coalesce(i.period_end, 'infinity')) filter (where i.paid_order is not null and not r.is_given_back) as paid_until,
    (array_agg(i.plan_id order by i.period_start desc, i.paid_order collate "C", i.provider_payment_id)
      filter (where i.paid_order is not null))[1] as paid_plan_id,
    min(i.paid_order collate "C") filter (where i.paid_order is not null and i.amount_cents > 0) as paid_order,
    max(i.failed_order collate "C") filter (where i.paid_order is null and i.renews) as failed_order,
    min(i.period_start) as first_start
  into v_sums
  from (
    select v.*, b.plan_id, b.period_start, b.period_end
    from private.provider_invoices v
    cross join lateral private.plan_period(v.provider, v.lines) b
    where v.provider = v_known.provider and v.provider_subscription_id = v_known.provider_subscription_id
  ) i
  cross join lateral (
    select exists (
      select
      from billing.payments p
      where p.provider = i.provider
        and p.provider_payment_id = i.provider_payment_id
        and p.status in ('refunded', 'disputed')
    ) as is_given_back
  ) r
  where i.period_start < coalesce(v_known.period_end, 'infinity')
    and coalesce(i.period_end, 'infinity') >= coalesce(v_known.period_end, 'infinity');

  v_known.standing := case
    when v_known.status in ('canceled', 'paused') then v_known.status
    when coalesce(v_known.status in ('incomplete', 'trialing', 'past_due'), true)
      and v_sums.paid_order > coalesce(v_known.status_order, '') collate "C"
    then 'active'
    when coalesce(v_known.status in ('trialing', 'active'), true)
      and v_sums.paid_order is null
      and v_sums.failed_order > coalesce(v_known.status_order, '') collate "C"
    then 'past_due'
    else v_known.status
  end;
  update private.provider_subscriptions m
  set
    plan_id = v_known.plan_id,
    provider_price_id = v_known.provider_price_id,
    period_start = v_known.period_start,
    period_end = v_known.period_end,
    standing = v_known.standing,
    was_live = m.was_live or coalesce(v_known.standing in ('trialing', 'active', 'past_due', 'paused'), false),
    paid_period_end = v_sums.paid_until,
    paid_plan_id = v_sums.paid_plan_id,
    -- A refund of the current period makes it unpaid, unless another invoice paid for it.
    revoked_period_end = case
      when v_sums.is_given_back and not v_sums.is_paid then coalesce(v_known.period_end, 'infinity')
    end
  where m.provider = v_known.provider and m.provider_subscription_id = v_known.provider_subscription_id
  returning m.* into strict v_known;
  -- Only events give the final value; until one arrives, the earliest period is the best guess.
  v_known.started_at := coalesce(v_known.started_at, least(v_sums.first_start, v_known.period_start));
  return v_known;
end
$$;

comment on function private.conclude_provider_subscription(provider text, provider_subscription_id text) is 'Computes a subscription''s state, plan, period and payment from all events of its provider, and stores them.';
revoke execute on function private.conclude_provider_subscription(provider text, provider_subscription_id text) from public;

-- Returns whether a live session's owner has shown the current password; counts and audits a failure.
create or replace function private.confirm_password(user_id uuid, session_id uuid, password_matches boolean, checked_token_version integer, checked_password_hash text, failure_event text)
  returns boolean
  language plpgsql
  set search_path to 'pg_catalog'
as $$
declare
  v_user identity.users;
  v_session_id uuid;
  v_refusal text;
begin
  select u.* into v_user from identity.users u where u.id = confirm_password.user_id for no key update;
  select s.id into v_session_id
  from identity.user_sessions s
  where s.id = confirm_password.session_id and s.user_id = v_user.id and s.ended_at is null and s.expires_at > now()
  for update;

  v_refusal := case
    when v_session_id is null or v_user.account_status <> 'active' then 'session_ended'
    when v_user.locked_until > now() then 'account_locked'
    when not coalesce(confirm_password.password_matches, false) then 'wrong_password'
    -- The password was changed between the check and now.
    when v_user.token_version is distinct from confirm_password.checked_token_version then 'wrong_password'
    when confirm_password.checked_password_hash is not null and not exists (
      select
      from private.user_passwords p
      where p.user_id = v_user.id and p.password_hash = confirm_password.checked_password_hash
    ) then 'wrong_password'
  end;
  if v_refusal is null then
    return true;
  end if;
  if v_refusal = 'wrong_password' then
    perform security.track_login_attempt(
      v_user.id, v_user.username, plinth.client_ip(), plinth.user_agent(), 'failed', 'wrong_password'
    );
  end if;
  perform private.record_security_event(
    confirm_password.failure_event, confirm_password.user_id, jsonb_build_object('reason', v_refusal), 'warning'
  );
  return false;
end
$$;

comment on function private.confirm_password(user_id uuid, session_id uuid, password_matches boolean, checked_token_version integer, checked_password_hash text, failure_event text) is 'Returns whether a live session''s owner has shown the current password; counts and audits a failure.';
revoke execute on function private.confirm_password(user_id uuid, session_id uuid, password_matches boolean, checked_token_version integer, checked_password_hash text, failure_event text) from public;

-- Confirms an authenticator app; returns whether the recovery codes were stored. PL403, PL404, or PL422 for a wrong code.
create or replace function private.confirm_totp(factor_id uuid, step bigint, code_hashes bytea[])
  returns boolean
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
#variable_conflict use_column
declare
  v_user_id uuid := plinth.current_user_id();
  v_is_first boolean;
begin
  perform from identity.users u where u.id = v_user_id for no key update;
  perform private.require_recent_authentication();
  if confirm_totp.step is null then
    raise exception 'That code is not valid now.'
      using errcode = 'PL422', column = 'code', hint = 'Check the clock of the device.';
  end if;
  v_is_first := cardinality(private.second_factors(v_user_id)) = 0;
  update identity.mfa_factors f
  set confirmed_at = now()
  where f.id = confirm_totp.factor_id
    and f.user_id = v_user_id
    and f.kind = 'totp'
    and f.confirmed_at is null;
  if not found then
    raise exception 'Enrolment not found.' using errcode = 'PL404';
  end if;
  -- The code is used up: it must not allow a sign-in.
  update private.totp_secrets t set last_used_step = confirm_totp.step where t.factor_id = confirm_totp.factor_id;
  perform private.factor_was_added(v_user_id, confirm_totp.factor_id, 'totp', array['otp', 'mfa']);
  if v_is_first then
    perform private.store_recovery_codes(v_user_id, confirm_totp.code_hashes);
  end if;
  return v_is_first;
end
$$;

comment on function private.confirm_totp(factor_id uuid, step bigint, code_hashes bytea[]) is 'Confirms an authenticator app; returns whether the recovery codes were stored. PL403, PL404, or PL422 for a wrong code.';
revoke execute on function private.confirm_totp(factor_id uuid, step bigint, code_hashes bytea[]) from public;
grant execute on function private.confirm_totp(factor_id uuid, step bigint, code_hashes bytea[]) to :PLINTH_SERVICE;

-- Works like security.consume_rate_limit at a given time; null means now, after waiting for other calls with the key. PL422.
create or replace function private.consume_rate_limit_at(key text, algorithm text, limit_value integer, window_length interval, cost integer default 1, at timestamp with time zone default null::timestamp with time zone, metadata jsonb default '{}'::jsonb)
  returns table(allowed boolean, remaining integer, retry_after interval, reset_at timestamp with time zone)
  language plpgsql
  set search_path to 'pg_catalog'
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

comment on function private.consume_rate_limit_at(key text, algorithm text, limit_value integer, window_length interval, cost integer, at timestamp with time zone, metadata jsonb) is 'Works like security.consume_rate_limit at a given time; null means now, after waiting for other calls with the key. PL422.';
revoke execute on function private.consume_rate_limit_at(key text, algorithm text, limit_value integer, window_length interval, cost integer, at timestamp with time zone, metadata jsonb) from public;

-- Counts a call against a rule of security.rate_limit_rules or rejects it. A disabled rule allows the call; an unknown one is PL422.
create or replace function private.consume_rate_limit_rule(rule_name text, key text)
  returns table(allowed boolean, remaining integer, retry_after interval, reset_at timestamp with time zone)
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
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

comment on function private.consume_rate_limit_rule(rule_name text, key text) is 'Counts a call against a rule of security.rate_limit_rules or rejects it. A disabled rule allows the call; an unknown one is PL422.';
revoke execute on function private.consume_rate_limit_rule(rule_name text, key text) from public;
grant execute on function private.consume_rate_limit_rule(rule_name text, key text) to :PLINTH_SERVICE;

-- Returns available items that match the words, or whose title is similar to a text, and that match all filters.
create or replace function private.content_matching(any_query tsquery, languages text[], queries tsquery[], similar_to text, content_types text[], categories uuid[], tags text[], min_level integer, max_level integer)
  returns setof learning.content_items
  language sql
  stable
as $$
  select i.*
  from learning.content_items i
  where (any_query is null or i.search_document operator(pg_catalog.@@) any_query)
    -- Among several languages only the item's own counts: "-die" excludes a German article, not an English verb.
    and (
      any_query is null
      or pg_catalog.cardinality(queries) = 1
      or i.search_document operator(pg_catalog.@@) queries[pg_catalog.array_position(languages, i.language)]
    )
    and (similar_to is null or similar_to operator(plinth.<%) i.title)
    and i.language = any (languages)
    and i.available_from <= pg_catalog.now()
    and (i.available_until is null or i.available_until > pg_catalog.now())
    and (content_types is null or i.content_type = any (content_types))
    and (categories is null or i.category_id = any (categories))
    and (content_matching.tags is null or i.tags operator(pg_catalog.@>) content_matching.tags)
    and (min_level is null or i.level >= min_level)
    and (max_level is null or i.level <= max_level)
$$;

comment on function private.content_matching(any_query tsquery, languages text[], queries tsquery[], similar_to text, content_types text[], categories uuid[], tags text[], min_level integer, max_level integer) is 'Returns available items that match the words, or whose title is similar to a text, and that match all filters.';
revoke execute on function private.content_matching(any_query tsquery, languages text[], queries tsquery[], similar_to text, content_types text[], categories uuid[], tags text[], min_level integer, max_level integer) from public;

-- Returns the item and all items that must be completed before it, directly or not.
create or replace function private.content_required_for(item_id uuid)
  returns setof uuid
  language sql
  stable
  set search_path to 'pg_catalog'
as $$
  with recursive required (id) as (
    select content_required_for.item_id
    union
    select n.id
    from required r
    cross join lateral (
      select p.required_item_id
      from learning.content_prerequisites p
      where p.item_id = r.id
        or p.item_id = (select i.course_id from learning.content_items i where i.id = r.id)
      union all
      select i.id from learning.content_items i where i.course_id = r.id
    ) as n (id)
  )
  select id from required
$$;

comment on function private.content_required_for(item_id uuid) is 'Returns the item and all items that must be completed before it, directly or not.';
revoke execute on function private.content_required_for(item_id uuid) from public;

-- Returns the searched languages in use (all, or one with its regional variants), the words as each language parses them, and a query for any of these.
create or replace function private.content_search_terms(query text, language text, out languages text[], out queries tsquery[], out any_query tsquery)
  returns record
  language plpgsql
  stable
  set search_path to 'pg_catalog'
as $$
declare
  v_query tsquery;
begin
  -- Skips from one language to the next in the index, instead of reading all items.
  with recursive in_use (language) as (
    (select i.language from learning.content_items i order by i.language limit 1)
    union all
    select (select i.language from learning.content_items i where i.language > u.language order by i.language limit 1)
    from in_use u
    where u.language is not null
  )
  select coalesce(array_agg(u.language order by u.language), '{}') into languages
  from in_use u
  where content_search_terms.language is null
    or u.language = content_search_terms.language
    or starts_with(u.language, content_search_terms.language || '-');
  select coalesce(array_agg(plinth.search_query(l.language, query) order by l.place), '{}')
  into queries
  from unnest(languages) with ordinality as l (language, place);
  foreach v_query in array array(select distinct q from unnest(queries) as q) loop
    any_query := coalesce(any_query || v_query, v_query);
  end loop;
end
$$;

comment on function private.content_search_terms(query text, language text, out languages text[], out queries tsquery[], out any_query tsquery) is 'Returns the searched languages in use (all, or one with its regional variants), the words as each language parses them, and a query for any of these.';
revoke execute on function private.content_search_terms(query text, language text, out languages text[], out queries tsquery[], out any_query tsquery) from public;

-- Returns the ids of a category and all its descendants; null for null.
create or replace function private.content_subtree(category_id uuid)
  returns uuid[]
  language sql
  stable
  set search_path to 'pg_catalog'
as $$
  select array_agg(c.id)
  from learning.content_categories top
  join learning.content_categories c on c.path = top.path or c.path like top.path || '/%'
  where top.id = content_subtree.category_id
$$;

comment on function private.content_subtree(category_id uuid) is 'Returns the ids of a category and all its descendants; null for null.';
revoke execute on function private.content_subtree(category_id uuid) from public;

-- Replaces the estimate billed for an ended turn with the counts of its writer.
create or replace function private.correct_turn_usage(turn private.turns, model_id uuid, input_tokens bigint, output_tokens bigint, cached_input_tokens bigint, reasoning_tokens bigint)
  returns void
  language plpgsql
  set search_path to 'pg_catalog'
as $$
declare
  v_event_id uuid;
begin
  v_event_id := coalesce(
    (select h.usage_event_id from billing.token_holds h where h.id = turn.hold_id),
    (
      select k.event_id
      from private.usage_keys k
      where k.user_id = turn.user_id and k.operation = 'record' and k.idempotency_key = 'turn:' || turn.message_id
    )
  );
  if v_event_id is not null then
    perform private.correct_usage(
      v_event_id, correct_turn_usage.input_tokens, correct_turn_usage.output_tokens, 'turn:' || turn.message_id,
      correct_turn_usage.cached_input_tokens, correct_turn_usage.reasoning_tokens
    );
  elsif correct_turn_usage.input_tokens + correct_turn_usage.output_tokens > 0 then
    perform private.record_usage(
      turn.user_id, correct_turn_usage.model_id, correct_turn_usage.input_tokens, correct_turn_usage.output_tokens,
      'turn:' || turn.message_id, correct_turn_usage.cached_input_tokens, correct_turn_usage.reasoning_tokens, null,
      turn.message_id
    );
  end if;
  update private.turns t set is_usage_estimated = false where t.message_id = turn.message_id;
  update llm.messages m set tokens_used = correct_turn_usage.output_tokens where m.id = turn.message_id;
end
$$;

comment on function private.correct_turn_usage(turn private.turns, model_id uuid, input_tokens bigint, output_tokens bigint, cached_input_tokens bigint, reasoning_tokens bigint) is 'Replaces the estimate billed for an ended turn with the counts of its writer.';
revoke execute on function private.correct_turn_usage(turn private.turns, model_id uuid, input_tokens bigint, output_tokens bigint, cached_input_tokens bigint, reasoning_tokens bigint) from public;

-- Corrects a recorded usage to these counts by an event of the difference; the same key again returns the same event. PL404 for unknown usage, PL409 for a key used for another request.
create or replace function private.correct_usage(event_id uuid, input_tokens bigint, output_tokens bigint, idempotency_key text, cached_input_tokens bigint default 0, reasoning_tokens bigint default 0, at timestamp with time zone default now())
  returns billing.usage_events
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
#variable_conflict use_column
declare
  v_valid boolean;
  v_locked timestamptz;
  v_arguments jsonb := jsonb_build_array(
    correct_usage.event_id, correct_usage.input_tokens, correct_usage.output_tokens, correct_usage.cached_input_tokens,
    correct_usage.reasoning_tokens
  );
  v_event billing.usage_events;
  v_key private.usage_keys;
begin
  v_valid := private.check_token_counts(
    correct_usage.input_tokens, correct_usage.output_tokens, correct_usage.cached_input_tokens,
    correct_usage.reasoning_tokens
  );
  select e.* into v_event from billing.usage_events e where e.id = correct_usage.event_id;
  if v_event.user_id is null then
    raise exception 'Usage not found, or its account was deleted.' using errcode = 'PL404', column = 'event_id';
  end if;
  if v_event.kind <> 'usage' then
    raise exception 'Correct the usage, not its correction.' using errcode = 'PL422', column = 'event_id';
  end if;
  v_locked := private.lock_usage(v_event.user_id, correct_usage.at);
  v_key := private.used_key(v_event.user_id, 'correct', correct_usage.idempotency_key, v_arguments);
  if v_key.event_id is not null then
    select e.* into strict v_event from billing.usage_events e where e.id = v_key.event_id;
    return v_event;
  end if;
  v_event := private.apply_correction(
    correct_usage.event_id, correct_usage.input_tokens, correct_usage.output_tokens, correct_usage.cached_input_tokens,
    correct_usage.reasoning_tokens, correct_usage.idempotency_key, correct_usage.at
  );
  insert into private.usage_keys (user_id, operation, idempotency_key, arguments, event_id)
  values (v_event.user_id, 'correct', v_event.idempotency_key, v_arguments, v_event.id);
  return v_event;
end
$$;

comment on function private.correct_usage(event_id uuid, input_tokens bigint, output_tokens bigint, idempotency_key text, cached_input_tokens bigint, reasoning_tokens bigint, at timestamp with time zone) is 'Corrects a recorded usage to these counts by an event of the difference; the same key again returns the same event. PL404 for unknown usage, PL409 for a key used for another request.';
revoke execute on function private.correct_usage(event_id uuid, input_tokens bigint, output_tokens bigint, idempotency_key text, cached_input_tokens bigint, reasoning_tokens bigint, at timestamp with time zone) from public;
grant execute on function private.correct_usage(event_id uuid, input_tokens bigint, output_tokens bigint, idempotency_key text, cached_input_tokens bigint, reasoning_tokens bigint, at timestamp with time zone) to :PLINTH_SERVICE;

-- Adds an amount (1, or -1 to undo) at a message's number, in all levels.
create or replace function private.count_in_room(room_id uuid, kind text, user_id uuid, peer_id uuid, sequence bigint, amount integer)
  returns void
  language sql
  set search_path to 'pg_catalog'
as $$
  insert into private.room_tallies as t (room_id, kind, user_id, peer_id, level, bucket, amount)
  select
    count_in_room.room_id,
    count_in_room.kind,
    count_in_room.user_id,
    count_in_room.peer_id,
    l.level,
    count_in_room.sequence >> (6 * l.level),
    greatest(count_in_room.amount, 0)
  from generate_series(0, 3) l (level)
  on conflict on constraint room_tallies_key do update set amount = t.amount + count_in_room.amount
$$;

comment on function private.count_in_room(room_id uuid, kind text, user_id uuid, peer_id uuid, sequence bigint, amount integer) is 'Adds an amount (1, or -1 to undo) at a message''s number, in all levels.';
revoke execute on function private.count_in_room(room_id uuid, kind text, user_id uuid, peer_id uuid, sequence bigint, amount integer) from public;

-- Corrects the unread and mention counts of a room for a message that is restored (1) or deleted (-1).
create or replace function private.count_message(message rooms.room_messages, amount integer)
  returns void
  language plpgsql
  set search_path to 'pg_catalog'
as $$
begin
  if not message.is_private then
    perform private.count_in_room(message.room_id, 'uncounted', null, null, message.sequence, -amount);
    if message.sender_id is not null then
      perform private.count_in_room(message.room_id, 'deleted', message.sender_id, null, message.sequence, -amount);
    end if;
  end if;
  perform private.count_in_room(message.room_id, 'private', r.user_id, message.sender_id, message.sequence, amount)
  from rooms.room_message_recipients r
  where r.message_id = message.id;
  perform private.count_in_room(message.room_id, 'mention', m.user_id, message.sender_id, message.sequence, amount)
  from rooms.room_message_mentions m
  where m.message_id = message.id;
end
$$;

comment on function private.count_message(message rooms.room_messages, amount integer) is 'Corrects the unread and mention counts of a room for a message that is restored (1) or deleted (-1).';
revoke execute on function private.count_message(message rooms.room_messages, amount integer) from public;

-- Trigger: excludes a private message from the common count.
create or replace function private.count_private_message()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
begin
  perform private.count_in_room(new.room_id, 'uncounted', null, null, new.sequence, 1);
  return new;
end
$$;

comment on function private.count_private_message() is 'Trigger: excludes a private message from the common count.';
revoke execute on function private.count_private_message() from public;

-- Returns the total seconds of the stretches.
create or replace function private.count_seconds(stretches int4multirange)
  returns integer
  language plpgsql
  immutable
as $$
begin
  if stretches = int4multirange(range_merge(stretches)) then
    return coalesce(upper(stretches) - lower(stretches), 0);
  end if;
  return (select sum(upper(r) - lower(r)) from unnest(stretches) r);
end
$$;

comment on function private.count_seconds(stretches int4multirange) is 'Returns the total seconds of the stretches.';
revoke execute on function private.count_seconds(stretches int4multirange) from public;

-- Counts a wrong code over all sessions and challenges of the account and locks its codes for a while from the tenth on.
create or replace function private.count_wrong_code(user_id uuid)
  returns void
  language plpgsql
  set search_path to 'pg_catalog'
as $$
#variable_conflict use_column
declare
  v_failed integer;
  v_locked_until timestamptz;
begin
  insert into private.mfa_attempts as a (user_id, failed_attempts)
  values (count_wrong_code.user_id, 1)
  on conflict on constraint mfa_attempts_pkey
    do update set failed_attempts = a.failed_attempts + 1, last_failed_at = now()
  returning a.failed_attempts into v_failed;

  update private.mfa_attempts a
  set locked_until = nullif(now() + private.mfa_lockout_duration(v_failed), now())
  where a.user_id = count_wrong_code.user_id
  returning a.locked_until into v_locked_until;
  if v_locked_until is not null then
    perform private.record_security_event(
      'mfa_locked', count_wrong_code.user_id,
      jsonb_build_object('failed_attempts', v_failed, 'locked_until', v_locked_until), 'warning'
    );
  end if;
end
$$;

comment on function private.count_wrong_code(user_id uuid) is 'Counts a wrong code over all sessions and challenges of the account and locks its codes for a while from the tenth on.';
revoke execute on function private.count_wrong_code(user_id uuid) from public;

-- Returns the sum of a user's tallies of a kind after a watermark, without those from some peers.
create or replace function private.counted_in_room_after(room_id uuid, kind text, user_id uuid, watermark bigint, without_peers uuid[] default '{}'::uuid[])
  returns bigint
  language plpgsql
  stable
  set search_path to 'pg_catalog'
as $$
begin
  return (
    select coalesce(sum(t.amount), 0)
    from private.room_tallies t
    where t.room_id = counted_in_room_after.room_id
      and t.kind = counted_in_room_after.kind
      and t.user_id = counted_in_room_after.user_id
      and t.level = 0
      and t.bucket >= watermark + 1
      and t.bucket < ((watermark + 64) >> 6) << 6
      and (t.peer_id is null or not t.peer_id = any (without_peers))
  ) + (
    select coalesce(sum(t.amount), 0)
    from private.room_tallies t
    where t.room_id = counted_in_room_after.room_id
      and t.kind = counted_in_room_after.kind
      and t.user_id = counted_in_room_after.user_id
      and t.level = 1
      and t.bucket >= (watermark + 64) >> 6
      and t.bucket < ((watermark + 4096) >> 12) << 6
      and (t.peer_id is null or not t.peer_id = any (without_peers))
  ) + (
    select coalesce(sum(t.amount), 0)
    from private.room_tallies t
    where t.room_id = counted_in_room_after.room_id
      and t.kind = counted_in_room_after.kind
      and t.user_id = counted_in_room_after.user_id
      and t.level = 2
      and t.bucket >= (watermark + 4096) >> 12
      and t.bucket < ((watermark + 262144) >> 18) << 6
      and (t.peer_id is null or not t.peer_id = any (without_peers))
  ) + (
    select coalesce(sum(t.amount), 0)
    from private.room_tallies t
    where t.room_id = counted_in_room_after.room_id
      and t.kind = counted_in_room_after.kind
      and t.user_id = counted_in_room_after.user_id
      and t.level = 3
      and t.bucket >= (watermark + 262144) >> 18
      and (t.peer_id is null or not t.peer_id = any (without_peers))
  );
end
$$;

comment on function private.counted_in_room_after(room_id uuid, kind text, user_id uuid, watermark bigint, without_peers uuid[]) is 'Returns the sum of a user''s tallies of a kind after a watermark, without those from some peers.';
revoke execute on function private.counted_in_room_after(room_id uuid, kind text, user_id uuid, watermark bigint, without_peers uuid[]) from public;

-- Returns how many seconds of an item the stretches cover; all of them when its duration is unknown.
create or replace function private.covered_seconds(covered int4multirange, duration_seconds integer)
  returns integer
  language sql
  immutable
as $$
  select case
    when covered = int4multirange(range_merge(covered))
      then coalesce(least(upper(covered), duration_seconds) - least(lower(covered), duration_seconds), 0)
    else private.count_seconds(covered * int4multirange(int4range(0, duration_seconds)))
  end
$$;

comment on function private.covered_seconds(covered int4multirange, duration_seconds integer) is 'Returns how many seconds of an item the stretches cover; all of them when its duration is unknown.';
revoke execute on function private.covered_seconds(covered int4multirange, duration_seconds integer) from public;

-- Adds an API token to the account of a recently signed-in session; returns its id. PL401, PL402 (50 live tokens), PL403, PL422.
create or replace function private.create_api_token(user_id uuid, session_id uuid, name text, scopes text[], expires_at timestamp with time zone, token_prefix text, token_hash bytea)
  returns uuid
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
#variable_conflict use_column
declare
  v_authenticated_at timestamptz;
  v_expires_at timestamptz := coalesce(create_api_token.expires_at, now() + interval '90 days');
  v_id uuid;
begin
  perform private.refuse_api_token();
  perform from identity.users u where u.id = create_api_token.user_id and u.account_status = 'active' for no key update;
  if found then
    select s.authenticated_at into v_authenticated_at
    from identity.user_sessions s
    where s.id = create_api_token.session_id
      and s.user_id = create_api_token.user_id
      and s.ended_at is null
      and s.expires_at > now();
  end if;
  if v_authenticated_at is null then
    raise exception 'You must be signed in.' using errcode = 'PL401';
  end if;
  -- A token outlives the session: an open browser must not be enough to create one.
  if v_authenticated_at < now() - interval '10 minutes' then
    raise exception 'This needs a recent sign-in.' using errcode = 'PL403', hint = 'Confirm it is you with reauthenticate.';
  end if;

  if create_api_token.scopes is null
    or cardinality(create_api_token.scopes) = 0
    or array_position(create_api_token.scopes, null) is not null
    or not create_api_token.scopes <@ array['read', 'write']
  then
    raise exception 'Scopes must be read, write or both.'
      using errcode = 'PL422', schema = 'identity', table = 'api_tokens', column = 'scopes';
  end if;
  if not (v_expires_at > now() and v_expires_at <= now() + interval '366 days') then
    raise exception 'A token must expire within 366 days.'
      using errcode = 'PL422', schema = 'identity', table = 'api_tokens', column = 'expires_at';
  end if;
  if (
    select count(*) >= 50
    from identity.api_tokens t
    where t.user_id = create_api_token.user_id and t.revoked_at is null and t.expires_at > now()
  ) then
    raise exception 'You have reached the limit of 50 active tokens.'
      using errcode = 'PL402', hint = 'Revoke a token that you no longer need.';
  end if;

  insert into identity.api_tokens (user_id, name, token_prefix, scopes, expires_at)
  values (
    create_api_token.user_id,
    create_api_token.name,
    create_api_token.token_prefix,
    case when 'write' = any (create_api_token.scopes) then array['read', 'write'] else array['read'] end,
    v_expires_at
  )
  returning id into v_id;
  insert into private.api_token_hashes (token_id, token_hash) values (v_id, create_api_token.token_hash);
  perform private.record_security_event(
    'api_token_created', create_api_token.user_id,
    jsonb_build_object('token_id', v_id, 'scopes', to_jsonb(create_api_token.scopes), 'expires_at', v_expires_at)
  );
  return v_id;
end
$$;

comment on function private.create_api_token(user_id uuid, session_id uuid, name text, scopes text[], expires_at timestamp with time zone, token_prefix text, token_hash bytea) is 'Adds an API token to the account of a recently signed-in session; returns its id. PL401, PL402 (50 live tokens), PL403, PL422.';
revoke execute on function private.create_api_token(user_id uuid, session_id uuid, name text, scopes text[], expires_at timestamp with time zone, token_prefix text, token_hash bytea) from public;
grant execute on function private.create_api_token(user_id uuid, session_id uuid, name text, scopes text[], expires_at timestamp with time zone, token_prefix text, token_hash bytea) to :PLINTH_SERVICE;

-- Completes courses, advances trainings and adds evidence for items a user completed; repeating it changes nothing.
create or replace function private.credit_completions(user_id uuid, item_ids uuid[])
  returns void
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
#variable_conflict use_column
declare
  v_completed uuid[] := item_ids;
  v_course record;
begin
  perform private.lock_completions(false);
  for v_course in
    select distinct c.id, c.current_version
    from learning.content_items i
    join learning.content_items c on c.id = i.course_id
    where i.id = any (item_ids) and c.current_version is not null
    order by c.id
  loop
    insert into learning.content_progress (user_id, item_id, version, started_at, last_activity_at)
    values (credit_completions.user_id, v_course.id, v_course.current_version, now(), now())
    on conflict do nothing;
    -- If two devices complete the last two parts, the second waits here and then sees the first one's completion.
    perform from learning.content_progress p
    where p.user_id = credit_completions.user_id and p.item_id = v_course.id
    for no key update;
    if private.has_completed_parts(credit_completions.user_id, v_course.id) then
      update learning.content_progress p
      set version = v_course.current_version, completed_version = v_course.current_version, completed_at = now(),
        last_activity_at = now()
      where p.user_id = credit_completions.user_id
        and p.item_id = v_course.id
        and p.completed_version is distinct from v_course.current_version;
      if found then
        v_completed := v_completed || v_course.id;
      end if;
    end if;
  end loop;

  perform private.credit_skills(credit_completions.user_id, v_completed);
end
$$;

comment on function private.credit_completions(user_id uuid, item_ids uuid[]) is 'Completes courses, advances trainings and adds evidence for items a user completed; repeating it changes nothing.';
revoke execute on function private.credit_completions(user_id uuid, item_ids uuid[]) from public;

-- Advances trainings and adds evidence of skills for items a user completed; repeating it changes nothing.
create or replace function private.credit_skills(user_id uuid, item_ids uuid[])
  returns void
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
#variable_conflict use_column
declare
  v_credit record;
begin
  for v_credit in
    select cs.item_id, cs.skill_id, cs.gain, p.completed_version
    from learning.content_skills cs
    join learning.content_progress p on p.item_id = cs.item_id and p.user_id = credit_skills.user_id
    where cs.item_id = any (credit_skills.item_ids) and p.completed_version is not null
    order by cs.skill_id, cs.item_id
  loop
    perform private.advance_training(credit_skills.user_id, v_credit.skill_id);
    if v_credit.gain > 0 then
      perform private.add_skill_evidence(
        credit_skills.user_id, v_credit.skill_id, 'content', v_credit.gain,
        'item:' || v_credit.item_id, 'version ' || v_credit.completed_version
      );
    end if;
  end loop;
  update learning.content_progress p
  set credited_version = p.completed_version
  where p.user_id = credit_skills.user_id
    and p.item_id = any (credit_skills.item_ids)
    and p.credited_version is distinct from p.completed_version;
end
$$;

comment on function private.credit_skills(user_id uuid, item_ids uuid[]) is 'Advances trainings and adds evidence of skills for items a user completed; repeating it changes nothing.';
revoke execute on function private.credit_skills(user_id uuid, item_ids uuid[]) from public;

-- Returns the code of the user's plan (trialing, active or past_due), or free.
create or replace function private.current_plan_code(user_id uuid)
  returns text
  language sql
  stable
as $$
  select coalesce(
    (
      select p.code
      from billing.user_subscriptions s
      join billing.subscription_plans p on p.id = s.plan_id
      where s.user_id = current_plan_code.user_id
        and s.status in ('trialing', 'active', 'past_due')
    ),
    'free'
  )
$$;

comment on function private.current_plan_code(user_id uuid) is 'Returns the code of the user''s plan (trialing, active or past_due), or free.';
revoke execute on function private.current_plan_code(user_id uuid) from public;

-- Returns the caller's role in a room; PL401 without a sign-in, PL404 for a non-member.
create or replace function private.current_room_role(room_id uuid)
  returns text
  language plpgsql
  stable
  set search_path to 'pg_catalog'
as $$
declare
  v_role text;
begin
  if plinth.current_user_id() is null then
    raise exception 'You must be signed in.' using errcode = 'PL401';
  end if;
  select m.role into v_role
  from rooms.room_members m
  where m.room_id = current_room_role.room_id and m.user_id = plinth.current_user_id();
  if v_role is null then
    raise exception 'Room not found.' using errcode = 'PL404';
  end if;
  return v_role;
end
$$;

comment on function private.current_room_role(room_id uuid) is 'Returns the caller''s role in a room; PL401 without a sign-in, PL404 for a non-member.';
revoke execute on function private.current_room_role(room_id uuid) from public;

-- Returns the SQL that reads a user's rows of a table ($1) as JSON texts, without secrets.
create or replace function private.data_export_query(table_oid oid, condition text)
  returns text
  language sql
  stable
  set search_path to 'pg_catalog'
as $$
  with columns as (
    select
      a.attname,
      a.attnum,
      a.atttypid,
      -- Names another account and does not decide the row's owner, such as the account that granted, banned or acted.
      k.oid is not null and k.confdeltype <> 'c' and position(format('t.%I = $1', a.attname) in condition) = 0 as is_another,
      exists (
        select from pg_attribute x where x.attrelid = a.attrelid and x.attname = 'actor_id' and not x.attisdropped
      ) and a.attname in ('ip_address', 'user_agent', 'correlation_id') as is_actors
    from pg_attribute a
    left join pg_constraint k
      on k.conrelid = a.attrelid and k.contype = 'f' and k.confrelid = 'identity.users'::regclass and k.conkey = array[a.attnum]
    where a.attrelid = table_oid
      and a.attnum > 0
      and not a.attisdropped
      and not private.is_secret_column(table_oid, a.attname, a.atttypid)
  )
  select format(
    'select row_to_json(r)::text from (select %s from %s t where %s) r',
    string_agg(
      case
        when c.is_another then format('nullif(t.%1$I, nullif(t.%1$I, $1)) as %1$I', c.attname)
        when c.is_actors then format('case when coalesce(t.actor_id, $1) = $1 then t.%1$I end as %1$I', c.attname)
        when c.atttypid = 'jsonb'::regtype and (select s.relnamespace from pg_class s where s.oid = table_oid) = 'private'::regnamespace
        then format('private.without_secrets(t.%1$I) as %1$I', c.attname)
        else format('t.%I', c.attname)
      end,
      ', ' order by c.attnum
    ),
    table_oid::regclass,
    condition
  )
  from columns c
$$;

comment on function private.data_export_query(table_oid oid, condition text) is 'Returns the SQL that reads a user''s rows of a table ($1) as JSON texts, without secrets.';
revoke execute on function private.data_export_query(table_oid oid, condition text) from public;

-- Returns the tables of an export and the condition by which a row is the user's ($1), found in the catalogue.
create or replace function private.data_export_sources()
  returns table(table_oid oid, table_name text, condition text)
  language sql
  stable
  set search_path to 'pg_catalog'
as $$
  with tables as (
    select c.oid, n.nspname as schema_name, c.relname
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p')
      and not c.relispartition
      and n.nspname in (
        'plinth', 'identity', 'access', 'billing', 'llm', 'rooms', 'learning', 'security', 'analytics', 'private'
      )
      -- The exports themselves.
      and c.oid <> 'private.data_export_parts'::regclass
  ), candidates as (
    select
      t.oid,
      a.attname,
      case when a.attname = 'user_id' then 1 when bool_or(k.confdeltype = 'c') then 2 else 3 end as rank
    from tables t
    join pg_attribute a on a.attrelid = t.oid and a.attnum > 0 and not a.attisdropped and a.atttypid = 'uuid'::regtype
    left join pg_constraint k
      on k.conrelid = t.oid and k.contype = 'f' and k.confrelid = 'identity.users'::regclass and k.conkey = array[a.attnum]
    where a.attname = 'user_id' or k.oid is not null
    group by t.oid, a.attname
  ), owners as (
    select c.oid, string_agg(format('t.%I = $1', c.attname), ' or ' order by c.attname) as condition
    from candidates c
    where c.rank = (select min(o.rank) from candidates o where o.oid = c.oid)
    group by c.oid
    union all
    select 'identity.users'::regclass, 't.id = $1'
  ), parts as (
    select
      t.oid,
      string_agg(
        format(
          '(%s) in (select %s from %s t where %s)',
          (
            select string_agg(format('t.%I', a.attname), ', ' order by x.position)
            from unnest(k.conkey) with ordinality x (attnum, position)
            join pg_attribute a on a.attrelid = k.conrelid and a.attnum = x.attnum
          ),
          (
            select string_agg(format('t.%I', a.attname), ', ' order by x.position)
            from unnest(k.confkey) with ordinality x (attnum, position)
            join pg_attribute a on a.attrelid = k.confrelid and a.attnum = x.attnum
          ),
          k.confrelid::regclass,
          o.condition
        ),
        ' or ' order by k.conname
      ) as condition
    from tables t
    join pg_constraint k on k.conrelid = t.oid and k.contype = 'f' and k.confdeltype = 'c' and k.conparentid = 0
    join owners o on o.oid = k.confrelid
    where not exists (select from owners x where x.oid = t.oid)
    group by t.oid
  )
  select t.oid, (t.schema_name || '.' || t.relname) collate "C", s.condition
  from tables t
  join (select * from owners union all select * from parts) s on s.oid = t.oid
$$;

comment on function private.data_export_sources() is 'Returns the tables of an export and the condition by which a row is the user''s ($1), found in the catalogue.';
revoke execute on function private.data_export_sources() from public;

-- Deletes one account whose deletion is due; returns deleted, postponed, canceled, or null when none is due.
create or replace function private.delete_due_account()
  returns text
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
declare
  v_user identity.users;
  v_variables jsonb;
begin
  select u.* into v_user
  from identity.users u
  join identity.account_deletions d on d.user_id = u.id
  where d.due_at <= now() and d.next_attempt_at <= now()
  order by d.next_attempt_at, d.user_id
  limit 1
  for update of u skip locked;
  if v_user.id is null then
    return null;
  end if;
  -- Checked again with the account locked: the deletion may have been canceled in between.
  perform from identity.account_deletions d where d.user_id = v_user.id and d.due_at <= now() for update;
  if not found then
    return 'canceled';
  end if;

  v_variables := private.mail_variables(v_user.id) - 'ip_address' - 'user_agent';
  begin
    perform private.guard_last_administrator(v_user.id);
    delete from identity.users u where u.id = v_user.id;
  exception
    -- A conflict between two transactions: the whole deletion is retried.
    when deadlock_detected or serialization_failure or query_canceled then
      raise;
    when others then
      update identity.account_deletions d
      set
        attempts = d.attempts + 1,
        next_attempt_at = now() + least(interval '1 day', interval '5 minutes' * power(2, least(d.attempts, 10))),
        last_failure = sqlstate
      where d.user_id = v_user.id;
      return 'postponed';
  end;
  -- Addressed to an address instead of the deleted account. The row is deleted when the mail has been sent.
  if v_user.email is not null then
    perform private.queue_mail(
      null, v_user.email, 'account-deleted', v_variables, expires_at => now() + interval '2 days'
    );
  end if;
  return 'deleted';
end
$$;

comment on function private.delete_due_account() is 'Deletes one account whose deletion is due; returns deleted, postponed, canceled, or null when none is due.';
revoke execute on function private.delete_due_account() from public;
grant execute on function private.delete_due_account() to :PLINTH_WORKER;

-- Deletes up to batch_size turns that ended a day ago, with their deltas; returns their number.
create or replace function private.delete_ended_turns(batch_size integer default 1000)
  returns integer
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
declare
  v_turns integer;
begin
  if batch_size is null or batch_size not between 1 and 100000 then
    raise exception 'batch_size must be from 1 to 100000.' using errcode = 'PL422';
  end if;

  with old as (
    select t.message_id
    from private.turns t
    where t.ended_at <= now() - interval '1 day'
    order by t.ended_at
    limit batch_size
    for update skip locked
  )
  delete from private.turns t using old o where t.message_id = o.message_id;
  get diagnostics v_turns = row_count;
  return v_turns;
end
$$;

comment on function private.delete_ended_turns(batch_size integer) is 'Deletes up to batch_size turns that ended a day ago, with their deltas; returns their number.';
revoke execute on function private.delete_ended_turns(batch_size integer) from public;
grant execute on function private.delete_ended_turns(batch_size integer) to :PLINTH_WORKER;

-- Deletes the contents of up to batch_size expired exports; returns their number.
create or replace function private.delete_expired_exports(batch_size integer default 100)
  returns integer
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
declare
  v_exports uuid[];
begin
  if batch_size is null or batch_size not between 1 and 100000 then
    raise exception 'batch_size must be from 1 to 100000.' using errcode = 'PL422';
  end if;
  v_exports := array(
    select e.id
    from identity.data_exports e
    where e.status = 'ready' and e.expires_at <= now()
    order by e.expires_at
    limit batch_size
    for update skip locked
  );
  delete from private.data_export_parts p where p.export_id = any (v_exports);
  update identity.data_exports e set status = 'expired' where e.id = any (v_exports);
  return cardinality(v_exports);
end
$$;

comment on function private.delete_expired_exports(batch_size integer) is 'Deletes the contents of up to batch_size expired exports; returns their number.';
revoke execute on function private.delete_expired_exports(batch_size integer) from public;
grant execute on function private.delete_expired_exports(batch_size integer) to :PLINTH_WORKER;

-- Deletes expired presence and typing rows, up to max_count of each; returns the larger of both numbers.
create or replace function private.delete_expired_presence(max_count integer)
  returns integer
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
declare
  v_count integer;
  v_more integer;
begin
  delete from rooms.presence p
  using (
    select e.user_id from rooms.presence e where e.expires_at < clock_timestamp() limit max_count for update skip locked
  ) old
  where p.user_id = old.user_id;
  get diagnostics v_count = row_count;
  delete from rooms.typing t
  using (
    select e.room_id, e.user_id from rooms.typing e where e.expires_at < clock_timestamp() limit max_count for update skip locked
  ) old
  where t.room_id = old.room_id and t.user_id = old.user_id;
  get diagnostics v_more = row_count;
  return greatest(v_count, v_more);
end
$$;

comment on function private.delete_expired_presence(max_count integer) is 'Deletes expired presence and typing rows, up to max_count of each; returns the larger of both numbers.';
revoke execute on function private.delete_expired_presence(max_count integer) from public;
grant execute on function private.delete_expired_presence(max_count integer) to :PLINTH_WORKER;

-- Deletes up to batch_size expired counters; returns their number.
create or replace function private.delete_expired_rate_limits(batch_size integer default 1000)
  returns integer
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
declare
  v_deleted integer;
begin
  if batch_size is null or batch_size not between 1 and 100000 then
    raise exception 'batch_size must be from 1 to 100000.' using errcode = 'PL422';
  end if;
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

comment on function private.delete_expired_rate_limits(batch_size integer) is 'Deletes up to batch_size expired counters; returns their number.';
revoke execute on function private.delete_expired_rate_limits(batch_size integer) from public;
grant execute on function private.delete_expired_rate_limits(batch_size integer) to :PLINTH_WORKER;

-- Deletes up to batch_size expired refresh tokens, revocations, challenges, provider flows and unconfirmed factors; returns their number.
create or replace function private.delete_expired_tokens(batch_size integer default 1000)
  returns integer
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
declare
  v_rows integer;
  v_deleted integer := 0;
begin
  if batch_size is null or batch_size not between 1 and 100000 then
    raise exception 'batch_size must be from 1 to 100000.' using errcode = 'PL422';
  end if;

  with expired as (
    select t.id
    from private.refresh_tokens t
    where t.expires_at <= now()
    order by t.expires_at
    limit batch_size
    for update skip locked
  )
  delete from private.refresh_tokens t using expired e where t.id = e.id;
  get diagnostics v_rows = row_count;
  v_deleted := v_deleted + v_rows;

  with expired as (
    select b.id
    from private.token_blacklist b
    where b.expires_at <= now()
    order by b.expires_at
    limit batch_size - v_deleted
    for update skip locked
  )
  delete from private.token_blacklist b using expired e where b.id = e.id;
  get diagnostics v_rows = row_count;
  v_deleted := v_deleted + v_rows;

  with expired as (
    select c.id
    from private.sign_in_challenges c
    where c.expires_at <= now()
    order by c.expires_at
    limit batch_size - v_deleted
    for update skip locked
  )
  delete from private.sign_in_challenges c using expired e where c.id = e.id;
  get diagnostics v_rows = row_count;
  v_deleted := v_deleted + v_rows;

  with expired as (
    select c.challenge
    from private.passkey_challenges c
    where c.expires_at <= now()
    order by c.expires_at
    limit batch_size - v_deleted
    for update skip locked
  )
  delete from private.passkey_challenges c using expired e where c.challenge = e.challenge;
  get diagnostics v_rows = row_count;
  v_deleted := v_deleted + v_rows;

  with expired as (
    select f.id
    from identity.mfa_factors f
    where f.confirmed_at is null
      and f.created_at <= now() - interval '1 day'
    order by f.created_at
    limit batch_size - v_deleted
    for update skip locked
  )
  delete from identity.mfa_factors f using expired e where f.id = e.id;
  get diagnostics v_rows = row_count;
  v_deleted := v_deleted + v_rows;

  with expired as (
    select s.id
    from private.oauth_states s
    where s.expires_at <= now()
    order by s.expires_at
    limit batch_size - v_deleted
    for update skip locked
  )
  delete from private.oauth_states s using expired e where s.id = e.id;
  get diagnostics v_rows = row_count;
  v_deleted := v_deleted + v_rows;
  return v_deleted;
end
$$;

comment on function private.delete_expired_tokens(batch_size integer) is 'Deletes up to batch_size expired refresh tokens, revocations, challenges, provider flows and unconfirmed factors; returns their number.';
revoke execute on function private.delete_expired_tokens(batch_size integer) from public;
grant execute on function private.delete_expired_tokens(batch_size integer) to :PLINTH_WORKER;

-- Deletes up to batch_size reset tokens and verifications that ended 30 days ago; returns their number.
create or replace function private.delete_expired_verifications(batch_size integer default 1000)
  returns integer
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
declare
  v_resets integer;
  v_verifications integer;
begin
  if batch_size is null or batch_size not between 1 and 100000 then
    raise exception 'batch_size must be from 1 to 100000.' using errcode = 'PL422';
  end if;

  with old as (
    select t.id
    from private.password_reset_tokens t
    where t.expires_at <= now() - interval '30 days'
    order by t.expires_at
    limit batch_size
    for update skip locked
  )
  delete from private.password_reset_tokens t using old o where t.id = o.id;
  get diagnostics v_resets = row_count;

  with old as (
    select v.id
    from private.user_verifications v
    where v.expires_at <= now() - interval '30 days'
    order by v.expires_at
    limit batch_size - v_resets
    for update skip locked
  )
  delete from private.user_verifications v using old o where v.id = o.id;
  get diagnostics v_verifications = row_count;
  return v_resets + v_verifications;
end
$$;

comment on function private.delete_expired_verifications(batch_size integer) is 'Deletes up to batch_size reset tokens and verifications that ended 30 days ago; returns their number.';
revoke execute on function private.delete_expired_verifications(batch_size integer) from public;
grant execute on function private.delete_expired_verifications(batch_size integer) to :PLINTH_WORKER;

-- Deletes up to batch_size API tokens that were revoked or expired 90 days ago; returns their number.
create or replace function private.delete_old_api_tokens(batch_size integer default 1000)
  returns integer
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
declare
  v_deleted integer;
begin
  if batch_size is null or batch_size not between 1 and 100000 then
    raise exception 'batch_size must be from 1 to 100000.' using errcode = 'PL422';
  end if;
  with old as (
    select t.id
    from identity.api_tokens t
    where t.revoked_at < now() - interval '90 days' or t.expires_at < now() - interval '90 days'
    limit batch_size
    for update skip locked
  )
  delete from identity.api_tokens t using old o where t.id = o.id;
  get diagnostics v_deleted = row_count;
  return v_deleted;
end
$$;

comment on function private.delete_old_api_tokens(batch_size integer) is 'Deletes up to batch_size API tokens that were revoked or expired 90 days ago; returns their number.';
revoke execute on function private.delete_old_api_tokens(batch_size integer) from public;
grant execute on function private.delete_old_api_tokens(batch_size integer) to :PLINTH_WORKER;

-- Deletes up to batch_size errors older than 90 days; returns their number.
create or replace function private.delete_old_error_logs(batch_size integer default 1000)
  returns integer
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
declare
  v_deleted integer;
begin
  if batch_size is null or batch_size not between 1 and 100000 then
    raise exception 'batch_size must be from 1 to 100000.' using errcode = 'PL422';
  end if;
  with old as (
    select e.id, e.created_at
    from security.error_logs e
    where e.created_at < now() - interval '90 days'
    order by e.created_at
    limit batch_size
    for update skip locked
  )
  delete from security.error_logs e using old o where e.id = o.id and e.created_at = o.created_at;
  get diagnostics v_deleted = row_count;
  return v_deleted;
end
$$;

comment on function private.delete_old_error_logs(batch_size integer) is 'Deletes up to batch_size errors older than 90 days; returns their number.';
revoke execute on function private.delete_old_error_logs(batch_size integer) from public;
grant execute on function private.delete_old_error_logs(batch_size integer) to :PLINTH_WORKER;

-- Deletes up to batch_size deduplication keys of heartbeats older than 35 days; returns their number.
create or replace function private.delete_old_heartbeats(batch_size integer default 10000)
  returns integer
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
declare
  v_deleted integer;
begin
  if batch_size is null or batch_size not between 1 and 100000 then
    raise exception 'batch_size must be from 1 to 100000.' using errcode = 'PL422';
  end if;
  with old as (
    select r.user_id, r.event_id
    from private.recorded_heartbeats r
    where r.created_at < now() - interval '35 days'
    order by r.created_at
    limit batch_size
    for update skip locked
  )
  delete from private.recorded_heartbeats r using old o where r.user_id = o.user_id and r.event_id = o.event_id;
  get diagnostics v_deleted = row_count;
  return v_deleted;
end
$$;

comment on function private.delete_old_heartbeats(batch_size integer) is 'Deletes up to batch_size deduplication keys of heartbeats older than 35 days; returns their number.';
revoke execute on function private.delete_old_heartbeats(batch_size integer) from public;
grant execute on function private.delete_old_heartbeats(batch_size integer) to :PLINTH_WORKER;

-- Deletes up to batch_size mails that were sent 7 days ago or failed 30 days ago; returns their number.
create or replace function private.delete_old_mails(batch_size integer default 1000)
  returns integer
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
declare
  v_mails integer;
begin
  if batch_size is null or batch_size not between 1 and 100000 then
    raise exception 'batch_size must be from 1 to 100000.' using errcode = 'PL422';
  end if;

  with old as (
    select m.id
    from private.mail_outbox m
    where m.status <> 'pending'
      and m.created_at <= now() - case m.status when 'sent' then interval '7 days' else interval '30 days' end
    order by m.created_at
    limit batch_size
    for update skip locked
  )
  delete from private.mail_outbox m using old o where m.id = o.id;
  get diagnostics v_mails = row_count;
  return v_mails;
end
$$;

comment on function private.delete_old_mails(batch_size integer) is 'Deletes up to batch_size mails that were sent 7 days ago or failed 30 days ago; returns their number.';
revoke execute on function private.delete_old_mails(batch_size integer) from public;
grant execute on function private.delete_old_mails(batch_size integer) to :PLINTH_WORKER;

-- Deletes up to batch_size keys of prompt uses that are a week old; returns their number.
create or replace function private.delete_old_prompt_use_keys(batch_size integer default 1000)
  returns integer
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
declare
  v_keys integer;
begin
  if batch_size is null or batch_size not between 1 and 100000 then
    raise exception 'batch_size must be from 1 to 100000.' using errcode = 'PL422';
  end if;

  with old as (
    select k.user_id, k.idempotency_key
    from private.prompt_use_keys k
    where k.created_at <= now() - interval '7 days'
    order by k.created_at
    limit batch_size
    for update skip locked
  )
  delete from private.prompt_use_keys k
  using old o
  where k.user_id = o.user_id and k.idempotency_key = o.idempotency_key;
  get diagnostics v_keys = row_count;
  return v_keys;
end
$$;

comment on function private.delete_old_prompt_use_keys(batch_size integer) is 'Deletes up to batch_size keys of prompt uses that are a week old; returns their number.';
revoke execute on function private.delete_old_prompt_use_keys(batch_size integer) from public;
grant execute on function private.delete_old_prompt_use_keys(batch_size integer) to :PLINTH_WORKER;

-- Deletes a user's key and all data encrypted under it, permanently; returns whether there was one.
create or replace function private.delete_user_key(user_id uuid)
  returns boolean
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
declare
  v_existed boolean;
begin
  -- The account before its rows, as everywhere, to rule out a deadlock with the account's deletion.
  perform from identity.users u where u.id = delete_user_key.user_id for key share;
  delete from private.user_keys k where k.user_id = delete_user_key.user_id;
  v_existed := found;
  if v_existed then
    perform private.record_security_event('user_key_shredded', delete_user_key.user_id);
  end if;
  return v_existed;
end
$$;

comment on function private.delete_user_key(user_id uuid) is 'Deletes a user''s key and all data encrypted under it, permanently; returns whether there was one.';
revoke execute on function private.delete_user_key(user_id uuid) from public;
grant execute on function private.delete_user_key(user_id uuid) to :PLINTH_SERVICE;

-- Returns platform and browser from a User-Agent header as a JSON object; unknown parts are omitted.
create or replace function private.describe_user_agent(user_agent text)
  returns jsonb
  language sql
  immutable parallel safe
  set search_path to 'pg_catalog'
as $$
  select jsonb_strip_nulls(
    jsonb_build_object(
      'platform',
      case
        when user_agent ~ 'Windows' then 'Windows'
        when user_agent ~ 'iPhone|iPad|iPod' then 'iOS'
        when user_agent ~ 'Android' then 'Android'
        when user_agent ~ 'CrOS' then 'ChromeOS'
        when user_agent ~ 'Macintosh|Mac OS X' then 'macOS'
        when user_agent ~ 'Linux' then 'Linux'
      end,
      'browser',
      case
        when user_agent ~ '\mEdg(e|A|iOS)?/' then 'Edge'
        when user_agent ~ '\mOPR/' then 'Opera'
        when user_agent ~ '\mSamsungBrowser/' then 'Samsung Internet'
        when user_agent ~ '\m(Firefox|FxiOS)/' then 'Firefox'
        when user_agent ~ '\m(Chrome|CriOS|Chromium)/' then 'Chrome'
        when user_agent ~ '\mSafari/' then 'Safari'
        -- Programs name themselves first: curl/8.5.0
        else substring(user_agent from '^[A-Za-z][A-Za-z0-9._-]{0,39}')
      end
    )
  )
$$;

comment on function private.describe_user_agent(user_agent text) is 'Returns platform and browser from a User-Agent header as a JSON object; unknown parts are omitted.';
revoke execute on function private.describe_user_agent(user_agent text) from public;

-- Reports broken enabled rules, minute by minute since a time within the last day; returns the number of new reports.
create or replace function private.detect_suspicious_activity(since timestamp with time zone default (now() - '00:03:00'::interval))
  returns integer
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
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

comment on function private.detect_suspicious_activity(since timestamp with time zone) is 'Reports broken enabled rules, minute by minute since a time within the last day; returns the number of new reports.';
revoke execute on function private.detect_suspicious_activity(since timestamp with time zone) from public;
grant execute on function private.detect_suspicious_activity(since timestamp with time zone) to :PLINTH_WORKER;

-- Ends up to batch_size expired sessions and deletes those that ended 90 days ago; returns their number.
create or replace function private.end_expired_sessions(batch_size integer default 1000)
  returns integer
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
declare
  v_ended integer;
  v_deleted integer;
begin
  if batch_size is null or batch_size not between 1 and 100000 then
    raise exception 'batch_size must be from 1 to 100000.' using errcode = 'PL422';
  end if;

  with expired as (
    select s.id
    from identity.user_sessions s
    left join identity.user_security_settings ss on ss.user_id = s.user_id
    where s.ended_at is null
      and (
        s.expires_at <= now()
        or s.last_activity_at
          <= now() - coalesce(make_interval(mins => ss.session_timeout_minutes), interval '30 days')
      )
    limit batch_size
    for update of s skip locked
  )
  update identity.user_sessions s
  set ended_at = now(), end_reason = 'expired'
  from expired e
  where s.id = e.id;
  get diagnostics v_ended = row_count;

  with old as (
    select s.id
    from identity.user_sessions s
    where s.ended_at < now() - interval '90 days'
    limit batch_size - v_ended
    for update skip locked
  )
  delete from identity.user_sessions s using old o where s.id = o.id;
  get diagnostics v_deleted = row_count;
  return v_ended + v_deleted;
end
$$;

comment on function private.end_expired_sessions(batch_size integer) is 'Ends up to batch_size expired sessions and deletes those that ended 90 days ago; returns their number.';
revoke execute on function private.end_expired_sessions(batch_size integer) from public;
grant execute on function private.end_expired_sessions(batch_size integer) to :PLINTH_WORKER;

-- Ends a user's live sessions except one; returns their number.
create or replace function private.end_sessions(user_id uuid, reason text, except_session_id uuid default null::uuid)
  returns integer
  language sql
  set search_path to 'pg_catalog'
as $$
  with ended as (
    update identity.user_sessions s
    set ended_at = now(), end_reason = end_sessions.reason
    where s.user_id = end_sessions.user_id
      and s.ended_at is null
      and s.id is distinct from end_sessions.except_session_id
    returning s.id
  )
  select count(*)::integer from ended
$$;

comment on function private.end_sessions(user_id uuid, reason text, except_session_id uuid) is 'Ends a user''s live sessions except one; returns their number.';
revoke execute on function private.end_sessions(user_id uuid, reason text, except_session_id uuid) from public;

-- Ends an answer with the text received and counts its usage; an ended answer is returned unchanged. PL404 for an unknown turn, PL409 when the number of deltas differs from the expected one.
create or replace function private.end_turn(message_id uuid, state text, finish_reason text, error_code text default null::text, error_message text default null::text, tool_calls jsonb default null::jsonb, expected_sequence integer default null::integer, input_tokens bigint default null::bigint, output_tokens bigint default null::bigint, cached_input_tokens bigint default 0, reasoning_tokens bigint default 0, user_id uuid default null::uuid, writer text default null::text, only_expired boolean default false)
  returns llm.messages
  language plpgsql
  set search_path to 'pg_catalog'
as $$
#variable_conflict use_column
declare
  v_turn private.turns;
  v_message llm.messages;
  v_text record;
  v_output bigint;
begin
  select t.* into v_turn
  from private.turns t
  where t.message_id = end_turn.message_id
    and (end_turn.writer is null or t.writer = end_turn.writer)
    and (end_turn.user_id is null or t.user_id = end_turn.user_id);
  if not found then
    -- Turns are deleted a day after their end; the message stays.
    select m.* into v_message
    from llm.messages m
    where m.id = end_turn.message_id
      and m.role = 'assistant'
      and m.state <> 'streaming'
      and (end_turn.user_id is null or m.user_id = end_turn.user_id);
    if found then
      return v_message;
    end if;
    raise exception 'Turn not found.' using errcode = 'PL404', column = 'message_id';
  end if;
  if end_turn.state = 'complete'
    and (end_turn.finish_reason in ('stop', 'length', 'tool_calls', 'content_filter')) is not true
  then
    raise exception 'The finish reason must be stop, length, tool_calls or content_filter.'
      using errcode = 'PL422', column = 'finish_reason';
  end if;
  if coalesce(end_turn.input_tokens, 0) < 0 or coalesce(end_turn.output_tokens, 0) < 0 then
    raise exception 'Token counts cannot be negative.' using errcode = 'PL422', column = 'output_tokens';
  end if;
  -- The account before its rows, as everywhere.
  perform from identity.users u where u.id = v_turn.user_id for no key update;
  perform from llm.chats c where c.id = v_turn.chat_id for no key update;
  select m.* into v_message from llm.messages m where m.id = end_turn.message_id for no key update;
  select t.* into v_turn from private.turns t where t.message_id = end_turn.message_id for no key update;
  if not found then
    raise exception 'Turn not found.' using errcode = 'PL404', column = 'message_id';
  end if;
  if v_turn.ended_at is not null then
    if v_turn.is_usage_estimated and end_turn.writer = 'service' and end_turn.output_tokens is not null then
      perform private.correct_turn_usage(
        v_turn, v_message.model_id, coalesce(end_turn.input_tokens, v_turn.input_tokens), end_turn.output_tokens,
        end_turn.cached_input_tokens, end_turn.reasoning_tokens
      );
      v_message.tokens_used := end_turn.output_tokens;
    end if;
    return v_message;
  end if;
  if end_turn.only_expired and v_turn.lease_expires_at > clock_timestamp() then
    return v_message;
  end if;
  if end_turn.expected_sequence <> v_turn.last_sequence then
    raise exception 'The turn has % deltas, not %.', v_turn.last_sequence, end_turn.expected_sequence
      using errcode = 'PL409', column = 'last_sequence';
  end if;

  select
    coalesce(string_agg(d.content, '' order by d.sequence), '') as content,
    nullif(string_agg(d.thinking, '' order by d.sequence), '') as thinking
  into v_text
  from llm.message_deltas d
  where d.user_id = v_turn.user_id and d.message_id = v_turn.message_id;
  -- A client may not report less than it streamed.
  v_output := case
    when end_turn.output_tokens is null or v_turn.writer = 'client'
      then greatest(end_turn.output_tokens, private.estimated_tokens(v_turn.streamed_bytes))
    else end_turn.output_tokens
  end;
  -- Before the message stores its count, so that the ledger does not count the tokens twice.
  perform private.bill_turn(
    v_turn, v_message.model_id, coalesce(end_turn.input_tokens, v_turn.input_tokens), v_output,
    end_turn.cached_input_tokens, end_turn.reasoning_tokens, v_turn.message_id
  );

  update private.turns t
  set ended_at = clock_timestamp(), is_usage_estimated = end_turn.output_tokens is null
  where t.message_id = v_turn.message_id;
  update llm.messages m
  set
    content = v_text.content,
    thinking = v_text.thinking,
    tool_calls = coalesce(end_turn.tool_calls, m.tool_calls),
    state = end_turn.state,
    finish_reason = end_turn.finish_reason,
    error_code = end_turn.error_code,
    error_message = left(end_turn.error_message, 2000),
    last_sequence = v_turn.last_sequence,
    tokens_used = v_output
  where m.id = v_turn.message_id
  returning m.* into v_message;
  update llm.chats c set updated_at = clock_timestamp() where c.id = v_turn.chat_id;
  perform plinth.announce('turn:' || v_turn.message_id, v_turn.last_sequence);
  return v_message;
end
$$;

comment on function private.end_turn(message_id uuid, state text, finish_reason text, error_code text, error_message text, tool_calls jsonb, expected_sequence integer, input_tokens bigint, output_tokens bigint, cached_input_tokens bigint, reasoning_tokens bigint, user_id uuid, writer text, only_expired boolean) is 'Ends an answer with the text received and counts its usage; an ended answer is returned unchanged. PL404 for an unknown turn, PL409 when the number of deltas differs from the expected one.';
revoke execute on function private.end_turn(message_id uuid, state text, finish_reason text, error_code text, error_message text, tool_calls jsonb, expected_sequence integer, input_tokens bigint, output_tokens bigint, cached_input_tokens bigint, reasoning_tokens bigint, user_id uuid, writer text, only_expired boolean) from public;

-- Counts a call against a rule; PL429 with the seconds to wait in the hint when the limit is exceeded.
create or replace function private.enforce_rate_limit(rule_name text, key text)
  returns void
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
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

comment on function private.enforce_rate_limit(rule_name text, key text) is 'Counts a call against a rule; PL429 with the seconds to wait in the hint when the limit is exceeded.';
revoke execute on function private.enforce_rate_limit(rule_name text, key text) from public;
grant execute on function private.enforce_rate_limit(rule_name text, key text) to :PLINTH_SERVICE;

-- Grants the tokens of the user's plan, or the free plan, for the current period, unless they were granted.
create or replace function private.ensure_current_grants(user_id uuid)
  returns void
  language sql
  security definer
  set search_path to 'pg_catalog'
as $$
  select private.ensure_grants_at(ensure_current_grants.user_id, now())
$$;

comment on function private.ensure_current_grants(user_id uuid) is 'Grants the tokens of the user''s plan, or the free plan, for the current period, unless they were granted.';
revoke execute on function private.ensure_current_grants(user_id uuid) from public;

-- Grants the tokens of the periods that contain a moment, once. Without may_wait it does nothing while the account is locked.
create or replace function private.ensure_grants_at(user_id uuid, at timestamp with time zone, may_wait boolean default true)
  returns void
  language plpgsql
  set search_path to 'pg_catalog'
as $$
declare
  v_month timestamp := date_trunc('month', ensure_grants_at.at at time zone 'UTC');
  v_subscription record;
  v_has_free boolean;
begin
  -- A caller that holds a lock ranked after the account's must not wait for the account.
  if may_wait then
    perform from identity.users u where u.id = ensure_grants_at.user_id for no key update;
    if not found then
      return;
    end if;
  elsif not private.try_lock_account(ensure_grants_at.user_id) then
    return;
  end if;
  perform private.advance_subscription(s.id, ensure_grants_at.at)
  from billing.user_subscriptions s
  where s.user_id = ensure_grants_at.user_id and s.status in ('trialing', 'active', 'past_due');

  select
    s.due_at,
    s.status not in ('trialing', 'active') or s.quota_granted_from = s.quota_period_start as is_granted,
    p.code = 'free' or s.status = 'paused' as is_free
  into v_subscription
  from billing.user_subscriptions s
  join billing.subscription_plans p on p.id = s.plan_id
  where s.user_id = ensure_grants_at.user_id
    and s.status in ('trialing', 'active', 'past_due', 'paused');
  if not found or v_subscription.is_free then
    perform private.grant_free_quota(ensure_grants_at.user_id, ensure_grants_at.at);
    v_has_free := exists (
      select
      from private.free_quotas q
      where q.user_id = ensure_grants_at.user_id and q.granted_month >= v_month::date
    );
  end if;
  update billing.usage_tracking t
  set entitled_until = least(
    v_subscription.due_at,
    case when v_has_free then (v_month + interval '1 month') at time zone 'UTC' else 'infinity' end
  )
  where t.user_id = ensure_grants_at.user_id
    -- A quota that is pending is checked again each time.
    and v_has_free is not false
    and v_subscription.is_granted is not false;
end
$$;

comment on function private.ensure_grants_at(user_id uuid, at timestamp with time zone, may_wait boolean) is 'Grants the tokens of the periods that contain a moment, once. Without may_wait it does nothing while the account is locked.';
revoke execute on function private.ensure_grants_at(user_id uuid, at timestamp with time zone, may_wait boolean) from public;

-- Creates the missing monthly partitions of all logs, from this month to months_ahead later; returns the names created.
create or replace function private.ensure_partitions(months_ahead integer default 3)
  returns table(partition_name text)
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
  set "TimeZone" to 'UTC'
as $$
declare
  v_table record;
  v_month timestamptz;
  v_next timestamptz;
  v_name text;
  v_default text;
begin
  if months_ahead is null or months_ahead not between 0 and 120 then
    raise exception 'months_ahead must be from 0 to 120.' using errcode = 'PL422';
  end if;
  for v_table in
    select c.oid, n.nspname, c.relname
    from pg_partitioned_table p
    join pg_class c on c.oid = p.partrelid
    join pg_namespace n on n.oid = c.relnamespace
    join pg_attribute a on a.attrelid = c.oid and a.attnum = p.partattrs[0]
    where p.partstrat = 'r'
      and p.partnatts = 1
      and a.attname = 'created_at'
      and n.nspname in ('identity', 'access', 'billing', 'llm', 'rooms', 'learning', 'security', 'private')
    order by n.nspname, c.relname
  loop
    v_default := v_table.relname || '_default';
    if to_regclass(format('%I.%I', v_table.nspname, v_default)) is null then
      perform private.lock_for_new_partition(v_table.oid);
    end if;
    if to_regclass(format('%I.%I', v_table.nspname, v_default)) is null then
      execute format('create table %1$I.%2$I partition of %1$I.%3$I default', v_table.nspname, v_default, v_table.relname);
      execute format('alter table %I.%I enable row level security', v_table.nspname, v_default);
      execute format(
        'comment on table %I.%I is %L', v_table.nspname, v_default,
        format('Rows of %s whose month has no partition yet.', v_table.relname)
      );
      partition_name := format('%I.%I', v_table.nspname, v_default);
      return next;
    end if;

    for v_month in
      select generate_series(
        date_trunc('month', now()), date_trunc('month', now()) + make_interval(months => months_ahead), interval '1 month'
      )
    loop
      v_next := v_month + interval '1 month';
      v_name := v_table.relname || to_char(v_month, '_YYYY_MM');
      continue when to_regclass(format('%I.%I', v_table.nspname, v_name)) is not null;
      perform private.lock_for_new_partition(v_table.oid);
      -- Another caller may have created it first.
      continue when to_regclass(format('%I.%I', v_table.nspname, v_name)) is not null;
      execute format(
        'create table %1$I.%2$I (like %1$I.%3$I including defaults including constraints)',
        v_table.nspname, v_name, v_table.relname
      );
      -- Through the parent, the parent's policies decide. Directly there are no policies, so no rows.
      execute format('alter table %I.%I enable row level security', v_table.nspname, v_name);
      execute format(
        'comment on table %I.%I is %L', v_table.nspname, v_name,
        format('Rows of %s made in %s.', v_table.relname, to_char(v_month, 'YYYY-MM'))
      );
      execute format(
        'with moved as (delete from %1$I.%2$I where created_at >= $1 and created_at < $2 returning *)
         insert into %1$I.%3$I select * from moved',
        v_table.nspname, v_default, v_name
      ) using v_month, v_next;
      execute format(
        'alter table %1$I.%2$I attach partition %1$I.%3$I for values from (%4$L) to (%5$L)',
        v_table.nspname, v_table.relname, v_name, v_month, v_next
      );
      partition_name := format('%I.%I', v_table.nspname, v_name);
      return next;
    end loop;
  end loop;
end
$$;

comment on function private.ensure_partitions(months_ahead integer) is 'Creates the missing monthly partitions of all logs, from this month to months_ahead later; returns the names created.';
revoke execute on function private.ensure_partitions(months_ahead integer) from public;
grant execute on function private.ensure_partitions(months_ahead integer) to :PLINTH_WORKER;

-- Clears message and context of an account's errors; code and fingerprint stay, so that they can still be counted.
create or replace function private.erase_errors(account_id uuid)
  returns void
  language plpgsql
  set search_path to 'pg_catalog'
as $$
begin
  perform from security.error_logs e where e.user_id = account_id order by e.created_at, e.id for update;
  update security.error_logs e
  set user_id = null, message = '', context = '{}', correlation_id = null
  where e.user_id = account_id;
end
$$;

comment on function private.erase_errors(account_id uuid) is 'Clears message and context of an account''s errors; code and fingerprint stay, so that they can still be counted.';
revoke execute on function private.erase_errors(account_id uuid) from public;

-- Clears name, address and program of an account's sign-ins, and of attempts on its names before they belonged to an account.
create or replace function private.erase_login_attempts(account identity.users)
  returns void
  language plpgsql
  set search_path to 'pg_catalog'
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

comment on function private.erase_login_attempts(account identity.users) is 'Clears name, address and program of an account''s sign-ins, and of attempts on its names before they belonged to an account.';
revoke execute on function private.erase_login_attempts(account identity.users) from public;

-- Clears an account's data, address and program from the audit log; those of other people who acted on it stay.
create or replace function private.erase_security_events(account_id uuid)
  returns void
  language plpgsql
  set search_path to 'pg_catalog'
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

comment on function private.erase_security_events(account_id uuid) is 'Clears an account''s data, address and program from the audit log; those of other people who acted on it stay.';
revoke execute on function private.erase_security_events(account_id uuid) from public;

-- Trigger: clears the data about a deleted account from sign-in log, audit log and error log.
create or replace function private.erase_traces_of_user()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
begin
  perform private.erase_login_attempts(old);
  perform private.erase_security_events(old.id);
  perform private.erase_errors(old.id);
  -- Mail that was queued to an address and not for an account.
  delete from private.mail_outbox m where m.user_id is null and m.to_address in (old.email, old.phone_number);
  return old;
end
$$;

comment on function private.erase_traces_of_user() is 'Trigger: clears the data about a deleted account from sign-in log, audit log and error log.';
revoke execute on function private.erase_traces_of_user() from public;

-- Returns the text with the five special characters of HTML escaped.
create or replace function private.escape_html(plain text)
  returns text
  language sql
  immutable parallel safe
  set search_path to 'pg_catalog'
as $$
  select replace(replace(replace(replace(replace(plain, '&', '&amp;'), '<', '&lt;'), '>', '&gt;'), '"', '&quot;'), '''', '&#39;')
$$;

comment on function private.escape_html(plain text) is 'Returns the text with the five special characters of HTML escaped.';
revoke execute on function private.escape_html(plain text) from public;

-- Returns the approximate number of tokens of a text of so many bytes.
create or replace function private.estimated_tokens(bytes integer)
  returns bigint
  language sql
  immutable parallel safe
  set search_path to 'pg_catalog'
as $$
  select (bytes::bigint + 3) / 4
$$;

comment on function private.estimated_tokens(bytes integer) is 'Returns the approximate number of tokens of a text of so many bytes.';
revoke execute on function private.estimated_tokens(bytes integer) from public;

-- Expires the due holds of up to batch_size users; returns the number of users. Users whose ledger is locked are skipped.
create or replace function private.expire_token_holds(batch_size integer default 1000, at timestamp with time zone default now())
  returns integer
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
declare
  v_row record;
  v_users integer := 0;
begin
  if batch_size is null or batch_size not between 1 and 100000 then
    raise exception 'batch_size must be from 1 to 100000.' using errcode = 'PL422';
  end if;
  for v_row in
    select t.user_id, t.next_hold_expires_at
    from billing.usage_tracking t
    where t.next_hold_expires_at <= expire_token_holds.at
    limit batch_size
    for update skip locked
  loop
    perform private.expire_user_holds(v_row.user_id, v_row.next_hold_expires_at, expire_token_holds.at);
    v_users := v_users + 1;
  end loop;
  return v_users;
end
$$;

comment on function private.expire_token_holds(batch_size integer, at timestamp with time zone) is 'Expires the due holds of up to batch_size users; returns the number of users. Users whose ledger is locked are skipped.';
revoke execute on function private.expire_token_holds(batch_size integer, at timestamp with time zone) from public;
grant execute on function private.expire_token_holds(batch_size integer, at timestamp with time zone) to :PLINTH_WORKER;

-- Expires the holds of a user that ended from one moment (next_hold_expires_at) to another; returns the next end of a hold. The caller has locked the user's row of usage_tracking.
create or replace function private.expire_user_holds(user_id uuid, since timestamp with time zone, at timestamp with time zone)
  returns timestamp with time zone
  language plpgsql
as $$
declare
  v_next timestamptz;
begin
  with due as (
    update billing.token_holds h
    set state = 'expired'
    where h.user_id = expire_user_holds.user_id
      and h.state = 'open'
      and h.expires_at between expire_user_holds.since and expire_user_holds.at
    returning h.id, h.grant_ids, h.grant_tokens
  ), given_back as (
    select a.grant_id, sum(a.tokens)::bigint as tokens
    from due d
    cross join unnest(d.grant_ids, d.grant_tokens) as a (grant_id, tokens)
    group by a.grant_id
  )
  update billing.token_grants g set held = g.held - b.tokens from given_back b where g.id = b.grant_id;

  select min(h.expires_at) into v_next
  from billing.token_holds h
  where h.user_id = expire_user_holds.user_id and h.state = 'open' and h.expires_at > expire_user_holds.at;
  update billing.usage_tracking t set next_hold_expires_at = v_next where t.user_id = expire_user_holds.user_id;
  return v_next;
end
$$;

comment on function private.expire_user_holds(user_id uuid, since timestamp with time zone, at timestamp with time zone) is 'Expires the holds of a user that ended from one moment (next_hold_expires_at) to another; returns the next end of a hold. The caller has locked the user''s row of usage_tracking.';
revoke execute on function private.expire_user_holds(user_id uuid, since timestamp with time zone, at timestamp with time zone) from public;

-- Returns an item as an object of the import format.
create or replace function private.export_content_item(item_id uuid)
  returns jsonb
  language sql
  stable
  set search_path to 'pg_catalog'
as $$
  select jsonb_build_object(
    'kind', 'item',
    'slug', i.slug,
    'category', c.path,
    'course', course.slug,
    'position', i.position,
    'type', i.content_type,
    'title', i.title,
    'summary', i.summary,
    'level', i.level,
    'durationSeconds', i.duration_seconds,
    'language', i.language,
    'tags', to_jsonb(i.tags),
    'requiredAccessLevel', i.required_access_level,
    'isPreview', i.is_preview,
    'prerequisites', (
      select coalesce(jsonb_agg(r.slug order by r.slug), '[]')
      from learning.content_prerequisites p
      join learning.content_items r on r.id = p.required_item_id
      where p.item_id = i.id and r.deleted_at is null
    ),
    'published', i.current_version is not null,
    -- In UTC in any session time zone, so that two exports can be compared.
    'publishFrom', to_char(i.publish_from at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
    'publishUntil', to_char(i.publish_until at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
    'bodyFormat', coalesce(b.body_format, 'markdown'),
    'body', b.body
  )
  from learning.content_items i
  join learning.content_categories c on c.id = i.category_id
  left join learning.content_items course on course.id = i.course_id
  left join learning.content_bodies b
    on b.item_id = i.id
    and b.version = coalesce(
      i.current_version, (select max(v.version) from learning.content_versions v where v.item_id = i.id)
    )
  where i.id = export_content_item.item_id
$$;

comment on function private.export_content_item(item_id uuid) is 'Returns an item as an object of the import format.';
revoke execute on function private.export_content_item(item_id uuid) from public;

-- Audits a new factor and credits it to the calling session.
create or replace function private.factor_was_added(user_id uuid, factor_id uuid, kind text, methods text[])
  returns void
  language plpgsql
  set search_path to 'pg_catalog'
as $$
begin
  perform private.record_security_event(
    'factor_added', factor_was_added.user_id,
    jsonb_build_object('factor_id', factor_was_added.factor_id, 'kind', factor_was_added.kind)
  );
  perform private.add_session_methods(factor_was_added.methods);
end
$$;

comment on function private.factor_was_added(user_id uuid, factor_id uuid, kind text, methods text[]) is 'Audits a new factor and credits it to the calling session.';
revoke execute on function private.factor_was_added(user_id uuid, factor_id uuid, kind text, methods text[]) from public;

-- Ends a flow whose response was not accepted; audited with the reason.
create or replace function private.fail_provider_flow(flow_id uuid, reason text)
  returns void
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
declare
  v_flow private.oauth_states;
begin
  perform from identity.users u where u.id = plinth.current_user_id() for key share;
  delete from private.oauth_states s
  where s.id = fail_provider_flow.flow_id and s.used_at is not null
  returning s.* into v_flow;
  if v_flow.id is null then
    return;
  end if;
  if v_flow.purpose = 'sign_in' then
    perform security.track_login_attempt(
      null, null, plinth.client_ip(), plinth.user_agent(), 'failed', 'provider_refused'
    );
  end if;
  perform private.record_security_event(
    'provider_sign_in_failed', v_flow.user_id,
    jsonb_build_object(
      'provider', v_flow.provider, 'purpose', v_flow.purpose, 'reason', left(fail_provider_flow.reason, 100)
    ),
    'warning'
  );
end
$$;

comment on function private.fail_provider_flow(flow_id uuid, reason text) is 'Ends a flow whose response was not accepted; audited with the reason.';
revoke execute on function private.fail_provider_flow(flow_id uuid, reason text) from public;
grant execute on function private.fail_provider_flow(flow_id uuid, reason text) to :PLINTH_SERVICE;

-- Returns the id of the account with this username or email address, or null.
create or replace function private.find_account(identifier text)
  returns uuid
  language sql
  stable
  set search_path to 'pg_catalog'
as $$
  select u.id
  from identity.users u
  where u.username = plinth.normalize_username(find_account.identifier)
    or u.email = plinth.normalize_email(find_account.identifier)
    or (u.has_irregular_address and u.email = plinth.normalize_username(find_account.identifier))
  -- An irregular address is found as it is written; the account of that name or normalized address comes first.
  order by u.has_irregular_address and u.username is distinct from plinth.normalize_username(find_account.identifier)
  limit 1
$$;

comment on function private.find_account(identifier text) is 'Returns the id of the account with this username or email address, or null.';
revoke execute on function private.find_account(identifier text) from public;

-- Returns the live API token with this hash, its user, scopes and allowed networks; no row without one.
create or replace function private.find_api_token(token_hash bytea)
  returns table(token_id uuid, user_id uuid, token_version integer, scopes text[], expires_at timestamp with time zone, allowed_networks text[])
  language sql
  stable security definer
  set search_path to 'pg_catalog'
as $$
  select t.id, t.user_id, u.token_version, t.scopes, t.expires_at, ss.allowed_networks::text[]
  from private.api_token_hashes h
  join identity.api_tokens t on t.id = h.token_id
  join identity.users u on u.id = t.user_id
  left join identity.user_security_settings ss on ss.user_id = t.user_id
  where h.token_hash = find_api_token.token_hash
    and t.revoked_at is null
    and t.expires_at > now()
    and u.account_status = 'active'
$$;

comment on function private.find_api_token(token_hash bytea) is 'Returns the live API token with this hash, its user, scopes and allowed networks; no row without one.';
revoke execute on function private.find_api_token(token_hash bytea) from public;
grant execute on function private.find_api_token(token_hash bytea) to :PLINTH_SERVICE;

-- Returns a user's encrypted memory with its sealed key; no row without a memory.
create or replace function private.find_conversation_memory(user_id uuid)
  returns table(memory text, wrapped_key text, version bigint, created_at timestamp with time zone, updated_at timestamp with time zone)
  language sql
  stable security definer
  set search_path to 'pg_catalog'
as $$
  select m.memory, k.wrapped_key, m.version, m.created_at, m.updated_at
  from llm.conversation_memories m
  join private.user_keys k on k.id = m.key_id
  where m.user_id = find_conversation_memory.user_id
$$;

comment on function private.find_conversation_memory(user_id uuid) is 'Returns a user''s encrypted memory with its sealed key; no row without a memory.';
revoke execute on function private.find_conversation_memory(user_id uuid) from public;
grant execute on function private.find_conversation_memory(user_id uuid) to :PLINTH_SERVICE;

-- Returns the signed-in user's customer id at a payment provider, or null.
create or replace function private.find_customer(provider text)
  returns text
  language sql
  stable security definer
  set search_path to 'pg_catalog'
as $$
  select c.provider_customer_id
  from billing.provider_customers c
  where c.user_id = plinth.current_user_id() and c.provider = find_customer.provider
  order by c.created_at desc, c.provider_customer_id
  limit 1
$$;

comment on function private.find_customer(provider text) is 'Returns the signed-in user''s customer id at a payment provider, or null.';
revoke execute on function private.find_customer(provider text) from public;
grant execute on function private.find_customer(provider text) to :PLINTH_SERVICE;

-- Returns size and number of parts of a downloadable export of the signed-in user, and records the download; no row otherwise. PL403 with an API token.
create or replace function private.find_data_export(export_id uuid)
  returns table(size_bytes bigint, part_count integer)
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
#variable_conflict use_column
begin
  perform private.refuse_api_token();
  return query
    select
      e.size_bytes,
      (
        select count(*)::integer
        from private.data_export_parts p
        where p.export_id = e.id and p.user_id = e.user_id
      )
    from identity.data_exports e
    where e.id = find_data_export.export_id
      and e.user_id = plinth.current_user_id()
      and e.status = 'ready'
      and e.expires_at > now();
  if not found then
    return;
  end if;
  perform private.record_security_event(
    'data_export_downloaded', plinth.current_user_id(), jsonb_build_object('export_id', find_data_export.export_id), 'warning'
  );
end
$$;

comment on function private.find_data_export(export_id uuid) is 'Returns size and number of parts of a downloadable export of the signed-in user, and records the download; no row otherwise. PL403 with an API token.';
revoke execute on function private.find_data_export(export_id uuid) from public;
grant execute on function private.find_data_export(export_id uuid) to :PLINTH_SERVICE;

-- Returns the message that a sender (null for the AI) posted in a room under a key, or nulls. PL409 when it was another request.
create or replace function private.find_keyed_room_message(room_id uuid, sender_id uuid, idempotency_key uuid, content text, digest bytea)
  returns rooms.room_messages
  language plpgsql
  stable
  set search_path to 'pg_catalog'
as $$
declare
  v_message rooms.room_messages;
begin
  select m.* into v_message
  from rooms.room_messages m
  where m.room_id = find_keyed_room_message.room_id
    and m.sender_id is not distinct from find_keyed_room_message.sender_id
    and m.idempotency_key = find_keyed_room_message.idempotency_key;
  if found then
    perform private.refuse_other_request(coalesce(
      (select d.digest = find_keyed_room_message.digest from private.request_digests d where d.room_message_id = v_message.id),
      find_keyed_room_message.content is not distinct from coalesce(
        (
          select r.content
          from rooms.room_message_revisions r
          where r.message_id = v_message.id
          order by r.revision
          limit 1
        ),
        v_message.content
      )
    ));
  end if;
  return v_message;
end
$$;

comment on function private.find_keyed_room_message(room_id uuid, sender_id uuid, idempotency_key uuid, content text, digest bytea) is 'Returns the message that a sender (null for the AI) posted in a room under a key, or nulls. PL409 when it was another request.';
revoke execute on function private.find_keyed_room_message(room_id uuid, sender_id uuid, idempotency_key uuid, content text, digest bytea) from public;

-- Returns the password hash of the account with this username, email address or email hash; one row of nulls without one.
create or replace function private.find_login(identifier text, hashed_email bytea default null::bytea)
  returns table(user_id uuid, password_hash text, hash_algorithm text, token_version integer, bcrypt_is_in_use boolean)
  language sql
  stable security definer
  set search_path to 'pg_catalog'
as $$
  select
    account.id,
    account.password_hash,
    account.hash_algorithm,
    account.token_version,
    exists (select from private.user_passwords b where b.hash_algorithm <> 'argon2id')
  from (values (true)) as always (one)
  left join lateral (
    select u.id, u.token_version, p.password_hash, p.hash_algorithm
    from identity.users u
    join private.user_passwords p on p.user_id = u.id
    -- If a hash belongs to one account and the clear address to another without a hash, the clear address is older.
    where u.id = coalesce(
      private.find_account(find_login.identifier),
      (select h.id from identity.users h where h.hashed_email = find_login.hashed_email)
    )
  ) account on true
$$;

comment on function private.find_login(identifier text, hashed_email bytea) is 'Returns the password hash of the account with this username, email address or email hash; one row of nulls without one.';
revoke execute on function private.find_login(identifier text, hashed_email bytea) from public;
grant execute on function private.find_login(identifier text, hashed_email bytea) to :PLINTH_SERVICE;

-- Returns the sealed key of a kind of lookup; null without one.
create or replace function private.find_lookup_key(name text)
  returns text
  language sql
  stable security definer
  set search_path to 'pg_catalog'
as $$
  select k.sealed_key from private.lookup_keys k where k.name = find_lookup_key.name
$$;

comment on function private.find_lookup_key(name text) is 'Returns the sealed key of a kind of lookup; null without one.';
revoke execute on function private.find_lookup_key(name text) from public;
grant execute on function private.find_lookup_key(name text) to :PLINTH_SERVICE;

-- Returns the ids of the members that a message mentions, without its sender, at most 50; of a private message only recipients. PL422.
create or replace function private.find_mentions(room_id uuid, sender_id uuid, content text, declared uuid[], recipients uuid[])
  returns uuid[]
  language plpgsql
  stable
  set search_path to 'pg_catalog'
as $$
declare
  v_declared uuid[] := coalesce(declared, '{}');
  v_found uuid[] := '{}';
begin
  if strpos(content, '@') > 0 then
    v_found := array(
      select distinct m.user_id
      from (select distinct n.names from private.mentioned_names(content) n) n
      -- The longest prefix that is an account's name.
      cross join lateral (
        select u.id from identity.users u where u.username = any (n.names) order by length(u.username) desc limit 1
      ) named
      join rooms.room_members m on m.room_id = find_mentions.room_id and m.user_id = named.id
    );
  end if;
  if cardinality(v_declared) > 0 and (
    select count(*) < (select count(distinct d) from unnest(v_declared) d)
    from rooms.room_members m
    where m.room_id = find_mentions.room_id and m.user_id = any (v_declared)
  ) then
    raise exception 'Only members can be mentioned.' using errcode = 'PL422', column = 'mentions';
  end if;
  v_found := array(
    select distinct f
    from unnest(v_found || v_declared) f
    where f is distinct from find_mentions.sender_id and (recipients is null or f = any (recipients))
    order by f
  );
  if cardinality(v_found) > 50 then
    raise exception 'A message can mention at most 50 members.' using errcode = 'PL422', column = 'mentions';
  end if;
  return v_found;
end
$$;

comment on function private.find_mentions(room_id uuid, sender_id uuid, content text, declared uuid[], recipients uuid[]) is 'Returns the ids of the members that a message mentions, without its sender, at most 50; of a private message only recipients. PL422.';
revoke execute on function private.find_mentions(room_id uuid, sender_id uuid, content text, declared uuid[], recipients uuid[]) from public;

-- Returns the user of a passkey and its public key.
create or replace function private.find_passkey(credential_id bytea)
  returns table(user_id uuid, factor_id uuid, public_key bytea, backup_eligible boolean)
  language sql
  stable security definer
  set search_path to 'pg_catalog'
as $$
  select f.user_id, p.factor_id, p.public_key, p.backup_eligible
  from private.passkeys p
  join identity.mfa_factors f on f.id = p.factor_id
  where p.credential_id = find_passkey.credential_id
$$;

comment on function private.find_passkey(credential_id bytea) is 'Returns the user of a passkey and its public key.';
revoke execute on function private.find_passkey(credential_id bytea) from public;
grant execute on function private.find_passkey(credential_id bytea) to :PLINTH_SERVICE;

-- Returns the password hash of an account, to check the current password before a change.
create or replace function private.find_password(user_id uuid)
  returns table(password_hash text, hash_algorithm text, token_version integer)
  language sql
  stable security definer
  set search_path to 'pg_catalog'
as $$
  select p.password_hash, p.hash_algorithm, u.token_version
  from private.user_passwords p
  join identity.users u on u.id = p.user_id
  where p.user_id = find_password.user_id
$$;

comment on function private.find_password(user_id uuid) is 'Returns the password hash of an account, to check the current password before a change.';
revoke execute on function private.find_password(user_id uuid) from public;
grant execute on function private.find_password(user_id uuid) to :PLINTH_SERVICE;

-- Returns the hashes of an account's last passwords, the current one included, newest first.
create or replace function private.find_password_history(user_id uuid, history_length integer)
  returns table(password_hash text)
  language sql
  stable security definer
  set search_path to 'pg_catalog'
as $$
  select known.password_hash
  from (
    select p.password_hash, 'infinity'::timestamptz as created_at
    from private.user_passwords p
    where p.user_id = find_password_history.user_id
    union all
    select h.password_hash, h.created_at
    from private.password_history h
    where h.user_id = find_password_history.user_id
  ) known
  order by known.created_at desc
  limit greatest(find_password_history.history_length, 0)
$$;

comment on function private.find_password_history(user_id uuid, history_length integer) is 'Returns the hashes of an account''s last passwords, the current one included, newest first.';
revoke execute on function private.find_password_history(user_id uuid, history_length integer) from public;
grant execute on function private.find_password_history(user_id uuid, history_length integer) to :PLINTH_SERVICE;

-- Returns the names of the account, which its password may not contain, and whether a second factor is enforced.
create or replace function private.find_password_owner(user_id uuid)
  returns table(username text, email text, display_name text, second_factor boolean)
  language sql
  stable security definer
  set search_path to 'pg_catalog'
as $$
  select u.username, u.email, s.display_name, cardinality(private.second_factors(u.id)) > 0
  from identity.users u
  left join identity.user_settings s on s.user_id = u.id
  where u.id = find_password_owner.user_id
$$;

comment on function private.find_password_owner(user_id uuid) is 'Returns the names of the account, which its password may not contain, and whether a second factor is enforced.';
revoke execute on function private.find_password_owner(user_id uuid) from public;
grant execute on function private.find_password_owner(user_id uuid) to :PLINTH_SERVICE;

-- Returns the account of a live reset token; no row for any other token.
create or replace function private.find_password_reset(token_hash bytea)
  returns table(user_id uuid, username text, email text, display_name text, second_factor boolean)
  language sql
  stable security definer
  set search_path to 'pg_catalog'
as $$
  select t.user_id, o.username, o.email, o.display_name, o.second_factor
  from private.password_reset_tokens t
  join identity.users u on u.id = t.user_id
  cross join lateral private.find_password_owner(t.user_id) o
  where t.token_hash = find_password_reset.token_hash
    and t.used_at is null
    and t.expires_at > now()
    and u.account_status = 'active'
$$;

comment on function private.find_password_reset(token_hash bytea) is 'Returns the account of a live reset token; no row for any other token.';
revoke execute on function private.find_password_reset(token_hash bytea) from public;
grant execute on function private.find_password_reset(token_hash bytea) to :PLINTH_SERVICE;

-- Returns the hash of a room's password, or null.
create or replace function private.find_room_password(room_id uuid)
  returns text
  language sql
  stable security definer
  set search_path to 'pg_catalog'
as $$
  select p.password_hash from private.room_passwords p where p.room_id = find_room_password.room_id
$$;

comment on function private.find_room_password(room_id uuid) is 'Returns the hash of a room''s password, or null.';
revoke execute on function private.find_room_password(room_id uuid) from public;
grant execute on function private.find_room_password(room_id uuid) to :PLINTH_SERVICE;

-- Returns the user of a half-finished sign-in; null when it is unknown or over.
create or replace function private.find_sign_in_challenge(token_hash bytea)
  returns uuid
  language sql
  stable security definer
  set search_path to 'pg_catalog'
as $$
  select c.user_id
  from private.sign_in_challenges c
  where c.token_hash = find_sign_in_challenge.token_hash
    and c.used_at is null
    and c.expires_at > now()
$$;

comment on function private.find_sign_in_challenge(token_hash bytea) is 'Returns the user of a half-finished sign-in; null when it is unknown or over.';
revoke execute on function private.find_sign_in_challenge(token_hash bytea) from public;
grant execute on function private.find_sign_in_challenge(token_hash bytea) to :PLINTH_SERVICE;

-- Returns the sealed secrets of the account's confirmed authenticator apps.
create or replace function private.find_totp_secrets(user_id uuid)
  returns table(factor_id uuid, sealed_secret text)
  language sql
  stable security definer
  set search_path to 'pg_catalog'
as $$
  select t.factor_id, t.sealed_secret
  from private.totp_secrets t
  join identity.mfa_factors f on f.id = t.factor_id
  where f.user_id = find_totp_secrets.user_id
    and f.confirmed_at is not null
  order by t.factor_id
$$;

comment on function private.find_totp_secrets(user_id uuid) is 'Returns the sealed secrets of the account''s confirmed authenticator apps.';
revoke execute on function private.find_totp_secrets(user_id uuid) from public;
grant execute on function private.find_totp_secrets(user_id uuid) to :PLINTH_SERVICE;

-- Returns the sealed secret of an authenticator app that the calling user has not confirmed; null without one.
create or replace function private.find_unconfirmed_totp(factor_id uuid)
  returns text
  language sql
  stable security definer
  set search_path to 'pg_catalog'
as $$
  select t.sealed_secret
  from private.totp_secrets t
  join identity.mfa_factors f on f.id = t.factor_id
  where t.factor_id = find_unconfirmed_totp.factor_id
    and f.user_id = plinth.current_user_id()
    and f.confirmed_at is null
$$;

comment on function private.find_unconfirmed_totp(factor_id uuid) is 'Returns the sealed secret of an authenticator app that the calling user has not confirmed; null without one.';
revoke execute on function private.find_unconfirmed_totp(factor_id uuid) from public;
grant execute on function private.find_unconfirmed_totp(factor_id uuid) to :PLINTH_SERVICE;

-- Returns the user's sealed key; no row when it was never created or was deleted.
create or replace function private.find_user_key(user_id uuid)
  returns table(key_id uuid, wrapped_key text)
  language sql
  stable security definer
  set search_path to 'pg_catalog'
as $$
  select k.id, k.wrapped_key from private.user_keys k where k.user_id = find_user_key.user_id
$$;

comment on function private.find_user_key(user_id uuid) is 'Returns the user''s sealed key; no row when it was never created or was deleted.';
revoke execute on function private.find_user_key(user_id uuid) from public;
grant execute on function private.find_user_key(user_id uuid) to :PLINTH_SERVICE;

-- Opens a session, or a challenge, if the password matched and nothing forbids it; no row when refused. Counts and audits in both cases.
create or replace function private.finish_login(user_id uuid, identifier text, password_matches boolean, checked_token_version integer, refresh_token_hash bytea, device_name text default null::text, challenge_hash bytea default null::bytea)
  returns table(session_id uuid, token_version integer, refresh_expires_at timestamp with time zone, challenge_expires_at timestamp with time zone, challenge_methods text[])
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
#variable_conflict use_column
declare
  v_user identity.users;
  v_refusal text;
begin
  select u.* into v_user from identity.users u where u.id = finish_login.user_id for no key update;

  v_refusal := case
    when v_user.id is null then 'unknown_account'
    when v_user.locked_until > now() then 'account_locked'
    when not coalesce(finish_login.password_matches, false) then 'wrong_password'
    -- The password was changed between the check and now.
    when v_user.token_version is distinct from finish_login.checked_token_version then 'wrong_password'
    when v_user.account_status <> 'active' then 'account_disabled'
    when not private.network_is_allowed(v_user.id) then 'network_not_allowed'
  end;

  if v_refusal is null then
    select c.session_id, c.token_version, c.refresh_expires_at, c.challenge_expires_at, c.challenge_methods
    into session_id, token_version, refresh_expires_at, challenge_expires_at, challenge_methods
    from private.complete_sign_in(
      v_user.id, array['pwd'], finish_login.refresh_token_hash, finish_login.device_name, finish_login.challenge_hash
    ) c;
  end if;

  perform security.track_login_attempt(
    v_user.id,
    -- An unknown name may be a password typed into the wrong field: its hash shows repeats without revealing it.
    case
      when v_user.id is null and finish_login.identifier !~ '@'
      then 'sha256:' || left(encode(sha256(convert_to(plinth.normalize_username(finish_login.identifier), 'UTF8')), 'hex'), 16)
      else finish_login.identifier
    end,
    plinth.client_ip(),
    plinth.user_agent(),
    case
      when v_refusal = 'account_locked' then 'locked'
      when v_refusal is not null then 'failed'
      -- A challenge is no success: it must not clear the count of failures, or knowing the password would hide guesses.
      when session_id is null then 'challenged'
      else 'success'
    end,
    v_refusal
  );

  if v_refusal is not null then
    perform private.record_security_event(
      'login_failed', v_user.id, jsonb_build_object('reason', v_refusal),
      case when v_refusal in ('wrong_password', 'unknown_account') then 'info' else 'warning' end
    );
    return;
  end if;
  return next;
end
$$;

comment on function private.finish_login(user_id uuid, identifier text, password_matches boolean, checked_token_version integer, refresh_token_hash bytea, device_name text, challenge_hash bytea) is 'Opens a session, or a challenge, if the password matched and nothing forbids it; no row when refused. Counts and audits in both cases.';
revoke execute on function private.finish_login(user_id uuid, identifier text, password_matches boolean, checked_token_version integer, refresh_token_hash bytea, device_name text, challenge_hash bytea) from public;
grant execute on function private.finish_login(user_id uuid, identifier text, password_matches boolean, checked_token_version integer, refresh_token_hash bytea, device_name text, challenge_hash bytea) to :PLINTH_SERVICE;

-- Marks a leased mail as sent (error null), to be retried, or failed; returns which.
create or replace function private.finish_mail(mail_id uuid, error text, is_permanent boolean default false)
  returns text
  language sql
  security definer
  set search_path to 'pg_catalog'
as $$
  update private.mail_outbox m
  set
    status = done.status,
    sent_at = case done.status when 'sent' then clock_timestamp() end,
    next_attempt_at = clock_timestamp() + least(interval '1 hour', interval '30 seconds' * power(2, least(m.attempts, 10) - 1)),
    last_error = left(finish_mail.error, 500),
    variables = case done.status when 'pending' then m.variables else m.variables - 'sealed_token' end
  from (
    select o.id,
      case
        when finish_mail.error is null then 'sent'
        when finish_mail.is_permanent or o.attempts >= 10 then 'failed'
        else 'pending'
      end as status
    from private.mail_outbox o
    where o.id = finish_mail.mail_id
    for update
  ) done
  where m.id = done.id and m.status = 'pending'
  returning m.status
$$;

comment on function private.finish_mail(mail_id uuid, error text, is_permanent boolean) is 'Marks a leased mail as sent (error null), to be retried, or failed; returns which.';
revoke execute on function private.finish_mail(mail_id uuid, error text, is_permanent boolean) from public;
grant execute on function private.finish_mail(mail_id uuid, error text, is_permanent boolean) to :PLINTH_WORKER;

-- Adds a passkey to the calling user; PL409 when it already belongs to an account.
create or replace function private.finish_passkey_registration(name text, credential_id bytea, public_key bytea, sign_count bigint, transports text[], backup_eligible boolean, backed_up boolean, aaguid uuid, code_hashes bytea[])
  returns table(factor_id uuid, codes_were_stored boolean)
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
#variable_conflict use_column
declare
  v_user_id uuid := plinth.current_user_id();
begin
  perform from identity.users u where u.id = v_user_id and u.account_status = 'active' for no key update;
  if not found then
    raise exception 'You must be signed in.' using errcode = 'PL401';
  end if;
  -- WebAuthn Level 3, 7.1: a credential belongs to one account. The error does not reveal which.
  if exists (select from private.passkeys p where p.credential_id = finish_passkey_registration.credential_id) then
    raise exception 'This passkey cannot be added.' using errcode = 'PL409', column = 'response';
  end if;
  codes_were_stored := cardinality(private.second_factors(v_user_id)) = 0;
  insert into identity.mfa_factors (user_id, kind, name, confirmed_at)
  values (v_user_id, 'passkey', finish_passkey_registration.name, now())
  returning id into factor_id;
  insert into private.passkeys
    (factor_id, credential_id, public_key, sign_count, transports, backup_eligible, backed_up, aaguid)
  values (
    factor_id,
    finish_passkey_registration.credential_id,
    finish_passkey_registration.public_key,
    finish_passkey_registration.sign_count,
    finish_passkey_registration.transports,
    finish_passkey_registration.backup_eligible,
    finish_passkey_registration.backed_up,
    finish_passkey_registration.aaguid
  );
  perform private.factor_was_added(
    v_user_id, factor_id, 'passkey',
    array[case when finish_passkey_registration.backup_eligible then 'swk' else 'hwk' end, 'mfa']
  );
  if codes_were_stored then
    perform private.store_recovery_codes(v_user_id, finish_passkey_registration.code_hashes);
  end if;
  return next;
end
$$;

comment on function private.finish_passkey_registration(name text, credential_id bytea, public_key bytea, sign_count bigint, transports text[], backup_eligible boolean, backed_up boolean, aaguid uuid, code_hashes bytea[]) is 'Adds a passkey to the calling user; PL409 when it already belongs to an account.';
revoke execute on function private.finish_passkey_registration(name text, credential_id bytea, public_key bytea, sign_count bigint, transports text[], backup_eligible boolean, backed_up boolean, aaguid uuid, code_hashes bytea[]) from public;
grant execute on function private.finish_passkey_registration(name text, credential_id bytea, public_key bytea, sign_count bigint, transports text[], backup_eligible boolean, backed_up boolean, aaguid uuid, code_hashes bytea[]) to :PLINTH_SERVICE;

-- Opens a session for a passkey that verified its user; no row when refused. Counts and audits in both cases.
create or replace function private.finish_passkey_sign_in(user_id uuid, proof jsonb, refresh_token_hash bytea, device_name text default null::text)
  returns table(session_id uuid, token_version integer, refresh_expires_at timestamp with time zone)
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
#variable_conflict use_column
declare
  v_user identity.users;
  v_refusal text;
  v_methods text[];
begin
  select u.* into v_user from identity.users u where u.id = finish_passkey_sign_in.user_id for no key update;
  v_refusal := case
    when v_user.id is null then 'unknown_account'
    when v_user.account_status <> 'active' then 'account_disabled'
    when v_user.locked_until > now() then 'account_locked'
    when not private.network_is_allowed(v_user.id) then 'network_not_allowed'
    when finish_passkey_sign_in.proof ->> 'method' is distinct from 'passkey' then 'wrong_passkey'
  end;
  if v_refusal is null then
    select a.refusal, a.methods into v_refusal, v_methods
    from private.accept_second_factor(v_user.id, finish_passkey_sign_in.proof) a;
  end if;

  perform security.track_login_attempt(
    v_user.id,
    v_user.username,
    plinth.client_ip(),
    plinth.user_agent(),
    case
      when v_refusal = 'account_locked' then 'locked'
      when v_refusal is not null then 'failed'
      else 'success'
    end,
    v_refusal
  );
  if v_refusal is not null then
    perform private.record_security_event('login_failed', v_user.id, jsonb_build_object('reason', v_refusal), 'warning');
    return;
  end if;

  return query
    select o.session_id, o.token_version, o.refresh_expires_at
    from private.open_session(
      v_user.id, v_methods || array['mfa'],
      finish_passkey_sign_in.refresh_token_hash, finish_passkey_sign_in.device_name
    ) o;
end
$$;

comment on function private.finish_passkey_sign_in(user_id uuid, proof jsonb, refresh_token_hash bytea, device_name text) is 'Opens a session for a passkey that verified its user; no row when refused. Counts and audits in both cases.';
revoke execute on function private.finish_passkey_sign_in(user_id uuid, proof jsonb, refresh_token_hash bytea, device_name text) from public;
grant execute on function private.finish_passkey_sign_in(user_id uuid, proof jsonb, refresh_token_hash bytea, device_name text) to :PLINTH_SERVICE;

-- Makes a number the account's after its code was checked; returns verified, refused or taken.
create or replace function private.finish_phone_verification(user_id uuid, verification_id uuid, code_matches boolean)
  returns text
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
declare
  v_user identity.users;
  v_number text;
begin
  select u.* into v_user from identity.users u where u.id = finish_phone_verification.user_id for no key update;
  update private.user_verifications v
  set used_at = now()
  where v.id = finish_phone_verification.verification_id
    and v.user_id = v_user.id
    and v.kind = 'phone'
    and v.used_at is null
    and v.expires_at > clock_timestamp()
    and v_user.account_status = 'active'
    and coalesce(finish_phone_verification.code_matches, false)
  returning v.new_value into v_number;
  if v_number is null then
    perform private.record_security_event(
      'phone_verification_failed', v_user.id, jsonb_build_object('reason', 'code_not_valid')
    );
    return 'refused';
  end if;

  begin
    update identity.users u set phone_number = v_number, phone_verified_at = now() where u.id = v_user.id;
  exception
    when unique_violation then
      -- The caller has just shown that they hold the number.
      perform private.record_security_event(
        'phone_verification_failed', v_user.id, jsonb_build_object('reason', 'number_taken')
      );
      return 'taken';
  end;
  perform private.record_security_event('phone_verified', v_user.id);
  if v_user.phone_number is distinct from v_number then
    perform private.notify_user(v_user.id, 'phone-changed');
  end if;
  return 'verified';
end
$$;

comment on function private.finish_phone_verification(user_id uuid, verification_id uuid, code_matches boolean) is 'Makes a number the account''s after its code was checked; returns verified, refused or taken.';
revoke execute on function private.finish_phone_verification(user_id uuid, verification_id uuid, code_matches boolean) from public;
grant execute on function private.finish_phone_verification(user_id uuid, verification_id uuid, code_matches boolean) to :PLINTH_SERVICE;

-- Deletes the row of a cancelled subscription (error null), or schedules the next attempt.
create or replace function private.finish_provider_cancellation(provider text, provider_subscription_id text, error text)
  returns void
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
#variable_conflict use_column
begin
  if error is null then
    delete from private.provider_cancellations c
    where c.provider = finish_provider_cancellation.provider
      and c.provider_subscription_id = finish_provider_cancellation.provider_subscription_id;
  else
    update private.provider_cancellations c
    set
      last_error = left(error, 200),
      next_attempt_at = clock_timestamp() + least(interval '1 day', interval '1 minute' * power(2, least(c.attempts, 12) - 1))
    where c.provider = finish_provider_cancellation.provider
      and c.provider_subscription_id = finish_provider_cancellation.provider_subscription_id;
  end if;
end
$$;

comment on function private.finish_provider_cancellation(provider text, provider_subscription_id text, error text) is 'Deletes the row of a cancelled subscription (error null), or schedules the next attempt.';
revoke execute on function private.finish_provider_cancellation(provider text, provider_subscription_id text, error text) from public;
grant execute on function private.finish_provider_cancellation(provider text, provider_subscription_id text, error text) to :PLINTH_WORKER;

-- Links an account at a provider to the session's account; outcome linked, refused, belongs_to_another or has_another. Audited.
create or replace function private.finish_provider_link(flow_id uuid, provider_user_id text, email text, email_verified boolean, user_info jsonb, access_token_sealed text, refresh_token_sealed text, token_expires_at timestamp with time zone)
  returns table(outcome text, profile_id uuid)
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
#variable_conflict use_column
declare
  v_flow private.oauth_states;
  v_owner_id uuid;
begin
  select s.* into v_flow from private.oauth_states s where s.id = finish_provider_link.flow_id;
  perform private.lock_provider_subject(v_flow.provider, finish_provider_link.provider_user_id);
  perform from identity.users u where u.id = v_flow.user_id and u.account_status = 'active' for no key update;
  if found then
    perform
    from identity.user_sessions s
    where s.id = v_flow.session_id and s.ended_at is null and s.expires_at > now()
    for key share;
  end if;
  if found then
    delete from private.oauth_states s
    where s.id = v_flow.id
      and s.purpose = 'link'
      and s.used_at is not null
      and s.user_id = plinth.current_user_id()
      and s.session_id = plinth.current_session_id();
  end if;
  if not found then
    outcome := 'refused';
    return next;
    return;
  end if;

  select o.user_id into v_owner_id
  from identity.oauth_profiles o
  where o.provider = v_flow.provider and o.provider_user_id = finish_provider_link.provider_user_id;
  outcome := case
    when v_owner_id <> v_flow.user_id then 'belongs_to_another'
    when v_owner_id is null and exists (
      select from identity.oauth_profiles o where o.user_id = v_flow.user_id and o.provider = v_flow.provider
    ) then 'has_another'
    else 'linked'
  end;

  if outcome = 'linked' then
    profile_id := private.save_provider_profile(
      v_flow.user_id,
      v_flow.provider,
      finish_provider_link.provider_user_id,
      finish_provider_link.email,
      finish_provider_link.email_verified,
      finish_provider_link.user_info,
      finish_provider_link.access_token_sealed,
      finish_provider_link.refresh_token_sealed,
      finish_provider_link.token_expires_at,
      null
    );
    perform private.record_security_event(
      'provider_linked', v_flow.user_id, jsonb_build_object('provider', v_flow.provider, 'by', 'link')
    );
  else
    perform private.record_security_event(
      'provider_link_failed', v_flow.user_id,
      jsonb_build_object('provider', v_flow.provider, 'reason', outcome), 'warning'
    );
  end if;
  return next;
end
$$;

comment on function private.finish_provider_link(flow_id uuid, provider_user_id text, email text, email_verified boolean, user_info jsonb, access_token_sealed text, refresh_token_sealed text, token_expires_at timestamp with time zone) is 'Links an account at a provider to the session''s account; outcome linked, refused, belongs_to_another or has_another. Audited.';
revoke execute on function private.finish_provider_link(flow_id uuid, provider_user_id text, email text, email_verified boolean, user_info jsonb, access_token_sealed text, refresh_token_sealed text, token_expires_at timestamp with time zone) from public;
grant execute on function private.finish_provider_link(flow_id uuid, provider_user_id text, email text, email_verified boolean, user_info jsonb, access_token_sealed text, refresh_token_sealed text, token_expires_at timestamp with time zone) to :PLINTH_SERVICE;

-- Opens a session, or a challenge, for a user authenticated by a provider; outcome accepted, refused, not_registered or address_taken. Counts and audits.
create or replace function private.finish_provider_sign_in(flow_id uuid, provider_user_id text, email text, email_verified boolean, user_info jsonb, access_token_sealed text, refresh_token_sealed text, token_expires_at timestamp with time zone, may_register boolean, verified_email text, verified_email_hash bytea, refresh_token_hash bytea, challenge_hash bytea)
  returns table(outcome text, user_id uuid, session_id uuid, token_version integer, refresh_expires_at timestamp with time zone, challenge_expires_at timestamp with time zone, challenge_methods text[])
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
#variable_conflict use_column
declare
  v_flow private.oauth_states;
  v_user_id uuid;
  v_user identity.users;
  v_is_new boolean := false;
  v_refusal text;
begin
  -- The flow that private.take_provider_flow took; it ends here, so that one response opens one session.
  delete from private.oauth_states s
  where s.id = finish_provider_sign_in.flow_id and s.purpose = 'sign_in' and s.used_at is not null
  returning s.* into v_flow;
  if v_flow.id is null then
    outcome := 'refused';
    return next;
    return;
  end if;

  perform private.lock_provider_subject(v_flow.provider, finish_provider_sign_in.provider_user_id);
  select o.user_id into v_user_id
  from identity.oauth_profiles o
  where o.provider = v_flow.provider and o.provider_user_id = finish_provider_sign_in.provider_user_id;

  if v_user_id is not null then
    select u.* into v_user from identity.users u where u.id = v_user_id for no key update;
    -- Unlinked or deleted during the wait for the account's lock.
    perform
    from identity.oauth_profiles o
    where o.provider = v_flow.provider
      and o.provider_user_id = finish_provider_sign_in.provider_user_id
      and o.user_id = v_user.id;
    if not found then
      v_user := null;
      v_refusal := 'unlinked';
    end if;
  elsif not finish_provider_sign_in.may_register then
    v_refusal := 'not_registered';
  else
    v_user_id := private.register_by_provider(
      coalesce(
        finish_provider_sign_in.user_info ->> 'preferred_username',
        finish_provider_sign_in.email,
        finish_provider_sign_in.user_info ->> 'name'
      ),
      finish_provider_sign_in.verified_email,
      finish_provider_sign_in.verified_email_hash,
      finish_provider_sign_in.user_info ->> 'name'
    );
    v_is_new := v_user_id is not null;
    select u.* into v_user from identity.users u where u.id = v_user_id for no key update;
    if v_user.id is null then
      v_refusal := 'address_taken';
    end if;
  end if;

  v_refusal := coalesce(
    v_refusal,
    case
      when v_user.locked_until > now() then 'account_locked'
      when v_user.account_status <> 'active' then 'account_disabled'
      when not private.network_is_allowed(v_user.id) then 'network_not_allowed'
    end
  );

  if v_refusal is not null then
    perform security.track_login_attempt(
      v_user.id, v_user.username, plinth.client_ip(), plinth.user_agent(),
      case v_refusal when 'account_locked' then 'locked' else 'failed' end, v_refusal
    );
    perform private.record_security_event(
      'provider_sign_in_failed', v_user.id,
      jsonb_build_object('provider', v_flow.provider, 'purpose', 'sign_in', 'reason', v_refusal), 'warning'
    );
    outcome := case when v_refusal in ('not_registered', 'address_taken') then v_refusal else 'refused' end;
    return next;
    return;
  end if;

  perform private.save_provider_profile(
    v_user.id,
    v_flow.provider,
    finish_provider_sign_in.provider_user_id,
    finish_provider_sign_in.email,
    finish_provider_sign_in.email_verified,
    finish_provider_sign_in.user_info,
    finish_provider_sign_in.access_token_sealed,
    finish_provider_sign_in.refresh_token_sealed,
    finish_provider_sign_in.token_expires_at,
    now()
  );
  if v_is_new then
    perform private.record_security_event(
      'provider_linked', v_user.id, jsonb_build_object('provider', v_flow.provider, 'by', 'registration')
    );
  end if;
  perform private.record_security_event(
    'provider_sign_in', v_user.id, jsonb_build_object('provider', v_flow.provider)
  );

  outcome := 'accepted';
  user_id := v_user.id;
  select c.session_id, c.token_version, c.refresh_expires_at, c.challenge_expires_at, c.challenge_methods
  into session_id, token_version, refresh_expires_at, challenge_expires_at, challenge_methods
  from private.complete_sign_in(
    v_user.id,
    array['fed'],
    finish_provider_sign_in.refresh_token_hash,
    v_flow.device_name,
    finish_provider_sign_in.challenge_hash
  ) c;
  perform security.track_login_attempt(
    v_user.id, v_user.username, plinth.client_ip(), plinth.user_agent(),
    -- A challenge is no success (see private.finish_login).
    case when session_id is null then 'challenged' else 'success' end, null
  );
  return next;
end
$$;

comment on function private.finish_provider_sign_in(flow_id uuid, provider_user_id text, email text, email_verified boolean, user_info jsonb, access_token_sealed text, refresh_token_sealed text, token_expires_at timestamp with time zone, may_register boolean, verified_email text, verified_email_hash bytea, refresh_token_hash bytea, challenge_hash bytea) is 'Opens a session, or a challenge, for a user authenticated by a provider; outcome accepted, refused, not_registered or address_taken. Counts and audits.';
revoke execute on function private.finish_provider_sign_in(flow_id uuid, provider_user_id text, email text, email_verified boolean, user_info jsonb, access_token_sealed text, refresh_token_sealed text, token_expires_at timestamp with time zone, may_register boolean, verified_email text, verified_email_hash bytea, refresh_token_hash bytea, challenge_hash bytea) from public;
grant execute on function private.finish_provider_sign_in(flow_id uuid, provider_user_id text, email text, email_verified boolean, user_info jsonb, access_token_sealed text, refresh_token_sealed text, token_expires_at timestamp with time zone, may_register boolean, verified_email text, verified_email_hash bytea, refresh_token_hash bytea, challenge_hash bytea) to :PLINTH_SERVICE;

-- Opens a session for a challenge and a second factor; no row when refused. Counts and audits in both cases.
create or replace function private.finish_sign_in(token_hash bytea, proof jsonb, refresh_token_hash bytea, device_name text default null::text)
  returns table(user_id uuid, session_id uuid, token_version integer, refresh_expires_at timestamp with time zone)
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
#variable_conflict use_column
declare
  v_challenge private.sign_in_challenges;
  v_user identity.users;
  v_refusal text;
  v_methods text[];
begin
  select c.* into v_challenge from private.sign_in_challenges c where c.token_hash = finish_sign_in.token_hash;
  if v_challenge.id is null then
    return;
  end if;
  select u.* into v_user from identity.users u where u.id = v_challenge.user_id for no key update;
  select c.* into v_challenge from private.sign_in_challenges c where c.id = v_challenge.id for update;

  v_refusal := case
    when v_user.id is null
      or v_challenge.id is null
      or v_challenge.used_at is not null
      or v_challenge.expires_at <= now()
      or v_challenge.failed_attempts >= 10
      -- Since then, the password was changed, all sessions were signed out, or the account was disabled.
      or v_challenge.token_version <> v_user.token_version
    then 'challenge_expired'
    when v_user.account_status <> 'active' then 'account_disabled'
    when v_user.locked_until > now() then 'account_locked'
    when not private.network_is_allowed(v_user.id) then 'network_not_allowed'
  end;
  if v_refusal is null then
    select a.refusal, a.methods into v_refusal, v_methods from private.accept_second_factor(v_user.id, finish_sign_in.proof) a;
    update private.sign_in_challenges c
    set
      used_at = case when v_refusal is null then now() end,
      failed_attempts = c.failed_attempts + case when v_refusal is null then 0 else 1 end
    where c.id = v_challenge.id;
  end if;

  perform security.track_login_attempt(
    v_user.id,
    v_user.username,
    plinth.client_ip(),
    plinth.user_agent(),
    case
      when v_refusal in ('account_locked', 'second_factor_locked') then 'locked'
      when v_refusal is not null then 'failed'
      else 'success'
    end,
    v_refusal
  );
  if v_refusal is not null then
    perform private.record_security_event('login_failed', v_user.id, jsonb_build_object('reason', v_refusal), 'warning');
    return;
  end if;

  user_id := v_user.id;
  select o.session_id, o.token_version, o.refresh_expires_at
  into session_id, token_version, refresh_expires_at
  from private.open_session(
    v_user.id, v_challenge.methods || v_methods || array['mfa'],
    finish_sign_in.refresh_token_hash, coalesce(finish_sign_in.device_name, v_challenge.device_name)
  ) o;
  return next;
end
$$;

comment on function private.finish_sign_in(token_hash bytea, proof jsonb, refresh_token_hash bytea, device_name text) is 'Opens a session for a challenge and a second factor; no row when refused. Counts and audits in both cases.';
revoke execute on function private.finish_sign_in(token_hash bytea, proof jsonb, refresh_token_hash bytea, device_name text) from public;
grant execute on function private.finish_sign_in(token_hash bytea, proof jsonb, refresh_token_hash bytea, device_name text) to :PLINTH_SERVICE;

-- Ends a complete answer and records its usage; see private.end_turn.
create or replace function private.finish_turn(message_id uuid, finish_reason text default 'stop'::text, last_sequence integer default null::integer, tool_calls jsonb default null::jsonb, input_tokens bigint default null::bigint, output_tokens bigint default null::bigint, cached_input_tokens bigint default 0, reasoning_tokens bigint default 0)
  returns llm.messages
  language sql
  security definer
  set search_path to 'pg_catalog'
as $$
  select private.end_turn(
    finish_turn.message_id, 'complete', finish_turn.finish_reason, null, null, finish_turn.tool_calls,
    finish_turn.last_sequence, finish_turn.input_tokens, finish_turn.output_tokens, finish_turn.cached_input_tokens,
    finish_turn.reasoning_tokens, null, 'service'
  )
$$;

comment on function private.finish_turn(message_id uuid, finish_reason text, last_sequence integer, tool_calls jsonb, input_tokens bigint, output_tokens bigint, cached_input_tokens bigint, reasoning_tokens bigint) is 'Ends a complete answer and records its usage; see private.end_turn.';
revoke execute on function private.finish_turn(message_id uuid, finish_reason text, last_sequence integer, tool_calls jsonb, input_tokens bigint, output_tokens bigint, cached_input_tokens bigint, reasoning_tokens bigint) from public;
grant execute on function private.finish_turn(message_id uuid, finish_reason text, last_sequence integer, tool_calls jsonb, input_tokens bigint, output_tokens bigint, cached_input_tokens bigint, reasoning_tokens bigint) to :PLINTH_SERVICE;

-- Moves a subscription to the plan that its provider bills, with its proration in the history.
create or replace function private.follow_provider_plan(subscription billing.user_subscriptions, plan billing.subscription_plans, known private.provider_subscriptions, at timestamp with time zone)
  returns void
  language plpgsql
  set search_path to 'pg_catalog'
as $$
declare
  v_old billing.subscription_plans;
  v_after billing.user_subscriptions;
  v_proration record;
  v_same_period boolean := known.period_end is not distinct from subscription.current_period_end;
  v_tokens bigint := 0;
begin
  select p.* into strict v_old from billing.subscription_plans p where p.id = subscription.plan_id;
  select * into v_proration
  from private.proration(
    v_old.price_cents, plan.price_cents, subscription.current_period_start, subscription.current_period_end,
    follow_provider_plan.at
  );
  update billing.user_subscriptions s
  set plan_id = plan.id, pending_plan_id = null
  where s.id = subscription.id
  returning s.* into v_after;
  if v_same_period then
    v_tokens := private.top_up_quota(subscription.id, follow_provider_plan.at);
  end if;
  perform private.record_subscription_change(
    case when private.is_upgrade(v_old, plan) then 'upgraded' else 'downgraded' end,
    subscription, v_after, follow_provider_plan.at,
    jsonb_build_object(
      'credit_cents', case when subscription.status = 'trialing' or v_old.currency <> plan.currency then 0 else v_proration.credit_cents end,
      'charge_cents', case
        when subscription.status = 'trialing' then 0
        when v_same_period then v_proration.charge_cents
        else plan.price_cents
      end,
      'period_seconds', v_proration.period_seconds, 'unused_seconds', v_proration.unused_seconds,
      'tokens_granted', v_tokens
    )
  );
end
$$;

comment on function private.follow_provider_plan(subscription billing.user_subscriptions, plan billing.subscription_plans, known private.provider_subscriptions, at timestamp with time zone) is 'Moves a subscription to the plan that its provider bills, with its proration in the history.';
revoke execute on function private.follow_provider_plan(subscription billing.user_subscriptions, plan billing.subscription_plans, known private.provider_subscriptions, at timestamp with time zone) from public;

-- Trigger: logs a change of a room; the AI joins when enabled and leaves when disabled.
create or replace function private.follow_room_change()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
begin
  insert into rooms.room_changes (room_id, sequence, kind, user_id)
  values (
    new.id, new.last_event_sequence, 'room_changed',
    (select u.id from identity.users u where u.id = plinth.current_user_id())
  );
  perform plinth.announce('room:' || new.id, new.last_event_sequence);
  if new.ai_enabled and not old.ai_enabled then
    insert into rooms.room_members (room_id, user_id, role)
    values (new.id, null, 'ai')
    on conflict on constraint room_members_room_id_user_id_key do nothing;
  elsif old.ai_enabled and not new.ai_enabled then
    delete from rooms.room_members m where m.room_id = new.id and m.role = 'ai';
  end if;
  return null;
end
$$;

comment on function private.follow_room_change() is 'Trigger: logs a change of a room; the AI joins when enabled and leaves when disabled.';
revoke execute on function private.follow_room_change() from public;

-- Trigger: notifies the subscribers of inviter and invitee that an invite changed.
create or replace function private.follow_room_invite()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
begin
  -- Both sides list the invite; in the order of their ids, so that two concurrent changes do not deadlock.
  perform private.announce_user(u.id)
  from unnest(array[coalesce(new.invitee_id, old.invitee_id), coalesce(new.inviter_id, old.inviter_id)]) u (id)
  order by u.id;
  return null;
end
$$;

comment on function private.follow_room_invite() is 'Trigger: notifies the subscribers of inviter and invitee that an invite changed.';
revoke execute on function private.follow_room_invite() from public;

-- Trigger: logs members who join, leave or change role, and notifies the member's own subscribers.
create or replace function private.follow_room_member()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
begin
  if tg_op = 'INSERT' then
    if new.user_id is not null then
      update rooms.chat_rooms r set audience_version = r.audience_version + 1 where r.id = new.room_id;
    end if;
    perform private.append_room_event(new.room_id, 'member_joined', null, new.user_id);
  elsif tg_op = 'DELETE' then
    perform private.append_room_event(old.room_id, 'member_left', null, old.user_id);
  elsif new.role <> old.role then
    perform private.append_room_event(new.room_id, 'member_changed', null, new.user_id);
  end if;
  if coalesce(new.user_id, old.user_id) is not null then
    perform private.announce_user(coalesce(new.user_id, old.user_id));
  end if;
  return null;
end
$$;

comment on function private.follow_room_member() is 'Trigger: logs members who join, leave or change role, and notifies the member''s own subscribers.';
revoke execute on function private.follow_room_member() from public;

-- Trigger: corrects the counts and logs the event when a message is edited, deleted or restored.
create or replace function private.follow_room_message()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
begin
  if new.is_deleted is distinct from old.is_deleted then
    perform private.append_room_event(
      new.room_id, case when new.is_deleted then 'message_deleted' else 'message_restored' end, new.id, plinth.current_user_id()
    );
    -- The old values: the same update clears the sender of a deleted account.
    perform private.count_message(old, case when new.is_deleted then -1 else 1 end);
  elsif new.content is distinct from old.content then
    perform private.append_room_event(new.room_id, 'message_edited', new.id, plinth.current_user_id());
  end if;
  return null;
end
$$;

comment on function private.follow_room_message() is 'Trigger: corrects the counts and logs the event when a message is edited, deleted or restored.';
revoke execute on function private.follow_room_message() from public;

-- Trigger: a block changes the audience of the rooms that both users are in.
create or replace function private.follow_user_block()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
begin
  perform private.lock_room(shared.room_id)
  from (
    select m.room_id
    from rooms.room_members m
    join rooms.room_members b on b.room_id = m.room_id and b.user_id = new.blocked_id
    where m.user_id = new.user_id
    order by m.room_id
  ) as shared;
  update rooms.chat_rooms r
  set audience_version = r.audience_version + 1
  where r.id in (
    select m.room_id
    from rooms.room_members m
    join rooms.room_members b on b.room_id = m.room_id and b.user_id = new.blocked_id
    where m.user_id = new.user_id
  );
  return null;
end
$$;

comment on function private.follow_user_block() is 'Trigger: a block changes the audience of the rooms that both users are in.';
revoke execute on function private.follow_user_block() from public;

-- Trigger: clears an account's values and addresses from the audit trail when it is deleted.
create or replace function private.forget_data_changes()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
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

comment on function private.forget_data_changes() is 'Trigger: clears an account''s values and addresses from the audit trail when it is deleted.';
revoke execute on function private.forget_data_changes() from public;

-- Trigger: deletes the mail about a deleted account once it was sent or has failed.
create or replace function private.forget_last_mail()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
begin
  delete from private.mail_outbox m where m.id = new.id;
  return null;
end
$$;

comment on function private.forget_last_mail() is 'Trigger: deletes the mail about a deleted account once it was sent or has failed.';
revoke execute on function private.forget_last_mail() from public;

-- Returns the free plan on offer, the one in USD first; null without one.
create or replace function private.free_plan()
  returns billing.subscription_plans
  language sql
  stable
  set search_path to 'pg_catalog'
as $$
  select p
  from billing.subscription_plans p
  where p.code = 'free' and p.superseded_at is null and p.is_active
  order by p.currency = 'USD' desc, p.currency
  limit 1
$$;

comment on function private.free_plan() is 'Returns the free plan on offer, the one in USD first; null without one.';
revoke execute on function private.free_plan() from public;

-- Grants the free plan's tokens of the month unless the user has them; returns whether it did.
create or replace function private.grant_free_quota(user_id uuid, at timestamp with time zone)
  returns boolean
  language plpgsql
  set search_path to 'pg_catalog'
as $$
declare
  v_month timestamptz := date_trunc('month', grant_free_quota.at at time zone 'UTC') at time zone 'UTC';
  v_next timestamptz := (date_trunc('month', grant_free_quota.at at time zone 'UTC') + interval '1 month') at time zone 'UTC';
  v_plan billing.subscription_plans := private.free_plan();
begin
  if v_plan.id is null then
    return false;
  end if;
  insert into private.free_quotas as q (user_id, granted_month)
  values (grant_free_quota.user_id, (v_month at time zone 'UTC')::date)
  on conflict on constraint free_quotas_pkey do update
  set granted_month = excluded.granted_month
  where q.granted_month < excluded.granted_month;
  if not found then
    return false;
  end if;
  if v_plan.rollover_limit > 0 then
    perform private.close_plan_grant(
      grant_free_quota.user_id, v_plan.id, v_month, v_plan.rollover_limit, v_next,
      format('free-close:%s:%s', grant_free_quota.user_id, to_char(v_month at time zone 'UTC', 'YYYY-MM'))
    );
  end if;
  if v_plan.token_quota is distinct from 0 then
    perform private.grant_tokens(
      grant_free_quota.user_id, v_plan.token_quota, 'plan', v_plan.id, 100, v_month, v_next,
      format('free:%s:%s', grant_free_quota.user_id, to_char(v_month at time zone 'UTC', 'YYYY-MM'))
    );
  end if;
  return true;
end
$$;

comment on function private.grant_free_quota(user_id uuid, at timestamp with time zone) is 'Grants the free plan''s tokens of the month unless the user has them; returns whether it did.';
revoke execute on function private.grant_free_quota(user_id uuid, at timestamp with time zone) from public;

-- Grants up to batch_size users without a plan, who signed in within 60 days, the free plan's tokens of this month.
create or replace function private.grant_free_quotas(batch_size integer default 500)
  returns integer
  language sql
  security definer
  set search_path to 'pg_catalog'
as $$
  select private.grant_free_quotas_at(batch_size, now())
$$;

comment on function private.grant_free_quotas(batch_size integer) is 'Grants up to batch_size users without a plan, who signed in within 60 days, the free plan''s tokens of this month.';
revoke execute on function private.grant_free_quotas(batch_size integer) from public;
grant execute on function private.grant_free_quotas(batch_size integer) to :PLINTH_WORKER;

-- Grants up to batch_size users the free plan's tokens of the month around a moment; returns their number.
create or replace function private.grant_free_quotas_at(batch_size integer, at timestamp with time zone)
  returns integer
  language plpgsql
  set search_path to 'pg_catalog'
as $$
declare
  v_month date := date_trunc('month', grant_free_quotas_at.at at time zone 'UTC')::date;
  v_user_id uuid;
  v_handled integer := 0;
begin
  if batch_size is null or batch_size not between 1 and 100000 then
    raise exception 'The batch size must be from 1 to 100000.' using errcode = 'PL422';
  end if;
  for v_user_id in
    select u.id
    from identity.users u
    left join private.free_quotas q on q.user_id = u.id
    where u.is_active
      and u.last_login_at > grant_free_quotas_at.at - interval '60 days'
      and (q.granted_month is null or q.granted_month < v_month)
      and not exists (
        select
        from billing.user_subscriptions s
        join billing.subscription_plans p on p.id = s.plan_id
        where s.user_id = u.id and s.status in ('trialing', 'active', 'past_due') and p.code <> 'free'
      )
    order by u.id
    limit batch_size
    for no key update of u skip locked
  loop
    exit when not exists (select from billing.subscription_plans p where p.code = 'free' and p.superseded_at is null and p.is_active);
    -- A worker that holds several accounts never waits.
    continue when not private.try_lock_usage(v_user_id);
    if private.grant_free_quota(v_user_id, grant_free_quotas_at.at) then
      v_handled := v_handled + 1;
    end if;
  end loop;
  return v_handled;
end
$$;

comment on function private.grant_free_quotas_at(batch_size integer, at timestamp with time zone) is 'Grants up to batch_size users the free plan''s tokens of the month around a moment; returns their number.';
revoke execute on function private.grant_free_quotas_at(batch_size integer, at timestamp with time zone) from public;

-- Grants the tokens of a subscription's quota period once, carrying over what the plan allows; returns whether it did.
create or replace function private.grant_quota(subscription_id uuid)
  returns boolean
  language plpgsql
  set search_path to 'pg_catalog'
as $$
declare
  v_subscription billing.user_subscriptions;
  v_plan billing.subscription_plans;
  v_first billing.subscription_plans;
begin
  select s.* into strict v_subscription from billing.user_subscriptions s where s.id = grant_quota.subscription_id;
  select p.* into strict v_plan from billing.subscription_plans p where p.id = v_subscription.plan_id;
  if v_subscription.status not in ('trialing', 'active')
    or v_subscription.quota_granted_from >= v_subscription.quota_period_start
  then
    return false;
  end if;
  if v_plan.code = 'free' then
    perform private.grant_free_quota(v_subscription.user_id, v_subscription.quota_period_start);
  else
    if v_subscription.provider is not null
      and v_subscription.status = 'active'
      and v_plan.price_cents > 0
      and not exists (
        select
        from private.provider_subscriptions m
        where m.provider = v_subscription.provider
          and m.provider_subscription_id = v_subscription.provider_subscription_id
          and m.paid_period_end >= coalesce(v_subscription.current_period_end, 'infinity')
      )
    then
      return false;
    end if;
    if v_subscription.quota_granted_from is not null then
      perform private.close_plan_grant(
        v_subscription.user_id, v_subscription.id, v_subscription.quota_period_start, v_plan.rollover_limit,
        v_subscription.quota_period_end,
        format('close:%s:%s', v_subscription.id, extract(epoch from v_subscription.quota_period_start))
      );
    end if;
    -- An upgrade in the middle of a period may be known before its first payment: the period began with the plan paid for.
    select p.* into v_first
    from private.plans_of_period(v_subscription) w
    join billing.subscription_plans p on p.id = w.plan_id
    where v_subscription.provider is not null
    order by w.began_at
    limit 1;
    if v_first.id is null then
      v_first := v_plan;
    end if;
    if v_first.token_quota is distinct from 0 then
      perform private.grant_tokens(
        v_subscription.user_id, v_first.token_quota, 'plan', v_subscription.id, 100, v_subscription.quota_period_start,
        v_subscription.quota_period_end,
        format('plan:%s:%s', v_subscription.id, extract(epoch from v_subscription.quota_period_start))
      );
    end if;
  end if;
  update billing.user_subscriptions s
  set quota_granted_from = s.quota_period_start
  where s.id = v_subscription.id;
  return true;
end
$$;

comment on function private.grant_quota(subscription_id uuid) is 'Grants the tokens of a subscription''s quota period once, carrying over what the plan allows; returns whether it did.';
revoke execute on function private.grant_quota(subscription_id uuid) from public;

-- Runs billing.grant_subscription as of a time.
create or replace function private.grant_subscription_at(user_id uuid, plan_id uuid, at timestamp with time zone)
  returns billing.user_subscriptions
  language plpgsql
  set search_path to 'pg_catalog'
as $$
declare
  v_current billing.user_subscriptions := private.lock_subscriber(grant_subscription_at.user_id, grant_subscription_at.at);
begin
  if v_current.id is null then
    perform private.offered_plan(grant_subscription_at.plan_id);
    return private.start_subscription(grant_subscription_at.user_id, grant_subscription_at.plan_id, false, grant_subscription_at.at);
  end if;
  perform private.require_own_billing(v_current);
  if v_current.plan_id = grant_subscription_at.plan_id then
    return private.renew_subscription(v_current.id, 'payment_succeeded', grant_subscription_at.at);
  end if;
  perform private.offered_plan(grant_subscription_at.plan_id);
  perform private.change_subscription_plan(v_current.id, grant_subscription_at.plan_id, grant_subscription_at.at);
  select s.* into strict v_current from billing.user_subscriptions s where s.id = v_current.id;
  return v_current;
end
$$;

comment on function private.grant_subscription_at(user_id uuid, plan_id uuid, at timestamp with time zone) is 'Runs billing.grant_subscription as of a time.';
revoke execute on function private.grant_subscription_at(user_id uuid, plan_id uuid, at timestamp with time zone) from public;

-- Grants a user tokens (null: unlimited while in force) and returns the grant's id; the same key again returns the same id. PL404 for an unknown account, PL409 for a key used for another request.
create or replace function private.grant_tokens(user_id uuid, amount bigint, source text, source_id uuid, priority integer, starts_at timestamp with time zone, expires_at timestamp with time zone, idempotency_key text, at timestamp with time zone default now())
  returns uuid
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
#variable_conflict use_column
declare
  v_locked timestamptz;
  v_grant billing.token_grants;
begin
  -- The sum of some thousand grants fits into a bigint.
  if grant_tokens.amount not between 1 and 1000000000000000 then
    raise exception 'A grant must have 1 to 10^15 tokens.' using errcode = 'PL422', column = 'amount';
  end if;
  -- Rules about columns that never change are checked here and not by a CHECK, which would slow down each settlement.
  if grant_tokens.source in ('plan', 'purchase', 'manual', 'promotion', 'rollover') is not true then
    raise exception 'The source of tokens must be plan, purchase, manual, promotion or rollover.'
      using errcode = 'PL422', column = 'source';
  end if;
  if length(grant_tokens.idempotency_key) between 1 and 255 is not true then
    raise exception 'An idempotency key must have 1 to 255 characters.' using errcode = 'PL422', column = 'idempotency_key';
  end if;
  if coalesce(grant_tokens.starts_at, grant_tokens.at) > grant_tokens.expires_at then
    raise exception 'A grant must end after it starts.' using errcode = 'PL422', column = 'expires_at';
  end if;
  v_locked := private.lock_usage(grant_tokens.user_id, grant_tokens.at);
  select g.* into v_grant
  from billing.token_grants g
  where g.user_id = grant_tokens.user_id and g.idempotency_key = grant_tokens.idempotency_key;
  if found then
    -- Its end may have been brought forward since. Without a start, it began at its creation.
    if (v_grant.amount, v_grant.source, v_grant.source_id, v_grant.priority)
      is distinct from (grant_tokens.amount, grant_tokens.source, grant_tokens.source_id, coalesce(grant_tokens.priority, 100))
      or v_grant.starts_at <> grant_tokens.starts_at
      or (v_grant.closed_at is null and v_grant.expires_at is distinct from grant_tokens.expires_at)
    then
      raise exception 'The idempotency key was already used with other arguments.'
        using errcode = 'PL409', column = 'idempotency_key';
    end if;
    return v_grant.id;
  end if;
  insert into billing.token_grants (
    user_id, amount, source, source_id, priority, starts_at, expires_at, idempotency_key, created_at
  )
  values (
    grant_tokens.user_id, grant_tokens.amount, grant_tokens.source, grant_tokens.source_id,
    coalesce(grant_tokens.priority, 100), coalesce(grant_tokens.starts_at, grant_tokens.at), grant_tokens.expires_at,
    grant_tokens.idempotency_key, grant_tokens.at
  )
  returning * into v_grant;
  return v_grant.id;
end
$$;

comment on function private.grant_tokens(user_id uuid, amount bigint, source text, source_id uuid, priority integer, starts_at timestamp with time zone, expires_at timestamp with time zone, idempotency_key text, at timestamp with time zone) is 'Grants a user tokens (null: unlimited while in force) and returns the grant''s id; the same key again returns the same id. PL404 for an unknown account, PL409 for a key used for another request.';
revoke execute on function private.grant_tokens(user_id uuid, amount bigint, source text, source_id uuid, priority integer, starts_at timestamp with time zone, expires_at timestamp with time zone, idempotency_key text, at timestamp with time zone) from public;
grant execute on function private.grant_tokens(user_id uuid, amount bigint, source text, source_id uuid, priority integer, starts_at timestamp with time zone, expires_at timestamp with time zone, idempotency_key text, at timestamp with time zone) to :PLINTH_SERVICE;

-- Raises PL409 if the account is the only active one with the role admin that is not being deleted.
create or replace function private.guard_last_administrator(user_id uuid)
  returns void
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
declare
  v_role_id uuid;
begin
  select r.id into v_role_id from access.roles r where r.role_name = 'admin';
  if not exists (
    select
    from access.user_roles ur
    where ur.role_id = v_role_id
      and ur.user_id = guard_last_administrator.user_id
      and (ur.expires_at is null or ur.expires_at > now())
  ) then
    return;
  end if;
  perform from access.roles r where r.id = v_role_id for no key update;
  if not exists (
    select
    from access.user_roles ur
    join identity.users u on u.id = ur.user_id and u.is_active
    where ur.role_id = v_role_id
      and ur.user_id <> guard_last_administrator.user_id
      and (ur.expires_at is null or ur.expires_at > now())
      and not exists (select from identity.account_deletions d where d.user_id = ur.user_id)
  ) then
    raise exception 'You are the last administrator.'
      using errcode = 'PL409', hint = 'Give another account the role admin first.';
  end if;
end
$$;

comment on function private.guard_last_administrator(user_id uuid) is 'Raises PL409 if the account is the only active one with the role admin that is not being deleted.';
revoke execute on function private.guard_last_administrator(user_id uuid) from public;

-- Returns whether an account could be signed in to without this profile or factor (null: as it is). The caller holds the account's row lock.
create or replace function private.has_another_way_in(user_id uuid, except_id uuid)
  returns boolean
  language sql
  stable
  set search_path to 'pg_catalog'
as $$
  select exists (select from private.user_passwords p where p.user_id = has_another_way_in.user_id)
    or exists (
      select
      from identity.oauth_profiles o
      where o.user_id = has_another_way_in.user_id and o.id is distinct from has_another_way_in.except_id
    )
    or exists (
      select
      from identity.mfa_factors f
      where f.user_id = has_another_way_in.user_id
        and f.kind = 'passkey'
        and f.confirmed_at is not null
        and f.id is distinct from has_another_way_in.except_id
    )
$$;

comment on function private.has_another_way_in(user_id uuid, except_id uuid) is 'Returns whether an account could be signed in to without this profile or factor (null: as it is). The caller holds the account''s row lock.';
revoke execute on function private.has_another_way_in(user_id uuid, except_id uuid) from public;

-- Returns whether the account was sent five links or codes of this kind within a day.
create or replace function private.has_asked_too_often(user_id uuid, kind text)
  returns boolean
  language sql
  stable
  set search_path to 'pg_catalog'
as $$
  select count(*) >= 5
  from private.user_verifications v
  where v.user_id = has_asked_too_often.user_id
    and v.kind = has_asked_too_often.kind
    and v.created_at > now() - interval '1 day'
$$;

comment on function private.has_asked_too_often(user_id uuid, kind text) is 'Returns whether the account was sent five links or codes of this kind within a day.';
revoke execute on function private.has_asked_too_often(user_id uuid, kind text) from public;

-- Returns whether the user has completed every currently available part of the course; false for a course without parts.
create or replace function private.has_completed_parts(user_id uuid, course_id uuid)
  returns boolean
  language sql
  stable
  set search_path to 'pg_catalog'
as $$
  select coalesce(bool_and(p.completed_version is not null), false)
  from learning.content_items i
  left join learning.content_progress p on p.item_id = i.id and p.user_id = has_completed_parts.user_id
  where i.course_id = has_completed_parts.course_id
    and i.available_from <= now()
    and (i.available_until is null or i.available_until > now())
$$;

comment on function private.has_completed_parts(user_id uuid, course_id uuid) is 'Returns whether the user has completed every currently available part of the course; false for a course without parts.';
revoke execute on function private.has_completed_parts(user_id uuid, course_id uuid) from public;

-- Returns the digest of a heartbeat's fields; occurred_at is null when it was omitted.
create or replace function private.heartbeat_digest(item_id uuid, from_seconds integer, to_seconds integer, active_seconds integer, occurred_at timestamp with time zone, version integer)
  returns bytea
  language sql
  immutable
as $$
  select private.request_digest(
    jsonb_build_array(item_id, from_seconds, to_seconds, active_seconds, extract(epoch from occurred_at), version)
  )
$$;

comment on function private.heartbeat_digest(item_id uuid, from_seconds integer, to_seconds integer, active_seconds integer, occurred_at timestamp with time zone, version integer) is 'Returns the digest of a heartbeat''s fields; occurred_at is null when it was omitted.';
revoke execute on function private.heartbeat_digest(item_id uuid, from_seconds integer, to_seconds integer, active_seconds integer, occurred_at timestamp with time zone, version integer) from public;

-- Reads {eventId, itemId, fromSeconds, toSeconds, activeSeconds, occurredAt, version}; raises a data exception (class 22) for any other form.
create or replace function private.heartbeat_fields(heartbeat jsonb)
  returns table(event_id uuid, item_id uuid, from_seconds integer, to_seconds integer, active_seconds integer, occurred_at timestamp with time zone, version integer)
  language sql
  stable rows 1
  set search_path to 'pg_catalog'
as $$
  select
    h."eventId", h."itemId", h."fromSeconds", h."toSeconds",
    coalesce(h."activeSeconds", h."toSeconds" - h."fromSeconds"), coalesce(h."occurredAt", now()), h.version
  from jsonb_to_record(heartbeat) as h (
    "eventId" uuid, "itemId" uuid, "fromSeconds" integer, "toSeconds" integer, "activeSeconds" integer,
    "occurredAt" timestamptz, version integer
  )
$$;

comment on function private.heartbeat_fields(heartbeat jsonb) is 'Reads {eventId, itemId, fromSeconds, toSeconds, activeSeconds, occurredAt, version}; raises a data exception (class 22) for any other form.';
revoke execute on function private.heartbeat_fields(heartbeat jsonb) from public;

-- Returns the name of the first invalid parameter of a heartbeat, or null.
create or replace function private.heartbeat_problem(event_id uuid, from_seconds integer, to_seconds integer, active_seconds integer, occurred_at timestamp with time zone)
  returns text
  language sql
  stable
as $$
  select case
    when event_id is null then 'event_id'
    when from_seconds is null or from_seconds not between 0 and 604800 then 'from_seconds'
    when to_seconds is null or to_seconds not between from_seconds and 604800 then 'to_seconds'
    when active_seconds is null or active_seconds not between 0 and 600 or to_seconds - from_seconds > 4 * active_seconds
      then 'active_seconds'
    when occurred_at is null or occurred_at not between now() - interval '30 days' and now() + interval '5 minutes'
      then 'occurred_at'
  end
$$;

comment on function private.heartbeat_problem(event_id uuid, from_seconds integer, to_seconds integer, active_seconds integer, occurred_at timestamp with time zone) is 'Returns the name of the first invalid parameter of a heartbeat, or null.';
revoke execute on function private.heartbeat_problem(event_id uuid, from_seconds integer, to_seconds integer, active_seconds integer, occurred_at timestamp with time zone) from public;

-- Imports an array of a user's chats from elsewhere; returns one result for each chat: inserted, updated, unchanged or rejected with the reason.
create or replace function private.import_chats(chats jsonb, user_id uuid)
  returns table(ordinal integer, outcome text, message text)
  language plpgsql
  set search_path to 'pg_catalog'
as $$
#variable_conflict use_column
declare
  v_chat jsonb;
  v_chat_id uuid;
  v_is_new boolean;
  v_added integer;
  v_head uuid;
  v_activity timestamptz;
  v_constraint text;
begin
  -- Of two concurrent imports of one export, the second finds the rows of the first.
  perform pg_advisory_xact_lock(hashtextextended('private.import_chats ' || import_chats.user_id, 0));
  for v_chat, ordinal in
    select c.value, c.ordinality::integer from jsonb_array_elements(import_chats.chats) with ordinality c
  loop
    message := null;
    begin
      select c.id, c.updated_at into v_chat_id, v_activity
      from llm.chats c
      where c.user_id = import_chats.user_id
        and (c.import_key = v_chat ->> 'key' or c.id = (v_chat ->> 'id')::uuid)
      order by c.import_key is not distinct from v_chat ->> 'key' desc
      limit 1
      for no key update;
      v_is_new := not found;
      if v_is_new then
        insert into llm.chats as c (id, user_id, import_key, title, is_archived, created_at, updated_at)
        values (
          coalesce(
            (select (v_chat ->> 'id')::uuid where not exists (select from llm.chats o where o.id = (v_chat ->> 'id')::uuid)),
            plinth.uuid_v7()
          ),
          import_chats.user_id, v_chat ->> 'key', v_chat ->> 'title', (v_chat ->> 'isArchived')::boolean,
          coalesce((v_chat ->> 'createdAt')::timestamptz, now()), coalesce((v_chat ->> 'updatedAt')::timestamptz, now())
        )
        returning c.id, c.updated_at into v_chat_id, v_activity;
      end if;
      v_added := private.import_messages(import_chats.user_id, v_chat_id, v_chat -> 'messages');
      if v_added > 0 then
        v_head := private.imported_message_id(
          import_chats.user_id, v_chat_id, v_chat ->> 'head', (v_chat ->> 'headId')::uuid
        );
        if v_head is not null then
          perform private.move_head(import_chats.user_id, v_chat_id, v_head);
        end if;
      end if;
      -- An import does not count as activity in the chat.
      update llm.chats c
      set updated_at = greatest(v_activity, (v_chat ->> 'updatedAt')::timestamptz)
      where c.id = v_chat_id
        and c.updated_at <> greatest(v_activity, (v_chat ->> 'updatedAt')::timestamptz);
      outcome := case when v_is_new then 'inserted' when v_added > 0 then 'updated' else 'unchanged' end;
    exception
      when integrity_constraint_violation then
        get stacked diagnostics v_constraint = constraint_name;
        outcome := 'rejected';
        message := 'holds a value that is not allowed (' || v_constraint || ')';
      when data_exception or no_data_found then
        outcome := 'rejected';
        message := 'holds a value of the wrong form';
    end;
    return next;
  end loop;
end
$$;

comment on function private.import_chats(chats jsonb, user_id uuid) is 'Imports an array of a user''s chats from elsewhere; returns one result for each chat: inserted, updated, unchanged or rejected with the reason.';
revoke execute on function private.import_chats(chats jsonb, user_id uuid) from public;

-- Imports an array of categories and items; returns one result for each line: inserted, updated, unchanged or rejected with the reason.
create or replace function private.import_content(lines jsonb)
  returns table(ordinal integer, outcome text, message text)
  language plpgsql
  set search_path to 'pg_catalog'
as $$
declare
  v_line jsonb;
begin
  for v_line, ordinal in
    select l.value, l.ordinality::integer from jsonb_array_elements(import_content.lines) with ordinality l
  loop
    message := null;
    begin
      outcome := case v_line ->> 'kind'
        when 'category' then private.import_content_category(v_line)
        else private.import_content_item(v_line)
      end;
    exception
      when data_exception or integrity_constraint_violation or sqlstate 'PL404' or sqlstate 'PL409' or sqlstate 'PL422' then
        outcome := 'rejected';
        message := sqlerrm;
    end;
    return next;
  end loop;
end
$$;

comment on function private.import_content(lines jsonb) is 'Imports an array of categories and items; returns one result for each line: inserted, updated, unchanged or rejected with the reason.';
revoke execute on function private.import_content(lines jsonb) from public;

-- Imports a category; returns inserted, updated or unchanged. PL404 without its parent.
create or replace function private.import_content_category(line jsonb)
  returns text
  language plpgsql
  set search_path to 'pg_catalog'
as $$
declare
  v_path constant text := line ->> 'path';
  v_slug constant text := substring(v_path from '[^/]*$');
  v_parent constant text := nullif(regexp_replace(v_path, '/?[^/]*$', ''), '');
  v_parent_id uuid;
  v_inserted boolean;
begin
  if v_parent is not null then
    select c.id into v_parent_id from learning.content_categories c where c.path = v_parent;
    if v_parent_id is null then
      raise exception 'there is no category %, which must come before', v_parent using errcode = 'PL404';
    end if;
  end if;
  insert into learning.content_categories as c (parent_id, slug, name, description, position)
  values (
    v_parent_id, v_slug, btrim(line ->> 'name'), coalesce(line ->> 'description', ''), coalesce((line ->> 'position')::integer, 0)
  )
  on conflict on constraint content_categories_path_key do update
  set name = excluded.name, description = excluded.description, position = excluded.position
  where (c.name, c.description, c.position) is distinct from (excluded.name, excluded.description, excluded.position)
  -- xmax is 0 in a row that this statement inserted, and not in one that it updated.
  returning c.xmax = 0 into v_inserted;
  return case when v_inserted is null then 'unchanged' when v_inserted then 'inserted' else 'updated' end;
end
$$;

comment on function private.import_content_category(line jsonb) is 'Imports a category; returns inserted, updated or unchanged. PL404 without its parent.';
revoke execute on function private.import_content_category(line jsonb) from public;

-- Imports and publishes an item; returns inserted, updated or unchanged. PL404 for a missing row that it refers to, PL409 for a deleted item, PL422 without a text.
create or replace function private.import_content_item(line jsonb)
  returns text
  language plpgsql
  set search_path to 'pg_catalog'
as $$
declare
  v_id uuid;
  v_deleted_at timestamptz;
  v_before jsonb;
  v_wanted jsonb;
  v_category_id uuid;
  v_course_id uuid;
  v_missing text;
  v_version integer;
  v_published constant boolean := coalesce((line ->> 'published')::boolean, true);
begin
  -- The course first, as everywhere; see learning/functions/publishing.sql.
  if line ->> 'course' is not null then
    select i.id into v_course_id from learning.content_items i where i.slug = line ->> 'course' for share;
    if v_course_id is null then
      raise exception 'there is no course %, which must come before', line ->> 'course' using errcode = 'PL404';
    end if;
  end if;
  select i.id, i.deleted_at into v_id, v_deleted_at
  from learning.content_items i
  where i.slug = line ->> 'slug'
  for no key update;
  if v_deleted_at is not null then
    raise exception 'was deleted here; restore it first' using errcode = 'PL409';
  end if;
  v_before := private.export_content_item(v_id);
  -- All keys, in the form of an export. A time that the file omits stays as it is.
  v_wanted := jsonb_build_object(
    'kind', 'item',
    'slug', line ->> 'slug',
    'category', line ->> 'category',
    'course', line ->> 'course',
    'position', coalesce((line ->> 'position')::integer, 0),
    'type', line ->> 'type',
    'title', btrim(line ->> 'title'),
    'summary', coalesce(line ->> 'summary', ''),
    'level', coalesce((line ->> 'level')::integer, 0),
    'durationSeconds', (line ->> 'durationSeconds')::integer,
    'language', coalesce(line ->> 'language', 'en'),
    'tags', (
      select coalesce(jsonb_agg(distinct lower(btrim(t))), '[]')
      from jsonb_array_elements_text(coalesce(line -> 'tags', '[]')) as t
      where btrim(t) <> ''
    ),
    'requiredAccessLevel', (line ->> 'requiredAccessLevel')::integer,
    'isPreview', coalesce((line ->> 'isPreview')::boolean, false),
    'prerequisites', (
      select coalesce(jsonb_agg(distinct r.slug), '[]')
      from jsonb_array_elements_text(coalesce(line -> 'prerequisites', '[]')) as r (slug)
    ),
    'published', v_published,
    'publishFrom', case
      when line ->> 'publishFrom' is not null
        then to_char((line ->> 'publishFrom')::timestamptz at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
      when v_published then coalesce(
        v_before ->> 'publishFrom', to_char(now() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
      )
    end,
    'publishUntil', to_char((line ->> 'publishUntil')::timestamptz at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
    'bodyFormat', coalesce(line ->> 'bodyFormat', 'markdown'),
    'body', line ->> 'body'
  );
  if v_before = v_wanted then
    return 'unchanged';
  end if;

  select c.id into v_category_id from learning.content_categories c where c.path = v_wanted ->> 'category';
  if v_category_id is null then
    raise exception 'there is no category %, which must come before', v_wanted ->> 'category' using errcode = 'PL404';
  end if;
  select r.slug into v_missing
  from jsonb_array_elements_text(v_wanted -> 'prerequisites') as r (slug)
  where not exists (select from learning.content_items i where i.slug = r.slug and i.deleted_at is null)
  limit 1;
  if v_missing is not null then
    raise exception 'there is no item %, which must come before', v_missing using errcode = 'PL404';
  end if;
  if v_published and v_wanted ->> 'body' is null and v_wanted ->> 'type' <> 'course' then
    raise exception 'only a course is published without a body' using errcode = 'PL422';
  end if;

  insert into learning.content_items as i (
    category_id, course_id, position, slug, content_type, title, summary, level, duration_seconds, language, tags,
    required_access_level, is_preview
  )
  values (
    v_category_id,
    v_course_id,
    (v_wanted ->> 'position')::integer,
    v_wanted ->> 'slug',
    v_wanted ->> 'type',
    v_wanted ->> 'title',
    v_wanted ->> 'summary',
    (v_wanted ->> 'level')::smallint,
    (v_wanted ->> 'durationSeconds')::integer,
    v_wanted ->> 'language',
    array(select jsonb_array_elements_text(v_wanted -> 'tags')),
    (v_wanted ->> 'requiredAccessLevel')::integer,
    (v_wanted ->> 'isPreview')::boolean
  )
  on conflict on constraint content_items_slug_key do update
  set
    category_id = excluded.category_id,
    course_id = excluded.course_id,
    position = excluded.position,
    content_type = excluded.content_type,
    title = excluded.title,
    summary = excluded.summary,
    level = excluded.level,
    duration_seconds = excluded.duration_seconds,
    language = excluded.language,
    tags = excluded.tags,
    required_access_level = excluded.required_access_level,
    is_preview = excluded.is_preview
  returning i.id into v_id;

  delete from learning.content_prerequisites p
  where p.item_id = v_id
    and p.required_item_id not in (
      select i.id from learning.content_items i
      where i.slug in (select jsonb_array_elements_text(v_wanted -> 'prerequisites'))
    );
  insert into learning.content_prerequisites (item_id, required_item_id)
  select v_id, i.id
  from learning.content_items i
  where i.slug in (select jsonb_array_elements_text(v_wanted -> 'prerequisites'))
  on conflict do nothing;

  -- A new version only for a changed text.
  select v.version into v_version from learning.content_versions v where v.item_id = v_id and v.published_at is null;
  if v_version is not null
    or v_before is null
    or (v_before -> 'body', v_before -> 'bodyFormat') is distinct from (v_wanted -> 'body', v_wanted -> 'bodyFormat')
  then
    if v_version is null then
      insert into learning.content_versions (item_id, version, change_note)
      select v_id, coalesce(max(v.version), 0) + 1, coalesce(line ->> 'changeNote', '')
      from learning.content_versions v
      where v.item_id = v_id
      returning version into v_version;
    end if;
    delete from learning.content_bodies b where b.item_id = v_id and b.version = v_version;
    if v_wanted ->> 'body' is not null then
      insert into learning.content_bodies (item_id, version, body_format, body)
      values (v_id, v_version, v_wanted ->> 'bodyFormat', v_wanted ->> 'body');
    end if;
    if v_published then
      update learning.content_versions v
      set published_at = clock_timestamp()
      where v.item_id = v_id and v.version = v_version;
    end if;
  end if;
  update learning.content_items i
  set
    current_version = case when v_published then (select max(v.version) from learning.content_versions v where v.item_id = v_id) end,
    publish_from = (v_wanted ->> 'publishFrom')::timestamptz,
    publish_until = (v_wanted ->> 'publishUntil')::timestamptz
  where i.id = v_id;
  return case when v_before is null then 'inserted' else 'updated' end;
end
$$;

comment on function private.import_content_item(line jsonb) is 'Imports and publishes an item; returns inserted, updated or unchanged. PL404 for a missing row that it refers to, PL409 for a deleted item, PL422 without a text.';
revoke execute on function private.import_content_item(line jsonb) from public;

-- Adds the messages that an imported chat lacks, with their attachments and ratings; returns their number.
create or replace function private.import_messages(user_id uuid, chat_id uuid, messages jsonb)
  returns integer
  language plpgsql
  set search_path to 'pg_catalog'
as $$
#variable_conflict use_column
declare
  v_message jsonb;
  v_id uuid;
  v_parent_id uuid;
  v_depth integer;
  v_model_id uuid;
  v_chat_created_at timestamptz := (select c.created_at from llm.chats c where c.id = import_messages.chat_id);
  v_added integer := 0;
begin
  for v_message in select m.value from jsonb_array_elements(import_messages.messages) m loop
    if private.imported_message_id(
      import_messages.user_id, import_messages.chat_id, v_message ->> 'key', (v_message ->> 'id')::uuid
    ) is not null then
      continue;
    end if;
    v_parent_id := null;
    v_depth := 0;
    if v_message ->> 'parent' is not null then
      select m.id, m.depth into strict v_parent_id, v_depth
      from llm.messages m
      where m.user_id = import_messages.user_id
        and m.chat_id = import_messages.chat_id
        and m.id = private.imported_message_id(
          import_messages.user_id, import_messages.chat_id, v_message ->> 'parent', (v_message ->> 'parentId')::uuid
        );
    end if;
    v_model_id := (
      select m.id
      from llm.models m
      join llm.model_providers p on p.id = m.provider_id
      where v_message ->> 'role' = 'assistant' and p.name || '/' || m.name = v_message ->> 'model'
    );
    v_id := coalesce(
      (
        select (v_message ->> 'id')::uuid
        where not exists (select from llm.messages o where o.id = (v_message ->> 'id')::uuid)
      ),
      plinth.uuid_v7()
    );
    insert into llm.messages (
      id, chat_id, user_id, parent_id, depth, role, content, thinking, images, tool_calls, model_id, state, finish_reason,
      error_code, error_message, extended_metadata, created_at, idempotency_key
    )
    values (
      v_id, import_messages.chat_id, import_messages.user_id, v_parent_id, v_depth + 1, v_message ->> 'role',
      v_message ->> 'content', v_message ->> 'thinking', nullif(v_message -> 'images', 'null'),
      nullif(v_message -> 'toolCalls', 'null'), v_model_id, coalesce(v_message ->> 'state', 'complete'),
      v_message ->> 'finishReason', v_message ->> 'errorCode', v_message ->> 'errorMessage',
      coalesce(v_message -> 'metadata', '{}')
        || case
          when v_model_id is null and v_message ->> 'model' is not null then jsonb_build_object('model', v_message -> 'model')
          else '{}'
        end,
      coalesce((v_message ->> 'createdAt')::timestamptz, v_chat_created_at), v_message ->> 'key'
    );
    if jsonb_array_length(coalesce(v_message -> 'attachments', '[]')) > 0 then
      insert into llm.message_attachments (user_id, chat_id, message_id, position, url, mime_type, size_bytes, name)
      select
        import_messages.user_id, import_messages.chat_id, v_id, a.ordinality, a.value ->> 'url', a.value ->> 'mimeType',
        (a.value ->> 'sizeBytes')::bigint, a.value ->> 'name'
      from jsonb_array_elements(v_message -> 'attachments') with ordinality a;
    end if;
    if jsonb_typeof(v_message -> 'feedback') = 'object' then
      insert into llm.message_feedback (user_id, chat_id, message_id, rating, comment)
      values (
        import_messages.user_id, import_messages.chat_id, v_id, v_message -> 'feedback' ->> 'rating',
        coalesce(v_message -> 'feedback' ->> 'comment', '')
      );
    end if;
    v_added := v_added + 1;
  end loop;
  return v_added;
end
$$;

comment on function private.import_messages(user_id uuid, chat_id uuid, messages jsonb) is 'Adds the messages that an imported chat lacks, with their attachments and ratings; returns their number.';
revoke execute on function private.import_messages(user_id uuid, chat_id uuid, messages jsonb) from public;

-- Imports an array of models with prices; returns one result for each model: inserted, updated, unchanged or rejected with the reason.
create or replace function private.import_models(models jsonb, make_public boolean default false)
  returns table(ordinal integer, outcome text, message text)
  language plpgsql
  set search_path to 'pg_catalog'
as $$
declare
  v_model jsonb;
  v_provider_id uuid;
  v_model_id uuid;
  v_inserted boolean;
  v_changed boolean;
  v_count integer;
begin
  for v_model, ordinal in
    select m.value, m.ordinality::integer from jsonb_array_elements(import_models.models) with ordinality m
  loop
    message := null;
    begin
      -- Without this check, a file without prices would delete them.
      if jsonb_typeof(v_model -> 'priceHistory') is distinct from 'array' then
        raise exception 'priceHistory must be an array.' using errcode = 'PL422';
      end if;
      insert into llm.model_providers as p (name) values (trim(v_model ->> 'vendor'))
      on conflict on constraint model_providers_name_key do nothing;
      select p.id into strict v_provider_id from llm.model_providers p where p.name = trim(v_model ->> 'vendor');

      insert into llm.models as m (provider_id, name, display_name, is_public)
      values (v_provider_id, trim(v_model ->> 'id'), trim(v_model ->> 'name'), import_models.make_public)
      on conflict on constraint models_provider_id_name_key do update
      set display_name = excluded.display_name, is_public = m.is_public or excluded.is_public
      where (m.display_name, m.is_public) is distinct from (excluded.display_name, m.is_public or excluded.is_public)
      returning m.id, m.xmax = 0 into v_model_id, v_inserted;
      v_changed := found;
      if not found then
        v_inserted := false;
        select m.id into strict v_model_id
        from llm.models m
        where m.provider_id = v_provider_id and m.name = trim(v_model ->> 'id');
      end if;

      -- Unchanged periods stay; the rest is deleted before the new periods are inserted.
      delete from billing.model_prices p
      where p.model_id = v_model_id
        and p.currency = 'USD'
        and not exists (
          select
          from private.wanted_prices(v_model -> 'priceHistory') w
          where (
            w.input_price, w.output_price, w.cached_input_price, w.reasoning_price, w.effective_from, w.effective_to
          ) is not distinct from (
            p.input_price_per_million_tokens, p.output_price_per_million_tokens,
            p.cached_input_price_per_million_tokens, p.reasoning_price_per_million_tokens, p.effective_from, p.effective_to
          )
        );
      get diagnostics v_count = row_count;
      v_changed := v_changed or v_count > 0;

      insert into billing.model_prices (
        model_id, input_price_per_million_tokens, output_price_per_million_tokens,
        cached_input_price_per_million_tokens, reasoning_price_per_million_tokens, effective_from, effective_to
      )
      select
        v_model_id, w.input_price, w.output_price, w.cached_input_price, w.reasoning_price, w.effective_from, w.effective_to
      from private.wanted_prices(v_model -> 'priceHistory') w
      where not exists (
        select
        from billing.model_prices p
        where p.model_id = v_model_id
          and p.currency = 'USD'
          and (w.effective_from, w.effective_to) is not distinct from (p.effective_from, p.effective_to)
      );
      get diagnostics v_count = row_count;
      v_changed := v_changed or v_count > 0;

      outcome := case when v_inserted then 'inserted' when v_changed then 'updated' else 'unchanged' end;
    exception
      when data_exception or integrity_constraint_violation or no_data_found or sqlstate 'PL422' then
        outcome := 'rejected';
        message := sqlerrm;
    end;
    return next;
  end loop;
end
$$;

comment on function private.import_models(models jsonb, make_public boolean) is 'Imports an array of models with prices; returns one result for each model: inserted, updated, unchanged or rejected with the reason.';
revoke execute on function private.import_models(models jsonb, make_public boolean) from public;

-- Imports an array of library prompts; returns one result for each row: inserted, updated, unchanged or rejected with the reason.
create or replace function private.import_prompts(prompts jsonb)
  returns table(ordinal integer, outcome text, message text)
  language plpgsql
  set search_path to 'pg_catalog'
as $$
declare
  v_prompt jsonb;
  v_inserted boolean;
begin
  for v_prompt, ordinal in
    select p.value, p.ordinality::integer from jsonb_array_elements(import_prompts.prompts) with ordinality p
  loop
    message := null;
    begin
      insert into llm.prompts as p (user_id, name, content, prompt_type, is_for_developers, contributors)
      values (
        null,
        btrim(v_prompt ->> 'name', E' \t\r\n'),
        v_prompt ->> 'content',
        lower(coalesce(v_prompt ->> 'type', 'text')),
        coalesce((v_prompt ->> 'forDevelopers')::boolean, false),
        array(select jsonb_array_elements_text(coalesce(v_prompt -> 'contributors', '[]')))
      )
      on conflict on constraint prompts_user_id_name_key do update
      set
        content = excluded.content,
        prompt_type = excluded.prompt_type,
        is_for_developers = excluded.is_for_developers,
        contributors = excluded.contributors
      where (p.content, p.prompt_type, p.is_for_developers, p.contributors)
        is distinct from (excluded.content, excluded.prompt_type, excluded.is_for_developers, excluded.contributors)
      -- xmax is 0 in a row that this statement inserted, and not in one that it updated.
      returning p.xmax = 0 into v_inserted;
      outcome := case when not found then 'unchanged' when v_inserted then 'inserted' else 'updated' end;
    exception
      when data_exception or integrity_constraint_violation then
        outcome := 'rejected';
        message := sqlerrm;
    end;
    return next;
  end loop;
end
$$;

comment on function private.import_prompts(prompts jsonb) is 'Imports an array of library prompts; returns one result for each row: inserted, updated, unchanged or rejected with the reason.';
revoke execute on function private.import_prompts(prompts jsonb) from public;

-- Returns the id of an imported message if the chat already has it; otherwise null.
create or replace function private.imported_message_id(user_id uuid, chat_id uuid, key text, id uuid)
  returns uuid
  language sql
  stable
  set search_path to 'pg_catalog'
as $$
  select coalesce(
    (
      select m.id
      from llm.messages m
      where m.user_id = imported_message_id.user_id
        and m.chat_id = imported_message_id.chat_id
        and m.idempotency_key = imported_message_id.key
    ),
    (
      select m.id
      from llm.messages m
      where m.user_id = imported_message_id.user_id
        and m.chat_id = imported_message_id.chat_id
        and m.id = imported_message_id.id
    )
  )
$$;

comment on function private.imported_message_id(user_id uuid, chat_id uuid, key text, id uuid) is 'Returns the id of an imported message if the chat already has it; otherwise null.';
revoke execute on function private.imported_message_id(user_id uuid, chat_id uuid, key text, id uuid) from public;

-- Attaches [{url, mimeType, sizeBytes, name}] to a new message. PL422 for more than 10 and for a value that violates a constraint.
create or replace function private.insert_attachments(message llm.messages, attachments jsonb)
  returns void
  language plpgsql
  set search_path to 'pg_catalog'
as $$
begin
  if jsonb_typeof(insert_attachments.attachments) is distinct from 'array' then
    raise exception 'Attachments must be a list.' using errcode = 'PL422', column = 'attachments';
  end if;
  if jsonb_array_length(insert_attachments.attachments) > 10 then
    raise exception 'A message can have at most 10 attachments.' using errcode = 'PL422', column = 'attachments';
  end if;
  insert into llm.message_attachments (user_id, chat_id, message_id, position, url, mime_type, size_bytes, name)
  select
    message.user_id, message.chat_id, message.id, a.ordinality,
    a.value ->> 'url', a.value ->> 'mimeType', (a.value ->> 'sizeBytes')::bigint, a.value ->> 'name'
  from jsonb_array_elements(insert_attachments.attachments) with ordinality a
  order by a.ordinality;
exception
  when check_violation or not_null_violation or data_exception then
    raise exception 'Invalid attachment.'
      using errcode = 'PL422', column = 'attachments',
        hint = 'An attachment is {url, mimeType, sizeBytes, name} with an https address, an allowed type and at most 100 MB.';
end
$$;

comment on function private.insert_attachments(message llm.messages, attachments jsonb) is 'Attaches [{url, mimeType, sizeBytes, name}] to a new message. PL422 for more than 10 and for a value that violates a constraint.';
revoke execute on function private.insert_attachments(message llm.messages, attachments jsonb) from public;

-- Returns whether an API token found before is still valid.
create or replace function private.is_api_token_live(user_id uuid, token_id uuid, token_version integer)
  returns boolean
  language sql
  stable security definer
  set search_path to 'pg_catalog'
as $$
  select exists (
    select
    from identity.api_tokens t
    join identity.users u on u.id = t.user_id
    where t.id = is_api_token_live.token_id
      and t.user_id = is_api_token_live.user_id
      and t.revoked_at is null
      and t.expires_at > now()
      and u.account_status = 'active'
      and u.token_version = is_api_token_live.token_version
  )
$$;

comment on function private.is_api_token_live(user_id uuid, token_id uuid, token_version integer) is 'Returns whether an API token found before is still valid.';
revoke execute on function private.is_api_token_live(user_id uuid, token_id uuid, token_version integer) from public;
grant execute on function private.is_api_token_live(user_id uuid, token_id uuid, token_version integer) to :PLINTH_SERVICE;

-- Returns whether the second user has blocked the first.
create or replace function private.is_blocked(user_id uuid, by_user_id uuid)
  returns boolean
  language sql
  stable
  set search_path to 'pg_catalog'
as $$
  select exists (
    select from rooms.user_blocks b where b.user_id = is_blocked.by_user_id and b.blocked_id = is_blocked.user_id
  )
$$;

comment on function private.is_blocked(user_id uuid, by_user_id uuid) is 'Returns whether the second user has blocked the first.';
revoke execute on function private.is_blocked(user_id uuid, by_user_id uuid) from public;

-- Returns whether this many different seconds of an item complete it; null when its duration is unknown.
create or replace function private.is_played(seconds integer, duration_seconds integer)
  returns boolean
  language sql
  immutable
as $$
  select seconds >= 0.9 * duration_seconds
$$;

comment on function private.is_played(seconds integer, duration_seconds integer) is 'Returns whether this many different seconds of an item complete it; null when its duration is unknown.';
revoke execute on function private.is_played(seconds integer, duration_seconds integer) from public;

-- Returns whether a column is left out of exports.
create or replace function private.is_secret_column(table_oid oid, column_name text, type_oid oid)
  returns boolean
  language sql
  stable
  set search_path to 'pg_catalog'
as $$
  select type_oid = 'bytea'::regtype
    -- The time or number of a credential, such as password_changed_at, is harmless.
    or type_oid not in ('timestamptz'::regtype, 'boolean'::regtype, 'integer'::regtype, 'bigint'::regtype)
      and column_name ~ '(^|_)(hash|hashes|hashed|password|passwd|secret|secrets|sealed|salt|cipher|ciphertext|wrapped|otp|lease|(access|refresh|id|api|session|reset)_token)(_|$)'
    -- Encrypted under the user's own key; the server adds the clear text to the download.
    or table_oid = 'llm.conversation_memories'::regclass and column_name = 'memory'
    -- Product data: an address or a configuration may contain a key.
    or table_oid = 'llm.model_providers'::regclass and column_name = 'api_url'
    or table_oid = 'llm.models'::regclass and column_name = 'config'
$$;

comment on function private.is_secret_column(table_oid oid, column_name text, type_oid oid) is 'Returns whether a column is left out of exports.';
revoke execute on function private.is_secret_column(table_oid oid, column_name text, type_oid oid) from public;

-- Returns whether an access token with these claims is still valid.
create or replace function private.is_token_live(user_id uuid, session_id uuid, token_id uuid, token_version integer)
  returns boolean
  language sql
  stable security definer
  set search_path to 'pg_catalog'
as $$
  select exists (
    select
    from identity.users u
    join identity.user_sessions s on s.user_id = u.id
    where u.id = is_token_live.user_id
      and u.account_status = 'active'
      and u.token_version = is_token_live.token_version
      and s.id = is_token_live.session_id
      and s.ended_at is null
      and s.expires_at > now()
      and not exists (
        select from private.token_blacklist b where b.kind = 'token' and b.subject_id = is_token_live.token_id
      )
  )
$$;

comment on function private.is_token_live(user_id uuid, session_id uuid, token_id uuid, token_version integer) is 'Returns whether an access token with these claims is still valid.';
revoke execute on function private.is_token_live(user_id uuid, session_id uuid, token_id uuid, token_version integer) from public;
grant execute on function private.is_token_live(user_id uuid, session_id uuid, token_id uuid, token_version integer) to :PLINTH_SERVICE;

-- Returns whether a change from one plan to the other takes effect at once.
create or replace function private.is_upgrade(old_plan billing.subscription_plans, new_plan billing.subscription_plans)
  returns boolean
  language sql
  immutable
  set search_path to 'pg_catalog'
as $$
  select
    (new_plan.access_level, array_position(array['monthly', 'yearly', 'lifetime'], new_plan.billing_cycle), new_plan.price_cents)
    > (old_plan.access_level, array_position(array['monthly', 'yearly', 'lifetime'], old_plan.billing_cycle), old_plan.price_cents)
$$;

comment on function private.is_upgrade(old_plan billing.subscription_plans, new_plan billing.subscription_plans) is 'Returns whether a change from one plan to the other takes effect at once.';
revoke execute on function private.is_upgrade(old_plan billing.subscription_plans, new_plan billing.subscription_plans) from public;

-- Adds a refresh token to a session; returns its expiry time if the session is not used before.
create or replace function private.issue_refresh_token(session_id uuid, token_hash bytea, parent_id uuid default null::uuid)
  returns timestamp with time zone
  language sql
  set search_path to 'pg_catalog'
as $$
  insert into private.refresh_tokens (session_id, user_id, parent_id, token_hash, expires_at)
  select s.id, s.user_id, issue_refresh_token.parent_id, issue_refresh_token.token_hash, s.expires_at
  from identity.user_sessions s
  where s.id = issue_refresh_token.session_id
  returning least(expires_at, now() + private.session_idle_limit(user_id))
$$;

comment on function private.issue_refresh_token(session_id uuid, token_hash bytea, parent_id uuid) is 'Adds a refresh token to a session; returns its expiry time if the session is not used before.';
revoke execute on function private.issue_refresh_token(session_id uuid, token_hash bytea, parent_id uuid) from public;

-- Makes the signed-in user a member if the hash that was verified still is the room's; returns the membership's id, or null. PL403 for a banned user.
create or replace function private.join_room_with_password(room_id uuid, verified_hash text)
  returns uuid
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
declare
  v_user constant uuid := plinth.current_user_id();
begin
  if v_user is null then
    raise exception 'You must be signed in.' using errcode = 'PL401';
  end if;
  perform private.lock_accounts(array[v_user]);
  -- The password may have been changed since it was checked.
  perform from rooms.chat_rooms r where r.id = join_room_with_password.room_id for no key update;
  if not exists (
    select
    from private.room_passwords p
    where p.room_id = join_room_with_password.room_id and p.password_hash = verified_hash
  ) then
    return null;
  end if;
  return (private.add_to_room(join_room_with_password.room_id, v_user)).id;
end
$$;

comment on function private.join_room_with_password(room_id uuid, verified_hash text) is 'Makes the signed-in user a member if the hash that was verified still is the room''s; returns the membership''s id, or null. PL403 for a banned user.';
revoke execute on function private.join_room_with_password(room_id uuid, verified_hash text) from public;
grant execute on function private.join_room_with_password(room_id uuid, verified_hash text) to :PLINTH_SERVICE;

-- Trigger: prevents the last administrator from deleting their own account.
create or replace function private.keep_last_administrator()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
begin
  perform private.guard_last_administrator(old.id);
  return old;
end
$$;

comment on function private.keep_last_administrator() is 'Trigger: prevents the last administrator from deleting their own account.';
revoke execute on function private.keep_last_administrator() from public;

-- Saves the text of a message before it is replaced or deleted.
create or replace function private.keep_revision(message rooms.room_messages, change text)
  returns void
  language sql
  set search_path to 'pg_catalog'
as $$
  insert into rooms.room_message_revisions (message_id, revision, author_id, actor_id, change, content)
  select
    message.id,
    coalesce((select max(r.revision) from rooms.room_message_revisions r where r.message_id = message.id), 0) + 1,
    message.sender_id,
    plinth.current_user_id(),
    keep_revision.change,
    message.content
$$;

comment on function private.keep_revision(message rooms.room_messages, change text) is 'Saves the text of a message before it is replaced or deleted.';
revoke execute on function private.keep_revision(message rooms.room_messages, change text) from public;

-- Returns a user's latest decision on a purpose; null without one.
create or replace function private.last_consent(user_id uuid, purpose text)
  returns identity.consents
  language sql
  stable
  set search_path to 'pg_catalog'
as $$
  select c
  from identity.consents c
  where c.user_id = last_consent.user_id and c.purpose = last_consent.purpose
  order by c.decided_at desc
  limit 1
$$;

comment on function private.last_consent(user_id uuid, purpose text) is 'Returns a user''s latest decision on a purpose; null without one.';
revoke execute on function private.last_consent(user_id uuid, purpose text) from public;

-- Counts a block of API requests of a client in advance: all that are wanted, or the rest, or none and the time to wait.
create or replace function private.lease_requests(client text, limit_value integer, window_length interval, wanted integer)
  returns table(granted integer, remaining integer, retry_after interval)
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
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

comment on function private.lease_requests(client text, limit_value integer, window_length interval, wanted integer) is 'Counts a block of API requests of a client in advance: all that are wanted, or the rest, or none and the time to wait.';
revoke execute on function private.lease_requests(client text, limit_value integer, window_length interval, wanted integer) from public;
grant execute on function private.lease_requests(client text, limit_value integer, window_length interval, wanted integer) to :PLINTH_SERVICE;

-- Trigger: empties the messages of an account that is being deleted and removes it from its rooms.
create or replace function private.leave_rooms_of_user()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
declare
  v_room_id uuid;
begin
  for v_room_id in
    select m.room_id from rooms.room_members m where m.user_id = old.id
    union
    select m.room_id from rooms.room_messages m where m.sender_id = old.id
    order by 1
  loop
    perform from rooms.chat_rooms r where r.id = v_room_id for no key update;
    update rooms.room_messages m
    set
      sender_id = null,
      content = '',
      metadata = '{}',
      is_deleted = true,
      deleted_at = coalesce(m.deleted_at, clock_timestamp()),
      idempotency_key = null
    where m.room_id = v_room_id and m.sender_id = old.id;
    perform private.remove_from_room(v_room_id, old.id);
  end loop;
  update rooms.general_chat_messages m
  set
    sender_id = null, content = '', is_deleted = true, deleted_at = coalesce(m.deleted_at, clock_timestamp()), idempotency_key = null
  where m.sender_id = old.id;
  return old;
end
$$;

comment on function private.leave_rooms_of_user() is 'Trigger: empties the messages of an account that is being deleted and removes it from its rooms.';
revoke execute on function private.leave_rooms_of_user() from public;

-- Returns how many hard or soft limits of a user (on a model, or all) this many more tokens would exceed.
create or replace function private.limits_passed(user_id uuid, model_id uuid, tokens bigint, is_hard boolean, at timestamp with time zone)
  returns integer
  language sql
  stable
as $$
  select count(*)::integer
  from billing.usage_limits l
  where (l.user_id is null or l.user_id = limits_passed.user_id)
    -- Without a model all limits are checked.
    and (limits_passed.model_id is null or l.model_id is null or l.model_id = limits_passed.model_id)
    and l.is_hard = limits_passed.is_hard
    and (l.plan_code is null or l.plan_code = private.current_plan_code(limits_passed.user_id))
    and limits_passed.tokens + (
      select coalesce(sum(d.total_tokens), 0)
      from billing.daily_usage d
      where d.user_id = limits_passed.user_id
        and d.day >= date_trunc(l.period, limits_passed.at at time zone 'UTC')::date
        and d.day < (date_trunc(l.period, limits_passed.at at time zone 'UTC') + ('1 ' || l.period)::interval)::date
        and (l.model_id is null or d.model_id = l.model_id)
    ) + (
      select coalesce(sum(h.max_tokens), 0)
      from billing.token_holds h
      where h.user_id = limits_passed.user_id
        and h.state = 'open'
        and h.expires_at > limits_passed.at
        and (l.model_id is null or h.model_id = l.model_id)
    ) > l.max_tokens
$$;

comment on function private.limits_passed(user_id uuid, model_id uuid, tokens bigint, is_hard boolean, at timestamp with time zone) is 'Returns how many hard or soft limits of a user (on a model, or all) this many more tokens would exceed.';
revoke execute on function private.limits_passed(user_id uuid, model_id uuid, tokens bigint, is_hard boolean, at timestamp with time zone) from public;

-- Returns credential ids (hex) and transports of an account's passkeys, as JSON.
create or replace function private.list_passkeys(user_id uuid)
  returns jsonb
  language sql
  stable
  set search_path to 'pg_catalog'
as $$
  select coalesce(
    jsonb_agg(
      jsonb_build_object('id', encode(p.credential_id, 'hex'), 'transports', to_jsonb(p.transports)) order by p.factor_id
    ),
    '[]'
  )
  from private.passkeys p
  join identity.mfa_factors f on f.id = p.factor_id
  where f.user_id = list_passkeys.user_id
$$;

comment on function private.list_passkeys(user_id uuid) is 'Returns credential ids (hex) and transports of an account''s passkeys, as JSON.';
revoke execute on function private.list_passkeys(user_id uuid) from public;

-- Returns the revocations not older than max_age, which is the longest life of an access token.
create or replace function private.list_revocations(max_age interval default '1 day 00:05:00'::interval)
  returns table(kind text, subject_id uuid, token_version integer, expires_at timestamp with time zone)
  language sql
  stable security definer
  set search_path to 'pg_catalog'
as $$
  select b.kind, b.subject_id, b.token_version, b.expires_at
  from private.token_blacklist b
  where b.expires_at > now()
    and b.created_at > now() - list_revocations.max_age
$$;

comment on function private.list_revocations(max_age interval) is 'Returns the revocations not older than max_age, which is the longest life of an access token.';
revoke execute on function private.list_revocations(max_age interval) from public;
grant execute on function private.list_revocations(max_age interval) to :PLINTH_SERVICE;

-- Prevents the deletion of accounts until the transaction ends.
create or replace function private.lock_accounts(user_ids uuid[])
  returns void
  language sql
  set search_path to 'pg_catalog'
as $$
  select from identity.users u where u.id = any (lock_accounts.user_ids) order by u.id for key share
$$;

comment on function private.lock_accounts(user_ids uuid[]) is 'Prevents the deletion of accounts until the transaction ends.';
revoke execute on function private.lock_accounts(user_ids uuid[]) from public;

-- Trigger: locks the acting account, which the change will name, against concurrent deletion.
create or replace function private.lock_acting_account()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
begin
  perform private.lock_accounts(array[plinth.current_user_id()]);
  return null;
end
$$;

comment on function private.lock_acting_account() is 'Trigger: locks the acting account, which the change will name, against concurrent deletion.';
revoke execute on function private.lock_acting_account() from public;

-- Trigger: locks the counters of members and invited users of a deleted room, in one order.
create or replace function private.lock_audience_of_room()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
begin
  perform private.lock_user_counters(array(
    select m.user_id from rooms.room_members m where m.room_id = old.id
    union
    select unnest(array[i.inviter_id, i.invitee_id]) from rooms.room_invites i where i.room_id = old.id
  ));
  return old;
end
$$;

comment on function private.lock_audience_of_room() is 'Trigger: locks the counters of members and invited users of a deleted room, in one order.';
revoke execute on function private.lock_audience_of_room() from public;

-- Prevents content changes (exclusive) and completions (shared) from missing each other until the transaction ends.
create or replace function private.lock_completions(exclusively boolean)
  returns void
  language plpgsql
  set search_path to 'pg_catalog'
as $$
begin
  if exclusively then
    perform pg_advisory_xact_lock(hashtextextended('learning.completions', 0));
  else
    perform pg_advisory_xact_lock_shared(hashtextextended('learning.completions', 0));
  end if;
end
$$;

comment on function private.lock_completions(exclusively boolean) is 'Prevents content changes (exclusive) and completions (shared) from missing each other until the transaction ends.';
revoke execute on function private.lock_completions(exclusively boolean) from public;

-- Locks an item for a change of its state. PL403 without edit_content, PL404 if there is no such item.
create or replace function private.lock_content_item(item_id uuid)
  returns learning.content_items
  language plpgsql
  set search_path to 'pg_catalog'
as $$
declare
  v_item learning.content_items;
begin
  if not access.has_permission('edit_content') then
    raise exception 'You need the permission edit_content.' using errcode = 'PL403';
  end if;
  -- Account before item, as everywhere; a version names its author, and the item may be theirs.
  perform private.lock_accounts(array[plinth.current_user_id()]);
  perform
  from learning.content_items c
  where c.id = (select i.course_id from learning.content_items i where i.id = lock_content_item.item_id)
  for share;
  select * into v_item from learning.content_items i where i.id = lock_content_item.item_id for no key update;
  if v_item.id is null then
    raise exception 'Content not found.' using errcode = 'PL404';
  end if;
  return v_item;
end
$$;

comment on function private.lock_content_item(item_id uuid) is 'Locks an item for a change of its state. PL403 without edit_content, PL404 if there is no such item.';
revoke execute on function private.lock_content_item(item_id uuid) from public;

-- Locks a partitioned table, the tables it references and its default partition; tries for some seconds, then raises 55P03.
create or replace function private.lock_for_new_partition(partitioned_table regclass)
  returns void
  language plpgsql
  set search_path to 'pg_catalog'
  set lock_timeout to '200ms'
as $$
declare
  v_tables text := (
    select string_agg(format('only %s', t.name), ', ' order by t.position, t.name)
    from (
      select 1 as position, partitioned_table::text as name
      union
      select 2, k.confrelid::regclass::text
      from pg_constraint k
      where k.conrelid = partitioned_table and k.contype = 'f'
    ) t
  );
  v_default regclass := (
    select i.inhrelid
    from pg_inherits i
    join pg_class c on c.oid = i.inhrelid
    where i.inhparent = partitioned_table
      and pg_get_expr(c.relpartbound, c.oid) = 'DEFAULT'
  );
  v_tries integer := 0;
begin
  loop
    begin
      execute format('lock table %s in share row exclusive mode', v_tables);
      if v_default is not null then
        execute format('lock table only %s in access exclusive mode', v_default);
      end if;
      return;
    exception
      when lock_not_available or deadlock_detected then
        v_tries := v_tries + 1;
        if v_tries >= 50 then
          raise;
        end if;
        perform pg_sleep(0.05 + random() / 10);
    end;
  end loop;
end
$$;

comment on function private.lock_for_new_partition(partitioned_table regclass) is 'Locks a partitioned table, the tables it references and its default partition; tries for some seconds, then raises 55P03.';
revoke execute on function private.lock_for_new_partition(partitioned_table regclass) from public;

-- Returns the signed-in user's id and keeps the account from being deleted before the transaction ends; PL401 if no user is signed in.
create or replace function private.lock_own_account()
  returns uuid
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
begin
  perform from identity.users u where u.id = plinth.current_user_id() for key share;
  if not found then
    raise exception 'You must be signed in.' using errcode = 'PL401';
  end if;
  return plinth.current_user_id();
end
$$;

comment on function private.lock_own_account() is 'Returns the signed-in user''s id and keeps the account from being deleted before the transaction ends; PL401 if no user is signed in.';
revoke execute on function private.lock_own_account() from public;

-- Locks one person at one provider until the transaction ends.
create or replace function private.lock_provider_subject(provider text, provider_user_id text)
  returns void
  language sql
  set search_path to 'pg_catalog'
as $$
  select pg_advisory_xact_lock(
    hashtextextended(jsonb_build_array('oauth', lock_provider_subject.provider, lock_provider_subject.provider_user_id)::text, 0)
  )
$$;

comment on function private.lock_provider_subject(provider text, provider_user_id text) is 'Locks one person at one provider until the transaction ends.';
revoke execute on function private.lock_provider_subject(provider text, provider_user_id text) from public;

-- Locks a room until the transaction ends and returns it; PL404.
create or replace function private.lock_room(room_id uuid)
  returns rooms.chat_rooms
  language plpgsql
  set search_path to 'pg_catalog'
as $$
declare
  v_room rooms.chat_rooms;
begin
  select r.* into v_room from rooms.chat_rooms r where r.id = lock_room.room_id for no key update;
  if v_room.id is null then
    raise exception 'Room not found.' using errcode = 'PL404';
  end if;
  return v_room;
end
$$;

comment on function private.lock_room(room_id uuid) is 'Locks a room until the transaction ends and returns it; PL404.';
revoke execute on function private.lock_room(room_id uuid) from public;

-- Locks the room of a message and returns its id; PL404 for a message that the caller cannot see.
create or replace function private.lock_room_of_message(message_id uuid)
  returns uuid
  language plpgsql
  set search_path to 'pg_catalog'
as $$
declare
  v_user constant uuid := plinth.current_user_id();
  v_room_id uuid;
begin
  if v_user is null then
    raise exception 'You must be signed in.' using errcode = 'PL401';
  end if;
  select msg.room_id into v_room_id
  from rooms.room_messages msg
  join rooms.room_members m on m.room_id = msg.room_id and m.user_id = v_user
  where msg.id = lock_room_of_message.message_id;
  if v_room_id is not null then
    perform private.lock_accounts(array[v_user]);
    perform private.lock_room(v_room_id);
  end if;
  -- Checked again with current data.
  if not private.sees_message(lock_room_of_message.message_id, v_user) then
    raise exception 'Message not found.' using errcode = 'PL404';
  end if;
  return v_room_id;
end
$$;

comment on function private.lock_room_of_message(message_id uuid) is 'Locks the room of a message and returns its id; PL404 for a message that the caller cannot see.';
revoke execute on function private.lock_room_of_message(message_id uuid) from public;

-- Locks an account and returns its current subscription, brought up to date as of a time, or null. PL401, PL404.
create or replace function private.lock_subscriber(user_id uuid, at timestamp with time zone)
  returns billing.user_subscriptions
  language plpgsql
  set search_path to 'pg_catalog'
as $$
declare
  v_subscription billing.user_subscriptions;
begin
  if lock_subscriber.user_id is null then
    raise exception 'You must be signed in.' using errcode = 'PL401';
  end if;
  perform from identity.users u where u.id = lock_subscriber.user_id and u.is_active for no key update;
  if not found then
    raise exception 'Account not found.' using errcode = 'PL404', column = 'user_id';
  end if;
  perform private.advance_subscription(s.id, lock_subscriber.at)
  from billing.user_subscriptions s
  where s.user_id = lock_subscriber.user_id
    and s.due_at <= lock_subscriber.at;
  select s.* into v_subscription
  from billing.user_subscriptions s
  where s.user_id = lock_subscriber.user_id
    and s.status in ('trialing', 'active', 'past_due', 'paused');
  return v_subscription;
end
$$;

comment on function private.lock_subscriber(user_id uuid, at timestamp with time zone) is 'Locks an account and returns its current subscription, brought up to date as of a time, or null. PL401, PL404.';
revoke execute on function private.lock_subscriber(user_id uuid, at timestamp with time zone) from public;

-- Locks a user's ledger until the end of the transaction, with due holds expired and the month started; returns a time before which no open hold ends, null without one. PL404 for an unknown account.
create or replace function private.lock_usage(user_id uuid, at timestamp with time zone)
  returns timestamp with time zone
  language plpgsql
as $$
declare
  v_row billing.usage_tracking;
begin
  select t.* into v_row from billing.usage_tracking t where t.user_id = lock_usage.user_id for no key update;
  if not found then
    begin
      insert into billing.usage_tracking (user_id, last_reset)
      values (lock_usage.user_id, date_trunc('month', lock_usage.at, 'UTC'))
      on conflict on constraint usage_tracking_pkey do nothing;
    exception
      when foreign_key_violation or not_null_violation then
        raise exception 'Account not found.' using errcode = 'PL404', column = 'user_id';
    end;
    select t.* into strict v_row from billing.usage_tracking t where t.user_id = lock_usage.user_id for no key update;
  end if;
  if v_row.next_hold_expires_at <= lock_usage.at then
    v_row.next_hold_expires_at := private.expire_user_holds(
      lock_usage.user_id, v_row.next_hold_expires_at, lock_usage.at
    );
  end if;
  if v_row.last_reset < date_trunc('month', lock_usage.at, 'UTC') then
    update billing.usage_tracking t
    set token_count = 0, last_reset = date_trunc('month', lock_usage.at, 'UTC')
    where t.user_id = lock_usage.user_id;
  end if;
  return v_row.next_hold_expires_at;
end
$$;

comment on function private.lock_usage(user_id uuid, at timestamp with time zone) is 'Locks a user''s ledger until the end of the transaction, with due holds expired and the month started; returns a time before which no open hold ends, null without one. PL404 for an unknown account.';
revoke execute on function private.lock_usage(user_id uuid, at timestamp with time zone) from public;

-- Locks the counters of several users in one order before a caller notifies them, so that two callers do not deadlock.
create or replace function private.lock_user_counters(user_ids uuid[])
  returns void
  language sql
  set search_path to 'pg_catalog'
as $$
  select from rooms.user_event_counters c where c.user_id = any (lock_user_counters.user_ids) order by c.user_id for no key update
$$;

comment on function private.lock_user_counters(user_ids uuid[]) is 'Locks the counters of several users in one order before a caller notifies them, so that two callers do not deadlock.';
revoke execute on function private.lock_user_counters(user_ids uuid[]) from public;

-- Returns how long an account stays locked after this many wrong passwords in a row: 0, then 1 minute doubling up to 1 hour.
create or replace function private.lockout_duration(failed_attempts integer)
  returns interval
  language sql
  immutable parallel safe
as $$
  select case
    when failed_attempts < 5 then interval '0'
    else least(interval '1 hour', interval '1 minute' * power(2, least(failed_attempts - 5, 10)))
  end
$$;

comment on function private.lockout_duration(failed_attempts integer) is 'Returns how long an account stays locked after this many wrong passwords in a row: 0, then 1 minute doubling up to 1 hour.';
revoke execute on function private.lockout_duration(failed_attempts integer) from public;

-- Sets the similarity threshold of the search until the end of the transaction.
create or replace function private.look_for_similar_titles()
  returns void
  language plpgsql
  stable
  set search_path to 'pg_catalog'
as $$
begin
  perform plinth.word_similarity('', '');
  perform set_config('pg_trgm.word_similarity_threshold', '0.4', true);
end
$$;

comment on function private.look_for_similar_titles() is 'Sets the similarity threshold of the search until the end of the transaction.';
revoke execute on function private.look_for_similar_titles() from public;

-- Returns the names of the account and the context of the request, for mail texts.
create or replace function private.mail_variables(user_id uuid)
  returns jsonb
  language sql
  stable
  set search_path to 'pg_catalog'
as $$
  select jsonb_strip_nulls(jsonb_build_object(
    'username', u.username,
    'display_name', s.display_name,
    'locale', left(s.preferences ->> 'locale', 35),
    'occurred_at', to_char(now() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
    'ip_address', case when own.is_request then host(plinth.client_ip()) end,
    'user_agent', case when own.is_request then left(plinth.user_agent(), 300) end
  ))
  from identity.users u
  left join identity.user_settings s on s.user_id = u.id
  cross join lateral (select coalesce(plinth.current_user_id() = u.id, true) as is_request) own
  where u.id = mail_variables.user_id
$$;

comment on function private.mail_variables(user_id uuid) is 'Returns the names of the account and the context of the request, for mail texts.';
revoke execute on function private.mail_variables(user_id uuid) from public;

-- Returns user names that a text may mention: a row for each place, with the name there and its prefix at each full stop.
create or replace function private.mentioned_names(content text)
  returns table(names text[])
  language plpgsql
  immutable rows 5
  set search_path to 'pg_catalog'
as $$
declare
  -- Scripts written without spaces: Thai to Myanmar, Khmer, Chinese, Japanese, Korean.
  v_unspaced constant text := '\u0e00-\u109f\u1780-\u17ff\u2e80-\ua4cf\uac00-\ud7fb\uf900-\ufaff\uff66-\uffdc\U00020000-\U0003ffff';
  v_text text := private.text_without_code(content);
  v_part record;
  v_before text;
  v_name text;
begin
  v_text := regexp_replace(v_text, '[a-z][a-z0-9+.-]*://[^[:space:]<>]*', ' ', 'gi');
  -- Web addresses without https://.
  v_text := regexp_replace(v_text, '(^|[^[:alnum:]@.-])[[:alnum:]-]+(\.[[:alnum:]-]+)+/[^[:space:]<>]*', '\1 ', 'g');
  for v_part in
    select p.text, lag(p.text) over places as before, lead(p.text) over places as after, p.place
    from string_to_table(v_text, '@') with ordinality as p (text, place)
    window places as (order by p.place)
    offset 1
  loop
    -- The text between the last character that email addresses lack and this @.
    v_before := substring(right(v_part.before, 64) from '[[:alnum:]._%+-]*$');
    v_before := regexp_replace(v_before, '^.*[' || v_unspaced || ']', '');
    v_name := lower(substring(v_part.text from '^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}'));
    continue when v_name is null
      or v_before ~ '[[:alnum:]]'
      -- @@john, and @john@example.com, whose parts are not names.
      or (v_part.place > 2 and v_part.before = '')
      or (length(v_name) = length(v_part.text) and v_part.after ~ '^[[:alnum:]]')
      -- Another letter continues the name.
      or substr(v_part.text, length(v_name) + 1, 1) ~ ('^(?![' || v_unspaced || '])[[:alnum:]]$');
    names := array(
      select distinct n.name
      from regexp_split_to_array(v_name, '\.') as p (parts)
      cross join lateral generate_series(1, cardinality(p.parts)) as s (count)
      cross join lateral (select rtrim(array_to_string(p.parts[1:s.count], '.'), '._-') as name) n
      where n.name <> ''
    );
    return next;
  end loop;
end
$$;

comment on function private.mentioned_names(content text) is 'Returns user names that a text may mention: a row for each place, with the name there and its prefix at each full stop.';
revoke execute on function private.mentioned_names(content text) from public;

-- Merges one event's data of a refund or dispute and returns the payment with their sum; the order of calls makes no difference.
create or replace function private.merge_payment_reversal(payment_id uuid, event_order text, occurred_at timestamp with time zone, news jsonb)
  returns billing.payments
  language plpgsql
  set search_path to 'pg_catalog'
as $$
declare
  v_kind text := case news ->> 'kind' when 'refund' then 'refunded' when 'dispute' then 'disputed' else news ->> 'kind' end;
  v_payment billing.payments;
begin
  insert into private.payment_reversals as r (payment_id, kind, reversal_key, amount_cents, is_in_force, occurred_at, latest_order)
  values (
    merge_payment_reversal.payment_id, v_kind,
    coalesce(news ->> 'reversal', news ->> 'reference', news ->> 'payment'),
    coalesce((news ->> 'refunded')::bigint, 0),
    -- Events stored by an older version omit it.
    coalesce((news ->> 'in_force')::boolean, true),
    merge_payment_reversal.occurred_at, event_order
  )
  on conflict on constraint payment_reversals_pkey do update
  set
    amount_cents = case when excluded.latest_order collate "C" >= r.latest_order collate "C" then excluded.amount_cents else r.amount_cents end,
    is_in_force = case when excluded.latest_order collate "C" >= r.latest_order collate "C" then excluded.is_in_force else r.is_in_force end,
    occurred_at = least(r.occurred_at, excluded.occurred_at),
    latest_order = greatest(r.latest_order collate "C", excluded.latest_order collate "C");
  -- The event repeats data stored before ids were kept.
  delete from private.payment_reversals r
  where r.payment_id = merge_payment_reversal.payment_id
    and r.kind = v_kind
    and r.reversal_key = 'earlier';

  update billing.payments p
  set
    refunded_cents = least(greatest(s.refunded, 0), p.amount_cents),
    disputed_at = s.disputed_at
  from (
    select
      coalesce(sum(r.amount_cents) filter (where r.kind = 'refunded'), 0)
      -- A later state of the charge excludes the refunds that failed before it.
      - coalesce(
        sum(r.amount_cents) filter (
          where r.kind = 'refund_failed' and r.is_in_force and r.latest_order collate "C" > coalesce(c.latest_order, '') collate "C"
        ),
        0
      ) as refunded,
      min(r.occurred_at) filter (where r.kind = 'disputed' and r.is_in_force) as disputed_at
    from private.payment_reversals r
    cross join (
      select max(o.latest_order collate "C") as latest_order
      from private.payment_reversals o
      where o.payment_id = merge_payment_reversal.payment_id and o.kind = 'refunded'
    ) c
    where r.payment_id = merge_payment_reversal.payment_id
  ) s
  where p.id = merge_payment_reversal.payment_id
  returning p.* into strict v_payment;
  return v_payment;
end
$$;

comment on function private.merge_payment_reversal(payment_id uuid, event_order text, occurred_at timestamp with time zone, news jsonb) is 'Merges one event''s data of a refund or dispute and returns the payment with their sum; the order of calls makes no difference.';
revoke execute on function private.merge_payment_reversal(payment_id uuid, event_order text, occurred_at timestamp with time zone, news jsonb) from public;

-- Merges one event's data of an invoice or purchase into private.provider_invoices; the order of calls makes no difference.
create or replace function private.merge_provider_invoice(provider text, event_order text, news jsonb)
  returns void
  language sql
  set search_path to 'pg_catalog'
as $$
  insert into private.provider_invoices as i (
    provider, provider_payment_id, provider_subscription_id, lines, renews, amount_cents, paid_order, failed_order
  )
  select
    merge_provider_invoice.provider, coalesce(news ->> 'payment', news ->> 'subscription'), news ->> 'subscription',
    case
      when news ? 'lines' then jsonb_path_query_array(news -> 'lines', '$[*] ? (@.regular == true)')
      -- A purchase, or an event stored by an older version.
      when news ->> 'plan_id' is not null or news ->> 'period_end' is not null or (news ->> 'for_life')::boolean then
        jsonb_build_array(
          jsonb_strip_nulls(
            jsonb_build_object(
              'plan', news -> 'plan_id', 'price', news -> 'price', 'start', news -> 'period_start', 'end', news -> 'period_end'
            )
          )
        )
      else '[]'
    end,
    coalesce((news ->> 'renews')::boolean, news ->> 'status' = 'past_due', false),
    coalesce((news ->> 'amount')::bigint, 0),
    case when (news ->> 'paid')::boolean then event_order end,
    case when not (news ->> 'paid')::boolean then event_order end
  on conflict on constraint provider_invoices_pkey do update
  set
    lines = case when excluded.lines = '[]' then i.lines else excluded.lines end,
    renews = i.renews or excluded.renews,
    amount_cents = case
      when i.paid_order is not null and excluded.paid_order is null then i.amount_cents
      else excluded.amount_cents
    end,
    paid_order = least(i.paid_order collate "C", excluded.paid_order collate "C"),
    failed_order = greatest(i.failed_order collate "C", excluded.failed_order collate "C")
$$;

comment on function private.merge_provider_invoice(provider text, event_order text, news jsonb) is 'Merges one event''s data of an invoice or purchase into private.provider_invoices; the order of calls makes no difference.';
revoke execute on function private.merge_provider_invoice(provider text, event_order text, news jsonb) from public;

-- Merges one event's data of a subscription itself into private.provider_subscriptions; the order of calls makes no difference.
create or replace function private.merge_provider_subscription(provider text, provider_subscription_id text, event_order text, news jsonb)
  returns void
  language plpgsql
  set search_path to 'pg_catalog'
as $$
declare
  v_status text := case when news ->> 'kind' <> 'invoice' then news ->> 'status' end;
  v_order text collate "C" := case when v_status = 'canceled' then 'z' else '' end || event_order;
  v_object_order text collate "C" := case when news ->> 'kind' = 'subscription' then event_order end;
  -- Events stored by an older version name one item only.
  v_items jsonb := coalesce(
    news -> 'items',
    jsonb_build_array(
      jsonb_strip_nulls(
        jsonb_build_object('price', news -> 'price', 'start', news -> 'period_start', 'end', news -> 'period_end')
      )
    )
  );
begin
  insert into private.provider_subscriptions (provider, provider_subscription_id)
  values (merge_provider_subscription.provider, merge_provider_subscription.provider_subscription_id)
  on conflict on constraint provider_subscriptions_pkey do nothing;

  update private.provider_subscriptions m
  set
    provider_customer_id = coalesce(m.provider_customer_id, news ->> 'customer'),
    status = case when v_status is not null and v_order > coalesce(m.status_order, '') collate "C" then v_status else m.status end,
    status_order = case when v_status is not null then greatest(v_order, m.status_order collate "C") else m.status_order end,
    was_live = m.was_live or coalesce(v_status in ('trialing', 'active', 'past_due', 'paused'), false),
    started_at = least(m.started_at, to_timestamp((news ->> 'started_at')::double precision)),
    ended_at = least(m.ended_at, to_timestamp((news ->> 'ended_at')::double precision))
  where m.provider = merge_provider_subscription.provider
    and m.provider_subscription_id = merge_provider_subscription.provider_subscription_id;

  if v_object_order is null then
    return;
  end if;
  update private.provider_subscriptions m
  set
    price_history = (
      select coalesce(jsonb_object_agg(h.key, h.value), '{}')
      from (
        select e.key, e.value
        from jsonb_each(
          m.price_history
          || jsonb_build_object(v_object_order, jsonb_path_query_array(v_items, '$[*].price'))
        ) e
        order by e.key collate "C" desc
        limit 50
      ) h
    )
  where m.provider = merge_provider_subscription.provider
    and m.provider_subscription_id = merge_provider_subscription.provider_subscription_id;

  update private.provider_subscriptions m
  set
    items = v_items,
    cancel_at_period_end = coalesce((news ->> 'cancel_at_period_end')::boolean, false),
    cancel_at = to_timestamp((news ->> 'cancel_at')::double precision),
    trial_end = to_timestamp((news ->> 'trial_end')::double precision),
    object_order = v_object_order
  where m.provider = merge_provider_subscription.provider
    and m.provider_subscription_id = merge_provider_subscription.provider_subscription_id
    and v_object_order >= coalesce(m.object_order, '') collate "C";
end
$$;

comment on function private.merge_provider_subscription(provider text, provider_subscription_id text, event_order text, news jsonb) is 'Merges one event''s data of a subscription itself into private.provider_subscriptions; the order of calls makes no difference.';
revoke execute on function private.merge_provider_subscription(provider text, provider_subscription_id text, event_order text, news jsonb) from public;

-- Returns how long codes are refused after this many wrong ones in a row: 0, then 1 minute doubling up to 1 day.
create or replace function private.mfa_lockout_duration(failed_attempts integer)
  returns interval
  language sql
  immutable parallel safe
as $$
  select case
    when failed_attempts < 10 then interval '0'
    else least(interval '1 day', interval '1 minute' * power(2, least(failed_attempts - 10, 12)))
  end
$$;

comment on function private.mfa_lockout_duration(failed_attempts integer) is 'Returns how long codes are refused after this many wrong ones in a row: 0, then 1 minute doubling up to 1 day.';
revoke execute on function private.mfa_lockout_duration(failed_attempts integer) from public;

-- Makes a message the end of its chat's active path.
create or replace function private.move_head(user_id uuid, chat_id uuid, message_id uuid)
  returns void
  language sql
  set search_path to 'pg_catalog'
as $$
  update llm.chats c
  set head_id = head.id
  from (
    select case
      when move_head.message_id < llm.newest_message_id(move_head.user_id, move_head.chat_id) then move_head.message_id
    end as id
  ) as head
  where c.id = move_head.chat_id
    and c.user_id = move_head.user_id
    and c.head_id is distinct from head.id
$$;

comment on function private.move_head(user_id uuid, chat_id uuid, message_id uuid) is 'Makes a message the end of its chat''s active path.';
revoke execute on function private.move_head(user_id uuid, chat_id uuid, message_id uuid) from public;

-- Returns whether the request comes from a network the user allows.
create or replace function private.network_is_allowed(user_id uuid)
  returns boolean
  language sql
  stable
  set search_path to 'pg_catalog'
as $$
  select not exists (
    select
    from identity.user_security_settings s
    where s.user_id = network_is_allowed.user_id
      and s.allowed_networks is not null
      and not coalesce(plinth.client_ip() <<= any (s.allowed_networks), false)
  )
$$;

comment on function private.network_is_allowed(user_id uuid) is 'Returns whether the request comes from a network the user allows.';
revoke execute on function private.network_is_allowed(user_id uuid) from public;

-- Returns the coarse network of an address: /16 for IPv4, /32 for IPv6.
create or replace function private.network_of(address inet)
  returns cidr
  language sql
  immutable parallel safe
as $$
  select network(set_masklen(address, case family(address) when 4 then 16 else 32 end))::cidr
$$;

comment on function private.network_of(address inet) is 'Returns the coarse network of an address: /16 for IPv4, /32 for IPv6.';
revoke execute on function private.network_of(address inet) from public;

-- Returns the mail template that notifies an account's owner of an event of the audit log; null for other events.
create or replace function private.notification_of(event_type text, event_data jsonb)
  returns text
  language sql
  immutable
  set search_path to 'pg_catalog'
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

comment on function private.notification_of(event_type text, event_data jsonb) is 'Returns the mail template that notifies an account''s owner of an event of the audit log; null for other events.';
revoke execute on function private.notification_of(event_type text, event_data jsonb) from public;

-- Queues a notification when the account is signed in to with a new program or from a new network.
create or replace function private.notify_new_sign_in(user_id uuid)
  returns void
  language sql
  set search_path to 'pg_catalog'
as $$
  select private.notify_user(u.id, 'new-sign-in')
  from identity.users u
  where u.id = notify_new_sign_in.user_id
    and u.created_at < now()
    and not exists (
      select
      from identity.user_sessions s
      where s.user_id = u.id
        and s.created_at > now() - interval '90 days'
        and s.user_agent is not distinct from left(plinth.user_agent(), 1000)
        and (
          s.ip_address is not distinct from plinth.client_ip()
          or plinth.client_ip() <<= network(
            set_masklen(s.ip_address, case family(s.ip_address) when 4 then 24 else 64 end)
          )
        )
    )
$$;

comment on function private.notify_new_sign_in(user_id uuid) is 'Queues a notification when the account is signed in to with a new program or from a new network.';
revoke execute on function private.notify_new_sign_in(user_id uuid) from public;

-- Trigger: notifies every server of a revocation through NOTIFY plinth_revocation.
create or replace function private.notify_revocation()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
begin
  perform pg_notify('plinth_revocation', '');
  return null;
end
$$;

comment on function private.notify_revocation() is 'Trigger: notifies every server of a revocation through NOTIFY plinth_revocation.';
revoke execute on function private.notify_revocation() from public;

-- Queues a notification to the account's address; does nothing without an address.
create or replace function private.notify_user(user_id uuid, template text, variables jsonb default '{}'::jsonb)
  returns void
  language sql
  set search_path to 'pg_catalog'
as $$
  -- Materialized: the lock must precede the row that references it.
  with account as materialized (
    select u.id, u.email
    from identity.users u
    where u.id = notify_user.user_id
      and u.email is not null
      and u.account_status <> 'deleted'
    for key share skip locked
  )
  select private.queue_mail(a.id, a.email, notify_user.template, private.mail_variables(a.id) || coalesce(notify_user.variables, '{}'))
  from account a
$$;

comment on function private.notify_user(user_id uuid, template text, variables jsonb) is 'Queues a notification to the account''s address; does nothing without an address.';
revoke execute on function private.notify_user(user_id uuid, template text, variables jsonb) from public;

-- Trigger: numbers the event of a change of a room.
create or replace function private.number_room_change()
  returns trigger
  language plpgsql
  set search_path to 'pg_catalog'
as $$
begin
  new.last_event_sequence := old.last_event_sequence + 1;
  return new;
end
$$;

comment on function private.number_room_change() is 'Trigger: numbers the event of a change of a room.';
revoke execute on function private.number_room_change() from public;

-- Trigger: sets the numbers and time of a message, and announces it.
create or replace function private.number_room_message()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
begin
  update rooms.chat_rooms r
  set
    last_sequence = r.last_sequence + 1,
    last_event_sequence = r.last_event_sequence + 1,
    -- A message with an earlier time (imported) keeps it. No message precedes the last one, whatever its time and even if the
    -- clock was set back.
    last_activity_at = case
      when new.created_at < now() and r.last_sequence = 0 then new.created_at
      when new.created_at < now() then greatest(new.created_at, r.last_activity_at)
      else greatest(clock_timestamp(), r.last_activity_at)
    end
  where r.id = new.room_id
  returning r.last_sequence, r.last_event_sequence, r.last_activity_at
  into new.sequence, new.event_sequence, new.created_at;
  if not found then
    -- The foreign key will reject it.
    return new;
  end if;
  new.sender_sequence := 0;
  if new.sender_id is not null then
    new.sender_sequence := coalesce((
      select m.sender_sequence
      from rooms.room_messages m
      where m.sender_id = new.sender_id and m.room_id = new.room_id
      order by m.sequence desc
      limit 1
    ), 0) + (not new.is_private)::integer;
  end if;
  perform plinth.announce('room:' || new.room_id, new.event_sequence);
  return new;
end
$$;

comment on function private.number_room_message() is 'Trigger: sets the numbers and time of a message, and announces it.';
revoke execute on function private.number_room_message() from public;

-- Returns a plan that new subscriptions may choose; PL404 for any other.
create or replace function private.offered_plan(plan_id uuid)
  returns billing.subscription_plans
  language plpgsql
  stable
  set search_path to 'pg_catalog'
as $$
declare
  v_plan billing.subscription_plans;
begin
  select p.* into v_plan
  from billing.subscription_plans p
  where p.id = offered_plan.plan_id and p.is_active and p.superseded_at is null;
  if v_plan.id is null then
    raise exception 'This plan is not available.' using errcode = 'PL404', column = 'plan_id';
  end if;
  return v_plan;
end
$$;

comment on function private.offered_plan(plan_id uuid) is 'Returns a plan that new subscriptions may choose; PL404 for any other.';
revoke execute on function private.offered_plan(plan_id uuid) from public;

-- Returns the version of an item that is being played, its duration and type, and the time access was last decided; reason says why the caller may not play it, or is null.
create or replace function private.open_for_recording(item_id uuid, version integer, out reason text, out playable_version integer, out duration_seconds integer, out content_type text, out access_checked_at timestamp with time zone)
  returns record
  language plpgsql
  stable
  set search_path to 'pg_catalog'
as $$
#variable_conflict use_column
declare
  v_current_version integer;
  v_is_available boolean;
  v_has_access boolean;
begin
  select
    i.current_version, i.duration_seconds, i.content_type,
    i.available_from <= now() and (i.available_until is null or i.available_until > now()),
    p.access_checked_at
  into v_current_version, duration_seconds, content_type, v_is_available, access_checked_at
  from learning.content_items i
  left join learning.content_progress p on p.item_id = i.id and p.user_id = plinth.current_user_id()
  where i.id = open_for_recording.item_id;
  if v_current_version is null then
    reason := 'not_available';
    return;
  end if;
  if v_is_available is not true or access_checked_at is null
    or access_checked_at not between now() - interval '1 minute' and now()
  then
    select a.has_access, a.reason into v_has_access, reason
    from learning.my_content_access a
    where a.content_id = open_for_recording.item_id;
    if v_has_access is not true then
      reason := coalesce(reason, 'not_available');
      return;
    end if;
    reason := null;
    access_checked_at := now();
  end if;
  playable_version := coalesce(version, v_current_version);
  if playable_version <> v_current_version and not exists (
    select
    from learning.content_versions v
    where v.item_id = open_for_recording.item_id and v.version = open_for_recording.version and v.published_at is not null
  ) then
    reason := 'no_such_version';
  end if;
end
$$;

comment on function private.open_for_recording(item_id uuid, version integer, out reason text, out playable_version integer, out duration_seconds integer, out content_type text, out access_checked_at timestamp with time zone) is 'Returns the version of an item that is being played, its duration and type, and the time access was last decided; reason says why the caller may not play it, or is null.';
revoke execute on function private.open_for_recording(item_id uuid, version integer, out reason text, out playable_version integer, out duration_seconds integer, out content_type text, out access_checked_at timestamp with time zone) from public;

-- Creates a session and its first refresh token; returns both and the token version to sign with.
create or replace function private.open_session(user_id uuid, methods text[], refresh_token_hash bytea, device_name text)
  returns table(session_id uuid, token_version integer, refresh_expires_at timestamp with time zone)
  language plpgsql
  set search_path to 'pg_catalog'
as $$
#variable_conflict use_column
begin
  perform private.notify_new_sign_in(open_session.user_id);
  insert into identity.user_sessions (user_id, device_name, authentication_methods, ip_address, user_agent)
  values (
    open_session.user_id, open_session.device_name, open_session.methods, plinth.client_ip(), left(plinth.user_agent(), 1000)
  )
  returning id into session_id;
  select u.token_version into token_version from identity.users u where u.id = open_session.user_id;
  refresh_expires_at := private.issue_refresh_token(session_id, open_session.refresh_token_hash);
  perform private.record_security_event(
    'login_succeeded', open_session.user_id,
    jsonb_build_object('session_id', session_id, 'methods', to_jsonb(open_session.methods))
  );
  return next;
end
$$;

comment on function private.open_session(user_id uuid, methods text[], refresh_token_hash bytea, device_name text) is 'Creates a session and its first refresh token; returns both and the token version to sign with.';
revoke execute on function private.open_session(user_id uuid, methods text[], refresh_token_hash bytea, device_name text) from public;

-- Starts an answer of a model in a chat; the same key again returns the same one. PL402 when the user lacks the tokens, PL404 for an unknown chat, message or model, PL409 while another answer is under way and for a key used for another request.
create or replace function private.open_turn(user_id uuid, chat_id uuid, model_id uuid, parent_id uuid, max_tokens bigint, input_tokens bigint, idempotency_key text, lease_seconds integer, writer text)
  returns llm.messages
  language plpgsql
  set search_path to 'pg_catalog'
as $$
#variable_conflict use_column
declare
  v_head uuid;
  v_message llm.messages;
  v_running private.turns;
  v_hold_id uuid;
  v_digest constant bytea := private.request_digest(jsonb_build_array(
    'turn', open_turn.chat_id, open_turn.model_id, open_turn.parent_id, open_turn.max_tokens, open_turn.input_tokens,
    open_turn.lease_seconds, open_turn.writer
  ));
begin
  if open_turn.max_tokens between 1 and 1000000000 is not true then
    raise exception 'The number of tokens to hold must be from 1 to 10^9.' using errcode = 'PL422', column = 'max_tokens';
  end if;
  if open_turn.input_tokens between 0 and 1000000000 is not true then
    raise exception 'The number of input tokens must be from 0 to 10^9.' using errcode = 'PL422', column = 'input_tokens';
  end if;
  if open_turn.lease_seconds between 5 and 3600 is not true then
    raise exception 'A lease must last from 5 to 3600 seconds.' using errcode = 'PL422', column = 'lease_seconds';
  end if;
  if length(open_turn.idempotency_key) between 1 and 255 is false then
    raise exception 'An idempotency key must have 1 to 255 characters.' using errcode = 'PL422', column = 'idempotency_key';
  end if;
  -- The account before its rows, as everywhere: also because a new period's tokens may have to be granted.
  perform from identity.users u where u.id = open_turn.user_id for no key update;
  select c.head_id into v_head
  from llm.chats c
  where c.id = open_turn.chat_id and c.user_id = open_turn.user_id
  for no key update;
  if not found then
    raise exception 'Chat not found.' using errcode = 'PL404', column = 'chat_id';
  end if;

  select m.* into v_message
  from llm.messages m
  where m.user_id = open_turn.user_id and m.idempotency_key = open_turn.idempotency_key;
  if found then
    -- For a message that is older than the digests or was imported, the message itself is compared.
    perform private.refuse_other_request(coalesce(
      (select d.digest = v_digest from private.request_digests d where d.chat_message_id = v_message.id),
      v_message.chat_id = open_turn.chat_id
        and v_message.role = 'assistant'
        and v_message.model_id = open_turn.model_id
        and (open_turn.parent_id is null or v_message.parent_id is not distinct from open_turn.parent_id)
    ));
    return v_message;
  end if;

  select t.* into v_running
  from llm.messages m
  join private.turns t on t.message_id = m.id
  where m.chat_id = open_turn.chat_id and m.state = 'streaming';
  if found then
    if v_running.lease_expires_at > clock_timestamp() then
      raise exception 'An answer is under way in this chat.'
        using errcode = 'PL409', column = 'chat_id', detail = v_running.message_id::text,
          hint = 'Wait for it, or cancel it.';
    end if;
    v_message := private.end_turn(v_running.message_id, 'broken_off', 'expired');
  end if;

  if not private.can_user_use_model(open_turn.user_id, open_turn.model_id) then
    raise exception 'Model not found.' using errcode = 'PL404', column = 'model_id';
  end if;
  -- llm.place_message sets its place.
  insert into llm.messages (chat_id, user_id, parent_id, role, model_id, state, idempotency_key)
  values (
    open_turn.chat_id, open_turn.user_id, open_turn.parent_id, 'assistant', open_turn.model_id, 'streaming',
    open_turn.idempotency_key
  )
  returning * into v_message;
  if open_turn.idempotency_key is not null then
    insert into private.request_digests (user_id, chat_message_id, digest) values (v_message.user_id, v_message.id, v_digest);
  end if;
  -- Its end settles the hold long before that, if only through the job.
  select h.id into strict v_hold_id
  from private.reserve_tokens(
    open_turn.user_id, open_turn.model_id, open_turn.max_tokens, 'turn:' || v_message.id, interval '6 hours'
  ) h;
  insert into private.turns (
    message_id, user_id, chat_id, writer, lease, lease_expires_at, max_tokens, input_tokens, hold_id
  )
  values (
    v_message.id, v_message.user_id, v_message.chat_id, open_turn.writer, make_interval(secs => open_turn.lease_seconds),
    clock_timestamp() + make_interval(secs => open_turn.lease_seconds), open_turn.max_tokens, open_turn.input_tokens,
    v_hold_id
  );
  perform plinth.announce('turn:' || v_message.id, 0);
  return v_message;
end
$$;

comment on function private.open_turn(user_id uuid, chat_id uuid, model_id uuid, parent_id uuid, max_tokens bigint, input_tokens bigint, idempotency_key text, lease_seconds integer, writer text) is 'Starts an answer of a model in a chat; the same key again returns the same one. PL402 when the user lacks the tokens, PL404 for an unknown chat, message or model, PL409 while another answer is under way and for a key used for another request.';
revoke execute on function private.open_turn(user_id uuid, chat_id uuid, model_id uuid, parent_id uuid, max_tokens bigint, input_tokens bigint, idempotency_key text, lease_seconds integer, writer text) from public;

-- Pauses an active subscription; PL409 when it is not active, free, lifetime, or billed by a provider.
create or replace function private.pause_subscription(subscription_id uuid, at timestamp with time zone)
  returns billing.user_subscriptions
  language plpgsql
  set search_path to 'pg_catalog'
as $$
declare
  v_subscription billing.user_subscriptions;
begin
  select s.* into strict v_subscription
  from billing.user_subscriptions s
  where s.id = pause_subscription.subscription_id
  for update;
  if v_subscription.provider is not null
    or v_subscription.current_period_end is null
    or exists (select from billing.subscription_plans p where p.id = v_subscription.plan_id and p.price_cents = 0)
  then
    raise exception 'Only a paid period that no provider bills can be paused.' using errcode = 'PL409';
  end if;
  v_subscription := private.transition_subscription(v_subscription.id, 'paused', pause_subscription.at);
  if v_subscription.quota_granted_from = v_subscription.quota_period_start then
    perform private.close_plan_grant(
      v_subscription.user_id, v_subscription.id, pause_subscription.at, 9223372036854775807, null,
      format('pause:%s:%s', v_subscription.id, extract(epoch from pause_subscription.at))
    );
  end if;
  return v_subscription;
end
$$;

comment on function private.pause_subscription(subscription_id uuid, at timestamp with time zone) is 'Pauses an active subscription; PL409 when it is not active, free, lifetime, or billed by a provider.';
revoke execute on function private.pause_subscription(subscription_id uuid, at timestamp with time zone) from public;

-- Returns the plan of an event's payment and its period; null without one.
create or replace function private.payment_period(provider text, news jsonb)
  returns table(plan_id uuid, period_start timestamp with time zone, period_end timestamp with time zone)
  language sql
  stable
  set search_path to 'pg_catalog'
as $$
  select
    coalesce(
      (select sp.id from billing.subscription_plans sp where sp.id = (news ->> 'plan_id')::uuid),
      b.plan_id,
      case when news ? 'lines' then (select a.plan_id from private.plan_period(payment_period.provider, news -> 'lines') a) end
    ),
    case when news ? 'lines' then b.period_start else to_timestamp((news ->> 'period_start')::double precision) end,
    case when news ? 'lines' then b.period_end else to_timestamp((news ->> 'period_end')::double precision) end
  from (values (true)) one (row)
  left join lateral private.plan_period(
    payment_period.provider,
    case
      when news ? 'lines' then jsonb_path_query_array(news -> 'lines', '$[*] ? (@.regular == true)')
      else jsonb_build_array(jsonb_build_object('price', news -> 'price'))
    end
  ) b on true
$$;

comment on function private.payment_period(provider text, news jsonb) is 'Returns the plan of an event''s payment and its period; null without one.';
revoke execute on function private.payment_period(provider text, news jsonb) from public;

-- Trigger: sets the start of a new member's history and the read mark.
create or replace function private.place_room_member()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
begin
  select r.last_sequence, case when r.history_is_shared then 0 else r.last_event_sequence end
  into new.last_read_sequence, new.visible_after
  from rooms.chat_rooms r
  where r.id = new.room_id
  for no key update;
  -- Without a room the foreign key rejects the row.
  new.last_read_sequence := coalesce(new.last_read_sequence, 0);
  new.visible_after := coalesce(new.visible_after, 0);
  return new;
end
$$;

comment on function private.place_room_member() is 'Trigger: sets the start of a new member''s history and the read mark.';
revoke execute on function private.place_room_member() from public;

-- Adds a heartbeat to its session, joining or creating sessions; returns the created_at of that session.
create or replace function private.place_session(user_id uuid, item_id uuid, version integer, covered int4multirange, stretch int4multirange, active_seconds integer, began_at timestamp with time zone, occurred_at timestamp with time zone)
  returns timestamp with time zone
  language plpgsql
  set search_path to 'pg_catalog'
as $$
#variable_conflict use_column
declare
  v_gap constant interval := '30 minutes';
  v_keys timestamptz[];
  v_key timestamptz;
  v_others record;
begin
  v_keys := array(
    select c.created_at
    from learning.content_consumption c
    where c.user_id = place_session.user_id
      and c.item_id = place_session.item_id
      and c.version = place_session.version
      and c.created_at >= now() - interval '40 days'
      and c.started_at <= place_session.occurred_at + v_gap
      and c.last_activity_at >= place_session.began_at - v_gap
    order by c.created_at
  );
  if v_keys = '{}' then
    insert into learning.content_consumption (
      user_id, item_id, version, started_at, last_activity_at, active_seconds, heartbeat_count, covered, active, created_at
    )
    values (
      place_session.user_id, place_session.item_id, place_session.version, place_session.began_at,
      place_session.occurred_at, place_session.active_seconds, 1, place_session.covered, place_session.stretch,
      clock_timestamp()
    )
    returning created_at into v_key;
    return v_key;
  end if;

  with taken_in as (
    delete from learning.content_consumption c
    where c.user_id = place_session.user_id
      and c.item_id = place_session.item_id
      and c.created_at = any (v_keys[2:])
    returning c.*
  )
  select
    min(t.started_at) as started_at, max(t.last_activity_at) as last_activity_at,
    coalesce(sum(t.active_seconds), 0) as active_seconds, coalesce(sum(t.heartbeat_count), 0) as heartbeat_count,
    coalesce(range_agg(t.covered), '{}') as covered, coalesce(range_agg(t.active), '{}') as active
  into v_others
  from taken_in t;
  update learning.content_consumption c
  set started_at = least(c.started_at, v_others.started_at, place_session.began_at),
    last_activity_at = greatest(c.last_activity_at, v_others.last_activity_at, place_session.occurred_at),
    -- Sessions are half an hour apart, so their seconds do not overlap.
    active_seconds = c.active_seconds + v_others.active_seconds
      + private.added_seconds(c.active + v_others.active, place_session.stretch, place_session.active_seconds),
    active = private.bounded_stretches(c.active + v_others.active + place_session.stretch),
    heartbeat_count = c.heartbeat_count + v_others.heartbeat_count + 1,
    covered = c.covered + v_others.covered + place_session.covered
  where c.user_id = place_session.user_id and c.item_id = place_session.item_id and c.created_at = v_keys[1];
  return v_keys[1];
end
$$;

comment on function private.place_session(user_id uuid, item_id uuid, version integer, covered int4multirange, stretch int4multirange, active_seconds integer, began_at timestamp with time zone, occurred_at timestamp with time zone) is 'Adds a heartbeat to its session, joining or creating sessions; returns the created_at of that session.';
revoke execute on function private.place_session(user_id uuid, item_id uuid, version integer, covered int4multirange, stretch int4multirange, active_seconds integer, began_at timestamp with time zone, occurred_at timestamp with time zone) from public;

-- Returns the plan, its price and its period among items or lines of a provider; no row when no price there sells a plan.
create or replace function private.plan_period(provider text, lines jsonb)
  returns table(plan_id uuid, provider_price_id text, period_start timestamp with time zone, period_end timestamp with time zone)
  language sql
  stable
  set search_path to 'pg_catalog'
as $$
  select
    p.id,
    l.line ->> 'price',
    to_timestamp((l.line ->> 'start')::double precision),
    to_timestamp((l.line ->> 'end')::double precision)
  from jsonb_array_elements(lines) l (line)
  join billing.subscription_plans p
    on p.id = coalesce(
      (l.line ->> 'plan')::uuid,
      (
        select pp.plan_id
        from billing.plan_prices pp
        where pp.provider = plan_period.provider and pp.provider_price_id = l.line ->> 'price'
      )
    )
  order by p.access_level desc, p.price_cents desc, (l.line ->> 'end')::double precision desc nulls first, p.id
  limit 1
$$;

comment on function private.plan_period(provider text, lines jsonb) is 'Returns the plan, its price and its period among items or lines of a provider; no row when no price there sells a plan.';
revoke execute on function private.plan_period(provider text, lines jsonb) from public;

-- Returns the plans of a subscription's quota period in order, with their start times.
create or replace function private.plans_of_period(subscription billing.user_subscriptions)
  returns table(plan_id uuid, began_at timestamp with time zone)
  language sql
  stable
  set search_path to 'pg_catalog'
as $$
  with told as (
    select
      to_timestamp(split_part(h.key, '.', 1)::double precision) as began_at,
      h.key collate "C" as rank,
      b.plan_id,
      m.paid_plan_id
    from private.provider_subscriptions m
    cross join lateral jsonb_each(m.price_history) h
    cross join lateral private.plan_period(
      m.provider,
      (select coalesce(jsonb_agg(jsonb_build_object('price', p.price)), '[]') from jsonb_array_elements(h.value) p (price))
    ) b
    where m.provider = subscription.provider and m.provider_subscription_id = subscription.provider_subscription_id
  ),
  steps as (
    -- The plan that was paid, or that the period began with.
    (
      select coalesce(t.paid_plan_id, t.plan_id) as plan_id, '-infinity'::timestamptz as began_at, '' collate "C" as rank
      from told t
      order by t.began_at <= subscription.quota_period_start desc,
        case when t.began_at <= subscription.quota_period_start then t.rank end desc, t.rank
      limit 1
    )
    union all
    select t.plan_id, t.began_at, t.rank
    from told t
    where t.began_at > subscription.quota_period_start and t.began_at < subscription.quota_period_end
    union all
    select c.to_plan_id, c.effective_at, c.id::text
    from billing.subscription_changes c
    where subscription.provider is null
      and c.subscription_id = subscription.id
      and c.from_plan_id <> c.to_plan_id
      and c.effective_at >= subscription.quota_period_start
      and c.effective_at < subscription.quota_period_end
  )
  select s.plan_id, greatest(s.began_at, subscription.quota_period_start) from steps s order by s.rank
$$;

comment on function private.plans_of_period(subscription billing.user_subscriptions) is 'Returns the plans of a subscription''s quota period in order, with their start times.';
revoke execute on function private.plans_of_period(subscription billing.user_subscriptions) from public;

-- Posts an answer of the room's AI; with recipients, to them only. With token counts it records the model's usage on the account of the sender it replies to, else of the room's creator, unless billed_user_id names another. The same idempotency key returns the same message. PL403 where no AI is a member, PL409 when the audience has changed since the context was read or the key was used for another message, PL404, PL422.
create or replace function private.post_ai_message(room_id uuid, content text, reply_to_id uuid default null::uuid, mentions uuid[] default null::uuid[], recipients uuid[] default null::uuid[], metadata jsonb default null::jsonb, audience_version bigint default null::bigint, idempotency_key uuid default null::uuid, model_id uuid default null::uuid, input_tokens bigint default null::bigint, output_tokens bigint default null::bigint, cached_input_tokens bigint default 0, reasoning_tokens bigint default 0, billed_user_id uuid default null::uuid)
  returns rooms.room_messages
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
declare
  v_room rooms.chat_rooms;
  v_message rooms.room_messages;
  v_recipients uuid[] := case
    when post_ai_message.recipients is not null
    then array(select distinct r from unnest(post_ai_message.recipients) r order by r)
  end;
  v_mentions uuid[];
  v_billed_user_id uuid;
  -- Without the audience version, which is a condition and not part of the answer.
  v_digest constant bytea := private.request_digest(jsonb_build_array(
    post_ai_message.content, post_ai_message.reply_to_id, post_ai_message.mentions, post_ai_message.recipients,
    coalesce(post_ai_message.metadata, '{}'), post_ai_message.model_id, post_ai_message.input_tokens,
    post_ai_message.output_tokens, post_ai_message.cached_input_tokens, post_ai_message.reasoning_tokens,
    post_ai_message.billed_user_id
  ));
begin
  -- Before anything that may have changed since: a user who has left the room may have been mentioned.
  v_message := private.find_keyed_room_message(
    post_ai_message.room_id, null, post_ai_message.idempotency_key, post_ai_message.content, v_digest
  );
  if v_message.id is not null then
    return v_message;
  end if;
  v_mentions := private.find_mentions(
    post_ai_message.room_id, null, content, post_ai_message.mentions, v_recipients
  );
  if cardinality(v_recipients) not between 1 and 50 then
    raise exception 'A private message has 1 to 50 recipients.' using errcode = 'PL422', column = 'recipients';
  end if;
  if coalesce(post_ai_message.input_tokens, post_ai_message.output_tokens) is not null then
    v_billed_user_id := coalesce(
      post_ai_message.billed_user_id,
      (
        select m.sender_id
        from rooms.room_messages m
        where m.id = post_ai_message.reply_to_id and m.room_id = post_ai_message.room_id
      ),
      (select r.creator_id from rooms.chat_rooms r where r.id = post_ai_message.room_id)
    );
    -- The account before the room, as everywhere.
    perform from identity.users u where u.id = v_billed_user_id for no key update;
  end if;
  perform private.lock_accounts(v_mentions || v_recipients);
  v_room := private.lock_room(post_ai_message.room_id);
  if not exists (select from rooms.room_members m where m.room_id = v_room.id and m.role = 'ai') then
    raise exception 'No AI is a member of this room.' using errcode = 'PL403';
  end if;
  v_message := private.find_keyed_room_message(
    v_room.id, null, post_ai_message.idempotency_key, post_ai_message.content, v_digest
  );
  if v_message.id is not null then
    return v_message;
  end if;
  -- A private answer goes to the recipients named when the context was read, whoever has joined since.
  if v_recipients is null and post_ai_message.audience_version <> v_room.audience_version then
    raise exception 'The audience of the answer has changed; read the context again.' using errcode = 'PL409';
  end if;
  if content is null or content = '' then
    raise exception 'A message cannot be empty.' using errcode = 'PL422', column = 'content';
  elsif post_ai_message.reply_to_id is not null then
    perform private.require_reply(v_room.id, null, post_ai_message.reply_to_id, v_recipients is not null);
  end if;
  insert into rooms.room_messages as m (
    room_id, sender_id, sender_type, content, reply_to_id, metadata, is_private, idempotency_key
  )
  values (
    v_room.id, null, 'ai', post_ai_message.content, post_ai_message.reply_to_id, coalesce(post_ai_message.metadata, '{}'),
    v_recipients is not null, post_ai_message.idempotency_key
  )
  returning m.* into v_message;
  if post_ai_message.idempotency_key is not null then
    insert into private.request_digests (room_message_id, digest) values (v_message.id, v_digest);
  end if;
  perform private.address_message(v_message, v_recipients, v_mentions);
  if v_billed_user_id is not null then
    perform private.record_usage(
      v_billed_user_id, post_ai_message.model_id, coalesce(post_ai_message.input_tokens, 0),
      coalesce(post_ai_message.output_tokens, 0), 'room:' || v_message.id, post_ai_message.cached_input_tokens,
      post_ai_message.reasoning_tokens
    );
  end if;
  return v_message;
end
$$;

comment on function private.post_ai_message(room_id uuid, content text, reply_to_id uuid, mentions uuid[], recipients uuid[], metadata jsonb, audience_version bigint, idempotency_key uuid, model_id uuid, input_tokens bigint, output_tokens bigint, cached_input_tokens bigint, reasoning_tokens bigint, billed_user_id uuid) is 'Posts an answer of the room''s AI; with recipients, to them only. With token counts it records the model''s usage on the account of the sender it replies to, else of the room''s creator, unless billed_user_id names another. The same idempotency key returns the same message. PL403 where no AI is a member, PL409 when the audience has changed since the context was read or the key was used for another message, PL404, PL422.';
revoke execute on function private.post_ai_message(room_id uuid, content text, reply_to_id uuid, mentions uuid[], recipients uuid[], metadata jsonb, audience_version bigint, idempotency_key uuid, model_id uuid, input_tokens bigint, output_tokens bigint, cached_input_tokens bigint, reasoning_tokens bigint, billed_user_id uuid) from public;
grant execute on function private.post_ai_message(room_id uuid, content text, reply_to_id uuid, mentions uuid[], recipients uuid[], metadata jsonb, audience_version bigint, idempotency_key uuid, model_id uuid, input_tokens bigint, output_tokens bigint, cached_input_tokens bigint, reasoning_tokens bigint, billed_user_id uuid) to :PLINTH_SERVICE;

-- Prices an event, adds it and updates the totals; returns it as stored. The caller has locked the user's ledger.
create or replace function private.post_usage_event(event billing.usage_events)
  returns billing.usage_events
  language plpgsql
as $$
declare
  v_day date := (event.occurred_at at time zone 'UTC')::date;
  v_price record;
begin
  event.currency := 'USD';
  event.total_tokens := event.input_tokens + event.output_tokens;
  event.charged_tokens := event.total_tokens - event.overdraft_tokens;
  if event.kind = 'usage' then
    -- Same as llm.models_price, with the index that is cheap to read.
    select
      p.id,
      p.input_price_per_million_tokens as input,
      p.output_price_per_million_tokens as output,
      coalesce(p.cached_input_price_per_million_tokens, p.input_price_per_million_tokens) as cached_input,
      coalesce(p.reasoning_price_per_million_tokens, p.output_price_per_million_tokens) as reasoning
    into v_price
    from billing.model_prices p
    where p.model_id = event.model_id
      and p.currency = event.currency
      and (p.effective_from is null or p.effective_from <= event.occurred_at)
      and (p.effective_to is null or p.effective_to > event.occurred_at);
    event.is_priced := found;
    event.price_id := v_price.id;
    event.input_price_per_million_tokens := v_price.input;
    event.output_price_per_million_tokens := v_price.output;
    event.cached_input_price_per_million_tokens := v_price.cached_input;
    event.reasoning_price_per_million_tokens := v_price.reasoning;
  end if;
  -- Multiplied, not divided: a product of numerics is exact.
  event.cost := 0.000001 * (
    (event.input_tokens - event.cached_input_tokens) * event.input_price_per_million_tokens
    + event.cached_input_tokens * event.cached_input_price_per_million_tokens
    + (event.output_tokens - event.reasoning_tokens) * event.output_price_per_million_tokens
    + event.reasoning_tokens * event.reasoning_price_per_million_tokens
  );

  insert into billing.usage_events values (event.*);
  update billing.usage_tracking t
  set
    token_count = t.token_count + case when event.occurred_at >= t.last_reset then event.total_tokens else 0 end,
    lifetime_tokens = t.lifetime_tokens + event.total_tokens
  where t.user_id = event.user_id;
  update billing.daily_usage d
  set
    requests = d.requests + (event.kind = 'usage')::integer,
    input_tokens = d.input_tokens + event.input_tokens,
    output_tokens = d.output_tokens + event.output_tokens,
    cached_input_tokens = d.cached_input_tokens + event.cached_input_tokens,
    reasoning_tokens = d.reasoning_tokens + event.reasoning_tokens,
    total_tokens = d.total_tokens + event.total_tokens,
    overdraft_tokens = d.overdraft_tokens + event.overdraft_tokens,
    unpriced_tokens = d.unpriced_tokens + case when event.is_priced then 0 else event.total_tokens end,
    self_reported_tokens = d.self_reported_tokens
      + case when event.source = 'self_reported' then event.total_tokens else 0 end,
    cost = d.cost + coalesce(event.cost, 0)
  where d.user_id = event.user_id
    and d.day = v_day
    and (d.model_id = event.model_id or (d.model_id is null and event.model_id is null));
  if not found then
    -- First of the day. No other transaction can be creating it, because it would need the user's lock.
    insert into billing.daily_usage (
      user_id, model_id, day, requests, input_tokens, output_tokens, cached_input_tokens, reasoning_tokens, total_tokens,
      overdraft_tokens, unpriced_tokens, self_reported_tokens, cost
    )
    values (
      event.user_id, event.model_id, v_day, (event.kind = 'usage')::integer, event.input_tokens, event.output_tokens,
      event.cached_input_tokens, event.reasoning_tokens, event.total_tokens, event.overdraft_tokens,
      case when event.is_priced then 0 else event.total_tokens end,
      case when event.source = 'self_reported' then event.total_tokens else 0 end,
      coalesce(event.cost, 0)
    );
  end if;
  return event;
end
$$;

comment on function private.post_usage_event(event billing.usage_events) is 'Prices an event, adds it and updates the totals; returns it as stored. The caller has locked the user''s ledger.';
revoke execute on function private.post_usage_event(event billing.usage_events) from public;

-- Returns how many undeleted public messages a sender posted in a room after a watermark.
create or replace function private.posted_in_room_after(room_id uuid, sender_id uuid, watermark bigint)
  returns bigint
  language plpgsql
  stable
  set search_path to 'pg_catalog'
as $$
begin
  return
    coalesce((
      select msg.sender_sequence
      from rooms.room_messages msg
      where msg.sender_id = posted_in_room_after.sender_id and msg.room_id = posted_in_room_after.room_id
      order by msg.sequence desc
      limit 1
    ), 0)
    - coalesce((
      select msg.sender_sequence
      from rooms.room_messages msg
      where msg.sender_id = posted_in_room_after.sender_id
        and msg.room_id = posted_in_room_after.room_id
        and msg.sequence <= posted_in_room_after.watermark
      order by msg.sequence desc
      limit 1
    ), 0)
    - private.counted_in_room_after(
      posted_in_room_after.room_id, 'deleted', posted_in_room_after.sender_id, posted_in_room_after.watermark
    );
end
$$;

comment on function private.posted_in_room_after(room_id uuid, sender_id uuid, watermark bigint) is 'Returns how many undeleted public messages a sender posted in a room after a watermark.';
revoke execute on function private.posted_in_room_after(room_id uuid, sender_id uuid, watermark bigint) from public;

-- Returns the data that a provider needs to sell a plan to the signed-in user. PL401, PL404, PL409 when the plan is not sold or the user already pays.
create or replace function private.prepare_checkout(plan_id uuid, provider text)
  returns table(user_id uuid, email text, provider_customer_id text, provider_price_id text, billing_cycle text, trial_days integer)
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
declare
  v_user identity.users;
  v_plan billing.subscription_plans;
  v_price_id text;
begin
  select u.* into v_user from identity.users u where u.id = plinth.current_user_id() and u.is_active;
  if v_user.id is null then
    raise exception 'You must be signed in.' using errcode = 'PL401';
  end if;
  select p.* into v_plan
  from billing.subscription_plans p
  where p.id = prepare_checkout.plan_id and p.is_active and p.superseded_at is null;
  if v_plan.id is null then
    raise exception 'This plan is not available.' using errcode = 'PL404', column = 'plan_id';
  end if;
  v_price_id := (
    select pp.provider_price_id
    from billing.plan_prices pp
    where pp.plan_id = v_plan.id and pp.provider = prepare_checkout.provider
    order by pp.created_at desc, pp.provider_price_id
    limit 1
  );
  if v_plan.price_cents = 0 or v_price_id is null then
    raise exception 'The plan is not sold there.' using errcode = 'PL409', column = 'plan_id';
  end if;
  if exists (
    select
    from billing.user_subscriptions s
    join billing.subscription_plans p on p.id = s.plan_id
    where s.user_id = v_user.id
      and s.status in ('trialing', 'active', 'past_due', 'paused')
      and p.price_cents > 0
      and (s.provider is not null or s.status in ('active', 'paused'))
  ) then
    raise exception 'You already have a paid subscription.'
      using errcode = 'PL409', hint = 'Change it where it is billed: createBillingPortal.';
  end if;
  return query
  select
    v_user.id,
    v_user.email,
    (
      select c.provider_customer_id
      from billing.provider_customers c
      where c.user_id = v_user.id and c.provider = prepare_checkout.provider
      order by c.created_at desc, c.provider_customer_id
      limit 1
    ),
    v_price_id,
    v_plan.billing_cycle,
    case
      when v_plan.billing_cycle = 'lifetime'
        or exists (
          select
          from billing.user_subscriptions s
          where s.user_id = v_user.id and s.trial_end is not null
        )
      then 0
      else v_plan.trial_days
    end;
end
$$;

comment on function private.prepare_checkout(plan_id uuid, provider text) is 'Returns the data that a provider needs to sell a plan to the signed-in user. PL401, PL404, PL409 when the plan is not sold or the user already pays.';
revoke execute on function private.prepare_checkout(plan_id uuid, provider text) from public;
grant execute on function private.prepare_checkout(plan_id uuid, provider text) to :PLINTH_SERVICE;

-- Processes one event of the inbox, once, and then the events of the same customer that waited for it; returns its outcome.
create or replace function private.process_payment_event(event_id uuid)
  returns text
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
declare
  v_event private.payment_events;
  v_waiting private.payment_events;
  v_outcome text;
  v_progress boolean;
begin
  select e.* into v_event from private.payment_events e where e.id = process_payment_event.event_id for update;
  if v_event.id is null or v_event.processed_at is not null then
    return v_event.outcome;
  end if;
  v_outcome := private.settle_payment_event(v_event);
  if v_outcome not in ('applied', 'ignored') then
    return v_outcome;
  end if;
  loop
    v_progress := false;
    for v_waiting in
      select e.*
      from private.payment_events e
      where e.processed_at is null
        and e.provider = v_event.provider
        and e.attempts > 0
        and (e.provider_customer_id = v_event.provider_customer_id or e.provider_customer_id is null)
      order by e.occurred_at, e.provider_event_id
      limit 50
      for update skip locked
    loop
      v_progress := private.settle_payment_event(v_waiting) in ('applied', 'ignored') or v_progress;
    end loop;
    exit when not v_progress;
  end loop;
  return v_outcome;
end
$$;

comment on function private.process_payment_event(event_id uuid) is 'Processes one event of the inbox, once, and then the events of the same customer that waited for it; returns its outcome.';
revoke execute on function private.process_payment_event(event_id uuid) from public;
grant execute on function private.process_payment_event(event_id uuid) to :PLINTH_SERVICE;

-- Processes up to batch_size events that a server left behind or that wait; returns the number of attempts.
create or replace function private.process_payment_events(batch_size integer default 50)
  returns integer
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
declare
  v_event private.payment_events;
  v_handled integer := 0;
begin
  if batch_size is null or batch_size not between 1 and 100000 then
    raise exception 'batch_size must be from 1 to 100000.' using errcode = 'PL422';
  end if;
  for v_event in
    select e.*
    from private.payment_events e
    where e.processed_at is null and e.next_attempt_at <= now()
    order by e.occurred_at, e.provider_event_id
    limit batch_size
    for update skip locked
  loop
    perform private.process_payment_event(v_event.id);
    v_handled := v_handled + 1;
  end loop;
  return v_handled;
end
$$;

comment on function private.process_payment_events(batch_size integer) is 'Processes up to batch_size events that a server left behind or that wait; returns the number of attempts.';
revoke execute on function private.process_payment_events(batch_size integer) from public;
grant execute on function private.process_payment_events(batch_size integer) to :PLINTH_WORKER;

-- Returns credit (zero or negative) and charge in cents for a plan change at a moment of a period; both zero without a period.
create or replace function private.proration(old_price_cents bigint, new_price_cents bigint, period_start timestamp with time zone, period_end timestamp with time zone, at timestamp with time zone)
  returns table(period_seconds bigint, unused_seconds bigint, credit_cents bigint, charge_cents bigint)
  language sql
  immutable
  set search_path to 'pg_catalog'
as $$
  with parts as (
    select
      greatest(floor(extract(epoch from period_end)) - floor(extract(epoch from period_start)), 0) as whole,
      floor(extract(epoch from period_end)) - floor(extract(epoch from proration.at)) as remaining
  ),
  clamped as (
    select p.whole, least(greatest(p.remaining, 0), p.whole) as unused from parts p
  )
  select
    coalesce(c.whole, 0)::bigint,
    coalesce(c.unused, 0)::bigint,
    case when c.whole > 0 then -div(old_price_cents * c.unused * 2 + c.whole, c.whole * 2) else 0 end::bigint,
    case when c.whole > 0 then div(new_price_cents * c.unused * 2 + c.whole, c.whole * 2) else 0 end::bigint
  from clamped c
$$;

comment on function private.proration(old_price_cents bigint, new_price_cents bigint, period_start timestamp with time zone, period_end timestamp with time zone, at timestamp with time zone) is 'Returns credit (zero or negative) and charge in cents for a plan change at a moment of a period; both zero without a period.';
revoke execute on function private.proration(old_price_cents bigint, new_price_cents bigint, period_start timestamp with time zone, period_end timestamp with time zone, at timestamp with time zone) from public;

-- Queues one mail in the caller's transaction; the worker sends it within seconds.
create or replace function private.queue_mail(user_id uuid, to_address text, template text, variables jsonb, channel text default 'email'::text, expires_at timestamp with time zone default null::timestamp with time zone)
  returns void
  language sql
  set search_path to 'pg_catalog'
as $$
  insert into private.mail_outbox (user_id, to_address, template, variables, channel, expires_at)
  values (
    queue_mail.user_id, queue_mail.to_address, queue_mail.template, coalesce(queue_mail.variables, '{}'),
    queue_mail.channel, queue_mail.expires_at
  )
$$;

comment on function private.queue_mail(user_id uuid, to_address text, template text, variables jsonb, channel text, expires_at timestamp with time zone) is 'Queues one mail in the caller''s transaction; the worker sends it within seconds.';
revoke execute on function private.queue_mail(user_id uuid, to_address text, template text, variables jsonb, channel text, expires_at timestamp with time zone) from public;

-- Returns the tokens due for a period whose plan changed: quotas in order, and the seconds left of the period at the start of each. Switching back and forth neither gains nor loses tokens.
create or replace function private.quota_of_walk(quotas bigint[], unused_seconds bigint[], period_seconds bigint)
  returns bigint
  language plpgsql
  immutable
  set search_path to 'pg_catalog'
as $$
declare
  -- More than any plan grants.
  c_unlimited constant bigint := 2000000000000000;
  v_first bigint := coalesce(quotas[1], 0);
  v_steps bigint[] := array[v_first];
  v_lefts bigint[] := array[period_seconds];
  v_quota bigint;
  v_left bigint;
  v_gone_left bigint;
  v_sum bigint;
  v_most bigint := v_first;
begin
  for i in 2..cardinality(quotas) loop
    v_quota := coalesce(quotas[i], c_unlimited);
    v_left := least(greatest(unused_seconds[i], 0), v_lefts[cardinality(v_lefts)]);
    v_gone_left := null;
    while v_steps[cardinality(v_steps)] > v_quota loop
      v_gone_left := v_lefts[cardinality(v_lefts)];
      v_steps := trim_array(v_steps, 1);
      v_lefts := trim_array(v_lefts, 1);
      exit when cardinality(v_steps) = 0;
    end loop;
    if cardinality(v_steps) = 0 or v_steps[cardinality(v_steps)] < v_quota then
      -- A downgrade to between two steps counts as if the higher step had led there.
      v_steps := v_steps || v_quota;
      v_lefts := v_lefts || coalesce(v_gone_left, v_left);
    end if;
    continue when quotas[i] is null;
    v_sum := v_steps[1];
    for k in 2..cardinality(v_steps) loop
      v_sum := v_sum + div(v_steps[k]::numeric * v_lefts[k], period_seconds)
        - div(v_steps[k - 1]::numeric * v_lefts[k], period_seconds);
    end loop;
    v_most := greatest(
      v_most, v_sum,
      v_first + div(v_quota::numeric * v_left, period_seconds) - div(v_first::numeric * v_left, period_seconds)
    );
  end loop;
  return v_most;
end
$$;

comment on function private.quota_of_walk(quotas bigint[], unused_seconds bigint[], period_seconds bigint) is 'Returns the tokens due for a period whose plan changed: quotas in order, and the seconds left of the period at the start of each. Switching back and forth neither gains nor loses tokens.';
revoke execute on function private.quota_of_walk(quotas bigint[], unused_seconds bigint[], period_seconds bigint) from public;

-- Returns one part of an export of the signed-in user; null if it does not exist.
create or replace function private.read_data_export_part(export_id uuid, part_number integer)
  returns text
  language sql
  stable security definer
  set search_path to 'pg_catalog'
as $$
  select p.content
  from private.data_export_parts p
  join identity.data_exports e on e.id = p.export_id and e.user_id = p.user_id
  where p.export_id = read_data_export_part.export_id
    and p.user_id = plinth.current_user_id()
    and p.part_number = read_data_export_part.part_number
    and plinth.current_api_token_id() is null
    and e.status = 'ready'
$$;

comment on function private.read_data_export_part(export_id uuid, part_number integer) is 'Returns one part of an export of the signed-in user; null if it does not exist.';
revoke execute on function private.read_data_export_part(export_id uuid, part_number integer) from public;
grant execute on function private.read_data_export_part(export_id uuid, part_number integer) to :PLINTH_SERVICE;

-- Marks the calling session as freshly authenticated; returns the time, or null if refused. PL422 for a password where there is a second factor.
create or replace function private.reauthenticate(proof jsonb)
  returns timestamp with time zone
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
#variable_conflict use_column
declare
  v_user identity.users;
  v_session identity.user_sessions;
  v_has_factor boolean;
  v_is_password boolean := reauthenticate.proof ->> 'method' = 'password';
  v_refusal text;
  v_methods text[];
begin
  select u.* into v_user from identity.users u where u.id = plinth.current_user_id() for no key update;
  select s.* into v_session
  from identity.user_sessions s
  where s.id = plinth.current_session_id() and s.user_id = v_user.id and s.ended_at is null and s.expires_at > now()
  for update;
  if v_session.id is null or v_user.account_status <> 'active' then
    raise exception 'You must be signed in.' using errcode = 'PL401';
  end if;
  v_has_factor := cardinality(private.second_factors(v_user.id)) > 0;
  -- Raised before the password is checked, so that it reveals nothing about it.
  if v_is_password and v_has_factor then
    raise exception 'Your account has a second factor; use that.'
      using errcode = 'PL422', column = 'password', hint = 'Enter a code or a recovery code, or use a passkey.';
  end if;

  if v_is_password then
    v_refusal := case
      when v_user.locked_until > now() then 'account_locked'
      when not coalesce((reauthenticate.proof ->> 'matches')::boolean, false) then 'wrong_password'
      -- The password was changed between the check and now.
      when v_user.token_version is distinct from (reauthenticate.proof ->> 'token_version')::integer then 'wrong_password'
    end;
    v_methods := array['pwd'];
    if v_refusal = 'wrong_password' then
      perform security.track_login_attempt(
        v_user.id, v_user.username, plinth.client_ip(), plinth.user_agent(), 'failed', 'wrong_password'
      );
    end if;
  else
    select a.refusal, a.methods || array['mfa'] into v_refusal, v_methods
    from private.accept_second_factor(v_user.id, reauthenticate.proof) a;
  end if;

  if v_refusal is not null then
    perform private.record_security_event(
      'reauthentication_failed', v_user.id,
      jsonb_build_object('session_id', v_session.id, 'method', reauthenticate.proof ->> 'method', 'reason', v_refusal), 'warning'
    );
    return null;
  end if;
  perform private.record_security_event(
    'reauthenticated', v_user.id,
    jsonb_build_object('session_id', v_session.id, 'method', reauthenticate.proof ->> 'method')
  );
  return private.add_session_methods(v_methods);
end
$$;

comment on function private.reauthenticate(proof jsonb) is 'Marks the calling session as freshly authenticated; returns the time, or null if refused. PL422 for a password where there is a second factor.';
revoke execute on function private.reauthenticate(proof jsonb) from public;
grant execute on function private.reauthenticate(proof jsonb) to :PLINTH_SERVICE;

-- Stores an event of a payment provider; returns its id, the same for an event stored before.
create or replace function private.receive_payment_event(provider text, provider_event_id text, event_type text, provider_customer_id text, occurred_at timestamp with time zone, payload jsonb)
  returns uuid
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
declare
  v_id uuid;
begin
  insert into private.payment_events (provider, provider_event_id, event_type, provider_customer_id, occurred_at, payload)
  values (
    receive_payment_event.provider, receive_payment_event.provider_event_id, receive_payment_event.event_type,
    receive_payment_event.provider_customer_id, receive_payment_event.occurred_at, receive_payment_event.payload
  )
  on conflict on constraint payment_events_provider_event_key do nothing
  returning id into v_id;
  if v_id is null then
    select e.id into strict v_id
    from private.payment_events e
    where e.provider = receive_payment_event.provider and e.provider_event_id = receive_payment_event.provider_event_id;
  end if;
  return v_id;
end
$$;

comment on function private.receive_payment_event(provider text, provider_event_id text, event_type text, provider_customer_id text, occurred_at timestamp with time zone, payload jsonb) is 'Stores an event of a payment provider; returns its id, the same for an event stored before.';
revoke execute on function private.receive_payment_event(provider text, provider_event_id text, event_type text, provider_customer_id text, occurred_at timestamp with time zone, payload jsonb) from public;
grant execute on function private.receive_payment_event(provider text, provider_event_id text, event_type text, provider_customer_id text, occurred_at timestamp with time zone, payload jsonb) to :PLINTH_SERVICE;

-- Records the learners who had completed one of the courses, and their progress in the trainings of the skills, with the content available at a moment. Repeating it changes nothing.
create or replace function private.record_completions(course_ids uuid[], skill_ids uuid[], at timestamp with time zone default clock_timestamp())
  returns void
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
#variable_conflict use_column
declare
  v_courses jsonb;
  v_trainings jsonb;
  v_row record;
begin
  perform private.lock_completions(true);

  with parts as (
    select i.course_id, i.id
    from learning.content_items i
    where i.course_id = any (record_completions.course_ids)
      and i.available_from <= record_completions.at
      and (i.available_until is null or i.available_until > record_completions.at)
  ),
  courses as (
    select p.course_id, c.current_version, count(*) as part_count
    from parts p
    join learning.content_items c on c.id = p.course_id
    where c.current_version is not null
    group by p.course_id, c.current_version
  ),
  learners as (
    select
      p.user_id, c.course_id, c.current_version, min(p.started_at) as started_at, max(p.last_activity_at) as last_activity_at
    from courses c
    join parts on parts.course_id = c.course_id
    join learning.content_progress p on p.item_id = parts.id and p.completed_at <= record_completions.at
    group by p.user_id, c.course_id, c.current_version, c.part_count
    having count(*) = c.part_count
  )
  select jsonb_agg(l) into v_courses
  from learners l
  where not exists (
    select
    from learning.content_progress done
    where done.user_id = l.user_id and done.item_id = l.course_id and done.completed_at is not null
  );

  with taught as (
    select cs.skill_id, cs.item_id, count(*) over (partition by cs.skill_id) as item_count
    from learning.content_skills cs
    join learning.content_items i on i.id = cs.item_id
    where cs.skill_id = any (record_completions.skill_ids)
      and i.available_from <= record_completions.at
      and (i.available_until is null or i.available_until > record_completions.at)
  ),
  shares as (
    select t.user_id, t.skill_id, t.progress, trunc(count(*)::numeric / c.item_count, 4) as share
    from taught c
    join learning.training t on t.skill_id = c.skill_id and t.status = 'active'
    join learning.content_progress p
      on p.item_id = c.item_id
      and p.user_id = t.user_id
      and p.completed_at <= record_completions.at
      and (t.run = 1 or p.completed_at >= t.started_at)
    group by t.user_id, t.skill_id, t.progress, c.item_count
  )
  select jsonb_agg(s) into v_trainings from shares s where s.share > s.progress;

  if v_courses is null and v_trainings is null then
    return;
  end if;
  -- The accounts before their rows, as everywhere.
  perform private.lock_accounts(array(
    select (r ->> 'user_id')::uuid from jsonb_array_elements(coalesce(v_courses, '[]') || coalesce(v_trainings, '[]')) r
  ));

  for v_row in
    select r.*
    from jsonb_to_recordset(coalesce(v_courses, '[]')) as r (
      user_id uuid, course_id uuid, current_version integer, started_at timestamptz, last_activity_at timestamptz
    )
    -- If the account was deleted in the meantime, so was its progress.
    join identity.users u on u.id = r.user_id
    order by r.user_id, r.course_id
  loop
    insert into learning.content_progress as p (
      user_id, item_id, version, completed_version, completed_at, started_at, last_activity_at
    )
    values (
      v_row.user_id, v_row.course_id, v_row.current_version, v_row.current_version, record_completions.at,
      v_row.started_at, v_row.last_activity_at
    )
    on conflict (user_id, item_id) do update
    set version = excluded.version, completed_version = excluded.completed_version, completed_at = excluded.completed_at
    where p.completed_at is null;
    if found then
      perform private.credit_skills(v_row.user_id, array[v_row.course_id]);
    end if;
  end loop;

  for v_row in
    select r.*
    from jsonb_to_recordset(coalesce(v_trainings, '[]')) as r (user_id uuid, skill_id uuid, share numeric)
    order by r.user_id, r.skill_id
  loop
    update learning.training t
    set progress = v_row.share
    where t.user_id = v_row.user_id and t.skill_id = v_row.skill_id and t.status = 'active' and t.progress < v_row.share;
  end loop;
end
$$;

comment on function private.record_completions(course_ids uuid[], skill_ids uuid[], at timestamp with time zone) is 'Records the learners who had completed one of the courses, and their progress in the trainings of the skills, with the content available at a moment. Repeating it changes nothing.';
revoke execute on function private.record_completions(course_ids uuid[], skill_ids uuid[], at timestamp with time zone) from public;

-- Trigger: adds a row to security.audit_trail. Arguments: key columns, account column, noise columns, columns whose values are not kept.
create or replace function private.record_data_change()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
declare
  v_noise constant text[] := string_to_array(tg_argv[2], ',');
  v_masked constant text[] := string_to_array(tg_argv[3], ',');
  v_old jsonb := to_jsonb(old) - v_noise;
  v_new jsonb := to_jsonb(new) - v_noise;
  v_row constant jsonb := case when tg_op = 'DELETE' then to_jsonb(old) else to_jsonb(new) end;
  v_changed text[];
  v_user_id uuid;
  v_actor_id uuid;
begin
  if v_old = v_new then
    return null;
  end if;
  if tg_op = 'UPDATE' then
    select array_agg(n.key order by n.key) into v_changed
    from jsonb_each(v_new) n
    where n.value is distinct from v_old -> n.key;
    select jsonb_object_agg(c.name, v_old -> c.name), jsonb_object_agg(c.name, v_new -> c.name) into v_old, v_new
    from unnest(v_changed) c (name);
  end if;

  if tg_argv[1] <> '' then
    select u.id into v_user_id
    from identity.users u
    where u.id = (v_row ->> tg_argv[1])::uuid
    for key share skip locked;
    if v_user_id is null then
      v_old := null;
      v_new := null;
    end if;
  end if;
  select u.id into v_actor_id from identity.users u where u.id = plinth.current_user_id() for key share skip locked;

  insert into security.audit_trail (
    table_name, operation, row_key, user_id, actor_id, changed_columns, old_values, new_values,
    transaction_number, source, correlation_id, ip_address
  )
  values (
    tg_table_schema || '.' || tg_table_name,
    tg_op,
    (select jsonb_object_agg(k.name, v_row -> k.name) from unnest(string_to_array(tg_argv[0], ',')) k (name)),
    v_user_id,
    v_actor_id,
    v_changed,
    v_old - v_masked,
    v_new - v_masked,
    pg_current_xact_id()::text::bigint,
    session_user,
    case when v_actor_id is not null or plinth.current_user_id() is null then plinth.correlation_id() end,
    case when v_actor_id is not null or plinth.current_user_id() is null then plinth.client_ip() end
  );
  return null;
end
$$;

comment on function private.record_data_change() is 'Trigger: adds a row to security.audit_trail. Arguments: key columns, account column, noise columns, columns whose values are not kept.';
revoke execute on function private.record_data_change() from public;

-- Records completions caused by the start or end of an item's availability, at up to batch_size moments; returns the number handled.
create or replace function private.record_due_completions(batch_size integer default 1000)
  returns integer
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
#variable_conflict use_column
declare
  v_due_at timestamptz;
  v_items uuid[];
  v_handled integer := 0;
begin
  if batch_size is null or batch_size not between 1 and 100000 then
    raise exception 'batch_size must be from 1 to 100000.' using errcode = 'PL422';
  end if;
  if not exists (select from private.completion_checks c where c.due_at <= clock_timestamp()) then
    return 0;
  end if;
  perform private.lock_completions(true);
  for v_due_at in
    select c.due_at
    from private.completion_checks c
    where c.due_at <= clock_timestamp()
    group by c.due_at
    order by c.due_at
    limit batch_size
  loop
    with gone as (
      delete from private.completion_checks c where c.due_at = v_due_at returning c.item_id
    )
    select array_agg(g.item_id) into v_items from gone g;
    perform private.complete_played_items(v_items);
    perform private.record_completions(
      array(select distinct i.course_id from learning.content_items i where i.id = any (v_items) and i.course_id is not null),
      array(select distinct cs.skill_id from learning.content_skills cs where cs.item_id = any (v_items)),
      v_due_at
    );
    v_handled := v_handled + 1;
  end loop;
  return v_handled;
end
$$;

comment on function private.record_due_completions(batch_size integer) is 'Records completions caused by the start or end of an item''s availability, at up to batch_size moments; returns the number handled.';
revoke execute on function private.record_due_completions(batch_size integer) from public;
grant execute on function private.record_due_completions(batch_size integer) to :PLINTH_WORKER;

-- Adds a row to security.error_logs. The caller removes secrets and parameters.
create or replace function private.record_error(error_id uuid, user_id uuid, message text, error_code text, stack_fingerprint text, context jsonb, correlation_id text, happened_at timestamp with time zone)
  returns void
  language sql
  security definer
  set search_path to 'pg_catalog'
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

comment on function private.record_error(error_id uuid, user_id uuid, message text, error_code text, stack_fingerprint text, context jsonb, correlation_id text, happened_at timestamp with time zone) is 'Adds a row to security.error_logs. The caller removes secrets and parameters.';
revoke execute on function private.record_error(error_id uuid, user_id uuid, message text, error_code text, stack_fingerprint text, context jsonb, correlation_id text, happened_at timestamp with time zone) from public;
grant execute on function private.record_error(error_id uuid, user_id uuid, message text, error_code text, stack_fingerprint text, context jsonb, correlation_id text, happened_at timestamp with time zone) to :PLINTH_SERVICE;

-- Brings the ledger up to a message's tokens_used, unless a service has settled the message.
create or replace function private.record_message_usage(message llm.messages, at timestamp with time zone default now())
  returns void
  language plpgsql
as $$
declare
  v_locked timestamptz;
  v_tokens bigint := coalesce(message.tokens_used, 0);
  v_counted billing.usage_events;
  v_event billing.usage_events;
  v_taken record;
begin
  -- The writer holds the message or its chat, which rank after the account.
  perform private.ensure_grants_at(message.user_id, now(), false)
  where not exists (
    select from billing.usage_tracking t where t.user_id = message.user_id and t.entitled_until > now()
  );
  v_locked := private.lock_usage(message.user_id, record_message_usage.at);
  select e.* into v_counted
  from private.usage_keys k
  join billing.usage_events e on e.id = k.event_id
  where k.user_id = message.user_id and k.operation = 'message' and k.idempotency_key = message.id::text;
  if found then
    if v_counted.source in ('message', 'self_reported') then
      perform private.apply_correction(v_counted.id, 0, v_tokens, 0, 0, null, record_message_usage.at);
    end if;
    return;
  end if;
  if v_tokens = 0 then
    return;
  end if;
  v_taken := private.take_tokens(message.user_id, v_tokens, false, record_message_usage.at);
  v_event.id := plinth.uuid_v7();
  v_event.user_id := message.user_id;
  v_event.model_id := message.model_id;
  v_event.chat_id := message.chat_id;
  v_event.message_id := message.id;
  v_event.kind := 'usage';
  v_event.source := case when plinth.current_user_id() is null then 'message' else 'self_reported' end;
  v_event.input_tokens := 0;
  v_event.output_tokens := v_tokens;
  v_event.cached_input_tokens := 0;
  v_event.reasoning_tokens := 0;
  v_event.grant_ids := v_taken.grant_ids;
  v_event.grant_tokens := v_taken.grant_tokens;
  v_event.overdraft_tokens := v_taken.missing;
  v_event.occurred_at := least(message.created_at, record_message_usage.at);
  v_event.created_at := record_message_usage.at;
  v_event := private.post_usage_event(v_event);
  insert into private.usage_keys (user_id, operation, idempotency_key, arguments, event_id)
  values (message.user_id, 'message', message.id::text, '{}', v_event.id);
end
$$;

comment on function private.record_message_usage(message llm.messages, at timestamp with time zone) is 'Brings the ledger up to a message''s tokens_used, unless a service has settled the message.';
revoke execute on function private.record_message_usage(message llm.messages, at timestamp with time zone) from public;

-- Adds a row to security.security_audit_log with the request's context, and notifies the owner if private.notification_of lists the event.
create or replace function private.record_security_event(event_type text, user_id uuid, event_data jsonb default '{}'::jsonb, severity text default 'info'::text)
  returns void
  language sql
  security definer
  set search_path to 'pg_catalog'
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

comment on function private.record_security_event(event_type text, user_id uuid, event_data jsonb, severity text) is 'Adds a row to security.security_audit_log with the request''s context, and notifies the owner if private.notification_of lists the event.';
revoke execute on function private.record_security_event(event_type text, user_id uuid, event_data jsonb, severity text) from public;

-- Trigger: writes session_network_changed to the audit log when a session continues from another network.
create or replace function private.record_session_network_change()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
begin
  perform private.record_security_event(
    'session_network_changed',
    new.user_id,
    jsonb_build_object(
      'session_id', new.id,
      'from_address', host(old.ip_address),
      'from_seen_at', old.last_activity_at,
      'to_address', host(new.ip_address)
    )
  );
  return null;
end
$$;

comment on function private.record_session_network_change() is 'Trigger: writes session_network_changed to the audit log when a session continues from another network.';
revoke execute on function private.record_session_network_change() from public;

-- Adds a row to billing.subscription_changes and to the audit log.
create or replace function private.record_subscription_change(event text, before billing.user_subscriptions, after billing.user_subscriptions, effective_at timestamp with time zone, details jsonb default '{}'::jsonb)
  returns billing.subscription_changes
  language plpgsql
  set search_path to 'pg_catalog'
as $$
declare
  v_change billing.subscription_changes;
begin
  insert into billing.subscription_changes (
    subscription_id, user_id, event, from_status, to_status, from_plan_id, to_plan_id, credit_cents, charge_cents, currency,
    period_seconds, unused_seconds, tokens_granted, effective_at
  )
  select
    after.id, after.user_id, record_subscription_change.event, before.status, after.status, before.plan_id, after.plan_id,
    coalesce((details ->> 'credit_cents')::bigint, 0), coalesce((details ->> 'charge_cents')::bigint, 0), p.currency,
    (details ->> 'period_seconds')::bigint, (details ->> 'unused_seconds')::bigint,
    coalesce((details ->> 'tokens_granted')::bigint, 0), record_subscription_change.effective_at
  from billing.subscription_plans p
  where p.id = after.plan_id
  returning * into strict v_change;
  perform private.record_security_event(
    'subscription_changed',
    after.user_id,
    jsonb_build_object(
      'subscription_id', after.id, 'change_id', v_change.id, 'event', v_change.event,
      'from_status', v_change.from_status, 'to_status', v_change.to_status
    )
  );
  return v_change;
end
$$;

comment on function private.record_subscription_change(event text, before billing.user_subscriptions, after billing.user_subscriptions, effective_at timestamp with time zone, details jsonb) is 'Adds a row to billing.subscription_changes and to the audit log.';
revoke execute on function private.record_subscription_change(event text, before billing.user_subscriptions, after billing.user_subscriptions, effective_at timestamp with time zone, details jsonb) from public;

-- Records and charges usage without a hold; the same key again returns the same event. PL409 for a key used for another request, PL404 for an unknown user, model or message.
create or replace function private.record_usage(user_id uuid, model_id uuid, input_tokens bigint, output_tokens bigint, idempotency_key text, cached_input_tokens bigint default 0, reasoning_tokens bigint default 0, occurred_at timestamp with time zone default null::timestamp with time zone, message_id uuid default null::uuid, at timestamp with time zone default now())
  returns billing.usage_events
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
#variable_conflict use_column
declare
  v_valid boolean;
  v_locked timestamptz;
  v_arguments jsonb := jsonb_build_array(
    record_usage.model_id, record_usage.input_tokens, record_usage.output_tokens, record_usage.cached_input_tokens,
    record_usage.reasoning_tokens, extract(epoch from record_usage.occurred_at), record_usage.message_id
  );
  v_key private.usage_keys;
  v_event billing.usage_events;
  v_taken record;
begin
  v_valid := private.check_token_counts(
    record_usage.input_tokens, record_usage.output_tokens, record_usage.cached_input_tokens, record_usage.reasoning_tokens
  );
  perform private.ensure_current_grants(record_usage.user_id)
  where not exists (
    select from billing.usage_tracking t where t.user_id = record_usage.user_id and t.entitled_until > now()
  );
  v_locked := private.lock_usage(record_usage.user_id, record_usage.at);
  v_key := private.used_key(record_usage.user_id, 'record', record_usage.idempotency_key, v_arguments);
  if v_key.event_id is not null then
    select e.* into strict v_event from billing.usage_events e where e.id = v_key.event_id;
    return v_event;
  end if;
  if record_usage.model_id is not null and not exists (select from llm.models m where m.id = record_usage.model_id) then
    raise exception 'Model not found.' using errcode = 'PL404', column = 'model_id';
  end if;
  if record_usage.message_id is not null then
    select m.chat_id into v_event.chat_id
    from llm.messages m
    where m.id = record_usage.message_id and m.user_id = record_usage.user_id;
    if not found then
      raise exception 'Message not found.' using errcode = 'PL404', column = 'message_id';
    end if;
  end if;

  v_taken := private.take_tokens(
    record_usage.user_id, record_usage.input_tokens + record_usage.output_tokens, false, record_usage.at
  );
  v_event.id := plinth.uuid_v7();
  v_event.user_id := record_usage.user_id;
  v_event.model_id := record_usage.model_id;
  v_event.message_id := record_usage.message_id;
  v_event.kind := 'usage';
  v_event.source := 'service';
  v_event.idempotency_key := record_usage.idempotency_key;
  v_event.input_tokens := record_usage.input_tokens;
  v_event.output_tokens := record_usage.output_tokens;
  v_event.cached_input_tokens := record_usage.cached_input_tokens;
  v_event.reasoning_tokens := record_usage.reasoning_tokens;
  v_event.grant_ids := v_taken.grant_ids;
  v_event.grant_tokens := v_taken.grant_tokens;
  v_event.overdraft_tokens := v_taken.missing;
  v_event.occurred_at := least(record_usage.occurred_at, record_usage.at);
  v_event.created_at := record_usage.at;
  v_event := private.post_usage_event(v_event);
  insert into private.usage_keys (user_id, operation, idempotency_key, arguments, event_id)
  values (v_event.user_id, 'record', v_event.idempotency_key, v_arguments, v_event.id);
  if v_event.message_id is not null then
    perform private.claim_message(v_event, record_usage.at);
  end if;
  return v_event;
end
$$;

comment on function private.record_usage(user_id uuid, model_id uuid, input_tokens bigint, output_tokens bigint, idempotency_key text, cached_input_tokens bigint, reasoning_tokens bigint, occurred_at timestamp with time zone, message_id uuid, at timestamp with time zone) is 'Records and charges usage without a hold; the same key again returns the same event. PL409 for a key used for another request, PL404 for an unknown user, model or message.';
revoke execute on function private.record_usage(user_id uuid, model_id uuid, input_tokens bigint, output_tokens bigint, idempotency_key text, cached_input_tokens bigint, reasoning_tokens bigint, occurred_at timestamp with time zone, message_id uuid, at timestamp with time zone) from public;
grant execute on function private.record_usage(user_id uuid, model_id uuid, input_tokens bigint, output_tokens bigint, idempotency_key text, cached_input_tokens bigint, reasoning_tokens bigint, occurred_at timestamp with time zone, message_id uuid, at timestamp with time zone) to :PLINTH_SERVICE;

-- Refreshes analytics.content_popularity; returns its number of rows.
create or replace function private.refresh_content_popularity()
  returns integer
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
begin
  refresh materialized view concurrently analytics.content_popularity;
  return (select count(*) from analytics.content_popularity);
end
$$;

comment on function private.refresh_content_popularity() is 'Refreshes analytics.content_popularity; returns its number of rows.';
revoke execute on function private.refresh_content_popularity() from public;
grant execute on function private.refresh_content_popularity() to :PLINTH_WORKER;

-- Recomputes analytics.subscription_metrics without blocking its readers.
create or replace function private.refresh_subscription_metrics()
  returns integer
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
begin
  refresh materialized view concurrently analytics.subscription_metrics;
  return 0;
end
$$;

comment on function private.refresh_subscription_metrics() is 'Recomputes analytics.subscription_metrics without blocking its readers.';
revoke execute on function private.refresh_subscription_metrics() from public;
grant execute on function private.refresh_subscription_metrics() to :PLINTH_WORKER;

-- Raises PL403 when the request was made with an API token.
create or replace function private.refuse_api_token()
  returns void
  language plpgsql
  stable
  set search_path to 'pg_catalog'
as $$
begin
  if plinth.current_api_token_id() is not null then
    raise exception 'An API token cannot do this.' using errcode = 'PL403', hint = 'Sign in.';
  end if;
end
$$;

comment on function private.refuse_api_token() is 'Raises PL403 when the request was made with an API token.';
revoke execute on function private.refuse_api_token() from public;

-- Raises PL403 in a direct room in which one member has blocked the other.
create or replace function private.refuse_blocked_direct(room_id uuid, sender_id uuid)
  returns void
  language plpgsql
  stable
  set search_path to 'pg_catalog'
as $$
begin
  if exists (
    select
    from rooms.chat_rooms r
    join rooms.room_members m on m.room_id = r.id and m.user_id <> refuse_blocked_direct.sender_id
    where r.id = refuse_blocked_direct.room_id
      and r.room_type = 'direct'
      and (
        private.is_blocked(m.user_id, refuse_blocked_direct.sender_id)
        or private.is_blocked(refuse_blocked_direct.sender_id, m.user_id)
      )
  ) then
    raise exception 'You cannot write to this person.' using errcode = 'PL403';
  end if;
end
$$;

comment on function private.refuse_blocked_direct(room_id uuid, sender_id uuid) is 'Raises PL403 in a direct room in which one member has blocked the other.';
revoke execute on function private.refuse_blocked_direct(room_id uuid, sender_id uuid) from public;

-- Raises PL409 unless a request is the one that its idempotency key was used for; null counts as the same.
create or replace function private.refuse_other_request(is_same boolean)
  returns void
  language plpgsql
  stable
  set search_path to 'pg_catalog'
as $$
begin
  if not is_same then
    raise exception 'The idempotency key was already used with other arguments.'
      using errcode = 'PL409', column = 'idempotency_key', hint = 'Use a new key for a new request.';
  end if;
end
$$;

comment on function private.refuse_other_request(is_same boolean) is 'Raises PL409 unless a request is the one that its idempotency key was used for; null counts as the same.';
revoke execute on function private.refuse_other_request(is_same boolean) from public;

-- Raises why something may not be recorded (PL403, or PL404 for content the caller cannot see); does nothing when reason is null.
create or replace function private.refuse_recording(reason text)
  returns void
  language plpgsql
  stable
  set search_path to 'pg_catalog'
as $$
begin
  if reason = 'no_such_version' then
    raise exception 'Version not found.'
      using errcode = 'PL404', schema = 'learning', table = 'content_progress', column = 'version';
  elsif reason = 'not_available' then
    raise exception 'Content not found.'
      using errcode = 'PL404', schema = 'learning', table = 'content_progress', column = 'item_id';
  elsif reason is not null then
    raise exception 'You do not have access to this content.' using errcode = 'PL403', hint = reason;
  end if;
end
$$;

comment on function private.refuse_recording(reason text) is 'Raises why something may not be recorded (PL403, or PL404 for content the caller cannot see); does nothing when reason is null.';
revoke execute on function private.refuse_recording(reason text) from public;

-- Stores new recovery codes for the calling user. Needs a recent sign-in (PL403) and a confirmed factor (PL409).
create or replace function private.regenerate_recovery_codes(code_hashes bytea[])
  returns void
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
declare
  v_user_id uuid := plinth.current_user_id();
begin
  perform from identity.users u where u.id = v_user_id for no key update;
  perform private.require_recent_authentication();
  if not exists (select from identity.mfa_factors f where f.user_id = v_user_id and f.confirmed_at is not null) then
    raise exception 'Recovery codes replace a second factor, and you have none.'
      using errcode = 'PL409', hint = 'Enrol one with startTotp or startPasskeyRegistration.';
  end if;
  perform private.store_recovery_codes(v_user_id, regenerate_recovery_codes.code_hashes);
end
$$;

comment on function private.regenerate_recovery_codes(code_hashes bytea[]) is 'Stores new recovery codes for the calling user. Needs a recent sign-in (PL403) and a confirmed factor (PL409).';
revoke execute on function private.regenerate_recovery_codes(code_hashes bytea[]) from public;
grant execute on function private.regenerate_recovery_codes(code_hashes bytea[]) to :PLINTH_SERVICE;

-- Creates an account without a password and with a free name; returns its id, or null if another account has verified the address.
create or replace function private.register_by_provider(suggested_username text, verified_email text, verified_email_hash bytea, display_name text)
  returns uuid
  language plpgsql
  set search_path to 'pg_catalog'
as $$
declare
  v_name text := private.username_from(suggested_username);
  -- The provider's address is trusted as it stands. An address that would need normalizing is treated as missing.
  v_email text := (
    select e.address
    from plinth.normalize_email(verified_email) as e (address)
    where e.address = lower(btrim(verified_email) collate "C")
  );
  v_hash bytea := case when verified_email is null or v_email is not null then verified_email_hash end;
  v_is_verified boolean;
  v_user_id uuid;
begin
  -- A conflict is a name or an address that was taken, perhaps just now: check again.
  for v_attempt in 1..20 loop
    -- One query: between two, an account with the verified address could appear.
    select bool_or(u.email_verified_at is not null) into v_is_verified
    from identity.users u
    where u.email = v_email or u.hashed_email = v_hash;
    if v_is_verified then
      return null;
    elsif v_is_verified is not null then
      v_email := null;
      v_hash := null;
    end if;
    insert into identity.users (username, email, hashed_email, email_verified_at)
    values (
      case v_attempt when 1 then v_name else v_name || '-' || left(replace(gen_random_uuid()::text, '-', ''), 8) end,
      v_email,
      v_hash,
      case when v_email is not null or v_hash is not null then now() end
    )
    on conflict do nothing
    returning id into v_user_id;
    exit when v_user_id is not null;
  end loop;
  if v_user_id is null then
    raise exception 'No free name was found; try again.' using errcode = 'PL409';
  end if;

  update identity.user_settings s
  set display_name = nullif(trim(left(regexp_replace(register_by_provider.display_name, '[[:cntrl:]]', '', 'g'), 100)), '')
  where s.user_id = v_user_id;
  insert into access.user_roles (user_id, role_id)
  select v_user_id, r.id from access.roles r where r.role_name = 'user';
  perform private.record_security_event('user_registered', v_user_id, jsonb_build_object('by', 'provider'));
  return v_user_id;
end
$$;

comment on function private.register_by_provider(suggested_username text, verified_email text, verified_email_hash bytea, display_name text) is 'Creates an account without a password and with a free name; returns its id, or null if another account has verified the address.';
revoke execute on function private.register_by_provider(suggested_username text, verified_email text, verified_email_hash bytea, display_name text) from public;

-- Creates an account with settings, password and the role user; returns its id. 23505 names the taken field.
create or replace function private.register_user(username text, email text, display_name text, password_hash text, hash_algorithm text, hashed_email bytea default null::bytea)
  returns uuid
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
declare
  v_user_id uuid;
begin
  insert into identity.users (username, email, hashed_email, password_changed_at)
  values (register_user.username, register_user.email, register_user.hashed_email, now())
  returning id into v_user_id;

  update identity.user_settings s
  set display_name = nullif(trim(register_user.display_name), '')
  where s.user_id = v_user_id;
  insert into private.user_passwords (user_id, password_hash, hash_algorithm)
  values (v_user_id, register_user.password_hash, register_user.hash_algorithm);
  insert into access.user_roles (user_id, role_id)
  select v_user_id, r.id from access.roles r where r.role_name = 'user';

  perform private.record_security_event('user_registered', v_user_id);
  return v_user_id;
end
$$;

comment on function private.register_user(username text, email text, display_name text, password_hash text, hash_algorithm text, hashed_email bytea) is 'Creates an account with settings, password and the role user; returns its id. 23505 names the taken field.';
revoke execute on function private.register_user(username text, email text, display_name text, password_hash text, hash_algorithm text, hashed_email bytea) from public;
grant execute on function private.register_user(username text, email text, display_name text, password_hash text, hash_algorithm text, hashed_email bytea) to :PLINTH_SERVICE;

-- Releases all tokens of a hold; a released or expired hold stays unchanged. PL404 for an unknown hold, PL409 when it was settled.
create or replace function private.release_hold(hold_id uuid, at timestamp with time zone default now())
  returns billing.token_holds
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
#variable_conflict use_column
declare
  v_locked timestamptz;
  v_hold billing.token_holds;
begin
  select h.user_id into v_hold.user_id from billing.token_holds h where h.id = release_hold.hold_id;
  if not found then
    raise exception 'Hold not found.' using errcode = 'PL404', column = 'hold_id';
  end if;
  v_locked := private.lock_usage(v_hold.user_id, release_hold.at);
  select h.* into strict v_hold from billing.token_holds h where h.id = release_hold.hold_id;
  if v_hold.state = 'settled' then
    raise exception 'The hold was already settled.' using errcode = 'PL409', column = 'hold_id';
  end if;
  if v_hold.state = 'open' then
    update billing.token_grants g
    set held = g.held - a.tokens
    from unnest(v_hold.grant_ids, v_hold.grant_tokens) as a (grant_id, tokens)
    where g.id = a.grant_id;
    update billing.token_holds h set state = 'released' where h.id = v_hold.id returning h.* into v_hold;
  end if;
  return v_hold;
end
$$;

comment on function private.release_hold(hold_id uuid, at timestamp with time zone) is 'Releases all tokens of a hold; a released or expired hold stays unchanged. PL404 for an unknown hold, PL409 when it was settled.';
revoke execute on function private.release_hold(hold_id uuid, at timestamp with time zone) from public;
grant execute on function private.release_hold(hold_id uuid, at timestamp with time zone) to :PLINTH_SERVICE;

-- Ends a membership and hands over the room or deletes an empty one; returns whether there was a membership.
create or replace function private.remove_from_room(room_id uuid, user_id uuid)
  returns boolean
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
declare
  v_role text;
  v_heir rooms.room_members;
begin
  select m.role into v_role
  from rooms.room_members m
  where m.room_id = remove_from_room.room_id and m.user_id = remove_from_room.user_id;
  if v_role is null then
    return false;
  end if;
  select o.* into v_heir
  from rooms.room_members o
  where o.room_id = remove_from_room.room_id and o.user_id <> remove_from_room.user_id
  order by o.role = 'moderator' desc, o.joined_at, o.id
  limit 1;
  if v_heir.id is null then
    -- With its members.
    delete from rooms.chat_rooms r where r.id = remove_from_room.room_id;
    return true;
  end if;
  if v_role = 'creator' then
    perform private.lock_user_counters(array[remove_from_room.user_id, v_heir.user_id]);
  end if;
  delete from rooms.room_members m
  where m.room_id = remove_from_room.room_id and m.user_id = remove_from_room.user_id;
  if v_role = 'creator' then
    update rooms.room_members m set role = 'creator' where m.id = v_heir.id;
  end if;
  return true;
end
$$;

comment on function private.remove_from_room(room_id uuid, user_id uuid) is 'Ends a membership and hands over the room or deletes an empty one; returns whether there was a membership.';
revoke execute on function private.remove_from_room(room_id uuid, user_id uuid) from public;

-- Moves a subscription into its next period by the event renewed or payment_succeeded and grants its tokens.
create or replace function private.renew_subscription(subscription_id uuid, event text, at timestamp with time zone)
  returns billing.user_subscriptions
  language plpgsql
  set search_path to 'pg_catalog'
as $$
declare
  v_before billing.user_subscriptions;
  v_plan billing.subscription_plans;
  v_anchor timestamptz;
  v_period record;
begin
  select s.* into strict v_before
  from billing.user_subscriptions s
  where s.id = renew_subscription.subscription_id
  for update;
  select p.* into strict v_plan from billing.subscription_plans p where p.id = v_before.plan_id;
  if v_before.current_period_end is null then
    return private.transition_subscription(v_before.id, renew_subscription.event, renew_subscription.at);
  end if;
  v_anchor := case when v_before.status = 'expired' then renew_subscription.at else v_before.anchor_at end;
  select * into v_period
  from private.subscription_period(
    v_plan.billing_cycle, v_anchor, case when v_before.status = 'expired' then v_anchor else v_before.current_period_end end
  );
  -- A period whose first day is off the anchor (after a plan change) begins where the last one ended.
  if v_before.status <> 'expired' then
    v_period.period_start := v_before.current_period_end;
  end if;
  perform private.transition_subscription(
    v_before.id, renew_subscription.event, v_period.period_start,
    case when renew_subscription.event = 'payment_succeeded' then 'renewed' end
  );
  update billing.user_subscriptions s
  set
    anchor_at = v_anchor,
    current_period_start = v_period.period_start,
    current_period_end = v_period.period_end,
    quota_period_start = v_period.period_start,
    quota_period_end = coalesce(v_period.period_end, (v_period.period_start at time zone 'UTC' + interval '1 month') at time zone 'UTC')
  where s.id = v_before.id;
  perform private.grant_quota(v_before.id);
  select s.* into strict v_before from billing.user_subscriptions s where s.id = v_before.id;
  return v_before;
end
$$;

comment on function private.renew_subscription(subscription_id uuid, event text, at timestamp with time zone) is 'Moves a subscription into its next period by the event renewed or payment_succeeded and grants its tokens.';
revoke execute on function private.renew_subscription(subscription_id uuid, event text, at timestamp with time zone) from public;

-- Reopens the grants of a subscription's current period that ended with the subscription.
create or replace function private.reopen_plan_grants(subscription_id uuid)
  returns void
  language plpgsql
  set search_path to 'pg_catalog'
as $$
declare
  v_subscription billing.user_subscriptions;
  v_period text;
  v_locked timestamptz;
begin
  select s.* into strict v_subscription from billing.user_subscriptions s where s.id = reopen_plan_grants.subscription_id;
  v_period := format('%s:%s', v_subscription.id, extract(epoch from v_subscription.quota_period_start));
  v_locked := private.lock_usage(v_subscription.user_id, now());
  update billing.token_grants g
  set expires_at = v_subscription.quota_period_end, closed_at = null, retired_at = null
  where g.user_id = v_subscription.user_id
    and g.closed_at is not null
    and g.amount is not null
    and (g.idempotency_key = 'plan:' || v_period or starts_with(g.idempotency_key, 'upgrade:' || v_period))
    and g.starts_at <= v_subscription.quota_period_end;
end
$$;

comment on function private.reopen_plan_grants(subscription_id uuid) is 'Reopens the grants of a subscription''s current period that ended with the subscription.';
revoke execute on function private.reopen_plan_grants(subscription_id uuid) from public;

-- Replaces a hash by another one of the same password; returns false if the password was changed meanwhile.
create or replace function private.replace_password_hash(user_id uuid, old_password_hash text, new_password_hash text, new_hash_algorithm text)
  returns boolean
  language sql
  security definer
  set search_path to 'pg_catalog'
as $$
  with replaced as (
    update private.user_passwords p
    set
      password_hash = replace_password_hash.new_password_hash,
      hash_algorithm = replace_password_hash.new_hash_algorithm,
      updated_at = now()
    where p.user_id = replace_password_hash.user_id and p.password_hash = replace_password_hash.old_password_hash
    returning true
  )
  select exists (select from replaced)
$$;

comment on function private.replace_password_hash(user_id uuid, old_password_hash text, new_password_hash text, new_hash_algorithm text) is 'Replaces a hash by another one of the same password; returns false if the password was changed meanwhile.';
revoke execute on function private.replace_password_hash(user_id uuid, old_password_hash text, new_password_hash text, new_hash_algorithm text) from public;
grant execute on function private.replace_password_hash(user_id uuid, old_password_hash text, new_password_hash text, new_hash_algorithm text) to :PLINTH_SERVICE;

-- Audits a broken rule of security.suspicious_activity_rules: event suspicious_activity with the rule and its evidence.
create or replace function private.report_suspicious_activity(rule_name text, user_id uuid, event_data jsonb, severity text)
  returns void
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
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

comment on function private.report_suspicious_activity(rule_name text, user_id uuid, event_data jsonb, severity text) is 'Audits a broken rule of security.suspicious_activity_rules: event suspicious_activity with the rule and its evidence.';
revoke execute on function private.report_suspicious_activity(rule_name text, user_id uuid, event_data jsonb, severity text) from public;

-- Corrects the billed usage of an ended answer to the model's count, whoever wrote it, for a day. The same report again changes nothing. PL404 for an unknown turn, PL409 for one that has not ended or another report, PL422.
create or replace function private.report_turn_usage(message_id uuid, input_tokens bigint, output_tokens bigint, cached_input_tokens bigint default 0, reasoning_tokens bigint default 0)
  returns llm.messages
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
#variable_conflict use_column
declare
  v_turn private.turns;
  v_message llm.messages;
begin
  select t.* into v_turn from private.turns t where t.message_id = report_turn_usage.message_id;
  if not found then
    raise exception 'Turn not found.' using errcode = 'PL404', column = 'message_id';
  end if;
  -- Account, chat, message, turn: the order of private.end_turn.
  perform from identity.users u where u.id = v_turn.user_id for no key update;
  perform from llm.chats c where c.id = v_turn.chat_id for no key update;
  select m.* into v_message from llm.messages m where m.id = v_turn.message_id for no key update;
  select t.* into v_turn from private.turns t where t.message_id = v_turn.message_id for no key update;
  if not found then
    raise exception 'Turn not found.' using errcode = 'PL404', column = 'message_id';
  end if;
  if v_turn.ended_at is null then
    raise exception 'The turn has not ended.'
      using errcode = 'PL409', column = 'message_id', hint = 'Report its usage after it has ended.';
  end if;
  perform private.check_token_counts(
    report_turn_usage.input_tokens, report_turn_usage.output_tokens, report_turn_usage.cached_input_tokens,
    report_turn_usage.reasoning_tokens
  );
  perform private.correct_turn_usage(
    v_turn, v_message.model_id, report_turn_usage.input_tokens, report_turn_usage.output_tokens,
    report_turn_usage.cached_input_tokens, report_turn_usage.reasoning_tokens
  );
  v_message.tokens_used := report_turn_usage.output_tokens;
  return v_message;
end
$$;

comment on function private.report_turn_usage(message_id uuid, input_tokens bigint, output_tokens bigint, cached_input_tokens bigint, reasoning_tokens bigint) is 'Corrects the billed usage of an ended answer to the model''s count, whoever wrote it, for a day. The same report again changes nothing. PL404 for an unknown turn, PL409 for one that has not ended or another report, PL422.';
revoke execute on function private.report_turn_usage(message_id uuid, input_tokens bigint, output_tokens bigint, cached_input_tokens bigint, reasoning_tokens bigint) from public;
grant execute on function private.report_turn_usage(message_id uuid, input_tokens bigint, output_tokens bigint, cached_input_tokens bigint, reasoning_tokens bigint) to :PLINTH_SERVICE;

-- Returns the SHA-256 of the arguments of a request.
create or replace function private.request_digest(arguments jsonb)
  returns bytea
  language sql
  immutable
  set search_path to 'pg_catalog'
as $$
  select sha256(convert_to(arguments::text, 'UTF8'))
$$;

comment on function private.request_digest(arguments jsonb) is 'Returns the SHA-256 of the arguments of a request.';
revoke execute on function private.request_digest(arguments jsonb) from public;

-- Queues a link to a new address; returns accepted (also for a taken one), refused, unchanged or too_many.
create or replace function private.request_email_change(user_id uuid, session_id uuid, password_matches boolean, checked_token_version integer, checked_password_hash text, new_email text, token_hash bytea, sealed_token text, hashed_email bytea default null::bytea)
  returns text
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
declare
  v_user identity.users;
  v_address constant text := plinth.normalize_email(request_email_change.new_email);
  v_holder_id uuid;
begin
  -- Before the password counts: a later error would undo the count.
  if v_address is null then
    raise exception 'This is not a valid email address.' using errcode = 'PL422', column = 'new_email';
  end if;
  if not private.confirm_password(
    request_email_change.user_id, request_email_change.session_id, request_email_change.password_matches,
    request_email_change.checked_token_version, request_email_change.checked_password_hash, 'email_change_failed'
  ) then
    return 'refused';
  end if;
  select u.* into v_user from identity.users u where u.id = request_email_change.user_id;
  if v_address = v_user.email and v_user.email_verified_at is not null then
    return 'unchanged';
  elsif private.has_asked_too_often(v_user.id, 'email') then
    return 'too_many';
  end if;

  -- The last request counts.
  update private.user_verifications v
  set expires_at = now()
  where v.user_id = v_user.id and v.kind = 'email' and v.purpose = 'change'
    and v.expires_at > now() and v.used_at is null;
  v_holder_id := (select u.id from identity.users u where u.email = v_address and u.id <> v_user.id);
  -- A taken address also gets a row, with an unusable token: the work is the same, and it counts.
  perform private.send_email_verification(
    v_user.id, v_address, request_email_change.token_hash,
    case when v_holder_id is null then request_email_change.sealed_token end
  );
  update private.user_verifications v
  set hashed_email = request_email_change.hashed_email
  where v.token_hash = request_email_change.token_hash;
  if v_holder_id is not null then
    -- Reveals nothing about the caller.
    perform private.queue_mail(
      v_holder_id, v_address, 'address-taken', private.mail_variables(v_holder_id) - 'ip_address' - 'user_agent'
    );
  end if;
  perform private.record_security_event(
    'email_change_requested', v_user.id, jsonb_build_object('is_taken', v_holder_id is not null)
  );
  return 'accepted';
end
$$;

comment on function private.request_email_change(user_id uuid, session_id uuid, password_matches boolean, checked_token_version integer, checked_password_hash text, new_email text, token_hash bytea, sealed_token text, hashed_email bytea) is 'Queues a link to a new address; returns accepted (also for a taken one), refused, unchanged or too_many.';
revoke execute on function private.request_email_change(user_id uuid, session_id uuid, password_matches boolean, checked_token_version integer, checked_password_hash text, new_email text, token_hash bytea, sealed_token text, hashed_email bytea) from public;
grant execute on function private.request_email_change(user_id uuid, session_id uuid, password_matches boolean, checked_token_version integer, checked_password_hash text, new_email text, token_hash bytea, sealed_token text, hashed_email bytea) to :PLINTH_SERVICE;

-- Queues a link that verifies the account's address; returns sent, no_address, already_verified or too_many.
create or replace function private.request_email_verification(user_id uuid, token_hash bytea, sealed_token text)
  returns text
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
declare
  v_user identity.users;
begin
  select u.* into v_user
  from identity.users u
  where u.id = request_email_verification.user_id and u.account_status = 'active'
  for no key update;
  if v_user.email is null then
    return 'no_address';
  elsif v_user.email_verified_at is not null then
    return 'already_verified';
  elsif private.has_asked_too_often(v_user.id, 'email') then
    return 'too_many';
  end if;
  perform private.send_email_verification(
    v_user.id, v_user.email, request_email_verification.token_hash, request_email_verification.sealed_token
  );
  perform private.record_security_event('email_verification_requested', v_user.id);
  return 'sent';
end
$$;

comment on function private.request_email_verification(user_id uuid, token_hash bytea, sealed_token text) is 'Queues a link that verifies the account''s address; returns sent, no_address, already_verified or too_many.';
revoke execute on function private.request_email_verification(user_id uuid, token_hash bytea, sealed_token text) from public;
grant execute on function private.request_email_verification(user_id uuid, token_hash bytea, sealed_token text) to :PLINTH_SERVICE;

-- Queues a link to set a new password, if there is such an account with an address; returns nothing.
create or replace function private.request_password_reset(identifier text, token_hash bytea, sealed_token text)
  returns void
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
declare
  v_user identity.users;
  v_expires_at constant timestamptz := now() + interval '30 minutes';
  v_reason text;
begin
  select u.* into v_user
  from identity.users u
  where u.id = private.find_account(request_password_reset.identifier)
  for no key update;

  v_reason := case
    when v_user.id is null then 'unknown_account'
    when v_user.account_status <> 'active' then 'account_disabled'
    when v_user.email is null then 'no_address'
    when (
      select count(*) >= 3
      from private.password_reset_tokens t
      where t.user_id = v_user.id and t.expires_at > now() and t.used_at is null
    ) then 'too_many'
  end;
  if v_reason is not null then
    perform private.record_security_event(
      'password_reset_not_sent', v_user.id,
      jsonb_build_object(
        'reason', v_reason,
        -- Its hash shows repeats without revealing it: it may be a password typed into the wrong field.
        'identifier_hash', case when v_user.id is null then
          left(encode(sha256(convert_to(
            coalesce(
              plinth.normalize_email(request_password_reset.identifier),
              plinth.normalize_username(request_password_reset.identifier)
            ),
            'UTF8'
          )), 'hex'), 16) end
      )
    );
    return;
  end if;

  insert into private.password_reset_tokens (user_id, token_hash, expires_at, client_ip, user_agent)
  values (
    v_user.id, request_password_reset.token_hash, v_expires_at, plinth.client_ip(), left(plinth.user_agent(), 1000)
  );
  perform private.queue_mail(
    v_user.id, v_user.email, 'password-reset',
    private.mail_variables(v_user.id) || jsonb_build_object('sealed_token', request_password_reset.sealed_token),
    'email', v_expires_at
  );
  perform private.record_security_event('password_reset_requested', v_user.id);
end
$$;

comment on function private.request_password_reset(identifier text, token_hash bytea, sealed_token text) is 'Queues a link to set a new password, if there is such an account with an address; returns nothing.';
revoke execute on function private.request_password_reset(identifier text, token_hash bytea, sealed_token text) from public;
grant execute on function private.request_password_reset(identifier text, token_hash bytea, sealed_token text) to :PLINTH_SERVICE;

-- Queues a code to a number; returns sent, too_many or refused.
create or replace function private.request_phone_verification(user_id uuid, phone_number text, code_hash text, sealed_code text)
  returns text
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
declare
  v_user_id uuid;
  v_expires_at constant timestamptz := now() + interval '10 minutes';
begin
  select u.id into v_user_id
  from identity.users u
  where u.id = request_phone_verification.user_id and u.account_status = 'active'
  for no key update;
  -- Two accounts may request one number at the same time.
  perform pg_advisory_xact_lock(hashtextextended('phone ' || request_phone_verification.phone_number, 0));
  if v_user_id is null then
    return 'refused';
  elsif private.has_asked_too_often(v_user_id, 'phone') or (
    select count(*) >= 5
    from private.user_verifications v
    where v.kind = 'phone'
      and v.new_value = request_phone_verification.phone_number
      and v.created_at > now() - interval '1 day'
  ) then
    return 'too_many';
  end if;

  update private.user_verifications v
  set expires_at = now()
  where v.user_id = v_user_id and v.kind = 'phone' and v.expires_at > now() and v.used_at is null;
  insert into private.user_verifications (user_id, kind, purpose, new_value, code_hash, expires_at, client_ip, user_agent)
  values (
    v_user_id, 'phone', 'change', request_phone_verification.phone_number, request_phone_verification.code_hash, v_expires_at,
    plinth.client_ip(), left(plinth.user_agent(), 1000)
  );
  perform private.queue_mail(
    v_user_id, request_phone_verification.phone_number, 'phone-code',
    jsonb_build_object('sealed_token', request_phone_verification.sealed_code), 'sms', v_expires_at
  );
  perform private.record_security_event('phone_verification_requested', v_user_id);
  return 'sent';
end
$$;

comment on function private.request_phone_verification(user_id uuid, phone_number text, code_hash text, sealed_code text) is 'Queues a code to a number; returns sent, too_many or refused.';
revoke execute on function private.request_phone_verification(user_id uuid, phone_number text, code_hash text, sealed_code text) from public;
grant execute on function private.request_phone_verification(user_id uuid, phone_number text, code_hash text, sealed_code text) to :PLINTH_SERVICE;

-- Trigger: requests the cancellation of a deleted account's subscriptions at the payment provider.
create or replace function private.request_provider_cancellation()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
begin
  if old.status in ('incomplete', 'trialing', 'active', 'past_due', 'paused')
    and old.paid_period_end is distinct from 'infinity'
    and not exists (select from identity.users u where u.id = old.user_id)
  then
    insert into private.provider_cancellations (provider, provider_subscription_id)
    values (old.provider, old.provider_subscription_id)
    on conflict on constraint provider_cancellations_pkey do nothing;
  end if;
  return null;
end
$$;

comment on function private.request_provider_cancellation() is 'Trigger: requests the cancellation of a deleted account''s subscriptions at the payment provider.';
revoke execute on function private.request_provider_cancellation() from public;

-- Raises PL403 unless the signed-in user has manage_users and every permission of the account.
create or replace function private.require_administration(user_id uuid)
  returns void
  language plpgsql
  stable
  set search_path to 'pg_catalog'
as $$
begin
  if not access.has_permission('manage_users') then
    raise exception 'This needs the permission manage_users.' using errcode = 'PL403';
  end if;
  if not access.may_administer(require_administration.user_id) then
    raise exception 'The account has permissions that you do not have.' using errcode = 'PL403';
  end if;
end
$$;

comment on function private.require_administration(user_id uuid) is 'Raises PL403 unless the signed-in user has manage_users and every permission of the account.';
revoke execute on function private.require_administration(user_id uuid) from public;

-- Raises PL404 without a subscription, PL409 when a payment provider bills it.
create or replace function private.require_own_billing(subscription billing.user_subscriptions)
  returns void
  language plpgsql
  stable
  set search_path to 'pg_catalog'
as $$
begin
  if subscription.id is null then
    raise exception 'You have no subscription.' using errcode = 'PL404';
  end if;
  -- A change made only here would leave the provider charging.
  if subscription.provider is not null then
    raise exception 'The subscription is billed by %.', subscription.provider
      using errcode = 'PL409', hint = 'Change it at the provider: createBillingPortal.';
  end if;
end
$$;

comment on function private.require_own_billing(subscription billing.user_subscriptions) is 'Raises PL404 without a subscription, PL409 when a payment provider bills it.';
revoke execute on function private.require_own_billing(subscription billing.user_subscriptions) from public;

-- Raises PL403 with the hint "Confirm it is you with reauthenticate." unless the calling session was authenticated within 10 minutes.
create or replace function private.require_recent_authentication()
  returns void
  language plpgsql
  stable security definer
  set search_path to 'pg_catalog'
as $$
declare
  v_authenticated_at timestamptz;
begin
  select s.authenticated_at into v_authenticated_at
  from identity.user_sessions s
  join identity.users u on u.id = s.user_id and u.account_status = 'active'
  where s.id = plinth.current_session_id()
    and s.user_id = plinth.current_user_id()
    and s.ended_at is null
    and s.expires_at > now();
  if v_authenticated_at is null then
    raise exception 'You must be signed in.' using errcode = 'PL401';
  end if;
  if v_authenticated_at < now() - interval '10 minutes' then
    raise exception 'This needs a sign-in within the last 10 minutes.'
      using errcode = 'PL403', hint = 'Confirm it is you with reauthenticate.';
  end if;
end
$$;

comment on function private.require_recent_authentication() is 'Raises PL403 with the hint "Confirm it is you with reauthenticate." unless the calling session was authenticated within 10 minutes.';
revoke execute on function private.require_recent_authentication() from public;
grant execute on function private.require_recent_authentication() to :PLINTH_SERVICE;

-- Raises PL404 for a message that cannot be replied to.
create or replace function private.require_reply(room_id uuid, sender_id uuid, reply_to_id uuid, is_private boolean)
  returns void
  language plpgsql
  stable
  set search_path to 'pg_catalog'
as $$
begin
  if not exists (
    select
    from rooms.room_messages m
    where m.id = require_reply.reply_to_id
      and m.room_id = require_reply.room_id
      and (not m.is_private or require_reply.is_private)
      and (require_reply.sender_id is null or private.sees_message(m.id, require_reply.sender_id))
  ) then
    raise exception 'The message to reply to was not found.' using errcode = 'PL404', column = 'reply_to_id';
  end if;
end
$$;

comment on function private.require_reply(room_id uuid, sender_id uuid, reply_to_id uuid, is_private boolean) is 'Raises PL404 for a message that cannot be replied to.';
revoke execute on function private.require_reply(room_id uuid, sender_id uuid, reply_to_id uuid, is_private boolean) from public;

-- Raises PL403 for a member who does not moderate the room; PL404 for a non-member.
create or replace function private.require_room_moderator(room_id uuid)
  returns void
  language plpgsql
  stable
  set search_path to 'pg_catalog'
as $$
begin
  if private.current_room_role(require_room_moderator.room_id) not in ('creator', 'moderator') then
    raise exception 'Only moderators of the room may do this.' using errcode = 'PL403';
  end if;
end
$$;

comment on function private.require_room_moderator(room_id uuid) is 'Raises PL403 for a member who does not moderate the room; PL404 for a non-member.';
revoke execute on function private.require_room_moderator(room_id uuid) from public;

-- Raises PL422 when both plans cost something in different currencies.
create or replace function private.require_same_currency(old_plan billing.subscription_plans, new_plan billing.subscription_plans)
  returns void
  language plpgsql
  immutable
  set search_path to 'pg_catalog'
as $$
begin
  if old_plan.currency <> new_plan.currency and old_plan.price_cents > 0 and new_plan.price_cents > 0 then
    raise exception 'A subscription paid in % cannot change to a plan in %.', old_plan.currency, new_plan.currency
      using errcode = 'PL422', column = 'plan_id';
  end if;
end
$$;

comment on function private.require_same_currency(old_plan billing.subscription_plans, new_plan billing.subscription_plans) is 'Raises PL422 when both plans cost something in different currencies.';
revoke execute on function private.require_same_currency(old_plan billing.subscription_plans, new_plan billing.subscription_plans) from public;

-- Raises PL403 unless the signed-in user has manage_subscriptions.
create or replace function private.require_subscription_manager()
  returns void
  language plpgsql
  stable
  set search_path to 'pg_catalog'
as $$
begin
  if not access.has_permission('manage_subscriptions') then
    raise exception 'You need the permission manage_subscriptions.' using errcode = 'PL403';
  end if;
end
$$;

comment on function private.require_subscription_manager() is 'Raises PL403 unless the signed-in user has manage_subscriptions.';
revoke execute on function private.require_subscription_manager() from public;

-- Reserves tokens for a call; the same key again returns the same hold. PL402 when grants or hard limits do not cover it, PL409 for a key used for another request, PL404 for an unknown user or model.
create or replace function private.reserve_tokens(user_id uuid, model_id uuid, max_tokens bigint, idempotency_key text, ttl interval default '00:05:00'::interval, at timestamp with time zone default now())
  returns billing.token_holds
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
#variable_conflict use_column
declare
  v_ledger record;
  v_is_locked boolean;
  v_next timestamptz;
  v_grant record;
  v_check record;
  v_hold billing.token_holds;
  v_taken record;
begin
  if reserve_tokens.max_tokens between 1 and 1000000000000 is not true then
    raise exception 'The number of tokens to hold must be from 1 to 10^12.' using errcode = 'PL422', column = 'max_tokens';
  end if;
  if length(reserve_tokens.idempotency_key) between 1 and 255 is not true then
    raise exception 'An idempotency key must have 1 to 255 characters.' using errcode = 'PL422', column = 'idempotency_key';
  end if;
  if reserve_tokens.ttl between interval '1 second' and interval '24 hours' is not true then
    raise exception 'A hold must last from 1 second to 24 hours.' using errcode = 'PL422', column = 'ttl';
  end if;
  -- Nearly always the ledger is up to date, the first grant has enough and the key is new; then four small statements suffice.
  -- Nothing is locked where the account is needed first, because the holder of the ledger's lock must not wait for the account.
  -- The check therefore reads the row version from before the lock wait; re-reading it here would run the query while holding the
  -- lock.
  select
    t.next_hold_expires_at,
    (t.last_reset < date_trunc('month', reserve_tokens.at, 'UTC') or t.next_hold_expires_at <= reserve_tokens.at) is true as is_due,
    exists (select from llm.models m where m.id = reserve_tokens.model_id) as has_model,
    exists (select from billing.usage_limits l where l.is_hard) as has_limits
  into v_ledger
  from billing.usage_tracking t
  where t.user_id = reserve_tokens.user_id
    and (select e.entitled_until > now() from billing.usage_tracking e where e.user_id = reserve_tokens.user_id)
  for no key update of t;
  v_is_locked := found;
  if v_is_locked and not v_ledger.is_due and v_ledger.has_model and not v_ledger.has_limits then
    select
      f.id,
      f.amount is null or f.amount - f.consumed - f.held >= reserve_tokens.max_tokens as has_enough,
      exists (
        select
        from billing.token_holds h
        where h.user_id = reserve_tokens.user_id and h.idempotency_key = reserve_tokens.idempotency_key
      ) as is_repeated
    into v_grant
    from billing.token_grants f
    where f.user_id = reserve_tokens.user_id
      and f.retired_at is null
      and f.starts_at <= reserve_tokens.at
      and (f.expires_at is null or f.expires_at > reserve_tokens.at)
    order by f.priority, f.expires_at, f.created_at, f.id
    limit 1;
    if v_grant.has_enough and not v_grant.is_repeated then
      update billing.token_grants g set held = g.held + reserve_tokens.max_tokens where g.id = v_grant.id;
      insert into billing.token_holds (
        user_id, model_id, max_tokens, grant_ids, grant_tokens, idempotency_key, expires_at, created_at
      )
      values (
        reserve_tokens.user_id, reserve_tokens.model_id, reserve_tokens.max_tokens, array[v_grant.id],
        array[reserve_tokens.max_tokens], reserve_tokens.idempotency_key, reserve_tokens.at + reserve_tokens.ttl,
        reserve_tokens.at
      )
      returning * into v_hold;
      -- Rare: the next hold to end is usually an earlier one.
      if v_ledger.next_hold_expires_at <= v_hold.expires_at is not true then
        update billing.usage_tracking t set next_hold_expires_at = v_hold.expires_at where t.user_id = v_hold.user_id;
      end if;
      return v_hold;
    end if;
  end if;

  perform private.ensure_grants_at(reserve_tokens.user_id, now(), not v_is_locked)
  where not exists (
    select from billing.usage_tracking t where t.user_id = reserve_tokens.user_id and t.entitled_until > now()
  );
  v_next := private.lock_usage(reserve_tokens.user_id, reserve_tokens.at);

  select h.* into v_hold
  from billing.token_holds h
  where h.user_id = reserve_tokens.user_id and h.idempotency_key = reserve_tokens.idempotency_key;
  if found then
    if v_hold.model_id is distinct from reserve_tokens.model_id
      or v_hold.max_tokens <> reserve_tokens.max_tokens
      or v_hold.expires_at - v_hold.created_at <> reserve_tokens.ttl
    then
      raise exception 'The idempotency key was already used with other arguments.'
        using errcode = 'PL409', column = 'idempotency_key';
    end if;
    return v_hold;
  end if;

  select
    exists (select from llm.models m where m.id = reserve_tokens.model_id) as has_model,
    exists (select from billing.usage_limits l where l.is_hard) as has_limits
  into v_check;
  if not v_check.has_model then
    raise exception 'Model not found.' using errcode = 'PL404', column = 'model_id';
  end if;
  if v_check.has_limits and private.limits_passed(
    reserve_tokens.user_id, reserve_tokens.model_id, reserve_tokens.max_tokens, true, reserve_tokens.at
  ) > 0 then
    raise exception 'A usage limit does not allow that many tokens.'
      using errcode = 'PL402', hint = 'The limit resets with the next day or month (UTC).';
  end if;
  v_taken := private.take_tokens(reserve_tokens.user_id, reserve_tokens.max_tokens, true, reserve_tokens.at);
  if v_taken.missing > 0 then
    raise exception 'Not enough tokens are left.'
      using errcode = 'PL402', hint = format('%s are missing.', v_taken.missing);
  end if;

  insert into billing.token_holds (
    user_id, model_id, max_tokens, grant_ids, grant_tokens, idempotency_key, expires_at, created_at
  )
  values (
    reserve_tokens.user_id, reserve_tokens.model_id, reserve_tokens.max_tokens, v_taken.grant_ids, v_taken.grant_tokens,
    reserve_tokens.idempotency_key, reserve_tokens.at + reserve_tokens.ttl, reserve_tokens.at
  )
  returning * into v_hold;
  if v_next <= v_hold.expires_at is not true then
    update billing.usage_tracking t set next_hold_expires_at = v_hold.expires_at where t.user_id = v_hold.user_id;
  end if;
  return v_hold;
end
$$;

comment on function private.reserve_tokens(user_id uuid, model_id uuid, max_tokens bigint, idempotency_key text, ttl interval, at timestamp with time zone) is 'Reserves tokens for a call; the same key again returns the same hold. PL402 when grants or hard limits do not cover it, PL409 for a key used for another request, PL404 for an unknown user or model.';
revoke execute on function private.reserve_tokens(user_id uuid, model_id uuid, max_tokens bigint, idempotency_key text, ttl interval, at timestamp with time zone) from public;
grant execute on function private.reserve_tokens(user_id uuid, model_id uuid, max_tokens bigint, idempotency_key text, ttl interval, at timestamp with time zone) to :PLINTH_SERVICE;

-- Sets a password with a single-use token and ends all sessions; returns false for an invalid token.
create or replace function private.reset_password(token_hash bytea, new_password_hash text, new_hash_algorithm text, suffices_alone boolean, history_length integer)
  returns boolean
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
declare
  v_user identity.users;
  v_ended integer;
begin
  select u.* into v_user
  from identity.users u
  where u.id = (select t.user_id from private.password_reset_tokens t where t.token_hash = reset_password.token_hash)
  for no key update;
  -- Read only now, with the account locked: after waiting for the winner, the token is used, or expired by the clock of a
  -- transaction that began after this one.
  update private.password_reset_tokens t
  set used_at = now()
  where t.token_hash = reset_password.token_hash
    and t.used_at is null
    and t.expires_at > clock_timestamp()
    and v_user.account_status = 'active';
  if not found then
    perform private.record_security_event(
      'password_reset_failed', v_user.id, jsonb_build_object('reason', 'token_not_valid'), 'warning'
    );
    return false;
  end if;

  perform private.set_password(
    v_user.id, reset_password.new_password_hash, reset_password.new_hash_algorithm, reset_password.suffices_alone,
    reset_password.history_length
  );
  update identity.users u
  set
    password_changed_at = now(), token_version = u.token_version + 1, failed_login_attempts = 0, locked_until = null
  where u.id = v_user.id;
  v_ended := private.end_sessions(v_user.id, 'password_changed');
  delete from private.refresh_tokens t where t.user_id = v_user.id;
  perform private.record_security_event(
    'password_reset', v_user.id,
    jsonb_build_object('ended_sessions', v_ended, 'lifted_lock', coalesce(v_user.locked_until > now(), false)), 'warning'
  );
  perform private.notify_user(v_user.id, 'password-changed', jsonb_build_object('by_reset', true));
  return true;
end
$$;

comment on function private.reset_password(token_hash bytea, new_password_hash text, new_hash_algorithm text, suffices_alone boolean, history_length integer) is 'Sets a password with a single-use token and ends all sessions; returns false for an invalid token.';
revoke execute on function private.reset_password(token_hash bytea, new_password_hash text, new_hash_algorithm text, suffices_alone boolean, history_length integer) from public;
grant execute on function private.reset_password(token_hash bytea, new_password_hash text, new_hash_algorithm text, suffices_alone boolean, history_length integer) to :PLINTH_SERVICE;

-- Starts the month in up to batch_size rows of usage_tracking that are in an earlier one; returns their number.
create or replace function private.reset_usage_tracking(batch_size integer default 1000, at timestamp with time zone default now())
  returns integer
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
declare
  v_month timestamptz := date_trunc('month', reset_usage_tracking.at, 'UTC');
  v_count integer;
begin
  if batch_size is null or batch_size not between 1 and 100000 then
    raise exception 'batch_size must be from 1 to 100000.' using errcode = 'PL422';
  end if;
  with due as (
    select t.user_id
    from billing.usage_tracking t
    where t.last_reset < v_month
    limit batch_size
    for update skip locked
  )
  update billing.usage_tracking t
  set token_count = 0, last_reset = v_month
  from due d
  where t.user_id = d.user_id;
  get diagnostics v_count = row_count;
  return v_count;
end
$$;

comment on function private.reset_usage_tracking(batch_size integer, at timestamp with time zone) is 'Starts the month in up to batch_size rows of usage_tracking that are in an earlier one; returns their number.';
revoke execute on function private.reset_usage_tracking(batch_size integer, at timestamp with time zone) from public;
grant execute on function private.reset_usage_tracking(batch_size integer, at timestamp with time zone) to :PLINTH_WORKER;

-- Retires the ended grants of up to batch_size users; returns the number of users.
create or replace function private.retire_token_grants(batch_size integer default 1000, at timestamp with time zone default now())
  returns integer
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
declare
  v_user_id uuid;
  v_users integer := 0;
begin
  if batch_size is null or batch_size not between 1 and 100000 then
    raise exception 'batch_size must be from 1 to 100000.' using errcode = 'PL422';
  end if;
  for v_user_id in
    select t.user_id
    from billing.usage_tracking t
    where t.user_id in (
      select g.user_id
      from billing.token_grants g
      where g.retired_at is null and g.held = 0 and g.expires_at <= retire_token_grants.at
    )
    limit batch_size
    for update skip locked
  loop
    update billing.token_grants g
    set retired_at = retire_token_grants.at
    where g.user_id = v_user_id and g.retired_at is null and g.held = 0 and g.expires_at <= retire_token_grants.at;
    v_users := v_users + 1;
  end loop;
  return v_users;
end
$$;

comment on function private.retire_token_grants(batch_size integer, at timestamp with time zone) is 'Retires the ended grants of up to batch_size users; returns the number of users.';
revoke execute on function private.retire_token_grants(batch_size integer, at timestamp with time zone) from public;
grant execute on function private.retire_token_grants(batch_size integer, at timestamp with time zone) to :PLINTH_WORKER;

-- Trigger: notifies the servers of an API token that was revoked or deleted.
create or replace function private.revoke_api_token()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
begin
  insert into private.token_blacklist (kind, subject_id, reason)
  values ('token', old.id, case when tg_op = 'DELETE' then 'api_token_deleted' else 'api_token_revoked' end);
  return null;
end
$$;

comment on function private.revoke_api_token() is 'Trigger: notifies the servers of an API token that was revoked or deleted.';
revoke execute on function private.revoke_api_token() from public;

-- Trigger: revokes a user's API tokens when token_version grows.
create or replace function private.revoke_api_tokens_of_user()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
declare
  v_revoked integer;
begin
  update identity.api_tokens t set revoked_at = now() where t.user_id = new.id and t.revoked_at is null;
  get diagnostics v_revoked = row_count;
  if v_revoked > 0 then
    perform private.record_security_event('api_tokens_revoked', new.id, jsonb_build_object('tokens', v_revoked));
  end if;
  return null;
end
$$;

comment on function private.revoke_api_tokens_of_user() is 'Trigger: revokes a user''s API tokens when token_version grows.';
revoke execute on function private.revoke_api_tokens_of_user() from public;

-- Trigger: revokes the access tokens of a session that ended or was deleted.
create or replace function private.revoke_session_tokens()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
begin
  insert into private.token_blacklist (kind, subject_id, reason)
  select 'session', old.id, case when tg_op = 'DELETE' then 'session_deleted' else new.end_reason end;
  -- The family ends with its session: a refresh token is live only while its session is.
  return null;
end
$$;

comment on function private.revoke_session_tokens() is 'Trigger: revokes the access tokens of a session that ended or was deleted.';
revoke execute on function private.revoke_session_tokens() from public;

-- Trigger: revokes a user's access tokens when token_version grows or the account is disabled or deleted.
create or replace function private.revoke_user_tokens()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
begin
  if tg_op = 'DELETE' then
    insert into private.token_blacklist (kind, subject_id, reason)
    values ('user', old.id, 'account_deleted');
    perform private.record_security_event('account_deleted', null, jsonb_build_object('user_id', old.id), 'warning');
    return null;
  end if;
  insert into private.token_blacklist (kind, subject_id, token_version, reason)
  values ('user', new.id, new.token_version, 'token_version_raised');
  if new.account_status <> 'active' then
    update identity.user_sessions s
    set ended_at = now(), end_reason = 'account_disabled'
    where s.user_id = new.id and s.ended_at is null;
  end if;
  return null;
end
$$;

comment on function private.revoke_user_tokens() is 'Trigger: revokes a user''s access tokens when token_version grows or the account is disabled or deleted.';
revoke execute on function private.revoke_user_tokens() from public;

-- Runs rooms.room_context for the service, which acts for the AI of any room.
create or replace function private.room_context(room_id uuid, max_count integer default 50, audience_id uuid default null::uuid)
  returns table(message_id uuid, sequence bigint, sender_id uuid, sender_type text, sender_name text, reply_to_id uuid, content text, created_at timestamp with time zone, audience_version bigint)
  language plpgsql
  stable security definer
  set search_path to 'pg_catalog'
as $$
#variable_conflict use_column
declare
  v_visible_after bigint;
  v_audience uuid[];
  v_hidden uuid[];
begin
  select array_agg(m.user_id), max(m.visible_after)
  into v_audience, v_visible_after
  from rooms.room_members m
  where m.room_id = room_context.room_id
    and m.user_id is not null
    and (room_context.audience_id is null or m.user_id = room_context.audience_id);
  v_hidden := array(select distinct b.blocked_id from rooms.user_blocks b where b.user_id = any (v_audience));
  return query
    select
      last.id, last.sequence, last.sender_id, last.sender_type, u.username, last.reply_to_id, last.content, last.created_at,
      last.audience_version
    from (
      select m.*, r.audience_version
      from rooms.room_messages m
      join rooms.chat_rooms r on r.id = m.room_id
      where m.room_id = room_context.room_id
        and m.event_sequence > v_visible_after
        and not m.is_deleted
        and (m.sender_id is null or not m.sender_id = any (v_hidden))
        and (
          not m.is_private
          or (
            room_context.audience_id is not null
            and (
              m.sender_id = room_context.audience_id
              or exists (
                select
                from rooms.room_message_recipients p
                where p.message_id = m.id and p.user_id = room_context.audience_id
              )
            )
          )
        )
      order by m.event_sequence desc
      limit least(greatest(room_context.max_count, 0), 500)
    ) as last
    left join identity.users u on u.id = last.sender_id
    order by last.event_sequence;
end
$$;

comment on function private.room_context(room_id uuid, max_count integer, audience_id uuid) is 'Runs rooms.room_context for the service, which acts for the AI of any room.';
revoke execute on function private.room_context(room_id uuid, max_count integer, audience_id uuid) from public;
grant execute on function private.room_context(room_id uuid, max_count integer, audience_id uuid) to :PLINTH_SERVICE;

-- Returns rooms with an AI member in which a member wrote after its last answer, and the last such message; longest waiting first.
create or replace function private.rooms_to_answer(room_id uuid default null::uuid, max_count integer default 100)
  returns table(room_id uuid, message_id uuid)
  language sql
  stable security definer
  set search_path to 'pg_catalog'
as $$
  select ai.room_id, asked.id
  from rooms.room_members ai
  cross join lateral (
    select m.id, m.sequence
    from rooms.room_messages m
    where m.room_id = ai.room_id and m.sender_type = 'user' and not m.is_private and not m.is_deleted
    order by m.event_sequence desc
    limit 1
  ) asked
  left join lateral (
    select coalesce(t.sequence, m.sequence) as sequence
    from rooms.room_messages m
    left join rooms.room_messages t on t.id = m.reply_to_id
    where m.room_id = ai.room_id and m.sender_type = 'ai'
    order by m.event_sequence desc
    limit 1
  ) answered on true
  where ai.user_id is null
    and ai.role = 'ai'
    and (rooms_to_answer.room_id is null or ai.room_id = rooms_to_answer.room_id)
    and asked.sequence > coalesce(answered.sequence, 0)
  order by asked.id
  limit least(greatest(max_count, 0), 1000)
$$;

comment on function private.rooms_to_answer(room_id uuid, max_count integer) is 'Returns rooms with an AI member in which a member wrote after its last answer, and the last such message; longest waiting first.';
revoke execute on function private.rooms_to_answer(room_id uuid, max_count integer) from public;
grant execute on function private.rooms_to_answer(room_id uuid, max_count integer) to :PLINTH_SERVICE;

-- Exchanges a refresh token for its successor; returns rotated, replayed (same successor again) or refused.
create or replace function private.rotate_refresh_token(presented_hash bytea, successor_hash bytea, successor_sealed bytea)
  returns table(outcome text, user_id uuid, session_id uuid, token_version integer, sealed bytea, refresh_expires_at timestamp with time zone)
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
#variable_conflict use_column
declare
  v_token private.refresh_tokens;
  v_successor private.refresh_tokens;
  v_session identity.user_sessions;
  v_user identity.users;
  v_idle_limit interval;
begin
  outcome := 'refused';

  select t.* into v_token from private.refresh_tokens t where t.token_hash = rotate_refresh_token.presented_hash;
  if v_token.id is null then
    return next;
    return;
  end if;

  -- Account before session, the global lock order (see private.finish_login).
  perform from identity.users u where u.id = v_token.user_id for key share;
  -- The session's row is the family's lock: parallel refreshes, logout and reuse wait for each other here.
  select s.* into v_session from identity.user_sessions s where s.id = v_token.session_id for update;
  select t.* into v_token from private.refresh_tokens t where t.id = v_token.id;
  select u.* into v_user from identity.users u where u.id = v_session.user_id;

  if v_token.id is null or v_session.ended_at is not null or v_user.account_status <> 'active' then
    return next;
    return;
  end if;
  v_idle_limit := private.session_idle_limit(v_user.id);
  -- For a used token the time of use counts, below: a replay must not end the session because the token has expired since.
  if v_session.expires_at <= now()
    or (
      v_token.used_at is null
      and (v_token.expires_at <= now() or v_session.last_activity_at <= now() - v_idle_limit)
    )
  then
    update identity.user_sessions s set ended_at = now(), end_reason = 'expired' where s.id = v_session.id;
    return next;
    return;
  end if;

  if v_token.used_at is not null then
    select t.* into v_successor from private.refresh_tokens t where t.parent_id = v_token.id;
    if v_successor.id is null or v_successor.used_at is not null or v_token.used_at < now() - interval '1 minute' then
      update identity.user_sessions s set ended_at = now(), end_reason = 'token_reuse' where s.id = v_session.id;
      perform private.record_security_event(
        'refresh_token_reused', v_user.id, jsonb_build_object('session_id', v_session.id), 'critical'
      );
      return next;
      return;
    end if;
  end if;

  if not private.network_is_allowed(v_user.id) then
    perform private.record_security_event(
      'refresh_refused', v_user.id,
      jsonb_build_object('session_id', v_session.id, 'reason', 'network_not_allowed'), 'warning'
    );
    return next;
    return;
  end if;

  user_id := v_user.id;
  session_id := v_session.id;
  token_version := v_user.token_version;

  if v_token.used_at is not null then
    outcome := 'replayed';
    sealed := v_token.successor_sealed;
    refresh_expires_at := least(v_successor.expires_at, now() + v_idle_limit);
    return next;
    return;
  end if;

  update private.refresh_tokens t
  set
    used_at = now(),
    successor_sealed = rotate_refresh_token.successor_sealed,
    -- Kept that long only to recognise a second use.
    expires_at = least(t.expires_at, now() + interval '30 days')
  where t.id = v_token.id;
  refresh_expires_at :=
    private.issue_refresh_token(v_session.id, rotate_refresh_token.successor_hash, v_token.id);
  update identity.user_sessions s
  set
    last_activity_at = now(),
    ip_address = coalesce(plinth.client_ip(), s.ip_address),
    user_agent = coalesce(left(plinth.user_agent(), 1000), s.user_agent)
  where s.id = v_session.id;
  outcome := 'rotated';
  return next;
end
$$;

comment on function private.rotate_refresh_token(presented_hash bytea, successor_hash bytea, successor_sealed bytea) is 'Exchanges a refresh token for its successor; returns rotated, replayed (same successor again) or refused.';
revoke execute on function private.rotate_refresh_token(presented_hash bytea, successor_hash bytea, successor_sealed bytea) from public;
grant execute on function private.rotate_refresh_token(presented_hash bytea, successor_hash bytea, successor_sealed bytea) to :PLINTH_SERVICE;

-- Creates or updates a user's account at a provider with its sealed tokens; returns the profile's id.
create or replace function private.save_provider_profile(user_id uuid, provider text, provider_user_id text, email text, email_verified boolean, user_info jsonb, access_token_sealed text, refresh_token_sealed text, token_expires_at timestamp with time zone, last_used_at timestamp with time zone)
  returns uuid
  language plpgsql
  set search_path to 'pg_catalog'
as $$
#variable_conflict use_column
declare
  v_id uuid;
begin
  insert into identity.oauth_profiles as o
    (user_id, provider, provider_user_id, email, email_verified, user_info, token_expires_at, last_used_at)
  values (
    save_provider_profile.user_id,
    save_provider_profile.provider,
    save_provider_profile.provider_user_id,
    save_provider_profile.email,
    save_provider_profile.email is not null and coalesce(save_provider_profile.email_verified, false),
    coalesce(save_provider_profile.user_info, '{}'),
    save_provider_profile.token_expires_at,
    save_provider_profile.last_used_at
  )
  on conflict (provider, provider_user_id) do update
  set
    email = excluded.email,
    email_verified = excluded.email_verified,
    user_info = excluded.user_info,
    token_expires_at = excluded.token_expires_at,
    last_used_at = coalesce(excluded.last_used_at, o.last_used_at)
  -- A safeguard behind the callers' checks: a profile never changes its owner.
  where o.user_id = excluded.user_id
  returning o.id into strict v_id;

  insert into private.oauth_tokens as t (profile_id, access_token_sealed, refresh_token_sealed)
  values (v_id, save_provider_profile.access_token_sealed, save_provider_profile.refresh_token_sealed)
  on conflict (profile_id) do update
  set
    access_token_sealed = excluded.access_token_sealed,
    refresh_token_sealed = excluded.refresh_token_sealed,
    updated_at = now();
  return v_id;
end
$$;

comment on function private.save_provider_profile(user_id uuid, provider text, provider_user_id text, email text, email_verified boolean, user_info jsonb, access_token_sealed text, refresh_token_sealed text, token_expires_at timestamp with time zone, last_used_at timestamp with time zone) is 'Creates or updates a user''s account at a provider with its sealed tokens; returns the profile''s id.';
revoke execute on function private.save_provider_profile(user_id uuid, provider text, provider_user_id text, email text, email_verified boolean, user_info jsonb, access_token_sealed text, refresh_token_sealed text, token_expires_at timestamp with time zone, last_used_at timestamp with time zone) from public;

-- Runs billing.change_plan for a user as of a time.
create or replace function private.schedule_plan_at(user_id uuid, plan_id uuid, at timestamp with time zone)
  returns billing.user_subscriptions
  language plpgsql
  set search_path to 'pg_catalog'
as $$
declare
  v_before billing.user_subscriptions := private.lock_subscriber(schedule_plan_at.user_id, schedule_plan_at.at);
  v_after billing.user_subscriptions;
  v_old billing.subscription_plans;
  v_new billing.subscription_plans;
  v_wanted uuid;
begin
  perform private.require_own_billing(v_before);
  if v_before.status not in ('trialing', 'active') then
    raise exception 'A subscription with status % cannot change its plan.', v_before.status using errcode = 'PL409';
  end if;
  if v_before.current_period_end is null then
    raise exception 'A lifetime plan cannot be changed.' using errcode = 'PL409';
  end if;
  -- The current plan: this revokes the planned change.
  if schedule_plan_at.plan_id <> v_before.plan_id then
    v_new := private.offered_plan(schedule_plan_at.plan_id);
    select p.* into strict v_old from billing.subscription_plans p where p.id = v_before.plan_id;
    perform private.require_same_currency(v_old, v_new);
    if private.is_upgrade(v_old, v_new) and v_new.price_cents > 0 then
      raise exception 'This plan begins with its payment.'
        using errcode = 'PL402', column = 'plan_id', hint = 'Pay with createCheckout.';
    end if;
    v_wanted := v_new.id;
  end if;
  if v_before.pending_plan_id is not distinct from v_wanted then
    raise exception 'This change is already planned.' using errcode = 'PL409', column = 'plan_id';
  end if;
  update billing.user_subscriptions s
  set pending_plan_id = v_wanted
  where s.id = v_before.id
  returning s.* into v_after;
  perform private.record_subscription_change(
    case when v_wanted is null then 'change_withdrawn' else 'change_scheduled' end, v_before, v_after, schedule_plan_at.at
  );
  return v_after;
end
$$;

comment on function private.schedule_plan_at(user_id uuid, plan_id uuid, at timestamp with time zone) is 'Runs billing.change_plan for a user as of a time.';
revoke execute on function private.schedule_plan_at(user_id uuid, plan_id uuid, at timestamp with time zone) from public;

-- Returns the second factors of an account: passkey, totp, recovery_code; empty without a confirmed factor.
create or replace function private.second_factors(user_id uuid)
  returns text[]
  language sql
  stable
  set search_path to 'pg_catalog'
as $$
  with kinds as (
    select distinct f.kind
    from identity.mfa_factors f
    where f.user_id = second_factors.user_id
      and f.confirmed_at is not null
  )
  select coalesce(array_agg(method order by position), '{}')
  from (
    select case k.kind when 'passkey' then 1 else 2 end as position, k.kind as method
    from kinds k
    union all
    select 3, 'recovery_code'
    where exists (select from kinds)
      and exists (
        select from private.recovery_codes c where c.user_id = second_factors.user_id and c.used_at is null
      )
  ) methods
$$;

comment on function private.second_factors(user_id uuid) is 'Returns the second factors of an account: passkey, totp, recovery_code; empty without a confirmed factor.';
revoke execute on function private.second_factors(user_id uuid) from public;

-- Returns whether a user may see a message of a room.
create or replace function private.sees_message(message_id uuid, user_id uuid)
  returns boolean
  language sql
  stable
  set search_path to 'pg_catalog'
as $$
  select exists (
    select
    from rooms.room_messages msg
    join rooms.room_members m
      on m.room_id = msg.room_id and m.user_id = sees_message.user_id and msg.event_sequence > m.visible_after
    where msg.id = sees_message.message_id
      and (
        not msg.is_private
        or msg.sender_id = sees_message.user_id
        or exists (
          select from rooms.room_message_recipients r where r.message_id = msg.id and r.user_id = sees_message.user_id
        )
      )
      and (msg.sender_id is null or not private.is_blocked(msg.sender_id, sees_message.user_id))
  )
$$;

comment on function private.sees_message(message_id uuid, user_id uuid) is 'Returns whether a user may see a message of a room.';
revoke execute on function private.sees_message(message_id uuid, user_id uuid) from public;

-- Returns whether a user may see a room: as a member, by an invite, or because it is public.
create or replace function private.sees_room(room_id uuid, user_id uuid)
  returns boolean
  language sql
  stable
  set search_path to 'pg_catalog'
as $$
  select exists (
    select
    from rooms.chat_rooms r
    where r.id = sees_room.room_id
      and (
        r.is_public
        or exists (
          select from rooms.room_invites i where i.room_id = r.id and i.invitee_id = sees_room.user_id and i.status = 'pending'
        )
        or exists (select from rooms.room_members m where m.room_id = r.id and m.user_id = sees_room.user_id)
      )
  )
$$;

comment on function private.sees_room(room_id uuid, user_id uuid) is 'Returns whether a user may see a room: as a member, by an invite, or because it is public.';
revoke execute on function private.sees_room(room_id uuid, user_id uuid) from public;

-- Stores a verification of an address and queues its link; without a token it only stores.
create or replace function private.send_email_verification(user_id uuid, address text, token_hash bytea, sealed_token text)
  returns void
  language plpgsql
  set search_path to 'pg_catalog'
as $$
declare
  v_expires_at constant timestamptz := now() + interval '1 day';
begin
  insert into private.user_verifications (user_id, kind, purpose, new_value, token_hash, expires_at, client_ip, user_agent)
  values (
    send_email_verification.user_id,
    'email',
    case
      when exists (
        select
        from identity.users u
        where u.id = send_email_verification.user_id and u.email = send_email_verification.address
      )
      then 'prove'
      else 'change'
    end,
    send_email_verification.address,
    send_email_verification.token_hash,
    v_expires_at,
    plinth.client_ip(),
    left(plinth.user_agent(), 1000)
  );
  -- No names: the recipient may be a stranger, and the display name can be any text.
  if send_email_verification.sealed_token is not null then
    perform private.queue_mail(
      send_email_verification.user_id, send_email_verification.address, 'verify-email',
      (private.mail_variables(send_email_verification.user_id) - 'display_name' - 'user_agent')
        || jsonb_build_object('sealed_token', send_email_verification.sealed_token),
      'email', v_expires_at
    );
  end if;
end
$$;

comment on function private.send_email_verification(user_id uuid, address text, token_hash bytea, sealed_token text) is 'Stores a verification of an address and queues its link; without a token it only stores.';
revoke execute on function private.send_email_verification(user_id uuid, address text, token_hash bytea, sealed_token text) from public;

-- Returns how long a user's sessions may stay idle: session_timeout_minutes, or 30 days.
create or replace function private.session_idle_limit(user_id uuid)
  returns interval
  language sql
  stable
  set search_path to 'pg_catalog'
as $$
  select coalesce(
    (
      select make_interval(mins => ss.session_timeout_minutes)
      from identity.user_security_settings ss
      where ss.user_id = session_idle_limit.user_id
    ),
    interval '30 days'
  )
$$;

comment on function private.session_idle_limit(user_id uuid) is 'Returns how long a user''s sessions may stay idle: session_timeout_minutes, or 30 days.';
revoke execute on function private.session_idle_limit(user_id uuid) from public;

-- Runs billing.cancel_subscription or billing.resume_subscription for a user as of a time.
create or replace function private.set_cancellation_at(user_id uuid, cancel boolean, at timestamp with time zone)
  returns billing.user_subscriptions
  language plpgsql
  set search_path to 'pg_catalog'
as $$
declare
  v_before billing.user_subscriptions := private.lock_subscriber(set_cancellation_at.user_id, set_cancellation_at.at);
  v_after billing.user_subscriptions;
begin
  perform private.require_own_billing(v_before);
  if cancel and v_before.status in ('past_due', 'paused') then
    -- No paid time is left, or its clock is stopped.
    return private.transition_subscription(v_before.id, 'canceled', set_cancellation_at.at);
  end if;
  if not cancel and v_before.status = 'paused' then
    return private.unpause_subscription(v_before.id, set_cancellation_at.at);
  end if;
  if v_before.current_period_end is null then
    raise exception 'A lifetime plan does not renew.' using errcode = 'PL409';
  end if;
  if v_before.cancel_at_period_end = cancel then
    raise exception 'The subscription already %.', case when cancel then 'ends with its period' else 'renews' end
      using errcode = 'PL409';
  end if;
  update billing.user_subscriptions s
  set cancel_at_period_end = cancel
  where s.id = v_before.id
  returning s.* into v_after;
  perform private.record_subscription_change(
    case when cancel then 'cancellation_scheduled' else 'cancellation_withdrawn' end,
    v_before, v_after, set_cancellation_at.at
  );
  return v_after;
end
$$;

comment on function private.set_cancellation_at(user_id uuid, cancel boolean, at timestamp with time zone) is 'Runs billing.cancel_subscription or billing.resume_subscription for a user as of a time.';
revoke execute on function private.set_cancellation_at(user_id uuid, cancel boolean, at timestamp with time zone) from public;

-- Writes a user's encrypted memory; no row when the key was deleted. PL409 when its version is not the expected one (0: no memory yet).
create or replace function private.set_conversation_memory(user_id uuid, key_id uuid, memory text, expected_version bigint default null::bigint)
  returns table(version bigint, created_at timestamp with time zone, updated_at timestamp with time zone)
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
#variable_conflict use_column
begin
  -- The account before its rows, as everywhere.
  perform from identity.users u where u.id = set_conversation_memory.user_id for key share;
  perform from private.user_keys k
  where k.id = set_conversation_memory.key_id and k.user_id = set_conversation_memory.user_id
  for key share;
  if not found then
    return;
  end if;

  return query
    update llm.conversation_memories m
    set key_id = set_conversation_memory.key_id, memory = set_conversation_memory.memory, version = default
    where m.user_id = set_conversation_memory.user_id
      and (set_conversation_memory.expected_version is null or m.version = set_conversation_memory.expected_version)
    returning m.version, m.created_at, m.updated_at;
  if found then
    return;
  end if;

  -- If the memory to replace is missing or has another version, the call conflicts; null or version 0 creates a new one.
  if coalesce(set_conversation_memory.expected_version, 0) = 0 then
    return query
      insert into llm.conversation_memories (user_id, key_id, memory)
      values (set_conversation_memory.user_id, set_conversation_memory.key_id, set_conversation_memory.memory)
      on conflict (user_id) do update
        set key_id = excluded.key_id, memory = excluded.memory, version = default
        where set_conversation_memory.expected_version is null
      returning version, created_at, updated_at;
    if found then
      return;
    end if;
  end if;
  raise exception 'The memory was changed in the meantime.'
    using errcode = 'PL409', column = 'expected_version', hint = 'Read it again and repeat the change.';
end
$$;

comment on function private.set_conversation_memory(user_id uuid, key_id uuid, memory text, expected_version bigint) is 'Writes a user''s encrypted memory; no row when the key was deleted. PL409 when its version is not the expected one (0: no memory yet).';
revoke execute on function private.set_conversation_memory(user_id uuid, key_id uuid, memory text, expected_version bigint) from public;
grant execute on function private.set_conversation_memory(user_id uuid, key_id uuid, memory text, expected_version bigint) to :PLINTH_SERVICE;

-- Stores a password, keeps the last history_length - 1 before it, and ends links that were sent under the old one.
create or replace function private.set_password(user_id uuid, password_hash text, hash_algorithm text, suffices_alone boolean, history_length integer)
  returns void
  language plpgsql
  set search_path to 'pg_catalog'
as $$
begin
  insert into private.password_history (user_id, password_hash, hash_algorithm)
  select p.user_id, p.password_hash, p.hash_algorithm
  from private.user_passwords p
  where p.user_id = set_password.user_id;
  -- The new password counts as one of them.
  delete from private.password_history h
  where h.user_id = set_password.user_id
    and h.id not in (
      select k.id
      from private.password_history k
      where k.user_id = set_password.user_id
      order by k.created_at desc
      limit greatest(set_password.history_length - 1, 0)
    );

  insert into private.user_passwords as p (user_id, password_hash, hash_algorithm, suffices_alone)
  values (set_password.user_id, set_password.password_hash, set_password.hash_algorithm, set_password.suffices_alone)
  on conflict on constraint user_passwords_pkey do update
    set
      password_hash = excluded.password_hash,
      hash_algorithm = excluded.hash_algorithm,
      suffices_alone = excluded.suffices_alone,
      updated_at = now();

  update private.password_reset_tokens t
  set expires_at = now()
  where t.user_id = set_password.user_id and t.expires_at > now() and t.used_at is null;
  update private.user_verifications v
  set expires_at = now()
  where v.user_id = set_password.user_id
    and v.kind = 'email'
    and v.purpose = 'change'
    and v.expires_at > now()
    and v.used_at is null;
end
$$;

comment on function private.set_password(user_id uuid, password_hash text, hash_algorithm text, suffices_alone boolean, history_length integer) is 'Stores a password, keeps the last history_length - 1 before it, and ends links that were sent under the old one.';
revoke execute on function private.set_password(user_id uuid, password_hash text, hash_algorithm text, suffices_alone boolean, history_length integer) from public;

-- Sets or (null) removes the password of a room that the signed-in user moderates. PL403, PL404.
create or replace function private.set_room_password(room_id uuid, password_hash text)
  returns void
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
begin
  perform private.require_room_moderator(set_room_password.room_id);
  perform private.lock_accounts(array[plinth.current_user_id()]);
  perform private.lock_room(set_room_password.room_id);
  perform private.require_room_moderator(set_room_password.room_id);
  if set_room_password.password_hash is null then
    delete from private.room_passwords p where p.room_id = set_room_password.room_id;
  else
    insert into private.room_passwords (room_id, password_hash)
    values (set_room_password.room_id, set_room_password.password_hash)
    on conflict on constraint room_passwords_pkey
    do update set password_hash = excluded.password_hash, updated_at = now();
  end if;
  update rooms.chat_rooms r
  set has_password = set_room_password.password_hash is not null
  where r.id = set_room_password.room_id
    and r.has_password <> (set_room_password.password_hash is not null);
end
$$;

comment on function private.set_room_password(room_id uuid, password_hash text) is 'Sets or (null) removes the password of a room that the signed-in user moderates. PL403, PL404.';
revoke execute on function private.set_room_password(room_id uuid, password_hash text) from public;
grant execute on function private.set_room_password(room_id uuid, password_hash text) to :PLINTH_SERVICE;

-- Records and charges the usage of a call; the same call again returns the same event. PL404 for an unknown hold or message, PL409 for a hold that was released or settled with other token counts.
create or replace function private.settle_hold(hold_id uuid, input_tokens bigint, output_tokens bigint, cached_input_tokens bigint default 0, reasoning_tokens bigint default 0, occurred_at timestamp with time zone default null::timestamp with time zone, message_id uuid default null::uuid, at timestamp with time zone default now())
  returns billing.usage_events
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
#variable_conflict use_column
declare
  v_valid boolean;
  v_locked timestamptz;
  v_hold record;
  v_ended record;
  v_event billing.usage_events;
  v_taken record;
  v_was_open boolean;
  v_left bigint;
  v_take bigint;
begin
  v_valid := private.check_token_counts(
    settle_hold.input_tokens, settle_hold.output_tokens, settle_hold.cached_input_tokens, settle_hold.reasoning_tokens
  );
  -- Before the lock, only the columns of the hold that never change can be trusted.
  select
    h.id, h.user_id, h.model_id, h.max_tokens, h.grant_ids, h.grant_tokens, h.idempotency_key,
    t.last_reset < date_trunc('month', settle_hold.at, 'UTC') or t.next_hold_expires_at <= settle_hold.at as is_due
  into v_hold
  from billing.token_holds h
  join billing.usage_tracking t on t.user_id = h.user_id
  where h.id = settle_hold.hold_id
  for no key update of t;
  if not found then
    raise exception 'Hold not found.' using errcode = 'PL404', column = 'hold_id';
  end if;
  if v_hold.is_due then
    v_locked := private.lock_usage(v_hold.user_id, settle_hold.at);
  end if;
  v_event.id := plinth.uuid_v7();
  v_left := settle_hold.input_tokens + settle_hold.output_tokens;
  update billing.token_holds h
  set state = 'settled', settled_at = settle_hold.at, usage_event_id = v_event.id
  where h.id = settle_hold.hold_id and h.state = 'open';
  v_was_open := found;

  if not v_was_open then
    select h.state, h.usage_event_id, h.settled_at into strict v_ended
    from billing.token_holds h
    where h.id = settle_hold.hold_id;
    if v_ended.state = 'released' then
      raise exception 'The hold was released.' using errcode = 'PL409', column = 'hold_id';
    end if;
    if v_ended.state = 'settled' then
      select e.* into strict v_event
      from billing.usage_events e
      where e.id = v_ended.usage_event_id and e.created_at = v_ended.settled_at;
      if (
        v_event.input_tokens, v_event.output_tokens, v_event.cached_input_tokens, v_event.reasoning_tokens,
        v_event.message_id
      ) is distinct from (
        settle_hold.input_tokens, settle_hold.output_tokens, settle_hold.cached_input_tokens,
        settle_hold.reasoning_tokens, settle_hold.message_id
      )
        or v_event.occurred_at <> least(settle_hold.occurred_at, v_event.created_at)
      then
        raise exception 'The hold was already settled with other token counts.'
          using errcode = 'PL409', column = 'hold_id', hint = 'Correct the recorded usage instead.';
      end if;
      return v_event;
    end if;
  end if;

  if settle_hold.message_id is not null then
    select m.chat_id into v_event.chat_id
    from llm.messages m
    where m.id = settle_hold.message_id and m.user_id = v_hold.user_id;
    if not found then
      raise exception 'Message not found.' using errcode = 'PL404', column = 'message_id';
    end if;
  end if;

  v_event.grant_ids := '{}';
  v_event.grant_tokens := '{}';
  if v_was_open and cardinality(v_hold.grant_ids) = 1 and v_left <= v_hold.max_tokens then
    -- Usually the hold keeps enough of one grant.
    update billing.token_grants g
    set held = g.held - v_hold.max_tokens, consumed = g.consumed + v_left
    where g.id = v_hold.grant_ids[1];
    if v_left > 0 then
      v_event.grant_ids := v_hold.grant_ids;
      v_event.grant_tokens := array[v_left];
      v_left := 0;
    end if;
  elsif v_was_open then
    for i in 1 .. cardinality(v_hold.grant_ids) loop
      v_take := least(v_left, v_hold.grant_tokens[i]);
      update billing.token_grants g
      set held = g.held - v_hold.grant_tokens[i], consumed = g.consumed + v_take
      where g.id = v_hold.grant_ids[i];
      if v_take > 0 then
        v_event.grant_ids := v_event.grant_ids || v_hold.grant_ids[i];
        v_event.grant_tokens := v_event.grant_tokens || v_take;
        v_left := v_left - v_take;
      end if;
    end loop;
  end if;
  if v_left > 0 then
    perform private.ensure_grants_at(v_hold.user_id, now(), false)
    where not exists (
      select from billing.usage_tracking t where t.user_id = v_hold.user_id and t.entitled_until > now()
    );
    v_taken := private.take_tokens(v_hold.user_id, v_left, false, settle_hold.at);
    v_event.grant_ids := v_event.grant_ids || v_taken.grant_ids;
    v_event.grant_tokens := v_event.grant_tokens || v_taken.grant_tokens;
    v_left := v_taken.missing;
  end if;

  v_event.user_id := v_hold.user_id;
  v_event.model_id := v_hold.model_id;
  v_event.message_id := settle_hold.message_id;
  v_event.hold_id := v_hold.id;
  v_event.kind := 'usage';
  v_event.source := 'hold';
  v_event.idempotency_key := v_hold.idempotency_key;
  v_event.input_tokens := settle_hold.input_tokens;
  v_event.output_tokens := settle_hold.output_tokens;
  v_event.cached_input_tokens := settle_hold.cached_input_tokens;
  v_event.reasoning_tokens := settle_hold.reasoning_tokens;
  v_event.overdraft_tokens := v_left;
  -- A clock that runs ahead must not add to tomorrow's totals.
  v_event.occurred_at := least(settle_hold.occurred_at, settle_hold.at);
  v_event.created_at := settle_hold.at;
  v_event := private.post_usage_event(v_event);

  if not v_was_open then
    update billing.token_holds h
    set state = 'settled', settled_at = v_event.created_at, usage_event_id = v_event.id
    where h.id = v_hold.id;
  end if;
  if v_event.message_id is not null then
    perform private.claim_message(v_event, settle_hold.at);
  end if;
  return v_event;
end
$$;

comment on function private.settle_hold(hold_id uuid, input_tokens bigint, output_tokens bigint, cached_input_tokens bigint, reasoning_tokens bigint, occurred_at timestamp with time zone, message_id uuid, at timestamp with time zone) is 'Records and charges the usage of a call; the same call again returns the same event. PL404 for an unknown hold or message, PL409 for a hold that was released or settled with other token counts.';
revoke execute on function private.settle_hold(hold_id uuid, input_tokens bigint, output_tokens bigint, cached_input_tokens bigint, reasoning_tokens bigint, occurred_at timestamp with time zone, message_id uuid, at timestamp with time zone) from public;
grant execute on function private.settle_hold(hold_id uuid, input_tokens bigint, output_tokens bigint, cached_input_tokens bigint, reasoning_tokens bigint, occurred_at timestamp with time zone, message_id uuid, at timestamp with time zone) to :PLINTH_SERVICE;

-- Tries to apply an event and stores the outcome: done, or the time of the next attempt.
create or replace function private.settle_payment_event(event private.payment_events)
  returns text
  language plpgsql
  set search_path to 'pg_catalog'
as $$
declare
  v_outcome text;
begin
  begin
    v_outcome := private.apply_payment_event(event);
  exception
    -- A conflict between two transactions is not the event's fault; the whole attempt is retried.
    when deadlock_detected or serialization_failure or query_canceled then
      raise;
    when others then
      v_outcome := 'failed_' || lower(sqlstate);
  end;
  update private.payment_events e
  set
    outcome = v_outcome,
    processed_at = case
      when v_outcome in ('applied', 'ignored', 'kept_current') or e.received_at < now() - interval '30 days' then now()
    end,
    attempts = e.attempts + 1,
    next_attempt_at = now() + least(interval '1 minute' * power(2, least(e.attempts, 12)), interval '1 day')
  where e.id = event.id;
  return v_outcome;
end
$$;

comment on function private.settle_payment_event(event private.payment_events) is 'Tries to apply an event and stores the outcome: done, or the time of the next attempt.';
revoke execute on function private.settle_payment_event(event private.payment_events) from public;

-- Stores the challenge of a passkey with its purpose and account.
create or replace function private.start_passkey_ceremony(challenge bytea, purpose text, user_id uuid)
  returns void
  language plpgsql
  set search_path to 'pg_catalog'
as $$
#variable_conflict use_column
begin
  delete from private.passkey_challenges c
  where c.user_id = start_passkey_ceremony.user_id
    and c.purpose = start_passkey_ceremony.purpose;
  insert into private.passkey_challenges (challenge, purpose, user_id)
  values (start_passkey_ceremony.challenge, start_passkey_ceremony.purpose, start_passkey_ceremony.user_id);
end
$$;

comment on function private.start_passkey_ceremony(challenge bytea, purpose text, user_id uuid) is 'Stores the challenge of a passkey with its purpose and account.';
revoke execute on function private.start_passkey_ceremony(challenge bytea, purpose text, user_id uuid) from public;

-- Starts a confirmation of the calling user with a passkey; returns the passkeys to choose from.
create or replace function private.start_passkey_reauthentication(challenge bytea)
  returns jsonb
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
declare
  v_user_id uuid := plinth.current_user_id();
begin
  perform from identity.users u where u.id = v_user_id for no key update;
  if not found then
    raise exception 'You must be signed in.' using errcode = 'PL401';
  end if;
  perform private.start_passkey_ceremony(start_passkey_reauthentication.challenge, 'reauthenticate', v_user_id);
  return private.list_passkeys(v_user_id);
end
$$;

comment on function private.start_passkey_reauthentication(challenge bytea) is 'Starts a confirmation of the calling user with a passkey; returns the passkeys to choose from.';
revoke execute on function private.start_passkey_reauthentication(challenge bytea) from public;
grant execute on function private.start_passkey_reauthentication(challenge bytea) to :PLINTH_SERVICE;

-- Starts the registration of a passkey for the calling user. Needs a recent sign-in (PL403); PL409 when there are too many.
create or replace function private.start_passkey_registration(challenge bytea)
  returns table(user_id uuid, username text, passkeys jsonb)
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
#variable_conflict use_column
begin
  select u.id, u.username into user_id, username
  from identity.users u
  where u.id = plinth.current_user_id()
  for no key update;
  perform private.require_recent_authentication();
  if (select count(*) from identity.mfa_factors f where f.user_id = plinth.current_user_id() and f.kind = 'passkey') >= 20 then
    raise exception 'An account can have at most 20 passkeys.' using errcode = 'PL409', hint = 'Remove one first.';
  end if;
  perform private.start_passkey_ceremony(start_passkey_registration.challenge, 'register', user_id);
  passkeys := private.list_passkeys(user_id);
  return next;
end
$$;

comment on function private.start_passkey_registration(challenge bytea) is 'Starts the registration of a passkey for the calling user. Needs a recent sign-in (PL403); PL409 when there are too many.';
revoke execute on function private.start_passkey_registration(challenge bytea) from public;
grant execute on function private.start_passkey_registration(challenge bytea) to :PLINTH_SERVICE;

-- Starts a sign-in with a passkey, alone or as second factor; returns the passkeys to choose from, null when the challenge is not live.
create or replace function private.start_passkey_sign_in(challenge bytea, token_hash bytea default null::bytea)
  returns jsonb
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
declare
  v_user_id uuid;
begin
  if start_passkey_sign_in.token_hash is null then
    perform private.start_passkey_ceremony(start_passkey_sign_in.challenge, 'sign_in', null);
    return '[]';
  end if;
  v_user_id := private.find_sign_in_challenge(start_passkey_sign_in.token_hash);
  perform from identity.users u where u.id = v_user_id for no key update;
  if not found then
    return null;
  end if;
  perform private.start_passkey_ceremony(start_passkey_sign_in.challenge, 'second_factor', v_user_id);
  return private.list_passkeys(v_user_id);
end
$$;

comment on function private.start_passkey_sign_in(challenge bytea, token_hash bytea) is 'Starts a sign-in with a passkey, alone or as second factor; returns the passkeys to choose from, null when the challenge is not live.';
revoke execute on function private.start_passkey_sign_in(challenge bytea, token_hash bytea) from public;
grant execute on function private.start_passkey_sign_in(challenge bytea, token_hash bytea) to :PLINTH_SERVICE;

-- Starts a sign-in or link at a provider; returns the time by which it must be finished. PL401 for a link without a session.
create or replace function private.start_provider_flow(provider text, purpose text, flow_hash bytea, state_hash bytea, redirect_uri text, secrets_sealed text, device_name text default null::text)
  returns timestamp with time zone
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
declare
  v_links boolean := start_provider_flow.purpose = 'link';
  v_expires_at timestamptz;
begin
  if v_links then
    perform private.check_provider_change();
  end if;
  insert into private.oauth_states
    (provider, purpose, user_id, session_id, flow_hash, state_hash, redirect_uri, secrets_sealed, device_name)
  values (
    start_provider_flow.provider,
    start_provider_flow.purpose,
    case when v_links then plinth.current_user_id() end,
    case when v_links then plinth.current_session_id() end,
    start_provider_flow.flow_hash,
    start_provider_flow.state_hash,
    start_provider_flow.redirect_uri,
    start_provider_flow.secrets_sealed,
    start_provider_flow.device_name
  )
  returning expires_at into v_expires_at;
  return v_expires_at;
end
$$;

comment on function private.start_provider_flow(provider text, purpose text, flow_hash bytea, state_hash bytea, redirect_uri text, secrets_sealed text, device_name text) is 'Starts a sign-in or link at a provider; returns the time by which it must be finished. PL401 for a link without a session.';
revoke execute on function private.start_provider_flow(provider text, purpose text, flow_hash bytea, state_hash bytea, redirect_uri text, secrets_sealed text, device_name text) from public;
grant execute on function private.start_provider_flow(provider text, purpose text, flow_hash bytea, state_hash bytea, redirect_uri text, secrets_sealed text, device_name text) to :PLINTH_SERVICE;

-- Starts a subscription, on trial or active, and grants its first tokens; 23505 when the user has a current one.
create or replace function private.start_subscription(user_id uuid, plan_id uuid, trial boolean, at timestamp with time zone)
  returns billing.user_subscriptions
  language plpgsql
  set search_path to 'pg_catalog'
as $$
declare
  v_plan billing.subscription_plans;
  v_subscription billing.user_subscriptions;
  v_anchor timestamptz := start_subscription.at;
  v_period record;
  v_quota record;
begin
  select p.* into strict v_plan from billing.subscription_plans p where p.id = start_subscription.plan_id;
  if trial then
    -- Days of 24 hours in UTC. The paid period begins when the trial ends.
    v_anchor := (start_subscription.at at time zone 'UTC' + make_interval(days => v_plan.trial_days)) at time zone 'UTC';
    select start_subscription.at as period_start, v_anchor as period_end into v_period;
  else
    if v_plan.code = 'free' then
      -- Its tokens follow the calendar month, with or without a subscription.
      v_anchor := date_trunc('month', start_subscription.at at time zone 'UTC') at time zone 'UTC';
    end if;
    select * into v_period from private.subscription_period(v_plan.billing_cycle, v_anchor, start_subscription.at);
  end if;
  if v_period.period_end is null then
    select * into v_quota from private.subscription_period('monthly', v_anchor, start_subscription.at);
  else
    v_quota := v_period;
  end if;
  insert into billing.user_subscriptions (
    user_id, plan_id, status, started_at, anchor_at, current_period_start, current_period_end, trial_end,
    quota_period_start, quota_period_end
  ) values (
    start_subscription.user_id, v_plan.id, case when trial then 'trialing' else 'active' end, start_subscription.at,
    v_anchor, v_period.period_start, v_period.period_end, case when trial then v_anchor end,
    v_quota.period_start, v_quota.period_end
  )
  returning * into v_subscription;
  perform private.record_subscription_change(
    case when trial then 'trial_started' else 'started' end, null, v_subscription, start_subscription.at,
    jsonb_build_object('charge_cents', case when trial then 0 else v_plan.price_cents end)
  );
  perform private.grant_quota(v_subscription.id);
  select s.* into strict v_subscription from billing.user_subscriptions s where s.id = v_subscription.id;
  return v_subscription;
end
$$;

comment on function private.start_subscription(user_id uuid, plan_id uuid, trial boolean, at timestamp with time zone) is 'Starts a subscription, on trial or active, and grants its first tokens; 23505 when the user has a current one.';
revoke execute on function private.start_subscription(user_id uuid, plan_id uuid, trial boolean, at timestamp with time zone) from public;

-- Adds an unconfirmed authenticator app for the calling user. Needs a recent sign-in (PL403); PL409 when there are too many.
create or replace function private.start_totp(name text, sealed_secret text)
  returns table(factor_id uuid, username text)
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
#variable_conflict use_column
declare
  v_user_id uuid := plinth.current_user_id();
begin
  select u.username into username from identity.users u where u.id = v_user_id for no key update;
  perform private.require_recent_authentication();
  delete from identity.mfa_factors f where f.user_id = v_user_id and f.kind = 'totp' and f.confirmed_at is null;
  if (select count(*) from identity.mfa_factors f where f.user_id = v_user_id and f.kind = 'totp') >= 3 then
    raise exception 'An account can have at most 3 authenticator apps.' using errcode = 'PL409', hint = 'Remove one first.';
  end if;
  insert into identity.mfa_factors (user_id, kind, name)
  values (v_user_id, 'totp', start_totp.name)
  returning id into factor_id;
  insert into private.totp_secrets (factor_id, sealed_secret) values (factor_id, start_totp.sealed_secret);
  return next;
end
$$;

comment on function private.start_totp(name text, sealed_secret text) is 'Adds an unconfirmed authenticator app for the calling user. Needs a recent sign-in (PL403); PL409 when there are too many.';
revoke execute on function private.start_totp(name text, sealed_secret text) from public;
grant execute on function private.start_totp(name text, sealed_secret text) to :PLINTH_SERVICE;

-- Starts an answer that the service writes, after parent_id or at the end of the active path; see private.open_turn.
create or replace function private.start_turn(user_id uuid, chat_id uuid, model_id uuid, parent_id uuid default null::uuid, max_tokens bigint default 4096, input_tokens bigint default 0, idempotency_key text default null::text, lease_seconds integer default 60)
  returns llm.messages
  language sql
  security definer
  set search_path to 'pg_catalog'
as $$
  select private.open_turn(
    start_turn.user_id, start_turn.chat_id, start_turn.model_id, start_turn.parent_id, start_turn.max_tokens,
    start_turn.input_tokens, start_turn.idempotency_key, start_turn.lease_seconds, 'service'
  )
$$;

comment on function private.start_turn(user_id uuid, chat_id uuid, model_id uuid, parent_id uuid, max_tokens bigint, input_tokens bigint, idempotency_key text, lease_seconds integer) is 'Starts an answer that the service writes, after parent_id or at the end of the active path; see private.open_turn.';
revoke execute on function private.start_turn(user_id uuid, chat_id uuid, model_id uuid, parent_id uuid, max_tokens bigint, input_tokens bigint, idempotency_key text, lease_seconds integer) from public;
grant execute on function private.start_turn(user_id uuid, chat_id uuid, model_id uuid, parent_id uuid, max_tokens bigint, input_tokens bigint, idempotency_key text, lease_seconds integer) to :PLINTH_SERVICE;

-- Stores a sealed key unless there is one; returns the stored key, which may be another server's.
create or replace function private.store_lookup_key(name text, sealed_key text)
  returns text
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
begin
  insert into private.lookup_keys (name, sealed_key)
  values (store_lookup_key.name, store_lookup_key.sealed_key)
  on conflict on constraint lookup_keys_pkey do nothing;
  return (select k.sealed_key from private.lookup_keys k where k.name = store_lookup_key.name);
end
$$;

comment on function private.store_lookup_key(name text, sealed_key text) is 'Stores a sealed key unless there is one; returns the stored key, which may be another server''s.';
revoke execute on function private.store_lookup_key(name text, sealed_key text) from public;
grant execute on function private.store_lookup_key(name text, sealed_key text) to :PLINTH_SERVICE;

-- Replaces the account's recovery codes; the old codes become invalid.
create or replace function private.store_recovery_codes(user_id uuid, code_hashes bytea[])
  returns void
  language plpgsql
  set search_path to 'pg_catalog'
as $$
#variable_conflict use_column
declare
  v_had_codes boolean;
begin
  delete from private.recovery_codes c where c.user_id = store_recovery_codes.user_id;
  v_had_codes := found;
  insert into private.recovery_codes (user_id, code_hash)
  select store_recovery_codes.user_id, h
  from unnest(store_recovery_codes.code_hashes) h;
  perform private.record_security_event(
    case when v_had_codes then 'recovery_codes_replaced' else 'recovery_codes_made' end, store_recovery_codes.user_id,
    jsonb_build_object('codes', cardinality(store_recovery_codes.code_hashes))
  );
end
$$;

comment on function private.store_recovery_codes(user_id uuid, code_hashes bytea[]) is 'Replaces the account''s recovery codes; the old codes become invalid.';
revoke execute on function private.store_recovery_codes(user_id uuid, code_hashes bytea[]) from public;

-- Stores a sealed key for a user who has none; returns the stored key, which may be another server's.
create or replace function private.store_user_key(user_id uuid, new_wrapped_key text)
  returns table(key_id uuid, wrapped_key text)
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
#variable_conflict use_column
begin
  insert into private.user_keys (user_id, wrapped_key)
  values (store_user_key.user_id, store_user_key.new_wrapped_key)
  on conflict (user_id) do nothing;
  return query
    select k.id, k.wrapped_key from private.user_keys k where k.user_id = store_user_key.user_id;
end
$$;

comment on function private.store_user_key(user_id uuid, new_wrapped_key text) is 'Stores a sealed key for a user who has none; returns the stored key, which may be another server''s.';
revoke execute on function private.store_user_key(user_id uuid, new_wrapped_key text) from public;
grant execute on function private.store_user_key(user_id uuid, new_wrapped_key text) to :PLINTH_SERVICE;

-- Runs billing.subscribe for a user as of a time.
create or replace function private.subscribe_at(user_id uuid, plan_id uuid, at timestamp with time zone)
  returns billing.user_subscriptions
  language plpgsql
  set search_path to 'pg_catalog'
as $$
declare
  v_current billing.user_subscriptions := private.lock_subscriber(subscribe_at.user_id, subscribe_at.at);
  v_plan billing.subscription_plans := private.offered_plan(subscribe_at.plan_id);
  v_on_free_plan boolean := exists (
    select from billing.subscription_plans p where p.id = v_current.plan_id and p.price_cents = 0
  );
begin
  if v_current.id is not null and not (v_on_free_plan and v_plan.price_cents > 0) then
    raise exception 'You already have a subscription. Change its plan instead.' using errcode = 'PL409';
  end if;
  if v_plan.price_cents > 0
    and (
      v_plan.trial_days = 0
      or exists (
        select
        from billing.user_subscriptions s
        where s.user_id = subscribe_at.user_id and s.trial_end is not null
      )
    )
  then
    raise exception 'This plan begins with its payment.'
      using errcode = 'PL402', column = 'plan_id', hint = 'Pay with createCheckout.';
  end if;
  if v_current.id is not null then
    perform private.transition_subscription(v_current.id, 'canceled', subscribe_at.at, 'replaced');
  end if;
  return private.start_subscription(subscribe_at.user_id, v_plan.id, v_plan.price_cents > 0, subscribe_at.at);
end
$$;

comment on function private.subscribe_at(user_id uuid, plan_id uuid, at timestamp with time zone) is 'Runs billing.subscribe for a user as of a time.';
revoke execute on function private.subscribe_at(user_id uuid, plan_id uuid, at timestamp with time zone) from public;

-- Returns the first moment of the period around a moment, and of the next; null for lifetime. Counted in months from the anchor, in UTC.
create or replace function private.subscription_period(billing_cycle text, anchor_at timestamp with time zone, at timestamp with time zone)
  returns table(period_start timestamp with time zone, period_end timestamp with time zone)
  language plpgsql
  immutable
  set search_path to 'pg_catalog'
as $$
declare
  v_anchor timestamp := anchor_at at time zone 'UTC';
  v_at timestamp := subscription_period.at at time zone 'UTC';
  v_months integer := case billing_cycle when 'monthly' then 1 when 'yearly' then 12 end;
  v_number integer;
begin
  if v_months is null then
    return query select anchor_at, null::timestamptz;
    return;
  end if;
  v_number := floor(
    (
      (extract(year from v_at) - extract(year from v_anchor)) * 12
      + extract(month from v_at) - extract(month from v_anchor)
    ) / v_months
  );
  if v_anchor + make_interval(months => v_number * v_months) > v_at then
    v_number := v_number - 1;
  end if;
  return query
  select
    (v_anchor + make_interval(months => v_number * v_months)) at time zone 'UTC',
    (v_anchor + make_interval(months => (v_number + 1) * v_months)) at time zone 'UTC';
end
$$;

comment on function private.subscription_period(billing_cycle text, anchor_at timestamp with time zone, at timestamp with time zone) is 'Returns the first moment of the period around a moment, and of the next; null for lifetime. Counted in months from the anchor, in UTC.';
revoke execute on function private.subscription_period(billing_cycle text, anchor_at timestamp with time zone, at timestamp with time zone) from public;

-- Returns subjects that break an enabled rule of security.suspicious_activity_rules in its window that ends at a time.
create or replace function private.suspicious_subjects(at timestamp with time zone)
  returns table(rule_name text, severity text, threshold integer, window_length interval, subject text, user_id uuid, observed bigint, evidence jsonb)
  language sql
  stable
  set search_path to 'pg_catalog'
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

comment on function private.suspicious_subjects(at timestamp with time zone) is 'Returns subjects that break an enabled rule of security.suspicious_activity_rules in its window that ends at a time.';
revoke execute on function private.suspicious_subjects(at timestamp with time zone) from public;

-- Leases up to batch_size due mails to the caller, which sends them and calls private.finish_mail for each.
create or replace function private.take_mails(batch_size integer, lease interval default '00:02:00'::interval)
  returns table(id uuid, channel text, to_address text, template text, variables jsonb, created_at timestamp with time zone)
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
begin
  if batch_size is null or batch_size not between 1 and 1000 then
    raise exception 'batch_size must be from 1 to 1000.' using errcode = 'PL422';
  end if;

  update private.mail_outbox m
  set status = 'failed', last_error = coalesce(m.last_error || ' ', '') || '(too old to be sent)', variables = m.variables - 'sealed_token'
  where m.id in (
    select o.id
    from private.mail_outbox o
    where o.status = 'pending' and o.next_attempt_at <= now() and o.expires_at <= now()
    limit batch_size
    for update skip locked
  );

  return query
    with due as (
      select o.id
      from private.mail_outbox o
      where o.status = 'pending' and o.next_attempt_at <= now() and (o.expires_at is null or o.expires_at > now())
      order by o.next_attempt_at
      limit batch_size
      for update skip locked
    )
    update private.mail_outbox m
    set attempts = m.attempts + 1, next_attempt_at = clock_timestamp() + take_mails.lease
    from due
    where m.id = due.id
    returning m.id, m.channel, m.to_address, m.template, m.variables, m.created_at;
end
$$;

comment on function private.take_mails(batch_size integer, lease interval) is 'Leases up to batch_size due mails to the caller, which sends them and calls private.finish_mail for each.';
revoke execute on function private.take_mails(batch_size integer, lease interval) from public;
grant execute on function private.take_mails(batch_size integer, lease interval) to :PLINTH_WORKER;

-- Returns whether this challenge is open for this purpose and account, and closes it.
create or replace function private.take_passkey_challenge(challenge bytea, purpose text, user_id uuid)
  returns boolean
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
#variable_conflict use_column
begin
  delete from private.passkey_challenges c
  where c.challenge = take_passkey_challenge.challenge
    and c.purpose = take_passkey_challenge.purpose
    and c.user_id is not distinct from take_passkey_challenge.user_id
    and c.expires_at > now();
  return found;
end
$$;

comment on function private.take_passkey_challenge(challenge bytea, purpose text, user_id uuid) is 'Returns whether this challenge is open for this purpose and account, and closes it.';
revoke execute on function private.take_passkey_challenge(challenge bytea, purpose text, user_id uuid) from public;
grant execute on function private.take_passkey_challenge(challenge bytea, purpose text, user_id uuid) to :PLINTH_SERVICE;

-- Counts an attempt at the account's live code and returns its hash; no row without a live code or after five attempts.
create or replace function private.take_phone_attempt(user_id uuid)
  returns table(verification_id uuid, code_hash text)
  language sql
  security definer
  set search_path to 'pg_catalog'
as $$
  update private.user_verifications v
  set attempts = v.attempts + 1
  where v.user_id = take_phone_attempt.user_id
    and v.kind = 'phone'
    and v.used_at is null
    and v.expires_at > clock_timestamp()
    and v.attempts < 5
  returning v.id, v.code_hash
$$;

comment on function private.take_phone_attempt(user_id uuid) is 'Counts an attempt at the account''s live code and returns its hash; no row without a live code or after five attempts.';
revoke execute on function private.take_phone_attempt(user_id uuid) from public;
grant execute on function private.take_phone_attempt(user_id uuid) to :PLINTH_SERVICE;

-- Leases up to batch_size subscriptions to the caller, which cancels them at the provider and calls private.finish_provider_cancellation for each.
create or replace function private.take_provider_cancellations(provider text, batch_size integer, lease interval default '00:02:00'::interval)
  returns table(provider_subscription_id text)
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
#variable_conflict use_column
begin
  if batch_size is null or batch_size not between 1 and 1000 then
    raise exception 'batch_size must be from 1 to 1000.' using errcode = 'PL422';
  end if;
  return query
    with due as (
      select o.provider_subscription_id
      from private.provider_cancellations o
      where o.provider = take_provider_cancellations.provider and o.next_attempt_at <= now()
      order by o.next_attempt_at
      limit batch_size
      for update skip locked
    )
    update private.provider_cancellations c
    set attempts = c.attempts + 1, next_attempt_at = clock_timestamp() + lease
    from due
    where c.provider = take_provider_cancellations.provider and c.provider_subscription_id = due.provider_subscription_id
    returning c.provider_subscription_id;
end
$$;

comment on function private.take_provider_cancellations(provider text, batch_size integer, lease interval) is 'Leases up to batch_size subscriptions to the caller, which cancels them at the provider and calls private.finish_provider_cancellation for each.';
revoke execute on function private.take_provider_cancellations(provider text, batch_size integer, lease interval) from public;
grant execute on function private.take_provider_cancellations(provider text, batch_size integer, lease interval) to :PLINTH_WORKER;

-- Uses up a flow and returns the data to finish it; no row if it is unknown, used, expired or another session's.
create or replace function private.take_provider_flow(purpose text, flow_hash bytea, state_hash bytea)
  returns table(flow_id uuid, provider text, redirect_uri text, secrets_sealed text)
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
#variable_conflict use_column
begin
  -- Account before token, as everywhere; otherwise a deletion of the account could deadlock with this.
  perform from identity.users u where u.id = plinth.current_user_id() for key share;

  return query
    update private.oauth_states s
    set used_at = now()
    where s.flow_hash = take_provider_flow.flow_hash
      and s.state_hash = take_provider_flow.state_hash
      and s.purpose = take_provider_flow.purpose
      and s.used_at is null
      and s.expires_at > now()
      -- A link belongs to the session that started it.
      and (
        s.session_id is null
        or s.session_id = plinth.current_session_id() and s.user_id = plinth.current_user_id()
      )
    returning s.id, s.provider, s.redirect_uri, s.secrets_sealed;

  if not found then
    perform private.record_security_event(
      'provider_sign_in_failed', plinth.current_user_id(),
      jsonb_build_object('purpose', take_provider_flow.purpose, 'reason', 'unknown_used_or_expired_flow'),
      'warning'
    );
  end if;
end
$$;

comment on function private.take_provider_flow(purpose text, flow_hash bytea, state_hash bytea) is 'Uses up a flow and returns the data to finish it; no row if it is unknown, used, expired or another session''s.';
revoke execute on function private.take_provider_flow(purpose text, flow_hash bytea, state_hash bytea) from public;
grant execute on function private.take_provider_flow(purpose text, flow_hash bytea, state_hash bytea) to :PLINTH_SERVICE;

-- Takes tokens from the user's grants in force, in order; returns the grants, the tokens taken from each, and the missing number.
create or replace function private.take_tokens(user_id uuid, tokens bigint, for_hold boolean, at timestamp with time zone, out grant_ids uuid[], out grant_tokens bigint[], out missing bigint)
  returns record
  language plpgsql
as $$
declare
  v_grant record;
  v_take bigint;
begin
  missing := 0;
  -- Usually the first grant has enough.
  update billing.token_grants g
  set
    held = g.held + case when for_hold then take_tokens.tokens else 0 end,
    consumed = g.consumed + case when for_hold then 0 else take_tokens.tokens end
  where g.id = (
      select f.id
      from billing.token_grants f
      where f.user_id = take_tokens.user_id
        and f.retired_at is null
        and f.starts_at <= take_tokens.at
        and (f.expires_at is null or f.expires_at > take_tokens.at)
      order by f.priority, f.expires_at, f.created_at, f.id
      limit 1
    )
    and take_tokens.tokens > 0
    and (g.amount is null or g.amount - g.consumed - g.held >= take_tokens.tokens)
  returning array[g.id], array[take_tokens.tokens] into grant_ids, grant_tokens;
  if found then
    return;
  end if;

  grant_ids := '{}';
  grant_tokens := '{}';
  missing := take_tokens.tokens;
  for v_grant in
    select g.id, g.amount - g.consumed - g.held as free, g.consumed >= g.amount as is_used_up
    from billing.token_grants g
    where g.user_id = take_tokens.user_id
      and g.retired_at is null
      and g.starts_at <= take_tokens.at
      and (g.expires_at is null or g.expires_at > take_tokens.at)
    order by g.priority, g.expires_at, g.created_at, g.id
  loop
    exit when missing <= 0;
    if v_grant.is_used_up then
      -- Seen one last time, then retired.
      update billing.token_grants g set retired_at = take_tokens.at where g.id = v_grant.id;
    end if;
    -- An unlimited grant always has enough.
    v_take := least(missing, coalesce(v_grant.free, missing));
    continue when v_take <= 0;
    if for_hold then
      update billing.token_grants g set held = g.held + v_take where g.id = v_grant.id;
    else
      update billing.token_grants g set consumed = g.consumed + v_take where g.id = v_grant.id;
    end if;
    grant_ids := grant_ids || v_grant.id;
    grant_tokens := grant_tokens || v_take;
    missing := missing - v_take;
  end loop;
end
$$;

comment on function private.take_tokens(user_id uuid, tokens bigint, for_hold boolean, at timestamp with time zone, out grant_ids uuid[], out grant_tokens bigint[], out missing bigint) is 'Takes tokens from the user''s grants in force, in order; returns the grants, the tokens taken from each, and the missing number.';
revoke execute on function private.take_tokens(user_id uuid, tokens bigint, for_hold boolean, at timestamp with time zone, out grant_ids uuid[], out grant_tokens bigint[], out missing bigint) from public;

-- Returns a text without fenced code and code between backticks.
create or replace function private.text_without_code(value text)
  returns text
  language plpgsql
  immutable
  set search_path to 'pg_catalog'
as $$
declare
  v_line text;
  v_fence text;
  v_paragraph text;
  v_part record;
  v_end bigint;
  v_kept text := '';
  v_result text := '';
begin
  if strpos(value, '`') = 0 and strpos(value, '~~~') = 0 then
    return value;
  end if;
  foreach v_line in array string_to_array(replace(value, E'\r', ''), E'\n') loop
    if v_fence is null then
      v_fence := substring(v_line from '^ {0,3}(`{3,})[^`]*$');
      v_fence := coalesce(v_fence, substring(v_line from '^ {0,3}(~{3,})'));
      v_kept := v_kept || case when v_fence is null then v_line else '' end || E'\n';
    elsif v_line ~ ('^ {0,3}' || v_fence || left(v_fence, 1) || '*[ \t]*$') then
      v_fence := null;
    end if;
  end loop;
  -- Code between backticks ends with as many backticks as it starts with, in the same paragraph.
  foreach v_paragraph in array regexp_split_to_array(v_kept, '\n[ \t]*\n') loop
    v_end := 0;
    for v_part in
      select
        m.match[1] as text, m.place,
        case when m.match[1] like '`%' then lead(m.place) over (partition by m.match[1] order by m.place) end as ends
      from regexp_matches(v_paragraph, '`+|[^`]+', 'g') with ordinality as m (match, place)
      order by m.place
    loop
      continue when v_part.place <= v_end;
      v_end := coalesce(v_part.ends, 0);
      v_result := v_result || case when v_part.ends is null then v_part.text else ' ' end;
    end loop;
    v_result := v_result || E'\n\n';
  end loop;
  return v_result;
end
$$;

comment on function private.text_without_code(value text) is 'Returns a text without fenced code and code between backticks.';
revoke execute on function private.text_without_code(value text) from public;

-- Returns the first line of a text as a title of up to 80 characters; null without one.
create or replace function private.title_of(content text)
  returns text
  language sql
  immutable parallel safe
  set search_path to 'pg_catalog'
as $$
  select case
    when length(line) <= 80 then nullif(line, '')
    else regexp_replace(left(line, 79), '(?<=.{40})[[:space:]]+[^[:space:]]*$', '') || '…'
  end
  from (
    select btrim(regexp_replace(substring(left(content, 2000) from '[^[:space:]][^\r\n]*'), '[[:space:][:cntrl:]]+', ' ', 'g')) as line
  ) as first
$$;

comment on function private.title_of(content text) is 'Returns the first line of a text as a title of up to 80 characters; null without one.';
revoke execute on function private.title_of(content text) from public;

-- Returns a user's tokens at a moment: left, held, used this month, by grant, and the time when they run out at the rate of the last seven whole days.
create or replace function private.token_balance_at(user_id uuid, at timestamp with time zone default now())
  returns billing.token_balance
  language plpgsql
  stable security definer
  set search_path to 'pg_catalog'
as $$
declare
  v_month timestamptz := date_trunc('month', token_balance_at.at, 'UTC');
  v_today date := (token_balance_at.at at time zone 'UTC')::date;
  v_balance billing.token_balance;
begin
  select
    coalesce(bool_or(g.available is null), false),
    case when bool_or(g.available is null) then null else coalesce(sum(g.available), 0) end,
    coalesce(array_agg(g order by g.ordinality), '{}')
  into v_balance.is_unlimited, v_balance.available, v_balance.grants
  from (
    select (b.grant_id, b.source, b.available, b.held, b.expires_at)::billing.grant_balance as g, b.available, b.ordinality
    from private.available_grants(token_balance_at.user_id, token_balance_at.at)
      with ordinality as b (grant_id, source, available, held, expires_at, ordinality)
  ) g;
  select coalesce(sum(h.max_tokens), 0)
  into v_balance.held
  from billing.token_holds h
  where h.user_id = token_balance_at.user_id and h.state = 'open' and h.expires_at > token_balance_at.at;
  select case when t.last_reset = v_month then t.token_count else 0 end, t.lifetime_tokens
  into v_balance.used_this_period, v_balance.lifetime_tokens
  from billing.usage_tracking t
  where t.user_id = token_balance_at.user_id;
  v_balance.used_this_period := coalesce(v_balance.used_this_period, 0);
  v_balance.lifetime_tokens := coalesce(v_balance.lifetime_tokens, 0);
  v_balance.period_started_at := v_month;
  v_balance.period_ends_at := (v_month at time zone 'UTC' + interval '1 month') at time zone 'UTC';
  select round(coalesce(sum(d.total_tokens), 0) / 7.0, 3)
  into v_balance.tokens_per_day
  from billing.daily_usage d
  where d.user_id = token_balance_at.user_id and d.day between v_today - 7 and v_today - 1;
  -- Beyond a century a forecast is meaningless.
  if v_balance.available < 36525 * v_balance.tokens_per_day then
    v_balance.exhausted_at := token_balance_at.at
      + make_interval(secs => (86400 * v_balance.available / v_balance.tokens_per_day)::double precision);
  end if;
  v_balance.soft_limits_reached :=
    private.limits_passed(token_balance_at.user_id, null, 1, false, token_balance_at.at);
  return v_balance;
end
$$;

comment on function private.token_balance_at(user_id uuid, at timestamp with time zone) is 'Returns a user''s tokens at a moment: left, held, used this month, by grant, and the time when they run out at the rate of the last seven whole days.';
revoke execute on function private.token_balance_at(user_id uuid, at timestamp with time zone) from public;
grant execute on function private.token_balance_at(user_id uuid, at timestamp with time zone) to :PLINTH_SERVICE;

-- Grants the tokens due for the plans of a subscription's current period beyond those already granted; returns their number.
create or replace function private.top_up_quota(subscription_id uuid, at timestamp with time zone)
  returns bigint
  language plpgsql
  set search_path to 'pg_catalog'
as $$
declare
  v_subscription billing.user_subscriptions;
  v_plan billing.subscription_plans;
  v_period text;
  v_first bigint;
  v_quotas bigint[];
  v_lefts bigint[];
  v_from timestamptz;
  v_whole bigint;
  v_missing bigint;
  v_number integer;
  v_locked timestamptz;
  v_grant record;
begin
  select s.* into strict v_subscription from billing.user_subscriptions s where s.id = top_up_quota.subscription_id;
  select p.* into strict v_plan from billing.subscription_plans p where p.id = v_subscription.plan_id;
  if v_subscription.status not in ('trialing', 'active')
    or v_subscription.quota_granted_from is distinct from v_subscription.quota_period_start
  then
    return 0;
  end if;
  v_whole := floor(extract(epoch from v_subscription.quota_period_end)) - floor(extract(epoch from v_subscription.quota_period_start));
  if v_plan.token_quota is not null then
    perform private.close_unlimited_grants(v_subscription.user_id, v_subscription.id, top_up_quota.at);
  end if;
  if v_plan.code = 'free' or v_whole <= 0 then
    return 0;
  end if;

  v_period := format('%s:%s', v_subscription.id, extract(epoch from v_subscription.quota_period_start));
  select count(*) into v_number
  from billing.token_grants g
  where g.user_id = v_subscription.user_id and starts_with(g.idempotency_key, 'upgrade:' || v_period);

  if v_plan.token_quota is null then
    if top_up_quota.at < v_subscription.quota_period_end
      and not exists (
        select
        from billing.token_grants g
        where g.user_id = v_subscription.user_id
          and g.source = 'plan'
          and g.source_id = v_subscription.id
          and g.amount is null
          and g.closed_at is null
          and g.expires_at >= v_subscription.quota_period_end
      )
    then
      perform private.grant_tokens(
        v_subscription.user_id, null, 'plan', v_subscription.id, 100,
        greatest(top_up_quota.at, v_subscription.quota_period_start), v_subscription.quota_period_end,
        format('upgrade:%s:%s', v_period, v_number)
      );
    end if;
    return 0;
  end if;

  select
    array_agg(p.token_quota order by w.number),
    array_agg(
      floor(extract(epoch from v_subscription.quota_period_end))::bigint - floor(extract(epoch from w.began_at))::bigint
      order by w.number
    ),
    max(w.began_at)
  into v_quotas, v_lefts, v_from
  from private.plans_of_period(v_subscription) with ordinality w (plan_id, began_at, number)
  join billing.subscription_plans p on p.id = w.plan_id;
  if v_subscription.provider is null then
    -- The tokens granted at the start of the period, and the current plan.
    select g.amount into v_first
    from billing.token_grants g
    where g.user_id = v_subscription.user_id and g.idempotency_key = 'plan:' || v_period;
    v_quotas := v_first || coalesce(v_quotas, '{}') || v_plan.token_quota;
    v_lefts := v_whole || coalesce(v_lefts, '{}')
      || (floor(extract(epoch from v_subscription.quota_period_end)) - floor(extract(epoch from top_up_quota.at)))::bigint;
    v_from := greatest(top_up_quota.at, v_subscription.quota_period_start);
  end if;
  if v_quotas is null then
    return 0;
  end if;

  v_locked := private.lock_usage(v_subscription.user_id, now());
  v_missing := private.quota_of_walk(v_quotas, v_lefts, v_whole) - coalesce(
    (
      select sum(g.amount)
      from billing.token_grants g
      where g.user_id = v_subscription.user_id
        and (g.idempotency_key = 'plan:' || v_period or starts_with(g.idempotency_key, 'upgrade:' || v_period))
    ),
    0
  );
  if v_missing > 0 then
    v_from := coalesce(v_from, top_up_quota.at);
    if v_from < v_subscription.quota_period_end then
      perform private.grant_tokens(
        v_subscription.user_id, v_missing, 'plan', v_subscription.id, 100, v_from, v_subscription.quota_period_end,
        format('upgrade:%s:%s', v_period, v_number)
      );
      return v_missing;
    end if;
  elsif v_missing < 0 and v_subscription.provider is not null then
    for v_grant in
      select g.id, least(g.amount - g.consumed - g.held, -v_missing) as unused
      from billing.token_grants g
      where g.user_id = v_subscription.user_id
        and (g.idempotency_key = 'plan:' || v_period or starts_with(g.idempotency_key, 'upgrade:' || v_period))
        and g.amount > g.consumed + g.held
      order by g.starts_at desc, g.id desc
    loop
      update billing.token_grants g
      set amount = g.amount - least(v_grant.unused, -v_missing)
      where g.id = v_grant.id;
      v_missing := v_missing + least(v_grant.unused, -v_missing);
      exit when v_missing = 0;
    end loop;
  end if;
  return 0;
end
$$;

comment on function private.top_up_quota(subscription_id uuid, at timestamp with time zone) is 'Grants the tokens due for the plans of a subscription''s current period beyond those already granted; returns their number.';
revoke execute on function private.top_up_quota(subscription_id uuid, at timestamp with time zone) from public;

-- Records time and address of the use of API tokens, at most once a minute; returns the number of changed rows.
create or replace function private.touch_api_tokens(token_ids uuid[], seen_at timestamp with time zone[], ip_addresses inet[])
  returns integer
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
declare
  v_touched integer;
begin
  with seen as (
    select distinct on (s.id) s.id, least(s.at, now()) as at, s.ip
    from unnest(touch_api_tokens.token_ids, touch_api_tokens.seen_at, touch_api_tokens.ip_addresses) as s (id, at, ip)
    where s.at is not null
    order by s.id, s.at desc
  ),
  locked as (
    select t.id, seen.at, seen.ip
    from identity.api_tokens t
    join seen on seen.id = t.id
    where t.last_used_at is null or t.last_used_at <= seen.at - interval '1 minute'
    order by t.id
    for no key update of t skip locked
  )
  update identity.api_tokens t
  set last_used_at = l.at, last_used_ip = coalesce(l.ip, t.last_used_ip)
  from locked l
  where t.id = l.id;
  get diagnostics v_touched = row_count;
  return v_touched;
end
$$;

comment on function private.touch_api_tokens(token_ids uuid[], seen_at timestamp with time zone[], ip_addresses inet[]) is 'Records time and address of the use of API tokens, at most once a minute; returns the number of changed rows.';
revoke execute on function private.touch_api_tokens(token_ids uuid[], seen_at timestamp with time zone[], ip_addresses inet[]) from public;
grant execute on function private.touch_api_tokens(token_ids uuid[], seen_at timestamp with time zone[], ip_addresses inet[]) to :PLINTH_SERVICE;

-- Records time and address of the use of sessions, at most once a minute; returns the number of changed rows.
create or replace function private.touch_sessions(session_ids uuid[], seen_at timestamp with time zone[], ip_addresses inet[])
  returns integer
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
declare
  v_users uuid[];
  v_touched integer;
begin
  -- Account before session, the global lock order (see private.finish_login): a new address is audited, which locks the account.
  select array_agg(locked.id) into v_users
  from (
    select u.id
    from identity.users u
    where u.id in (select s.user_id from identity.user_sessions s where s.id = any (touch_sessions.session_ids))
    order by u.id
    for key share skip locked
  ) locked;

  with seen as (
    select distinct on (s.id) s.id, least(s.at, now()) as at, s.ip
    from unnest(touch_sessions.session_ids, touch_sessions.seen_at, touch_sessions.ip_addresses) as s (id, at, ip)
    where s.at is not null
    order by s.id, s.at desc
  ),
  locked as (
    select s.id, seen.at, seen.ip
    from identity.user_sessions s
    join seen on seen.id = s.id
    where s.user_id = any (v_users)
      and s.ended_at is null
      and s.expires_at > now()
      -- Once a minute is enough for any number of servers.
      and s.last_activity_at <= seen.at - interval '1 minute'
      -- A session past its limit is over, even while an access token still works for some minutes.
      and s.last_activity_at > seen.at - private.session_idle_limit(s.user_id)
    order by s.id
    for no key update of s skip locked
  )
  update identity.user_sessions s
  set last_activity_at = l.at, ip_address = coalesce(l.ip, s.ip_address)
  from locked l
  where s.id = l.id;
  get diagnostics v_touched = row_count;
  return v_touched;
end
$$;

comment on function private.touch_sessions(session_ids uuid[], seen_at timestamp with time zone[], ip_addresses inet[]) is 'Records time and address of the use of sessions, at most once a minute; returns the number of changed rows.';
revoke execute on function private.touch_sessions(session_ids uuid[], seen_at timestamp with time zone[], ip_addresses inet[]) from public;
grant execute on function private.touch_sessions(session_ids uuid[], seen_at timestamp with time zone[], ip_addresses inet[]) to :PLINTH_SERVICE;

-- Moves a subscription by an event of private.subscription_transitions; PL409 when its state does not allow it.
create or replace function private.transition_subscription(subscription_id uuid, event text, at timestamp with time zone, recorded_as text default null::text)
  returns billing.user_subscriptions
  language plpgsql
  set search_path to 'pg_catalog'
as $$
declare
  v_before billing.user_subscriptions;
  v_after billing.user_subscriptions;
  v_status text;
  v_end timestamptz;
  v_last timestamptz;
  v_change billing.subscription_changes;
begin
  select s.* into v_before
  from billing.user_subscriptions s
  where s.id = transition_subscription.subscription_id
  for update;
  if v_before.id is null then
    raise exception 'Subscription not found.' using errcode = 'PL404';
  end if;
  v_status := (
    select t.to_status
    from private.subscription_transitions t
    where t.from_status = v_before.status
      and t.event = transition_subscription.event
      and (v_before.provider is not null or not t.is_providers)
  );
  if v_status is null then
    raise exception 'A subscription with status % does not allow this (%).', v_before.status, transition_subscription.event
      using errcode = 'PL409';
  end if;
  update billing.user_subscriptions s
  set
    status = v_status,
    past_due_since = case when v_status = 'past_due' then coalesce(s.past_due_since, transition_subscription.at) end,
    paused_at = case when v_status = 'paused' then coalesce(s.paused_at, transition_subscription.at) end,
    ended_at = case
      when v_status in ('canceled', 'expired') then coalesce(s.ended_at, transition_subscription.at)
    end,
    pending_plan_id = case when v_status not in ('canceled', 'expired') then s.pending_plan_id end
  where s.id = v_before.id
  returning s.* into v_after;
  v_change := private.record_subscription_change(
    coalesce(recorded_as, transition_subscription.event), v_before, v_after, transition_subscription.at
  );
  -- Plan tokens end with the plan; tokens of the free plan belong to every user.
  if v_after.ended_at is not null and v_before.ended_at is null and v_after.quota_granted_from is not null
    and not exists (select from billing.subscription_plans p where p.id = v_after.plan_id and p.code = 'free')
  then
    -- An end dated by the provider before the grant of the period's tokens still removes them, and those of an upgrade.
    v_end := greatest(transition_subscription.at, v_after.quota_period_start);
    v_last := (
      select max(g.starts_at)
      from billing.token_grants g
      where g.user_id = v_after.user_id and g.source = 'plan' and g.source_id = v_after.id and g.closed_at is null
    );
    if v_last >= v_end then
      v_end := v_last + interval '1 microsecond';
    end if;
    -- A revived subscription may end again at the same moment: the key belongs to the change.
    perform private.close_plan_grant(v_after.user_id, v_after.id, v_end, 0, v_end, format('end:%s', v_change.id));
  end if;
  return v_after;
end
$$;

comment on function private.transition_subscription(subscription_id uuid, event text, at timestamp with time zone, recorded_as text) is 'Moves a subscription by an event of private.subscription_transitions; PL409 when its state does not allow it.';
revoke execute on function private.transition_subscription(subscription_id uuid, event text, at timestamp with time zone, recorded_as text) from public;

-- Locks an account until the end of the transaction if it is free; returns whether it did. False for an unknown account, too.
create or replace function private.try_lock_account(user_id uuid)
  returns boolean
  language plpgsql
  set search_path to 'pg_catalog'
  set lock_timeout to '1ms'
as $$
begin
  perform from identity.users u where u.id = try_lock_account.user_id for no key update skip locked;
  return found;
exception
  when lock_not_available then
    return false;
end
$$;

comment on function private.try_lock_account(user_id uuid) is 'Locks an account until the end of the transaction if it is free; returns whether it did. False for an unknown account, too.';
revoke execute on function private.try_lock_account(user_id uuid) from public;

-- Locks a user's ledger unless it is locked; then returns false. A missing ledger counts as unlocked.
create or replace function private.try_lock_usage(user_id uuid)
  returns boolean
  language plpgsql
  set search_path to 'pg_catalog'
  set lock_timeout to '1ms'
as $$
begin
  perform from billing.usage_tracking t where t.user_id = try_lock_usage.user_id for no key update skip locked;
  return found or not exists (select from billing.usage_tracking t where t.user_id = try_lock_usage.user_id);
exception
  when lock_not_available then
    return false;
end
$$;

comment on function private.try_lock_usage(user_id uuid) is 'Locks a user''s ledger unless it is locked; then returns false. A missing ledger counts as unlocked.';
revoke execute on function private.try_lock_usage(user_id uuid) from public;

-- Returns the last max_count messages before an answer, oldest first: the model's input.
create or replace function private.turn_context(message_id uuid, max_count integer default 50)
  returns setof llm.messages
  language sql
  stable security definer
  set search_path to 'pg_catalog'
as $$
  with recursive path as (
    select m.id, m.user_id, m.chat_id, m.parent_id, 0 as distance
    from llm.messages m
    where m.id = turn_context.message_id
    union all
    select m.id, m.user_id, m.chat_id, m.parent_id, p.distance + 1
    from path p
    join llm.messages m on m.user_id = p.user_id and m.chat_id = p.chat_id and m.id = p.parent_id
    where p.distance < turn_context.max_count
  )
  select m.*
  from path p
  join llm.messages m on m.id = p.id
  where p.distance > 0
  order by p.distance desc
$$;

comment on function private.turn_context(message_id uuid, max_count integer) is 'Returns the last max_count messages before an answer, oldest first: the model''s input.';
revoke execute on function private.turn_context(message_id uuid, max_count integer) from public;
grant execute on function private.turn_context(message_id uuid, max_count integer) to :PLINTH_SERVICE;

-- Returns how many messages of a room after a watermark count as unread for no member: deleted and private ones.
create or replace function private.uncounted_in_room_after(room_id uuid, watermark bigint)
  returns bigint
  language plpgsql
  stable
  set search_path to 'pg_catalog'
as $$
begin
  return (
    select coalesce(sum(t.amount), 0)
    from private.room_tallies t
    where t.room_id = uncounted_in_room_after.room_id
      and t.kind = 'uncounted'
      and t.user_id is null
      and t.level = 0
      and t.bucket >= watermark + 1
      and t.bucket < ((watermark + 64) >> 6) << 6
  ) + (
    select coalesce(sum(t.amount), 0)
    from private.room_tallies t
    where t.room_id = uncounted_in_room_after.room_id
      and t.kind = 'uncounted'
      and t.user_id is null
      and t.level = 1
      and t.bucket >= (watermark + 64) >> 6
      and t.bucket < ((watermark + 4096) >> 12) << 6
  ) + (
    select coalesce(sum(t.amount), 0)
    from private.room_tallies t
    where t.room_id = uncounted_in_room_after.room_id
      and t.kind = 'uncounted'
      and t.user_id is null
      and t.level = 2
      and t.bucket >= (watermark + 4096) >> 12
      and t.bucket < ((watermark + 262144) >> 18) << 6
  ) + (
    select coalesce(sum(t.amount), 0)
    from private.room_tallies t
    where t.room_id = uncounted_in_room_after.room_id
      and t.kind = 'uncounted'
      and t.user_id is null
      and t.level = 3
      and t.bucket >= (watermark + 262144) >> 18
  );
end
$$;

comment on function private.uncounted_in_room_after(room_id uuid, watermark bigint) is 'Returns how many messages of a room after a watermark count as unread for no member: deleted and private ones.';
revoke execute on function private.uncounted_in_room_after(room_id uuid, watermark bigint) from public;

-- Resumes a paused subscription: the period is extended by the length of the pause. PL409 when it is not paused.
create or replace function private.unpause_subscription(subscription_id uuid, at timestamp with time zone)
  returns billing.user_subscriptions
  language plpgsql
  set search_path to 'pg_catalog'
as $$
declare
  v_paused billing.user_subscriptions;
  v_subscription billing.user_subscriptions;
  v_end timestamptz;
begin
  select s.* into strict v_paused
  from billing.user_subscriptions s
  where s.id = unpause_subscription.subscription_id
  for update;
  v_subscription := private.transition_subscription(v_paused.id, 'resumed', unpause_subscription.at);
  -- In UTC, so that no daylight-saving change makes a day longer or shorter.
  v_end := (
    unpause_subscription.at at time zone 'UTC'
    + (v_paused.current_period_end at time zone 'UTC' - v_paused.paused_at at time zone 'UTC')
  ) at time zone 'UTC';
  update billing.user_subscriptions s
  set anchor_at = v_end, current_period_end = v_end, quota_period_end = v_end
  where s.id = v_paused.id
  returning s.* into v_subscription;
  -- An unlimited grant had nothing to carry over.
  if exists (select from billing.subscription_plans p where p.id = v_subscription.plan_id and p.token_quota is null) then
    perform private.grant_tokens(
      v_subscription.user_id, null, 'plan', v_subscription.id, 100, unpause_subscription.at, v_end,
      format('resume:%s:%s', v_subscription.id, extract(epoch from unpause_subscription.at))
    );
  end if;
  return v_subscription;
end
$$;

comment on function private.unpause_subscription(subscription_id uuid, at timestamp with time zone) is 'Resumes a paused subscription: the period is extended by the length of the pause. PL409 when it is not paused.';
revoke execute on function private.unpause_subscription(subscription_id uuid, at timestamp with time zone) from public;

-- Returns the earlier use of the key, or nulls. PL409 when it was used with other arguments, PL422 without a key.
create or replace function private.used_key(user_id uuid, operation text, idempotency_key text, arguments jsonb)
  returns private.usage_keys
  language plpgsql
  stable
as $$
declare
  v_key private.usage_keys;
begin
  if length(used_key.idempotency_key) between 1 and 255 is not true then
    raise exception 'An idempotency key must have 1 to 255 characters.' using errcode = 'PL422', column = 'idempotency_key';
  end if;
  select k.* into v_key
  from private.usage_keys k
  where k.user_id = used_key.user_id
    and k.operation = used_key.operation
    and k.idempotency_key = used_key.idempotency_key;
  if found and v_key.arguments <> used_key.arguments then
    raise exception 'The idempotency key was already used with other arguments.' using errcode = 'PL409', column = 'idempotency_key';
  end if;
  return v_key;
end
$$;

comment on function private.used_key(user_id uuid, operation text, idempotency_key text, arguments jsonb) is 'Returns the earlier use of the key, or nulls. PL409 when it was used with other arguments, PL422 without a key.';
revoke execute on function private.used_key(user_id uuid, operation text, idempotency_key text, arguments jsonb) from public;

-- Returns a well-formed username made of a name or address; it may be taken.
create or replace function private.username_from(suggestion text)
  returns text
  language sql
  immutable
  set search_path to 'pg_catalog'
as $$
  select case when length(cleaned) >= 2 then cleaned else 'user' end
  from (
    select trim(
      both '._-' from left(
        trim(both '._-' from regexp_replace(lower(split_part(coalesce(username_from.suggestion, ''), '@', 1) collate "C"), '[^a-z0-9_.-]+', '-', 'g')),
        80
      )
    ) as cleaned
  ) c
$$;

comment on function private.username_from(suggestion text) is 'Returns a well-formed username made of a name or address; it may be taken.';
revoke execute on function private.username_from(suggestion text) from public;

-- Verifies the account's address, or moves it to the address the link was sent to; returns false for an invalid token.
create or replace function private.verify_email(token_hash bytea)
  returns boolean
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
declare
  v_user identity.users;
  v_address text;
  v_hash bytea;
begin
  select u.* into v_user
  from identity.users u
  where u.id = (select v.user_id from private.user_verifications v where v.token_hash = verify_email.token_hash)
  for no key update;
  -- Read only now, with the account locked: after waiting for the winner, the token is used, or expired by the clock of a
  -- transaction that began after this one.
  update private.user_verifications v
  set used_at = now()
  where v.token_hash = verify_email.token_hash
    and v.kind = 'email'
    and v.used_at is null
    and v.expires_at > clock_timestamp()
    and v_user.account_status = 'active'
    and (v.purpose = 'change' or v.new_value = v_user.email)
  returning v.new_value, v.hashed_email into v_address, v_hash;
  if v_address is null then
    perform private.record_security_event(
      'email_verification_failed', v_user.id, jsonb_build_object('reason', 'token_not_valid')
    );
    return false;
  end if;

  if v_address is not distinct from v_user.email then
    update identity.users u set email_verified_at = clock_timestamp() where u.id = v_user.id;
    perform private.record_security_event('email_verified', v_user.id);
    return true;
  end if;

  begin
    -- The time differs from any earlier one: an unchanged time would be dropped with the old address.
    update identity.users u
    set email = v_address, hashed_email = v_hash, email_verified_at = clock_timestamp()
    where u.id = v_user.id;
  exception
    when unique_violation then
      -- Another account verified it first.
      perform private.record_security_event(
        'email_verification_failed', v_user.id, jsonb_build_object('reason', 'address_taken')
      );
      return false;
  end;
  if v_user.email is not null then
    perform private.queue_mail(v_user.id, v_user.email, 'email-changed', private.mail_variables(v_user.id));
  end if;
  perform private.record_security_event('email_changed', v_user.id, '{}', 'warning');
  return true;
end
$$;

comment on function private.verify_email(token_hash bytea) is 'Verifies the account''s address, or moves it to the address the link was sent to; returns false for an invalid token.';
revoke execute on function private.verify_email(token_hash bytea) from public;
grant execute on function private.verify_email(token_hash bytea) to :PLINTH_SERVICE;

-- Returns the price history of a model to import; USD per million tokens.
create or replace function private.wanted_prices(price_history jsonb)
  returns table(input_price numeric, output_price numeric, cached_input_price numeric, reasoning_price numeric, effective_from timestamp with time zone, effective_to timestamp with time zone)
  language sql
  stable
  set search_path to 'pg_catalog'
  set "TimeZone" to 'UTC'
as $$
  -- Kept as written: a price that the table would reject must not be rounded to one that it accepts.
  select
    (h ->> 'input')::numeric,
    (h ->> 'output')::numeric,
    (h ->> 'inputCached')::numeric,
    (h ->> 'reasoning')::numeric,
    (h ->> 'from')::date,
    (h ->> 'to')::date
  from jsonb_array_elements(coalesce(price_history, '[]')) h
$$;

comment on function private.wanted_prices(price_history jsonb) is 'Returns the price history of a model to import; USD per million tokens.';
revoke execute on function private.wanted_prices(price_history jsonb) from public;

-- Returns a JSON object without the members whose names suggest secrets.
create or replace function private.without_secrets(document jsonb)
  returns jsonb
  language sql
  immutable
  set search_path to 'pg_catalog'
as $$
  select case jsonb_typeof(document)
    when 'object' then (
      select coalesce(jsonb_object_agg(e.key, e.value), '{}')
      from jsonb_each(document) e
      where e.key !~ '(sealed|secret|password|token|hash|code)'
    )
    else document
  end
$$;

comment on function private.without_secrets(document jsonb) is 'Returns a JSON object without the members whose names suggest secrets.';
revoke execute on function private.without_secrets(document jsonb) from public;

-- Writes the next tables of a pending export; returns continued, finished, failed_<sqlstate>, or null when none is pending.
create or replace function private.write_data_export()
  returns text
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
declare
  v_piece_bytes constant integer := 65536;
  v_step_bytes constant integer := 1048576;
  v_export identity.data_exports;
  v_source record;
  v_rows refcursor;
  v_row text;
  v_count bigint := 0;
  v_content text := '';
  v_part integer;
  v_size bigint := 0;
  -- Also true when no table is left.
  v_is_finished boolean := true;
begin
  select e.* into v_export
  from identity.data_exports e
  where e.status = 'pending' and e.next_attempt_at <= now()
  order by e.next_attempt_at, e.id
  limit 1
  for update skip locked;
  if v_export.id is null then
    return null;
  end if;
  select coalesce(max(p.part_number) + 1, 0) into v_part
  from private.data_export_parts p
  where p.export_id = v_export.id and p.user_id = v_export.user_id;

  begin
    if v_part = 0 then
      v_content := format(
        '{"format":"plinth-data-export","version":1,"user_id":%s,"requested_at":%s,"tables":{',
        to_json(v_export.user_id), to_json(v_export.requested_at)
      );
    end if;
    for v_source in
      select s.*
      from private.data_export_sources() s
      where v_export.last_table is null or s.table_name > v_export.last_table collate "C"
      order by s.table_name
    loop
      v_count := 0;
      open v_rows no scroll for execute private.data_export_query(v_source.table_oid, v_source.condition) using v_export.user_id;
      loop
        fetch v_rows into v_row;
        exit when not found;
        v_content := v_content || case
          when v_count > 0 then E',\n'
          else case when cardinality(v_export.tables) > 0 then E',\n' else E'\n' end || to_json(v_source.table_name) || E':[\n'
        end || v_row;
        v_count := v_count + 1;
        if octet_length(v_content) >= v_piece_bytes then
          insert into private.data_export_parts (export_id, user_id, part_number, content)
          values (v_export.id, v_export.user_id, v_part, v_content);
          v_part := v_part + 1;
          v_size := v_size + octet_length(v_content);
          v_content := '';
        end if;
      end loop;
      close v_rows;
      if v_count > 0 then
        v_content := v_content || ']';
        v_export.tables := v_export.tables || v_source.table_name;
      end if;
      v_export.last_table := v_source.table_name;
      v_is_finished := false;
      exit when v_size > v_step_bytes;
      v_is_finished := true;
    end loop;
    if v_is_finished then
      -- The server closes the object, because it adds data that only it can read.
      v_content := v_content || '}';
    end if;

    if v_content <> '' then
      insert into private.data_export_parts (export_id, user_id, part_number, content)
      values (v_export.id, v_export.user_id, v_part, v_content);
      v_size := v_size + octet_length(v_content);
    end if;
    update identity.data_exports e
    set
      size_bytes = e.size_bytes + v_size,
      tables = v_export.tables,
      last_table = v_export.last_table,
      status = case when v_is_finished then 'ready' else e.status end,
      completed_at = case when v_is_finished then now() end,
      expires_at = case when v_is_finished then now() + (select s.export_lifetime from identity.data_rights_settings s) end
    where e.id = v_export.id;
  exception
    when deadlock_detected or serialization_failure or query_canceled then
      raise;
    when others then
      update identity.data_exports e
      set
        attempts = e.attempts + 1,
        next_attempt_at = now() + least(interval '1 hour', interval '1 minute' * power(2, least(e.attempts, 10))),
        status = case when e.attempts >= 9 then 'failed' else e.status end
      where e.id = v_export.id;
      return 'failed_' || lower(sqlstate);
  end;

  if not v_is_finished then
    return 'continued';
  end if;
  perform private.notify_user(
    v_export.user_id, 'data-export-ready',
    jsonb_build_object('expires_at', (select e.expires_at from identity.data_exports e where e.id = v_export.id))
  );
  return 'finished';
end
$$;

comment on function private.write_data_export() is 'Writes the next tables of a pending export; returns continued, finished, failed_<sqlstate>, or null when none is pending.';
revoke execute on function private.write_data_export() from public;
grant execute on function private.write_data_export() to :PLINTH_WORKER;

-- Appends a delta; returns the last sequence. The same delta again changes nothing. PL409 for a gap, another text or a turn that ended, PL404 for an unknown turn, PL422 for its size.
create or replace function private.write_delta(message_id uuid, sequence integer, content text, thinking text, user_id uuid, writer text)
  returns integer
  language plpgsql
  set search_path to 'pg_catalog'
as $$
#variable_conflict use_column
declare
  v_bytes integer := coalesce(octet_length(write_delta.content), 0) + coalesce(octet_length(write_delta.thinking), 0);
  v_owner uuid;
  v_turn private.turns;
begin
  if v_bytes not between 1 and 65536 then
    raise exception 'A delta must have 1 to 65,536 bytes.' using errcode = 'PL422', column = 'content';
  end if;
  update private.turns t
  set
    last_sequence = t.last_sequence + 1,
    streamed_bytes = t.streamed_bytes + v_bytes,
    lease_expires_at = clock_timestamp() + t.lease
  where t.message_id = write_delta.message_id
    and t.last_sequence = write_delta.sequence - 1
    and t.ended_at is null
    and t.writer = write_delta.writer
    and (write_delta.user_id is null or t.user_id = write_delta.user_id)
    and t.streamed_bytes + v_bytes <= 1000000
  returning t.user_id into v_owner;
  if found then
    insert into llm.message_deltas (user_id, message_id, sequence, content, thinking)
    values (
      v_owner, write_delta.message_id, write_delta.sequence, coalesce(write_delta.content, ''),
      coalesce(write_delta.thinking, '')
    );
    perform plinth.announce('turn:' || write_delta.message_id, write_delta.sequence);
    return write_delta.sequence;
  end if;

  select t.* into v_turn
  from private.turns t
  where t.message_id = write_delta.message_id
    and t.writer = write_delta.writer
    and (write_delta.user_id is null or t.user_id = write_delta.user_id);
  if not found then
    raise exception 'Turn not found.' using errcode = 'PL404', column = 'message_id';
  end if;
  if write_delta.sequence between 1 and v_turn.last_sequence then
    if exists (
      select
      from llm.message_deltas d
      where d.user_id = v_turn.user_id
        and d.message_id = v_turn.message_id
        and d.sequence = write_delta.sequence
        and d.content = coalesce(write_delta.content, '')
        and d.thinking = coalesce(write_delta.thinking, '')
    ) then
      return v_turn.last_sequence;
    end if;
    raise exception 'Delta % was already stored with another text.', write_delta.sequence using errcode = 'PL409', column = 'sequence';
  end if;
  if v_turn.ended_at is not null then
    raise exception 'The turn has ended.'
      using errcode = 'PL409', column = 'message_id', hint = 'It was finished, cancelled, or ended when its lease expired.';
  end if;
  if v_turn.last_sequence <> write_delta.sequence - 1 or write_delta.sequence is null then
    raise exception 'The next delta is %, not %.', v_turn.last_sequence + 1, coalesce(write_delta.sequence::text, 'null')
      using errcode = 'PL409', column = 'sequence';
  end if;
  raise exception 'An answer can have at most 1,000,000 bytes.'
    using errcode = 'PL422', column = 'content', hint = 'Finish it with the reason length.';
end
$$;

comment on function private.write_delta(message_id uuid, sequence integer, content text, thinking text, user_id uuid, writer text) is 'Appends a delta; returns the last sequence. The same delta again changes nothing. PL409 for a gap, another text or a turn that ended, PL404 for an unknown turn, PL422 for its size.';
revoke execute on function private.write_delta(message_id uuid, sequence integer, content text, thinking text, user_id uuid, writer text) from public;

-- Appends deltas, all or none; returns the last sequence. The same deltas again change nothing. PL409 for a gap, another text or a turn that ended, PL404 for an unknown turn, PL422 for their number or size.
create or replace function private.write_deltas(message_id uuid, first_sequence integer, contents text[], thinking text[], user_id uuid, writer text)
  returns integer
  language plpgsql
  set search_path to 'pg_catalog'
as $$
#variable_conflict use_column
declare
  v_count constant integer := coalesce(cardinality(write_deltas.contents), 0);
  v_turn private.turns;
  v_known integer;
  v_bytes bigint;
  v_different integer;
begin
  if v_count not between 1 and 1000 or array_ndims(write_deltas.contents) <> 1 then
    raise exception 'A batch must have 1 to 1,000 deltas.' using errcode = 'PL422', column = 'contents';
  end if;
  if write_deltas.thinking is not null
    and (cardinality(write_deltas.thinking) <> v_count or array_ndims(write_deltas.thinking) <> 1)
  then
    raise exception 'Send as many thinking pieces as contents; use null for none.'
      using errcode = 'PL422', column = 'thinking';
  end if;
  if exists (
    select
    from generate_series(1, v_count) i
    where coalesce(octet_length(write_deltas.contents[i]), 0) + coalesce(octet_length(write_deltas.thinking[i]), 0)
      not between 1 and 65536
  ) then
    raise exception 'A delta must have 1 to 65,536 bytes.' using errcode = 'PL422', column = 'contents';
  end if;

  select t.* into v_turn
  from private.turns t
  where t.message_id = write_deltas.message_id
    and t.writer = write_deltas.writer
    and (write_deltas.user_id is null or t.user_id = write_deltas.user_id)
  for no key update;
  if not found then
    raise exception 'Turn not found.' using errcode = 'PL404', column = 'message_id';
  end if;
  if write_deltas.first_sequence between 1 and v_turn.last_sequence + 1 is not true then
    raise exception 'The next delta is %, not %.', v_turn.last_sequence + 1, coalesce(write_deltas.first_sequence::text, 'null')
      using errcode = 'PL409', column = 'first_sequence';
  end if;
  v_known := least(v_count, v_turn.last_sequence - write_deltas.first_sequence + 1);
  select min(write_deltas.first_sequence + i - 1) into v_different
  from generate_series(1, v_known) i
  where not exists (
    select
    from llm.message_deltas d
    where d.user_id = v_turn.user_id
      and d.message_id = v_turn.message_id
      and d.sequence = write_deltas.first_sequence + i - 1
      and d.content = coalesce(write_deltas.contents[i], '')
      and d.thinking = coalesce(write_deltas.thinking[i], '')
  );
  if v_different is not null then
    raise exception 'Delta % was already stored with another text.', v_different using errcode = 'PL409', column = 'first_sequence';
  end if;
  if v_known = v_count then
    return v_turn.last_sequence;
  end if;
  if v_turn.ended_at is not null then
    raise exception 'The turn has ended.'
      using errcode = 'PL409', column = 'message_id', hint = 'It was finished, cancelled, or ended when its lease expired.';
  end if;
  select sum(coalesce(octet_length(write_deltas.contents[i]), 0) + coalesce(octet_length(write_deltas.thinking[i]), 0))
  into v_bytes
  from generate_series(v_known + 1, v_count) i;
  if v_turn.streamed_bytes + v_bytes > 1000000 then
    raise exception 'An answer can have at most 1,000,000 bytes.'
      using errcode = 'PL422', column = 'contents', hint = 'Finish it with the reason length.';
  end if;

  insert into llm.message_deltas (user_id, message_id, sequence, content, thinking)
  select
    v_turn.user_id, v_turn.message_id, write_deltas.first_sequence + i - 1, coalesce(write_deltas.contents[i], ''),
    coalesce(write_deltas.thinking[i], '')
  from generate_series(v_known + 1, v_count) i;
  update private.turns t
  set
    last_sequence = write_deltas.first_sequence + v_count - 1,
    streamed_bytes = t.streamed_bytes + v_bytes,
    lease_expires_at = clock_timestamp() + t.lease
  where t.message_id = v_turn.message_id;
  perform plinth.announce('turn:' || v_turn.message_id, write_deltas.first_sequence + v_count - 1);
  return write_deltas.first_sequence + v_count - 1;
end
$$;

comment on function private.write_deltas(message_id uuid, first_sequence integer, contents text[], thinking text[], user_id uuid, writer text) is 'Appends deltas, all or none; returns the last sequence. The same deltas again change nothing. PL409 for a gap, another text or a turn that ended, PL404 for an unknown turn, PL422 for their number or size.';
revoke execute on function private.write_deltas(message_id uuid, first_sequence integer, contents text[], thinking text[], user_id uuid, writer text) from public;
