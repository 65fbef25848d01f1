--! Previous: sha1:9c8d2a7f269dae03a8ff1ed2aa64cc15245cac0e
--! Hash: sha1:c51722c8974b5a6f131a778af87116d52661d97f
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
-- Writes the audit trail: the person, the change, the old and new values. One function for all tables; the trigger's arguments are
--   1  the columns of the primary key
--   2  the column that names the account concerned, or ''
--   3  noise columns: a change of these alone is no change (counters of each sign-in, updated_at, generated columns)
--   4  confidential columns: a change is recorded, but not the old and new values
-- each a list with commas and no blanks.
--
-- A deleted account, or one being deleted, is not waited for: its deletion already waits for this row, and both would deadlock.
-- Then user_id stays null and no values are kept; see private.forget_data_changes. Likewise an account that acts on itself during
-- its deletion leaves no address.
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
  'Trigger: adds a row to security.audit_trail. Arguments: key columns, account column, noise columns, columns whose values are not kept.';
--! EndIncluded private/functions/record_data_change.sql
--! Included private/functions/record_security_event.sql
-- The only way into the audit log. Context (address, agent, correlation id, actor) comes from the request's settings.
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
  -- The account may be gone (a token of a deleted user), but the event still counts. Locked as the foreign key would, so that it
  -- cannot be deleted between the check and the insert. An account being deleted counts as gone: its deletion may wait for a row
  -- that the caller has changed, and both would deadlock.
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
      -- Address and program of a deleted account are not kept.
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
  'Adds a row to security.security_audit_log with the request''s context, and notifies the owner if private.notification_of lists the event.';
--! EndIncluded private/functions/record_security_event.sql
--! Included private/functions/record_error.sql
-- The only way into the error log. The API sends errors in batches some time after they happened, so user and time are arguments.
-- An account that is being deleted is not waited for.
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
    -- For a deleted account only the kind of error is kept; see private.erase_errors.
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
    -- A server's clock is trusted for a day at most.
    least(now(), greatest(now() - interval '1 day', coalesce(record_error.happened_at, now())))
  from known k
  -- Sent again because the response was lost.
  on conflict do nothing
$$;

comment on function private.record_error(uuid, uuid, text, text, text, jsonb, text, timestamptz) is
  'Adds a row to security.error_logs. The caller removes secrets and parameters.';
grant execute on function private.record_error(uuid, uuid, text, text, text, jsonb, text, timestamptz) to :PLINTH_SERVICE;
--! EndIncluded private/functions/record_error.sql
--! Included private/functions/erase_traces.sql
-- The right to be forgotten, for the logs that outlive an account. The event, its time and its kind stay; the person, address and
-- program are cleared. The only code that updates these logs.
--
-- Rows are locked in time order before they change: two accounts that acted on each other may be deleted at the same moment and
-- would otherwise deadlock. The references are cleared with the values, so that the foreign keys have nothing left to do.
create or replace function private.erase_login_attempts(account identity.users)
  returns void
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  -- In the spelling in which private.finish_login and security.track_login_attempt store names of unknown accounts; in privacy
  -- mode as the server sends them.
  v_names text[] := array(
    select account.email where account.email is not null
    union
    select account.username
    union
    select 'hmac:' || left(encode(account.hashed_email, 'hex'), 16) where account.hashed_email is not null
    union
    select 'sha256:' || left(encode(sha256(convert_to(account.username, 'UTF8')), 'hex'), 16)
    union
    select v.new_value
    from private.user_verifications v
    where v.user_id = account.id
      and v.kind = 'email'
      and v.used_at is not null
      and not exists (select from identity.users u where u.email = v.new_value and u.id <> account.id)
  );
  v_attempt record;
begin
  perform
  from security.login_attempts a
  where a.user_id = account.id or a.user_id is null and a.email = any (v_names)
  order by a.created_at, a.id
  for update;

  -- The audit log entry of an attempt on an unknown name: written in the same transaction, so with the same time.
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
  'Clears name, address and program of an account''s sign-ins, and of attempts on its names before they belonged to an account.';

-- Events about the account lose their data. The address and program of an event belong to the acting person. Those of another
-- person stay, so that deleting an account does not hide what an administrator did to it.
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

-- Before the delete, because afterwards the rows have no user_id.
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
  return old;
end
$$;

comment on function private.erase_traces_of_user() is
  'Trigger: clears the data about a deleted account from sign-in log, audit log and error log.';

create or replace trigger _600_erase_traces
  before delete on identity.users
  for each row
  execute function private.erase_traces_of_user();
--! EndIncluded private/triggers/erase_traces.sql
--! Included billing/triggers/forget_usage_account.sql
-- Does the work of a foreign key when an account is deleted, without its cost: a lookup of the account for each hold and event,
-- and every call creates one. Holds and events are created only under the lock of the account's row (private.lock_usage), so
-- there is nothing to look up. Holds are deleted; events and their sums stay, without the user. A key is the client's own text.
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

comment on function billing.forget_usage_account() is 'Trigger: deletes the holds of a deleted account and keeps its usage without the user.';

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
  event_data = l.event_data - 'from_address' - 'to_address',
  ip_address = null,
  user_agent = null,
  correlation_id = null
where l.user_id is null
  and l.actor_id is null
  -- Of nobody from the start: an unknown name, a token that is none.
  and coalesce(l.event_data ->> 'reason', '') not in ('unknown_account', 'token_not_valid', 'unknown_used_or_expired_flow')
  and l.event_type not in ('provider_sign_in_failed', 'suspicious_activity');

update security.audit_trail t
set ip_address = null, correlation_id = null
where t.user_id is null and t.actor_id is null and t.ip_address is not null;

update billing.usage_events e set idempotency_key = null where e.user_id is null and e.idempotency_key is not null;

-- Deleting one's own account, and taking one's data along -----------------------------------------------

create table identity.data_rights_settings (
  id boolean primary key default true,
  deletion_grace_period interval not null default '14 days',
  export_lifetime interval not null default '7 days',
  updated_at timestamptz not null default now(),
  constraint data_rights_settings_are_one_row check (id),
  constraint data_rights_settings_deletion_grace_period_check check (deletion_grace_period between '0' and '90 days'),
  constraint data_rights_settings_export_lifetime_check check (export_lifetime between '1 hour' and '90 days')
);

alter table identity.data_rights_settings enable row level security;

comment on table identity.data_rights_settings is 'One row: how long a deletion can be canceled and an export downloaded.';
comment on column identity.data_rights_settings.id is 'Always true: there is one row.';
comment on column identity.data_rights_settings.deletion_grace_period is 'Time between the request for deletion and the deletion, in which the owner can cancel it.';
comment on column identity.data_rights_settings.export_lifetime is 'Time that a finished export can be downloaded.';
comment on column identity.data_rights_settings.updated_at is 'Time of the last change.';

insert into identity.data_rights_settings default values;

create table identity.account_deletions (
  user_id uuid primary key references identity.users on delete cascade,
  requested_at timestamptz not null default now(),
  due_at timestamptz not null,
  attempts integer not null default 0,
  next_attempt_at timestamptz not null,
  last_failure text,
  constraint account_deletions_due_after_request check (due_at >= requested_at),
  constraint account_deletions_attempts_are_not_negative check (attempts >= 0)
);

alter table identity.account_deletions enable row level security;

-- The job asks for what is due.
create index account_deletions_next_attempt_at_idx on identity.account_deletions (next_attempt_at);

comment on table identity.account_deletions is 'One row per account whose owner asked for its deletion; removed by canceling, and with the account.';
comment on column identity.account_deletions.user_id is 'The account.';
comment on column identity.account_deletions.requested_at is 'Time of the request.';
comment on column identity.account_deletions.due_at is 'Time from which the account is deleted; the deletion can be canceled until then.';
comment on column identity.account_deletions.attempts is 'Number of attempts that failed.';
comment on column identity.account_deletions.next_attempt_at is 'Time of the next attempt.';
comment on column identity.account_deletions.last_failure is 'SQLSTATE of the last failed attempt; null if none failed.';
comment on constraint account_deletions_user_id_fkey on identity.account_deletions is E'@foreignFieldName deletion';

create table identity.data_exports (
  id uuid primary key default plinth.uuid_v7(),
  user_id uuid not null references identity.users on delete cascade,
  status text not null default 'pending',
  requested_at timestamptz not null default now(),
  completed_at timestamptz,
  expires_at timestamptz,
  size_bytes bigint not null default 0,
  tables text[] not null default '{}',
  last_table text,
  attempts integer not null default 0,
  next_attempt_at timestamptz not null default now(),
  constraint data_exports_id_user_id_key unique (id, user_id),
  constraint data_exports_status_check check (status in ('pending', 'ready', 'failed', 'expired')),
  constraint data_exports_ready_with_times check ((status in ('ready', 'expired')) = (completed_at is not null and expires_at is not null)),
  constraint data_exports_size_bytes_is_not_negative check (size_bytes >= 0),
  constraint data_exports_attempts_are_not_negative check (attempts >= 0)
);

alter table identity.data_exports enable row level security;

create unique index data_exports_one_pending_idx on identity.data_exports (user_id) where status = 'pending';
create index data_exports_user_id_requested_at_idx on identity.data_exports (user_id, requested_at);
-- The jobs ask for what is to be written, and for what has expired.
create index data_exports_next_attempt_at_idx on identity.data_exports (next_attempt_at) where status = 'pending';
create index data_exports_expires_at_idx on identity.data_exports (expires_at) where status = 'ready';

comment on table identity.data_exports is 'One row per export of a user''s own data.';
comment on column identity.data_exports.id is 'UUIDv7; the last part of the download''s path, /exports/<id>.';
comment on column identity.data_exports.user_id is 'The user whose data it holds, and the only one who may read it.';
comment on column identity.data_exports.status is 'pending (being written), ready (can be downloaded), failed or expired (deleted).';
comment on column identity.data_exports.requested_at is 'Time of the request.';
comment on column identity.data_exports.completed_at is 'Time when the export became ready.';
comment on column identity.data_exports.expires_at is 'Time from which the export can no longer be downloaded.';
comment on column identity.data_exports.size_bytes is 'Size written so far, in bytes of UTF-8.';
comment on column identity.data_exports.tables is 'Tables in the export, by schema and name.';
comment on column identity.data_exports.last_table is 'Last table that was written or found empty; a job that was killed continues after it.';
comment on column identity.data_exports.attempts is 'Number of attempts that failed.';
comment on column identity.data_exports.next_attempt_at is 'Time of the next attempt.';
comment on constraint data_exports_user_id_fkey on identity.data_exports is E'@foreignFieldName dataExports';

create table private.data_export_parts (
  export_id uuid not null,
  user_id uuid not null,
  part_number integer not null,
  content text not null,
  primary key (export_id, user_id, part_number),
  constraint data_export_parts_export_id_user_id_fkey
    foreign key (export_id, user_id) references identity.data_exports (id, user_id) on delete cascade,
  constraint data_export_parts_part_number_is_not_negative check (part_number >= 0)
);

alter table private.data_export_parts enable row level security;

comment on table private.data_export_parts is 'One row per piece of an export''s JSON document; the pieces in order are the document.';
comment on column private.data_export_parts.export_id is 'The export.';
comment on column private.data_export_parts.user_id is 'The user whose data it holds.';
comment on column private.data_export_parts.part_number is 'Position in the document, from 0.';
comment on column private.data_export_parts.content is 'A piece of the JSON text.';

insert into security.rate_limit_rules (rule_name, algorithm, limit_value, window_length, description)
values ('data_export_per_user', 'fixed_window', 5, '1 day', 'Exports of their own data that a user may request.');

alter table identity.user_sessions drop constraint user_sessions_end_reason_check;
alter table identity.user_sessions add constraint user_sessions_end_reason_check check (
  end_reason in (
    'logout', 'logout_everywhere', 'ended_by_user', 'ended_by_administrator', 'password_changed', 'token_reuse',
    'account_disabled', 'account_deletion', 'expired'
  )
);

--! Included identity/policies/data_rights_settings.sql
-- Clients show how long a deletion can be canceled. No insert and no delete: the table has one row.
revoke all on identity.data_rights_settings from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select, update (deletion_grace_period, export_lifetime) on identity.data_rights_settings to :PLINTH_USER;

drop policy if exists select_all on identity.data_rights_settings;
create policy select_all on identity.data_rights_settings
  for select to :PLINTH_USER
  using (true);
comment on policy select_all on identity.data_rights_settings is 'Every signed-in user reads the periods.';

drop policy if exists update_manager on identity.data_rights_settings;
create policy update_manager on identity.data_rights_settings
  for update to :PLINTH_USER
  using ((select access.has_permission('manage_security')))
  with check ((select access.has_permission('manage_security')));
comment on policy update_manager on identity.data_rights_settings is 'Users with manage_security set the periods.';
--! EndIncluded identity/policies/data_rights_settings.sql
--! Included identity/policies/account_deletions.sql
-- Written by functions only: no insert, update or delete. Administrators delete accounts separately (delete_user).
revoke all on identity.account_deletions from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on identity.account_deletions to :PLINTH_USER;

drop policy if exists select_own on identity.account_deletions;
create policy select_own on identity.account_deletions
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on identity.account_deletions is 'Users read the pending deletion of their own account.';
--! EndIncluded identity/policies/account_deletions.sql
--! Included identity/policies/data_exports.sql
-- Written by functions only: no insert, update or delete. No user reads another user's exports, administrators included.
revoke all on identity.data_exports from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on identity.data_exports to :PLINTH_USER;

drop policy if exists select_own on identity.data_exports;
create policy select_own on identity.data_exports
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on identity.data_exports is 'Users read the state of their own exports.';
--! EndIncluded identity/policies/data_exports.sql
--! Included identity/triggers/data_rights_settings.sql
create or replace trigger _700_record_data_change
  after insert or update or delete on identity.data_rights_settings
  for each row
  execute function private.record_data_change('id', '', 'updated_at', '');

-- See plinth.touch_updated_at.
create or replace trigger _900_touch_updated_at
  before update on identity.data_rights_settings
  for each row
  execute function plinth.touch_updated_at();
--! EndIncluded identity/triggers/data_rights_settings.sql
--! Included private/functions/guard_last_administrator.sql
-- Without an administrator no account could grant roles, not even that of an administrator. The lock on the role's row lets one
-- of two administrators who leave at the same moment succeed. An administrator whose account is being deleted does not count.
create or replace function private.guard_last_administrator(user_id uuid)
  returns void
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_role_id uuid;
begin
  select r.id into v_role_id from access.roles r where r.role_name = 'admin';
  if not exists (
    select
    from access.user_roles ur
    where ur.role_id = v_role_id
      and ur.user_id = guard_last_administrator.user_id
      and (ur.expires_at is null or ur.expires_at > now())
  ) then
    return;
  end if;
  perform from access.roles r where r.id = v_role_id for no key update;
  if not exists (
    select
    from access.user_roles ur
    join identity.users u on u.id = ur.user_id and u.is_active
    where ur.role_id = v_role_id
      and ur.user_id <> guard_last_administrator.user_id
      and (ur.expires_at is null or ur.expires_at > now())
      and not exists (select from identity.account_deletions d where d.user_id = ur.user_id)
  ) then
    raise exception 'You are the last administrator.'
      using errcode = 'PL409', hint = 'Give another account the role admin first.';
  end if;
end
$$;

comment on function private.guard_last_administrator(uuid) is
  'Raises PL409 if the account is the only active one with the role admin that is not being deleted.';
--! EndIncluded private/functions/guard_last_administrator.sql
--! Included private/triggers/last_administrator.sql
-- Also applies to administrators who delete their own account with the permission delete_user. The owner of the database, who can
-- create another administrator, is not stopped.
create or replace function private.keep_last_administrator()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
begin
  perform private.guard_last_administrator(old.id);
  return old;
end
$$;

comment on function private.keep_last_administrator() is 'Trigger: prevents the last administrator from deleting their own account.';

create or replace trigger _100_keep_last_administrator
  before delete on identity.users
  for each row
  when (old.id = plinth.current_user_id())
  execute function private.keep_last_administrator();
--! EndIncluded private/triggers/last_administrator.sql
--! Included identity/functions/delete_my_account.sql
-- Requests the deletion of the caller's own account. The account stays complete until the grace period is over, and its owner
-- can sign in and cancel. Other sessions and API tokens, which could act for the account elsewhere, end at once. The session
-- that makes the request stays, so that a mistake can be corrected at once.
create or replace function identity.delete_my_account()
  returns identity.account_deletions
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_user_id constant uuid := plinth.current_user_id();
  v_deletion identity.account_deletions;
  v_ended integer;
begin
  perform private.refuse_api_token();
  perform private.require_recent_authentication();
  -- Account before the rest: the one lock order.
  perform from identity.users u where u.id = v_user_id for no key update;
  select d.* into v_deletion from identity.account_deletions d where d.user_id = v_user_id;
  if v_deletion.user_id is not null then
    return v_deletion;
  end if;
  perform private.guard_last_administrator(v_user_id);

  insert into identity.account_deletions (user_id, due_at, next_attempt_at)
  select v_user_id, now() + s.deletion_grace_period, now() + s.deletion_grace_period
  from identity.data_rights_settings s
  returning * into strict v_deletion;
  v_ended := private.end_sessions(v_user_id, 'account_deletion', plinth.current_session_id());
  update identity.api_tokens t set revoked_at = now() where t.user_id = v_user_id and t.revoked_at is null;
  perform private.record_security_event(
    'account_deletion_requested', v_user_id,
    jsonb_build_object('due_at', v_deletion.due_at, 'ended_sessions', v_ended), 'warning'
  );
  perform private.notify_user(
    v_user_id, 'account-deletion-requested', jsonb_build_object('due_at', v_deletion.due_at)
  );
  return v_deletion;
end
$$;

comment on function identity.delete_my_account() is
  'Requests the deletion of the signed-in account after the grace period; ends its other sessions and API tokens at once. A repeated call returns the pending deletion. Needs a recent sign-in (PL403 otherwise); PL409 for the last administrator.';
grant execute on function identity.delete_my_account() to :PLINTH_USER;
--! EndIncluded identity/functions/delete_my_account.sql
--! Included identity/functions/cancel_account_deletion.sql
-- No step-up: it only keeps existing data. Locks the account before the deletion, as the job does.
create or replace function identity.cancel_account_deletion()
  returns identity.account_deletions
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_user_id constant uuid := plinth.current_user_id();
  v_deletion identity.account_deletions;
begin
  perform private.refuse_api_token();
  if v_user_id is null then
    raise exception 'You must be signed in.' using errcode = 'PL401';
  end if;
  perform from identity.users u where u.id = v_user_id for no key update;
  delete from identity.account_deletions d where d.user_id = v_user_id returning d.* into v_deletion;
  if v_deletion.user_id is null then
    raise exception 'No deletion of your account is pending.' using errcode = 'PL404';
  end if;
  perform private.record_security_event('account_deletion_canceled', v_user_id, '{}', 'warning');
  perform private.notify_user(v_user_id, 'account-deletion-canceled');
  return v_deletion;
end
$$;

comment on function identity.cancel_account_deletion() is
  'Cancels the pending deletion of the signed-in account and returns the canceled deletion; PL404 if none is pending.';
grant execute on function identity.cancel_account_deletion() to :PLINTH_USER;
--! EndIncluded identity/functions/cancel_account_deletion.sql
--! Included private/functions/delete_due_account.sql
-- One account in each transaction: a killed worker has deleted it completely or not at all, and the next worker finds it due. An
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

  v_variables := private.mail_variables(v_user.id) - 'ip_address' - 'user_agent';
  begin
    perform private.guard_last_administrator(v_user.id);
    delete from identity.users u where u.id = v_user.id;
  exception
    -- A conflict between two transactions: the whole deletion is retried.
    when deadlock_detected or serialization_failure or query_canceled then
      raise;
    when others then
      update identity.account_deletions d
      set
        attempts = d.attempts + 1,
        next_attempt_at = now() + least(interval '1 day', interval '5 minutes' * power(2, least(d.attempts, 10))),
        last_failure = sqlstate
      where d.user_id = v_user.id;
      return 'postponed';
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
  'Deletes one account whose deletion is due; returns deleted, postponed, canceled, or null when none is due.';
grant execute on function private.delete_due_account() to :PLINTH_WORKER;
--! EndIncluded private/functions/delete_due_account.sql
--! Included private/triggers/mail_outbox.sql
-- The last mail of a deleted account is the only row that still names it, so it is deleted as soon as it was sent or has failed.
create or replace function private.forget_last_mail()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
begin
  delete from private.mail_outbox m where m.id = new.id;
  return null;
end
$$;

comment on function private.forget_last_mail() is 'Trigger: deletes the mail about a deleted account once it was sent or has failed.';

create or replace trigger _500_forget_last_mail
  after update of status on private.mail_outbox
  for each row
  when (new.template = 'account-deleted' and new.user_id is null and new.status <> 'pending')
  execute function private.forget_last_mail();
--! EndIncluded private/triggers/mail_outbox.sql
--! Included private/functions/data_export_sources.sql
-- The contents of an export, found in the catalogue, so that it includes new tables automatically. A row belongs to a user
--   1. by the column user_id, or
--   2. by the references to the account that delete the row with it, or
--   3. by those that the row outlives, such as a message's sender.
-- The first rule that a table meets decides: banned_by does not export a ban of another user, but a user's own list of blocked
-- users is exported. A table without such a column belongs to the rows that it is deleted with.
create or replace function private.data_export_sources()
  returns table (table_oid oid, table_name text, condition text)
  language sql
  stable
  set search_path = pg_catalog
as $$
  with tables as (
    select c.oid, n.nspname as schema_name, c.relname
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p')
      and not c.relispartition
      and n.nspname in (
        'plinth', 'identity', 'access', 'billing', 'llm', 'rooms', 'learning', 'security', 'analytics', 'private'
      )
      -- The exports themselves.
      and c.oid <> 'private.data_export_parts'::regclass
  ), candidates as (
    select
      t.oid,
      a.attname,
      case when a.attname = 'user_id' then 1 when bool_or(k.confdeltype = 'c') then 2 else 3 end as rank
    from tables t
    join pg_attribute a on a.attrelid = t.oid and a.attnum > 0 and not a.attisdropped and a.atttypid = 'uuid'::regtype
    left join pg_constraint k
      on k.conrelid = t.oid and k.contype = 'f' and k.confrelid = 'identity.users'::regclass and k.conkey = array[a.attnum]
    where a.attname = 'user_id' or k.oid is not null
    group by t.oid, a.attname
  ), owners as (
    select c.oid, string_agg(format('t.%I = $1', c.attname), ' or ' order by c.attname) as condition
    from candidates c
    where c.rank = (select min(o.rank) from candidates o where o.oid = c.oid)
    group by c.oid
    union all
    select 'identity.users'::regclass, 't.id = $1'
  ), parts as (
    select
      t.oid,
      string_agg(
        format(
          '(%s) in (select %s from %s t where %s)',
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
          k.confrelid::regclass,
          o.condition
        ),
        ' or ' order by k.conname
      ) as condition
    from tables t
    join pg_constraint k on k.conrelid = t.oid and k.contype = 'f' and k.confdeltype = 'c' and k.conparentid = 0
    join owners o on o.oid = k.confrelid
    where not exists (select from owners x where x.oid = t.oid)
    group by t.oid
  )
  select t.oid, (t.schema_name || '.' || t.relname) collate "C", s.condition
  from tables t
  join (select * from owners union all select * from parts) s on s.oid = t.oid
$$;

comment on function private.data_export_sources() is
  'Returns the tables of an export and the condition by which a row is the user''s ($1), found in the catalogue.';

-- Exports contain no credentials: no hashes, sealed texts, keys or bytes. What a user may see of them, such as the first letters
-- of an API token, has a column of its own.
create or replace function private.is_secret_column(table_oid oid, column_name text, type_oid oid)
  returns boolean
  language sql
  stable
  set search_path = pg_catalog
as $$
  select type_oid = 'bytea'::regtype
    -- The time or number of a credential, such as password_changed_at, is harmless.
    or type_oid not in ('timestamptz'::regtype, 'boolean'::regtype, 'integer'::regtype, 'bigint'::regtype)
      and column_name ~ '(^|_)(hash|hashes|hashed|password|passwd|secret|secrets|sealed|salt|cipher|ciphertext|wrapped|otp|lease|(access|refresh|id|api|session|reset)_token)(_|$)'
    -- Encrypted under the user's own key; the server adds the clear text to the download.
    or table_oid = 'llm.conversation_memories'::regclass and column_name = 'memory'
    -- Product data: an address or a configuration may contain a key.
    or table_oid = 'llm.model_providers'::regclass and column_name = 'api_url'
    or table_oid = 'llm.models'::regclass and column_name = 'config'
$$;

comment on function private.is_secret_column(oid, text, oid) is 'Returns whether a column is left out of exports.';

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
        select from pg_attribute x where x.attrelid = a.attrelid and x.attname = 'actor_id' and not x.attisdropped
      ) and a.attname in ('ip_address', 'user_agent', 'correlation_id') as is_actors
    from pg_attribute a
    left join pg_constraint k
      on k.conrelid = a.attrelid and k.contype = 'f' and k.confrelid = 'identity.users'::regclass and k.conkey = array[a.attnum]
    where a.attrelid = table_oid
      and a.attnum > 0
      and not a.attisdropped
      and not private.is_secret_column(table_oid, a.attname, a.atttypid)
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

-- Queued mail contains its sealed token.
create or replace function private.without_secrets(document jsonb)
  returns jsonb
  language sql
  immutable
  set search_path = pg_catalog
as $$
  select case jsonb_typeof(document)
    when 'object' then (
      select coalesce(jsonb_object_agg(e.key, e.value), '{}')
      from jsonb_each(document) e
      where e.key !~ '(sealed|secret|password|token|hash|code)'
    )
    else document
  end
$$;

comment on function private.without_secrets(jsonb) is 'Returns a JSON object without the members whose names suggest secrets.';
--! EndIncluded private/functions/data_export_sources.sql
--! Included identity/functions/request_data_export.sql
-- A file with all data of a person is worth stealing, so this needs a recent sign-in and notifies the owner.
create or replace function identity.request_data_export()
  returns identity.data_exports
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_user_id constant uuid := plinth.current_user_id();
  v_export identity.data_exports;
begin
  perform private.refuse_api_token();
  perform private.require_recent_authentication();
  -- This lock merges two concurrent requests into one export.
  perform from identity.users u where u.id = v_user_id for no key update;
  select e.* into v_export from identity.data_exports e where e.user_id = v_user_id and e.status = 'pending';
  if v_export.id is not null then
    return v_export;
  end if;
  perform private.enforce_rate_limit('data_export_per_user', v_user_id::text);
  insert into identity.data_exports (user_id) values (v_user_id) returning * into v_export;
  perform private.record_security_event(
    'data_export_requested', v_user_id, jsonb_build_object('export_id', v_export.id), 'warning'
  );
  perform private.notify_user(v_user_id, 'data-export-requested');
  return v_export;
end
$$;

comment on function identity.request_data_export() is
  'Requests an export of the signed-in user''s own data; a job writes it, and status reports when it is ready. Returns the pending export if there is one. Needs a recent sign-in (PL403 otherwise); PL429 after five requests a day.';
grant execute on function identity.request_data_export() to :PLINTH_USER;
--! EndIncluded identity/functions/request_data_export.sql
--! Included private/functions/write_data_export.sql
-- Writes the next tables of a pending export, about a megabyte in each transaction, so that a killed worker repeats little and a
-- deletion of the account waits for one large table at most. Rows are collected into parts of about 64 kB, for tables of any
-- size. The row of the export is the lock between workers.
create or replace function private.write_data_export()
  returns text
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_piece_bytes constant integer := 65536;
  v_step_bytes constant integer := 1048576;
  v_export identity.data_exports;
  v_source record;
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
      return 'failed_' || lower(sqlstate);
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
  'Writes the next tables of a pending export; returns continued, finished, failed_<sqlstate>, or null when none is pending.';
grant execute on function private.write_data_export() to :PLINTH_WORKER;
--! EndIncluded private/functions/write_data_export.sql
--! Included private/functions/read_data_export.sql
-- The request's own claims decide the owner of an export, never an argument. An export of another user, a pending one and an
-- expired one all count as missing.
create or replace function private.find_data_export(export_id uuid)
  returns table (size_bytes bigint, part_count integer)
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
begin
  perform private.refuse_api_token();
  return query
    select
      e.size_bytes,
      (
        select count(*)::integer
        from private.data_export_parts p
        where p.export_id = e.id and p.user_id = e.user_id
      )
    from identity.data_exports e
    where e.id = find_data_export.export_id
      and e.user_id = plinth.current_user_id()
      and e.status = 'ready'
      and e.expires_at > now();
  if not found then
    return;
  end if;
  perform private.record_security_event(
    'data_export_downloaded', plinth.current_user_id(), jsonb_build_object('export_id', find_data_export.export_id), 'warning'
  );
end
$$;

comment on function private.find_data_export(uuid) is
  'Returns size and number of parts of a downloadable export of the signed-in user, and records the download; no row otherwise. PL403 with an API token.';
grant execute on function private.find_data_export(uuid) to :PLINTH_SERVICE;

create or replace function private.read_data_export_part(export_id uuid, part_number integer)
  returns text
  language sql
  stable
  security definer
  set search_path = pg_catalog
as $$
  select p.content
  from private.data_export_parts p
  join identity.data_exports e on e.id = p.export_id and e.user_id = p.user_id
  where p.export_id = read_data_export_part.export_id
    and p.user_id = plinth.current_user_id()
    and p.part_number = read_data_export_part.part_number
    and plinth.current_api_token_id() is null
    and e.status = 'ready'
$$;

comment on function private.read_data_export_part(uuid, integer) is
  'Returns one part of an export of the signed-in user; null if it does not exist.';
grant execute on function private.read_data_export_part(uuid, integer) to :PLINTH_SERVICE;
--! EndIncluded private/functions/read_data_export.sql
--! Included private/functions/delete_expired_exports.sql
-- Deletes the parts; the record of the export stays as long as the account.
create or replace function private.delete_expired_exports(batch_size integer default 100)
  returns integer
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_exports uuid[];
begin
  if batch_size is null or batch_size not between 1 and 100000 then
    raise exception 'batch_size must be from 1 to 100000.' using errcode = 'PL422';
  end if;
  v_exports := array(
    select e.id
    from identity.data_exports e
    where e.status = 'ready' and e.expires_at <= now()
    order by e.expires_at
    limit batch_size
    for update skip locked
  );
  delete from private.data_export_parts p where p.export_id = any (v_exports);
  update identity.data_exports e set status = 'expired' where e.id = any (v_exports);
  return cardinality(v_exports);
end
$$;

comment on function private.delete_expired_exports(integer) is
  'Deletes the contents of up to batch_size expired exports; returns their number.';
grant execute on function private.delete_expired_exports(integer) to :PLINTH_WORKER;
--! EndIncluded private/functions/delete_expired_exports.sql
