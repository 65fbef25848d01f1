import type Stripe from "stripe";
import type { Config } from "../config/config.ts";
import { type RequestContext, requireClaims } from "../request/context.ts";
import type { CallPrivateFunction } from "../request/service-caller.ts";
import { PlinthError } from "../support/errors.ts";
import { kindOfStripeError, openStripe } from "./stripe.ts";

/** Pages of the payment provider for the signed-in user. */
export interface Checkout {
  /** @throws PL401, PL404, PL409 of private.prepare_checkout; PlinthError UNAVAILABLE when Stripe does not answer */
  createCheckout(planId: string, request: RequestContext): Promise<{ url: string }>;
  /** @throws PlinthError UNAUTHENTICATED, NOT_FOUND, UNAVAILABLE */
  createBillingPortal(request: RequestContext): Promise<{ url: string }>;
}

interface Prepared {
  readonly user_id: string;
  readonly email: string | null;
  readonly provider_customer_id: string | null;
  readonly provider_price_id: string;
  readonly billing_cycle: "monthly" | "yearly" | "lifetime";
  readonly trial_days: number;
}

/** Short, because a person waits for the page. */
const TIMEOUT_MS = 10_000;

/**
 * Creates pages of Stripe Checkout (https://docs.stripe.com/api/checkout/sessions/create).
 * @returns undefined unless a key and a return URL are set
 */
export async function createCheckout(options: {
  settings: Config["payments"];
  callPrivateFunction: CallPrivateFunction;
}): Promise<Checkout | undefined> {
  const { checkoutReturnUrl } = options.settings;
  const stripe = await openStripe(options.settings, TIMEOUT_MS);
  if (!stripe || !checkoutReturnUrl) return undefined;
  const { callPrivateFunction } = options;
  return {
    async createCheckout(planId, request) {
      const [prepared] = await callPrivateFunction<Prepared>(
        request,
        "select * from private.prepare_checkout($1, 'stripe')",
        [planId],
      );
      if (!prepared) throw new PlinthError("NOT_FOUND", "The plan is not on offer.");
      return page(() => stripe.checkout.sessions.create(sessionOf(prepared, planId, checkoutReturnUrl)));
    },
    async createBillingPortal(request) {
      requireClaims(request);
      const [found] = await callPrivateFunction<{ customer: string | null }>(
        request,
        "select private.find_customer('stripe') as customer",
        [],
      );
      const customer = found?.customer;
      if (!customer) throw new PlinthError("NOT_FOUND", "You have no payments to manage.");
      return page(() => stripe.billingPortal.sessions.create({ customer, return_url: checkoutReturnUrl }));
    },
  };
}

/** The user is passed in metadata, which only this server writes, so a shared link cannot set it. */
function sessionOf(
  prepared: Prepared,
  planId: string,
  returnUrl: string,
): Stripe.Checkout.SessionCreateParams {
  const { provider_customer_id: customer, email, trial_days: trialDays } = prepared;
  const metadata = { plinth_user_id: prepared.user_id, plinth_plan_id: planId };
  const isForLife = prepared.billing_cycle === "lifetime";
  return {
    mode: isForLife ? "payment" : "subscription",
    line_items: [{ price: prepared.provider_price_id, quantity: 1 }],
    client_reference_id: prepared.user_id,
    metadata,
    ...(customer ? { customer } : email ? { customer_email: email } : {}),
    ...(isForLife
      ? { payment_intent_data: { metadata }, ...(customer ? {} : { customer_creation: "always" as const }) }
      : { subscription_data: { metadata, ...(trialDays > 0 ? { trial_period_days: trialDays } : {}) } }),
    success_url: withOutcome(returnUrl, "success"),
    cancel_url: withOutcome(returnUrl, "canceled"),
  };
}

function withOutcome(returnUrl: string, outcome: string): string {
  const url = new URL(returnUrl);
  url.searchParams.set("checkout", outcome);
  return url.href;
}

async function page(create: () => Promise<{ url?: string | null }>): Promise<{ url: string }> {
  try {
    const { url } = await create();
    if (url) return { url };
  } catch (error) {
    throw new PlinthError("UNAVAILABLE", "The payment provider does not respond; try again later.", {
      cause: new Error(kindOfStripeError(error)),
    });
  }
  throw new PlinthError("UNAVAILABLE", "The payment provider returned no page; try again later.");
}
