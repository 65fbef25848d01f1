import { clientKey } from "../../request/client-key.ts";

/** Counts the sockets of each client, including those still being admitted. */
export class SocketLimit {
  readonly #taken = new Map<string, number>();
  readonly #perClient: number;

  constructor(perClient: number) {
    this.#perClient = perClient;
  }

  /** @returns a function that releases the slot once, however often it is called; undefined when no slot is left */
  take(clientIp: string | undefined): (() => void) | undefined {
    const client = clientKey(clientIp);
    const taken = this.#taken.get(client) ?? 0;
    if (taken >= this.#perClient) return undefined;
    this.#taken.set(client, taken + 1);
    let isHeld = true;
    return () => {
      if (!isHeld) return;
      isHeld = false;
      const left = this.#taken.get(client)! - 1;
      if (left > 0) this.#taken.set(client, left);
      else this.#taken.delete(client);
    };
  }
}
