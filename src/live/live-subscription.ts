import type { ExecutionResult } from "graphql";
import { isTransient, NOT_FOUND } from "../request/public-error.ts";
import { PlinthError } from "../support/errors.ts";
import type { GroupMember } from "./batch-groups.ts";
import type { Hub, Listener } from "./hub.ts";
import type { LiveItem, LiveSource, Reading, ReadingSubscription, SharedAnswer } from "./live-source.ts";

const FIRST_RETRY_MS = 100;
const LONGEST_RETRY_MS = 5_000;

/**
 * A subscription from start to end. Between batches it holds only a cursor and one bit of news: a slow subscriber has no
 * queue, it reads from its cursor when it is ready.
 *
 * A batch: the socket has taken the last answer (`demand`) and there is news → the operation is executed, or shares the
 * answer of another subscription to the same operation (`GroupMember`) → its plan reports what it read → `settle` decides
 * whether the answer is sent and only then advances the cursor. A batch that fails because the database is unavailable is
 * retried from the same cursor.
 */
export class LiveSubscription implements Listener, ReadingSubscription {
  readonly #hub: Hub;
  readonly #member: GroupMember | undefined;
  readonly #onEnd: () => void;
  #source: LiveSource | undefined;
  readonly #listening = new Map<string, () => void>();
  #cursor = 0n;
  /** The last sequence of the log at some moment before the current batch. */
  #position = 0n;
  /** The highest hint since the last batch started, by topic. */
  #news = new Map<string, bigint>();
  /** A notification may have been lost, or the last batch left rows unread. */
  #mustRead = true;
  #isDemanded = false;
  #onShared: (result: ExecutionResult) => void = () => {};
  #isEnded = false;
  #hasSent = false;
  #lastSent: string | undefined;
  #notBefore = 0;
  #changesAt = Number.POSITIVE_INFINITY;
  #retries = 0;
  #reading: Reading | undefined;
  #mustCheckAccess = false;
  #timer: NodeJS.Timeout | undefined;
  #woken = Promise.withResolvers<void>();

  /** @param options.member if omitted, every batch is executed */
  constructor(options: { hub: Hub; member?: GroupMember; onEnd?: () => void }) {
    this.#hub = options.hub;
    this.#member = options.member;
    this.#onEnd = options.onEnd ?? (() => {});
  }

  /** Returns the batches, for Grafast. Throws NOT_FOUND when the subscriber may not, or no longer, see the topic. */
  start(source: LiveSource): AsyncIterableIterator<LiveItem> {
    this.#source = source;
    const batches = this.#batches(source);
    const end = () => this.end();
    return {
      [Symbol.asyncIterator]() {
        return this;
      },
      next: () => batches.next(),
      async return() {
        end();
        return { done: true, value: undefined };
      },
      async throw() {
        end();
        return { done: true, value: undefined };
      },
    };
  }

  /** The topics listened to now; the first topic of the source stays the first. */
  get topics(): readonly string[] {
    return [...this.#listening.keys()];
  }

  onHint(topic: string, sequence: bigint): void {
    const known = this.#news.get(topic);
    if (known === undefined || sequence > known) this.#news.set(topic, sequence);
    this.#wake();
  }

  onGap(): void {
    this.#mustRead = true;
    this.#wake();
  }

  /**
   * Requests the next answer, after the last one was sent.
   * @param onShared called with an answer that another subscription's execution produced
   */
  demand(onShared: (result: ExecutionResult) => void): void {
    this.#onShared = onShared;
    this.#isDemanded = true;
    this.#wake();
  }

  /** Records what the current batch found. */
  report(reading: Reading): void {
    this.#reading = reading;
  }

  /** Ends a batch. @returns whether to send its answer */
  settle(result: ExecutionResult): boolean {
    const reading = this.#reading;
    this.#reading = undefined;
    const isWhole = !result.errors && !("hasNext" in result);
    this.#member?.settle(reading && isWhole ? { result, reading } : undefined);
    if (result.errors?.some(({ originalError }) => isTransient(originalError))) {
      this.#retryLater();
      return false;
    }
    this.#retries = 0;
    if (!reading) {
      // The error is permanent, so it is the last answer sent.
      this.end();
      return true;
    }
    this.#advance(reading);
    const isFirst = !this.#hasSent;
    this.#hasSent = true;
    if (reading.isOver) {
      this.end();
      return true;
    }
    // The batch may be empty because the subscriber has lost access to the topic.
    this.#mustCheckAccess = reading.isEmpty && !isFirst;
    if (this.#source!.isLog) return isFirst || !reading.isEmpty;
    const text = JSON.stringify(result.data);
    if (text === this.#lastSent) return false;
    this.#lastSent = text;
    return true;
  }

  /** Stops listening. Idempotent. */
  end(): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    clearTimeout(this.#timer);
    this.#listenTo([]);
    this.#member?.leave();
    this.#wake();
    this.#onEnd();
  }

  async *#batches(source: LiveSource): AsyncGenerator<LiveItem, void> {
    try {
      // Before the first read, so that no news is missed.
      this.#listenTo(source.topics);
      const position = await source.open();
      if (position === null) throw notFound();
      if (source.after !== null && source.after > position)
        throw new PlinthError("BAD_USER_INPUT", `\`after\` is greater than the last sequence, ${position}.`, {
          field: "after",
        });
      this.#position = position;
      this.#cursor = source.after ?? position;
      while (!this.#isEnded) {
        if (this.#mustCheckAccess) await this.#checkAccess(source);
        else if (!this.#isReady()) await this.#sleep();
        else {
          const item = this.#beginBatch(source);
          const shared = source.isShareable ? await this.#member?.takeBatch(item.after) : undefined;
          if (shared) this.#take(shared);
          else if (!this.#isEnded) yield item;
        }
      }
    } finally {
      this.end();
    }
  }

  #isReady(): boolean {
    const now = Date.now();
    const hasNews = this.#mustRead || this.#news.size > 0 || now >= this.#changesAt;
    return this.#isDemanded && hasNews && now >= this.#notBefore;
  }

  #beginBatch(source: LiveSource): LiveItem {
    const isAboutAll = this.#mustRead || this.#news.size === 0;
    const topics = isAboutAll ? null : [...this.#news.keys()];
    this.#news = new Map();
    this.#mustRead = false;
    this.#isDemanded = false;
    this.#changesAt = Number.POSITIVE_INFINITY;
    this.#notBefore = Date.now() + source.minIntervalMs;
    return { after: String(this.#cursor), topics, subscription: this };
  }

  #take({ result, reading }: SharedAnswer): void {
    if (this.#isEnded) return;
    this.#reading = reading;
    this.#onShared(result);
  }

  #advance(reading: Reading): void {
    if (reading.cursor !== undefined && reading.cursor > this.#cursor) this.#cursor = reading.cursor;
    // The entries up to there are not visible to the subscriber, so they need not be scanned again.
    else if (reading.isEmpty && this.#position > this.#cursor) this.#cursor = this.#position;
    if (reading.hasMore) this.#mustRead = true;
    if (reading.changesAt !== undefined) this.#changesAt = reading.changesAt;
    if (reading.topics) this.#listenTo(reading.topics);
    // Drops hints of entries that this batch already found.
    if (this.#source!.isLog && !reading.mayEnd)
      for (const [topic, sequence] of this.#news) if (sequence <= this.#cursor) this.#news.delete(topic);
  }

  async #checkAccess(source: LiveSource): Promise<void> {
    try {
      const position = await source.open();
      if (position === null) throw notFound();
      this.#position = position;
      this.#mustCheckAccess = false;
    } catch (error) {
      if (!isTransient(error)) throw error;
      this.#retryLater();
      await this.#sleep();
    }
  }

  #retryLater(): void {
    this.#mustRead = true;
    const delay = Math.min(FIRST_RETRY_MS * 2 ** this.#retries++, LONGEST_RETRY_MS);
    this.#notBefore = Date.now() + delay * (0.75 + Math.random() / 2);
  }

  #listenTo(topics: readonly string[]): void {
    const wanted = new Set(topics);
    for (const [topic, forget] of this.#listening) {
      if (wanted.has(topic)) continue;
      forget();
      this.#listening.delete(topic);
    }
    for (const topic of wanted)
      if (!this.#listening.has(topic)) this.#listening.set(topic, this.#hub.add(topic, this));
  }

  /** Waits for a wake-up or until the next batch is due. */
  async #sleep(): Promise<void> {
    const now = Date.now();
    const hasNews = this.#mustRead || this.#mustCheckAccess || this.#news.size > 0;
    const dueAt = hasNews ? this.#notBefore : Math.max(this.#notBefore, this.#changesAt);
    clearTimeout(this.#timer);
    if (dueAt > now && dueAt !== Number.POSITIVE_INFINITY)
      // A millisecond longer, because a timer may fire a millisecond early.
      this.#timer = setTimeout(() => this.#wake(), Math.min(dueAt - now + 1, 2 ** 31 - 1)).unref();
    await this.#woken.promise;
    this.#woken = Promise.withResolvers();
  }

  #wake(): void {
    this.#woken.resolve();
  }
}

function notFound(): PlinthError {
  return new PlinthError(NOT_FOUND.code, "Not found.");
}
