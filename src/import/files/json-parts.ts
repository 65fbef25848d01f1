import { createReadStream } from "node:fs";
import { open } from "node:fs/promises";
import { type JsonPart, JsonScanner } from "./json-scanner.ts";
import { isNotUtf8, notReadable, notText } from "./text-file.ts";

/**
 * Reads a JSON file as a stream: the elements of its top-level list, or the members of its top-level object. If reading cannot
 * continue, the last part has no `at` and contains the reason.
 * @param options.list the member of a top-level object whose elements are read one by one
 * @throws PlinthError FILE_* when the file cannot be read or does not begin with text
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
    yield { line, problem: "is not UTF-8 text; the rest of the file was not read" };
  }
}

/** Returns the bracket that a JSON file begins with; undefined if it begins with anything else. */
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
