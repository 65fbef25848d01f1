import type { Answer, AnswerMessage, Piece } from "./answer.ts";

/** An answer of the subscription FOLLOW_ANSWER. */
export interface Deltas {
  readonly messageDeltas: {
    readonly sequence: number;
    readonly isOver: boolean;
    readonly deltas: readonly {
      readonly sequence: number;
      readonly content: string;
      readonly thinking: string;
    }[];
    readonly message: AnswerMessage | null;
  };
}

/** Subscribes to FOLLOW_ANSWER. */
export type Follow = (
  messageId: string,
  after: number,
  signal: AbortSignal | undefined,
) => AsyncIterable<Deltas>;

/** Follows an answer from its creation on, whether or not its pieces are read. */
export class StreamedAnswer implements Answer {
  readonly id: Promise<string>;
  readonly message: Promise<AnswerMessage>;
  readonly cancel: () => Promise<void>;
  readonly #pieces: Piece[] = [];
  #sequence: number;
  /** Resolves with the next piece, and at the end. */
  #news = Promise.withResolvers<void>();
  #isOver = false;

  constructor(
    id: Promise<string>,
    follow: (id: string) => AsyncIterable<Deltas>,
    after: number,
    cancel: () => Promise<void>,
  ) {
    this.id = id;
    this.cancel = cancel;
    this.#sequence = after;
    this.message = this.#read(follow).finally(() => {
      this.#isOver = true;
      this.#news.resolve();
    });
    // A caller who only reads the pieces gets the error from them.
    for (const promise of [this.id, this.message]) promise.catch(() => {});
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Piece, void, void> {
    for (let index = 0; ; ) {
      while (index < this.#pieces.length) yield this.#pieces[index++]!;
      if (this.#isOver) break;
      await this.#news.promise;
    }
    await this.message;
  }

  async #read(follow: (id: string) => AsyncIterable<Deltas>): Promise<AnswerMessage> {
    let ended: AnswerMessage | null = null;
    for await (const { messageDeltas } of follow(await this.id)) {
      const { deltas, sequence, isOver, message } = messageDeltas;
      if (isOver) ended = message;
      const isComplete = (deltas[0]?.sequence ?? sequence + 1) === this.#sequence + 1;
      const hasNews = sequence > this.#sequence;
      this.#sequence = sequence;
      if (!isComplete && message && isOver) {
        const { content, thinking } = message;
        this.#add({ content, thinking: thinking ?? "", sequence, isWhole: true });
      } else if (hasNews) {
        const join = (part: "content" | "thinking") => deltas.map((delta) => delta[part]).join("");
        this.#add({ content: join("content"), thinking: join("thinking"), sequence });
      }
    }
    if (!ended) throw new DOMException("The client has stopped following the answer.", "AbortError");
    return ended;
  }

  #add(piece: Piece): void {
    this.#pieces.push(piece);
    this.#news.resolve();
    this.#news = Promise.withResolvers();
  }
}
