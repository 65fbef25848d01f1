import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { createTestDatabase, type TestDatabase, withClient } from "../support/database.ts";
import { rowsRead } from "../support/rows-read.ts";

// A question about a day must not read the logs of all months. The walk finds the views over monthly partitions.

/** Views that have no day or hour to ask for, each with what bounds it. */
const WITHOUT_A_DAY: Readonly<Record<string, string>> = {
  content_popularity: "Stored, and refreshed from the last 180 days.",
  user_activity_summary:
    "One row per account: the sign-ins of the last 30 days, and the learning of all time.",
};

/** The same figures, from the rows themselves. */
const BY_ROW: Readonly<Record<string, string>> = {
  daily_sign_ins: `
    select (created_at at time zone 'UTC')::date as day, status, count(*) as attempts, count(distinct user_id) as users,
      count(distinct ip_address) as ip_addresses
    from security.login_attempts group by 1, 2`,
  failed_logins_by_network: `
    select (created_at at time zone 'UTC')::date as day,
      network(set_masklen(ip_address, case family(ip_address) when 4 then 24 else 48 end))::cidr as network,
      count(*) as failed_attempts, count(distinct user_id) as users,
      count(*) filter (where user_id is null) as unknown_account_attempts, max(created_at) as last_attempt_at
    from security.login_attempts where status in ('failed', 'locked') and ip_address is not null group by 1, 2`,
  login_attempts: `
    select id, user_id, network(set_masklen(ip_address, 24))::cidr as ip_address, status, failure_reason, created_at
    from security.login_attempts`,
  security_audit_log: `
    select id, user_id, actor_id, event_type, severity, null::cidr as ip_address, created_at
    from security.security_audit_log`,
  security_events_hourly: `
    select date_trunc('hour', created_at, 'UTC') as hour, event_type, severity, count(*) as events,
      count(distinct user_id) as users
    from security.security_audit_log group by 1, 2, 3`,
};

const MONTHS = [0, 1, 2];
/** The first moment of the month in which the test began: another one may have begun since. */
let first: string;
const ROWS = 1_000;

interface View {
  readonly name: string;
  /** Column of the day or the hour; of a view with one row per row of the log, the time. */
  readonly period: string | null;
  readonly logs: readonly string[];
}

let db: TestDatabase;
let views: readonly View[];

beforeAll(async () => {
  db = await createTestDatabase();
  await withClient(db.url("owner"), async (client) => {
    ({ rows: views } = await client.query<View>(`
      select v.relname as name,
        (
          select attname::text from pg_attribute a
          where a.attrelid = v.oid
            and (
              a.attname in ('day', 'hour')
              or a.attname = 'created_at'
                and exists (select from pg_attribute id where id.attrelid = v.oid and id.attname = 'id')
            )
        ) as period,
        array_agg(distinct log.relname::text) as logs
      from pg_class v
      join pg_rewrite r on r.ev_class = v.oid
      join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid
      join pg_partitioned_table p on p.partrelid = d.refobjid
      join pg_class log on log.oid = p.partrelid
      where v.relnamespace = 'analytics'::regnamespace
      group by v.oid order by 1`));
    await client.query("select private.ensure_partitions(3)");
    const months = await client.query<{ first: string }>(
      "select to_char(date_trunc('month', now() at time zone 'UTC'), 'YYYY-MM-DD') as first",
    );
    first = months.rows[0]!.first;
    // Rows of three months, at the edges of days and hours too.
    for (const month of MONTHS) {
      const at = `(timestamp '${first}' + interval '${month} months' + (i % 480) * interval '30 minutes') at time zone 'UTC'`;
      await client.query(`
        insert into security.login_attempts (status, ip_address, created_at)
          select (array['failed', 'success', 'locked', 'challenged'])[1 + i % 4], '192.0.2.0'::inet + i % 700, ${at}
          from generate_series(1, ${ROWS}) i;
        insert into security.security_audit_log (event_type, created_at)
          select 'event_' || i % 3, ${at} from generate_series(1, ${ROWS}) i`);
    }
    await client.query(
      "insert into security.login_attempts (status, created_at) values ('failed', '2001-02-03 23:59:59Z')",
    );
    await client.query("analyze security.login_attempts, security.security_audit_log");
  });
});
afterAll(() => db.drop());

const withPeriod = () => views.filter(({ period }) => period !== null);

test("knows each view over monthly partitions", () => {
  expect(views.filter(({ period }) => period === null).map(({ name }) => name)).toEqual(
    Object.keys(WITHOUT_A_DAY),
  );
  expect(withPeriod().map(({ name }) => name)).toEqual(Object.keys(BY_ROW));
});

test.each(Object.entries(BY_ROW))(
  "%s has the figures of the rows, whatever the reader's time zone",
  async (name, byRow) => {
    await withClient(db.url("owner"), async (client) => {
      await client.query("set timezone = 'America/New_York'");
      const { rows } = await client.query(`
      with own as (select * from analytics.${name}), expected as (${byRow})
      select count(*)::integer as rows, (select count(*)::integer from expected) as expected,
        (select count(*)::integer from (table own except table expected) x) as differing
      from own`);
      expect(rows).toEqual([{ rows: rows[0].expected, expected: expect.any(Number), differing: 0 }]);
      expect(rows[0].rows).toBeGreaterThan(20);
    });
  },
);

test.each(Object.keys(BY_ROW))("%s, asked for a day, reads the month of that day", async (name) => {
  const { period, logs } = views.find((view) => view.name === name)!;
  await withClient(db.url("analyst"), async (client) => {
    for (const month of MONTHS) {
      const { rows: days } = await client.query<{ day: string; partition: string }>(
        `select to_char(day, 'YYYY-MM-DD') as day, $1 || to_char(day, '_YYYY_MM') as partition
         from (select timestamp '${first}' + interval '${month} months 3 days' as day) d`,
        [logs[0]],
      );
      const { day, partition } = days[0]!;
      const condition =
        period === "day"
          ? `day = '${day}'`
          : `${period} >= '${day}Z' and ${period} < timestamptz '${day}Z' + interval '1 day'`;
      const read = await rowsRead(client, `select * from analytics.${name} where ${condition}`);
      expect(read.get(partition)).toBeGreaterThan(10);
      // The first and the last row of each partition tell which days there are.
      expect([...read].filter(([table, count]) => table !== partition && count > 2)).toEqual([]);
    }
  });
});
