import type { Command } from "commander";
import { print, printJson, startProgress } from "../output.ts";
import { withClient, withSession } from "../session.ts";

export function addExport(program: Command): void {
  const command = program
    .command("export")
    .description("export content to a file")
    .addHelpText("after", "\nExample:\n  $ plinth export content ./content.ndjson");

  command
    .command("content")
    .argument("<file>", "file to write; replaced when the export is complete")
    .description("export categories and content, one JSON object a line")
    .option("--json", "print the outcome as JSON")
    .addHelpText(
      "after",
      `
The file is one that "plinth import content" takes. Of each item it holds the published text, or the draft of what is
not published; deleted items, authors, ratings and permissions of users are left out.

Example:
  $ plinth export content ./content.ndjson`,
    )
    .action(async (file: string, flags: { json?: boolean }) => {
      const { exportContent } = await import("../../export/content.ts");
      const progress = startProgress();
      const summary = await withSession(({ database, signal }) =>
        withClient(database, "owner", (client) =>
          exportContent(file, {
            client,
            signal,
            onProgress: (lines) => progress.update(`${lines} lines …`),
          }),
        ).finally(() => progress.end()),
      );
      if (flags.json) printJson(summary);
      else
        print(
          `${summary.categories} categories, ${summary.items} items in ${(summary.milliseconds / 1000).toFixed(1)} s`,
        );
    });
}
