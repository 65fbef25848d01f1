import type { AbstractSetupSchema, initGraphQLTada } from "gql.tada";
import type { introspection } from "./schema/introspection.ts";

export type { ResultOf, VariablesOf } from "gql.tada";
export type { introspection };

/**
 * The scalars as JSON has them. Numbers beyond JavaScript's (BigInt, BigFloat) and times are strings, so nothing is
 * rounded; variables take the same.
 */
export interface Scalars {
  BigFloat: string;
  BigInt: string;
  CidrAddress: string;
  Cursor: string;
  Date: string;
  Datetime: string;
  ID: string;
  InternetAddress: string;
  JSON: unknown;
  UUID: string;
}

/** `graphql` for a schema of your own: `graphqlOf<introspection>()`, with the types that `plinth schema types` writes. */
export function graphqlOf<Introspection extends SchemaTypes>(): GraphqlOf<Introspection> {
  return document as unknown as GraphqlOf<Introspection>;
}

/** The types of a schema, as `plinth schema types` writes them. */
export type SchemaTypes = AbstractSetupSchema["introspection"];

type GraphqlOf<Introspection extends SchemaTypes> = ReturnType<
  typeof initGraphQLTada<{ introspection: Introspection; scalars: Scalars; disableMasking: true }>
>;

/**
 * A document with the types of its result and variables, read from its text by the compiler.
 * @example graphql(`query ($id: UUID!) { chat(id: $id) { title } }`)
 */
export const graphql = graphqlOf<introspection>();

/** At run time a document is its text, with the fragments that it uses, each once. */
function document(text: string, fragments: readonly Document[] = []): Document {
  return new Document(text, fragments);
}

class Document {
  readonly #parts: ReadonlySet<string>;

  constructor(text: string, fragments: readonly Document[]) {
    this.#parts = new Set([text, ...fragments.flatMap((fragment) => [...fragment.#parts])]);
  }

  toString(): string {
    return [...this.#parts].join("\n");
  }
}
