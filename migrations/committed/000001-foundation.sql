--! Previous: -
--! Hash: sha1:62c2d9a73a157808fdc284cd5f14f32a47eb74e8
--! Message: foundation

-- The schemas, and the functions that every domain uses: current user, UUIDv7, search, shared triggers, monthly partitions.

-- Function bodies are checked on first use, so a function may precede the objects that it uses.
set local check_function_bodies = off;

-- No role may call a function without a grant.
alter default privileges revoke execute on functions from public;

create schema plinth;
create schema identity;
create schema access;
create schema security;
create schema llm;
create schema billing;
create schema rooms;
create schema learning;
create schema analytics;
create schema private;

comment on schema plinth is 'Foundation: identity of the caller, UUIDv7, shared trigger functions.';
comment on schema identity is 'Accounts, profiles, settings and sessions.';
comment on schema access is 'Roles, permissions and grants.';
comment on schema security is 'Append-only records of sign-ins and security events, and the rules for them.';
comment on schema llm is 'Model catalogue, prompts, chats and messages.';
comment on schema billing is 'Plans, subscriptions, payments, token grants, usage and model prices.';
comment on schema rooms is 'Rooms, their members, messages and invites, and the general chat.';
comment on schema learning is 'Skills, content, access to content, and learning progress.';
comment on schema analytics is 'Views for analysts, without personal data.';
comment on schema private is 'Secrets, and functions for the API service and the job worker. Not accessible to API roles.';

-- For exclusion constraints over a uuid and a range: price periods must not overlap.
create extension if not exists btree_gist with schema plinth;
-- For indexes over an id and words: search within one chat, room or account.
create extension if not exists btree_gin with schema plinth;
-- For titles similar to the search text.
create extension if not exists pg_trgm with schema plinth;

-- The API's two roles may use the domains; row policies decide the rest. `private` is omitted on purpose.
grant usage on schema plinth, identity, access, billing, llm, rooms, learning, security to :PLINTH_ANONYMOUS, :PLINTH_USER;
-- The service and the worker may call their functions and nothing else.
grant usage on schema private to :PLINTH_SERVICE, :PLINTH_WORKER;
grant usage on schema plinth, security to :PLINTH_SERVICE;
grant usage on schema analytics to :PLINTH_ANALYST;

-- English without stop words: a search for "the who" needs both words.
create text search dictionary plinth.english_words (template = pg_catalog.snowball, language = english);
create text search configuration plinth.english_words (copy = pg_catalog.english);
alter text search configuration plinth.english_words alter mapping replace pg_catalog.english_stem with plinth.english_words;
comment on text search dictionary plinth.english_words is 'Stemmer for English words, including stop words.';
comment on text search configuration plinth.english_words is 'English, including its stop words; see plinth.search_document.';

--! Included plinth/functions/announce.sql
-- Notifies the servers of news in a live topic. The payload is only a hint: any database role may NOTIFY, so servers read
-- changes again under each subscriber's own claims. PostgreSQL merges equal announcements of one transaction.
create or replace function plinth.announce(topic text, sequence bigint)
  returns void
  language sql
  volatile
  set search_path = pg_catalog
begin atomic
  select pg_notify('plinth_live', topic || ' ' || sequence);
end;

comment on function plinth.announce(text, bigint) is
  '@behavior -*
Notifies listening servers that a live topic (room:<id>, typing:<id>, presence:<id>, turn:<id>, user:<id>) reached a sequence; sent when the transaction commits.';
--! EndIncluded plinth/functions/announce.sql
--! Included plinth/functions/ascii_label.sql
-- A label of a domain in ASCII (RFC 3492, RFC 5890). PostgreSQL has no function for it, and an address stored in two spellings
-- would be two accounts.
create or replace function plinth.ascii_label(label text)
  returns text
  language plpgsql
  immutable
  strict
  parallel safe
  set search_path = pg_catalog
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

comment on function plinth.ascii_label(text) is
  E'@behavior -*\n'
  'Returns a label of a domain in its ASCII form: xn-- and Punycode when it has other characters, otherwise the label itself.';
grant execute on function plinth.ascii_label(text) to :PLINTH_USER, :PLINTH_SERVICE;
--! EndIncluded plinth/functions/ascii_label.sql
--! Included plinth/functions/checked_count.sql
-- The rule for the number of rows a caller may request: null means the usual number, and an impossible number is rejected. An
-- empty page for 0 would look like the end of the list, and so would a shorter page than requested.
create or replace function plinth.checked_count(count integer, field text, usual integer, most integer)
  returns integer
  language plpgsql
  immutable
  parallel safe
  set search_path = pg_catalog
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

comment on function plinth.checked_count(integer, text, integer, integer) is
  'Returns the row limit: count, or usual if it is null. PL422 naming the field unless it is from 1 to most; without most, there is no upper limit.';
revoke execute on function plinth.checked_count(integer, text, integer, integer) from public;
grant execute on function plinth.checked_count(integer, text, integer, integer) to :PLINTH_ANONYMOUS, :PLINTH_USER;
--! EndIncluded plinth/functions/checked_count.sql
--! Included plinth/functions/cjk_pairs.sql
-- Chinese, Japanese and Korean are written without spaces between words, so every pair of neighbours is a word, and every
-- single character: 模型 becomes 模型,模,型.
create or replace function plinth.cjk_pairs(value text)
  returns text
  language sql
  immutable
  parallel safe
  set search_path = pg_catalog
as $$
  select coalesce(
    string_agg(
      case
        when c.is_cjk and c.next_is_cjk then c.one || c.next || ',' || c.one || ','
        when c.is_cjk or c.next_is_cjk then c.one || ','
        else c.one
      end,
      '' order by c.place
    ),
    ''
  )
  from (
    select
      s.one, s.place, plinth.is_cjk(s.one) as is_cjk, lead(s.one) over places as next,
      lead(plinth.is_cjk(s.one), 1, false) over places as next_is_cjk
    from string_to_table(value, null) with ordinality as s (one, place)
    window places as (order by s.place)
  ) c
$$;

comment on function plinth.cjk_pairs(text) is
  E'@behavior -*\nReturns a text in which every Chinese, Japanese and Korean character stands alone and with its neighbour.';
-- An index is maintained with the rights of the role that writes the row.
grant execute on function plinth.cjk_pairs(text) to :PLINTH_USER;
--! EndIncluded plinth/functions/cjk_pairs.sql
--! Included plinth/functions/client_ip.sql
create or replace function plinth.client_ip()
  returns inet
  language sql
  stable
  parallel safe
as $$
  select nullif(current_setting('plinth.client_ip', true), '')::inet
$$;

comment on function plinth.client_ip() is
  E'@behavior -*\nReturns the client''s network address as the API saw it, or null.';
grant execute on function plinth.client_ip() to :PLINTH_ANONYMOUS, :PLINTH_USER;
--! EndIncluded plinth/functions/client_ip.sql
--! Included plinth/functions/correlation_id.sql
-- The API passes request data as transaction-local settings, so that an audit row written by a trigger carries it without every
-- function passing it along. Unset (psql, a job) means null.
create or replace function plinth.correlation_id()
  returns text
  language sql
  stable
  parallel safe
as $$
  select nullif(current_setting('plinth.correlation_id', true), '')
$$;

comment on function plinth.correlation_id() is
  E'@behavior -*\nReturns the request''s correlation id, as in the API''s log, or null.';
grant execute on function plinth.correlation_id() to :PLINTH_ANONYMOUS, :PLINTH_USER;
--! EndIncluded plinth/functions/correlation_id.sql
--! Included plinth/functions/current_api_token_id.sql
-- Shows whether a program or a person is calling: functions reserved for persons check it.
create or replace function plinth.current_api_token_id()
  returns uuid
  language sql
  stable
  parallel safe
as $$
  select nullif(current_setting('jwt.claims.api_token_id', true), '')::uuid
$$;

comment on function plinth.current_api_token_id() is
  E'@behavior -*\nReturns the id of the API token in use, or null for a session or a visitor.';
grant execute on function plinth.current_api_token_id()
  to :PLINTH_ANONYMOUS, :PLINTH_USER;
--! EndIncluded plinth/functions/current_api_token_id.sql
--! Included plinth/functions/current_session_id.sql
-- The caller's session: logout ends it, and the list of sessions marks it.
create or replace function plinth.current_session_id()
  returns uuid
  language sql
  stable
  parallel safe
as $$
  select nullif(current_setting('jwt.claims.session_id', true), '')::uuid
$$;

comment on function plinth.current_session_id() is
  E'@behavior -*\nReturns the id of the session whose access token is in use, or null.';
grant execute on function plinth.current_session_id()
  to :PLINTH_ANONYMOUS, :PLINTH_USER;
--! EndIncluded plinth/functions/current_session_id.sql
--! Included plinth/functions/current_user_id.sql
-- The only reader of the user's claim: policies wrap it as (select plinth.current_user_id()), so it runs once per statement and
-- not once per row. No claim returns null, and null equals nothing: zero rows.
create or replace function plinth.current_user_id()
  returns uuid
  language sql
  stable
  parallel safe
as $$
  select nullif(current_setting('jwt.claims.user_id', true), '')::uuid
$$;

comment on function plinth.current_user_id() is
  E'@behavior -*\nReturns the signed-in user''s id, or null if no user is signed in.';
grant execute on function plinth.current_user_id()
  to :PLINTH_ANONYMOUS, :PLINTH_USER;
--! EndIncluded plinth/functions/current_user_id.sql
--! Included plinth/functions/is_cjk.sql
create or replace function plinth.is_cjk(value text)
  returns boolean
  language sql
  immutable
  parallel safe
as $$
  select value ~ '[\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3031-\u3035\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u312f\u3131-\u318e\u31a0-\u31bf\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua960-\ua97c\uac00-\ud7fb\uf900-\ufaff\U00020000-\U0003ffff]'
$$;

comment on function plinth.is_cjk(text) is
  E'@behavior -*\nReturns whether a text has a Chinese, Japanese or Korean character; these scripts are written without spaces.';
-- An index is maintained with the rights of the role that writes the row.
grant execute on function plinth.is_cjk(text) to :PLINTH_USER;
--! EndIncluded plinth/functions/is_cjk.sql
--! Included plinth/functions/keep_scale.sql
-- A column of type numeric(p, s) rounds a value before any CHECK sees it: 1.00004 passes for 1, -0.0000001 for 0. So columns
-- with a range are plain numeric, and their CHECKs test the range and the number of decimals of the written value. This trigger
-- adds the missing decimals to a valid value, as numeric(p, s) would show it: 0.5 is read as 0.50.
create or replace function plinth.keep_scale()
  returns trigger
  language plpgsql
  set search_path = pg_catalog
as $$
declare
  v_scale constant integer := tg_argv[0];
  v_row constant jsonb := to_jsonb(new);
  v_shown jsonb;
begin
  select jsonb_object_agg(c.name, round((v_row ->> c.name)::numeric, v_scale)) into v_shown
  from unnest(tg_argv[1:]) as c (name)
  where scale((v_row ->> c.name)::numeric) <> v_scale
    and (v_row ->> c.name)::numeric = round((v_row ->> c.name)::numeric, v_scale);
  if v_shown is not null then
    new := jsonb_populate_record(new, v_shown);
  end if;
  return new;
end
$$;

comment on function plinth.keep_scale() is
  'Trigger: gives exact values a fixed number of decimals (its first argument) in the columns named by the others; a value with more decimals stays for the CHECK to reject.';
--! EndIncluded plinth/functions/keep_scale.sql
--! Included plinth/functions/normalize_email.sql
-- The single form in which an address is stored, compared and counted. Two spellings of one mailbox have the same form, and two
-- mailboxes never do, because an address recovers an account. Only ASCII letters change case, with their accents: other
-- characters that a locale would fold (İ to i, the Kelvin sign to k) are another mailbox. Nothing here depends on the
-- database's locale or on the version of PostgreSQL. Privacy mode hashes addresses outside the database, where this function is
-- not available; src/auth/email-hash.ts has the same rule, and test/identity/email-form.test.ts compares the two.
create or replace function plinth.normalize_email(address text)
  returns text
  language plpgsql
  immutable
  strict
  parallel safe
  set search_path = pg_catalog
as $$
declare
  -- Unicode's White_Space.
  c_white_space constant text :=
    E'\t\n\u000b\f\r \u0085\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000';
  v_address text := btrim(normalize_email.address, c_white_space);
  v_domain text;
begin
  -- 254 is the limit of RFC 5321; the rest is room for composition.
  if length(v_address) > 1000 then
    return null;
  end if;
  if v_address ~ '[^\u0001-\u007f]' then
    -- Three characters would compose to an ASCII one, and so to another person's address.
    if v_address ~ '[\u037e\u1fef\u212a]' then
      return null;
    end if;
    v_address := normalize(v_address, nfd);
  end if;
  v_address := normalize(lower(v_address collate "C"), nfc);
  -- A single address, without characters that mail software reads as a list, a name or the end of a header, and without invisible
  -- ones: white space, control, format and private characters (general category C), and default ignorable ones.
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
    -- A domain in its own letters must be in the form that is displayed (a U-label); a form that must be mapped first is
    -- rejected. In Cherokee the capitals are displayed.
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

comment on function plinth.normalize_email(text) is
  E'@behavior -*\nReturns the form in which an e-mail address is stored and compared; null for a text that is not an address.';
grant execute on function plinth.normalize_email(text) to :PLINTH_USER, :PLINTH_SERVICE;
--! EndIncluded plinth/functions/normalize_email.sql
--! Included plinth/functions/normalize_username.sql
-- A username is ASCII (constraint users_username_check), so only ASCII letters change case: İvan is not ivan.
create or replace function plinth.normalize_username(username text)
  returns text
  language sql
  immutable
  strict
  parallel safe
  set search_path = pg_catalog
as $$
  select lower(btrim(normalize_username.username, E' \t\n\r\f') collate "C")
$$;

comment on function plinth.normalize_username(text) is
  E'@behavior -*\nReturns the form in which a username is stored and compared: lower case, without surrounding white space.';
grant execute on function plinth.normalize_username(text) to :PLINTH_USER, :PLINTH_SERVICE;
--! EndIncluded plinth/functions/normalize_username.sql
--! Included plinth/functions/search_document.sql
-- The searchable form of a text: its words stemmed for its language, with and without accents, and also unstemmed, so that stop
-- words are found too. Each form of a word has the position of the word: phrases work in all of them. Texts without a known
-- language are read as English ("en"), which leaves words of other languages nearly unchanged. Most searched text is English,
-- which does not distinguish words by accents: plinth.english_words, PostgreSQL's english with its stop words, reads it in one
-- pass. Indexes and stored columns hold the result: a change here must rebuild them in its migration.
create or replace function plinth.search_document(language text, value text)
  returns tsvector
  language plpgsql
  immutable
  parallel safe
  set search_path = pg_catalog
as $$
declare
  v_configuration constant regconfig := learning.search_configuration(language);
  v_text text := plinth.search_text(left(value, 100000));
  v_plain text;
begin
  if octet_length(v_text) > length(v_text) then
    if plinth.is_cjk(v_text) then
      v_text := plinth.cjk_pairs(v_text);
    end if;
    -- More distinct words than this would not fit into a tsvector, which would reject the row.
    v_text := left(v_text, 200000);
    v_plain := plinth.without_accents(v_text);
    if v_configuration = 'pg_catalog.english'::regconfig then
      v_text := v_plain;
    elsif v_plain <> v_text then
      return (
        plinth.without_accents(to_tsvector(v_configuration, v_text)::text) || ' '
        || to_tsvector(v_configuration, v_plain)::text || ' ' || to_tsvector('pg_catalog.simple', v_plain)::text
      )::tsvector;
    end if;
  end if;
  if v_configuration = 'pg_catalog.english'::regconfig then
    return to_tsvector('plinth.english_words', v_text);
  elsif v_configuration = 'pg_catalog.simple'::regconfig then
    return to_tsvector('pg_catalog.simple', v_text);
  end if;
  return (to_tsvector(v_configuration, v_text)::text || ' ' || to_tsvector('pg_catalog.simple', v_text)::text)::tsvector;
end
$$;

comment on function plinth.search_document(text, text) is
  E'@behavior -*\n'
  'Returns the words of a text, stemmed in its language and unstemmed, without accents; of the first 100,000 characters.';
grant execute on function plinth.search_document(text, text) to :PLINTH_USER;
--! EndIncluded plinth/functions/search_document.sql
--! Included plinth/functions/search_headline.sql
-- A text with its search matches marked, as HTML. The words of the text that match the query are found first, as
-- plinth.search_document reads them; PostgreSQL then marks these exact words and chooses the fragments. U+0001 separates words
-- that its parser would join, U+E000 and U+E001 are the marks; these characters are removed from the text, so that all of it
-- can be escaped before the marks become markup.
create or replace function plinth.search_headline(language text, value text, query tsquery, options text)
  returns text
  language plpgsql
  immutable
  parallel safe
  set search_path = pg_catalog
as $$
declare
  v_text text := translate(normalize(left(value, 100000), NFC), E'\u0001\uE000\uE001', '');
  v_lexemes text[] := array(
    select distinct replace(m.match[1], '''''', '''')
    from regexp_matches(querytree(query), '''((?:[^'']|'''')+)''', 'g') as m (match)
  );
  v_words tsquery;
begin
  if plinth.is_cjk(array_to_string(v_lexemes, ' ')) then
    v_lexemes := array(
      select l
      from unnest(v_lexemes) l
      where length(l) > 1
        or not exists (select from unnest(v_lexemes) o where length(o) = 2 and plinth.is_cjk(o) and strpos(o, l) > 0)
    );
    -- A matched run of characters is separated from the rest.
    select string_agg(case when r.is_found <> r.was_found then E'\u0001' else '' end || r.one, '' order by r.place) into v_text
    from (
      select h.*, lag(h.is_found, 1, false) over (order by h.place) as was_found
      from (
        select
          s.one, s.place,
          coalesce(plinth.is_cjk(s.one) and (
            s.one = any (v_lexemes)
            or s.one || lead(s.one) over places = any (v_lexemes)
            or lag(s.one) over places || s.one = any (v_lexemes)
          ), false) as is_found
        from string_to_table(v_text, null) with ordinality as s (one, place)
        window places as (order by s.place)
      ) h
    ) r;
  end if;
  v_text := regexp_replace(coalesce(v_text, ''), '([!-/:-@[-`{-~])', E'\u0001\\1\u0001', 'g');
  select string_agg('''' || replace(t.word, '''', '''''') || '''', ' | ')::tsquery into v_words
  from (select distinct lower(p.token) as word from ts_parse('default', v_text) p where p.tokid <> 12) t
  where tsvector_to_array(plinth.search_document(search_headline.language, t.word)) && v_lexemes;
  v_text := translate(
    ts_headline('pg_catalog.simple', v_text, coalesce(v_words, E'''\u0001'''::tsquery), E'StartSel=\uE000, StopSel=\uE001, ' || options),
    E'\u0001', ''
  );
  return replace(replace(
    replace(replace(replace(replace(replace(v_text, '&', '&amp;'), '<', '&lt;'), '>', '&gt;'), '"', '&quot;'), '''', '&#39;'),
    E'\uE000', '<mark>'), E'\uE001', '</mark>');
end
$$;

comment on function plinth.search_headline(text, text, tsquery, text) is
  E'@behavior -*\n'
  'Returns a text, or parts of it by the options of ts_headline, as HTML: escaped, with <mark> around the words that match a '
  'query.';
grant execute on function plinth.search_headline(text, text, tsquery, text) to :PLINTH_ANONYMOUS, :PLINTH_USER;
--! EndIncluded plinth/functions/search_headline.sql
--! Included plinth/functions/search_query.sql
-- A user's search input as a query on plinth.search_document. It is parsed here, because PostgreSQL's parser fails on rows of
-- dashes: one word or quotation at a time, with the dash that excludes it. Stop words count only when there are no other words.
create or replace function plinth.search_query(language text, query text)
  returns tsquery
  language plpgsql
  immutable
  parallel safe
  set search_path = pg_catalog
as $$
declare
  v_configuration constant regconfig := learning.search_configuration(language);
  v_part text;
  v_body text;
  v_pairs text[];
  v_parts text[] := '{}';
  v_whole text;
  v_query tsquery;
begin
  for v_part in
    select p.match[1]
    from regexp_matches(left(query, 1000), '-*"[^"]*"|[^[:space:]"]+', 'g') as p (match)
  loop
    if lower(v_part) = 'or' then
      v_parts := v_parts || 'or'::text;
      continue;
    end if;
    -- In ASCII order, so that each of them becomes the comma under it.
    v_body := btrim(
      translate(plinth.search_text(v_part), '!"#$%&''()*+-./:;<=>?@[\]^_`{|}~', repeat(',', 31)), ', '
    );
    if plinth.is_cjk(v_body) then
      v_pairs := array(select distinct t from regexp_split_to_table(plinth.cjk_pairs(v_body), '[,[:space:]]+') t where t <> '');
      if v_part ~ '^-|"' then
        -- A phrase that ends in a pair ends before its single characters, which have other positions in a longer run.
        v_body := btrim(plinth.cjk_pairs(v_body), ',');
        if right(v_body, 3) like '_,_' and plinth.is_cjk(left(right(v_body, 3), 1)) and plinth.is_cjk(right(v_body, 1)) then
          v_body := left(v_body, -4);
        end if;
      else
        v_parts := v_parts || array(
          select format('"%s"', t)
          from unnest(v_pairs) t
          where length(t) > 1 or not exists (select from unnest(v_pairs) o where length(o) = 2 and strpos(o, t) > 0)
        );
        continue;
      end if;
    end if;
    if to_tsvector('pg_catalog.simple', v_body) <> '' then
      v_parts := v_parts || ((case when v_part like '-%' then '-' else '' end) || '"' || v_body || '"');
    end if;
  end loop;
  v_whole := array_to_string(v_parts, ' ');
  if v_configuration = 'pg_catalog.english'::regconfig then
    v_whole := plinth.without_accents(v_whole);
  end if;
  v_query := websearch_to_tsquery(v_configuration, v_whole);
  if numnode(v_query) = 0 then
    return websearch_to_tsquery(
      case when v_configuration = 'pg_catalog.english'::regconfig then 'plinth.english_words'::regconfig else 'pg_catalog.simple' end,
      plinth.without_accents(v_whole)
    );
  end if;
  return plinth.without_accents(v_query::text)::tsquery;
end
$$;

comment on function plinth.search_query(text, text) is
  E'@behavior -*\n'
  'Returns the query on plinth.search_document for a user''s input: words, "a phrase", or, -not; its first 1,000 characters.';
grant execute on function plinth.search_query(text, text) to :PLINTH_ANONYMOUS, :PLINTH_USER;
--! EndIncluded plinth/functions/search_query.sql
--! Included plinth/functions/search_text.sql
-- How search reads every text: rooms, chats and content share these functions. No extension: `unaccent` reads its rules from a
-- file of the server, so a restored dump could give other results.

-- Compatibility-normalized and in lower case. A comma replaces each character with which PostgreSQL's parser would join words
-- into one (hosts, paths, addresses, compounds, numbers, tags). Unattached marks and invisible characters are removed.
create or replace function plinth.search_text(value text)
  returns text
  language plpgsql
  immutable
  parallel safe
  set search_path = pg_catalog
as $$
begin
  if octet_length(value) = length(value) then
    return translate(lower(value), './@-&<+~', ',,,,,,,,');
  end if;
  return regexp_replace(
    regexp_replace(
      lower(case when value is nfkc normalized then value else normalize(value, NFKC) end),
      '[\u00ad\u0300-\u036f\u200b-\u200d\u2060\ufeff]+', '', 'g'
    ),
    '[./@&<+~-]', ',', 'g'
  );
end
$$;

comment on function plinth.search_text(text) is
  E'@behavior -*\nReturns a text as search reads it: compatibility-normalized, in lower case, joined words separated.';
-- An index is maintained with the rights of the role that writes the row.
grant execute on function plinth.search_text(text) to :PLINTH_USER;
--! EndIncluded plinth/functions/search_text.sql
--! Included plinth/functions/touch_updated_at.sql
-- The database sets updated_at: a client's value is overwritten, and an update that changes nothing leaves it alone, so that a
-- repeated import shows up as unchanged. A table with generated columns names them as the trigger's arguments: they are not
-- computed yet when this runs.
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
--! EndIncluded plinth/functions/touch_updated_at.sql
--! Included plinth/functions/user_agent.sql
create or replace function plinth.user_agent()
  returns text
  language sql
  stable
  parallel safe
as $$
  select nullif(current_setting('plinth.user_agent', true), '')
$$;

comment on function plinth.user_agent() is
  E'@behavior -*\nReturns the client''s User-Agent header, or null.';
grant execute on function plinth.user_agent() to :PLINTH_ANONYMOUS, :PLINTH_USER;
--! EndIncluded plinth/functions/user_agent.sql
--! Included plinth/functions/uuid_v7.sql
-- Primary keys are UUIDv7 (RFC 9562, section 5.7): they sort by time, so an index grows at its end. PostgreSQL 18 generates
-- them natively. Before it: 48 bits of time in ms, the version (28672 is 7 shifted left by 12), the microseconds within the ms
-- in the next 12 bits (section 6.2, method 3), then the variant and random bits of a UUIDv4.
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

comment on function plinth.uuid_v7() is E'@behavior -*\nReturns a new UUIDv7: unique, and sorted by its time of creation.';
grant execute on function plinth.uuid_v7()
  to :PLINTH_ANONYMOUS, :PLINTH_USER;
--! EndIncluded plinth/functions/uuid_v7.sql
--! Included plinth/functions/without_accents.sql
-- Letters that Unicode does not decompose are listed; й keeps its mark, because it distinguishes Russian endings.
create or replace function plinth.without_accents(value text)
  returns text
  language plpgsql
  immutable
  parallel safe
  set search_path = pg_catalog
as $$
declare
  v_text text := value;
begin
  if octet_length(v_text) > length(v_text) then
    v_text := regexp_replace(replace(normalize(v_text, NFKD), U&'\0438\0306', U&'\0439'), '[\u0300-\u036f]+', '', 'g');
  end if;
  if octet_length(v_text) > length(v_text) then
    v_text := replace(replace(replace(replace(normalize(v_text, NFKC), 'ß', 'ss'), 'æ', 'ae'), 'œ', 'oe'), 'þ', 'th');
    v_text := translate(v_text, 'øłđðħŧıς', 'olddhtiσ');
  end if;
  return v_text;
end
$$;

comment on function plinth.without_accents(text) is E'@behavior -*\nReturns a text in lower case without accents.';
-- An index is maintained with the rights of the role that writes the row.
grant execute on function plinth.without_accents(text) to :PLINTH_USER;
--! EndIncluded plinth/functions/without_accents.sql
--! Included plinth/private/check_batch_size.sql
create or replace function private.check_batch_size(batch_size integer, most integer default 100000)
  returns void
  language plpgsql
  immutable
  parallel safe
  set search_path = pg_catalog
as $$
begin
  if batch_size between 1 and most is not true then
    raise exception 'The batch size must be from 1 to %.', most using errcode = 'PL422';
  end if;
end
$$;

comment on function private.check_batch_size(integer, integer) is 'Raises PL422 unless batch_size is from 1 to most.';
--! EndIncluded plinth/private/check_batch_size.sql
--! Included plinth/private/delete_old_rows.sql
-- For the jobs that delete. Small batches keep locks and the write-ahead log short. A row that another transaction holds is left to
-- the next batch.
create or replace function private.delete_old_rows(target regclass, since name, kept interval, batch_size integer)
  returns integer
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_key text;
  v_is_same text;
  v_deleted integer;
begin
  select string_agg(format('t.%I', a.attname), ', '), string_agg(format('t.%1$I = o.%1$I', a.attname), ' and ')
  into v_key, v_is_same
  from pg_index i
  join pg_attribute a on a.attrelid = i.indrelid and a.attnum = any (i.indkey)
  where i.indrelid = target and i.indisprimary;

  execute format(
    'with old as (
      select %2$s
      from %1$s t
      where t.%4$I <= now() - $1
      order by t.%4$I
      limit $2
      for update skip locked
    )
    delete from %1$s t using old o where %3$s',
    target, v_key, v_is_same, since
  ) using kept, batch_size;
  get diagnostics v_deleted = row_count;
  return v_deleted;
end
$$;

comment on function private.delete_old_rows(regclass, name, interval, integer) is
  'Deletes up to batch_size rows, oldest first, whose time in the column since is at least kept ago; returns their number.';
--! EndIncluded plinth/private/delete_old_rows.sql
--! Included plinth/private/ensure_partitions.sql
-- Monthly partitions of every table partitioned by range of created_at, found in the catalogue so that new logs need no change
-- here. Each table also has a default partition: rows land there if the worker is away for months, and are moved when the month's
-- partition is created.
create or replace function private.ensure_partitions(months_ahead integer default 3)
  returns table (partition_name text)
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
  -- Bounds are midnights UTC in any session time zone; otherwise two callers could create overlapping months.
  set timezone = 'UTC'
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

comment on function private.ensure_partitions(integer) is
  'Creates the missing monthly partitions of all logs, from this month to months_ahead later; returns the names created.';
grant execute on function private.ensure_partitions(integer) to :PLINTH_WORKER;
--! EndIncluded plinth/private/ensure_partitions.sql
--! Included plinth/private/lock_for_new_partition.sql
-- Locks the tables that the creation of a partition touches, before it moves rows: the table against writers (no row may slip
-- into the default partition meanwhile), the tables that its foreign keys reference, and the default partition. Sign-ins write
-- here constantly, so the job waits briefly, releases all locks and retries: the job yields, not the user.
create or replace function private.lock_for_new_partition(partitioned_table regclass)
  returns void
  language plpgsql
  volatile
  set search_path = pg_catalog
  set lock_timeout = '200ms'
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

comment on function private.lock_for_new_partition(regclass) is
  'Locks a partitioned table, the tables it references and its default partition; tries for some seconds, then raises 55P03.';
--! EndIncluded plinth/private/lock_for_new_partition.sql
--! Included plinth/private/refuse_other_request.sql
create or replace function private.refuse_other_request(is_same boolean)
  returns void
  language plpgsql
  stable
  set search_path = pg_catalog
as $$
begin
  if not is_same then
    raise exception 'The idempotency key was already used with other arguments.'
      using errcode = 'PL409', column = 'idempotency_key', hint = 'Use a new key for a new request.';
  end if;
end
$$;

comment on function private.refuse_other_request(boolean) is
  'Raises PL409 unless a request is the one that its idempotency key was used for; null counts as the same.';
--! EndIncluded plinth/private/refuse_other_request.sql
--! Included plinth/private/request_digest.sql
-- A request under an idempotency key is identified by its result. The same request again gets the same response. Another request
-- under that key is rejected, because the response would be about something else and the request would be lost. The arguments are
-- compared, not the current row: messages are edited and rooms are renamed.

create or replace function private.request_digest(arguments jsonb)
  returns bytea
  language sql
  immutable
  set search_path = pg_catalog
as $$
  select sha256(convert_to(arguments::text, 'UTF8'))
$$;

comment on function private.request_digest(jsonb) is 'Returns the SHA-256 of the arguments of a request.';
--! EndIncluded plinth/private/request_digest.sql
--! Included plinth/private/require_user_id.sql
create or replace function private.require_user_id()
  returns uuid
  language plpgsql
  stable
  parallel safe
  set search_path = pg_catalog
as $$
begin
  if plinth.current_user_id() is null then
    raise exception 'You must be signed in.' using errcode = 'PL401';
  end if;
  return plinth.current_user_id();
end
$$;

comment on function private.require_user_id() is 'Returns the signed-in user''s id; PL401 if no user is signed in.';
--! EndIncluded plinth/private/require_user_id.sql
