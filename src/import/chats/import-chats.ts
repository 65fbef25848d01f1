import { readdir, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { findUser } from "../../database/find-user.ts";
import { PlinthError } from "../../support/errors.ts";
import { readJsonParts, topOf } from "../files/json-parts.ts";
import { notReadable } from "../files/text-file.ts";
import type { ImportOptions, ImportSummary } from "../import.ts";
import { type Reading, runImport } from "../run-import.ts";
import { readChat } from "./formats/read-chat.ts";
import type { ChatReading } from "./imported-chat.ts";

/** Chats are large, so batches are small. */
const BATCH_SIZE = 20;

/**
 * Imports chats of one user: an export of ChatGPT, Claude, LibreChat or Open WebUI, a file that `writeChats` wrote as JSON, or a
 * folder of such files. A chat is imported as a whole or not at all; importing it again adds its new messages.
 * @throws PlinthError USER_NOT_FOUND, FILE_* when the file cannot be used, FOLDER_EMPTY or IMPORT_CANCELLED.
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
  for (const file of await filesOf(path)) {
    const readings = (await topOf(file)) === "{" ? readOneChat(file) : readList(file);
    for await (const reading of readings) yield* outcomesOf(basename(file), reading);
  }
}

function* outcomesOf(file: string, reading: ChatReading): Generator<Reading> {
  const { name, chat, problem, omissions = [] } = reading;
  for (const message of omissions) yield { warning: { file, name, message } };
  if (!chat) yield { rejection: { file, name, message: problem! } };
  else if (chat.messages.length === 0)
    yield { warning: { file, name, message: "contains no messages and was skipped" } };
  else yield { item: { file, name, payload: chat } };
}

/** Reads one chat at a time, because an export may not fit in memory. */
async function* readList(file: string): AsyncGenerator<ChatReading> {
  for await (const { at, value, problem, line } of readJsonParts(file)) {
    const place = typeof at === "number" ? `conversations[${at}]` : `line ${line}`;
    yield problem ? { name: place, problem } : readChat(value, place);
  }
}

async function* readOneChat(file: string): AsyncGenerator<ChatReading> {
  const members: [string, unknown][] = [];
  for await (const { at, value, problem, line } of readJsonParts(file)) {
    if (problem) {
      yield { name: at === undefined ? `line ${line}` : String(at), problem };
      return;
    }
    members.push([String(at), value]);
  }
  yield readChat(Object.fromEntries(members), "the chat");
}

/** The file itself, or the JSON files of the folder in the order of their names. */
async function filesOf(path: string): Promise<string[]> {
  try {
    if (!(await stat(path)).isDirectory()) return [path];
    const names = (await readdir(path)).filter((name) => name.endsWith(".json")).sort();
    if (names.length > 0) return names.map((name) => join(path, name));
  } catch (error) {
    throw notReadable(path, error, "file");
  }
  throw new PlinthError("FOLDER_EMPTY", `${path} contains no *.json files.`, {
    hint: "Use a chat export of ChatGPT, Claude, LibreChat or Open WebUI, or a folder that `plinth export chats --format json` wrote.",
  });
}
