import { mkdtempSync, readdirSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { sectionCsv } from "../../src/privacy/report.ts";
import { cli, databaseEnv } from "../cli/run-cli.ts";
import {
  createTestDatabase,
  inRolledBackTransaction,
  rowsAs,
  type TestDatabase,
  withClient,
} from "../support/database.ts";

// `plinth privacy report`: its numbers, compared with a count of the planted rows one by one.

let db: TestDatabase;
beforeAll(async () => {
  db = await createTestDatabase();
  await withClient(db.url("owner"), (client) => client.query(PLANTED));
});
afterAll(async () => {
  await db.drop();
});

const asOwner = rowsAs("owner", () => db);

/** Rows before, in and after the second quarter of 2026, at its borders too. */
const PLANTED = `
  insert into identity.users (username, account_status, created_at, last_login_at)
  select
    'person' || n, (array['active', 'active', 'disabled'])[1 + n % 3],
    timestamptz '2025-01-01Z' + n * interval '13 days', timestamptz '2025-03-01Z' + n * interval '11 days'
  from generate_series(1, 60) n;
  update identity.users set created_at = '2026-04-01Z' where username = 'person7';
  update identity.users set created_at = '2026-07-01Z' where username = 'person8';
  insert into identity.mfa_factors (user_id, kind, name, confirmed_at)
  select id, k.kind, 'x', case when r.n % 4 > 0 then now() end
  from (select id, row_number() over (order by username) as n from identity.users where username like 'person%') r
  cross join (values ('totp', 2), ('passkey', 3)) k (kind, every) where r.n % k.every = 0;
  insert into identity.consent_purposes (name, version, title, text_url, published_at) values
    ('news', 1, 'News?', 'https://example.org/1', '2025-01-01'), ('news', 2, 'News?', 'https://example.org/2', '2026-05-01'),
    ('later', 1, 'Later?', 'https://example.org/3', '2026-08-01');
  insert into identity.consents (user_id, purpose, version, granted_at, withdrawn_at)
  select u.id, 'news', 1 + d.n % 2, case when d.n % 3 > 0 then t.at end, case when d.n % 3 = 0 then t.at end
  from (select id, row_number() over (order by username) as place from identity.users where username like 'person%') u
  cross join generate_series(1, 4) d (n)
  cross join lateral (select timestamptz '2026-01-10Z' + d.n * interval '40 days' + u.place * interval '1 hour') t (at);
  insert into security.archives (log, month, state, row_count, file_name, sha256, created_at) values
    ('security.login_attempts', '2024-01-01', 'archived', 10, 'a', repeat('a', 64), '2026-05-01'),
    ('security.login_attempts', '2024-02-01', 'archived', 7, 'b', repeat('b', 64), '2026-06-30 23:59Z'),
    ('security.login_attempts', '2024-03-01', 'archived', 5, 'c', repeat('c', 64), '2026-07-01'),
    ('rooms.room_changes', '2024-01-01', 'dropped', 3, null, null, '2026-04-01');
  insert into security.security_audit_log (user_id, event_type, created_at)
  select u.id, e.kind, timestamptz '2026-03-20Z' + (u.place * 3) * interval '1 day'
  from (select id, row_number() over (order by username) as place from identity.users where username like 'person%') u
  cross join (values ('data_export_requested'), ('data_export_downloaded'), ('data_export_written'), ('login_succeeded')) e (kind);
  insert into security.legal_holds (user_id, reason, created_at, released_at)
  select u.id, 'case', timestamptz '2026-03-01Z' + u.place * interval '5 days', case when u.place % 2 = 0 then timestamptz '2026-03-20Z' + u.place * interval '9 days' end
  from (select id, row_number() over (order by username) as place from identity.users where username like 'person%') u where u.place <= 20;
  insert into security.erasure_certificates (id, subject, salt, requested_by, statement, statement_sha256, signature, signed_at, created_at)
  select gen_random_uuid(), 's', 's', (array['self', 'command'])[1 + n % 2], '{}', repeat('0', 64), case when n % 3 = 0 then 'x' end,
    case when n % 3 = 0 then now() end, timestamptz '2026-03-01Z' + n * interval '10 days'
  from generate_series(1, 20) n;
  insert into access.user_roles (user_id, role_id)
  select u.id, r.id from identity.users u join access.roles r on r.role_name = 'admin' where u.username in ('person3', 'person4');
  insert into security.personal_data_reads (read_id, user_id, actor_id, origin, source, relations, row_count, subject_count, created_at)
  select
    ('00000000-0000-0000-0000-' || lpad((n / 2)::text, 12, '0'))::uuid,
    (select id from identity.users where username = 'person' || (10 + n % 7)),
    case when n % 5 > 0 then (select id from identity.users where username = case when (n / 2) % 2 = 0 then 'person3' else 'person6' end) end,
    case when n % 5 > 0 then 'api' else 'command' end, 'x',
    case when n % 3 = 0 then '{identity.users}'::text[] else '{billing.payments, identity.users}' end, n, 2,
    timestamptz '2026-03-25Z' + (n / 2) * interval '2 days'
  from generate_series(1, 120) n;
`;

const FROM = new Date("2026-04-01");
const TO = new Date("2026-07-01");
const isIn = (time: Date) => time >= FROM && time < TO;

// biome-ignore lint/suspicious/noExplicitAny: the columns of ten tables.
type Row = Record<string, any>;
const tableRows = (table: string) => asOwner<Row>(`select * from ${table}`, []);
const count = <T>(rows: readonly T[], test: (row: T) => boolean) => rows.filter(test).length;
const distinct = (values: readonly unknown[]) => new Set(values.filter((value) => value !== null)).size;

/** The report, counted from all rows. */
async function counted(): Promise<Record<string, unknown[]>> {
  const [users, factors, purposes, consents, policies, archives, events, certificates, holds, reads] =
    (await Promise.all(
      [
        "identity.users",
        "identity.mfa_factors",
        "identity.consent_purposes",
        "identity.consents",
        "security.retention_policies",
        "security.archives",
        "security.security_audit_log",
        "security.erasure_certificates",
        "security.legal_holds",
        "security.personal_data_reads",
      ].map(tableRows),
    )) as [Row[], Row[], Row[], Row[], Row[], Row[], Row[], Row[], Row[], Row[]];
  const active = users.filter(({ is_active }) => is_active);
  const has = (user: Row, kind?: string) =>
    factors.some(
      (factor) => factor.user_id === user.id && factor.confirmed_at && (!kind || factor.kind === kind),
    );
  const ofPeriod = reads.filter(({ created_at }) => isIn(created_at));
  const byApi = ofPeriod.filter(({ origin }) => origin === "api");
  const dated = (kind: string) =>
    events.filter(({ event_type, created_at }) => event_type === kind && isIn(created_at));
  const administrators = users.filter(
    ({ username, id }) =>
      ["person3", "person4"].includes(username) || byApi.some(({ actor_id }) => actor_id === id),
  );
  return {
    accounts: ["active", "disabled"].map((state) => ({
      state,
      accounts: count(users, ({ account_status }) => account_status === state),
      created_in_period: count(users, (user) => user.account_status === state && isIn(user.created_at)),
    })),
    dormant_accounts: [90, 180, 365].map((days) => ({
      days_without_sign_in: days,
      accounts: count(
        active,
        (user) => (user.last_login_at ?? user.created_at) < new Date(TO.getTime() - days * 86_400_000),
      ),
    })),
    second_factors: ["any", "passkey", "totp"].map((kind) => {
      const accounts = count(active, (user) => has(user, kind === "any" ? undefined : kind));
      return { kind, accounts, share_percent: Math.round((1000 * accounts) / active.length) / 10 };
    }),
    consents: purposes
      .filter(({ published_at }) => published_at < TO)
      .map(({ name, version }) => {
        const all = consents.filter((each) => each.purpose === name && each.decided_at < TO);
        const own = all.filter((each) => each.version === version);
        return {
          purpose: name,
          version,
          given: count(own, ({ granted_at }) => granted_at && isIn(granted_at)),
          withdrawn: count(own, ({ withdrawn_at }) => withdrawn_at && isIn(withdrawn_at)),
          in_force: count(
            own,
            (each) =>
              each.granted_at &&
              !all.some((later) => later.user_id === each.user_id && later.decided_at > each.decided_at),
          ),
        };
      }),
    retention: policies
      .map(({ log, action }) => {
        const own = archives.filter((each) => each.log === log && isIn(each.created_at));
        return {
          log,
          kept_for: expect.any(String),
          action,
          months_archived: count(own, ({ state }) => state !== "dropped"),
          months_dropped: count(own, ({ state }) => state === "dropped"),
          rows: own.reduce((sum, { row_count }) => sum + Number(row_count), 0),
        };
      })
      .sort((a, b) => ((a.log as string) < b.log ? -1 : 1)),
    data_exports: [
      ["downloaded by the person", "data_export_downloaded"],
      ["requested by the person", "data_export_requested"],
      ["written by an operator", "data_export_written"],
    ].map(([kind, type]) => ({
      kind,
      exports: dated(type!).length,
      people: distinct(dated(type!).map(({ user_id }) => user_id)),
    })),
    erasures: ["command", "self"].map((by) => {
      const own = certificates.filter(
        ({ requested_by, created_at }) => requested_by === by && isIn(created_at),
      );
      return {
        requested_by: by,
        erasures: own.length,
        signed_certificates: count(own, ({ signature }) => signature !== null),
      };
    }),
    legal_holds: [
      {
        placed: count(holds, ({ created_at }) => isIn(created_at)),
        released: count(holds, ({ released_at }) => released_at && isIn(released_at)),
        in_force: count(
          holds,
          ({ created_at, released_at }) => created_at < TO && (!released_at || released_at >= TO),
        ),
      },
    ],
    administrators: administrators
      .map(({ id, username }) => {
        const own = byApi.filter(({ actor_id }) => actor_id === id);
        return {
          account: username as string,
          roles: ["person3", "person4"].includes(username) ? ["admin"] : [],
          reads: distinct(own.map(({ read_id }) => read_id)),
          people: distinct(own.map(({ user_id }) => user_id)),
          rows: own.reduce((sum, { row_count }) => sum + Number(row_count), 0),
          last_read_at: own.length > 0 ? expect.any(String) : null,
        };
      })
      .sort((a, b) => b.reads - a.reads || (a.account < b.account ? -1 : 1)),
    reads: ["api", "command"].flatMap((origin) =>
      ["billing.payments", "identity.users"].map((relation) => {
        const own = ofPeriod.filter(
          (each) => each.origin === origin && (each.relations as string[]).includes(relation),
        );
        return {
          origin,
          relation,
          reads: distinct(own.map(({ read_id }) => read_id)),
          people: distinct(own.map(({ user_id }) => user_id)),
        };
      }),
    ),
  };
}

test("reports the numbers of a period as JSON, CSV files and a page [A6, A15]", async () => {
  const dir = mkdtempSync(join(tmpdir(), "plinth-report-"));
  const period = ["--from", "2026-04-01", "--to", "2026-07-01"];
  const run = await cli(
    ["privacy", "report", ...period, "--csv", dir, "--html", join(dir, "report.html"), "--json"],
    { env: databaseEnv(db) },
  );
  expect(run.code).toBe(0);
  const { sections } = JSON.parse(run.stdout);
  const got = Object.fromEntries(
    sections.map(({ section, rows }: { section: string; rows: unknown[] }) => [section, rows]),
  );
  expect(got).toEqual(await counted());
  // The period has something of everything.
  for (const { rows } of sections) expect(JSON.stringify(rows)).toMatch(/[1-9]/);

  expect(readdirSync(dir).sort()).toEqual(
    [...Object.keys(got).map((name) => `${name}.csv`), "report.html"].sort(),
  );
  expect(readFileSync(join(dir, "accounts.csv"), "utf8")).toBe(
    `state,accounts,created_in_period\r\n${got.accounts.map((row: object) => `${Object.values(row).join(",")}\r\n`).join("")}`,
  );
  const page = readFileSync(join(dir, "report.html"), "utf8");
  for (const { section, description } of sections) {
    expect(page).toContain(`<h2 id="${section}">`);
    expect(page).toContain(description.replaceAll("'", "&#39;"));
  }
  expect(page).toContain("<td>person3</td><td>admin</td>");
  expect(page).not.toContain("<script");
  const wrong = await cli(["privacy", "report", "--from", "2026-02-30", "--to", "2026-07-01"], {
    env: databaseEnv(db),
  });
  expect([wrong.code, wrong.stderr]).toEqual([2, expect.stringContaining("Use a day such as 2026-01-31.")]);
});

test("lists the reads of one person's data with the readers", async () => {
  const run = await cli(["privacy", "reads", "person12", "--last", "2", "--json"], { env: databaseEnv(db) });
  expect(run.code).toBe(0);
  const { reads } = JSON.parse(run.stdout);
  expect(reads).toHaveLength(2);
  expect(reads[0]).toMatchObject({
    at: expect.any(String),
    reader: expect.stringMatching(/^(person[36]|x)$/),
    relations: expect.arrayContaining(["identity.users"]),
  });
  expect(
    (await cli(["privacy", "reads", "person12", "--last", "2"], { env: databaseEnv(db) })).stdout
      .trim()
      .split("\n"),
  ).toHaveLength(2);
});

test("rejects a period that ends before it starts", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    await expect(tx.rows("select private.privacy_report('2026-02-01', '2026-01-01')")).rejects.toMatchObject({
      code: "PL422",
    });
  });
});

test("CSV keeps commas, quotes and line ends, and no text that a spreadsheet would run", () => {
  const rows = [
    { name: 'a,"b"\n', sum: -1, roles: ["x", "y"], none: null },
    { name: "=HYPERLINK()", sum: 2, roles: [], none: null },
    { name: "\n=1", sum: 3, roles: ["=1+1", "y"], none: null },
  ];
  expect(sectionCsv({ section: "s", description: "", rows })).toBe(
    'name,sum,roles,none\r\n"a,""b""\n",-1,x y,\r\n\'=HYPERLINK(),2,,\r\n"\'\n=1",3,\'=1+1 y,\r\n',
  );
});
