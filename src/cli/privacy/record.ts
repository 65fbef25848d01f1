import type { Command } from "commander";
import { print, printJson, write } from "../output.ts";
import { UsageError } from "../usage-error.ts";
import { asOwner } from "./account.ts";

export function addRecord(command: Command): void {
  command
    .command("record")
    .description("print the record of processing: each class of personal data and its tables")
    .option("--csv", "print it as CSV")
    .option("--json", "print it as JSON")
    .addHelpText(
      "after",
      `
For GDPR article 30: the columns of each class by table, their purpose, how long they are kept, how they are protected, and the
database roles that may read them. Tables of an application are included by the tag @personalData. Needs the owner's URL.

Example:
  $ plinth privacy record --csv > record-of-processing.csv`,
    )
    .action(async ({ csv, json }: { readonly json?: boolean; readonly csv?: boolean }) => {
      if (csv && json) throw new UsageError("Use either --csv or --json, not both.");
      const { readProcessingRecord, toCsv } = await import("../../privacy/processing-record.ts");
      const record = await asOwner(readProcessingRecord);
      if (json) return printJson({ activities: record });
      if (csv) return write(toCsv(record));
      for (const [name, activities] of Map.groupBy(record, (activity) => activity.class)) {
        print(name);
        for (const { table, columns, kept, recipients } of activities)
          print(
            `  ${table}: ${columns.join(", ")}; ${kept}; read by ${recipients.join(", ") || "the server only"}`,
          );
      }
    });
}
