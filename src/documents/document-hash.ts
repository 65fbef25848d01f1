import { hash } from "node:crypto";

const HASH = /^[0-9a-f]{64}$/;
/** The prefix of such a document identifier (GraphQL over HTTP, "Persisted Documents"). */
const PREFIX = /^sha256:/;

/** The SHA-256 of a document's text in hexadecimal digits, by which Apollo, Relay and GraphQL over HTTP name it. */
export const documentHash = (text: string): string => hash("sha256", text);

export function isDocumentHash(value: unknown): value is string {
  return typeof value === "string" && HASH.test(value);
}

/** Returns the hash in an identifier, with or without the prefix `sha256:`; undefined if it has none. */
export function hashOfId(id: unknown): string | undefined {
  const hash = typeof id === "string" ? id.replace(PREFIX, "") : undefined;
  return isDocumentHash(hash) ? hash : undefined;
}
