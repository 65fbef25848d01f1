import "../support/graphile-env.ts";
import { createMetrics } from "../observability/metrics.ts";
import { findTracer } from "../observability/tracing.ts";
import { createLogger } from "../request/logger.ts";
import type { App } from "./app.ts";
import { createServerApp } from "./startup/app.ts";
import { createAuth } from "./startup/auth.ts";
import { openConnections } from "./startup/connections.ts";
import { listen } from "./startup/listen.ts";
import { createMounted, type Mounted } from "./startup/mount.ts";
import type { ServerOptions } from "./startup/options.ts";
import { createServices } from "./startup/services.ts";
import type { WebSockets } from "./websocket/websocket.ts";

export interface MountedServer extends Mounted {
  /** Stops accepting requests, drains those in progress with a timeout, then releases all resources. Idempotent. */
  close(): Promise<void>;
}

export interface PlinthServer extends MountedServer {
  /** `http://host:port` */
  readonly url: string;
}

type Settings = Omit<ServerOptions, "logger" | "metrics"> &
  Partial<Pick<ServerOptions, "logger" | "metrics">>;

/**
 * Serves the API over HTTP and WebSocket.
 * @throws PlinthError ADDRESS_IN_USE, ADDRESS_NOT_ALLOWED, and what mountServer throws
 */
export function startServer(settings: Settings): Promise<PlinthServer> {
  return openServer(settings, async ({ config, logger }, parts, stack) => {
    const url = await listen({ ...parts, config: config.http }, stack);
    logger.info({ url }, "serving");
    return { url };
  });
}

/**
 * Creates the API for an application's own server; opens no port.
 * @throws PlinthError INVALID_SETTING, DATABASE_UNREACHABLE, NOT_MIGRATED, PREPARED_STATEMENTS_LOST
 */
export function mountServer(settings: Settings): Promise<MountedServer> {
  return openServer(settings, async () => ({}));
}

/**
 * Each step registers on the stack how to close what it opened, and uses only what earlier steps opened. Resources close in
 * reverse order, when the server stops and when a later step fails.
 */
async function openServer<T extends object>(
  settings: Settings,
  open: (
    options: ServerOptions,
    parts: Pick<App, "listener"> & Pick<Mounted, "handleUpgrade"> & { readonly sockets: WebSockets },
    stack: AsyncDisposableStack,
  ) => Promise<T>,
): Promise<MountedServer & T> {
  const { logger = createLogger(settings.config.logLevel), metrics = createMetrics() } = settings;
  const options: ServerOptions = { ...settings, logger, metrics };
  findTracer();
  let isClosing = false;
  await using stack = new AsyncDisposableStack();

  const auth = createAuth(options, stack);
  const connections = await openConnections(options, stack);
  const services = await createServices(options, auth, connections, stack);
  const app = await createServerApp(options, { auth, connections, services }, () => isClosing, stack);
  const { sockets, ...mounted } = await createMounted(options, connections, app, stack);
  const opened = await open(options, { ...mounted, listener: app.listener, sockets }, stack);

  const resources = stack.move();
  let closing: Promise<void> | undefined;
  return {
    ...mounted,
    ...opened,
    close() {
      isClosing = true;
      closing ??= resources.disposeAsync();
      return closing;
    },
  };
}
