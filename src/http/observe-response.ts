import type { Logger } from "pino";
import { documentHash } from "../documents/document-hash.ts";
import type { Operation } from "../graphql/execute.ts";
import { GRAPHIQL_PATH, GRAPHQL_PATH } from "../graphql/preset.ts";
import type { Metrics } from "../observability/metrics.ts";
import type { RequestContext } from "../request/context.ts";
import type { RequestCosts } from "../request/request-costs.ts";
import { operationNameOf } from "./operation-name.ts";
import { CONSOLE_PATH } from "./steps/console.ts";
import { DATA_EXPORT_PATH } from "./steps/data-export.ts";
import { FRONT_PAGE_PATH } from "./steps/front-page.ts";
import { HEALTH_PATH, READINESS_PATH } from "./steps/health.ts";
import { JWKS_PATH } from "./steps/jwks.ts";
import { SCHEMA_PAGE_PATH } from "./steps/schema-page.ts";
import { STRIPE_WEBHOOK_PATH } from "./steps/stripe-webhook.ts";

/** An executed operation of a request. */
export interface OperationReport {
  readonly operation: Operation;
  /** query or mutation; unknown if the document is not valid. */
  readonly type: string;
  /** Codes of the errors in the response. */
  readonly codes: readonly unknown[];
  /** Size of the response. */
  readonly bytes: number;
}

/** Called when a response has ended. */
export type ObserveResponse = (response: {
  readonly path: string;
  readonly status: number;
  readonly ms: number;
  readonly context: RequestContext;
  readonly operation: OperationReport | undefined;
  readonly costs: RequestCosts | undefined;
}) => void;

/** Counts responses and operations, and logs slow operations by the hash of their document, never with variables. */
export function createResponseObserver(
  metrics: Metrics,
  logger: Logger,
  { slowOperationMs }: { readonly slowOperationMs: number },
): ObserveResponse {
  return ({ path: fullPath, status, ms, context, operation, costs }) => {
    const path = labelOf(fullPath);
    metrics.requests.inc({ path, status });
    metrics.requestSeconds.observe({ path }, ms / 1_000);
    if (!operation) return;
    const { type, codes, bytes } = operation;
    metrics.operations.inc({ type, transport: "http", outcome: codes.length === 0 ? "ok" : "error" });
    metrics.operationSeconds.observe({ type }, ms / 1_000);
    for (const code of codes) metrics.countError(code);
    if (slowOperationMs === 0 || ms < slowOperationMs) return;
    metrics.slowOperations.inc();
    const { correlationId, traceId } = context;
    const name = operationNameOf(operation.operation);
    logger.warn(
      {
        correlationId,
        ...(traceId && { traceId }),
        document: documentHash(operation.operation.query),
        ...(name && { operation: name }),
        type,
        durationMs: tenths(ms),
        poolWaitMs: tenths(costs?.poolWaitMs ?? 0),
        databaseMs: tenths(costs?.databaseMs ?? 0),
        statements: costs?.statements ?? 0,
        rows: costs?.rows ?? 0,
        bytes,
      },
      "slow operation",
    );
  };
}

export const tenths = (ms: number): number => Math.round(ms * 10) / 10;

const PATHS = new Set([
  GRAPHQL_PATH,
  HEALTH_PATH,
  READINESS_PATH,
  JWKS_PATH,
  FRONT_PAGE_PATH,
  SCHEMA_PAGE_PATH,
  STRIPE_WEBHOOK_PATH,
]);
/** Paths with a variable part. */
const PREFIXES = [GRAPHIQL_PATH, CONSOLE_PATH, DATA_EXPORT_PATH.replace(/\/:.*/, "")];

/** Clients choose paths, so only Plinth's own become labels. */
function labelOf(path: string): string {
  if (PATHS.has(path)) return path;
  return PREFIXES.find((prefix) => path === prefix || path.startsWith(`${prefix}/`)) ?? "other";
}
