import { isObject } from "../support/is-object.ts";
import { documentHash, hashOfId } from "./document-hash.ts";
import type { Fault, Findings, FoundDocument } from "./found-document.ts";

const APOLLO_FORMAT = "apollo-persisted-query-manifest";

interface Entry {
  readonly id: unknown;
  readonly name?: unknown;
  readonly body: unknown;
}

/** Returns the documents of a manifest: Apollo's, or the `{hash: text}` of Relay and graphql-codegen. */
export function documentsInManifest(path: string, text: string): Findings {
  let manifest: unknown;
  try {
    manifest = JSON.parse(text);
  } catch {
    return unreadable(path, "The file is not JSON.");
  }
  const entries = entriesOf(manifest);
  if (!entries)
    return unreadable(
      path,
      `The file must be a manifest: format "${APOLLO_FORMAT}" in version 1, or an object of hash and text.`,
    );
  const documents: FoundDocument[] = [];
  const faults: Fault[] = [];
  for (const entry of entries) {
    const { id, name, body } = isObject(entry) ? entry : ({} as Partial<Entry>);
    const source = `${path}: ${[name, id].find((part) => typeof part === "string") ?? "an operation"}`;
    const message = faultOf(id, body);
    if (message) faults.push({ source, message });
    else documents.push({ source, text: body as string });
  }
  return { documents, faults };
}

function entriesOf(manifest: unknown): readonly unknown[] | undefined {
  if (!isObject(manifest)) return undefined;
  const { format, version, operations } = manifest;
  if (format === APOLLO_FORMAT) return version === 1 && Array.isArray(operations) ? operations : undefined;
  return Object.entries(manifest).map(([id, body]) => ({ id, body }));
}

function faultOf(id: unknown, body: unknown): string | undefined {
  if (typeof body !== "string") return "The document must be a text.";
  const hash = hashOfId(id);
  if (!hash)
    return "The id is not a SHA-256. Let the client's tool use SHA-256: `algorithm` in Relay's persistConfig, `hashAlgorithm` in graphql-codegen's persistedDocuments.";
  return documentHash(body) === hash ? undefined : "The id is not the SHA-256 of the text.";
}

function unreadable(source: string, message: string): Findings {
  return { documents: [], faults: [{ source, message }] };
}
