import { randomBytes, timingSafeEqual } from "node:crypto";
import { Secret, TOTP } from "otpauth";

/** RFC 4226 §4, R6 recommends 160 bits. */
const SECRET_BYTES = 20;
/** Supported by every authenticator app; several ignore other values in the URI and show wrong codes. */
const DEFAULTS = { algorithm: "SHA1", digits: 6, period: 30 } as const;
/** RFC 6238 §5.2: one step back for typing time, one ahead for clock differences. */
const WINDOW_STEPS = [-1, 0, 1] as const;

export interface TotpParameters {
  readonly algorithm: "SHA1" | "SHA256" | "SHA512";
  readonly digits: number;
  /** Seconds a code is shown. */
  readonly period: number;
}

export function createTotpSecret(): Buffer {
  return randomBytes(SECRET_BYTES);
}

/** Returns the secret for manual entry: base32 (RFC 4648 §6) without padding. */
export function totpSecretText(secret: Uint8Array): string {
  return toSecret(secret).base32;
}

/** Returns the `otpauth://totp/…` URI for the QR code. */
export function totpUri(
  secret: Uint8Array,
  { issuer, account }: { issuer: string; account: string },
): string {
  return new TOTP({ ...DEFAULTS, issuer, label: account, secret: toSecret(secret) }).toString();
}

/**
 * Returns the number of the time step of a code, now or one step to either side (RFC 6238 §4); null for a wrong code. Always
 * computes and compares every step, so that timing reveals nothing. The caller passes the number to the database, which
 * accepts each step only once.
 * @param code digits only
 */
export function findTotpStep(
  secret: Uint8Array,
  code: string,
  nowMs: number,
  parameters: TotpParameters = DEFAULTS,
): number | null {
  const key = toSecret(secret);
  const given = Buffer.from(code);
  const current = Math.floor(nowMs / 1000 / parameters.period);
  let found: number | null = null;
  for (const offset of WINDOW_STEPS) {
    const step = current + offset;
    if (step < 0) continue;
    const timestamp = step * parameters.period * 1000;
    const expected = Buffer.from(TOTP.generate({ secret: key, ...parameters, timestamp }));
    if (given.length === expected.length && timingSafeEqual(given, expected)) found = step;
  }
  return found;
}

function toSecret(bytes: Uint8Array): Secret {
  return new Secret({ buffer: new Uint8Array(bytes).buffer });
}
