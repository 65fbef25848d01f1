import { type Client, createClient, type ExecutionResult } from "graphql-ws";
import type { Api } from "./api.ts";

/** The first result of an operation; rejects with the close event when the socket closes. */
export function askOver(
  client: Client,
  query: string,
  variables?: Record<string, unknown>,
): Promise<ExecutionResult> {
  return new Promise((resolve, reject) => {
    client.subscribe(
      { query, variables },
      {
        next: (result) => resolve(result as ExecutionResult),
        error: (error) => (Array.isArray(error) ? resolve({ errors: error }) : reject(error)),
        complete: () => {},
      },
    );
  });
}

/** A socket that was accepted or rejected. */
export interface OpenSocket {
  /** How it was closed. */
  readonly closed: Promise<{ code: number; reason: string }>;
  ask(query: string): Promise<ExecutionResult>;
  dispose(): void | Promise<void>;
}

/** @param token undefined for a visitor */
export async function openSocket(api: Pick<Api, "url">, token: string | undefined): Promise<OpenSocket> {
  const opened = Promise.withResolvers<void>();
  const closed = Promise.withResolvers<{ code: number; reason: string }>();
  const client = createClient({
    url: `${api.url.replace("http", "ws")}/graphql`,
    connectionParams: token === undefined ? {} : { authorization: `Bearer ${token}` },
    lazy: false,
    retryAttempts: 0,
    on: {
      connected: () => opened.resolve(),
      closed(event) {
        const { code, reason } = event as CloseEvent;
        closed.resolve({ code, reason });
        opened.resolve();
      },
    },
    onNonLazyError: () => {},
  });
  await opened.promise;
  return {
    closed: closed.promise,
    ask: (query) => askOver(client, query),
    dispose: () => client.dispose(),
  };
}
