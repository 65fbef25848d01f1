import {
  type GraphQLField,
  type GraphQLObjectType,
  type GraphQLSchema,
  getNamedType,
  isObjectType,
} from "postgraphile/graphql";
import type { Cell } from "../../../src/access-contract/cells.ts";
import type { ApiActor } from "./actors.ts";
import { type Ask, callOf, rowsField, selectionOf } from "./asking.ts";
import { valueOutcome } from "./root-fields.ts";
import type { Samples } from "./samples.ts";

type Field = GraphQLField<unknown, unknown>;

/** The shortest way from the root of queries to values of a type. */
interface Way {
  readonly type: GraphQLObjectType;
  readonly calls: readonly string[];
}

/** Reads every field of every type that a query can reach, as each actor. Pages have no content of their own. */
export async function attemptTypes(
  ask: Ask,
  actors: readonly ApiActor[],
  schema: GraphQLSchema,
  samples: Samples,
  rowOf: ReadonlyMap<string, Samples>,
): Promise<readonly Cell[]> {
  const cells: Cell[] = [];
  for (const way of waysOf(schema, samples, rowOf)) {
    for (const actor of actors)
      cells.push({
        object: `type ${way.type.name}`,
        operation: "read",
        role: actor.name,
        outcome: await readType(ask, actor, way, samples),
      });
  }
  return cells.sort((a, b) => (a.object < b.object ? -1 : a.object > b.object ? 1 : 0));
}

/** Lists before single rows, because more actors see some row of a list. */
function waysOf(
  schema: GraphQLSchema,
  samples: Samples,
  rowOf: ReadonlyMap<string, Samples>,
): readonly Way[] {
  const ways = new Map<string, Way>();
  const queue: Way[] = [{ type: schema.getQueryType()!, calls: [] }];
  for (let way = queue.shift(); way; way = queue.shift()) {
    const fields = Object.values(way.type.getFields());
    const isPage = (field: Field) => isPageType(getNamedType(field.type));
    for (const field of [...fields.filter(isPage), ...fields.filter((each) => !isPage(each))]) {
      const outer = getNamedType(field.type);
      if (!isObjectType(outer)) continue;
      const rows = rowsField(outer);
      const type = getNamedType(rows?.type ?? field.type);
      if (!isObjectType(type) || ways.has(type.name) || isStructure(type)) continue;
      const call = callOf(field, samples, way.calls.length === 0 ? rowOf.get(field.name) : undefined);
      const found = { type, calls: [...way.calls, call, ...(rows ? [rows.name] : [])] };
      ways.set(type.name, found);
      queue.push(found);
    }
  }
  return [...ways.values()];
}

const isPageType = (type: unknown): boolean => isObjectType(type) && rowsField(type) !== undefined;

const isStructure = (type: GraphQLObjectType): boolean => {
  const fields = type.getFields();
  return type.name === "Query" || Boolean(fields.pageInfo ?? fields.cursor ?? fields.hasNextPage);
};

/** Such as `data`, or `data: id, name; null: note`. */
async function readType(ask: Ask, actor: ApiActor, way: Way, samples: Samples): Promise<string> {
  const fields = Object.values(way.type.getFields());
  const outcomes = (await readFields(ask, actor, way, fields, samples)) ?? [];
  if (outcomes.length === 0)
    for (const field of fields) {
      const [outcome] = (await readFields(ask, actor, way, [field], samples)) ?? ["failed"];
      outcomes.push(outcome!);
    }
  const groups = Map.groupBy(fields, (_, i) => outcomes[i]!);
  if (groups.size === 1) return outcomes[0]!;
  return [...groups]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(
      ([outcome, alike]) =>
        `${outcome}: ${alike
          .map(({ name }) => name)
          .sort()
          .join(", ")}`,
    )
    .join("; ");
}

/** The outcome of each field; undefined if the whole operation failed, so that each field needs its own. */
async function readFields(
  ask: Ask,
  actor: ApiActor,
  { calls }: Way,
  fields: readonly Field[],
  samples: Samples,
): Promise<string[] | undefined> {
  const selections = fields.map(
    (field, i) => `f${i}: ${callOf(field, samples)}${selectionOf(field.type, samples)}`,
  );
  const document = `{ ${calls.join(" { ")} { ${selections.join("\n")} } ${"} ".repeat(calls.length)}`;
  const { data, errors = [] } = await ask(actor, document);
  const failed = new Map<string, string>();
  for (const { path, extensions } of errors) {
    const alias = path?.find((part) => typeof part === "string" && /^f\d+$/.test(part)) as string | undefined;
    if (alias !== undefined) failed.set(alias, extensions.code);
    else if (fields.length > 1) return undefined;
    else return [extensions.code];
  }
  const values = valuesAt(
    data,
    calls.map((call) => call.replace(/\(.*/s, "")),
  );
  return fields.map((field, i) => {
    const code = failed.get(`f${i}`);
    if (code) return code;
    if (values.length === 0) return "none";
    const outcomes = values.map((value) => valueOutcome(field, value[`f${i}`]));
    return ["data", "none"].find((each) => outcomes.includes(each)) ?? "null";
  });
}

/** The objects at the end of a way; lists on it branch. */
function valuesAt(data: unknown, names: readonly string[]): readonly Record<string, unknown>[] {
  let values: unknown[] = [data];
  for (const name of names)
    values = values
      .flatMap((value) => (value as Record<string, unknown> | null)?.[name])
      .filter((value) => value != null);
  return values as Record<string, unknown>[];
}
