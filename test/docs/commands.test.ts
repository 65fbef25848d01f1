import { readFileSync } from "node:fs";
import { expect, test } from "@jest/globals";
import { buildProgram } from "../../src/cli/program.ts";
import { commandsOf } from "../../tools/reference/commands-page.ts";

// test/release/release-check.test.ts compares the text of the page with what `npm run reference` writes.
test("the reference has each command of the CLI", () => {
  const page = readFileSync(new URL("../../docs/reference/commands.md", import.meta.url), "utf8");
  const listed = [...page.matchAll(/^## (.*)$/gm)].map(([, name]) => name!);
  expect(listed.length).toBeGreaterThan(60);
  expect(listed).toEqual(commandsOf(buildProgram()).map(({ path }) => path));
});
