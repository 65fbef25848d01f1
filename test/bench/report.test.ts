import { expect, test } from "@jest/globals";
import { report, residentTable, summary } from "../../bench/compare/report.ts";
import type { Sample } from "../../bench/compare/samples.ts";
import { judge, targetTable } from "../../bench/compare/targets.ts";

const ONE = "one chat by id";

const sample = (server: string, round: number, rate: number, more: Partial<Sample> = {}): Sample => ({
  operation: ONE,
  server,
  round,
  rate,
  p50: 4,
  p99: 30,
  nodeMs: 0.5,
  postgresMs: 0.25,
  clientMs: 0.125,
  ...more,
});

/** The machine is twice as fast in the last round. */
const ROUNDS = [
  [100, 150, 400],
  [100, 250, 500],
  [200, 400, 1000],
].flatMap(([stock, plinth, pgbench], round) => [
  sample("stock", round, stock!),
  sample("plinth", round, plinth!, { p99: 20 }),
  sample("pgbench", round, pgbench!, { nodeMs: Number.NaN }),
]);

const rowOf = (text: string, name: string) =>
  text
    .split("\n")
    .find((line) => line.startsWith(`| ${name} |`))
    ?.split("|")
    .slice(1, -1)
    .map((cell) => cell.trim());

test("the report divides rates within a round and prints their median and range", () => {
  const row = rowOf(report(ONE, ROUNDS), "plinth");
  expect(row?.slice(0, 3)).toEqual(["plinth", "250", "2.00 (1.50 to 2.50)"]);
  expect(row?.[4]).toBe("0.40 (0.38 to 0.50)");
});

test("the report leaves a cell empty for a server that was not measured and for unknown CPU", () => {
  expect(rowOf(report(ONE, ROUNDS), "pgbench")?.slice(3)).toEqual([
    "",
    "1.00 (1.00 to 1.00)",
    "4.0",
    "30",
    "",
    "0.25",
    "0.13",
  ]);
});

test("the report contains only the samples of its operation", () => {
  const other = sample("mercurius", 0, 1, { operation: "sign-in" });
  expect(report(ONE, [...ROUNDS, other])).toBe(report(ONE, ROUNDS));
});

test("a ratio skips rounds in which the other server was not measured", () => {
  const withoutOne = ROUNDS.filter(({ server, round }) => server !== "stock" || round !== 1);
  expect(rowOf(report(ONE, withoutOne), "plinth")?.[2]).toBe("2.00 (1.50 to 2.00)");
});

test("the summary has a row for each operation, with a dash for each server that was not measured", () => {
  const other = sample("stock", 0, 1, { operation: "sign-in" });
  expect(rowOf(summary([...ROUNDS, other]), ONE)?.slice(1, 6)).toEqual([
    "2.00 / –",
    "– / –",
    "0.40 / –",
    "4.0 / – / 4.0 / –",
    "20 / – / 30 / –",
  ]);
  expect(rowOf(summary([...ROUNDS, other]), "sign-in")?.[5]).toBe("– / – / 30 / –");
});

test("the resident sizes have a column for each server", () => {
  expect(residentTable({ stock: 583.4, plinth: 639.2 })).toContain(
    "| stock | plinth |\n| --- | --- |\n| 583 | 639 |",
  );
});

test("the targets say which ratios were met and which were missed", () => {
  expect(judge(ROUNDS)).toEqual([
    {
      operation: ONE,
      server: "plinth",
      against: "pgbench",
      figure: "rate",
      bound: 0.7,
      ratio: 0.4,
      isMet: false,
    },
    { operation: ONE, server: "plinth", against: "stock", figure: "rate", bound: 1, ratio: 2, isMet: true },
    {
      operation: ONE,
      server: "plinth",
      against: "stock",
      figure: "p99",
      bound: 1,
      ratio: 2 / 3,
      isMet: true,
    },
  ]);
});

test("a ratio that equals its bound meets the target, for rates and for latencies", () => {
  const equal = [sample("stock", 0, 100), sample("plinth", 0, 100)];
  expect(judge(equal).map(({ isMet }) => isMet)).toEqual([true, true]);
  const worse = [sample("stock", 0, 100), sample("plinth", 0, 99, { p99: 31 })];
  expect(judge(worse).map(({ isMet }) => isMet)).toEqual([false, false]);
});

test("reserve + settle is judged against the bare ledger, both without a server", () => {
  const operation = "reserve + settle";
  const pair = [sample("pgbench", 0, 90, { operation }), sample("bare ledger", 0, 100, { operation })];
  expect(judge(pair)).toEqual([
    {
      operation,
      server: "pgbench",
      against: "bare ledger",
      figure: "rate",
      bound: 0.8,
      ratio: 0.9,
      isMet: true,
    },
  ]);
});

test("the table of targets has a line with the measured ratio for each", () => {
  expect(targetTable(judge(ROUNDS)).trim().split("\n").slice(4)).toEqual([
    "| one chat by id | plinth ÷ pgbench | rate | ≥ 0.7 | 0.40 | missed |",
    "| one chat by id | plinth ÷ stock | rate | ≥ 1 | 2.00 | met |",
    "| one chat by id | plinth ÷ stock | p99 | ≤ 1 | 0.67 | met |",
  ]);
});
