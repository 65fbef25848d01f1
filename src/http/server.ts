import "../graphql/graphile-env.ts";
import { randomUUID } from "node:crypto";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import type { Logger } from "pino";
import { postgraphile } from "postgraphile";
import { createApiTokenFinder } from "../accounts/api-tokens/find-api-token.ts";
import { createConversationMemories } from "../accounts/conversation-memory/conversation-memories.ts";
import { createUserKeys } from "../accounts/conversation-memory/user-keys.ts";
import { startActivity } from "../accounts/last-activity.ts";
import { startRevocations } from "../accounts/revocation/revocations.ts";
import { createRoomPasswords } from "../accounts/room-passwords.ts";
import { createSignIn } from "../accounts/sign-in/index.ts";
import { createAccessTokens } from "../auth/access-token.ts";
import { createEmailHasher } from "../auth/email-hasher.ts";
import { parseMasterKeys } from "../auth/master-keys.ts";
import { createPasswordHasher } from "../auth/password-hash.ts";
import { createSealer } from "../auth/sealing.ts";
import { parseSigningKeys } from "../auth/signing-keys.ts";
import type { Config } from "../config/config.ts";
import { PlinthGrafserv } from "../graphql/grafserv.ts";
import { makePreset, type PresetOptions } from "../graphql/preset.ts";
import { createAttemptLimits } from "../limits/attempt-limits.ts";
import { createLeaseTaker } from "../limits/lease-taker.ts";
import { createTurnLimit, turnBytesPerWindow } from "../limits/turn-limit.ts";
import { startLive } from "../live/index.ts";
import { parseProviders } from "../oauth/provider-settings.ts";
import { createProviders } from "../oauth/providers.ts";
import { createCheckout } from "../payments/checkout.ts";
import { contextWithoutRequest } from "../request/context.ts";
import { assertDatabaseReady } from "../request/database-state.ts";
import { createErrorLog } from "../request/error-log.ts";
import { createLogger } from "../request/logger.ts";
import { createNotifier } from "../request/notifier.ts";
import { createPool } from "../request/pool.ts";
import { createPrivateFunctionCaller } from "../request/service-caller.ts";
import { PlinthError } from "../support/errors.ts";
import { createAllowedOrigins } from "./allowed-origins.ts";
import { createApp } from "./app.ts";
import { createAuthenticator } from "./steps/authenticate.ts";
import { dataExportStep } from "./steps/data-export.ts";
import { createRateLimit } from "./steps/rate-limit.ts";
import { stripeWebhookStep } from "./steps/stripe-webhook.ts";
import { OpenSockets } from "./websocket/open-sockets.ts";
import { attachWebSockets } from "./websocket/websocket.ts";

export interface PlinthServer {
  /** `http://host:port` */
  readonly url: string;
  /** Stops accepting requests, drains those in progress with a timeout, then releases all resources. Idempotent. */
  close(): Promise<void>;
}

/** Time for requests in progress to finish when the server stops. */
const DRAIN_TIMEOUT_MS = 10_000;
const HEADERS_TIMEOUT_MS = 10_000;
const REQUEST_TIMEOUT_MS = 30_000;
/** Longer than load balancers keep idle connections (usually 60 s), so that they close first. */
const KEEP_ALIVE_TIMEOUT_MS = 65_000;

/**
 * Serves the API over HTTP and WebSocket.
 * @param options.signingKeys `kid:base64url[,kid:base64url…]`, `kid:es256:base64url`, see parseSigningKeys
 * @param options.masterKeys `version:base64url[,version:base64url…]`, see parseMasterKeys
 * @throws PlinthError INVALID_SETTING, DATABASE_UNREACHABLE, NOT_MIGRATED, ADDRESS_IN_USE, ADDRESS_NOT_ALLOWED
 */
export async function startServer(options: {
  config: Config;
  authenticatorUrl: string;
  serviceUrl: string;
  signingKeys: string;
  masterKeys: string;
  /** Whether a worker delivers SMS; otherwise requests for a code return UNAVAILABLE. */
  canSendSms?: boolean;
  /** Whether pages served from this machine may call the API while no origin is listed. */
  allowLoopbackOrigins?: boolean;
  logger?: Logger;
}): Promise<PlinthServer> {
  const { config, authenticatorUrl, serviceUrl, logger = createLogger(config.logLevel) } = options;
  const { auth, http, pool: poolSettings } = config;
  await using stack = new AsyncDisposableStack();

  const signingKeys = parseSigningKeys(options.signingKeys);
  const accessTokens = createAccessTokens({
    keys: signingKeys,
    issuer: auth.issuer,
    audience: auth.audience,
    ttlSeconds: auth.accessTokenSeconds,
  });
  const sealer = createSealer(parseMasterKeys(options.masterKeys));
  const providers = createProviders(parseProviders(auth.oauthProviders));
  const hasher = createPasswordHasher({
    concurrency: auth.hashConcurrency,
    algorithm: auth.passwordHash,
  });
  stack.defer(() => hasher.close());

  const onError = (err: Error) => logger.warn({ err }, "database connection lost");
  const apiPool = createPool({
    url: authenticatorUrl,
    applicationName: "plinth-api",
    max: poolSettings.max,
    settings: poolSettings,
    onError,
  });
  stack.defer(() => apiPool.end());
  const servicePool = createPool({
    url: serviceUrl,
    applicationName: "plinth-service",
    // Its statements are few and short; passwords are hashed without a connection.
    max: Math.max(2, Math.ceil(poolSettings.max / 4)),
    settings: poolSettings,
    onError,
  });
  stack.defer(() => servicePool.end());

  await assertDatabaseReady(apiPool);

  const callPrivateFunction = createPrivateFunctionCaller(servicePool, poolSettings);
  const errorLog = createErrorLog({ callPrivateFunction, logger });
  stack.defer(() => errorLog.close());
  const notifier = createNotifier({ url: serviceUrl, onError });
  stack.defer(() => notifier.close());
  const openSockets = new OpenSockets();
  const revocations = await startRevocations({
    serviceUrl,
    notifier,
    callPrivateFunction,
    logger,
    onRevocation: (revocation) => openSockets.revoke(revocation),
  });
  stack.defer(() => revocations.close());
  const activity = startActivity({ callPrivateFunction, logger });
  stack.defer(() => activity.close());

  const emailHasher = createEmailHasher({
    sealer,
    query: (text, values) => callPrivateFunction(contextWithoutRequest(), text, values),
  });
  const attemptLimits = createAttemptLimits(callPrivateFunction);
  const signIn = createSignIn({
    callPrivateFunction,
    attemptLimits,
    hasher,
    sealer,
    relyingParty: { name: config.app.name, id: config.app.rpId, origins: config.app.origins },
    emailHasher,
    privacyMode: auth.privacyMode,
    providers,
    accessTokens,
    passwordHistory: auth.passwordHistory,
    appName: config.app.name,
    canSendSms: options.canSendSms ?? false,
    reportError(error, { correlationId }, userId) {
      const errorId = randomUUID();
      logger.error({ err: error, errorId, correlationId }, "Sign-in to an account failed");
      errorLog.record({ errorId, error, correlationId, userId });
    },
  });
  const memories = createConversationMemories({
    callPrivateFunction,
    userKeys: createUserKeys({ callPrivateFunction, sealer }),
  });
  const roomPasswords = createRoomPasswords({ callPrivateFunction, attemptLimits, hasher });
  const { windowSeconds } = http.rateLimit;
  const rateLimit = createRateLimit({
    config: http.rateLimit,
    takeLease: createLeaseTaker(callPrivateFunction, http.rateLimit),
    turnLimit: createTurnLimit({
      windowSeconds,
      takeLease: createLeaseTaker(callPrivateFunction, {
        requests: turnBytesPerWindow(windowSeconds),
        windowSeconds,
      }),
      logger,
    }),
    logger,
  });
  stack.defer(() => rateLimit.close());
  const onPlan: PresetOptions["onPlan"] = ({ clientIp }, fields) =>
    rateLimit.chargePlanning(clientIp, fields);
  const checkout = createCheckout({ settings: config.payments, callPrivateFunction });
  const pgl = postgraphile(
    makePreset({
      pool: apiPool,
      config,
      logger,
      signIn,
      memories,
      checkout,
      roomPasswords,
      onPlan,
      onUnforeseen: errorLog.record,
    }),
  );
  stack.defer(() => pgl.release());
  const serv = pgl.createServ((parts) => new PlinthGrafserv(parts));
  await pgl.getSchema();
  await serv.ready();

  const live = await startLive({
    url: serviceUrl,
    notifier,
    pool: apiPool,
    logger,
    isSharing: config.live.isSharing,
  });
  stack.defer(() => live.close());
  const authenticator = createAuthenticator({
    accessTokens,
    findApiToken: createApiTokenFinder(callPrivateFunction),
    revocations,
    activity,
  });
  const origins = createAllowedOrigins({
    listed: http.corsOrigins,
    allowLoopback: options.allowLoopbackOrigins ?? false,
    logger,
  });
  let isClosing = false;
  const app = createApp({
    config: http,
    logger,
    origins,
    authenticator,
    rateLimit,
    serv,
    errorLog,
    signingKeys,
    dataExport: dataExportStep({ callPrivateFunction, conversationMemories: memories }),
    stripeWebhook: stripeWebhookStep({ ...config.payments, callPrivateFunction, logger }),
    readiness: {
      pools: [apiPool, servicePool],
      hearsRevocations: revocations.isListening,
      hearsNews: live.isListening,
      isClosing: () => isClosing,
    },
  });
  const server = createServer(
    {
      headersTimeout: HEADERS_TIMEOUT_MS,
      requestTimeout: REQUEST_TIMEOUT_MS,
      keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
    },
    app,
  );
  const closeSockets = attachWebSockets(server, {
    app,
    config: http,
    logger,
    serv,
    origins,
    authenticator,
    rateLimit,
    openSockets,
    live,
  });
  const url = await listen(server, http);
  stack.defer(() => drain(server, closeSockets));
  logger.info({ url }, "serving");

  const resources = stack.move();
  let closing: Promise<void> | undefined;
  return {
    url,
    close() {
      isClosing = true;
      closing ??= resources.disposeAsync();
      return closing;
    },
  };
}

async function listen(server: Server, { host, port }: Config["http"]): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once("error", reject).listen(port, host, resolve);
  try {
    await promise;
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === "EADDRINUSE")
      throw new PlinthError("ADDRESS_IN_USE", `Another program uses port ${port} of ${host}.`, {
        hint: "Stop that program or set PLINTH_PORT to another port.",
        cause,
      });
    if (code === "EACCES" || code === "EADDRNOTAVAIL" || code === "ENOTFOUND")
      throw new PlinthError(
        "ADDRESS_NOT_ALLOWED",
        `The server cannot listen on port ${port} of ${host} (${code}).`,
        {
          hint: "Set PLINTH_HOST to an address of this machine and PLINTH_PORT to a port of 1024 or higher.",
          cause,
        },
      );
    throw cause;
  }
  const { address, family, port: actualPort } = server.address() as AddressInfo;
  return `http://${family === "IPv6" ? `[${address}]` : address}:${actualPort}`;
}

/** Accepts no new connections and lets requests finish; closes sockets, and requests that take too long. */
async function drain(server: Server, closeSockets: () => void): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  closeSockets();
  // A busy connection becomes idle after its response and would be kept open for the next request.
  const sweeping = setInterval(() => server.closeIdleConnections(), 50);
  const giveUp = setTimeout(() => server.closeAllConnections(), DRAIN_TIMEOUT_MS);
  await closed;
  clearInterval(sweeping);
  clearTimeout(giveUp);
}
