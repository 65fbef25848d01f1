/** A value that changes; `subscribe` fits React's useSyncExternalStore. */
export interface Readable<T> {
  readonly current: T;
  /** Calls back after each change. @returns a function that stops the calls */
  subscribe(listener: (value: T) => void): () => void;
}

export class Store<T> implements Readable<T> {
  #current: T;
  readonly #listeners = new Set<(value: T) => void>();

  constructor(initial: T) {
    this.#current = initial;
  }

  get current(): T {
    return this.#current;
  }

  set(value: T): void {
    if (value === this.#current) return;
    this.#current = value;
    for (const listener of [...this.#listeners]) listener(value);
  }

  // An arrow function, because callers pass it on without its object.
  readonly subscribe = (listener: (value: T) => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };
}
