import type pg from "pg";

/** Anything that runs SQL: a transaction's client, or one that commits. */
type Client = Pick<pg.ClientBase, "query">;

export interface ItemOptions {
  readonly slug?: string;
  readonly course?: string | null;
  readonly type?: string;
  readonly title?: string;
  readonly summary?: string;
  readonly language?: string;
  readonly tags?: readonly string[];
  /** In seconds. */
  readonly duration?: number | null;
  readonly position?: number;
  readonly level?: number;
  readonly accessLevel?: number | null;
  readonly isPreview?: boolean;
  readonly author?: string | null;
  readonly category?: string;
  /** Published from the start unless false. */
  readonly published?: boolean;
  /** In days from now; negative is past. */
  readonly from?: number;
  readonly until?: number | null;
  readonly deleted?: boolean;
  readonly body?: string;
}

/** Adds a category as the owner; returns its id. */
export async function addCategory(
  client: Client,
  slug: string,
  parent: string | null = null,
): Promise<string> {
  const { rows } = await client.query<{ id: string }>(
    "insert into learning.content_categories (parent_id, slug, name) values ($1, $2, $2) returning id",
    [parent, slug],
  );
  return rows[0]!.id;
}

let made = 0;

/** Adds an item with a text as the owner; returns its id. The category defaults to one called "any". */
export async function addItem(client: Client, options: ItemOptions = {}): Promise<string> {
  made += 1;
  const { slug = `item-${made}` } = options;
  const { rows } = await client.query<{ id: string }>(
    `with category as (
       insert into learning.content_categories (slug, name) values ('any', 'any')
       on conflict (path) do update set name = 'any'
       returning id
     )
     insert into learning.content_items (
       category_id, slug, course_id, content_type, title, summary, language, tags, level, required_access_level, is_preview,
       author_id, duration_seconds, position
     )
     select coalesce($12, id), $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $13, $14 from category
     returning id`,
    [
      slug,
      options.course ?? null,
      options.type ?? "lesson",
      options.title ?? slug,
      options.summary ?? "",
      options.language ?? "en",
      options.tags ?? [],
      options.level ?? 0,
      options.accessLevel === undefined ? 0 : options.accessLevel,
      options.isPreview ?? false,
      options.author ?? null,
      options.category ?? null,
      options.duration ?? null,
      options.position ?? 0,
    ],
  );
  const { id } = rows[0]!;
  await client.query("insert into learning.content_versions (item_id, version) values ($1, 1)", [id]);
  await client.query("insert into learning.content_bodies (item_id, version, body) values ($1, 1, $2)", [
    id,
    options.body ?? `Text of ${slug}`,
  ]);
  if (options.published !== false) {
    await client.query("update learning.content_versions set published_at = now() where item_id = $1", [id]);
    await client.query(
      `update learning.content_items
       set current_version = 1, publish_from = now() + $2 * interval '1 day', publish_until = now() + $3 * interval '1 day'
       where id = $1`,
      [id, options.from ?? 0, options.until ?? null],
    );
  }
  if (options.deleted)
    await client.query("update learning.content_items set deleted_at = now() where id = $1", [id]);
  return id;
}

/** Subscribes a user to a plan of an access level, as the owner. */
export async function subscribe(client: Client, userId: string, accessLevel: number): Promise<void> {
  await client.query(
    `insert into billing.subscription_plans (code, plan_name, price_cents, access_level)
     select 'level' || $1::integer, 'Level', 100, $1::integer
     where not exists (select from billing.subscription_plans where code = 'level' || $1::integer)`,
    [accessLevel],
  );
  await client.query(
    "select private.start_subscription($1, (select id from billing.subscription_plans where code = 'level' || $2::integer), false, now())",
    [userId, accessLevel],
  );
}

/** Records that a user completed an item, as the owner. */
export async function complete(client: Client, userId: string, itemId: string): Promise<void> {
  await client.query(
    `insert into learning.content_progress
       (user_id, item_id, version, completed_version, completed_at, started_at, last_activity_at)
     values ($1, $2, 1, 1, now(), now(), now())`,
    [userId, itemId],
  );
}
