import { decryptFernet, encryptFernet } from "../../auth/fernet.ts";
import { type RequestContext, requireClaims } from "../../request/context.ts";
import type { CallPrivateFunction } from "../../request/service-caller.ts";
import { PlinthError } from "../../support/errors.ts";
import { parseExactJson } from "../../support/exact-json.ts";
import type { UserKeys } from "./user-keys.ts";

/** An assistant's memory of its user. */
export interface ConversationMemory {
  /** Any JSON value. */
  readonly memory: unknown;
  /** Opaque; differs after each change. */
  readonly version: string;
  /** ISO 8601. */
  readonly createdAt: string;
  readonly updatedAt: string;
}

export interface SetMemoryInput {
  readonly memory: unknown;
  /** The version the memory must still have; "0" if none may exist. */
  readonly expectedVersion?: string | null;
}

/** All reject with PlinthError UNAUTHENTICATED for a visitor and access only the caller's memory. */
export interface ConversationMemories {
  find(request: RequestContext): Promise<ConversationMemory | null>;
  /** @throws PlinthError BAD_USER_INPUT (too large, bad version); PL409 when `expectedVersion` is not the current one */
  set(input: SetMemoryInput, request: RequestContext): Promise<ConversationMemory>;
  /** Deletes the memory and shreds its encryption key. @returns whether a memory existed */
  delete(request: RequestContext): Promise<boolean>;
}

/** The UTF-8 text of the JSON document. */
const MAX_MEMORY_BYTES = 256 * 1024;
const VERSION = /^(0|[1-9]\d{0,17})$/;
/** Only the user shreds the key, so more than a few times in a row means a faulty client. */
const ATTEMPTS = 5;

interface WrittenRow {
  readonly version: string;
  readonly created_at: Date;
  readonly updated_at: Date;
}

interface StoredRow extends WrittenRow {
  readonly memory: string;
  readonly wrapped_key: string;
}

/** Memories are encrypted here, not in SQL: the database, its logs, backups and replicas never see the plaintext. */
export function createConversationMemories(parts: {
  callPrivateFunction: CallPrivateFunction;
  userKeys: UserKeys;
}): ConversationMemories {
  const { callPrivateFunction, userKeys } = parts;

  return {
    async find(request) {
      const { userId } = requireClaims(request);
      const text = "select * from private.find_conversation_memory($1)";
      const [row] = await callPrivateFunction<StoredRow>(request, text, [userId]);
      if (!row) return null;
      const plaintext = decryptFernet(userKeys.open(userId, row.wrapped_key), row.memory);
      return shape(parseExactJson(plaintext.toString()), row);
    },

    async set({ memory, expectedVersion = null }, request) {
      const { userId } = requireClaims(request);
      const plaintext = serialize(memory);
      if (expectedVersion !== null && !VERSION.test(expectedVersion))
        throw badInput("expectedVersion", "is not a valid version");
      for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
        const { id, key } = await userKeys.findOrMake(userId, request);
        const [row] = await callPrivateFunction<WrittenRow>(
          request,
          "select * from private.set_conversation_memory($1, $2, $3, $4)",
          [userId, id, encryptFernet(key, plaintext), expectedVersion],
        );
        if (row) return shape(parseExactJson(plaintext), row);
        // The key was shredded after it was read, so the memory is written with the next one.
      }
      throw new PlinthError("CONFLICT", "The memory is being deleted; try again.");
    },

    delete: async (request) => userKeys.shred(requireClaims(request).userId, request),
  };
}

function serialize(memory: unknown): string {
  const text = JSON.stringify(memory);
  if (text === undefined) throw badInput("memory", "is not JSON");
  if (Buffer.byteLength(text) > MAX_MEMORY_BYTES)
    throw badInput("memory", `may have at most ${MAX_MEMORY_BYTES} bytes as JSON`);
  return text;
}

function badInput(field: string, problem: string): PlinthError {
  return new PlinthError("BAD_USER_INPUT", `\`${field}\` ${problem}.`, { field });
}

function shape(memory: unknown, row: WrittenRow): ConversationMemory {
  return {
    memory,
    version: row.version,
    createdAt: row.created_at.toISOString(),
    updatedAt: row.updated_at.toISOString(),
  };
}
