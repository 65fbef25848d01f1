-- Schema plinth as the migrations leave it. Generated (plinth schema dump): read it, do not edit it.

create schema plinth;
comment on schema plinth is 'Foundation: identity of the caller, UUIDv7, shared trigger functions.';
grant usage on schema plinth to :PLINTH_ANONYMOUS, :PLINTH_SERVICE, :PLINTH_USER;

-- Text search -----------------------------------------------------------------------------------------

-- Stemmer for English words, including stop words.
create text search dictionary plinth.english_words (template = pg_catalog.snowball, language = 'english');

comment on text search dictionary plinth.english_words is 'Stemmer for English words, including stop words.';

-- English, including its stop words; see plinth.search_document.
create text search configuration plinth.english_words (parser = pg_catalog."default");
alter text search configuration plinth.english_words add mapping for asciihword, asciiword, hword, hword_asciipart, hword_part, word with plinth.english_words;
alter text search configuration plinth.english_words add mapping for email, file, float, host, hword_numpart, int, numhword, numword, sfloat, uint, url, url_path, version with simple;

comment on text search configuration plinth.english_words is 'English, including its stop words; see plinth.search_document.';

-- Functions -------------------------------------------------------------------------------------------

-- Notifies listening servers that a live topic (room:<id>, typing:<id>, presence:<id>, turn:<id>, user:<id>) reached a sequence; sent when the transaction commits.
create or replace function plinth.announce(topic text, sequence bigint)
  returns void
  language sql
  set search_path to 'pg_catalog'
begin atomic
  select pg_notify('plinth_live'::text, ((topic || ' '::text) || sequence)) as pg_notify;
end;

comment on function plinth.announce(topic text, sequence bigint) is E'@behavior -*\nNotifies listening servers that a live topic (room:<id>, typing:<id>, presence:<id>, turn:<id>, user:<id>) reached a sequence; sent when the transaction commits.';
revoke execute on function plinth.announce(topic text, sequence bigint) from public;

-- Returns a label of a domain in its ASCII form: xn-- and Punycode when it has other characters, otherwise the label itself.
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

comment on function plinth.ascii_label(label text) is E'@behavior -*\nReturns a label of a domain in its ASCII form: xn-- and Punycode when it has other characters, otherwise the label itself.';
revoke execute on function plinth.ascii_label(label text) from public;
grant execute on function plinth.ascii_label(label text) to :PLINTH_SERVICE, :PLINTH_USER;

-- Returns the row limit: count, or usual if it is null. PL422 naming the field unless it is from 1 to most; without most, there is no upper limit.
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

comment on function plinth.checked_count(count integer, field text, usual integer, most integer) is 'Returns the row limit: count, or usual if it is null. PL422 naming the field unless it is from 1 to most; without most, there is no upper limit.';
revoke execute on function plinth.checked_count(count integer, field text, usual integer, most integer) from public;
grant execute on function plinth.checked_count(count integer, field text, usual integer, most integer) to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Returns a text in which every Chinese, Japanese and Korean character stands alone and with its neighbour.
create or replace function plinth.cjk_pairs(value text)
  returns text
  language sql
  immutable parallel safe
  set search_path to 'pg_catalog'
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

comment on function plinth.cjk_pairs(value text) is E'@behavior -*\nReturns a text in which every Chinese, Japanese and Korean character stands alone and with its neighbour.';
revoke execute on function plinth.cjk_pairs(value text) from public;
grant execute on function plinth.cjk_pairs(value text) to :PLINTH_USER;

-- Returns the client's network address as the API saw it, or null.
create or replace function plinth.client_ip()
  returns inet
  language sql
  stable parallel safe
as $$
  select nullif(current_setting('plinth.client_ip', true), '')::inet
$$;

comment on function plinth.client_ip() is E'@behavior -*\nReturns the client''s network address as the API saw it, or null.';
revoke execute on function plinth.client_ip() from public;
grant execute on function plinth.client_ip() to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Returns the request's correlation id, as in the API's log, or null.
create or replace function plinth.correlation_id()
  returns text
  language sql
  stable parallel safe
as $$
  select nullif(current_setting('plinth.correlation_id', true), '')
$$;

comment on function plinth.correlation_id() is E'@behavior -*\nReturns the request''s correlation id, as in the API''s log, or null.';
revoke execute on function plinth.correlation_id() from public;
grant execute on function plinth.correlation_id() to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Returns the id of the API token in use, or null for a session or a visitor.
create or replace function plinth.current_api_token_id()
  returns uuid
  language sql
  stable parallel safe
as $$
  select nullif(current_setting('jwt.claims.api_token_id', true), '')::uuid
$$;

comment on function plinth.current_api_token_id() is E'@behavior -*\nReturns the id of the API token in use, or null for a session or a visitor.';
revoke execute on function plinth.current_api_token_id() from public;
grant execute on function plinth.current_api_token_id() to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Returns the id of the session whose access token is in use, or null.
create or replace function plinth.current_session_id()
  returns uuid
  language sql
  stable parallel safe
as $$
  select nullif(current_setting('jwt.claims.session_id', true), '')::uuid
$$;

comment on function plinth.current_session_id() is E'@behavior -*\nReturns the id of the session whose access token is in use, or null.';
revoke execute on function plinth.current_session_id() from public;
grant execute on function plinth.current_session_id() to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Returns the signed-in user's id, or null if no user is signed in.
create or replace function plinth.current_user_id()
  returns uuid
  language sql
  stable parallel safe
as $$
  select nullif(current_setting('jwt.claims.user_id', true), '')::uuid
$$;

comment on function plinth.current_user_id() is E'@behavior -*\nReturns the signed-in user''s id, or null if no user is signed in.';
revoke execute on function plinth.current_user_id() from public;
grant execute on function plinth.current_user_id() to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Returns whether a text has a Chinese, Japanese or Korean character; these scripts are written without spaces.
create or replace function plinth.is_cjk(value text)
  returns boolean
  language sql
  immutable parallel safe
as $$
  select value ~ '[\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3031-\u3035\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u312f\u3131-\u318e\u31a0-\u31bf\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua960-\ua97c\uac00-\ud7fb\uf900-\ufaff\U00020000-\U0003ffff]'
$$;

comment on function plinth.is_cjk(value text) is E'@behavior -*\nReturns whether a text has a Chinese, Japanese or Korean character; these scripts are written without spaces.';
revoke execute on function plinth.is_cjk(value text) from public;
grant execute on function plinth.is_cjk(value text) to :PLINTH_USER;

-- Trigger: gives exact values a fixed number of decimals (its first argument) in the columns named by the others; a value with more decimals stays for the CHECK to reject.
create or replace function plinth.keep_scale()
  returns trigger
  language plpgsql
  set search_path to 'pg_catalog'
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

comment on function plinth.keep_scale() is 'Trigger: gives exact values a fixed number of decimals (its first argument) in the columns named by the others; a value with more decimals stays for the CHECK to reject.';
revoke execute on function plinth.keep_scale() from public;

-- Returns the form in which an e-mail address is stored and compared; null for a text that is not an address.
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
  -- One address, without characters that mail software reads as a list, a name or the end of a header, and without invisible
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

comment on function plinth.normalize_email(address text) is E'@behavior -*\nReturns the form in which an e-mail address is stored and compared; null for a text that is not an address.';
revoke execute on function plinth.normalize_email(address text) from public;
grant execute on function plinth.normalize_email(address text) to :PLINTH_SERVICE, :PLINTH_USER;

-- Returns the form in which a username is stored and compared: lower case, without surrounding white space.
create or replace function plinth.normalize_username(username text)
  returns text
  language sql
  immutable parallel safe strict
  set search_path to 'pg_catalog'
as $$
  select lower(btrim(normalize_username.username, E' \t\n\r\f') collate "C")
$$;

comment on function plinth.normalize_username(username text) is E'@behavior -*\nReturns the form in which a username is stored and compared: lower case, without surrounding white space.';
revoke execute on function plinth.normalize_username(username text) from public;
grant execute on function plinth.normalize_username(username text) to :PLINTH_SERVICE, :PLINTH_USER;

-- Returns the words of a text, stemmed in its language and unstemmed, without accents; of the first 100,000 characters.
create or replace function plinth.search_document(language text, value text)
  returns tsvector
  language plpgsql
  immutable parallel safe
  set search_path to 'pg_catalog'
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

comment on function plinth.search_document(language text, value text) is E'@behavior -*\nReturns the words of a text, stemmed in its language and unstemmed, without accents; of the first 100,000 characters.';
revoke execute on function plinth.search_document(language text, value text) from public;
grant execute on function plinth.search_document(language text, value text) to :PLINTH_USER;

-- Returns a text, or parts of it by the options of ts_headline, as HTML: escaped, with <mark> around the words that match a query.
create or replace function plinth.search_headline(language text, value text, query tsquery, options text)
  returns text
  language plpgsql
  immutable parallel safe
  set search_path to 'pg_catalog'
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

comment on function plinth.search_headline(language text, value text, query tsquery, options text) is E'@behavior -*\nReturns a text, or parts of it by the options of ts_headline, as HTML: escaped, with <mark> around the words that match a query.';
revoke execute on function plinth.search_headline(language text, value text, query tsquery, options text) from public;
grant execute on function plinth.search_headline(language text, value text, query tsquery, options text) to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Returns the query on plinth.search_document for a user's input: words, "a phrase", or, -not; its first 1,000 characters.
create or replace function plinth.search_query(language text, query text)
  returns tsquery
  language plpgsql
  immutable parallel safe
  set search_path to 'pg_catalog'
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

comment on function plinth.search_query(language text, query text) is E'@behavior -*\nReturns the query on plinth.search_document for a user''s input: words, "a phrase", or, -not; its first 1,000 characters.';
revoke execute on function plinth.search_query(language text, query text) from public;
grant execute on function plinth.search_query(language text, query text) to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Returns a text as search reads it: compatibility-normalised, in lower case, joined words separated.
create or replace function plinth.search_text(value text)
  returns text
  language plpgsql
  immutable parallel safe
  set search_path to 'pg_catalog'
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

comment on function plinth.search_text(value text) is E'@behavior -*\nReturns a text as search reads it: compatibility-normalised, in lower case, joined words separated.';
revoke execute on function plinth.search_text(value text) from public;
grant execute on function plinth.search_text(value text) to :PLINTH_USER;

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

-- Returns the client's User-Agent header, or null.
create or replace function plinth.user_agent()
  returns text
  language sql
  stable parallel safe
as $$
  select nullif(current_setting('plinth.user_agent', true), '')
$$;

comment on function plinth.user_agent() is E'@behavior -*\nReturns the client''s User-Agent header, or null.';
revoke execute on function plinth.user_agent() from public;
grant execute on function plinth.user_agent() to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Returns a new UUIDv7: unique, and sorted by its time of creation.
create or replace function plinth.uuid_v7()
  returns uuid
  language sql
  parallel safe
as $$
      select uuidv7()
    $$;

comment on function plinth.uuid_v7() is E'@behavior -*\nReturns a new UUIDv7: unique, and sorted by its time of creation.';
revoke execute on function plinth.uuid_v7() from public;
grant execute on function plinth.uuid_v7() to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Returns a text in lower case without accents.
create or replace function plinth.without_accents(value text)
  returns text
  language plpgsql
  immutable parallel safe
  set search_path to 'pg_catalog'
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

comment on function plinth.without_accents(value text) is E'@behavior -*\nReturns a text in lower case without accents.';
revoke execute on function plinth.without_accents(value text) from public;
grant execute on function plinth.without_accents(value text) to :PLINTH_USER;
