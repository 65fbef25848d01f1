import type pg from "pg";
import { PlinthError } from "../support/errors.ts";
import { ignoreProgress, type OnProgress } from "../support/progress.ts";
import { READING, readContents } from "./contents.ts";
import type { Reference } from "./records.ts";

/**
 * Compares the tables of a server with their contents at the time of a backup.
 * @returns a sentence
 * @throws PlinthError BACKUP_DIFFERS
 */
export async function compareContents(
  client: pg.Client,
  { tables }: Reference,
  signal: AbortSignal,
  onProgress: OnProgress = ignoreProgress,
): Promise<string> {
  await client.query(READING);
  const names = Object.keys(tables);
  const contents = await readContents(client, names, signal, (done, total) =>
    onProgress({ step: "Comparing tables", done, total, unit: "tables" }),
  );
  const different = names.find(
    (name) =>
      tables[name]!.rows !== contents[name]!.rows || tables[name]!.checksum !== contents[name]!.checksum,
  );
  if (different)
    throw new PlinthError(
      "BACKUP_DIFFERS",
      `The restored table ${different} has ${contents[different]!.rows} rows that differ from the ${tables[different]!.rows} rows at the time of the backup.`,
    );
  const rows = names.reduce((sum, name) => sum + Number(tables[name]!.rows), 0);
  return `The tables have the rows of the time of the backup (tables: ${names.length}, rows: ${rows}).`;
}
