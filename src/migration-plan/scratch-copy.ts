import type pg from "pg";
import { getRollbackPlans } from "pg-boss";
import { roleName } from "../config/roles.ts";
import type { CommittedMigration } from "../database/graphile-migrate.ts";
import type { MigrationHistory } from "../database/history.ts";
import { type InstalledJobSchema, installJobSchema, jobSchemaVersion } from "../database/job-schema.ts";
import { createMigrationTables, runMigrations } from "../database/migrate.ts";
import { type MigrationSession, withMigrationSession } from "../database/migration-session.ts";
import { JOB_SCHEMA } from "../database/schemas.ts";
import { createScratchDatabase } from "../database/scratch-database.ts";
import type { OnProgress } from "../support/progress.ts";

/** The state of a live database, as far as its migrations determine it. */
export interface LiveState {
  readonly histories: readonly {
    readonly history: MigrationHistory;
    readonly applied: readonly CommittedMigration[];
  }[];
  /** Undefined if it is not installed. */
  readonly jobs: InstalledJobSchema | undefined;
  readonly onProgress?: OnProgress;
}

export interface ScratchCopy {
  readonly url: string;
  readonly client: pg.Client;
  /** The session for a history's files, on the same connection. */
  session(history: MigrationHistory): MigrationSession;
}

/**
 * Makes an empty database with the schema that the live one has, and drops it afterwards. There, migrations can run for real: their
 * locks and rewrites are PostgreSQL's own answer, which no reading of SQL could give (functions, DO blocks, partitions, column
 * types, constraints that another one proves), and the live database is only read.
 * @param rootUrl any database of a server, as a superuser or a role with CREATEDB and CREATEROLE
 */
export async function withScratchCopy<T>(
  rootUrl: string,
  { histories, jobs, onProgress }: LiveState,
  use: (copy: ScratchCopy) => Promise<T>,
): Promise<T> {
  await using held = new AsyncDisposableStack();
  const scratch = await createScratchDatabase(rootUrl);
  held.defer(() => scratch.drop());
  const url = scratch.url("owner");
  const { rolePrefix } = scratch;
  // Awaited here, because the database is dropped when this function returns.
  return await withMigrationSession({ ownerUrl: url, rolePrefix, onProgress }, async (first) => {
    const session = ({ migrationsFolder, historySchema }: MigrationHistory): MigrationSession => ({
      ...first,
      settings: { ...first.settings, migrationsFolder },
      historySchema,
    });
    for (const { history, applied } of histories) {
      await createMigrationTables(session(history));
      await runMigrations(session(history), applied);
    }
    if (jobs !== undefined) {
      const workerRole = roleName(rolePrefix, "worker");
      await installJobSchema(first.client, { workerRole, queues: [] });
      await rollBackJobs(first.client, jobs.version);
      if (jobs.schema !== JOB_SCHEMA)
        await first.client.query(`alter schema ${JOB_SCHEMA} rename to ${jobs.schema}`);
    }
    return use({ url, client: first.client, session });
  });
}

/** pg-boss can make only its newest schema, and takes back one version at a time. */
async function rollBackJobs(client: pg.ClientBase, to: number): Promise<void> {
  for (let version = (await jobSchemaVersion(client))!; version > to; version--)
    await client.query(getRollbackPlans(JOB_SCHEMA, version));
}
