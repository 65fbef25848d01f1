import type pg from "pg";
import { DatabaseClient } from "../../src/connection/client.ts";

/*
 * A new connection costs 10 ms of CPU and 20 ms and more with the functions that it compiles, and a run has made 18,000. Statements
 * that need no connection of their own share these. `withClient` makes a new one, for tests of the connection itself.
 */

/** `ref` and `unref` are missing in @types/pg. */
type Client = pg.Client & { ref(): void; unref(): void };

const idle = new Map<string, Client[]>();

/** As DISCARD ALL, but keeps the plans of functions, as the connections of a pool do. */
const RESET = `reset session authorization; reset all; close all; deallocate all; unlisten *; discard temp;
  discard sequences; select pg_catalog.pg_advisory_unlock_all()`;

/** Runs `use` on a connection in the state of a new one. */
export async function withKeptClient<T>(url: string, use: (client: pg.Client) => Promise<T>): Promise<T> {
  const { client, giveBack } = await takeKeptClient(url);
  try {
    return await use(client);
  } finally {
    await giveBack();
  }
}

/** Takes a connection in the state of a new one, until it is given back. */
export async function takeKeptClient(
  url: string,
): Promise<{ client: pg.Client; giveBack: () => Promise<void> }> {
  const client = idle.get(url)?.pop() ?? (await connect(url));
  client.ref();
  let given: Promise<void> | undefined;
  return {
    client,
    giveBack() {
      given ??= keep(url, client).catch(() => client.end().catch(() => {}));
      return given;
    },
  };
}

async function connect(url: string): Promise<Client> {
  const client = new DatabaseClient({
    connectionString: url,
    application_name: "plinth tests",
  }) as unknown as Client;
  // A test may end the connections of a database or of a role.
  client.on("error", () => {});
  client.on("end", () => {
    idle.set(
      url,
      (idle.get(url) ?? []).filter((each) => each !== client),
    );
  });
  await client.connect();
  return client;
}

async function keep(url: string, client: Client): Promise<void> {
  if (client.getTransactionStatus() !== "I") throw new Error("A transaction is open.");
  await client.query(RESET);
  // So that a file that does not drop its database does not keep the process.
  client.unref();
  idle.set(url, [...(idle.get(url) ?? []), client]);
}

/** Ends the idle connections to a database, which could not be dropped, renamed or copied otherwise. */
export async function endKeptConnections(database: string): Promise<void> {
  const clients = [...idle.values()].flat().filter((client) => client.database === database);
  await Promise.all(clients.map((client) => client.end()));
}
