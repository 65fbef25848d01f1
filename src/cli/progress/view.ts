/** A way to show progress. */
export interface ProgressView {
  /** Clears the progress, so that others can write. */
  pause(): void;
  resume(): void;
  close(): void;
}
