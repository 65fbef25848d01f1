import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import type pg from "pg";
import { migrateDatabase } from "../../src/database/migrate.ts";
import { rollback } from "../../src/database/rollback.ts";
import type { ScratchDatabase } from "../../src/database/scratch-database.ts";
import { QUEUES } from "../../src/jobs/index.ts";
import { cli, databaseEnv, outcomeOf, startCli } from "../cli/run-cli.ts";
import { until } from "../support/api.ts";
import { createEmptyTestDatabase, createTestDatabase, withClient } from "../support/database.ts";
import { type MigrationsFolder, makeMigrationsFolder } from "../support/migrations-folder.ts";
import { untilWaiting, withGrowingLimit } from "../support/waiting.ts";

// Migrations, rollbacks and the job queue's schema while another session holds a lock that they need.

const TABLE = "create schema one;\ncreate table one.t (id integer);";
const ADD_COLUMN = "create table one.half ();\nalter table one.t add column added integer;";

let db: ScratchDatabase;
let folder: MigrationsFolder;
beforeEach(async () => {
  db = await createEmptyTestDatabase();
});
afterEach(async () => {
  await folder.remove();
  await db.drop();
});

/** The attempt must last until the watch has seen the holder. */
const oneAttempt = (lockTimeoutMs: number) => ({ lockTimeoutMs, waitSeconds: 0 });
const PATIENT = { lockTimeoutMs: 3_000, waitSeconds: 600 };

const options = (lines: string[] = []) => ({
  ownerUrl: db.url("owner"),
  rolePrefix: db.rolePrefix,
  migrationsFolder: folder.path,
  log: (line: string) => lines.push(line),
});

/** Applies the first migration and leaves the second one pending. */
async function migrateFirst(second: string, first = TABLE): Promise<void> {
  folder = await makeMigrationsFolder({ committed: { "000001-one.sql": first } });
  await migrateDatabase(options());
  await folder.remove();
  folder = await makeMigrationsFolder({
    committed: { "000001-one.sql": first, "000002-two.sql": second },
    rollback: { "000002-two.sql": "alter table one.t drop column added;\ndrop table one.half;" },
  });
}

const query = <Row extends object>(sql: string): Promise<Row[]> =>
  withClient(db.url("owner"), async (client) => (await client.query<Row & pg.QueryResultRow>(sql)).rows);

/** Runs `use` while another session has read or written the table and left its transaction open. */
async function whileHeld<T>(
  use: (pid: number, end: () => Promise<unknown>) => Promise<T>,
  sql = "select from one.t",
): Promise<T> {
  return withClient(db.url("owner"), async (client) => {
    await client.query("set application_name = 'monthly report'");
    const { rows } = await client.query<{ pid: number }>("select pg_backend_pid() as pid");
    await client.query("begin");
    await client.query(sql);
    return use(rows[0]!.pid, () => client.query("commit"));
  });
}

const holder = (pid: number) =>
  `locked by process ${pid} (role ${db.rolePrefix}_owner, application monthly report, idle in transaction since 20`;

describe("while a reader holds its lock", () => {
  test("other readers and writers pass between the attempts of a migration, which then completes", async () => {
    await migrateFirst(ADD_COLUMN);
    const lines: string[] = [];
    await whileHeld(async (pid, end) => {
      const migrating = migrateDatabase({ ...options(lines), patience: PATIENT });
      await untilWaiting(db);
      // In the queue behind the migration, these would wait for as long as the first reader reads.
      await query("select from one.t");
      await query("insert into one.t values (1)");
      const said = `000002-two.sql is blocked: it needs ACCESS EXCLUSIVE on one.t, which is ${holder(pid)}`;
      // An attempt may end before the watch of a busy machine has seen the holder.
      await until(() => lines.some((line) => line.includes(said)), { timeoutMs: 240_000 });
      await end();
      await expect(migrating).resolves.toEqual({ applied: ["000002-two.sql"] });
    });
    expect(await query("select * from one.t")).toEqual([{ id: 1, added: null }]);
  });

  test("a migration, a rollback and the job queue's schema give up and name the session, its lock and how to end it", async () => {
    await migrateFirst(ADD_COLUMN);
    const blocked = (pid: number, name: string) => ({
      name: "PlinthError",
      code: "MIGRATION_BLOCKED",
      message: expect.stringMatching(
        new RegExp(`^${name} changed nothing: .*process ${pid} .*, holds ACCESS SHARE\\)\\. An attempt`),
      ),
      hint: expect.stringMatching(new RegExp(`--wait.*select pg_terminate_backend\\(${pid}\\);`)),
    });
    await whileHeld(async (pid, end) => {
      await withGrowingLimit(1_000, (ms) =>
        expect(migrateDatabase({ ...options(), patience: oneAttempt(ms) })).rejects.toMatchObject(
          blocked(pid, "000002-two.sql"),
        ),
      );
      expect(await query("select to_regclass('one.half') as half")).toEqual([{ half: null }]);
      await end();
    });
    await migrateDatabase(options());
    await whileHeld(async (pid, end) => {
      await withGrowingLimit(1_000, (ms) =>
        expect(rollback({ ...options(), steps: 1, patience: oneAttempt(ms) })).rejects.toMatchObject(
          blocked(pid, "The rollback of 000002-two.sql"),
        ),
      );
      await end();
    });
    await query("drop policy insert_worker on plinth_jobs.queue");
    await whileHeld(async (pid) => {
      await withGrowingLimit(1_000, (ms) =>
        expect(migrateDatabase({ ...options(), patience: oneAttempt(ms) })).rejects.toMatchObject(
          blocked(pid, "The job queue's schema"),
        ),
      );
    }, "select from plinth_jobs.queue");
    expect(await rollback({ ...options(), steps: 1 })).toEqual({ rolledBack: ["000002-two.sql"] });
  });

  test("a migration that needs a locked row names the table and the session", async () => {
    await migrateFirst("update one.t set id = 2;", `${TABLE}\ninsert into one.t values (1);`);
    await whileHeld(async (pid) => {
      await withGrowingLimit(1_000, (ms) =>
        expect(migrateDatabase({ ...options(), patience: oneAttempt(ms) })).rejects.toMatchObject({
          code: "MIGRATION_BLOCKED",
          message: expect.stringContaining(`it needs a row of one.t, which is ${holder(pid)}`),
        }),
      );
    }, "update one.t set id = 3");
  });

  test("a migration that deadlocks with another session runs again", async () => {
    await migrateFirst(
      `${ADD_COLUMN}\nalter table one.u add column added integer;`,
      `${TABLE}\ncreate table one.u ();`,
    );
    await withClient(db.url("owner"), async (client) => {
      await client.query("begin; lock table one.u");
      const migrating = migrateDatabase({
        ...options(),
        patience: { lockTimeoutMs: 60_000, waitSeconds: 600 },
      });
      await untilWaiting(db);
      // PostgreSQL ends either of the two.
      await client.query("lock table one.t").catch(() => {});
      await client.query("rollback");
      await expect(migrating).resolves.toEqual({ applied: ["000002-two.sql"] });
    });
  });

  test("an interrupt stops a migration that waits, which changes nothing", async () => {
    await migrateFirst(ADD_COLUMN);
    await whileHeld(async () => {
      const controller = new AbortController();
      const migrating = migrateDatabase({
        ...options(),
        patience: { lockTimeoutMs: 600_000, waitSeconds: 600 },
        signal: controller.signal,
      });
      const rejected = expect(migrating).rejects.toMatchObject({ code: "INTERRUPTED", exitCode: 130 });
      await untilWaiting(db);
      controller.abort();
      await rejected;
    });
    expect(await query("select to_regclass('one.half') as half")).toEqual([{ half: null }]);
    expect(await migrateDatabase(options())).toEqual({ applied: ["000002-two.sql"] });
  });
});

describe("an index that is built concurrently", () => {
  const CREATE = "--! no-transaction\ncreate unique index concurrently if not exists t_id_idx on one.t (id);";
  const isValid = () =>
    query<{ valid: boolean }>(
      "select indisvalid as valid from pg_index where indexrelid = to_regclass('one.t_id_idx')",
    );

  test("waits without a lock timeout for a writer's transaction, and says so, while others write", async () => {
    await migrateFirst(CREATE);
    const lines: string[] = [];
    await whileHeld(async (pid, end) => {
      const migrating = migrateDatabase({
        ...options(lines),
        patience: { lockTimeoutMs: 100, waitSeconds: 0 },
      });
      const said = new RegExp(
        `^000002-two.sql waits: it (needs SHARE on one.t, which is locked by|waits for the transaction of) process ${pid} `,
      );
      await until(() => lines.some((line) => said.test(line)));
      await query("insert into one.t values (2)");
      await end();
      await expect(migrating).resolves.toEqual({ applied: ["000002-two.sql"] });
    }, "insert into one.t values (1)");
    expect(await isValid()).toEqual([{ valid: true }]);
  });

  test("replaces the invalid index that a failed run left", async () => {
    await migrateFirst(CREATE);
    await query("insert into one.t values (1), (1)");
    await expect(migrateDatabase(options())).rejects.toMatchObject({ code: "MIGRATION_FAILED" });
    expect(await isValid()).toEqual([{ valid: false }]);
    await query("delete from one.t");
    const lines: string[] = [];
    await migrateDatabase(options(lines));
    expect(lines).toContainEqual(expect.stringContaining("Dropped the invalid index one.t_id_idx"));
    expect(await isValid()).toEqual([{ valid: true }]);
  });
});

test("kill -9 of plinth migrate inside a migration leaves no change and no session, and the next run completes", async () => {
  const committed = { "000001-one.sql": TABLE, "000002-two.sql": ADD_COLUMN };
  folder = await makeMigrationsFolder({ committed });
  const home = await mkdtemp(join(tmpdir(), "plinth-test-killed-"));
  const config = join(home, "plinth.config.mjs");
  await writeFile(config, `export default { migrations: ${JSON.stringify(folder.path)} };`);
  const migrated = await createTestDatabase();
  const env = { ...databaseEnv(migrated), PLINTH_MIGRATION_LOCK_TIMEOUT_MS: "600000" };
  const ask = async (sql: string) =>
    (await withClient(migrated.url("owner"), (client) => client.query(sql))).rows;
  try {
    const one = await makeMigrationsFolder({ committed: { "000001-one.sql": TABLE } });
    await migrateDatabase({
      ownerUrl: migrated.url("owner"),
      rolePrefix: migrated.rolePrefix,
      applicationMigrations: one.path,
      queues: QUEUES,
    }).finally(one.remove);
    await withClient(migrated.url("owner"), async (client) => {
      await client.query("begin; select from one.t");
      const child = startCli(["--config", config, "migrate"], env);
      const ended = outcomeOf(child);
      await untilWaiting(migrated);
      child.kill("SIGKILL");
      await ended;
      // The server notices although the statement still waits: the reader has not ended.
      const sessions = "select from pg_stat_activity where application_name like 'plinth migrate%'";
      while ((await ask(`${sessions} and datname = current_database()`)).length > 0) await sleep(20);
    });
    expect(await ask("select to_regclass('one.half') as half")).toEqual([{ half: null }]);
    expect(await cli(["--config", config, "migrate", "--json"], { env })).toMatchObject({
      code: 0,
      stdout: expect.stringContaining("000002-two.sql"),
    });
  } finally {
    await migrated.drop();
    await rm(home, { recursive: true });
  }
});
