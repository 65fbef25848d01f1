import type pg from "pg";

/** Whether a statement waits for transactions and not for locks on tables, so that its waiting blocks no reads and writes. */
export function isConcurrent(sql: string): boolean {
  return /\b((re)?index|detach)\b[^;]*\bconcurrently\b/i.test(sql);
}

const CREATE =
  /\bcreate\s+(?:unique\s+)?index\s+concurrently\s+(?:if\s+not\s+exists\s+)?("[^"]+"|\w+)\s+on\s+(?:only\s+)?((?:"[^"]+"|\w+)(?:\.(?:"[^"]+"|\w+))?)/gi;

/**
 * Drops the invalid index that an interrupted `create index concurrently` of the same text left. Otherwise the next run would fail,
 * or, with `if not exists`, would keep an index that no query uses.
 */
export async function dropInvalidIndexes(
  client: pg.ClientBase,
  sql: string,
  log: (line: string) => void,
): Promise<void> {
  for (const [, index, table] of sql.matchAll(CREATE)) {
    const { rows } = await client.query<{ name: string }>(
      `select format('%I.%I', n.nspname, c.relname) as name
       from pg_catalog.pg_index i
         join pg_catalog.pg_class c on c.oid = i.indexrelid
         join pg_catalog.pg_namespace n on n.oid = c.relnamespace
       where not i.indisvalid
         and i.indrelid = pg_catalog.to_regclass($2)
         and c.relname = (pg_catalog.parse_ident($1))[1]`,
      [index, table],
    );
    for (const { name } of rows) {
      await client.query(`drop index concurrently ${name}`);
      log(`Dropped the invalid index ${name}, which an interrupted run left.`);
    }
  }
}
