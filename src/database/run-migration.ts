import { isNoTransactionDefined } from "graphile-migrate/dist/header.js";
import { compilePlaceholders } from "graphile-migrate/dist/migration.js";
import { type CommittedMigration, countLinesAbove, sqlFailure } from "./graphile-migrate.ts";
import { dropInvalidIndexes, isConcurrent } from "./locks/invalid-indexes.ts";
import { retryWhenBlocked, waitForLocks } from "./locks/retry-when-blocked.ts";
import type { MigrationSession } from "./migration-session.ts";

/**
 * Runs one committed migration and records it, in one transaction (unless it contains `--! no-transaction`). Retries while another
 * session holds a lock.
 * @throws PlinthError MIGRATION_FAILED naming the file and, where the server gave a position, the line; MIGRATION_BLOCKED
 */
export async function runMigration(session: MigrationSession, migration: CommittedMigration): Promise<void> {
  const { client, settings, historySchema, log } = session;
  const sql = compilePlaceholders(settings, migration.body);
  const isInTransaction = !isNoTransactionDefined(sql);
  const run = async () => {
    try {
      if (isInTransaction) await client.query("begin");
      else await dropInvalidIndexes(client, sql, log);
      // For the audit logs. Without a transaction, the setting lasts until the next migration or the end of this session.
      await client.query("select set_config('plinth.migration', $1, $2)", [
        `${historySchema}/${migration.realFilename}`,
        isInTransaction,
      ]);
      await client.query(sql);
      await client.query(
        `insert into ${historySchema}.migrations (hash, previous_hash, filename) values ($1, $2, $3)`,
        [migration.hash, migration.previousHash, migration.filename],
      );
      if (isInTransaction) await client.query("commit");
    } catch (error) {
      if (isInTransaction) await client.query("rollback").catch(() => {});
      throw sqlFailure("MIGRATION_FAILED", error, {
        file: migration.realFilename,
        sql,
        linesAbove: await countLinesAbove(migration),
      });
    }
  };
  // A lock timeout would leave an invalid index each time, and the wait blocks no reads and writes.
  const isPatient = !isInTransaction && isConcurrent(sql);
  await (isPatient ? waitForLocks : retryWhenBlocked)(session, migration.realFilename, run);
}
