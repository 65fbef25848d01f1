import { createServer } from "node:http";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "@jest/globals";
import type { Claims } from "../../src/auth/api-token.ts";
import { HttpError } from "../../src/http/http-error.ts";
import { type MountedServer, mountServer } from "../../src/http/server.ts";
import { ask, collectLog, type SignedIn, serverOptions, signUp, until } from "../support/api.ts";
import { createTestDatabase, rowsAs, type TestDatabase } from "../support/database.ts";
import { openSocket } from "../support/socket.ts";

// An application's own routes use the caller of a request, SQL as that user, and GraphQL without HTTP.

let db: TestDatabase;
let plinth: MountedServer;
let ada: SignedIn;
let bob: SignedIn;
let claims: Claims;
const logLines: Record<string, unknown>[] = [];

const bearer = (token: string) => ({ headers: { authorization: `Bearer ${token}` } });
const api = {
  async ask(query: string, { variables, token }: { variables?: object; token?: string } = {}) {
    const response = await plinth.fetch(
      new Request("http://app.example/graphql", {
        method: "POST",
        headers: { "content-type": "application/json", ...(token && bearer(token).headers) },
        body: JSON.stringify({ query, variables }),
      }),
    );
    const text = await response.text();
    return { ...JSON.parse(text), text, status: response.status, headers: response.headers };
  },
};
const asOwner = rowsAs("owner", () => db);

const mount = () =>
  // A single connection for as long as the tests take, so that each transaction finds what the one before it has left.
  mountServer({
    ...serverOptions(db, { PLINTH_POOL_MAX: "1", PLINTH_POOL_IDLE_TIMEOUT_MS: "86400000" }),
    logger: collectLog(logLines),
  });

beforeAll(async () => {
  db = await createTestDatabase();
  plinth = await mount();
  ada = await signUp(api, "ada");
  bob = await signUp(api, "bob");
  claims = (await plinth.authenticate(bearer(ada.token)))!;
});
afterAll(async () => {
  await plinth.close();
  await db.drop();
});
beforeEach(() => {
  logLines.length = 0;
});

/** The error with which a promise rejects. */
const errorOf = (promise: Promise<unknown>): Promise<HttpError> =>
  promise.then(
    () => {
      throw new Error("It did not reject.");
    },
    (error) => error,
  );

const WHO = `select current_user::text as role, session_user::text as login, plinth.current_user_id() as "userId"`;
const CREATE_CHAT = "insert into llm.chats (title) values ($1) returning user_id";
const titles = async () =>
  (await asOwner("select title from llm.chats order by title", [])).map(({ title }) => title);

describe("authenticate", () => {
  test.each([
    ["an object with headers", () => bearer(ada.token)],
    ["headers of the Fetch Standard", () => ({ headers: new Headers(bearer(ada.token).headers) })],
    ["a Request", () => new Request("http://app.example/", bearer(ada.token))],
  ])("returns the claims of %s", async (_form, request) => {
    expect(await plinth.authenticate(request())).toMatchObject({ userId: ada.userId });
  });

  test("returns the claims of a request of Node, and null for a visitor", async () => {
    const server = createServer(async (request, response) =>
      response.end(JSON.stringify(await plinth.authenticate(request))),
    );
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const url = `http://127.0.0.1:${(server.address() as { port: number }).port}`;
    expect(await (await fetch(url, bearer(ada.token))).json()).toMatchObject({ userId: ada.userId });
    expect(await (await fetch(url)).json()).toBeNull();
    server.close();
  });

  test("throws an error that a route can send", async () => {
    const error = await errorOf(plinth.authenticate(bearer("nonsense")));
    expect(error).toBeInstanceOf(HttpError);
    expect(error).toMatchObject({
      status: 401,
      code: "UNAUTHENTICATED",
      headers: { "WWW-Authenticate": 'Bearer realm="plinth", error="invalid_token"' },
    });
  });

  test("accepts an API token until it is revoked, and a session until it ends", async () => {
    const made = await api.ask(
      'mutation { createApiToken(input: { name: "ci", scopes: [read] }) { token apiToken { id } } }',
      ada,
    );
    const { token, apiToken } = made.data.createApiToken;
    expect(await plinth.authenticate(bearer(token))).toMatchObject({ userId: ada.userId, scopes: ["read"] });
    await api.ask("mutation ($id: UUID!) { revokeApiToken(input: { id: $id }) { clientMutationId } }", {
      ...ada,
      variables: { id: apiToken.id },
    });
    const isRefused = (each: string) =>
      plinth.authenticate(bearer(each)).then(
        () => false,
        ({ code }) => code === "UNAUTHENTICATED",
      );
    // For less than the minute for which a server trusts an API token without a notification.
    await until(() => isRefused(token), { timeoutMs: 45_000 });

    const carol = await signUp(api, "carol");
    expect(await isRefused(carol.token)).toBe(false);
    await api.ask("mutation { logout(input: {}) { clientMutationId } }", carol);
    await until(() => isRefused(carol.token));
  });
});

describe("withUser", () => {
  test("runs as the user under row-level security, in one transaction", async () => {
    const caller = { request: { headers: { "x-request-id": "of-the-route" } } };
    await plinth.withUser(
      claims,
      async ({ query }) => {
        expect((await query(WHO)).rows).toEqual([
          { role: `${db.rolePrefix}_user`, login: `${db.rolePrefix}_authenticator`, userId: ada.userId },
        ]);
        expect(await query(CREATE_CHAT, ["committed"])).toEqual({
          rows: [{ user_id: ada.userId }],
          rowCount: 1,
        });
        const { rows } = await query("select current_setting('plinth.correlation_id') as id");
        expect(rows).toEqual([{ id: "of-the-route" }]);
      },
      caller,
    );
    expect(await titles()).toEqual(["committed"]);
    const bobs = await plinth.authenticate(bearer(bob.token));
    const others = await plinth.withUser(bobs, ({ query }) => query("select from llm.chats"));
    expect(others.rowCount).toBe(0);
  });

  test("rolls back when the callback throws, and throws the same error", async () => {
    const reason = new Error("The route changed its mind.");
    const failed = plinth.withUser(claims, async ({ query }) => {
      await query(CREATE_CHAT, ["rolled back"]);
      throw reason;
    });
    expect(await errorOf(failed)).toBe(reason);
    expect(await titles()).toEqual(["committed"]);
  });

  test("rolls back after a failed statement, even if the callback ignores it", async () => {
    const failed = plinth.withUser(claims, async ({ query }) => {
      await query(CREATE_CHAT, ["rolled back"]);
      await query("select 1 / 0").catch(() => {});
    });
    await expect(failed).rejects.toMatchObject({ code: "25P02" });
    expect(await titles()).toEqual(["committed"]);
  });

  test("waits for statements that the callback did not wait for", async () => {
    await plinth.withUser(claims, async ({ query }) => {
      void query(CREATE_CHAT, ["unawaited"]);
    });
    expect(await titles()).toEqual(["committed", "unawaited"]);
    await asOwner("delete from llm.chats where title = 'unawaited'", []);
  });

  test("runs as a visitor without claims", async () => {
    const { rows } = await plinth.withUser(null, ({ query }) => query(WHO));
    expect(rows).toMatchObject([{ role: `${db.rolePrefix}_anonymous`, userId: null }]);
    const error = await errorOf(plinth.withUser(null, ({ query }) => query("select from llm.chats")));
    expect(plinth.describeError(error)).toMatchObject({ status: 401, code: "UNAUTHENTICATED" });
  });

  test("reads only, on demand and for a read-only token", async () => {
    const write = ({ query }: { query: (text: string, values: string[]) => Promise<unknown> }) =>
      query(CREATE_CHAT, ["forbidden"]);
    await expect(plinth.withUser(claims, write, { readOnly: true })).rejects.toMatchObject({ code: "25006" });
    const made = await api.ask(
      'mutation { createApiToken(input: { name: "reader", scopes: [read] }) { token } }',
      ada,
    );
    const reader = await plinth.authenticate(bearer(made.data.createApiToken.token));
    const error = await errorOf(plinth.withUser(reader, write));
    expect(plinth.describeError(error, { claims: reader })).toMatchObject({
      status: 403,
      code: "FORBIDDEN",
      message: "This token is read-only.",
    });
  });

  test("gives a client that is unusable afterwards", async () => {
    const client = await plinth.withUser(claims, async (each) => each);
    await expect(client.query("select 1")).rejects.toThrow("The transaction of this client has ended.");
  });

  test.each(["commit", "rollback", "end"])(
    "rejects a callback that ends its transaction (%s)",
    async (end) => {
      const failed = plinth.withUser(claims, async ({ query }) => {
        await query(end);
      });
      await expect(failed).rejects.toThrow("A statement of the callback has ended its transaction.");
      const late = plinth.withUser(claims, async ({ query }) => {
        await query(end).catch(() => {});
        await query(WHO);
      });
      await expect(late).rejects.toThrow("The transaction of this client has ended.");
    },
  );

  test("accepts one statement at a time, so that an injected one cannot follow another", async () => {
    const two = plinth.withUser(claims, ({ query }) => query("select 1; select 2"));
    await expect(two).rejects.toMatchObject({ code: "42601" });
  });

  test("ends at the statement timeout", async () => {
    const slow = plinth.withUser(claims, async ({ query }) => {
      await query("set local statement_timeout = 20");
      await query("select pg_sleep(10)");
    });
    expect(plinth.describeError(await errorOf(slow))).toMatchObject({ status: 503 });
  });

  test("gives a callback that resets its role no rights at all", async () => {
    const reset = plinth.withUser(claims, async ({ query }) => {
      await query("reset role");
      expect((await query("select current_user::text as role")).rows).toEqual([
        { role: `${db.rolePrefix}_authenticator` },
      ]);
      await query("select from identity.users");
    });
    await expect(reset).rejects.toMatchObject({ code: "42501" });
  });

  test.each(["owner", "service", "worker", "analyst"])(
    "does not let a callback become the %s",
    async (role) => {
      const become = plinth.withUser(claims, ({ query }) => query(`set role ${db.rolePrefix}_${role}`));
      await expect(become).rejects.toMatchObject({ code: "42501" });
    },
  );

  const LEFTOVERS = [
    "set role to default",
    "set session authorization default",
    "select set_config('role', 'none', false)",
    "set statement_timeout = '1h'",
    "set search_path = pg_catalog",
    "set timezone = 'Asia/Tokyo'",
    "set default_transaction_read_only = on",
    "listen somewhere",
    "select pg_advisory_lock(4711)",
    "declare left_open cursor with hold for select 1",
  ];
  const STATE = `
    select current_user::text as role, plinth.current_user_id() as "userId",
      current_setting('statement_timeout') as timeout, current_setting('search_path') as path,
      current_setting('timezone') as timezone, current_setting('default_transaction_read_only') as "readOnly",
      nullif(current_setting('plinth.client_ip', true), '') as ip, current_setting('jit_optimize_above_cost') as jit,
      (select count(*)::integer from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()) as locks,
      (select count(*)::integer from pg_cursors where is_holdable) as cursors,
      (select count(*)::integer from pg_listening_channels()) as channels,
      pg_backend_pid() as pid`;
  const stateOfVisitor = async () => (await plinth.withUser(null, ({ query }) => query(STATE))).rows[0];

  test.each([
    ["is committed", async () => {}],
    [
      "is rolled back",
      async () => {
        throw new Error("On purpose.");
      },
    ],
  ])("leaves nothing on its connection for the next request, whether it %s", async (_when, finish) => {
    const before = await stateOfVisitor();
    const leave = plinth.withUser(claims, async ({ query }) => {
      // For the session, not only for the transaction.
      await query("select set_config('jwt.claims.user_id', $1, false)", [bob.userId]);
      await query("select set_config('plinth.client_ip', '203.0.113.1', false)");
      for (const text of LEFTOVERS) await query(text);
      await finish();
    });
    await leave.catch(({ message }) => expect(message).toBe("On purpose."));
    expect(await stateOfVisitor()).toEqual(before);
    expect(before).toMatchObject({ userId: null, locks: 0, cursors: 0, channels: 0 });
    expect((await api.ask("{ currentUser { username } }")).data).toEqual({ currentUser: null });
    expect((await api.ask("{ currentUser { username } }", ada)).data).toEqual({
      currentUser: { username: "ada" },
    });
  });

  test("does not use a connection again whose prepared statements a callback has removed or replaced", async () => {
    const pidOf = async () =>
      (await plinth.withUser(null, ({ query }) => query("select pg_backend_pid() as pid"))).rows[0]!.pid;
    for (const text of ["deallocate all", "prepare mine as select 1"]) {
      const before = await pidOf();
      await plinth.withUser(claims, ({ query }) => query(text));
      expect(await pidOf()).not.toBe(before);
      expect((await api.ask("{ currentUser { username } }", ada)).data).toEqual({
        currentUser: { username: "ada" },
      });
    }
    expect(await pidOf()).toBe(await pidOf());
  });

  test("fires deferred triggers as the user, before the connection forgets it", async () => {
    await asOwner("create table llm.deferred (id integer)", []);
    await asOwner(`grant insert on llm.deferred to ${db.rolePrefix}_user`, []);
    await asOwner(
      `create function llm.raise_role() returns trigger language plpgsql as $$
       begin raise exception 'fired as %', current_user; end $$`,
      [],
    );
    await asOwner(
      `create constraint trigger raise_role after insert on llm.deferred deferrable initially deferred
       for each row execute function llm.raise_role()`,
      [],
    );
    const inserted = plinth.withUser(claims, ({ query }) => query("insert into llm.deferred values (1)"));
    await expect(inserted).rejects.toThrow(`fired as ${db.rolePrefix}_user`);
    await asOwner("drop table llm.deferred", []);
  });
});

describe("describeError", () => {
  test("names the field and the constraint of a violation", async () => {
    const error = await errorOf(
      plinth.withUser(claims, ({ query }) => query("insert into llm.chats (title) values ('')")),
    );
    expect(plinth.describeError(error)).toMatchObject({
      status: 400,
      code: "BAD_USER_INPUT",
      extensions: { field: "title", constraint: expect.any(String) },
    });
  });

  test("passes on what an SQL function says to users", async () => {
    const error = await errorOf(
      plinth.withUser(claims, ({ query }) => query("select access.grant_role($1, 'admin')", [ada.userId])),
    );
    expect(plinth.describeError(error)).toMatchObject({ status: 403, code: "FORBIDDEN" });
  });

  test("hides and logs an unforeseen error", () => {
    const error = plinth.describeError(new Error("secret"), {
      claims,
      request: { headers: { "x-request-id": "of-the-route" } },
    });
    expect(error).toMatchObject({
      status: 500,
      code: "INTERNAL",
      extensions: { errorId: expect.any(String) },
    });
    expect(error.message).not.toContain("secret");
    expect(logLines.filter(({ errorId }) => errorId !== undefined)).toEqual([
      expect.objectContaining({ correlationId: "of-the-route", errorId: error.extensions.errorId }),
    ]);
  });
});

describe("execute", () => {
  test("executes an operation as the user, without HTTP", async () => {
    const document = "query ($first: Int) { currentUser { username } chats(first: $first) { totalCount } }";
    expect(await plinth.execute({ document, variables: { first: 1 }, claims })).toEqual({
      data: { currentUser: { username: "ada" }, chats: { totalCount: 1 } },
    });
    expect(await plinth.execute({ document: "{ currentUser { username } }", claims: null })).toEqual({
      data: { currentUser: null },
    });
  });

  test("returns errors with codes, as the API does", async () => {
    const codes = async (document: string, as: Claims | null = claims) => {
      const { errors } = await plinth.execute({ document, claims: as });
      return errors?.map(({ extensions }) => extensions?.code);
    };
    expect(await codes("{ nope }")).toEqual(["GRAPHQL_VALIDATION_FAILED"]);
    expect(await codes("{ chats(first: 5000) { totalCount } }")).toEqual(["PAGE_TOO_LARGE"]);
    expect(await codes("{ chats { totalCount } }", null)).toEqual(["UNAUTHENTICATED"]);
    expect(await codes('mutation { createChat(input: { chat: { title: "" } }) { chat { id } } }')).toEqual([
      "BAD_USER_INPUT",
    ]);
  });
});

describe("close", () => {
  test("finishes what is in progress, closes sockets, and accepts nothing new", async () => {
    const other = await mount();
    const server = createServer(other.handler);
    server.on("upgrade", (request, socket, head) => void other.handleUpgrade(request, socket, head));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const url = `http://127.0.0.1:${(server.address() as { port: number }).port}`;
    const socket = await openSocket({ url }, undefined);
    const started = Promise.withResolvers<void>();
    const finish = Promise.withResolvers<void>();
    const slow = other.withUser(claims, async ({ query }) => {
      started.resolve();
      await finish.promise;
      return (await query("select 'done' as state")).rows;
    });
    await started.promise;

    const closed = other.close();
    expect((await socket.closed).code).toBe(1001);
    // The application's own server goes on.
    expect(await ask(url, "{ __typename }")).toMatchObject({
      status: 503,
      errors: [{ extensions: { code: "UNAVAILABLE" } }],
    });
    const late = openSocket({ url }, undefined);
    expect((await (await late).closed).code).not.toBe(1000);
    for (const refused of [
      other.withUser(claims, async () => {}),
      other.execute({ document: "{ __typename }", claims }),
      other.authenticate(bearer(ada.token)),
    ])
      await expect(refused).rejects.toMatchObject({ code: "UNAVAILABLE" });
    finish.resolve();
    expect(await slow).toEqual([{ state: "done" }]);
    await closed;
    server.close();
  });
});
