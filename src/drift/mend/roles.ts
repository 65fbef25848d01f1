import pg from "pg";
import {
  ALL_ROLES,
  type AnyRole,
  COMPAT_ROLES,
  MEMBERSHIPS,
  mayLogIn,
  roleName,
} from "../../config/roles.ts";
import { findOwner } from "../read-catalogue.ts";
import { type RoleRow, readRoles, readStrangers } from "../roles.ts";

/** A role that is not as the script of `plinth migrate --print-roles` makes it, with the statements for an administrator. */
export interface RoleMend {
  readonly title: string;
  readonly description: string;
  readonly statements: readonly string[];
}

const quoted = (name: string) => pg.escapeIdentifier(name);

/** Compares roles, which belong to the server, and the owner of the database. */
export async function mendRoles(client: pg.ClientBase, rolePrefix: string): Promise<RoleMend[]> {
  const names = ALL_ROLES.map((role) => roleName(rolePrefix, role));
  const rows = new Map((await readRoles(client, names)).map((row) => [row.rolname, row]));
  const grantors = await readGrantors(client, names);
  // The owner of an external server may have any name; compatibility schemas create their roles.
  const optional: readonly AnyRole[] = ["owner", ...COMPAT_ROLES];
  const roles = ALL_ROLES.flatMap((role) => {
    const row = rows.get(roleName(rolePrefix, role));
    if (!row) return optional.includes(role) ? [] : [missing(roleName(rolePrefix, role))];
    return [...attributeMends(role, row), ...membershipMends(role, row, rolePrefix, grantors)];
  });
  const strangers = (await readStrangers(client, names)).map(({ member, role }) => ({
    title: `role ${role}`,
    description: `${member} is a member`,
    statements: [`revoke ${quoted(role)} from ${quoted(member)}${grantors.of(member, role)};`],
  }));
  return [...roles, ...strangers, ...(await mendOwner(client, names))];
}

const missing = (name: string): RoleMend => ({
  title: `role ${name}`,
  description: "missing; run the script that plinth migrate --print-roles prints",
  statements: [],
});

function attributeMends(role: AnyRole, row: RoleRow): RoleMend[] {
  const isOwner = role === "owner";
  const faults: readonly (readonly [isFault: boolean, description: string, attribute: string])[] = [
    [row.rolsuper, "is a superuser", "nosuperuser"],
    [row.rolbypassrls, "bypasses row-level security", "nobypassrls"],
    [row.rolcreaterole && !isOwner, "may create roles", "nocreaterole"],
    [row.rolcreatedb && !isOwner, "may create databases", "nocreatedb"],
    [row.rolreplication && !isOwner, "may replicate", "noreplication"],
    [row.rolcanlogin && !mayLogIn(role), "may log in", "nologin"],
    [!row.rolcanlogin && mayLogIn(role), "may not log in", "login"],
    [
      row.rolinherit && role === "authenticator",
      "inherits privileges instead of using SET ROLE",
      "noinherit",
    ],
  ];
  return faults
    .filter(([isFault]) => isFault)
    .map(([, description, attribute]) => ({
      title: `role ${row.rolname}`,
      description,
      statements: [`alter role ${quoted(row.rolname)} ${attribute};`],
    }));
}

function membershipMends(role: AnyRole, row: RoleRow, rolePrefix: string, grantors: Grantors): RoleMend[] {
  if (role === "owner") return [];
  const wanted = (MEMBERSHIPS[role] ?? []).map((each) => roleName(rolePrefix, each));
  // Only the authenticator has to set the role that it acts as.
  const inherits = role !== "authenticator";
  const title = `role ${row.rolname}`;
  const member = quoted(row.rolname);
  const by = (group: string) => grantors.of(row.rolname, group);
  return [
    ...row.member_of
      .filter((group) => !wanted.includes(group))
      .map((group) => ({
        title,
        description: `is a member of ${group}`,
        statements: [`revoke ${quoted(group)} from ${member}${by(group)};`],
      })),
    ...wanted
      .filter((group) => !row.member_of.includes(group) || (!inherits && row.inherited.includes(group)))
      .map((group) => ({
        title,
        description:
          !inherits && row.inherited.includes(group)
            ? `inherits the privileges of ${group}`
            : `is not a member of ${group}`,
        statements: [
          `grant ${quoted(group)} to ${member}${grantors.hasOptions ? ` with inherit ${inherits}, set ${!inherits}` : ""};`,
        ],
      })),
    ...row.grantable
      .filter((group) => wanted.includes(group))
      .map((group) => ({
        title,
        description: `may grant ${group} to others`,
        statements: [`revoke admin option for ${quoted(group)} from ${member}${by(group)};`],
      })),
  ];
}

interface Grantors {
  /** Memberships have options since PostgreSQL 16. Since then, REVOKE concerns only what its grantor has granted. */
  readonly hasOptions: boolean;
  of(member: string, group: string): string;
}

async function readGrantors(client: pg.ClientBase, names: readonly string[]): Promise<Grantors> {
  const { rows } = await client.query<{ member: string; group: string; grantor: string; version: number }>(
    `select r.rolname as member, g.rolname as "group", m.grantor::regrole::text as grantor,
       current_setting('server_version_num')::integer as version
     from pg_auth_members m
     join pg_roles g on g.oid = m.roleid
     join pg_roles r on r.oid = m.member
     where g.rolname = any ($1) or r.rolname = any ($1)
     -- The grant with the admin option comes first.
     order by m.admin_option desc`,
    [names],
  );
  const hasOptions = rows.some(({ version }) => version >= 160_000);
  return {
    hasOptions,
    of(member, group) {
      const row = rows.find((each) => each.member === member && each.group === group);
      return hasOptions && row ? ` granted by ${row.grantor}` : "";
    },
  };
}

/** An administrator may own the database, but no other role of Plinth. */
async function mendOwner(client: pg.ClientBase, names: readonly string[]): Promise<RoleMend[]> {
  const { rows } = await client.query<{ database: string; found: string; owner: string }>(
    `select quote_ident(b.datname) as database, r.rolname as found, $2::oid::regrole::text as owner
     from pg_database b
     join pg_roles r on r.oid = b.datdba
     where b.datname = current_database() and b.datdba <> $2::oid and r.rolname = any ($1)`,
    [names, await findOwner(client)],
  );
  return rows.map(({ database, found, owner }) => ({
    title: "the database",
    description: `belongs to ${found}`,
    statements: [`alter database ${database} owner to ${owner};`],
  }));
}
