import { ROLES } from "../../../src/config/roles.ts";
import { SCHEMAS } from "../../../src/database/schemas.ts";
import { attemptFunctions, readFunctions } from "../contract/functions.ts";
import { GRANTEES, type GrantMutant, HELD, type Held, holdingsOf, observerOf, type Surroundings } from "./grants.ts";

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
      const role = observerOf(grantee);
      const to = around.sqlOf(grantee);
      return {
        kind: isHeld ? "execute revoked" : "execute for one more role",
        object: fn.name,
        name: `${fn.name}: execute ${isHeld ? "revoked from" : "granted to"} ${grantee}`,
        sql: isHeld
          ? `revoke execute on routine ${fn.name} from ${to}`
          : `grant execute on routine ${fn.name} to ${to}`,
        observation: {
          key: `${fn.name} as ${role}`,
          run: async () => {
            const cells = await attemptFunctions(around.client, new Map([around.actorOf(role)]), [fn]);
            return cells.map(({ outcome }) => outcome).join();
          },
        },
      };
    }),
  );
}

/** Every function, with the rights of its caller instead of its owner's, and the reverse. */
export async function rightsMutants(around: Surroundings): Promise<GrantMutant[]> {
  const { rows } = await around.client.query<{ name: string; isDefiner: boolean }>(
    `select oid::regprocedure::text as name, prosecdef as "isDefiner" from pg_proc
     where pronamespace = any ($1::text[]::regnamespace[])`,
    [SCHEMAS],
  );
  const isDefiner = new Map(rows.map((row) => [row.name, row.isDefiner]));
  const actors = new Map(ROLES.filter((role) => role !== "owner").map((role) => around.actorOf(role)));
  return (await readFunctions(around.client, SCHEMAS)).map((fn): GrantMutant => {
    const becomes = isDefiner.get(fn.name) ? "invoker" : "definer";
    return {
      kind: `function with the rights of its ${becomes === "invoker" ? "caller" : "owner"}`,
      object: fn.name,
      name: `${fn.name}: security ${becomes}`,
      sql: `alter routine ${fn.name} security ${becomes}`,
      observation: {
        key: fn.name,
        run: async () => {
          const cells = await attemptFunctions(around.client, actors, [fn]);
          return cells.map(({ outcome }) => outcome).join();
        },
      },
    };
  });
}
