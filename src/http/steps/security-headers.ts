import type { IncomingMessage, ServerResponse } from "node:http";
import type { RequestHandler } from "express";
import helmet, { type HelmetOptions } from "helmet";
import { GRAPHIQL_PATH } from "../../graphql/preset.ts";

/**
 * Sets Helmet's headers, which are the same for each request and computed once. API responses need only the content policy 'none'. GraphiQL is a page with inline scripts and
 * workers, which are allowed on its route only.
 */
export function securityHeadersStep(): RequestHandler {
  const forApi = headersOf({
    contentSecurityPolicy: {
      useDefaults: false,
      directives: { defaultSrc: ["'none'"], frameAncestors: ["'none'"] },
    },
    xFrameOptions: { action: "deny" },
  });
  const forGraphiql = headersOf({
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
  return (request, response, next) => {
    for (const [name, value] of isGraphiql(request.path) ? forGraphiql : forApi)
      response.setHeader(name, value);
    next();
  };
}

/** Collects what Helmet sets on a response. */
function headersOf(options: HelmetOptions): ReadonlyMap<string, string> {
  const headers = new Map<string, string>();
  const response = {
    setHeader: (name: string, value: string) => headers.set(name, value),
    removeHeader() {},
  } as unknown as ServerResponse;
  helmet(options)({} as IncomingMessage, response, (error) => {
    if (error) throw error;
  });
  return headers;
}

function isGraphiql(path: string): boolean {
  return path === GRAPHIQL_PATH || path.startsWith(`${GRAPHIQL_PATH}/`);
}
