/** Values that arrive by calls and are taken by one `for await`. */
export class Inbox<T> implements AsyncIterable<T> {
  readonly #values: T[] = [];
  #ended: { readonly error: unknown } | undefined;
  #wake: (() => void) | undefined;

  get size(): number {
    return this.#values.length;
  }

  put(value: T): void {
    this.#values.push(value);
    this.#wake?.();
  }

  /** The values that have arrived are still taken. */
  end(error?: unknown): void {
    this.#ended ??= { error };
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T, void, void> {
    for (;;) {
      while (this.#values.length > 0) yield this.#values.shift()!;
      if (this.#ended) {
        if (this.#ended.error !== undefined) throw this.#ended.error;
        return;
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}
