import type { JobFunction } from "../../../src/jobs/index.ts";

export const thankCustomer: JobFunction = async ({ query, payload }) => {
  const { orderId } = payload as { orderId: string };
  const rows = await query("select shop.thank($1) as thanked", [orderId]);
  return { rows: rows.length };
};
