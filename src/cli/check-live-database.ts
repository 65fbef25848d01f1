import { loadApplication } from "../application/load-application.ts";
import { applicationHistory, type MigrationHistory, plinthHistory } from "../database/history.ts";
import { migrationStatus } from "../database/migrate.ts";
import { checkLive, type LiveCheck } from "../drift/mend/live-check.ts";
import { printMend } from "../drift/mend/print.ts";
import { PlinthError } from "../support/errors.ts";
import { mostAbleRole } from "./doctor/doctor.ts";
import { note, print, printJson } from "./output.ts";
import { type Session, withClient, withSession } from "./session.ts";

/**
 * Prints the SQL that makes the configured database what its migrations make; exit code 1 if it differs.
 * @throws PlinthError MIGRATIONS_PENDING, NOT_MIGRATED, and what migrationStatus throws
 */
export async function checkLiveDatabase({ json }: { json: boolean }): Promise<void> {
  const check = await withSession(async (session) => {
    const role = mostAbleRole(session.config, session.database);
    const application = await loadApplication(session.config);
    if (role === "owner") {
      await assertMigrated(session, plinthHistory);
      if (application.migrations !== undefined)
        await assertMigrated(session, applicationHistory(application.migrations));
    } else
      note("note: Only the owner can read the history. If migrations are pending, run plinth migrate first.");
    return withClient(session.database, role, async (client) => {
      // All queries see the same state.
      await client.query("begin transaction isolation level repeatable read, read only");
      return checkLive(client, session.config.rolePrefix, application);
    });
  });
  if (!check)
    throw new PlinthError("NOT_MIGRATED", "The database has no tables of Plinth.", {
      hint: "Run plinth migrate first.",
    });
  if (!check.hasApplicationSnapshot)
    note(
      "warning: The application's schemas are not compared. Run plinth schema dump, and commit its files.",
    );
  report(check, json);
  if (check.differences.length > 0) process.exitCode = 1;
}

async function assertMigrated({ config, database }: Session, history: MigrationHistory): Promise<void> {
  const { pending } = await migrationStatus({
    ...history,
    ownerUrl: database.url("owner"),
    rolePrefix: config.rolePrefix,
  });
  if (pending.length > 0)
    throw new PlinthError(
      "MIGRATIONS_PENDING",
      `The database lacks ${pending.length} migration${pending.length === 1 ? "" : "s"}: ${pending.join(", ")}.`,
      { hint: "Run plinth migrate first, then compare again." },
    );
}

function report(check: LiveCheck, json: boolean): void {
  const { differences, statements } = check;
  if (json) printJson({ differences, statements });
  else print(printMend(check));
}
