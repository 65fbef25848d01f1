import { createCipheriv, createHmac, randomBytes } from "node:crypto";
import { describe, expect, test } from "@jest/globals";
import { decryptFernet, encryptFernet, generateFernetKey } from "../../src/auth/fernet.ts";

// The token, key, IV and times are those of the specification's vectors (github.com/fernet/spec, generate.json and
// verify.json; also in the tests of the npm package fernet, MIT). The faults below are those of its invalid.json; each is
// made here with the right key, so that only the named step can reject it.
const SECRET = "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=";
const TOKEN =
  "gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0ODy021cpGVWKZ_eEwCGM4BLLF_5CV9dOPmrhuVUPgJobwOz7JcbmrR64jVmpU4IwqDA==";
const MADE_AT = new Date("1985-10-26T01:20:00-07:00");
const READ_AT = { now: new Date("1985-10-26T01:20:01-07:00"), ttlSeconds: 60 };
const IV = Buffer.from("000102030405060708090a0b0c0d0e0f", "hex");

const bytesOf = (token: string): Buffer => Buffer.from(token, "base64url");
const textOf = (bytes: Uint8Array): string =>
  Buffer.from(bytes).toString("base64").replaceAll("+", "-").replaceAll("/", "_");

/** A token of any form with a valid MAC. */
function forge({ version = 0x80, time = MADE_AT, iv = IV, ciphertext = encrypt(IV, "hello") } = {}): string {
  const head = Buffer.alloc(9);
  head.writeUInt8(version);
  head.writeBigUInt64BE(BigInt(time.getTime() / 1000), 1);
  const signed = Buffer.concat([head, iv, ciphertext]);
  const mac = createHmac("sha256", bytesOf(SECRET).subarray(0, 16)).update(signed).digest();
  return textOf(Buffer.concat([signed, mac]));
}

function encrypt(iv: Buffer, text: string | Buffer, autoPadding = true): Buffer {
  const cipher = createCipheriv("aes-128-cbc", bytesOf(SECRET).subarray(16), iv).setAutoPadding(autoPadding);
  return Buffer.concat([cipher.update(text), cipher.final()]);
}

const refused = (code = "FERNET_INVALID") => expect.objectContaining({ name: "PlinthError", code });

describe("the published vectors [H11]", () => {
  test("reproduces the vector of generate.json", () => {
    expect(encryptFernet(SECRET, "hello", { now: MADE_AT, iv: IV })).toBe(TOKEN);
  });
  test("decrypts the vector of verify.json", () => {
    expect(decryptFernet(SECRET, TOKEN, READ_AT).toString()).toBe("hello");
    expect(forge()).toBe(TOKEN); // so that each fault below is the only one
  });

  const flipped = bytesOf(TOKEN);
  flipped[flipped.length - 1]! ^= 1;
  const badPadding = encrypt(IV, Buffer.concat([Buffer.from("hello"), Buffer.alloc(11, 0x0c)]), false);
  test.each([
    ["incorrect mac", textOf(flipped)],
    ["too short", textOf(bytesOf(TOKEN).subarray(0, 40))],
    ["nothing", ""],
    ["no ciphertext", forge({ ciphertext: Buffer.alloc(0) })],
    ["invalid base64", `%%%%%%%%%%%%%${TOKEN.slice(13)}`],
    ["payload size not multiple of block size", forge({ ciphertext: encrypt(IV, "hello").subarray(1) })],
    ["payload padding error", forge({ ciphertext: badPadding })],
    ["far-future timestamp", forge({ time: new Date(READ_AT.now.getTime() + 61_000) })],
    ["incorrect IV", forge({ iv: Buffer.from(IV).fill(5, 0, 1).fill(255, 15) })],
    ["another version", forge({ version: 0x81 })],
  ])("rejects an invalid token: %s", (_, token) => {
    expect(() => decryptFernet(SECRET, token, READ_AT)).toThrow(refused());
  });
  test("rejects an expired token: expired TTL", () => {
    const late = { ...READ_AT, now: new Date("1985-10-26T01:21:31-07:00") };
    expect(() => decryptFernet(SECRET, TOKEN, late)).toThrow(refused("FERNET_EXPIRED"));
  });
});

describe("the time of a token", () => {
  const at = (seconds: number) => ({ ttlSeconds: 60, now: new Date(MADE_AT.getTime() + seconds * 1000) });
  test("is checked to the second, with 60 s of tolerance for another clock", () => {
    for (const soon of [-60, 0, 60]) expect(decryptFernet(SECRET, TOKEN, at(soon)).toString()).toBe("hello");
    expect(() => decryptFernet(SECRET, TOKEN, at(61))).toThrow(refused("FERNET_EXPIRED"));
    expect(() => decryptFernet(SECRET, TOKEN, at(-61))).toThrow(refused());
  });
  test("is not checked for stored tokens", () => {
    for (const now of [new Date(0), new Date("2200-01-01")])
      expect(decryptFernet(SECRET, TOKEN, { now }).toString()).toBe("hello");
  });
});

describe("encryption", () => {
  const key = generateFernetKey();
  test.each([0, 1, 15, 16, 17, 1_000, 300_000])("restores %d bytes", (length) => {
    const plaintext = randomBytes(length);
    const token = encryptFernet(key, plaintext);
    expect(decryptFernet(key, token)).toEqual(plaintext);
    expect(encryptFernet(key, plaintext)).not.toBe(token);
  });

  test("rejects a token with an altered, missing or additional bit", () => {
    const token = encryptFernet(key, "sixteen bytes ok");
    const bytes = bytesOf(token);
    for (let index = 0; index < bytes.length; index++) {
      const altered = Buffer.from(bytes);
      altered[index]! ^= 1 << (index % 8);
      expect(() => decryptFernet(key, textOf(altered))).toThrow(refused());
    }
    for (let length = 0; length < token.length; length++)
      expect(() => decryptFernet(key, token.slice(0, length))).toThrow(refused());
    for (const same of [
      `${token}=`,
      token.replace(/=+$/, ""),
      ` ${token}`,
      `${token}\n`,
      token.replace("_", "/"),
    ])
      if (same !== token) expect(() => decryptFernet(key, same)).toThrow(refused());
  });

  test("rejects another text of the same token with stray bits at the end", () => {
    // 90 bytes: in 89 and 91 bytes, the last character before the padding carries unused bits.
    const token = encryptFernet(key, "hello");
    const last = token.indexOf("=") - 1;
    expect(last).toBeGreaterThan(0);
    const other = String.fromCharCode(token.charCodeAt(last) + 1);
    expect(bytesOf(token.slice(0, last) + other)).toEqual(bytesOf(token));
    expect(() => decryptFernet(key, token.slice(0, last) + other + token.slice(last + 1))).toThrow(refused());
  });

  test("rejects another key", () => {
    expect(() => decryptFernet(generateFernetKey(), encryptFernet(key, "x"))).toThrow(refused());
  });

  test.each(["", "short", `${SECRET}AA`, SECRET.slice(2), `!${SECRET.slice(1)}`])(
    "requires a key of 32 bytes, not %j",
    (bad) => {
      expect(() => encryptFernet(bad, "x")).toThrow(refused("FERNET_KEY_INVALID"));
      expect(() => decryptFernet(bad, TOKEN)).toThrow(refused("FERNET_KEY_INVALID"));
    },
  );

  test("repeats no key, token or message in an error", () => {
    expect.assertions(2);
    try {
      decryptFernet(SECRET, textOf(flip(bytesOf(TOKEN))));
    } catch (error) {
      const told = `${error} ${(error as Error).stack} ${JSON.stringify(error)}`;
      expect(told).not.toContain(SECRET.slice(0, 12));
      expect(told).not.toContain(TOKEN.slice(20, 40));
    }
  });
});

function flip(bytes: Buffer): Buffer {
  bytes[30]! ^= 1;
  return bytes;
}
