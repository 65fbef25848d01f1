import pg from "pg";
import { type Role, roleName } from "../../src/config/roles.ts";
import { withClient } from "./client.ts";
import type { TestDatabase } from "./database.ts";

/** The claims of an access token that SQL reads; see plinth.current_user_id(). */
interface Claims {
  user_id?: string | null;
  session_id?: string | null;
}

/** A transaction that is always rolled back and can act as several people in turn. */
export interface Transaction {
  readonly client: pg.Client;
  /** Runs a statement and returns its rows. An error ends the transaction; see attempt(). */
  rows<Row extends object = Record<string, unknown>>(sql: string, params?: unknown[]): Promise<Row[]>;
  /** As rows(), but an error undoes only this statement, so that the test can go on. */
  attempt<Row extends object = Record<string, unknown>>(sql: string, params?: unknown[]): Promise<Row[]>;
  /** The API's user role with these claims; null for a token without a user. */
  asUser(userId: string | null, sessionId?: string | null): Promise<void>;
  asAnonymous(): Promise<void>;
  asService(): Promise<void>;
  asWorker(): Promise<void>;
  asAnalyst(): Promise<void>;
  asOwner(): Promise<void>;
  /** Sets a value until the end of the transaction, such as plinth.client_ip. */
  set(name: string, value: string): Promise<void>;
}

/**
 * Runs a test inside a transaction that is always rolled back. It starts as the owner. Each as…() gives the session the
 * state that it would have if that role had logged in (for the API's roles: if the authenticator had become them).
 */
export async function inRolledBackTransaction<T>(
  db: TestDatabase,
  use: (transaction: Transaction) => Promise<T>,
): Promise<T> {
  return withClient(db.adminUrl, async (client) => {
    try {
      await client.query("begin");
      const transaction = makeTransaction(client, db);
      await transaction.asOwner();
      return await use(transaction);
    } finally {
      await client.query("rollback");
    }
  });
}

function makeTransaction(client: pg.Client, db: TestDatabase): Transaction {
  const rows = async <Row extends object>(sql: string, params?: unknown[]) =>
    (await client.query<Row & pg.QueryResultRow>(sql, params)).rows as Row[];
  const become = async (role: Role, claims: Claims = {}) => {
    await logIn(client, db, role === "user" || role === "anonymous" ? "authenticator" : role);
    if (role === "user" || role === "anonymous")
      await setLocal(client, "role", roleName(db.rolePrefix, role));
    await setClaims(client, claims);
  };
  return {
    client,
    rows,
    async attempt<Row extends object>(sql: string, params?: unknown[]) {
      await client.query("savepoint attempt");
      try {
        const result = await rows<Row>(sql, params);
        await client.query("release savepoint attempt");
        return result;
      } catch (error) {
        await client.query("rollback to savepoint attempt");
        throw error;
      }
    },
    asUser: (userId, sessionId) => become("user", { user_id: userId, session_id: sessionId ?? null }),
    asAnonymous: () => become("anonymous"),
    asService: () => become("service"),
    asWorker: () => become("worker"),
    asAnalyst: () => become("analyst"),
    asOwner: () => become("owner"),
    set: (name, value) => setLocal(client, name, value),
  };
}

/**
 * Turns the session into one of another login role. A superuser can do so without any difference; another role does so
 * through membership. A login applies the role's settings in this database, so they are set too.
 */
async function logIn(client: pg.Client, db: TestDatabase, role: Role): Promise<void> {
  const name = roleName(db.rolePrefix, role);
  const quoted = pg.escapeIdentifier(name);
  if (db.adminIsSuperuser) await client.query(`set local session authorization ${quoted}`);
  else await client.query(`reset role; set local role ${quoted}`);
  const { rows } = await client.query<{ path: string }>(
    `select coalesce(
       (
         select substr(setting, length('search_path=') + 1)
         from pg_db_role_setting s
         join pg_database d on d.oid = s.setdatabase and d.datname = current_database()
         cross join unnest(s.setconfig) setting
         where s.setrole = to_regrole(quote_ident($1)) and setting like 'search\\_path=%'
       ),
       '"$user", public'
     ) as path`,
    [name],
  );
  await setLocal(client, "search_path", rows[0]!.path);
}

/**
 * Makes the rest of a transaction of the authenticator one of the anonymous or the user role, as the API does for each
 * request.
 */
export async function asRole(
  client: pg.ClientBase,
  role: { name: "anonymous" | "user"; prefix: string },
  claims: Claims = {},
): Promise<void> {
  await setLocal(client, "role", roleName(role.prefix, role.name));
  await setClaims(client, claims);
}

async function setClaims(client: pg.ClientBase, claims: Claims): Promise<void> {
  await setLocal(client, "jwt.claims.user_id", claims.user_id ?? "");
  await setLocal(client, "jwt.claims.session_id", claims.session_id ?? "");
}

async function setLocal(client: pg.ClientBase, name: string, value: string): Promise<void> {
  await client.query("select pg_catalog.set_config($1, $2, true)", [name, value]);
}
