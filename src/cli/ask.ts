import { createInterface } from "node:readline/promises";
import { Writable } from "node:stream";
import { PlinthError } from "../support/errors.ts";
import { pauseProgress } from "./progress/progress.ts";

/** Longer than any valid password. Stops the reading of a wrong, endless pipe. */
const MAX_STDIN_BYTES = 64 * 1024;

/**
 * Asks on the terminal. Writes to stderr, because stdout is for data. Resolves to "" at the end of input.
 * @throws PlinthError INTERRUPTED for Ctrl-C
 */
export async function ask(question: string, options: { hidden?: boolean } = {}): Promise<string> {
  using _ = pauseProgress();
  const silent = new Writable({ write: (_chunk, _encoding, done) => done() });
  const terminal = createInterface({
    input: process.stdin,
    output: options.hidden ? silent : process.stderr,
    terminal: true,
  });
  if (options.hidden) process.stderr.write(question);
  const ended = Promise.withResolvers<string>();
  terminal.once("close", () => ended.resolve(""));
  // The terminal is in raw mode, so Ctrl-C arrives as a key, not as a signal.
  terminal.once("SIGINT", () => ended.reject(new PlinthError("INTERRUPTED", "Stopped.", { exitCode: 130 })));
  try {
    return await Promise.race([terminal.question(options.hidden ? "" : question), ended.promise]);
  } finally {
    terminal.close();
    if (options.hidden) process.stderr.write("\n");
  }
}

/**
 * Reads the first line of stdin, for a secret from a file or another program.
 * @param name the secret, for the error
 */
export async function readLineFromStdin(name = "password"): Promise<string> {
  using _ = pauseProgress();
  let text = "";
  for await (const chunk of process.stdin.setEncoding("utf8")) {
    text += chunk;
    if (text.includes("\n") || text.length > MAX_STDIN_BYTES) break;
  }
  const line = text.split(/\r?\n/, 1)[0] ?? "";
  if (!line) throw new PlinthError(`${name.toUpperCase()}_MISSING`, `stdin contains no ${name}.`);
  return line;
}
