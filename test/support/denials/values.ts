import type { Argument } from "./arguments.ts";
import type { Reader } from "./reader.ts";

/** Values for an argument that names no row by its id. */
export type Values = (argument: Argument) => readonly unknown[];

/** By scalar. */
const OF_TYPE: Readonly<Record<string, readonly unknown[]>> = {
  String: ["word"],
  Int: [1, 2],
  Float: [1],
  Boolean: [true, false],
  BigInt: ["1"],
  BigFloat: ["1", "0.5"],
  Datetime: ["2100-01-01T00:00:00Z"],
  JSON: [{}, [], "word"],
  UUID: ["01900000-0000-7000-8000-00000000abcd"],
};

/** Texts that CHECK constraints allow for columns, by the column's name. */
const LABELS = `
  select a.attname::text as name, array_agg(distinct label[1]) as labels
  from pg_constraint k
  join pg_attribute a on a.attrelid = k.conrelid and k.conkey = array[a.attnum]
  cross join lateral regexp_matches(pg_get_constraintdef(k.oid), '''([^'']+)''::text', 'g') label
  where k.contype = 'c' and pg_get_constraintdef(k.oid) like '%= ANY (ARRAY[%'
  group by 1`;

/** Reads what a column with an argument's name can hold; other arguments take a value of their type. */
export async function readValues(reader: Reader): Promise<Values> {
  const rows = await reader.all<{ name: string; labels: string[] }>(LABELS);
  const labels = new Map(rows.map((row) => [row.name, row.labels]));
  return ({ name, type, choices, isList }) => {
    const column = name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
    const known = choices ?? (type === "String" ? labels.get(column) : undefined) ?? OF_TYPE[type];
    if (!known) throw new Error(`Say in OF_TYPE what ${name}, a ${type}, can be.`);
    return isList ? known.map((value) => [value]) : known;
  };
}
