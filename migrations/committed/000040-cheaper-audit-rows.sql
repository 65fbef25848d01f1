--! Previous: sha1:c49918ac52beaf44d6f874ad89d66801d819d7a0
--! Hash: sha1:6309044cb8a5e6a2fdf1098d9185040e5a58ae61
--! Message: cheaper audit rows

-- A change of a watched table costs about half of the time that it did: most of a large import is spent here.
--! Included security/private/commit_audit_row.sql
-- Commits to each new row, and to what an erasure leaves of a row. Only clearing personal columns counts as an erasure. Any other
-- change is not prevented, because the owner of a table can do anything; it leaves a row that differs from its commitment, which
-- plinth audit verify reports. Inserts touch only rows of their own, so that writers do not wait for each other.
--
-- A new row's two hashes are those of private.audit_row_hash. They are computed here, in the statement that stores them, because
-- each change of a watched table waits for them: two calls of the function took half of the time of such a change.
create or replace function private.commit_audit_row()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
  set timezone = 'UTC'
as $$
declare
  v_log constant text := tg_argv[0];
  v_erasable text[];
  v_new jsonb;
  v_old jsonb;
  v_account_id uuid;
  v_kept record;
begin
  if tg_op = 'INSERT' then
    new.fixed_salt := coalesce(new.fixed_salt, gen_random_uuid());
    new.content_salt := coalesce(new.content_salt, gen_random_uuid());
    v_new := to_jsonb(new);
    v_erasable := private.erasable_audit_columns(v_log);
    insert into private.audit_commitments (row_id, log, version, row_created_at, fixed_hash, content_hash)
    select
      new.id, v_log, 0, new.created_at,
      sha256(
        uuid_send(new.fixed_salt)
        || convert_to(
          coalesce(jsonb_object_agg(c.key, c.value) filter (where c.key <> all (v_erasable)), '{}')::text, 'UTF8'
        )
      ),
      sha256(
        uuid_send(new.content_salt)
        || convert_to(
          coalesce(jsonb_object_agg(c.key, c.value) filter (where c.key = any (v_erasable)), '{}')::text, 'UTF8'
        )
      )
    from jsonb_each(v_new) c
    where c.value <> 'null' and c.key not in ('fixed_salt', 'content_salt')
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
--
-- Most writes of an import are inserts by a database role, so what only other changes need is not computed for them.
create or replace function private.record_data_change()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
declare
  v_noise constant text[] := string_to_array(tg_argv[2], ',');
  v_masked constant text[] := string_to_array(tg_argv[3], ',');
  v_old jsonb;
  v_new jsonb;
  v_row jsonb;
  v_row_key jsonb := '{}';
  v_name text;
  v_changed text[];
  v_user_id uuid;
  v_actor record;
  v_actor_id uuid;
  -- Address and program of a deleted account are not kept; those that another database role sets are its own invention.
  v_is_kept boolean;
begin
  if tg_op <> 'INSERT' then
    v_row := to_jsonb(old);
    v_old := v_row - v_noise;
  end if;
  if tg_op <> 'DELETE' then
    v_row := to_jsonb(new);
    v_new := v_row - v_noise;
  end if;
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
  if v_actor.user_id is not null then
    select u.id into v_actor_id from identity.users u where u.id = v_actor.user_id for key share skip locked;
  end if;
  v_is_kept := v_actor_id is not null or v_actor.user_id is null;
  foreach v_name in array string_to_array(tg_argv[0], ',') loop
    v_row_key := v_row_key || jsonb_build_object(v_name, v_row -> v_name);
  end loop;

  insert into security.audit_trail (
    table_name, operation, row_key, user_id, actor_id, changed_columns, old_values, new_values,
    transaction_number, source, correlation_id, ip_address,
    actor_kind, acting_role, api_token_id, session_id, job_name, migration, has_ignored_claims
  )
  values (
    tg_table_schema || '.' || tg_table_name,
    tg_op,
    v_row_key,
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
