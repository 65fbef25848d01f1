import { readFunctions, type SqlFunction } from "../../../src/access-contract/functions.ts";
import { SCHEMAS } from "../../../src/database/schemas.ts";
import {
  GRANTEES,
  type GrantMutant,
  HELD,
  type Held,
  holdingsOf,
  observerOf,
  type Surroundings,
} from "./grants.ts";

/** Every function: executable by each role that may not call it, and not by each that may. */
export async function executeMutants(around: Surroundings): Promise<GrantMutant[]> {
  const { rows } = await around.client.query<Held>(
    `select p.oid::regprocedure::text as object, ${HELD}
     from pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
     where p.pronamespace = any ($1::text[]::regnamespace[])`,
    [SCHEMAS],
  );
  const heldBy = holdingsOf(rows, around);
  return (await readFunctions(around.client, SCHEMAS)).flatMap((fn) =>
    GRANTEES.map((grantee): GrantMutant => {
      const isHeld = heldBy(fn.name, grantee, "execute") === "all";
      const to = around.sqlOf(grantee);
      return {
        kind: isHeld ? "execute revoked" : "execute for one more role",
        object: fn.name,
        name: `${fn.name}: execute ${isHeld ? "revoked from" : "granted to"} ${grantee}`,
        sql: isHeld
          ? `revoke execute on routine ${fn.name} from ${to}`
          : `grant execute on routine ${fn.name} to ${to}`,
        attempt: { role: observerOf(grantee), statement: startCall(fn) },
        inContract: { object: `function ${fn.name}`, operation: "call", role: observerOf(grantee) },
      };
    }),
  );
}

/**
 * EXPLAIN looks at the privilege as the call does, and stops before the body, which need not end for any arguments. `offset 0`
 * keeps the planner from answering a strict call itself, without looking at the privilege.
 */
function startCall({ bare, parameters, isProcedure }: SqlFunction): string {
  const nulls = parameters.map(({ type }) => `null::${type}`);
  if (isProcedure) return `call ${bare}(${nulls.join(", ")})`;
  const names = nulls.map((_, n) => `v${n}`);
  const values = nulls.map((value, n) => `${value} as v${n}`);
  return `explain select ${bare}(${names.join(", ")}) from (select ${["1", ...values].join(", ")} offset 0) a`;
}
