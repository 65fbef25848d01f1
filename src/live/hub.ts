/** A listener for news of topics. */
export interface Listener {
  /** @param sequence the reported last sequence of the topic; only a hint */
  onHint(topic: string, sequence: bigint): void;
  /** Called when any notification may have been lost. */
  onGap(): void;
}

/** `room:<id> 17`: a topic without spaces and its last sequence. */
const HINT = /^([^\s]{1,200}) (-?\d{1,18})$/;

/** Passes hints to the listeners of their topic, without interpreting them. */
export class Hub {
  readonly #listeners = new Map<string, Set<Listener>>();

  /** @returns a function that removes the listener */
  add(topic: string, listener: Listener): () => void {
    const listeners = this.#listeners.get(topic) ?? new Set();
    this.#listeners.set(topic, listeners.add(listener));
    return () => {
      listeners.delete(listener);
      if (listeners.size === 0 && this.#listeners.get(topic) === listeners) this.#listeners.delete(topic);
    };
  }

  /** Takes a notification's payload. Any database role may send one, so malformed payloads are ignored. */
  hear(payload: string): void {
    const [, topic, sequence] = HINT.exec(payload) ?? [];
    if (topic === undefined || sequence === undefined) return;
    const listeners = this.#listeners.get(topic);
    if (listeners) notifyInChunks([...listeners], topic, BigInt(sequence));
  }

  /** Tells each listener once that notifications may have been lost. */
  announceGap(): void {
    const all = new Set<Listener>();
    for (const listeners of this.#listeners.values()) for (const listener of listeners) all.add(listener);
    for (const listener of all) listener.onGap();
  }

  /** Number of topics with listeners. */
  get size(): number {
    return this.#listeners.size;
  }
}

/** Listeners notified in one go: enough that their reads leave together, few enough that a crowded topic does not block the process. */
const NOTIFIED_TOGETHER = 32;

function notifyInChunks(listeners: readonly Listener[], topic: string, sequence: bigint): void {
  for (const listener of listeners.slice(0, NOTIFIED_TOGETHER)) listener.onHint(topic, sequence);
  const others = listeners.slice(NOTIFIED_TOGETHER);
  if (others.length > 0) setImmediate(notifyInChunks, others, topic, sequence);
}
