import type Stripe from "stripe";
import { at, event, type StripeEvent } from "./stripe.ts";

/** Before 2025 an invoice names its subscription and a line its price; since then both have parents and pricing. */
export type ApiVersion = "2024-12-18.acacia" | "2026-10-28";
export const API_VERSIONS: readonly ApiVersion[] = ["2024-12-18.acacia", "2026-10-28"];

const DAY = 86_400;
/** Periods of thirty days, so that whole days are whole tokens. */
const PERIOD = 30 * DAY;

type Kind = "period" | "proration" | "credit" | "single";
export interface Line {
  readonly kind: Kind;
  readonly price: string;
  readonly amount: number;
  readonly start: number;
  readonly end: number;
}

/** A line in the shape of the version. */
function lineOf(version: ApiVersion, line: Line, sub: string): Record<string, unknown> {
  const isProration = line.kind === "proration" || line.kind === "credit";
  const common = {
    id: `il_${line.price}_${line.kind}`,
    object: "line_item",
    amount: line.amount,
    currency: "usd",
    period: { start: line.start, end: line.end },
    quantity: 1,
  };
  if (version !== "2026-10-28")
    return {
      ...common,
      type: line.kind === "period" ? "subscription" : "invoiceitem",
      proration: isProration,
      subscription: sub,
      price: { id: line.price, object: "price", type: line.kind === "single" ? "one_time" : "recurring" },
      plan: line.kind === "single" ? null : { id: line.price, object: "plan" },
    };
  return {
    ...common,
    subscription: sub,
    // Classic billing puts prorations into invoice items; flexible billing leaves them with the subscription's.
    parent:
      line.kind === "period"
        ? {
            type: "subscription_item_details",
            invoice_item_details: null,
            subscription_item_details: {
              invoice_item: null,
              proration: false,
              proration_details: null,
              subscription: sub,
              subscription_item: "si_1",
            },
          }
        : {
            type: "invoice_item_details",
            subscription_item_details: null,
            invoice_item_details: {
              invoice_item: "ii_1",
              proration: isProration,
              proration_details: null,
              subscription: sub,
            },
          },
    pricing: {
      type: "price_details",
      price_details: { price: line.price, product: "prod_1" },
      unit_amount_decimal: null,
    },
  } satisfies Partial<Record<keyof Stripe.InvoiceLineItem, unknown>>;
}

interface Invoice {
  readonly id: string;
  readonly reason: string;
  readonly lines: readonly Line[];
  readonly amount: number;
  paid: boolean;
  refunded: number;
  disputes: Map<string, string>;
}

const IN_FORCE = ["needs_response", "under_review", "lost"];

/**
 * Stripe's side of one subscription: it holds the true state and records the events that Stripe would send. The expected outcome
 * is derived from the true state, never from the events.
 */
export class StripeStory {
  readonly events: StripeEvent[] = [];
  readonly invoices: Invoice[] = [];
  readonly version: ApiVersion;
  readonly names: { user: string; customer: string; sub: string; prefix: string };
  readonly first: number;
  now: number;
  status = "incomplete";
  price: string;
  start: number;
  end: number;
  cancelAt: number | null = null;
  cancelAtPeriodEnd = false;
  endedAt: number | null = null;
  /** Plans of the current period, each with the day on which it began. */
  walk: { price: string; day: number }[] = [];
  addOn: { price: string; first: boolean } | undefined;
  #events = 0;

  constructor(
    version: ApiVersion,
    names: { user: string; customer: string; sub: string; prefix: string },
    price: string,
    start = at("2026-03-01"),
  ) {
    this.version = version;
    this.names = names;
    this.price = price;
    this.first = start;
    this.now = start;
    this.start = start;
    this.end = start + PERIOD;
  }

  get isNew(): boolean {
    return this.version === "2026-10-28";
  }

  emit(type: string, object: Record<string, unknown>): void {
    this.#events += 1;
    this.events.push(event(`evt_${this.names.prefix}_${this.#events}`, type, this.now, object));
  }

  /** Lets hours pass within the period. */
  pass(hours: number): void {
    this.now += hours * 3600;
  }

  tell(type = "updated", more: Record<string, unknown> = {}): void {
    const { isNew, start, end } = this;
    const item = (price: string, id: string) => ({
      id,
      object: "subscription_item",
      price: { id: price, object: "price" },
      plan: { id: price, object: "plan" },
      ...(isNew ? { current_period_start: start, current_period_end: end } : {}),
    });
    const own = item(this.price, "si_1");
    const other = this.addOn ? [item(this.addOn.price, "si_0")] : [];
    this.emit(`customer.subscription.${type}`, {
      id: this.names.sub,
      object: "subscription",
      customer: this.names.customer,
      status: this.status,
      start_date: this.first,
      cancel_at: this.cancelAt,
      cancel_at_period_end: this.cancelAtPeriodEnd,
      ended_at: this.endedAt,
      trial_end: null,
      metadata: { plinth_user_id: this.names.user },
      items: { object: "list", data: this.addOn?.first === false ? [own, ...other] : [...other, own] },
      ...(isNew ? {} : { current_period_start: start, current_period_end: end }),
      ...more,
    });
  }

  bill(reason: string, lines: readonly Line[], paid: boolean): Invoice {
    const invoice: Invoice = {
      id: `in_${this.names.prefix}_${this.invoices.length + 1}`,
      reason,
      lines,
      amount: lines.reduce((sum, line) => sum + line.amount, 0),
      paid,
      refunded: 0,
      disputes: new Map(),
    };
    this.invoices.push(invoice);
    this.charge(invoice, paid);
    return invoice;
  }

  charge(invoice: Invoice, paid: boolean): void {
    const { isNew, names } = this;
    const metadata = { plinth_user_id: names.user };
    invoice.paid ||= paid;
    this.emit(paid ? "invoice.paid" : "invoice.payment_failed", {
      id: invoice.id,
      object: "invoice",
      customer: names.customer,
      currency: "usd",
      amount_due: invoice.amount,
      amount_paid: paid ? invoice.amount : 0,
      total: invoice.amount,
      billing_reason: invoice.reason,
      lines: {
        object: "list",
        data: invoice.lines.map((line) => lineOf(this.version, line, names.sub)),
        has_more: false,
      },
      ...(isNew
        ? {
            parent: {
              type: "subscription_details",
              quote_details: null,
              subscription_details: { metadata, subscription: names.sub },
            },
          }
        : {
            subscription: names.sub,
            subscription_details: { metadata },
            charge: `ch_${invoice.id}`,
            payment_intent: `pi_${invoice.id}`,
          }),
    });
    if (paid && isNew)
      this.emit("invoice_payment.paid", {
        id: `inpay_${invoice.id}`,
        object: "invoice_payment",
        invoice: invoice.id,
        amount_paid: invoice.amount,
        status: "paid",
        payment: { type: "payment_intent", payment_intent: `pi_${invoice.id}` },
      });
  }

  period(price = this.price, amount = 3000): Line {
    return { kind: "period", price, amount, start: this.start, end: this.end };
  }

  single(): Line {
    return { kind: "single", price: "price_setup_help", amount: 500, start: this.now, end: this.now };
  }

  /** A one-off line follows the period's line, an add-on precedes it. */
  linesOfPeriod(): Line[] {
    const { addOn, start } = this;
    return [
      ...(addOn ? [{ ...this.period(addOn.price, 200), start: start - DAY }] : []),
      this.period(),
      this.single(),
    ];
  }

  begin(): Invoice {
    this.tell("created");
    this.walk = [{ price: this.price, day: 0 }];
    const invoice = this.bill("subscription_create", this.linesOfPeriod(), true);
    this.status = "active";
    this.tell();
    return invoice;
  }

  renew(paid: boolean): Invoice {
    this.now = this.end;
    this.start = this.end;
    this.end = this.start + PERIOD;
    this.walk = [{ price: this.price, day: 0 }];
    this.tell();
    this.pass(1);
    const invoice = this.bill("subscription_cycle", this.linesOfPeriod(), paid);
    // The latest invoice decides, also after one that was never paid.
    const status = paid ? "active" : "past_due";
    if (status !== this.status) {
      this.status = status;
      this.tell();
    }
    return invoice;
  }

  /** Pays the open invoice of the period. */
  payLate(invoice: Invoice): void {
    this.charge(invoice, true);
    this.status = "active";
    this.tell();
  }

  /** Changes the plan on a whole day of the period, so that its parts are whole. */
  change(price: string, day: number): Invoice {
    this.now = this.start + day * DAY;
    const lines: Line[] = [
      { kind: "credit", price: this.price, amount: -100, start: this.now, end: this.end },
      { kind: "proration", price, amount: 900, start: this.now, end: this.end },
    ];
    this.price = price;
    this.walk.push({ price, day });
    this.tell();
    return this.bill("subscription_update", lines, true);
  }

  /** With `payment_behavior=pending_if_incomplete`: nothing changes without a payment, and this one fails. */
  changeInVain(price: string): Invoice {
    const line = { ...this.period(price, 9000), start: this.now, end: this.now + 365 * DAY };
    const invoice = this.bill("subscription_update", [line], false);
    this.tell("updated", { pending_update: { subscription_items: [{ price }] } });
    return invoice;
  }

  refund(invoice: Invoice, amount: number): void {
    invoice.refunded += amount;
    this.emit("charge.refunded", {
      id: `ch_${invoice.id}`,
      object: "charge",
      customer: this.names.customer,
      payment_intent: `pi_${invoice.id}`,
      amount: invoice.amount,
      amount_refunded: invoice.refunded,
      refunded: invoice.refunded === invoice.amount,
      ...(this.isNew ? {} : { invoice: invoice.id }),
    });
  }

  failRefund(invoice: Invoice, amount: number): void {
    invoice.refunded -= amount;
    this.emit(this.isNew ? "refund.failed" : "charge.refund.updated", {
      id: `re_${invoice.id}_${this.now}`,
      object: "refund",
      amount,
      charge: `ch_${invoice.id}`,
      payment_intent: `pi_${invoice.id}`,
      status: "failed",
      failure_reason: "expired_or_canceled_card",
    });
  }

  dispute(invoice: Invoice, status: string, type = "created"): void {
    const id = `dp_${invoice.id}`;
    invoice.disputes.set(id, status);
    this.emit(`charge.dispute.${type}`, {
      id,
      object: "dispute",
      amount: invoice.amount,
      charge: `ch_${invoice.id}`,
      payment_intent: `pi_${invoice.id}`,
      status,
      reason: "fraudulent",
    });
  }

  cancel(cancelAt: number | null, atPeriodEnd = false): void {
    this.cancelAt = cancelAt;
    this.cancelAtPeriodEnd = atPeriodEnd;
    this.tell();
  }

  terminate(): void {
    this.status = "canceled";
    this.endedAt = this.now;
    this.tell("deleted");
  }

  isGivenBack({ amount, refunded, disputes }: Invoice): boolean {
    return refunded >= amount || [...disputes.values()].some((status) => IN_FORCE.includes(status));
  }

  /** The invoice for the current period. */
  get current(): Invoice {
    return this.invoices.findLast(({ reason, lines }) =>
      lines.some(
        ({ kind, start, price }) =>
          kind === "period" &&
          start === this.start &&
          price.startsWith("price_plan") &&
          reason !== "subscription_update",
      ),
    )!;
  }

  /** The user's subscription according to the true state. */
  outcome(quotas: Readonly<Record<string, number>>): Record<string, unknown> {
    const revoked = this.isGivenBack(this.current) && this.status !== "canceled";
    const status = revoked ? "expired" : this.status;
    return {
      status,
      plan: this.price.replace("price_", ""),
      start: new Date(this.start * 1000),
      end: new Date(this.end * 1000),
      ends: this.cancelAtPeriodEnd || (this.cancelAt !== null && this.cancelAt <= this.end),
      tokens: status === "active" && this.current.paid ? tokensOfWalk(this.walk, quotas) : 0,
      payments: this.invoices.map((invoice) => ({
        id: invoice.id,
        status: [...invoice.disputes.values()].some((state) => IN_FORCE.includes(state))
          ? "disputed"
          : invoice.refunded >= invoice.amount
            ? "refunded"
            : invoice.refunded > 0
              ? "partially_refunded"
              : invoice.paid
                ? "succeeded"
                : "failed",
        refunded: invoice.refunded,
      })),
    };
  }
}

/**
 * By brute force, a hundred tokens of quota at a time: each level is held since a day, a downgrade releases the levels above, and
 * granted tokens stay granted. Returns at least what one direct change from the first plan grants.
 */
export function tokensOfWalk(
  walk: readonly { price: string; day: number }[],
  quotas: Readonly<Record<string, number>>,
): number {
  const LEVEL = 100;
  const levels = (price: string) => quotas[price]! / LEVEL;
  const first = levels(walk[0]!.price);
  const since = new Map<number, number>();
  for (let level = 0; level < first; level += 1) since.set(level, 0);
  let most = first * LEVEL;
  for (const { price, day } of walk.slice(1)) {
    const wanted = levels(price);
    for (const level of [...since.keys()]) if (level >= wanted) since.delete(level);
    for (let level = 0; level < wanted; level += 1) if (!since.has(level)) since.set(level, day);
    const staircase = [...since.values()].reduce((sum, begun) => sum + (LEVEL * (30 - begun)) / 30, 0);
    const direct = first * LEVEL + ((wanted - first) * LEVEL * (30 - day)) / 30;
    most = Math.max(most, Math.round(staircase), Math.round(direct));
  }
  return most;
}
