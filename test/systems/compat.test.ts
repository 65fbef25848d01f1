import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import type { DoctorContext } from "../../src/cli/doctor/check.ts";
import { checkRoles } from "../../src/cli/doctor/roles.ts";
import { loadConfig } from "../../src/config/config.ts";
import { COMPAT_ROLES, roleName } from "../../src/config/roles.ts";
import { disableCompat, enableCompat, listCompat } from "../../src/database/compat/compat.ts";
import { ensureCompatRoles } from "../../src/database/compat/compat-roles.ts";
import { compatRolesSql } from "../../src/database/compat/compat-roles-sql.ts";
import { compatSystems, findSystem } from "../../src/database/compat/systems.ts";
import { migrateDatabase, migrationStatus } from "../../src/database/migrate.ts";
import { rollback } from "../../src/database/rollback.ts";
import { SCHEMAS } from "../../src/database/schemas.ts";
import { databaseUrl } from "../../src/database/scratch-database.ts";
import { findCompatSchemas } from "../../src/drift/compat-catalogues.ts";
import { readCatalogue } from "../../src/drift/read-catalogue.ts";
import { readDrift } from "../../src/drift/read-drift.ts";
import { snapshotText } from "../../src/drift/snapshot.ts";
import { databaseEnv, type Outcome, startCli } from "../cli/run-cli.ts";
import { runHere } from "../cli/run-here.ts";
import { registerUser } from "../support/accounts.ts";
import { compatOptions, enableSystems } from "../support/compat.ts";
import {
  createEmptyTestDatabase,
  createTestDatabase,
  rowsAs,
  type TestDatabase,
  testSetup,
  withClient,
} from "../support/database.ts";
import { untilWaiting } from "../support/waiting.ts";

// The life of compatibility schemas in a database: enabled, brought up to date, in the way of a rollback, disabled.

let db: TestDatabase;
let empty: string;
beforeAll(async () => {
  db = await createTestDatabase();
  empty = await catalogue();
  await registerUser(db, "ada");
});
afterAll(() => db.drop());

const asOwner = rowsAs("owner", () => db);
const catalogue = () =>
  withClient(db.url("owner"), async (client) =>
    snapshotText(
      await readCatalogue(client, db.rolePrefix, [...SCHEMAS, ...(await findCompatSchemas(client))]),
    ),
  );
const numbers = () =>
  asOwner(
    `select u.username, x.number
     from plinth.external_ids x
     join identity.users u on u.id = x.row_id
     where x.system = 'headphone' and x.relation = 'users'
     order by 2`,
  );

test("a plan changes nothing", async () => {
  const [change] = await enableCompat(["headphone"], { ...compatOptions(db), isPlan: true });
  expect(change).toMatchObject({
    schema: "compat_headphone",
    numberedTables: expect.arrayContaining(["identity.users"]),
  });
  expect(change!.views).toContain("users");
  expect(change!.numberedRows).toBeGreaterThan(1);
  expect(await catalogue()).toBe(empty);
  expect(await asOwner("select from plinth.external_ids")).toEqual([]);
});

test("doctor finds all enabled systems as they must be, and a change in them", async () => {
  await enableSystems(db);
  await withClient(db.url("owner"), async (client) => {
    expect((await readDrift(client, db.rolePrefix))!.differences).toEqual([]);
    await client.query("begin");
    await client.query("grant usage on schema compat_headphone to public");
    await client.query("drop policy compat_read on identity.users");
    expect((await readDrift(client, db.rolePrefix))!.differences).toMatchObject([
      { kind: "missing", object: { kind: "policy", name: "compat_read", on: "identity.users" } },
      { kind: "extra", object: { kind: "grant", name: "public", on: "schema compat_headphone" } },
    ]);
    await client.query("rollback");
    const context = { client, config: loadConfig(databaseEnv(db)), application: {} } as DoctorContext;
    expect(await checkRoles(context)).toContainEqual({
      check: "roles",
      status: "ok",
      message: "Each role has only its intended privileges.",
    });
  });
});

test("enabling again changes nothing, and keeps the numbers", async () => {
  const [before, numbered] = [await catalogue(), await numbers()];
  expect(numbered).toEqual([{ username: "ada", number: "1" }]);
  // Each alone, beside those that are enabled.
  for (const system of compatSystems()) await enableSystems(db, [system]);
  expect(await catalogue()).toBe(before);
  expect(await numbers()).toEqual(numbered);
});

test("numbers the rows of a statement with one call per trigger", async () => {
  await withClient(db.url("owner"), async (client) => {
    await client.query("begin");
    const { rows } = await client.query<{
      "QUERY PLAN": { Triggers: { "Trigger Name": string; Calls: number }[] }[];
    }>(
      `explain (analyze, format json, timing off)
       insert into access.roles (role_name) select 'role_' || n from generate_series(1, 200) n`,
    );
    const { Triggers: triggers } = rows[0]!["QUERY PLAN"][0]!;
    expect(triggers.find((each) => each["Trigger Name"] === "_850_headphone_roles_number")).toMatchObject({
      Calls: 1,
    });
    const { rows: counted } = await client.query(
      `select count(distinct x.number)::integer as numbers, count(*)::integer as rows
       from access.roles r join plinth.external_ids x on x.row_id = r.id and x.system = 'headphone'`,
    );
    expect(counted[0].numbers).toBe(counted[0].rows);
    expect(counted[0].numbers).toBeGreaterThan(200);
    // A number that a statement names is passed over later.
    await client.query("insert into access.roles (role_name) values ('moved')");
    await client.query(
      `select compat.renumber('headphone', 'roles', r.id, n.next)
       from access.roles r, (select max(number) + 2 as next from plinth.external_ids where relation = 'roles') n
       where r.role_name = 'moved'`,
    );
    await client.query("insert into access.roles (role_name) values ('next'), ('last')");
    const { rows: newest } = await client.query(
      `select r.role_name from access.roles r
       join plinth.external_ids x on x.row_id = r.id and x.system = 'headphone'
       order by x.number desc limit 3`,
    );
    expect(newest.map(({ role_name }) => role_name)).toEqual(["last", "moved", "next"]);
    await client.query("rollback");
  });
});

test("a rollback that a view prevents changes nothing and names the commands to run", async () => {
  const target = { ownerUrl: db.url("owner"), rolePrefix: db.rolePrefix };
  const { applied } = await migrationStatus(target);
  const steps = applied.length - applied.findIndex((name) => name.startsWith("000035"));
  await expect(rollback({ ...target, steps })).rejects.toMatchObject({
    code: "ROLLBACK_FAILED",
    hint: expect.stringMatching(/Run plinth compat disable .*headphone.*, then plinth compat enable /),
  });
  expect((await migrationStatus(target)).applied).toEqual(applied);
});

test("migrations run beside the schemas, which stay as they must be", async () => {
  const target = { ownerUrl: db.url("owner"), rolePrefix: db.rolePrefix };
  const { applied } = await migrationStatus(target);
  // Those that no view prevents, see the test before.
  await rollback({
    ...target,
    steps: applied.length - applied.findIndex((name) => name.startsWith("000036")),
  });
  await migrateDatabase(target);
  expect((await migrationStatus(target)).applied).toEqual(applied);
  await withClient(db.url("owner"), async (client) =>
    expect((await readDrift(client, db.rolePrefix))!.differences).toEqual([]),
  );
});

test("two commands at once enable one after the other", async () => {
  const before = await catalogue();
  const changes = await Promise.all([enableSystems(db, ["cedrina"]), enableSystems(db, ["socializer"])]);
  expect(changes.flat().map(({ system, numberedRows }) => [system, numberedRows])).toEqual([
    ["cedrina", 0],
    ["socializer", 0],
  ]);
  expect(await catalogue()).toBe(before);
});

test("one system that is disabled takes only its own grants along", async () => {
  await disableCompat(["cedrina"], compatOptions(db));
  await withClient(db.url("owner"), async (client) => {
    expect((await readDrift(client, db.rolePrefix))!.differences).toEqual([]);
    // As an import leaves it: the event names its person.
    const { rowCount: events } = await client.query(
      `update plinth.external_ids x set user_id = l.user_id
       from security.security_audit_log l
       join identity.users u on u.id = l.user_id and u.username = 'ada'
       where x.system = 'cedrina' and x.relation = 'audit_logs' and x.row_id = l.id`,
    );
    expect(events).toBeGreaterThan(0);
    await enableSystems(db, ["cedrina"]);
    // An event keeps its number when the account is deleted.
    await client.query("begin; delete from identity.users where username = 'ada'");
    const { rows } = await client.query(
      `select l.event_type
       from security.security_audit_log l
       where not exists (
         select from plinth.external_ids x where x.system = 'cedrina' and x.relation = 'audit_logs' and x.row_id = l.id
       )`,
    );
    await client.query("rollback");
    expect(rows).toEqual([]);
  });
});

/** Code of docs/compatibility.md in a language. */
function codeOfPage(language: string): string[] {
  const page = readFileSync(new URL("../../docs/compatibility.md", import.meta.url), "utf8");
  return [...page.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\``, "gms"))].map(([, code]) => code!);
}

test("the commands and statements of docs/compatibility.md run in their order, and leave nothing but numbers", async () => {
  await disableCompat(compatSystems(), compatOptions(db));
  const commands = codeOfPage("sh")
    .flatMap((code) => code.trim().split("\n"))
    .filter((line) => !line.startsWith("#"))
    .map((line) => line.split("#")[0]!.trim().split(" ").slice(2));
  const outcomes = new Map<string, Outcome>();
  let inUrl: unknown;
  for (const args of commands) {
    const name = args.join(" ");
    outcomes.set(
      name,
      await runHere(args, {
        env: {
          ...databaseEnv(db),
          PLINTH_APPLICATION_URL: db.url("application"),
          PLINTH_PRIVACY_MODE: "true",
        },
      }),
    );
    if (args[0] === "db") {
      for (const sql of codeOfPage("sql"))
        await withClient(db.url("application"), (client) => client.query(sql));
      const url = new URL(db.url("application"));
      url.search += `${url.search ? "&" : "?"}options=-csearch_path%3Dcompat_headphone`;
      inUrl = await withClient(url.href, async (client) => {
        return (await client.query("select username from users order by id")).rows;
      });
    }
  }
  expect([...outcomes].filter(([, { code }]) => code !== 0)).toEqual([]);
  expect(inUrl).toEqual([{ username: "ada" }, { username: "nina" }]);
  const printed = (name: string) => outcomes.get(name)!.stdout;
  expect(printed("compat enable headphone-mode --plan")).toMatch(
    /^Would create compat_headphone with 12 views: /,
  );
  expect(printed("compat enable headphone-mode")).toMatch(/^Created compat_headphone with 12 views: /);
  expect(outcomes.get("compat enable headphone-mode")!.stderr).toMatch(
    /^Privacy mode is on, but accounts that are created through a view keep their name and address in clear text: /m,
  );
  expect(printed("compat list")).toContain("enabled   compat_headphone  12 views\n");
  expect(printed("db url --role application").trim()).toBe(db.url("application"));
  expect(printed("compat disable headphone-mode")).toBe("Dropped compat_headphone.\n");

  expect(await catalogue()).toBe(empty);
  expect(await disableCompat(["headphone"], compatOptions(db))).toEqual([]);
  await registerUser(db, "bob");
  await enableSystems(db, ["headphone"]);
  expect((await numbers()).map(({ username }) => username)).toEqual(["ada", "nina", "bob"]);
  expect((await withClient(db.url("owner"), listCompat)).filter(({ isEnabled }) => isEnabled)).toEqual([
    { system: "headphone", schema: "compat_headphone", isEnabled: true, views: 12 },
  ]);
});

test("a killed command changes nothing, and runs again", async () => {
  await disableCompat(compatSystems(), compatOptions(db));
  const child = startCli(["compat", "enable", "headphone"], databaseEnv(db));
  const ended = new Promise((resolve) => child.once("close", resolve));
  await withClient(db.url("owner"), async (client) => {
    // Held in the way of the last trigger, so that most of the work is done.
    await client.query("begin; lock table llm.prompts in share row exclusive mode");
    await untilWaiting(db);
    child.kill("SIGKILL");
    await ended;
    // The server notices within a second that the client is gone.
    while (
      (
        await asOwner(
          "select from pg_stat_activity where application_name = 'plinth migrate' and datname = current_database()",
        )
      ).length > 0
    )
      await sleep(20);
    await client.query("rollback");
  });
  expect(await catalogue()).toBe(empty);
  await enableSystems(db, ["headphone"]);
  expect(await withClient(db.url("owner"), listCompat)).toContainEqual({
    system: "headphone",
    schema: "compat_headphone",
    isEnabled: true,
    views: 12,
  });
});

test("the command names the systems that it knows", () => {
  expect(() => findSystem("headphones")).toThrow(
    expect.objectContaining({
      message: "There is no compatibility schema for headphones.",
      hint: "Choose one of: ai-training, cedrina, headphone-mode, rovertchat, socializer.",
    }),
  );
  expect(["headphone-mode", "headphone", "compat_headphone"].map(findSystem)).toEqual(
    Array(3).fill("headphone"),
  );
});

test("an owner who may not create roles learns what to run", async () => {
  const scratch = await createEmptyTestDatabase();
  try {
    const options = { ownerUrl: scratch.url("owner"), rolePrefix: scratch.rolePrefix };
    await withClient(scratch.url("owner"), (client) =>
      expect(ensureCompatRoles(client, options)).rejects.toMatchObject({
        code: "ROLES_MISSING",
        message: expect.stringContaining(roleName(scratch.rolePrefix, "application")),
        hint: "Let an administrator run the statements that plinth compat enable --print-roles prints.",
      }),
    );
    const { stdout } = await runHere(["compat", "enable", "--print-roles"], { env: databaseEnv(scratch) });
    expect(stdout).toBe(
      compatRolesSql({ prefix: scratch.rolePrefix, owner: roleName(scratch.rolePrefix, "owner") }),
    );
    await withClient(databaseUrl(testSetup().adminUrl, scratch.name), (client) => client.query(stdout));
    await withClient(scratch.url("owner"), async (client) => {
      await ensureCompatRoles(client, options);
      const { rows } = await client.query(
        "select rolname, rolcanlogin, rolsuper or rolbypassrls or rolcreaterole as is_mighty from pg_roles where rolname = any ($1) order by 1",
        [COMPAT_ROLES.map((role) => roleName(scratch.rolePrefix, role))],
      );
      expect(rows).toEqual([
        { rolname: roleName(scratch.rolePrefix, "application"), rolcanlogin: true, is_mighty: false },
        { rolname: roleName(scratch.rolePrefix, "compat"), rolcanlogin: false, is_mighty: false },
      ]);
    });
  } finally {
    await scratch.drop();
  }
});

test("roles that another database of the server changes at the same moment are changed after it", async () => {
  const scratch = await createEmptyTestDatabase();
  try {
    const ensure = () =>
      withClient(scratch.url("owner"), (client) =>
        ensureCompatRoles(client, {
          ownerUrl: scratch.url("owner"),
          rolePrefix: scratch.rolePrefix,
          adminUrl: databaseUrl(testSetup().adminUrl, scratch.name),
          applicationPassword: new URL(scratch.url("application")).password,
        }),
      );
    await ensure();
    const application = roleName(scratch.rolePrefix, "application");
    await withClient(testSetup().adminUrl, async (elsewhere) => {
      await elsewhere.query(`begin; alter role ${application} password null`);
      const ensured = ensure();
      await untilWaiting(scratch);
      await elsewhere.query("commit");
      await ensured;
    });
    await withClient(scratch.url("application"), async (client) =>
      expect((await client.query("select current_user::text as name")).rows).toEqual([{ name: application }]),
    );
  } finally {
    await scratch.drop();
  }
});
