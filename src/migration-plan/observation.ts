import type { LockMode } from "../database/locks/lock-modes.ts";

/** A table, view or index that exists before a step runs. */
export interface Relation {
  readonly oid: number;
  /** With its schema, as `schema.name`. */
  readonly name: string;
  /** `relkind` of pg_class. */
  readonly kind: string;
  /** The partitioned table or index that it belongs to. */
  readonly parent: string | null;
  /** The table of an index. */
  readonly table: string | null;
}

export interface SeenLock {
  readonly relation: Relation;
  readonly mode: LockMode;
  /** Index of the statement that takes it. */
  readonly statement: number;
}

/** Work whose time grows with the size of the relation. */
export interface SeenWork {
  readonly kind: "rewrite" | "scan" | "index build";
  readonly relation: Relation;
  readonly statement: number;
}

/** Data that the step removes or overwrites. */
export interface SeenLoss {
  readonly kind: "table" | "column" | "truncate" | "delete" | "update" | "rows";
  /** The table, if it is known. */
  readonly relation: Relation | undefined;
  readonly column: string | null;
  readonly statement: number;
}

export interface SeenStatement {
  readonly file: string;
  readonly line: number;
  readonly excerpt: string;
}

export interface Observation {
  readonly statements: readonly SeenStatement[];
  readonly locks: readonly SeenLock[];
  readonly work: readonly SeenWork[];
  readonly losses: readonly SeenLoss[];
  /** The partitions of each partitioned table and index. */
  readonly partitions: ReadonlyMap<string, number>;
}
