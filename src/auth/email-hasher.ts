import { createSecretKey, type KeyObject, randomBytes } from "node:crypto";
import { hashEmail, type NormalEmail } from "./email-hash.ts";
import type { Sealer } from "./sealing.ts";

/** Runs one statement as a role that may execute private.find_lookup_key and private.store_lookup_key. */
export type LookupQuery = (
  text: string,
  values: readonly unknown[],
) => Promise<readonly { key: string | null }[]>;

export interface EmailHasher {
  /** 32 bytes that stand for the address in identity.users.hashed_email. */
  hash(address: NormalEmail): Promise<Buffer>;
  /** 32 bytes by which repeats of a text that is not an address can be told, and the text cannot. */
  hashText(text: string): Promise<Buffer>;
}

const NAME = "email";
const KEY_BYTES = 32;

/**
 * Hashes addresses under the installation's lookup key. It is random, made at first use and kept in the database, sealed by
 * the master key: rotating that seals it anew and leaves it as it is, so accounts are still found, and there is no second
 * secret to hand to every server and to lose. Derived from a master key it would change with it; from the lowest one, that
 * one could never be dropped.
 */
export function createEmailHasher(options: { sealer: Sealer; query: LookupQuery }): EmailHasher {
  const { sealer, query } = options;
  let loading: Promise<KeyObject> | undefined;

  async function load(): Promise<KeyObject> {
    const [found] = await query("select private.find_lookup_key($1) as key", [NAME]);
    const sealed = found?.key ?? (await make());
    return createSecretKey(sealer.unseal("lookup key", sealed, NAME));
  }

  /** Another server may have been first: what is kept counts. */
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
      // The database may be back for the next one.
      loading = undefined;
      throw error;
    }
  }

  return { hash: hashText, hashText };
}
