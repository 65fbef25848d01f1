import { BoundedCache } from "../support/bounded-cache.ts";

/** Maximum characters of all remembered texts and their hashes. */
const MAX_CHARACTERS = 500_000;
/** Longer texts are not remembered, so that one does not displace many others; their clients send them again. */
const MAX_LENGTH = 20_000;

/** Texts that clients registered, by hash: the most recently used ones, in this process only. */
export class RememberedTexts {
  readonly #texts = new BoundedCache<string>(MAX_CHARACTERS, (hash, text) => hash.length + text.length);

  /** @param hash of this text; the caller has compared them */
  add(hash: string, text: string): void {
    if (text.length <= MAX_LENGTH) this.#texts.set(hash, text);
  }

  get(hash: string): string | undefined {
    return this.#texts.get(hash);
  }
}
