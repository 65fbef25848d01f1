import { flag, properties, tagged, WITH_RELATIONS } from "./parts.ts";

// The parts of a partition that come from its parent's have the names of those, so that they can be compared.

/** `not null` is part of its column (a constraint only since 18). Disabled triggers of a foreign key make it ineffective. */
export const CONSTRAINTS_QUERY = `
  ${WITH_RELATIONS}
  select 'constraint' as kind, quote_ident(coalesce(parent.conname, k.conname)) as name, c.name as "on",
    ${properties({
      definition: "pg_get_constraintdef(k.oid, true)",
      "invalid index": flag(
        "exists (select from pg_index i where i.indexrelid = k.conindid and not i.indisvalid) and k.contype in ('p', 'u', 'x')",
      ),
      "disabled triggers": flag(
        "exists (select from pg_trigger g where g.tgconstraint = k.oid and g.tgisinternal and g.tgenabled <> 'O')",
      ),
      tags: tagged("obj_description(k.oid, 'pg_constraint')"),
    })}
  from relations c
  join pg_constraint k on k.conrelid = c.oid
  left join pg_constraint parent on parent.oid = k.conparentid
  where k.contype in ('p', 'u', 'c', 'x', 'f')
    -- A foreign key to a partitioned table has a further row for each partition.
    and parent.conrelid is distinct from k.conrelid`;

/** Indexes that do not belong to a constraint. */
export const INDEXES_QUERY = `
  ${WITH_RELATIONS}
  select 'index' as kind, quote_ident(coalesce(parent.relname, x.relname)) as name, c.name as "on",
    ${properties({
      unique: flag("i.indisunique"),
      definition: "regexp_replace(pg_get_indexdef(i.indexrelid), '^.*? USING ', 'using ')",
      invalid: flag("not i.indisvalid or not i.indisready or not i.indislive"),
    })}
  from relations c
  join pg_index i on i.indrelid = c.oid
  join pg_class x on x.oid = i.indexrelid
  left join pg_inherits h on h.inhrelid = x.oid
  left join pg_class parent on parent.oid = h.inhparent
  where not exists (select from pg_constraint k where k.conindid = x.oid and k.contype in ('p', 'u', 'x'))`;

export const STATISTICS_QUERY = `
  ${WITH_RELATIONS}
  select 'statistics' as kind, quote_ident(s.stxname) as name, c.name as "on",
    ${properties({ definition: "pg_get_statisticsobjdef(s.oid)" })}
  from relations c
  join pg_statistic_ext s on s.stxrelid = c.oid`;

export const TRIGGERS_QUERY = `
  ${WITH_RELATIONS}
  select 'trigger' as kind, quote_ident(g.tgname) as name, c.name as "on",
    ${properties({
      definition: "replace(pg_get_triggerdef(g.oid, true), ' ON ' || c.name || ' ', ' ')",
      enabled:
        "case g.tgenabled when 'D' then 'no' when 'R' then 'on replicas only' when 'A' then 'always' end",
    })}
  from relations c
  join pg_trigger g on g.tgrelid = c.oid and not g.tgisinternal`;

export const RULES_QUERY = `
  ${WITH_RELATIONS}
  select 'rule' as kind, quote_ident(k.rulename) as name, c.name as "on",
    ${properties({
      definition: "pg_get_ruledef(k.oid, true)",
      enabled:
        "case k.ev_enabled when 'D' then 'no' when 'R' then 'on replicas only' when 'A' then 'always' end",
    })}
  from relations c
  join pg_rewrite k on k.ev_class = c.oid and k.rulename <> '_RETURN'`;
