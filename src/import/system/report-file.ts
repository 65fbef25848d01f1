import { closeSync, existsSync, fchmodSync, fstatSync, openSync, readSync, writeSync } from "node:fs";
import { PlinthError } from "../../support/errors.ts";
import type { Remark } from "./report.ts";

/** A file that receives all remarks while they come. */
export interface ReportFile {
  add(remark: Remark): void;
  close(): void;
}

const COLUMNS = ["relation", "row", "column", "reason", "detail"] as const;
const HEADER = `${COLUMNS.join(",")}\n`;

/**
 * Creates a report as CSV or JSON, by the file's ending. Only this user may read it, because its ids name people.
 * @throws PlinthError REPORT_ENDING, REPORT_EXISTS, REPORT_NOT_WRITABLE
 */
export function createReportFile(path: string): ReportFile {
  const isJson = path.endsWith(".json");
  if (!isJson && !path.endsWith(".csv"))
    throw new PlinthError("REPORT_ENDING", `The report ${path} must end with .csv or .json.`);
  const attempt = <T>(work: () => T): T => {
    try {
      return work();
    } catch (cause) {
      throw new PlinthError("REPORT_NOT_WRITABLE", `The report ${path} cannot be written.`, {
        cause,
        hint: "Free some space or choose another place, then run the command again: it continues the import.",
      });
    }
  };
  if (attempt(() => isOtherFile(path)))
    throw new PlinthError(
      "REPORT_EXISTS",
      `${path} is not a report of an import, and would be overwritten.`,
      {
        hint: "Choose another name.",
      },
    );
  const file = attempt(() => openSync(path, "w", 0o600));
  const write = (text: string): void => void attempt(() => writeSync(file, text));
  let count = 0;
  let isBroken = false;
  if (fstatSync(file).isFile()) attempt(() => fchmodSync(file, 0o600));
  if (!isJson) write(HEADER);
  return {
    add(remark) {
      // Set until it has been written: the error is thrown once, and the end of the list is not written after it.
      isBroken = true;
      write(isJson ? `${count === 0 ? "[\n" : ",\n"}${JSON.stringify(remark)}` : csvOf(remark));
      isBroken = false;
      count += 1;
    },
    close() {
      try {
        if (isJson && !isBroken) write(count === 0 ? "[]\n" : "\n]\n");
      } finally {
        closeSync(file);
      }
    },
  };
}

/** Whether a file is there that no import wrote, such as the source. */
function isOtherFile(path: string): boolean {
  if (!existsSync(path)) return false;
  const file = openSync(path, "r");
  try {
    if (!fstatSync(file).isFile()) return false;
    const bytes = Buffer.alloc(64);
    const begin = bytes.toString("utf8", 0, readSync(file, bytes));
    return begin !== "" && !/^(relation,row,column,reason,detail\n|\[\]\n$|\[\n\{"relation":)/.test(begin);
  } finally {
    closeSync(file);
  }
}

function csvOf(remark: Remark): string {
  return `${COLUMNS.map((name) => `"${harmless(remark[name] ?? "").replaceAll('"', '""')}"`).join(",")}\n`;
}

/** A spreadsheet would run a text that begins like a formula, and ids are texts of the source. */
const harmless = (text: string): string => (/^[=+\-@\t\r\n](?!\d+$)/.test(text) ? `'${text}` : text);
