import type { Dice } from "../operations/dice.ts";
import { ACTIONS, EFFECTS, OBJECT_PIECES, type Piece, type Roles, SUBJECTS } from "./pieces.ts";
import { ROLES, USERS } from "./vocabulary.ts";

export interface Rule {
  readonly ptype: string;
  readonly values: readonly string[];
}

/** A request, and the definitions to ask with. */
export interface Request {
  readonly values: readonly unknown[];
  readonly context: Context;
}

/** The names of the definitions of a request, as of node-casbin's EnforceContext. */
export interface Context {
  readonly r: string;
  readonly p: string;
  readonly e: string;
  readonly m: string;
}

type Suffix = "" | "2";

export const contextOf = (suffix: Suffix): Context => ({
  r: `r${suffix}`,
  p: `p${suffix}`,
  e: `e${suffix}`,
  m: `m${suffix}`,
});

/** A model with its rules, and requests to ask of it. */
export interface Case {
  /** The kinds of its parts, such as "subject: role". */
  readonly tags: readonly string[];
  readonly definition: string;
  readonly rules: readonly Rule[];
  readonly requests: readonly Request[];
}

/** Everything of a model that belongs to one suffix. */
interface Half {
  readonly tags: readonly string[];
  readonly lines: Readonly<Record<Section, string>>;
  readonly roles: readonly Roles[];
  readonly rules: readonly Rule[];
  readonly request: () => Request;
}
type Section = "request_definition" | "policy_definition" | "policy_effect" | "matchers";
const SECTIONS: readonly Section[] = ["request_definition", "policy_definition", "policy_effect", "matchers"];

const REQUESTS = 30;

export function randomCase(dice: Dice): Case {
  const first = randomHalf(dice, "");
  const halves = [first];
  if (dice.chance(10)) {
    const second = randomHalf(dice, "2");
    // One role definition serves both halves, so they cannot differ in it.
    if (second.roles.length === 0) halves.push(second);
  }
  const rules = halves.flatMap((half) => half.rules);
  const links = first.roles.flatMap(({ name, rules }) => rules.map((values) => ({ ptype: name, values })));
  return {
    tags: [...halves.flatMap((half) => half.tags), ...(halves.length > 1 ? ["two definitions"] : [])],
    definition: definitionOf(dice, halves, first.roles),
    rules: dice.some([...rules, ...links], rules.length + links.length),
    requests: Array.from({ length: REQUESTS }, () => dice.pick(halves).request()),
  };
}

function definitionOf(dice: Dice, halves: readonly Half[], roles: readonly Roles[]): string {
  const sections = SECTIONS.map(
    (name) => `[${name}]\n${halves.map(({ lines }) => lines[name]).join("\n")}\n`,
  );
  if (roles.length > 0)
    sections.push(
      `[role_definition]\n${roles.map(({ name, columns }) => `${name} = ${Array(columns).fill("_").join(", ")}`).join("\n")}\n`,
    );
  return dice.some(sections, sections.length).join(dice.pick(["\n", "\n# A comment.\n", ""]));
}

function randomHalf(dice: Dice, suffix: Suffix): Half {
  const effect = pickKey(dice, EFFECTS);
  const subject = effect === "subject priority" ? "role" : pickKey(dice, SUBJECTS);
  const object = pickKey(dice, OBJECT_PIECES);
  const action = pickKey(dice, ACTIONS);
  const pieces = withFirstRoles([
    SUBJECTS[subject](dice),
    OBJECT_PIECES[object](dice),
    ACTIONS[action](dice),
  ]);
  const request = columnsOf(pieces, "request");
  const policy = columnsOf(pieces, "policy");
  const columns = policyColumns(dice, effect, policy);
  const roles = pieces.flatMap((piece) => piece.roles ?? []);
  if (effect === "subject priority") {
    // node-casbin sorts a subject without a place in the hierarchy at random.
    const ranked = roles[0]!.rules.flat();
    columns.set("sub", () => dice.pick(ranked));
  }
  const rename = (text: string) => text.replace(/\b([rp])\./g, `$1${suffix}.`);
  const rules = Array.from({ length: dice.below(13) }, () => ({
    ptype: `p${suffix}`,
    values: [...columns].map(([name, make]) => (name === "sub_rule" ? rename(make()) : make())),
  }));
  const names = dice.chance(80) ? [...request.keys()] : dice.some([...request.keys()], request.size);
  return {
    tags: [`subject: ${subject}`, `object: ${object}`, `action: ${action}`, `effect: ${effect}`],
    lines: {
      request_definition: `r${suffix} = ${names.join(", ")}`,
      policy_definition: `p${suffix} = ${[...columns.keys()].join(dice.pick([", ", ","]))}`,
      policy_effect: `e${suffix} = ${EFFECTS[effect].text}`,
      matchers: `m${suffix} = ${rename(matcherOf(dice, pieces, subject))}`,
    },
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

function policyColumns(
  dice: Dice,
  effect: keyof typeof EFFECTS,
  policy: ReadonlyMap<string, () => string>,
): Map<string, () => string> {
  const columns = new Map<string, () => string>();
  if (effect === "explicit priority") columns.set("priority", () => String(dice.below(4)));
  // The ranks of subjects are read by position, so that columns must stay in order.
  const isOrdered = effect === "subject priority" || dice.chance(80);
  for (const [name, make] of isOrdered ? policy : dice.some([...policy], policy.size))
    columns.set(name, make);
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

function matcherOf(dice: Dice, pieces: readonly Piece[], subject: string): string {
  const clauses = pieces.map(({ clause }) => clause).filter(Boolean);
  const ordered = dice.chance(70) ? clauses : dice.some(clauses, clauses.length);
  const negated = ordered.map((clause, index) => (index > 0 && dice.chance(6) ? `!(${clause})` : clause));
  // node-casbin turns the first parentheses after a space into an array if the matcher has an `in`.
  const matcher = negated.join(" && ").replaceAll(" (r.act in", "(r.act in");
  if (!(subject in NAMED) || dice.chance(80)) return matcher;
  return dice.pick([
    `${matcher} || r.sub == "${dice.pick(USERS)}"`,
    `(${matcher}) && r.sub != '${dice.pick([...USERS, ...ROLES])}'`,
    `(${matcher} && r.sub != "bob") || r.sub == "dave"`,
  ]);
}

/** Subjects that are names. */
const NAMED = { equal: true, role: true, "role in a domain": true };

function pickKey<T extends object>(dice: Dice, of: T): keyof T {
  return dice.pick(Object.keys(of) as (keyof T)[]);
}
