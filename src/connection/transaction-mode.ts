import type pg from "pg";
import { PlinthError } from "../support/errors.ts";
import { DatabaseClient } from "./client.ts";

/** A pooler that takes its server connections in turn shows itself within a few rounds. */
const ROUNDS = 5;
const CONNECT_TIMEOUT_MS = 10_000;

/**
 * Whether a connection leads to a pooler in transaction mode, where each transaction may run on another server connection, so that
 * locks and settings of the session get lost. A direct connection has the process that its server announced. Behind any pooler,
 * a second client then looks for the server connection of the first, which only transaction mode would give to it.
 */
export async function isTransactionMode(client: pg.ClientBase): Promise<boolean> {
  if (!(client instanceof DatabaseClient) || client.url === undefined) return false;
  const announced = (client as unknown as { readonly processID: number | null }).processID;
  const first = await backendPid(client);
  if (announced === first) return false;
  const other = new DatabaseClient({
    connectionString: client.url,
    application_name: "plinth check",
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
  });
  try {
    await other.connect();
    for (let round = 0; round < ROUNDS; round++) {
      // Poolers give out the server connection that was used last, or take all in turn.
      if ((await backendPid(client)) !== first) return true;
      await other.query("begin");
      if ((await backendPid(other)) === first) return true;
      // Its open transaction keeps the server connection, so the first client may get another one.
      if ((await backendPid(client)) !== first) return true;
      await other.query("rollback");
    }
    return false;
  } finally {
    await other.end().catch(() => {});
  }
}

/** @throws PlinthError POOLED_CONNECTION */
export async function assertKeepsSession(client: pg.ClientBase): Promise<void> {
  if (!(await isTransactionMode(client))) return;
  throw new PlinthError(
    "POOLED_CONNECTION",
    "This needs a lock that lasts for a session, but the database URL leads to a pooler in transaction mode, which would lose it.",
    { hint: "Give it a direct connection to the server, or a pooler in session mode. Nothing was changed." },
  );
}

async function backendPid(client: pg.ClientBase): Promise<number> {
  const { rows } = await client.query<{ pid: number }>("select pg_catalog.pg_backend_pid() as pid");
  return rows[0]!.pid;
}
