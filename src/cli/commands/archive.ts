import type { Command } from "commander";
import { stopIfAborted } from "../../archive/stop-if-aborted.ts";
import type { ArchiveWriter } from "../../archive/write-open-archives.ts";
import { backupKeysOf } from "../../auth/backup-keys.ts";
import { PlinthError } from "../../support/errors.ts";
import { note, print, printJson } from "../output.ts";
import { showProgress } from "../progress/progress.ts";
import { type Session, withClient, withSession } from "../session.ts";

interface Flags {
  readonly plan?: boolean;
  readonly json?: boolean;
}

const SETTINGS = `
Files are in PLINTH_ARCHIVES (embedded: .plinth/archives), one JSON object a line, compressed, and encrypted if
PLINTH_BACKUP_KEY is set.`;

export function addArchive(program: Command): void {
  const command = program
    .command("archive")
    .description("archive or drop old months of logs, as their retention policies say")
    .addHelpText("after", `${SETTINGS}\n\nExample:\n  $ plinth archive run --plan`);
  addRun(command);
  addList(command);
  addAttach(command);
  addDetach(command);
  addVerify(command);
}

function addRun(command: Command): void {
  command
    .command("run")
    .description("archive or drop the months that are due, as the job archive-old-partitions does daily")
    .option("--plan", "print the months that are due, and change nothing")
    .option("--json", "print the result as JSON")
    .addHelpText(
      "after",
      `
Policies are rows of security.retention_policies. Each month is moved out of its log, written to a file, read back, and only
then deleted. After a crash or Ctrl-C, run it again: it continues. Needs PLINTH_WORKER_URL or PLINTH_OWNER_URL.
${SETTINGS}

Example:
  $ plinth archive run --plan
  $ plinth archive run`,
    )
    .action(async ({ plan, json }: Flags) => {
      const { archiveDueMonths, listDueMonths } = await import("../../archive/archive-due-months.ts");
      await withSession(async (session) => {
        const { config, database } = session;
        const role = database.kind === "external" && !config.databaseUrls.worker ? "owner" : "worker";
        await withClient(database, role, async (client) => {
          if (plan) {
            const due = await listDueMonths(client);
            if (json) printJson({ due });
            else if (due.length === 0) print("No month is due.");
            else
              for (const each of due)
                print(`${each.action} ${each.log} ${each.month}: about ${rowCount(each.estimatedRows)}`);
            return;
          }
          const { directory } = config.archives;
          const keys = backupKeysOf(config.archives);
          const url = database.url(role);
          const { signal } = session;
          const done = await archiveDueMonths({
            client,
            url,
            directory,
            keys,
            signal,
            log: note,
            onProgress: showProgress,
          });
          if (json) printJson(done);
          else {
            print(
              `Archived ${months(done.archived)} with ${rowCount(done.archivedRows)}, dropped ${months(done.dropped)} with ${rowCount(done.droppedRows)}.`,
            );
            if (done.waiting > 0)
              print(
                `${months(done.waiting)} ${done.waiting === 1 ? "waits" : "wait"} to be archived: set PLINTH_ARCHIVES.`,
              );
          }
          stopIfAborted({ signal });
          if (done.waiting > 0) process.exitCode = 1;
        });
      });
    });
}

const months = (n: number) => `${n} ${n === 1 ? "month" : "months"}`;

const rowCount = (n: number) => `${n} ${n === 1 ? "row" : "rows"}`;

function addList(command: Command): void {
  command
    .command("list")
    .description("list the months that were archived, attached or dropped")
    .option("--json", "print them as JSON")
    .addHelpText(
      "after",
      "\nNeeds the owner's URL.\n\nExample:\n  $ plinth archive list --json | jq '.archives[].fileName'",
    )
    .action(async ({ json }: Flags) => {
      const { listArchives } = await import("../../archive/registered-archives.ts");
      const archives = await withSession(({ database }) => withClient(database, "owner", listArchives));
      if (json) printJson({ archives });
      else if (archives.length === 0) print("No month was archived yet.");
      else
        for (const { id, log, month, state, rows, fileName } of archives)
          print([id, log, month, state, `${rows ?? "?"} rows`, fileName].filter(Boolean).join("  "));
    });
}

function addAttach(command: Command): void {
  command
    .command("attach <id>")
    .description("load an archive into its log again, for reading")
    .option("--json", "print the result as JSON")
    .addHelpText(
      "after",
      `
The rows are in the log again, under its policies, in views and in exports, until "plinth archive detach". Rows of accounts
that were deleted meanwhile are left out or lose the reference. The command is a single transaction. Needs the owner's URL.
${SETTINGS}

Example:
  $ plinth archive attach 019a8c4e-7c1e-7000-8000-000000000000`,
    )
    .action(async (id: string, { json }: Flags) => {
      const { attachArchive } = await import("../../archive/attach-archive.ts");
      const { rows, loaded } = await withWriter((writer) => attachArchive(writer, id));
      if (json) printJson({ id, rows, loaded });
      else print(`Attached ${loaded} of ${rowCount(rows)}.`);
    });
}

function addDetach(command: Command): void {
  command
    .command("detach <id>")
    .description("archive an attached month again")
    .option("--json", "print the result as JSON")
    .addHelpText(
      "after",
      `
The file is written again, without rows that were erased meanwhile. After a crash, "plinth archive run" finishes it. Needs the
owner's URL.
${SETTINGS}

Example:
  $ plinth archive detach 019a8c4e-7c1e-7000-8000-000000000000`,
    )
    .action(async (id: string, { json }: Flags) => {
      const { detachArchive } = await import("../../archive/attach-archive.ts");
      const { rows } = await withWriter((writer) => detachArchive(writer, id));
      if (json) printJson({ id, rows });
      else print(`Archived ${rowCount(rows)}.`);
    });
}

function addVerify(command: Command): void {
  command
    .command("verify")
    .description("read all archives and compare them with their checksums")
    .option("--json", "print the result of each archive as JSON")
    .addHelpText(
      "after",
      `
Exits with 1 if a file is missing or damaged. Needs the owner's URL.
${SETTINGS}

Example:
  $ plinth archive verify`,
    )
    .action(async ({ json }: Flags) => {
      const { listArchives } = await import("../../archive/registered-archives.ts");
      const { verifyArchives } = await import("../../archive/verify-archives.ts");
      const archives = await withWriter(async (writer) =>
        verifyArchives(await listArchives(writer.client), writer),
      );
      const damaged = archives.filter(({ fault }) => fault !== null);
      if (json) printJson({ archives });
      else print(`${archives.length - damaged.length} of ${archives.length} archives are unchanged.`);
      if (damaged.length > 0) process.exitCode = 1;
    });
}

/** @throws PlinthError ARCHIVES_NOT_SET */
function withWriter<T>(use: (writer: ArchiveWriter) => Promise<T>): Promise<T> {
  return withSession(({ config, database, signal }: Session) => {
    const { directory } = config.archives;
    const keys = backupKeysOf(config.archives);
    if (directory === undefined)
      throw new PlinthError("ARCHIVES_NOT_SET", "PLINTH_ARCHIVES is not set.", {
        hint: "Set it to the folder of the archives.",
      });
    return withClient(database, "owner", (client) =>
      use({ client, directory, keys, signal, log: note, onProgress: showProgress }),
    );
  });
}
