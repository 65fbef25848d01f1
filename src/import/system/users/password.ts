import {
  type ForeignPasswordHash,
  importedPasswordHash,
  unwrappedPasswordHash,
} from "../../../auth/foreign-password-hash.ts";
import { isUnsupportedHash } from "../../../auth/password-hash-format.ts";

export interface StoredPassword {
  readonly hash: string;
  readonly algorithm: string;
}

/** Returns the stored form of a hash that is stored as it is; undefined for any other. */
export function passwordAsIs(password: ForeignPasswordHash): StoredPassword | undefined {
  const found = unwrappedPasswordHash(password);
  return found && { hash: found.passwordHash, algorithm: found.hashAlgorithm };
}

/** Returns the stored form of another system's password hash, or undefined if sign-in could not verify it. */
export async function passwordToStore(password: ForeignPasswordHash): Promise<StoredPassword | undefined> {
  try {
    const { passwordHash, hashAlgorithm } = await importedPasswordHash(password);
    return { hash: passwordHash, algorithm: hashAlgorithm };
  } catch (error) {
    if (isUnsupportedHash(error)) return undefined;
    throw error;
  }
}
