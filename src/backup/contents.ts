import type pg from "pg";
import type { TableContents } from "./records.ts";

/** Makes values read the same on each server. */
export const READING = `
  set datestyle = 'ISO';
  set intervalstyle = 'iso_8601';
  set timezone = 'UTC';
  set extra_float_digits = 1;
  set bytea_output = 'hex';
  set search_path = '';
  set statement_timeout = 0`;

/** Quoted names of the tables whose rows are in the WAL; not materialized views, which cannot be locked and follow from tables. */
export async function listTables(client: pg.ClientBase): Promise<string[]> {
  const { rows } = await client.query<{ name: string }>(
    `select format('%I.%I', n.nspname, c.relname) as name
     from pg_class c
     join pg_namespace n on n.oid = c.relnamespace
     where
       c.relkind = 'r'
       and c.relpersistence = 'p'
       and n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast')
     order by 1`,
  );
  return rows.map(({ name }) => name);
}

/** Counts the rows of each table and adds up their hashes, so that their order does not matter. */
export async function readContents(
  client: pg.ClientBase,
  tables: readonly string[],
  signal: AbortSignal,
  onProgress: (done: number, total: number) => void = () => {},
): Promise<Record<string, TableContents>> {
  const contents: Record<string, TableContents> = {};
  for (const [index, table] of tables.entries()) {
    signal.throwIfAborted();
    const { rows } = await client.query<TableContents>(
      `select
         count(*)::text as rows,
         coalesce(sum(hashtextextended(t::text, 0)::numeric), 0)::text as checksum
       from only ${table} t`,
    );
    contents[table] = rows[0]!;
    onProgress(index + 1, tables.length);
  }
  return contents;
}
