import type pg from "pg";
import { type Config, loadConfig } from "../config/config.ts";
import type { LoginRole } from "../config/roles.ts";
import { withConnection } from "../database/connection.ts";
import { assertHasDatabase, attachDatabase, type Database } from "../database/database.ts";
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
 * one started for this command and stopped after it.
 * @param options.makesDatabase whether there may be none yet, so that an embedded one is made
 * @throws PlinthError NO_DATABASE, and what attachDatabase throws
 */
export async function withSession<T>(
  use: (session: Session) => Promise<T>,
  { makesDatabase = false }: { makesDatabase?: boolean } = {},
): Promise<T> {
  const config = loadConfig();
  if (!makesDatabase) assertHasDatabase(config);
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
export function withClient<T>(
  database: Database,
  role: LoginRole,
  use: (client: pg.Client) => Promise<T>,
): Promise<T> {
  const connectionString = database.url(role);
  return withConnection(
    { connectionString, application_name: "plinth", connectionTimeoutMillis: 10_000 },
    use,
  );
}
