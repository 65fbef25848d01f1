import type pg from "pg";
import { HISTORY_SCHEMAS } from "../database/history.ts";
import { JOB_SCHEMA } from "../database/schemas.ts";

interface Column {
  readonly name: string;
  readonly type: string;
  /** An update cannot set it. */
  readonly isFixed: boolean;
}

export interface Table {
  /** Such as rooms.chat_rooms, quoted where SQL needs it. */
  readonly name: string;
  /** Without generated columns, which PostgreSQL computes. */
  readonly columns: readonly Column[];
  /** The columns of the primary key; empty without one. */
  readonly key: readonly string[];
  /** Identity columns, whose sequences must stay ahead of their values. */
  readonly identities: readonly string[];
}

/** A foreign key, or a column that names an account without one. */
export interface Reference {
  readonly table: string;
  readonly columns: readonly string[];
  readonly target: string;
  readonly targetColumns: readonly string[];
  /** Deleting the target deletes the row (owned), clears the columns (cleared) or fails (blocked). */
  readonly onDelete: "owned" | "cleared" | "blocked";
  /** The columns that are cleared. */
  readonly clears: readonly string[];
}

export interface Catalogue {
  readonly tables: ReadonlyMap<string, Table>;
  readonly references: readonly Reference[];
}

/** Reads the tables and references of a database. Partitions belong to their parents. */
export async function readCatalogue(client: pg.ClientBase): Promise<Catalogue> {
  const outside = [...HISTORY_SCHEMAS, JOB_SCHEMA];
  const { rows } = await client.query<Table>(TABLES, [outside]);
  const tables = new Map(rows.map((table) => [table.name, table]));
  const references = await client.query<Reference>(REFERENCES, [outside]);
  return { tables, references: references.rows };
}

const IS_TABLE = `c.relkind in ('r', 'p') and not c.relispartition and n.nspname !~ '^pg_' and n.nspname <> all ($1)
  and n.nspname <> 'information_schema'`;

const TABLES = `
  select
    format('%I.%I', n.nspname, c.relname) as name,
    (
      select json_agg(json_build_object(
        'name', a.attname, 'type', format_type(a.atttypid, a.atttypmod), 'isFixed', a.attidentity = 'a'
      ) order by a.attnum)
      from pg_attribute a
      where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
    ) as columns,
    array(
      select a.attname::text
      from pg_index i
      cross join unnest(i.indkey::int2[]) with ordinality k (attnum, position)
      join pg_attribute a on a.attrelid = c.oid and a.attnum = k.attnum
      where i.indrelid = c.oid and i.indisprimary
      order by k.position
    ) as key,
    array(
      select a.attname::text from pg_attribute a
      where a.attrelid = c.oid and a.attidentity <> '' and not a.attisdropped
    ) as identities
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where ${IS_TABLE}
  order by 1`;

const NAMES = (relation: string, numbers: string) => `array(
  select a.attname::text
  from unnest(${numbers}) with ordinality k (attnum, position)
  join pg_attribute a on a.attrelid = ${relation} and a.attnum = k.attnum
  order by k.position
)`;

const REFERENCES = `
  select
    format('%I.%I', n.nspname, c.relname) as table,
    ${NAMES("f.conrelid", "f.conkey")} as columns,
    format('%I.%I', tn.nspname, t.relname) as target,
    ${NAMES("f.confrelid", "f.confkey")} as "targetColumns",
    case f.confdeltype when 'c' then 'owned' when 'n' then 'cleared' else 'blocked' end as "onDelete",
    case when f.confdeltype = 'n' then ${NAMES("f.conrelid", "coalesce(f.confdelsetcols, f.conkey)")} else '{}' end as clears
  from pg_constraint f
  join pg_class c on c.oid = f.conrelid join pg_namespace n on n.oid = c.relnamespace
  join pg_class t on t.oid = f.confrelid join pg_namespace tn on tn.oid = t.relnamespace
  where f.contype = 'f' and f.conparentid = 0 and ${IS_TABLE}
  union all
  -- Some tables name an account without a foreign key, because it would cost too much; see billing.forget_usage_account.
  select format('%I.%I', n.nspname, c.relname), array[a.attname::text], 'identity.users', array['id'],
    case c.oid when 'billing.token_holds'::regclass then 'owned' else 'cleared' end, array[a.attname::text]
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
  join pg_attribute a on a.attrelid = c.oid and a.attname = 'user_id' and a.atttypid = 'uuid'::regtype and not a.attisdropped
  where ${IS_TABLE}
    and not exists (
      select from pg_constraint f where f.conrelid = c.oid and f.contype = 'f' and a.attnum = any (f.conkey)
    )
  order by 1, 2, 3`;
