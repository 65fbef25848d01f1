import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import pg from "pg";
import { rollUpDays } from "../../src/jobs/roll-up-days.ts";
import { PACKAGE_ROOT } from "../../src/support/paths.ts";
import { createTestDatabase, type TestDatabase, withClient } from "../support/database.ts";
import { makeRandom, SEED } from "../support/random.ts";
import { rowsRead } from "../support/rows-read.ts";
import { SEED_OF_VIEWS } from "./seed.ts";

// The roll-ups of analytics in a database of random rows: first run, late rows, deleted accounts, archived logs, two workers, kill -9
// and plans. Each case continues from the one before. PLINTH_SEED repeats a run.

let db: TestDatabase;
let owner: pg.Client;
let worker: pg.Client;

beforeAll(async () => {
  db = await createTestDatabase();
  owner = new pg.Client(db.url("owner"));
  worker = new pg.Client(db.url("worker"));
  await Promise.all([owner.connect(), worker.connect()]);
  await owner.query("set timezone = 'UTC'");
  await owner.query("select setseed($1)", [makeRandom(SEED)(2_000) / 1_000 - 1]);
  await owner.query(SEED_OF_VIEWS);
  // Archived, so that the usage of the seed is not late; its sums stay in daily_usage.
  await owner.query("delete from billing.usage_events");
  await owner.query("analyze");
});
afterAll(async () => {
  await Promise.all([owner.end(), worker.end()]);
  await db.drop();
});

const run = (client: pg.Client, signal = new AbortController().signal) =>
  rollUpDays({ query: async (sql, values) => (await client.query(sql, values)).rows, signal });

const value = async (sql: string, params: unknown[] = []) =>
  Object.values((await owner.query(sql, params)).rows[0] as object)[0] as unknown;

/** Everything that is kept, without the time of the refresh. */
const kept = () =>
  value(`select jsonb_build_array(
    (select jsonb_agg(k order by k.day, k.account_id) from private.account_days k),
    (select jsonb_agg(k order by k.day, k.status) from private.sign_in_days k),
    (select jsonb_agg(to_jsonb(k) - 'id' order by k.day, k.account_id, k.model_id) from private.account_usage_days k),
    (select jsonb_agg(to_jsonb(k) - 'id' order by k.day, k.plan_code, k.currency) from private.revenue_days k),
    (select jsonb_agg(k order by k.id) from private.rolled_up_accounts k))`);

/** The figures of every view over kept totals, without the time of the refresh and the ids of accounts. */
const VIEWS = [
  "daily_active_accounts",
  "retention_cohorts",
  "sign_up_funnel",
  "feature_use_by_plan",
  "daily_usage_by_plan",
  "daily_revenue",
  "revenue_and_cost",
];
/** @param watermark of the last run, because another day may have begun, of which views then have rows */
const figures = async (watermark: unknown) => {
  const all: Record<string, unknown> = {};
  await owner.query("begin");
  await owner.query("update private.roll_up_state set watermark = $1", [watermark]);
  for (const view of VIEWS)
    all[view] = await value(
      `select jsonb_agg(to_jsonb(v) - 'refreshed_at' order by to_jsonb(v)::text) from analytics.${view} v`,
    );
  await owner.query("rollback");
  return all;
};

const watermark = () => value("select watermark::text from private.roll_up_state");
/** The days that a run sums in any case: from yesterday on, as seen from the run before it. */
const recentDays = (before: unknown) =>
  value("select watermark::date - $1::timestamptz::date + 2 from private.roll_up_state", [before]);

const oneDay = (day: string, view: string, columns: string) =>
  value(`select to_jsonb(x) from (select ${columns} from analytics.${view} where day = $1) x`, [day]);

describe(`the job roll-up-days (PLINTH_SEED=${SEED})`, () => {
  test("sums the newest day first, a transaction each, and shows how far it is [A7]", async () => {
    expect(await value("select max(watermark) from analytics.roll_ups")).toBeNull();
    const found = await worker.query("select private.find_days_to_roll_up() as days");
    const { days } = found.rows[0];
    expect(days).toBeGreaterThan(60);
    const newest = await value("select max(day)::text from private.days_to_roll_up");
    const first = await worker.query("select private.roll_up_day()::text as day");
    expect(first.rows).toEqual([{ day: newest }]);
    const { rows } = await owner.query(
      "select distinct pending_days::integer as pending, watermark <= now() as found, refreshed_at > watermark as refreshed from analytics.roll_ups",
    );
    expect(rows).toEqual([{ pending: days - 1, found: true, refreshed: true }]);
    // Stopped by Ctrl-C at once: nothing is lost.
    expect(await run(worker, AbortSignal.abort())).toMatchObject({ days: 0 });
    expect(await run(worker)).toMatchObject({ days: expect.any(Number) });
    expect(await value("select distinct pending_days::integer from analytics.roll_ups")).toBe(0);
  });

  test("changes nothing when it repeats, and sums only yesterday and today again", async () => {
    const [before, earlier] = [await kept(), await watermark()];
    const counts = await run(worker);
    const days = await recentDays(earlier);
    expect(counts).toEqual({ pending: days, days });
    expect(await kept()).toEqual(before);
  });

  test("sums a day again when a late row belongs to it: usage, a heartbeat, a refund or an imported message", async () => {
    const day = (await value("select (now() - interval '40 days')::date::text")) as string;
    const user = await value(
      "select user_id from private.rolled_up_accounts a where not exists (select from private.account_days k where k.account_id = a.id and k.day = $1) limit 1",
      [day],
    );
    const item = await value("select id from learning.content_items where slug = 'item7'");
    await owner.query("insert into learning.content_versions (item_id, version) values ($1, 2)", [item]);
    const activity = async () =>
      (
        await owner.query(
          "select chat_messages::integer, content_sessions::integer, token_uses::integer from analytics.account_activity where day = $1 and user_id = $2",
          [day, user],
        )
      ).rows;
    expect(await activity()).toEqual([]);
    const before = (await oneDay(day, "daily_active_accounts", "daily_accounts")) as {
      daily_accounts: number;
    };
    const at = `${day} 12:00Z`;
    await owner.query(`select private.record_usage($1, null, 100, 50, 'late', occurred_at => $2)`, [
      user,
      at,
    ]);
    const earlier = await watermark();
    const { days } = await run(worker);
    expect(days).toBe(((await recentDays(earlier)) as number) + 1);
    expect(await activity()).toEqual([{ chat_messages: 0, content_sessions: 0, token_uses: 1 }]);
    await owner.query(
      `insert into learning.content_consumption (user_id, item_id, version, started_at, last_activity_at, active_seconds, heartbeat_count, covered)
       values ($1, $2, 2, $3, $3, 1, 1, '{}')`,
      [user, item, at],
    );
    const imported = await owner.query("select outcome from private.import_chats($1, $2)", [
      JSON.stringify([
        {
          key: "late",
          title: "Late",
          createdAt: at,
          isArchived: false,
          messages: [{ key: "1", role: "user", content: "x", createdAt: at }],
        },
      ]),
      user,
    ]);
    expect(imported.rows).toEqual([{ outcome: "inserted" }]);
    await run(worker);
    expect(await activity()).toEqual([{ chat_messages: 1, content_sessions: 1, token_uses: 1 }]);
    expect(await oneDay(day, "daily_active_accounts", "daily_accounts")).toEqual({
      daily_accounts: before.daily_accounts + 1,
    });

    const { rows: payments } = await owner.query(
      `select p.id, (p.paid_at at time zone 'UTC')::date::text as day from billing.payments p
       join billing.subscription_plans s on s.id = p.plan_id and s.code = 'yen'
       where p.refunded_cents = 0 and p.amount_cents >= 10 and p.disputed_at is null
         and p.paid_at between now() - interval '74 days' and now() - interval '3 days' limit 1`,
    );
    const yen = async () =>
      (
        await owner.query(
          "select refunded::float8, net::float8 from analytics.daily_revenue where day = $1 and plan_code = 'yen'",
          [payments[0].day],
        )
      ).rows[0];
    const paid = await yen();
    await owner.query("update billing.payments set refunded_cents = 10 where id = $1", [payments[0].id]);
    await run(worker);
    // The yen has no smaller unit.
    expect(await yen()).toEqual({ refunded: paid.refunded + 10, net: paid.net - 10 });
  });

  test("moves revenue when an earlier event of the payment arrives late, and takes it from the day of a deleted payment", async () => {
    const today = await value("select current_date::text");
    const revenue = async () =>
      (
        await owner.query(
          "select k.day - $1::date as day, k.payments::integer from private.revenue_days k where k.currency = 'ISK' order by 1",
          [today],
        )
      ).rows;
    await owner.query(
      `insert into billing.payments (provider, provider_payment_id, amount_cents, currency, paid_at)
       select 'probe', id, 5, 'ISK', ($1::date - 20)::timestamp at time zone 'UTC' from unnest(array['moved', 'kept']) id`,
      [today],
    );
    await run(worker);
    expect(await revenue()).toEqual([{ day: -20, payments: 2 }]);
    await owner.query(
      "update billing.payments set paid_at = paid_at - interval '1 microsecond' where provider_payment_id = 'moved'",
    );
    await run(worker);
    expect(await revenue()).toEqual([
      { day: -21, payments: 1 },
      { day: -20, payments: 1 },
    ]);
    await owner.query("delete from billing.payments where currency = 'ISK'");
    await run(worker);
    expect(await revenue()).toEqual([]);
  });

  test("survives impossible times of accounts and a clock that was ahead", async () => {
    await owner.query("begin");
    try {
      await owner.query(
        `insert into identity.users (username, email, email_verified_at, created_at) values
           ('ancient', 'ancient@example.com', now(), '-infinity'), ('future', 'future@example.com', now(), 'infinity'),
           ('year-one', null, null, '0001-01-01Z')`,
      );
      await owner.query(
        `with c as (
           insert into llm.chats (user_id) select id from identity.users where username in ('ancient', 'future')
           returning id, user_id
         )
         insert into llm.messages (chat_id, user_id, role, content) select c.id, c.user_id, 'user', 'x' from c`,
      );
      await owner.query("update private.roll_up_state set watermark = now() + interval '9 days'");
      await owner.query("select private.find_days_to_roll_up()");
      // The day of the run, which may begin after that of the transaction.
      const today = await value("select watermark::date::text from private.roll_up_state");
      expect(await value("select private.roll_up_day()::text")).toBe(today);
      expect(await value("select watermark <= clock_timestamp() from private.roll_up_state")).toBe(true);
      expect(
        await value(
          `select array_agg(a.signed_up_on = $1) from private.rolled_up_accounts a
           join identity.users u on u.id = a.user_id where u.username in ('ancient', 'future', 'year-one')`,
          [today],
        ),
      ).toEqual([true, true, true]);
      // A cohort per unit from the year 1, or without end, would be no answer.
      await owner.query("set local statement_timeout = '5min'");
      for (const view of ["sign_up_funnel", "retention_cohorts"])
        expect(await value(`select count(*)::integer from analytics.${view}`)).toBeLessThan(500);
    } finally {
      await owner.query("rollback");
    }
  });

  test("keeps the totals when messages and accounts are deleted later, and no id of the accounts", async () => {
    const summed = await watermark();
    const before = await figures(summed);
    const { rows: accounts } = await owner.query<{ id: string }>(
      // The last administrator cannot be deleted.
      `select user_id as id from private.rolled_up_accounts where user_id not in (
         select ur.user_id from access.user_roles ur join access.roles r on r.id = ur.role_id and r.role_name = 'admin'
       ) order by random() limit 10`,
    );
    await owner.query("delete from llm.chats where id in (select id from llm.chats order by id limit 5)");
    for (const { id } of accounts) await owner.query("delete from identity.users where id = $1", [id]);
    expect(await figures(summed)).toEqual(before);
    // Also after its days are summed again, together with rows of others.
    await owner.query(
      "insert into private.days_to_roll_up (day) select distinct day from private.account_days",
    );
    await run(worker);
    expect(await figures(summed)).toEqual(before);
    for (const { id } of accounts) expect(JSON.stringify(await kept())).not.toContain(id);
    expect(
      await value("select count(*)::integer from private.rolled_up_accounts where user_id is null"),
    ).toBe(10);
  });

  test("counts usage of an account that was deleted before it was summed, without a plan", async () => {
    const user = await value("insert into identity.users (username) values ('brief') returning id");
    await owner.query("select private.record_usage($1, null, 7, 0, 'brief')", [user]);
    const day = await value("select day::text from billing.daily_usage where user_id = $1", [user]);
    await owner.query("delete from identity.users where id = $1", [user]);
    await run(worker);
    const sums = await owner.query(
      `select (select sum(total_tokens)::integer from billing.daily_usage where day = $1) as ledger,
         (select sum(total_tokens)::integer from analytics.daily_usage_by_plan where day = $1) as kept,
         (select sum(total_tokens)::integer from analytics.daily_usage_by_plan where day = $1 and plan_code is null) as unknown`,
      [day],
    );
    expect(sums.rows[0].kept).toBe(sums.rows[0].ledger);
    expect(sums.rows[0].unknown).toBeGreaterThanOrEqual(7);
  });

  test("keeps sign-ins of a day whose log was archived", async () => {
    const day = (await value("select min(day)::text from private.sign_in_days")) as string;
    const before = await value(
      "select jsonb_agg(v order by status) from analytics.daily_sign_ins v where day = $1",
      [day],
    );
    await owner.query(
      "delete from security.login_attempts where (created_at at time zone 'UTC')::date = $1",
      [day],
    );
    await owner.query("insert into private.days_to_roll_up (day) values ($1)", [day]);
    const same = () =>
      value("select jsonb_agg(v order by status) from analytics.daily_sign_ins v where day = $1", [day]);
    expect(await same()).toEqual(before);
    await run(worker);
    expect(await same()).toEqual(before);
  });

  test("shares the days with a second worker, and sums each only as often as it is asked for", async () => {
    const before = await kept();
    await owner.query(
      "insert into private.days_to_roll_up (day) select distinct day from private.account_days",
    );
    const all = (await value("select count(distinct day)::integer from private.days_to_roll_up")) as number;
    // Each run asks for the recent days again, which the other may have summed by then.
    await owner.query(`
      create table public.asked (day date);
      create function public.note() returns trigger language plpgsql security definer
        as 'begin insert into public.asked values (new.day); return null; end';
      create trigger note after insert on private.days_to_roll_up for each row execute function public.note()`);
    await withClient(db.url("worker"), async (second) => {
      const runs = await Promise.all([run(worker), run(second)]);
      const asked = (await value("select count(*)::integer from public.asked")) as number;
      expect(runs[0]!.days! + runs[1]!.days!).toBeGreaterThanOrEqual(all);
      expect(runs[0]!.days! + runs[1]!.days!).toBeLessThanOrEqual(all + asked);
    });
    await owner.query(
      "drop trigger note on private.days_to_roll_up; drop function public.note(); drop table public.asked",
    );
    expect(await kept()).toEqual(before);
  });

  test("has summed a day completely or not at all after kill -9, and the next run sums the rest", async () => {
    const before = await kept();
    // Days with a sign-in of an account that is left, but none that each run sums.
    const { rows: days } = await owner.query<{ day: string }>(
      `select distinct format('date %L', (created_at at time zone 'UTC')::date) as day from security.login_attempts
       where status = 'success' and user_id is not null and created_at < now() - interval '5 days' order by 1 desc limit 3`,
    );
    const [later, blocked, earlier] = days.map(({ day }) => day) as [string, string, string];
    await owner.query(
      `delete from private.account_days where day in (${later}, ${blocked}, ${earlier});
       delete from private.sign_in_days where day in (${later}, ${blocked}, ${earlier});
       insert into private.days_to_roll_up (day) values (${later}), (${blocked}), (${earlier})`,
    );
    const blocker = new pg.Client(db.url("owner"));
    await blocker.connect();
    // The last statement of the day waits for this row, after the others have written theirs.
    await blocker.query(`begin; insert into private.sign_in_days values (${blocked}, 'success', 0, 0, 0)`);
    const { rows: backends } = await blocker.query<{ pid: number }>("select pg_backend_pid() as pid");
    const child = spawn(
      process.execPath,
      [join(PACKAGE_ROOT, "test/support/roll-up-process.ts"), db.url("worker")],
      { stdio: ["ignore", "ignore", "inherit"] },
    );
    const waiting = "select pid from pg_stat_activity where $1 = any (pg_blocking_pids(pid))";
    const blockedBy = [backends[0]!.pid];
    while ((await owner.query(waiting, blockedBy)).rows.length === 0)
      await new Promise((resolve) => setTimeout(resolve, 20));
    child.kill("SIGKILL");
    await once(child, "exit");
    // The server notices a lost client only when the statement ends.
    await withClient(db.adminUrl, (admin) =>
      admin.query(`select pg_terminate_backend(w.pid, 300000) from (${waiting}) w`, blockedBy),
    );
    await blocker.query("rollback");
    await blocker.end();
    const activity = (day: string) =>
      value(`select count(*)::integer from private.account_days where day = ${day}`);
    expect(await activity(later)).toBeGreaterThan(0);
    expect([await activity(blocked), await activity(earlier)]).toEqual([0, 0]);
    expect(
      await value(
        `select array_agg(distinct day = ${blocked}) from private.days_to_roll_up where day in (${later}, ${blocked}, ${earlier})`,
      ),
    ).toEqual([false, true]);
    expect(await value(`select count(*)::integer from private.days_to_roll_up where day = ${later}`)).toBe(0);
    await run(worker);
    expect(await activity(blocked)).toBeGreaterThan(0);
    // Activity of deleted accounts and deleted messages of these days is gone with the rows that the test deleted.
    expect(JSON.stringify(await kept()).length).toBeGreaterThan(0.9 * JSON.stringify(before).length);
  });
});

describe("a question about a day", () => {
  /** Views whose day needs more than its own rows. */
  const SHARE: Readonly<Record<string, number>> = { daily_active_accounts: 0.6 };
  const SMALL = ["models", "model_providers", "roll_up_state", "rolled_up_accounts"];

  test("reads the rows of that day, in every view with a day, whatever the reader's time zone [A13]", async () => {
    const { rows: views } = await owner.query<{ name: string }>(
      `select c.relname as name from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attname = 'day'
       where c.relnamespace = 'analytics'::regnamespace and c.relkind = 'v' order by 1`,
    );
    expect(views.length).toBeGreaterThan(8);
    await owner.query("analyze");
    const tables = await owner.query<{ name: string; rows: number }>(
      "select relname as name, greatest(reltuples, 1)::integer as rows from pg_class where relkind = 'r' and relnamespace::regnamespace::text !~ '^pg_'",
    );
    const sizes = new Map(tables.rows.map(({ name, rows }) => [name, rows]));
    await withClient(db.url("analyst"), async (analyst) => {
      // A table of a few pages is read as a whole otherwise; with it off, only an index that fits reads less.
      await analyst.query("set enable_seqscan = off; set timezone = 'America/New_York'");
      for (const { name } of views) {
        const days = `select * from ${name} where day = (now() at time zone 'UTC')::date - 33`;
        const read = [...(await rowsRead(analyst, days))].filter(([table]) => !SMALL.includes(table));
        const tooMany = read.filter(
          ([table, count]) => count > 3 + (SHARE[name] ?? 0.12) * sizes.get(table)!,
        );
        expect({ name, tooMany }).toEqual({ name, tooMany: [] });
      }
    });
  });

  test("about sign-ins of the past touches no partition of the log [A13]", async () => {
    await withClient(db.url("analyst"), async (analyst) => {
      const day = "select * from daily_sign_ins where day = (now() at time zone 'UTC')::date - 33";
      const read = [...(await rowsRead(analyst, day))].filter(([table]) =>
        table.startsWith("login_attempts"),
      );
      expect(read.filter(([, count]) => count > 0)).toEqual([]);
    });
  });
});
