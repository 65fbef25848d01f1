import { afterAll, beforeAll, beforeEach, expect, test } from "@jest/globals";
import pg from "pg";
import { registerUser, SOME_HASH, someHash } from "../support/accounts.ts";
import { createTestDatabase, rowsAs, type TestDatabase } from "../support/database.ts";

// The service's calls, on twenty real connections at once.

const CONNECTIONS = 20;

let db: TestDatabase;
let clients: pg.Client[];
beforeAll(async () => {
  db = await createTestDatabase();
  clients = await Promise.all(
    Array.from({ length: CONNECTIONS }, async () => {
      const client = new pg.Client(db.url("service"));
      await client.connect();
      return client;
    }),
  );
});
afterAll(async () => {
  await Promise.all(clients.map((client) => client.end()));
  await db.drop();
});

let name: string;
let user: string;
let count = 0;
beforeEach(async () => {
  name = `user${count++}`;
  user = await registerUser(db, name);
});

const asOwner = rowsAs("owner", () => db);
const service = async <TRow extends object>(text: string, values: unknown[]): Promise<TRow[]> =>
  (await clients[0]!.query(text, values)).rows;
/** Runs the same statement on every connection at once; returns the values. */
const everywhere = async <T>(text: string, values: (index: number) => unknown[]): Promise<T[]> =>
  Promise.all(
    clients.map(
      async (client, index) => (await client.query<{ value: T }>(text, values(index))).rows[0]?.value as T,
    ),
  );
/** A well-formed hash, different for each index. */
const hashNumber = (index: number) => SOME_HASH.replace(/.$/, String.fromCharCode(65 + index));
const events = async (type: string) =>
  (
    await asOwner<{ n: number }>(
      "select count(*)::integer as n from security.security_audit_log where user_id = $1 and event_type = $2",
      [user, type],
    )
  )[0]!.n;

test("accepts a reset token once, sets the winner's password and audits each loser [C4, C6]", async () => {
  const token = someHash();
  await service("select private.request_password_reset($1, $2, 'sealed')", [name, token]);
  const won = await everywhere<boolean>(
    "select private.reset_password($1, $2, 'argon2id', true, 5) as value",
    (index) => [token, hashNumber(index)],
  );
  expect(won.filter(Boolean)).toHaveLength(1);
  expect(
    await asOwner("select password_hash from private.user_passwords where user_id = $1", [user]),
  ).toEqual([{ password_hash: hashNumber(won.indexOf(true)) }]);
  expect([await events("password_reset"), await events("password_reset_failed")]).toEqual([
    1,
    CONNECTIONS - 1,
  ]);
  expect(
    await asOwner("select count(*)::integer as n from private.password_history where user_id = $1", [user]),
  ).toEqual([{ n: 1 }]);
});

test("accepts one of several live reset tokens used at once", async () => {
  const tokens = [someHash(), someHash(), someHash()];
  for (const token of tokens)
    await service("select private.request_password_reset($1, $2, 'sealed')", [name, token]);
  const won = await everywhere<boolean>(
    "select private.reset_password($1, $2, 'argon2id', true, 5) as value",
    (index) => [tokens[index % 3], hashNumber(index)],
  );
  expect(won.filter(Boolean)).toHaveLength(1);
});

test("creates three links for twenty concurrent reset requests", async () => {
  await everywhere("select private.request_password_reset($1, $2, 'sealed') as value", () => [
    name,
    someHash(),
  ]);
  expect(await asOwner("select from private.password_reset_tokens where user_id = $1", [user])).toHaveLength(
    3,
  );
  expect(
    await asOwner("select from private.mail_outbox where user_id = $1 and template = 'password-reset'", [
      user,
    ]),
  ).toHaveLength(3);
  expect([await events("password_reset_requested"), await events("password_reset_not_sent")]).toEqual([
    3, 17,
  ]);
});

test("assigns an address that twenty accounts prove at once to one account [A1]", async () => {
  const tokens = await Promise.all(
    clients.map(async (_client, index) => {
      const id = await registerUser(db, `${name}-${index}`);
      const token = someHash();
      await asOwner("select private.send_email_verification($1, $2, $3, 'sealed')", [
        id,
        `${name}@wanted.example`,
        token,
      ]);
      return token;
    }),
  );
  const won = await everywhere<boolean>("select private.verify_email($1) as value", (index) => [
    tokens[index],
  ]);
  expect(won.filter(Boolean)).toHaveLength(1);
  expect(
    await asOwner("select from identity.users where email = $1", [`${name}@wanted.example`]),
  ).toHaveLength(1);
});

test("allows five attempts at a code, also concurrently, and accepts it once [A1]", async () => {
  await service("select private.request_phone_verification($1, $2, $3, 'sealed')", [
    user,
    `+1202555${1000 + count}`,
    SOME_HASH,
  ]);
  const tries = await everywhere<string | undefined>(
    "select verification_id as value from private.take_phone_attempt($1)",
    () => [user],
  );
  const taken = tries.filter(Boolean);
  expect(taken).toHaveLength(5);
  const outcomes = await everywhere<string>(
    "select private.finish_phone_verification($1, $2, true) as value",
    () => [user, taken[0]],
  );
  expect(outcomes.filter((outcome) => outcome === "verified")).toHaveLength(1);
  expect(outcomes.filter((outcome) => outcome === "refused")).toHaveLength(CONNECTIONS - 1);
});

test("keeps the newest passwords in the history, up to the requested number [A2]", async () => {
  for (let index = 0; index < 8; index++)
    await asOwner("select private.set_password($1, $2, 'argon2id', true, 4)", [user, hashNumber(index)]);
  const known = await service<{ password_hash: string }>(
    "select * from private.find_password_history($1, 4)",
    [user],
  );
  expect(known.map(({ password_hash }) => password_hash)).toEqual([7, 6, 5, 4].map(hashNumber));
  expect(await service("select * from private.find_password_history($1, 0)", [user])).toEqual([]);
});

test("restricts the service to functions on the outbox and the tokens and forbids it to send mail", async () => {
  for (const statement of [
    "select * from private.mail_outbox",
    "select * from private.password_reset_tokens",
    "select * from private.user_verifications",
    "select * from private.password_history",
    "select private.queue_mail(null, 'a@example.org', 'x', '{}')",
    "select private.notify_user(null, 'x')",
    "select * from private.take_emails(1)",
    "select private.set_password(null, '', '', true, 0)",
  ])
    await expect(service(statement, [])).rejects.toMatchObject({ code: "42501" });
});
