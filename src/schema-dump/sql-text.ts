/** The parts of SQL whose letters carry meaning: quoted names, strings, dollar-quoted bodies, comments. */
const VERBATIM =
  /"(?:[^"]|"")*"|\be'(?:[^'\\]|''|\\[\s\S])*'|'(?:[^']|'')*'|\$([a-z_]\w*)?\$[\s\S]*?\$\1\$|--[^\n]*|\/\*[\s\S]*?\*\//giy;

/** PostgreSQL prints keywords in capitals; this repository writes them small. Quoted text stays as it is. */
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

/** A string constant; one with a line break or a backslash is written with escapes, so that it stays on its line. */
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

/** `comment on <object> is '…';`, or nothing where there is no comment. */
export function commentOn(object: string, comment: string | null): string[] {
  return comment === null ? [] : [`comment on ${object} is ${literal(comment)};`];
}

/** The first line of a comment that is meant for people: smart tags (`@name …`) are for the API. */
export function firstSentence(comment: string | null): string[] {
  const line = comment?.split("\n").find((text) => text.trim() !== "" && !text.startsWith("@"));
  return line === undefined ? [] : [`-- ${line}`];
}

/** Groups of statements with a blank line between them; empty groups leave none. */
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
