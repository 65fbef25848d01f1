import { join, relative } from "node:path";
import type { Command } from "commander";
import type { MigrationStatus } from "../../database/migrate.ts";
import { migrate, planOf } from "../migrating.ts";
import { print, printJson, write } from "../output.ts";
import { showProgress } from "../progress/progress.ts";
import { onThrowawayServer } from "../scratch-server.ts";
import { withSession } from "../session.ts";
import { seconds, wholeNumber } from "../whole-number.ts";

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

Options of "up", which may also follow "migrate" ("plinth migrate up --help" says more):
  --plan            print the pending migrations with their locks, losses and blocking sessions, and change nothing
  --wait <seconds>  longest time to retry while other sessions hold locks
  --print-roles     print the SQL that creates the roles, for an administrator, and change nothing
  --json            print the result as JSON

Example:
  $ PLINTH_OWNER_URL=postgres://plinth_owner@db.example.com/plinth plinth migrate
  $ plinth migrate --plan
  $ plinth migrate --wait 600
  $ plinth migrate --print-roles > roles.sql
  $ plinth migrate status --json`,
    );
  addUp(command);
  addStatus(command);
  addCommit(command);
  addRecommit(command);
}

interface UpFlags {
  readonly json?: boolean;
  readonly plan?: boolean;
  readonly printRoles?: boolean;
  readonly wait?: number;
}

function addUp(command: Command): void {
  command
    .command("up", { isDefault: true })
    .description("run pending migrations (the default)")
    .option("--print-roles", "print the SQL that creates the roles, for an administrator, and change nothing")
    .option(
      "--plan",
      "print the pending migrations with their locks, losses and blocking sessions, and change nothing",
    )
    .option("--wait <seconds>", "longest time to retry while other sessions hold locks", seconds)
    .option("--json", "print the names of the migrations that ran, or the plan, as JSON")
    .addHelpText(
      "after",
      `
--plan runs the pending migrations on a scratch database with the same schema, on a temporary embedded server or on the
server that TEST_DATABASE_URL names, and reads the locks that they take there. The live database is only read.

A migration that cannot get a lock within two seconds (PLINTH_MIGRATION_LOCK_TIMEOUT_MS) changes nothing, lets the queries
behind it run, and runs again after a pause. After --wait seconds it stops and names the session that holds the lock.

The script of --print-roles makes the role in PLINTH_OWNER_URL, or else a new role, the database's owner. Its first lines list
its changes. It sets no passwords; its last lines say how to set them.

Example:
  $ plinth migrate
  $ plinth migrate --plan
  $ plinth migrate --wait 600
  $ plinth migrate --print-roles > roles.sql`,
    )
    .action(async (flags: UpFlags) => {
      if (flags.printRoles) return printRoles();
      if (flags.plan) return printPlan(flags);
      const outcome = await withSession((session) => migrate(session, flags.wait), { makesDatabase: true });
      const count = outcome.applied.length + (outcome.application?.length ?? 0);
      if (flags.json) printJson(outcome);
      else if (count === 0) print("The database is up to date.");
      else print(`Ran ${count} ${count === 1 ? "migration" : "migrations"}.`);
    });
}

async function printPlan({ json }: UpFlags): Promise<void> {
  const { planLines } = await import("../plan-lines.ts");
  const plan = await withSession(planOf);
  if (json) return printJson(plan);
  if (plan.steps.length === 0) print("The database is up to date.");
  for (const line of planLines(plan, { isRollback: false })) print(line);
}

/** For a server whose administrator creates the roles. Needs no database. */
async function printRoles(): Promise<void> {
  const { loadConfig } = await import("../../config/config.ts");
  const { bootstrapSql } = await import("../../database/bootstrap-sql.ts");
  const { parseDatabaseUrl } = await import("../../connection/database-url.ts");
  const { rolePrefix: prefix, databaseUrls } = loadConfig();
  const owner = databaseUrls.owner === undefined ? undefined : parseDatabaseUrl(databaseUrls.owner).user;
  write(bootstrapSql({ prefix, ownerIsCurrentUser: false, owner: owner || undefined }));
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
The whole history runs on a temporary database first; a failure changes no file. The database is embedded, or on the
server that TEST_DATABASE_URL names, as a role that may create databases and roles. Write the rollback script to
migrations/rollback/ under the same name. In a folder with plinth.config, it commits the application's migration.

Example:
  $ plinth migrate commit --message "chat folders"`,
    )
    .action(async ({ message, json }: { message: string; json?: boolean }) => {
      const { commitCurrent } = await import("../../database/commit-migration.ts");
      const { writtenHistory } = await import("../histories.ts");
      const history = await writtenHistory();
      const { file } = await onThrowawayServer((rootUrl) =>
        commitCurrent({ ...history, rootUrl, message, onProgress: showProgress }),
      );
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
A database that ran the old history rejects the new one, so use this only before any database has applied it. Migrations that
migrations/CHECKSUMS lists under a release are frozen. The new history runs on a temporary database first, as for commit; a failure changes no file.

Example:
  $ plinth migrate recommit --from 9`,
    )
    .action(async ({ json, from }: { json?: boolean; from: number }) => {
      const { recommit } = await import("../../database/recommit.ts");
      const { writtenHistory } = await import("../histories.ts");
      const history = await writtenHistory();
      const outcome = await onThrowawayServer((rootUrl) =>
        recommit({ ...history, rootUrl, from, onProgress: showProgress }),
      );
      if (json) return printJson(outcome);
      for (const name of outcome.changed) print(`changed  ${name}`);
      print(`${outcome.changed.length} changed, ${outcome.unchanged.length} unchanged.`);
    });
}
