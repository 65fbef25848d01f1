--! Previous: sha1:0ef3a62dc99d918041005bf62247a6db14d1f78c
--! Hash: sha1:a339f493180aaa4239ce817a4c9963288679598e
--! Message: erasure, deletion and export

-- A deleted account's name, address and program stayed in the logs for good.

-- Finds attempts on a name that was nobody's when it is the name of an account that goes.
create index login_attempts_email_idx on security.login_attempts (email) where user_id is null and email is not null;
-- Finds mail that was queued to an address and not for an account.
create index mail_outbox_to_address_idx on private.mail_outbox (to_address) where user_id is null;

comment on column security.audit_trail.ip_address is 'Client address; null when the account that acted was deleted.';
comment on column security.error_logs.message is 'The error''s message without anything quoted in it; empty when the account was deleted.';
comment on column security.login_attempts.ip_address is 'Client address; null when the account was deleted.';
comment on column security.login_attempts.user_agent is 'Client''s User-Agent header; null when the account was deleted.';
comment on column security.security_audit_log.ip_address is 'Client address of who acted; null when that account was deleted.';
comment on column security.security_audit_log.user_agent is 'Client''s User-Agent header; null when the account was deleted.';

--! Included private/functions/record_data_change.sql
-- Writes the audit trail: who changed what, from what to what. One function for all tables; the trigger's arguments say
--   1  the columns of the primary key
--   2  the column that names the account concerned, or ''
--   3  columns that are noise: their change alone is no change (counters of each sign-in, updated_at, generated columns)
--   4  columns whose values are nobody's to keep: that they changed is recorded, from what to what is not
-- each a list with commas and no blanks.
--
-- An account that is gone, or is just being deleted, is not waited for: whoever deletes it waits for this row already, and the
-- two would wait in a circle. Then user_id stays null and no values are kept; see private.forget_data_changes. Likewise an account
-- that acts on itself as it goes leaves no address.
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
  v_row constant jsonb := case when tg_op = 'DELETE' then to_jsonb(old) else to_jsonb(new) end;
  v_changed text[];
  v_user_id uuid;
  v_actor_id uuid;
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
    end if;
  end if;
  select u.id into v_actor_id from identity.users u where u.id = plinth.current_user_id() for key share skip locked;

  insert into security.audit_trail (
    table_name, operation, row_key, user_id, actor_id, changed_columns, old_values, new_values,
    transaction_number, source, correlation_id, ip_address
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
    case when v_actor_id is not null or plinth.current_user_id() is null then plinth.correlation_id() end,
    case when v_actor_id is not null or plinth.current_user_id() is null then plinth.client_ip() end
  );
  return null;
end
$$;

comment on function private.record_data_change() is
  'Trigger: adds a row to security.audit_trail. Arguments: key columns, account column, noise, columns whose values are not kept.';
--! EndIncluded private/functions/record_data_change.sql
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
  -- The account may be gone (a token of a deleted user), the event still counts. Locked as the foreign key would, so that
  -- it cannot go between the look and the insert. One that is just being deleted counts as gone: who deletes it may wait
  -- for a row that the caller has changed, and the two would wait in a circle.
  with subject as materialized (
    select u.id from identity.users u where u.id = record_security_event.user_id for key share skip locked
  ),
  actor as materialized (
    select u.id from identity.users u where u.id = plinth.current_user_id() for key share skip locked
  ),
  context as (
    select
      (select s.id from subject s) as subject_id,
      (select a.id from actor a) as actor_id,
      -- Where somebody who is gone was, and with which program, is not kept.
      (plinth.current_user_id() is null or exists (select from actor))
        and (record_security_event.user_id is null or exists (select from subject) or exists (select from actor)) as is_kept
  )
  insert into security.security_audit_log
    (user_id, actor_id, event_type, event_data, severity, source, ip_address, user_agent, correlation_id)
  select
    c.subject_id,
    c.actor_id,
    record_security_event.event_type,
    coalesce(record_security_event.event_data, '{}'),
    record_security_event.severity,
    session_user,
    case when c.is_kept then plinth.client_ip() end,
    case when c.is_kept then left(plinth.user_agent(), 1000) end,
    case when c.is_kept then plinth.correlation_id() end
  from context c;
  select private.notify_user(record_security_event.user_id, n.template, jsonb_build_object('event', record_security_event.event_type))
  from private.notification_of(record_security_event.event_type, record_security_event.event_data) n (template)
  where n.template is not null
$$;

comment on function private.record_security_event(text, uuid, jsonb, text) is
  'Adds a row to security.security_audit_log with the request''s context, and tells the owner where private.notification_of says so.';
--! EndIncluded private/functions/record_security_event.sql
--! Included private/functions/record_error.sql
-- The one way into the error log. The API sends errors some time after they happened, in batches, so who and when are
-- arguments. The account is not waited for when it is being deleted.
create or replace function private.record_error(
  error_id uuid,
  user_id uuid,
  message text,
  error_code text,
  stack_fingerprint text,
  context jsonb,
  correlation_id text,
  happened_at timestamptz
)
  returns void
  language sql
  volatile
  security definer
  set search_path = pg_catalog
as $$
  with account as materialized (
    select u.id from identity.users u where u.id = record_error.user_id for key share skip locked
  ),
  known as (
    -- Of an account that is gone only the kind of error is kept; see private.erase_errors.
    select (select a.id from account a) as user_id, record_error.user_id is null or exists (select from account) as is_kept
  )
  insert into security.error_logs
    (id, user_id, message, error_code, stack_fingerprint, context, correlation_id, source, created_at)
  select
    record_error.error_id,
    k.user_id,
    case when k.is_kept then left(record_error.message, 1000) else '' end,
    left(record_error.error_code, 100),
    record_error.stack_fingerprint,
    case when k.is_kept then coalesce(record_error.context, '{}') else '{}' end,
    case when k.is_kept then left(record_error.correlation_id, 200) end,
    session_user,
    -- A server's clock is not believed beyond a day.
    least(now(), greatest(now() - interval '1 day', coalesce(record_error.happened_at, now())))
  from known k
  -- Sent again because the answer was lost.
  on conflict do nothing
$$;

comment on function private.record_error(uuid, uuid, text, text, text, jsonb, text, timestamptz) is
  'Adds a row to security.error_logs. The caller leaves out secrets and parameters.';
grant execute on function private.record_error(uuid, uuid, text, text, text, jsonb, text, timestamptz) to :PLINTH_SERVICE;
--! EndIncluded private/functions/record_error.sql
--! Included private/functions/erase_traces.sql
-- The right to be forgotten, for the logs that outlive an account. That something happened, when and of which kind stays;
-- whose it was, from where and with which program does not. The only path that updates these logs.
--
-- Rows are locked in the order of their time before they change: two accounts that acted on each other may be deleted at the
-- same moment, and would otherwise wait in a circle. The references are cleared with the values, so that the foreign keys find
-- nothing left to do.
create or replace function private.erase_login_attempts(account identity.users)
  returns void
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  -- Spelled as private.finish_login keeps the names of unknown accounts, in privacy mode as the server sends them.
  v_names text[] := array(
    select lower(account.email) where account.email is not null
    union
    select 'hmac:' || left(encode(account.hashed_email, 'hex'), 16) where account.hashed_email is not null
    union
    select 'sha256:' || left(encode(sha256(convert_to(account.username, 'UTF8')), 'hex'), 16)
    union
    select lower(v.new_value)
    from private.user_verifications v
    where v.user_id = account.id
      and v.kind = 'email'
      and v.used_at is not null
      and not exists (select from identity.users u where u.email = lower(v.new_value) and u.id <> account.id)
  );
  v_attempt record;
begin
  perform
  from security.login_attempts a
  where a.user_id = account.id or a.user_id is null and a.email = any (v_names)
  order by a.created_at, a.id
  for update;

  -- What the audit log says of an attempt on a name of nobody: written in the same transaction, so at the same time.
  for v_attempt in
    select a.created_at, a.ip_address
    from security.login_attempts a
    where a.user_id is null and a.email = any (v_names)
    order by a.created_at, a.id
  loop
    update security.security_audit_log l
    set ip_address = null, user_agent = null, correlation_id = null
    where l.event_type = 'login_failed'
      and l.created_at = v_attempt.created_at
      and l.user_id is null
      and l.actor_id is null
      and l.ip_address is not distinct from v_attempt.ip_address;
  end loop;

  update security.login_attempts a
  set user_id = null, email = null, ip_address = null, user_agent = null, correlation_id = null
  where a.user_id = account.id or a.user_id is null and a.email = any (v_names);
end
$$;

comment on function private.erase_login_attempts(identity.users) is
  'Clears name, address and program of an account''s sign-ins, also of attempts on its names while they were nobody''s.';

-- An event about the account loses its data. The address and program of an event are those of who acted: another person's
-- stay, so that deleting an account does not hide what an administrator did to it.
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
  set
    user_id = nullif(l.user_id, account_id),
    actor_id = nullif(l.actor_id, account_id),
    event_data = case when l.user_id = account_id then '{}' else l.event_data end,
    metadata = case when l.user_id = account_id then '{}' else l.metadata end,
    ip_address = case when coalesce(l.actor_id, account_id) <> account_id then l.ip_address end,
    user_agent = case when coalesce(l.actor_id, account_id) <> account_id then l.user_agent end,
    correlation_id = case when coalesce(l.actor_id, account_id) <> account_id then l.correlation_id end
  where l.user_id = account_id or l.actor_id = account_id;
end
$$;

comment on function private.erase_security_events(uuid) is
  'Clears an account''s data, address and program from the audit log; those of other people who acted on it stay.';

-- Before the delete, because afterwards the rows have lost their user_id.
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
  set
    user_id = nullif(t.user_id, old.id),
    actor_id = nullif(t.actor_id, old.id),
    old_values = case when t.user_id = old.id then null else t.old_values end,
    new_values = case when t.user_id = old.id then null else t.new_values end,
    ip_address = case when coalesce(t.actor_id, old.id) <> old.id then t.ip_address end,
    correlation_id = case when coalesce(t.actor_id, old.id) <> old.id then t.correlation_id end
  where t.user_id = old.id or t.actor_id = old.id;
  return old;
end
$$;

comment on function private.forget_data_changes() is
  'Trigger: clears an account''s values and addresses from the audit trail when it is deleted.';

create or replace function private.erase_errors(account_id uuid)
  returns void
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
begin
  perform from security.error_logs e where e.user_id = account_id order by e.created_at, e.id for update;
  update security.error_logs e
  set user_id = null, message = '', context = '{}', correlation_id = null
  where e.user_id = account_id;
end
$$;

comment on function private.erase_errors(uuid) is
  'Clears message and context of an account''s errors; code and fingerprint stay, so that they can still be counted.';
--! EndIncluded private/functions/erase_traces.sql
--! Included private/triggers/erase_traces.sql
-- Whoever deletes an account, and in whatever way: the logs forget it in the same transaction. Before the delete and with the
-- account's row locked, so nothing new can come to be about it in between.
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
  return old;
end
$$;

comment on function private.erase_traces_of_user() is
  'Trigger: clears what sign-in log, audit log and error log hold about an account that is being deleted.';

create or replace trigger _600_erase_traces
  before delete on identity.users
  for each row
  execute function private.erase_traces_of_user();
--! EndIncluded private/triggers/erase_traces.sql
--! Included billing/triggers/forget_usage_account.sql
-- What a foreign key would do when an account goes, without what it would cost: a look at the account for each hold and
-- event, of which every call makes one. They can only be made under the lock of the account's row (private.lock_usage), so
-- there is nothing to look for. Holds go; events stay, of nobody, and their sums with them. A key is the client's own text.
create or replace function billing.forget_usage_account()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
begin
  delete from billing.token_holds h where h.user_id = old.user_id;
  update billing.usage_events e set user_id = null, idempotency_key = null where e.user_id = old.user_id;
  return null;
end
$$;

comment on function billing.forget_usage_account() is 'Trigger: holds go with their account, usage stays without a name.';

create or replace trigger _500_forget_usage_account
  after delete on billing.usage_tracking
  for each row
  execute function billing.forget_usage_account();
--! EndIncluded billing/triggers/forget_usage_account.sql

-- Accounts that were deleted before. Rows of nobody that name no unknown account were theirs, and so are attempts on the same names.
with theirs as materialized (
  select a.id, a.created_at
  from security.login_attempts a
  where a.user_id is null
    and a.failure_reason is distinct from 'unknown_account'
    and a.failure_reason is distinct from 'provider_refused'
), named as (
  select distinct a.email
  from security.login_attempts a
  join theirs t on t.id = a.id and t.created_at = a.created_at
  where a.email is not null
    and not exists (select from identity.users u where a.email in (lower(u.email), u.username))
)
update security.login_attempts a
set email = null, ip_address = null, user_agent = null, correlation_id = null
where a.user_id is null
  and ((a.id, a.created_at) in (select t.id, t.created_at from theirs t) or a.email in (select n.email from named n));

update security.security_audit_log l
set
  event_data = case l.event_type when 'account_deleted' then l.event_data else '{}' end,
  ip_address = null,
  user_agent = null,
  correlation_id = null
where l.user_id is null
  and l.actor_id is null
  and (l.event_type <> 'login_failed' or l.event_data ->> 'reason' is distinct from 'unknown_account')
  and l.event_type <> 'provider_sign_in_failed';

update security.audit_trail t
set ip_address = null, correlation_id = null
where t.user_id is null and t.actor_id is null and t.ip_address is not null;

update billing.usage_events e set idempotency_key = null where e.user_id is null and e.idempotency_key is not null;
