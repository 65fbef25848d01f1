import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { Request, RequestHandler } from "express";
import { exportEnd, type MemoryReaders } from "../../privacy/export-document.ts";
import { type ExportDescription, exportPage } from "../../privacy/export-page.ts";
import { PAGE_SECURITY_POLICY } from "../../privacy/html.ts";
import type { CallPrivateFunction } from "../../request/service-caller.ts";
import { CODES_BY_STATUS, HttpError } from "../http-error.ts";

/** The path at which a user downloads an export; with the ending `.html`, its readable page. */
export const DATA_EXPORT_PATH = "/exports/:id";

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const PAGE = /\.html$/;

/**
 * Streams an export to the user whose data it contains: one part is in memory at a time, and no database connection is held
 * while the client reads. Runs after the authentication step. Other users' exports return 404, like unknown ids. The length
 * of the document is sent first, so that a client notices an incomplete download; the page ends with `</html>`. Memories, which
 * only the server can read, are therefore opened twice: to find the length, and to send them.
 */
export function dataExportStep(
  options: MemoryReaders & { callPrivateFunction: CallPrivateFunction },
): RequestHandler {
  const { callPrivateFunction } = options;

  return async (request, response) => {
    const { context } = request;
    if (!context.claims) throw new HttpError(401, "UNAUTHENTICATED", "You must be signed in.");
    const id = String(request.params.id).replace(PAGE, "");
    const [found] = UUID.test(id) ? await find(id) : [];
    if (!found) throw new HttpError(404, "NOT_FOUND", "Export not found.");
    const isPage = wantsPage(request);
    response.status(200).set({
      "Content-Type": isPage ? "text/html; charset=utf-8" : "application/json; charset=utf-8",
      "Content-Disposition": `attachment; filename="export-${id}.${isPage ? "html" : "json"}"`,
      "Cache-Control": "no-store",
      Vary: "Accept",
    });
    if (isPage) response.set("Content-Security-Policy", PAGE_SECURITY_POLICY);
    else {
      let endBytes = 0;
      for await (const piece of exportEnd(options, context)) endBytes += Buffer.byteLength(piece);
      response.set("Content-Length", String(Number(found.size_bytes) + endBytes));
    }
    if (request.method === "HEAD") return void response.end();
    const chunks = isPage
      ? page(found.part_count)
      : document(found.part_count, Number(response.get("Content-Length")));
    // Waits for slow clients and stops when the client disconnects. An incomplete download is visible by its length or end.
    await pipeline(Readable.from(chunks, { objectMode: false }), response).catch(() => response.destroy());

    async function* page(partCount: number) {
      const descriptions = await callPrivateFunction<ExportDescription>(
        context,
        "select * from private.data_export_descriptions()",
        [],
      );
      yield* exportPage(() => whole(partCount), descriptions);
    }

    async function* document(partCount: number, length: number) {
      let rest = length;
      for await (const piece of whole(partCount)) {
        rest -= Buffer.byteLength(piece);
        // Text beyond the announced length would become part of the next response on this connection.
        if (rest < 0) break;
        yield piece;
      }
      if (rest !== 0) throw new Error("The memories have changed.");
    }

    async function* whole(partCount: number) {
      for (let part = 0; part < partCount; part++) {
        const [piece] = await callPrivateFunction<{ content: string | null }>(
          context,
          "select private.read_data_export_part($1, $2) as content",
          [id, part],
        );
        if (piece?.content == null) throw new Error("The export has been deleted.");
        yield piece.content;
      }
      yield* exportEnd(options, context);
    }

    async function find(exportId: string) {
      return callPrivateFunction<{ size_bytes: string; part_count: number }>(
        context,
        "select * from private.find_data_export($1)",
        [exportId],
      ).catch((error: unknown) => {
        if ((error as { code?: unknown }).code === "PL403")
          throw new HttpError(403, CODES_BY_STATUS[403]!, "An API token cannot do this.");
        throw error;
      });
    }
  };
}

/** By the path, or by the header if it prefers the page: a program that accepts anything gets the document. */
const wantsPage = (request: Request): boolean =>
  PAGE.test(String(request.params.id)) || request.accepts(["application/json", "text/html"]) === "text/html";
