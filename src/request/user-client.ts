import type { Pool, PoolClient, QueryResult } from "pg";
import { queryOne } from "./pg-internals/client.ts";
import { preparedCount } from "./pg-internals/prepared-names.ts";
import { RESET_SESSION } from "./pool.ts";
import { runInTransaction, spoil, type TransactionSettings } from "./transaction.ts";

/** Runs the statements of an application as a user, within one transaction. */
export interface UserClient {
  /**
   * Runs one statement.
   * @param values for $1, $2 …; never put values into the text
   */
  query<TRow = Record<string, unknown>>(
    text: string,
    values?: readonly unknown[],
  ): Promise<{ readonly rows: TRow[]; readonly rowCount: number | null }>;
}

/**
 * Runs `callback` in a transaction with these settings. The SQL is not ours, and may have changed the role, the claims or other
 * settings of the session: all of that is undone before the commit, so that the next user of the connection finds none of it,
 * also behind a pooler that gives each transaction another connection.
 * @throws the error of `callback` or of the server, after a rollback
 */
export function runAsUser<T>(
  pool: Pool,
  settings: TransactionSettings,
  callback: (client: UserClient) => Promise<T>,
): Promise<T> {
  return runInTransaction(pool, settings, async ({ rawClient }) => {
    const scope = createScope(rawClient);
    try {
      const result = await callback(scope.client);
      await scope.close();
      // Deferred constraints and triggers are still the user's.
      await rawClient.query("set constraints all immediate");
      await reset(rawClient);
      return result;
    } catch (error) {
      await scope.close();
      // Locks of the session outlive a rollback.
      await rawClient.query("rollback").catch(() => {});
      await reset(rawClient).catch(() => spoil(rawClient));
      throw error;
    }
  });
}

/** Undoes what foreign SQL has left. Prepared statements cannot be given back, so their connection is not used again. */
async function reset(rawClient: PoolClient): Promise<void> {
  const results = (await rawClient.query(`${RESET_SESSION};${PREPARED}`)) as unknown as QueryResult[];
  const { foreign, own } = results.at(-1)!.rows[0];
  if (foreign > 0 || own < preparedCount(rawClient)) spoil(rawClient);
}

const PREPARED = `
  select count(*) filter (where from_sql)::integer as foreign, count(*) filter (where not from_sql)::integer as own
  from pg_catalog.pg_prepared_statements`;

function createScope(rawClient: PoolClient) {
  const running = new Set<Promise<unknown>>();
  let isOpen = true;

  async function run(text: string, values: readonly unknown[]) {
    const { rows, rowCount } = await queryOne(rawClient, text, values);
    // Later statements would be committed one by one, without the user's role.
    if (rawClient.getTransactionStatus() === "I") {
      isOpen = false;
      throw new Error("A statement of the callback has ended its transaction.");
    }
    return { rows, rowCount };
  }

  const client: UserClient = {
    query(text, values = []) {
      if (!isOpen) return Promise.reject(new Error("The transaction of this client has ended."));
      const result = run(text, values);
      running.add(result);
      result.then(
        () => running.delete(result),
        () => running.delete(result),
      );
      return result as Promise<never>;
    },
  };
  return {
    client,
    /** Waits for statements that the callback did not wait for. */
    async close() {
      isOpen = false;
      await Promise.allSettled(running);
    },
  };
}
