import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { normalizeEmail } from "../../src/auth/email-hash.ts";
import { cli, databaseEnv } from "../cli/run-cli.ts";
import { type Api, codeOf, MASTER_KEYS, PASSWORD, signIn, signUp, startApi } from "../support/api.ts";
import { createTestDatabase, rowsAs, type TestDatabase } from "../support/database.ts";
import { tablesWith } from "../support/whole-database.ts";

let db: TestDatabase;
let api: Api;
let privateApi: Api;
beforeAll(async () => {
  db = await createTestDatabase();
  [api, privateApi] = await Promise.all([startApi(db), startApi(db, { PLINTH_PRIVACY_MODE: "true" })]);
});
afterAll(async () => {
  await api.close();
  await privateApi.close();
  await db.drop();
});

const rows = rowsAs("owner", () => db);
const register = (to: Api, username: string, email: string | null) =>
  to.ask("mutation ($input: RegisterInput!) { register(input: $input) { user { id email } } }", {
    variables: { input: { username, email, password: PASSWORD } },
  });
const logIn = (to: Api, identifier: string, password = PASSWORD) =>
  to.ask("mutation ($input: LoginInput!) { login(input: $input) { user { id } } }", {
    variables: { input: { identifier, password } },
  });

describe("hashed addresses [S1]", () => {
  test("are stored at registration, equal for every spelling, unique, and find the account", async () => {
    const { userId } = await signUp(api, "ada"); // ada@example.org
    const [user] = await rows("select email, hashed_email from identity.users where id = $1", [userId]);
    expect([user.email, user.hashed_email.length]).toEqual(["ada@example.org", 32]);
    // Without the clear address, only the hash can find the account.
    await rows("update identity.users set email = null where id = $1", [userId]);
    for (const typed of ["ada@example.org", " Ada@Example.ORG ", "ada"])
      expect((await signIn(api, typed)).userId).toBe(userId);
    const again = await register(api, "ada2", "ADA@example.org");
    expect([codeOf(again), again.errors![0]!.extensions.field]).toEqual(["CONFLICT", "email"]);
    expect(await rows("select from identity.users where username = 'ada2'")).toEqual([]);
  });

  test("depend on a key of the installation that no table contains in clear text", async () => {
    const [user] = await rows(
      "select encode(hashed_email, 'hex') as hash from identity.users where username = 'ada'",
    );
    const plain = await rows("select encode(sha256('ada@example.org'), 'hex') as hash");
    expect(user.hash).not.toBe(plain[0].hash);
    const [key] = await rows("select sealed_key from private.lookup_keys");
    expect(key.sealed_key).toMatch(/^v1\./);
  });

  test("do not let the old owner of an address in after SQL changed it", async () => {
    const { userId } = await signUp(api, "bob");
    await rows("update identity.users set email = 'new@example.org' where id = $1", [userId]);
    expect(codeOf(await logIn(api, "bob@example.org"))).toBe("INVALID_CREDENTIALS");
    expect((await signIn(api, "new@example.org")).userId).toBe(userId);
    // A hash given with the address is kept.
    await rows(
      "update identity.users set email = 'newer@example.org', hashed_email = sha256('x') where id = $1",
      [userId],
    );
    expect(
      await rows("select from identity.users where id = $1 and hashed_email = sha256('x')", [userId]),
    ).toHaveLength(1);
  });

  test("use one lookup key when two servers start at once", async () => {
    const fresh = await createTestDatabase();
    const servers = await Promise.all([startApi(fresh), startApi(fresh)]);
    try {
      await Promise.all(servers.flatMap((to, n) => [signUp(to, `first${n}`), signUp(to, `second${n}`)]));
      for (const to of servers)
        for (const name of ["first0", "second0", "first1", "second1"])
          await signIn(to, `${name}@example.org`);
      const other = await register(servers[1]!, "copy", "First0@example.org");
      expect(codeOf(other)).toBe("CONFLICT");
    } finally {
      for (const to of servers) await to.close();
      await fresh.drop();
    }
  });

  test("are not in the schema and cannot be queried", async () => {
    const { token } = await signUp(api, "curious");
    const names = JSON.stringify(
      (
        await api.ask(
          "{ __schema { types { name fields { name } inputFields { name } enumValues { name } } } }",
        )
      ).data,
    );
    expect(names).toContain("emailVerifiedAt");
    expect(names.match(/hashed|HASHED|Hashed/g)).toBeNull();
    expect(codeOf(await api.ask("{ currentUser { hashedEmail } }", { token }))).toBe(
      "GRAPHQL_VALIDATION_FAILED",
    );
  });

  test.each([
    ["Ada@Example.org", "ada@example.org"],
    ["  ada@example.org ", "ada@example.org"],
    ["e\u0301@example.org", "\u00e9@example.org"],
    ["\u00c9@example.org", "\u00e9@example.org"],
  ])("normalise %j", (typed, expected) => expect(normalizeEmail(typed)).toBe(expected));
});

describe("privacy mode [S1, C11]", () => {
  const CANARY = "kanari3nvogel";
  const ADDRESS = `Some.One+${CANARY}@example.org`;

  test("keeps no clear address in any table, log line or answer, in any operation", async () => {
    const answer = await register(privateApi, "hidden", ADDRESS);
    expect(answer.data.register.user.email).toBeNull();
    const { userId } = await signIn(privateApi, ADDRESS);
    expect((await signIn(privateApi, ADDRESS.toUpperCase())).userId).toBe(userId);
    expect((await signIn(privateApi, "hidden")).userId).toBe(userId);
    // A wrong password, an unknown address, a taken one, a bad one.
    expect(codeOf(await logIn(privateApi, ADDRESS, "wrong password"))).toBe("INVALID_CREDENTIALS");
    expect(codeOf(await logIn(privateApi, `nobody.${CANARY}@example.org`))).toBe("INVALID_CREDENTIALS");
    const taken = await register(privateApi, "hidden2", ADDRESS.toLowerCase());
    expect([codeOf(taken), taken.errors![0]!.extensions.field]).toEqual(["CONFLICT", "email"]);
    for (const bad of [
      CANARY,
      `${CANARY}@`,
      `a b${CANARY}@example.org`,
      `a@${CANARY}@x`,
      `${"x".repeat(250)}@${CANARY}.example`,
    ]) {
      const refused = await register(privateApi, "hidden3", bad);
      expect([codeOf(refused), refused.errors![0]!.extensions.field]).toEqual(["BAD_USER_INPUT", "email"]);
    }
    expect(await tablesWith(db, CANARY)).toEqual([]);
    expect(privateApi.logLines.filter((line) => JSON.stringify(line).toLowerCase().includes(CANARY))).toEqual(
      [],
    );
    // A server without privacy mode still finds the same account by the same address.
    expect(codeOf(await register(api, "hidden4", ADDRESS))).toBe("CONFLICT");
    expect(await tablesWith(db, CANARY)).toEqual([]);
  });

  test("tells attempts on different addresses apart and locks the account", async () => {
    const { data } = await register(privateApi, "locked", "locked@example.org");
    const guess = () => logIn(privateApi, "locked@example.org", "wrong password");
    for (let n = 0; n < 5; n++) expect(codeOf(await guess())).toBe("INVALID_CREDENTIALS");
    // The lock would end after a minute.
    await rows("update identity.users set locked_until = locked_until + interval '1 hour' where id = $1", [
      data.register.user.id,
    ]);
    expect(codeOf(await logIn(privateApi, "locked@example.org"))).toBe("INVALID_CREDENTIALS");
    const attempts = await rows(
      "select distinct email from security.login_attempts where user_id = $1 and status <> 'success'",
      [data.register.user.id],
    );
    expect(attempts).toEqual([{ email: expect.stringMatching(/^hmac:[0-9a-f]{16}$/) }]);
  });

  test("allows an account without an address", async () => {
    expect((await register(privateApi, "without", null)).errors).toBeUndefined();
    const { userId, token } = await signIn(privateApi, "without");
    expect(await rows("select email, hashed_email from identity.users where id = $1", [userId])).toEqual([
      { email: null, hashed_email: null },
    ]);
    expect(token).toEqual(expect.any(String));
  });
});

describe("hashed names [S1]", () => {
  const NAME = "some-canary.name";

  test("stand for the name in every table, stay unique, sign in and cannot be guessed without the key", async () => {
    const answer = await register(privateApi, NAME, null);
    expect(answer.errors).toBeUndefined();
    const { userId, token } = await signIn(privateApi, ` ${NAME.toUpperCase()}\n`);
    expect(userId).toBe(answer.data.register.user.id);
    const seen = await privateApi.ask("{ currentUser { username settings { displayName } } }", { token });
    expect(seen.text).toMatch(/"username":"user-[0-9a-f]{32}"/);
    const pseudonym: string = seen.data.currentUser.username;
    // The pseudonym opens the account as well.
    expect((await signIn(privateApi, pseudonym)).userId).toBe(userId);
    const again = await register(privateApi, NAME, null);
    expect([codeOf(again), again.errors![0]!.extensions.field]).toEqual(["CONFLICT", "username"]);
    for (const invalid of [pseudonym, "A b", "x", "-x", NAME.toUpperCase()])
      expect(codeOf(await register(privateApi, invalid, null))).toBe("BAD_USER_INPUT");
    expect(codeOf(await logIn(privateApi, NAME, "wrong password"))).toBe("INVALID_CREDENTIALS");
    expect(await tablesWith(db, NAME)).toEqual([]);
    expect(JSON.stringify(privateApi.logLines)).not.toContain(NAME);
    // Without the key, the name cannot be tried.
    const guess = await rows("select encode(sha256(convert_to('name:' || $1, 'UTF8')), 'hex') as hash", [
      NAME,
    ]);
    expect(pseudonym).not.toContain(guess[0].hash.slice(0, 32));
  });

  test("replace clear names by a command, without a trace in the audit trail, and a chosen name works", async () => {
    const { userId } = await signUp(api, "was-clear");
    expect((await signIn(privateApi, "was-clear")).userId).toBe(userId);
    // Otherwise the name would lead to another account from now on.
    const usurped = await register(privateApi, "was-clear", null);
    expect([codeOf(usurped), usurped.errors![0]!.extensions.field]).toEqual(["CONFLICT", "username"]);
    await rows(
      "update security.audit_trail set new_values = new_values - 'username' where new_values ->> 'username' = 'was-clear'",
    );
    const before = await rows(
      "select count(*)::integer as n from identity.users where username !~ '^user-[0-9a-f]{32}$'",
    );
    const env = { ...databaseEnv(db), PLINTH_MASTER_KEYS: MASTER_KEYS };
    const hashed = await cli(["keys", "hash-names", "--json"], { env });
    expect({ code: hashed.code, ...JSON.parse(hashed.stdout) }).toEqual({
      code: 0,
      hashed: before[0].n,
      taken: [],
    });
    expect(JSON.parse((await cli(["keys", "hash-names", "--json"], { env })).stdout).hashed).toBe(0);
    expect((await signIn(privateApi, "was-clear")).userId).toBe(userId);
    expect(
      await rows(
        "select from security.audit_trail where old_values ->> 'username' = 'was-clear' or new_values ->> 'username' = 'was-clear'",
      ),
    ).toEqual([]);
    expect(
      await rows(
        "select from security.security_audit_log where user_id = $1 and event_type = 'username_hashed'",
        [userId],
      ),
    ).toHaveLength(1);
    // Later changes are recorded again.
    await rows("update identity.users set username = 'by-own-choice' where id = $1", [userId]);
    expect(
      await rows("select from security.audit_trail where new_values ->> 'username' = 'by-own-choice'"),
    ).toHaveLength(1);
    expect((await signIn(privateApi, "by-own-choice")).userId).toBe(userId);
  });
});
