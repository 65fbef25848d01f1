import { afterAll, beforeAll, beforeEach, describe, expect, test } from "@jest/globals";
import type pg from "pg";
import { registerUser, SOME_HASH, someHash } from "../support/accounts.ts";
import {
  createTestDatabase,
  inTransaction,
  rowsAs,
  type TestDatabase,
  withClient,
} from "../support/database.ts";
import { untilWaiting, whileLocked } from "../support/waiting.ts";

// private.finish_login, rotate_refresh_token and change_password, called as the service does, on real parallel connections.

let db: TestDatabase;
let user: string;
let sequence = 0;
beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(async () => {
  await db.drop();
});
beforeEach(async () => {
  user = await registerUser(db, `user${sequence++}`);
});

const service = async <T extends object>(
  sql: string,
  params: unknown[] = [],
  ip = "203.0.113.7",
): Promise<T[]> =>
  withClient(db.url("service"), async (client) => {
    await client.query("select set_config('plinth.client_ip', $1, false)", [ip]);
    return (await client.query<T>(sql, params)).rows;
  });
const asOwner = rowsAs("owner", () => db);

interface Login {
  session_id: string;
  token_version: number;
}
const login = async (matches: boolean, hash = someHash(), ip?: string): Promise<Login | undefined> => {
  const version = (
    await asOwner<{ v: number }>("select token_version as v from identity.users where id = $1", [user])
  )[0]?.v;
  return (
    await service<Login>(
      "select * from private.finish_login($1, 'somebody', $2, $3, $4)",
      [user, matches, version, hash],
      ip,
    )
  )[0];
};
const signIn = async (hash = someHash()): Promise<Login> => {
  const session = await login(true, hash);
  if (!session) throw new Error("sign-in refused");
  return session;
};
const rotate = async (presented: Buffer, successor = someHash(), sealed = Buffer.from("sealed")) =>
  (
    await service<{ outcome: string; sealed: Buffer | null }>(
      "select * from private.rotate_refresh_token($1, $2, $3)",
      [presented, successor, sealed],
    )
  )[0]!;
const rotateOn = async (client: pg.Client, presented: Buffer, sealed: string) =>
  (
    await client.query<{ outcome: string; sealed: Buffer | null }>(
      "select * from private.rotate_refresh_token($1, $2, $3)",
      [presented, someHash(), Buffer.from(sealed)],
    )
  ).rows[0]!;
const session = async (id: string) =>
  (
    await asOwner<{ is_active: boolean; end_reason: string | null }>(
      "select * from identity.user_sessions where id = $1",
      [id],
    )
  )[0];
/** `locked_seconds` are those from the moment when the account was locked. */
const account = async () =>
  (
    await asOwner<{ failed_login_attempts: number; locked_seconds: number | null }>(
      `select failed_login_attempts,
         extract(epoch from locked_until - (
           select max(e.created_at) from security.security_audit_log e
           where e.user_id = u.id and e.event_type = 'account_locked'
         ))::integer as locked_seconds
       from identity.users u where id = $1`,
      [user],
    )
  )[0]!;
/** As long as no test lasts. */
const lockForAnHour = () =>
  asOwner("update identity.users set locked_until = locked_until + interval '59 minutes' where id = $1", [
    user,
  ]);
/** Calls that have all begun before one of them gets the lock of a row. */
async function together<T>(
  count: number,
  lock: string,
  id: string,
  call: (index: number) => Promise<T>,
): Promise<T[]> {
  let calls: Promise<T[]> = Promise.resolve([]);
  await whileLocked(db, [[lock, [id]]], async () => {
    calls = Promise.all(Array.from({ length: count }, (_, index) => call(index)));
    await untilWaiting(db, count);
  });
  return calls;
}
const events = async () =>
  (
    await asOwner<{ e: string }>(
      "select event_type as e from security.security_audit_log where user_id = $1",
      [user],
    )
  ).map((row) => row.e);

describe("lockout [A2]", () => {
  test("starts at the fifth wrong password, doubles and is capped at an hour", async () => {
    const seconds: number[] = [];
    for (const failures of [4, 5, 6, 7, 10, 11, 12, 1000]) {
      const [row] = await asOwner<{ s: number }>(
        "select extract(epoch from private.lockout_duration($1))::integer as s",
        [failures],
      );
      seconds.push(row!.s);
    }
    expect(seconds).toEqual([0, 60, 120, 240, 1920, 3600, 3600, 3600]);
  });

  test("rejects the right password until it ends", async () => {
    for (let i = 0; i < 5; i++) expect(await login(false)).toBeUndefined();
    expect(await account()).toEqual({ failed_login_attempts: 5, locked_seconds: 60 });
    await lockForAnHour();
    expect(await login(true)).toBeUndefined();
    await asOwner("update identity.users set locked_until = now() - interval '1 second' where id = $1", [
      user,
    ]);
    expect(await login(true)).toBeDefined();
    expect(await account()).toEqual({ failed_login_attempts: 0, locked_seconds: null });
  });

  test("is not extended by attempts while it lasts", async () => {
    for (let i = 0; i < 5; i++) await login(false);
    await lockForAnHour();
    for (let i = 0; i < 5; i++) await login(false);
    expect(await account()).toEqual({ failed_login_attempts: 5, locked_seconds: 3_600 });
  });

  test("counts parallel guesses one by one", async () => {
    await together(20, "select from identity.users where id = $1 for no key update", user, () =>
      login(false),
    );
    expect(await account()).toEqual({ failed_login_attempts: 5, locked_seconds: 60 });
    expect(await events()).toContain("account_locked");
  });
});

describe("finish_login", () => {
  test("rejects, counts and audits an unknown account without an error", async () => {
    const rows = await service(
      "select * from private.finish_login(null, 'Nobody@Example.com', false, null, $1)",
      [someHash()],
    );
    expect(rows).toEqual([]);
    const [attempt] = await asOwner(
      "select status, failure_reason, host(ip_address) as ip from security.login_attempts where email = 'nobody@example.com'",
    );
    expect(attempt).toEqual({ status: "failed", failure_reason: "unknown_account", ip: "203.0.113.7" });
  });

  test("hashes the name of an unknown account, which may be a password in the wrong field", async () => {
    for (let i = 0; i < 2; i++)
      await service("select * from private.finish_login(null, 'My Secret Password', false, null, $1)", [
        someHash(),
      ]);
    const rows = await asOwner<{ email: string }>(
      "select email from security.login_attempts where user_id is null and email !~ '@'",
    );
    expect(rows).toHaveLength(2);
    expect(rows[0]!.email).toMatch(/^sha256:[0-9a-f]{16}$/);
    expect(rows[1]).toEqual(rows[0]);
  });

  test("rejects a disabled account with the right password", async () => {
    await asOwner("update identity.users set account_status = 'disabled' where id = $1", [user]);
    expect(await login(true)).toBeUndefined();
  });

  test("rejects a password that was changed after its check", async () => {
    const rows = await service("select * from private.finish_login($1, 'x', true, 1, $2)", [
      user,
      someHash(),
    ]);
    expect(rows).toHaveLength(1);
    await asOwner("update identity.users set token_version = token_version + 1 where id = $1", [user]);
    expect(
      await service("select * from private.finish_login($1, 'x', true, 1, $2)", [user, someHash()]),
    ).toEqual([]);
  });

  test("accepts only networks that the user allows", async () => {
    await asOwner(
      "update identity.user_security_settings set allowed_networks = '{10.0.0.0/8}' where user_id = $1",
      [user],
    );
    expect(await login(true, someHash(), "203.0.113.7")).toBeUndefined();
    expect(await login(true, someHash(), "10.1.2.3")).toBeDefined();
  });
});

describe("a refresh token", () => {
  test("is rotated, and the parent of the live one replays its successor", async () => {
    const first = someHash();
    await signIn(first);
    // In one transaction, because a minute later the second call would be a theft.
    const [rotated, replay] = await inTransaction(db.url("service"), async (client) => [
      await rotateOn(client, first, "one"),
      await rotateOn(client, first, "two"),
    ]);
    expect(rotated!.outcome).toBe("rotated");
    expect(replay!.outcome).toBe("replayed");
    expect(replay!.sealed?.toString()).toBe("one");
  });

  test("revokes the family when it is older, and the revocation is committed", async () => {
    const [first, second, third] = [someHash(), someHash(), someHash()];
    const { session_id } = await signIn(first);
    await rotate(first, second);
    await rotate(second, third);
    expect((await rotate(first)).outcome).toBe("refused");
    expect(await session(session_id)).toMatchObject({ is_active: false, end_reason: "token_reuse" });
    expect((await rotate(third)).outcome).toBe("refused");
    expect(await events()).toContain("refresh_token_reused");
  });

  test("revokes the family when it is the parent and returns after the window", async () => {
    const first = someHash();
    const { session_id } = await signIn(first);
    await rotate(first);
    await asOwner(
      "update private.refresh_tokens set used_at = now() - interval '61 seconds' where token_hash = $1",
      [first],
    );
    expect((await rotate(first)).outcome).toBe("refused");
    expect(await session(session_id)).toMatchObject({ is_active: false, end_reason: "token_reuse" });
  });

  test("leaves one live descendant for twenty concurrent callers, who all receive it", async () => {
    const first = someHash();
    const { session_id } = await signIn(first);
    const answers = await together(
      20,
      "select from identity.user_sessions where id = $1 for update",
      session_id,
      (i) => rotate(first, someHash(), Buffer.from(`sealed ${i}`)),
    );
    expect(answers.filter((answer) => answer.outcome === "rotated")).toHaveLength(1);
    const replayed = answers.filter((answer) => answer.outcome === "replayed");
    expect(replayed).toHaveLength(19);
    expect(new Set(replayed.map((answer) => answer.sealed?.toString())).size).toBe(1);
    const [live] = await asOwner<{ n: number }>(
      "select count(*)::integer as n from private.refresh_tokens where session_id = $1 and used_at is null",
      [session_id],
    );
    expect(live!.n).toBe(1);
  });

  test("is rejected when unknown and ends its session when expired", async () => {
    expect((await rotate(someHash())).outcome).toBe("refused");
    const first = someHash();
    const { session_id } = await signIn(first);
    await asOwner("update private.refresh_tokens set expires_at = now() where token_hash = $1", [first]);
    expect((await rotate(first)).outcome).toBe("refused");
    expect(await session(session_id)).toMatchObject({ end_reason: "expired" });
  });

  test("never outlives the session's absolute limit", async () => {
    const first = someHash();
    const { session_id } = await signIn(first);
    await asOwner("update identity.user_sessions set expires_at = now() + interval '1 hour' where id = $1", [
      session_id,
    ]);
    await rotate(first);
    const [row] = await asOwner<{ ok: boolean }>(
      `select max(t.expires_at) filter (where t.used_at is null) = s.expires_at as ok
       from private.refresh_tokens t join identity.user_sessions s on s.id = t.session_id where s.id = $1 group by s.id`,
      [session_id],
    );
    expect(row!.ok).toBe(true);
  });

  test("is replayed although it has expired since its use", async () => {
    const first = someHash();
    await signIn(first);
    await rotate(first);
    // Used a moment ago, however long this test stands still.
    await asOwner(
      "update private.refresh_tokens set expires_at = now(), used_at = now() + interval '1 hour' where token_hash = $1",
      [first],
    );
    expect((await rotate(first)).outcome).toBe("replayed");
  });

  test("ends its session when the session was idle for longer than its user allows", async () => {
    const first = someHash();
    const { session_id } = await signIn(first);
    await asOwner(
      "update identity.user_security_settings set session_timeout_minutes = 5 where user_id = $1",
      [user],
    );
    await asOwner(
      "update identity.user_sessions set last_activity_at = now() - interval '6 minutes' where id = $1",
      [session_id],
    );
    expect((await rotate(first)).outcome).toBe("refused");
    expect(await session(session_id)).toMatchObject({ end_reason: "expired" });
  });

  test("ends with a disabled account", async () => {
    const first = someHash();
    await signIn(first);
    await asOwner("update identity.users set account_status = 'disabled' where id = $1", [user]);
    expect((await rotate(first)).outcome).toBe("refused");
  });
});

describe("change_password", () => {
  const change = (sessionId: string, matches: boolean, version: number) =>
    service<{ token_version: number }>(
      "select * from private.change_password($1, $2, $3, $4, $5, 'argon2id', $6)",
      [user, sessionId, matches, version, SOME_HASH, someHash()],
    );

  test("ends the other sessions and all access tokens but keeps the current session", async () => {
    const oldToken = someHash();
    const here = await signIn(oldToken);
    const there = await signIn();
    const [changed] = await change(here.session_id, true, here.token_version);
    expect(changed!.token_version).toBe(here.token_version + 1);
    expect(await session(here.session_id)).toMatchObject({ is_active: true });
    expect(await session(there.session_id)).toMatchObject({ end_reason: "password_changed" });
    expect((await rotate(oldToken)).outcome).toBe("refused");
  });

  test("counts a wrong current password like a wrong one at sign-in", async () => {
    const here = await signIn();
    for (let i = 0; i < 5; i++) expect(await change(here.session_id, false, here.token_version)).toEqual([]);
    expect(await account()).toEqual({ failed_login_attempts: 5, locked_seconds: 60 });
    await lockForAnHour();
    expect(await change(here.session_id, true, here.token_version)).toEqual([]);
  });

  test("needs a live session of the same account", async () => {
    const here = await signIn();
    await asOwner("update identity.user_sessions set ended_at = now(), end_reason = 'logout' where id = $1", [
      here.session_id,
    ]);
    expect(await change(here.session_id, true, here.token_version)).toEqual([]);
  });
});

describe("revocation", () => {
  const isLive = async (login: Login, version = login.token_version) =>
    (
      await service<{ live: boolean }>("select private.is_token_live($1, $2, $3, $4) as live", [
        user,
        login.session_id,
        "00000000-0000-7000-8000-000000000000",
        version,
      ])
    )[0]!.live;

  test.each([
    [
      "ending the session",
      "update identity.user_sessions set ended_at = now(), end_reason = 'logout' where user_id = $1",
    ],
    ["raising token_version", "update identity.users set token_version = token_version + 1 where id = $1"],
    ["disabling the account", "update identity.users set account_status = 'disabled' where id = $1"],
    ["deleting the account", "delete from identity.users where id = $1"],
    ["deleting the session", "delete from identity.user_sessions where user_id = $1"],
  ])("follows %s by hand for the access token and reaches every server", async (_, sql) => {
    const here = await signIn();
    expect(await isLive(here)).toBe(true);
    await withClient(db.url("service"), async (listener) => {
      const heard = new Promise<string>((resolve) =>
        listener.on("notification", (n) => resolve(n.payload ?? "")),
      );
      await listener.query("listen plinth_revocation");
      await asOwner(sql, [user]);
      // Every role may listen, so the payload does not name the revoked token.
      expect(await heard).toBe("");
    });
    expect(await isLive(here)).toBe(false);
    const listed = await service<{ subject_id: string }>("select * from private.list_revocations()");
    expect(listed.map((row) => row.subject_id).some((id) => id === user || id === here.session_id)).toBe(
      true,
    );
  });

  test("never lowers token_version", async () => {
    await expect(
      asOwner("update identity.users set token_version = 0 where id = $1", [user]),
    ).rejects.toMatchObject({ code: "PL422" });
  });
});
