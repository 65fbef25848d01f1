import { watchPool } from "../../observability/pool-metrics.ts";
import { assertDatabaseReady } from "../../request/database-state.ts";
import { createErrorLog } from "../../request/error-log.ts";
import { createNotifier } from "../../request/notifier.ts";
import { createPool } from "../../request/pool.ts";
import { assertStatementsStayPrepared } from "../../request/prepared-statement-check.ts";
import { openReplicas } from "../../request/replicas/replicas.ts";
import { createPrivateFunctionCaller } from "../../request/service-caller.ts";
import type { ServerOptions } from "./options.ts";

export type Connections = Awaited<ReturnType<typeof openConnections>>;

/**
 * Opens the connections that everything else shares, and the error log, which must outlive all that reports to it.
 * @throws PlinthError DATABASE_UNREACHABLE, NOT_MIGRATED, PREPARED_STATEMENTS_LOST
 */
export async function openConnections(options: ServerOptions, stack: AsyncDisposableStack) {
  const { authenticatorUrl, serviceUrl, logger, metrics } = options;
  const settings = options.config.pool;
  const onError = (err: Error) => logger.warn({ err }, "database connection lost");
  const apiPool = createPool({
    url: authenticatorUrl,
    applicationName: "plinth-api",
    max: settings.max,
    overflow: settings.overflow,
    settings,
    onError,
  });
  stack.defer(() => apiPool.end());
  watchPool(metrics, "api", apiPool);
  const servicePool = createPool({
    url: serviceUrl,
    applicationName: "plinth-service",
    // Its statements are few and short; passwords are hashed without a connection.
    max: Math.max(2, Math.ceil(settings.max / 4)),
    overflow: Math.ceil(settings.overflow / 4),
    settings,
    onError,
  });
  stack.defer(() => servicePool.end());
  watchPool(metrics, "service", servicePool);

  await assertDatabaseReady(apiPool);
  if (settings.preparedStatements)
    await Promise.all([authenticatorUrl, serviceUrl].map(assertStatementsStayPrepared));

  const callPrivateFunction = createPrivateFunctionCaller(servicePool, settings);
  const errorLog = createErrorLog({ callPrivateFunction, logger });
  stack.defer(() => errorLog.close());
  const notifier = createNotifier({ url: serviceUrl, onError });
  stack.defer(() => notifier.close());
  const replicas = openServerReplicas(options);
  if (replicas) stack.defer(() => replicas.close());
  return { apiPool, servicePool, callPrivateFunction, errorLog, notifier, replicas };
}

function openServerReplicas({ config, authenticatorUrl, logger }: ServerOptions) {
  const { replicas, pool } = config;
  if (replicas.urls.length === 0) return undefined;
  return openReplicas({ config: replicas, pool, primaryUrl: authenticatorUrl, logger });
}
