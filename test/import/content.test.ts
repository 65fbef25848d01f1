import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "@jest/globals";
import pg from "pg";
import { exportContent } from "../../src/export/content.ts";
import { importContent } from "../../src/import/content/import-content.ts";
import { PACKAGE_ROOT } from "../../src/support/paths.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { makeFolder } from "./files.ts";

const CURRICULUM = join(PACKAGE_ROOT, "src", "demo", "curriculum.ndjson");

let db: TestDatabase;
let client: pg.Client;
let folder: Awaited<ReturnType<typeof makeFolder>>;
beforeAll(async () => {
  db = await createTestDatabase();
  client = new pg.Client(db.url("owner"));
  await client.connect();
  folder = await makeFolder();
});
afterAll(async () => {
  await client.end();
  await db.drop();
  await folder.remove();
});
beforeEach(async () => {
  await client.query("delete from learning.content_items where course_id is not null");
  await client.query("delete from learning.content_items");
  for (let depth = 10; depth > 0; depth--)
    await client.query("delete from learning.content_categories where depth = $1", [depth]);
});

type Line = Record<string, unknown>;
const CATEGORY: Line = { kind: "category", path: "ai", name: "AI" };
const item = (slug: string, more: Line = {}): Line => ({
  kind: "item",
  slug,
  category: "ai",
  type: "article",
  title: `About ${slug}`,
  body: `Text of ${slug}`,
  ...more,
});
const write = (...lines: (Line | string)[]) =>
  folder.write(
    "content.ndjson",
    lines.map((line) => `${typeof line === "string" ? line : JSON.stringify(line)}\n`).join(""),
  );
const slugs = async (): Promise<string[]> =>
  (await client.query("select slug from learning.content_items order by slug")).rows.map((row) => row.slug);
const fileLines = async (path: string): Promise<Line[]> =>
  (await readFile(path, "utf8"))
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));

describe("the demo curriculum", () => {
  test("is imported completely and exactly; a second import changes nothing", async () => {
    const wanted = await fileLines(CURRICULUM);
    const items = wanted.filter(({ kind }) => kind === "item");
    expect(items.length).toBeGreaterThan(250);
    expect(await importContent(CURRICULUM, { client })).toMatchObject({
      inserted: wanted.length,
      rejected: 0,
      kept: true,
    });
    const snapshot = "select * from learning.content_items order by id";
    const { rows } = await client.query(snapshot);
    const bySlug = new Map(rows.map((row) => [row.slug, row]));
    for (const line of items)
      expect(bySlug.get(line.slug)).toMatchObject({
        title: line.title,
        summary: line.summary,
        content_type: line.type,
        language: line.language,
        level: line.level,
        duration_seconds: line.durationSeconds,
        is_preview: line.isPreview ?? false,
        current_version: 1,
      });
    const bodies = await client.query(
      "select i.slug, b.body from learning.content_bodies b join learning.content_items i on i.id = b.item_id",
    );
    expect(new Map(bodies.rows.map((row) => [row.slug, row.body]))).toEqual(
      new Map(items.filter(({ body }) => body).map(({ slug, body }) => [slug, body])),
    );
    expect(await importContent(CURRICULUM, { client })).toMatchObject({
      inserted: 0,
      updated: 0,
      unchanged: wanted.length,
      rejected: 0,
    });
    expect((await client.query(snapshot)).rows).toEqual(rows);
  });

  test("is exported identically after an import into an empty database", async () => {
    await importContent(CURRICULUM, { client });
    const first = join(folder.path, "first.ndjson");
    const summary = await exportContent(first, { client });
    const lines = await fileLines(first);
    expect(lines).toHaveLength(summary.categories + summary.items);
    expect(lines).toHaveLength((await fileLines(CURRICULUM)).length);
    const other = await createTestDatabase();
    try {
      const owner = new pg.Client(other.url("owner"));
      await owner.connect();
      expect(await importContent(first, { client: owner })).toMatchObject({
        inserted: lines.length,
        rejected: 0,
      });
      const second = join(folder.path, "second.ndjson");
      await exportContent(second, { client: owner });
      expect(await readFile(second, "utf8")).toBe(await readFile(first, "utf8"));
      await owner.end();
    } finally {
      await other.drop();
    }
  });
});

test("updates a changed line, adds a version for a changed body and leaves other lines alone", async () => {
  const lines = [CATEGORY, item("a"), item("b"), item("c")];
  await importContent(await write(...lines), { client });
  const summary = await importContent(
    await write(CATEGORY, item("a"), item("b", { title: "Otherwise" }), item("c", { body: "New" })),
    { client },
  );
  expect(summary).toMatchObject({ inserted: 0, updated: 2, unchanged: 2, rejected: 0 });
  const { rows } = await client.query(
    `select i.slug, i.title, i.current_version, v.version, v.published_at is not null as published, b.body
     from learning.content_items i
     join learning.content_versions v on v.item_id = i.id
     join learning.content_bodies b on b.item_id = v.item_id and b.version = v.version
     order by i.slug, v.version`,
  );
  const version = { version: 1, current_version: 1, published: true };
  expect(rows).toEqual([
    { slug: "a", title: "About a", ...version, body: "Text of a" },
    { slug: "b", title: "Otherwise", ...version, body: "Text of b" },
    { slug: "c", title: "About c", ...version, current_version: 2, body: "Text of c" },
    { slug: "c", title: "About c", ...version, current_version: 2, version: 2, body: "New" },
  ]);
});

test("updates prerequisites, drafts and windows from the file", async () => {
  const early = "2026-01-01T00:00:00.000000Z";
  const late = "2026-02-01T00:00:00.000000Z";
  await importContent(
    await write(
      CATEGORY,
      item("a"),
      item("b", { prerequisites: ["a"], publishFrom: early, publishUntil: late }),
      item("draft", { published: false, prerequisites: ["a", "b"] }),
    ),
    { client },
  );
  const prerequisites = "select count(*)::integer as n from learning.content_prerequisites";
  expect((await client.query(prerequisites)).rows).toEqual([{ n: 3 }]);
  const out = join(folder.path, "out.ndjson");
  await exportContent(out, { client });
  expect(await fileLines(out)).toEqual([
    { ...CATEGORY, description: "", position: 0 },
    expect.objectContaining({ slug: "a", published: true }),
    expect.objectContaining({ slug: "b", publishFrom: early, publishUntil: late, prerequisites: ["a"] }),
    expect.objectContaining({
      slug: "draft",
      published: false,
      prerequisites: ["a", "b"],
      publishFrom: null,
    }),
  ]);
  await importContent(await write(CATEGORY, item("b", { prerequisites: [] })), { client });
  expect((await client.query(prerequisites)).rows).toEqual([{ n: 2 }]);
});

const GOOD = [CATEGORY, item("a"), item("b")] as const;
const BAD: [string, Line | string][] = [
  ["invalid JSON", "{"],
  ["a list in place of an object", "[]"],
  ["an unknown kind", { kind: "song" }],
  ["an unknown key", item("x", { colour: "red" })],
  ["no title", { kind: "item", slug: "x", category: "ai", type: "article", body: "x" }],
  ["a slug with spaces", item("not a slug")],
  ["an unknown type", item("x", { type: "song" })],
  ["a level too high", item("x", { level: 11 })],
  ["a duration of zero", item("x", { durationSeconds: 0 })],
  ["an invalid language", item("x", { language: "English" })],
  ["a tag with a comma", item("x", { tags: ["a,b"] })],
  ["an invalid time", item("x", { publishFrom: "tomorrow" })],
  ["a day that does not exist", item("x", { publishFrom: "2026-02-30T00:00:00Z" })],
  [
    "a window that ends before it begins",
    item("x", { publishFrom: "2026-02-01T00:00:00Z", publishUntil: "2026-01-01T00:00:00Z" }),
  ],
  ["an unknown category", item("x", { category: "nowhere" })],
  ["a category without its parent", { kind: "category", path: "nowhere/below", name: "x" }],
  ["an unknown course", item("x", { course: "nowhere" })],
  ["a course of another type", item("x", { course: "a" })],
  ["an unknown prerequisite", item("x", { prerequisites: ["nowhere"] })],
  ["itself as prerequisite", item("x", { prerequisites: ["x"] })],
  ["NUL", item("x", { body: "a\0b" })],
  ["no body", item("x", { body: null })],
  ["an existing slug with other words", item("a", { title: "Other" })],
];

describe("a bad line", () => {
  test.each(BAD)("with %s is reported with its line, and nothing is kept", async (_what, line) => {
    const summary = await importContent(await write(...GOOD, line), { client });
    expect(summary).toMatchObject({ kept: false, rejected: 1 });
    expect(summary.rejections).toMatchObject([{ file: "content.ndjson", line: 4 }]);
    expect(await slugs()).toEqual([]);
  });

  test("rejects only itself with keepGoing", async () => {
    const bad = BAD.map(([, line]) => line);
    const summary = await importContent(await write(...GOOD, ...bad, item("z")), { client, keepGoing: true });
    expect(summary).toMatchObject({ kept: true, inserted: 4 });
    // A bad line may make others with its name bad; each is counted once.
    expect(summary.rejected).toBe(bad.length);
    expect(await slugs()).toEqual(["a", "b", "z"]);
  });

  test("ends the file if it is not text", async () => {
    const path = await folder.write(
      "content.ndjson",
      Buffer.concat([
        Buffer.from(
          `${JSON.stringify(CATEGORY)}\n${JSON.stringify(item("a", { body: "x".repeat(200_000) }))}\n`,
        ),
        Buffer.from([0xff, 0xfe, 0x0a]),
      ]),
    );
    const summary = await importContent(path, { client, keepGoing: true });
    expect(summary).toMatchObject({
      rejected: 1,
      rejections: [{ message: expect.stringContaining("UTF-8") }],
    });
  });
});

test("does not overwrite a deleted item", async () => {
  await importContent(await write(...GOOD), { client });
  await client.query("update learning.content_items set deleted_at = now() where slug = 'a'");
  const summary = await importContent(await write(CATEGORY, item("a", { title: "New" })), { client });
  expect(summary.rejections).toMatchObject([
    { line: 2, name: "a", message: expect.stringContaining("deleted") },
  ]);
  const out = join(folder.path, "deleted.ndjson");
  expect(await exportContent(out, { client })).toMatchObject({ categories: 1, items: 1 });
});

test("leaves the file unchanged when an export is cancelled", async () => {
  await importContent(await write(...GOOD), { client });
  const path = await folder.write("kept.ndjson", "before");
  await expect(exportContent(path, { client, signal: AbortSignal.abort() })).rejects.toMatchObject({
    code: "EXPORT_CANCELLED",
  });
  expect(await readFile(path, "utf8")).toBe("before");
});

test("reports an export that cannot be written, and its missing folder", async () => {
  await expect(exportContent(join(folder.path, "nowhere", "x.ndjson"), { client })).rejects.toMatchObject({
    code: "FILE_NOT_WRITABLE",
    message: expect.stringContaining("does not exist"),
  });
  await expect(exportContent(folder.path, { client })).rejects.toMatchObject({ code: "FILE_NOT_WRITABLE" });
});

test("keeps nothing of a cancelled import", async () => {
  await expect(
    importContent(await write(...GOOD), { client, signal: AbortSignal.abort() }),
  ).rejects.toMatchObject({ code: "IMPORT_CANCELLED" });
  expect(await slugs()).toEqual([]);
});
