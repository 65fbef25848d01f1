import type pg from "pg";
import { escaped, label, PAGE_END, pageStart, valueHtml } from "./html.ts";

export interface ReportSection {
  readonly section: string;
  readonly description: string;
  /** All with the same columns, in their order. */
  readonly rows: readonly Readonly<Record<string, unknown>>[];
}

export interface PrivacyReport {
  readonly from: Date;
  readonly to: Date;
  readonly sections: readonly ReportSection[];
}

/**
 * Reads the report for the time from `from` to before `to`.
 * @param client connected as the owner
 */
export async function readReport(client: pg.ClientBase, from: Date, to: Date): Promise<PrivacyReport> {
  const { rows: sections } = await client.query<ReportSection>(
    "select * from private.privacy_report($1, $2)",
    [from, to],
  );
  return { from, to, sections };
}

/** Returns a section as CSV (RFC 4180), with a line of names. */
export function sectionCsv({ rows }: ReportSection): string {
  const columns = Object.keys(rows[0] ?? {});
  return [columns, ...rows.map((row) => columns.map((column) => row[column]))]
    .map((line) => `${line.map(csvField).join(",")}\r\n`)
    .join("");
}

/** A spreadsheet would run a text that begins like a formula, and accounts choose their names. */
function csvField(value: unknown): string {
  const text = Array.isArray(value)
    ? value.join(" ")
    : value === null || value === undefined
      ? ""
      : String(value);
  const harmless = typeof value !== "number" && /^[=+\-@\t\r\n]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(harmless) ? `"${harmless.replaceAll('"', '""')}"` : harmless;
}

const day = (time: Date): string => time.toISOString().slice(0, 10);

/** Yields the report as a self-contained page. */
export function* reportPage({ from, to, sections }: PrivacyReport): Generator<string> {
  yield pageStart(`Personal data from ${day(from)} to ${day(to)}`);
  yield "<p>The period ends before its last day. Times are in UTC.</p>\n";
  for (const { section, description, rows } of sections) {
    yield `<h2 id="${escaped(section)}">${escaped(label(section))}</h2>\n<p>${escaped(description)}</p>\n`;
    const columns = Object.keys(rows[0] ?? {});
    if (rows.length === 0) yield "<p>None.</p>\n";
    else
      yield `<div class="wide"><table><thead><tr>${columns.map((column) => `<th scope="col">${escaped(label(column))}</th>`).join("")}</tr></thead><tbody>
${rows.map((row) => `<tr>${columns.map((column) => cell(row[column])).join("")}</tr>`).join("\n")}
</tbody></table></div>\n`;
  }
  yield PAGE_END;
}

const cell = (value: unknown): string =>
  typeof value === "number" ? `<td class="number">${value}</td>` : `<td>${valueHtml(value)}</td>`;
