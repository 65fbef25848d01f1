import { readFile } from "node:fs/promises";
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import pg from "pg";
import { readNotebook } from "./notebook.ts";
import { runCell } from "./run-cell.ts";

const FILES: Readonly<Record<string, readonly [file: string, type: string]>> = {
  "/": ["index.html", "text/html; charset=utf-8"],
  "/page.js": ["page.js", "text/javascript; charset=utf-8"],
};
const MAX_BODY = 100_000;

/** Serves a notebook on this machine. Other pages and other machines get nothing: every reader of it has the analyst's rights. */
export async function serveNotebook(options: {
  analystUrl: string;
  /** Markdown file. */
  notebook: string | URL;
  port: number;
}): Promise<{ url: string; close(): Promise<void> }> {
  const pool = new pg.Pool({ connectionString: options.analystUrl, max: 4, application_name: "notebook" });
  pool.on("error", () => {}); // A lost idle connection: the next cell opens another.
  const server = createServer(async (request, response) => {
    const send = (status: number, body: string | Buffer, type: string) =>
      response
        .writeHead(status, {
          "content-type": type,
          "content-security-policy": "default-src 'self'; style-src 'self' 'unsafe-inline'",
        })
        .end(body);
    const json = (status: number, body: object) => send(status, JSON.stringify(body), "application/json");
    try {
      if (!isFromHere(request)) return json(403, { error: "Open this page at 127.0.0.1 or localhost." });
      const [file, type] = FILES[request.url ?? ""] ?? [];
      if (request.method === "GET" && file && type)
        return send(200, await readFile(new URL(`page/${file}`, import.meta.url)), type);
      if (request.method === "GET" && request.url === "/notebook.json")
        return json(200, readNotebook(await readFile(options.notebook, "utf8")));
      if (request.method === "POST" && request.url === "/run")
        return json(200, await runCell(pool, await bodyOf(request)));
      return json(404, { error: "Not found." });
    } catch (error) {
      const { message, position, hint } = error as pg.DatabaseError;
      json(400, { error: message, position: Number(position) || undefined, hint });
    }
  });
  await new Promise<void>((resolve) => server.listen(options.port, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      await pool.end();
    },
  };
}

/**
 * Whether the request is from a page of this server. A foreign page cannot send this content type without a preflight, which is
 * not answered, and cannot change the name of the host, also when it lets the name point to this machine.
 */
function isFromHere({ method, headers }: IncomingMessage): boolean {
  const isHere = /^(127\.0\.0\.1|localhost)(:\d+)?$/.test(headers.host ?? "");
  return isHere && (method === "GET" || headers["content-type"] === "application/sql");
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request) {
    size += chunk.length;
    if (size > MAX_BODY) throw new Error("The query is too long.");
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}
