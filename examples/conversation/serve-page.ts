import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { answerChat } from "./answer-chat.ts";
import type { Model } from "./stream-completion.ts";

const FILES: Readonly<Record<string, string>> = {
  "/": "index.html",
  "/app.js": "app.js",
  "/live-client.js": "live-client.js",
};
const TYPES = { html: "text/html; charset=utf-8", js: "text/javascript; charset=utf-8" } as const;

/** Serves the page and answers chats with the token that the page sends, like the backend of an application. */
export async function servePage(options: {
  port: number;
  plinthUrl: string;
  model: Model;
  /** Connection as the service role, to report the usage of answers. */
  serviceUrl?: string | undefined;
}): Promise<{ url: string; close(): Promise<void> }> {
  const { port, plinthUrl, model, serviceUrl } = options;
  const server = createServer(async (request, response) => {
    const json = (status: number, body: object) =>
      response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
    try {
      const file = FILES[request.url ?? ""];
      if (request.method === "GET" && file) {
        const type = TYPES[file.split(".").at(-1) as keyof typeof TYPES];
        response
          .writeHead(200, { "content-type": type })
          .end(await readFile(new URL(`page/${file}`, import.meta.url)));
      } else if (request.method === "GET" && request.url === "/settings.json") json(200, { plinthUrl });
      else if (request.method === "POST" && request.url === "/answer") {
        let body = "";
        for await (const chunk of request) body += chunk;
        const { chatId, modelId } = JSON.parse(body);
        const { authorization = "" } = request.headers;
        const { messageId, done } = await answerChat({
          plinthUrl,
          authorization,
          chatId,
          modelId,
          model,
          serviceUrl,
        });
        done.catch((error: Error) => console.error(`An answer was lost: ${error.message}`));
        json(200, { messageId });
      } else json(404, { error: "Not found." });
    } catch (error) {
      json(500, { error: (error as Error).message });
    }
  });
  await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
