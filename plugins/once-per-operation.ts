import "postgraphile";
import type { FieldPlanResolver } from "postgraphile/grafast";
import type { OncePerOperationExtensions } from "../src/graphql/limits/query-width.ts";
import { isProcessWork } from "./mutation-field.ts";

/**
 * A mutation whose work this process does may stand once in an operation. Each one costs a password hash, a guess, a
 * mail or a call to another server, so aliases must not be a way around the limits on requests. The query limits
 * plugin counts the fields that carry the mark left here.
 */
export const OncePerOperationPlugin: GraphileConfig.Plugin = {
  name: "PlinthOncePerOperationPlugin",
  version: "1.0.0",
  description: "Marks the mutations that an operation may hold only once",
  schema: {
    hooks: {
      GraphQLObjectType_fields_field(field, _build, { scope }) {
        if (!isProcessWork((field as { plan?: FieldPlanResolver }).plan)) return field;
        if (!scope.fieldName) throw new Error("A field without a name cannot be counted.");
        const mark: OncePerOperationExtensions = { plinthOncePerOperation: true };
        return {
          ...field,
          description: [field.description, "An operation may hold this field only once."]
            .filter(Boolean)
            .join("\n"),
          extensions: { ...field.extensions, ...mark },
        };
      },
    },
  },
};
