import type { Dice } from "../operations/dice.ts";

const COMPARISONS = ["==", "!=", "<", "<=", ">", ">="] as const;
const ARITHMETIC = ["+", "-", "*", "/", "%"] as const;

/** Literals that JavaScript compares with and without conversion. */
const LITERALS = [
  "18",
  "60",
  "0",
  "1",
  "-1",
  "2.5",
  "1e1",
  '"18"',
  '"alice"',
  "'sales'",
  '"Z"',
  '"é"',
  '""',
  "true",
  "false",
];

/** A random condition over values such as `r.sub.Age`, at most `depth` operators deep. */
export function randomCondition(dice: Dice, atoms: readonly string[], depth = 3): string {
  const inner = () => randomCondition(dice, atoms, depth - 1);
  if (depth > 0 && dice.chance(45))
    return dice.pick([
      () => `${inner()} && ${inner()}`,
      () => `${inner()} || ${inner()}`,
      () => `(${inner()})`,
      () => `!(${inner()})`,
    ])();
  if (dice.chance(12)) return `${dice.pick(["", "!", "!!"])}${dice.pick(atoms)}`;
  return `${randomValue(dice, atoms)} ${dice.pick(COMPARISONS)} ${randomValue(dice, atoms)}`;
}

function randomValue(dice: Dice, atoms: readonly string[]): string {
  const one = () => (dice.chance(60) ? dice.pick(atoms) : dice.pick(LITERALS));
  if (dice.chance(75)) return one();
  const sum = `${one()} ${dice.pick(ARITHMETIC)} ${one()}`;
  return dice.chance(50) ? `(${sum})` : sum;
}

/** Among them numbers as JavaScript reads them from texts, and texts that it orders by UTF-16. */
const VALUES: readonly unknown[] = [
  ...[16, 18, 20, 65, 0, -1, 2.5, "18", " 18 ", "0x12", "1e1", "NaN", "Infinity"],
  ...["alice", "sales", "Z", "é", "\uffee", "😀", "", true, false, null],
];
const COMPOUND_VALUES: readonly unknown[] = [[], [18], ["alice", "bob"], {}, { City: "Rome" }];

/** An object whose attributes often are what random conditions compare with, and sometimes missing or of another type. */
export function randomObject(dice: Dice, names: readonly string[]): Record<string, unknown> {
  return Object.fromEntries(
    names
      .filter(() => dice.chance(85))
      .map((name) => [name, dice.pick(dice.chance(94) ? VALUES : COMPOUND_VALUES)] as const),
  );
}
