import type { Logger } from "pino";
import type { Config } from "../config/config.ts";
import type { Database } from "../database/database.ts";
import { addDatabaseMetrics } from "../observability/database-metrics.ts";
import { createDatabaseReader } from "../observability/database-reading.ts";
import { addDiskMetrics } from "../observability/disk-metrics.ts";
import { createMetrics, type Metrics } from "../observability/metrics.ts";
import { serveMetrics } from "../observability/metrics-server.ts";

/** The metrics of a process, served if PLINTH_METRICS names a port. */
export interface Observability {
  readonly metrics: Metrics;
  close(): Promise<void>;
}

/**
 * @param role whose connection reads the database's own numbers
 * @throws PlinthError ADDRESS_IN_USE, ADDRESS_NOT_ALLOWED
 */
export async function startObservability(
  { observability, dataDirectory }: Config,
  database: Database,
  logger: Logger,
  role: "service" | "worker",
): Promise<Observability> {
  const metrics = createMetrics();
  await using stack = new AsyncDisposableStack();
  const reader = createDatabaseReader({ url: database.url(role) });
  stack.defer(() => reader.close());
  addDatabaseMetrics(metrics, reader);
  if (database.kind === "embedded") addDiskMetrics(metrics, dataDirectory);
  if (observability.metrics) {
    const server = await serveMetrics({ settings: observability.metrics, metrics, logger });
    stack.defer(() => server.close());
  }
  const opened = stack.move();
  return { metrics, close: () => opened.disposeAsync() };
}

/** Starts a part with metrics of its own, which end with it, unless it shares those of its process. */
export async function withObservability<T extends { close(): Promise<void> }>(
  shared: Metrics | undefined,
  open: () => Promise<Observability>,
  start: (metrics: Metrics) => Promise<T>,
): Promise<T> {
  if (shared) return start(shared);
  const own = await open();
  try {
    const part = await start(own.metrics);
    const { close } = part;
    return Object.assign(part, { close: () => close().finally(() => own.close()) });
  } catch (error) {
    await own.close();
    throw error;
  }
}
