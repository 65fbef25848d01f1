import { currentPlans } from "../billing/plans.ts";
import { subscriptionCall } from "../billing/subscriptions.ts";
import { isInThisMonth, usageCall } from "../billing/usage.ts";
import { defineStep } from "../mapping.ts";
import { ref } from "../references.ts";

export const subscriptions = defineStep({
  relation: "subscriptions",
  key: ["id"],
  columns: { id: "id", user_id: "id", plan_type: "text", renewal_date: "time?", status: "text" },
  targets: [subscriptionCall],
  prepare: (_rows, { client }) => currentPlans(client),
  map(row, plans) {
    const plan = plans.get(`${row.plan_type?.trim().toLowerCase()} monthly`);
    if (plan === undefined) return { omitted: "the plan does not exist here" };
    const status = row.status?.trim().toLowerCase().replace("cancelled", "canceled");
    return {
      values: [{ user_id: ref("users", row.user_id), plan_id: plan, status, period_end: row.renewal_date }],
    };
  },
});

export const usageTracking = defineStep({
  relation: "usage_tracking",
  key: ["id"],
  columns: { id: "id", user_id: "id", token_count: "integer", last_reset: "time?" },
  targets: [usageCall("headphone usage_tracking")],
  map: (row, _prepared, { key }) =>
    isInThisMonth(row.last_reset)
      ? { values: [{ user_id: ref("users", row.user_id), tokens: row.token_count, key }] }
      : { omitted: "the tokens were counted for a month that has ended: this month starts at 0" },
});
