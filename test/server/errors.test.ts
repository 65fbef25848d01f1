import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { grantRole } from "../support/accounts.ts";
import { type Api, codeOf, type SignedIn, signUp, startApi, until } from "../support/api.ts";
import { createTestDatabase, type TestDatabase, withClient } from "../support/database.ts";
import { withGrowingLimit } from "../support/waiting.ts";

let db: TestDatabase;
let api: Api;
let ada: SignedIn;
let admin: SignedIn;

beforeAll(async () => {
  db = await createTestDatabase();
  await withClient(db.url("owner"), (client) =>
    client.query(`
      create function identity.fail_in_a_way_nobody_foresaw() returns integer language plpgsql volatile as $$
      begin raise exception 'the secret of table private.user_passwords' using errcode = 'XX000', detail = 'secret detail'; end $$;
      create function identity.fail_with(code text) returns integer language plpgsql volatile as $$
      begin raise exception 'A sentence for people.' using errcode = code, hint = 'A hint.', column = 'some_column'; end $$;
      create function identity.sleep_long() returns integer language sql volatile as $$ select 1 from pg_sleep(10) $$;
      create function identity.is_read_only() returns text language sql stable as $$
      select current_setting('transaction_read_only') $$;
      create function identity.is_read_only_too() returns text language sql volatile as $$
      select current_setting('transaction_read_only') $$;
      grant execute on function identity.is_read_only(), identity.is_read_only_too(), identity.fail_in_a_way_nobody_foresaw(), identity.fail_with(text), identity.sleep_long()
        to ${db.rolePrefix}_user, ${db.rolePrefix}_anonymous;
    `),
  );
  api = await startApi(db);
  ada = await signUp(api, "ada");
  admin = await signUp(api, "boss");
  await grantRole(db, admin.userId, "admin");
});
afterAll(async () => {
  await api.close();
  await db.drop();
});

const extensionsOf = async (query: string, token: string | undefined = ada.token) =>
  (await api.ask(query, { token })).errors?.map(({ extensions }) => extensions);

describe("constraint violations", () => {
  test.each<[string, string, () => string, object]>([
    [
      "unique key of one owner",
      `mutation { createUserPreference(input: { userPreference: { preferenceType: "tone", preferenceKey: "k", preferenceValue: 1 } }) { clientMutationId } }`,
      () => ada.token,
      { code: "CONFLICT", field: "preferenceKey", constraint: expect.stringMatching(/_key$/) },
    ],
    [
      "check",
      `mutation { createChat(input: { chat: { title: "" } }) { clientMutationId } }`,
      () => ada.token,
      {
        code: "BAD_USER_INPUT",
        field: "title",
        constraint: "chats_title_check",
        hint: "Title, 1 to 255 characters.",
      },
    ],
    [
      "foreign key",
      `mutation { createModelPrice(input: { modelPrice: { modelId: "01900000-0000-7000-8000-000000000000", inputPricePerMillionTokens: "1", outputPricePerMillionTokens: "1" } }) { clientMutationId } }`,
      () => admin.token,
      { code: "BAD_USER_INPUT", field: "modelId", constraint: "model_prices_model_id_fkey" },
    ],
    [
      "unique key",
      `mutation { createModelProvider(input: { modelProvider: { name: "Twice" } }) { clientMutationId } }`,
      () => admin.token,
      { code: "CONFLICT", field: "name", constraint: "model_providers_name_key" },
    ],
  ])("name the field of a violated %s", async (_kind, mutation, token, expected) => {
    await api.ask(mutation, { token: token() });
    expect(await extensionsOf(mutation, token())).toEqual([expected]);
  });

  test("name the field of a missing value", async () => {
    expect(
      await extensionsOf(
        `mutation { updateUser(input: { id: "${ada.userId}", patch: { username: null } }) { clientMutationId } }`,
      ),
    ).toEqual([{ code: "BAD_USER_INPUT", field: "username" }]);
  });

  test("do not reveal PostgreSQL's messages or values", async () => {
    const { text } = await api.ask(
      `mutation { register(input: { username: "ada", email: "z@z", password: "a long enough password" }) { accessToken } }`,
    );
    expect(text).not.toMatch(/duplicate key|violates|Key \(|Failing row/);
  });
});

describe("denials", () => {
  test("ask a visitor to sign in and report FORBIDDEN to a user", async () => {
    const mutation = `mutation { createModelProvider(input: { modelProvider: { name: "Mine" } }) { clientMutationId } }`;
    expect((await api.ask(mutation)).errors?.map(({ extensions }) => extensions)).toEqual([
      { code: "UNAUTHENTICATED" },
    ]);
    expect(await extensionsOf(mutation)).toEqual([{ code: "FORBIDDEN" }]);
  });

  test("of an update or delete return NOT_FOUND for every reason", async () => {
    const nowhere = "01900000-0000-7000-8000-000000000000";
    for (const mutation of [
      `updateChat(input: { id: "${nowhere}", patch: { title: "x" } })`,
      `deleteChat(input: { id: "${nowhere}" })`,
      `updateUser(input: { id: "${admin.userId}", patch: { profileData: {} } })`,
      `updateUserSession(input: { id: "${nowhere}", patch: { deviceName: "x" } })`,
    ]) {
      const answer = await api.ask(`mutation { ${mutation} { clientMutationId } }`, { token: ada.token });
      expect({ mutation, code: codeOf(answer) }).toEqual({ mutation, code: "NOT_FOUND" });
    }
  });

  test("let an update succeed if it matches", async () => {
    const answer = await api.ask(
      `mutation { updateUser(input: { id: "${ada.userId}", patch: { profileData: { a: 1 } } }) { user { profileData } } }`,
      { token: ada.token },
    );
    expect(answer.data.updateUser.user).toEqual({ profileData: { a: 1 } });
  });
});

describe("errors of Plinth's SQL functions", () => {
  test.each([
    ["PL401", "UNAUTHENTICATED"],
    ["PL402", "QUOTA_EXCEEDED"],
    ["PL403", "FORBIDDEN"],
    ["PL404", "NOT_FOUND"],
    ["PL409", "CONFLICT"],
    ["PL422", "BAD_USER_INPUT"],
    ["PL429", "RATE_LIMITED"],
  ])("map %s to %s and keep the message", async (sqlState, code) => {
    const { errors } = await api.ask(`mutation { failWith(input: { code: "${sqlState}" }) { result } }`, {
      token: ada.token,
    });
    expect(errors).toEqual([
      expect.objectContaining({
        message: "A sentence for people.",
        extensions: { code, hint: "A hint.", field: "someColumn" },
      }),
    ]);
  });
});

describe("an unexpected error", () => {
  test("is masked, and logged under the same id as the request", async () => {
    const answer = await api.ask("mutation { failInAWayNobodyForesaw(input: {}) { result } }", {
      token: ada.token,
      headers: { "x-request-id": "request-4711" },
    });
    expect(answer.text).not.toContain("secret");
    const [error] = answer.errors!;
    expect(error!.extensions).toEqual({
      code: "INTERNAL",
      errorId: expect.stringMatching(/^[0-9a-f-]{36}$/),
    });
    const line = api.logLines.find(({ errorId }) => errorId === error!.extensions.errorId)!;
    expect(line).toMatchObject({ correlationId: "request-4711", err: { code: "XX000" } });
    expect(JSON.stringify(line)).not.toContain("secret detail");
  });

  test("does not affect the results of other fields", async () => {
    const { data, errors } = await api.ask(
      "mutation { failInAWayNobodyForesaw(input: {}) { result } logout(input: {}) { result } }",
    );
    expect(data.failInAWayNobodyForesaw).toBeNull();
    expect(errors![0]!.extensions.code).toBe("INTERNAL");
  });
});

test("rejects writes in queries and allows them in mutations", async () => {
  expect((await api.ask("{ isReadOnly }", { token: ada.token })).data).toEqual({ isReadOnly: "on" });
  expect(
    (await api.ask("mutation { isReadOnlyToo(input: {}) { result } }", { token: ada.token })).data,
  ).toEqual({
    isReadOnlyToo: { result: "off" },
  });
});

test("returns TIMEOUT for a statement that takes too long", async () => {
  // A server of its own, because a busy machine may take longer for the statements of other tests.
  await withGrowingLimit(300, async (ms) => {
    const impatient = await startApi(db, { PLINTH_STATEMENT_TIMEOUT_MS: String(ms) });
    const { errors } = await impatient.ask("mutation { sleepLong(input: {}) { result } }", {
      token: ada.token,
    });
    expect(errors?.map(({ extensions }) => extensions)).toEqual([{ code: "TIMEOUT" }]);
    await impatient.close();
  });
});

test.each([
  ["a syntax error", "{", {}, "GRAPHQL_PARSE_FAILED"],
  ["an unknown field", "{ nope }", {}, "GRAPHQL_VALIDATION_FAILED"],
  [
    "a variable of the wrong type",
    "query ($id: UUID!) { chat(id: $id) { id } }",
    { id: 1 },
    "BAD_USER_INPUT",
  ],
  ["a missing variable", "query ($id: UUID!) { chat(id: $id) { id } }", {}, "BAD_USER_INPUT"],
  ["several operations without a choice", "query a { nodeId } query b { nodeId }", {}, "BAD_USER_INPUT"],
  ["no operation", "fragment f on Query { nodeId }", {}, "GRAPHQL_VALIDATION_FAILED"],
  ["an unknown cursor", '{ chats(after: "nowhere") { totalCount nodes { id } } }', {}, "BAD_USER_INPUT"],
  [
    "text with NUL",
    'mutation { createChat(input: { chat: { title: "a\\u0000b" } }) { clientMutationId } }',
    {},
    "BAD_USER_INPUT",
  ],
  [
    "an empty patch",
    'mutation { updateChat(input: { id: "01900000-0000-7000-8000-000000000000", patch: {} }) { clientMutationId } }',
    {},
    "BAD_USER_INPUT",
  ],
  [
    "a number too large",
    'mutation ($t: Int) { createMessage(input: { message: { chatId: "01900000-0000-7000-8000-000000000000", role: user, content: "", tokensUsed: $t } }) { clientMutationId } }',
    { t: 2 ** 40 },
    "BAD_USER_INPUT",
  ],
  [
    "an invalid timestamp",
    '{ chats(filter: { updatedAt: { lessThan: "yesterday-ish" } }) { totalCount } }',
    {},
    "BAD_USER_INPUT",
  ],
])("returns a code for %s", async (_what, query, variables, code) => {
  expect(codeOf(await api.ask(query, { token: ada.token, variables }))).toBe(code);
});

test.each([
  [
    "an argument",
    'query ($value: UUID = "00000000-0000-7000-8000-00000000000a") { chat(id: $value) { id } }',
  ],
  ["an item of a list", "query ($value: ChatOrderBy = NATURAL) { chats(orderBy: [$value]) { totalCount } }"],
])("returns BAD_USER_INPUT for %s that is a null variable with a default", async (_place, query) => {
  const { data, errors } = await api.ask(query, { token: ada.token, variables: { value: null } });
  expect(data ?? null).toBeNull();
  expect(errors?.map(({ extensions }) => extensions)).toEqual([{ code: "BAD_USER_INPUT" }]);
  const { errors: withDefault } = await api.ask(query, { token: ada.token });
  expect(withDefault).toBeUndefined();
});

test("returns UNAVAILABLE while the database is gone, and recovers", async () => {
  const admins = (text: string) => withClient(db.adminUrl, (client) => client.query(text));
  await admins(
    "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()",
  );
  const codes = new Set<string>();
  await until(async () => {
    const { status, errors, data } = await api.ask("{ currentUser { username } }", { token: ada.token });
    codes.add(errors?.[0]?.extensions.code ?? String(status));
    return data?.currentUser?.username === "ada";
  });
  expect([...codes].filter((code) => code !== "200" && code !== "UNAVAILABLE")).toEqual([]);
});
