import { cp, mkdir, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { migrateDatabase } from "../../src/database/migrate.ts";
import { rollback } from "../../src/database/rollback.ts";
import type { ScratchDatabase } from "../../src/database/scratch-database.ts";
import { MIGRATIONS_FOLDER } from "../../src/support/paths.ts";
import { createEmptyTestDatabase, withClient } from "../support/database.ts";

// A database with accounts from before addresses had one form.

let db: ScratchDatabase;
let folder: string;
let before: string[];
let migration: string;
beforeAll(async () => {
  db = await createEmptyTestDatabase();
  folder = await mkdtemp(join(tmpdir(), "plinth-test-addresses-"));
  await mkdir(join(folder, "committed"));
  const names = (await readdir(join(MIGRATIONS_FOLDER, "committed"))).sort();
  migration = names.find((name) => name.endsWith("-one-form-of-an-address.sql"))!;
  before = names.slice(0, names.indexOf(migration));
});
afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
  await db.drop();
});

test("every account keeps its address, its sign-in and its settings, and only stale links end", async () => {
  const options = { ownerUrl: db.url("owner"), rolePrefix: db.rolePrefix, migrationsFolder: folder };
  for (const name of before)
    await cp(join(MIGRATIONS_FOLDER, "committed", name), join(folder, "committed", name));
  await migrateDatabase(options);
  const rows = <Row extends object>(sql: string) =>
    withClient(
      db.url("owner"),
      async (client) => (await client.query<Row & Record<string, unknown>>(sql)).rows,
    );
  await rows(String.raw`
    insert into identity.users (username, email, hashed_email, email_verified_at) values
      ('plain', 'plain@example.org', sha256('plain'), now()),
      ('decomposed', U&'jose\0301@example.org', sha256('decomposed'), now()),
      ('idn-unverified', U&'ada@m\00FCnchen.de', null, null),
      ('idn-verified', U&'ada@mu\0308nchen.de', null, now()),
      ('taken', U&'bob@b\00FCcher.de', null, now()),
      ('taker', 'bob@xn--bcher-kva.de', null, null),
      ('invisible', U&'a\200Bb@example.org', null, now()),
      ('none', null, null, null);
    insert into identity.user_settings (user_id, display_name) select id, 'Kept' from identity.users where username = 'plain';
    insert into private.user_verifications (user_id, kind, new_value, token_hash, expires_at)
      select id, 'email', v.address, sha256(v.address::bytea), now() + interval '1 day'
      from identity.users, (values ('plain@example.org'), ('mistyped@example.org')) v (address) where username = 'plain'`);

  await cp(join(MIGRATIONS_FOLDER, "committed", migration), join(folder, "committed", migration));
  await migrateDatabase(options);
  const accounts = () =>
    rows(
      `select username, email, hashed_email is not null as has_hash, has_irregular_address, is_verified
       from identity.users order by id`,
    );
  const account = (
    username: string,
    email: string | null,
    has_hash: boolean,
    irregular: boolean,
    verified: boolean,
  ) => ({
    username,
    email,
    has_hash,
    has_irregular_address: irregular,
    is_verified: verified,
  });
  const migrated = [
    account("plain", "plain@example.org", true, false, true),
    // The hash was of the other form; plinth keys hash-emails gives it the new one.
    account("decomposed", "jos\u00e9@example.org", false, false, true),
    account("idn-unverified", "ada@m\u00fcnchen.de", false, true, false),
    account("idn-verified", "ada@xn--mnchen-3ya.de", false, false, true),
    account("taken", "bob@b\u00fccher.de", false, true, true),
    account("taker", "bob@xn--bcher-kva.de", false, false, false),
    account("invisible", "a\u200bb@example.org", false, true, true),
    account("none", null, false, false, false),
  ];
  expect(await accounts()).toEqual(migrated);

  // An irregular account lives on: it signs in, is renamed, and is rid of the mark with another address.
  await rows(`
    update identity.users set failed_login_attempts = 1, last_login_at = now();
    update identity.users set username = 'renamed' where username = 'taken';
    update identity.users set email = email where username = 'invisible'`);
  expect(
    await rows(String.raw`
      select u.username from unnest(array[U&'bob@b\00FCcher.de', U&'a\200Bb@example.org', 'renamed']) with ordinality t (typed, n)
      join identity.users u on u.id = private.find_account(typed) order by n`),
  ).toEqual([{ username: "taker" }, { username: "invisible" }, { username: "renamed" }]);
  await rows("update identity.users set email = 'bob2@example.org' where username = 'renamed'");
  expect(
    await rows("select has_irregular_address as m from identity.users where username = 'renamed'"),
  ).toEqual([{ m: false }]);

  expect(
    await rows(
      "select new_value, purpose, expires_at > now() as is_open from private.user_verifications order by id",
    ),
  ).toEqual([
    { new_value: "plain@example.org", purpose: "prove", is_open: true },
    { new_value: "mistyped@example.org", purpose: "change", is_open: false },
  ]);
  expect(
    await rows(
      "select count(*)::integer as n, count(display_name)::integer as named from identity.user_settings join identity.user_security_settings using (user_id)",
    ),
  ).toEqual([{ n: 8, named: 1 }]);

  await cp(join(MIGRATIONS_FOLDER, "rollback"), join(folder, "rollback"), { recursive: true });
  await rollback({ ...options, steps: 1 });
  expect(
    await rows("select username, email from identity.users where username in ('plain', 'invisible')"),
  ).toHaveLength(2);
  await migrateDatabase(options);
}, 120_000);
