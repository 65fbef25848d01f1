import { Auth } from "./auth/auth.ts";
import { REFRESH } from "./auth/documents.ts";
import { Chat } from "./chat/chat.ts";
import { FOLLOW_ANSWER } from "./chat/documents.ts";
import type { Deltas } from "./chat/streamed-answer.ts";
import { Confirmation, type ConfirmIdentity } from "./confirmation.ts";
import type { TypedDocument, Untyped } from "./document.ts";
import { PlinthClientError } from "./error.ts";
import { type ConnectionState, LiveSocket } from "./live/socket.ts";
import { subscribe } from "./live/subscribe.ts";
import { type RequestOptions, Requests } from "./request.ts";
import { type Credentials, Session, type SessionState } from "./session/session.ts";
import { localStorageOfPage, memoryStorage, type TokenStorage } from "./session/storage.ts";
import type { Readable } from "./support/store.ts";
import { fixedToken } from "./tokens.ts";

/** The server, the session's storage, and what the client asks the user for. */
export interface ClientOptions {
  /** The server's address, such as `https://api.example.org`; in a page also a path, such as `/`. */
  readonly url: string;
  /**
   * Where the refresh token is kept. In a page the default is `localStorage`: the user stays signed in, in all tabs, but any
   * script of the page can read it. With `memoryStorage()`, the default in Node, a reload signs the user out.
   */
  readonly storage?: TokenStorage;
  /** Used instead of a session: the client acts with this API token and never refreshes it. */
  readonly apiToken?: string;
  /** Called when a mutation needs a recent sign-in; then the mutation is sent again. */
  readonly confirmIdentity?: ConfirmIdentity;
  /** Attempts after the first one, for queries and for mutations with an idempotency key; 3 by default. */
  readonly retries?: number;
  /** How long one attempt may take; 30,000 by default. */
  readonly timeoutMs?: number;
  readonly fetch?: typeof fetch;
  readonly WebSocket?: typeof WebSocket;
}

type Args<Variables, Options> =
  Record<string, never> extends Variables
    ? [variables?: Variables, options?: Options]
    : [variables: Variables, options?: Options];

type Variables = Readonly<Record<string, unknown>>;

interface SubscribeOptions {
  readonly signal?: AbortSignal | undefined;
}

/** A client of one server with one session. */
export interface PlinthClient {
  readonly auth: Auth;
  readonly chat: Chat;
  /** Whether a user is signed in, and why not. */
  readonly session: Readable<SessionState>;
  /** The state of the connection for subscriptions, to show that it was lost. */
  readonly connection: Readable<ConnectionState>;
  /**
   * Executes a query or mutation.
   * @throws PlinthClientError if the answer has errors; `data` then has the parts that succeeded
   */
  request<Result = Untyped>(
    document: string,
    variables?: Variables,
    options?: RequestOptions,
  ): Promise<Result>;
  request<Result, Variables>(
    document: TypedDocument<Result, Variables>,
    ...args: Args<Variables, RequestOptions>
  ): Promise<Result>;
  /**
   * Subscribes while the caller is in the loop, across lost connections. Declare `$after` and select `sequence` where the field
   * has them: then every event arrives once and in order.
   */
  subscribe<Result = Untyped>(
    document: string,
    variables?: Variables,
    options?: SubscribeOptions,
  ): AsyncIterableIterator<Result>;
  subscribe<Result, Variables>(
    document: TypedDocument<Result, Variables>,
    ...args: Args<Variables, SubscribeOptions>
  ): AsyncIterableIterator<Result>;
  /** A fresh access token, for requests of your own such as downloads; undefined while signed out. */
  token(): Promise<string | undefined>;
  /** Ends all subscriptions. The user stays signed in. */
  close(): void;
}

/** Creates a client of a Plinth server, for browsers and Node. */
export function createClient(options: ClientOptions): PlinthClient {
  const { storage = localStorageOfPage() ?? memoryStorage(), apiToken, confirmIdentity } = options;
  const url = endpointOf(options.url);
  const http = {
    url,
    fetch: options.fetch ?? ((...args: Parameters<typeof fetch>) => globalThis.fetch(...args)),
    timeoutMs: options.timeoutMs ?? 30_000,
  };
  const retries = options.retries ?? 3;
  const session: Session = new Session({
    storage: apiToken === undefined ? storage : memoryStorage(),
    isShared: apiToken === undefined && storage === localStorageOfPage(),
    key: `plinth ${url}`,
    // Within a minute the server returns the same successor again, so a lost answer is no harm.
    exchange: (refreshToken) =>
      requests.send<Credentials>(REFRESH, { input: { refreshToken } }, { token: null, retries }),
  });
  const tokens = apiToken === undefined ? session : fixedToken(apiToken);
  const confirmation =
    confirmIdentity &&
    new Confirmation(async () => {
      const proof = await confirmIdentity();
      if (proof) await auth.reauthenticate(proof);
      return proof !== undefined;
    });
  const requests = new Requests(http, tokens, { retries, confirmation });
  const auth = new Auth(requests.send, session);
  const socket = new LiveSocket(url.replace(/^http/, "ws"), options.WebSocket ?? WebSocket, tokens);
  // A socket belongs to one user: the next one opens another.
  const stopWatching = session.state.subscribe((state) => socket.endAll(reasonOf(state)));

  const live = <Result>(
    document: { toString(): string },
    variables: Variables = {},
    more: SubscribeOptions = {},
  ) => subscribe<Result>(socket, String(document), variables, more.signal);
  const chat = new Chat(requests.send, (message, after, signal) =>
    live<Deltas>(FOLLOW_ANSWER, { message, after }, { signal }),
  );
  const close = () => {
    stopWatching();
    socket.endAll();
    session.close();
  };
  return {
    auth,
    chat,
    session: session.state,
    connection: socket.state,
    request: (document: { toString(): string }, variables?: Variables, more?: RequestOptions) =>
      requests.request(String(document), variables, more) as Promise<Untyped>,
    subscribe: live,
    token: () => tokens.token(),
    close,
  };
}

function endpointOf(url: string): string {
  const { location } = globalThis as { location?: { href: string } };
  return new URL(`${url.replace(/\/$/, "")}/graphql`, location?.href).href;
}

/** Subscriptions end quietly when the user signs in or out, and with an error when the session has ended otherwise. */
function reasonOf(state: SessionState): PlinthClientError | undefined {
  return state.status === "signed-out" && state.reason === "ended"
    ? new PlinthClientError("UNAUTHENTICATED", "The session has ended. Sign in again.")
    : undefined;
}
