import pg from "pg";
import { roleName } from "../../../src/config/roles.ts";
import { withIds } from "../access-probes/ids.ts";
import type { Outcome } from "../access-probes/probe.ts";
import type { RoleProbe } from "./policy-probes.ts";

/** Runs probes, each of which is rolled back immediately. */
export type Prober = (probe: Omit<RoleProbe, "expected">) => Promise<Outcome>;

/** @param client a session of the administrator, in a transaction whenever the prober runs */
export async function createProber(client: pg.ClientBase, rolePrefix: string): Promise<Prober> {
  const { rows } = await client.query<{ username: string; id: string }>(
    "select username, id from identity.users",
  );
  const ids = new Map(rows.map(({ username, id }) => [username, id]));
  return async ({ role, user, sql, given = "" }) => {
    const claim = user === undefined ? "" : ids.get(user);
    if (claim === undefined) throw new Error(`The seed has no user ${user}.`);
    try {
      const results = (await client.query(
        `savepoint probe; ${withIds(given)};
         select set_config('role', ${pg.escapeLiteral(roleName(rolePrefix, role))}, true),
           set_config('jwt.claims.user_id', ${pg.escapeLiteral(claim)}, true);
         ${withIds(sql)}`,
      )) as unknown as pg.QueryResult[];
      return results.at(-1)!.rowCount ?? 0;
    } catch (error) {
      if (!(error instanceof pg.DatabaseError)) throw error;
      return error.code!;
    } finally {
      await client.query("rollback to savepoint probe; release savepoint probe");
    }
  };
}
