import { readFileSync } from "node:fs";
import { join } from "node:path";
import { buildSchema, type GraphQLSchema, parse } from "postgraphile/graphql";
import { API_SCHEMAS } from "../../../src/graphql/preset.ts";
import { PACKAGE_ROOT } from "../../../src/support/paths.ts";
import { seedActors } from "../access-seed.ts";
import { startApi } from "../api.ts";
import { withClient } from "../client.ts";
import { createTestDatabase } from "../test-database.ts";
import type { Send } from "./compare-answers.ts";
import { inlined } from "./inlined.ts";
import { multiplyRows } from "./rich-rows.ts";

/** How the two servers differ: one compiles what it can, the other plans everything. No answer may show it. */
export const SETTINGS: Readonly<Record<"a" | "b", Readonly<Record<string, string>>>> = {
  a: { PLINTH_COMPILED_DOCUMENTS: "always" },
  b: { PLINTH_COMPILED_DOCUMENTS: "never" },
};

/** Two owners of rows, an administrator, and a visitor, who sees so little that a few operations suffice. */
export const USERS = ["ada", "bob", "admin", "ada", "bob", "admin", "visitor"] as const;

/** Walks send more than a client may. */
const NO_RATE_LIMIT = { PLINTH_RATE_LIMIT_REQUESTS: "10000000", PLINTH_STATEMENT_TIMEOUT_MS: "60000" };

/** Sends the same operation without fragments and variables. */
export const sendInlined =
  (schema: GraphQLSchema, send: Send): Send =>
  ({ text, variables }, user) =>
    send(inlined(schema, { text, document: parse(text), variables }), user);

export interface TwoServers {
  readonly schema: GraphQLSchema;
  readonly send: Readonly<Record<"a" | "b", Send>>;
  close(): Promise<void>;
}

/**
 * Memories of the seed cannot be decrypted, and infinite times in columns that always have a value cannot be read: the API
 * reads them as null.
 */
const CORRECT = `
  delete from llm.conversation_memories;
  delete from llm.memories;
  delete from private.user_keys;
  update rooms.presence set expires_at = '2100-01-01' where not isfinite(expires_at);
  delete from identity.consents where not isfinite(decided_at)`;

/**
 * Requests leave rows themselves: the log of reads, and the time when a session was last used. An operation that reads them would get
 * other rows from the server that answers later.
 */
const LEAVE_NO_ROWS = `
  create function public.keep_as_it_is() returns trigger language plpgsql as 'begin return null; end';
  create trigger keep_as_it_is before insert on security.personal_data_reads for each row execute function public.keep_as_it_is();
  create trigger keep_as_it_is before update on identity.user_sessions for each row execute function public.keep_as_it_is()`;

const REMEMBER =
  "mutation ($memory: JSON!) { setConversationMemory(input: { memory: $memory }) { __typename } }";

/** Starts two servers on one database with rows that are hard to write as JSON. */
export async function openTwoServers(seed: number, settings = SETTINGS): Promise<TwoServers> {
  const db = await createTestDatabase();
  const actors = await seedActors(db);
  await multiplyRows(db, API_SCHEMAS, seed);
  await withClient(db.url("owner"), (client) => client.query(`${CORRECT};${LEAVE_NO_ROWS}`));
  const [a, b] = await Promise.all(
    [settings.a, settings.b].map((own) => startApi(db, { ...NO_RATE_LIMIT, ...own })),
  );
  const sendTo =
    (api: typeof a): Send =>
    ({ text, variables }, user) =>
      api!.ask(text, { variables, token: actors.get(user)!.token });
  await a!.ask(REMEMBER, { token: actors.get("ada")!.token, variables: { memory: { 10: "ten", b: [1.5] } } });
  return {
    schema: buildSchema(readFileSync(join(PACKAGE_ROOT, "migrations/schema/schema.graphql"), "utf8")),
    send: { a: sendTo(a), b: sendTo(b) },
    async close() {
      await Promise.all([a, b].map((api) => api!.close()));
      await db.drop();
    },
  };
}
