import type pg from "pg";
import type { TableShape } from "./catalogue.ts";
import type { Values } from "./mapping.ts";

/** Values for one row of a table; `n` is its place in the batch. */
export interface Item {
  readonly n: number;
  readonly values: Values;
}

const ROWS = (table: string) =>
  `jsonb_to_recordset($1) e (n integer, r jsonb) cross join lateral jsonb_populate_record(null::${table}, e.r) p`;

/** Items with the same columns, and the same ones of `by` that are null: one statement serves them. */
function groups(items: readonly Item[], by: readonly string[] = []): Item[][] {
  const found = new Map<string, Item[]>();
  for (const item of items) {
    const nulls = by.filter((column) => (item.values[column] ?? null) === null);
    const name = JSON.stringify([Object.keys(item.values).sort(), nulls]);
    const group = found.get(name);
    if (group) group.push(item);
    else found.set(name, [item]);
  }
  return [...found.values()];
}

const quoted = (column: string): string => `"${column.replaceAll('"', '""')}"`;
const listed = (columns: readonly string[], alias: string): string =>
  columns.map((column) => `${alias}.${quoted(column)}`).join(", ");

/** With = instead of "is not distinct from", which uses no index. */
function matching(group: readonly Item[], by: readonly string[]): string {
  const [{ values }] = group as [Item];
  return by
    .map((column) =>
      (values[column] ?? null) === null
        ? `t.${quoted(column)} is null`
        : `t.${quoted(column)} = p.${quoted(column)}`,
    )
    .join(" and ");
}

const json = (items: readonly Item[]): string =>
  JSON.stringify(items.map(({ n, values }) => ({ n, r: values })));

export async function insertRows(
  client: pg.ClientBase,
  table: string,
  items: readonly Item[],
): Promise<void> {
  for (const group of groups(items)) {
    const columns = Object.keys(group[0]!.values);
    await client.query(
      `insert into ${table} (${columns.map(quoted).join(", ")}) select ${listed(columns, "p")} from ${ROWS(table)} order by e.n`,
      [json(group)],
    );
  }
}

/** Changes rows that exist; the columns of `by` find them. */
export async function updateRows(
  client: pg.ClientBase,
  table: string,
  by: readonly string[],
  items: readonly Item[],
): Promise<void> {
  for (const group of groups(items, by)) {
    const columns = Object.keys(group[0]!.values).filter((column) => !by.includes(column));
    if (columns.length === 0) continue;
    await client.query(
      `update ${table} t set ${columns.map((column) => `${quoted(column)} = p.${quoted(column)}`).join(", ")}
       from ${ROWS(table)} where ${matching(group, by)}`,
      [json(group)],
    );
  }
}

/**
 * Finds the existing rows of items, by place.
 * @returns the row's id; null if its table has no id of one column
 */
export async function findRows(
  client: pg.ClientBase,
  shape: TableShape,
  by: readonly string[],
  items: readonly Item[],
): Promise<Map<number, string | null>> {
  const found = new Map<number, string | null>();
  const id = shape.hasId ? "id" : shape.primaryKey.length === 1 ? shape.primaryKey[0]! : undefined;
  for (const group of groups(items, by)) {
    const { rows } = await client.query<{ n: number; id: string | null }>(
      `select e.n, ${id === undefined ? "null" : `t.${quoted(id)}`} as id
       from ${ROWS(shape.table)} join ${shape.table} t on ${matching(group, by)}`,
      [json(group)],
    );
    for (const row of rows) found.set(row.n, row.id);
  }
  return found;
}

/** The state of an imported row, compared with the values of its source. */
export interface Comparison {
  readonly n: number;
  readonly isMissing: boolean;
  /** Columns with another value. */
  readonly differing: readonly string[];
  /** 64 bits of each row, as it should be and as it is; their sums are the checksums. */
  readonly expected: bigint;
  readonly stored: bigint;
}

/** Reads rows back and lets PostgreSQL compare them, by type and not by text. The values contain the primary key. */
export async function compareRows(
  client: pg.ClientBase,
  shape: TableShape,
  items: readonly Item[],
  unverified: readonly string[],
): Promise<Comparison[]> {
  const comparisons: Comparison[] = [];
  for (const group of groups(items)) {
    const columns = Object.keys(group[0]!.values).filter((column) => !unverified.includes(column));
    const on = shape.primaryKey.map((column) => `t.${quoted(column)} = p.${quoted(column)}`).join(" and ");
    const { rows } = await client.query<{
      n: number;
      is_missing: boolean;
      differing: string[];
      expected: string;
      stored: string | null;
    }>(
      `select e.n, t.${quoted(shape.primaryKey[0]!)} is null as is_missing,
         array_remove(array[${columns.map((column) => `case when t.${quoted(column)} is distinct from p.${quoted(column)} then '${column}' end`).join(", ")}]::text[], null) as differing,
         hashtextextended(row(${listed(columns, "p")})::text, 0) as expected,
         hashtextextended(row(${listed(columns, "t")})::text, 0) as stored
       from ${ROWS(shape.table)} left join ${shape.table} t on ${on}`,
      [json(group)],
    );
    for (const row of rows)
      comparisons.push({
        n: row.n,
        isMissing: row.is_missing,
        differing: row.is_missing ? [] : row.differing,
        expected: BigInt(row.expected),
        stored: row.is_missing ? 0n : BigInt(row.stored ?? 0),
      });
  }
  return comparisons;
}

/** Of ids that rows should keep, those that are free. */
export async function freeIds(
  client: pg.ClientBase,
  table: string,
  ids: readonly string[],
): Promise<Set<string>> {
  const { rows } = await client.query<{ id: string }>(
    `select w.id from unnest($1::uuid[]) w (id) where not exists (select from ${table} t where t.id = w.id)`,
    [ids],
  );
  return new Set(rows.map(({ id }) => id));
}
