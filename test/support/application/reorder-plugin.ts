import "postgraphile";
import { context, get, type Step, sideEffect } from "postgraphile/grafast";
import { extendSchema, gql } from "postgraphile/utils";
import { clientError, requireClaims } from "../../../src/index.ts";

/** reorder: a mutation that runs SQL with the caller's rights and raises typed errors. */
export const ReorderPlugin = extendSchema(
  () => ({
    typeDefs: gql`
      input ReorderInput {
        orderId: UUID!
        quantity: Int!
      }

      type ReorderPayload {
        """The id of the new order."""
        newOrderId: UUID!
      }

      extend type Mutation {
        """Orders the same product again."""
        reorder(input: ReorderInput!): ReorderPayload
      }
    `,
    objects: {
      Mutation: {
        plans: {
          reorder: (_$root: Step, args: { getRaw(path: string): Step }) =>
            sideEffect(
              [args.getRaw("input"), context()],
              async ([input, { plinth, withPgClient, pgSettings }]) => {
                requireClaims(plinth.request);
                const { orderId, quantity } = input as { orderId: string; quantity: number };
                if (quantity > 100)
                  throw clientError("BAD_USER_INPUT", "Order at most 100 at once.", { field: "quantity" });
                const { rows } = await withPgClient(pgSettings, (client) =>
                  client.query<{ id: string }>({
                    text: `insert into shop.orders (product_id, quantity)
                         select o.product_id, $2 from shop.orders o where o.id = $1
                         returning id`,
                    values: [orderId, quantity],
                  }),
                );
                if (!rows[0]) throw clientError("NOT_FOUND", "You have no such order.", { field: "orderId" });
                return { newOrderId: rows[0].id };
              },
            ),
        },
      },
      ReorderPayload: {
        plans: { newOrderId: ($payload: Step<{ newOrderId: string }>) => get($payload, "newOrderId") },
      },
    },
  }),
  "ShopReorderPlugin",
);
