import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { roleName } from "../../src/config/roles.ts";
import { registerUser } from "../support/accounts.ts";
import {
  createTestDatabase,
  inRolledBackTransaction,
  rowsAs,
  type TestDatabase,
  type Transaction,
} from "../support/database.ts";
import { registeredCodeOf } from "../support/error-page.ts";

// The functions behind mutations, called in SQL as the API's roles.

interface Function {
  readonly name: string;
  /** Types of the arguments without a default. */
  readonly types: readonly string[];
}

let db: TestDatabase;
let functions: readonly Function[];
let guest: string;

beforeAll(async () => {
  db = await createTestDatabase();
  guest = await registerUser(db, "guest");
  functions = await rowsAs("owner", () => db)<Function>(
    `select format('%I.%I', n.nspname, p.proname) as name, array(
       select format_type(t.type, null)
       from unnest(p.proargtypes) with ordinality t (type, i)
       where t.i <= p.pronargs - p.pronargdefaults
       order by t.i
     ) as types
     from pg_proc p
     join pg_namespace n on n.oid = p.pronamespace
     where n.nspname in ('access', 'billing', 'identity', 'learning', 'llm', 'rooms')
       and p.provolatile = 'v'
       and p.prorettype <> 'trigger'::regtype
       and has_function_privilege($1, p.oid, 'execute')
       and coalesce(obj_description(p.oid, 'pg_proc'), '') not like '@behavior -*%'
     order by 1`,
    [roleName(db.rolePrefix, "user")],
  );
});
afterAll(() => db.drop());

/** A call with absent ids and plausible values. */
function callOf({ name, types }: Function): string {
  const values = types.map((type) => {
    const value = VALUES[type];
    if (!value) throw new Error(`Say in VALUES what an argument of type ${type} of ${name} can be.`);
    return `${value()}::${type}`;
  });
  return `select ${name}(${values.join(", ")})`;
}

const VALUES: Readonly<Record<string, () => string>> = {
  uuid: () => `'${randomUUID()}'`,
  text: () => "'word'",
  "text[]": () => "array['word']",
  integer: () => "1",
  bigint: () => "1",
  numeric: () => "1",
  boolean: () => "true",
  jsonb: () => `'{}'`,
};

/** The SQLSTATE of a call, or undefined if it succeeds. */
async function stateOf({ attempt }: Transaction, sql: string): Promise<string | undefined> {
  try {
    await attempt(sql);
    return undefined;
  } catch (error) {
    return (error as { code: string }).code;
  }
}

test("there are functions", () => {
  expect(functions.length).toBeGreaterThan(60);
});

test("the role of visitors may execute none of them", async () => {
  await inRolledBackTransaction(db, async (transaction) => {
    await transaction.asAnonymous();
    for (const each of functions)
      expect([each.name, await stateOf(transaction, callOf(each))]).toEqual([each.name, "42501"]);
  });
});

test("the role of users without a user raises a registered SQLSTATE", async () => {
  await inRolledBackTransaction(db, async (transaction) => {
    await transaction.asUser(null);
    for (const each of functions) {
      const state = await stateOf(transaction, callOf(each));
      expect([each.name, state, state && registeredCodeOf(state)]).not.toContain(undefined);
    }
  });
});

test("a function that gets the id of no row raises a registered SQLSTATE", async () => {
  const withIds = functions.filter(({ types }) => types.includes("uuid"));
  expect(withIds.length).toBeGreaterThan(40);
  await inRolledBackTransaction(db, async (transaction) => {
    await transaction.asUser(guest);
    const silent: string[] = [];
    for (const each of withIds) {
      const state = await stateOf(transaction, callOf(each));
      if (!state) silent.push(each.name);
      else expect([each.name, state, registeredCodeOf(state)]).not.toContain(undefined);
    }
    // It returns whether there was a block.
    expect(silent).toEqual(["rooms.unblock_user"]);
  });
});

test("an update or delete of rows that policies hide is one of 0 rows", async () => {
  const other = await registerUser(db, "other");
  await inRolledBackTransaction(db, async ({ client, asUser }) => {
    await client.query("insert into llm.chats (user_id) values ($1)", [other]);
    await asUser(guest);
    expect((await client.query("update llm.chats set title = 'x'")).rowCount).toBe(0);
    expect((await client.query("delete from llm.chats")).rowCount).toBe(0);
    await expect(client.query("insert into llm.chats (user_id) values ($1)", [other])).rejects.toMatchObject({
      code: "42501",
    });
  });
});
