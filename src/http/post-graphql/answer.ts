import type { IncomingMessage } from "node:http";
import type { Config } from "../../config/config.ts";
import type { CompiledDocuments } from "../../graphql/compiled-documents.ts";
import type { GraphqlEngine } from "../../graphql/engine.ts";
import { createExecute, type Operation } from "../../graphql/execute.ts";
import type { RequestContext } from "../../request/context.ts";
import type { Replicas } from "../../request/replicas/replicas.ts";
import { hasStatus, mediaTypeFor } from "../accept-header.ts";
import type { AllowedOrigins } from "../allowed-origins.ts";
import type { FindDocument } from "../find-document.ts";
import type { OperationReport } from "../observe-response.ts";
import { inOperationSpan } from "../operation-span.ts";
import { readBody } from "../request-body.ts";
import { type Authenticator, withClaims } from "../steps/authenticate.ts";
import { type RateLimit, tooMany } from "../steps/rate-limit.ts";
import { assertOperation, parseBody, turnCallsIn } from "./body.ts";
import { withCodes } from "./with-codes.ts";

export interface AnswerParts {
  readonly config: Pick<Config["http"], "bodyLimitBytes">;
  readonly origins: AllowedOrigins;
  readonly authenticator: Authenticator;
  readonly rateLimit: RateLimit;
  readonly engine: GraphqlEngine;
  readonly findDocument: FindDocument;
  /** Undefined when all operations are planned. */
  readonly compiled: CompiledDocuments | undefined;
  /** Undefined when all queries read from the primary. */
  readonly replicas?: Replicas | undefined;
}

/** A request on its way to its response. */
export interface Exchange {
  context: RequestContext;
  /** Sent with the response, whether it succeeds or fails. */
  readonly headers: Record<string, string>;
  /** Set when the operation has been executed. */
  operation: OperationReport | undefined;
}

interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: string | Buffer;
}

const NO_CODES: readonly unknown[] = [];

function reportOf(
  operation: Operation,
  type: string,
  codes: readonly unknown[],
  body: string,
): OperationReport {
  return { operation, type, codes, bytes: Buffer.byteLength(body) };
}

/** Returns a function that answers a request; it throws what becomes an error response. */
export function createAnswer(
  parts: AnswerParts,
): (request: IncomingMessage, exchange: Exchange) => Promise<Answer> {
  const { config, authenticator, rateLimit, engine, findDocument, compiled, replicas } = parts;
  const execute = createExecute(engine, replicas);

  return async (request, exchange) => {
    const { authorization } = request.headers;
    // Before the token is checked, so that guessing tokens is limited too.
    const { isOverLimit, headers } = await rateLimit.count(exchange.context.clientIp);
    Object.assign(exchange.headers, headers);
    // The request may still be one that streams or ends an answer.
    if (isOverLimit && !(authorization !== undefined && rateLimit.mayShowTurn(exchange.context.clientIp)))
      throw tooMany();
    // May return 401 before the body is read.
    exchange.context = await withClaims(authenticator, exchange.context, authorization).catch(refused);
    const { context } = exchange;
    const buffer = await readBody(request, config.bodyLimitBytes);
    let received: unknown;
    let body: unknown;
    try {
      received = parseBody(request, buffer);
      body = findDocument(received);
    } catch (error) {
      refused(error);
    }
    await rateLimit.settle(context, isOverLimit, turnCallsIn(body, context, buffer.length));
    // Set for a client over its limit; this request is charged to its account.
    if (isOverLimit) delete exchange.headers["Retry-After"];

    const type = mediaTypeFor(request.headers.accept);
    assertOperation(body);
    const operation = body;
    const isNamed = body !== received;
    return inOperationSpan(operation, async () => {
      const { onError } = operation;
      const text = onError == null ? await compiled?.answer(operation, context, isNamed) : undefined;
      if (text !== undefined) {
        exchange.operation = reportOf(operation, "query", NO_CODES, text);
        return { status: 200, type, body: text };
      }
      const outcome = await execute(operation, context);
      const sent = hasStatus(type) ? outcome.status : 200;
      const payload = withCodes(outcome.payload, sent);
      const answer = { status: sent, type, body: JSON.stringify(payload) };
      const codes = payload.errors?.map(({ extensions }) => extensions?.code) ?? NO_CODES;
      exchange.operation = reportOf(operation, outcome.type, codes, answer.body);
      return answer;
    });

    /** The rate limit applies to guesses of tokens and to bodies that cannot be read. */
    function refused(error: unknown): never {
      throw isOverLimit ? rateLimit.refusal(exchange.context.clientIp) : error;
    }
  };
}
