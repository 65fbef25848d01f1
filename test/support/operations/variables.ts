import {
  type ConstValueNode,
  type GraphQLInputType,
  getNullableType,
  isEnumType,
  isInputObjectType,
  isListType,
  Kind,
  type ObjectFieldNode,
  parseType,
  type ValueNode,
  type VariableDefinitionNode,
} from "postgraphile/graphql";
import { isExact, isRawNumber } from "../../../src/support/exact-json.ts";
import type { Dice } from "./dice.ts";

/** Stands for no value: written as a variable that is null or not sent. */
export const NOTHING = Symbol("nothing");

/** Writes values into a document: as literals, or as variables declared in one of the ways that GraphQL allows. */
export interface ValueWriter {
  readonly definitions: readonly VariableDefinitionNode[];
  readonly values: Readonly<Record<string, unknown>>;
  write(value: unknown, type: GraphQLInputType): ValueNode;
}

/** @param share of the values that become variables, in percent */
export function createValueWriter(dice: Dice, share: number): ValueWriter {
  const definitions: VariableDefinitionNode[] = [];
  const values: Record<string, unknown> = {};
  /** Variables that may be used again, by type and value. */
  const reusable = new Map<string, ValueNode>();

  function declare(type: string, defaultValue?: ConstValueNode): ValueNode & { kind: Kind.VARIABLE } {
    const variable = {
      kind: Kind.VARIABLE as const,
      name: { kind: Kind.NAME as const, value: `v${definitions.length + 1}` },
    };
    definitions.push({
      kind: Kind.VARIABLE_DEFINITION,
      variable,
      type: parseType(type),
      ...(defaultValue && { defaultValue }),
    });
    return variable;
  }

  function writeVariable(value: unknown, type: GraphQLInputType): ValueNode {
    const key = `${type} ${JSON.stringify(value)}`;
    const known = reusable.get(key);
    if (known && dice.chance(60)) return known;
    const nullable = String(getNullableType(type));
    const how = value === null ? 0 : dice.below(10);
    // A default allows a nullable variable where a value is required.
    if (how === 1 && canBeLiteral(value)) return declare(nullable, literal(value, type) as ConstValueNode);
    const withDefault = how === 2 && canBeLiteral(value);
    const variable = withDefault
      ? declare(nullable, literal(value, type) as ConstValueNode)
      : declare(how === 3 ? `${nullable}!` : String(type));
    values[variable.name.value] = value;
    reusable.set(key, variable);
    return variable;
  }

  function write(value: unknown, type: GraphQLInputType): ValueNode {
    if (value === NOTHING) return writeNothing(type);
    if (!canBeLiteral(value) || dice.chance(share)) return writeVariable(value, type);
    const nullable = getNullableType(type);
    if (value === null) return { kind: Kind.NULL };
    if (isListType(nullable)) {
      // A single value stands for a list of it.
      if (!Array.isArray(value)) return write(value, nullable.ofType);
      if (value.length === 1 && value[0] !== null && dice.chance(30)) return write(value[0], nullable.ofType);
      return { kind: Kind.LIST, values: value.map((item) => write(item, nullable.ofType)) };
    }
    if (isInputObjectType(nullable)) {
      const fields = nullable.getFields();
      return {
        kind: Kind.OBJECT,
        fields: Object.entries(value as object).map(([name, member]) =>
          objectField(name, write(member, fields[name]!.type)),
        ),
      };
    }
    return literal(value, type);
  }

  function writeNothing(type: GraphQLInputType): ValueNode {
    const variable = declare(String(getNullableType(type)));
    if (dice.chance(50)) values[variable.name.value] = null;
    return variable;
  }

  return {
    definitions,
    values,
    write,
  };
}

/** Numbers that no double holds, and keys that are not names, can only be sent in variables. */
export function canBeLiteral(value: unknown): boolean {
  if (isRawNumber(value)) return false;
  if (typeof value === "number") return isExact(String(value));
  if (typeof value !== "object" || value === null) return true;
  return Object.entries(value).every(
    ([name, member]) =>
      (Array.isArray(value) || /^[_A-Za-z]\w*$/.test(name)) && name !== "__proto__" && canBeLiteral(member),
  );
}

/** A value that contains no variables. */
export function literal(value: unknown, type: GraphQLInputType): ValueNode {
  if (value === null || value === NOTHING) return { kind: Kind.NULL };
  const nullable = getNullableType(type);
  const itemType = isListType(nullable) ? nullable.ofType : type;
  if (Array.isArray(value)) return { kind: Kind.LIST, values: value.map((item) => literal(item, itemType)) };
  if (isListType(nullable)) return literal(value, itemType);
  if (isEnumType(nullable)) return { kind: Kind.ENUM, value: String(value) };
  if (typeof value === "boolean") return { kind: Kind.BOOLEAN, value };
  if (typeof value === "number")
    return {
      kind: Number.isInteger(value) && !/e/.test(String(value)) ? Kind.INT : Kind.FLOAT,
      value: String(value),
    };
  if (typeof value === "string") return { kind: Kind.STRING, value };
  const fields = isInputObjectType(nullable) ? nullable.getFields() : {};
  return {
    kind: Kind.OBJECT,
    fields: Object.entries(value as object).map(([name, member]) =>
      objectField(name, literal(member, fields[name]?.type ?? type)),
    ),
  };
}

const objectField = (name: string, value: ValueNode): ObjectFieldNode => ({
  kind: Kind.OBJECT_FIELD,
  name: { kind: Kind.NAME, value: name },
  value,
});
