import type pg from "pg";
import { PlinthError } from "../support/errors.ts";
import { documentHash, hashOfId } from "./document-hash.ts";

interface StoredDocument {
  readonly hash: string;
  readonly text: string;
  readonly addedAt: Date;
}

// Each function needs a client connected as the owner.

/** @returns the hashes of those that were not stored before */
export async function storeDocuments(client: pg.ClientBase, texts: readonly string[]): Promise<Set<string>> {
  const { rows } = await client.query<{ hash: string }>(
    `insert into private.persisted_documents (hash, document)
     select distinct on (n.hash) n.hash, n.document
     from unnest($1::text[], $2::text[]) n (hash, document)
     on conflict (hash) do nothing
     returning hash`,
    [texts.map(documentHash), texts],
  );
  return new Set(rows.map(({ hash }) => hash));
}

export async function readStoredDocuments(client: pg.ClientBase): Promise<readonly StoredDocument[]> {
  const { rows } = await client.query<StoredDocument>(
    `select hash, document as text, added_at as "addedAt" from private.persisted_documents order by added_at, hash`,
  );
  return rows;
}

/**
 * @param ids hashes, with or without the prefix `sha256:`
 * @returns the hashes
 * @throws PlinthError NOT_FOUND if any of them names no document; then none is removed
 */
export async function removeDocuments(client: pg.ClientBase, ids: readonly string[]): Promise<string[]> {
  const hashes = [...new Set(ids.map((id) => hashOfId(id) ?? id))];
  await client.query("begin");
  try {
    const { rows } = await client.query<{ hash: string }>(
      "delete from private.persisted_documents where hash = any ($1) returning hash",
      [hashes],
    );
    const removed = new Set(rows.map(({ hash }) => hash));
    const missing = hashes.find((hash) => !removed.has(hash));
    if (missing !== undefined)
      throw new PlinthError("NOT_FOUND", `No document has the hash ${missing}; none was removed.`, {
        hint: "plinth documents list shows the hashes.",
      });
    await client.query("commit");
    return hashes;
  } catch (error) {
    await client.query("rollback").catch(() => {});
    throw error;
  }
}
