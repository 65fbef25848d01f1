import { escaped, label, PAGE_END, pageStart, valueHtml } from "./html.ts";
import { readExport } from "./read-export.ts";

/** The comment of a table, or of a column if there is one. */
export interface ExportDescription {
  readonly table_name: string;
  readonly column_name: string | null;
  readonly description: string | null;
}

/** A table with more columns shows each row as a list of its values, because it would be wider than a page. */
const MAX_TABLE_COLUMNS = 6;

/** The parts of an export that only the server can read. */
const OWN_DESCRIPTIONS: Readonly<Record<string, string>> = {
  conversation_memory: "Memory that assistants have of the person.",
  memories: "Single facts that assistants remember about the person.",
};

interface Section {
  rows: number;
  /** Columns that have a value in some row, in order. */
  readonly columns: Set<string>;
}

/**
 * Yields the readable page of an export. The export is read twice: for the table of contents, and for the rows.
 * @param chunks returns the text of the export from its beginning
 */
export async function* exportPage(
  chunks: () => AsyncIterable<string>,
  descriptions: readonly ExportDescription[],
): AsyncGenerator<string> {
  const sections = new Map<string, Section>();
  let username = "";
  for await (const { table, row } of readExport(chunks())) {
    const section = sections.get(table) ?? { rows: 0, columns: new Set() };
    sections.set(table, section);
    section.rows += 1;
    if (table === "identity.users") username = String(row.username);
    for (const [column, value] of Object.entries(row)) if (value !== null) section.columns.add(column);
  }
  const described = new Map(
    descriptions.map((each) => [`${each.table_name} ${each.column_name ?? ""}`, each.description ?? ""]),
  );
  const describe = (table: string, column = "") => described.get(`${table} ${column}`) ?? "";

  yield pageStart(`Personal data of ${username}`);
  yield "<p>All data that this service holds about the person, by table. Times are in UTC. Passwords, keys and data of other people are left out.</p>\n<nav><ul>\n";
  for (const [table, { rows }] of sections)
    yield `<li><a href="#${escaped(table)}">${escaped(titleOf(table))}</a> (${rows})</li>\n`;
  yield "</ul></nav>\n";

  let current: string | undefined;
  let end = "";
  for await (const { table, row } of readExport(chunks())) {
    const columns = [...(sections.get(table)?.columns ?? [])];
    const isTable = columns.length <= MAX_TABLE_COLUMNS;
    if (table !== current) {
      yield `${end}${heading(table, columns, OWN_DESCRIPTIONS[table] ?? describe(table), (column) => describe(table, column))}`;
      current = table;
      end = isTable ? "</tbody></table></div>\n" : "";
      if (isTable)
        yield `<div class="wide"><table><thead><tr>${columns.map((column) => `<th scope="col">${escaped(label(column))}</th>`).join("")}</tr></thead><tbody>\n`;
    }
    if (isTable) yield `<tr>${columns.map((column) => `<td>${valueHtml(row[column])}</td>`).join("")}</tr>\n`;
    else
      yield `<table><tbody>${columns
        .filter((column) => row[column] !== null)
        .map(
          (column) =>
            `<tr><th scope="row">${escaped(label(column))}</th><td>${valueHtml(row[column])}</td></tr>`,
        )
        .join("")}</tbody></table>\n`;
  }
  yield `${end}${PAGE_END}`;
}

const titleOf = (table: string): string => label(table.slice(table.indexOf(".") + 1));

function heading(
  table: string,
  columns: readonly string[],
  description: string,
  describe: (column: string) => string,
): string {
  const known = columns.map((column) => [column, describe(column)] as const).filter(([, text]) => text);
  const list = known.map(
    ([column, text]) => `<div><dt>${escaped(label(column))}</dt><dd>${escaped(text)}</dd></div>`,
  );
  return `<h2 id="${escaped(table)}">${escaped(titleOf(table))} <small>${escaped(table)}</small></h2>
${description ? `<p>${escaped(description)}</p>\n` : ""}${list.length > 0 ? `<details><summary>Meaning of the columns</summary><dl>\n${list.join("\n")}\n</dl></details>\n` : ""}`;
}
