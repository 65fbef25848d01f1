import { readFileSync } from "node:fs";
import { withClient } from "../../support/client.ts";
import type { TestDatabase } from "../../support/test-database.ts";
import { atDemoTime } from "./demo.ts";
import { questionsOf, type Result, type View, withResults } from "./page.ts";

const BOOLEAN = 16;
const types = {
  getTypeParser: (type: number) => (value: string) => (type === BOOLEAN ? String(value === "t") : value),
};

export const PAGE = new URL("../../../docs/analytics.md", import.meta.url);
export const readPage = () => readFileSync(PAGE, "utf8");

/** Runs each query of the page as the analyst, and returns the page with the results. */
export function answerPage(page: string, db: TestDatabase): Promise<string> {
  return withClient(db.url("analyst"), async (client) => {
    await client.query("set timezone = 'UTC'");
    const ask = async (text: string): Promise<Result> => {
      const { fields, rows } = await client.query<string[]>({
        text,
        rowMode: "array",
        types: types as never,
      });
      return { columns: fields.map(({ name }) => name), rows };
    };
    const results: Result[] = [];
    for (const { title, sql } of questionsOf(page))
      results.push(
        await ask(atDemoTime(sql)).catch((cause) => {
          throw new Error(`The query of "${title}" fails: ${cause.message}`, { cause });
        }),
      );
    const { rows } = await client.query<View>(
      `select c.relname as name, obj_description(c.oid, 'pg_class') as comment from pg_class c
       where c.relnamespace = 'analytics'::regnamespace and c.relkind in ('v', 'm') order by 1`,
    );
    return withResults(page, results, rows);
  });
}
