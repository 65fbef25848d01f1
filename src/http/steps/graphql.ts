import type { Request, RequestHandler, Response } from "express";
import type { GrafservBody, JSONValue, RequestDigest, Result } from "postgraphile/grafserv";
import type { PlinthGrafserv } from "../../graphql/grafserv.ts";
import { GRAPHQL_PATH } from "../../graphql/preset.ts";
import { mayHoldTurnCalls, type TurnCalls, turnCallsOf } from "../../limits/turn-calls.ts";
import { readableAccept } from "../accept-header.ts";
import type { FindDocument } from "../find-document.ts";
import { CODES_BY_STATUS, HttpError } from "../http-error.ts";
import { readBody, readJson } from "../request-body.ts";
import type { RateLimit } from "./rate-limit.ts";

/** GraphQL over HTTP at one path. Reads the body here to apply our own limit and errors. */
export function graphqlStep(
  serv: PlinthGrafserv,
  options: { bodyLimitBytes: number },
  rateLimit: RateLimit,
  findDocument: FindDocument,
): RequestHandler {
  return async (request, response) => {
    if (request.method !== "POST")
      throw new HttpError(405, "METHOD_NOT_ALLOWED", "Send operations with POST.", { Allow: "POST" });
    const buffer = await readBody(request, options.bodyLimitBytes);
    const { context, isOverLimit = false } = request;
    const { body, calls } = readOperation(request, buffer, rateLimit, findDocument);
    await rateLimit.settle(context, isOverLimit, calls);
    // Set for a client over its limit; this request is charged to its account.
    if (isOverLimit) response.removeHeader("Retry-After");
    const result = await serv.handle(digest(request, GRAPHQL_PATH, () => body));
    // Responses contain personal data and tokens (RFC 6749 §5.1).
    response.set("Cache-Control", "no-store");
    send(result, response);
  };
}

/**
 * Returns a body in grafserv's form and the calls in it that stream or end answers.
 * @throws HttpError BAD_REQUEST for invalid JSON, and what FindDocument throws; RATE_LIMITED if the client is over its limit
 */
function readOperation(
  request: Request,
  buffer: Buffer,
  rateLimit: RateLimit,
  findDocument: FindDocument,
): { body: GrafservBody; calls: TurnCalls | undefined } {
  const { context, isOverLimit = false } = request;
  const isJson = /^\s*application\/json\s*(;|$)/.test(request.headers["content-type"] ?? "");
  let json: JSONValue;
  try {
    if (!isJson) {
      // The body of application/graphql is the text; grafserv rejects other media types.
      findDocument({ query: buffer.toString() });
      return { body: { type: "buffer", buffer }, calls: undefined };
    }
    json = findDocument(readJson(buffer) as JSONValue);
  } catch (error) {
    throw isOverLimit ? rateLimit.refusal(context.clientIp) : error;
  }
  const { query, operationName } = (json ?? {}) as { query?: unknown; operationName?: unknown };
  const calls =
    context.claims && mayHoldTurnCalls(query) ? turnCallsOf(query, operationName, buffer.length) : undefined;
  return { body: { type: "json", json }, calls };
}

/** Serves GraphiQL's page and its files. */
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
  const accept = readableAccept(headers.accept);
  if (accept) headers.accept = accept;
  else delete headers.accept;
  // GraphQL over HTTP §"Legacy Watershed": clients without a preference get application/json.
  if (path === GRAPHQL_PATH && (!accept || accept === "*/*")) headers.accept = "application/json";
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
      // Streams need @defer, @stream or watch mode, which are all off.
      throw new Error(`grafserv returned ${result?.type ?? "nothing"}.`);
  }
}

/** Adds a code to grafserv's own errors (a wrong media type, invalid JSON), which have only a status. */
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
