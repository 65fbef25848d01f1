--! Previous: sha1:fa2bc3a4716fdc8429726810805c1ced4bce3cc3
--! Hash: sha1:5764399279199bdfc48fe03f7e2e2bb1fec6c8e9
--! Message: security

-- What happened: sign-in attempts and security events. Append-only for every role but the owner, partitioned by month so
-- that old months leave by detaching a table.

-- Every attempt to sign in, successful or not. The address is what was typed and may belong to nobody.
create table security.login_attempts (
  id uuid not null default plinth.uuid_v7(),
  user_id uuid references identity.users on delete set null,
  email text,
  ip_address inet,
  user_agent text,
  status text not null,
  failure_reason text,
  correlation_id text,
  created_at timestamptz not null default now(),
  primary key (id, created_at),
  constraint login_attempts_status_check check (status in ('success', 'failed', 'locked')),
  constraint login_attempts_success_has_no_failure_reason check (status <> 'success' or failure_reason is null)
) partition by range (created_at);

alter table security.login_attempts enable row level security;

-- One account's attempts by time; also serves the foreign key.
create index login_attempts_user_id_created_at_idx on security.login_attempts (user_id, created_at);
-- Many accounts tried from one address.
create index login_attempts_ip_address_created_at_idx on security.login_attempts (ip_address, created_at);
-- "How many failed in the last hour".
create index login_attempts_status_created_at_idx on security.login_attempts (status, created_at);

comment on table security.login_attempts is 'One row per attempt to sign in; partitioned by month of created_at.';
comment on column security.login_attempts.id is 'UUIDv7.';
comment on column security.login_attempts.user_id is 'The account tried; null when there is none or it was deleted.';
comment on column security.login_attempts.email is 'Username or address as it was typed, lower case; for a name of nobody, which may be a password, the head of its SHA-256.';
comment on column security.login_attempts.ip_address is 'Client address.';
comment on column security.login_attempts.user_agent is 'Client''s User-Agent header.';
comment on column security.login_attempts.status is 'success, failed, or locked (refused unread because the account was locked).';
comment on column security.login_attempts.failure_reason is
  'unknown_account, wrong_password, account_locked, account_disabled or network_not_allowed; null on success.';
comment on column security.login_attempts.correlation_id is 'Id of the API request, also in its log.';
comment on column security.login_attempts.created_at is 'Time of the attempt; the partition key.';

-- Every security event: who did what to whom, from where.
create table security.security_audit_log (
  id uuid not null default plinth.uuid_v7(),
  user_id uuid references identity.users on delete set null,
  actor_id uuid references identity.users on delete set null,
  event_type text not null,
  event_data jsonb not null default '{}',
  severity text not null default 'info',
  source text,
  ip_address inet,
  user_agent text,
  correlation_id text,
  metadata jsonb not null default '{}',
  created_at timestamptz not null default now(),
  primary key (id, created_at),
  constraint security_audit_log_event_type_check check (event_type ~ '^[a-z][a-z0-9_]{0,99}$'),
  constraint security_audit_log_severity_check check (severity in ('debug', 'info', 'warning', 'error', 'critical')),
  constraint security_audit_log_event_data_is_an_object check (jsonb_typeof(event_data) = 'object'),
  constraint security_audit_log_metadata_is_an_object check (jsonb_typeof(metadata) = 'object')
) partition by range (created_at);

alter table security.security_audit_log enable row level security;

-- One account's events by time; also serves the foreign key.
create index security_audit_log_user_id_created_at_idx on security.security_audit_log (user_id, created_at);
-- Serves the foreign key: few events have an actor other than the account itself, but each delete asks.
create index security_audit_log_actor_id_created_at_idx on security.security_audit_log (actor_id, created_at);
create index security_audit_log_event_type_created_at_idx on security.security_audit_log (event_type, created_at);
create index security_audit_log_severity_created_at_idx on security.security_audit_log (severity, created_at);
-- From a line in the API's log to its events.
create index security_audit_log_correlation_id_idx on security.security_audit_log (correlation_id);

comment on table security.security_audit_log is 'One row per security event; partitioned by month of created_at.';
comment on column security.security_audit_log.id is 'UUIDv7.';
comment on column security.security_audit_log.user_id is 'The account concerned; null when there is none or it was deleted.';
comment on column security.security_audit_log.actor_id is 'The account that acted; null for visitors, jobs and psql.';
comment on column security.security_audit_log.event_type is 'What happened, such as login_succeeded or role_granted.';
comment on column security.security_audit_log.event_data is 'Details of the event without secrets (JSON object).';
comment on column security.security_audit_log.severity is 'debug, info, warning, error or critical.';
comment on column security.security_audit_log.source is 'Database role on whose behalf it happened.';
comment on column security.security_audit_log.ip_address is 'Client address.';
comment on column security.security_audit_log.user_agent is 'Client''s User-Agent header.';
comment on column security.security_audit_log.correlation_id is 'Id of the API request, also in its log.';
comment on column security.security_audit_log.metadata is 'What the application adds (JSON object).';
comment on column security.security_audit_log.created_at is 'Time of the event; the partition key.';

--! Included private/functions/lock_for_new_partition.sql
-- Locks what making a partition touches, before anything is moved: the table against writers (a row must not slip into the
-- default partition meanwhile), the tables its foreign keys name, and the default partition. Sign-ins write here all the
-- time, so the maker waits briefly, lets go of everything and tries again: it is the job that yields, not the user.
create or replace function private.lock_for_new_partition(partitioned_table regclass)
  returns void
  language plpgsql
  volatile
  set search_path = pg_catalog
  set lock_timeout = '200ms'
as $$
declare
  v_tables text := (
    select string_agg(format('only %s', t.name), ', ' order by t.position, t.name)
    from (
      select 1 as position, partitioned_table::text as name
      union
      select 2, k.confrelid::regclass::text
      from pg_constraint k
      where k.conrelid = partitioned_table and k.contype = 'f'
    ) t
  );
  v_default regclass := (
    select i.inhrelid
    from pg_inherits i
    join pg_class c on c.oid = i.inhrelid
    where i.inhparent = partitioned_table
      and pg_get_expr(c.relpartbound, c.oid) = 'DEFAULT'
  );
  v_tries integer := 0;
begin
  loop
    begin
      execute format('lock table %s in share row exclusive mode', v_tables);
      if v_default is not null then
        execute format('lock table only %s in access exclusive mode', v_default);
      end if;
      return;
    exception
      when lock_not_available or deadlock_detected then
        v_tries := v_tries + 1;
        if v_tries >= 50 then
          raise;
        end if;
        perform pg_sleep(0.05 + random() / 10);
    end;
  end loop;
end
$$;

comment on function private.lock_for_new_partition(regclass) is
  'Locks a partitioned table, the tables it refers to and its default partition; tries for some seconds, then 55P03.';
--! EndIncluded private/functions/lock_for_new_partition.sql
--! Included private/functions/ensure_partitions.sql
-- Monthly partitions of every table partitioned by range of created_at, found in the catalogue so that a new log needs no
-- change here. Each table also has a default partition: should the worker be away for months, rows land there and nothing
-- is refused; making the month later moves them.
create or replace function private.ensure_partitions(months_ahead integer default 3)
  returns table (partition_name text)
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
  -- Bounds are midnights UTC whatever the session's zone, or two callers would make overlapping months.
  set timezone = 'UTC'
as $$
declare
  v_table record;
  v_month timestamptz;
  v_next timestamptz;
  v_name text;
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

    for v_month in
      select generate_series(
        date_trunc('month', now()), date_trunc('month', now()) + make_interval(months => months_ahead), interval '1 month'
      )
    loop
      v_next := v_month + interval '1 month';
      v_name := v_table.relname || to_char(v_month, '_YYYY_MM');
      continue when to_regclass(format('%I.%I', v_table.nspname, v_name)) is not null;
      perform private.lock_for_new_partition(v_table.oid);
      -- Another maker may have been first.
      continue when to_regclass(format('%I.%I', v_table.nspname, v_name)) is not null;
      execute format(
        'create table %1$I.%2$I (like %1$I.%3$I including defaults including constraints)',
        v_table.nspname, v_name, v_table.relname
      );
      -- Reached through the parent, the parent's policies decide; reached directly there are none, so no rows.
      execute format('alter table %I.%I enable row level security', v_table.nspname, v_name);
      execute format(
        'comment on table %I.%I is %L', v_table.nspname, v_name,
        format('Rows of %s made in %s.', v_table.relname, to_char(v_month, 'YYYY-MM'))
      );
      execute format(
        'with moved as (delete from %1$I.%2$I where created_at >= $1 and created_at < $2 returning *)
         insert into %1$I.%3$I select * from moved',
        v_table.nspname, v_default, v_name
      ) using v_month, v_next;
      execute format(
        'alter table %1$I.%2$I attach partition %1$I.%3$I for values from (%4$L) to (%5$L)',
        v_table.nspname, v_table.relname, v_name, v_month, v_next
      );
      partition_name := format('%I.%I', v_table.nspname, v_name);
      return next;
    end loop;
  end loop;
end
$$;

comment on function private.ensure_partitions(integer) is
  'Makes the missing monthly partitions of all logs, from this month to months_ahead later; returns the names made.';
grant execute on function private.ensure_partitions(integer) to :PLINTH_WORKER;
--! EndIncluded private/functions/ensure_partitions.sql
--! Included private/functions/record_security_event.sql
-- The one way into the audit log. Context (address, agent, correlation id, actor) comes from the request's settings.
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
  insert into security.security_audit_log
    (user_id, actor_id, event_type, event_data, severity, source, ip_address, user_agent, correlation_id)
  values (
    -- The account may be gone (a token of a deleted user), the event still counts. Locked as the foreign key would, so that
    -- it cannot go between the look and the insert.
    (select u.id from identity.users u where u.id = record_security_event.user_id for key share),
    (select u.id from identity.users u where u.id = plinth.current_user_id() for key share),
    record_security_event.event_type,
    coalesce(record_security_event.event_data, '{}'),
    record_security_event.severity,
    session_user,
    plinth.client_ip(),
    left(plinth.user_agent(), 1000),
    plinth.correlation_id()
  )
$$;

comment on function private.record_security_event(text, uuid, jsonb, text) is
  'Adds a row to security.security_audit_log with the request''s context.';
--! EndIncluded private/functions/record_security_event.sql
--! Included private/functions/lockout_duration.sql
-- Five wrong passwords are a bad day. From the fifth on each locks the account twice as long as the last, from one minute
-- up to one hour, so that guessing is slow and the owner is never shut out for good (OWASP ASVS 5, 6.3.1).
create or replace function private.lockout_duration(failed_attempts integer)
  returns interval
  language sql
  immutable
  parallel safe
as $$
  select case
    when failed_attempts < 5 then interval '0'
    else least(interval '1 hour', interval '1 minute' * power(2, least(failed_attempts - 5, 10)))
  end
$$;

comment on function private.lockout_duration(integer) is
  'How long an account stays locked after this many wrong passwords in a row: 0, then 1 minute doubling up to 1 hour.';
--! EndIncluded private/functions/lockout_duration.sql
--! Included security/functions/track_login_attempt.sql
-- Records an attempt to sign in and keeps the account's counters: a failure counts and may lock, a success clears. An
-- attempt refused because the account is locked does not lengthen the lock, or anybody could lock anybody for good.
create or replace function security.track_login_attempt(
  user_id uuid,
  email text,
  ip_address inet,
  user_agent text,
  status text,
  failure_reason text
)
  returns uuid
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_id uuid;
  v_locked_until timestamptz;
begin
  insert into security.login_attempts (user_id, email, ip_address, user_agent, status, failure_reason, correlation_id)
  values (
    track_login_attempt.user_id,
    left(lower(track_login_attempt.email), 320),
    track_login_attempt.ip_address,
    left(track_login_attempt.user_agent, 1000),
    track_login_attempt.status,
    track_login_attempt.failure_reason,
    plinth.correlation_id()
  )
  returning id into v_id;

  if track_login_attempt.status = 'success' then
    update identity.users u
    set failed_login_attempts = 0, locked_until = null, last_login_at = now()
    where u.id = track_login_attempt.user_id;
  elsif track_login_attempt.status = 'failed'
    and coalesce(track_login_attempt.failure_reason, '') not in ('account_disabled', 'network_not_allowed')
  then
    update identity.users u
    set
      failed_login_attempts = u.failed_login_attempts + 1,
      locked_until = nullif(now() + private.lockout_duration(u.failed_login_attempts + 1), now())
    where u.id = track_login_attempt.user_id
    returning u.locked_until into v_locked_until;
    if v_locked_until is not null then
      perform private.record_security_event(
        'account_locked', track_login_attempt.user_id, jsonb_build_object('locked_until', v_locked_until), 'warning'
      );
    end if;
  end if;
  return v_id;
end
$$;

comment on function security.track_login_attempt(uuid, text, inet, text, text, text) is
  'Records an attempt to sign in, counts failures and locks or clears the account; returns the attempt''s id.';
--! EndIncluded security/functions/track_login_attempt.sql
--! Included security/policies/login_attempts.sql
-- Users see the attempts on their own account, auditors see all; nobody writes but track_login_attempt.
revoke all on security.login_attempts from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on security.login_attempts to :PLINTH_USER;

drop policy if exists select_own on security.login_attempts;
create policy select_own on security.login_attempts
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on security.login_attempts is 'Users read the attempts on their own account.';

drop policy if exists select_auditor on security.login_attempts;
create policy select_auditor on security.login_attempts
  for select to :PLINTH_USER
  using ((select access.has_permission('view_audit_log')));
comment on policy select_auditor on security.login_attempts is 'The permission view_audit_log reads all attempts.';
--! EndIncluded security/policies/login_attempts.sql
--! Included security/policies/security_audit_log.sql
-- Users see the events of their own account, auditors see all; nobody writes but private.record_security_event.
revoke all on security.security_audit_log from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on security.security_audit_log to :PLINTH_USER;

drop policy if exists select_own on security.security_audit_log;
create policy select_own on security.security_audit_log
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on security.security_audit_log is 'Users read the events of their own account.';

drop policy if exists select_auditor on security.security_audit_log;
create policy select_auditor on security.security_audit_log
  for select to :PLINTH_USER
  using ((select access.has_permission('view_audit_log')));
comment on policy select_auditor on security.security_audit_log is 'The permission view_audit_log reads all events.';
--! EndIncluded security/policies/security_audit_log.sql

-- This month and three ahead; the worker goes on from here every day.
select from private.ensure_partitions(3);
