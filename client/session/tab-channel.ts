import type { AccessToken } from "./access-token.ts";

/** An access token and the version of the stored session that it came with. */
export interface SharedToken {
  readonly version: string;
  readonly access: AccessToken;
}

type Message = { readonly ask: string } | SharedToken;

/** How long another tab may take to answer. */
const ANSWER_MS = 300;

/** Shares access tokens with the other tabs of the same origin, so that one refresh serves all of them. */
export class TabChannel {
  readonly #channel: InstanceType<typeof BroadcastChannel> | undefined;
  readonly #asking = new Map<string, (access: AccessToken) => void>();

  /** @param current the token of this tab, to answer others */
  constructor(name: string, current: () => SharedToken | undefined, onToken: (token: SharedToken) => void) {
    if (typeof BroadcastChannel === "undefined") return;
    this.#channel = new BroadcastChannel(name);
    this.#channel.onmessage = ({ data }: { data: unknown }) => {
      const message = data as Message;
      if ("ask" in message) {
        const own = current();
        if (own?.version === message.ask) this.tell(own);
        return;
      }
      onToken(message);
      this.#asking.get(message.version)?.(message.access);
    };
  }

  tell(token: SharedToken): void {
    this.#channel?.postMessage(token);
  }

  /** Asks the other tabs for the access token of a version. @returns undefined if none answers soon */
  async ask(version: string): Promise<AccessToken | undefined> {
    if (!this.#channel) return undefined;
    return new Promise((resolve) => {
      const end = (access?: AccessToken) => {
        clearTimeout(timer);
        this.#asking.delete(version);
        resolve(access);
      };
      const timer = setTimeout(end, ANSWER_MS);
      this.#asking.set(version, end);
      this.#channel!.postMessage({ ask: version } satisfies Message);
    });
  }

  close(): void {
    this.#channel?.close();
  }
}
