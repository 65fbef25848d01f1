import type { Mutant } from "./mutant.ts";

/** Mutants that change nothing for anyone, by name, with the reason. */
export type Equivalents = ReadonlyMap<string, string>;

interface Score {
  /** Mutants that no probe noticed and that are not listed as equivalent. */
  readonly survivors: readonly string[];
  /** Listed as equivalent, but noticed by a probe. */
  readonly detectedAlthoughListed: readonly string[];
  /** Listed as equivalent, but not made any more. */
  readonly unknown: readonly string[];
  /** A line for each kind of mutant. */
  readonly table: string;
}

/** @param detected the names of the mutants that a probe noticed */
export function scoreOf(
  mutants: readonly Mutant[],
  detected: ReadonlySet<string>,
  equivalents: Equivalents = new Map(),
): Score {
  const names = new Set(mutants.map(({ name }) => name));
  if (names.size < mutants.length) throw new Error("Two mutants have the same name.");
  return {
    survivors: [...names].filter((name) => !detected.has(name) && !equivalents.has(name)),
    detectedAlthoughListed: [...equivalents.keys()].filter((name) => detected.has(name)),
    unknown: [...equivalents.keys()].filter((name) => !names.has(name)),
    table: tableOf(mutants, detected, equivalents),
  };
}

function tableOf(
  mutants: readonly Mutant[],
  detected: ReadonlySet<string>,
  equivalents: Equivalents,
): string {
  const kinds = [...new Set(mutants.map(({ kind }) => kind))];
  const line = (title: string, of: readonly Mutant[]) => {
    const equivalent = of.filter(({ name }) => equivalents.has(name)).length;
    const found = of.filter(({ name }) => detected.has(name)).length;
    const score = of.length === equivalent ? "" : `${Math.floor((100 * found) / (of.length - equivalent))} %`;
    const numbers = [found, of.length - equivalent, equivalent].map((number) => String(number).padStart(12));
    return `${title.padEnd(40)}${numbers.join("")}${score.padStart(8)}`;
  };
  return [
    `${"mutants".padEnd(40)}${["detected", "of", "equivalent"].map((title) => title.padStart(12)).join("")}${"score".padStart(8)}`,
    ...kinds.map((kind) =>
      line(
        kind,
        mutants.filter((mutant) => mutant.kind === kind),
      ),
    ),
    line("all", mutants),
    "",
  ].join("\n");
}
