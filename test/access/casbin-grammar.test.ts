import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { type ModelParts, modelText, replacePolicy } from "../support/casbin.ts";
import { createTestDatabase, inRolledBackTransaction, type TestDatabase } from "../support/database.ts";

// A model or rule outside the grammar is rejected when it is written, with its place and the reason.

let db: TestDatabase;
beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(() => db.drop());

/** The message of the error with which the database rejects a model with these rules. */
async function rejection(definition: string, rules: readonly string[] = []): Promise<string> {
  return inRolledBackTransaction(db, async (tx) => {
    const error = await replacePolicy(tx, definition, rules).then(
      () => undefined,
      (cause: { code: string; message: string }) => cause,
    );
    expect(error?.code).toBe("PL422");
    return error!.message;
  });
}

test.each<[name: string, parts: ModelParts, message: string]>([
  [
    "an unknown function",
    { m: "f(r.sub) == p.sub" },
    "matchers, line 10, column 5: the function f is not supported.",
  ],
  [
    "an operator of JavaScript",
    { m: "r.sub === p.sub" },
    "matchers, line 10, column 11: the operator === is not supported; write ==.",
  ],
  [
    "a method",
    { m: 'r.sub.startsWith("a")' },
    'matchers, line 10, column 21: only an attribute may follow, as in r.sub.Age or r.sub["Age"].',
  ],
  [
    "an unknown attribute",
    { m: "r.sub == p.subject" },
    "matchers, line 10, column 14: p.subject is neither an attribute of a definition nor a value.",
  ],
  [
    "a bare name",
    { m: "sub == p.sub" },
    "matchers, line 10, column 5: sub is neither an attribute of a definition nor a value.",
  ],
  [
    "an attribute of every object",
    { m: "r.sub.constructor == p.sub" },
    "matchers, line 10, column 10: the attribute constructor belongs to every object of JavaScript.",
  ],
  [
    "a bit operator",
    { m: "r.sub & p.sub" },
    "matchers, line 10, column 11: the character & is not supported.",
  ],
  [
    "a conditional",
    { m: "r.sub == p.sub ? true : false" },
    "matchers, line 10, column 20: the character ? is not supported.",
  ],
  ["a missing operand", { m: "r.sub ==" }, "matchers, line 10, column 13: a value is missing."],
  ["a missing operator", { m: "r.sub p.sub" }, "matchers, line 10, column 11: an operator is missing."],
  [
    "a missing parenthesis",
    { m: "(r.sub == p.sub" },
    "matchers, line 10, column 20: a closing parenthesis is missing.",
  ],
  [
    "a missing quote",
    { m: 'r.sub == "a' },
    "matchers, line 10, column 14: a text without its closing quote.",
  ],
  [
    "a wrong number of arguments",
    { m: "keyMatch(r.obj)" },
    "matchers, line 10, column 5: keyMatch takes 2 arguments.",
  ],
  [
    "g without its domain",
    { g: "_, _, _", m: "g(r.sub, p.sub)" },
    "matchers, line 10, column 5: g takes 3 arguments.",
  ],
  [
    "eval of a request",
    { m: "eval(r.sub)" },
    "matchers, line 10, column 5: eval takes an attribute of a policy, in the matcher only.",
  ],
  [
    "in before &&",
    { m: 'r.act in ("read", "write") && r.sub == p.sub' },
    "matchers, line 10, column 14: the right side of in must be a list; in binds weaker than &&, so put parentheses around it.",
  ],
  ["another effect", { e: "max(p.eft)" }, "policy_effect, line 8, column 5: the effect is not supported."],
  [
    "roles of four parts",
    { g: "_, _, _, _" },
    "role_definition, line 6, column 5: only _, _ and, with domains, _, _, _ are supported.",
  ],
  ["a repeated name", { p: "sub, obj, sub" }, "policy_definition, line 4, column 5: a name is repeated."],
  [
    "seven values",
    { p: "a, b, c, d, e, f, h" },
    "policy_definition, line 4, column 5: a policy has up to 6 values, a request up to 12.",
  ],
])("rejects a model with %s, with its place [C5]", async (_name, parts, message) => {
  expect(await rejection(modelText(parts))).toBe(message);
});

test.each<[name: string, definition: string, message: string]>([
  [
    "an unknown section",
    `[roles]\ng = _, _\n${modelText()}`,
    "roles, line 2, column 1: the section is unknown.",
  ],
  [
    "a repeated section",
    `${modelText()}\n[matchers]\nm2 = true`,
    "matchers, line 11, column 1: the section is repeated.",
  ],
  [
    "an entry before the sections",
    `r = sub\n${modelText()}`,
    "before the first section, line 1, column 1: the section is unknown.",
  ],
  [
    "a missing section",
    modelText().replace(/\[policy_effect\]\n.*\n/, ""),
    "policy_effect, line 1, column 1: the section is missing.",
  ],
  [
    "a line without =",
    modelText().replace("e = ", ""),
    "policy_effect, line 8, column 1: an entry e = … is expected.",
  ],
  [
    "a gap in the numbers",
    `${modelText()}\nm3 = true`,
    "matchers, line 11, column 1: m3 needs the one before it.",
  ],
  [
    "an error in a continued line",
    modelText({ m: "g(r.sub, p.sub) && \\\n  # why\n  h(r.obj)" }),
    "matchers, line 12, column 3: the function h is not supported.",
  ],
])("rejects a definition with %s, with its place", async (_name, definition, message) => {
  expect(await rejection(definition)).toBe(message);
});

test.each<[name: string, parts: ModelParts, rule: string, message: string]>([
  ["an unknown type", {}, "p2, a, b, c", 'Rule "p2, a, b, c", ptype: the model defines no p2.'],
  [
    "too few values, where an effect may be omitted",
    { p: "sub, obj, act, eft" },
    "p, a, b",
    'Rule "p, a, b", v2: p takes 3 or 4 values, not 2.',
  ],
  ["too few values", {}, "p, a, b", 'Rule "p, a, b", v2: p takes 3 values, not 2.'],
  ["too many values", {}, "g, a, b, c", 'Rule "g, a, b, c", v2: g takes 2 values, not 3.'],
  [
    "an open group",
    { m: "regexMatch(r.obj, p.obj)" },
    "p, a, (b, c",
    'Rule "p, a, (b, c", v1: a group without its closing parenthesis, at character 2.',
  ],
  [
    "a back reference",
    { m: "regexMatch(r.obj, p.obj)" },
    "p, a, (b)\\1, c",
    'Rule "p, a, (b)\\1, c", v1: an escape that is not supported, at character 4.',
  ],
  [
    "look-around",
    { m: "regexMatch(r.obj, p.obj)" },
    "p, a, (?=b), c",
    'Rule "p, a, (?=b), c", v1: look-around and named groups are not supported, at character 1.',
  ],
  [
    "a parameter without a name",
    { m: "keyMatch2(r.obj, p.obj)" },
    "p, a, /x/:/y, c",
    'Rule "p, a, /x/:/y, c", v1: a parameter without a name, at character 3.',
  ],
  [
    "an address that is none",
    { m: "ipMatch(r.sub, p.sub)" },
    "p, 10.0.0.0/33, b, c",
    'Rule "p, 10.0.0.0/33, b, c", v0: neither an IP address nor a CIDR, at character 1.',
  ],
  [
    "a glob of another kind",
    { m: "globMatch(r.obj, p.obj)" },
    "p, a, **/b, c",
    'Rule "p, a, **/b, c", v1: globMatch takes only * and ?, no **, classes, braces, parentheses, backslashes, . or .. or a leading ! or #, at character 1.',
  ],
  [
    "a condition outside the grammar",
    { m: "eval(p.sub)" },
    "p, r.sub.Age > h(1), b, c",
    'Rule "p, r.sub.Age > h(1), b, c", v0: the function h is not supported, at character 13.',
  ],
  [
    "a condition that leaves its parentheses",
    { m: "eval(p.sub) && r.act == p.act" },
    "p, true) || (true, b, c",
    'Rule "p, true) || (true, b, c", v0: an operator is missing, at character 5.',
  ],
  [
    "a condition in a condition",
    { m: "eval(p.sub)" },
    "p, eval(p.obj), b, c",
    'Rule "p, eval(p.obj), b, c", v0: eval takes an attribute of a policy, in the matcher only, at character 1.',
  ],
  [
    "a priority that is no number",
    { p: "priority, sub, obj, act" },
    "p, high, a, b, c",
    'Rule "p, high, a, b, c", v0: a priority must be a whole number.',
  ],
])("rejects a rule with %s, with its column [C5]", async (_name, parts, rule, message) => {
  expect(await rejection(modelText(parts), [rule])).toBe(message);
});

test("rejects a new definition that a rule of the model does not meet", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    await replacePolicy(tx, modelText(), ["p, a, b, c"]);
    await expect(
      tx.attempt("update access.casbin_models set definition = $1", [
        modelText({ p: "sub, act", m: "r.sub == p.sub" }),
      ]),
    ).rejects.toMatchObject({ code: "PL422", message: 'Rule "p, a, b, c", v2: p takes 2 values, not 3.' });
    // Patterns are checked, too, if the new matcher takes a value as one.
    await replacePolicy(tx, modelText(), ["p, a, (b, c"]);
    await expect(
      tx.attempt("update access.casbin_models set definition = $1", [
        modelText({ m: "regexMatch(r.obj, p.obj)" }),
      ]),
    ).rejects.toMatchObject({ code: "PL422", message: expect.stringContaining("v1: a group") });
  });
});

test("reports every rule that a model does not take, for imports", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    const check = (definition: string, rules: unknown) =>
      tx.rows("select * from private.casbin_check($1, $2)", [definition, JSON.stringify(rules)]);
    expect(await check(modelText(), [["p", "a", "b"], ["p", "a", "b", "c"], ["q", "a"], 7])).toEqual([
      { rule: 1, place: "v2", reason: "p takes 3 values, not 2" },
      { rule: 3, place: "ptype", reason: "the model defines no q" },
      { rule: 4, place: "ptype", reason: "a rule is a type and one to six values of up to 256 characters" },
    ]);
    expect(await check(modelText({ m: "true)" }), [])).toEqual([
      { rule: null, place: "matchers, line 10, column 9", reason: "an operator is missing." },
    ]);
  });
});
