import type { Dice } from "../operations/dice.ts";
import { contextOf, type Request, type Rule, type Suffix } from "./case.ts";
import { matchersOf } from "./matchers.ts";
import { ACTIONS, EFFECTS, OBJECT_PIECES, type Piece, type Roles, SUBJECTS } from "./pieces.ts";
import { DOMAINS, ROLES, USERS } from "./vocabulary.ts";

/** Everything of a model that belongs to one suffix. */
export interface Half {
  readonly tags: readonly string[];
  readonly lines: Readonly<Record<Section, string>>;
  /** The matcher's line with its conditions in other orders. */
  readonly reordered: readonly string[];
  readonly roles: readonly Roles[];
  readonly rules: readonly Rule[];
  readonly request: () => Request;
}
type Section = "request_definition" | "policy_definition" | "policy_effect" | "matchers";
export const SECTIONS: readonly Section[] = [
  "request_definition",
  "policy_definition",
  "policy_effect",
  "matchers",
];

export function randomHalf(dice: Dice, suffix: Suffix): Half {
  const effect = pickKey(dice, EFFECTS);
  const isBySubject = effect === "subject priority";
  const subject = isBySubject ? dice.pick(["role", "role in a domain"] as const) : pickKey(dice, SUBJECTS);
  const object = isBySubject
    ? dice.pick(["equal", "keyMatch", "globMatch"] as const)
    : pickKey(dice, OBJECT_PIECES);
  const action = pickKey(dice, ACTIONS);
  const pieces = withFirstRoles([
    SUBJECTS[subject](dice),
    OBJECT_PIECES[object](dice),
    ACTIONS[action](dice),
  ]);
  const request = columnsOf(pieces, "request");
  const policy = columnsOf(pieces, "policy");
  const columns = policyColumns(dice, effect, policy);
  const roles = pieces
    .flatMap((piece) => piece.roles ?? [])
    .map((one) => (isBySubject && one.name === "g" ? withoutCircles(one) : one));
  const rename = (text: string) => text.replace(/\b([rp])\./g, `$1${suffix}.`);
  // Without a rule, node-casbin's ipMatch writes a line to the terminal.
  const count = dice.below(13) + (subject === "address" ? 1 : 0);
  const all = Array.from({ length: count }, () => ({
    ptype: `p${suffix}`,
    values: [...columns].map(([name, make]) => (name === "sub_rule" ? rename(make()) : make())),
  }));
  const rules = isBySubject ? all.filter(({ values }) => hasRank(values, roles)) : all;
  const [matcher, ...reordered] = matchersOf(dice, pieces, subject).map(
    (text) => `m${suffix} = ${rename(text)}`,
  );
  const names = dice.chance(80) ? [...request.keys()] : dice.some([...request.keys()], request.size);
  return {
    tags: [`subject: ${subject}`, `object: ${object}`, `action: ${action}`, `effect: ${effect}`],
    lines: {
      request_definition: `r${suffix} = ${names.join(", ")}`,
      policy_definition: `p${suffix} = ${[...columns.keys()].join(dice.pick([", ", ","]))}`,
      policy_effect: `e${suffix} = ${EFFECTS[effect].text}`,
      matchers: matcher!,
    },
    reordered,
    roles,
    rules,
    request() {
      const rule = dice.chance(50) && rules.length > 0 ? dice.pick(rules).values : undefined;
      const values = names.map((name) => {
        const fresh = request.get(name)!();
        const known = rule?.[[...columns.keys()].indexOf(name)];
        return known !== undefined && typeof fresh === "string" && isRequestable(name, subject)
          ? known
          : fresh;
      });
      return { values, context: contextOf(suffix) };
    },
  };
}

/** Whether a value of a rule can also be that of a request, which a pattern for addresses cannot. */
const isRequestable = (name: string, subject: string) => name !== "sub" || subject !== "address";

/** Renames g2 to g if there is no g, because node-casbin reads g2 only after g. */
function withFirstRoles(pieces: readonly Piece[]): readonly Piece[] {
  if (pieces.some(({ roles = [] }) => roles.some(({ name }) => name === "g"))) return pieces;
  return pieces.map((piece) => ({
    ...piece,
    clause: piece.clause.replace("g2(", "g("),
    roles: piece.roles?.map((roles) => ({ ...roles, name: "g" as const })),
  }));
}

/** Whether the subject of a rule has a role: node-casbin sorts others in no defined order. */
function hasRank([subject, , domain]: readonly string[], roles: readonly Roles[]): boolean {
  return roles.some(({ rules, columns }) =>
    rules.some(
      ([child, parent, place]) =>
        (child === subject || parent === subject) && (columns === 2 || place === domain),
    ),
  );
}

/** Keeps the links that lead from an earlier name to a later one, and one link at least. */
function withoutCircles(roles: Roles): Roles {
  const names = [...new Set(roles.rules.flat())].sort();
  const rules = roles.rules.filter(([child, parent]) => names.indexOf(child!) < names.indexOf(parent!));
  return {
    ...roles,
    rules: rules.length > 0 ? rules : [[USERS[0], ROLES[0], DOMAINS[0]].slice(0, roles.columns)],
  };
}

function policyColumns(
  dice: Dice,
  effect: keyof typeof EFFECTS,
  policy: ReadonlyMap<string, () => string>,
): Map<string, () => string> {
  const columns = new Map<string, () => string>();
  if (effect === "explicit priority") columns.set("priority", () => String(dice.below(4)));
  // The ranks of subjects are read by position, so that these columns have fixed places.
  const ordered = ["sub", "obj", "dom"].flatMap((name) =>
    policy.has(name) ? [[name, policy.get(name)!] as const] : [],
  );
  if (effect === "subject priority") for (const [name, make] of ordered) columns.set(name, make);
  const isShuffled = effect !== "subject priority" && dice.chance(20);
  for (const [name, make] of isShuffled ? dice.some([...policy], policy.size) : policy)
    columns.set(name, make);
  if (columns.size === 0) columns.set("sub", () => dice.pick(USERS));
  if (EFFECTS[effect].eft === "always" || dice.chance(30))
    columns.set("eft", () =>
      dice.chance(60) ? "allow" : dice.chance(85) ? "deny" : dice.pick(["", "maybe"]),
    );
  return columns;
}

function columnsOf<Side extends "request" | "policy">(pieces: readonly Piece[], side: Side) {
  type Make = NonNullable<Piece[Side]>[string];
  return new Map<string, Make>(
    pieces.flatMap((piece) => Object.entries(piece[side] ?? {}) as [string, Make][]),
  );
}

function pickKey<T extends object>(dice: Dice, of: T): keyof T {
  return dice.pick(Object.keys(of) as (keyof T)[]);
}
