import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { Logger, type Settings } from "graphile-migrate";
import { getCurrentMigrationLocation, readCurrentMigration } from "graphile-migrate/dist/current.js";
import { calculateHash } from "graphile-migrate/dist/hash.js";
import { type FileMigration, getAllMigrations } from "graphile-migrate/dist/migration.js";
import type { ParsedSettings } from "graphile-migrate/dist/settings.js";
import pg from "pg";
import { roleName, rolePlaceholders } from "../config/roles.ts";
import { PlinthError } from "../support/errors.ts";
import { MIGRATIONS_FOLDER } from "../support/paths.ts";

// graphile-migrate's own `migrate()` keeps a pool that calls process.exit(1) when the server goes away, and it gives up at once if
// another migration is running. So Plinth uses its parts on its own connection; the package is pinned to one version.

export type { FileMigration as CommittedMigration, ParsedSettings as GraphileSettings };

/** Repeated in .gmrc for people who run the graphile-migrate command. */
export const BLANK_MIGRATION = "-- Enter migration here\n";

/**
 * Names in migrations include their schema, and times are UTC, so that nothing depends on the migrating role or on the settings of
 * the server or the role. Migrations may take long.
 */
export const SESSION_SETTINGS: Readonly<Record<string, string>> = {
  search_path: "",
  TimeZone: "UTC",
  statement_timeout: "0",
};

/** graphile-migrate's settings without a connection: Plinth passes it a client. */
export function graphileSettings(options: {
  rolePrefix: string;
  owner: string;
  database: string;
  migrationsFolder: string;
}): ParsedSettings {
  const conventional = options.owner === roleName(options.rolePrefix, "owner");
  const owner = conventional ? options.owner : pg.escapeIdentifier(options.owner);
  const settings: Settings = {
    migrationsFolder: options.migrationsFolder,
    placeholders: rolePlaceholders(options.rolePrefix, owner),
    pgSettings: { ...SESSION_SETTINGS },
    blankMigrationContent: BLANK_MIGRATION,
    // Progress is reported by the caller, which knows what is pending.
    logger: new Logger(() => () => {}),
  };
  return {
    ...settings,
    connectionString: "",
    rootConnectionString: "",
    databaseOwner: owner,
    databaseName: options.database,
    beforeReset: [],
    afterReset: [],
    beforeAllMigrations: [],
    afterAllMigrations: [],
    beforeCurrent: [],
    afterCurrent: [],
  } as unknown as ParsedSettings;
}

/**
 * Returns the committed migrations in order, each checked against its own hash and the previous one.
 * @throws PlinthError MIGRATIONS_MISSING (no such folder), MIGRATIONS_INVALID (a file that was not written by a commit),
 *   MIGRATION_CHANGED (a file edited after its commit)
 */
export async function readCommittedMigrations(settings: ParsedSettings): Promise<FileMigration[]> {
  const { migrationsFolder } = settings;
  const folder = join(migrationsFolder, "committed");
  if (!existsSync(folder)) {
    // Before its first commit, an application has none.
    if (migrationsFolder !== MIGRATIONS_FOLDER && existsSync(migrationsFolder)) return [];
    throw new PlinthError("MIGRATIONS_MISSING", `The folder ${folder} does not exist.`);
  }
  const migrations = await getAllMigrations(settings).catch((error: Error) => {
    throw new PlinthError("MIGRATIONS_INVALID", `${error.message}.`, {
      hint: "Files in migrations/committed are written by plinth migrate commit (or recommit), not by hand.",
      cause: error,
    });
  });
  for (const migration of migrations) {
    if (migration.allowInvalidHash) continue;
    if (calculateHash(migration.body, migration.previousHash) !== migration.hash)
      throw new PlinthError(
        "MIGRATION_CHANGED",
        `${migration.realFilename} was edited after it was committed: its text no longer matches its hash.`,
        { hint: "Restore the file and put the change into a new migration." },
      );
  }
  return migrations;
}

/**
 * Returns the text of current.sql with its includes; empty if the file does not exist.
 * @throws PlinthError MIGRATIONS_INVALID naming an include that does not exist
 */
export async function readCurrent(settings: ParsedSettings): Promise<{ path: string; text: string }> {
  const location = await getCurrentMigrationLocation(settings);
  const text = await explainInclude(() => readCurrentMigration(settings, location));
  return { path: location.path, text };
}

/** Turns graphile-migrate's error about an include into a PlinthError MIGRATIONS_INVALID. */
export async function explainInclude<T>(read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    throw new PlinthError("MIGRATIONS_INVALID", (error as Error).message, { cause: error });
  }
}

/** Whether SQL text contains only white space and comments. */
export function isBlankSql(sql: string): boolean {
  return /^(\s|--[^\n]*(\n|$)|\/\*[\s\S]*?\*\/)*$/.test(sql);
}

/** The number of a committed file's header lines, which are not sent to the server. */
export async function countLinesAbove(migration: FileMigration): Promise<number> {
  const text = await readFile(migration.fullPath, "utf8");
  return countLines(text.slice(0, text.indexOf(migration.body.trim()))) - 1;
}

/**
 * Turns a server's error into "file, line, error". The server's position counts characters of the text it received; `linesAbove`
 * is the number of lines of the file (its headers) that were not sent.
 */
export function sqlFailure(
  code: string,
  error: unknown,
  source: { file: string; sql: string; linesAbove?: number },
): PlinthError {
  const cause = error as Partial<pg.DatabaseError> & Error;
  const position = Number(cause.position);
  const line = countLines([...source.sql].slice(0, position - 1).join("")) + (source.linesAbove ?? 0);
  const where = position > 0 ? ` at line ${line}` : "";
  const state = cause.code ? ` (${cause.code})` : "";
  const hint = [cause.detail, cause.hint, cause.where, compatHint(cause)].filter(Boolean).join("\n");
  return new PlinthError(code, `${source.file} failed${where}: ${cause.message}${state}.`, {
    ...(hint ? { hint } : {}),
    cause: error,
  });
}

/** A compatibility schema is derived from the tables, so it can be dropped and created anew. */
function compatHint({ detail = "" }: Partial<pg.DatabaseError>): string | undefined {
  const schemas = [...new Set(detail.match(/\bcompat_[a-z_]+(?=\.)/g))];
  if (schemas.length === 0) return undefined;
  const systems = schemas.map((schema) => schema.replace("compat_", "")).join(" ");
  return `Run plinth compat disable ${systems}, then this command again, then plinth compat enable ${systems}.`;
}

function countLines(text: string): number {
  return text.split("\n").length;
}
