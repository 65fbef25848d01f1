/** The fields of an event that Plinth stores; no others, so that no card data can be stored. */
export interface ReceivedEvent {
  readonly id: string;
  readonly type: string;
  readonly customer: string | null;
  readonly occurredAt: Date;
  /** In the form of private.apply_payment_event; empty for events that it ignores. */
  readonly payload: Readonly<Record<string, Value>>;
}

type Fields = Record<string, unknown>;
type Scalar = string | number | boolean;
/** Several items or lines are passed on unchanged; the database knows which of their prices belongs to a plan. */
type Value = Scalar | readonly Readonly<Record<string, Scalar>>[];
type Payload = Record<string, Value | undefined>;

/** Ids, codes and keywords of Stripe; longer texts or other characters are rejected. */
const TOKEN = /^[A-Za-z0-9_-]{1,255}$/;

/** Stripe's states mapped to Plinth's (https://docs.stripe.com/api/subscriptions/object#subscription_object-status). */
const STATUSES: Readonly<Record<string, string>> = {
  incomplete: "incomplete",
  incomplete_expired: "canceled",
  trialing: "trialing",
  active: "active",
  past_due: "past_due",
  unpaid: "past_due",
  paused: "paused",
  canceled: "canceled",
};
/**
 * Disputes in these states withhold no money: an inquiry (`warning_…`), a won or prevented dispute, or one whose charge was
 * refunded, which the charge reports (https://docs.stripe.com/api/disputes/object#dispute_object-status).
 */
const DISPUTE_WITHOUT_LOSS = /^(warning_\w+|won|prevented|charge_refunded)$/;
/** Reasons of invoices for the next period; `subscription` was used before 2018 (https://docs.stripe.com/api/invoices/object#invoice_object-billing_reason). */
const RENEWALS = new Set(["subscription_cycle", "subscription"]);
/**
 * Units of Stripe that are not the smallest of ISO 4217: krónur and shillings keep the two decimals that they had, the ariary has none
 * (https://docs.stripe.com/currencies#special-cases).
 */
const UNITS: Readonly<Record<string, number>> = { ISK: 0.01, UGX: 0.01, MGA: 100 };
/** An event has at most ten lines and twenty items. */
const LINES_LIMIT = 40;

/** Orders states within the same second: the later stage of the life cycle wins. */
const STATUS_RANKS = ["incomplete", "trialing", "past_due", "active", "paused", "canceled"];

/**
 * Reads an event with a verified signature. The shape of Stripe's objects has changed over the years (an invoice's
 * subscription, a subscription's period); both the current shapes and those before 2025 are supported.
 */
export function readStripeEvent(event: unknown): ReceivedEvent {
  const { id, type, created, data } = fields(event);
  const object = fields(fields(data).object);
  const read = READERS[String(type)];
  return {
    id: String(id),
    type: String(type).slice(0, 255),
    customer: reference(object.customer) ?? null,
    occurredAt: new Date(number(created, 0) * 1000),
    payload: given<Value>(read?.(object) ?? {}),
  };
}

const READERS: Readonly<Record<string, (object: Fields) => Payload>> = {
  "checkout.session.completed": checkout,
  "checkout.session.async_payment_succeeded": checkout,
  "customer.subscription.created": (object) => subscription(object, 1),
  "customer.subscription.updated": (object) => subscription(object, 3),
  "customer.subscription.paused": (object) => subscription(object, 3),
  "customer.subscription.resumed": (object) => subscription(object, 3),
  "customer.subscription.deleted": (object) => subscription({ ...object, status: "canceled" }, 4),
  "invoice.paid": (object) => invoice(object, true),
  "invoice.payment_failed": (object) => invoice(object, false),
  "invoice_payment.paid": (object) => ({
    kind: "transaction",
    payment: reference(object.invoice),
    reference: transaction(fields(object.payment)),
  }),
  "charge.refunded": (object) => ({
    kind: "refund",
    payment: reference(object.invoice),
    reference: reference(object.payment_intent) ?? reference(object.id),
    reversal: reference(object.id),
    refunded: amount(object.amount_refunded, object.currency),
  }),
  "charge.refund.updated": failedRefund,
  "refund.updated": failedRefund,
  "refund.failed": failedRefund,
  "charge.dispute.created": (object) => dispute(object, 1),
  "charge.dispute.funds_withdrawn": (object) => dispute(object, 2),
  "charge.dispute.updated": (object) => dispute(object, 2),
  "charge.dispute.funds_reinstated": (object) => dispute(object, 3),
  "charge.dispute.closed": (object) => dispute(object, 4),
};

/** A refund that fails later restores the payment; the charge reports all other refunds. */
function failedRefund(object: Fields): Payload {
  if (object.status !== "failed" && object.status !== "canceled") return {};
  return {
    kind: "refund_failed",
    rank: "6",
    reference: transaction(object),
    reversal: reference(object.id),
    refunded: amount(object.amount, object.currency),
  };
}

function dispute(object: Fields, rank: number): Payload {
  return {
    kind: "dispute",
    rank: String(rank),
    reference: transaction(object),
    reversal: reference(object.id),
    in_force: !DISPUTE_WITHOUT_LOSS.test(String(object.status)),
  };
}

/** Subscriptions have their own events; a lifetime plan is bought with this one. */
function checkout(object: Fields): Payload {
  const { metadata, created } = object;
  const userId = uuid(fields(metadata).plinth_user_id);
  if (object.mode !== "payment" || object.payment_status !== "paid")
    return { kind: "customer", user_id: userId };
  const reference_ = reference(object.payment_intent);
  return {
    kind: "purchase",
    rank: "2",
    user_id: userId,
    plan_id: uuid(fields(metadata).plinth_plan_id),
    payment: reference_,
    reference: reference_,
    subscription: reference_,
    status: "active",
    paid: true,
    for_life: true,
    amount: amount(object.amount_total, object.currency),
    currency: currency(object.currency),
    period_start: number(created, 0),
  };
}

function subscription(object: Fields, rank: number): Payload {
  const status = STATUSES[String(object.status)];
  return {
    kind: "subscription",
    rank: `${rank}${status ? STATUS_RANKS.indexOf(status) : 0}`,
    user_id: uuid(fields(object.metadata).plinth_user_id),
    subscription: reference(object.id),
    status,
    items: list(fields(object.items).data)
      .slice(0, LINES_LIMIT)
      .map(fields)
      .map((item) =>
        given({
          price: reference(item.price) ?? reference(item.plan),
          start: optionalNumber(item.current_period_start ?? object.current_period_start),
          end: optionalNumber(item.current_period_end ?? object.current_period_end),
        }),
      ),
    cancel_at_period_end: object.cancel_at_period_end === true,
    cancel_at: optionalNumber(object.cancel_at),
    trial_end: optionalNumber(object.trial_end),
    started_at: optionalNumber(object.start_date),
    ended_at: optionalNumber(object.ended_at),
  };
}

function invoice(object: Fields, paid: boolean): Payload {
  const details = fields(fields(object.parent).subscription_details);
  const payments = list(fields(object.payments).data).map((payment) => fields(fields(payment).payment));
  return {
    kind: "invoice",
    rank: "20",
    user_id: uuid(fields(details.metadata ?? fields(object.subscription_details).metadata).plinth_user_id),
    payment: reference(object.id),
    reference:
      transaction(object) ?? payments.map((payment) => transaction(payment)).find((id) => id !== undefined),
    subscription: reference(object.subscription) ?? reference(details.subscription),
    paid,
    renews: RENEWALS.has(String(object.billing_reason)),
    amount: amount(paid ? object.amount_paid : object.amount_due, object.currency),
    currency: currency(object.currency),
    lines: linesOf(object),
    failure_code: code(fields(object.last_finalization_error).code),
  };
}

/** Returns the charged lines, those for whole periods first. Credits for unused time are excluded. */
function linesOf(object: Fields): Readonly<Record<string, Scalar>>[] {
  const lines = list(fields(object.lines).data).map(fields);
  return lines
    .filter((line) => number(line.amount, 0) >= 0)
    .map((line) =>
      given({
        price:
          reference(fields(fields(line.pricing).price_details).price) ??
          reference(line.price) ??
          reference(line.plan),
        start: optionalNumber(fields(line.period).start),
        end: optionalNumber(fields(line.period).end),
        regular: isRegular(line),
      }),
    )
    .sort((a, b) => Number(b.regular) - Number(a.regular))
    .slice(0, LINES_LIMIT);
}

/** Whether a line covers a whole period of a subscription item: prorations cover a part, single items none. */
function isRegular(line: Fields): boolean {
  const parent = fields(line.parent);
  const { type = line.type } = parent;
  if (type === "invoice_item_details" || type === "invoiceitem") return false;
  const { proration } = fields(parent.subscription_item_details);
  return line.proration !== true && proration !== true;
}

/** The id that refunds and disputes refer to: the intent, or the charge of a payment without one. */
const transaction = (object: Fields): string | undefined =>
  reference(object.payment_intent) ?? reference(object.charge);

const fields = (value: unknown): Fields =>
  typeof value === "object" && value !== null ? (value as Fields) : {};
const list = (value: unknown): unknown[] => (Array.isArray(value) ? value : []);
const number = (value: unknown, fallback: number): number =>
  typeof value === "number" && Number.isFinite(value) ? value : fallback;
const optionalNumber = (value: unknown): number | undefined =>
  typeof value === "number" && Number.isFinite(value) ? value : undefined;
/** Returns an amount in the smallest unit of ISO 4217. */
const amount = (value: unknown, unit: unknown): number =>
  Number.isSafeInteger(value) && Number(value) > 0
    ? Math.round(Number(value) * (UNITS[currency(unit) ?? ""] ?? 1))
    : 0;
const token = (value: unknown): string | undefined =>
  typeof value === "string" && TOKEN.test(value) ? value : undefined;
const code = (value: unknown): string | undefined =>
  typeof value === "string" && /^[a-z][a-z0-9_]{0,99}$/.test(value) ? value : undefined;
const currency = (value: unknown): string | undefined =>
  typeof value === "string" && /^[a-z]{3}$/i.test(value) ? value.toUpperCase() : undefined;
const uuid = (value: unknown): string | undefined =>
  typeof value === "string" && /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(value) ? value : undefined;
/** Returns an id given as such or as an expanded object. */
const reference = (value: unknown): string | undefined => token(value) ?? token(fields(value).id);

function given<T>(values: Readonly<Record<string, T | undefined>>): Record<string, T> {
  const entries = Object.entries(values).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as Record<string, T>;
}
