import { randomUUID } from "node:crypto";
import * as learning from "../learning/support.ts";
import { type TestDatabase, withClient } from "./database.ts";

/** Creates a category; returns its id. */
export function addCategory(db: TestDatabase, slug: string, parent?: string): Promise<string> {
  return withClient(db.url("owner"), (client) => learning.addCategory(client, slug, parent));
}

/** Creates a published item in its first version, in its own category; returns its id. */
export function addItem(db: TestDatabase, slug: string, options: learning.ItemOptions = {}): Promise<string> {
  return withClient(db.url("owner"), async (client) =>
    learning.addItem(client, {
      ...{ slug, title: slug, type: "video", duration: 100, accessLevel: null },
      category: options.category ?? (await learning.addCategory(client, `c-${randomUUID()}`)),
      ...options,
    }),
  );
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
