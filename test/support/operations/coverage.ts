import {
  type GraphQLNamedType,
  type GraphQLSchema,
  getNamedType,
  isEnumType,
  isInputObjectType,
  isObjectType,
} from "postgraphile/graphql";
import type { Dice } from "./dice.ts";

/** Counts how often each part of the schema was used, so that a walk prefers what it has not used yet. */
export interface Coverage {
  /** Of three candidates, the one that was used least; counts its use. */
  rarest<T>(dice: Dice, candidates: readonly T[], place: (candidate: T) => string): T;
  use(place: string): void;
  /** Notes a field that was not null in an answer. */
  answer(place: string): void;
  report(): CoverageReport;
}

interface Share {
  readonly reached: number;
  readonly total: number;
  readonly missing: readonly string[];
}
/** `answered` are the fields that were not null in an answer. */
type CoverageReport = Readonly<Record<"fields" | "answered" | "arguments" | "inputs" | "values", Share>>;

export function createCoverage(schema: GraphQLSchema): Coverage {
  const uses = new Map<string, number>();
  const answered = new Set<string>();
  const usesOf = (place: string): number => uses.get(place) ?? 0;
  const use = (place: string) => void uses.set(place, usesOf(place) + 1);

  return {
    use,
    answer: (place) => void answered.add(place),
    rarest(dice, candidates, place) {
      let best = dice.pick(candidates);
      for (let n = 0; n < 2; n++) {
        const other = dice.pick(candidates);
        if (usesOf(place(other)) < usesOf(place(best))) best = other;
      }
      use(place(best));
      return best;
    },
    report() {
      const places = placesOf(schema);
      const share = (all: readonly string[], isReached: (place: string) => boolean): Share => {
        const missing = all.filter((place) => !isReached(place));
        return { reached: all.length - missing.length, total: all.length, missing };
      };
      const isUsed = (place: string) => uses.has(place);
      return {
        fields: share(places.fields, isUsed),
        answered: share(places.fields, (place) => answered.has(place)),
        arguments: share(places.arguments, isUsed),
        inputs: share(places.inputs, isUsed),
        values: share(places.values, isUsed),
      };
    },
  };
}

/** Everything that a query can reach: fields, their arguments, fields of inputs and values of enums. */
function placesOf(schema: GraphQLSchema) {
  const places = { fields: [], arguments: [], inputs: [], values: [] } as Record<
    Exclude<keyof CoverageReport, "answered">,
    string[]
  >;
  const seen = new Set<GraphQLNamedType>();
  function visit(type: GraphQLNamedType): void {
    if (seen.has(type)) return;
    seen.add(type);
    if (isEnumType(type)) places.values.push(...type.getValues().map(({ name }) => `${type.name}.${name}`));
    else if (isInputObjectType(type))
      for (const field of Object.values(type.getFields())) {
        places.inputs.push(`${type.name}.${field.name}`);
        visit(getNamedType(field.type));
      }
    else if (isObjectType(type))
      for (const field of Object.values(type.getFields())) {
        places.fields.push(`${type.name}.${field.name}`);
        for (const argument of field.args) {
          places.arguments.push(`${type.name}.${field.name}(${argument.name})`);
          visit(getNamedType(argument.type));
        }
        visit(getNamedType(field.type));
      }
  }
  visit(schema.getQueryType()!);
  return places;
}
