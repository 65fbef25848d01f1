import { normalizeEmail, withDomainInItsLetters } from "../../auth/email-hash.ts";
import type { SignInDependencies } from "./dependencies.ts";

/** How an account is asked for by what was typed: a username, or an address, which has an `@`. */
export interface LookedUp {
  /** What may be sent to the database and kept in the record of attempts. */
  readonly identifier: string;
  readonly hash: Buffer | null;
  /**
   * Hash of an address whose domain is in its own letters, as accounts have it that were made in privacy mode before domains
   * were ASCII: without the address nobody could migrate it.
   */
  readonly formerHash: Buffer | null;
}

/** In privacy mode an address is replaced by the start of its hash, so that repeats can be told and nobody is named. */
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
