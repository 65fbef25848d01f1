import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import bcrypt from "bcryptjs";
import { type Answer, type Api, codeOf, PASSWORD, signIn, signUp, startApi, until } from "../support/api.ts";
import { createTestDatabase, rowsAs, type TestDatabase } from "../support/database.ts";
import { type Work, workOf } from "../support/work-of.ts";

let db: TestDatabase;
let api: Api;

beforeAll(async () => {
  db = await createTestDatabase();
  api = await startApi(db);
  await signUp(api, "ada");
});
afterAll(async () => {
  await api.close();
  await db.drop();
});

const asOwner = rowsAs("owner", () => db);

const login = (identifier: string, password: string, headers: Record<string, string> = {}): Promise<Answer> =>
  api.ask("mutation ($input: LoginInput!) { login(input: $input) { accessToken user { username } } }", {
    variables: { input: { identifier, password } },
    headers,
  });

/** A lock ends after a minute, in which a busy machine may do nothing. */
const extendLock = (username: string) =>
  asOwner("update identity.users set locked_until = locked_until + interval '1 hour' where username = $1", [
    username,
  ]);

describe("login", () => {
  test("returns the same error for unknown, locked and disabled accounts and wrong passwords", async () => {
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

  test("returns the same error for a hash that cannot be checked here, and logs it for the operator", async () => {
    const { userId } = await signUp(api, "dear");
    await asOwner(
      `update private.user_passwords set password_hash = '$2b$31$' || repeat('a', 53), hash_algorithm = 'bcrypt' where user_id = $1`,
      [userId],
    );
    try {
      const [dear, unknown] = [await login("dear", PASSWORD), await login("nobody-at-all", PASSWORD)];
      expect({ status: dear.status, text: dear.text }).toEqual({ status: 200, text: unknown.text });
      await until(async () => {
        const rows = await asOwner("select error_code from security.error_logs where user_id = $1", [userId]);
        return rows.length === 1;
      });
    } finally {
      await asOwner("delete from private.user_passwords where user_id = $1", [userId]);
    }
  });

  test("takes the same time for unknown and locked accounts and wrong passwords", async () => {
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
    const works: Record<string, Work> = {};
    // The first round prepares connections and statements.
    for (let round = 0; round < 2; round++)
      for (const [name, attempt] of Object.entries(attempts)) {
        works[name] = await workOf(attempt);
        await asOwner(
          "update identity.users set failed_login_attempts = 0, locked_until = null where username = 'nobody'",
        );
      }
    // The hash is the longest part by far.
    expect(works.unknown).toMatchObject({
      native: 1,
      statements: expect.arrayContaining([expect.any(String)]),
    });
    for (const [name, work] of Object.entries(works)) expect([name, work]).toEqual([name, works.unknown]);
  });

  test("counts failures despite the rollback, locks, and unlocks automatically", async () => {
    await signUp(api, "careless");
    for (let i = 0; i < 5; i++)
      expect(codeOf(await login("careless", `wrong ${i}`))).toBe("INVALID_CREDENTIALS");
    const [row] = await asOwner<{ failed_login_attempts: number; seconds: number }>(
      `select u.failed_login_attempts, extract(epoch from u.locked_until - max(a.created_at))::float8 as seconds
       from identity.users u join security.login_attempts a on a.user_id = u.id
       where u.username = 'careless' group by u.id`,
    );
    expect(row!.failed_login_attempts).toBe(5);
    expect(row!.seconds).toBeGreaterThan(30);
    await extendLock("careless");
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

  test("writes the request's id, address and agent to the audit rows", async () => {
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

  test("replaces an imported bcrypt hash only after the correct password", async () => {
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

  test("delays every rejection while any account has a bcrypt hash, which takes longer to check", async () => {
    await signUp(api, "slow");
    await asOwner(
      `update private.user_passwords set password_hash = $1, hash_algorithm = 'bcrypt'
       where user_id = (select id from identity.users where username = 'slow')`,
      [await bcrypt.hash(PASSWORD, 5)],
    );
    for (const name of ["slow", "nobody-at-all"]) {
      const startedAt = performance.now();
      expect(codeOf(await login(name, "a wrong password"))).toBe("INVALID_CREDENTIALS");
      expect(performance.now() - startedAt).toBeGreaterThan(990);
    }
    expect((await login("slow", PASSWORD)).errors).toBeUndefined();
  });

  test.each([
    ["NUL", "a\u0000b", "BAD_USER_INPUT"],
    ["321 characters", "a".repeat(321), "BAD_USER_INPUT"],
    ["a lone surrogate", "\ud800", "BAD_USER_INPUT"],
    ["an empty text", "", "INVALID_CREDENTIALS"],
  ])("rejects %s as a name before the types of the database do", async (_what, identifier, code) => {
    expect(codeOf(await login(identifier, PASSWORD))).toBe(code);
  });

  test.each(["", "a\nb", "x".repeat(101)])(
    "returns the same error for a right and a wrong password with %j as its device's name",
    async (deviceName) => {
      const attempt = (password: string) =>
        api.ask("mutation ($input: LoginInput!) { login(input: $input) { accessToken } }", {
          variables: { input: { identifier: "ada", password, deviceName } },
        });
      const right = await attempt(PASSWORD);
      expect(codeOf(right)).toBe("BAD_USER_INPUT");
      expect((await attempt("a wrong password")).text).toBe(right.text);
    },
  );

  test("rejects a password too long to hash", async () => {
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

  test("writes no secrets to the log", async () => {
    await signIn(api, "ada");
    const log = JSON.stringify(api.logLines);
    expect(log).toContain('"path":"/graphql"');
    for (const secret of [PASSWORD, "eyJ", "plr_", "$argon2id", "a wrong password", "Bearer"])
      expect(log).not.toContain(secret);
  });
});
