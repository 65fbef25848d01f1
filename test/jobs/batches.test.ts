import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import {
  createTestDatabase,
  expectSqlState,
  rowsAs,
  type TestDatabase,
  withClient,
} from "../support/database.ts";

let db: TestDatabase;
beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(async () => {
  await db.drop();
});

const asOwner = rowsAs("owner", () => db);
const asWorker = rowsAs("worker", () => db);

test("each function of a job rejects a batch that is null, empty or too large", async () => {
  const functions = await asOwner<{ name: string; provider: string }>(
    `select p.proname as name, case when 'provider' = any (p.proargnames) then 'provider => ''x'', ' else '' end as provider
     from pg_proc p
     where p.pronamespace = 'private'::regnamespace and 'batch_size' = any (p.proargnames) and has_function_privilege($1, p.oid, 'execute')`,
    [`${db.rolePrefix}_worker`],
  );
  expect(functions.length).toBeGreaterThanOrEqual(19);
  for (const { name, provider } of functions)
    for (const size of [null, 0, 100_001])
      await expectSqlState(
        asWorker(`select from private.${name}(${provider}batch_size => $1)`, [size]),
        "PL422",
      );
});

test("a batch ends at its size across tables, and leaves a row that is locked to the next", async () => {
  await asOwner(
    `insert into private.token_blacklist (kind, subject_id, reason, expires_at)
     select 'token', plinth.uuid_v7(), 'logout', now() from generate_series(1, 2)`,
  );
  const [locked, free] = [randomBytes(32), randomBytes(32)];
  for (const challenge of [locked, free])
    await asOwner(
      "insert into private.passkey_challenges (challenge, purpose, expires_at) values ($1, 'sign_in', now())",
      [challenge],
    );
  const clean = async (size: number) =>
    (await asWorker<{ n: number }>("select private.delete_expired_sign_in_data($1) as n", [size]))[0]!.n;

  await withClient(db.url("owner"), async (client) => {
    await client.query("begin");
    await client.query("select from private.passkey_challenges where challenge = $1 for update", [locked]);
    expect(await clean(1)).toBe(1);
    expect(await clean(2)).toBe(2);
    expect(await clean(10)).toBe(0);
    await client.query("rollback");
  });
  expect(await asOwner("select challenge from private.passkey_challenges")).toEqual([{ challenge: locked }]);
  expect(await clean(10)).toBe(1);
});
