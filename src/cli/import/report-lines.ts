import type { ImportReport, TableResult } from "../../import/system/report.ts";
import { oneLine, printable } from "../output.ts";

/** Number of rows that differ that are printed; the report file and --json have more. */
const LISTED = 20;

/** The report in lines for a terminal. */
export function reportLines(report: ImportReport): string[] {
  const lines = report.tables.map(tableLine);
  if (report.reasons.length > 0) {
    lines.push("", "Left out or changed:");
    for (const { relation, column, reason, count } of report.reasons)
      lines.push(
        `  ${relation}${column === undefined ? "" : `.${column}`}: ${oneLine(reason)}${count > 1 ? ` (${count} times)` : ""}`,
      );
  }
  if (report.mismatches.length > 0) {
    lines.push("", "Different from the source:");
    for (const { relation, row, reason } of report.mismatches.slice(0, LISTED))
      lines.push(`  ${relation} ${printable(row)}: ${oneLine(reason)}`);
    if (report.mismatches.length > LISTED) lines.push(`  … and ${report.mismatches.length - LISTED} more`);
  }
  const imported = report.tables.reduce((sum, table) => sum + table.imported, 0);
  lines.push(
    "",
    `${imported} rows imported in ${(report.milliseconds / 1000).toFixed(1)} s${ending(report)}`,
  );
  return lines;
}

function tableLine({ relation, rows, imported, present, omitted, changedSince }: TableResult): string {
  const parts = [
    `${rows} rows`,
    `${imported} imported`,
    `${present} already here`,
    `${omitted} left out`,
    ...(changedSince > 0 ? [`${changedSince} changed here since`] : []),
  ];
  return `${relation}: ${parts.join(", ")}`;
}

function ending({ dryRun, isVerified }: ImportReport): string {
  if (!isVerified) return ".";
  return dryRun ? " and verified; all rolled back, because this was a dry run." : " and verified.";
}
