import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { findUnclassifiedColumns } from "../../src/database/unclassified-columns.ts";
import { createTestDatabase, rowsAs, type TestDatabase, withClient } from "../support/database.ts";

let db: TestDatabase;
beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(async () => {
  await db.drop();
});

const asOwner = rowsAs("owner", () => db);

const DOMAINS = `('plinth', 'identity', 'access', 'billing', 'llm', 'rooms', 'learning', 'security', 'analytics', 'private')`;

test("every column of Plinth's tables has a personal-data class, and every class has a column [C11]", async () => {
  const rows = await asOwner<{ problem: string }>(
    `with columns as (
       select n.nspname as schema_name, c.relname as table_name, a.attname as column_name
       from pg_class c
       join pg_namespace n on n.oid = c.relnamespace and n.nspname in ${DOMAINS}
       join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
       where c.relkind in ('r', 'p') and not c.relispartition
     )
     select case
       when k.class is null then format(
         'Add the class of %s.%s.%s to security.column_classes in the migration that adds the column.',
         c.schema_name, c.table_name, c.column_name
       )
       else format(
         'Delete %s.%s.%s from security.column_classes in the migration that drops the column.',
         k.schema_name, k.table_name, k.column_name
       )
     end as problem
     from columns c
     full join security.column_classes k using (schema_name, table_name, column_name)
     where c.column_name is null or k.class is null
     order by 1`,
    [],
  );
  expect(rows.map(({ problem }) => problem)).toEqual([]);
  const [count] = await asOwner<{ n: number }>(
    "select count(*)::int as n from security.column_classes where class <> 'none'",
    [],
  );
  expect(count!.n).toBeGreaterThan(500);
});

/** Views for analysts that read a column with personal data, and the reason why their rows show nobody. */
const READ_BUT_NOT_SHOWN: Readonly<Record<string, string>> = {
  "audit_logs: security_audit_log.ip_address": "shows the network, as security_audit_log",
  "daily_sign_ins: login_attempts.ip_address": "counts distinct addresses",
  "failed_logins_by_network: login_attempts.ip_address": "shows the network, shortened to many addresses",
  "login_attempts: login_attempts.ip_address": "shows the network, shortened to many addresses",
  "security_audit_log: security_audit_log.ip_address": "shows the network, shortened to many addresses",
  "sessions: user_sessions.ip_address": "shows the network, as the view user_sessions",
  "user_security_settings: user_security_settings.allowed_networks":
    "shows only whether the user chose networks",
  "user_sessions: user_sessions.ip_address": "shows the network, shortened to many addresses",
};

test("no view for analysts reads names, addresses, texts or secrets, apart from listed columns [C11]", async () => {
  const rows = await asOwner<{ read: string }>(
    `with recursive reads as (
       select v.oid as view, d.refobjid as relation, d.refobjsubid as number
       from pg_class v
       join pg_rewrite r on r.ev_class = v.oid
       join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid and d.refclassid = 'pg_class'::regclass
       where v.relnamespace = 'analytics'::regnamespace and v.relkind in ('v', 'm') and d.refobjid <> v.oid
       union
       select reads.view, d.refobjid, d.refobjsubid
       from reads
       join pg_rewrite r on r.ev_class = reads.relation
       join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid and d.refclassid = 'pg_class'::regclass
       where d.refobjid <> reads.relation
     )
     select distinct format('%s: %s.%s', v.relname, c.relname, a.attname) as read
     from reads
     join pg_class v on v.oid = reads.view
     join pg_class c on c.oid = reads.relation
     join pg_attribute a on a.attrelid = c.oid and a.attnum = reads.number
     join security.personal_data d
       on d.schema_name = c.relnamespace::regnamespace::text and d.table_name = c.relname and d.column_name = a.attname
     where d.class in ('contact', 'content', 'credential')
     order by 1`,
    [],
  );
  // An exception that no longer occurs fails as well.
  expect(rows.map(({ read }) => read)).toEqual(Object.keys(READ_BUT_NOT_SHOWN));
});

test("an application classifies its columns by the tag @personalData, and the same function reads all classes", async () => {
  await withClient(db.url("owner"), (client) =>
    client.query(
      `create schema shop;
       create table shop.guests (host uuid references identity.users on delete cascade, name text, seat integer, day date, visits integer)
         partition by range (day);
       create table shop.guests_2026 partition of shop.guests for values from ('2026-01-01') to ('2027-01-01');
       comment on column shop.guests.host is E'@personalData pseudonym\\nThe host.';
       comment on column shop.guests.name is E'Name on the door.\\n@personalData contact';
       comment on column shop.guests.seat is '@personalData furniture'`,
    ),
  );
  expect(
    await asOwner(
      `select a.attname as column, private.personal_data_class(t, a.attname) as class
       from unnest(array['shop.guests', 'shop.guests_2026', 'identity.users', 'security.error_logs_default']::regclass[]) t
       join pg_attribute a on a.attrelid = t and a.attname in ('host', 'name', 'day', 'username', 'message')
       order by t::text, a.attname`,
      [],
    ),
  ).toEqual([
    { column: "message", class: "content" },
    { column: "day", class: null },
    { column: "host", class: "pseudonym" },
    { column: "name", class: "contact" },
    { column: "day", class: null },
    { column: "host", class: "pseudonym" },
    { column: "name", class: "contact" },
    { column: "username", class: "contact" },
  ]);
  expect(await withClient(db.url("owner"), findUnclassifiedColumns)).toEqual([
    "shop.guests: day, visits; shop.guests (unknown class): seat",
  ]);
});
