import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { type Answer, type Api, codeOf, PASSWORD, signUp, startApi } from "../support/api.ts";
import { createTestDatabase, rowsAs, type TestDatabase } from "../support/database.ts";

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
  ])("rejects %s and names the field", async (_what, input, code, field) => {
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
