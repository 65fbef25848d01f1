import type { Dice } from "../operations/dice.ts";
import { ACTIONS, EFFECTS, OBJECT_PIECES, type Piece, type Roles, SUBJECTS } from "./pieces.ts";
import { DOMAINS, ROLES, USERS } from "./vocabulary.ts";

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
  /** The same model with the conditions of its matchers in other orders. */
  readonly reordered: readonly string[];
  readonly rules: readonly Rule[];
  readonly requests: readonly Request[];
}

/** Everything of a model that belongs to one suffix. */
interface Half {
  readonly tags: readonly string[];
  readonly lines: Readonly<Record<Section, string>>;
  /** The matcher's line with its conditions in other orders. */
  readonly reordered: readonly string[];
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
  if (dice.chance(10) && !first.tags.includes("effect: subject priority")) {
    const second = randomHalf(dice, "2");
    // One role definition serves both halves, and subjects have priorities in the first only.
    if (second.roles.length === 0) halves.push(second);
  }
  const rules = halves.flatMap((half) => half.rules);
  const links = first.roles.flatMap(({ name, rules }) => rules.map((values) => ({ ptype: name, values })));
  const definition = definitionOf(dice, halves, first.roles);
  return {
    tags: [...halves.flatMap((half) => half.tags), ...(halves.length > 1 ? ["two definitions"] : [])],
    definition,
    reordered: halves.flatMap(({ lines, reordered }) =>
      reordered.map((line) => definition.replace(lines.matchers, () => line)),
    ),
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

/** The matcher, followed by the same with its conditions in other orders. */
function matchersOf(dice: Dice, pieces: readonly Piece[], subject: string): string[] {
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

function pickKey<T extends object>(dice: Dice, of: T): keyof T {
  return dice.pick(Object.keys(of) as (keyof T)[]);
}
