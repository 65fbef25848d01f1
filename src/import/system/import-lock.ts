import type pg from "pg";
import { PlinthError } from "../../support/errors.ts";

/** An advisory lock that nothing else uses. */
const LOCK = "hashtextextended('plinth import system', 0)";

/**
 * Runs an import with its settings: alone, and keeping the times of rows, see plinth.touch_updated_at.
 * @throws PlinthError IMPORT_RUNNING
 */
export async function holdingImportLock<T>(client: pg.ClientBase, work: () => Promise<T>): Promise<T> {
  const { rows } = await client.query<{ locked: boolean }>(`select pg_try_advisory_lock(${LOCK}) as locked`);
  if (!rows[0]!.locked)
    throw new PlinthError("IMPORT_RUNNING", "Another import of a system is running on this database.", {
      hint: "Wait until it finishes, then run the command again: it imports the remaining rows.",
    });
  try {
    await client.query("set plinth.keeps_times = 'on'");
    return await work();
  } finally {
    await client.query(`reset plinth.keeps_times; select pg_advisory_unlock(${LOCK})`).catch(() => {});
  }
}
