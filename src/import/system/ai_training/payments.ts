import { type AnyStep, defineStep, type Loss } from "../mapping.ts";
import { optionalRef, ref } from "../references.ts";
import { currencyOf, minorUnits, NO_AMOUNT, readDecimals } from "./money.ts";
import { ROLL_UP_DAY } from "./roll-up.ts";
import { codeFrom } from "./words.ts";

/** Times that the state of a payment is derived from here, by its state there. */
const STATES: Readonly<Record<string, "pending" | "paid" | "failed" | "refunded" | "disputed">> = {
  pending: "pending",
  completed: "paid",
  succeeded: "paid",
  paid: "paid",
  failed: "failed",
  refunded: "refunded",
  partially_refunded: "refunded",
  disputed: "disputed",
};

export const payments: AnyStep = defineStep({
  relation: "payments",
  key: ["id"],
  keepsId: true,
  columns: {
    id: "uuid",
    user_id: "id?",
    subscription_id: "id?",
    amount: "text",
    currency: "text?",
    status: "text",
    refunded_amount: "text?",
    provider: "text",
    provider_payment_id: "text",
    failure_reason: "text?",
    paid_at: "time?",
    created_at: "time",
    updated_at: "time?",
    "user_subscriptions.plan_id": "id?",
    "user_subscriptions.provider_subscription_id": "text?",
  },
  joins: { user_subscriptions: { id: "subscription_id" } },
  targets: [{ table: "billing.payments", write: "insert" }, ROLL_UP_DAY],
  prepare: (rows, context) =>
    readDecimals(
      rows.map(({ row }) => currencyOf(row.currency)),
      context,
    ),
  map(row, decimals) {
    const currency = currencyOf(row.currency);
    const amount = minorUnits(row.amount, decimals.get(currency)!);
    const refunded = minorUnits(row.refunded_amount, decimals.get(currency)!);
    if (amount === undefined || refunded === undefined) return { omitted: NO_AMOUNT };
    const losses: Loss[] = [];
    const known = STATES[row.status ?? ""];
    // Money is never left out.
    if (known === undefined)
      losses.push({ column: "status", reason: "is unknown, so the payment is pending" });
    const state = known ?? "pending";
    const decidedAt = row.updated_at ?? row.created_at;
    const paidAt = state === "pending" || state === "failed" ? null : (row.paid_at ?? decidedAt);
    return {
      values: [
        {
          user_id: optionalRef("users", row.user_id),
          subscription_id: optionalRef("user_subscriptions", row.subscription_id),
          plan_id: optionalRef("subscription_plans", row["user_subscriptions.plan_id"]),
          provider: codeFrom(row.provider ?? "", 50) ?? row.provider,
          provider_payment_id: row.provider_payment_id,
          provider_subscription_id: row["user_subscriptions.provider_subscription_id"],
          amount_cents: amount,
          refunded_cents: state === "refunded" && refunded === 0 ? amount : refunded,
          currency,
          paid_at: paidAt,
          failed_at: state === "failed" ? decidedAt : null,
          disputed_at: state === "disputed" ? decidedAt : null,
          failure_code: codeFrom(row.failure_reason ?? "", 100) ?? null,
          created_at: row.created_at,
          updated_at: decidedAt,
        },
        paidAt === null ? null : { time: paidAt },
      ],
      losses,
    };
  },
});

const EVENTS: Readonly<Record<string, string>> = {
  upgrade: "upgraded",
  downgrade: "downgraded",
  renewal: "renewed",
  cancellation: "canceled",
};
/** Comes along with the subscription. */
const FIRST = new Set(["created", "started", "new", "trial_started"]);

export const changes: AnyStep = defineStep({
  relation: "subscription_changes",
  key: ["id"],
  keepsId: true,
  columns: {
    id: "uuid",
    subscription_id: "id",
    user_id: "id",
    change_type: "text",
    from_plan_id: "id?",
    to_plan_id: "id",
    prorated_amount: "text?",
    effective_at: "time",
    created_at: "time",
    "subscription_plans.currency": "text?",
  },
  joins: { subscription_plans: { id: "to_plan_id" } },
  targets: [{ table: "billing.subscription_changes", write: "insert" }],
  prepare: (rows, context) =>
    readDecimals(
      rows.map(({ row }) => currencyOf(row["subscription_plans.currency"])),
      context,
    ),
  map(row, decimals) {
    if (FIRST.has(row.change_type ?? "")) return { omitted: "the start is imported with its subscription" };
    const currency = currencyOf(row["subscription_plans.currency"]);
    const amount = minorUnits(row.prorated_amount, decimals.get(currency)!);
    const event = codeFrom(row.change_type ?? "", 50);
    if (amount === undefined) return { omitted: NO_AMOUNT };
    if (event === undefined) return { omitted: "change_type needs a letter" };
    return {
      values: [
        {
          subscription_id: ref("user_subscriptions", row.subscription_id),
          user_id: ref("users", row.user_id),
          event: EVENTS[event] ?? event,
          from_status: "active",
          to_status: "active",
          from_plan_id: optionalRef("subscription_plans", row.from_plan_id),
          to_plan_id: ref("subscription_plans", row.to_plan_id),
          charge_cents: Math.max(amount, 0),
          credit_cents: Math.min(amount, 0),
          currency,
          effective_at: row.effective_at,
          created_at: row.created_at,
        },
      ],
    };
  },
});
