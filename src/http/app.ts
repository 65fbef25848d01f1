import express, { type Express, type RequestHandler } from "express";
import type { Logger } from "pino";
import type { SigningKey } from "../auth/signing-keys.ts";
import type { Config } from "../config/config.ts";
import type { PlinthGrafserv } from "../graphql/grafserv.ts";
import { GRAPHIQL_PATH, GRAPHQL_PATH } from "../graphql/preset.ts";
import type { ErrorLog } from "../request/error-log.ts";
import type { AllowedOrigins } from "./allowed-origins.ts";
import type { FindDocument } from "./find-document.ts";
import { errorResponses, HttpError } from "./http-error.ts";
import { type Authenticator, authenticateStep } from "./steps/authenticate.ts";
import { correlationStep } from "./steps/correlation.ts";
import { corsStep } from "./steps/cors.ts";
import { DATA_EXPORT_PATH } from "./steps/data-export.ts";
import { FRONT_PAGE_PATH, frontPageStep } from "./steps/front-page.ts";
import { graphiqlStep, graphqlStep } from "./steps/graphql.ts";
import { healthStep, type ReadinessChecks, readinessStep } from "./steps/health.ts";
import { JWKS_PATH, jwksStep } from "./steps/jwks.ts";
import { logStep } from "./steps/log.ts";
import type { RateLimit } from "./steps/rate-limit.ts";
import { securityHeadersStep } from "./steps/security-headers.ts";
import { STRIPE_WEBHOOK_PATH } from "./steps/stripe-webhook.ts";

export interface AppParts {
  readonly config: Config["http"];
  readonly logger: Logger;
  readonly origins: AllowedOrigins;
  readonly authenticator: Authenticator;
  readonly rateLimit: RateLimit;
  readonly readiness: ReadinessChecks;
  readonly signingKeys: readonly SigningKey[];
  readonly serv: PlinthGrafserv;
  readonly findDocument: FindDocument;
  readonly errorLog: ErrorLog;
  /** Undefined when its secret is not set. */
  readonly stripeWebhook?: RequestHandler | undefined;
  /** Serves downloads of data exports. */
  readonly dataExport: RequestHandler;
}

/** The HTTP side as an ordered list of steps, each in its own file. */
export function createApp(parts: AppParts): Express {
  const { config, logger, origins, authenticator, rateLimit, readiness, serv, errorLog, stripeWebhook } =
    parts;
  const app = express();
  app.disable("x-powered-by");
  app.disable("etag");
  app.enable("case sensitive routing");
  app.set("query parser", false);
  app.set("trust proxy", [...config.trustedProxies]);

  app.use(correlationStep()); // everything after it logs and returns the id
  app.use(logStep(logger)); // sees the outcome of all later steps
  app.use(securityHeadersStep()); // on errors too
  app.get("/healthz", healthStep()); // before the limits, which do not apply to probes
  app.get("/readyz", readinessStep(readiness));
  app.use(corsStep(origins)); // preflights carry no token and are not counted
  app.use(rateLimit.step); // before the token is checked, so that guessing tokens is limited too
  app.get(FRONT_PAGE_PATH, frontPageStep(config));
  app.get(JWKS_PATH, jwksStep(parts.signingKeys));
  if (stripeWebhook) app.post(STRIPE_WEBHOOK_PATH, stripeWebhook); // its signature is its authentication
  if (config.graphiql) app.get([GRAPHIQL_PATH, `${GRAPHIQL_PATH}/*file`], graphiqlStep(serv));
  app.use(GRAPHQL_PATH, authenticateStep(authenticator, rateLimit)); // may return 401 before the body is read
  app.all(GRAPHQL_PATH, graphqlStep(serv, config, rateLimit, parts.findDocument));
  app.get(DATA_EXPORT_PATH, authenticateStep(authenticator, rateLimit), parts.dataExport);
  app.use(() => {
    throw new HttpError(404, "NOT_FOUND", `Not found. The API is at ${GRAPHQL_PATH}.`);
  });
  app.use(errorResponses(logger, errorLog.record));
  return app;
}
