import { type SQL, sql } from "pg-sql2";

import { NotCompilable } from "./field-source.ts";

/**
 * The text of a JSON value: constant text, and expressions of type text that are never null. Concatenating text takes PostgreSQL
 * two thirds of the time of `json_build_object`.
 */
export type JsonText = readonly (string | SQL)[];

export function quoted(text: SQL): JsonText {
  return ['"', text, '"'];
}

/** `text`, or null where it is null. */
export function nullable(text: JsonText): JsonText {
  return [sql`coalesce(${concatenated(text)}, 'null')`];
}

export function listOf(items: SQL): JsonText {
  return ["[", sql`coalesce(${items}, '')`, "]"];
}

export function objectOf(members: Iterable<readonly [key: string, value: JsonText]>): JsonText {
  const parts: (string | SQL)[] = ["{"];
  for (const [key, value] of members)
    parts.push(`${parts.length > 1 ? "," : ""}${JSON.stringify(key)}:`, ...value);
  return [...parts, "}"];
}

/** Returns one expression for the text. */
export function concatenated(text: JsonText): SQL {
  const parts: SQL[] = [];
  let constant = "";
  const flush = () => {
    if (constant) parts.push(constantSql(constant));
    constant = "";
  };
  for (const part of text) {
    if (typeof part === "string") constant += part;
    else {
      flush();
      parts.push(part);
    }
  }
  flush();
  return parts.length === 1 ? parts[0]! : sql.parens(sql.join(parts, " || "));
}

/** A constant text, which `inlineConstants` writes into the statement. */
class ConstantText {
  readonly literal: string;

  constructor(text: string) {
    if (text.includes("\\")) throw new NotCompilable("A backslash, which PostgreSQL may read as an escape.");
    this.literal = `'${text.replaceAll("'", "''")}'`;
  }
}

/**
 * As a value, because pg-sql2 keeps every text of a template forever, and these contain aliases that clients choose.
 * `sql.literal` would bind them as parameters, and they are many.
 */
export function constantSql(text: string): SQL {
  return sql`${sql.value(new ConstantText(text) as never)}::text`;
}

/** Writes constants in place of their parameters, and numbers the other parameters anew. */
export function inlineConstants({ text, values }: ReturnType<typeof sql.compile>): {
  text: string;
  values: readonly unknown[];
} {
  const bound: unknown[] = [];
  const places = values.map((value: unknown) =>
    value instanceof ConstantText ? value.literal : `$${bound.push(value)}`,
  );
  return { text: text.replace(/\$(\d+)/g, (_all, number) => places[Number(number) - 1]!), values: bound };
}
