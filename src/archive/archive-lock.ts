import type pg from "pg";
import { assertKeepsSession } from "../connection/transaction-mode.ts";
import { PlinthError } from "../support/errors.ts";

/** Any number; the same in each process. */
export const ARCHIVE_LOCK = 7_146_201;
/** PostgreSQL notices within moments that a process was killed. */
const WAIT_MS = 5_000;

/**
 * Runs `use` while no other process writes, attaches or detaches archives. The lock belongs to the connection, so it ends with a
 * killed process.
 * @throws PlinthError ARCHIVES_IN_USE, POOLED_CONNECTION
 */
export async function withArchiveLock<T>(client: pg.Client, use: () => Promise<T>): Promise<T> {
  await assertKeepsSession(client);
  await client.query(`set lock_timeout = '${WAIT_MS}ms'`);
  try {
    await client.query("select pg_advisory_lock($1)", [ARCHIVE_LOCK]);
  } catch (cause) {
    if ((cause as { code?: string }).code !== "55P03") throw cause;
    throw new PlinthError("ARCHIVES_IN_USE", "Another process is working on the archives.", {
      hint: "Wait until it has finished. The job archive-old-partitions runs daily.",
      cause,
    });
  } finally {
    await client.query("reset lock_timeout").catch(() => {});
  }
  try {
    return await use();
  } finally {
    await client.query("select pg_advisory_unlock($1)", [ARCHIVE_LOCK]).catch(() => {});
  }
}
