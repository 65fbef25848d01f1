import { GRANTEES } from "./grants.ts";
import type { Equivalents } from "./score.ts";

// Mutants of grants that change nothing for anyone, by name, each with the reason. The test fails if it detects one of them.

export const EQUIVALENT_GRANTS: Equivalents = new Map(
  GRANTEES.filter((grantee) => grantee !== "user").map((grantee) => [
    `learning.search_document(text,text,text,text[]): execute granted to ${grantee}`,
    "The function calls plinth.search_document as its caller, and only users may execute that.",
  ]),
);
