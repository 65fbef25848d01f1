import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { extname, join } from "node:path";

/** Generated files by name, such as `identity.sql`. */
export type SchemaFiles = ReadonlyMap<string, string>;

export interface StaleFile {
  name: string;
  /** The lines that differ: `-` is the current line, `+` the expected line. */
  diff: string;
}

/** Returns a dump as files, one per schema. */
export function dumpFiles(dump: ReadonlyMap<string, string>): Map<string, string> {
  return new Map([...dump].map(([schema, text]) => [`${schema}.sql`, text]));
}

/**
 * Writes generated files and removes those of the same kind (by extension) that are no longer generated.
 * @returns the names of the files that changed
 */
export async function writeSchemaFiles(folder: string, files: SchemaFiles): Promise<string[]> {
  await mkdir(folder, { recursive: true });
  const stale = (await checkSchemaFiles(folder, files)).map((file) => file.name);
  for (const name of stale) {
    const text = files.get(name);
    if (text === undefined) await rm(join(folder, name));
    else await writeFile(join(folder, name), text);
  }
  return stale;
}

/** Returns the files in the folder that differ from the generated ones; none if all are up to date. */
export async function checkSchemaFiles(folder: string, files: SchemaFiles): Promise<StaleFile[]> {
  const kinds = new Set([...files.keys()].map((name) => extname(name)));
  const found = (await readdir(folder, { recursive: true }).catch(none)).filter((name) =>
    kinds.has(extname(name)),
  );
  const stale: StaleFile[] = [];
  for (const name of [...new Set([...files.keys(), ...found])].sort()) {
    const before = found.includes(name) ? await readFile(join(folder, name), "utf8") : "";
    const after = files.get(name) ?? "";
    if (before !== after || !files.has(name)) stale.push({ name, diff: shortDiff(before, after) });
  }
  return stale;
}

const DIFF_LINES = 20;

/** Returns the lines from the first to the last difference, at most 20. */
export function shortDiff(before: string, after: string): string {
  const old = before.split("\n");
  const now = after.split("\n");
  let start = 0;
  while (start < old.length && start < now.length && old[start] === now[start]) start++;
  let end = 0;
  while (end < Math.min(old.length, now.length) - start && old.at(-1 - end) === now.at(-1 - end)) end++;
  const lines = [
    ...old.slice(start, old.length - end).map((line) => `-${line}`),
    ...now.slice(start, now.length - end).map((line) => `+${line}`),
  ];
  const more = lines.length - DIFF_LINES;
  return [
    `@@ line ${start + 1} @@`,
    ...lines.slice(0, DIFF_LINES),
    ...(more > 0 ? [`… and ${more} more lines`] : []),
  ].join("\n");
}

/** Treats a missing folder as empty. */
function none(error: NodeJS.ErrnoException): string[] {
  if (error.code === "ENOENT") return [];
  throw error;
}
