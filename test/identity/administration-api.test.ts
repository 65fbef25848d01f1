import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { addModel, grantRole } from "../support/accounts.ts";
import { type Api, codeOf, PASSWORD, type SignedIn, signIn, signUp, startApi } from "../support/api.ts";
import { createTestDatabase, rowsAs, type TestDatabase } from "../support/database.ts";

// Actions of an administrator on accounts, and the queries of a client that decides which buttons to show, over HTTP.

let db: TestDatabase;
let api: Api;
let admin: SignedIn;
let ada: SignedIn;
const owner = rowsAs("owner", () => db);
beforeAll(async () => {
  db = await createTestDatabase();
  api = await startApi(db);
  [admin, ada] = [await signUp(api, "admin"), await signUp(api, "ada")];
  await grantRole(db, admin.userId, "admin");
});
afterAll(async () => {
  await api.close();
  await db.drop();
});

const send = (person: SignedIn, query: string, variables: Record<string, unknown> = {}) =>
  api.ask(query, { token: person.token, variables });
async function ask(person: SignedIn, query: string, variables: Record<string, unknown> = {}) {
  const answer = await send(person, query, variables);
  expect(answer.errors).toBeUndefined();
  return answer.data;
}
/** The code of a sign-in's error, or undefined. */
async function signInError(username: string): Promise<string | undefined> {
  const answer = await api.ask("mutation ($input: LoginInput!) { login(input: $input) { accessToken } }", {
    variables: { input: { identifier: username, password: PASSWORD } },
  });
  return answer.errors?.[0]?.extensions.code;
}

test("setAccountStatus disables and enables an account for an administrator only", async () => {
  const bob = await signUp(api, "bob");
  const set = `mutation ($id: UUID!, $status: AccountStatus!) {
    setAccountStatus(input: { userId: $id, accountStatus: $status }) { result { accountStatus } }
  }`;
  expect(codeOf(await send(ada, set, { id: bob.userId, status: "disabled" }))).toBe("FORBIDDEN");
  expect(await signInError("bob")).toBeUndefined();
  expect((await ask(admin, set, { id: bob.userId, status: "disabled" })).setAccountStatus.result).toEqual({
    accountStatus: "disabled",
  });
  expect(await signInError("bob")).toBe("INVALID_CREDENTIALS");
  await ask(admin, set, { id: bob.userId, status: "active" });
  expect(await signInError("bob")).toBeUndefined();
});

test("unlockAccount ends the lock of an account for an administrator only", async () => {
  const cyd = await signUp(api, "cyd");
  await owner("update identity.users set locked_until = now() + interval '1 hour' where id = $1", [
    cyd.userId,
  ]);
  expect(await signInError("cyd")).toBe("INVALID_CREDENTIALS");
  const unlock = "mutation ($id: UUID!) { unlockAccount(input: { userId: $id }) { result { lockedUntil } } }";
  expect(codeOf(await send(cyd, unlock, { id: cyd.userId }))).toBe("FORBIDDEN");
  expect((await ask(admin, unlock, { id: cyd.userId })).unlockAccount.result).toEqual({ lockedUntil: null });
  expect(await signInError("cyd")).toBeUndefined();
});

test("endUserSessions ends every session of an account for an administrator only", async () => {
  const dan = await signUp(api, "dan");
  await signIn(api, "dan");
  const end = "mutation ($id: UUID!) { endUserSessions(input: { userId: $id }) { result } }";
  expect(codeOf(await send(ada, end, { id: dan.userId }))).toBe("FORBIDDEN");
  expect((await ask(admin, end, { id: dan.userId })).endUserSessions.result).toBe(2);
  const refresh = "mutation ($token: String!) { refresh(input: { refreshToken: $token }) { accessToken } }";
  expect(codeOf(await api.ask(refresh, { variables: { token: dan.refreshToken } }))).toBe("UNAUTHENTICATED");
});

test("hasPermission follows grantRole and revokeRole, which need manage_roles", async () => {
  const change = (name: string) => `mutation ($id: UUID!) {
    ${name}(input: { userId: $id, roleName: "moderator" }) { result { userId } }
  }`;
  const revoke =
    'mutation ($id: UUID!) { revokeRole(input: { userId: $id, roleName: "moderator" }) { result { userId } } }';
  const mayEdit = async () => (await ask(ada, '{ hasPermission(permission: "edit_content") }')).hasPermission;
  const of = { id: ada.userId };
  expect(await mayEdit()).toBe(false);
  await ask(admin, change("grantRole"), of);
  expect(await mayEdit()).toBe(true);
  expect(codeOf(await send(ada, revoke, of))).toBe("NOT_FOUND");
  expect(await mayEdit()).toBe(true);
  await ask(admin, revoke, of);
  expect(await mayEdit()).toBe(false);
  expect(codeOf(await send(admin, revoke, of))).toBe("NOT_FOUND");
});

test("canUseModel is true for a public model and one that was granted", async () => {
  const [open, closed] = [await addModel(db, { isPublic: true }), await addModel(db, { isPublic: false })];
  const query =
    "query ($open: UUID!, $closed: UUID!) { open: canUseModel(modelId: $open) closed: canUseModel(modelId: $closed) }";
  expect(await ask(ada, query, { open, closed })).toEqual({ open: true, closed: false });
  await owner("insert into access.user_model_access (user_id, model_id) values ($1, $2)", [
    ada.userId,
    closed,
  ]);
  expect(await ask(ada, query, { open, closed })).toEqual({ open: true, closed: true });
});

test("hasTokens compares an amount with the balance", async () => {
  const balance = BigInt((await ask(ada, "{ tokenBalance { available } }")).tokenBalance.available);
  const query = "query ($amount: BigInt) { hasTokens(amount: $amount) }";
  expect(await ask(ada, query, { amount: String(balance) })).toEqual({ hasTokens: true });
  expect(await ask(ada, query, { amount: String(balance + 1n) })).toEqual({ hasTokens: false });
});
