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
