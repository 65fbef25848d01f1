import { flag, label, otherOwner, properties, tagged, WITH_RELATIONS } from "./parts.ts";

const PARENTS = `(
  select string_agg(format('%I.%I', pn.nspname, p.relname), ', ' order by i.inhseqno)
  from pg_inherits i
  join pg_class p on p.oid = i.inhparent
  join pg_namespace pn on pn.oid = p.relnamespace
  where i.inhrelid = c.oid
)`;

const COMMENT = "obj_description(c.oid, 'pg_class')";

export const SCHEMAS_QUERY = `
  ${WITH_RELATIONS}
  select 'schema' as kind, quote_ident(n.nspname) as name, null as "on",
    ${properties({ owner: otherOwner("n.nspowner"), tags: tagged("obj_description(n.oid, 'pg_namespace')") })}
  from pg_namespace n
  where n.nspname = any ($1)`;

export const RELATIONS_QUERY = `
  ${WITH_RELATIONS}
  select
    case c.relkind
      when 'v' then 'view' when 'm' then 'materialized view' when 'S' then 'sequence' when 'f' then 'foreign table'
      else 'table'
    end as kind,
    c.name,
    null as "on",
    ${properties({
      owner: otherOwner("c.relowner"),
      "row security": flag("c.relrowsecurity"),
      "forced row security": flag("c.relforcerowsecurity"),
      persistence: "case c.relpersistence when 'u' then 'unlogged' when 't' then 'temporary' end",
      "partition key": "pg_get_partkeydef(c.oid)",
      "partition of": `case when c.relispartition then ${PARENTS} end`,
      inherits: `case when not c.relispartition then ${PARENTS} end`,
      "replica identity":
        "case when c.relkind in ('r', 'p') and c.relreplident <> 'd' then c.relreplident::text end",
      options: "case when c.relkind = 'v' then array_to_string(c.reloptions, ', ') end",
      "storage options": "case when c.relkind <> 'v' then array_to_string(c.reloptions, ', ') end",
      definition: "case when c.relkind in ('v', 'm') then pg_get_viewdef(c.oid) end",
      sequence: `(
        select format(
          '%s increment %s minimum %s maximum %s start %s cache %s%s', format_type(s.seqtypid, null), s.seqincrement,
          s.seqmin, s.seqmax, s.seqstart, s.seqcache, case when s.seqcycle then ' cycle' else '' end
        )
        from pg_sequence s
        where s.seqrelid = c.oid
      )`,
      tags: tagged(COMMENT),
    })}
  from relations c`;

/** Columns of views are part of their definition, but may have smart tags. */
export const COLUMNS_QUERY = `
  ${WITH_RELATIONS}
  select 'column' as kind, quote_ident(a.attname) as name, c.name as "on",
    ${properties({
      type: "case when c.relkind not in ('v', 'm') then format_type(a.atttypid, a.atttypmod) end",
      collation:
        "case when a.attcollation <> t.typcollation and c.relkind not in ('v', 'm') then a.attcollation::regcollation::text end",
      "not null": flag("a.attnotnull"),
      default: "pg_get_expr(d.adbin, d.adrelid, true)",
      generated: "case a.attgenerated when 's' then 'stored' when 'v' then 'virtual' end",
      identity: "case a.attidentity when 'a' then 'always' when 'd' then 'by default' end",
      statistics: "nullif(a.attstattarget, -1)::text",
      storage: "case when a.attstorage <> t.typstorage then a.attstorage::text end",
      tags: tagged("col_description(c.oid, a.attnum)"),
    })}
  from relations c
  join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
  join pg_type t on t.oid = a.atttypid
  left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
  where c.relkind in ('r', 'p', 'f') or c.relkind in ('v', 'm') and col_description(c.oid, a.attnum) like '%@%'`;

/**
 * A policy's roles are named. Conditions are printed equally by all versions, because a policy's table is never alone in its
 * range table.
 */
export const POLICIES_QUERY = `
  ${WITH_RELATIONS}
  select 'policy' as kind, quote_ident(k.polname) as name, c.name as "on",
    ${properties({
      command:
        "case k.polcmd when 'r' then 'select' when 'a' then 'insert' when 'w' then 'update' when 'd' then 'delete' else 'all' end",
      restrictive: flag("not k.polpermissive"),
      to: `(select string_agg(${label("r.oid")}, ', ' order by ${label("r.oid")} collate "C") from unnest(k.polroles) r (oid))`,
      using: "pg_get_expr(k.polqual, k.polrelid, true)",
      "with check": "pg_get_expr(k.polwithcheck, k.polrelid, true)",
    })}
  from relations c
  join pg_policy k on k.polrelid = c.oid`;
