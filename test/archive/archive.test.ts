import { randomBytes } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync, gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import pg from "pg";
import { archiveDueMonths, listDueMonths } from "../../src/archive/archive-due-months.ts";
import { attachArchive, detachArchive } from "../../src/archive/attach-archive.ts";
import { listArchives, type RegisteredArchive } from "../../src/archive/registered-archives.ts";
import { verifyArchives } from "../../src/archive/verify-archives.ts";
import type { ArchiveWriter } from "../../src/archive/write-open-archives.ts";
import type { DoctorContext } from "../../src/cli/doctor/check.ts";
import { checkRetention } from "../../src/cli/doctor/retention.ts";
import { loadConfig } from "../../src/config/config.ts";
import { TIMETABLE } from "../../src/jobs/index.ts";
import { databaseEnv } from "../cli/run-cli.ts";
import { runHere } from "../cli/run-here.ts";
import { registerUser } from "../support/accounts.ts";
import { killArchiving } from "../support/archive-kill.ts";
import { createTestDatabase, inRolledBackTransaction, type TestDatabase } from "../support/database.ts";

// A single database and story: the tests run in order, and each leaves the rows as it found them, in the logs or in archives.

const key = randomBytes(32);
const directory = mkdtempSync(join(tmpdir(), "plinth-archives-"));

let db: TestDatabase;
let owner: pg.Client;
let worker: pg.Client;
let ada: string;
let bob: string;
beforeAll(async () => {
  db = await createTestDatabase();
  owner = await connected(db.url("owner"));
  worker = await connected(db.url("worker"));
  ada = await registerUser(db, "ada");
  bob = await registerUser(db, "bob");
});
afterAll(async () => {
  await worker?.end();
  await owner?.end();
  await db?.drop();
  rmSync(directory, { recursive: true });
});

async function connected(url: string): Promise<pg.Client> {
  const client = new pg.Client(url);
  await client.connect();
  return client;
}

const writer = (client: pg.Client): ArchiveWriter => ({
  client,
  directory,
  keys: [key],
  signal: new AbortController().signal,
  log: () => {},
});

const archiveDue = (settings: Partial<ArchiveWriter> = {}) =>
  archiveDueMonths({ ...writer(worker), url: db.url("worker"), ...settings });

const ensurePartitions = async (): Promise<string[]> =>
  (await worker.query<{ name: string }>("select private.ensure_partitions(3) as name")).rows.map(
    ({ name }) => name,
  );

/** A month that every policy has left behind, a leap day, 40 days ahead. */
const TIMES = ["2013-02-15", "2012-02-29 23:59:59.999999", "2010-01-01"];

const PARTITIONED = `
  select c.oid::regclass::text as name
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
  where c.relkind = 'p' and n.nspname in ('security', 'billing', 'learning')
  order by 1`;

/** The logs with the columns that order their rows. */
const LOGS = {
  "security.login_attempts": "id",
  "security.security_audit_log": "id",
  "security.audit_trail": "id",
  "billing.usage_events": "id",
  "learning.content_consumption": "user_id, item_id, created_at",
  "rooms.room_changes": "room_id, sequence",
  "private.payment_events": "id",
} as const;

/** The number of a log's rows and a digest of all of them. */
async function rowsOf(log: keyof typeof LOGS): Promise<string> {
  const { rows } = await owner.query<{ digest: string }>(
    `select count(*) || ' ' || coalesce(md5(string_agg(t::text, chr(10) order by ${LOGS[log]})), '') as digest from ${log} t`,
  );
  return rows[0]!.digest.trim();
}

async function allRows(): Promise<Record<string, string>> {
  const all: Record<string, string> = {};
  for (const log of Object.keys(LOGS)) all[log] = await rowsOf(log as keyof typeof LOGS);
  return all;
}

/** The totals that billing and analysts read about the logs. */
async function totals(): Promise<unknown> {
  const { rows } = await owner.query(`
    select
      (select jsonb_agg(to_jsonb(t) - 'updated_at' order by t.user_id) from billing.usage_tracking t) as tracking,
      (select jsonb_agg(d order by d.id) from billing.daily_usage d) as daily,
      (
        select jsonb_agg(jsonb_build_array(s.user_id, s.sessions, s.active_seconds, s.active_days) order by s.user_id)
        from analytics.user_activity_summary s
      ) as activity`);
  return rows[0];
}

async function attachAll(): Promise<void> {
  for (const { id, state } of await listArchives(owner))
    if (state === "archived") await attachArchive(writer(owner), id);
}

const archived = async (log: string): Promise<RegisteredArchive> =>
  (await listArchives(owner)).find((each) => each.log === log && each.state === "archived")!;

describe("partitions [A8]", () => {
  test("refuse no event of a distant month, and get its rows when their month's partition is created", async () => {
    const { rows: tables } = await owner.query<{ name: string }>(PARTITIONED);
    expect(tables.length).toBeGreaterThanOrEqual(6);
    const times = [
      "now() + interval '40 days'",
      "now() + interval '1 year'",
      "timestamptz '2028-02-29 23:59:59.999999+00'",
    ];
    // A worker that was away for a year leaves no partition for today.
    await owner.query(`
      do $$
      declare v_name text;
      begin
        for v_name in
          select i.inhrelid::regclass::text from pg_inherits i join pg_class c on c.oid = i.inhrelid
          where i.inhparent = 'security.login_attempts'::regclass and pg_get_expr(c.relpartbound, c.oid) <> 'DEFAULT'
        loop
          execute 'drop table ' || v_name;
        end loop;
      end $$`);
    for (const time of ["now()", ...times])
      await owner.query(
        `insert into security.login_attempts (status, failure_reason, created_at) values ('failed', 'probe', ${time})`,
      );
    const places =
      "select tableoid::regclass::text as place from security.login_attempts where failure_reason = 'probe'";
    const before = (await owner.query<{ place: string }>(places)).rows.map(({ place }) => place);
    expect(new Set(before)).toEqual(new Set(["login_attempts_default"]));

    // At one time: a month may begin between two.
    await worker.query("begin");
    const made = await ensurePartitions();
    expect(made).toContain("security.login_attempts_2028_02");
    expect(await ensurePartitions()).toEqual([]);
    await worker.query("commit");
    const after = (await owner.query<{ place: string }>(places)).rows.map(({ place }) => place);
    expect(after).toHaveLength(4);
    expect(after.filter((place) => !/login_attempts_\d{4}_\d\d$/.test(place))).toEqual([]);
    await owner.query("delete from security.login_attempts where failure_reason = 'probe'");
  });
});

describe("old months of logs [A8, A14, C13]", () => {
  let before: Record<string, string>;
  let totalsBefore: unknown;

  beforeAll(async () => {
    // The months have no partitions yet, so the rows are in default partitions.
    await fill();
    before = await allRows();
    totalsBefore = await totals();
  });

  async function fill(): Promise<void> {
    for (const time of TIMES) {
      await owner.query(
        `insert into security.login_attempts (user_id, email, ip_address, user_agent, status, created_at)
         select $2, 'ünï"cödé\\' || chr(8232) || n, '192.0.2.1', repeat('x', 200), 'success', $1::timestamptz + n * interval '1 microsecond'
         from generate_series(1, 3000) n`,
        [time, ada],
      );
      await owner.query(
        `insert into security.security_audit_log (user_id, event_type, event_data, created_at)
         values ($2, 'probe', '{"a": [1, null, "x"], "b": 12345678901234567890.123}', $1), (null, 'probe', '{}', $1)`,
        [time, bob],
      );
      await owner.query(
        `insert into security.audit_trail
           (user_id, table_name, operation, row_key, changed_columns, old_values, new_values, transaction_number, source, created_at)
         values ($2, 't', 'UPDATE', '{}', '{"a","b c","null"}', '{"a": null}', '{"a": 1}', 9007199254740993, 's', $1)`,
        [time, bob],
      );
      await owner.query(
        `select private.record_usage($2, null, 1000000000000, 7, $1 || 'k', at => $1::timestamptz)`,
        [time, ada],
      );
      await owner.query(
        `insert into private.payment_events
           (provider, provider_event_id, event_type, occurred_at, payload, received_at, processed_at, outcome)
         values ('stripe', 'done ' || $1, 't', $1::timestamptz, '{"x": 1}', $1::timestamptz, now(), 'done'),
           ('stripe', 'waits ' || $1, 't', $1::timestamptz, '{}', $1::timestamptz, null, null)`,
        [time],
      );
    }
    await owner.query(
      `with category as (
         insert into learning.content_categories (name, slug) values ('Probe', 'probe') returning id
       ), item as (
         insert into learning.content_items (content_type, title, slug, category_id)
         select 'lesson', 'Probe', 'probe', id from category
         returning id
       )
       insert into learning.content_consumption
         (user_id, item_id, version, started_at, last_activity_at, active_seconds, heartbeat_count, covered, active, created_at)
       select $1, item.id, 1, t::timestamptz, t::timestamptz + interval '1 hour', 60 + n, 2, '{[0,60)}', '{}',
         t::timestamptz + n * interval '1 day'
       from item, unnest($2::text[]) t, generate_series(0, 2) n`,
      [ada, TIMES],
    );
    await owner.query(
      `with room as (insert into rooms.chat_rooms (name, creator_id) values ('Probe', $1) returning id)
       insert into rooms.room_changes (room_id, sequence, kind, user_id, created_at)
       select id, 1000 + n, 'room_changed', $1, t::timestamptz
       from room, unnest($2::text[]) with ordinality t (t, n)`,
      [ada, TIMES],
    );
  }

  test("are listed by a plan, which changes nothing", async () => {
    const due = await listDueMonths(worker);
    expect(new Set(due.map(({ log }) => log))).toEqual(new Set(Object.keys(LOGS)));
    expect(due.filter(({ log }) => log === "private.payment_events")).toEqual([
      { log: "private.payment_events", month: "2010-01", action: "archive", estimatedRows: 1 },
      { log: "private.payment_events", month: "2012-02", action: "archive", estimatedRows: 1 },
      { log: "private.payment_events", month: "2013-02", action: "archive", estimatedRows: 1 },
    ]);
    expect(due.filter(({ log }) => log === "security.login_attempts")).toEqual([
      { log: "security.login_attempts", month: "2010-01", action: "archive", estimatedRows: 3_000 },
      { log: "security.login_attempts", month: "2012-03", action: "archive", estimatedRows: 3_000 },
      { log: "security.login_attempts", month: "2013-02", action: "archive", estimatedRows: 3_000 },
    ]);
    const { code, stdout } = await runHere(["archive", "run", "--plan", "--json"], { env: databaseEnv(db) });
    expect([code, JSON.parse(stdout)]).toEqual([0, { due }]);
    expect(await allRows()).toEqual(before);
  });

  /** Runs a command in a process that is killed after a step. */
  async function killedAt(step: string, url: string, ...command: string[]): Promise<void> {
    const ended = await killArchiving({ directory, keys: [key] }, { url, step, command });
    expect({ step, ...ended }).toEqual({ step, code: null, killedBy: "SIGKILL" });
  }

  test("are archived by runs that are killed with SIGKILL after each step; no row is lost or doubled", async () => {
    for (const step of [": detached", ": read 64 of", ": wrote", ": verified", ": archived"]) {
      await killedAt(step, db.url("worker"), "run");
      // The month is in a table of its own now, which no operator should take for a stray one.
      if (step === ": detached") {
        const { stdout } = await runHere(["doctor", "--json"], { env: databaseEnv(db) });
        const findings: { check: string; status: string }[] = JSON.parse(stdout).findings;
        const statusOf = (name: string) => findings.find(({ check }) => check === name)!.status;
        expect([statusOf("archives"), statusOf("drift-extra")]).toEqual(["warn", "ok"]);
      }
    }
    expect((await listArchives(owner)).filter(({ state }) => state === "archived").length).toBeGreaterThan(0);

    const done = await archiveDue();
    expect(done.waiting).toBe(0);
    expect(await listDueMonths(worker)).toEqual([]);
    const archives = await listArchives(owner);
    expect(archives.filter(({ state }) => state !== "archived")).toEqual([]);
    expect(new Set(archives.map(({ log, month }) => `${log} ${month}`)).size).toBe(archives.length);
    expect(readdirSync(directory).filter((name) => name.endsWith(".partial"))).toEqual([]);
    // Only the unprocessed events are left.
    expect(await rowsOf("private.payment_events")).toMatch(/^3 /);
    expect(await rowsOf("learning.content_consumption")).toBe("0");

    await attachAll();
    expect(await allRows()).toEqual(before);
  });

  test("leave the totals of usage and of activity unchanged, archived or attached", async () => {
    expect(await totals()).toEqual(totalsBefore);
    for (const { id } of await listArchives(owner)) await detachArchive(writer(owner), id);
    expect(await totals()).toEqual(totalsBefore);
    expect(await rowsOf("billing.usage_events")).toBe("0");
  });

  test("are not due again while they are attached, and come and go whole if that is killed", async () => {
    const { id } = await archived("security.login_attempts");
    await killedAt(": loaded 1000 of", db.url("owner"), "attach", id);
    await attachArchive(writer(owner), id);
    expect(await rowsOf("security.login_attempts")).toMatch(/^3000 /);
    expect(await listDueMonths(worker)).toEqual([]);
    expect(await archiveDue()).toMatchObject({ archived: 0, dropped: 0 });
    await killedAt(": detached", db.url("owner"), "detach", id);
    expect(await archiveDue()).toMatchObject({ archived: 1, archivedRows: 3_000 });
    expect(await rowsOf("security.login_attempts")).toBe("0");
  });

  test("reject a repeated call whose usage is archived, instead of counting it again", async () => {
    const again = owner.query(
      "select private.record_usage($2, null, 1000000000000, 7, $1 || 'k', at => $1::timestamptz)",
      [TIMES[0], ada],
    );
    await expect(again).rejects.toMatchObject({ code: "PL404" });
  });

  test("are readable without Plinth: a line of JSON a row, and a manifest with columns and checksums", async () => {
    const { id } = await archived("security.audit_trail");
    await attachArchive(writer(owner), id);
    await detachArchive({ ...writer(owner), keys: [] }, id);
    // The encrypted file from before would keep what was erased meanwhile.
    expect(readdirSync(directory).filter((name) => name.includes(id))).toEqual([
      `security.audit_trail-${TIMES[2]!.slice(0, 7)}-${id}.ndjson.gz`,
      `security.audit_trail-${TIMES[2]!.slice(0, 7)}-${id}.ndjson.gz.manifest.json`,
    ]);
    const { fileName, sha256, migration } = (await listArchives(owner)).find((each) => each.id === id)!;
    const lines = gunzipSync(readFileSync(join(directory, fileName!)))
      .toString()
      .trimEnd()
      .split("\n");
    expect(lines.map((line) => JSON.parse(line))).toEqual([
      expect.objectContaining({
        table_name: "t",
        changed_columns: ["a", "b c", "null"],
        old_values: { a: null },
      }),
    ]);
    const manifest = JSON.parse(readFileSync(join(directory, `${fileName}.manifest.json`), "utf8"));
    expect(manifest).toMatchObject({
      log: "security.audit_trail",
      rows: 1,
      sha256,
      migration,
      encryption: null,
    });
    expect(manifest.columns).toContainEqual({ name: "created_at", type: "timestamp with time zone" });
    expect(migration).toMatch(/^\d{6}-/);
  });

  test("whose file is damaged, missing or of another key are named by verify, and are not attached", async () => {
    const archive = await archived("security.login_attempts");
    const path = join(directory, archive.fileName!);
    const content = readFileSync(path);
    const all = await listArchives(owner);
    const faults = async (keys = [key]) =>
      (await verifyArchives(all, { directory, keys, log: () => {} })).filter(({ fault }) => fault !== null);
    expect(await faults()).toEqual([]);
    expect(content.includes("example.com") || content.includes("192.0.2.1")).toBe(false);

    const damaged = Buffer.from(content);
    damaged[content.length >> 1]! ^= 1;
    const files = async () =>
      (
        await checkRetention({
          client: owner,
          role: "owner",
          config: loadConfig({ ...databaseEnv(db), PLINTH_ARCHIVES: directory }),
        } as DoctorContext)
      ).find(({ check }) => check === "archive-files");
    expect(await files()).toMatchObject({ status: "ok" });
    const cases: [string, () => void, string[]?][] = [
      ["a changed byte", () => writeFileSync(path, damaged)],
      [
        "a cut end",
        () => writeFileSync(path, content.subarray(0, -1)),
        [`${archive.fileName} has ${content.length - 1} bytes instead of ${content.length}`],
      ],
      [
        "another archive",
        () =>
          writeFileSync(
            path,
            readFileSync(
              join(directory, all.find((each) => each.isEncrypted && each.id !== archive.id)!.fileName!),
            ),
          ),
      ],
      ["no file", () => rmSync(path), [`${archive.fileName} is missing`]],
    ];
    for (const [name, damage, altered] of cases) {
      damage();
      if (altered) expect(await files()).toMatchObject({ status: "fail", details: altered });
      expect([name, (await faults()).map(({ id }) => id)]).toEqual([name, [archive.id]]);
      await expect(attachArchive(writer(owner), archive.id)).rejects.toMatchObject({
        code: /^ARCHIVE_(DAMAGED|MISSING)$/,
      });
      expect([name, await rowsOf("security.login_attempts")]).toEqual([name, "0"]);
    }
    // A manifest that leaves out a column would have its rows get the default.
    writeFileSync(path, content);
    const manifest = readFileSync(`${path}.manifest.json`, "utf8");
    const { columns, ...others } = JSON.parse(manifest);
    writeFileSync(
      `${path}.manifest.json`,
      JSON.stringify({
        ...others,
        columns: columns.filter(({ name }: { name: string }) => name !== "created_at"),
      }),
    );
    await expect(attachArchive(writer(owner), archive.id)).rejects.toMatchObject({
      code: "ARCHIVE_DAMAGED",
      message: expect.stringContaining("does not have the columns of the file"),
    });
    writeFileSync(`${path}.manifest.json`, manifest);
    // A file that would fill the memory or the log is not even opened.
    writeFileSync(path, gzipSync(Buffer.alloc(50_000_000, "[")));
    const loaded: string[] = [];
    await expect(
      attachArchive({ ...writer(owner), log: (line) => loaded.push(line) }, archive.id),
    ).rejects.toMatchObject({ code: "ARCHIVE_DAMAGED", message: expect.stringContaining("not the file") });
    expect(loaded).toEqual([]);
    rmSync(path);
    const { code, stderr } = await runHere(["archive", "verify"], {
      env: { ...databaseEnv(db), PLINTH_ARCHIVES: directory, PLINTH_BACKUP_KEY: key.toString("base64") },
    });
    expect([code, stderr]).toEqual([1, expect.stringContaining("does not exist")]);
    writeFileSync(path, content);
    expect(await faults([randomBytes(32), key])).toEqual([]);
    expect((await faults([randomBytes(32)])).length).toBe(
      all.filter(({ isEncrypted }) => isEncrypted).length,
    );
    await expect(attachArchive({ ...writer(owner), keys: [] }, archive.id)).rejects.toMatchObject({
      code: "BACKUP_KEY_MISSING",
    });
  });

  test("wait for a transaction that reads the log, without holding up others", async () => {
    await owner.query(
      "insert into security.login_attempts (status, created_at) values ('failed', '2011-05-05')",
    );
    await ensurePartitions();
    const reader = await connected(db.url("owner"));
    await reader.query(
      "set application_name = 'a report'; begin; select from security.login_attempts limit 1",
    );
    // Its patience ends when the test says so, instead of after 50 attempts, which take 15 seconds.
    const { rows: source } = await owner.query<{ text: string }>(
      "select pg_get_functiondef('private.detach_log_month(text, date)'::regprocedure) as text",
    );
    expect(source[0]!.text).toContain("v_tries >= 50");
    await owner.query(`create table public.over (); grant select on public.over to ${db.rolePrefix}_worker`);
    await owner.query(source[0]!.text.replace("v_tries >= 50", "exists (select from public.over)"));
    const { rows: backend } = await reader.query<{ pid: number }>("select pg_backend_pid() as pid");
    const { pid } = backend[0]!;
    const holder = `it needs ACCESS EXCLUSIVE on security.login_attempts, which is locked by process ${pid} (role ${db.rolePrefix}_owner, application a report`;
    const lines: string[] = [];
    const log = (line: string) => {
      lines.push(line);
      void owner.query("insert into public.over default values");
    };
    await expect(archiveDue({ log })).rejects.toMatchObject({
      code: "LOG_IN_USE",
      message: expect.stringContaining(
        `The month 2011-05 of security.login_attempts stays in the log: ${holder}`,
      ),
      hint: expect.stringContaining(`select pg_terminate_backend(${pid});`),
    });
    expect(lines).toEqual([expect.stringContaining(`security.login_attempts 2011-05 waits: ${holder}`)]);
    await owner.query("truncate public.over");
    const run = archiveDue();
    const waiting =
      "select from pg_locks where not granted and relation = 'security.login_attempts'::regclass";
    while ((await owner.query(waiting)).rowCount === 0);
    // It waits 200 ms at most before it lets others pass.
    await owner.query("insert into security.login_attempts (status) values ('failed')");
    await reader.query("commit");
    await reader.end();
    expect(await run).toMatchObject({ archived: 1, archivedRows: 1 });
    await owner.query(source[0]!.text);
    await owner.query("drop table public.over");
  });

  test("stay in the database if their folder is not writable, which the error says", async () => {
    await owner.query(
      "insert into security.login_attempts (status, created_at) values ('failed', '2011-06-06')",
    );
    await ensurePartitions();
    const file = join(directory, "file");
    writeFileSync(file, "");
    for (const folder of [file, join(file, "below"), "/proc/archives"])
      await expect(archiveDue({ directory: folder })).rejects.toMatchObject({
        code: "ARCHIVES_NOT_WRITABLE",
        message: expect.stringContaining(folder),
      });
    rmSync(file);
    expect(await archiveDue()).toMatchObject({ archived: 1, archivedRows: 1 });
  });

  test("have a second archive for rows that came late, which is attached when the first is detached", async () => {
    const late = () =>
      owner.query("insert into security.login_attempts (status, created_at) values ('failed', '2011-05-06')");
    await late();
    await ensurePartitions();
    const { stdout } = await runHere(["archive", "run"], {
      env: { ...databaseEnv(db), PLINTH_ARCHIVES: directory, PLINTH_BACKUP_KEY: key.toString("base64") },
    });
    expect(stdout).toBe("Archived 1 month with 1 row, dropped 0 months with 0 rows.\n");
    const ids = (await listArchives(owner)).filter(({ month }) => month === "2011-05").map(({ id }) => id);
    expect(ids).toHaveLength(2);
    await attachArchive(writer(owner), ids[0]!);
    await expect(attachArchive(writer(owner), ids[1]!)).rejects.toMatchObject({
      code: "ARCHIVE_NOT_READY",
      hint: expect.stringContaining(`plinth archive detach ${ids[0]}`),
    });
    for (const id of ids) {
      expect(await detachArchive(writer(owner), id)).toEqual({ rows: 1 });
      if (id === ids[0]) await attachArchive(writer(owner), ids[1]!);
    }
    await owner.query("delete from security.archives where id = $1", [ids[1]]);
  });

  test("are deleted where the policy says drop, also by the job", async () => {
    await owner.query(
      `insert into security.error_logs (id, message, error_code, source, created_at)
       select gen_random_uuid(), 'old', 'x', 'test', '2024-02-29' from generate_series(1, 5)`,
    );
    await ensurePartitions();
    const job = TIMETABLE.find(({ name }) => name === "archive-old-partitions")!;
    const counts = await job.run({
      signal: new AbortController().signal,
      query: async (sql, values) => (await worker.query(sql, values)).rows,
      archives: { workerUrl: db.url("worker"), directory: undefined, keys: [] },
    });
    expect(counts).toEqual({ archived: 0, archivedRows: 0, dropped: 1, droppedRows: 5, waiting: 0 });
    expect((await listArchives(owner)).filter(({ state }) => state === "dropped")).toEqual([
      expect.objectContaining({ log: "security.error_logs", month: "2024-02", rows: 5, fileName: null }),
    ]);
  });

  test("come back without the rows and references of accounts that were deleted since", async () => {
    await owner.query("delete from identity.users where id = $1", [bob]);
    await attachAll();
    const { rows } = await owner.query<{ user_id: string | null }>(
      "select user_id from security.security_audit_log where event_type = 'probe'",
    );
    expect(rows.map(({ user_id }) => user_id)).toEqual([null, null, null, null, null, null]);
    await owner.query("delete from identity.users where id = $1", [ada]);
    for (const { id, state } of await listArchives(owner))
      if (state === "attached") await detachArchive(writer(owner), id);
    await attachAll();
    expect(await rowsOf("learning.content_consumption")).toBe("0");
    const { rowCount } = await owner.query("select from security.login_attempts where user_id = $1", [ada]);
    expect([rowCount, await rowsOf("security.login_attempts")]).toEqual([
      0,
      expect.stringMatching(/^900\d /),
    ]);
  });
});

describe("rights [A12]", () => {
  test("the worker may start only what a policy asks for, and may not load rows", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      const due = await tx.rows<{ month: string }>("select to_char(now(), 'YYYY-MM-01') as month");
      const id = (await listArchives(owner))[0]!.id;
      await tx.asWorker();
      for (const name of ["begin_archive", "drop_log_month"])
        await expect(
          tx.attempt(`select private.${name}('security.login_attempts', $1)`, [due[0]!.month]),
        ).rejects.toMatchObject({ code: "PL409" });
      for (const call of [
        "private.begin_attach($1)",
        "private.load_archive_rows($1, '{}', '{}')",
        "private.reopen_archive($1)",
        "private.detach_log_month($1::text, now()::date)",
        "private.end_archive_table($1)",
      ])
        await expect(tx.attempt(`select ${call}`, [id])).rejects.toMatchObject({ code: "42501" });
      await expect(tx.attempt("select private.read_archive_rows($1, 0, 1)", [id])).rejects.toMatchObject({
        code: "PL409",
      });
      await expect(
        tx.attempt("select private.finish_archive($1, 'f', 1, repeat('0', 64), 0, false, 'm')", [id]),
      ).rejects.toMatchObject({ code: "PL409" });
    });
  });

  test.each([
    ["less than the minimum", "kept_for = '1 month' where log = 'security.audit_trail'"],
    ["minimum in shorter months", "kept_for = '360 days' where log = 'security.audit_trail'"],
    [
      "months and days of opposite signs",
      "kept_for = '-10000 years 3600360 days' where log = 'security.audit_trail'",
    ],
    ["no bookkeeping", "action = 'drop' where log = 'billing.usage_events'"],
    ["files in archives", "action = 'archive' where log = 'server_log'"],
  ])("a policy rejects %s", async (_name, change) => {
    await inRolledBackTransaction(db, async (tx) => {
      await expect(tx.attempt(`update security.retention_policies set ${change}`)).rejects.toMatchObject({
        code: "23514",
      });
    });
  });
});
