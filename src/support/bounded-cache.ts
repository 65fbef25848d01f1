/** A cache that forgets its least recently used entries when all of them together are larger than a limit. */
export class BoundedCache<TValue> {
  readonly #limit: number;
  readonly #sizeOf: (key: string, value: TValue) => number;
  /** In the order of use: the first entry is the least recently used. */
  readonly #entries = new Map<string, TValue>();
  #size = 0;

  constructor(limit: number, sizeOf: (key: string, value: TValue) => number) {
    this.#limit = limit;
    this.#sizeOf = sizeOf;
  }

  get(key: string): TValue | undefined {
    const value = this.#entries.get(key);
    if (value !== undefined) {
      this.#entries.delete(key);
      this.#entries.set(key, value);
    }
    return value;
  }

  set(key: string, value: TValue): void {
    this.delete(key);
    this.#entries.set(key, value);
    this.#size += this.#sizeOf(key, value);
    for (const oldest of this.#entries.keys()) {
      if (this.#size <= this.#limit) break;
      this.delete(oldest);
    }
  }

  delete(key: string): void {
    const value = this.#entries.get(key);
    if (value === undefined) return;
    this.#entries.delete(key);
    this.#size -= this.#sizeOf(key, value);
  }
}
