import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { grantRole } from "../support/accounts.ts";
import { type Api, type SignedIn, send, signUp, startApi } from "../support/api.ts";
import { createTestDatabase, type TestDatabase, withClient } from "../support/database.ts";
import { openSocket } from "../support/socket.ts";

let db: TestDatabase;
let api: Api;
let ada: SignedIn;
beforeAll(async () => {
  db = await createTestDatabase();
  await withClient(db.url("owner"), (client) =>
    client.query(`
      create function identity.echo(i bigint default null, f numeric default null) returns text language sql stable as $$
      select concat_ws(' ', i, f) $$;
      create function identity.echo_time(t timestamptz) returns timestamptz language sql stable as $$ select t $$;
      create function identity.echo_day(d date) returns date language sql stable as $$ select d $$;
      grant execute on function identity.echo(bigint, numeric), identity.echo_time(timestamptz), identity.echo_day(date)
        to ${db.rolePrefix}_user;
    `),
  );
  api = await startApi(db);
  ada = await signUp(api, "ada");
  await grantRole(db, ada.userId, "admin");
});
afterAll(async () => {
  await api.close();
  await db.drop();
});

/** Sends variables as text, since JSON.stringify cannot write such numbers. */
async function post(query: string, variables = "{}") {
  const { json, text } = await send(api.url, {
    headers: { authorization: `Bearer ${ada.token}` },
    body: `{ "query": ${JSON.stringify(query)}, "variables": ${variables} }`,
  });
  const [error] = json.errors ?? [];
  return { text, data: json.data, error, code: error?.extensions.code };
}

const UPDATE = "profileData } } }";
const KEPT = "1288834974657000123";
const VALUE = `{"id":${KEPT},"list":[-0.12345678901234567891,{"deep":9007199254740993}]}`;

describe("JSON keeps numbers that no double holds", () => {
  const inDatabase = () =>
    withClient(db.adminUrl, async (client) => {
      const { rows } = await client.query<{ value: string }>(
        "select (profile_data -> 'list' -> 1 ->> 'deep') || ' ' || (profile_data ->> 'id') as value from identity.users where id = $1",
        [ada.userId],
      );
      return rows[0]!.value;
    });

  test.each<[string, string, string]>([
    ["in a variable", "query ($v: JSON!)", `{ "v": ${VALUE} }`],
    ["inside a variable of an input type", "query ($i: UserPatch!)", `{ "i": { "profileData": ${VALUE} } }`],
    [
      "in variables inside a literal",
      "query ($n: JSON!, $l: JSON!, $d: JSON!)",
      `{ "n": ${KEPT}, "l": -0.12345678901234567891, "d": 9007199254740993 }`,
    ],
  ])("%s", async (_where, head, variables) => {
    await withClient(db.adminUrl, (client) => client.query("update identity.users set profile_data = '{}'"));
    const patch = head.includes("$i")
      ? "$i"
      : `{ profileData: ${head.includes("$v") ? "$v" : `{ id: $n, list: [$l, { deep: $d }] }`} }`;
    const { text } = await post(
      `${head.replace("query", "mutation")} { updateUser(input: { id: "${ada.userId}", patch: ${patch} }) { user { ${UPDATE}`,
      variables,
    );
    expect(text).toContain(`"profileData":${VALUE}`);
    expect(await inDatabase()).toBe(`9007199254740993 ${KEPT}`);
    // PostgreSQL writes spaces.
    const read = (await post("{ currentUser { profileData } }")).text.replaceAll(/(?<=[:,]) /g, "");
    expect(read).toContain(`"profileData":${VALUE}`);
  });

  test("over WebSocket, in both directions", async () => {
    const socket = new WebSocket(`${api.url.replace("http", "ws")}/graphql`, "graphql-transport-ws");
    const answer = await new Promise<string>((resolve) => {
      socket.onopen = () =>
        socket.send(`{"type":"connection_init","payload":{"authorization":"Bearer ${ada.token}"}}`);
      socket.onmessage = ({ data }) => {
        if (String(data).includes("connection_ack"))
          socket.send(
            `{"id":"1","type":"subscribe","payload":{"query":"mutation ($v: JSON!) { updateUser(input: { id: \\"${ada.userId}\\", patch: { profileData: $v } }) { user { profileData } } }","variables":{"v":{"n":${KEPT}}}}}`,
          );
        else if (String(data).includes('"next"')) resolve(String(data));
      };
    });
    socket.close();
    expect(answer).toContain(`{"n":${KEPT}}`);
  });

  test("in encrypted values", async () => {
    const { text } = await post(
      "mutation ($v: JSON!) { setConversationMemory(input: { memory: $v }) { conversationMemory { memory } } }",
      `{ "v": ${VALUE} }`,
    );
    expect(text).toContain(`"memory":${VALUE}`);
    expect((await post("{ conversationMemory { memory } }")).text).toContain(`"memory":${VALUE}`);
  });

  test("in comparisons", async () => {
    await post(
      `mutation ($v: JSON!) { updateUser(input: { id: "${ada.userId}", patch: { profileData: {} } }) { clientMutationId }
       createUserPreference(input: { userPreference: { preferenceType: "t", preferenceKey: "k", preferenceValue: $v } }) { clientMutationId } }`,
      `{ "v": ${KEPT} }`,
    );
    expect((await post("{ userPreferences { nodes { preferenceValue } } }")).text).toContain(
      `"preferenceValue":${KEPT}}`,
    );
  });

  test("and accepts numbers that doubles hold as before", async () => {
    const { data } = await post(
      `mutation ($v: JSON!) { updateUser(input: { id: "${ada.userId}", patch: { profileData: $v } }) { user { ${UPDATE}`,
      '{ "v": { "a": 0.1, "b": -1e308, "c": 9007199254740991, "d": "1e400", "e": [5e-324, 1.50] } }',
    );
    expect(data.updateUser.user.profileData).toEqual({
      a: 0.1,
      b: -1e308,
      c: 9007199254740991,
      d: "1e400",
      e: [5e-324, 1.5],
    });
  });
});

describe("a number beyond the range of doubles is rejected with its place", () => {
  const SET =
    "mutation ($v: JSON!) { setConversationMemory(input: { memory: $v }) { clientMutationId: __typename } }";

  test.each([
    ["1e400", "$v"],
    ["-1e400", "$v"],
    ["1e-400", "$v"],
    ['{ "a": [0, { "b": 1e400 }] }', "$v.a.1.b"],
  ])("in a variable %s", async (value, place) => {
    const { error, code } = await post(SET, `{ "v": ${value} }`);
    expect([code, error.message]).toEqual(["BAD_USER_INPUT", `\`${place}\` is a number out of range.`]);
  });

  test.each([
    ["1e400", "The JSON value cannot be 1e400"],
    ["{ a: [0, { b: -1e400 }] }", "`a.1.b` in the JSON value cannot be -1e400"],
    [`{ a: ${KEPT} }`, `\`a\` in the JSON value cannot be ${KEPT}`],
  ])("in a literal %s, also one that would be rounded", async (value, place) => {
    const { error, code } = await post(
      `mutation { setConversationMemory(input: { memory: ${value} }) { __typename } }`,
    );
    expect([code, error.message]).toEqual([
      "BAD_USER_INPUT",
      `${place} in a document; pass it in a variable.`,
    ]);
  });

  test("over WebSocket", async () => {
    const socket = await openSocket(api, ada.token);
    const { errors } = await socket.ask(
      "mutation { setConversationMemory(input: { memory: 1e400 }) { __typename } }",
    );
    expect(errors?.[0]?.extensions?.code).toBe("BAD_USER_INPUT");
    await socket.dispose();
  });
});

describe("JSON nests no deeper than it can be read back", () => {
  const nested = (depth: number) => `${"[".repeat(depth)}${KEPT}${"]".repeat(depth)}`;
  const SET = `mutation ($v: JSON!) { updateUser(input: { id: "ID", patch: { profileData: { a: $v } } }) { clientMutationId } }`;

  test("in a variable", async () => {
    const query = SET.replace("ID", ada.userId);
    expect((await post(query, `{ "v": ${nested(498)} }`)).code).toBeUndefined();
    expect((await post("{ currentUser { profileData } }")).text).toContain(nested(498));
    for (const depth of [501, 5_000, 50_000])
      for (const number of [KEPT, "1"]) {
        const { code } = await post(query, `{ "v": ${nested(depth).replace(KEPT, number)} }`);
        // With a number that needs a closer look, the body itself may be too deep to be read.
        expect([depth, code]).toEqual([depth, expect.stringMatching(/^BAD_(USER_INPUT|REQUEST)$/)]);
      }
  });

  test("in a literal", async () => {
    const query = (depth: number) =>
      `mutation { setConversationMemory(input: { memory: ${nested(depth).replace(KEPT, "1")} }) { __typename } }`;
    expect((await post(query(400))).code).toBeUndefined();
    expect((await post(query(600))).code).toBe("BAD_USER_INPUT");
    expect((await post(query(50_000))).code).toBe("QUERY_TOO_COMPLEX");
  });
});

describe("the other numbers are exact or rejected", () => {
  const FILTER = (type: string) =>
    `query ($v: ${type}) { searchContent(filter: { rank: { lessThan: $v } }) { totalCount } }`;

  test.each(["1e400", "0.12345678901234567891", "1e-400", "12345678901234567890"])(
    "rejects Float %s",
    async (number) => {
      expect((await post(FILTER("Float"), `{ "v": ${number} }`)).code).toBe("BAD_USER_INPUT");
      const literal = `{ searchContent(filter: { rank: { lessThan: ${number} } }) { totalCount } }`;
      expect((await post(literal)).code).toBe("BAD_USER_INPUT");
    },
  );

  test.each(["1e30", "0.1", "-1", "0"])("accepts Float %s", async (number) => {
    expect((await post(FILTER("Float"), `{ "v": ${number} }`)).code).toBeUndefined();
    expect(
      (await post(`{ searchContent(filter: { rank: { lessThan: ${number} } }) { totalCount } }`)).code,
    ).toBeUndefined();
  });

  const PRICE =
    'input: { modelPrice: { modelId: $m, inputPricePerMillionTokens: $p, outputPricePerMillionTokens: "1" } }';
  const CREATE = `mutation ($m: UUID!, $p: BigFloat!) { createModelPrice(${PRICE}) { modelPrice { inputPricePerMillionTokens } } }`;

  test.each(["NaN", "Infinity", "-Infinity", "1e9999999", "x", ""])("rejects BigFloat %j", async (text) => {
    const id = "01900000-0000-7000-8000-000000000000";
    expect((await post(CREATE, `{ "m": "${id}", "p": ${JSON.stringify(text)} }`)).error.message).toMatch(
      /BigFloat must be/,
    );
  });

  test.each([
    ["BigInt", "i", '"9007199254740993"'],
    ["BigInt", "i", "9007199254740993"],
    ["BigInt", "i", "-1"],
    ["BigFloat", "f", "9007199254740993.25"],
    ["BigFloat", "f", '"0.12345678901234567891"'],
    ["BigFloat", "f", "1.5"],
  ])("%s %s: accepts %s exactly, as a variable and as a literal", async (type, name, json) => {
    const expected = { echo: json.replaceAll('"', "") };
    expect((await post(`query ($v: ${type}) { echo(${name}: $v) }`, `{ "v": ${json} }`)).data).toEqual(
      expected,
    );
    expect((await post(`{ echo(${name}: ${json}) }`)).data).toEqual(expected);
  });

  test.each(["1.5", '"1.5"', '"0x10"', '"1_000"', '""', "true", "{}", "[1, 2]", "1e30"])(
    "rejects BigInt %s",
    async (json) => {
      expect((await post("query ($v: BigInt) { echo(i: $v) }", `{ "v": ${json} }`)).code).toBe(
        "BAD_USER_INPUT",
      );
      expect((await post(`{ echo(i: ${json}) }`)).code).toBe(
        /^[{[t]/.test(json) ? "GRAPHQL_VALIDATION_FAILED" : "BAD_USER_INPUT",
      );
    },
  );
});

describe("only times that can be read back are accepted", () => {
  test.each([
    ["2026-05-06T07:08:09Z", "2026-05-06T07:08:09.000000+00:00"],
    ["2026-05-06 07:08:09.123456+02", "2026-05-06T05:08:09.123456+00:00"],
    ["2026-05-06T07:08-0330", "2026-05-06T10:38:00.000000+00:00"],
    ["2026-05-06", "2026-05-06T00:00:00.000000+00:00"],
    ["0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000000+00:00"],
    ["9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999+00:00"],
    ["0001-01-01T00:00:00-14:00", "0001-01-01T14:00:00.000000+00:00"],
  ])("accepts %s", async (text, expected) => {
    expect(
      (await post("query ($v: Datetime!) { echoTime(t: $v) }", `{ "v": "${text}" }`)).data.echoTime,
    ).toBe(expected.replace(/\+00:00$/, "+00:00"));
  });

  test.each([
    "infinity",
    "-infinity",
    "now",
    "epoch",
    "0044-03-15T12:00:00Z BC",
    "2026-05-06T07:08:09Z BC",
    "0000-01-01T00:00:00Z",
    "-000044-03-15T12:00:00Z",
    "+012026-01-01T00:00:00Z",
    "300000-01-01T00:00:00Z",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-14:00",
    "2026-02-30T00:00:00Z",
    "2026-01-01T25:00:00Z",
    "yesterday-ish",
    "",
  ])("rejects %j", async (text) => {
    const variable = await post(
      "query ($v: Datetime!) { echoTime(t: $v) }",
      `{ "v": ${JSON.stringify(text)} }`,
    );
    expect([variable.code, variable.data?.echoTime ?? null]).toEqual(["BAD_USER_INPUT", null]);
    const literal = await post(`{ echoTime(t: ${JSON.stringify(text)}) }`);
    expect(literal.code).toBe("BAD_USER_INPUT");
  });

  test.each(["infinity", "0044-03-15 BC", "12026-01-01", "0000-01-01", "2026-02-30", "tomorrow"])(
    "rejects the day %j",
    async (text) => {
      expect((await post("query ($v: Date!) { echoDay(d: $v) }", `{ "v": "${text}" }`)).code).toBe(
        "BAD_USER_INPUT",
      );
    },
  );
});
