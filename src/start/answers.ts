import type { Logger } from "pino";
import { createEmbedder } from "../accounts/memories/embedder.ts";
import type { Answerer } from "../answerer/answerer.ts";
import type { ConnectedModel } from "../answerer/connect-model.ts";
import type { Config } from "../config/config.ts";
import type { Database } from "../database/database.ts";
import { awaitRoles, waitingFor } from "./await-roles.ts";
import { masterKeysOf } from "./key-settings.ts";
import { startObservability, withObservability } from "./observability.ts";
import type { PartHooks } from "./options.ts";

/**
 * Starts only the answerer.
 * @param parts.model a model that this process has set up; its address is trusted
 * @throws PlinthError MASTER_KEYS_MISSING
 */
export async function startAnswers(
  config: Config,
  database: Database,
  logger: Logger,
  parts: Pick<PartHooks, "metrics" | "signal"> & {
    readonly model?: Pick<ConnectedModel, "url"> | undefined;
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
