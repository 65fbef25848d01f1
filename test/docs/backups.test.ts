import { execFile } from "node:child_process";
import {
  appendFileSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { type LoginRole, roleName } from "../../src/config/roles.ts";
import { enableCompat } from "../../src/database/compat/compat.ts";
import type { Cluster } from "../../src/database/embedded/cluster.ts";
import type { RunAs } from "../../src/database/embedded/programs.ts";
import { migrateDatabase } from "../../src/database/migrate.ts";
import {
  createScratchDatabase,
  databaseUrl,
  type ScratchDatabase,
} from "../../src/database/scratch-database.ts";
import { QUEUES } from "../../src/jobs/index.ts";
import { PACKAGE_ROOT } from "../../src/support/paths.ts";
import { cleanEnv, databaseEnv, LAUNCHER } from "../cli/run-cli.ts";
import { IDS, withIds } from "../support/access-probes/ids.ts";
import { SEED } from "../support/access-probes/seed.ts";
import { until } from "../support/api.ts";
import { withClient } from "../support/database.ts";
import { createStockCluster, type StockServer, startStockCluster } from "../support/stock-server.ts";

// The commands and settings come from the pages themselves and run in a shell, so that page and test cannot drift apart. Only the
// folders, today's date and the missing terminal (--yes) are replaced. test/cli/doctor-drift.test.ts restores a dump of the
// embedded server's version.

const DEBIAN = "/usr/lib/postgresql/15/bin";
const isInstalled = ["initdb", "pg_basebackup"].every((name) => existsSync(join(DEBIAN, name)));
const SMALL = { fsync: "off", shared_buffers: "16MB" };

const page = (name: string) => readFileSync(join(PACKAGE_ROOT, "docs", name), "utf8");

/** The blocks of code in one language below a heading, up to the next one. */
function blocks(text: string, heading: string, language: string): string[] {
  const start = text.indexOf(`\n${heading}\n`);
  if (start === -1) throw new Error(`The page has no heading "${heading}".`);
  const section = text.slice(start + heading.length + 2).split(/^#+ /m)[0]!;
  return [...section.matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)].flatMap(([, name, code]) =>
    name === language ? [code!] : [],
  );
}

let folder: string;
let cluster: Cluster;
let live: StockServer;
let db: ScratchDatabase;
const servers: StockServer[] = [];

const start = async (cluster: Cluster) => {
  const server = await startStockCluster(cluster, SMALL);
  servers.push(server);
  return server;
};
const here = (text: string) =>
  text.replaceAll("/mnt/", `${folder}/`).replaceAll("$(date +%F)", "2026-11-30").replaceAll("…", IDS.shown!);

/** Runs a block of the page; a command that fails ends it. */
async function shell(script: string, variables: Record<string, string> = {}, user?: RunAs): Promise<string> {
  const { stdout } = await promisify(execFile)("/bin/sh", ["-ec", here(script)], {
    cwd: folder,
    env: cleanEnv({ ...databaseEnv(db), ...variables, PATH: `${folder}/bin:${DEBIAN}:/usr/bin:/bin` }),
    ...user,
  });
  return stdout;
}
/** Of the application that uses the compatibility schema. */
const applicationUrl = (adminUrl: string, name = db.name) =>
  databaseUrl(adminUrl, name, roleName(db.rolePrefix, "application"), "secret");
const NUMBERS = "select id, username from compat_headphone.users order by id";
const NEW_USER = "insert into compat_headphone.users (username) values ('restored') returning id";
const sql = (text: string, url = db.url("owner")) =>
  withClient(url, async (client) => (await client.query(withIds(text))).rows);

(isInstalled ? describe : describe.skip)(
  `on PostgreSQL 15${isInstalled ? "" : `: skipped, ${DEBIAN} lacks initdb or pg_basebackup`}`,
  () => {
    beforeAll(async () => {
      folder = await mkdtemp(join(tmpdir(), "plinth-external-"));
      cluster = (await createStockCluster(15, folder))!;
      for (const name of ["bin", "wal", "base", "copy"]) {
        mkdirSync(join(folder, name));
        if (cluster.runAs) chownSync(join(folder, name), cluster.runAs.uid, cluster.runAs.gid);
      }
      const npx = `#!/bin/sh\nshift\nexec '${process.execPath}' '${LAUNCHER}' "$@"\n`;
      writeFileSync(join(folder, "bin/npx"), npx, { mode: 0o755 });
      const [archive] = blocks(page("backups.md"), "### pg_basebackup and a WAL archive", "ini");
      appendFileSync(join(cluster.folder, "postgresql.conf"), here(archive!));
      live = await start(cluster);
      db = await createScratchDatabase(live.adminUrl);
      await migrateDatabase({ ownerUrl: db.url("owner"), rolePrefix: db.rolePrefix, queues: QUEUES });
      await sql(SEED);
      await sql("delete from identity.account_deletions; delete from private.turns");
      await enableCompat(["headphone"], {
        ownerUrl: db.url("owner"),
        rolePrefix: db.rolePrefix,
        adminUrl: databaseUrl(live.adminUrl, db.name),
        applicationPassword: "secret",
      });
    });
    afterAll(async () => {
      for (const server of servers) await server.stop();
      if (folder) await rm(folder, { recursive: true, force: true });
    });

    test("a dump is restored as docs/operations.md says, and doctor finds nothing wrong", async () => {
      const [dump, restore, check] = blocks(page("operations.md"), "### With pg_dump", "sh");
      await shell(dump!);
      const restored = { ...db, url: (role: LoginRole) => databaseUrl(db.url(role), "plinth_new") };
      await shell(restore!, {
        ADMIN_URL: live.adminUrl,
        NEW_ADMIN_URL: databaseUrl(live.adminUrl, "plinth_new"),
        NEW_OWNER_URL: restored.url("owner"),
      });
      // A failed check ends it with an error.
      const output = await shell(check!, databaseEnv(restored));
      expect(output).toContain("The database is up to date.");
      const drift = output
        .split("\n")
        .filter((line) => / (migrations|schema|drift-\w+|roles|ownership|logins|row-security): /.test(line));
      expect(drift).toHaveLength(10);
      expect(drift.filter((line) => !line.startsWith("ok "))).toEqual([]);
      const users = "select id, username from identity.users order by id";
      expect(await sql(users, restored.url("owner"))).toEqual(await sql(users));
      expect((await sql(users)).length).toBeGreaterThan(1);
      // The application's own statements run, and a new row gets the next number.
      const application = applicationUrl(live.adminUrl, "plinth_new");
      const numbers = await sql(NUMBERS, applicationUrl(live.adminUrl));
      expect(await sql(NUMBERS, application)).toEqual(numbers);
      expect(await sql(NEW_USER, application)).toEqual([{ id: String(numbers.length + 1) }]);
    });

    test("a base backup and the WAL archive bring the database back to a named point, and rows from there", async () => {
      const heading = "### pg_basebackup and a WAL archive";
      const [backup, restore] = blocks(page("backups.md"), heading, "sh");
      const [, recovery] = blocks(page("backups.md"), heading, "ini");
      const { runAs } = cluster;
      const ADMIN_URL = databaseUrl(live.adminUrl, db.name);
      await sql("create role backup login replication password 'secret'", ADMIN_URL);
      const REPLICATION_URL = databaseUrl(live.adminUrl, "postgres", "backup", "secret");
      const [base, point] = backup!.trim().split("\n");
      await shell(base!, { REPLICATION_URL }, runAs);
      // Only the WAL has what is written after the base backup.
      await sql(`
        insert into rooms.chat_rooms (name) values ('Reading circle');
        update identity.user_settings set preferences = '{"at": "point"}' where user_id = :ada`);
      await shell(point!, { ADMIN_URL });
      await sql("insert into rooms.chat_rooms (name) values ('Too late')");
      const before = await sql(ROWS);
      const numbers = await sql(NUMBERS, applicationUrl(live.adminUrl));
      await sql(`
        delete from rooms.chat_rooms where name = 'Reading circle';
        delete from learning.content_ratings;
        delete from identity.users where id = :ada`);
      // The archive also has what came after the point, so recovery stops there because of its target.
      const [{ file }] = await sql("select pg_walfile_name(pg_switch_wal()) as file", ADMIN_URL);
      // A file that is there may not be complete.
      const archived = `select last_archived_wal collate "C" >= '${file}' as is from pg_stat_archiver`;
      await until(async () => (await sql(archived, ADMIN_URL))[0].is);

      const copy = { ...cluster, dataDirectory: join(folder, "copy"), folder: join(folder, "copy/postgres") };
      await shell(restore!, { NEW_DATA: copy.folder }, runAs);
      appendFileSync(join(copy.folder, "postgresql.conf"), here(recovery!));
      const { adminUrl: copyAdminUrl } = await start(copy);
      const { port } = new URL(copyAdminUrl);
      const COPY_URL = Object.assign(new URL(db.url("owner")), { port }).href;
      await until(async () => !(await sql("select pg_is_in_recovery() as is", COPY_URL))[0].is);
      const names =
        "select name from rooms.chat_rooms where name in ('Reading circle', 'Too late') order by 1";
      expect(await sql(names, COPY_URL)).toEqual([{ name: "Reading circle" }]);
      expect(await sql(names)).toEqual([{ name: "Too late" }]);
      expect(await sql(ROWS, COPY_URL)).toEqual(before);
      const application = applicationUrl(copyAdminUrl);
      expect(await sql(NUMBERS, application)).toEqual(numbers);
      // Numbers that the WAL has reserved are passed over.
      const [{ id }] = await sql(NEW_USER, application);
      expect(Number(id)).toBeGreaterThan(numbers.length);
      // The copy must not write into the archive of the live server.
      expect(
        readdirSync(join(folder, "wal")).filter((name) => !/^0{7}1[0-9A-F]{16}(\.|$)/.test(name)),
      ).toEqual([]);

      const [rows] = blocks(page("backups.md"), "## Single rows", "sh");
      const [plan, ...others] = rows!.trim().split("\n");
      expect(await shell(plan!, { COPY_URL })).toMatch(/\d+ rows would be restored/);
      expect(await sql("select from identity.users where id = :ada")).toEqual([]);
      for (const command of others)
        expect(await shell(`${command} --yes`, { COPY_URL })).toMatch(/Restored [1-9]\d* rows/);
      expect(await sql(ROWS)).toEqual(before);
      expect(await sql(names)).toEqual([{ name: "Reading circle" }, { name: "Too late" }]);
    });
  },
);

/** Content of the account that is deleted, and a value that was written shortly before the point. */
const ROWS = `
  select (select preferences from identity.user_settings where user_id = :ada) as settings,
    (select json_agg(c order by id) from llm.chats c where user_id = :ada) as chats,
    (select json_agg(r order by user_id) from learning.content_ratings r where item_id = :shown) as ratings`;
