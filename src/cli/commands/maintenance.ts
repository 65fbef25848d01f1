import type { Command } from "commander";
import { PlinthError } from "../../support/errors.ts";
import { note, print, printJson } from "../output.ts";
import { showProgress } from "../progress/progress.ts";
import { withClient, withSession } from "../session.ts";

interface Flags {
  readonly plan?: boolean;
  readonly json?: boolean;
}

export function addMaintenance(program: Command): void {
  program
    .command("maintenance")
    .description("vacuum, analyze and reindex the tables and indexes that need it")
    .option("--plan", "print the statements and their reasons, and run none")
    .option("--json", "print the tasks as JSON")
    .addHelpText(
      "after",
      `
Finds tables that autovacuum does not keep up with, partitioned tables with old statistics, and invalid or bloated indexes.
No statement blocks readers or writers; indexes are rebuilt concurrently. Ctrl-C cancels the current statement. After an
interrupted reindex, run it again: it drops what was left over. Needs the owner's URL. Exits with 1 if a statement failed.

Example:
  $ plinth maintenance --plan
  $ plinth maintenance`,
    )
    .action(async ({ plan, json }: Flags) => {
      const { findTasks } = await import("../../maintenance/find-tasks.ts");
      const { runTasks, sqlOf } = await import("../../maintenance/run-tasks.ts");
      await withSession(({ database, signal }) =>
        withClient(database, "owner", async (client) => {
          const tasks = await findTasks(client);
          if (plan) {
            if (json) printJson({ tasks });
            else if (tasks.length === 0) print("Nothing needs maintenance.");
            else for (const task of tasks) print(`${sqlOf(task)};  -- ${task.reason}`);
            return;
          }
          const results = await runTasks(client, tasks, {
            ownerUrl: database.url("owner"),
            signal,
            log: note,
            onProgress: showProgress,
          });
          const failed = results.filter(({ error }) => error !== null);
          if (json) printJson({ tasks: results });
          else print(`Ran ${results.length - failed.length} of ${tasks.length} statements.`);
          if (signal.aborted) throw new PlinthError("INTERRUPTED", "Stopped.", { exitCode: 130 });
          if (failed.length > 0) process.exitCode = 1;
        }),
      );
    });
}
