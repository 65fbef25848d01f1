import type { WriteStream } from "node:tty";
import { progressStyle } from "../../config/progress-setting.ts";
import type { OnProgress, Progress } from "../../support/progress.ts";
import { openLogLines } from "./log-lines.ts";
import { logLine, terminalLine } from "./text.ts";
import type { ProgressView } from "./view.ts";

/** The progress of the command that runs in this process. */
let running: { progress: Progress; since: number; readonly view: ProgressView } | undefined;

/**
 * Shows on stderr how far the command is: on a terminal a bar, or a spinner where the total is unknown; elsewhere a line every ten
 * seconds.
 * @param step shown until the work reports a step of its own
 */
export async function startProgress(step: string, stream: WriteStream = process.stderr): Promise<void> {
  stopProgress();
  const state = { progress: { step } as Progress, since: Date.now() };
  const seconds = (): number => (Date.now() - state.since) / 1000;
  const style = progressStyle(stream.isTTY);
  if (style === "none") return;
  const view =
    style === "bar"
      ? // Loaded only where it is used.
        (await import("./bar.ts")).openBar(stream, (width) => terminalLine(state.progress, seconds(), width))
      : openLogLines(stream, () => logLine(state.progress, seconds()));
  running = Object.assign(state, { view });
  process.once("exit", stopProgress);
}

export const showProgress: OnProgress = (progress) => {
  if (!running) return;
  if (progress.step !== running.progress.step) running.since = Date.now();
  running.progress = progress;
};

export function stopProgress(): void {
  running?.view.close();
  running = undefined;
  process.off("exit", stopProgress);
}

/** Clears the progress until it is disposed of, for other output, which then stands above it, and for questions. */
export function pauseProgress(): Disposable {
  const view = running?.view;
  view?.pause();
  return { [Symbol.dispose]: () => view?.resume() };
}
