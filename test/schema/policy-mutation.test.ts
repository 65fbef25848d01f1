import { afterAll, beforeAll, expect, test } from "@jest/globals";
import pg from "pg";
import { ROLES, roleName } from "../../src/config/roles.ts";
import { SCHEMAS } from "../../src/database/schemas.ts";
import { PROBES, SEED, withIds } from "../support/access-probes.ts";
import { createTestDatabase, type TestDatabase, withClient } from "../support/database.ts";
import { EQUIVALENT } from "../support/mutants/equivalent.ts";
import type { Mutant } from "../support/mutants/mutant.ts";
import { policyMutants, readPolicies, rowSecurityMutants, viewMutants } from "../support/mutants/policy-mutants.ts";
import { readProbes, type ProbesByName } from "../support/mutants/policy-probes.ts";
import { createProber, type Prober } from "../support/mutants/prober.ts";

// Mutation test of the row policies: each way to break one makes a probe fail. Grants are lifted, so that only the policies
// decide; grant-mutation.test.ts breaks those.

let db: TestDatabase;
beforeAll(async () => {
  db = await createTestDatabase();
  await withClient(db.url("owner"), (client) => client.query(withIds(SEED)));
  await withClient(db.adminUrl, (client) => client.query(liftGrants()));
});
afterAll(async () => {
  await db.drop();
});

function liftGrants(): string {
  const roles = ROLES.map((role) => pg.escapeIdentifier(roleName(db.rolePrefix, role))).join(", ");
  const others = ROLES.filter((role) => role !== "user").map((role) => pg.escapeIdentifier(roleName(db.rolePrefix, role)));
  return `grant execute on all functions in schema ${SCHEMAS.join(", ")} to ${others.join(", ")};
    grant usage on schema ${SCHEMAS.join(", ")} to ${roles};
    grant select, insert, update, delete on all tables in schema ${SCHEMAS.join(", ")} to ${roles}`;
}

async function surprises(prober: Prober, probes: ProbesByName, { object, role: first }: Pick<Mutant, 'object' | 'role'>, all = false): Promise<string[]> {
  const found: string[] = [];
  const ordered = [...(probes.get(object) ?? [])].sort((a, b) => Number(b.role === first) - Number(a.role === first));
  for (const probe of ordered) {
    const { role, user, sql, expected, given } = probe;
    const got = await prober(probe);
    if (got === expected) continue;
    found.push(`${role} ${user}: ${given ?? ''} ${sql}: ${got} instead of ${expected}`);
    if (!all) break;
  }
  return found;
}

test("explore", async () => {
  await withClient(db.adminUrl, async (client) => {
    const probes = await readProbes(client);
    const prober = await createProber(client, db.rolePrefix);
    await client.query("begin");
    const wrong: string[] = [];
    let n = 0;
    let start = Date.now();
    for (const [table, list] of probes) {
      n += list.length;
      wrong.push(...(await surprises(prober, probes, { object: table } as Mutant, true)).map((w) => `${table} ${w}`));
    }
    await client.query("rollback");
    process.stdout.write(`${n} probes in ${Date.now() - start} ms\n${wrong.join("\n")}\n`);
    const policies = await readPolicies(client);
    const mutants = [
      ...policies.flatMap((policy) => policyMutants(policy, db.rolePrefix)),
      ...(await rowSecurityMutants(client)),
      ...(await viewMutants(client)),
    ];
    start = Date.now();
    const score = new Map<string, [number, number]>();
    const survivors: string[] = [];
    for (const mutant of mutants) {
      const row = score.get(mutant.kind) ?? [0, 0];
      score.set(mutant.kind, row);
      row[1]++;
      await client.query("begin");
      try { await client.query(mutant.sql); } catch (e) { process.stdout.write(`BROKEN ${mutant.name} ${mutant.sql} ${e}\n`); await client.query("rollback"); continue; }
      if ((await surprises(prober, probes, mutant)).length > 0) row[0]++;
      else if (!EQUIVALENT.has(mutant.name)) survivors.push(mutant.name);
      await client.query("rollback");
    }
    process.stdout.write(`${mutants.length} in ${Date.now() - start} ms\n`);
    for (const [k, v] of score) process.stdout.write(`${k}: ${v[0]} of ${v[1]}\n`);
    process.stdout.write(`${survivors.join("\n")}\n`);
  });
}, 600000);
