import { createHmac, createPublicKey, randomUUID, sign as signBytes } from "node:crypto";
import { beforeAll, describe, expect, test } from "@jest/globals";
import { type AccessTokens, createAccessTokens } from "../../src/auth/access-token.ts";
import { publicKeySet } from "../../src/auth/jwks.ts";
import {
  generateAsymmetricSigningKey,
  generateSigningKey,
  parseSigningKeys,
  type SigningKey,
} from "../../src/auth/signing-keys.ts";

// Modelled on Wycheproof's tests of JWS (json_web_signature_test): every token except the valid one is rejected. The tokens
// are built here byte by byte, so that no library corrects them.

const keys = parseSigningKeys(
  [generateAsymmetricSigningKey(), generateSigningKey(), generateAsymmetricSigningKey()].join(","),
) as [SigningKey, SigningKey, SigningKey];
const [ec, hmac, otherEc] = keys;
const OPTIONS = { keys, issuer: "https://plinth.example", audience: "plinth", ttlSeconds: 600 };
const SUBJECT = { userId: randomUUID(), sessionId: randomUUID(), tokenVersion: 1 };
const tokens: AccessTokens = createAccessTokens(OPTIONS);

const encode = (value: unknown): string =>
  Buffer.from(typeof value === "string" ? value : JSON.stringify(value)).toString("base64url");

let header: string;
let payload: string;
let signature: string;
beforeAll(() => {
  [header, payload, signature] = tokens.sign(SUBJECT).token.split(".") as [string, string, string];
});

const es256 = (input: string, key = ec, dsaEncoding: "ieee-p1363" | "der" = "ieee-p1363"): string =>
  signBytes("sha256", Buffer.from(input), { key: key.secret, dsaEncoding }).toString("base64url");
const hs256 = (input: string, secret: string | Buffer): string =>
  createHmac("sha256", secret).update(input).digest("base64url");

/** A token with this header, signed by `sign`. */
function forge(head: unknown, sign: (input: string) => string): string {
  const input = `${encode(head)}.${payload}`;
  return `${input}.${sign(input)}`;
}

const accepted = (token: string): boolean => {
  try {
    tokens.verify(token);
    return true;
  } catch (error) {
    expect(error).toMatchObject({ code: "UNAUTHENTICATED", message: "The access token is not valid." });
    return false;
  }
};

const HEAD = { alg: "ES256", typ: "at+jwt", kid: ec.kid };
const ORDER = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
const hex = (text: string): string => Buffer.from(text, "hex").toString("base64url");

test("signs with the algorithm of the first key; accepts the forged tokens below without their one fault", () => {
  expect(JSON.parse(Buffer.from(header, "base64url").toString())).toEqual(HEAD);
  expect(Buffer.from(signature, "base64url")).toHaveLength(64);
  expect(accepted(`${header}.${payload}.${signature}`)).toBe(true);
  expect(accepted(forge(HEAD, es256))).toBe(true);
  expect(
    accepted(forge({ ...HEAD, alg: "HS256", kid: hmac.kid }, (input) => hs256(input, hmac.secret.export()))),
  ).toBe(true);
});

describe("algorithm and key [H11]", () => {
  const pem = ec.verifier.export({ format: "pem", type: "spki" });
  const der = ec.verifier.export({ format: "der", type: "spki" });
  const [jwk] = publicKeySet([ec]).keys;

  test.each([
    "none",
    "None",
    "NONE",
    "nOnE",
    "",
    null,
    undefined,
    ["ES256"],
    "es256",
    "ES256K",
    "ES384",
    "HS512",
    "EdDSA",
  ])("rejects alg %j", (alg) => {
    for (const sign of [es256, () => "", () => signature])
      expect(accepted(forge({ ...HEAD, alg }, sign))).toBe(false);
  });

  test("rejects HS256 with the public key as the secret, in every known form of it", () => {
    const head = { ...HEAD, alg: "HS256" };
    const secrets = [
      pem,
      (pem as string).trim(),
      der,
      JSON.stringify(jwk),
      jwk!.x,
      Buffer.from(jwk!.x, "base64url"),
    ];
    for (const secret of secrets) expect(accepted(forge(head, (input) => hs256(input, secret)))).toBe(false);
  });

  test("rejects ES256 under the name of the symmetric key, and HS256 under the name of the other", () => {
    expect(accepted(forge({ ...HEAD, kid: hmac.kid }, es256))).toBe(false);
    const byHmac = (input: string) => hs256(input, hmac.secret.export());
    expect(accepted(forge({ ...HEAD, alg: "HS256" }, byHmac))).toBe(false);
    expect(accepted(forge(HEAD, byHmac))).toBe(false);
    expect(accepted(forge({ ...HEAD, kid: hmac.kid }, byHmac))).toBe(false);
  });

  test("rejects a signature by another key of the list under this key's name", () => {
    expect(accepted(forge(HEAD, (input) => es256(input, otherEc)))).toBe(false);
    expect(accepted(forge({ ...HEAD, kid: otherEc.kid }, (input) => es256(input, otherEc)))).toBe(true);
  });

  test("rejects a key inside the token", () => {
    const [own] = parseSigningKeys(generateAsymmetricSigningKey()) as [SigningKey];
    const sign = (input: string) => es256(input, own);
    const brought = publicKeySet([own]).keys[0];
    for (const extra of [
      { jwk: brought },
      { jku: "https://evil.example/jwks" },
      { x5u: "https://evil.example" },
    ])
      for (const kid of [ec.kid, own.kid])
        expect(accepted(forge({ ...HEAD, kid, ...extra }, sign))).toBe(false);
  });

  test.each([[["exp"]], [[]], [["b64"]], "exp", null])("rejects crit %j", (crit) => {
    expect(accepted(forge({ ...HEAD, crit, b64: true }, es256))).toBe(false);
  });

  test("uses the last of two equal names in the header, both for choosing and for checking the key", () => {
    const twice = `{"alg":"ES256","typ":"at+jwt","kid":"${hmac.kid}","kid":"${ec.kid}"}`;
    expect(accepted(forge(twice, es256))).toBe(true);
    expect(
      accepted(
        forge(twice.replace(hmac.kid, ec.kid).replace(/"kid":"[^"]+"}$/, `"kid":"${hmac.kid}"}`), es256),
      ),
    ).toBe(false);
    expect(accepted(forge(`{"alg":"ES256","typ":"at+jwt","kid":"${ec.kid}","alg":"none"}`, es256))).toBe(
      false,
    );
  });
});

describe("signature [H11]", () => {
  const withSignature = (other: string) => accepted(`${header}.${payload}.${other}`);

  test.each([
    ["r = s = 0 (CVE-2022-21449)", "00".repeat(64)],
    ["r = 0, s = 1", `${"00".repeat(32)}${"00".repeat(31)}01`],
    ["r = 1, s = 0", `${"00".repeat(31)}01${"00".repeat(32)}`],
    ["r = s = 1", `${"00".repeat(31)}01`.repeat(2)],
    ["r = s = n", ORDER.repeat(2)],
    ["r = n, s = 1", `${ORDER}${"00".repeat(31)}01`],
    ["r = s = 2^256 - 1", "ff".repeat(64)],
    ["no bytes except one", "00"],
  ])("rejects %s", (_, bytes) => expect(withSignature(hex(bytes))).toBe(false));

  test("rejects an empty, cut or lengthened signature", () => {
    expect(withSignature("")).toBe(false);
    for (let length = 1; length < signature.length; length++)
      expect(withSignature(signature.slice(0, length))).toBe(false);
    const bytes = Buffer.from(signature, "base64url");
    for (const other of [Buffer.concat([bytes, Buffer.alloc(1)]), Buffer.concat([Buffer.alloc(1), bytes])])
      expect(withSignature(other.toString("base64url"))).toBe(false);
    const halves = [bytes.subarray(0, 32), bytes.subarray(32)] as const;
    expect(
      withSignature(
        Buffer.concat([Buffer.alloc(1), halves[0], Buffer.alloc(1), halves[1]]).toString("base64url"),
      ),
    ).toBe(false);
    expect(withSignature(Buffer.concat([halves[1], halves[0]]).toString("base64url"))).toBe(false);
  });

  test("rejects a signature in DER", () =>
    expect(withSignature(es256(`${header}.${payload}`, ec, "der"))).toBe(false));

  test("rejects a change to any bit", () => {
    const bytes = Buffer.from(signature, "base64url");
    for (let index = 0; index < bytes.length; index++) {
      const altered = Buffer.from(bytes);
      altered[index]! ^= 1;
      expect(withSignature(altered.toString("base64url"))).toBe(false);
    }
  });

  test("rejects the signature of another payload or header", () => {
    const other = encode({ ...JSON.parse(Buffer.from(payload, "base64url").toString()), sub: randomUUID() });
    expect(accepted(`${header}.${other}.${signature}`)).toBe(false);
    expect(accepted(`${encode({ ...HEAD, cty: "x" })}.${payload}.${signature}`)).toBe(false);
  });
});

describe("form [H11]", () => {
  test("rejects stray bits, padding, another alphabet and characters that decoders skip", () => {
    const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    // The last character of 64 encoded bytes has four unused bits.
    const next = alphabet[alphabet.indexOf(signature.at(-1)!) + 1];
    const stray = signature.slice(0, -1) + next;
    expect(Buffer.from(stray, "base64url")).toEqual(Buffer.from(signature, "base64url"));
    const plain = (text: string) => text.replaceAll("-", "+").replaceAll("_", "/");
    for (const other of [
      stray,
      `${signature}==`,
      `${signature}\n`,
      ` ${signature}`,
      `${signature}!`,
      `\0${signature}`,
    ])
      expect(accepted(`${header}.${payload}.${other}`)).toBe(false);
    for (const [head, body] of [
      [`${header}=`, payload],
      [header, `${payload}=`],
      [`\n${header}`, payload],
      [header, ` ${payload}`],
    ])
      expect(accepted(`${head}.${body}.${es256(`${head}.${body}`)}`)).toBe(false);
    const withSlash = `${header}.${payload}.${plain(signature)}`;
    if (plain(signature) !== signature) expect(accepted(withSlash)).toBe(false);
  });

  test("rejects too many and too few parts", () => {
    const sound = `${header}.${payload}.${signature}`;
    for (const token of [
      `${sound}.`,
      `.${sound}`,
      `${sound}.${signature}`,
      `${header}..${payload}.${signature}`,
    ])
      expect(accepted(token)).toBe(false);
    for (const token of [`${header}.${payload}`, `${header}.${payload}.`, header, "", "..", "..."])
      expect(accepted(token)).toBe(false);
  });

  test("rejects the JSON serialisation and an encrypted token", () => {
    const json = JSON.stringify({ protected: header, payload, signature });
    for (const token of [json, encode(json), `${header}.${payload}.${signature}.${payload}.${signature}`])
      expect(accepted(token)).toBe(false);
  });
});

describe("the key set", () => {
  test("contains only the public parts of asymmetric keys", () => {
    const set = publicKeySet(keys);
    expect(set.keys.map(({ kid }) => kid)).toEqual([ec.kid, otherEc.kid]);
    for (const key of set.keys)
      expect(Object.keys(key).toSorted()).toEqual(["alg", "crv", "kid", "kty", "use", "x", "y"]);
    const text = JSON.stringify(set);
    expect(text).not.toContain(hmac.secret.export().toString("base64url"));
    expect(text).not.toContain(ec.secret.export({ format: "jwk" }).d);
    expect(createPublicKey({ key: { ...set.keys[0] }, format: "jwk" }).equals(ec.verifier)).toBe(true);
  });
  test("is empty if all keys are symmetric", () => {
    expect(publicKeySet([hmac])).toEqual({ keys: [] });
  });
});
