import type { FragmentDefinitionNode, GraphQLSchema, OperationDefinitionNode } from "graphql";

/** A statement that returns the JSON text of a response's `data` as its only value. */
export interface CompiledStatement {
  readonly text: string;
  readonly name: string;
  /** Names of the variables whose value the text may depend on; requests that agree in them can share it. */
  readonly variablesRead: ReadonlySet<string>;
  valuesFor(variables: Readonly<Record<string, unknown>>): unknown[];
}

interface CompileRequest {
  readonly schema: GraphQLSchema;
  /** A valid operation. */
  readonly operation: OperationDefinitionNode;
  readonly fragments: ReadonlyMap<string, FragmentDefinitionNode>;
  /** Coerced values. */
  readonly variables: Readonly<Record<string, unknown>>;
}

/**
 * Returns the statement, or the reason why the operation must be planned.
 * @throws GraphQLError, SafeError for wrong arguments, which the planner reports at their place in the response
 */
export type Compile = (request: CompileRequest) => CompiledStatement | string;

declare module "graphql" {
  interface GraphQLSchemaExtensions {
    /** Set by the plugin for compiled documents. */
    plinthCompile?: Compile;
  }
}
