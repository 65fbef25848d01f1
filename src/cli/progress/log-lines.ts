import type { ProgressView } from "./view.ts";

const INTERVAL_MS = 10_000;

/** Writes a line at intervals, for a log file or a pipe. */
export function openLogLines(stream: NodeJS.WritableStream, line: () => string): ProgressView {
  const timer = setInterval(() => stream.write(`${line()}\n`), INTERVAL_MS).unref();
  return { pause() {}, resume() {}, close: () => clearInterval(timer) };
}
