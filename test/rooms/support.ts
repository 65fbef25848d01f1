import { SOME_HASH } from "../support/accounts.ts";
import { connectAs } from "../support/chat.ts";
import { type TestDatabase, withClient } from "../support/database.ts";

/** A person with a connection of their own; each call is a transaction as in the API. */
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
  const { rows, end } = await connectAs(db, id);
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
    close: end,
  };
}

/** Creates accounts by name as the owner; returns ids in the order of the names. */
export async function makeUsers(db: TestDatabase, names: readonly string[]): Promise<string[]> {
  return withClient(db.url("owner"), async (client) => {
    const { rows } = await client.query<{ id: string }>(
      `select private.register_user(name, null, null, $2, 'argon2id') as id
       from unnest($1::text[]) with ordinality n (name, i) order by i`,
      [names, SOME_HASH],
    );
    return rows.map(({ id }) => id);
  });
}
