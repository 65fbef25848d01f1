import "postgraphile";
import type { ExecutionResult } from "postgraphile/graphql";
import { type ExecutionArgs, GraphQLError, getOperationAST } from "postgraphile/graphql";
import type { PlinthPresetOptions } from "../src/graphql/context.ts";
import { fragmentsOf } from "../src/graphql/limits/fragments.ts";
import { parserOf } from "../src/graphql/limits/parse-and-validate.ts";
import { assertCost } from "../src/graphql/limits/query-cost.ts";
import { noteFieldCount } from "./plan-cache.ts";

/**
 * Rejects operations that are too deep, too wide or too costly. Depth and width depend only on the text and are checked
 * when it is parsed (in place of PostGraphile's parser, whose errors carry no code). The cost depends on the variables and
 * is checked before each execution, for HTTP and WebSocket alike.
 */
export const QueryLimitsPlugin: GraphileConfig.Plugin = {
  name: "PlinthQueryLimitsPlugin",
  version: "1.0.0",
  description: "Caps depth, width, cost and page size of operations",
  grafserv: {
    middleware: {
      setPreset(next, event) {
        const options = optionsOf(event.resolvedPreset);
        const { getExecutionConfig } = event;
        event.getExecutionConfig = async function (context) {
          const config = await getExecutionConfig.call(this, context);
          const parseAndValidate = parserOf(config.schema, options.limits, options);
          return { ...config, parseAndValidate: parseAndValidate as typeof config.parseAndValidate };
        };
        return next();
      },
    },
  },
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
