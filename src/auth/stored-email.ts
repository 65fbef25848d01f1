import { PlinthError } from "../errors.ts";
import type { EmailHasher } from "./email-hasher.ts";

/** What is stored of an address: the hash, and the address itself unless in privacy mode. */
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
export async function storedEmail(
  tools: { readonly emailHasher: EmailHasher; readonly privacyMode: boolean },
  address: string | null,
): Promise<StoredEmail> {
  if (address === null) return { email: null, hash: null };
  const trimmed = address.replace(/^ +| +$/g, "");
  if (tools.privacyMode && (!EMAIL.test(trimmed) || trimmed.length > MAX_LENGTH))
    throw new PlinthError("BAD_USER_INPUT", "`email` is not an e-mail address.", { field: "email" });
  return { email: tools.privacyMode ? null : address, hash: await tools.emailHasher.hash(address) };
}
