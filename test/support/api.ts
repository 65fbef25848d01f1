import { Writable } from "node:stream";
import { type Logger, pino } from "pino";
import type { Application } from "../../src/application/application.ts";
import { generateMasterKey } from "../../src/auth/master-keys.ts";
import { generateSigningKey } from "../../src/auth/signing-keys.ts";
import { loadConfig } from "../../src/config/config.ts";
import { type PlinthServer, startServer } from "../../src/http/server.ts";
import { describeError } from "../../src/request/logger.ts";
import type { TestDatabase } from "./database.ts";

export interface GraphqlError {
  readonly message: string;
  readonly path?: readonly (string | number)[];
  readonly extensions: { readonly code: string; readonly field?: string } & Record<string, unknown>;
}

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  // biome-ignore lint/suspicious/noExplicitAny: what a test asks for is what it gets.
  readonly data: any;
  readonly errors: readonly GraphqlError[] | undefined;
  /** The body as sent, to search for content that it must not contain. */
  readonly text: string;
}

export interface AskOptions {
  readonly variables?: Record<string, unknown>;
  readonly token?: string | undefined;
  readonly headers?: Record<string, string>;
}

/** A running API and a plain HTTP client for it. */
export interface Api {
  /** `http://127.0.0.1:port` */
  readonly url: string;
  /** The server's log, one parsed object per line. */
  readonly logLines: Record<string, unknown>[];
  ask(query: string, options?: AskOptions): Promise<Answer>;
  close(): Promise<void>;
}

/** The same key for all servers of a test process, so that they accept each other's tokens. */
export const SIGNING_KEYS = generateSigningKey();
export const MASTER_KEYS = generateMasterKey(1);

export const PASSWORD = "correct horse battery staple";

/**
 * Starts the API on a free port.
 * @param settings environment variables, as in production
 */
export async function startApi(
  db: TestDatabase,
  settings: Record<string, string> = {},
  {
    canSendSms = false,
    allowLoopbackOrigins = false,
    application,
  }: { canSendSms?: boolean; allowLoopbackOrigins?: boolean; application?: Application } = {},
): Promise<Api> {
  const logLines: Record<string, unknown>[] = [];
  const options = { application, canSendSms, allowLoopbackOrigins, logger: collectLog(logLines) };
  let server: PlinthServer | undefined = await startServer({ ...serverOptions(db, settings), ...options });
  const { url } = server;
  let closing: Promise<void> | undefined;
  return {
    url,
    logLines,
    ask: (query, options) => ask(url, query, options),
    close() {
      closing ??= server?.close();
      // Node keeps the modules of all test files, and what their variables hold: a schema has 50 MB.
      server = undefined;
      return closing ?? Promise.resolve();
    },
  };
}

/** Limits that end what hangs, far from what a busy machine needs. Tests of a limit set it themselves. */
const PATIENCE = { PLINTH_STATEMENT_TIMEOUT_MS: "300000", PLINTH_POOL_CONNECTION_TIMEOUT_MS: "300000" };

/** The options that `startServer` and `mountServer` need. */
export function serverOptions(db: TestDatabase, settings: Record<string, string> = {}) {
  const config = loadConfig({
    ...PATIENCE,
    PLINTH_PORT: "0",
    PLINTH_POOL_MAX: "8",
    PLINTH_RATE_LIMIT_REQUESTS: "100000",
    PLINTH_ROLE_PREFIX: db.rolePrefix,
    // So that the whole suite can run with all reads compiled, and with none.
    PLINTH_COMPILED_DOCUMENTS: process.env.PLINTH_COMPILED_DOCUMENTS,
    ...settings,
  });
  return {
    config,
    authenticatorUrl: db.url("authenticator"),
    serviceUrl: db.url("service"),
    signingKeys: SIGNING_KEYS,
    masterKeys: MASTER_KEYS,
    providerTimeoutSeconds: 300,
  };
}

export async function ask(url: string, query: string, options: AskOptions = {}): Promise<Answer> {
  const { variables, token, headers } = options;
  const response = await fetch(`${url}/graphql`, {
    method: "POST",
    headers: {
      "content-type": "application/json",
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      ...headers,
    },
    body: JSON.stringify({ query, variables }),
  });
  const text = await response.text();
  const { data, errors } = JSON.parse(text);
  return { status: response.status, headers: response.headers, data, errors, text };
}

export interface Posting {
  readonly path?: string;
  readonly method?: string;
  readonly headers?: Record<string, string>;
  readonly body?: string | null;
}

/** Sends a request that need not be an operation; `code` is that of the answer's only error. */
export async function send(url: string, posting: Posting = {}) {
  const { path = "/graphql", method = "POST", headers = {}, body = '{"query":"{ __typename }"}' } = posting;
  const response = await fetch(url + path, {
    method,
    headers: { ...(body === null ? {} : { "content-type": "application/json" }), ...headers },
    body,
  });
  const text = await response.text();
  const json = response.headers.get("content-type")?.includes("json") ? JSON.parse(text) : undefined;
  const code: string | undefined = json?.errors?.length === 1 ? json.errors[0].extensions?.code : undefined;
  return { status: response.status, headers: response.headers, text, json, code };
}

/** The code of an answer's only error, or a sentence if there is none, so that a failing test shows the reason. */
export function codeOf({ errors, text }: Answer): string {
  return errors?.length === 1 ? errors[0]!.extensions.code : `not one error: ${text.slice(0, 500)}`;
}

export interface SignedIn {
  readonly userId: string;
  readonly token: string;
  readonly refreshToken: string;
}

const CREDENTIALS = "accessToken refreshToken user { id }";

/** Registers over HTTP; the account's password is {@link PASSWORD}. */
export async function signUp(api: Pick<Api, "ask">, username: string): Promise<SignedIn> {
  const answer = await api.ask(
    `mutation ($input: RegisterInput!) { signedIn: register(input: $input) { ${CREDENTIALS} } }`,
    { variables: { input: { username, email: `${username}@example.org`, password: PASSWORD } } },
  );
  return signedIn(answer);
}

/** Signs in over HTTP, which creates another session. */
export async function signIn(
  api: Pick<Api, "ask">,
  identifier: string,
  password = PASSWORD,
): Promise<SignedIn> {
  const answer = await api.ask(
    `mutation ($input: LoginInput!) { signedIn: login(input: $input) { ${CREDENTIALS} } }`,
    { variables: { input: { identifier, password } } },
  );
  return signedIn(answer);
}

function signedIn({ data, text }: Answer): SignedIn {
  if (!data?.signedIn) throw new Error(`Not signed in: ${text}`);
  const { accessToken, refreshToken, user } = data.signedIn;
  return { userId: user.id, token: accessToken, refreshToken };
}

/** Ends a wait that would never end. It is no bound on the tested code: a busy machine may stand still for half a minute. */
const HOPELESS_MS = 240_000;
/** The most that a poll counts: one that took longer stood still. */
const LONGEST_POLL_MS = 1_000;

/** Polls until `condition` holds. A test that needs a bound on time counts calls, statements or rows instead. */
export async function until(
  condition: () => boolean | Promise<boolean>,
  options: { timeoutMs?: number; everyMs?: number } = {},
): Promise<void> {
  const { timeoutMs = HOPELESS_MS, everyMs = 5 } = options;
  let waitedMs = 0;
  let polledAt = performance.now();
  while (!(await condition())) {
    if (waitedMs > timeoutMs) throw new Error(`Still not so after ${timeoutMs} ms: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, everyMs));
    waitedMs += Math.min(performance.now() - polledAt, LONGEST_POLL_MS);
    polledAt = performance.now();
  }
}

/** A logger as in production whose lines are appended to `lines`. */
export function collectLog(lines: Record<string, unknown>[]): Logger {
  const stream = new Writable({
    write(chunk: Buffer, _encoding, done) {
      for (const line of chunk.toString().trim().split("\n")) lines.push(JSON.parse(line));
      done();
    },
  });
  return pino({ level: "debug", base: null, serializers: { err: describeError } }, stream);
}
