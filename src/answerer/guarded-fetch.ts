import { Agent, type Dispatcher, fetch } from "undici";
import { traceHeaders } from "../observability/tracing.ts";
import { checkEndpoint, type EndpointRules, guardedLookup } from "./endpoint-rules.ts";

/** Time limits of a request to a model. */
export interface Timeouts {
  readonly connectMs: number;
  /** Time without a byte, before and during the response. */
  readonly idleMs: number;
  /** Time for the whole answer, including retries. */
  readonly wholeMs: number;
}

/** The envelope of a streamed piece is about 300 bytes; an answer has at most 1,000,000. */
const MAX_RESPONSE_BYTES = 64_000_000;

export class ResponseTooLarge extends Error {
  override readonly name = "ResponseTooLarge";
}

export interface GuardedFetch {
  /** Like `fetch`; throws EndpointRefused, also as a cause. Redirects are returned and not followed. */
  readonly fetch: typeof globalThis.fetch;
  close(): Promise<void>;
}

/** Creates a `fetch` that reaches only allowed addresses and reads responses of a limited size. */
export function createGuardedFetch(options: {
  rules: EndpointRules;
  timeouts: Pick<Timeouts, "connectMs" | "idleMs">;
  maxBytes?: number;
  /** Resolves host names; for tests. */
  resolve?: Parameters<typeof guardedLookup>[2];
}): GuardedFetch {
  const { rules, timeouts, maxBytes = MAX_RESPONSE_BYTES, resolve } = options;
  const open = (connect: object): Agent =>
    new Agent({
      connect: { timeout: timeouts.connectMs, ...connect },
      headersTimeout: timeouts.idleMs,
      bodyTimeout: timeouts.idleMs,
      // A cancelled answer closes its connection, which HTTP/2 would share with others.
      allowH2: false,
    });
  const secure = open({ lookup: guardedLookup(rules.privateNetworks, true, resolve) });
  const plain = open({ lookup: guardedLookup(rules.privateNetworks, false, resolve) });
  const trusted = open({});

  function agentFor(address: string): Dispatcher {
    if (isTrusted(address, rules.trustedUrls)) return trusted;
    return checkEndpoint(address, rules).protocol === "https:" ? secure : plain;
  }

  async function guarded(input: string | URL | Request, init: RequestInit = {}): Promise<Response> {
    const address = input instanceof Request ? input.url : String(input);
    const response = await fetch(address, {
      ...(init as object),
      headers: { ...Object.fromEntries(new Headers(init.headers)), ...traceHeaders() },
      dispatcher: agentFor(address),
      redirect: "manual",
    });
    // The same class at run time.
    return limited(response as unknown as Response, maxBytes);
  }

  return {
    fetch: guarded,
    async close() {
      await Promise.all([secure, plain, trusted].map((agent) => agent.destroy()));
    },
  };
}

/** Whether an address is below a base URL that the operator set. */
function isTrusted(address: string, trustedUrls: readonly string[]): boolean {
  if (!URL.canParse(address)) return false;
  // The parser has resolved `..`, and a base is followed by a path of the protocol.
  const { origin, pathname, search, hash } = new URL(address);
  return trustedUrls.some((url) => {
    const base = new URL(url);
    const path = `${base.pathname.replace(/\/$/, "")}/`;
    return origin === base.origin && pathname.startsWith(path) && search + hash === "";
  });
}

/** Counts bytes after decompression, so that a small response cannot expand without limit. */
function limited(response: Response, maxBytes: number): Response {
  if (!response.body) return response;
  let bytes = 0;
  const counter = new TransformStream<Uint8Array, Uint8Array>({
    transform(chunk, controller) {
      bytes += chunk.byteLength;
      if (bytes > maxBytes) throw new ResponseTooLarge("The response is too large.");
      controller.enqueue(chunk);
    },
  });
  const { status, statusText, headers } = response;
  return new Response(response.body.pipeThrough(counter), {
    status,
    statusText,
    headers: new Headers([...headers]),
  });
}
