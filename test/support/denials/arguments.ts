import {
  type GraphQLField,
  type GraphQLInputType,
  getNamedType,
  isEnumType,
  isInputObjectType,
  isListType,
  isNonNullType,
  isRequiredInputField,
} from "postgraphile/graphql";

/** A value that a mutation takes: a field of its input, or of an object in it. */
export interface Argument {
  /** Such as `["patch", "categoryId"]`, inside `input`. */
  readonly path: readonly string[];
  readonly name: string;
  /** Name of the scalar or enum. */
  readonly type: string;
  /** Names of an enum's values. */
  readonly choices: readonly string[] | undefined;
  readonly isList: boolean;
  readonly isRequired: boolean;
}

/** The nested values of the variable `input`. */
export type Input = { readonly [name: string]: unknown };

/** The values that a mutation takes, except clientMutationId. An object that may be omitted is left out. */
export function argumentsOf(field: GraphQLField<unknown, unknown>): Argument[] {
  return field.args.flatMap(({ type }) => valuesIn(type, []));
}

function valuesIn(type: GraphQLInputType, path: readonly string[]): Argument[] {
  const object = getNamedType(type);
  if (!isInputObjectType(object)) return [];
  return Object.values(object.getFields()).flatMap((inner): Argument[] => {
    const named = getNamedType(inner.type);
    const nullable = isNonNullType(inner.type) ? inner.type.ofType : inner.type;
    const isRequired = isRequiredInputField(inner);
    const here = [...path, inner.name];
    if (inner.name === "clientMutationId") return [];
    if (isInputObjectType(named)) return isRequired ? valuesIn(inner.type, here) : [];
    const choices = isEnumType(named) ? named.getValues().map(({ name }) => name) : undefined;
    return [
      { path: here, name: inner.name, type: named.name, choices, isList: isListType(nullable), isRequired },
    ];
  });
}

/** A copy of an input with another value in one place. */
export function withValue(input: Input, [name, ...rest]: readonly string[], value: unknown): Input {
  return {
    ...input,
    [name!]: rest.length > 0 ? withValue((input[name!] ?? {}) as Input, rest, value) : value,
  };
}
