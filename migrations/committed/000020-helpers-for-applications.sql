--! Previous: sha1:d8451b853a5355cb686eaba5de3834c1672eccfd
--! Hash: sha1:bafd32e449dc7d5c59b5edb4625dacda6b941107
--! Message: helpers for applications

--! Included plinth/private/granted_commands.sql
-- Policies are needed for the commands that a list of privileges names, such as `select, insert (product_id, quantity)`.
create or replace function private.granted_commands(grants text)
  returns text[]
  language plpgsql
  immutable
  set search_path = pg_catalog
as $$
declare
  v_commands constant text[] := array(
    select lower(btrim(c.command, E' \n\t'))
    from regexp_split_to_table(regexp_replace(grants, '\([^)]*\)', '', 'g'), ',') c (command)
  );
begin
  if not v_commands <@ array['select', 'insert', 'update', 'delete'] then
    raise exception 'Privileges are select, insert, update and delete, each with optional columns, not: %', grants
      using errcode = 'PL422';
  end if;
  return v_commands;
end
$$;

comment on function private.granted_commands(text) is
  'Returns the commands that a list of privileges names. PL422 for others than select, insert, update and delete.';
--! EndIncluded plinth/private/granted_commands.sql
--! Included plinth/private/check_granted_columns.sql
-- Privileges on columns hold for the rows of every policy. If users may change the quantity of their own orders, and those with a
-- permission the state of all, then every user could change the state of an own order.
create or replace function private.check_granted_columns(target regclass, suffix text, grants text)
  returns void
  language plpgsql
  set search_path = pg_catalog
as $$
declare
  v_command text;
  v_policy text;
  v_granted text[];
  v_wanted text[];
  v_columns constant text[] := array(
    select a.attname::text
    from pg_attribute a
    where a.attrelid = target and a.attnum > 0 and not a.attisdropped
  );
begin
  foreach v_command in array private.granted_commands(grants) loop
    continue when v_command not in ('insert', 'update');
    select p.policyname into v_policy
    from pg_policies p
    join pg_class c on c.relname = p.tablename and c.relnamespace = p.schemaname::regnamespace
    where c.oid = target
      and p.policyname <> v_command || '_' || suffix
      and p.permissive = 'PERMISSIVE'
      and p.cmd in ('ALL', upper(v_command))
      and p.roles && array['public', ':PLINTH_USER']::name[];
    continue when not found;
    v_granted := array(
      select c.name
      from unnest(v_columns) c (name)
      where has_column_privilege(':PLINTH_USER', target, c.name, v_command)
    );
    v_wanted := coalesce(
      (
        select array_agg(btrim(c.name, E' \n\t"'))
        from regexp_split_to_table(substring(grants from '(?i)' || v_command || '\s*\(([^)]*)\)'), ',') c (name)
      ),
      v_columns
    );
    if v_granted <> '{}' and not (v_granted <@ v_wanted and v_granted @> v_wanted) then
      raise exception 'The policy % of % would let users % other columns than before, because privileges on columns hold for the rows of every policy.',
        v_policy, target, v_command
        using errcode = 'PL422',
          hint = 'Grant the same columns in both, or write the others in a function with the owner''s rights.';
    end if;
  end loop;
end
$$;

comment on function private.check_granted_columns(regclass, text, text) is
  'Checks that policies for the same command grant the same columns. PL422 otherwise.';
--! EndIncluded plinth/private/check_granted_columns.sql
--! Included plinth/private/replace_policy.sql
-- Replaces a policy, so that a fixture can run again. The condition holds for the rows that are found and for those that are
-- written.
create or replace function private.replace_policy(
  target regclass,
  policy text,
  command text,
  roles text,
  condition text,
  description text
)
  returns void
  language plpgsql
  set search_path = pg_catalog
as $$
begin
  execute format('drop policy if exists %I on %s', policy, target);
  execute format(
    'create policy %I on %s for %s to %s%s%s',
    policy,
    target,
    command,
    roles,
    case when command <> 'insert' then format(' using (%s)', condition) end,
    case when command in ('insert', 'update') then format(' with check (%s)', condition) end
  );
  execute format('comment on policy %I on %s is %L', policy, target, description);
end
$$;

comment on function private.replace_policy(regclass, text, text, text, text, text) is
  'Replaces a policy and its comment; for the helpers of an application''s migrations.';
--! EndIncluded plinth/private/replace_policy.sql
--! Included plinth/private/replace_policies.sql
-- Each command gets a policy, named after the command and the suffix. Policies of commands that are no longer granted are
-- dropped.
create or replace function private.replace_policies(
  target regclass,
  suffix text,
  grants text,
  condition text,
  subject text,
  whose text
)
  returns void
  language plpgsql
  set search_path = pg_catalog
as $$
declare
  v_commands constant text[] := private.granted_commands(grants);
  v_rows constant text := (select replace(c.relname, '_', ' ') from pg_class c where c.oid = target);
  v_command record;
begin
  perform private.check_granted_columns(target, suffix, grants);
  execute format('alter table %s enable row level security', target);
  execute format('grant %s on %s to :PLINTH_USER', grants, target);
  for v_command in
    select *
    from (values ('select', 'read'), ('insert', 'add'), ('update', 'change'), ('delete', 'delete')) c (name, verb)
  loop
    if v_command.name = any (v_commands) then
      perform private.replace_policy(
        target,
        v_command.name || '_' || suffix,
        v_command.name,
        ':PLINTH_USER',
        condition,
        format('%s %s %s %s.', subject, v_command.verb, whose, v_rows)
      );
    else
      execute format('drop policy if exists %I on %s', v_command.name || '_' || suffix, target);
    end if;
  end loop;
end
$$;

comment on function private.replace_policies(regclass, text, text, text, text, text) is
  'Turns on row-level security, grants privileges to users and replaces the policy of each command.';
--! EndIncluded plinth/private/replace_policies.sql
--! Included plinth/functions/own_rows.sql
-- For the migrations of an application:
--   select plinth.own_rows('shop.orders', grants => 'select, insert (product_id, quantity), delete');
-- Before it, the table's fixture revokes all privileges from the API's roles, so that an earlier grant does not stay.
create or replace function plinth.own_rows(
  target regclass,
  owner_column text default 'user_id',
  grants text default 'select, insert, update, delete'
)
  returns void
  language plpgsql
  set search_path = pg_catalog
as $$
begin
  perform private.replace_policies(
    target,
    'own',
    grants,
    format('%I = (select plinth.current_user_id())', owner_column),
    'Users',
    'their own'
  );
end
$$;

comment on function plinth.own_rows(regclass, text, text) is
  'Lets each user read and change the rows that name the user in a column: row-level security, grants and a policy for each command.';
--! EndIncluded plinth/functions/own_rows.sql
--! Included plinth/functions/with_permission.sql
-- For the migrations of an application:
--   select plinth.with_permission('shop.products', 'manage_products');
create or replace function plinth.with_permission(
  target regclass,
  permission text,
  grants text default 'select, insert, update, delete'
)
  returns void
  language plpgsql
  set search_path = pg_catalog
as $$
begin
  if not exists (select from access.permissions p where p.permission_name = permission) then
    raise exception 'The permission % does not exist.', permission
      using errcode = 'PL404', hint = 'Insert it into access.permissions first.';
  end if;
  perform private.replace_policies(
    target,
    permission,
    grants,
    format('(select access.has_permission(%L))', permission),
    format('Users with %s', permission),
    'all'
  );
end
$$;

comment on function plinth.with_permission(regclass, text, text) is
  'Lets users with a permission read and change all rows: row-level security, grants and a policy for each command. PL404 for an unknown permission.';
--! EndIncluded plinth/functions/with_permission.sql
--! Included plinth/functions/readable_by_all.sql
-- For the migrations of an application:
--   select plinth.readable_by_all('shop.products');
create or replace function plinth.readable_by_all(target regclass)
  returns void
  language plpgsql
  set search_path = pg_catalog
as $$
begin
  execute format('alter table %s enable row level security', target);
  execute format('grant select on %s to :PLINTH_ANONYMOUS, :PLINTH_USER', target);
  perform private.replace_policy(
    target,
    'select_all',
    'select',
    ':PLINTH_ANONYMOUS, :PLINTH_USER',
    'true',
    format('Everyone reads all %s.', (select replace(c.relname, '_', ' ') from pg_class c where c.oid = target))
  );
end
$$;

comment on function plinth.readable_by_all(regclass) is
  'Lets users and visitors read all rows: row-level security, grants and a policy.';
--! EndIncluded plinth/functions/readable_by_all.sql
--! Included plinth/functions/track_changes.sql
-- For the migrations of an application:
--   select plinth.track_changes('shop.orders', owner_column => 'user_id');
-- See private.record_data_change.
create or replace function plinth.track_changes(
  target regclass,
  owner_column text default null,
  ignored_columns text[] default '{updated_at}',
  confidential_columns text[] default '{}'
)
  returns void
  language plpgsql
  set search_path = pg_catalog
as $$
declare
  v_key constant text := (
    select string_agg(a.attname, ',' order by array_position(i.indkey::smallint[], a.attnum))
    from pg_index i
    join pg_attribute a on a.attrelid = i.indrelid and a.attnum = any (i.indkey)
    where i.indrelid = target and i.indisprimary
  );
begin
  if v_key is null then
    raise exception 'The table % has no primary key, which the audit trail names.', target using errcode = 'PL422';
  end if;
  execute format(
    'create or replace trigger _700_record_data_change
       after insert or update or delete on %s
       for each row
       execute function private.record_data_change(%L, %L, %L, %L)',
    target,
    v_key,
    coalesce(owner_column, ''),
    array_to_string(ignored_columns, ','),
    array_to_string(confidential_columns, ',')
  );
end
$$;

comment on function plinth.track_changes(regclass, text, text[], text[]) is
  'Records changes of a table''s rows in security.audit_trail. PL422 for a table without a primary key.';
--! EndIncluded plinth/functions/track_changes.sql
--! Included plinth/functions/keep_updated_at.sql
-- For the migrations of an application:
--   select plinth.keep_updated_at('shop.orders');
-- See plinth.touch_updated_at.
create or replace function plinth.keep_updated_at(target regclass)
  returns void
  language plpgsql
  set search_path = pg_catalog
as $$
begin
  execute format(
    'create or replace trigger _900_touch_updated_at before update on %s for each row execute function plinth.touch_updated_at(%s)',
    target,
    (
      select string_agg(quote_literal(a.attname), ', ' order by a.attnum)
      from pg_attribute a
      where a.attrelid = target and a.attgenerated <> '' and not a.attisdropped
    )
  );
end
$$;

comment on function plinth.keep_updated_at(regclass) is
  'Lets the database set the column updated_at of a table whenever a row changes.';
--! EndIncluded plinth/functions/keep_updated_at.sql
--! Included plinth/functions/enqueue_job.sql
-- The defaults are those of the queue, as in pg-boss's own insert. A job with a schedule waits at most once. Only the owner may call
-- this; an application grants it, or calls it in a function with the owner's rights. Payloads stay in the queue for days and in
-- backups, so they name rows by id and hold no secrets.
create or replace function plinth.enqueue_job(job_name text, payload jsonb default null)
  returns uuid
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
declare
  v_id uuid;
begin
  if not exists (select from pgboss.queue q where q.name = job_name) then
    raise exception 'The job % does not exist.', job_name
      using errcode = 'PL404', hint = 'List it in the jobs of plinth.config and run plinth migrate.';
  end if;
  insert into pgboss.job (
    name, data, expire_seconds, deletion_seconds, keep_until, retry_limit, retry_delay, retry_backoff, retry_delay_max, policy,
    dead_letter, heartbeat_seconds
  )
  select
    q.name, payload, q.expire_seconds, q.deletion_seconds, now() + make_interval(secs => q.retention_seconds), q.retry_limit,
    q.retry_delay, coalesce(q.retry_backoff, false), q.retry_delay_max, q.policy, q.dead_letter, q.heartbeat_seconds
  from pgboss.queue q
  where q.name = job_name
  on conflict do nothing
  returning id into v_id;
  return v_id;
end
$$;

comment on function plinth.enqueue_job(text, jsonb) is
  'Queues a job for the worker with a payload of JSON without secrets. Returns its id, or null if a scheduled job waits already. PL404 for an unknown job.';
--! EndIncluded plinth/functions/enqueue_job.sql
