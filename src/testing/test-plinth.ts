import type pg from "pg";
import type { Application } from "../application/application.ts";
import { checkApplication } from "../application/check-application.ts";
import { loadApplication } from "../application/load-application.ts";
import { generateMasterKey } from "../auth/master-keys.ts";
import { generateSigningKey } from "../auth/signing-keys.ts";
import { type Config, loadConfig } from "../config/config.ts";
import { LOGIN_ROLES } from "../config/roles.ts";
import { withConnection } from "../database/connection.ts";
import { type Database, openDatabase } from "../database/database.ts";
import { createScratchDatabase, type ScratchDatabase } from "../database/scratch-database.ts";
import { contextWithoutRequest } from "../request/context.ts";
import { createLogger } from "../request/logger.ts";
import { requestSettings } from "../request/settings.ts";
import { serveApi } from "../start/api.ts";
import { bringUpToDate } from "../start/up-to-date.ts";
import { openTestServer } from "./test-server.ts";

/** The application and the settings of a test. */
export interface TestOptions {
  /** By default, the application of plinth.config in the working directory. */
  readonly application?: Application;
  /** Environment variables such as PLINTH_LOG_LEVEL. Those of the process do not count, so that tests repeat. */
  readonly settings?: Readonly<Record<string, string>>;
}

/** A signed-in account. */
export interface TestUser {
  readonly id: string;
  readonly username: string;
  readonly sessionId: string;
  /** Access token for `authorization: Bearer …`. */
  readonly token: string;
}

/** The answer of the API to an operation. */
export interface TestAnswer {
  // biome-ignore lint/suspicious/noExplicitAny: what a test asks for is what it gets.
  readonly data: any;
  readonly errors?: readonly { readonly message: string; readonly extensions: { readonly code: string } }[];
}

/** Plinth and an application on a database of their own. */
export interface TestPlinth {
  /** URL of the API. */
  readonly url: string;
  /** Creates an account and signs it in. */
  createUser(username: string): Promise<TestUser>;
  /** Sends an operation as a user or, without one, as a visitor. */
  graphql(
    query: string,
    options?: { variables?: Readonly<Record<string, unknown>>; user?: TestUser | undefined },
  ): Promise<TestAnswer>;
  /** Runs SQL in a transaction as the API does: as the role of users or, for null, of visitors, with the caller's claims. */
  as<T>(user: TestUser | null, use: (client: pg.ClientBase) => Promise<T>): Promise<T>;
  /** Runs SQL as the owner of all tables, whom no policy limits: to prepare and to check. */
  asOwner<T>(use: (client: pg.ClientBase) => Promise<T>): Promise<T>;
  /** Runs a job of the application once, as the worker's role, and returns its numbers. */
  runJob(name: string, payload?: unknown): Promise<Readonly<Record<string, number>>>;
  /** Stops the API and drops the database with its roles. */
  close(): Promise<void>;
}

/**
 * Creates a database with roles of its own, runs all migrations, and serves the API on a free port. Other databases on the
 * server are left alone. The server is the one that TEST_DATABASE_URL names, or an embedded one.
 */
export async function createTestPlinth(options: TestOptions = {}): Promise<TestPlinth> {
  const application = options.application
    ? checkApplication(options.application)
    : await loadApplication(loadConfig());
  await using stack = new AsyncDisposableStack();
  const server = await openTestServer();
  stack.defer(() => server.close());
  const scratch = await createScratchDatabase(server.rootUrl, "plinth_test");
  stack.defer(() => scratch.drop());
  const config = configOf(scratch, options.settings);
  const database = await openDatabase(config);
  await bringUpToDate(config, database, { application });
  const api = await serveApi(config, database, createLogger(config.logLevel), { application });
  stack.defer(() => api.close());
  const resources = stack.move();
  const { url } = api;
  return {
    url,
    createUser: (username) => createUser(url, username),
    graphql: (query, { variables, user } = {}) => send(url, { query, variables }, user),
    as: (user, use) => actAs({ config, database }, user, use),
    asOwner: (use) => withConnection({ connectionString: database.url("owner") }, use),
    runJob: (name, payload) => runJob(application, database, name, payload),
    close: () => resources.disposeAsync(),
  };
}

function configOf(scratch: ScratchDatabase, settings: TestOptions["settings"]): Config {
  const urls = LOGIN_ROLES.map((role) => [`PLINTH_${role.toUpperCase()}_URL`, scratch.url(role)]);
  return loadConfig({
    ...Object.fromEntries(urls),
    PLINTH_ROLE_PREFIX: scratch.rolePrefix,
    PLINTH_JWT_KEYS: generateSigningKey(),
    PLINTH_MASTER_KEYS: generateMasterKey(1),
    PLINTH_PORT: "0",
    PLINTH_LOG_LEVEL: "silent",
    PLINTH_RATE_LIMIT_REQUESTS: "100000",
    ...settings,
  });
}

async function send(url: string, body: object, user?: TestUser): Promise<TestAnswer> {
  const response = await fetch(`${url}/graphql`, {
    method: "POST",
    headers: {
      "content-type": "application/json",
      ...(user && { authorization: `Bearer ${user.token}` }),
    },
    body: JSON.stringify(body),
  });
  return (await response.json()) as TestAnswer;
}

async function createUser(url: string, username: string): Promise<TestUser> {
  const input = { username, email: `${username}@example.com`, password: "a sentence for tests only" };
  const query =
    "mutation ($input: RegisterInput!) { register(input: $input) { accessToken user { id username } } }";
  const { data, errors } = await send(url, { query, variables: { input } });
  if (errors) throw new Error(`The account ${username} was not created: ${errors[0]?.message}`);
  const { accessToken, user } = data.register;
  const claims = JSON.parse(Buffer.from(accessToken.split(".")[1], "base64url").toString());
  return { ...user, sessionId: claims.sid, token: accessToken };
}

async function actAs<T>(
  { config, database }: { config: Config; database: Database },
  user: TestUser | null,
  use: (client: pg.ClientBase) => Promise<T>,
): Promise<T> {
  const settings = requestSettings(
    { ...contextWithoutRequest(), claims: user && { userId: user.id, sessionId: user.sessionId } },
    { rolePrefix: config.rolePrefix, statementTimeoutMs: config.pool.statementTimeoutMs, readOnly: false },
  );
  const given = Object.entries(settings).filter(([, value]) => value !== undefined);
  return withConnection({ connectionString: database.url("authenticator") }, async (client) => {
    await client.query("begin");
    for (const [name, value] of given) await client.query("select set_config($1, $2, true)", [name, value]);
    const result = await use(client);
    await client.query("commit");
    return result;
  });
}

async function runJob(
  { jobs = [] }: Application,
  database: Database,
  name: string,
  payload: unknown,
): Promise<Readonly<Record<string, number>>> {
  const job = jobs.find((each) => each.name === name);
  if (!job) throw new Error(`The application has no job ${name}.`);
  return withConnection({ connectionString: database.url("worker") }, (client) =>
    job.run({
      payload,
      signal: new AbortController().signal,
      query: async (sql, values) => (await client.query(sql, values)).rows,
    }),
  );
}
