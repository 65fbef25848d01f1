import { readFileSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { compileIncludes, compilePlaceholders } from "graphile-migrate/dist/migration.js";
import type pg from "pg";
import { explainInclude, type GraphileSettings, sqlFailure } from "./graphile-migrate.ts";
import { type MigrationOptions, withMigrationLock } from "./migration-session.ts";

/**
 * Returns the names of all fixtures as migrations include them (`identity/functions/viewer.sql`), sorted. An application may have
 * none, and then no folder.
 */
export async function listFixtures(migrationsFolder: string): Promise<string[]> {
  const entries = await readdir(join(migrationsFolder, "fixtures"), { recursive: true }).catch(
    (error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return [];
      throw error;
    },
  );
  return entries
    .map((name) => name.replaceAll("\\", "/"))
    .filter((name) => name.endsWith(".sql"))
    .sort();
}

interface FunctionFixture {
  /** Path below the migrations folder. */
  readonly file: string;
  readonly text: string;
  /** Names with their schema. Overloads are in one file. */
  readonly functions: readonly string[];
}

/** Reads the fixtures that create functions. */
export async function readFunctionFixtures(migrationsFolder: string): Promise<FunctionFixture[]> {
  const found: FunctionFixture[] = [];
  for (const name of await listFixtures(migrationsFolder)) {
    const file = `fixtures/${name}`;
    // For a thousand small files, the thread pool costs more than the reading.
    const text = readFileSync(join(migrationsFolder, file), "utf8");
    const functions = [...text.matchAll(/^ *create or replace function ([a-z_0-9]+\.[a-z_0-9]+)/gm)];
    if (functions.length > 0) found.push({ file, text, functions: functions.map(([, defined]) => defined!) });
  }
  return found;
}

/** Returns the fixture of each function, by the function's name with its schema. */
export async function functionFixtures(migrationsFolder: string): Promise<Map<string, string>> {
  const fixtures = await readFunctionFixtures(migrationsFolder);
  return new Map(fixtures.flatMap(({ file, functions }) => functions.map((name) => [name, file] as const)));
}

/**
 * Runs all fixtures again on a migrated database, in one transaction. Fixtures can be re-run, so the schema must not change; a
 * difference means that a fixture was edited without a migration that includes it.
 * @param options.use receives the result before it is rolled back; if omitted, the result is committed
 * @returns the names of the fixtures that ran
 * @throws PlinthError FIXTURE_FAILED naming the file and, where the server gave a position, the line;
 *   MIGRATIONS_INVALID naming an include that does not exist
 */
export async function runFixtures(
  options: MigrationOptions & { use?: (client: pg.Client) => Promise<void> },
): Promise<string[]> {
  return withMigrationLock(options, async ({ client, settings }) => {
    const names = await listFixtures(settings.migrationsFolder);
    await client.query("begin");
    try {
      for (const name of names) await runFixture(client, settings, name);
      await options.use?.(client);
      await client.query(options.use ? "rollback" : "commit");
    } catch (error) {
      await client.query("rollback");
      throw error;
    }
    return names;
  });
}

async function runFixture(client: pg.Client, settings: GraphileSettings, name: string): Promise<void> {
  const path = join(settings.migrationsFolder, "fixtures", name);
  const text = await readFile(path, "utf8");
  const whole = await explainInclude(() => compileIncludes(settings, text, new Set([path])));
  const sql = compilePlaceholders(settings, whole);
  await client.query(sql).catch((error) => {
    throw sqlFailure("FIXTURE_FAILED", error, { file: `fixtures/${name}`, sql });
  });
}

/**
 * Returns the fixtures that neither a committed migration nor current.sql includes, directly or through another fixture. Their
 * text never reaches a database.
 */
export async function unusedFixtures(migrationsFolder: string): Promise<string[]> {
  const used = new Set<string>();
  const visit = async (text: string) => {
    for (const [, name] of text.matchAll(/^--!\s*(?:include|Included)[ \t]+(\S.*\.sql)[ \t]*$/gm)) {
      if (used.has(name!)) continue;
      used.add(name!);
      await visit(await readFile(join(migrationsFolder, "fixtures", name!), "utf8").catch(() => ""));
    }
  };
  const committed = await readdir(join(migrationsFolder, "committed"));
  for (const name of committed)
    await visit(await readFile(join(migrationsFolder, "committed", name), "utf8"));
  await visit(await readFile(join(migrationsFolder, "current.sql"), "utf8").catch(() => ""));
  return (await listFixtures(migrationsFolder)).filter((name) => !used.has(name));
}
