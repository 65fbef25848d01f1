import type { Command } from "commander";
import { PlinthError } from "../../support/errors.ts";
import { ask } from "../ask.ts";
import { note, print, printJson } from "../output.ts";
import { withSession } from "../session.ts";
import { UsageError } from "../usage-error.ts";
import { wholeNumber } from "../whole-number.ts";

interface Flags {
  readonly steps: number;
  readonly yes?: boolean;
  readonly json?: boolean;
}

export function addRollback(program: Command): void {
  program
    .command("rollback")
    .description("take back the newest migrations, with the data that only they know")
    .option("--steps <n>", "how many migrations, newest first", wholeNumber, 1)
    .option("--yes", "do not ask")
    .option("--json", "print the names of what was taken back as JSON")
    .addHelpText(
      "after",
      `
All steps are one transaction: either all are taken back or none. What a migration added goes, with all data in it,
so make a backup first. Without a terminal to ask on, --yes is needed.

Example:
  $ plinth rollback --steps 1`,
    )
    .action(async (flags: Flags) => {
      const { rollback } = await import("../../database/rollback.ts");
      const { migrationStatus } = await import("../../database/migrate.ts");
      const names = await withSession(async ({ config, database }) => {
        const target = { ownerUrl: database.url("owner"), rolePrefix: config.rolePrefix };
        if (!flags.yes) await confirm((await migrationStatus(target)).applied.slice(-flags.steps).reverse());
        return (await rollback({ ...target, steps: flags.steps, log: note })).rolledBack;
      });
      if (flags.json) printJson({ rolledBack: names });
      else print(`${names.length} rolled back.`);
    });
}

async function confirm(names: readonly string[]): Promise<void> {
  if (!process.stdin.isTTY)
    throw new UsageError(
      "There is no terminal to ask on: say --yes to roll back and lose what the migration added.",
    );
  note(`This takes back, with all data in what they added:\n${names.map((name) => `  ${name}`).join("\n")}`);
  if (!/^y(es)?$/i.test(await ask("Go on? [y/N] ")))
    throw new PlinthError("NOT_CONFIRMED", "Nothing was rolled back.");
}
