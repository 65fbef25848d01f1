import type { Pool } from "pg";
import { makePgAdaptorWithPgClient, makePgService } from "postgraphile/adaptors/pg";
import { runInTransaction, type TransactionClient, type TransactionSettings } from "./transaction.ts";

/**
 * PostGraphile's door to the database: each root field's statement runs in a transaction of its own that carries the
 * request's settings, see `runInTransaction`. Without settings (introspection at start) PostGraphile's adaptor serves.
 */
function createWithPgClient(pool: Pool): ReturnType<typeof makePgAdaptorWithPgClient> {
  const withoutSettings = makePgAdaptorWithPgClient(pool);
  async function withPgClient<T>(
    settings: TransactionSettings | null,
    callback: (client: TransactionClient) => T | Promise<T>,
  ): Promise<T> {
    if (settings) return runInTransaction(pool, settings, callback);
    return withoutSettings(null, callback as never) as Promise<T>;
  }
  return Object.assign(withPgClient, { release() {} }) as unknown as ReturnType<
    typeof makePgAdaptorWithPgClient
  >;
}

/** The PostGraphile service over `pool`, which stays the caller's to end. */
export function makePlinthPgService(options: {
  pool: Pool;
  schemas: readonly string[];
}): GraphileConfig.PgServiceConfiguration {
  const service = makePgService({ pool: options.pool, schemas: [...options.schemas], pubsub: false });
  const adaptor = { createWithPgClient: () => createWithPgClient(options.pool), makePgService };
  return { ...service, adaptor } as GraphileConfig.PgServiceConfiguration;
}
