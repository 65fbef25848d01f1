import type { Logger } from "pino";
import type { RequestContext } from "../../request/context.ts";
import type { CallPrivateFunction } from "../../request/service-caller.ts";
import { quietly } from "../../support/quiet-log.ts";
import type { UserKey, UserKeys } from "../conversation-memory/user-keys.ts";
import type { Embedder } from "./embedder.ts";
import { fuse } from "./fuse.ts";
import type { Memory, MemoryRow } from "./memory.ts";
import { hasPhrases, type QueryWords, readQuery } from "./query-words.ts";
import { openRows } from "./sealed-memories.ts";
import { readWords } from "./text-words.ts";
import { createHashWords } from "./word-hashes.ts";

/** A memory that a query found, and why. */
export interface RecalledMemory {
  readonly memory: Memory;
  /** Orders the results of one query; says nothing across queries. */
  readonly score: number;
  readonly reasons: readonly RecallReason[];
  /** The words of the memory that the query has, without accents and in lower case. */
  readonly matchedWords: readonly string[];
  /** Cosine similarity of the meanings, at most 1; null if the vectors did not find the memory. */
  readonly similarity: number | null;
}

type RecallReason = "words" | "meaning";

/** Finds memories by words, and by meaning where vectors are enabled. */
export type Recall = (
  search: { readonly userId: string; readonly query: string; readonly first: number },
  request: RequestContext,
) => Promise<RecalledMemory[]>;

/** Each search contributes at most this many, so that a common word costs no more. */
const MAX_CANDIDATES = 100;
/** Less similar memories are left out: something is always nearest. */
const MIN_SIMILARITY = 0.3;
const MAX_EMBEDDED_CHARACTERS = 4_000;
/** A user waits for the results. */
const EMBEDDING_TIMEOUT_MS = 5_000;

export function createRecall(parts: {
  callPrivateFunction: CallPrivateFunction;
  userKeys: UserKeys;
  embedder: Embedder | undefined;
  logger: Logger;
}): Recall {
  const { callPrivateFunction, userKeys, embedder, logger } = parts;
  // Words find memories without the endpoint, so a failure of it is for operators.
  const logFailure = quietly((error: Error & { code?: string }, repeats: number) =>
    logger.warn({ code: error.code, repeats }, `Memories are recalled by words only: ${error.message}`),
  );
  let hasVectors = false;

  return async ({ userId, query, first }, request) => {
    const key = await userKeys.find(userId, request);
    if (!key) return [];
    const words = readQuery(query);
    const search: Search = { userId, words, hashes: hashesOf(key, words), request };
    const [byWords, byMeaning] = await Promise.all([
      findByWords(search),
      findByMeaning(search, query).catch((error: Error) => {
        logFailure(error);
        return [];
      }),
    ]);
    const similarities = new Map(byMeaning.map(({ memory_id, similarity }) => [memory_id, similarity]));
    const fused = fuse(
      byWords.map(({ memory_id }) => memory_id),
      [...similarities.keys()],
    );
    // Phrases are compared with the opened texts, so more memories are opened than are returned.
    const hasPhrase = words.phrases.length > 0 || words.excludedPhrases.length > 0;
    const wanted = hasPhrase ? fused : fused.slice(0, first);
    const memories = await open(
      search,
      key,
      wanted.map(({ id }) => id),
    );
    return wanted
      .flatMap(({ id, score, places: [wordPlace] }) => {
        const memory = memories.get(id);
        if (!memory || !hasPhrases(memory.text, words)) return [];
        const similarity = similarities.get(id) ?? null;
        const reasons: RecallReason[] = [];
        if (wordPlace !== undefined) reasons.push("words");
        if (similarity !== null) reasons.push("meaning");
        return [{ memory, score, reasons, matchedWords: matchedWords(memory.text, words), similarity }];
      })
      .slice(0, first);
  };

  async function findByWords({ userId, hashes, request }: Search) {
    const { any, all, none } = hashes;
    if (any.length === 0) return [];
    return callPrivateFunction<{ memory_id: string }>(
      request,
      "select memory_id from private.search_memories($1, $2, $3, $4, $5)",
      [userId, any, all, none, MAX_CANDIDATES],
    );
  }

  async function findByMeaning({ userId, hashes, request }: Search, query: string) {
    if (!embedder || query.trim() === "" || !(await vectorsAreEnabled(request))) return [];
    const text = query.slice(0, MAX_EMBEDDED_CHARACTERS);
    const [vector] = await embedder.embed([text], AbortSignal.timeout(EMBEDDING_TIMEOUT_MS));
    const found = await callPrivateFunction<{ memory_id: string; similarity: number }>(
      request,
      "select * from private.nearest_memories($1, $2, $3, $4, $5, $6)",
      [userId, embedder.model, JSON.stringify(vector), hashes.all, hashes.none, MAX_CANDIDATES],
    );
    return found.filter(({ similarity }) => similarity >= MIN_SIMILARITY);
  }

  /** Asked until they are enabled, so that enabling them needs no restart. */
  async function vectorsAreEnabled(request: RequestContext): Promise<boolean> {
    if (hasVectors) return true;
    const [row] = await callPrivateFunction<{ enabled: boolean }>(
      request,
      "select to_regclass('private.memory_embeddings') is not null as enabled",
      [],
    );
    hasVectors = row!.enabled;
    return hasVectors;
  }

  async function open({ userId, request }: Search, key: UserKey, ids: readonly string[]) {
    if (ids.length === 0) return new Map<string, Memory>();
    const text = "select * from private.read_memories($1, $2)";
    const rows = await callPrivateFunction<MemoryRow>(request, text, [userId, ids]);
    return new Map(openRows(key, rows).map((memory) => [memory.id, memory]));
  }
}

interface Search {
  readonly userId: string;
  readonly words: QueryWords;
  readonly hashes: { readonly any: string[]; readonly all: string[]; readonly none: string[] };
  readonly request: RequestContext;
}

function hashesOf({ key }: UserKey, { words, phrases, excludedWords }: QueryWords): Search["hashes"] {
  const hash = createHashWords(key);
  return { any: hash([...words, ...phrases.flat()]), all: hash(phrases.flat()), none: hash(excludedWords) };
}

function matchedWords(text: string, { words, phrases }: QueryWords): string[] {
  const wanted = new Set([...words, ...phrases.flat()]);
  return [
    ...new Set(
      readWords(text)
        .filter(({ form }) => wanted.has(form))
        .map(({ text }) => text),
    ),
  ];
}
