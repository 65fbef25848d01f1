import type { Command } from "commander";
import type { Config } from "../../config/config.ts";
import type { Survey, UninstallOptions, UninstallOutcome } from "../../database/uninstall/uninstall.ts";
import { PlinthError } from "../../support/errors.ts";
import { ask } from "../ask.ts";
import { note, oneLine, print, printJson } from "../output.ts";
import { showProgress } from "../progress/progress.ts";
import { withSession } from "../session.ts";
import { UsageError } from "../usage-error.ts";

interface Flags {
  readonly plan?: boolean;
  readonly application?: boolean;
  readonly roles?: boolean;
  readonly force?: boolean;
  readonly yes?: boolean;
  readonly json?: boolean;
}

export function addUninstall(program: Command): void {
  program
    .command("uninstall")
    .description("remove Plinth and all its data from the database")
    .option("--plan", "print what would be removed, and change nothing")
    .option("--application", "also remove the schemas of the application in this folder")
    .option("--roles", "also drop Plinth's roles, unless something else on the server uses them")
    .option("--force", "continue while sessions of Plinth's roles are connected")
    .option("--yes", "do not ask for confirmation")
    .option("--json", "print the result as JSON")
    .addHelpText(
      "after",
      `
Removes Plinth's schemas, its job queue and its record of migrations, and restores what the install changed elsewhere, so that a
dump of the database is the same as before the install. Other schemas stay. Back up first. If it is interrupted, run it again.
Without a terminal, --yes is required.

Example:
  $ plinth uninstall --plan
  $ plinth uninstall --roles`,
    )
    .action(async (flags: Flags) => {
      const { planUninstall, uninstall } = await import("../../database/uninstall/uninstall.ts");
      await withSession(async ({ config, database, signal }) => {
        const options: UninstallOptions = {
          ownerUrl: database.url("owner"),
          rolePrefix: config.rolePrefix,
          application: flags.application ? await applicationSchemas(config) : undefined,
          roles: flags.roles,
          force: flags.force,
          signal,
          log: note,
          onProgress: showProgress,
        };
        const plan = flags.plan || !flags.yes ? await planUninstall(options) : undefined;
        if (flags.plan) return flags.json ? printJson(plan) : printPlan(plan!, flags, print);
        if (plan) await confirm(plan, flags);
        const outcome = await uninstall(options);
        if (flags.json) printJson(outcome);
        else printOutcome(outcome);
      });
    });
}

async function applicationSchemas(config: Config): Promise<readonly string[]> {
  const { loadApplication } = await import("../../application/load-application.ts");
  const { schemas, migrations } = await loadApplication(config);
  if (migrations === undefined)
    throw new UsageError("This folder has no application with migrations: its plinth.config names none.");
  return schemas ?? [];
}

function printPlan(
  {
    database,
    schemas,
    extensions,
    blockers,
    sessions,
    roles,
    transactions,
  }: Survey & { transactions: number },
  flags: Flags,
  write: (line: string) => void,
): void {
  write(`From the database ${database}:`);
  for (const { name, tables, rows, isEstimate } of schemas)
    write(
      `  drop schema ${name}: ${tables} tables with ${isEstimate ? "about " : ""}${rows.toLocaleString("en")} rows`,
    );
  for (const { name, users } of extensions)
    write(
      users.length === 0
        ? `  drop extension ${name}`
        : `  move extension ${name} to the schema public, because these use it: ${oneLine(users.join(", "))}`,
    );
  for (const { name, usedBy } of roles)
    write(
      usedBy.length > 0
        ? `  keep role ${name}, which is in use: ${oneLine(usedBy.join(", "))}`
        : `  ${flags.roles ? "drop" : "keep"} role ${name}${flags.roles ? "" : " (without --roles)"}`,
    );
  write(`  in ${transactions === 1 ? "one transaction" : `${transactions} transactions`}`);
  for (const blocker of blockers) write(`Blocked by ${oneLine(blocker)}`);
  for (const session of sessions) write(`Connected: ${oneLine(session)}`);
}

async function confirm(plan: Survey & { transactions: number }, flags: Flags): Promise<void> {
  if (!process.stdin.isTTY)
    throw new UsageError("No terminal to prompt on: use --yes to remove Plinth and all its data.");
  printPlan(plan, flags, note);
  const answer = await ask("Type the name of the database to remove Plinth and all its data from it: ");
  if (answer.trim() !== plan.database) throw new PlinthError("NOT_CONFIRMED", "Nothing was removed.");
}

function printOutcome({ database, schemas, droppedRoles, keptRoles, notes }: UninstallOutcome): void {
  print(`Removed Plinth from the database ${database} (${schemas.length} schemas).`);
  if (droppedRoles.length > 0) print(`Dropped the roles ${droppedRoles.join(", ")}.`);
  for (const { name, usedBy } of keptRoles) print(`Kept the role ${name}: ${oneLine(usedBy.join(", "))}`);
  for (const line of notes) print(line);
}
