import { type GraphqlError, PlinthClientError } from "../error.ts";
import type { PlinthErrorCode } from "../error-codes.ts";

export interface HttpSettings {
  readonly url: string;
  readonly fetch: typeof fetch;
  readonly timeoutMs: number;
}

export interface Reply {
  readonly status: number;
  readonly data: unknown;
  readonly errors: readonly GraphqlError[] | undefined;
  readonly retryAfter: number | undefined;
  readonly correlationId: string | undefined;
}

/**
 * Sends one operation once.
 * @throws PlinthClientError NETWORK, TIMEOUT, or by status if the answer is not GraphQL; the reason of an aborted signal
 */
export async function post(
  { url, fetch, timeoutMs }: HttpSettings,
  body: { readonly query: string; readonly variables: unknown },
  token: string | undefined,
  signal: AbortSignal | undefined,
): Promise<Reply> {
  const timeout = AbortSignal.timeout(timeoutMs);
  try {
    const response = await fetch(url, {
      method: "POST",
      headers: {
        "content-type": "application/json",
        accept: "application/json",
        ...(token && { authorization: `Bearer ${token}` }),
      },
      body: JSON.stringify(body),
      signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
    });
    return readReply(response, await response.text());
  } catch (error) {
    signal?.throwIfAborted();
    if (error instanceof PlinthClientError) throw error;
    if (timeout.aborted)
      throw new PlinthClientError("TIMEOUT", "The server did not answer in time.", { cause: error });
    throw new PlinthClientError("NETWORK", "The server cannot be reached.", { cause: error });
  }
}

function readReply({ status, headers }: Response, text: string): Reply {
  const seconds = Number.parseFloat(headers.get("retry-after") ?? "");
  const facts = {
    retryAfter: Number.isNaN(seconds) ? undefined : seconds,
    correlationId: headers.get("x-request-id") ?? undefined,
  };
  try {
    const { data, errors } = JSON.parse(text);
    if (data !== undefined || errors) return { status, data, errors, ...facts };
  } catch {
    // Not JSON: the answer of a proxy.
  }
  throw new PlinthClientError(
    codeOfStatus(status),
    `The answer is not GraphQL (HTTP status ${status}).`,
    facts,
  );
}

function codeOfStatus(status: number): PlinthErrorCode {
  if (status === 429) return "RATE_LIMITED";
  return status >= 502 && status <= 504 ? "UNAVAILABLE" : "NETWORK";
}
