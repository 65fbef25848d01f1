import { regexSample } from "./regex-sample.ts";
import type { ShapeColumn } from "./shapes.ts";

/** A value as the text of its type. */
export type Value = string;

/** Rows that differ only in their variation have other values in unique columns. */
const VARIATIONS = 40;

/** The values to try for a column, the most likely first: those that its conditions name, then usual ones of its type. */
export function valuesFor(column: ShapeColumn): readonly Value[] {
  const plain = { ...column, isArray: false };
  if (column.isArray)
    return [
      "{}",
      ...valuesFor(plain)
        .slice(0, 8)
        .map((value) => `{${JSON.stringify(value)}}`),
    ];
  if (column.labels) return column.labels;
  const values = (OF_TYPE[column.base] ?? textValues)(column);
  const fitting =
    column.size === null || !isText(column) ? values : values.filter(({ length }) => length <= column.size!);
  return [...new Set(fitting)];
}

const isText = ({ base }: ShapeColumn) => /^(character|text|citext|name)/.test(base);

const quotedIn = ({ conditions }: ShapeColumn): readonly string[] =>
  conditions.flatMap((condition) =>
    [...condition.matchAll(/'((?:[^']|'')*)'/g)].map(([, text]) => text!.replaceAll("''", "'")),
  );

const numbersIn = ({ conditions }: ShapeColumn): readonly number[] =>
  conditions.flatMap((condition) =>
    [...condition.matchAll(/(?<![\w'.])-?\d+(?:\.\d+)?(?![\w'])/g)].map(([text]) => Number(text)),
  );

const counted = Array.from({ length: VARIATIONS }, (_, i) => String(i + 2));

function numbers(column: ShapeColumn): readonly Value[] {
  const named = numbersIn(column).flatMap((number) => [number, number + 1, number - 1]);
  return ["1", ...named.map(String), "0", "0.5", "-1", "100", ...counted];
}

function textValues(column: ShapeColumn): readonly Value[] {
  const quoted = quotedIn(column);
  const patterns = column.conditions.flatMap((condition) =>
    [...condition.matchAll(/~\*? '((?:[^']|'')*)'/g)].map(([, pattern]) => pattern!.replaceAll("''", "'")),
  );
  const samples = Array.from({ length: VARIATIONS }, (_, variation) =>
    patterns.flatMap((pattern) => regexSample(pattern, variation) ?? []),
  ).flat();
  const lengths = numbersIn(column).filter(
    (number) => Number.isInteger(number) && number > 0 && number <= 2_000,
  );
  return [
    ...samples,
    ...quoted.filter((text) => !patterns.includes(text)),
    "x",
    ...USUAL_TEXTS,
    ...lengths.flatMap((length) => ["x".repeat(length), "0".repeat(length)]),
    ...counted.map((number) => `x${number}`),
  ];
}

const USUAL_TEXTS = [
  ...["example", "Example", "a-slug", "person@example.org", "https://example.org", "example.org", "/example"],
  ...[
    "EUR",
    "eur",
    "DE",
    "de",
    "en",
    "en-US",
    "+14155550123",
    "Europe/Berlin",
    "2020-01-01",
    "1.0.0",
    "0",
    "{}",
  ],
];

const times = (column: ShapeColumn): readonly Value[] => [
  "2020-01-01 00:00:00+00",
  ...quotedIn(column),
  "2100-01-01 00:00:00+00",
  ...counted.map((number) => `${2000 + Number(number)}-01-01 00:00:00+00`),
];
const dates = (column: ShapeColumn): readonly Value[] => times(column).map((time) => time.slice(0, 10));
const uuids = (): readonly Value[] =>
  ["01", ...counted].map((number) => `00000000-0000-7000-8000-0000000001${number.padStart(2, "0")}`);
const bytes = (column: ShapeColumn): readonly Value[] =>
  [1, ...numbersIn(column), 16, 32].map(
    (length) => `\\x${"00".repeat(Math.max(0, Math.min(length, 2_000)))}`,
  );

/** By the name of the type as PostgreSQL writes it. Types that are missing here get texts. */
const OF_TYPE: Readonly<Record<string, (column: ShapeColumn) => readonly Value[]>> = {
  boolean: () => ["false", "true"],
  smallint: (column) => numbers(column).filter((number) => !number.includes(".")),
  integer: (column) => numbers(column).filter((number) => !number.includes(".")),
  bigint: (column) => numbers(column).filter((number) => !number.includes(".")),
  numeric: numbers,
  real: numbers,
  "double precision": numbers,
  money: numbers,
  uuid: uuids,
  "timestamp with time zone": times,
  "timestamp without time zone": times,
  date: dates,
  "time without time zone": () => ["12:00", ...counted.map((number) => `12:${number.padStart(2, "0")}`)],
  "time with time zone": () => ["12:00+00"],
  interval: () => ["1 day", "1 hour", ...counted.map((number) => `${number} days`)],
  json: () => ["{}", "[]", '"x"', "1"],
  jsonb: () => ["{}", "[]", '"x"', "1"],
  bytea: bytes,
  inet: () => counted.map((number) => `192.0.2.${number}`),
  cidr: () => counted.map((number) => `10.${number}.0.0/16`),
  macaddr: () => counted.map((number) => `08:00:2b:01:02:${number.padStart(2, "0")}`),
  point: () => ["(0,0)"],
  tsvector: () => ["example"],
  int4range: () => ["[1,10)"],
  int8range: () => ["[1,10)"],
  numrange: () => ["[1,10)"],
  daterange: () => ["[2020-01-01,2100-01-01)"],
  tstzrange: () => ["[2020-01-01,2100-01-01)"],
  tsrange: () => ["[2020-01-01,2100-01-01)"],
  int4multirange: () => ["{[1,10)}"],
  int8multirange: () => ["{[1,10)}"],
  nummultirange: () => ["{[1,10)}"],
  datemultirange: () => ["{[2020-01-01,2100-01-01)}"],
  tstzmultirange: () => ["{[2020-01-01,2100-01-01)}"],
  tsmultirange: () => ["{[2020-01-01,2100-01-01)}"],
  vector: ({ size }) => [`[${Array.from({ length: size ?? 3 }, () => "0.5").join(",")}]`],
};
