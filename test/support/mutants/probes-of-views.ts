import type { Probe } from "../access-probes/probe.ts";

const analyst = (view: string, given?: string): Probe => [
  "visitor as analyst",
  `select from analytics.${view} limit 1`,
  1,
  given,
];

/** Sums the newest day, which is today. */
const ROLLED_UP = "select private.find_days_to_roll_up(), private.roll_up_day()";

/** Rows that readers of each view see, with grants on all tables: only its own rights and the policies decide. */
export const PROBES_OF_VIEWS: Readonly<Record<string, readonly Probe[]>> = {
  "access.effective_permissions": [
    ["ada", "select from access.effective_permissions where user_id <> :ada", 0],
  ],
  "analytics.account_security": [analyst("account_security")],
  "analytics.active_user_subscriptions": [analyst("active_user_subscriptions")],
  "analytics.audit_logs": [analyst("audit_logs")],
  "analytics.chat_rooms": [analyst("chat_rooms")],
  "analytics.consent_counts": [analyst("consent_counts")],
  "analytics.content_items": [analyst("content_items")],
  "analytics.daily_model_usage": [analyst("daily_model_usage", "update llm.messages set model_id = :shown")],
  "analytics.daily_registrations": [analyst("daily_registrations")],
  "analytics.daily_sign_ins": [analyst("daily_sign_ins")],
  "analytics.daily_token_usage": [analyst("daily_token_usage")],
  "analytics.daily_usage_cost": [analyst("daily_usage_cost")],
  "analytics.failed_logins_by_network": [
    analyst(
      "failed_logins_by_network",
      "insert into security.login_attempts (user_id, status, ip_address) values (:ada, 'failed', '192.0.2.1')",
    ),
  ],
  "analytics.login_attempts": [analyst("login_attempts")],
  "analytics.model_catalogue": [analyst("model_catalogue")],
  "analytics.permission_holders": [analyst("permission_holders")],
  "analytics.room_invites": [analyst("room_invites")],
  "analytics.room_messages": [analyst("room_messages")],
  "analytics.security_audit_log": [analyst("security_audit_log")],
  "analytics.security_events_hourly": [analyst("security_events_hourly")],
  "analytics.sessions": [analyst("sessions")],
  "analytics.sessions_by_state": [analyst("sessions_by_state")],
  "analytics.skills": [analyst("skills")],
  "analytics.subscription_plans": [analyst("subscription_plans")],
  "analytics.training": [analyst("training")],
  "analytics.user_activity_summary": [analyst("user_activity_summary")],
  "analytics.user_content_access": [analyst("user_content_access")],
  "analytics.user_security_settings": [analyst("user_security_settings")],
  "analytics.user_security_status": [analyst("user_security_status")],
  "analytics.user_sessions": [analyst("user_sessions")],
  "analytics.user_skills": [analyst("user_skills")],
  "analytics.user_subscriptions": [analyst("user_subscriptions")],
  "analytics.users": [analyst("users")],
  "analytics.account_activity": [analyst("account_activity", ROLLED_UP)],
  "analytics.daily_active_accounts": [analyst("daily_active_accounts", ROLLED_UP)],
  "analytics.daily_revenue": [
    analyst("daily_revenue", `update billing.payments set paid_at = now(); ${ROLLED_UP}`),
  ],
  "analytics.daily_usage_by_plan": [analyst("daily_usage_by_plan", ROLLED_UP)],
  "analytics.feature_use_by_plan": [analyst("feature_use_by_plan", ROLLED_UP)],
  "analytics.item_completion": [analyst("item_completion")],
  "analytics.retention_cohorts": [analyst("retention_cohorts", ROLLED_UP)],
  "analytics.revenue_and_cost": [analyst("revenue_and_cost", ROLLED_UP)],
  "analytics.roll_ups": [analyst("roll_ups")],
  "analytics.room_activity": [analyst("room_activity")],
  "analytics.sign_up_funnel": [analyst("sign_up_funnel", ROLLED_UP)],
  "billing.active_user_subscriptions": [["ada", "select from billing.active_user_subscriptions", 1]],
  "billing.current_model_prices": [["visitor", "select from billing.current_model_prices", 1]],
  "billing.monthly_usage": [["ada", "select from billing.monthly_usage", 1]],
  "billing.token_hold_allocations": [
    [
      "ada",
      "select from billing.token_hold_allocations",
      1,
      "delete from billing.usage_limits; select private.reserve_tokens(u, :shown, 10, 'open') from unnest(array[:ada, :bob]::uuid[]) u",
    ],
  ],
  "identity.my_external_ids": [["ada", "select from identity.my_external_ids", 1]],
  "security.my_personal_data_reads": [["ada", "select from security.my_personal_data_reads", 1]],
  "identity.profiles": [["ada", "select from identity.profiles where username in ('ada', 'bob')", 2]],
  "identity.user_security_status": [["userless", "select from identity.user_security_status", 0]],
  "security.personal_data": [
    ["ada", "select from security.personal_data", 0],
    [
      "view_audit_log",
      "select from security.personal_data where table_name = 'archives' and column_name = 'log'",
      1,
    ],
  ],
  "learning.learning_analytics": [["ada", "select from learning.learning_analytics", 1]],
  "learning.my_content_access": [["visitor", "select from learning.my_content_access", 2]],
  "learning.my_item_progress": [["bob", "select from learning.my_item_progress", 2]],
  "learning.user_content_access": [["bob", "select from learning.user_content_access", 2]],
  "rooms.room_events": [["ada", "select from rooms.room_events", 5]],
  "rooms.unread_counts": [["ada", "select from rooms.unread_counts", 1]],
};
