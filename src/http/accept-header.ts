/** A media range of RFC 9110 §12.5.1 with its parameters, as far as they are of use here. */
const MEDIA_RANGE =
  /^(?:\*\/\*|[\w.+-]+\/(?:\*|[\w.+-]+))(?:\s*;\s*(?:q=(?:0?\.\d+|0\.?|1\.?0*)|(?!q=)[\w-]+=(?:[\w.+*-]+|"[\w ./+-]*")))*$/;

/**
 * The parts of an Accept header that can be read. grafserv fails for a header with one that cannot, and some clients send
 * such: an empty one at the end, or `*` for any type, as old versions of Java do. Without a readable part there is no
 * preference, as without the header.
 */
export function readableAccept(header: string | undefined): string | undefined {
  if (header === undefined) return undefined;
  const parts = header
    .split(",")
    .map((part) => part.trim().replace(/^\*(?=\s*(;|$))/, "*/*"))
    .filter((part) => MEDIA_RANGE.test(part));
  return parts.length > 0 ? parts.join(", ") : undefined;
}
