import { join } from "node:path";
import type { Logger } from "pino";
import { createEmbedder } from "../accounts/memories/embedder.ts";
import { createMemoryOpener } from "../accounts/memories/sealed-memories.ts";
import type { Answerer } from "../answerer/answerer.ts";
import type { ConnectedModel } from "../answerer/connect-model.ts";
import type { Application } from "../application/application.ts";
import { leftOutModules } from "../application/modules.ts";
import { timetableOf } from "../application/timetable.ts";
import { backupKeysOf } from "../auth/backup-keys.ts";
import { parseMasterKeys } from "../auth/master-keys.ts";
import { createSealer } from "../auth/sealing.ts";
import type { Config } from "../config/config.ts";
import { withConnection } from "../database/connection.ts";
import { type Database, openDatabase } from "../database/database.ts";
import { SERVER_LOG } from "../database/embedded/server-log.ts";
import type { DemoAccount } from "../demo/demo-data.ts";
import { type MountedServer, mountServer, type PlinthServer, startServer } from "../http/server.ts";
import type { Mounted } from "../http/startup/mount.ts";
import type { ServerOptions } from "../http/startup/options.ts";
import { startWorker, type Worker } from "../jobs/index.ts";
import type { MemoryEmbeddings } from "../jobs/memory-embeddings.ts";
import { type MailHooks, openMailer } from "../mail/open-mailer.ts";
import type { Metrics } from "../observability/metrics.ts";
import { stripeForJobs } from "../payments/stripe.ts";
import { createLogger } from "../request/logger.ts";
import { PlinthError } from "../support/errors.ts";
import type { OnProgress } from "../support/progress.ts";
import { awaitRoles } from "./await-roles.ts";
import { startBackups } from "./backups.ts";
import { erasureSettings } from "./erasures.ts";
import { findMasterKeys, masterKeysOf, signingKeysOf } from "./key-settings.ts";
import { startObservability, withObservability } from "./observability.ts";
import { bringUpToDate } from "./up-to-date.ts";

export interface PlinthOptions extends MailHooks {
  readonly config: Config;
  readonly application?: Application | undefined;
  /** Fills an empty database with demo data. By default, true for the embedded database and false for an external one. */
  readonly demo?: boolean;
  /** Called with progress messages of long steps. */
  readonly log?: (line: string) => void;
  /** Called with the steps of the start, and how far each is. */
  readonly onProgress?: OnProgress;
  readonly logger?: Logger;
  /** Ends a wait for a database that does not accept connections yet. */
  readonly signal?: AbortSignal;
  /** False to open no port: the application's own server passes requests on, see docs/mount.md. */
  readonly listen?: boolean;
  /** Path below which the application mounts the API, such as `/api`. Used only without a port. */
  readonly prefix?: string;
}

/** Parts that the caller of the library supplies. */
type Parts = MailHooks &
  Pick<PlinthOptions, "application" | "signal"> & {
    /** Those of the process; by default, the part has its own. */
    readonly metrics?: Metrics;
  };

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
  const demoAccounts = await prepareDemo(options, database);
  const model = await prepareModel(options, database, parts);
  onProgress?.({ step: "Starting the jobs and the API" });
  const { metrics, ...observability } = await startObservability(config, database, logger, "service");
  parts.defer(() => observability.close());
  const worker = await startJobs(config, database, logger, { ...options, metrics });
  parts.defer(() => worker.close());
  if (config.models.answerer ?? database.kind === "embedded") {
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

/**
 * Starts only the jobs, including mail.
 * @throws PlinthError INVALID_SETTING, and what startWorker throws
 */
export async function startJobs(
  config: Config,
  database: Database,
  logger: Logger,
  hooks: Parts = {},
): Promise<Worker> {
  await awaitRoles(config, database, ["worker"], waitingFor(logger, hooks.signal));
  return withObservability(
    hooks.metrics,
    () => startObservability(config, database, logger, "worker"),
    (metrics) => startWorkerWithMail(config, database, logger, { ...hooks, metrics }),
  );
}

async function startWorkerWithMail(
  config: Config,
  database: Database,
  logger: Logger,
  hooks: Parts & { readonly metrics: Metrics },
): Promise<Worker> {
  const leftOut = leftOutModules(hooks.application?.modules ?? config.modules);
  const isDevelopment = database.kind === "embedded";
  const masterKeys = findMasterKeys(config, database);
  const mailer = openMailer({ ...hooks, config, masterKeys, isDevelopment, logger });
  try {
    const worker = await startWorker({
      workerUrl: database.url("worker"),
      logger,
      metrics: hooks.metrics,
      timetable: timetableOf(hooks.application ?? {}, leftOut),
      applicationJobs: new Set(hooks.application?.jobs?.map(({ name }) => name)),
      mailer,
      payments: await stripeForJobs(config.payments),
      embeddings: embeddingsForJobs(config, masterKeys, logger),
      archives: {
        directory: config.archives.directory,
        keys: backupKeysOf(config.archives),
        workerUrl: database.url("worker"),
      },
      erasures: erasureSettings(config, database),
      ownerUrl: isDevelopment || config.databaseUrls.owner ? database.url("owner") : undefined,
      serverLog: isDevelopment ? join(config.dataDirectory, SERVER_LOG) : undefined,
    });
    return { close: () => worker.close().finally(() => mailer.close()) };
  } catch (error) {
    await mailer.close();
    throw error;
  }
}

/** Undefined without the setting, and without the keys that open memories. */
function embeddingsForJobs(
  config: Config,
  masterKeys: string | undefined,
  logger: Logger,
): MemoryEmbeddings | undefined {
  const embedder = createEmbedder(config.embeddings);
  if (!embedder) return undefined;
  if (!masterKeys) {
    logger.warn("PLINTH_MASTER_KEYS is not set: vectors of memories wait for a worker that has them");
    return undefined;
  }
  return { ...embedder, open: createMemoryOpener(createSealer(parseMasterKeys(masterKeys))) };
}

/**
 * Starts only the answerer.
 * @param parts.model a model that this process has set up; its address is trusted
 * @throws PlinthError MASTER_KEYS_MISSING
 */
export async function startAnswers(
  config: Config,
  database: Database,
  logger: Logger,
  parts: {
    readonly model?: Pick<ConnectedModel, "url"> | undefined;
    readonly metrics?: Metrics;
    readonly signal?: AbortSignal;
  } = {},
): Promise<Answerer> {
  await awaitRoles(config, database, ["service"], waitingFor(logger, parts.signal));
  const { model } = parts;
  const { startAnswerer } = await import("../answerer/answerer.ts");
  const { concurrency, privateNetworks, url } = config.models;
  const trusted = [model?.url, url].filter((each) => each !== undefined);
  return withObservability(
    parts.metrics,
    () => startObservability(config, database, logger, "service"),
    (metrics) =>
      startAnswerer({
        serviceUrl: database.url("service"),
        masterKeys: masterKeysOf(config, database),
        pool: config.pool,
        concurrency,
        embedder: createEmbedder(config.embeddings),
        providerRules: { privateNetworks, trustedUrls: trusted },
        logger,
        metrics,
      }),
  );
}

/**
 * Starts only the API.
 * @throws PlinthError SIGNING_KEYS_MISSING, MASTER_KEYS_MISSING, and what startServer throws
 */
export async function serveApi(
  config: Config,
  database: Database,
  logger: Logger,
  parts: Parts = {},
): Promise<PlinthServer> {
  await awaitRoles(config, database, ["authenticator", "service"], waitingFor(logger, parts.signal));
  return withObservability(
    parts.metrics,
    () => startObservability(config, database, logger, "service"),
    (metrics) => startServer({ ...serverOptions(config, database, logger, parts), metrics }),
  );
}

/** The same without a port. */
async function mountApi(
  config: Config,
  database: Database,
  logger: Logger,
  parts: Parts & Pick<PlinthOptions, "prefix"> & { readonly metrics: Metrics },
): Promise<MountedServer> {
  await awaitRoles(config, database, ["authenticator", "service"], waitingFor(logger, parts.signal));
  return mountServer({
    ...serverOptions(config, database, logger, parts),
    metrics: parts.metrics,
    prefix: mountPrefix(parts.prefix),
  });
}

function waitingFor(logger: Logger, signal: AbortSignal | undefined) {
  return { log: (line: string) => logger.warn(line), signal };
}

function serverOptions(
  config: Config,
  database: Database,
  logger: Logger,
  { application, sendSms }: Parts,
): Omit<ServerOptions, "metrics"> {
  return {
    config,
    application,
    authenticatorUrl: database.url("authenticator"),
    serviceUrl: database.url("service"),
    signingKeys: signingKeysOf(config, database),
    masterKeys: masterKeysOf(config, database),
    // With the embedded database, text messages are written to files.
    canSendSms: sendSms !== undefined || database.kind === "embedded",
    allowLoopbackOrigins: database.kind === "embedded",
    logger,
  };
}

/** @throws PlinthError INVALID_SETTING */
function mountPrefix(prefix = ""): string {
  if (/^(\/[\w.~-]+)*$/.test(prefix)) return prefix;
  throw new PlinthError(
    "INVALID_SETTING",
    `prefix is ${JSON.stringify(prefix)}, but must be a path such as /api, without a slash at its end.`,
  );
}

async function prepareDemo(
  { config, demo }: PlinthOptions,
  database: Database,
): Promise<readonly DemoAccount[]> {
  const wanted = demo ?? database.kind === "embedded";
  if (!wanted) return [];
  const { findDemoAccounts, loadDemoData } = await import("../demo/demo-data.ts");
  const connection = { connectionString: database.url("owner"), application_name: "plinth demo" };
  return withConnection(connection, async (client) => {
    await loadDemoData(client, config.dataDirectory, {
      masterKeys: findMasterKeys(config, database),
      privacyMode: config.auth.privacyMode,
    });
    return findDemoAccounts(client, config.dataDirectory);
  });
}

/** Sets up the model of PLINTH_LLM_URL, or a local echo that answers in the demo. */
async function prepareModel(
  { config, demo }: PlinthOptions,
  database: Database,
  parts: AsyncDisposableStack,
): Promise<ConnectedModel | undefined> {
  const { answerer, url, key, name } = config.models;
  const isEmbedded = database.kind === "embedded";
  const { connectModel, DEMO_PROVIDER } = await import("../answerer/connect-model.ts");
  let model: ConnectedModel;
  if (url) model = { provider: "PLINTH_LLM_URL", url, key, name, displayName: name };
  else if ((demo ?? isEmbedded) && (answerer ?? isEmbedded)) {
    const { startFakeModel } = await import("../answerer/fake-model.ts");
    const echo = await startFakeModel();
    parts.defer(() => echo.close());
    const provider = DEMO_PROVIDER;
    model = { provider, url: echo.url, key: undefined, name: "echo", displayName: "Local echo" };
  } else return undefined;
  const connection = { connectionString: database.url("owner"), application_name: "plinth model" };
  await withConnection(connection, (client) => connectModel(client, model, masterKeysOf(config, database)));
  return model;
}
