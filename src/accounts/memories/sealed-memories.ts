import { decryptFernet, encryptFernet } from "../../auth/fernet.ts";
import type { Sealer } from "../../auth/sealing.ts";
import { openUserKey, type UserKey } from "../conversation-memory/user-keys.ts";
import { type Memory, type MemoryRow, shapeMemory } from "./memory.ts";
import { wordsOf } from "./text-words.ts";
import { createHashWords } from "./word-hashes.ts";

/** A memory's text as the database stores it. */
export interface SealedText {
  readonly content: string;
  readonly word_hashes: readonly string[];
}

export function sealText({ key }: UserKey, text: string): SealedText {
  return { content: encryptFernet(key, text), word_hashes: createHashWords(key)(wordsOf(text)) };
}

/** Opens rows. Rows of another key are left out: theirs was shredded after it was read, so they no longer exist either. */
export function openRows({ id, key }: UserKey, rows: readonly MemoryRow[]): Memory[] {
  return rows
    .filter((row) => row.key_id === id)
    .map((row) => shapeMemory(row, decryptFernet(key, row.content).toString()));
}

/** Returns a function that opens a memory with its sealed key, for jobs. */
export function createMemoryOpener(sealer: Sealer) {
  return (userId: string, wrappedKey: string, content: string): string =>
    decryptFernet(openUserKey(sealer, userId, wrappedKey), content).toString();
}
