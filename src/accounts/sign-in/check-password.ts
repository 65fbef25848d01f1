import type { PasswordHasher } from "../../auth/password-hash.ts";

/** The part of an account that a password is checked against. */
export interface PasswordAccount {
  readonly user_id: string;
  readonly password_hash: string;
  readonly token_version: number;
}

/**
 * Whether the password is the account's, and its replacement when the stored hash is out of date. The work depends
 * on the stored hash only, never on whether the password was right: the time must not tell, above all not of a
 * locked account, where it would let somebody go on guessing.
 */
export async function checkPassword(
  hasher: PasswordHasher,
  password: string,
  account: PasswordAccount | undefined,
) {
  if (!account) return { matches: await hasher.verifyDummy(password), rehashed: undefined };
  const matches = await hasher.verify(password, account.password_hash);
  const rehashed = hasher.needsRehash(account.password_hash) ? await hasher.hash(password) : undefined;
  return { matches, rehashed: matches ? rehashed : undefined };
}
