import { afterAll, beforeAll, beforeEach, expect, test } from "@jest/globals";
import pg from "pg";
import { registerUser, SOME_HASH, someHash } from "../support/accounts.ts";
import { createTestDatabase, rowsAs, type TestDatabase } from "../support/database.ts";

// What the service calls, on twenty real connections at once.

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
/** The same statement on every connection at once; the values that they return. */
const everywhere = async <T>(text: string, values: (index: number) => unknown[]): Promise<T[]> =>
  Promise.all(
    clients.map(
      async (client, index) => (await client.query<{ value: T }>(text, values(index))).rows[0]?.value as T,
    ),
  );
/** A well-formed hash that is not another's. */
const hashNumber = (index: number) => SOME_HASH.replace(/.$/, String.fromCharCode(65 + index));
const events = async (type: string) =>
  (
    await asOwner<{ n: number }>(
      "select count(*)::integer as n from security.security_audit_log where user_id = $1 and event_type = $2",
      [user, type],
    )
  )[0]!.n;

test("C4 a reset token has one winner, whose password it is; C6 each loser is audited", async () => {
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

test("several live reset tokens used at once have one winner too", async () => {
  const tokens = [someHash(), someHash(), someHash()];
  for (const token of tokens)
    await service("select private.request_password_reset($1, $2, 'sealed')", [name, token]);
  const won = await everywhere<boolean>(
    "select private.reset_password($1, $2, 'argon2id', true, 5) as value",
    (index) => [tokens[index % 3], hashNumber(index)],
  );
  expect(won.filter(Boolean)).toHaveLength(1);
});

test("twenty requests for a reset at once make three links", async () => {
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

test("A1 one address proven by twenty accounts at once becomes one account's", async () => {
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

test("A1 a code gives out five tries, however many ask at once, and works once", async () => {
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

test("A2 the history keeps the newest, as many as are asked for", async () => {
  for (let index = 0; index < 8; index++)
    await asOwner("select private.set_password($1, $2, 'argon2id', true, 4)", [user, hashNumber(index)]);
  const known = await service<{ password_hash: string }>(
    "select * from private.find_password_history($1, 4)",
    [user],
  );
  expect(known.map(({ password_hash }) => password_hash)).toEqual([7, 6, 5, 4].map(hashNumber));
  expect(await service("select * from private.find_password_history($1, 0)", [user])).toEqual([]);
});

test("the service reaches the outbox and the tokens through functions only, and may not send mail itself", async () => {
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
