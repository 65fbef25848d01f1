import type { IdentityProof } from "./auth/auth.ts";

/** Asks the user to confirm who they are; undefined cancels. */
export type ConfirmIdentity = () => Promise<IdentityProof | undefined>;

/** Has the user confirm who they are: once for all requests that were sent before the user answered. */
export class Confirmation {
  readonly #ask: () => Promise<boolean>;
  #asking: Promise<boolean> | undefined;
  #last = { number: 0, isConfirmed: false };

  /** @param ask reauthenticates the user; false if the user cancels */
  constructor(ask: () => Promise<boolean>) {
    this.#ask = ask;
  }

  /** Number of the user's last answer. A request remembers it when it is sent. */
  get lastAnswer(): number {
    return this.#last.number;
  }

  /**
   * Asks the user, unless the question is open or was answered since the request was sent: the server may reject two requests at
   * once, but one of them arrives late.
   * @param sentAfter the last answer when the request was sent
   * @returns false if the user cancelled
   */
  async request(sentAfter: number): Promise<boolean> {
    if (this.#last.number > sentAfter) return this.#last.isConfirmed;
    this.#asking ??= this.#askOnce().finally(() => {
      this.#asking = undefined;
    });
    return this.#asking;
  }

  async #askOnce(): Promise<boolean> {
    const isConfirmed = await this.#ask();
    this.#last = { number: this.#last.number + 1, isConfirmed };
    return isConfirmed;
  }
}
