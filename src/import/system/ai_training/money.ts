import type { Context } from "../mapping.ts";

export const NO_AMOUNT = "the amount has more decimals than its currency";

/** Number of decimals of each currency of a batch. */
export type Decimals = ReadonlyMap<string, number>;

/** A currency as Plinth writes it: char(3) of the source may be padded or in lower case. */
export const currencyOf = (text: string | null): string => (text ?? "USD").trim().toUpperCase();

/** Asks the database, which knows the currencies without cents. */
export async function readDecimals(currencies: Iterable<string>, { client }: Context): Promise<Decimals> {
  const { rows } = await client.query<{ currency: string; decimals: number }>(
    `select c as currency, scale(analytics.major_units(1, c)) as decimals from unnest($1::text[]) c`,
    [[...new Set(currencies)]],
  );
  return new Map(rows.map(({ currency, decimals }) => [currency, decimals]));
}

/** An amount in the currency's smallest unit, exact. Undefined for a text that is no such amount. */
export function minorUnits(amount: string | null, decimals: number): number | undefined {
  const [, sign, whole, fraction = ""] = /^(-?)(\d+)(?:\.(\d+))?$/.exec(amount ?? "0") ?? [];
  if (whole === undefined || /[1-9]/.test(fraction.slice(decimals))) return undefined;
  const units = Number(`${sign}${whole}${fraction.slice(0, decimals).padEnd(decimals, "0")}`);
  return Number.isSafeInteger(units) ? units : undefined;
}
