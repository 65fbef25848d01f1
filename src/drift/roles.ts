import type pg from "pg";

export interface RoleRow {
  rolname: string;
  rolsuper: boolean;
  rolbypassrls: boolean;
  rolcreaterole: boolean;
  rolcreatedb: boolean;
  rolreplication: boolean;
  rolcanlogin: boolean;
  rolinherit: boolean;
  /** Roles it is a member of, directly. */
  member_of: string[];
  /** Those of them whose privileges it has without SET ROLE, by the grant. */
  inherited: string[];
  /** Those of them that it may grant to others. */
  grantable: string[];
}

/** Reads the attributes and memberships of roles. */
export async function readRoles(client: pg.ClientBase, names: readonly string[]): Promise<RoleRow[]> {
  const { rows } = await client.query<RoleRow>(
    `select rolname, rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolreplication, rolcanlogin, rolinherit,
       ${groups("true")} as member_of,
       -- A column since 16.
       ${groups("to_jsonb(m) ->> 'inherit_option' = 'true'")} as inherited,
       ${groups("m.admin_option")} as grantable
     from pg_roles r
     where rolname = any ($1)`,
    [names],
  );
  return rows;
}

/** The groups of role `r` by a condition on the membership. */
function groups(condition: string): string {
  return `array(
    select distinct g.rolname::text
    from pg_auth_members m
    join pg_roles g on g.oid = m.roleid
    where m.member = r.oid and ${condition}
    order by 1
  )`;
}

export interface Membership {
  member: string;
  role: string;
}

/**
 * Reads the other roles that can act as one of these. Superusers and roles that may create roles can do so anyway, and are not listed.
 */
export async function readStrangers(client: pg.ClientBase, names: readonly string[]): Promise<Membership[]> {
  const { rows } = await client.query<Membership>(
    `select distinct r.rolname as member, g.rolname as role
     from pg_auth_members m
     join pg_roles g on g.oid = m.roleid
     join pg_roles r on r.oid = m.member
     where g.rolname = any ($1)
       and r.rolname <> all ($1)
       and not r.rolsuper
       and not r.rolcreaterole
       -- A member with neither option can only grant the role. Both are columns since 16.
       and (
         coalesce(to_jsonb(m) ->> 'set_option', 'true') = 'true'
         or coalesce(to_jsonb(m) ->> 'inherit_option', 'true') = 'true'
       )
     order by 1, 2`,
    [names],
  );
  return rows;
}
