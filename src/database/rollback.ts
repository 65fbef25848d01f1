import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { compilePlaceholders } from "graphile-migrate/dist/migration.js";
import type pg from "pg";
import { PlinthError } from "../support/errors.ts";
import { type CommittedMigration, readCommittedMigrations, sqlFailure } from "./graphile-migrate.ts";
import { APPLICATION_HISTORY, type HistorySchema, PLINTH_HISTORY } from "./history.ts";
import { locateHistory } from "./history-place.ts";
import { markLatestMigration } from "./latest-migration.ts";
import { retryWhenBlocked } from "./locks/retry-when-blocked.ts";
import { pendingMigrations, readAppliedMigrations } from "./migrate.ts";
import { type MigrationOptions, type MigrationSession, withMigrationLock } from "./migration-session.ts";

/**
 * Rolls back the latest migrations by running migrations/rollback/<same name>, newest first. All steps run in one transaction:
 * either all are rolled back or none.
 * @param options.steps how many migrations, 1 or more
 * @throws PlinthError NOTHING_TO_ROLL_BACK (fewer than `steps` have been applied), APPLICATION_IS_LATER, ROLLBACK_MISSING (a migration has no
 *   rollback script), ROLLBACK_INVALID, ROLLBACK_FAILED, MIGRATION_BLOCKED, and those of migrationStatus
 */
export async function rollback(
  options: MigrationOptions & { steps: number },
): Promise<{ rolledBack: string[] }> {
  const { steps } = options;
  if (!Number.isInteger(steps) || steps < 1)
    throw new PlinthError(
      "INVALID_STEPS",
      "The number of migrations to roll back must be a whole number of at least 1.",
    );
  return withMigrationLock(options, async (session) => {
    const { client, settings, log } = session;
    const { place, scripts } = await rollbackScripts(session, steps);
    const ways = scripts.map(({ migration, text }) => ({
      migration,
      sql: compilePlaceholders(settings, text),
    }));
    await retryWhenBlocked(session, `The rollback of ${ways.at(-1)!.migration.realFilename}`, async () => {
      await client.query("begin");
      try {
        // First, because the script of own-schema-names moves the record.
        await client.query(`delete from ${place}.migrations where hash = any ($1)`, [
          ways.map(({ migration }) => migration.hash),
        ]);
        if (session.historySchema === PLINTH_HISTORY) await markLatestMigration(client, place);
        for (const [index, { migration, sql }] of ways.entries()) {
          session.onProgress({
            step: "Rolling back",
            done: index,
            total: ways.length,
            unit: "migrations",
          });
          await client.query("select set_config('plinth.migration', $1, true)", [
            `${place}/rollback/${migration.realFilename}`,
          ]);
          await client.query(sql).catch((error) => {
            throw sqlFailure("ROLLBACK_FAILED", error, { file: `rollback/${migration.realFilename}`, sql });
          });
        }
        await client.query("commit");
      } catch (error) {
        await client.query("rollback");
        throw error;
      }
    });
    for (const { migration } of ways) log(`Rolled back ${migration.realFilename}`);
    return { rolledBack: ways.map(({ migration }) => migration.realFilename) };
  });
}

/**
 * Reads the scripts of the latest migrations, newest first, before anything changes.
 * @throws PlinthError as rollback() does
 */
export async function rollbackScripts(
  { client, settings, historySchema }: MigrationSession,
  steps: number,
): Promise<{ place: HistorySchema; scripts: { migration: CommittedMigration; text: string }[] }> {
  const committed = await readCommittedMigrations(settings);
  const place = await locateHistory(client, historySchema, committed);
  const applied = await readAppliedMigrations(client, place);
  pendingMigrations(committed, applied);
  if (applied.length < steps)
    throw new PlinthError(
      "NOTHING_TO_ROLL_BACK",
      `Cannot roll back ${steps} migrations: the database has run only ${applied.length}.`,
    );
  const newestFirst = committed.slice(applied.length - steps, applied.length).reverse();
  if (historySchema === PLINTH_HISTORY) await assertApplicationIsNotLater(client, newestFirst, place);
  const scripts = await Promise.all(
    newestFirst.map(async (migration) => ({
      migration,
      text: await readRollback(settings.migrationsFolder, migration, committed),
    })),
  );
  return { place, scripts };
}

/** The application's migrations that ran later may depend on Plinth's. */
async function assertApplicationIsNotLater(
  client: pg.ClientBase,
  migrations: readonly CommittedMigration[],
  place: HistorySchema,
): Promise<void> {
  if ((await readAppliedMigrations(client, APPLICATION_HISTORY)).length === 0) return;
  const { rows } = await client.query<{ later: number }>(
    `select count(*)::integer as later
     from ${APPLICATION_HISTORY}.migrations
     where date > (select min(date) from ${place}.migrations where hash = any ($1))`,
    [migrations.map(({ hash }) => hash)],
  );
  const later = rows[0]!.later;
  if (later === 0) return;
  throw new PlinthError(
    "APPLICATION_IS_LATER",
    `The application has run ${later === 1 ? "a migration" : `${later} migrations`} since ${migrations.at(-1)!.realFilename} of Plinth.`,
    { hint: `Roll back the application first: plinth rollback --of application --steps ${later}.` },
  );
}

/**
 * Returns the text of a migration's rollback script. Includes are rejected, because a fixture contains today's text, but a rollback
 * must restore the earlier text. `--!restore identity/functions/viewer.sql` inserts it: the fixture's text when a migration before
 * this one last included it.
 */
async function readRollback(
  folder: string,
  migration: CommittedMigration,
  committed: readonly CommittedMigration[],
): Promise<string> {
  const name = migration.realFilename;
  const path = join(folder, "rollback", name);
  if (!existsSync(path))
    throw new PlinthError("ROLLBACK_MISSING", `${name} has no rollback script: ${path} does not exist.`, {
      hint: "Nothing was rolled back.",
    });
  const sql = await readFile(path, "utf8");
  if (/^--!\s*(include|no-transaction)/m.test(sql))
    throw new PlinthError(
      "ROLLBACK_INVALID",
      `rollback/${name} must contain its whole text: --!include and --! no-transaction are not allowed there.`,
    );
  const earlier = committed.slice(0, committed.indexOf(migration)).reverse();
  return sql.replace(/^--!\s*restore\s+(\S+)[ \t]*$/gm, (_, fixture: string) => {
    const text = earlier.map(({ body }) => includedText(body, fixture)).find((found) => found !== undefined);
    if (text !== undefined) return text;
    throw new PlinthError(
      "ROLLBACK_INVALID",
      `rollback/${name} restores ${fixture}, which no migration before it includes.`,
    );
  });
}

/** Returns the text that a committed migration included from a fixture, if it did; the last one if it did so twice. */
function includedText(body: string, fixture: string): string | undefined {
  const end = body.lastIndexOf(`--! EndIncluded ${fixture}\n`);
  const marker = `--! Included ${fixture}\n`;
  const start = body.lastIndexOf(marker, end);
  return end < 0 || start < 0 ? undefined : body.slice(start + marker.length, end);
}
