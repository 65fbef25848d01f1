// Splits a condition, as pg_get_expr prints it, into the parts that decide. PostgreSQL puts parentheses around each AND and
// each OR, so the parts of a group are the texts between its connectors. Other input, such as pretty-printed text, is refused
// instead of split wrongly.

/** A condition that lacks one part of the original. */
interface Variant {
  /** The removed part, on one line. */
  readonly removed: string;
  readonly condition: string;
}

interface Span {
  readonly start: number;
  readonly end: number;
}
interface Token extends Span {
  readonly text: string;
}
/** Parentheses, brackets, a CASE … END, or the whole text. */
interface Group {
  readonly opening: string;
  readonly start: number;
  end: number;
  readonly items: (Token | Group)[];
}

const TOKEN = /E'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|"(?:[^"]|"")*"|[\w$]+|\s+|[^\s\w$]/gsu;
const CLOSING: Readonly<Record<string, string>> = { "(": ")", "[": "]", CASE: "END" };
const CLOSINGS = new Set(Object.values(CLOSING));
/** Words that end the condition of a WHERE. */
const CLAUSES = ["GROUP", "HAVING", "WINDOW", "ORDER", "OFFSET", "LIMIT", "FETCH", "FOR"].concat([
  "UNION",
  "INTERSECT",
  "EXCEPT",
]);

/** The condition without each operand of an AND or OR, without each condition of a sub-select, without each array element. */
export function withoutEachPart(condition: string): Variant[] {
  const variants: Variant[] = [];
  const cut = (removed: Span, { start, end } = removed, replacement = "") =>
    variants.push({
      removed: condition.slice(removed.start, removed.end).replace(/\s+/g, " ").trim(),
      condition: condition.slice(0, start) + replacement + condition.slice(end),
    });
  const visit = (group: Group) => {
    const operands = operandsOf(group);
    operands.forEach((operand, n) => {
      const before = operands[n - 1];
      cut(
        operand,
        before ? { start: before.end, end: operand.end } : { start: operand.start, end: operands[1]!.start },
      );
    });
    for (const span of subSelectConditions(group)) cut(span, span, "true");
    for (const item of group.items) if (isGroup(item)) visit(item);
  };
  visit(parse(condition));
  return variants;
}

const isGroup = (item: Token | Group | undefined): item is Group => item !== undefined && "items" in item;
const isWord = (item: Token | Group, words: readonly string[]) => !isGroup(item) && words.includes(item.text);
const refused = (reason: string) => new Error(`The condition cannot be split: ${reason}.`);

function parse(text: string): Group {
  const whole: Group = { opening: "", start: 0, end: text.length, items: [] };
  const open = [whole];
  for (const { 0: token, index: start } of text.matchAll(TOKEN)) {
    const group = open.at(-1)!;
    const end = start + token.length;
    if (token in CLOSING) {
      const inner: Group = { opening: token, start, end, items: [] };
      group.items.push(inner);
      open.push(inner);
    } else if (CLOSINGS.has(token)) {
      if (CLOSING[group.opening] !== token) throw refused(`"${token}" closes nothing`);
      group.end = end;
      open.pop();
    } else if (token === "'" || token === '"') throw refused("a quote is not closed");
    else if (token.trim()) group.items.push({ text: token, start, end });
  }
  if (open.length > 1) throw refused(`"${open.at(-1)!.opening}" is not closed`);
  return whole;
}

/** The operands of the ANDs or ORs of a group or the elements of an array; none if there are fewer than two. */
function operandsOf({ opening, items }: Group): Span[] {
  const at = items.flatMap((item, n) => (isWord(item, opening === "[" ? [","] : ["AND", "OR"]) ? [n] : []));
  if (at.length === 0) return [];
  if (new Set(at.map((n) => (items[n] as Token).text)).size > 1)
    throw refused("AND and OR share parentheses");
  if (opening === "CASE" || items.some((item) => isWord(item, ["SELECT", "BETWEEN"])))
    throw refused("AND or OR without parentheses of its own");
  const bounds = [-1, ...at, items.length];
  return at
    .concat(items.length)
    .map((to, n) => ({ start: items[bounds[n]! + 1]!.start, end: items[to - 1]!.end }));
}

/** The conditions of WHERE and ON in a group that are a single part. */
function subSelectConditions({ items }: Group): Span[] {
  return items.flatMap((item, n) => {
    if (!isWord(item, ["WHERE", "ON"])) return [];
    const rest = items.slice(n + 1);
    const stop = isWord(item, ["ON"]) ? 1 : rest.findIndex((next) => isWord(next, CLAUSES));
    const condition = stop < 0 ? rest : rest.slice(0, stop);
    return condition.length === 1 && hasParts(condition[0]!)
      ? []
      : [{ start: condition[0]!.start, end: condition.at(-1)!.end }];
  });
}

/** Whether a condition consists of several parts, inside any number of parentheses. */
function hasParts(item: Token | Group): boolean {
  if (!isGroup(item) || item.opening !== "(") return false;
  return operandsOf(item).length > 0 || (item.items.length === 1 && hasParts(item.items[0]!));
}
