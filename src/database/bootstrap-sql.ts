import pg from "pg";
import { LOGIN_ROLES, type LoginRole, ROLES, type Role, roleName } from "../config/roles.ts";
import { SCHEMAS } from "./schemas.ts";
import { scramVerifier } from "./scram.ts";

export interface BootstrapOptions {
  readonly prefix: string;
  /** true: the current user becomes the owner; false: `<prefix>_owner` is created and owns the database. */
  readonly ownerIsCurrentUser: boolean;
  /** Sent as SCRAM verifiers only. A role without a password here keeps its current one, or has none. */
  readonly passwords?: Partial<Record<LoginRole, string>> | undefined;
}

/** Lets people at a prompt (the owner, analysts) omit schema names. */
const SEARCH_PATH = SCHEMAS.join(", ");

/**
 * Returns SQL that creates the roles and the privileges on the current database. It can be run again, even concurrently. It changes
 * only differences, so a second run needs no privileges for changes. Needs PostgreSQL 15 or newer, and a role that may create roles
 * unless none is missing.
 */
export function bootstrapSql(options: BootstrapOptions): string {
  return [
    HEADER,
    "begin;",
    "-- Concurrent runs wait for each other.\nselect pg_advisory_xact_lock(hashtext('plinth roles'));",
    createRolesSql(options),
    membershipSql(options),
    ownerMembershipSql(options),
    databaseSql(options),
    searchPathSql(options),
    ...passwordsSql(options),
    "commit;",
    "",
  ].join("\n\n");
}

const HEADER = `-- Roles and database privileges of Plinth. Run it in Plinth's database, as a superuser or as the owner of
-- that database who may create roles; running it again changes nothing.`;

function createRolesSql({ prefix, ownerIsCurrentUser }: BootstrapOptions): string {
  const rows = ROLES.filter((role) => !(role === "owner" && ownerIsCurrentUser)).map(
    (role) => `      (${literal(roleName(prefix, role))}, ${isLogin(role)}, ${role !== "authenticator"})`,
  );
  return `-- No role is a superuser, may create objects or bypasses row-level security. The authenticator inherits nothing:
-- it must set the role it acts as.
do $roles$
declare
  v_role record;
  v_existing pg_roles;
  v_changes text;
begin
  for v_role in
    select *
    from (values
${rows.join(",\n")}
    ) as wanted (name, can_login, inherits)
  loop
    select * into v_existing from pg_roles where rolname = v_role.name;
    if not found then
      begin
        execute format(
          'create role %I %s %s nosuperuser nocreatedb nocreaterole noreplication nobypassrls',
          v_role.name,
          case when v_role.can_login then 'login' else 'nologin' end,
          case when v_role.inherits then 'inherit' else 'noinherit' end
        );
      exception when duplicate_object or unique_violation then
        null; -- created at the same moment from another database of this server
      end;
      continue;
    end if;
    v_changes := concat_ws(
      ' ',
      case when v_existing.rolcanlogin <> v_role.can_login then
        case when v_role.can_login then 'login' else 'nologin' end
      end,
      case when v_existing.rolinherit <> v_role.inherits then
        case when v_role.inherits then 'inherit' else 'noinherit' end
      end,
      case when v_existing.rolsuper then 'nosuperuser' end,
      case when v_existing.rolcreatedb then 'nocreatedb' end,
      case when v_existing.rolcreaterole then 'nocreaterole' end,
      case when v_existing.rolreplication then 'noreplication' end,
      case when v_existing.rolbypassrls then 'nobypassrls' end
    );
    if v_changes <> '' then
      execute format('alter role %I %s', v_role.name, v_changes);
    end if;
  end loop;
end
$roles$;`;
}

function membershipSql({ prefix }: BootstrapOptions): string {
  const authenticator = literal(roleName(prefix, "authenticator"));
  const names = (["anonymous", "user"] as const).map((role) => literal(roleName(prefix, role))).join(", ");
  return `-- The authenticator may switch to these two roles, and has none of their privileges before that.
do $membership$
declare
  v_name text;
begin
  foreach v_name in array array[${names}]
  loop
    if current_setting('server_version_num')::integer >= 160000 then
      if not exists (
        select
        from pg_auth_members
        where roleid = to_regrole(quote_ident(v_name)) and member = to_regrole(${literal(pg.escapeIdentifier(roleName(prefix, "authenticator")))})
          and set_option and not inherit_option
      ) then
        execute format('grant %I to %I with inherit false, set true', v_name, ${authenticator});
      end if;
    elsif not exists (
      select
      from pg_auth_members
      where roleid = to_regrole(quote_ident(v_name)) and member = to_regrole(${literal(pg.escapeIdentifier(roleName(prefix, "authenticator")))})
    ) then
      execute format('grant %I to %I', v_name, ${authenticator});
    end if;
  end loop;
end
$membership$;`;
}

function ownerMembershipSql({ prefix, ownerIsCurrentUser }: BootstrapOptions): string {
  const owner = ownerIsCurrentUser ? "current_user" : literal(roleName(prefix, "owner"));
  const names = (["anonymous", "user"] as const).map((role) => literal(roleName(prefix, role))).join(", ");
  return `-- The owner may switch to them as well: plinth explain-access evaluates policies as the role that they apply to. This adds
-- no privilege, because the owner owns what they are granted. Without it, only explain-access does not work.
do $owner_membership$
declare
  v_owner pg_roles;
  v_name text;
begin
  select * into v_owner from pg_roles where rolname = ${owner};
  if v_owner.rolsuper then
    return;
  end if;
  foreach v_name in array array[${names}]
  loop
    begin
      if current_setting('server_version_num')::integer >= 160000 then
        if not exists (
          select
          from pg_auth_members
          where roleid = to_regrole(quote_ident(v_name)) and member = v_owner.oid and set_option
        ) then
          execute format('grant %I to %I with inherit false, set true', v_name, v_owner.rolname);
        end if;
      elsif not exists (
        select
        from pg_auth_members
        where roleid = to_regrole(quote_ident(v_name)) and member = v_owner.oid
      ) then
        execute format('grant %I to %I', v_name, v_owner.rolname);
      end if;
    exception when insufficient_privilege then
      raise warning 'the role % could not be granted to the owner %', v_name, v_owner.rolname;
    end;
  end loop;
end
$owner_membership$;`;
}

function databaseSql({ prefix, ownerIsCurrentUser }: BootstrapOptions): string {
  const names = LOGIN_ROLES.filter((role) => role !== "owner").map((role) => literal(roleName(prefix, role)));
  const owner = literal(roleName(prefix, "owner"));
  const takeOver = ownerIsCurrentUser
    ? ""
    : `
  if v_database.owner <> ${owner} then
    -- An administrator who is not a superuser can transfer a database only to a role of which they are a member.
    if not pg_has_role(${owner}, 'usage') then
      execute format('grant %I to current_user', ${owner});
    end if;
    execute format('alter database %I owner to %I', v_database.datname, ${owner});
  end if;`;
  return `-- Only the owner and the roles that log in may connect to the database. Only its owner can set this; if the owner is
-- another role, the server's administrator decides who may connect.
do $database$
declare
  v_database record;
  v_name text;
begin
  select datname, datdba, pg_get_userbyid(datdba) as owner
  into v_database
  from pg_database
  where datname = current_database();
  if not pg_has_role(v_database.datdba, 'usage') then
    return;
  end if;${takeOver}
  if has_database_privilege('public', v_database.datname, 'connect, temporary, create') then
    execute format('revoke all on database %I from public', v_database.datname);
  end if;
  foreach v_name in array array[${names.join(", ")}]
  loop
    if not has_database_privilege(v_name, v_database.datname, 'connect') then
      execute format('grant connect on database %I to %I', v_database.datname, v_name);
    end if;
  end loop;
end
$database$;`;
}

function searchPathSql({ prefix, ownerIsCurrentUser }: BootstrapOptions): string {
  const owner = ownerIsCurrentUser ? "current_user" : literal(roleName(prefix, "owner"));
  return `-- Lets people at a prompt omit schema names. Setting it requires the privilege to alter the role; without it, names
-- must be written in full, and nothing else changes.
do $search_path$
declare
  v_name text;
begin
  foreach v_name in array array[${owner}, ${literal(roleName(prefix, "analyst"))}]::text[]
  loop
    if not exists (
      select
      from pg_db_role_setting
      where setdatabase = (select oid from pg_database where datname = current_database())
        and setrole = to_regrole(quote_ident(v_name))
        and ${literal(`search_path=${SEARCH_PATH}`)} = any (setconfig)
    ) then
      begin
        execute format('alter role %I in database %I set search_path = ${SEARCH_PATH}', v_name, current_database());
      exception when insufficient_privilege then
        raise warning 'the search_path of % could not be set', v_name;
      end;
    end if;
  end loop;
end
$search_path$;`;
}

function passwordsSql({ prefix, ownerIsCurrentUser, passwords }: BootstrapOptions): string[] {
  if (!ownerIsCurrentUser && !passwords) return [passwordAdvice(prefix)];
  return LOGIN_ROLES.filter((role) => passwords?.[role] && !(role === "owner" && ownerIsCurrentUser)).map(
    (role) => passwordSql(prefix, role, passwords![role]!),
  );
}

/** Sets a password without revealing it to the server: only its SCRAM verifier is sent, and perhaps logged. */
export function passwordSql(prefix: string, role: LoginRole, password: string): string {
  return `alter role ${pg.escapeIdentifier(roleName(prefix, role))} password ${literal(scramVerifier(password))};`;
}

function passwordAdvice(prefix: string): string {
  const lines = LOGIN_ROLES.map((role) => `--   \\password ${roleName(prefix, role)}`);
  return ["-- Afterwards set a password for each role that logs in; in psql:", ...lines].join("\n");
}

function isLogin(role: Role): boolean {
  return (LOGIN_ROLES as readonly Role[]).includes(role);
}

function literal(text: string): string {
  return pg.escapeLiteral(text);
}
