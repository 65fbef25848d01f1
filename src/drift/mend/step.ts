import type { Catalogue, CatalogueObject } from "../catalogue.ts";
import type { Dependencies } from "./dependencies.ts";
import type { SqlSource } from "./sql-source.ts";

/** The order of the statements. Within CREATE, an object follows those that its text mentions. */
export const PHASES = [
  "administrator",
  "rename",
  "revoke",
  "drop",
  "type",
  "create",
  "alter",
  "constraint",
  "index",
  "foreign key",
  "trigger",
  "policy",
  "drop unused",
  "grant",
  "comment",
  "finish",
] as const;
export type Phase = (typeof PHASES)[number];

/** A statement that mends a part of a difference, or a remark about what no statement can mend. */
export interface Step {
  readonly phase: Phase;
  /** With the placeholders of migrations for the names of roles; empty for a remark. */
  readonly sql: string;
  /** In the phase "create", the name by which other statements mention the object. */
  readonly makes?: string;
  /** The object that the statement drops. */
  readonly drops?: string;
  /** Why a person must decide about the statement, or what remains to be done. */
  readonly manual?: string;
}

/** Stands for the steps of an object that must be dropped and created again, with everything that depends on it. */
export const REBUILD = "rebuild";

export const remark = (phase: Phase, manual: string): Step => ({ phase, sql: "", manual });

/** The facts that all parts of the mend share. */
export interface MendContext {
  /** The state that the migrations make, with the partitions of this database. */
  readonly expected: Catalogue;
  readonly found: Catalogue;
  readonly source: SqlSource;
  readonly dependencies: Dependencies;
  /** The quoted name of the database. */
  readonly database: string;
}

export function isPartition({ name, on }: CatalogueObject, catalogue: Catalogue): boolean {
  return catalogue.get(`table ${on ?? name}`)?.properties["partition of"] !== undefined;
}
