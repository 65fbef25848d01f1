import { PlinthClientError } from "../error.ts";
import { randomId } from "../support/random-id.ts";
import { type Readable, Store } from "../support/store.ts";
import { isFresh, readAccessToken } from "./access-token.ts";
import { readStored, type StoredSession, type TokenStorage } from "./storage.ts";
import { type SharedToken, serves, TabChannel } from "./tab-channel.ts";
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
  #token: SharedToken | undefined;
  /** The last token of another tab. It may arrive before the storage shows the session that it belongs to. */
  #received: SharedToken | undefined;
  #refreshing: Promise<string | undefined> | undefined;

  constructor(options: SessionOptions) {
    this.#options = options;
    const { storage, isShared, key } = options;
    this.#state = new Store(stateOf(this.#stored(), "none"));
    this.#exclusively = isShared ? tabLock(key, storage) : (run) => run(false);
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
    if (isFresh(this.#token?.access)) return this.#token.access.token;
    this.#refreshing ??= this.#refresh().finally(() => {
      this.#refreshing = undefined;
    });
    return this.#refreshing;
  }

  /** The successor of a token that the server rejected; undefined if the session has ended. */
  renew(rejected: string): Promise<string | undefined> {
    if (this.#token?.access.token === rejected) this.#token = undefined;
    if (this.#received?.access.token === rejected) this.#received = undefined;
    return this.token();
  }

  /** Begins or continues a session. */
  adopt(credentials: Credentials): void {
    this.#store(credentials);
  }

  /** @param replaces the version whose refresh token was spent, unless the session is new */
  #store({ accessToken, refreshToken }: Credentials, replaces?: string): void {
    const { storage, key } = this.#options;
    const access = readAccessToken(accessToken);
    const version = randomId();
    const stored: StoredSession = { refreshToken, userId: access.userId, version };
    storage.setItem(key, JSON.stringify(stored));
    const token: SharedToken = { version, replaces, access };
    this.#use(token);
    this.#tabs?.tell(token);
  }

  /**
   * Forgets the session at once.
   * @returns a function that provides its last access token, to end it on the server, too
   */
  leave(): () => Promise<string | undefined> {
    const access = this.#token?.access;
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

  #refresh(): Promise<string | undefined> {
    const known = this.#stored()?.version;
    return this.#exclusively((waited) => this.#obtain(waited || this.#stored()?.version !== known));
  }

  /** @param elsewhere whether another tab may have the token already */
  async #obtain(elsewhere: boolean): Promise<string | undefined> {
    const stored = this.#stored();
    if (!stored) {
      this.#forget("other-tab");
      return undefined;
    }
    const { version } = stored;
    let token = this.#received && serves(this.#received, version) ? this.#received : undefined;
    if (!isFresh(token?.access) && elsewhere)
      token = isFresh(this.#token?.access) ? this.#token : await this.#tabs?.ask(version);
    if (!token || !isFresh(token.access)) return this.#exchange(stored);
    this.#use(token);
    return token.access.token;
  }

  async #exchange({ refreshToken, version }: StoredSession): Promise<string | undefined> {
    let credentials: Credentials | undefined;
    try {
      credentials = await this.#options.exchange(refreshToken);
    } catch (error) {
      if (!(error instanceof PlinthClientError) || error.code !== "UNAUTHENTICATED") throw error;
    }
    const stored = this.#stored();
    // The server gives one successor to all who send a token within a minute. So another tab may have stored it already.
    if (credentials && (stored?.version === version || stored?.refreshToken === credentials.refreshToken)) {
      this.#store(credentials, version);
      return credentials.accessToken;
    }
    // Signed out or signed in anew while the answer was on its way.
    if (stored?.version !== version) return this.#obtain(true);
    this.#end("ended");
    return undefined;
  }

  #stored(): StoredSession | undefined {
    return readStored(this.#options.storage, this.#options.key);
  }

  #shareable(): SharedToken | undefined {
    return isFresh(this.#token?.access) ? this.#token : undefined;
  }

  /** Takes a token of another tab, unless it belongs to a session that has been replaced. */
  #receive(token: SharedToken): void {
    this.#received = token;
    if (serves(token, this.#stored()?.version)) this.#use(token);
  }

  #use(token: SharedToken): void {
    this.#token = token;
    const { userId } = token.access;
    const { current } = this.#state;
    if (current.status !== "signed-in" || current.userId !== userId)
      this.#state.set({ status: "signed-in", userId });
  }

  #forget(reason: "signed-out" | "ended" | "other-tab"): void {
    this.#token = undefined;
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
      this.#token = undefined;
      this.#state.set(stateOf(stored, "other-tab"));
    }
  };
}

function stateOf(stored: StoredSession | undefined, reason: "none" | "other-tab"): SessionState {
  return stored ? { status: "signed-in", userId: stored.userId } : { status: "signed-out", reason };
}
