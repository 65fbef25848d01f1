import type { Dice } from "../operations/dice.ts";
import { randomCondition, randomObject } from "./random-expression.ts";
import {
  ACT_PATTERNS,
  ACTS,
  DOMAINS,
  GROUPS,
  IPS,
  OBJECTS,
  type PATH_FUNCTIONS,
  PATHS,
  PATTERNS,
  ROLES,
  USERS,
} from "./vocabulary.ts";

/** A part of a matcher with the columns and role definitions that it needs. */
export interface Piece {
  readonly clause: string;
  /** By the name of a column of the request or of a rule. */
  readonly request?: Readonly<Record<string, () => unknown>>;
  readonly policy?: Readonly<Record<string, () => string>>;
  readonly roles?: readonly Roles[] | undefined;
}

/** A role definition: g or g2, with two or three columns, and its rules. */
export interface Roles {
  readonly name: "g" | "g2";
  readonly columns: 2 | 3;
  readonly rules: readonly (readonly string[])[];
}

type MakePiece = (dice: Dice) => Piece;

const SUBJECT_ATTRIBUTES = ["Name", "Age", "Dept", "Active"];
const OBJECT_ATTRIBUTES = ["Owner", "Level", "Tags"];
const atomsOf = (object: string, names: readonly string[]) => names.map((name) => `${object}.${name}`);
const SUBJECT_ATOMS = [...atomsOf("r.sub", SUBJECT_ATTRIBUTES), "r.sub.Home.City"];

const randomSubject = (dice: Dice) => ({
  ...randomObject(dice, SUBJECT_ATTRIBUTES),
  Name: dice.pick(USERS),
  ...(dice.chance(90) && { Home: dice.chance(80) ? { City: dice.pick(["Rome", "Oslo", 18]) } : "Rome" }),
});

/** Random links, also in circles and in chains that are longer than the ten links that node-casbin follows. */
function links(
  dice: Dice,
  children: readonly string[],
  parents: readonly string[],
  domains?: readonly string[],
) {
  const rules = Array.from({ length: 2 + dice.below(7) }, () => [
    dice.pick(dice.chance(60) ? children : parents),
    dice.pick(parents),
  ]);
  if (dice.chance(10))
    for (let step = 0; step < 11; step += 1)
      rules.push([step === 0 ? children[0]! : `step${step}`, step === 10 ? parents[0]! : `step${step + 1}`]);
  return rules.map((rule) => (domains ? [...rule, dice.pick(domains)] : rule));
}

export const SUBJECTS = {
  equal: (dice) => ({
    clause: "r.sub == p.sub",
    request: { sub: () => dice.pick(USERS) },
    policy: { sub: () => dice.pick(USERS) },
  }),
  pattern: (dice) => ({
    clause: dice.pick(["regexMatch(r.sub, p.sub)", "regexMatch(r.sub.Name, p.sub)"]),
    request: { sub: () => (dice.chance(50) ? dice.pick(USERS) : randomSubject(dice)) },
    policy: { sub: () => dice.pick(["^a", "(bob)|(carol)", "e$", "^$", "[^c]a"]) },
  }),
  "no rule": (dice) => ({
    clause: `(r.sub.Name == "alice" || ${randomCondition(dice, SUBJECT_ATOMS, 2)})`,
    request: { sub: () => randomSubject(dice) },
  }),
  role: (dice) => ({
    clause: "g(r.sub, p.sub)",
    request: { sub: () => dice.pick([...USERS, ROLES[0]]) },
    policy: { sub: () => dice.pick([...ROLES, USERS[0]]) },
    roles: [{ name: "g", columns: 2, rules: links(dice, USERS, ROLES) }],
  }),
  "role in a domain": (dice) => ({
    clause: "g(r.sub, p.sub, r.dom) && r.dom == p.dom",
    request: { sub: () => dice.pick(USERS), dom: () => dice.pick(DOMAINS) },
    policy: { sub: () => dice.pick([...ROLES, USERS[0]]), dom: () => dice.pick(DOMAINS) },
    roles: [{ name: "g", columns: 3, rules: links(dice, USERS, ROLES, DOMAINS) }],
  }),
  address: (dice) => ({
    clause: "ipMatch(r.sub, p.sub)",
    request: { sub: () => dice.pick(IPS) },
    policy: { sub: () => dice.pick(PATTERNS.ipMatch) },
  }),
  attributes: (dice) => ({
    clause: `(r.sub.Name == p.sub || ${randomCondition(dice, [...SUBJECT_ATOMS, "p.sub", "p.level"])})`,
    request: { sub: () => randomSubject(dice) },
    policy: { sub: () => dice.pick(USERS), level: () => dice.pick(["18", "60", "", "1", "true"]) },
  }),
  "role of an attribute": (dice) => ({
    clause: "g(r.sub.Name, p.sub)",
    request: { sub: () => randomSubject(dice) },
    policy: { sub: () => dice.pick([...ROLES, USERS[0]]) },
    roles: [{ name: "g", columns: 2, rules: links(dice, USERS, ROLES) }],
  }),
  rule: (dice) => ({
    clause: "eval(p.sub_rule)",
    request: { sub: () => randomSubject(dice) },
    policy: {
      sub_rule: () =>
        dice.chance(80)
          ? randomCondition(dice, SUBJECT_ATOMS, 2)
          : `regexMatch(r.sub.Name, "${dice.pick(["^a", "b$", "o"])}") && ${randomCondition(dice, SUBJECT_ATOMS, 1)}`,
    },
  }),
} satisfies Record<string, MakePiece>;

const path =
  (name: (typeof PATH_FUNCTIONS)[number]): MakePiece =>
  (dice) => ({
    clause: `${name}(r.obj, p.obj)`,
    request: { obj: () => dice.pick(PATHS) },
    policy: { obj: () => dice.pick(PATTERNS[name]) },
  });

export const OBJECT_PIECES = {
  equal: (dice) => ({
    clause: "r.obj == p.obj",
    request: { obj: () => dice.pick(OBJECTS) },
    policy: { obj: () => dice.pick(OBJECTS) },
  }),
  keyMatch: path("keyMatch"),
  keyMatch2: path("keyMatch2"),
  keyMatch3: path("keyMatch3"),
  keyMatch4: path("keyMatch4"),
  keyMatch5: path("keyMatch5"),
  globMatch: path("globMatch"),
  regexMatch: path("regexMatch"),
  keyGet: (dice) => ({
    clause: `keyGet(r.obj, p.obj) == "${dice.pick(["1", "", "1/b/1"])}"`,
    request: { obj: () => dice.pick(PATHS) },
    policy: { obj: () => dice.pick(PATTERNS.keyMatch) },
  }),
  keyGet2: (dice) => ({
    clause: `keyGet2(r.obj, p.obj, 'id') ${dice.pick(["==", "!="])} "${dice.pick(["1", "2", ""])}"`,
    request: { obj: () => dice.pick(PATHS) },
    policy: { obj: () => dice.pick(PATTERNS.keyMatch2) },
  }),
  "resource role": (dice) => ({
    clause: "g2(r.obj, p.obj)",
    request: { obj: () => dice.pick(OBJECTS) },
    policy: { obj: () => dice.pick([...GROUPS, OBJECTS[0]]) },
    roles: [{ name: "g2", columns: 2, rules: links(dice, OBJECTS, GROUPS) }],
  }),
  attributes: (dice) => ({
    clause: randomCondition(dice, [...atomsOf("r.obj", OBJECT_ATTRIBUTES), "p.obj"], 2),
    request: { obj: () => randomObject(dice, OBJECT_ATTRIBUTES) },
    policy: { obj: () => dice.pick([...USERS, "18", "0"]) },
  }),
  list: (dice) => ({
    clause: "(p.obj in r.obj.Tags)",
    request: { obj: () => ({ Tags: dice.some([...USERS, 18], 1 + dice.below(3)) }) },
    policy: { obj: () => dice.pick([...USERS, "18"]) },
  }),
  "literal pattern": (dice) => ({
    clause: `${dice.pick(['keyMatch(r.obj, "/a/*")', 'keyMatch2(r.obj, "/a/:id")', 'regexMatch(r.obj, "^/b")', 'globMatch(r.obj, "/*")'])}`,
    request: { obj: () => dice.pick(PATHS) },
  }),
  none: () => ({ clause: "" }),
} satisfies Record<string, MakePiece>;

export const ACTIONS = {
  equal: (dice) => ({
    clause: "r.act == p.act",
    request: { act: () => dice.pick(ACTS) },
    policy: { act: () => dice.pick(ACTS) },
  }),
  regexMatch: (dice) => ({
    clause: "regexMatch(r.act, p.act)",
    request: { act: () => dice.pick(ACTS) },
    policy: { act: () => dice.pick(ACT_PATTERNS) },
  }),
  star: (dice) => ({
    clause: '(p.act == "*" || r.act == p.act)',
    request: { act: () => dice.pick(ACTS) },
    policy: { act: () => dice.pick([...ACTS, "*"]) },
  }),
  in: (dice) => ({
    clause: `(r.act in (${dice
      .some(ACTS, 2)
      .map((act) => `"${act}"`)
      .join(", ")}))`,
    request: { act: () => dice.pick(ACTS) },
  }),
  none: () => ({ clause: "" }),
} satisfies Record<string, MakePiece>;

/** The effects, and the columns that they need; `eft` where there may be one. */
export const EFFECTS = {
  allow: { text: "some(where (p.eft == allow))", eft: "optional" },
  "not deny": { text: "!some(where (p.eft == deny))", eft: "always" },
  "allow and not deny": {
    text: "some(where (p.eft == allow)) && !some(where (p.eft == deny))",
    eft: "always",
  },
  priority: { text: "priority(p.eft) || deny", eft: "always" },
  "explicit priority": { text: "priority(p.eft) || deny", eft: "always" },
  "subject priority": { text: "subjectPriority(p.eft) || deny", eft: "always" },
} as const satisfies Record<string, { text: string; eft: "optional" | "always" }>;
