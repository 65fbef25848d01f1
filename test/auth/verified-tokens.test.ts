import { afterEach, expect, jest, test } from "@jest/globals";
import { createAccessTokens } from "../../src/auth/access-token.ts";
import { parseSigningKeys } from "../../src/auth/signing-keys.ts";
import { VerifiedTokens } from "../../src/auth/verified-tokens.ts";
import { SIGNING_KEYS } from "../support/api.ts";

afterEach(() => {
  jest.useRealTimers();
});

test("verifies a token once and remembers no failure", () => {
  const tokens = new VerifiedTokens<string>();
  const verify = jest.fn((token: string) => {
    if (token === "bad") throw new Error("bad");
    return `claims of ${token}`;
  });
  for (let i = 0; i < 3; i++) {
    expect(tokens.get("a", verify)).toBe("claims of a");
    expect(() => tokens.get("bad", verify)).toThrow("bad");
  }
  expect(verify.mock.calls.map(([token]) => token)).toEqual(["a", "bad", "bad", "bad"]);
});

test("forgets the oldest token beyond ten thousand", () => {
  const tokens = new VerifiedTokens<string>();
  const verify = jest.fn((token: string) => token);
  for (let i = 0; i <= 10_000; i++) tokens.get(`token ${i}`, verify);
  verify.mockClear();
  tokens.get("token 1", verify);
  expect(verify).not.toHaveBeenCalled();
  tokens.get("token 0", verify);
  expect(verify).toHaveBeenCalledTimes(1);
});

test("keeps no token in memory", () => {
  const tokens = new VerifiedTokens<object>();
  const keys = new Set<unknown>();
  const { set } = Map.prototype;
  const spy = jest.spyOn(Map.prototype, "set").mockImplementation(function (
    this: Map<unknown, unknown>,
    key,
    value,
  ) {
    keys.add(key);
    return set.call(this, key, value);
  });
  tokens.get("a secret token", () => ({}));
  spy.mockRestore();
  expect([...keys].filter((key) => typeof key === "string").join()).not.toContain("a secret token");
  expect(keys.size).toBeGreaterThan(0);
});

test("rejects a remembered access token from its expiry on", () => {
  const tokens = createAccessTokens({
    keys: parseSigningKeys(SIGNING_KEYS),
    issuer: "plinth",
    audience: "plinth",
    ttlSeconds: 600,
  });
  const subject = {
    userId: "00000000-0000-7000-8000-000000000001",
    sessionId: "00000000-0000-7000-8000-000000000002",
    tokenVersion: 0,
  };
  jest.useFakeTimers({ now: new Date("2026-01-01T00:00:00Z") });
  const { token } = tokens.sign(subject);
  expect(tokens.verify(token)).toMatchObject(subject);
  jest.setSystemTime(new Date("2026-01-01T00:09:59Z"));
  expect(tokens.verify(token)).toMatchObject(subject);
  jest.setSystemTime(new Date("2026-01-01T00:10:00Z"));
  expect(() => tokens.verify(token)).toThrow("The access token is not valid.");
});
