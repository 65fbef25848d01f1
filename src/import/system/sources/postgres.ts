import type pg from "pg";
import { DatabaseClient } from "../../../connection/client.ts";
import { InvalidDatabaseUrl } from "../../../connection/database-url.ts";
import { PlinthError } from "../../../support/errors.ts";
import { createBatches, nextFetch } from "./large-rows.ts";
import { quoted, type RawRow, type Source, sourceFailed } from "./source.ts";

/** Values stay as PostgreSQL writes them: a Date would lose microseconds, a number digits. */
const AS_TEXT = { getTypeParser: () => (text: string) => text };

/** The size of rows is unknown before the first fetch. */
const FIRST_FETCH = 50;

/**
 * Opens a PostgreSQL database for reading: one read-only snapshot for the whole import, with a cursor for each table.
 * @throws PlinthError SOURCE_NOT_READABLE
 */
export async function openPostgres(url: string): Promise<Source> {
  let client: DatabaseClient;
  try {
    client = new DatabaseClient({
      connectionString: url,
      application_name: "plinth import",
      types: AS_TEXT as never,
      connectionTimeoutMillis: 10_000,
    });
    // The next query reports a broken connection.
    client.on("error", () => {});
    await client.connect();
    await client.query("begin isolation level repeatable read read only");
    await client.query(
      "set local timezone = 'UTC'; set local datestyle = 'ISO'; set local bytea_output = 'hex'; set local statement_timeout = 0; set local idle_in_transaction_session_timeout = 0",
    );
    // A query that never ends, such as of a view, is canceled when the import has been. Old servers cannot.
    await client.query(
      "select set_config(name, '10s', true) from pg_settings where name = 'client_connection_check_interval'",
    );
  } catch (error) {
    const reason = error instanceof InvalidDatabaseUrl || error instanceof Error ? error.message : "unknown";
    throw new PlinthError("SOURCE_NOT_READABLE", `The source database cannot be read: ${reason}.`, {
      // The cause may contain the URL.
      hint: "Check the URL, and that its role may read the tables. The password may be in PGPASSWORD.",
    });
  }
  const query = async <R extends pg.QueryResultRow>(sql: string): Promise<R[]> => {
    try {
      return (await client.query<R>(sql)).rows;
    } catch (error) {
      throw sourceFailed("The source database", reasonOf(error as pg.DatabaseError));
    }
  };
  const arrays = new Map<string, ReadonlySet<string>>();
  return {
    title: "the source database",

    // An array's own text is read by PostgreSQL only.
    expression: (relation, quotedColumn, column) =>
      arrays.get(relation)?.has(column) ? `to_json(${quotedColumn})` : quotedColumn,

    async relations() {
      const { rows } = await client.query<{ name: string }>(
        `select c.relname as name from pg_class c
         where c.relkind in ('r', 'p', 'f') and not c.relispartition and pg_table_is_visible(c.oid)
           and c.relnamespace <> 'pg_catalog'::regnamespace
           and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
         order by 1`,
      );
      return rows.map(({ name }) => name);
    },

    async columnsOf(relation) {
      const { rows } = await client.query<{ name: string; is_array: string }>(
        `select a.attname as name, t.typcategory = 'A' as is_array
         from pg_attribute a join pg_type t on t.oid = a.atttypid
         where a.attrelid = to_regclass($1) and a.attnum > 0 and not a.attisdropped`,
        [quoted(relation)],
      );
      if (rows.length === 0) return undefined;
      arrays.set(relation, new Set(rows.filter((row) => row.is_array === "t").map(({ name }) => name)));
      return new Set(rows.map(({ name }) => name));
    },

    async *read(sql, batchSize) {
      await query(`declare plinth_import no scroll cursor for ${sql}`);
      try {
        const batches = createBatches(batchSize);
        for (let count = Math.min(batchSize, FIRST_FETCH); ; ) {
          const rows = await query<RawRow>(`fetch forward ${count} from plinth_import`);
          for (const row of rows) {
            const batch = batches.add(row);
            if (batch) yield batch;
          }
          if (rows.length < count) break;
          count = nextFetch(rows, batchSize);
        }
        const rest = batches.rest();
        if (rest.length > 0) yield rest;
      } finally {
        // After an error, the transaction is over, and the cursor with it.
        await client.query("close plinth_import").catch(() => {});
      }
    },

    close: () => client.end().catch(() => {}),
  };
}

/** Messages about names, rights and connections contain no values of rows. */
function reasonOf({ code, message }: pg.DatabaseError): string {
  return code === undefined || /^(08|42|53|57)/.test(code) ? message : `SQLSTATE ${code}`;
}
