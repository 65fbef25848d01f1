// Parts of the queries. Each query selects kind, name, "on" and properties; its parameters are the schemas, the labels of roles by
// oid, and the oid of the owner.

/** Selects properties without those that are null: the usual value of a property is null. */
export function properties(columns: Readonly<Record<string, string>>): string {
  const pairs = Object.entries(columns).map(([name, sql]) => `'${name}', ${sql}`);
  return `jsonb_strip_nulls(jsonb_build_object(${pairs.join(", ")})) as properties`;
}

export function flag(condition: string): string {
  return `case when ${condition} then 'yes' end`;
}

/** The label of a role: a placeholder of the migrations, `public`, or its name. */
export function label(oid: string): string {
  return `coalesce($2::jsonb ->> (${oid})::text, (${oid})::text)`;
}

/** Null for the owner of nearly everything. */
export function otherOwner(oid: string): string {
  return `case when ${oid} <> $3::oid then ${label(oid)} end`;
}

/** The comment, if it contains smart tags: these change the API. */
export function tagged(comment: string): string {
  return `case when ${comment} like '%@%' then ${comment} end`;
}

/** The extensions of Plinth: all their functions are written in C. */
const OWN_EXTENSIONS = "('btree_gin', 'btree_gist', 'pg_trgm')";

/**
 * The functions of extensions, and those of range types. A function that was only added to an extension of Plinth (`alter extension …
 * add function`) is not one: it would be hidden.
 */
const IS_FUNCTION_OF_EXTENSION = `exists (
  select
  from pg_depend d
  left join pg_extension e on d.refclassid = 'pg_extension'::regclass and e.oid = d.refobjid
  where d.classid = 'pg_proc'::regclass
    and d.objid = p.oid
    and (
      d.deptype = 'i'
      or d.deptype = 'e' and (e.extname not in ${OWN_EXTENSIONS} or p.prolang = (select oid from pg_language where lanname = 'c'))
    )
)`;

/** Types that are written with `create type` or `create domain`, without those of extensions. */
export const IS_OWN_TYPE = `(
  (t.typtype in ('e', 'd', 'r') or t.typtype = 'c' and exists (
    select from pg_class tc where tc.oid = t.typrelid and tc.relkind = 'c'
  ))
  and not exists (
    select from pg_depend d where d.classid = 'pg_type'::regclass and d.objid = t.oid and d.deptype = 'e'
  )
)`;

export const FUNCTION_NAME = `format('%I.%I(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid))`;

/** The first object that a superuser or an owner created, and not initdb. */
export const FIRST_NORMAL_OID = 16_384;

/**
 * The functions of the schemas; functions that were planted in the system's schemas; and functions outside the schemas that run
 * machine code, unless an extension brought them.
 */
export const FUNCTIONS = `
  from pg_proc p
  join pg_namespace n on n.oid = p.pronamespace
  join pg_language l on l.oid = p.prolang
  where not ${IS_FUNCTION_OF_EXTENSION}
    and (
      n.nspname = any ($1)
      or p.oid >= ${FIRST_NORMAL_OID} and (n.nspname in ('pg_catalog', 'information_schema') or l.lanname in ('c', 'internal'))
    )`;

/** Begins a query: `relations` are those of the schemas, and those elsewhere that inherit from them. */
export const WITH_RELATIONS = `
  with given as (select $1::text[], $2::jsonb, $3::oid),
  relations as (
    select c.*, n.nspname, format('%I.%I', n.nspname, c.relname) as name
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p', 'v', 'm', 'S', 'f')
      and (
        n.nspname = any ($1)
        or c.relpersistence <> 't' and exists (
          select
          from pg_inherits i
          join pg_class parent on parent.oid = i.inhparent
          join pg_namespace pn on pn.oid = parent.relnamespace
          where i.inhrelid = c.oid and c.relkind <> 'i' and pn.nspname = any ($1)
        )
      )
  )`;
