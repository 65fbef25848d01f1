import "graphile-build-pg";
import { type FieldPlanResolver, type ObjectStep, SafeError, sideEffect } from "grafast";
import { NOT_FOUND } from "../src/request/public-error.ts";

/**
 * An update or delete that finds no row, because of row-level security or a wrong id, returns NOT_FOUND, never "success,
 * 0 rows". The error is the same whether the row does not exist, is hidden or may not be changed. (PostGraphile itself
 * fails for a delete that finds no row; the error mask maps that to the same error.)
 */
export const NotFoundPlugin: GraphileConfig.Plugin = {
  name: "PlinthNotFoundPlugin",
  version: "1.0.0",
  description: "Turns an update or delete of no row into an error",
  schema: {
    hooks: {
      GraphQLObjectType_fields_field(field, _build, { scope }) {
        if (!(scope.isPgUpdateMutation || scope.isPgDeleteMutation) || !field.plan) return field;
        return { ...field, plan: withRowRequired(field.plan) };
      },
    },
  },
};

function withRowRequired(plan: FieldPlanResolver): FieldPlanResolver {
  return ($parent, args, info) => {
    const $payload = plan($parent, args, info) as ObjectStep;
    sideEffect($payload.getStepForKey("result"), (row) => {
      if (row == null) throw new SafeError(NOT_FOUND.message, { code: NOT_FOUND.code });
    });
    return $payload;
  };
}
