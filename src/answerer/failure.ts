import { EndpointRefused } from "./endpoint-rules.ts";
import { ResponseTooLarge } from "./guarded-fetch.ts";

/** The reason why an answer was broken off, stored in the message. It never quotes the provider, which may quote the key. */
export interface Failure {
  readonly code: string;
  readonly message: string;
  /** Whether another attempt may succeed. */
  readonly isTemporary: boolean;
  /** The provider's own waiting time. */
  readonly retryAfterMs?: number | undefined;
}

/** Ends an answer with a failure of our own. */
export class AnswerFailed extends Error {
  override readonly name = "AnswerFailed";
  readonly failure: Failure;
  constructor(code: string, message: string, isTemporary = false) {
    super(message);
    this.failure = { code, message, isTemporary };
  }
}

/** The fields of the AI SDK's APICallError. */
interface CallError extends Error {
  readonly statusCode?: number;
  readonly responseHeaders?: Readonly<Record<string, string>>;
}

export function failureOf(error: unknown): Failure {
  for (const each of causesOf(error)) {
    if (each instanceof AnswerFailed) return each.failure;
    if (each instanceof EndpointRefused)
      return { code: "endpoint_refused", message: each.message, isTemporary: false };
    if (each instanceof ResponseTooLarge)
      return { code: "model_response_too_large", message: "The model sent too much.", isTemporary: false };
    if (each.name === "TimeoutError" || /^UND_ERR_.*TIMEOUT$/.test(String((each as { code?: unknown }).code)))
      return { code: "model_timeout", message: "The model took too long to respond.", isTemporary: true };
    if ("severity" in each)
      return { code: "not_stored", message: "The answer could not be stored.", isTemporary: false };
    const { statusCode, responseHeaders } = each as CallError;
    if (statusCode !== undefined && statusCode >= 300) return statusFailure(statusCode, responseHeaders);
  }
  return { code: "model_unavailable", message: "The connection to the model failed.", isTemporary: true };
}

function statusFailure(status: number, headers: CallError["responseHeaders"]): Failure {
  const retryAfterMs = retryAfter(headers);
  if (status === 429)
    return { code: "model_rate_limited", message: "The model is busy.", isTemporary: true, retryAfterMs };
  if (status >= 500 || status === 408)
    return {
      code: "model_unavailable",
      message: `The model failed with status ${status}.`,
      isTemporary: true,
      retryAfterMs,
    };
  if (status === 401 || status === 403)
    return { code: "model_unauthorized", message: "The model rejected the key.", isTemporary: false };
  return {
    code: "model_rejected",
    message: `The model rejected the request with status ${status}.`,
    isTemporary: false,
  };
}

/** Reads Retry-After (RFC 9110 §10.2.3): seconds or a date. */
function retryAfter(headers: CallError["responseHeaders"]): number | undefined {
  const value = headers?.["retry-after"];
  if (!value) return undefined;
  const ms = /^\d+$/.test(value) ? Number(value) * 1_000 : Date.parse(value) - Date.now();
  return Number.isFinite(ms) ? Math.max(0, ms) : undefined;
}

function* causesOf(error: unknown): Generator<Error> {
  for (let each = error, n = 0; each instanceof Error && n < 10; each = each.cause, n++) yield each;
}
