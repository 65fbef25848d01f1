import { createReadStream } from "node:fs";
import type pg from "pg";
import { pino } from "pino";
import { createConversationMemories } from "../accounts/conversation-memory/conversation-memories.ts";
import { createUserKeys } from "../accounts/conversation-memory/user-keys.ts";
import { createMemories } from "../accounts/memories/memories.ts";
import type { MasterKeys } from "../auth/master-keys.ts";
import { createSealer } from "../auth/sealing.ts";
import { findUser } from "../database/find-user.ts";
import { contextWithoutRequest, type RequestContext } from "../request/context.ts";
import type { CallPrivateFunction } from "../request/service-caller.ts";
import type { OnProgress } from "../support/progress.ts";
import { exportEnd, exportTables, type MemoryReaders } from "./export-document.ts";
import { type ExportDescription, exportPage } from "./export-page.ts";
import { NewFiles } from "./write-files.ts";

export interface UserExport {
  readonly user: string;
  /** Paths: the JSON document, and the page. */
  readonly files: readonly string[];
  /** Number of rows by table. */
  readonly tables: Readonly<Record<string, number>>;
}

/**
 * Writes everything about a user into a JSON document and a page, as the user's own export has it, and records that. Both files
 * show the same snapshot; they appear after the record, or not at all.
 * @throws PlinthError USER_NOT_FOUND, FILE_NOT_WRITABLE, DISK_FULL, INTERRUPTED
 */
export async function exportUser(options: {
  /** Connected as the owner, and not in a transaction. */
  readonly client: pg.Client;
  readonly username: string;
  readonly folder: string;
  readonly masterKeys: MasterKeys;
  readonly reason?: string | undefined;
  readonly signal: AbortSignal;
  readonly onProgress: OnProgress;
}): Promise<UserExport> {
  const { client, folder, signal, onProgress } = options;
  const userId = await findUser(client, options.username);
  const tables: Record<string, number> = {};
  await using files = new NewFiles(folder, signal);
  // Ctrl-C ends a statement by closing the connection.
  const stop = () => void client.end().catch(() => {});
  signal.addEventListener("abort", stop, { once: true });
  await client.query("begin isolation level repeatable read read only");
  try {
    const { rows } = await client.query<{ username: string }>(
      "select username from identity.users where id = $1",
      [userId],
    );
    const user = rows[0]!.username;
    const note = (table: string, count: number) => {
      tables[table] = count;
      onProgress({ step: `Exporting ${table}`, done: count, unit: "rows" });
    };
    const document = await files.write(
      `personal-data-${user}.json`,
      wholeDocument(client, userId, options.masterKeys, note),
    );
    const { rows: descriptions } = await client.query<ExportDescription>(
      "select * from private.data_export_descriptions()",
    );
    const read = () => createReadStream(document, "utf8") as AsyncIterable<string>;
    await files.write(`personal-data-${user}.html`, exportPage(read, descriptions));
    await client.query("commit");
    await record(client, userId, tables, options.reason);
    return { user, files: files.publish(), tables };
  } catch (error) {
    signal.throwIfAborted();
    await client.query("rollback").catch(() => {});
    throw error;
  } finally {
    signal.removeEventListener("abort", stop);
  }
}

async function* wholeDocument(
  client: pg.ClientBase,
  userId: string,
  masterKeys: MasterKeys,
  onTable: (table: string, rows: number) => void,
): AsyncGenerator<string> {
  yield* exportTables(client, userId, onTable);
  yield* exportEnd(readersOf(client, masterKeys), actingFor(userId));
}

/** The services of the server's download, which ask the database over this connection. */
function readersOf(client: pg.ClientBase, masterKeys: MasterKeys): MemoryReaders {
  const callPrivateFunction: CallPrivateFunction = async <TRow>(
    _request: RequestContext,
    text: string,
    values: readonly unknown[],
  ) => (await client.query(text, [...values])).rows as TRow[];
  const sealer = createSealer(masterKeys);
  const userKeysFor = (purpose: Parameters<typeof createUserKeys>[0]["purpose"]) =>
    createUserKeys({ callPrivateFunction, sealer, purpose });
  return {
    conversationMemories: createConversationMemories({
      callPrivateFunction,
      userKeys: userKeysFor("conversation memory"),
    }),
    memories: createMemories({
      callPrivateFunction,
      userKeys: userKeysFor("memories"),
      embedder: undefined,
      logger: pino({ level: "silent" }),
    }),
  };
}

/** The memories are those of the caller. */
const actingFor = (userId: string): RequestContext => ({
  ...contextWithoutRequest(),
  claims: { userId } as RequestContext["claims"],
});

async function record(
  client: pg.ClientBase,
  userId: string,
  tables: Readonly<Record<string, number>>,
  reason: string | undefined,
): Promise<void> {
  const reads = Object.entries(tables).map(([relation, rows]) => ({ relation, user_id: userId, rows }));
  await client.query(
    `select private.record_personal_data_reads($2, 'plinth privacy export', null, 'export', $3),
       private.record_security_event('data_export_written', $1, '{"origin": "command"}', 'warning')`,
    [userId, JSON.stringify(reads), reason],
  );
}
