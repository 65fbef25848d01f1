/** The contract of a view of analytics. test/analytics/views.test.ts holds each view to its own. */
export interface ViewSpecification {
  /** Columns of which no two rows have the same values, nulls included. */
  readonly grain: readonly string[];
  /** Columns that may be null; no other column is. */
  readonly nullable?: readonly string[];
  /** All values that a column of names may have. */
  readonly values?: Readonly<Record<string, readonly string[]>>;
  /** The same columns from the tables, in the most direct way and without the view's own expressions. */
  readonly bruteForce: string;
  /** Columns that the brute force leaves out, each with the reason. */
  readonly notCompared?: Readonly<Record<string, string>>;
}
