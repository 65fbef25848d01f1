/** Maximum characters of all remembered texts and their hashes. */
const MAX_CHARACTERS = 500_000;
/** Longer texts are not remembered, so that one does not displace many others; their clients send them again. */
const MAX_LENGTH = 20_000;

/** Texts that clients registered, by hash: the most recently used ones, in this process only. */
export class RememberedTexts {
  readonly #texts = new Map<string, string>();
  #characters = 0;

  /** @param hash of this text; the caller has compared them */
  add(hash: string, text: string): void {
    if (text.length > MAX_LENGTH) return;
    this.#remove(hash);
    this.#texts.set(hash, text);
    this.#characters += hash.length + text.length;
    // A Map keeps insertion order: the first entry is the least recently used.
    for (const oldest of this.#texts.keys()) {
      if (this.#characters <= MAX_CHARACTERS) break;
      this.#remove(oldest);
    }
  }

  get(hash: string): string | undefined {
    const text = this.#texts.get(hash);
    if (text !== undefined) {
      this.#texts.delete(hash);
      this.#texts.set(hash, text);
    }
    return text;
  }

  #remove(hash: string): void {
    const text = this.#texts.get(hash);
    if (text === undefined) return;
    this.#texts.delete(hash);
    this.#characters -= hash.length + text.length;
  }
}
