import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { type Answer, type Api, codeOf, PASSWORD, signIn, signUp, startApi, until } from "../support/api.ts";
import { createTestDatabase, rowsAs, type TestDatabase, withClient } from "../support/database.ts";
import { emailsTo, templatesTo } from "../support/mail.ts";

let db: TestDatabase;
let api: Api;
beforeAll(async () => {
  db = await createTestDatabase();
  api = await startApi(db, { PLINTH_PASSWORD_HISTORY: "3" });
});
afterAll(async () => {
  await api.close();
  await db.drop();
});

const asOwner = rowsAs("owner", () => db);

const change = (
  token: string,
  currentPassword: string,
  newPassword: string,
  more: object = {},
  on = api,
): Promise<Answer> =>
  on.ask(
    "mutation ($input: ChangePasswordInput!) { changePassword(input: $input) { accessToken refreshToken } }",
    {
      token,
      variables: { input: { currentPassword, newPassword, ...more } },
    },
  );
const refresh = (token: string): Promise<Answer> =>
  api.ask("mutation ($t: String!) { refresh(input: { refreshToken: $t }) { accessToken } }", {
    variables: { t: token },
  });
const works = async (token: string) => (await api.ask("{ currentUser { id } }", { token })).status === 200;
const fieldOf = (answer: Answer) => [codeOf(answer), answer.errors?.[0]?.extensions.field];
const SENTENCES = [
  "the first new sentence",
  "the second new sentence",
  "the third new sentence",
  "the fourth new sentence",
];

describe("the password history [A2]", () => {
  test("rejects the last N passwords, including the current one, and forgets older ones", async () => {
    let { token } = await signUp(api, "historian");
    let current = PASSWORD;
    for (const next of SENTENCES.slice(0, 2)) {
      token = (await change(token, current, next)).data.changePassword.accessToken;
      current = next;
    }
    // Three count: the second, the first, and the one from registration.
    for (const known of [current, SENTENCES[0]!, PASSWORD])
      expect(fieldOf(await change(token, current, known))).toEqual(["BAD_USER_INPUT", "newPassword"]);
    token = (await change(token, current, SENTENCES[2]!)).data.changePassword.accessToken;
    const again = await change(token, SENTENCES[2]!, PASSWORD);
    expect(again.errors).toBeUndefined();
    const [row] = await asOwner(
      `select count(*)::integer as kept from private.password_history h
       join identity.users u on u.id = h.user_id where u.username = 'historian'`,
    );
    expect(row).toEqual({ kept: 2 });
  });

  test("is revealed only to a caller who knows the current password, without counting a failure", async () => {
    const { token, userId } = await signUp(api, "prober");
    const failures = async () =>
      (
        await asOwner<{ n: number }>("select failed_login_attempts as n from identity.users where id = $1", [
          userId,
        ])
      )[0]!.n;
    expect(codeOf(await change(token, PASSWORD, PASSWORD))).toBe("BAD_USER_INPUT");
    expect(await failures()).toBe(0);
    expect(codeOf(await change(token, "a wrong password", PASSWORD))).toBe("INVALID_CREDENTIALS");
    expect(await failures()).toBe(1);
    await asOwner("update identity.users set locked_until = now() + interval '1 hour' where id = $1", [
      userId,
    ]);
    expect(codeOf(await change(token, PASSWORD, PASSWORD))).toBe("INVALID_CREDENTIALS");
  });

  test("stores nothing when it is turned off", async () => {
    const free = await startApi(db, { PLINTH_PASSWORD_HISTORY: "0" });
    try {
      const { token, userId } = await signUp(free, "forgetful");
      expect((await change(token, PASSWORD, PASSWORD, {}, free)).errors).toBeUndefined();
      expect(await asOwner("select from private.password_history where user_id = $1", [userId])).toEqual([]);
    } finally {
      await free.close();
    }
  });
});

describe("endOtherSessions", () => {
  test("false keeps the other devices signed in, including their access tokens, and notifies the owner", async () => {
    const here = await signUp(api, "trusting");
    const there = await signIn(api, "trusting");
    const changed = (await change(here.token, PASSWORD, SENTENCES[0]!, { endOtherSessions: false })).data
      .changePassword;
    expect([await works(changed.accessToken), await works(there.token), await works(here.token)]).toEqual([
      true,
      true,
      true,
    ]);
    expect((await refresh(there.refreshToken)).errors).toBeUndefined();
    expect((await refresh(changed.refreshToken)).errors).toBeUndefined();
    expect(codeOf(await refresh(here.refreshToken))).toBe("UNAUTHENTICATED");
    expect(await templatesTo(db, "trusting@example.org")).toContain("password-changed");
  });

  test.each([true, null, undefined])("%s ends the other sessions", async (endOtherSessions) => {
    const name = `wary-${endOtherSessions}`;
    const here = await signUp(api, name);
    const there = await signIn(api, name);
    expect((await change(here.token, PASSWORD, SENTENCES[0]!, { endOtherSessions })).errors).toBeUndefined();
    await until(async () => !(await works(there.token)));
    expect(codeOf(await refresh(there.refreshToken))).toBe("UNAUTHENTICATED");
  });

  test("accepts one of two concurrent changes that both checked the old password", async () => {
    const here = await signUp(api, "hasty");
    const answers = await Promise.all(
      SENTENCES.map((sentence) => change(here.token, PASSWORD, sentence, { endOtherSessions: false })),
    );
    const winners = answers.flatMap(({ errors }, index) => (errors ? [] : [SENTENCES[index]!]));
    expect(winners).toHaveLength(1);
    expect((await signIn(api, "hasty", winners[0])).userId).toBe(here.userId);
  });

  test("keeps a new password when a concurrent sign-in replaces an outdated hash", async () => {
    const { userId } = await signUp(api, "veteran");
    const hashOf = async () =>
      (
        await asOwner<{ h: string }>(
          "select password_hash as h from private.user_passwords where user_id = $1",
          [userId],
        )
      )[0]!.h;
    const before = await hashOf();
    const replace = (old: string, next: string) =>
      withClient(db.url("service"), async (client) => {
        const { rows } = await client.query<{ replaced: boolean }>(
          "select private.replace_password_hash($1, $2, $3, 'argon2id') as replaced",
          [userId, old, next],
        );
        return rows[0]!.replaced;
      });
    const other = before.replace(/.$/, before.endsWith("A") ? "B" : "A");
    expect(await replace(before, other)).toBe(true);
    expect(await replace(before, before)).toBe(false);
    expect(await hashOf()).toBe(other);
  });
});

describe("passwords beside a second factor [A2]", () => {
  test("are marked as not sufficient alone, unlike all others", async () => {
    const { userId, token } = await signUp(api, "marked");
    await change(token, PASSWORD, SENTENCES[0]!);
    const flag = async () =>
      (
        await asOwner<{ f: boolean }>(
          "select suffices_alone as f from private.user_passwords where user_id = $1",
          [userId],
        )
      )[0]!.f;
    expect(await flag()).toBe(true);
    await withClient(db.url("owner"), (client) =>
      client.query(
        `select private.set_password($1, password_hash, hash_algorithm, false, 3) from private.user_passwords where user_id = $1`,
        [userId],
      ),
    );
    expect(await flag()).toBe(false);
  });
});

describe("PLINTH_PASSWORD_HASH=bcrypt [H4]", () => {
  test("creates bcrypt-sha256 hashes, which sign in and are later replaced by argon2id", async () => {
    const bcrypt = await startApi(db, { PLINTH_PASSWORD_HASH: "bcrypt" });
    const algorithm = async () =>
      (
        await asOwner<{ a: string }>(
          "select hash_algorithm as a from private.user_passwords p join identity.users u on u.id = p.user_id where username = 'old-school'",
        )
      )[0]!.a;
    try {
      await signUp(bcrypt, "old-school");
      expect(await algorithm()).toBe("bcrypt-sha256");
      await signIn(bcrypt, "old-school");
      expect(await algorithm()).toBe("bcrypt-sha256");
      await signIn(api, "old-school");
      expect(await algorithm()).toBe("argon2id");
    } finally {
      await bcrypt.close();
    }
  });
});

describe("notifications", () => {
  const login = (identifier: string, password: string, userAgent: string) =>
    api.ask("mutation ($i: LoginInput!) { login(input: $i) { accessToken } }", {
      variables: { i: { identifier, password } },
      headers: { "user-agent": userAgent },
    });
  const sent = async (name: string, template: string) =>
    (await emailsTo(db, `${name}@example.org`)).filter((mail) => mail.template === template);

  test("report a lock once, not for each attempt against it", async () => {
    await signUp(api, "locked");
    for (let i = 0; i < 9; i++) {
      await login("locked", `wrong ${i}`, "guesser/1.0 (Linux) Firefox/140.0");
      // The first lock would end after a minute.
      await asOwner(
        "update identity.users set locked_until = locked_until + interval '1 hour' where username = 'locked'",
      );
    }
    const emails = await sent("locked", "account-locked");
    expect(emails).toHaveLength(1);
    expect(emails[0]!.variables).toMatchObject({
      username: "locked",
      ip_address: "127.0.0.1",
      device: { platform: "Linux", browser: "Firefox" },
    });
    expect(JSON.stringify(emails)).not.toContain("guesser");
  });

  test("report a new program once, but not registration or known programs", async () => {
    await api.ask(
      `mutation { register(input: { username: "roamer", email: "roamer@example.org", password: "${PASSWORD}" }) { accessToken } }`,
      { headers: { "user-agent": "home/1.0" } },
    );
    await login("roamer", PASSWORD, "home/1.0");
    expect(await sent("roamer", "new-sign-in")).toHaveLength(0);
    await login("roamer", PASSWORD, "abroad/1.0");
    await login("roamer", PASSWORD, "abroad/1.0");
    expect(await sent("roamer", "new-sign-in")).toHaveLength(1);
  });

  test.each([
    ["192.0.2.10", 0],
    ["192.0.3.10", 1],
    ["2001:db8:1:2:3::4", 0],
    ["2001:db8:1:3::1", 1],
  ])("recognise a network by its /24 or /64: from %s %i", async (address, count) => {
    const name = `net-${address.replace(/[:.]/g, "-")}`;
    const { userId } = await signUp(api, name);
    await asOwner(
      "update identity.user_sessions set ip_address = '192.0.2.77', user_agent = 'x' where user_id = $1",
      [userId],
    );
    await asOwner(
      "insert into identity.user_sessions (user_id, ip_address, user_agent) values ($1, '2001:db8:1:2::1', 'x')",
      [userId],
    );
    await withClient(db.url("owner"), async (client) => {
      await client.query(
        "select set_config('plinth.client_ip', $1, false), set_config('plinth.user_agent', 'x', false)",
        [address],
      );
      await client.query("select private.notify_new_sign_in($1)", [userId]);
    });
    expect(await sent(name, "new-sign-in")).toHaveLength(count);
  });

  test("are not sent to an account without an address, and nothing fails", async () => {
    const { token, userId } = await signUp(api, "silent");
    await asOwner("update identity.users set email = null where id = $1", [userId]);
    await asOwner("delete from private.mail_outbox where user_id = $1", [userId]);
    expect((await change(token, PASSWORD, SENTENCES[0]!)).errors).toBeUndefined();
    expect(await asOwner("select from private.mail_outbox where user_id = $1", [userId])).toEqual([]);
  });
});
