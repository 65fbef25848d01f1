import type { IncomingMessage, ServerResponse } from "node:http";
import type { Logger } from "pino";
import { GRAPHQL_PATH } from "../../graphql/preset.ts";
import { runInSpan, startRequestSpan, traceIdOf } from "../../observability/tracing.ts";
import { asCurrentRequest, contextOf, currentRequest } from "../../request/context.ts";
import { RequestCosts } from "../../request/request-costs.ts";
import type { DescribeError } from "../error-responses.ts";
import { errorBody } from "../http-error.ts";
import { correlationHeaders } from "../steps/correlation.ts";
import { corsHeaders } from "../steps/cors.ts";
import { type LogRequest, withoutTokens } from "../steps/log.ts";
import { API_SECURITY_HEADERS } from "../steps/security-headers.ts";
import { type AnswerParts, createAnswer, type Exchange } from "./answer.ts";

export interface PostGraphqlParts extends AnswerParts {
  readonly logger: Logger;
  readonly logRequest: LogRequest;
  readonly describeError: DescribeError;
  readonly countError: (code: string) => void;
  /** Express's `request.ip`. */
  readonly addressOf: (request: IncomingMessage) => string | undefined;
}

/** @param path for the log */
export type PostGraphql = (request: IncomingMessage, response: ServerResponse, path?: string) => void;

export function isPostGraphql({ method, url }: IncomingMessage): boolean {
  return method === "POST" && url === GRAPHQL_PATH;
}

/**
 * Handles POST /graphql, almost every request of a server, without Express: the rules of the steps in the same order, and
 * a response in one write.
 */
export function createPostGraphql(parts: PostGraphqlParts): PostGraphql {
  const { logger, logRequest, describeError, countError, addressOf, origins } = parts;
  const answer = createAnswer(parts);

  async function handle(request: IncomingMessage, response: ServerResponse, exchange: Exchange) {
    try {
      const { status, type, body } = await answer(request, exchange);
      send(response, status, exchange.headers, type, body);
    } catch (thrown) {
      const error = describeError(thrown, exchange.context);
      countError(error.code);
      Object.assign(exchange.headers, error.headers);
      const body = JSON.stringify(errorBody(error));
      send(response, error.status, exchange.headers, "application/json; charset=utf-8", body);
    }
  }

  return (request, response, path = GRAPHQL_PATH) => {
    const span = startRequestSpan(request.headers, "POST", withoutTokens(path));
    const context = contextOf({ headers: request.headers, ip: addressOf(request) }, traceIdOf(span));
    const costs = new RequestCosts();
    const exchange: Exchange = {
      context,
      operation: undefined,
      headers: {
        ...API_SECURITY_HEADERS,
        ...correlationHeaders(context),
        ...corsHeaders(origins, request),
        // Responses contain personal data and tokens (RFC 6749 §5.1).
        "Cache-Control": "no-store",
      },
    };
    logRequest(response, {
      method: "POST",
      path,
      context: () => exchange.context,
      operation: () => exchange.operation,
      costs,
      span,
    });
    const current = asCurrentRequest(() => exchange.context, costs);
    const run = () => {
      handle(request, response, exchange).catch((error: unknown) => {
        logger.error({ correlationId: context.correlationId, err: error }, "response failed");
        response.destroy();
      });
    };
    currentRequest.run(current, () => runInSpan(span, run));
  };
}

function send(
  response: ServerResponse,
  status: number,
  headers: Exchange["headers"],
  type: string,
  body: string | Buffer,
): void {
  headers["Content-Type"] = type;
  headers["Content-Length"] = String(Buffer.byteLength(body));
  response.writeHead(status, headers).end(body);
}
