import {
  type FieldNode,
  type FragmentDefinitionNode,
  type GraphQLField,
  type GraphQLObjectType,
  type GraphQLSchema,
  isInterfaceType,
  Kind,
  type SelectionSetNode,
} from "graphql";
import { NotCompilable } from "./field-source.ts";
import { type JsonText, objectOf } from "./json-text.ts";
import type { Variables } from "./variables.ts";

/** The facts known while an operation is compiled. */
export interface Compilation {
  readonly schema: GraphQLSchema;
  readonly fragments: ReadonlyMap<string, FragmentDefinitionNode>;
  readonly variables: Variables;
  /** Number of items of a connection without `first` and `last`. */
  readonly pageSize: number;
  /** Whether this part of the operation is one of two versions, of which PostgreSQL runs one. */
  readonly isBranch?: boolean;
}

/** A field of the response with all of its occurrences in the document. */
export interface Selected {
  readonly key: string;
  readonly field: GraphQLField<unknown, unknown>;
  readonly nodes: readonly [FieldNode, ...FieldNode[]];
}

/** Returns the selection sets below a field, to be read as one (GraphQL, September 2025, §6.4.3). */
export function selectionsOf({ nodes }: Selected): SelectionSetNode[] {
  return nodes.flatMap(({ selectionSet }) => selectionSet ?? []);
}

/** Returns the JSON of an object with the selected fields in the order of the document. */
export function objectJson(
  compilation: Compilation,
  type: GraphQLObjectType,
  selections: readonly SelectionSetNode[],
  memberJson: (selected: Selected) => JsonText,
): JsonText {
  const members: [string, JsonText][] = [];
  for (const [key, member] of collectFields(compilation, type, selections))
    members.push([key, member === TYPENAME ? [JSON.stringify(type.name)] : memberJson(member)]);
  // PostGraphile does not look whether the row of an object without fields exists.
  if (members.length === 0) throw new NotCompilable(`No fields of ${type.name}.`);
  return objectOf(members);
}

const TYPENAME = Symbol("__typename");

/** The fields of the response by key, see "CollectFields" of GraphQL, September 2025, §6.3.2. */
export function collectFields(
  { schema, fragments, variables }: Compilation,
  type: GraphQLObjectType,
  selections: readonly SelectionSetNode[],
): Map<string, Selected | typeof TYPENAME> {
  const nodes = new Map<string, [FieldNode, ...FieldNode[]]>();
  const seen = new Set<string>();

  function applies(condition: string | undefined): boolean {
    if (condition === undefined || condition === type.name) return true;
    const other = schema.getType(condition);
    return isInterfaceType(other) && schema.isSubType(other, type);
  }

  function collect(set: SelectionSetNode): void {
    for (const selection of set.selections) {
      if (!variables.includes(selection)) continue;
      if (selection.kind === Kind.FIELD) {
        const key = selection.alias?.value ?? selection.name.value;
        const known = nodes.get(key);
        if (known) known.push(selection);
        else nodes.set(key, [selection]);
      } else if (selection.kind === Kind.INLINE_FRAGMENT) {
        if (applies(selection.typeCondition?.name.value)) collect(selection.selectionSet);
      } else if (!seen.has(selection.name.value)) {
        seen.add(selection.name.value);
        const fragment = fragments.get(selection.name.value)!;
        if (applies(fragment.typeCondition.name.value)) collect(fragment.selectionSet);
      }
    }
  }
  for (const set of selections) collect(set);

  const fields = new Map<string, Selected | typeof TYPENAME>();
  for (const [key, occurrences] of nodes) {
    const name = occurrences[0].name.value;
    const field = type.getFields()[name];
    if (name !== "__typename" && !field) throw new NotCompilable(`${name} is a field of the schema itself.`);
    fields.set(key, field ? { key, field, nodes: occurrences } : TYPENAME);
  }
  return fields;
}
