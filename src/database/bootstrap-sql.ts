import pg from "pg";
import { LOGIN_ROLES, type LoginRole, ROLES, type Role, roleName } from "../config/roles.ts";
import { analystLimitsSql } from "./analyst-limits.ts";
import { createRoles, literal, type WantedRole } from "./create-roles-sql.ts";
import { lostConnectionsSql } from "./neighbour/lost-connections.ts";
import { passwordSql } from "./role-password-sql.ts";
import { SCHEMAS } from "./schemas.ts";

export interface BootstrapOptions {
  readonly prefix: string;
  /** true: the current user becomes the owner; false: `<prefix>_owner` is created and owns the database. */
  readonly ownerIsCurrentUser: boolean;
  /** A role that becomes the owner instead of `<prefix>_owner`. If it exists, its attributes stay as they are. */
  readonly owner?: string | undefined;
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
    header(options),
    "begin;",
    "-- Concurrent runs wait for each other.\nselect pg_advisory_xact_lock(hashtext('plinth roles'));",
    createRolesSql(options),
    membershipSql(options),
    ownerMembershipSql(options),
    databaseSql(options),
    searchPathSql(options),
    analystLimitsSql(roleName(options.prefix, "analyst")),
    ...passwordsSql(options),
    "commit;",
    "",
  ].join("\n\n");
}

function header(options: BootstrapOptions): string {
  const about = `-- Roles and database privileges of Plinth. Run it in Plinth's database, as a superuser or as the owner of
-- that database who may create roles; running it again changes nothing.`;
  if (options.ownerIsCurrentUser) return about;
  return `${about}
--
-- In the database it changes:
--   the owner, which becomes ${inComment(ownerName(options))}: the role in PLINTH_OWNER_URL, or without that setting a role of this name;
--   CONNECT and TEMPORARY of PUBLIC, which are revoked: only Plinth's roles, the owner, superusers and roles with a grant of their
--   own may connect then. For other roles that use the database: grant connect on database … to …;
--   the search_path of the owner and of the analyst in this database, and the analyst's statement_timeout and
--   idle_in_transaction_session_timeout, unless the role has its own.`;
}

function ownerName({ prefix, owner }: BootstrapOptions): string {
  return owner ?? roleName(prefix, "owner");
}

/** Which attributes of an existing role stay. An owner may have created the other roles; a role that others named may do more. */
function keeps(role: Role, options: BootstrapOptions): WantedRole["keeps"] {
  if (role !== "owner") return "nothing";
  return ownerName(options) === roleName(options.prefix, "owner") ? "createrole" : "everything";
}

function createRolesSql(options: BootstrapOptions): string {
  const { prefix, ownerIsCurrentUser } = options;
  const rows = ROLES.filter((role) => !(role === "owner" && ownerIsCurrentUser)).map((role) => ({
    name: role === "owner" ? ownerName(options) : roleName(prefix, role),
    canLogIn: isLogin(role),
    inherits: role !== "authenticator",
    keeps: keeps(role, options),
  }));
  return `-- No role is a superuser, may create objects or bypasses row-level security. The authenticator inherits nothing:
-- it must set the role it acts as. An existing owner keeps its right to create roles.
${createRoles(rows)}`;
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

function ownerMembershipSql(options: BootstrapOptions): string {
  const { prefix, ownerIsCurrentUser } = options;
  const owner = ownerIsCurrentUser ? "current_user" : literal(ownerName(options));
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

function databaseSql(options: BootstrapOptions): string {
  const { prefix, ownerIsCurrentUser } = options;
  const names = LOGIN_ROLES.filter((role) => role !== "owner").map((role) => literal(roleName(prefix, role)));
  const owner = literal(ownerName(options));
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
  const own = ROLES.map((role) => literal(role === "owner" ? ownerName(options) : roleName(prefix, role)));
  const warning = isScript(options)
    ? `
  for v_lost in ${lostConnectionsSql(`array[${own.join(", ")}]`).trim()}
  loop
    select string_agg(quote_ident(name), ', ') into v_names from unnest(v_lost.roles) name;
    raise warning 'PUBLIC loses CONNECT on the database %, which these roles use and may connect to only through PUBLIC: %',
      v_lost.database, v_names
      using hint = format('To let them connect: grant connect on database %I to %s;', v_lost.database, v_names);
  end loop;`
    : "";
  return `-- Only the owner and the roles that log in may connect to the database. Only its owner can set this; if the owner is
-- another role, the server's administrator decides who may connect.
do $database$
declare
  v_database record;
  v_lost record;
  v_names text;
  v_name text;
begin
  select datname, datdba, pg_get_userbyid(datdba) as owner
  into v_database
  from pg_database
  where datname = current_database();
  if not pg_has_role(v_database.datdba, 'usage') then
    return;
  end if;${takeOver}${warning}
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

function searchPathSql(options: BootstrapOptions): string {
  const { prefix, ownerIsCurrentUser } = options;
  const owner = ownerIsCurrentUser ? "current_user" : literal(ownerName(options));
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

function passwordsSql(options: BootstrapOptions): string[] {
  const { prefix, ownerIsCurrentUser, passwords } = options;
  if (isScript(options)) return [passwordAdvice(options)];
  return LOGIN_ROLES.filter((role) => passwords?.[role] && !(role === "owner" && ownerIsCurrentUser)).map(
    (role) => passwordSql(prefix, role, passwords![role]!),
  );
}

function passwordAdvice(options: BootstrapOptions): string {
  const owner = inComment(ownerName(options));
  const names = LOGIN_ROLES.map((role) => (role === "owner" ? owner : roleName(options.prefix, role)));
  const lines = names.map((name) => `--   \\password ${name}`);
  return [
    "-- Afterwards set a password for each role that has none: without one, it cannot log in. In psql, which sends only the",
    "-- password's SCRAM verifier:",
    ...lines,
    "-- With another client, where the server's log may show the statement:",
    "--   set password_encryption = 'scram-sha-256';",
    `--   alter role ${owner} password '…';`,
    "-- Then put each password into the role's URL, such as PLINTH_OWNER_URL=postgres://role:password@host:5432/database.",
  ].join("\n");
}

/** Whether an administrator runs it, and reads what it says. */
function isScript({ ownerIsCurrentUser, passwords }: BootstrapOptions): boolean {
  return !ownerIsCurrentUser && !passwords;
}

/** The name as SQL writes it, on one line. */
function inComment(name: string): string {
  const isPlain = /^[a-z_][a-z0-9_]*$/.test(name);
  return (isPlain ? name : pg.escapeIdentifier(name)).replaceAll(/\p{C}/gu, "?");
}

function isLogin(role: Role): boolean {
  return (LOGIN_ROLES as readonly Role[]).includes(role);
}
