import {
  type DocumentNode,
  type FragmentDefinitionNode,
  GraphQLError,
  type GraphQLSchema,
  Kind,
  type SelectionSetNode,
} from "graphql";
import { fragmentsOf } from "./fragments.ts";

export interface WidthLimits {
  /** Maximum fields directly on Query or Mutation;. */
  readonly rootFields: number;
  /** Maximum fields and fragments of one operation, counted at each use of a fragment. */
  readonly fields: number;
}

/** Introspection is served from memory; GraphiQL's query has about 300 fields. */
const MAX_INTROSPECTION_FIELDS = 1_000;

/** Set on a field of the schema by plugins/once-per-operation.ts. */
export interface OncePerOperationExtensions {
  plinthOncePerOperation: true;
}

/** Returns the names of the mutations that an operation may contain only once. */
export function oncePerOperationFields(schema: GraphQLSchema): ReadonlySet<string> {
  const fields = Object.values(schema.getMutationType()?.getFields() ?? {});
  return new Set(
    fields
      .filter(({ extensions }) => (extensions as Partial<OncePerOperationExtensions>).plinthOncePerOperation)
      .map(({ name }) => name),
  );
}

/**
 * Checks the width of each operation of a document before validation, which takes time quadratic in the width. Fragments
 * count at each spread and are not expanded beyond the limit.
 * @param onceFields mutations that an operation may contain only once, see oncePerOperationFields
 * @throws GraphQLError QUERY_TOO_COMPLEX
 */
export function assertWidth(
  document: DocumentNode,
  limits: WidthLimits,
  onceFields: ReadonlySet<string>,
): void {
  const fragments = fragmentsOf(document);
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
  /** The fragments being expanded; validation reports cycles. */
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
