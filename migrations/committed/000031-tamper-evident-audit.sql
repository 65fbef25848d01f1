--! Previous: sha1:cbab359bb64eb2e2c6eb5ae2f4ec1032ec33da79
--! Hash: sha1:c7cf0b559e41ca81009154d8153a38880a7c9247
--! Message: tamper-evident audit

-- The two audit logs become tamper-evident, and record the whole chain of actors.
--
-- Each row is committed to when it is written, and a job closes blocks of commitments into a hash chain. Design: a hash chain of
-- log entries (Schneier and Kelsey, Secure Audit Logs to Support Computer Forensics, 1999), but over salted commitments instead
-- of the rows, so that personal data can be erased, and in blocks closed afterwards, as the tree heads of RFC 9162, so that no
-- writer waits for the end of the chain.

-- Function bodies are checked on first use, so a function may precede the objects that it uses.
set local check_function_bodies = off;

alter table security.security_audit_log
  add column actor_kind text,
  add column acting_role text,
  add column api_token_id uuid,
  add column session_id uuid,
  add column job_name text,
  add column migration text,
  add column has_ignored_claims boolean,
  add column fixed_salt uuid,
  add column content_salt uuid,
  add constraint security_audit_log_actor_kind_check
    check (actor_kind in ('user', 'api_token', 'visitor', 'job', 'migration', 'database_role'));

comment on column security.security_audit_log.actor_kind is 'Kind of actor; null for events from before it was recorded.';
comment on column security.security_audit_log.acting_role is 'Database role that the session had become, or source.';
comment on column security.security_audit_log.api_token_id is
  'API token that acted on behalf of the actor, or null. The token may have been deleted since.';
comment on column security.security_audit_log.session_id is 'Session of the user that acted, or null. It may have been deleted since.';
comment on column security.security_audit_log.job_name is 'Name of the job that acted, or null.';
comment on column security.security_audit_log.migration is 'Schema of the history and file of the migration that acted, or null.';
comment on column security.security_audit_log.has_ignored_claims is
  'Whether a database role other than the API''s claimed to be a user, which is not recorded as the actor.';
comment on column security.security_audit_log.fixed_salt is
  E'@behavior -*\n@dataExport omit\nRandom salt of the commitment to the columns that erasure keeps.';
comment on column security.security_audit_log.content_salt is
  E'@behavior -*\n@dataExport omit\nRandom salt of the commitment to the other columns; erasure replaces it.';
comment on constraint security_audit_log_actor_kind_check on security.security_audit_log is
  E'@name actor_kind\n'
  'Kind of actor behind an event or a change.\n'
  'user: A user in a session.\n'
  'api_token: A program with an API token of a user.\n'
  'visitor: The API, for a client without a user, such as at a sign-in.\n'
  'job: A job of the worker.\n'
  'migration: A migration.\n'
  'database_role: A database role outside the API, such as an administrator in psql.';

alter table security.audit_trail
  add column actor_kind text,
  add column acting_role text,
  add column api_token_id uuid,
  add column session_id uuid,
  add column job_name text,
  add column migration text,
  add column has_ignored_claims boolean,
  add column fixed_salt uuid,
  add column content_salt uuid,
  add constraint audit_trail_actor_kind_check
    check (actor_kind in ('user', 'api_token', 'visitor', 'job', 'migration', 'database_role'));

comment on column security.audit_trail.actor_kind is 'Kind of actor; null for changes from before it was recorded.';
comment on column security.audit_trail.acting_role is 'Database role that the session had become, or source.';
comment on column security.audit_trail.api_token_id is
  'API token that acted on behalf of the actor, or null. The token may have been deleted since.';
comment on column security.audit_trail.session_id is 'Session of the user that acted, or null. It may have been deleted since.';
comment on column security.audit_trail.job_name is 'Name of the job that acted, or null.';
comment on column security.audit_trail.migration is 'Schema of the history and file of the migration that acted, or null.';
comment on column security.audit_trail.has_ignored_claims is
  'Whether a database role other than the API''s claimed to be a user, which is not recorded as the actor.';
comment on column security.audit_trail.fixed_salt is
  E'@behavior -*\n@dataExport omit\nRandom salt of the commitment to the columns that erasure keeps.';
comment on column security.audit_trail.content_salt is
  E'@behavior -*\n@dataExport omit\nRandom salt of the commitment to the other columns; erasure replaces it.';
comment on constraint audit_trail_actor_kind_check on security.audit_trail is
  E'@name actor_kind\n'
  'Kind of actor behind an event or a change.\n'
  'user: A user in a session.\n'
  'api_token: A program with an API token of a user.\n'
  'visitor: The API, for a client without a user, such as at a sign-in.\n'
  'job: A job of the worker.\n'
  'migration: A migration.\n'
  'database_role: A database role outside the API, such as an administrator in psql.';

create table private.audit_blocks (
  number bigint primary key,
  previous_hash bytea not null,
  root bytea not null,
  entry_count integer not null,
  closed_at timestamptz not null,
  hash bytea not null,
  constraint audit_blocks_number_is_not_negative check (number >= 0),
  constraint audit_blocks_entry_count_is_not_negative check (entry_count >= 0),
  constraint audit_blocks_hashes_are_sha256
    check (octet_length(previous_hash) = 32 and octet_length(root) = 32 and octet_length(hash) = 32)
);

alter table private.audit_blocks enable row level security;

comment on table private.audit_blocks is
  'One row per closed block of commitments to rows of the audit logs, each chained to the one before. Block 0 is the start.';
comment on column private.audit_blocks.number is 'Number of the block, without gaps.';
comment on column private.audit_blocks.previous_hash is 'Hash of the block before; zeros for block 0.';
comment on column private.audit_blocks.root is 'SHA-256 of the block''s entries, see private.audit_root.';
comment on column private.audit_blocks.entry_count is 'Number of entries.';
comment on column private.audit_blocks.closed_at is 'Time when the block was closed.';
comment on column private.audit_blocks.hash is 'SHA-256 of all other columns, see private.audit_block_hash.';

create table private.audit_commitments (
  row_id uuid not null,
  log text not null,
  version integer not null,
  row_created_at timestamptz not null,
  fixed_hash bytea not null,
  content_hash bytea not null,
  created_at timestamptz not null default now(),
  account_id uuid references identity.users on delete set null,
  block_number bigint,
  primary key (row_id, log, version),
  constraint audit_commitments_log_check check (log in ('security.security_audit_log', 'security.audit_trail')),
  constraint audit_commitments_version_is_not_negative check (version >= 0),
  constraint audit_commitments_hashes_are_sha256 check (octet_length(fixed_hash) = 32 and octet_length(content_hash) = 32)
);

alter table private.audit_commitments enable row level security;

-- The entries that the next block takes.
create index audit_commitments_pending_idx on private.audit_commitments (row_id) where block_number is null;
create index audit_commitments_block_number_idx on private.audit_commitments (block_number) where block_number is not null;
-- Serves the foreign key: the column is set for the moment between an erasure and the end of its account.
create index audit_commitments_account_id_idx on private.audit_commitments (account_id);
-- Verification reads month by month, in the order in which the entries were written.
create index audit_commitments_row_created_at_idx on private.audit_commitments using brin (row_created_at);

comment on table private.audit_commitments is
  E'@dataExport omit: hashes of rows that are exported themselves\n'
  'One row per row of the audit logs (version 0) and per erasure of it. They stay when the row is erased, archived or dropped.';
comment on column private.audit_commitments.row_id is 'Id of the row of the log.';
comment on column private.audit_commitments.log is 'Schema and name of the log.';
comment on column private.audit_commitments.version is 'Number of erasures of the row until this entry; 0 for the row as it was written.';
comment on column private.audit_commitments.row_created_at is 'Column created_at of the row of the log.';
comment on column private.audit_commitments.fixed_hash is 'Salted SHA-256 of the columns that erasure keeps.';
comment on column private.audit_commitments.content_hash is 'Salted SHA-256 of the other columns.';
comment on column private.audit_commitments.created_at is 'Time of the transaction that wrote or erased the row.';
comment on column private.audit_commitments.account_id is
  'The account whose erasure cleared the row, null once it is deleted: if it exists, nothing entitled anyone to clear the row.';
comment on column private.audit_commitments.block_number is 'Number of the block that contains the entry; null until then.';

--! Included security/private/audit_actor.sql
-- Settings can be set by any session, so claims count only in sessions of the API's logins and of the worker, whose programs set
-- them from verified tokens. PostgreSQL itself vouches for session_user.
create or replace function private.audit_actor(
  out actor_kind text,
  out acting_role text,
  out user_id uuid,
  out api_token_id uuid,
  out session_id uuid,
  out job_name text,
  out migration text,
  out has_ignored_claims boolean
)
  language plpgsql
  stable
  set search_path = pg_catalog
as $$
begin
  acting_role := coalesce(nullif(current_setting('role'), 'none'), session_user);
  has_ignored_claims := false;
  if session_user in (':PLINTH_AUTHENTICATOR', ':PLINTH_SERVICE', ':PLINTH_WORKER') then
    user_id := plinth.current_user_id();
    api_token_id := plinth.current_api_token_id();
    session_id := plinth.current_session_id();
    if session_user = ':PLINTH_WORKER' then
      job_name := nullif(current_setting('plinth.job', true), '');
    end if;
    actor_kind := case
      when job_name is not null then 'job'
      when api_token_id is not null then 'api_token'
      when user_id is not null then 'user'
      when session_user = ':PLINTH_WORKER' then 'database_role'
      else 'visitor'
    end;
    return;
  end if;

  has_ignored_claims := concat(
    current_setting('jwt.claims.user_id', true),
    current_setting('jwt.claims.session_id', true),
    current_setting('jwt.claims.api_token_id', true)
  ) <> '';
  -- The caller runs as the owner, who migrates.
  if pg_has_role(session_user, current_user, 'usage') then
    migration := nullif(current_setting('plinth.migration', true), '');
  end if;
  actor_kind := case when migration is null then 'database_role' else 'migration' end;
end
$$;

comment on function private.audit_actor() is
  'Returns the actor behind the current statement, for the audit logs. Called with the owner''s rights.';
--! EndIncluded security/private/audit_actor.sql
--! Included security/private/erasable_audit_columns.sql
create or replace function private.erasable_audit_columns(log text)
  returns text[]
  language sql
  immutable
  set search_path = pg_catalog
as $$
  select array['user_id', 'actor_id', 'api_token_id', 'session_id', 'ip_address', 'correlation_id'] || case log
    when 'security.security_audit_log' then array['event_data', 'metadata', 'user_agent']
    when 'security.audit_trail' then array['row_key', 'old_values', 'new_values']
  end
$$;

comment on function private.erasable_audit_columns(text) is
  'Returns the columns of an audit log that may hold personal data, which an erasure clears.';
--! EndIncluded security/private/erasable_audit_columns.sql
--! Included security/private/audit_row_hash.sql
-- Null values are left out, so that a column that is added later does not change the hash of earlier rows. jsonb has a single
-- spelling of each value. The callers convert rows to JSON in UTC.
create or replace function private.audit_row_hash(log text, audit_row jsonb, is_content boolean)
  returns bytea
  language sql
  immutable
  set search_path = pg_catalog
as $$
  select sha256(
    uuid_send((audit_row ->> case when is_content then 'content_salt' else 'fixed_salt' end)::uuid)
    || convert_to(coalesce(jsonb_object_agg(c.key, c.value), '{}')::text, 'UTF8')
  )
  from jsonb_each(audit_row) c
  where c.value <> 'null'
    and (c.key = any (private.erasable_audit_columns(log))) = is_content
    and c.key not in ('fixed_salt', 'content_salt')
$$;

comment on function private.audit_row_hash(text, jsonb, boolean) is
  'Returns the salted SHA-256 of a row of an audit log: of the columns that erasure clears (is_content), or of the others. Null without a salt.';
--! EndIncluded security/private/audit_row_hash.sql
--! Included security/private/audit_root.sql
-- Leaves have the prefix 00 and the list of them 01, as in RFC 9162, section 2.1.1, so that neither passes for the other.
create or replace function private.audit_root(block_number bigint, out entry_count integer, out root bytea)
  language sql
  stable
  set search_path = pg_catalog
as $$
  select
    count(*),
    sha256('\x01' || coalesce(string_agg(sha256(l.leaf), '' order by c.row_id, c.log collate "C", c.version), ''))
  from private.audit_commitments c
  cross join lateral (
    select
      '\x00' || c.fixed_hash || c.content_hash || uuid_send(c.row_id)
      || int8send((extract(epoch from c.row_created_at) * 1000000)::bigint)
      || int8send((extract(epoch from c.created_at) * 1000000)::bigint)
      || int4send(c.version) || convert_to(c.log, 'UTF8') as leaf
  ) l
  where c.block_number = audit_root.block_number
$$;

comment on function private.audit_root(bigint) is 'Returns the number of a block''s entries and the SHA-256 of all of them.';
--! EndIncluded security/private/audit_root.sql
--! Included security/private/audit_block_hash.sql
-- src/audit/verify-blocks.ts computes it from the same text.
create or replace function private.audit_block_hash(
  number bigint,
  previous_hash bytea,
  root bytea,
  entry_count integer,
  closed_at timestamptz
)
  returns bytea
  language sql
  immutable
  set search_path = pg_catalog
as $$
  select sha256(
    previous_hash || root
    || convert_to(format('%s %s %s', number, entry_count, (extract(epoch from closed_at) * 1000000)::bigint), 'UTF8')
  )
$$;

comment on function private.audit_block_hash(bigint, bytea, bytea, integer, timestamptz) is
  'Returns the SHA-256 that chains a block to the one before.';
--! EndIncluded security/private/audit_block_hash.sql
--! Included security/private/commit_audit_row.sql
-- Commits to each new row, and to what an erasure leaves of a row. Only clearing personal columns counts as an erasure. Any other
-- change is not prevented, because the owner of a table can do anything; it leaves a row that differs from its commitment, which
-- plinth audit verify reports. Inserts touch only rows of their own, so that writers do not wait for each other.
create or replace function private.commit_audit_row()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
  set timezone = 'UTC'
as $$
declare
  v_log constant text := tg_argv[0];
  v_new jsonb;
  v_old jsonb;
  v_account_id uuid;
  v_kept record;
begin
  if tg_op = 'INSERT' then
    new.fixed_salt := coalesce(new.fixed_salt, gen_random_uuid());
    new.content_salt := coalesce(new.content_salt, gen_random_uuid());
    v_new := to_jsonb(new);
    insert into private.audit_commitments (row_id, log, version, row_created_at, fixed_hash, content_hash)
    values (
      new.id, v_log, 0, new.created_at,
      private.audit_row_hash(v_log, v_new, false), private.audit_row_hash(v_log, v_new, true)
    )
    on conflict do nothing;
    if found then
      return new;
    end if;
    -- A row of an archive that is being attached: what it refers to may have been deleted since.
    select c.content_hash into v_kept
    from private.audit_commitments c
    where c.row_id = new.id and c.log = v_log
    order by c.version desc
    limit 1;
    if v_kept.content_hash = private.audit_row_hash(v_log, v_new, true)
      or not exists (
        select
        from security.archives a
        where a.log = v_log and a.month = date_trunc('month', new.created_at)::date and a.state = 'attached'
      )
    then
      return new;
    end if;
  else
    v_old := to_jsonb(old);
    v_new := to_jsonb(new);
    if v_old = v_new or exists (
      select
      from jsonb_each(v_new) n
      where n.value is distinct from v_old -> n.key
        and not (
          n.key = any (private.erasable_audit_columns(v_log))
          and (
            n.value = 'null'
            or jsonb_typeof(n.value) = 'object' and v_old -> n.key @> n.value
            or n.value = any (array[
              private.without_id(v_old -> n.key, old.user_id), private.without_id(v_old -> n.key, old.actor_id)
            ])
          )
        )
    ) then
      return new;
    end if;
    v_account_id := coalesce(
      case when new.user_id is null then old.user_id end,
      case when new.actor_id is null then old.actor_id end
    );
    -- The event of a visitor has no account; otherwise only the end of an account clears its rows.
    if v_account_id is null and coalesce(old.user_id, old.actor_id) is not null then
      return new;
    end if;
  end if;

  new.content_salt := gen_random_uuid();
  insert into private.audit_commitments (row_id, log, version, row_created_at, fixed_hash, content_hash, account_id)
  select
    new.id, v_log, max(c.version) + 1, new.created_at,
    private.audit_row_hash(v_log, to_jsonb(new), false), private.audit_row_hash(v_log, to_jsonb(new), true),
    (select u.id from identity.users u where u.id = v_account_id)
  from private.audit_commitments c
  where c.row_id = new.id and c.log = v_log
  having max(c.version) is not null;
  return new;
end
$$;

comment on function private.commit_audit_row() is
  'Trigger: commits to the rows of an audit log, which is its argument, and to their erasures.';
--! EndIncluded security/private/commit_audit_row.sql
--! Included security/private/commit_archived_erasure.sql
-- For a row of an archive what private.commit_audit_row is for a row of the log. The commitment belongs to the transaction that
-- registers the rewritten file, so a commitment and the file that plinth audit verify reads always agree, whenever a run is killed.
--
-- The worker chooses the lines, so only an authentic row gets a commitment: the latest one matches it, it is in no partition of the
-- log, and its account is being erased. An altered row keeps its salt, and differs from its commitment afterwards as before.
create or replace function private.commit_archived_erasure(log text, former jsonb, remaining jsonb, account_id uuid)
  returns jsonb
  language plpgsql
  volatile
  set search_path = pg_catalog
  set timezone = 'UTC'
as $$
declare
  v_row_id constant uuid := former ->> 'id';
  v_row_created_at constant timestamptz := former ->> 'created_at';
  v_new constant jsonb := remaining || jsonb_build_object('content_salt', gen_random_uuid());
  v_latest private.audit_commitments;
  v_is_in_log boolean;
begin
  if former = remaining or not exists (select from private.archive_erasures e where e.user_id = account_id) then
    return remaining;
  end if;
  select c.* into v_latest
  from private.audit_commitments c
  where c.row_id = v_row_id and c.log = commit_archived_erasure.log
  order by c.version desc
  limit 1;
  -- Null for a row from before the chain began.
  if (
    v_latest.row_created_at = v_row_created_at
    and v_latest.fixed_hash = private.audit_row_hash(log, former, false)
    and v_latest.content_hash = private.audit_row_hash(log, former, true)
  ) is not true then
    return remaining;
  end if;
  execute format('select exists (select from %s l where l.id = $1 and l.created_at = $2)', log::regclass)
  into v_is_in_log using v_row_id, v_row_created_at;
  if v_is_in_log then
    return remaining;
  end if;
  insert into private.audit_commitments (row_id, log, version, row_created_at, fixed_hash, content_hash)
  values (
    v_row_id, log, v_latest.version + 1, v_row_created_at,
    private.audit_row_hash(log, v_new, false), private.audit_row_hash(log, v_new, true)
  );
  return v_new;
end
$$;

comment on function private.commit_archived_erasure(text, jsonb, jsonb, uuid) is
  'Commits to what an erasure leaves of an archived row of an audit log; returns it with its new salt.';
--! EndIncluded security/private/commit_archived_erasure.sql
--! Included security/private/close_audit_block.sql
-- Takes the entries that no block has yet, not those of a period: a transaction that commits late is then in a later block. Only
-- committed entries are visible here, so no writer waits.
create or replace function private.close_audit_block(max_entries integer default 10000)
  returns integer
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_last private.audit_blocks;
  v_found record;
  v_closed_at timestamptz;
begin
  perform private.check_batch_size(max_entries);
  -- Another closing waits for this one; its next statement then sees the block.
  perform pg_advisory_xact_lock(hashtextextended('private.close_audit_block', 0));
  select b.* into v_last from private.audit_blocks b order by b.number desc limit 1;
  with taken as (
    select c.row_id, c.log, c.version
    from private.audit_commitments c
    where c.block_number is null
    order by c.row_id
    limit max_entries
    for update skip locked
  )
  update private.audit_commitments c
  set block_number = v_last.number + 1
  from taken t
  where c.row_id = t.row_id and c.log = t.log and c.version = t.version;
  if not found then
    return 0;
  end if;
  select r.* into v_found from private.audit_root(v_last.number + 1) r;
  v_closed_at := clock_timestamp();
  insert into private.audit_blocks (number, previous_hash, root, entry_count, closed_at, hash)
  values (
    v_last.number + 1, v_last.hash, v_found.root, v_found.entry_count, v_closed_at,
    private.audit_block_hash(v_last.number + 1, v_last.hash, v_found.root, v_found.entry_count, v_closed_at)
  );
  return v_found.entry_count;
end
$$;

comment on function private.close_audit_block(integer) is
  'Closes a block of up to max_entries commitments to rows of the audit logs; returns their number, 0 if there is none.';
grant execute on function private.close_audit_block(integer) to :PLINTH_WORKER;
--! EndIncluded security/private/close_audit_block.sql
--! Included security/private/record_data_change.sql
-- Writes the audit trail: the actor (see private.audit_actor), the change, the old and new values. The same function serves all tables; the trigger's arguments are
--   1  the columns of the primary key
--   2  the column that names the account concerned, or ''
--   3  noise columns: a change of these alone is no change (counters of each sign-in, updated_at, generated columns)
--   4  confidential columns: a change is recorded, but not the old and new values
-- each a list with commas and no blanks.
--
-- A deleted account, or one being deleted, is not waited for: its deletion already waits for this row, and both would deadlock.
-- Then user_id stays null, and neither values nor the account's id are kept; see private.forget_data_changes. Likewise an account
-- that acts on itself during its deletion leaves no address.
create or replace function private.record_data_change()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
declare
  v_noise constant text[] := string_to_array(tg_argv[2], ',');
  v_masked constant text[] := string_to_array(tg_argv[3], ',');
  v_old jsonb := to_jsonb(old) - v_noise;
  v_new jsonb := to_jsonb(new) - v_noise;
  v_row jsonb := case when tg_op = 'DELETE' then to_jsonb(old) else to_jsonb(new) end;
  v_changed text[];
  v_user_id uuid;
  v_actor record;
  v_actor_id uuid;
  -- Address and program of a deleted account are not kept; those that another database role sets are its own invention.
  v_is_kept boolean;
begin
  if v_old = v_new then
    return null;
  end if;
  if tg_op = 'UPDATE' then
    select array_agg(n.key order by n.key) into v_changed
    from jsonb_each(v_new) n
    where n.value is distinct from v_old -> n.key;
    select jsonb_object_agg(c.name, v_old -> c.name), jsonb_object_agg(c.name, v_new -> c.name) into v_old, v_new
    from unnest(v_changed) c (name);
  end if;

  if tg_argv[1] <> '' then
    select u.id into v_user_id
    from identity.users u
    where u.id = (v_row ->> tg_argv[1])::uuid
    for key share skip locked;
    if v_user_id is null then
      v_old := null;
      v_new := null;
      v_row := private.without_id(v_row, (v_row ->> tg_argv[1])::uuid);
    end if;
  end if;
  v_actor := private.audit_actor();
  select u.id into v_actor_id from identity.users u where u.id = v_actor.user_id for key share skip locked;
  v_is_kept := v_actor_id is not null or v_actor.user_id is null;

  insert into security.audit_trail (
    table_name, operation, row_key, user_id, actor_id, changed_columns, old_values, new_values,
    transaction_number, source, correlation_id, ip_address,
    actor_kind, acting_role, api_token_id, session_id, job_name, migration, has_ignored_claims
  )
  values (
    tg_table_schema || '.' || tg_table_name,
    tg_op,
    (select jsonb_object_agg(k.name, v_row -> k.name) from unnest(string_to_array(tg_argv[0], ',')) k (name)),
    v_user_id,
    v_actor_id,
    v_changed,
    v_old - v_masked,
    v_new - v_masked,
    pg_current_xact_id()::text::bigint,
    session_user,
    case when v_is_kept then plinth.correlation_id() end,
    case when v_is_kept and v_actor.actor_kind not in ('migration', 'database_role') then plinth.client_ip() end,
    v_actor.actor_kind,
    v_actor.acting_role,
    case when v_is_kept then v_actor.api_token_id end,
    case when v_is_kept then v_actor.session_id end,
    v_actor.job_name,
    v_actor.migration,
    v_actor.has_ignored_claims
  );
  return null;
end
$$;

comment on function private.record_data_change() is
  'Trigger: adds a row to security.audit_trail. Arguments: key columns, account column, noise columns, columns whose values are not kept.';
--! EndIncluded security/private/record_data_change.sql
--! Included security/private/record_security_event.sql
-- The only way into the audit log. Context (address, agent, correlation id, actor) comes from the request's settings.
create or replace function private.record_security_event(
  event_type text,
  user_id uuid,
  event_data jsonb default '{}',
  severity text default 'info'
)
  returns void
  language sql
  volatile
  security definer
  set search_path = pg_catalog
as $$
  -- The account may be gone (a token of a deleted user), but the event still counts. Locked as the foreign key would, so that it
  -- cannot be deleted between the check and the insert. An account being deleted counts as gone: its deletion may wait for a row
  -- that the caller has changed, and both would deadlock.
  with subject as materialized (
    select u.id from identity.users u where u.id = record_security_event.user_id for key share skip locked
  ),
  chain as materialized (
    select a.* from private.audit_actor() a
  ),
  actor as materialized (
    select u.id from identity.users u where u.id = (select h.user_id from chain h) for key share skip locked
  ),
  context as (
    select
      (select s.id from subject s) as subject_id,
      (select a.id from actor a) as actor_id,
      -- Address and program of a deleted account are not kept.
      ((select h.user_id from chain h) is null or exists (select from actor))
        and (record_security_event.user_id is null or exists (select from subject) or exists (select from actor)) as is_kept
  )
  insert into security.security_audit_log
    (
      user_id, actor_id, event_type, event_data, severity, source, ip_address, user_agent, correlation_id,
      actor_kind, acting_role, api_token_id, session_id, job_name, migration, has_ignored_claims
    )
  select
    c.subject_id,
    c.actor_id,
    record_security_event.event_type,
    -- Neither is its id, as in the event about a role that ends with its account.
    private.without_id(
      coalesce(record_security_event.event_data, '{}'), case when c.subject_id is null then record_security_event.user_id end
    ),
    record_security_event.severity,
    session_user,
    -- Those that a database role sets outside the API are its own invention.
    case when c.is_kept and h.actor_kind not in ('migration', 'database_role') then plinth.client_ip() end,
    case when c.is_kept and h.actor_kind not in ('migration', 'database_role') then left(plinth.user_agent(), 1000) end,
    case when c.is_kept then plinth.correlation_id() end,
    h.actor_kind,
    h.acting_role,
    case when c.is_kept then h.api_token_id end,
    case when c.is_kept then h.session_id end,
    h.job_name,
    h.migration,
    h.has_ignored_claims
  from context c
  cross join chain h;
  select private.notify_user(record_security_event.user_id, n.template, jsonb_build_object('event', record_security_event.event_type))
  from private.notification_of(record_security_event.event_type, record_security_event.event_data) n (template)
  where n.template is not null
$$;

comment on function private.record_security_event(text, uuid, jsonb, text) is
  'Adds a row to security.security_audit_log with the request''s context, and notifies the owner if private.notification_of lists the event.';
--! EndIncluded security/private/record_security_event.sql
--! Included security/private/erase_security_events.sql
create or replace function private.erase_security_events(account_id uuid)
  returns void
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
begin
  perform
  from security.security_audit_log l
  where l.user_id = account_id or l.actor_id = account_id
  order by l.created_at, l.id
  for update;

  update security.security_audit_log l
  set (user_id, actor_id, event_data, metadata, ip_address, user_agent, correlation_id, api_token_id, session_id) = (
    select r.user_id, r.actor_id, r.event_data, r.metadata, r.ip_address, r.user_agent, r.correlation_id, r.api_token_id, r.session_id
    from private.without_account(l, account_id) r
  )
  where l.user_id = account_id or l.actor_id = account_id;
end
$$;

comment on function private.erase_security_events(uuid) is
  'Clears an account''s data, address and program from the audit log; those of other people who acted on it stay.';
--! EndIncluded security/private/erase_security_events.sql
--! Included security/private/forget_data_changes.sql
-- Before the delete, because afterwards the rows have no user_id.
create or replace function private.forget_data_changes()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
begin
  perform
  from security.audit_trail t
  where t.user_id = old.id or t.actor_id = old.id
  order by t.created_at, t.id
  for update;

  update security.audit_trail t
  set (user_id, actor_id, old_values, new_values, ip_address, correlation_id, row_key, api_token_id, session_id) = (
    select r.user_id, r.actor_id, r.old_values, r.new_values, r.ip_address, r.correlation_id, r.row_key, r.api_token_id, r.session_id
    from private.without_account(t, old.id) r
  )
  where t.user_id = old.id or t.actor_id = old.id;
  return old;
end
$$;

comment on function private.forget_data_changes() is
  'Trigger: clears an account''s values and addresses from the audit trail when it is deleted.';
--! EndIncluded security/private/forget_data_changes.sql
--! Included security/triggers/commit_audit_row.sql
-- Before, because it adds the salts.
create or replace trigger _800_commit_audit_row
  before insert or update on security.security_audit_log
  for each row
  execute function private.commit_audit_row('security.security_audit_log');

create or replace trigger _800_commit_audit_row
  before insert or update on security.audit_trail
  for each row
  execute function private.commit_audit_row('security.audit_trail');
--! EndIncluded security/triggers/commit_audit_row.sql

insert into private.audit_blocks (number, previous_hash, root, entry_count, closed_at, hash)
select 0, b.zeros, r.root, 0, now(), private.audit_block_hash(0, b.zeros, r.root, 0, now())
from private.audit_root(0) r, (select decode(repeat('00', 32), 'hex') as zeros) b;
