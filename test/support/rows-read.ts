import type pg from "pg";

interface Plan {
  readonly "Relation Name"?: string;
  readonly "Actual Rows": number;
  readonly "Actual Loops": number;
  readonly "Rows Removed by Filter"?: number;
  readonly Plans?: readonly Plan[];
}

/** Runs a statement and returns how many rows its plan read from each table or partition. */
export async function rowsRead(client: pg.ClientBase, sql: string): Promise<Map<string, number>> {
  const { rows } = await client.query(`explain (analyze, format json) ${sql}`);
  const read = new Map<string, number>();
  const add = (plan: Plan) => {
    const table = plan["Relation Name"];
    const inEachLoop = plan["Actual Rows"] + (plan["Rows Removed by Filter"] ?? 0);
    if (table) read.set(table, (read.get(table) ?? 0) + inEachLoop * plan["Actual Loops"]);
    for (const child of plan.Plans ?? []) add(child);
  };
  add(rows[0]["QUERY PLAN"][0].Plan);
  return read;
}

/**
 * Runs a statement in a transaction and returns how many entries of a table and of its indexes it read, also inside SQL functions.
 * Unlike the number of blocks, it does not depend on caches and on other sessions.
 */
export async function entriesRead(client: pg.ClientBase, table: string, sql: string): Promise<number> {
  const count = async (): Promise<number> => {
    const { rows } = await client.query<{ n: number }>(
      `select sum(pg_stat_get_xact_tuples_returned(relation) + pg_stat_get_xact_tuples_fetched(relation))::integer as n
       from pg_class c
       cross join lateral (select c.oid union all select indexrelid from pg_index where indrelid = c.oid) as r (relation)
       where c.relnamespace = (select oid from pg_namespace where nspname = $1) and c.relname = $2`,
      table.split("."),
    );
    return rows[0]!.n;
  };
  await client.query("begin");
  try {
    const before = await count();
    await client.query(sql);
    return (await count()) - before;
  } finally {
    await client.query("rollback");
  }
}

/**
 * The number of blocks that a statement reads: the least of five readings, because any of them may read the catalogue again, for
 * instance the first one of a connection, or one after an autovacuum.
 * @param run runs the statement after the given EXPLAIN, each time on the same connection if possible
 */
export async function blocksRead(run: (explain: string) => Promise<object[]>): Promise<number> {
  const readings: number[] = [];
  for (let i = 0; i < 5; i++) {
    const [plan] = (await run("explain (analyze, buffers, format json)")) as [
      { "QUERY PLAN": [{ Plan: Record<"Shared Hit Blocks" | "Shared Read Blocks", number> }] },
    ];
    const { "Shared Hit Blocks": hit, "Shared Read Blocks": read } = plan["QUERY PLAN"][0].Plan;
    readings.push(hit + read);
  }
  return Math.min(...readings);
}
