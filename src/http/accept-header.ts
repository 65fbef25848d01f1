/** A media range of RFC 9110 §12.5.1 with the parameters that are relevant here. */
const MEDIA_RANGE =
  /^(?:\*\/\*|[\w.+-]+\/(?:\*|[\w.+-]+))(?:\s*;\s*(?:q=(?:0?\.\d+|0\.?|1\.?0*)|(?!q=)[\w-]+=(?:[\w.+*-]+|"[\w ./+-]*")))*$/;

/**
 * Returns the valid parts of an Accept header. grafserv fails on an invalid part, and some clients send one: an empty part
 * at the end, or `*` for any type, as old versions of Java do. A header without a valid part counts as no header.
 */
export function readableAccept(header: string | undefined): string | undefined {
  if (header === undefined) return undefined;
  const parts = header
    .split(",")
    .map((part) => part.trim().replace(/^\*(?=\s*(;|$))/, "*/*"))
    .filter((part) => MEDIA_RANGE.test(part));
  return parts.length > 0 ? parts.join(", ") : undefined;
}

const JSON_TYPE = "application/json;charset=utf-8";
const GRAPHQL_RESPONSE_TYPE = "application/graphql-response+json;charset=utf-8";

/** The response's media type for the Accept headers that clients send most; grafserv negotiates all others. */
const USUAL: ReadonlyMap<string | undefined, string> = new Map([
  // GraphQL over HTTP §"Legacy Watershed": clients without a preference get application/json.
  [undefined, JSON_TYPE],
  ["*/*", JSON_TYPE],
  ["application/json", JSON_TYPE],
  ["application/graphql-response+json", GRAPHQL_RESPONSE_TYPE],
  ["application/graphql-response+json, application/json", GRAPHQL_RESPONSE_TYPE],
  ["application/graphql-response+json,application/json;q=0.9", GRAPHQL_RESPONSE_TYPE],
  [
    "application/graphql-response+json, application/graphql+json, application/json, text/event-stream, multipart/mixed",
    GRAPHQL_RESPONSE_TYPE,
  ],
]);

/** @returns undefined for a header that needs a closer look */
export const usualMediaType = (accept: string | undefined): string | undefined => USUAL.get(accept);

/** Whether operations that fail before their execution have a status of their own (GraphQL over HTTP §6.4.2). */
export const hasStatus = (mediaType: string): boolean => mediaType === GRAPHQL_RESPONSE_TYPE;
