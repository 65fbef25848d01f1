import type { Logger } from "pino";
import type { Config } from "../config/config.ts";
import { withConnection } from "../database/connection.ts";
import { type Database, openDatabase } from "../database/database.ts";
import type { DemoAccount } from "../demo/demo-data.ts";
import { type PlinthServer, startServer } from "../http/server.ts";
import { startWorker, type Worker } from "../jobs/index.ts";
import { type MailHooks, openMailer } from "../mail/open-mailer.ts";
import { stripeForJobs } from "../payments/stripe.ts";
import { createLogger } from "../request/logger.ts";
import { findMasterKeys, masterKeysOf, signingKeysOf } from "./key-settings.ts";
import { bringUpToDate } from "./up-to-date.ts";

export interface PlinthOptions extends MailHooks {
  readonly config: Config;
  /** Fills an empty database with demo data. By default the embedded one is filled and an external one is not. */
  readonly demo?: boolean;
  /** Told about steps that take a while, in sentences. */
  readonly log?: (line: string) => void;
  readonly logger?: Logger;
}

/** A running Plinth: a database, its API and its jobs. */
export interface Plinth {
  /** Where the API listens, such as http://127.0.0.1:5678; GraphQL is at /graphql. */
  readonly url: string;
  readonly database: Database;
  /** Accounts of the demo data that can sign in; none where there is no demo data. */
  readonly demoAccounts: readonly DemoAccount[];
  /** Resolves with a sentence if the embedded database stops without `close()`. */
  readonly died: Promise<string>;
  /** Lets requests finish, then jobs, then stops the database; can be called again. */
  close(): Promise<void>;
}

/**
 * Starts everything in one process: opens the database, brings it up to date, serves the API and works the jobs.
 * @throws PlinthError saying what is in the way; what was started by then is stopped again
 */
export async function startPlinth(options: PlinthOptions): Promise<Plinth> {
  const { config, log = () => {}, logger = createLogger(config.logLevel) } = options;
  // Ends in the opposite order, so the API goes first and the database last.
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
 * Starts the jobs alone, mail among them.
 * @throws PlinthError INVALID_SETTING, and what startWorker throws
 */
export async function startJobs(
  config: Config,
  database: Database,
  logger: Logger,
  hooks: MailHooks = {},
): Promise<Worker> {
  const isDevelopment = database.kind === "embedded";
  const masterKeys = findMasterKeys(config, database);
  const mailer = openMailer({ ...hooks, config, masterKeys, isDevelopment, logger });
  try {
    const worker = await startWorker({
      workerUrl: database.url("worker"),
      logger,
      mailer,
      payments: stripeForJobs(config.payments),
    });
    return { close: () => worker.close().finally(() => mailer.close()) };
  } catch (error) {
    await mailer.close();
    throw error;
  }
}

/**
 * Starts the API alone.
 * @throws PlinthError SIGNING_KEYS_MISSING, MASTER_KEYS_MISSING, and what startServer throws
 */
export function serveApi(
  config: Config,
  database: Database,
  logger: Logger,
  { sendSms }: MailHooks = {},
): Promise<PlinthServer> {
  return startServer({
    config,
    authenticatorUrl: database.url("authenticator"),
    serviceUrl: database.url("service"),
    signingKeys: signingKeysOf(config, database),
    masterKeys: masterKeysOf(config, database),
    // Embedded, text messages go into files.
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
