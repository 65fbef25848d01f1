import type { Pool } from "pg";
import { LATEST_MIGRATION, latestOwnMigration } from "../database/latest-migration.ts";
import { PlinthError } from "../support/errors.ts";
import { renewConnections } from "./pool.ts";

export type DatabaseState = "ok" | "not migrated" | "read-only" | "unreachable";

/**
 * The pool's role may not use the schemas, but every role can read the catalogue. A schema newer than this version's counts as
 * migrated, so that an upgrade can migrate before it replaces the servers.
 */
const STATE = `select exists (
  select
  from pg_catalog.pg_class c
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  where n.nspname = 'identity' and c.relname = 'users'
) and coalesce(${LATEST_MIGRATION} >= $1, false) as migrated,
-- On at a standby, and by default_transaction_read_only.
current_setting('transaction_read_only')::boolean as is_read_only`;

/** @throws the connection's error */
export async function databaseState(pool: Pool): Promise<DatabaseState> {
  const { rows } = await pool.query<{ migrated: boolean; is_read_only: boolean }>(STATE, [
    latestOwnMigration(),
  ]);
  if (!rows[0]?.migrated) return "not migrated";
  if (!rows[0].is_read_only) return "ok";
  renewConnections(pool);
  return "read-only";
}

/**
 * Checks the database before the start and reports problems in one sentence instead of a stack trace.
 * @throws PlinthError DATABASE_UNREACHABLE, NOT_MIGRATED
 */
export async function assertDatabaseReady(pool: Pool): Promise<void> {
  let state: DatabaseState;
  try {
    state = await databaseState(pool);
  } catch (cause) {
    throw new PlinthError(
      "DATABASE_UNREACHABLE",
      `The database cannot be reached: ${(cause as Error).message}`,
      {
        hint: "Check that it runs and that the URL, role and password are correct.",
        cause,
      },
    );
  }
  if (state === "not migrated")
    throw new PlinthError(
      "NOT_MIGRATED",
      "The database has no Plinth tables, or those of an earlier version.",
      {
        hint: "Run `plinth migrate` first.",
      },
    );
}
