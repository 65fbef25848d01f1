import Stripe from "stripe";
import type { Config } from "../config/config.ts";
import type { PaymentProvider } from "./payment-provider.ts";

/** @returns a client of Stripe's API; undefined without a key */
export function openStripe(
  { stripeSecretKey, stripeApiUrl }: Config["payments"],
  timeoutMs: number,
): Stripe | undefined {
  if (!stripeSecretKey) return undefined;
  return new Stripe(stripeSecretKey, {
    ...endpoint(stripeApiUrl),
    timeout: timeoutMs,
    maxNetworkRetries: 1,
    telemetry: false,
  });
}

/** Returns only the kind of error, because Stripe's message quotes the request and parts of the key. */
export function kindOfStripeError(error: unknown): string {
  if (!(error instanceof Stripe.errors.StripeError)) return "Stripe: unexpected error";
  const kind = [error.type, error.code, error.statusCode, error.requestId].filter(Boolean).join(" ");
  return `Stripe: ${kind}`;
}

/** Creates the API with which jobs end subscriptions (https://docs.stripe.com/api/subscriptions/cancel). */
export function stripeForJobs(settings: Config["payments"]): PaymentProvider | undefined {
  const stripe = openStripe(settings, 30_000);
  if (!stripe) return undefined;
  return {
    name: "stripe",
    async cancelSubscription(id) {
      try {
        await stripe.subscriptions.cancel(id);
      } catch (error) {
        if (error instanceof Stripe.errors.StripeError && error.code === "resource_missing") return;
        throw new Error(kindOfStripeError(error));
      }
    },
  };
}

function endpoint(url: string | undefined): { host?: string; port?: number; protocol?: "http" | "https" } {
  if (!url) return {};
  const { protocol, hostname, port } = new URL(url);
  const isPlain = protocol === "http:";
  return {
    host: hostname,
    port: Number(port || (isPlain ? 80 : 443)),
    protocol: isPlain ? "http" : "https",
  };
}
