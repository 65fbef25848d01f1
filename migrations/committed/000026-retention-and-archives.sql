--! Previous: sha1:73ea5a2689b4f230e519eae32432aa9d9b6de143
--! Hash: sha1:71960a1f65f1bc9f17efc732a740d7ebb32fc310
--! Message: retention and archives

-- Each log has a retention policy. Months that are older than it keeps are archived to files or dropped; archives can be attached
-- again. Rows in default partitions move to the partition of their month, whichever month that is.

-- Function bodies are checked on first use, so a function may precede the objects that it uses.
set local check_function_bodies = off;

create table security.retention_policies (
  log text primary key,
  kept_for interval not null,
  minimum_kept_for interval not null,
  action text not null,
  description text not null,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint retention_policies_log_check check (log ~ '^[a-z_]+(\.[a-z_]+)?$'),
  constraint retention_policies_action_check check (action in ('keep', 'archive', 'drop')),
  -- Intervals compare as if months had 30 days, so '-10000 years 3600360 days' passes for a year, but would make the future due.
  constraint retention_policies_kept_for_is_enough check (
    least(
      extract(year from kept_for), extract(month from kept_for), extract(day from kept_for),
      extract(hour from kept_for), extract(minute from kept_for), extract(second from kept_for)
    ) >= 0
    and kept_for between minimum_kept_for and interval '100 years'
    and timestamp '2001-01-01' + kept_for >= timestamp '2001-01-01' + minimum_kept_for
  ),
  constraint retention_policies_minimum_is_positive check (minimum_kept_for >= interval '1 day'),
  -- Bookkeeping is archived, never deleted.
  constraint retention_policies_bookkeeping_is_not_dropped
    check (action <> 'drop' or log <> 'billing.usage_events' and log <> 'private.payment_events'),
  constraint retention_policies_files_are_not_archived check (action <> 'archive' or log ~ '\.')
);

alter table security.retention_policies enable row level security;

comment on table security.retention_policies is 'One row per log: how long its entries are kept, and the action after that.';
comment on column security.retention_policies.log is
  'Schema and name of the log''s table; server_log is the log file of the embedded server.';
comment on column security.retention_policies.kept_for is
  'Length of time for which entries are kept. The action applies to whole months (UTC) that are older.';
comment on column security.retention_policies.minimum_kept_for is 'Shortest allowed length of time, because of other features.';
comment on column security.retention_policies.action is 'Action after that time: keep, archive or drop.';
comment on column security.retention_policies.description is 'Description of the entries, and the reason for the numbers.';
comment on column security.retention_policies.created_at is 'Time when the policy was created.';
comment on column security.retention_policies.updated_at is 'Time of the last change.';
comment on constraint retention_policies_action_check on security.retention_policies is
  E'@name retention_action\n'
  'Action on entries that are older than their policy keeps.\n'
  'keep: Nothing.\n'
  'archive: Written to a file and deleted from the database.\n'
  'drop: Deleted.';

insert into security.retention_policies (log, kept_for, minimum_kept_for, action, description) values
  (
    'security.login_attempts', '24 months', '3 months', 'archive',
    'Sign-in attempts. Views for analysts and the search for suspicious activity read the last months.'
  ),
  (
    'security.security_audit_log', '24 months', '12 months', 'archive',
    'Security events. A year is what auditors ask for at least.'
  ),
  (
    'security.audit_trail', '24 months', '12 months', 'archive',
    'Changes of accounts, roles, prices and rules. A year is what auditors ask for at least.'
  ),
  (
    'security.error_logs', '90 days', '7 days', 'drop',
    'Unexpected errors. After 90 days an error is fixed, or has recurred.'
  ),
  (
    'billing.usage_events', '10 years', '12 months', 'archive',
    'Uses of models. Bookkeeping; an event can be corrected while it is in the database. Totals and daily sums stay.'
  ),
  (
    'learning.content_consumption', '24 months', '6 months', 'archive',
    'Sessions with content. Popularity reads the last 180 days; progress and the sums of each account stay.'
  ),
  (
    'rooms.room_changes', '24 months', '3 months', 'archive',
    'Events of rooms other than messages. Messages and unread counts do not depend on them.'
  ),
  (
    'private.payment_events', '10 years', '3 months', 'archive',
    'Processed events of payment providers. Bookkeeping; a provider may repeat an event for days.'
  ),
  (
    'server_log', '30 days', '1 day', 'drop',
    'Older log files of the embedded server, at most ten of 10 MB.'
  );

-- The register of what left the database.
create table security.archives (
  id uuid primary key default plinth.uuid_v7(),
  log text not null references security.retention_policies,
  month date not null,
  state text not null,
  row_count bigint,
  first_at timestamptz,
  last_at timestamptz,
  file_name text,
  file_bytes bigint,
  sha256 text,
  is_encrypted boolean,
  migration text,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint archives_month_is_a_first_day check (month = date_trunc('month', month)),
  constraint archives_state_check check (state in ('detached', 'archived', 'attached', 'dropped')),
  constraint archives_sha256_check check (sha256 ~ '^[0-9a-f]{64}$'),
  constraint archives_archived_has_a_file check (state not in ('archived', 'attached') or num_nulls(file_name, sha256) = 0)
);

alter table security.archives enable row level security;

-- Archives of a log by month; also serves the foreign key.
create index archives_log_month_idx on security.archives (log, month);
-- The rows of a month are in one place.
create unique index archives_open_month_idx on security.archives (log, month) where state in ('detached', 'attached');

comment on table security.archives is 'One row per month of a log that was archived or dropped.';
comment on column security.archives.id is 'Id (UUIDv7).';
comment on column security.archives.log is 'Log that the month belongs to.';
comment on column security.archives.month is 'First day of the month (UTC).';
comment on column security.archives.state is 'State: detached, archived, attached or dropped.';
comment on column security.archives.row_count is 'Number of rows; null while they are being written.';
comment on column security.archives.first_at is 'Time of the first entry; null if there is none.';
comment on column security.archives.last_at is 'Time of the last entry; null if there is none.';
comment on column security.archives.file_name is 'Name of the file in the folder of archives; null if there is none.';
comment on column security.archives.file_bytes is 'Size of the file in bytes.';
comment on column security.archives.sha256 is 'SHA-256 of the file, in hexadecimal digits.';
comment on column security.archives.is_encrypted is 'Whether the file is encrypted.';
comment on column security.archives.migration is 'Latest migration at the time of writing, which tells the columns.';
comment on column security.archives.created_at is 'Time when the month left its log.';
comment on column security.archives.updated_at is 'Time of the last change.';
comment on constraint archives_state_check on security.archives is
  E'@name archive_state\n'
  'State of a month that left its log.\n'
  'detached: Moved out of the log; being written to a file.\n'
  'archived: In a verified file, and no longer in the database.\n'
  'attached: In the log again, for reading.\n'
  'dropped: Deleted.';
comment on constraint archives_log_fkey on security.archives is '@behavior -*';

-- What analytics.user_activity_summary counts of sessions that are archived.
create table private.archived_consumption (
  user_id uuid not null references identity.users on delete cascade,
  archive_id uuid not null references security.archives on delete cascade,
  sessions bigint not null,
  active_seconds bigint not null,
  days datemultirange not null,
  primary key (user_id, archive_id)
);

alter table private.archived_consumption enable row level security;

-- Serves the foreign key.
create index archived_consumption_archive_id_idx on private.archived_consumption (archive_id);

comment on table private.archived_consumption is
  'One row per account and archived month of learning.content_consumption, with the sums that the summary of its activity needs.';
comment on column private.archived_consumption.user_id is 'The account.';
comment on column private.archived_consumption.archive_id is 'The archive.';
comment on column private.archived_consumption.sessions is 'Number of sessions.';
comment on column private.archived_consumption.active_seconds is
  'Time spent in the sessions, in seconds; time with two items open at once counts once.';
comment on column private.archived_consumption.days is 'Days (UTC) on which a session began.';

-- Finds the old events of a plain table without reading all of it, and costs next to nothing to maintain.
create index room_changes_created_at_idx on rooms.room_changes using brin (created_at);
create index payment_events_received_at_idx on private.payment_events using brin (received_at);

--! Included plinth/private/create_month_partition.sql
-- Rows of the month that are in the default partition move to the new one.
create or replace function private.create_month_partition(parent regclass, month date)
  returns text
  language plpgsql
  volatile
  set search_path = pg_catalog
  -- Bounds are midnights UTC in any session time zone; otherwise two callers could create overlapping months.
  set timezone = 'UTC'
as $$
declare
  v_schema name;
  v_table name;
  v_name text;
begin
  select n.nspname, c.relname into strict v_schema, v_table
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
  where c.oid = parent;
  v_name := v_table || to_char(month, '_YYYY_MM');
  if to_regclass(format('%I.%I', v_schema, v_name)) is not null then
    return null;
  end if;
  perform private.lock_for_new_partition(parent);
  -- Another caller may have created it first.
  if to_regclass(format('%I.%I', v_schema, v_name)) is not null then
    return null;
  end if;
  execute format('create table %1$I.%2$I (like %1$I.%3$I including defaults including constraints)', v_schema, v_name, v_table);
  -- Through the parent, the parent's policies decide. Directly there are no policies, so no rows.
  execute format('alter table %I.%I enable row level security', v_schema, v_name);
  execute format(
    'comment on table %I.%I is %L', v_schema, v_name, format('Rows of %s made in %s.', v_table, to_char(month, 'YYYY-MM'))
  );
  execute format(
    'with moved as (delete from %1$I.%2$I where created_at >= $1 and created_at < $2 returning *)
     insert into %1$I.%3$I select * from moved',
    v_schema, v_table || '_default', v_name
  ) using month::timestamptz, month + interval '1 month';
  execute format(
    'alter table %1$I.%2$I attach partition %1$I.%3$I for values from (%4$L) to (%5$L)',
    v_schema, v_table, v_name, month::timestamptz, month + interval '1 month'
  );
  return format('%I.%I', v_schema, v_name);
end
$$;

comment on function private.create_month_partition(regclass, date) is
  'Creates the partition for a month of a log; returns its name, or null if it exists.';
--! EndIncluded plinth/private/create_month_partition.sql
--! Included plinth/private/ensure_partitions.sql
-- Monthly partitions of every table partitioned by range of created_at, found in the catalogue so that new logs need no change
-- here. Each table also has a default partition: rows land there if the worker is away for months, so that no event is refused at
-- a month's turn. They are moved when the month's partition is created, which is also done for past months and distant ones.
create or replace function private.ensure_partitions(months_ahead integer default 3)
  returns table (partition_name text)
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
  set timezone = 'UTC'
as $$
declare
  v_table record;
  v_months date[];
  v_month date;
  v_default text;
begin
  if months_ahead is null or months_ahead not between 0 and 120 then
    raise exception 'months_ahead must be from 0 to 120.' using errcode = 'PL422';
  end if;
  for v_table in
    select c.oid, n.nspname, c.relname
    from pg_partitioned_table p
    join pg_class c on c.oid = p.partrelid
    join pg_namespace n on n.oid = c.relnamespace
    join pg_attribute a on a.attrelid = c.oid and a.attnum = p.partattrs[0]
    where p.partstrat = 'r'
      and p.partnatts = 1
      and a.attname = 'created_at'
      and n.nspname in ('identity', 'access', 'billing', 'llm', 'rooms', 'learning', 'security', 'private')
    order by n.nspname, c.relname
  loop
    v_default := v_table.relname || '_default';
    if to_regclass(format('%I.%I', v_table.nspname, v_default)) is null then
      perform private.lock_for_new_partition(v_table.oid);
    end if;
    if to_regclass(format('%I.%I', v_table.nspname, v_default)) is null then
      execute format('create table %1$I.%2$I partition of %1$I.%3$I default', v_table.nspname, v_default, v_table.relname);
      execute format('alter table %I.%I enable row level security', v_table.nspname, v_default);
      execute format(
        'comment on table %I.%I is %L', v_table.nspname, v_default,
        format('Rows of %s whose month has no partition yet.', v_table.relname)
      );
      partition_name := format('%I.%I', v_table.nspname, v_default);
      return next;
    end if;

    execute format(
      'select array_agg(m.month order by m.month)
       from (
         select generate_series(
           date_trunc(''month'', now()), date_trunc(''month'', now()) + make_interval(months => $1), interval ''1 month''
         )::date as month
         union
         select date_trunc(''month'', d.created_at)::date from %I.%I d where isfinite(d.created_at)
       ) m',
      v_table.nspname, v_default
    ) into v_months using months_ahead;
    foreach v_month in array v_months loop
      partition_name := private.create_month_partition(v_table.oid, v_month);
      if partition_name is not null then
        return next;
      end if;
    end loop;
  end loop;
end
$$;

comment on function private.ensure_partitions(integer) is
  'Creates the missing monthly partitions of all logs, from this month to months_ahead later, and those of rows in default partitions; returns the names created.';
grant execute on function private.ensure_partitions(integer) to :PLINTH_WORKER;
--! EndIncluded plinth/private/ensure_partitions.sql
--! Included security/policies/retention_policies.sql
-- Users who manage security change the policies; auditors read them. No insert and no delete: jobs look the logs up by name.
revoke all on security.retention_policies from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select, update (kept_for, action) on security.retention_policies to :PLINTH_USER;

drop policy if exists select_permitted on security.retention_policies;
create policy select_permitted on security.retention_policies
  for select to :PLINTH_USER
  using ((select access.has_permission('manage_security')) or (select access.has_permission('view_audit_log')));
comment on policy select_permitted on security.retention_policies is
  'Users with manage_security or view_audit_log read the retention policies.';

drop policy if exists update_manager on security.retention_policies;
create policy update_manager on security.retention_policies
  for update to :PLINTH_USER
  using ((select access.has_permission('manage_security')))
  with check ((select access.has_permission('manage_security')));
comment on policy update_manager on security.retention_policies is
  'Users with manage_security change the retention policies.';
--! EndIncluded security/policies/retention_policies.sql
--! Included security/policies/archives.sql
-- Auditors and users who manage security read the register; only the functions of the archive write it.
revoke all on security.archives from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on security.archives to :PLINTH_USER;

drop policy if exists select_permitted on security.archives;
create policy select_permitted on security.archives
  for select to :PLINTH_USER
  using ((select access.has_permission('manage_security')) or (select access.has_permission('view_audit_log')));
comment on policy select_permitted on security.archives is
  'Users with manage_security or view_audit_log read the register of archives.';
--! EndIncluded security/policies/archives.sql
--! Included security/triggers/record_data_change.sql
create or replace trigger _700_record_data_change
  after insert or update or delete on security.rate_limit_rules
  for each row
  execute function private.record_data_change('rule_name', '', 'updated_at', '');

create or replace trigger _700_record_data_change
  after insert or update or delete on security.suspicious_activity_rules
  for each row
  execute function private.record_data_change('rule_name', '', 'updated_at', '');

create or replace trigger _700_record_data_change
  after insert or update or delete on security.retention_policies
  for each row
  execute function private.record_data_change('log', '', 'updated_at', '');
--! EndIncluded security/triggers/record_data_change.sql
--! Included security/triggers/touch_updated_at.sql
-- See plinth.touch_updated_at.
create or replace trigger _900_touch_updated_at
  before update on security.rate_limit_records
  for each row
  execute function plinth.touch_updated_at();

create or replace trigger _900_touch_updated_at
  before update on security.rate_limit_rules
  for each row
  execute function plinth.touch_updated_at();

create or replace trigger _900_touch_updated_at
  before update on security.suspicious_activity_rules
  for each row
  execute function plinth.touch_updated_at();

create or replace trigger _900_touch_updated_at
  before update on security.retention_policies
  for each row
  execute function plinth.touch_updated_at();

create or replace trigger _900_touch_updated_at
  before update on security.archives
  for each row
  execute function plinth.touch_updated_at();
--! EndIncluded security/triggers/touch_updated_at.sql
--! Included security/private/log_source.sql
-- A log is a table partitioned by month of created_at, or a plain table. Conditions are code, not data: a policy's editor must not
-- be able to write SQL.
create or replace function private.log_source(log text)
  returns table (target regclass, is_partitioned boolean, time_column name, condition text)
  language sql
  stable
  set search_path = pg_catalog
as $$
  select
    c.oid::regclass,
    c.relkind = 'p',
    case when log = 'private.payment_events' then 'received_at' else 'created_at' end::name,
    -- An unprocessed event is still needed, however old it is.
    case when log = 'private.payment_events' then 't.processed_at is not null' else 'true' end
  from pg_class c
  where c.oid = to_regclass(log)
$$;

comment on function private.log_source(text) is
  'Returns the table of a log, whether it is partitioned, its time column and the condition for rows that may leave it; no row for a file.';
--! EndIncluded security/private/log_source.sql
--! Included security/private/archive_table.sql
create or replace function private.archive_table(log text, month date)
  returns text
  language sql
  immutable
  set search_path = pg_catalog
as $$
  select format('private.%I', 'archiving_' || replace(log, '.', '_') || to_char(month, '_YYYY_MM'))
$$;

comment on function private.archive_table(text, date) is
  'Returns the name of the table that holds a month of a log between its removal from the log and its archive.';
--! EndIncluded security/private/archive_table.sql
--! Included security/private/kept_since.sql
-- Null: everything is kept.
create or replace function private.kept_since(log text)
  returns timestamptz
  language sql
  stable
  security definer
  set search_path = pg_catalog
as $$
  select now() - p.kept_for from security.retention_policies p where p.log = kept_since.log and p.action = 'drop'
$$;

comment on function private.kept_since(text) is
  'Returns the time before which the entries of a log are deleted; null if its policy does not delete.';
grant execute on function private.kept_since(text) to :PLINTH_WORKER;
--! EndIncluded security/private/kept_since.sql
--! Included security/private/due_log_months.sql
-- Whole months only: a month is due once its last moment is older than the log's policy keeps. A month that an operator has
-- attached again stays until it is detached. Rows in a default partition count with the month that they will move to.
create or replace function private.due_log_months()
  returns table (log text, month date, action text, estimated_rows bigint)
  language plpgsql
  stable
  security definer
  set search_path = pg_catalog
  set timezone = 'UTC'
as $$
#variable_conflict use_column
declare
  v_log record;
begin
  for v_log in
    select p.log, p.action, date_trunc('month', now() - p.kept_for) as before, s.*, nullif(t.partdefid, 0)::regclass as default_partition
    from security.retention_policies p
    cross join lateral private.log_source(p.log) s
    left join pg_partitioned_table t on t.partrelid = s.target
    where p.action <> 'keep'
    order by p.log
  loop
    return query execute
      case when v_log.is_partitioned then
        'select $1, m.month, $2, m.rows
        from (
          select to_date(substring(c.relname from ''_(\d{4}_\d{2})$''), ''YYYY_MM'') as month, greatest(c.reltuples, 0)::bigint as rows
          from pg_inherits i
          join pg_class c on c.oid = i.inhrelid
          where i.inhparent = $4'
        || case when v_log.default_partition is null then '' else
          format(
            '
          union all
          select date_trunc(''month'', t.created_at)::date, count(*)
          from %s t
          where isfinite(t.created_at) and t.created_at < $3
          group by 1',
            v_log.default_partition
          )
        end
        || '
        ) m
        where m.month < $3'
      else
        format(
          'select $1, m.month, $2, m.count
          from (
            select date_trunc(''month'', t.%1$I)::date as month, count(*) as count
            from %2$s t
            where t.%1$I < $3 and %3$s
            group by 1
          ) m
          where $4 is not null',
          v_log.time_column, v_log.target, v_log.condition
        )
      end
      || ' and not exists (
          select from security.archives a where a.log = $1 and a.month = m.month and a.state in (''detached'', ''attached'')
        )
        order by 2'
      using v_log.log, v_log.action, v_log.before, v_log.target::oid;
  end loop;
end
$$;

comment on function private.due_log_months() is
  'Returns the months of all logs that are older than their policy keeps, oldest first for each log, with the action to take.';
grant execute on function private.due_log_months() to :PLINTH_WORKER;
--! EndIncluded security/private/due_log_months.sql
--! Included security/private/require_due_month.sql
create or replace function private.require_due_month(log text, month date, action text)
  returns void
  language plpgsql
  stable
  set search_path = pg_catalog
as $$
begin
  if not exists (
    select
    from private.due_log_months() d
    where d.log = require_due_month.log and d.month = require_due_month.month and d.action = require_due_month.action
  ) then
    raise exception 'The policy of % does not ask to % its month %.', log, action, to_char(month, 'YYYY-MM')
      using errcode = 'PL409', hint = 'List the due months first.';
  end if;
end
$$;

comment on function private.require_due_month(text, date, text) is
  'Raises PL409 unless the policy of a log asks for this action for the month.';
--! EndIncluded security/private/require_due_month.sql
--! Included security/private/detach_log_month.sql
-- Moves a month of a log into a table of its own, in one transaction: a killed job leaves the month either in the log or in that
-- table, never in both.
--
-- Partitions are detached plainly. DETACH CONCURRENTLY is impossible here: PostgreSQL rejects it for a table with a default
-- partition, and inside a function. The plain form needs an exclusive lock for the moment of a catalogue change, so it waits at
-- most 200 ms, lets everyone pass and tries again: the job yields, not the sign-in. The foreign keys go in the same moment: the
-- table must not change any more, and dropping it later must lock no other table.
create or replace function private.detach_log_month(log text, month date)
  returns text
  language plpgsql
  volatile
  set search_path = pg_catalog
  set timezone = 'UTC'
  set lock_timeout = '200ms'
as $$
declare
  v_source record;
  v_table constant text := private.archive_table(log, month);
  v_name constant text := split_part(v_table, '.', 2);
  v_partition regclass;
  v_key name;
  v_tries integer := 0;
begin
  select s.* into strict v_source from private.log_source(log) s;
  if not v_source.is_partitioned then
    execute format('create table %s (like %s)', v_table, v_source.target);
    execute format(
      'with moved as (delete from %1$s t where t.%2$I >= $1 and t.%2$I < $2 and %3$s returning t.*)
       insert into %4$s select * from moved',
      v_source.target, v_source.time_column, v_source.condition, v_table
    ) using month::timestamptz, month + interval '1 month';
  else
    loop
      begin
        v_partition := v_source.target::text || to_char(month, '_YYYY_MM');
        -- In the order of private.lock_for_new_partition. Detaching changes the triggers of the referenced tables as well.
        execute format('lock table only %s in access exclusive mode', v_source.target);
        execute format('alter table %s detach partition %s', v_source.target, v_partition);
        for v_key in select k.conname from pg_constraint k where k.conrelid = v_partition and k.contype = 'f' order by 1 loop
          execute format('alter table %s drop constraint %I', v_partition, v_key);
        end loop;
        execute format('alter table %s set schema private', v_partition);
        execute format('alter table private.%I rename to %I', split_part(log, '.', 2) || to_char(month, '_YYYY_MM'), v_name);
        exit;
      exception
        when lock_not_available or deadlock_detected then
          v_tries := v_tries + 1;
          if v_tries >= 50 then
            raise;
          end if;
          perform pg_sleep(0.05 + random() / 10);
      end;
    end loop;
  end if;
  execute format('alter table %s enable row level security', v_table);
  execute format('comment on table %s is %L', v_table, format('Rows of %s of %s, until they are archived.', log, to_char(month, 'YYYY-MM')));
  return v_table;
end
$$;

comment on function private.detach_log_month(text, date) is
  'Moves a month of a log into the table private.archive_table(log, month); returns its name.';
--! EndIncluded security/private/detach_log_month.sql
--! Included security/private/count_archived_consumption.sql
-- analytics.user_activity_summary counts all sessions ever, so the sums of archived months stay. Seconds of two items open at once
-- count once within a month, as in the view. Days may be in two months: a late heartbeat is recorded later than it happened.
create or replace function private.count_archived_consumption(archive_id uuid, source regclass)
  returns void
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
begin
  execute format(
    'insert into private.archived_consumption (archive_id, user_id, sessions, active_seconds, days)
    select
      $1, s.user_id, count(*), learning.time_spent(sum(s.active_seconds), array_agg(s.active)),
      range_agg(daterange(s.day, s.day, ''[]''))
    from (select t.*, (t.started_at at time zone ''UTC'')::date as day from %s t) s
    where exists (select from identity.users u where u.id = s.user_id)
    group by s.user_id',
    source
  ) using archive_id;
end
$$;

comment on function private.count_archived_consumption(uuid, regclass) is
  'Keeps the sums of each account over a month of sessions that leaves learning.content_consumption.';
--! EndIncluded security/private/count_archived_consumption.sql
--! Included security/private/end_archive_table.sql
-- Counts the rows into the register before they go.
create or replace function private.end_archive_table(archive_id uuid)
  returns bigint
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_archive security.archives;
  v_table text;
  v_time name;
  v_found record;
begin
  select a.* into strict v_archive from security.archives a where a.id = archive_id;
  v_table := private.archive_table(v_archive.log, v_archive.month);
  select s.time_column into strict v_time from private.log_source(v_archive.log) s;
  execute format('select count(*) as count, min(t.%1$I) as first_at, max(t.%1$I) as last_at from %2$s t', v_time, v_table)
  into v_found;
  if v_archive.log = 'learning.content_consumption' then
    perform private.count_archived_consumption(archive_id, v_table::regclass);
  end if;
  execute format('drop table %s', v_table);
  update security.archives a
  set row_count = v_found.count, first_at = v_found.first_at, last_at = v_found.last_at
  where a.id = archive_id;
  return v_found.count;
end
$$;

comment on function private.end_archive_table(uuid) is
  'Registers the rows of a month that was moved out of its log, and drops its table; returns the number of rows.';
--! EndIncluded security/private/end_archive_table.sql
--! Included security/private/begin_archive.sql
-- The worker may start only what a policy asks for.
create or replace function private.begin_archive(log text, month date)
  returns uuid
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_id uuid;
begin
  perform private.require_due_month(log, month, 'archive');
  insert into security.archives (log, month, state) values (begin_archive.log, begin_archive.month, 'detached')
  returning id into v_id;
  perform private.detach_log_month(log, month);
  return v_id;
end
$$;

comment on function private.begin_archive(text, date) is
  'Moves a due month of a log out of it, to be archived; returns the id of the archive. PL409 if the month is not due.';
grant execute on function private.begin_archive(text, date) to :PLINTH_WORKER;
--! EndIncluded security/private/begin_archive.sql
--! Included security/private/drop_log_month.sql
create or replace function private.drop_log_month(log text, month date)
  returns bigint
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_id uuid;
begin
  perform private.require_due_month(log, month, 'drop');
  insert into security.archives (log, month, state) values (drop_log_month.log, drop_log_month.month, 'dropped')
  returning id into v_id;
  perform private.detach_log_month(log, month);
  return private.end_archive_table(v_id);
end
$$;

comment on function private.drop_log_month(text, date) is
  'Deletes a due month of a log and registers it; returns the number of rows. PL409 if the month is not due.';
grant execute on function private.drop_log_month(text, date) to :PLINTH_WORKER;
--! EndIncluded security/private/drop_log_month.sql
--! Included security/private/open_archives.sql
create or replace function private.open_archives()
  returns table (archive_id uuid, log text, month date, columns jsonb, blocks bigint)
  language sql
  stable
  security definer
  set search_path = pg_catalog
as $$
  select
    a.id, a.log, a.month,
    (
      select jsonb_agg(jsonb_build_object('name', c.attname, 'type', format_type(c.atttypid, c.atttypmod)) order by c.attnum)
      from pg_attribute c
      where c.attrelid = t.oid and c.attnum > 0 and not c.attisdropped
    ),
    pg_relation_size(t.oid) / current_setting('block_size')::bigint
  from security.archives a
  cross join lateral (select to_regclass(private.archive_table(a.log, a.month)) as oid) t
  where a.state = 'detached'
  order by a.log, a.month
$$;

comment on function private.open_archives() is
  'Returns the months that were moved out of their log and are not archived yet, with their columns and size in blocks.';
grant execute on function private.open_archives() to :PLINTH_WORKER;
--! EndIncluded security/private/open_archives.sql
--! Included security/private/read_archive_rows.sql
-- By block, so that each page costs the same. The table does not change any more. JSON spells each value the same in every session
-- and can be read without Plinth.
create or replace function private.read_archive_rows(archive_id uuid, first_block bigint, block_count integer)
  returns setof text
  language plpgsql
  stable
  security definer
  set search_path = pg_catalog
  set timezone = 'UTC'
  set datestyle = 'ISO, YMD'
  set intervalstyle = 'iso_8601'
  set extra_float_digits = '1'
as $$
declare
  v_table text;
begin
  select private.archive_table(a.log, a.month) into v_table
  from security.archives a
  where a.id = archive_id and a.state = 'detached';
  if v_table is null then
    raise exception 'This archive is not being written.' using errcode = 'PL409';
  end if;
  return query execute format('select row_to_json(t)::text from only %s t where t.ctid >= $1 and t.ctid < $2', v_table)
    using format('(%s,0)', first_block)::tid, format('(%s,0)', first_block + block_count)::tid;
end
$$;

comment on function private.read_archive_rows(uuid, bigint, integer) is
  'Returns the rows in some blocks of a month that is being archived, each as a JSON object. PL409 if it is not.';
grant execute on function private.read_archive_rows(uuid, bigint, integer) to :PLINTH_WORKER;
--! EndIncluded security/private/read_archive_rows.sql
--! Included security/private/finish_archive.sql
-- The last step: the file is on disk and has been read back. Only now do the rows leave the database.
create or replace function private.finish_archive(
  archive_id uuid,
  file_name text,
  file_bytes bigint,
  sha256 text,
  row_count bigint,
  is_encrypted boolean,
  migration text
)
  returns void
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_rows bigint;
begin
  perform from security.archives a where a.id = finish_archive.archive_id and a.state = 'detached' for update;
  if not found then
    raise exception 'This archive is not being written.' using errcode = 'PL409';
  end if;
  v_rows := private.end_archive_table(finish_archive.archive_id);
  if v_rows <> finish_archive.row_count then
    raise exception 'The file has % rows, the table has %.', finish_archive.row_count, v_rows using errcode = 'PL409';
  end if;
  update security.archives a
  set
    state = 'archived', file_name = finish_archive.file_name, file_bytes = finish_archive.file_bytes,
    sha256 = finish_archive.sha256, is_encrypted = finish_archive.is_encrypted, migration = finish_archive.migration
  where a.id = finish_archive.archive_id;
end
$$;

comment on function private.finish_archive(uuid, text, bigint, text, bigint, boolean, text) is
  'Registers the file of an archive and drops its rows. PL409 if the number of rows differs, or the archive is not being written.';
grant execute on function private.finish_archive(uuid, text, bigint, text, bigint, boolean, text) to :PLINTH_WORKER;
--! EndIncluded security/private/finish_archive.sql
--! Included security/private/begin_attach.sql
-- Attaching brings the rows back into the log itself, so that its policies, indexes, exports and erasure apply to them. Only for
-- the owner: a role that may load rows could forge a log.
create or replace function private.begin_attach(archive_id uuid)
  returns void
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_archive security.archives;
  v_source record;
begin
  select a.* into v_archive from security.archives a where a.id = archive_id for update;
  if not found then
    raise exception 'Archive not found.' using errcode = 'PL404';
  end if;
  if v_archive.state <> 'archived' then
    raise exception 'This archive is %, so it cannot be attached.', v_archive.state using errcode = 'PL409';
  end if;
  select s.* into strict v_source from private.log_source(v_archive.log) s;
  if v_source.is_partitioned then
    perform private.create_month_partition(v_source.target, v_archive.month);
  end if;
  -- The rows count again in the log.
  delete from private.archived_consumption c where c.archive_id = begin_attach.archive_id;
  update security.archives a set state = 'attached' where a.id = begin_attach.archive_id;
end
$$;

comment on function private.begin_attach(uuid) is
  'Prepares a log for the rows of an archive, in the transaction that loads them. PL404 for an unknown archive, PL409 for one that is not archived.';
--! EndIncluded security/private/begin_attach.sql
--! Included security/private/load_archive_rows.sql
-- Rows may refer to what was deleted since. They then fare as the foreign key says: the row goes, or the reference does. Usage has
-- no foreign key to its account, see billing.forget_usage_account.
create or replace function private.load_archive_rows(archive_id uuid, columns text[], lines text[])
  returns bigint
  language plpgsql
  volatile
  set search_path = pg_catalog
  set timezone = 'UTC'
as $$
declare
  v_log text;
  v_target regclass;
  v_missing text;
  v_values text;
  v_condition text;
  v_count bigint;
begin
  select a.log, a.log::regclass into v_log, v_target from security.archives a where a.id = archive_id and a.state = 'attached';
  if v_target is null then
    raise exception 'This archive is not attached.' using errcode = 'PL409';
  end if;
  select string_agg(c.name, ', ') into v_missing
  from unnest(columns) c (name)
  where not exists (
    select from pg_attribute a where a.attrelid = v_target and a.attname = c.name and a.attnum > 0 and not a.attisdropped
  );
  if v_missing is not null then
    raise exception 'The log has no column %, so the archive would not fit into it.', v_missing
      using errcode = 'PL409', hint = 'Read the file itself: it has one JSON object a line.';
  end if;
  with keys as (
    select a.attname as name, k.confrelid::regclass as parent, f.attname as parent_column, k.confdeltype = 'n' as is_cleared
    from pg_constraint k
    join pg_attribute a on a.attrelid = k.conrelid and a.attnum = k.conkey[1]
    join pg_attribute f on f.attrelid = k.confrelid and f.attnum = k.confkey[1]
    where k.conrelid = v_target and k.contype = 'f' and cardinality(k.conkey) = 1
    union all
    select 'user_id', 'billing.usage_tracking'::regclass, 'user_id', true where v_log = 'billing.usage_events'
  )
  select
    string_agg(
      case when k.is_cleared
        then format('(select p.%I from %s p where p.%1$I = r.%3$I)', k.parent_column, k.parent, c.name)
        else format('r.%I', c.name)
      end,
      ', ' order by c.position
    ),
    coalesce(
      string_agg(
        format('(r.%3$I is null or exists (select from %2$s p where p.%1$I = r.%3$I))', k.parent_column, k.parent, c.name),
        ' and '
      ) filter (where not k.is_cleared),
      'true'
    )
  into v_values, v_condition
  from unnest(columns) with ordinality c (name, position)
  left join keys k on k.name = c.name;
  execute format(
    'insert into %1$s (%2$s)
     select %3$s from unnest($1) l (line) cross join lateral json_populate_record(null::%1$s, l.line::json) r where %4$s',
    v_target, (select string_agg(quote_ident(c.name), ', ' order by c.position) from unnest(columns) with ordinality c (name, position)),
    v_values, v_condition
  ) using lines;
  get diagnostics v_count = row_count;
  return v_count;
end
$$;

comment on function private.load_archive_rows(uuid, text[], text[]) is
  'Adds rows of an attached archive to its log; returns their number. Rows of deleted owners are left out, references to deleted rows are cleared.';
--! EndIncluded security/private/load_archive_rows.sql
--! Included security/private/reopen_archive.sql
-- The month is written anew: what was erased while it was attached is then in no file either.
create or replace function private.reopen_archive(archive_id uuid)
  returns void
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_archive security.archives;
begin
  select a.* into v_archive from security.archives a where a.id = archive_id for update;
  if not found then
    raise exception 'Archive not found.' using errcode = 'PL404';
  end if;
  if v_archive.state <> 'attached' then
    raise exception 'This archive is %, not attached.', v_archive.state using errcode = 'PL409';
  end if;
  perform private.detach_log_month(v_archive.log, v_archive.month);
  update security.archives a set state = 'detached' where a.id = archive_id;
end
$$;

comment on function private.reopen_archive(uuid) is
  'Moves the month of an attached archive out of its log, to be archived again. PL404 for an unknown archive, PL409 for one that is not attached.';
--! EndIncluded security/private/reopen_archive.sql
--! Included security/private/delete_old_error_logs.sql
-- Deletes one batch of the error log, to the day: an error is fixed by then, or has recurred.
create or replace function private.delete_old_error_logs(batch_size integer default 1000)
  returns integer
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_kept interval;
begin
  perform private.check_batch_size(batch_size);
  select p.kept_for into v_kept
  from security.retention_policies p
  where p.log = 'security.error_logs' and p.action = 'drop';
  if v_kept is null then
    return 0;
  end if;
  return private.delete_old_rows('security.error_logs', 'created_at', v_kept, batch_size);
end
$$;

comment on function private.delete_old_error_logs(integer) is
  'Deletes up to batch_size errors that are older than the retention policy keeps; returns their number.';
grant execute on function private.delete_old_error_logs(integer) to :PLINTH_WORKER;
--! EndIncluded security/private/delete_old_error_logs.sql
--! Included analytics/views/user_activity_summary.sql
-- Sign-in and learning activity of accounts, without names and addresses.
create or replace view analytics.user_activity_summary
  with (security_barrier = true)
as
select
  u.id as user_id,
  coalesce(c.sessions, 0) as sessions,
  coalesce(c.active_seconds, 0) as active_seconds,
  coalesce(c.active_days, 0) as active_days,
  coalesce(p.items_started, 0) as items_started,
  coalesce(p.items_completed, 0) as items_completed,
  round(p.items_completed::numeric / p.items_started, 4) as completion_rate,
  coalesce(r.ratings, 0) as ratings,
  coalesce(l.sign_ins, 0) as sign_ins,
  coalesce(l.failed_sign_ins, 0) as failed_sign_ins,
  coalesce(l.sign_in_days, 0) as sign_in_days,
  u.last_login_at,
  p.last_activity_at,
  u.created_at
from identity.users u
left join (
  select
    s.user_id,
    sum(s.sessions)::bigint as sessions,
    sum(s.active_seconds)::bigint as active_seconds,
    (select sum(upper(r.days) - lower(r.days)) from unnest(range_agg(s.days)) r (days)) as active_days
  from (
    select
      k.user_id,
      count(*) as sessions,
      learning.time_spent(sum(k.active_seconds), array_agg(k.active)) as active_seconds,
      range_agg(daterange((k.started_at at time zone 'UTC')::date, (k.started_at at time zone 'UTC')::date, '[]')) as days
    from learning.content_consumption k
    group by k.user_id
    union all
    select a.user_id, a.sessions, a.active_seconds, a.days from private.archived_consumption a
  ) s
  group by s.user_id
) c on c.user_id = u.id
left join (
  -- Courses are counted by their parts.
  select
    t.user_id,
    count(*) as items_started,
    count(t.completed_at) as items_completed,
    max(t.last_activity_at) as last_activity_at
  from learning.content_progress t
  join learning.content_items i on i.id = t.item_id and i.content_type <> 'course'
  group by t.user_id
) p on p.user_id = u.id
left join (
  select cr.user_id, count(*) as ratings from learning.content_ratings cr group by cr.user_id
) r on r.user_id = u.id
left join (
  select
    a.user_id,
    count(*) filter (where a.status = 'success') as sign_ins,
    count(*) filter (where a.status in ('failed', 'locked')) as failed_sign_ins,
    count(distinct (a.created_at at time zone 'UTC')::date) filter (where a.status = 'success') as sign_in_days
  from security.login_attempts a
  where a.created_at > now() - interval '30 days'
  group by a.user_id
) l on l.user_id = u.id;

comment on view analytics.user_activity_summary is 'Grain: one row per account. Content consumed and completed, and sign-ins.';
comment on column analytics.user_activity_summary.user_id is 'The account.';
comment on column analytics.user_activity_summary.sessions is 'Number of sessions with content.';
comment on column analytics.user_activity_summary.active_seconds is 'Time spent with content, in seconds; time with two items open at once counts once.';
comment on column analytics.user_activity_summary.active_days is 'Number of days (UTC) on which a session began.';
comment on column analytics.user_activity_summary.items_started is 'Number of items started; courses are counted by their parts.';
comment on column analytics.user_activity_summary.items_completed is 'Number of those items that were completed.';
comment on column analytics.user_activity_summary.completion_rate is 'Ratio items_completed / items_started, 0 to 1; null when no item was started.';
comment on column analytics.user_activity_summary.ratings is 'Number of ratings given.';
comment on column analytics.user_activity_summary.sign_ins is 'Number of successful sign-ins in the last 30 days.';
comment on column analytics.user_activity_summary.failed_sign_ins is 'Number of rejected sign-ins in the last 30 days.';
comment on column analytics.user_activity_summary.sign_in_days is 'Number of days (UTC) of the last 30 with a successful sign-in.';
comment on column analytics.user_activity_summary.last_login_at is 'Time of the last successful sign-in.';
comment on column analytics.user_activity_summary.last_activity_at is 'Time of the last activity with content.';
comment on column analytics.user_activity_summary.created_at is 'Time the account was created.';
grant select on analytics.user_activity_summary to :PLINTH_ANALYST;
--! EndIncluded analytics/views/user_activity_summary.sql
--! Included billing/private/recorded_usage.sql
-- For repeated calls. With the time of recording, only its partition is searched.
create or replace function private.recorded_usage(event_id uuid, recorded_at timestamptz default null)
  returns billing.usage_events
  language plpgsql
  stable
  set search_path = pg_catalog
as $$
declare
  v_event billing.usage_events;
begin
  if recorded_at is null then
    select e.* into v_event from billing.usage_events e where e.id = event_id;
  else
    select e.* into v_event from billing.usage_events e where e.id = event_id and e.created_at = recorded_at;
  end if;
  if v_event.id is null then
    raise exception 'This usage was recorded so long ago that it is archived.' using errcode = 'PL404', column = 'event_id';
  end if;
  return v_event;
end
$$;

comment on function private.recorded_usage(uuid, timestamptz) is 'Returns the event that an earlier call recorded. PL404 if it is archived.';
--! EndIncluded billing/private/recorded_usage.sql
--! Included billing/private/record_usage.sql
-- Usage without a hold, once for each key. It has already happened, so it is recorded regardless of grants and limits: charged as
-- far as the grants cover it, the rest as overdraft. Callers that need a rejection reserve tokens first.
create or replace function private.record_usage(
  user_id uuid,
  model_id uuid,
  input_tokens bigint,
  output_tokens bigint,
  idempotency_key text,
  cached_input_tokens bigint default 0,
  reasoning_tokens bigint default 0,
  occurred_at timestamptz default null,
  message_id uuid default null,
  at timestamptz default now()
)
  returns billing.usage_events
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_valid boolean;
  v_locked timestamptz;
  v_arguments jsonb := jsonb_build_array(
    record_usage.model_id, record_usage.input_tokens, record_usage.output_tokens, record_usage.cached_input_tokens,
    record_usage.reasoning_tokens, extract(epoch from record_usage.occurred_at), record_usage.message_id
  );
  v_key private.usage_keys;
  v_event billing.usage_events;
  v_taken record;
begin
  v_valid := private.check_token_counts(
    record_usage.input_tokens, record_usage.output_tokens, record_usage.cached_input_tokens, record_usage.reasoning_tokens
  );
  perform private.ensure_current_grants(record_usage.user_id)
  where not exists (
    select from billing.usage_tracking t where t.user_id = record_usage.user_id and t.entitled_until > now()
  );
  v_locked := private.lock_usage(record_usage.user_id, record_usage.at);
  v_key := private.used_key(record_usage.user_id, 'record', record_usage.idempotency_key, v_arguments);
  if v_key.event_id is not null then
    return private.recorded_usage(v_key.event_id);
  end if;
  if record_usage.model_id is not null and not exists (select from llm.models m where m.id = record_usage.model_id) then
    raise exception 'Model not found.' using errcode = 'PL404', column = 'model_id';
  end if;
  if record_usage.message_id is not null then
    select m.chat_id into v_event.chat_id
    from llm.messages m
    where m.id = record_usage.message_id and m.user_id = record_usage.user_id;
    if not found then
      raise exception 'Message not found.' using errcode = 'PL404', column = 'message_id';
    end if;
  end if;

  v_taken := private.take_tokens(
    record_usage.user_id, record_usage.input_tokens + record_usage.output_tokens, false, record_usage.at
  );
  v_event.id := plinth.uuid_v7();
  v_event.user_id := record_usage.user_id;
  v_event.model_id := record_usage.model_id;
  v_event.message_id := record_usage.message_id;
  v_event.kind := 'usage';
  v_event.source := 'service';
  v_event.idempotency_key := record_usage.idempotency_key;
  v_event.input_tokens := record_usage.input_tokens;
  v_event.output_tokens := record_usage.output_tokens;
  v_event.cached_input_tokens := record_usage.cached_input_tokens;
  v_event.reasoning_tokens := record_usage.reasoning_tokens;
  v_event.grant_ids := v_taken.grant_ids;
  v_event.grant_tokens := v_taken.grant_tokens;
  v_event.overdraft_tokens := v_taken.missing;
  v_event.occurred_at := least(record_usage.occurred_at, record_usage.at);
  v_event.created_at := record_usage.at;
  v_event := private.post_usage_event(v_event);
  insert into private.usage_keys (user_id, operation, idempotency_key, arguments, event_id)
  values (v_event.user_id, 'record', v_event.idempotency_key, v_arguments, v_event.id);
  if v_event.message_id is not null then
    perform private.claim_message(v_event, record_usage.at);
  end if;
  return v_event;
end
$$;

comment on function private.record_usage(uuid, uuid, bigint, bigint, text, bigint, bigint, timestamptz, uuid, timestamptz) is
  'Records and charges usage without a hold; the same key again returns the same event. PL409 for a key used for another request, PL404 for an unknown user, model or message.';
grant execute
  on function private.record_usage(uuid, uuid, bigint, bigint, text, bigint, bigint, timestamptz, uuid, timestamptz)
  to :PLINTH_SERVICE;
--! EndIncluded billing/private/record_usage.sql
--! Included billing/private/correct_usage.sql
-- Corrects recorded usage to the given counts. History stays; the difference is added.
create or replace function private.correct_usage(
  event_id uuid,
  input_tokens bigint,
  output_tokens bigint,
  idempotency_key text,
  cached_input_tokens bigint default 0,
  reasoning_tokens bigint default 0,
  at timestamptz default now()
)
  returns billing.usage_events
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_valid boolean;
  v_locked timestamptz;
  v_arguments jsonb := jsonb_build_array(
    correct_usage.event_id, correct_usage.input_tokens, correct_usage.output_tokens, correct_usage.cached_input_tokens,
    correct_usage.reasoning_tokens
  );
  v_event billing.usage_events;
  v_key private.usage_keys;
begin
  v_valid := private.check_token_counts(
    correct_usage.input_tokens, correct_usage.output_tokens, correct_usage.cached_input_tokens,
    correct_usage.reasoning_tokens
  );
  select e.* into v_event from billing.usage_events e where e.id = correct_usage.event_id;
  if v_event.user_id is null then
    raise exception 'Usage not found, or its account was deleted.' using errcode = 'PL404', column = 'event_id';
  end if;
  if v_event.kind <> 'usage' then
    raise exception 'Correct the usage, not its correction.' using errcode = 'PL422', column = 'event_id';
  end if;
  v_locked := private.lock_usage(v_event.user_id, correct_usage.at);
  v_key := private.used_key(v_event.user_id, 'correct', correct_usage.idempotency_key, v_arguments);
  if v_key.event_id is not null then
    return private.recorded_usage(v_key.event_id);
  end if;
  v_event := private.apply_correction(
    correct_usage.event_id, correct_usage.input_tokens, correct_usage.output_tokens, correct_usage.cached_input_tokens,
    correct_usage.reasoning_tokens, correct_usage.idempotency_key, correct_usage.at
  );
  insert into private.usage_keys (user_id, operation, idempotency_key, arguments, event_id)
  values (v_event.user_id, 'correct', v_event.idempotency_key, v_arguments, v_event.id);
  return v_event;
end
$$;

comment on function private.correct_usage(uuid, bigint, bigint, text, bigint, bigint, timestamptz) is
  'Corrects a recorded usage to these counts by an event of the difference; the same key again returns the same event. PL404 for unknown usage, PL409 for a key used for another request.';
grant execute on function private.correct_usage(uuid, bigint, bigint, text, bigint, bigint, timestamptz)
  to :PLINTH_SERVICE;
--! EndIncluded billing/private/correct_usage.sql
--! Included billing/private/settle_hold.sql
-- Records and charges the actual usage of a call: first to the hold, whose rest is released; then to the grants currently
-- available; the uncovered rest is recorded as overdraft. Usage has already happened, so it is never rejected, and a grant is
-- never charged more than it has. A hold that expired meanwhile keeps nothing, so the whole usage is charged as of now. Only
-- services settle holds: a client could report less.
create or replace function private.settle_hold(
  hold_id uuid,
  input_tokens bigint,
  output_tokens bigint,
  cached_input_tokens bigint default 0,
  reasoning_tokens bigint default 0,
  occurred_at timestamptz default null,
  message_id uuid default null,
  at timestamptz default now()
)
  returns billing.usage_events
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
  set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  v_valid boolean;
  v_locked timestamptz;
  v_hold record;
  v_ended record;
  v_event billing.usage_events;
  v_taken record;
  v_was_open boolean;
  v_left bigint;
  v_take bigint;
begin
  v_valid := private.check_token_counts(
    settle_hold.input_tokens, settle_hold.output_tokens, settle_hold.cached_input_tokens, settle_hold.reasoning_tokens
  );
  -- Before the lock, only the columns of the hold that never change can be trusted.
  select
    h.id, h.user_id, h.model_id, h.max_tokens, h.grant_ids, h.grant_tokens, h.idempotency_key,
    t.last_reset < date_trunc('month', settle_hold.at, 'UTC') or t.next_hold_expires_at <= settle_hold.at as is_due
  into v_hold
  from billing.token_holds h
  join billing.usage_tracking t on t.user_id = h.user_id
  where h.id = settle_hold.hold_id
  for no key update of t;
  if not found then
    raise exception 'Hold not found.' using errcode = 'PL404', column = 'hold_id';
  end if;
  if v_hold.is_due then
    v_locked := private.lock_usage(v_hold.user_id, settle_hold.at);
  end if;
  v_event.id := plinth.uuid_v7();
  v_left := settle_hold.input_tokens + settle_hold.output_tokens;
  update billing.token_holds h
  set state = 'settled', settled_at = settle_hold.at, usage_event_id = v_event.id
  where h.id = settle_hold.hold_id and h.state = 'open';
  v_was_open := found;

  if not v_was_open then
    select h.state, h.usage_event_id, h.settled_at into strict v_ended
    from billing.token_holds h
    where h.id = settle_hold.hold_id;
    if v_ended.state = 'released' then
      raise exception 'The hold was released.' using errcode = 'PL409', column = 'hold_id';
    end if;
    if v_ended.state = 'settled' then
      v_event := private.recorded_usage(v_ended.usage_event_id, v_ended.settled_at);
      if (
        v_event.input_tokens, v_event.output_tokens, v_event.cached_input_tokens, v_event.reasoning_tokens,
        v_event.message_id
      ) is distinct from (
        settle_hold.input_tokens, settle_hold.output_tokens, settle_hold.cached_input_tokens,
        settle_hold.reasoning_tokens, settle_hold.message_id
      )
        or v_event.occurred_at <> least(settle_hold.occurred_at, v_event.created_at)
      then
        raise exception 'The hold was already settled with other token counts.'
          using errcode = 'PL409', column = 'hold_id', hint = 'Correct the recorded usage instead.';
      end if;
      return v_event;
    end if;
  end if;

  if settle_hold.message_id is not null then
    select m.chat_id into v_event.chat_id
    from llm.messages m
    where m.id = settle_hold.message_id and m.user_id = v_hold.user_id;
    if not found then
      raise exception 'Message not found.' using errcode = 'PL404', column = 'message_id';
    end if;
  end if;

  v_event.grant_ids := '{}';
  v_event.grant_tokens := '{}';
  if v_was_open and cardinality(v_hold.grant_ids) = 1 and v_left <= v_hold.max_tokens then
    -- Usually the hold keeps enough of one grant.
    update billing.token_grants g
    set held = g.held - v_hold.max_tokens, consumed = g.consumed + v_left
    where g.id = v_hold.grant_ids[1];
    if v_left > 0 then
      v_event.grant_ids := v_hold.grant_ids;
      v_event.grant_tokens := array[v_left];
      v_left := 0;
    end if;
  elsif v_was_open then
    for i in 1 .. cardinality(v_hold.grant_ids) loop
      v_take := least(v_left, v_hold.grant_tokens[i]);
      update billing.token_grants g
      set held = g.held - v_hold.grant_tokens[i], consumed = g.consumed + v_take
      where g.id = v_hold.grant_ids[i];
      if v_take > 0 then
        v_event.grant_ids := v_event.grant_ids || v_hold.grant_ids[i];
        v_event.grant_tokens := v_event.grant_tokens || v_take;
        v_left := v_left - v_take;
      end if;
    end loop;
  end if;
  if v_left > 0 then
    perform private.ensure_grants_at(v_hold.user_id, now(), false)
    where not exists (
      select from billing.usage_tracking t where t.user_id = v_hold.user_id and t.entitled_until > now()
    );
    v_taken := private.take_tokens(v_hold.user_id, v_left, false, settle_hold.at);
    v_event.grant_ids := v_event.grant_ids || v_taken.grant_ids;
    v_event.grant_tokens := v_event.grant_tokens || v_taken.grant_tokens;
    v_left := v_taken.missing;
  end if;

  v_event.user_id := v_hold.user_id;
  v_event.model_id := v_hold.model_id;
  v_event.message_id := settle_hold.message_id;
  v_event.hold_id := v_hold.id;
  v_event.kind := 'usage';
  v_event.source := 'hold';
  v_event.idempotency_key := v_hold.idempotency_key;
  v_event.input_tokens := settle_hold.input_tokens;
  v_event.output_tokens := settle_hold.output_tokens;
  v_event.cached_input_tokens := settle_hold.cached_input_tokens;
  v_event.reasoning_tokens := settle_hold.reasoning_tokens;
  v_event.overdraft_tokens := v_left;
  -- A clock that runs ahead must not add to tomorrow's totals.
  v_event.occurred_at := least(settle_hold.occurred_at, settle_hold.at);
  v_event.created_at := settle_hold.at;
  v_event := private.post_usage_event(v_event);

  if not v_was_open then
    update billing.token_holds h
    set state = 'settled', settled_at = v_event.created_at, usage_event_id = v_event.id
    where h.id = v_hold.id;
  end if;
  if v_event.message_id is not null then
    perform private.claim_message(v_event, settle_hold.at);
  end if;
  return v_event;
end
$$;

comment on function private.settle_hold(uuid, bigint, bigint, bigint, bigint, timestamptz, uuid, timestamptz) is
  'Records and charges the usage of a call; the same call again returns the same event. PL404 for an unknown hold or message, PL409 for a hold that was released or settled with other token counts.';
grant execute on function private.settle_hold(uuid, bigint, bigint, bigint, bigint, timestamptz, uuid, timestamptz)
  to :PLINTH_SERVICE;
--! EndIncluded billing/private/settle_hold.sql
--! Included llm/private/record_message_usage.sql
-- tokens_used of an assistant's message is counted in the ledger exactly once: recorded when it appears, corrected when it
-- changes, ignored when a service has settled the message. It has no parts, so it counts and is priced as output.
create or replace function private.record_message_usage(message llm.messages, at timestamptz default now())
  returns void
  language plpgsql
  volatile
as $$
declare
  v_locked timestamptz;
  v_tokens bigint := coalesce(message.tokens_used, 0);
  v_counted billing.usage_events;
  v_event billing.usage_events;
  v_taken record;
begin
  -- The writer holds the message or its chat, which rank after the account.
  perform private.ensure_grants_at(message.user_id, now(), false)
  where not exists (
    select from billing.usage_tracking t where t.user_id = message.user_id and t.entitled_until > now()
  );
  v_locked := private.lock_usage(message.user_id, record_message_usage.at);
  select e.* into v_counted
  from private.usage_keys k
  -- An archived event is not corrected any more, and still counts its message.
  left join billing.usage_events e on e.id = k.event_id
  where k.user_id = message.user_id and k.operation = 'message' and k.idempotency_key = message.id::text;
  if found then
    if v_counted.source in ('message', 'self_reported') then
      perform private.apply_correction(v_counted.id, 0, v_tokens, 0, 0, null, record_message_usage.at);
    end if;
    return;
  end if;
  if v_tokens = 0 then
    return;
  end if;
  v_taken := private.take_tokens(message.user_id, v_tokens, false, record_message_usage.at);
  v_event.id := plinth.uuid_v7();
  v_event.user_id := message.user_id;
  v_event.model_id := message.model_id;
  v_event.chat_id := message.chat_id;
  v_event.message_id := message.id;
  v_event.kind := 'usage';
  v_event.source := case when plinth.current_user_id() is null then 'message' else 'self_reported' end;
  v_event.input_tokens := 0;
  v_event.output_tokens := v_tokens;
  v_event.cached_input_tokens := 0;
  v_event.reasoning_tokens := 0;
  v_event.grant_ids := v_taken.grant_ids;
  v_event.grant_tokens := v_taken.grant_tokens;
  v_event.overdraft_tokens := v_taken.missing;
  v_event.occurred_at := least(message.created_at, record_message_usage.at);
  v_event.created_at := record_message_usage.at;
  v_event := private.post_usage_event(v_event);
  insert into private.usage_keys (user_id, operation, idempotency_key, arguments, event_id)
  values (message.user_id, 'message', message.id::text, '{}', v_event.id);
end
$$;

comment on function private.record_message_usage(llm.messages, timestamptz) is
  'Brings the ledger up to a message''s tokens_used, unless a service has settled the message.';
--! EndIncluded llm/private/record_message_usage.sql
