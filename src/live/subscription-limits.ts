/** Counts open subscriptions per socket and per account. */
export class SubscriptionLimits {
  readonly #open = new Map<object | string, number>();
  readonly #perSocket: number;
  readonly #perUser: number;

  constructor({ perSocket, perUser }: { perSocket: number; perUser: number }) {
    this.#perSocket = perSocket;
    this.#perUser = perUser;
  }

  /** @returns a function that releases the slot, or undefined when none is free */
  take(socket: object, userId: string | undefined): (() => void) | undefined {
    if (this.#count(socket) >= this.#perSocket) return undefined;
    if (userId !== undefined && this.#count(userId) >= this.#perUser) return undefined;
    const holders = userId === undefined ? [socket] : [socket, userId];
    for (const holder of holders) this.#open.set(holder, this.#count(holder) + 1);
    let isHeld = true;
    return () => {
      if (!isHeld) return;
      isHeld = false;
      for (const holder of holders) {
        const left = this.#count(holder) - 1;
        if (left > 0) this.#open.set(holder, left);
        else this.#open.delete(holder);
      }
    };
  }

  #count(holder: object | string): number {
    return this.#open.get(holder) ?? 0;
  }
}
