import {
  type ASTNode,
  type FragmentDefinitionNode,
  type GraphQLSchema,
  getOperationAST,
  isNonNullType,
  Kind,
  print,
  TypeInfo,
  type ValueNode,
  visit,
  visitWithTypeInfo,
} from "postgraphile/graphql";
import type { Operation } from "./random-operation.ts";
import { canBeLiteral, literal } from "./variables.ts";

/** The same operation without named fragments and with literals in place of variables: its answer must be the same. */
export function inlined(schema: GraphQLSchema, { document, variables }: Operation): Operation {
  const fragments = new Map<string, FragmentDefinitionNode>();
  for (const definition of document.definitions)
    if (definition.kind === Kind.FRAGMENT_DEFINITION) fragments.set(definition.name.value, definition);
  const operation = getOperationAST(document)!;

  /** Undefined if nothing was sent, and the variable itself if only a variable can hold the value. */
  function valueFor(node: ValueNode, types: TypeInfo): ValueNode | undefined {
    if (node.kind !== Kind.VARIABLE) return node;
    const name = node.name.value;
    if (!(name in variables))
      return operation.variableDefinitions?.find(({ variable }) => variable.name.value === name)
        ?.defaultValue;
    const value = variables[name];
    // Null where a value is required is an error of validation in a document, and of execution in a variable.
    const isMissing = value === null && isNonNullType(types.getInputType());
    return canBeLiteral(value) && !isMissing ? literal(value, types.getInputType()!) : node;
  }

  const kept = new Set<string>();
  const types = new TypeInfo(schema);
  const withoutSpreads = visit(operation, {
    FragmentSpread({ name, directives = [] }) {
      const { typeCondition, selectionSet } = fragments.get(name.value)!;
      return { kind: Kind.INLINE_FRAGMENT as const, typeCondition, selectionSet, directives };
    },
  });
  const withoutVariables = visit(
    withoutSpreads,
    visitWithTypeInfo(types, {
      VariableDefinition: () => false,
      Argument: (node) => (isNothing(node.value) ? null : undefined),
      ObjectField: (node) => (isNothing(node.value) ? null : undefined),
      Variable(node) {
        const value = valueFor(node, types) ?? { kind: Kind.NULL as const };
        if (value === node) kept.add(node.name.value);
        return value;
      },
    }),
  );
  function isNothing(node: ValueNode): boolean {
    return node.kind === Kind.VARIABLE && valueFor(node, types) === undefined;
  }

  const inline: ASTNode = {
    ...withoutVariables,
    variableDefinitions: operation.variableDefinitions?.filter(({ variable }) =>
      kept.has(variable.name.value),
    ),
  };
  return {
    document: { kind: Kind.DOCUMENT, definitions: [inline] },
    text: print(inline),
    variables: Object.fromEntries(Object.entries(variables).filter(([name]) => kept.has(name))),
  };
}
