import { ACCOUNTS } from "./accounts.ts";
import { DOCUMENTS } from "./documents.ts";
import { PRODUCT } from "./product.ts";
import type { ViewSpecification } from "./specification.ts";
import { USAGE } from "./usage.ts";

/** Every view of analytics has an entry; add a new view to the file of its topic. */
export const SPECIFICATIONS: Readonly<Record<string, ViewSpecification>> = {
  ...ACCOUNTS,
  ...DOCUMENTS,
  ...USAGE,
  ...PRODUCT,
};
