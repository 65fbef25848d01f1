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

-- Tables ----------------------------------------------------------------------------------------------

-- One row per row that came from another system, with its id there.
create table plinth.external_ids (
  system text not null,
  relation text not null,
  external_id text not null,
  row_id uuid not null,
  user_id uuid,
  number bigint generated always as (
case
    when external_id ~ '^(0|-?[1-9][0-9]{0,17})$'::text then external_id::bigint
    else null::bigint
end) stored,
  created_at timestamp with time zone not null default now(),
  is_numbered_here boolean not null default false,
  constraint external_ids_pkey primary key (system, relation, external_id),
  constraint external_ids_system_relation_number_key unique (system, relation, number),
  constraint external_ids_system_relation_row_id_key unique (system, relation, row_id),
  constraint external_ids_external_id_check check (length(external_id) >= 1 and length(external_id) <= 200),
  constraint external_ids_relation_check check (relation ~ '^[a-z][a-z0-9_]{0,62}$'::text),
  constraint external_ids_system_check check (system ~ '^[a-z][a-z0-9_]{0,62}$'::text),
  constraint external_ids_user_id_fkey foreign key (user_id) references identity.users(id) on delete cascade
);

alter table plinth.external_ids enable row level security;

create index external_ids_user_id_idx on plinth.external_ids using btree (user_id);

comment on table plinth.external_ids is 'One row per row that came from another system, with its id there.';
comment on column plinth.external_ids.system is 'The other system: headphone, socializer, rovertchat, cedrina, ai_training or another lower-case name.';
comment on column plinth.external_ids.relation is 'Name of the table in the other system, such as users or chat_rooms.';
comment on column plinth.external_ids.external_id is 'Id of the row in the other system; the values of a composite key are separated by colons.';
comment on column plinth.external_ids.row_id is 'Id of the row here; for a row without an id of its own, an id made from its key.';
comment on column plinth.external_ids.user_id is 'The user that the row belongs to; null if it belongs to no person.';
comment on column plinth.external_ids.number is 'Value of external_id as a number; null if it is not an integer of up to 18 digits.';
comment on column plinth.external_ids.created_at is 'Time when the row was imported or numbered.';
comment on column plinth.external_ids.is_numbered_here is 'Whether a compatibility schema numbered a row that was created here. An import that brings a row with this id takes it over.';

create policy select_own on plinth.external_ids
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on plinth.external_ids is 'Users read the ids of their own rows.';

grant select on plinth.external_ids to :PLINTH_USER;

-- Functions -------------------------------------------------------------------------------------------

-- Notifies listening servers that a live topic (room:<id>, typing:<id>, presence:<id>, turn:<id>, user:<id>) reached a sequence; sent when the transaction commits.
create or replace function plinth.announce(topic text, sequence bigint)
  returns void
  language sql
  set search_path to 'pg_catalog'; -- fixtures/plinth/functions/announce.sql

comment on function plinth.announce(topic text, sequence bigint) is E'@behavior -*\nNotifies listening servers that a live topic (room:<id>, typing:<id>, presence:<id>, turn:<id>, user:<id>) reached a sequence; sent when the transaction commits.';
revoke execute on function plinth.announce(topic text, sequence bigint) from public;

-- Returns a label of a domain in its ASCII form: xn-- and Punycode when it has other characters, otherwise the label itself.
create or replace function plinth.ascii_label(label text)
  returns text
  language plpgsql
  immutable parallel safe strict
  set search_path to 'pg_catalog'; -- fixtures/plinth/functions/ascii_label.sql

comment on function plinth.ascii_label(label text) is E'@behavior -*\nReturns a label of a domain in its ASCII form: xn-- and Punycode when it has other characters, otherwise the label itself.';
revoke execute on function plinth.ascii_label(label text) from public;
grant execute on function plinth.ascii_label(label text) to :PLINTH_SERVICE, :PLINTH_USER;

-- Returns the row limit: count, or usual if it is null. PL422 naming the field unless it is from 1 to most; without most, there is no upper limit.
create or replace function plinth.checked_count(count integer, field text, usual integer, most integer)
  returns integer
  language plpgsql
  immutable parallel safe
  set search_path to 'pg_catalog'; -- fixtures/plinth/functions/checked_count.sql

comment on function plinth.checked_count(count integer, field text, usual integer, most integer) is 'Returns the row limit: count, or usual if it is null. PL422 naming the field unless it is from 1 to most; without most, there is no upper limit.';
revoke execute on function plinth.checked_count(count integer, field text, usual integer, most integer) from public;
grant execute on function plinth.checked_count(count integer, field text, usual integer, most integer) to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Returns a text in which every Chinese, Japanese and Korean character stands alone and with its neighbour.
create or replace function plinth.cjk_pairs(value text)
  returns text
  language sql
  immutable parallel safe
  set search_path to 'pg_catalog'; -- fixtures/plinth/functions/cjk_pairs.sql

comment on function plinth.cjk_pairs(value text) is E'@behavior -*\nReturns a text in which every Chinese, Japanese and Korean character stands alone and with its neighbour.';
revoke execute on function plinth.cjk_pairs(value text) from public;
grant execute on function plinth.cjk_pairs(value text) to :PLINTH_USER;

-- Returns the client's network address as the API saw it, or null.
create or replace function plinth.client_ip()
  returns inet
  language sql
  stable parallel safe; -- fixtures/plinth/functions/client_ip.sql

comment on function plinth.client_ip() is E'@behavior -*\nReturns the client''s network address as the API saw it, or null.';
revoke execute on function plinth.client_ip() from public;
grant execute on function plinth.client_ip() to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Returns the request's correlation id, as in the API's log, or null.
create or replace function plinth.correlation_id()
  returns text
  language sql
  stable parallel safe; -- fixtures/plinth/functions/correlation_id.sql

comment on function plinth.correlation_id() is E'@behavior -*\nReturns the request''s correlation id, as in the API''s log, or null.';
revoke execute on function plinth.correlation_id() from public;
grant execute on function plinth.correlation_id() to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Returns the id of the API token in use, or null for a session or a visitor.
create or replace function plinth.current_api_token_id()
  returns uuid
  language sql
  stable parallel safe; -- fixtures/plinth/functions/current_api_token_id.sql

comment on function plinth.current_api_token_id() is E'@behavior -*\nReturns the id of the API token in use, or null for a session or a visitor.';
revoke execute on function plinth.current_api_token_id() from public;
grant execute on function plinth.current_api_token_id() to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Returns the id of the session whose access token is in use, or null.
create or replace function plinth.current_session_id()
  returns uuid
  language sql
  stable parallel safe; -- fixtures/plinth/functions/current_session_id.sql

comment on function plinth.current_session_id() is E'@behavior -*\nReturns the id of the session whose access token is in use, or null.';
revoke execute on function plinth.current_session_id() from public;
grant execute on function plinth.current_session_id() to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Returns the signed-in user's id, or null if no user is signed in.
create or replace function plinth.current_user_id()
  returns uuid
  language sql
  stable parallel safe; -- fixtures/plinth/functions/current_user_id.sql

comment on function plinth.current_user_id() is E'@behavior -*\nReturns the signed-in user''s id, or null if no user is signed in.';
revoke execute on function plinth.current_user_id() from public;
grant execute on function plinth.current_user_id() to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Queues a job for the worker with a payload of JSON without secrets. Returns its id, or null if a scheduled job waits already. PL404 for an unknown job.
create or replace function plinth.enqueue_job(job_name text, payload jsonb default null::jsonb)
  returns uuid
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/plinth/functions/enqueue_job.sql

comment on function plinth.enqueue_job(job_name text, payload jsonb) is 'Queues a job for the worker with a payload of JSON without secrets. Returns its id, or null if a scheduled job waits already. PL404 for an unknown job.';
revoke execute on function plinth.enqueue_job(job_name text, payload jsonb) from public;

-- Returns whether a text has a Chinese, Japanese or Korean character; these scripts are written without spaces.
create or replace function plinth.is_cjk(value text)
  returns boolean
  language sql
  immutable parallel safe; -- fixtures/plinth/functions/is_cjk.sql

comment on function plinth.is_cjk(value text) is E'@behavior -*\nReturns whether a text has a Chinese, Japanese or Korean character; these scripts are written without spaces.';
revoke execute on function plinth.is_cjk(value text) from public;
grant execute on function plinth.is_cjk(value text) to :PLINTH_USER;

-- Trigger: gives exact values a fixed number of decimals (its first argument) in the columns named by the others; a value with more decimals stays for the CHECK to reject.
create or replace function plinth.keep_scale()
  returns trigger
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/plinth/functions/keep_scale.sql

comment on function plinth.keep_scale() is 'Trigger: gives exact values a fixed number of decimals (its first argument) in the columns named by the others; a value with more decimals stays for the CHECK to reject.';
revoke execute on function plinth.keep_scale() from public;

-- Lets the database set the column updated_at of a table whenever a row changes.
create or replace function plinth.keep_updated_at(target regclass)
  returns void
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/plinth/functions/keep_updated_at.sql

comment on function plinth.keep_updated_at(target regclass) is 'Lets the database set the column updated_at of a table whenever a row changes.';
revoke execute on function plinth.keep_updated_at(target regclass) from public;

-- Returns the form in which an e-mail address is stored and compared; null for a text that is not an address.
create or replace function plinth.normalize_email(address text)
  returns text
  language plpgsql
  immutable parallel safe strict
  set search_path to 'pg_catalog'; -- fixtures/plinth/functions/normalize_email.sql

comment on function plinth.normalize_email(address text) is E'@behavior -*\nReturns the form in which an e-mail address is stored and compared; null for a text that is not an address.';
revoke execute on function plinth.normalize_email(address text) from public;
grant execute on function plinth.normalize_email(address text) to :PLINTH_SERVICE, :PLINTH_USER;

-- Returns the form in which a username is stored and compared: lower case, without surrounding white space.
create or replace function plinth.normalize_username(username text)
  returns text
  language sql
  immutable parallel safe strict
  set search_path to 'pg_catalog'; -- fixtures/plinth/functions/normalize_username.sql

comment on function plinth.normalize_username(username text) is E'@behavior -*\nReturns the form in which a username is stored and compared: lower case, without surrounding white space.';
revoke execute on function plinth.normalize_username(username text) from public;
grant execute on function plinth.normalize_username(username text) to :PLINTH_SERVICE, :PLINTH_USER;

-- Lets each user read and change the rows that name the user in a column: row-level security, grants and a policy for each command.
create or replace function plinth.own_rows(target regclass, owner_column text default 'user_id'::text, grants text default 'select, insert, update, delete'::text)
  returns void
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/plinth/functions/own_rows.sql

comment on function plinth.own_rows(target regclass, owner_column text, grants text) is 'Lets each user read and change the rows that name the user in a column: row-level security, grants and a policy for each command.';
revoke execute on function plinth.own_rows(target regclass, owner_column text, grants text) from public;

-- Lets users and visitors read all rows: row-level security, grants and a policy.
create or replace function plinth.readable_by_all(target regclass)
  returns void
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/plinth/functions/readable_by_all.sql

comment on function plinth.readable_by_all(target regclass) is 'Lets users and visitors read all rows: row-level security, grants and a policy.';
revoke execute on function plinth.readable_by_all(target regclass) from public;

-- Returns the words of a text, stemmed in its language and unstemmed, without accents; of the first 100,000 characters.
create or replace function plinth.search_document(language text, value text)
  returns tsvector
  language plpgsql
  immutable parallel safe
  set search_path to 'pg_catalog'; -- fixtures/plinth/functions/search_document.sql

comment on function plinth.search_document(language text, value text) is E'@behavior -*\nReturns the words of a text, stemmed in its language and unstemmed, without accents; of the first 100,000 characters.';
revoke execute on function plinth.search_document(language text, value text) from public;
grant execute on function plinth.search_document(language text, value text) to :PLINTH_USER;

-- Returns a text, or parts of it by the options of ts_headline, as HTML: escaped, with <mark> around the words that match a query.
create or replace function plinth.search_headline(language text, value text, query tsquery, options text)
  returns text
  language plpgsql
  immutable parallel safe
  set search_path to 'pg_catalog'; -- fixtures/plinth/functions/search_headline.sql

comment on function plinth.search_headline(language text, value text, query tsquery, options text) is E'@behavior -*\nReturns a text, or parts of it by the options of ts_headline, as HTML: escaped, with <mark> around the words that match a query.';
revoke execute on function plinth.search_headline(language text, value text, query tsquery, options text) from public;
grant execute on function plinth.search_headline(language text, value text, query tsquery, options text) to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Returns the query on plinth.search_document for a user's input: words, "a phrase", or, -not; its first 1,000 characters.
create or replace function plinth.search_query(language text, query text)
  returns tsquery
  language plpgsql
  immutable parallel safe
  set search_path to 'pg_catalog'; -- fixtures/plinth/functions/search_query.sql

comment on function plinth.search_query(language text, query text) is E'@behavior -*\nReturns the query on plinth.search_document for a user''s input: words, "a phrase", or, -not; its first 1,000 characters.';
revoke execute on function plinth.search_query(language text, query text) from public;
grant execute on function plinth.search_query(language text, query text) to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Returns a text as search reads it: compatibility-normalized, in lower case, joined words separated.
create or replace function plinth.search_text(value text)
  returns text
  language plpgsql
  immutable parallel safe
  set search_path to 'pg_catalog'; -- fixtures/plinth/functions/search_text.sql

comment on function plinth.search_text(value text) is E'@behavior -*\nReturns a text as search reads it: compatibility-normalized, in lower case, joined words separated.';
revoke execute on function plinth.search_text(value text) from public;
grant execute on function plinth.search_text(value text) to :PLINTH_USER;

-- Trigger: sets updated_at when a row really changed; its arguments name the table's generated columns.
create or replace function plinth.touch_updated_at()
  returns trigger
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/plinth/functions/touch_updated_at.sql

comment on function plinth.touch_updated_at() is 'Trigger: sets updated_at when a row really changed; its arguments name the table''s generated columns.';
revoke execute on function plinth.touch_updated_at() from public;

-- Records changes of a table's rows in security.audit_trail. PL422 for a table without a primary key.
create or replace function plinth.track_changes(target regclass, owner_column text default null::text, ignored_columns text[] default '{updated_at}'::text[], confidential_columns text[] default '{}'::text[])
  returns void
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/plinth/functions/track_changes.sql

comment on function plinth.track_changes(target regclass, owner_column text, ignored_columns text[], confidential_columns text[]) is 'Records changes of a table''s rows in security.audit_trail. PL422 for a table without a primary key.';
revoke execute on function plinth.track_changes(target regclass, owner_column text, ignored_columns text[], confidential_columns text[]) from public;

-- Returns the client's User-Agent header, or null.
create or replace function plinth.user_agent()
  returns text
  language sql
  stable parallel safe; -- fixtures/plinth/functions/user_agent.sql

comment on function plinth.user_agent() is E'@behavior -*\nReturns the client''s User-Agent header, or null.';
revoke execute on function plinth.user_agent() from public;
grant execute on function plinth.user_agent() to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Returns a new UUIDv7: unique, and sorted by its time of creation.
create or replace function plinth.uuid_v7()
  returns uuid
  language sql
  parallel safe; -- fixtures/plinth/functions/uuid_v7.sql

comment on function plinth.uuid_v7() is E'@behavior -*\nReturns a new UUIDv7: unique, and sorted by its time of creation.';
revoke execute on function plinth.uuid_v7() from public;
grant execute on function plinth.uuid_v7() to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Lets users with a permission read and change all rows: row-level security, grants and a policy for each command. PL404 for an unknown permission.
create or replace function plinth.with_permission(target regclass, permission text, grants text default 'select, insert, update, delete'::text)
  returns void
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/plinth/functions/with_permission.sql

comment on function plinth.with_permission(target regclass, permission text, grants text) is 'Lets users with a permission read and change all rows: row-level security, grants and a policy for each command. PL404 for an unknown permission.';
revoke execute on function plinth.with_permission(target regclass, permission text, grants text) from public;

-- Returns a text in lower case without accents.
create or replace function plinth.without_accents(value text)
  returns text
  language plpgsql
  immutable parallel safe
  set search_path to 'pg_catalog'; -- fixtures/plinth/functions/without_accents.sql

comment on function plinth.without_accents(value text) is E'@behavior -*\nReturns a text in lower case without accents.';
revoke execute on function plinth.without_accents(value text) from public;
grant execute on function plinth.without_accents(value text) to :PLINTH_USER;
