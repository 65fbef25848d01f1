import { createServer, type IncomingHttpHeaders, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

/** A request that the model received. */
interface ModelCall {
  readonly headers: IncomingHttpHeaders;
  readonly url: string;
  // biome-ignore lint/suspicious/noExplicitAny: the shape is the provider's.
  readonly body: any;
  /** Whether the client closed the connection before the end. */
  isAborted: boolean;
}

/** Writes one response. */
export type Script = (response: ModelResponse, call: ModelCall) => void | Promise<void>;

interface ModelResponse {
  readonly raw: ServerResponse;
  /** Sends a chunk with a delta. */
  delta(delta: object, finishReason?: string | null): void;
  /** Sends the end with its usage, if any. */
  end(options?: { finishReason?: string; usage?: object }): void;
  fail(status: number, headers?: Record<string, string>): void;
}

export interface ModelServer {
  /** Base URL, ending in /v1. */
  readonly url: string;
  readonly calls: ModelCall[];
  /** Scripts for the next requests, in order; the last one is repeated. */
  script(...scripts: Script[]): void;
  close(): Promise<void>;
}

/** A response of these words with a usage. */
export function says(words: readonly string[], usage?: object): Script {
  return (response) => {
    for (const content of words) response.delta({ content });
    response.end(usage ? { usage } : {});
  };
}

/** Sends words until the client goes away, or the server is closed. */
export function saysForever(everyMs = 10): Script {
  return async (response) => {
    for (let n = 1; !response.raw.destroyed; n++) {
      response.delta({ content: `${n} ` });
      await sleep(everyMs);
    }
  };
}

/** A provider of OpenAI's protocol whose responses the test scripts. */
export async function startModelServer(): Promise<ModelServer> {
  const calls: ModelCall[] = [];
  let scripts: Script[] = [says(["ok"])];
  const server = createServer(async (request, raw) => {
    let text = "";
    for await (const chunk of request) text += chunk;
    const call: ModelCall = {
      headers: request.headers,
      url: request.url ?? "",
      body: text ? JSON.parse(text) : undefined,
      isAborted: false,
    };
    calls.push(call);
    raw.on("error", () => {});
    raw.on("close", () => {
      call.isAborted = !raw.writableFinished;
    });
    const script = scripts.length > 1 ? scripts.shift()! : scripts[0]!;
    await script(responseOf(raw), call);
  });
  // A connection that the server closed because it was idle could be lost to a request that is counted.
  server.keepAliveTimeout = 0;
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`,
    calls,
    script: (...next) => {
      scripts = next;
    },
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function responseOf(raw: ServerResponse): ModelResponse {
  const open = () => {
    if (!raw.headersSent) raw.writeHead(200, { "content-type": "text/event-stream" });
  };
  const send = (value: object) => {
    open();
    raw.write(`data: ${JSON.stringify({ object: "chat.completion.chunk", model: "m", ...value })}\n\n`);
  };
  return {
    raw,
    delta: (delta, finishReason = null) =>
      send({ choices: [{ index: 0, delta, finish_reason: finishReason }] }),
    end({ finishReason = "stop", usage } = {}) {
      send({ choices: [{ index: 0, delta: {}, finish_reason: finishReason }] });
      if (usage) send({ choices: [], usage });
      raw.end("data: [DONE]\n\n");
    },
    fail: (status, headers = {}) =>
      raw
        .writeHead(status, { "content-type": "application/json", ...headers })
        .end('{"error":{"message":"The key sk-secret-of-the-provider is wrong."}}'),
  };
}
