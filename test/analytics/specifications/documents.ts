import { networkOf } from "./network.ts";
import type { ViewSpecification } from "./specification.ts";

const ACCOUNT_STATUSES = ["active", "disabled", "deleted"];
const CONTENT_TYPES = ["course", "lesson", "article", "video", "exercise", "quiz", "project"];
const CURRENT = ["trialing", "active", "past_due"];
const CYCLES = ["monthly", "yearly", "lifetime"];
const SEVERITIES = ["debug", "info", "warning", "error", "critical"];
const SHOWN_REASONS = [
  "unknown_account",
  "wrong_password",
  "account_locked",
  "account_disabled",
  "network_not_allowed",
  "challenge_expired",
  "wrong_code",
  "code_reused",
  "second_factor_locked",
  "wrong_passkey",
  "passkey_cloned",
];
const END_REASONS = [
  "logout",
  "logout_everywhere",
  "ended_by_user",
  "ended_by_administrator",
  "password_changed",
  "token_reuse",
  "account_disabled",
  "account_deletion",
  "expired",
];
/** Reasons to read an item or not, in order: the first that holds is the answer. */
const REASONS = ["account_inactive", "editor", "author", "not_available", "denied", "preview"].concat(
  "plan_required",
  "prerequisites_missing",
  "permission",
  "plan",
);
const WITHOUT_ACCESS = [
  "account_inactive",
  "not_available",
  "denied",
  "plan_required",
  "prerequisites_missing",
];

const list = (values: readonly string[]) => `'${values.join("', '")}'`;
const stillValid = (row: string) => `coalesce(${row}.expires_at, 'infinity') > now()`;

/** The views with the names of the documents: accounts, sessions and events. */
const ACCOUNTS: Readonly<Record<string, ViewSpecification>> = {
  users: {
    grain: ["id"],
    nullable: ["locked_until", "last_login_at", "password_changed_at", "email_verified_at"],
    values: { account_status: ACCOUNT_STATUSES },
    bruteForce: `
      select u.id, concat('user-', u.id) as username, format('user-%s@hidden.invalid', u.id) as email, u.account_status,
        u.account_status = 'active' as is_active, u.email_verified_at is not null as is_verified,
        coalesce(held.names[1], 'guest') as role, coalesce(min(p.code), 'free') as tier,
        u.failed_login_attempts, u.locked_until, u.last_login_at, u.password_changed_at, u.email_verified_at, u.created_at, u.updated_at
      from identity.users u
      cross join lateral (
        select array_agg(r.role_name order by r.rank desc, r.role_name) as names
        from access.user_roles ur, access.roles r where ur.user_id = u.id and r.id = ur.role_id and ${stillValid("ur")}
      ) held
      left join billing.user_subscriptions s on s.user_id = u.id and s.ended_at is null and s.paused_at is null
      left join billing.subscription_plans p on p.id = s.plan_id
      group by u.id, held.names`,
  },
  user_security_settings: {
    grain: ["user_id"],
    nullable: ["session_timeout_minutes"],
    bruteForce: `
      select user_id, session_timeout_minutes, coalesce(cardinality(allowed_networks), 0) > 0 as has_allowed_networks, created_at, updated_at
      from identity.user_security_settings`,
  },
  user_security_status: {
    grain: ["user_id"],
    nullable: ["locked_until", "last_login_at", "password_changed_at", "password_age_days"],
    values: { account_status: ACCOUNT_STATUSES },
    bruteForce: `
      select u.id as user_id, u.account_status, u.email_verified_at is not null as is_verified,
        u.locked_until is not null and u.locked_until > now() as is_locked, u.locked_until, u.failed_login_attempts, u.last_login_at,
        u.password_changed_at, floor(extract(epoch from now() - u.password_changed_at) / 86400)::integer as password_age_days,
        (select count(*) from identity.user_sessions s where s.user_id = u.id and s.end_reason is null and s.expires_at > now()) as live_sessions,
        u.id in (select f.user_id from identity.mfa_factors f where f.confirmed_at is not null) as mfa_enabled, u.created_at
      from identity.users u`,
  },
  user_sessions: {
    grain: ["id"],
    nullable: ["ip_address", "ended_at", "end_reason"],
    values: { end_reason: END_REASONS },
    bruteForce: `
      select id, user_id, ended_at is null as is_active, ${networkOf("ip_address")} as ip_address, authentication_methods, created_at,
        expires_at, last_activity_at, ended_at, end_reason
      from identity.user_sessions`,
  },
  sessions: {
    grain: ["id"],
    nullable: ["client_ip"],
    bruteForce: `
      select id, user_id, end_reason is null as is_active, created_at, expires_at, last_activity_at, ${networkOf("ip_address")} as client_ip
      from identity.user_sessions`,
  },
  login_attempts: {
    grain: ["id"],
    nullable: ["user_id", "ip_address", "failure_reason"],
    values: {
      status: ["success", "failed", "locked", "challenged"],
      failure_reason: [...SHOWN_REASONS, "other"],
    },
    bruteForce: `
      select l.id, l.user_id, ${networkOf("l.ip_address")} as ip_address, l.status,
        case when l.failure_reason is not null then coalesce(shown.reason, 'other') end as failure_reason, l.created_at
      from security.login_attempts l left join unnest(array[${list(SHOWN_REASONS)}]) shown (reason) on shown.reason = l.failure_reason`,
  },
  security_audit_log: {
    grain: ["id"],
    nullable: ["user_id", "actor_id", "ip_address"],
    values: { severity: SEVERITIES },
    bruteForce: `
      select id, user_id, actor_id, event_type, severity, ${networkOf("ip_address")} as ip_address, created_at
      from security.security_audit_log`,
  },
  audit_logs: {
    grain: ["id"],
    nullable: ["user_id", "event_data", "client_ip"],
    values: { severity: SEVERITIES },
    bruteForce: `
      select id, user_id, event_type, null::jsonb as event_data, ${networkOf("ip_address")} as client_ip, created_at, severity
      from security.security_audit_log`,
  },
};

/** Plans and who has them. */
const SUBSCRIPTIONS: Readonly<Record<string, ViewSpecification>> = {
  user_subscriptions: {
    grain: ["id"],
    nullable: ["current_period_end", "trial_end", "pending_plan_id", "renewal_date"].concat(
      "past_due_since",
      "paused_at",
      "ended_at",
    ),
    values: { status: [...CURRENT, "paused", "canceled", "expired"] },
    bruteForce: `
      select id, user_id, plan_id, status, started_at, current_period_start, current_period_end, trial_end, cancel_at_period_end,
        pending_plan_id, case when status in ('trialing', 'active') and not cancel_at_period_end then (current_period_end at time zone 'UTC')::date end
          as renewal_date,
        past_due_since, paused_at, ended_at, created_at, updated_at
      from billing.user_subscriptions`,
  },
  subscription_plans: {
    grain: ["id"],
    nullable: ["token_quota", "superseded_at"],
    values: { billing_cycle: CYCLES },
    bruteForce: "select * from billing.subscription_plans",
  },
  active_user_subscriptions: {
    grain: ["subscription_id"],
    nullable: ["token_quota", "current_period_end", "trial_end", "renewal_date"],
    values: { status: CURRENT, billing_cycle: CYCLES },
    bruteForce: `
      select s.id as subscription_id, s.user_id, s.plan_id, p.code as plan_code, p.plan_name, p.version as plan_version, s.status,
        p.billing_cycle, p.price_cents, p.currency, p.token_quota, p.features, p.access_level, s.started_at, s.current_period_start,
        s.current_period_end, s.trial_end, s.cancel_at_period_end, s.renewal_date
      from billing.user_subscriptions s, billing.subscription_plans p
      where p.id = s.plan_id and s.ended_at is null and s.paused_at is null`,
  },
};

/** Items, who may read them, and skills. */
const LEARNING: Readonly<Record<string, ViewSpecification>> = {
  content_items: {
    grain: ["id"],
    nullable: ["course_id", "duration_seconds", "author_id", "current_version", "available_from"].concat(
      "available_until",
      "deleted_at",
      "rating_average",
    ),
    values: { content_type: CONTENT_TYPES },
    bruteForce: `
      select i.id, i.category_id, i.course_id, i.position, i.content_type, i.level, i.duration_seconds, i.language, i.author_id,
        coalesce(i.required_access_level, c.required_access_level, 0) as effective_access_level, i.is_preview, i.current_version,
        case when i.current_version is not null and (c.id is null or c.current_version is not null) and num_nonnulls(i.deleted_at, c.deleted_at) = 0
          then greatest(i.publish_from, c.publish_from) end as available_from,
        least(i.publish_until, c.publish_until) as available_until, i.deleted_at,
        (select count(*)::integer from learning.content_ratings r where r.item_id = i.id) as rating_count,
        (select round(avg(r.rating), 2) from learning.content_ratings r where r.item_id = i.id) as rating_average, i.created_at, i.updated_at
      from learning.content_items i left join learning.content_items c on c.id = i.course_id`,
  },
  user_content_access: {
    grain: ["user_id", "content_id"],
    values: { reason: REASONS },
    bruteForce: `
      with available as (
        select * from learning.content_items where now() >= available_from and now() < coalesce(available_until, 'infinity')
      ),
      completed as (
        select user_id, item_id from learning.content_progress where completed_at is not null
        union all
        select p.user_id, a.course_id from available a join learning.content_progress p on p.item_id = a.id and p.completed_at is not null
        group by p.user_id, a.course_id
        having count(*) = (select count(*) from available part where part.course_id = a.course_id)
      ),
      editors as (
        select ur.user_id from access.permissions p
        join access.role_permissions rp on rp.permission_id = p.id join access.user_roles ur on ur.role_id = rp.role_id
        where p.permission_name = 'edit_content' and ${stillValid("ur")}
      ),
      permitted as (
        select distinct on (p.user_id, i.id) p.user_id, i.id as item_id, p.permission, p.waives_prerequisites
        from learning.content_items i join learning.user_content_permissions p on p.item_id in (i.id, i.course_id) and ${stillValid("p")}
        order by p.user_id, i.id, p.item_id = i.id desc
      ),
      facts as (
        select u.id as user_id, i.id as content_id, i.effective_access_level as required_access_level, array[
          u.account_status <> 'active',
          u.id in (select user_id from editors),
          i.author_id = u.id,
          i.id not in (select id from available),
          p.permission = 'deny',
          i.is_preview,
          p.permission is null and i.effective_access_level > coalesce((
            select s.access_level from billing.user_subscriptions b, billing.subscription_plans s
            where b.user_id = u.id and s.id = b.plan_id and b.ended_at is null and b.paused_at is null), 0),
          not coalesce(p.waives_prerequisites, false) and exists (
            select from learning.content_prerequisites r join available a on a.id = r.required_item_id
            where (r.item_id = i.id or r.item_id = i.course_id) and (u.id, a.id) not in (select user_id, item_id from completed where item_id is not null)),
          p.permission = 'allow',
          true
        ] as holds
        from identity.users u cross join learning.content_items i left join permitted p on (p.user_id, p.item_id) = (u.id, i.id)
      )
      select f.user_id, f.content_id, r.reason not in (${list(WITHOUT_ACCESS)}) as has_access, r.reason, f.required_access_level
      from facts f cross join lateral (select (array[${list(REASONS)}])[array_position(f.holds, true)] as reason) r`,
  },
  skills: { grain: ["id"], bruteForce: "select * from learning.skills" },
  user_skills: {
    grain: ["user_id", "skill_id"],
    bruteForce: `
      select s.user_id, s.skill_id, coalesce(sum(e.delta), 0) as level, s.created_at, s.updated_at
      from learning.user_skills s left join learning.skill_evidence e on (e.user_id, e.skill_id) = (s.user_id, s.skill_id)
      group by s.user_id, s.skill_id`,
  },
  training: {
    grain: ["user_id", "skill_id"],
    nullable: ["started_at", "completed_at"],
    values: { status: ["pending", "active", "completed"] },
    bruteForce: "select * from learning.training",
  },
};

/** Rooms, and their messages without texts. */
const ROOMS: Readonly<Record<string, ViewSpecification>> = {
  chat_rooms: {
    grain: ["id"],
    nullable: ["creator_id"],
    values: { room_type: ["direct", "group", "private"] },
    bruteForce: `
      select id, creator_id, concat('room-', id) as name, room_type, is_public, has_password, ai_enabled, last_activity_at, created_at, updated_at
      from rooms.chat_rooms`,
  },
  room_messages: {
    grain: ["id"],
    nullable: ["sender_id", "content", "reply_to_id", "edited_at", "deleted_at"],
    values: { sender_type: ["user", "ai", "system"], message_type: ["text", "invite", "system"] },
    bruteForce: `
      select id, room_id, sender_id, null as content, sender_type, message_type, reply_to_id, is_private, deleted_at is not null as is_deleted,
        created_at, edited_at, deleted_at
      from rooms.room_messages`,
  },
  room_invites: {
    grain: ["id"],
    nullable: ["responded_at"],
    values: { status: ["pending", "accepted", "declined"] },
    bruteForce:
      "select id, room_id, inviter_id, invitee_id, status, created_at, responded_at from rooms.room_invites",
  },
};

export const DOCUMENTS: Readonly<Record<string, ViewSpecification>> = {
  ...ACCOUNTS,
  ...SUBSCRIPTIONS,
  ...LEARNING,
  ...ROOMS,
};
