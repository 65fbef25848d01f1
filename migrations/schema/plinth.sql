-- Schema plinth as the migrations leave it. Generated (plinth schema dump): read it, do not edit it.

create schema plinth;
comment on schema plinth is 'Foundation: who is asking, UUIDv7, shared trigger functions.';
grant usage on schema plinth to :PLINTH_ANONYMOUS, :PLINTH_SERVICE, :PLINTH_USER;

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

-- One label of a domain in its ASCII form: xn-- and Punycode when it has other characters, otherwise the label itself.
create or replace function plinth.ascii_label(label text)
  returns text
  language plpgsql
  immutable parallel safe strict
  set search_path to 'pg_catalog'
as $$
declare
  c_digits constant text := 'abcdefghijklmnopqrstuvwxyz0123456789';
  v_points constant integer[] := array(select ascii(c) from string_to_table(ascii_label.label, null) as c);
  v_length constant integer := cardinality(v_points);
  v_ascii constant text := regexp_replace(ascii_label.label, '[^\u0001-\u007f]', '', 'g');
  v_result text := v_ascii || case when v_ascii = '' then '' else '-' end;
  v_done integer := length(v_ascii);
  v_next bigint := 128;
  v_delta bigint := 0;
  v_bias integer := 72;
  v_smallest integer;
  v_point integer;
  v_rest bigint;
  v_step integer;
  v_limit integer;
begin
  if v_done = v_length then
    return ascii_label.label;
  end if;
  while v_done < v_length loop
    v_smallest := (select min(p) from unnest(v_points) p where p >= v_next);
    v_delta := v_delta + (v_smallest - v_next) * (v_done + 1);
    v_next := v_smallest;
    foreach v_point in array v_points loop
      if v_point < v_next then
        v_delta := v_delta + 1;
      elsif v_point = v_next then
        v_rest := v_delta;
        v_step := 36;
        loop
          v_limit := least(greatest(v_step - v_bias, 1), 26);
          exit when v_rest < v_limit;
          v_result := v_result || substr(c_digits, (v_limit + (v_rest - v_limit) % (36 - v_limit))::integer + 1, 1);
          v_rest := (v_rest - v_limit) / (36 - v_limit);
          v_step := v_step + 36;
        end loop;
        v_result := v_result || substr(c_digits, v_rest::integer + 1, 1);
        v_delta := case when v_done = length(v_ascii) then v_delta / 700 else v_delta / 2 end;
        v_delta := v_delta + v_delta / (v_done + 1);
        v_step := 0;
        while v_delta > 455 loop
          v_delta := v_delta / 35;
          v_step := v_step + 36;
        end loop;
        v_bias := v_step + (36 * v_delta / (v_delta + 38))::integer;
        v_delta := 0;
        v_done := v_done + 1;
      end if;
    end loop;
    v_delta := v_delta + 1;
    v_next := v_next + 1;
  end loop;
  return 'xn--' || v_result;
end
$$;

comment on function plinth.ascii_label(label text) is E'@behavior -*\nOne label of a domain in its ASCII form: xn-- and Punycode when it has other characters, otherwise the label itself.';
revoke execute on function plinth.ascii_label(label text) from public;
grant execute on function plinth.ascii_label(label text) to :PLINTH_SERVICE, :PLINTH_USER;

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

-- The form in which an e-mail address is stored and compared; null for a text that is not an address.
create or replace function plinth.normalize_email(address text)
  returns text
  language plpgsql
  immutable parallel safe strict
  set search_path to 'pg_catalog'
as $$
declare
  -- Unicode's White_Space.
  c_white_space constant text :=
    E'\t\n\u000b\f\r \u0085\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000';
  v_address text := btrim(normalize_email.address, c_white_space);
  v_domain text;
begin
  -- 254 is the limit of RFC 5321; the rest is room for what composes.
  if length(v_address) > 1000 then
    return null;
  end if;
  if v_address ~ '[^\u0001-\u007f]' then
    -- Three characters would compose to an ASCII one, and so to somebody else's address.
    if v_address ~ '[\u037e\u1fef\u212a]' then
      return null;
    end if;
    v_address := normalize(v_address, nfd);
  end if;
  v_address := normalize(lower(v_address collate "C"), nfc);
  -- One address, with nothing that mail software reads as a list, a name or the end of a header, and nothing invisible:
  -- white space, control, format and private characters (general category C), and default ignorable ones.
  if v_address !~ '^[^@]+@[^@]+$'
    or v_address ~ '[,;<>"()]'
    or v_address ~ ('['
      || '\u0001-\u0020\u007f-\u00a0\u00ad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890-\u0891\u08e2\u115f-\u1160\u1680\u17b4-\u17b5'
      || '\u180b-\u180f\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\u3164\ue000-\uf8ff\ufdd0-\ufdef\ufe00-\ufe0f\ufeff\uffa0'
      || '\ufff0-\ufffb\ufffe-\uffff\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a'
      || '\U0001fffe-\U0001ffff\U0002fffe-\U0002ffff\U0003fffe-\U0010ffff]')
  then
    return null;
  end if;

  v_domain := split_part(v_address, '@', 2);
  if v_domain ~ '(^|\.)(\.|$)' then
    return null;
  end if;
  if v_domain ~ '[^\u0001-\u007f]' then
    -- A domain in its own letters is what it would be shown as (a U-label); anything that would have to be mapped first is
    -- not. In Cherokee the capitals are what is shown.
    if v_domain <> normalize(v_domain, nfkc)
      or regexp_replace(v_domain, '[\u13a0-\u13f5]', '', 'g') <> lower(regexp_replace(v_domain, '[\u13a0-\u13f5]', '', 'g'))
      or v_domain ~ '\u3002'
    then
      return null;
    end if;
    v_domain := (
      select string_agg(plinth.ascii_label(l.label), '.' order by l.place)
      from string_to_table(v_domain, '.') with ordinality as l (label, place)
    );
  end if;
  v_address := split_part(v_address, '@', 1) || '@' || v_domain;
  return case when length(v_address) <= 254 then v_address end;
end
$$;

comment on function plinth.normalize_email(address text) is E'@behavior -*\nThe form in which an e-mail address is stored and compared; null for a text that is not an address.';
revoke execute on function plinth.normalize_email(address text) from public;
grant execute on function plinth.normalize_email(address text) to :PLINTH_SERVICE, :PLINTH_USER;

-- The form in which a username is stored and compared: lower case, without white space around it.
create or replace function plinth.normalize_username(username text)
  returns text
  language sql
  immutable parallel safe strict
  set search_path to 'pg_catalog'
as $$
  select lower(btrim(normalize_username.username, E' \t\n\r\f') collate "C")
$$;

comment on function plinth.normalize_username(username text) is E'@behavior -*\nThe form in which a username is stored and compared: lower case, without white space around it.';
revoke execute on function plinth.normalize_username(username text) from public;
grant execute on function plinth.normalize_username(username text) to :PLINTH_SERVICE, :PLINTH_USER;

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
