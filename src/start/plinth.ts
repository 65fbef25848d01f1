import { leftOutModules } from "../application/modules.ts";
import { type Database, openDatabase } from "../database/database.ts";
import type { DemoAccount } from "../demo/demo-data.ts";
import type { Mounted } from "../http/startup/mount.ts";
import type { Metrics } from "../observability/metrics.ts";
import { createLogger } from "../request/logger.ts";
import type { PlinthError } from "../support/errors.ts";
import { startAnswers } from "./answers.ts";
import { mountApi, mountPrefix, serveApi } from "./api.ts";
import { awaitRoles } from "./await-roles.ts";
import { startBackups } from "./backups.ts";
import { prepareDemo } from "./demo.ts";
import { startJobs } from "./jobs.ts";
import { prepareModel } from "./model.ts";
import { startObservability } from "./observability.ts";
import type { PlinthOptions } from "./options.ts";
import { bringUpToDate } from "./up-to-date.ts";

/** A running Plinth: a database, its API and its jobs. */
export interface Plinth extends MountedPlinth {
  /** URL of the API, such as http://127.0.0.1:5678; GraphQL is at /graphql. */
  readonly url: string;
}

/** A running Plinth without a port of its own. */
export interface MountedPlinth extends Mounted {
  readonly database: Database;
  /** Demo accounts that can sign in; empty without demo data. */
  readonly demoAccounts: readonly DemoAccount[];
  /** The model that answers without further settings: the one of PLINTH_LLM_URL, or the local echo of the demo. */
  readonly model: { readonly provider: string; readonly name: string } | undefined;
  /** The metrics of the process in Prometheus's format, for a route of your own; PLINTH_METRICS serves them on a port. */
  readonly metrics: Pick<Metrics, "text">;
  /** Resolves with a sentence if the embedded database stops without `close()`. */
  readonly died: Promise<string>;
  /** Waits for requests, then for jobs, then stops the database. Can be called again. */
  close(): Promise<void>;
}

/**
 * Starts everything in one process: opens the database, brings it up to date, serves the API and runs the jobs.
 * @throws PlinthError with the reason; parts that were already started are stopped
 */
export async function startPlinth(options: PlinthOptions & { listen: false }): Promise<MountedPlinth>;
export async function startPlinth(options: PlinthOptions): Promise<Plinth>;
export async function startPlinth(options: PlinthOptions): Promise<MountedPlinth> {
  const { config, log = () => {}, onProgress, logger = createLogger(config.logLevel) } = options;
  // Reported before anything starts.
  leftOutModules(options.application?.modules ?? config.modules);
  mountPrefix(options.prefix);
  // Disposed in reverse order: the API first, the database last.
  await using parts = new AsyncDisposableStack();
  const database = await openDatabase(config, { log });
  parts.defer(() => database.close());
  await awaitRoles(config, database, ["owner"], { log, signal: options.signal });
  await bringUpToDate(config, database, { application: options.application, log, onProgress });
  onProgress?.({ step: "Preparing the demo data and the model" });
  const hasDemo = options.demo ?? database.kind === "embedded";
  const hasAnswerer = config.models.answerer ?? database.kind === "embedded";
  const demoAccounts = hasDemo ? await prepareDemo(config, database) : [];
  const model = await prepareModel(config, database, hasDemo && hasAnswerer, parts);
  onProgress?.({ step: "Starting the jobs and the API" });
  const { metrics, ...observability } = await startObservability(config, database, logger, "service");
  parts.defer(() => observability.close());
  const worker = await startJobs(config, database, logger, { ...options, metrics });
  parts.defer(() => worker.close());
  if (hasAnswerer) {
    const answerer = await startAnswers(config, database, logger, { model, metrics }).catch(
      (error: unknown) => {
        // By default, only where the package is installed.
        if (config.models.answerer || (error as PlinthError).code !== "PACKAGE_MISSING") throw error;
        logger.warn((error as PlinthError).message);
        return undefined;
      },
    );
    parts.defer(async () => answerer?.close());
  }
  const serve = options.listen === false ? mountApi : serveApi;
  const server = await serve(config, database, logger, { ...options, metrics });
  parts.defer(() => server.close());
  // Last, because the first backup begins at once.
  const backups = await startBackups(config, database, logger);
  parts.defer(async () => backups?.close());

  const running = parts.move();
  let closing: Promise<void> | undefined;
  return {
    ...server,
    database,
    metrics,
    demoAccounts,
    model: model && { provider: model.provider, name: model.name },
    died: database.died,
    close: () => {
      closing ??= running.disposeAsync();
      return closing;
    },
  };
}
