import { parse } from "csv-parse/sync";

export interface CasbinRule {
  readonly ptype: string;
  readonly values: readonly string[];
}

/** A rule of a policy file. */
export interface CasbinLine extends CasbinRule {
  readonly line: number;
}

/** A line of a file that cannot be used. */
export interface CasbinFault {
  readonly line: number;
  readonly reason: string;
}

/**
 * Reads the rules of a Casbin policy file exactly as node-casbin does: each line by itself, values trimmed, `#` at the start
 * of a line as a comment, and values with commas kept together by quotes or by parentheses.
 */
export function parseCasbinPolicy(text: string): { rules: CasbinLine[]; faults: CasbinFault[] } {
  const rules: CasbinLine[] = [];
  const faults: CasbinFault[] = [];
  for (const [index, content] of text
    .replace(/^\uFEFF/, "")
    .split("\n")
    .entries()) {
    if (content.trim() === "" || content.trimStart().startsWith("#")) continue;
    const line = index + 1;
    try {
      const [ptype = "", ...values] = fieldsOf(content);
      rules.push({ line, ptype: unquote(ptype), values: values.map(unquote) });
    } catch (error) {
      faults.push({ line, reason: reasonOf(error as Error & { code?: string }) });
    }
  }
  return { rules, faults };
}

/** Sentences for the errors of csv-parse, which takes each line for the first. */
const REASONS: Readonly<Record<string, string>> = {
  CSV_NON_TRIMABLE_CHAR_AFTER_CLOSING_QUOTE:
    "A quote ends before its value does. Use single quotes inside of a condition, or quote the whole value and double the quotes inside.",
  CSV_QUOTE_NOT_CLOSED: "A quote is not closed.",
};

function reasonOf({ code = "", message }: Error & { code?: string }): string {
  return REASONS[code] ?? message;
}

function fieldsOf(content: string): string[] {
  const rows: string[][] = parse(content, {
    delimiter: ",",
    skip_empty_lines: true,
    trim: true,
    relax_quotes: true,
  });
  if (rows.length > 1) throw new Error("The line contains a carriage return.");
  return joinParentheses(rows[0] ?? []);
}

/** Joins fields that commas inside parentheses have separated, as in `r.sub.Age in (18, 21)`. */
function joinParentheses(fields: readonly string[]): string[] {
  const joined: string[] = [];
  let open = 0;
  let current = "";
  for (const field of fields) {
    open += field.split("(").length - field.split(")").length;
    current += (current && ",") + field;
    if (open !== 0) continue;
    joined.push(current);
    current = "";
  }
  if (open !== 0) throw new Error("The parentheses of the line are not balanced.");
  return joined;
}

/** node-casbin decodes quotes a second time, after CSV has. */
function unquote(value: string): string {
  const inner = value.startsWith('"') && value.endsWith('"') ? value.slice(1, -1) : value;
  return inner.replaceAll('""', '"').trim();
}
