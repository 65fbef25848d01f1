import type { Call } from "../mapping.ts";

const ITEMS = `jsonb_to_recordset($1) e (n integer, row_id uuid, "values" jsonb)
  cross join lateral jsonb_to_record(e."values") v
    (user_id uuid, plan_id uuid, status text, period_end timestamptz, started_at timestamptz, ended_at timestamptz)`;

/**
 * A subscription: {user_id, plan_id, status (active, canceled or expired), period_end, started_at, ended_at}, the times may be missing.
 * See private.import_subscription.
 */
export const subscriptionCall: Call = {
  sql: `select e.n, private.import_subscription(v.user_id, v.plan_id, v.status, v.period_end, v.started_at, v.ended_at) as row_id
    from ${ITEMS} order by e.n`,
  // The state of a subscription advances by itself; the person and the plan stay.
  check: `select e.n from ${ITEMS}
    left join billing.user_subscriptions s on s.id = e.row_id
    where (s.user_id, s.plan_id) is distinct from (v.user_id, v.plan_id)`,
};
