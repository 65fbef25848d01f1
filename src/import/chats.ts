import { readFile } from "node:fs/promises";
import { basename } from "node:path";
import { PlinthError } from "../errors.ts";
import { parseChatgptExport } from "./chatgpt-file.ts";
import { fileError, type ImportOptions, type ImportSummary, isNotUtf8, notText } from "./import.ts";
import { type Reading, runImport } from "./run-import.ts";

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
  const userId = await findUser(options);
  return runImport(options, {
    readings: readChats(path),
    sql: "select ordinal, outcome, message from private.import_chats($1::jsonb, $2)",
    values: [userId],
    batchSize: BATCH_SIZE,
  });
}

/**
 * The id of the account of this name.
 * @throws PlinthError USER_NOT_FOUND
 */
export async function findUser({
  client,
  username,
}: Pick<ImportOptions, "client"> & { readonly username: string }): Promise<string> {
  const { rows } = await client.query<{ id: string }>(
    "select id from identity.users where username = lower($1)",
    [username],
  );
  if (!rows[0]) throw new PlinthError("USER_NOT_FOUND", `There is no account ${username}.`);
  return rows[0].id;
}

async function* readChats(path: string): AsyncGenerator<Reading> {
  const file = basename(path);
  const readings = parseChatgptExport(await readText(path));
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

async function readText(path: string): Promise<string> {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(await readFile(path));
  } catch (error) {
    throw isNotUtf8(error) ? notText(path) : fileError(path, error, "file");
  }
}
