import type { IncomingMessage } from "node:http";
import { GraphQLSpecifiedErrorBehaviors } from "grafast";
import type { Operation } from "../../graphql/execute.ts";
import { mayHoldTurnCalls, type TurnCalls, turnCallsOf } from "../../limits/turn-calls.ts";
import type { RequestContext } from "../../request/context.ts";
import { isObject } from "../../support/is-object.ts";
import { HttpError } from "../http-error.ts";
import { readJson } from "../request-body.ts";

/** The members of a JSON body, of any type. */
export type GraphqlBody = Readonly<Record<string, unknown>>;

const JSON_TYPE = /^\s*application\/json\s*(;|$)/;
const TEXT_TYPE = /^\s*application\/graphql\s*(;|$)/;
const ERROR_BEHAVIORS: readonly unknown[] = GraphQLSpecifiedErrorBehaviors;

/**
 * Parses a body. The body of application/graphql is the text of the document.
 * @throws HttpError BAD_REQUEST, UNSUPPORTED_MEDIA_TYPE
 */
export function parseBody({ headers }: IncomingMessage, buffer: Buffer): unknown {
  const type = headers["content-type"];
  if (!type) throw badRequest("A request needs a Content-Type.");
  if (JSON_TYPE.test(type)) return readJson(buffer);
  if (TEXT_TYPE.test(type)) return { query: buffer.toString() };
  throw new HttpError(415, "UNSUPPORTED_MEDIA_TYPE", "Send operations as application/json.");
}

/**
 * Checks the types that GraphQL over HTTP requires.
 * @throws HttpError BAD_REQUEST
 */
export function assertOperation(body: unknown): asserts body is GraphqlBody & Operation {
  if (!isObject(body)) throw badRequest("The body must be a JSON object.");
  const { query, operationName, variables, onError, extensions } = body as GraphqlBody;
  if (typeof query !== "string") throw badRequest("`query` must be a string.");
  if (operationName != null && typeof operationName !== "string")
    throw badRequest("`operationName` must be a string.");
  if (variables != null && !isObject(variables)) throw badRequest("`variables` must be an object.");
  if (extensions != null && !isObject(extensions)) throw badRequest("`extensions` must be an object.");
  if (onError != null && !ERROR_BEHAVIORS.includes(onError))
    throw badRequest(`\`onError\` must be one of ${ERROR_BEHAVIORS.join(", ")}.`);
}

function badRequest(message: string): HttpError {
  return new HttpError(400, "BAD_REQUEST", message);
}

/** The calls in a signed-in caller's operation that stream or end answers, if it does nothing else. */
export function turnCallsIn(body: unknown, { claims }: RequestContext, bytes: number): TurnCalls | undefined {
  if (!claims || !isObject(body) || typeof body.query !== "string") return undefined;
  return mayHoldTurnCalls(body.query) ? turnCallsOf(body.query, body.operationName, bytes) : undefined;
}
