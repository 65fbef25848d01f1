import { codeOf, type GraphqlError, PlinthClientError } from "../error.ts";
import { TRANSIENT_CODES } from "../error-codes.ts";
import { backOff } from "../support/sleep.ts";
import { type Readable, Store } from "../support/store.ts";
import type { Tokens } from "../tokens.ts";

/** `waiting`: the connection was lost and is tried again. */
export type ConnectionState = "idle" | "connecting" | "open" | "waiting";

interface Answer {
  readonly data?: unknown;
  readonly errors?: readonly GraphqlError[];
}

/** An open subscription, as the socket sees it. */
export interface Subscriber {
  readonly query: string;
  /** Called for each start, so that a cursor in them resumes at the right place. */
  variables(): Readonly<Record<string, unknown>>;
  next(data: unknown): void;
  /** The end: by the server, or with an error. */
  end(error?: PlinthClientError): void;
}

interface Message {
  readonly type: string;
  readonly id?: string;
  readonly payload?: unknown;
}

/** A connection that stays silent for longer, even after a ping, is dead; a broken network may not close it. */
const SILENCE_MS = 10_000;
/** The server's close codes: the token is invalid or expired, or its session is revoked. */
const REJECTED = new Set([4401, 4403]);

/**
 * The WebSocket of a client (graphql-transport-ws). It is open while there are subscriptions, and reconnects with growing
 * delays. After each connection all subscriptions are started again, with their variables of that moment.
 */
export class LiveSocket {
  readonly #url: string;
  readonly #WebSocket: typeof WebSocket;
  readonly #tokens: Tokens;
  readonly #state = new Store<ConnectionState>("idle");
  /** By the id of their current start; answers to an earlier start are ignored. */
  readonly #subscribers = new Map<string, Subscriber>();
  #socket: WebSocket | undefined;
  #token: string | undefined;
  #isRejected = false;
  #failures = 0;
  #lastId = 0;
  #attempt = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #watch: ReturnType<typeof setInterval> | undefined;

  constructor(url: string, socketClass: typeof WebSocket, tokens: Tokens) {
    this.#url = url;
    this.#WebSocket = socketClass;
    this.#tokens = tokens;
  }

  get state(): Readable<ConnectionState> {
    return this.#state;
  }

  /** @returns a function that ends the subscription */
  open(subscriber: Subscriber): () => void {
    const id = this.#add(subscriber);
    if (this.#state.current === "open") this.#start(id, subscriber);
    else if (this.#state.current === "idle") void this.#connect();
    return () => {
      for (const [id, other] of this.#subscribers) if (other === subscriber) this.#remove(id);
    };
  }

  /** Ends all subscriptions, without or with an error. */
  endAll(error?: PlinthClientError): void {
    const all = [...this.#subscribers.values()];
    this.#subscribers.clear();
    this.#disconnect();
    for (const subscriber of all) subscriber.end(error);
  }

  #add(subscriber: Subscriber): string {
    const id = String(++this.#lastId);
    this.#subscribers.set(id, subscriber);
    return id;
  }

  #remove(id: string): void {
    this.#stop(id);
    if (this.#subscribers.size === 0) this.#disconnect();
  }

  /** Stops a start; the server ignores the message if it has ended already. */
  #stop(id: string): void {
    if (this.#subscribers.delete(id)) this.#send({ id, type: "complete" });
  }

  async #connect(): Promise<void> {
    const attempt = ++this.#attempt;
    // Otherwise everything has ended while the token was fetched.
    const isCurrent = () => attempt === this.#attempt;
    const rejected = this.#isRejected ? this.#token : undefined;
    this.#isRejected = false;
    this.#state.set("connecting");
    try {
      const token = await (rejected === undefined ? this.#tokens.token() : this.#tokens.renew(rejected));
      if (!isCurrent()) return;
      if (rejected !== undefined && token === undefined) {
        const message = "The session has ended. Sign in again.";
        return this.endAll(new PlinthClientError("UNAUTHENTICATED", message));
      }
      this.#token = token;
      this.#listen(new this.#WebSocket(this.#url, PROTOCOL));
    } catch {
      if (isCurrent()) this.#retry();
    }
  }

  #listen(socket: WebSocket): void {
    this.#socket = socket;
    let lastHeard = Date.now();
    clearInterval(this.#watch);
    this.#watch = setInterval(() => {
      const silence = Date.now() - lastHeard;
      if (silence > SILENCE_MS * 2) lost();
      else if (silence > SILENCE_MS && this.#state.current === "open") this.#send({ type: "ping" });
    }, SILENCE_MS / 2);
    // Called by the first sign of the end; without a network, a socket never closes itself.
    const lost = (event?: { readonly code?: number }) => {
      if (this.#socket !== socket) return;
      clearInterval(this.#watch);
      this.#isRejected = this.#token !== undefined && REJECTED.has(event?.code ?? 0);
      this.#socket = undefined;
      socket.close();
      this.#retry();
    };
    socket.onopen = () =>
      this.#send({
        type: "connection_init",
        payload: this.#token ? { authorization: `Bearer ${this.#token}` } : {},
      });
    socket.onclose = lost;
    socket.onerror = () => lost();
    socket.onmessage = ({ data }) => {
      if (this.#socket !== socket) return;
      lastHeard = Date.now();
      this.#receive(JSON.parse(String(data)));
    };
  }

  #receive({ type, id = "", payload }: Message): void {
    if (type === "ping") this.#send({ type: "pong" });
    else if (type === "connection_ack") {
      this.#failures = 0;
      this.#state.set("open");
      for (const [id, subscriber] of [...this.#subscribers]) this.#start(id, subscriber);
    }
    const subscriber = this.#subscribers.get(id);
    if (!subscriber) return;
    if (type === "next") {
      const { data, errors } = payload as Answer;
      if (errors) this.#fail(id, subscriber, errors, data);
      else subscriber.next(data);
    } else if (type === "error") this.#fail(id, subscriber, payload as readonly GraphqlError[]);
    else if (type === "complete") {
      this.#remove(id);
      subscriber.end();
    }
  }

  /** Starts a subscription again after a passing error, and ends it after any other. */
  #fail(id: string, subscriber: Subscriber, errors: readonly GraphqlError[], data?: unknown): void {
    const code = codeOf(errors[0]);
    const isRejected = code === "UNAUTHENTICATED" && this.#token !== undefined;
    if (!isRejected && !TRANSIENT_CODES.has(code)) {
      this.#remove(id);
      subscriber.end(PlinthClientError.of(errors, { data }));
      return;
    }
    this.#stop(id);
    const next = this.#add(subscriber);
    // The server closes the socket of a revoked token, too; whichever comes first counts.
    if (isRejected) {
      this.#isRejected = true;
      clearInterval(this.#watch);
      const socket = this.#socket;
      this.#socket = undefined;
      socket?.close();
      this.#retry();
      return;
    }
    setTimeout(() => {
      const isWaiting = this.#subscribers.get(next) === subscriber && this.#state.current === "open";
      if (isWaiting) this.#start(next, subscriber);
    }, backOff(3));
  }

  /** Under a new id each time, so that late answers to an earlier start do not count. */
  #start(id: string, subscriber: Subscriber): void {
    this.#subscribers.delete(id);
    const payload = { query: subscriber.query, variables: subscriber.variables() };
    this.#send({ id: this.#add(subscriber), type: "subscribe", payload });
  }

  #retry(): void {
    clearTimeout(this.#timer);
    this.#state.set("waiting");
    this.#timer = setTimeout(() => void this.#connect(), backOff(++this.#failures));
  }

  #disconnect(): void {
    clearTimeout(this.#timer);
    clearInterval(this.#watch);
    this.#attempt++;
    this.#isRejected = false;
    const socket = this.#socket;
    this.#socket = undefined;
    this.#failures = 0;
    this.#state.set("idle");
    socket?.close();
  }

  #send(message: Message): void {
    if (this.#socket?.readyState === OPEN) this.#socket.send(JSON.stringify(message));
  }
}

const PROTOCOL = "graphql-transport-ws";
/** WebSocket.OPEN */
const OPEN = 1;
