import { createHash } from "node:crypto";
import type { PgCodec } from "@dataplan/pg";
import { SafeError } from "grafast";
import { type SQL, sql } from "pg-sql2";
import type { OrderKey } from "./order-keys.ts";

/** The values that determine a row's place in an order, as PostgreSQL writes them. */
export type Place = readonly (string | null)[];

/**
 * Encodes a value in a cursor as text that PostgreSQL reads back as the same value, including infinities, microseconds and
 * large numbers, with the name of its column. PostGraphile puts the values of all terms in a list after a digest. Null is
 * encoded as a value too, because PostGraphile gives no cursor to a row with only nulls.
 */
export function cursorCodec({ codec, name, nullable }: OrderKey): PgCodec {
  return {
    ...codec,
    castFromPg: (fragment) =>
      nullable ? sql`coalesce('=' || (${fragment})::text, '')` : sql`(${fragment})::text`,
    fromPg: (text: string) => ({ [name]: nullable ? (text === "" ? null : text.slice(1)) : text }),
  };
}

/**
 * Returns an expression for a row's cursor in the form in which PostGraphile writes it: base64 of a JSON list of a digest of the
 * order and the values of `cursorCodec`.
 */
export function cursorSql(keys: readonly OrderKey[]): SQL {
  const values = keys.map(({ name, fragment, nullable }) => {
    const json = sql`to_json((${fragment})::text)::text`;
    const value = nullable ? sql`coalesce(${json}, 'null')` : json;
    return sql`${sql.literal(`,{${JSON.stringify(name)}:`)} || ${value} || '}'`;
  });
  const start = sql.literal(`["${orderDigest(keys)}"`);
  const text = sql`${start} || ${sql.join(values, " || ")} || ']'`;
  return base64Sql(text);
}

/** PostgreSQL breaks the lines of base64; GraphQL's ids and cursors have none. */
export function base64Sql(text: SQL): SQL {
  return sql`translate(encode(convert_to(${text}, 'UTF8'), 'base64'), E'\n', '')`;
}

/** The digest by which PostGraphile recognizes a cursor of another order (`getOrderByDigest` of @dataplan/pg). */
function orderDigest(keys: readonly OrderKey[]): string {
  const texts = keys.map(({ fragment }) => sql.compile(fragment).text);
  return createHash("sha256").update(JSON.stringify(texts)).digest("hex").slice(0, 10);
}

/** @throws SafeError when the text is not a cursor or belongs to another order */
export function placeOf(cursor: string, keys: readonly OrderKey[], argument: string): Place {
  const [, ...values] = parse(cursor, argument);
  const place = keys.map(({ name }, i) => (values[i] as Record<string, unknown> | null | undefined)?.[name]);
  if (values.length !== keys.length || !place.every((value) => value === null || typeof value === "string"))
    throw new SafeError(
      `The cursor in \`${argument}\` belongs to another order. Use a cursor from a page with the same \`orderBy\`.`,
      { code: "BAD_USER_INPUT", field: argument },
    );
  return place as Place;
}

/** Returns the number of a row in a list without an `orderBy`. */
export function rowNumberOf(cursor: string, argument: string): number {
  const number = parse(cursor, argument)[1];
  if (!Number.isSafeInteger(number) || (number as number) < 0) throw notACursor(argument);
  return number as number;
}

function parse(cursor: string, argument: string): unknown[] {
  try {
    const parsed: unknown = JSON.parse(Buffer.from(cursor, "base64").toString());
    if (Array.isArray(parsed)) return parsed;
  } catch {
    // Not JSON, so not a cursor.
  }
  throw notACursor(argument);
}

const notACursor = (argument: string) =>
  new SafeError(`\`${argument}\` is not a cursor. Use a cursor from a page of this list.`, {
    code: "BAD_USER_INPUT",
    field: argument,
  });
