--! Previous: sha1:ba80a692e1b9bf334e4d47a07884bddc4b8e3a27
--! Hash: sha1:fa2bc3a4716fdc8429726810805c1ced4bce3cc3
--! Message: identity

-- Who the users are, what they set, and where they are signed in. Secrets are not here: see `private`.

-- An account. Usernames and addresses are kept in lower case (by trigger), so that "Ada" and "ada" are one person and
-- plain comparison is right for every client.
create table identity.users (
  id uuid primary key default plinth.uuid_v7(),
  username text not null,
  email text,
  account_status text not null default 'active',
  -- Derived, for the documented queries that ask for a boolean; the status is the fact.
  is_active boolean not null generated always as (account_status = 'active') stored,
  email_verified_at timestamptz,
  is_verified boolean not null generated always as (email_verified_at is not null) stored,
  -- Every access token carries the version it was made under; a higher one here kills them all.
  token_version integer not null default 1,
  failed_login_attempts integer not null default 0,
  locked_until timestamptz,
  last_login_at timestamptz,
  password_changed_at timestamptz,
  profile_data jsonb not null default '{}',
  metadata jsonb not null default '{}',
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint users_username_key unique (username),
  constraint users_email_key unique (email),
  constraint users_username_check
    check (username ~ '^[a-z0-9]([a-z0-9_.-]{0,98}[a-z0-9])?$' and length(username) >= 2),
  constraint users_email_check
    check (email ~ '^[^@[:space:][:cntrl:]]+@[^@[:space:][:cntrl:]]+$' and length(email) <= 254 and email = lower(email)),
  constraint users_account_status_check check (account_status in ('active', 'disabled', 'deleted')),
  constraint users_token_version_is_positive check (token_version > 0),
  constraint users_failed_login_attempts_is_not_negative check (failed_login_attempts >= 0),
  constraint users_profile_data_is_an_object check (jsonb_typeof(profile_data) = 'object'),
  constraint users_metadata_is_an_object check (jsonb_typeof(metadata) = 'object')
);

alter table identity.users enable row level security;

-- Admins list the newest accounts and the ones that are not active; the documents ask for both.
create index users_created_at_idx on identity.users (created_at);
create index users_is_active_idx on identity.users (is_active);

comment on table identity.users is 'One row per account. Others see only its public profile.';
comment on column identity.users.id is 'UUIDv7: sorts by the time of registration.';
comment on column identity.users.username is 'Unique name, lower case letters, digits, dot, underscore and hyphen, 2 to 100 characters.';
comment on column identity.users.email is 'Unique address, lower case; null where only a keyed hash may be kept.';
comment on column identity.users.account_status is 'active, disabled (by an administrator) or deleted (soft).';
comment on column identity.users.is_active is 'Whether account_status is active.';
comment on column identity.users.email_verified_at is 'When the owner proved to read mail at the address; null if never.';
comment on column identity.users.is_verified is 'Whether the address was verified.';
comment on column identity.users.token_version is 'Raised to end all access tokens made before; never lowered.';
comment on column identity.users.failed_login_attempts is 'Wrong passwords since the last successful sign-in.';
comment on column identity.users.locked_until is 'No sign-in succeeds before this time; null or past when not locked.';
comment on column identity.users.last_login_at is 'Time of the last successful sign-in.';
comment on column identity.users.password_changed_at is 'When the password was last set.';
comment on column identity.users.profile_data is 'What the user tells about themselves, for the application (JSON object).';
comment on column identity.users.metadata is 'What the application keeps about the account (JSON object).';
comment on column identity.users.created_at is 'When the account was made.';
comment on column identity.users.updated_at is 'When the row last changed.';

-- One row per user from registration on: the settings a person edits.
create table identity.user_settings (
  user_id uuid primary key references identity.users on delete cascade,
  display_name text,
  avatar_url text,
  -- Tied to llm.models by the migration that makes it.
  default_model_id uuid,
  preferences jsonb not null default '{}',
  -- The user's own model server, for products that let people bring one. Its API key is not kept here.
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

comment on table identity.user_settings is 'One row per user: settings the user edits.';
comment on column identity.user_settings.user_id is 'Whose settings.';
comment on column identity.user_settings.display_name is 'Name shown to others, 1 to 100 characters.';
comment on column identity.user_settings.avatar_url is 'http(s) address of the picture shown to others.';
comment on column identity.user_settings.default_model_id is 'Model that a new chat starts with, or null.';
comment on column identity.user_settings.preferences is 'Free-form settings of the application (JSON object).';
comment on column identity.user_settings.llm_provider is 'Name of the user''s own model provider, or null.';
comment on column identity.user_settings.llm_endpoint is 'http(s) address of the user''s own model server, or null.';
comment on column identity.user_settings.llm_model is 'Model asked for at the user''s own server, or null.';
comment on column identity.user_settings.created_at is 'When the row was made.';
comment on column identity.user_settings.updated_at is 'When the row last changed.';

-- What an assistant has learnt about a user, with how sure it is.
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
  constraint user_preferences_confidence_check check (confidence between 0 and 1)
);

alter table identity.user_preferences enable row level security;

comment on table identity.user_preferences is 'Learnt preferences: one row per user, type and key.';
comment on column identity.user_preferences.id is 'UUIDv7.';
comment on column identity.user_preferences.user_id is 'Whose preference.';
comment on column identity.user_preferences.preference_type is 'Group, such as tone or topic.';
comment on column identity.user_preferences.preference_key is 'Name within the group.';
comment on column identity.user_preferences.preference_value is 'The preference itself (JSON).';
comment on column identity.user_preferences.confidence is 'How sure the application is, 0.0 to 1.0.';
comment on column identity.user_preferences.created_at is 'When it was first learnt.';
comment on column identity.user_preferences.updated_at is 'When it last changed.';

-- Rules a user sets for their own sign-ins. They bind in private.finish_login and private.rotate_refresh_token.
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

comment on table identity.user_security_settings is 'One row per user: rules for their own sign-ins.';
comment on column identity.user_security_settings.user_id is 'Whose rules.';
comment on column identity.user_security_settings.session_timeout_minutes is
  'A session unused for this many minutes ends (5 to 43200); null means the default of 30 days.';
comment on column identity.user_security_settings.allowed_networks is
  'Sign-in and refresh only from these networks (CIDR); null means from anywhere.';
comment on column identity.user_security_settings.created_at is 'When the row was made.';
comment on column identity.user_security_settings.updated_at is 'When the row last changed.';

-- A signed-in device. Its refresh tokens are in private.refresh_tokens; ending the session ends them all.
create table identity.user_sessions (
  id uuid primary key default plinth.uuid_v7(),
  user_id uuid not null references identity.users on delete cascade,
  device_name text,
  created_at timestamptz not null default now(),
  -- The absolute limit: refreshing does not extend it.
  expires_at timestamptz not null default now() + interval '90 days',
  last_activity_at timestamptz not null default now(),
  ended_at timestamptz,
  end_reason text,
  is_active boolean not null generated always as (ended_at is null) stored,
  ip_address inet,
  user_agent text,
  device_info jsonb not null default '{}',
  security_context jsonb not null default '{}',
  -- Lets other tables tie their own user_id to the session's.
  constraint user_sessions_id_user_id_key unique (id, user_id),
  constraint user_sessions_device_name_check
    check (length(device_name) between 1 and 100 and device_name !~ '[[:cntrl:]]'),
  constraint user_sessions_end_reason_check
    check (end_reason in ('logout', 'logout_everywhere', 'ended_by_user', 'password_changed', 'token_reuse', 'account_disabled', 'expired')),
  constraint user_sessions_ended_with_a_reason check ((ended_at is null) = (end_reason is null)),
  constraint user_sessions_device_info_is_an_object check (jsonb_typeof(device_info) = 'object'),
  constraint user_sessions_security_context_is_an_object check (jsonb_typeof(security_context) = 'object')
);

alter table identity.user_sessions enable row level security;

-- A user's sessions, newest first; also serves the foreign key.
create index user_sessions_user_id_created_at_idx on identity.user_sessions (user_id, created_at desc);
-- The clean-up job asks for sessions past their absolute limit, past their idle limit, and ended long ago.
create index user_sessions_expires_at_idx on identity.user_sessions (expires_at) where ended_at is null;
create index user_sessions_last_activity_at_idx on identity.user_sessions (last_activity_at) where ended_at is null;
create index user_sessions_ended_at_idx on identity.user_sessions (ended_at) where ended_at is not null;

comment on table identity.user_sessions is 'One row per signed-in device; kept 90 days after it ended.';
comment on column identity.user_sessions.id is 'UUIDv7; the sid claim of the session''s access tokens.';
comment on column identity.user_sessions.user_id is 'Who is signed in.';
comment on column identity.user_sessions.device_name is 'Name given at sign-in or later by the user, 1 to 100 characters.';
comment on column identity.user_sessions.created_at is 'Time of sign-in.';
comment on column identity.user_sessions.expires_at is 'Absolute limit; no refresh extends it.';
comment on column identity.user_sessions.last_activity_at is 'Last sign-in or refresh.';
comment on column identity.user_sessions.ended_at is 'When the session ended; null while it lives.';
comment on column identity.user_sessions.end_reason is
  'logout, logout_everywhere, ended_by_user, password_changed, token_reuse, account_disabled or expired.';
comment on column identity.user_sessions.is_active is 'Whether the session has not been ended.';
comment on column identity.user_sessions.ip_address is 'Address at the last sign-in or refresh.';
comment on column identity.user_sessions.user_agent is 'User-Agent header at the last sign-in or refresh.';
comment on column identity.user_sessions.device_info is 'What the application knows of the device (JSON object).';
comment on column identity.user_sessions.security_context is 'How the session was signed in (JSON object).';

--! Included identity/functions/derived_columns.sql
-- A user's role is derived from access.user_roles and never stored twice. Invoker rights: who may read the account's roles
-- (policies of access.user_roles) learns the role, everybody else is told guest.

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
  'The account''s highest-ranking role that has not expired; guest when it has none.';
grant execute on function identity.users_role(identity.users) to :PLINTH_USER;

create or replace function identity.user_sessions_is_current(s identity.user_sessions)
  returns boolean
  language sql
  stable
  parallel safe
as $$
  select s.id = plinth.current_session_id()
$$;

comment on function identity.user_sessions_is_current(identity.user_sessions) is
  'Whether this is the session whose access token asks.';
grant execute on function identity.user_sessions_is_current(identity.user_sessions) to :PLINTH_USER;
--! EndIncluded identity/functions/derived_columns.sql
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

comment on function identity.viewer() is E'@name currentUser\nThe signed-in account, or null.';
grant execute on function identity.viewer() to :PLINTH_ANONYMOUS, :PLINTH_USER;
--! EndIncluded identity/functions/viewer.sql
--! Included identity/triggers/users.sql
-- "Ada " and "ada" are one account, whoever writes the row.
create or replace function identity.normalize_user()
  returns trigger
  language plpgsql
  set search_path = pg_catalog
as $$
begin
  new.username := lower(trim(new.username));
  new.email := lower(trim(new.email));
  return new;
end
$$;

comment on function identity.normalize_user() is 'Trigger: lower case and no surrounding blanks in username and e-mail.';

create or replace trigger _100_normalize
  before insert or update of username, email on identity.users
  for each row
  execute function identity.normalize_user();

-- A version that goes down would bring dead tokens back to life; an account that stops being active loses its tokens.
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
    raise exception 'A token version never goes down.'
      using errcode = 'PL422', schema = 'identity', table = 'users', column = 'token_version';
  end if;
  return new;
end
$$;

comment on function identity.guard_token_version() is
  'Trigger: token_version only grows, and grows when an account is disabled or deleted.';

create or replace trigger _200_guard_token_version
  before update of token_version, account_status on identity.users
  for each row
  execute function identity.guard_token_version();
--! EndIncluded identity/triggers/users.sql
--! Included identity/triggers/user_settings.sql
-- A default model must be one the user may use when it is chosen; the same answer for one that does not exist. A trigger and
-- not a policy: a grant taken later must not stop the user from changing other settings.
create or replace function identity.check_default_model()
  returns trigger
  language plpgsql
  set search_path = pg_catalog
as $$
begin
  if plinth.current_user_id() is not null and not access.can_use_model(new.default_model_id) then
    raise exception 'There is no such model.'
      using errcode = 'PL404', schema = 'identity', table = 'user_settings', column = 'default_model_id';
  end if;
  return new;
end
$$;

comment on function identity.check_default_model() is 'Trigger: the default model is one the user may use. PL404 otherwise.';

create or replace trigger _100_check_default_model
  before update of default_model_id on identity.user_settings
  for each row
  when (new.default_model_id is not null and new.default_model_id is distinct from old.default_model_id)
  execute function identity.check_default_model();
--! EndIncluded identity/triggers/user_settings.sql
--! Included identity/triggers/updated_at.sql
-- See plinth.touch_updated_at. Named to run last, when the other triggers have had their say.
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
--! EndIncluded identity/triggers/updated_at.sql
--! Included identity/policies/users.sql
-- An account is its owner's, and an administrator's business. Everybody else sees identity.profiles.
revoke all on identity.users from :PLINTH_ANONYMOUS, :PLINTH_USER;
-- No insert: accounts are made by private.register_user. No e-mail, status or counters either: those change by functions.
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
comment on policy select_managed on identity.users is 'Who may manage or delete users reads all accounts.';

drop policy if exists update_own on identity.users;
create policy update_own on identity.users
  for update to :PLINTH_USER
  using (id = (select plinth.current_user_id()))
  with check (id = (select plinth.current_user_id()));
comment on policy update_own on identity.users is 'Users change their own name and profile.';

drop policy if exists delete_permitted on identity.users;
create policy delete_permitted on identity.users
  for delete to :PLINTH_USER
  using ((select access.has_permission('delete_user')));
comment on policy delete_permitted on identity.users is 'The permission delete_user removes an account and all it owns.';
--! EndIncluded identity/policies/users.sql
--! Included identity/policies/user_settings.sql
-- Settings are their owner's alone. No insert and no delete: the row lives and dies with the account.
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
--! Included identity/policies/user_preferences.sql
-- Learnt preferences are their owner's alone, who may also forget them.
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
-- Sign-in rules are their owner's alone. No insert and no delete: the row lives and dies with the account.
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
-- Users see and name their own sessions. They are made by sign-in and ended by functions, which also end the tokens.
revoke all on identity.user_sessions from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select, update (device_name) on identity.user_sessions to :PLINTH_USER;

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
comment on policy update_own on identity.user_sessions is 'Users name their own sessions.';
--! EndIncluded identity/policies/user_sessions.sql
--! Included identity/views/profiles.sql
-- What signed-in users may know of each other. It runs with the owner's rights on purpose: the table's policies hide other
-- accounts, this view shows the public columns of the active ones. Grain: one row per active account.
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
  E'@primaryKey id\nPublic profiles: one row per active account, visible to every signed-in user.';
comment on column identity.profiles.id is 'The account''s id.';
comment on column identity.profiles.username is 'Unique name.';
comment on column identity.profiles.display_name is 'Name shown to others, or null.';
comment on column identity.profiles.avatar_url is 'http(s) address of the picture, or null.';
comment on column identity.profiles.created_at is 'When the account was made.';
revoke all on identity.profiles from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on identity.profiles to :PLINTH_USER;
--! EndIncluded identity/views/profiles.sql
