import { hookArgs, isPromiseLike } from "postgraphile/grafast";
import { handleErrors } from "postgraphile/grafserv";
import { type ExecutionResult, GraphQLError } from "postgraphile/graphql";
import type { RequestContext } from "../request/context.ts";
import type { PlinthGrafserv } from "./grafserv.ts";

/** A document with its variables, of the types that GraphQL over HTTP requires. */
export interface Operation {
  readonly query: string;
  readonly operationName?: string | null | undefined;
  readonly variables?: Readonly<Record<string, unknown>> | null | undefined;
}

/** The result of an operation, with errors as clients may see them. */
export interface Outcome {
  readonly payload: ExecutionResult;
  /** The status of an application/graphql-response+json response; any other media type has 200. */
  readonly status: 200 | 400 | 500;
}

/**
 * Executes an operation as grafserv does for a POST request, with the same parser, plan cache and error mask, but without its
 * request object, header digest and chain of promises.
 */
export async function createExecute(
  serv: PlinthGrafserv,
): Promise<(operation: Operation, request: RequestContext) => Promise<Outcome>> {
  // The schema does not change while the server runs.
  const { schema, parseAndValidate, resolvedPreset, execute } = await serv.getExecutionConfig({});
  const { grafastMiddleware: middleware } = serv;
  const { maskPayload } = serv.dynamicOptions;

  return async ({ query, operationName, variables }, request) => {
    const { document, errors } = parseAndValidate(query);
    if (errors) return { payload: formatted({ errors }), status: 400 };
    const args = {
      schema,
      document,
      rootValue: null,
      contextValue: Object.create(null),
      variableValues: variables ?? undefined,
      operationName: operationName ?? undefined,
      resolvedPreset,
      requestContext: { plinth: request },
      middleware,
    };
    try {
      const hooked = hookArgs(args);
      if (isPromiseLike(hooked)) await hooked;
      // Streams need @defer or @stream, which are both off.
      const payload = maskPayload((await execute(args)) as ExecutionResult) as ExecutionResult;
      return {
        payload: formatted(payload),
        status: payload.errors && payload.data === undefined ? 400 : 200,
      };
    } catch (error) {
      const { message } = error as Error;
      const failed = { errors: [new GraphQLError(message, { originalError: error as Error })] };
      return { payload: formatted(maskPayload(failed) as ExecutionResult), status: 500 };
    }
  };
}

function formatted(payload: ExecutionResult): ExecutionResult {
  if (payload.errors) handleErrors(payload as never);
  return payload;
}
