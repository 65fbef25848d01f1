import { execFileSync } from "node:child_process";
import { generateKeyPairSync, randomBytes } from "node:crypto";
import { inspect } from "node:util";
import { describe, expect, test } from "@jest/globals";
import {
  generateAsymmetricSigningKey,
  generateSigningKey,
  parseSigningKeys,
} from "../../src/auth/signing-keys.ts";

const BYTES = Buffer.from("f4a1c36b0e927d5588e1b04fa97c2d63105bde86f2394ac7716e0db8559c2aef", "hex");
const KEY = BYTES.toString("base64url");

describe("parseSigningKeys", () => {
  test("reads keys in order", () => {
    const other = randomBytes(64);
    const keys = parseSigningKeys(`2026-a:${KEY}, old.key_1:${other.toString("base64url")}\n`);
    expect(keys.map(({ kid }) => kid)).toEqual(["2026-a", "old.key_1"]);
    expect(keys.map(({ secret }) => secret.export())).toEqual([BYTES, other]);
  });

  test("reads the output of openssl rand -base64", () => {
    const bytes = Buffer.from(BYTES).fill(0xfb, 0, 3); // "+/" and "=" in base64
    expect(bytes.toString("base64")).toMatch(/^\+.*=$/);
    const [key] = parseSigningKeys(`k:${bytes.toString("base64")}`);
    expect(key?.secret.export()).toEqual(bytes);
  });

  test("reads the output of the command in the hint", () => {
    let hint = "";
    try {
      parseSigningKeys("");
    } catch (error) {
      hint = (error as { hint: string }).hint;
    }
    const expression = /node -p "([^"]+)"/.exec(hint)?.[1];
    const printed = execFileSync(process.execPath, ["-p", expression!]).toString();
    expect(parseSigningKeys(printed)).toHaveLength(1);
  });

  const words = "change-me-please-this-is-not-a-secret-key-at-all";
  test.each([
    ["nothing", ""],
    ["an empty entry", `a:${KEY},`],
    ["a key without a name", KEY],
    ["a name without a key", "a:"],
    ["a name with a space", `a b:${KEY}`],
    ["too many colons", `a:b:${KEY}`],
    ["248 bits", `a:${BYTES.subarray(1).toString("base64url")}`],
    ["characters outside the alphabet", `a:${KEY.slice(1)}!`],
    ["both alphabets at once", `a:-+${KEY}`],
    ["a key without its last character", `a:${KEY.slice(0, -2)}`],
    ["a key with stray bits at its end", `a:${KEY.slice(0, -1)}9`],
    ["one byte repeated", `a:${Buffer.alloc(32, 0xa7).toString("base64url")}`],
    ["a short pattern repeated", `a:${Buffer.from("0123456789abcde".repeat(4)).toString("base64url")}`],
    ["zeros with a counter", `a:${Buffer.alloc(64).fill("\x01\x02\x03", 61).toString("base64url")}`],
    ["text in base64url", `a:${Buffer.from(words).toString("base64url")}`],
    ["words that are valid base64url", `a:${words}`],
    ["a repeated name", `a:${KEY},a:${randomBytes(32).toString("base64url")}`],
    ["a repeated key", `a:${KEY},b:${KEY}`],
  ])("rejects %s", (_, text) => {
    expect(() => parseSigningKeys(text)).toThrow(expect.objectContaining({ code: "INVALID_SETTING" }));
  });

  test.each([KEY, `${KEY}:a`, `a:${KEY},b:${KEY}`, `${KEY}:${KEY},${KEY}:x`, `a:${KEY}!`])(
    "never repeats a key in an error",
    (text) => {
      expect.assertions(1);
      try {
        parseSigningKeys(text);
      } catch (error) {
        expect(inspect(error, { depth: null })).not.toContain(KEY);
      }
    },
  );

  test("keeps its bytes out of logs", () => {
    const logged = inspect(parseSigningKeys(`a:${KEY}`), { depth: null, showHidden: true });
    expect(logged).toContain("kid");
    expect(logged).not.toContain(KEY);
    expect(logged).not.toContain("f4 a1 c3");
    expect(JSON.stringify(parseSigningKeys(`a:${KEY}`))).toBe(
      '[{"kid":"a","algorithm":"HS256","secret":{},"verifier":{}}]',
    );
  });
});

describe("generateSigningKey", () => {
  test("creates 256-bit keys, each with its own name", () => {
    const keys = parseSigningKeys([generateSigningKey(), generateSigningKey()].join(","));
    expect(keys.map(({ secret }) => secret.symmetricKeySize)).toEqual([32, 32]);
  });
});

describe("asymmetric keys", () => {
  const pkcs8 = (curve: string) =>
    generateKeyPairSync("ec", { namedCurve: curve })
      .privateKey.export({ format: "der", type: "pkcs8" })
      .toString("base64url");
  const P256 = pkcs8("prime256v1");

  test("share a list with symmetric keys, each with one algorithm", () => {
    const keys = parseSigningKeys(`${generateAsymmetricSigningKey()},a:${KEY},b:es256:${P256}`);
    expect(keys.map(({ algorithm }) => algorithm)).toEqual(["ES256", "HS256", "ES256"]);
    expect(keys.map(({ secret, verifier }) => [secret.type, verifier.type])).toEqual([
      ["private", "public"],
      ["secret", "secret"],
      ["private", "public"],
    ]);
  });

  test.each([
    ["another curve", `a:es256:${pkcs8("secp384r1")}`],
    ["secp256k1", `a:es256:${pkcs8("secp256k1")}`],
    [
      "another kind of key",
      `a:es256:${generateKeyPairSync("ed25519").privateKey.export({ format: "der", type: "pkcs8" }).toString("base64url")}`,
    ],
    [
      "a public key",
      `a:es256:${generateKeyPairSync("ec", { namedCurve: "prime256v1" }).publicKey.export({ format: "der", type: "spki" }).toString("base64url")}`,
    ],
    ["a cut key", `a:es256:${P256.slice(0, -8)}`],
    ["a symmetric key", `a:es256:${KEY}`],
    ["another algorithm", `a:es512:${P256}`],
    ["one key under two names", `a:es256:${P256},b:es256:${P256}`],
    ["one name for two keys", `a:es256:${P256},a:${KEY}`],
  ])("rejects %s without repeating it", (_, text) => {
    expect.assertions(2);
    try {
      parseSigningKeys(text);
    } catch (error) {
      expect(error).toMatchObject({ code: "INVALID_SETTING" });
      expect(inspect(error, { depth: null })).not.toContain(text.slice(10, 40));
    }
  });
});
