import type pg from "pg";
import { type LoginRole, type Role, roleName } from "../config/roles.ts";

/** A role of the database, and the user in whose name it acts. */
export interface Actor {
  /** The name in the contract: the role, or for signed-in users what distinguishes them. */
  readonly name: string;
  readonly role: Exclude<Role, "owner">;
  readonly userId: string | null;
  readonly sessionId: string | null;
}

/** The user who owns one of everything. */
export const USER = "user";
/** A user who owns nothing; the usual case, with which the other kinds of users are compared. */
export const OTHER_USER = "other user";
/** The user of a token whose account has been deleted since. */
export const NO_ACCOUNT = "no account";
/** The id of that account. */
export const UNKNOWN_USER = "00000000-0000-7000-8000-0000000000ff";

/** An actor as SQL becomes it; see attempt.ts. */
export interface SqlActor {
  readonly session: string | null;
  readonly role: string;
  readonly searchPath: string;
  readonly userId: string;
  readonly sessionId: string;
}

/** How a session becomes an actor. API roles are reached from the authenticator, as the server does. */
export async function sqlActors(
  client: pg.ClientBase,
  db: { readonly rolePrefix: string; readonly adminIsSuperuser: boolean },
  actors: readonly Actor[],
): Promise<ReadonlyMap<Actor, SqlActor>> {
  const { rows } = await client.query<{ role: string; path: string }>(
    `select r.rolname as role, substr(setting, length('search_path=') + 1) as path
     from pg_db_role_setting s
     join pg_database d on d.oid = s.setdatabase and d.datname = current_database()
     join pg_roles r on r.oid = s.setrole
     cross join unnest(s.setconfig) setting
     where setting like 'search\\_path=%'`,
  );
  const pathOf = new Map(rows.map(({ role, path }) => [role, path]));
  return new Map(
    actors.map((actor) => {
      const login: LoginRole =
        actor.role === "anonymous" || actor.role === "user" ? "authenticator" : actor.role;
      const session = roleName(db.rolePrefix, login);
      return [
        actor,
        {
          session: db.adminIsSuperuser ? session : null,
          role: roleName(db.rolePrefix, actor.role),
          searchPath: pathOf.get(session) ?? '"$user", public',
          userId: actor.userId ?? "",
          sessionId: actor.sessionId ?? "",
        },
      ];
    }),
  );
}
