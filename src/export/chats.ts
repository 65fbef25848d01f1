import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type pg from "pg";
import { findUser } from "../database/find-user.ts";
import { PlinthError } from "../support/errors.ts";
import type { OnProgress } from "../support/progress.ts";
import { writeError } from "./write-error.ts";

export interface ChatExportOptions {
  /** Connected as the owner, and not in a transaction. */
  readonly client: pg.ClientBase;
  readonly username: string;
  readonly format: "markdown" | "json";
  /** Stops between two chats. */
  readonly signal?: AbortSignal;
  readonly onProgress?: OnProgress;
}

const FORMATS = {
  markdown: { sql: "llm.chats_export_markdown(c)", ending: "md" },
  json: { sql: "jsonb_pretty(llm.chats_export_json(c))", ending: "json" },
} as const;

/**
 * Writes each chat of a user to a file `<day>-<title>-<id>.md` (or .json) of a folder, readable by its owner only. Files of
 * an earlier export are overwritten. All files show the same snapshot.
 * @returns the files' names, oldest chat first
 * @throws PlinthError USER_NOT_FOUND, EXPORT_CANCELLED, FILE_NOT_WRITABLE, DISK_FULL
 */
export async function writeChats(folder: string, options: ChatExportOptions): Promise<string[]> {
  const { client, format, signal } = options;
  const { sql, ending } = FORMATS[format];
  const userId = await findUser(client, options.username);
  const files: string[] = [];
  await client.query("begin isolation level repeatable read read only");
  try {
    const { rows: chats } = await client.query<{ id: string; day: string; title: string }>(
      "select id, to_char(created_at at time zone 'UTC', 'YYYY-MM-DD') as day, title from llm.chats where user_id = $1 order by id",
      [userId],
    );
    await mkdir(folder, { recursive: true }).catch(refuse(folder));
    for (const [index, { id, day, title }] of chats.entries()) {
      options.onProgress?.({ step: "Exporting", done: index, total: chats.length, unit: "chats" });
      if (signal?.aborted)
        throw new PlinthError("EXPORT_CANCELLED", "Canceled; the files written so far are kept.", {
          exitCode: 130,
        });
      const { rows } = await client.query<{ text: string }>(
        `select ${sql} as text from llm.chats c where c.id = $1`,
        [id],
      );
      const file = `${day}-${fileName(title)}-${id}.${ending}`;
      const path = join(folder, file);
      await writeFile(path, rows[0]!.text, { mode: 0o600 }).catch(refuse(path));
      files.push(file);
    }
  } finally {
    await client.query("rollback").catch(() => {});
  }
  return files;
}

/** Keeps letters and digits of any script: a title comes from a user and must not name another folder. */
function fileName(title: string): string {
  const words = title.normalize("NFC").replace(/[^\p{L}\p{N}]+/gu, "-");
  return (
    [...words]
      .slice(0, 40)
      .join("")
      .replace(/^-+|-+$/g, "")
      .toLowerCase() || "chat"
  );
}

function refuse(path: string): (cause: unknown) => never {
  return (cause) => {
    throw writeError(path, cause);
  };
}
