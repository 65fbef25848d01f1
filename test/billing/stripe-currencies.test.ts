import { expect, test } from "@jest/globals";
import { readStripeEvent } from "../../src/payments/stripe-event.ts";
import { event } from "./stripe.ts";

// Stripe's unit of an amount is not always the smallest unit of ISO 4217, which analytics.major_units() expects.

test.each([
  ["usd", 1999, 1999],
  ["jpy", 1999, 1999],
  ["kwd", 12500, 12500],
  ["isk", 500, 5],
  ["ugx", 3_700_000, 37_000],
  ["mga", 5000, 500_000],
])("reads payments and refunds in %s in the currency's smallest unit", (currency, stripes, ours) => {
  const payload = (type: string, object: Record<string, unknown>) =>
    readStripeEvent(event("evt_1", type, 0, { ...object, currency })).payload;
  expect(payload("invoice.paid", { amount_paid: stripes }).amount).toBe(ours);
  expect(payload("invoice.payment_failed", { amount_due: stripes }).amount).toBe(ours);
  const purchase = { mode: "payment", payment_status: "paid", amount_total: stripes };
  expect(payload("checkout.session.completed", purchase).amount).toBe(ours);
  expect(payload("charge.refunded", { amount_refunded: stripes }).refunded).toBe(ours);
  expect(payload("refund.failed", { status: "failed", amount: stripes }).refunded).toBe(ours);
});
