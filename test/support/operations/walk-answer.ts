import {
  type DocumentNode,
  type FieldNode,
  type FragmentDefinitionNode,
  type GraphQLField,
  type GraphQLObjectType,
  type GraphQLSchema,
  getNamedType,
  isCompositeType,
  isInterfaceType,
  isObjectType,
  Kind,
  type SelectionNode,
} from "postgraphile/graphql";

/** A field of an answer that is not null. */
export interface AnsweredField {
  readonly type: GraphQLObjectType;
  readonly field: GraphQLField<unknown, unknown>;
  readonly node: FieldNode;
  readonly value: unknown;
}

/** Calls `visitor` with every field of an answer that is not null, once for each object that has it. */
export function walkAnswer(
  schema: GraphQLSchema,
  document: DocumentNode,
  data: unknown,
  visitor: (answered: AnsweredField) => void,
): void {
  const fragments = new Map<string, FragmentDefinitionNode>();
  for (const definition of document.definitions)
    if (definition.kind === Kind.FRAGMENT_DEFINITION) fragments.set(definition.name.value, definition);

  function visit(selections: readonly SelectionNode[], type: GraphQLObjectType, value: unknown): void {
    if (typeof value !== "object" || value === null) return;
    for (const selection of selections) {
      if (selection.kind === Kind.FIELD) {
        visitField(selection, type, value as Record<string, unknown>);
        continue;
      }
      const part = selection.kind === Kind.INLINE_FRAGMENT ? selection : fragments.get(selection.name.value)!;
      const condition = part.typeCondition && schema.getType(part.typeCondition.name.value);
      // Only rows that have a type of their own are known to be of the condition's type.
      visit(part.selectionSet.selections, isObjectType(condition) ? condition : type, value);
    }
  }

  function visitField(node: FieldNode, type: GraphQLObjectType, row: Record<string, unknown>): void {
    const field = isInterfaceType(type) || isObjectType(type) ? type.getFields()[node.name.value] : undefined;
    const key = node.alias?.value ?? node.name.value;
    const value = Object.hasOwn(row, key) ? row[key] : undefined;
    if (!field || value === undefined || value === null) return;
    visitor({ type, field, node, value });
    const fieldType = getNamedType(field.type);
    if (!isCompositeType(fieldType)) return;
    for (const item of Array.isArray(value) ? value : [value])
      visit(node.selectionSet!.selections, fieldType as GraphQLObjectType, item);
  }

  for (const definition of document.definitions)
    if (definition.kind === Kind.OPERATION_DEFINITION)
      visit(definition.selectionSet.selections, schema.getQueryType()!, data);
}
