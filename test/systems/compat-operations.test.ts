import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { restore } from "../../src/backup/restore.ts";
import { takeBackup } from "../../src/backup/take-backup.ts";
import type { DoctorContext } from "../../src/cli/doctor/check.ts";
import { checkDrift } from "../../src/cli/doctor/drift.ts";
import { loadConfig } from "../../src/config/config.ts";
import { roleName } from "../../src/config/roles.ts";
import { enableCompat } from "../../src/database/compat/compat.ts";
import { openEmbedded } from "../../src/database/embedded/server.ts";
import { migrateDatabase } from "../../src/database/migrate.ts";
import { rollback } from "../../src/database/rollback.ts";
import { checkLive } from "../../src/drift/mend/live-check.ts";
import { printMend } from "../../src/drift/mend/print.ts";
import { cli, databaseEnv } from "../cli/run-cli.ts";
import { registerUser } from "../support/accounts.ts";
import { enableSystems } from "../support/compat.ts";
import { callerOf } from "../support/compat-callers.ts";
import { createTestDatabase, rowsAs, type TestDatabase, withClient } from "../support/database.ts";

// Commands of operators on a database with compatibility schemas. A dump is restored in test/docs/backups.test.ts, an uninstall
// with all schemas is in test/database/uninstall.test.ts, a rollback that a view prevents in compat.test.ts.

let db: TestDatabase;
let ada: string;
beforeAll(async () => {
  db = await createTestDatabase();
  ada = await registerUser(db, "ada");
  await registerUser(db, "bob");
  await enableSystems(db, ["headphone"]);
});
afterAll(() => db.drop());

const asOwner = rowsAs("owner", () => db);

async function usersSeenBy(caller: "application" | { user: string }): Promise<string[]> {
  return callerOf(db, "compat_headphone", caller, async (client) => {
    const { rows } = await client.query("select username from users order by id");
    return rows.map(({ username }) => username);
  });
}

test("an upgrade runs beside a schema, names the command that brings it up to date, and its statements run on", async () => {
  const { rolledBack } = await rollback({ ownerUrl: db.url("owner"), rolePrefix: db.rolePrefix, steps: 1 });
  expect(rolledBack).toHaveLength(1);
  expect(await usersSeenBy("application")).toEqual(["ada", "bob"]);
  const { code, stdout } = await cli(["upgrade", "--yes"], { env: databaseEnv(db) });
  expect([code, stdout]).toEqual([0, expect.stringContaining(rolledBack[0]!)]);
  expect(stdout).toContain("Bring compat_headphone up to date: npx plinth compat enable");
  expect(await usersSeenBy("application")).toEqual(["ada", "bob"]);
  expect(await usersSeenBy({ user: ada })).toEqual(["ada"]);
});

test("schema check --live and doctor name the command that mends a schema, and print no statement that cannot", async () => {
  const live = () => withClient(db.url("owner"), async (client) => (await checkLive(client, db.rolePrefix))!);
  const findings = () =>
    withClient(db.url("owner"), async (client) => {
      const context = { client, role: "owner", config: loadConfig(databaseEnv(db)), application: {} };
      return (await checkDrift(context as unknown as DoctorContext)).filter(({ status }) => status !== "ok");
    });
  expect(printMend(await live())).toBe("-- The database matches its migrations.");
  expect(await findings()).toEqual([]);

  const [application, user] = [roleName(db.rolePrefix, "application"), roleName(db.rolePrefix, "user")];
  await asOwner(`
    drop view compat_headphone.security;
    drop policy compat_read on identity.users;
    drop trigger _850_headphone_users_number on identity.users;
    revoke update on identity.users from ${application};
    grant usage on schema compat_headphone to public;
    create function compat_headphone.backdoor() returns void language sql as '';
    create function compat.left_over() returns void language sql as '';
    alter policy select_own on identity.users using (true)`);
  // As pg_restore --no-owner leaves it: such a view reads past the policies.
  await withClient(db.adminUrl, (client) =>
    client.query(`alter view compat_headphone.users owner to ${roleName(db.rolePrefix, "owner")}`),
  );
  const found = await findings();
  expect(found.map(({ check, status }) => [check, status])).toEqual([
    ["drift-access", "fail"],
    ["drift-extra", "warn"],
    ["drift-compat", "fail"],
  ]);
  expect(found[2]).toMatchObject({
    hint: "Run plinth compat enable, which makes all of their objects again.",
  });
  expect(found[2]!.details!.map((line) => line.split(":")[0]).toSorted()).toEqual(
    [
      "function compat_headphone.backdoor()",
      `grant to ${application} on identity.users`,
      "grant to public on schema compat_headphone",
      "policy compat_read on identity.users",
      "trigger _850_headphone_users_number on identity.users",
      "view compat_headphone.security",
      "view compat_headphone.users",
    ].toSorted(),
  );
  const { statements } = await live();
  expect(statements.map(({ sql, decide }) => (sql === "" ? decide : sql.split("\n")[0]))).toEqual([
    "Run plinth compat enable, which makes all objects of the compatibility schemas again; no statement below does.",
    expect.stringMatching("^drop policy .*select_own on identity.users"),
    expect.stringMatching("^create policy select_own on identity.users"),
    "drop function compat.left_over();",
    expect.stringMatching("^comment on policy select_own on identity.users"),
  ]);

  await withClient(db.url("owner"), async (client) => client.query(printMend(await live())));
  await enableSystems(db, ["headphone"]);
  expect(printMend(await live())).toBe("-- The database matches its migrations.");
  expect(await findings()).toEqual([]);
  expect(
    await asOwner("select has_table_privilege($1, 'compat_headphone.users', 'select') as may", [user]),
  ).toEqual([{ may: true }]);
});

test("a restored backup has the schema, the rights of its roles and the numbers, and the application's statements run", async () => {
  const root = mkdtempSync(join(tmpdir(), "plinth-compat-"));
  // As root, PostgreSQL runs as another user, who must reach the backups.
  chmodSync(root, 0o755);
  try {
    const config = loadConfig({
      PLINTH_DATA: join(root, "data"),
      PLINTH_BACKUPS: join(root, "backups"),
    });
    const options = { settings: { fsync: "off", shared_buffers: "16MB", max_connections: "20" } };
    const silent = { signal: new AbortController().signal, onProgress: () => {}, log: () => {} };
    const before = await openEmbedded(config, options);
    try {
      const target = { ownerUrl: before.url("owner"), rolePrefix: config.rolePrefix };
      await migrateDatabase(target);
      const password = new URL(before.url("application")).password;
      const adminUrl = before.superuserUrl();
      await enableCompat(["headphone"], { ...target, adminUrl, applicationPassword: password });
      await takeBackup({
        database: { ...before, kind: "embedded", adminUrl },
        settings: config.backups!,
        ...silent,
      });
      await withClient(before.url("application"), (client) =>
        client.query("insert into compat_headphone.users (username) values ('ada'), ('bob')"),
      );
    } finally {
      await before.close();
    }
    await restore({ config, to: "latest", serverSettings: options.settings, ...silent });
    const after = await openEmbedded(config, options);
    try {
      await withClient(after.url("application"), async (client) => {
        // Numbers that the WAL has reserved are passed over.
        const insert =
          "insert into compat_headphone.users (username) values ('cleo') returning id > 2 as is_next";
        expect((await client.query(insert)).rows).toEqual([{ is_next: true }]);
        await client.query(
          "select set_config('jwt.claims.user_id', (select id::text from identity.users where username = 'bob'), false)",
        );
        expect((await client.query("select id, username from compat_headphone.users")).rows).toEqual([
          { id: "2", username: "bob" },
        ]);
      });
      expect(
        (await withClient(after.url("owner"), (client) => checkLive(client, config.rolePrefix)))!.differences,
      ).toEqual([]);
    } finally {
      await after.close();
    }
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
});
