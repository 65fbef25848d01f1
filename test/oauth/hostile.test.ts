import type { ServerResponse } from "node:http";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "@jest/globals";
import { type Answer, type Api, codeOf, startApi } from "../support/api.ts";
import { createTestDatabase, rowsAs, type TestDatabase, withClient } from "../support/database.ts";
import { type ForgedProvider, type Forgery, startForgedProvider } from "../support/forged-provider.ts";
import { startOidcProvider, type TestProvider } from "../support/oidc-provider.ts";
import { APP, entry, finishSignIn, start, startAnswer } from "../support/provider-flow.ts";

// Attacks that must not open a session: invalid answers, and flows that belong to someone else, are used or have expired.

let db: TestDatabase;
let api: Api;
let forged: ForgedProvider;
let real: TestProvider;
beforeAll(async () => {
  db = await createTestDatabase();
  forged = await startForgedProvider();
  real = await startOidcProvider({ redirectUris: [`${APP}/real`] });
  real.people.ada = {};
  api = await startApi(db, {
    PLINTH_OAUTH_PROVIDERS: JSON.stringify([
      entry("forged", forged, { trustsEmail: true }),
      entry("real", real),
      entry("misconfigured", { ...real, clientSecret: "not-the-secret" }),
      entry("down", { ...real, issuer: "http://127.0.0.1:9" }),
    ]),
  });
});
afterAll(async () => {
  await api.close();
  await forged.close();
  await real.close();
  await db.drop();
});
beforeEach(() => {
  forged.forgery = {};
});

const asOwner = rowsAs("owner", () => db);
const count = async (table: string) =>
  (await asOwner<{ n: number }>(`select count(*)::int as n from ${table}`))[0]!.n;

async function finishForged(changes: Record<string, string | undefined> = {}): Promise<Answer> {
  const { authorizationUrl, flowToken } = await start(api, "forged");
  return finishSignIn(api, flowToken, forged.visit(authorizationUrl, changes));
}

/** Checks that no session was opened, and returns the reason from the audit log. */
async function refusal(work: () => Promise<Answer>): Promise<{ code: string; reason: string; text: string }> {
  const before = [await count("identity.users"), await count("identity.user_sessions")];
  const answer = await work();
  expect([await count("identity.users"), await count("identity.user_sessions")]).toEqual(before);
  const [event] = await asOwner<{ reason: string }>(
    `select event_data ->> 'reason' as reason from security.security_audit_log
     where event_type = 'provider_sign_in_failed' order by id desc limit 1`,
  );
  return { code: codeOf(answer), reason: event!.reason, text: answer.text };
}

describe("an invalid answer", () => {
  test("is accepted if nothing is forged, so that the answers below fail for their one fault", async () => {
    const { data, errors } = await finishForged();
    expect(errors).toBeUndefined();
    expect(data.finishProviderSignIn.accessToken).toEqual(expect.any(String));
    expect(forged.requests.at(-1)!.get("code_verifier")).toMatch(/^[\w-]{43}$/);
  });

  const now = () => Math.floor(Date.now() / 1000);
  const forgeries: [string, () => Forgery][] = [
    ["the nonce of another sign-in", () => ({ claims: { nonce: "another" } })],
    ["no nonce", () => ({ claims: { nonce: undefined } })],
    ["another audience", () => ({ claims: { aud: "another-client" } })],
    [
      "several audiences and another authorized party",
      () => ({ claims: { aud: ["client", "x"], azp: "x" } }),
    ],
    ["another issuer", () => ({ claims: { iss: "https://accounts.example.org" } })],
    ["an expired ID token", () => ({ claims: { iat: now() - 7200, exp: now() - 3600 } })],
    ["no subject", () => ({ claims: { sub: undefined } })],
    ["an empty subject", () => ({ claims: { sub: "" } })],
    ["a subject with a NUL", () => ({ claims: { sub: "a\0b" } })],
    ["an oversized subject", () => ({ claims: { sub: "x".repeat(256) } })],
    ["a subject that is not text", () => ({ claims: { sub: 7 } })],
    ["another key's signature", () => ({ signature: "another key" })],
    ["no signature", () => ({ signature: "none" })],
    ["a MAC made with the public key", () => ({ signature: "HS256 with the public key" })],
    ["claims altered after signing", () => ({ signature: "altered" })],
    ["no ID token", () => ({ tokens: { id_token: undefined } })],
    ["a malformed ID token", () => ({ tokens: { id_token: "x.y.z" } })],
    ["no access token", () => ({ tokens: { access_token: undefined } })],
    ["an oversized access token", () => ({ tokens: { access_token: "x".repeat(20_000) } })],
    ["another person's userinfo", () => ({ userInfo: { sub: "victim", email: "v@example.com" } })],
  ];
  test.each(forgeries)("is rejected: %s", async (_what, forgery) => {
    forged.forgery = forgery();
    const { code, text } = await refusal(() => finishForged());
    expect({ code, text }).toEqual({
      code: "INVALID_CREDENTIALS",
      text: expect.not.stringContaining("canary"),
    });
  });

  test("cuts hostile claims to what can be stored, and signs the person in", async () => {
    forged.forgery = {
      claims: {
        sub: "hostile",
        email: `"><script>\0@example.com`,
        email_verified: true,
        name: "x".repeat(10_000),
        preferred_username: "\u0000\u202e; drop table users",
        picture: { toString: "no text" },
        locale: "\ud800",
        given_name: "Ada",
      },
    };
    const { data, errors } = await finishForged();
    expect(errors).toBeUndefined();
    expect(data.finishProviderSignIn.user).toMatchObject({
      email: null,
      oauthProfiles: { nodes: [{ email: null, isEmailVerified: false, userInfo: { given_name: "Ada" } }] },
    });
  });
});

describe("mix-up", () => {
  test("rejects an answer that names another issuer (RFC 9207)", async () => {
    const sent = forged.requests.length;
    const other = await refusal(() => finishForged({ iss: "https://accounts.example.org" }));
    const missing = await refusal(() => finishForged({ iss: undefined }));
    expect([other.code, missing.code]).toEqual(["INVALID_CREDENTIALS", "INVALID_CREDENTIALS"]);
    expect(forged.requests.length).toBe(sent);
  });

  test("rejects an answer at another provider's redirect URI or at any other address", async () => {
    const sent = forged.requests.length;
    for (const place of [`${APP}/real`, "https://evil.example.org/callback/forged", `${APP}/forged/`]) {
      const { code, reason } = await refusal(async () => {
        const { authorizationUrl, flowToken } = await start(api, "forged");
        const back = new URL(forged.visit(authorizationUrl));
        return finishSignIn(api, flowToken, `${place}${back.search}`);
      });
      expect([place, code, reason]).toEqual([place, "INVALID_CREDENTIALS", "wrong_redirect_uri"]);
    }
    expect(forged.requests.length).toBe(sent);
  });

  test("rejects another provider's code, because the state is that of another flow", async () => {
    const [here, there] = [await start(api, "forged"), await start(api, "real")];
    const callbackUrl = await real.visit(there.authorizationUrl, "ada");
    const { code } = await refusal(() => finishSignIn(api, here.flowToken, callbackUrl));
    expect(code).toBe("INVALID_CREDENTIALS");
  });
});

describe("login CSRF and stolen codes", () => {
  test("rejects an answer with another client's flow token, and leaves both flows usable", async () => {
    const [attacker, victim] = [await start(api, "real"), await start(api, "real")];
    const attackersAnswer = await real.visit(attacker.authorizationUrl, "ada");
    const forced = await refusal(() => finishSignIn(api, victim.flowToken, attackersAnswer));
    expect(forced.code).toBe("INVALID_CREDENTIALS");
    const victimsAnswer = await real.visit(victim.authorizationUrl, "ada");
    expect((await finishSignIn(api, victim.flowToken, victimsAnswer)).errors).toBeUndefined();
    expect((await finishSignIn(api, attacker.flowToken, attackersAnswer)).errors).toBeUndefined();
  });

  test("PKCE: the provider rejects a code moved into another flow's answer", async () => {
    const [thief, owner_] = [await start(api, "real"), await start(api, "real")];
    const code = new URL(await real.visit(owner_.authorizationUrl, "ada")).searchParams.get("code")!;
    const thiefsAnswer = new URL(await real.visit(thief.authorizationUrl, "ada"));
    thiefsAnswer.searchParams.set("code", code);
    expect(await refusal(() => finishSignIn(api, thief.flowToken, thiefsAnswer.href))).toMatchObject({
      code: "INVALID_CREDENTIALS",
      reason: "invalid_grant",
    });
  });

  test("PKCE: rejects the code of a changed challenge, and gets no code without a challenge", async () => {
    const changed = await start(api, "real");
    const url = new URL(changed.authorizationUrl);
    url.searchParams.set("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"); // RFC 7636, Appendix B
    expect(
      await refusal(async () => finishSignIn(api, changed.flowToken, await real.visit(url.href, "ada"))),
    ).toMatchObject({ code: "INVALID_CREDENTIALS", reason: "invalid_grant" });

    const missing = await start(api, "real");
    const bare = new URL(missing.authorizationUrl);
    bare.searchParams.delete("code_challenge");
    bare.searchParams.delete("code_challenge_method");
    const callbackUrl = await real.visit(bare.href, "ada");
    expect(new URL(callbackUrl).searchParams.get("error")).toBe("invalid_request");
    expect((await refusal(() => finishSignIn(api, missing.flowToken, callbackUrl))).code).toBe("FORBIDDEN");
  });
});

describe("a flow", () => {
  test("signs in one of many concurrent requests with one answer, and no later request", async () => {
    const { authorizationUrl, flowToken } = await start(api, "real");
    const callbackUrl = await real.visit(authorizationUrl, "ada");
    const answers = await Promise.all(
      Array.from({ length: 8 }, () => finishSignIn(api, flowToken, callbackUrl)),
    );
    const codes = answers.map((answer) => (answer.errors ? codeOf(answer) : "in"));
    expect(codes.sort()).toEqual([...Array(7).fill("INVALID_CREDENTIALS"), "in"]);
    expect((await refusal(() => finishSignIn(api, flowToken, callbackUrl))).code).toBe("INVALID_CREDENTIALS");
  });

  test("is rejected after it expires, before any request to the provider, and deleted by the job", async () => {
    const { authorizationUrl, flowToken } = await start(api, "forged");
    await asOwner("update private.oauth_states set expires_at = now() - interval '1 second'");
    const sent = forged.requests.length;
    const { code } = await refusal(() => finishSignIn(api, flowToken, forged.visit(authorizationUrl)));
    expect(code).toBe("INVALID_CREDENTIALS");
    expect(forged.requests.length).toBe(sent);
    const kept = await start(api, "forged");
    await withClient(db.url("worker"), (client) =>
      client.query("select private.delete_expired_sign_in_data()"),
    );
    expect(await count("private.oauth_states")).toBe(1);
    expect(
      (await finishSignIn(api, kept.flowToken, forged.visit(kept.authorizationUrl))).errors,
    ).toBeUndefined();
  });

  test("leaves no row once it has finished or failed", async () => {
    await asOwner("delete from private.oauth_states");
    await finishForged();
    await finishForged({ iss: "https://accounts.example.org" });
    expect(await count("private.oauth_states")).toBe(0);
  });
});

describe("a provider that declines or fails", () => {
  test("returns FORBIDDEN if the person declines", async () => {
    const { authorizationUrl, flowToken } = await start(api, "real");
    const callbackUrl = await real.visit(authorizationUrl, null);
    expect(await refusal(() => finishSignIn(api, flowToken, callbackUrl))).toMatchObject({
      code: "FORBIDDEN",
      reason: "access_denied",
    });
  });

  test("maps its errors to codes and repeats none of its words", async () => {
    const outcomes: [string, string | undefined][] = [];
    for (const error of [
      "access_denied",
      "server_error",
      "temporarily_unavailable",
      "<script>",
      "x".repeat(500),
    ]) {
      const { code, reason, text } = await refusal(() =>
        finishForged({ code: undefined, error, error_description: "canary words" }),
      );
      expect(text).not.toContain("canary");
      expect(text).not.toContain("script");
      outcomes.push([code, reason]);
    }
    expect(outcomes).toEqual([
      ["FORBIDDEN", "access_denied"],
      ["UNAVAILABLE", "server_error"],
      ["UNAVAILABLE", "temporarily_unavailable"],
      ["FORBIDDEN", "unknown"],
      ["FORBIDDEN", "unknown"],
    ]);
  });

  test("returns UNAVAILABLE at the start and at the end if it cannot be reached", async () => {
    expect(codeOf(await startAnswer(api, { provider: "down" }))).toBe("UNAVAILABLE");
    for (const answer of [
      (_: string, response: ServerResponse) => Boolean(response.writeHead(503).end()),
      (_: string, response: ServerResponse) => Boolean(response.destroy()),
      (_: string, response: ServerResponse) =>
        Boolean(response.writeHead(401, { "www-authenticate": 'Basic realm="canary"' }).end()),
      (_: string, response: ServerResponse) => Boolean(response.end("<html>maintenance")),
      (_: string, response: ServerResponse) =>
        Boolean(response.writeHead(200, { "content-type": "application/json" }).end("x".repeat(2_000_000))),
    ]) {
      forged.forgery = { answer };
      expect((await refusal(() => finishForged())).code).toBe("UNAVAILABLE");
    }
  });

  test("returns UNAVAILABLE if it does not accept the client, and logs the reason without the secret", async () => {
    const { authorizationUrl, flowToken } = await start(api, "misconfigured");
    const url = new URL(authorizationUrl);
    url.searchParams.set("redirect_uri", `${APP}/real`);
    const back = new URL(await real.visit(url.href, "ada"));
    const outcome = await refusal(() => finishSignIn(api, flowToken, `${APP}/misconfigured${back.search}`));
    expect(outcome).toMatchObject({ code: "UNAVAILABLE", reason: "invalid_client" });
    const log = JSON.stringify(api.logLines);
    expect(log).toContain("invalid_client");
    expect(log).not.toContain("not-the-secret");
  });

  test("logs no code, token or secret in any of these cases", () => {
    const log = JSON.stringify(api.logLines);
    expect(log).toContain("OAUTH_RESPONSE_IS_NOT_CONFORM");
    expect(log).not.toContain("canary");
  });
});

describe("bad input", () => {
  const url = `${APP}/forged?code=x&state=y`;
  const token = `plo_${"A".repeat(43)}`;

  test.each([
    ["provider", { provider: "nobody" }],
    ["provider", { provider: "" }],
    ["provider", { provider: "forged\0" }],
    ["provider", { provider: "x".repeat(100_000) }],
    ["provider", { provider: "__proto__" }],
    ["provider", { provider: "f\u043erged" }],
    ["deviceName", { provider: "forged", deviceName: "" }],
    ["deviceName", { provider: "forged", deviceName: "x".repeat(101) }],
    ["deviceName", { provider: "forged", deviceName: "a\nb" }],
    ["redirectUri", { provider: "forged", redirectUri: "javascript:alert(1)" }],
    ["redirectUri", { provider: "forged", redirectUri: "x".repeat(100_000) }],
    ["redirectUri", { provider: "forged", redirectUri: "\0" }],
  ])("startProviderSignIn rejects %s: %j", async (field, input) => {
    const answer = await startAnswer(api, input);
    expect([codeOf(answer), answer.errors![0]!.extensions.field]).toEqual(["BAD_USER_INPUT", field]);
  });

  test.each([
    "",
    "not an address",
    "/callback?code=x&state=y",
    `${APP}/forged`,
    `${APP}/forged?code=x`,
    `${APP}/forged?code=x&state=`,
    `${APP}/forged?code=x&state=a&state=b`,
    `${APP}/forged?code=x&state=\0`,
    `${APP}/forged?code=\ud800&state=a`,
    `${APP}/forged?state=a&code=${"x".repeat(20_000)}`,
  ])("finishProviderSignIn rejects callbackUrl: %j", async (callbackUrl) => {
    const answer = await finishSignIn(api, token, callbackUrl);
    expect([codeOf(answer), answer.errors![0]!.extensions.field]).toEqual(["BAD_USER_INPUT", "callbackUrl"]);
  });

  test.each(["", "x", token, `${token}\0`, `plr_${"A".repeat(43)}`, "x".repeat(100_000)])(
    "rejects a malformed flow token like an unknown one",
    async (flowToken) => {
      expect(codeOf(await finishSignIn(api, flowToken, url))).toBe("INVALID_CREDENTIALS");
    },
  );

  test("rejects an answer with two codes", async () => {
    const { authorizationUrl, flowToken } = await start(api, "forged");
    const back = `${forged.visit(authorizationUrl)}&code=another`;
    expect((await refusal(() => finishSignIn(api, flowToken, back))).code).toBe("INVALID_CREDENTIALS");
  });

  test("rejects wrong types and missing values before any request to a provider", async () => {
    for (const input of [
      {},
      { provider: null },
      { provider: 7 },
      { provider: ["forged"] },
      { provider: "forged", x: 1 },
    ])
      expect(codeOf(await startAnswer(api, input))).toBe("BAD_USER_INPUT");
  });

  test("finishes one sign-in in one operation", async () => {
    const field = `finishProviderSignIn(input: { flowToken: "x", callbackUrl: "y" }) { accessToken }`;
    expect(codeOf(await api.ask(`mutation { a: ${field} b: ${field} }`))).toBe("QUERY_TOO_COMPLEX");
  });
});
