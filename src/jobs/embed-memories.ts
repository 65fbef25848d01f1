import { PlinthError } from "../support/errors.ts";
import type { JobContext, JobFunction } from "./job.ts";
import type { MemoryEmbeddings } from "./memory-embeddings.ts";

interface DueMemory {
  readonly memory_id: string;
  readonly user_id: string;
  readonly content: string;
  readonly content_digest: string;
  readonly wrapped_key: string;
}

interface OpenedMemory extends DueMemory {
  readonly text: string;
}

/** Some endpoints accept no more texts in a request. */
const BATCH_SIZE = 32;

/**
 * Makes the vectors of new and changed memories, and those of another model again. A text that the model rejects gets none. If the
 * endpoint fails, its texts are postponed, which plinth doctor reports: a failed run for each minute of an outage would say less.
 */
export const embedMemories: JobFunction = async (context) => {
  const { query, signal, embeddings } = context;
  const done = { embedded: 0, refused: 0, postponed: 0 };
  // A worker without the setting or the keys leaves the memories to one that has them.
  if (!embeddings || !(await hasVectors(context))) return done;
  for (;;) {
    const due = (await query("select * from private.memories_to_embed($1, $2)", [
      embeddings.model,
      BATCH_SIZE,
    ])) as unknown as DueMemory[];
    const opened = due.flatMap((memory) => open(embeddings, memory));
    const closed = due.filter(({ memory_id }) => !opened.some((memory) => memory.memory_id === memory_id));
    for (const memory of closed) await store(memory, null);
    await embed(opened);
    if (due.length < BATCH_SIZE || done.postponed > 0 || signal.aborted) return done;
  }

  async function embed(memories: readonly OpenedMemory[]): Promise<void> {
    const texts = memories.map(({ text }) => text);
    try {
      const vectors = await embeddings!.embed(texts, signal);
      for (const [index, memory] of memories.entries()) await store(memory, vectors[index]!);
    } catch (error) {
      if (!(error instanceof PlinthError)) throw error;
      if (error.code !== "EMBEDDINGS_REFUSED") return postpone(memories, error);
      const [first, ...others] = memories;
      if (first && others.length === 0) return store(first, null);
      // The rejection does not say which text is at fault.
      for (const memory of memories) await embed([memory]);
    }
  }

  /** @param vector null for a text that no later attempt would bring a vector */
  async function store(memory: DueMemory, vector: number[] | null): Promise<void> {
    const [row] = await query("select private.store_memory_embedding($1, $2, $3, $4) as stored", [
      memory.memory_id,
      memory.content_digest,
      embeddings!.model,
      vector && JSON.stringify(vector),
    ]);
    if (row?.stored) done[vector ? "embedded" : "refused"] += 1;
  }

  async function postpone(memories: readonly DueMemory[], { message }: Error): Promise<void> {
    const ids = memories.map(({ memory_id }) => memory_id);
    await query("select private.postpone_memory_embeddings($1, $2)", [ids, message]);
    done.postponed += ids.length;
  }
};

async function hasVectors({ query }: JobContext): Promise<boolean> {
  const [row] = await query("select to_regclass('private.memory_embeddings') is not null as enabled", []);
  return row?.enabled === true;
}

/** Returns nothing for a memory that no key of this worker opens. */
function open(embeddings: MemoryEmbeddings, memory: DueMemory): OpenedMemory[] {
  try {
    return [{ ...memory, text: embeddings.open(memory.user_id, memory.wrapped_key, memory.content) }];
  } catch (error) {
    if (error instanceof PlinthError) return [];
    throw error;
  }
}
