-- Schema plinth as the migrations leave it. Generated (plinth schema dump): read it, do not edit it.

create schema plinth;
comment on schema plinth is 'Foundation: who is asking, UUIDv7, shared trigger functions.';
grant usage on schema plinth to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Functions -------------------------------------------------------------------------------------------

-- Tells listening servers that a live topic (room:<id>, typing:<id>, presence:<id>, turn:<id>, user:<id>) reached a sequence; sent when the transaction commits.
create or replace function plinth.announce(topic text, sequence bigint)
  returns void
  language sql
  set search_path to 'pg_catalog'
begin atomic
  select pg_notify('plinth_live'::text, ((topic || ' '::text) || sequence)) as pg_notify;
end;

comment on function plinth.announce(topic text, sequence bigint) is E'@behavior -*\nTells listening servers that a live topic (room:<id>, typing:<id>, presence:<id>, turn:<id>, user:<id>) reached a sequence; sent when the transaction commits.';
revoke execute on function plinth.announce(topic text, sequence bigint) from public;

-- The number of rows to return: count, or usual if it is null. PL422 naming the field unless it is from 1 to most; without most, there is no upper limit.
create or replace function plinth.checked_count(count integer, field text, usual integer, most integer)
  returns integer
  language plpgsql
  immutable parallel safe
  set search_path to 'pg_catalog'
as $$
begin
  if count < 1 or count > most then
    raise exception 'The number of results must be %.',
      case when most is null then 'at least 1' else format('from 1 to %s', most) end
      using errcode = 'PL422', column = field;
  end if;
  return coalesce(count, usual);
end
$$;

comment on function plinth.checked_count(count integer, field text, usual integer, most integer) is 'The number of rows to return: count, or usual if it is null. PL422 naming the field unless it is from 1 to most; without most, there is no upper limit.';
revoke execute on function plinth.checked_count(count integer, field text, usual integer, most integer) from public;
grant execute on function plinth.checked_count(count integer, field text, usual integer, most integer) to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- The client's network address as the API saw it, or null.
create or replace function plinth.client_ip()
  returns inet
  language sql
  stable parallel safe
as $$
  select nullif(current_setting('plinth.client_ip', true), '')::inet
$$;

comment on function plinth.client_ip() is E'@behavior -*\nThe client''s network address as the API saw it, or null.';
revoke execute on function plinth.client_ip() from public;
grant execute on function plinth.client_ip() to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- The request's correlation id, also found in the API's log, or null.
create or replace function plinth.correlation_id()
  returns text
  language sql
  stable parallel safe
as $$
  select nullif(current_setting('plinth.correlation_id', true), '')
$$;

comment on function plinth.correlation_id() is E'@behavior -*\nThe request''s correlation id, also found in the API''s log, or null.';
revoke execute on function plinth.correlation_id() from public;
grant execute on function plinth.correlation_id() to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- The id of the API token that is used, or null when a session or nobody asks.
create or replace function plinth.current_api_token_id()
  returns uuid
  language sql
  stable parallel safe
as $$
  select nullif(current_setting('jwt.claims.api_token_id', true), '')::uuid
$$;

comment on function plinth.current_api_token_id() is E'@behavior -*\nThe id of the API token that is used, or null when a session or nobody asks.';
revoke execute on function plinth.current_api_token_id() from public;
grant execute on function plinth.current_api_token_id() to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- The id of the session whose access token is used, or null.
create or replace function plinth.current_session_id()
  returns uuid
  language sql
  stable parallel safe
as $$
  select nullif(current_setting('jwt.claims.session_id', true), '')::uuid
$$;

comment on function plinth.current_session_id() is E'@behavior -*\nThe id of the session whose access token is used, or null.';
revoke execute on function plinth.current_session_id() from public;
grant execute on function plinth.current_session_id() to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- The signed-in user's id, or null when nobody is signed in.
create or replace function plinth.current_user_id()
  returns uuid
  language sql
  stable parallel safe
as $$
  select nullif(current_setting('jwt.claims.user_id', true), '')::uuid
$$;

comment on function plinth.current_user_id() is E'@behavior -*\nThe signed-in user''s id, or null when nobody is signed in.';
revoke execute on function plinth.current_user_id() from public;
grant execute on function plinth.current_user_id() to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Trigger: sets updated_at when a row really changed; its arguments name the table's generated columns.
create or replace function plinth.touch_updated_at()
  returns trigger
  language plpgsql
  set search_path to 'pg_catalog'
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

comment on function plinth.touch_updated_at() is 'Trigger: sets updated_at when a row really changed; its arguments name the table''s generated columns.';
revoke execute on function plinth.touch_updated_at() from public;

-- The client's User-Agent header, or null.
create or replace function plinth.user_agent()
  returns text
  language sql
  stable parallel safe
as $$
  select nullif(current_setting('plinth.user_agent', true), '')
$$;

comment on function plinth.user_agent() is E'@behavior -*\nThe client''s User-Agent header, or null.';
revoke execute on function plinth.user_agent() from public;
grant execute on function plinth.user_agent() to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- A new UUIDv7: unique, and sorted by the time it was made.
create or replace function plinth.uuid_v7()
  returns uuid
  language sql
  parallel safe
as $$
      select uuidv7()
    $$;

comment on function plinth.uuid_v7() is E'@behavior -*\nA new UUIDv7: unique, and sorted by the time it was made.';
revoke execute on function plinth.uuid_v7() from public;
grant execute on function plinth.uuid_v7() to :PLINTH_ANONYMOUS, :PLINTH_USER;
