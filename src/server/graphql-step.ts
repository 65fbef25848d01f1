import type { Request, RequestHandler, Response } from "express";
import type { RequestDigest, Result } from "postgraphile/grafserv";
import type { PlinthGrafserv } from "./grafserv.ts";
import { CODES_BY_STATUS, HttpError } from "./http-error.ts";
import { GRAPHQL_PATH } from "./preset.ts";
import type { RateLimit } from "./rate-limit-step.ts";
import { readBody } from "./request-body.ts";
import { turnCallsIn } from "./turn-calls.ts";

/** GraphQL over HTTP at one path. The body is read here, so that its limit and its errors are ours. */
export function graphqlStep(
  serv: PlinthGrafserv,
  options: { bodyLimitBytes: number },
  rateLimit: RateLimit,
): RequestHandler {
  return async (request, response) => {
    if (request.method !== "POST")
      throw new HttpError(405, "METHOD_NOT_ALLOWED", "Send operations with POST.", { Allow: "POST" });
    const buffer = await readBody(request, options.bodyLimitBytes);
    const { context, isOverLimit = false } = request;
    await rateLimit.settle(context, isOverLimit, context.claims ? turnCallsIn(buffer) : undefined);
    // Set for the client that has sent too much; this request is its account's.
    if (isOverLimit) response.removeHeader("Retry-After");
    const result = await serv.handle(digest(request, GRAPHQL_PATH, () => ({ type: "buffer", buffer })));
    // Answers hold personal data, and tokens (RFC 6749 §5.1).
    response.set("Cache-Control", "no-store");
    send(result, response);
  };
}

/** GraphiQL's page and its files. */
export function graphiqlStep(serv: PlinthGrafserv): RequestHandler {
  return async (request, response, next) => {
    const result = await serv.handle(digest(request, request.path, () => ({ type: "text", text: "" })));
    if (result === null) next();
    else send(result, response);
  };
}

function digest(request: Request, path: string, getBody: RequestDigest["getBody"]): RequestDigest {
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(request.headers))
    if (value !== undefined) headers[name] = Array.isArray(value) ? value.join(", ") : value;
  // GraphQL over HTTP §"Legacy Watershed": who states no preference gets application/json.
  if (path === GRAPHQL_PATH && (!headers.accept || headers.accept === "*/*"))
    headers.accept = "application/json";
  return {
    method: request.method,
    path,
    headers,
    httpVersionMajor: request.httpVersionMajor,
    httpVersionMinor: request.httpVersionMinor,
    isSecure: request.secure,
    getQueryParams: () => ({}),
    getBody,
    requestContext: { plinth: request.context },
    preferJSON: true,
  };
}

function send(result: Result | null, response: Response): void {
  switch (result?.type) {
    case "json":
      response
        .status(result.statusCode)
        .set(result.headers)
        .end(JSON.stringify(withCodes(result.json, result.statusCode)));
      return;
    case "buffer":
      response.status(result.statusCode).set(result.headers).end(result.buffer);
      return;
    case "noContent":
      response.status(result.statusCode).set(result.headers).end();
      return;
    case "error":
      throw result.error;
    default:
      // Streams come with @defer, @stream and the watch mode, none of which is on.
      throw new Error(`grafserv answered with ${result?.type ?? "nothing"}.`);
  }
}

/** Errors that grafserv makes itself (a wrong media type, a body that is no JSON) carry a status and no code. */
function withCodes(payload: unknown, status: number): unknown {
  const { errors } = payload as { errors?: { message: string; extensions?: { code?: unknown } }[] };
  if (!errors?.some(({ extensions }) => extensions?.code === undefined)) return payload;
  const code = CODES_BY_STATUS[status] ?? "BAD_REQUEST";
  return {
    ...(payload as object),
    errors: errors.map((error) =>
      error.extensions?.code === undefined ? { message: error.message, extensions: { code } } : error,
    ),
  };
}
