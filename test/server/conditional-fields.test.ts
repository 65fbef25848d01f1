import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import {
  buildSchema,
  type GraphQLField,
  type GraphQLSchema,
  getNamedType,
  isCompositeType,
  isRequiredArgument,
} from "graphql";
import { printGraphqlSchema } from "../../src/schema-dump/graphql-schema.ts";
import { type Api, codeOf, type SignedIn, signUp, startApi } from "../support/api.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { openSocket } from "../support/socket.ts";

let db: TestDatabase;
let api: Api;
let ada: SignedIn;
let schema: GraphQLSchema;
beforeAll(async () => {
  db = await createTestDatabase();
  api = await startApi(db);
  ada = await signUp(api, "ada");
  schema = buildSchema(
    await printGraphqlSchema({ authenticatorUrl: db.url("authenticator"), rolePrefix: db.rolePrefix }),
  );
});
afterAll(async () => {
  await api.close();
  await db.drop();
});

const ID = '"01900000-0000-7000-8000-000000000000"';

function rendered({ name, args, type }: GraphQLField<unknown, unknown>, directive: string): string {
  const given = args.filter(isRequiredArgument).map((argument) => `${argument.name}: ${ID}`);
  const selection = isCompositeType(getNamedType(type)) ? "{ __typename }" : "";
  return `${name}${given.length > 0 ? `(${given.join(", ")})` : ""} ${directive} ${selection}`;
}

describe("the field of a subscription", () => {
  test("cannot have a condition, in any form and for any field", async () => {
    const socket = await openSocket(api, ada.token);
    const codes = new Map<string, unknown>();
    for (const field of Object.values(schema.getSubscriptionType()!.getFields()))
      for (const directive of [
        "@skip(if: true)",
        "@skip(if: false)",
        "@include(if: false)",
        "@include(if: true)",
      ]) {
        const [plain, conditional] = [rendered(field, ""), rendered(field, directive)];
        for (const query of [
          `subscription { ${conditional} }`,
          `subscription { ... ${directive} { ${plain} } }`,
          `subscription { ... on Subscription ${directive} { ${plain} } }`,
          `subscription { ... { ...f } } fragment f on Subscription { ${conditional} }`,
          `subscription { ...f ${directive} } fragment f on Subscription { ${plain} }`,
          `subscription ($yes: Boolean = true) { ${rendered(field, directive.replace(/true|false/, "$yes"))} }`,
          `subscription ($yes: Boolean!) { ${rendered(field, directive.replace(/true|false/, "$yes"))} }`,
        ])
          codes.set(query, (await socket.ask(query)).errors?.[0]?.extensions?.code);
      }
    await socket.dispose();
    expect([...codes].filter(([, code]) => code !== "GRAPHQL_VALIDATION_FAILED")).toEqual([]);
    expect(codes.size).toBeGreaterThan(100);
  });

  test("can have conditions inside its selection", async () => {
    const socket = await openSocket(api, ada.token);
    const { data, errors } = await socket.ask(
      "subscription { unreadCounts { __typename @skip(if: true) ... @include(if: false) { __typename } } }",
    );
    expect([errors, data]).toEqual([undefined, { unreadCounts: {} }]);
    await socket.dispose();
  });
});

test("returns an empty result for an operation whose conditions exclude every field", async () => {
  for (const [kind, type] of [
    ["query", schema.getQueryType()!],
    ["mutation", schema.getMutationType()!],
  ] as const) {
    const field = type.getFields()[kind === "query" ? "currentUser" : "logout"]!;
    const text =
      kind === "query"
        ? rendered(field, "@skip(if: true)")
        : "logout(input: {}) @skip(if: true) { __typename }";
    for (const query of [
      `${kind} { ${text} }`,
      `${kind} { ... @include(if: false) { ${text.replace("@skip(if: true)", "")} } }`,
      `${kind} { ...f } fragment f on ${type.name} { ${text} }`,
    ]) {
      const { data, errors } = await api.ask(query, { token: ada.token });
      expect([query, data, errors]).toEqual([query, {}, undefined]);
    }
  }
  expect((await api.ask("{ currentUser { id } }", { token: ada.token })).data.currentUser.id).toBe(
    ada.userId,
  );
});

test("reports a condition without its variable as the client's mistake", async () => {
  for (const query of [
    "query ($v: Boolean!) { currentUser @skip(if: $v) { id } }",
    "{ currentUser @skip(if: null) { id } }",
    "{ currentUser @skip { id } }",
  ])
    expect(codeOf(await api.ask(query, { token: ada.token }))).toMatch(
      /BAD_USER_INPUT|GRAPHQL_VALIDATION_FAILED/,
    );
});
