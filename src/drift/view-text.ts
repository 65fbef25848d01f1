/**
 * Returns a view's definition as a text that does not depend on the version: PostgreSQL 15 qualifies the columns of a query with a
 * single source, later versions do not. So the name of a single source is removed everywhere. Sources of subqueries have other
 * names, so no difference is lost.
 */
export function canonicalView(definition: string): string {
  const text = definition.replaceAll(/\s+/g, " ").trim();
  const source = singleSource(text);
  if (source === undefined) return text;
  return text.replaceAll(`${source}.`, (found, place: number) =>
    /[\w".]/.test(text[place - 1] ?? "") ? found : "",
  );
}

const CLAUSES = /\b(?:where|group by|having|window|order by|limit|offset|fetch|for)\b/i;

/** The name of the source of the outermost query, if there is only one. */
function singleSource(text: string): string | undefined {
  const outer = outermost(text);
  if (/\b(?:union|except|intersect)\b/i.test(outer)) return undefined;
  const [, ...rest] = outer.split(/(?<!\bdistinct )\bfrom\b/i);
  const [clause = ""] = rest.join("").split(CLAUSES);
  if (/,|\bjoin\b/i.test(clause)) return undefined;
  return /("(?:[^"]|"")+"|\w+)(?: ?\(_*\))?;?\s*$/.exec(clause)?.[1];
}

/** The text with underscores for everything in parentheses and strings. */
function outermost(text: string): string {
  let depth = 0;
  return text.replaceAll(/'(?:[^']|'')*'|"(?:[^"]|"")*"|[()]|[^()'"]+/g, (part) => {
    if (part === "(") return depth++ === 0 ? "(" : "_";
    if (part === ")") return --depth === 0 ? ")" : "_";
    return depth > 0 || part.startsWith("'") ? "_".repeat(part.length) : part;
  });
}
