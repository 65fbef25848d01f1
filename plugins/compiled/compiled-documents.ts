import "graphile-build-pg";
import type { Compile } from "../../src/graphql/compiled-statement.ts";
import { compileOperation } from "./compile.ts";
import { findSource } from "./mark-fields.ts";

/**
 * Marks each generated field with its source in the database, and gives the schema a function that compiles an operation over
 * such fields to one SQL statement, which returns the response's JSON text. (PostGraphile's planner returns rows, from which
 * Grafast builds the response.) Other operations are planned as usual.
 *
 * Safe to disable: then all operations are planned, with the same result. Must be the last plugin that replaces plans.
 */
export const CompiledDocumentsPlugin: GraphileConfig.Plugin = {
  name: "PlinthCompiledDocumentsPlugin",
  version: "1.0.0",
  description: "Compiles plain reads to one SQL statement",
  schema: {
    hooks: {
      GraphQLObjectType_fields_field(field, build, context) {
        const source = findSource(build, context);
        if (!source) return field;
        const { plan } = field as { plan?: unknown };
        return { ...field, extensions: { ...field.extensions, plinthMark: { source, plan } } };
      },
      GraphQLSchema(config, build) {
        const { plinthPageSize = 100 } = build.options;
        const plinthCompile: Compile = (request) =>
          compileOperation({ ...request, pageSize: plinthPageSize });
        return {
          ...config,
          extensions: {
            ...config.extensions,
            plinthCompile,
          },
        };
      },
    },
  },
};
