--! Previous: sha1:bafd32e449dc7d5c59b5edb4625dacda6b941107
--! Hash: sha1:c2e9ef9588522dfcac7e3537f52fb6cf0538c05f
--! Message: tables of applications in export and erasure

--! Included identity/private/smart_tag.sql
-- An application's migrations decide about its tables in their comments, as they do for the API: `@dataExport omit: reason`.
create or replace function private.smart_tag(comment text, tag text)
  returns text
  language sql
  immutable
  set search_path = pg_catalog
as $$
  select btrim(substring(comment from '(?n)^@' || tag || '(?![[:alnum:]_])(.*)$'))
$$;

comment on function private.smart_tag(text, text) is
  'Returns the value of a smart tag, such as @dataExport, in the comment of a table or column; null without the tag.';
--! EndIncluded identity/private/smart_tag.sql
--! Included identity/private/data_export_sources.sql
-- The contents of an export, found in the catalogue, so that it includes new tables automatically, also an application's. A row
-- belongs to a user
--   1. by the column user_id, or
--   2. by the references to the account that delete the row with it, or
--   3. by those that the row outlives, such as a message's sender.
-- The first rule that a table meets decides: banned_by does not export a ban of another user, but a user's own list of blocked
-- users is exported. The tag @userId makes a reference of a column without a foreign key. A table without such a column belongs to
-- the rows that it is deleted with, otherwise to the only row that it requires, over any number of tables. A table that requires
-- rows of several owners, such as the order and the product of a line, belongs to none of them: it would show a seller the orders
-- of others. Only tables of the owner are read: the export runs with the owner's rights, and a table of another role could call a
-- function of that role.
create or replace function private.data_export_sources()
  returns table (table_oid oid, table_name text, condition text)
  language sql
  stable
  set search_path = pg_catalog
as $$
  with recursive tables as (
    select c.oid, n.nspname as schema_name, c.relname
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p')
      and not c.relispartition
      and c.relowner = (select u.relowner from pg_class u where u.oid = 'identity.users'::regclass)
      and n.nspname !~ '^pg_'
      and n.nspname not in ('information_schema', 'graphile_migrate', 'pgboss')
      and not exists (
        select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e'
      )
      and coalesce(private.smart_tag(obj_description(c.oid, 'pg_class'), 'dataExport'), '') !~ '^omit\M'
      -- The exports themselves.
      and c.oid <> 'private.data_export_parts'::regclass
  ), candidates as (
    select
      t.oid,
      a.attname,
      case
        when a.attname = 'user_id' then 1
        when bool_or(k.confdeltype = 'c') or g.tag ~ '^delete\M' then 2
        else 3
      end as rank
    from tables t
    join pg_attribute a on a.attrelid = t.oid and a.attnum > 0 and not a.attisdropped and a.atttypid = 'uuid'::regtype
    cross join lateral (select private.smart_tag(col_description(t.oid, a.attnum), 'userId')) g (tag)
    left join pg_constraint k
      on k.conrelid = t.oid and k.contype = 'f' and k.confrelid = 'identity.users'::regclass and k.conkey = array[a.attnum]
    where k.oid is not null
      or g.tag is not null
      -- The users of another table are not accounts.
      or a.attname = 'user_id' and not exists (
        select
        from pg_constraint x
        join pg_attribute f on f.attrelid = x.confrelid and f.attnum = x.confkey[1]
        where x.conrelid = t.oid and x.contype = 'f' and x.conkey = array[a.attnum] and f.attname <> 'user_id'
      )
    group by t.oid, a.attname, g.tag
  ), owners as (
    select c.oid, string_agg(format('t.%I = $1', c.attname), ' or ' order by c.attname) as condition
    from candidates c
    where c.rank = (select min(o.rank) from candidates o where o.oid = c.oid)
    group by c.oid
    union all
    select 'identity.users'::regclass, 't.id = $1'
  ), links as (
    select
      k.oid,
      k.conrelid,
      k.confrelid,
      k.confdeltype = 'c' as is_deleted_with,
      format(
        '(%s) in (select %s from %s t where ',
        (
          select string_agg(format('t.%I', a.attname), ', ' order by x.position)
          from unnest(k.conkey) with ordinality x (attnum, position)
          join pg_attribute a on a.attrelid = k.conrelid and a.attnum = x.attnum
        ),
        (
          select string_agg(format('t.%I', a.attname), ', ' order by x.position)
          from unnest(k.confkey) with ordinality x (attnum, position)
          join pg_attribute a on a.attrelid = k.confrelid and a.attnum = x.attnum
        ),
        k.confrelid::regclass
      ) as is_part_of
    from tables t
    join pg_constraint k on k.conrelid = t.oid and k.contype = 'f' and k.conparentid = 0 and k.confrelid <> k.conrelid
    where not exists (select from owners o where o.oid = t.oid)
      and (
        k.confdeltype = 'c'
        or not exists (
          select from pg_attribute a where a.attrelid = k.conrelid and a.attnum = any (k.conkey) and not a.attnotnull
        )
        and not exists (
          select
          from pg_constraint x
          where x.conrelid = k.conrelid and x.contype = 'f' and x.confdeltype = 'c' and x.confrelid <> x.conrelid
        )
      )
  ), chains as (
    select o.oid, o.condition, array[o.oid] as path, null::oid as link, true as is_deleted_with
    from owners o
    union all
    select l.conrelid, l.is_part_of || c.condition || ')', c.path || l.conrelid, l.oid, l.is_deleted_with
    from chains c
    join links l on l.confrelid = c.oid and l.conrelid <> all (c.path)
  ), ambiguous as (
    select c.oid from chains c where not c.is_deleted_with group by c.oid having count(distinct c.link) > 1
  )
  select t.oid, (t.schema_name || '.' || t.relname) collate "C", string_agg(c.condition, ' or ' order by c.condition)
  from tables t
  join chains c on c.oid = t.oid
  where cardinality(c.path) = (select min(cardinality(x.path)) from chains x where x.oid = t.oid)
    and not exists (select from ambiguous a where a.oid = any (c.path))
  group by t.oid, t.schema_name, t.relname
$$;

comment on function private.data_export_sources() is
  'Returns the tables of an export and the condition by which a row is the user''s ($1), found in the catalogue.';
--! EndIncluded identity/private/data_export_sources.sql
--! Included identity/private/data_export_query.sql
-- The statement that reads a table's rows for an export: its columns without secrets and without traces of other people.
create or replace function private.data_export_query(table_oid oid, condition text)
  returns text
  language sql
  stable
  set search_path = pg_catalog
as $$
  with columns as (
    select
      a.attname,
      a.attnum,
      a.atttypid,
      -- Names another account and does not decide the row's owner, such as the account that granted, banned or acted.
      k.oid is not null and k.confdeltype <> 'c' and position(format('t.%I = $1', a.attname) in condition) = 0 as is_another,
      exists (
        select from pg_attribute x where x.attrelid = a.attrelid and x.attname = 'actor_id' and x.atttypid = 'uuid'::regtype
      ) and a.attname in ('ip_address', 'user_agent', 'correlation_id') as is_actors
    from pg_attribute a
    left join pg_constraint k
      on k.conrelid = a.attrelid and k.contype = 'f' and k.confrelid = 'identity.users'::regclass and k.conkey = array[a.attnum]
    where a.attrelid = table_oid
      and a.attnum > 0
      and not a.attisdropped
      and not private.is_secret_column(table_oid, a.attname, a.atttypid)
      and coalesce(private.smart_tag(col_description(table_oid, a.attnum), 'dataExport'), '') !~ '^omit\M'
  )
  select format(
    'select row_to_json(r)::text from (select %s from %s t where %s) r',
    string_agg(
      case
        when c.is_another then format('nullif(t.%1$I, nullif(t.%1$I, $1)) as %1$I', c.attname)
        when c.is_actors then format('case when coalesce(t.actor_id, $1) = $1 then t.%1$I end as %1$I', c.attname)
        when c.atttypid = 'jsonb'::regtype and (select s.relnamespace from pg_class s where s.oid = table_oid) = 'private'::regnamespace
        then format('private.without_secrets(t.%1$I) as %1$I', c.attname)
        else format('t.%I', c.attname)
      end,
      ', ' order by c.attnum
    ),
    table_oid::regclass,
    condition
  )
  from columns c
$$;

comment on function private.data_export_query(oid, text) is 'Returns the SQL that reads a user''s rows of a table ($1) as JSON texts, without secrets.';
--! EndIncluded identity/private/data_export_query.sql
--! Included identity/private/write_data_export.sql
-- Writes the next tables of a pending export, about a megabyte in each transaction, so that a killed worker repeats little and a
-- deletion of the account waits for one large table at most. Rows are collected into parts of about 64 kB, for tables of any
-- size. The row of the export is the lock between workers. An application's table with forced row security fails instead of
-- exporting less than there is.
create or replace function private.write_data_export()
  returns text
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
  set row_security = off
as $$
declare
  v_piece_bytes constant integer := 65536;
  v_step_bytes constant integer := 1048576;
  v_export identity.data_exports;
  v_source record;
  v_table text;
  v_rows refcursor;
  v_row text;
  v_count bigint := 0;
  v_content text := '';
  v_part integer;
  v_size bigint := 0;
  -- Also true when no table is left.
  v_is_finished boolean := true;
begin
  select e.* into v_export
  from identity.data_exports e
  where e.status = 'pending' and e.next_attempt_at <= now()
  order by e.next_attempt_at, e.id
  limit 1
  for update skip locked;
  if v_export.id is null then
    return null;
  end if;
  select coalesce(max(p.part_number) + 1, 0) into v_part
  from private.data_export_parts p
  where p.export_id = v_export.id and p.user_id = v_export.user_id;

  begin
    if v_part = 0 then
      v_content := format(
        '{"format":"plinth-data-export","version":1,"user_id":%s,"requested_at":%s,"tables":{',
        to_json(v_export.user_id), to_json(v_export.requested_at)
      );
    end if;
    for v_source in
      select s.*
      from private.data_export_sources() s
      where v_export.last_table is null or s.table_name > v_export.last_table collate "C"
      order by s.table_name
    loop
      v_count := 0;
      v_table := v_source.table_name;
      open v_rows no scroll for execute private.data_export_query(v_source.table_oid, v_source.condition) using v_export.user_id;
      loop
        fetch v_rows into v_row;
        exit when not found;
        v_content := v_content || case
          when v_count > 0 then E',\n'
          else case when cardinality(v_export.tables) > 0 then E',\n' else E'\n' end || to_json(v_source.table_name) || E':[\n'
        end || v_row;
        v_count := v_count + 1;
        if octet_length(v_content) >= v_piece_bytes then
          insert into private.data_export_parts (export_id, user_id, part_number, content)
          values (v_export.id, v_export.user_id, v_part, v_content);
          v_part := v_part + 1;
          v_size := v_size + octet_length(v_content);
          v_content := '';
        end if;
      end loop;
      close v_rows;
      if v_count > 0 then
        v_content := v_content || ']';
        v_export.tables := v_export.tables || v_source.table_name;
      end if;
      v_export.last_table := v_source.table_name;
      v_is_finished := false;
      exit when v_size > v_step_bytes;
      v_is_finished := true;
    end loop;
    if v_is_finished then
      -- The server closes the object, because it adds data that only it can read.
      v_content := v_content || '}';
    end if;

    if v_content <> '' then
      insert into private.data_export_parts (export_id, user_id, part_number, content)
      values (v_export.id, v_export.user_id, v_part, v_content);
      v_size := v_size + octet_length(v_content);
    end if;
    update identity.data_exports e
    set
      size_bytes = e.size_bytes + v_size,
      tables = v_export.tables,
      last_table = v_export.last_table,
      status = case when v_is_finished then 'ready' else e.status end,
      completed_at = case when v_is_finished then now() end,
      expires_at = case when v_is_finished then now() + (select s.export_lifetime from identity.data_rights_settings s) end
    where e.id = v_export.id;
  exception
    when deadlock_detected or serialization_failure or query_canceled then
      raise;
    when others then
      update identity.data_exports e
      set
        attempts = e.attempts + 1,
        next_attempt_at = now() + least(interval '1 hour', interval '1 minute' * power(2, least(e.attempts, 10))),
        status = case when e.attempts >= 9 then 'failed' else e.status end
      where e.id = v_export.id;
      return 'failed_' || lower(sqlstate) || coalesce(' in ' || v_table, '');
  end;

  if not v_is_finished then
    return 'continued';
  end if;
  perform private.notify_user(
    v_export.user_id, 'data-export-ready',
    jsonb_build_object('expires_at', (select e.expires_at from identity.data_exports e where e.id = v_export.id))
  );
  return 'finished';
end
$$;

comment on function private.write_data_export() is
  'Writes the next tables of a pending export; returns continued, finished, failed_<sqlstate> in <table>, or null when none is pending.';
grant execute on function private.write_data_export() to :PLINTH_WORKER;
--! EndIncluded identity/private/write_data_export.sql
--! Included identity/private/erase_declared_rows.sql
-- The tag @userId does for a column without a foreign key what the foreign keys of other tables do: `@userId delete` deletes the
-- rows, `@userId clear` sets the column to null, `@userId keep: reason` changes nothing. Only tables of the owner, with whose rights
-- the statement runs.
create or replace function private.erase_declared_rows(user_id uuid)
  returns void
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_column record;
begin
  for v_column in
    select c.oid::regclass as table_name, n.nspname, c.relname, a.attname, private.smart_tag(d.description, 'userId') as tag
    from pg_description d
    join pg_class c on c.oid = d.objoid and d.classoid = 'pg_class'::regclass
    join pg_namespace n on n.oid = c.relnamespace
    join pg_attribute a on a.attrelid = c.oid and a.attnum = d.objsubid and a.atttypid = 'uuid'::regtype
    where d.objsubid > 0
      and d.description ~ '(?n)^@userId\M'
      and c.relkind in ('r', 'p')
      and not c.relispartition
      and c.relowner = (select u.relowner from pg_class u where u.oid = 'identity.users'::regclass)
    order by c.oid, a.attnum
  loop
    if v_column.tag ~ '^delete\M' then
      execute format('delete from %s where %I = $1', v_column.table_name, v_column.attname) using erase_declared_rows.user_id;
    elsif v_column.tag ~ '^clear\M' then
      execute format('update %s set %2$I = null where %2$I = $1', v_column.table_name, v_column.attname)
        using erase_declared_rows.user_id;
    elsif v_column.tag !~ '^keep\M' then
      raise exception 'Unknown value of @userId on %.%: %', v_column.table_name, v_column.attname, v_column.tag
        using
          errcode = '22023', hint = 'Use delete, clear or keep.',
          schema = v_column.nspname, table = v_column.relname, column = v_column.attname;
    end if;
  end loop;
end
$$;

comment on function private.erase_declared_rows(uuid) is
  'Deletes or clears the rows of a deleted account that name it in columns with the tag @userId.';
--! EndIncluded identity/private/erase_declared_rows.sql
--! Included identity/private/delete_due_account.sql
-- A single account in each transaction: a killed worker has deleted it completely or not at all, and the next worker finds it due. An
-- account that cannot be deleted (its owner became the last administrator) does not block the others; it is retried later. Locks
-- the account before the deletion, as identity.cancel_account_deletion does.
create or replace function private.delete_due_account()
  returns text
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_user identity.users;
  v_variables jsonb;
  v_schema text;
  v_table text;
  v_constraint text;
  v_column text;
  v_blocker text;
begin
  select u.* into v_user
  from identity.users u
  join identity.account_deletions d on d.user_id = u.id
  where d.due_at <= now() and d.next_attempt_at <= now()
  order by d.next_attempt_at, d.user_id
  limit 1
  for update of u skip locked;
  if v_user.id is null then
    return null;
  end if;
  -- Checked again with the account locked: the deletion may have been canceled in between.
  perform from identity.account_deletions d where d.user_id = v_user.id and d.due_at <= now() for update;
  if not found then
    return 'canceled';
  end if;

  v_variables := private.mail_variables(v_user.id) - 'ip_address' - 'device';
  begin
    delete from identity.users u where u.id = v_user.id;
    -- A deferred constraint would fail at the end of the transaction and block every other account.
    set constraints all immediate;
  exception
    -- A conflict between two transactions: the whole deletion is retried.
    when deadlock_detected or serialization_failure or query_canceled then
      raise;
    when others then
      get stacked diagnostics
        v_schema = schema_name, v_table = table_name, v_constraint = constraint_name, v_column = column_name;
      -- An application's table whose foreign key or tag @userId neither deletes nor clears its rows.
      if sqlstate like '23%' or sqlstate = '22023' and v_table <> '' then
        v_blocker := format('%s.%s (%s)', v_schema, v_table, coalesce(nullif(v_constraint, ''), v_column));
      end if;
      update identity.account_deletions d
      set
        attempts = d.attempts + 1,
        next_attempt_at = now() + least(interval '1 day', interval '5 minutes' * power(2, least(d.attempts, 10))),
        last_failure = concat_ws(' ', sqlstate, v_blocker)
      where d.user_id = v_user.id;
      return coalesce('blocked by ' || v_blocker, 'postponed');
  end;
  -- Addressed to an address instead of the deleted account. The row is deleted when the mail has been sent.
  if v_user.email is not null then
    perform private.queue_mail(
      null, v_user.email, 'account-deleted', v_variables, expires_at => now() + interval '2 days'
    );
  end if;
  return 'deleted';
end
$$;

comment on function private.delete_due_account() is
  'Deletes one account whose deletion is due; returns deleted, postponed, canceled, blocked by <schema>.<table> (<constraint>), or null when none is due.';
grant execute on function private.delete_due_account() to :PLINTH_WORKER;
--! EndIncluded identity/private/delete_due_account.sql
--! Included identity/triggers/users.sql
-- Every account has its settings from the start, whichever writer inserts its row: users may change settings but not insert
-- them.
create or replace function identity.insert_settings()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
begin
  insert into identity.user_settings (user_id) values (new.id) on conflict do nothing;
  insert into identity.user_security_settings (user_id) values (new.id) on conflict do nothing;
  return null;
end
$$;

comment on function identity.insert_settings() is 'Trigger: inserts the settings rows of a new account.';

create or replace trigger _400_insert_settings
  after insert on identity.users
  for each row
  execute function identity.insert_settings();

-- "Ada " and "ada" are one account, whichever writer stores the row. An address without a normal form stays as given: the
-- table's constraint rejects it by name. Only a migration marks an irregular address, and any other address clears the mark.
create or replace function identity.normalize_user()
  returns trigger
  language plpgsql
  set search_path = pg_catalog
as $$
begin
  new.username := plinth.normalize_username(new.username);
  if tg_op = 'INSERT' or new.email is distinct from old.email then
    new.email := coalesce(plinth.normalize_email(new.email), new.email);
    new.has_irregular_address := false;
  else
    new.has_irregular_address := new.has_irregular_address and old.has_irregular_address;
  end if;
  return new;
end
$$;

comment on function identity.normalize_user() is 'Trigger: stores the username and the e-mail address in their normal form.';

create or replace trigger _100_normalize
  before insert or update of username, email, has_irregular_address on identity.users
  for each row
  execute function identity.normalize_user();

-- A proof is a proof of one address. A statement that sets a new address and its time of proof together keeps that time.
create or replace function identity.drop_stale_email_proof()
  returns trigger
  language plpgsql
  set search_path = pg_catalog
as $$
begin
  if identity.is_another_address(old, new) and new.email_verified_at is not distinct from old.email_verified_at then
    new.email_verified_at := null;
  end if;
  return new;
end
$$;

comment on function identity.drop_stale_email_proof() is 'Trigger: clears the proof of the old address when the address changes.';

create or replace trigger _120_drop_stale_email_proof
  before update on identity.users
  for each row
  when (old.email is distinct from new.email or old.hashed_email is distinct from new.hashed_email)
  execute function identity.drop_stale_email_proof();

-- Links and codes sent to or requested for an address or number are void once the account no longer has it: an old link would
-- move the account back. A trigger, so that it holds for every way an address changes. A first address or number ends only its
-- own kind: no other person could have had the rest.
create or replace function identity.end_open_links()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
declare
  v_is_another_address constant boolean := identity.is_another_address(old, new);
  v_is_another_number constant boolean := new.phone_number is distinct from old.phone_number;
  v_ends_all constant boolean :=
    v_is_another_address and (old.email is not null or old.hashed_email is not null)
    or v_is_another_number and old.phone_number is not null;
begin
  update private.user_verifications v
  set expires_at = now()
  where v.user_id = new.id
    and v.expires_at > now()
    and v.used_at is null
    and (
      v_ends_all
      or v.kind = 'email' and v_is_another_address
      or v.kind = 'phone' and v_is_another_number
    );
  if v_ends_all or v_is_another_address then
    update private.password_reset_tokens t
    set expires_at = now()
    where t.user_id = new.id and t.expires_at > now() and t.used_at is null;
  end if;
  return null;
end
$$;

comment on function identity.end_open_links() is
  'Trigger: revokes the account''s open links, codes and password resets when its address or phone number changes.';

create or replace trigger _600_end_open_links
  after update on identity.users
  for each row
  when (
    old.email is distinct from new.email
    or old.hashed_email is distinct from new.hashed_email
    or old.phone_number is distinct from new.phone_number
  )
  execute function identity.end_open_links();

-- The hash of another address would lead its owner into this account. An update of the address sets its hash with it; otherwise
-- the account is found only by the clear address until `plinth keys hash-emails`. Removing the clear address keeps the hash.
create or replace function identity.drop_stale_email_hash()
  returns trigger
  language plpgsql
  set search_path = pg_catalog
as $$
begin
  if new.hashed_email is not distinct from old.hashed_email then
    new.hashed_email := null;
  end if;
  return new;
end
$$;

comment on function identity.drop_stale_email_hash() is 'Trigger: clears the hash of the old address when the address changes.';

create or replace trigger _110_drop_stale_email_hash
  before update of email on identity.users
  for each row
  when (new.email is not null and new.email is distinct from old.email)
  execute function identity.drop_stale_email_hash();

-- A lower version would revive revoked tokens; an account that stops being active loses its tokens.
create or replace function identity.guard_token_version()
  returns trigger
  language plpgsql
  set search_path = pg_catalog
as $$
begin
  if new.account_status <> 'active' and old.account_status = 'active' then
    new.token_version := greatest(new.token_version, old.token_version + 1);
  end if;
  if new.token_version < old.token_version then
    raise exception 'A token version cannot decrease.'
      using errcode = 'PL422', schema = 'identity', table = 'users', column = 'token_version';
  end if;
  return new;
end
$$;

comment on function identity.guard_token_version() is
  'Trigger: rejects a lower token_version, and increments it when an account is disabled or deleted.';

create or replace trigger _200_guard_token_version
  before update of token_version, account_status on identity.users
  for each row
  execute function identity.guard_token_version();

-- An intruder may have created an API token. Events that revoke all access tokens (a changed password, logout everywhere, a
-- disabled account) therefore revoke the API tokens too.
create or replace function private.revoke_api_tokens_of_user()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
declare
  v_revoked integer;
begin
  update identity.api_tokens t set revoked_at = now() where t.user_id = new.id and t.revoked_at is null;
  get diagnostics v_revoked = row_count;
  if v_revoked > 0 then
    perform private.record_security_event('api_tokens_revoked', new.id, jsonb_build_object('tokens', v_revoked));
  end if;
  return null;
end
$$;

comment on function private.revoke_api_tokens_of_user() is 'Trigger: revokes a user''s API tokens when token_version grows.';

create or replace trigger _510_revoke_api_tokens
  after update on identity.users
  for each row
  when (new.token_version > old.token_version)
  execute function private.revoke_api_tokens_of_user();

-- Any deletion of an account clears the logs in the same transaction. Before the delete and with the account's row locked, so
-- that no new entries about it can appear in between.
create or replace function private.erase_traces_of_user()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
begin
  perform private.erase_login_attempts(old);
  perform private.erase_security_events(old.id);
  perform private.erase_errors(old.id);
  -- Mail that was queued to an address and not for an account.
  delete from private.mail_outbox m where m.user_id is null and m.to_address in (old.email, old.phone_number);
  perform private.erase_declared_rows(old.id);
  return old;
end
$$;

comment on function private.erase_traces_of_user() is
  'Trigger: clears the data about a deleted account from sign-in log, audit log and error log, and from columns with the tag @userId.';

create or replace trigger _600_erase_traces
  before delete on identity.users
  for each row
  execute function private.erase_traces_of_user();

create or replace function private.revoke_user_tokens()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
begin
  if tg_op = 'DELETE' then
    insert into private.token_blacklist (kind, subject_id, reason)
    values ('user', old.id, 'account_deleted');
    perform private.record_security_event('account_deleted', null, jsonb_build_object('user_id', old.id), 'warning');
    return null;
  end if;
  insert into private.token_blacklist (kind, subject_id, token_version, reason)
  values ('user', new.id, new.token_version, 'token_version_raised');
  if new.account_status <> 'active' then
    update identity.user_sessions s
    set ended_at = now(), end_reason = 'account_disabled'
    where s.user_id = new.id and s.ended_at is null;
  end if;
  return null;
end
$$;

comment on function private.revoke_user_tokens() is
  'Trigger: revokes a user''s access tokens when token_version grows or the account is disabled or deleted.';

-- No "of token_version": the guard trigger raises it on its own when an account is disabled.
create or replace trigger _500_revoke_tokens
  after update on identity.users
  for each row
  when (new.token_version > old.token_version)
  execute function private.revoke_user_tokens();

create or replace trigger _500_revoke_tokens_of_deleted
  after delete on identity.users
  for each row
  execute function private.revoke_user_tokens();
--! EndIncluded identity/triggers/users.sql

comment on column identity.account_deletions.last_failure is
  'SQLSTATE of the last failed attempt, and the table and constraint that prevent the deletion, if any; null if none failed.';
