/** Every object with its schema, also those that have one only through their table. */
export const OBJECTS = `
  objects (classid, objid, home) as materialized (
    select 'pg_class'::regclass::oid, oid, relnamespace from pg_class
    union all select 'pg_proc'::regclass, oid, pronamespace from pg_proc
    union all select 'pg_type'::regclass, oid, typnamespace from pg_type
    union all select 'pg_constraint'::regclass, oid, connamespace from pg_constraint
    union all select 'pg_opclass'::regclass, oid, opcnamespace from pg_opclass
    union all select 'pg_opfamily'::regclass, oid, opfnamespace from pg_opfamily
    union all select 'pg_operator'::regclass, oid, oprnamespace from pg_operator
    union all select 'pg_collation'::regclass, oid, collnamespace from pg_collation
    union all select 'pg_ts_config'::regclass, oid, cfgnamespace from pg_ts_config
    union all select 'pg_ts_dict'::regclass, oid, dictnamespace from pg_ts_dict
    union all select 'pg_statistic_ext'::regclass, oid, stxnamespace from pg_statistic_ext
    union all select 'pg_namespace'::regclass, oid, oid from pg_namespace
    union all select 'pg_default_acl'::regclass, oid, defaclnamespace from pg_default_acl
    union all select 'pg_trigger'::regclass, t.oid, c.relnamespace from pg_trigger t join pg_class c on c.oid = t.tgrelid
    union all select 'pg_rewrite'::regclass, r.oid, c.relnamespace from pg_rewrite r join pg_class c on c.oid = r.ev_class
    union all select 'pg_policy'::regclass, p.oid, c.relnamespace from pg_policy p join pg_class c on c.oid = p.polrelid
    -- In no schema, so they stay; what they use would go with CASCADE, and they with it.
    union all select 'pg_event_trigger'::regclass, oid, null from pg_event_trigger
    union all select 'pg_cast'::regclass, oid, null from pg_cast
    union all select 'pg_publication_rel'::regclass, oid, null from pg_publication_rel
    union all select 'pg_publication_namespace'::regclass, oid, null from pg_publication_namespace
    union all select 'pg_attrdef'::regclass, d.oid, c.relnamespace from pg_attrdef d join pg_class c on c.oid = d.adrelid
  ),
  members as materialized (
    select d.classid, d.objid, d.refobjid as extension
    from pg_depend d
    where d.deptype = 'e' and d.refclassid = 'pg_extension'::regclass
  )`;
