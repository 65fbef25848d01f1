import {
  type ArgumentNode,
  type GraphQLArgument,
  type GraphQLField,
  getNamedType,
  isNonNullType,
  Kind,
} from "postgraphile/graphql";
import { randomValue, type ValueSource } from "./random-values.ts";
import { NOTHING, type ValueWriter } from "./variables.ts";

const PAGING = new Set(["first", "last", "after", "before", "offset", "orderBy"]);

/** Chooses arguments for a field; `typeName` is the type that the field is of. */
export function randomArguments(
  source: ValueSource,
  writer: ValueWriter,
  typeName: string,
  field: GraphQLField<unknown, unknown>,
  isWrong: boolean,
): ArgumentNode[] {
  const { dice, coverage } = source;
  const isList = field.args.some(({ name }) => name === "first");
  const paging = isList ? randomPaging(source, typeName, field, isWrong) : {};
  const rowType = getNamedType(field.type).name.replace(/Connection$/, "");
  return dice.some(field.args, field.args.length).flatMap((argument) => {
    const value =
      isList && PAGING.has(argument.name) && isOfPaging(argument)
        ? paging[argument.name]
        : argumentValue(source, argument, rowType);
    if (value === undefined) return [];
    coverage.use(`${typeName}.${field.name}(${argument.name})`);
    return [
      {
        kind: Kind.ARGUMENT as const,
        name: { kind: Kind.NAME as const, value: argument.name },
        value: writer.write(value, argument.type),
      },
    ];
  });
}

/** `after` can also be an argument of a function. */
const isOfPaging = ({ name, type }: GraphQLArgument): boolean =>
  (name !== "after" && name !== "before") || getNamedType(type).name === "Cursor";

/** Undefined leaves the argument out. */
function argumentValue(source: ValueSource, argument: GraphQLArgument, typeName: string): unknown {
  const { dice, known } = source;
  if (!isNonNullType(argument.type)) {
    if (dice.chance(3)) return NOTHING;
    if (!dice.chance(argument.name === "filter" ? 30 : 50)) return undefined;
  }
  if (argument.name === "nodeId") return known.findNode(dice)?.nodeId ?? "query";
  return randomValue(source, argument.type, { typeName, fieldName: argument.name });
}

type Paging = Partial<Record<string, unknown>>;

/** Pages are small, since their sizes multiply in nested lists. */
function randomPaging(
  source: ValueSource,
  typeName: string,
  field: GraphQLField<unknown, unknown>,
  isWrong: boolean,
): Paging {
  const { dice, known } = source;
  const has = (name: string) => field.args.some((argument) => argument.name === name && isOfPaging(argument));
  if (isWrong) return wrongPaging(source, typeName, field);
  const size = dice.chance(4) ? 0 : 1 + dice.below(4);
  const orderBy = has("orderBy") && dice.chance(50) ? randomOrder(source, field) : undefined;
  const position = dice.chance(30) ? known.findCursor(dice, `${typeName}.${field.name}`) : undefined;
  const isBackward = has("last") && dice.chance(25);
  const paging: Paging = {
    [isBackward ? "last" : "first"]: size,
    orderBy: position ? position.orderBy : orderBy,
    ...(position && has("after") && { [isBackward && has("before") ? "before" : "after"]: position.cursor }),
    ...(has("offset") && !isBackward && dice.chance(8) && { offset: dice.below(3) }),
  };
  for (const name of ["first", "last", "after", "before", "offset", "orderBy"])
    if (paging[name] === undefined && has(name) && dice.chance(2)) paging[name] = dice.pick([null, NOTHING]);
  return paging;
}

function randomOrder({ dice, coverage }: ValueSource, field: GraphQLField<unknown, unknown>): unknown {
  const type = getNamedType(field.args.find(({ name }) => name === "orderBy")!.type);
  const values = "getValues" in type ? type.getValues() : [];
  const count = dice.chance(5) ? 0 : dice.chance(60) ? 1 : 2;
  return Array.from(
    { length: count },
    () => coverage.rarest(dice, values, ({ name }) => `${type.name}.${name}`).name,
  );
}

/** A page that the API rejects, or that is odd enough. */
function wrongPaging(
  { dice, known }: ValueSource,
  typeName: string,
  field: GraphQLField<unknown, unknown>,
): Paging {
  const own = known.findCursor(dice, `${typeName}.${field.name}`)?.cursor;
  const wrong = dice.pick<Paging>([
    { first: 1_000 },
    { first: -1 },
    { last: -5 },
    { first: 2, last: 2 },
    { first: 2, after: "bm93aGVyZQ==" },
    { first: 2, after: "" },
    { first: 2, offset: -1 },
    { last: 2, offset: 1 },
    { first: 2, after: own, orderBy: ["NATURAL"] },
    { first: 2, after: own, before: own },
  ]);
  const names = new Set(field.args.map(({ name }) => name));
  return Object.fromEntries(Object.entries(wrong).filter(([name]) => names.has(name)));
}
