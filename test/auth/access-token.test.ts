import { createHmac, generateKeyPairSync, randomUUID } from "node:crypto";
import { describe, expect, test } from "@jest/globals";
import jwt from "jsonwebtoken";
import { createAccessTokens } from "../../src/auth/access-token.ts";
import { generateSigningKey, parseSigningKeys, type SigningKey } from "../../src/auth/signing-keys.ts";

const [KEY, OTHER_KEY] = parseSigningKeys(`${generateSigningKey()},${generateSigningKey()}`) as [
  SigningKey,
  SigningKey,
];
const OPTIONS = { keys: [KEY], issuer: "https://plinth.example", audience: "plinth", ttlSeconds: 600 };
const tokens = createAccessTokens(OPTIONS);
const SUBJECT = { userId: randomUUID(), sessionId: randomUUID(), tokenVersion: 3 };

const seconds = () => Math.floor(Date.now() / 1000);
/** Longer than the tests may take. */
const HOUR = 3_600;
const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");

/** A token signed with the right key and valid except for the given members; `undefined` leaves a member out. */
function forge({ header = {}, claims = {} }: { header?: object; claims?: object | string }): string {
  const now = seconds();
  const sound = {
    iss: OPTIONS.issuer,
    aud: OPTIONS.audience,
    sub: SUBJECT.userId,
    sid: SUBJECT.sessionId,
    jti: randomUUID(),
    tv: 3,
    iat: now,
    nbf: now,
    exp: now + HOUR,
  };
  const payload = typeof claims === "object" && !Array.isArray(claims) ? { ...sound, ...claims } : claims;
  return seal(encode({ alg: "HS256", typ: "at+jwt", kid: KEY.kid, ...header }), encode(payload));
}

function seal(header: string, payload: string, hash = "sha256"): string {
  const signature = createHmac(hash, KEY.secret).update(`${header}.${payload}`).digest("base64url");
  return `${header}.${payload}.${signature}`;
}

function refusal(token: unknown): unknown {
  try {
    tokens.verify(token as string);
    return "accepted";
  } catch (error) {
    return error;
  }
}

const refused = expect.objectContaining({
  code: "UNAUTHENTICATED",
  message: "The access token is not valid.",
});

describe("signing and verifying", () => {
  test("returns the claims that were signed", () => {
    const earliest = seconds();
    const { token, tokenId, expiresAt } = tokens.sign(SUBJECT);
    const latest = seconds();
    expect(tokens.verify(token)).toEqual({ ...SUBJECT, tokenId, expiresAt });
    expect(expiresAt.getTime() / 1000).toBeGreaterThanOrEqual(earliest + 600);
    expect(expiresAt.getTime() / 1000).toBeLessThanOrEqual(latest + 600);
    expect(tokens.sign(SUBJECT).tokenId).not.toBe(tokenId);
  });

  test("writes exactly the members that RFC 9068 requires", () => {
    const decoded = jwt.decode(tokens.sign(SUBJECT).token, { complete: true })!;
    expect(decoded.header).toEqual({ alg: "HS256", typ: "at+jwt", kid: KEY.kid });
    expect(Object.keys(decoded.payload).toSorted()).toEqual(
      ["aud", "exp", "iat", "iss", "jti", "nbf", "sid", "sub", "tv"].toSorted(),
    );
  });

  test("accepts the forged tokens below without their one fault", () => {
    expect(tokens.verify(forge({}))).toMatchObject(SUBJECT);
  });

  test("tolerates a clock that is slightly ahead, but no expired token", () => {
    const now = seconds();
    expect(tokens.verify(forge({ claims: { iat: now + 3, nbf: now + 3 } }))).toMatchObject(SUBJECT);
    expect(refusal(forge({ claims: { exp: now } }))).toEqual(refused);
  });

  test("requires a key, an issuer and an audience", () => {
    for (const missing of [{ keys: [] }, { issuer: "" }, { audience: "" }])
      expect(() => createAccessTokens({ ...OPTIONS, ...missing })).toThrow(
        expect.objectContaining({ code: "INVALID_SETTING" }),
      );
  });
});

describe("key rotation", () => {
  test("signs with the first key, verifies with the others and rejects a removed key", () => {
    const old = tokens.sign(SUBJECT).token;
    const rotated = createAccessTokens({ ...OPTIONS, keys: [OTHER_KEY, KEY] });
    expect(rotated.verify(old)).toMatchObject(SUBJECT);
    expect(jwt.decode(rotated.sign(SUBJECT).token, { complete: true })?.header.kid).toBe(OTHER_KEY.kid);

    const removed = createAccessTokens({ ...OPTIONS, keys: [OTHER_KEY] });
    expect(removed.verify(rotated.sign(SUBJECT).token)).toMatchObject(SUBJECT);
    expect(() => removed.verify(old)).toThrow(refused);
  });

  test("verifies with a key under its own name only", () => {
    const rotated = createAccessTokens({ ...OPTIONS, keys: [OTHER_KEY, KEY] });
    expect(rotated.verify(forge({}))).toMatchObject(SUBJECT);
    expect(() => rotated.verify(forge({ header: { kid: OTHER_KEY.kid } }))).toThrow(refused);
  });
});

describe("verifying", () => {
  test.each([
    ["no kid", { kid: undefined }],
    ["an unknown kid", { kid: "other" }],
    ["an empty kid", { kid: "" }],
    ["kid __proto__", { kid: "__proto__" }],
    ["kid constructor", { kid: "constructor" }],
    ["a kid that is not text", { kid: [KEY.kid] }],
    ["typ JWT", { typ: "JWT" }],
    ["no typ", { typ: undefined }],
    ["alg HS384 over an HS256 signature", { alg: "HS384" }],
    ["alg RS256", { alg: "RS256" }],
    ["alg none with a signature", { alg: "none" }],
    ["no alg", { alg: undefined }],
    ["a critical extension", { crit: ["b64"], b64: false }],
  ])("rejects a header with %s", (_, header) => expect(refusal(forge({ header }))).toEqual(refused));

  test.each([
    ["no jti", { jti: undefined }],
    ["no sub", { sub: undefined }],
    ["no sid", { sid: undefined }],
    ["no tv", { tv: undefined }],
    ["no exp", { exp: undefined }],
    ["no nbf", { nbf: undefined }],
    ["no iat", { iat: undefined }],
    ["no iss", { iss: undefined }],
    ["no aud", { aud: undefined }],
    ["another issuer", { iss: "https://evil.example" }],
    ["another audience", { aud: "billing" }],
    ["an expiry in the past", { exp: seconds() - 1 }],
    ["nbf in the future", { nbf: seconds() + HOUR }],
    ["iat in the future", { iat: seconds() + HOUR }],
    ["an iat that is text", { iat: String(seconds()) }],
    ["an exp that is text", { exp: String(seconds() + HOUR) }],
    ["an exp with a fraction", { exp: seconds() + HOUR + 0.5 }],
    ["a sub that is not a UUID", { sub: "1; drop table users" }],
    ["a sub in capitals", { sub: "0190A5B2-7C1D-7E3F-8A4B-5C6D7E8F9A0B" }],
    ["a sub followed by a line break", { sub: `${SUBJECT.userId}\n` }],
    ["a sid that is a list", { sid: [SUBJECT.sessionId] }],
    ["a tv that is text", { tv: "3" }],
    ["a negative tv", { tv: -1 }],
    ["a tv with a fraction", { tv: 1.5 }],
    ["text as payload", "claims"],
    ["a list as payload", []],
  ])("rejects a payload with %s", (_, claims) => expect(refusal(forge({ claims }))).toEqual(refused));

  test("rejects a signature made with another algorithm or a confused key", () => {
    const [header, payload] = forge({}).split(".") as [string, string];
    const hs384 = encode({ alg: "HS384", typ: "at+jwt", kid: KEY.kid });
    expect(refusal(seal(hs384, payload, "sha384"))).toEqual(refused);
    expect(refusal(seal(header, payload, "sha384"))).toEqual(refused);

    const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
    const rs256 = jwt.sign({ ...(jwt.decode(forge({})) as object) }, privateKey, {
      algorithm: "RS256",
      header: { alg: "RS256", typ: "at+jwt", kid: KEY.kid },
    });
    expect(refusal(rs256)).toEqual(refused);
  });

  test("rejects an unsigned token", () => {
    const none = encode({ alg: "none", typ: "at+jwt", kid: KEY.kid });
    const [header, payload] = forge({}).split(".");
    for (const token of [`${none}.${payload}.`, `${header}.${payload}.`, `${none}.${payload}`])
      expect(refusal(token)).toEqual(refused);
  });

  test("rejects a token with altered parts", () => {
    const [header, payload, signature] = tokens.sign(SUBJECT).token.split(".") as [string, string, string];
    const claims = { ...JSON.parse(Buffer.from(payload, "base64url").toString()), sub: randomUUID() };
    expect(refusal(`${header}.${encode(claims)}.${signature}`)).toEqual(refused);

    const flipped = (signature[5] === "A" ? "B" : "A") + signature.slice(6);
    expect(refusal(`${header}.${payload}.${signature.slice(0, 5)}${flipped}`)).toEqual(refused);

    const foreign = createAccessTokens({ ...OPTIONS, keys: [{ ...OTHER_KEY, kid: KEY.kid }] });
    expect(refusal(foreign.sign(SUBJECT).token)).toEqual(refused);
  });

  test("rejects every truncation of a token", () => {
    const { token } = tokens.sign(SUBJECT);
    for (let length = 0; length < token.length; length += 7)
      expect(refusal(token.slice(0, length))).toEqual(refused);
    expect(refusal(token.slice(0, -1))).toEqual(refused);
  });

  test.each([
    "..",
    "a.b.c",
    "Bearer x",
    "null",
    `${encode("at+jwt")}.${encode({})}.x`,
    `${encode(null)}.${encode({})}.x`,
    `${encode([])}.${encode({})}.x`,
    `${encode({ alg: "HS256", typ: "JWT" })}.${Buffer.from("{").toString("base64url")}.x`,
    "\ud800.\ud800.\ud800",
  ])("rejects garbage: %s", (token) => expect(refusal(token)).toEqual(refused));

  test("rejects values that are not text", () => {
    for (const token of [undefined, null, 1, {}, [], Buffer.from("x")])
      expect(refusal(token)).toEqual(refused);
  });

  test("rejects a valid token that is far too long", () => {
    expect(tokens.verify(forge({ claims: { note: "x".repeat(1_000) } }))).toMatchObject(SUBJECT);
    expect(refusal(forge({ claims: { note: "x".repeat(4_000) } }))).toEqual(refused);
  });

  test("logs a cause that does not repeat the token", () => {
    const expired = forge({ claims: { exp: seconds() - 60 } });
    const error = refusal(expired) as { cause: Error; hint: string };
    expect(error.cause.name).toBe("TokenExpiredError");
    expect(`${error} ${error.hint} ${error.cause}`).not.toContain(expired.split(".")[2]);
  });
});
