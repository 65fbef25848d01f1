import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { RequestHandler } from "express";
import type { ConversationMemories } from "../../accounts/conversation-memory/conversation-memories.ts";
import type { Memories } from "../../accounts/memories/memories.ts";
import type { RequestContext } from "../../request/context.ts";
import type { CallPrivateFunction } from "../../request/service-caller.ts";
import { CODES_BY_STATUS, HttpError } from "../http-error.ts";

/** The path at which a user downloads an export. */
export const DATA_EXPORT_PATH = "/exports/:id";

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/**
 * Streams an export to the user whose data it contains: one part is in memory at a time, and no database connection is held
 * while the client reads. Runs after the authentication step. Other users' exports return 404, like unknown ids. The length
 * is sent first, so that a client notices an incomplete download. Memories, which only the server can read, are therefore opened
 * twice: to find the length, and to send them.
 */
export function dataExportStep(options: {
  callPrivateFunction: CallPrivateFunction;
  conversationMemories: ConversationMemories;
  memories: Memories;
}): RequestHandler {
  const { callPrivateFunction, conversationMemories, memories } = options;

  return async (request, response) => {
    const { context } = request;
    if (!context.claims) throw new HttpError(401, "UNAUTHENTICATED", "You must be signed in.");
    const id = String(request.params.id);
    const [found] = UUID.test(id) ? await find(id) : [];
    if (!found) throw new HttpError(404, "NOT_FOUND", "Export not found.");
    let endBytes = 0;
    for await (const piece of end(context)) endBytes += Buffer.byteLength(piece);

    response.status(200).set({
      "Content-Type": "application/json; charset=utf-8",
      "Content-Disposition": `attachment; filename="export-${id}.json"`,
      "Content-Length": String(Number(found.size_bytes) + endBytes),
      "Cache-Control": "no-store",
    });
    if (request.method === "HEAD") return void response.end();
    // Waits for slow clients and stops when the client disconnects. An incomplete download is visible by its length.
    await pipeline(
      Readable.from(document(id, found.part_count, endBytes), { objectMode: false }),
      response,
    ).catch(() => response.destroy());

    async function* document(exportId: string, partCount: number, restBytes: number) {
      for (let part = 0; part < partCount; part++) {
        const [piece] = await callPrivateFunction<{ content: string | null }>(
          context,
          "select private.read_data_export_part($1, $2) as content",
          [exportId, part],
        );
        if (piece?.content == null) throw new Error("The export has been deleted.");
        yield piece.content;
      }
      let rest = restBytes;
      for await (const piece of end(context)) {
        rest -= Buffer.byteLength(piece);
        // Text beyond the announced length would become part of the next response on this connection.
        if (rest < 0) break;
        yield piece;
      }
      if (rest !== 0) throw new Error("The memories have changed.");
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

  /** The parts of the document that the database cannot read. */
  async function* end(request: RequestContext): AsyncGenerator<string> {
    yield `,\n"conversation_memory":${JSON.stringify(await conversationMemories.find(request))}`;
    let separator = ',\n"memories":[\n';
    for await (const page of memories.pages(request)) {
      yield separator + page.map((memory) => JSON.stringify(memory)).join(",\n");
      separator = ",\n";
    }
    yield separator === ",\n" ? "]}\n" : ',\n"memories":[]}\n';
  }
}
