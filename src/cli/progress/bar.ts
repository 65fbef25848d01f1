import type { WriteStream } from "node:tty";
import cliProgress from "cli-progress";
import type { ProgressView } from "./view.ts";

/** Shorter commands show nothing. */
const DELAY_MS = 1_000;
/** The terminal writes ^C after the line, and some terminals wrap at the last column. */
const RESERVED_COLUMNS = 3;

/**
 * Shows a line on a terminal after a second, and clears it at the end. The cursor stays visible and lines wrap as before, so that a
 * process that is killed leaves nothing to restore.
 */
export function openBar(stream: Pick<WriteStream, "columns">, line: (width: number) => string): ProgressView {
  const bar = new cliProgress.SingleBar({
    stream: stream as WriteStream,
    format: () => line((stream.columns || 80) - RESERVED_COLUMNS),
    clearOnComplete: true,
    hideCursor: false,
    linewrap: true,
  });
  let isDue = false;
  let pauses = 0;
  const show = (): void => {
    if (isDue && pauses === 0) bar.start(1, 0);
  };
  const timer = setTimeout(() => {
    isDue = true;
    show();
  }, DELAY_MS);
  return {
    pause() {
      pauses += 1;
      bar.stop();
    },
    resume() {
      pauses -= 1;
      show();
    },
    close() {
      clearTimeout(timer);
      bar.stop();
    },
  };
}
