import { randomUUID } from "node:crypto";
import { DatabaseClient } from "../connection/client.ts";
import { PlinthError } from "../support/errors.ts";

/** SQLSTATEs when another server connection answers than the one that prepared a statement: it is unknown there, or taken. */
const LOST_STATES = new Set<unknown>(["26000", "42P05"]);
const CONNECT_TIMEOUT_MS = 5_000;
const ROUNDS = 3;

/**
 * Checks that a connection keeps its prepared statements. Behind a pooler in transaction mode without support for them, two
 * clients get the same server connection in turn and prepare the same name twice.
 * @throws PlinthError PREPARED_STATEMENTS_LOST; the connection's error
 */
export async function assertStatementsStayPrepared(url: string): Promise<void> {
  const statement = { name: `plinth_check_${randomUUID()}`, text: "select 1" };
  const clients = Array.from(
    { length: 2 },
    () => new DatabaseClient({ connectionString: url, connectionTimeoutMillis: CONNECT_TIMEOUT_MS }),
  );
  try {
    for (const client of clients) {
      client.on("error", () => {});
      await client.connect();
    }
    for (let round = 0; round < ROUNDS; round++) for (const client of clients) await client.query(statement);
  } catch (cause) {
    if (!LOST_STATES.has((cause as { code?: unknown }).code)) throw cause;
    throw new PlinthError(
      "PREPARED_STATEMENTS_LOST",
      "The database URL leads to a pooler that loses prepared statements.",
      {
        hint: "Set PLINTH_PREPARED_STATEMENTS=false, or max_prepared_statements in PgBouncer 1.21 or newer.",
        cause,
      },
    );
  } finally {
    await Promise.all(clients.map((client) => client.end().catch(() => {})));
  }
}
