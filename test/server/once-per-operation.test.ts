import { afterAll, beforeAll, expect, test } from "@jest/globals";
import {
  buildSchema,
  type GraphQLField,
  getNamedType,
  isInputObjectType,
  isObjectType,
} from "postgraphile/graphql";
import { printGraphqlSchema } from "../../src/schema-dump/graphql-schema.ts";
import { type Api, codeOf, startApi } from "../support/api.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";

// Aliases must not bypass the limits on requests: a field that costs a password hash, a guess, an email or a call to another
// server is allowed once per operation. The test walks all mutations of the schema, so a new one needs no entry here.

type Mutation = GraphQLField<unknown, unknown>;

let db: TestDatabase;
let api: Api;
let mutations: readonly Mutation[];

beforeAll(async () => {
  db = await createTestDatabase();
  api = await startApi(db);
  const sdl = await printGraphqlSchema({
    authenticatorUrl: db.url("authenticator"),
    rolePrefix: db.rolePrefix,
  });
  mutations = Object.values(buildSchema(sdl).getMutationType()!.getFields());
});
afterAll(async () => {
  await api.close();
  await db.drop();
});

/** Each generated mutation is one SQL statement; its input has a `clientMutationId`. */
function isGenerated({ type }: Mutation): boolean {
  const payload = getNamedType(type);
  return isObjectType(payload) && "clientMutationId" in payload.getFields();
}

/** The rejection comes before validation, so neither arguments nor selections have to be valid. */
async function codeOfTwice(
  field: string,
  spelling = `mutation { a: ${field} b: ${field} }`,
): Promise<string> {
  return codeOf(await api.ask(spelling));
}

test("allows every mutation that the process performs itself once per operation", async () => {
  const own = mutations.filter((mutation) => !isGenerated(mutation)).map(({ name }) => name);
  expect(own.length).toBeGreaterThan(20);
  const repeatable = [];
  for (const name of own) if ((await codeOfTwice(name)) !== "QUERY_TOO_COMPLEX") repeatable.push(name);
  expect(repeatable).toEqual([]);
});

test("counts two different ones together, also through fragments", async () => {
  expect(await codeOfTwice("", "mutation { login register }")).toBe("QUERY_TOO_COMPLEX");
  expect(
    await codeOfTwice(
      "",
      "mutation { ...a ...b } fragment a on Mutation { login } fragment b on Mutation { login }",
    ),
  ).toBe("QUERY_TOO_COMPLEX");
});

test("allows repeated generated mutations", async () => {
  const generated = mutations.filter(isGenerated).map(({ name }) => name);
  expect(generated.length).toBeGreaterThan(100);
  const refused = [];
  for (const name of generated) if ((await codeOfTwice(name)) === "QUERY_TOO_COMPLEX") refused.push(name);
  expect(refused).toEqual([]);
});

test("generates no mutation that takes a secret, which a client could guess through aliases", () => {
  const takesSecret = mutations.filter(isGenerated).filter(({ args }) =>
    args.some(({ type }) => {
      const input = getNamedType(type);
      return (
        isInputObjectType(input) &&
        Object.keys(input.getFields()).some((name) =>
          /password|secret|credential|proof|token$|^code$/i.test(name),
        )
      );
    }),
  );
  expect(takesSecret.map(({ name }) => name)).toEqual([]);
});

test("states the limit in the description", () => {
  for (const mutation of mutations)
    expect([mutation.name, /may contain this field only once/.test(mutation.description ?? "")]).toEqual([
      mutation.name,
      !isGenerated(mutation),
    ]);
});
