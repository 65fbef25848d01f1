import { networkOf } from "./network.ts";
import type { ViewSpecification } from "./specification.ts";

/** Accounts, sessions, sign-ins and security events. */
export const ACCOUNTS: Readonly<Record<string, ViewSpecification>> = {
  account_security: {
    grain: ["user_id"],
    nullable: ["password_age_days", "last_login_at"],
    values: { account_status: ["active", "disabled", "deleted"] },
    bruteForce: `
      select u.id as user_id, u.account_status, u.email_verified_at is not null as is_verified,
        u.locked_until is not null and u.locked_until > now() as is_locked, u.failed_login_attempts,
        (select count(*) from identity.user_sessions s where s.user_id = u.id and s.ended_at is null and s.expires_at > now()) as live_sessions,
        floor(extract(epoch from now() - u.password_changed_at) / 86400)::integer as password_age_days, u.last_login_at, u.created_at,
        u.id in (select f.user_id from identity.mfa_factors f where f.confirmed_at is not null) as mfa_enabled
      from identity.users u`,
  },
  consent_counts: {
    grain: ["purpose", "version"],
    bruteForce: `
      select p.name as purpose, p.version, p.required,
        (select count(*) from identity.consents c where (c.purpose, c.version) = (p.name, p.version) and c.granted_at is not null and not exists (
          select from identity.consents o where (o.user_id, o.purpose) = (c.user_id, c.purpose) and o.decided_at > c.decided_at)) as consented_users,
        (select count(*) from identity.consents c where (c.purpose, c.version) = (p.name, p.version) and c.granted_at is null and not exists (
          select from identity.consents o where (o.user_id, o.purpose) = (c.user_id, c.purpose) and o.decided_at > c.decided_at)) as withdrawn_users,
        p.published_at
      from identity.consent_purposes p where p.published_at <= now()`,
  },
  daily_registrations: {
    grain: ["day"],
    bruteForce: `
      select (created_at at time zone 'UTC')::date as day, count(*) as registered_users,
        sum((email_verified_at is not null)::integer) as verified_users, sum((account_status = 'active')::integer) as active_users
      from identity.users group by 1`,
  },
  daily_sign_ins: {
    grain: ["day", "status"],
    values: { status: ["success", "failed", "locked", "challenged"] },
    bruteForce: `
      select (created_at at time zone 'UTC')::date as day, status, count(*) as attempts, count(distinct user_id) as users,
        count(distinct ip_address) as ip_addresses
      from security.login_attempts group by 1, 2`,
  },
  failed_logins_by_network: {
    grain: ["day", "network"],
    bruteForce: `
      select (created_at at time zone 'UTC')::date as day, ${networkOf("ip_address")} as network,
        count(*) as failed_attempts, count(distinct user_id) as users, count(*) - count(user_id) as unknown_account_attempts,
        max(created_at) as last_attempt_at
      from security.login_attempts where status = any ('{failed,locked}') and ip_address is not null group by 1, 2`,
  },
  permission_holders: {
    grain: ["permission_name"],
    nullable: ["next_expiry_at"],
    bruteForce: `
      with held as (
        select p.permission_name, r.id as role_id, r.requires_mfa, ur.user_id, ur.expires_at
        from access.permissions p, access.role_permissions rp, access.roles r, access.user_roles ur, identity.users u
        where rp.permission_id = p.id and r.id = rp.role_id and ur.role_id = r.id and u.id = ur.user_id and u.account_status = 'active'
          and coalesce(ur.expires_at, 'infinity') > now()
      )
      select p.permission_name, (select count(distinct role_id) from held h where h.permission_name = p.permission_name) as roles,
        (select count(distinct user_id) from held h where h.permission_name = p.permission_name) as users,
        (select count(distinct user_id) from held h where h.permission_name = p.permission_name and expires_at is null) as users_without_expiry,
        (select count(distinct user_id) from held h where h.permission_name = p.permission_name and not requires_mfa) as users_without_second_factor,
        (select min(expires_at) from held h where h.permission_name = p.permission_name) as next_expiry_at
      from access.permissions p`,
  },
  security_events_hourly: {
    grain: ["hour", "event_type", "severity"],
    values: { severity: ["debug", "info", "warning", "error", "critical"] },
    bruteForce: `
      select date_trunc('hour', created_at, 'UTC') as hour, event_type, severity, count(*) as events, count(distinct user_id) as users
      from security.security_audit_log group by 1, 2, 3`,
  },
  sessions_by_state: {
    grain: ["state"],
    bruteForce: `
      select s.state, count(*) as sessions, count(distinct s.user_id) as users, max(s.last_activity_at) as last_activity_at
      from (
        select user_id, last_activity_at, end_reason as state from identity.user_sessions where ended_at is not null
        union all select user_id, last_activity_at, 'expired' from identity.user_sessions where ended_at is null and expires_at <= now()
        union all select user_id, last_activity_at, 'open' from identity.user_sessions
          where ended_at is null and expires_at > now() and last_activity_at <= now() - interval '60 minutes'
        union all select user_id, last_activity_at, 'active_last_hour' from identity.user_sessions
          where ended_at is null and expires_at > now() and last_activity_at > now() - interval '60 minutes'
      ) s group by s.state`,
  },
  user_activity_summary: {
    grain: ["user_id"],
    nullable: ["completion_rate", "last_login_at", "last_activity_at"],
    bruteForce: `
      select u.id as user_id,
        (select count(*) from learning.content_consumption c where c.user_id = u.id) as sessions,
        (select coalesce(sum(60), 0) from learning.content_consumption c where c.user_id = u.id)
          - coalesce((select sum(40) from learning.content_consumption c where c.user_id = u.id and not isempty(c.active)), 0)
          + (select count(*) from generate_series(800000000, 800000200) second
             where exists (select from learning.content_consumption c where c.user_id = u.id and c.active @> second)) as active_seconds,
        (select count(distinct (c.started_at at time zone 'UTC')::date) from learning.content_consumption c where c.user_id = u.id) as active_days,
        x.started as items_started, x.completed as items_completed,
        case when x.started > 0 then round(x.completed::numeric / x.started, 4) end as completion_rate,
        (select count(*) from learning.content_ratings r where r.user_id = u.id) as ratings,
        l.success as sign_ins, l.rejected as failed_sign_ins, l.days as sign_in_days, u.last_login_at,
        (select max(p.last_activity_at) from learning.content_progress p join learning.content_items i on i.id = p.item_id
         where p.user_id = u.id and i.content_type <> 'course') as last_activity_at,
        u.created_at
      from identity.users u
      cross join lateral (
        select count(*) as started, count(p.completed_at) as completed
        from learning.content_progress p, learning.content_items i where p.user_id = u.id and i.id = p.item_id and i.content_type <> 'course'
      ) x
      cross join lateral (
        select count(*) filter (where status = 'success') as success, count(*) filter (where status in ('failed', 'locked')) as rejected,
          count(distinct date_trunc('day', created_at, 'UTC')) filter (where status = 'success') as days
        from security.login_attempts a where a.user_id = u.id and a.created_at > now() - interval '30 days'
      ) l`,
  },
};
