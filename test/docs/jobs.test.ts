import { readFileSync } from "node:fs";
import { expect, test } from "@jest/globals";
import { TIMETABLE } from "../../src/jobs/index.ts";

test("docs/operations.md lists exactly the jobs of the timetable", () => {
  const page = readFileSync(new URL("../../docs/operations.md", import.meta.url), "utf8");
  const section = page.slice(page.indexOf("\n## Jobs\n"), page.indexOf("\n## Payments\n"));
  const rows = [...section.matchAll(/^\| `([a-z-]+)` \|/gm)].map(([, name]) => name!);
  expect(rows.sort()).toEqual(TIMETABLE.map(({ name }) => name).sort());
});
