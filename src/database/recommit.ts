import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { compileIncludes, parseMigrationText } from "graphile-migrate/dist/migration.js";
import { isMigrationFilename } from "graphile-migrate/dist/migrationFilename.js";
import { PlinthError } from "../support/errors.ts";
import { type CommitOptions, fileSettings, frozen, replaceFile, tryHistory } from "./commit-migration.ts";
import { listUnreleased, readFrozenMigrations, releaseOf } from "./frozen-migrations.ts";
import { explainInclude, type GraphileSettings } from "./graphile-migrate.ts";

/**
 * Commits the whole history again, in the same order and under the same names, with the current fixtures instead of the included
 * ones. Use it only for migrations that no database has applied. Files may also be written as in
 * current.sql and not yet committed. A failure changes no file.
 * @param options.from number of the first migration to commit again; earlier ones stay unchanged. 1 by default.
 * @returns the names of the files that changed
 * @throws PlinthError MIGRATION_FROZEN if one that was released would change, MIGRATIONS_INVALID, MIGRATION_FAILED
 */
export async function recommit(
  options: CommitOptions & { from?: number },
): Promise<{ changed: string[]; unchanged: string[] }> {
  const { from = 1 } = options;
  const settings = fileSettings(options.migrationsFolder);
  const folder = join(settings.migrationsFolder, "committed");
  const names = (await readdir(folder)).filter(isMigrationFilename).sort();
  const before = new Map<string, string>();
  const history = new Map<string, string>();
  let previousHash: string | undefined;
  for (const name of names) {
    const path = join(folder, name);
    const text = await readFile(path, "utf8");
    const { headers, body } = parseMigrationText(path, text, false);
    const { Hash, Previous, AllowInvalidHash, ...others } = headers;
    const isFrozen = Number.parseInt(name, 10) < from;
    const result = isFrozen
      ? { text, hash: Hash ?? undefined }
      : frozen(await explainInclude(() => withFixtures(settings, body, path)), others, previousHash);
    previousHash = result.hash;
    before.set(name, text);
    history.set(name, result.text);
  }
  const changed = names.filter((name) => before.get(name) !== history.get(name));
  await assertNotReleased(settings.migrationsFolder, changed);
  await tryHistory(history, options);
  for (const name of changed) await replaceFile(join(folder, name), history.get(name)!);
  await listUnreleased(settings.migrationsFolder);
  return { changed, unchanged: names.filter((name) => !changed.includes(name)) };
}

async function assertNotReleased(migrationsFolder: string, changed: readonly string[]): Promise<void> {
  const frozen = await readFrozenMigrations(migrationsFolder);
  for (const name of changed) {
    const release = releaseOf(frozen, `committed/${name}`);
    if (release)
      throw new PlinthError(
        "MIGRATION_FROZEN",
        `${name} was released with ${release}, so databases have run it: it no longer changes.`,
        {
          hint: "Put the change into a new migration, or name the first one that is not released with --from.",
        },
      );
  }
}

function withFixtures(settings: GraphileSettings, body: string, path: string): Promise<string> {
  return compileIncludes(settings, collapseIncludes(body), new Set([path]));
}

/** Replaces included text with the line that included it, as graphile-migrate's `uncommit` does. */
function collapseIncludes(body: string): string {
  return body.replace(
    /^--! Included (?<filename>\S+)$[\s\S]*?^--! EndIncluded \k<filename>$/gm,
    (_, filename: string) => `--!include ${filename}`,
  );
}
