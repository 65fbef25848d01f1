import { afterAll, beforeAll, expect, test } from "@jest/globals";
import pg from "pg";
import { roleName, rolePlaceholders } from "../../src/config/roles.ts";
import { SCHEMAS } from "../../src/database/schemas.ts";
import { type Catalogue, type CatalogueObject, titleOf } from "../../src/drift/catalogue.ts";
import { compareCatalogues } from "../../src/drift/compare.ts";
import { readCatalogue } from "../../src/drift/read-catalogue.ts";
import { readSnapshot } from "../../src/drift/snapshot.ts";
import { createTestDatabase, type TestDatabase, testSetup } from "../support/database.ts";

// The same change to every object of a kind at once, in the system catalogues themselves. Each object must be named: no object and no
// property is left out of the comparison. The names in doctor-drift.test.ts are examples of the same.

let db: TestDatabase;
let client: pg.Client;
let snapshot: Catalogue;
let clean: Catalogue;
beforeAll(async () => {
  db = await createTestDatabase();
  client = new pg.Client({ connectionString: db.adminUrl });
  await client.connect();
  snapshot = await readSnapshot();
  clean = await readCatalogue(client, db.rolePrefix);
});
afterAll(async () => {
  await client.end();
  await db.drop();
});

const NAMESPACES = `(select oid from pg_namespace where nspname in (${SCHEMAS.map((name) => `'${name}'`).join(", ")}))`;
const RELATIONS = `(select oid from pg_class where relnamespace in ${NAMESPACES})`;
/** A statement for each row of a query. */
const each = (query: string) =>
  `do $do$ declare s text; begin for s in ${query} loop execute s; end loop; end $do$`;
const policies = (clause: string, expression: string) =>
  each(`select format('alter policy %I on %s ${clause} (%s)', polname, polrelid::regclass, case pg_get_expr(${expression}, polrelid) when 'true' then 'false' else 'true' end)
    from pg_policy where polrelid in ${RELATIONS} and ${expression} is not null`);

type Choice = (object: CatalogueObject) => boolean;
const kind =
  (...kinds: string[]): Choice =>
  ({ kind }) =>
    kinds.includes(kind);
const having =
  (property: string, ...kinds: string[]): Choice =>
  (object) =>
    (kinds.length === 0 || kinds.includes(object.kind)) && property in object.properties;
const defined =
  (pattern: RegExp): Choice =>
  ({ kind, properties }) =>
    kind === "constraint" && pattern.test(properties.definition!);

/** The relations, functions and schemas on which others may get privileges, as GRANT names them. */
const grantable = (): string[] => {
  const words: Readonly<Record<string, string>> = {
    aggregate: "function ",
    function: "function ",
    schema: "schema ",
  };
  return [...clean.values()]
    .filter(kind("table", "view", "materialized view", "sequence", "function", "schema"))
    .map((object) => `${words[object.kind] ?? ""}${object.name}`);
};

const placeholders = () => rolePlaceholders(db.rolePrefix, roleName(db.rolePrefix, "owner"));
const roleOf = (label: string) => placeholders()[label] ?? label;

/** A change and the objects that it changes. */
type Step = readonly [title: string, sql: string | (() => string), changed: Choice];

const STEPS: readonly Step[] = [
  ["policies with another condition", policies("using", "polqual"), having("using", "policy")],
  ["policies with another check", policies("with check", "polwithcheck"), having("with check", "policy")],
  [
    "policies for public",
    `update pg_policy set polroles = '{0}' where polrelid in ${RELATIONS}`,
    kind("policy"),
  ],
  [
    "policies for other commands",
    `update pg_policy set polcmd = case polcmd when 'r' then '*'::"char" else 'r' end where polrelid in ${RELATIONS}`,
    kind("policy"),
  ],
  [
    "policies that only restrict",
    `update pg_policy set polpermissive = not polpermissive where polrelid in ${RELATIONS}`,
    kind("policy"),
  ],
  [
    "dropped policies",
    each(
      `select format('drop policy %I on %s', polname, polrelid::regclass) from pg_policy where polrelid in ${RELATIONS}`,
    ),
    kind("policy"),
  ],
  [
    "tables without row security",
    `update pg_class set relrowsecurity = false where oid in ${RELATIONS}`,
    kind("table"),
  ],
  [
    "tables with forced row security",
    `update pg_class set relforcerowsecurity = true where oid in ${RELATIONS} and relkind in ('r', 'p')`,
    kind("table"),
  ],
  [
    "views without options",
    `update pg_class set reloptions = null where oid in ${RELATIONS} and relkind = 'v'`,
    having("options", "view"),
  ],
  [
    "revoked grants",
    () =>
      [...clean.values()]
        .filter(kind("grant"))
        .map(({ name, on }) => `revoke all on ${on} from ${roleOf(name)}`)
        .join(";"),
    kind("grant"),
  ],
  [
    "functions with another body",
    `update pg_proc set prosrc = prosrc || ' ' where pronamespace in ${NAMESPACES} and prosqlbody is null`,
    (object) =>
      having("body", "function")(object) &&
      !["plinth.announce", "learning.search_document"].some((name) => object.name.startsWith(`${name}(`)),
  ],
  [
    "functions with the rights of another",
    `update pg_proc set prosecdef = not prosecdef where pronamespace in ${NAMESPACES}`,
    kind("function"),
  ],
  [
    "functions without settings",
    `update pg_proc set proconfig = null where pronamespace in ${NAMESPACES}`,
    having("settings", "function"),
  ],
  [
    "functions with another volatility",
    `update pg_proc set provolatile = case provolatile when 'v' then 's'::"char" else 'v' end where pronamespace in ${NAMESPACES}`,
    kind("function"),
  ],
  [
    "functions for null",
    `update pg_proc set proisstrict = not proisstrict where pronamespace in ${NAMESPACES}`,
    kind("function"),
  ],
  [
    "leakproof functions",
    `update pg_proc set proleakproof = not proleakproof where pronamespace in ${NAMESPACES}`,
    kind("function"),
  ],
  [
    "functions of another owner",
    `update pg_proc set proowner = 10 where pronamespace in ${NAMESPACES}`,
    kind("function"),
  ],
  [
    "functions with another name",
    `update pg_proc set proname = proname || '_' where pronamespace in ${NAMESPACES}`,
    kind("function"),
  ],
  [
    "disabled triggers",
    `update pg_trigger set tgenabled = 'D' where tgrelid in ${RELATIONS} and not tgisinternal`,
    kind("trigger"),
  ],
  [
    "other events of triggers",
    `update pg_trigger set tgtype = tgtype # 4::int2 where tgrelid in ${RELATIONS} and not tgisinternal and tgtype & 24 > 0`,
    (object) => kind("trigger")(object) && / (?:UPDATE|DELETE) /.test(object.properties.definition!),
  ],
  [
    "dropped triggers",
    each(
      `select format('drop trigger %I on %s', tgname, tgrelid::regclass) from pg_trigger where tgrelid in ${RELATIONS} and not tgisinternal and tgparentid = 0`,
    ),
    kind("trigger"),
  ],
  [
    "disabled foreign keys",
    `update pg_trigger set tgenabled = 'D' where tgrelid in ${RELATIONS} and tgisinternal`,
    defined(/^FOREIGN KEY/),
  ],
  [
    "constraints that old rows may break",
    `update pg_constraint set convalidated = false where conrelid in ${RELATIONS}`,
    defined(/^(FOREIGN KEY|CHECK)/),
  ],
  [
    "dropped constraints",
    `delete from pg_constraint where conrelid in ${RELATIONS} and contype <> 'n'`,
    kind("constraint"),
  ],
  [
    "invalid indexes",
    `update pg_index set indisvalid = false where indrelid in ${RELATIONS}`,
    (object) => kind("index")(object) || defined(/^(PRIMARY KEY|UNIQUE|EXCLUDE)/)(object),
  ],
  [
    "indexes that are unique or not",
    `update pg_index set indisunique = not indisunique where indrelid in ${RELATIONS}`,
    kind("index"),
  ],
  [
    "dropped indexes",
    each(
      `select format('drop index %s', i.indexrelid::regclass) from pg_index i join pg_class c on c.oid = i.indexrelid where i.indrelid in ${RELATIONS} and not c.relispartition and not exists (select from pg_constraint k where k.conindid = i.indexrelid)`,
    ),
    kind("index"),
  ],
  [
    "columns with null or without",
    `update pg_attribute set attnotnull = not attnotnull where attrelid in ${RELATIONS} and attnum > 0`,
    having("type", "column"),
  ],
  [
    "columns without a default",
    `delete from pg_attrdef where adrelid in ${RELATIONS}`,
    having("default", "column"),
  ],
  [
    "columns of another type",
    `update pg_attribute set atttypmod = 77, atttypid = 'varchar'::regtype where attrelid in ${RELATIONS} and attnum > 0`,
    having("type", "column"),
  ],
  [
    "columns with another name",
    `update pg_attribute set attname = attname || '_' where attrelid in ${RELATIONS} and attnum > 0`,
    having("type", "column"),
  ],
  [
    "views with another column",
    each(
      `select format('alter %s %s rename column %I to renamed', case c.relkind when 'v' then 'view' else 'materialized view' end, c.oid::regclass, a.attname) from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum = 1 where c.relnamespace in ${NAMESPACES} and c.relkind in ('v', 'm')`,
    ),
    kind("view", "materialized view"),
  ],
  ["sequences with another step", "update pg_sequence set seqincrement = 7", kind("sequence")],
];

const testHere = testSetup().adminIsSuperuser ? test : test.skip;

async function namedAfter(sql: string): Promise<Set<string>> {
  await client.query("begin");
  try {
    await client.query(sql);
    const differences = compareCatalogues(snapshot, await readCatalogue(client, db.rolePrefix));
    return new Set(differences.map(({ object }) => titleOf(object)));
  } finally {
    await client.query("rollback");
  }
}

test("an unchanged database has no difference", () => {
  expect(compareCatalogues(snapshot, clean)).toEqual([]);
});

testHere.each(STEPS)("names all %s", async (_title, sql, changed) => {
  const titles = [...clean.values()].filter(changed).map(titleOf);
  expect(titles.length).toBeGreaterThan(1);
  const named = await namedAfter(typeof sql === "string" ? sql : sql());
  expect(titles.filter((title) => !named.has(title))).toEqual([]);
});

testHere("names each relation, function and schema that anonymous may use", async () => {
  const role = ":PLINTH_ANONYMOUS";
  const objects = grantable();
  const named = await namedAfter(
    objects.map((object) => `grant all on ${object} to ${roleOf(role)} with grant option`).join(";"),
  );
  expect(objects.length).toBeGreaterThan(700);
  expect(objects.filter((on) => !named.has(titleOf({ kind: "grant", name: role, on })))).toEqual([]);
});

/** Statements that make an object again from what the server prints, as a dump and a restore do. */
const REMADE = [
  `select format('create or replace view %s%s as %s', c.oid::regclass, ' with (' || array_to_string(c.reloptions, ', ') || ')', pg_get_viewdef(c.oid))
   from pg_class c where c.oid in ${RELATIONS} and c.relkind = 'v'`,
  `select format('alter table %1$s drop constraint %2$I, add constraint %2$I %3$s; comment on constraint %2$I on %1$s is %4$L', conrelid::regclass, conname,
     pg_get_constraintdef(oid), obj_description(oid, 'pg_constraint'))
   from pg_constraint where conrelid in ${RELATIONS} and contype = 'c' and conislocal and coninhcount = 0`,
  `select format('alter policy %I on %s using (%s)', polname, polrelid::regclass, pg_get_expr(polqual, polrelid))
   from pg_policy where polrelid in ${RELATIONS} and polqual is not null`,
  `select format('alter policy %I on %s with check (%s)', polname, polrelid::regclass, pg_get_expr(polwithcheck, polrelid))
   from pg_policy where polrelid in ${RELATIONS} and polwithcheck is not null`,
  `select format('drop trigger %I on %s; %s', tgname, tgrelid::regclass, pg_get_triggerdef(oid))
   from pg_trigger where tgrelid in ${RELATIONS} and not tgisinternal and tgparentid = 0`,
  `select format('drop index %s; %s', i.indexrelid::regclass, replace(pg_get_indexdef(i.indexrelid), ' ON ONLY ', ' ON '))
   from pg_index i join pg_class c on c.oid = i.indexrelid
   where i.indrelid in ${RELATIONS} and not c.relispartition
     and not exists (select from pg_constraint k where k.conindid = i.indexrelid)`,
  `select format('alter table %s alter column %I set default %s', d.adrelid::regclass, a.attname, pg_get_expr(d.adbin, d.adrelid))
   from pg_attrdef d join pg_attribute a on a.attrelid = d.adrelid and a.attnum = d.adnum
   where d.adrelid in ${RELATIONS} and a.attgenerated = ''`,
  `select pg_get_functiondef(oid) from pg_proc where pronamespace in ${NAMESPACES} and prosqlbody is not null`,
  `select format('create materialized view analytics.%I as %s', 'copy_of_' || c.relname, pg_get_viewdef(c.oid))
   from pg_class c where c.oid in ${RELATIONS} and c.relkind = 'm'`,
];

test("an object that is made again from its printed definition is the same", async () => {
  await client.query("begin");
  try {
    await client.query("set local search_path = ''");
    for (const query of REMADE) {
      const { rows } = await client.query<string[]>({ text: query, rowMode: "array" });
      expect(rows.length).toBeGreaterThan(1);
      await client.query(rows.map(([statement]) => statement!.replace(/;$/, "")).join(";\n"));
    }
    const remade = await readCatalogue(client, db.rolePrefix);
    const differences = compareCatalogues(snapshot, remade);
    const copies = differences.filter(({ object }) => object.name.startsWith("analytics.copy_of_"));
    expect(differences.filter((difference) => !copies.includes(difference))).toEqual([]);
    for (const { object } of copies) {
      const original = clean.get(titleOf({ ...object, name: object.name.replace("copy_of_", "") }));
      expect(object.properties.definition).toBe(original!.properties.definition);
    }
    expect(copies.length).toBeGreaterThan(1);
  } finally {
    await client.query("rollback");
  }
});
