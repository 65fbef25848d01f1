import type pg from "pg";
import { PLINTH_HISTORY } from "../history.ts";

/** The state of a database before Plinth, as far as an install changes it outside its own schemas. An uninstall restores it. */
export interface BeforeInstall {
  /** The roles' prefix of the Plinth that is installed. */
  readonly prefix: string;
  /** Privileges of PUBLIC on the database: connect, create and temporary. */
  readonly publicPrivileges: readonly ("connect" | "create" | "temporary")[];
  /** Whether the owner's new functions were without EXECUTE for PUBLIC. */
  readonly functionsArePrivate: boolean;
  /** The owner's search path in this database, if it had one. */
  readonly searchPath: string | null;
}

export async function readBeforeInstall(client: pg.ClientBase, prefix: string): Promise<BeforeInstall> {
  const { rows } = await client.query<Omit<BeforeInstall, "prefix">>(`
    select
      array(
        select privilege
        from unnest(array['connect', 'create', 'temporary']) privilege
        where has_database_privilege('public', current_database(), privilege)
      ) as "publicPrivileges",
      exists (
        select
        from pg_default_acl d
        where d.defaclrole = current_user::regrole and d.defaclnamespace = 0 and d.defaclobjtype = 'f'
          and not exists (select from aclexplode(d.defaclacl) e where e.grantee = 0 and e.privilege_type = 'EXECUTE')
      ) as "functionsArePrivate",
      (
        select substr(setting, length('search_path=') + 1)
        from pg_db_role_setting s
        cross join unnest(s.setconfig) setting
        where s.setrole = current_user::regrole
          and s.setdatabase = (select oid from pg_database where datname = current_database())
          and starts_with(setting, 'search_path=')
      ) as "searchPath"`);
  return { prefix, ...rows[0]! };
}

/** Keeps the first state that is recorded: a later one would be that of an install. */
export async function recordBeforeInstall(client: pg.ClientBase, state: BeforeInstall): Promise<void> {
  await createTable(client);
  await client.query(`insert into ${TABLE} (state) values ($1) on conflict do nothing`, [
    JSON.stringify(state),
  ]);
}

/** Records which schemas an uninstall removes, so that its next run removes no later schema of the same name. */
export async function recordRemoval(client: pg.ClientBase, schemas: readonly string[]): Promise<void> {
  await createTable(client);
  await client.query(
    `insert into ${TABLE} (removing) values ($1) on conflict (id) do update set removing = excluded.removing`,
    [schemas],
  );
}

const TABLE = `${PLINTH_HISTORY}.before_install`;

async function createTable(client: pg.ClientBase): Promise<void> {
  await client.query(
    `create table if not exists ${TABLE} (id boolean primary key default true check (id), state jsonb, removing oid[])`,
  );
}

/** Both are unknown in a database that an earlier version installed. */
export interface InstallRecord {
  readonly state?: BeforeInstall | null;
  /** The schemas that an interrupted uninstall removes, by oid. */
  readonly removing?: readonly string[] | null;
}

export async function readInstallRecord(client: pg.ClientBase): Promise<InstallRecord> {
  const found = await client.query<{ found: boolean }>("select to_regclass($1) is not null as found", [
    TABLE,
  ]);
  if (!found.rows[0]!.found) return {};
  const { rows } = await client.query<InstallRecord>(
    `select state, removing::text[] as removing from ${TABLE}`,
  );
  return rows[0] ?? {};
}
