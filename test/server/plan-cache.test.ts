import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { pino } from "pino";
import { makeSchema } from "postgraphile";
import { execute, hookArgs } from "postgraphile/grafast";
import { type GraphQLSchema, parse } from "postgraphile/graphql";
import { loadConfig } from "../../src/config/config.ts";
import { makePreset } from "../../src/graphql/preset.ts";
import { createPool } from "../../src/request/pool.ts";
import { codeOf, startApi } from "../support/api.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";

let db: TestDatabase;
beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(() => db.drop());

/** Fields that no other query has. */
const wide = (name: string, length = 400) =>
  `{ models(first: 1) { nodes { ${Array.from({ length }, (_, i) => `${name}_${i}: id`).join(" ")} } } }`;

test("forgets plans of ever new wide operations in time and keeps those of a few", async () => {
  const config = { ...loadConfig({}), rolePrefix: db.rolePrefix };
  const pool = createPool({
    url: db.url("authenticator"),
    applicationName: "plan cache test",
    max: 1,
    settings: config.pool,
    onError: () => {},
  });
  const planned: number[] = [];
  const { schema, resolvedPreset } = await makeSchema({
    extends: [
      makePreset({
        pool,
        config,
        logger: pino({ level: "silent" }),
        onPlan: (_request, fields) => planned.push(fields),
      }),
    ],
    // The limit of a real server would make this a test of the machine's speed.
    grafast: { timeouts: { planning: 60_000 } },
  });
  const run = async (text: string, document = parse(text)) => {
    const args = { schema, document, resolvedPreset, requestContext: {}, contextValue: {} };
    expect(await execute(await hookArgs(args))).not.toHaveProperty("errors");
    return document;
  };
  const caches = new Set<unknown>();
  const noteCache = (of: GraphQLSchema) => caches.add(of.extensions.grafast);

  const first = await run(wide("first"));
  noteCache(schema);
  await run("", first);
  expect(planned).toEqual([402]);
  for (let i = 0; i < 60; i++) {
    await run(wide(`a${i}`));
    noteCache(schema);
  }
  expect(planned).toHaveLength(61);
  // 61 operations of 402 fields are more than twice the size of the cache.
  expect(caches.size).toBe(3);
  await pool.end();
});

test("counts planning against the client's rate limit", async () => {
  const api = await startApi(db, {
    PLINTH_RATE_LIMIT_REQUESTS: "12",
    PLINTH_RATE_LIMIT_WINDOW_SECONDS: "86400",
  });
  try {
    // 1 + 102 / 25 requests each; a repetition counts as one request. A busy machine must plan each within a server's two seconds.
    for (const name of ["a", "a", "b", "c"])
      expect(await api.ask(wide(name, 100))).toMatchObject({ status: 200, errors: undefined });
    expect(codeOf(await api.ask("{ __typename }"))).toBe("RATE_LIMITED");
  } finally {
    await api.close();
  }
});
