import type { IncomingMessage } from "node:http";
import type { RequestDigest, Result } from "postgraphile/grafserv";
import { GRAPHQL_PATH } from "../graphql/preset.ts";
import type { RequestContext } from "../request/context.ts";
import { readableAccept } from "./accept-header.ts";
import { CODES_BY_STATUS } from "./http-error.ts";

/** A request in grafserv's form. */
export function digest(
  request: IncomingMessage,
  context: RequestContext,
  path: string,
  getBody: RequestDigest["getBody"],
): RequestDigest {
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(request.headers))
    if (value !== undefined) headers[name] = Array.isArray(value) ? value.join(", ") : value;
  const accept = readableAccept(headers.accept);
  if (accept) headers.accept = accept;
  else delete headers.accept;
  // GraphQL over HTTP §"Legacy Watershed": clients without a preference get application/json.
  if (path === GRAPHQL_PATH && (!accept || accept === "*/*")) headers.accept = "application/json";
  return {
    method: request.method!,
    path,
    headers,
    httpVersionMajor: request.httpVersionMajor,
    httpVersionMinor: request.httpVersionMinor,
    isSecure: false, // grafserv does not read it
    getQueryParams: () => ({}),
    getBody,
    requestContext: { plinth: context },
    preferJSON: true,
  };
}

/**
 * Returns the body of grafserv's response.
 * @throws the error that grafserv caught
 */
export function bodyOf(result: Result): string | Buffer {
  switch (result.type) {
    case "json":
      return JSON.stringify(withCodes(result.json, result.statusCode));
    case "buffer":
      return result.buffer;
    case "noContent":
      return "";
    case "error":
      throw result.error;
    default:
      // Streams need @defer, @stream or watch mode, which are all off.
      throw new Error(`grafserv returned ${result.type}.`);
  }
}

/** Adds a code to grafserv's own errors (a wrong media type, invalid JSON), which have only a status. */
export function withCodes(payload: unknown, status: number): unknown {
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
