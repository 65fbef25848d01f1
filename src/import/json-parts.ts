import { createReadStream } from "node:fs";
import { open } from "node:fs/promises";
import { type JsonPart, JsonScanner } from "./json-scanner.ts";
import { isNotUtf8, notReadable, notText } from "./text-file.ts";

/**
 * Reads a JSON file as a stream: the elements of the list at its top, or the members of the object at its top. Where reading
 * cannot go on, the last part has no `at` and says why.
 * @param options.list the member of a top object whose elements come one by one
 * @throws PlinthError FILE_* when the file cannot be read or is not text from its beginning
 */
export async function* readJsonParts(
  path: string,
  options: { list?: string } = {},
): AsyncGenerator<JsonPart> {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  const scanner = new JsonScanner(options.list);
  let line = 1;
  let isFirst = true;
  try {
    for await (const chunk of createReadStream(path)) {
      const text = decoder.decode(chunk as Buffer, { stream: true });
      for (const part of scanner.feed(text)) {
        line = part.line;
        yield part;
      }
      if (scanner.failed) return;
      isFirst = false;
    }
    yield* scanner.feed(decoder.decode());
    yield* scanner.end();
  } catch (error) {
    if (!isNotUtf8(error)) throw notReadable(path, error, "file");
    if (isFirst) throw notText(path);
    yield { line, problem: "is not UTF-8 text; nothing from here on was read" };
  }
}

/** The bracket that a JSON file begins with; undefined for anything else, and for what has no text at its beginning. */
export async function topOf(path: string): Promise<"[" | "{" | undefined> {
  try {
    await using file = await open(path);
    const { buffer, bytesRead } = await file.read(Buffer.alloc(4096), 0, 4096, 0);
    const first = buffer
      .toString("utf8", 0, bytesRead)
      .replace(/^\ufeff/, "")
      .trimStart()[0];
    return first === "[" || first === "{" ? first : undefined;
  } catch (error) {
    throw notReadable(path, error, "file");
  }
}
