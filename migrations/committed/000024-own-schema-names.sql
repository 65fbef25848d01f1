--! Previous: sha1:736fdaab6ceecade31644934586eedf06273f253
--! Hash: sha1:8017c8cb0ec2e54069a9abd41f2690f4b3737a67
--! Message: own schema names

-- Moves the job queue out of pg-boss's default schema, which another application of the database may use. The queue is Plinth's if
-- its worker may add queues to it. In a new database there is none yet.
do $$
declare
  v_function record;
begin
  if not exists (
    select
    from pg_policies
    where schemaname = 'pgboss' and tablename = 'queue' and policyname = 'insert_worker' and ':PLINTH_WORKER' = any (roles)
  ) then
    return;
  end if;
  alter schema pgboss rename to plinth_jobs;
  for v_function in
    select pg_get_functiondef(oid) as text
    from pg_proc
    where pronamespace = 'plinth_jobs'::regnamespace and strpos(prosrc, 'pgboss.') > 0
  loop
    execute replace(v_function.text, 'pgboss.', 'plinth_jobs.');
  end loop;
  -- Statements that an upgrade of pg-boss left to run later.
  update plinth_jobs.bam set command = replace(command, 'pgboss.', 'plinth_jobs.') where strpos(command, 'pgboss.') > 0;
end
$$;

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
  if not exists (select from plinth_jobs.queue q where q.name = job_name) then
    raise exception 'The job % does not exist.', job_name
      using errcode = 'PL404', hint = 'List it in the jobs of plinth.config and run plinth migrate.';
  end if;
  insert into plinth_jobs.job (
    name, data, expire_seconds, deletion_seconds, keep_until, retry_limit, retry_delay, retry_backoff, retry_delay_max, policy,
    dead_letter, heartbeat_seconds
  )
  select
    q.name, payload, q.expire_seconds, q.deletion_seconds, now() + make_interval(secs => q.retention_seconds), q.retry_limit,
    q.retry_delay, coalesce(q.retry_backoff, false), q.retry_delay_max, q.policy, q.dead_letter, q.heartbeat_seconds
  from plinth_jobs.queue q
  where q.name = job_name
  on conflict do nothing
  returning id into v_id;
  return v_id;
end
$$;

comment on function plinth.enqueue_job(text, jsonb) is
  'Queues a job for the worker with a payload of JSON without secrets. Returns its id, or null if a scheduled job waits already. PL404 for an unknown job.';
--! EndIncluded plinth/functions/enqueue_job.sql
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
      and n.nspname not in ('information_schema', 'plinth_migrate', 'plinth_jobs')
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
