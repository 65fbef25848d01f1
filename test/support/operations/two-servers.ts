import { readFileSync } from "node:fs";
import { join } from "node:path";
import { buildSchema, type GraphQLSchema } from "postgraphile/graphql";
import { API_SCHEMAS } from "../../../src/graphql/preset.ts";
import { PACKAGE_ROOT } from "../../../src/support/paths.ts";
import { seedActors } from "../access-seed.ts";
import { startApi } from "../api.ts";
import { createTestDatabase } from "../test-database.ts";
import type { Send } from "./compare-answers.ts";
import { multiplyRows } from "./rich-rows.ts";

/** How the two servers differ: their settings. The walk holds that no answer shows it. */
export const SETTINGS: Readonly<Record<"a" | "b", Readonly<Record<string, string>>>> = { a: {}, b: {} };

/** Two owners of rows, a visitor, and an administrator. */
export const USERS = ["ada", "bob", "visitor", "admin"] as const;

/** Walks send more than a client may. */
const NO_RATE_LIMIT = { PLINTH_RATE_LIMIT_REQUESTS: "10000000", PLINTH_STATEMENT_TIMEOUT_MS: "60000" };

export interface TwoServers {
  readonly schema: GraphQLSchema;
  readonly send: Readonly<Record<"a" | "b", Send>>;
  close(): Promise<void>;
}

/** Starts two servers on one database with rows that are hard to write as JSON. */
export async function openTwoServers(seed: number, settings = SETTINGS): Promise<TwoServers> {
  const db = await createTestDatabase();
  const actors = await seedActors(db);
  await multiplyRows(db, API_SCHEMAS, seed);
  const [a, b] = await Promise.all(
    [settings.a, settings.b].map((own) => startApi(db, { ...NO_RATE_LIMIT, ...own })),
  );
  const sendTo =
    (api: typeof a): Send =>
    ({ text, variables }, user) =>
      api!.ask(text, { variables, token: actors.get(user)!.token });
  return {
    schema: buildSchema(readFileSync(join(PACKAGE_ROOT, "migrations/schema/schema.graphql"), "utf8")),
    send: { a: sendTo(a), b: sendTo(b) },
    async close() {
      await Promise.all([a, b].map((api) => api!.close()));
      await db.drop();
    },
  };
}
