import { HttpError } from "./http-error.ts";

/** A media range of RFC 9110 §12.5.1 with the parameters that are relevant here. */
const MEDIA_RANGE =
  /^(?:\*\/\*|[\w.+-]+\/(?:\*|[\w.+-]+))(?:\s*;\s*(?:q=(?:0?\.\d+|0\.?|1\.?0*)|(?!q=)[\w-]+=(?:[\w.+*-]+|"[\w ./+-]*")))*$/;

/**
 * Returns the valid parts of an Accept header. Some clients send an invalid one: an empty part at the end, or `*` for
 * any type, as old versions of Java do. A header without a valid part counts as no header.
 */
function readableAccept(header: string | undefined): string | undefined {
  if (header === undefined) return undefined;
  const parts = header
    .split(",")
    .map((part) => part.trim().replace(/^\*(?=\s*(;|$))/, "*/*"))
    .filter((part) => MEDIA_RANGE.test(part));
  return parts.length > 0 ? parts.join(", ") : undefined;
}

const JSON_TYPE = "application/json;charset=utf-8";
const GRAPHQL_RESPONSE_TYPE = "application/graphql-response+json;charset=utf-8";

/** The response's media type for the Accept headers that clients send most. */
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

/**
 * Returns the response's media type.
 * @throws HttpError NOT_ACCEPTABLE
 */
export function mediaTypeFor(accept: string | undefined): string {
  const type = USUAL.get(accept) ?? negotiate(accept);
  if (type !== undefined) return type;
  throw new HttpError(
    406,
    "NOT_ACCEPTABLE",
    "The Accept header must allow application/json or application/graphql-response+json.",
  );
}

function negotiate(accept: string | undefined): string | undefined {
  const readable = readableAccept(accept);
  if (!readable || readable === "*/*") return JSON_TYPE;
  const [named, json] = [GRAPHQL_RESPONSE_TYPE, JSON_TYPE].map((type) => qualityOf(type, readable));
  if (named === 0 && json === 0) return undefined;
  return named! >= json! ? GRAPHQL_RESPONSE_TYPE : JSON_TYPE;
}

/** Returns the quality of the most specific range that contains the type (RFC 9110 §12.5.1). */
function qualityOf(mediaType: string, accept: string): number {
  const [type = "", charset] = mediaType.split(";");
  const ranges = ["*/*", type.replace(/\/.*/, "/*"), type, `${type};${charset}`];
  let found = { rank: -1, quality: 0 };
  for (const part of accept.split(",")) {
    const [range = "", ...parameters] = part.split(";").map((text) => text.trim().toLowerCase());
    const quality = parameters.find((parameter) => parameter.startsWith("q="));
    const rank = ranges.indexOf(
      [range, ...parameters.filter((parameter) => parameter !== quality)].join(";"),
    );
    if (rank > found.rank) found = { rank, quality: quality ? Number(quality.slice(2)) : 1 };
  }
  return found.quality;
}

/** Whether operations that fail before their execution have a status of their own (GraphQL over HTTP §6.4.2). */
export const hasStatus = (mediaType: string): boolean => mediaType === GRAPHQL_RESPONSE_TYPE;
