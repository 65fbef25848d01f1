import { badInput } from "./input.ts";
import type { SignInTools } from "./tools.ts";

type EmailTools = Pick<SignInTools, "emailHasher" | "privacyMode">;

/** What is stored of an address: the hash always, the address itself unless in privacy mode. */
export interface StoredEmail {
  readonly email: string | null;
  readonly hash: Buffer | null;
}

/** The rule of the table's constraint users_email_check, which cannot look at what is not stored. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is kept out.
const EMAIL = /^[^@\s\u0000-\u001f\u007f-\u009f]+@[^@\s\u0000-\u001f\u007f-\u009f]+$/u;
const MAX_LENGTH = 254;

/**
 * For whoever stores an address: registration, a change of address.
 * @throws PlinthError BAD_USER_INPUT in privacy mode for what is no address; otherwise the table says so
 */
export async function storedEmail(tools: EmailTools, address: string | null): Promise<StoredEmail> {
  if (address === null) return { email: null, hash: null };
  if (!tools.privacyMode) return { email: address, hash: await tools.emailHasher.hash(address) };
  const trimmed = address.replace(/^ +| +$/g, "");
  if (!EMAIL.test(trimmed) || trimmed.length > MAX_LENGTH)
    throw badInput("email", "is not an e-mail address");
  return { email: null, hash: await tools.emailHasher.hash(address) };
}

/** How an account is asked for by what was typed: a username, or an address that has one `@`. */
export interface LookedUp {
  /** What may be sent to the database and kept in the record of attempts. */
  readonly identifier: string;
  readonly hash: Buffer | null;
}

/** In privacy mode an address is replaced by the start of its hash, so that repeats can be told and nobody is named. */
export async function lookUp(tools: EmailTools, identifier: string): Promise<LookedUp> {
  if (!identifier.includes("@")) return { identifier, hash: null };
  const hash = await tools.emailHasher.hash(identifier);
  if (!tools.privacyMode) return { identifier, hash };
  return { identifier: `hmac:${hash.toString("hex", 0, 8)}`, hash };
}
