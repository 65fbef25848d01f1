--! Previous: sha1:62c2d9a73a157808fdc284cd5f14f32a47eb74e8
--! Hash: sha1:c8cc6244305e6300a345909c93589606cc1f1d16
--! Message: identity

-- Accounts: profile, sign-in, sessions, tokens, second factors, consents, mail, export and deletion.

-- Function bodies are checked on first use, so a function may precede the objects that it uses.
set local check_function_bodies = off;

-- A trigger stores usernames and addresses in lower case: "Ada" and "ada" are one account, and every client can compare them
-- directly.
create table identity.users (
  id uuid primary key default plinth.uuid_v7(),
  username text not null,
  email text,
  account_status text not null default 'active',
  -- Generated from the status, for the documented queries that expect a boolean.
  is_active boolean not null generated always as (account_status = 'active') stored,
  email_verified_at timestamptz,
  is_verified boolean not null generated always as (email_verified_at is not null) stored,
  -- An access token contains the version at its creation. Raising the version revokes all earlier tokens.
  token_version integer not null default 1,
  failed_login_attempts integer not null default 0,
  locked_until timestamptz,
  last_login_at timestamptz,
  password_changed_at timestamptz,
  profile_data jsonb not null default '{}',
  metadata jsonb not null default '{}',
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  hashed_email bytea,
  phone_number text,
  phone_verified_at timestamptz,
  has_irregular_address boolean not null default false,
  constraint users_username_key unique (username),
  constraint users_email_key unique (email),
  constraint users_username_check
    check (username ~ '^[a-z0-9]([a-z0-9_.-]{0,98}[a-z0-9])?$' and length(username) >= 2),
  constraint users_account_status_check check (account_status in ('active', 'disabled', 'deleted')),
  constraint users_token_version_is_positive check (token_version > 0),
  constraint users_failed_login_attempts_is_not_negative check (failed_login_attempts >= 0),
  constraint users_profile_data_is_an_object check (jsonb_typeof(profile_data) = 'object'),
  constraint users_metadata_is_an_object check (jsonb_typeof(metadata) = 'object'),
  constraint users_hashed_email_key unique (hashed_email),
  constraint users_hashed_email_is_hmac_sha256 check (octet_length(hashed_email) = 32),
  constraint users_phone_number_key unique (phone_number),
  constraint users_phone_number_check check (phone_number ~ '^\+[1-9][0-9]{6,14}$'),
  constraint users_phone_number_is_verified check ((phone_number is null) = (phone_verified_at is null)),
  constraint users_email_check check (
    email is null or has_irregular_address or (email = plinth.normalize_email(email)) is true
  )
);

alter table identity.users enable row level security;

-- Administrators list the newest accounts and the inactive ones; both queries are documented.
create index users_created_at_idx on identity.users (created_at);
create index users_is_active_idx on identity.users (is_active);

comment on constraint users_phone_number_key on identity.users is '@behavior -query:resource:single';
comment on table identity.users is 'One row per account. Other users see only its public profile.';
comment on column identity.users.id is 'Id (UUIDv7); sorts by time of registration.';
comment on column identity.users.username is
  'Unique name: lower case letters, digits, dot, underscore and hyphen, 2 to 100 characters.';
comment on column identity.users.email is 'Unique e-mail address, lower case; null if only a keyed hash may be stored.';
comment on column identity.users.account_status is 'State: active, disabled (by an administrator) or deleted (soft).';
comment on column identity.users.is_active is 'Whether account_status is active.';
comment on column identity.users.email_verified_at is 'Time when the owner verified the address; null if never verified.';
comment on column identity.users.is_verified is 'Whether the address is verified.';
comment on column identity.users.token_version is
  'Version of access tokens. Raising it revokes all earlier access tokens; it is never lowered.';
comment on column identity.users.failed_login_attempts is 'Number of wrong passwords since the last successful sign-in.';
comment on column identity.users.locked_until is 'Time until which sign-in is locked; null or in the past if not locked.';
comment on column identity.users.last_login_at is 'Time of the last successful sign-in.';
comment on column identity.users.password_changed_at is 'Time when the password was last set.';
comment on column identity.users.profile_data is 'Profile that the user enters, for the application (JSON object).';
comment on column identity.users.metadata is 'Data that the application stores about the account (JSON object).';
comment on column identity.users.created_at is 'Time when the account was created.';
comment on column identity.users.updated_at is 'Time of the last change.';
comment on column identity.users.hashed_email is
  E'@behavior -*\n'
  'HMAC-SHA256 of the address under this installation''s key; finds accounts that store no address.';
comment on column identity.users.phone_number is
  'Unique number in E.164 format (+ and digits), verified by a code; null if none.';
comment on column identity.users.phone_verified_at is 'Time when the owner verified the number.';
comment on column identity.users.has_irregular_address is
  E'@behavior -*\n'
  'Whether the address predates normalization and has no normalized form: it is invalid, or another account has the '
  'same form.';
comment on constraint users_hashed_email_key on identity.users is '@behavior -*';

-- Registration creates the row.
create table identity.user_settings (
  user_id uuid primary key references identity.users on delete cascade,
  display_name text,
  avatar_url text,
  -- References llm.models, which a later file creates.
  default_model_id uuid,
  preferences jsonb not null default '{}',
  -- The user's own model server, for products that support it. Its API key is not stored here.
  llm_provider text,
  llm_endpoint text,
  llm_model text,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint user_settings_display_name_check
    check (length(display_name) between 1 and 100 and display_name !~ '[[:cntrl:]]'),
  constraint user_settings_avatar_url_check check (avatar_url ~ '^https?://[^[:space:]]+$' and length(avatar_url) <= 2048),
  constraint user_settings_preferences_is_an_object check (jsonb_typeof(preferences) = 'object'),
  constraint user_settings_llm_provider_check check (length(llm_provider) between 1 and 100),
  constraint user_settings_llm_endpoint_check
    check (llm_endpoint ~ '^https?://[^[:space:]]+$' and length(llm_endpoint) <= 2048),
  constraint user_settings_llm_model_check check (length(llm_model) between 1 and 200)
);

alter table identity.user_settings enable row level security;

-- Serves the foreign key.
create index user_settings_default_model_id_idx on identity.user_settings (default_model_id);

comment on table identity.user_settings is 'One row per user: settings that the user edits.';
comment on column identity.user_settings.user_id is 'The user.';
comment on column identity.user_settings.display_name is 'Name shown to others, 1 to 100 characters.';
comment on column identity.user_settings.avatar_url is 'URL (http or https) of the picture shown to others.';
comment on column identity.user_settings.default_model_id is 'Default model of new chats, or null.';
comment on column identity.user_settings.preferences is 'Free-form settings of the application (JSON object).';
comment on column identity.user_settings.llm_provider is 'Name of the user''s own model provider, or null.';
comment on column identity.user_settings.llm_endpoint is 'URL (http or https) of the user''s own model server, or null.';
comment on column identity.user_settings.llm_model is 'Name of the model on the user''s own server, or null.';
comment on column identity.user_settings.created_at is 'Time when the row was created.';
comment on column identity.user_settings.updated_at is 'Time of the last change.';

-- Facts that an assistant has learned about a user, with its confidence.
create table identity.user_preferences (
  id uuid primary key default plinth.uuid_v7(),
  user_id uuid not null default plinth.current_user_id() references identity.users on delete cascade,
  preference_type text not null,
  preference_key text not null,
  preference_value jsonb not null,
  confidence double precision not null default 1,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint user_preferences_user_id_preference_type_preference_key_key
    unique (user_id, preference_type, preference_key),
  constraint user_preferences_preference_type_check check (length(preference_type) between 1 and 100),
  constraint user_preferences_preference_key_check check (length(preference_key) between 1 and 200),
  constraint user_preferences_confidence_check check (confidence between 0 and 1),
  constraint user_preferences_preference_value_is_a_value check (preference_value <> 'null')
);

alter table identity.user_preferences enable row level security;

comment on table identity.user_preferences is 'Learned preferences: one row per user, type and key.';
comment on column identity.user_preferences.id is 'Id (UUIDv7).';
comment on column identity.user_preferences.user_id is 'The user.';
comment on column identity.user_preferences.preference_type is 'Group of the preference, such as tone or topic.';
comment on column identity.user_preferences.preference_key is 'Name of the preference within the group.';
comment on column identity.user_preferences.preference_value is 'Value of the preference (JSON).';
comment on column identity.user_preferences.confidence is 'Confidence of the application, from 0.0 to 1.0.';
comment on column identity.user_preferences.created_at is 'Time when the preference was first learned.';
comment on column identity.user_preferences.updated_at is 'Time of the last change.';
comment on constraint user_preferences_preference_value_is_a_value on identity.user_preferences is
  'A preference must have a value. To remove it, delete the row.';

-- Rules that users set for their own sign-ins; private.finish_login and private.rotate_refresh_token enforce them.
create table identity.user_security_settings (
  user_id uuid primary key references identity.users on delete cascade,
  session_timeout_minutes integer,
  allowed_networks cidr[],
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint user_security_settings_session_timeout_minutes_check check (session_timeout_minutes between 5 and 43200),
  constraint user_security_settings_allowed_networks_check
    check (cardinality(allowed_networks) between 1 and 50 and array_position(allowed_networks, null) is null)
);

alter table identity.user_security_settings enable row level security;

comment on table identity.user_security_settings is 'One row per user: rules for the user''s own sign-ins.';
comment on column identity.user_security_settings.user_id is 'The user.';
comment on column identity.user_security_settings.session_timeout_minutes is
  'Idle time in minutes after which a session ends (5 to 43200); null for the default of 30 days.';
comment on column identity.user_security_settings.allowed_networks is
  'Networks (CIDR) from which sign-in, refresh and API tokens are accepted; null for any network.';
comment on column identity.user_security_settings.created_at is 'Time when the row was created.';
comment on column identity.user_security_settings.updated_at is 'Time of the last change.';

-- A signed-in device. Ending the session revokes its refresh tokens in private.refresh_tokens.
create table identity.user_sessions (
  id uuid primary key default plinth.uuid_v7(),
  user_id uuid not null references identity.users on delete cascade,
  device_name text,
  created_at timestamptz not null default now(),
  -- Absolute limit: refreshing does not extend it.
  expires_at timestamptz not null default now() + interval '90 days',
  last_activity_at timestamptz not null default now(),
  ended_at timestamptz,
  end_reason text,
  is_active boolean not null generated always as (ended_at is null) stored,
  ip_address inet,
  user_agent text,
  device_info jsonb not null default '{}',
  security_context jsonb not null default '{}',
  authentication_methods text[] not null default '{}',
  authenticated_at timestamptz not null default now(),
  -- Lets other tables reference the session and its user in one foreign key.
  constraint user_sessions_id_user_id_key unique (id, user_id),
  constraint user_sessions_device_name_check
    check (length(device_name) between 1 and 100 and device_name !~ '[[:cntrl:]]'),
  constraint user_sessions_ended_with_a_reason check ((ended_at is null) = (end_reason is null)),
  constraint user_sessions_device_info_is_an_object check (jsonb_typeof(device_info) = 'object'),
  constraint user_sessions_security_context_is_an_object check (jsonb_typeof(security_context) = 'object'),
  constraint user_sessions_authentication_methods_check
    check (cardinality(authentication_methods) <= 10 and array_position(authentication_methods, null) is null),
  constraint user_sessions_device_info_is_small check (octet_length(device_info::text) <= 2048),
  constraint user_sessions_end_reason_check check (
    end_reason in (
      'logout', 'logout_everywhere', 'ended_by_user', 'ended_by_administrator', 'password_changed', 'token_reuse',
      'account_disabled', 'account_deletion', 'expired'
    )
  )
);

alter table identity.user_sessions enable row level security;

-- A user's sessions, newest first; also serves the foreign key.
create index user_sessions_user_id_created_at_idx on identity.user_sessions (user_id, created_at desc);
-- Serve the cleanup job: sessions past their absolute limit, past their idle limit, and ended long ago.
create index user_sessions_expires_at_idx on identity.user_sessions (expires_at) where ended_at is null;
create index user_sessions_last_activity_at_idx on identity.user_sessions (last_activity_at) where ended_at is null;
create index user_sessions_ended_at_idx on identity.user_sessions (ended_at) where ended_at is not null;

comment on table identity.user_sessions is 'One row per signed-in device; kept for 90 days after the session ended.';
comment on column identity.user_sessions.id is 'Id (UUIDv7); the sid claim of the session''s access tokens.';
comment on column identity.user_sessions.user_id is 'The signed-in user.';
comment on column identity.user_sessions.device_name is 'Name given at sign-in or later by the user, 1 to 100 characters.';
comment on column identity.user_sessions.created_at is 'Time of sign-in.';
comment on column identity.user_sessions.expires_at is 'Time when the session ends at the latest; a refresh does not extend it.';
comment on column identity.user_sessions.last_activity_at is 'Time of the last sign-in, refresh or request, to the minute.';
comment on column identity.user_sessions.ended_at is 'Time when the session ended; null while it is active.';
comment on column identity.user_sessions.end_reason is
  'Reason the session ended: logout, logout_everywhere, ended_by_user, ended_by_administrator, password_changed, '
  'token_reuse, account_disabled or expired.';
comment on column identity.user_sessions.is_active is 'Whether the session has not been ended.';
comment on column identity.user_sessions.ip_address is 'IP address of the last sign-in, refresh or recorded request.';
comment on column identity.user_sessions.user_agent is 'User-Agent header of the last sign-in or refresh.';
comment on column identity.user_sessions.device_info is
  'Platform and browser from the User-Agent header, and details added by the application (JSON object, at most 2 kB).';
comment on column identity.user_sessions.security_context is
  'IP address of the sign-in (sign_in_address), and the last five IP addresses with their first use (addresses) (JSON object).';
comment on column identity.user_sessions.authentication_methods is
  'Methods used to sign in, as amr values of RFC 8176: pwd, otp, hwk, fed; empty for sessions older than the column.';
comment on column identity.user_sessions.authenticated_at is 'Time when the user last proved their identity in this session.';

-- One password per account, as a PHC string, which contains salt and cost.
create table private.user_passwords (
  user_id uuid primary key references identity.users on delete cascade,
  password_hash text not null,
  hash_algorithm text not null default 'argon2id',
  updated_at timestamptz not null default now(),
  suffices_alone boolean not null default true,
  constraint user_passwords_hash_algorithm_check check (hash_algorithm in ('argon2id', 'bcrypt', 'bcrypt-sha256')),
  constraint user_passwords_password_hash_check check (
    case hash_algorithm
      when 'argon2id' then password_hash ~ '^\$argon2id\$v=19\$m=\d+,t=\d+,p=\d+\$[A-Za-z0-9+/]+\$[A-Za-z0-9+/]+$'
      when 'bcrypt' then password_hash ~ '^\$2[aby]\$\d\d\$[./A-Za-z0-9]{53}$'
      when 'bcrypt-sha256' then password_hash ~ '^\$bcrypt-sha256\$v=2,t=2b,r=\d\d?\$[./A-Za-z0-9]{22}\$[./A-Za-z0-9]{31}$'
    end
  )
);

alter table private.user_passwords enable row level security;

create index user_passwords_bcrypt_idx on private.user_passwords (user_id) where hash_algorithm <> 'argon2id';

comment on table private.user_passwords is 'One row per account with a password. Not readable by any API role.';
comment on column private.user_passwords.user_id is 'The user.';
comment on column private.user_passwords.password_hash is
  'Password hash: PHC string (argon2id, bcrypt-sha256 in passlib''s second form) or modular crypt string (bcrypt).';
comment on column private.user_passwords.hash_algorithm is
  'Algorithm: argon2id (default), bcrypt-sha256 (PLINTH_PASSWORD_HASH=bcrypt) or bcrypt (imported; replaced at the next sign-in).';
comment on column private.user_passwords.updated_at is 'Time when the hash was last set.';
comment on column private.user_passwords.suffices_alone is
  'Whether the password met the rule for use without a second factor (15 characters); if not, the last factor cannot be removed.';

-- Refresh tokens rotate (RFC 9700, section 4.14.2): each can be used once and has at most one successor.
create table private.refresh_tokens (
  id uuid primary key default plinth.uuid_v7(),
  session_id uuid not null,
  user_id uuid not null,
  -- No foreign key: setting it null when the parent is deleted would lock tokens in another order than all other code.
  parent_id uuid,
  token_hash bytea not null,
  created_at timestamptz not null default now(),
  expires_at timestamptz not null,
  used_at timestamptz,
  -- The successor, encrypted under the token itself: a client that retries a lost request gets the same response, and a dump
  -- reveals nothing.
  successor_sealed bytea,
  constraint refresh_tokens_session_id_user_id_fkey
    foreign key (session_id, user_id) references identity.user_sessions (id, user_id) on delete cascade,
  constraint refresh_tokens_token_hash_key unique (token_hash),
  constraint refresh_tokens_parent_id_key unique (parent_id),
  constraint refresh_tokens_token_hash_is_sha256 check (octet_length(token_hash) = 32),
  constraint refresh_tokens_used_with_successor check ((used_at is null) = (successor_sealed is null))
);

alter table private.refresh_tokens enable row level security;

-- At most one live token per session, also under concurrency.
create unique index refresh_tokens_one_live_per_session_key on private.refresh_tokens (session_id) where used_at is null;
-- Serves the foreign key, and the query for all tokens of a session.
create index refresh_tokens_session_id_user_id_idx on private.refresh_tokens (session_id, user_id);
-- Serves the cleanup job.
create index refresh_tokens_expires_at_idx on private.refresh_tokens (expires_at);

comment on table private.refresh_tokens is
  'One row per refresh token. The tokens of a session form a chain; only the last one is valid.';
comment on column private.refresh_tokens.id is 'Id (UUIDv7).';
comment on column private.refresh_tokens.session_id is 'The session; all its tokens are one family.';
comment on column private.refresh_tokens.user_id is 'The owner of the session.';
comment on column private.refresh_tokens.parent_id is
  'The token it replaced, which may have been deleted since; null for the first.';
comment on column private.refresh_tokens.token_hash is 'SHA-256 of the token; the token itself is not stored.';
comment on column private.refresh_tokens.created_at is 'Time when the token was issued.';
comment on column private.refresh_tokens.expires_at is 'Time when the token expires.';
comment on column private.refresh_tokens.used_at is 'Time when it was exchanged for its successor; null while valid.';
comment on column private.refresh_tokens.successor_sealed is 'Successor, encrypted with a key derived from this token.';

-- Access tokens revoked before they expire. Servers keep the rows in memory.
create table private.token_blacklist (
  id uuid primary key default plinth.uuid_v7(),
  kind text not null,
  -- No foreign key: the row must outlive a deleted session or account.
  subject_id uuid not null,
  token_version integer,
  reason text not null,
  created_at timestamptz not null default clock_timestamp(),
  -- An access token lives at most a day (PLINTH_ACCESS_TOKEN_SECONDS is capped); five minutes allow for clock differences.
  expires_at timestamptz not null default now() + interval '1 day 5 minutes',
  constraint token_blacklist_kind_check check (kind in ('token', 'session', 'user')),
  constraint token_blacklist_token_version_only_for_users check (token_version is null or kind = 'user')
);

alter table private.token_blacklist enable row level security;

create index token_blacklist_subject_id_idx on private.token_blacklist (subject_id);
create index token_blacklist_expires_at_idx on private.token_blacklist (expires_at);

comment on table private.token_blacklist is
  'Revoked access tokens: one row per revoked token, session or account, until none of its tokens can be valid.';
comment on column private.token_blacklist.id is 'Id (UUIDv7).';
comment on column private.token_blacklist.kind is
  'Scope of the revocation: one token, the tokens of a session, or those of a user.';
comment on column private.token_blacklist.subject_id is 'Id of the token (jti), session or user.';
comment on column private.token_blacklist.token_version is
  'For a user: tokens of a lower version are revoked; null for all tokens.';
comment on column private.token_blacklist.reason is 'Reason for the revocation, such as logout.';
comment on column private.token_blacklist.created_at is 'Time of the revocation.';
comment on column private.token_blacklist.expires_at is 'Time from which the row has no effect and is deleted.';

-- Gives a program access to an account. The secret is not stored; its hash is in private.api_token_hashes.
create table identity.api_tokens (
  id uuid primary key default plinth.uuid_v7(),
  user_id uuid not null references identity.users on delete cascade,
  name text not null,
  token_prefix text not null,
  scopes text[] not null,
  created_at timestamptz not null default now(),
  expires_at timestamptz not null,
  last_used_at timestamptz,
  last_used_ip inet,
  revoked_at timestamptz,
  constraint api_tokens_name_check check (length(name) between 1 and 100 and name !~ '[[:cntrl:]]' and trim(name) <> ''),
  constraint api_tokens_token_prefix_check check (token_prefix ~ '^pla_[A-Za-z0-9_-]{8}$'),
  constraint api_tokens_scopes_are_read_or_both check (scopes in (array['read'], array['read', 'write'])),
  constraint api_tokens_expire_within_366_days
    check (expires_at > created_at and expires_at <= created_at + interval '366 days')
);

alter table identity.api_tokens enable row level security;

-- A user's tokens, newest first; also serves the foreign key and the count of live tokens.
create index api_tokens_user_id_created_at_idx on identity.api_tokens (user_id, created_at desc);
-- Serve the cleanup job: tokens that expired or were revoked long ago.
create index api_tokens_expires_at_idx on identity.api_tokens (expires_at);
create index api_tokens_revoked_at_idx on identity.api_tokens (revoked_at) where revoked_at is not null;

comment on table identity.api_tokens is 'One row per API token; kept for 90 days after it was revoked or expired.';
comment on column identity.api_tokens.id is 'Id (UUIDv7).';
comment on column identity.api_tokens.user_id is 'The user whose identity the token uses.';
comment on column identity.api_tokens.name is 'Name given by the user, 1 to 100 characters.';
comment on column identity.api_tokens.token_prefix is
  'Start of the token, for recognizing it: pla_ and 8 of its 43 random characters.';
comment on column identity.api_tokens.scopes is 'Scopes: read, or read and write. Without write, its transactions are read-only.';
comment on column identity.api_tokens.created_at is 'Time when the token was created.';
comment on column identity.api_tokens.expires_at is 'Time when the token expires; at most 366 days after it was created.';
comment on column identity.api_tokens.last_used_at is 'Time of the last use, to the minute; null if never used.';
comment on column identity.api_tokens.last_used_ip is 'IP address of the last use.';
comment on column identity.api_tokens.revoked_at is 'Time when the token was revoked; null if not revoked.';

create table private.api_token_hashes (
  token_id uuid primary key references identity.api_tokens on delete cascade,
  token_hash bytea not null,
  constraint api_token_hashes_token_hash_key unique (token_hash),
  constraint api_token_hashes_token_hash_is_sha256 check (octet_length(token_hash) = 32)
);

alter table private.api_token_hashes enable row level security;

comment on table private.api_token_hashes is 'One row per API token: the hash that identifies it. Not readable by any API role.';
comment on column private.api_token_hashes.token_id is 'The token.';
comment on column private.api_token_hashes.token_hash is 'SHA-256 of the token; its 256 random bits need no salt.';

-- Purposes that users can consent to, and their wording.
create table identity.consent_purposes (
  name text not null,
  version integer not null,
  title text not null,
  text_url text not null,
  required boolean not null default false,
  published_at timestamptz,
  created_at timestamptz not null default now(),
  constraint consent_purposes_pkey primary key (name, version),
  constraint consent_purposes_name_check check (name ~ '^[a-z][a-z0-9_]{0,99}$'),
  constraint consent_purposes_version_check check (version between 1 and 1000000),
  constraint consent_purposes_title_check check (length(title) between 1 and 200 and title !~ '[[:cntrl:]]'),
  constraint consent_purposes_text_url_check check (text_url ~ '^https?://[^[:space:]]+$' and length(text_url) <= 2048)
);

alter table identity.consent_purposes enable row level security;

comment on table identity.consent_purposes is
  'One row per consent purpose and version of its text. A published version never changes.';
comment on column identity.consent_purposes.name is
  'Name of the purpose, such as newsletter; lower case letters, digits and underscores.';
comment on column identity.consent_purposes.version is 'Version number of the text; the highest published version is current.';
comment on column identity.consent_purposes.title is 'Question to the user, in one line.';
comment on column identity.consent_purposes.text_url is 'URL (http or https) of the full text.';
comment on column identity.consent_purposes.required is 'Whether the product requires the consent; the application enforces it.';
comment on column identity.consent_purposes.published_at is
  'Time from which the version applies and cannot be changed; null for a draft.';
comment on column identity.consent_purposes.created_at is 'Time when the row was created.';

-- Consents and withdrawals (GDPR Art. 7: consent must be demonstrable and withdrawable). Each decision is a row that never
-- changes; the latest counts.
create table identity.consents (
  id uuid primary key default plinth.uuid_v7(),
  user_id uuid not null references identity.users on delete cascade,
  purpose text not null,
  version integer not null,
  granted_at timestamptz,
  withdrawn_at timestamptz,
  decided_at timestamptz not null generated always as (coalesce(granted_at, withdrawn_at)) stored,
  ip_address inet,
  user_agent text,
  constraint consents_purpose_version_fkey
    foreign key (purpose, version) references identity.consent_purposes on delete restrict,
  constraint consents_grant_or_withdraw check (num_nonnulls(granted_at, withdrawn_at) = 1),
  constraint consents_user_agent_check check (length(user_agent) <= 1000)
);

alter table identity.consents enable row level security;

-- A user's latest decision on a purpose must be unambiguous; also serves the foreign key to the user.
create unique index consents_user_id_purpose_decided_at_key on identity.consents (user_id, purpose, decided_at);
create index consents_purpose_version_idx on identity.consents (purpose, version);

comment on table identity.consents is 'One row per decision of a user on a purpose. Append-only; the latest decision applies.';
comment on column identity.consents.id is 'Id (UUIDv7).';
comment on column identity.consents.user_id is 'The user who decided.';
comment on column identity.consents.purpose is 'Name of the purpose.';
comment on column identity.consents.version is 'Version of the purpose''s text.';
comment on column identity.consents.granted_at is 'Time of the consent; null for a withdrawal.';
comment on column identity.consents.withdrawn_at is 'Time of the withdrawal; null for a consent.';
comment on column identity.consents.decided_at is 'Time of the decision, whether consent or withdrawal.';
comment on column identity.consents.ip_address is 'IP address of the request.';
comment on column identity.consents.user_agent is 'User-Agent header of the request.';
comment on constraint consents_purpose_version_fkey on identity.consents is
  E'@fieldName consentPurpose\n'
  '@foreignFieldName consents\n'
  'The version of the text that the user decided on.';

-- Second factors, as their owner sees them. The secrets are in `private`, in one table per kind.
create table identity.mfa_factors (
  id uuid primary key default plinth.uuid_v7(),
  user_id uuid not null references identity.users on delete cascade,
  kind text not null,
  name text not null,
  created_at timestamptz not null default now(),
  -- A factor counts once its owner has shown that it works. Until then it neither protects the account nor locks its owner out.
  confirmed_at timestamptz,
  last_used_at timestamptz,
  constraint mfa_factors_kind_check check (kind in ('totp', 'passkey')),
  constraint mfa_factors_name_check check (length(name) between 1 and 100 and name !~ '[[:cntrl:]]'),
  constraint mfa_factors_used_once_confirmed check (last_used_at is null or confirmed_at is not null)
);

alter table identity.mfa_factors enable row level security;

-- Each sign-in reads the factors of the account; also serves the foreign key.
create index mfa_factors_user_id_idx on identity.mfa_factors (user_id);
-- Serves the cleanup job: abandoned enrolments.
create index mfa_factors_unconfirmed_idx on identity.mfa_factors (created_at) where confirmed_at is null;

comment on table identity.mfa_factors is
  E'@behavior -insert -delete\n'
  'One row per second factor of an account: an authenticator app or a passkey.';
comment on column identity.mfa_factors.id is 'Id (UUIDv7).';
comment on column identity.mfa_factors.user_id is 'The owner of the factor.';
comment on column identity.mfa_factors.kind is 'Kind of factor: totp (authenticator app) or passkey.';
comment on column identity.mfa_factors.name is 'Name given by the owner, 1 to 100 characters.';
comment on column identity.mfa_factors.created_at is 'Time when enrolment started.';
comment on column identity.mfa_factors.confirmed_at is 'Time when the factor was first verified; null if it is not active yet.';
comment on column identity.mfa_factors.last_used_at is
  'Time when the factor was last accepted, for a sign-in or to confirm a change.';

-- The secret of an authenticator app, sealed under a master key that the database does not have.
create table private.totp_secrets (
  factor_id uuid primary key references identity.mfa_factors on delete cascade,
  sealed_secret text not null,
  -- RFC 6238, section 5.2: a code is accepted once.
  last_used_step bigint,
  constraint totp_secrets_sealed_secret_is_sealed check (sealed_secret ~ '^v[1-9][0-9]*\.[A-Za-z0-9_-]+$'),
  constraint totp_secrets_last_used_step_is_not_negative check (last_used_step >= 0)
);

alter table private.totp_secrets enable row level security;

comment on table private.totp_secrets is 'One row per authenticator app: its encrypted secret. Not readable by any API role.';
comment on column private.totp_secrets.factor_id is 'The second factor of the app.';
comment on column private.totp_secrets.sealed_secret is
  'Shared secret and the owner''s id, encrypted for the purpose "totp secret".';
comment on column private.totp_secrets.last_used_step is
  'Number of the 30-second step whose code was last accepted; codes of this step and earlier ones are rejected.';

-- The public half of a passkey (WebAuthn Level 3, section 4, "credential record").
create table private.passkeys (
  factor_id uuid primary key references identity.mfa_factors on delete cascade,
  credential_id bytea not null,
  public_key bytea not null,
  sign_count bigint not null default 0,
  transports text[] not null default '{}',
  backup_eligible boolean not null,
  backed_up boolean not null,
  aaguid uuid,
  constraint passkeys_credential_id_key unique (credential_id),
  constraint passkeys_credential_id_check check (octet_length(credential_id) between 1 and 1023),
  constraint passkeys_public_key_check check (octet_length(public_key) between 1 and 4096),
  constraint passkeys_sign_count_check check (sign_count between 0 and 4294967295),
  constraint passkeys_transports_check check (cardinality(transports) <= 10 and array_position(transports, null) is null),
  constraint passkeys_backed_up_only_if_eligible check (backup_eligible or not backed_up)
);

alter table private.passkeys enable row level security;

comment on table private.passkeys is
  'One row per passkey: its public key and the properties its authenticator reported. Not readable by any API role.';
comment on column private.passkeys.factor_id is 'The second factor of the passkey.';
comment on column private.passkeys.credential_id is 'Id of the key at the authenticator; unique across accounts.';
comment on column private.passkeys.public_key is 'Public key as COSE_Key (RFC 9052).';
comment on column private.passkeys.sign_count is 'Highest signature counter seen; 0 for authenticators without a counter.';
comment on column private.passkeys.transports is 'Transports of the authenticator, such as usb or internal; a hint for browsers.';
comment on column private.passkeys.backup_eligible is 'Whether the key can be copied between devices; never changes.';
comment on column private.passkeys.backed_up is 'Whether the key was backed up when last used.';
comment on column private.passkeys.aaguid is 'Model id of the authenticator (AAGUID); null if it reports none.';

-- Codes for signing in after the loss of a device. Each has 120 random bits, so a fast hash suffices: OWASP ASVS 5, 6.5.2,
-- requires a slow salted hash below 112 bits.
create table private.recovery_codes (
  id uuid primary key default plinth.uuid_v7(),
  user_id uuid not null references identity.users on delete cascade,
  code_hash bytea not null,
  created_at timestamptz not null default now(),
  used_at timestamptz,
  constraint recovery_codes_user_id_code_hash_key unique (user_id, code_hash),
  constraint recovery_codes_code_hash_is_sha256 check (octet_length(code_hash) = 32)
);

alter table private.recovery_codes enable row level security;

comment on table private.recovery_codes is
  'One row per recovery code of an account''s current set; each works once. Not readable by any API role.';
comment on column private.recovery_codes.id is 'Id (UUIDv7).';
comment on column private.recovery_codes.user_id is 'The owner of the code.';
comment on column private.recovery_codes.code_hash is 'SHA-256 of the code; the code itself is not stored.';
comment on column private.recovery_codes.created_at is 'Time when the set was created.';
comment on column private.recovery_codes.used_at is 'Time when the code was used; null if not used.';

-- A sign-in between password and session. Its token is good only for the remaining steps.
create table private.sign_in_challenges (
  id uuid primary key default plinth.uuid_v7(),
  user_id uuid not null references identity.users on delete cascade,
  token_hash bytea not null,
  -- The challenge is void once the password was changed or all sessions were ended.
  token_version integer not null,
  methods text[] not null,
  device_name text,
  failed_attempts integer not null default 0,
  created_at timestamptz not null default now(),
  -- Attempts do not extend it.
  expires_at timestamptz not null default now() + interval '10 minutes',
  used_at timestamptz,
  constraint sign_in_challenges_token_hash_key unique (token_hash),
  constraint sign_in_challenges_token_hash_is_sha256 check (octet_length(token_hash) = 32),
  constraint sign_in_challenges_methods_check
    check (cardinality(methods) between 1 and 10 and array_position(methods, null) is null),
  constraint sign_in_challenges_device_name_check
    check (length(device_name) between 1 and 100 and device_name !~ '[[:cntrl:]]'),
  constraint sign_in_challenges_failed_attempts_is_not_negative check (failed_attempts >= 0)
);

alter table private.sign_in_challenges enable row level security;

-- Serves the foreign key.
create index sign_in_challenges_user_id_idx on private.sign_in_challenges (user_id);
-- Serves the cleanup job.
create index sign_in_challenges_expires_at_idx on private.sign_in_challenges (expires_at);

comment on table private.sign_in_challenges is
  'One row per sign-in that waits for a second factor. Not readable by any API role.';
comment on column private.sign_in_challenges.id is 'Id (UUIDv7).';
comment on column private.sign_in_challenges.user_id is 'The user who is signing in.';
comment on column private.sign_in_challenges.token_hash is 'SHA-256 of the token with which the client continues.';
comment on column private.sign_in_challenges.token_version is
  'Version of the account''s access tokens (token_version) when the first factor was accepted; a different version ends '
  'the challenge.';
comment on column private.sign_in_challenges.methods is 'Factors accepted so far, as amr values of RFC 8176.';
comment on column private.sign_in_challenges.device_name is 'Name for the device of the new session; null if not given.';
comment on column private.sign_in_challenges.failed_attempts is 'Number of wrong answers to this challenge; the tenth ends it.';
comment on column private.sign_in_challenges.created_at is 'Time when the first factor was accepted.';
comment on column private.sign_in_challenges.expires_at is 'Time when the challenge expires.';
comment on column private.sign_in_challenges.used_at is 'Time when the challenge became a session; null if it has not.';

-- The challenge that a passkey signs next. The first response deletes it, right or wrong.
create table private.passkey_challenges (
  challenge bytea primary key,
  purpose text not null,
  user_id uuid references identity.users on delete cascade,
  created_at timestamptz not null default now(),
  expires_at timestamptz not null default now() + interval '5 minutes',
  constraint passkey_challenges_challenge_is_32_bytes check (octet_length(challenge) = 32),
  constraint passkey_challenges_purpose_check check (purpose in ('register', 'sign_in', 'second_factor', 'reauthenticate')),
  -- In a sign-in with only a passkey, the account is unknown until the response.
  constraint passkey_challenges_bound_to_an_account check ((user_id is null) = (purpose = 'sign_in'))
);

alter table private.passkey_challenges enable row level security;

-- Serves the foreign key.
create index passkey_challenges_user_id_idx on private.passkey_challenges (user_id);
-- Serves the cleanup job.
create index passkey_challenges_expires_at_idx on private.passkey_challenges (expires_at);

comment on table private.passkey_challenges is 'One row per passkey ceremony in progress. Not readable by any API role.';
comment on column private.passkey_challenges.challenge is 'Challenge of 32 random bytes for the authenticator to sign.';
comment on column private.passkey_challenges.purpose is
  'Purpose of the response: register, sign_in, second_factor or reauthenticate.';
comment on column private.passkey_challenges.user_id is 'The user who must respond; null for a sign-in with only a passkey.';
comment on column private.passkey_challenges.created_at is 'Time when the ceremony started.';
comment on column private.passkey_challenges.expires_at is 'Time when the challenge expires.';

-- Wrong codes count per account. Counted per session or challenge, each new one would allow ten more guesses.
create table private.mfa_attempts (
  user_id uuid primary key references identity.users on delete cascade,
  failed_attempts integer not null,
  last_failed_at timestamptz not null default now(),
  locked_until timestamptz,
  constraint mfa_attempts_failed_attempts_is_positive check (failed_attempts > 0)
);

alter table private.mfa_attempts enable row level security;

comment on table private.mfa_attempts is 'One row per account with wrong codes since a second factor was last accepted.';
comment on column private.mfa_attempts.user_id is 'The account.';
comment on column private.mfa_attempts.failed_attempts is 'Number of wrong codes in a row, over all sessions and challenges.';
comment on column private.mfa_attempts.last_failed_at is 'Time of the last wrong code.';
comment on column private.mfa_attempts.locked_until is 'Time until which codes are rejected; null or in the past if not locked.';

-- One Fernet key per user, created on first use. Deleting the row makes all data under the key unreadable, even with the database
-- and the master keys. No policies on purpose, as for every table of `private`.
create table private.user_keys (
  id uuid primary key default plinth.uuid_v7(),
  user_id uuid not null references identity.users on delete cascade,
  wrapped_key text not null,
  -- Generated, so that it cannot contradict the key.
  master_key_version integer not null generated always as (substring(wrapped_key from '^v([0-9]+)')::integer) stored,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint user_keys_user_id_key unique (user_id),
  -- Lets encrypted rows reference the key and its owner in one foreign key.
  constraint user_keys_id_user_id_key unique (id, user_id),
  constraint user_keys_wrapped_key_is_sealed check (wrapped_key ~ '^v[1-9][0-9]{0,5}[.][A-Za-z0-9_-]{38,}$')
);

alter table private.user_keys enable row level security;

-- Finds keys that are still sealed under an old master key.
create index user_keys_master_key_version_idx on private.user_keys (master_key_version);

comment on table private.user_keys is
  'One row per user with encrypted data: the user''s Fernet key, encrypted. Deleting the row makes that data unreadable.';
comment on column private.user_keys.id is 'Id (UUIDv7); after a key is deleted, the user''s next key has a different id.';
comment on column private.user_keys.user_id is
  'The owner of the key; bound into the encryption, so that the key opens in no other row.';
comment on column private.user_keys.wrapped_key is 'Fernet key, encrypted with a master key: v<version>.<base64url>.';
comment on column private.user_keys.master_key_version is 'Version of the master key that encrypted the key.';
comment on column private.user_keys.created_at is 'Time when the key was created.';
comment on column private.user_keys.updated_at is 'Time when the key was last encrypted.';

-- Keys of the installation for looking up values that are not stored, such as e-mail addresses. Sealed like user keys. Rotating
-- the master key changes the seal but never the key; with another key no account would be found.
create table private.lookup_keys (
  name text primary key,
  sealed_key text not null,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint lookup_keys_name_check check (name in ('email')),
  constraint lookup_keys_sealed_key_is_sealed check (sealed_key ~ '^v[1-9][0-9]{0,5}[.][A-Za-z0-9_-]{38,}$')
);

alter table private.lookup_keys enable row level security;

comment on table private.lookup_keys is
  'One row per kind of value that is looked up by a keyed hash. Not readable by any API role.';
comment on column private.lookup_keys.name is 'Kind of value: email (identity.users.hashed_email).';
comment on column private.lookup_keys.sealed_key is 'HMAC key, encrypted with a master key: v<version>.<base64url>.';
comment on column private.lookup_keys.created_at is 'Time when the key was created.';
comment on column private.lookup_keys.updated_at is 'Time when the key was last encrypted.';

-- Earlier passwords, which may not be reused (PLINTH_PASSWORD_HISTORY sets how many).
create table private.password_history (
  id uuid primary key default plinth.uuid_v7(),
  user_id uuid not null references identity.users on delete cascade,
  password_hash text not null,
  hash_algorithm text not null,
  created_at timestamptz not null default clock_timestamp(),
  constraint password_history_hash_algorithm_check check (hash_algorithm in ('argon2id', 'bcrypt', 'bcrypt-sha256'))
);

alter table private.password_history enable row level security;

-- An account's rows, newest first; also serves the foreign key.
create index password_history_user_id_created_at_idx on private.password_history (user_id, created_at desc);

comment on table private.password_history is
  'One row per earlier password of an account that cannot be chosen again. Not readable by any API role.';
comment on column private.password_history.id is 'Id (UUIDv7).';
comment on column private.password_history.user_id is 'The user.';
comment on column private.password_history.password_hash is 'Hash of the earlier password, as in private.user_passwords.';
comment on column private.password_history.hash_algorithm is 'Algorithm of the hash, as in private.user_passwords.';
comment on column private.password_history.created_at is 'Time when the password was replaced.';

-- Tokens, sent by mail, for setting a new password. Each works once.
create table private.password_reset_tokens (
  id uuid primary key default plinth.uuid_v7(),
  user_id uuid not null references identity.users on delete cascade,
  token_hash bytea not null,
  used_at timestamptz,
  -- Generated, for the documented queries that expect a boolean.
  is_used boolean not null generated always as (used_at is not null) stored,
  expires_at timestamptz not null default now() + interval '30 minutes',
  client_ip inet,
  user_agent text,
  security_context jsonb not null default '{}',
  created_at timestamptz not null default now(),
  constraint password_reset_tokens_token_hash_key unique (token_hash),
  constraint password_reset_tokens_token_hash_is_sha256 check (octet_length(token_hash) = 32),
  constraint password_reset_tokens_security_context_is_an_object check (jsonb_typeof(security_context) = 'object')
);

alter table private.password_reset_tokens enable row level security;

-- An account's live tokens; also serves the foreign key.
create index password_reset_tokens_user_id_expires_at_idx on private.password_reset_tokens (user_id, expires_at);
-- Serves the cleanup job.
create index password_reset_tokens_expires_at_idx on private.password_reset_tokens (expires_at);

comment on table private.password_reset_tokens is
  'One row per requested password reset for which mail was sent; kept for 30 days.';
comment on column private.password_reset_tokens.id is 'Id (UUIDv7).';
comment on column private.password_reset_tokens.user_id is 'The user whose password can be set.';
comment on column private.password_reset_tokens.token_hash is 'SHA-256 of the token; the token itself is only in the mail.';
comment on column private.password_reset_tokens.used_at is 'Time when the password was set with the token; null if not used.';
comment on column private.password_reset_tokens.is_used is 'Whether the password was set with the token.';
comment on column private.password_reset_tokens.expires_at is
  'Time when the token expires: after 30 minutes, or when another token was used.';
comment on column private.password_reset_tokens.client_ip is 'IP address of the request.';
comment on column private.password_reset_tokens.user_agent is 'User-Agent header of the request.';
comment on column private.password_reset_tokens.security_context is 'Further details of the request (JSON object).';
comment on column private.password_reset_tokens.created_at is 'Time of the request.';

-- A new address or number stays here until its holder has proved to receive messages there.
create table private.user_verifications (
  id uuid primary key default plinth.uuid_v7(),
  user_id uuid not null references identity.users on delete cascade,
  kind text not null,
  new_value text not null,
  hashed_email bytea,
  token_hash bytea,
  code_hash text,
  attempts integer not null default 0,
  client_ip inet,
  user_agent text,
  created_at timestamptz not null default now(),
  expires_at timestamptz not null,
  used_at timestamptz,
  purpose text not null default 'prove',
  constraint user_verifications_token_hash_key unique (token_hash),
  constraint user_verifications_kind_check check (kind in ('email', 'phone')),
  constraint user_verifications_token_hash_is_sha256 check (octet_length(token_hash) = 32),
  -- The token of a link cannot be guessed, so a fast hash suffices; a code has few digits, so its hash is slow and salted.
  constraint user_verifications_secret_suits_kind
    check ((kind = 'email') = (token_hash is not null) and (kind = 'phone') = (code_hash is not null)),
  constraint user_verifications_attempts_check check (attempts between 0 and 5),
  constraint user_verifications_purpose_check check (purpose in ('prove', 'change'))
);

alter table private.user_verifications enable row level security;

-- An account's rows, newest first; also serves the foreign key.
create index user_verifications_user_id_created_at_idx on private.user_verifications (user_id, created_at desc);
-- Counts the messages to a number in a day, from any account.
create index user_verifications_new_value_idx on private.user_verifications (new_value, created_at) where kind = 'phone';
-- Serves the cleanup job.
create index user_verifications_expires_at_idx on private.user_verifications (expires_at);

comment on table private.user_verifications is 'One row per address or number that a user was asked to verify; kept for 30 days.';
comment on column private.user_verifications.id is 'Id (UUIDv7).';
comment on column private.user_verifications.user_id is 'The user who claims the address or number.';
comment on column private.user_verifications.kind is 'Kind: email or phone.';
comment on column private.user_verifications.new_value is 'Address (lower case) or number (E.164) to verify.';
comment on column private.user_verifications.hashed_email is
  'HMAC-SHA256 of the new e-mail address, for identity.users.hashed_email; null if none was given.';
comment on column private.user_verifications.token_hash is 'For an address: SHA-256 of the token in the link.';
comment on column private.user_verifications.code_hash is 'For a number: argon2id hash of the code (PHC string).';
comment on column private.user_verifications.attempts is 'Number of codes tried, right or wrong; at most 5.';
comment on column private.user_verifications.client_ip is 'IP address of the request.';
comment on column private.user_verifications.user_agent is 'User-Agent header of the request.';
comment on column private.user_verifications.created_at is 'Time of the request.';
comment on column private.user_verifications.expires_at is
  'Time when the link or code expires: after a day for links, ten minutes for codes, or when replaced by a newer one.';
comment on column private.user_verifications.used_at is 'Time when the address or number was verified; null if not verified.';
comment on column private.user_verifications.purpose is
  'Purpose: prove (that the owner of the account owns its address) or change (the account''s address or number to this one).';

-- Mail is queued in the transaction that it reports, sent after the commit, and retried. Delivery is at least once: a worker
-- killed between sending and recording it sends again, under the same Message-ID.
create table private.mail_outbox (
  id uuid primary key default plinth.uuid_v7(),
  user_id uuid references identity.users on delete cascade,
  channel text not null default 'email',
  to_address text not null,
  template text not null,
  variables jsonb not null default '{}',
  status text not null default 'pending',
  attempts integer not null default 0,
  next_attempt_at timestamptz not null default now(),
  -- Mail with an expired link is not sent.
  expires_at timestamptz,
  last_error text,
  created_at timestamptz not null default now(),
  sent_at timestamptz,
  constraint mail_outbox_channel_check check (channel in ('email', 'sms')),
  constraint mail_outbox_to_address_check
    check (to_address ~ '^[^[:space:][:cntrl:]]+$' and length(to_address) between 3 and 254),
  constraint mail_outbox_template_check check (template ~ '^[a-z]+(-[a-z]+)*$' and length(template) <= 100),
  constraint mail_outbox_variables_is_an_object check (jsonb_typeof(variables) = 'object'),
  constraint mail_outbox_status_check check (status in ('pending', 'sent', 'failed')),
  constraint mail_outbox_attempts_is_not_negative check (attempts >= 0),
  constraint mail_outbox_sent_with_time check ((status = 'sent') = (sent_at is not null))
);

alter table private.mail_outbox enable row level security;

-- Due mail. Stays small, because sent rows leave it.
create index mail_outbox_due_idx on private.mail_outbox (next_attempt_at) where status = 'pending';
-- Serves the cleanup job.
create index mail_outbox_done_idx on private.mail_outbox (created_at) where status <> 'pending';
-- Serves the foreign key.
create index mail_outbox_user_id_idx on private.mail_outbox (user_id);
-- Finds mail that was queued for an address without an account.
create index mail_outbox_to_address_idx on private.mail_outbox (to_address) where user_id is null;

comment on table private.mail_outbox is
  'One row per mail or SMS to be sent or recently sent; kept for 7 days after sending, 30 days after failure.';
comment on column private.mail_outbox.id is
  'Id (UUIDv7); also part of the Message-ID, so that a repeated message can be recognized.';
comment on column private.mail_outbox.user_id is 'The account concerned; its messages are deleted with it.';
comment on column private.mail_outbox.channel is 'Channel: email or sms.';
comment on column private.mail_outbox.to_address is 'E-mail address or phone number of the recipient.';
comment on column private.mail_outbox.template is 'Name of the template, such as password-reset; see src/mail/templates.';
comment on column private.mail_outbox.variables is
  'Variables of the template (JSON object). Secrets are stored only encrypted, as sealed_token, and deleted when the '
  'message is done.';
comment on column private.mail_outbox.status is
  'State: pending, sent, or failed (rejected permanently, too old, or tried ten times).';
comment on column private.mail_outbox.attempts is 'Number of times a worker has claimed it for sending.';
comment on column private.mail_outbox.next_attempt_at is
  'Time of the next attempt; while a worker is sending it, the end of the worker''s lease.';
comment on column private.mail_outbox.expires_at is 'Time after which the message is no longer sent; null if it does not expire.';
comment on column private.mail_outbox.last_error is 'Error of the last attempt.';
comment on column private.mail_outbox.created_at is 'Time when the message was queued.';
comment on column private.mail_outbox.sent_at is 'Time when the mail server accepted the message.';

-- An account at another provider. Only the provider's subject identifies it: addresses change hands.
create table identity.oauth_profiles (
  id uuid primary key default plinth.uuid_v7(),
  user_id uuid not null references identity.users on delete cascade,
  provider text not null,
  provider_user_id text not null,
  email text,
  email_verified boolean not null default false,
  user_info jsonb not null default '{}',
  token_expires_at timestamptz,
  last_used_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint oauth_profiles_provider_provider_user_id_key unique (provider, provider_user_id),
  constraint oauth_profiles_user_id_provider_key unique (user_id, provider),
  constraint oauth_profiles_provider_check check (provider ~ '^[a-z][a-z0-9_-]{0,49}$'),
  constraint oauth_profiles_provider_user_id_check check (length(provider_user_id) between 1 and 255),
  constraint oauth_profiles_email_check check (length(email) between 3 and 254),
  constraint oauth_profiles_verified_email_is_there check (email is not null or not email_verified),
  constraint oauth_profiles_user_info_is_a_small_object
    check (jsonb_typeof(user_info) = 'object' and octet_length(user_info::text) <= 16384)
);

alter table identity.oauth_profiles enable row level security;

comment on table identity.oauth_profiles is
  'One row per linked account at another provider that can be used to sign in; at most one per user and provider.';
comment on column identity.oauth_profiles.id is 'Id (UUIDv7).';
comment on column identity.oauth_profiles.user_id is 'The account it signs in to.';
comment on column identity.oauth_profiles.provider is 'Name of the provider in the settings (PLINTH_OAUTH_PROVIDERS).';
comment on column identity.oauth_profiles.provider_user_id is
  'The sub claim of the account at the provider: unique there and never reassigned.';
comment on column identity.oauth_profiles.email is
  'Latest address reported by the provider, lower case. It is not the account''s address and proves nothing.';
comment on column identity.oauth_profiles.email_verified is 'Whether the provider reports the address as verified.';
comment on column identity.oauth_profiles.user_info is
  'Latest claims reported by the provider (JSON object of strings, at most 16 kB): name, given_name, family_name, '
  'preferred_username, picture, locale.';
comment on column identity.oauth_profiles.token_expires_at is
  'Time when the provider''s access token expires; null if the provider did not report it.';
comment on column identity.oauth_profiles.last_used_at is
  'Time of the last sign-in with it; null if not used since it was linked.';
comment on column identity.oauth_profiles.created_at is 'Time when it was linked.';
comment on column identity.oauth_profiles.updated_at is 'Time of the last change.';

-- Tokens for acting as the user at the provider. Sealed outside the database (AES-256-GCM under a master key), so that a dump
-- gives no access to accounts at the provider. No policies, on purpose.
create table private.oauth_tokens (
  profile_id uuid primary key references identity.oauth_profiles on delete cascade,
  access_token_sealed text not null,
  refresh_token_sealed text,
  updated_at timestamptz not null default now(),
  constraint oauth_tokens_are_sealed check (
    access_token_sealed ~ '^v[1-9][0-9]{0,5}[.][A-Za-z0-9_-]{38,}$'
    and refresh_token_sealed ~ '^v[1-9][0-9]{0,5}[.][A-Za-z0-9_-]{38,}$'
  ),
  constraint oauth_tokens_are_small check (
    length(access_token_sealed) <= 32768 and length(refresh_token_sealed) <= 32768
  )
);

alter table private.oauth_tokens enable row level security;

comment on table private.oauth_tokens is 'One row per account at another provider: its tokens of the last sign-in, encrypted.';
comment on column private.oauth_tokens.profile_id is 'The account at the provider.';
comment on column private.oauth_tokens.access_token_sealed is 'Access token, encrypted for the purpose "oauth token".';
comment on column private.oauth_tokens.refresh_token_sealed is
  'Refresh token, encrypted for the purpose "oauth token"; null if the provider issued none.';
comment on column private.oauth_tokens.updated_at is 'Time when the provider issued the tokens.';

-- Sign-ins between the redirect to the provider and the return. Only hashes of the values that client and provider hold are
-- stored.
create table private.oauth_states (
  id uuid primary key default plinth.uuid_v7(),
  flow_hash bytea not null,
  state_hash bytea not null,
  provider text not null,
  purpose text not null,
  user_id uuid,
  session_id uuid,
  redirect_uri text not null,
  secrets_sealed text not null,
  device_name text,
  created_at timestamptz not null default now(),
  expires_at timestamptz not null default now() + interval '10 minutes',
  used_at timestamptz,
  constraint oauth_states_session_id_user_id_fkey
    foreign key (session_id, user_id) references identity.user_sessions (id, user_id) on delete cascade,
  constraint oauth_states_flow_hash_key unique (flow_hash),
  constraint oauth_states_state_hash_key unique (state_hash),
  constraint oauth_states_hashes_are_sha256 check (octet_length(flow_hash) = 32 and octet_length(state_hash) = 32),
  constraint oauth_states_provider_check check (provider ~ '^[a-z][a-z0-9_-]{0,49}$'),
  constraint oauth_states_purpose_check check (purpose in ('sign_in', 'link')),
  -- Linking needs a session; signing in has none yet.
  constraint oauth_states_link_has_a_session
    check ((purpose = 'link') = (session_id is not null) and (session_id is null) = (user_id is null)),
  constraint oauth_states_redirect_uri_check check (length(redirect_uri) between 1 and 2048),
  constraint oauth_states_device_name_check check (length(device_name) between 1 and 100 and device_name !~ '[[:cntrl:]]')
);

alter table private.oauth_states enable row level security;

-- Serves the foreign key.
create index oauth_states_session_id_user_id_idx on private.oauth_states (session_id, user_id);
-- Serves the cleanup job.
create index oauth_states_expires_at_idx on private.oauth_states (expires_at);

comment on table private.oauth_states is
  'One row per sign-in or link in progress at another provider; usable once, for ten minutes.';
comment on column private.oauth_states.id is 'Id (UUIDv7).';
comment on column private.oauth_states.flow_hash is
  'SHA-256 of the flow token, which only the client that started the flow holds.';
comment on column private.oauth_states.state_hash is 'SHA-256 of the state that the provider returns.';
comment on column private.oauth_states.provider is 'Name of the provider in the settings.';
comment on column private.oauth_states.purpose is 'Purpose: sign_in, or link (add the provider to the signed-in account).';
comment on column private.oauth_states.user_id is 'The user who links the provider; null for a sign-in.';
comment on column private.oauth_states.session_id is
  'The session that links the provider and the only one that may finish; null for a sign-in.';
comment on column private.oauth_states.redirect_uri is 'URL to which the provider redirects the browser.';
comment on column private.oauth_states.secrets_sealed is
  'PKCE code verifier and nonce (JSON), encrypted for the purpose "oauth flow".';
comment on column private.oauth_states.device_name is 'Name for the device of the new session.';
comment on column private.oauth_states.created_at is 'Time when the client started the flow.';
comment on column private.oauth_states.expires_at is 'Time when the flow expires.';
comment on column private.oauth_states.used_at is 'Time when the flow was used; it cannot be used again. Null if not used.';

create table identity.data_rights_settings (
  id boolean primary key default true,
  deletion_grace_period interval not null default '14 days',
  export_lifetime interval not null default '7 days',
  updated_at timestamptz not null default now(),
  constraint data_rights_settings_are_one_row check (id),
  constraint data_rights_settings_deletion_grace_period_check check (deletion_grace_period between '0' and '90 days'),
  constraint data_rights_settings_export_lifetime_check check (export_lifetime between '1 hour' and '90 days')
);

alter table identity.data_rights_settings enable row level security;

comment on table identity.data_rights_settings is 'One row: how long a deletion can be canceled and an export can be downloaded.';
comment on column identity.data_rights_settings.id is 'Always true: the table has one row.';
comment on column identity.data_rights_settings.deletion_grace_period is
  'Time between the request for deletion and the deletion, in which the owner can cancel it.';
comment on column identity.data_rights_settings.export_lifetime is 'Time that a finished export can be downloaded.';
comment on column identity.data_rights_settings.updated_at is 'Time of the last change.';

create table identity.account_deletions (
  user_id uuid primary key references identity.users on delete cascade,
  requested_at timestamptz not null default now(),
  due_at timestamptz not null,
  attempts integer not null default 0,
  next_attempt_at timestamptz not null,
  last_failure text,
  constraint account_deletions_due_after_request check (due_at >= requested_at),
  constraint account_deletions_attempts_are_not_negative check (attempts >= 0)
);

alter table identity.account_deletions enable row level security;

-- Serves the job: due deletions.
create index account_deletions_next_attempt_at_idx on identity.account_deletions (next_attempt_at);

comment on table identity.account_deletions is
  'One row per account with a pending deletion request; deleted when the request is canceled, or with the account.';
comment on column identity.account_deletions.user_id is 'The account.';
comment on column identity.account_deletions.requested_at is 'Time of the request.';
comment on column identity.account_deletions.due_at is
  'Time from which the account is deleted; the deletion can be canceled until then.';
comment on column identity.account_deletions.attempts is 'Number of attempts that failed.';
comment on column identity.account_deletions.next_attempt_at is 'Time of the next attempt.';
comment on column identity.account_deletions.last_failure is 'SQLSTATE of the last failed attempt; null if none failed.';
comment on constraint account_deletions_user_id_fkey on identity.account_deletions is '@foreignFieldName deletion';

create table identity.data_exports (
  id uuid primary key default plinth.uuid_v7(),
  user_id uuid not null references identity.users on delete cascade,
  status text not null default 'pending',
  requested_at timestamptz not null default now(),
  completed_at timestamptz,
  expires_at timestamptz,
  size_bytes bigint not null default 0,
  tables text[] not null default '{}',
  last_table text,
  attempts integer not null default 0,
  next_attempt_at timestamptz not null default now(),
  constraint data_exports_id_user_id_key unique (id, user_id),
  constraint data_exports_status_check check (status in ('pending', 'ready', 'failed', 'expired')),
  constraint data_exports_ready_with_times
    check ((status in ('ready', 'expired')) = (completed_at is not null and expires_at is not null)),
  constraint data_exports_size_bytes_is_not_negative check (size_bytes >= 0),
  constraint data_exports_attempts_are_not_negative check (attempts >= 0)
);

alter table identity.data_exports enable row level security;

create unique index data_exports_one_pending_idx on identity.data_exports (user_id) where status = 'pending';
create index data_exports_user_id_requested_at_idx on identity.data_exports (user_id, requested_at);
-- Serve the jobs: exports to write, and expired exports.
create index data_exports_next_attempt_at_idx on identity.data_exports (next_attempt_at) where status = 'pending';
create index data_exports_expires_at_idx on identity.data_exports (expires_at) where status = 'ready';

comment on table identity.data_exports is 'One row per export of a user''s own data.';
comment on column identity.data_exports.id is 'Id (UUIDv7); the last part of the download path, /exports/<id>.';
comment on column identity.data_exports.user_id is 'The user whose data it contains; only this user may read it.';
comment on column identity.data_exports.status is
  'State: pending (being written), ready (can be downloaded), failed or expired (deleted).';
comment on column identity.data_exports.requested_at is 'Time of the request.';
comment on column identity.data_exports.completed_at is 'Time when the export became ready.';
comment on column identity.data_exports.expires_at is 'Time from which the export can no longer be downloaded.';
comment on column identity.data_exports.size_bytes is 'Size written so far, in bytes of UTF-8.';
comment on column identity.data_exports.tables is 'Tables in the export, by schema and name.';
comment on column identity.data_exports.last_table is
  'Last table that was written or found empty; a job that was killed continues after it.';
comment on column identity.data_exports.attempts is 'Number of attempts that failed.';
comment on column identity.data_exports.next_attempt_at is 'Time of the next attempt.';
comment on constraint data_exports_user_id_fkey on identity.data_exports is '@foreignFieldName dataExports';

create table private.data_export_parts (
  export_id uuid not null,
  user_id uuid not null,
  part_number integer not null,
  content text not null,
  primary key (export_id, user_id, part_number),
  constraint data_export_parts_export_id_user_id_fkey
    foreign key (export_id, user_id) references identity.data_exports (id, user_id) on delete cascade,
  constraint data_export_parts_part_number_is_not_negative check (part_number >= 0)
);

alter table private.data_export_parts enable row level security;

comment on table private.data_export_parts is
  'One row per part of an export''s JSON document; the parts in order are the document.';
comment on column private.data_export_parts.export_id is 'The export.';
comment on column private.data_export_parts.user_id is 'The user whose data it holds.';
comment on column private.data_export_parts.part_number is 'Position in the document, from 0.';
comment on column private.data_export_parts.content is 'Text of this part of the JSON document.';

insert into identity.data_rights_settings default values;

-- Functions of later domains that the policies and triggers here call.
--! Included security/private/record_data_change.sql
-- Writes the audit trail: the person, the change, the old and new values. The same function serves all tables; the trigger's arguments are
--   1  the columns of the primary key
--   2  the column that names the account concerned, or ''
--   3  noise columns: a change of these alone is no change (counters of each sign-in, updated_at, generated columns)
--   4  confidential columns: a change is recorded, but not the old and new values
-- each a list with commas and no blanks.
--
-- A deleted account, or one being deleted, is not waited for: its deletion already waits for this row, and both would deadlock.
-- Then user_id stays null and no values are kept; see private.forget_data_changes. Likewise an account that acts on itself during
-- its deletion leaves no address.
create or replace function private.record_data_change()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
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

comment on function private.record_data_change() is
  'Trigger: adds a row to security.audit_trail. Arguments: key columns, account column, noise columns, columns whose values are not kept.';
--! EndIncluded security/private/record_data_change.sql
--! Included access/functions/has_permission.sql
-- Policies of every domain call this function, so it is created first; plpgsql resolves its tables at run time, when they
-- exist. Definer rights: the caller may not read other users' roles.
create or replace function access.has_permission(permission text)
  returns boolean
  language plpgsql
  stable
  security definer
  parallel safe
  set search_path = pg_catalog
as $$
begin
  return exists (
    select
    from access.user_roles ur
    join identity.users u on u.id = ur.user_id and u.is_active
    join access.roles r on r.id = ur.role_id
    join access.role_permissions rp on rp.role_id = ur.role_id
    join access.permissions p on p.id = rp.permission_id
    where ur.user_id = plinth.current_user_id()
      and (ur.expires_at is null or ur.expires_at > now())
      and p.permission_name = permission
      -- If the role requires it, the session must have passed a second factor.
      and (
        not r.requires_mfa
        or exists (
          select
          from identity.user_sessions s
          where s.id = plinth.current_session_id()
            and s.user_id = ur.user_id
            and 'mfa' = any (s.authentication_methods)
        )
      )
  );
end
$$;

comment on function access.has_permission(text) is
  'Returns whether the signed-in user, whose account is active, holds the permission through a role that has not expired and, where the role requires it, in a session that passed a second factor.';
grant execute on function access.has_permission(text) to :PLINTH_ANONYMOUS, :PLINTH_USER;
--! EndIncluded access/functions/has_permission.sql
--! Included access/functions/may_administer.sql
-- A permission to manage accounts must not reach upwards: otherwise a moderator could disable the administrators who granted
-- the permission, and an attacker who takes over a moderator's account would control all accounts. Compared by permissions and
-- not by rank, which only orders names for display.
create or replace function access.may_administer(user_id uuid)
  returns boolean
  language sql
  stable
  security definer
  set search_path = pg_catalog
as $$
  select not exists (
    select rp.permission_id
    from access.user_roles ur
    join access.role_permissions rp on rp.role_id = ur.role_id
    where ur.user_id = may_administer.user_id
      and (ur.expires_at is null or ur.expires_at > now())
    except
    select rp.permission_id
    from access.user_roles ur
    join identity.users u on u.id = ur.user_id and u.is_active
    join access.role_permissions rp on rp.role_id = ur.role_id
    where ur.user_id = plinth.current_user_id()
      and (ur.expires_at is null or ur.expires_at > now())
  )
$$;

comment on function access.may_administer(uuid) is
  E'@behavior -*\nReturns whether the signed-in user holds every permission that the other account holds.';
grant execute on function access.may_administer(uuid) to :PLINTH_USER;
--! EndIncluded access/functions/may_administer.sql

--! Included identity/functions/cancel_account_deletion.sql
-- No step-up: it only keeps existing data. Locks the account before the deletion, as the job does.
create or replace function identity.cancel_account_deletion()
  returns identity.account_deletions
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_user_id constant uuid := private.require_user_id();
  v_deletion identity.account_deletions;
begin
  perform private.refuse_api_token();
  perform from identity.users u where u.id = v_user_id for no key update;
  delete from identity.account_deletions d where d.user_id = v_user_id returning d.* into v_deletion;
  if v_deletion.user_id is null then
    raise exception 'No deletion of your account is pending.' using errcode = 'PL404';
  end if;
  perform private.record_security_event('account_deletion_canceled', v_user_id, '{}', 'warning');
  perform private.notify_user(v_user_id, 'account-deletion-canceled');
  return v_deletion;
end
$$;

comment on function identity.cancel_account_deletion() is
  'Cancels the pending deletion of the signed-in account and returns the canceled deletion; PL404 if none is pending.';
grant execute on function identity.cancel_account_deletion() to :PLINTH_USER;
--! EndIncluded identity/functions/cancel_account_deletion.sql
--! Included identity/functions/current_consent_purposes.sql
-- Consent is given to one version of a purpose's text. The current versions, one per purpose:
create or replace function identity.current_consent_purposes()
  returns setof identity.consent_purposes
  language sql
  stable
  rows 10
  set search_path = pg_catalog
as $$
  select distinct on (p.name) p.*
  from identity.consent_purposes p
  where p.published_at <= now()
  order by p.name, p.version desc
$$;

comment on function identity.current_consent_purposes() is 'Returns the newest published version of each purpose.';
grant execute on function identity.current_consent_purposes() to :PLINTH_ANONYMOUS, :PLINTH_USER;
--! EndIncluded identity/functions/current_consent_purposes.sql
--! Included identity/functions/delete_my_account.sql
-- Requests the deletion of the caller's own account. The account stays complete until the grace period is over, and its owner
-- can sign in and cancel. Other sessions and API tokens, which could act for the account elsewhere, end at once. The session
-- that makes the request stays, so that a mistake can be corrected at once.
create or replace function identity.delete_my_account()
  returns identity.account_deletions
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_user_id constant uuid := plinth.current_user_id();
  v_deletion identity.account_deletions;
  v_ended integer;
begin
  perform private.refuse_api_token();
  perform private.require_recent_authentication();
  -- Account before the rest: the one lock order.
  perform from identity.users u where u.id = v_user_id for no key update;
  select d.* into v_deletion from identity.account_deletions d where d.user_id = v_user_id;
  if v_deletion.user_id is not null then
    return v_deletion;
  end if;
  perform private.guard_last_administrator(v_user_id);

  insert into identity.account_deletions (user_id, due_at, next_attempt_at)
  select v_user_id, now() + s.deletion_grace_period, now() + s.deletion_grace_period
  from identity.data_rights_settings s
  returning * into strict v_deletion;
  v_ended := private.end_sessions(v_user_id, 'account_deletion', plinth.current_session_id());
  update identity.api_tokens t set revoked_at = now() where t.user_id = v_user_id and t.revoked_at is null;
  perform private.record_security_event(
    'account_deletion_requested', v_user_id,
    jsonb_build_object('due_at', v_deletion.due_at, 'ended_sessions', v_ended), 'warning'
  );
  perform private.notify_user(
    v_user_id, 'account-deletion-requested', jsonb_build_object('due_at', v_deletion.due_at)
  );
  return v_deletion;
end
$$;

comment on function identity.delete_my_account() is
  'Requests the deletion of the signed-in account after the grace period; ends its other sessions and API tokens at once. A repeated call returns the pending deletion. Needs a recent sign-in (PL403 otherwise); PL409 for the last administrator.';
grant execute on function identity.delete_my_account() to :PLINTH_USER;
--! EndIncluded identity/functions/delete_my_account.sql
--! Included identity/functions/end_other_sessions.sql
-- For "that was not me": ends all sessions except this one. Definer rights: see identity.logout.
create or replace function identity.end_other_sessions()
  returns integer
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_ended integer;
begin
  perform private.refuse_api_token();
  perform private.require_user_id();
  -- Without a session of the caller, "the others" are all sessions: use logout_everywhere.
  if plinth.current_session_id() is null then
    raise exception 'You must be signed in with a session.' using errcode = 'PL403';
  end if;
  -- Account before session: the one lock order. It also blocks a concurrent sign-in.
  perform from identity.users u where u.id = plinth.current_user_id() for no key update;
  v_ended := private.end_sessions(plinth.current_user_id(), 'ended_by_user', plinth.current_session_id());
  perform private.record_security_event(
    'other_sessions_ended', plinth.current_user_id(), jsonb_build_object('sessions', v_ended)
  );
  return v_ended;
end
$$;

comment on function identity.end_other_sessions() is
  'Ends all other sessions of the signed-in user and their tokens at once; returns how many.';
grant execute on function identity.end_other_sessions() to :PLINTH_USER;
--! EndIncluded identity/functions/end_other_sessions.sql
--! Included identity/functions/end_session.sql
create or replace function identity.end_session(session_id uuid)
  returns identity.user_sessions
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_session identity.user_sessions;
begin
  perform private.refuse_api_token();
  perform from identity.users u where u.id = plinth.current_user_id() for key share;
  update identity.user_sessions s
  set ended_at = now(), end_reason = 'ended_by_user'
  where s.id = end_session.session_id
    and s.user_id = plinth.current_user_id()
    and s.ended_at is null
  returning s.* into v_session;
  if v_session.id is null then
    raise exception 'You have no active session with this id.' using errcode = 'PL404';
  end if;
  perform private.record_security_event('session_ended', v_session.user_id, jsonb_build_object('session_id', v_session.id));
  return v_session;
end
$$;

comment on function identity.end_session(uuid) is 'Ends one of the signed-in user''s own sessions; PL404 for an unknown or ended session.';
grant execute on function identity.end_session(uuid) to :PLINTH_USER;
--! EndIncluded identity/functions/end_session.sql
--! Included identity/functions/end_user_sessions.sql
-- For an account that may be compromised: its owner signs in again, an intruder cannot.
create or replace function identity.end_user_sessions(user_id uuid)
  returns integer
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_ended integer;
begin
  perform private.require_administration(end_user_sessions.user_id);
  update identity.users u set token_version = u.token_version + 1 where u.id = end_user_sessions.user_id;
  if not found then
    raise exception 'Account not found.' using errcode = 'PL404';
  end if;
  v_ended := private.end_sessions(end_user_sessions.user_id, 'ended_by_administrator');
  perform private.record_security_event(
    'sessions_ended_by_administrator', end_user_sessions.user_id, jsonb_build_object('sessions', v_ended), 'warning'
  );
  return v_ended;
end
$$;

comment on function identity.end_user_sessions(uuid) is
  'Ends all sessions and tokens of an account at once; returns how many sessions. Needs manage_users and every permission of the account (PL403); PL404 for an unknown account.';
grant execute on function identity.end_user_sessions(uuid) to :PLINTH_USER;
--! EndIncluded identity/functions/end_user_sessions.sql
--! Included identity/functions/give_consent.sql
-- Definer rights: decisions are written only here. The account's row is the lock, so that the decisions of one user are
-- ordered; repeating a consent in force adds nothing.
create or replace function identity.give_consent(purpose text, version integer)
  returns identity.consents
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_current integer;
  v_last identity.consents;
begin
  perform private.refuse_api_token();
  perform from identity.users u where u.id = plinth.current_user_id() for no key update;
  if not found then
    raise exception 'You must be signed in.' using errcode = 'PL401';
  end if;
  select p.version into v_current from identity.current_consent_purposes() p where p.name = give_consent.purpose;
  if v_current is null or give_consent.version is null or give_consent.version not between 1 and v_current then
    raise exception 'This purpose or version was not found.' using errcode = 'PL404';
  end if;
  if give_consent.version < v_current then
    raise exception 'This version is no longer the current one.'
      using errcode = 'PL409', hint = 'Show the current version.', schema = 'identity', table = 'consents', column = 'version';
  end if;

  v_last := private.last_consent(plinth.current_user_id(), give_consent.purpose);
  if v_last.granted_at is not null and v_last.version = v_current then
    return v_last;
  end if;
  return private.record_consent(give_consent.purpose, v_current, true, v_last.decided_at);
end
$$;

comment on function identity.give_consent(text, integer) is
  'Records consent to a purpose in its current version. PL404 for an unknown purpose or version, PL409 when there is a newer version.';
grant execute on function identity.give_consent(text, integer) to :PLINTH_USER;
--! EndIncluded identity/functions/give_consent.sql
--! Included identity/functions/has_consent.sql
-- Invoker rights: the policy on identity.consents shows only the caller's own decisions.
create or replace function identity.has_consent(purpose text)
  returns boolean
  language sql
  stable
  set search_path = pg_catalog
as $$
  select coalesce(
    (
      select c.granted_at is not null
        and c.version = (select p.version from identity.current_consent_purposes() p where p.name = has_consent.purpose)
      from identity.consents c
      where c.user_id = plinth.current_user_id() and c.purpose = has_consent.purpose
      order by c.decided_at desc
      limit 1
    ),
    false
  )
$$;

comment on function identity.has_consent(text) is
  'Returns whether the signed-in user''s latest decision on a purpose is a consent to its current version.';
grant execute on function identity.has_consent(text) to :PLINTH_USER;
--! EndIncluded identity/functions/has_consent.sql
--! Included identity/functions/is_another_address.sql
-- Whether the account now has another mailbox. A new hash with the same clear address is the same mailbox, and so is a hash
-- that stays when privacy mode removes the clear address.
create or replace function identity.is_another_address(old_user identity.users, new_user identity.users)
  returns boolean
  language sql
  immutable
  set search_path = pg_catalog
as $$
  select case
    when (new_user).email is not null then (new_user).email is distinct from (old_user).email
    when (new_user).hashed_email is null then (old_user).email is not null or (old_user).hashed_email is not null
    else (new_user).hashed_email is distinct from (old_user).hashed_email
  end
$$;

comment on function identity.is_another_address(identity.users, identity.users) is
  E'@behavior -*\nReturns whether an account''s address, clear or hashed, differs between two versions of its row.';
--! EndIncluded identity/functions/is_another_address.sql
--! Included identity/functions/logout.sql
-- Three ways to sign out. Definer rights: users may update sessions only through these functions. Repeating a call is harmless,
-- and the result reports it.

create or replace function identity.logout()
  returns boolean
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
begin
  perform private.refuse_api_token();
  -- Account before session: the one lock order (see private.finish_login).
  perform from identity.users u where u.id = plinth.current_user_id() for key share;
  update identity.user_sessions s
  set ended_at = now(), end_reason = 'logout'
  where s.id = plinth.current_session_id()
    and s.user_id = plinth.current_user_id()
    and s.ended_at is null;
  if found then
    perform private.record_security_event('logout', plinth.current_user_id());
  end if;
  return found;
end
$$;

comment on function identity.logout() is 'Ends the current session and its access and refresh tokens at once; returns false if it had already ended.';
grant execute on function identity.logout() to :PLINTH_USER;
--! EndIncluded identity/functions/logout.sql
--! Included identity/functions/logout_everywhere.sql
create or replace function identity.logout_everywhere()
  returns integer
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_ended integer;
begin
  perform private.refuse_api_token();
  perform private.require_user_id();
  update identity.users u set token_version = u.token_version + 1 where u.id = plinth.current_user_id();
  v_ended := private.end_sessions(plinth.current_user_id(), 'logout_everywhere');
  perform private.record_security_event('logout_everywhere', plinth.current_user_id(), jsonb_build_object('sessions', v_ended));
  return v_ended;
end
$$;

comment on function identity.logout_everywhere() is 'Ends all sessions of the signed-in user, including the current one; returns how many.';
grant execute on function identity.logout_everywhere() to :PLINTH_USER;
--! EndIncluded identity/functions/logout_everywhere.sql
--! Included identity/functions/recovery_codes_left.sql
-- The codes themselves are secret; their number is readable by the owner.
create or replace function identity.recovery_codes_left()
  returns integer
  language sql
  stable
  security definer
  set search_path = pg_catalog
as $$
  select count(*)::integer
  from private.recovery_codes c
  where c.user_id = plinth.current_user_id()
    and c.used_at is null
$$;

comment on function identity.recovery_codes_left() is 'Returns the number of the signed-in user''s unused recovery codes.';
grant execute on function identity.recovery_codes_left() to :PLINTH_USER;
--! EndIncluded identity/functions/recovery_codes_left.sql
--! Included identity/functions/remove_mfa_factor.sql
-- A thief of a session would first remove the second factor, so this needs a recent sign-in.
create or replace function identity.remove_mfa_factor(factor_id uuid)
  returns identity.mfa_factors
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_user_id uuid := plinth.current_user_id();
  v_factor identity.mfa_factors;
begin
  perform from identity.users u where u.id = v_user_id for no key update;
  perform private.require_recent_authentication();
  select f.* into v_factor
  from identity.mfa_factors f
  where f.id = remove_mfa_factor.factor_id and f.user_id = v_user_id;
  if v_factor.id is null then
    raise exception 'You have no second factor with this id.' using errcode = 'PL404';
  end if;
  if v_factor.confirmed_at is not null and not private.has_another_way_in(v_user_id, v_factor.id) then
    raise exception 'You could not sign in without this factor.'
      using errcode = 'PL409', hint = 'Set a password, link a provider or add another passkey first.';
  end if;
  delete from identity.mfa_factors f where f.id = v_factor.id;
  if cardinality(private.second_factors(v_user_id)) = 0 then
    if v_factor.confirmed_at is not null
      and exists (select from private.user_passwords p where p.user_id = v_user_id and not p.suffices_alone)
    then
      raise exception 'Your password is too short to protect the account alone.'
        using errcode = 'PL409', hint = 'First change it to one of at least 15 characters.';
    end if;
    delete from private.recovery_codes c where c.user_id = v_user_id;
    delete from private.mfa_attempts a where a.user_id = v_user_id;
  end if;
  perform private.record_security_event(
    'factor_removed', v_user_id,
    jsonb_build_object('factor_id', v_factor.id, 'kind', v_factor.kind, 'was_confirmed', v_factor.confirmed_at is not null),
    'warning'
  );
  return v_factor;
end
$$;

comment on function identity.remove_mfa_factor(uuid) is
  'Removes one of the signed-in user''s own second factors. Needs a recent sign-in (PL403 otherwise); PL404 for an unknown factor, PL409 when no way to sign in, or only a short password, would remain.';
grant execute on function identity.remove_mfa_factor(uuid) to :PLINTH_USER;
--! EndIncluded identity/functions/remove_mfa_factor.sql
--! Included identity/functions/replace_default_settings.sql
-- A script, or a data-only restore, that inserts an account and then its settings finds a row with defaults. Its row replaces
-- that one; settings that have been changed are not replaced.
create or replace function identity.replace_default_settings()
  returns trigger
  language plpgsql
  set search_path = pg_catalog
as $$
begin
  if tg_table_name = 'user_settings' then
    delete from identity.user_settings s
    where s.user_id = new.user_id
      and jsonb_strip_nulls(to_jsonb(s) - array['user_id', 'created_at', 'updated_at']) = '{"preferences": {}}';
  else
    delete from identity.user_security_settings s
    where s.user_id = new.user_id
      and jsonb_strip_nulls(to_jsonb(s) - array['user_id', 'created_at', 'updated_at']) = '{}';
  end if;
  return new;
end
$$;

comment on function identity.replace_default_settings() is
  'Trigger: inserted settings replace the account''s default ones.';
--! EndIncluded identity/functions/replace_default_settings.sql
--! Included identity/functions/request_data_export.sql
-- A file with all data of a person is worth stealing, so this needs a recent sign-in and notifies the owner.
create or replace function identity.request_data_export()
  returns identity.data_exports
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_user_id constant uuid := plinth.current_user_id();
  v_export identity.data_exports;
begin
  perform private.refuse_api_token();
  perform private.require_recent_authentication();
  -- This lock merges two concurrent requests into one export.
  perform from identity.users u where u.id = v_user_id for no key update;
  select e.* into v_export from identity.data_exports e where e.user_id = v_user_id and e.status = 'pending';
  if v_export.id is not null then
    return v_export;
  end if;
  perform private.enforce_rate_limit('data_export_per_user', v_user_id::text);
  insert into identity.data_exports (user_id) values (v_user_id) returning * into v_export;
  perform private.record_security_event(
    'data_export_requested', v_user_id, jsonb_build_object('export_id', v_export.id), 'warning'
  );
  perform private.notify_user(v_user_id, 'data-export-requested');
  return v_export;
end
$$;

comment on function identity.request_data_export() is
  'Requests an export of the signed-in user''s own data; a job writes it, and status reports when it is ready. Returns the pending export if there is one. Needs a recent sign-in (PL403 otherwise); PL429 after five requests a day.';
grant execute on function identity.request_data_export() to :PLINTH_USER;
--! EndIncluded identity/functions/request_data_export.sql
--! Included identity/functions/revoke_api_token.sql
-- Definer rights: tokens may be updated only through this function. The trigger on the table notifies the servers.
create or replace function identity.revoke_api_token(id uuid)
  returns identity.api_tokens
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_owner uuid;
  v_token identity.api_tokens;
begin
  perform private.refuse_api_token();
  select t.user_id into v_owner
  from identity.api_tokens t
  where t.id = revoke_api_token.id
    and (t.user_id = plinth.current_user_id() or access.has_permission('manage_users'));
  -- Account before token: the one lock order (see private.finish_login).
  perform from identity.users u where u.id = v_owner for key share;
  update identity.api_tokens t
  set revoked_at = now()
  where t.id = revoke_api_token.id and t.user_id = v_owner and t.revoked_at is null
  returning t.* into v_token;
  if v_token.id is null then
    raise exception 'Active token not found.' using errcode = 'PL404';
  end if;
  perform private.record_security_event('api_token_revoked', v_owner, jsonb_build_object('token_id', v_token.id));
  return v_token;
end
$$;

comment on function identity.revoke_api_token(uuid) is
  'Revokes an API token at once and everywhere: the caller''s own, or with manage_users any user''s. PL404 for an unknown or inactive token.';
grant execute on function identity.revoke_api_token(uuid) to :PLINTH_USER;
--! EndIncluded identity/functions/revoke_api_token.sql
--! Included identity/functions/set_account_status.sql
-- Disabling an account ends its sessions and tokens at once (triggers on identity.users).
create or replace function identity.set_account_status(user_id uuid, account_status text)
  returns identity.users
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_user identity.users;
begin
  perform private.require_administration(set_account_status.user_id);
  update identity.users u
  set account_status = set_account_status.account_status
  where u.id = set_account_status.user_id
  returning u.* into v_user;
  if v_user.id is null then
    raise exception 'Account not found.' using errcode = 'PL404';
  end if;
  perform private.record_security_event(
    'account_status_changed', v_user.id, jsonb_build_object('account_status', v_user.account_status), 'warning'
  );
  return v_user;
end
$$;

comment on function identity.set_account_status(uuid, text) is
  'Disables, enables or soft-deletes an account. Needs manage_users and every permission of the account (PL403); PL404 for an unknown account.';
grant execute on function identity.set_account_status(uuid, text) to :PLINTH_USER;
--! EndIncluded identity/functions/set_account_status.sql
--! Included identity/functions/set_allowed_networks.sql
-- Invoker rights: this is the user's own update, with an explicit force flag that an update cannot carry.
create or replace function identity.set_allowed_networks(networks cidr[] default null, force boolean default false)
  returns identity.user_security_settings
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_settings identity.user_security_settings;
begin
  perform set_config('plinth.allow_lockout', case when set_allowed_networks.force then 'on' else 'off' end, true);
  update identity.user_security_settings s
  set allowed_networks = set_allowed_networks.networks
  where s.user_id = plinth.current_user_id()
  returning s.* into v_settings;
  perform set_config('plinth.allow_lockout', 'off', true);
  if v_settings.user_id is null then
    raise exception 'You must be signed in.' using errcode = 'PL401';
  end if;
  return v_settings;
end
$$;

comment on function identity.set_allowed_networks(cidr[], boolean) is
  'Sets the networks from which the user may sign in, refresh and use API tokens; null, the default, allows any. PL422 when the caller''s address is not in them, unless forced.';
grant execute on function identity.set_allowed_networks(cidr[], boolean) to :PLINTH_USER;
--! EndIncluded identity/functions/set_allowed_networks.sql
--! Included identity/functions/unlink_provider.sql
-- Unlinks a provider from the caller's account and deletes its tokens. The account's row is locked, so that of two concurrent
-- calls that would together remove all ways to sign in, one is rejected.
create or replace function identity.unlink_provider(provider text)
  returns identity.oauth_profiles
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_profile identity.oauth_profiles;
begin
  perform private.check_provider_change();
  select o.* into v_profile
  from identity.oauth_profiles o
  where o.user_id = plinth.current_user_id() and o.provider = unlink_provider.provider;
  if v_profile.id is null then
    raise exception 'Your account is not linked to this provider.' using errcode = 'PL404', column = 'provider';
  end if;
  if not private.has_another_way_in(v_profile.user_id, v_profile.id) then
    raise exception 'This provider is your only way to sign in.'
      using errcode = 'PL409', column = 'provider', hint = 'Set a password, link another provider or add a passkey first.';
  end if;
  delete from identity.oauth_profiles o where o.id = v_profile.id;
  perform private.record_security_event(
    'provider_unlinked', v_profile.user_id, jsonb_build_object('provider', v_profile.provider)
  );
  return v_profile;
end
$$;

comment on function identity.unlink_provider(text) is
  'Unlinks a provider from the signed-in account and deletes its tokens. Needs a recent sign-in (PL403 otherwise); PL409 if it is the only way to sign in, PL404 if it is not linked.';
grant execute on function identity.unlink_provider(text) to :PLINTH_USER;
--! EndIncluded identity/functions/unlink_provider.sql
--! Included identity/functions/unlock_account.sql
-- For an owner who calls support because wrong guesses by another person keep the account locked.
create or replace function identity.unlock_account(user_id uuid)
  returns identity.users
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_user identity.users;
begin
  perform private.require_administration(unlock_account.user_id);
  update identity.users u
  set failed_login_attempts = 0, locked_until = null
  where u.id = unlock_account.user_id
  returning u.* into v_user;
  if v_user.id is null then
    raise exception 'Account not found.' using errcode = 'PL404';
  end if;
  perform private.record_security_event('account_unlocked', v_user.id);
  return v_user;
end
$$;

comment on function identity.unlock_account(uuid) is
  'Unlocks a locked account at once. Needs manage_users and every permission of the account (PL403); PL404 for an unknown account.';
grant execute on function identity.unlock_account(uuid) to :PLINTH_USER;
--! EndIncluded identity/functions/unlock_account.sql
--! Included identity/functions/user_sessions_is_current.sql
create or replace function identity.user_sessions_is_current(s identity.user_sessions)
  returns boolean
  language sql
  stable
  parallel safe
as $$
  select s.id = plinth.current_session_id()
$$;

comment on function identity.user_sessions_is_current(identity.user_sessions) is
  'Returns whether this is the session of the access token in use.';
grant execute on function identity.user_sessions_is_current(identity.user_sessions) to :PLINTH_USER;
--! EndIncluded identity/functions/user_sessions_is_current.sql
--! Included identity/functions/users_missing_consents.sql
create or replace function identity.users_missing_consents(u identity.users)
  returns setof identity.consent_purposes
  language sql
  stable
  rows 10
  set search_path = pg_catalog
as $$
  select p.*
  from identity.current_consent_purposes() p
  -- A caller cannot see the decisions of other users; the result must not suggest that there are none.
  where u.id = plinth.current_user_id() and not identity.has_consent(p.name)
  order by p.name
$$;

comment on function identity.users_missing_consents(identity.users) is
  'Returns the purposes to whose current version the user has not consented; empty for users other than the caller.';
grant execute on function identity.users_missing_consents(identity.users) to :PLINTH_USER;
--! EndIncluded identity/functions/users_missing_consents.sql
--! Included identity/functions/users_role.sql
-- A user's role is derived from access.user_roles and never stored twice. Invoker rights: a caller who may read the account's
-- roles (policies of access.user_roles) gets the role, any other caller gets guest.

create or replace function identity.users_role(u identity.users)
  returns text
  language plpgsql
  stable
  parallel safe
  set search_path = pg_catalog
as $$
begin
  return coalesce(
    (
      select r.role_name
      from access.user_roles ur
      join access.roles r on r.id = ur.role_id
      where ur.user_id = u.id
        and (ur.expires_at is null or ur.expires_at > now())
      order by r.rank desc, r.role_name
      limit 1
    ),
    'guest'
  );
end
$$;

comment on function identity.users_role(identity.users) is
  'Returns the account''s highest-ranking role that has not expired; guest without a role.';
grant execute on function identity.users_role(identity.users) to :PLINTH_USER;
--! EndIncluded identity/functions/users_role.sql
--! Included identity/functions/viewer.sql
-- The signed-in account, for clients that hold only a token. The API calls it currentUser.
create or replace function identity.viewer()
  returns identity.users
  language sql
  stable
as $$
  select u
  from identity.users u
  where u.id = plinth.current_user_id()
$$;

comment on function identity.viewer() is E'@name currentUser\nReturns the signed-in account, or null.';
grant execute on function identity.viewer() to :PLINTH_ANONYMOUS, :PLINTH_USER;
--! EndIncluded identity/functions/viewer.sql
--! Included identity/functions/withdraw_consent.sql
create or replace function identity.withdraw_consent(purpose text)
  returns identity.consents
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_last identity.consents;
begin
  perform private.refuse_api_token();
  perform from identity.users u where u.id = plinth.current_user_id() for no key update;
  if not found then
    raise exception 'You must be signed in.' using errcode = 'PL401';
  end if;
  v_last := private.last_consent(plinth.current_user_id(), withdraw_consent.purpose);
  if v_last.granted_at is null then
    raise exception 'You have not consented to this purpose.' using errcode = 'PL404';
  end if;
  return private.record_consent(v_last.purpose, v_last.version, false, v_last.decided_at);
end
$$;

comment on function identity.withdraw_consent(text) is 'Withdraws a consent to any version. PL404 without a consent.';
grant execute on function identity.withdraw_consent(text) to :PLINTH_USER;
--! EndIncluded identity/functions/withdraw_consent.sql
--! Included identity/private/accept_second_factor.sql
-- Verifies a second factor and uses it up. The service has checked the proof, because only it can open the secrets. This function
-- decides, under the account's row lock that the caller holds, whether the proof still counts. `proof` is one of
--   {"method": "totp", "factor_id": …, "step": number of the matching 30-second step or null}
--   {"method": "recovery_code", "code_hash": SHA-256 in hex}
--   {"method": "passkey", "factor_id": …, "verified": boolean, "sign_count": …, "backed_up": …}
-- The lock applies only to proofs that can be guessed. A passkey bypasses it; otherwise anyone with the password could lock the
-- owner out.
create or replace function private.accept_second_factor(
  user_id uuid,
  proof jsonb,
  out refusal text,
  out methods text[]
)
  language plpgsql
  volatile
  set search_path = pg_catalog
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

comment on function private.accept_second_factor(uuid, jsonb) is
  'Uses up a second factor; returns a null refusal and the amr values shown, or the reason for the refusal. Counts and audits; the caller holds the account''s row lock.';
--! EndIncluded identity/private/accept_second_factor.sql
--! Included identity/private/add_session_methods.sql
create or replace function private.add_session_methods(methods text[])
  returns timestamptz
  language sql
  volatile
  set search_path = pg_catalog
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

comment on function private.add_session_methods(text[]) is
  'Records that the calling session has just shown these factors (amr values); returns the time.';
--! EndIncluded identity/private/add_session_methods.sql
--! Included identity/private/change_password.sql
-- Sets a new password after the service has checked the current one. Other sessions end, and all earlier access tokens are
-- revoked; the calling session continues with a new refresh token. With end_other_sessions false the other sessions continue with
-- their tokens: the token_version is not raised, because raising it would interrupt them.
create or replace function private.change_password(
  user_id uuid,
  session_id uuid,
  password_matches boolean,
  checked_token_version integer,
  new_password_hash text,
  new_hash_algorithm text,
  refresh_token_hash bytea,
  suffices_alone boolean default true,
  end_other_sessions boolean default true,
  checked_password_hash text default null,
  is_known boolean default false,
  history_length integer default 5
)
  returns table (token_version integer, refresh_expires_at timestamptz, is_refused_as_known boolean)
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
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

comment on function private.change_password(
  uuid, uuid, boolean, integer, text, text, bytea, boolean, boolean, text, boolean, integer
) is
  'Sets a new password and ends the other sessions unless end_other_sessions is false; no row when refused. Counts and audits in both cases.';
grant execute on function private.change_password(
  uuid, uuid, boolean, integer, text, text, bytea, boolean, boolean, text, boolean, integer
) to :PLINTH_SERVICE;
--! EndIncluded identity/private/change_password.sql
--! Included identity/private/check_provider_change.sql
-- The only check before an account's sign-in methods change, for linking and unlinking alike. Locks the account's row first
-- (account, session, token).
create or replace function private.check_provider_change()
  returns void
  language plpgsql
  volatile
  set search_path = pg_catalog
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

comment on function private.check_provider_change() is
  'Allows the signed-in account to change its providers and locks its row; PL401 without a live session, PL403 without a recent sign-in.';
--! EndIncluded identity/private/check_provider_change.sql
--! Included identity/private/complete_sign_in.sql
-- The last step of every sign-in by one factor: password or provider. An account with a second factor gets a challenge and no
-- session; only private.finish_sign_in turns it into a session. The caller holds the account's row lock and has ruled out a lock,
-- status or network that forbids the sign-in.
create or replace function private.complete_sign_in(
  user_id uuid,
  methods text[],
  refresh_token_hash bytea,
  device_name text,
  challenge_hash bytea
)
  returns table (
    session_id uuid,
    token_version integer,
    refresh_expires_at timestamptz,
    challenge_expires_at timestamptz,
    challenge_methods text[]
  )
  language plpgsql
  volatile
  set search_path = pg_catalog
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

comment on function private.complete_sign_in(uuid, text[], bytea, text, bytea) is
  'Opens a session, or a challenge when the account has a second factor; every one-factor sign-in ends here.';
--! EndIncluded identity/private/complete_sign_in.sql
--! Included identity/private/confirm_password.sql
-- A signed-in user enters the current password again; the service has checked it. Locks the account and the session. A wrong
-- password counts like one at sign-in; otherwise a stolen access token could be used for guessing. The caller cannot tell
-- refusals apart.
create or replace function private.confirm_password(
  user_id uuid,
  session_id uuid,
  password_matches boolean,
  checked_token_version integer,
  checked_password_hash text,
  failure_event text
)
  returns boolean
  language plpgsql
  volatile
  set search_path = pg_catalog
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

comment on function private.confirm_password(uuid, uuid, boolean, integer, text, text) is
  'Returns whether a live session''s owner has shown the current password; counts and audits a failure.';
--! EndIncluded identity/private/confirm_password.sql
--! Included identity/private/confirm_totp.sql
-- Finishes an enrolment with a code from the app. `step` is null for a wrong code, which is not counted as a guess, because the
-- caller has the secret. The first factor of an account comes with recovery codes; later ones leave them unchanged.
create or replace function private.confirm_totp(factor_id uuid, step bigint, code_hashes bytea[])
  returns boolean
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
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

comment on function private.confirm_totp(uuid, bigint, bytea[]) is
  'Confirms an authenticator app; returns whether the recovery codes were stored. PL403, PL404, or PL422 for a wrong code.';
grant execute on function private.confirm_totp(uuid, bigint, bytea[]) to :PLINTH_SERVICE;
--! EndIncluded identity/private/confirm_totp.sql
--! Included identity/private/count_wrong_code.sql
-- Counts a wrong code for its account and locks the codes after too many. The caller holds the account's row lock, so that
-- parallel guesses are counted one by one.
create or replace function private.count_wrong_code(user_id uuid)
  returns void
  language plpgsql
  volatile
  set search_path = pg_catalog
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

comment on function private.count_wrong_code(uuid) is
  'Counts a wrong code over all sessions and challenges of the account and locks its codes for a while from the tenth on.';
--! EndIncluded identity/private/count_wrong_code.sql
--! Included identity/private/create_api_token.sql
-- The service generates and hashes the secret; this function decides whether the account may have another token. The account's
-- row lock counts parallel requests one after the other.
create or replace function private.create_api_token(
  user_id uuid,
  session_id uuid,
  name text,
  scopes text[],
  expires_at timestamptz,
  token_prefix text,
  token_hash bytea
)
  returns uuid
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
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

comment on function private.create_api_token(uuid, uuid, text, text[], timestamptz, text, bytea) is
  'Adds an API token to the account of a recently signed-in session; returns its id. PL401, PL402 (50 live tokens), PL403, PL422.';
grant execute on function private.create_api_token(uuid, uuid, text, text[], timestamptz, text, bytea) to :PLINTH_SERVICE;
--! EndIncluded identity/private/create_api_token.sql
--! Included identity/private/data_export_query.sql
-- The statement that reads a table's rows for an export: its columns without secrets and without traces of other people.
create or replace function private.data_export_query(table_oid oid, condition text)
  returns text
  language sql
  stable
  set search_path = pg_catalog
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

comment on function private.data_export_query(oid, text) is 'Returns the SQL that reads a user''s rows of a table ($1) as JSON texts, without secrets.';
--! EndIncluded identity/private/data_export_query.sql
--! Included identity/private/data_export_sources.sql
-- The contents of an export, found in the catalogue, so that it includes new tables automatically. A row belongs to a user
--   1. by the column user_id, or
--   2. by the references to the account that delete the row with it, or
--   3. by those that the row outlives, such as a message's sender.
-- The first rule that a table meets decides: banned_by does not export a ban of another user, but a user's own list of blocked
-- users is exported. A table without such a column belongs to the rows that it is deleted with.
create or replace function private.data_export_sources()
  returns table (table_oid oid, table_name text, condition text)
  language sql
  stable
  set search_path = pg_catalog
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

comment on function private.data_export_sources() is
  'Returns the tables of an export and the condition by which a row is the user''s ($1), found in the catalogue.';
--! EndIncluded identity/private/data_export_sources.sql
--! Included identity/private/delete_due_account.sql
-- A single account in each transaction: a killed worker has deleted it completely or not at all, and the next worker finds it due. An
-- account that cannot be deleted (its owner became the last administrator) does not block the others; it is retried later. Locks
-- the account before the deletion, as identity.cancel_account_deletion does.
create or replace function private.delete_due_account()
  returns text
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
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

  v_variables := private.mail_variables(v_user.id) - 'ip_address' - 'device';
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

comment on function private.delete_due_account() is
  'Deletes one account whose deletion is due; returns deleted, postponed, canceled, or null when none is due.';
grant execute on function private.delete_due_account() to :PLINTH_WORKER;
--! EndIncluded identity/private/delete_due_account.sql
--! Included identity/private/delete_expired_exports.sql
-- Deletes the parts; the record of the export stays as long as the account.
create or replace function private.delete_expired_exports(batch_size integer default 100)
  returns integer
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_exports uuid[];
begin
  perform private.check_batch_size(batch_size);
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

comment on function private.delete_expired_exports(integer) is
  'Deletes the contents of up to batch_size expired exports; returns their number.';
grant execute on function private.delete_expired_exports(integer) to :PLINTH_WORKER;
--! EndIncluded identity/private/delete_expired_exports.sql
--! Included identity/private/delete_expired_sign_in_data.sql
-- Deletes one batch of expired refresh tokens, revocations that are no longer needed, abandoned sign-ins, passkey ceremonies and
-- provider flows, and factors whose enrolment was abandoned. The job repeats until a batch is not full.
create or replace function private.delete_expired_sign_in_data(batch_size integer default 1000)
  returns integer
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_table regclass;
  v_deleted integer := 0;
  v_factors integer;
begin
  perform private.check_batch_size(batch_size);
  foreach v_table in array array[
    'private.refresh_tokens', 'private.token_blacklist', 'private.sign_in_challenges', 'private.passkey_challenges',
    'private.oauth_states'
  ] loop
    v_deleted := v_deleted + private.delete_old_rows(v_table, 'expires_at', '0', batch_size - v_deleted);
  end loop;

  with abandoned as (
    select f.id
    from identity.mfa_factors f
    where f.confirmed_at is null
      and f.created_at <= now() - interval '1 day'
    order by f.created_at
    limit batch_size - v_deleted
    for update skip locked
  )
  delete from identity.mfa_factors f using abandoned a where f.id = a.id;
  get diagnostics v_factors = row_count;
  return v_deleted + v_factors;
end
$$;

comment on function private.delete_expired_sign_in_data(integer) is
  'Deletes up to batch_size expired refresh tokens, revocations, challenges, provider flows and unconfirmed factors; returns their number.';
grant execute on function private.delete_expired_sign_in_data(integer) to :PLINTH_WORKER;
--! EndIncluded identity/private/delete_expired_sign_in_data.sql
--! Included identity/private/delete_expired_verifications.sql
-- Deletes one batch of links and codes that ended 30 days ago. Until then they show who requested them.
create or replace function private.delete_expired_verifications(batch_size integer default 1000)
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
  v_deleted := private.delete_old_rows('private.password_reset_tokens', 'expires_at', '30 days', batch_size);
  return v_deleted + private.delete_old_rows('private.user_verifications', 'expires_at', '30 days', batch_size - v_deleted);
end
$$;

comment on function private.delete_expired_verifications(integer) is
  'Deletes up to batch_size reset tokens and verifications that ended 30 days ago; returns their number.';
grant execute on function private.delete_expired_verifications(integer) to :PLINTH_WORKER;
--! EndIncluded identity/private/delete_expired_verifications.sql
--! Included identity/private/delete_old_api_tokens.sql
-- Deletes one batch of tokens that ended 90 days ago; ended sessions are kept as long (the audit log keeps the events).
create or replace function private.delete_old_api_tokens(batch_size integer default 1000)
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

comment on function private.delete_old_api_tokens(integer) is
  'Deletes up to batch_size API tokens that were revoked or expired 90 days ago; returns their number.';
grant execute on function private.delete_old_api_tokens(integer) to :PLINTH_WORKER;
--! EndIncluded identity/private/delete_old_api_tokens.sql
--! Included identity/private/delete_old_emails.sql
-- Deletes one batch of the emails, with addresses and names, that were sent a week ago or failed a month ago.
create or replace function private.delete_old_emails(batch_size integer default 1000)
  returns integer
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_emails integer;
begin
  perform private.check_batch_size(batch_size);
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
  get diagnostics v_emails = row_count;
  return v_emails;
end
$$;

comment on function private.delete_old_emails(integer) is
  'Deletes up to batch_size emails that were sent 7 days ago or failed 30 days ago; returns their number.';
grant execute on function private.delete_old_emails(integer) to :PLINTH_WORKER;
--! EndIncluded identity/private/delete_old_emails.sql
--! Included identity/private/delete_user_key.sql
-- Crypto-shredding. The foreign key deletes the data that the key encrypted; a copy elsewhere (a backup made since, a replica's
-- leftovers) becomes unreadable.
create or replace function private.delete_user_key(user_id uuid)
  returns boolean
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
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

comment on function private.delete_user_key(uuid) is
  'Deletes a user''s key and all data encrypted under it, permanently; returns whether there was one.';
grant execute on function private.delete_user_key(uuid) to :PLINTH_SERVICE;
--! EndIncluded identity/private/delete_user_key.sql
--! Included identity/private/describe_user_agent.sql
-- Enough of a User-Agent header to recognise one's own devices in a list; it decides nothing. Programs that are not known name
-- themselves first: MyApp/1.0
create or replace function private.describe_user_agent(user_agent text)
  returns jsonb
  language sql
  immutable
  strict
  parallel safe
  set search_path = pg_catalog
as $$
  select jsonb_strip_nulls(
    jsonb_build_object('browser', substring(user_agent from '^[A-Za-z][A-Za-z0-9._-]{0,39}')) || private.known_device(user_agent)
  )
$$;

comment on function private.describe_user_agent(text) is
  'Returns private.known_device, and for an unknown browser the name that the program gives itself.';
--! EndIncluded identity/private/describe_user_agent.sql
--! Included identity/private/end_expired_sessions.sql
-- Ends one batch of sessions past their absolute limit or idle for too long, and deletes those that ended 90 days ago (the audit
-- log keeps the events).
create or replace function private.end_expired_sessions(batch_size integer default 1000)
  returns integer
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_ended integer;
  v_deleted integer;
begin
  perform private.check_batch_size(batch_size);
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

comment on function private.end_expired_sessions(integer) is
  'Ends up to batch_size expired sessions and deletes those that ended 90 days ago; returns their number.';
grant execute on function private.end_expired_sessions(integer) to :PLINTH_WORKER;
--! EndIncluded identity/private/end_expired_sessions.sql
--! Included identity/private/end_sessions.sql
-- Ends a user's live sessions, all or all but one; returns their number.
create or replace function private.end_sessions(user_id uuid, reason text, except_session_id uuid default null)
  returns integer
  language sql
  volatile
  set search_path = pg_catalog
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

comment on function private.end_sessions(uuid, text, uuid) is 'Ends a user''s live sessions except one; returns their number.';
--! EndIncluded identity/private/end_sessions.sql
--! Included identity/private/factor_was_added.sql
-- The steps for every new factor: it is audited, and the calling session counts as signed in with it.
create or replace function private.factor_was_added(user_id uuid, factor_id uuid, kind text, methods text[])
  returns void
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
begin
  perform private.record_security_event(
    'factor_added', factor_was_added.user_id,
    jsonb_build_object('factor_id', factor_was_added.factor_id, 'kind', factor_was_added.kind)
  );
  perform private.add_session_methods(factor_was_added.methods);
end
$$;

comment on function private.factor_was_added(uuid, uuid, text, text[]) is 'Audits a new factor and credits it to the calling session.';
--! EndIncluded identity/private/factor_was_added.sql
--! Included identity/private/fail_provider_flow.sql
-- The provider refused, or its response was invalid. Counts as an attempt on no account, because the account is unknown until the
-- response is trusted.
create or replace function private.fail_provider_flow(flow_id uuid, reason text)
  returns void
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
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

comment on function private.fail_provider_flow(uuid, text) is 'Ends a flow whose response was not accepted; audited with the reason.';
grant execute on function private.fail_provider_flow(uuid, text) to :PLINTH_SERVICE;
--! EndIncluded identity/private/fail_provider_flow.sql
--! Included identity/private/find_account.sql
-- The only place that maps a typed name or address to an account. A username has no @ and an address has one.
create or replace function private.find_account(identifier text)
  returns uuid
  language sql
  stable
  set search_path = pg_catalog
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

comment on function private.find_account(text) is 'Returns the id of the account with this username or email address, or null.';
--! EndIncluded identity/private/find_account.sql
--! Included identity/private/find_api_token.sql
-- A server caches this for a live token for a minute; it calls the function again while it cannot receive revocations.
create or replace function private.find_api_token(token_hash bytea)
  returns table (
    token_id uuid,
    user_id uuid,
    token_version integer,
    scopes text[],
    expires_at timestamptz,
    allowed_networks text[]
  )
  language sql
  stable
  security definer
  set search_path = pg_catalog
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

comment on function private.find_api_token(bytea) is
  'Returns the live API token with this hash, its user, scopes and allowed networks; no row without one.';
grant execute on function private.find_api_token(bytea) to :PLINTH_SERVICE;
--! EndIncluded identity/private/find_api_token.sql
--! Included identity/private/find_data_export.sql
-- The request's own claims decide the owner of an export, never an argument. An export of another user, a pending one and an
-- expired one all count as missing.
create or replace function private.find_data_export(export_id uuid)
  returns table (size_bytes bigint, part_count integer)
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
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

comment on function private.find_data_export(uuid) is
  'Returns size and number of parts of a downloadable export of the signed-in user, and records the download; no row otherwise. PL403 with an API token.';
grant execute on function private.find_data_export(uuid) to :PLINTH_SERVICE;
--! EndIncluded identity/private/find_data_export.sql
--! Included identity/private/find_login.sql
-- The data that the service needs to check a password. It does not report locks or status: private.finish_login decides, counts
-- and audits those after the same work for every caller. The token_version is passed back there: if it has grown, the checked
-- password may have been changed. Always returns one row, so that the last column is also known for unknown accounts: while any
-- account still has a bcrypt hash, which takes longer to check, the service delays every refusal equally. An address is also
-- looked up by its keyed hash, the only form of it in privacy mode; in that mode the address itself is not even sent here.
create or replace function private.find_login(identifier text, hashed_email bytea default null)
  returns table (
    user_id uuid,
    password_hash text,
    hash_algorithm text,
    token_version integer,
    bcrypt_is_in_use boolean
  )
  language sql
  stable
  security definer
  set search_path = pg_catalog
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

comment on function private.find_login(text, bytea) is
  'Returns the password hash of the account with this username, email address or email hash; one row of nulls without one.';
grant execute on function private.find_login(text, bytea) to :PLINTH_SERVICE;
--! EndIncluded identity/private/find_login.sql
--! Included identity/private/find_lookup_key.sql
-- See the table. Two servers that start at the same time must use the same lookup key, so the first writer wins.
create or replace function private.find_lookup_key(name text)
  returns text
  language sql
  stable
  security definer
  set search_path = pg_catalog
as $$
  select k.sealed_key from private.lookup_keys k where k.name = find_lookup_key.name
$$;

comment on function private.find_lookup_key(text) is 'Returns the sealed key of a kind of lookup; null without one.';
grant execute on function private.find_lookup_key(text) to :PLINTH_SERVICE;
--! EndIncluded identity/private/find_lookup_key.sql
--! Included identity/private/find_passkey.sql
create or replace function private.find_passkey(credential_id bytea)
  returns table (user_id uuid, factor_id uuid, public_key bytea, backup_eligible boolean)
  language sql
  stable
  security definer
  set search_path = pg_catalog
as $$
  select f.user_id, p.factor_id, p.public_key, p.backup_eligible
  from private.passkeys p
  join identity.mfa_factors f on f.id = p.factor_id
  where p.credential_id = find_passkey.credential_id
$$;

comment on function private.find_passkey(bytea) is 'Returns the user of a passkey and its public key.';
grant execute on function private.find_passkey(bytea) to :PLINTH_SERVICE;
--! EndIncluded identity/private/find_passkey.sql
--! Included identity/private/find_password.sql
create or replace function private.find_password(user_id uuid)
  returns table (password_hash text, hash_algorithm text, token_version integer)
  language sql
  stable
  security definer
  set search_path = pg_catalog
as $$
  select p.password_hash, p.hash_algorithm, u.token_version
  from private.user_passwords p
  join identity.users u on u.id = p.user_id
  where p.user_id = find_password.user_id
$$;

comment on function private.find_password(uuid) is 'Returns the password hash of an account, to check the current password before a change.';
grant execute on function private.find_password(uuid) to :PLINTH_SERVICE;
--! EndIncluded identity/private/find_password.sql
--! Included identity/private/find_password_history.sql
-- The hashes against which the service compares a new password: the current one first, then earlier ones.
create or replace function private.find_password_history(user_id uuid, history_length integer)
  returns table (password_hash text)
  language sql
  stable
  security definer
  set search_path = pg_catalog
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

comment on function private.find_password_history(uuid, integer) is
  'Returns the hashes of an account''s last passwords, the current one included, newest first.';
grant execute on function private.find_password_history(uuid, integer) to :PLINTH_SERVICE;
--! EndIncluded identity/private/find_password_history.sql
--! Included identity/private/find_password_owner.sql
-- The data for judging a new password: words that it may not contain, and whether a second factor protects the account.
create or replace function private.find_password_owner(user_id uuid)
  returns table (username text, email text, display_name text, second_factor boolean)
  language sql
  stable
  security definer
  set search_path = pg_catalog
as $$
  select u.username, u.email, s.display_name, cardinality(private.second_factors(u.id)) > 0
  from identity.users u
  left join identity.user_settings s on s.user_id = u.id
  where u.id = find_password_owner.user_id
$$;

comment on function private.find_password_owner(uuid) is
  'Returns the names of the account, which its password may not contain, and whether a second factor is enforced.';
grant execute on function private.find_password_owner(uuid) to :PLINTH_SERVICE;
--! EndIncluded identity/private/find_password_owner.sql
--! Included identity/private/find_password_reset.sql
-- The account whose password a token may set, to judge the new password before the token is used up.
create or replace function private.find_password_reset(token_hash bytea)
  returns table (user_id uuid, username text, email text, display_name text, second_factor boolean)
  language sql
  stable
  security definer
  set search_path = pg_catalog
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

comment on function private.find_password_reset(bytea) is 'Returns the account of a live reset token; no row for any other token.';
grant execute on function private.find_password_reset(bytea) to :PLINTH_SERVICE;
--! EndIncluded identity/private/find_password_reset.sql
--! Included identity/private/find_sign_in_challenge.sql
-- The user of a half-finished sign-in, which the service needs to continue it. private.finish_sign_in decides under the account's
-- row lock whether it is still valid.
create or replace function private.find_sign_in_challenge(token_hash bytea)
  returns uuid
  language sql
  stable
  security definer
  set search_path = pg_catalog
as $$
  select c.user_id
  from private.sign_in_challenges c
  where c.token_hash = find_sign_in_challenge.token_hash
    and c.used_at is null
    and c.expires_at > now()
$$;

comment on function private.find_sign_in_challenge(bytea) is 'Returns the user of a half-finished sign-in; null when it is unknown or over.';
grant execute on function private.find_sign_in_challenge(bytea) to :PLINTH_SERVICE;
--! EndIncluded identity/private/find_sign_in_challenge.sql
--! Included identity/private/find_totp_secrets.sql
-- Authenticator apps. Secrets are passed sealed: the service opens them, computes the step of a code and passes the step to the
-- functions that decide.

create or replace function private.find_totp_secrets(user_id uuid)
  returns table (factor_id uuid, sealed_secret text)
  language sql
  stable
  security definer
  set search_path = pg_catalog
as $$
  select t.factor_id, t.sealed_secret
  from private.totp_secrets t
  join identity.mfa_factors f on f.id = t.factor_id
  where f.user_id = find_totp_secrets.user_id
    and f.confirmed_at is not null
  order by t.factor_id
$$;

comment on function private.find_totp_secrets(uuid) is 'Returns the sealed secrets of the account''s confirmed authenticator apps.';
grant execute on function private.find_totp_secrets(uuid) to :PLINTH_SERVICE;
--! EndIncluded identity/private/find_totp_secrets.sql
--! Included identity/private/find_unconfirmed_totp.sql
create or replace function private.find_unconfirmed_totp(factor_id uuid)
  returns text
  language sql
  stable
  security definer
  set search_path = pg_catalog
as $$
  select t.sealed_secret
  from private.totp_secrets t
  join identity.mfa_factors f on f.id = t.factor_id
  where t.factor_id = find_unconfirmed_totp.factor_id
    and f.user_id = plinth.current_user_id()
    and f.confirmed_at is null
$$;

comment on function private.find_unconfirmed_totp(uuid) is
  'Returns the sealed secret of an authenticator app that the calling user has not confirmed; null without one.';
grant execute on function private.find_unconfirmed_totp(uuid) to :PLINTH_SERVICE;
--! EndIncluded identity/private/find_unconfirmed_totp.sql
--! Included identity/private/find_user_key.sql
-- A user's own encryption key. The service seals and opens it; the database never sees the key itself.
create or replace function private.find_user_key(user_id uuid)
  returns table (key_id uuid, wrapped_key text)
  language sql
  stable
  security definer
  set search_path = pg_catalog
as $$
  select k.id, k.wrapped_key from private.user_keys k where k.user_id = find_user_key.user_id
$$;

comment on function private.find_user_key(uuid) is 'Returns the user''s sealed key; no row when it was never created or was deleted.';
grant execute on function private.find_user_key(uuid) to :PLINTH_SERVICE;
--! EndIncluded identity/private/find_user_key.sql
--! Included identity/private/finish_email.sql
-- Records the result of a leased email. Sent is final even if the lease had expired. A failed email is retried after 30 seconds,
-- doubling up to an hour. It fails permanently after ten attempts (about four hours) or a permanent rejection.
create or replace function private.finish_email(email_id uuid, error text, is_permanent boolean default false)
  returns text
  language sql
  volatile
  security definer
  set search_path = pg_catalog
as $$
  update private.mail_outbox m
  set
    status = done.status,
    sent_at = case done.status when 'sent' then clock_timestamp() end,
    next_attempt_at = clock_timestamp() + least(interval '1 hour', interval '30 seconds' * power(2, least(m.attempts, 10) - 1)),
    last_error = left(finish_email.error, 500),
    variables = case done.status when 'pending' then m.variables else m.variables - 'sealed_token' end
  from (
    select o.id,
      case
        when finish_email.error is null then 'sent'
        when finish_email.is_permanent or o.attempts >= 10 then 'failed'
        else 'pending'
      end as status
    from private.mail_outbox o
    where o.id = finish_email.email_id
    for update
  ) done
  where m.id = done.id and m.status = 'pending'
  returning m.status
$$;

comment on function private.finish_email(uuid, text, boolean) is
  'Marks a leased email as sent (error null), to be retried, or failed; returns which.';
grant execute on function private.finish_email(uuid, text, boolean) to :PLINTH_WORKER;
--! EndIncluded identity/private/finish_email.sql
--! Included identity/private/finish_login.sql
-- Decides a sign-in whose password the service has checked. Always commits: a refused attempt is counted and audited. Locks the
-- account's row first, so that parallel guesses are counted one by one and the lock applies to all of them. Code that needs
-- several locks takes them in the order account, session, token, which rules out deadlocks.
create or replace function private.finish_login(
  user_id uuid,
  identifier text,
  password_matches boolean,
  checked_token_version integer,
  refresh_token_hash bytea,
  device_name text default null,
  challenge_hash bytea default null
)
  returns table (
    session_id uuid,
    token_version integer,
    refresh_expires_at timestamptz,
    challenge_expires_at timestamptz,
    challenge_methods text[]
  )
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
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

comment on function private.finish_login(uuid, text, boolean, integer, bytea, text, bytea) is
  'Opens a session, or a challenge, if the password matched and nothing forbids it; no row when refused. Counts and audits in both cases.';
grant execute on function private.finish_login(uuid, text, boolean, integer, bytea, text, bytea) to :PLINTH_SERVICE;
--! EndIncluded identity/private/finish_login.sql
--! Included identity/private/finish_passkey_registration.sql
-- Adds a passkey whose registration the service has checked. The recent sign-in was checked at the start, at most five minutes
-- ago.
create or replace function private.finish_passkey_registration(
  name text,
  credential_id bytea,
  public_key bytea,
  sign_count bigint,
  transports text[],
  backup_eligible boolean,
  backed_up boolean,
  aaguid uuid,
  code_hashes bytea[]
)
  returns table (factor_id uuid, codes_were_stored boolean)
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
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

comment on function private.finish_passkey_registration(text, bytea, bytea, bigint, text[], boolean, boolean, uuid, bytea[]) is
  'Adds a passkey to the calling user; PL409 when it already belongs to an account.';
grant execute on function
  private.finish_passkey_registration(text, bytea, bytea, bigint, text[], boolean, boolean, uuid, bytea[]) to :PLINTH_SERVICE;
--! EndIncluded identity/private/finish_passkey_registration.sql
--! Included identity/private/finish_passkey_sign_in.sql
-- A sign-in with only a passkey that verified its user (PIN, fingerprint): possession and knowledge or biometrics in one, so that
-- no challenge follows (NIST SP 800-63B-4, 3.1.7). `user_id` and `proof` belong to the credential shown; they are null for an
-- unknown one.
create or replace function private.finish_passkey_sign_in(
  user_id uuid,
  proof jsonb,
  refresh_token_hash bytea,
  device_name text default null
)
  returns table (session_id uuid, token_version integer, refresh_expires_at timestamptz)
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
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

comment on function private.finish_passkey_sign_in(uuid, jsonb, bytea, text) is
  'Opens a session for a passkey that verified its user; no row when refused. Counts and audits in both cases.';
grant execute on function private.finish_passkey_sign_in(uuid, jsonb, bytea, text) to :PLINTH_SERVICE;
--! EndIncluded identity/private/finish_passkey_sign_in.sql
--! Included identity/private/finish_phone_verification.sql
-- The number becomes the account's if the code was right and is still live.
create or replace function private.finish_phone_verification(user_id uuid, verification_id uuid, code_matches boolean)
  returns text
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
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

comment on function private.finish_phone_verification(uuid, uuid, boolean) is
  'Makes a number the account''s after its code was checked; returns verified, refused or taken.';
grant execute on function private.finish_phone_verification(uuid, uuid, boolean) to :PLINTH_SERVICE;
--! EndIncluded identity/private/finish_phone_verification.sql
--! Included identity/private/finish_provider_link.sql
-- Links an account at a provider to the signed-in account. The flow determines the account: the same session starts and finishes
-- it. A profile never changes its owner, and its current owner is not reported. Locks: subject, account, session, token.
create or replace function private.finish_provider_link(
  flow_id uuid,
  provider_user_id text,
  email text,
  email_verified boolean,
  user_info jsonb,
  access_token_sealed text,
  refresh_token_sealed text,
  token_expires_at timestamptz
)
  returns table (outcome text, profile_id uuid)
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
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

comment on function private.finish_provider_link(uuid, text, text, boolean, jsonb, text, text, timestamptz) is
  'Links an account at a provider to the session''s account; outcome linked, refused, belongs_to_another or has_another. Audited.';
grant execute on function private.finish_provider_link(uuid, text, text, boolean, jsonb, text, text, timestamptz) to :PLINTH_SERVICE;
--! EndIncluded identity/private/finish_provider_link.sql
--! Included identity/private/finish_provider_sign_in.sql
-- Decides a sign-in through a provider; the service has checked the response (signature, issuer, audience, nonce, PKCE). Only
-- (provider, subject) identifies the account; an address never does, verified or not. `verified_email` is an address that a
-- trusted provider verified, with its keyed hash, for a new account; in privacy mode the hash alone. Always commits: a refusal is
-- counted and audited. Locks: subject, account, session, token.
create or replace function private.finish_provider_sign_in(
  flow_id uuid,
  provider_user_id text,
  email text,
  email_verified boolean,
  user_info jsonb,
  access_token_sealed text,
  refresh_token_sealed text,
  token_expires_at timestamptz,
  may_register boolean,
  verified_email text,
  verified_email_hash bytea,
  refresh_token_hash bytea,
  challenge_hash bytea
)
  returns table (
    outcome text,
    user_id uuid,
    session_id uuid,
    token_version integer,
    refresh_expires_at timestamptz,
    challenge_expires_at timestamptz,
    challenge_methods text[]
  )
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
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

comment on function private.finish_provider_sign_in(uuid, text, text, boolean, jsonb, text, text, timestamptz, boolean, text, bytea, bytea, bytea) is
  'Opens a session, or a challenge, for a user authenticated by a provider; outcome accepted, refused, not_registered or address_taken. Counts and audits.';
grant execute on function private.finish_provider_sign_in(uuid, text, text, boolean, jsonb, text, text, timestamptz, boolean, text, bytea, bytea, bytea) to :PLINTH_SERVICE;
--! EndIncluded identity/private/finish_provider_sign_in.sql
--! Included identity/private/finish_sign_in.sql
-- The second step of a sign-in: turns a challenge and a second factor into a session. `proof` is that of
-- private.accept_second_factor. Always commits: a refused attempt is counted and audited. Locks the account's row first, as
-- everywhere, so that attempts on several challenges are counted one by one.
create or replace function private.finish_sign_in(
  token_hash bytea,
  proof jsonb,
  refresh_token_hash bytea,
  device_name text default null
)
  returns table (user_id uuid, session_id uuid, token_version integer, refresh_expires_at timestamptz)
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
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

comment on function private.finish_sign_in(bytea, jsonb, bytea, text) is
  'Opens a session for a challenge and a second factor; no row when refused. Counts and audits in both cases.';
grant execute on function private.finish_sign_in(bytea, jsonb, bytea, text) to :PLINTH_SERVICE;
--! EndIncluded identity/private/finish_sign_in.sql
--! Included identity/private/has_another_way_in.sql
-- An account must not lock itself out: it keeps a password, a provider or a passkey. An authenticator app alone is no sign-in
-- method.
create or replace function private.has_another_way_in(user_id uuid, except_id uuid)
  returns boolean
  language sql
  stable
  set search_path = pg_catalog
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

comment on function private.has_another_way_in(uuid, uuid) is
  'Returns whether an account could be signed in to without this profile or factor (null: as it is). The caller holds the account''s row lock.';
--! EndIncluded identity/private/has_another_way_in.sql
--! Included identity/private/has_asked_too_often.sql
-- Five links or codes a day: more would be a nuisance to the recipient, and each code allows five more guesses.
create or replace function private.has_asked_too_often(user_id uuid, kind text)
  returns boolean
  language sql
  stable
  set search_path = pg_catalog
as $$
  select count(*) >= 5
  from private.user_verifications v
  where v.user_id = has_asked_too_often.user_id
    and v.kind = has_asked_too_often.kind
    and v.created_at > now() - interval '1 day'
$$;

comment on function private.has_asked_too_often(uuid, text) is
  'Returns whether the account was sent five links or codes of this kind within a day.';
--! EndIncluded identity/private/has_asked_too_often.sql
--! Included identity/private/is_api_token_live.sql
create or replace function private.is_api_token_live(user_id uuid, token_id uuid, token_version integer)
  returns boolean
  language sql
  stable
  security definer
  set search_path = pg_catalog
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

comment on function private.is_api_token_live(uuid, uuid, integer) is
  'Returns whether an API token found before is still valid.';
grant execute on function private.is_api_token_live(uuid, uuid, integer) to :PLINTH_SERVICE;
--! EndIncluded identity/private/is_api_token_live.sql
--! Included identity/private/is_secret_column.sql
-- Exports contain no credentials: no hashes, sealed texts, keys or bytes. The parts that a user may see, such as the first letters
-- of an API token, has a column of its own.
create or replace function private.is_secret_column(table_oid oid, column_name text, type_oid oid)
  returns boolean
  language sql
  stable
  set search_path = pg_catalog
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

comment on function private.is_secret_column(oid, text, oid) is 'Returns whether a column is left out of exports.';
--! EndIncluded identity/private/is_secret_column.sql
--! Included identity/private/is_token_live.sql
create or replace function private.is_token_live(user_id uuid, session_id uuid, token_id uuid, token_version integer)
  returns boolean
  language sql
  stable
  security definer
  set search_path = pg_catalog
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

comment on function private.is_token_live(uuid, uuid, uuid, integer) is
  'Returns whether an access token with these claims is still valid.';
grant execute on function private.is_token_live(uuid, uuid, uuid, integer) to :PLINTH_SERVICE;
--! EndIncluded identity/private/is_token_live.sql
--! Included identity/private/issue_refresh_token.sql
-- A refresh token lives as long as its session. The session's own rule limits its idle time, because using an access token counts
-- as use too. The client gets the time by which it should refresh if it does nothing else until then.
create or replace function private.issue_refresh_token(session_id uuid, token_hash bytea, parent_id uuid default null)
  returns timestamptz
  language sql
  volatile
  set search_path = pg_catalog
as $$
  insert into private.refresh_tokens (session_id, user_id, parent_id, token_hash, expires_at)
  select s.id, s.user_id, issue_refresh_token.parent_id, issue_refresh_token.token_hash, s.expires_at
  from identity.user_sessions s
  where s.id = issue_refresh_token.session_id
  returning least(expires_at, now() + private.session_idle_limit(user_id))
$$;

comment on function private.issue_refresh_token(uuid, bytea, uuid) is
  'Adds a refresh token to a session; returns its expiry time if the session is not used before.';
--! EndIncluded identity/private/issue_refresh_token.sql
--! Included identity/private/known_device.sql
-- Known words only: the client controls the header, and its text must not appear in our email. The order matters: browsers include
-- the names of those they imitate.
create or replace function private.known_device(user_agent text)
  returns jsonb
  language sql
  immutable
  strict
  parallel safe
  set search_path = pg_catalog
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
        when user_agent ~ '^curl/' then 'curl'
      end
    )
  )
$$;

comment on function private.known_device(text) is
  'Returns platform and browser from a User-Agent header as a JSON object; unknown parts are omitted.';
--! EndIncluded identity/private/known_device.sql
--! Included identity/private/last_consent.sql
-- A user's latest decision on a purpose counts.
create or replace function private.last_consent(user_id uuid, purpose text)
  returns identity.consents
  language sql
  stable
  set search_path = pg_catalog
as $$
  select c
  from identity.consents c
  where c.user_id = last_consent.user_id and c.purpose = last_consent.purpose
  order by c.decided_at desc
  limit 1
$$;

comment on function private.last_consent(uuid, text) is 'Returns a user''s latest decision on a purpose; null without one.';
--! EndIncluded identity/private/last_consent.sql
--! Included identity/private/latest_uses.sql
-- Reports of the servers about sessions and API tokens. A server whose clock runs ahead must not set a time in the future.
create or replace function private.latest_uses(ids uuid[], seen_at timestamptz[], ip_addresses inet[])
  returns table (id uuid, at timestamptz, ip_address inet)
  language sql
  stable
as $$
  select distinct on (s.id) s.id, least(s.at, now()), s.ip_address
  from unnest(ids, seen_at, ip_addresses) as s (id, at, ip_address)
  where s.at is not null
  order by s.id, s.at desc
$$;

comment on function private.latest_uses(uuid[], timestamptz[], inet[]) is 'Returns the latest use of each session or API token in a report.';
--! EndIncluded identity/private/latest_uses.sql
--! Included identity/private/list_passkeys.sql
-- A user's passkeys for the browser to choose from: [{"id": hex, "transports": […]}].
create or replace function private.list_passkeys(user_id uuid)
  returns jsonb
  language sql
  stable
  set search_path = pg_catalog
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

comment on function private.list_passkeys(uuid) is 'Returns credential ids (hex) and transports of an account''s passkeys, as JSON.';
--! EndIncluded identity/private/list_passkeys.sql
--! Included identity/private/list_revocations.sql
-- A server loads these when it starts to listen and, for the last minutes only, at each notification. While it cannot listen it
-- calls private.is_token_live and private.is_api_token_live.
create or replace function private.list_revocations(max_age interval default '1 day 5 minutes')
  returns table (kind text, subject_id uuid, token_version integer, expires_at timestamptz)
  language sql
  stable
  security definer
  set search_path = pg_catalog
as $$
  select b.kind, b.subject_id, b.token_version, b.expires_at
  from private.token_blacklist b
  where b.expires_at > now()
    and b.created_at > now() - list_revocations.max_age
$$;

comment on function private.list_revocations(interval) is
  'Returns the revocations not older than max_age, which is the longest life of an access token.';
grant execute on function private.list_revocations(interval) to :PLINTH_SERVICE;
--! EndIncluded identity/private/list_revocations.sql
--! Included identity/private/lock_accounts.sql
-- Accounts are locked before rooms, by all code that locks both: a row that names an account waits for the account's deletion,
-- and that waits for the rooms. Sorted, so that two callers do not deadlock.
create or replace function private.lock_accounts(user_ids uuid[])
  returns void
  language sql
  volatile
  set search_path = pg_catalog
as $$
  select from identity.users u where u.id = any (lock_accounts.user_ids) order by u.id for key share
$$;

comment on function private.lock_accounts(uuid[]) is 'Prevents the deletion of accounts until the transaction ends.';
--! EndIncluded identity/private/lock_accounts.sql
--! Included identity/private/lock_acting_account.sql
-- Account before room, as everywhere: the event of a change names its actor. Before the statement, because a row's triggers run
-- with the row locked, and a deletion of the account waits for its rooms.
create or replace function private.lock_acting_account()
  returns trigger
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
begin
  perform private.lock_accounts(array[plinth.current_user_id()]);
  return null;
end
$$;

comment on function private.lock_acting_account() is
  'Trigger: locks the acting account, which the change will name, against concurrent deletion.';
--! EndIncluded identity/private/lock_acting_account.sql
--! Included identity/private/lock_own_account.sql
-- The account before its rows, as everywhere.
create or replace function private.lock_own_account()
  returns uuid
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
begin
  perform from identity.users u where u.id = plinth.current_user_id() for key share;
  if not found then
    raise exception 'You must be signed in.' using errcode = 'PL401';
  end if;
  return plinth.current_user_id();
end
$$;

comment on function private.lock_own_account() is
  'Returns the signed-in user''s id and keeps the account from being deleted before the transaction ends; PL401 if no user is signed in.';
--! EndIncluded identity/private/lock_own_account.sql
--! Included identity/private/lock_provider_subject.sql
-- Processes responses about one person at a provider one after the other, even before there is a row to lock: two concurrent
-- first sign-ins create one account. Taken before any row is locked.
create or replace function private.lock_provider_subject(provider text, provider_user_id text)
  returns void
  language sql
  volatile
  set search_path = pg_catalog
as $$
  select pg_advisory_xact_lock(
    hashtextextended(jsonb_build_array('oauth', lock_provider_subject.provider, lock_provider_subject.provider_user_id)::text, 0)
  )
$$;

comment on function private.lock_provider_subject(text, text) is
  'Locks one person at one provider until the transaction ends.';
--! EndIncluded identity/private/lock_provider_subject.sql
--! Included identity/private/mail_variables.sql
-- Variables for every mail about an account: its names, and the time and origin of the request. If another signed-in user, such
-- as an administrator, made the request, its origin is hidden from the account's owner.
create or replace function private.mail_variables(user_id uuid)
  returns jsonb
  language sql
  stable
  set search_path = pg_catalog
as $$
  select jsonb_strip_nulls(jsonb_build_object(
    'username', u.username,
    'display_name', s.display_name,
    'locale', left(s.preferences ->> 'locale', 35),
    'occurred_at', to_char(now() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
    'ip_address', case when own.is_request then host(plinth.client_ip()) end,
    'device', case when own.is_request then private.known_device(plinth.user_agent()) end
  ))
  from identity.users u
  left join identity.user_settings s on s.user_id = u.id
  cross join lateral (select coalesce(plinth.current_user_id() = u.id, true) as is_request) own
  where u.id = mail_variables.user_id
$$;

comment on function private.mail_variables(uuid) is 'Returns the names of the account and the context of the request, for mail texts.';
--! EndIncluded identity/private/mail_variables.sql
--! Included identity/private/mfa_lockout_duration.sql
-- Ten wrong codes suggest a clock that is off. From the tenth on, each locks twice as long as the last, from one minute up to one
-- day: a code is short, so guessing must be slower than for passwords (NIST SP 800-63B-4, 3.2.2; OWASP ASVS 5, 6.3.1).
create or replace function private.mfa_lockout_duration(failed_attempts integer)
  returns interval
  language sql
  immutable
  parallel safe
as $$
  select case
    when failed_attempts < 10 then interval '0'
    else least(interval '1 day', interval '1 minute' * power(2, least(failed_attempts - 10, 12)))
  end
$$;

comment on function private.mfa_lockout_duration(integer) is
  'Returns how long codes are refused after this many wrong ones in a row: 0, then 1 minute doubling up to 1 day.';
--! EndIncluded identity/private/mfa_lockout_duration.sql
--! Included identity/private/network_is_allowed.sql
-- The user's own rule: sign-in and refresh only from these networks. Without an address (psql) the rule cannot be checked, so the
-- request is refused.
create or replace function private.network_is_allowed(user_id uuid)
  returns boolean
  language sql
  stable
  set search_path = pg_catalog
as $$
  select not exists (
    select
    from identity.user_security_settings s
    where s.user_id = network_is_allowed.user_id
      and s.allowed_networks is not null
      and not coalesce(plinth.client_ip() <<= any (s.allowed_networks), false)
  )
$$;

comment on function private.network_is_allowed(uuid) is 'Returns whether the request comes from a network the user allows.';
--! EndIncluded identity/private/network_is_allowed.sql
--! Included identity/private/notify_new_sign_in.sql
-- A sign-in with a program from a network (IPv4 /24, IPv6 /64) that this account has not been used with for 90 days. Called
-- before the session is created. Not for the session that registration opens, which is expected.
create or replace function private.notify_new_sign_in(user_id uuid)
  returns void
  language sql
  volatile
  set search_path = pg_catalog
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

comment on function private.notify_new_sign_in(uuid) is
  'Queues a notification when the account is signed in to with a new program or from a new network.';
--! EndIncluded identity/private/notify_new_sign_in.sql
--! Included identity/private/notify_user.sql
-- Notifies the owner of an event on their account, with its time and origin. Accounts without an address are skipped. So are
-- accounts being deleted: waiting for the deletion could deadlock.
create or replace function private.notify_user(user_id uuid, template text, variables jsonb default '{}')
  returns void
  language sql
  volatile
  set search_path = pg_catalog
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

comment on function private.notify_user(uuid, text, jsonb) is
  'Queues a notification to the account''s address; does nothing without an address.';
--! EndIncluded identity/private/notify_user.sql
--! Included identity/private/open_session.sql
-- A session with its first refresh token. `methods` lists the sign-in methods, as amr values of RFC 8176.
create or replace function private.open_session(
  user_id uuid,
  methods text[],
  refresh_token_hash bytea,
  device_name text
)
  returns table (session_id uuid, token_version integer, refresh_expires_at timestamptz)
  language plpgsql
  volatile
  set search_path = pg_catalog
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

comment on function private.open_session(uuid, text[], bytea, text) is
  'Creates a session and its first refresh token; returns both and the token version to sign with.';
--! EndIncluded identity/private/open_session.sql
--! Included identity/private/queue_mail.sql
-- Queues mail in the caller's transaction: it is sent only if the transaction commits. A secret is passed sealed, as
-- sealed_token.
create or replace function private.queue_mail(
  user_id uuid,
  to_address text,
  template text,
  variables jsonb,
  channel text default 'email',
  expires_at timestamptz default null
)
  returns void
  language sql
  volatile
  set search_path = pg_catalog
as $$
  insert into private.mail_outbox (user_id, to_address, template, variables, channel, expires_at)
  values (
    queue_mail.user_id, queue_mail.to_address, queue_mail.template, coalesce(queue_mail.variables, '{}'),
    queue_mail.channel, queue_mail.expires_at
  )
$$;

comment on function private.queue_mail(uuid, text, text, jsonb, text, timestamptz) is
  'Queues one mail in the caller''s transaction; the worker sends it within seconds.';
--! EndIncluded identity/private/queue_mail.sql
--! Included identity/private/read_data_export_part.sql
create or replace function private.read_data_export_part(export_id uuid, part_number integer)
  returns text
  language sql
  stable
  security definer
  set search_path = pg_catalog
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

comment on function private.read_data_export_part(uuid, integer) is
  'Returns one part of an export of the signed-in user; null if it does not exist.';
grant execute on function private.read_data_export_part(uuid, integer) to :PLINTH_SERVICE;
--! EndIncluded identity/private/read_data_export_part.sql
--! Included identity/private/reauthenticate.sql
-- Confirms within a session that its owner is present: opens the ten minutes of private.require_recent_authentication.
-- `proof` is {"method": "password", "matches": boolean, "token_version": …} or one of private.accept_second_factor. An account
-- with a second factor must show that factor: with the password alone, a thief of the password could remove the factor. Wrong
-- attempts count as at sign-in; otherwise a stolen access token could be used for guessing.
create or replace function private.reauthenticate(proof jsonb)
  returns timestamptz
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
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

comment on function private.reauthenticate(jsonb) is
  'Marks the calling session as freshly authenticated; returns the time, or null if refused. PL422 for a password where there is a second factor.';
grant execute on function private.reauthenticate(jsonb) to :PLINTH_SERVICE;
--! EndIncluded identity/private/reauthenticate.sql
--! Included identity/private/record_consent.sql
-- Later than the last decision, which may have been made within the same microsecond.
create or replace function private.record_consent(purpose text, version integer, is_given boolean, last_decided_at timestamptz)
  returns identity.consents
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_now constant timestamptz := greatest(clock_timestamp(), last_decided_at + interval '1 microsecond');
  v_consent identity.consents;
begin
  insert into identity.consents (user_id, purpose, version, granted_at, withdrawn_at, ip_address, user_agent)
  values (
    plinth.current_user_id(), record_consent.purpose, record_consent.version,
    case when is_given then v_now end, case when not is_given then v_now end,
    plinth.client_ip(), left(plinth.user_agent(), 1000)
  )
  returning * into v_consent;
  perform private.record_security_event(
    case when is_given then 'consent_given' else 'consent_withdrawn' end, v_consent.user_id,
    jsonb_build_object('purpose', v_consent.purpose, 'version', v_consent.version)
  );
  return v_consent;
end
$$;

comment on function private.record_consent(text, integer, boolean, timestamptz) is
  'Records and audits the caller''s consent to a purpose, or its withdrawal; returns it.';
--! EndIncluded identity/private/record_consent.sql
--! Included identity/private/refuse_api_token.sql
-- Sign-in, sessions, tokens, consents and sign-in rules require the user in person: a stolen API token must not be able to extend
-- its own access.
create or replace function private.refuse_api_token()
  returns void
  language plpgsql
  stable
  set search_path = pg_catalog
as $$
begin
  if plinth.current_api_token_id() is not null then
    raise exception 'An API token cannot do this.' using errcode = 'PL403', hint = 'Sign in.';
  end if;
end
$$;

comment on function private.refuse_api_token() is 'Raises PL403 when the request was made with an API token.';
--! EndIncluded identity/private/refuse_api_token.sql
--! Included identity/private/regenerate_recovery_codes.sql
create or replace function private.regenerate_recovery_codes(code_hashes bytea[])
  returns void
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
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

comment on function private.regenerate_recovery_codes(bytea[]) is
  'Stores new recovery codes for the calling user. Needs a recent sign-in (PL403) and a confirmed factor (PL409).';
grant execute on function private.regenerate_recovery_codes(bytea[]) to :PLINTH_SERVICE;
--! EndIncluded identity/private/regenerate_recovery_codes.sql
--! Included identity/private/register_by_provider.sql
-- An account without a password for a user of a provider: private.user_passwords has no row, so no password matches.
-- `verified_email` is an address that a trusted provider verified, or null; nothing else is allowed here. Its keyed hash
-- accompanies it, and replaces it in privacy mode.
-- Another account's address is never taken, and that account is never opened:
-- - If the address is verified there, no account is created (null), since it would be the person's second one. The caller may
--   say so, because the user has just proved to own the address.
-- - If it is not verified there, that account may have been registered to lie in wait for the owner (pre-hijacking). The new
--   account is created without the address, so that its owner is neither led into the prepared account nor kept out.
create or replace function private.register_by_provider(
  suggested_username text,
  verified_email text,
  verified_email_hash bytea,
  display_name text
)
  returns uuid
  language plpgsql
  volatile
  set search_path = pg_catalog
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
    -- A single query: between two, an account with the verified address could appear.
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

comment on function private.register_by_provider(text, text, bytea, text) is
  'Creates an account without a password and with a free name; returns its id, or null if another account has verified the address.';
--! EndIncluded identity/private/register_by_provider.sql
--! Included identity/private/register_user.sql
-- Creates an account with all its rows, or nothing.
create or replace function private.register_user(
  username text,
  email text,
  display_name text,
  password_hash text,
  hash_algorithm text,
  -- Without it the account is found only by its clear address.
  hashed_email bytea default null
)
  returns uuid
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
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

comment on function private.register_user(text, text, text, text, text, bytea) is
  'Creates an account with settings, password and the role user; returns its id. 23505 names the taken field.';
grant execute on function private.register_user(text, text, text, text, text, bytea) to :PLINTH_SERVICE;
--! EndIncluded identity/private/register_user.sql
--! Included identity/private/replace_password_hash.sql
-- The same password under the current algorithm, after a sign-in has shown it. Only if the password is unchanged since the check;
-- otherwise the old one would come back.
create or replace function private.replace_password_hash(
  user_id uuid,
  old_password_hash text,
  new_password_hash text,
  new_hash_algorithm text
)
  returns boolean
  language sql
  volatile
  security definer
  set search_path = pg_catalog
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

comment on function private.replace_password_hash(uuid, text, text, text) is
  'Replaces a hash by another one of the same password; returns false if the password was changed meanwhile.';
grant execute on function private.replace_password_hash(uuid, text, text, text) to :PLINTH_SERVICE;
--! EndIncluded identity/private/replace_password_hash.sql
--! Included identity/private/request_email_change.sql
-- Requests another address, which takes effect only after a link sent there was opened. An address of another account gets a
-- different mail, but the caller gets the same response, so that accounts cannot be probed.
create or replace function private.request_email_change(
  user_id uuid,
  session_id uuid,
  password_matches boolean,
  checked_token_version integer,
  checked_password_hash text,
  new_email text,
  token_hash bytea,
  sealed_token text,
  hashed_email bytea default null
)
  returns text
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
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
      v_holder_id, v_address, 'address-taken', private.mail_variables(v_holder_id) - 'ip_address' - 'device'
    );
  end if;
  perform private.record_security_event(
    'email_change_requested', v_user.id, jsonb_build_object('is_taken', v_holder_id is not null)
  );
  return 'accepted';
end
$$;

comment on function private.request_email_change(uuid, uuid, boolean, integer, text, text, bytea, text, bytea) is
  'Queues a link to a new address; returns accepted (also for a taken one), refused, unchanged or too_many.';
grant execute on function private.request_email_change(uuid, uuid, boolean, integer, text, text, bytea, text, bytea) to :PLINTH_SERVICE;
--! EndIncluded identity/private/request_email_change.sql
--! Included identity/private/request_email_verification.sql
-- Sends a link to the account's own unverified address. Five a day: more would be a nuisance to the recipient.
create or replace function private.request_email_verification(user_id uuid, token_hash bytea, sealed_token text)
  returns text
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
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

comment on function private.request_email_verification(uuid, bytea, text) is
  'Queues a link that verifies the account''s address; returns sent, no_address, already_verified or too_many.';
grant execute on function private.request_email_verification(uuid, bytea, text) to :PLINTH_SERVICE;
--! EndIncluded identity/private/request_email_verification.sql
--! Included identity/private/request_password_reset.sql
-- A request for a forgotten password. Returns nothing in any case; only the account's mail reveals the result. At most three live
-- links, so that a mailbox cannot be flooded; a fourth request does not end the first three, so that it cannot invalidate them.
create or replace function private.request_password_reset(identifier text, token_hash bytea, sealed_token text)
  returns void
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
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

comment on function private.request_password_reset(text, bytea, text) is
  'Queues a link to set a new password, if there is such an account with an address; returns nothing.';
grant execute on function private.request_password_reset(text, bytea, text) to :PLINTH_SERVICE;
--! EndIncluded identity/private/request_password_reset.sql
--! Included identity/private/request_phone_verification.sql
-- Sends a code to a number. Five a day, for the account and for the number, from any account: each costs money and allows five
-- more guesses. A new code ends the previous one.
create or replace function private.request_phone_verification(
  user_id uuid,
  phone_number text,
  code_hash text,
  sealed_code text
)
  returns text
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
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

comment on function private.request_phone_verification(uuid, text, text, text) is
  'Queues a code to a number; returns sent, too_many or refused.';
grant execute on function private.request_phone_verification(uuid, text, text, text) to :PLINTH_SERVICE;
--! EndIncluded identity/private/request_phone_verification.sql
--! Included identity/private/require_recent_authentication.sql
-- Step-up: actions that could hand an account to someone else require a recent proof of identity, so that a stolen token is not
-- enough (OWASP ASVS 5, 7.5.1). Called by functions that run with the owner's rights.
create or replace function private.require_recent_authentication()
  returns void
  language plpgsql
  stable
  security definer
  set search_path = pg_catalog
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

comment on function private.require_recent_authentication() is
  'Raises PL403 with the hint "Confirm it is you with reauthenticate." unless the calling session was authenticated within 10 minutes.';
grant execute on function private.require_recent_authentication() to :PLINTH_SERVICE;
--! EndIncluded identity/private/require_recent_authentication.sql
--! Included identity/private/reset_password.sql
-- Sets a password with a token from the account's mail; one caller wins a race. Opens no session and counts as no second factor:
-- the user signs in afterwards. All sessions end. The lock is lifted: it protected the old password against guessing, and keeping
-- it would let anyone lock the owner out with wrong guesses (OWASP Forgot Password Cheat Sheet; NIST SP 800-63B-4 section 4.2
-- counts recovery as proof of identity).
create or replace function private.reset_password(
  token_hash bytea,
  new_password_hash text,
  new_hash_algorithm text,
  suffices_alone boolean,
  history_length integer
)
  returns boolean
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
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

comment on function private.reset_password(bytea, text, text, boolean, integer) is
  'Sets a password with a single-use token and ends all sessions; returns false for an invalid token.';
grant execute on function private.reset_password(bytea, text, text, boolean, integer) to :PLINTH_SERVICE;
--! EndIncluded identity/private/reset_password.sql
--! Included identity/private/rotate_refresh_token.sql
-- Exchanges a refresh token for its successor (RFC 9700, section 4.14.2).
--   rotated   the token was live; the successor's hash is stored
--   replayed  the token is the immediate parent of the live one and was used less than a minute ago: the response was lost, so the
--             caller gets the same successor again
--   refused   any other case. An older used token counts as stolen, whichever of the two users came first: the session ends.
--             It is a result and not an exception; an exception would roll back the end of the session.
create or replace function private.rotate_refresh_token(
  presented_hash bytea,
  successor_hash bytea,
  successor_sealed bytea
)
  returns table (
    outcome text,
    user_id uuid,
    session_id uuid,
    token_version integer,
    sealed bytea,
    refresh_expires_at timestamptz
  )
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
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
    -- Kept that long only to recognize a second use.
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

comment on function private.rotate_refresh_token(bytea, bytea, bytea) is
  'Exchanges a refresh token for its successor; returns rotated, replayed (same successor again) or refused.';
grant execute on function private.rotate_refresh_token(bytea, bytea, bytea) to :PLINTH_SERVICE;
--! EndIncluded identity/private/rotate_refresh_token.sql
--! Included identity/private/save_provider_profile.sql
-- The provider's latest data replaces its earlier data, tokens included. The caller holds the account's row lock and the lock of
-- this subject (private.lock_provider_subject).
create or replace function private.save_provider_profile(
  user_id uuid,
  provider text,
  provider_user_id text,
  email text,
  email_verified boolean,
  user_info jsonb,
  access_token_sealed text,
  refresh_token_sealed text,
  token_expires_at timestamptz,
  last_used_at timestamptz
)
  returns uuid
  language plpgsql
  volatile
  set search_path = pg_catalog
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

comment on function private.save_provider_profile(uuid, text, text, text, boolean, jsonb, text, text, timestamptz, timestamptz) is
  'Creates or updates a user''s account at a provider with its sealed tokens; returns the profile''s id.';
--! EndIncluded identity/private/save_provider_profile.sql
--! Included identity/private/second_factors.sql
-- The second factors of an account, under their API names. Recovery codes require another factor.
create or replace function private.second_factors(user_id uuid)
  returns text[]
  language sql
  stable
  set search_path = pg_catalog
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

comment on function private.second_factors(uuid) is
  'Returns the second factors of an account: passkey, totp, recovery_code; empty without a confirmed factor.';
--! EndIncluded identity/private/second_factors.sql
--! Included identity/private/send_email_verification.sql
-- Sends a link to an address. For the account's own address it verifies it; for any other it moves the account there. That is
-- decided now, because the account's address may differ when the link is opened.
create or replace function private.send_email_verification(user_id uuid, address text, token_hash bytea, sealed_token text)
  returns void
  language plpgsql
  volatile
  set search_path = pg_catalog
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
      (private.mail_variables(send_email_verification.user_id) - 'display_name' - 'device')
        || jsonb_build_object('sealed_token', send_email_verification.sealed_token),
      'email', v_expires_at
    );
  end if;
end
$$;

comment on function private.send_email_verification(uuid, text, bytea, text) is
  'Stores a verification of an address and queues its link; without a token it only stores.';
--! EndIncluded identity/private/send_email_verification.sql
--! Included identity/private/session_idle_limit.sql
-- Read at each use and never stored with a session or token, so that a lower limit applies at once.
create or replace function private.session_idle_limit(user_id uuid)
  returns interval
  language sql
  stable
  set search_path = pg_catalog
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

comment on function private.session_idle_limit(uuid) is
  'Returns how long a user''s sessions may stay idle: session_timeout_minutes, or 30 days.';
--! EndIncluded identity/private/session_idle_limit.sql
--! Included identity/private/set_password.sql
-- Stores every new password: the old one joins the history, and links sent under it (to set a password, to change the address)
-- end. The caller holds the account's row lock.
create or replace function private.set_password(
  user_id uuid,
  password_hash text,
  hash_algorithm text,
  suffices_alone boolean,
  history_length integer
)
  returns void
  language plpgsql
  volatile
  set search_path = pg_catalog
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

comment on function private.set_password(uuid, text, text, boolean, integer) is
  'Stores a password, keeps the last history_length - 1 before it, and ends links that were sent under the old one.';
--! EndIncluded identity/private/set_password.sql
--! Included identity/private/start_passkey_ceremony.sql
-- An account has at most one ceremony of each kind: a new one replaces the last. The caller holds the account's row lock, which
-- a deletion of the account takes first as well.
create or replace function private.start_passkey_ceremony(challenge bytea, purpose text, user_id uuid)
  returns void
  language plpgsql
  volatile
  set search_path = pg_catalog
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

comment on function private.start_passkey_ceremony(bytea, text, uuid) is 'Stores the challenge of a passkey with its purpose and account.';
--! EndIncluded identity/private/start_passkey_ceremony.sql
--! Included identity/private/start_passkey_reauthentication.sql
create or replace function private.start_passkey_reauthentication(challenge bytea)
  returns jsonb
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
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

comment on function private.start_passkey_reauthentication(bytea) is
  'Starts a confirmation of the calling user with a passkey; returns the passkeys to choose from.';
grant execute on function private.start_passkey_reauthentication(bytea) to :PLINTH_SERVICE;
--! EndIncluded identity/private/start_passkey_reauthentication.sql
--! Included identity/private/start_passkey_registration.sql
create or replace function private.start_passkey_registration(challenge bytea)
  returns table (user_id uuid, username text, passkeys jsonb)
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
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

comment on function private.start_passkey_registration(bytea) is
  'Starts the registration of a passkey for the calling user. Needs a recent sign-in (PL403); PL409 when there are too many.';
grant execute on function private.start_passkey_registration(bytea) to :PLINTH_SERVICE;
--! EndIncluded identity/private/start_passkey_registration.sql
--! Included identity/private/start_passkey_sign_in.sql
-- Without a challenge token: a sign-in with only a passkey, of a user not known yet.
create or replace function private.start_passkey_sign_in(challenge bytea, token_hash bytea default null)
  returns jsonb
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
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

comment on function private.start_passkey_sign_in(bytea, bytea) is
  'Starts a sign-in with a passkey, alone or as second factor; returns the passkeys to choose from, null when the challenge is not live.';
grant execute on function private.start_passkey_sign_in(bytea, bytea) to :PLINTH_SERVICE;
--! EndIncluded identity/private/start_passkey_sign_in.sql
--! Included identity/private/start_provider_flow.sql
-- Stores the start of a provider flow. The linking user is taken from the request's own claims, never from an argument.
create or replace function private.start_provider_flow(
  provider text,
  purpose text,
  flow_hash bytea,
  state_hash bytea,
  redirect_uri text,
  secrets_sealed text,
  device_name text default null
)
  returns timestamptz
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
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

comment on function private.start_provider_flow(text, text, bytea, bytea, text, text, text) is
  'Starts a sign-in or link at a provider; returns the time by which it must be finished. PL401 for a link without a session.';
grant execute on function private.start_provider_flow(text, text, bytea, bytea, text, text, text) to :PLINTH_SERVICE;
--! EndIncluded identity/private/start_provider_flow.sql
--! Included identity/private/start_totp.sql
-- Starts an enrolment. An earlier unconfirmed one is deleted, so that at most one is in progress. The number of apps is limited,
-- because each adds a code that a guess may hit.
create or replace function private.start_totp(name text, sealed_secret text)
  returns table (factor_id uuid, username text)
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
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

comment on function private.start_totp(text, text) is
  'Adds an unconfirmed authenticator app for the calling user. Needs a recent sign-in (PL403); PL409 when there are too many.';
grant execute on function private.start_totp(text, text) to :PLINTH_SERVICE;
--! EndIncluded identity/private/start_totp.sql
--! Included identity/private/store_lookup_key.sql
create or replace function private.store_lookup_key(name text, sealed_key text)
  returns text
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
begin
  insert into private.lookup_keys (name, sealed_key)
  values (store_lookup_key.name, store_lookup_key.sealed_key)
  on conflict on constraint lookup_keys_pkey do nothing;
  return (select k.sealed_key from private.lookup_keys k where k.name = store_lookup_key.name);
end
$$;

comment on function private.store_lookup_key(text, text) is
  'Stores a sealed key unless there is one; returns the stored key, which may be another server''s.';
grant execute on function private.store_lookup_key(text, text) to :PLINTH_SERVICE;
--! EndIncluded identity/private/store_lookup_key.sql
--! Included identity/private/store_recovery_codes.sql
-- Replaces the set of recovery codes. The caller holds the account's row lock.
create or replace function private.store_recovery_codes(user_id uuid, code_hashes bytea[])
  returns void
  language plpgsql
  volatile
  set search_path = pg_catalog
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

comment on function private.store_recovery_codes(uuid, bytea[]) is 'Replaces the account''s recovery codes; the old codes become invalid.';
--! EndIncluded identity/private/store_recovery_codes.sql
--! Included identity/private/store_user_key.sql
-- The first writer wins and the second gets the existing key, so that two servers that create one at the same time encrypt under
-- the same key.
create or replace function private.store_user_key(user_id uuid, new_wrapped_key text)
  returns table (key_id uuid, wrapped_key text)
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
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

comment on function private.store_user_key(uuid, text) is
  'Stores a sealed key for a user who has none; returns the stored key, which may be another server''s.';
grant execute on function private.store_user_key(uuid, text) to :PLINTH_SERVICE;
--! EndIncluded identity/private/store_user_key.sql
--! Included identity/private/take_emails.sql
-- Leases due emails to one worker. If the worker dies, the lease expires and another worker takes the email.
create or replace function private.take_emails(batch_size integer, lease interval default '2 minutes')
  returns table (
    id uuid,
    channel text,
    to_address text,
    template text,
    variables jsonb,
    created_at timestamptz
  )
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
begin
  perform private.check_batch_size(batch_size, 1000);
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
    set attempts = m.attempts + 1, next_attempt_at = clock_timestamp() + take_emails.lease
    from due
    where m.id = due.id
    returning m.id, m.channel, m.to_address, m.template, m.variables, m.created_at;
end
$$;

comment on function private.take_emails(integer, interval) is
  'Leases up to batch_size due emails to the caller, which sends them and calls private.finish_email for each.';
grant execute on function private.take_emails(integer, interval) to :PLINTH_WORKER;
--! EndIncluded identity/private/take_emails.sql
--! Included identity/private/take_passkey_challenge.sql
-- Consumes a challenge before the response is checked: it is valid for one response, right or wrong, and for one caller in a
-- race.
create or replace function private.take_passkey_challenge(challenge bytea, purpose text, user_id uuid)
  returns boolean
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
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

comment on function private.take_passkey_challenge(bytea, text, uuid) is
  'Returns whether this challenge is open for this purpose and account, and closes it.';
grant execute on function private.take_passkey_challenge(bytea, text, uuid) to :PLINTH_SERVICE;
--! EndIncluded identity/private/take_passkey_challenge.sql
--! Included identity/private/take_phone_attempt.sql
-- An attempt at the code, counted before the service checks it: at most five guesses in total, in parallel or from any session.
create or replace function private.take_phone_attempt(user_id uuid)
  returns table (verification_id uuid, code_hash text)
  language sql
  volatile
  security definer
  set search_path = pg_catalog
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

comment on function private.take_phone_attempt(uuid) is
  'Counts an attempt at the account''s live code and returns its hash; no row without a live code or after five attempts.';
grant execute on function private.take_phone_attempt(uuid) to :PLINTH_SERVICE;
--! EndIncluded identity/private/take_phone_attempt.sql
--! Included identity/private/take_provider_flow.sql
-- A user returns from a provider. A single statement marks the row as used before the provider is contacted, so that one of several
-- callers with the same response wins. Both secrets must match: the flow token proves that this client started the flow (no
-- sign-in can be forced on another browser), the state that the response belongs to its request. A response that does not match
-- uses nothing up; otherwise anyone could break a sign-in by sending a browser there.
create or replace function private.take_provider_flow(purpose text, flow_hash bytea, state_hash bytea)
  returns table (flow_id uuid, provider text, redirect_uri text, secrets_sealed text)
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
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

comment on function private.take_provider_flow(text, bytea, bytea) is
  'Uses up a flow and returns the data to finish it; no row if it is unknown, used, expired or another session''s.';
grant execute on function private.take_provider_flow(text, bytea, bytea) to :PLINTH_SERVICE;
--! EndIncluded identity/private/take_provider_flow.sql
--! Included identity/private/touch_api_tokens.sql
create or replace function private.touch_api_tokens(token_ids uuid[], seen_at timestamptz[], ip_addresses inet[])
  returns integer
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_touched integer;
begin
  with locked as (
    select t.id, seen.at, seen.ip_address
    from identity.api_tokens t
    join private.latest_uses(touch_api_tokens.token_ids, touch_api_tokens.seen_at, touch_api_tokens.ip_addresses) seen on seen.id = t.id
    where t.last_used_at is null or t.last_used_at <= seen.at - interval '1 minute'
    order by t.id
    for no key update of t skip locked
  )
  update identity.api_tokens t
  set last_used_at = l.at, last_used_ip = coalesce(l.ip_address, t.last_used_ip)
  from locked l
  where t.id = l.id;
  get diagnostics v_touched = row_count;
  return v_touched;
end
$$;

comment on function private.touch_api_tokens(uuid[], timestamptz[], inet[]) is
  'Records time and address of the use of API tokens, at most once a minute; returns the number of changed rows.';
grant execute on function private.touch_api_tokens(uuid[], timestamptz[], inet[]) to :PLINTH_SERVICE;
--! EndIncluded identity/private/touch_api_tokens.sql
--! Included identity/private/touch_sessions.sql
-- Activity seen by the servers, reported in batches every few seconds. Locked rows are skipped: the next batch comes soon, and a
-- request must never wait for this.
create or replace function private.touch_sessions(session_ids uuid[], seen_at timestamptz[], ip_addresses inet[])
  returns integer
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
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

  with locked as (
    select s.id, seen.at, seen.ip_address
    from identity.user_sessions s
    join private.latest_uses(touch_sessions.session_ids, touch_sessions.seen_at, touch_sessions.ip_addresses) seen on seen.id = s.id
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
  set last_activity_at = l.at, ip_address = coalesce(l.ip_address, s.ip_address)
  from locked l
  where s.id = l.id;
  get diagnostics v_touched = row_count;
  return v_touched;
end
$$;

comment on function private.touch_sessions(uuid[], timestamptz[], inet[]) is
  'Records time and address of the use of sessions, at most once a minute; returns the number of changed rows.';
grant execute on function private.touch_sessions(uuid[], timestamptz[], inet[]) to :PLINTH_SERVICE;
--! EndIncluded identity/private/touch_sessions.sql
--! Included identity/private/try_lock_account.sql
-- For callers that hold a lock ranked after the account's (see lock_usage) and so must not wait for the account. SKIP LOCKED
-- alone is not enough: PostgreSQL follows a row that was just updated to its newest version and waits for that version's lock
-- (heap_lock_updated_tuple in heapam.c knows no wait policy). Hence the limit on waiting.
create or replace function private.try_lock_account(user_id uuid)
  returns boolean
  language plpgsql
  volatile
  set search_path = pg_catalog
  set lock_timeout = '1ms'
as $$
begin
  perform from identity.users u where u.id = try_lock_account.user_id for no key update skip locked;
  return found;
exception
  when lock_not_available then
    return false;
end
$$;

comment on function private.try_lock_account(uuid) is
  'Locks an account until the end of the transaction if it is free; returns whether it did. False for an unknown account, too.';
--! EndIncluded identity/private/try_lock_account.sql
--! Included identity/private/username_from.sql
-- A username for the account, derived from the person's name at the provider.
create or replace function private.username_from(suggestion text)
  returns text
  language sql
  immutable
  set search_path = pg_catalog
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

comment on function private.username_from(text) is 'Returns a well-formed username made of a name or address; it may be taken.';
--! EndIncluded identity/private/username_from.sql
--! Included identity/private/verify_email.sql
-- Handles an opened link. The link states its effect: verify the account's address, or move the account to the address it was
-- sent to; a verification link never moves an account. The old address is notified of a move. The change of the row ends the
-- other open links (identity.end_open_links).
create or replace function private.verify_email(token_hash bytea)
  returns boolean
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
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

comment on function private.verify_email(bytea) is
  'Verifies the account''s address, or moves it to the address the link was sent to; returns false for an invalid token.';
grant execute on function private.verify_email(bytea) to :PLINTH_SERVICE;
--! EndIncluded identity/private/verify_email.sql
--! Included identity/private/without_secrets.sql
-- Queued mail contains its sealed token.
create or replace function private.without_secrets(document jsonb)
  returns jsonb
  language sql
  immutable
  set search_path = pg_catalog
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

comment on function private.without_secrets(jsonb) is 'Returns a JSON object without the members whose names suggest secrets.';
--! EndIncluded identity/private/without_secrets.sql
--! Included identity/private/write_data_export.sql
-- Writes the next tables of a pending export, about a megabyte in each transaction, so that a killed worker repeats little and a
-- deletion of the account waits for one large table at most. Rows are collected into parts of about 64 kB, for tables of any
-- size. The row of the export is the lock between workers.
create or replace function private.write_data_export()
  returns text
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
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

comment on function private.write_data_export() is
  'Writes the next tables of a pending export; returns continued, finished, failed_<sqlstate>, or null when none is pending.';
grant execute on function private.write_data_export() to :PLINTH_WORKER;
--! EndIncluded identity/private/write_data_export.sql
--! Included identity/triggers/api_tokens.sql
-- A revoked API token is handled like a revoked access token: a row of private.token_blacklist, which notifies the servers at
-- once. The row lives a day, longer than any server caches a token.
create or replace function private.revoke_api_token()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
begin
  insert into private.token_blacklist (kind, subject_id, reason)
  values ('token', old.id, case when tg_op = 'DELETE' then 'api_token_deleted' else 'api_token_revoked' end);
  return null;
end
$$;

comment on function private.revoke_api_token() is 'Trigger: notifies the servers of an API token that was revoked or deleted.';

create or replace trigger _500_revoke
  after update of revoked_at on identity.api_tokens
  for each row
  when (old.revoked_at is null and new.revoked_at is not null)
  execute function private.revoke_api_token();

create or replace trigger _500_revoke_deleted
  after delete on identity.api_tokens
  for each row
  when (old.revoked_at is null and old.expires_at > now())
  execute function private.revoke_api_token();
--! EndIncluded identity/triggers/api_tokens.sql
--! Included identity/triggers/consent_purposes.sql
-- The text that people agreed to must not change: a published version is changed by publishing the next.
create or replace function identity.guard_published_purpose()
  returns trigger
  language plpgsql
  set search_path = pg_catalog
as $$
begin
  raise exception 'A published version cannot be changed.'
    using errcode = 'PL409', hint = 'Publish a new version.', schema = 'identity', table = 'consent_purposes';
end
$$;

comment on function identity.guard_published_purpose() is 'Trigger: rejects changes to a published version of a purpose. PL409.';

create or replace trigger _100_guard_published
  before update or delete on identity.consent_purposes
  for each row
  when (old.published_at <= now())
  execute function identity.guard_published_purpose();
--! EndIncluded identity/triggers/consent_purposes.sql
--! Included identity/triggers/mail_outbox.sql
-- The last mail of a deleted account is the only row that still names it, so it is deleted as soon as it was sent or has failed.
create or replace function private.forget_last_mail()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
begin
  delete from private.mail_outbox m where m.id = new.id;
  return null;
end
$$;

comment on function private.forget_last_mail() is 'Trigger: deletes the mail about a deleted account once it was sent or has failed.';

create or replace trigger _500_forget_last_mail
  after update of status on private.mail_outbox
  for each row
  when (new.template = 'account-deleted' and new.user_id is null and new.status <> 'pending')
  execute function private.forget_last_mail();
--! EndIncluded identity/triggers/mail_outbox.sql
--! Included identity/triggers/record_data_change.sql
create or replace trigger _700_record_data_change
  after insert or update or delete on identity.data_rights_settings
  for each row
  execute function private.record_data_change('id', '', 'updated_at', '');

-- The tables that the audit trail watches, and the columns it leaves out. A new table or column is decided here; a test walks
-- all columns of these tables and rejects one whose name sounds like a secret. Arguments: see private.record_data_change.

-- In privacy mode no clear address is stored anywhere, so the trail stores none either. The JSON columns belong to the product
-- and may hold anything. Counters change with each sign-in, which has logs of its own.
create or replace trigger _700_record_data_change
  after insert or update or delete on identity.users
  for each row
  execute function private.record_data_change(
    'id', 'id',
    'failed_login_attempts,locked_until,last_login_at,updated_at,is_active,is_verified',
    'email,hashed_email,phone_number,profile_data,metadata'
  );

-- An endpoint's address may contain a key.
create or replace trigger _700_record_data_change
  after insert or update or delete on identity.user_settings
  for each row
  execute function private.record_data_change('user_id', 'user_id', 'updated_at', 'preferences,llm_endpoint');

create or replace trigger _700_record_data_change
  after insert or update or delete on identity.user_security_settings
  for each row
  execute function private.record_data_change('user_id', 'user_id', 'updated_at', '');
--! EndIncluded identity/triggers/record_data_change.sql
--! Included identity/triggers/token_blacklist.sql
-- Any role may listen and notify, so the notification carries no data: it only prompts a read with private.list_revocations,
-- which only the service may call.
create or replace function private.notify_revocation()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
begin
  perform pg_notify('plinth_revocation', '');
  return null;
end
$$;

comment on function private.notify_revocation() is 'Trigger: notifies every server of a revocation through NOTIFY plinth_revocation.';

create or replace trigger _900_notify
  after insert on private.token_blacklist
  for each statement
  execute function private.notify_revocation();
--! EndIncluded identity/triggers/token_blacklist.sql
--! Included identity/triggers/touch_updated_at.sql
-- See plinth.touch_updated_at.
create or replace trigger _900_touch_updated_at
  before update on identity.data_rights_settings
  for each row
  execute function plinth.touch_updated_at();

-- See plinth.touch_updated_at.
create or replace trigger _900_touch_updated_at
  before update on identity.oauth_profiles
  for each row
  execute function plinth.touch_updated_at();

-- See plinth.touch_updated_at. Named to run last, after the other triggers.
create or replace trigger _900_touch_updated_at
  before update on identity.users
  for each row
  execute function plinth.touch_updated_at('is_active', 'is_verified');

create or replace trigger _900_touch_updated_at
  before update on identity.user_settings
  for each row
  execute function plinth.touch_updated_at();

create or replace trigger _900_touch_updated_at
  before update on identity.user_preferences
  for each row
  execute function plinth.touch_updated_at();

create or replace trigger _900_touch_updated_at
  before update on identity.user_security_settings
  for each row
  execute function plinth.touch_updated_at();

-- See plinth.touch_updated_at.
create or replace trigger _900_touch_updated_at
  before update on private.user_keys
  for each row
  execute function plinth.touch_updated_at('master_key_version');

create or replace trigger _900_touch_updated_at
  before update on private.lookup_keys
  for each row
  execute function plinth.touch_updated_at();
--! EndIncluded identity/triggers/touch_updated_at.sql
--! Included identity/triggers/user_security_settings.sql
create or replace trigger _100_replace_defaults
  before insert on identity.user_security_settings
  for each row
  execute function identity.replace_default_settings();

-- Rules for the user's own sign-ins. A list of networks without the caller's address would lock the user out at the next
-- refresh, so it must be forced (identity.set_allowed_networks with force). The owner role, without a user, may do anything.
create or replace function identity.check_security_settings()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
begin
  perform private.refuse_api_token();
  if plinth.current_user_id() is not null
    and new.allowed_networks is distinct from old.allowed_networks
    and current_setting('plinth.allow_lockout', true) is distinct from 'on'
    and not coalesce(plinth.client_ip() <<= any (new.allowed_networks), new.allowed_networks is null)
  then
    raise exception 'The networks do not contain your current address. You would lock yourself out.'
      using
        errcode = 'PL422',
        hint = 'Add your network, or use setAllowedNetworks with force.',
        schema = 'identity',
        table = 'user_security_settings',
        column = 'allowed_networks';
  end if;
  return new;
end
$$;

comment on function identity.check_security_settings() is
  'Trigger: allows only a person to change sign-in rules, and rejects an accidental lockout. PL403, PL422.';

create or replace trigger _100_check
  before update on identity.user_security_settings
  for each row
  execute function identity.check_security_settings();

create or replace function identity.audit_security_settings()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
begin
  perform private.record_security_event(
    'security_settings_changed', new.user_id,
    (
      select jsonb_object_agg(n.key, jsonb_build_object('old', o.value, 'new', n.value))
      from jsonb_each(to_jsonb(new)) n
      join jsonb_each(to_jsonb(old)) o on o.key = n.key
      where n.value is distinct from o.value and n.key <> 'updated_at'
    )
  );
  return null;
end
$$;

comment on function identity.audit_security_settings() is
  'Trigger: writes security_settings_changed with old and new values to the audit log.';

create or replace trigger _500_audit
  after update on identity.user_security_settings
  for each row
  when (old.* is distinct from new.*)
  execute function identity.audit_security_settings();
--! EndIncluded identity/triggers/user_security_settings.sql
--! Included identity/triggers/user_sessions.sql
-- The data on a session's device and addresses, updated by every writer of its row: sign-in, refresh or use.
create or replace function identity.describe_session()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
declare
  v_known jsonb := coalesce(new.security_context -> 'addresses', '[]');
begin
  if tg_op = 'INSERT' then
    if new.device_info = '{}' then
      new.device_info := coalesce(private.describe_user_agent(new.user_agent), '{}');
    end if;
    if new.ip_address is not null then
      new.security_context := new.security_context || jsonb_build_object(
        'sign_in_address', host(new.ip_address),
        'addresses', jsonb_build_array(jsonb_build_object('address', host(new.ip_address), 'since', now()))
      );
    end if;
    return new;
  end if;

  new.security_context := new.security_context || jsonb_build_object(
    'addresses',
    (
      select jsonb_agg(latest.entry order by latest.place)
      from (
        select jsonb_build_object('address', host(new.ip_address), 'since', now()) as entry, 0 as place
        union all
        (
          select k.entry, k.place
          from jsonb_array_elements(v_known) with ordinality as k (entry, place)
          where k.entry ->> 'address' is distinct from host(new.ip_address)
          order by k.place
          limit 4
        )
      ) latest
    )
  );
  return new;
end
$$;

comment on function identity.describe_session() is
  'Trigger: fills device_info from the User-Agent header, and keeps the last five addresses in security_context.';

create or replace trigger _100_describe
  before insert on identity.user_sessions
  for each row
  execute function identity.describe_session();

create or replace trigger _100_note_address
  before update of ip_address on identity.user_sessions
  for each row
  when (new.ip_address is not null and new.ip_address is distinct from old.ip_address)
  execute function identity.describe_session();

-- Ending a session, raising a token_version and deleting an account revoke access tokens in the same transaction, from any
-- client, psql included; the notification reaches every server at commit.

create or replace function private.revoke_session_tokens()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
begin
  insert into private.token_blacklist (kind, subject_id, reason)
  select 'session', old.id, case when tg_op = 'DELETE' then 'session_deleted' else new.end_reason end;
  -- The family ends with its session: a refresh token is live only while its session is.
  return null;
end
$$;

comment on function private.revoke_session_tokens() is 'Trigger: revokes the access tokens of a session that ended or was deleted.';

create or replace trigger _500_revoke_tokens
  after update of ended_at on identity.user_sessions
  for each row
  when (old.ended_at is null and new.ended_at is not null)
  execute function private.revoke_session_tokens();

create or replace trigger _500_revoke_tokens_of_deleted
  after delete on identity.user_sessions
  for each row
  when (old.ended_at is null)
  execute function private.revoke_session_tokens();

-- A session that moves to another network leaves a record: the session's row stores only its last address. Detection reads these
-- events (private.suspicious_subjects), and people do too.
create or replace function private.record_session_network_change()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
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

comment on function private.record_session_network_change() is
  'Trigger: writes session_network_changed to the audit log when a session continues from another network.';

create or replace trigger _500_record_network_change
  after update of ip_address on identity.user_sessions
  for each row
  when (old.ip_address is not null and new.ip_address is not null and old.ip_address <> new.ip_address
    and network(set_masklen(old.ip_address, case family(old.ip_address) when 4 then 16 else 32 end))
      <> network(set_masklen(new.ip_address, case family(new.ip_address) when 4 then 16 else 32 end)))
  execute function private.record_session_network_change();
--! EndIncluded identity/triggers/user_sessions.sql
--! Included identity/triggers/user_settings.sql
create or replace trigger _100_replace_defaults
  before insert on identity.user_settings
  for each row
  execute function identity.replace_default_settings();

-- A default model must be usable by the user when it is chosen; the error is the same for one that does not exist. A trigger
-- and not a policy: a grant revoked later must not stop the user from changing other settings.
create or replace function identity.check_default_model()
  returns trigger
  language plpgsql
  set search_path = pg_catalog
as $$
begin
  if plinth.current_user_id() is not null and not access.can_use_model(new.default_model_id) then
    raise exception 'Model not found.'
      using errcode = 'PL404', schema = 'identity', table = 'user_settings', column = 'default_model_id';
  end if;
  return new;
end
$$;

comment on function identity.check_default_model() is 'Trigger: the default model must be one the user may use. PL404 otherwise.';

create or replace trigger _100_check_default_model
  before update of default_model_id on identity.user_settings
  for each row
  when (new.default_model_id is not null and new.default_model_id is distinct from old.default_model_id)
  execute function identity.check_default_model();
--! EndIncluded identity/triggers/user_settings.sql
--! Included identity/triggers/users.sql
-- Every account has its settings from the start, whichever writer inserts its row: users may change settings but not insert
-- them.
create or replace function identity.insert_settings()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
begin
  insert into identity.user_settings (user_id) values (new.id) on conflict do nothing;
  insert into identity.user_security_settings (user_id) values (new.id) on conflict do nothing;
  return null;
end
$$;

comment on function identity.insert_settings() is 'Trigger: inserts the settings rows of a new account.';

create or replace trigger _400_insert_settings
  after insert on identity.users
  for each row
  execute function identity.insert_settings();

-- "Ada " and "ada" are one account, whichever writer stores the row. An address without a normal form stays as given: the
-- table's constraint rejects it by name. Only a migration marks an irregular address, and any other address clears the mark.
create or replace function identity.normalize_user()
  returns trigger
  language plpgsql
  set search_path = pg_catalog
as $$
begin
  new.username := plinth.normalize_username(new.username);
  if tg_op = 'INSERT' or new.email is distinct from old.email then
    new.email := coalesce(plinth.normalize_email(new.email), new.email);
    new.has_irregular_address := false;
  else
    new.has_irregular_address := new.has_irregular_address and old.has_irregular_address;
  end if;
  return new;
end
$$;

comment on function identity.normalize_user() is 'Trigger: stores the username and the e-mail address in their normal form.';

create or replace trigger _100_normalize
  before insert or update of username, email, has_irregular_address on identity.users
  for each row
  execute function identity.normalize_user();

-- A proof is a proof of one address. A statement that sets a new address and its time of proof together keeps that time.
create or replace function identity.drop_stale_email_proof()
  returns trigger
  language plpgsql
  set search_path = pg_catalog
as $$
begin
  if identity.is_another_address(old, new) and new.email_verified_at is not distinct from old.email_verified_at then
    new.email_verified_at := null;
  end if;
  return new;
end
$$;

comment on function identity.drop_stale_email_proof() is 'Trigger: clears the proof of the old address when the address changes.';

create or replace trigger _120_drop_stale_email_proof
  before update on identity.users
  for each row
  when (old.email is distinct from new.email or old.hashed_email is distinct from new.hashed_email)
  execute function identity.drop_stale_email_proof();

-- Links and codes sent to or requested for an address or number are void once the account no longer has it: an old link would
-- move the account back. A trigger, so that it holds for every way an address changes. A first address or number ends only its
-- own kind: no other person could have had the rest.
create or replace function identity.end_open_links()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
declare
  v_is_another_address constant boolean := identity.is_another_address(old, new);
  v_is_another_number constant boolean := new.phone_number is distinct from old.phone_number;
  v_ends_all constant boolean :=
    v_is_another_address and (old.email is not null or old.hashed_email is not null)
    or v_is_another_number and old.phone_number is not null;
begin
  update private.user_verifications v
  set expires_at = now()
  where v.user_id = new.id
    and v.expires_at > now()
    and v.used_at is null
    and (
      v_ends_all
      or v.kind = 'email' and v_is_another_address
      or v.kind = 'phone' and v_is_another_number
    );
  if v_ends_all or v_is_another_address then
    update private.password_reset_tokens t
    set expires_at = now()
    where t.user_id = new.id and t.expires_at > now() and t.used_at is null;
  end if;
  return null;
end
$$;

comment on function identity.end_open_links() is
  'Trigger: revokes the account''s open links, codes and password resets when its address or phone number changes.';

create or replace trigger _600_end_open_links
  after update on identity.users
  for each row
  when (
    old.email is distinct from new.email
    or old.hashed_email is distinct from new.hashed_email
    or old.phone_number is distinct from new.phone_number
  )
  execute function identity.end_open_links();

-- The hash of another address would lead its owner into this account. An update of the address sets its hash with it; otherwise
-- the account is found only by the clear address until `plinth keys hash-emails`. Removing the clear address keeps the hash.
create or replace function identity.drop_stale_email_hash()
  returns trigger
  language plpgsql
  set search_path = pg_catalog
as $$
begin
  if new.hashed_email is not distinct from old.hashed_email then
    new.hashed_email := null;
  end if;
  return new;
end
$$;

comment on function identity.drop_stale_email_hash() is 'Trigger: clears the hash of the old address when the address changes.';

create or replace trigger _110_drop_stale_email_hash
  before update of email on identity.users
  for each row
  when (new.email is not null and new.email is distinct from old.email)
  execute function identity.drop_stale_email_hash();

-- A lower version would revive revoked tokens; an account that stops being active loses its tokens.
create or replace function identity.guard_token_version()
  returns trigger
  language plpgsql
  set search_path = pg_catalog
as $$
begin
  if new.account_status <> 'active' and old.account_status = 'active' then
    new.token_version := greatest(new.token_version, old.token_version + 1);
  end if;
  if new.token_version < old.token_version then
    raise exception 'A token version cannot decrease.'
      using errcode = 'PL422', schema = 'identity', table = 'users', column = 'token_version';
  end if;
  return new;
end
$$;

comment on function identity.guard_token_version() is
  'Trigger: rejects a lower token_version, and increments it when an account is disabled or deleted.';

create or replace trigger _200_guard_token_version
  before update of token_version, account_status on identity.users
  for each row
  execute function identity.guard_token_version();

-- An intruder may have created an API token. Events that revoke all access tokens (a changed password, logout everywhere, a
-- disabled account) therefore revoke the API tokens too.
create or replace function private.revoke_api_tokens_of_user()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
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

create or replace trigger _510_revoke_api_tokens
  after update on identity.users
  for each row
  when (new.token_version > old.token_version)
  execute function private.revoke_api_tokens_of_user();

-- Any deletion of an account clears the logs in the same transaction. Before the delete and with the account's row locked, so
-- that no new entries about it can appear in between.
create or replace function private.erase_traces_of_user()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
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

comment on function private.erase_traces_of_user() is
  'Trigger: clears the data about a deleted account from sign-in log, audit log and error log.';

create or replace trigger _600_erase_traces
  before delete on identity.users
  for each row
  execute function private.erase_traces_of_user();

create or replace function private.revoke_user_tokens()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
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

comment on function private.revoke_user_tokens() is
  'Trigger: revokes a user''s access tokens when token_version grows or the account is disabled or deleted.';

-- No "of token_version": the guard trigger raises it on its own when an account is disabled.
create or replace trigger _500_revoke_tokens
  after update on identity.users
  for each row
  when (new.token_version > old.token_version)
  execute function private.revoke_user_tokens();

create or replace trigger _500_revoke_tokens_of_deleted
  after delete on identity.users
  for each row
  execute function private.revoke_user_tokens();
--! EndIncluded identity/triggers/users.sql
--! Included identity/policies/account_deletions.sql
-- Written by functions only: no insert, update or delete. Administrators delete accounts separately (delete_user).
revoke all on identity.account_deletions from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on identity.account_deletions to :PLINTH_USER;

drop policy if exists select_own on identity.account_deletions;
create policy select_own on identity.account_deletions
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on identity.account_deletions is 'Users read the pending deletion of their own account.';
--! EndIncluded identity/policies/account_deletions.sql
--! Included identity/policies/api_tokens.sql
-- Users see their own tokens, users with manage_users see all. Functions create and revoke them: no other grant.
revoke all on identity.api_tokens from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on identity.api_tokens to :PLINTH_USER;

drop policy if exists select_own on identity.api_tokens;
create policy select_own on identity.api_tokens
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on identity.api_tokens is 'Users read the metadata of their own API tokens.';

drop policy if exists select_managed on identity.api_tokens;
create policy select_managed on identity.api_tokens
  for select to :PLINTH_USER
  using ((select access.has_permission('manage_users')));
comment on policy select_managed on identity.api_tokens is 'Users who manage users read API tokens, to find one to revoke.';
--! EndIncluded identity/policies/api_tokens.sql
--! Included identity/policies/consent_purposes.sql
-- Published purposes are public, before registration too; only their editors see drafts.
revoke all on identity.consent_purposes from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on identity.consent_purposes to :PLINTH_ANONYMOUS;
grant
  select,
  insert (name, version, title, text_url, required, published_at),
  update (title, text_url, required, published_at),
  delete
  on identity.consent_purposes to :PLINTH_USER;

drop policy if exists select_published on identity.consent_purposes;
create policy select_published on identity.consent_purposes
  for select to :PLINTH_ANONYMOUS, :PLINTH_USER
  using (published_at <= now());
comment on policy select_published on identity.consent_purposes is 'Everyone reads published purposes.';

drop policy if exists all_manager on identity.consent_purposes;
create policy all_manager on identity.consent_purposes
  for all to :PLINTH_USER
  using ((select access.has_permission('manage_consents')))
  with check ((select access.has_permission('manage_consents')));
comment on policy all_manager on identity.consent_purposes is 'Users with manage_consents write purposes and read drafts.';
--! EndIncluded identity/policies/consent_purposes.sql
--! Included identity/policies/consents.sql
-- Users see their own decisions. Only identity.give_consent and identity.withdraw_consent write; decisions are never changed.
revoke all on identity.consents from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on identity.consents to :PLINTH_USER;

drop policy if exists select_own on identity.consents;
create policy select_own on identity.consents
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on identity.consents is 'Users read their own decisions.';
--! EndIncluded identity/policies/consents.sql
--! Included identity/policies/data_exports.sql
-- Written by functions only: no insert, update or delete. No user reads another user's exports, administrators included.
revoke all on identity.data_exports from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on identity.data_exports to :PLINTH_USER;

drop policy if exists select_own on identity.data_exports;
create policy select_own on identity.data_exports
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on identity.data_exports is 'Users read the state of their own exports.';
--! EndIncluded identity/policies/data_exports.sql
--! Included identity/policies/data_rights_settings.sql
-- Clients show how long a deletion can be canceled. No insert and no delete: the table has one row.
revoke all on identity.data_rights_settings from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select, update (deletion_grace_period, export_lifetime) on identity.data_rights_settings to :PLINTH_USER;

drop policy if exists select_all on identity.data_rights_settings;
create policy select_all on identity.data_rights_settings
  for select to :PLINTH_USER
  using (true);
comment on policy select_all on identity.data_rights_settings is 'Every signed-in user reads the periods.';

drop policy if exists update_manager on identity.data_rights_settings;
create policy update_manager on identity.data_rights_settings
  for update to :PLINTH_USER
  using ((select access.has_permission('manage_security')))
  with check ((select access.has_permission('manage_security')));
comment on policy update_manager on identity.data_rights_settings is 'Users with manage_security set the periods.';
--! EndIncluded identity/policies/data_rights_settings.sql
--! Included identity/policies/mfa_factors.sql
-- Users see and name their own second factors. No insert and no delete: enrolling and removing need more than a row, see
-- private.confirm_totp, private.finish_passkey_registration and identity.remove_mfa_factor.
revoke all on identity.mfa_factors from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select, update (name) on identity.mfa_factors to :PLINTH_USER;

drop policy if exists select_own on identity.mfa_factors;
create policy select_own on identity.mfa_factors
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on identity.mfa_factors is 'Users read their own second factors.';

drop policy if exists update_own on identity.mfa_factors;
create policy update_own on identity.mfa_factors
  for update to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()))
  with check (user_id = (select plinth.current_user_id()));
comment on policy update_own on identity.mfa_factors is 'Users name their own second factors.';
--! EndIncluded identity/policies/mfa_factors.sql
--! Included identity/policies/oauth_profiles.sql
-- Users see which providers they can sign in with. No insert and no update: a row holds data from the provider, written by
-- private.finish_provider_sign_in and private.finish_provider_link. No delete: identity.unlink_provider first checks that
-- another way to sign in remains.
revoke all on identity.oauth_profiles from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on identity.oauth_profiles to :PLINTH_USER;

drop policy if exists select_own on identity.oauth_profiles;
create policy select_own on identity.oauth_profiles
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on identity.oauth_profiles is 'Users read their own accounts at other providers.';
--! EndIncluded identity/policies/oauth_profiles.sql
--! Included identity/policies/user_preferences.sql
-- Learned preferences are visible only to their owner, who may also delete them.
revoke all on identity.user_preferences from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant
  select,
  insert (preference_type, preference_key, preference_value, confidence),
  update (preference_value, confidence),
  delete
  on identity.user_preferences to :PLINTH_USER;

drop policy if exists all_own on identity.user_preferences;
create policy all_own on identity.user_preferences
  for all to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()))
  with check (user_id = (select plinth.current_user_id()));
comment on policy all_own on identity.user_preferences is 'Users read, write and delete their own preferences.';
--! EndIncluded identity/policies/user_preferences.sql
--! Included identity/policies/user_security_settings.sql
-- Sign-in rules belong to their owner alone. No insert and no delete: the row is created and deleted with the account.
revoke all on identity.user_security_settings from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select, update (session_timeout_minutes, allowed_networks) on identity.user_security_settings to :PLINTH_USER;

drop policy if exists select_own on identity.user_security_settings;
create policy select_own on identity.user_security_settings
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on identity.user_security_settings is 'Users read their own sign-in rules.';

drop policy if exists update_own on identity.user_security_settings;
create policy update_own on identity.user_security_settings
  for update to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()))
  with check (user_id = (select plinth.current_user_id()));
comment on policy update_own on identity.user_security_settings is 'Users change their own sign-in rules.';
--! EndIncluded identity/policies/user_security_settings.sql
--! Included identity/policies/user_sessions.sql
-- Users see and describe their own sessions. Sign-in creates them; functions end them together with their tokens.
revoke all on identity.user_sessions from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select, update (device_name, device_info) on identity.user_sessions to :PLINTH_USER;

drop policy if exists select_own on identity.user_sessions;
create policy select_own on identity.user_sessions
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on identity.user_sessions is 'Users read their own sessions.';

drop policy if exists update_own on identity.user_sessions;
create policy update_own on identity.user_sessions
  for update to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()))
  with check (user_id = (select plinth.current_user_id()));
comment on policy update_own on identity.user_sessions is 'Users name and describe their own sessions.';
--! EndIncluded identity/policies/user_sessions.sql
--! Included identity/policies/user_settings.sql
-- Settings belong to their owner alone. No insert and no delete: the row is created and deleted with the account.
revoke all on identity.user_settings from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant
  select,
  update (display_name, avatar_url, default_model_id, preferences, llm_provider, llm_endpoint, llm_model)
  on identity.user_settings to :PLINTH_USER;

drop policy if exists select_own on identity.user_settings;
create policy select_own on identity.user_settings
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on identity.user_settings is 'Users read their own settings.';

drop policy if exists update_own on identity.user_settings;
create policy update_own on identity.user_settings
  for update to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()))
  with check (user_id = (select plinth.current_user_id()));
comment on policy update_own on identity.user_settings is 'Users change their own settings.';
--! EndIncluded identity/policies/user_settings.sql
--! Included identity/policies/users.sql
-- An account is visible to its owner and to administrators. Other users see identity.profiles.
revoke all on identity.users from :PLINTH_ANONYMOUS, :PLINTH_USER;
-- No insert: private.register_user creates accounts. No e-mail, status or counters either: functions change those.
grant select, update (username, profile_data), delete on identity.users to :PLINTH_USER;
-- currentUser is null for a visitor instead of an error: the column is readable, no row is.
grant select on identity.users to :PLINTH_ANONYMOUS;

drop policy if exists select_own on identity.users;
create policy select_own on identity.users
  for select to :PLINTH_USER
  using (id = (select plinth.current_user_id()));
comment on policy select_own on identity.users is 'Users read their own account.';

drop policy if exists select_managed on identity.users;
create policy select_managed on identity.users
  for select to :PLINTH_USER
  using ((select access.has_permission('manage_users')) or (select access.has_permission('delete_user')));
comment on policy select_managed on identity.users is 'Users who may manage or delete users read all accounts.';

drop policy if exists update_own on identity.users;
create policy update_own on identity.users
  for update to :PLINTH_USER
  using (id = (select plinth.current_user_id()))
  with check (id = (select plinth.current_user_id()));
comment on policy update_own on identity.users is 'Users change their own name and profile.';

drop policy if exists delete_permitted on identity.users;
create policy delete_permitted on identity.users
  for delete to :PLINTH_USER
  using ((select access.has_permission('delete_user')) and access.may_administer(id));
comment on policy delete_permitted on identity.users is
  'Users with delete_user delete an account and all it owns, unless the account has permissions they lack.';
--! EndIncluded identity/policies/users.sql
--! Included identity/views/profiles.sql
-- Data that signed-in users may read about each other. It runs with the owner's rights on purpose: the table's policies hide
-- other accounts, this view shows the public columns of the active ones. Grain: one row per active account.
create or replace view identity.profiles
  with (security_barrier = true)
as
select
  u.id,
  u.username,
  s.display_name,
  s.avatar_url,
  u.created_at
from identity.users u
left join identity.user_settings s on s.user_id = u.id
where u.is_active;

comment on view identity.profiles is
  E'@primaryKey id\nPublic profiles. Grain: one row per active account, visible to every signed-in user.';
comment on column identity.profiles.id is 'Id of the account.';
comment on column identity.profiles.username is 'Unique name of the account.';
comment on column identity.profiles.display_name is 'Display name, or null.';
comment on column identity.profiles.avatar_url is 'URL (http or https) of the picture, or null.';
comment on column identity.profiles.created_at is 'Time the account was created.';
revoke all on identity.profiles from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on identity.profiles to :PLINTH_USER;
--! EndIncluded identity/views/profiles.sql
--! Included identity/views/user_security_status.sql
-- Security state of the caller's account in one row. Invoker rights, so the tables' policies apply; only the caller's own row,
-- because other users' sessions are hidden even from callers who may see their accounts, and hidden is not zero. Without claims
-- (the owner in psql) it shows all accounts. New columns are added at the end.
create or replace view identity.user_security_status
  with (security_invoker = true)
as
select
  u.id as user_id,
  u.account_status,
  u.is_verified,
  coalesce(u.locked_until > now(), false) as is_locked,
  u.locked_until,
  u.failed_login_attempts,
  u.last_login_at,
  u.password_changed_at,
  extract(day from now() - u.password_changed_at)::integer as password_age_days,
  (
    select count(*)
    from identity.user_sessions s
    where s.user_id = u.id and s.ended_at is null and s.expires_at > now()
  ) as live_sessions,
  exists (
    select
    from identity.mfa_factors f
    where f.user_id = u.id and f.confirmed_at is not null
  ) as mfa_enabled
from identity.users u
where u.id = plinth.current_user_id() or plinth.current_user_id() is null;

comment on view identity.user_security_status is
  E'@primaryKey user_id\n'
  '@foreignKey (user_id) references identity.users (id)|@fieldName user|@foreignFieldName securityStatus\n'
  'Sign-in state of accounts. Grain: one row per account. Users read their own.';
comment on column identity.user_security_status.user_id is 'The account.';
comment on column identity.user_security_status.account_status is 'State of the account: active, disabled or deleted.';
comment on column identity.user_security_status.is_verified is 'Whether the e-mail address is verified.';
comment on column identity.user_security_status.is_locked is 'Whether sign-in is locked now because of wrong passwords.';
comment on column identity.user_security_status.locked_until is 'Time the last lock ends or ended; null after a successful sign-in.';
comment on column identity.user_security_status.failed_login_attempts is 'Number of consecutive wrong passwords.';
comment on column identity.user_security_status.last_login_at is 'Time of the last successful sign-in.';
comment on column identity.user_security_status.password_changed_at is 'Time the password was set.';
comment on column identity.user_security_status.password_age_days is 'Whole days since the password was set.';
comment on column identity.user_security_status.live_sessions is 'Number of sessions that are signed in now.';
comment on column identity.user_security_status.mfa_enabled is 'Whether sign-in needs more than a password: the account has a confirmed second factor.';
revoke all on identity.user_security_status from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on identity.user_security_status to :PLINTH_USER;
--! EndIncluded identity/views/user_security_status.sql
