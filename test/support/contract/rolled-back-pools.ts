import pg, { type PoolClient } from "pg";

type Done = (error: Error | undefined, client?: PoolClient, release?: PoolClient["release"]) => void;

/**
 * Runs `use` while each connection that a pool of the API in this process hands out is in a transaction that is rolled back when the
 * connection returns. A caller sees its own changes, and its commit succeeds, but nothing stays.
 */
export async function withRolledBackPools<T>(use: () => Promise<T>): Promise<T> {
  const prototype = pg.Pool.prototype;
  const connect = prototype.connect as () => Promise<PoolClient>;
  const opened = async (pool: pg.Pool): Promise<PoolClient> => {
    const client = await connect.call(pool);
    if (!carriesRequests(pool)) return client;
    await client.query("begin");
    return rolledBackAtRelease(client);
  };
  prototype.connect = function (this: pg.Pool, done?: Done) {
    const client = opened(this);
    if (!done) return client;
    client.then(
      (each) => done(undefined, each, each.release),
      (error) => done(error),
    );
    return undefined;
  } as typeof prototype.connect;
  try {
    return await use();
  } finally {
    prototype.connect = connect;
  }
}

/** Not the notifier's pool, because a server whose notifications do not arrive rejects tokens that it cannot check. */
const carriesRequests = (pool: pg.Pool) => Boolean((pool.options as { pipeline?: boolean }).pipeline);

function rolledBackAtRelease(client: PoolClient): PoolClient {
  const { release, query, getTransactionStatus } = client;
  const send = query.bind(client) as (...args: unknown[]) => Promise<pg.QueryResult>;
  client.query = ((...args: unknown[]) => {
    if (args[0] !== "commit") return send(...args);
    // A commit would check them.
    return send("set constraints all immediate").then((result) => ({ ...result, command: "COMMIT" }));
  }) as typeof query;
  client.getTransactionStatus = () => "I";
  client.release = (error) => {
    Object.assign(client, { query, getTransactionStatus });
    if (error) return release.call(client, error);
    send("rollback").then(
      () => release.call(client),
      (failure: Error) => release.call(client, failure),
    );
  };
  return client;
}
