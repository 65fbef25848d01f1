import type { RequestHandler } from "express";
import type { Logger } from "pino";
import type Stripe from "stripe";
import { loadStripe } from "../../payments/stripe.ts";
import { readStripeEvent } from "../../payments/stripe-event.ts";
import type { CallPrivateFunction } from "../../request/service-caller.ts";
import { HttpError } from "../http-error.ts";
import { readSentBody } from "../request-body.ts";

export const STRIPE_WEBHOOK_PATH = "/webhooks/stripe";

/** Stripe's own default; an older signature may be replayed. */
const TOLERANCE_SECONDS = 300;
/** Stripe's events are at most a few hundred kilobytes. */
const LIMIT_BYTES = 1_000_000;

/**
 * Stores and processes Stripe's events (https://docs.stripe.com/webhooks). Returns 200 as soon as the event is stored: if
 * processing fails, the job retries it. Returns 400 for an invalid signature, without the reason.
 * @returns undefined without a secret
 */
export async function stripeWebhookStep(options: {
  stripeWebhookSecret: string | undefined;
  callPrivateFunction: CallPrivateFunction;
  logger: Logger;
}): Promise<RequestHandler | undefined> {
  const { stripeWebhookSecret: secret, callPrivateFunction, logger } = options;
  if (!secret) return undefined;
  const { webhooks } = await loadStripe();

  return async (request, response) => {
    const body = await readSentBody(request, LIMIT_BYTES);
    const event = verified(webhooks, body, request.headers["stripe-signature"], secret);
    const { id, type, customer, occurredAt, payload } = readStripeEvent(event);
    const [kept] = await callPrivateFunction<{ id: string }>(
      request.context,
      "select private.receive_payment_event('stripe', $1, $2, $3, $4, $5) as id",
      [id, type, customer, occurredAt, JSON.stringify(payload)],
    );
    try {
      await callPrivateFunction(request.context, "select private.process_payment_event($1)", [kept?.id]);
    } catch (error) {
      logger.warn(
        { correlationId: request.context.correlationId, err: error },
        "payment event stored for a retry",
      );
    }
    response.status(200).set("Cache-Control", "no-store").json({ received: true });
  };
}

/** @throws HttpError 400 unless Stripe signed the event within the last five minutes */
function verified(
  webhooks: typeof Stripe.webhooks,
  body: Buffer,
  signature: string | string[] | undefined,
  secret: string,
): unknown {
  try {
    return webhooks.constructEvent(body, signature ?? "", secret, TOLERANCE_SECONDS);
  } catch {
    throw new HttpError(400, "BAD_REQUEST", "Invalid event.");
  }
}
