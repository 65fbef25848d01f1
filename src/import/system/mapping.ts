import type pg from "pg";
import type { EmailHasher } from "../../auth/email-hasher.ts";
import type { ForeignPasswordHash } from "../../auth/foreign-password-hash.ts";

/**
 * Form in which a column of the source is read. Databases and files store the same value in different ways; the mapping sees one:
 * - `id`: a key as text, `uuid`: a UUID as text
 * - `text`, `integer` (up to 2^53), `number`, `boolean`
 * - `time`: ISO 8601 with zone and microseconds; without a zone it is UTC, a number is seconds or milliseconds since 1970
 * - `json`: the parsed value
 * - `bytes`: a Buffer; in files hexadecimal after \x, or base64
 * With `?`, the source may lack the column, and a value of another form is left out. Without it, such a row is.
 */
export type Kind = "id" | "uuid" | "text" | "integer" | "number" | "boolean" | "time" | "json" | "bytes";
export type Columns = Readonly<Record<string, Kind | `${Kind}?`>>;

interface Forms {
  id: string;
  uuid: string;
  text: string;
  integer: number;
  number: number;
  boolean: boolean;
  time: string;
  json: unknown;
  bytes: Buffer;
}
type FormOf<K> = K extends keyof Forms
  ? Forms[K]
  : K extends `${infer Base extends Kind}?`
    ? Forms[Base]
    : never;

/** A row of the source; a column is null if the source has no value. */
export type RowOf<C extends Columns> = { readonly [Name in keyof C]: FormOf<C[Name]> | null };
export type Row = Readonly<Record<string, unknown>>;

/** Values of columns of a Plinth table: JSON, Buffers, and references to rows that earlier steps brought. */
export type Values = Readonly<Record<string, unknown>>;

/**
 * A table of Plinth that receives rows.
 * - `insert`: adds a row. Its column `id` is a new UUIDv7 of its created_at, or the source's UUID where the step keeps it.
 * - `find`: links the source's row to an existing one, found by the columns `by`. A row that finds none is left out.
 * - `find or insert`: likewise, but adds the row that is missing.
 * - `update`: changes the row that `by` names, such as the settings that each account has from the start.
 */
export interface Target {
  readonly table: string;
  readonly write: "insert" | "find" | "find or insert" | "update";
  readonly by?: readonly string[];
  /** The reason for a row that finds none. */
  readonly missing?: string;
  /** Columns that change after the import, or that the database may set differently. They are not compared. */
  readonly unverified?: readonly string[];
}

/** A call for each row, where a table alone is not enough, such as a ledger that keeps sums. */
export interface Call {
  /**
   * Whether it runs before the row is written, because a trigger of the row looks for what it stores. Its statement may return
   * `added`, further values of the row as JSON, which are not compared.
   */
  readonly isFirst?: boolean;
  /** Receives $1, a JSON list of {n, values}; must call the function for each and return n of those it has handled. */
  readonly sql: string;
  /** Receives the same list, each with `row_id`; returns n of the rows that differ from what was imported. */
  readonly check?: string;
}

/** A column that did not come along, and the reason, which is the same for all rows that share it and contains none of their values. */
export interface Loss {
  readonly column: string;
  readonly reason: string;
  /** The value that replaces it, such as the new login name, or the name that does not exist here. */
  readonly detail?: string;
}

/** Result of a mapping: values for each target of the step, in their order, null for a target that the row does not need. */
export interface Mapped {
  readonly values: readonly (Values | null)[];
  readonly losses?: readonly Loss[];
}

/** A row that does not come along. */
interface Omitted {
  readonly omitted: string;
}

/** Services that a mapping may use besides its row. */
export interface Context {
  /** The target database, as its owner and within the transaction of the batch. For reading only. */
  readonly client: pg.ClientBase;
  /** Name of the system in plinth.external_ids. */
  readonly system: string;
  /** Hashes addresses and names; undefined without master keys. */
  readonly emailHasher: EmailHasher | undefined;
  readonly privacyMode: boolean;
  /** How the source joins and writes the salts of hashes that do not say it. */
  readonly salt: Pick<ForeignPasswordHash, "order" | "saltEncoding">;
}

/** A row about to be mapped. */
export interface Pending<R> {
  readonly key: string;
  readonly row: R;
  /** Id here of a row that is already imported: the same row is mapped again when the import is verified. */
  readonly rowId: string | undefined;
}

/** A table of the source and the tables that its rows go to. Steps run in order, so a row may refer to rows of earlier steps. */
export interface Step<C extends Columns = Columns, P = unknown> {
  /** Name of the table in the source, and in plinth.external_ids. */
  readonly relation: string;
  /** The table in the source, if an earlier step has its name in plinth.external_ids. */
  readonly table?: string;
  /** Columns of its key: the order in which rows are read, and the external id (joined with colons). */
  readonly key: readonly (keyof C & string)[];
  /** Reads in another order than that of the key, such as "updated_at desc": of rows that find one row here, the first counts. */
  readonly order?: string;
  readonly columns: C;
  /**
   * Other tables of the source whose columns are read with the row, as "table.column": {table: {itsColumn: "column"}}. They have at
   * most one row for each row.
   */
  readonly joins?: Readonly<Record<string, Readonly<Record<string, string>>>>;
  /** Whether the source may lack the table. */
  readonly isOptional?: boolean;
  /** Whether the key is a UUID that the row keeps as its id here if it is free. */
  readonly keepsId?: boolean;
  /** The first one is the row itself; the others are written with it, or not at all. */
  readonly targets: readonly (Target | Call)[];
  /** Reads what `map` needs for a batch in one query. */
  readonly prepare?: (rows: readonly Pending<RowOf<C>>[], context: Context) => Promise<P>;
  /** Must give the same values each time: the import is verified by mapping the row again. */
  readonly map: (
    row: RowOf<C>,
    prepared: P,
    pending: Pending<RowOf<C>>,
  ) => Mapped | Omitted | Promise<Mapped | Omitted>;
}

/** A system that can be moved in. */
export interface SystemMapping {
  /** Name in plinth.external_ids. */
  readonly system: string;
  /** Name in messages. */
  readonly title: string;
  readonly steps: readonly AnyStep[];
  /** Other names that a table may have in the source, such as one with capitals in double quotes. */
  readonly spellings?: Readonly<Record<string, readonly string[]>>;
  /** Tables of the source that do not come along, each with its reason. */
  readonly leaves?: Readonly<Record<string, string>>;
  /** Returns the mapping for one run, if it needs more than its rows. */
  readonly forRun?: (means: Means) => Promise<SystemMapping>;
}

/** Things that a mapping may need besides its rows. */
export interface Means {
  /** The target database, as its owner. */
  readonly client: pg.ClientBase;
  readonly dryRun: boolean;
  /** See parseMasterKeys. */
  readonly masterKeys: string | undefined;
  /** Whether this server may connect to the address of a model. */
  readonly isAllowedEndpoint: (address: string) => boolean;
  /** The hash function and the salt of addresses in the source, if the operator named them. */
  readonly emailHash: string | undefined;
  readonly emailSalt: string;
}

// biome-ignore lint/suspicious/noExplicitAny: A list holds steps of different columns, each of which checks its own.
export type AnyStep = Step<any, any>;

/** Keeps the types of a step's columns. */
export function defineStep<const C extends Columns, P = undefined>(step: Step<C, P>): AnyStep {
  return step;
}
