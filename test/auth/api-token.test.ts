import { createHash } from "node:crypto";
import { crc32 } from "node:zlib";
import { describe, expect, test } from "@jest/globals";
import { createApiToken, hashApiToken, isApiToken, looksLikeApiToken } from "../../src/auth/api-token.ts";

test("CRC-32 is the one of the standards (check value of ISO 3309 and ITU-T V.42)", () => {
  expect(crc32("123456789")).toBe(0xcbf43926);
});

describe("a new token", () => {
  test("has its prefix, 256 random bits and a checksum; the hash is SHA-256 of all of it", () => {
    const { token, prefix, hash } = createApiToken();
    expect(token).toMatch(/^pla_[A-Za-z0-9_-]{43}[A-Za-z0-9_-]{6}$/);
    expect(prefix).toBe(token.slice(0, 12));
    expect(hash).toEqual(createHash("sha256").update(token).digest());
    expect(hashApiToken(token)).toEqual(hash);
    expect(Buffer.from(token.slice(4, 47), "base64url")).toHaveLength(32);
  });

  test("is never the same", () => {
    expect(new Set(Array.from({ length: 1000 }, () => createApiToken().token)).size).toBe(1000);
  });
});

describe("what cannot be a token is refused without asking", () => {
  const { token } = createApiToken();
  const other = (at: number) => token.slice(0, at) + (token[at] === "A" ? "B" : "A") + token.slice(at + 1);

  test.each(Array.from({ length: 49 }, (_, i) => i + 4))("a typo at %i", (at) => {
    expect(() => hashApiToken(other(at))).toThrow(expect.objectContaining({ code: "UNAUTHENTICATED" }));
  });

  test.each([
    ["cut off", token.slice(0, -1)],
    ["too long", `${token}A`],
    ["without its prefix", token.slice(4)],
    ["another kind", token.replace("pla_", "plr_")],
    ["upper case prefix", token.replace("pla_", "PLA_")],
    ["a line end after it", `${token}\n`],
    ["NUL in it", token.replace(/.$/, "\0")],
    ["empty", ""],
    ["no text", 1 as unknown as string],
  ])("%s", (_what, text) => {
    expect(() => hashApiToken(text)).toThrow(expect.objectContaining({ code: "UNAUTHENTICATED" }));
  });

  test("two letters swapped", () => {
    const at = [...token].findIndex((letter, i) => i > 4 && letter !== token[i + 1]);
    const swapped = token.slice(0, at) + token[at + 1] + token[at] + token.slice(at + 2);
    expect(() => hashApiToken(swapped)).toThrow(expect.objectContaining({ code: "UNAUTHENTICATED" }));
  });
});

test("a token is known by its prefix, its claims by having no session", () => {
  expect(looksLikeApiToken(createApiToken().token)).toBe(true);
  expect(looksLikeApiToken("eyJhbGciOiJIUzI1NiJ9.e30.x")).toBe(false);
  const claims = { userId: "u", tokenId: "t", tokenVersion: 1, expiresAt: new Date() };
  expect(isApiToken({ ...claims, sessionId: null, scopes: ["read"] })).toBe(true);
  expect(isApiToken({ ...claims, sessionId: "s" })).toBe(false);
  expect(isApiToken(null)).toBe(false);
});
