--!restore identity/private/data_export_sources.sql
--!restore plinth/functions/enqueue_job.sql

-- The versions before look for the job queue and the record of migrations in these schemas, unless a neighbour has taken them.
do $$
declare
  v_function record;
begin
  if to_regclass('plinth_jobs.queue') is not null and to_regnamespace('pgboss') is null then
    alter schema plinth_jobs rename to pgboss;
    for v_function in
      select pg_get_functiondef(oid) as text
      from pg_proc
      where pronamespace = 'pgboss'::regnamespace and strpos(prosrc, 'plinth_jobs.') > 0
    loop
      execute replace(v_function.text, 'plinth_jobs.', 'pgboss.');
    end loop;
    update pgboss.bam set command = replace(command, 'plinth_jobs.', 'pgboss.') where strpos(command, 'plinth_jobs.') > 0;
  end if;
  if exists (select from plinth_migrate.migrations) and to_regnamespace('graphile_migrate') is null then
    alter schema plinth_migrate rename to graphile_migrate;
  end if;
end
$$;
