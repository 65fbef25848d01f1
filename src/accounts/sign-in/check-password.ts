import type { PasswordHasher } from "../../auth/password-hash.ts";

/** The part of an account needed to check a password. */
export interface PasswordAccount {
  readonly user_id: string;
  readonly password_hash: string;
  readonly token_version: number;
}

/**
 * Checks a password and returns a new hash when the stored one is outdated. The work depends only on the stored hash, never
 * on the result: a timing difference would allow guessing passwords of a locked account.
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
