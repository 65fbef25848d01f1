import { describe, expect, test } from "@jest/globals";
import { ExpiringCache } from "../../src/accounts/api-tokens/expiring-cache.ts";
import { createApiTokenFinder } from "../../src/accounts/api-tokens/find-api-token.ts";
import { createApiToken } from "../../src/auth/api-token.ts";
import type { RequestContext } from "../../src/request/context.ts";
import type { CallPrivateFunction } from "../../src/request/service-caller.ts";

const from = (clientIp: string | undefined): RequestContext => ({
  correlationId: "test",
  clientIp,
  userAgent: undefined,
  claims: null,
});
const HERE = from("203.0.113.7");

/** A finder over a database that knows these tokens. */
function finderFor(
  known: ReturnType<typeof createApiToken>[],
  options: { networks?: string[] | null; expiresAt?: Date } = {},
) {
  const asked: string[] = [];
  const callPrivateFunction = (async (
    _request: RequestContext,
    _text: string,
    [hash]: readonly unknown[],
  ) => {
    asked.push((hash as Buffer).toString("hex"));
    await new Promise((resolve) => setImmediate(resolve));
    if (!known.some((token) => token.hash.equals(hash as Buffer))) return [];
    const { networks = null, expiresAt = new Date(Date.now() + 60_000) } = options;
    return [
      {
        token_id: "t",
        user_id: "u",
        token_version: 1,
        scopes: ["read"],
        expires_at: expiresAt,
        allowed_networks: networks,
      },
    ];
  }) as unknown as CallPrivateFunction;
  return { find: createApiTokenFinder(callPrivateFunction), asked };
}

const UNAUTHENTICATED = { code: "UNAUTHENTICATED" };

describe("finding an API token [A5]", () => {
  test("asks the database once, even for many concurrent requests", async () => {
    const token = createApiToken();
    const { find, asked } = finderFor([token]);
    const found = await Promise.all(Array.from({ length: 20 }, () => find(token.token, HERE)));
    expect(found[0]).toMatchObject({ userId: "u", tokenId: "t", sessionId: null, scopes: ["read"] });
    await find(token.token, HERE);
    expect(asked).toHaveLength(1);
  });

  test("does not ask about a token with the wrong shape or checksum", async () => {
    const { find, asked } = finderFor([]);
    const { token } = createApiToken();
    const typo = token.slice(0, -1) + (token.endsWith("A") ? "B" : "A");
    for (const text of [typo, "pla_", "pla_x", `${token}${token}`])
      await expect(find(text, HERE)).rejects.toMatchObject(UNAUTHENTICATED);
    expect(asked).toEqual([]);
  });

  test("remembers that a token is unknown", async () => {
    const { find, asked } = finderFor([]);
    const { token } = createApiToken();
    for (let i = 0; i < 5; i++) await expect(find(token, HERE)).rejects.toMatchObject(UNAUTHENTICATED);
    expect(asked).toHaveLength(1);
  });

  test("stops asking for a client that guesses, but not for others or known tokens", async () => {
    const token = createApiToken();
    const another = createApiToken();
    const { find, asked } = finderFor([token, another]);
    await find(token.token, HERE);
    const codes: string[] = [];
    for (let i = 0; i < 30; i++)
      await find(createApiToken().token, HERE).catch(({ code }: { code: string }) => codes.push(code));
    expect(codes.filter((code) => code === "UNAUTHENTICATED")).toHaveLength(20);
    expect(codes.filter((code) => code === "RATE_LIMITED")).toHaveLength(10);
    expect(asked).toHaveLength(21);
    await find(token.token, HERE);
    await expect(find(another.token, HERE)).rejects.toMatchObject({ code: "RATE_LIMITED" });
    await find(another.token, from("203.0.113.8"));
  });

  test("rejects a cached token that has expired", async () => {
    const token = createApiToken();
    const { find } = finderFor([token], { expiresAt: new Date(Date.now() - 1) });
    await expect(find(token.token, HERE)).rejects.toMatchObject(UNAUTHENTICATED);
  });

  test.each([
    ["203.0.113.7", ["203.0.113.0/24"], true],
    ["203.0.114.7", ["203.0.113.0/24"], false],
    ["203.0.113.7", ["203.0.113.7"], true],
    ["203.0.113.7", ["2001:db8::/32", "203.0.113.7/32"], true],
    ["2001:db8::1", ["2001:db8::/32"], true],
    ["2001:db9::1", ["2001:db8::/32"], false],
    ["203.0.113.7", ["0.0.0.0/0"], true],
    ["2001:db8::1", ["0.0.0.0/0"], false],
    [undefined, ["0.0.0.0/0"], false],
    [undefined, null, true],
  ])("checks %s against the networks %j: %s", async (clientIp, networks, isAllowed) => {
    const token = createApiToken();
    const { find } = finderFor([token], { networks });
    const finding = find(token.token, from(clientIp));
    if (isAllowed) expect(await finding).toMatchObject({ tokenId: "t" });
    else await expect(finding).rejects.toMatchObject(UNAUTHENTICATED);
  });
});

test("limits the cache by time and number [A13]", () => {
  const cache = new ExpiringCache<number>({ ttlMs: 100, maxEntries: 2 });
  cache.set("a", 1, 0);
  expect(cache.get("a", 99)).toBe(1);
  expect(cache.get("a", 100)).toBeUndefined();
  for (const [i, key] of ["a", "b", "c"].entries()) cache.set(key, i, 200);
  expect([cache.get("a", 200), cache.get("b", 200), cache.get("c", 200), cache.size]).toEqual([
    undefined,
    1,
    2,
    2,
  ]);
});
