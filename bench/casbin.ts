// Cost of access rules in Casbin's format: RBAC with 100,000 rules, in one run.
//   enforce   access.enforce by the server about a user with many rules and others, in turn: round trip at the median and the 99th percentile. Target: under
//             1 ms at the median.
//   many      access.enforce_many of 10,000 objects in one query.
//   list      a table of 10,000 rows under a policy that asks Casbin, to the same rows under a policy with the answer in a column,
//             for rules that name half of the objects, rules that name 100, and one rule with a pattern for half. Target: at most
//             1.5 times the time.
//   beside    node-casbin in this process with the same rules: loading them, enforce, and 10,000 times enforce.
// node bench/casbin.ts [--rules 100000] [--rounds 2000]
import { parseArgs } from "node:util";
import { newEnforcer, newModelFromString } from "casbin";
import type pg from "pg";
import { roleName } from "../src/config/roles.ts";
import { adapterOf } from "../test/support/casbin/node-casbin.ts";
import { withClient } from "../test/support/client.ts";
import { makeDice } from "../test/support/operations/dice.ts";
import { startTestServer } from "../test/support/server.ts";
import { makeTemplate, removeAll, SETUP_VARIABLE } from "../test/support/template.ts";
import { createTestDatabase, type TestDatabase } from "../test/support/test-database.ts";
import { percentile } from "./support.ts";

const { values: flags } = parseArgs({
  options: {
    rules: { type: "string", default: "100000" },
    rounds: { type: "string", default: "2000" },
  },
});
const RULES = Number(flags.rules);
const ROUNDS = Number(flags.rounds);
const OBJECTS = 10_000;
const ROLES = 1_000;
const USERS = 10_000;
const FEW = 100;
const LIST_ROUNDS = 31;

const MODEL = `[request_definition]
r = sub, obj, act
[policy_definition]
p = sub, obj, act
[role_definition]
g = _, _
[policy_effect]
e = some(where (p.eft == allow))
[matchers]
m = g(r.sub, p.sub) && r.obj == p.obj && r.act == p.act`;

/** Patterns in a model of their own, with one rule for half of the objects. */
const PATTERNS = MODEL.replace("r.obj == p.obj", "keyMatch(r.obj, p.obj)");
const PATTERN_RULES = [
  ["p", "reader", "public/*", "read"],
  ["g", "role0", "reader"],
];

const dice = makeDice(1);
const nameOf = (object: number) => `${object % 2 === 0 ? "public" : "private"}/${object}`;
const userId = (number: number) => `00000000-0000-7000-8000-${String(number).padStart(12, "0")}`;
const ME = userId(0);
const rules = [
  // Half of the objects to read and 100 to write, through a role of the user's role.
  ...Array.from({ length: OBJECTS / 2 }, (_, object) => ["p", "reader", nameOf(object * 2), "read"]),
  ...Array.from({ length: FEW }, (_, object) => ["p", "reader", nameOf(object * 2), "write"]),
  ["g", "role0", "reader"],
  ...Array.from({ length: USERS }, (_, user) => ["g", userId(user), `role${user % ROLES}`]),
];
while (rules.length < RULES)
  rules.push([
    "p",
    `role${1 + dice.below(ROLES - 1)}`,
    nameOf(dice.below(OBJECTS)),
    dice.pick(["read", "write"]),
  ]);

const time = async (work: () => unknown): Promise<number> => {
  const started = performance.now();
  await work();
  return performance.now() - started;
};

const ms = (value: number) => `${value < 10 ? value.toFixed(2) : Math.round(value)} ms`;

async function load(db: TestDatabase): Promise<void> {
  await withClient(db.url("owner"), async (client) => {
    const took = await time(() =>
      client.query("select access.replace_casbin_policy('default', $1, $2)", [MODEL, JSON.stringify(rules)]),
    );
    console.log(`${rules.length} rules imported in ${ms(took)}`);
    await client.query("select access.replace_casbin_policy('patterns', $1, $2)", [
      PATTERNS,
      JSON.stringify([...PATTERN_RULES, ["g", ME, "role0"]]),
    ]);
    const role = roleName(db.rolePrefix, "user");
    await client.query(`create schema bench; grant usage on schema bench to ${role}`);
    for (const { table, policy } of LISTS.flatMap(({ tables }) => tables))
      await client.query(`
        create table bench.${table} (id integer primary key, name text not null, is_half boolean, is_few boolean);
        insert into bench.${table}
        select n, case n % 2 when 0 then 'public/' else 'private/' end || n, n % 2 = 0, n % 2 = 0 and n < ${FEW * 2}
        from generate_series(0, ${OBJECTS - 1}) n;
        alter table bench.${table} enable row level security;
        create policy reader on bench.${table} for select using (${policy});
        grant select on bench.${table} to ${role};
        analyze bench.${table};`);
    await client.query("vacuum analyze access.casbin_rules");
  });
}

/** Tables with the same rows. The first of each list has the answer in a column. */
const LISTS = [
  {
    rules: "rules that name 5,000 objects",
    rows: OBJECTS / 2,
    tables: [
      { table: "half", policy: "is_half" },
      { table: "half_objects", policy: "name in (select access.casbin_objects('read'))" },
      {
        table: "half_permits",
        policy: "access.casbin_permits((select access.casbin_permit('read')), name)",
      },
    ],
  },
  {
    rules: "rules that name 100 objects",
    rows: FEW,
    tables: [
      { table: "few", policy: "is_few" },
      { table: "few_objects", policy: "name in (select access.casbin_objects('write'))" },
      {
        table: "few_permits",
        policy: "access.casbin_permits((select access.casbin_permit('write')), name)",
      },
    ],
  },
  {
    rules: "a rule with a pattern",
    rows: OBJECTS / 2,
    tables: [
      { table: "pattern", policy: "is_half" },
      {
        table: "pattern_pattern",
        policy: "name ~ (select access.casbin_pattern('read', '{}', 'patterns'))",
      },
      {
        table: "pattern_permits",
        policy: "access.casbin_permits((select access.casbin_permit('read', '{}', 'patterns')), name)",
      },
    ],
  },
];

async function measureEnforce(client: pg.Client): Promise<void> {
  const text = "select access.enforce($1::text, $2::text, $3) as may";
  const times: number[] = [];
  let allowed = 0;
  for (let round = 0; round < ROUNDS; round += 1) {
    const user = round % 2 === 0 ? 0 : dice.below(USERS);
    const values = [userId(user), nameOf(dice.below(OBJECTS)), "read"];
    const started = performance.now();
    const { rows } = await client.query({ name: "enforce", text, values });
    times.push(performance.now() - started);
    if (rows[0].may) allowed += 1;
  }
  const { rows } = await client.query("select access.enforce($1::text, 'public/0', 'read') as may", [ME]);
  if (rows[0].may !== true) throw new Error("The rules are not those of this benchmark.");
  console.log(
    `enforce: at least ${ms(Math.min(...times))}, median ${ms(percentile(times, 0.5))}, p99 ${ms(percentile(times, 0.99))}; ${allowed} of ${ROUNDS} allowed`,
  );
  const empty: number[] = [];
  for (let round = 0; round < ROUNDS; round += 1)
    empty.push(await time(() => client.query({ name: "empty", text: "select true" })));
  console.log(`  of it the round trip of "select true": ${ms(percentile(empty, 0.5))}`);
}

async function measureMany(client: pg.Client): Promise<void> {
  const objects = Array.from({ length: OBJECTS }, (_, object) => nameOf(object));
  const times: number[] = [];
  for (let round = 0; round < LIST_ROUNDS; round += 1)
    times.push(
      await time(async () => {
        const { rows } = await client.query({
          name: "many",
          text: "select access.enforce_many($1, $2, 'read') as object",
          values: [ME, objects],
        });
        if (rows.length < OBJECTS / 2) throw new Error(`${rows.length} objects are permitted.`);
      }),
    );
  console.log(`enforce_many: ${OBJECTS} objects in one query, at least ${ms(Math.min(...times))}`);
}

/** The tables of a list take turns, so that a busy moment slows all of them; the fastest run of each counts. */
async function measureLists(db: TestDatabase): Promise<void> {
  await withClient(db.url("authenticator"), async (client) => {
    const settings = `select set_config('role', '${roleName(db.rolePrefix, "user")}', true), set_config('jwt.claims.user_id', '${ME}', true)`;
    for (const { rules: kind, rows: expected, tables } of LISTS) {
      const times = tables.map((): number[] => []);
      for (let round = 0; round < LIST_ROUNDS; round += 1)
        for (const [index, { table }] of tables.entries()) {
          await client.query(`begin; ${settings}`);
          const query = { name: table, text: `select * from bench.${table}` };
          times[index]!.push(
            await time(async () => {
              const { rowCount } = await client.query(query);
              if (rowCount !== expected) throw new Error(`${rowCount} rows of ${table}`);
            }),
          );
          await client.query("commit");
        }
      const [without, ...withCasbin] = times.map((list) => Math.min(...list));
      for (const [index, fastest] of withCasbin.entries())
        console.log(
          `list, ${kind}, ${tables[index + 1]!.policy.split("(select ")[1]!.split("(")[0]}: ${ms(fastest)}, ${(fastest / without!).toFixed(2)} times the ${ms(without!)} without`,
        );
    }
  });
}

async function measureNodeCasbin(): Promise<void> {
  const adapter = adapterOf(rules.map(([ptype, ...values]) => ({ ptype: ptype!, values })));
  let enforcer = await newEnforcer(newModelFromString(MODEL));
  const loaded = await time(async () => {
    enforcer = await newEnforcer(newModelFromString(MODEL), adapter);
  });
  const times: number[] = [];
  for (let round = 0; round < 15; round += 1) {
    const values = [userId(dice.below(USERS)), nameOf(dice.below(OBJECTS)), "read"];
    times.push(await time(() => enforcer.enforceSync(...values)));
  }
  const median = percentile(times, 0.5);
  console.log(
    `node-casbin in this process: loaded in ${ms(loaded)}, enforce at the median ${ms(median)}, ${OBJECTS} of them therefore about ${Math.round((median * OBJECTS) / 1000)} s`,
  );
}

const server = await startTestServer();
try {
  const setup = await makeTemplate(server);
  process.env[SETUP_VARIABLE] = JSON.stringify(setup);
  const db = await createTestDatabase();
  await load(db);
  await withClient(db.url("service"), async (client) => {
    await measureEnforce(client);
    await measureMany(client);
  });
  await measureLists(db);
  await measureNodeCasbin();
  await db.drop();
  if (!server.isOurs) await removeAll(setup);
} finally {
  await server.stop();
}
