import type pg from "pg";
import { PlinthError } from "../support/errors.ts";
import { normalizeEmail } from "./email-hash.ts";
import { createEmailHasher, type EmailHasher } from "./email-hasher.ts";
import { hashName, isHashedName, isUsername } from "./hashed-name.ts";
import { parseMasterKeys } from "./master-keys.ts";
import { createSealer } from "./sealing.ts";
import { type StoredEmail, storedEmail } from "./stored-email.ts";

/** For accounts created without a server: the command line and the demo data. */
export interface EmailStorageOptions {
  /** See parseMasterKeys. If omitted, an address is stored in plaintext only, until `plinth keys hash-emails` runs. */
  readonly masterKeys: string | undefined;
  readonly privacyMode: boolean;
}

/**
 * Returns the columns to store for an address, using one connection.
 * @throws PlinthError BAD_USER_INPUT for a text that is not an address; MASTER_KEYS_MISSING in privacy mode, which requires
 *   them
 */
export async function emailToStore(
  client: pg.ClientBase,
  { masterKeys, privacyMode }: EmailStorageOptions,
  typed: string,
): Promise<StoredEmail> {
  const address = normalizeEmail(typed);
  if (address === undefined)
    throw new PlinthError("BAD_USER_INPUT", "The email address is not valid.", { field: "email" });
  if (masterKeys === undefined) {
    if (!privacyMode) return { email: address, hash: null };
    throw new PlinthError("MASTER_KEYS_MISSING", "Privacy mode needs PLINTH_MASTER_KEYS to hash addresses.");
  }
  return storedEmail({ emailHasher: emailHasherOn(client, masterKeys), privacyMode }, address);
}

/**
 * Returns the username to store for a name: in privacy mode its hash.
 * @throws PlinthError BAD_USER_INPUT, MASTER_KEYS_MISSING
 */
export async function nameToStore(
  client: pg.ClientBase,
  { masterKeys, privacyMode }: EmailStorageOptions,
  name: string,
): Promise<string> {
  if (!privacyMode) return name;
  if (!isUsername(name) || isHashedName(name))
    throw new PlinthError("BAD_USER_INPUT", "The username is not valid.", { field: "username" });
  if (masterKeys === undefined)
    throw new PlinthError("MASTER_KEYS_MISSING", "Privacy mode needs PLINTH_MASTER_KEYS to hash names.");
  return hashName(emailHasherOn(client, masterKeys), name);
}

/** Hashes addresses with one connection, which may read the lookup key. */
export function emailHasherOn(client: pg.ClientBase, masterKeys: string): EmailHasher {
  return createEmailHasher({
    sealer: createSealer(parseMasterKeys(masterKeys)),
    query: async (text, values) => (await client.query<{ key: string | null }>(text, [...values])).rows,
  });
}
