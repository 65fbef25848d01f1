import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import { PLINTH_VERSION } from "../support/version.ts";
import { createLabelLimit } from "./label-limit.ts";

/** From a cached read to the statement timeout, in seconds. */
const DURATIONS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
const JOB_DURATIONS = [0.01, 0.1, 1, 10, 60, 300, 600];
/** Codes come from this program and from applications' plugins, which are few; a bound keeps it so. */
const MOST_CODES = 60;

/** A text of metrics with its media type. */
export interface MetricsText {
  readonly contentType: string;
  readonly body: string;
}

export type Metrics = ReturnType<typeof createMetrics>;

/** Creates the counters of a process. Labels never hold ids, document texts or values of users. */
export function createMetrics() {
  const registry = new Registry();
  const registers = [registry];
  const samplers = new Set<() => void | Promise<void>>();
  const codeOf = createLabelLimit(MOST_CODES);
  const outcomeOf = createLabelLimit(MOST_CODES);
  let hasProcessMetrics = false;

  new Gauge({
    name: "plinth_build_info",
    help: "Always 1; the labels are the versions of Plinth and of Node.",
    labelNames: ["version", "node"],
    registers,
  }).set({ version: PLINTH_VERSION, node: process.versions.node }, 1);

  const errors = new Counter({
    name: "plinth_errors_total",
    help: "Errors that clients received, by code (docs/errors.md).",
    labelNames: ["code"],
    registers,
  });

  const instruments = {
    registry,
    requests: new Counter({
      name: "plinth_http_requests_total",
      help: "HTTP requests, by path and status; aborted requests have the status 499.",
      labelNames: ["path", "status"],
      registers,
    }),
    requestSeconds: new Histogram({
      name: "plinth_http_request_duration_seconds",
      help: "Duration of HTTP requests, by path.",
      labelNames: ["path"],
      buckets: DURATIONS,
      registers,
    }),
    operations: new Counter({
      name: "plinth_graphql_operations_total",
      help: "GraphQL operations, by type, transport and outcome (ok or error).",
      labelNames: ["type", "transport", "outcome"],
      registers,
    }),
    operationSeconds: new Histogram({
      name: "plinth_graphql_operation_duration_seconds",
      help: "Duration of GraphQL operations over HTTP, by type.",
      labelNames: ["type"],
      buckets: DURATIONS,
      registers,
    }),
    slowOperations: new Counter({
      name: "plinth_graphql_slow_operations_total",
      help: "GraphQL operations over HTTP that took longer than PLINTH_SLOW_OPERATION_MS.",
      registers,
    }),
    poolWaitSeconds: new Histogram({
      name: "plinth_pool_wait_seconds",
      help: "Time that requests waited for a database connection, by pool.",
      labelNames: ["pool"],
      buckets: DURATIONS,
      registers,
    }),
    poolConnections: new Gauge({
      name: "plinth_pool_connections",
      help: "Database connections, by pool and state (busy or idle).",
      labelNames: ["pool", "state"],
      registers,
    }),
    poolLimit: new Gauge({
      name: "plinth_pool_connections_limit",
      help: "Maximum number of database connections, by pool.",
      labelNames: ["pool"],
      registers,
    }),
    poolWaiting: new Gauge({
      name: "plinth_pool_waiting_requests",
      help: "Requests that wait for a database connection now, by pool.",
      labelNames: ["pool"],
      registers,
    }),
    listeners: new Gauge({
      name: "plinth_listener_up",
      help: "1 while notifications of this purpose arrive, otherwise 0.",
      labelNames: ["purpose"],
      registers,
    }),
    sockets: new Gauge({
      name: "plinth_websockets_open",
      help: "Open WebSockets.",
      registers,
    }),
    subscriptions: new Gauge({
      name: "plinth_subscriptions_open",
      help: "Open GraphQL subscriptions.",
      registers,
    }),
    jobs: new Counter({
      name: "plinth_job_runs_total",
      help: "Runs of jobs in this process, by job and outcome (ok or error).",
      labelNames: ["job", "outcome"],
      registers,
    }),
    jobSeconds: new Histogram({
      name: "plinth_job_duration_seconds",
      help: "Duration of runs of jobs in this process, by job.",
      labelNames: ["job"],
      buckets: JOB_DURATIONS,
      registers,
    }),
    answers: new Counter({
      name: "plinth_answers_total",
      help: "Answers of models that this process wrote, by outcome (ok, or the code of the failure).",
      labelNames: ["outcome"],
      registers,
    }),
    answersRunning: new Gauge({
      name: "plinth_answers_running",
      help: "Answers of models that this process is writing.",
      registers,
    }),
  };

  return {
    ...instruments,
    countError(code: unknown): void {
      errors.inc({ code: codeOf(code) });
    },
    /** @param outcome ok, or the code of the failure */
    countAnswer(outcome: string): void {
      instruments.answers.inc({ outcome: outcomeOf(outcome) });
    },
    /**
     * Has a function set gauges before each scrape.
     * @returns a function that stops it
     */
    sample(sampler: () => void | Promise<void>): () => void {
      samplers.add(sampler);
      return () => samplers.delete(sampler);
    },
    /** Returns all metrics, in OpenMetrics if the client accepts it, otherwise in Prometheus's text format 0.0.4. */
    async text(accept = ""): Promise<MetricsText> {
      if (!hasProcessMetrics) collectDefaultMetrics({ register: registry });
      hasProcessMetrics = true;
      await Promise.all([...samplers].map((sampler) => sampler()));
      const body = await registry.metrics();
      return /application\/openmetrics-text/.test(accept)
        ? { contentType: Registry.OPENMETRICS_CONTENT_TYPE, body: asOpenMetrics(body) }
        : { contentType: Registry.PROMETHEUS_CONTENT_TYPE, body };
    },
  };
}

/** Not by the registry: its OpenMetrics renames the counters, also in the other format from then on. */
function asOpenMetrics(text: string): string {
  const lines = text.split("\n").filter((line) => line !== "");
  // A counter's name has the ending only in its samples.
  const named = lines.map((line) => line.replace(/^(# (?:HELP|TYPE) \S+?)_total /, "$1 "));
  return `${named.join("\n")}\n# EOF\n`;
}
