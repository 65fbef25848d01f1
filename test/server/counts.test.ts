import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { buildSchema, type GraphQLSchema } from "graphql";
import { printGraphqlSchema } from "../../src/schema-dump/graphql-schema.ts";
import { makeRoom } from "../live/support.ts";
import { type Api, codeOf, type SignedIn, signUp, startApi } from "../support/api.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";

let db: TestDatabase;
let api: Api;
let ada: SignedIn;
let room: string;
let schema: GraphQLSchema;
beforeAll(async () => {
  db = await createTestDatabase();
  api = await startApi(db);
  ada = await signUp(api, "ada");
  room = await makeRoom(api, [ada]);
  await api.ask('mutation { createChat(input: { chat: { title: "one" } }) { clientMutationId } }', {
    token: ada.token,
  });
  schema = buildSchema(
    await printGraphqlSchema({ authenticatorUrl: db.url("authenticator"), rolePrefix: db.rolePrefix }),
  );
});
afterAll(async () => {
  await api.close();
  await db.drop();
});

/** How a function lets the caller say how many rows it returns. */
const COUNT = /^max(Count|Results)$/;

test("rejects a count below 1 with the same error in every field that takes one", async () => {
  const fields = [
    ...Object.values(schema.getQueryType()!.getFields()).map((field) => ({
      field,
      wrap: (text: string) => text,
    })),
    ...Object.values((schema.getType("Chat") as ReturnType<typeof schema.getQueryType>)!.getFields()).map(
      (field) => ({
        field,
        wrap: (text: string) => `chats { nodes { ${text} } }`,
      }),
    ),
  ].filter(({ field }) => field.args.some(({ name }) => COUNT.test(name)));
  expect(fields.map(({ field }) => field.name).sort()).toEqual(
    expect.arrayContaining([
      "activePath",
      "recentRoomMessages",
      "searchChatMessages",
      "searchContent",
      "searchRoomMessages",
    ]),
  );
  for (const { field, wrap } of fields) {
    const count = field.args.find(({ name }) => COUNT.test(name))!.name;
    const ask = (value: number | null) => {
      const others = field.args
        .filter(({ type, name }) => String(type).endsWith("!") || name === "query")
        .map(({ name, type }) => `${name}: ${/UUID/.test(String(type)) ? `"${room}"` : '"word"'}`);
      const selection = String(field.type).endsWith("Connection") ? "{ totalCount }" : "{ __typename }";
      return api.ask(
        `{ ${wrap(`${field.name}(${[...others, `${count}: ${value}`].join(", ")}) ${selection}`)} }`,
        {
          token: ada.token,
        },
      );
    };
    for (const value of [0, -1, -2147483648]) {
      const answer = await ask(value);
      expect([field.name, value, codeOf(answer), answer.errors?.[0]?.extensions.field]).toEqual([
        field.name,
        value,
        "BAD_USER_INPUT",
        count,
      ]);
    }
    for (const value of [1, null])
      expect([field.name, value, (await ask(value)).errors]).toEqual([field.name, value, undefined]);
  }
});
