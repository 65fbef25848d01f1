import type { RequestHandler } from "express";
import helmet from "helmet";
import { GRAPHIQL_PATH } from "../../graphql/preset.ts";

/**
 * Sets Helmet's headers. API responses need only the content policy 'none'. GraphiQL is a page with inline scripts and
 * workers, which are allowed on its route only.
 */
export function securityHeadersStep(): RequestHandler {
  const forApi = helmet({
    contentSecurityPolicy: {
      useDefaults: false,
      directives: { defaultSrc: ["'none'"], frameAncestors: ["'none'"] },
    },
    xFrameOptions: { action: "deny" },
  });
  const forGraphiql = helmet({
    contentSecurityPolicy: {
      useDefaults: false,
      directives: {
        defaultSrc: ["'none'"],
        baseUri: ["'none'"],
        connectSrc: ["'self'"],
        fontSrc: ["'self'", "data:"],
        formAction: ["'none'"],
        frameAncestors: ["'none'"],
        imgSrc: ["'self'", "data:"],
        scriptSrc: ["'self'", "'unsafe-inline'"],
        styleSrc: ["'self'", "'unsafe-inline'"],
        workerSrc: ["'self'", "blob:"],
      },
    },
    xFrameOptions: { action: "deny" },
  });
  return (request, response, next) =>
    (isGraphiql(request.path) ? forGraphiql : forApi)(request, response, next);
}

function isGraphiql(path: string): boolean {
  return path === GRAPHIQL_PATH || path.startsWith(`${GRAPHIQL_PATH}/`);
}
