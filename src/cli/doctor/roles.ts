import { LOGIN_ROLES, ROLES, type Role, roleName } from "../../config/roles.ts";
import { SCHEMAS } from "../../database/schemas.ts";
import { type CheckGroup, type DoctorContext, fail, ok, warn } from "./check.ts";

interface RoleRow {
  rolname: string;
  rolsuper: boolean;
  rolbypassrls: boolean;
  rolcreaterole: boolean;
  rolcreatedb: boolean;
  rolcanlogin: boolean;
  rolinherit: boolean;
  /** Roles it is a member of, directly. */
  member_of: string[];
}

const HINT =
  "Run plinth migrate as a role that may create roles, or run the script that plinth migrate --print-roles prints.";

/** Checks that each role has only its intended privileges: see "Roles" in the README. */
export const checkRoles: CheckGroup = async ({ client, config }) => {
  const names = new Map(ROLES.map((role) => [roleName(config.rolePrefix, role), role]));
  const { rows } = await client.query<RoleRow>(
    `select rolname, rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolcanlogin, rolinherit, array(
       select g.rolname::text
       from pg_auth_members m
       join pg_roles g on g.oid = m.roleid
       where m.member = r.oid
       order by 1
     ) as member_of
     from pg_roles r
     where rolname = any ($1)`,
    [[...names.keys()]],
  );
  const found = new Set(rows.map((row) => row.rolname));
  // The owner of an external server may have any name.
  const missing = [...names]
    .filter(([name, role]) => role !== "owner" && !found.has(name))
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
  const strangers = await ownedByOthers(client, [...names.keys()]);
  findings.push(
    strangers.length === 0
      ? ok("ownership", "Only the owner owns anything.")
      : fail(
          "ownership",
          "Some roles own objects and therefore bypass row-level security.",
          "Transfer them to the owner.",
          strangers,
        ),
  );
  return findings;
};

function faultsOf(role: Role, row: RoleRow, prefix: string): string[] {
  const mayLogIn = (LOGIN_ROLES as readonly Role[]).includes(role);
  const wanted =
    role === "authenticator" ? ["anonymous", "user"].map((each) => roleName(prefix, each as Role)) : [];
  return [
    row.rolsuper && "is superuser",
    row.rolbypassrls && "bypasses row-level security",
    row.rolcreaterole && role !== "owner" && "may create roles",
    row.rolcreatedb && role !== "owner" && "may create databases",
    row.rolcanlogin !== mayLogIn && (mayLogIn ? "may not log in" : "may log in"),
    row.rolinherit && role === "authenticator" && "inherits privileges instead of using SET ROLE",
    role !== "owner" &&
      row.member_of.toString() !== wanted.toString() &&
      `is a member of ${row.member_of.join(", ") || "no role"} instead of ${wanted.join(" and ") || "no role"}`,
  ].filter((fault) => fault !== false);
}

/** Objects in Plinth's schemas that the owner of the schema `plinth` does not own. */
async function ownedByOthers(client: DoctorContext["client"], roles: string[]): Promise<string[]> {
  const { rows } = await client.query<{ object: string }>(
    `with owned as (
       select n.nspowner as owner, 'schema ' || n.nspname as object from pg_namespace n where n.nspname = any ($1)
       union all
       select c.relowner, format('%s.%s', n.nspname, c.relname)
       from pg_class c
       join pg_namespace n on n.oid = c.relnamespace
       where n.nspname = any ($1) and c.relkind in ('r', 'p', 'v', 'm', 'S', 'f')
       union all
       select p.proowner, format('%s.%s()', n.nspname, p.proname)
       from pg_proc p
       join pg_namespace n on n.oid = p.pronamespace
       where n.nspname = any ($1)
     )
     select format('%s belongs to %s', o.object, r.rolname) as object
     from owned o
     join pg_roles r on r.oid = o.owner
     where r.rolname = any ($2)
       and o.owner <> (select nspowner from pg_namespace where nspname = 'plinth')
     order by 1
     limit 50`,
    [SCHEMAS, roles],
  );
  return rows.map((row) => row.object);
}
