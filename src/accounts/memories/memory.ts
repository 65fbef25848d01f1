import { PlinthError } from "../../support/errors.ts";

export type MemoryKind = "fact" | "preference" | "event" | "instruction";
type MemorySource = "user" | "assistant" | "import";

/** A long-term memory of a user, opened. */
export interface Memory {
  readonly id: string;
  readonly text: string;
  readonly kind: MemoryKind;
  readonly source: MemorySource;
  /** From 1 to 5. */
  readonly importance: number;
  /** From 0 to 1. */
  readonly confidence: number;
  readonly chatId: string | null;
  readonly roomId: string | null;
  /** Opaque; differs after each change. */
  readonly version: string;
  /** ISO 8601, as the other times. */
  readonly createdAt: string;
  readonly updatedAt: string;
  /** Time when it was last given to a model. */
  readonly lastRecalledAt: string | null;
  readonly expiresAt: string | null;
}

export interface CreateMemoryInput {
  readonly text: string;
  readonly kind?: MemoryKind | null;
  readonly source?: MemorySource | null;
  readonly importance?: number | null;
  readonly confidence?: number | null;
  readonly chatId?: string | null;
  readonly roomId?: string | null;
  readonly expiresAt?: string | null;
}

/** Fields that are absent or null stay, except that null removes `expiresAt`. */
export interface UpdateMemoryInput {
  readonly id: string;
  /** The version the memory must still have. */
  readonly expectedVersion?: string | null;
  readonly text?: string | null;
  readonly kind?: MemoryKind | null;
  readonly importance?: number | null;
  readonly confidence?: number | null;
  readonly expiresAt?: string | null;
}

/** A row of llm.memories, as node-pg reads it. */
export interface MemoryRow {
  readonly id: string;
  readonly key_id: string;
  readonly content: string;
  readonly kind: MemoryKind;
  readonly source: MemorySource;
  readonly importance: number;
  readonly confidence: number;
  readonly chat_id: string | null;
  readonly room_id: string | null;
  readonly version: string;
  readonly created_at: Date;
  readonly updated_at: Date;
  readonly last_recalled_at: Date | null;
  readonly expires_at: Date | null;
}

const MAX_TEXT_LENGTH = 4_000;
const VERSION = /^[1-9]\d{0,17}$/;

export function shapeMemory(row: MemoryRow, text: string): Memory {
  return {
    id: row.id,
    text,
    kind: row.kind,
    source: row.source,
    importance: row.importance,
    confidence: row.confidence,
    chatId: row.chat_id,
    roomId: row.room_id,
    version: row.version,
    createdAt: row.created_at.toISOString(),
    updatedAt: row.updated_at.toISOString(),
    lastRecalledAt: row.last_recalled_at?.toISOString() ?? null,
    expiresAt: row.expires_at?.toISOString() ?? null,
  };
}

/** @throws PlinthError BAD_USER_INPUT */
export function checkMemory(
  input: Partial<Pick<UpdateMemoryInput, "text" | "importance" | "confidence" | "expectedVersion">>,
): void {
  const { text, importance, confidence, expectedVersion } = input;
  if (text != null) {
    if (text.trim() === "") throw badInput("text", "cannot be empty");
    if ([...text].length > MAX_TEXT_LENGTH)
      throw badInput("text", `may have at most ${MAX_TEXT_LENGTH} characters`);
    if (!text.isWellFormed()) throw badInput("text", "is not well-formed Unicode");
  }
  if (importance != null && !(importance >= 1 && importance <= 5))
    throw badInput("importance", "must be from 1 to 5");
  if (confidence != null && !(confidence >= 0 && confidence <= 1))
    throw badInput("confidence", "must be from 0 to 1");
  if (expectedVersion != null && !VERSION.test(expectedVersion))
    throw badInput("expectedVersion", "is not a valid version");
}

/** @throws PlinthError BAD_USER_INPUT */
export function checkFirst(first: number): void {
  if (!(first >= 1 && first <= 100)) throw badInput("first", "must be from 1 to 100");
}

function badInput(field: string, problem: string): PlinthError {
  return new PlinthError("BAD_USER_INPUT", `\`${field}\` ${problem}.`, { field });
}
