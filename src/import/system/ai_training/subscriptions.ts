import { uuidOfKey } from "../ids.ts";
import { type AnyStep, defineStep } from "../mapping.ts";
import { ref } from "../references.ts";
import { currencyOf, minorUnits, NO_AMOUNT, readDecimals } from "./money.ts";
import { SYSTEM } from "./system.ts";
import { codeFrom } from "./words.ts";

export const plans: AnyStep = defineStep({
  relation: "subscription_plans",
  key: ["id"],
  keepsId: true,
  columns: {
    id: "uuid",
    name: "text",
    code: "text",
    billing_cycle: "text",
    price: "text",
    currency: "text?",
    trial_days: "integer?",
    access_level: "integer?",
    features: "json?",
    is_active: "boolean?",
    created_at: "time",
    updated_at: "time?",
  },
  // The database numbers the versions of an offer: a plan whose code, cycle and currency exist here becomes its newest version.
  targets: [{ table: "billing.subscription_plans", write: "insert" }],
  async prepare(rows, context) {
    const decimals = await readDecimals(
      rows.map(({ row }) => currencyOf(row.currency)),
      context,
    );
    // The old system had no tokens: its plans have those that an account without a plan has.
    const { rows: free } = await context.client.query<{ token_quota: string | null }>(
      "select p.token_quota from billing.subscription_plans p where p.code = 'free' and p.superseded_at is null",
    );
    return { decimals, tokenQuota: free[0] === undefined ? "0" : free[0].token_quota };
  },
  map(row, { decimals, tokenQuota }) {
    const currency = currencyOf(row.currency);
    const price = minorUnits(row.price, decimals.get(currency)!);
    const code = codeFrom(row.code ?? "", 50);
    if (price === undefined) return { omitted: NO_AMOUNT };
    if (code === undefined) return { omitted: "the code of a plan needs a letter" };
    return {
      values: [
        {
          code,
          plan_name: row.name,
          billing_cycle: row.billing_cycle,
          price_cents: price,
          currency,
          trial_days: row.trial_days ?? 0,
          token_quota: tokenQuota,
          access_level: row.access_level ?? 0,
          features: row.features ?? {},
          is_active: row.is_active ?? true,
          created_at: row.created_at,
          updated_at: row.updated_at ?? row.created_at,
        },
      ],
      losses:
        code === row.code
          ? []
          : [{ column: "code", reason: "was changed to lower-case letters, digits and _" }],
    };
  },
});

/** States of the old system and the usual spellings, as states here. */
const STATES: Readonly<Record<string, string>> = {
  trial: "trialing",
  trialing: "trialing",
  active: "active",
  past_due: "past_due",
  paused: "paused",
  cancelled: "canceled",
  canceled: "canceled",
  expired: "expired",
};

/** A change of a subscription needs an id of its own: it is not a row of the source. */
const changeId = (subscription: string | null, change: string): string =>
  uuidOfKey(SYSTEM, `user_subscriptions ${change}`, String(subscription));

/** The calendar's next month; of the 31st, its last day. */
function aMonthAfter(time: string | null): string | null {
  if (time === null) return null;
  const date = new Date(time);
  const day = date.getUTCDate();
  date.setUTCMonth(date.getUTCMonth() + 1);
  if (date.getUTCDate() < day) date.setUTCDate(0);
  return date.toISOString();
}

export const subscriptions: AnyStep = defineStep({
  relation: "user_subscriptions",
  key: ["id"],
  keepsId: true,
  columns: {
    id: "uuid",
    user_id: "id",
    plan_id: "id",
    status: "text",
    started_at: "time",
    current_period_start: "time",
    current_period_end: "time?",
    trial_end: "time?",
    cancel_at_period_end: "boolean?",
    cancelled_at: "time?",
    provider: "text?",
    provider_subscription_id: "text?",
    created_at: "time",
    updated_at: "time?",
    "subscription_plans.currency": "text?",
  },
  joins: { subscription_plans: { id: "plan_id" } },
  // Then its first and its last change, from which the figures of past months are computed.
  targets: [
    { table: "billing.user_subscriptions", write: "insert" },
    { table: "billing.subscription_changes", write: "insert" },
    { table: "billing.subscription_changes", write: "insert" },
    // So that the next event of the provider finds the subscription and its person, and an erasure ends it there.
    { table: "private.provider_subscriptions", write: "insert" },
  ],
  map(row) {
    const status = STATES[row.status ?? ""];
    if (status === undefined) return { omitted: "the status is unknown" };
    if (status === "trialing" && row.trial_end === null) return { omitted: "a trial needs trial_end" };
    const changedAt = row.cancelled_at ?? row.updated_at ?? row.created_at;
    const endedAt =
      status === "canceled" || status === "expired"
        ? (row.cancelled_at ?? row.current_period_end ?? changedAt)
        : null;
    const provider =
      row.provider_subscription_id === null ? null : (codeFrom(row.provider ?? "", 50) ?? null);
    const begun = row.trial_end === null ? "active" : "trialing";
    const change = {
      subscription_id: ref("user_subscriptions", row.id),
      user_id: ref("users", row.user_id),
      to_plan_id: ref("subscription_plans", row.plan_id),
      currency: currencyOf(row["subscription_plans.currency"]),
    };
    return {
      values: [
        {
          user_id: change.user_id,
          plan_id: change.to_plan_id,
          status,
          started_at: row.started_at,
          anchor_at: status === "trialing" ? row.trial_end : row.current_period_start,
          current_period_start: row.current_period_start,
          current_period_end: row.current_period_end,
          trial_end: row.trial_end,
          cancel_at_period_end: row.cancel_at_period_end ?? false,
          past_due_since: status === "past_due" ? (row.current_period_end ?? changedAt) : null,
          paused_at: status === "paused" ? changedAt : null,
          ended_at: endedAt,
          quota_period_start: row.current_period_start,
          quota_period_end: row.current_period_end ?? aMonthAfter(row.current_period_start),
          provider,
          provider_subscription_id: provider && row.provider_subscription_id,
          created_at: row.created_at,
          updated_at: row.updated_at ?? row.created_at,
        },
        {
          ...change,
          id: changeId(row.id, "first"),
          event: begun === "trialing" ? "trial_started" : "started",
          to_status: begun,
          effective_at: row.started_at,
          created_at: row.created_at,
        },
        status === begun
          ? null
          : {
              ...change,
              id: changeId(row.id, "last"),
              event: status === "active" ? "payment_succeeded" : status,
              from_status: begun,
              to_status: status,
              from_plan_id: change.to_plan_id,
              effective_at: endedAt ?? (status === "active" ? row.trial_end : changedAt),
              created_at: changedAt,
            },
        provider === null || endedAt !== null
          ? null
          : {
              provider,
              provider_subscription_id: row.provider_subscription_id,
              user_id: change.user_id,
              was_live: true,
              started_at: row.started_at,
            },
      ],
    };
  },
});
