import { median, ratiosOf, type Sample } from "./samples.ts";

interface Target {
  readonly operation: string;
  readonly server: string;
  /** The server whose figure the other is divided by. */
  readonly against: string;
  readonly figure: "rate" | "p99";
  /** The lowest ratio of rates or the highest of latencies. */
  readonly bound: number;
}

export interface Verdict extends Target {
  /** Median of the rounds. */
  readonly ratio: number;
  readonly isMet: boolean;
}

const [DEEP, ONE, CREATE, CONTENT] = [
  "20 chats × 10 messages + model",
  "one chat by id",
  "create a message",
  "50 content items with access",
];

const rates = (server: string, against: string, bounds: Readonly<Record<string, number>>): Target[] =>
  Object.entries(bounds).map(([operation, bound]) => ({
    operation,
    server,
    against,
    figure: "rate",
    bound,
  }));

const RATES: readonly Target[] = [
  ...rates("plinth-general", "stock", { [DEEP]: 1.3, [ONE]: 2.2, [CREATE]: 1.2, [CONTENT]: 1.6 }),
  ...rates("plinth", "mercurius", { [DEEP]: 1, [ONE]: 1.2, [CREATE]: 1, [CONTENT]: 1 }),
  ...rates("plinth", "pgbench", { [DEEP]: 0.85, [ONE]: 0.7, [CONTENT]: 0.85 }),
  ...rates("plinth-general", "pgbench", { [CREATE]: 0.9 }),
  ...rates("pgbench", "bare ledger", { "reserve + settle": 0.8 }),
];

/** Plinth is never slower than stock, nor is its 99th percentile higher, with or without compiled documents. */
function neverWorse(operation: string): Target[] {
  return ["plinth-general", "plinth"].flatMap((server) => [
    { operation, server, against: "stock", figure: "rate" as const, bound: 1 },
    { operation, server, against: "stock", figure: "p99" as const, bound: 1 },
  ]);
}

/** Compares the samples with all targets whose two servers were measured. */
export function judge(samples: readonly Sample[]): Verdict[] {
  const operations = [...new Set(samples.map(({ operation }) => operation))];
  return [...RATES, ...operations.flatMap(neverWorse)].flatMap((target) => {
    const ratios = ratiosOf(samples, target.operation, target.server, target.against, target.figure);
    if (ratios.length === 0) return [];
    const ratio = median(ratios);
    return [
      { ...target, ratio, isMet: target.figure === "rate" ? ratio >= target.bound : ratio <= target.bound },
    ];
  });
}

export function targetTable(verdicts: readonly Verdict[]): string {
  const lines = verdicts.map(
    ({ operation, server, against, figure, bound, ratio, isMet }) =>
      `| ${operation} | ${server} ÷ ${against} | ${figure} | ${figure === "rate" ? "≥" : "≤"} ${bound} | ${ratio.toFixed(2)} | ${isMet ? "met" : "missed"} |`,
  );
  return [
    "",
    "## Targets",
    "",
    "| Operation | Ratio | of | Target | Measured | |",
    "| --- | --- | --- | --- | --- | --- |",
    ...lines,
    "",
  ].join("\n");
}
