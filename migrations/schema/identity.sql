-- Schema identity as the migrations leave it. Generated (plinth schema dump): read it, do not edit it.

create schema identity;
comment on schema identity is 'Accounts, profiles, settings and sessions.';
grant usage on schema identity to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Tables ----------------------------------------------------------------------------------------------

-- Learnt preferences: one row per user, type and key.
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
  constraint user_preferences_user_id_fkey foreign key (user_id) references identity.users(id) on delete cascade
);

alter table identity.user_preferences enable row level security;

create trigger _900_touch_updated_at
  before update on identity.user_preferences
  for each row
  execute function plinth.touch_updated_at();

comment on table identity.user_preferences is 'Learnt preferences: one row per user, type and key.';
comment on column identity.user_preferences.id is 'UUIDv7.';
comment on column identity.user_preferences.user_id is 'Whose preference.';
comment on column identity.user_preferences.preference_type is 'Group, such as tone or topic.';
comment on column identity.user_preferences.preference_key is 'Name within the group.';
comment on column identity.user_preferences.preference_value is 'The preference itself (JSON).';
comment on column identity.user_preferences.confidence is 'How sure the application is, 0.0 to 1.0.';
comment on column identity.user_preferences.created_at is 'When it was first learnt.';
comment on column identity.user_preferences.updated_at is 'When it last changed.';

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

-- One row per user: rules for their own sign-ins.
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

create trigger _900_touch_updated_at
  before update on identity.user_security_settings
  for each row
  execute function plinth.touch_updated_at();

comment on table identity.user_security_settings is 'One row per user: rules for their own sign-ins.';
comment on column identity.user_security_settings.user_id is 'Whose rules.';
comment on column identity.user_security_settings.session_timeout_minutes is 'A session unused for this many minutes ends (5 to 43200); null means the default of 30 days.';
comment on column identity.user_security_settings.allowed_networks is 'Sign-in and refresh only from these networks (CIDR); null means from anywhere.';
comment on column identity.user_security_settings.created_at is 'When the row was made.';
comment on column identity.user_security_settings.updated_at is 'When the row last changed.';

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

-- One row per signed-in device; kept 90 days after it ended.
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
  constraint user_sessions_authentication_methods_check check (cardinality(authentication_methods) <= 10 and array_position(authentication_methods, null::text) is null),
  constraint user_sessions_device_info_is_an_object check (jsonb_typeof(device_info) = 'object'::text),
  constraint user_sessions_device_name_check check (length(device_name) >= 1 and length(device_name) <= 100 and device_name !~ '[[:cntrl:]]'::text),
  constraint user_sessions_end_reason_check check (end_reason = any (array['logout'::text, 'logout_everywhere'::text, 'ended_by_user'::text, 'ended_by_administrator'::text, 'password_changed'::text, 'token_reuse'::text, 'account_disabled'::text, 'expired'::text])),
  constraint user_sessions_ended_with_a_reason check ((ended_at is null) = (end_reason is null)),
  constraint user_sessions_security_context_is_an_object check (jsonb_typeof(security_context) = 'object'::text),
  constraint user_sessions_user_id_fkey foreign key (user_id) references identity.users(id) on delete cascade
);

alter table identity.user_sessions enable row level security;

create index user_sessions_ended_at_idx on identity.user_sessions using btree (ended_at) where (ended_at is not null);
create index user_sessions_expires_at_idx on identity.user_sessions using btree (expires_at) where (ended_at is null);
create index user_sessions_last_activity_at_idx on identity.user_sessions using btree (last_activity_at) where (ended_at is null);
create index user_sessions_user_id_created_at_idx on identity.user_sessions using btree (user_id, created_at desc);

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

comment on table identity.user_sessions is 'One row per signed-in device; kept 90 days after it ended.';
comment on column identity.user_sessions.id is 'UUIDv7; the sid claim of the session''s access tokens.';
comment on column identity.user_sessions.user_id is 'Who is signed in.';
comment on column identity.user_sessions.device_name is 'Name given at sign-in or later by the user, 1 to 100 characters.';
comment on column identity.user_sessions.created_at is 'Time of sign-in.';
comment on column identity.user_sessions.expires_at is 'Absolute limit; no refresh extends it.';
comment on column identity.user_sessions.last_activity_at is 'Last sign-in or refresh.';
comment on column identity.user_sessions.ended_at is 'When the session ended; null while it lives.';
comment on column identity.user_sessions.end_reason is 'logout, logout_everywhere, ended_by_user, ended_by_administrator, password_changed, token_reuse, account_disabled or expired.';
comment on column identity.user_sessions.is_active is 'Whether the session has not been ended.';
comment on column identity.user_sessions.ip_address is 'Address at the last sign-in or refresh.';
comment on column identity.user_sessions.user_agent is 'User-Agent header at the last sign-in or refresh.';
comment on column identity.user_sessions.device_info is 'What the application knows of the device (JSON object).';
comment on column identity.user_sessions.security_context is 'How the session was signed in (JSON object).';
comment on column identity.user_sessions.authentication_methods is 'What was shown to sign in, as amr values of RFC 8176: pwd, otp, hwk, fed; empty for sessions older than the column.';
comment on column identity.user_sessions.authenticated_at is 'When the user last showed who they are in this session.';

create policy select_own on identity.user_sessions
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on identity.user_sessions is 'Users read their own sessions.';
create policy update_own on identity.user_sessions
  for update to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()))
  with check (user_id = (select plinth.current_user_id()));
comment on policy update_own on identity.user_sessions is 'Users name their own sessions.';

grant select, update (device_name) on identity.user_sessions to :PLINTH_USER;

-- One row per user: settings the user edits.
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
create trigger _900_touch_updated_at
  before update on identity.user_settings
  for each row
  execute function plinth.touch_updated_at();

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

-- One row per account. Others see only its public profile.
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
  constraint users_pkey primary key (id),
  constraint users_email_key unique (email),
  constraint users_username_key unique (username),
  constraint users_account_status_check check (account_status = any (array['active'::text, 'disabled'::text, 'deleted'::text])),
  constraint users_email_check check (email ~ '^[^@[:space:][:cntrl:]]+@[^@[:space:][:cntrl:]]+$'::text and length(email) <= 254 and email = lower(email)),
  constraint users_failed_login_attempts_is_not_negative check (failed_login_attempts >= 0),
  constraint users_metadata_is_an_object check (jsonb_typeof(metadata) = 'object'::text),
  constraint users_profile_data_is_an_object check (jsonb_typeof(profile_data) = 'object'::text),
  constraint users_token_version_is_positive check (token_version > 0),
  constraint users_username_check check (username ~ '^[a-z0-9]([a-z0-9_.-]{0,98}[a-z0-9])?$'::text and length(username) >= 2)
);

alter table identity.users enable row level security;

create index users_created_at_idx on identity.users using btree (created_at);
create index users_is_active_idx on identity.users using btree (is_active);

create trigger _100_normalize
  before insert or update of username, email on identity.users
  for each row
  execute function identity.normalize_user();
create trigger _200_guard_token_version
  before update of token_version, account_status on identity.users
  for each row
  execute function identity.guard_token_version();
create trigger _500_revoke_tokens
  after update on identity.users
  for each row
  when (new.token_version > old.token_version)
  execute function private.revoke_user_tokens();
create trigger _500_revoke_tokens_of_deleted
  after delete on identity.users
  for each row
  execute function private.revoke_user_tokens();
create trigger _900_touch_updated_at
  before update on identity.users
  for each row
  execute function plinth.touch_updated_at('is_active', 'is_verified');

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

create policy delete_permitted on identity.users
  for delete to :PLINTH_USER
  using ((select access.has_permission('delete_user'::text)) and access.may_administer(id));
comment on policy delete_permitted on identity.users is 'The permission delete_user removes an account and all it owns, unless the account may do more.';
create policy select_managed on identity.users
  for select to :PLINTH_USER
  using ((select access.has_permission('manage_users'::text)) or (select access.has_permission('delete_user'::text)));
comment on policy select_managed on identity.users is 'Who may manage or delete users reads all accounts.';
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

-- Public profiles: one row per active account, visible to every signed-in user.
create view identity.profiles with (security_barrier=true) as
 select u.id,
    u.username,
    s.display_name,
    s.avatar_url,
    u.created_at
   from identity.users u
     left join identity.user_settings s on s.user_id = u.id
  where u.is_active;

comment on view identity.profiles is E'@primaryKey id\nPublic profiles: one row per active account, visible to every signed-in user.';
comment on column identity.profiles.id is 'The account''s id.';
comment on column identity.profiles.username is 'Unique name.';
comment on column identity.profiles.display_name is 'Name shown to others, or null.';
comment on column identity.profiles.avatar_url is 'http(s) address of the picture, or null.';
comment on column identity.profiles.created_at is 'When the account was made.';

grant select on identity.profiles to :PLINTH_USER;

-- Functions -------------------------------------------------------------------------------------------

-- Trigger: the default model is one the user may use. PL404 otherwise.
create or replace function identity.check_default_model()
  returns trigger
  language plpgsql
  set search_path to 'pg_catalog'
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
revoke execute on function identity.check_default_model() from public;

-- Ends one of the user's own sessions; PL404 when there is no such live session.
create or replace function identity.end_session(session_id uuid)
  returns identity.user_sessions
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
declare
  v_session identity.user_sessions;
begin
  perform from identity.users u where u.id = plinth.current_user_id() for key share;
  update identity.user_sessions s
  set ended_at = now(), end_reason = 'ended_by_user'
  where s.id = end_session.session_id
    and s.user_id = plinth.current_user_id()
    and s.ended_at is null
  returning s.* into v_session;
  if v_session.id is null then
    raise exception 'You have no such live session.' using errcode = 'PL404';
  end if;
  perform private.record_security_event('session_ended', v_session.user_id, jsonb_build_object('session_id', v_session.id));
  return v_session;
end
$$;

comment on function identity.end_session(session_id uuid) is 'Ends one of the user''s own sessions; PL404 when there is no such live session.';
revoke execute on function identity.end_session(session_id uuid) from public;
grant execute on function identity.end_session(session_id uuid) to :PLINTH_USER;

-- Ends all sessions and tokens of an account at once; returns how many sessions. Needs manage_users and every permission of the account (PL403); PL404 for an unknown one.
create or replace function identity.end_user_sessions(user_id uuid)
  returns integer
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
declare
  v_ended integer;
begin
  perform private.require_administration(end_user_sessions.user_id);
  update identity.users u set token_version = u.token_version + 1 where u.id = end_user_sessions.user_id;
  if not found then
    raise exception 'There is no such account.' using errcode = 'PL404';
  end if;
  v_ended := private.end_sessions(end_user_sessions.user_id, 'ended_by_administrator');
  perform private.record_security_event(
    'sessions_ended_by_administrator', end_user_sessions.user_id, jsonb_build_object('sessions', v_ended), 'warning'
  );
  return v_ended;
end
$$;

comment on function identity.end_user_sessions(user_id uuid) is 'Ends all sessions and tokens of an account at once; returns how many sessions. Needs manage_users and every permission of the account (PL403); PL404 for an unknown one.';
revoke execute on function identity.end_user_sessions(user_id uuid) from public;
grant execute on function identity.end_user_sessions(user_id uuid) to :PLINTH_USER;

-- Trigger: token_version only grows, and grows when an account is disabled or deleted.
create or replace function identity.guard_token_version()
  returns trigger
  language plpgsql
  set search_path to 'pg_catalog'
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

comment on function identity.guard_token_version() is 'Trigger: token_version only grows, and grows when an account is disabled or deleted.';
revoke execute on function identity.guard_token_version() from public;

-- Ends the session that asks, its access and refresh tokens at once; false when it had ended.
create or replace function identity.logout()
  returns boolean
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
begin
  -- Account before session, the one order of locks (see private.finish_login).
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

comment on function identity.logout() is 'Ends the session that asks, its access and refresh tokens at once; false when it had ended.';
revoke execute on function identity.logout() from public;
grant execute on function identity.logout() to :PLINTH_USER;

-- Ends all sessions of the user who asks, this one included; returns how many.
create or replace function identity.logout_everywhere()
  returns integer
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
declare
  v_ended integer;
begin
  if plinth.current_user_id() is null then
    raise exception 'Sign in first.' using errcode = 'PL401';
  end if;
  update identity.users u set token_version = u.token_version + 1 where u.id = plinth.current_user_id();
  v_ended := private.end_sessions(plinth.current_user_id(), 'logout_everywhere');
  perform private.record_security_event('logout_everywhere', plinth.current_user_id(), jsonb_build_object('sessions', v_ended));
  return v_ended;
end
$$;

comment on function identity.logout_everywhere() is 'Ends all sessions of the user who asks, this one included; returns how many.';
revoke execute on function identity.logout_everywhere() from public;
grant execute on function identity.logout_everywhere() to :PLINTH_USER;

-- Trigger: lower case and no surrounding blanks in username and e-mail.
create or replace function identity.normalize_user()
  returns trigger
  language plpgsql
  set search_path to 'pg_catalog'
as $$
begin
  new.username := lower(trim(new.username));
  new.email := lower(trim(new.email));
  return new;
end
$$;

comment on function identity.normalize_user() is 'Trigger: lower case and no surrounding blanks in username and e-mail.';
revoke execute on function identity.normalize_user() from public;

-- Disables, enables or soft-deletes an account. Needs manage_users and every permission of the account (PL403); PL404 for an unknown one.
create or replace function identity.set_account_status(user_id uuid, account_status text)
  returns identity.users
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
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
    raise exception 'There is no such account.' using errcode = 'PL404';
  end if;
  perform private.record_security_event(
    'account_status_changed', v_user.id, jsonb_build_object('account_status', v_user.account_status), 'warning'
  );
  return v_user;
end
$$;

comment on function identity.set_account_status(user_id uuid, account_status text) is 'Disables, enables or soft-deletes an account. Needs manage_users and every permission of the account (PL403); PL404 for an unknown one.';
revoke execute on function identity.set_account_status(user_id uuid, account_status text) from public;
grant execute on function identity.set_account_status(user_id uuid, account_status text) to :PLINTH_USER;

-- Lets a locked account sign in again now. Needs manage_users and every permission of the account (PL403); PL404 for an unknown one.
create or replace function identity.unlock_account(user_id uuid)
  returns identity.users
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
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
    raise exception 'There is no such account.' using errcode = 'PL404';
  end if;
  perform private.record_security_event('account_unlocked', v_user.id);
  return v_user;
end
$$;

comment on function identity.unlock_account(user_id uuid) is 'Lets a locked account sign in again now. Needs manage_users and every permission of the account (PL403); PL404 for an unknown one.';
revoke execute on function identity.unlock_account(user_id uuid) from public;
grant execute on function identity.unlock_account(user_id uuid) to :PLINTH_USER;

-- Whether this is the session whose access token asks.
create or replace function identity.user_sessions_is_current(s identity.user_sessions)
  returns boolean
  language sql
  stable parallel safe
as $$
  select s.id = plinth.current_session_id()
$$;

comment on function identity.user_sessions_is_current(s identity.user_sessions) is 'Whether this is the session whose access token asks.';
revoke execute on function identity.user_sessions_is_current(s identity.user_sessions) from public;
grant execute on function identity.user_sessions_is_current(s identity.user_sessions) to :PLINTH_USER;

-- The account's highest-ranking role that has not expired; guest when it has none.
create or replace function identity.users_role(u identity.users)
  returns text
  language plpgsql
  stable parallel safe
  set search_path to 'pg_catalog'
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

comment on function identity.users_role(u identity.users) is 'The account''s highest-ranking role that has not expired; guest when it has none.';
revoke execute on function identity.users_role(u identity.users) from public;
grant execute on function identity.users_role(u identity.users) to :PLINTH_USER;

-- The code of the plan that the account is on (trialing, active or past_due), or free.
create or replace function identity.users_tier(u identity.users)
  returns text
  language plpgsql
  stable parallel safe
  set search_path to 'pg_catalog'
as $$
begin
  return coalesce(
    (
      select p.code
      from billing.user_subscriptions s
      join billing.subscription_plans p on p.id = s.plan_id
      where s.user_id = u.id
        and s.status in ('trialing', 'active', 'past_due')
    ),
    'free'
  );
end
$$;

comment on function identity.users_tier(u identity.users) is 'The code of the plan that the account is on (trialing, active or past_due), or free.';
revoke execute on function identity.users_tier(u identity.users) from public;
grant execute on function identity.users_tier(u identity.users) to :PLINTH_USER;

-- The signed-in account, or null.
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
revoke execute on function identity.viewer() from public;
grant execute on function identity.viewer() to :PLINTH_ANONYMOUS, :PLINTH_USER;
