import { open, rename, rm } from "node:fs/promises";
import type pg from "pg";
import { PlinthError } from "../support/errors.ts";
import type { OnProgress } from "../support/progress.ts";
import { writeError } from "./write-error.ts";

export interface ContentExportOptions {
  /** Connected as the owner, and not in a transaction. */
  readonly client: pg.ClientBase;
  readonly signal?: AbortSignal;
  /** Called regularly with the number of lines written so far. */
  readonly onProgress?: OnProgress;
}

export interface ContentExportSummary {
  readonly categories: number;
  readonly items: number;
  readonly milliseconds: number;
}

const BATCH_SIZE = 200;
const BUFFER_CHARACTERS = 1_000_000;

/**
 * Writes all categories and all items that are not deleted, one JSON object a line, so that `importContent` can read the file:
 * each line comes after the lines it refers to. The file shows one snapshot. Of an item's versions, it contains the published one,
 * or the draft if the item is not published.
 * @throws PlinthError FILE_NOT_WRITABLE, DISK_FULL, EXPORT_CANCELLED; the file is then unchanged
 */
export async function exportContent(
  path: string,
  options: ContentExportOptions,
): Promise<ContentExportSummary> {
  const started = performance.now();
  const partial = `${path}.partial`;
  const counts = { categories: 0, items: 0 };
  const file = await open(partial, "w").catch((error) => {
    throw writeError(path, error);
  });
  try {
    let buffered = "";
    for await (const { kind, text } of contentLines(options)) {
      if (options.signal?.aborted)
        throw new PlinthError("EXPORT_CANCELLED", "Canceled; nothing was written.", { exitCode: 130 });
      buffered += `${text}\n`;
      counts[kind] += 1;
      if (buffered.length < BUFFER_CHARACTERS) continue;
      await file.appendFile(buffered);
      buffered = "";
      options.onProgress?.({
        step: "Exporting",
        done: counts.categories + counts.items,
        unit: "lines",
      });
    }
    await file.appendFile(buffered);
    await file.sync();
    await file.close();
    await rename(partial, path);
  } catch (error) {
    await file.close().catch(() => {});
    await rm(partial, { force: true }).catch(() => {});
    throw isFileError(error) ? writeError(path, error) : error;
  }
  return { ...counts, milliseconds: Math.round(performance.now() - started) };
}

/** Whether the error comes from the file system, not from the database. */
function isFileError(error: unknown): boolean {
  const { syscall } = error as NodeJS.ErrnoException;
  return ["write", "fsync", "close", "rename"].includes(syscall ?? "");
}

/** Yields the lines of an export in an order that an import accepts. */
async function* contentLines({
  client,
}: ContentExportOptions): AsyncGenerator<{ kind: "categories" | "items"; text: string }> {
  await client.query("begin transaction isolation level repeatable read, read only");
  try {
    // In byte order, a parent comes first, because it is a prefix of its descendants.
    const categories = await client.query<{ text: string }>(
      `select jsonb_build_object(
         'kind', 'category', 'path', c.path, 'name', c.name, 'description', c.description, 'position', c.position
       )::text as text
       from learning.content_categories c
       order by c.path collate "C"`,
    );
    for (const { text } of categories.rows) yield { kind: "categories", text };
    const ids = await idsInOrder(client);
    for (let at = 0; at < ids.length; at += BATCH_SIZE) {
      const { rows } = await client.query<{ text: string }>(
        `select private.export_content_item(o.id)::text as text
         from unnest($1::uuid[]) with ordinality as o (id, place)
         order by o.place`,
        [ids.slice(at, at + BATCH_SIZE)],
      );
      for (const { text } of rows) yield { kind: "items", text };
    }
  } finally {
    await client.query("rollback").catch(() => {});
  }
}

/** Returns all items, each after its course and prerequisites, otherwise by slug. Triggers prevent cycles. */
async function idsInOrder(client: pg.ClientBase): Promise<string[]> {
  const { rows: items } = await client.query<{ id: string; before: string[] }>(
    `select i.id, array(
       select p.required_item_id
       from learning.content_prerequisites p
       join learning.content_items r on r.id = p.required_item_id and r.deleted_at is null
       where p.item_id = i.id
       union all
       select i.course_id where i.course_id is not null
     ) as before
     from learning.content_items i
     left join learning.content_items c on c.id = i.course_id
     where i.deleted_at is null and c.deleted_at is null
     order by coalesce(c.slug, i.slug), i.course_id is not null, i.position, i.slug`,
  );
  const before = new Map(items.map((item) => [item.id, item.before]));
  const done = new Set<string>();
  for (const { id } of items) {
    // Depth first with an explicit stack, because chains may be longer than the call stack.
    const stack = [id];
    for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
      const missing = (before.get(top) ?? []).find((other) => before.has(other) && !done.has(other));
      if (missing !== undefined) stack.push(missing);
      else done.add(stack.pop()!);
    }
  }
  return [...done];
}
