import type { Reader } from "./reader.ts";

/** A row of a table that has an id. */
interface RowId {
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
export async function readRows(reader: Reader, actors: Iterable<string>): Promise<Rows> {
  const columns = await reader.all<IdColumn>(ID_COLUMNS);
  const all = await reader.all<RowId>(idsIn(columns.filter(({ column }) => column === "id")));
  const known = new Map<string, ReadonlySet<string>>();
  for (const actor of actors) {
    const readable = await reader.as<IdColumn>(
      actor,
      `select * from (${ID_COLUMNS} offset 0) c
       where has_schema_privilege(c.schema_id, 'usage') and has_column_privilege(c.table_id, c.column, 'select')`,
    );
    const ids = await reader.as<RowId>(actor, idsIn(readable));
    known.set(actor, new Set(ids.map(keyOf)));
  }

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
  reader: Reader,
  actors: Iterable<string>,
  select: string,
): Promise<(actor: string, key: unknown) => boolean> {
  const seen = new Map<string, ReadonlySet<string>>();
  for (const actor of actors) {
    const rows = await reader.as<{ key: unknown }>(actor, select);
    seen.set(actor, new Set(rows.map(({ key }) => JSON.stringify(key))));
  }
  return (actor, key) => seen.get(actor)!.has(JSON.stringify(key));
}

const keyOf = ({ table, id }: RowId) => `${table} ${id}`;

function idsIn(columns: readonly IdColumn[]): string {
  const selects = columns.map(
    ({ table, column, target }) => `select '${target}' as table, ${column}::text as id from ${table}`,
  );
  return `${selects.join(" union ")} order by 1, 2`;
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
