import { describe, expect, test } from "@jest/globals";
import { Secret, TOTP } from "otpauth";
import { createTotpSecret, findTotpStep, totpSecretText, totpUri } from "../../src/auth/totp.ts";

// RFC 6238, appendix B: the reference secret is the ASCII digits, as long as the hash.
const SECRETS = {
  SHA1: Buffer.from("12345678901234567890"),
  SHA256: Buffer.from("12345678901234567890123456789012"),
  SHA512: Buffer.from("1234567890123456789012345678901234567890123456789012345678901234"),
};
const VECTORS = [
  [59, "94287082", "46119246", "90693936"],
  [1111111109, "07081804", "68084774", "25091201"],
  [1111111111, "14050471", "67062674", "99943326"],
  [1234567890, "89005924", "91819424", "93441116"],
  [2000000000, "69279037", "90698825", "38618901"],
  [20000000000, "65353130", "77737706", "47863826"],
] as const;

describe("RFC 6238, appendix B", () => {
  test.each(VECTORS)("agrees with the vectors at %i s", (seconds, sha1, sha256, sha512) => {
    for (const [algorithm, code] of [
      ["SHA1", sha1],
      ["SHA256", sha256],
      ["SHA512", sha512],
    ] as const) {
      const parameters = { algorithm, digits: 8, period: 30 };
      const step = Math.floor(seconds / 30);
      expect(findTotpStep(SECRETS[algorithm], code, seconds * 1000, parameters)).toBe(step);
      const wrong = code.replace(/.$/, (digit) => String((Number(digit) + 1) % 10));
      expect(findTotpStep(SECRETS[algorithm], wrong, seconds * 1000, parameters)).toBeNull();
    }
  });
});

describe("a code", () => {
  // Not a random secret: of some, two neighbouring codes are the same.
  const secret = SECRETS.SHA1;
  const now = 1_800_000_015_000;
  const at = (offset: number) =>
    TOTP.generate({
      secret: new Secret({ buffer: new Uint8Array(secret).buffer }),
      timestamp: now + offset * 30_000,
    });
  const current = now / 30_000 - 0.5;

  test("is accepted one step before and after its own and no further, and returns its step", () => {
    expect(findTotpStep(secret, at(-1), now)).toBe(current - 1);
    expect(findTotpStep(secret, at(0), now)).toBe(current);
    expect(findTotpStep(secret, at(1), now)).toBe(current + 1);
    for (const offset of [-3, -2, 2, 3]) expect(findTotpStep(secret, at(offset), now)).toBeNull();
  });

  test.each(["", "12345", "1234567", "abcdef", "١٢٣٤٥٦"])("is never %j", (code) => {
    expect(findTotpStep(secret, code, now)).toBeNull();
  });
});

test("creates a different secret of 160 bits each time", () => {
  expect(createTotpSecret()).toHaveLength(20);
  expect(createTotpSecret().equals(createTotpSecret())).toBe(false);
});

test("creates a URI that authenticator apps read", () => {
  const secret = Buffer.from("12345678901234567890");
  const uri = new URL(totpUri(secret, { issuer: "Acme & Sons", account: "ada" }));
  expect(uri.protocol).toBe("otpauth:");
  expect(decodeURIComponent(uri.pathname)).toContain("Acme & Sons:ada");
  expect(Object.fromEntries(uri.searchParams)).toEqual({
    issuer: "Acme & Sons",
    secret: totpSecretText(secret),
    algorithm: "SHA1",
    digits: "6",
    period: "30",
  });
  // RFC 4648: the RFC's secret in base32.
  expect(totpSecretText(secret)).toBe("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
});
