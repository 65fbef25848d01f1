import "graphile-build-pg";
import { type ExecutionArgs, type ExecutionResult, GraphQLError } from "graphql";
import { assertStorable } from "../src/request/storable.ts";

/** Checks the variables before each execution, for HTTP and WebSocket alike. */
export const StorableVariablesPlugin: GraphileConfig.Plugin = {
  name: "PlinthStorableVariablesPlugin",
  version: "1.0.0",
  description: "Rejects variables that would be stored as a different value",
  grafast: {
    middleware: {
      execute: (next, { args }) => refusalOf(args) ?? next(),
      subscribe: (next, { args }) => refusalOf(args) ?? next(),
    },
  },
};

function refusalOf({ variableValues }: ExecutionArgs): ExecutionResult | undefined {
  try {
    assertStorable(variableValues ?? {});
    return undefined;
  } catch (error) {
    if (!(error instanceof GraphQLError)) throw error;
    return { errors: [error] };
  }
}
