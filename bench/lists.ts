// Cost of every list of the API for a user under row-level security, as ratios in one run. The walk takes the lists from the
// GraphQL schema; each gets a database of its own, in which its table is filled with copies of a row that the user sees, of which
// 100 belong to the user. Each list's statements, as the API sends them, are compared with the same statement run by the owner of
// the tables with the filter written by hand. Targets: at most 1.2 times the time and the pages; growth flat.
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import pg from "pg";
import { OWN_ROWS } from "../plugins/own-rows.ts";
import { loadConfig } from "../src/config/config.ts";
import { type LoginRole, roleName } from "../src/config/roles.ts";
import { runBootstrap } from "../src/database/bootstrap.ts";
import { openEmbedded } from "../src/database/embedded/server.ts";
import { databaseUrl } from "../src/database/scratch-database.ts";
import { bringUpToDate } from "../src/start/up-to-date.ts";
import { IDS } from "../test/support/access-probes/ids.ts";
import { seedActors } from "../test/support/access-seed.ts";
import type { TestDatabase } from "../test/support/database.ts";
import { type GeneratedField, readSurface } from "../test/support/generated-fields.ts";
import { addManyRows } from "../test/support/many-rows.ts";
import { openSchema, type Statement } from "../test/support/schema-in-process.ts";
import { BY_HAND } from "./lists/by-hand.ts";

const HELP = `Usage: node bench/lists.ts [options]

  --rows LIST    sizes of the table; the last is compared with the filter by hand (default 10000,100000,1000000)
  --only TEXT    only lists whose name contains TEXT; several with commas
  --runs N       runs of each statement, of which the fastest counts (default 7)
  --json FILE    write every measurement to FILE as well
`;

const { values: flags } = parseArgs({
  options: {
    rows: { type: "string", default: "10000,100000,1000000" },
    only: { type: "string" },
    runs: { type: "string", default: "7" },
    json: { type: "string" },
    help: { type: "boolean", default: false },
  },
});
if (flags.help) {
  console.log(HELP);
  process.exit(0);
}
const SIZES = flags.rows.split(",").map(Number);
const TOGETHER = 100;
const ME = IDS.ada!;

interface Cost {
  readonly ms: number;
  readonly pages: number;
}
type Operation = "page" | "deep page" | "count";
interface Result {
  readonly list: string;
  readonly table: string;
  readonly operation: Operation;
  readonly rows: number;
  readonly user: Cost;
  /** Without a filter by hand for the table, there is nothing to compare with. */
  readonly hand: Cost | null;
}

const data = mkdtempSync(join(tmpdir(), "plinth-bench-"));
chmodSync(data, 0o711);
const config = loadConfig({ PLINTH_DATA: data });
const server = await openEmbedded(config, { settings: { fsync: "off", max_wal_size: "4GB" } });
const superuserUrl = server.superuserUrl();
const { rolePrefix } = config;

const makeDatabase = (name: string): TestDatabase => ({
  name,
  rolePrefix,
  adminUrl: databaseUrl(superuserUrl, name),
  adminIsSuperuser: true,
  url: (role: LoginRole) => databaseUrl(server.url(role), name),
  async drop() {
    await asSuperuser(superuserUrl, (client) => client.query(`drop database ${name} with (force)`));
  },
});

async function asSuperuser<T>(url: string, use: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client(url);
  client.on("error", () => {}); // the server stops while it is connected if something fails
  await client.connect();
  try {
    return await use(client);
  } finally {
    await client.end();
  }
}

async function cloneOf(base: TestDatabase): Promise<TestDatabase> {
  const clone = makeDatabase("bench_lists");
  await asSuperuser(databaseUrl(superuserUrl, "postgres"), (client) =>
    client.query(`create database ${clone.name} template ${base.name}`),
  );
  await asSuperuser(clone.adminUrl, (client) =>
    runBootstrap(client, { prefix: rolePrefix, ownerIsCurrentUser: false }),
  );
  return clone;
}

/** The tables to fill for a list: its own, or those of a view that have an owner. */
async function tablesOf(client: pg.Client, relation: string): Promise<string[]> {
  const { rows } = await client.query<{ name: string }>(
    `select $1::regclass::text as name from pg_class where oid = $1::regclass and relkind in ('r', 'p')
     union
     select d.refobjid::regclass::text
     from pg_rewrite r
     join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid and d.refclassid = 'pg_class'::regclass
     join pg_class c on c.oid = d.refobjid and c.relkind in ('r', 'p')
     where r.ev_class = $1::regclass
       and exists (select from pg_attribute a where a.attrelid = c.oid and a.attname in ('user_id') and not a.attisdropped)`,
    [relation],
  );
  return rows.map(({ name }) => name);
}

/** Condition for a row of the user's, if the table has an owner; otherwise the seeded row that the user sees. */
async function rowToCopy(client: pg.Client, table: string): Promise<string> {
  const { rows } = await client.query<{ name: string }>(
    "select attname as name from pg_attribute where attrelid = $1::regclass and attname = any ($2) and not attisdropped",
    [table, ["user_id", "author_id", "owner_id", "invitee_id", "sender_id"]],
  );
  const names = rows.map(({ name }) => name);
  const column = OWN_ROWS[table]?.column ?? (names.includes("user_id") ? "user_id" : undefined);
  if (column) return `t.${column} = '${ME}'`;
  await client.query(`set role ${roleName(rolePrefix, "user")}; set "jwt.claims.user_id" = '${ME}'`);
  const seen = await client.query<{ place: string }>(`select ctid::text as place from ${table} limit 1`);
  await client.query("reset role");
  return seen.rows[0] ? `t.ctid = '${seen.rows[0].place}'` : "true";
}

/** The statement with the table behind a filter: what the owner of the data would write. */
function byHand({ text, values }: Statement, relation: string, filter: string): Statement {
  const from = relation
    .split(".")
    .map((part) => `"${part}"`)
    .join(".");
  return {
    text: text.replaceAll(`from ${from} as`, `from (select * from ${relation} t where ${filter}) as`),
    values,
  };
}

async function explain(client: pg.Client, { text, values }: Statement): Promise<Cost> {
  const { rows } = await client.query(`explain (analyze, buffers, timing off, format json) ${text}`, [
    ...values,
  ]);
  const [{ Plan: plan, "Execution Time": ms }] = rows[0]["QUERY PLAN"];
  return { ms, pages: plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] };
}

const sum = (costs: readonly Cost[]): Cost => ({
  ms: costs.reduce((total, { ms }) => total + ms, 0),
  pages: costs.reduce((total, { pages }) => total + pages, 0),
});

/** The fastest of several runs by each, in turn, so that other load on the machine affects both. */
async function compare(db: TestDatabase, user: readonly Statement[], hand: readonly Statement[] | null) {
  const clients = [new pg.Client(db.url("authenticator")), new pg.Client(db.url("owner"))] as const;
  for (const client of clients) {
    client.on("error", () => {});
    await client.connect();
    await client.query(
      `set jit_optimize_above_cost = -1; set timezone = 'UTC'; set max_parallel_workers_per_gather = 0; set "jwt.claims.user_id" = '${ME}'`,
    );
  }
  await clients[0].query(`set role ${roleName(rolePrefix, "user")}`);
  const best: [Cost | null, Cost | null] = [null, null];
  for (let run = 0; run <= Number(flags.runs); run++)
    for (const [i, statements] of [user, hand].entries()) {
      if (!statements) continue;
      const costs = [];
      for (const statement of statements) costs.push(await explain(clients[i]!, statement));
      const cost = sum(costs);
      // The first run reads the catalog and fills the cache.
      if (run > 0 && (!best[i] || cost.ms < best[i].ms)) best[i] = cost;
      if (cost.ms > 2_000) break;
    }
  for (const client of clients) await client.end();
  return { user: best[0]!, hand: best[1] };
}

async function measure(base: TestDatabase, list: GeneratedField): Promise<Result[]> {
  const db = await cloneOf(base);
  const schema = await openSchema(db, { role: "user", userId: ME });
  const results: Result[] = [];
  try {
    await asSuperuser(db.adminUrl, async (client) => {
      await client.query("set statement_timeout = 0");
      const tables = await tablesOf(client, list.relation);
      const like = new Map<string, string>();
      for (const table of tables) like.set(table, await rowToCopy(client, table));
      let after = 0;
      for (const rows of SIZES) {
        for (const table of tables)
          await addManyRows(client, table, { rows, after, together: TOGETHER, like: like.get(table)! });
        after = rows;
        const fields = `{ cursor node { ${list.scalars.join(" ")} } }`;
        const first = await schema.ask(`{ ${list.name}(first: 50) { edges ${fields} } }`);
        const cursor = first[list.name].edges.at(-1)?.cursor;
        const operations: Record<Operation, string | null> = {
          page: `(first: 50) { nodes { ${list.scalars.join(" ")} } }`,
          "deep page": cursor
            ? `(first: 10, after: ${JSON.stringify(cursor)}) { nodes { ${list.scalars.join(" ")} } }`
            : null,
          count: " { totalCount }",
        };
        for (const [operation, text] of Object.entries(operations) as [Operation, string | null][]) {
          if (!text) continue;
          schema.statements.length = 0;
          await schema.ask(`{ ${list.name}${text} }`);
          const sent = schema.statements.filter(
            ({ text }) => !text.includes("set_config(") && !text.includes("/* NOTHING?! */"),
          );
          const filter = filterOf(list.relation);
          const own = sent.filter(({ text }) => !text.includes("__has_permission__"));
          const hand = filter === undefined ? null : own.map((each) => byHand(each, list.relation, filter));
          results.push({
            list: list.name,
            table: list.relation,
            operation,
            rows,
            ...(await compare(db, sent, hand)),
          });
        }
      }
    });
  } finally {
    await schema.close();
    await db.drop();
  }
  return results;
}

/** The filter by hand, from the policies where they name an owner. */
function filterOf(relation: string): string | undefined {
  const column = OWN_ROWS[relation]?.column ?? owners.get(relation);
  return column === undefined
    ? BY_HAND[relation]?.replaceAll(":me", `'${ME}'`)
    : column === ""
      ? "true"
      : `t.${column} = '${ME}'`;
}

/** Column of the owner for tables with a single own-rows policy; empty for those with a policy that shows all rows. */
const owners = new Map<string, string>();

async function readOwners(url: string): Promise<void> {
  const { rows } = await asSuperuser(url, (client) =>
    client.query<{ table: string; condition: string }>(
      `select schemaname || '.' || tablename as table, min(qual) as condition from pg_policies
       where cmd in ('SELECT', 'ALL') group by 1 having count(*) = 1`,
    ),
  );
  for (const { table, condition } of rows) {
    const owner = /^\((\w+) = \( SELECT (?:plinth\.)?current_user_id\(\) AS current_user_id\)\)$/.exec(
      condition,
    );
    if (owner) owners.set(table, owner[1]!);
    if (condition === "true") owners.set(table, "");
  }
}

const results: Result[] = [];
try {
  const external = { ...server, kind: "embedded" as const };
  await bringUpToDate(config, external);
  const base = makeDatabase("plinth");
  await seedActors(base);
  await readOwners(base.adminUrl);
  const lists = (await readSurface(base)).generated.filter(
    ({ kind, name }) =>
      kind === "list" && (!flags.only || flags.only.split(",").some((text) => name.includes(text))),
  );
  for (const list of lists) {
    try {
      const measured = await measure(base, list);
      results.push(...measured);
      report(measured);
    } catch (error) {
      console.log(`${list.name.padEnd(26)}not measured: ${(error as Error).message.split("\n")[0]}`);
    }
  }
  if (flags.json) writeFileSync(flags.json, JSON.stringify(results, null, 2));
} finally {
  await server.close();
  rmSync(data, { recursive: true, force: true });
}

function report(measured: readonly Result[]): void {
  for (const [operation, sizes] of Map.groupBy(measured, (result) => result.operation)) {
    const [small, large] = [sizes[0]!, sizes.at(-1)!];
    const ratio = (of: number, to: number) => (of / Math.max(to, 1e-9)).toFixed(2);
    console.log(
      [
        large.list.padEnd(26),
        operation.padEnd(10),
        `${large.user.ms.toFixed(3)} ms`.padStart(12),
        `${large.user.pages} pages`.padStart(14),
        large.hand
          ? `by hand ${large.hand.ms.toFixed(3)} ms, ${large.hand.pages} pages; ratio ${ratio(large.user.ms, large.hand.ms)}, pages ${ratio(large.user.pages, large.hand.pages)}`
          : "no filter by hand",
        `growth ${ratio(large.user.ms, small.user.ms)}`,
      ].join("  "),
    );
  }
}
