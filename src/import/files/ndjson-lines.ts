import { createReadStream } from "node:fs";
import { isNotUtf8, notReadable, notText } from "./text-file.ts";

/** A line that is not blank: its JSON value, or its problem. */
export interface NdjsonLine {
  /** From 1. */
  readonly line: number;
  readonly value?: unknown;
  readonly problem?: string;
}

/** Protects memory from a file without line breaks. An escaped text of 4 MB fits. */
const MAX_LINE_CHARACTERS = 30_000_000;

/**
 * Reads a file of one JSON value a line (LF or CRLF, with or without a byte order mark) as a stream. An invalid line
 * affects only itself. If reading cannot continue (text that is not UTF-8, an endless line), the last line has the reason.
 * @throws PlinthError FILE_* when the file cannot be read or does not begin with text.
 */
export async function* readNdjsonLines(path: string): AsyncGenerator<NdjsonLine> {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  let line = 0;
  let rest = "";
  try {
    for await (const chunk of createReadStream(path)) {
      // Search only the new chunk, because a line may arrive in hundreds of chunks.
      const lines = decoder.decode(chunk as Buffer, { stream: true }).split("\n");
      lines[0] = rest + lines[0];
      rest = lines.pop()!;
      for (const text of lines) {
        line += 1;
        yield* parsed(text, line);
      }
      if (rest.length > MAX_LINE_CHARACTERS) {
        yield { line: line + 1, problem: "the line is too long; the rest of the file was not read" };
        return;
      }
    }
    rest += decoder.decode();
  } catch (error) {
    if (!isNotUtf8(error)) throw notReadable(path, error, "file");
    if (line === 0) throw notText(path);
    yield { line: line + 1, problem: "is not UTF-8 text; the rest of the file was not read" };
    return;
  }
  yield* parsed(rest, line + 1);
}

function* parsed(text: string, line: number): Generator<NdjsonLine> {
  if (text.trim() === "") return;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    yield { line, problem: `is not JSON: ${(error as SyntaxError).message}` };
    return;
  }
  yield { line, value };
}
