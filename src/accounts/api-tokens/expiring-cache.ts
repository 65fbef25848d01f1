/** Values kept in memory for a limited time; over the maximum, the oldest are dropped first. */
export class ExpiringCache<TValue> {
  readonly #entries = new Map<string, { readonly value: TValue; readonly expiresAt: number }>();
  readonly #ttlMs: number;
  readonly #maxEntries: number;

  constructor(options: { ttlMs: number; maxEntries: number }) {
    this.#ttlMs = options.ttlMs;
    this.#maxEntries = options.maxEntries;
  }

  /** @param now ms since 1970 */
  get(key: string, now = Date.now()): TValue | undefined {
    const entry = this.#entries.get(key);
    if (!entry) return undefined;
    if (entry.expiresAt > now) return entry.value;
    this.#entries.delete(key);
    return undefined;
  }

  set(key: string, value: TValue, now = Date.now()): void {
    // Insertion order is the order of expiry, so the first entry is the oldest.
    this.#entries.delete(key);
    this.#entries.set(key, { value, expiresAt: now + this.#ttlMs });
    if (this.#entries.size > this.#maxEntries) this.#entries.delete(this.#entries.keys().next().value!);
  }

  get size(): number {
    return this.#entries.size;
  }
}
