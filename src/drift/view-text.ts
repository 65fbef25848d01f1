/**
 * Returns a view's definition as a text that depends neither on the version nor on a dump and restore. PostgreSQL 15 qualifies the
 * columns of a query with a single source, later versions do not. So the name of a single source is removed everywhere. Sources of
 * subqueries have other names, so no difference is lost.
 */
export function canonicalView(definition: string): string {
  return readableView(definition.replaceAll(/\s+/g, " "));
}

/** The same with its lines. */
export function readableView(definition: string): string {
  const text = withoutGivenNames(definition.trim());
  const source = singleSource(text.replaceAll(/\s+/g, " "));
  if (source === undefined) return text;
  return text.replaceAll(`${source}.`, (found, place: number) =>
    /[\w".]/.test(text[place - 1] ?? "") ? found : "",
  );
}

/** The names that the parser gives to constants of types that SQL writes in another way. */
const PARSER_NAMES: Readonly<Record<string, string>> = {
  bigint: "int8",
  boolean: "bool",
  "character varying": "varchar",
  "double precision": "float8",
  integer: "int4",
  real: "float4",
  smallint: "int2",
  "timestamp with time zone": "timestamptz",
  "timestamp without time zone": "timestamp",
};

/**
 * A constant without a cast in a branch of a union has no name. A dump writes the cast, so after a restore the parser names it after
 * its type: `NULL::integer AS int4`.
 */
function withoutGivenNames(text: string): string {
  return text.replaceAll(
    /((?:\bNULL|'(?:[^']|'')*')::([a-z]\w*(?: (?:varying|precision|with(?:out)? time zone))?)(?:\[\])?) AS (\w+)\b/g,
    (found, constant: string, type: string, name: string) =>
      name === (PARSER_NAMES[type] ?? type) ? constant : found,
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
  return /("(?:[^"]|"")+"|\w+)(?: ?\(~*\))?;?\s*$/.exec(clause)?.[1];
}

/** The text with tildes for everything in parentheses and strings. */
function outermost(text: string): string {
  let depth = 0;
  return text.replaceAll(/'(?:[^']|'')*'|"(?:[^"]|"")*"|[()]|[^()'"]+/g, (part) => {
    if (part === "(") return depth++ === 0 ? "(" : "~";
    if (part === ")") return --depth === 0 ? ")" : "~";
    return depth > 0 || part.startsWith("'") ? "~".repeat(part.length) : part;
  });
}
