import type pg from "pg";

export interface ManyRows {
  /** Number of the last copy. */
  readonly rows: number;
  /** Number of the copies that are there already. */
  readonly after?: number;
  /** Number of copies that share a parent or an owner; the first ones have those of the copied row. */
  readonly together: number;
  /** Condition for the row to copy, in SQL over `t`. */
  readonly like: string;
}

/**
 * Adds rows to a table, whichever it is: copies of one row, with other values in its keys and references. Drops the table's
 * other rules first, so the database is good only for measuring afterwards.
 * @param owner connection of the role that owns the table
 */
export async function addManyRows(owner: pg.ClientBase, table: string, options: ManyRows): Promise<number> {
  const { rows: columns } = await owner.query<Column>(COLUMNS, [table]);
  const { rows: rules } = await owner.query<{ statement: string }>(RULES, [table]);
  for (const { statement } of rules) await owner.query(statement);
  const names = columns.map(({ name }) => name).join(", ");
  const values = columns.map((column) => copyOf(column, options.together)).join(", ");
  const { rowCount } = await owner.query(
    `insert into ${table} (${names})
     select ${values} from (select * from ${table} t where ${options.like} order by tableoid, ctid limit 1) t,
       generate_series(${(options.after ?? 0) + 1}, ${options.rows}) i
     on conflict do nothing`,
  );
  await owner.query(`vacuum analyze ${table}`);
  return rowCount ?? 0;
}

interface Column {
  readonly name: string;
  readonly type: string;
  readonly isReference: boolean;
  /** Whether rows would conflict if they had the same value here. */
  readonly isKey: boolean;
}

/** The value of the copy number `i`. */
function copyOf({ name, type, isReference, isKey }: Column, together: number): string {
  const value = `t.${name}`;
  if (isKey) return KEYS[type]?.(value) ?? `(${value}::text || i)::${type}`;
  if (isReference && type === "uuid")
    return `case when ${value} is null or i <= ${together} then ${value} else ${uuid(`i / ${together}`)} end`;
  if (name === "created_at" || name === "updated_at") return earlier(value);
  return value;
}

/** A second earlier for each copy, but in the same month: partitions would divide the rows, and PostgreSQL reads a small one whole. */
function earlier(value: string): string {
  return `greatest(${value} - i * interval '1 second', date_trunc('month', ${value}, 'UTC') + i * interval '1 microsecond')`;
}

const uuid = (n: string) => `('00000000-0000-7000-9000-' || lpad(to_hex(${n}), 12, '0'))::uuid`;

const KEYS: Readonly<Record<string, (value: string) => string>> = {
  uuid: () => uuid("i"),
  integer: (value) => `${value} + i`,
  smallint: (value) => `((${value} + i) % 32768)::smallint`,
  // A table with one row stays such a table.
  boolean: (value) => value,
  bigint: (value) => `${value} + i`,
  date: (value) => `${value} - i`,
  "timestamp with time zone": earlier,
};

/** A key of references only has one that differs for each row: its last, which is never the owner's. */
const COLUMNS = `
  with referring as (
    select unnest(k.conkey) as attnum from pg_constraint k where k.conrelid = $1::regclass and k.contype = 'f'
    union select a.attnum from pg_attribute a where a.attrelid = $1::regclass and a.attname in ('user_id', 'author_id', 'owner_id')
  ),
  keys as (
    select i.indexrelid, array(select k from unnest(i.indkey) k where k > 0 and k not in (select attnum from referring)) as own,
      array(
        select k from unnest(i.indkey) with ordinality x (k, n) join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k
        order by a.attname in ('user_id', 'author_id', 'owner_id') desc, n
      ) as refs
    from pg_index i where i.indrelid = $1::regclass and i.indisunique
  )
  select quote_ident(a.attname) as name, format_type(coalesce(nullif(t.typbasetype, 0), t.oid), null) as type,
    a.attnum in (select attnum from referring) as "isReference",
    exists (
      select from keys
      where a.attnum = any (own) or own = '{}' and a.attnum = refs[cardinality(refs)]
    ) as "isKey"
  from pg_attribute a
  join pg_type t on t.oid = a.atttypid
  where a.attrelid = $1::regclass and a.attnum > 0 and not a.attisdropped and a.attgenerated = '' and a.attidentity <> 'a'
  order by a.attnum`;

const RULES = `
  select format('alter table %s disable trigger user', $1::regclass) as statement
  union all
  select format('alter table %s drop constraint %I', k.conrelid::regclass, k.conname)
  from pg_constraint k
  where k.conrelid = $1::regclass and k.contype in ('c', 'f', 'x') and k.conparentid = 0 and k.coninhcount = 0
  union all
  select format('create table if not exists %s_of_any_time partition of %1$s default', p.partrelid::regclass)
  from pg_partitioned_table p
  where p.partrelid = $1::regclass and p.partdefid = 0`;
