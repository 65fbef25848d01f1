import { HISTORY_SCHEMAS } from "../../database/history.ts";
import { JOB_SCHEMA } from "../../database/schemas.ts";
import { FUNCTION_NAME, FUNCTIONS, IS_OWN_TYPE, label, properties, WITH_RELATIONS } from "./parts.ts";

const HISTORIES = HISTORY_SCHEMAS.map((name) => `'${name}'`).join(", ");

/** The privileges that the owner lacks are differences too: its functions would fail. */
export const PRIVILEGES_QUERY = `
  ${WITH_RELATIONS},
  objects as (
    select c.name, c.relacl as acl, c.relowner as owner, case c.relkind when 'S' then 's' else 'r' end as letter
    from relations c
    union all
    select 'schema ' || quote_ident(n.nspname), n.nspacl, n.nspowner, 'n' from pg_namespace n where n.nspname = any ($1)
    union all
    select 'function ' || ${FUNCTION_NAME}, p.proacl, p.proowner, 'f' ${FUNCTIONS} and n.nspname = any ($1)
    union all
    select 'type ' || format('%I.%I', n.nspname, t.typname), t.typacl, t.typowner, 'T'
    from pg_type t
    join pg_namespace n on n.oid = t.typnamespace
    where n.nspname = any ($1) and ${IS_OWN_TYPE}
  ),
  entries as (
    select o.name, e.grantee, e.privilege_type, e.is_grantable, '*' as scope
    from objects o
    cross join aclexplode(coalesce(o.acl, acldefault(o.letter::"char", o.owner))) e
    where e.grantee <> o.owner
    union
    select c.name, e.grantee, e.privilege_type, e.is_grantable, quote_ident(a.attname)
    from relations c
    join pg_attribute a on a.attrelid = c.oid and not a.attisdropped
    cross join aclexplode(a.attacl) e
    where e.grantee <> c.relowner
  ),
  granted as (
    select name, grantee, lower(privilege_type collate "C") || case when is_grantable then ' with grant option' else '' end as privilege,
      string_agg(scope, ', ' order by scope collate "C") as scope
    from entries
    group by 1, 2, 3
  )
  select 'grant' as kind, ${label("grantee")} as name, name as "on", jsonb_object_agg(privilege, scope) as properties
  from granted
  group by name, grantee
  union all
  select 'revoke', ':PLINTH_OWNER', o.name,
    jsonb_build_object('privileges', string_agg(lower(d.privilege_type collate "C"), ', ' order by d.privilege_type))
  from objects o
  cross join aclexplode(acldefault(o.letter::"char", o.owner)) d
  where o.acl is not null
    and d.grantee = o.owner
    and not exists (
      select from aclexplode(o.acl) e where e.grantee = o.owner and e.privilege_type = d.privilege_type
    )
  group by o.name`;

/** Privileges that other roles will have on future objects. */
export const DEFAULT_PRIVILEGES_QUERY = `
  ${WITH_RELATIONS}
  select 'default privileges' as kind,
    format(
      'for %s on %s',
      ${label("d.defaclrole")},
      case d.defaclobjtype when 'r' then 'tables' when 'S' then 'sequences' when 'f' then 'functions' when 'T' then 'types'
        when 'n' then 'schemas' else 'large objects' end
    ) as name,
    coalesce('schema ' || quote_ident(n.nspname), 'all schemas') as "on",
    (
      select coalesce(jsonb_object_agg(grants.grantee, grants.privileges), '{}')
      from (
        select ${label("e.grantee")} as grantee,
          string_agg(
            lower(e.privilege_type collate "C") || case when e.is_grantable then ' with grant option' else '' end, ', '
            order by e.privilege_type
          ) as privileges
        from aclexplode(d.defaclacl) e
        where e.grantee <> d.defaclrole
        group by e.grantee
      ) grants
    ) as properties
  from pg_default_acl d
  left join pg_namespace n on n.oid = d.defaclnamespace
  where n.nspname = any ($1)
    or n.oid is null and (d.defaclrole = $3::oid or ${label("d.defaclrole")} like ':PLINTH\\_%')`;

const IS_PLINTH_ROLE = (oid: string) => `${label(oid)} like ':PLINTH\\_%' and ${oid} <> $3::oid`;

/**
 * Grants outside the schemas that Plinth never makes: on the database, on settings, on the migration history, on the job queue except
 * to the worker, and to Plinth's roles on objects of the system. PUBLIC may connect only to a database of another owner, who decides
 * that.
 */
export const OUTER_PRIVILEGES_QUERY = `
  ${WITH_RELATIONS}
  select 'grant' as kind, ${label("e.grantee")} as name, 'the database' as "on",
    jsonb_object_agg(lower(e.privilege_type collate "C"), '*') as properties
  from pg_database b
  cross join aclexplode(coalesce(b.datacl, acldefault('d', b.datdba))) e
  where b.datname = current_database()
    and e.grantee <> b.datdba
    and (
      e.grantee = 0 and (e.privilege_type = 'CREATE' or b.datdba = $3::oid)
      or e.privilege_type <> 'CONNECT' and ${IS_PLINTH_ROLE("e.grantee")}
    )
  group by e.grantee
  union all
  select 'grant', ${label("e.grantee")}, 'parameter ' || a.parname,
    jsonb_object_agg(lower(e.privilege_type collate "C"), '*')
  from pg_parameter_acl a
  cross join aclexplode(a.paracl) e
  where e.grantee = 0 or ${IS_PLINTH_ROLE("e.grantee")}
  group by e.grantee, a.parname
  union all
  select 'grant', ${label("d.refobjid")}, (pg_identify_object(d.classid, d.objid, d.objsubid)).identity,
    '{"some privilege": "*"}'
  from pg_shdepend d
  where d.deptype = 'a'
    and d.refclassid = 'pg_authid'::regclass
    and d.objid < 16384
    and d.classid <> 'pg_database'::regclass
    and d.dbid = (select oid from pg_database where datname = current_database())
    and ${IS_PLINTH_ROLE("d.refobjid")}
  union all
  select 'grant', ${label("e.grantee")}, o.name, jsonb_object_agg(lower(e.privilege_type collate "C"), '*')
  from (
    select n.nspname, 'schema ' || quote_ident(n.nspname) as name, n.nspacl as acl, n.nspowner as owner from pg_namespace n
    union all
    select n.nspname, format('%I.%I', n.nspname, c.relname), c.relacl, c.relowner
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
  ) o
  cross join aclexplode(o.acl) e
  where o.nspname in ('${JOB_SCHEMA}', ${HISTORIES})
    and e.grantee <> o.owner
    and not (o.nspname = '${JOB_SCHEMA}' and ${label("e.grantee")} = ':PLINTH_WORKER')
  group by e.grantee, o.name`;

/** Settings of roles and of the database that change what names, triggers, claims and roles mean. */
const POWERFUL_SETTINGS =
  "^(search_path|role|row_security|session_authorization|session_replication_role|(session|local)_preload_libraries|(jwt|plinth|request)\\\\..*)$";

export const SETTINGS_QUERY = `
  ${WITH_RELATIONS}
  select 'setting' as kind, split_part(v.setting, '=', 1) as name,
    concat_ws(
      ' in ',
      case when s.setrole = 0 then 'the database' else ${label("s.setrole")} end,
      case when s.setdatabase = 0 then 'all databases' end
    ) as "on",
    ${properties({ value: "substr(v.setting, position('=' in v.setting) + 1)" })}
  from pg_db_role_setting s
  cross join unnest(s.setconfig) v (setting)
  where s.setdatabase in (0, (select oid from pg_database where datname = current_database()))
    and (s.setrole = 0 or ${label("s.setrole")} like ':PLINTH\\_%')
    and split_part(v.setting, '=', 1) ~ E'${POWERFUL_SETTINGS}'`;
