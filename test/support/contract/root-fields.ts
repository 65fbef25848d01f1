import { type GraphQLField, type GraphQLObjectType, getNamedType, isObjectType } from "postgraphile/graphql";
import type { Cell } from "../../../src/access-contract/cells.ts";
import type { GraphqlError } from "../api.ts";
import type { ApiActor } from "./actors.ts";
import { type Ask, callOf, rowsField, selectionOf } from "./asking.ts";
import type { Samples } from "./samples.ts";

const BATCH = 20;

/**
 * Calls every field of the root as each actor.
 * @param rowOf row that a field looks for by its key
 */
export async function attemptRoot(
  ask: Ask,
  actors: readonly ApiActor[],
  root: { readonly keyword: "query" | "mutation"; readonly type: GraphQLObjectType },
  samples: Samples,
  rowOf: ReadonlyMap<string, Samples>,
): Promise<readonly Cell[]> {
  const fields = Object.values(root.type.getFields());
  const size = root.keyword === "query" ? BATCH : 1;
  const cells: Cell[] = [];
  for (let start = 0; start < fields.length; start += size) {
    const batch = fields.slice(start, start + size);
    const calls = batch.map(
      (field, i) =>
        `f${i}: ${callOf(field, samples, rowOf.get(field.name))}${selectionOf(field.type, samples)}`,
    );
    for (const actor of actors) {
      const { data, errors = [] } = await ask(actor, `${root.keyword} { ${calls.join("\n")} }`);
      const failed = new Map(errors.map((error: GraphqlError) => [error.path?.[0], error.extensions.code]));
      cells.push(
        ...batch.map((field, i) => ({
          object: `${root.keyword} ${field.name}`,
          operation: "ask",
          role: actor.name,
          outcome: failed.get(`f${i}`) ?? failed.get(undefined) ?? valueOutcome(field, data?.[`f${i}`]),
        })),
      );
    }
  }
  return cells;
}

/** `none` is a page without rows. */
export function valueOutcome({ type }: GraphQLField<unknown, unknown>, value: unknown): string {
  if (value == null) return "null";
  const named = getNamedType(type);
  const rows = isObjectType(named) ? rowsField(named) : undefined;
  const list = rows ? (value as Record<string, unknown>)[rows.name] : value;
  return Array.isArray(list) && list.length === 0 ? "none" : "data";
}
