import { type Figure, figuresOf, median, ratiosOf, type Sample } from "./samples.ts";

/** Servers whose rates the others are divided by. */
const BASES = { stock: "stock", "by hand": "mercurius", pgbench: "pgbench" };

const FIGURES: readonly [title: string, figure: Figure, digits: number][] = [
  ["p50 ms", "p50", 1],
  ["p99 ms", "p99", 0],
  ["CPU ms in Node", "nodeMs", 2],
  ["CPU ms in PostgreSQL", "postgresMs", 2],
  ["CPU ms in the client", "clientMs", 2],
];

const tableRow = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
const format = (value: number, digits: number) => (Number.isNaN(value) ? "" : value.toFixed(digits));

/** The median of the ratios, and the lowest and highest. */
function spread(ratios: readonly number[]): string {
  if (ratios.length === 0) return "";
  return `${median(ratios).toFixed(2)} (${Math.min(...ratios).toFixed(2)} to ${Math.max(...ratios).toFixed(2)})`;
}

/** The medians of one operation as a Markdown table, with the ratios of each server's rate to the others'. */
export function report(operation: string, samples: readonly Sample[]): string {
  const servers = [
    ...new Set(samples.filter((sample) => sample.operation === operation).map(({ server }) => server)),
  ];
  const header = [
    "",
    "requests/s",
    ...Object.keys(BASES).map((base) => `× ${base}`),
    ...FIGURES.map(([title]) => title),
  ];
  const lines = servers.map((server) => {
    const value = (figure: Figure, digits: number) =>
      format(median(figuresOf(samples, operation, server, figure)), digits);
    return tableRow([
      server,
      value("rate", 0),
      ...Object.values(BASES).map((base) => spread(ratiosOf(samples, operation, server, base, "rate"))),
      ...FIGURES.map(([, figure, digits]) => value(figure, digits)),
    ]);
  });
  return ["", `### ${operation}`, "", tableRow(header), tableRow(header.map(() => "---")), ...lines, ""].join(
    "\n",
  );
}

/** The medians of all operations as one Markdown table, for docs/performance.md. */
export function summary(samples: readonly Sample[]): string {
  const slashed = (servers: readonly string[], value: (server: string) => string) =>
    servers.map((server) => value(server) || "–").join(" / ");
  const own = ["plinth", "plinth-general"];
  const all = [...own, "stock", "mercurius"];
  const operations = [...new Set(samples.map(({ operation }) => operation))];
  const header = [
    "Operation",
    ...Object.keys(BASES).map((base) => `× ${base}`),
    ...FIGURES.map(([title]) => title),
  ];
  const lines = operations.map((operation) =>
    tableRow([
      operation,
      ...Object.values(BASES).map((base) =>
        slashed(own, (server) => format(median(ratiosOf(samples, operation, server, base, "rate")), 2)),
      ),
      ...FIGURES.map(([, figure, digits]) =>
        slashed(all, (server) => format(median(figuresOf(samples, operation, server, figure)), digits)),
      ),
    ]),
  );
  return ["", "## Summary", "", tableRow(header), tableRow(header.map(() => "---")), ...lines, ""].join("\n");
}

export function residentTable(resident: Readonly<Record<string, number>>): string {
  const names = Object.keys(resident);
  return [
    "",
    "### Resident size in MB",
    "",
    tableRow(names),
    tableRow(names.map(() => "---")),
    tableRow(names.map((name) => resident[name]!.toFixed(0))),
    "",
  ].join("\n");
}
