import {
  type ASTNode,
  type DocumentNode,
  type FragmentDefinitionNode,
  type GraphQLSchema,
  Kind,
  print,
  type SelectionNode,
  validate,
  visit,
} from "postgraphile/graphql";
import type { Operation } from "./random-operation.ts";

/**
 * Makes an operation smaller while `isStillWrong` holds: drops fields, arguments, directives, aliases and parts of values,
 * and dissolves fragments.
 */
export async function shrink(
  schema: GraphQLSchema,
  operation: Operation,
  isStillWrong: (operation: Operation) => Promise<boolean>,
): Promise<Operation> {
  let smallest = operation;
  for (let isSmaller = true; isSmaller; ) {
    isSmaller = false;
    for (let n = 0; ; n++) {
      const document = withoutNth(smallest.document, n);
      if (!document) break;
      const candidate = asOperation(document, smallest.variables);
      if (candidate.text.length >= smallest.text.length) continue;
      if (validate(schema, candidate.document).length > 0 || !(await isStillWrong(candidate))) continue;
      smallest = candidate;
      isSmaller = true;
      // What follows moved up by one.
      n--;
    }
  }
  return smallest;
}

const asOperation = (document: DocumentNode, variables: Operation["variables"]): Operation => {
  const used = new Set<string>();
  visit(document, { VariableDefinition: ({ variable }) => void used.add(variable.name.value) });
  return {
    document,
    text: print(document),
    variables: Object.fromEntries(Object.entries(variables).filter(([name]) => used.has(name))),
  };
};

/** The document without its nth removable part; undefined if there are fewer. */
function withoutNth(document: DocumentNode, n: number): DocumentNode | undefined {
  let seen = -1;
  const isNext = () => ++seen === n;
  const fragments = new Map<string, FragmentDefinitionNode>();
  for (const definition of document.definitions)
    if (definition.kind === Kind.FRAGMENT_DEFINITION) fragments.set(definition.name.value, definition);

  const smaller: DocumentNode = visit(document, {
    SelectionSet(set) {
      for (const [i, selection] of set.selections.entries()) {
        const others = (parts: readonly SelectionNode[]) => ({
          ...set,
          selections: [...set.selections.slice(0, i), ...parts, ...set.selections.slice(i + 1)],
        });
        if (set.selections.length > 1 && isNext()) return others([]);
        const inside =
          selection.kind === Kind.INLINE_FRAGMENT
            ? selection
            : selection.kind === Kind.FRAGMENT_SPREAD && fragments.get(selection.name.value);
        if (inside && isNext()) return others(inside.selectionSet.selections);
      }
      return undefined;
    },
    Field: (node) => (node.alias && isNext() ? { ...node, alias: undefined } : undefined),
    Argument: () => (isNext() ? null : undefined),
    Directive: () => (isNext() ? null : undefined),
    ObjectField: () => (isNext() ? null : undefined),
    ListValue: (node) =>
      node.values.length > 1 && isNext() ? { ...node, values: node.values.slice(1) } : undefined,
  });
  return seen >= n ? withoutUnused(smaller) : undefined;
}

/** Drops fragments and variables that nothing uses any more. */
function withoutUnused(document: DocumentNode): DocumentNode {
  const spreads = new Set<string>();
  const reach = (node: ASTNode): void =>
    void visit(node, {
      FragmentSpread({ name }) {
        if (spreads.has(name.value)) return;
        spreads.add(name.value);
        const fragment = document.definitions.find(
          (definition) =>
            definition.kind === Kind.FRAGMENT_DEFINITION && definition.name.value === name.value,
        );
        if (fragment) reach(fragment);
      },
    });
  for (const definition of document.definitions)
    if (definition.kind === Kind.OPERATION_DEFINITION) reach(definition);
  const definitions = document.definitions.filter(
    (definition) => definition.kind !== Kind.FRAGMENT_DEFINITION || spreads.has(definition.name.value),
  );
  const variables = new Set<string>();
  visit(
    { ...document, definitions },
    { VariableDefinition: () => false, Variable: ({ name }) => void variables.add(name.value) },
  );
  return visit(
    { ...document, definitions },
    { VariableDefinition: ({ variable }) => (variables.has(variable.name.value) ? false : null) },
  );
}
