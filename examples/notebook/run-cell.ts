import pg from "pg";

export interface Result {
  readonly columns: readonly { readonly name: string; readonly isNumber: boolean }[];
  /** Values as text, as psql shows them. */
  readonly rows: readonly (readonly (string | null)[])[];
  /** Whether the query has more rows than these. */
  readonly hasMore: boolean;
}

const MAX_ROWS = 500;
const TIMEOUT_MS = 10_000;
/** OIDs of bigint, smallint, integer, real, double precision and numeric. */
const NUMBERS = new Set([20, 21, 23, 700, 701, 1700]);
const AS_TEXT = { getTypeParser: () => (value: string) => value };

/**
 * Runs one query as the analyst, whose role decides what it may read. It runs in a transaction that only reads and is rolled
 * back, so that a `set` in one cell does not reach another.
 * @throws pg.DatabaseError with the position of the error in `sql`
 */
export async function runCell(pool: pg.Pool, sql: string): Promise<Result> {
  const client = await pool.connect();
  try {
    await client.query(`begin read only; set local statement_timeout = ${TIMEOUT_MS}`);
    const { fields, rows } = await client.query<(string | null)[]>(queryOf(sql));
    return {
      columns: fields.map(({ name, dataTypeID }) => ({ name, isNumber: NUMBERS.has(dataTypeID) })),
      rows: rows.slice(0, MAX_ROWS),
      hasMore: rows.length > MAX_ROWS,
    };
  } catch (error) {
    if (error instanceof pg.DatabaseError && error.position)
      error.position = String(Number(error.position) - BEFORE.length);
    throw error;
  } finally {
    await client.query("rollback").catch(() => {});
    client.release();
  }
}

/** The line break ends a comment. A query with a parameter is one statement: PostgreSQL rejects a second one. */
function queryOf(sql: string): pg.QueryArrayConfig {
  const text = `${BEFORE}${sql.replace(/;\s*$/, "")}\n) cell limit $1`;
  return { text, rowMode: "array", types: AS_TEXT, values: [MAX_ROWS + 1] };
}

const BEFORE = "select * from (\n";
