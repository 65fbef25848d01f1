import {
  type DocumentNode,
  type FragmentDefinitionNode,
  GraphQLError,
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

/** Each costs a password hash, a session, a guess or a mail, so an alias must not be a way around the limits on sign-ins. */
const CREDENTIAL_FIELDS = new Set([
  "register",
  "login",
  "refresh",
  "changePassword",
  "requestPasswordReset",
  "resetPassword",
  "requestEmailVerification",
  "verifyEmail",
  "changeEmail",
  "requestPhoneVerification",
  "verifyPhone",
  "completeSignIn",
  "finishPasskeySignIn",
  "reauthenticate",
  "startProviderSignIn",
  "finishProviderSignIn",
  "startProviderLink",
  "finishProviderLink",
  "createApiToken",
  "confirmTotp",
  "regenerateRecoveryCodes",
  "setRoomPassword",
  "joinRoomWithPassword",
]);

/**
 * Counts how wide each operation of a document is, before it is validated: validation takes time quadratic in the
 * width. Fragments count wherever they are spread, without being expanded further than the limit.
 * @throws GraphQLError QUERY_TOO_COMPLEX
 */
export function assertWidth(document: DocumentNode, limits: WidthLimits): void {
  const fragments = new Map<string, FragmentDefinitionNode>();
  for (const definition of document.definitions)
    if (definition.kind === Kind.FRAGMENT_DEFINITION) fragments.set(definition.name.value, definition);
  for (const definition of document.definitions)
    if (definition.kind === Kind.OPERATION_DEFINITION)
      assertOperationWidth(definition.selectionSet, fragments, limits);
}

function assertOperationWidth(
  operation: SelectionSetNode,
  fragments: ReadonlyMap<string, FragmentDefinitionNode>,
  limits: WidthLimits,
): void {
  let fields = 0;
  let introspectionFields = 0;
  let rootFields = 0;
  let credentialFields = 0;
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
      if (isRoot && CREDENTIAL_FIELDS.has(selection.name.value) && ++credentialFields > 1)
        throw tooComplex("more than one field that takes or makes credentials");
      if (selection.selectionSet) visit(selection.selectionSet, false, isMeta);
    }
  }
  visit(operation, true, false);
}

function tooComplex(what: string): GraphQLError {
  return new GraphQLError(`The operation has ${what}.`, { extensions: { code: "QUERY_TOO_COMPLEX" } });
}
