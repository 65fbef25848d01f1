import { isUtf8 } from "node:buffer";
import type { SubscribePayload } from "graphql-ws";
import { parseExactJson } from "../../support/exact-json.ts";

/** Returns a message for graphql-ws, which parses strings and takes anything else as parsed. Numbers stay as written. */
export function readMessage(data: Buffer): string {
  try {
    const message = isUtf8(data) ? parseExactJson(data.toString()) : "";
    if (typeof message !== "string") return withQuery(message) as string;
  } catch {
    // graphql-ws closes a socket that sends invalid JSON.
  }
  return "";
}

/** graphql-ws requires a text, which a client that names a document need not send. */
function withQuery(message: unknown): unknown {
  const { type, payload } = (message ?? {}) as { type?: unknown; payload?: Partial<SubscribePayload> | null };
  if (type !== "subscribe" || !payload || payload.query != null) return message;
  const { documentId, extensions } = payload as Record<string, unknown> & typeof payload;
  const isNamed = documentId != null || extensions?.persistedQuery != null;
  return isNamed ? { ...(message as object), payload: { ...payload, query: "" } } : message;
}
