import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { compileIncludes, compilePlaceholders } from "graphile-migrate/dist/migration.js";
import type pg from "pg";
import { explainInclude, type GraphileSettings, sqlFailure } from "./graphile-migrate.ts";
import { type MigrationOptions, withMigrationLock } from "./migration-session.ts";

/** Every fixture as migrations include it (`identity/functions/viewer.sql`), sorted. */
export async function listFixtures(migrationsFolder: string): Promise<string[]> {
  const entries = await readdir(join(migrationsFolder, "fixtures"), { recursive: true });
  return entries
    .map((name) => name.replaceAll("\\", "/"))
    .filter((name) => name.endsWith(".sql"))
    .sort();
}

/**
 * Runs every fixture again on a migrated database, in one transaction. Fixtures hold what can be re-run, so afterwards
 * the schema must be what it was; a difference is a fixture that was edited without a migration that includes it.
 * @param options.use sees the result before it is taken back; without it the result is kept
 * @returns the names of the fixtures that ran
 * @throws PlinthError FIXTURE_FAILED naming the file and, where the server gave a position, the line;
 *   MIGRATIONS_INVALID naming an include that is not there
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
 * Fixtures that no committed migration and not current.sql includes, directly or through another fixture: text that
 * never reaches a database.
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
