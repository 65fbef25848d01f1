import type pg from "pg";

// What the catalogue says about tables, with names quoted for SQL.

export interface Column {
  readonly name: string;
  readonly type: string;
  readonly baseType: string;
  readonly isNullable: boolean;
  readonly isDomain: boolean;
  readonly labels: readonly string[] | null;
}
interface Key {
  readonly name: string;
  readonly columns: readonly string[];
}
export interface Reference extends Key {
  readonly target: string;
  readonly targetColumns: readonly string[];
}
export interface Table {
  readonly name: string;
  readonly columns: readonly Column[];
  readonly uniques: readonly Key[];
  readonly checks: readonly Key[];
  readonly references: readonly Reference[];
}

/** Reads the tables of these schemas. */
export async function readTables(client: pg.Client, schemas: readonly string[]): Promise<Table[]> {
  const { rows } = await client.query<Table>(TABLES, [schemas]);
  return rows;
}

const TABLES = `
  with keys as (
    select k.oid, k.conrelid, k.conname::text as name, k.contype, k.confrelid,
      array(select quote_ident(a.attname) from unnest(k.conkey) with ordinality u (n, i)
        join pg_attribute a on a.attrelid = k.conrelid and a.attnum = u.n order by u.i) as columns,
      array(select quote_ident(a.attname) from unnest(k.confkey) with ordinality u (n, i)
        join pg_attribute a on a.attrelid = k.confrelid and a.attnum = u.n order by u.i) as targets,
      pg_get_constraintdef(k.oid) as definition
    from pg_constraint k
    where k.conrelid <> 0
  ),
  columns as (
    select a.attrelid, a.attnum, json_build_object(
      'name', quote_ident(a.attname),
      'type', format_type(a.atttypid, a.atttypmod),
      'baseType', format_type(coalesce(nullif(t.typbasetype, 0), t.oid), null),
      'isNullable', not (a.attnotnull or t.typnotnull),
      'isDomain', t.typbasetype <> 0,
      'labels', coalesce(
        (select json_agg(e.enumlabel order by e.enumsortorder) from pg_enum e where e.enumtypid = t.oid),
        (select json_agg(label[1]) from keys k, regexp_matches(k.definition, '''([^'']+)''::text', 'g') label
          where k.conrelid = a.attrelid and k.contype = 'c' and k.columns = array[quote_ident(a.attname)]
            and t.typcategory = 'S' and k.definition like '%= ANY (ARRAY[%')
      )
    ) as described
    from pg_attribute a
    join pg_type t on t.oid = a.atttypid
    where a.attnum > 0 and not a.attisdropped and a.attgenerated = '' and a.attidentity <> 'a'
  )
  select
    c.oid::regclass::text as name,
    (select json_agg(described order by attnum) from columns where attrelid = c.oid) as columns,
    coalesce((
      select json_agg(json_build_object('name', i.indexrelid::regclass::name, 'columns', array(
        select quote_ident(a.attname) from pg_attribute a
        where a.attrelid = c.oid and a.attnum = any (i.indkey::int2[])
      )))
      from pg_index i where i.indrelid = c.oid and i.indisunique
    ), '[]') as uniques,
    coalesce((select json_agg(k) from keys k where k.conrelid = c.oid and contype = 'c'), '[]') as checks,
    coalesce((
      select json_agg(json_build_object('name', name, 'columns', columns,
        'target', confrelid::regclass::text, 'targetColumns', targets))
      from keys where conrelid = c.oid and contype = 'f'
    ), '[]') as references
  from pg_class c
  where c.relnamespace = any ($1::text[]::regnamespace[]) and c.relkind in ('r', 'p') and not c.relispartition
  order by 1`;
