import {
  type GraphQLInputObjectType,
  type GraphQLInputType,
  getNamedType,
  getNullableType,
  isEnumType,
  isInputObjectType,
  isListType,
  isNonNullType,
} from "postgraphile/graphql";
import type { Coverage } from "./coverage.ts";
import type { Dice } from "./dice.ts";
import type { KnownValues } from "./known-values.ts";
import { NOTHING } from "./variables.ts";

/** Where a value comes from in the data: a field of a type. */
export interface Place {
  readonly typeName: string;
  readonly fieldName: string;
}

/** Values for scalars when no answer contained any, and sometimes otherwise. */
const ODD_VALUES: Readonly<Record<string, readonly unknown[]>> = {
  Int: [0, 1, 2, 3, 5, 10, -1, 2147483647],
  Float: [0, 0.5, 1, -1.25, 1e21, 1e-7],
  Boolean: [true, false],
  BigInt: ["0", "1", "-1", "9007199254740993", "9223372036854775807"],
  BigFloat: ["0", "1.0", "1.10", "-0.5", "123456789012345678901234567890.123456789"],
  Date: ["2026-01-01", "2024-02-29", "9999-12-31"],
  Datetime: [
    "2026-01-01T00:00:00Z",
    "2024-02-29T23:59:59.999999+05:30",
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59Z",
  ],
  InternetAddress: ["192.0.2.1", "10.0.0.0/8", "::1", "2001:db8::/32"],
  CidrAddress: ["10.0.0.0/8", "::/0"],
  UUID: ["00000000-0000-7000-8000-00000000dead", "00000000-0000-0000-0000-000000000000"],
  ID: ["WyJub3doZXJlIiwxXQ==", "query", "x"],
  JSON: [null, {}, [], 1, "a", true, { a: 1 }, { 10: "ten", 9: null, b: [1.5, {}] }],
  String: [
    "",
    "a",
    "x",
    "%",
    "_",
    "\\",
    "'",
    '"',
    "\u2028",
    "ż",
    "👩‍👩‍👧‍👦",
    "ada",
    "$1",
    "null",
    "a".repeat(300),
  ],
};

/** Scalars of small sets, by argument, where an arbitrary string is only an error. */
const BY_NAME: Readonly<Record<string, readonly unknown[]>> = {
  language: ["en", "de", "simple"],
  currency: ["USD", "EUR"],
  maxCount: [1, 5, 20],
  maxResults: [1, 5, 20],
};

/** Arguments with the name of another type's field. */
const ALIASES: Readonly<Record<string, Place>> = {
  permission: { typeName: "Permission", fieldName: "name" },
  purpose: { typeName: "ConsentPurpose", fieldName: "name" },
  audienceId: { typeName: "Profile", fieldName: "id" },
  beforeId: { typeName: "RoomMessage", fieldName: "id" },
  roomId: { typeName: "Room", fieldName: "id" },
  courseId: { typeName: "ContentItem", fieldName: "id" },
  itemIds: { typeName: "ContentItem", fieldName: "id" },
  categoryId: { typeName: "ContentCategory", fieldName: "id" },
  contentTypes: { typeName: "ContentItem", fieldName: "contentType" },
  promptId: { typeName: "Prompt", fieldName: "id" },
  modelId: { typeName: "Model", fieldName: "id" },
};

export interface ValueSource {
  readonly dice: Dice;
  readonly known: KnownValues;
  readonly coverage: Coverage;
}

/** Makes a value of any input type; filters get conditions that rows of the data meet. */
export function randomValue(source: ValueSource, type: GraphQLInputType, place: Place): unknown {
  const { dice, coverage } = source;
  const nullable = getNullableType(type);
  if (!isNonNullType(type) && dice.chance(3)) return null;
  if (isListType(nullable))
    return Array.from({ length: dice.below(4) }, () => randomValue(source, nullable.ofType, place));
  if (isEnumType(nullable))
    return coverage.rarest(dice, nullable.getValues(), ({ name }) => `${nullable.name}.${name}`).name;
  if (isInputObjectType(nullable))
    return nullable.name.endsWith("Filter")
      ? randomFilter(source, nullable, place)
      : randomObject(source, nullable);
  return randomScalar(source, nullable.name, place);
}

/** A filter of rows names columns and relations, a filter of a column operators. */
function randomFilter(source: ValueSource, type: GraphQLInputObjectType, place: Place, depth = 0): unknown {
  const { dice, coverage } = source;
  const fields = Object.values(type.getFields());
  const isOfRows = "and" in type.getFields();
  const rowType = type.name.slice(0, -"Filter".length);
  const filter: Record<string, unknown> = {};
  for (let count = isOfRows ? 1 + dice.below(2) : 1; count > 0; count--) {
    const field = coverage.rarest(dice, fields, ({ name }) => `${type.name}.${name}`);
    const inner = getNamedType(field.type);
    if (isOfRows && dice.chance(4)) filter[field.name] = NOTHING;
    else if (isInputObjectType(inner)) {
      const isLogic = inner === type;
      if (isLogic && depth > 2) continue;
      const make = () =>
        randomFilter(
          source,
          inner,
          isLogic ? place : { typeName: rowType, fieldName: field.name },
          depth + 1,
        );
      filter[field.name] = isListType(getNullableType(field.type))
        ? Array.from({ length: 1 + dice.below(2) }, make)
        : make();
    } else {
      const value = randomValue(
        source,
        field.type,
        isOfRows ? { typeName: rowType, fieldName: field.name } : place,
      );
      filter[field.name] = /^(not)?(includes|startsWith|endsWith|like)/i.test(field.name)
        ? piece(dice, value)
        : value;
    }
  }
  return filter;
}

function randomObject(source: ValueSource, type: GraphQLInputObjectType): unknown {
  const { dice } = source;
  return Object.fromEntries(
    Object.values(type.getFields())
      .filter((field) => isNonNullType(field.type) || dice.chance(50))
      .map((field) => [
        field.name,
        randomValue(source, field.type, { typeName: type.name, fieldName: field.name }),
      ]),
  );
}

/** A part of a text, so that searches for it find something. */
function piece(dice: Dice, value: unknown): unknown {
  if (typeof value !== "string" || value.length < 2) return value;
  const letters = [...value];
  const start = dice.below(letters.length - 1);
  return letters.slice(start, start + 1 + dice.below(4)).join("");
}

function randomScalar({ dice, known }: ValueSource, scalar: string, place: Place): unknown {
  const { typeName, fieldName } = ALIASES[place.fieldName] ?? place;
  const odd = ODD_VALUES[scalar] ?? ["x"];
  // Before the lists: isNull of a filter has the name of its column.
  if (scalar === "Boolean") return dice.pick(odd);
  const listed = BY_NAME[place.fieldName];
  if (listed && dice.chance(90)) return dice.pick(listed);
  if (dice.chance(8)) return dice.pick(odd);
  return known.find(dice, typeName, fieldName, scalar) ?? dice.pick(odd);
}
