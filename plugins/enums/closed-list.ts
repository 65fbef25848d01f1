/** The text of a value in a constraint, such as 'it''s'::text. */
const VALUE = "'((?:[^']|'')*)'::(?:text|character varying|character|bpchar|citext|name)";
const VALUES = new RegExp(VALUE, "g");
/** The column, or VALUE in a domain. */
const SUBJECT = String.raw`\(?(?:[\w$]+|"[^"]+")\)?(?:::text)?(?:\[\])?`;
const CAST = String.raw`(?:::(?:text|character varying|bpchar|citext|name)\[\])?`;
const LISTED = String.raw`${SUBJECT} (?:= ANY|<@) \(*ARRAY\[(?<list>${VALUE}(?:, ${VALUE})*)\]\)*${CAST}`;
const SINGLE = `${SUBJECT} = (?<one>${VALUE})`;
const IS_NULL = `${SUBJECT} IS (?:NOT )?NULL`;
const CLOSED = new RegExp(
  String.raw`^CHECK \(+(?:${IS_NULL} (?:OR|AND) )?\(*(?:${LISTED}|${SINGLE})\)*(?: (?:OR|AND) ${IS_NULL})?\)*$`,
);

/**
 * Returns the values that a CHECK of one column or domain allows, if it does nothing but list them; otherwise undefined.
 * @param definition from pg_get_constraintdef; a constraint that is NOT VALID does not match, because rows may have other values
 */
export function closedListOf(definition: string): readonly string[] | undefined {
  const { list, one } = CLOSED.exec(definition)?.groups ?? {};
  const text = list ?? one;
  return text === undefined
    ? undefined
    : [...text.matchAll(VALUES)].map(([, value]) => value!.replaceAll("''", "'"));
}

/** The meanings of a closed list and of its values, from the comment of its constraint: lines of `value: meaning`. */
export function meaningsOf(
  comment: string | undefined,
  values: readonly string[],
): { readonly list: string | undefined; readonly ofValue: ReadonlyMap<string, string> } {
  const ofValue = new Map<string, string>();
  const others: string[] = [];
  for (const line of comment?.split("\n") ?? []) {
    const [, value = "", meaning = ""] = /^([^\s:]+): (.+)$/.exec(line) ?? [];
    if (values.includes(value)) ofValue.set(value, meaning);
    else others.push(line);
  }
  return { list: others.join("\n").trim() || undefined, ofValue };
}
