import type { Logger } from "pino";
import { type RequestContext, requireClaims } from "../../request/context.ts";
import type { CallPrivateFunction } from "../../request/service-caller.ts";
import { PlinthError } from "../../support/errors.ts";
import type { UserKeys } from "../conversation-memory/user-keys.ts";
import type { Embedder } from "./embedder.ts";
import {
  type CreateMemoryInput,
  checkFirst,
  checkMemory,
  type Memory,
  type MemoryKind,
  type MemoryRow,
  type UpdateMemoryInput,
} from "./memory.ts";
import { createRecall, type RecalledMemory } from "./recall.ts";
import { openRows, sealText } from "./sealed-memories.ts";

export interface MemoryPage {
  readonly nodes: readonly Memory[];
  /** Whether older memories follow. */
  readonly hasNextPage: boolean;
  /** The id of the last memory, for `after`; null on an empty page. */
  readonly endCursor: string | null;
}

interface ListMemoriesInput {
  readonly first: number;
  readonly after?: string | null;
  readonly kind?: MemoryKind | null;
}

/** All but `recallForAnswer` act for the caller, and reject with PlinthError UNAUTHENTICATED for a visitor. */
export interface Memories {
  /** @throws PlinthError BAD_USER_INPUT; PL402, PL404, PL422 as private.create_memory */
  create(input: CreateMemoryInput, request: RequestContext): Promise<Memory>;
  /** @throws PlinthError BAD_USER_INPUT, NOT_FOUND; PL404, PL409, PL422 as private.update_memory */
  update(input: UpdateMemoryInput, request: RequestContext): Promise<Memory>;
  /** @throws PL404 */
  delete(id: string, request: RequestContext): Promise<void>;
  /** Deletes all memories and shreds their encryption key. @returns their number */
  deleteAll(request: RequestContext): Promise<number>;
  /** Newest first. */
  list(input: ListMemoriesInput, request: RequestContext): Promise<MemoryPage>;
  /** All memories, a page at a time, newest first. */
  pages(request: RequestContext): AsyncGenerator<readonly Memory[]>;
  /** Best first. */
  recall(query: string, first: number, request: RequestContext): Promise<RecalledMemory[]>;
  /** For the writer of an answer to a user: recalls the user's memories and records it. */
  recallForAnswer(context: AnswerContext, request: RequestContext): Promise<RecalledMemory[]>;
}

interface AnswerContext {
  readonly userId: string;
  /** The text that the user wrote. */
  readonly query: string;
  readonly first: number;
  /** The room that the answer is for; absent for a chat. A room with other people gets no memories. */
  readonly roomId?: string | undefined;
}

/** Only deleting all memories shreds the key, so more than a few times in a row means a faulty client. */
const ATTEMPTS = 5;
const EXPORT_PAGE = 100;

/** Memories are encrypted and hashed here, not in SQL: the database, its logs, backups and replicas never see the plaintext. */
export function createMemories(parts: {
  callPrivateFunction: CallPrivateFunction;
  /** Of the purpose "memories". */
  userKeys: UserKeys;
  /** Undefined where recall by meaning is off. */
  embedder: Embedder | undefined;
  logger: Logger;
}): Memories {
  const { callPrivateFunction, userKeys } = parts;
  const recall = createRecall(parts);

  async function list({ first, after = null, kind = null }: ListMemoriesInput, request: RequestContext) {
    checkFirst(first);
    const { userId } = requireClaims(request);
    const key = await userKeys.find(userId, request);
    if (!key) return { nodes: [], hasNextPage: false, endCursor: null };
    const rows = await callPrivateFunction<MemoryRow>(
      request,
      "select * from private.list_memories($1, $2, $3, $4)",
      [userId, first + 1, after, kind],
    );
    const nodes = openRows(key, rows.slice(0, first));
    return { nodes, hasNextPage: rows.length > first, endCursor: nodes.at(-1)?.id ?? null };
  }

  return {
    async create(input, request) {
      const { userId } = requireClaims(request);
      checkMemory(input);
      const { kind, source, importance, confidence, chatId, roomId, expiresAt } = input;
      for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
        const key = await userKeys.findOrMake(userId, request);
        const { content, word_hashes } = sealText(key, input.text);
        const rows = await callPrivateFunction<MemoryRow>(
          request,
          "select * from private.create_memory($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
          [
            userId,
            key.id,
            content,
            word_hashes,
            kind ?? "fact",
            source ?? "user",
            importance ?? 3,
            confidence ?? 1,
            chatId,
            roomId,
            expiresAt,
          ],
        );
        const [memory] = openRows(key, rows);
        if (memory) return memory;
        // The key was shredded after it was read, so the memory is written with the next one.
      }
      throw new PlinthError("CONFLICT", "The memories are being deleted; try again.");
    },

    async update(input, request) {
      const { userId } = requireClaims(request);
      checkMemory(input);
      const key = await userKeys.find(userId, request);
      if (!key) throw notFound();
      const { id, expectedVersion, text, kind, importance, confidence, expiresAt } = input;
      const changes = {
        ...(text != null && sealText(key, text)),
        kind: kind ?? undefined,
        importance: importance ?? undefined,
        confidence: confidence ?? undefined,
        ...(expiresAt !== undefined && { expires_at: expiresAt }),
      };
      const rows = await callPrivateFunction<MemoryRow>(
        request,
        "select * from private.update_memory($1, $2, $3, $4, $5)",
        [userId, id, key.id, JSON.stringify(changes), expectedVersion],
      );
      return openRows(key, rows)[0]!;
    },

    async delete(id, request) {
      const { userId } = requireClaims(request);
      await callPrivateFunction(request, "select private.delete_memory($1, $2)", [userId, id]);
    },

    async deleteAll(request) {
      const { userId } = requireClaims(request);
      const text = "select private.delete_memories($1) as count";
      const [row] = await callPrivateFunction<{ count: number }>(request, text, [userId]);
      return row!.count;
    },

    list,

    async *pages(request) {
      let after: string | null = null;
      for (;;) {
        const page: MemoryPage = await list({ first: EXPORT_PAGE, after }, request);
        if (page.nodes.length > 0) yield page.nodes;
        if (!page.hasNextPage) return;
        after = page.endCursor;
      }
    },

    async recall(query, first, request) {
      checkFirst(first);
      return recall({ userId: requireClaims(request).userId, query, first }, request);
    },

    async recallForAnswer({ userId, query, first, roomId }, request) {
      checkFirst(first);
      if (roomId !== undefined && !(await mayRecallIn(roomId, userId, request))) return [];
      const found = await recall({ userId, query, first }, request);
      if (found.length > 0)
        await callPrivateFunction(request, "select private.record_recall($1, $2)", [
          userId,
          found.map(({ memory }) => memory.id),
        ]);
      return found;
    },
  };

  async function mayRecallIn(roomId: string, userId: string, request: RequestContext): Promise<boolean> {
    const text = "select private.may_recall_in_room($1, $2) as allowed";
    const [row] = await callPrivateFunction<{ allowed: boolean }>(request, text, [userId, roomId]);
    return row!.allowed;
  }
}

function notFound(): PlinthError {
  return new PlinthError("NOT_FOUND", "Memory not found.", { field: "id" });
}
