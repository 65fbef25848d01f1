import { afterAll, beforeAll, beforeEach, describe, expect, test } from "@jest/globals";
import { createApiToken } from "../../src/auth/api-token.ts";
import {
  type Answer,
  type Api,
  codeOf,
  PASSWORD,
  type SignedIn,
  send,
  signIn,
  signUp,
  startApi,
  until,
} from "../support/api.ts";
import { createTestDatabase, rowsAs, type TestDatabase, withClient } from "../support/database.ts";
import { openSocket } from "../support/socket.ts";

/** Two servers on one database, as behind a load balancer. */
let db: TestDatabase;
let here: Api;
let there: Api;
let ada: SignedIn;
let names = 0;

beforeAll(async () => {
  db = await createTestDatabase();
  [here, there] = await Promise.all([startApi(db), startApi(db)]);
});
afterAll(async () => {
  await Promise.all([here.close(), there.close()]);
  await db.drop();
});
beforeEach(async () => {
  ada = await signUp(here, `ada${++names}`);
});

const asOwner = rowsAs("owner", () => db);

const CREATE =
  "mutation ($input: CreateApiTokenInput!) { createApiToken(input: $input) { token apiToken { id name tokenPrefix scopes expiresAt revokedAt lastUsedAt } } }";
const create = (input: Record<string, unknown>, token = ada.token): Promise<Answer> =>
  here.ask(CREATE, { token, variables: { input } });

interface Made {
  readonly token: string;
  readonly apiToken: { id: string; name: string; tokenPrefix: string; scopes: string[] };
}
async function make(scopes: string[] = ["read"], token = ada.token): Promise<Made> {
  const { data, text } = await create({ name: "ci", scopes }, token);
  if (!data?.createApiToken) throw new Error(text);
  return data.createApiToken;
}
const revoke = (id: string, token = ada.token) =>
  here.ask("mutation ($id: UUID!) { revokeApiToken(input: { id: $id }) { result { revokedAt } } }", {
    token,
    variables: { id },
  });
const statusOf = async (api: Api, token: string): Promise<number> =>
  (await api.ask("{ currentUser { id } }", { token })).status;
const isAccepted = async (api: Api, token: string): Promise<boolean> => (await statusOf(api, token)) === 200;
/** Rejects all that a server could ask the database about API tokens: it would answer with 503. */
async function withoutQueries(use: () => Promise<void>): Promise<void> {
  const functions = "function private.find_api_token(bytea), private.is_api_token_live(uuid, uuid, integer)";
  await asOwner(`revoke execute on ${functions} from ${db.rolePrefix}_service`);
  try {
    await use();
  } finally {
    await asOwner(`grant execute on ${functions} to ${db.rolePrefix}_service`);
  }
}
/** Servers write uses every few seconds. */
const untilWritten = (sql: string, id: string) =>
  until(async () => (await asOwner(sql, [id])).length > 0, { everyMs: 100 });
const untilUsed = (id: string) =>
  untilWritten("select from identity.api_tokens where id = $1 and last_used_at is not null", id);
const CREATE_CHAT = 'mutation { createChat(input: { chat: { title: "by a program" } }) { chat { title } } }';
const chats = () => asOwner("select from llm.chats where user_id = $1", [ada.userId]);

describe("an API token [A5]", () => {
  test("is shown once, acts as its owner, and is listed without its secret", async () => {
    const { token, apiToken } = await make(["write"]);
    expect(token).toMatch(/^pla_/);
    expect(apiToken).toMatchObject({
      name: "ci",
      scopes: ["read", "write"],
      tokenPrefix: token.slice(0, 12),
    });
    for (const api of [here, there])
      expect((await api.ask("{ currentUser { id } }", { token })).data.currentUser).toEqual({
        id: ada.userId,
      });
    expect((await here.ask(CREATE_CHAT, { token })).data.createChat.chat).toEqual({ title: "by a program" });
    expect(await chats()).toHaveLength(1);

    const list = await here.ask(
      "{ currentUser { apiTokens { nodes { id tokenPrefix } } } apiTokens { totalCount } }",
      { token: ada.token },
    );
    expect(list.data).toEqual({
      currentUser: { apiTokens: { nodes: [{ id: apiToken.id, tokenPrefix: token.slice(0, 12) }] } },
      apiTokens: { totalCount: 1 },
    });
    expect(list.text).not.toContain(token.slice(12));
    const bob = await signUp(here, `bob${++names}`);
    expect(
      (await here.ask("{ apiTokens { totalCount } }", { token: bob.token })).data.apiTokens.totalCount,
    ).toBe(0);
    expect(codeOf(await revoke(apiToken.id, bob.token))).toBe("NOT_FOUND");
  });

  test("is stored as a hash and never logged", async () => {
    const { token } = await make();
    await here.ask("{ currentUser { id } }", { token });
    await send(here.url, { path: `/graphql/${token}`, method: "GET", body: null });
    await send(here.url, { path: `/graphql?token=${token}` });
    const secret = token.slice(12);
    const [{ found }] = (await asOwner<{ found: boolean }>(
      `select bool_or(row_to_json(t)::text like '%' || $1 || '%') as found from (
         select row_to_json(a) from identity.api_tokens a union all select row_to_json(h) from private.api_token_hashes h
         union all select row_to_json(l) from security.security_audit_log l
       ) t`,
      [secret],
    )) as [{ found: boolean }];
    expect(found).toBe(false);
    expect(JSON.stringify(here.logLines)).not.toContain(secret);
    expect(here.logLines.length).toBeGreaterThan(0);
  });

  test("is recognised without a query in the normal case", async () => {
    const { token } = await make();
    expect(await isAccepted(here, token)).toBe(true);
    await withoutQueries(async () => {
      // It is not the normal case while a notification is late.
      await until(() => isAccepted(here, token));
      expect(await statusOf(there, token)).toBe(503);
    });
  });

  test("is accepted only in the Authorization header", async () => {
    const { token } = await make();
    const body = JSON.stringify({ query: "{ currentUser { id } }" });
    const postings: Parameters<typeof send>[1][] = [
      { path: `/graphql?access_token=${token}` },
      { path: `/graphql?token=${token}&authorization=Bearer%20${token}` },
      { headers: { cookie: `token=${token}; authorization=Bearer ${token}` } },
      { headers: { "x-api-key": token } },
      { headers: { "x-api-token": token } },
    ];
    for (const posting of postings) {
      const { json } = await send(here.url, { body, ...posting });
      expect(json).toEqual({ data: { currentUser: null } });
    }
    expect((await send(here.url, { path: `/graphql/${token}`, body })).status).toBe(404);
    expect(
      (await send(here.url, { body: JSON.stringify({ query: "{ currentUser { id } }", token }) })).text,
    ).not.toContain(ada.userId);
    for (const scheme of [token, `Basic ${token}`, `Token ${token}`, `Bearer`])
      expect((await send(here.url, { body, headers: { authorization: scheme } })).status).toBe(401);
  });

  test.each([
    ["mistyped", (token: string) => token.slice(0, -1) + (token.endsWith("A") ? "B" : "A")],
    ["unknown", () => createApiToken().token],
    ["cut off", (token: string) => token.slice(0, 20)],
    ["in upper case", (token: string) => token.toUpperCase()],
  ])("is rejected when it is %s", async (_what, spoil) => {
    const { token } = await make();
    const answer = await here.ask("{ currentUser { id } }", { token: spoil(token) });
    expect([answer.status, codeOf(answer)]).toEqual([401, "UNAUTHENTICATED"]);
    expect(answer.headers.get("www-authenticate")).toMatch(/invalid_token/);
  });

  test("has its last use written at most once a minute, with the address", async () => {
    const used = async (id: string) => {
      const [row] = await asOwner<{ ip: string; at: Date }>(
        "select host(last_used_ip) as ip, last_used_at as at from identity.api_tokens where id = $1",
        [id],
      );
      return row!;
    };
    for (;;) {
      const { token, apiToken } = await make();
      for (let i = 0; i < 5; i++) await isAccepted(here, token);
      await untilUsed(apiToken.id);
      const first = await used(apiToken.id);
      expect(first).toEqual({ ip: "127.0.0.1", at: expect.any(Date) });
      // The other server has written no use of it yet. It writes all uses in one statement.
      const witness = await make();
      for (const each of [token, witness.token]) await isAccepted(there, each);
      await untilUsed(witness.apiToken.id);
      // Both are uses of one minute, unless the machine stood still.
      const { at } = await used(witness.apiToken.id);
      if (at.getTime() - first.at.getTime() >= 60_000) continue;
      expect(await used(apiToken.id)).toEqual(first);
      return;
    }
  });

  test("works when its last use cannot be written", async () => {
    const { token } = await make();
    const touch = "function private.touch_api_tokens(uuid[], timestamptz[], inet[])";
    await asOwner(`revoke execute on ${touch} from ${db.rolePrefix}_service`);
    expect(await isAccepted(here, token)).toBe(true);
    await until(() => here.logLines.some(({ msg }) => msg === "last activity not written"));
    expect(await isAccepted(here, token)).toBe(true);
    await asOwner(`grant execute on ${touch} to ${db.rolePrefix}_service`);
  });

  test("works only from the networks that its owner allows", async () => {
    await asOwner(
      "update identity.user_security_settings set allowed_networks = '{10.0.0.0/8}' where user_id = $1",
      [ada.userId],
    );
    const { token } = await make();
    expect(await isAccepted(here, token)).toBe(false);
  });
});

describe("a read-only API token [A5]", () => {
  test("reads, gets FORBIDDEN for every mutation and writes nothing", async () => {
    const { token } = await make(["read"]);
    expect((await here.ask("{ chats { totalCount } }", { token })).data.chats.totalCount).toBe(0);
    for (const mutation of [
      CREATE_CHAT,
      'mutation { updateUserSetting(input: { userId: "ID", patch: { displayName: "x" } }) { userSetting { displayName } } }',
      'mutation { updateUser(input: { id: "ID", patch: { profileData: {a: 1} } }) { user { id } } }',
      'mutation { createUserPreference(input: { userPreference: { preferenceType: "t", preferenceKey: "k", preferenceValue: 1 } }) { userPreference { id } } }',
    ])
      expect(codeOf(await here.ask(mutation.replace("ID", ada.userId), { token }))).toBe("FORBIDDEN");
    expect(await chats()).toEqual([]);
    expect(
      await asOwner("select display_name from identity.user_settings where user_id = $1", [ada.userId]),
    ).toEqual([{ display_name: null }]);
  });

  test("cannot change or delete the memory, which is written outside the request's transaction", async () => {
    const SET =
      "mutation ($input: SetConversationMemoryInput!) { setConversationMemory(input: $input) { conversationMemory { memory } } }";
    const MEMORY = "{ conversationMemory { memory } }";
    const { token } = await make(["read"]);
    await here.ask(SET, { token: ada.token, variables: { input: { memory: "kept" } } });
    const set = await here.ask(SET, { token, variables: { input: { memory: "lost" } } });
    const deleted = await here.ask("mutation { deleteConversationMemory { wasDeleted } }", { token });
    expect([codeOf(set), codeOf(deleted)]).toEqual(["FORBIDDEN", "FORBIDDEN"]);
    expect((await here.ask(MEMORY, { token })).data.conversationMemory).toEqual({ memory: "kept" });
    const { token: writer } = await make(["read", "write"]);
    expect((await here.ask(SET, { token: writer, variables: { input: { memory: "new" } } })).errors).toBe(
      undefined,
    );
  });

  test("reads and gets FORBIDDEN for a mutation over a WebSocket", async () => {
    const { token } = await make(["read"]);
    const socket = await openSocket(here, token);
    expect(await socket.ask("{ currentUser { id } }")).toEqual({ data: { currentUser: { id: ada.userId } } });
    expect((await socket.ask(CREATE_CHAT)).errors?.[0]?.extensions?.code).toBe("FORBIDDEN");
    expect(await chats()).toEqual([]);
    await socket.dispose();
  });
});

describe("an API token, even with the scope write, cannot [A5]", () => {
  test.each([
    ["create another token", CREATE, { input: { name: "x", scopes: ["read"] } }],
    [
      "revoke a token",
      'mutation { revokeApiToken(input: { id: "00000000-0000-7000-8000-000000000000" }) { clientMutationId } }',
      {},
    ],
    [
      "change the password",
      "mutation ($input: ChangePasswordInput!) { changePassword(input: $input) { accessToken } }",
      { input: { currentPassword: PASSWORD, newPassword: "a whole new sentence" } },
    ],
    [
      "sign in",
      "mutation ($input: LoginInput!) { login(input: $input) { accessToken } }",
      { input: { identifier: "ada", password: PASSWORD } },
    ],
    ["refresh", 'mutation { refresh(input: { refreshToken: "plr_x" }) { accessToken } }', {}],
    ["log out", "mutation { logout(input: {}) { result } }", {}],
    ["log out everywhere", "mutation { logoutEverywhere(input: {}) { result } }", {}],
    ["end the other sessions", "mutation { endOtherSessions(input: {}) { result } }", {}],
    [
      "end a session",
      'mutation { endSession(input: { sessionId: "00000000-0000-7000-8000-000000000000" }) { clientMutationId } }',
      {},
    ],
    [
      "give consent",
      'mutation { giveConsent(input: { purpose: "x", version: 1 }) { clientMutationId } }',
      {},
    ],
    [
      "change the allowed networks",
      "mutation { setAllowedNetworks(input: { force: true }) { clientMutationId } }",
      {},
    ],
  ])("%s", async (_what, query, variables) => {
    const { token } = await make(["read", "write"]);
    expect(codeOf(await here.ask(query, { token, variables }))).toBe("FORBIDDEN");
    expect(await isAccepted(here, ada.token)).toBe(true);
    expect(await asOwner("select from identity.api_tokens where user_id = $1", [ada.userId])).toHaveLength(1);
  });
});

describe("revocation of an API token reaches every server and open socket at once [A5]", () => {
  test.each<[string, (id: string) => Promise<unknown>]>([
    ["revokeApiToken", (id) => revoke(id)],
    [
      "logoutEverywhere",
      () => here.ask("mutation { logoutEverywhere(input: {}) { result } }", { token: ada.token }),
    ],
    [
      "a changed password",
      () =>
        here.ask(
          "mutation ($input: ChangePasswordInput!) { changePassword(input: $input) { accessToken } }",
          {
            token: ada.token,
            variables: { input: { currentPassword: PASSWORD, newPassword: "a whole new sentence" } },
          },
        ),
    ],
    [
      "a disabled account",
      () => asOwner("update identity.users set account_status = 'disabled' where id = $1", [ada.userId]),
    ],
    ["a deleted account", () => asOwner("delete from identity.users where id = $1", [ada.userId])],
    [
      "an update in psql",
      (id) => asOwner("update identity.api_tokens set revoked_at = now() where id = $1", [id]),
    ],
  ])("after %s", async (_what, end) => {
    const { token, apiToken } = await make();
    const bob = await signUp(here, `bob${++names}`);
    const other = await make(["read"], bob.token);
    const socket = await openSocket(there, token);
    for (const api of [here, there]) expect(await isAccepted(api, token)).toBe(true);
    // A server trusts a known token for a minute, and then asks.
    await withoutQueries(async () => {
      await end(apiToken.id);
      for (const api of [here, there]) await until(async () => (await statusOf(api, token)) === 401);
    });
    expect((await socket.closed).code).toBe(4403);
    expect(await isAccepted(there, other.token)).toBe(true);
  });

  test("does not follow when the session that created the token ends", async () => {
    const { token } = await make();
    await here.ask("mutation { logout(input: {}) { result } }", { token: ada.token });
    await until(async () => !(await isAccepted(here, ada.token)));
    expect(await isAccepted(here, token)).toBe(true);
  });

  test("rejects every request that starts after it, while others run", async () => {
    const { token, apiToken } = await make();
    let revokedAt = Number.POSITIVE_INFINITY;
    const late: number[] = [];
    let isDone = false;
    const clients = Array.from({ length: 4 }, async (_, i) => {
      while (!isDone) {
        const startedAt = performance.now();
        if ((await isAccepted(i % 2 ? here : there, token)) && startedAt > revokedAt)
          late.push(startedAt - revokedAt);
      }
    });
    await revoke(apiToken.id);
    revokedAt = performance.now();
    await until(async () => !(await isAccepted(here, token)) && !(await isAccepted(there, token)));
    const refusedAt = performance.now();
    for (let i = 0; i < 10; i++) await isAccepted(there, token);
    isDone = true;
    await Promise.all(clients);
    // Only the notification takes time: after the first rejection, every request is rejected.
    expect(late.every((ms) => ms <= refusedAt - revokedAt)).toBe(true);
  });

  test("holds while servers receive no notifications, because they ask the database", async () => {
    const { token, apiToken } = await make();
    const survivor = await make();
    expect(await isAccepted(there, survivor.token)).toBe(true);
    expect(await isAccepted(there, token)).toBe(true);
    const isListening = async () =>
      ((await (await fetch(`${there.url}/readyz`)).json()) as { checks: { revocations: string } }).checks
        .revocations === "listening";
    const list = "function private.list_revocations(interval)";
    await asOwner(`revoke execute on ${list} from ${db.rolePrefix}_service`);
    await withClient(db.adminUrl, (client) =>
      client.query(
        "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'plinth-revocations' and datname = current_database()",
      ),
    );
    await until(async () => !(await isListening()));
    await revoke(apiToken.id);
    expect(await isAccepted(there, token)).toBe(false);
    expect(await isAccepted(there, survivor.token)).toBe(true);
    await asOwner(`grant execute on ${list} to ${db.rolePrefix}_service`);
    await until(isListening);
    expect(await isAccepted(there, token)).toBe(false);
    expect(await isAccepted(there, survivor.token)).toBe(true);
  });
});

describe("createApiToken [A5]", () => {
  const valid = { name: "ci", scopes: ["read"] };
  test.each<[string, Record<string, unknown>, string, string | undefined]>([
    ["an empty name", { name: "" }, "BAD_USER_INPUT", "name"],
    ["a missing name", { name: undefined }, "BAD_USER_INPUT", undefined],
    ["a null name", { name: null }, "BAD_USER_INPUT", "name"],
    ["a number as the name", { name: 1 }, "BAD_USER_INPUT", "name"],
    ["an oversized name", { name: "x".repeat(100_000) }, "BAD_USER_INPUT", "name"],
    ["NUL in the name", { name: "a\0b" }, "BAD_USER_INPUT", "name"],
    ["half a character in the name", { name: "a\ud800" }, "BAD_USER_INPUT", "name"],
    ["a control character in the name", { name: "a\u001b[31m" }, "BAD_USER_INPUT", "name"],
    ["an empty list of scopes", { scopes: [] }, "BAD_USER_INPUT", "scopes"],
    ["an unknown scope", { scopes: ["admin"] }, "BAD_USER_INPUT", "scopes"],
    ["a look-alike scope", { scopes: ["reаd"] }, "BAD_USER_INPUT", "scopes"],
    ["a scope in upper case", { scopes: ["READ"] }, "BAD_USER_INPUT", "scopes"],
    ["NUL in a scope", { scopes: ["read\0"] }, "BAD_USER_INPUT", "scopes"],
    ["a thousand scopes", { scopes: Array(1000).fill("read") }, "BAD_USER_INPUT", "scopes"],
    ["a null scope", { scopes: [null] }, "BAD_USER_INPUT", "scopes"],
    ["an array literal as the scopes", { scopes: "{read,write}" }, "BAD_USER_INPUT", "scopes"],
    ["an expiry in the past", { expiresAt: "2020-01-01T00:00:00Z" }, "BAD_USER_INPUT", "expiresAt"],
    ["an expiry too far in the future", { expiresAt: "2999-01-01T00:00:00Z" }, "BAD_USER_INPUT", "expiresAt"],
    ["an infinite expiry", { expiresAt: "infinity" }, "BAD_USER_INPUT", "expiresAt"],
    [
      "an expiry that is not a time",
      { expiresAt: "'; drop table identity.api_tokens; --" },
      "BAD_USER_INPUT",
      "expiresAt",
    ],
    ["NUL in the expiry", { expiresAt: "2027\0" }, "BAD_USER_INPUT", "expiresAt"],
    ["an unknown field", { userId: "x" }, "BAD_USER_INPUT", undefined],
  ])("rejects %s", async (_what, input, code, field) => {
    const answer = await create({ ...valid, ...input });
    expect([codeOf(answer), answer.errors?.[0]?.extensions.field]).toEqual([code, field]);
    expect(await asOwner("select from identity.api_tokens where user_id = $1", [ada.userId])).toEqual([]);
  });

  test.each([
    "'; drop table users; --",
    "<script>alert(1)</script>",
    "名前",
    "ﬁn",
    "a".repeat(100),
    "$1 %s {{x}}",
  ])("keeps the name %j unchanged", async (name) => {
    expect((await create({ ...valid, name })).data.createApiToken.apiToken.name).toBe(name);
  });

  test("requires a recent sign-in", async () => {
    expect(codeOf(await here.ask(CREATE, { variables: { input: valid } }))).toBe("UNAUTHENTICATED");
    await asOwner(
      "update identity.user_sessions set authenticated_at = now() - interval '11 minutes' where user_id = $1",
      [ada.userId],
    );
    expect(codeOf(await create(valid))).toBe("FORBIDDEN");
    const again = await signIn(here, `ada${names}`);
    expect((await create(valid, again.token)).errors).toBeUndefined();
  });

  test("returns QUOTA_EXCEEDED for the 51st token", async () => {
    await asOwner(
      `insert into identity.api_tokens (user_id, name, token_prefix, scopes, expires_at)
       select $1, 'x', 'pla_xxxxxxxx', '{read}', now() + interval '1 day' from generate_series(1, 50)`,
      [ada.userId],
    );
    expect(codeOf(await create(valid))).toBe("QUOTA_EXCEEDED");
  });

  test.each([
    ["nonsense", "nonsense", "BAD_USER_INPUT"],
    ["null", null, "BAD_USER_INPUT"],
    ["an unknown id", "00000000-0000-7000-8000-000000000000", "NOT_FOUND"],
    ["an object", { a: 1 }, "BAD_USER_INPUT"],
    ["NUL", "\0", "BAD_USER_INPUT"],
  ])("revokeApiToken rejects %s", async (_what, id, code) => {
    expect(codeOf(await revoke(id as string))).toBe(code);
  });
});

describe("sessions over the API [C3]", () => {
  test("endOtherSessions ends all but the current one at once", async () => {
    const other = await signIn(here, `ada${names}`);
    const { data } = await here.ask("mutation { endOtherSessions(input: {}) { result } }", {
      token: other.token,
    });
    expect(data.endOtherSessions.result).toBe(1);
    await until(async () => !(await isAccepted(here, ada.token)) && !(await isAccepted(there, ada.token)));
    expect(await isAccepted(here, other.token)).toBe(true);
    expect(codeOf(await here.ask("mutation { endOtherSessions(input: {}) { result } }"))).toBe(
      "UNAUTHENTICATED",
    );
  });

  test("record requests as activity at most once a minute, with device and address", async () => {
    await asOwner(
      "update identity.user_sessions set last_activity_at = now() - interval '10 minutes' where user_id = $1",
      [ada.userId],
    );
    const startedAt = Date.now();
    for (let i = 0; i < 5; i++) await isAccepted(here, ada.token);
    await untilWritten(
      "select from identity.user_sessions where user_id = $1 and last_activity_at > now() - interval '9 minutes'",
      ada.userId,
    );
    const { data } = await here.ask(
      "{ currentUser { sessions { nodes { lastActivityAt deviceInfo securityContext } } } }",
      { token: ada.token },
    );
    const [session] = data.currentUser.sessions.nodes;
    expect(Date.parse(session.lastActivityAt)).toBeGreaterThanOrEqual(startedAt);
    expect(session.deviceInfo).toEqual({ browser: "node" });
    expect(session.securityContext).toMatchObject({ sign_in_address: "127.0.0.1" });
  });

  test.each<[string, unknown, string | undefined]>([
    ["a list", [], "deviceInfo"],
    ["a text", "x", "deviceInfo"],
    ["more than 2 kB", { x: "x".repeat(2048) }, "deviceInfo"],
    ["NUL", { x: "\0" }, undefined],
    ["null", null, "deviceInfo"],
  ])("updateUserSession rejects %s as device information", async (_what, deviceInfo, field) => {
    const { data } = await here.ask("{ currentUser { sessions { nodes { id } } } }", {
      token: ada.token,
    });
    const answer = await here.ask(
      "mutation ($id: UUID!, $info: JSON) { updateUserSession(input: { id: $id, patch: { deviceInfo: $info } }) { userSession { id } } }",
      { token: ada.token, variables: { id: data.currentUser.sessions.nodes[0].id, info: deviceInfo } },
    );
    expect([codeOf(answer), answer.errors?.[0]?.extensions.field]).toEqual(["BAD_USER_INPUT", field]);
  });
});
