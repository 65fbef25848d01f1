import type pg from "pg";
import { roleName } from "../../../src/config/roles.ts";
import type { Actor } from "../access-seed.ts";
import { type TestDatabase, withClient } from "../database.ts";

/** A row of a table that has an id. */
export interface RowId {
  /** `schema.table` */
  readonly table: string;
  readonly id: string;
}

export interface Rows {
  readonly all: readonly RowId[];
  /** Tables that a column of this name refers to, or whose name ends with it. */
  tablesOf(argument: string): readonly string[];
  /** Whether the actor reads the row, or its id in a row that refers to it. */
  knows(actor: string, row: RowId): boolean;
}

/** A column that holds ids of a table. */
interface IdColumn {
  readonly table: string;
  readonly column: string;
  readonly target: string;
}

/** Reads the ids of all rows, and which of them each actor knows. */
export async function readRows(db: TestDatabase, actors: ReadonlyMap<string, Actor>): Promise<Rows> {
  const { all, columns } = await withClient(db.url("owner"), async (owner) => {
    const found = (await owner.query<IdColumn>(ID_COLUMNS)).rows;
    return {
      all: await idsIn(
        owner,
        found.filter(({ column }) => column === "id"),
      ),
      columns: found,
    };
  });
  const known = new Map<string, ReadonlySet<string>>();
  await withClient(db.url("authenticator"), async (client) => {
    for (const [name, actor] of actors) {
      await client.query("begin");
      await become(client, db, actor);
      const readable = await client.query<IdColumn>(
        `select * from (${ID_COLUMNS} offset 0) c
         where has_schema_privilege(c.schema_id, 'usage') and has_column_privilege(c.table_id, c.column, 'select')`,
      );
      const ids = await idsIn(client, readable.rows);
      await client.query("rollback");
      known.set(name, new Set(ids.map(keyOf)));
    }
  });

  return {
    all,
    tablesOf(argument) {
      const name = argument.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
      const targets = columns.filter(({ column }) => column !== "id" && column === name);
      if (targets.length > 0) return [...new Set(targets.map(({ target }) => target))];
      const ending = new RegExp(`[._]${name.replace(/_id$/, "")}s$`);
      return [...new Set(all.map(({ table }) => table))].filter((table) => ending.test(table));
    },
    knows: (actor, row) => known.get(actor)!.has(keyOf(row)),
  };
}

/** Runs a query for `key` as each actor; returns whether an actor's result has a key. */
export async function readKeys(
  db: TestDatabase,
  actors: ReadonlyMap<string, Actor>,
  select: string,
): Promise<(actor: string, key: unknown) => boolean> {
  const seen = new Map<string, ReadonlySet<string>>();
  await withClient(db.url("authenticator"), async (client) => {
    for (const [name, actor] of actors) {
      await client.query("begin");
      await become(client, db, actor);
      const { rows } = await client.query<{ key: unknown }>(select).catch((error) => {
        if (error.code === "42501") return { rows: [] };
        throw error;
      });
      await client.query("rollback");
      seen.set(name, new Set(rows.map(({ key }) => JSON.stringify(key))));
    }
  });
  return (actor, key) => seen.get(actor)!.has(JSON.stringify(key));
}

/** Makes the transaction of the authenticator one of the actor. */
async function become(client: pg.ClientBase, db: TestDatabase, { userId }: Actor): Promise<void> {
  await client.query("select set_config('role', $1, true), set_config('jwt.claims.user_id', $2, true)", [
    roleName(db.rolePrefix, userId ? "user" : "anonymous"),
    userId ?? "",
  ]);
}

const keyOf = ({ table, id }: RowId) => `${table} ${id}`;

async function idsIn(client: pg.ClientBase, columns: readonly IdColumn[]): Promise<RowId[]> {
  const selects = columns.map(
    ({ table, column, target }) => `select '${target}' as table, ${column}::text as id from ${table}`,
  );
  return (await client.query<RowId>(`${selects.join(" union ")} order by 1, 2`)).rows;
}

const SCHEMAS = "'{access,billing,identity,learning,llm,rooms,security}'::text[]::regnamespace[]";

const ID_COLUMNS = `
  with tables as (
    select c.oid as table_id, n.oid as schema_id, format('%I.%I', n.nspname, c.relname) as table
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
    where n.oid = any (${SCHEMAS}) and c.relkind in ('r', 'p') and not c.relispartition
  )
  select t.*, 'id' as column, t.table as target
  from tables t
  join pg_attribute a on a.attrelid = t.table_id and a.attname = 'id' and a.atttypid = 'uuid'::regtype
  union
  select t.*, quote_ident(a.attname), o.table
  from pg_constraint k
  join tables t on t.table_id = k.conrelid
  join tables o on o.table_id = k.confrelid
  cross join lateral unnest(k.conkey, k.confkey) as pair (own, other)
  join pg_attribute a on a.attrelid = k.conrelid and a.attnum = pair.own
  join pg_attribute b on b.attrelid = k.confrelid and b.attnum = pair.other and b.attname = 'id'
  where k.contype = 'f'`;
