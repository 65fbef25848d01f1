import { PlinthError } from "../../support/errors.ts";

/** Time for work in progress to finish when the server stops. */
const DRAIN_TIMEOUT_MS = 10_000;

/** The work that an application has asked for and Plinth has not finished yet. */
export class InProgress {
  readonly #running = new Set<Promise<unknown>>();
  #isClosed = false;

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** @throws PlinthError UNAVAILABLE when the server is stopping */
  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#isClosed) throw new PlinthError("UNAVAILABLE", "The server is stopping.");
    const running = work();
    this.track(running);
    return running;
  }

  track(running: Promise<unknown>): void {
    const settled = running.catch(() => {}).finally(() => this.#running.delete(settled));
    this.#running.add(settled);
  }

  /** Accepts nothing new and waits for the rest, up to a limit. */
  async close(): Promise<void> {
    this.#isClosed = true;
    const { promise: timeout, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, DRAIN_TIMEOUT_MS);
    await Promise.race([Promise.all(this.#running), timeout]);
    clearTimeout(timer);
  }
}
