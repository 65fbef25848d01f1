import type { Pool } from "pg";
import { pino } from "pino";
import { makeSchema } from "postgraphile";
import { execute, hookArgs } from "postgraphile/grafast";
import { type DocumentNode, type GraphQLSchema, parse } from "postgraphile/graphql";
import type { Application } from "../../src/application/application.ts";
import { loadConfig } from "../../src/config/config.ts";
import { type Role, roleName } from "../../src/config/roles.ts";
import { makePreset } from "../../src/graphql/preset.ts";
import { createPool } from "../../src/request/pool.ts";
import type { TestDatabase } from "./database.ts";
import { PATIENT_POOL } from "./patient-pool.ts";

export interface Statement {
  readonly text: string;
  readonly values: readonly unknown[];
}

/** The API's schema without HTTP, for tests that send thousands of requests. */
export interface SchemaInProcess {
  readonly schema: GraphQLSchema;
  /** Statements sent to the database, oldest first; a test may empty the list. */
  readonly statements: Statement[];
  // biome-ignore lint/suspicious/noExplicitAny: what a test asks for is what it gets.
  ask(text: string, variables?: Record<string, unknown>): Promise<any>;
  close(): Promise<void>;
}

/**
 * The schema contains what the API's roles may see, whichever role reads with it.
 * @param reader the owner, who reads every row, or the role of signed-in users with its claims
 */
export async function openSchema(
  db: TestDatabase,
  reader: { role: Extract<Role, "owner" | "user">; userId: string },
  application?: Application,
): Promise<SchemaInProcess> {
  const config = { ...loadConfig({}), pool: PATIENT_POOL, rolePrefix: db.rolePrefix };
  const connectAs = (role: "authenticator" | "owner") =>
    createPool({
      url: db.url(role),
      applicationName: "plinth tests",
      max: 4,
      settings: PATIENT_POOL,
      onError: () => {},
    });
  const pools = { authenticator: connectAs("authenticator"), owner: connectAs("owner") };
  const statements: Statement[] = [];
  for (const each of Object.values(pools))
    each.on("connect", (client) => {
      const query = client.query.bind(client) as (...args: unknown[]) => unknown;
      client.query = ((...args: unknown[]) => {
        const [config] = args as [Partial<Statement> | string];
        if (typeof config === "object" && config.text)
          statements.push({ text: config.text, values: config.values ?? [] });
        return query(...args);
      }) as typeof client.query;
    });
  let pool = pools.authenticator;
  const preset = makePreset({
    pool: { connect: () => pool.connect() } as Pool,
    config,
    application,
    logger: pino({ level: "silent" }),
  });
  let built: Awaited<ReturnType<typeof makeSchema>> | undefined = await makeSchema({
    extends: [preset],
    grafast: {
      context: () => ({
        pgSettings: { role: roleName(db.rolePrefix, reader.role), "jwt.claims.user_id": reader.userId },
        plinth: { recordReads: async () => {} } as unknown as Grafast.Context["plinth"],
      }),
    },
  });
  if (reader.role === "owner") pool = pools.owner;

  const documents = new Map<string, DocumentNode>();
  return {
    get schema() {
      if (!built) throw new Error("The schema is closed.");
      return built.schema;
    },
    statements,
    async ask(text, variables = {}) {
      // Grafast keeps the plan of a document that is the same object.
      const document = documents.get(text) ?? parse(text);
      documents.set(text, document);
      const args = { ...built!, document, variableValues: variables, requestContext: {}, contextValue: {} };
      const { data, errors } = (await execute(await hookArgs(args))) as Awaited<
        ReturnType<typeof JSON.parse>
      >;
      if (!errors) return data;
      const { message, path, originalError } = errors[0];
      throw new Error(`${message} at ${path?.join(".")}\n${text}`, { cause: originalError });
    },
    async close() {
      // See `startApi`: the schema and its plans have 500 MB after thousands of documents.
      built = undefined;
      documents.clear();
      await Promise.all(Object.values(pools).map((each) => each.end()));
    },
  };
}
