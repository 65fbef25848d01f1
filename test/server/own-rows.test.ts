import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { IMPLIED, OWN_ROWS } from "../../plugins/own-rows.ts";
import { IDS } from "../support/access-probes/ids.ts";
import { type Actor, seedActors } from "../support/access-seed.ts";
import {
  createTestDatabase,
  inRolledBackTransaction,
  type TestDatabase,
  type Transaction,
  withClient,
} from "../support/database.ts";
import { type GeneratedField, readSurface } from "../support/generated-fields.ts";
import { addManyRows } from "../support/many-rows.ts";
import { blocksRead } from "../support/rows-read.ts";
import { openSchema, type SchemaInProcess, type Statement } from "../support/schema-in-process.ts";

// Tables with an own-rows policy and a permission policy: a list reads the rows of the caller only, however many other users
// there are. That lists return the same rows as the policies is the test of test/graphql/generated-queries.test.ts.

let db: TestDatabase;
let actors: ReadonlyMap<string, Actor>;
let schema: SchemaInProcess;
let lists: readonly GeneratedField[];

beforeAll(async () => {
  db = await createTestDatabase();
  actors = await seedActors(db);
  lists = (await readSurface(db)).generated.filter(({ kind }) => kind === "list");
  schema = await openSchema(db, { role: "user", userId: ada() });
});
afterAll(async () => {
  await schema.close();
  await db.drop();
});

/** Pages that a few rows and their index take, with those of the user's permissions. */
const FEW = 90;

const ada = () => actors.get("ada")!.userId!;

/** `( SELECT has_permission('…'))`, which does not depend on the row. */
const PERMISSION = /\( SELECT has_permission\('(\w+)'::text\) AS has_permission\)/g;
const OWNER = /^\(+(\w+) = \( SELECT current_user_id\(\) AS current_user_id\)\)/;

test("knows each listed table whose policies show the rows of their owner, and all rows by permission", async () => {
  const policies = await inRolledBackTransaction(db, async (tx) => {
    await tx.rows("select set_config('search_path', 'plinth, access', true)");
    return tx.rows<{ table: string; condition: string }>(
      `select schemaname || '.' || tablename as table, qual as condition from pg_policies
       where permissive = 'PERMISSIVE' and cmd in ('SELECT', 'ALL') and schemaname <> 'plinth_jobs'`,
    );
  });
  const known = { ...OWN_ROWS };
  const found: typeof OWN_ROWS = Object.fromEntries(
    [...Map.groupBy(policies, ({ table }) => table)].flatMap(([table, ofTable]) => {
      const conditions = ofTable.map(({ condition }) => condition);
      const permissions = conditions.flatMap((condition) =>
        [...condition.matchAll(PERMISSION)].map(([, name]) => name!),
      );
      // The rest of a policy without its permissions is empty, or a rule that begins with the owner.
      const rules = conditions.filter((condition) => OWNER.test(condition) || !condition.match(PERMISSION));
      const owners = new Set(rules.map((condition) => OWNER.exec(condition)?.[1]));
      const [column] = owners;
      const isListed = lists.some(({ relation }) => relation === table);
      if (!isListed || owners.size !== 1 || !column || permissions.length === 0) return [];
      return [[table, { column, permissions: [...new Set(permissions)].sort() }]];
    }),
  );
  for (const view of Object.keys(VIEWS)) delete known[view];
  expect(found).toEqual(known);
});

test("knows each listed view of such tables, with exceptions by name", async () => {
  const views = await inRolledBackTransaction(db, (tx) =>
    tx.rows<{ name: string; tables: string[] }>(`
      with recursive parts as (
        select distinct r.ev_class as view, d.refobjid as part
        from pg_rewrite r
        join pg_depend d
          on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid and d.refclassid = 'pg_class'::regclass
          and d.refobjid <> r.ev_class
      ), deep as (
        select view, part from parts union select d.view, p.part from deep d join parts p on p.view = d.part
      ), named as (
        select c.oid, c.relnamespace::regnamespace || '.' || c.relname as name from pg_class c
      )
      select v.name, array_agg(p.name) as tables from deep join named v on v.oid = view join named p on p.oid = part
      group by 1 order by 1`),
  );
  const found = views.filter(
    ({ name, tables }) =>
      lists.some(({ relation }) => relation === name) && tables.some((table) => table in OWN_ROWS),
  );
  expect(found.filter(({ name }) => !(name in OWN_ROWS || name in IMPLIED)).map(({ name }) => name)).toEqual(
    Object.keys(OTHER_VIEWS),
  );
  expect(Object.keys(VIEWS).filter((name) => !found.some((view) => view.name === name))).toEqual([]);
});

/** Pages that a statement reads, from memory or disk. */
const pagesOf = (tx: Transaction, { text, values }: Statement): Promise<number> =>
  blocksRead((explain) => tx.rows(`${explain} ${text}`, [...values]));

const size = async (tx: Transaction, table: string): Promise<number> => {
  const [row] = await tx.rows<{ pages: number }>(
    `select (pg_relation_size($1::regclass) + coalesce(sum(pg_relation_size(relid)), 0))::integer / 8192 as pages
     from pg_partition_tree($1)`,
    [table],
  );
  return row!.pages;
};

/** Views of such tables, with the table to fill. */
const VIEWS: Readonly<Record<string, string>> = {
  "access.effective_permissions": "access.user_roles",
  "billing.active_user_subscriptions": "billing.user_subscriptions",
  "identity.user_security_status": "identity.users",
};
/** Views that show more than the caller's rows, each with its reason. */
const OTHER_VIEWS: Readonly<Record<string, string>> = {
  "identity.profiles": "Everybody sees the public profiles.",
  "learning.learning_analytics":
    "A condition on the user does not pass its full joins, so it would gain nothing.",
};

const ofAda = (column: string) => `t.${column} = '${IDS.ada}'`;

/** Lists of what the caller takes part in: the row of theirs to copy. */
const OF_MEMBERS: Readonly<Record<string, string>> = {
  // First: the memberships that another test adds would be in rooms with messages.
  "rooms.room_messages": `t.id = '${IDS.said}'`,
  "rooms.chat_rooms": `t.id = '${IDS.own}'`,
  "rooms.room_invites": ofAda("invitee_id"),
  "rooms.room_members": `t.user_id = '${IDS.ada}'`,
};

test.each([
  ...Object.entries(OF_MEMBERS).map(([list, like]) => [list, list, like] as const),
  ...Object.entries(VIEWS).map(([view, table]) => [view, table, ofAda(OWN_ROWS[table]!.column)] as const),
  ...Object.entries(OWN_ROWS)
    .filter(([list]) => !(list in VIEWS))
    .map(([list, { column }]) => [list, list, ofAda(column)] as const),
])("a list of %s reads few pages for one user of 20,000 rows", async (relation, table, like) => {
  const list = lists.find((each) => each.relation === relation)!;
  // Views fill tables that have a test of their own.
  await withClient(db.url("owner"), (owner) =>
    addManyRows(owner, table, { rows: 20_000, together: 10, like }),
  );
  for (const selection of [`nodes { ${list.scalars.join(" ")} }`, "totalCount"]) {
    schema.statements.length = 0;
    const answer = await schema.ask(`{ ${list.name} { ${selection} } }`);
    const reads = schema.statements.filter(({ text }) => !text.includes("set_config"));
    expect(reads.some(({ text }) => text.includes("count(*)"))).toBe(selection === "totalCount");
    expect(answer[list.name].nodes?.length ?? answer[list.name].totalCount).toBeLessThan(30);
    await inRolledBackTransaction(db, async (tx) => {
      const pages = await size(tx, table);
      expect(pages).toBeGreaterThan(FEW);
      await tx.asUser(ada());
      const costly = [];
      for (const statement of reads) {
        const read = await pagesOf(tx, statement);
        if (read > FEW) costly.push(`${read} of ${pages} pages: ${statement.text}`);
      }
      expect(costly).toEqual([]);
    });
  }
});
