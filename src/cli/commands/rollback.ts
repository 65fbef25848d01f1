import { type Command, Option } from "commander";
import type { Config } from "../../config/config.ts";
import type { MigrationHistory } from "../../database/history.ts";
import { PlinthError } from "../../support/errors.ts";
import { ask } from "../ask.ts";
import { note, print, printJson } from "../output.ts";
import { showProgress } from "../progress/progress.ts";
import { scratchServerFor } from "../scratch-server.ts";
import { waiting, withClient, withSession } from "../session.ts";
import { UsageError } from "../usage-error.ts";
import { seconds, wholeNumber } from "../whole-number.ts";

interface Flags {
  readonly steps: number;
  readonly wait?: number;
  readonly of?: "plinth" | "application";
  readonly plan?: boolean;
  readonly yes?: boolean;
  readonly json?: boolean;
}

export function addRollback(program: Command): void {
  program
    .command("rollback")
    .description("roll back the latest migrations and the data they added")
    .option("--steps <n>", "number of migrations, newest first", wholeNumber, 1)
    .addOption(
      new Option(
        "--of <whose>",
        "migrations to roll back; in a folder with plinth.config, the application's by default",
      ).choices(["plinth", "application"]),
    )
    .option(
      "--plan",
      "print the data that would be lost, the locks and blocking sessions, and change nothing",
    )
    .option("--wait <seconds>", "longest time to retry while other sessions hold locks", seconds)
    .option("--yes", "do not ask for confirmation")
    .option("--json", "print the names of the rolled back migrations, or the plan, as JSON")
    .addHelpText(
      "after",
      `
All steps run in one transaction: either all are rolled back or none. Everything that a migration added is deleted, with
all data in it, so back up first. Without a terminal, --yes is required. Plinth's migrations can be rolled back only after
the application's migrations that ran later.

Example:
  $ plinth rollback --steps 1 --plan
  $ plinth rollback --steps 1
  $ plinth rollback --of plinth --steps 1`,
    )
    .action(async (flags: Flags) => {
      if (flags.plan) return printPlan(flags);
      const { rollback } = await import("../../database/rollback.ts");
      const { sessionsInTheWay } = await import("../../database/plinth-sessions.ts");
      const { migrationStatus } = await import("../../database/migrate.ts");
      const names = await withSession(async ({ config, database, signal }) => {
        const history = await chosenHistory(config, flags.of);
        const target = { ...history, ownerUrl: database.url("owner"), rolePrefix: config.rolePrefix };
        const sessions = await withClient(database, "owner", (client) =>
          sessionsInTheWay(client, config.rolePrefix),
        );
        if (sessions !== undefined) note(sessions);
        if (!flags.yes) await confirm((await migrationStatus(target)).applied.slice(-flags.steps).reverse());
        const { migrations: patience } = waiting(config, flags.wait);
        const { rolledBack } = await rollback({
          ...target,
          steps: flags.steps,
          log: note,
          onProgress: showProgress,
          patience,
          signal,
        });
        return rolledBack;
      });
      if (flags.json) printJson({ rolledBack: names });
      else print(`Rolled back ${names.length} ${names.length === 1 ? "migration" : "migrations"}.`);
    });
}

async function printPlan({ of, steps, json }: Flags): Promise<void> {
  const { planRollback } = await import("../../migration-plan/plan-rollback.ts");
  const { historiesOf } = await import("../histories.ts");
  const { planLines } = await import("../plan-lines.ts");
  const plan = await withSession(async ({ config, database }) => {
    const history = await chosenHistory(config, of);
    const { application } = await historiesOf(config);
    return planRollback({
      ownerUrl: database.url("owner"),
      rolePrefix: config.rolePrefix,
      history,
      steps,
      applicationMigrations: application?.migrationsFolder,
      withScratchServer: scratchServerFor(config),
      log: note,
      onProgress: showProgress,
    });
  });
  if (json) return printJson(plan);
  for (const line of planLines(plan, { isRollback: true })) print(line);
}

async function chosenHistory(config: Config, of: Flags["of"]): Promise<MigrationHistory> {
  const { historiesOf } = await import("../histories.ts");
  const { plinth, application } = await historiesOf(config);
  if (of === "plinth") return plinth;
  if (of === "application" && !application)
    throw new UsageError("This folder has no application with migrations: its plinth.config names none.");
  return application ?? plinth;
}

async function confirm(names: readonly string[]): Promise<void> {
  if (!process.stdin.isTTY)
    throw new UsageError(
      "No terminal to prompt on: use --yes to roll back and delete the data that the migrations added.",
    );
  note(
    `This rolls back these migrations and deletes all data they added:\n${names.map((name) => `  ${name}`).join("\n")}`,
  );
  if (!/^y(es)?$/i.test(await ask("Continue? [y/N] ")))
    throw new PlinthError("NOT_CONFIRMED", "Nothing was rolled back.");
}
