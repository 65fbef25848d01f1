import type Stripe from "stripe";
import type { Config } from "../config/config.ts";
import { importOptional } from "../support/optional-package.ts";
import type { PaymentProvider } from "./payment-provider.ts";

/**
 * Loads Stripe's package, which only installations with payments need.
 * @throws PlinthError PACKAGE_MISSING
 */
export const loadStripe = async (): Promise<typeof Stripe> =>
  (await importOptional("stripe", () => import("stripe"))).default;

/** @returns a client of Stripe's API; undefined without a key */
export async function openStripe(
  { stripeSecretKey, stripeApiUrl }: Config["payments"],
  timeoutMs: number,
): Promise<Stripe | undefined> {
  if (!stripeSecretKey) return undefined;
  const Client = await loadStripe();
  return new Client(stripeSecretKey, {
    ...endpoint(stripeApiUrl),
    timeout: timeoutMs,
    maxNetworkRetries: 1,
    telemetry: false,
  });
}

/** Returns only the kind of error, because Stripe's message quotes the request and parts of the key. */
export function kindOfStripeError(error: unknown): string {
  if (!isStripeError(error)) return "Stripe: unexpected error";
  const kind = [error.type, error.code, error.statusCode, error.requestId].filter(Boolean).join(" ");
  return `Stripe: ${kind}`;
}

/** Creates the API with which jobs end subscriptions (https://docs.stripe.com/api/subscriptions/cancel). */
export async function stripeForJobs(settings: Config["payments"]): Promise<PaymentProvider | undefined> {
  const stripe = await openStripe(settings, 30_000);
  if (!stripe) return undefined;
  return {
    name: "stripe",
    async cancelSubscription(id) {
      try {
        await stripe.subscriptions.cancel(id);
      } catch (error) {
        if (isStripeError(error) && error.code === "resource_missing") return;
        throw new Error(kindOfStripeError(error));
      }
    },
  };
}

/** All errors of Stripe's package have a `type` such as StripeCardError. */
function isStripeError(error: unknown): error is Stripe.errors.StripeError {
  return error instanceof Error && /^Stripe[A-Z]/.test(String((error as { type?: unknown }).type));
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
