import type { PublicJwk } from "../../auth/jwks.ts";
import type { Session } from "../session.ts";

/** The public keys of this server, which verify its own certificates. */
export async function ownKeys({ config, database }: Session): Promise<readonly PublicJwk[]> {
  const { publicKeySet } = await import("../../auth/jwks.ts");
  const { parseSigningKeys } = await import("../../auth/signing-keys.ts");
  const { signingKeysOf } = await import("../../start/key-settings.ts");
  return publicKeySet(parseSigningKeys(signingKeysOf(config, database))).keys;
}
