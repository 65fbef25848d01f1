import type pg from "pg";
import { roleName } from "../../config/roles.ts";
import { findSessions } from "../plinth-sessions.ts";
import { OBJECTS } from "./objects.ts";
import { type RoleFate, surveyRoles } from "./roles.ts";

/** The objects that an uninstall would remove, and those in its way. */
export interface Survey {
  readonly database: string;
  readonly schemas: readonly LostSchema[];
  readonly extensions: readonly LostExtension[];
  /** Objects outside the removed schemas that use them, and objects of other roles inside. */
  readonly blockers: readonly string[];
  /** Sessions of Plinth's roles, such as `plinth_service: 5 (plinth)`. */
  readonly sessions: readonly string[];
  readonly roles: readonly RoleFate[];
}

export interface LostSchema {
  readonly name: string;
  readonly oid: string;
  readonly tables: number;
  readonly rows: number;
  /** Whether the rows were estimated, because counting takes long. */
  readonly isEstimate: boolean;
}

interface LostExtension {
  readonly name: string;
  /** Objects outside that use it; then it moves to the schema public. */
  readonly users: readonly string[];
}

export async function survey(
  client: pg.ClientBase,
  { schemas, rolePrefix }: { schemas: readonly LostSchema[]; rolePrefix: string },
): Promise<Survey> {
  const oids = schemas.map(({ oid }) => oid);
  const { rows } = await client.query<{ database: string; isSuperuser: boolean }>(
    `select current_database() as database, rolsuper as "isSuperuser" from pg_roles where rolname = current_user`,
  );
  const { rows: dependents } = await client.query<Dependent>(DEPENDENTS, [oids]);
  const blockers = dependents.filter(({ extension }) => extension === null).map(({ object }) => object);
  const extensions = await lostExtensions(client, oids, dependents);
  // The functions of a trusted extension belong to a superuser, so that the owner can drop it, but not move it.
  if (!rows[0]!.isSuperuser)
    for (const { name, users } of extensions)
      if (users.length > 0)
        blockers.push(
          `${users.join(", ")} (a superuser can move the extension first: alter extension ${name} set schema public;)`,
        );
  return {
    database: rows[0]!.database,
    schemas,
    extensions,
    blockers: [...blockers, ...(await findStrangers(client, oids, rolePrefix))],
    sessions: await findSessions(client, rolePrefix),
    roles: await surveyRoles(client, { rolePrefix, schemas: oids }),
  };
}

/** Below this size, rows are counted. */
const COUNTED_BYTES = 64 * 1024 * 1024;

/** Returns the owner's schemas with these names, in that order, with their rows. */
export async function findSchemas(client: pg.ClientBase, names: readonly string[]): Promise<LostSchema[]> {
  const { rows } = await client.query<{ name: string; oid: string }>(
    `select nspname as name, oid::text as oid
     from pg_namespace
     where nspname = any ($1) and pg_has_role(nspowner, 'usage')
     order by array_position($1, nspname::text)`,
    [names],
  );
  const schemas: LostSchema[] = [];
  for (const row of rows) schemas.push({ ...row, ...(await countRows(client, row.oid)) });
  return schemas;
}

interface Table {
  readonly name: string;
  readonly bytes: string;
  readonly estimate: string;
  readonly isPartition: boolean;
}

async function countRows(
  client: pg.ClientBase,
  schema: string,
): Promise<Pick<LostSchema, "tables" | "rows" | "isEstimate">> {
  const { rows: tables } = await client.query<Table>(
    `select c.oid::regclass::text as name, pg_table_size(c.oid) as bytes, greatest(c.reltuples, 0)::bigint as estimate,
       c.relispartition as "isPartition"
     from pg_class c
     where c.relnamespace = $1 and c.relkind = 'r'`,
    [schema],
  );
  let rows = 0;
  let isEstimate = false;
  for (const { name, bytes, estimate } of tables)
    if (Number(bytes) <= COUNTED_BYTES) {
      if (Number(bytes) === 0) continue;
      const counted = await client.query<{ n: string }>(`select count(*) as n from only ${name}`);
      rows += Number(counted.rows[0]!.n);
    } else {
      rows += Number(estimate);
      isEstimate = true;
    }
  const parents = await client.query<{ n: number }>(
    "select count(*)::integer as n from pg_class where relnamespace = $1 and relkind in ('r', 'p') and not relispartition",
    [schema],
  );
  return { tables: parents.rows[0]!.n, rows, isEstimate };
}

/** Dependencies of other schemas on these, without those that an object makes on itself. */
const DEPENDENTS = `
  with ${OBJECTS},
  own as materialized (select classid, objid from objects where home = any ($1::oid[])),
  found as materialized (
    select distinct d.classid, d.objid, d.refclassid, d.refobjid
    from pg_depend d
    join own r on r.classid = d.refclassid and r.objid = d.refobjid
    where d.deptype in ('n', 'a')
      and not exists (select from own o where o.classid = d.classid and o.objid = d.objid)
      and not exists (select from members x where x.classid = d.classid and x.objid = d.objid)
      and d.classid in (select classid from objects)
  )
  select distinct e.extname as extension, format('%s %s', i.type, i.identity) as object
  from found d
  left join members m on m.classid = d.refclassid and m.objid = d.refobjid
  left join pg_extension e on e.oid = m.extension
  -- A view depends on what it reads through its rule _RETURN.
  left join pg_rewrite v on d.classid = 'pg_rewrite'::regclass and v.oid = d.objid and v.rulename = '_RETURN'
  cross join lateral pg_identify_object(
    case when v.oid is null then d.classid else 'pg_class'::regclass end, coalesce(v.ev_class, d.objid), 0
  ) i
  where not exists (
    select from objects o where o.classid = d.classid and o.objid = d.objid and o.home = 'pg_toast'::regnamespace
  )
  order by 2`;

interface Dependent {
  /** The extension of the object that is used, if it belongs to one. */
  readonly extension: string | null;
  readonly object: string;
}

async function lostExtensions(
  client: pg.ClientBase,
  schemas: readonly string[],
  dependents: readonly Dependent[],
): Promise<LostExtension[]> {
  const { rows: extensions } = await client.query<{ name: string }>(
    "select extname as name from pg_extension where extnamespace = any ($1::oid[]) order by 1",
    [schemas],
  );
  return extensions.map(({ name }) => ({
    name,
    users: dependents.filter(({ extension }) => extension === name).map(({ object }) => object),
  }));
}

/** Objects of other roles in these schemas, except the views of compatibility schemas. */
async function findStrangers(
  client: pg.ClientBase,
  schemas: readonly string[],
  rolePrefix: string,
): Promise<string[]> {
  const { rows } = await client.query<{ object: string }>(
    `select format('%s %s of role %s', i.type, i.identity, pg_get_userbyid(o.owner)) as object
     from (
       select 'pg_class'::regclass as classid, oid, relnamespace as home, relowner as owner from pg_class where relkind in ('r', 'p', 'v', 'm', 'f')
       union all
       select 'pg_proc'::regclass, oid, pronamespace, proowner from pg_proc
     ) o
     join pg_namespace n on n.oid = o.home and n.nspowner <> o.owner
     join pg_roles r on r.oid = o.owner and r.rolname <> $2
     cross join lateral pg_identify_object(o.classid, o.oid, 0) i
     where n.oid = any ($1::oid[])
       and not exists (select from pg_depend d where d.classid = o.classid and d.objid = o.oid and d.deptype = 'e')
     order by 1`,
    [schemas, roleName(rolePrefix, "compat")],
  );
  return rows.map(({ object }) => object);
}
