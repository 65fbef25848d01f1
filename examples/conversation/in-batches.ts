/** The maximum for one call. */
const MAX_BATCH = 1_000;
/** A batch ends once it has this many characters, well below the maximum size of a request. */
const MAX_CHARACTERS = 50_000;

/**
 * Groups the pieces of a stream: each batch contains the pieces that arrived since the last one was taken.
 * @throws the stream's error, after all pieces before it
 */
export async function* inBatches(pieces: AsyncIterable<string>): AsyncGenerator<string[]> {
  const waiting: string[] = [];
  let isOver = false;
  let isLeft = false;
  let failure: unknown;
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
      failure = error ?? new Error("The stream failed.");
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
  if (failure !== undefined) throw failure;
}

function batchLength(pieces: readonly string[]): number {
  let length = 0;
  let characters = 0;
  while (length < Math.min(pieces.length, MAX_BATCH) && (length === 0 || characters < MAX_CHARACTERS))
    characters += pieces[length++]!.length;
  return length;
}
