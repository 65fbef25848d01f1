import {
  type DocumentNode,
  type FieldNode,
  type FragmentDefinitionNode,
  type GraphQLField,
  type GraphQLObjectType,
  type GraphQLSchema,
  getNamedType,
  getOperationAST,
  isObjectType,
  Kind,
  type SelectionNode,
} from "postgraphile/graphql";

/** A field of an answer that is not null. */
interface AnsweredField {
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
  const fieldsOf = fieldFinder(schema, document);
  function visit(parent: Fields, row: unknown): void {
    if (typeof row !== "object" || row === null) return;
    for (const [key, fields] of Map.groupBy(fieldsOf(parent), ({ node }) => keyOf(node))) {
      const value = Object.hasOwn(row, key) ? (row as Record<string, unknown>)[key] : undefined;
      if (value === undefined || value === null) continue;
      for (const { type, field, node } of fields) visitor({ type, field, node, value });
      for (const item of Array.isArray(value) ? value : [value])
        for (const { inner } of fields) if (inner) visit(inner, item);
    }
  }
  visit(rootOf(schema, document), data);
}

/** The field that a path of response keys leads to, such as `Chat.messages`. */
export function fieldAt(
  schema: GraphQLSchema,
  document: DocumentNode,
  path: readonly (string | number)[],
): string | undefined {
  const fieldsOf = fieldFinder(schema, document);
  let parents = [rootOf(schema, document)];
  let place: string | undefined;
  for (const key of path.filter((part) => typeof part === "string")) {
    const fields = parents.flatMap(fieldsOf).filter(({ node }) => keyOf(node) === key);
    if (!fields[0]) return undefined;
    place = `${fields[0].type.name}.${fields[0].field.name}`;
    parents = fields.flatMap(({ inner }) => inner ?? []);
  }
  return place;
}

/** Selections on a type. */
interface Fields {
  readonly type: GraphQLObjectType;
  readonly selections: readonly SelectionNode[];
}

interface FoundField extends Omit<AnsweredField, "value"> {
  readonly inner: Fields | undefined;
}

const keyOf = ({ alias, name }: FieldNode): string => alias?.value ?? name.value;

const rootOf = (schema: GraphQLSchema, document: DocumentNode): Fields => ({
  type: schema.getQueryType()!,
  selections: getOperationAST(document)!.selectionSet.selections,
});

/** Returns a function that lists the fields of selections, also those in fragments. */
function fieldFinder(schema: GraphQLSchema, document: DocumentNode) {
  const fragments = new Map<string, FragmentDefinitionNode>();
  for (const definition of document.definitions)
    if (definition.kind === Kind.FRAGMENT_DEFINITION) fragments.set(definition.name.value, definition);

  return function fieldsOf({ type, selections }: Fields): FoundField[] {
    return selections.flatMap((selection): FoundField[] => {
      if (selection.kind === Kind.FIELD) {
        const field = type.getFields()[selection.name.value];
        if (!field) return [];
        const inner = getNamedType(field.type);
        const selected = selection.selectionSet?.selections;
        return [
          {
            type,
            field,
            node: selection,
            inner: selected && { type: inner as GraphQLObjectType, selections: selected },
          },
        ];
      }
      const part = selection.kind === Kind.INLINE_FRAGMENT ? selection : fragments.get(selection.name.value)!;
      // Fragments on rows of unknown type are on the type that the row has, in these operations.
      const condition = part.typeCondition && schema.getType(part.typeCondition.name.value);
      return fieldsOf({
        type: isObjectType(condition) ? condition : type,
        selections: part.selectionSet.selections,
      });
    });
  };
}
