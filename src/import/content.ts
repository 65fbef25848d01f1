import { createHash } from "node:crypto";
import { basename } from "node:path";
import { type ContentLine, contentLineProblem } from "./content-line.ts";
import type { ImportOptions, ImportSummary } from "./import.ts";
import { readNdjsonLines } from "./ndjson-lines.ts";
import { type Reading, runImport } from "./run-import.ts";

/** Texts are long: large enough that round trips do not count, small enough for memory. */
const BATCH_SIZE = 100;

/**
 * Imports categories and items from a file of one JSON object a line, in the form that `exportContent` writes. What a line
 * names (its category, course and prerequisites) stands before it or is in the database already. A line says everything
 * about its item but its author, its ratings and who is allowed or denied it; a changed body becomes a new version.
 * @throws PlinthError when the file cannot be used (see readNdjsonLines), or IMPORT_CANCELLED.
 */
export function importContent(path: string, options: ImportOptions): Promise<ImportSummary> {
  return runImport(options, {
    readings: readContent(path),
    sql: "select ordinal, outcome, message from private.import_content($1::jsonb)",
    batchSize: BATCH_SIZE,
  });
}

/** The lines of a content file, each as an item to send or a reason not to. */
export async function* readContent(path: string): AsyncGenerator<Reading> {
  const file = basename(path);
  const seen = new Map<string, { line: number; digest: string }>();
  for await (const { line, value, problem } of readNdjsonLines(path)) {
    const name = nameOf(value);
    const place = { file, line, ...(name ? { name } : {}) };
    const message = problem ?? contentLineProblem(value);
    if (message) {
      yield { rejection: { ...place, message } };
      continue;
    }
    const payload = value as ContentLine;
    const key = `${payload.kind} ${name}`;
    const digest = createHash("sha256").update(JSON.stringify(payload)).digest("base64");
    const earlier = seen.get(key);
    if (!earlier) {
      seen.set(key, { line, digest });
      yield { item: { file, line, name: name ?? "", payload } };
    } else if (earlier.digest === digest)
      yield { warning: { ...place, message: `is the same as line ${earlier.line}, and was left out` } };
    // Taking both would make every import change the item twice.
    else
      yield { rejection: { ...place, message: `has the name of line ${earlier.line}, but says otherwise` } };
  }
}

/** The slug of an item or the path of a category. */
function nameOf(value: unknown): string | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const { kind, slug, path } = value as Record<string, unknown>;
  const name = kind === "category" ? path : slug;
  return typeof name === "string" && name ? name : undefined;
}
