import { type SQL, sql } from "pg-sql2";
import type { Place } from "./cursor.ts";
import type { OrderKey } from "./order-keys.ts";

export type Side = "after" | "before";

interface Term {
  readonly fragment: SQL;
  /** The value at the cursor; undefined for null. */
  readonly value: SQL | undefined;
  /** Whether rows on this side have greater values. */
  readonly goesUp: boolean;
  /** Whether nulls are on this side of every value. */
  readonly meetsNulls: boolean;
}

/**
 * Returns the condition for the rows on one side of a cursor. (PostGraphile's own condition inverts the placement of
 * nulls.) It is known which values of the cursor are null, so most conditions are row comparisons, which can use an index.
 */
export function cursorCondition(keys: readonly OrderKey[], place: Place, side: Side): SQL {
  return beyond(keys.map((key, i) => termOf(key, place[i] ?? null, side)));
}

function termOf(key: OrderKey, value: string | null, side: Side): Term {
  const { fragment, codec, direction, nulls, nullable } = key;
  const goesUp = (direction === "ASC") === (side === "after");
  // PostgreSQL's default: null sorts as larger than all values.
  const nullsLast = nulls ? nulls === "LAST" : direction === "ASC";
  return {
    fragment,
    value: value === null ? undefined : sql`${sql.value(value)}::${codec.sqlType}`,
    goesUp,
    meetsNulls: nullable && nullsLast === (side === "after"),
  };
}

function beyond([term, ...rest]: readonly Term[]): SQL {
  if (!term) return sql.false;
  const { fragment, value, goesUp, meetsNulls } = term;
  if (!value) {
    const tie = sql`${fragment} is null and ${sql.parens(beyond(rest))}`;
    return meetsNulls ? tie : sql`${fragment} is not null or ${sql.parens(tie)}`;
  }
  const operator = goesUp ? sql`>` : sql`<`;
  const further = rest.every((other) => isComparable(other, term))
    ? compareRows([term, ...rest], operator)
    : sql`${fragment} ${operator} ${value} or (${fragment} = ${value} and ${sql.parens(beyond(rest))})`;
  return meetsNulls ? sql`${further} or ${fragment} is null` : further;
}

/** Whether a row comparison can include this term: it matches no row in which one of the values is null. */
function isComparable({ value, goesUp, meetsNulls }: Term, first: Term): boolean {
  return value !== undefined && !meetsNulls && goesUp === first.goesUp;
}

function compareRows(terms: readonly Term[], operator: SQL): SQL {
  const fragments = sql.join(
    terms.map(({ fragment }) => fragment),
    ", ",
  );
  const values = sql.join(
    terms.map(({ value }) => value!),
    ", ",
  );
  return sql`(${fragments}) ${operator} (${values})`;
}
