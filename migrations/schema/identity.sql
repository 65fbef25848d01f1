-- Schema identity as the migrations leave it. Generated (plinth schema dump): read it, do not edit it.

create schema identity;
comment on schema identity is 'Accounts, profiles, settings and sessions.';
grant usage on schema identity to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Types and sequences ---------------------------------------------------------------------------------

-- Scope of an API token.
create domain identity.api_token_scope as text
  constraint api_token_scope_check check (value = any (array['read'::text, 'write'::text]));

comment on domain identity.api_token_scope is 'Scope of an API token.';
comment on constraint api_token_scope_check on domain identity.api_token_scope is E'read: Reads.\nwrite: Writes; always together with read.';

-- An account and its live sessions.
create type identity.inspected_account as (
  user_id uuid,
  username text,
  email text,
  account_status text,
  is_verified boolean,
  has_second_factor boolean,
  failed_login_attempts integer,
  locked_until timestamp with time zone,
  last_login_at timestamp with time zone,
  created_at timestamp with time zone,
  roles text[],
  can_be_administered boolean,
  sessions identity.inspected_session[]
);

comment on type identity.inspected_account is 'An account and its live sessions.';

-- A live session of an inspected account.
create type identity.inspected_session as (
  id uuid,
  device_name text,
  ip_address inet,
  authentication_methods text[],
  created_at timestamp with time zone,
  last_activity_at timestamp with time zone,
  expires_at timestamp with time zone
);

comment on type identity.inspected_session is 'A live session of an inspected account.';

-- Tables ----------------------------------------------------------------------------------------------

-- One row per account with a pending deletion request; deleted when the request is canceled, or with the account.
create table identity.account_deletions (
  user_id uuid not null,
  requested_at timestamp with time zone not null default now(),
  due_at timestamp with time zone not null,
  attempts integer not null default 0,
  next_attempt_at timestamp with time zone not null,
  last_failure text,
  constraint account_deletions_pkey primary key (user_id),
  constraint account_deletions_attempts_are_not_negative check (attempts >= 0),
  constraint account_deletions_due_after_request check (due_at >= requested_at),
  constraint account_deletions_user_id_fkey foreign key (user_id) references identity.users(id) on delete cascade
);

alter table identity.account_deletions enable row level security;

create index account_deletions_next_attempt_at_idx on identity.account_deletions using btree (next_attempt_at);

create trigger _300_keep_last_administrator
  after insert on identity.account_deletions
  for each row
  execute function private.keep_last_administrator_account('user_id');

comment on table identity.account_deletions is 'One row per account with a pending deletion request; deleted when the request is canceled, or with the account.';
comment on column identity.account_deletions.user_id is 'The account.';
comment on column identity.account_deletions.requested_at is 'Time of the request.';
comment on column identity.account_deletions.due_at is 'Time from which the account is deleted; the deletion can be canceled until then.';
comment on column identity.account_deletions.attempts is 'Number of attempts that failed.';
comment on column identity.account_deletions.next_attempt_at is 'Time of the next attempt.';
comment on column identity.account_deletions.last_failure is E'@behavior -*\n@dataExport omit: it would tell of a legal hold\nSQLSTATE of the last failed attempt, and the table and constraint that prevent the deletion, if any; null if none failed.';
comment on constraint account_deletions_user_id_fkey on identity.account_deletions is '@foreignFieldName deletion';

create policy select_own on identity.account_deletions
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on identity.account_deletions is 'Users read the pending deletion of their own account.';

grant select on identity.account_deletions to :PLINTH_USER;

-- One row per API token; kept for 90 days after it was revoked or expired.
create table identity.api_tokens (
  id uuid not null default plinth.uuid_v7(),
  user_id uuid not null,
  name text not null,
  token_prefix text not null,
  scopes text[] not null,
  created_at timestamp with time zone not null default now(),
  expires_at timestamp with time zone not null,
  last_used_at timestamp with time zone,
  last_used_ip inet,
  revoked_at timestamp with time zone,
  constraint api_tokens_pkey primary key (id),
  constraint api_tokens_expire_within_366_days check (expires_at > created_at and expires_at <= (created_at + '366 days'::interval)),
  constraint api_tokens_name_check check (length(name) >= 1 and length(name) <= 100 and name !~ '[[:cntrl:]]'::text and trim(both from name) <> ''::text),
  constraint api_tokens_scopes_are_read_or_both check (scopes = array['read'::text] or scopes = array['read'::text, 'write'::text]),
  constraint api_tokens_token_prefix_check check (token_prefix ~ '^pla_[A-Za-z0-9_-]{8}$'::text),
  constraint api_tokens_user_id_fkey foreign key (user_id) references identity.users(id) on delete cascade
);

alter table identity.api_tokens enable row level security;

create index api_tokens_expires_at_idx on identity.api_tokens using btree (expires_at);
create index api_tokens_revoked_at_idx on identity.api_tokens using btree (revoked_at) where (revoked_at is not null);
create index api_tokens_user_id_created_at_idx on identity.api_tokens using btree (user_id, created_at desc);

create trigger _500_revoke
  after update of revoked_at on identity.api_tokens
  for each row
  when (old.revoked_at is null and new.revoked_at is not null)
  execute function private.revoke_api_token();
create trigger _500_revoke_deleted
  after delete on identity.api_tokens
  for each row
  when (old.revoked_at is null and old.expires_at > now())
  execute function private.revoke_api_token();

comment on table identity.api_tokens is 'One row per API token; kept for 90 days after it was revoked or expired.';
comment on column identity.api_tokens.id is 'Id (UUIDv7).';
comment on column identity.api_tokens.user_id is 'The user whose identity the token uses.';
comment on column identity.api_tokens.name is 'Name given by the user, 1 to 100 characters.';
comment on column identity.api_tokens.token_prefix is 'Start of the token, for recognizing it: pla_ and 8 of its 43 random characters.';
comment on column identity.api_tokens.scopes is 'Scopes: read, or read and write. Without write, its transactions are read-only.';
comment on column identity.api_tokens.created_at is 'Time when the token was created.';
comment on column identity.api_tokens.expires_at is 'Time when the token expires; at most 366 days after it was created.';
comment on column identity.api_tokens.last_used_at is 'Time of the last use, to the minute; null if never used.';
comment on column identity.api_tokens.last_used_ip is 'IP address of the last use.';
comment on column identity.api_tokens.revoked_at is 'Time when the token was revoked; null if not revoked.';

create policy select_managed on identity.api_tokens
  for select to :PLINTH_USER
  using ((select access.has_permission('manage_users'::text)));
comment on policy select_managed on identity.api_tokens is 'Users who manage users read API tokens, to find one to revoke.';
create policy select_own on identity.api_tokens
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on identity.api_tokens is 'Users read the metadata of their own API tokens.';

grant select on identity.api_tokens to :PLINTH_USER;

-- One row per consent purpose and version of its text. A published version never changes.
create table identity.consent_purposes (
  name text not null,
  version integer not null,
  title text not null,
  text_url text not null,
  required boolean not null default false,
  published_at timestamp with time zone,
  created_at timestamp with time zone not null default now(),
  constraint consent_purposes_pkey primary key (name, version),
  constraint consent_purposes_name_check check (name ~ '^[a-z][a-z0-9_]{0,99}$'::text),
  constraint consent_purposes_text_url_check check (text_url ~ '^https?://[^[:space:]]+$'::text and length(text_url) <= 2048),
  constraint consent_purposes_title_check check (length(title) >= 1 and length(title) <= 200 and title !~ '[[:cntrl:]]'::text),
  constraint consent_purposes_version_check check (version >= 1 and version <= 1000000)
);

alter table identity.consent_purposes enable row level security;

create trigger _100_guard_published
  before delete or update on identity.consent_purposes
  for each row
  when (old.published_at <= now())
  execute function identity.guard_published_purpose();

comment on table identity.consent_purposes is 'One row per consent purpose and version of its text. A published version never changes.';
comment on column identity.consent_purposes.name is 'Name of the purpose, such as newsletter; lower case letters, digits and underscores.';
comment on column identity.consent_purposes.version is 'Version number of the text; the highest published version is current.';
comment on column identity.consent_purposes.title is 'Question to the user, in one line.';
comment on column identity.consent_purposes.text_url is 'URL (http or https) of the full text.';
comment on column identity.consent_purposes.required is 'Whether the product requires the consent; the application enforces it.';
comment on column identity.consent_purposes.published_at is 'Time from which the version applies and cannot be changed; null for a draft.';
comment on column identity.consent_purposes.created_at is 'Time when the row was created.';

create policy all_manager on identity.consent_purposes
  for all to :PLINTH_USER
  using ((select access.has_permission('manage_consents'::text)))
  with check ((select access.has_permission('manage_consents'::text)));
comment on policy all_manager on identity.consent_purposes is 'Users with manage_consents write purposes and read drafts.';
create policy select_published on identity.consent_purposes
  for select to :PLINTH_ANONYMOUS, :PLINTH_USER
  using (published_at <= now());
comment on policy select_published on identity.consent_purposes is 'Everyone reads published purposes.';

grant
  select,
  insert (name, version, title, text_url, required, published_at),
  update (title, text_url, required, published_at),
  delete
  on identity.consent_purposes to :PLINTH_USER;
grant select on identity.consent_purposes to :PLINTH_ANONYMOUS;

-- One row per decision of a user on a purpose. Append-only; the latest decision applies.
create table identity.consents (
  id uuid not null default plinth.uuid_v7(),
  user_id uuid not null,
  purpose text not null,
  version integer not null,
  granted_at timestamp with time zone,
  withdrawn_at timestamp with time zone,
  decided_at timestamp with time zone not null generated always as (coalesce(granted_at, withdrawn_at)) stored,
  ip_address inet,
  user_agent text,
  constraint consents_pkey primary key (id),
  constraint consents_grant_or_withdraw check (num_nonnulls(granted_at, withdrawn_at) = 1),
  constraint consents_user_agent_check check (length(user_agent) <= 1000),
  constraint consents_purpose_version_fkey foreign key (purpose, version) references identity.consent_purposes(name, version) on delete restrict,
  constraint consents_user_id_fkey foreign key (user_id) references identity.users(id) on delete cascade
);

alter table identity.consents enable row level security;

create index consents_purpose_version_idx on identity.consents using btree (purpose, version);
create unique index consents_user_id_purpose_decided_at_key on identity.consents using btree (user_id, purpose, decided_at);

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
comment on constraint consents_purpose_version_fkey on identity.consents is E'@fieldName consentPurpose\n@foreignFieldName consents\nThe version of the text that the user decided on.';

create policy select_own on identity.consents
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on identity.consents is 'Users read their own decisions.';

grant select on identity.consents to :PLINTH_USER;

-- One row per export of a user's own data.
create table identity.data_exports (
  id uuid not null default plinth.uuid_v7(),
  user_id uuid not null,
  status text not null default 'pending'::text,
  requested_at timestamp with time zone not null default now(),
  completed_at timestamp with time zone,
  expires_at timestamp with time zone,
  size_bytes bigint not null default 0,
  tables text[] not null default '{}'::text[],
  last_table text,
  attempts integer not null default 0,
  next_attempt_at timestamp with time zone not null default now(),
  constraint data_exports_pkey primary key (id),
  constraint data_exports_id_user_id_key unique (id, user_id),
  constraint data_exports_attempts_are_not_negative check (attempts >= 0),
  constraint data_exports_ready_with_times check ((status = any (array['ready'::text, 'expired'::text])) = (completed_at is not null and expires_at is not null)),
  constraint data_exports_size_bytes_is_not_negative check (size_bytes >= 0),
  constraint data_exports_status_check check (status = any (array['pending'::text, 'ready'::text, 'failed'::text, 'expired'::text])),
  constraint data_exports_user_id_fkey foreign key (user_id) references identity.users(id) on delete cascade
);

alter table identity.data_exports enable row level security;

create index data_exports_expires_at_idx on identity.data_exports using btree (expires_at) where (status = 'ready'::text);
create index data_exports_next_attempt_at_idx on identity.data_exports using btree (next_attempt_at) where (status = 'pending'::text);
create unique index data_exports_one_pending_idx on identity.data_exports using btree (user_id) where (status = 'pending'::text);
create index data_exports_user_id_requested_at_idx on identity.data_exports using btree (user_id, requested_at);

comment on table identity.data_exports is 'One row per export of a user''s own data.';
comment on column identity.data_exports.id is 'Id (UUIDv7); the last part of the download path, /exports/<id>.';
comment on column identity.data_exports.user_id is 'The user whose data it contains; only this user may read it.';
comment on column identity.data_exports.status is 'State: pending (being written), ready (can be downloaded), failed or expired (deleted).';
comment on column identity.data_exports.requested_at is 'Time of the request.';
comment on column identity.data_exports.completed_at is 'Time when the export became ready.';
comment on column identity.data_exports.expires_at is 'Time from which the export can no longer be downloaded.';
comment on column identity.data_exports.size_bytes is 'Size written so far, in bytes of UTF-8.';
comment on column identity.data_exports.tables is 'Tables in the export, by schema and name.';
comment on column identity.data_exports.last_table is 'Last table that was written or found empty; a job that was killed continues after it.';
comment on column identity.data_exports.attempts is 'Number of attempts that failed.';
comment on column identity.data_exports.next_attempt_at is 'Time of the next attempt.';
comment on constraint data_exports_status_check on identity.data_exports is E'Status of a data export.\npending: Being written.\nready: Can be downloaded.\nfailed: Could not be written.\nexpired: Deleted; request a new one.';
comment on constraint data_exports_user_id_fkey on identity.data_exports is '@foreignFieldName dataExports';

create policy select_own on identity.data_exports
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on identity.data_exports is 'Users read the state of their own exports.';

grant select on identity.data_exports to :PLINTH_USER;

-- One row: how long a deletion can be canceled and an export can be downloaded.
create table identity.data_rights_settings (
  id boolean not null default true,
  deletion_grace_period interval not null default '14 days'::interval,
  export_lifetime interval not null default '7 days'::interval,
  updated_at timestamp with time zone not null default now(),
  constraint data_rights_settings_pkey primary key (id),
  constraint data_rights_settings_are_one_row check (id),
  constraint data_rights_settings_deletion_grace_period_check check (deletion_grace_period >= '00:00:00'::interval and deletion_grace_period <= '90 days'::interval),
  constraint data_rights_settings_export_lifetime_check check (export_lifetime >= '01:00:00'::interval and export_lifetime <= '90 days'::interval)
);

alter table identity.data_rights_settings enable row level security;

create trigger _700_record_data_change
  after insert or delete or update on identity.data_rights_settings
  for each row
  execute function private.record_data_change('id', '', 'updated_at', '');
create trigger _900_touch_updated_at
  before update on identity.data_rights_settings
  for each row
  execute function plinth.touch_updated_at();

comment on table identity.data_rights_settings is 'One row: how long a deletion can be canceled and an export can be downloaded.';
comment on column identity.data_rights_settings.id is 'Always true: the table has one row.';
comment on column identity.data_rights_settings.deletion_grace_period is 'Time between the request for deletion and the deletion, in which the owner can cancel it.';
comment on column identity.data_rights_settings.export_lifetime is 'Time that a finished export can be downloaded.';
comment on column identity.data_rights_settings.updated_at is 'Time of the last change.';

create policy select_all on identity.data_rights_settings
  for select to :PLINTH_USER
  using (true);
comment on policy select_all on identity.data_rights_settings is 'Every signed-in user reads the periods.';
create policy update_manager on identity.data_rights_settings
  for update to :PLINTH_USER
  using ((select access.has_permission('manage_security'::text)))
  with check ((select access.has_permission('manage_security'::text)));
comment on policy update_manager on identity.data_rights_settings is 'Users with manage_security set the periods.';

grant
  select,
  update (deletion_grace_period, export_lifetime)
  on identity.data_rights_settings to :PLINTH_USER;

-- One row per second factor of an account: an authenticator app or a passkey.
create table identity.mfa_factors (
  id uuid not null default plinth.uuid_v7(),
  user_id uuid not null,
  kind text not null,
  name text not null,
  created_at timestamp with time zone not null default now(),
  confirmed_at timestamp with time zone,
  last_used_at timestamp with time zone,
  constraint mfa_factors_pkey primary key (id),
  constraint mfa_factors_kind_check check (kind = any (array['totp'::text, 'passkey'::text])),
  constraint mfa_factors_name_check check (length(name) >= 1 and length(name) <= 100 and name !~ '[[:cntrl:]]'::text),
  constraint mfa_factors_used_once_confirmed check (last_used_at is null or confirmed_at is not null),
  constraint mfa_factors_user_id_fkey foreign key (user_id) references identity.users(id) on delete cascade
);

alter table identity.mfa_factors enable row level security;

create index mfa_factors_unconfirmed_idx on identity.mfa_factors using btree (created_at) where (confirmed_at is null);
create index mfa_factors_user_id_idx on identity.mfa_factors using btree (user_id);

comment on table identity.mfa_factors is E'@behavior -insert -delete\nOne row per second factor of an account: an authenticator app or a passkey.';
comment on column identity.mfa_factors.id is 'Id (UUIDv7).';
comment on column identity.mfa_factors.user_id is 'The owner of the factor.';
comment on column identity.mfa_factors.kind is 'Kind of factor: totp (authenticator app) or passkey.';
comment on column identity.mfa_factors.name is 'Name given by the owner, 1 to 100 characters.';
comment on column identity.mfa_factors.created_at is 'Time when enrolment started.';
comment on column identity.mfa_factors.confirmed_at is 'Time when the factor was first verified; null if it is not active yet.';
comment on column identity.mfa_factors.last_used_at is 'Time when the factor was last accepted, for a sign-in or to confirm a change.';
comment on constraint mfa_factors_kind_check on identity.mfa_factors is E'Kind of a second factor.\ntotp: An authenticator app.\npasskey: A passkey.';

create policy select_own on identity.mfa_factors
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on identity.mfa_factors is 'Users read their own second factors.';
create policy update_own on identity.mfa_factors
  for update to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()))
  with check (user_id = (select plinth.current_user_id()));
comment on policy update_own on identity.mfa_factors is 'Users name their own second factors.';

grant select, update (name) on identity.mfa_factors to :PLINTH_USER;

-- One row per linked account at another provider that can be used to sign in; at most one per user and provider.
create table identity.oauth_profiles (
  id uuid not null default plinth.uuid_v7(),
  user_id uuid not null,
  provider text not null,
  provider_user_id text not null,
  email text,
  email_verified boolean not null default false,
  user_info jsonb not null default '{}'::jsonb,
  token_expires_at timestamp with time zone,
  last_used_at timestamp with time zone,
  created_at timestamp with time zone not null default now(),
  updated_at timestamp with time zone not null default now(),
  constraint oauth_profiles_pkey primary key (id),
  constraint oauth_profiles_provider_provider_user_id_key unique (provider, provider_user_id),
  constraint oauth_profiles_user_id_provider_key unique (user_id, provider),
  constraint oauth_profiles_email_check check (length(email) >= 3 and length(email) <= 254),
  constraint oauth_profiles_provider_check check (provider ~ '^[a-z][a-z0-9_-]{0,49}$'::text),
  constraint oauth_profiles_provider_user_id_check check (length(provider_user_id) >= 1 and length(provider_user_id) <= 255),
  constraint oauth_profiles_user_info_is_a_small_object check (jsonb_typeof(user_info) = 'object'::text and octet_length(user_info::text) <= 16384),
  constraint oauth_profiles_verified_email_is_there check (email is not null or not email_verified),
  constraint oauth_profiles_user_id_fkey foreign key (user_id) references identity.users(id) on delete cascade
);

alter table identity.oauth_profiles enable row level security;

create trigger _900_touch_updated_at
  before update on identity.oauth_profiles
  for each row
  execute function plinth.touch_updated_at();

comment on table identity.oauth_profiles is 'One row per linked account at another provider that can be used to sign in; at most one per user and provider.';
comment on column identity.oauth_profiles.id is 'Id (UUIDv7).';
comment on column identity.oauth_profiles.user_id is 'The account it signs in to.';
comment on column identity.oauth_profiles.provider is 'Name of the provider in the settings (PLINTH_OAUTH_PROVIDERS).';
comment on column identity.oauth_profiles.provider_user_id is 'The sub claim of the account at the provider: unique there and never reassigned.';
comment on column identity.oauth_profiles.email is 'Latest address reported by the provider, lower case. It is not the account''s address and proves nothing.';
comment on column identity.oauth_profiles.email_verified is 'Whether the provider reports the address as verified.';
comment on column identity.oauth_profiles.user_info is 'Latest claims reported by the provider (JSON object of strings, at most 16 kB): name, given_name, family_name, preferred_username, picture, locale.';
comment on column identity.oauth_profiles.token_expires_at is 'Time when the provider''s access token expires; null if the provider did not report it.';
comment on column identity.oauth_profiles.last_used_at is 'Time of the last sign-in with it; null if not used since it was linked.';
comment on column identity.oauth_profiles.created_at is 'Time when it was linked.';
comment on column identity.oauth_profiles.updated_at is 'Time of the last change.';

create policy select_own on identity.oauth_profiles
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on identity.oauth_profiles is 'Users read their own accounts at other providers.';

grant select on identity.oauth_profiles to :PLINTH_USER;

-- Learned preferences: one row per user, type and key.
create table identity.user_preferences (
  id uuid not null default plinth.uuid_v7(),
  user_id uuid not null default plinth.current_user_id(),
  preference_type text not null,
  preference_key text not null,
  preference_value jsonb not null,
  confidence double precision not null default 1,
  created_at timestamp with time zone not null default now(),
  updated_at timestamp with time zone not null default now(),
  constraint user_preferences_pkey primary key (id),
  constraint user_preferences_user_id_preference_type_preference_key_key unique (user_id, preference_type, preference_key),
  constraint user_preferences_confidence_check check (confidence >= 0::double precision and confidence <= 1::double precision),
  constraint user_preferences_preference_key_check check (length(preference_key) >= 1 and length(preference_key) <= 200),
  constraint user_preferences_preference_type_check check (length(preference_type) >= 1 and length(preference_type) <= 100),
  constraint user_preferences_preference_value_is_a_value check (preference_value <> 'null'::jsonb),
  constraint user_preferences_user_id_fkey foreign key (user_id) references identity.users(id) on delete cascade
);

alter table identity.user_preferences enable row level security;

create trigger _900_touch_updated_at
  before update on identity.user_preferences
  for each row
  execute function plinth.touch_updated_at();

comment on table identity.user_preferences is 'Learned preferences: one row per user, type and key.';
comment on column identity.user_preferences.id is 'Id (UUIDv7).';
comment on column identity.user_preferences.user_id is 'The user.';
comment on column identity.user_preferences.preference_type is 'Group of the preference, such as tone or topic.';
comment on column identity.user_preferences.preference_key is 'Name of the preference within the group.';
comment on column identity.user_preferences.preference_value is 'Value of the preference (JSON).';
comment on column identity.user_preferences.confidence is 'Confidence of the application, from 0.0 to 1.0.';
comment on column identity.user_preferences.created_at is 'Time when the preference was first learned.';
comment on column identity.user_preferences.updated_at is 'Time of the last change.';
comment on constraint user_preferences_preference_value_is_a_value on identity.user_preferences is 'A preference must have a value. To remove it, delete the row.';

create policy all_own on identity.user_preferences
  for all to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()))
  with check (user_id = (select plinth.current_user_id()));
comment on policy all_own on identity.user_preferences is 'Users read, write and delete their own preferences.';

grant
  select,
  insert (preference_type, preference_key, preference_value, confidence),
  update (preference_value, confidence),
  delete
  on identity.user_preferences to :PLINTH_USER;

-- One row per user: rules for the user's own sign-ins.
create table identity.user_security_settings (
  user_id uuid not null,
  session_timeout_minutes integer,
  allowed_networks cidr[],
  created_at timestamp with time zone not null default now(),
  updated_at timestamp with time zone not null default now(),
  constraint user_security_settings_pkey primary key (user_id),
  constraint user_security_settings_allowed_networks_check check (cardinality(allowed_networks) >= 1 and cardinality(allowed_networks) <= 50 and array_position(allowed_networks, null::cidr) is null),
  constraint user_security_settings_session_timeout_minutes_check check (session_timeout_minutes >= 5 and session_timeout_minutes <= 43200),
  constraint user_security_settings_user_id_fkey foreign key (user_id) references identity.users(id) on delete cascade
);

alter table identity.user_security_settings enable row level security;

create trigger _100_check
  before update on identity.user_security_settings
  for each row
  execute function identity.check_security_settings();
create trigger _100_replace_defaults
  before insert on identity.user_security_settings
  for each row
  execute function identity.replace_default_settings();
create trigger _500_audit
  after update on identity.user_security_settings
  for each row
  when (old.* is distinct from new.*)
  execute function identity.audit_security_settings();
create trigger _700_record_data_change
  after insert or delete or update on identity.user_security_settings
  for each row
  execute function private.record_data_change('user_id', 'user_id', 'updated_at', '');
create trigger _900_touch_updated_at
  before update on identity.user_security_settings
  for each row
  execute function plinth.touch_updated_at();

comment on table identity.user_security_settings is 'One row per user: rules for the user''s own sign-ins.';
comment on column identity.user_security_settings.user_id is 'The user.';
comment on column identity.user_security_settings.session_timeout_minutes is 'Idle time in minutes after which a session ends (5 to 43200); null for the default of 30 days.';
comment on column identity.user_security_settings.allowed_networks is 'Networks (CIDR) from which sign-in, refresh and API tokens are accepted; null for any network.';
comment on column identity.user_security_settings.created_at is 'Time when the row was created.';
comment on column identity.user_security_settings.updated_at is 'Time of the last change.';

create policy select_own on identity.user_security_settings
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on identity.user_security_settings is 'Users read their own sign-in rules.';
create policy update_own on identity.user_security_settings
  for update to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()))
  with check (user_id = (select plinth.current_user_id()));
comment on policy update_own on identity.user_security_settings is 'Users change their own sign-in rules.';

grant
  select,
  update (session_timeout_minutes, allowed_networks)
  on identity.user_security_settings to :PLINTH_USER;

-- One row per signed-in device; kept for 90 days after the session ended.
create table identity.user_sessions (
  id uuid not null default plinth.uuid_v7(),
  user_id uuid not null,
  device_name text,
  created_at timestamp with time zone not null default now(),
  expires_at timestamp with time zone not null default now() + '90 days'::interval,
  last_activity_at timestamp with time zone not null default now(),
  ended_at timestamp with time zone,
  end_reason text,
  is_active boolean not null generated always as (ended_at is null) stored,
  ip_address inet,
  user_agent text,
  device_info jsonb not null default '{}'::jsonb,
  security_context jsonb not null default '{}'::jsonb,
  authentication_methods text[] not null default '{}'::text[],
  authenticated_at timestamp with time zone not null default now(),
  constraint user_sessions_pkey primary key (id),
  constraint user_sessions_id_user_id_key unique (id, user_id),
  constraint user_sessions_authentication_methods_are_known check (authentication_methods <@ array['pwd'::text, 'otp'::text, 'hwk'::text, 'swk'::text, 'fed'::text, 'mfa'::text]),
  constraint user_sessions_authentication_methods_check check (cardinality(authentication_methods) <= 10 and array_position(authentication_methods, null::text) is null),
  constraint user_sessions_device_info_is_an_object check (jsonb_typeof(device_info) = 'object'::text),
  constraint user_sessions_device_info_is_small check (octet_length(device_info::text) <= 2048),
  constraint user_sessions_device_name_check check (length(device_name) >= 1 and length(device_name) <= 100 and device_name !~ '[[:cntrl:]]'::text),
  constraint user_sessions_end_reason_check check (end_reason = any (array['logout'::text, 'logout_everywhere'::text, 'ended_by_user'::text, 'ended_by_administrator'::text, 'password_changed'::text, 'token_reuse'::text, 'account_disabled'::text, 'account_deletion'::text, 'expired'::text])),
  constraint user_sessions_ended_with_a_reason check ((ended_at is null) = (end_reason is null)),
  constraint user_sessions_security_context_is_an_object check (jsonb_typeof(security_context) = 'object'::text),
  constraint user_sessions_user_id_fkey foreign key (user_id) references identity.users(id) on delete cascade
);

alter table identity.user_sessions enable row level security;

create index user_sessions_ended_at_idx on identity.user_sessions using btree (ended_at) where (ended_at is not null);
create index user_sessions_expires_at_idx on identity.user_sessions using btree (expires_at) where (ended_at is null);
create index user_sessions_last_activity_at_idx on identity.user_sessions using btree (last_activity_at) where (ended_at is null);
create index user_sessions_user_id_created_at_idx on identity.user_sessions using btree (user_id, created_at desc);

create trigger _100_describe
  before insert on identity.user_sessions
  for each row
  execute function identity.describe_session();
create trigger _100_note_address
  before update of ip_address on identity.user_sessions
  for each row
  when (new.ip_address is not null and new.ip_address is distinct from old.ip_address)
  execute function identity.describe_session();
create trigger _500_record_network_change
  after update of ip_address on identity.user_sessions
  for each row
  when (old.ip_address is not null and new.ip_address is not null and old.ip_address <> new.ip_address and network(set_masklen(old.ip_address,
        case family(old.ip_address)
            when 4 then 16
            else 32
        end))::inet <> network(set_masklen(new.ip_address,
        case family(new.ip_address)
            when 4 then 16
            else 32
        end))::inet) execute function private.record_session_network_change();
create trigger _500_revoke_tokens
  after update of ended_at on identity.user_sessions
  for each row
  when (old.ended_at is null and new.ended_at is not null)
  execute function private.revoke_session_tokens();
create trigger _500_revoke_tokens_of_deleted
  after delete on identity.user_sessions
  for each row
  when (old.ended_at is null)
  execute function private.revoke_session_tokens();

comment on table identity.user_sessions is 'One row per signed-in device; kept for 90 days after the session ended.';
comment on column identity.user_sessions.id is 'Id (UUIDv7); the sid claim of the session''s access tokens.';
comment on column identity.user_sessions.user_id is 'The signed-in user.';
comment on column identity.user_sessions.device_name is 'Name given at sign-in or later by the user, 1 to 100 characters.';
comment on column identity.user_sessions.created_at is 'Time of sign-in.';
comment on column identity.user_sessions.expires_at is 'Time when the session ends at the latest; a refresh does not extend it.';
comment on column identity.user_sessions.last_activity_at is 'Time of the last sign-in, refresh or request, to the minute.';
comment on column identity.user_sessions.ended_at is 'Time when the session ended; null while it is active.';
comment on column identity.user_sessions.end_reason is 'Reason the session ended: logout, logout_everywhere, ended_by_user, ended_by_administrator, password_changed, token_reuse, account_disabled or expired.';
comment on column identity.user_sessions.is_active is 'Whether the session has not been ended.';
comment on column identity.user_sessions.ip_address is 'IP address of the last sign-in, refresh or recorded request.';
comment on column identity.user_sessions.user_agent is 'User-Agent header of the last sign-in or refresh.';
comment on column identity.user_sessions.device_info is 'Platform and browser from the User-Agent header, and details added by the application (JSON object, at most 2 kB).';
comment on column identity.user_sessions.security_context is 'IP address of the sign-in (sign_in_address), and the last five IP addresses with their first use (addresses) (JSON object).';
comment on column identity.user_sessions.authentication_methods is 'Methods used to sign in, as amr values of RFC 8176: pwd, otp, hwk, fed; empty for sessions older than the column.';
comment on column identity.user_sessions.authenticated_at is 'Time when the user last proved their identity in this session.';
comment on constraint user_sessions_authentication_methods_are_known on identity.user_sessions is E'@name authentication_method\nMethod used to sign in, as an amr value of RFC 8176.\npwd: Password.\notp: One-time code, including recovery codes.\nhwk: Passkey that is bound to a device.\nswk: Passkey that is synchronized between devices.\nfed: Another provider.\nmfa: More than one factor.';
comment on constraint user_sessions_end_reason_check on identity.user_sessions is E'@name session_end_reason\nReason a session ended.\nlogout: The user signed out of it.\nlogout_everywhere: The user signed out everywhere.\nended_by_user: The user ended it from another session.\nended_by_administrator: An administrator ended it.\npassword_changed: The password was changed or reset.\ntoken_reuse: A refresh token was used twice, so it may have been copied.\naccount_disabled: The account was disabled.\naccount_deletion: The account is being deleted.\nexpired: It was idle for too long or reached its maximum age.';

create policy select_own on identity.user_sessions
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on identity.user_sessions is 'Users read their own sessions.';
create policy update_own on identity.user_sessions
  for update to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()))
  with check (user_id = (select plinth.current_user_id()));
comment on policy update_own on identity.user_sessions is 'Users name and describe their own sessions.';

grant select, update (device_name, device_info) on identity.user_sessions to :PLINTH_USER;

-- One row per user: settings that the user edits.
create table identity.user_settings (
  user_id uuid not null,
  display_name text,
  avatar_url text,
  default_model_id uuid,
  preferences jsonb not null default '{}'::jsonb,
  llm_provider text,
  llm_endpoint text,
  llm_model text,
  created_at timestamp with time zone not null default now(),
  updated_at timestamp with time zone not null default now(),
  constraint user_settings_pkey primary key (user_id),
  constraint user_settings_avatar_url_check check (avatar_url ~ '^https?://[^[:space:]]+$'::text and length(avatar_url) <= 2048),
  constraint user_settings_display_name_check check (length(display_name) >= 1 and length(display_name) <= 100 and display_name !~ '[[:cntrl:]]'::text),
  constraint user_settings_llm_endpoint_check check (llm_endpoint ~ '^https?://[^[:space:]]+$'::text and length(llm_endpoint) <= 2048),
  constraint user_settings_llm_model_check check (length(llm_model) >= 1 and length(llm_model) <= 200),
  constraint user_settings_llm_provider_check check (length(llm_provider) >= 1 and length(llm_provider) <= 100),
  constraint user_settings_preferences_is_an_object check (jsonb_typeof(preferences) = 'object'::text),
  constraint user_settings_default_model_id_fkey foreign key (default_model_id) references llm.models(id) on delete set null,
  constraint user_settings_user_id_fkey foreign key (user_id) references identity.users(id) on delete cascade
);

alter table identity.user_settings enable row level security;

create index user_settings_default_model_id_idx on identity.user_settings using btree (default_model_id);

create trigger _100_check_default_model
  before update of default_model_id on identity.user_settings
  for each row
  when (new.default_model_id is not null and new.default_model_id is distinct from old.default_model_id)
  execute function identity.check_default_model();
create trigger _100_replace_defaults
  before insert on identity.user_settings
  for each row
  execute function identity.replace_default_settings();
create trigger _400_model_keys
  after update of llm_endpoint on identity.user_settings
  for each row
  when (new.llm_endpoint is distinct from old.llm_endpoint)
  execute function private.delete_own_model_key();
create trigger _700_record_data_change
  after insert or delete or update on identity.user_settings
  for each row
  execute function private.record_data_change('user_id', 'user_id', 'updated_at', 'preferences,llm_endpoint');
create trigger _900_touch_updated_at
  before update on identity.user_settings
  for each row
  execute function plinth.touch_updated_at();

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

create policy select_own on identity.user_settings
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on identity.user_settings is 'Users read their own settings.';
create policy update_own on identity.user_settings
  for update to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()))
  with check (user_id = (select plinth.current_user_id()));
comment on policy update_own on identity.user_settings is 'Users change their own settings.';

grant
  select,
  update (display_name, avatar_url, default_model_id, preferences, llm_provider, llm_endpoint, llm_model)
  on identity.user_settings to :PLINTH_USER;

-- One row per account. Other users see only its public profile.
create table identity.users (
  id uuid not null default plinth.uuid_v7(),
  username text not null,
  email text,
  account_status text not null default 'active'::text,
  is_active boolean not null generated always as (account_status = 'active'::text) stored,
  email_verified_at timestamp with time zone,
  is_verified boolean not null generated always as (email_verified_at is not null) stored,
  token_version integer not null default 1,
  failed_login_attempts integer not null default 0,
  locked_until timestamp with time zone,
  last_login_at timestamp with time zone,
  password_changed_at timestamp with time zone,
  profile_data jsonb not null default '{}'::jsonb,
  metadata jsonb not null default '{}'::jsonb,
  created_at timestamp with time zone not null default now(),
  updated_at timestamp with time zone not null default now(),
  hashed_email bytea,
  phone_number text,
  phone_verified_at timestamp with time zone,
  has_irregular_address boolean not null default false,
  constraint users_pkey primary key (id),
  constraint users_email_key unique (email),
  constraint users_hashed_email_key unique (hashed_email),
  constraint users_phone_number_key unique (phone_number),
  constraint users_username_key unique (username),
  constraint users_account_status_check check (account_status = any (array['active'::text, 'disabled'::text, 'deleted'::text])),
  constraint users_email_check check (email is null or has_irregular_address or (email = plinth.normalize_email(email)) is true),
  constraint users_failed_login_attempts_is_not_negative check (failed_login_attempts >= 0),
  constraint users_hashed_email_is_hmac_sha256 check (octet_length(hashed_email) = 32),
  constraint users_metadata_is_an_object check (jsonb_typeof(metadata) = 'object'::text),
  constraint users_phone_number_check check (phone_number ~ '^\+[1-9][0-9]{6,14}$'::text),
  constraint users_phone_number_is_verified check ((phone_number is null) = (phone_verified_at is null)),
  constraint users_profile_data_is_an_object check (jsonb_typeof(profile_data) = 'object'::text),
  constraint users_token_version_is_positive check (token_version > 0),
  constraint users_username_check check (username ~ '^[a-z0-9]([a-z0-9_.-]{0,98}[a-z0-9])?$'::text and length(username) >= 2)
);

alter table identity.users enable row level security;

create index users_created_at_idx on identity.users using btree (created_at);
create index users_is_active_idx on identity.users using btree (is_active);

create trigger _100_begin_erasure
  before delete on identity.users
  for each row
  execute function private.begin_erasure();
create trigger _100_normalize
  before insert or update of username, email, has_irregular_address on identity.users
  for each row
  execute function identity.normalize_user();
create trigger _110_drop_stale_email_hash
  before update of email on identity.users
  for each row
  when (new.email is not null and new.email is distinct from old.email)
  execute function identity.drop_stale_email_hash();
create trigger _120_drop_stale_email_proof
  before update on identity.users
  for each row
  when (old.email is distinct from new.email or old.hashed_email is distinct from new.hashed_email)
  execute function identity.drop_stale_email_proof();
create trigger _200_guard_token_version
  before update of token_version, account_status on identity.users
  for each row
  execute function identity.guard_token_version();
create trigger _300_keep_last_administrator
  after update on identity.users
  for each row
  when (old.is_active and not new.is_active)
  execute function private.keep_last_administrator_account('id');
create trigger _300_leave_rooms
  before delete on identity.users
  for each row
  execute function private.leave_rooms_of_user();
create trigger _400_insert_settings
  after insert on identity.users
  for each row
  execute function identity.insert_settings();
create trigger _500_revoke_tokens
  after update on identity.users
  for each row
  when (new.token_version > old.token_version)
  execute function private.revoke_user_tokens();
create trigger _500_revoke_tokens_of_deleted
  after delete on identity.users
  for each row
  execute function private.revoke_user_tokens();
create trigger _510_revoke_api_tokens
  after update on identity.users
  for each row
  when (new.token_version > old.token_version)
  execute function private.revoke_api_tokens_of_user();
create trigger _600_end_open_links
  after update on identity.users
  for each row
  when (old.email is distinct from new.email or old.hashed_email is distinct from new.hashed_email or old.phone_number is distinct from new.phone_number)
  execute function identity.end_open_links();
create trigger _600_erase_traces
  before delete on identity.users
  for each row
  execute function private.erase_traces_of_user();
create trigger _610_erase_personal_data_reads
  before delete on identity.users
  for each row
  execute function private.erase_personal_data_reads();
create trigger _700_forget_data_changes
  before delete on identity.users
  for each row
  execute function private.forget_data_changes();
create trigger _700_record_data_change
  after insert or delete or update of id, username, email, hashed_email, has_irregular_address, email_verified_at, phone_number, phone_verified_at, account_status, token_version, password_changed_at, profile_data, metadata, created_at on identity.users
  for each row
  execute function private.record_data_change('id', 'id', 'failed_login_attempts,locked_until,last_login_at,updated_at,is_active,is_verified', 'email,hashed_email,phone_number,profile_data,metadata');
create trigger _900_certify_erasure
  after delete on identity.users
  for each row
  execute function private.certify_erasure();
create trigger _900_measure_erasure
  before delete on identity.users
  for each row
  execute function private.measure_erasure();
create trigger _900_touch_updated_at
  before update on identity.users
  for each row
  execute function plinth.touch_updated_at('is_active', 'is_verified');

comment on table identity.users is 'One row per account. Other users see only its public profile.';
comment on column identity.users.id is 'Id (UUIDv7); sorts by time of registration.';
comment on column identity.users.username is 'Unique name: lower case letters, digits, dot, underscore and hyphen, 2 to 100 characters.';
comment on column identity.users.email is 'Unique e-mail address, lower case; null if only a keyed hash may be stored.';
comment on column identity.users.account_status is 'State: active, disabled (by an administrator) or deleted (soft).';
comment on column identity.users.is_active is 'Whether account_status is active.';
comment on column identity.users.email_verified_at is 'Time when the owner verified the address; null if never verified.';
comment on column identity.users.is_verified is 'Whether the address is verified.';
comment on column identity.users.token_version is 'Version of access tokens. Raising it revokes all earlier access tokens; it is never lowered.';
comment on column identity.users.failed_login_attempts is 'Number of wrong passwords since the last successful sign-in.';
comment on column identity.users.locked_until is 'Time until which sign-in is locked; null or in the past if not locked.';
comment on column identity.users.last_login_at is 'Time of the last successful sign-in.';
comment on column identity.users.password_changed_at is 'Time when the password was last set.';
comment on column identity.users.profile_data is 'Profile that the user enters, for the application (JSON object).';
comment on column identity.users.metadata is 'Data that the application stores about the account (JSON object).';
comment on column identity.users.created_at is 'Time when the account was created.';
comment on column identity.users.updated_at is 'Time of the last change.';
comment on column identity.users.hashed_email is E'@behavior -*\nHMAC-SHA256 of the address under this installation''s key; finds accounts that store no address.';
comment on column identity.users.phone_number is 'Unique number in E.164 format (+ and digits), verified by a code; null if none.';
comment on column identity.users.phone_verified_at is 'Time when the owner verified the number.';
comment on column identity.users.has_irregular_address is E'@behavior -*\nWhether the address predates normalization and has no normalized form: it is invalid, or another account has the same form.';
comment on constraint users_hashed_email_key on identity.users is '@behavior -*';
comment on constraint users_phone_number_key on identity.users is '@behavior -query:resource:single';
comment on constraint users_account_status_check on identity.users is E'@name account_status\nStatus of an account.\nactive: Can sign in.\ndisabled: Disabled by an administrator.\ndeleted: Deleted; its data is removed later.';

create policy delete_permitted on identity.users
  for delete to :PLINTH_USER
  using ((select access.has_permission('delete_user'::text)) and access.may_administer(id));
comment on policy delete_permitted on identity.users is 'Users with delete_user delete an account and all it owns, unless the account has permissions they lack. A trigger asks for a recent sign-in.';
create policy select_managed on identity.users
  for select to :PLINTH_USER
  using ((select access.has_permission('manage_users'::text)) or (select access.has_permission('delete_user'::text)));
comment on policy select_managed on identity.users is 'Users who may manage or delete users read all accounts.';
create policy select_own on identity.users
  for select to :PLINTH_USER
  using (id = (select plinth.current_user_id()));
comment on policy select_own on identity.users is 'Users read their own account.';
create policy update_own on identity.users
  for update to :PLINTH_USER
  using (id = (select plinth.current_user_id()))
  with check (id = (select plinth.current_user_id()));
comment on policy update_own on identity.users is 'Users change their own name and profile.';

grant select on identity.users to :PLINTH_ANONYMOUS;
grant select, update (username, profile_data), delete on identity.users to :PLINTH_USER;

-- Views -----------------------------------------------------------------------------------------------

-- Ids that the caller's rows had in the system they were imported from. Grain: one row per id.
create view identity.my_external_ids with (security_invoker=true) as
 select system,
    relation,
    external_id,
    row_id,
    user_id
   from plinth.external_ids e;

comment on view identity.my_external_ids is E'@name external_ids\n@primaryKey system,relation,external_id\nIds that the caller''s rows had in the system they were imported from. Grain: one row per id.';
comment on column identity.my_external_ids.system is 'The other system: headphone, socializer, rovertchat, cedrina, ai_training or another name.';
comment on column identity.my_external_ids.relation is 'Name of the table in the other system, such as users or chats.';
comment on column identity.my_external_ids.external_id is 'Id of the row in the other system.';
comment on column identity.my_external_ids.row_id is E'@notNull\nId of the row here.';
comment on column identity.my_external_ids.user_id is 'The user that the row belongs to: the caller.';

grant select on identity.my_external_ids to :PLINTH_USER;

-- Public profiles. Grain: one row per active account, visible to every signed-in user.
create view identity.profiles with (security_barrier=true) as
 select u.id,
    u.username,
    s.display_name,
    s.avatar_url,
    u.created_at
   from identity.users u
     left join identity.user_settings s on s.user_id = u.id
  where u.is_active;

comment on view identity.profiles is E'@primaryKey id\nPublic profiles. Grain: one row per active account, visible to every signed-in user.';
comment on column identity.profiles.id is 'Id of the account.';
comment on column identity.profiles.username is 'Unique name of the account.';
comment on column identity.profiles.display_name is 'Display name, or null.';
comment on column identity.profiles.avatar_url is 'URL (http or https) of the picture, or null.';
comment on column identity.profiles.created_at is 'Time the account was created.';

grant select on identity.profiles to :PLINTH_USER;

-- Sign-in state of accounts. Grain: one row per account. Users read their own.
create view identity.user_security_status with (security_invoker=true) as
 select id as user_id,
    account_status,
    is_verified,
    coalesce(locked_until > now(), false) as is_locked,
    locked_until,
    failed_login_attempts,
    last_login_at,
    password_changed_at,
    extract(day from now() - password_changed_at)::integer as password_age_days,
    ( select count(*) as count
           from identity.user_sessions s
          where s.user_id = u.id and s.ended_at is null and s.expires_at > now()) as live_sessions,
    (exists ( select
           from identity.mfa_factors f
          where f.user_id = u.id and f.confirmed_at is not null)) as mfa_enabled
   from identity.users u
  where id = plinth.current_user_id() or plinth.current_user_id() is null;

comment on view identity.user_security_status is E'@primaryKey user_id\n@foreignKey (user_id) references identity.users (id)|@fieldName user|@foreignFieldName securityStatus\nSign-in state of accounts. Grain: one row per account. Users read their own.';
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

grant select on identity.user_security_status to :PLINTH_USER;

-- Functions -------------------------------------------------------------------------------------------

-- Trigger: writes security_settings_changed with old and new values to the audit log.
create or replace function identity.audit_security_settings()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/triggers/user_security_settings.sql

comment on function identity.audit_security_settings() is 'Trigger: writes security_settings_changed with old and new values to the audit log.';
revoke execute on function identity.audit_security_settings() from public;

-- Cancels the pending deletion of the signed-in account and returns the canceled deletion; PL404 if none is pending.
create or replace function identity.cancel_account_deletion()
  returns identity.account_deletions
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/functions/cancel_account_deletion.sql

comment on function identity.cancel_account_deletion() is 'Cancels the pending deletion of the signed-in account and returns the canceled deletion; PL404 if none is pending.';
revoke execute on function identity.cancel_account_deletion() from public;
grant execute on function identity.cancel_account_deletion() to :PLINTH_USER;

-- Trigger: the default model must be one the user may use. PL404 otherwise.
create or replace function identity.check_default_model()
  returns trigger
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/identity/triggers/user_settings.sql

comment on function identity.check_default_model() is 'Trigger: the default model must be one the user may use. PL404 otherwise.';
revoke execute on function identity.check_default_model() from public;

-- Trigger: allows only a person to change sign-in rules, and rejects an accidental lockout. PL403, PL422.
create or replace function identity.check_security_settings()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/triggers/user_security_settings.sql

comment on function identity.check_security_settings() is 'Trigger: allows only a person to change sign-in rules, and rejects an accidental lockout. PL403, PL422.';
revoke execute on function identity.check_security_settings() from public;

-- Returns the newest published version of each purpose.
create or replace function identity.current_consent_purposes()
  returns setof identity.consent_purposes
  language sql
  stable rows 10
  set search_path to 'pg_catalog'; -- fixtures/identity/functions/current_consent_purposes.sql

comment on function identity.current_consent_purposes() is 'Returns the newest published version of each purpose.';
revoke execute on function identity.current_consent_purposes() from public;
grant execute on function identity.current_consent_purposes() to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Requests the deletion of the signed-in account after the grace period; ends its other sessions and API tokens at once. A repeated call returns the pending deletion. Needs a recent sign-in (PL403 otherwise); PL409 for the last administrator.
create or replace function identity.delete_my_account()
  returns identity.account_deletions
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/functions/delete_my_account.sql

comment on function identity.delete_my_account() is 'Requests the deletion of the signed-in account after the grace period; ends its other sessions and API tokens at once. A repeated call returns the pending deletion. Needs a recent sign-in (PL403 otherwise); PL409 for the last administrator.';
revoke execute on function identity.delete_my_account() from public;
grant execute on function identity.delete_my_account() to :PLINTH_USER;

-- Trigger: fills device_info from the User-Agent header, and keeps the last five addresses in security_context.
create or replace function identity.describe_session()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/triggers/user_sessions.sql

comment on function identity.describe_session() is 'Trigger: fills device_info from the User-Agent header, and keeps the last five addresses in security_context.';
revoke execute on function identity.describe_session() from public;

-- Trigger: clears the hash of the old address when the address changes.
create or replace function identity.drop_stale_email_hash()
  returns trigger
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/identity/triggers/users.sql

comment on function identity.drop_stale_email_hash() is 'Trigger: clears the hash of the old address when the address changes.';
revoke execute on function identity.drop_stale_email_hash() from public;

-- Trigger: clears the proof of the old address when the address changes.
create or replace function identity.drop_stale_email_proof()
  returns trigger
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/identity/triggers/users.sql

comment on function identity.drop_stale_email_proof() is 'Trigger: clears the proof of the old address when the address changes.';
revoke execute on function identity.drop_stale_email_proof() from public;

-- Trigger: revokes the account's open links, codes and password resets when its address or phone number changes.
create or replace function identity.end_open_links()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/triggers/users.sql

comment on function identity.end_open_links() is 'Trigger: revokes the account''s open links, codes and password resets when its address or phone number changes.';
revoke execute on function identity.end_open_links() from public;

-- Ends all other sessions of the signed-in user and their tokens at once; returns how many.
create or replace function identity.end_other_sessions()
  returns integer
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/functions/end_other_sessions.sql

comment on function identity.end_other_sessions() is 'Ends all other sessions of the signed-in user and their tokens at once; returns how many.';
revoke execute on function identity.end_other_sessions() from public;
grant execute on function identity.end_other_sessions() to :PLINTH_USER;

-- Ends one of the signed-in user's own sessions; PL404 for an unknown or ended session.
create or replace function identity.end_session(session_id uuid)
  returns identity.user_sessions
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/functions/end_session.sql

comment on function identity.end_session(session_id uuid) is 'Ends one of the signed-in user''s own sessions; PL404 for an unknown or ended session.';
revoke execute on function identity.end_session(session_id uuid) from public;
grant execute on function identity.end_session(session_id uuid) to :PLINTH_USER;

-- Ends all sessions and tokens of an account at once; returns how many sessions. Needs manage_users and every permission of the account (PL403); PL404 for an unknown account.
create or replace function identity.end_user_sessions(user_id uuid)
  returns integer
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/functions/end_user_sessions.sql

comment on function identity.end_user_sessions(user_id uuid) is 'Ends all sessions and tokens of an account at once; returns how many sessions. Needs manage_users and every permission of the account (PL403); PL404 for an unknown account.';
revoke execute on function identity.end_user_sessions(user_id uuid) from public;
grant execute on function identity.end_user_sessions(user_id uuid) to :PLINTH_USER;

-- Records consent to a purpose in its current version. PL404 for an unknown purpose or version, PL409 when there is a newer version.
create or replace function identity.give_consent(purpose text, version integer)
  returns identity.consents
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/functions/give_consent.sql

comment on function identity.give_consent(purpose text, version integer) is 'Records consent to a purpose in its current version. PL404 for an unknown purpose or version, PL409 when there is a newer version.';
revoke execute on function identity.give_consent(purpose text, version integer) from public;
grant execute on function identity.give_consent(purpose text, version integer) to :PLINTH_USER;

-- Trigger: rejects changes to a published version of a purpose. PL409.
create or replace function identity.guard_published_purpose()
  returns trigger
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/identity/triggers/consent_purposes.sql

comment on function identity.guard_published_purpose() is 'Trigger: rejects changes to a published version of a purpose. PL409.';
revoke execute on function identity.guard_published_purpose() from public;

-- Trigger: rejects a lower token_version, and increments it when an account is disabled or deleted.
create or replace function identity.guard_token_version()
  returns trigger
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/identity/triggers/users.sql

comment on function identity.guard_token_version() is 'Trigger: rejects a lower token_version, and increments it when an account is disabled or deleted.';
revoke execute on function identity.guard_token_version() from public;

-- Returns whether the signed-in user's latest decision on a purpose is a consent to its current version.
create or replace function identity.has_consent(purpose text)
  returns boolean
  language sql
  stable
  set search_path to 'pg_catalog'; -- fixtures/identity/functions/has_consent.sql

comment on function identity.has_consent(purpose text) is 'Returns whether the signed-in user''s latest decision on a purpose is a consent to its current version.';
revoke execute on function identity.has_consent(purpose text) from public;
grant execute on function identity.has_consent(purpose text) to :PLINTH_USER;

-- Trigger: inserts the settings rows of a new account.
create or replace function identity.insert_settings()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/triggers/users.sql

comment on function identity.insert_settings() is 'Trigger: inserts the settings rows of a new account.';
revoke execute on function identity.insert_settings() from public;

-- Returns an account and its live sessions by username, address or id; null if there is none. Each call is recorded in the audit log. Addresses of the sessions need view_audit_log, too. Needs manage_users (PL403).
create or replace function identity.inspect_account(identifier text)
  returns identity.inspected_account
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/functions/inspect_account.sql

comment on function identity.inspect_account(identifier text) is 'Returns an account and its live sessions by username, address or id; null if there is none. Each call is recorded in the audit log. Addresses of the sessions need view_audit_log, too. Needs manage_users (PL403).';
revoke execute on function identity.inspect_account(identifier text) from public;
grant execute on function identity.inspect_account(identifier text) to :PLINTH_USER;

-- Returns whether an account's address, clear or hashed, differs between two versions of its row.
create or replace function identity.is_another_address(old_user identity.users, new_user identity.users)
  returns boolean
  language sql
  immutable
  set search_path to 'pg_catalog'; -- fixtures/identity/functions/is_another_address.sql

comment on function identity.is_another_address(old_user identity.users, new_user identity.users) is E'@behavior -*\nReturns whether an account''s address, clear or hashed, differs between two versions of its row.';
revoke execute on function identity.is_another_address(old_user identity.users, new_user identity.users) from public;

-- Ends the current session and its access and refresh tokens at once; returns false if it had already ended.
create or replace function identity.logout()
  returns boolean
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/functions/logout.sql

comment on function identity.logout() is 'Ends the current session and its access and refresh tokens at once; returns false if it had already ended.';
revoke execute on function identity.logout() from public;
grant execute on function identity.logout() to :PLINTH_USER;

-- Ends all sessions of the signed-in user, including the current one; returns how many.
create or replace function identity.logout_everywhere()
  returns integer
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/functions/logout_everywhere.sql

comment on function identity.logout_everywhere() is 'Ends all sessions of the signed-in user, including the current one; returns how many.';
revoke execute on function identity.logout_everywhere() from public;
grant execute on function identity.logout_everywhere() to :PLINTH_USER;

-- Trigger: stores the username and the e-mail address in their normal form.
create or replace function identity.normalize_user()
  returns trigger
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/identity/triggers/users.sql

comment on function identity.normalize_user() is 'Trigger: stores the username and the e-mail address in their normal form.';
revoke execute on function identity.normalize_user() from public;

-- Returns the number of the signed-in user's unused recovery codes.
create or replace function identity.recovery_codes_left()
  returns integer
  language sql
  stable security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/functions/recovery_codes_left.sql

comment on function identity.recovery_codes_left() is 'Returns the number of the signed-in user''s unused recovery codes.';
revoke execute on function identity.recovery_codes_left() from public;
grant execute on function identity.recovery_codes_left() to :PLINTH_USER;

-- Removes one of the signed-in user's own second factors. Needs a recent sign-in (PL403 otherwise); PL404 for an unknown factor, PL409 when no way to sign in, or only a short password, would remain.
create or replace function identity.remove_mfa_factor(factor_id uuid)
  returns identity.mfa_factors
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/functions/remove_mfa_factor.sql

comment on function identity.remove_mfa_factor(factor_id uuid) is 'Removes one of the signed-in user''s own second factors. Needs a recent sign-in (PL403 otherwise); PL404 for an unknown factor, PL409 when no way to sign in, or only a short password, would remain.';
revoke execute on function identity.remove_mfa_factor(factor_id uuid) from public;
grant execute on function identity.remove_mfa_factor(factor_id uuid) to :PLINTH_USER;

-- Trigger: inserted settings replace the account's default ones.
create or replace function identity.replace_default_settings()
  returns trigger
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/identity/functions/replace_default_settings.sql

comment on function identity.replace_default_settings() is 'Trigger: inserted settings replace the account''s default ones.';
revoke execute on function identity.replace_default_settings() from public;

-- Requests an export of the signed-in user's own data; a job writes it, and status reports when it is ready. Returns the pending export if there is one. Needs a recent sign-in (PL403 otherwise); PL429 after five requests a day.
create or replace function identity.request_data_export()
  returns identity.data_exports
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/functions/request_data_export.sql

comment on function identity.request_data_export() is 'Requests an export of the signed-in user''s own data; a job writes it, and status reports when it is ready. Returns the pending export if there is one. Needs a recent sign-in (PL403 otherwise); PL429 after five requests a day.';
revoke execute on function identity.request_data_export() from public;
grant execute on function identity.request_data_export() to :PLINTH_USER;

-- Revokes an API token at once and everywhere: the caller's own, or with manage_users any user's. PL404 for an unknown or inactive token.
create or replace function identity.revoke_api_token(id uuid)
  returns identity.api_tokens
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/functions/revoke_api_token.sql

comment on function identity.revoke_api_token(id uuid) is 'Revokes an API token at once and everywhere: the caller''s own, or with manage_users any user''s. PL404 for an unknown or inactive token.';
revoke execute on function identity.revoke_api_token(id uuid) from public;
grant execute on function identity.revoke_api_token(id uuid) to :PLINTH_USER;

-- Disables, enables or soft-deletes an account. Needs manage_users and every permission of the account (PL403); PL404 for an unknown account.
create or replace function identity.set_account_status(user_id uuid, account_status text)
  returns identity.users
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/functions/set_account_status.sql

comment on function identity.set_account_status(user_id uuid, account_status text) is 'Disables, enables or soft-deletes an account. Needs manage_users and every permission of the account (PL403); PL404 for an unknown account.';
revoke execute on function identity.set_account_status(user_id uuid, account_status text) from public;
grant execute on function identity.set_account_status(user_id uuid, account_status text) to :PLINTH_USER;

-- Sets the networks from which the user may sign in, refresh and use API tokens; null, the default, allows any. PL422 when the caller's address is not in them, unless forced.
create or replace function identity.set_allowed_networks(networks cidr[] default null::cidr[], force boolean default false)
  returns identity.user_security_settings
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/identity/functions/set_allowed_networks.sql

comment on function identity.set_allowed_networks(networks cidr[], force boolean) is 'Sets the networks from which the user may sign in, refresh and use API tokens; null, the default, allows any. PL422 when the caller''s address is not in them, unless forced.';
revoke execute on function identity.set_allowed_networks(networks cidr[], force boolean) from public;
grant execute on function identity.set_allowed_networks(networks cidr[], force boolean) to :PLINTH_USER;

-- Unlinks a provider from the signed-in account and deletes its tokens. Needs a recent sign-in (PL403 otherwise); PL409 if it is the only way to sign in, PL404 if it is not linked.
create or replace function identity.unlink_provider(provider text)
  returns identity.oauth_profiles
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/functions/unlink_provider.sql

comment on function identity.unlink_provider(provider text) is 'Unlinks a provider from the signed-in account and deletes its tokens. Needs a recent sign-in (PL403 otherwise); PL409 if it is the only way to sign in, PL404 if it is not linked.';
revoke execute on function identity.unlink_provider(provider text) from public;
grant execute on function identity.unlink_provider(provider text) to :PLINTH_USER;

-- Unlocks a locked account at once. Needs manage_users and every permission of the account (PL403); PL404 for an unknown account.
create or replace function identity.unlock_account(user_id uuid)
  returns identity.users
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/functions/unlock_account.sql

comment on function identity.unlock_account(user_id uuid) is 'Unlocks a locked account at once. Needs manage_users and every permission of the account (PL403); PL404 for an unknown account.';
revoke execute on function identity.unlock_account(user_id uuid) from public;
grant execute on function identity.unlock_account(user_id uuid) to :PLINTH_USER;

-- Returns whether this is the session of the access token in use.
create or replace function identity.user_sessions_is_current(s identity.user_sessions)
  returns boolean
  language sql
  stable parallel safe; -- fixtures/identity/functions/user_sessions_is_current.sql

comment on function identity.user_sessions_is_current(s identity.user_sessions) is 'Returns whether this is the session of the access token in use.';
revoke execute on function identity.user_sessions_is_current(s identity.user_sessions) from public;
grant execute on function identity.user_sessions_is_current(s identity.user_sessions) to :PLINTH_USER;

-- Returns the purposes to whose current version the user has not consented; empty for users other than the caller.
create or replace function identity.users_missing_consents(u identity.users)
  returns setof identity.consent_purposes
  language sql
  stable rows 10
  set search_path to 'pg_catalog'; -- fixtures/identity/functions/users_missing_consents.sql

comment on function identity.users_missing_consents(u identity.users) is 'Returns the purposes to whose current version the user has not consented; empty for users other than the caller.';
revoke execute on function identity.users_missing_consents(u identity.users) from public;
grant execute on function identity.users_missing_consents(u identity.users) to :PLINTH_USER;

-- Returns the account's highest-ranking role that has not expired; guest without a role.
create or replace function identity.users_role(u identity.users)
  returns text
  language plpgsql
  stable parallel safe
  set search_path to 'pg_catalog'; -- fixtures/identity/functions/users_role.sql

comment on function identity.users_role(u identity.users) is 'Returns the account''s highest-ranking role that has not expired; guest without a role.';
revoke execute on function identity.users_role(u identity.users) from public;
grant execute on function identity.users_role(u identity.users) to :PLINTH_USER;

-- Returns the code of the account's current plan (trialing, active or past_due), or free.
create or replace function identity.users_tier(u identity.users)
  returns text
  language plpgsql
  stable parallel safe
  set search_path to 'pg_catalog'; -- fixtures/billing/functions/users_tier.sql

comment on function identity.users_tier(u identity.users) is 'Returns the code of the account''s current plan (trialing, active or past_due), or free.';
revoke execute on function identity.users_tier(u identity.users) from public;
grant execute on function identity.users_tier(u identity.users) to :PLINTH_USER;

-- Returns the signed-in account, or null.
create or replace function identity.viewer()
  returns identity.users
  language sql
  stable; -- fixtures/identity/functions/viewer.sql

comment on function identity.viewer() is E'@name currentUser\nReturns the signed-in account, or null.';
revoke execute on function identity.viewer() from public;
grant execute on function identity.viewer() to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Withdraws a consent to any version. PL404 without a consent.
create or replace function identity.withdraw_consent(purpose text)
  returns identity.consents
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/identity/functions/withdraw_consent.sql

comment on function identity.withdraw_consent(purpose text) is 'Withdraws a consent to any version. PL404 without a consent.';
revoke execute on function identity.withdraw_consent(purpose text) from public;
grant execute on function identity.withdraw_consent(purpose text) to :PLINTH_USER;
