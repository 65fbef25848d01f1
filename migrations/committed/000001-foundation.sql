--! Previous: -
--! Hash: sha1:ba80a692e1b9bf334e4d47a07884bddc4b8e3a27
--! Message: foundation

-- Schemas, one per domain, and the few functions every domain stands on. No tables: nothing here holds data.

-- Functions are callable by nobody until a grant says so.
alter default privileges revoke execute on functions from public;

create schema plinth;
create schema identity;
create schema access;
create schema billing;
create schema llm;
create schema security;
create schema analytics;
create schema private;

comment on schema plinth is 'Foundation: who is asking, UUIDv7, shared trigger functions.';
comment on schema identity is 'Accounts, profiles, settings and sessions.';
comment on schema access is 'Roles, permissions and grants: who may do what.';
comment on schema billing is 'Prices of models over time.';
comment on schema llm is 'Model catalogue, prompts, chats and messages.';
comment on schema security is 'Append-only records of sign-ins and security events.';
comment on schema analytics is 'Documented views without personal data, for people who read numbers.';
comment on schema private is 'Secrets and the functions of the API''s service and the job worker. No API role may enter.';

-- A price period must not overlap another of the same model: an exclusion constraint over a uuid and a range.
create extension if not exists btree_gist with schema plinth;

-- The API's two roles enter the domains; row policies decide the rest. `private` is left out on purpose.
grant usage on schema plinth, identity, access, billing, llm, security to :PLINTH_ANONYMOUS, :PLINTH_USER;
-- The service and the worker reach their functions, nothing else.
grant usage on schema private to :PLINTH_SERVICE, :PLINTH_WORKER;
grant usage on schema analytics to :PLINTH_ANALYST;

--! Included plinth/functions/current_user_id.sql
-- The one reader of the user's claim: policies wrap it as (select plinth.current_user_id()), so it runs once a
-- statement and not once a row. No claim means null, and null equals nothing: zero rows.
create or replace function plinth.current_user_id()
  returns uuid
  language sql
  stable
  parallel safe
as $$
  select nullif(current_setting('jwt.claims.user_id', true), '')::uuid
$$;

comment on function plinth.current_user_id() is
  E'@behavior -*\nThe signed-in user''s id, or null when nobody is signed in.';
grant execute on function plinth.current_user_id()
  to :PLINTH_ANONYMOUS, :PLINTH_USER;
--! EndIncluded plinth/functions/current_user_id.sql
--! Included plinth/functions/current_session_id.sql
-- Which of the user's sessions is asking: logout ends this one, and the list of sessions marks it.
create or replace function plinth.current_session_id()
  returns uuid
  language sql
  stable
  parallel safe
as $$
  select nullif(current_setting('jwt.claims.session_id', true), '')::uuid
$$;

comment on function plinth.current_session_id() is
  E'@behavior -*\nThe id of the session whose access token is used, or null.';
grant execute on function plinth.current_session_id()
  to :PLINTH_ANONYMOUS, :PLINTH_USER;
--! EndIncluded plinth/functions/current_session_id.sql
--! Included plinth/functions/request_context.sql
-- What the API knows of a request travels as transaction-local settings, so that an audit row written by a trigger
-- carries it without every function passing it along. Unset (psql, a job) means null.
create or replace function plinth.correlation_id()
  returns text
  language sql
  stable
  parallel safe
as $$
  select nullif(current_setting('plinth.correlation_id', true), '')
$$;

create or replace function plinth.client_ip()
  returns inet
  language sql
  stable
  parallel safe
as $$
  select nullif(current_setting('plinth.client_ip', true), '')::inet
$$;

create or replace function plinth.user_agent()
  returns text
  language sql
  stable
  parallel safe
as $$
  select nullif(current_setting('plinth.user_agent', true), '')
$$;

comment on function plinth.correlation_id() is
  E'@behavior -*\nThe request''s correlation id, also found in the API''s log, or null.';
comment on function plinth.client_ip() is
  E'@behavior -*\nThe client''s network address as the API saw it, or null.';
comment on function plinth.user_agent() is
  E'@behavior -*\nThe client''s User-Agent header, or null.';
grant execute on function plinth.correlation_id(), plinth.client_ip(), plinth.user_agent()
  to :PLINTH_ANONYMOUS, :PLINTH_USER;
--! EndIncluded plinth/functions/request_context.sql
--! Included plinth/functions/uuid_v7.sql
-- Primary keys are UUIDv7 (RFC 9562, section 5.7): they sort by time, so an index grows at its end.
-- PostgreSQL 18 makes them itself. Before it: 48 bits of time in ms, the version (28672 is 7 shifted left by 12), the
-- microseconds within the ms in the next 12 bits (section 6.2, method 3), then the variant and random bits of a UUIDv4.
do $do$
begin
  if current_setting('server_version_num')::integer >= 180000 then
    create or replace function plinth.uuid_v7()
      returns uuid
      language sql
      volatile
      parallel safe
    as $$
      select uuidv7()
    $$;
  else
    create or replace function plinth.uuid_v7()
      returns uuid
      language sql
      volatile
      parallel safe
    as $$
      select encode(
        substring(int8send(t.us / 1000) from 3)
        || substring(int8send(28672 + (t.us % 1000) * 4096 / 1000) from 7)
        || substring(uuid_send(gen_random_uuid()) from 9),
        'hex'
      )::uuid
      from (select (extract(epoch from clock_timestamp()) * 1000000)::bigint as us) t
    $$;
  end if;
end
$do$;

comment on function plinth.uuid_v7() is E'@behavior -*\nA new UUIDv7: unique, and sorted by the time it was made.';
grant execute on function plinth.uuid_v7()
  to :PLINTH_ANONYMOUS, :PLINTH_USER;
--! EndIncluded plinth/functions/uuid_v7.sql
--! Included plinth/triggers/touch_updated_at.sql
-- updated_at is the database's word: whatever a client sends is overwritten, and an update that changes nothing leaves it
-- alone, so that a repeated import shows up as unchanged. A table with generated columns names them as the trigger's
-- arguments: they are not computed yet when this runs.
create or replace function plinth.touch_updated_at()
  returns trigger
  language plpgsql
  set search_path = pg_catalog
as $$
declare
  v_generated text[] := coalesce(tg_argv[0:], '{}');
begin
  new.updated_at := old.updated_at;
  if to_jsonb(new) - v_generated is distinct from to_jsonb(old) - v_generated then
    new.updated_at := clock_timestamp();
  end if;
  return new;
end
$$;

comment on function plinth.touch_updated_at() is
  'Trigger: sets updated_at when a row really changed; its arguments name the table''s generated columns.';
--! EndIncluded plinth/triggers/touch_updated_at.sql
--! Included access/functions/has_permission.sql
-- Policies of every domain ask this question, so it is made first; plpgsql looks its tables up when it runs, by which
-- time they exist. Definer rights: who asks may not read other people's roles.
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
    join access.role_permissions rp on rp.role_id = ur.role_id
    join access.permissions p on p.id = rp.permission_id
    where ur.user_id = plinth.current_user_id()
      and (ur.expires_at is null or ur.expires_at > now())
      and p.permission_name = permission
  );
end
$$;

comment on function access.has_permission(text) is
  'Whether the signed-in user, whose account is active, holds the permission through a role that has not expired.';
grant execute on function access.has_permission(text) to :PLINTH_ANONYMOUS, :PLINTH_USER;
--! EndIncluded access/functions/has_permission.sql
