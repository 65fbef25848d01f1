import type { PgCodec } from "postgraphile/@dataplan/pg";
import { SafeError } from "postgraphile/grafast";
import { sql } from "postgraphile/pg-sql2";
import type { OrderKey } from "./order-keys.ts";

/** The values of a row that its place in an order depends on, as PostgreSQL writes them. */
export type Place = readonly (string | null)[];

/**
 * How a value travels in a cursor: as the text that PostgreSQL reads back as the same value, which holds for infinities,
 * microseconds and large numbers too, and with the name of its column. PostGraphile puts the values of all terms in a list
 * after a digest. A null becomes a value as well, since it gives no cursor to a row that has nothing but nulls.
 */
export function cursorCodec({ codec, name, nullable }: OrderKey): PgCodec {
  return {
    ...codec,
    castFromPg: (fragment) =>
      nullable ? sql`coalesce('=' || (${fragment})::text, '')` : sql`(${fragment})::text`,
    fromPg: (text: string) => ({ [name]: nullable ? (text === "" ? null : text.slice(1)) : text }),
  };
}

/** @throws SafeError when the cursor is none, or is of another order */
export function placeOf(cursor: string, keys: readonly OrderKey[], argument: string): Place {
  const [, ...values] = parse(cursor, argument);
  const place = keys.map(({ name }, i) => (values[i] as Record<string, unknown> | null | undefined)?.[name]);
  if (values.length !== keys.length || !place.every((value) => value === null || typeof value === "string"))
    throw new SafeError(
      `The cursor in \`${argument}\` is of another order: take one from a page in the order you ask for.`,
      { code: "BAD_USER_INPUT", field: argument },
    );
  return place as Place;
}

/** The number of a row in a list that has no order but its own. */
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
    // Not JSON: no cursor either.
  }
  throw notACursor(argument);
}

const notACursor = (argument: string) =>
  new SafeError(`\`${argument}\` is not a cursor: take one from a page of this list.`, {
    code: "BAD_USER_INPUT",
    field: argument,
  });
