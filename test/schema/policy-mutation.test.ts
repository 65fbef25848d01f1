import { afterAll, beforeAll, expect, test } from "@jest/globals";
import pg from "pg";
import { roleName } from "../../src/config/roles.ts";
import { type Actor, type Outcome, PROBES, SEED, withIds } from "../support/access-probes.ts";
import {
  createTestDatabase,
  inRolledBackTransaction,
  type TestDatabase,
  type Transaction,
} from "../support/database.ts";

// Mutation test of the row policies: if any policy is dropped or weakened, a probe must fail.

let db: TestDatabase;
beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(async () => {
  await db.drop();
});

interface Policy {
  readonly table: string;
  readonly name: string;
  readonly command: "ALL" | "SELECT" | "INSERT" | "UPDATE" | "DELETE";
  readonly permissive: boolean;
  readonly using: string | null;
  readonly check: string | null;
}
interface Mutation {
  readonly table: string;
  readonly label: string;
  readonly sql: string;
}

const DOMAINS =
  "nspname not in ('pg_catalog', 'information_schema', 'pg_toast', 'pgboss', 'graphile_migrate')";

const readPolicies = (tx: Transaction): Promise<Policy[]> =>
  tx.rows<Policy>(
    `select schemaname || '.' || tablename as table, policyname as name, cmd as command,
       permissive = 'PERMISSIVE' as permissive, qual as using, with_check as check
     from pg_policies join pg_namespace on nspname = schemaname where ${DOMAINS} order by 1, 2`,
  );

/** Whether a condition does not depend on the row: rechecking it for an UPDATE after USING rejects nothing more. */
const ignoresTheRow = (condition: string) =>
  /^\( SELECT (access\.)?has_permission\('\w+'::text\) AS \w+\)$/.test(condition);

function mutationsOf({ table, name, command, permissive, using, check }: Policy): Mutation[] {
  const policy = `${pg.escapeIdentifier(name)} on ${table}`;
  const make = (what: string, sql: string): Mutation => ({ table, label: `${table} ${name}: ${what}`, sql });
  const mutations = [make("dropped", `drop policy ${policy}`)];
  if (!permissive) return mutations;
  if (using !== null && using !== "true")
    mutations.push(make("using (true)", `alter policy ${policy} using (true)`));
  const checkRepeatsUsing = command === "UPDATE" && using === check && ignoresTheRow(check ?? "");
  if (check !== null && check !== "true" && !checkRepeatsUsing)
    mutations.push(make("with check (true)", `alter policy ${policy} with check (true)`));
  return mutations;
}

async function become(tx: Transaction, actor: Actor, ids: ReadonlyMap<string, string>): Promise<void> {
  if (actor === "visitor") await tx.asAnonymous();
  else await tx.asUser(ids.get(actor) ?? null);
}

/** The result of a statement, which is rolled back immediately. */
async function outcome(tx: Transaction, sql: string): Promise<Outcome> {
  await tx.client.query("savepoint probe");
  try {
    return (await tx.client.query(withIds(sql))).rowCount ?? 0;
  } catch (error) {
    return (error as pg.DatabaseError).code ?? String(error);
  } finally {
    await tx.client.query("rollback to savepoint probe; release savepoint probe");
  }
}

/** The first probe of a table with an unexpected outcome; all of them if `all`. */
async function surprises(
  tx: Transaction,
  table: string,
  ids: ReadonlyMap<string, string>,
  all: boolean,
): Promise<string[]> {
  const found: string[] = [];
  for (const [actor, sql, expected] of PROBES[table] ?? []) {
    await become(tx, actor, ids);
    const got = await outcome(tx, sql);
    if (got === expected) continue;
    found.push(`${actor}: ${sql}: ${got} instead of ${expected}`);
    if (!all) break;
  }
  await tx.asOwner();
  return found;
}

/** A transaction with the probes' rows and without the column grants. */
async function prepared<T>(
  use: (tx: Transaction, ids: ReadonlyMap<string, string>) => Promise<T>,
): Promise<T> {
  return inRolledBackTransaction(db, async (tx) => {
    await tx.client.query(withIds(SEED));
    for (const table of Object.keys(PROBES))
      await tx.client.query(
        `grant select, insert, update, delete on ${table} to ${pg.escapeIdentifier(roleName(db.rolePrefix, "user"))}`,
      );
    const users = await tx.rows<{ username: string; id: string }>("select username, id from identity.users");
    return use(tx, new Map(users.map((user) => [user.username, user.id])));
  });
}

test("every table with a policy has probes, and they pass", async () => {
  await prepared(async (tx, ids) => {
    const tables = new Set((await readPolicies(tx)).map((policy) => policy.table));
    expect(Object.keys(PROBES).sort()).toEqual([...tables].sort());
    const wrong: string[] = [];
    for (const table of tables) wrong.push(...(await surprises(tx, table, ids, true)));
    expect(wrong).toEqual([]);
  });
});

test("the probes detect every dropped or weakened policy and disabled row security", async () => {
  await prepared(async (tx, ids) => {
    const policies = await readPolicies(tx);
    expect(policies.length).toBeGreaterThan(40);
    const mutations = [
      ...policies.flatMap(mutationsOf),
      ...Object.keys(PROBES).map((table) => ({
        table,
        label: `${table}: row security off`,
        sql: `alter table ${table} disable row level security`,
      })),
    ];
    const survivors: string[] = [];
    for (const { table, label, sql } of mutations) {
      await tx.client.query(`savepoint mutation; ${sql}`);
      if ((await surprises(tx, table, ids, false)).length === 0) survivors.push(label);
      await tx.client.query("rollback to savepoint mutation; release savepoint mutation");
    }
    expect(survivors).toEqual([]);
  });
});
