/** The data of the schema's page: written into it as JSON and read by the scripts in page/. Empty properties are left out. */
export interface PageData {
  readonly title: string;
  /** The roles whose grants are shown. */
  readonly roles: readonly PageRole[];
  readonly schemas: readonly PageSchema[];
  readonly relations: readonly PageRelation[];
  readonly functions: readonly PageFunction[];
  readonly types: readonly PageType[];
  readonly aliases: readonly Alias[];
}

export interface PageRole {
  readonly name: string;
  readonly text: string;
}

interface PageSchema {
  readonly name: string;
  readonly comment: string;
  readonly color: string;
}

export interface PageRelation {
  readonly schema: string;
  readonly name: string;
  readonly kind: "table" | "view" | "materialized view";
  readonly comment: string;
  readonly columns: readonly PageColumn[];
  readonly primaryKey?: readonly string[];
  readonly constraints?: readonly PageDefinition[];
  readonly references?: readonly PageReference[];
  readonly indexes?: readonly PageDefinition[];
  readonly policies?: readonly PagePolicy[];
  readonly triggers?: readonly PageDefinition[];
  /** By role and operation: `*`, or the columns. */
  readonly grants?: Readonly<Record<string, Readonly<Record<string, "*" | readonly string[]>>>>;
  readonly hasRowSecurity?: boolean;
  readonly partitionKey?: string;
  /** A view with the rights of its reader, so that the policies of its tables apply. */
  readonly isInvoker?: boolean;
  /** The query of a view. */
  readonly query?: string;
}

export interface PageColumn {
  readonly name: string;
  readonly type: string;
  readonly comment: string;
  readonly isRequired?: boolean;
  readonly default?: string;
  /** Whether it is computed from other columns or numbered by PostgreSQL, and how. */
  readonly generated?: string;
  /** The class of personal data. */
  readonly personalData?: string;
}

export interface PageReference {
  readonly columns: readonly string[];
  readonly to: string;
  readonly toColumns: readonly string[];
  readonly onDelete: string;
}

/** A constraint, index or trigger. */
export interface PageDefinition {
  readonly name: string;
  readonly text: string;
  readonly comment?: string;
}

export interface PagePolicy {
  readonly name: string;
  readonly command: string;
  readonly roles: readonly string[];
  readonly comment: string;
  readonly isRestrictive?: boolean;
  readonly using?: string;
  readonly check?: string;
}

export interface PageFunction {
  readonly schema: string;
  readonly name: string;
  readonly arguments: string;
  readonly returns: string;
  readonly comment: string;
  /** `stable` or `immutable`; otherwise it may change data. */
  readonly volatility?: string;
  readonly isDefiner?: boolean;
  readonly callers?: readonly string[];
}

export interface PageType {
  readonly schema: string;
  readonly name: string;
  readonly kind: string;
  readonly text: string;
  readonly comment: string;
}

/** The name of a table, column or function in the documents of a system that Plinth replaces. */
export interface Alias {
  readonly system: string;
  readonly name: string;
  /** Plinth's name, with its schema. */
  readonly to: string;
}
