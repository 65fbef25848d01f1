import type pg from "pg";
import { type Config, loadConfig } from "../config/config.ts";
import type { LoginRole } from "../config/roles.ts";
import { withConnection } from "../database/connection.ts";
import { assertHasDatabase, attachDatabase, type Database } from "../database/database.ts";
import { interruptible } from "./interrupt.ts";
import { note } from "./output.ts";
import { showProgress } from "./progress/progress.ts";

/** The context of a command that does one task and exits. */
export interface Session {
  readonly config: Config;
  readonly database: Database;
  /** Aborted by Ctrl-C. */
  readonly signal: AbortSignal;
}

/**
 * Runs one command against the configured database: an external server, the embedded server of a running Plinth, or an
 * embedded server that is started for this command and stopped after it.
 * @param options.makesDatabase whether to create the embedded database if it does not exist
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
      if (database.kind === "embedded") showProgress({ step: "Closing the database" });
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

/** The settings with the command line's --wait, if it was given. */
export function waiting(config: Config, waitSeconds = config.migrations.waitSeconds): Config {
  return { ...config, migrations: { ...config.migrations, waitSeconds } };
}
