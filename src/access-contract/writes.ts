import pg from "pg";
import type { Column, Relation } from "./catalogue.ts";
import type { OwnersRow } from "./relation-to-row.ts";

const MAX_UPDATES = 24;

/** Failures of a copy that is a duplicate. */
export const DUPLICATE = "23%5";

/**
 * Statements that insert a copy of a row, with the columns that may be inserted and new keys. If the row is known by what it refers
 * to, the other statements let it refer to other rows.
 * @param referable values of the columns that refer to other rows, by column
 */
export function insertsOf(
  relation: Relation,
  row: OwnersRow,
  insertable: readonly string[],
  referable: ReadonlyMap<string, readonly string[]>,
): readonly string[] {
  const columns = relation.columns
    .map((column, i) => ({ column, value: row.values[i]! as string | null }))
    .filter(({ column }) => insertable.includes(column.name));
  if (columns.length === 0) return [];
  const insert = (other?: { column: Column; value: string }) => {
    const values = columns.map(({ column, value }) =>
      column === other?.column ? literal(other.value, column) : valueOfCopy(column, value),
    );
    return `insert into ${relation.name} (${columns.map(({ column }) => column.name).join(", ")}) values (${values.join(", ")})`;
  };
  const movable = columns.filter(({ column }) => column.keyOf);
  const others = movable.filter(({ column }) => !column.isUser);
  return [
    insert(),
    ...(others.length > 0 ? others : movable).flatMap(({ column, value }) =>
      (referable.get(column.name) ?? [])
        .filter((other) => other !== value)
        .map((other) => insert({ column, value: other })),
    ),
  ];
}

/**
 * Statements that set one column of every row that the policies let through. They read nothing, so that only the policies of UPDATE
 * decide.
 */
export function updatesOf(
  relation: Relation,
  rows: readonly OwnersRow[],
  updatable: readonly string[],
): readonly string[] {
  const plain = relation.columns
    .map((column, i) => ({
      column,
      value: rows.map(({ values }) => values[i]!).find((each) => each !== null),
    }))
    .filter(({ column }) => updatable.includes(column.name));
  const isPlain = ({ column }: { column: Column }) => !column.isKey && !column.keyOf && !column.isUser;
  return [...plain.filter(isPlain), ...plain.filter((each) => !isPlain(each))]
    .flatMap(({ column, value }) => [
      ...(value == null ? [] : [`${column.name} = ${literal(value, column)}`]),
      `${column.name} = null`,
      `${column.name} = default`,
    ])
    .slice(0, MAX_UPDATES)
    .map((set) => `update ${relation.name} set ${set}`);
}

/** A statement that deletes one row, known by its key. */
export function deleteOf(relation: Relation, row: OwnersRow): string {
  const conditions = relation.columns.flatMap((column, i) =>
    relation.key.includes(column.name) ? [`${column.name} = ${literal(row.values[i]!, column)}`] : [],
  );
  return `delete from ${relation.name} where ${conditions.join(" and ")}`;
}

function valueOfCopy(column: Column, value: string | null): string {
  const copied = literal(value, column);
  return column.isKey && value !== null ? (KEYS[column.type]?.(copied) ?? copied) : copied;
}

const literal = (value: string | null, { type }: Column): string =>
  value === null ? "null" : `${pg.escapeLiteral(value)}::${type}`;

/** Another value for a key, by type. */
const KEYS: Readonly<Record<string, (value: string) => string>> = {
  uuid: () => "'00000000-0000-7000-8000-0000000000fe'::uuid",
  text: (value) => `${value} || 'x'`,
  smallint: (value) => `(${value} + 100)::smallint`,
  integer: (value) => `${value} + 1000`,
  bigint: (value) => `${value} + 1000`,
  date: (value) => `${value} - 1000`,
  "timestamp with time zone": (value) => `${value} - interval '1 second'`,
};
