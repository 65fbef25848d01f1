import { basename } from "node:path";
import { findUser } from "../find-user.ts";
import { parseChatgptExport } from "./chatgpt-file.ts";
import type { ImportOptions, ImportSummary } from "./import.ts";
import { type Reading, runImport } from "./run-import.ts";
import { readTextFile } from "./text-file.ts";

/** Chats are large: few a batch. */
const BATCH_SIZE = 20;

/**
 * Imports the conversations.json of a ChatGPT export as chats of one user. A conversation is taken whole or not at all;
 * importing it again adds the messages it has got since.
 * @throws PlinthError USER_NOT_FOUND, FILE_* when the file cannot be used, or IMPORT_CANCELLED.
 */
export async function importChats(
  path: string,
  options: ImportOptions & { readonly username: string },
): Promise<ImportSummary> {
  const userId = await findUser(options.client, options.username);
  return runImport(options, {
    readings: readChats(path),
    sql: "select ordinal, outcome, message from private.import_chats($1::jsonb, $2)",
    values: [userId],
    batchSize: BATCH_SIZE,
  });
}

async function* readChats(path: string): AsyncGenerator<Reading> {
  const file = basename(path);
  const readings = parseChatgptExport(await readTextFile(path));
  if (typeof readings === "string") {
    yield { rejection: { file, message: readings } };
    return;
  }
  for (const reading of readings) {
    const { name } = reading;
    if ("problem" in reading) {
      yield { rejection: { file, name, message: reading.problem } };
      continue;
    }
    if (reading.chat.messages.length === 0) {
      yield { warning: { file, name, message: "holds no message, and was left out" } };
      continue;
    }
    yield { item: { file, name, payload: reading.chat } };
  }
}
