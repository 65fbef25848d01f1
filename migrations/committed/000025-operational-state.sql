--! Previous: sha1:8017c8cb0ec2e54069a9abd41f2690f4b3737a67
--! Hash: sha1:73ea5a2689b4f230e519eae32432aa9d9b6de143
--! Message: operational state

-- Counts, sizes and ages for /metrics.
--! Included plinth/private/operational_state.sql
-- The numbers that /metrics shows of a database: counts, sizes and ages, and no row's content. In one statement, so that a scrape costs one round
-- trip. Sessions of other roles are visible only to an owner with pg_read_all_stats.
create or replace function private.operational_state()
  returns jsonb
  language plpgsql
  stable
  security definer
  set search_path = pg_catalog
as $$
declare
  v_state jsonb;
  v_queues jsonb;
  v_failed jsonb;
  v_default record;
  v_rows bigint;
  v_strays bigint := 0;
begin
  -- The job queue is installed after the migrations.
  if to_regclass('plinth_jobs.job') is not null then
    select jsonb_object_agg(q.name, jsonb_build_object(
        'waiting', coalesce(j.waiting, 0),
        'active', coalesce(j.active, 0),
        'oldest', j.oldest,
        'succeeded', j.succeeded
      ))
    into v_queues
    from plinth_jobs.queue q
    left join (
      select
        b.name,
        count(*) filter (where b.state in ('created', 'retry')) as waiting,
        count(*) filter (where b.state = 'active') as active,
        extract(epoch from now() - min(b.start_after) filter (where b.state in ('created', 'retry') and b.start_after <= now())) as oldest,
        extract(epoch from max(b.completed_on) filter (where b.state = 'completed')) as succeeded
      from plinth_jobs.job b
      group by b.name
    ) j on j.name = q.name
    where q.name !~ '^__' and q.name <> 'dead-letter';

    select jsonb_object_agg(d.name, d.jobs)
    into v_failed
    from (
      select coalesce(b.source_name, 'unknown') as name, count(*) as jobs
      from plinth_jobs.job b
      where b.name = 'dead-letter' and b.state < 'completed'
      group by 1
    ) d;
  end if;

  -- Sizes would not tell: a default partition that was emptied keeps its pages until a vacuum.
  for v_default in
    select n.nspname, c.relname
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
    where c.relispartition
      and pg_get_expr(c.relpartbound, c.oid) = 'DEFAULT'
      and n.nspname in ('identity', 'access', 'billing', 'llm', 'rooms', 'learning', 'security', 'private')
  loop
    execute format('select count(*) from (select from %I.%I limit 1000) r', v_default.nspname, v_default.relname) into v_rows;
    v_strays := v_strays + v_rows;
  end loop;

  select jsonb_build_object(
    'queues', coalesce(v_queues, '{}'),
    'failed', coalesce(v_failed, '{}'),
    'mail', (
      select jsonb_build_object(
        'waiting', count(*),
        'oldest', coalesce(extract(epoch from now() - min(o.created_at)), 0)
      )
      from private.mail_outbox o
      where o.status = 'pending'
    ),
    'payment_events', (
      select jsonb_build_object(
        'waiting', count(*),
        'oldest', coalesce(extract(epoch from now() - min(e.received_at)), 0)
      )
      from private.payment_events e
      where e.processed_at is null
    ),
    'partitions', (
      select jsonb_object_agg(format('%s.%s', n.nspname, c.relname), (
        -- Consecutive months after this one.
        select coalesce(min(m.number), 13) - 1
        from generate_series(1, 12) as m (number)
        where not exists (
          select
          from pg_inherits i
          join pg_class p on p.oid = i.inhrelid
          where i.inhparent = c.oid
            and p.relname = c.relname || to_char(now() at time zone 'UTC' + make_interval(months => m.number), '_YYYY_MM')
        )
      ))
      from pg_partitioned_table t
      join pg_class c on c.oid = t.partrelid
      join pg_namespace n on n.oid = c.relnamespace
      where t.partstrat = 'r' and n.nspname in ('identity', 'access', 'billing', 'llm', 'rooms', 'learning', 'security', 'private')
    ),
    'default_partition_rows', v_strays,
    'migrations', (select count(*) from plinth_migrate.migrations),
    'database', (
      select jsonb_build_object(
        'bytes', pg_database_size(d.oid),
        'xid_age', age(d.datfrozenxid),
        'deadlocks', s.deadlocks,
        'temp_bytes', s.temp_bytes
      )
      from pg_database d
      join pg_stat_database s on s.datid = d.oid
      where d.datname = current_database()
    ),
    'sessions', (
      select jsonb_build_object(
        'connections', count(*),
        'oldest_transaction', coalesce(extract(epoch from clock_timestamp() - min(a.xact_start) filter (where a.pid <> pg_backend_pid())), 0),
        'idle_in_transaction', count(*) filter (where a.state like 'idle in transaction%'),
        'waiting_for_locks', count(*) filter (where a.wait_event_type = 'Lock')
      )
      from pg_stat_activity a
      where a.datname = current_database()
    ),
    'connections_limit', current_setting('max_connections')::integer,
    'sees_all_sessions', pg_has_role('pg_read_all_stats', 'usage'),
    'in_recovery', pg_is_in_recovery(),
    'replay_lag', case
      when not pg_is_in_recovery() then null
      when pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() then 0
      else extract(epoch from clock_timestamp() - pg_last_xact_replay_timestamp())
    end,
    'replicas', case when pg_is_in_recovery() then '[]' else (
      select coalesce(jsonb_agg(jsonb_build_object(
        'bytes', pg_wal_lsn_diff(pg_current_wal_lsn(), r.replay_lsn),
        'seconds', coalesce(extract(epoch from r.replay_lag), 0)
      )), '[]')
      from pg_stat_replication r
      where r.replay_lsn is not null
    ) end,
    'slots', case when pg_is_in_recovery() then '{}' else (
      select jsonb_build_object(
        'inactive', count(*) filter (where not s.active),
        'bytes', coalesce(max(pg_wal_lsn_diff(pg_current_wal_lsn(), s.restart_lsn)), 0)
      )
      from pg_replication_slots s
    ) end,
    'archive', (
      select jsonb_build_object(
        'failing', current_setting('archive_mode') <> 'off' and a.last_failed_time > coalesce(a.last_archived_time, '-infinity')
      )
      from pg_stat_archiver a
    )
  )
  into v_state;
  return v_state;
end
$$;

comment on function private.operational_state() is
  'Returns counts, sizes and ages of the queues, logs, sessions and replicas as JSON, for the metrics of the servers and workers.';
grant execute on function private.operational_state() to :PLINTH_SERVICE, :PLINTH_WORKER;
--! EndIncluded plinth/private/operational_state.sql
