import { basename } from "node:path";
import { isObject } from "../../support/is-object.ts";
import { readNdjsonLines } from "../files/ndjson-lines.ts";
import type { ImportOptions, ImportSummary } from "../import.ts";
import { createRepeatFinder } from "../repeats.ts";
import { type Reading, runImport } from "../run-import.ts";
import { type ContentLine, contentLineProblem } from "./content-line.ts";

/** Large enough that round trips do not matter, small enough for the memory that long texts need. */
const BATCH_SIZE = 100;

/**
 * Imports categories and items from a file of one JSON object a line, in the form that `exportContent` writes. A line may refer
 * (by category, course and prerequisites) only to earlier lines or to rows in the database. A line replaces all data of its item
 * except author, ratings and access of single users; a changed body becomes a new version.
 * @throws PlinthError when the file cannot be used (see readNdjsonLines), or IMPORT_CANCELLED.
 */
export function importContent(path: string, options: ImportOptions): Promise<ImportSummary> {
  return runImport(options, {
    readings: readContent(path),
    sql: "select ordinal, outcome, message from private.import_content($1::jsonb)",
    batchSize: BATCH_SIZE,
  });
}

/** Reads the lines of a content file, each as an item to send or a rejection. */
async function* readContent(path: string): AsyncGenerator<Reading> {
  const file = basename(path);
  const place = createRepeatFinder();
  for await (const { line, value, problem } of readNdjsonLines(path)) {
    const name = nameOf(value);
    const message = problem ?? contentLineProblem(value);
    if (message) {
      yield { rejection: { file, line, ...(name ? { name } : {}), message } };
      continue;
    }
    const payload = value as ContentLine;
    yield place({ file, line, name: name!, payload }, `${payload.kind} ${name}`);
  }
}

/** The slug of an item or the path of a category. */
function nameOf(value: unknown): string | undefined {
  if (!isObject(value)) return undefined;
  const { kind, slug, path } = value;
  const name = kind === "category" ? path : slug;
  return typeof name === "string" && name ? name : undefined;
}
