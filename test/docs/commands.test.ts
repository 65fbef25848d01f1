import { readFileSync } from "node:fs";
import { expect, test } from "@jest/globals";
import type { Command } from "commander";
import { buildProgram } from "../../src/cli/program.ts";

/** Commands as typed: `db url`, and `migrate` for its default subcommand `migrate up`. */
function namesOf(command: Command, path: readonly string[] = []): string[] {
  if (command.commands.length === 0) return [path.join(" ")];
  // Commander has no public way to read the default subcommand.
  const { _defaultCommandName: byDefault } = command as unknown as { _defaultCommandName?: string | null };
  return command.commands.flatMap((child) =>
    namesOf(child, child.name() === byDefault ? path : [...path, child.name()]),
  );
}

test("the README lists exactly the commands of the CLI", () => {
  const readme = readFileSync(new URL("../../README.md", import.meta.url), "utf8");
  const section = readme.slice(readme.indexOf("## Commands"), readme.indexOf("Commands that print data"));
  const listed = [...section.matchAll(/`([a-z -]+)`/g)].map(([, name]) => name!);
  const names = listed.filter((name) => !/^npx |^--/.test(name));
  expect(names.sort()).toEqual(namesOf(buildProgram()).sort());
});
