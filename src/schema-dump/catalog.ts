import type pg from "pg";
import { ROLES, roleName } from "../config/roles.ts";
import { FORMER_PLINTH_HISTORY, HISTORY_SCHEMAS } from "../database/history.ts";
import { FORMER_JOB_SCHEMA, JOB_SCHEMA } from "../database/schemas.ts";
import type { RoleNames } from "./privileges.ts";

/** The context of all parts of the dump: a query function, the schemas and the names of roles. */
export interface Catalog {
  readonly schemas: readonly string[];
  readonly roles: RoleNames;
  /** Oid of the role that migrates; its objects are dumped without an owner. */
  readonly owner: string;
  /** Runs a query whose `$1` is the list of schemas. */
  query<Row extends pg.QueryResultRow>(sql: string): Promise<Row[]>;
}

/** Settings that change how the server prints definitions, as pg_dump sets them. */
const PRINT_SETTINGS: Readonly<Record<string, string>> = {
  // With an empty path, names are printed with their schema.
  search_path: "",
  DateStyle: "ISO",
  IntervalStyle: "postgres",
  TimeZone: "UTC",
  bytea_output: "hex",
  quote_all_identifiers: "off",
};

/** Runs `use` with the settings that make printed definitions comparable, and restores the previous settings. */
export async function withPrintSettings<T>(client: pg.ClientBase, use: () => Promise<T>): Promise<T> {
  const names = Object.keys(PRINT_SETTINGS);
  const before = await client.query<{ name: string; setting: string }>(
    "select name, current_setting(name) as setting from unnest($1::text[]) name",
    [names],
  );
  const set = async (values: readonly { name: string; setting: string }[]) => {
    for (const { name, setting } of values)
      await client.query("select set_config($1, $2, false)", [name, setting]);
  };
  await set(names.map((name) => ({ name, setting: PRINT_SETTINGS[name]! })));
  try {
    return await use();
  } finally {
    // After a failed statement inside a transaction, the rollback restores the settings.
    await set(before.rows).catch(() => {});
  }
}

/** Schemas of the system, the job queue and the records of migrations; also under their names of before, which a rollback restores. */
const NOT_DUMPED = [
  "information_schema",
  JOB_SCHEMA,
  FORMER_JOB_SCHEMA,
  ...HISTORY_SCHEMAS,
  FORMER_PLINTH_HISTORY,
];

/** Returns the schemas to dump: all except those above; `public` only if used. */
export async function listSchemas(client: pg.ClientBase): Promise<string[]> {
  const { rows } = await client.query<{ name: string }>(
    `
    select nspname as name
    from pg_namespace n
    where nspname !~ '^pg_'
      and nspname <> all ($1)
      and (
        nspname <> 'public'
        or exists (select from pg_class c where c.relnamespace = n.oid and not exists (${ofExtension("pg_class", "c.oid")}))
        or exists (select from pg_proc p where p.pronamespace = n.oid and not exists (${ofExtension("pg_proc", "p.oid")}))
      )
    order by nspname collate "C"
  `,
    [NOT_DUMPED],
  );
  return rows.map((row) => row.name);
}

/**
 * Returns a subquery that has a row if an extension's script defines the object (dependency kind 'e'). Kind 'i' also excludes
 * objects that belong to another object, such as a range type's constructors.
 */
export function ofExtension(catalog: string, oid: string, kinds = "'e'"): string {
  return `
    select from pg_depend d
    where d.classid = '${catalog}'::regclass and d.objid = ${oid} and d.deptype in (${kinds})`;
}

/** Continues `from (…) part`, whose `relation` is an oid: selects the wanted schemas without monthly partitions. */
export const RELATION_FILTER = `
  join pg_class c on c.oid = part.relation
  join pg_namespace n on n.oid = c.relnamespace
  where n.nspname = any ($1) and not c.relispartition`;

/** Returns `alter … owner to …` for an object that the migrating role does not own. */
export function ownerStatement(object: string, owner: string, catalog: Catalog): string[] {
  return owner === catalog.owner ? [] : [`alter ${object} owner to ${catalog.roles.get(owner) ?? owner};`];
}

/**
 * Reads roles and schemas. Plinth's roles are written as the placeholders of migrations, so that a dump does not depend on the
 * prefix; other roles are written by name.
 */
export async function readCatalog(
  client: pg.ClientBase,
  options: { rolePrefix: string; schemas?: readonly string[] },
): Promise<Catalog> {
  const { rows } = await client.query<{ oid: string; name: string; quoted: string; is_owner: boolean }>(
    "select oid::text, rolname as name, quote_ident(rolname) as quoted, rolname = current_user as is_owner from pg_roles",
  );
  const placeholders = new Map(
    ROLES.map((role) => [roleName(options.rolePrefix, role), `:PLINTH_${role.toUpperCase()}`]),
  );
  const roles = new Map([["0", "public"]]);
  for (const { oid, name, quoted, is_owner } of rows)
    roles.set(oid, is_owner ? ":PLINTH_OWNER" : (placeholders.get(name) ?? quoted));
  const schemas = options.schemas ?? (await listSchemas(client));
  return {
    schemas,
    roles,
    owner: rows.find((row) => row.is_owner)!.oid,
    async query<Row extends pg.QueryResultRow>(sql: string) {
      return (await client.query<Row>(sql, [schemas])).rows;
    },
  };
}
