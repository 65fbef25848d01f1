import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { type Api, codeOf, PASSWORD, signUp, startApi } from "../support/api.ts";
import { createTestDatabase, type TestDatabase, withClient } from "../support/database.ts";

// Limits on repeated attempts, through the API.

let db: TestDatabase;
let api: Api;
let token: string;
beforeAll(async () => {
  db = await createTestDatabase();
  api = await startApi(db, { PLINTH_TRUSTED_PROXIES: "127.0.0.1" });
  ({ token } = await signUp(api, "ada"));
  await withClient(db.url("owner"), (client) =>
    client.query("update security.rate_limit_rules set limit_value = 2, window_length = '366 days'"),
  );
});
afterAll(async () => {
  await api.close();
  await db.drop();
});

const LOGIN = "mutation ($input: LoginInput!) { login(input: $input) { accessToken } }";
const login = (ip: string, identifier: string, password: string = PASSWORD) =>
  api.ask(LOGIN, { variables: { input: { identifier, password } }, headers: { "x-forwarded-for": ip } });
const attempts = () =>
  withClient(db.url("owner"), async (client) => {
    const { rows } = await client.query("select count(*)::integer as n from security.login_attempts");
    return rows[0].n as number;
  });

test("limits sign-ins per address before any other work, with the same error for every account [A12]", async () => {
  expect((await login("192.0.2.1", "ada")).errors).toBeUndefined();
  expect(codeOf(await login("192.0.2.1", "ada", "wrong password, quite"))).toBe("INVALID_CREDENTIALS");
  const before = await attempts();
  const answers = [];
  for (const [identifier, password] of [
    ["ada", PASSWORD],
    ["ada", "wrong password, quite"],
    ["nobody", PASSWORD],
  ] as const)
    answers.push(await login("192.0.2.1", identifier, password));
  for (const answer of answers) expect(codeOf(answer)).toBe("RATE_LIMITED");
  const told = answers.map(({ errors }) => {
    const { message, extensions } = errors![0]!;
    return { message, ...extensions, hint: String(extensions.hint).replace(/\d+/, "N") };
  });
  expect(told[1]).toEqual(told[0]);
  expect(told[2]).toEqual(told[0]);
  expect(told[0]!.hint).toBe("Try again in N seconds.");
  // Neither checked nor counted against the account.
  expect(await attempts()).toBe(before);
  expect((await login("192.0.2.2", "ada")).errors).toBeUndefined();
});

test("counts an attempt even if the sign-in fails and is rolled back, but not bad input [A12]", async () => {
  for (let i = 0; i < 5; i++)
    expect(codeOf(await login("192.0.2.3", "x".repeat(400)))).toBe("BAD_USER_INPUT");
  for (let i = 0; i < 2; i++) expect(codeOf(await login("192.0.2.3", "nobody"))).toBe("INVALID_CREDENTIALS");
  expect(codeOf(await login("192.0.2.3", "nobody"))).toBe("RATE_LIMITED");
});

test("counts an IPv6 customer as one address [A12]", async () => {
  for (let i = 0; i < 2; i++) await login(`2001:db8:0:1::${i}`, "nobody");
  expect(codeOf(await login("2001:db8:0:1:ffff::1", "nobody"))).toBe("RATE_LIMITED");
  expect(codeOf(await login("2001:db8:1:1::1", "nobody"))).toBe("INVALID_CREDENTIALS");
});

test("checks no more parallel sign-ins from one address than the limit allows [A12]", async () => {
  const answers = await Promise.all(Array.from({ length: 10 }, () => login("192.0.2.5", "nobody")));
  const codes = answers.map(codeOf);
  expect(codes.filter((code) => code === "INVALID_CREDENTIALS")).toHaveLength(2);
  expect(codes.filter((code) => code === "RATE_LIMITED")).toHaveLength(8);
});

test("limits registrations per address [A12]", async () => {
  const register = () =>
    api.ask("mutation ($input: RegisterInput!) { register(input: $input) { accessToken } }", {
      variables: { input: { username: `u${randomUUID().slice(0, 12)}`, password: PASSWORD } },
      headers: { "x-forwarded-for": "192.0.2.6" },
    });
  for (let i = 0; i < 2; i++) expect((await register()).errors).toBeUndefined();
  expect(codeOf(await register())).toBe("RATE_LIMITED");
});

test("limits password changes per account, from any address [A12]", async () => {
  const change = (ip: string) =>
    api.ask("mutation ($input: ChangePasswordInput!) { changePassword(input: $input) { accessToken } }", {
      variables: {
        input: { currentPassword: "wrong password, quite", newPassword: "another long sentence" },
      },
      token,
      headers: { "x-forwarded-for": ip },
    });
  expect(codeOf(await change("192.0.2.7"))).toBe("INVALID_CREDENTIALS");
  expect(codeOf(await change("192.0.2.8"))).toBe("INVALID_CREDENTIALS");
  expect(codeOf(await change("192.0.2.9"))).toBe("RATE_LIMITED");
});

test("lets only accounts with manage_security see and change the rules through the API [C7]", async () => {
  const update = () =>
    api.ask(
      `mutation { updateRateLimitRule(input: { name: "login_per_address", patch: { limitValue: 1000 } }) {
         rateLimitRule { name limitValue } } }`,
      { token },
    );
  expect(codeOf(await update())).toBe("NOT_FOUND");
  expect((await api.ask("{ rateLimitRules { totalCount } }", { token })).data.rateLimitRules.totalCount).toBe(
    0,
  );
  await withClient(db.url("owner"), (client) =>
    client.query("select access.grant_role(id, 'admin') from identity.users where username = 'ada'"),
  );
  expect((await update()).data.updateRateLimitRule.rateLimitRule).toEqual({
    name: "login_per_address",
    limitValue: 1000,
  });
  expect(codeOf(await login("192.0.2.1", "nobody"))).toBe("INVALID_CREDENTIALS");
});

test("exposes userSecurityStatus as a field of the account [A9]", async () => {
  const { data } = await api.ask(
    "{ currentUser { securityStatus { accountStatus isLocked liveSessions } } }",
    {
      token,
    },
  );
  expect(data.currentUser.securityStatus).toMatchObject({ accountStatus: "active", isLocked: false });
  expect(Number(data.currentUser.securityStatus.liveSessions)).toBeGreaterThan(0);
});
