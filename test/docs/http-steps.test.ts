import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "@jest/globals";
import { PACKAGE_ROOT } from "../../src/support/paths.ts";

const read = (path: string) => readFileSync(join(PACKAGE_ROOT, path), "utf8");
const steps = readdirSync(join(PACKAGE_ROOT, "src/http/steps")).map((file) => file.replace(/\.ts$/, ""));
/** The lines of src/http/app.ts that put a step into the list. */
const list = read("src/http/app.ts")
  .split("\n")
  .filter((line) => /\bapp\.(use|all|get|post)\(/.test(line));

/** Place in the list: `rate-limit` is `rateLimit.step`, `rateLimitStep()` or the handler `rateLimit`. */
function placeOf(step: string): number {
  const name = step.replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase());
  return list.findIndex((line) =>
    new RegExp(String.raw`\b${name}(Step)?\b`).test(line.replace(/^.*?\bapp\./, "")),
  );
}

test("each file in src/http/steps is in the list of src/http/app.ts", () => {
  expect(steps.length).toBeGreaterThan(10);
  expect(steps.filter((step) => placeOf(step) === -1)).toEqual([]);
});

test("docs/development.md names the steps in their order", () => {
  const [, sentence] = /in this order: ([^.]+)\./.exec(read("docs/development.md"))!;
  const named = [...sentence!.matchAll(/`([a-z-]+)`/g)].map(([, step]) => step!);
  expect(named).toEqual(steps.toSorted((a, b) => placeOf(a) - placeOf(b)));
});
