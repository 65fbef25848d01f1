import type { SignInTools } from "./tools.ts";

/** How an account is asked for by what was typed: a username, or an address, which has an `@`. */
export interface LookedUp {
  /** What may be sent to the database and kept in the record of attempts. */
  readonly identifier: string;
  readonly hash: Buffer | null;
}

/** In privacy mode an address is replaced by the start of its hash, so that repeats can be told and nobody is named. */
export async function lookUp(
  { emailHasher, privacyMode }: Pick<SignInTools, "emailHasher" | "privacyMode">,
  identifier: string,
): Promise<LookedUp> {
  if (!identifier.includes("@")) return { identifier, hash: null };
  const hash = await emailHasher.hash(identifier);
  return { identifier: privacyMode ? `hmac:${hash.toString("hex", 0, 8)}` : identifier, hash };
}
