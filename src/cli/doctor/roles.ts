import type pg from "pg";
import {
  ALL_ROLES,
  type AnyRole,
  COMPAT_ROLES,
  MEMBERSHIPS,
  mayLogIn,
  roleName,
} from "../../config/roles.ts";
import { ANALYST_LIMITS } from "../../database/analyst-limits.ts";
import { findOwner } from "../../drift/read-catalogue.ts";
import { type Membership, type RoleRow, readRoles, readStrangers } from "../../drift/roles.ts";
import {
  type CheckGroup,
  type DoctorContext,
  examinedSchemas,
  type Finding,
  fail,
  ok,
  warn,
} from "./check.ts";

const HINT =
  "Run plinth migrate as a role that may create roles, or run the script that plinth migrate --print-roles prints.";

/** Checks that each role has only its intended privileges: see "Roles" in the README. */
export const checkRoles: CheckGroup = async ({ client, config, application }) => {
  const names = new Map(ALL_ROLES.map((role) => [roleName(config.rolePrefix, role), role]));
  const rows = await readRoles(client, [...names.keys()]);
  const found = new Set(rows.map((row) => row.rolname));
  // The owner of an external server may have any name; compatibility schemas create their roles.
  const optional: readonly AnyRole[] = ["owner", ...COMPAT_ROLES];
  const missing = [...names]
    .filter(([name, role]) => !optional.includes(role) && !found.has(name))
    .map(([name]) => name);
  if (missing.length > 0) return [fail("roles", `Roles are missing: ${missing.join(", ")}.`, HINT)];

  const faults = rows.flatMap((row) =>
    faultsOf(names.get(row.rolname)!, row, config.rolePrefix).map((fault) => `${row.rolname} ${fault}`),
  );
  const findings = [
    faults.length === 0
      ? ok("roles", "Each role has only its intended privileges.")
      : fail("roles", "Some roles have too many or too few privileges.", HINT, faults),
  ];
  findings.push(...checkMembers(await readStrangers(client, [...names.keys()])));
  findings.push(...(await checkAnalyst(client, roleName(config.rolePrefix, "analyst"))));
  const owner = await client.query<{ name: string; rolsuper: boolean }>(
    `select r.rolname as name, r.rolsuper
     from pg_namespace n
     join pg_roles r on r.oid = n.nspowner
     where n.nspname = 'plinth'`,
  );
  if (owner.rows[0]?.rolsuper)
    findings.push(
      warn(
        "owner",
        `The owner ${owner.rows[0].name} is a superuser.`,
        "Migrate as a role that only owns the database.",
      ),
    );
  const strangers = await ownedByOthers({ client, application }, [...names.keys()]);
  findings.push(
    strangers.length === 0
      ? ok("ownership", "Only the owner owns anything.")
      : fail(
          "ownership",
          "Roles other than the owner own objects and therefore bypass row-level security.",
          "Transfer them to the owner.",
          strangers,
        ),
  );
  return findings;
};

function checkMembers(members: readonly Membership[]): Finding[] {
  if (members.length === 0) return [];
  return [
    warn(
      "role-members",
      "Other roles can act as roles of Plinth.",
      "revoke … from …, unless this is intended.",
      members.map(({ member, role }) => `${member} is a member of ${role}`).sort(),
    ),
  ];
}

/** A value of the role, of the database or of the server counts, also 0 where the role has it: an administrator chose it. */
async function checkAnalyst(client: pg.Client, analyst: string): Promise<Finding[]> {
  const { rows } = await client.query<{ name: string }>(
    `select l.name
     from unnest($2::text[]) l (name)
     where not exists (
       select
       from pg_db_role_setting s
       cross join unnest(s.setconfig) c (setting)
       where s.setdatabase in (0, (select oid from pg_database where datname = current_database()))
         and (
           s.setrole = to_regrole(quote_ident($1)) and starts_with(c.setting, l.name || '=')
           or s.setrole = 0 and starts_with(c.setting, l.name || '=') and c.setting <> l.name || '=0'
         )
     )
     and (select boot_val = reset_val from pg_settings g where g.name = l.name)`,
    [analyst, Object.keys(ANALYST_LIMITS)],
  );
  if (rows.length === 0) return [];
  return [
    warn(
      "analyst-limits",
      `Statements or transactions of ${analyst} may run without an end.`,
      "Run plinth migrate as a role that may create roles, or the statements below. 0 means that you want no limit.",
      rows.map(
        ({ name }) =>
          `alter role ${analyst} set ${name} = '${ANALYST_LIMITS[name as keyof typeof ANALYST_LIMITS]}';`,
      ),
    ),
  ];
}

function faultsOf(role: AnyRole, row: RoleRow, prefix: string): string[] {
  const wanted = (MEMBERSHIPS[role] ?? []).map((each) => roleName(prefix, each));
  return [
    row.rolsuper && "is superuser",
    row.rolbypassrls && "bypasses row-level security",
    row.rolcreaterole && role !== "owner" && "may create roles",
    row.rolcreatedb && role !== "owner" && "may create databases",
    row.rolreplication && role !== "owner" && "may replicate",
    row.rolcanlogin !== mayLogIn(role) && (mayLogIn(role) ? "may not log in" : "may log in"),
    row.rolinherit && role === "authenticator" && "inherits privileges instead of using SET ROLE",
    role !== "owner" &&
      row.member_of.toString() !== wanted.toString() &&
      `is a member of ${row.member_of.join(", ") || "no role"} instead of ${wanted.join(" and ") || "no role"}`,
    role === "authenticator" &&
      row.inherited.length > 0 &&
      `inherits the privileges of ${row.inherited.join(", ")} instead of using SET ROLE`,
    role !== "owner" && row.grantable.length > 0 && `may grant ${row.grantable.join(", ")} to others`,
  ].filter((fault) => fault !== false);
}

/** Objects in the schemas that the owner of nearly all tables does not own, except those of extensions. */
async function ownedByOthers(
  { client, application }: Pick<DoctorContext, "client" | "application">,
  roles: string[],
): Promise<string[]> {
  const { rows } = await client.query<{ object: string }>(
    `with owned as (
       select n.nspowner as owner, 'schema ' || n.nspname as object, n.oid from pg_namespace n where n.nspname = any ($1)
       union all
       select c.relowner, format('%s.%s', n.nspname, c.relname), c.oid
       from pg_class c
       join pg_namespace n on n.oid = c.relnamespace
       where n.nspname = any ($1) and c.relkind in ('r', 'p', 'v', 'm', 'S', 'f')
       union all
       select p.proowner, format('%s.%s()', n.nspname, p.proname), p.oid
       from pg_proc p
       join pg_namespace n on n.oid = p.pronamespace
       where n.nspname = any ($1)
       union all
       select t.typowner, format('type %s.%s', n.nspname, t.typname), t.oid
       from pg_type t
       join pg_namespace n on n.oid = t.typnamespace
       where n.nspname = any ($1)
         and (t.typtype in ('e', 'd', 'r') or t.typtype = 'c' and exists (select from pg_class c where c.oid = t.typrelid and c.relkind = 'c'))
       union all
       -- An administrator may own the database.
       select b.datdba, 'the database', b.oid
       from pg_database b
       join pg_roles r on r.oid = b.datdba
       where b.datname = current_database() and r.rolname = any ($3)
     )
     select format('%s belongs to %s', o.object, r.rolname) as object
     from owned o
     join pg_roles r on r.oid = o.owner
     where o.owner <> $2::oid and not exists (select from pg_depend d where d.objid = o.oid and d.deptype = 'e')
     order by 1
     limit 50`,
    [examinedSchemas({ application }), await findOwner(client), roles],
  );
  return rows.map((row) => row.object);
}
