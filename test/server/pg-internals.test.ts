import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "@jest/globals";
import pg from "pg";
import { queryWithin } from "../../src/request/pg-internals/client.ts";
import {
  connectionOf,
  type PgConnection,
  type PgQuery,
  type PgQueryOptions,
  type PgUtils,
  prepareValue,
  Query,
  type RawRows,
} from "../../src/request/pg-internals/node-pg.ts";
import { queryRaw, queryRepeatedly } from "../../src/request/pg-internals/preparations.ts";
import {
  closeStatement,
  forgetStatement,
  isPrepared,
} from "../../src/request/pg-internals/prepared-names.ts";
import { PACKAGE_ROOT } from "../../src/support/paths.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";

// Everything that src/request/pg-internals/ uses of node-pg beyond its documentation, against a real connection. The types
// require a case for each member. If one fails after an upgrade of node-pg, that folder is the place to change.

let db: TestDatabase;
let client: pg.Client;
let connection: PgConnection;

beforeAll(async () => {
  db = await createTestDatabase();
});
beforeEach(async () => {
  client = new pg.Client({ connectionString: db.url("authenticator"), pipeline: true });
  await client.connect();
  connection = connectionOf(client);
});
afterEach(() => client.end());
afterAll(() => db.drop());

const ONE = { name: "one", text: "select 1 as n" };

/** A query that records how node-pg calls it. */
class Watched extends Query {
  readonly calls: [member: string, ...unknown[]][] = [];

  override submit(given: PgConnection): unknown {
    this.calls.push(["submit", given === connection]);
    return super.submit(given);
  }
  override handleDataRow(message: Parameters<PgQuery["handleDataRow"]>[0]): void {
    this.calls.push(["handleDataRow", message.fields]);
    super.handleDataRow(message);
  }
  override handleCommandComplete(message: unknown, given: PgConnection): void {
    this.calls.push(["handleCommandComplete", given === connection]);
    super.handleCommandComplete(message, given);
  }
  override handleCopyData(message: { readonly chunk: Buffer }, given: PgConnection): void {
    this.calls.push(["handleCopyData", message.chunk.toString(), given === connection]);
    super.handleCopyData(message, given);
  }
  override handleReadyForQuery(given: PgConnection): void {
    this.calls.push(["handleReadyForQuery", given === connection]);
    super.handleReadyForQuery(given);
  }
}

interface Outcome {
  readonly query: Watched;
  readonly error: unknown;
  readonly result: unknown;
}

function watch(config: ConstructorParameters<typeof Query>[0]): Promise<Outcome> {
  return new Promise((resolve) => {
    const query: Watched = new Watched(config, undefined, (error, result) =>
      // The calls behind the callback belong to the outcome too.
      setImmediate(resolve, { query, error, result }),
    );
    client.query(query as never);
  });
}

/** The calls of one member during a query of two rows. */
async function callsOf(member: keyof PgQuery) {
  const { query } = await watch({ ...ONE, text: "values (1, null), (2, 'b')" });
  return query.calls.filter(([name]) => name === member).map(([, ...args]) => args);
}

/** The types of the protocol messages that `use` sends. */
function messagesOf(use: (recorder: PgConnection) => void): string {
  const messages: Buffer[] = [];
  const recorder: PgConnection = Object.assign(Object.create(connection), {
    _send: (message: Buffer) => messages.push(message),
  });
  use(recorder);
  return messages.map((message) => String.fromCharCode(message[0]!)).join("");
}

const CONNECTION: Record<keyof PgConnection, () => Promise<void> | void> = {
  async stream() {
    connection.stream.cork();
    const answer = client.query(ONE);
    expect(connection.stream.writableLength).toBeGreaterThan(0);
    connection.stream.uncork();
    expect((await answer).rows).toEqual([{ n: 1 }]);
  },
  async parsedStatements() {
    await client.query(ONE);
    expect(connection.parsedStatements).toEqual({ one: ONE.text });
    // Without its entry the statement is prepared again, which the server refuses.
    delete connection.parsedStatements.one;
    await expect(client.query(ONE)).rejects.toMatchObject({ code: "42P05" });
  },
  async submittedNamedStatements() {
    const answer = client.query(ONE);
    expect(connection.submittedNamedStatements).toEqual({ one: ONE.text });
    await answer;
    expect(connection.submittedNamedStatements).toEqual({});
    // With an entry a statement is not prepared.
    connection.submittedNamedStatements.two = "select 2";
    await expect(client.query({ name: "two", text: "select 2" })).rejects.toMatchObject({ code: "26000" });
  },
  parse: () => expect(messagesOf((recorder) => recorder.parse(ONE))).toBe("P"),
  bind: () => expect(messagesOf((recorder) => recorder.bind({ statement: "one", values: ["1"] }))).toBe("B"),
  execute: () => expect(messagesOf((recorder) => recorder.execute({}))).toBe("E"),
  close: () => expect(messagesOf((recorder) => recorder.close({ type: "S", name: "one" }))).toBe("C"),
  sync: () => expect(messagesOf((recorder) => recorder.sync())).toBe("S"),
  async _send() {
    class Sending extends Watched {
      override submit(given: PgConnection): null {
        given.parse(ONE);
        given.bind({ statement: "one", values: [] });
        given.execute({});
        given.sync();
        return null;
      }
      // Nothing has described the rows.
      override handleDataRow({ fields }: Parameters<PgQuery["handleDataRow"]>[0]): void {
        this.calls.push(["handleDataRow", fields]);
      }
    }
    const query = await new Promise<Watched>((resolve, reject) => {
      const sending: Watched = new Sending(ONE, undefined, (error) =>
        error ? reject(error) : resolve(sending),
      );
      client.query(sending as never);
    });
    expect(query.calls).toContainEqual(["handleDataRow", ["1"]]);
  },
};

const QUERY: Record<keyof PgQuery, () => Promise<void> | void> = {
  name: () => expect(new Query(ONE, undefined, () => {}).name).toBe("one"),
  text: () => expect(new Query(ONE, undefined, () => {}).text).toBe(ONE.text),
  async callback() {
    expect(await watch(ONE)).toMatchObject({ error: null, result: { rows: [{ n: 1 }], rowCount: 1 } });
    expect((await watch({ text: "select 1 / 0" })).error).toMatchObject({ code: "22012" });
  },
  submit: async () => expect(await callsOf("submit")).toEqual([[true]]),
  async hasBeenParsed() {
    const query = new Query(ONE, undefined, () => {});
    expect(query.hasBeenParsed(connection)).toBeFalsy();
    const answer = client.query(ONE);
    expect(query.hasBeenParsed(connection)).toBe(true);
    await answer;
    expect(query.hasBeenParsed(connection)).toBe(true);
  },
  handleDataRow: async () => expect(await callsOf("handleDataRow")).toEqual([[["1", null]], [["2", "b"]]]),
  handleCommandComplete: async () => expect(await callsOf("handleCommandComplete")).toEqual([[true]]),
  handleReadyForQuery: async () => expect(await callsOf("handleReadyForQuery")).toEqual([[true]]),
  async handleCopyData() {
    const { query } = await watch({ text: "copy (values (1), (2)) to stdout" });
    const data = query.calls.filter(([name]) => name === "handleCopyData");
    expect(data.map(([, ...args]) => args)).toEqual([
      ["1\n", true],
      ["2\n", true],
    ]);
  },
};

const QUERY_OPTIONS: Record<keyof PgQueryOptions, () => Promise<void>> = {
  async queryMode() {
    const { error } = await watch({ text: "select 1; select 2", queryMode: "extended" });
    // Only a simple query may contain several statements.
    expect(error).toMatchObject({ code: "42601" });
    expect((await watch({ text: "select 1; select 2" })).error).toBeNull();
  },
  async query_timeout() {
    const hasEnded = new Promise((resolve) => client.once("end", resolve));
    client.on("error", () => {});
    await expect(queryWithin(client, "select pg_sleep(60)", 10)).rejects.toThrow("Query read timeout");
    // The answers of the statements behind it could not be told apart from its own.
    await hasEnded;
  },
};

const UTILS: Record<keyof PgUtils, () => void> = {
  prepareValue() {
    expect([null, undefined, "a", 1, true, [1, "a"], { a: 1 }].map((value) => prepareValue(value))).toEqual([
      null,
      null,
      "a",
      "1",
      "true",
      '{"1","a"}',
      '{"a":1}',
    ]);
    const bytes = Buffer.from("a");
    expect(prepareValue(bytes)).toBe(bytes);
  },
};

describe.each([
  ["connection", CONNECTION],
  ["query", QUERY],
  ["query's options", QUERY_OPTIONS],
  ["package", UTILS],
])("node-pg's %s", (_of, cases) => {
  test.each(Object.entries(cases))("has %s", async (_member, check) => {
    await check();
  });
});

test("node-pg pipelines subclasses of its own query only", async () => {
  expect((await watch(ONE)).error).toBeNull();
  const error = await new Promise((resolve) => {
    client.query({ submit: () => null, handleError: resolve, callback() {} } as never);
  });
  expect(error).toMatchObject({ message: expect.stringContaining("not supported in pipeline mode") });
});

describe("built on them", () => {
  const SETTING = {
    name: "setting",
    text: "select set_config('plinth.n', $1, false)",
    values: ["1"],
  };
  const READ = { text: "select current_setting('plinth.n') || $1 as n, null as nothing", values: ["!"] };

  test("a statement runs behind its preparations and returns its own rows, also raw", async () => {
    await client.query(SETTING);
    const outcome = await new Promise((resolve) => {
      queryRaw(client, READ, [{ ...SETTING, values: ["2"] }], (error, result, raw) =>
        resolve({ error, rows: result?.rows, raw }),
      );
    });
    expect(outcome).toEqual({ error: null, rows: [{ n: "2!", nothing: null }], raw: [["2!", null]] });
  });

  test("a statement is skipped when a preparation fails", async () => {
    const error = await new Promise((resolve) => {
      queryRaw(client, READ, [SETTING], resolve);
    });
    expect(error).toMatchObject({ code: "26000" });
    expect((await client.query(ONE)).rows).toEqual([{ n: 1 }]);
  });

  test("a repeated statement returns the rows of each run, and nothing from the first failure on", async () => {
    await client.query(SETTING);
    const runs = ["4", "2", "0", "1"].map((n) => [{ ...SETTING, values: [n] }]);
    const divide = { name: "divide", text: "select 8 / current_setting('plinth.n')::integer" };
    const outcome = await new Promise<{ error: unknown; answers: readonly RawRows[] }>((resolve) => {
      queryRepeatedly(client, divide, runs, (error, answers) => resolve({ error, answers }));
    });
    expect(outcome.error).toMatchObject({ code: "22012" });
    expect(outcome.answers).toEqual([[["2"]], [["4"]]]);
    expect(isPrepared(client, "divide")).toBe(true);
  });

  test("a forgotten statement is prepared again", async () => {
    expect(forgetStatement(client, "one")).toBe(false);
    await client.query(ONE);
    expect([isPrepared(client, "one"), forgetStatement(client, "one")]).toEqual([true, true]);
    expect(isPrepared(client, "one")).toBe(false);
    await client.query("deallocate one");
    expect((await client.query(ONE)).rows).toEqual([{ n: 1 }]);
  });

  test("a closed statement is gone, also in a failed transaction, and closing it again does no harm", async () => {
    await client.query(ONE);
    await client.query("begin");
    await expect(client.query("select 1 / 0")).rejects.toMatchObject({ code: "22012" });
    await closeStatement(client, "one");
    await closeStatement(client, "one");
    await client.query("rollback");
    const { rows } = await client.query("select name from pg_prepared_statements");
    expect(rows).toEqual([]);
  });

  test("an unnamed preparation is parsed where it runs, also in front of an unnamed statement that is repeated", async () => {
    const runs = ["4", "2"].map((n) => [{ ...SETTING, name: "", values: [n] }]);
    const divide = { text: "select 8 / current_setting('plinth.n')::integer" };
    const outcome = await new Promise<{ error: unknown; answers: readonly RawRows[] }>((resolve) => {
      queryRepeatedly(client, divide, runs, (error, answers) => resolve({ error, answers }));
    });
    expect(outcome).toEqual({ error: null, answers: [[["2"]], [["4"]]] });
    const { rows } = await client.query("select name from pg_prepared_statements");
    expect(rows).toEqual([]);
  });
});

/** Members that are ordinary words. They are reached only through the ways in below. */
const ORDINARY = new Set([
  ...["stream", "parse", "bind", "execute", "close", "sync", "name", "text", "callback", "submit"],
  // Also a documented option of connections.
  "query_timeout",
]);
const MEMBERS = [CONNECTION, QUERY, QUERY_OPTIONS, UTILS].flatMap((cases) => Object.keys(cases));
const DISTINCTIVE = [...MEMBERS.filter((member) => !ORDINARY.has(member)), "cork", "uncork"];
/** How code gets hold of node-pg's connections, queries and helpers. */
const WAYS_IN = [
  /\bconnectionOf\b/,
  /\bas unknown as \{[^}]*\bconnection\b/,
  /\bpg\.Query\b/,
  /\bpg as\b/,
  /\bextends Query\b/,
];
const PACKAGES = /["'](pg\/lib|pg\/esm|pg-protocol|pg-pool)\b/;
const NAMES = new RegExp(`\\b(${DISTINCTIVE.join("|")})\\b`);
const INTERNALS = "src/request/pg-internals/";

const FILES = ["src", "plugins", "bench", "examples"].flatMap((root) =>
  readdirSync(join(PACKAGE_ROOT, root), { recursive: true, encoding: "utf8" })
    .filter((file) => /\.(ts|js|mjs)$/.test(file) && !file.includes("node_modules"))
    .map((file) => `${root}/${file.replaceAll("\\", "/")}`),
);
const matching = (pattern: RegExp) =>
  FILES.filter((file) => pattern.test(readFileSync(join(PACKAGE_ROOT, file), "utf8")));

test.each([...WAYS_IN, NAMES])("only pg-internals matches %s", (pattern) => {
  const files = matching(pattern);
  expect(files).not.toEqual([]);
  expect(files.filter((file) => !file.startsWith(INTERNALS))).toEqual([]);
});

test("no file imports the inner modules of node-pg", () => {
  expect(FILES.length).toBeGreaterThan(200);
  expect(matching(PACKAGES)).toEqual([]);
  expect(PACKAGES.test('import { serialize } from "pg-protocol";')).toBe(true);
});
