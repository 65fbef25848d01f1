import type { Logger } from "pino";
import type { Config } from "../config/config.ts";
import type { Database } from "../database/database.ts";
import { type MountedServer, mountServer, type PlinthServer, startServer } from "../http/server.ts";
import type { ServerOptions } from "../http/startup/options.ts";
import type { Metrics } from "../observability/metrics.ts";
import { PlinthError } from "../support/errors.ts";
import { awaitRoles, waitingFor } from "./await-roles.ts";
import { masterKeysOf, signingKeysOf } from "./key-settings.ts";
import { startObservability, withObservability } from "./observability.ts";
import type { PartHooks, PlinthOptions } from "./options.ts";

/**
 * Starts only the API.
 * @throws PlinthError SIGNING_KEYS_MISSING, MASTER_KEYS_MISSING, and what startServer throws
 */
export async function serveApi(
  config: Config,
  database: Database,
  logger: Logger,
  parts: PartHooks = {},
): Promise<PlinthServer> {
  await awaitRoles(config, database, ["authenticator", "service"], waitingFor(logger, parts.signal));
  return withObservability(
    parts.metrics,
    () => startObservability(config, database, logger, "service"),
    (metrics) => startServer({ ...serverOptions(config, database, logger, parts), metrics }),
  );
}

/** The same without a port. */
export async function mountApi(
  config: Config,
  database: Database,
  logger: Logger,
  parts: PartHooks & Pick<PlinthOptions, "prefix"> & { readonly metrics: Metrics },
): Promise<MountedServer> {
  await awaitRoles(config, database, ["authenticator", "service"], waitingFor(logger, parts.signal));
  return mountServer({
    ...serverOptions(config, database, logger, parts),
    metrics: parts.metrics,
    prefix: mountPrefix(parts.prefix),
  });
}

function serverOptions(
  config: Config,
  database: Database,
  logger: Logger,
  { application, sendSms }: PartHooks,
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
export function mountPrefix(prefix = ""): string {
  if (/^(\/[\w.~-]+)*$/.test(prefix)) return prefix;
  throw new PlinthError(
    "INVALID_SETTING",
    `prefix is ${JSON.stringify(prefix)}, but must be a path such as /api, without a slash at its end.`,
  );
}
