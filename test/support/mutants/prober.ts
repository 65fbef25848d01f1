import pg from "pg";
import { type Role, roleName } from "../../../src/config/roles.ts";
import { type Outcome, withIds } from "../access-probes.ts";

/** Runs statements as any user under any role of the database; each is rolled back immediately. */
export interface Prober {
  outcome(role: Role, user: string, sql: string): Promise<Outcome>;
}

/** @param client a session of the administrator, in a transaction */
export async function createProber(client: pg.ClientBase, rolePrefix: string): Promise<Prober> {
  const { rows } = await client.query<{ username: string; id: string }>("select username, id from identity.users");
  const ids = new Map(rows.map(({ username, id }) => [username, id]));
  return {
    async outcome(role, user, sql) {
      const claim = user === "visitor" ? "" : ids.get(user);
      if (claim === undefined) throw new Error(`The seed has no user ${user}.`);
      try {
        const results = (await client.query(
          `savepoint probe;
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
    },
  };
}
