/** A part of an answer, as it arrived. */
export interface Piece {
  readonly content: string;
  readonly thinking: string;
}

/** The maximum for one call. */
const MAX_BATCH = 1_000;
/** A batch ends once it has this many characters. */
const MAX_CHARACTERS = 50_000;

/**
 * Groups the pieces of a stream: each batch contains the pieces that arrived since the last one was taken. A fast model therefore
 * needs no more calls than a slow one.
 * @throws the stream's error, after all pieces before it
 */
export async function* inBatches(pieces: AsyncIterable<Piece>): AsyncGenerator<Piece[]> {
  const waiting: Piece[] = [];
  let isOver = false;
  let isLeft = false;
  let failure: { readonly error: unknown } | undefined;
  let wake = () => {};
  void (async () => {
    try {
      for await (const piece of pieces) {
        // Ends the source stream.
        if (isLeft) break;
        waiting.push(piece);
        wake();
      }
    } catch (error) {
      failure = { error };
    }
    isOver = true;
    wake();
  })();
  try {
    for (;;) {
      if (waiting.length > 0) yield waiting.splice(0, batchLength(waiting));
      else if (isOver) break;
      else await new Promise<void>((resolve) => (wake = resolve));
    }
  } finally {
    isLeft = true;
  }
  if (failure) throw failure.error;
}

function batchLength(pieces: readonly Piece[]): number {
  let length = 0;
  let characters = 0;
  while (length < Math.min(pieces.length, MAX_BATCH) && (length === 0 || characters < MAX_CHARACTERS)) {
    const { content, thinking } = pieces[length++]!;
    characters += content.length + thinking.length;
  }
  return length;
}
