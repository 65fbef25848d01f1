import type pg from "pg";
import type { ConversationMemories } from "../accounts/conversation-memory/conversation-memories.ts";
import type { Memories } from "../accounts/memories/memories.ts";
import type { RequestContext } from "../request/context.ts";

/** The accounts' services that open what the database cannot read. */
export interface MemoryReaders {
  readonly conversationMemories: Pick<ConversationMemories, "find">;
  readonly memories: Pick<Memories, "pages">;
}

/** The end of an export: the parts of the document that the database cannot read. */
export async function* exportEnd(
  { conversationMemories, memories }: MemoryReaders,
  request: RequestContext,
): AsyncGenerator<string> {
  yield `,\n"conversation_memory":${JSON.stringify(await conversationMemories.find(request))}`;
  let separator = ',\n"memories":[\n';
  for await (const page of memories.pages(request)) {
    yield separator + page.map((memory) => JSON.stringify(memory)).join(",\n");
    separator = ",\n";
  }
  yield separator === ",\n" ? "]}\n" : ',\n"memories":[]}\n';
}

const ROWS_PER_FETCH = 500;

/**
 * Yields an export as `private.write_data_export` writes it, from one snapshot.
 * @param client the owner's, in a repeatable-read transaction
 * @param onTable called with each table that has rows, and their number
 */
export async function* exportTables(
  client: pg.ClientBase,
  userId: string,
  onTable: (table: string, rows: number) => void,
): AsyncGenerator<string> {
  // A table with forced row security fails, instead of exporting less than there is.
  await client.query("set local row_security = off");
  yield `{"format":"plinth-data-export","version":1,"user_id":${JSON.stringify(userId)},"requested_at":${JSON.stringify(new Date())},"tables":{`;
  const { rows: sources } = await client.query<{ name: string; query: string }>(
    `select s.table_name as name, private.data_export_query(s.table_oid, s.condition) as query
     from private.data_export_sources() s order by s.table_name`,
  );
  let separator = "\n";
  for (const { name, query } of sources) {
    await client.query(`declare exported no scroll cursor for ${query}`, [userId]);
    let count = 0;
    for (;;) {
      const { rows } = await client.query<[string]>({
        text: `fetch ${ROWS_PER_FETCH} from exported`,
        rowMode: "array",
      } as never);
      if (rows.length > 0)
        yield `${count > 0 ? ",\n" : `${separator}${JSON.stringify(name)}:[\n`}${rows.map(([row]) => row).join(",\n")}`;
      count += rows.length;
      if (rows.length < ROWS_PER_FETCH) break;
    }
    await client.query("close exported");
    if (count === 0) continue;
    yield "]";
    separator = ",\n";
    onTable(name, count);
  }
  yield "}";
}
