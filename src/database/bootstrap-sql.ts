import pg from "pg";
import { LOGIN_ROLES, type LoginRole, ROLES, type Role, roleName } from "../config/roles.ts";
import { SCHEMAS } from "./schemas.ts";
import { scramVerifier } from "./scram.ts";

export interface BootstrapOptions {
  readonly prefix: string;
  /** true: whoever runs it becomes the owner; false: `<prefix>_owner` is made and owns the database. */
  readonly ownerIsCurrentUser: boolean;
  /** Sent as SCRAM verifiers only. A role without one keeps the password it has, or has none. */
  readonly passwords?: Partial<Record<LoginRole, string>> | undefined;
}

/** People at a prompt (the owner, analysts) need not write a schema's name. */
const SEARCH_PATH = SCHEMAS.join(", ");

/**
 * SQL that makes the roles and the privileges on the database it is run in. It can be run again, also by two at once,
 * and a second run needs no right that its changes would need, because it changes only what differs. PostgreSQL 15 or
 * newer; the one who runs it must be able to create roles, unless nothing is missing.
 */
export function bootstrapSql(options: BootstrapOptions): string {
  return [
    HEADER,
    "begin;",
    "-- Two at once wait for each other.\nselect pg_advisory_xact_lock(hashtext('plinth roles'));",
    createRolesSql(options),
    membershipSql(options),
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
  return `-- None is superuser, may create anything or passes by row-level security. The authenticator inherits nothing:
-- it has to say whom it acts for.
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
        null; -- made at this moment from another database of this server
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
  return `-- The authenticator may become these two, and has no right of theirs before it does.
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

function databaseSql({ prefix, ownerIsCurrentUser }: BootstrapOptions): string {
  const names = LOGIN_ROLES.filter((role) => role !== "owner").map((role) => literal(roleName(prefix, role)));
  const owner = literal(roleName(prefix, "owner"));
  const takeOver = ownerIsCurrentUser
    ? ""
    : `
  if v_database.owner <> ${owner} then
    -- An administrator who is no superuser can give a database only to a role that it belongs to.
    if not pg_has_role(${owner}, 'usage') then
      execute format('grant %I to current_user', ${owner});
    end if;
    execute format('alter database %I owner to %I', v_database.datname, ${owner});
  end if;`;
  return `-- Nobody enters the database but the owner and the roles that log in. Only its owner can say so; where the owner is
-- another, the server's administrator decides who may connect.
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
  return `-- People at a prompt find every table without its schema's name. Only one who may alter a role can set this; without
-- it names have to be written in full, and nothing else changes.
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

/** Sets a password without showing it to the server: what is sent, and may be logged, is its SCRAM verifier. */
export function passwordSql(prefix: string, role: LoginRole, password: string): string {
  return `alter role ${pg.escapeIdentifier(roleName(prefix, role))} password ${literal(scramVerifier(password))};`;
}

function passwordAdvice(prefix: string): string {
  const lines = LOGIN_ROLES.map((role) => `--   \\password ${roleName(prefix, role)}`);
  return ["-- Afterwards give each role that logs in a password; in psql:", ...lines].join("\n");
}

function isLogin(role: Role): boolean {
  return (LOGIN_ROLES as readonly Role[]).includes(role);
}

function literal(text: string): string {
  return pg.escapeLiteral(text);
}
