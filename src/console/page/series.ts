import { formatLongBucket } from "./formats.ts";

/** Values of one kind over time. */
export interface Series {
  readonly name: string;
  /** Number of its color in style.css; 0 is gray. */
  readonly color: number;
  readonly values: readonly number[];
}

/** The values of a plot and its table. */
export interface History {
  /** Starts of the buckets, in seconds. */
  readonly at: readonly number[];
  readonly days: number;
  readonly series: readonly Series[];
  /** Whether the values are counts, which have no halves. */
  readonly isCount?: boolean;
  readonly format: (value: number) => string;
  /** For the axis. */
  readonly formatShort: (value: number) => string;
}

const MAX_SERIES = 5;

export const secondsOf = (at: string | null): number => Date.parse(at ?? "") / 1_000;
export const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);

/** A series from a history with a row for each bucket. */
export function seriesOf<Row>(
  name: string,
  color: number,
  rows: readonly (Row | null)[],
  value: (row: Row) => string | null,
): Series {
  return { name, color, values: rows.map((row) => Number(row ? value(row) : 0)) };
}

/** Series from rows that exist only where there is something: one for each name, the largest first, the rest together. */
export function seriesByName<Row extends { readonly startsAt: string | null }>(
  at: readonly number[],
  rows: readonly Row[],
  nameOf: (row: Row) => string,
  value: (row: Row) => number,
): Series[] {
  const places = new Map(at.map((seconds, place) => [seconds, place]));
  const found = new Map<string, number[]>();
  for (const row of rows) {
    const place = places.get(secondsOf(row.startsAt));
    if (place === undefined) continue;
    const name = nameOf(row);
    const values = found.get(name) ?? at.map(() => 0);
    values[place] = values[place]! + value(row);
    found.set(name, values);
  }
  const sorted = [...found].sort(([, a], [, b]) => sum(b) - sum(a));
  const shown = sorted.length > MAX_SERIES ? sorted.slice(0, MAX_SERIES - 1) : sorted;
  const rest = sorted.slice(shown.length).map(([, values]) => values);
  return [
    ...shown.map(([name, values], place) => ({ name, color: place + 1, values })),
    ...(rest.length > 0
      ? [
          {
            name: "others",
            color: 0,
            values: at.map((_, place) => sum(rest.map((values) => values[place]!))),
          },
        ]
      : []),
  ];
}

/** A sentence for people who do not see the plot. */
export function describe({ at, days, series, format }: History, isStacked: boolean): string {
  const parts = series.map(({ name, values }) => {
    const most = Math.max(...values);
    const when = formatLongBucket(at[values.indexOf(most)]!, days);
    const total = isStacked ? `${format(sum(values))} in total, ` : "";
    return `${name}: ${total}at most ${format(most)} (${when})`;
  });
  return `${parts.join("; ")}.`;
}
