import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import {
  type Answer,
  type Api,
  codeOf,
  type SignedIn,
  signIn,
  signUp,
  startApi,
  until,
} from "../support/api.ts";
import { createTestDatabase, rowsAs, type TestDatabase, withClient } from "../support/database.ts";
import { type ForgedProvider, startForgedProvider } from "../support/forged-provider.ts";
import { templatesTo } from "../support/mail.ts";
import { entry, finishLink, finishSignIn, start, startAnswer, unlink } from "../support/provider-flow.ts";

// Linking a provider to an account that is signed in, and unlinking it.

let db: TestDatabase;
let api: Api;
let one: ForgedProvider;
let two: ForgedProvider;
beforeAll(async () => {
  db = await createTestDatabase();
  [one, two] = await Promise.all([startForgedProvider(), startForgedProvider()]);
  api = await startApi(db, {
    PLINTH_OAUTH_PROVIDERS: JSON.stringify([entry("one", one), entry("two", two)]),
  });
});
afterAll(async () => {
  await api.close();
  await Promise.all([one.close(), two.close()]);
  await db.drop();
});

const asOwner = rowsAs("owner", () => db);
const subject = () => `sub-${randomUUID()}`;
const account = () => signUp(api, `u${randomUUID().slice(0, 13)}`);
const profilesOf = async (userId: string) =>
  (
    await asOwner<{ p: string }>(
      "select provider || ' ' || provider_user_id as p from identity.oauth_profiles where user_id = $1 order by 1",
      [userId],
    )
  ).map(({ p }) => p);
const eventsOf = async (userId: string) =>
  (
    await asOwner<{ e: string }>(
      "select event_type as e from security.security_audit_log where user_id = $1 and event_type ~ 'provider' order by id",
      [userId],
    )
  ).map(({ e }) => e);

/** Number of transactions that wait for the lock of a person at a provider. */
const waiting = async () =>
  (
    await asOwner<{ n: number }>(
      `select count(*)::int as n from pg_locks
       where locktype = 'advisory' and not granted and database = (select oid from pg_database where datname = current_database())`,
    )
  )[0]!.n;

async function link(token: string, provider: ForgedProvider, sub: string) {
  const { authorizationUrl, flowToken } = await start(api, provider === one ? "one" : "two", token);
  provider.forgery = { claims: { sub } };
  return finishLink(api, token, flowToken, provider.visit(authorizationUrl));
}

async function signInWith(provider: ForgedProvider, sub: string) {
  const { authorizationUrl, flowToken } = await start(api, provider === one ? "one" : "two");
  provider.forgery = { claims: { sub } };
  return finishSignIn(api, flowToken, provider.visit(authorizationUrl));
}

async function newcomer(provider: ForgedProvider, sub: string): Promise<SignedIn> {
  const { data } = await signInWith(provider, sub);
  const { accessToken, refreshToken, user } = data.finishProviderSignIn;
  return { userId: user.id, token: accessToken, refreshToken };
}

describe("linking", () => {
  test("lets the user sign in with the provider; linking again changes nothing [C2]", async () => {
    const [ada, sub] = [await account(), subject()];
    for (let time = 0; time < 2; time++) {
      const { data } = await link(ada.token, one, sub);
      expect(data.finishProviderLink.oauthProfile).toEqual({
        provider: "one",
        providerUserId: sub,
        lastUsedAt: null,
      });
    }
    expect(await profilesOf(ada.userId)).toEqual([`one ${sub}`]);
    const { data } = await signInWith(one, sub);
    expect(data.finishProviderSignIn.user.id).toBe(ada.userId);
    expect(await eventsOf(ada.userId)).toEqual(["provider_linked", "provider_linked", "provider_sign_in"]);
  });

  test("leaves the account's own address unchanged", async () => {
    const ada = await account();
    const { authorizationUrl, flowToken } = await start(api, "one", ada.token);
    one.forgery = { claims: { sub: subject(), email: "elsewhere@example.com", email_verified: true } };
    await finishLink(api, ada.token, flowToken, one.visit(authorizationUrl));
    const [row] = await asOwner<{ email: string; email_verified_at: Date | null }>(
      "select email, email_verified_at from identity.users where id = $1",
      [ada.userId],
    );
    expect(row).toEqual({ email: expect.stringMatching(/@example\.org$/), email_verified_at: null });
  });

  test("rejects a person that another account has, without naming it, and a second person at one provider", async () => {
    const [ada, bob, sub] = [await account(), await account(), subject()];
    await link(ada.token, one, sub);
    const taken = await link(bob.token, one, sub);
    expect(codeOf(taken)).toBe("CONFLICT");
    expect(taken.text).not.toContain(ada.userId);
    expect(await profilesOf(bob.userId)).toEqual([]);
    expect(await eventsOf(bob.userId)).toEqual(["provider_link_failed"]);
    expect(codeOf(await link(ada.token, one, subject()))).toBe("CONFLICT");
    expect(await profilesOf(ada.userId)).toEqual([`one ${sub}`]);
  });

  test("needs a session, and accepts only the one that started it", async () => {
    const [ada, mallory] = [await account(), await account()];
    const visitor = await api.ask(`mutation { startProviderLink(input: { provider: "one" }) { flowToken } }`);
    expect(codeOf(visitor)).toBe("UNAUTHENTICATED");
    const [{ username }] = (await asOwner<{ username: string }>(
      "select username from identity.users where id = $1",
      [ada.userId],
    )) as [{ username: string }];
    const elsewhere = await signIn(api, username);
    const { authorizationUrl, flowToken } = await start(api, "one", ada.token);
    const sub = subject();
    one.forgery = { claims: { sub } };
    const callbackUrl = one.visit(authorizationUrl);
    expect(codeOf(await finishLink(api, undefined, flowToken, callbackUrl))).toBe("UNAUTHENTICATED");
    for (const token of [mallory.token, elsewhere.token])
      expect(codeOf(await finishLink(api, token, flowToken, callbackUrl))).toBe("INVALID_CREDENTIALS");
    // A link flow cannot sign in, and a sign-in flow cannot link.
    expect(codeOf(await finishSignIn(api, flowToken, callbackUrl))).toBe("INVALID_CREDENTIALS");
    expect(await asOwner("select from identity.oauth_profiles where provider_user_id = $1", [sub])).toEqual(
      [],
    );
    const foreign = await start(api, "one");
    const foreignUrl = one.visit(foreign.authorizationUrl);
    expect(codeOf(await finishLink(api, ada.token, foreign.flowToken, foreignUrl))).toBe(
      "INVALID_CREDENTIALS",
    );
    expect((await finishSignIn(api, foreign.flowToken, foreignUrl)).errors).toBeUndefined();
    // The same person is linked below.
    await asOwner("delete from identity.oauth_profiles where provider_user_id = $1", [sub]);
    // None of these attempts used it up.
    one.visit(authorizationUrl);
    expect((await finishLink(api, ada.token, flowToken, callbackUrl)).errors).toBeUndefined();
  });

  test("ends with the session that started it", async () => {
    const ada = await account();
    const { authorizationUrl, flowToken } = await start(api, "one", ada.token);
    const callbackUrl = one.visit(authorizationUrl);
    await asOwner(
      "update identity.user_sessions set ended_at = now(), end_reason = 'ended_by_user' where user_id = $1",
      [ada.userId],
    );
    const [, session] = await Promise.all([
      null,
      asOwner<{ id: string }>("select id from identity.user_sessions where user_id = $1", [ada.userId]),
    ]);
    // The access token may outlive the session by a moment; the database decides.
    const rows = await withClient(db.url("service"), async (client) => {
      await client.query(
        "select set_config('jwt.claims.user_id', $1, false), set_config('jwt.claims.session_id', $2, false)",
        [ada.userId, session[0]!.id],
      );
      await expect(
        client.query(
          "select private.start_provider_flow('one', 'link', sha256('a'), sha256('b'), 'https://x.example', 'v1.x')",
        ),
      ).rejects.toMatchObject({ code: "PL401" });
      const { rows: flows } = await client.query<{ flow_id: string }>(
        "select flow_id from private.take_provider_flow('link', sha256($1::bytea), sha256($2::bytea))",
        [flowToken, new URL(callbackUrl).searchParams.get("state")],
      );
      const sealed = `v1.${"A".repeat(60)}`;
      return (
        await client.query(
          "select outcome from private.finish_provider_link($1, 'x', null, false, '{}', $2, null, null)",
          [flows[0]!.flow_id, sealed],
        )
      ).rows;
    });
    expect(rows).toEqual([{ outcome: "refused" }]);
    expect(await profilesOf(ada.userId)).toEqual([]);
  });

  test("succeeds for one of two accounts that concurrently link one person", async () => {
    for (let round = 0; round < 3; round++) {
      const [sub, people] = [subject(), await Promise.all([account(), account()])];
      one.forgery = { claims: { sub } };
      const flows: { token: string; authorizationUrl: string; flowToken: string }[] = [];
      for (const { token } of people) flows.push({ token, ...(await start(api, "one", token)) });
      const codes: string[] = [];
      // Both have the provider's answer and wait for the same lock; then both continue.
      await withClient(db.url("owner"), async (client) => {
        await client.query("begin");
        await client.query("select private.lock_provider_subject('one', $1)", [sub]);
        const running: Promise<Answer>[] = [];
        for (const { token, authorizationUrl, flowToken } of flows) {
          running.push(finishLink(api, token, flowToken, one.visit(authorizationUrl)));
          await until(async () => (await waiting()) === running.length);
        }
        await client.query("commit");
        for (const answer of await Promise.all(running))
          codes.push(answer.errors ? codeOf(answer) : "linked");
      });
      expect(codes.sort()).toEqual(["CONFLICT", "linked"]);
      expect(
        await asOwner("select from identity.oauth_profiles where provider_user_id = $1", [sub]),
      ).toHaveLength(1);
    }
  });
});

describe("unlinking", () => {
  test("deletes the profile and its tokens; the person is unknown again [C2]", async () => {
    const [ada, sub] = [await account(), subject()];
    await link(ada.token, one, sub);
    const [{ id }] = (await asOwner<{ id: string }>(
      "select id from identity.oauth_profiles where user_id = $1",
      [ada.userId],
    )) as [{ id: string }];
    expect(await asOwner("select from private.oauth_tokens where profile_id = $1", [id])).toHaveLength(1);
    const { data } = await unlink(api, ada.token, "one");
    expect(data.unlinkProvider.result).toEqual({ provider: "one" });
    expect(await profilesOf(ada.userId)).toEqual([]);
    expect(await asOwner("select from private.oauth_tokens where profile_id = $1", [id])).toEqual([]);
    expect(await eventsOf(ada.userId)).toEqual(["provider_linked", "provider_unlinked"]);
    expect((await signInWith(one, sub)).data.finishProviderSignIn.user.id).not.toBe(ada.userId);
  });

  test("rejects unlinking the only way to sign in", async () => {
    const nobody = await newcomer(one, subject());
    const refused = await unlink(api, nobody.token, "one");
    expect([codeOf(refused), refused.errors![0]!.extensions.field]).toEqual(["CONFLICT", "provider"]);
    expect(await profilesOf(nobody.userId)).toHaveLength(1);
    await link(nobody.token, two, subject());
    expect((await unlink(api, nobody.token, "one")).errors).toBeUndefined();
    expect(codeOf(await unlink(api, nobody.token, "two"))).toBe("CONFLICT");
  });

  test("allows unlinking the last provider if a passkey remains, and deleting the last passkey if a provider remains", async () => {
    const ada = await newcomer(one, subject());
    const addPasskey = async () =>
      (
        await asOwner<{ id: string }>(
          "insert into identity.mfa_factors (user_id, kind, name, confirmed_at) values ($1, 'passkey', 'key', now()) returning id",
          [ada.userId],
        )
      )[0]!.id;
    const remove = (factorId: string) =>
      api.ask(
        "mutation ($input: DeleteMfaFactorInput!) { deleteMfaFactor(input: $input) { result { id } } }",
        {
          token: ada.token,
          variables: { input: { factorId } },
        },
      );
    const first = await addPasskey();
    expect((await remove(first)).errors).toBeUndefined();
    const second = await addPasskey();
    expect((await unlink(api, ada.token, "one")).errors).toBeUndefined();
    expect(codeOf(await remove(second))).toBe("CONFLICT");
    await addPasskey();
    expect((await remove(second)).errors).toBeUndefined();
  });

  test("needs a recent sign-in, as linking does, and mails the owner", async () => {
    const ada = await account();
    const [{ email }] = (await asOwner<{ email: string }>("select email from identity.users where id = $1", [
      ada.userId,
    ])) as [{ email: string }];
    const age = (interval: string) =>
      asOwner(
        "update identity.user_sessions set authenticated_at = now() - $2::interval where user_id = $1",
        [ada.userId, interval],
      );
    await age("11 minutes");
    expect(codeOf(await startAnswer(api, { provider: "one" }, ada.token))).toBe("FORBIDDEN");
    await age("0");
    await link(ada.token, one, subject());
    await age("11 minutes");
    expect(codeOf(await unlink(api, ada.token, "one"))).toBe("FORBIDDEN");
    expect(await profilesOf(ada.userId)).toHaveLength(1);
    await age("0");
    await unlink(api, ada.token, "one");
    expect((await templatesTo(db, email)).filter((template) => template === "oauth-changed")).toHaveLength(2);
  });

  test("rejects one of two concurrent unlinks", async () => {
    for (let round = 0; round < 5; round++) {
      const ada = await newcomer(one, subject());
      await link(ada.token, two, subject());
      const answers = await Promise.all([unlink(api, ada.token, "one"), unlink(api, ada.token, "two")]);
      expect(answers.map((answer) => (answer.errors ? codeOf(answer) : "unlinked")).sort()).toEqual([
        "CONFLICT",
        "unlinked",
      ]);
      expect(await profilesOf(ada.userId)).toHaveLength(1);
    }
  });

  test("is possible only for the caller's own linked providers", async () => {
    const [ada, bob] = [await account(), await account()];
    await link(ada.token, one, subject());
    expect(codeOf(await unlink(api, undefined, "one"))).toBe("UNAUTHENTICATED");
    for (const provider of ["one", "two", "", "x".repeat(10_000), "one' or true --"])
      expect([provider, codeOf(await unlink(api, bob.token, provider))]).toEqual([provider, "NOT_FOUND"]);
    expect(await profilesOf(ada.userId)).toHaveLength(1);
  });
});

describe("the list of linked providers", () => {
  test("is readable by its owner only, writable by no role, and contains no tokens", async () => {
    const [ada, bob] = [await account(), await account()];
    await link(ada.token, one, subject());
    const query = "{ currentUser { oauthProfiles { nodes { provider } } } oauthProfiles { totalCount } }";
    expect((await api.ask(query, { token: ada.token })).data).toEqual({
      currentUser: { oauthProfiles: { nodes: [{ provider: "one" }] } },
      oauthProfiles: { totalCount: 1 },
    });
    expect((await api.ask(query, { token: bob.token })).data.oauthProfiles.totalCount).toBe(0);
    expect(codeOf(await api.ask("{ oauthProfiles { totalCount } }"))).toBe("UNAUTHENTICATED");
    const { data } = await api.ask(
      `{ mutations: __type(name: "Mutation") { fields { name } } profile: __type(name: "OauthProfile") { fields { name } } }`,
    );
    const names = (type: { fields: { name: string }[] }) => type.fields.map(({ name }) => name);
    expect(names(data.mutations).filter((name) => /oauth/i.test(name))).toEqual([]);
    expect(names(data.profile).filter((name) => /token/i.test(name))).toEqual(["tokenExpiresAt"]);
    for (const sql of [
      "update identity.oauth_profiles set provider_user_id = 'x'",
      "delete from identity.oauth_profiles",
      "insert into identity.oauth_profiles (user_id, provider, provider_user_id) select plinth.current_user_id(), 'one', 'x'",
      "select * from private.oauth_tokens",
      "select * from private.oauth_states",
    ])
      await withClient(db.url("authenticator"), async (client) => {
        await client.query(`set role ${db.rolePrefix}_user`);
        await expect(client.query(sql)).rejects.toMatchObject({ code: "42501" });
      });
  });

  test("checks the input of startProviderLink as that of startProviderSignIn", async () => {
    const ada = await account();
    for (const [field, input] of [
      ["provider", { provider: "nobody" }],
      ["redirectUri", { provider: "one", redirectUri: "https://evil.example.org" }],
    ] as const) {
      const answer = await startAnswer(api, input, ada.token);
      expect([codeOf(answer), answer.errors![0]!.extensions.field]).toEqual(["BAD_USER_INPUT", field]);
    }
  });
});
