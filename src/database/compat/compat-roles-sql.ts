import { COMPAT_ROLES, roleName } from "../../config/roles.ts";
import { createRoles, literal } from "../create-roles-sql.ts";

export interface CompatRolesOptions {
  readonly prefix: string;
  /** Role that owns the schemas; undefined: the current user. */
  readonly owner?: string | undefined;
}

/**
 * Returns SQL that creates the roles of the compatibility schemas. Both inherit from the users' role: they are subject to its
 * policies, and may call what those call. It can be run again, and changes only differences.
 */
export function compatRolesSql({ prefix, owner }: CompatRolesOptions): string {
  const [compat, application] = COMPAT_ROLES.map((role) => literal(roleName(prefix, role)));
  const user = literal(roleName(prefix, "user"));
  const toOwner = owner === undefined ? "current_user::text" : literal(owner);
  return [
    "-- Roles of Plinth's compatibility schemas: the owner of the views, and the login of an application. Run it in Plinth's database.",
    "begin;",
    "select pg_advisory_xact_lock(hashtext('plinth roles'));",
    createRoles([
      { name: roleName(prefix, "compat"), canLogIn: false, inherits: true, keeps: "nothing" },
      { name: roleName(prefix, "application"), canLogIn: true, inherits: true, keeps: "nothing" },
    ]),
    `do $membership$
declare
  v_grant record;
begin
  for v_grant in
    select * from (values
      (${user}, ${compat}, true),
      (${user}, ${application}, true),
      -- Only to own the views: the owner has none of the role's privileges.
      (${compat}, ${toOwner}, false)
    ) as wanted (role, member, inherits)
  loop
    continue when exists (
      select
      from pg_auth_members m
      where m.roleid = to_regrole(quote_ident(v_grant.role)) and m.member = to_regrole(quote_ident(v_grant.member))
        and (
          to_jsonb(m) ->> 'inherit_option' is null
          or to_jsonb(m) ->> 'inherit_option' = v_grant.inherits::text and to_jsonb(m) ->> 'set_option' <> v_grant.inherits::text
        )
    ) or exists (select from pg_roles r where r.rolname = v_grant.member and r.rolsuper);
    if current_setting('server_version_num')::integer >= 160000 then
      execute format(
        'grant %I to %I with inherit %s, set %s', v_grant.role, v_grant.member, v_grant.inherits::text, (not v_grant.inherits)::text
      );
    else
      execute format('grant %I to %I', v_grant.role, v_grant.member);
    end if;
  end loop;
  if not has_database_privilege(${application}, current_database(), 'connect') then
    execute format('grant connect on database %I to %I', current_database(), ${application});
  end if;
end
$membership$;`,
    "commit;",
    "",
  ].join("\n\n");
}
