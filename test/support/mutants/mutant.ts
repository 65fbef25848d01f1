import type { Role } from "../../../src/config/roles.ts";

/** A fault in the access rules. */
export interface Mutant {
  /** Kind of fault, the line of the score it counts in. */
  readonly kind: string;
  /** `schema.name` of the table, view or function whose probes have to notice the fault. */
  readonly object: string;
  /** Unique name, which the list of equivalent mutants uses. */
  readonly name: string;
  readonly sql: string;
  /** The role whose access changes, if it is one: its probes notice the fault first. */
  readonly role?: Role | undefined;
}
