import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "@jest/globals";
import { registerUser, someHash } from "../support/accounts.ts";
import {
  createTestDatabase,
  expectSqlState,
  inRolledBackTransaction,
  rowsAs,
  type TestDatabase,
  withClient,
} from "../support/database.ts";
import { untilWaiting, whileLocked } from "../support/waiting.ts";

// The decisions on second factors, called as the service does, on real parallel connections. Decryption and signature checks
// happen outside; here a proof carries their result.

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

interface Claims {
  readonly user_id?: string;
  readonly session_id?: string | null;
}
const service = async <T extends object>(
  sql: string,
  params: unknown[] = [],
  claims: Claims = {},
  ip = "203.0.113.7",
): Promise<T[]> =>
  withClient(db.url("service"), async (client) => {
    await client.query(
      `select set_config('plinth.client_ip', $1, false), set_config('jwt.claims.user_id', $2, false),
         set_config('jwt.claims.session_id', $3, false)`,
      [ip, claims.user_id ?? "", claims.session_id ?? ""],
    );
    return (await client.query<T>(sql, params)).rows;
  });
const asOwner = rowsAs("owner", () => db);

const addTotp = async (userId = user): Promise<string> => {
  const [row] = await asOwner<{ id: string }>(
    `insert into identity.mfa_factors (user_id, kind, name, confirmed_at) values ($1, 'totp', 'app', now()) returning id`,
    [userId],
  );
  await asOwner("insert into private.totp_secrets (factor_id, sealed_secret) values ($1, 'v1.x')", [row!.id]);
  return row!.id;
};
const addPasskey = async (signCount = 0, backupEligible = false): Promise<string> => {
  const [row] = await asOwner<{ id: string }>(
    `insert into identity.mfa_factors (user_id, kind, name, confirmed_at) values ($1, 'passkey', 'key', now()) returning id`,
    [user],
  );
  await asOwner(
    `insert into private.passkeys (factor_id, credential_id, public_key, sign_count, backup_eligible, backed_up)
     values ($1, $2, '\\x01', $3, $4, false)`,
    [row!.id, randomBytes(16), signCount, backupEligible],
  );
  return row!.id;
};
const addRecoveryCode = async (): Promise<string> => {
  const hash = someHash();
  await asOwner("insert into private.recovery_codes (user_id, code_hash) values ($1, $2)", [user, hash]);
  return hash.toString("hex");
};

interface Opened {
  readonly session_id: string | null;
  readonly challenge_expires_at: Date | null;
  readonly challenge_methods: string[] | null;
}
const passwordSignIn = async (challenge = someHash()): Promise<{ opened: Opened; challenge: Buffer }> => {
  const [row] = await asOwner<{ v: number }>("select token_version as v from identity.users where id = $1", [
    user,
  ]);
  const [opened] = await service<Opened>(
    "select * from private.finish_login($1, 'somebody', true, $2, $3, 'desk', $4)",
    [user, row!.v, someHash(), challenge],
  );
  return { opened: opened!, challenge };
};
const challenged = async (): Promise<Buffer> => (await passwordSignIn()).challenge;

type Proof = Record<string, unknown>;
const totp = (factor_id: string | null, step: number | null): Proof => ({ method: "totp", factor_id, step });
const recovery = (code_hash: string): Proof => ({ method: "recovery_code", code_hash });
const passkey = (factor_id: string, sign_count: number, more: Proof = {}): Proof => ({
  ...{ method: "passkey", factor_id, verified: true, sign_count, backed_up: false },
  ...more,
});
const WRONG = totp(null, null);
const finish = async (challenge: Buffer, proof: Proof, ip?: string) =>
  (
    await service<{ user_id: string; session_id: string }>(
      "select * from private.finish_sign_in($1, $2, $3)",
      [challenge, JSON.stringify(proof), someHash()],
      {},
      ip,
    )
  )[0];
const guess = async (times: number): Promise<void> => {
  for (let i = 0; i < times; i++) expect(await finish(await challenged(), WRONG)).toBeUndefined();
};
const unlock = () =>
  asOwner("update private.mfa_attempts set locked_until = now() - interval '1 second' where user_id = $1", [
    user,
  ]);

const account = async () =>
  (
    await asOwner<{ failed_login_attempts: number; last_login_at: Date | null }>(
      "select failed_login_attempts, last_login_at from identity.users where id = $1",
      [user],
    )
  )[0]!;
/** As long as no test lasts. */
const lockForAnHour = () =>
  asOwner(
    "update private.mfa_attempts set locked_until = last_failed_at + interval '1 hour' where user_id = $1",
    [user],
  );
const attempts = async () =>
  (
    await asOwner<{ failed_attempts: number; seconds: number | null }>(
      `select failed_attempts, extract(epoch from locked_until - last_failed_at)::integer as seconds
       from private.mfa_attempts where user_id = $1`,
      [user],
    )
  )[0];
const events = async (type: string) =>
  asOwner<{ severity: string; event_data: Record<string, unknown> }>(
    "select severity, event_data from security.security_audit_log where user_id = $1 and event_type = $2",
    [user, type],
  );
const statuses = async () =>
  (
    await asOwner<{ s: string }>(
      `select status || coalesce(' ' || failure_reason, '') as s from security.login_attempts
       where user_id = $1 order by created_at, id`,
      [user],
    )
  ).map((row) => row.s);
const sessionMethods = async (id: string) =>
  (
    await asOwner<{ m: string[]; d: string | null }>(
      "select authentication_methods as m, device_name as d from identity.user_sessions where id = $1",
      [id],
    )
  )[0];

describe("a sign-in with one factor [A2]", () => {
  test("opens a session without a confirmed second factor", async () => {
    await asOwner("insert into identity.mfa_factors (user_id, kind, name) values ($1, 'totp', 'half')", [
      user,
    ]);
    const { opened } = await passwordSignIn();
    expect(opened).toMatchObject({ challenge_expires_at: null, challenge_methods: null });
    expect(opened.session_id).not.toBeNull();
    expect(await statuses()).toEqual(["success"]);
  });

  test("opens only a challenge for ten minutes when a second factor exists", async () => {
    await addTotp();
    await addPasskey();
    await addRecoveryCode();
    const { opened, challenge } = await passwordSignIn();
    expect(opened).toMatchObject({
      ...{ session_id: null, token_version: null, refresh_expires_at: null },
      challenge_methods: ["passkey", "totp", "recovery_code"],
    });
    const [row] = await asOwner<{ s: number; m: string[]; d: string }>(
      `select extract(epoch from expires_at - created_at)::integer as s, methods as m, device_name as d
       from private.sign_in_challenges where token_hash = $1`,
      [challenge],
    );
    expect(row).toEqual({ s: 600, m: ["pwd"], d: "desk" });
    expect(await asOwner("select from identity.user_sessions where user_id = $1", [user])).toHaveLength(0);
    expect(await asOwner("select from private.refresh_tokens where user_id = $1", [user])).toHaveLength(0);
  });

  test("opens a challenge for an external provider, too", async () => {
    await addTotp();
    const rows = await asOwner<Opened>("select * from private.complete_sign_in($1, '{fed}', $2, null, $3)", [
      ...[user, someHash(), someHash()],
    ]);
    expect(rows).toMatchObject([{ session_id: null, challenge_methods: ["totp"] }]);
  });

  test("requires a challenge even when the call omits its hash", async () => {
    await addTotp();
    await expectSqlState(
      asOwner("select * from private.complete_sign_in($1, '{fed,mfa}', $2, null, null)", [user, someHash()]),
      "PL403",
    );
  });

  test("does not count as a success: failures and the last sign-in stay unchanged", async () => {
    await addTotp();
    await asOwner("update identity.users set failed_login_attempts = 3 where id = $1", [user]);
    const challenge = await challenged();
    expect(await account()).toEqual({ failed_login_attempts: 3, last_login_at: null });
    expect(await statuses()).toEqual(["challenged"]);
    expect(await finish(challenge, WRONG)).toBeUndefined();
    expect(await account()).toEqual({ failed_login_attempts: 3, last_login_at: null });
    const { challenge: next } = await passwordSignIn();
    expect(await finish(next, totp(await addTotp(), 100))).toBeDefined();
    expect(await account()).toEqual({ failed_login_attempts: 0, last_login_at: expect.any(Date) });
    expect(await statuses()).toEqual(["challenged", "failed wrong_code", "challenged", "success"]);
  });
});

describe("the second step", () => {
  test("opens a session that records the methods used and the device name of the first step", async () => {
    const factor = await addTotp();
    const opened = await finish(await challenged(), totp(factor, 100));
    expect(opened!.user_id).toBe(user);
    expect(await sessionMethods(opened!.session_id)).toEqual({ m: ["pwd", "otp", "mfa"], d: "desk" });
    const [row] = await asOwner<{ used: boolean }>(
      "select last_used_at is not null as used from identity.mfa_factors where id = $1",
      [factor],
    );
    expect(row!.used).toBe(true);
  });

  test("opens one session for twenty concurrent attempts", async () => {
    const codes = await Promise.all(Array.from({ length: 20 }, addRecoveryCode));
    await addTotp();
    const challenge = await challenged();
    const opened = await Promise.all(codes.map((code) => finish(challenge, recovery(code))));
    expect(opened.filter(Boolean)).toHaveLength(1);
    const left = await asOwner("select from private.recovery_codes where user_id = $1 and used_at is null", [
      user,
    ]);
    expect(left).toHaveLength(19);
  });

  test.each([
    ["the password changed", "update identity.users set token_version = token_version + 1 where id = $1"],
    ["the account was disabled", "update identity.users set account_status = 'disabled' where id = $1"],
    [
      "the account was disabled and enabled again",
      `update identity.users set account_status = 'disabled' where id = $1;
       update identity.users set account_status = 'active' where id = $1`,
    ],
    [
      "too many passwords were guessed",
      "update identity.users set locked_until = now() + interval '1 hour' where id = $1",
    ],
    ["ten minutes passed", "update private.sign_in_challenges set expires_at = now() where user_id = $1"],
    [
      "ten answers were wrong",
      "update private.sign_in_challenges set failed_attempts = 10 where user_id = $1",
    ],
    [
      "the network is not allowed",
      "update identity.user_security_settings set allowed_networks = '{10.0.0.0/8}' where user_id = $1",
    ],
    ["the factor was removed", "delete from identity.mfa_factors where user_id = $1"],
  ])("is rejected once %s", async (_what, sql) => {
    const factor = await addTotp();
    const challenge = await challenged();
    for (const statement of sql.split(";")) await asOwner(statement, [user]);
    expect(await finish(challenge, totp(factor, 100))).toBeUndefined();
    expect((await events("login_failed")).length).toBe(1);
  });

  test("is rejected after signing out everywhere", async () => {
    const factor = await addTotp();
    const challenge = await challenged();
    await withClient(db.url("authenticator"), async (client) => {
      await client.query("begin");
      await client.query("select set_config('role', $1, true), set_config('jwt.claims.user_id', $2, true)", [
        ...[`${db.rolePrefix}_user`, user],
      ]);
      await client.query("select identity.logout_everywhere()");
      await client.query("commit");
    });
    expect(await finish(challenge, totp(factor, 100))).toBeUndefined();
  });

  test("does not extend the challenge by attempts and ends it at the tenth wrong one", async () => {
    const factor = await addTotp();
    const challenge = await challenged();
    const read = async () =>
      (
        await asOwner<{ e: string; n: number }>(
          "select expires_at::text as e, failed_attempts as n from private.sign_in_challenges where token_hash = $1",
          [challenge],
        )
      )[0]!;
    const before = await read();
    for (let i = 0; i < 10; i++) await finish(challenge, WRONG);
    expect(await read()).toEqual({ e: before.e, n: 10 });
    await unlock();
    expect(await finish(challenge, totp(factor, 100))).toBeUndefined();
  });

  test("ignores an unknown challenge", async () => {
    expect(await finish(someHash(), WRONG)).toBeUndefined();
  });

  test("rejects another user's factor", async () => {
    await addTotp();
    const other = await addTotp(await registerUser(db, `user${sequence++}`));
    expect(await finish(await challenged(), totp(other, 100))).toBeUndefined();
  });

  test.each([
    ["an authenticator app", addTotp, (id: string) => totp(id, 1)],
    ["a passkey", addPasskey, (id: string) => passkey(id, 1)],
  ])("rejects %s that is removed meanwhile and does not block its removal", async (_, add, proofOf) => {
    const factor = await add();
    const challenge = await challenged();
    const finished = await withClient(db.url("owner"), async (client) => {
      await client.query("begin");
      await client.query("select from identity.mfa_factors where id = $1 for no key update", [factor]);
      const finishing = finish(challenge, proofOf(factor));
      await untilWaiting(db);
      await client.query("delete from identity.mfa_factors where id = $1", [factor]);
      await client.query("commit");
      return finishing;
    });
    expect(finished).toBeUndefined();
  });

  test("rejects an unconfirmed factor", async () => {
    await addTotp();
    const factor = await addTotp();
    await asOwner("update identity.mfa_factors set confirmed_at = null where id = $1", [factor]);
    expect(await finish(await challenged(), totp(factor, 100))).toBeUndefined();
  });
});

describe("a code [A2]", () => {
  test("signs in one of twenty concurrent challenges and locks no account", async () => {
    const factor = await addTotp();
    const challenges = await Promise.all(Array.from({ length: 20 }, challenged));
    const opened = await Promise.all(challenges.map((challenge) => finish(challenge, totp(factor, 5_000))));
    expect(opened.filter(Boolean)).toHaveLength(1);
    // The codes were right, only late: no guess is counted.
    expect(await attempts()).toBeUndefined();
    expect((await events("mfa_failed")).map((event) => event.event_data.reason)).toEqual(
      Array.from({ length: 19 }, () => "code_reused"),
    );
  });

  test("is rejected when it is older than the last one used", async () => {
    const factor = await addTotp();
    expect(await finish(await challenged(), totp(factor, 5_000))).toBeDefined();
    expect(await finish(await challenged(), totp(factor, 4_999))).toBeUndefined();
    expect(await finish(await challenged(), totp(factor, 5_001))).toBeDefined();
  });

  test("counts for the account when wrong, whatever the challenge: the tenth locks right codes, too", async () => {
    const factor = await addTotp();
    const code = await addRecoveryCode();
    await guess(9);
    expect(await attempts()).toEqual({ failed_attempts: 9, seconds: null });
    await guess(1);
    expect(await attempts()).toEqual({ failed_attempts: 10, seconds: 60 });
    expect(await events("mfa_locked")).toMatchObject([{ severity: "warning" }]);
    await lockForAnHour();
    expect(await finish(await challenged(), totp(factor, 100))).toBeUndefined();
    expect(await finish(await challenged(), recovery(code))).toBeUndefined();
    // Attempts during the lock neither count nor extend it.
    expect(await attempts()).toEqual({ failed_attempts: 10, seconds: 3_600 });
    await unlock();
    expect(await finish(await challenged(), totp(factor, 100))).toBeDefined();
    expect(await attempts()).toBeUndefined();
  });

  test("is counted one by one when guessed on twenty connections at once", async () => {
    await addTotp();
    const challenges = await Promise.all(Array.from({ length: 20 }, challenged));
    // All have begun before the tenth locks the account for a minute.
    let guesses: Promise<unknown> = Promise.resolve();
    await whileLocked(
      db,
      [["select from identity.users where id = $1 for no key update", [user]]],
      async () => {
        guesses = Promise.all(challenges.map((challenge) => finish(challenge, WRONG)));
        await untilWaiting(db, challenges.length);
      },
    );
    await guesses;
    expect(await attempts()).toMatchObject({ failed_attempts: 10 });
  });

  test("locks twice as long each time, up to a day", async () => {
    const seconds: number[] = [];
    for (const failures of [9, 10, 11, 12, 20, 21, 22, 1000]) {
      const [row] = await asOwner<{ s: number }>(
        "select extract(epoch from private.mfa_lockout_duration($1))::integer as s",
        [failures],
      );
      seconds.push(row!.s);
    }
    expect(seconds).toEqual([0, 60, 120, 240, 61_440, 86_400, 86_400, 86_400]);
  });

  test("is disabled after a hundred wrong ones in a row until another factor that cannot be guessed succeeds", async () => {
    const factor = await addTotp();
    const code = await addRecoveryCode();
    await guess(1);
    await asOwner("update private.mfa_attempts set failed_attempts = 100 where user_id = $1", [user]);
    expect(await finish(await challenged(), totp(factor, 100))).toBeUndefined();
    expect(await finish(await challenged(), recovery(code))).toBeDefined();
    expect(await finish(await challenged(), totp(factor, 100))).toBeDefined();
  });
});

describe("a recovery code [A2]", () => {
  test("works once, even concurrently, and reports how many are left", async () => {
    await addTotp();
    const code = await addRecoveryCode();
    await addRecoveryCode();
    const challenges = await Promise.all(Array.from({ length: 9 }, challenged));
    const opened = await Promise.all(challenges.map((challenge) => finish(challenge, recovery(code))));
    expect(opened.filter(Boolean)).toHaveLength(1);
    expect(await events("recovery_code_used")).toEqual([{ severity: "warning", event_data: { left: 1 } }]);
  });

  test("is rejected for another user", async () => {
    await addTotp();
    const code = await addRecoveryCode();
    user = await registerUser(db, `user${sequence++}`);
    await addTotp();
    expect(await finish(await challenged(), recovery(code))).toBeUndefined();
  });
});

describe("a passkey [A2]", () => {
  test("opens a session as second factor and is recorded as hardware-bound or synced", async () => {
    const bound = await addPasskey();
    const first = await finish(await challenged(), passkey(bound, 1));
    expect((await sessionMethods(first!.session_id))!.m).toEqual(["pwd", "hwk", "mfa"]);
    const synced = await addPasskey(0, true);
    const second = await finish(await challenged(), passkey(synced, 0, { backed_up: true }));
    expect((await sessionMethods(second!.session_id))!.m).toEqual(["pwd", "swk", "mfa"]);
  });

  test.each([
    [5, 5],
    [5, 4],
    [5, 0],
  ])("is rejected as a copy, with a warning, when its counter goes from %i to %i", async (before, now) => {
    const factor = await addPasskey(before);
    expect(await finish(await challenged(), passkey(factor, now))).toBeUndefined();
    expect(await events("passkey_cloned")).toMatchObject([{ severity: "warning" }]);
    const [row] = await asOwner<{ n: string }>(
      "select sign_count as n from private.passkeys where factor_id = $1",
      [factor],
    );
    expect(Number(row!.n)).toBe(before);
    expect(await finish(await challenged(), passkey(factor, before + 1))).toBeDefined();
  });

  test("is accepted repeatedly without a counter", async () => {
    const factor = await addPasskey();
    for (let i = 0; i < 2; i++) expect(await finish(await challenged(), passkey(factor, 0))).toBeDefined();
  });

  test("is rejected when its verification failed", async () => {
    const factor = await addPasskey();
    expect(await finish(await challenged(), passkey(factor, 1, { verified: false }))).toBeUndefined();
    expect(await attempts()).toBeUndefined();
  });

  test("bypasses the lock on codes, so that a thief of the password cannot lock the owner out", async () => {
    await addTotp();
    const factor = await addPasskey();
    await guess(10);
    expect(await finish(await challenged(), passkey(factor, 1))).toBeDefined();
    expect(await attempts()).toBeUndefined();
  });

  const ceremonyOf = async (purpose: string, userId: string | null): Promise<Buffer> => {
    const challenge = randomBytes(32);
    await asOwner("select private.start_passkey_ceremony($1, $2, $3)", [challenge, purpose, userId]);
    return challenge;
  };
  const take = async (challenge: Buffer, purpose: string, userId: string | null) =>
    (
      await service<{ taken: boolean }>("select private.take_passkey_challenge($1, $2, $3) as taken", [
        ...[challenge, purpose, userId],
      ])
    )[0]!.taken;

  test("has a challenge that one of twenty concurrent calls takes", async () => {
    const challenge = await ceremonyOf("sign_in", null);
    const taken = await Promise.all(Array.from({ length: 20 }, () => take(challenge, "sign_in", null)));
    expect(taken.filter(Boolean)).toHaveLength(1);
  });

  test("has a challenge valid only for its purpose, its account and five minutes", async () => {
    const other = await registerUser(db, `user${sequence++}`);
    const challenge = await ceremonyOf("second_factor", user);
    expect(await take(challenge, "reauthenticate", user)).toBe(false);
    expect(await take(challenge, "second_factor", other)).toBe(false);
    expect(await take(challenge, "second_factor", null)).toBe(false);
    expect(await take(challenge, "second_factor", user)).toBe(true);
    const late = await ceremonyOf("register", user);
    await asOwner("update private.passkey_challenges set expires_at = now() where challenge = $1", [late]);
    expect(await take(late, "register", user)).toBe(false);
    // Each purpose has one current challenge: a new one deletes the last.
    const first = await ceremonyOf("register", user);
    await ceremonyOf("register", user);
    expect(await take(first, "register", user)).toBe(false);
  });
});

describe("step-up", () => {
  const session = async (age: string, more = ""): Promise<Claims> => {
    const [row] = await asOwner<{ id: string }>(
      `insert into identity.user_sessions (user_id, authenticated_at) values ($1, now() - $2::interval) returning id`,
      [user, age],
    );
    if (more) await asOwner(`update identity.user_sessions set ${more} where id = $1`, [row!.id]);
    return { user_id: user, session_id: row!.id };
  };
  const require = (claims: Claims) => service("select private.require_recent_authentication()", [], claims);

  test("accepts a live session of the caller's account authenticated within ten minutes", async () => {
    // In one transaction, the time stands still.
    await inRolledBackTransaction(db, async (tx) => {
      for (const [age, isRecent] of [
        ["10 minutes", true],
        ["10 minutes 1 microsecond", false],
      ] as const) {
        await tx.asOwner();
        const [row] = await tx.rows<{ id: string }>(
          "insert into identity.user_sessions (user_id, authenticated_at) values ($1, now() - $2::interval) returning id",
          [user, age],
        );
        await tx.asService();
        await tx.set("jwt.claims.user_id", user);
        await tx.set("jwt.claims.session_id", row!.id);
        const required = tx.attempt("select private.require_recent_authentication()");
        if (isRecent) await required;
        else
          await expect(required).rejects.toMatchObject({
            ...{ code: "PL403", hint: "Confirm it is you with reauthenticate." },
          });
      }
    });
    await expectSqlState(require({}), "PL401");
    await expectSqlState(require({ user_id: user }), "PL401");
    await expectSqlState(require(await session("0", "ended_at = now(), end_reason = 'logout'")), "PL401");
    await expectSqlState(require(await session("0", "expires_at = now()")), "PL401");
    const other = await registerUser(db, `user${sequence++}`);
    await expectSqlState(require({ ...(await session("0")), user_id: other }), "PL401");
    const claims = await session("0");
    await asOwner("update identity.users set account_status = 'disabled' where id = $1", [user]);
    await expectSqlState(require(claims), "PL401");
  });

  test("is required by every change of factors", async () => {
    const claims = await session("11 minutes");
    const factor = await addTotp();
    const statements: [string, unknown[]][] = [
      ["select * from private.start_totp('x', 'v1.x')", []],
      ["select private.confirm_totp($1, 1, '{}')", [factor]],
      ["select * from private.start_passkey_registration($1)", [randomBytes(32)]],
      ["select private.regenerate_recovery_codes('{}')", []],
    ];
    for (const [sql, params] of statements) await expectSqlState(service(sql, params, claims), "PL403");
    await withClient(db.url("authenticator"), async (client) => {
      await client.query("begin");
      await client.query(
        `select set_config('role', $1, true), set_config('jwt.claims.user_id', $2, true),
           set_config('jwt.claims.session_id', $3, true)`,
        [`${db.rolePrefix}_user`, user, claims.session_id],
      );
      await expectSqlState(client.query("select identity.remove_mfa_factor($1)", [factor]), "PL403");
    });
  });

  test("keeps the last factor while the password is allowed only beside it [A1]", async () => {
    const claims = await session("0");
    const factor = await addTotp();
    const remove = () =>
      withClient(db.url("authenticator"), async (client) => {
        await client.query("begin");
        await client.query(
          `select set_config('role', $1, true), set_config('jwt.claims.user_id', $2, true),
             set_config('jwt.claims.session_id', $3, true)`,
          [`${db.rolePrefix}_user`, user, claims.session_id],
        );
        await client.query("select identity.remove_mfa_factor($1)", [factor]);
        await client.query("commit");
      });
    const setPassword = (sufficesAlone: boolean) =>
      asOwner("update private.user_passwords set suffices_alone = $2 where user_id = $1", [
        user,
        sufficesAlone,
      ]);
    await setPassword(false);
    await expectSqlState(remove(), "PL409");
    expect(await asOwner("select from identity.mfa_factors where id = $1", [factor])).toHaveLength(1);
    await setPassword(true);
    await remove();
    expect(await asOwner("select from identity.mfa_factors where id = $1", [factor])).toEqual([]);
  });

  const reauthenticate = async (claims: Claims, proof: Proof) =>
    (
      await service<{ at: Date | null }>(
        "select private.reauthenticate($1) as at",
        [JSON.stringify(proof)],
        claims,
      )
    )[0]!.at;
  const password = (matches: boolean): Proof => ({ method: "password", matches, token_version: 1 });

  test("accepts the password without a second factor and locks the account after wrong ones", async () => {
    const claims = await session("1 hour");
    expect(await reauthenticate(claims, password(true))).toBeInstanceOf(Date);
    await require(claims);
    for (let i = 0; i < 5; i++) expect(await reauthenticate(claims, password(false))).toBeNull();
    expect(await account()).toMatchObject({ failed_login_attempts: 5 });
    await asOwner("update identity.users set locked_until = locked_until + interval '1 hour' where id = $1", [
      user,
    ]);
    expect(await reauthenticate(claims, password(true))).toBeNull();
    expect((await events("reauthentication_failed")).length).toBe(6);
  });

  test("accepts only the second factor when one exists", async () => {
    const claims = await session("1 hour");
    const factor = await addTotp();
    await expectSqlState(reauthenticate(claims, password(true)), "PL422");
    await expectSqlState(reauthenticate(claims, password(false)), "PL422");
    expect(await reauthenticate(claims, totp(factor, 7))).toBeInstanceOf(Date);
    await require(claims);
    expect((await sessionMethods(claims.session_id!))!.m).toEqual(["mfa", "otp"]);
    expect(await reauthenticate(claims, totp(factor, 7))).toBeNull();
  });

  test("counts wrong codes together with those of sign-ins", async () => {
    const claims = await session("1 hour");
    await addTotp();
    await guess(9);
    expect(await reauthenticate(claims, WRONG)).toBeNull();
    expect(await attempts()).toMatchObject({ failed_attempts: 10, seconds: 60 });
  });

  test("needs a live session", async () => {
    await expectSqlState(reauthenticate({ user_id: user }, password(true)), "PL401");
  });
});

describe("enrolment", () => {
  const signedIn = async (): Promise<Claims> => {
    const [row] = await asOwner<{ id: string }>(
      "insert into identity.user_sessions (user_id) values ($1) returning id",
      [user],
    );
    return { user_id: user, session_id: row!.id };
  };
  const codes = () => Array.from({ length: 10 }, someHash);

  test("uses up an authenticator app's first code and confirms in one of twenty concurrent calls", async () => {
    const claims = await signedIn();
    const [started] = await service<{ factor_id: string }>(
      "select * from private.start_totp('x', 'v1.x')",
      [],
      claims,
    );
    const results = await Promise.allSettled(
      Array.from({ length: 20 }, () =>
        service("select private.confirm_totp($1, 50, $2)", [started!.factor_id, codes()], claims),
      ),
    );
    expect(results.filter((result) => result.status === "fulfilled")).toHaveLength(1);
    expect(await finish(await challenged(), totp(started!.factor_id, 50))).toBeUndefined();
    expect(await finish(await challenged(), totp(started!.factor_id, 51))).toBeDefined();
    expect((await events("factor_added")).length).toBe(1);
    expect(await asOwner("select from private.recovery_codes where user_id = $1", [user])).toHaveLength(10);
    expect((await sessionMethods(claims.session_id!))!.m).toEqual(["mfa", "otp"]);
  });

  test("replaces an earlier start and rejects a fourth app", async () => {
    const claims = await signedIn();
    const start = () =>
      service<{ factor_id: string }>("select * from private.start_totp('x', 'v1.x')", [], claims);
    const [first] = await start();
    await start();
    expect(await asOwner("select from identity.mfa_factors where user_id = $1", [user])).toHaveLength(1);
    await expectSqlState(
      service("select private.confirm_totp($1, 50, $2)", [first!.factor_id, codes()], claims),
      "PL404",
    );
    for (let i = 0; i < 3; i++) await addTotp();
    await expectSqlState(start(), "PL409");
  });

  test("of another user cannot be confirmed or read", async () => {
    const mine = await signedIn();
    const [started] = await service<{ factor_id: string }>(
      "select * from private.start_totp('x', 'v1.x')",
      [],
      mine,
    );
    user = await registerUser(db, `user${sequence++}`);
    const theirs = await signedIn();
    const id = started!.factor_id;
    await expectSqlState(service("select private.confirm_totp($1, 50, $2)", [id, codes()], theirs), "PL404");
    expect(await service("select private.find_unconfirmed_totp($1) as s", [id], theirs)).toEqual([
      { s: null },
    ]);
  });

  test("keeps the recovery codes of the first factor for a second, and new codes invalidate old ones", async () => {
    const claims = await signedIn();
    const old = codes();
    const add = (hashes: Buffer[]) =>
      service<{ codes_were_stored: boolean }>(
        "select codes_were_stored from private.finish_passkey_registration('x', $1, '\\x01', 0, '{}', false, false, null, $2)",
        [randomBytes(16), hashes],
        claims,
      );
    expect(await add(old)).toEqual([{ codes_were_stored: true }]);
    expect(await add(codes())).toEqual([{ codes_were_stored: false }]);
    await service("select private.regenerate_recovery_codes($1)", [codes()], claims);
    expect(await finish(await challenged(), recovery(old[0]!.toString("hex")))).toBeUndefined();
  });

  test("creates recovery codes only beside a factor", async () => {
    await expectSqlState(
      service("select private.regenerate_recovery_codes($1)", [codes()], await signedIn()),
      "PL409",
    );
  });
});

test("deletes only abandoned challenges and enrolments in the clean-up", async () => {
  await addTotp();
  const live = await challenged();
  const dead = await challenged();
  await asOwner("update private.sign_in_challenges set expires_at = now() where token_hash = $1", [dead]);
  for (const age of ["0 hours", "25 hours"])
    await asOwner(
      "insert into identity.mfa_factors (user_id, kind, name, created_at) values ($1, 'totp', 'half', now() - $2::interval)",
      [user, age],
    );
  for (const expires of ["1 minute", "0"])
    await asOwner(
      "insert into private.passkey_challenges (challenge, purpose, expires_at) values ($1, 'sign_in', now() + $2::interval)",
      [randomBytes(32), expires],
    );
  const clean = () =>
    withClient(
      db.url("worker"),
      async (client) =>
        (await client.query<{ n: number }>("select private.delete_expired_sign_in_data(1000) as n")).rows[0]!
          .n,
    );
  expect(await clean()).toBeGreaterThanOrEqual(3);
  expect(await clean()).toBe(0);
  expect(await asOwner("select from private.sign_in_challenges where token_hash = $1", [live])).toHaveLength(
    1,
  );
  expect(await asOwner("select from private.sign_in_challenges where token_hash = $1", [dead])).toHaveLength(
    0,
  );
  expect(await asOwner("select from identity.mfa_factors where user_id = $1", [user])).toHaveLength(2);
});
