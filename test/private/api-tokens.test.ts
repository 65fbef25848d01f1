import { afterAll, beforeAll, beforeEach, describe, expect, test } from "@jest/globals";
import { createApiToken } from "../../src/auth/api-token.ts";
import { grantRole, registerUser, someHash } from "../support/accounts.ts";
import {
  asRole,
  createTestDatabase,
  expectSqlState,
  type TestDatabase,
  withClient,
} from "../support/database.ts";

// API tokens as the service and the API's roles use them in SQL, on real parallel connections.

let db: TestDatabase;
let admin: string;
let user: string;
let session: string;
let sequence = 0;
beforeAll(async () => {
  db = await createTestDatabase();
  admin = await registerUser(db, "admin");
  await grantRole(db, admin, "admin");
});
afterAll(async () => {
  await db.drop();
});
beforeEach(async () => {
  user = await registerUser(db, `user${sequence++}`);
  session = await openSession();
});

const run = async <T extends object>(
  role: "owner" | "service" | "worker",
  sql: string,
  params: unknown[] = [],
): Promise<T[]> =>
  withClient(db.url(role), async (client) => (await client.query<T>(sql, params)).rows as T[]);

async function openSession(): Promise<string> {
  const [opened] = await run<{ session_id: string }>(
    "service",
    "select * from private.finish_login($1, 'somebody', true, 1, $2)",
    [user, someHash()],
  );
  return opened!.session_id;
}

interface Options {
  name?: string;
  scopes?: (string | null)[];
  expiresAt?: string | null;
  sessionId?: string | null;
}
async function create(options: Options = {}): Promise<{ id: string; hash: Buffer }> {
  const { name = "ci", scopes = ["read"], expiresAt = null, sessionId = session } = options;
  const { prefix, hash } = createApiToken();
  const [row] = await run<{ id: string }>(
    "service",
    "select private.create_api_token($1, $2, $3, $4, $5, $6, $7) as id",
    [user, sessionId, name, scopes, expiresAt, prefix, hash],
  );
  return { id: row!.id, hash };
}
const find = async (hash: Buffer) =>
  (
    await run<{ user_id: string; scopes: string[] }>("service", "select * from private.find_api_token($1)", [
      hash,
    ])
  )[0];
const events = async (type: string) =>
  run("owner", "select event_data from security.security_audit_log where user_id = $1 and event_type = $2", [
    user,
    type,
  ]);
const blacklisted = async (id: string) =>
  (await run("owner", "select from private.token_blacklist where kind = 'token' and subject_id = $1", [id]))
    .length;

/** Runs one statement as the API does for a user. */
const asUser = <T extends object>(
  userId: string,
  sql: string,
  params: unknown[] = [],
  settings: Record<string, string> = {},
): Promise<T[]> =>
  withClient(db.url("authenticator"), async (client) => {
    await client.query("begin");
    await asRole(client, { name: "user", prefix: db.rolePrefix }, { user_id: userId });
    for (const [name, value] of Object.entries(settings))
      await client.query("select set_config($1, $2, true)", [name, value]);
    const { rows } = await client.query<T>(sql, params);
    await client.query("commit");
    return rows;
  });

describe("an API token [A5]", () => {
  test("is found by its hash, the only part of it that is stored", async () => {
    const { id, hash } = await create({ scopes: ["write"] });
    expect(await find(hash)).toMatchObject({
      token_id: id,
      user_id: user,
      token_version: 1,
      scopes: ["read", "write"],
    });
    const [row] = await run<{ left: string }>(
      "owner",
      "select (expires_at - created_at)::text as left from identity.api_tokens where id = $1",
      [id],
    );
    expect(row!.left).toBe("90 days");
    expect(await events("api_token_created")).toHaveLength(1);
    expect(await find(someHash())).toBeUndefined();
  });

  test.each<[string, Options, string]>([
    ["no scope", { scopes: [] }, "PL422"],
    ["an unknown scope", { scopes: ["read", "admin"] }, "PL422"],
    ["a null scope", { scopes: [null] }, "PL422"],
    ["a past expiry", { expiresAt: "2020-01-01" }, "PL422"],
    ["an infinite expiry", { expiresAt: "infinity" }, "PL422"],
    ["no name", { name: "" }, "23514"],
    ["a blank name", { name: "  " }, "23514"],
    ["a name with a line end", { name: "a\nb" }, "23514"],
    ["a name too long", { name: "x".repeat(101) }, "23514"],
    ["no session", { sessionId: null }, "PL401"],
    ["an unknown session", { sessionId: "00000000-0000-7000-8000-000000000000" }, "PL401"],
  ])("is not created with %s, and nothing is left behind", async (_what, options, code) => {
    await expectSqlState(create(options), code);
    expect(await run("owner", "select from identity.api_tokens where user_id = $1", [user])).toEqual([]);
    expect(await events("api_token_created")).toEqual([]);
  });

  test("expires after at most 366 days, which the table enforces", async () => {
    const inDays = (days: number) => new Date(Date.now() + days * 86_400_000).toISOString();
    await create({ expiresAt: inDays(365.9) });
    await expectSqlState(create({ expiresAt: inDays(366.1) }), "PL422");
    await expectSqlState(
      run(
        "owner",
        "update identity.api_tokens set expires_at = created_at + interval '367 days' where user_id = $1",
        [user],
      ),
      "23514",
    );
  });

  test("is not created in an ended session or more than ten minutes after the last authentication", async () => {
    await run(
      "owner",
      "update identity.user_sessions set authenticated_at = now() - interval '11 minutes' where id = $1",
      [session],
    );
    await expectSqlState(create(), "PL403");
    const other = await openSession();
    await run(
      "owner",
      "update identity.user_sessions set ended_at = now(), end_reason = 'logout' where id = $1",
      [other],
    );
    await expectSqlState(create({ sessionId: other }), "PL401");
    const fresh = await openSession();
    await run("owner", "update identity.users set account_status = 'disabled' where id = $1", [user]);
    await expectSqlState(create({ sessionId: fresh }), "PL401");
  });

  test("is limited to 50 per user, also with concurrent requests", async () => {
    await run(
      "owner",
      `insert into identity.api_tokens (user_id, name, token_prefix, scopes, expires_at)
       select $1, 'x', 'pla_xxxxxxxx', '{read}', now() + interval '1 day' from generate_series(1, 45)`,
      [user],
    );
    const outcomes = await Promise.allSettled(Array.from({ length: 11 }, () => create()));
    expect(outcomes.filter(({ status }) => status === "fulfilled")).toHaveLength(5);
    expect(outcomes.filter(({ status }) => status === "rejected")).toEqual(
      Array(6).fill(expect.objectContaining({ reason: expect.objectContaining({ code: "PL402" }) })),
    );
    const [{ n }] = (await run<{ n: number }>(
      "owner",
      "select count(*)::integer as n from identity.api_tokens where user_id = $1",
      [user],
    )) as [{ n: number }];
    expect(n).toBe(50);
    // An expired token does not count.
    await run(
      "owner",
      "update identity.api_tokens set revoked_at = now() where id = (select id from identity.api_tokens where user_id = $1 limit 1)",
      [user],
    );
    await create();
    await expectSqlState(create(), "PL402");
  });

  test("is revoked once, by its owner or a user manager only", async () => {
    const { id, hash } = await create();
    const revoke = (by: string) => asUser(by, "select * from identity.revoke_api_token($1)", [id]);
    const stranger = await registerUser(db, `stranger${sequence++}`);
    await expectSqlState(revoke(stranger), "PL404");
    expect(await find(hash)).toBeDefined();
    expect(await revoke(user)).toHaveLength(1);
    expect(await find(hash)).toBeUndefined();
    expect(await blacklisted(id)).toBe(1);
    await expectSqlState(revoke(user), "PL404");
    expect(await events("api_token_revoked")).toEqual([{ event_data: { token_id: id } }]);
    const other = await create();
    await asUser(admin, "select * from identity.revoke_api_token($1)", [other.id]);
    expect(await find(other.hash)).toBeUndefined();
  });

  test("is revoked by one of many concurrent calls", async () => {
    const { id } = await create();
    const outcomes = await Promise.allSettled(
      Array.from({ length: 10 }, () => asUser(user, "select * from identity.revoke_api_token($1)", [id])),
    );
    expect(outcomes.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    expect(await blacklisted(id)).toBe(1);
  });

  test.each([
    ["a raised token_version", "update identity.users set token_version = token_version + 1 where id = $1"],
    ["a disabled account", "update identity.users set account_status = 'disabled' where id = $1"],
    ["a deleted account (soft)", "update identity.users set account_status = 'deleted' where id = $1"],
    ["a deleted account", "delete from identity.users where id = $1"],
    ["a deleted row", "delete from identity.api_tokens where user_id = $1"],
  ])("ends with %s, which is broadcast to every server", async (_what, sql) => {
    const { id, hash } = await create();
    await run("owner", sql, [user]);
    expect(await find(hash)).toBeUndefined();
    expect(await blacklisted(id)).toBe(1);
  });

  test("stays ended when the account is enabled again", async () => {
    const { hash } = await create();
    for (const status of ["disabled", "active"])
      await run("owner", "update identity.users set account_status = $2 where id = $1", [user, status]);
    expect(await find(hash)).toBeUndefined();
  });

  test("is never left live by a concurrent increase of token_version", async () => {
    for (let i = 0; i < 5; i++) {
      const opened = await openSession().catch(() => undefined);
      const creating = create(opened ? { sessionId: opened } : {}).catch(() => undefined);
      const ending = asUser(user, "select identity.logout_everywhere()");
      const [created] = await Promise.all([creating, ending]);
      if (created) expect(await find(created.hash)).toBeUndefined();
      user = await registerUser(db, `racer${sequence++}`);
    }
  });

  test("is not live after its expiry", async () => {
    const { id, hash } = await create();
    await run(
      "owner",
      "update identity.api_tokens set created_at = now() - interval '2 days', expires_at = now() - interval '1 second' where id = $1",
      [id],
    );
    expect(await find(hash)).toBeUndefined();
    const live = "select private.is_api_token_live($1, $2, 1) as live";
    expect(await run("service", live, [user, id])).toEqual([{ live: false }]);
    const other = await create();
    expect(await run("service", live, [user, other.id])).toEqual([{ live: true }]);
    expect(await run("service", live, [admin, other.id])).toEqual([{ live: false }]);
  });
});

describe("a request with an API token [A5]", () => {
  test.each([
    "select identity.logout()",
    "select identity.logout_everywhere()",
    "select identity.end_other_sessions()",
    "select identity.end_session('00000000-0000-7000-8000-000000000000')",
    "select identity.revoke_api_token('00000000-0000-7000-8000-000000000000')",
    "select identity.give_consent('terms', 1)",
    "select identity.withdraw_consent('terms')",
    "select identity.set_allowed_networks(null)",
    "update identity.user_security_settings set session_timeout_minutes = 5",
  ])("cannot %s", async (sql) => {
    const { id } = await create();
    await expectSqlState(
      asUser(user, sql, [], { "jwt.claims.api_token_id": id, "jwt.claims.session_id": session }),
      "PL403",
    );
  });

  test("cannot create another", async () => {
    const { id } = await create();
    await expectSqlState(
      withClient(db.url("service"), async (client) => {
        await client.query("select set_config('jwt.claims.api_token_id', $1, false)", [id]);
        await client.query(
          "select private.create_api_token($1, $2, 'x', '{read}', null, 'pla_xxxxxxxx', $3)",
          [user, session, someHash()],
        );
      }),
      "PL403",
    );
  });

  test.each([
    "insert into llm.chats (title) values ('x')",
    "update identity.user_settings set display_name = 'x'",
    "delete from llm.chats",
    "select access.grant_role(plinth.current_user_id(), 'admin')",
    "set transaction_read_only = off",
    "set transaction read write",
    "select set_config('transaction_read_only', 'off', true)",
    "do $$ begin update identity.user_settings set display_name = 'x'; end $$",
  ])("cannot, with a read-only token, %s through psql", async (sql) => {
    const code = await withClient(db.url("authenticator"), async (client) => {
      await client.query("begin");
      await asRole(client, { name: "user", prefix: db.rolePrefix }, { user_id: user });
      await client.query("select set_config('transaction_read_only', 'on', true)");
      await client.query("select from identity.users");
      return client.query(sql).then(
        () => "no error",
        (error: { code: string }) => error.code,
      );
    });
    expect(["25006", "25001"]).toContain(code);
    expect(
      await run("owner", "select display_name from identity.user_settings where user_id = $1", [user]),
    ).toEqual([{ display_name: null }]);
  });
});

describe("the last use [A5]", () => {
  const touch = (ids: string[], at: Date, ip: string | null = "198.51.100.1") =>
    run<{ n: number }>("service", "select private.touch_api_tokens($1, $2, $3) as n", [
      ids,
      ids.map(() => at),
      ids.map(() => ip),
    ]);

  test("is written once a minute, whatever the number of servers", async () => {
    const { id } = await create();
    const now = Date.now();
    const told = await Promise.all(Array.from({ length: 10 }, () => touch([id], new Date(now - 70_000))));
    expect(told.map(([row]) => row!.n).reduce((a, b) => a + b)).toBe(1);
    expect((await touch([id], new Date(now - 20_000)))[0]!.n).toBe(0);
    expect((await touch([id, id], new Date(now - 5_000), null))[0]!.n).toBe(1);
    expect(
      await run(
        "owner",
        "select host(last_used_ip) as ip, last_used_at = $2 as ok from identity.api_tokens where id = $1",
        [id, new Date(now - 5_000)],
      ),
    ).toEqual([{ ip: "198.51.100.1", ok: true }]);
  });

  test("does not wait for a locked row", async () => {
    const { id } = await create();
    await withClient(db.url("owner"), async (holder) => {
      await holder.query("begin");
      await holder.query("select from identity.api_tokens where id = $1 for update", [id]);
      expect((await touch([id], new Date()))[0]!.n).toBe(0);
    });
  });

  test("is stored as now when it lies in the future", async () => {
    const { id } = await create();
    await touch([id], new Date(Date.now() + 3_600_000));
    expect(
      await run("owner", "select last_used_at <= now() as ok from identity.api_tokens where id = $1", [id]),
    ).toEqual([{ ok: true }]);
  });
});

test("deletes tokens dead for 90 days and keeps others [A14]", async () => {
  const dead = await create();
  const kept = await create();
  await run("owner", "update identity.api_tokens set revoked_at = now() - interval '91 days' where id = $1", [
    dead.id,
  ]);
  await run("owner", "update identity.api_tokens set revoked_at = now() - interval '89 days' where id = $1", [
    kept.id,
  ]);
  expect(await run("worker", "select private.delete_old_api_tokens(10) as n")).toEqual([{ n: 1 }]);
  expect(await run("owner", "select id from identity.api_tokens where user_id = $1", [user])).toEqual([
    { id: kept.id },
  ]);
  await expectSqlState(run("worker", "select private.delete_old_api_tokens(0)"), "PL422");
});
