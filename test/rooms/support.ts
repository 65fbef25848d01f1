import pg from "pg";
import { asRole, type TestDatabase, withClient } from "../support/database.ts";

/** A person with a connection of their own, each call of whom is a transaction as the API makes it. */
export interface Person {
  readonly id: string;
  /** Runs a statement and returns its rows. */
  rows<Row extends object = Record<string, unknown>>(sql: string, params?: unknown[]): Promise<Row[]>;
  /** The first row's first column. */
  value<Value = string>(sql: string, params?: unknown[]): Promise<Value>;
  /** `select * from rooms.<name>(…)`; returns its first row. */
  call<Row extends object = Record<string, unknown>>(
    name: string,
    args: Record<string, unknown>,
  ): Promise<Row>;
  close(): Promise<void>;
}

export async function connectPerson(db: TestDatabase, id: string): Promise<Person> {
  const client = new pg.Client({
    connectionString: db.url("authenticator"),
    application_name: "plinth tests",
  });
  client.on("error", () => {});
  await client.connect();
  async function rows<Row extends object>(sql: string, params?: unknown[]): Promise<Row[]> {
    await client.query("begin");
    try {
      await asRole(client, { name: "user", prefix: db.rolePrefix }, { user_id: id });
      const result = await client.query(sql, params);
      await client.query("commit");
      return result.rows as Row[];
    } catch (error) {
      await client.query("rollback");
      throw error;
    }
  }
  return {
    id,
    rows,
    async value<Value>(sql: string, params?: unknown[]) {
      const [row] = await rows<Record<string, Value>>(sql, params);
      return Object.values(row ?? {})[0] as Value;
    },
    async call<Row extends object>(name: string, args: Record<string, unknown>) {
      const names = Object.keys(args);
      const list = names.map((arg, i) => `${arg} => $${i + 1}`).join(", ");
      const [row] = await rows<Row>(`select * from rooms.${name}(${list})`, Object.values(args));
      return row as Row;
    },
    close: () => client.end(),
  };
}

/** Accounts by name, as the owner makes them; returns ids in the order of the names. */
export async function makeUsers(db: TestDatabase, names: readonly string[]): Promise<string[]> {
  return withClient(db.url("owner"), async (client) => {
    const { rows } = await client.query<{ id: string }>(
      `select private.register_user(name, null, null,
         '$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNo', 'argon2id') as id
       from unnest($1::text[]) with ordinality n (name, i) order by i`,
      [names],
    );
    return rows.map(({ id }) => id);
  });
}

/** Runs a statement as the owner, whom no policy stops. */
export async function asOwner<Row extends object = Record<string, unknown>>(
  db: TestDatabase,
  sql: string,
  params?: unknown[],
): Promise<Row[]> {
  return withClient(db.url("owner"), async (client) => (await client.query(sql, params)).rows as Row[]);
}
