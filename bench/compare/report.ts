import { percentile } from "../support.ts";

export interface Sample {
  readonly operation: string;
  readonly server: string;
  readonly rate: number;
  readonly p50: number;
  readonly p99: number;
  /** Milliseconds of CPU a request; NaN where unknown. */
  readonly nodeMs: number;
  readonly postgresMs: number;
}

const median = (values: readonly number[]) => percentile(values, 0.5);

/** The medians of one operation as a Markdown table, with the ratio of each server's rate to stock's and its spread. */
export function report(operation: string, samples: readonly Sample[]): string {
  const own = samples.filter((sample) => sample.operation === operation);
  const names = [...new Set(own.map(({ server }) => server))];
  const of = (name: string) => own.filter(({ server }) => server === name);
  const base = names.includes("stock") ? "stock" : names[0]!;
  const lines = names.map((name) => {
    const number = (key: "rate" | "p50" | "p99" | "nodeMs" | "postgresMs", digits: number) => {
      const value = median(of(name).map((sample) => sample[key]));
      return Number.isNaN(value) ? "" : value.toFixed(digits);
    };
    // Rounds are interleaved, so the ratio of a round compares measurements of the same minutes.
    const ratios = of(name).map(({ rate }, round) => rate / of(base)[round]!.rate);
    const spread = `${median(ratios).toFixed(2)} (${Math.min(...ratios).toFixed(2)} to ${Math.max(...ratios).toFixed(2)})`;
    return `| ${[name, number("rate", 0), spread, number("p50", 1), number("p99", 0), number("nodeMs", 2), number("postgresMs", 2)].join(" | ")} |`;
  });
  return `
### ${operation}

| | requests/s | × ${base} | p50 ms | p99 ms | CPU ms in Node | CPU ms in PostgreSQL |
| --- | --- | --- | --- | --- | --- | --- |
${lines.join("\n")}
`;
}
