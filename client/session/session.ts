import { PlinthClientError } from "../error.ts";
import { randomId } from "../support/random-id.ts";
import { type Readable, Store } from "../support/store.ts";
import { type AccessToken, isFresh, readAccessToken } from "./access-token.ts";
import { readStored, type StoredSession, type TokenStorage } from "./storage.ts";
import { type SharedToken, TabChannel } from "./tab-channel.ts";
import { type Exclusively, tabLock } from "./tab-lock.ts";

/**
 * `reason`: `none` (not signed in yet), `signed-out` (by `signOut`), `ended` (the server ended the session: it expired,
 * was signed out on another device, or its token was used twice), `other-tab` (another tab signed out).
 */
export type SessionState =
  | { readonly status: "signed-in"; readonly userId: string }
  | { readonly status: "signed-out"; readonly reason: "none" | "signed-out" | "ended" | "other-tab" };

export interface Credentials {
  readonly accessToken: string;
  readonly refreshToken: string;
}

interface SessionOptions {
  readonly storage: TokenStorage;
  /** Whether other tabs use the same storage. */
  readonly isShared: boolean;
  readonly key: string;
  /** Exchanges a refresh token. @throws PlinthClientError UNAUTHENTICATED if the session has ended */
  readonly exchange: (refreshToken: string) => Promise<Credentials>;
}

interface Page {
  addEventListener?(type: string, listener: (event: { key?: string | null }) => void): void;
  removeEventListener?(type: string, listener: (event: { key?: string | null }) => void): void;
}
const page = globalThis as Page;

/**
 * The tokens of a session. The refresh token is in the storage and works once; the access token is in memory. A single refresh
 * at a time runs in all tabs, and the others receive its access token.
 */
export class Session {
  readonly #options: SessionOptions;
  readonly #state: Store<SessionState>;
  readonly #exclusively: Exclusively;
  readonly #tabs: TabChannel | undefined;
  #access: AccessToken | undefined;
  /** The version that `#access` came with. */
  #version: string | undefined;
  /** The last token of another tab. It may arrive before the storage shows the session that it belongs to. */
  #received: SharedToken | undefined;
  #refreshing: Promise<string | undefined> | undefined;

  constructor(options: SessionOptions) {
    this.#options = options;
    const { storage, isShared, key } = options;
    this.#state = new Store(stateOf(this.#stored(), "none"));
    this.#exclusively = isShared ? tabLock(key, storage) : (run) => run();
    if (!isShared) return;
    this.#tabs = new TabChannel(
      key,
      () => this.#shareable(),
      (token) => this.#receive(token),
    );
    page.addEventListener?.("storage", this.#onStorage);
  }

  get state(): Readable<SessionState> {
    return this.#state;
  }

  /** The access token, refreshed if it is about to expire; undefined while signed out. */
  async token(): Promise<string | undefined> {
    if (!this.#stored()) {
      this.#forget("other-tab");
      return undefined;
    }
    if (isFresh(this.#access)) return this.#access.token;
    this.#refreshing ??= this.#refresh().finally(() => {
      this.#refreshing = undefined;
    });
    return this.#refreshing;
  }

  /** The successor of a token that the server rejected; undefined if the session has ended. */
  renew(rejected: string): Promise<string | undefined> {
    if (this.#access?.token === rejected) this.#access = undefined;
    if (this.#received?.access.token === rejected) this.#received = undefined;
    return this.token();
  }

  /** Begins or continues a session. */
  adopt({ accessToken, refreshToken }: Credentials): void {
    const { storage, key } = this.#options;
    const access = readAccessToken(accessToken);
    const version = randomId();
    const stored: StoredSession = { refreshToken, userId: access.userId, version };
    storage.setItem(key, JSON.stringify(stored));
    this.#use({ version, access });
    this.#tabs?.tell({ version, access });
  }

  /**
   * Forgets the session at once.
   * @returns a function that provides its last access token, to end it on the server, too
   */
  leave(): () => Promise<string | undefined> {
    const access = this.#access;
    const stored = this.#stored();
    this.#end("signed-out");
    return async () => {
      if (isFresh(access)) return access.token;
      return stored && (await this.#options.exchange(stored.refreshToken)).accessToken;
    };
  }

  #end(reason: "signed-out" | "ended"): void {
    this.#options.storage.removeItem(this.#options.key);
    this.#forget(reason);
  }

  close(): void {
    this.#tabs?.close();
    page.removeEventListener?.("storage", this.#onStorage);
  }

  async #refresh(): Promise<string | undefined> {
    const known = this.#stored()?.version;
    return this.#exclusively(async () => {
      const stored = this.#stored();
      if (!stored) {
        this.#forget("other-tab");
        return undefined;
      }
      const { version } = stored;
      let access = this.#received?.version === version ? this.#received.access : undefined;
      // Another tab has refreshed in the meantime.
      if (!isFresh(access) && version !== known)
        access = isFresh(this.#access) ? this.#access : await this.#tabs?.ask(version);
      if (isFresh(access)) {
        this.#use({ version, access });
        return access.token;
      }
      return this.#exchange(stored);
    });
  }

  async #exchange({ refreshToken, version }: StoredSession): Promise<string | undefined> {
    try {
      const credentials = await this.#options.exchange(refreshToken);
      // Signed out or signed in anew while the answer was on its way.
      if (this.#stored()?.version !== version) return isFresh(this.#access) ? this.#access.token : undefined;
      this.adopt(credentials);
      return credentials.accessToken;
    } catch (error) {
      if (!(error instanceof PlinthClientError) || error.code !== "UNAUTHENTICATED") throw error;
      if (this.#stored()?.version === version) this.#end("ended");
      return undefined;
    }
  }

  #stored(): StoredSession | undefined {
    return readStored(this.#options.storage, this.#options.key);
  }

  #shareable(): SharedToken | undefined {
    return isFresh(this.#access) && this.#version !== undefined
      ? { version: this.#version, access: this.#access }
      : undefined;
  }

  /** Takes a token of another tab, unless it belongs to a session that has been replaced. */
  #receive(token: SharedToken): void {
    this.#received = token;
    if (token.version === this.#stored()?.version) this.#use(token);
  }

  #use({ version, access }: SharedToken): void {
    this.#version = version;
    this.#access = access;
    const { current } = this.#state;
    if (current.status !== "signed-in" || current.userId !== access.userId)
      this.#state.set({ status: "signed-in", userId: access.userId });
  }

  #forget(reason: "signed-out" | "ended" | "other-tab"): void {
    this.#access = undefined;
    this.#version = undefined;
    this.#received = undefined;
    if (this.#state.current.status === "signed-in") this.#state.set({ status: "signed-out", reason });
  }

  readonly #onStorage = ({ key }: { key?: string | null }): void => {
    // The key is null when the whole storage was cleared.
    if (key != null && key !== this.#options.key) return;
    const stored = this.#stored();
    const { current } = this.#state;
    if (!stored) this.#forget("other-tab");
    else if (current.status === "signed-out" || current.userId !== stored.userId) {
      this.#access = undefined;
      this.#state.set(stateOf(stored, "other-tab"));
    }
  };
}

function stateOf(stored: StoredSession | undefined, reason: "none" | "other-tab"): SessionState {
  return stored ? { status: "signed-in", userId: stored.userId } : { status: "signed-out", reason };
}
