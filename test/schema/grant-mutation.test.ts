import { afterAll, beforeAll, expect, test } from "@jest/globals";
import pg from "pg";
import { ROLES, roleName } from "../../src/config/roles.ts";
import { SCHEMAS } from "../../src/database/schemas.ts";
import { seedContract } from "../support/contract/actors.ts";
import { createTestDatabase, type TestDatabase, withClient } from "../support/database.ts";
import { executeMutants, rightsMutants } from "../support/mutants/function-mutants.ts";
import { furtherMutants, grantOptionMutants } from "../support/mutants/further-mutants.ts";
import { type GrantMutant, openSurroundings } from "../support/mutants/grants.ts";
import { relationMutants } from "../support/mutants/relation-mutants.ts";
import { defaultPrivilegeMutants, schemaMutants } from "../support/mutants/schema-mutants.ts";
import { scoreOf } from "../support/mutants/score.ts";

let db: TestDatabase;
let lifted: TestDatabase;
beforeAll(async () => {
  db = await createTestDatabase();
  lifted = await createTestDatabase();
  for (const each of [db, lifted]) await withClient(each.url("owner"), seedContract);
  const roles = ROLES.map((role) => pg.escapeIdentifier(roleName(db.rolePrefix, role))).join(", ");
  await withClient(lifted.adminUrl, (client) => client.query(`grant usage on schema ${SCHEMAS.join(", ")} to ${roles}`));
});
afterAll(async () => {
  await db.drop();
  await lifted.drop();
});

test("explore", async () => {
  for (const [base, make] of [[db, schemaMutants], [lifted, relationMutants], [lifted, executeMutants], [lifted, furtherMutants], [lifted, grantOptionMutants], [lifted, defaultPrivilegeMutants], [db, rightsMutants]] as const)
    await withClient(base.adminUrl, async (client) => {
      const around = await openSurroundings(client, base);
      let t = Date.now();
      const mutants = await make(around);
      process.stdout.write(`${mutants.length} made in ${Date.now() - t}\n`);
      t = Date.now();
      const before = new Map<string, string>();
      const { table, ...faults } = await scoreOf(mutants, new Map(), async (m) => {
        const { sql, observation: { key, run } } = m as GrantMutant;
        await client.query("begin");
        const outcome = before.get(key) ?? (await run());
        before.set(key, outcome);
        await client.query(sql);
        const isDetected = (await run()) !== outcome;
        await client.query("rollback");
        return isDetected;
      });
      process.stdout.write(`\n${table} in ${Date.now() - t}\n${faults.survivors.slice(0, 60).join("\n")}\n${faults.survivors.length}\n`);
      const c = new Map<string, number>();
      for (const v of before.values()) c.set(v.slice(0, 5), (c.get(v.slice(0, 5)) ?? 0) + 1);
      process.stdout.write(`${JSON.stringify([...c])}\n`);
    });
}, 600000);
