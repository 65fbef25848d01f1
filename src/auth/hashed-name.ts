import type { EmailHasher } from "./email-hasher.ts";

/** As the constraint users_username_check and the pseudonyms below have it. */
const USERNAME = /^[a-z0-9]([a-z0-9_.-]{0,98}[a-z0-9])$/;
const HASHED_NAME = /^user-[0-9a-f]{32}$/;
const HASH_BYTES = 16;

/** The form in which names are compared, as plinth.normalize_username has it: a name is ASCII. */
export function normalizeName(typed: string): string {
  return typed
    .replace(/^[ \t\n\r\f]+|[ \t\n\r\f]+$/g, "")
    .replace(/[A-Z]+/g, (capitals) => capitals.toLowerCase());
}

export const isUsername = (name: string): boolean => USERNAME.test(name);

/** Whether a username is the stored form of a name in privacy mode, which others see. */
export const isHashedName = (username: string): boolean => HASHED_NAME.test(username);

/**
 * Returns the username that stands for a name in privacy mode: 128 bits of the HMAC under the lookup key of addresses. The same
 * name has the same one, so that names stay unique and find their account. An address has an @, which the hashed text has not.
 */
export async function hashName(hasher: Pick<EmailHasher, "hashText">, normalName: string): Promise<string> {
  const hash = await hasher.hashText(`name:${normalName}`);
  return `user-${hash.toString("hex", 0, HASH_BYTES)}`;
}
