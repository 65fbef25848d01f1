import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "@jest/globals";
import { PACKAGE_ROOT } from "../../src/support/paths.ts";

// src/http/app.ts is the ordered list of the server's steps. A step that is not in it does nothing.

const STEPS = readdirSync(join(PACKAGE_ROOT, "src/http/steps")).map((file) => file.replace(/\.ts$/, ""));
const LIST = readFileSync(join(PACKAGE_ROOT, "src/http/app.ts"), "utf8").match(
  /\bapp\.(?:use|get|post|all)\(.*;/g,
)!;

/** Whether an entry has the step as its handler: `logStep(…)`, `rateLimit.step` or `parts.dataExport`. */
function handles(entry: string, step: string): boolean {
  const name = step.replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase());
  return new RegExp(String.raw`\b${name}(?:Step\(|\.step\b)|, (?:parts\.)?${name}\);`).test(entry);
}

const missing = (list: readonly string[]) =>
  STEPS.filter((step) => !list.some((entry) => handles(entry, step)));

test("each file of src/http/steps is in the ordered list of src/http/app.ts", () => {
  expect(STEPS.length).toBeGreaterThan(10);
  expect(missing(LIST)).toEqual([]);
});

test.each(STEPS)("reports %s when the list omits it", (step) => {
  expect(missing(LIST.filter((entry) => !handles(entry, step)))).toContain(step);
});
