import pg from "pg";
import type { TestDatabase } from "./database.ts";
import { withClient } from "./database.ts";

/**
 * Every table of the database, including partitions and the job queue's, with a row that contains `text` in any column,
 * also inside JSON, arrays and (as UTF-8) bytea. Reads as the administrator, whom no policy restricts.
 */
export async function tablesWith(db: TestDatabase, text: string): Promise<string[]> {
  return withClient(db.adminUrl, (client) => tablesWithAny(client, [text]));
}

/** The same with any of several texts, also in rows that are not committed yet. */
export async function tablesWithAny(client: pg.ClientBase, texts: readonly string[]): Promise<string[]> {
  const { rows } = await client.query<{ name: string; bytea_columns: string[] }>(
    `select format('%I.%I', n.nspname, c.relname) as name,
       array(
         select format('%I', a.attname) from pg_attribute a
         where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.atttypid = 'bytea'::regtype
       ) as bytea_columns
     from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where c.relkind in ('r', 'm') and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
     order by 1`,
  );
  const needles = texts.map((text) => pg.escapeLiteral(text));
  const found: string[] = [];
  for (const { name, bytea_columns } of rows) {
    const conditions = needles.flatMap((needle) => [
      `strpos(lower(t::text), lower(${needle})) > 0`,
      ...bytea_columns.map((column) => `position(convert_to(${needle}, 'UTF8') in t.${column}) > 0`),
    ]);
    const { rowCount } = await client.query(`select from ${name} t where ${conditions.join(" or ")} limit 1`);
    if (rowCount) found.push(name);
  }
  return found;
}

/** A hash of the rows of every table of the database, by the table's name. Reads as the administrator. */
export async function hashesOfTables(db: TestDatabase): Promise<Map<string, string>> {
  return withClient(db.adminUrl, async (client) => {
    const { rows: tables } = await client.query<{ name: string }>(TABLES);
    const hashes = tables.map(
      ({ name }) =>
        `select ${pg.escapeLiteral(name)} as name, md5(string_agg(t::text, e'\\n' order by t::text)) as hash from ${name} t`,
    );
    const { rows } = await client.query<{ name: string; hash: string | null }>(hashes.join(" union all "));
    return new Map(rows.map(({ name, hash }) => [name, hash ?? "empty"]));
  });
}

const TABLES = `
  select format('%I.%I', n.nspname, c.relname) as name
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where c.relkind in ('r', 'm') and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
  order by 1`;
