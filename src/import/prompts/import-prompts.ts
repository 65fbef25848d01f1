import { basename } from "node:path";
import { type CsvRow, readCsvRows } from "../files/csv-rows.ts";
import { type ImportOptions, type ImportSummary, unstorable } from "../import.ts";
import { createRepeatFinder } from "../repeats.ts";
import { type Reading, runImport } from "../run-import.ts";

/** Columns of the prompt file, in any order; others are ignored. */
const PROMPT_COLUMNS = ["act", "prompt", "for_devs", "type", "contributor"] as const;

/** Large enough that round trips do not matter, small enough for smooth progress and a quick cancellation. */
const BATCH_SIZE = 200;

/**
 * Imports the prompts of a CSV file: `act` is the name (trimmed, unique), `prompt` the content, `for_devs` TRUE or
 * FALSE, `type` such as TEXT, `contributor` one or more names separated by commas.
 * @throws PlinthError when the file cannot be used (see readCsvRows), or IMPORT_CANCELLED.
 */
export function importPrompts(path: string, options: ImportOptions): Promise<ImportSummary> {
  return runImport(options, {
    readings: readPrompts(path),
    sql: "select ordinal, outcome, message from private.import_prompts($1::jsonb)",
    batchSize: BATCH_SIZE,
  });
}

/** Reads the rows of a prompt file, each as an item to send or a rejection. */
async function* readPrompts(path: string): AsyncGenerator<Reading> {
  const file = basename(path);
  const place = createRepeatFinder();
  for await (const row of readCsvRows(path, PROMPT_COLUMNS)) {
    const name = (row.values.act ?? "").trim();
    const { line } = row;
    const message = row.problem ?? promptProblem(name, row);
    if (message) {
      yield { rejection: { file, line, ...(name ? { name } : {}), message } };
      continue;
    }
    const payload = {
      name,
      content: row.values.prompt,
      type: row.values.type?.trim(),
      forDevelopers: isTrue(row.values.for_devs),
      contributors: listOf(row.values.contributor ?? ""),
    };
    yield place({ file, line, name, payload });
  }
}

function promptProblem(name: string, { values }: CsvRow): string | undefined {
  if (!name) return "the name (act) is empty";
  if (!values.prompt?.trim()) return "the content (prompt) is empty";
  if (!/^(true|false)$/i.test(values.for_devs?.trim() ?? "")) return "for_devs must be TRUE or FALSE";
  if (!values.type?.trim()) return "the type is empty";
  for (const column of PROMPT_COLUMNS) {
    const problem = unstorable(values[column] ?? "");
    if (problem) return `${column} ${problem}`;
  }
  return undefined;
}

function isTrue(text: string | undefined): boolean {
  return text?.trim().toLowerCase() === "true";
}

function listOf(text: string): string[] {
  return text
    .split(",")
    .map((name) => name.trim())
    .filter(Boolean);
}
