import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

/** Returns the answer to a conversation. */
type Echo = (messages: readonly { role: string; content: string }[]) => string;

const echo: Echo = (messages) => {
  const asked = messages.findLast(({ role }) => role === "user")?.content ?? "";
  return `You said: ${asked.slice(0, 500)} This is Plinth's local echo; set PLINTH_LLM_URL to connect a model.`;
};

/**
 * A local model that needs no key: it streams an echo in the format of OpenAI's chat completions (server-sent events, one word
 * each), so that the demo answers.
 * @returns its base URL in the form that clients expect (`http://127.0.0.1:port/v1`)
 */
export async function startFakeModel(
  options: { port?: number; wordMs?: number; answer?: Echo } = {},
): Promise<{ url: string; close(): Promise<void> }> {
  const { port = 0, wordMs = 30, answer = echo } = options;
  const server: Server = createServer(async (request, response) => {
    if (request.method !== "POST" || request.url !== "/v1/chat/completions") {
      response.writeHead(404).end();
      return;
    }
    let body = "";
    for await (const chunk of request) body += chunk;
    const { model = "echo", messages = [], stream_options: options } = JSON.parse(body);
    response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-cache" });
    const send = (delta: object, finishReason: string | null) =>
      response.write(
        `data: ${JSON.stringify({
          object: "chat.completion.chunk",
          model,
          choices: [{ index: 0, delta, finish_reason: finishReason }],
        })}\n\n`,
      );
    send({ role: "assistant", content: "" }, null);
    const words = answer(messages).split(/(?<= )/);
    for (const word of words) {
      await sleep(wordMs);
      if (response.destroyed) return;
      send({ content: word }, null);
    }
    send({}, "stop");
    // Reports words as tokens in the last chunk, which has no choices.
    const prompt_tokens = messages.flatMap(({ content }: { content: string }) =>
      String(content).split(/\s+/),
    ).length;
    const usage = {
      prompt_tokens,
      completion_tokens: words.length,
      total_tokens: prompt_tokens + words.length,
    };
    if (options?.include_usage)
      response.write(
        `data: ${JSON.stringify({ object: "chat.completion.chunk", model, choices: [], usage })}\n\n`,
      );
    response.end("data: [DONE]\n\n");
  });
  await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
