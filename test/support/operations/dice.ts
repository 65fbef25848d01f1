import { makeRandom } from "../random.ts";

/** Seeded choices. The same seed makes the same choices in the same order. */
export interface Dice {
  /** A whole number from 0 up to, but not including, `limit`. */
  below(limit: number): number;
  /** True in this many of a hundred cases. */
  chance(percent: number): boolean;
  pick<T>(values: readonly T[]): T;
  /** Up to `count` different values, in random order. */
  some<T>(values: readonly T[], count: number): T[];
}

export function makeDice(seed: number): Dice {
  const below = makeRandom(seed);
  return {
    below,
    chance: (percent) => below(1_000) < percent * 10,
    pick: (values) => values[below(values.length)]!,
    some(values, count) {
      const left = [...values];
      return Array.from(
        { length: Math.min(count, left.length) },
        () => left.splice(below(left.length), 1)[0]!,
      );
    },
  };
}
