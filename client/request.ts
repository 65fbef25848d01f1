import type { Confirmation } from "./confirmation.ts";
import { readOperation } from "./document.ts";
import { PlinthClientError } from "./error.ts";
import { type HttpSettings, post, type Reply } from "./http/post.ts";
import { withRetries } from "./http/retry.ts";
import { abortable } from "./support/abortable.ts";
import type { Tokens } from "./tokens.ts";

/** Options of a single request. */
export interface RequestOptions {
  readonly signal?: AbortSignal | undefined;
  /** Attempts after the first one; by default those of the client, and none for mutations without an idempotency key. */
  readonly retries?: number;
}

interface Attempt extends RequestOptions {
  /** A token of its own, or null for none; by default the session's. */
  readonly token?: string | null;
}

/** Sends an operation with one field named `it`, and returns its value. */
export type Send = <T>(
  document: string,
  variables: Readonly<Record<string, unknown>>,
  options?: Attempt,
) => Promise<T>;

/** The hint of mutations that need a recent sign-in; the server promises to keep it. */
const STEP_UP_HINT = "Confirm it is you with reauthenticate.";

export class Requests {
  readonly #http: HttpSettings;
  readonly #tokens: Tokens;
  readonly #retries: number;
  readonly #confirmation: Confirmation | undefined;

  constructor(
    http: HttpSettings,
    tokens: Tokens,
    options: { readonly retries: number; readonly confirmation: Confirmation | undefined },
  ) {
    this.#http = http;
    this.#tokens = tokens;
    this.#retries = options.retries;
    this.#confirmation = options.confirmation;
  }

  readonly send: Send = async <T>(
    document: string,
    variables: Readonly<Record<string, unknown>>,
    options?: Attempt,
  ): Promise<T> => ((await this.request(document, variables, options)) as { it: T }).it;

  /** @throws PlinthClientError; the signal's reason once it is aborted */
  async request(
    query: string,
    variables: Readonly<Record<string, unknown>> = {},
    options: Attempt = {},
  ): Promise<unknown> {
    const {
      signal,
      token,
      retries = readOperation(query, variables).isRepeatable ? this.#retries : 0,
    } = options;
    return withRetries(retries, signal, async () => {
      signal?.throwIfAborted();
      const send = (token: string | undefined) => post(this.#http, { query, variables }, token, signal);
      if (token !== undefined) return dataOf(await send(token ?? undefined));
      const sentAfter = this.#confirmation?.lastAnswer ?? 0;
      const reply = await this.#asUser(send, signal);
      const isConfirmed = asksForStepUp(reply) && (await this.#confirmation?.request(sentAfter));
      return dataOf(isConfirmed ? await this.#asUser(send, signal) : reply);
    });
  }

  /** Sends with the session's token, and once more with a new one if it is rejected. */
  async #asUser(
    send: (token: string | undefined) => Promise<Reply>,
    signal: AbortSignal | undefined,
  ): Promise<Reply> {
    const token = await abortable(this.#tokens.token(), signal);
    const reply = await send(token);
    if (token === undefined || reply.status !== 401) return reply;
    const renewed = await abortable(this.#tokens.renew(token), signal);
    return renewed === undefined ? reply : send(renewed);
  }
}

/** Only if nothing of the operation succeeded, because it is sent again. */
function asksForStepUp({ data, errors }: Reply): boolean {
  const isEmpty = Object.values((data as object | null) ?? {}).every((value) => value === null);
  return isEmpty && errors?.length === 1 && errors[0]!.extensions?.hint === STEP_UP_HINT;
}

function dataOf({ errors, data, retryAfter, correlationId }: Reply): unknown {
  if (errors) throw PlinthClientError.of(errors, { data, retryAfter, correlationId });
  return data;
}
