import {
  type DocumentNode,
  type FragmentDefinitionNode,
  GraphQLError,
  type GraphQLSchema,
  Kind,
  type SelectionSetNode,
} from "postgraphile/graphql";

export interface WidthLimits {
  /** Fields directly on Query or Mutation; each takes a database connection of its own. */
  readonly rootFields: number;
  /** Fields and fragments of one operation, counted at every place where a fragment is used. */
  readonly fields: number;
}

/** Introspection is answered from memory; the query that GraphiQL sends has about 300 fields. */
const MAX_INTROSPECTION_FIELDS = 1_000;

/** Left on a field of the schema by plugins/once-per-operation.ts. */
export interface OncePerOperationExtensions {
  plinthOncePerOperation: true;
}

/** Names of the mutations that may stand once in an operation. */
export function oncePerOperationFields(schema: GraphQLSchema): ReadonlySet<string> {
  const fields = Object.values(schema.getMutationType()?.getFields() ?? {});
  return new Set(
    fields
      .filter(({ extensions }) => (extensions as Partial<OncePerOperationExtensions>).plinthOncePerOperation)
      .map(({ name }) => name),
  );
}

/**
 * Counts how wide each operation of a document is, before it is validated: validation takes time quadratic in the
 * width. Fragments count wherever they are spread, without being expanded further than the limit.
 * @param onceFields mutations of which an operation may hold one, see oncePerOperationFields
 * @throws GraphQLError QUERY_TOO_COMPLEX
 */
export function assertWidth(
  document: DocumentNode,
  limits: WidthLimits,
  onceFields: ReadonlySet<string>,
): void {
  const fragments = new Map<string, FragmentDefinitionNode>();
  for (const definition of document.definitions)
    if (definition.kind === Kind.FRAGMENT_DEFINITION) fragments.set(definition.name.value, definition);
  for (const definition of document.definitions)
    if (definition.kind === Kind.OPERATION_DEFINITION)
      assertOperationWidth(definition.selectionSet, fragments, limits, onceFields);
}

function assertOperationWidth(
  operation: SelectionSetNode,
  fragments: ReadonlyMap<string, FragmentDefinitionNode>,
  limits: WidthLimits,
  onceFields: ReadonlySet<string>,
): void {
  let fields = 0;
  let introspectionFields = 0;
  let rootFields = 0;
  let onceFieldsSeen = 0;
  /** The fragments being expanded; a cycle is validation's to report. */
  const open = new Set<string>();

  function visit({ selections }: SelectionSetNode, isRoot: boolean, isIntrospection: boolean): void {
    for (const selection of selections) {
      const isMeta =
        isIntrospection || (selection.kind === Kind.FIELD && /^__(schema|type)$/.test(selection.name.value));
      if (isMeta) introspectionFields++;
      else fields++;
      if (fields > limits.fields) throw tooComplex(`more than ${limits.fields} fields`);
      if (introspectionFields > MAX_INTROSPECTION_FIELDS)
        throw tooComplex(`more than ${MAX_INTROSPECTION_FIELDS} introspection fields`);

      if (selection.kind === Kind.FRAGMENT_SPREAD) {
        const name = selection.name.value;
        const fragment = fragments.get(name);
        if (!fragment || open.has(name)) continue;
        open.add(name);
        visit(fragment.selectionSet, isRoot, isIntrospection);
        open.delete(name);
        continue;
      }
      if (selection.kind === Kind.INLINE_FRAGMENT) {
        visit(selection.selectionSet, isRoot, isIntrospection);
        continue;
      }
      if (isRoot && ++rootFields > limits.rootFields)
        throw tooComplex(`more than ${limits.rootFields} fields at its root`);
      if (isRoot && onceFields.has(selection.name.value) && ++onceFieldsSeen > 1)
        throw tooComplex("more than one of the fields that an operation may hold only once");
      if (selection.selectionSet) visit(selection.selectionSet, false, isMeta);
    }
  }
  visit(operation, true, false);
}

function tooComplex(what: string): GraphQLError {
  return new GraphQLError(`The operation has ${what}.`, { extensions: { code: "QUERY_TOO_COMPLEX" } });
}
