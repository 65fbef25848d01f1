import { afterAll, beforeAll, beforeEach, expect, test } from "@jest/globals";
import type pg from "pg";
import type { LoginRole } from "../../src/config/roles.ts";
import { grantRole, registerUser, SOME_HASH, someHash } from "../support/accounts.ts";
import { asRole, createTestDatabase, type TestDatabase, withClient } from "../support/database.ts";
import { makeRandom, SEED } from "../support/random.ts";

// Everything that ends, renews or opens sessions, at random on parallel connections. No statement may fail, not even by a
// deadlock, and the final state must be consistent with every earlier one. PLINTH_SEED repeats a run's choices.

/** At least so many, and more until something of each kind has happened. */
const OPERATIONS = 1_000;
const ACCOUNTS = 3;

let db: TestDatabase;
let admin: string;
let adminSession: string;
beforeAll(async () => {
  db = await createTestDatabase();
  admin = await registerUser(db, "admin");
  await grantRole(db, admin, "admin");
  // A deleted account's attempts lose the name, so they are counted when they are made.
  await withClient(db.url("owner"), async (client) => {
    const { rows } = await client.query(
      "insert into identity.user_sessions (user_id) values ($1) returning id",
      [admin],
    );
    adminSession = rows[0].id;
    await client.query(`
      create table private.made_attempts (email text);
      create function private.count_attempt() returns trigger language plpgsql security definer as $$
      begin
        insert into private.made_attempts values (new.email);
        return null;
      end $$;
      create trigger count_attempt after insert on security.login_attempts
        for each row execute function private.count_attempt();`);
  });
});
afterAll(async () => {
  await db.drop();
});

interface Token {
  readonly user: string;
  readonly session: string;
  readonly hash: Buffer;
}
type Run = <T extends object>(sql: string, params?: unknown[]) => Promise<T[]>;
type Operation = (run: Run) => Promise<unknown>;

let users: string[];
let tokens: Token[];
/** Sessions whose end was reported to a caller. */
let ended: Set<string>;
let violations: string[];
let logins: number;
/** API tokens seen so far. */
let apiTokens: string[];
let createdApiTokens: number;
let challenges: { readonly user: string; readonly challenge: Buffer }[];
let completed: Set<Buffer>;
let step = 0;
let serial = 0;
const newName = () => `user${++serial}`;
beforeEach(async () => {
  const names = Array.from({ length: ACCOUNTS }, newName);
  users = await Promise.all(names.map((name) => registerUser(db, name)));
  tokens = [];
  ended = new Set();
  violations = [];
  logins = 0;
  apiTokens = [];
  createdApiTokens = 0;
  challenges = [];
  completed = new Set();
});

const random = makeRandom(SEED);
const pick = <T>(items: readonly T[]): T | undefined => items[random(items.length)];
/** The newest tokens, most of which are live; sometimes an old one, as a thief has. */
const pickToken = () => pick(random(8) ? tokens.slice(-ACCOUNTS * 3) : tokens);
const sessionsOf = (user: string) => tokens.filter((token) => token.user === user).map((t) => t.session);

const version = async (run: Run, user: string) =>
  (await run<{ token_version: number }>("select token_version from private.find_password($1)", [user]))[0]
    ?.token_version;

async function login(run: Run, matches = true): Promise<void> {
  const user = pick(users)!;
  const [hash, challenge] = [someHash(), someHash()];
  logins++;
  const [opened] = await run<{ session_id: string | null }>(
    "select * from private.finish_login($1, 'x@example.com', $2, $3, $4, null, $5)",
    [user, matches, await version(run, user), hash, challenge],
  );
  if (opened?.session_id) tokens.push({ user, session: opened.session_id, hash });
  else if (opened) challenges.push({ user, challenge });
}

/** The second half of a sign-in, right or wrong, sometimes repeated. */
async function complete(run: Run, half = pick(challenges.slice(-ACCOUNTS * 3))): Promise<void> {
  if (!half) return;
  const [factor] = await run<{ factor_id: string }>("select * from private.find_totp_secrets($1)", [
    half.user,
  ]);
  const proof = { method: "totp", factor_id: factor?.factor_id ?? null, step: random(4) ? ++step : null };
  const hash = someHash();
  const [opened] = await run<{ session_id: string }>("select * from private.finish_sign_in($1, $2, $3)", [
    ...[half.challenge, JSON.stringify(proof), hash],
  ]);
  if (!opened) return;
  if (completed.has(half.challenge)) violations.push("one challenge became two sessions");
  completed.add(half.challenge);
  tokens.push({ user: half.user, session: opened.session_id, hash });
}

async function refresh(run: Run): Promise<void> {
  const token = pickToken();
  if (!token) return;
  const wasEnded = ended.has(token.session);
  const successor = someHash();
  const [answer] = await run<{ outcome: string }>("select * from private.rotate_refresh_token($1, $2, $3)", [
    token.hash,
    successor,
    Buffer.from("sealed"),
  ]);
  if (wasEnded && answer!.outcome !== "refused")
    violations.push(`${answer!.outcome} after the session ended`);
  if (answer!.outcome === "rotated") tokens.push({ ...token, hash: successor });
}

async function changePassword(run: Run): Promise<void> {
  const token = pickToken();
  if (!token) return;
  const others = sessionsOf(token.user).filter((session) => session !== token.session);
  const hash = someHash();
  const [changed] = await run("select * from private.change_password($1, $2, $3, $4, $5, 'argon2id', $6)", [
    token.user,
    token.session,
    random(4) > 0,
    await version(run, token.user),
    SOME_HASH,
    hash,
  ]);
  if (!changed) return;
  for (const session of others) ended.add(session);
  tokens.push({ ...token, hash });
}

/** The servers' reports of sessions' use, from ever new addresses, which are audited. */
async function touch(run: Run): Promise<void> {
  const sessions = Array.from({ length: 5 }, () => pickToken()?.session).filter((id) => id !== undefined);
  const now = new Date();
  await run("select private.touch_sessions($1, $2, $3)", [
    sessions,
    sessions.map(() => now),
    sessions.map(() => `192.0.2.${random(256)}`),
  ]);
}

async function createToken(run: Run, token = pickToken()): Promise<void> {
  if (!token) return;
  await run("select private.create_api_token($1, $2, 'ci', '{read}', null, 'pla_xxxxxxxx', $3)", [
    token.user,
    token.session,
    someHash(),
  ]).then(
    () => createdApiTokens++,
    (error: pg.DatabaseError) => {
      // The session had ended, or the limit of 50 is reached.
      if (!["PL401", "PL402"].includes(error.code!)) throw error;
    },
  );
}

/** Most sign-ins go to their end at once; otherwise sessions of two factors and API tokens would be rare. */
async function signInAtOnce(run: Run): Promise<void> {
  await login(run);
  await complete(run, challenges.at(-1));
  await createToken(run, tokens.at(-1));
}

const touchTokens = (run: Run) =>
  run(
    `select private.touch_api_tokens(array_agg(id), array_agg(now()), array_agg(null::inet))
       from (select unnest($1::uuid[]) as id) t`,
    [apiTokens.slice(-10)],
  );

/** Requests a link and opens it, as a reader of the account's mail. */
async function resetPassword(run: Run): Promise<void> {
  const user = pick(users)!;
  const [account] = await run<{ username: string }>("select username from private.find_password_owner($1)", [
    user,
  ]);
  const before = sessionsOf(user);
  const token = someHash();
  await run("select private.request_password_reset($1, $2, 'sealed')", [account?.username ?? "", token]);
  const [answer] = await run<{ done: boolean }>(
    "select private.reset_password($1, $2, 'argon2id', true, 5) as done",
    [token, SOME_HASH],
  );
  if (answer!.done) for (const session of before) ended.add(session);
}

/** Requests another address, sometimes one that is taken, and opens the link. */
async function changeEmail(run: Run): Promise<void> {
  const token = pickToken();
  if (!token) return;
  const hash = someHash();
  const address = random(3) ? `${newName()}@example.com` : "shared@example.com";
  await run("select private.request_email_change($1, $2, true, $3, null, $4, $5, 'sealed')", [
    token.user,
    token.session,
    await version(run, token.user),
    address,
    hash,
  ]);
  await run("select private.verify_email($1)", [hash]);
}

const asUserOperation =
  (operation: (run: Run, token: Token) => Promise<unknown>): Operation =>
  async (run) => {
    const token = pickToken();
    if (!token) return;
    await run("begin");
    await run("select set_config('role', $1, true)", [`${db.rolePrefix}_user`]);
    await run(
      "select set_config('jwt.claims.user_id', $1, true), set_config('jwt.claims.session_id', $2, true)",
      [token.user, token.session],
    );
    await operation(run, token);
  };
const end = (sql: string) =>
  asUserOperation(async (run, token) => {
    const before = sql.includes("everywhere") ? sessionsOf(token.user) : [token.session];
    await run(sql);
    await run("commit");
    // Either it ended now or it had ended.
    for (const session of before) ended.add(session);
  });

/** PL404 is the right answer when another caller was faster. */
const unlessGone = (run: Run, statement: Promise<unknown>) =>
  statement.catch((error: pg.DatabaseError) => {
    if (error.code !== "PL404") throw error;
    return run("rollback");
  });

const asAdmin = async (run: Run, sql: string, params: unknown[]) => {
  await run("begin");
  await run(
    `select set_config('role', $1, true), set_config('jwt.claims.user_id', $2, true), set_config('jwt.claims.session_id', $3, true)`,
    [`${db.rolePrefix}_user`, admin, adminSession],
  );
  await run(sql, params);
  await run("commit");
};
async function toggle(run: Run): Promise<void> {
  const user = pick(users)!;
  const before = sessionsOf(user);
  const set = "select from identity.set_account_status($1, $2)";
  await unlessGone(run, asAdmin(run, set, [user, "disabled"]));
  for (const session of before) ended.add(session);
  await unlessGone(run, asAdmin(run, set, [user, "active"]));
}
async function replaceAccount(run: Run): Promise<void> {
  const index = random(users.length);
  const old = users[index]!;
  const before = sessionsOf(old);
  await asAdmin(run, "delete from identity.users where id = $1", [old]);
  for (const session of before) ended.add(session);
  users[index] = await registerUser(db, newName());
}

const OPERATIONS_OF: Record<Exclude<LoginRole, "analyst">, readonly Operation[]> = {
  service: [
    signInAtOnce,
    signInAtOnce,
    (run) => login(run),
    (run) => login(run, false),
    refresh,
    refresh,
    refresh,
    changePassword,
    touch,
    (run) => createToken(run),
    touchTokens,
    (run) => complete(run),
    (run) => complete(run),
    (run) => run("select private.start_passkey_sign_in($1, $2)", [someHash(), pick(challenges)?.challenge]),
    resetPassword,
    changeEmail,
  ],
  authenticator: [
    end("select identity.logout()"),
    end("select identity.logout_everywhere()"),
    asUserOperation(async (run, token) => {
      await unlessGone(
        run,
        run("select from identity.end_session($1)", [token.session]).then(() => run("commit")),
      );
      ended.add(token.session);
    }),
    asUserOperation(async (run, token) => {
      const others = sessionsOf(token.user).filter((session) => session !== token.session);
      await run("select from identity.end_other_sessions()");
      await run("commit");
      for (const session of others) ended.add(session);
    }),
    asUserOperation(async (run) => {
      const seen = await run<{ id: string }>("select id from identity.api_tokens");
      apiTokens.push(...seen.map(({ id }) => id));
      if (seen[0]) await unlessGone(run, run("select from identity.revoke_api_token($1)", [pick(seen)!.id]));
      await run("commit");
    }),
    asUserOperation(async (run) => {
      await run("update identity.user_security_settings set session_timeout_minutes = $1", [5 + random(100)]);
      await run("commit");
    }),
    toggle,
    replaceAccount,
  ],
  worker: [
    (run) => run("select private.end_expired_sessions(10)"),
    (run) => run("select private.delete_expired_sign_in_data(10)"),
    (run) => run("select private.delete_old_api_tokens(10)"),
    (run) => run("select private.ensure_partitions(3)"),
    // Two transactions, as the worker has them: a row changed twice in one would lock its account as well.
    async (run) => {
      for (const { id } of await run<{ id: string }>("select id from private.take_emails(5)"))
        await run("select private.finish_email($1, null)", [id]);
    },
    (run) => run("select private.delete_old_emails(10), private.delete_expired_verifications(10)"),
  ],
  // Time passes for some accounts, locks end, and some gain or lose a second factor.
  owner: [
    (run) =>
      run("update identity.users set locked_until = now() where id = $1 and locked_until > now()", [
        pick(users),
      ]),
    (run) => run("update private.mfa_attempts set locked_until = now() where user_id = $1", [pick(users)]),
    (run) =>
      run(
        `with f as (
           insert into identity.mfa_factors (user_id, kind, name, confirmed_at)
           select u.id, 'totp', 'x', now() from identity.users u where u.id = $1 for key share returning id
         )
         insert into private.totp_secrets (factor_id, sealed_secret) select id, 'v1.x' from f`,
        [pick(users)],
      ),
    (run) => run("delete from identity.mfa_factors where user_id = $1", [pick(users)]),
    (run) =>
      run("update private.sign_in_challenges set expires_at = now() where user_id = $1", [pick(users)]),
    (run) =>
      run("update identity.user_sessions set expires_at = now() where id = $1", [pickToken()?.session]),
    (run) =>
      run("update private.refresh_tokens set expires_at = now() where token_hash = $1", [pickToken()?.hash]),
    (run) =>
      run(
        "update identity.user_sessions set last_activity_at = now() - interval '2 minutes' where id = any ($1::uuid[])",
        [[pickToken()?.session]],
      ),
    (run) =>
      run("update identity.api_tokens set expires_at = now() + interval '1 minute' where id = $1", [
        pick(apiTokens),
      ]),
  ],
};

const everythingHappened = () => ended.size > 10 && createdApiTokens > 0 && completed.size > 0;

let started = 0;
async function loop(role: keyof typeof OPERATIONS_OF): Promise<void> {
  await withClient(db.url(role), async (client: pg.Client) => {
    const run: Run = async <T extends object>(sql: string, params?: unknown[]) =>
      (await client.query<T & pg.QueryResultRow>(sql, params)).rows as T[];
    while (started++ < OPERATIONS || !everythingHappened())
      try {
        await pick(OPERATIONS_OF[role])!(run);
      } catch (error) {
        const { code, message } = error as pg.DatabaseError;
        violations.push(`${role}: ${code} ${message}`);
        await client.query("rollback");
      }
  });
}

const count = async (sql: string, params: unknown[] = []): Promise<number> =>
  withClient(db.url("owner"), async (client) => (await client.query(sql, params)).rowCount!);

test(`keeps sessions and tokens consistent (PLINTH_SEED=${SEED})`, async () => {
  const crew = { service: 8, authenticator: 4, worker: 2, owner: 1 } as const;
  await Promise.all(
    Object.entries(crew).flatMap(([role, n]) =>
      Array.from({ length: n }, () => loop(role as keyof typeof crew)),
    ),
  );
  expect([...new Set(violations)]).toEqual([]);
  expect(everythingHappened()).toBe(true);
  expect({
    unrecordedLogins:
      logins - (await count("select from private.made_attempts where email = 'x@example.com'")),
    twoLiveTokens: await count(
      "select from private.refresh_tokens where used_at is null group by session_id having count(*) > 1",
    ),
    liveThoughEnded: await count(
      "select from identity.user_sessions where is_active and id = any ($1::uuid[])",
      [[...ended]],
    ),
    liveThoughDisabled: await count(
      "select from identity.user_sessions s join identity.users u on u.id = s.user_id where s.is_active and not u.is_active",
    ),
    apiTokensUnrevoked: await count(
      `select from identity.api_tokens t where revoked_at is not null and not exists (
         select from private.token_blacklist b where b.kind = 'token' and b.subject_id = t.id)`,
    ),
    apiTokensLiveThoughDisabled: await count(
      "select from identity.api_tokens t join identity.users u on u.id = t.user_id where revoked_at is null and not u.is_active",
    ),
    endedUnrevoked: await count(
      `select from identity.user_sessions s where not is_active and not exists (
         select from private.token_blacklist b where b.kind = 'session' and b.subject_id = s.id)`,
    ),
  }).toEqual({
    unrecordedLogins: 0,
    twoLiveTokens: 0,
    liveThoughEnded: 0,
    liveThoughDisabled: 0,
    apiTokensUnrevoked: 0,
    apiTokensLiveThoughDisabled: 0,
    endedUnrevoked: 0,
  });
});

test("counts all parallel uses of a prompt", async () => {
  const prompt = await withClient(db.url("owner"), async (client) => {
    const sql = "insert into llm.prompts (name, content) values ('p', 'p') returning id";
    return (await client.query<{ id: string }>(sql)).rows[0]!.id;
  });
  const use = () =>
    withClient(db.url("authenticator"), async (client) => {
      for (let i = 0; i < 10; i++) {
        await client.query("begin");
        await asRole(client, { name: "user", prefix: db.rolePrefix }, { user_id: users[0]! });
        await client.query("select from llm.use_prompt($1)", [prompt]);
        await client.query("commit");
      }
    });
  await Promise.all(Array.from({ length: 8 }, use));
  expect(await count("select from llm.user_prompts where usage_count = 80")).toBe(1);
});

const thisMonth = () =>
  withClient(db.url("owner"), async (client) => {
    const { rows } = await client.query<{ month: string }>(
      "select to_char(now() at time zone 'UTC', 'YYYY_MM') as month",
    );
    return rows[0]!.month;
  });

/** Creates the partition of a month while people sign in. Returns the partitions that the job has created. */
async function createWhileSigningIn(month: string): Promise<string[]> {
  await withClient(db.url("owner"), (client) => client.query(`drop table security.login_attempts_${month}`));
  let isCreated = false;
  let signedIn = 0;
  const isBusy = Promise.withResolvers<void>();
  const signIns = Array.from({ length: 8 }, () =>
    withClient(db.url("service"), async (client) => {
      while (!isCreated) {
        await client.query("select from private.finish_login(null, 'y', false, null, $1)", [someHash()]);
        if (++signedIn === BUSY) isBusy.resolve();
      }
    }),
  );
  const creation = withClient(db.url("worker"), async (client) => {
    await isBusy.promise;
    return createPartitions(client);
  }).finally(() => {
    isCreated = true;
  });
  const [created] = await Promise.all([creation, ...signIns]);
  return created;
}

/** Sign-ins after which the partition is created. */
const BUSY = 40;

/** The job yields to sign-ins that last. Then it runs again. */
async function createPartitions(client: pg.Client): Promise<string[]> {
  try {
    const { rows } = await client.query<{ name: string }>(
      "select partition_name as name from private.ensure_partitions(0)",
    );
    return rows.map(({ name }) => name);
  } catch (error) {
    if ((error as pg.DatabaseError).code !== "55P03") throw error;
    return createPartitions(client);
  }
}

test("accepts sign-ins while the partition of their month is created", async () => {
  let month: string;
  let created: string[];
  // The month could end meanwhile.
  do {
    month = await thisMonth();
    created = await createWhileSigningIn(month);
  } while ((await thisMonth()) !== month);
  const partition = `security.login_attempts_${month}`;
  expect(created).toEqual([partition]);
  expect(await count(`select from ${partition}`)).toBeGreaterThanOrEqual(BUSY);
  expect(await count("select from security.login_attempts_default")).toBe(0);
});
