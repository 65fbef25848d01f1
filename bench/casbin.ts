// Cost of access rules in Casbin's format, with RBAC and many rules, in one run:
//   enforce   access.enforce of a signed-in user, median and 99th percentile of the round trip. Target: under 1 ms.
//   many      access.enforce_many of 10,000 objects in one query.
//   list      a list of 10,000 rows under a policy that asks Casbin, to the same list under a policy that is true. Target: at most
//             1.5 times the time.
//   beside    node-casbin in this process with the same rules: load, enforce, and 10,000 enforces for the list.
// node bench/casbin.ts [--rules 100000] [--rounds 2000]
import { parseArgs } from "node:util";
import { newEnforcer, newModelFromString } from "casbin";
import type pg from "pg";
import { roleName } from "../src/config/roles.ts";
import { withClient } from "../test/support/client.ts";
import { startTestServer } from "../test/support/server.ts";
import { makeTemplate, removeAll, SETUP_VARIABLE } from "../test/support/template.ts";
import { createTestDatabase, type TestDatabase } from "../test/support/test-database.ts";
import { adapterOf } from "../test/support/casbin/node-casbin.ts";
import { makeDice } from "../test/support/operations/dice.ts";
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

const dice = makeDice(1);
const userId = (number: number) => `00000000-0000-7000-8000-${String(number).padStart(12, "0")}`;
const ME = userId(0);
const rules = [
  // Half of the objects, through a role of the user's role.
  ...Array.from({ length: OBJECTS / 2 }, (_, object) => ["p", "reader", `document:${object * 2}`, "read"]),
  ["g", "role0", "reader"],
  ...Array.from({ length: USERS }, (_, user) => ["g", userId(user), `role${user % ROLES}`]),
];
while (rules.length < RULES)
  rules.push([
    "p",
    `role${1 + dice.below(ROLES - 1)}`,
    `document:${dice.below(OBJECTS)}`,
    dice.pick(["read", "write"]),
  ]);

async function load(db: TestDatabase): Promise<void> {
  await withClient(db.url("owner"), async (client) => {
    await client.query("insert into access.casbin_models (definition) values ($1)", [MODEL]);
    const started = performance.now();
    await client.query(
      `insert into access.casbin_rules (ptype, v0, v1, v2)
       select r ->> 0, r ->> 1, r ->> 2, r ->> 3 from jsonb_array_elements($1) r`,
      [JSON.stringify(rules)],
    );
    console.log(`${rules.length} rules written in ${ms(performance.now() - started)}`);
    await client.query("insert into identity.users (id, username, email, password_algorithm) values ($1, 'bench', 'bench@example.com', 'argon2id')", [ME]).catch(() => {});
    await client.query(`
      create schema bench;
      grant usage on schema bench to ${roleName(db.rolePrefix, "user")};
      create table bench.open (id integer primary key, title text not null);
      insert into bench.open select n, 'Document ' || n from generate_series(0, ${OBJECTS - 1}) n;
      create table bench.ruled (like bench.open including all);
      insert into bench.ruled select * from bench.open;
      alter table bench.open enable row level security;
      alter table bench.ruled enable row level security;
      create policy all_users on bench.open for select using (true);
      create policy permitted on bench.ruled for select
        using (access.casbin_permits((select access.casbin_permit('read')), 'document:' || id));
      grant select on bench.open, bench.ruled to ${roleName(db.rolePrefix, "user")};
      analyze;`);
  });
}
