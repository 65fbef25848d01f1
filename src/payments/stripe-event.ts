/** What Plinth keeps of an event: these fields and no others, so that nothing of a card can come in. */
export interface ReceivedEvent {
  readonly id: string;
  readonly type: string;
  readonly customer: string | null;
  readonly occurredAt: Date;
  /** In the words of private.apply_payment_event; empty for events that mean nothing to it. */
  readonly payload: Readonly<Record<string, Value>>;
}

type Fields = Record<string, unknown>;
type Scalar = string | number | boolean;
/** Several items or lines are told as they are; the database knows which of their prices sells a plan. */
type Value = Scalar | readonly Readonly<Record<string, Scalar>>[];
type Payload = Record<string, Value | undefined>;

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
/**
 * Disputes in these states hold no money: an inquiry (`warning_…`), one that was won or prevented, one whose charge was
 * refunded, of which the charge tells (https://docs.stripe.com/api/disputes/object#dispute_object-status).
 */
const DISPUTE_WITHOUT_LOSS = /^(warning_\w+|won|prevented|charge_refunded)$/;
/** Invoices of the next period; `subscription` is the word of before 2018 (https://docs.stripe.com/api/invoices/object#invoice_object-billing_reason). */
const RENEWALS = new Set(["subscription_cycle", "subscription"]);
/** An event carries ten lines and twenty items at most. */
const LINES_LIMIT = 40;

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
    refunded: amount(object.amount_refunded),
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

/** A refund that fails later gives the money back; of the others the charge tells. */
function failedRefund(object: Fields): Payload {
  if (object.status !== "failed" && object.status !== "canceled") return {};
  return {
    kind: "refund_failed",
    rank: "6",
    reference: transaction(object),
    reversal: reference(object.id),
    refunded: amount(object.amount),
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
    amount: amount(paid ? object.amount_paid : object.amount_due),
    currency: currency(object.currency),
    lines: linesOf(object),
    failure_code: code(fields(object.last_finalization_error).code),
  };
}

/** What is charged for; credits for unused time are for nothing that begins. Lines for whole periods come first. */
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

/** A line for a whole period of a subscription's item: prorations are for parts of it, and single items for none. */
function isRegular(line: Fields): boolean {
  const parent = fields(line.parent);
  const { type = line.type } = parent;
  if (type === "invoice_item_details" || type === "invoiceitem") return false;
  const { proration } = fields(parent.subscription_item_details);
  return line.proration !== true && proration !== true;
}

/** What refunds and disputes name: the intent, or the charge of a payment without one. */
const transaction = (object: Fields): string | undefined =>
  reference(object.payment_intent) ?? reference(object.charge);

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

function given<T>(values: Readonly<Record<string, T | undefined>>): Record<string, T> {
  const entries = Object.entries(values).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as Record<string, T>;
}
