import { basename, dirname } from "node:path";
import { type Command, InvalidArgumentError } from "commander";
import { note, print, printJson } from "../output.ts";
import { withClient, withSession } from "../session.ts";
import { UsageError } from "../usage-error.ts";

interface Flags {
  readonly from: Date;
  readonly to: Date;
  readonly csv?: string;
  readonly html?: string;
  readonly json?: boolean;
}

export function addPrivacyReport(command: Command): void {
  command
    .command("report")
    .description("report on accounts, consents, retention, erasures and reads in a period")
    .requiredOption("--from <day>", "first day of the period (UTC), such as 2026-01-01", day)
    .requiredOption("--to <day>", "day after the period", day)
    .option("--csv <folder>", "write one CSV file a section; created if needed")
    .option("--html <file>", "write a page")
    .option("--json", "print the report as JSON")
    .addHelpText(
      "after",
      `
The report has accounts by state, dormant accounts, second factors, consents, retention, data exports, erasures, legal holds, and
administrators with their reads. The numbers are those of private.privacy_report(). Needs the owner's URL.

Example:
  $ plinth privacy report --from 2026-01-01 --to 2026-04-01 --csv ./report --html ./report/report.html`,
    )
    .action(writeReport);
}

function day(text: string): Date {
  const time = new Date(`${text}T00:00:00Z`);
  if (
    !/^\d{4}-\d{2}-\d{2}$/.test(text) ||
    !Number.isFinite(time.getTime()) ||
    !time.toISOString().startsWith(text)
  )
    throw new InvalidArgumentError("Use a day such as 2026-01-31.");
  return time;
}

async function writeReport({ from, to, csv, html, json }: Flags): Promise<void> {
  if (from >= to) throw new UsageError("--to must be later than --from.");
  const { readReport, reportPage, sectionCsv } = await import("../../privacy/report.ts");
  const { NewFiles } = await import("../../privacy/write-files.ts");
  const report = await withSession(async ({ database, signal }) => {
    const found = await withClient(database, "owner", (client) => readReport(client, from, to));
    if (csv !== undefined) {
      await using files = new NewFiles(csv, signal);
      for (const section of found.sections)
        await files.write(`${section.section}.csv`, [sectionCsv(section)]);
      for (const file of files.publish()) note(`Wrote ${file}.`);
    }
    if (html !== undefined) {
      await using files = new NewFiles(dirname(html), signal);
      await files.write(basename(html), reportPage(found));
      for (const file of files.publish()) note(`Wrote ${file}.`);
    }
    return found;
  });
  if (json) return printJson(report);
  for (const { section, description, rows } of report.sections) {
    print(`${section}: ${description}`);
    for (const row of rows)
      print(
        `  ${Object.entries(row)
          .map(
            ([name, value]) =>
              `${name} ${Array.isArray(value) ? value.join(" ") || "none" : (value ?? "none")}`,
          )
          .join(", ")}`,
      );
    if (rows.length === 0) print("  none");
  }
}
