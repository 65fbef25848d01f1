import { readFileSync } from "node:fs";
import { expect, test } from "@jest/globals";
import { TIMETABLE } from "../../src/jobs/index.ts";
import { jobsTable, withJobsTable } from "../../src/jobs/jobs-table.ts";
import { scheduleInWords } from "../../src/jobs/schedule-in-words.ts";

const page = readFileSync(new URL("../../docs/jobs.md", import.meta.url), "utf8");

test("docs/jobs.md lists exactly the jobs of the timetable", () => {
  const rows = [...page.matchAll(/^\| `([a-z-]+)` \|/gm)].map(([, name]) => name!);
  expect(rows.sort()).toEqual(TIMETABLE.map(({ name }) => name).sort());
});

test("the table of jobs in docs/jobs.md is the generated one, and a changed job makes it stale", () => {
  expect(withJobsTable(page, TIMETABLE)).toBe(page);
  const [first, ...others] = TIMETABLE;
  for (const change of [{ cron: "0 5 * * *" }, { does: "does something else" }, { queue: { retryLimit: 1 } }])
    expect(withJobsTable(page, [{ ...first!, ...change }, ...others])).not.toBe(page);
  expect(withJobsTable("# A page\n", TIMETABLE)).toBeUndefined();
});

test("the table has an application's jobs, also those without a schedule or a description", () => {
  const run = async () => ({});
  expect(
    jobsTable([
      { name: "thank-customer", does: "sends thanks | a gift", run },
      {
        name: "report",
        cron: "*/15 8-17 * * 1-5",
        reason: "Managers read it.",
        run,
        queue: { retryLimit: 0 },
      },
    ])
      .split("\n")
      .slice(2),
  ).toEqual([
    "| `thank-customer` | on demand | sends thanks \\| a gift | 5 |",
    "| `report` | `*/15 8-17 * * 1-5` | Managers read it. | 0 |",
  ]);
});

test.each([
  ["* * * * *", "every minute"],
  ["*/15 * * * *", "every 15 minutes"],
  ["*/7 * * * *", "`*/7 * * * *`"],
  ["7 * * * *", "hourly at :07"],
  ["7 3 * * *", "daily at 3:07"],
  ["7 3 * * 0", "on Sunday at 3:07"],
  ["7 3 1 * *", "`7 3 1 * *`"],
  ["7 3 * 2 *", "`7 3 * 2 *`"],
  ["7 */2 * * *", "`7 */2 * * *`"],
  ["7 * * * 1", "`7 * * * 1`"],
  ["7 3 * * 1-5", "`7 3 * * 1-5`"],
])("the schedule %s reads as %s", (cron, words) => {
  expect(scheduleInWords(cron)).toBe(words);
});
