import type { Pool } from "pg";
import { PlinthError } from "../support/errors.ts";

export type DatabaseState = "ok" | "not migrated" | "read-only" | "unreachable";

/** The pool's role may not use the schema, but every role can read the catalogue. */
const STATE = `select exists (
  select
  from pg_catalog.pg_class c
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  where n.nspname = 'identity' and c.relname = 'users'
) as migrated,
-- On at a standby, and by default_transaction_read_only.
current_setting('transaction_read_only')::boolean as is_read_only`;

/** @throws the connection's error */
export async function databaseState(pool: Pool): Promise<DatabaseState> {
  const { rows } = await pool.query<{ migrated: boolean; is_read_only: boolean }>(STATE);
  if (!rows[0]?.migrated) return "not migrated";
  return rows[0].is_read_only ? "read-only" : "ok";
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
    throw new PlinthError("NOT_MIGRATED", "The database has no Plinth tables.", {
      hint: "Run `plinth migrate` first.",
    });
}
