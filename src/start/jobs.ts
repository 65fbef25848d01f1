import { join } from "node:path";
import type { Logger } from "pino";
import { createEmbedder } from "../accounts/memories/embedder.ts";
import { createMemoryOpener } from "../accounts/memories/sealed-memories.ts";
import { leftOutModules } from "../application/modules.ts";
import { timetableOf } from "../application/timetable.ts";
import { backupKeysOf } from "../auth/backup-keys.ts";
import { parseMasterKeys } from "../auth/master-keys.ts";
import { createSealer } from "../auth/sealing.ts";
import type { Config } from "../config/config.ts";
import type { Database } from "../database/database.ts";
import { SERVER_LOG } from "../database/embedded/server-log.ts";
import { startWorker, type Worker } from "../jobs/index.ts";
import type { MemoryEmbeddings } from "../jobs/memory-embeddings.ts";
import { openMailer } from "../mail/open-mailer.ts";
import type { Metrics } from "../observability/metrics.ts";
import { stripeForJobs } from "../payments/stripe.ts";
import { awaitRoles, waitingFor } from "./await-roles.ts";
import { erasureSettings } from "./erasures.ts";
import { findMasterKeys } from "./key-settings.ts";
import { startObservability, withObservability } from "./observability.ts";
import type { PartHooks } from "./options.ts";

/**
 * Starts only the jobs, including mail.
 * @throws PlinthError INVALID_SETTING, and what startWorker throws
 */
export async function startJobs(
  config: Config,
  database: Database,
  logger: Logger,
  hooks: PartHooks = {},
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
  hooks: PartHooks & { readonly metrics: Metrics },
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
