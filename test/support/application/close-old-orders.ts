import { inBatches } from "../../../src/jobs/job.ts";

export const closeOldOrders = inBatches("select shop.close_old_orders($1) as handled", 100);
