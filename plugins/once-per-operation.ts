import "graphile-build-pg";
import type { FieldPlanResolver } from "grafast";
import type { OncePerOperationExtensions } from "../src/graphql/limits/query-width.ts";
import { isProcessWork } from "./mutation-field.ts";

/**
 * An operation may contain a mutation whose work this process does only once. Each costs a password hash, a guess, an
 * email or a call to another server, so aliases must not bypass the request limits. The query limits plugin counts the
 * fields marked here.
 */
export const OncePerOperationPlugin: GraphileConfig.Plugin = {
  name: "PlinthOncePerOperationPlugin",
  version: "1.0.0",
  description: "Marks the mutations that an operation may contain only once",
  schema: {
    hooks: {
      GraphQLObjectType_fields_field(field, _build, { scope }) {
        if (!isProcessWork((field as { plan?: FieldPlanResolver }).plan)) return field;
        if (!scope.fieldName) throw new Error("A field without a name cannot be counted.");
        const mark: OncePerOperationExtensions = { plinthOncePerOperation: true };
        return {
          ...field,
          description: [field.description, "An operation may contain this field only once."]
            .filter(Boolean)
            .join("\n"),
          extensions: { ...field.extensions, ...mark },
        };
      },
    },
  },
};
