import type pg from "pg";
import {
  type Actor,
  NO_ACCOUNT,
  OTHER_USER,
  UNKNOWN_USER,
  USER,
} from "../../../src/access-contract/actors.ts";
import { withIds } from "../access-probes/ids.ts";
import { SEED } from "../access-probes/seed.ts";

/**
 * A user without anything, a plain member of Ada's room and the administrator; a session of each user that has none in SEED; times
 * that the API can write; addresses of sessions, which the server adds during a slow run; and one time for the events of the migrations and
 * of these rows, so that views by hour count the same when a full hour lies between them.
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
  update security.security_audit_log set created_at = now();
`;

/** An actor whose tokens the database accepts, because the server asks it whenever its listener is late. */
export interface ApiActor extends Actor {
  readonly tokenVersion: number;
}

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
export async function readActors(client: pg.ClientBase): Promise<readonly ApiActor[]> {
  const { rows } = await client.query<{
    username: string;
    id: string;
    session: string;
    version: number;
    is_holder: boolean;
  }>(
    `select u.username, u.id, u.token_version as version, p.id is not null as is_holder,
       (select s.id from identity.user_sessions s where s.user_id = u.id) as session
     from identity.users u left join access.permissions p on p.permission_name = u.username
     where u.username in ('ada', 'other', 'member', 'administrator') or p.id is not null order by u.username`,
  );
  const user = (name: string, username: string): ApiActor => {
    const { id, session, version } = rows.find((row) => row.username === username)!;
    return { name, role: "user", userId: id, sessionId: session, tokenVersion: version };
  };
  const none = { userId: null, sessionId: null, tokenVersion: 0 };
  return [
    { name: "anonymous", role: "anonymous", ...none },
    user(USER, "ada"),
    user(OTHER_USER, "other"),
    user("member", "member"),
    { name: NO_ACCOUNT, role: "user", userId: UNKNOWN_USER, sessionId: null, tokenVersion: 0 },
    ...rows.filter(({ is_holder }) => is_holder).map(({ username }) => user(username, username)),
    user("administrator", "administrator"),
    ...(["authenticator", "service", "worker", "analyst"] as const).map((role) => ({
      name: role,
      role,
      ...none,
    })),
  ];
}
