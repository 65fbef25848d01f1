import type pg from "pg";
import { type Config, loadConfig } from "../config.ts";
import { withConnection } from "../database/connection.ts";
import { attachDatabase, type Database, isExternal } from "../database/database.ts";
import { hasData } from "../database/embedded/server.ts";
import type { LoginRole } from "../database/roles.ts";
import { PlinthError } from "../errors.ts";
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
 * @param options.makesDatabase whether an embedded server may be made for it; otherwise a wrong folder is found out here
 * @throws PlinthError DATABASE_MISSING, and what attachDatabase throws
 */
export function withSession<T>(
  use: (session: Session) => Promise<T>,
  { makesDatabase = false }: { makesDatabase?: boolean } = {},
): Promise<T> {
  const config = loadConfig();
  if (!makesDatabase && !isExternal(config) && !hasData(config.dataDirectory))
    return Promise.reject(
      new PlinthError("DATABASE_MISSING", `There is no database in ${config.dataDirectory} yet.`, {
        hint: "Make one with plinth start, or name the folder that has one with PLINTH_DATA.",
      }),
    );
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
