/** The case-sensitive parts of SQL: quoted names, strings, dollar-quoted bodies, comments. */
const VERBATIM =
  /"(?:[^"]|"")*"|\be'(?:[^'\\]|''|\\[\s\S])*'|'(?:[^']|'')*'|\$([a-z_]\w*)?\$[\s\S]*?\$\1\$|--[^\n]*|\/\*[\s\S]*?\*\//giy;

/** Lowercases keywords, which PostgreSQL prints in capitals. Quoted text does not change. */
export function lowerCaseKeywords(sql: string): string {
  let result = "";
  let index = 0;
  while (index < sql.length) {
    VERBATIM.lastIndex = index;
    const verbatim = /["'$/eE-]/.test(sql[index]!) ? VERBATIM.exec(sql)?.[0] : undefined;
    result += verbatim ?? sql[index]!.toLowerCase();
    index += verbatim?.length ?? 1;
  }
  return result;
}

const TOKEN = new RegExp(`${VERBATIM.source}|\\w+|\\s+|[\\s\\S]`, "giy");
const SKIPPED = /^(?:\s|--|\/\*)/;

/** Splits a text at the semicolons that end statements; comments before a statement are omitted. */
export function splitStatements(sql: string): string[] {
  const statements: string[] = [];
  let [index, depth] = [0, 0];
  let start: number | undefined;
  TOKEN.lastIndex = 0;
  // Files have a million tokens, so that nothing is copied but statements.
  while (TOKEN.test(sql)) {
    const token = sql.slice(index, TOKEN.lastIndex);
    if (start === undefined && !SKIPPED.test(token)) start = index;
    index = TOKEN.lastIndex;
    if (start === undefined) continue;
    // The body of a function may be a block of statements, and these may contain CASE.
    if (isBlock(token, sql.slice(start, index))) depth++;
    if (/^end$/i.test(token) && depth > 0) depth--;
    if (token !== ";" || depth > 0) continue;
    statements.push(sql.slice(start, index));
    start = undefined;
  }
  return start === undefined ? statements : [...statements, sql.slice(start).trimEnd()];
}

const isBlock = (token: string, statement: string) =>
  /^case$/i.test(token) || (/^atomic$/i.test(token) && /begin\s+atomic$/i.test(statement));

/** Returns a string constant. Line breaks and backslashes are escaped, so that it stays on one line. */
export function literal(text: string): string {
  const quoted = text.replaceAll("'", "''");
  if (!/[\\\n\r\t]/.test(text)) return `'${quoted}'`;
  const escaped = quoted
    .replaceAll("\\", "\\\\")
    .replaceAll("\n", "\\n")
    .replaceAll("\r", "\\r")
    .replaceAll("\t", "\\t");
  return `E'${escaped}'`;
}

/** Returns `comment on <object> is '…';`, or nothing without a comment. */
export function commentOn(object: string, comment: string | null): string[] {
  return comment === null ? [] : [`comment on ${object} is ${literal(comment)};`];
}

/** Returns the first line of a comment that is not a smart tag (`@name …`) for the API. */
export function firstSentence(comment: string | null): string[] {
  const line = comment?.split("\n").find((text) => text.trim() !== "" && !text.startsWith("@"));
  return line === undefined ? [] : [`-- ${line}`];
}

/** Joins groups of statements with blank lines; skips empty groups. */
export function paragraphs(groups: readonly (readonly string[])[]): string {
  return groups
    .filter((group) => group.length > 0)
    .map((group) => group.join("\n"))
    .join("\n\n");
}

/** Adds a text to those under a key. */
export function addTo(texts: Map<string, string[]>, key: string, ...added: readonly string[]): void {
  texts.set(key, [...(texts.get(key) ?? []), ...added]);
}
