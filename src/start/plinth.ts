import type { Logger } from "pino";
import type { Application } from "../application/application.ts";
import { leftOutModules, moduleOfJob, withoutModules } from "../application/modules.ts";
import type { Config } from "../config/config.ts";
import { withConnection } from "../database/connection.ts";
import { type Database, openDatabase } from "../database/database.ts";
import type { DemoAccount } from "../demo/demo-data.ts";
import { type PlinthServer, startServer } from "../http/server.ts";
import { startWorker, TIMETABLE, type Worker } from "../jobs/index.ts";
import { type MailHooks, openMailer } from "../mail/open-mailer.ts";
import { stripeForJobs } from "../payments/stripe.ts";
import { createLogger } from "../request/logger.ts";
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
}

/** Parts that the caller of the library supplies. */
type Parts = MailHooks & Pick<PlinthOptions, "application">;

/** A running Plinth: a database, its API and its jobs. */
export interface Plinth {
  /** URL of the API, such as http://127.0.0.1:5678; GraphQL is at /graphql. */
  readonly url: string;
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
export async function startPlinth(options: PlinthOptions): Promise<Plinth> {
  const { config, log = () => {}, logger = createLogger(config.logLevel) } = options;
  leftOutModules(options.application?.modules ?? config.modules); // reported before anything starts
  // Disposed in reverse order: the API first, the database last.
  await using parts = new AsyncDisposableStack();
  const database = await openDatabase(config, { log });
  parts.defer(() => database.close());
  await bringUpToDate(config, database, log);
  const demoAccounts = await prepareDemo(options, database);
  const worker = await startJobs(config, database, logger, options);
  parts.defer(() => worker.close());
  const server = await serveApi(config, database, logger, options);
  parts.defer(() => server.close());

  const running = parts.move();
  let closing: Promise<void> | undefined;
  return {
    url: server.url,
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
  { application, sendSms }: Parts = {},
): Promise<PlinthServer> {
  return startServer({
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
  });
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
