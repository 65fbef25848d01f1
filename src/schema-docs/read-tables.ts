import type pg from "pg";
import { withoutTags } from "./catalogued.ts";
import type { Reference, Relation, SchemaModel } from "./model.ts";

/** Reads the tables and views of the schemas, with their foreign keys. */
export async function readTables(
  client: pg.ClientBase,
  schemas: readonly string[],
): Promise<Pick<SchemaModel, "relations" | "references">> {
  const relations = await client.query<Relation>(RELATIONS, [schemas]);
  const references = await client.query<Reference>(REFERENCES, [schemas]);
  return {
    relations: relations.rows.map(({ comment, columns, ...relation }) => ({
      ...relation,
      comment: withoutTags(comment),
      columns: columns.map((column) => ({ ...column, comment: withoutTags(column.comment) })),
    })),
    references: references.rows,
  };
}

const KEYS = (kind: string) => `
  select
    k.conrelid,
    jsonb_agg(
      (
        select jsonb_agg(a.attname order by place.ordinality)
        from unnest(k.conkey) with ordinality as place (number, ordinality)
        join pg_attribute a on a.attrelid = k.conrelid and a.attnum = place.number
      )
      order by k.conname
    ) as keys
  from pg_constraint k
  where k.contype = '${kind}'
  group by k.conrelid`;

const RELATIONS = `
  select
    n.nspname as schema,
    c.relname as name,
    case when c.relkind in ('v', 'm') then 'view' else 'table' end as kind,
    coalesce(obj_description(c.oid, 'pg_class'), '') as comment,
    coalesce(p.keys -> 0, '[]') as "primaryKey",
    coalesce(u.keys, '[]') as "uniqueKeys",
    (
      select jsonb_agg(
        jsonb_build_object(
          'name', a.attname,
          'type', format_type(a.atttypid, a.atttypmod),
          'isRequired', a.attnotnull,
          'default', case when a.attgenerated = '' then pg_get_expr(d.adbin, d.adrelid, true) end,
          'comment', coalesce(col_description(c.oid, a.attnum), '')
        )
        order by a.attnum
      )
      from pg_attribute a
      left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
      where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    ) as columns
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
  left join (${KEYS("p")}) as p on p.conrelid = c.oid
  left join (${KEYS("u")}) as u on u.conrelid = c.oid
  where n.nspname = any ($1)
    and c.relkind in ('r', 'p', 'v', 'm')
    and not c.relispartition
  order by array_position($1, n.nspname), c.relname collate "C"`;

const NAME_OF = (relation: string) => `
  (
    select jsonb_build_object('schema', n.nspname, 'name', c.relname)
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
    where c.oid = k.${relation}
  )`;

const COLUMNS_OF = (relation: string, columns: string) => `
  (
    select jsonb_agg(a.attname order by place.ordinality)
    from unnest(k.${columns}) with ordinality as place (number, ordinality)
    join pg_attribute a on a.attrelid = k.${relation} and a.attnum = place.number
  )`;

const REFERENCES = `
  select
    k.conname as name,
    ${NAME_OF("conrelid")} as "from",
    ${COLUMNS_OF("conrelid", "conkey")} as columns,
    ${NAME_OF("confrelid")} as "to",
    ${COLUMNS_OF("confrelid", "confkey")} as "toColumns",
    case k.confdeltype
      when 'c' then 'cascade' when 'n' then 'set null' when 'r' then 'restrict' when 'd' then 'set default' else 'no action'
    end as "onDelete",
    exists (
      select
      from pg_index i
      where i.indrelid = k.conrelid
        and i.indisunique
        and i.indpred is null
        and (i.indkey::int2[])[0:i.indnkeyatts - 1] <@ k.conkey
    ) as "isUnique"
  from pg_constraint k
  join pg_class c on c.oid = k.conrelid and not c.relispartition
  join pg_namespace n on n.oid = c.relnamespace
  where k.contype = 'f'
    and k.conparentid = 0
    and n.nspname = any ($1)
  order by array_position($1, n.nspname), c.relname collate "C", k.conname collate "C"`;
