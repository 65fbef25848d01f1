import { FIRST_NORMAL_OID, properties, WITH_RELATIONS } from "./parts.ts";

const notOfExtension = (catalogue: string, oid: string) => `not exists (
  select from pg_depend d where d.classid = '${catalogue}'::regclass and d.objid = ${oid} and d.deptype = 'e'
)`;

/** Objects without a schema that see or change rows of the schemas, and extensions in the schemas. */
export const DATABASE_QUERY = `
  ${WITH_RELATIONS}
  select 'extension' as kind, quote_ident(e.extname) as name, null as "on",
    ${properties({ schema: "quote_ident(n.nspname)" })}
  from pg_extension e
  join pg_namespace n on n.oid = e.extnamespace
  where n.nspname = any ($1)
  union all
  select 'event trigger', quote_ident(g.evtname), null,
    ${properties({ event: "g.evtevent", function: "g.evtfoid::regproc::text" })}
  from pg_event_trigger g
  where ${notOfExtension("pg_event_trigger", "g.oid")}
  union all
  select 'publication', quote_ident(p.pubname), null,
    ${properties({ tables: "case when p.puballtables then 'all' else 'some' end" })}
  from pg_publication p
  where p.puballtables
    or exists (select from pg_publication_rel r join relations c on c.oid = r.prrelid where r.prpubid = p.oid)
    or exists (
      select
      from pg_publication_namespace s
      join pg_namespace n on n.oid = s.pnnspid
      where s.pnpubid = p.oid and n.nspname = any ($1)
    )
  union all
  select 'cast', format('(%s as %s)', format_type(k.castsource, null), format_type(k.casttarget, null)), null,
    ${properties({ context: "k.castcontext::text", function: "k.castfunc::regprocedure::text" })}
  from pg_cast k
  where k.oid >= ${FIRST_NORMAL_OID} and ${notOfExtension("pg_cast", "k.oid")}
  union all
  select 'operator', k.oid::regoperator::text, null, ${properties({ function: "k.oprcode::regprocedure::text" })}
  from pg_operator k
  join pg_namespace n on n.oid = k.oprnamespace
  where (n.nspname = any ($1) or n.nspname = 'pg_catalog' and k.oid >= ${FIRST_NORMAL_OID})
    and ${notOfExtension("pg_operator", "k.oid")}
  union all
  select 'operator class', format('%I.%I', n.nspname, k.opcname), null, ${properties({ type: "format_type(k.opcintype, null)" })}
  from pg_opclass k
  join pg_namespace n on n.oid = k.opcnamespace
  where n.nspname = any ($1) and ${notOfExtension("pg_opclass", "k.oid")}
  union all
  select 'collation', format('%I.%I', n.nspname, k.collname), null, ${properties({ provider: "k.collprovider::text" })}
  from pg_collation k
  join pg_namespace n on n.oid = k.collnamespace
  where n.nspname = any ($1)`;
