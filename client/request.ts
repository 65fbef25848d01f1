import type { IdentityProof } from "./auth/auth.ts";
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

/** Asks the user to confirm who they are; undefined cancels. */
export type ConfirmIdentity = () => Promise<IdentityProof | undefined>;

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
  readonly #confirm: (() => Promise<boolean>) | undefined;

  /** @param confirm reauthenticates the user; false if the user cancels */
  constructor(
    http: HttpSettings,
    tokens: Tokens,
    options: { readonly retries: number; readonly confirm: (() => Promise<boolean>) | undefined },
  ) {
    this.#http = http;
    this.#tokens = tokens;
    this.#retries = options.retries;
    this.#confirm = options.confirm;
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
      const reply = token === undefined ? await this.#asUser(send, signal) : await send(token ?? undefined);
      if (token === undefined && this.#confirm && asksForStepUp(reply) && (await this.#confirm()))
        return dataOf(await this.#asUser(send, signal));
      return dataOf(reply);
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
