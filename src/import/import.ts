import type pg from "pg";
import type { OnProgress } from "../support/progress.ts";

/** The outcome for one row of the file. */
export type Outcome = "inserted" | "updated" | "unchanged" | "rejected";

/** A rejection or a warning. */
export interface Remark {
  readonly file: string;
  /** Line of the file where the row begins, from 1; unknown for valid JSON. */
  readonly line?: number;
  /** The name of the row's object, if it has one. */
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
  /** Omissions that do not count as rejected; the first 1,000. */
  readonly warnings: readonly Remark[];
  /** False if the import was rolled back because of rejected rows. */
  readonly kept: boolean;
  readonly milliseconds: number;
}

export interface ImportOptions {
  /** Connected as the owner, and not in a transaction. */
  readonly client: pg.ClientBase;
  /**
   * If false, the import is one transaction, and a rejected row rolls everything back. If true, each batch is a transaction, so
   * valid rows are kept, and a second run continues after an interruption.
   */
  readonly keepGoing?: boolean;
  /** Stops between two batches; uncommitted rows are rolled back. */
  readonly signal?: AbortSignal;
  /** Called after each batch with the number of rows read so far. */
  readonly onProgress?: OnProgress;
}

/** Formats a remark for a terminal: `prompts.csv:12: "Poet": the prompt is empty`. */
export function formatRemark(remark: Remark, printable: (text: string) => string): string {
  const place = remark.line === undefined ? remark.file : `${remark.file}:${remark.line}`;
  const name = remark.name === undefined ? "" : ` "${printable(remark.name)}":`;
  return `${printable(place)}:${name} ${remark.message}`;
}

/**
 * Returns the reason that PostgreSQL cannot store a text, or undefined. It stores neither U+0000 nor half of a surrogate pair.
 * Checked here so that the error names the row, not its batch.
 */
export function unstorable(text: string): string | undefined {
  if (text.includes("\0")) return "contains a NUL character";
  return text.isWellFormed() ? undefined : "contains half of a surrogate pair";
}

/** Like unstorable(), for all texts in a JSON value, including keys. */
export function unstorableWithin(value: unknown): string | undefined {
  if (typeof value === "string") return unstorable(value);
  if (typeof value !== "object" || value === null) return undefined;
  for (const [key, inner] of Object.entries(value)) {
    const problem = unstorable(key) ?? unstorableWithin(inner);
    if (problem) return problem;
  }
  return undefined;
}
