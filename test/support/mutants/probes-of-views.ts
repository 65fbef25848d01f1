import type { Probe } from "../access-probes.ts";

const analyst = (view: string, given?: string): Probe => [
  "visitor as analyst",
  `select from analytics.${view} limit 1`,
  1,
  given,
];

/** Rows that readers of each view see, with grants on all tables: only its own rights and the policies decide. */
export const PROBES_OF_VIEWS: Readonly<Record<string, readonly Probe[]>> = {
  "access.effective_permissions": [
    ["ada", "select from access.effective_permissions where user_id <> :ada", 0],
  ],
  "analytics.account_security": [analyst("account_security")],
  "analytics.consent_counts": [analyst("consent_counts")],
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
  "analytics.model_catalogue": [analyst("model_catalogue")],
  "analytics.permission_holders": [analyst("permission_holders")],
  "analytics.security_events_hourly": [analyst("security_events_hourly")],
  "analytics.sessions_by_state": [analyst("sessions_by_state")],
  "analytics.user_activity_summary": [analyst("user_activity_summary")],
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
  "identity.profiles": [["ada", "select from identity.profiles where username in ('ada', 'bob')", 2]],
  "identity.user_security_status": [["userless", "select from identity.user_security_status", 0]],
  "learning.learning_analytics": [["ada", "select from learning.learning_analytics", 1]],
  "learning.my_content_access": [["visitor", "select from learning.my_content_access", 2]],
  "learning.my_item_progress": [["bob", "select from learning.my_item_progress", 2]],
  "learning.user_content_access": [["bob", "select from learning.user_content_access", 2]],
  "rooms.room_events": [["ada", "select from rooms.room_events", 5]],
  "rooms.unread_counts": [["ada", "select from rooms.unread_counts", 1]],
};
