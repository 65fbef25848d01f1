import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { getRollbackPlans, PgBoss, type Queue } from "pg-boss";
import { roleName } from "../../src/config/roles.ts";
import { installJobSchema } from "../../src/database/job-schema.ts";
import { JOB_SCHEMA } from "../../src/database/schemas.ts";
import type { ScratchDatabase } from "../../src/database/scratch-database.ts";
import { createEmptyTestDatabase, expectSqlState, withClient } from "../support/database.ts";

const QUEUES: Queue[] = [
  { name: "mail", retryLimit: 3, retryDelay: 5, deadLetter: "dead", policy: "exclusive" },
  { name: "dead" },
];

let db: ScratchDatabase;
beforeAll(async () => {
  db = await createEmptyTestDatabase();
  await install(QUEUES);
});
afterAll(async () => {
  await db.drop();
});

const install = async (queues: readonly Queue[]): Promise<string[]> => {
  const lines: string[] = [];
  await withClient(db.url("owner"), (client) =>
    installJobSchema(client, {
      workerRole: roleName(db.rolePrefix, "worker"),
      queues,
      log: (line) => lines.push(line),
    }),
  );
  return lines;
};
const query = async (role: "owner" | "worker" | "service" | "analyst" | "authenticator", sql: string) =>
  withClient(db.url(role), async (client) => (await client.query(sql)).rows);

describe("installing", () => {
  test("creates the queues with their options, in any order", async () => {
    expect(
      await query(
        "owner",
        "select name, policy, retry_limit, retry_delay, dead_letter from plinth_jobs.queue order by 1",
      ),
    ).toEqual([
      { name: "dead", policy: "standard", retry_limit: 2, retry_delay: 0, dead_letter: null },
      { name: "mail", policy: "exclusive", retry_limit: 3, retry_delay: 5, dead_letter: "dead" },
    ]);
  });

  test("changes nothing the second time", async () => {
    const state =
      "select (select max(updated_on) from plinth_jobs.queue) as queues, version from plinth_jobs.version";
    const before = await query("owner", state);
    expect(await install(QUEUES)).toEqual([]);
    expect(await query("owner", state)).toEqual(before);
  });

  test("applies changed options to an existing queue, and rejects options that cannot change", async () => {
    const changed = (change: Partial<Queue>) => [{ ...QUEUES[0]!, ...change }, QUEUES[1]!];
    await install(changed({ retryLimit: 9 }));
    expect(
      await query("owner", "select retry_limit, retry_delay from plinth_jobs.queue where name = 'mail'"),
    ).toEqual([{ retry_limit: 9, retry_delay: 5 }]);
    await install(QUEUES);
    await expect(install(changed({ policy: "standard" }))).rejects.toMatchObject({ code: "QUEUE_CHANGED" });
  });

  test("upgrades an older schema, and rejects a newer one", async () => {
    const [{ version } = { version: 0 }] = (await query(
      "owner",
      "select version from plinth_jobs.version",
    )) as {
      version: number;
    }[];
    await withClient(db.url("owner"), (client) => client.query(getRollbackPlans(JOB_SCHEMA)));
    expect(await query("owner", "select version from plinth_jobs.version")).toEqual([
      { version: version - 1 },
    ]);
    expect(await install(QUEUES)).toHaveLength(1);
    expect(await query("owner", "select version from plinth_jobs.version")).toEqual([{ version }]);
    // Nothing is left to build for a background worker, which has no right to.
    expect(await query("owner", "select from plinth_jobs.bam where status <> 'completed'")).toEqual([]);

    await query("owner", `update plinth_jobs.version set version = ${version + 1}`);
    await expect(install(QUEUES)).rejects.toMatchObject({ code: "JOB_SCHEMA_AHEAD" });
    await query("owner", `update plinth_jobs.version set version = ${version}`);
  });

  test("leaves a schema that pg-boss itself finds correct", async () => {
    const boss = new PgBoss({
      schema: JOB_SCHEMA,
      connectionString: db.url("owner"),
      migrate: false,
      supervise: false,
      schedule: false,
    });
    boss.on("error", () => {});
    try {
      await boss.start();
      expect(await boss.detectSchemaDrift()).toMatchObject({ ok: true });
    } finally {
      await boss.stop({ graceful: false });
    }
  });
});

describe("the worker", () => {
  test("starts, schedules, sends, works and fails into the dead letter queue without owning anything", async () => {
    const errors: Error[] = [];
    const boss = new PgBoss({
      schema: JOB_SCHEMA,
      connectionString: db.url("worker"),
      migrate: false,
      createSchema: false,
      persistQueueStats: true,
    });
    boss.on("error", (error) => errors.push(error));
    try {
      await boss.start();
      await boss.schedule("mail", "0 0 29 2 *", { to: "ada" }, { tz: "UTC" });
      expect(await boss.getSchedules()).toHaveLength(1);
      const done = new Promise((resolve) => {
        void boss.work("mail", { pollingIntervalSeconds: 0.5 }, async ([job]) => resolve(job?.data));
      });
      await boss.send("mail", { to: "bob" });
      expect(await done).toEqual({ to: "bob" });
      await boss.offWork("mail");

      await boss.send("mail", { to: "eve" }, { retryLimit: 0 });
      const [job] = await boss.fetch("mail");
      await boss.fail("mail", job!.id, { reason: "no such address" });
      expect((await boss.fetch("dead"))[0]?.data).toEqual({ to: "eve" });
      await boss.supervise();
      await boss.unschedule("mail");
    } finally {
      await boss.stop({ graceful: true, timeout: 2_000 });
    }
    expect(errors).toEqual([]);
  });

  test.each([
    "create table plinth_jobs.t ()",
    "create function plinth_jobs.f() returns void language sql as ''",
    "alter table plinth_jobs.job add column x integer",
    "drop table plinth_jobs.schedule",
    "truncate plinth_jobs.job",
    "delete from plinth_jobs.queue",
    // These values become part of statements that the owner runs at the next upgrade.
    "update plinth_jobs.queue set table_name = 'x'",
    "update plinth_jobs.queue set partition = true",
    "insert into plinth_jobs.bam (name, version, table_name, command) values ('x', 1, 'x', 'x')",
    "update plinth_jobs.bam set command = 'x'",
    "insert into plinth_jobs.version (version) values (1)",
    `select plinth_jobs.create_queue('mine', '{"partition": true}')`,
    `insert into plinth_jobs.queue
       (name, policy, retry_limit, retry_delay, retry_backoff, expire_seconds, retention_seconds, deletion_seconds, partition, table_name)
     values ('mine', 'standard', 0, 0, false, 1, 1, 1, false, 'x; drop table y')`,
  ])("may not %s", async (sql) => {
    await expectSqlState(query("worker", sql), "42501");
  });
});

test.each(["service", "analyst", "authenticator"] as const)("the %s reaches no job", async (role) => {
  await expectSqlState(query(role, "select from plinth_jobs.job"), "42501");
  for (const api of ["anonymous", "user"] as const)
    expect(
      await query(
        "owner",
        `select has_schema_privilege('${roleName(db.rolePrefix, api)}', 'plinth_jobs', 'usage') as may`,
      ),
    ).toEqual([{ may: false }]);
});
