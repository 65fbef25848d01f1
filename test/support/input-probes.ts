import {
  type GraphQLArgument,
  type GraphQLField,
  type GraphQLInputField,
  type GraphQLInputType,
  type GraphQLNamedType,
  type GraphQLObjectType,
  type GraphQLSchema,
  getNamedType,
  isEnumType,
  isInputObjectType,
  isListType,
  isNonNullType,
  isObjectType,
  isRequiredArgument,
  isRequiredInputField,
} from "postgraphile/graphql";

/** A value as written in a document and, if possible, in the JSON of the variables. */
interface OddValue {
  readonly literal?: string;
  readonly json?: string;
}

/** An odd value in one place: a field of an operation that can be requested under an alias. */
export interface Probe {
  /** Such as `Query.chats(filter.title.equalTo)`. */
  readonly place: string;
  readonly operation: "query" | "mutation" | "subscription";
  /** The root field without an alias. */
  readonly text: string;
  /** The value of `$value`, if the text contains it; unset without JSON. */
  readonly variable?: { readonly type: string; readonly json: string | undefined };
  /** Type and value. Nothing else decides whether a value is rejected before anything runs. */
  readonly kind: string;
}

/** Valid values for the parts that a probe does not try, by type and name of the argument or field. */
export type Fillers = (type: GraphQLNamedType, name: string) => string;

const EVERYWHERE: OddValue[] = [both("null"), both("{}"), both("[]"), both('""'), { literal: "NOT_THERE" }];
const TEXTS: OddValue[] = [
  both('"\\u0000"'),
  { json: '"a\\ud800"' },
  { json: '"\\udc00\\ud800"' },
  both('"\\\\"'),
  both('"%"'),
  both(JSON.stringify("x".repeat(300))),
];
const NUMBERS: OddValue[] = ["-1", "0", "1.5", "1e400", "-1e400", "1e-400", "12345678901234567890"].map(both);
const MOMENTS: OddValue[] = [
  "infinity",
  "-infinity",
  "0044-03-15T12:00:00Z BC",
  "300000-01-01T00:00:00Z",
  "-000001-01-01T00:00:00Z",
  "2024-02-30T00:00:00Z",
  "2024-01-01T25:61:00Z",
  "0001-01-01T00:00:00+14:00",
  "9999-12-31T23:59:59-14:00",
  "x",
].map((text) => both(JSON.stringify(text)));
const ADDRESSES = ["x", "1.2.3.4/33", "::1/129", "1.2.3.4/8", "fe80::1%eth0"].map((text) =>
  both(JSON.stringify(text)),
);

const OF_TYPE: Readonly<Record<string, readonly OddValue[]>> = {
  String: TEXTS,
  ID: [...TEXTS, both("1.5")],
  Int: [...NUMBERS, ...["2147483647", "-2147483648", "2147483648"].map(both)],
  Float: [...NUMBERS, both("1e308")],
  Boolean: [both("true"), both("false"), both("1")],
  BigInt: [
    ...NUMBERS,
    ...["9223372036854775807", "9223372036854775808", "-9223372036854775808", "NaN", "1e5", "x"].map(quoted),
  ],
  BigFloat: [
    ...NUMBERS,
    ...["NaN", "Infinity", "-Infinity", "1e400", "1e200000", "-0.000000000000001", "x"].map(quoted),
  ],
  Datetime: MOMENTS,
  Date: MOMENTS,
  UUID: ["x", "00000000-0000-0000-0000-000000000000", "{01900000-0000-7000-8000-000000000000}"].map(quoted),
  InternetAddress: ADDRESSES,
  CidrAddress: ADDRESSES,
  Cursor: [
    "x",
    ...[
      "null",
      "{}",
      "[]",
      "[[]]",
      '["x",1]',
      '["natural",1]',
      '["primary_key_asc","x"]',
      '["primary_key_asc","\\u0000"]',
    ].map((json) => Buffer.from(json).toString("base64")),
  ].map(quoted),
  JSON: [
    ...NUMBERS,
    ...TEXTS,
    both("true"),
    { literal: "{ a: NOT_THERE }", json: '{"a":1e400}' },
    { literal: "[NOT_THERE]", json: '[{"a":[-1e400]}]' },
    { literal: "{ a: 12345678901234567890 }", json: '{"a":12345678901234567890.5}' },
    { literal: '{ a: "\\u0000" }', json: '{"\\u0000":1}' },
    { json: '{"\\ud800":1}' },
    { json: '{"a":["\\ud800"]}' },
    { json: '{"__proto__":{"a":1},"constructor":1}' },
  ],
};

function both(text: string): OddValue {
  return { literal: text, json: text };
}

function quoted(text: string): OddValue {
  return both(JSON.stringify(text));
}

/** The place of a value: the argument of a field, or a part of it. */
interface Slot {
  readonly place: string;
  readonly type: GraphQLInputType;
  /** The whole field with `value` in this place. */
  render(value: string): string;
}

/**
 * Every argument of every field that can be reached, and every field of every input object, each with every odd value
 * of its type, as a literal and as a variable.
 */
export function* everyProbe(schema: GraphQLSchema, fill: Fillers): Generator<Probe> {
  const seen = new Set<string>();
  let turn = 0;
  for (const operation of ["query", "mutation", "subscription"] as const) {
    const root = schema.getRootType(operation as never);
    if (!root) continue;
    for (const slot of argumentSlots(root, fill))
      for (const inner of innerSlots(slot, fill, seen))
        for (const value of valuesFor(inner.type)) yield* probesOf(operation, inner, value, turn++);
  }
}

/** As a literal or as a variable by turns, since each value is tried in many places; null as both and as a variable without a value. */
function* probesOf(
  operation: Probe["operation"],
  { place, type, render }: Slot,
  { literal, json }: OddValue,
  turn: number,
): Generator<Probe> {
  const [, argument = ""] = /\((first|last|offset)\)/.exec(place) ?? [];
  const isBoth = literal === "null";
  if (literal !== undefined && (isBoth || json === undefined || turn % 2 === 0))
    yield {
      place: `${place}: ${literal.slice(0, 50)}`,
      operation,
      text: render(literal),
      kind: `${type} ${argument}: ${literal}`,
    };
  const variable = (json: string | undefined): Probe => ({
    place: `${place} = ${json?.slice(0, 50) ?? "unset"}`,
    operation,
    text: render("$value"),
    variable: { type: String(type), json },
    kind: `${type} ${argument} = ${json}`,
  });
  if (json !== undefined && (isBoth || literal === undefined || turn % 2 === 1)) yield variable(json);
  if (isBoth && !isNonNullType(type)) yield variable(undefined);
}

function* valuesFor(type: GraphQLInputType): Generator<OddValue> {
  yield* EVERYWHERE;
  const named = getNamedType(type);
  const values = OF_TYPE[named.name] ?? (isEnumType(named) ? [] : TEXTS);
  if (isInputObjectType(named)) return;
  const isList = isListType(isNonNullType(type) ? type.ofType : type);
  if (!isList) {
    yield* values;
    return;
  }
  yield both("[null]");
  for (const { literal, json } of values)
    yield {
      ...(literal !== undefined && { literal: `[${literal}]` }),
      ...(json !== undefined && { json: `[${json}]` }),
    };
}

/** The arguments of the root fields, and of the fields of what they answer with, each type of object once. */
function* argumentSlots(root: GraphQLObjectType, fill: Fillers): Generator<Slot> {
  const waiting: { type: GraphQLObjectType; wrap: (field: string) => string }[] = [
    { type: root, wrap: (field) => field },
  ];
  const seen = new Set([root.name]);
  for (const { type, wrap } of waiting)
    for (const field of Object.values(type.getFields())) {
      for (const argument of field.args)
        yield {
          place: `${type.name}.${field.name}(${argument.name})`,
          type: argument.type,
          render: (value) => wrap(renderField(field, fill, argument, value)),
        };
      const result = getNamedType(field.type);
      // A mutation is tried by its own inputs; the fields of its result are the same as for a query.
      if (root.name === "Mutation" || root.name === "Subscription" || !isObjectType(result)) continue;
      if (seen.has(result.name)) continue;
      seen.add(result.name);
      waiting.push({
        type: result,
        wrap: (inner) => wrap(renderField(field, fill, undefined, "", `{ ${inner} }`)),
      });
    }
}

function renderField(
  field: GraphQLField<unknown, unknown>,
  fill: Fillers,
  tried: GraphQLArgument | undefined,
  value: string,
  selection = selectionOf(field),
): string {
  const given = field.args.flatMap((argument) => {
    if (argument === tried) return [`${argument.name}: ${value}`];
    // A page of one, so that a field inside costs no more than it must.
    if (argument.name === "first" && tried?.name !== "last" && tried?.name !== "before") return ["first: 1"];
    return isRequiredArgument(argument) ? [`${argument.name}: ${filled(argument, fill)}`] : [];
  });
  return `${field.name}${given.length > 0 ? `(${given.join(", ")})` : ""} ${selection}`;
}

function selectionOf(field: GraphQLField<unknown, unknown>): string {
  const type = getNamedType(field.type);
  if (!isObjectType(type)) return "fields" in type || "getTypes" in type ? "{ __typename }" : "";
  const fields = type.getFields();
  return fields.nodes && fields.pageInfo
    ? "{ nodes { __typename } pageInfo { endCursor } }"
    : "{ __typename }";
}

/** A slot and those inside it; each field of an input object once, where it is first met. */
function* innerSlots(slot: Slot, fill: Fillers, seen: Set<string>): Generator<Slot> {
  const waiting = [slot];
  for (const outer of waiting) {
    yield outer;
    const named = getNamedType(outer.type);
    if (!isInputObjectType(named) || seen.has(named.name)) continue;
    seen.add(named.name);
    const isList = isListType(isNonNullType(outer.type) ? outer.type.ofType : outer.type);
    const fields = Object.values(named.getFields());
    for (const field of fields)
      waiting.push({
        place: `${outer.place.slice(0, -1)}.${field.name})`,
        type: field.type,
        render(value) {
          const object = `{ ${[
            ...fields
              .filter((other) => other !== field && isRequiredInputField(other))
              .map((other) => `${other.name}: ${filled(other, fill)}`),
            `${field.name}: ${value}`,
          ].join(", ")} }`;
          return outer.render(isList ? `[${object}]` : object);
        },
      });
  }
}

/** A valid value for a required argument or field. */
function filled({ type, name }: GraphQLArgument | GraphQLInputField, fill: Fillers): string {
  const nullable = isNonNullType(type) ? type.ofType : type;
  const named = getNamedType(type);
  let value: string;
  if (isInputObjectType(named)) {
    const required = Object.values(named.getFields()).filter(isRequiredInputField);
    value = `{ ${required.map((field) => `${field.name}: ${filled(field, fill)}`).join(", ")} }`;
  } else if (isEnumType(named)) value = named.getValues()[0]!.name;
  else value = fill(named, name);
  return isListType(nullable) ? `[${value}]` : value;
}
