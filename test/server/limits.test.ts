import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { getIntrospectionQuery } from "postgraphile/graphql";
import { type Api, codeOf, type SignedIn, signUp, startApi } from "../support/api.ts";
import { createTestDatabase, type TestDatabase, withClient } from "../support/database.ts";
import { processorTimeOf } from "../support/work-of.ts";

let db: TestDatabase;
let api: Api;
let ada: SignedIn;

beforeAll(async () => {
  db = await createTestDatabase();
  api = await startApi(db, {
    PLINTH_LIMIT_PAGE_SIZE: "20",
    PLINTH_LIMIT_COST: "5000",
    PLINTH_LIMIT_FIELDS: "200",
    PLINTH_LIMIT_ROOT_FIELDS: "5",
    PLINTH_LIMIT_DEPTH: "8",
  });
  ada = await signUp(api, "ada");
  await withClient(db.url("owner"), (client) =>
    client.query(
      "insert into llm.chats (user_id, title) select $1, 'chat ' || i from generate_series(1, 30) i",
      [ada.userId],
    ),
  );
});
afterAll(async () => {
  await api.close();
  await db.drop();
});

const askAda = (query: string, variables?: Record<string, unknown>) =>
  api.ask(query, { token: ada.token, ...(variables && { variables }) });
const code = async (query: string, variables?: Record<string, unknown>) =>
  codeOf(await askAda(query, variables));

describe("page size", () => {
  const declare = (args: string) => {
    const used = ["n", "m"].filter((name) => args.includes(`$${name}`)).map((name) => `$${name}: Int`);
    return used.length > 0 ? `query (${used.join(", ")})` : "query";
  };
  const count = async (args: string, variables?: Record<string, unknown>) => {
    const { data, text } = await askAda(`${declare(args)} { chats${args} { nodes { title } } }`, variables);
    return data ? data.chats.nodes.length : text;
  };

  test.each<[string, Record<string, unknown> | undefined, number]>([
    ["", undefined, 20],
    ["(first: 20)", undefined, 20],
    ["(first: 0)", undefined, 0],
    ["(last: 3)", undefined, 3],
    ["(first: null)", undefined, 20],
    ["(first: null, last: null)", undefined, 20],
    ["(first: $n)", {}, 20],
    ["(first: $n)", { n: null }, 20],
    ["(first: $n)", { n: 7 }, 7],
    ["(first: $n, last: $m)", { m: 4 }, 4],
    ["(offset: 25)", undefined, 5],
    ["(filter: { updatedAt: { isNull: false } })", undefined, 20],
  ])("of chats%s with %j is %i", async (args, variables, expected) => {
    expect(await count(args, variables)).toBe(expected);
  });

  test("applies to a page before a cursor without a size", async () => {
    const { data } = await askAda("{ chats(last: 1) { pageInfo { startCursor } } }");
    const before = JSON.stringify(data.chats.pageInfo.startCursor);
    expect(await count(`(before: ${before})`)).toBe(20);
  });

  test.each<[string, Record<string, unknown> | undefined, string]>([
    ["(first: 21)", undefined, "PAGE_TOO_LARGE"],
    ["(last: 21)", undefined, "PAGE_TOO_LARGE"],
    ["(first: $n)", { n: 21 }, "PAGE_TOO_LARGE"],
    ["(last: $n)", { n: 1_000_000 }, "PAGE_TOO_LARGE"],
    ["(first: -1)", undefined, "BAD_USER_INPUT"],
    ["(last: $n)", { n: -1 }, "BAD_USER_INPUT"],
    ["(first: 1, last: 1)", undefined, "BAD_USER_INPUT"],
    ["(first: $n, last: $m)", { n: 1, m: 1 }, "BAD_USER_INPUT"],
    ['(first: 1, before: "x")', undefined, "BAD_USER_INPUT"],
    ['(after: "x", before: "x")', undefined, "BAD_USER_INPUT"],
  ])("of chats%s with %j returns %s", async (args, variables, expected) => {
    expect(await code(`${declare(args)} { chats${args} { nodes { title } } }`, variables)).toBe(expected);
  });

  test("depends on the default of a variable", async () => {
    expect(await code("query ($n: Int = 21) { chats(first: $n) { nodes { title } } }")).toBe(
      "PAGE_TOO_LARGE",
    );
  });

  test("applies to nested connections, fragments and mutation payloads", async () => {
    expect(await code("{ currentUser { chats(first: 21) { totalCount } } }")).toBe("PAGE_TOO_LARGE");
    expect(await code("{ ...f } fragment f on Query { chats(first: 21) { totalCount } }")).toBe(
      "PAGE_TOO_LARGE",
    );
    expect(await code("mutation { logout(input: {}) { query { chats(first: 21) { totalCount } } } }")).toBe(
      "PAGE_TOO_LARGE",
    );
    expect(
      (await askAda("{ currentUser { chats { nodes { title } } } }")).data.currentUser.chats.nodes,
    ).toHaveLength(20);
  });
});

describe("cost", () => {
  test("multiplies pages through nesting", async () => {
    const nested = (outer: number, inner: number) =>
      `{ chats(first: ${outer}) { nodes { messages(first: ${inner}) { nodes { id chat { id title } } } } } }`;
    expect((await askAda(nested(10, 20))).errors).toBeUndefined();
    expect(await code(nested(20, 20).replace("{ id title }", "{ id title messages { nodes { id } } }"))).toBe(
      "QUERY_TOO_COMPLEX",
    );
  });

  test("depends on the variables for the same text", async () => {
    const query =
      "query ($n: Int) { chats(first: $n) { nodes { messages(first: $n) { nodes { id role content chat { id title isArchived updatedAt createdAt userId nodeId } tokensUsed createdAt } } } } }";
    expect((await askAda(query, { n: 2 })).errors).toBeUndefined();
    expect(await code(query, { n: 20 })).toBe("QUERY_TOO_COMPLEX");
    expect((await askAda(query, { n: 2 })).errors).toBeUndefined();
  });

  test("counts every alias", async () => {
    const alias = (i: number) =>
      `a${i}: chats { nodes { id title isArchived createdAt updatedAt userId nodeId messages(first: 10) { nodes { id } } } }`;
    expect((await askAda(`{ ${alias(0)} }`)).errors).toBeUndefined();
    expect(
      await code(
        `{ ${Array.from({ length: 5 }, (_, i) => alias(i)).join(" ")} ${"..."} on Query { currentUser { chats { nodes { messages { nodes { id role content } } } } } } }`,
      ),
    ).toBe("QUERY_TOO_COMPLEX");
  });

  test("counts conditions of filters, literal or variable", async () => {
    const many = Array.from({ length: 201 }, () => ({ updatedAt: { isNull: false } }));
    expect(
      await code("query ($f: ChatFilter) { chats(filter: $f) { totalCount } }", { f: { or: many } }),
    ).toBe("QUERY_TOO_COMPLEX");
    expect(
      (
        await askAda("query ($f: ChatFilter) { chats(filter: $f) { totalCount } }", {
          f: { or: many.slice(0, 50) },
        })
      ).data,
    ).toEqual({ chats: { totalCount: 30 } });
  });

  test("survives filters nested deeper than any stack", async () => {
    let filter = '{"updatedAt":{"isNull":false}}';
    for (let i = 0; i < 20_000; i++) filter = `{"and":[${filter}]}`;
    const response = await fetch(`${api.url}/graphql`, {
      method: "POST",
      headers: { "content-type": "application/json", authorization: `Bearer ${ada.token}` },
      body: `{"query":"query ($f: ChatFilter) { chats(filter: $f) { totalCount } }","variables":{"f":${filter}}}`,
    });
    const { errors } = (await response.json()) as { errors: { extensions: { code: string } }[] };
    expect(errors[0]!.extensions.code).toBe("QUERY_TOO_COMPLEX");
    expect((await askAda("{ __typename }")).data).toEqual({ __typename: "Query" });
  });
});

/**
 * The processor time of a request as a multiple of that of a request which is as long and does nothing: a slow machine takes longer
 * for both. Without a limit, the requests below would take thousands of times as long.
 */
async function effortOf(text: string, ask: () => Promise<unknown>): Promise<number> {
  const idle = await processorTimeOf(() => askAda(`{ __typename } #${"x".repeat(text.length)}`));
  const spent = await processorTimeOf(ask);
  return spent / idle;
}

describe("width", () => {
  const fields = (count: number) => Array.from({ length: count }, (_, i) => `a${i}: id`).join(" ");

  test("counts root fields, through fragments and aliases", async () => {
    expect(
      (await askAda(`{ ${Array.from({ length: 5 }, (_, i) => `a${i}: nodeId`).join(" ")} }`)).errors,
    ).toBeUndefined();
    expect(await code(`{ ${Array.from({ length: 6 }, (_, i) => `a${i}: nodeId`).join(" ")} }`)).toBe(
      "QUERY_TOO_COMPLEX",
    );
    expect(await code("{ ...f ...f ...f } fragment f on Query { a: nodeId b: nodeId }")).toBe(
      "QUERY_TOO_COMPLEX",
    );
  });

  test("counts fields", async () => {
    expect((await askAda(`{ currentUser { ${fields(190)} } }`)).errors).toBeUndefined();
    expect(await code(`{ currentUser { ${fields(200)} } }`)).toBe("QUERY_TOO_COMPLEX");
  });

  test("counts a fragment for each spread, without expanding it endlessly", async () => {
    const layers = Array.from(
      { length: 30 },
      (_, i) => `fragment f${i} on User { ...f${i + 1} ...f${i + 1} }`,
    ).join(" ");
    const text = `{ currentUser { ...f0 } } ${layers} fragment f30 on User { id }`;
    const effort = await effortOf(text, async () => expect(await code(text)).toBe("QUERY_TOO_COMPLEX"));
    expect(effort).toBeLessThan(50);
  });

  test("leaves fragment cycles to validation", async () => {
    expect(
      await code("{ currentUser { ...a } } fragment a on User { id ...b } fragment b on User { id ...a }"),
    ).toBe("GRAPHQL_VALIDATION_FAILED");
  });

  test.each([
    ["fields with one name", () => `{ currentUser { ${"id ".repeat(50_000)} } }`],
    ["braces", () => `{ ${"a { ".repeat(5_000)}`],
    ["brackets", () => `{ chats(filter: { or: ${"[".repeat(5_000)} ) { totalCount } }`],
    ["comments", () => `${"# x\n".repeat(20_000)}{ ${"nodeId ".repeat(10_000)} }`],
  ])("rejects a text of too many %s quickly", async (_what, text) => {
    const effort = await effortOf(text(), async () =>
      expect(await code(text())).toMatch(/^(QUERY_TOO_COMPLEX|GRAPHQL_PARSE_FAILED)$/),
    );
    expect(effort).toBeLessThan(50);
  });

  test("applies to each of several operations in one document", async () => {
    expect(
      await code(
        `query a { nodeId } query b { ${Array.from({ length: 6 }, (_, i) => `a${i}: nodeId`).join(" ")} }`,
      ),
    ).toBe("QUERY_TOO_COMPLEX");
  });

  test("rejects a list of operations", async () => {
    const response = await fetch(`${api.url}/graphql`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify([{ query: "{ nodeId }" }, { query: "{ nodeId }" }]),
    });
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({ errors: [{ extensions: { code: "BAD_REQUEST" } }] });
  });
});

describe("fields that hash a password", () => {
  const INPUT = `(input: { roomId: "${randomUUID()}", password: "open sesame" }) { query { __typename } }`;
  test.each(["joinRoomWithPassword", "setRoomPassword"])(
    "%s is allowed once per operation",
    async (field) => {
      expect(await code(`mutation { a: ${field}${INPUT} b: ${field}${INPUT} }`)).toBe("QUERY_TOO_COMPLEX");
      const [once] = (await askAda(`mutation { a: ${field}${INPUT} }`)).errors!;
      expect(["INVALID_CREDENTIALS", "NOT_FOUND"]).toContain(once!.extensions.code);
    },
  );
});

describe("depth", () => {
  test("is capped", async () => {
    const deep = (levels: number): string => (levels === 0 ? "nodeId" : `query { ${deep(levels - 1)} }`);
    expect(await code(`{ ${deep(9)} }`)).toBe("QUERY_TOO_COMPLEX");
    expect(
      (await askAda("{ currentUser { chats(first: 2) { nodes { messages(first: 2) { nodes { id } } } } } }"))
        .errors,
    ).toBeUndefined();
  });

  test("is capped through fragments", async () => {
    expect(
      await code(
        `{ currentUser { chats { nodes { ...c } } } }
         fragment c on Chat { user { chats { nodes { user { chats { nodes { user { id } } } } } } } }`,
      ),
    ).toBe("QUERY_TOO_COMPLEX");
  });
});

describe("introspection", () => {
  const FULL = getIntrospectionQuery({
    descriptions: true,
    specifiedByUrl: true,
    directiveIsRepeatable: true,
    schemaDescription: true,
    inputValueDeprecation: true,
    oneOf: true,
  });

  test("is within the limits as tools send it", async () => {
    const { data, errors } = await api.ask(FULL);
    expect(errors).toBeUndefined();
    expect(data.__schema.queryType.name).toBe("Query");
  });

  test("is itself limited in depth and width", async () => {
    expect(
      await code(
        "{ __schema { types { fields { type { fields { type { fields { type { name } } } } } } } } }",
      ),
    ).toBe("GRAPHQL_VALIDATION_FAILED");
    const wide = Array.from({ length: 1_001 }, (_, i) => `a${i}: description`).join(" ");
    expect(await code(`{ __schema { ${wide} } }`)).toBe("QUERY_TOO_COMPLEX");
  });

  test("is rejected for every caller when switched off, without revealing names", async () => {
    const closed = await startApi(db, { PLINTH_INTROSPECTION: "false" });
    try {
      for (const token of [undefined, ada.token]) {
        expect(codeOf(await closed.ask("{ __schema { __typename } }", { token }))).toBe(
          "GRAPHQL_VALIDATION_FAILED",
        );
        expect(codeOf(await closed.ask('{ __type(name: "User") { __typename } }', { token }))).toBe(
          "GRAPHQL_VALIDATION_FAILED",
        );
      }
      const misspelt = await closed.ask("{ chat { titel } userz { nodes { id } } }", { token: ada.token });
      expect(misspelt.text).not.toMatch(/Did you mean/);
      expect((await closed.ask("{ __typename }")).data).toEqual({ __typename: "Query" });
    } finally {
      await closed.close();
    }
  });
});
