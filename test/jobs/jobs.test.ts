import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import pg from "pg";
import { QUEUES, TIMETABLE } from "../../src/jobs/index.ts";
import { inBatches, type JobContext } from "../../src/jobs/job.ts";
import { registerUser } from "../support/accounts.ts";
import { createTestDatabase, type TestDatabase, withClient } from "../support/database.ts";

let db: TestDatabase;
let worker: pg.Client;
let userId: string;
beforeAll(async () => {
  db = await createTestDatabase();
  worker = new pg.Client(db.url("worker"));
  await worker.connect();
  // As at a worker's start. The template may be of last month.
  await job("ensure-partitions").run(context());
  userId = await registerUser(db, "ada");
  // Its registration is in the audit logs.
  await worker.query("select private.close_audit_block()");
});
afterAll(async () => {
  await worker.end();
  await db.drop();
});

/** The context of a job, on a connection of the worker role. */
const context = (signal = new AbortController().signal): JobContext => ({
  signal,
  query: async (sql, values) => (await worker.query(sql, values)).rows,
});

const job = (name: string) => {
  const entry = TIMETABLE.find((each) => each.name === name);
  if (!entry) throw new Error(`${name} is not on the timetable`);
  return entry;
};

/** Creates sessions with one refresh token each, with a start and an end. */
const makeSessions = (count: number, begun: string, ends: string) =>
  withClient(db.url("owner"), async (client) => {
    for (let index = 0; index < count; index += 1)
      await client.query(
        `with s as (
           insert into identity.user_sessions (user_id, created_at, last_activity_at, expires_at)
           values ($1, now() + $2::interval, now() + $2::interval, now() + $3::interval)
           returning id, user_id
         )
         insert into private.refresh_tokens (session_id, user_id, token_hash, created_at, expires_at)
         select id, user_id, $4, now() + $2::interval, now() + $3::interval from s`,
        [userId, begun, ends, randomBytes(32)],
      );
  });

const count = (sql: string) =>
  withClient(db.url("owner"), async (client) => (await client.query<{ n: number }>(sql)).rows[0]!.n);
const TOKENS = "select count(*)::integer as n from private.refresh_tokens";
const OPEN = "select count(*)::integer as n from identity.user_sessions where ended_at is null";

test("gives each job in the timetable a schedule and a reason, and a queue with a dead letter queue", () => {
  for (const { name, cron, reason } of TIMETABLE) {
    expect(name).toMatch(/^[a-z]+(-[a-z]+)*$/);
    expect(cron.split(" ")).toHaveLength(5);
    expect(reason).toMatch(/\.$/);
    expect(QUEUES).toContainEqual(
      expect.objectContaining({ name, deadLetter: "dead-letter", retryBackoff: true, policy: "exclusive" }),
    );
  }
  expect(QUEUES).toContainEqual(expect.objectContaining({ name: "dead-letter" }));
});

test("finds nothing to do for any job on a fresh database as the worker role", async () => {
  for (const { name, run } of TIMETABLE) {
    const counts = await run(context());
    expect({ name, counts: [...new Set(Object.values(counts))] }).toEqual({ name, counts: [0] });
  }
});

test("deletes only expired rows in delete-expired-sign-in-data", async () => {
  await makeSessions(3, "-2 days", "-1 day");
  await makeSessions(2, "-2 days", "1 day");
  expect(await job("delete-expired-sign-in-data").run(context())).toEqual({ rows: 3 });
  expect(await count(TOKENS)).toBe(2);
});

test("ends only expired sessions in end-expired-sessions [C13]", async () => {
  expect(await count(OPEN)).toBe(5);
  expect(await job("end-expired-sessions").run(context())).toEqual({ rows: 3 });
  expect(await count(OPEN)).toBe(2);
});

test("deletes only old rows in delete-old-emails and delete-expired-verifications", async () => {
  await withClient(db.url("owner"), (client) =>
    client.query(
      `with emails (status, age) as (values ('sent', 8), ('sent', 6), ('failed', 31), ('failed', 29), ('pending', 99))
       insert into private.mail_outbox (to_address, template, status, created_at, sent_at)
       select 'a@example.org', 'probe', status, now() - make_interval(days => age), case status when 'sent' then now() end
       from emails;
       insert into private.password_reset_tokens (user_id, token_hash, expires_at)
       select '${userId}', sha256(age::text::bytea), now() - make_interval(days => age) from unnest(array[31, 29]) age;
       insert into private.user_verifications (user_id, kind, new_value, token_hash, expires_at)
       select '${userId}', 'email', 'x', sha256(age::text::bytea), now() - make_interval(days => age)
       from unnest(array[31, 29]) age`,
    ),
  );
  expect(await job("delete-old-emails").run(context())).toEqual({ rows: 2 });
  expect(await job("delete-expired-verifications").run(context())).toEqual({ rows: 2 });
  const emails = await withClient(db.url("owner"), (client) =>
    client.query("select status from private.mail_outbox where template = 'probe' order by status"),
  );
  expect(emails.rows.map(({ status }) => status)).toEqual(["failed", "pending", "sent"]);
  expect(await count("select count(*)::integer as n from private.password_reset_tokens")).toBe(1);
  expect(await count("select count(*)::integer as n from private.user_verifications")).toBe(1);
});

test("creates missing months in ensure-partitions", async () => {
  const months =
    "select count(*)::integer as n from pg_inherits where inhparent = 'security.login_attempts'::regclass";
  const before = await count(months);
  await withClient(db.url("owner"), async (client) => {
    const { rows } = await client.query<{ last: string }>(
      `select max(inhrelid::regclass::text) as last from pg_inherits
       where inhparent = 'security.login_attempts'::regclass and inhrelid::regclass::text ~ '_\\d{4}_\\d{2}$'`,
    );
    await client.query(`drop table ${rows[0]!.last}`);
  });
  expect(await job("ensure-partitions").run(context())).toEqual({ made: 1 });
  expect(await count(months)).toBe(before);
});

test("fills each materialized view that is not populated, as after a restore of the schema alone", async () => {
  const views = () =>
    withClient(db.url("owner"), async (client) => {
      const { rows } = await client.query<{ name: string; populated: boolean }>(
        `select c.oid::regclass::text as name, c.relispopulated as populated
         from pg_class c where c.relkind = 'm' order by 1`,
      );
      return rows;
    });
  const names = (await views()).map(({ name }) => name);
  expect(names.length).toBeGreaterThan(0);
  await withClient(db.url("owner"), async (client) => {
    for (const name of names) await client.query(`refresh materialized view ${name} with no data`);
  });
  for (const { name, run } of TIMETABLE) if (name.startsWith("refresh-")) await run(context());
  expect(await views()).toEqual(names.map((name) => ({ name, populated: true })));
  // Populated, they are refreshed with their readers let in.
  const reader = new pg.Client(db.url("owner"));
  await reader.connect();
  try {
    await reader.query("begin");
    for (const name of names) await reader.query(`select from ${name} limit 1`);
    await worker.query("set lock_timeout = '120s'");
    for (const { name, run } of TIMETABLE) if (name.startsWith("refresh-")) await run(context());
  } finally {
    await worker.query("reset lock_timeout");
    await reader.end();
  }
});

describe("a job in batches", () => {
  /** A stand-in for a SQL function with `rows` to handle. */
  const pretend = (rows: number, onCall: () => void = () => {}) => {
    const sizes: number[] = [];
    let left = rows;
    const query: JobContext["query"] = async (_sql, [size]) => {
      const handled = Math.min(left, Number(size));
      left -= handled;
      sizes.push(handled);
      onCall();
      return [{ handled }];
    };
    return { query, sizes };
  };

  test("continues until a batch is not full", async () => {
    const { query, sizes } = pretend(25);
    expect(await inBatches("", 10)({ query, signal: new AbortController().signal })).toEqual({ rows: 25 });
    expect(sizes).toEqual([10, 10, 5]);
  });

  test("stops between two batches on a signal", async () => {
    const controller = new AbortController();
    const { query, sizes } = pretend(1_000, () => controller.abort());
    expect(await inBatches("", 10)({ query, signal: controller.signal })).toEqual({ rows: 10 });
    expect(sizes).toEqual([10]);
  });
});
