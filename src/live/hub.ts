/** Somebody who wants to know when a topic has news. */
export interface Listener {
  /** @param sequence what the topic reached, as somebody said; a hint and no more */
  onHint(topic: string, sequence: bigint): void;
  /** Anything may have been missed. */
  onGap(): void;
}

/** `room:<id> 17`: a topic without spaces and what it reached. */
const HINT = /^([^\s]{1,200}) (-?\d{1,18})$/;

/** Hands hints on to whoever listens to their topic. Knows nothing of what they mean. */
export class Hub {
  readonly #listeners = new Map<string, Set<Listener>>();

  /** @returns takes the listener away again */
  add(topic: string, listener: Listener): () => void {
    const listeners = this.#listeners.get(topic) ?? new Set();
    this.#listeners.set(topic, listeners.add(listener));
    return () => {
      listeners.delete(listener);
      if (listeners.size === 0 && this.#listeners.get(topic) === listeners) this.#listeners.delete(topic);
    };
  }

  /** Takes a notification's payload. Any database role may send one, so what is no hint is dropped. */
  hear(payload: string): void {
    const [, topic, sequence] = HINT.exec(payload) ?? [];
    if (topic === undefined || sequence === undefined) return;
    const listeners = this.#listeners.get(topic);
    if (listeners) tellInTurn([...listeners], topic, BigInt(sequence));
  }

  /** Tells everybody once that notifications may have been lost. */
  announceGap(): void {
    const all = new Set<Listener>();
    for (const listeners of this.#listeners.values()) for (const listener of listeners) all.add(listener);
    for (const listener of all) listener.onGap();
  }

  /** Topics that somebody listens to. */
  get size(): number {
    return this.#listeners.size;
  }
}

/** Listeners told in one go: enough for their reads to leave together, few enough for a crowded topic to stop nobody. */
const TOLD_TOGETHER = 32;

function tellInTurn(listeners: readonly Listener[], topic: string, sequence: bigint): void {
  for (const listener of listeners.slice(0, TOLD_TOGETHER)) listener.onHint(topic, sequence);
  const others = listeners.slice(TOLD_TOGETHER);
  if (others.length > 0) setImmediate(tellInTurn, others, topic, sequence);
}
