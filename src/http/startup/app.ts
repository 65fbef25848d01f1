import { createApiTokenFinder } from "../../accounts/api-tokens/find-api-token.ts";
import { leftOutModules } from "../../application/modules.ts";
import { loadAddedDocuments } from "../../documents/added-documents.ts";
import { startLive } from "../../live/index.ts";
import type { ConstraintFields } from "../../request/constraint-fields.ts";
import { createAllowedOrigins } from "../allowed-origins.ts";
import { type App, createApp } from "../app.ts";
import { createFindDocument } from "../find-document.ts";
import { createAuthenticator } from "../steps/authenticate.ts";
import { dataExportStep } from "../steps/data-export.ts";
import { findSchemaPage } from "../steps/schema-page.ts";
import { stripeWebhookStep } from "../steps/stripe-webhook.ts";
import type { WebSocketParts } from "../websocket/websocket.ts";
import type { Auth } from "./auth.ts";
import type { Connections } from "./connections.ts";
import { createGraphql } from "./graphql.ts";
import type { ServerOptions } from "./options.ts";
import type { Services } from "./services.ts";

export interface ServerApp extends WebSocketParts, App {
  readonly constraints: ConstraintFields;
}

/**
 * Creates the app: the HTTP steps, and what its WebSockets use.
 * @param isClosing whether the server is stopping, for the readiness probe
 */
export async function createServerApp(
  options: ServerOptions,
  { auth, connections, services }: { auth: Auth; connections: Connections; services: Services },
  isClosing: () => boolean,
  stack: AsyncDisposableStack,
): Promise<ServerApp> {
  const { config, application, serviceUrl, logger, metrics } = options;
  const leftOut = leftOutModules(application?.modules ?? config.modules);
  const { apiPool, servicePool, callPrivateFunction, errorLog, notifier, replicas } = connections;
  const { openSockets, revocations, activity, conversationMemories, memories, rateLimit } = services;
  const { engine, compiled, constraints } = await createGraphql(options, connections, services);
  const live = await startLive({
    url: serviceUrl,
    notifier,
    pool: apiPool,
    logger,
    isSharing: config.live.isSharing,
  });
  stack.defer(() => live.close());
  const added = await loadAddedDocuments({ live, notifier, logger });
  stack.defer(() => added.close());
  const findDocument = createFindDocument({ added, allowed: config.http.documents });
  const authenticator = createAuthenticator({
    accessTokens: auth.accessTokens,
    findApiToken: createApiTokenFinder(callPrivateFunction),
    revocations,
    activity,
  });
  const origins = createAllowedOrigins({
    listed: config.http.corsOrigins,
    allowLoopback: options.allowLoopbackOrigins ?? false,
    logger,
  });
  const shared = {
    config: config.http,
    logger,
    metrics,
    origins,
    authenticator,
    rateLimit,
    engine,
    findDocument,
    replicas,
  };
  const created = createApp({
    ...shared,
    slowOperationMs: config.observability.slowOperationMs,
    compiled,
    errorLog,
    signingKeys: auth.signingKeys,
    dataExport: dataExportStep({ callPrivateFunction, conversationMemories, memories }),
    schemaPage: config.http.schemaPage ? findSchemaPage(application) : undefined,
    stripeWebhook: leftOut.has("payments")
      ? undefined
      : await stripeWebhookStep({ ...config.payments, callPrivateFunction, logger }),
    readiness: {
      pools: [apiPool, servicePool],
      hearsRevocations: revocations.isListening,
      hearsNews: live.isListening,
      replicas: replicas?.states,
      isClosing,
    },
  });
  metrics.sample(() => {
    metrics.listeners.set({ purpose: "revocations" }, Number(revocations.isListening()));
    metrics.listeners.set({ purpose: "live" }, Number(live.isListening()));
    metrics.subscriptions.set(live.openSubscriptions());
  });
  return { ...shared, ...created, constraints, openSockets, live };
}
