import type { NormalEmail } from "./email-hash.ts";
import type { EmailHasher } from "./email-hasher.ts";

/** The stored form of an address: the hash, and the address itself except in privacy mode. */
export interface StoredEmail {
  readonly email: string | null;
  readonly hash: Buffer | null;
}

/** For every operation that stores an address. */
export async function storedEmail(
  tools: { readonly emailHasher: EmailHasher; readonly privacyMode: boolean },
  address: NormalEmail | null,
): Promise<StoredEmail> {
  if (address === null) return { email: null, hash: null };
  return { email: tools.privacyMode ? null : address, hash: await tools.emailHasher.hash(address) };
}
