import "postgraphile";
import { constant, context, get, type Step, sideEffect } from "postgraphile/grafast";
import { extendSchema, gql } from "postgraphile/utils";
import { PlinthError } from "../src/errors.ts";
import type { RequestContext } from "../src/server/request-context.ts";
import type { Shop } from "../src/server/shop.ts";

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
          createCheckout: (_$root: Step, args: { getRaw(path: string): Step }) =>
            pageOf(args.getRaw("input") as Step<{ planId: string }>, (shop, { planId }, request) =>
              shop.createCheckout(planId, request),
            ),
          createBillingPortal: () =>
            pageOf(constant(null), (shop, _input, request) => shop.createBillingPortal(request)),
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

function pageOf<TInput>(
  $input: Step<TInput>,
  ask: (shop: Shop, input: TInput, request: RequestContext) => Promise<{ url: string }>,
) {
  // A side effect of its own and not one with a database client: that would hold a transaction while the provider thinks.
  return sideEffect([$input, context()], async ([input, { plinth }]) => {
    if (!plinth.shop) throw new PlinthError("UNAVAILABLE", "This server sells nothing.");
    return ask(plinth.shop, input as TInput, plinth.request);
  });
}
