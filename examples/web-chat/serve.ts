import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const pathOf = (file: string) => fileURLToPath(new URL(`page/${file}`, import.meta.url));

/** Bundles the page and serves it. The page calls Plinth itself, so its origin must be allowed there. */
export async function serveWebChat(options: {
  plinthUrl: string;
  port: number;
}): Promise<{ url: string; close(): Promise<void> }> {
  const { plinthUrl, port } = options;
  const bundle = await build({
    entryPoints: [pathOf("main.tsx")],
    bundle: true,
    minify: true,
    write: false,
    format: "esm",
    define: { PLINTH_URL: JSON.stringify(plinthUrl) },
  });
  const files: Readonly<Record<string, readonly [content: string, type: string]>> = {
    "/": [await readFile(pathOf("index.html"), "utf8"), "text/html; charset=utf-8"],
    "/style.css": [await readFile(pathOf("style.css"), "utf8"), "text/css; charset=utf-8"],
    "/main.js": [bundle.outputFiles[0]!.text, "text/javascript; charset=utf-8"],
  };
  const server = createServer((request, response) => {
    const [content, type] = files[request.url ?? ""] ?? [];
    if (request.method !== "GET" || content === undefined || !type) return response.writeHead(404).end();
    return response
      .writeHead(200, {
        "content-type": type,
        "content-security-policy": contentSecurityPolicy(plinthUrl),
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
      })
      .end(content);
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

/** Only scripts of this page run, and they connect only to Plinth: a text with markup in it can steal nothing. */
function contentSecurityPolicy(plinthUrl: string): string {
  const { origin } = new URL(plinthUrl);
  return [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    `connect-src ${origin} ${origin.replace("http", "ws")}`,
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
  ].join("; ");
}
