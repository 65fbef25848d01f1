import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { answerPage, readPage } from "../analytics/page/answer.ts";
import { createDemoDatabase } from "../analytics/page/demo.ts";
import { questionsOf } from "../analytics/page/page.ts";
import { type TestDatabase, withClient } from "../support/database.ts";

const page = readPage();
const questions = questionsOf(page);
const examples = [...page.matchAll(/```sql\n(.*?)```/gs)].map(([, sql]) => sql!);

let db: TestDatabase;
let answered: string;
beforeAll(async () => {
  db = await createDemoDatabase();
  answered = await answerPage(page, db);
});
afterAll(() => db.drop());

test("lists exactly the views that analysts have", async () => {
  const views = await withClient(db.url("analyst"), async (client) => {
    const { rows } = await client.query<{ name: string }>(
      "select relname as name from pg_class where relnamespace = 'analytics'::regnamespace and relkind in ('v', 'm')",
    );
    return rows.map(({ name }) => name);
  });
  const table = page.slice(page.indexOf("| View | One row per |"), page.indexOf("<!-- /views -->"));
  const named = [...table.matchAll(/^\| `(\w+)` \| \S/gm)].map(([, name]) => name!);
  expect(named.sort()).toEqual(views.sort());
});

test.each(examples)("contains an example that the analyst can run: %s", async (sql) => {
  const { fields } = await withClient(db.url("analyst"), (client) => client.query(sql));
  expect(fields.length).toBeGreaterThan(1);
});

describe("the thirty questions", () => {
  test("are numbered, and each has a result with rows", () => {
    expect(questions.map(({ title }) => Number.parseInt(title, 10))).toEqual(
      Array.from({ length: 30 }, (_, index) => index + 1),
    );
    const results = [...page.matchAll(/^### \d+\. [\s\S]*?```\n\n(\|.+\n\| --- .*\n)(\|.+\n)+\n/gm)];
    expect(results.length).toBe(30);
  });

  test("have the results, the index and the table of views of the demo product; `npm run analytics` writes them", () => {
    expect(page).toBe(answered);
  });

  test("become stale with a result, a heading or a view", async () => {
    for (const [before, after] of [
      ["| 2025-06-26 |", "| 2025-06-20 |"],
      ["- [1. ", "- [2. "],
      ["| `users` | account", "| `users` | person"],
    ] as const) {
      const stale = page.replace(before, after);
      expect(stale).not.toBe(page);
      expect(await answerPage(stale, db)).toBe(page);
    }
  });
});
