import type { GeneratedField } from "../generated-fields.ts";
import { type Argument, type Input, withValue } from "./arguments.ts";
import type { Reader } from "./reader.ts";
import { readKeys } from "./rows.ts";

/** An input that would create a row with the same values as an existing one. */
export interface Copy {
  readonly input: Input;
  knownTo(actor: string): boolean;
}

/** Inputs of a generated create with the values of each row of its table. */
export async function copiesOf(
  { relation, columns }: GeneratedField,
  args: readonly Argument[],
  reader: Reader,
  actors: readonly string[],
): Promise<Copy[]> {
  const [primary] = await reader.all<{ columns: string }>(
    `select string_agg(quote_ident(a.attname), ', ') as columns
     from pg_constraint k
     join pg_attribute a on a.attrelid = k.conrelid and a.attnum = any (k.conkey)
     where k.conrelid = $1::regclass and k.contype = 'p'`,
    [relation],
  );
  const key = `jsonb_build_array(${primary!.columns}) as key`;
  const rows = await reader.all<{ row: Input; key: unknown }>(
    `select to_jsonb(r) as row, ${key} from ${relation} r order by 1`,
  );
  const knows = await readKeys(reader, actors, `select ${key} from ${relation}`);
  const copied = args.filter(({ path, name }) => path.length > 1 && columns.has(name));
  return rows.map((each) => ({
    input: copied.reduce<Input>((input, { path, name }) => {
      const value = each.row[columns.get(name)!];
      return value == null ? input : withValue(input, path, value);
    }, {}),
    knownTo: (actor) => knows(actor, each.key),
  }));
}
