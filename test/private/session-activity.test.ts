import { afterAll, beforeAll, beforeEach, describe, expect, test } from "@jest/globals";
import { registerUser, someHash } from "../support/accounts.ts";
import {
  asRole,
  createTestDatabase,
  expectSqlState,
  rowsAs,
  type TestDatabase,
  withClient,
} from "../support/database.ts";

// A session's record of its device and use, and its end.

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

const asOwner = rowsAs("owner", () => db);
const service = async <T extends object>(
  sql: string,
  params: unknown[] = [],
  { ip = "203.0.113.7", agent = "curl/8.5.0" } = {},
): Promise<T[]> =>
  withClient(db.url("service"), async (client) => {
    await client.query(
      "select set_config('plinth.client_ip', $1, false), set_config('plinth.user_agent', $2, false)",
      [ip, agent],
    );
    return (await client.query<T>(sql, params)).rows;
  });

async function signIn(options: { ip?: string; agent?: string } = {}): Promise<{ id: string; hash: Buffer }> {
  const hash = someHash();
  const [opened] = await service<{ session_id: string }>(
    "select * from private.finish_login($1, 'somebody', true, 1, $2)",
    [user, hash],
    options,
  );
  return { id: opened!.session_id, hash };
}
const rotate = async (hash: Buffer, ip?: string) => {
  const successor = someHash();
  const [row] = await service<{ outcome: string; refresh_expires_at: Date }>(
    "select * from private.rotate_refresh_token($1, $2, $3)",
    [hash, successor, Buffer.from("sealed")],
    ip ? { ip } : {},
  );
  return { ...row!, successor };
};
const touch = async (ids: string[], at = new Date(), ip: string | null = "203.0.113.7") =>
  (
    await service<{ n: number }>("select private.touch_sessions($1, $2, $3) as n", [
      ids,
      ids.map(() => at),
      ids.map(() => ip),
    ])
  )[0]!.n;
const session = async (id: string) =>
  (
    await asOwner<{
      security_context: { addresses: { address: string }[]; sign_in_address: string };
      device_info: object;
      expires_at: Date;
      last_activity_at: Date;
      ip: string;
      end_reason: string | null;
    }>("select *, host(ip_address) as ip from identity.user_sessions where id = $1", [id])
  )[0]!;
const age = (id: string, minutes: number) =>
  asOwner(
    "update identity.user_sessions set last_activity_at = now() - make_interval(mins => $2) where id = $1",
    [id, minutes],
  );
const setTimeoutMinutes = (minutes: number | null) =>
  asOwner("update identity.user_security_settings set session_timeout_minutes = $2 where user_id = $1", [
    user,
    minutes,
  ]);

describe("the limits of a session [C3]", () => {
  test("are not moved by rotation or use", async () => {
    const { id, hash } = await signIn();
    const { expires_at } = await session(id);
    let token = hash;
    for (let i = 0; i < 5; i++) token = (await rotate(token)).successor;
    await age(id, 5);
    expect(await touch([id])).toBe(1);
    expect((await session(id)).expires_at).toEqual(expires_at);
  });

  test("end a refresh token at the absolute limit, whatever the idle limit", async () => {
    const { id, hash } = await signIn();
    await asOwner("update identity.user_sessions set expires_at = now() + interval '1 hour' where id = $1", [
      id,
    ]);
    await setTimeoutMinutes(43200);
    const { refresh_expires_at } = await rotate(hash);
    expect(refresh_expires_at).toEqual((await session(id)).expires_at);
  });

  test("end a session at the absolute limit, however recently it was used", async () => {
    const { id, hash } = await signIn();
    await asOwner("update identity.user_sessions set expires_at = now() where id = $1", [id]);
    expect(await touch([id], new Date())).toBe(0);
    expect((await rotate(hash)).outcome).toBe("refused");
    expect(await session(id)).toMatchObject({ end_reason: "expired" });
  });

  test("apply a lower idle limit at once, even to idle sessions", async () => {
    const { id, hash } = await signIn();
    await age(id, 60);
    await setTimeoutMinutes(30);
    expect((await rotate(hash)).outcome).toBe("refused");
    expect(await session(id)).toMatchObject({ end_reason: "expired" });
  });

  test("keep a session alive that is used within the idle limit, even between two refreshes", async () => {
    await setTimeoutMinutes(5 * 60);
    const { id, hash } = await signIn();
    // Twelve hours after the token was issued, used three hours ago.
    await asOwner(
      "update private.refresh_tokens set expires_at = expires_at - interval '12 hours' where session_id = $1",
      [id],
    );
    await age(id, 3 * 60);
    const { outcome, refresh_expires_at } = await rotate(hash);
    expect(outcome).toBe("rotated");
    expect(refresh_expires_at.getTime() - Date.now()).toBeLessThanOrEqual(5 * 3_600_000);
  });

  test("end a session after the idle limit despite later use", async () => {
    await setTimeoutMinutes(5);
    const { id, hash } = await signIn();
    await age(id, 6);
    expect(await touch([id])).toBe(0);
    expect((await rotate(hash)).outcome).toBe("refused");
  });
});

describe("the last activity [C3]", () => {
  test("is written once a minute, however many servers report it at once", async () => {
    const { id } = await signIn();
    await age(id, 3);
    const now = Date.now();
    const told = await Promise.all(Array.from({ length: 10 }, () => touch([id], new Date(now - 70_000))));
    expect(told.reduce((a, b) => a + b)).toBe(1);
    expect(await touch([id], new Date(now - 20_000))).toBe(0);
    expect(await touch([id], new Date(now - 5_000))).toBe(1);
  });

  test("is written once each for many sessions in one call", async () => {
    const ids = [];
    for (let i = 0; i < 5; i++) ids.push((await signIn()).id);
    await Promise.all(ids.map((id) => age(id, 2)));
    const orders = [ids, ids.toReversed(), [...ids, ...ids]];
    const told = await Promise.all(orders.map((order) => touch(order)));
    expect(told.reduce((a, b) => a + b)).toBe(5);
  });

  test("is not written for an ended session", async () => {
    const { id } = await signIn();
    await age(id, 2);
    await asOwner("update identity.user_sessions set ended_at = now(), end_reason = 'logout' where id = $1", [
      id,
    ]);
    expect(await touch([id])).toBe(0);
  });

  test("does not wait for a locked account or session", async () => {
    const { id } = await signIn();
    await age(id, 2);
    for (const lock of [
      ["select from identity.users where id = $1 for update", user],
      ["select from identity.user_sessions where id = $1 for update", id],
    ])
      await withClient(db.url("owner"), async (holder) => {
        await holder.query("begin");
        await holder.query(lock[0]!, [lock[1]]);
        expect(await touch([id])).toBe(0);
      });
    expect(await touch([id])).toBe(1);
  });
});

describe("the addresses of a session [C3]", () => {
  test("are kept: that of the sign-in and the last five", async () => {
    const { id, hash } = await signIn({ ip: "192.0.2.1" });
    let token = hash;
    for (const last of [2, 3, 4, 5, 6]) token = (await rotate(token, `192.0.2.${last}`)).successor;
    await age(id, 2);
    await touch([id], new Date(), "192.0.2.7");
    const { security_context, ip } = await session(id);
    expect(ip).toBe("192.0.2.7");
    expect(security_context.sign_in_address).toBe("192.0.2.1");
    expect(security_context.addresses.map(({ address }) => address)).toEqual(
      [7, 6, 5, 4, 3].map((n) => `192.0.2.${n}`),
    );
  });

  test("are audited when the network changes", async () => {
    const { hash } = await signIn({ ip: "192.0.2.1" });
    let token = hash;
    for (const ip of ["192.0.2.2", "2001:db8::1", "2001:db8::2", "198.51.100.9"])
      token = (await rotate(token, ip)).successor;
    const events = await asOwner<{ to: string }>(
      "select event_data ->> 'to_address' as to from security.security_audit_log where user_id = $1 and event_type = 'session_network_changed' order by id",
      [user],
    );
    expect(events.map(({ to }) => to)).toEqual(["2001:db8::1", "198.51.100.9"]);
  });
});

test.each([
  [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36 Edg/126.0.0.0",
    { platform: "Windows", browser: "Edge" },
  ],
  [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
    { platform: "Windows", browser: "Chrome" },
  ],
  [
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1",
    { platform: "iOS", browser: "Safari" },
  ],
  [
    "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36",
    { platform: "Android", browser: "Chrome" },
  ],
  [
    "Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0",
    { platform: "Linux", browser: "Firefox" },
  ],
  [
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 14_5) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Safari/605.1.15",
    { platform: "macOS", browser: "Safari" },
  ],
  ["curl/8.5.0", { browser: "curl" }],
  ["<script>alert(1)</script>", {}],
  ["", {}],
])("recognizes the device of %j [C3]", async (agent, expected) => {
  const { id } = await signIn({ agent });
  expect((await session(id)).device_info).toEqual(expected);
});

test("accepts an application's device description of up to 2 kB for the user's own session [C3]", async () => {
  const { id } = await signIn();
  const describeDevice = (by: string, info: string) =>
    withClient(db.url("authenticator"), async (client) => {
      await client.query("begin");
      await asRole(client, { name: "user", prefix: db.rolePrefix }, { user_id: by });
      const { rowCount } = await client.query(
        "update identity.user_sessions set device_info = $2 where id = $1",
        [id, info],
      );
      await client.query("commit");
      return rowCount;
    });
  expect(await describeDevice(user, '{"model": "X1"}')).toBe(1);
  expect((await session(id)).device_info).toEqual({ model: "X1" });
  await expectSqlState(describeDevice(user, JSON.stringify({ x: "x".repeat(2048) })), "23514");
  await expectSqlState(describeDevice(user, "[]"), "23514");
  expect(await describeDevice(await registerUser(db, `stranger${sequence++}`), "{}")).toBe(0);
});

describe("ending the other sessions [C3]", () => {
  const endOthers = (sessionId: string | null) =>
    withClient(db.url("authenticator"), async (client) => {
      await client.query("begin");
      await asRole(client, { name: "user", prefix: db.rolePrefix }, { user_id: user, session_id: sessionId });
      const { rows } = await client.query<{ n: number }>("select identity.end_other_sessions() as n");
      await client.query("commit");
      return rows[0]!.n;
    });

  test("keeps the caller's session and those of other users", async () => {
    const here = await signIn();
    const there = await signIn();
    const mine = user;
    user = await registerUser(db, `other${sequence++}`);
    const others = await signIn();
    user = mine;
    expect(await endOthers(here.id)).toBe(1);
    expect(await session(there.id)).toMatchObject({ end_reason: "ended_by_user" });
    expect([(await session(here.id)).end_reason, (await session(others.id)).end_reason]).toEqual([
      null,
      null,
    ]);
    expect((await rotate(there.hash)).outcome).toBe("refused");
    expect((await rotate(here.hash)).outcome).toBe("rotated");
    expect(
      await asOwner("select from private.token_blacklist where kind = 'session' and subject_id = $1", [
        there.id,
      ]),
    ).toHaveLength(1);
    expect(
      await asOwner(
        "select from security.security_audit_log where user_id = $1 and event_type = 'other_sessions_ended'",
        [user],
      ),
    ).toHaveLength(1);
  });

  test("leaves at most one session when two devices call at once, without an error", async () => {
    const [one, two] = [await signIn(), await signIn()];
    await Promise.all([endOthers(one.id), endOthers(two.id)]);
    const alive = [await session(one.id), await session(two.id)].filter(
      ({ end_reason }) => end_reason === null,
    );
    expect(alive.length).toBeLessThanOrEqual(1);
  });

  test("needs a session", async () => {
    await expectSqlState(endOthers(null), "PL403");
  });
});
