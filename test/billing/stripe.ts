import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import Stripe from "stripe";

export const WEBHOOK_SECRET = "whsec_test_c2VjcmV0IG9mIHRoZSB0ZXN0cw";

/** Times of a life cycle, in seconds of Stripe's clock. */
export const at = (day: string): number => Date.parse(`${day}T00:00:00Z`) / 1000;

export interface StripeEvent {
  readonly id: string;
  readonly object: "event";
  readonly type: string;
  readonly created: number;
  readonly data: { readonly object: Record<string, unknown> };
}

export const event = (
  id: string,
  type: string,
  created: number,
  object: Record<string, unknown>,
): StripeEvent => ({ id, object: "event", type, created, data: { object } });

/** A subscription in the shape of Stripe's API since 2025: its items carry the period. */
export const subscription = (
  id: string,
  options: {
    customer: string;
    status: string;
    price: string;
    start: string;
    end: string;
    userId?: string;
    more?: Record<string, unknown>;
  },
): Record<string, unknown> => ({
  id,
  object: "subscription",
  customer: options.customer,
  status: options.status,
  cancel_at_period_end: false,
  cancel_at: null,
  start_date: at(options.start),
  ended_at: null,
  trial_end: null,
  metadata: options.userId ? { plinth_user_id: options.userId } : {},
  items: {
    object: "list",
    data: [
      {
        id: "si_1",
        price: { id: options.price, object: "price" },
        current_period_start: at(options.start),
        current_period_end: at(options.end),
      },
    ],
  },
  default_payment_method: "pm_card_visa",
  ...options.more,
});

export const invoice = (
  id: string,
  options: {
    customer: string;
    subscription: string;
    price: string;
    amount: number;
    start: string;
    end: string;
    intent?: string;
    userId?: string;
    more?: Record<string, unknown>;
  },
): Record<string, unknown> => ({
  id,
  object: "invoice",
  customer: options.customer,
  customer_email: "canary-mail@example.com",
  currency: "usd",
  amount_due: options.amount,
  amount_paid: options.amount,
  billing_reason: "subscription_cycle",
  parent: {
    subscription_details: {
      subscription: options.subscription,
      metadata: options.userId ? { plinth_user_id: options.userId } : {},
    },
  },
  payments: {
    data: options.intent ? [{ payment: { type: "payment_intent", payment_intent: options.intent } }] : [],
  },
  lines: {
    data: [
      {
        pricing: { price_details: { price: options.price } },
        parent: { subscription_item_details: { proration: false } },
        period: { start: at(options.start), end: at(options.end) },
      },
    ],
  },
  ...options.more,
});

/** The header that Stripe would send with the body. */
export const signature = (
  payload: string,
  timestamp = Math.floor(Date.now() / 1000),
  secret = WEBHOOK_SECRET,
) => Stripe.webhooks.generateTestHeaderString({ payload, secret, timestamp });

/** Delivers an event as Stripe does. */
export async function deliver(
  url: string,
  sent: StripeEvent | string,
  header?: string | null,
): Promise<{ status: number; text: string }> {
  const body = typeof sent === "string" ? sent : JSON.stringify(sent);
  const signed = header === undefined ? signature(body) : header;
  const response = await fetch(`${url}/webhooks/stripe`, {
    method: "POST",
    headers: {
      "content-type": "application/json",
      ...(signed === null ? {} : { "stripe-signature": signed }),
    },
    body,
  });
  return { status: response.status, text: await response.text() };
}

/** A request to Stripe's API. */
interface Asked {
  readonly method: string;
  readonly path: string;
  readonly authorization: string | undefined;
  readonly form: Record<string, string>;
}

/** A stand-in for Stripe's API that records each request and returns the prepared answer. */
export interface PlayedStripe {
  readonly url: string;
  readonly asked: Asked[];
  answer: { status: number; body: unknown };
  close(): Promise<void>;
}

export async function playStripe(): Promise<PlayedStripe> {
  const keys = new Set<unknown>();
  const server = createServer(async (request, response) => {
    let body = "";
    for await (const chunk of request) body += chunk;
    // As Stripe does, it takes a request once that the SDK repeats because an answer was late.
    const key = request.headers["idempotency-key"];
    if (key === undefined || !keys.has(key))
      played.asked.push({
        method: request.method ?? "",
        path: request.url ?? "",
        authorization: request.headers.authorization,
        form: Object.fromEntries(new URLSearchParams(body)),
      });
    keys.add(key);
    response
      .writeHead(played.answer.status, { "content-type": "application/json" })
      .end(JSON.stringify(played.answer.body));
  });
  // Otherwise a process that stands still ends connections on which the SDK is about to ask.
  server.keepAliveTimeout = 0;
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const played: PlayedStripe = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked: [],
    answer: { status: 200, body: {} },
    close: async () => {
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return played;
}
