import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "@jest/globals";
import { newModelFromString, StringAdapter } from "casbin";
import { casbinPolicyLine } from "../../src/casbin/format-policy.ts";
import { parseCasbinPolicy } from "../../src/casbin/parse-policy.ts";
import { makeDice } from "../support/operations/dice.ts";
import { SEED } from "../support/random.ts";

const EXAMPLES = join(import.meta.dirname, "examples");
const MODEL = `
[request_definition]
r = sub
[policy_definition]
p = sub
[policy_effect]
e = some(where (p.eft == allow))
[matchers]
m = r.sub == p.sub`;

/** The rules of type p that node-casbin loads, or its message. */
async function loadedByNodeCasbin(text: string): Promise<string[][] | string> {
  const model = newModelFromString(MODEL);
  try {
    await new StringAdapter(text).loadPolicy(model);
    return model.getPolicy("p", "p");
  } catch (error) {
    return (error as Error).message;
  }
}

const rulesOfP = (text: string) =>
  parseCasbinPolicy(text)
    .rules.filter(({ ptype }) => ptype === "p")
    .map(({ values }) => [...values]);

const policies = readdirSync(EXAMPLES).filter((name) => name.endsWith(".csv"));

test.each(policies)("reads %s as node-casbin does", async (name) => {
  const text = readFileSync(join(EXAMPLES, name), "utf8");
  expect(parseCasbinPolicy(text).faults).toEqual([]);
  expect(rulesOfP(text)).toEqual(await loadedByNodeCasbin(text));
});

/** Characters with a meaning in policy files, and a few without. */
const CHARACTERS = ['"', ",", "(", ")", " ", "#", "'", "\\", "a", "b", "ß", "\t"];

test(`reads random lines as node-casbin does, and rejects what it rejects (seed ${SEED})`, async () => {
  const dice = makeDice(SEED);
  let rejected = 0;
  for (let round = 0; round < 1_000; round += 1) {
    const line = `p, ${Array.from({ length: 1 + dice.below(12) }, () => dice.pick(CHARACTERS)).join("")}`;
    const theirs = await loadedByNodeCasbin(line);
    const { faults } = parseCasbinPolicy(line);
    if (typeof theirs === "string") rejected += 1;
    expect([line, faults.length > 0 ? "rejected" : rulesOfP(line)]).toEqual([
      line,
      typeof theirs === "string" ? "rejected" : theirs,
    ]);
  }
  expect(rejected).toBeGreaterThan(50);
  expect(rejected).toBeLessThan(900);
});

test(`writes random values so that node-casbin reads them back (seed ${SEED})`, async () => {
  const dice = makeDice(SEED);
  let written = 0;
  for (let round = 0; round < 1_000; round += 1) {
    const values = Array.from({ length: 1 + dice.below(3) }, () =>
      Array.from({ length: dice.below(6) }, () => dice.pick(CHARACTERS)).join(""),
    );
    const line = casbinPolicyLine("p", values);
    if (line === undefined) {
      expect(values.some(cannotBeWritten) ? "unwritable" : values).toBe("unwritable");
      continue;
    }
    written += 1;
    expect([line, await loadedByNodeCasbin(line)]).toEqual([line, [values]]);
  }
  expect(written).toBeGreaterThan(200);
});

/** node-casbin trims each value, and joins fields until parentheses are balanced. */
function cannotBeWritten(value: string): boolean {
  return value !== value.trim() || value.split("(").length !== value.split(")").length;
}

test("quotes a value only where the reader needs it", () => {
  expect(casbinPolicyLine("p", ["alice", "a,b", 'say "hi"', "r.sub.Age in (18,21)", '"x"'])).toBe(
    'p, alice, "a,b", say "hi", r.sub.Age in (18,21), """""""x"""""""',
  );
});

test.each(["a\nb", " a", "a ", "(a"])("does not write %j", (value) => {
  expect(casbinPolicyLine("p", [value])).toBeUndefined();
});

test.each([
  ['p, "a" b', /^A quote ends before its value does\. Use single quotes /],
  ['p, "a', /^A quote is not closed\.$/],
  ["p, a)", /^The parentheses of the line are not balanced\.$/],
  ["p, a\rp, b", /^The line contains a carriage return\.$/],
])("reports what is wrong with %j", (line, reason) => {
  expect(parseCasbinPolicy(line)).toEqual({
    rules: [],
    faults: [{ line: 1, reason: expect.stringMatching(reason) }],
  });
});

test("names the line of each fault", () => {
  expect(parseCasbinPolicy("# comment\n\np, alice, (data1\np, bob, data2\n")).toEqual({
    rules: [{ line: 4, ptype: "p", values: ["bob", "data2"] }],
    faults: [{ line: 3, reason: "The parentheses of the line are not balanced." }],
  });
});
