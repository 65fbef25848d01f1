/** A statement of a file, without the comments before it. */
export interface Statement {
  readonly sql: string;
  readonly file: string;
  /** Line of its first word in the file, from 1. */
  readonly line: number;
}

const TOKEN =
  /\s+|--[^\n]*|\/\*|e'(?:[^'\\]|''|\\[\s\S])*'|'(?:[^']|'')*'|"(?:[^"]|"")*"|\$([a-z_\u0080-\uffff][\w\u0080-\uffff]*)?\$[\s\S]*?\$\1\$|[a-z_\u0080-\uffff][\w$\u0080-\uffff]*|[\s\S]/giy;

/** Splits SQL at the semicolons at which psql would: outside quotes, comments, parentheses and bodies with `begin atomic`. */
export function splitStatements(sql: string, file: string, linesAbove = 0): Statement[] {
  const statements: Statement[] = [];
  let start: number | undefined;
  let words: string[] = [];
  let parentheses = 0;
  let blocks = 0;
  const finish = (end: number) => {
    if (start !== undefined)
      statements.push({
        sql: sql.slice(start, end),
        file,
        line: sql.slice(0, start).split("\n").length + linesAbove,
      });
    start = undefined;
    words = [];
    parentheses = 0;
    blocks = 0;
  };
  for (let at = 0; at < sql.length; ) {
    TOKEN.lastIndex = at;
    const [token] = TOKEN.exec(sql)!;
    const next = token === "/*" ? endOfComment(sql, at) : at + token.length;
    const isCode = !/^(\s|--|\/\*)/.test(token);
    if (token === ";" && parentheses === 0 && blocks === 0) finish(at);
    else if (isCode) {
      start ??= at;
      if (token === "(") parentheses++;
      else if (token === ")") parentheses--;
      else if (/^[a-z]/i.test(token) && !token.endsWith("'")) {
        const word = token.toLowerCase();
        if (words.length < 4) words.push(word);
        if (parentheses === 0 && isRoutine(words)) blocks = depthAfter(word, blocks);
      }
    }
    at = next;
  }
  finish(sql.length);
  return statements;
}

/** Comments nest in SQL. */
function endOfComment(sql: string, start: number): number {
  let depth = 0;
  const marks = /\/\*|\*\//g;
  marks.lastIndex = start;
  for (let mark = marks.exec(sql); mark; mark = marks.exec(sql)) {
    depth += mark[0] === "/*" ? 1 : -1;
    if (depth === 0) return marks.lastIndex;
  }
  return sql.length;
}

const isRoutine = (words: readonly string[]) =>
  /^create (or replace )?(function|procedure)\b/.test(words.join(" "));

function depthAfter(word: string, depth: number): number {
  if (word === "begin" || (word === "case" && depth > 0)) return depth + 1;
  return word === "end" && depth > 0 ? depth - 1 : depth;
}

/** The statement on one line, shortened. */
export function excerpt(sql: string, length = 100): string {
  const line = sql
    .replace(/--[^\n]*/g, " ")
    .replace(/\s+/g, " ")
    .trim();
  return line.length > length ? `${line.slice(0, length - 1)}…` : line;
}
