import { type Command, Option } from "commander";
import { print, printable, printJson } from "../output.ts";
import { withClient, withSession } from "../session.ts";

interface Flags {
  readonly user: string;
  readonly dir: string;
  readonly format: "markdown" | "json";
  readonly json?: boolean;
}

export function addExport(program: Command): void {
  program
    .command("export")
    .description("write data to files")
    .addHelpText("after", "\nExample:\n  $ plinth export chats --user ada --dir ./chats")
    .command("chats")
    .description("write a user's chats to files, one each")
    .requiredOption("--user <name>", "whose chats")
    .requiredOption("--dir <folder>", "where to; made if it is not there")
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
}

async function exportChats(flags: Flags): Promise<void> {
  const { writeChats } = await import("../../export/chats.ts");
  const files = await withSession(({ database, signal }) =>
    withClient(database, "owner", (client) =>
      writeChats(flags.dir, { client, signal, username: flags.user, format: flags.format }),
    ),
  );
  if (flags.json) printJson({ files });
  else print(`${files.length} ${files.length === 1 ? "chat" : "chats"} written to ${printable(flags.dir)}`);
}
