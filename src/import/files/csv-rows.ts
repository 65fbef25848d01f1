import { createReadStream } from "node:fs";
import { type CsvError, type Info, parse } from "csv-parse";
import { PlinthError } from "../../support/errors.ts";
import { isNotUtf8, notReadable, notText } from "./text-file.ts";

/** A row after the header: its columns by name, or its problem. */
export interface CsvRow {
  /** Line where the row begins, from 1; a row with quoted line breaks continues on the next lines. */
  readonly line: number;
  readonly values: Readonly<Record<string, string>>;
  readonly problem?: string;
}

interface RawRecord {
  record: string[];
  raw: string;
  info: Info;
}

/** Protects memory from a quote that is never closed; far above real rows. */
const MAX_ROW_CHARACTERS = 4_000_000;
const CHUNK_BYTES = 64 * 1024;

/**
 * Reads a CSV file (RFC 4180: quoted fields may contain commas, line breaks and doubled quotes; CRLF, LF or CR; with or without a
 * byte order mark) as a stream. An invalid row affects only itself: reading continues after its line. If that is impossible (an
 * unclosed quote, text that is not UTF-8), the last row has the reason.
 * @throws PlinthError FILE_* when the file cannot be read, is empty or is not text, CSV_HEADER when a column is missing.
 */
export async function* readCsvRows(path: string, columns: readonly string[]): AsyncGenerator<CsvRow> {
  const queue: CsvRow[] = [];
  let header: string[] | undefined;
  let ending: string | undefined;
  let line = 1;

  const accept = ({ record, raw }: RawRecord): null => {
    const begin = line + countLineBreaks(/^[\r\n]*/.exec(raw)?.[0] ?? "");
    line += countLineBreaks(raw);
    if (header) queue.push(toRow(header, begin, record, raw.replace(/^[\r\n]+/, "")));
    else header = checkedHeader(path, record, columns);
    return null;
  };
  const parser = parse({
    bom: true,
    info: true,
    raw: true,
    // Rows are taken here, because the readable side would drop the last rows when an error ends it.
    on_record: (record) => accept(record as unknown as RawRecord),
    record_delimiter: ["\r\n", "\n", "\r"],
    // Lenient, so that the parser continues after an invalid row; toRow() then checks each row.
    relax_column_count: true,
    relax_quotes: true,
    skip_empty_lines: true,
    max_record_size: MAX_ROW_CHARACTERS,
  });
  let failure: Error | undefined;
  parser.on("error", (error: Error) => {
    failure ??= error;
  });
  /** The parser works synchronously, so the chunk's rows are in the queue when this resolves. */
  const feed = (chunk: Buffer | undefined): Promise<void> =>
    new Promise((resolve) => {
      if (chunk) parser.write(chunk, () => resolve());
      else parser.on("close", resolve).resume().end();
    });

  for await (const chunk of readChunks(path)) {
    if (chunk !== "not text") await feed(chunk);
    else if (header) ending = "is not UTF-8 text";
    else throw notText(path);
    yield* queue.splice(0);
    if (failure || ending) break;
  }
  if (!failure && !ending) await feed(undefined);
  yield* queue.splice(0);
  if (failure) ending = endingOf(failure);
  if (ending && header) yield { line, values: {}, problem: `${ending}; the rest of the file was not read` };
  if (!header && ending) throw new PlinthError("CSV_HEADER", `${path}:${line}: ${ending}.`);
  if (!header) throw new PlinthError("FILE_EMPTY", `${path} is empty.`, { hint: headerHint(columns) });
}

/** Returns the reason that the parser stopped. */
function endingOf(failure: Error): string {
  if (failure instanceof PlinthError) throw failure;
  const { code, message } = failure as CsvError;
  if (code === "CSV_QUOTE_NOT_CLOSED") return "a quote is never closed";
  if (code === "CSV_MAX_RECORD_SIZE") return "the row is too long, perhaps because a quote is never closed";
  return message;
}

async function* readChunks(path: string): AsyncGenerator<Buffer | "not text"> {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  try {
    for await (const chunk of createReadStream(path, { highWaterMark: CHUNK_BYTES })) {
      decoder.decode(chunk as Buffer, { stream: true });
      yield chunk as Buffer;
    }
    decoder.decode();
  } catch (error) {
    if (!isNotUtf8(error)) throw notReadable(path, error, "file");
    yield "not text";
  }
}

function toRow(header: string[], line: number, record: string[], raw: string): CsvRow {
  const values = Object.fromEntries(header.map((name, index) => [name, record[index] ?? ""]));
  if (!isWellQuoted(raw))
    return { line, values, problem: "a quote is misplaced; inside a quoted field, double it" };
  if (record.length !== header.length)
    return { line, values, problem: `has ${record.length} fields instead of ${header.length}` };
  return { line, values };
}

/** Whether each field either contains no quotes or is quoted as a whole. */
function isWellQuoted(raw: string): boolean {
  const field = /(?:"[^"]*(?:""[^"]*)*"|[^",\r\n]*)(,|\r\n?|\n|$)/y;
  while (field.lastIndex < raw.length) {
    const match = field.exec(raw);
    if (!match) return false;
    if (match[1] !== ",") return field.lastIndex >= raw.length;
  }
  return true;
}

function countLineBreaks(text: string): number {
  let count = 0;
  for (const _ of text.matchAll(/\r\n?|\n/g)) count += 1;
  return count;
}

function checkedHeader(path: string, record: string[], columns: readonly string[]): string[] {
  const header = record.map((name) => name.trim());
  const missing = columns.filter((name) => !header.includes(name));
  if (missing.length > 0)
    throw new PlinthError(
      "CSV_HEADER",
      `The first line of ${path} does not contain ${missing.length > 1 ? "the columns" : "the column"} ${missing.join(", ")}.`,
      { hint: headerHint(columns) },
    );
  if (new Set(header).size < header.length)
    throw new PlinthError("CSV_HEADER", `The first line of ${path} names a column twice.`);
  return header;
}

function headerHint(columns: readonly string[]): string {
  return `The first line must contain the columns ${columns.join(",")}.`;
}
