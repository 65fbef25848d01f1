import type { AccessToken } from "./access-token.ts";

/** An access token and the version of the stored session that it came with. */
export interface SharedToken {
  readonly version: string;
  /** The version whose refresh token was spent for it. The storage of another tab may still show that one. */
  readonly replaces?: string | undefined;
  readonly access: AccessToken;
}

/** Whether a token serves a tab that reads this version in its storage. */
export function serves(token: SharedToken, version: string | undefined): boolean {
  return version !== undefined && (token.version === version || token.replaces === version);
}

type Message = { readonly ask: string } | SharedToken;

/** How long another tab may take to answer: in turns, because a page that stands still for longer must hear what came meanwhile. */
const TURN_MS = 50;
const TURNS = 6;

/** Shares access tokens with the other tabs of the same origin, so that one refresh serves all of them. */
export class TabChannel {
  readonly #channel: InstanceType<typeof BroadcastChannel> | undefined;
  readonly #asking = new Map<string, (token: SharedToken) => void>();

  /** @param current the token of this tab, to answer others */
  constructor(name: string, current: () => SharedToken | undefined, onToken: (token: SharedToken) => void) {
    if (typeof BroadcastChannel === "undefined") return;
    this.#channel = new BroadcastChannel(name);
    this.#channel.onmessage = ({ data }: { data: unknown }) => {
      const message = data as Message;
      if ("ask" in message) {
        const own = current();
        if (own && serves(own, message.ask)) this.tell(own);
        return;
      }
      onToken(message);
      for (const [version, answer] of this.#asking) if (serves(message, version)) answer(message);
    };
  }

  tell(token: SharedToken): void {
    this.#channel?.postMessage(token);
  }

  /** Asks the other tabs for the token of a version or of its successor. @returns undefined if none answers soon */
  async ask(version: string): Promise<SharedToken | undefined> {
    if (!this.#channel) return undefined;
    return new Promise((resolve) => {
      let timer: ReturnType<typeof setTimeout>;
      const end = (token?: SharedToken) => {
        clearTimeout(timer);
        this.#asking.delete(version);
        resolve(token);
      };
      const wait = (turns: number) => {
        timer = setTimeout(() => (turns > 1 ? wait(turns - 1) : end()), TURN_MS);
      };
      wait(TURNS);
      this.#asking.set(version, end);
      this.#channel!.postMessage({ ask: version } satisfies Message);
    });
  }

  close(): void {
    this.#channel?.close();
  }
}
