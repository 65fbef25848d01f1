import type { Command } from "commander";
import { print, printable, printJson } from "../output.ts";
import { withClient, withSession } from "../session.ts";
import { wholeNumber } from "../whole-number.ts";

interface Flags {
  readonly last: number;
  readonly json?: boolean;
}

export function addPrivacyReads(command: Command): void {
  command
    .command("reads")
    .argument("<user>", "name of the account")
    .description("list the reads of a person's data")
    .option("--last <n>", "number of reads", wholeNumber, 50)
    .option("--json", "print the reads as JSON")
    .addHelpText(
      "after",
      `
Shows reads by administrators, exports and commands, newest first. The person sees the same without names, as
currentUser.personalDataReads. Needs the owner's URL.

Example:
  $ plinth privacy reads ada --last 10`,
    )
    .action(showReads);
}

async function showReads(username: string, { last, json }: Flags): Promise<void> {
  const { listReads } = await import("../../privacy/list-reads.ts");
  const reads = await withSession(({ database }) =>
    withClient(database, "owner", (client) => listReads(client, username, last)),
  );
  if (json) return printJson({ reads });
  if (reads.length === 0) print(`No read of ${printable(username)}'s data is recorded.`);
  for (const { at, reader, origin, operation, relations, rows } of reads)
    print(
      `${at.toISOString()}  ${printable(reader)}  ${origin}${operation === null ? "" : ` ${printable(operation)}`}  ${relations.join(", ")}${rows === null ? "" : ` (${rows} rows)`}`,
    );
}
