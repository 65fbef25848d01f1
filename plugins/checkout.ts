import "graphile-build-pg";
import { constant, get, type Step } from "grafast";
import { extendSchema, gql } from "graphile-utils";
import type { Checkout } from "../src/payments/checkout.ts";
import { requireClaims } from "../src/request/context.ts";
import { PlinthError } from "../src/support/errors.ts";
import { mutationField, mutationFieldWithoutInput } from "./mutation-field.ts";

/** createCheckout and createBillingPortal: pages of the payment provider, which are requested over HTTP. */
export const CheckoutPlugin = extendSchema(
  () => ({
    typeDefs: gql`
      input CreateCheckoutInput {
        """A paid plan that is on offer."""
        planId: UUID!
      }

      """A page of the payment provider."""
      type CheckoutPayload {
        """The URL to send the browser to."""
        url: String!
        query: Query
      }

      extend type Mutation {
        """
        Creates a page on which the signed-in user pays for a plan. The subscription starts when the provider reports the
        payment. CONFLICT when the plan is not for sale or the user already pays.
        """
        createCheckout(input: CreateCheckoutInput!): CheckoutPayload
        """
        Creates a page on which the signed-in user changes or cancels subscriptions. NOT_FOUND when the user has never paid.
        """
        createBillingPortal: CheckoutPayload
      }
    `,
    objects: {
      Mutation: {
        plans: {
          createCheckout: mutationField(({ planId }: { planId: string }, context) =>
            checkoutOf(context).createCheckout(planId, context.plinth.request),
          ),
          createBillingPortal: mutationFieldWithoutInput((context) =>
            checkoutOf(context).createBillingPortal(context.plinth.request),
          ),
        },
      },
      CheckoutPayload: {
        plans: {
          url: ($url: Step<{ url: string }>) => get($url, "url"),
          query: () => constant({}),
        },
      },
    },
  }),
  "PlinthCheckoutPlugin",
);

function checkoutOf({ plinth }: Grafast.Context): Checkout {
  requireClaims(plinth.request);
  if (!plinth.checkout) throw new PlinthError("UNAVAILABLE", "Payments are not configured on this server.");
  return plinth.checkout;
}
