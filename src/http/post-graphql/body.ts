import type { IncomingMessage } from "node:http";
import type { Operation } from "../../graphql/execute.ts";
import { mayHoldTurnCalls, type TurnCalls, turnCallsOf } from "../../limits/turn-calls.ts";
import type { RequestContext } from "../../request/context.ts";
import { isObject } from "../../support/is-object.ts";
import { readJson } from "../request-body.ts";

/** The members of a JSON body, of any type. */
export type GraphqlBody = Readonly<Record<string, unknown>>;

const JSON_TYPE = /^\s*application\/json\s*(;|$)/;

/**
 * Parses a body.
 * @returns undefined for other media types than JSON
 * @throws HttpError BAD_REQUEST
 */
export function parseBody({ headers }: IncomingMessage, buffer: Buffer): unknown {
  return JSON_TYPE.test(headers["content-type"] ?? "") ? readJson(buffer) : undefined;
}

/** Whether a body has the types that GraphQL over HTTP requires, and no member that only grafserv handles. */
export function isOperation(body: unknown): body is GraphqlBody & Operation {
  if (!isObject(body) || typeof body.query !== "string") return false;
  const { operationName, variables, onError, extensions } = body;
  return (
    (operationName == null || typeof operationName === "string") &&
    (variables == null || isObject(variables)) &&
    (extensions == null || isObject(extensions)) &&
    onError == null
  );
}

/** The calls in a signed-in caller's operation that stream or end answers, if it does nothing else. */
export function turnCallsIn(body: unknown, { claims }: RequestContext, bytes: number): TurnCalls | undefined {
  if (!claims || !isObject(body) || typeof body.query !== "string") return undefined;
  return mayHoldTurnCalls(body.query) ? turnCallsOf(body.query, body.operationName, bytes) : undefined;
}
