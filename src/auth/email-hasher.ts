import { createSecretKey, type KeyObject, randomBytes } from "node:crypto";
import { hashEmail, type NormalEmail } from "./email-hash.ts";
import type { Sealer } from "./sealing.ts";

/** Runs one statement as a role that may execute private.find_lookup_key and private.store_lookup_key. */
export type LookupQuery = (
  text: string,
  values: readonly unknown[],
) => Promise<readonly { key: string | null }[]>;

export interface EmailHasher {
  /** Returns the 32 bytes that represent the address in identity.users.hashed_email. */
  hash(address: NormalEmail): Promise<Buffer>;
  /** Returns 32 bytes that identify repeats of a text that is not an address, without revealing the text. */
  hashText(text: string): Promise<Buffer>;
}

const NAME = "email";
const KEY_BYTES = 32;

/**
 * Hashes addresses with the installation's lookup key. The key is random, created on first use and stored in the database,
 * sealed by the master key. Rotating the master key reseals it unchanged, so accounts are still found, and servers need no
 * second secret. A key derived from a master key would change with it, or would prevent dropping the oldest master key.
 */
export function createEmailHasher(options: { sealer: Sealer; query: LookupQuery }): EmailHasher {
  const { sealer, query } = options;
  let loading: Promise<KeyObject> | undefined;

  async function load(): Promise<KeyObject> {
    const [found] = await query("select private.find_lookup_key($1) as key", [NAME]);
    const sealed = found?.key ?? (await make());
    return createSecretKey(sealer.unseal("lookup key", sealed, NAME));
  }

  /** Another server may have been first, so the stored key counts. */
  async function make(): Promise<string> {
    const sealed = sealer.seal("lookup key", randomBytes(KEY_BYTES), NAME);
    const [kept] = await query("select private.store_lookup_key($1, $2) as key", [NAME, sealed]);
    return kept!.key!;
  }

  async function hashText(text: string): Promise<Buffer> {
    loading ??= load();
    try {
      return hashEmail(await loading, text);
    } catch (error) {
      // The database may be available for the next call.
      loading = undefined;
      throw error;
    }
  }

  return { hash: hashText, hashText };
}
