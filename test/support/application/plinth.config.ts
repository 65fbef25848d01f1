import { defineApplication } from "../../../src/application/application.ts";
import { closeOldOrders } from "./close-old-orders.ts";
import { ReorderPlugin } from "./reorder-plugin.ts";
import { thankCustomer } from "./thank-customer.ts";

/** The application of test/application: products, orders, a plugin and two jobs. */
export default defineApplication({
  schemas: ["shop"],
  migrations: "./migrations",
  plugins: [ReorderPlugin],
  jobs: [
    {
      name: "close-old-orders",
      cron: "0 0 29 2 *",
      reason: "An order that nobody paid for a week is not wanted any more.",
      run: closeOldOrders,
    },
    { name: "thank-customer", reason: "Thanks a customer for an order.", run: thankCustomer },
  ],
});
