import type { Sealer } from "../../auth/sealing.ts";
import { PlinthError } from "../../support/errors.ts";

const ID_BYTES = 16;

/**
 * Seals an authenticator app's secret together with its owner's id. Otherwise an attacker who can write to the database but
 * has no master key could copy a known secret to another account.
 */
export function sealTotpSecret(sealer: Sealer, userId: string, secret: Uint8Array): string {
  return sealer.seal("totp secret", Buffer.concat([idBytes(userId), secret]));
}

/** @throws PlinthError UNSEALABLE for another account's secret, and the errors of unseal() */
export function unsealTotpSecret(sealer: Sealer, userId: string, sealed: string): Buffer {
  const opened = sealer.unseal("totp secret", sealed);
  if (!opened.subarray(0, ID_BYTES).equals(idBytes(userId)))
    throw new PlinthError("UNSEALABLE", "A sealed secret belongs to another account.");
  return opened.subarray(ID_BYTES);
}

function idBytes(userId: string): Buffer {
  return Buffer.from(userId.replaceAll("-", ""), "hex");
}
