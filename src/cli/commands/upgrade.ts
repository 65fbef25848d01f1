import type { Command } from "commander";
import type { Plan } from "../../migration-plan/plan.ts";
import { PlinthError } from "../../support/errors.ts";
import { PLINTH_VERSION } from "../../support/version.ts";
import type { DatabaseVersion } from "../../upgrade/database-version.ts";
import type { UpgradeNotes } from "../../upgrade/upgrade-notes.ts";
import { migrate, planOf } from "../migrating.ts";
import { print, printJson } from "../output.ts";
import { type Session, withClient, withSession } from "../session.ts";
import { seconds } from "../whole-number.ts";

interface Flags {
  readonly notes?: boolean;
  readonly yes?: boolean;
  readonly wait?: number;
  readonly json?: boolean;
}

export function addUpgrade(program: Command): void {
  program
    .command("upgrade")
    .description("print what changes between the database's version and this one, and upgrade it with --yes")
    .option("--notes", "print the changes and the steps only, without the plan of the migrations")
    .option("--yes", "run the pending migrations after printing")
    .option("--wait <seconds>", "longest time to retry while other sessions hold locks", seconds)
    .option("--json", "print it as JSON")
    .addHelpText(
      "after",
      `
Without --yes it changes nothing. It prints the entries of CHANGELOG.md between the version that migrated the database last
and this one, the pending migrations with their locks as "plinth migrate --plan" does, and the steps before and after.

Example:
  $ plinth upgrade
  $ plinth upgrade --notes
  $ plinth upgrade --yes`,
    )
    .action((flags: Flags) => withSession((session) => upgrade(session, flags)));
}

async function upgrade(session: Session, flags: Flags): Promise<void> {
  const { readDatabaseVersion } = await import("../../upgrade/database-version.ts");
  const database = await withClient(session.database, "owner", readDatabaseVersion);
  const notes = await notesOf(session, database);
  if (notes.isNewer)
    throw new PlinthError(
      "MIGRATIONS_AHEAD",
      `The database has version ${notes.from}, and this is Plinth ${notes.to}.`,
      {
        hint: "Use the newer version, or roll back with it first.",
      },
    );
  const plan = flags.notes ? undefined : await planOf(session);
  if (!flags.json && !flags.yes && isCurrent(notes, plan))
    return print(
      `The database has version ${notes.to}, as this Plinth does. ${plan ? "No migration is pending: there is nothing to upgrade." : "There are no changes to read."}`,
    );
  if (!flags.json) await printNotes(notes, database, plan);
  const outcome = flags.yes ? await migrate(session, flags.wait) : undefined;
  if (flags.json) printJson({ ...notes, ...(plan && { plan }), ...(outcome && { outcome }) });
  else
    print(outcome ? `\nThe database now has version ${notes.to}.` : "\nTo upgrade: npx plinth upgrade --yes");
}

/** Whether nothing changes. An application may have migrations of its own that are pending. */
function isCurrent({ from, to }: UpgradeNotes, plan: Plan | undefined): boolean {
  return from === to && (plan?.steps.length ?? 0) === 0;
}

async function notesOf({ database }: Session, version: DatabaseVersion): Promise<UpgradeNotes> {
  const { upgradeNotes } = await import("../../upgrade/upgrade-notes.ts");
  const { readChangelog } = await import("../../upgrade/changelog.ts");
  const { unknownSettings } = await import("../../config/config.ts");
  return upgradeNotes({
    database: version,
    to: PLINTH_VERSION,
    changelog: await readChangelog(),
    unknownSettings: unknownSettings(),
    isEmbedded: database.kind === "embedded",
  });
}

async function printNotes(notes: UpgradeNotes, { isMigrated }: DatabaseVersion, plan?: Plan): Promise<void> {
  const { changeLines, stepLines } = await import("../upgrade-lines.ts");
  const { planLines } = await import("../plan-lines.ts");
  const pending = plan?.steps.length === 0 ? ["", "No migration is pending."] : ["", "Migrations:", ""];
  for (const line of [
    ...changeLines(notes, isMigrated),
    ...stepLines("Before", notes.before),
    ...(plan ? [...pending, ...planLines(plan, { isRollback: false })] : []),
    ...stepLines("After", notes.after),
  ])
    print(line);
}
