import { createHash, timingSafeEqual } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Logger } from "pino";
import type { ObservabilitySettings } from "../config/observability-settings.ts";
import { PlinthError } from "../support/errors.ts";
import { isLoopback } from "../support/loopback.ts";
import type { Metrics } from "./metrics.ts";

const METRICS_PATH = "/metrics";

const MAX_CONNECTIONS = 100;
/** A request has no body. Connections that send none by then make room for scrapes. */
const REQUEST_TIMEOUT_MS = 2_000;
const CONNECTIONS_CHECK_MS = 500;

export interface MetricsServer {
  /** `http://host:port/metrics` */
  readonly url: string;
  close(): Promise<void>;
}

/**
 * Serves the metrics of a process on a port of their own, so that they never share an address with the public API and work where
 * there is no API.
 * @throws PlinthError ADDRESS_IN_USE, ADDRESS_NOT_ALLOWED
 */
export async function serveMetrics(options: {
  readonly settings: NonNullable<ObservabilitySettings["metrics"]>;
  readonly metrics: Pick<Metrics, "text">;
  readonly logger: Logger;
}): Promise<MetricsServer> {
  const { settings, metrics, logger } = options;
  const { host, port, token } = settings;
  const mayRead = token === undefined ? isFromThisMachine : createTokenCheck(token);

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    response.setHeader("Cache-Control", "no-store");
    if (!mayRead(request)) {
      response.writeHead(401, { "WWW-Authenticate": "Bearer" }).end();
      return;
    }
    if (request.url !== METRICS_PATH) return void response.writeHead(404).end();
    if (request.method !== "GET") return void response.writeHead(405, { Allow: "GET" }).end();
    const { contentType, body } = await metrics.text(request.headers.accept);
    response.writeHead(200, { "Content-Type": contentType }).end(body);
  }

  const timeouts = {
    headersTimeout: REQUEST_TIMEOUT_MS,
    requestTimeout: REQUEST_TIMEOUT_MS,
    connectionsCheckingInterval: CONNECTIONS_CHECK_MS,
  };
  const server = createServer(timeouts, (request, response) => {
    answer(request, response).catch((err: unknown) => {
      logger.error({ err }, "metrics cannot be read");
      response.writeHead(500).end();
    });
  });
  server.maxConnections = MAX_CONNECTIONS;
  const { promise: listening, resolve, reject } = Promise.withResolvers<void>();
  server.once("error", reject).listen(port, host, resolve);
  await listening.catch((cause: NodeJS.ErrnoException) => {
    throw cannotListen(cause, host, port);
  });
  const { address, family, port: actualPort } = server.address() as AddressInfo;
  const url = `http://${family === "IPv6" ? `[${address}]` : address}:${actualPort}${METRICS_PATH}`;
  logger.info({ url }, "serving metrics");
  return {
    url,
    async close() {
      const closed = new Promise<void>((done) => server.close(() => done()));
      server.closeAllConnections();
      await closed;
    },
  };
}

/** Also checks the name that was asked for: a web page could resolve a name of its own to this machine. */
function isFromThisMachine({ headers, socket }: IncomingMessage): boolean {
  const name = URL.parse(`http://${headers.host ?? ""}`)?.hostname ?? "";
  return isLoopback(name.replace(/^\[|\]$/g, "")) && isLoopback(socket.remoteAddress ?? "");
}

/** Compares digests, because their length does not depend on the guess. */
function createTokenCheck(token: string): (request: IncomingMessage) => boolean {
  const digest = (text: string) => createHash("sha256").update(text).digest();
  const expected = digest(`Bearer ${token}`);
  return ({ headers }) => timingSafeEqual(digest(headers.authorization ?? ""), expected);
}

function cannotListen(cause: NodeJS.ErrnoException, host: string, port: number): unknown {
  if (cause.code === "EADDRINUSE")
    return new PlinthError("ADDRESS_IN_USE", `Another program uses port ${port} of ${host}.`, {
      hint: "Set PLINTH_METRICS to another port; each process needs its own.",
      cause,
    });
  if (cause.code === "EACCES" || cause.code === "EADDRNOTAVAIL" || cause.code === "ENOTFOUND")
    return new PlinthError(
      "ADDRESS_NOT_ALLOWED",
      `Metrics cannot be served on port ${port} of ${host} (${cause.code}).`,
      { hint: "Set PLINTH_METRICS to an address of this machine and a port of 1024 or higher.", cause },
    );
  return cause;
}
