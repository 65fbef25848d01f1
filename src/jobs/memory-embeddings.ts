/** The parts that make vectors of memories: a model, and the keys to open texts with. */
export interface MemoryEmbeddings {
  /** Vectors of different models cannot be compared. */
  readonly model: string;
  /** @throws PlinthError EMBEDDINGS_REFUSED, EMBEDDINGS_FAILED */
  embed(texts: readonly string[], signal?: AbortSignal): Promise<number[][]>;
  /** @throws PlinthError if the text was not sealed for the user */
  open(userId: string, wrappedKey: string, content: string): string;
}
