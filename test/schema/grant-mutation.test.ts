import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { ROLES } from "../../src/config/roles.ts";
import { SCHEMAS } from "../../src/database/schemas.ts";
import { readCatalog, withPrintSettings } from "../../src/schema-dump/catalog.ts";
import { dumpFunctions } from "../../src/schema-dump/functions.ts";
import { seedContract } from "../support/contract/actors.ts";
import { createTestDatabase, type TestDatabase, withClient } from "../support/database.ts";
import { committedContract } from "../support/mutants/contract-says.ts";
import { executeMutants } from "../support/mutants/function-mutants.ts";
import { furtherMutants, grantOptionMutants } from "../support/mutants/further-mutants.ts";
import {
  contradictionsOf,
  detectedMutants,
  GRANTEES,
  type GrantMutant,
  openSurroundings,
  type Surroundings,
} from "../support/mutants/grants.ts";
import { relationMutants } from "../support/mutants/relation-mutants.ts";
import {
  creationMutants,
  defaultPrivilegeMutants,
  USAGE,
  usageAttempt,
  usageMutants,
} from "../support/mutants/schema-mutants.ts";
import { scoreOf } from "../support/mutants/score.ts";

// Mutation test of the grants: each grant that is missing, or that a role has too many, changes what an attempt of the role
// answers. policy-mutation.test.ts breaks the policies.

let db: TestDatabase;
/** Every role may name the objects of all schemas, so that only the grants on these decide. */
let open: TestDatabase;
beforeAll(async () => {
  [db, open] = [await createTestDatabase(), await createTestDatabase()];
  for (const { url } of [db, open]) await withClient(url("owner"), seedContract);
  await inSurroundings(open, async ({ client, sqlOf }) => {
    await client.query(`grant usage on schema ${SCHEMAS.join(", ")} to ${ROLES.map(sqlOf).join(", ")}`);
  });
});
afterAll(async () => {
  await Promise.all([db.drop(), open.drop()]);
});

const inSurroundings = (
  database: TestDatabase,
  use: (around: Surroundings) => Promise<void>,
): Promise<void> =>
  withClient(database.adminUrl, async (client) => use(await openSurroundings(client, database)));

/** No mutant of a grant is equivalent. */
async function expectAllDetected(around: Surroundings, mutants: readonly GrantMutant[]): Promise<void> {
  const { table, ...faults } = scoreOf(mutants, await detectedMutants(around, mutants));
  process.stdout.write(`\n${table}`);
  expect(faults).toEqual({ survivors: [], detectedAlthoughListed: [], unknown: [] });
}

test("there are mutants of each kind of grant, as many as docs/development.md says", async () => {
  let count = 0;
  await inSurroundings(db, async (around) => {
    count += usageMutants(around).length;
  });
  await inSurroundings(open, async (around) => {
    const kinds = [
      await relationMutants(around),
      await executeMutants(around),
      await creationMutants(around),
      defaultPrivilegeMutants(around),
      await furtherMutants(around),
      await grantOptionMutants(around),
    ];
    count += kinds.reduce((sum, mutants) => sum + mutants.length, 0);
  });
  expect(count).toBeGreaterThan(14_000);
});

test("the roles reach the objects of exactly these schemas", async () => {
  await inSurroundings(db, async ({ outcomesOf }) => {
    for (const role of GRANTEES) {
      const outcomes = await outcomesOf(SCHEMAS.map((schema) => ({ attempt: usageAttempt(schema, role) })));
      const reached = SCHEMAS.filter(
        (_, n) => !outcomes[n]!.startsWith("42501 permission denied for schema"),
      );
      expect({ role, reached: [...reached].sort() }).toEqual({ role, reached: [...USAGE[role]].sort() });
    }
  });
});

test("an attempt notices each schema that a role reaches or does not reach by mistake", async () => {
  await inSurroundings(db, (around) => expectAllDetected(around, usageMutants(around)));
});

test("an attempt notices each grant on a table, column, view or function that a role has too many or lacks", async () => {
  await inSurroundings(open, async (around) => {
    const mutants = [...(await relationMutants(around)), ...(await executeMutants(around))];
    await expectAllDetected(around, mutants);
    expect(await contradictionsOf(around, mutants, committedContract())).toEqual([
      // Views of analytics call them; by name, analysts do not reach their schema.
      "analyst: call function learning.access_reason(boolean,boolean,boolean,text,boolean,boolean,integer,integer,boolean,boolean)",
      "analyst: call function learning.gives_access(text)",
      "analyst: call function learning.time_spent(numeric,int4multirange[])",
    ]);
  });
});

test("no role creates objects, uses new ones, passes a privilege on, locks, refers to or puts a trigger on a table", async () => {
  await inSurroundings(open, async (around) => {
    const mutants = [
      ...(await creationMutants(around)),
      ...defaultPrivilegeMutants(around),
      ...(await furtherMutants(around)),
      ...(await grantOptionMutants(around)),
    ];
    const outcomes = await around.outcomesOf(mutants.map(({ attempt }) => ({ attempt })));
    // Permission denied, or no as an answer.
    const allowed = mutants.filter((_, n) => !/^(42501|22012) /.test(outcomes[n]!));
    expect(allowed.map(({ attempt }) => attempt)).toEqual([]);
    await expectAllDetected(around, mutants);
  });
});

// A call shows only part of them: many functions fail early, and triggers cannot be called.
test("the text of a function in migrations/schema differs if it runs with other rights", async () => {
  await withClient(db.adminUrl, async (client) => {
    const texts = () =>
      withPrintSettings(client, async () => {
        const dump = await dumpFunctions(await readCatalog(client, db));
        return [...dump.values()].flat().filter((text) => !/^create aggregate/m.test(text));
      });
    const before = await texts();
    expect(before.length).toBeGreaterThan(400);
    const { rows } = await client.query<{ swap: string }>(
      `select format('alter routine %s security %s', oid::regprocedure, case when prosecdef then 'invoker' else 'definer' end) as swap
       from pg_proc where pronamespace = any ($1::text[]::regnamespace[]) and prokind <> 'a'
         and not exists (select from pg_depend where classid = 'pg_proc'::regclass and objid = pg_proc.oid and deptype = 'e')`,
      [SCHEMAS],
    );
    await client.query(`begin; ${rows.map(({ swap }) => swap).join("; ")}`);
    const after = await texts();
    await client.query("rollback");
    expect(after).toHaveLength(before.length);
    expect(after.filter((text, n) => text === before[n])).toEqual([]);
  });
});
