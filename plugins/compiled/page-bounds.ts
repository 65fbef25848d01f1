import { NotCompilable } from "./field-source.ts";

/** Which rows of an ordered list are on a page. */
export interface Bounds {
  readonly limit: number;
  readonly offset: number;
  /** Whether the page is the last rows, in the order of the list. */
  readonly isFromEnd: boolean;
}

type Given = Readonly<Record<string, unknown>>;

/** Without `first` and `last`, a page has the default size; before a cursor it is the rows next to the cursor. */
export function boundsOf(given: Given, pageSize: number): Bounds {
  const [first, last, offset] = [given.first, given.last, given.offset].map(
    (value) => value as number | null | undefined,
  );
  // PostGraphile checks these combinations.
  if (first != null && last != null) throw new NotCompilable("`first` and `last` together.");
  if (offset != null && (last != null || given.after != null || given.before != null))
    throw new NotCompilable("`offset` with `last` or a cursor.");
  if ([first, last, offset].some((value) => value != null && value < 0))
    throw new NotCompilable("A negative number.");
  const isFromEnd = first == null && (last != null || given.before != null);
  return { limit: first ?? last ?? pageSize, offset: offset ?? 0, isFromEnd };
}
