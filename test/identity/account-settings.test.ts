import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { type Api, signUp, startApi } from "../support/api.ts";
import { createTestDatabase, rowsAs, type TestDatabase } from "../support/database.ts";

let db: TestDatabase;
let api: Api;
beforeAll(async () => {
  db = await createTestDatabase();
  api = await startApi(db);
});
afterAll(async () => {
  await api.close();
  await db.drop();
});
const asOwner = rowsAs("owner", () => db);

test("creates the settings of an account from plain SQL, and lets its user change them", async () => {
  // Its password comes from an account that the API created.
  await signUp(api, "model-account");
  const [{ id }] = await asOwner("insert into identity.users (username) values ('by-sql') returning id");
  await asOwner(
    `insert into private.user_passwords (user_id, password_hash, hash_algorithm)
     select $1, p.password_hash, p.hash_algorithm
     from private.user_passwords p join identity.users u on u.id = p.user_id where u.username = 'model-account'`,
    [id],
  );
  const signedIn = await api.ask(
    'mutation { login(input: { identifier: "by-sql", password: "correct horse battery staple" }) { accessToken } }',
  );
  const token = signedIn.data.login.accessToken;
  const settings = await api.ask(
    `mutation ($id: UUID!) {
       updateUserSetting(input: { userId: $id, patch: { displayName: "By SQL" } }) { userSetting { displayName } }
     }`,
    { token, variables: { id } },
  );
  expect(settings.text).toContain('"displayName":"By SQL"');
  const security = await api.ask(
    `mutation ($id: UUID!) {
       updateUserSecuritySetting(input: { userId: $id, patch: { sessionTimeoutMinutes: 30 } }) {
         userSecuritySetting { sessionTimeoutMinutes }
       }
     }`,
    { token, variables: { id } },
  );
  expect(security.text).toContain('"sessionTimeoutMinutes":30');
});

test("gives every account its row in each table with exactly one row an account", async () => {
  await asOwner("insert into identity.users (username) values ('another-by-sql')");
  const tables = await asOwner<{ name: string }>(
    `select c.oid::regclass::text as name
     from pg_class c
     join pg_index i on i.indrelid = c.oid and i.indisprimary and i.indnatts = 1
     join pg_attribute a on a.attrelid = c.oid and a.attnum = i.indkey[0] and a.attname = 'user_id'
     where c.relnamespace = 'identity'::regnamespace and c.relkind = 'r'
     order by 1`,
  );
  /** Tables with a row an account for some time only. */
  const AT_TIMES = ["account_deletions"]; // while its deletion is pending
  const names = tables.map(({ name }) => name);
  expect(names).toEqual(expect.arrayContaining(AT_TIMES));
  const always = names.filter((name) => !AT_TIMES.includes(name));
  expect(always.length).toBeGreaterThan(1);
  for (const name of always)
    expect([
      name,
      await asOwner(
        `select u.username from identity.users u where not exists (select from ${name} t where t.user_id = u.id)`,
      ),
    ]).toEqual([name, []]);
});

test("replaces only defaults with settings inserted after the account, never a user's choice", async () => {
  const [{ id }] = await asOwner("insert into identity.users (username) values ('by-script') returning id");
  await asOwner("insert into identity.user_settings (user_id, display_name) values ($1, 'Script')", [id]);
  await asOwner(
    "insert into identity.user_security_settings (user_id, session_timeout_minutes) values ($1, 10)",
    [id],
  );
  expect(
    await asOwner(
      `select display_name, session_timeout_minutes from identity.user_settings
       join identity.user_security_settings using (user_id) where user_id = $1`,
      [id],
    ),
  ).toEqual([{ display_name: "Script", session_timeout_minutes: 10 }]);
  for (const table of ["user_settings", "user_security_settings"])
    await expect(asOwner(`insert into identity.${table} (user_id) values ($1)`, [id])).rejects.toMatchObject({
      code: "23505",
    });
});
