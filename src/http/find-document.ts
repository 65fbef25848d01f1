import type { AddedDocuments } from "../documents/added-documents.ts";
import { documentHash, hashOfId, isDocumentHash } from "../documents/document-hash.ts";
import { RememberedTexts } from "../documents/remembered-texts.ts";
import { isObject } from "../support/is-object.ts";
import { HttpError } from "./http-error.ts";

/**
 * Returns a request's JSON body with the text that it names by a hash as its `query`; any other body as it is.
 * @throws HttpError PERSISTED_QUERY_NOT_FOUND, DOCUMENT_NOT_ALLOWED, BAD_REQUEST
 */
export type FindDocument = <TBody>(body: TBody) => TBody;

/**
 * Clients name a document in one of two ways: by `documentId` (GraphQL over HTTP, "Persisted Documents"), or by
 * `extensions.persistedQuery`, with which they also register texts (Apollo's automatic persisted queries).
 * @param options.allowed whether other documents than those added may be executed and registered
 */
export function createFindDocument(options: {
  added: Pick<AddedDocuments, "get">;
  allowed: "any" | "added";
}): FindDocument {
  const { added, allowed } = options;
  const registered = new RememberedTexts();

  function textById(id: unknown): string {
    const hash = hashOfId(id);
    if (!hash)
      throw badRequest("`documentId` must be a SHA-256: 64 hexadecimal digits, or sha256: and them.");
    const text = added.get(hash) ?? registered.get(hash);
    if (text !== undefined) return text;
    if (allowed === "added") throw notAllowed();
    throw new HttpError(
      404,
      "PERSISTED_QUERY_NOT_FOUND",
      "No document has this id. Add it with `plinth documents add`, or send its text as `query`.",
    );
  }

  function textByExtension(extension: unknown, query: unknown): string {
    const { version, sha256Hash: hash } = (isObject(extension) ? extension : {}) as Record<string, unknown>;
    if (version !== 1 || !isDocumentHash(hash))
      throw badRequest(
        "`extensions.persistedQuery` must be {version: 1, sha256Hash: 64 hexadecimal digits}.",
      );
    if (!isGiven(query)) {
      const text = added.get(hash) ?? registered.get(hash);
      if (text !== undefined) return text;
      if (allowed === "added") throw notAllowed();
      // Clients compare this message, and some read only answers with a status of success.
      throw new HttpError(200, "PERSISTED_QUERY_NOT_FOUND", "PersistedQueryNotFound");
    }
    // Half a character hashes like U+FFFD, so two texts would share a hash.
    if (typeof query !== "string" || !query.isWellFormed() || documentHash(query) !== hash)
      throw badRequest("`sha256Hash` is not the SHA-256 of `query`.");
    if (allowed === "any" && added.get(hash) === undefined) registered.add(hash, query);
    return query;
  }

  function textOf({ query, documentId, extensions }: Record<string, unknown>): unknown {
    const extension = isObject(extensions) ? extensions.persistedQuery : undefined;
    if (documentId == null) return extension == null ? query : textByExtension(extension, query);
    if (isGiven(query) || extension != null)
      throw badRequest("Send one of `query`, `documentId` and `extensions.persistedQuery`.");
    return textById(documentId);
  }

  return (body) => {
    // The GraphQL step rejects other bodies.
    if (!isObject(body)) return body;
    const query = textOf(body);
    if (allowed === "added" && typeof query === "string" && added.get(documentHash(query)) !== query)
      throw notAllowed();
    return query === body.query ? body : { ...body, query };
  };
}

/** The WebSocket protocol requires a `query`, so clients that name a document send an empty one. */
function isGiven(query: unknown): boolean {
  return query != null && query !== "";
}

function badRequest(message: string): HttpError {
  return new HttpError(400, "BAD_REQUEST", message);
}

function notAllowed(): HttpError {
  return new HttpError(
    403,
    "DOCUMENT_NOT_ALLOWED",
    "This server executes only documents that its operator added. Add this one with `plinth documents add`.",
  );
}
