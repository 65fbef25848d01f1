import type { Command } from "commander";
import { print, printable, printJson } from "../output.ts";
import { showProgress } from "../progress/progress.ts";
import { withClient, withSession } from "../session.ts";

interface Flags {
  readonly output: string;
  readonly reason?: string;
  readonly json?: boolean;
}

export function addPrivacyExport(command: Command): void {
  command
    .command("export")
    .argument("<user>", "name of the account")
    .description("export a person's data to a JSON file and an HTML page")
    .option("-o, --output <folder>", "folder to write to; created if needed", ".")
    .option("--reason <words>", "reason of the export, for the log of reads")
    .option("--json", "print the files and the numbers of rows as JSON")
    .addHelpText(
      "after",
      `
Writes personal-data-<user>.json and personal-data-<user>.html, with the same content as the person's own export, including
tables of your application. Existing files are replaced when the new ones are complete. Needs the owner's URL and the
master keys. The export is recorded; the person can see it.

Example:
  $ plinth privacy export ada --output ./ada --reason "Request of 3 May"`,
    )
    .action(writeExport);
}

async function writeExport(username: string, flags: Flags): Promise<void> {
  const { exportUser } = await import("../../privacy/export-user.ts");
  const { masterKeysOf } = await import("../../start/key-settings.ts");
  const { parseMasterKeys } = await import("../../auth/master-keys.ts");
  const { user, files, tables } = await withSession(({ config, database, signal }) =>
    withClient(database, "owner", (client) =>
      exportUser({
        client,
        username,
        folder: flags.output,
        masterKeys: parseMasterKeys(masterKeysOf(config, database)),
        reason: flags.reason,
        signal,
        onProgress: showProgress,
      }),
    ),
  );
  if (flags.json) return printJson({ user, files, tables });
  const counts = Object.values(tables);
  print(
    `Exported ${counts.reduce((sum, rows) => sum + rows, 0)} rows of ${counts.length} tables about ${printable(user)}:`,
  );
  for (const file of files) print(`  ${file}`);
}
