import { randomUUID } from "node:crypto";
import type { GeneratedField } from "../generated-fields.ts";
import { type Argument, type Input, withValue } from "./arguments.ts";
import type { Reader } from "./reader.ts";
import { type Rows, readKeys } from "./rows.ts";

/** A key of a row as an input holds it: an id, a list of one, or the columns of a generated mutation's key. */
type Key = unknown;

export interface Candidate {
  readonly key: Key;
  readonly table: string;
  knownTo(actor: string): boolean;
}

/** A part of an input that names a row. */
export interface Place {
  readonly name: string;
  /** Whether the input needs it. */
  readonly isRequired: boolean;
  /** Whether it is the key of a generated update or delete. */
  readonly isKey: boolean;
  readonly candidates: readonly Candidate[];
  /** A key that no row has. */
  readonly absent: Key;
  put(input: Input, key: Key): Input;
}

/** The place of an argument that holds an id. */
export function placeOf(argument: Argument, rows: Rows, tables: readonly string[]): Place {
  const keyOf = (id: string) => (argument.isList ? [id] : id);
  // An id may be that of rows in several tables.
  const meant = rows.all.filter(({ table }) => tables.includes(table));
  const byId = new Map(meant.map((row) => [row.id, meant.filter(({ id }) => id === row.id)]));
  return {
    name: argument.name,
    isRequired: argument.isRequired,
    isKey: false,
    candidates: [...byId].map(([id, same]) => ({
      key: keyOf(id),
      table: same[0]!.table,
      knownTo: (actor) => same.some((row) => rows.knows(actor, row)),
    })),
    absent: keyOf(randomUUID()),
    put: (input, key) => withValue(input, argument.path, key),
  };
}

/** The place of the key of a generated update or delete. */
export async function placeOfKey(
  { relation, columns }: GeneratedField,
  args: readonly Argument[],
  reader: Reader,
  actors: Iterable<string>,
): Promise<Place> {
  const key = args.filter(({ path, name }) => path.length === 1 && columns.has(name));
  const pairs = key.map(({ name }) => `'${name}', ${columns.get(name)}`);
  const select = `select jsonb_build_object(${pairs.join(", ")}) as key from ${relation} order by 1`;
  const all = await reader.all<{ key: Input }>(select);
  const knows = await readKeys(reader, actors, select);
  return {
    name: "the key",
    isRequired: true,
    isKey: true,
    candidates: all.map((row) => ({
      key: row.key,
      table: relation,
      knownTo: (actor) => knows(actor, row.key),
    })),
    absent: Object.fromEntries(key.map(({ name, type }) => [name, ABSENT[type]!()])),
    put: (input, value) => ({ ...input, ...(value as Input) }),
  };
}

const ABSENT: Readonly<Record<string, () => unknown>> = {
  UUID: randomUUID,
  String: () => "absent",
  Int: () => 32_000,
  BigInt: () => "32000",
  Boolean: () => false,
};
