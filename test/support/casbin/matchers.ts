import type { Dice } from "../operations/dice.ts";
import type { Piece } from "./pieces.ts";
import { ROLES, USERS } from "./vocabulary.ts";

/** The matcher, followed by the same with its conditions in other orders. */
export function matchersOf(dice: Dice, pieces: readonly Piece[], subject: string): string[] {
  const clauses = pieces
    .map(({ clause }, index) => (clause && index > 0 && dice.chance(6) ? `!(${clause})` : clause))
    .filter(Boolean);
  const first = dice.chance(70) ? clauses : dice.some(clauses, clauses.length);
  const decorate = decoration(dice, subject);
  return [first, ...permutations(clauses)].map((ordered) =>
    // If a matcher has an `in`, node-casbin turns parentheses after a space into a list, also those that eval becomes.
    decorate(ordered.join(" && ").replaceAll(/ (?=\(\S+ in |eval\()/g, "")),
  );
}

function decoration(dice: Dice, subject: string): (matcher: string) => string {
  if (!(subject in NAMED) || dice.chance(80)) return (matcher) => matcher;
  const [user, other] = [dice.pick(USERS), dice.pick([...USERS, ...ROLES])];
  return dice.pick([
    (matcher: string) => `${matcher} || r.sub == "${user}"`,
    (matcher: string) => `(${matcher}) && r.sub != '${other}'`,
    (matcher: string) => `(${matcher} && r.sub != "bob") || r.sub == "dave"`,
  ]);
}

function permutations<T>(values: readonly T[]): T[][] {
  if (values.length <= 1) return [[...values]];
  return values.flatMap((value, index) =>
    permutations(values.toSpliced(index, 1)).map((rest) => [value, ...rest]),
  );
}

/** Subjects that are names. */
const NAMED = { equal: true, role: true, "role in a domain": true };
