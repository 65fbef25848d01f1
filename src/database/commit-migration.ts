import { mkdir, mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { calculateHash } from "graphile-migrate/dist/hash.js";
import { parseMigrationText, serializeMigration } from "graphile-migrate/dist/migration.js";
import { sluggify } from "graphile-migrate/dist/sluggify.js";
import { DEFAULT_ROLE_PREFIX } from "../config/roles.ts";
import { PlinthError } from "../support/errors.ts";
import { MIGRATIONS_FOLDER } from "../support/paths.ts";
import type { OnProgress } from "../support/progress.ts";
import { listUnreleased } from "./frozen-migrations.ts";
import {
  BLANK_MIGRATION,
  type GraphileSettings,
  graphileSettings,
  isBlankSql,
  readCommittedMigrations,
  readCurrent,
} from "./graphile-migrate.ts";
import { APPLICATION_HISTORY, type MigrationHistory } from "./history.ts";
import { migrateDatabase } from "./migrate.ts";
import { createScratchDatabase } from "./scratch-database.ts";

export interface CommitOptions extends Partial<MigrationHistory> {
  /** Any database of a server on which to test the history, as a superuser or a role with CREATEDB and CREATEROLE. */
  rootUrl: string;
  log?: (line: string) => void;
  onProgress?: OnProgress;
}

/**
 * Moves current.sql into committed/ as graphile-migrate's `commit` would write it, after the whole history has run on a
 * scratch database. A failure changes no file.
 * @param options.message names the file; one line of at most 512 characters
 * @returns the new file's name
 * @throws PlinthError NOTHING_TO_COMMIT, INVALID_MESSAGE, MIGRATION_FAILED, and those of readCommittedMigrations
 */
export async function commitCurrent(options: CommitOptions & { message: string }): Promise<{ file: string }> {
  const next = await nextMigration(options);
  await tryHistory(next.history, options);
  return next.write();
}

/** Commits current.sql without a trial, for text that is known to run. */
export async function commitUntried(options: {
  migrationsFolder: string;
  message: string;
}): Promise<{ file: string }> {
  return (await nextMigration(options)).write();
}

/** Freezes current.sql and returns the history with it, and a function that writes both files. */
async function nextMigration(options: { migrationsFolder?: string; message: string }): Promise<{
  history: Map<string, string>;
  write: () => Promise<{ file: string }>;
}> {
  const settings = fileSettings(options.migrationsFolder);
  const { message } = options;
  const slug = sluggify(message);
  if (slug === "" || message.length > 512 || /\p{Cc}/u.test(message))
    throw new PlinthError(
      "INVALID_MESSAGE",
      "The message must be one line of words, at most 512 characters.",
    );
  const { path, text } = await readCurrent(settings);
  if (isBlankSql(text))
    throw new PlinthError("NOTHING_TO_COMMIT", "current.sql contains no statements.", {
      hint: `Write the migration to ${path} first.`,
    });

  const committed = await readCommittedMigrations(settings);
  const { headers, body } = parseMigrationText(path, text, false);
  const number = Number.parseInt(committed.at(-1)?.filename ?? "0", 10) + 1;
  const file = `${String(number).padStart(6, "0")}-${slug}.sql`;
  const history = new Map(
    await Promise.all(
      committed.map(
        async (migration) => [migration.realFilename, await readFile(migration.fullPath, "utf8")] as const,
      ),
    ),
  );
  history.set(file, frozen(body, { ...headers, Message: message }, committed.at(-1)?.hash).text);
  async function write(): Promise<{ file: string }> {
    const folder = join(settings.migrationsFolder, "committed");
    await mkdir(folder, { recursive: true });
    await replaceFile(join(folder, file), history.get(file)!);
    await listUnreleased(settings.migrationsFolder);
    await writeFile(path, BLANK_MIGRATION);
    return { file };
  }
  return { history, write };
}

/** Settings for reading and writing files only. Placeholders are never filled, so the names do not matter. */
export function fileSettings(migrationsFolder = MIGRATIONS_FOLDER): GraphileSettings {
  return graphileSettings({
    rolePrefix: DEFAULT_ROLE_PREFIX,
    owner: DEFAULT_ROLE_PREFIX,
    database: DEFAULT_ROLE_PREFIX,
    migrationsFolder,
  });
}

/** Returns the text of a committed file: the previous hash, its own hash, the message and other headers, and the body. */
export function frozen(
  body: string,
  headers: Record<string, string | null>,
  previousHash: string | undefined,
): { text: string; hash: string } {
  const hash = calculateHash(body, previousHash ?? null);
  const { Message, ...others } = headers;
  const text = serializeMigration(body, { Previous: previousHash ?? "-", Hash: hash, Message, ...others });
  return { text, hash };
}

/** Runs a history, an application's after Plinth's, on a scratch database, which is always dropped. */
export async function tryHistory(
  history: ReadonlyMap<string, string>,
  options: CommitOptions,
): Promise<void> {
  await using held = new AsyncDisposableStack();
  const scratch = await createScratchDatabase(options.rootUrl);
  held.defer(() => scratch.drop());
  const folder = await mkdtemp(join(tmpdir(), "plinth-migrations-"));
  held.defer(() => rm(folder, { recursive: true }));
  await mkdir(join(folder, "committed"));
  for (const [name, text] of history) await writeFile(join(folder, "committed", name), text);
  await migrateDatabase({
    ownerUrl: scratch.url("owner"),
    rolePrefix: scratch.rolePrefix,
    ...(options.historySchema === APPLICATION_HISTORY
      ? { applicationMigrations: folder }
      : { migrationsFolder: folder }),
    ...(options.log ? { log: options.log } : {}),
    onProgress: options.onProgress,
  });
}

/** Replaces a file atomically, even if the process crashes. */
export async function replaceFile(path: string, text: string): Promise<void> {
  await writeFile(`${path}.new`, text);
  await rename(`${path}.new`, path);
}
