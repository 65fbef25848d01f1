import "graphile-build-pg";
import type { ExecutionResult } from "graphql";
import { type ExecutionArgs, GraphQLError, getOperationAST } from "graphql";
import type { PlinthPresetOptions } from "../src/graphql/context.ts";
import { fragmentsOf } from "../src/graphql/limits/fragments.ts";
import { assertCost } from "../src/graphql/limits/query-cost.ts";
import { noteFieldCount } from "./plan-cache.ts";

/**
 * Rejects operations that are too costly. The cost depends on the variables and is checked before each execution, for HTTP
 * and WebSocket alike; depth and width depend only on the text and are checked when it is parsed.
 */
export const QueryLimitsPlugin: GraphileConfig.Plugin = {
  name: "PlinthQueryLimitsPlugin",
  version: "1.0.0",
  description: "Caps the cost of operations",
  grafast: {
    middleware: {
      execute: (next, { args }) => refusalOf(args) ?? next(),
      subscribe: (next, { args }) => refusalOf(args) ?? next(),
    },
  },
};

/** Returns the error for an operation that costs too much. */
function refusalOf(
  args: ExecutionArgs & { resolvedPreset?: GraphileConfig.ResolvedPreset },
): ExecutionResult | undefined {
  const operation = getOperationAST(args.document, args.operationName);
  // Execution reports a missing operation.
  if (!operation) return undefined;
  const fragments = fragmentsOf(args.document);
  try {
    const { fields } = assertCost(
      { schema: args.schema, operation, fragments, variables: args.variableValues ?? {} },
      optionsOf(args.resolvedPreset!).limits,
    );
    noteFieldCount(operation, fields);
    return undefined;
  } catch (error) {
    if (!(error instanceof GraphQLError)) throw error;
    return { errors: [error] };
  }
}

function optionsOf(preset: GraphileConfig.ResolvedPreset): PlinthPresetOptions {
  if (!preset.plinth) throw new Error("The preset must come from makePreset.");
  return preset.plinth;
}
