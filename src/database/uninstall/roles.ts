import pg from "pg";
import { ALL_ROLES, roleName } from "../../config/roles.ts";
import { OBJECTS } from "./objects.ts";

export interface RoleFate {
  readonly name: string;
  /** Objects that depend on the role beside this Plinth; empty if the role can be dropped. */
  readonly usedBy: readonly string[];
}

/**
 * Returns Plinth's roles of the server except the connected one, with everything else that depends on them: objects and privileges
 * in this database and in others, members, settings in other databases, sessions there.
 */
export async function surveyRoles(
  client: pg.ClientBase,
  { rolePrefix, schemas }: { rolePrefix: string; schemas: readonly string[] },
): Promise<RoleFate[]> {
  const { rows } = await client.query<{ name: string; usedBy: string[] }>(
    `with ${OBJECTS},
     here as (select oid from pg_database where datname = current_database()),
     own as (select oid, rolname from pg_roles where rolname = any ($1)),
     outside as materialized (
       select d.refobjid, d.classid, d.objid
       from pg_shdepend d
       where d.refclassid = 'pg_authid'::regclass
         and d.refobjid in (select oid from own)
         and d.refobjid <> current_user::regrole
         and d.dbid = (select oid from here)
         and (d.classid, d.objid) not in (select o.classid, o.objid from objects o where o.home = any ($2::oid[]))
     ),
     uses (role, used_by) as (
       select d.refobjid, format('%s %s', i.type, i.identity)
       from outside d
       cross join lateral pg_identify_object(d.classid, d.objid, 0) i
       union
       select d.refobjid, 'database ' || quote_ident(b.datname)
       from pg_shdepend d
       join pg_database b on b.oid in (d.dbid, case when d.classid = 'pg_database'::regclass then d.objid end)
       where d.refclassid = 'pg_authid'::regclass and b.oid <> (select oid from here)
       union
       select d.refobjid, d.classid::regclass::text || ' ' || d.objid
       from pg_shdepend d
       where d.refclassid = 'pg_authid'::regclass and d.dbid = 0 and d.classid not in ('pg_database'::regclass, 'pg_auth_members'::regclass)
       union
       select m.roleid, 'member ' || quote_ident(r.rolname)
       from pg_auth_members m
       join pg_roles r on r.oid = m.member
       where r.rolname <> current_user and m.member not in (select oid from own)
       union
       select s.setrole, 'a setting in database ' || quote_ident(b.datname)
       from pg_db_role_setting s
       join pg_database b on b.oid = s.setdatabase
       where b.oid <> (select oid from here)
       union
       select a.usesysid, 'a session in database ' || quote_ident(a.datname)
       from pg_stat_activity a
       where a.datname <> current_database()
     )
     select r.rolname as name, coalesce(array_agg(u.used_by order by u.used_by) filter (where u.used_by is not null), '{}') as "usedBy"
     from own r
     left join uses u on u.role = r.oid
     where r.rolname <> current_user
     group by r.rolname
     order by r.rolname`,
    [ALL_ROLES.map((role) => roleName(rolePrefix, role)), schemas],
  );
  return rows;
}

/** Drops the roles that nothing else uses, each for itself: a role that the owner may not drop stays. */
export async function dropRoles(
  client: pg.ClientBase,
  roles: readonly RoleFate[],
): Promise<{ droppedRoles: string[]; keptRoles: RoleFate[] }> {
  const droppedRoles: string[] = [];
  const keptRoles: RoleFate[] = [];
  for (const role of roles) {
    if (role.usedBy.length > 0) {
      keptRoles.push(role);
      continue;
    }
    await client.query("savepoint role");
    try {
      await client.query(`drop role ${pg.escapeIdentifier(role.name)}`);
      droppedRoles.push(role.name);
    } catch (error) {
      if (!(error instanceof pg.DatabaseError)) throw error;
      await client.query("rollback to savepoint role");
      keptRoles.push({ name: role.name, usedBy: [error.message] });
    }
  }
  return { droppedRoles, keptRoles };
}
