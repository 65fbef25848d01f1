import { stripVTControlCharacters } from "node:util";
import { pauseProgress } from "./progress/progress.ts";

/**
 * Output of commands. Results go to stdout (one JSON document with `--json`); progress, warnings and errors go to stderr, so
 * that a pipe carries data only.
 */
export function print(text: string): void {
  write(`${text}\n`);
}

/** Like {@link print}, for text that ends with a line break. */
export function write(text: string): void {
  using _ = pauseProgress();
  process.stdout.write(text);
}

export function printJson(value: unknown): void {
  print(JSON.stringify(value, null, 2));
}

export function note(text: string): void {
  using _ = pauseProgress();
  process.stderr.write(`${text}\n`);
}

/** A reader that closes the pipe early (`plinth doctor | head -1`) does not make the command fail. */
export function ignoreClosedPipes(): void {
  for (const stream of [process.stdout, process.stderr])
    stream.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code !== "EPIPE") throw error;
    });
}

/**
 * Makes outside text (the name of a file or a row) safe for a terminal: one line of at most 80 characters, without control
 * characters that could move the cursor or change colors.
 */
export function printable(text: string): string {
  const plain = oneLine(text);
  return plain.length > 80 ? `${plain.slice(0, 79)}…` : plain;
}

/** Like {@link printable}, in full length. */
export function oneLine(text: string): string {
  return stripVTControlCharacters(text)
    .replace(/\p{C}+/gu, " ")
    .trim();
}
