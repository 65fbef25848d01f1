import type pg from "pg";
import { DOMAINS, type Domains, domainsWith } from "./domains.ts";

/** The tables and views of a database, for pictures. */
export interface SchemaModel {
  /** Names the DBML file. */
  readonly project: string;
  readonly domains: Domains;
  /** The schemas that have a picture of their own. The tables of others are only those that are referred to. */
  readonly drawn: readonly string[];
  readonly relations: readonly Relation[];
  readonly references: readonly Reference[];
}

export interface Relation {
  readonly schema: string;
  readonly name: string;
  readonly kind: "table" | "view";
  readonly comment: string;
  readonly columns: readonly Column[];
  /** Columns of the primary key. */
  readonly primaryKey: readonly string[];
  readonly uniqueKeys: readonly (readonly string[])[];
}

export interface Column {
  readonly name: string;
  readonly type: string;
  readonly isRequired: boolean;
  readonly default: string | null;
  readonly comment: string;
}

/** A foreign key. */
export interface Reference {
  readonly name: string;
  readonly from: RelationName;
  readonly columns: readonly string[];
  readonly to: RelationName;
  readonly toColumns: readonly string[];
  readonly onDelete: string;
  /** Whether at most one row references each row. */
  readonly isUnique: boolean;
}

export interface RelationName {
  readonly schema: string;
  readonly name: string;
}

/**
 * Reads the model of Plinth's schemas from the catalogue of a migrated database. Partitions are omitted, because they depend on
 * the date.
 * @param client connected as the owner
 */
export async function readSchemaModel(client: pg.ClientBase): Promise<SchemaModel> {
  const drawn = [...DOMAINS.keys()];
  return { project: "plinth", domains: DOMAINS, drawn, ...(await readTables(client, drawn)) };
}

/** The same for the schemas of an application, with the keys of the tables in other schemas that its tables refer to. */
export async function readApplicationModel(
  client: pg.ClientBase,
  schemas: readonly string[],
): Promise<SchemaModel> {
  const own = await readTables(client, schemas);
  const keysOf = new Map<string, Set<string>>();
  for (const { to, toColumns } of own.references) {
    const name = `${to.schema}.${to.name}`;
    keysOf.set(name, new Set([...(keysOf.get(name) ?? []), ...toColumns]));
  }
  const others = [...new Set(own.references.map(({ to }) => to.schema))]
    .filter((schema) => !schemas.includes(schema))
    .sort();
  const outside = (await readTables(client, others)).relations.flatMap((relation) => {
    const keys = keysOf.get(`${relation.schema}.${relation.name}`);
    return keys ? [onlyKeys(relation, keys)] : [];
  });
  return {
    project: "application",
    domains: domainsWith(schemas, others),
    drawn: schemas,
    relations: [...own.relations, ...outside],
    references: own.references,
  };
}

const onlyKeys = (relation: Relation, keys: ReadonlySet<string>): Relation => {
  const isKept = (name: string) => keys.has(name) || relation.primaryKey.includes(name);
  return {
    ...relation,
    columns: relation.columns.filter(({ name }) => isKept(name)),
    uniqueKeys: relation.uniqueKeys.filter((key) => key.every(isKept)),
  };
};

async function readTables(
  client: pg.ClientBase,
  schemas: readonly string[],
): Promise<Pick<SchemaModel, "relations" | "references">> {
  const relations = await client.query<Relation>(RELATIONS, [schemas]);
  const references = await client.query<Reference>(REFERENCES, [schemas]);
  return { relations: relations.rows, references: references.rows };
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
