import pg from "pg";
import { type Config, loadConfig } from "../config.ts";
import { assertHasDatabase, attachDatabase, type Database } from "../database/database.ts";
import type { LoginRole } from "../database/roles.ts";
import { interruptible } from "./interrupt.ts";
import { note } from "./output.ts";

/** What a command that does one thing and ends works with. */
export interface Session {
  readonly config: Config;
  readonly database: Database;
  /** Set by Ctrl-C. */
  readonly signal: AbortSignal;
}

/**
 * Runs one command against the configured database: an external server, the embedded server of a Plinth that runs, or
 * one started for this command and stopped after it. Only who `makes` a database may find none.
 */
export async function withSession<T>(
  use: (session: Session) => Promise<T>,
  { makes = false }: { makes?: boolean } = {},
): Promise<T> {
  const config = loadConfig();
  if (!makes) assertHasDatabase(config);
  return interruptible(async (signal, orGiveUp) => {
    const database = await attachDatabase(config, { log: note });
    try {
      return await orGiveUp(use({ config, database, signal }));
    } finally {
      await database.close();
    }
  });
}

/** Runs `use` on one connection as `role`. */
export async function withClient<T>(
  database: Database,
  role: LoginRole,
  use: (client: pg.Client) => Promise<T>,
): Promise<T> {
  const client = new pg.Client({
    connectionString: database.url(role),
    application_name: "plinth",
    connectionTimeoutMillis: 10_000,
  });
  // A connection that breaks while idle is reported by the next query; without a listener it would end the process.
  client.on("error", () => {});
  await client.connect();
  try {
    return await use(client);
  } finally {
    await client.end();
  }
}
