import type pg from "pg";
import type { CommittedMigration } from "./graphile-migrate.ts";
import { FORMER_PLINTH_HISTORY, type HistorySchema, PLINTH_HISTORY } from "./history.ts";

/**
 * Returns the schema that has the record of these migrations, also the former one of a database that has not been migrated since.
 * The record there is Plinth's if the owner owns it and its first migration is Plinth's first; a neighbour's has another hash.
 */
export async function locateHistory(
  client: pg.ClientBase,
  historySchema: HistorySchema,
  committed: readonly CommittedMigration[],
): Promise<HistorySchema> {
  if (historySchema !== PLINTH_HISTORY || (await hasRecord(client, PLINTH_HISTORY))) return historySchema;
  const mayRead = await hasRecord(client, FORMER_PLINTH_HISTORY);
  if (!mayRead) return PLINTH_HISTORY;
  const { rows } = await client.query<{ hash: string }>(
    `select hash from ${FORMER_PLINTH_HISTORY}.migrations order by filename collate "C" limit 1`,
  );
  return rows[0] !== undefined && rows[0].hash === committed[0]?.hash
    ? FORMER_PLINTH_HISTORY
    : PLINTH_HISTORY;
}

/** Whether the owner has a record of migrations there; another role's is a neighbour's. */
export async function hasRecord(client: pg.ClientBase, schema: HistorySchema): Promise<boolean> {
  const { rowCount } = await client.query(
    `select
     from pg_catalog.pg_class c
     join pg_catalog.pg_namespace n on n.oid = c.relnamespace
     where n.nspname = $1 and c.relname = 'migrations' and pg_catalog.pg_has_role(c.relowner, 'usage')`,
    [schema],
  );
  return rowCount === 1;
}

/** Moves Plinth's record out of the schema that a neighbour's graphile-migrate would use. */
export async function moveFormerHistory(
  client: pg.ClientBase,
  committed: readonly CommittedMigration[],
): Promise<void> {
  if ((await locateHistory(client, PLINTH_HISTORY, committed)) === FORMER_PLINTH_HISTORY)
    await client.query(`alter schema ${FORMER_PLINTH_HISTORY} rename to ${PLINTH_HISTORY}`);
}
