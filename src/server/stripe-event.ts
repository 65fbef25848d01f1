/** What Plinth keeps of an event: these fields and no others, so that nothing of a card can come in. */
export interface ReceivedEvent {
  readonly id: string;
  readonly type: string;
  readonly customer: string | null;
  readonly occurredAt: Date;
  /** In the words of private.apply_payment_event; empty for events that mean nothing to it. */
  readonly payload: Readonly<Record<string, string | number | boolean>>;
}

type Fields = Record<string, unknown>;
type Payload = Record<string, string | number | boolean | undefined>;

/** Ids, codes and words of Stripe's: anything longer or with other characters is not one. */
const TOKEN = /^[A-Za-z0-9_-]{1,255}$/;

/** Stripe's states in our words (https://docs.stripe.com/api/subscriptions/object#subscription_object-status). */
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
/** Decides between states of one second: what is further on in a life wins. */
const STATUS_RANKS = ["incomplete", "trialing", "past_due", "active", "paused", "canceled"];

/**
 * Reads an event whose signature was checked. Stripe's objects changed their shape over the years (an invoice's
 * subscription, a subscription's period); both the shapes of today and those before 2025 are read.
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
    payload: known(read?.(object) ?? {}),
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
    reference: reference(fields(object.payment).payment_intent),
  }),
  "charge.refunded": (object) => ({
    kind: "refund",
    payment: reference(object.invoice),
    reference: reference(object.payment_intent) ?? reference(object.id),
    refunded: amount(object.amount_refunded),
  }),
  "charge.dispute.created": (object) => ({
    kind: "dispute",
    reference: reference(object.payment_intent) ?? reference(object.charge),
  }),
};

/** A subscription tells of itself by events of its own; a plan for life is bought here and now. */
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
    amount: amount(object.amount_total),
    currency: currency(object.currency),
    period_start: number(created, 0),
  };
}

function subscription(object: Fields, rank: number): Payload {
  const item = fields(list(fields(object.items).data)[0]);
  const status = STATUSES[String(object.status)];
  return {
    kind: "subscription",
    rank: `${rank}${status ? STATUS_RANKS.indexOf(status) : 0}`,
    user_id: uuid(fields(object.metadata).plinth_user_id),
    subscription: reference(object.id),
    status,
    price: reference(item.price) ?? reference(item.plan),
    period_start: optionalNumber(item.current_period_start ?? object.current_period_start),
    period_end: optionalNumber(item.current_period_end ?? object.current_period_end),
    // A date to end at is how the billing portal cancels at the period's end in newer versions.
    cancel_at_period_end: object.cancel_at_period_end === true || typeof object.cancel_at === "number",
    trial_end: optionalNumber(object.trial_end),
    started_at: optionalNumber(object.start_date),
    ended_at: optionalNumber(object.ended_at),
  };
}

function invoice(object: Fields, paid: boolean): Payload {
  const details = fields(fields(object.parent).subscription_details);
  const line = fields(list(fields(object.lines).data).map(fields).findLast(isRegular));
  const period = fields(line.period);
  const subscriptionId = reference(object.subscription) ?? reference(details.subscription);
  const payments = list(fields(object.payments).data).map((payment) => fields(fields(payment).payment));
  const asked = amount(paid ? object.amount_paid : object.amount_due);
  return {
    kind: "invoice",
    rank: "20",
    user_id: uuid(fields(details.metadata ?? fields(object.subscription_details).metadata).plinth_user_id),
    payment: reference(object.id),
    reference:
      reference(object.payment_intent) ??
      payments.map(({ payment_intent: intent }) => reference(intent)).find((id) => id !== undefined),
    subscription: subscriptionId,
    // Nothing paid says nothing (a trial), and a first payment that failed leaves an incomplete subscription.
    status: paid
      ? asked > 0
        ? "active"
        : undefined
      : object.billing_reason === "subscription_create"
        ? undefined
        : "past_due",
    paid,
    amount: asked,
    currency: currency(object.currency),
    price: reference(fields(fields(line.pricing).price_details).price) ?? reference(line.price),
    period_start: optionalNumber(period.start),
    period_end: optionalNumber(period.end),
    failure_code: code(fields(object.last_finalization_error).code),
  };
}

/** The line for the period itself: prorations are for parts of it. */
function isRegular(line: Fields): boolean {
  const { proration } = fields(fields(line.parent).subscription_item_details);
  return line.proration !== true && proration !== true;
}

const fields = (value: unknown): Fields =>
  typeof value === "object" && value !== null ? (value as Fields) : {};
const list = (value: unknown): unknown[] => (Array.isArray(value) ? value : []);
const number = (value: unknown, fallback: number): number =>
  typeof value === "number" && Number.isFinite(value) ? value : fallback;
const optionalNumber = (value: unknown): number | undefined =>
  typeof value === "number" && Number.isFinite(value) ? value : undefined;
const amount = (value: unknown): number =>
  Number.isSafeInteger(value) && Number(value) > 0 ? Number(value) : 0;
const token = (value: unknown): string | undefined =>
  typeof value === "string" && TOKEN.test(value) ? value : undefined;
const code = (value: unknown): string | undefined =>
  typeof value === "string" && /^[a-z][a-z0-9_]{0,99}$/.test(value) ? value : undefined;
const currency = (value: unknown): string | undefined =>
  typeof value === "string" && /^[a-z]{3}$/i.test(value) ? value.toUpperCase() : undefined;
const uuid = (value: unknown): string | undefined =>
  typeof value === "string" && /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(value) ? value : undefined;
/** An id, or an object that Stripe put in its place. */
const reference = (value: unknown): string | undefined => token(value) ?? token(fields(value).id);

function known(payload: Payload): ReceivedEvent["payload"] {
  const entries = Object.entries(payload).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as ReceivedEvent["payload"];
}
