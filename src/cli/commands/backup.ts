import type { Command } from "commander";
import type { ListedBackup, RestorePoint } from "../../backup/records.ts";
import { PlinthError } from "../../support/errors.ts";
import { note, print, printable, printJson } from "../output.ts";
import { showProgress } from "../progress/progress.ts";
import { wholeNumber } from "../whole-number.ts";

export function addBackup(program: Command): void {
  const command = program
    .command("backup")
    .description("back up the embedded server, and verify, list and delete its backups")
    .addHelpText("after", "\nExample:\n  $ plinth backup\n  $ plinth backup list\n  $ plinth backup verify");
  addTake(command);
  addList(command);
  addVerify(command);
  addPoint(command);
  addDelete(command);
  addPrune(command);
}

function addTake(command: Command): void {
  command
    .command("take", { isDefault: true })
    .description("create a base backup (the default); Plinth may run or be stopped")
    .option("--label <name>", "a note that backup list shows")
    .option("--max-rate <kB/s>", "limit of the reading rate, from 32", wholeNumber)
    .option("--json", "print the backup as JSON")
    .addHelpText(
      "after",
      `
Needs PLINTH_BACKUPS. The database can be read and written meanwhile. Ctrl-C deletes the unfinished backup.

Example:
  $ plinth backup --label "before the import"`,
    )
    .action(async (flags: { label?: string; maxRate?: number; json?: boolean }) => {
      const { takeBackup } = await import("../../backup/take-backup.ts");
      const { backupsOf } = await import("../../backup/superuser.ts");
      const { withSession } = await import("../session.ts");
      const backup = await withSession(({ config, database, signal }) =>
        takeBackup({
          database,
          settings: backupsOf(config),
          label: flags.label,
          maxRateKb: flags.maxRate === undefined ? undefined : Math.max(32, flags.maxRate),
          signal,
          onProgress: showProgress,
          log: note,
        }),
      );
      if (flags.json) return printJson(backup);
      print(`Created backup ${backup.id} (${megabytes(backup.files)}).`);
    });
}

function addList(command: Command): void {
  command
    .command("list")
    .description("list the backups and named points")
    .option("--json", "print them as JSON")
    .addHelpText(
      "after",
      "\nNeeds no database. An unfinished backup was interrupted, or is being created now.\n\nExample:\n  $ plinth backup list",
    )
    .action(async ({ json }: { json?: boolean }) => {
      const { listBackups, listPoints } = await import("../../backup/records.ts");
      const { folder } = await loadBackups();
      const backups = listBackups(folder);
      const points = listPoints(folder);
      if (json) return printJson({ backups: backups.map(toJson), points });
      if (backups.length === 0) print(`There are no backups in ${folder}.`);
      for (const backup of backups) print(toLine(backup));
      for (const point of points) print(pointLine(point));
    });
}

function addVerify(command: Command): void {
  command
    .command("verify [id]")
    .description("restore a backup to a temporary server and check it (the newest one by default)")
    .option("--json", "print the result as JSON")
    .addHelpText(
      "after",
      `
Checks the checksums of its files and the WAL after it, recovers it in a temporary folder (TMPDIR), checks all tables and
indexes, and compares the rows with those recorded when it was created. Needs as much space as the database. The result is stored
with the backup. Touches neither the database nor its port. The exit code is 1 if the backup is damaged.

Example:
  $ plinth backup verify
  $ plinth backup verify 20261130T030000Z --json`,
    )
    .action(async (id: string | undefined, { json }: { json?: boolean }) => {
      const { verifyBackup } = await import("../../backup/verify.ts");
      const { completeBackups, findBackup } = await import("../../backup/records.ts");
      const { interruptible } = await import("../interrupt.ts");
      const { config, folder } = await loadBackups();
      const backup = id === undefined ? completeBackups(folder).at(-1) : findBackup(folder, id);
      if (!backup)
        throw new PlinthError("NO_BACKUP", `There is no complete backup in ${folder}.`, {
          hint: "Make one: plinth backup.",
        });
      const result = await interruptible((signal) =>
        verifyBackup({ config, backup, signal, onProgress: showProgress, log: note }),
      );
      if (json) printJson({ id: backup.id, ...result });
      else
        for (const line of [
          `Backup ${backup.id} is ${result.isSound ? "sound" : "DAMAGED"} (${result.seconds} s).`,
          ...result.findings.map((finding) => `  ${finding}`),
        ])
          print(line);
      if (!result.isSound) process.exitCode = 1;
    });
}

function addPoint(command: Command): void {
  command
    .command("point <name>")
    .description("name the current state, so that restore --to NAME can return to it")
    .option("--json", "print the point as JSON")
    .addHelpText("after", "\nExample:\n  $ plinth backup point before-import")
    .action(async (name: string, { json }: { json?: boolean }) => {
      const { createPoint } = await import("../../backup/create-point.ts");
      const { backupsOf } = await import("../../backup/superuser.ts");
      const { withSession } = await import("../session.ts");
      const point = await withSession(({ config, database, signal }) =>
        createPoint(database, backupsOf(config), name, signal),
      );
      if (json) return printJson(point);
      print(`Created point ${point.name} at ${point.at}. To return to it: plinth restore --to ${point.name}`);
    });
}

function addDelete(command: Command): void {
  command
    .command("delete <id>")
    .description("delete a backup, and the WAL that no other backup needs")
    .option("--json", "print the result as JSON")
    .addHelpText(
      "after",
      "\nThe only complete backup cannot be deleted.\n\nExample:\n  $ plinth backup delete 20261130T030000Z",
    )
    .action(async (id: string, { json }: { json?: boolean }) => {
      const { deleteBackup } = await import("../../backup/prune.ts");
      const { folder } = await loadBackups();
      printPruned(await deleteBackup(folder, id, note), json);
    });
}

function addPrune(command: Command): void {
  command
    .command("prune")
    .description("delete all but the newest backups, unfinished ones, and the WAL that is no longer needed")
    .option("--keep <n>", "number of backups to keep (PLINTH_BACKUP_KEEP)", wholeNumber)
    .option("--json", "print the result as JSON")
    .addHelpText(
      "after",
      "\nScheduled backups do this automatically.\n\nExample:\n  $ plinth backup prune --keep 3",
    )
    .action(async (flags: { keep?: number; json?: boolean }) => {
      const { pruneBackups } = await import("../../backup/prune.ts");
      const { folder, keep } = await loadBackups();
      printPruned(await pruneBackups(folder, Math.max(1, flags.keep ?? keep), note), flags.json);
    });
}

async function loadBackups() {
  const { loadConfig } = await import("../../config/config.ts");
  const { isExternal } = await import("../../database/database.ts");
  const { backupsOf, externalServer } = await import("../../backup/superuser.ts");
  const config = loadConfig();
  if (isExternal(config)) throw externalServer();
  return { config, ...backupsOf(config) };
}

function printPruned(
  { backups, segments }: { backups: readonly string[]; segments: number },
  json: boolean | undefined,
): void {
  if (json) {
    printJson({ backups, segments });
    return;
  }
  print(backups.length === 0 ? "No backup was deleted." : `Deleted ${backups.join(", ")}.`);
  if (segments > 0) print(`Deleted ${segments} WAL ${segments === 1 ? "segment" : "segments"}.`);
}

function toJson({ id, backup, verification }: ListedBackup) {
  if (!backup) return { id, isComplete: false, verification: null };
  const { reference: _reference, ...rest } = backup;
  return { ...rest, isComplete: true, verification: verification ?? null };
}

function toLine({ id, backup, verification }: ListedBackup): string {
  if (!backup) return `${id}  unfinished`;
  const parts = [
    id,
    megabytes(backup.files).padStart(9),
    backup.isEncrypted ? "encrypted" : "not encrypted",
    verification ? `${verification.isSound ? "verified" : "DAMAGED"} ${verification.at}` : "not verified",
    backup.label === null ? "" : printable(backup.label),
  ];
  return parts.join("  ").trimEnd();
}

function pointLine({ name, at }: RestorePoint): string {
  return `point ${name}  ${at}`;
}

function megabytes(files: readonly { bytes: number }[]): string {
  return `${Math.max(1, Math.round(files.reduce((sum, { bytes }) => sum + bytes, 0) / 1_000_000))} MB`;
}
