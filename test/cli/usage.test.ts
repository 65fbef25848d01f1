import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "@jest/globals";
import type { Command } from "commander";
import { buildProgram } from "../../src/cli/program.ts";
import { PACKAGE_ROOT } from "../../src/support/paths.ts";
import { cli } from "./run-cli.ts";
import { runHere } from "./run-here.ts";

/** No command here should reach a database; if one does, it must not be the embedded one of this folder. */
const runNowhere = (args: readonly string[]) =>
  runHere(args, { env: { PLINTH_OWNER_URL: "postgres://nobody@127.0.0.1:1/nowhere" } });

/** Every command and group of commands, as the words that call it. */
function commandLines(command: Command, words: string[] = []): string[][] {
  return [words, ...command.commands.flatMap((child) => commandLines(child, [...words, child.name()]))];
}

describe("help", () => {
  const lines = commandLines(buildProgram());

  test("covers the promised commands", () => {
    const names = lines.map((words) => words.join(" "));
    for (const promised of [
      "start",
      "serve",
      "work",
      "migrate up",
      "migrate status",
      "migrate commit",
      "migrate recommit",
      "rollback",
      "db url",
      "user create",
      "user grant",
      "import models",
      "import prompts",
      "import chats",
      "import content",
      "export chats",
      "export content",
      "keys generate",
      "keys status",
      "keys rotate",
      "keys hash-emails",
      "schema dump",
      "schema check",
      "doctor",
    ])
      expect(names).toContain(promised);
  });

  test.each(lines.map((words) => [words.join(" ") || "(none)", words]))(
    "of %s says what it does, with an example",
    async (_name, words) => {
      const { code, stdout, stderr } = await runNowhere([...(words as string[]), "--help"]);
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
      expect(stdout).toMatch(/^Usage: plinth/);
      expect(stdout).toMatch(/^Example:\n {2}\$ /m);
    },
  );

  test("of migrate lists the options of its default subcommand", async () => {
    const { stdout } = await runNowhere(["migrate", "--help"]);
    for (const option of ["--plan", "--wait <seconds>", "--print-roles", "--json"])
      expect(stdout).toMatch(new RegExp(`^ {2}${option} +\\S`, "m"));
  });

  test("of the program lists the exit codes", async () => {
    const { stdout } = await runNowhere(["--help"]);
    for (const code of [0, 1, 2, 70, 130]) expect(stdout).toMatch(new RegExp(`^ +${code} {2}\\S`, "m"));
  });

  test("is printed by the real executable, without settings or a database", async () => {
    const { code, stdout, stderr } = await cli(["--help"], { env: { PLINTH_PORT: "nonsense" } });
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toMatch(/^Usage: plinth/);
  });
});

describe("wrong usage exits with 2, writes to stderr and writes nothing to stdout", () => {
  test.each([
    ["no command", []],
    ["an unknown command", ["strat"]],
    ["an unknown subcommand", ["schema", "dmup"]],
    ["an unknown option", ["doctor", "--jsno"]],
    ["a missing argument", ["import", "prompts"]],
    ["an argument too many", ["migrate", "nonsense"]],
    ["a missing option", ["db", "url"]],
    ["an unknown role", ["db", "url", "--role", "postgres"]],
    ["an invalid number of steps", ["rollback", "--steps", "0"]],
    ["an invalid time", ["user", "grant", "ada", "admin", "--expires", "2027-02-30"]],
    [
      "options that exclude each other",
      ["user", "grant", "ada", "admin", "--revoke", "--expires", "2027-01-01"],
    ],
    [
      "two sources for a password",
      ["user", "create", "ada", "--email", "a@b", "--generate-password", "--password-stdin"],
    ],
  ])("rejects %s", async (_name, argv) => {
    const { code, stdout, stderr } = await runNowhere(argv as string[]);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).not.toMatch(/\n\s+at /);
  });

  test("suggests a command for a mistyped one", async () => {
    expect((await runNowhere(["strat"])).stderr).toContain("start");
  });
});

test("reports an invalid setting in one sentence and exits with 1, without a stack", async () => {
  const { code, stdout, stderr } = await cli(["migrate", "status"], { env: { PLINTH_PORT: "eighty" } });
  expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
  expect(stderr).toMatch(/^error: PLINTH_PORT .*\n$/);
});

test("reports an unreachable database in a sentence with a hint and exits with 1, without a stack", async () => {
  const env = { PLINTH_OWNER_URL: "postgres://somebody:s3cret-password@127.0.0.1:1/nowhere" };
  const { code, stdout, stderr } = await cli(["migrate", "status"], { env });
  expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
  expect(stderr).toMatch(/^error: .*\nhint: .*\n$/);
  expect(stderr).not.toContain("s3cret-password");
});

test("prints its version", async () => {
  const { code, stdout } = await runNowhere(["--version"]);
  expect(code).toBe(0);
  const { version } = JSON.parse(readFileSync(join(PACKAGE_ROOT, "package.json"), "utf8"));
  expect(version).toMatch(/^\d+\.\d+\.\d+(-rc\.\d+)?$/);
  expect(stdout).toBe(`${version}\n`);
});
