import { PlinthError } from "../errors.ts";
import { isEmailAddress } from "./email-hash.ts";
import type { EmailHasher } from "./email-hasher.ts";

/** What is stored of an address: the hash, and the address itself unless in privacy mode. */
export interface StoredEmail {
  readonly email: string | null;
  readonly hash: Buffer | null;
}

/**
 * For whoever stores an address: registration, a change of address.
 * @throws PlinthError BAD_USER_INPUT in privacy mode for what is no address; otherwise the table says so
 */
export async function storedEmail(
  tools: { readonly emailHasher: EmailHasher; readonly privacyMode: boolean },
  address: string | null,
): Promise<StoredEmail> {
  if (address === null) return { email: null, hash: null };
  if (tools.privacyMode && !isEmailAddress(address))
    throw new PlinthError("BAD_USER_INPUT", "`email` is not an e-mail address.", { field: "email" });
  return { email: tools.privacyMode ? null : address, hash: await tools.emailHasher.hash(address) };
}
