import { cp, mkdir, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { migrateDatabase } from "../../src/database/migrate.ts";
import { rollback } from "../../src/database/rollback.ts";
import type { ScratchDatabase } from "../../src/database/scratch-database.ts";
import { MIGRATIONS_FOLDER } from "../../src/support/paths.ts";
import { createEmptyTestDatabase, withClient } from "../support/database.ts";

// A database that has learners is upgraded: what is complete is recorded, impossible time goes, everything else stays.

let db: ScratchDatabase;
let folder: string;
beforeAll(async () => {
  db = await createEmptyTestDatabase();
  folder = await mkdtemp(join(tmpdir(), "plinth-test-upgrade-"));
  await mkdir(join(folder, "committed"));
  await cp(join(MIGRATIONS_FOLDER, "rollback"), join(folder, "rollback"), { recursive: true });
});
afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
  await db.drop();
});

test("an upgrade records what is complete, takes out impossible time and keeps the rest", async () => {
  const options = { ownerUrl: db.url("owner"), rolePrefix: db.rolePrefix, migrationsFolder: folder };
  const names = (await readdir(join(MIGRATIONS_FOLDER, "committed"))).sort();
  const ours = names.findIndex((name) => name.endsWith("-learning-counts-once.sql"));
  expect(ours).toBeGreaterThan(0);
  const add = (name: string) =>
    cp(join(MIGRATIONS_FOLDER, "committed", name), join(folder, "committed", name));
  for (const name of names.slice(0, ours)) await add(name);
  await migrateDatabase(options);

  const run = (sql: string) =>
    withClient(db.url("owner"), async (client) => {
      const results = [await client.query(sql)].flat();
      return results.at(-1)!.rows as Record<string, unknown>[];
    });
  await run(`
    insert into identity.users (username) values ('ada');
    insert into learning.content_categories (slug, name) values ('c', 'C');
    insert into learning.content_items (category_id, slug, content_type, title)
      select id, 'course', 'course', 'Course' from learning.content_categories;
    insert into learning.content_items (category_id, slug, content_type, title, course_id, duration_seconds)
      select category_id, s, 'video', s, id, 100 from learning.content_items, unnest(array['a', 'b']) s;
    insert into learning.content_versions (item_id, version, published_at) select id, 1, now() from learning.content_items;
    update learning.content_items set current_version = 1, publish_from = now() - interval '1 day';
    insert into learning.skills (skill_name, training_gain) values ('s', 1.25);
    insert into learning.content_skills (item_id, skill_id, gain)
      select i.id, s.id, 0.5 from learning.content_items i, learning.skills s where i.slug <> 'course';
    insert into learning.user_skills (user_id, skill_id, level) select u.id, s.id, 3 from identity.users u, learning.skills s;
    insert into learning.training (user_id, skill_id, status, progress)
      select u.id, s.id, 'active', 0.5 from identity.users u, learning.skills s;
    insert into learning.content_progress
        (user_id, item_id, version, active_seconds, completed_version, completed_at, started_at, last_activity_at)
      select u.id, i.id, 1, 200, 1, now(), now() - interval '1 hour', now()
      from identity.users u, learning.content_items i where i.slug = 'a';
    insert into learning.content_consumption
        (user_id, item_id, version, started_at, last_activity_at, active_seconds, heartbeat_count, covered)
      select u.id, i.id, 1, date_trunc('second', now()) - interval '60 seconds', date_trunc('second', now()), 120, 12, '{}'
      from identity.users u, learning.content_items i where i.slug = 'a';
    insert into llm.model_providers (name) values ('v');
    insert into llm.models (provider_id, name, display_name) select id, 'm', 'M' from llm.model_providers;
    insert into billing.model_prices (model_id, input_price_per_million_tokens, output_price_per_million_tokens)
      select id, 2.5, 10 from llm.models;
    update learning.content_items set deleted_at = now() where slug = 'b';`);

  await add(names[ours]!);
  await migrateDatabase(options);
  const state = async () => ({
    course: await run(
      "select completed_version from learning.content_progress p join learning.content_items i on i.id = p.item_id where i.slug = 'course'",
    ),
    training: await run("select status, progress from learning.training"),
    level: await run("select level from learning.user_skills"),
    item: await run(
      "select active_seconds from learning.content_progress p join learning.content_items i on i.id = p.item_id where i.slug = 'a'",
    ),
    session: await run("select active_seconds, heartbeat_count from learning.content_consumption"),
    price: await run("select input_price_per_million_tokens as price from billing.model_prices"),
    gains: await run("select distinct gain from learning.content_skills"),
  });
  const after = await state();
  expect(after).toEqual({
    course: [{ completed_version: 1 }],
    training: [{ status: "completed", progress: "1.0000" }],
    level: [{ level: "4.25" }],
    // The session of a minute counted two; the 80 seconds of others are as they were.
    item: [{ active_seconds: "140" }],
    session: [{ active_seconds: 60, heartbeat_count: 12 }],
    price: [{ price: "2.500000" }],
    gains: [{ gain: "0.50" }],
  });
  // The way back keeps what was recorded, and so does going forward again.
  await rollback({ ...options, steps: 1 });
  expect(await state()).toEqual(after);
  await migrateDatabase(options);
  expect(await state()).toEqual(after);
}, 120_000);
