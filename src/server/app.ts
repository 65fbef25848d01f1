import express, { type Express, type RequestHandler } from "express";
import type { Logger } from "pino";
import type { SigningKey } from "../auth/signing-keys.ts";
import type { Config } from "../config/config.ts";
import type { PlinthGrafserv } from "../graphql/grafserv.ts";
import { GRAPHIQL_PATH, GRAPHQL_PATH } from "../graphql/preset.ts";
import type { ErrorLog } from "../request/error-log.ts";
import type { AllowedOrigins } from "./allowed-origins.ts";
import { type Authenticator, authenticateStep } from "./authenticate-step.ts";
import { correlationStep } from "./correlation-step.ts";
import { corsStep } from "./cors-step.ts";
import { DATA_EXPORT_PATH } from "./data-export-step.ts";
import { graphiqlStep, graphqlStep } from "./graphql-step.ts";
import { healthStep, type ReadinessChecks, readinessStep } from "./health-step.ts";
import { errorResponses, HttpError } from "./http-error.ts";
import { JWKS_PATH, jwksStep } from "./jwks-step.ts";
import { logStep } from "./log-step.ts";
import type { RateLimit } from "./rate-limit-step.ts";
import { securityHeadersStep } from "./security-headers-step.ts";
import { STRIPE_WEBHOOK_PATH } from "./stripe-webhook-step.ts";

export interface AppParts {
  readonly config: Config["http"];
  readonly logger: Logger;
  readonly origins: AllowedOrigins;
  readonly authenticator: Authenticator;
  readonly rateLimit: RateLimit;
  readonly readiness: ReadinessChecks;
  readonly signingKeys: readonly SigningKey[];
  readonly serv: PlinthGrafserv;
  readonly errorLog: ErrorLog;
  /** Absent where no secret for it is set. */
  readonly stripeWebhook?: RequestHandler | undefined;
  /** Downloads of exports. */
  readonly dataExport: RequestHandler;
}

/** The HTTP side as an ordered list of steps; each is a file of its own. */
export function createApp(parts: AppParts): Express {
  const { config, logger, origins, authenticator, rateLimit, readiness, serv, errorLog, stripeWebhook } =
    parts;
  const app = express();
  app.disable("x-powered-by");
  app.disable("etag");
  app.enable("case sensitive routing");
  app.set("query parser", false);
  app.set("trust proxy", [...config.trustedProxies]);

  app.use(correlationStep()); // everything after it logs and answers with the id
  app.use(logStep(logger)); // sees the outcome of all that follows
  app.use(securityHeadersStep()); // on errors too
  app.get("/healthz", healthStep()); // before the limits: a probe is never one too many
  app.get("/readyz", readinessStep(readiness));
  app.use(corsStep(origins)); // a preflight carries no token and is not counted
  app.use(rateLimit.step); // before the token is checked, so that guessing tokens is limited as well
  app.get(JWKS_PATH, jwksStep(parts.signingKeys));
  if (stripeWebhook) app.post(STRIPE_WEBHOOK_PATH, stripeWebhook); // its signature is its authentication
  if (config.graphiql) app.get([GRAPHIQL_PATH, `${GRAPHIQL_PATH}/*file`], graphiqlStep(serv));
  app.use(GRAPHQL_PATH, authenticateStep(authenticator, rateLimit)); // may answer 401 before the body is read
  app.all(GRAPHQL_PATH, graphqlStep(serv, config, rateLimit));
  app.get(DATA_EXPORT_PATH, authenticateStep(authenticator, rateLimit), parts.dataExport);
  app.use(() => {
    throw new HttpError(404, "NOT_FOUND", `There is nothing here; the API is at ${GRAPHQL_PATH}.`);
  });
  app.use(errorResponses(logger, errorLog.record));
  return app;
}
