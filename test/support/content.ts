import { randomUUID } from "node:crypto";
import type { TestDatabase } from "./database.ts";
import { withClient } from "./database.ts";

export interface ContentOptions {
  readonly type?: string;
  readonly duration?: number | null;
  readonly course?: string;
  readonly category?: string;
  readonly position?: number;
  readonly level?: number;
  readonly requiredAccessLevel?: number;
}

/** A category; returns its id. */
export async function addCategory(db: TestDatabase, slug: string, parent?: string): Promise<string> {
  return withClient(db.url("owner"), async (client) => {
    const { rows } = await client.query<{ id: string }>(
      "insert into learning.content_categories (parent_id, slug, name) values ($1, $2, $2) returning id",
      [parent ?? null, slug],
    );
    return rows[0]!.id;
  });
}

/** A published item in its first version; returns its id. */
export async function addItem(db: TestDatabase, slug: string, options: ContentOptions = {}): Promise<string> {
  return withClient(db.url("owner"), async (client) => {
    const { rows } = await client.query<{ id: string }>(
      `with category as (
         insert into learning.content_categories (slug, name)
         select $1, $1 where $2::uuid is null returning id
       )
       insert into learning.content_items (
         category_id, slug, content_type, title, duration_seconds, course_id, position, level, required_access_level
       )
       select coalesce($2, (select id from category)), $3, $4, $3, $5, $6, $7, $8, $9 returning id`,
      [
        `c-${randomUUID()}`,
        options.category ?? null,
        slug,
        options.type ?? "video",
        options.duration === undefined ? 100 : options.duration,
        options.course ?? null,
        options.position ?? 0,
        options.level ?? 0,
        options.requiredAccessLevel ?? null,
      ],
    );
    const id = rows[0]!.id;
    await publishVersion(db, id, 1);
    return id;
  });
}

/** Publishes a further version of an item. */
export async function publishVersion(db: TestDatabase, itemId: string, version: number): Promise<void> {
  await withClient(db.url("owner"), async (client) => {
    await client.query(
      "insert into learning.content_versions (item_id, version, published_at) values ($1, $2, now())",
      [itemId, version],
    );
    await client.query(
      "update learning.content_items set current_version = $2, publish_from = coalesce(publish_from, now()) where id = $1",
      [itemId, version],
    );
  });
}
