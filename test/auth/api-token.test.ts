import { createHash } from "node:crypto";
import { crc32 } from "node:zlib";
import { describe, expect, test } from "@jest/globals";
import { createApiToken, hashApiToken, isApiToken, looksLikeApiToken } from "../../src/auth/api-token.ts";

test("computes the standard CRC-32 (check value of ISO 3309 and ITU-T V.42)", () => {
  expect(crc32("123456789")).toBe(0xcbf43926);
});

describe("a new token", () => {
  test("has a prefix, 256 random bits and a checksum; its hash is SHA-256 of the whole token", () => {
    const { token, prefix, hash } = createApiToken();
    expect(token).toMatch(/^pla_[A-Za-z0-9_-]{43}[A-Za-z0-9_-]{6}$/);
    expect(prefix).toBe(token.slice(0, 12));
    expect(hash).toEqual(createHash("sha256").update(token).digest());
    expect(hashApiToken(token)).toEqual(hash);
    expect(Buffer.from(token.slice(4, 47), "base64url")).toHaveLength(32);
  });

  test("is unique", () => {
    expect(new Set(Array.from({ length: 1000 }, () => createApiToken().token)).size).toBe(1000);
  });
});

describe("a malformed token is rejected without a query", () => {
  const { token } = createApiToken();
  const other = (at: number) => token.slice(0, at) + (token[at] === "A" ? "B" : "A") + token.slice(at + 1);

  test.each(Array.from({ length: 49 }, (_, i) => i + 4))("rejects a typo at position %i", (at) => {
    expect(() => hashApiToken(other(at))).toThrow(expect.objectContaining({ code: "UNAUTHENTICATED" }));
  });

  test.each([
    ["a cut token", token.slice(0, -1)],
    ["a token that is too long", `${token}A`],
    ["a token without its prefix", token.slice(4)],
    ["a token of another kind", token.replace("pla_", "plr_")],
    ["a prefix in capitals", token.replace("pla_", "PLA_")],
    ["a trailing line break", `${token}\n`],
    ["a token with NUL", token.replace(/.$/, "\0")],
    ["empty", ""],
    ["a value that is not text", 1 as unknown as string],
  ])("rejects %s", (_what, text) => {
    expect(() => hashApiToken(text)).toThrow(expect.objectContaining({ code: "UNAUTHENTICATED" }));
  });

  test("rejects two swapped letters", () => {
    const at = [...token].findIndex((letter, i) => i > 4 && letter !== token[i + 1]);
    const swapped = token.slice(0, at) + token[at + 1] + token[at] + token.slice(at + 2);
    expect(() => hashApiToken(swapped)).toThrow(expect.objectContaining({ code: "UNAUTHENTICATED" }));
  });
});

test("recognizes a token by its prefix and its claims by the missing session", () => {
  expect(looksLikeApiToken(createApiToken().token)).toBe(true);
  expect(looksLikeApiToken("eyJhbGciOiJIUzI1NiJ9.e30.x")).toBe(false);
  const claims = { userId: "u", tokenId: "t", tokenVersion: 1, expiresAt: new Date() };
  expect(isApiToken({ ...claims, sessionId: null, scopes: ["read"] })).toBe(true);
  expect(isApiToken({ ...claims, sessionId: "s" })).toBe(false);
  expect(isApiToken(null)).toBe(false);
});
