import type pg from "pg";
import { LOGIN_ROLES, ROLES, roleName } from "../../config/roles.ts";
import { PlinthError } from "../../support/errors.ts";
import { PLINTH_HISTORY } from "../history.ts";
import { FORMER_JOB_SCHEMA, JOB_SCHEMA, SCHEMAS } from "../schemas.ts";

/**
 * Checks that a migration finds either no Plinth and nothing in its way, or its own Plinth. Changes nothing.
 * @param options.isNew whether the database has run no migration of Plinth
 * @throws PlinthError DATABASE_OCCUPIED, ROLE_PREFIX_DIFFERS
 */
export async function assertMigratable(
  client: pg.ClientBase,
  { prefix, isNew }: { readonly prefix: string; readonly isNew: boolean },
): Promise<void> {
  await (isNew ? assertUnoccupied : assertOwnPrefix)(client, prefix);
}

/**
 * For a database that has run no migration: finds everything that an install would collide with, before it changes anything.
 * @throws PlinthError DATABASE_OCCUPIED, whose hint has a line for each collision with the remedy
 */
async function assertUnoccupied(client: pg.ClientBase, prefix: string): Promise<void> {
  const { rows } = await client.query<{ database: string }>("select current_database() as database");
  const collisions = [
    ...(await schemaCollisions(client)),
    ...(await extensionCollisions(client)),
    ...(await roleCollisions(client, prefix)),
  ];
  if (collisions.length === 0) return;
  throw new PlinthError(
    "DATABASE_OCCUPIED",
    `Plinth cannot be installed in the database ${rows[0]!.database}: ${collisions.length === 1 ? "a name is" : `${collisions.length} names are`} in use. Nothing was changed.`,
    { hint: ["Resolve these, or give Plinth a database of its own:", ...collisions].join("\n  ") },
  );
}

interface FoundSchema {
  readonly name: string;
  readonly owner: string;
  readonly isOwn: boolean;
  readonly relations: number;
  readonly isKnown: boolean;
}

/** A schema of the job queue or of the history that the owner made is Plinth's, from an install that stopped, or rolled back. */
async function schemaCollisions(client: pg.ClientBase): Promise<string[]> {
  const { rows } = await client.query<FoundSchema>(
    `select
       n.nspname as name,
       pg_get_userbyid(n.nspowner) as owner,
       pg_has_role(n.nspowner, 'usage') as "isOwn",
       (select count(*)::integer from pg_class c where c.relnamespace = n.oid and c.relkind in ('r', 'p', 'v', 'm', 'f')) as relations,
       exists (
         select from pg_class c where c.relnamespace = n.oid and c.relname in ('migrations', 'version')
       ) as "isKnown"
     from pg_namespace n
     where n.nspname = any ($1)
     order by array_position($1, n.nspname::text)`,
    [[...SCHEMAS, JOB_SCHEMA, PLINTH_HISTORY]],
  );
  const found = rows.filter(
    ({ name, isOwn, isKnown, relations }) =>
      !((name === JOB_SCHEMA || name === PLINTH_HISTORY) && isOwn && (isKnown || relations === 0)),
  );
  const lines = found.map(({ name, owner, isOwn, relations }) => {
    if (name === PLINTH_HISTORY && !isOwn)
      return `schema ${name} (owner ${owner}): ${owner} has installed a Plinth here, and a database holds only one`;
    const content =
      relations === 0 ? "empty" : relations === 1 ? "1 table or view" : `${relations} tables and views`;
    const remedy =
      relations === 0 && isOwn ? `drop schema ${name};` : `rename it (alter schema ${name} rename to …)`;
    return `schema ${name} (owner ${owner}, ${content}): ${remedy}`;
  });
  const isRecordOwn = rows.some(({ name, isOwn }) => name === PLINTH_HISTORY && isOwn);
  if (found.length >= SCHEMAS.length || (isRecordOwn && found.length > 0))
    lines.push(
      `These look like a Plinth without its record of migrations. If a dump was restored, restore its schema ${PLINTH_HISTORY} too; if an uninstall was interrupted, run plinth uninstall again.`,
    );
  return lines;
}

/** Migrations name the operators and functions of this extension with the schema. The other extensions may be anywhere. */
async function extensionCollisions(client: pg.ClientBase): Promise<string[]> {
  const { rows } = await client.query<{ schema: string }>(
    "select extnamespace::regnamespace::text as schema from pg_extension where extname = 'pg_trgm'",
  );
  return rows.map(
    ({ schema }) =>
      `extension pg_trgm (in schema ${schema}): Plinth needs it in its schema plinth. If nothing uses it: drop extension pg_trgm;`,
  );
}

interface FoundRole {
  readonly name: string;
  readonly login: boolean;
  readonly inherits: boolean;
  readonly powers: string[];
  /** Objects of this database that the role owns or has privileges on. */
  readonly uses: number;
}

/** Roles of Plinth may exist already, from another database of the server or from an administrator, with the same attributes. */
async function roleCollisions(client: pg.ClientBase, prefix: string): Promise<string[]> {
  const wanted = new Map(
    ROLES.filter((role) => role !== "owner").map((role) => [roleName(prefix, role), role] as const),
  );
  const { rows } = await client.query<FoundRole>(
    `select
       r.rolname as name,
       r.rolcanlogin as login,
       r.rolinherit as inherits,
       array_remove(array[
         case when r.rolsuper then 'superuser' end,
         case when r.rolcreatedb then 'createdb' end,
         case when r.rolcreaterole then 'createrole' end,
         case when r.rolreplication then 'replication' end,
         case when r.rolbypassrls then 'bypassrls' end
       ], null) as powers,
       (
         select count(*)::integer
         from pg_shdepend d
         where d.refclassid = 'pg_authid'::regclass and d.refobjid = r.oid
           and d.dbid = (select oid from pg_database where datname = current_database())
           and d.objid not in (select oid from pg_namespace where nspname = any ($2))
           and not exists (
             select from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = d.objid and n.nspname = any ($2)
           )
           and not exists (
             select from pg_proc p join pg_namespace n on n.oid = p.pronamespace where p.oid = d.objid and n.nspname = any ($2)
           )
           and not exists (
             select from pg_policy p join pg_class c on c.oid = p.polrelid join pg_namespace n on n.oid = c.relnamespace
             where p.oid = d.objid and n.nspname = any ($2)
           )
       ) as uses
     from pg_roles r
     where r.rolname = any ($1)
     order by r.rolname`,
    [[...wanted.keys()], [JOB_SCHEMA, FORMER_JOB_SCHEMA]],
  );
  return rows.flatMap((row) => {
    const role = wanted.get(row.name)!;
    const login = (LOGIN_ROLES as readonly string[]).includes(role);
    const inherits = role !== "authenticator";
    const differences = [
      ...(row.login === login ? [] : [login ? "nologin" : "login"]),
      ...(row.inherits === inherits ? [] : [inherits ? "noinherit" : "inherit"]),
      ...row.powers,
    ];
    const reasons = [
      ...(differences.length === 0 ? [] : [`is ${differences.join(", ")}`]),
      ...(row.uses === 0
        ? []
        : [`is used by ${row.uses === 1 ? "an object" : `${row.uses} objects`} of this database`]),
    ];
    return reasons.length === 0
      ? []
      : [
          `role ${row.name} ${reasons.join(" and ")}: set PLINTH_ROLE_PREFIX to another prefix than ${prefix}, or change the role`,
        ];
  });
}

/**
 * For a database that has run migrations: those granted everything to roles of one prefix.
 * @throws PlinthError ROLE_PREFIX_DIFFERS
 */
async function assertOwnPrefix(client: pg.ClientBase, prefix: string): Promise<void> {
  const { rows } = await client.query<{ user: string }>(
    `select r.rolname as user
     from pg_namespace n
     cross join aclexplode(n.nspacl) e
     join pg_roles r on r.oid = e.grantee
     where n.nspname = 'identity' and r.rolname ~ '_user$'`,
  );
  if (rows.length === 0 || rows.some(({ user }) => user === roleName(prefix, "user"))) return;
  const found = rows[0]!.user.replace(/_user$/, "");
  throw new PlinthError(
    "ROLE_PREFIX_DIFFERS",
    `The Plinth in this database uses the roles ${found}_user and so on, but PLINTH_ROLE_PREFIX is ${prefix}.`,
    { hint: `Set PLINTH_ROLE_PREFIX=${found}, or use another database: a database holds only one Plinth.` },
  );
}
