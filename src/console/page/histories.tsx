import { formatCompact, formatMoney, formatNumber, formatPercent } from "./formats.ts";
import type { SystemReading } from "./hooks.ts";
import type { System } from "./operations.ts";
import { HistoryPanel } from "./panel.tsx";
import { type History, type Series, secondsOf, seriesByName, seriesOf, sum } from "./series.ts";

const COUNTS = { isCount: true, format: formatNumber, formatShort: formatCompact };
const totalOf = (series: readonly Series[] = []) => sum(series.map(({ values }) => sum(values)));

/** The panels of values over time. */
export function Histories({ data, errors, days }: SystemReading) {
  const signIns = rowsOf(data.signInCounts);
  const activity = rowsOf(data.activityCounts);
  const use = rowsOf(data.tokenUseCounts);
  const revenue = rowsOf(data.revenueCounts);
  const failures = rowsOf(data.errorCounts);
  // These two have a row for each day or hour, the others only where there is something.
  const at = (signIns ?? activity)?.map(({ startsAt }) => secondsOf(startsAt));

  /** Undefined until the numbers have arrived. */
  const history = (series: Series[] | undefined, formats: Omit<History, "at" | "days" | "series">) =>
    at && series && { at, days, series, ...formats };
  const byModel = (rows: typeof use, value: (row: NonNullable<typeof use>[number]) => string | null) =>
    at &&
    rows &&
    seriesByName(
      at,
      rows,
      ({ model }) => model ?? "unknown",
      (row) => Number(value(row)),
    );
  const moneyOf = (currency: string) => ({
    format: formatMoney(currency),
    formatShort: formatMoney(currency, true),
  });

  const attempts = signIns && [
    seriesOf("succeeded", 1, signIns, (row) => row.succeeded),
    seriesOf("failed", 2, signIns, (row) => row.failed),
    seriesOf("locked", 3, signIns, (row) => row.locked),
  ];
  const accounts = activity && [
    seriesOf("active", 1, activity, (row) => row.activeAccounts),
    seriesOf("new", 3, activity, (row) => row.newAccounts),
  ];
  const tokens = byModel(use, (row) => row.tokens);
  const codes =
    at &&
    failures &&
    seriesByName(
      at,
      failures,
      (row) => row.errorCode ?? "unknown",
      (row) => Number(row.errors),
    );
  return (
    <>
      <HistoryPanel
        title="Sign-ins"
        history={history(attempts, COUNTS)}
        error={errors.signInCounts}
        figure={[
          formatPercent(totalOf(attempts?.slice(1)) / Math.max(1, totalOf(attempts))),
          `of ${formatNumber(totalOf(attempts))} attempts rejected`,
        ]}
        nothing="No sign-in attempts in this period."
      />
      <HistoryPanel
        title="Active people"
        history={history(accounts, COUNTS)}
        isStacked={false}
        error={errors.activityCounts}
        figure={[
          formatNumber(Math.max(0, ...(accounts?.[0]?.values ?? []))),
          days === 1 ? "in the busiest hour" : "on the busiest day",
        ]}
        nothing="No active accounts in this period."
      />
      <HistoryPanel
        title="Tokens by model"
        history={history(tokens, COUNTS)}
        error={errors.tokenUseCounts}
        figure={[formatCompact(totalOf(tokens)), "tokens"]}
        nothing="No models were used in this period."
      />
      {currenciesOf(use).map((currency) => {
        const rows = use?.filter((row) => row.currency === currency);
        const cost = byModel(rows, (row) => row.cost);
        return (
          <HistoryPanel
            key={`cost ${currency}`}
            title={`Cost by model (${currency})`}
            history={history(cost, moneyOf(currency))}
            error={errors.tokenUseCounts}
            figure={[formatMoney(currency)(totalOf(cost)), "model cost"]}
            nothing="No use of a priced model in this period."
          />
        );
      })}
      {currenciesOf(revenue).map((currency) => {
        const rows = revenue?.filter((row) => row.currency === currency);
        const paid = at && rows && revenueSeries(at, rows);
        return (
          <HistoryPanel
            key={`revenue ${currency}`}
            title={`Revenue (${currency})`}
            history={history(paid, moneyOf(currency))}
            error={errors.revenueCounts}
            figure={[
              formatMoney(currency)(totalOf(paid?.slice(0, 1))),
              "received, after refunds and disputes",
            ]}
            nothing="No payments in this period."
          />
        );
      })}
      <HistoryPanel
        title="Errors by code"
        history={history(codes, COUNTS)}
        error={errors.errorCounts}
        figure={[formatNumber(totalOf(codes)), "unexpected errors"]}
        nothing="No unexpected errors in this period."
      />
    </>
  );
}

/** The rows of an answer; undefined until it has arrived. */
function rowsOf<Row>(rows: readonly (Row | null)[] | null | undefined): readonly Row[] | undefined {
  return rows?.filter((row) => row !== null);
}

/** The currencies of a history; dollars if it is empty, for a panel that says so. */
function currenciesOf(rows: readonly { readonly currency: string | null }[] | undefined): string[] {
  const found = new Set(rows?.flatMap(({ currency }) => currency ?? []));
  return found.size > 0 ? [...found].sort() : ["USD"];
}

/** Net revenue, and amounts refunded and in dispute, in units of the currency. */
function revenueSeries(
  at: readonly number[],
  rows: readonly NonNullable<NonNullable<System["revenueCounts"]>[number]>[],
): Series[] {
  const one = (name: string, value: (row: (typeof rows)[number]) => number) =>
    seriesByName(at, rows, () => name, value);
  return [
    ...one("received", (row) => Number(row.net)),
    ...one("refunded", (row) => Number(row.refunded)).map((each) => ({ ...each, color: 2 })),
    ...one("in dispute", (row) => Number(row.disputed)).map((each) => ({ ...each, color: 3 })),
  ];
}
