-- Schema security as the migrations leave it. Generated (plinth schema dump): read it, do not edit it.

create schema security;
comment on schema security is 'Append-only records of sign-ins and security events.';
grant usage on schema security to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Tables ----------------------------------------------------------------------------------------------

-- One row per attempt to sign in; partitioned by month of created_at.
create table security.login_attempts (
  id uuid not null default plinth.uuid_v7(),
  user_id uuid,
  email text,
  ip_address inet,
  user_agent text,
  status text not null,
  failure_reason text,
  correlation_id text,
  created_at timestamp with time zone not null default now(),
  constraint login_attempts_pkey primary key (id, created_at),
  constraint login_attempts_status_check check (status = any (array['success'::text, 'failed'::text, 'locked'::text])),
  constraint login_attempts_success_has_no_failure_reason check (status <> 'success'::text or failure_reason is null),
  constraint login_attempts_user_id_fkey foreign key (user_id) references identity.users(id) on delete set null
) partition by range (created_at);

alter table security.login_attempts enable row level security;

create index login_attempts_ip_address_created_at_idx on security.login_attempts using btree (ip_address, created_at);
create index login_attempts_status_created_at_idx on security.login_attempts using btree (status, created_at);
create index login_attempts_user_id_created_at_idx on security.login_attempts using btree (user_id, created_at);

comment on table security.login_attempts is 'One row per attempt to sign in; partitioned by month of created_at.';
comment on column security.login_attempts.id is 'UUIDv7.';
comment on column security.login_attempts.user_id is 'The account tried; null when there is none or it was deleted.';
comment on column security.login_attempts.email is 'Username or address as it was typed, lower case; for a name of nobody, which may be a password, the head of its SHA-256.';
comment on column security.login_attempts.ip_address is 'Client address.';
comment on column security.login_attempts.user_agent is 'Client''s User-Agent header.';
comment on column security.login_attempts.status is 'success, failed, or locked (refused unread because the account was locked).';
comment on column security.login_attempts.failure_reason is 'unknown_account, wrong_password, account_locked, account_disabled or network_not_allowed; null on success.';
comment on column security.login_attempts.correlation_id is 'Id of the API request, also in its log.';
comment on column security.login_attempts.created_at is 'Time of the attempt; the partition key.';

create policy select_auditor on security.login_attempts
  for select to :PLINTH_USER
  using ((select access.has_permission('view_audit_log'::text)));
comment on policy select_auditor on security.login_attempts is 'The permission view_audit_log reads all attempts.';
create policy select_own on security.login_attempts
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on security.login_attempts is 'Users read the attempts on their own account.';

grant select on security.login_attempts to :PLINTH_USER;

-- One row per security event; partitioned by month of created_at.
create table security.security_audit_log (
  id uuid not null default plinth.uuid_v7(),
  user_id uuid,
  actor_id uuid,
  event_type text not null,
  event_data jsonb not null default '{}'::jsonb,
  severity text not null default 'info'::text,
  source text,
  ip_address inet,
  user_agent text,
  correlation_id text,
  metadata jsonb not null default '{}'::jsonb,
  created_at timestamp with time zone not null default now(),
  constraint security_audit_log_pkey primary key (id, created_at),
  constraint security_audit_log_event_data_is_an_object check (jsonb_typeof(event_data) = 'object'::text),
  constraint security_audit_log_event_type_check check (event_type ~ '^[a-z][a-z0-9_]{0,99}$'::text),
  constraint security_audit_log_metadata_is_an_object check (jsonb_typeof(metadata) = 'object'::text),
  constraint security_audit_log_severity_check check (severity = any (array['debug'::text, 'info'::text, 'warning'::text, 'error'::text, 'critical'::text])),
  constraint security_audit_log_actor_id_fkey foreign key (actor_id) references identity.users(id) on delete set null,
  constraint security_audit_log_user_id_fkey foreign key (user_id) references identity.users(id) on delete set null
) partition by range (created_at);

alter table security.security_audit_log enable row level security;

create index security_audit_log_actor_id_created_at_idx on security.security_audit_log using btree (actor_id, created_at);
create index security_audit_log_correlation_id_idx on security.security_audit_log using btree (correlation_id);
create index security_audit_log_event_type_created_at_idx on security.security_audit_log using btree (event_type, created_at);
create index security_audit_log_severity_created_at_idx on security.security_audit_log using btree (severity, created_at);
create index security_audit_log_user_id_created_at_idx on security.security_audit_log using btree (user_id, created_at);

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

create policy select_auditor on security.security_audit_log
  for select to :PLINTH_USER
  using ((select access.has_permission('view_audit_log'::text)));
comment on policy select_auditor on security.security_audit_log is 'The permission view_audit_log reads all events.';
create policy select_own on security.security_audit_log
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on security.security_audit_log is 'Users read the events of their own account.';

grant select on security.security_audit_log to :PLINTH_USER;

-- Functions -------------------------------------------------------------------------------------------

-- Records an attempt to sign in, counts failures and locks or clears the account; returns the attempt's id.
create or replace function security.track_login_attempt(user_id uuid, email text, ip_address inet, user_agent text, status text, failure_reason text)
  returns uuid
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
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
      -- Once a lock: attempts while it lasts do not come here.
      perform private.notify_user(
        track_login_attempt.user_id, 'account-locked', jsonb_build_object('locked_until', v_locked_until)
      );
    end if;
  end if;
  return v_id;
end
$$;

comment on function security.track_login_attempt(user_id uuid, email text, ip_address inet, user_agent text, status text, failure_reason text) is 'Records an attempt to sign in, counts failures and locks or clears the account; returns the attempt''s id.';
revoke execute on function security.track_login_attempt(user_id uuid, email text, ip_address inet, user_agent text, status text, failure_reason text) from public;
