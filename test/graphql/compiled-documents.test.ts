import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { pino } from "pino";
import { makeSchema } from "postgraphile";
import { type GraphQLSchema, lexicographicSortSchema } from "postgraphile/graphql";
import { loadConfig } from "../../src/config/config.ts";
import { type CompiledDocuments, createCompiledDocuments } from "../../src/graphql/compiled-documents.ts";
import { parserOf } from "../../src/graphql/limits/parse-and-validate.ts";
import { makePreset } from "../../src/graphql/preset.ts";
import { contextWithoutRequest } from "../../src/request/context.ts";
import { createPool } from "../../src/request/pool.ts";
import type { Statement } from "../../src/request/transaction.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";

// Which operations become one statement, and when. That their answers are the same as those of planned operations is held by
// random-operations.test.ts.

const config = loadConfig({});
const logger = pino({ level: "silent" });
const ID = "00000000-0000-7000-8000-000000000001";
const CHATS = "query ($n: Int) { chats(first: $n) { nodes { id } } }";
const CHAT = "query ($id: UUID!) { chat(id: $id) { id title } }";

let db: TestDatabase;
let schema: GraphQLSchema;

beforeAll(async () => {
  db = await createTestDatabase();
  schema = await buildSchema();
});
afterAll(() => db.drop());

async function buildSchema(plugins: GraphileConfig.Plugin[] = []): Promise<GraphQLSchema> {
  const pool = createPool({
    url: db.url("authenticator"),
    applicationName: "plinth tests",
    max: 1,
    settings: config.pool,
    onError: () => {},
  });
  try {
    const preset = makePreset({ pool, config: { ...config, rolePrefix: db.rolePrefix }, logger });
    return (await makeSchema({ extends: [preset], plugins })).schema;
  } finally {
    await pool.end();
  }
}

interface Compiler extends CompiledDocuments {
  /** Statements that were sent, oldest first. */
  readonly sent: Statement[];
  readonly planned: number[];
}

function createCompiler(
  options: { schema?: GraphQLSchema; usesBefore?: number; fails?: boolean; cost?: number } = {},
): Compiler {
  const { usesBefore = 0, fails = false, cost = config.limits.cost } = options;
  const sent: Statement[] = [];
  const planned: number[] = [];
  const limits = { ...config.limits, cost };
  const compiled = createCompiledDocuments({
    schema: options.schema ?? schema,
    parseAndValidate: parserOf(options.schema ?? schema, limits, config.http),
    limits,
    settingsFor: () => ({}),
    recordReads: async () => {},
    async send(_settings, statement) {
      sent.push(statement);
      if (fails) throw new Error("The connection is lost.");
      return { rows: [['{"a":1}']], rowCount: 1, notices: [] };
    },
    onPlan: (_request, fields) => planned.push(fields),
    logger,
    usesBefore,
  });
  return { ...compiled, sent, planned };
}

const ask = (compiler: Compiler, query: string, variables: Record<string, unknown> = {}, isNamed = false) =>
  compiler.answer({ query, variables }, contextWithoutRequest(), isNamed);

test("the text of the statement's value is the response's data, without being parsed", async () => {
  expect(await ask(createCompiler(), CHAT, { id: ID })).toBe('{"data":{"a":1}}');
});

test("a document is compiled once it has been used often enough, and at once if it is named by its hash [A15]", async () => {
  const compiler = createCompiler({ usesBefore: 2 });
  const answers = [1, 2, 3, 4].map(() => ask(compiler, CHAT, { id: ID }));
  expect((await Promise.all(answers)).map((answer) => answer !== undefined)).toEqual([
    false,
    false,
    true,
    true,
  ]);
  expect(await ask(createCompiler({ usesBefore: 2 }), CHAT, { id: ID }, true)).toBeDefined();
});

test("each statement is compiled once and charged to the client", async () => {
  const compiler = createCompiler();
  for (let i = 0; i < 3; i++) await ask(compiler, CHAT, { id: ID });
  expect(compiler.planned).toEqual([3]);
});

test("requests that differ in the id of a row share a statement", async () => {
  const compiler = createCompiler();
  const other = ID.replace(/1$/, "2");
  await ask(compiler, CHAT, { id: ID });
  await ask(compiler, CHAT, { id: other });
  const [first, second] = compiler.sent;
  expect(second!.text).toBe(first!.text);
  expect(second!.name).toBe(first!.name);
  expect([first!.values, second!.values]).toEqual([[ID], [other]]);
});

test.each([
  ["a page size", CHATS, { n: 1 }, { n: 2 }],
  [
    "a condition",
    "query ($yes: Boolean!) { chats { nodes { id title @include(if: $yes) } } }",
    { yes: true },
    { yes: false },
  ],
  [
    "a filter that is absent",
    "query ($f: ChatFilter) { chats(filter: $f) { nodes { id } } }",
    { f: { title: { equalTo: "a" } } },
    {},
  ],
])("requests that differ in %s have different statements", async (_what, query, one, other) => {
  const compiler = createCompiler();
  await ask(compiler, query, one);
  await ask(compiler, query, other);
  await ask(compiler, query, one);
  const [first, second, third] = compiler.sent;
  expect(second!.text).not.toBe(first!.text);
  expect(third).toEqual(first);
  expect(compiler.planned).toHaveLength(2);
});

test("a default of an argument is not confused with null", async () => {
  const compiler = createCompiler();
  const query = "query ($order: [ChatOrderBy!]) { chats(orderBy: $order) { nodes { id } } }";
  for (const variables of [{}, { order: null }, { order: ["TITLE_DESC"] }])
    await ask(compiler, query, variables);
  expect(compiler.planned).toHaveLength(3);
});

test("all root fields are in one statement, which sees one snapshot", async () => {
  const compiler = createCompiler();
  await ask(compiler, "{ chats { nodes { id messages { nodes { id } } } } models { totalCount } }");
  expect(compiler.sent).toHaveLength(1);
});

test("a total without rows is one value for any number of rows", async () => {
  const compiler = createCompiler();
  await ask(compiler, "{ chats(last: 1) { totalCount pageInfo { hasNextPage } } }");
  expect(compiler.sent[0]!.text).not.toMatch(/ limit /);
});

test("texts that clients choose are not kept", async () => {
  const compiler = createCompiler();
  const setOfMap = Map.prototype.set;
  const kept: unknown[] = [];
  // pg-sql2 keeps templates in maps of its own, without a limit.
  Map.prototype.set = function (key, value) {
    if (typeof key === "string" && key.includes("alias_of_a_client") && !key.startsWith("{")) kept.push(key);
    return setOfMap.call(this, key, value);
  };
  try {
    await ask(compiler, "{ alias_of_a_client: chats { nodes { id } } }");
  } finally {
    Map.prototype.set = setOfMap;
  }
  expect(compiler.sent[0]!.text).toContain("alias_of_a_client");
  expect(kept.filter((key) => key !== "alias_of_a_client")).toEqual([]);
});

test("values of a filter are bound, never part of the text", async () => {
  const compiler = createCompiler();
  await ask(compiler, "query ($t: String!) { chats(filter: { title: { equalTo: $t } }) { nodes { id } } }", {
    t: "'; drop table llm.chats; --",
  });
  const [{ text, values }] = compiler.sent as [Statement];
  expect(text).not.toContain("drop table");
  expect(values).toContain("'; drop table llm.chats; --");
});

describe("is planned instead", () => {
  test.each([
    ["a mutation", "mutation { logout(input: {}) { clientMutationId } }"],
    ["a field of the schema itself", "{ __schema { queryType { name } } }"],
    ["a field whose value this process computes", "{ conversationMemory { memory } }"],
    ["a function with arguments", '{ hasConsent(purpose: "marketing") }'],
    ["a list of which nothing is read, so that nothing would be denied", "{ payments { __typename } }"],
    ["a page info that needs no rows", "{ payments { pageInfo { hasPreviousPage } } }"],
    ["`first` and `last` together", "{ chats(first: 2, last: 1) { nodes { id } } }"],
    ["a wrong cursor", '{ chats(after: "x") { nodes { id } } }'],
    ["a page that is too large", "{ chats(first: 100000) { nodes { id } } }"],
    ["an invalid document", "{ chats { nodes { nothing } } }"],
    ["a text that is no document", "{"],
  ])("%s", async (_what, query) => {
    const compiler = createCompiler();
    expect(await ask(compiler, query)).toBeUndefined();
    expect(compiler.sent).toEqual([]);
  });

  test("an operation with a wrong variable", async () => {
    const compiler = createCompiler();
    for (const id of ["no id", null, undefined, "\ud800"])
      expect(await ask(compiler, CHAT, { id })).toBeUndefined();
    expect(compiler.sent).toEqual([]);
    expect(await ask(compiler, CHAT, { id: ID })).toBeDefined();
  });

  test("null in a variable with a default, where a value is required", async () => {
    const compiler = createCompiler();
    const query = `query ($id: UUID = "${ID}") { chat(id: $id) { id } }`;
    expect(await ask(compiler, query)).toBeDefined();
    expect(await ask(compiler, query, { id: null })).toBeUndefined();
    expect(compiler.sent.map(({ values }) => values)).toEqual([[ID]]);
  });

  test("an operation that costs too much", async () => {
    expect(await ask(createCompiler({ cost: 10 }), "{ chats { nodes { id } } }")).toBeUndefined();
  });

  test("an operation whose statement fails, for ever longer", async () => {
    const compiler = createCompiler({ usesBefore: 1, fails: true });
    const tried: number[] = [];
    for (let use = 1; use <= 100; use++) {
      const before = compiler.sent.length;
      expect(await ask(compiler, CHAT, { id: ID })).toBeUndefined();
      if (compiler.sent.length > before) tried.push(use);
    }
    expect(tried).toEqual([2, 7, 24, 89]);
  });

  test("an operation whose statement fails, also if each request needs another statement", async () => {
    const compiler = createCompiler({ fails: true });
    for (let n = 1; n <= 80; n++) expect(await ask(compiler, CHATS, { n })).toBeUndefined();
    expect(compiler.sent).toHaveLength(3);
  });

  test("a document that is too long to be kept, even if a client names it", async () => {
    const compiler = createCompiler();
    const query = `{ chats { nodes { id } } }${" ".repeat(20_000)}`;
    for (let i = 0; i < 3; i++) expect(await ask(compiler, query, {}, true)).toBeUndefined();
  });

  test("an operation that other variables make impossible, but only with them or for a while", async () => {
    const query =
      "query ($skipped: Int, $after: Cursor) { chats(offset: $skipped, last: 1, after: $after) { nodes { id } } }";
    const compiler = createCompiler();
    expect(await ask(compiler, query, {})).toBeDefined();
    for (let i = 0; i < 10; i++) expect(await ask(compiler, query, { after: "x" })).toBeUndefined();
    expect(await ask(compiler, query, {})).toBeDefined();
    expect(await ask(compiler, query, { skipped: 2 })).toBeUndefined();
    const answers = await Promise.all(Array.from({ length: 6 }, () => ask(compiler, query, {})));
    expect(answers.filter((answer) => answer !== undefined)).toHaveLength(2);
  });

  test("a field whose plan another plugin replaces", async () => {
    const wrapped = await buildSchema([
      {
        name: "WrapsTitlesPlugin",
        version: "1.0.0",
        schema: {
          hooks: {
            GraphQLObjectType_fields_field(field, _build, { Self, scope }) {
              if (Self.name !== "Chat" || scope.fieldName !== "title") return field;
              return {
                ...field,
                plan: ($chat: { get(name: string): never }) => $chat.get("title"),
              } as typeof field;
            },
          },
        },
      },
    ]);
    expect(await ask(createCompiler({ schema: wrapped }), "{ chats { nodes { title } } }")).toBeUndefined();
    expect(await ask(createCompiler({ schema: wrapped }), "{ chats { nodes { id } } }")).toBeDefined();
  });

  test("everything, with a schema that does not come from the plugin", async () => {
    const other = lexicographicSortSchema(schema);
    Object.assign(other, { extensions: {} });
    expect(await ask(createCompiler({ schema: other }), CHAT, { id: ID })).toBeUndefined();
  });
});

test("a list with an own-rows policy and a permission has a query for each, in one statement", async () => {
  const compiler = createCompiler();
  await ask(compiler, "{ payments { nodes { id } } }");
  const [{ text }] = compiler.sent as [Statement];
  expect(text).toMatch(
    /case when \(select access\.has_permission\(.*\)\) then .* else .*current_user_id.* end/s,
  );
});
