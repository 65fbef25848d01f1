/** A piece of an answer, to be appended. */
export interface Piece {
  readonly content: string;
  readonly thinking: string;
  /** Number of the last delta in it; pass it to `follow` to resume here. */
  readonly sequence: number;
  /** If set, the piece is the whole answer and replaces what came before: its deltas have been deleted meanwhile. */
  readonly isWhole?: true;
}

/** An answer as it ended. */
export interface AnswerMessage {
  readonly id: string;
  readonly state: "complete" | "broken_off" | "cancelled";
  readonly finishReason: string | null;
  readonly content: string;
  readonly thinking: string | null;
  readonly tokensUsed: number | null;
  readonly errorCode: string | null;
  readonly errorMessage: string | null;
}

/** An answer as it streams in. Each `for await` receives all pieces from the start. */
export interface Answer extends AsyncIterable<Piece> {
  /** Resolves as soon as the answer has a message. */
  readonly id: Promise<string>;
  /** Resolves when the answer has ended, also if it was cancelled or broken off: see its `state`. */
  readonly message: Promise<AnswerMessage>;
  /** Asks the server to stop; the answer keeps the text so far. */
  cancel(): Promise<void>;
}
