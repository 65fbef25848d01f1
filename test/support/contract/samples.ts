import type pg from "pg";
import {
  type GraphQLArgument,
  type GraphQLInputField,
  type GraphQLInputType,
  getNamedType,
  getNullableType,
  isEnumType,
  isInputObjectType,
  isListType,
  isNonNullType,
} from "postgraphile/graphql";
import { IDS } from "../access-probes/ids.ts";

/** Values by the name of an argument that takes one, such as roomId. */
export type Samples = ReadonlyMap<string, string>;

/** Rows with an id that the seed names, in its order; the others have random ids. */
export const KNOWN_FIRST = "case when t.id::text like '00000000-%' then t.id::text end nulls last";

/** For each column that refers to another table by its id: the first row of that table, Ada's if she owns one. */
export async function readSamples(client: pg.ClientBase): Promise<Samples> {
  const { rows: references } = await client.query<{ column: string; table: string }>(
    `select distinct on (a.attname) a.attname as column, k.confrelid::regclass::text as table
     from pg_constraint k
     join pg_attribute a on a.attrelid = k.conrelid and a.attnum = k.conkey[1]
     join pg_attribute f on f.attrelid = k.confrelid and f.attnum = k.confkey[1] and f.attname = 'id'
     where k.contype = 'f' order by a.attname, k.confrelid::regclass::text`,
  );
  const samples = new Map<string, string>();
  for (const { column, table } of references) {
    const { rows } = await client.query<{ id: string }>(
      `select t.id::text from ${table} t order by strpos(t::text, $1) > 0 desc, ${KNOWN_FIRST}, t.ctid limit 1`,
      [IDS.ada],
    );
    if (rows[0]) samples.set(camelCase(column), rows[0].id);
  }
  return samples;
}

const camelCase = (name: string) => name.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase());

/** The required arguments of a field with values, as in a document. If the field looks for a row by its key, that is `row`. */
export function argumentsOf(
  args: readonly GraphQLArgument[],
  samples: Samples,
  row: Samples | undefined,
): string {
  const values = args.filter(isRequired).map((arg) => `${arg.name}: ${sampleOf(arg, samples, row)}`);
  return values.length === 0 ? "" : `(${values.join(", ")})`;
}

const isRequired = ({ type, defaultValue }: GraphQLArgument | GraphQLInputField) =>
  isNonNullType(type) && defaultValue === undefined;

function sampleOf(
  { name, type }: { readonly name: string; readonly type: GraphQLInputType },
  samples: Samples,
  row: Samples | undefined,
): string {
  const nullable = getNullableType(type);
  if (isListType(nullable)) return `[${sampleOf({ name, type: nullable.ofType }, samples, row)}]`;
  if (isInputObjectType(nullable)) {
    const all = Object.values(nullable.getFields());
    // The key is in the input itself; the objects in it are a new row or a patch.
    const isInput = name === "input";
    const fields = isInput ? all.filter(isRequired) : writtenFields(all);
    const values = fields.map(
      (field) => `${field.name}: ${sampleOf(field, samples, isInput ? row : undefined)}`,
    );
    return `{ ${values.join(", ")} }`;
  }
  if (isEnumType(nullable)) return nullable.getValues()[0]!.name;
  const typeName = getNamedType(type).name;
  if (typeName === "UUID" || typeName === "ID")
    return JSON.stringify(row?.get(name) ?? samples.get(name) ?? IDS.ada);
  const known = row?.get(name);
  if (known !== undefined) return ["Int", "Boolean"].includes(typeName) ? known : JSON.stringify(known);
  return SCALARS[typeName] ?? '"x"';
}

/** The required fields, or of a patch, which has none, the one that is easiest to fill. */
function writtenFields(fields: readonly GraphQLInputField[]): readonly GraphQLInputField[] {
  const required = fields.filter(isRequired);
  if (required.length > 0) return required;
  const ofType = (name: string) =>
    fields.find((field) => field.name !== "clientMutationId" && String(field.type) === name);
  return [ofType("Boolean") ?? ofType("String") ?? ofType("Int") ?? ofType("JSON")].filter(
    (field) => field !== undefined,
  );
}

const SCALARS: Readonly<Record<string, string>> = {
  Int: "1",
  Float: "1",
  BigInt: '"1"',
  BigFloat: '"1"',
  Boolean: "true",
  JSON: "{}",
  Datetime: '"2020-01-01T00:00:00Z"',
  Date: '"2020-01-01"',
  InternetAddress: '"192.0.2.1"',
};
