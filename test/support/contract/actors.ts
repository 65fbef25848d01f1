import type pg from "pg";
import { type LoginRole, type Role, roleName } from "../../../src/config/roles.ts";
import { SEED, withIds } from "../access-probes.ts";
import type { TestDatabase } from "../test-database.ts";

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

/**
 * A user without anything, a plain member of Ada's room and the administrator; a session of each user that has none in SEED; times
 * that the API can write; and addresses of sessions, which the server adds during a slow run.
 */
const MORE_USERS = `
  insert into identity.users (username) values ('other'), ('member'), ('administrator');
  insert into access.user_roles (user_id, role_id)
    select u.id, r.id from identity.users u join access.roles r
      on (u.username, r.role_name) in (('other', 'user'), ('member', 'user'), ('administrator', 'admin'));
  insert into rooms.room_members (room_id, user_id, role) select :own, id, 'member' from identity.users where username = 'member';
  insert into identity.user_sessions (user_id) select id from identity.users where username not in ('ada', 'bob') order by username;
  update rooms.presence set expires_at = now() + interval '1 hour';
  update rooms.typing set expires_at = now() + interval '1 hour' * case expires_at when 'infinity' then 1 else -1 end;
  update identity.user_sessions set ip_address = '192.0.2.1';
`;

/** Adds the rows that the attempts read and change. `client` is connected as the owner. */
export async function seedContract(client: pg.ClientBase): Promise<void> {
  // In one transaction, so that all rows have the same time.
  await client.query(withIds(SEED + MORE_USERS));
  const { rows } = await client.query<{ name: string }>(
    `select format('refresh materialized view %s', c.oid::regclass) as name from pg_class c
     where c.relkind = 'm' order by c.oid::regclass::text`,
  );
  for (const { name } of rows) await client.query(name);
}

/** Every role of the database except the owner, which may do everything; the role of users once for each kind of user. */
export async function readActors(client: pg.ClientBase): Promise<readonly Actor[]> {
  const { rows } = await client.query<{ username: string; id: string; session: string; is_holder: boolean }>(
    `select u.username, u.id, p.id is not null as is_holder,
       (select s.id from identity.user_sessions s where s.user_id = u.id) as session
     from identity.users u left join access.permissions p on p.permission_name = u.username
     where u.username in ('ada', 'other', 'member', 'administrator') or p.id is not null order by u.username`,
  );
  const user = (name: string, username: string): Actor => {
    const { id, session } = rows.find((row) => row.username === username)!;
    return { name, role: "user", userId: id, sessionId: session };
  };
  return [
    { name: "anonymous", role: "anonymous", userId: null, sessionId: null },
    user(USER, "ada"),
    user(OTHER_USER, "other"),
    user("member", "member"),
    { name: NO_ACCOUNT, role: "user", userId: UNKNOWN_USER, sessionId: null },
    ...rows.filter(({ is_holder }) => is_holder).map(({ username }) => user(username, username)),
    user("administrator", "administrator"),
    ...(["authenticator", "service", "worker", "analyst"] as const).map((role) => ({
      name: role,
      role,
      userId: null,
      sessionId: null,
    })),
  ];
}

const UNKNOWN_USER = "00000000-0000-7000-8000-0000000000ff";

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
  db: Pick<TestDatabase, "rolePrefix" | "adminIsSuperuser">,
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
