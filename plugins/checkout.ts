import "postgraphile";
import { constant, get, type Step } from "postgraphile/grafast";
import { extendSchema, gql } from "postgraphile/utils";
import type { Checkout } from "../src/payments/checkout.ts";
import { PlinthError } from "../src/support/errors.ts";
import { mutationField, mutationFieldWithoutInput } from "./mutation-field.ts";

/** createCheckout and createBillingPortal: pages of the payment provider, which only HTTP can ask for. */
export const CheckoutPlugin = extendSchema(
  () => ({
    typeDefs: gql`
      input CreateCheckoutInput {
        """A plan on offer that costs something."""
        planId: UUID!
      }

      """A page of the payment provider."""
      type CheckoutPayload {
        """Where the browser goes next."""
        url: String!
        query: Query
      }

      extend type Mutation {
        """
        A page on which the signed-in user pays for a plan. The subscription begins when the provider tells of the
        payment. CONFLICT when the plan is not sold or the user pays already.
        """
        createCheckout(input: CreateCheckoutInput!): CheckoutPayload
        """
        A page on which the signed-in user changes or cancels what the provider bills. NOT_FOUND when they never paid there.
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
  if (!plinth.checkout) throw new PlinthError("UNAVAILABLE", "This server sells nothing.");
  return plinth.checkout;
}
