import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import type pg from "pg";
import { parseMasterKeys } from "../../src/auth/master-keys.ts";
import { createSealer } from "../../src/auth/sealing.ts";
import { type Api, codeOf, MASTER_KEYS, signUp, startApi } from "../support/api.ts";
import { createTestDatabase, rowsAs, type TestDatabase, withClient } from "../support/database.ts";
import { startOidcProvider, type TestProvider } from "../support/oidc-provider.ts";
import { APP, entry, finishSignIn, start, startAnswer } from "../support/provider-flow.ts";
import { tablesWith } from "../support/whole-database.ts";

// Signing in with a real OpenID Connect provider over HTTP, end to end.

let db: TestDatabase;
let api: Api;
let provider: TestProvider;
beforeAll(async () => {
  db = await createTestDatabase();
  provider = await startOidcProvider({
    redirectUris: ["trusted", "strict", "closed"].map((name) => `${APP}/${name}`),
  });
  api = await startApi(db, {
    PLINTH_OAUTH_PROVIDERS: JSON.stringify([
      entry("trusted", provider, { trustsEmail: true, label: "Example" }),
      entry("strict", provider),
      entry("closed", provider, { mayRegister: false }),
    ]),
  });
});
afterAll(async () => {
  await api.close();
  await provider.close();
  await db.drop();
});

const asOwner = rowsAs("owner", () => db);

/** A person at the provider with a name of their own. */
function person(claims: Record<string, unknown> = {}): string {
  const subject = `sub-${randomUUID()}`;
  provider.people[subject] = claims;
  return subject;
}

async function signInAt(name: string, subject: string) {
  const { authorizationUrl, flowToken } = await start(api, name);
  const callbackUrl = await provider.visit(authorizationUrl, subject);
  return finishSignIn(api, flowToken, callbackUrl);
}

const accountOf = async (subject: string) =>
  (
    await asOwner<{ id: string; username: string; email: string | null; email_verified_at: Date | null }>(
      `select u.* from identity.users u join identity.oauth_profiles o on o.user_id = u.id
       where o.provider_user_id = $1`,
      [subject],
    )
  )[0];
const eventsOf = async (userId: string) =>
  (
    await asOwner<{ e: string }>(
      "select event_type as e from security.security_audit_log where user_id = $1 order by id",
      [userId],
    )
  ).map(({ e }) => e);

describe("starting a sign-in", () => {
  test("lists the providers without their secrets", async () => {
    const { data, text } = await api.ask("{ signInProviders { name label } }");
    expect(data.signInProviders).toEqual([
      { name: "trusted", label: "Example" },
      { name: "strict", label: "strict" },
      { name: "closed", label: "closed" },
    ]);
    expect(text).not.toContain(provider.clientSecret);
  });

  test("requests a code with PKCE S256, a state and a nonce, and reveals neither the flow token nor the verifier", async () => {
    const { authorizationUrl, flowToken, expiresAt } = await start(api, "trusted");
    const url = new URL(authorizationUrl);
    const parameters = Object.fromEntries(url.searchParams);
    expect(url.origin).toBe(provider.issuer);
    expect(parameters).toEqual({
      client_id: provider.clientId,
      redirect_uri: `${APP}/trusted`,
      response_type: "code",
      scope: "openid email profile",
      state: expect.stringMatching(/^[\w-]{43}$/),
      nonce: expect.stringMatching(/^[\w-]{43}$/),
      code_challenge: expect.stringMatching(/^[\w-]{43}$/),
      code_challenge_method: "S256",
    });
    expect(flowToken).toMatch(/^plo_[\w-]{43}$/);
    expect(Date.parse(expiresAt) - Date.now()).toBeLessThanOrEqual(10 * 60_000);
    const again = new URL((await start(api, "trusted")).authorizationUrl).searchParams;
    for (const name of ["state", "nonce", "code_challenge"])
      expect(again.get(name)).not.toBe(parameters[name]);
  });

  test("accepts only a redirect URI of this provider", async () => {
    const own = await startAnswer(api, { provider: "trusted", redirectUri: `${APP}/trusted` });
    expect(own.errors).toBeUndefined();
    for (const redirectUri of [
      `${APP}/strict`,
      `${APP}/trusted/`,
      `${APP}/trusted?x=1`,
      "https://evil.example.org/callback/trusted",
      "",
    ]) {
      const answer = await startAnswer(api, { provider: "trusted", redirectUri });
      expect([redirectUri, codeOf(answer), answer.errors?.[0]?.extensions.field]).toEqual([
        redirectUri,
        "BAD_USER_INPUT",
        "redirectUri",
      ]);
    }
  });
});

describe("the first sign-in", () => {
  test("creates an account without a password, with a name, a session and the profile; the second sign-in finds it [C2]", async () => {
    const subject = person({
      email: "Maria.First@Example.com",
      email_verified: true,
      name: "Maria First",
      preferred_username: "Maria",
      locale: "de",
      birthdate: "1990-01-01",
    });
    const { data, errors } = await signInAt("trusted", subject);
    expect(errors).toBeUndefined();
    const { accessToken, challenge, user } = data.finishProviderSignIn;
    expect(challenge).toBeNull();
    expect(user).toMatchObject({ username: "maria", email: "maria.first@example.com", isVerified: true });
    expect(user.oauthProfiles.nodes).toEqual([
      {
        provider: "trusted",
        providerUserId: subject,
        email: "maria.first@example.com",
        isEmailVerified: true,
        userInfo: { name: "Maria First", preferred_username: "Maria", locale: "de" },
        tokenExpiresAt: expect.any(String),
        lastUsedAt: expect.any(String),
      },
    ]);
    const me = await api.ask("{ currentUser { id role settings { displayName } } }", {
      token: accessToken,
    });
    expect(me.data.currentUser).toEqual({
      id: user.id,
      role: "user",
      settings: { displayName: "Maria First" },
    });
    expect(await asOwner("select from private.user_passwords where user_id = $1", [user.id])).toEqual([]);
    expect(
      await asOwner("select authentication_methods as m from identity.user_sessions where user_id = $1", [
        user.id,
      ]),
    ).toEqual([{ m: ["fed"] }]);
    expect(await eventsOf(user.id)).toEqual([
      "role_granted",
      "user_registered",
      "provider_linked",
      "provider_sign_in",
      "login_succeeded",
    ]);

    const again = await signInAt("trusted", subject);
    expect(again.data.finishProviderSignIn.user.id).toBe(user.id);
    expect((await eventsOf(user.id)).slice(5)).toEqual(["provider_sign_in", "login_succeeded"]);
    expect(await asOwner("select status from security.login_attempts where user_id = $1", [user.id])).toEqual(
      [{ status: "success" }, { status: "success" }],
    );
  });

  test("names the session after the device name given at the start", async () => {
    const { data } = await startAnswer(api, { provider: "trusted", deviceName: "Maria's phone" });
    const subject = person();
    await finishSignIn(
      api,
      data.started.flowToken,
      await provider.visit(data.started.authorizationUrl, subject),
    );
    const { id } = (await accountOf(subject))!;
    expect(await asOwner("select device_name from identity.user_sessions where user_id = $1", [id])).toEqual([
      { device_name: "Maria's phone" },
    ]);
  });

  test("adds a suffix to a name that is taken, and turns an invalid name into a username", async () => {
    const names: string[] = [];
    for (const preferred_username of ["Zoë.Ü", "Zoë.Ü", "", "!", "a".repeat(300), "<script>", undefined]) {
      const subject = person({ preferred_username });
      const answer = await signInAt("trusted", subject);
      expect(answer.errors).toBeUndefined();
      names.push((await accountOf(subject))!.username);
    }
    expect(new Set(names).size).toBe(names.length);
    expect(names[0]).toBe("zo");
    expect(names[1]).toMatch(/^zo-[0-9a-f]{8}$/);
    expect(names[2]).toMatch(/^user(-[0-9a-f]{8})?$/);
    expect(names[3]).toMatch(/^user-[0-9a-f]{8}$/);
    expect(names[4]).toBe("a".repeat(80));
    expect(names[5]).toBe("script");
  });

  test("rejects unknown people at a provider that may not register", async () => {
    const subject = person({ email: "stranger@example.com", email_verified: true });
    expect(codeOf(await signInAt("closed", subject))).toBe("FORBIDDEN");
    expect(await accountOf(subject)).toBeUndefined();
    expect(await asOwner("select from identity.users where email = 'stranger@example.com'")).toEqual([]);
  });

  test("creates one account for concurrent first sign-ins of one person", async () => {
    for (let round = 0; round < 3; round++) {
      const subject = person({
        preferred_username: "racer",
        email: `racer${round}@example.com`,
        email_verified: true,
      });
      const flows = await Promise.all(
        Array.from({ length: 4 }, async () => {
          const { authorizationUrl, flowToken } = await start(api, "trusted");
          return { flowToken, callbackUrl: await provider.visit(authorizationUrl, subject) };
        }),
      );
      const answers = await Promise.all(
        flows.map((flow) => finishSignIn(api, flow.flowToken, flow.callbackUrl)),
      );
      expect(answers.map(({ errors }) => errors)).toEqual(flows.map(() => undefined));
      expect(new Set(answers.map(({ data }) => data.finishProviderSignIn.user.id)).size).toBe(1);
    }
    expect(await asOwner("select from identity.users where username ~ '^racer'")).toHaveLength(3);
  });
});

describe("addresses", () => {
  test("saves the address only if the provider verified it and is trusted with it", async () => {
    const email = () => `${randomUUID()}@example.com`;
    const cases = [
      ["trusted", { email: email(), email_verified: true }, true],
      ["trusted", { email: email(), email_verified: false }, false],
      ["trusted", { email: email() }, false],
      ["trusted", { email: email(), email_verified: "yes" }, false],
      ["trusted", { email: email(), email_verified: 1 }, false],
      ["strict", { email: email(), email_verified: true }, false],
    ] as const;
    for (const [name, claims, isTaken] of cases) {
      const subject = person(claims);
      await signInAt(name, subject);
      const account = await accountOf(subject);
      expect([name, claims, account?.email, account?.email_verified_at !== null]).toEqual([
        name,
        claims,
        isTaken ? claims.email : null,
        isTaken,
      ]);
    }
  });

  test("never folds an address into another one", async () => {
    for (const [told, kept] of [
      ["mi\u212ae@example.com", null],
      ["\u0130van@example.com", null],
      ["jose\u0301@example.com", null],
      ["a\u200bda@example.com", null],
      ["Plain@Example.com", "plain@example.com"],
      ["own@m\u00fcnchen.example", "own@xn--mnchen-3ya.example"],
    ] as const) {
      const subject = person({ email: told, email_verified: true });
      await signInAt("trusted", subject);
      const account = await accountOf(subject);
      expect([told, account?.email, account?.email_verified_at != null]).toEqual([told, kept, kept !== null]);
    }
  });

  test("rejects an address that SQL would fold, also from a direct caller of the functions", async () => {
    for (const [told, kept] of [
      ["mi\u212ae@example.net", null],
      ["\u0130van@example.net", null],
      ["direct@example.net", "direct@example.net"],
    ] as const) {
      const [made] = await asOwner<{ id: string }>(
        "select private.register_by_provider('direct', $1, sha256(convert_to($1, 'UTF8')), null) as id",
        [told],
      );
      const [row] = await asOwner("select email from identity.users where id = $1", [made!.id]);
      expect([told, row]).toEqual([told, { email: kept }]);
    }
  });

  test("takeover: never opens an account with the same address, whatever the provider says about the address", async () => {
    const victim = await signUp(api, "victim"); // victim@example.org
    await asOwner("update identity.users set email_verified_at = now() where id = $1", [victim.userId]);
    for (const [name, email_verified, code] of [
      ["trusted", true, "CONFLICT"],
      ["trusted", false, undefined],
      ["strict", true, undefined],
      ["strict", false, undefined],
    ] as const) {
      const subject = person({ email: "VICTIM@example.org", email_verified });
      const answer = await signInAt(name, subject);
      expect([name, email_verified, answer.errors && codeOf(answer)]).toEqual([name, email_verified, code]);
      const account = await accountOf(subject);
      if (code) expect(account).toBeUndefined();
      else {
        expect(account?.id).not.toBe(victim.userId);
        expect(account?.email).toBeNull();
      }
    }
    expect(await asOwner("select from identity.oauth_profiles where user_id = $1", [victim.userId])).toEqual(
      [],
    );
  });

  test("reveals that an address has an account only to a person who has proved to own it", async () => {
    await signUp(api, "secretive");
    await asOwner("update identity.users set email_verified_at = now() where username = 'secretive'");
    const strip = (text: string) =>
      text.replaceAll(
        /"(accessToken|refreshToken|id|providerUserId|tokenExpiresAt|lastUsedAt|username|email)":"[^"]*"/g,
        "",
      );
    const known = await signInAt(
      "trusted",
      person({ email: "secretive@example.org", email_verified: false }),
    );
    const unknown = await signInAt(
      "trusted",
      person({ email: "nobody-has-it@example.org", email_verified: false }),
    );
    expect(strip(known.text)).toBe(strip(unknown.text));
  });

  test("pre-hijacking: keeps the owner of an address separate from an account that registered it unverified", async () => {
    const attacker = await signUp(api, "lurker"); // lurker@example.org, never verified
    const subject = person({ email: "lurker@example.org", email_verified: true });
    const { data } = await signInAt("trusted", subject);
    expect(data.finishProviderSignIn.user.id).not.toBe(attacker.userId);
    expect(data.finishProviderSignIn.user.email).toBeNull();
    expect(
      await asOwner("select from identity.oauth_profiles where user_id = $1", [attacker.userId]),
    ).toEqual([]);
  });

  test("creates an account for one of two concurrent people with one verified address, and reports the conflict to the other", async () => {
    for (let round = 0; round < 3; round++) {
      const email = `${randomUUID()}@example.com`;
      const flows = await Promise.all(
        [1, 2].map(async () => {
          const { authorizationUrl, flowToken } = await start(api, "trusted");
          const subject = person({ email, email_verified: true });
          return { flowToken, callbackUrl: await provider.visit(authorizationUrl, subject) };
        }),
      );
      const answers = await Promise.all(
        flows.map((flow) => finishSignIn(api, flow.flowToken, flow.callbackUrl)),
      );
      expect(answers.map((answer) => (answer.errors ? codeOf(answer) : "in")).sort()).toEqual([
        "CONFLICT",
        "in",
      ]);
      expect(await asOwner("select from identity.users where email = $1", [email])).toHaveLength(1);
    }
  });

  test("creates one account for two people with one verified address in the same instant, in each of many rounds", async () => {
    const register = (client: pg.Client, email: string) =>
      client
        .query<{ id: string | null }>("select private.register_by_provider($1, $2, null, 'x') as id", [
          randomUUID(),
          email,
        ])
        .then(({ rows }) => rows[0]!.id);
    await withClient(db.url("owner"), (one) =>
      withClient(db.url("owner"), async (other) => {
        for (let round = 0; round < 1_000; round++) {
          const email = `${randomUUID()}@example.com`;
          const ids = await Promise.all([register(one, email), register(other, email)]);
          expect(ids.filter((id) => id === null)).toHaveLength(1);
        }
      }),
    );
  });

  test("keeps the account's address when it changes at the provider, and updates only the profile", async () => {
    const subject = person({ email: "before@example.com", email_verified: true });
    await signInAt("trusted", subject);
    const before = (await accountOf(subject))!;
    provider.people[subject] = { email: "after@example.com", email_verified: true };
    const { data } = await signInAt("trusted", subject);
    expect(data.finishProviderSignIn.user).toMatchObject({ id: before.id, email: "before@example.com" });
    expect(data.finishProviderSignIn.user.oauthProfiles.nodes[0].email).toBe("after@example.com");
  });
});

describe("an account that may not sign in", () => {
  const refusal = async (change: string) => {
    const subject = person();
    await signInAt("trusted", subject);
    const { id } = (await accountOf(subject))!;
    await asOwner(change, [id]);
    const answer = await signInAt("trusted", subject);
    const [attempt] = await asOwner<{ status: string; failure_reason: string }>(
      "select status, failure_reason from security.login_attempts where user_id = $1 order by id desc limit 1",
      [id],
    );
    expect((await eventsOf(id)).at(-1)).toBe("provider_sign_in_failed");
    return { code: codeOf(answer), text: answer.text, ...attempt! };
  };

  test("gets the same answer whether disabled, locked or in a disallowed network, and each attempt is counted", async () => {
    const refusals = [
      await refusal("update identity.users set account_status = 'disabled' where id = $1"),
      await refusal("update identity.users set account_status = 'deleted' where id = $1"),
      await refusal("update identity.users set locked_until = now() + interval '1 hour' where id = $1"),
      await refusal(
        "update identity.user_security_settings set allowed_networks = '{192.0.2.0/24}' where user_id = $1",
      ),
    ];
    expect(refusals.map(({ failure_reason }) => failure_reason)).toEqual([
      "account_disabled",
      "account_disabled",
      "account_locked",
      "network_not_allowed",
    ]);
    for (const { code, text } of refusals)
      expect({ code, text }).toEqual({ code: "INVALID_CREDENTIALS", text: refusals[0]!.text });
  });

  test("ends in private.complete_sign_in, so a second factor is required", async () => {
    const subject = person();
    await signInAt("trusted", subject);
    const { id } = (await accountOf(subject))!;
    await asOwner(
      "insert into identity.mfa_factors (user_id, kind, name, confirmed_at) values ($1, 'totp', 'app', now())",
      [id],
    );
    // Earlier wrong guesses: half a sign-in must not hide them.
    await asOwner("update identity.users set failed_login_attempts = 3 where id = $1", [id]);
    const { data } = await signInAt("trusted", subject);
    expect(data.finishProviderSignIn).toEqual({
      accessToken: null,
      refreshToken: null,
      user: null,
      challenge: { token: expect.stringMatching(/^plc_/), methods: ["totp"] },
    });
    expect(
      await asOwner(
        "select failed_login_attempts as n, (select count(*)::int from identity.user_sessions s where s.user_id = u.id) as sessions from identity.users u where id = $1",
        [id],
      ),
    ).toEqual([{ n: 3, sessions: 1 }]);
    expect(
      await asOwner("select status from security.login_attempts where user_id = $1 order by id", [id]),
    ).toEqual([{ status: "success" }, { status: "challenged" }]);
  });
});

describe("privacy mode [S1]", () => {
  test("stores nothing that names a person at a provider, and recognizes their address by its hash", async () => {
    const CANARY = "kanarienvogel";
    const privateApi = await startApi(db, {
      PLINTH_PRIVACY_MODE: "true",
      PLINTH_OAUTH_PROVIDERS: JSON.stringify([entry("trusted", provider, { trustsEmail: true })]),
    });
    try {
      const signInPrivately = async (subject: string) => {
        const { authorizationUrl, flowToken } = await start(privateApi, "trusted");
        return finishSignIn(privateApi, flowToken, await provider.visit(authorizationUrl, subject));
      };
      const claims = {
        email: `${CANARY}@example.com`,
        email_verified: true,
        name: `Maria ${CANARY}`,
        preferred_username: `${CANARY}@example.com`,
        locale: "de",
      };
      const subject = person(claims);
      const { data, errors } = await signInPrivately(subject);
      expect(errors).toBeUndefined();
      const { user } = data.finishProviderSignIn;
      expect([user.email, user.isVerified, user.oauthProfiles.nodes[0].userInfo]).toEqual([
        null,
        true,
        { locale: "de" },
      ]);
      expect((await signInPrivately(subject)).data.finishProviderSignIn.user.id).toBe(user.id);
      expect(await tablesWith(db, CANARY)).toEqual([]);
      // Another person with the same address at the provider learns of the account.
      expect(codeOf(await signInPrivately(person(claims)))).toBe("CONFLICT");
    } finally {
      await privateApi.close();
    }
  });
});

describe("an account without a password", () => {
  test("is rejected like an unknown account by login and changePassword", async () => {
    const subject = person({ preferred_username: "passwordless" });
    const { data } = await signInAt("trusted", subject);
    const login = (identifier: string) =>
      api.ask("mutation ($input: LoginInput!) { login(input: $input) { accessToken } }", {
        variables: { input: { identifier, password: "a password of nobody at all" } },
      });
    const [without, nobody] = [await login("passwordless"), await login("nobody-of-that-name")];
    expect(codeOf(without)).toBe("INVALID_CREDENTIALS");
    expect(without.text).toBe(nobody.text);
    const change = await api.ask(
      "mutation ($input: ChangePasswordInput!) { changePassword(input: $input) { accessToken } }",
      {
        variables: { input: { currentPassword: "anything", newPassword: "an entirely new sentence" } },
        token: data.finishProviderSignIn.accessToken,
      },
    );
    expect(codeOf(change)).toBe("INVALID_CREDENTIALS");
    const { id } = (await accountOf(subject))!;
    expect(await asOwner("select from private.user_passwords where user_id = $1", [id])).toEqual([]);
  });
});

describe("secrets", () => {
  test("are in no table, log line or answer: the provider's tokens, the client secret and the flow's secrets", async () => {
    const seen: string[] = [];
    const subject = person({ preferred_username: "canary" });
    const { authorizationUrl, flowToken } = await start(api, "trusted");
    const callbackUrl = await provider.visit(authorizationUrl, subject);
    const answer = await finishSignIn(api, flowToken, callbackUrl);
    seen.push(answer.text, JSON.stringify(api.logLines));
    const unfinished = await start(api, "trusted");
    const tables = await asOwner<{ t: string }>(
      `select c.oid::regclass::text as t from pg_class c join pg_namespace n on n.oid = c.relnamespace
       where c.relkind = 'r' and n.nspname in ('identity', 'access', 'security', 'private', 'plinth')`,
    );
    for (const { t } of tables) seen.push(JSON.stringify(await asOwner(`select x::text from ${t} x`)));
    const dump = seen.join("\n");
    expect(dump).toContain(subject); // The search covers the place where the sign-in left its rows.

    const state = (url: string) => new URL(url).searchParams.get("state")!;
    expect(provider.tokens.length).toBeGreaterThanOrEqual(2);
    for (const secret of [
      ...provider.tokens,
      provider.clientSecret,
      flowToken,
      unfinished.flowToken,
      state(authorizationUrl),
      state(unfinished.authorizationUrl),
      new URL(unfinished.authorizationUrl).searchParams.get("nonce")!,
      new URL(callbackUrl).searchParams.get("code")!,
    ])
      expect(dump.includes(secret)).toBe(false);
    // The holder of the master key can still read them.
    const kept = await asOwner<{ access: string; refresh: string }>(
      `select access_token_sealed as access, refresh_token_sealed as refresh
       from private.oauth_tokens t join identity.oauth_profiles o on o.id = t.profile_id where provider_user_id = $1`,
      [subject],
    );
    const sealer = createSealer(parseMasterKeys(MASTER_KEYS));
    expect(kept).toHaveLength(1);
    for (const sealed of [kept[0]!.access, kept[0]!.refresh])
      expect(provider.tokens).toContain(sealer.unseal("oauth token", sealed).toString());
  });
});
