import type pg from "pg";

/** What happened to one prompt or model of the file. */
export type Outcome = "inserted" | "updated" | "unchanged" | "rejected";

/** Something the import did not take, or took and wants to mention. */
export interface Remark {
  readonly file: string;
  /** Line of the file where the row begins, counted from 1; not known for JSON that parses. */
  readonly line?: number;
  /** The name of the prompt or model, when the row has one. */
  readonly name?: string;
  readonly message: string;
}

export interface ImportSummary {
  readonly inserted: number;
  readonly updated: number;
  readonly unchanged: number;
  readonly rejected: number;
  /** The first 1,000. */
  readonly rejections: readonly Remark[];
  readonly warned: number;
  /** What was left out and does not count as rejected; the first 1,000. */
  readonly warnings: readonly Remark[];
  /** False when rejected rows made the import take everything back. */
  readonly kept: boolean;
  readonly milliseconds: number;
}

export interface ImportOptions {
  /** Connected as the owner, and not in a transaction. */
  readonly client: pg.ClientBase;
  /**
   * Without it, the import is one transaction and one rejected row takes everything back. With it, each batch is a
   * transaction, so what is good stays, and a second run carries on where an interrupted one stopped.
   */
  readonly keepGoing?: boolean;
  /** Stops between two batches; what is not committed by then is rolled back. */
  readonly signal?: AbortSignal;
  /** Called after each batch with the number of rows read so far. */
  readonly onProgress?: (rows: number) => void;
}

/** How a remark reads in a terminal: `prompts.csv:12: "Poet": the prompt is empty`. */
export function formatRemark(remark: Remark, printable: (text: string) => string): string {
  const place = remark.line === undefined ? remark.file : `${remark.file}:${remark.line}`;
  const name = remark.name === undefined ? "" : ` "${printable(remark.name)}":`;
  return `${printable(place)}:${name} ${remark.message}`;
}

/**
 * What is wrong with a text for PostgreSQL, which stores neither U+0000 nor half of a surrogate pair; undefined for
 * nothing. Found here so that one bad row is named, and not the batch it is in.
 */
export function unstorable(text: string): string | undefined {
  if (text.includes("\0")) return "holds a NUL character";
  return text.isWellFormed() ? undefined : "holds half of a surrogate pair";
}

/** As unstorable(), for every text inside a JSON value, keys included. */
export function unstorableWithin(value: unknown): string | undefined {
  if (typeof value === "string") return unstorable(value);
  if (typeof value !== "object" || value === null) return undefined;
  for (const [key, inner] of Object.entries(value)) {
    const problem = unstorable(key) ?? unstorableWithin(inner);
    if (problem) return problem;
  }
  return undefined;
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
