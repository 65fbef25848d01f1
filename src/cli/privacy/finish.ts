import type { Command } from "commander";
import type pg from "pg";
import { note, print, printJson } from "../output.ts";
import { showProgress } from "../progress/progress.ts";
import { type Session, withClient, withSession } from "../session.ts";

export function addFinish(command: Command): void {
  command
    .command("finish")
    .description("erase deleted accounts from archives and sign their certificates")
    .option("--json", "print the result as JSON")
    .addHelpText(
      "after",
      `
Does now what the job finish-erasures does every five minutes. After a crash or Ctrl-C, run it again. Needs the owner's URL,
PLINTH_ARCHIVES and an asymmetric key in PLINTH_JWT_KEYS (embedded: created at the first use).

Example:
  $ plinth privacy finish`,
    )
    .action(async ({ json }: { readonly json?: boolean }) => {
      const finished = await withSession((session) =>
        withClient(session.database, "owner", (client) => finish(session, client)),
      );
      if (json) printJson(finished);
      else
        print(
          `Erased ${finished.accounts} accounts from ${finished.files} files (${finished.rows} rows), signed ${finished.signed} certificates, ${finished.waiting} wait.`,
        );
      if (finished.waiting > 0) process.exitCode = 1;
    });
}

export async function finish({ config, database, signal }: Session, client: pg.Client) {
  const { finishErasures } = await import("../../privacy/finish-erasures.ts");
  const { erasureSettings } = await import("../../start/erasures.ts");
  return finishErasures({
    ...erasureSettings(config, database),
    client,
    signal,
    log: note,
    onProgress: showProgress,
  });
}
