import {
  FUNCTION_NAME,
  FUNCTIONS,
  flag,
  IS_OWN_TYPE,
  otherOwner,
  properties,
  tagged,
  WITH_RELATIONS,
} from "./parts.ts";

export const FUNCTIONS_QUERY = `
  ${WITH_RELATIONS}
  select
    case p.prokind when 'p' then 'procedure' when 'a' then 'aggregate' else 'function' end as kind,
    ${FUNCTION_NAME} as name,
    null as "on",
    ${properties({
      owner: otherOwner("p.proowner"),
      outside: flag("n.nspname <> all ($1)"),
      arguments: "nullif(pg_get_function_arguments(p.oid), pg_get_function_identity_arguments(p.oid))",
      returns: "pg_get_function_result(p.oid)",
      language: "case when l.lanname <> 'plpgsql' then l.lanname end",
      "security definer": flag("p.prosecdef"),
      volatility: "case p.provolatile when 'i' then 'immutable' when 's' then 'stable' end",
      parallel: "case p.proparallel when 's' then 'safe' when 'r' then 'restricted' end",
      strict: flag("p.proisstrict"),
      leakproof: flag("p.proleakproof"),
      window: flag("p.prokind = 'w'"),
      settings: "array_to_string(p.proconfig, '; ')",
      cost: "case when p.procost not in (1, 100) then p.procost::text end",
      rows: "case when p.prorows not in (0, 1000) then p.prorows::text end",
      support: "case when p.prosupport <> 0 then p.prosupport::regproc::text end",
      library: "p.probin",
      aggregate: `(
        select format(
          'transition %s, type %s, final %s, initial %s', a.aggtransfn, format_type(a.aggtranstype, null), a.aggfinalfn,
          coalesce(a.agginitval, 'null')
        )
        from pg_aggregate a
        where a.aggfnoid = p.oid
      )`,
      body: "coalesce(pg_get_function_sqlbody(p.oid), p.prosrc)",
      tags: tagged("obj_description(p.oid, 'pg_proc')"),
    })}
  ${FUNCTIONS}`;

export const TYPES_QUERY = `
  ${WITH_RELATIONS}
  select case t.typtype when 'd' then 'domain' else 'type' end as kind, format('%I.%I', n.nspname, t.typname) as name,
    null as "on",
    ${properties({
      owner: otherOwner("t.typowner"),
      definition: `
        case t.typtype
          when 'e' then (
            select string_agg(quote_literal(e.enumlabel), ', ' order by e.enumsortorder) from pg_enum e where e.enumtypid = t.oid
          )
          when 'd' then concat_ws(
            ' ', format_type(t.typbasetype, t.typtypmod), 'default ' || t.typdefault, case when t.typnotnull then 'not null' end,
            (
              select string_agg(format('constraint %I %s', k.conname, pg_get_constraintdef(k.oid, true)), ' ' order by k.conname)
              from pg_constraint k
              where k.contypid = t.oid and k.contype = 'c'
            )
          )
          when 'r' then (select format_type(r.rngsubtype, null) from pg_range r where r.rngtypid = t.oid)
          else (
            select string_agg(format('%I %s', a.attname, format_type(a.atttypid, a.atttypmod)), ', ' order by a.attnum)
            from pg_attribute a
            where a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped
          )
        end`,
      tags: tagged("coalesce(obj_description(t.oid, 'pg_type'), obj_description(t.typrelid, 'pg_class'))"),
    })}
  from pg_type t
  join pg_namespace n on n.oid = t.typnamespace
  where n.nspname = any ($1) and ${IS_OWN_TYPE}`;

export const TEXT_SEARCH_QUERY = `
  ${WITH_RELATIONS}
  select 'text search dictionary' as kind, format('%I.%I', n.nspname, o.dictname) as name, null as "on",
    ${properties({
      owner: otherOwner("o.dictowner"),
      definition: "concat_ws(', ', format('template = %I.%I', tn.nspname, t.tmplname), o.dictinitoption)",
    })}
  from pg_ts_dict o
  join pg_namespace n on n.oid = o.dictnamespace
  join pg_ts_template t on t.oid = o.dicttemplate
  join pg_namespace tn on tn.oid = t.tmplnamespace
  where n.nspname = any ($1)
  union all
  select 'text search configuration', format('%I.%I', n.nspname, c.cfgname), null,
    ${properties({
      owner: otherOwner("c.cfgowner"),
      parser: "format('%I.%I', pn.nspname, p.prsname)",
      mapping: `(
        select string_agg(m.token || ': ' || m.dictionaries, '; ' order by m.token collate "C")
        from (
          select t.alias as token, string_agg(m.mapdict::regdictionary::text, ', ' order by m.mapseqno) as dictionaries
          from pg_ts_config_map m
          join ts_token_type(p.oid) t on t.tokid = m.maptokentype
          where m.mapcfg = c.oid
          group by t.alias
        ) m
      )`,
    })}
  from pg_ts_config c
  join pg_namespace n on n.oid = c.cfgnamespace
  join pg_ts_parser p on p.oid = c.cfgparser
  join pg_namespace pn on pn.oid = p.prsnamespace
  where n.nspname = any ($1)`;
