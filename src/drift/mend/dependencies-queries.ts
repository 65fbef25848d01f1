import { FIRST_NORMAL_OID, FUNCTION_NAME } from "../queries/parts.ts";

const key = (catalogue: string, oid: string, part = "0") =>
  `'${catalogue}'::regclass::oid || ':' || ${oid} || ':' || ${part}`;

const none = "null::text";

/** The objects of the database, named as the comparison of schemas names them. */
export const NODES_QUERY = `
  with relations as (
    select c.*, format('%I.%I', n.nspname, c.relname) as name
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
    where c.oid >= ${FIRST_NORMAL_OID} and c.relkind in ('r', 'p', 'v', 'm', 'S', 'f')
  )
  select ${key("pg_class", "c.oid")} as key,
    case c.relkind
      when 'v' then 'view' when 'm' then 'materialized view' when 'S' then 'sequence' when 'f' then 'foreign table'
      else 'table'
    end as kind,
    c.name, ${none} as "on", ${none} as alias
  from relations c
  union all
  select ${key("pg_class", "i.indexrelid")},
    case when not x.relispartition and not exists (select from pg_constraint k where k.conindid = x.oid and k.contype in ('p', 'u', 'x')) then 'index' end,
    quote_ident(x.relname), c.name, null
  from pg_index i
  join pg_class x on x.oid = i.indexrelid
  join relations c on c.oid = i.indrelid
  union all
  select ${key("pg_class", "c.oid", "a.attnum")},
    case when c.relkind in ('r', 'p', 'f') then 'column' end, quote_ident(a.attname), c.name,
    case when c.relkind in ('v', 'm') then ${key("pg_class", "c.oid")} end
  from relations c
  join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
  union all
  select ${key("pg_attrdef", "d.oid")}, case when a.attgenerated = '' then 'column default' end, quote_ident(a.attname), c.name,
    case when a.attgenerated <> '' then ${key("pg_class", "c.oid", "a.attnum")} end
  from pg_attrdef d
  join relations c on c.oid = d.adrelid
  join pg_attribute a on a.attrelid = d.adrelid and a.attnum = d.adnum
  union all
  select ${key("pg_proc", "p.oid")}, case p.prokind when 'p' then 'procedure' when 'a' then 'aggregate' else 'function' end,
    ${FUNCTION_NAME}, null, null
  from pg_proc p
  join pg_namespace n on n.oid = p.pronamespace
  where p.oid >= ${FIRST_NORMAL_OID}
  union all
  select ${key("pg_type", "t.oid")},
    case when t.typtype = 'd' then 'domain' when t.typtype in ('e', 'r') or c.relkind = 'c' then 'type' end,
    format('%I.%I', n.nspname, t.typname), null, null
  from pg_type t
  join pg_namespace n on n.oid = t.typnamespace
  left join pg_class c on c.oid = t.typrelid
  where t.oid >= ${FIRST_NORMAL_OID}
  union all
  select ${key("pg_constraint", "k.oid")},
    case when k.contype in ('p', 'u', 'c', 'x', 'f') and k.conparentid = 0 and c.oid is not null then 'constraint' end,
    quote_ident(k.conname), c.name, null
  from pg_constraint k
  left join relations c on c.oid = k.conrelid
  union all
  select ${key("pg_trigger", "g.oid")}, case when not g.tgisinternal and g.tgparentid = 0 then 'trigger' end, quote_ident(g.tgname), c.name, null
  from pg_trigger g
  join relations c on c.oid = g.tgrelid
  union all
  select ${key("pg_policy", "k.oid")}, 'policy', quote_ident(k.polname), c.name, null
  from pg_policy k
  join relations c on c.oid = k.polrelid
  union all
  select ${key("pg_rewrite", "k.oid")}, case when k.rulename <> '_RETURN' then 'rule' end, quote_ident(k.rulename), c.name,
    case when k.rulename = '_RETURN' then ${key("pg_class", "c.oid")} end
  from pg_rewrite k
  join relations c on c.oid = k.ev_class
  union all
  select ${key("pg_statistic_ext", "s.oid")}, 'statistics', quote_ident(s.stxname), c.name, null
  from pg_statistic_ext s
  join relations c on c.oid = s.stxrelid
  union all
  select ${key("pg_extension", "e.oid")}, 'extension', quote_ident(e.extname), null, null
  from pg_extension e`;

/** The catalogues whose objects are among the nodes, or vanish silently: a publication loses a dropped table. */
const KNOWN = [
  "pg_class",
  "pg_attrdef",
  "pg_proc",
  "pg_type",
  "pg_constraint",
  "pg_trigger",
  "pg_policy",
  "pg_rewrite",
  "pg_statistic_ext",
  "pg_extension",
  "pg_publication_rel",
];

export const EDGES_QUERY = `
  select classid || ':' || objid || ':' || objsubid as dependent,
    refclassid || ':' || refobjid || ':' || refobjsubid as referenced,
    deptype as type,
    case when classid not in (${KNOWN.map((name) => `'${name}'::regclass`).join(", ")}) then pg_describe_object(classid, objid, objsubid) end
      as description
  from pg_depend
  where refobjid >= ${FIRST_NORMAL_OID} and deptype <> 'x'`;
