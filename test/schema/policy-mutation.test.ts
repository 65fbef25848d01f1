import { afterAll, beforeAll, expect, test } from "@jest/globals";
import pg from "pg";
import { ROLES, roleName } from "../../src/config/roles.ts";
import { SCHEMAS } from "../../src/database/schemas.ts";
import { withIds } from "../support/access-probes/ids.ts";
import { PROBES } from "../support/access-probes/probes.ts";
import { SEED } from "../support/access-probes/seed.ts";
import { createTestDatabase, type TestDatabase, withClient } from "../support/database.ts";
import { EQUIVALENT_POLICIES } from "../support/mutants/equivalent-policies.ts";
import type { Mutant } from "../support/mutants/mutant.ts";
import {
  policyMutants,
  readPolicies,
  rowSecurityMutants,
  viewMutants,
} from "../support/mutants/policy-mutants.ts";
import { type ProbesByName, readProbes } from "../support/mutants/policy-probes.ts";
import { createProber, type Prober } from "../support/mutants/prober.ts";
import { TABLES_WITH_PARTS } from "../support/mutants/probes-of-parts.ts";
import { scoreOf } from "../support/mutants/score.ts";

// Mutation test of the row policies: each way to break one makes a probe fail. Grants are lifted, so that only the policies
// decide; grant-mutation.test.ts breaks the grants.

let db: TestDatabase;
beforeAll(async () => {
  db = await createTestDatabase();
  await withClient(db.url("owner"), (client) => client.query(withIds(SEED)));
  await withClient(db.adminUrl, (client) => client.query(liftGrants()));
});
afterAll(async () => {
  await db.drop();
});

/** Users keep their grants on functions: their policies call them. */
function liftGrants(): string {
  const schemas = SCHEMAS.join(", ");
  const roles = ROLES.map((role) => pg.escapeIdentifier(roleName(db.rolePrefix, role)));
  const others = roles.filter((role) => role !== pg.escapeIdentifier(roleName(db.rolePrefix, "user")));
  return `grant usage on schema ${schemas} to ${roles.join(", ")};
    grant select, insert, update, delete on all tables in schema ${schemas} to ${roles.join(", ")};
    grant execute on all functions in schema ${schemas} to ${others.join(", ")}`;
}

interface Session {
  readonly client: pg.Client;
  readonly probe: Prober;
  readonly probes: ProbesByName;
}

const inSession = <T>(use: (session: Session) => Promise<T>): Promise<T> =>
  withClient(db.adminUrl, async (client) =>
    use({ client, probe: await createProber(client, db.rolePrefix), probes: await readProbes(client) }),
  );

/** The probes with an unexpected outcome: the first one, or all. */
async function surprises(
  { probe, probes }: Session,
  { object, role }: Pick<Mutant, "object" | "role">,
  all: boolean,
): Promise<string[]> {
  const found: string[] = [];
  const likeliestFirst = [...(probes.get(object) ?? [])].sort(
    (a, b) => Number(b.role === role) - Number(a.role === role),
  );
  for (const each of likeliestFirst) {
    const outcome = await probe(each);
    if (outcome === each.expected) continue;
    found.push(
      `${each.user ?? "no user"} as ${each.role}: ${each.sql}: ${outcome} instead of ${each.expected}`,
    );
    if (!all) break;
  }
  return found;
}

test("every table with a policy has probes, and they pass", async () => {
  await inSession(async (session) => {
    const tables = new Set((await readPolicies(session.client)).map(({ table }) => table));
    expect(Object.keys(PROBES).sort()).toEqual([...tables].sort());
    expect(TABLES_WITH_PARTS.filter((table) => !tables.has(table))).toEqual([]);
    await session.client.query("begin");
    const wrong: string[] = [];
    for (const object of session.probes.keys()) wrong.push(...(await surprises(session, { object }, true)));
    expect(wrong).toEqual([]);
  });
});

test("the probes detect every broken policy, disabled row security and swapped rights of a view", async () => {
  await inSession(async (session) => {
    const { client } = session;
    const policies = await readPolicies(client);
    expect(policies.length).toBeGreaterThan(40);
    const mutants = [
      ...policies.flatMap((policy) => policyMutants(policy, db.rolePrefix)),
      ...(await rowSecurityMutants(client)),
      ...(await viewMutants(client)),
    ];
    expect(mutants.length).toBeGreaterThan(2_000);
    const detected = new Set<string>();
    for (const mutant of mutants) {
      await client.query(`begin; ${mutant.sql}`);
      if ((await surprises(session, mutant, false)).length > 0) detected.add(mutant.name);
      await client.query("rollback");
    }
    const { table, ...faults } = scoreOf(mutants, detected, EQUIVALENT_POLICIES);
    process.stdout.write(`\n${table}`);
    expect(faults).toEqual({ survivors: [], detectedAlthoughListed: [], unknown: [] });
  });
});
