import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { readFile, stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { brotliCompress, constants, gzip } from "node:zlib";
import type { RequestHandler } from "express";
import type { Application } from "../../application/application.ts";
import { PACKAGE_ROOT } from "../../support/paths.ts";

export const SCHEMA_PAGE_PATH = "/schema";

/** Where `plinth docs` writes the page, in the package and in the folder of an application. */
const FILE = join("docs", "schema", "index.html");
/** The page takes a tenth of its size, so that a stronger compression is not worth the time. */
const BROTLI_QUALITY = 5;

/** The best first. */
const ENCODINGS = ["br", "gzip"] as const;

interface Page {
  readonly policy: string;
  readonly etag: string;
  readonly bodies: Readonly<Record<string, Buffer>>;
}

/** Returns the page of an application with schemas of its own, if there is one, otherwise Plinth's. */
export function findSchemaPage(application: Application | undefined): string {
  const own = resolve(FILE);
  return application?.schemas?.length && existsSync(own) ? own : join(PACKAGE_ROOT, FILE);
}

/** Serves the page of the schema, which `plinth docs` writes. It is read and compressed once, and again after it has changed. */
export function schemaPageStep(file: string): RequestHandler {
  let read: Promise<Page> | undefined;
  let version = "";
  return async (request, response, next) => {
    const found = await stat(file).catch(() => undefined);
    if (!found) return next();
    const { mtimeMs, size } = found;
    if (version !== `${mtimeMs} ${size}`) {
      version = `${mtimeMs} ${size}`;
      read = readPage(file);
    }
    const { policy, etag, bodies } = await read!;
    response
      .set("Content-Security-Policy", policy)
      .set("Cache-Control", "no-cache")
      .set("ETag", etag)
      .vary("Accept-Encoding")
      .type("html");
    if (request.fresh) return void response.status(304).end();
    const encoding = ENCODINGS.find((each) => request.acceptsEncodings(each) === each) ?? "identity";
    if (encoding !== "identity") response.set("Content-Encoding", encoding);
    response.send(bodies[encoding]);
  };
}

async function readPage(file: string): Promise<Page> {
  const page = await readFile(file);
  const [br, gz] = await Promise.all([
    promisify(brotliCompress)(page, { params: { [constants.BROTLI_PARAM_QUALITY]: BROTLI_QUALITY } }),
    promisify(gzip)(page),
  ]);
  return {
    policy: `${policyOf(page.toString())};frame-ancestors 'none'`,
    // Weak, because the compressed pages have it too.
    etag: `W/"${createHash("sha256").update(page).digest("base64url")}"`,
    bodies: { identity: page, br, gzip: gz },
  };
}

/** The page names its own policy, so that it applies to a file as well; a page cannot forbid frames by itself. */
function policyOf(html: string): string {
  const [, policy] = /<meta http-equiv="Content-Security-Policy" content="([^"]+)">/.exec(html) ?? [];
  return policy ?? "default-src 'none'";
}
