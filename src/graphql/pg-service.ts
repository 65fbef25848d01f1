import { type makePgAdaptorWithPgClient, makePgService } from "@dataplan/pg/adaptors/pg";
import type { Pool } from "pg";
import { queryWithin } from "../request/pg-internals/client.ts";
import {
  release,
  runInTransaction,
  type Statement,
  type TransactionClient,
  type TransactionSettings,
} from "../request/transaction.ts";

/** Reading the whole catalogue is slow on a busy server, and only the server's start waits for it. */
const INTROSPECTION_TIMEOUT_MS = 120_000;

/**
 * PostGraphile's access to the database. OneRoundTripPlugin sends the statements that PostGraphile plans; everything else, such as
 * a plugin with several statements, runs here in a transaction with the request's settings, see `runInTransaction`. Only the
 * introspection at start has no settings.
 */
function createWithPgClient(pool: Pool): ReturnType<typeof makePgAdaptorWithPgClient> {
  async function withPgClient<T>(
    settings: TransactionSettings | null,
    callback: (client: TransactionClient) => T | Promise<T>,
  ): Promise<T> {
    return settings ? runInTransaction(pool, settings, callback) : introspect(pool, callback);
  }
  return Object.assign(withPgClient, { release() {} }) as unknown as ReturnType<
    typeof makePgAdaptorWithPgClient
  >;
}

async function introspect<T>(
  pool: Pool,
  callback: (client: TransactionClient) => T | Promise<T>,
): Promise<T> {
  const client = await pool.connect();
  try {
    // The pool's own limit is meant for requests.
    const query = ({ text }: Statement) => queryWithin(client, text, INTROSPECTION_TIMEOUT_MS);
    return await callback({ query } as unknown as TransactionClient);
  } finally {
    await release(client);
  }
}

/** Creates the PostGraphile service over `pool`, which the caller ends. */
export function makePlinthPgService(options: {
  pool: Pool;
  schemas: readonly string[];
}): GraphileConfig.PgServiceConfiguration {
  const service = makePgService({ pool: options.pool, schemas: [...options.schemas], pubsub: false });
  const adaptor = { createWithPgClient: () => createWithPgClient(options.pool), makePgService };
  return { ...service, adaptor } as GraphileConfig.PgServiceConfiguration;
}
