import {
  type DocumentNode,
  GraphQLError,
  GraphQLFloat,
  getNamedType,
  Kind,
  OperationTypeNode,
  type SelectionSetNode,
  type ValidationRule,
  type ValueNode,
} from "graphql";
import { isExact } from "../../support/exact-json.ts";
import { fragmentsOf } from "./fragments.ts";

/** Requires that a Float literal has a value that a Float can represent. (For variables, see `parseExactJson`.) */
export const ExactFloatsRule: ValidationRule = (context) => {
  const check = (node: ValueNode & { readonly value: string }): void => {
    const type = context.getInputType();
    if (type && getNamedType(type) === GraphQLFloat && !isExact(node.value))
      context.reportError(
        new GraphQLError(`Float cannot represent ${node.value}.`, {
          nodes: node,
          extensions: { code: "BAD_USER_INPUT" },
        }),
      );
  };
  return { IntValue: check, FloatValue: check };
};

/**
 * Rejects subscriptions whose one field depends on a condition: without the field there would be nothing to wait for
 * (GraphQL, September 2025, §5.2.4.1).
 * @throws GraphQLError GRAPHQL_VALIDATION_FAILED
 */
export function assertUnconditionalSubscriptions({ definitions }: DocumentNode): void {
  const fragments = fragmentsOf({ definitions });
  const seen = new Set<string>();

  function visit({ selections }: SelectionSetNode): void {
    for (const selection of selections) {
      const condition = selection.directives?.find(({ name }) => /^(skip|include)$/.test(name.value));
      if (condition)
        throw new GraphQLError(
          `The field of a subscription cannot be under @${condition.name.value}. Subscribe only when needed.`,
          { nodes: condition, extensions: { code: "GRAPHQL_VALIDATION_FAILED" } },
        );
      if (selection.kind === Kind.INLINE_FRAGMENT) visit(selection.selectionSet);
      if (selection.kind !== Kind.FRAGMENT_SPREAD || seen.has(selection.name.value)) continue;
      seen.add(selection.name.value);
      const fragment = fragments.get(selection.name.value);
      if (fragment) visit(fragment.selectionSet);
    }
  }
  for (const definition of definitions)
    if (
      definition.kind === Kind.OPERATION_DEFINITION &&
      definition.operation === OperationTypeNode.SUBSCRIPTION
    )
      visit(definition.selectionSet);
}
