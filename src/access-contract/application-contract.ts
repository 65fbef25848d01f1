import pg from "pg";
import type { Role } from "../config/roles.ts";
import { roleName } from "../config/roles.ts";
import { SCHEMAS } from "../database/schemas.ts";
import type { OnProgress } from "../support/progress.ts";
import { withWarnings } from "./application-page.ts";
import { openSqlContract } from "./attempt-all.ts";
import { contractOf, rolesOf, writeContract } from "./contract.ts";
import { type MissingRow, makeRows } from "./rows/make-rows.ts";
import { createUsers, type NEIGHBOR, readUsers, withUsers } from "./rows/seed.ts";
import { readShapes } from "./rows/shapes.ts";
import { findWarnings } from "./warnings.ts";

interface ContractOptions {
  readonly rolePrefix: string;
  /** The application's. */
  readonly schemas: readonly string[];
  /** SQL that inserts rows which cannot be made from the catalogue; see `withUsers`. */
  readonly seed?: string | undefined;
  readonly onProgress?: OnProgress;
}

/**
 * Tries what each role may do with an application's tables, views and functions, in one transaction that is rolled back, and returns
 * the text of the file for machines.
 * @param client a superuser on a migrated database
 */
export async function attemptApplication(client: pg.ClientBase, options: ContractOptions): Promise<string> {
  const { rolePrefix, schemas } = options;
  await client.query("begin");
  try {
    // Names have their schemas in the contract.
    await client.query("set local search_path = ''");
    const missing = await asRole(client, roleName(rolePrefix, "owner" satisfies Role), () =>
      seed(client, options),
    );
    const actors = await readUsers(client);
    const tried = { rolePrefix, adminIsSuperuser: true, actors, schemas };
    const contract = contractOf(
      await (await openSqlContract(client, tried)).attempt(undefined, options.onProgress),
    );
    const warnings = await findWarnings(client, schemas, contract, missing);
    return withWarnings(writeContract(contract, rolesOf(actors)), warnings);
  } finally {
    await client.query("rollback");
  }
}

async function seed(
  client: pg.ClientBase,
  { schemas, seed: sql }: ContractOptions,
): Promise<readonly MissingRow[]> {
  await createUsers(client);
  const { rows } = await client.query<{ username: "user" | typeof NEIGHBOR; id: string }>(
    "select username, id from identity.users where username in ('user', 'neighbor') order by username desc",
  );
  const ids = Object.fromEntries(rows.map(({ username, id }) => [username, id])) as Record<
    "user" | "neighbor",
    string
  >;
  if (sql !== undefined) await client.query(withUsers(sql, ids));
  const shapes = await readShapes(client, [...SCHEMAS, ...schemas]);
  const tables = [...shapes.keys()].filter((name) =>
    schemas.some(
      (schema) => name.startsWith(`${pg.escapeIdentifier(schema)}.`) || name.startsWith(`${schema}.`),
    ),
  );
  const missing = await makeRows(client, shapes, tables, [ids.user, ids.neighbor]);
  await refreshViews(client, schemas);
  return missing;
}

async function refreshViews(client: pg.ClientBase, schemas: readonly string[]): Promise<void> {
  const { rows } = await client.query<{ statement: string }>(
    `select format('refresh materialized view %s', c.oid::regclass) as statement
     from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where c.relkind = 'm' and n.nspname = any ($1) order by c.oid::regclass::text`,
    [schemas],
  );
  for (const { statement } of rows) await client.query(statement);
}

async function asRole<T>(client: pg.ClientBase, role: string, use: () => Promise<T>): Promise<T> {
  await client.query("select set_config('role', $1, true)", [role]);
  const result = await use();
  await client.query("reset role");
  return result;
}
