import { normalizeEmail, withDomainInItsLetters } from "../../auth/email-hash.ts";
import type { SignInDependencies } from "./dependencies.ts";

/** The lookup of an account by the typed identifier: a username, or an address, which contains `@`. */
export interface LookedUp {
  /** The form that may be sent to the database and stored in the record of attempts. */
  readonly identifier: string;
  readonly hash: Buffer | null;
  /**
   * Hash of an address with a Unicode domain, for accounts created in privacy mode before domains were stored as ASCII.
   * Without the plaintext address they could not be migrated.
   */
  readonly formerHash: Buffer | null;
}

/** In privacy mode, the start of its hash replaces an address, so that repeats are recognizable but no user is named. */
export async function lookUp(
  { emailHasher, privacyMode }: Pick<SignInDependencies, "emailHasher" | "privacyMode">,
  identifier: string,
): Promise<LookedUp> {
  if (!identifier.includes("@")) return { identifier, hash: null, formerHash: null };
  const address = normalizeEmail(identifier);
  const hash = await (address === undefined ? emailHasher.hashText(identifier) : emailHasher.hash(address));
  const former = address === undefined ? undefined : withDomainInItsLetters(address);
  return {
    identifier: privacyMode ? `hmac:${hash.toString("hex", 0, 8)}` : (address ?? identifier),
    hash: address === undefined ? null : hash,
    formerHash: former === undefined || former === address ? null : await emailHasher.hashText(former),
  };
}
