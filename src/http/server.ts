import "../support/graphile-env.ts";
import { createLogger } from "../request/logger.ts";
import { createServerApp } from "./startup/app.ts";
import { createAuth } from "./startup/auth.ts";
import { openConnections } from "./startup/connections.ts";
import { listen } from "./startup/listen.ts";
import type { ServerOptions } from "./startup/options.ts";
import { createServices } from "./startup/services.ts";

export interface PlinthServer {
  /** `http://host:port` */
  readonly url: string;
  /** Stops accepting requests, drains those in progress with a timeout, then releases all resources. Idempotent. */
  close(): Promise<void>;
}

/**
 * Serves the API over HTTP and WebSocket. Each step registers on the stack how to close what it opened, and uses only what
 * earlier steps opened. Resources close in reverse order, when the server stops and when a later step fails.
 * @throws PlinthError INVALID_SETTING, DATABASE_UNREACHABLE, NOT_MIGRATED, PREPARED_STATEMENTS_LOST, ADDRESS_IN_USE, ADDRESS_NOT_ALLOWED
 */
export async function startServer(
  settings: Omit<ServerOptions, "logger"> & Partial<Pick<ServerOptions, "logger">>,
): Promise<PlinthServer> {
  const { logger = createLogger(settings.config.logLevel) } = settings;
  const options: ServerOptions = { ...settings, logger };
  let isClosing = false;
  await using stack = new AsyncDisposableStack();

  const auth = createAuth(options, stack);
  const connections = await openConnections(options, stack);
  const services = await createServices(options, auth, connections, stack);
  const app = await createServerApp(options, { auth, connections, services }, () => isClosing, stack);
  const url = await listen(app, stack);
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
