import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import bcrypt from "bcryptjs";
import {
  type Answer,
  type Api,
  codeOf,
  PASSWORD,
  type SignedIn,
  signIn,
  signUp,
  startApi,
} from "../support/api.ts";
import { createTestDatabase, type TestDatabase, withClient } from "../support/database.ts";

let db: TestDatabase;
let api: Api;
let ada: SignedIn;

beforeAll(async () => {
  db = await createTestDatabase();
  api = await startApi(db);
  ada = await signUp(api, "ada");
});
afterAll(async () => {
  await api.close();
  await db.drop();
});

const asOwner = <TRow extends object>(text: string, values: unknown[] = []): Promise<TRow[]> =>
  withClient(db.url("owner"), async (client) => (await client.query(text, values)).rows);

const login = (identifier: string, password: string, headers: Record<string, string> = {}): Promise<Answer> =>
  api.ask("mutation ($input: LoginInput!) { login(input: $input) { accessToken user { username } } }", {
    variables: { input: { identifier, password } },
    headers,
  });

const refresh = (refreshToken: string): Promise<Answer> =>
  api.ask(
    "mutation ($token: String!) { refresh(input: { refreshToken: $token }) { accessToken refreshToken user { id } } }",
    { variables: { token: refreshToken } },
  );

const register = (input: Record<string, unknown>): Promise<Answer> =>
  api.ask("mutation ($input: RegisterInput!) { register(input: $input) { user { username } } }", {
    variables: { input },
  });

describe("register", () => {
  test.each([
    ["a taken name", { username: "ADA" }, "CONFLICT", "username"],
    ["a taken address", { username: "ada2", email: "ada@EXAMPLE.org" }, "CONFLICT", "email"],
    ["a malformed name", { username: "a d a" }, "BAD_USER_INPUT", "username"],
    ["a malformed address", { username: "ada2", email: "ada" }, "BAD_USER_INPUT", "email"],
    ["a short password", { username: "ada2", password: "short" }, "BAD_USER_INPUT", "password"],
    [
      "a password with the name",
      { username: "adalovelace", password: "adalovelace adalovelace" },
      "BAD_USER_INPUT",
      "password",
    ],
    ["an overlong password", { username: "ada2", password: "x".repeat(1025) }, "BAD_USER_INPUT", "password"],
    ["a control character", { username: "ada2", displayName: "a\u0000b" }, "BAD_USER_INPUT", "displayName"],
    ["an empty device name", { username: "ada2", deviceName: "" }, "BAD_USER_INPUT", "deviceName"],
  ])("refuses %s and names the field", async (_what, input, code, field) => {
    const answer = await register({ password: PASSWORD, ...input });
    expect([codeOf(answer), answer.errors?.[0]?.extensions.field]).toEqual([code, field]);
    expect(await asOwner("select from identity.users where username in ('ada2', 'adalovelace')")).toEqual([]);
  });

  test("works without an address", async () => {
    expect((await register({ username: "nobody", password: PASSWORD })).data.register.user).toEqual({
      username: "nobody",
    });
  });
});

describe("login", () => {
  test("looks the same for unknown, wrong, locked and disabled", async () => {
    await signUp(api, "locked");
    await signUp(api, "disabled");
    await asOwner(
      "update identity.users set locked_until = now() + interval '1 hour' where username = 'locked'",
    );
    await asOwner("update identity.users set account_status = 'disabled' where username = 'disabled'");
    const answers = await Promise.all([
      login("nobody-at-all", PASSWORD),
      login("ada", "a wrong password"),
      login("locked", PASSWORD),
      login("locked", "a wrong password"),
      login("disabled", PASSWORD),
    ]);
    for (const { status, text } of answers)
      expect({ status, text }).toEqual({ status: 200, text: answers[0]!.text });
    expect(codeOf(answers[0]!)).toBe("INVALID_CREDENTIALS");
  });

  test("takes the same time for unknown, wrong and locked", async () => {
    await signUp(api, "timed");
    await asOwner(
      "update identity.users set locked_until = now() + interval '1 hour' where username = 'timed'",
    );
    const attempts: Record<string, () => Promise<Answer>> = {
      unknown: () => login(`nobody-${randomUUID()}`, PASSWORD),
      wrong: () => login("nobody", `wrong ${randomUUID()}`),
      lockedRight: () => login("timed", PASSWORD),
      lockedWrong: () => login("timed", "a wrong password"),
    };
    const times: Record<string, number[]> = { unknown: [], wrong: [], lockedRight: [], lockedWrong: [] };
    // In turns, so that whatever else the machine does hits all alike.
    for (let round = 0; round < 9; round++)
      for (const [name, attempt] of Object.entries(attempts)) {
        const startedAt = performance.now();
        await attempt();
        if (round > 0) times[name]!.push(performance.now() - startedAt);
        await asOwner(
          "update identity.users set failed_login_attempts = 0, locked_until = null where username = 'nobody'",
        );
      }
    const medians = Object.values(times).map((each) => each.sort((a, b) => a - b)[4]!);
    expect(Math.max(...medians) / Math.min(...medians)).toBeLessThan(1.5);
  });

  test("counts failures although it fails, locks, and ends the lock by itself", async () => {
    await signUp(api, "careless");
    for (let i = 0; i < 5; i++)
      expect(codeOf(await login("careless", `wrong ${i}`))).toBe("INVALID_CREDENTIALS");
    const [row] = await asOwner<{ failed_login_attempts: number; seconds: number }>(
      `select failed_login_attempts, extract(epoch from locked_until - now())::float8 as seconds
       from identity.users where username = 'careless'`,
    );
    expect(row!.failed_login_attempts).toBe(5);
    expect(row!.seconds).toBeGreaterThan(30);
    expect(codeOf(await login("careless", PASSWORD))).toBe("INVALID_CREDENTIALS");
    await asOwner(
      "update identity.users set locked_until = now() - interval '1 second' where username = 'careless'",
    );
    expect((await login("careless", PASSWORD)).data.login.user).toEqual({ username: "careless" });
    const [after] = await asOwner(
      "select failed_login_attempts, locked_until from identity.users where username = 'careless'",
    );
    expect(after).toEqual({ failed_login_attempts: 0, locked_until: null });
  });

  test("carries the request's id, address and agent into the audit rows", async () => {
    await login("ada", "a wrong password", { "x-request-id": "correlation-42", "user-agent": "audited/1.0" });
    const audited = await asOwner(
      `select event_type, host(ip_address) as ip, user_agent, correlation_id
       from security.security_audit_log where correlation_id = 'correlation-42'`,
    );
    expect(audited).toEqual([
      {
        event_type: "login_failed",
        ip: "127.0.0.1",
        user_agent: "audited/1.0",
        correlation_id: "correlation-42",
      },
    ]);
    const attempts = await asOwner(
      "select user_agent from security.login_attempts where correlation_id = 'correlation-42'",
    );
    expect(attempts).toEqual([{ user_agent: "audited/1.0" }]);
  });

  test("replaces a bcrypt hash brought along, and not before the password was right", async () => {
    await signUp(api, "veteran");
    await asOwner(
      `update private.user_passwords set password_hash = $1, hash_algorithm = 'bcrypt'
       where user_id = (select id from identity.users where username = 'veteran')`,
      [await bcrypt.hash("old but gold password", 5)],
    );
    const algorithm = async () =>
      (
        await asOwner<{ hash_algorithm: string }>(
          "select hash_algorithm from private.user_passwords p join identity.users u on u.id = p.user_id where username = 'veteran'",
        )
      )[0]!.hash_algorithm;
    expect(codeOf(await login("veteran", "a wrong password"))).toBe("INVALID_CREDENTIALS");
    expect(await algorithm()).toBe("bcrypt");
    expect((await login("veteran", "old but gold password")).data.login.user).toEqual({
      username: "veteran",
    });
    expect(await algorithm()).toBe("argon2id");
    expect((await login("veteran", "old but gold password")).data.login.user).toEqual({
      username: "veteran",
    });
  });

  test.each([
    ["NUL", "a\u0000b", "BAD_USER_INPUT"],
    ["321 characters", "a".repeat(321), "BAD_USER_INPUT"],
    ["a lone surrogate", "\ud800", "BAD_USER_INPUT"],
    ["nothing", "", "INVALID_CREDENTIALS"],
  ])("with %s as its name does not reach the database's types", async (_what, identifier, code) => {
    expect(codeOf(await login(identifier, PASSWORD))).toBe(code);
  });

  test("refuses a password too long to hash", async () => {
    expect(codeOf(await login("ada", "x".repeat(5000)))).toBe("BAD_USER_INPUT");
  });

  test("happens once per operation, whatever its aliases", async () => {
    const answer = await api.ask(
      `mutation { a: login(input: { identifier: "ada", password: "1" }) { accessToken }
                  ...more }
       fragment more on Mutation { b: login(input: { identifier: "ada", password: "2" }) { accessToken } }`,
    );
    expect(codeOf(answer)).toBe("QUERY_TOO_COMPLEX");
  });

  test("leaves nothing secret in the log", async () => {
    await signIn(api, "ada");
    const log = JSON.stringify(api.logLines);
    expect(log).toContain('"path":"/graphql"');
    for (const secret of [PASSWORD, "eyJ", "plr_", "$argon2id", "a wrong password", "Bearer"])
      expect(log).not.toContain(secret);
  });
});

describe("refresh", () => {
  const liveTokens = async (userId: string) =>
    (
      await asOwner<{ count: number }>(
        "select count(*)::integer from private.refresh_tokens t join identity.user_sessions s on s.id = t.session_id where t.user_id = $1 and t.used_at is null and s.ended_at is null",
        [userId],
      )
    )[0]!.count;

  test("gives new tokens that work", async () => {
    const { refreshToken } = await signIn(api, "ada");
    const { data } = await refresh(refreshToken);
    expect(data.refresh.user).toEqual({ id: ada.userId });
    expect(data.refresh.refreshToken).not.toBe(refreshToken);
    expect(
      (await api.ask("{ currentUser { id } }", { token: data.refresh.accessToken })).data.currentUser,
    ).toEqual({
      id: ada.userId,
    });
  });

  test("repeated because the answer was lost gives the same successor", async () => {
    const { refreshToken } = await signIn(api, "ada");
    const first = (await refresh(refreshToken)).data.refresh.refreshToken;
    expect((await refresh(refreshToken)).data.refresh.refreshToken).toBe(first);
    expect((await refresh(first)).data.refresh.user).toEqual({ id: ada.userId });
  });

  test("with an older token ends the whole session, and that is kept although the request fails", async () => {
    const session = await signIn(api, "ada");
    const second = (await refresh(session.refreshToken)).data.refresh;
    const third = (await refresh(second.refreshToken)).data.refresh;
    const stolen = await refresh(session.refreshToken);
    expect(codeOf(stolen)).toBe("UNAUTHENTICATED");
    expect(codeOf(await refresh(third.refreshToken))).toBe("UNAUTHENTICATED");
    expect(codeOf(await refresh(second.refreshToken))).toBe("UNAUTHENTICATED");
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect((await api.ask("{ currentUser { id } }", { token: third.accessToken })).status).toBe(401);
    const [event] = await asOwner(
      "select severity from security.security_audit_log where event_type = 'refresh_token_reused' and user_id = $1",
      [ada.userId],
    );
    expect(event).toEqual({ severity: "critical" });
  });

  test("done by many at once leaves one live token", async () => {
    const { refreshToken, userId } = await signUp(api, "parallel");
    const answers = await Promise.all(Array.from({ length: 12 }, () => refresh(refreshToken)));
    const successors = new Set(answers.map(({ data }) => data.refresh?.refreshToken));
    expect(successors.size).toBe(1);
    expect(await liveTokens(userId)).toBe(1);
    expect((await refresh([...successors][0])).data.refresh.user).toEqual({ id: userId });
  });

  test.each(["", "plr_", "nonsense", `plr_${"a".repeat(43)}`, "plr_\u0000"])("refuses %j", async (token) => {
    expect(codeOf(await refresh(token))).toBe("UNAUTHENTICATED");
  });

  test("refuses an access token", async () => {
    expect(codeOf(await refresh(ada.token))).toBe("UNAUTHENTICATED");
  });
});

describe("changePassword", () => {
  const change = (token: string | undefined, currentPassword: string, newPassword: string): Promise<Answer> =>
    api.ask(
      "mutation ($input: ChangePasswordInput!) { changePassword(input: $input) { accessToken refreshToken user { username } } }",
      { token, variables: { input: { currentPassword, newPassword } } },
    );
  const NEW_PASSWORD = "a whole new sentence";

  test("ends the other sessions and goes on in this one", async () => {
    const here = await signUp(api, "changer");
    const elsewhere = await signIn(api, "changer");
    const { changePassword } = (await change(here.token, PASSWORD, NEW_PASSWORD)).data;
    expect(changePassword.user).toEqual({ username: "changer" });
    await new Promise((resolve) => setTimeout(resolve, 100));
    const statusWith = async (token: string) => (await api.ask("{ currentUser { id } }", { token })).status;
    expect(await statusWith(changePassword.accessToken)).toBe(200);
    expect(await statusWith(here.token)).toBe(401);
    expect(await statusWith(elsewhere.token)).toBe(401);
    expect(codeOf(await refresh(here.refreshToken))).toBe("UNAUTHENTICATED");
    expect(codeOf(await refresh(elsewhere.refreshToken))).toBe("UNAUTHENTICATED");
    expect((await refresh(changePassword.refreshToken)).data.refresh.user).toEqual({ id: here.userId });
    expect(codeOf(await login("changer", PASSWORD))).toBe("INVALID_CREDENTIALS");
    expect((await login("changer", NEW_PASSWORD)).data.login.user).toEqual({ username: "changer" });
  });

  test("counts a wrong current password like one at sign-in", async () => {
    const { token, userId } = await signUp(api, "guesser");
    expect(codeOf(await change(token, "a wrong password", NEW_PASSWORD))).toBe("INVALID_CREDENTIALS");
    expect(await asOwner("select failed_login_attempts from identity.users where id = $1", [userId])).toEqual(
      [{ failed_login_attempts: 1 }],
    );
  });

  test.each([
    ["a short one", "short"],
    ["one with the user's name", "picky-person picky-person"],
  ])("refuses %s and names the field", async (what, newPassword) => {
    const { token } = await signUp(api, what.includes("name") ? "picky-person" : "another-person");
    const answer = await change(token, PASSWORD, newPassword);
    expect([codeOf(answer), answer.errors?.[0]?.extensions.field]).toEqual(["BAD_USER_INPUT", "newPassword"]);
  });

  test("needs a signed-in user", async () => {
    expect(codeOf(await change(undefined, PASSWORD, NEW_PASSWORD))).toBe("UNAUTHENTICATED");
  });
});

describe("sessions", () => {
  test("are listed to their owner, one is ended, the rest go on", async () => {
    const first = await signUp(api, "traveller");
    const second = await signIn(api, "traveller");
    const { data } = await api.ask("{ currentUser { userSessions { nodes { id isCurrent isActive } } } }", {
      token: second.token,
    });
    const sessions: { id: string; isCurrent: boolean }[] = data.currentUser.userSessions.nodes;
    expect(sessions.map(({ isCurrent }) => isCurrent).sort()).toEqual([false, true]);
    const other = sessions.find(({ isCurrent }) => !isCurrent)!.id;

    const end = (token: string) =>
      api.ask("mutation ($id: UUID!) { endSession(input: { sessionId: $id }) { result { isActive } } }", {
        token,
        variables: { id: other },
      });
    expect(codeOf(await end(ada.token))).toBe("NOT_FOUND");
    expect((await end(second.token)).data.endSession.result).toEqual({ isActive: false });
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect((await api.ask("{ currentUser { id } }", { token: first.token })).status).toBe(401);
    expect((await api.ask("{ currentUser { id } }", { token: second.token })).status).toBe(200);
  });

  test("all end with logoutEverywhere", async () => {
    const first = await signUp(api, "leaver");
    const second = await signIn(api, "leaver");
    const { data } = await api.ask("mutation { logoutEverywhere(input: {}) { result } }", {
      token: second.token,
    });
    expect(data.logoutEverywhere.result).toBe(2);
    await new Promise((resolve) => setTimeout(resolve, 100));
    for (const { token, refreshToken } of [first, second]) {
      expect((await api.ask("{ currentUser { id } }", { token })).status).toBe(401);
      expect(codeOf(await refresh(refreshToken))).toBe("UNAUTHENTICATED");
    }
  });
});
