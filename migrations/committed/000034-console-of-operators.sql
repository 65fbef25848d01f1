--! Previous: sha1:e50635ba257463e9e1449493624aa42b7554c2e2
--! Hash: sha1:849dced131693022f4e4cddb85a13c9f7eb8220a
--! Message: console of operators

-- The console of operators: the state of the system in numbers, and one account at a time with a record of each look.
insert into access.permissions (permission_name, description) values
  ('read_operations', 'See the state of the system in numbers: sign-ins, use, cost, revenue, jobs and errors.');

create type security.system_finding as (
  severity text,
  area text,
  problem text,
  remedy text
);

comment on type security.system_finding is 'A fault of the system, and its remedy.';
comment on column security.system_finding.severity is 'Severity: warning (act this week) or critical (act now).';
comment on column security.system_finding.area is 'Part of the system, such as jobs or replication.';
comment on column security.system_finding.problem is 'The fault, as a sentence.';
comment on column security.system_finding.remedy is 'The action to take, as a sentence.';

create type security.queue_state as (
  queue text,
  waiting bigint,
  active bigint,
  failed bigint,
  oldest_seconds integer,
  succeeded_at timestamptz
);

comment on type security.queue_state is 'State of the queue of a job.';
comment on column security.queue_state.queue is 'Name of the job.';
comment on column security.queue_state.waiting is 'Number of runs that wait or will be retried.';
comment on column security.queue_state.active is 'Number of runs in progress.';
comment on column security.queue_state.failed is 'Number of runs that failed after all retries and wait for an operator.';
comment on column security.queue_state.oldest_seconds is 'Time that the oldest waiting run has been due, in seconds; null if none is.';
comment on column security.queue_state.succeeded_at is 'Time of the last success; null if none is known. Runs are deleted after a week.';

create type security.log_state as (
  log text,
  months_ahead integer
);

comment on type security.log_state is 'State of the partitions of a log.';
comment on column security.log_state.log is 'Schema and name of the log.';
comment on column security.log_state.months_ahead is 'Number of consecutive future months that have a partition, 12 at most.';

create type security.system_state as (
  observed_at timestamptz,
  findings security.system_finding[],
  queues security.queue_state[],
  logs security.log_state[],
  default_partition_rows bigint,
  database_bytes bigint,
  connections integer,
  connections_limit integer,
  oldest_transaction_seconds integer,
  waiting_for_locks integer,
  has_all_sessions boolean,
  waiting_emails bigint,
  replicas integer,
  replica_lag_bytes bigint,
  replica_lag_seconds numeric,
  inactive_slots integer,
  slot_bytes bigint,
  is_archive_failing boolean
);

comment on type security.system_state is 'State of the jobs, logs, database and replicas at one time.';
comment on column security.system_state.observed_at is 'Time of the reading.';
comment on column security.system_state.findings is 'Faults, critical ones first; empty if the system is healthy.';
comment on column security.system_state.queues is 'Queues of the jobs, by name.';
comment on column security.system_state.logs is 'Partitioned logs, by name.';
comment on column security.system_state.default_partition_rows is 'Number of rows in default partitions, because their month had none; 1,000 a log at most.';
comment on column security.system_state.database_bytes is 'Size of the database in bytes.';
comment on column security.system_state.connections is 'Number of connections to the database, of all programs.';
comment on column security.system_state.connections_limit is 'Number of connections that the server allows.';
comment on column security.system_state.oldest_transaction_seconds is 'Age of the oldest open transaction, in seconds.';
comment on column security.system_state.waiting_for_locks is 'Number of sessions that wait for a lock.';
comment on column security.system_state.has_all_sessions is 'Whether sessions and replicas of other database roles are counted: the owner has pg_read_all_stats.';
comment on column security.system_state.waiting_emails is 'Number of emails and text messages that wait to be sent.';
comment on column security.system_state.replicas is 'Number of connected replicas.';
comment on column security.system_state.replica_lag_bytes is 'WAL that the slowest replica has not replayed, in bytes; null without replicas.';
comment on column security.system_state.replica_lag_seconds is 'Replay lag of the slowest replica in seconds; null without replicas.';
comment on column security.system_state.inactive_slots is 'Number of replication slots without a connection.';
comment on column security.system_state.slot_bytes is 'WAL that the furthest replication slot holds, in bytes.';
comment on column security.system_state.is_archive_failing is 'Whether the last attempt to archive WAL failed; null if it was never tried.';

create type security.sign_in_count as (starts_at timestamptz, succeeded bigint, failed bigint, locked bigint, accounts bigint);

comment on type security.sign_in_count is 'Sign-in attempts in a day or hour.';
comment on column security.sign_in_count.starts_at is 'Start of the day (UTC) or hour.';
comment on column security.sign_in_count.succeeded is 'Number of successful sign-ins.';
comment on column security.sign_in_count.failed is 'Number of rejected attempts.';
comment on column security.sign_in_count.locked is 'Number of attempts rejected unchecked, because the account was locked.';
comment on column security.sign_in_count.accounts is 'Number of accounts that signed in and still exist.';

create type security.activity_count as (starts_at timestamptz, active_accounts bigint, new_accounts bigint);

comment on type security.activity_count is 'Accounts in a day or hour.';
comment on column security.activity_count.starts_at is 'Start of the day (UTC) or hour.';
comment on column security.activity_count.active_accounts is 'Number of accounts that signed in, wrote a message, used a model or opened content.';
comment on column security.activity_count.new_accounts is 'Number of accounts that were created.';

create type security.token_use_count as (starts_at timestamptz, model text, currency text, tokens bigint, cost numeric);

comment on type security.token_use_count is 'Use of a model in a day or hour.';
comment on column security.token_use_count.starts_at is 'Start of the day (UTC) or hour.';
comment on column security.token_use_count.model is 'Provider and name of the model; unknown if none was named.';
comment on column security.token_use_count.currency is 'Currency of the cost (ISO 4217 code).';
comment on column security.token_use_count.tokens is 'Number of tokens sent and generated.';
comment on column security.token_use_count.cost is 'Exact cost of the tokens with a known price, in units of the currency.';

create type security.revenue_count as (
  starts_at timestamptz,
  currency text,
  payments bigint,
  paid_cents bigint,
  refunded_cents bigint,
  paid numeric,
  refunded numeric
);

comment on type security.revenue_count is 'Payments in a day or hour.';
comment on column security.revenue_count.starts_at is 'Start of the day (UTC) or hour.';
comment on column security.revenue_count.currency is 'Currency of the amounts (ISO 4217 code).';
comment on column security.revenue_count.payments is 'Number of payments.';
comment on column security.revenue_count.paid_cents is 'Amount paid, in the smallest unit of the currency.';
comment on column security.revenue_count.refunded_cents is 'Amount refunded of these payments at any time, in the smallest unit of the currency.';
comment on column security.revenue_count.paid is 'Amount paid, in units of the currency.';
comment on column security.revenue_count.refunded is 'Amount refunded of these payments at any time, in units of the currency.';

create type security.error_count as (starts_at timestamptz, error_code text, errors bigint);

comment on type security.error_count is 'Unexpected errors in a day or hour.';
comment on column security.error_count.starts_at is 'Start of the day (UTC) or hour.';
comment on column security.error_count.error_code is 'SQLSTATE, system error code, or class of the error.';
comment on column security.error_count.errors is 'Number of errors.';

create type identity.inspected_session as (
  id uuid,
  device_name text,
  ip_address inet,
  authentication_methods text[],
  created_at timestamptz,
  last_activity_at timestamptz,
  expires_at timestamptz
);

comment on type identity.inspected_session is 'A live session of an inspected account.';
comment on column identity.inspected_session.id is 'The session.';
comment on column identity.inspected_session.device_name is 'Name of the device, from the program or the user.';
comment on column identity.inspected_session.ip_address is 'Last IP address; null for a reader without view_audit_log.';
comment on column identity.inspected_session.authentication_methods is 'Methods of the sign-in (RFC 8176), such as pwd and otp.';
comment on column identity.inspected_session.created_at is 'Time of the sign-in.';
comment on column identity.inspected_session.last_activity_at is 'Time of the last use.';
comment on column identity.inspected_session.expires_at is 'Time when the session ends.';

create type identity.inspected_account as (
  user_id uuid,
  username text,
  email text,
  account_status text,
  is_verified boolean,
  has_second_factor boolean,
  failed_login_attempts integer,
  locked_until timestamptz,
  last_login_at timestamptz,
  created_at timestamptz,
  roles text[],
  can_be_administered boolean,
  sessions identity.inspected_session[]
);

comment on type identity.inspected_account is 'An account and its live sessions.';
comment on column identity.inspected_account.user_id is 'The account.';
comment on column identity.inspected_account.username is 'The user name.';
comment on column identity.inspected_account.email is 'The email address; null if there is none, or only its hash is stored.';
comment on column identity.inspected_account.account_status is 'State of the account: active, disabled or deleted.';
comment on column identity.inspected_account.is_verified is 'Whether the email address is verified.';
comment on column identity.inspected_account.has_second_factor is 'Whether the account has a confirmed second factor.';
comment on column identity.inspected_account.failed_login_attempts is 'Number of consecutive wrong passwords.';
comment on column identity.inspected_account.locked_until is 'Time until which sign-in is locked; null if it is not.';
comment on column identity.inspected_account.last_login_at is 'Time of the last successful sign-in.';
comment on column identity.inspected_account.created_at is 'Time the account was created.';
comment on column identity.inspected_account.roles is 'Names of the roles, without expired ones.';
comment on column identity.inspected_account.can_be_administered is 'Whether the reader holds every permission of the account, so that it may be unlocked and its sessions ended.';
comment on column identity.inspected_account.sessions is 'Live sessions, last used first, 100 at most.';

--! Included security/private/require_operations.sql
-- Called before a history is read, not within its query: the planner may skip a part of the query that cannot return rows.
create or replace function private.require_operations(days integer default 1)
  returns void
  language plpgsql
  stable
  set search_path = pg_catalog
as $$
begin
  perform private.require_user_id();
  if not access.has_permission('read_operations') then
    raise exception 'This needs the permission read_operations.' using errcode = 'PL403';
  end if;
  if days is null or days not between 1 and 90 then
    raise exception 'The number of days must be between 1 and 90.' using errcode = 'PL422', column = 'days';
  end if;
end
$$;

comment on function private.require_operations(integer) is
  'Raises PL401 or PL403 unless the signed-in user has read_operations, and PL422 for another number of days than 1 to 90.';
--! EndIncluded security/private/require_operations.sql
--! Included security/private/operations_buckets.sql
-- The time axis of every history that operators read. Every bucket is there, also one without events: a gap in a plot would look like a
-- server that was down. Days are those of UTC, so that all operators see the same numbers.
create or replace function private.operations_buckets(days integer)
  returns table (starts_at timestamptz, ends_at timestamptz)
  language sql
  stable
  rows 90
  set search_path = pg_catalog
as $$
  select b.at, b.at + a.step
  from (
    select
      date_trunc(case when days = 1 then 'hour' else 'day' end, now(), 'UTC') as last,
      case when days = 1 then interval '1 hour' else interval '24 hours' end as step,
      case when days = 1 then 24 else days - 1 end as steps
  ) a
  cross join generate_series(a.last - a.step * a.steps, a.last, a.step) as b (at)
$$;

comment on function private.operations_buckets(integer) is
  'Returns the days of a history up to today (UTC), or for one day the 24 hours before this one and this one; oldest first.';
--! EndIncluded security/private/operations_buckets.sql
--! Included security/private/system_findings.sql
-- Thresholds and remedies as in deploy/prometheus/alerts.yml, for those who run Plinth without Prometheus.
create or replace function private.system_findings(state jsonb)
  returns setof security.system_finding
  language sql
  stable
  rows 5
  set search_path = pg_catalog
as $$
  with queues as (
    select q.key as name, (q.value ->> 'oldest')::numeric as oldest, to_timestamp((q.value ->> 'succeeded')::numeric) as succeeded
    from jsonb_each(state -> 'queues') q
  ),
  findings (severity, area, problem, remedy) as (
    -- At a first start, this is true for a minute.
    select 'warning', 'jobs', 'No job has run yet.', 'Keep plinth work (or plinth start) running: some jobs run every minute.'
    where state -> 'queues' = '{}' or not exists (select from queues q where q.succeeded is not null)
    union all
    select 'critical', 'jobs', format('The last job succeeded %s minutes ago.', floor(extract(epoch from now() - max(q.succeeded)) / 60)),
      'Keep plinth work (or plinth start) running, and read its log.'
    from queues q
    having max(q.succeeded) < now() - interval '30 minutes'
    union all
    select 'critical', 'jobs', format('A job of %s has been due for %s minutes.', q.name, floor(q.oldest / 60)),
      'Keep plinth work (or plinth start) running, and read its log.'
    from queues q
    where q.oldest > 900
    union all
    select 'warning', 'jobs', format('The job %s failed after all retries.', f.key), 'Run plinth jobs: it shows the error and how to run the job again.'
    from jsonb_each(state -> 'failed') f
    union all
    select 'critical', 'mail', format('A message has waited for %s minutes.', floor((state #>> '{mail,oldest}')::numeric / 60)),
      'Check PLINTH_SMTP_URL where plinth work runs, and the mail server.'
    where (state #>> '{mail,oldest}')::numeric > 900
    union all
    select 'warning', 'payments', 'An event of the payment provider has waited for more than an hour.',
      'Select the unprocessed rows of private.payment_events: outcome names the reason.'
    where (state #>> '{payment_events,oldest}')::numeric > 3600
    union all
    select 'critical', 'partitions', format('%s has no partition for next month.', p.key), 'Keep plinth work running: its job ensure-partitions creates them.'
    from jsonb_each(state -> 'partitions') p
    where p.value::integer < 1
    union all
    select 'warning', 'partitions', 'Rows are in default partitions, because their month had none.',
      'Keep plinth work running: its job ensure-partitions moves them.'
    where (state ->> 'default_partition_rows')::bigint > 0
    union all
    select 'warning', 'database', format('%s of %s connections are in use.', state #>> '{sessions,connections}', state ->> 'connections_limit'),
      'Lower PLINTH_POOL_MAX, raise max_connections, or use a pooler.'
    where (state #>> '{sessions,connections}')::numeric > 0.8 * (state ->> 'connections_limit')::numeric
    union all
    select 'warning', 'database', format('A transaction has been open for %s minutes.', floor((state #>> '{sessions,oldest_transaction}')::numeric / 60)),
      'Find it in pg_stat_activity (xact_start), and end it with pg_terminate_backend.'
    where (state #>> '{sessions,oldest_transaction}')::numeric > 1800
    union all
    select 'warning', 'database', format('%s sessions wait for locks.', state #>> '{sessions,waiting_for_locks}'), 'pg_blocking_pids shows the holder.'
    where (state #>> '{sessions,waiting_for_locks}')::integer > 5
    union all
    select 'critical', 'database', 'The database has used most of its transaction ids.', 'Run VACUUM (FREEZE), and find out why autovacuum does not.'
    where (state #>> '{database,xid_age}')::bigint > 1500000000
    union all
    select 'warning', 'replication', format('A replica is %s seconds behind.', floor(max((r.value ->> 'seconds')::numeric))),
      'Look at the load of the replica, and at long queries on it.'
    from jsonb_array_elements(state -> 'replicas') r
    having max((r.value ->> 'seconds')::numeric) > 60
    union all
    select 'critical', 'replication', 'A replication slot without a connection holds WAL, which fills the disk.',
      'Start its replica again, or drop the slot with pg_drop_replication_slot.'
    where (state #>> '{slots,inactive}')::integer > 0 and (state #>> '{slots,bytes}')::numeric > 1e9
    union all
    select 'critical', 'backups', 'WAL is not archived, so the newest backup grows older and the disk fills.',
      'Read the log of the server for the error of archive_command.'
    where (state #>> '{archive,failing}')::boolean
  )
  select f.severity, f.area, f.problem, f.remedy
  from findings f
  order by f.severity, f.area, f.problem
$$;

comment on function private.system_findings(jsonb) is
  'Returns what is wrong in a state that private.operational_state() returned, and what to do, critical findings first.';
--! EndIncluded security/private/system_findings.sql
--! Included security/functions/system_state.sql
-- A single reading for all of it, so that the numbers fit together. Names of queues and logs are those of Plinth and the application, not of
-- people.
create or replace function security.system_state()
  returns security.system_state
  language plpgsql
  stable
  security definer
  set search_path = pg_catalog
as $$
declare
  v_state jsonb;
begin
  perform private.require_operations();
  v_state := private.operational_state();
  return row(
    now(),
    array(select f from private.system_findings(v_state) f),
    array(
      select row(
        q.key, (q.value ->> 'waiting')::bigint, (q.value ->> 'active')::bigint,
        coalesce((v_state -> 'failed' ->> q.key)::bigint, 0),
        (q.value ->> 'oldest')::numeric::integer,
        to_timestamp((q.value ->> 'succeeded')::numeric)
      )::security.queue_state
      from jsonb_each(v_state -> 'queues') q
      order by q.key
    ),
    array(
      select row(p.key, p.value::integer)::security.log_state
      from jsonb_each(v_state -> 'partitions') p
      order by p.key
    ),
    (v_state ->> 'default_partition_rows')::bigint,
    (v_state #>> '{database,bytes}')::bigint,
    (v_state #>> '{sessions,connections}')::integer,
    (v_state ->> 'connections_limit')::integer,
    (v_state #>> '{sessions,oldest_transaction}')::numeric::integer,
    (v_state #>> '{sessions,waiting_for_locks}')::integer,
    (v_state ->> 'sees_all_sessions')::boolean,
    (v_state #>> '{mail,waiting}')::bigint,
    jsonb_array_length(v_state -> 'replicas'),
    (select max((r.value ->> 'bytes')::numeric)::bigint from jsonb_array_elements(v_state -> 'replicas') r),
    (select max((r.value ->> 'seconds')::numeric) from jsonb_array_elements(v_state -> 'replicas') r),
    coalesce((v_state #>> '{slots,inactive}')::integer, 0),
    coalesce((v_state #>> '{slots,bytes}')::numeric::bigint, 0),
    (v_state #>> '{archive,failing}')::boolean
  )::security.system_state;
end
$$;

comment on function security.system_state() is
  'Returns what is wrong with the system and what to do, and the state of its jobs, logs, database and replicas: numbers only. Needs read_operations (PL403).';
grant execute on function security.system_state() to :PLINTH_USER;
--! EndIncluded security/functions/system_state.sql
--! Included security/functions/sign_in_counts.sql
-- For operators: numbers only, of all accounts.
create or replace function security.sign_in_counts(days integer default 30)
  returns setof security.sign_in_count
  language plpgsql
  stable
  security definer
  rows 90
  set search_path = pg_catalog
as $$
begin
  perform private.require_operations(sign_in_counts.days);
  return query
    select b.starts_at, a.succeeded, a.failed, a.locked, a.accounts
    from private.operations_buckets(sign_in_counts.days) b
    -- Each bucket reads only its part of the index, in the partitions of its month.
    cross join lateral (
      select
        count(*) filter (where l.status = 'success') as succeeded,
        count(*) filter (where l.status = 'failed') as failed,
        count(*) filter (where l.status = 'locked') as locked,
        count(distinct l.user_id) filter (where l.status = 'success') as accounts
      from security.login_attempts l
      where l.created_at >= b.starts_at and l.created_at < b.ends_at
    ) a
    order by b.starts_at;
end
$$;

comment on function security.sign_in_counts(integer) is
  E'@behavior -queryField:resource:connection +queryField:resource:list -filterProc\n'
  '@listSuffix omit\n'
  'Returns the number of sign-in attempts by outcome for each day (UTC), or each of the last 24 hours for one day; oldest first. Needs read_operations (PL403).';
grant execute on function security.sign_in_counts(integer) to :PLINTH_USER;
--! EndIncluded security/functions/sign_in_counts.sql
--! Included security/functions/activity_counts.sql
-- Active means that a person did something: signed in, wrote a message, used a model or opened content. An account that is only
-- kept signed in by a program is not.
create or replace function security.activity_counts(days integer default 30)
  returns setof security.activity_count
  language plpgsql
  stable
  security definer
  rows 90
  set search_path = pg_catalog
as $$
begin
  perform private.require_operations(activity_counts.days);
  return query
    with buckets as materialized (
      select b.starts_at, b.ends_at from private.operations_buckets(activity_counts.days) b
    ),
    first as (
      select min(b.starts_at) as at from buckets b
    ),
    actions as (
      select l.user_id, l.created_at as at
      from security.login_attempts l
      where l.status = 'success' and l.created_at >= (select f.at from first f)
      union all
      -- By the id, which is ordered by time: these tables have no index on their time alone.
      select e.user_id, e.occurred_at
      from billing.usage_events e
      where e.kind = 'usage' and e.id >= private.uuid_v7_at((select f.at from first f)) and e.created_at >= (select f.at from first f)
      union all
      select m.user_id, m.created_at
      from llm.messages m
      where m.role = 'user' and m.id >= private.uuid_v7_at((select f.at from first f)) and m.created_at >= (select f.at from first f)
      union all
      select m.sender_id, m.created_at
      from rooms.general_chat_messages m
      where m.id >= private.uuid_v7_at((select f.at from first f)) and m.created_at >= (select f.at from first f)
      union all
      select m.sender_id, m.created_at
      from rooms.room_messages m
      where m.id >= private.uuid_v7_at((select f.at from first f)) and m.created_at >= (select f.at from first f)
      union all
      select c.user_id, c.created_at
      from learning.content_consumption c
      where c.created_at >= (select f.at from first f)
    ),
    -- By truncated time, so that the planner can hash: compared with each bucket, the cost would grow with the number of days.
    active as (
      select d.starts_at, count(*) as accounts
      from (
        select distinct date_trunc(case when activity_counts.days = 1 then 'hour' else 'day' end, a.at, 'UTC') as starts_at, a.user_id
        from actions a
        where a.user_id is not null
      ) d
      group by d.starts_at
    )
    select b.starts_at, coalesce(a.accounts, 0), n.accounts
    from buckets b
    left join active a on a.starts_at = b.starts_at
    cross join lateral (
      select count(*) as accounts from identity.users u where u.created_at >= b.starts_at and u.created_at < b.ends_at
    ) n
    order by b.starts_at;
end
$$;

comment on function security.activity_counts(integer) is
  E'@behavior -queryField:resource:connection +queryField:resource:list -filterProc\n'
  '@listSuffix omit\n'
  'Returns the number of accounts that were active and that were created for each day (UTC), or each of the last 24 hours for one day; oldest first. Deleted accounts are not counted. Needs read_operations (PL403).';
grant execute on function security.activity_counts(integer) to :PLINTH_USER;
--! EndIncluded security/functions/activity_counts.sql
--! Included security/functions/token_use_counts.sql
create or replace function security.token_use_counts(days integer default 30)
  returns setof security.token_use_count
  language plpgsql
  stable
  security definer
  rows 500
  set search_path = pg_catalog
as $$
begin
  perform private.require_operations(token_use_counts.days);
  return query
    with buckets as materialized (
      select b.starts_at, b.ends_at from private.operations_buckets(token_use_counts.days) b
    ),
    first as (
      select min(b.starts_at) as at from buckets b
    ),
    used as (
      select b.starts_at, d.model_id, d.currency, d.total_tokens, d.cost
      from billing.daily_usage d
      join buckets b on b.starts_at = d.day::timestamp at time zone 'UTC'
      where token_use_counts.days > 1
      union all
      -- By the id, which is ordered by time: the log has no index on its time alone.
      select b.starts_at, e.model_id, e.currency, e.total_tokens, coalesce(e.cost, 0)
      from billing.usage_events e
      join buckets b on e.occurred_at >= b.starts_at and e.occurred_at < b.ends_at
      where token_use_counts.days = 1
        and e.id >= private.uuid_v7_at((select f.at from first f)) and e.created_at >= (select f.at from first f)
    )
    select
      u.starts_at, coalesce(p.name || '/' || m.name, 'unknown'), u.currency, sum(u.total_tokens)::bigint, sum(u.cost)
    from used u
    left join llm.models m on m.id = u.model_id
    left join llm.model_providers p on p.id = m.provider_id
    group by 1, 2, 3
    having sum(u.total_tokens) <> 0 or sum(u.cost) <> 0
    order by 1, 2, 3;
end
$$;

comment on function security.token_use_counts(integer) is
  E'@behavior -queryField:resource:connection +queryField:resource:list -filterProc\n'
  '@listSuffix omit\n'
  'Returns tokens and their cost by model for each day (UTC) with usage, or each of the last 24 hours for one day; oldest first. Needs read_operations (PL403).';
grant execute on function security.token_use_counts(integer) to :PLINTH_USER;
--! EndIncluded security/functions/token_use_counts.sql
--! Included security/functions/revenue_counts.sql
-- Refunds belong to the day of their payment, so that a day's revenue is what is left of it.
create or replace function security.revenue_counts(days integer default 30)
  returns setof security.revenue_count
  language plpgsql
  stable
  security definer
  rows 90
  set search_path = pg_catalog
as $$
begin
  perform private.require_operations(revenue_counts.days);
  return query
    select b.starts_at, p.currency, count(*), sum(p.amount_cents)::bigint, sum(p.refunded_cents)::bigint,
      analytics.major_units(sum(p.amount_cents), p.currency), analytics.major_units(sum(p.refunded_cents), p.currency)
    from private.operations_buckets(revenue_counts.days) b
    -- As the index on the time of payment is defined; a comparison of paid_at itself would read all payments for each bucket.
    join billing.payments p
      on p.paid_at is not null
      and p.paid_at at time zone 'UTC' >= b.starts_at at time zone 'UTC'
      and p.paid_at at time zone 'UTC' < b.ends_at at time zone 'UTC'
    group by b.starts_at, p.currency
    order by b.starts_at, p.currency;
end
$$;

comment on function security.revenue_counts(integer) is
  E'@behavior -queryField:resource:connection +queryField:resource:list -filterProc\n'
  '@listSuffix omit\n'
  'Returns payments and what was refunded of them by currency for each day (UTC) with a payment, or each of the last 24 hours for one day; oldest first. Needs read_operations (PL403).';
grant execute on function security.revenue_counts(integer) to :PLINTH_USER;
--! EndIncluded security/functions/revenue_counts.sql
--! Included security/functions/error_counts.sql
create or replace function security.error_counts(days integer default 30)
  returns setof security.error_count
  language plpgsql
  stable
  security definer
  rows 200
  set search_path = pg_catalog
as $$
begin
  perform private.require_operations(error_counts.days);
  return query
    select b.starts_at, e.error_code, count(*)
    from private.operations_buckets(error_counts.days) b
    join security.error_logs e on e.created_at >= b.starts_at and e.created_at < b.ends_at
    group by b.starts_at, e.error_code
    order by b.starts_at, e.error_code;
end
$$;

comment on function security.error_counts(integer) is
  E'@behavior -queryField:resource:connection +queryField:resource:list -filterProc\n'
  '@listSuffix omit\n'
  'Returns the number of unexpected errors by code for each day (UTC) with one, or each of the last 24 hours for one day; oldest first. Needs read_operations (PL403).';
grant execute on function security.error_counts(integer) to :PLINTH_USER;
--! EndIncluded security/functions/error_counts.sql
--! Included identity/functions/inspect_account.sql
-- Each look is recorded, also one that finds nothing: an error would take back the record. The entered text is not recorded, because it
-- may be the address of a person without an account.
create or replace function identity.inspect_account(identifier text)
  returns identity.inspected_account
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_id uuid;
  v_account identity.inspected_account;
begin
  perform private.require_user_id();
  if not access.has_permission('manage_users') then
    raise exception 'This needs the permission manage_users.' using errcode = 'PL403';
  end if;
  if btrim(inspect_account.identifier) ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then
    select u.id into v_id from identity.users u where u.id = btrim(inspect_account.identifier)::uuid;
  else
    v_id := private.find_account(inspect_account.identifier);
  end if;
  perform private.record_security_event('account_inspected', v_id, jsonb_build_object('found', v_id is not null));
  if v_id is null then
    return null;
  end if;

  select
    u.id, u.username, u.email, u.account_status, u.is_verified, private.second_factors(u.id) <> '{}',
    u.failed_login_attempts, case when u.locked_until > now() then u.locked_until end,
    u.last_login_at, u.created_at,
    array(
      select r.role_name
      from access.user_roles ur
      join access.roles r on r.id = ur.role_id
      where ur.user_id = u.id and (ur.expires_at is null or ur.expires_at > now())
      order by r.role_name
    ),
    access.may_administer(u.id),
    array(
      select row(
        s.id, s.device_name, case when access.has_permission('view_audit_log') then s.ip_address end,
        s.authentication_methods, s.created_at, s.last_activity_at, s.expires_at
      )::identity.inspected_session
      from identity.user_sessions s
      where s.user_id = u.id and s.ended_at is null and s.expires_at > now()
      order by s.last_activity_at desc, s.id
      limit 100
    )
  into v_account
  from identity.users u
  where u.id = v_id;
  -- The person sees this look in the list of who read their data.
  if v_id <> plinth.current_user_id() then
    perform private.record_personal_data_reads(
      (
        select jsonb_agg(jsonb_build_object('relation', r.relation, 'user_id', v_id, 'rows', r.row_count))
        from (values ('identity.users', 1), ('identity.user_sessions', cardinality(v_account.sessions))) r (relation, row_count)
        where r.row_count > 0
      ),
      'inspectAccount'
    );
  end if;
  return v_account;
end
$$;

comment on function identity.inspect_account(text) is
  'Returns an account and its live sessions by username, address or id; null if there is none. Each call is recorded in the audit log. Addresses of the sessions need view_audit_log, too. Needs manage_users (PL403).';
grant execute on function identity.inspect_account(text) to :PLINTH_USER;
--! EndIncluded identity/functions/inspect_account.sql
