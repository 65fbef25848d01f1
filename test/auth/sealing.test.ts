import { randomBytes } from "node:crypto";
import { inspect } from "node:util";
import { describe, expect, test } from "@jest/globals";
import { addMasterKey, generateMasterKey, parseMasterKeys } from "../../src/auth/master-keys.ts";
import { createSealer, sealedVersion } from "../../src/auth/sealing.ts";

const ONE = generateMasterKey(1);
const BOTH = `${ONE},${generateMasterKey(2)}`;
const refused = (code = "UNSEALABLE") => expect.objectContaining({ name: "PlinthError", code });
const KEY = "9KHDaw6SfVWI4bBPqXwtYxBb3obyOUrHcW4NuFWcKu8";

describe("sealing [H11]", () => {
  const sealer = createSealer(parseMasterKeys(ONE));

  test.each(["", "x", "a secret of some length", "\ud83d\ude00 é"])("restores the text %j", (text) => {
    const sealed = sealer.seal("totp secret", text);
    expect(sealer.unseal("totp secret", sealed).toString()).toBe(text);
    expect(sealed).toMatch(/^v1\.[A-Za-z0-9_-]+$/);
    if (text.length > 3) expect(sealed).not.toContain(text);
    expect(sealer.seal("totp secret", text)).not.toBe(sealed);
  });
  test("restores bytes", () => {
    const bytes = randomBytes(100);
    expect(sealer.unseal("mail token", sealer.seal("mail token", bytes, "ada"), "ada")).toEqual(bytes);
  });

  test("opens for its own purpose and owner only", () => {
    const sealed = sealer.seal("user key", "secret", "ada");
    expect(sealer.unseal("user key", sealed, "ada").toString()).toBe("secret");
    for (const [purpose, owner] of [
      ["totp secret", "ada"],
      ["user key", "bob"],
      ["user key", ""],
      ["user key", undefined],
    ] as const)
      expect(() => sealer.unseal(purpose, sealed, owner)).toThrow(refused());
    expect(() => sealer.unseal("user key", sealer.seal("user key", "secret"), "ada")).toThrow(refused());
  });

  test("rejects an altered, missing or additional byte", () => {
    const sealed = sealer.seal("user key", "secret", "ada");
    const [version, encoded] = sealed.split(".") as [string, string];
    const bytes = Buffer.from(encoded, "base64url");
    for (let index = 0; index < bytes.length; index++)
      for (const bit of [1, 128]) {
        const altered = Buffer.from(bytes);
        altered[index]! ^= bit;
        expect(() => sealer.unseal("user key", `${version}.${altered.toString("base64url")}`, "ada")).toThrow(
          refused(),
        );
      }
    for (let length = 0; length < sealed.length; length++)
      expect(() => sealer.unseal("user key", sealed.slice(0, length), "ada")).toThrow(refused());
    for (const other of [
      `${sealed}A`,
      `${sealed}=`,
      ` ${sealed}`,
      `${sealed}\n`,
      sealed.replace("v1", "v01"),
      encoded,
    ])
      expect(() => sealer.unseal("user key", other, "ada")).toThrow(refused());
  });

  test("rejects another text of the same secret with stray bits at the end", () => {
    // 34 bytes: the last of 46 characters has four unused bits.
    const sealed = sealer.seal("user key", "secret");
    const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const other = sealed.slice(0, -1) + alphabet[alphabet.indexOf(sealed.at(-1)!) + 1];
    expect(Buffer.from(other.slice(3), "base64url")).toEqual(Buffer.from(sealed.slice(3), "base64url"));
    expect(() => sealer.unseal("user key", other)).toThrow(refused());
  });

  test("seals with the highest version, unseals with all and names a missing one", () => {
    const rotated = createSealer(parseMasterKeys(BOTH));
    const old = sealer.seal("oauth token", "secret");
    const sealed = rotated.seal("oauth token", "secret");
    expect([sealedVersion(old), sealedVersion(sealed), sealedVersion("secret")]).toEqual([1, 2, undefined]);
    for (const text of [old, sealed]) expect(rotated.unseal("oauth token", text).toString()).toBe("secret");
    expect(() => sealer.unseal("oauth token", sealed)).toThrow(refused("MASTER_KEY_MISSING"));
    // The version itself is not authenticated: it selects the key, and another key opens nothing.
    expect(() => rotated.unseal("oauth token", sealed.replace("v2", "v1"))).toThrow(refused());
  });

  test("repeats neither the text nor the secret in an error", () => {
    expect.assertions(1);
    const sealed = sealer.seal("user key", "a canary", "ada");
    try {
      sealer.unseal("user key", sealed, "bob");
    } catch (error) {
      expect(inspect(error, { depth: null })).not.toMatch(new RegExp(`${sealed.slice(3, 20)}|a canary`));
    }
  });
});

describe("parseMasterKeys", () => {
  test("reads versions in any order, with line breaks", () => {
    const keys = parseMasterKeys(`${generateMasterKey(7)},\n ${ONE}\n`);
    expect({ current: keys.current, versions: keys.versions }).toEqual({ current: 7, versions: [1, 7] });
  });
  test("seals with an added version", () => {
    const keys = parseMasterKeys(addMasterKey(`${ONE}\n`));
    expect({ current: keys.current, versions: keys.versions }).toEqual({ current: 2, versions: [1, 2] });
    expect(keys.get(1).equals(parseMasterKeys(ONE).get(1))).toBe(true);
  });

  const faults = [
    ["nothing", ""],
    ["no version", KEY],
    ["version 0", `0:${KEY}`],
    ["a version with a leading zero", `01:${KEY}`],
    ["a version that is not a number", `x:${KEY}`],
    ["a version that is far too high", `1000000:${KEY}`],
    ["no key", "1:"],
    ["too many colons", `1:2:${KEY}`],
    ["248 bits", `1:${KEY.slice(0, -2)}`],
    ["a key with stray bits at its end", `1:${KEY.slice(0, -1)}9`],
    ["264 bits", `1:${KEY.slice(0, -1)}AAB`],
    ["characters outside the alphabet", `1:${KEY.slice(1)}!`],
    ["zeros", `1:${Buffer.alloc(32).toString("base64url")}`],
    ["words", `1:${Buffer.from("this is not a key, it is a text.").toString("base64url")}`],
    ["a repeated version", `1:${KEY},${ONE}`],
    ["a repeated key", `1:${KEY},2:${KEY}`],
    ["an empty entry", `1:${KEY},`],
  ] as const;
  test.each(faults)("rejects %s", (_, text) => {
    expect(() => parseMasterKeys(text)).toThrow(refused("INVALID_SETTING"));
  });
  test.each(faults)("never prints key material: %s", (_, text) => {
    expect.assertions(1);
    try {
      parseMasterKeys(text);
    } catch (error) {
      const { message, hint } = error as Error & { hint: string };
      // Any eight characters of the value would be too many.
      const told = `${message} ${hint} ${inspect(error, { depth: null })}`;
      const pieces = Array.from({ length: Math.max(0, text.length - 7) }, (_, at) => text.slice(at, at + 8));
      expect(pieces.filter((piece) => told.includes(piece))).toEqual([]);
    }
  });
  test("keeps its bytes out of logs", () => {
    const keys = parseMasterKeys(`1:${KEY}`);
    expect(inspect([keys, keys.get(1)], { depth: null, showHidden: true })).not.toMatch(/f4 a1 c3|9KHDaw/);
  });
});
