import type pg from "pg";
import { PlinthError } from "../errors.ts";

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
  readonly rejections: readonly Remark[];
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

/** Words a failure to open or read a file. */
export function fileError(path: string, cause: unknown, expected: "file" | "folder"): PlinthError {
  const code = (cause as NodeJS.ErrnoException | null)?.code ?? "";
  const reasons: Record<string, [string, string]> = {
    ENOENT: ["FILE_NOT_FOUND", `There is no ${expected} ${path}.`],
    EISDIR: ["FILE_IS_FOLDER", `${path} is a folder, but must be a file.`],
    ENOTDIR: ["FOLDER_IS_FILE", `${path} is a file, but must be a folder.`],
    EACCES: ["FILE_NOT_READABLE", `${path} may not be read by this user.`],
    EPERM: ["FILE_NOT_READABLE", `${path} may not be read by this user.`],
  };
  const [name, message] = reasons[code] ?? [
    "FILE_NOT_READABLE",
    `${path} cannot be read: ${cause instanceof Error ? cause.message : cause}`,
  ];
  return new PlinthError(name, message, { cause });
}

export function notText(path: string): PlinthError {
  return new PlinthError("FILE_NOT_TEXT", `${path} is not UTF-8 text.`, {
    hint: "Save it as UTF-8, and check that it is the file you meant.",
  });
}

/** Whether a strict TextDecoder threw this. By code: the error may come from another realm than this TypeError. */
export function isNotUtf8(error: unknown): boolean {
  return (error as NodeJS.ErrnoException | null)?.code === "ERR_ENCODING_INVALID_ENCODED_DATA";
}
