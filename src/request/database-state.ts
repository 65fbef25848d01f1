import type { Pool } from "pg";
import { PlinthError } from "../support/errors.ts";

export type DatabaseState = "ok" | "not migrated" | "read-only" | "unreachable";

/** The role of the pool may not enter the schema, but the catalogue is everybody's to read. */
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
 * Says before the start in one sentence what would otherwise be a stack.
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
        hint: "Check that it runs and that the URL, role and password are right.",
        cause,
      },
    );
  }
  if (state === "not migrated")
    throw new PlinthError("NOT_MIGRATED", "The database has no Plinth tables.", {
      hint: "Run `plinth migrate` first.",
    });
}
