import type { Domains } from "./domains.ts";
import type { PageData } from "./page-data.ts";

/** The tables and views of a database, for pictures. */
export interface SchemaModel {
  /** Names the DBML file. */
  readonly project: string;
  readonly domains: Domains;
  /** The schemas that have a picture of their own. The tables of others are only those that are referred to. */
  readonly drawn: readonly string[];
  readonly relations: readonly Relation[];
  readonly references: readonly Reference[];
  readonly page: PageData;
}

export interface Relation {
  readonly schema: string;
  readonly name: string;
  readonly kind: "table" | "view";
  readonly comment: string;
  readonly columns: readonly Column[];
  /** Columns of the primary key. */
  readonly primaryKey: readonly string[];
  readonly uniqueKeys: readonly (readonly string[])[];
}

export interface Column {
  readonly name: string;
  readonly type: string;
  readonly isRequired: boolean;
  readonly default: string | null;
  readonly comment: string;
}

/** A foreign key. */
export interface Reference {
  readonly name: string;
  readonly from: RelationName;
  readonly columns: readonly string[];
  readonly to: RelationName;
  readonly toColumns: readonly string[];
  readonly onDelete: string;
  /** Whether at most one row references each row. */
  readonly isUnique: boolean;
}

export interface RelationName {
  readonly schema: string;
  readonly name: string;
}
