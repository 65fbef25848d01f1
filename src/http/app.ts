import type { IncomingMessage, RequestListener } from "node:http";
import express, { type Express, type RequestHandler } from "express";
import type { Logger } from "pino";
import type { SigningKey } from "../auth/signing-keys.ts";
import type { Config } from "../config/config.ts";
import { GRAPHIQL_PATH, GRAPHQL_PATH } from "../graphql/preset.ts";
import type { Metrics } from "../observability/metrics.ts";
import type { ErrorLog } from "../request/error-log.ts";
import type { AllowedOrigins } from "./allowed-origins.ts";
import { createAddressOf } from "./client-address.ts";
import { createErrorDescription, type DescribeError, errorResponses } from "./error-responses.ts";
import { HttpError } from "./http-error.ts";
import { createResponseObserver } from "./observe-response.ts";
import { createPostGraphql, isPostGraphql, type PostGraphqlParts } from "./post-graphql/handler.ts";
import { type Authenticator, authenticateStep } from "./steps/authenticate.ts";
import { CONSOLE_PATH, consoleStep } from "./steps/console.ts";
import { correlationStep } from "./steps/correlation.ts";
import { corsStep } from "./steps/cors.ts";
import { DATA_EXPORT_PATH } from "./steps/data-export.ts";
import { FRONT_PAGE_PATH, frontPageStep } from "./steps/front-page.ts";
import { graphiqlStep } from "./steps/graphiql.ts";
import { graphqlStep } from "./steps/graphql.ts";
import {
  HEALTH_PATH,
  healthStep,
  READINESS_PATH,
  type ReadinessChecks,
  readinessStep,
} from "./steps/health.ts";
import { JWKS_PATH, jwksStep } from "./steps/jwks.ts";
import { createRequestLog, logStep } from "./steps/log.ts";
import { type RateLimit, rateLimitStep } from "./steps/rate-limit.ts";
import { SCHEMA_PAGE_PATH, schemaPageStep } from "./steps/schema-page.ts";
import { securityHeadersStep } from "./steps/security-headers.ts";
import { STRIPE_WEBHOOK_PATH } from "./steps/stripe-webhook.ts";

export interface AppParts {
  readonly config: Config["http"];
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly slowOperationMs: number;
  readonly origins: AllowedOrigins;
  readonly authenticator: Authenticator;
  readonly rateLimit: RateLimit;
  readonly readiness: ReadinessChecks;
  readonly signingKeys: readonly SigningKey[];
  readonly engine: PostGraphqlParts["engine"];
  readonly findDocument: PostGraphqlParts["findDocument"];
  readonly errorLog: ErrorLog;
  /** Undefined when its secret is not set. */
  readonly stripeWebhook?: RequestHandler | undefined;
  /** Serves downloads of data exports. */
  readonly dataExport: RequestHandler;
  /** The file of the page at /schema; undefined when it is off. */
  readonly schemaPage?: string | undefined;
  readonly compiled: PostGraphqlParts["compiled"];
  readonly replicas?: PostGraphqlParts["replicas"];
}

export interface App {
  readonly app: Express;
  readonly listener: RequestListener;
  /** Whether a path is one of Plinth's; an application that mounts Plinth keeps all others. */
  readonly ownsPath: (path: string) => boolean;
  readonly describeError: DescribeError;
  readonly addressOf: (request: IncomingMessage) => string | undefined;
}

/**
 * The HTTP side: POST /graphql has a handler of its own, everything else passes an ordered list of steps, each in its own
 * file.
 */
export function createApp(parts: AppParts): App {
  const { config, logger, origins, authenticator, rateLimit, readiness, stripeWebhook, schemaPage } = parts;
  const app = express();
  app.disable("x-powered-by");
  app.disable("etag");
  app.enable("case sensitive routing");
  app.set("query parser", false);
  app.set("trust proxy", [...config.trustedProxies]);

  const logRequest = createRequestLog(
    logger,
    createResponseObserver(parts.metrics, logger, parts),
    readiness.isClosing,
  );
  const describeError = createErrorDescription(logger, parts.errorLog.record);
  const addressOf = createAddressOf(app);
  const { countError } = parts.metrics;
  const postGraphql = createPostGraphql({ ...parts, logRequest, describeError, countError, addressOf });

  // Other spellings of its URL, such as one with a query string or a trailing slash; it needs none of the steps.
  app.post(GRAPHQL_PATH, (request, response) => postGraphql(request, response, request.path));
  app.use(correlationStep()); // everything after it logs and returns the id
  app.use(logStep(logRequest)); // sees the outcome of all later steps
  app.use(securityHeadersStep()); // on errors too
  app.get(HEALTH_PATH, healthStep()); // before the limits, which do not apply to probes
  app.get(READINESS_PATH, readinessStep(readiness));
  app.use(corsStep(origins)); // preflights carry no token and are not counted
  app.use(rateLimitStep(rateLimit)); // before the token is checked, so that guessing tokens is limited too
  app.get(FRONT_PAGE_PATH, frontPageStep(config));
  app.get(JWKS_PATH, jwksStep(parts.signingKeys));
  if (stripeWebhook) app.post(STRIPE_WEBHOOK_PATH, stripeWebhook); // its signature is its authentication
  if (config.graphiql) app.get([GRAPHIQL_PATH, `${GRAPHIQL_PATH}/*file`], graphiqlStep());
  if (schemaPage) app.get(SCHEMA_PAGE_PATH, schemaPageStep(schemaPage));
  if (config.console) app.get([CONSOLE_PATH, `${CONSOLE_PATH}/*file`], consoleStep()); // signs in through the API
  app.use(GRAPHQL_PATH, authenticateStep(authenticator)); // an invalid token is reported first
  app.all(GRAPHQL_PATH, graphqlStep());
  app.get(DATA_EXPORT_PATH, authenticateStep(authenticator), parts.dataExport);
  app.use(() => {
    throw new HttpError(404, "NOT_FOUND", `Not found. The API is at ${GRAPHQL_PATH}.`);
  });
  app.use(errorResponses(describeError, countError));

  const listener: RequestListener = (request, response) =>
    isPostGraphql(request) ? postGraphql(request, response) : app(request, response);
  const ownsPath = createOwnsPath([
    GRAPHQL_PATH,
    HEALTH_PATH,
    READINESS_PATH,
    FRONT_PAGE_PATH,
    JWKS_PATH,
    DATA_EXPORT_PATH,
    ...(stripeWebhook ? [STRIPE_WEBHOOK_PATH] : []),
    ...(config.graphiql ? [GRAPHIQL_PATH, `${GRAPHIQL_PATH}/*file`] : []),
    ...(schemaPage ? [SCHEMA_PAGE_PATH] : []),
    ...(config.console ? [CONSOLE_PATH, `${CONSOLE_PATH}/*file`] : []),
  ]);
  return { app, listener, ownsPath, describeError, addressOf };
}

/** Matches paths as the routes above do. */
function createOwnsPath(routes: readonly string[]): (path: string) => boolean {
  const patterns = routes.map((route) =>
    route.replace(/[.]/g, "\\$&").replace(/:\w+/g, "[^/]+").replace(/\*\w+/g, ".+"),
  );
  const own = new RegExp(`^(${patterns.join("|")})/?$`);
  return (path) => own.test(path);
}
