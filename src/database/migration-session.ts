import { assertKeepsSession } from "../connection/transaction-mode.ts";
import { ignoreProgress, type OnProgress } from "../support/progress.ts";
import { withConnection } from "./connection.ts";
import { type GraphileSettings, graphileSettings, SESSION_SETTINGS } from "./graphile-migrate.ts";
import { type HistorySchema, type MigrationHistory, plinthHistory } from "./history.ts";
import { DEFAULT_PATIENCE, type LockPatience, type PatientSession } from "./locks/retry-when-blocked.ts";

/** The target of a migration and its files, which are Plinth's by default. `ownerUrl` may contain a password and never appears in a message. */
export interface MigrationOptions extends Partial<MigrationHistory> {
  ownerUrl: string;
  rolePrefix: string;
  log?: (line: string) => void;
  onProgress?: OnProgress | undefined;
  patience?: LockPatience;
  /** Stops the migration that runs, which then changes nothing. */
  signal?: AbortSignal | undefined;
}

export interface MigrationSession extends PatientSession {
  readonly settings: GraphileSettings;
  readonly historySchema: HistorySchema;
  readonly onProgress: OnProgress;
}

/** graphile-migrate's own advisory lock, so that its command and Plinth do not run at the same time. */
const MIGRATION_LOCK = "4727445306447283";

/** Connects as the owner with the settings for migrations, and disconnects afterwards. */
export async function withMigrationSession<T>(
  options: MigrationOptions,
  use: (session: MigrationSession) => Promise<T>,
): Promise<T> {
  const connection = { connectionString: options.ownerUrl, application_name: "plinth migrate" };
  return withConnection(connection, async (client) => {
    for (const [name, value] of Object.entries(SESSION_SETTINGS))
      await client.query("select pg_catalog.set_config($1, $2, false)", [name, value]);
    const { rows } = await client.query<{ owner: string; database: string }>(
      "select current_user as owner, current_database() as database",
    );
    const settings = graphileSettings({
      rolePrefix: options.rolePrefix,
      owner: rows[0]!.owner,
      database: rows[0]!.database,
      migrationsFolder: options.migrationsFolder ?? plinthHistory.migrationsFolder,
    });
    const { ownerUrl, signal, historySchema = plinthHistory.historySchema } = options;
    const { log = () => {}, onProgress = ignoreProgress, patience = DEFAULT_PATIENCE } = options;
    return use({ client, ownerUrl, settings, historySchema, log, onProgress, patience, signal });
  });
}

/** Like {@link withMigrationSession}, but one at a time per database: a second caller waits for the first. @throws PlinthError POOLED_CONNECTION */
export async function withMigrationLock<T>(
  options: MigrationOptions,
  use: (session: MigrationSession) => Promise<T>,
): Promise<T> {
  return withMigrationSession(options, async (session) => {
    await assertKeepsSession(session.client);
    // If this process is killed, the server ends its statement within a second instead of running it to its end. Servers on
    // systems that cannot watch a connection reject the setting.
    await session.client.query("set client_connection_check_interval = '1s'").catch(() => {});
    const { rows } = await session.client.query<{ locked: boolean }>(
      "select pg_try_advisory_lock($1) as locked",
      [MIGRATION_LOCK],
    );
    if (!rows[0]!.locked) {
      session.log("Another migration of this database is running; waiting for it to finish.");
      await session.client.query("select pg_advisory_lock($1)", [MIGRATION_LOCK]);
    }
    // The lock is released when the session ends, so that it is held even through a failure.
    return use(session);
  });
}
