import type pg from "pg";
import { ALL_ROLES, type AnyRole, roleName } from "../config/roles.ts";

/** Roles of `plinth serve` and `plinth work`. */
const SERVERS: readonly AnyRole[] = ["authenticator", "service", "worker"];

interface RoleSessions {
  readonly role: string;
  readonly n: number;
  /** Names of their applications, separated by commas. */
  readonly programs: string | null;
}

/** Returns the other sessions of Plinth's roles, such as `plinth_service: 5 (plinth)`. */
export async function findSessions(client: pg.ClientBase, rolePrefix: string): Promise<string[]> {
  return (await countSessions(client, rolePrefix, ALL_ROLES)).map(
    ({ role, n, programs }) => `${role}: ${n}${programs ? ` (${programs})` : ""}`,
  );
}

/** Returns a sentence about sessions that use the schema while a rollback takes parts of it away, if there are any. */
export async function sessionsInTheWay(
  client: pg.ClientBase,
  rolePrefix: string,
): Promise<string | undefined> {
  const found = await countSessions(client, rolePrefix, SERVERS);
  const total = found.reduce((sum, { n }) => sum + n, 0);
  if (total === 0) return undefined;
  const sessions = total === 1 ? "1 session of Plinth's roles is" : `${total} sessions of Plinth's roles are`;
  return `${sessions} connected. Stop plinth serve and plinth work before the rollback: they use what it removes.`;
}

async function countSessions(
  client: pg.ClientBase,
  rolePrefix: string,
  roles: readonly AnyRole[],
): Promise<RoleSessions[]> {
  const { rows } = await client.query<RoleSessions>(
    `select usename as role, count(*)::integer as n, string_agg(distinct nullif(application_name, ''), ', ') as programs
     from pg_stat_activity
     where datname = current_database() and pid <> pg_backend_pid() and usename = any ($1)
     group by 1
     order by 1`,
    [roles.map((role) => roleName(rolePrefix, role))],
  );
  return rows;
}
