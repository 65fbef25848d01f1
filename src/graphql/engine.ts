import "../support/graphile-env.ts";
import { getGrafastMiddleware } from "grafast";
import { makeSchema } from "graphile-build";
import { assertValidSchema, type GraphQLError, type GraphQLSchema } from "graphql";
import { type ParsedDocument, parserOf } from "./limits/parse-and-validate.ts";

/** Everything that executing operations needs. It does not change while the server runs. */
export interface GraphqlEngine {
  readonly schema: GraphQLSchema;
  readonly resolvedPreset: GraphileConfig.ResolvedPreset;
  readonly middleware: ReturnType<typeof getGrafastMiddleware>;
  readonly parseAndValidate: (text: string) => ParsedDocument;
  readonly maskError: (error: GraphQLError) => GraphQLError;
}

/** Builds the schema from the database, with a preset of `makePreset`. */
export async function createEngine(preset: GraphileConfig.Preset): Promise<GraphqlEngine> {
  const { schema, resolvedPreset } = await makeSchema(preset);
  assertValidSchema(schema);
  const { limits, introspection, maskError } = resolvedPreset.plinth!;
  return {
    schema,
    resolvedPreset,
    middleware: getGrafastMiddleware(resolvedPreset),
    parseAndValidate: parserOf(schema, limits, { introspection }),
    maskError,
  };
}
