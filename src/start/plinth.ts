import type { Logger } from "pino";
import type { Application } from "../application/application.ts";
import { leftOutModules, moduleOfJob, withoutModules } from "../application/modules.ts";
import type { Config } from "../config/config.ts";
import { withConnection } from "../database/connection.ts";
import { type Database, openDatabase } from "../database/database.ts";
import type { DemoAccount } from "../demo/demo-data.ts";
import { type MountedServer, mountServer, type PlinthServer, startServer } from "../http/server.ts";
import type { Mounted } from "../http/startup/mount.ts";
import type { ServerOptions } from "../http/startup/options.ts";
import { startWorker, TIMETABLE, type Worker } from "../jobs/index.ts";
import { type MailHooks, openMailer } from "../mail/open-mailer.ts";
import { stripeForJobs } from "../payments/stripe.ts";
import { createLogger } from "../request/logger.ts";
import { PlinthError } from "../support/errors.ts";
import { findMasterKeys, masterKeysOf, signingKeysOf } from "./key-settings.ts";
import { bringUpToDate } from "./up-to-date.ts";

export interface PlinthOptions extends MailHooks {
  readonly config: Config;
  readonly application?: Application;
  /** Fills an empty database with demo data. By default, true for the embedded database and false for an external one. */
  readonly demo?: boolean;
  /** Called with progress messages of long steps. */
  readonly log?: (line: string) => void;
  readonly logger?: Logger;
  /** False to open no port: the application's own server passes requests on, see docs/mount.md. */
  readonly listen?: boolean;
  /** Path below which the application mounts the API, such as `/api`. Used only without a port. */
  readonly prefix?: string;
}

/** Parts that the caller of the library supplies. */
type Parts = MailHooks & Pick<PlinthOptions, "application">;

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
  const { config, log = () => {}, logger = createLogger(config.logLevel) } = options;
  // Reported before anything starts.
  leftOutModules(options.application?.modules ?? config.modules);
  mountPrefix(options.prefix);
  // Disposed in reverse order: the API first, the database last.
  await using parts = new AsyncDisposableStack();
  const database = await openDatabase(config, { log });
  parts.defer(() => database.close());
  await bringUpToDate(config, database, log);
  const demoAccounts = await prepareDemo(options, database);
  const worker = await startJobs(config, database, logger, options);
  parts.defer(() => worker.close());
  const serve = options.listen === false ? mountApi : serveApi;
  const server = await serve(config, database, logger, options);
  parts.defer(() => server.close());

  const running = parts.move();
  let closing: Promise<void> | undefined;
  return {
    ...server,
    database,
    demoAccounts,
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
  const leftOut = leftOutModules(hooks.application?.modules ?? config.modules);
  const isDevelopment = database.kind === "embedded";
  const masterKeys = findMasterKeys(config, database);
  const mailer = openMailer({ ...hooks, config, masterKeys, isDevelopment, logger });
  try {
    const worker = await startWorker({
      workerUrl: database.url("worker"),
      logger,
      mailer,
      payments: stripeForJobs(config.payments),
      timetable: withoutModules(leftOut, TIMETABLE, ({ name }) => moduleOfJob(name)),
    });
    return { close: () => worker.close().finally(() => mailer.close()) };
  } catch (error) {
    await mailer.close();
    throw error;
  }
}

/**
 * Starts only the API.
 * @throws PlinthError SIGNING_KEYS_MISSING, MASTER_KEYS_MISSING, and what startServer throws
 */
export function serveApi(
  config: Config,
  database: Database,
  logger: Logger,
  parts: Parts = {},
): Promise<PlinthServer> {
  return startServer(serverOptions(config, database, logger, parts));
}

/** The same without a port. */
function mountApi(
  config: Config,
  database: Database,
  logger: Logger,
  parts: Parts & Pick<PlinthOptions, "prefix">,
): Promise<MountedServer> {
  return mountServer({
    ...serverOptions(config, database, logger, parts),
    prefix: mountPrefix(parts.prefix),
  });
}

function serverOptions(
  config: Config,
  database: Database,
  logger: Logger,
  { application, sendSms }: Parts,
): ServerOptions {
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
