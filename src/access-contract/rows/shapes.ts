import type pg from "pg";

/** A column, as far as a row needs a value for it. */
export interface ShapeColumn {
  readonly name: string;
  /** As a cast writes it. */
  readonly type: string;
  /** Of a domain the type below it, of an array that of its elements. */
  readonly base: string;
  readonly isArray: boolean;
  readonly labels: readonly string[] | null;
  /** The number in the type: `varchar(3)`, `vector(8)`. */
  readonly size: number | null;
  readonly domain: string | null;
  readonly isRequired: boolean;
  /** Whether it holds the id of a user without a foreign key: user_id, or a column with the tag @userId. */
  readonly isUser: boolean;
  /** The conditions that constrain it, of the table and of its domain. */
  readonly conditions: readonly string[];
}

/** A table whose rows can be made. */
export interface Shape {
  /** `schema.name`, as SQL. */
  readonly name: string;
  readonly columns: readonly ShapeColumn[];
  readonly references: readonly {
    readonly table: string;
    readonly columns: readonly string[];
    readonly foreign: readonly string[];
  }[];
  /** Columns of each CHECK constraint and unique index, by its name. */
  readonly rules: Readonly<Record<string, readonly string[]>>;
}

/** The tables of all schemas that hold tables of Plinth or of the application. The search path is empty, so that names have schemas. */
export async function readShapes(
  client: pg.ClientBase,
  schemas: readonly string[],
): Promise<ReadonlyMap<string, Shape>> {
  const { rows } = await client.query<Shape>(SHAPES, [schemas]);
  return new Map(rows.map((shape) => [shape.name, shape]));
}

const NAMES = (relation: string, numbers: string) => `(
  select jsonb_agg(a.attname order by u.n)
  from unnest(${numbers}) with ordinality u (attnum, n)
  join pg_attribute a on a.attrelid = ${relation} and a.attnum = u.attnum
)`;

const SHAPES = `
select
  c.oid::regclass::text as name,
  coalesce((
    select jsonb_agg(jsonb_build_object(
      'name', a.attname,
      'type', format_type(a.atttypid, a.atttypmod),
      'base', format_type(coalesce(e.oid, b.oid), null),
      'isArray', e.oid is not null,
      'labels', (select jsonb_agg(l.enumlabel order by l.enumsortorder) from pg_enum l where l.enumtypid = coalesce(e.oid, b.oid)),
      'size', substring(format_type(b.oid, coalesce(nullif(t.typtypmod, -1), a.atttypmod)) from '\\((\\d+)')::integer,
      'domain', case when t.typtype = 'd' then t.typname end,
      'isRequired', (a.attnotnull or t.typnotnull) and not a.atthasdef and a.attidentity = '' and t.typdefault is null,
      'isUser', b.oid = 'uuid'::regtype
        and (a.attname = 'user_id' or coalesce(col_description(c.oid, a.attnum), '') ~ '(?n)^@userId\\M'),
      'conditions', array(
        select pg_get_constraintdef(k.oid)
        from pg_constraint k
        where k.contype = 'c' and (k.conrelid = c.oid and a.attnum = any (k.conkey) or t.typtype = 'd' and k.contypid = t.oid)
        order by k.conname
      )
    ) order by a.attnum)
    from pg_attribute a
    join pg_type t on t.oid = a.atttypid
    join pg_type b on b.oid = coalesce(nullif(t.typbasetype, 0), t.oid)
    left join pg_type e on e.oid = b.typelem and b.typcategory = 'A'
    where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = '' and a.attidentity <> 'a'
  ), '[]') as columns,
  coalesce((
    select jsonb_agg(jsonb_build_object(
      'table', k.confrelid::regclass::text,
      'columns', ${NAMES("k.conrelid", "k.conkey")},
      'foreign', ${NAMES("k.confrelid", "k.confkey")}
    ) order by k.conname)
    from pg_constraint k
    where k.conrelid = c.oid and k.contype = 'f' and k.conparentid = 0
  ), '[]') as references,
  coalesce((
    select jsonb_object_agg(r.name, r.columns)
    from (
      select k.conname as name, ${NAMES("c.oid", "k.conkey")} as columns
      from pg_constraint k where k.conrelid = c.oid and k.contype = 'c'
      union all
      select x.relname, ${NAMES("c.oid", "i.indkey::int2[]")}
      from pg_index i join pg_class x on x.oid = i.indexrelid where i.indrelid = c.oid and i.indisunique
    ) r
    where r.columns is not null
  ), '{}') as rules
from pg_class c
join pg_namespace n on n.oid = c.relnamespace
where n.nspname = any ($1) and c.relkind in ('r', 'p') and not c.relispartition
order by c.oid::regclass::text collate "C"`;
