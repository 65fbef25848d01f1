import { execute, hookArgs, isPromiseLike, stripAnsi } from "grafast";
import {
  type ExecutionResult,
  GraphQLError,
  type GraphQLFormattedError,
  getOperationAST,
  type OperationTypeNode,
} from "graphql";
import type { RequestContext } from "../request/context.ts";
import type { ReplicaReads } from "../request/replicas/replica-reads.ts";
import type { Replicas } from "../request/replicas/replicas.ts";
import type { GraphqlEngine } from "./engine.ts";

/** A document with its variables, of the types that GraphQL over HTTP requires. */
export interface Operation {
  readonly query: string;
  readonly operationName?: string | null | undefined;
  readonly variables?: Readonly<Record<string, unknown>> | null | undefined;
  /** An error behaviour of Grafast; by default PROPAGATE. */
  readonly onError?: string | null | undefined;
}

/** A result as it is sent. */
interface Payload extends Omit<ExecutionResult, "errors"> {
  readonly errors?: readonly GraphQLFormattedError[];
}

/** The result of an operation, with errors as clients may see them. */
export interface Outcome {
  readonly payload: Payload;
  /** The status of an application/graphql-response+json response; any other media type has 200. */
  readonly status: 200 | 400 | 500;
  /** unknown if the document is not valid or does not contain the operation. */
  readonly type: OperationTypeNode | "unknown";
}

/**
 * Returns a function that executes a query or mutation.
 * @param replicas where queries read; by default they read from the primary
 */
export function createExecute(
  engine: GraphqlEngine,
  replicas?: Replicas,
): (operation: Operation, request: RequestContext) => Promise<Outcome> {
  const { schema, parseAndValidate, resolvedPreset, middleware, maskError } = engine;

  return async ({ query, operationName, variables, onError }, request) => {
    const { document, errors } = parseAndValidate(query);
    if (errors) return { payload: { errors: errors.map(formatted) }, status: 400, type: "unknown" };
    const operation = getOperationAST(document, operationName);
    const type = operation?.operation ?? "unknown";
    const run = async (reads?: ReplicaReads): Promise<ExecutionResult> => {
      const args = {
        schema,
        document,
        rootValue: null,
        contextValue: Object.create(null),
        variableValues: variables ?? undefined,
        operationName: operationName ?? undefined,
        ...(onError != null && { onError }),
        resolvedPreset,
        requestContext: { plinth: request, plinthReads: reads },
        middleware,
      };
      const hooked = hookArgs(args as Parameters<typeof hookArgs>[0]);
      if (isPromiseLike(hooked)) await hooked;
      // Streams need @defer or @stream, which are both off.
      return (await execute(args as Parameters<typeof execute>[0])) as ExecutionResult;
    };
    try {
      const result =
        replicas && operation?.operation === "query"
          ? await replicas.read(operation, run, () => run())
          : await run();
      return {
        payload: sent(result),
        status: result.errors && result.data === undefined ? 400 : 200,
        type,
      };
    } catch (error) {
      const { message } = error as Error;
      const failed = new GraphQLError(message, { originalError: error as Error });
      return { payload: sent({ errors: [failed] }), status: 500, type };
    }
  };

  function sent(result: ExecutionResult): Payload {
    const { errors, ...others } = result;
    return errors ? { errors: errors.map((error) => formatted(maskError(error))), ...others } : result;
  }
}

/** Messages of Grafast can be coloured for a terminal. */
function formatted(error: GraphQLError): GraphQLFormattedError {
  return { ...error.toJSON(), message: stripAnsi(error.message) };
}
