import type pg from "pg";
import { type Actor, NO_ACCOUNT, OTHER_USER, UNKNOWN_USER, USER } from "../actors.ts";

/** The user whose rows are those of another for every actor. */
export const NEIGHBOR = "neighbor";

/**
 * Creates the users: `user` and `neighbor`, who get rows; an administrator; a user who has nothing; and a user for each permission,
 * who holds no other.
 */
export async function createUsers(client: pg.ClientBase): Promise<void> {
  await client.query(`
    insert into identity.users (username) values ('user'), ('other'), ('neighbor'), ('administrator');
    insert into identity.users (username) select permission_name from access.permissions;
    insert into access.roles (role_name) select permission_name from access.permissions on conflict do nothing;
    insert into access.role_permissions (role_id, permission_id)
      select r.id, p.id from access.roles r join access.permissions p on p.permission_name = r.role_name on conflict do nothing;
    insert into access.user_roles (user_id, role_id)
      select u.id, r.id from identity.users u join access.roles r
      on r.role_name = case u.username when 'administrator' then 'admin' else u.username end
      on conflict do nothing;
    insert into access.user_roles (user_id, role_id)
      select u.id, r.id from identity.users u join access.roles r on r.role_name = 'user'
      where u.username in ('other', 'neighbor') on conflict do nothing;
    insert into identity.user_sessions (user_id) select id from identity.users order by username;`);
}

/** The users of `createUsers`, and the other roles of the database. */
export async function readUsers(client: pg.ClientBase): Promise<readonly Actor[]> {
  const { rows } = await client.query<{ username: string; id: string; session: string; is_holder: boolean }>(
    `select u.username, u.id, p.id is not null as is_holder,
       (select s.id from identity.user_sessions s where s.user_id = u.id) as session
     from identity.users u left join access.permissions p on p.permission_name = u.username
     where u.username in ('user', 'other', 'administrator') or p.id is not null order by u.username`,
  );
  const user = (name: string, username: string): Actor => {
    const { id, session } = rows.find((row) => row.username === username)!;
    return { name, role: "user", userId: id, sessionId: session };
  };
  const alone = (role: Actor["role"]): Actor => ({ name: role, role, userId: null, sessionId: null });
  return [
    alone("anonymous"),
    user(USER, "user"),
    user(OTHER_USER, "other"),
    { name: NO_ACCOUNT, role: "user", userId: UNKNOWN_USER, sessionId: null },
    ...rows.filter(({ is_holder }) => is_holder).map(({ username }) => user(username, username)),
    user("administrator", "administrator"),
    ...(["authenticator", "service", "worker", "analyst"] as const).map(alone),
  ];
}

/** Replaces `:user` and `:neighbor` in a seed file with the ids of the two users who own rows. */
export function withUsers(sql: string, ids: Readonly<Record<"user" | "neighbor", string>>): string {
  return sql.replace(/(?<![:\w]):(user|neighbor)\b/g, (_, name: "user" | "neighbor") => `'${ids[name]}'`);
}
