import { describe, expect, test } from "@jest/globals";
import {
  createRefreshToken,
  hashRefreshToken,
  sealSuccessor,
  unsealSuccessor,
} from "../../src/auth/refresh-token.ts";

const refused = expect.objectContaining({ code: "UNAUTHENTICATED" });
const FIXED = `plr_${"A".repeat(43)}`;

const MALFORMED = [
  "",
  "plr_",
  FIXED.slice(0, -1),
  `${FIXED}A`,
  `${FIXED}\n`,
  ` ${FIXED}`,
  FIXED.replace("plr_", "plx_"),
  FIXED.slice(4),
  FIXED.replace("A", "+"),
  "x".repeat(1_000_000),
];

describe("createRefreshToken", () => {
  test("creates 256 random bits after a prefix", () => {
    const made = Array.from({ length: 50 }, createRefreshToken);
    for (const { token, hash } of made) {
      expect(token).toMatch(/^plr_[A-Za-z0-9_-]{43}$/);
      expect(Buffer.from(token.slice(4), "base64url")).toHaveLength(32);
      expect(hashRefreshToken(token)).toEqual(hash);
    }
    expect(new Set(made.map(({ token }) => token)).size).toBe(50);
  });
});

describe("hashRefreshToken", () => {
  test("is SHA-256 of the whole token", () => {
    // printf 'plr_AAAA…' | sha256sum
    expect(hashRefreshToken(FIXED).toString("hex")).toBe(
      "008ef622ea50e1e747a995fa61704514381123146e32f6147e92b3593b8dad08",
    );
  });

  test.each(MALFORMED)("rejects a malformed token (%#)", (token) => {
    expect(() => hashRefreshToken(token)).toThrow(refused);
  });

  test("rejects a value that is not text", () => {
    for (const token of [undefined, null, 7, { toString: () => FIXED }, [FIXED]])
      expect(() => hashRefreshToken(token as unknown as string)).toThrow(refused);
  });
});

describe("sealSuccessor", () => {
  const parent = createRefreshToken();
  const successor = createRefreshToken();

  test("opens with the parent token", () => {
    expect(unsealSuccessor(parent.token, sealSuccessor(parent.token, successor.token))).toBe(successor.token);
  });

  test("never gives the same output twice and never contains the token", () => {
    const [first, second] = [1, 2].map(() => sealSuccessor(parent.token, successor.token)) as [
      Buffer,
      Buffer,
    ];
    expect(first.equals(second)).toBe(false);
    expect(first.includes(successor.token)).toBe(false);
    expect(first.includes(Buffer.from(successor.token.slice(4), "base64url"))).toBe(false);
  });

  test("does not open with any other token", () => {
    const sealed = sealSuccessor(parent.token, successor.token);
    for (const token of [successor.token, createRefreshToken().token, FIXED])
      expect(() => unsealSuccessor(token, sealed)).toThrow(refused);
  });

  test("does not open after a byte was altered or lost", () => {
    const sealed = sealSuccessor(parent.token, successor.token);
    for (let index = 0; index < sealed.length; index++) {
      const altered = Buffer.from(sealed);
      altered[index]! ^= 1;
      expect(() => unsealSuccessor(parent.token, altered)).toThrow(refused);
      expect(() => unsealSuccessor(parent.token, sealed.subarray(0, index))).toThrow(refused);
    }
  });

  test.each(MALFORMED)("rejects a malformed token (%#)", (token) => {
    expect(() => sealSuccessor(token, successor.token)).toThrow(refused);
    expect(() => sealSuccessor(parent.token, token)).toThrow(refused);
    expect(() => unsealSuccessor(token, sealSuccessor(parent.token, successor.token))).toThrow(refused);
  });
});
