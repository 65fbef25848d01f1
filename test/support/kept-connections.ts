import type pg from "pg";
import { DatabaseClient } from "../../src/connection/client.ts";
import { SET_SESSION_DEFAULTS } from "../../src/connection/session-defaults.ts";

/*
 * A new connection costs the server 20 ms of CPU, and 60 ms and more with the functions that it compiles and the catalogue that it reads.
 * Connections to the database of a test file are therefore kept and used again.
 */

/** Parts that are missing in @types/pg. The statements are those that were prepared by name. */
type Client = pg.Client & { ref(): void; unref(): void; connection: { parsedStatements: object } };

/** Databases whose connections are kept. Others may be renamed, copied or dropped, or their server may end. */
const databases = new Set<string>();

export function keepConnectionsTo(database: string): void {
  databases.add(database);
}

export const isKept = (url: string): boolean => databases.has(new URL(url).pathname.slice(1));

const idle = new Map<string, Client[]>();

/** As DISCARD ALL, but keeps the plans of functions, as the connections of a pool do. */
const RESET = `reset session authorization; reset all; close all; deallocate all; unlisten *; discard temp;
  discard sequences; select pg_catalog.pg_advisory_unlock_all(); ${SET_SESSION_DEFAULTS}`;

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
  const client = (await takeIdle(url)) ?? (await connect(url));
  let given: Promise<void> | undefined;
  return {
    client,
    giveBack() {
      given ??= keep(url, client).catch(() => client.end().catch(() => {}));
      return given;
    },
  };
}

/** An idle connection that answers. This process may not know yet that the server has ended one, at the request of a test. */
async function takeIdle(url: string): Promise<Client | undefined> {
  for (;;) {
    const client = idle.get(url)?.pop();
    if (!client) return undefined;
    client.ref();
    const answers = await client.query("").then(
      () => true,
      () => false,
    );
    if (answers) return client;
    await client.end().catch(() => {});
  }
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
  client.connection.parsedStatements = {};
  for (const event of ["notification", "notice"]) client.removeAllListeners(event);
  // So that a file that does not drop its database does not keep the process.
  client.unref();
  idle.set(url, [...(idle.get(url) ?? []), client]);
}

/** Ends the idle connections to a database, and keeps none from now on: it could not be dropped or copied otherwise. */
export async function endKeptConnections(database: string): Promise<void> {
  databases.delete(database);
  const clients = [...idle.values()].flat().filter((client) => client.database === database);
  await Promise.all(clients.map((client) => client.end()));
}
