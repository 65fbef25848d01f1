import { type Command, Option } from "commander";
import { print, printable, printJson } from "../output.ts";
import { showProgress } from "../progress/progress.ts";
import { withClient, withSession } from "../session.ts";

interface Flags {
  readonly user: string;
  readonly dir: string;
  readonly format: "markdown" | "json";
  readonly json?: boolean;
}

export function addExport(program: Command): void {
  const command = program
    .command("export")
    .description("write data to files")
    .addHelpText("after", "\nExample:\n  $ plinth export chats --user ada --dir ./chats");

  command
    .command("chats")
    .description("write a user's chats to files, one file a chat")
    .requiredOption("--user <name>", "owner of the chats")
    .requiredOption("--dir <folder>", "folder to write to; created if needed")
    .addOption(
      new Option("--format <format>", "markdown (the active path) or json (everything)")
        .choices(["markdown", "json"])
        .default("markdown"),
    )
    .option("--json", "print the names of the files as JSON")
    .addHelpText(
      "after",
      `
Example:
  $ plinth export chats --user ada --dir ./chats --format json`,
    )
    .action(exportChats);

  command
    .command("content")
    .argument("<file>", "file to write; replaced when the export is complete")
    .description("export categories and content, one JSON object a line")
    .option("--json", "print the result as JSON")
    .addHelpText(
      "after",
      `
"plinth import content" can read the file. It contains the published text of each item, or the draft of an unpublished
item. Deleted items, authors, ratings and users' permissions are omitted.

Example:
  $ plinth export content ./content.ndjson`,
    )
    .action(async (file: string, flags: { json?: boolean }) => {
      const { exportContent } = await import("../../export/content.ts");
      const summary = await withSession(({ database, signal }) =>
        withClient(database, "owner", (client) =>
          exportContent(file, {
            client,
            signal,
            onProgress: showProgress,
          }),
        ),
      );
      if (flags.json) printJson(summary);
      else
        print(
          `${summary.categories} categories, ${summary.items} items in ${(summary.milliseconds / 1000).toFixed(1)} s`,
        );
    });
}

async function exportChats(flags: Flags): Promise<void> {
  const { writeChats } = await import("../../export/chats.ts");
  const files = await withSession(({ database, signal }) =>
    withClient(database, "owner", (client) =>
      writeChats(flags.dir, {
        client,
        signal,
        username: flags.user,
        format: flags.format,
        onProgress: showProgress,
      }),
    ),
  );
  if (flags.json) printJson({ files });
  else print(`${files.length} ${files.length === 1 ? "chat" : "chats"} written to ${printable(flags.dir)}`);
}
