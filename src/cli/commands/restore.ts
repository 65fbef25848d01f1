import { resolve } from "node:path";
import type { Command } from "commander";
import { note, print, printJson } from "../output.ts";
import { showProgress } from "../progress/progress.ts";
import { addRestoreRows } from "../restore-rows.ts";

export function addRestore(program: Command): void {
  const command = program
    .command("restore")
    .description("restore the embedded server to a point in time, to a named point, or to the latest state")
    .option("--to <target>", "latest, a time such as 2026-11-30T02:15:00Z, or the name of a point", "latest")
    .option("--from <id>", "the base backup to begin with (default: the newest one before the target)")
    .option("--into <dir>", "a new data folder to create; without it, the data in PLINTH_DATA is replaced")
    .option("--json", "print the result as JSON")
    .addHelpText(
      "after",
      `
Stop Plinth first, unless you use --into. A time without a zone is in this computer's zone. The old data keeps its place
until the restored data is ready; then it is renamed to postgres.before-restore-… and you may delete it. An interrupted
restore changes nothing; run it again. Needs PLINTH_BACKUPS, the key of the backups, and secrets.json, which is in no backup.

Example:
  $ plinth restore --to "2026-11-30 02:15:00" --into ./look-at-it
  $ PLINTH_DATA=./look-at-it plinth start --no-demo
  $ plinth restore --to before-import`,
    )
    .action(async (flags: { to: string; from?: string; into?: string; json?: boolean }) => {
      const { loadConfig } = await import("../../config/config.ts");
      const { isExternal } = await import("../../database/database.ts");
      const { externalServer } = await import("../../backup/superuser.ts");
      const { restore } = await import("../../backup/restore.ts");
      const { describe } = await import("../../backup/target.ts");
      const { interruptible } = await import("../interrupt.ts");
      const config = loadConfig();
      if (isExternal(config)) throw externalServer();
      const { plan, dataDirectory, aside } = await interruptible((signal) =>
        restore({
          config,
          to: flags.to,
          from: flags.from,
          into: flags.into === undefined ? undefined : resolve(flags.into),
          signal,
          onProgress: showProgress,
          log: note,
        }),
      );
      const { certificatesSince, certificatesFolder } = await import("../../privacy/certificate-files.ts");
      const { target } = plan;
      const since =
        target.kind === "time"
          ? target.time
          : target.kind === "point"
            ? new Date(target.point.at)
            : undefined;
      const folder = certificatesFolder(config.backups!.folder);
      const erased = since ? certificatesSince(folder, since) : 0;
      if (erased > 0)
        note(
          `${erased} ${erased === 1 ? "account was" : "accounts were"} erased after this point and exist again. Before you start the API, run: plinth privacy erase --from-certificates ${folder}`,
        );
      if (flags.json)
        return printJson({
          backup: plan.backup.id,
          dataDirectory,
          aside: aside ?? null,
          erasedAccountsRestored: erased,
        });
      print(`Restored ${describe(plan.target)} from backup ${plan.backup.id} to ${dataDirectory}.`);
      if (plan.timelineLeft !== undefined)
        print(`It is on timeline ${plan.timelineLeft}, which a later restore had left.`);
      if (aside) print(`The old data is in ${aside}. Delete it when you no longer need it.`);
    });
  addRestoreRows(command);
}
