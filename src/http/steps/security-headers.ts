import type { IncomingMessage, ServerResponse } from "node:http";
import type { RequestHandler } from "express";
import helmet, { type HelmetOptions } from "helmet";
import { GRAPHIQL_PATH } from "../../graphql/preset.ts";
import type { Headers } from "../headers.ts";

/** API responses need only the content policy 'none'. */
export const API_SECURITY_HEADERS: Headers = headersOf({
  contentSecurityPolicy: {
    useDefaults: false,
    directives: { defaultSrc: ["'none'"], frameAncestors: ["'none'"] },
  },
  xFrameOptions: { action: "deny" },
});

/** GraphiQL is a page with inline scripts and workers, which are allowed on its route only. */
const GRAPHIQL_SECURITY_HEADERS: Headers = headersOf({
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

/** Sets Helmet's headers, which are the same for each request and computed once. */
export function securityHeadersStep(): RequestHandler {
  return (request, response, next) => {
    response.set(isGraphiql(request.path) ? GRAPHIQL_SECURITY_HEADERS : API_SECURITY_HEADERS);
    next();
  };
}

/** Collects what Helmet sets on a response. */
function headersOf(options: HelmetOptions): Headers {
  const headers: Record<string, string> = {};
  const response = {
    setHeader(name: string, value: string) {
      headers[name] = value;
    },
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
