import { type AnyStep, defineStep, type Loss } from "../mapping.ts";
import { optionalRef, ref } from "../references.ts";
import { nameFrom } from "./words.ts";

/** A category comes after the one above it. PostgreSQL and SQLite read this alike. */
const PARENTS_FIRST = `(
  with recursive above (id, depth) as (
    select content_categories.parent_id, 0
    union all
    select c.parent_id, above.depth + 1 from content_categories c join above on c.id = above.id where above.depth < 20
  )
  select max(depth) from above
), content_categories.id`;

export const categories: AnyStep = defineStep({
  relation: "content_categories",
  key: ["id"],
  keepsId: true,
  order: PARENTS_FIRST,
  columns: {
    id: "uuid",
    parent_id: "id?",
    name: "text",
    slug: "text",
    description: "text?",
    sort_order: "integer?",
    created_at: "time",
    updated_at: "time?",
  },
  targets: [{ table: "learning.content_categories", write: "insert" }],
  map(row) {
    const slug = nameFrom(row.slug ?? "", "-", 60);
    if (slug === undefined) return { omitted: "the slug needs a letter or digit" };
    return {
      values: [
        {
          parent_id: ref("content_categories", row.parent_id),
          slug,
          name: row.name?.trim(),
          description: row.description ?? "",
          position: row.sort_order ?? 0,
          created_at: row.created_at,
          updated_at: row.updated_at ?? row.created_at,
        },
      ],
      losses: lossOfSlug(row.slug, slug),
    };
  },
});

const TYPES = new Set(["course", "lesson", "article", "video", "exercise", "quiz", "project"]);

export const items: AnyStep = defineStep({
  relation: "content_items",
  key: ["id"],
  keepsId: true,
  columns: {
    id: "uuid",
    category_id: "id",
    author_id: "id?",
    title: "text",
    slug: "text",
    description: "text?",
    content_type: "text",
    body: "text?",
    content_url: "text?",
    language: "text?",
    tags: "json?",
    duration_seconds: "integer?",
    required_access_level: "integer?",
    status: "text",
    version: "integer?",
    published_at: "time?",
    created_at: "time",
    updated_at: "time?",
    deleted_at: "time?",
  },
  // A published text cannot be changed, so the text is written before its version is published, and the item shows it last.
  targets: [
    // The database sorts the tags.
    { table: "learning.content_items", write: "insert", unverified: ["tags"] },
    { table: "learning.content_versions", write: "insert" },
    { table: "learning.content_bodies", write: "insert" },
    { table: "learning.content_versions", write: "update", by: ["item_id", "version"] },
    { table: "learning.content_items", write: "update", by: ["id"] },
  ],
  map(row) {
    const slug = nameFrom(row.slug ?? "", "-", 120);
    if (slug === undefined) return { omitted: "the slug needs a letter or digit" };
    const losses: Loss[] = lossOfSlug(row.slug, slug);
    const isKnownType = TYPES.has(row.content_type ?? "");
    if (!isKnownType)
      losses.push({ column: "content_type", reason: "is unknown, so the item is an article" });
    const hasBoth = row.body !== null && row.content_url !== null;
    if (hasBoth)
      losses.push({ column: "content_url", reason: "the item has a body, too, and one text here" });
    const item = ref("content_items", row.id);
    const version = row.version ?? 1;
    const publishedAt = row.status === "draft" ? null : (row.published_at ?? row.created_at);
    const text = row.body ?? row.content_url;
    return {
      values: [
        {
          category_id: ref("content_categories", row.category_id),
          author_id: optionalRef("users", row.author_id),
          slug,
          content_type: isKnownType ? row.content_type : "article",
          title: row.title?.trim(),
          summary: row.description ?? "",
          language: row.language ?? "en",
          tags: row.tags ?? [],
          duration_seconds: row.duration_seconds,
          required_access_level: row.required_access_level ?? 0,
          publish_from: publishedAt,
          created_at: row.created_at,
        },
        { item_id: item, version, created_at: row.created_at },
        text === null
          ? null
          : { item_id: item, version, body_format: row.body === null ? "url" : "markdown", body: text },
        { item_id: item, version, published_at: publishedAt },
        {
          id: item,
          // An archived item keeps its version, which it no longer shows.
          current_version: row.status === "published" ? version : null,
          deleted_at: row.deleted_at,
          updated_at: row.updated_at ?? row.created_at,
        },
      ],
      losses,
    };
  },
});

export const permissions: AnyStep = defineStep({
  relation: "user_content_permissions",
  key: ["id"],
  columns: {
    id: "id",
    user_id: "id",
    content_id: "id",
    permission: "text",
    reason: "text?",
    granted_by: "id?",
    granted_at: "time",
    expires_at: "time?",
  },
  targets: [{ table: "learning.user_content_permissions", write: "insert" }],
  map: (row) => ({
    values: [
      {
        user_id: ref("users", row.user_id),
        item_id: ref("content_items", row.content_id),
        permission: row.permission,
        reason: row.reason ?? "",
        granted_by: optionalRef("users", row.granted_by),
        granted_at: row.granted_at,
        expires_at: row.expires_at,
      },
    ],
  }),
});

function lossOfSlug(before: string | null, slug: string): Loss[] {
  return before === slug
    ? []
    : [{ column: "slug", reason: "was changed to lower-case letters, digits and -" }];
}
