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
}

/** The user who owns one of everything. */
export const USER = "user";

/** Users that SEED does not have: a plain member of Ada's room, and the administrator. */
const MORE_USERS = `
  insert into identity.users (username) values ('member'), ('administrator');
  insert into access.user_roles (user_id, role_id)
    select u.id, r.id from identity.users u join access.roles r
      on (u.username, r.role_name) in (('member', 'user'), ('administrator', 'admin'));
  insert into rooms.room_members (room_id, user_id, role) select :own, id, 'member' from identity.users where username = 'member';
`;

/** Adds the rows that the attempts read and change. `client` is connected as the owner. */
export async function seedContract(client: pg.ClientBase): Promise<void> {
  await client.query(withIds(SEED));
  await client.query(withIds(MORE_USERS));
  const { rows } = await client.query<{ name: string }>(
    `select format('refresh materialized view %s', c.oid::regclass) as name from pg_class c
     where c.relkind = 'm' order by c.oid::regclass::text`,
  );
  for (const { name } of rows) await client.query(name);
}

/** Every role of the database except the owner, which may do everything; the role of users once for each kind of user. */
export async function readActors(client: pg.ClientBase): Promise<readonly Actor[]> {
  const { rows } = await client.query<{ username: string; id: string; is_holder: boolean }>(
    `select u.username, u.id, p.id is not null as is_holder
     from identity.users u left join access.permissions p on p.permission_name = u.username
     where u.username in ('ada', 'member', 'administrator') or p.id is not null order by u.username`,
  );
  const idOf = new Map(rows.map(({ username, id }) => [username, id]));
  const user = (name: string, username: string): Actor => ({
    name,
    role: "user",
    userId: idOf.get(username)!,
  });
  return [
    { name: "anonymous", role: "anonymous", userId: null },
    user(USER, "ada"),
    user("member", "member"),
    { name: "no account", role: "user", userId: UNKNOWN_USER },
    ...rows.filter(({ is_holder }) => is_holder).map(({ username }) => user(username, username)),
    user("administrator", "administrator"),
    ...(["authenticator", "service", "worker", "analyst"] as const).map((role) => ({
      name: role,
      role,
      userId: null,
    })),
  ];
}

/** The id in the token of an account that has been deleted since. */
const UNKNOWN_USER = "00000000-0000-7000-8000-0000000000ff";

/** An actor as SQL becomes it; see attempt.ts. */
export interface SqlActor {
  readonly session: string | null;
  readonly role: string;
  readonly searchPath: string;
  readonly userId: string;
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
        },
      ];
    }),
  );
}
