import { join, relative } from "node:path";
import type { Command } from "commander";
import type { MigrationStatus } from "../../database/migrate.ts";
import { interruptible } from "../interrupt.ts";
import { note, print, printJson } from "../output.ts";
import { withSession } from "../session.ts";
import { wholeNumber } from "../whole-number.ts";

export function addMigrate(program: Command): void {
  const command = program
    .command("migrate")
    .description("bring the database up to date, and manage migrations")
    .addHelpText(
      "after",
      `
Without a subcommand, "up" runs. It creates missing roles if the owner may, runs each pending migration in its own
transaction (Plinth's first, then those of the application in plinth.config), and installs or upgrades the job queue's
tables. If the owner may not create roles, "plinth migrate --print-roles" prints the SQL for your DBA.

Example:
  $ PLINTH_OWNER_URL=postgres://plinth_owner@db.example.com/plinth plinth migrate
  $ plinth migrate --print-roles > roles.sql
  $ plinth migrate status --json`,
    );
  addUp(command);
  addStatus(command);
  addCommit(command);
  addRecommit(command);
}

function addUp(command: Command): void {
  command
    .command("up", { isDefault: true })
    .description("run pending migrations (the default)")
    .option("--print-roles", "print the SQL that creates the roles, for an administrator, and change nothing")
    .option("--json", "print the names of the migrations that ran as JSON")
    .addHelpText("after", "\nExample:\n  $ plinth migrate\n  $ plinth migrate --print-roles > roles.sql")
    .action(async (flags: { json?: boolean; printRoles?: boolean }) => {
      if (flags.printRoles) return printRoles();
      const { bringUpToDate } = await import("../../start/up-to-date.ts");
      const { loadApplication } = await import("../../application/load-application.ts");
      const outcome = await withSession(
        async ({ config, database }) => {
          const application = await loadApplication(config);
          return bringUpToDate(config, database, { application, log: note });
        },
        { makesDatabase: true },
      );
      const count = outcome.applied.length + (outcome.application?.length ?? 0);
      if (flags.json) printJson(outcome);
      else if (count === 0) print("The database is up to date.");
      else print(`Ran ${count} ${count === 1 ? "migration" : "migrations"}.`);
    });
}

/** For a server whose administrator creates the roles. Needs no database. */
async function printRoles(): Promise<void> {
  const { loadConfig } = await import("../../config/config.ts");
  const { bootstrapSql } = await import("../../database/bootstrap-sql.ts");
  process.stdout.write(bootstrapSql({ prefix: loadConfig().rolePrefix, ownerIsCurrentUser: false }));
}

function addStatus(command: Command): void {
  command
    .command("status")
    .description("list applied and pending migrations, also those of the application")
    .option("--json", "print it as JSON")
    .addHelpText("after", "\nExample:\n  $ plinth migrate status")
    .action(async ({ json }: { json?: boolean }) => {
      const { migrationStatus } = await import("../../database/migrate.ts");
      const { historiesOf } = await import("../histories.ts");
      const { status, application } = await withSession(async ({ config, database }) => {
        const target = { ownerUrl: database.url("owner"), rolePrefix: config.rolePrefix };
        const histories = await historiesOf(config);
        return {
          status: await migrationStatus({ ...target, ...histories.plinth }),
          application:
            histories.application && (await migrationStatus({ ...target, ...histories.application })),
        };
      });
      if (json) return printJson({ ...status, ...(application && { application }) });
      printStatus(status);
      if (!application) return;
      print("\nThe application:");
      printStatus(application);
    });
}

function printStatus({ applied, pending, currentIsBlank }: MigrationStatus): void {
  for (const name of applied) print(`applied  ${name}`);
  for (const name of pending) print(`pending  ${name}`);
  if (!currentIsBlank) print("writing  current.sql");
}

function addCommit(command: Command): void {
  command
    .command("commit")
    .description("freeze current.sql as the next committed migration")
    .requiredOption("-m, --message <words>", "description; becomes part of the file name")
    .option("--json", "print the file's name as JSON")
    .addHelpText(
      "after",
      `
The whole history runs on a temporary embedded database first; a failure changes no file. Write the rollback script to
migrations/rollback/ under the same name. In a folder with plinth.config, it commits the application's migration.

Example:
  $ plinth migrate commit --message "chat folders"`,
    )
    .action(async ({ message, json }: { message: string; json?: boolean }) => {
      const { commitCurrent } = await import("../../database/commit-migration.ts");
      const { writtenHistory } = await import("../histories.ts");
      const history = await writtenHistory();
      const { file } = await onThrowawayServer((rootUrl) => commitCurrent({ ...history, rootUrl, message }));
      if (json) printJson({ file });
      else print(`Wrote ${relative(process.cwd(), join(history.migrationsFolder, "committed", file))}.`);
    });
}

function addRecommit(command: Command): void {
  command
    .command("recommit")
    .description("recommit unreleased migrations with the current fixtures")
    .option("--from <number>", "keep the migrations before this one unchanged", wholeNumber, 1)
    .option("--json", "print the names of the changed files as JSON")
    .addHelpText(
      "after",
      `
A database that ran the old history rejects the new one, so use this only before any database has applied it. The new
history runs on a temporary embedded database first; a failure changes no file.

Example:
  $ plinth migrate recommit --from 9`,
    )
    .action(async ({ json, from }: { json?: boolean; from: number }) => {
      const { recommit } = await import("../../database/recommit.ts");
      const { writtenHistory } = await import("../histories.ts");
      const history = await writtenHistory();
      const outcome = await onThrowawayServer((rootUrl) => recommit({ ...history, rootUrl, from }));
      if (json) return printJson(outcome);
      for (const name of outcome.changed) print(`changed  ${name}`);
      print(`${outcome.changed.length} changed, ${outcome.unchanged.length} unchanged.`);
    });
}

/** Ctrl-C also stops the server. */
async function onThrowawayServer<T>(use: (rootUrl: string) => Promise<T>): Promise<T> {
  const { withThrowawayServer } = await import("../throwaway-server.ts");
  return interruptible((_signal, orGiveUp) =>
    withThrowawayServer((server) => orGiveUp(use(server.superuserUrl()))),
  );
}
