--! Previous: sha1:f7f5508d853224949cc8c82d15984ced19851cfe
--! Hash: sha1:5cc131f1a2404470b590e00d09720cd687f688a0
--! Message: search document that dumps

-- A dump is restored in one go: what a stored column is worked out by says what it calls.
--! Included learning/functions/search_document.sql
-- Which of PostgreSQL's text search configurations reads a language: the part before the first hyphen decides, and a
-- language without one is taken word by word. Immutable, because a configuration of that name does not change its meaning.
create or replace function learning.search_configuration(language text)
  returns regconfig
  language sql
  immutable
  parallel safe
as $$
  select case split_part(language, '-', 1)
    when 'ar' then 'pg_catalog.arabic'::regconfig
    when 'ca' then 'pg_catalog.catalan'::regconfig
    when 'da' then 'pg_catalog.danish'::regconfig
    when 'de' then 'pg_catalog.german'::regconfig
    when 'el' then 'pg_catalog.greek'::regconfig
    when 'en' then 'pg_catalog.english'::regconfig
    when 'es' then 'pg_catalog.spanish'::regconfig
    when 'eu' then 'pg_catalog.basque'::regconfig
    when 'fi' then 'pg_catalog.finnish'::regconfig
    when 'fr' then 'pg_catalog.french'::regconfig
    when 'ga' then 'pg_catalog.irish'::regconfig
    when 'hi' then 'pg_catalog.hindi'::regconfig
    when 'hu' then 'pg_catalog.hungarian'::regconfig
    when 'hy' then 'pg_catalog.armenian'::regconfig
    when 'id' then 'pg_catalog.indonesian'::regconfig
    when 'it' then 'pg_catalog.italian'::regconfig
    when 'lt' then 'pg_catalog.lithuanian'::regconfig
    when 'nb' then 'pg_catalog.norwegian'::regconfig
    when 'ne' then 'pg_catalog.nepali'::regconfig
    when 'nl' then 'pg_catalog.dutch'::regconfig
    when 'nn' then 'pg_catalog.norwegian'::regconfig
    when 'no' then 'pg_catalog.norwegian'::regconfig
    when 'pt' then 'pg_catalog.portuguese'::regconfig
    when 'ro' then 'pg_catalog.romanian'::regconfig
    when 'ru' then 'pg_catalog.russian'::regconfig
    when 'sr' then 'pg_catalog.serbian'::regconfig
    when 'sv' then 'pg_catalog.swedish'::regconfig
    when 'ta' then 'pg_catalog.tamil'::regconfig
    when 'tr' then 'pg_catalog.turkish'::regconfig
    when 'yi' then 'pg_catalog.yiddish'::regconfig
    else 'pg_catalog.simple'::regconfig
  end
$$;

comment on function learning.search_configuration(text) is
  E'@behavior -*\nThe text search configuration of a language tag; simple where PostgreSQL has none.';

-- What an item is found by: its title first, then its tags, then its summary. The body is left out on purpose: a match would
-- tell what stands in a text that the searcher may not read. Items store the result, so a change here needs
-- `update learning.content_items set title = title` in its migration. Its body is parsed and not a string, so that pg_dump knows
-- what it calls and writes that before the table.
create or replace function learning.search_document(language text, title text, summary text, tags text[])
  returns tsvector
  language sql
  immutable
  parallel safe
begin atomic
  select
    setweight(to_tsvector(learning.search_configuration(language), title), 'A')
    || setweight(to_tsvector(learning.search_configuration(language), array_to_string(tags, ' ')), 'B')
    || setweight(to_tsvector(learning.search_configuration(language), summary), 'C');
end;

comment on function learning.search_document(text, text, text, text[]) is
  E'@behavior -*\nThe words of an item, stemmed in its language and weighted: title A, tags B, summary C.';
-- A stored column is worked out with the rights of who writes the row.
grant execute on function learning.search_configuration(text), learning.search_document(text, text, text, text[])
  to :PLINTH_USER;
--! EndIncluded learning/functions/search_document.sql
