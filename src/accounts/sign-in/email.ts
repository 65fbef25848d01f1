import { type NormalEmail, normalizeEmail, withDomainInItsLetters } from "../../auth/email-hash.ts";
import { hashName, isHashedName, normalizeName } from "../../auth/hashed-name.ts";
import type { SignInDependencies } from "./dependencies.ts";

/** The lookup of an account by the typed identifier: a username, or an address, which contains `@`. */
export interface LookedUp {
  /** The form that may be sent to the database and stored in the record of attempts. */
  readonly identifier: string;
  /** The typed address; null for a name, and for a text that is not an address. */
  readonly address: NormalEmail | null;
  readonly hash: Buffer | null;
  /**
   * Hash of an address with a Unicode domain, for accounts created in privacy mode before domains were stored as ASCII.
   * Without the plaintext address they could not be migrated.
   */
  readonly formerHash: Buffer | null;
  /** In privacy mode, the name as typed, for accounts that still have or have chosen a clear name. */
  readonly clearName: string | null;
}

/** In privacy mode, hashes replace addresses and names, so that repeats are recognizable but no user is named. */
export async function lookUp(
  { emailHasher, privacyMode }: Pick<SignInDependencies, "emailHasher" | "privacyMode">,
  identifier: string,
): Promise<LookedUp> {
  if (!identifier.includes("@")) {
    const name = normalizeName(identifier);
    const noAddress = { address: null, hash: null, formerHash: null };
    if (!privacyMode || isHashedName(name)) return { identifier, ...noAddress, clearName: null };
    return { identifier: await hashName(emailHasher, name), ...noAddress, clearName: name };
  }
  const address = normalizeEmail(identifier);
  const hash = await (address === undefined ? emailHasher.hashText(identifier) : emailHasher.hash(address));
  const former = address === undefined ? undefined : withDomainInItsLetters(address);
  return {
    identifier: privacyMode ? `hmac:${hash.toString("hex", 0, 8)}` : (address ?? identifier),
    address: address ?? null,
    hash: address === undefined ? null : hash,
    formerHash: former === undefined || former === address ? null : await emailHasher.hashText(former),
    clearName: null,
  };
}
