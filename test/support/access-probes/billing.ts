import { DENIED, type Probe } from "./probe.ts";
import { billed, catalogue } from "./recurring.ts";

const NEW_PLAN = "insert into billing.subscription_plans (code, plan_name, price_cents) values ('x', 'x', 1)";
const NEW_PRICE =
  "insert into billing.plan_prices (plan_id, provider, provider_price_id) select id, 'x', 'x' from billing.subscription_plans where code = 'free'";

export const BILLING: Readonly<Record<string, readonly Probe[]>> = {
  "billing.model_prices": catalogue(
    "billing.model_prices",
    "(model_id, currency, input_price_per_million_tokens, output_price_per_million_tokens) values (:shown, 'EUR', 1, 1)",
  ),
  "billing.subscription_plans": [
    ["visitor", "select from billing.subscription_plans", 2],
    ["ada", "select from billing.subscription_plans", 2],
    ["ada", NEW_PLAN, DENIED],
    ["manage_plans", NEW_PLAN, 1],
    ["ada", "update billing.subscription_plans set plan_name = 'x'", 0],
    ["manage_plans", "update billing.subscription_plans set plan_name = 'x'", 2],
  ],
  "billing.plan_prices": [
    ["ada", "select from billing.plan_prices", 0],
    ["manage_plans", "select from billing.plan_prices", 1],
    ["ada", NEW_PRICE, DENIED],
    ["manage_plans", NEW_PRICE, 1],
  ],
  "billing.provider_customers": billed("billing.provider_customers"),
  "billing.user_subscriptions": billed("billing.user_subscriptions"),
  "billing.subscription_changes": billed("billing.subscription_changes"),
  "billing.payments": billed("billing.payments"),
  "billing.usage_tracking": [["ada", "select from billing.usage_tracking", 1]],
  "billing.token_grants": [["ada", "select from billing.token_grants", 2]], // of hers and of the free plan
  "billing.token_holds": [["ada", "select from billing.token_holds", 1]],
  "billing.usage_events": [["ada", "select from billing.usage_events", 1]],
  "billing.daily_usage": [["ada", "select from billing.daily_usage", 1]],
  "billing.usage_limits": [
    ["ada", "select from billing.usage_limits", 2],
    ["manage_users", "select from billing.usage_limits", 4],
    [
      "ada",
      "insert into billing.usage_limits (user_id, period, max_tokens) values (:ada, 'month', 1)",
      DENIED,
    ],
    [
      "manage_users",
      "insert into billing.usage_limits (user_id, period, max_tokens) values (:ada, 'month', 1)",
      1,
    ],
  ],
};
