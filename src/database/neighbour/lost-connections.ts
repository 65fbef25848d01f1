import pg from "pg";
import { ALL_ROLES, roleName } from "../../config/roles.ts";

/**
 * Login roles of others that use this database and may connect only because PUBLIC may. A role uses it if the role, or a group that it is
 * a member of, owns objects or has privileges or settings here, or if it is connected now. Superusers always may connect.
 * @param own an SQL array of the names of Plinth's roles
 */
export const lostConnectionsSql = (own: string): string => `
  select d.datname as database, array_agg(r.rolname::text order by r.rolname) as roles
  from pg_catalog.pg_database d
    join pg_catalog.pg_roles r on r.rolcanlogin and not r.rolsuper
  where d.datname = current_database()
    -- Only an owner can revoke it.
    and pg_has_role(d.datdba, 'usage')
    and has_database_privilege('public', d.oid, 'connect')
    and r.rolname <> all (${own}) and r.rolname <> current_user
    and not exists (
      select
      from aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a
      where a.privilege_type = 'CONNECT' and a.grantee <> 0 and pg_has_role(r.oid, a.grantee, 'usage')
    )
    and (
      exists (
        select
        from pg_catalog.pg_shdepend s
        where s.refclassid = 'pg_authid'::regclass
          and (s.dbid = d.oid or s.classid = 'pg_database'::regclass and s.objid = d.oid)
          and pg_has_role(r.oid, s.refobjid, 'member')
      )
      or exists (select from pg_catalog.pg_db_role_setting s where s.setdatabase = d.oid and s.setrole = r.oid)
      or exists (select from pg_catalog.pg_stat_activity s where s.datid = d.oid and s.usesysid = r.oid)
    )
  group by d.datname`;

/** Returns a note that names the roles which lose CONNECT when PUBLIC does, with the grant that keeps it; none if there are none. */
export async function lostConnections(client: pg.ClientBase, prefix: string): Promise<string[]> {
  const own = ALL_ROLES.filter((role) => role !== "owner").map((role) => roleName(prefix, role));
  const { rows } = await client.query<{ database: string; roles: string[] }>(lostConnectionsSql("$1"), [own]);
  return rows.map(({ database, roles }) => {
    const names = roles.map(identifier).join(", ");
    return (
      `PUBLIC loses CONNECT on the database ${database}. ${roles.length === 1 ? "This role uses" : "These roles use"} it (own objects, ` +
      `have privileges or settings, or are connected) and may connect only through PUBLIC: ${names}. ` +
      `To let ${roles.length === 1 ? "it" : "them"} connect: grant connect on database ${identifier(database)} to ${names};`
    );
  });
}

/** As quote_ident writes a plain name: without quotes. */
const identifier = (name: string) => (/^[a-z_][a-z0-9_]*$/.test(name) ? name : pg.escapeIdentifier(name));
