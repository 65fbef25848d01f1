import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import pg from "pg";
import { parseCasbinPolicy } from "../../src/casbin/parse-policy.ts";
import { type Context, contextOf, type Rule } from "../support/casbin/case.ts";
import { askNodeCasbin } from "../support/casbin/node-casbin.ts";
import { createSqlEnforcer, type Question, type SqlAnswers } from "../support/casbin/sql.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { makeDice } from "../support/operations/dice.ts";

const EXAMPLES = join(import.meta.dirname, "examples");

/** Results that node-casbin's tests expect of an example: the values of a request, then whether it is allowed. */
interface Published {
  readonly test: string;
  readonly model?: string;
  /** The text of a model that the test builds in code. */
  readonly definition?: string;
  readonly policy: string | null;
  readonly added?: readonly string[];
  readonly replaced?: Readonly<Record<string, string>>;
  readonly context?: Context;
  readonly results: readonly (readonly unknown[])[];
}

/** Examples whose expected results need code that a model and a policy cannot hold, each with that code. */
const NEED_CODE: Readonly<Record<string, string>> = {
  TestRBACModelWithPattern: "addNamedMatchingFunc('g2', keyMatch2Func)",
  TestDomainMatchModel: "addDomainMatchingFunc(keyMatch2Func)",
  TestAllMatchModel: "addMatchingFunc(keyMatch2Func), addDomainMatchingFunc(keyMatch2Func)",
  TestKeyMatchCustomModel: "addFunction('keyMatchCustom', …)",
};

/** Models that Plinth refuses, each with the place and the reason. */
const REFUSED: Readonly<Record<string, string>> = {
  "keymatch_custom_model.conf": "matchers, line 11, column 23: the function keyMatchCustom is not supported.",
};

/** Pairs of a model and a policy without results in node-casbin's tests of enforce. */
const OTHER_PAIRS: readonly (readonly [model: string, policy: string])[] = [
  ["basic_model.conf", "basic_inverse_policy.csv"],
  ["node_casbin_150_model.conf", "node_casbin_150_policy.csv"],
  ["rbac_model.conf", "rbac_with_hierarchy_policy.csv"],
  ["rbac_with_domains_model.conf", "rbac_with_domains_policy2.csv"],
  ["rbac_with_domains_model.conf", "rbac_with_hierarchy_with_domains_policy.csv"],
  ["rbac_with_hierarchical_domains_model.conf", "rbac_with_hierarchical_domains_policy.csv"],
  ["rbac_with_multiple_policy_model.conf", "rbac_with_multiple_policy_policy.csv"],
  ["rbac_with_not_deny_model.conf", "rbac_with_deny_policy.csv"],
];

const read = (name: string) => readFileSync(join(EXAMPLES, name), "utf8");
const published: readonly Published[] = JSON.parse(read("results.json"));
const definitionOf = ({ model, definition }: Published) => definition ?? read(model!);
const pairs = [
  ...new Set([
    ...published.flatMap(({ model, policy }) => (model ? [`${model} ${policy ?? ""}`.trim()] : [])),
    ...OTHER_PAIRS.map((pair) => pair.join(" ")),
  ]),
].map((pair) => pair.split(" ") as [string, string?]);

let db: TestDatabase;
let ask: (question: Question) => Promise<SqlAnswers>;
let client: pg.Client;
beforeAll(async () => {
  db = await createTestDatabase();
  client = new pg.Client({ connectionString: db.url("owner") });
  await client.connect();
  const askAll = await createSqlEnforcer(client);
  ask = async (question) => (await askAll([question]))[0]!;
});
afterAll(async () => {
  await client.end();
  await db.drop();
});

function rulesOf({ policy, added = [], replaced = {} }: Published): Rule[] {
  const lines = (policy ? read(policy) : "").split("\n").map((line) => replaced[line] ?? line);
  return parseCasbinPolicy([...lines, ...added].join("\n")).rules;
}

describe("SQL answers the published requests of node-casbin's", () => {
  const supported = published.filter(({ test }) => !(test in NEED_CODE));
  test.each(
    supported.map((one) => [one.context ? `${one.test} with ${one.context.m}` : one.test, one] as const),
  )("%s [C5]", async (_title, one) => {
    const requests = one.results.map((values) => ({
      values: values.slice(0, -1),
      context: one.context ?? contextOf(""),
    }));
    expect(await ask({ definition: definitionOf(one), rules: rulesOf(one), requests })).toEqual({
      answers: one.results.map((values) => values.at(-1)),
      lists: [],
    });
  });
});

describe("SQL answers requests with the names of a policy as node-casbin does", () => {
  test.each(
    pairs.filter(([model]) => !(model in REFUSED)).map(([model, policy]) => [model, policy ?? "no policy"]),
  )("%s, %s", async (model, policy) => {
    const definition = read(model);
    const rules = policy === "no policy" ? [] : parseCasbinPolicy(read(policy)).rules;
    const requests = requestsWith(definition, rules);
    expect(await ask({ definition, rules, requests })).toEqual({
      answers: await askNodeCasbin(definition, rules, requests),
      lists: [],
    });
  });
});

const REQUESTS = 100;

/** Requests whose values are those of rules, mostly of the column with the same name. */
function requestsWith(definition: string, rules: readonly Rule[]): Question["requests"] {
  const dice = makeDice(1);
  const columnsOf = (name: string) =>
    (new RegExp(`^${name}\\s*=(.*)$`, "m").exec(definition)?.[1] ?? "")
      .split(",")
      .map((column) => column.trim());
  const words = [...new Set(rules.flatMap(({ values }) => values)), "nobody"];
  const policies = rules.filter(({ ptype }) => ptype === "p");
  const columns = columnsOf("p");
  return Array.from({ length: REQUESTS }, () => {
    const values = policies.length > 0 ? dice.pick(policies).values : [];
    return {
      values: columnsOf("r").map((column) =>
        dice.chance(70) ? (values[columns.indexOf(column)] ?? dice.pick(words)) : dice.pick(words),
      ),
      context: contextOf(""),
    };
  });
}

test.each(Object.entries(REFUSED))("refuses %s: %s", async (model, reason) => {
  expect(await ask({ definition: read(model), rules: [], requests: [] })).toEqual({ refused: reason });
});

test("every model and every policy of the examples is used", () => {
  const used = new Set([...pairs.flat(), ...published.map(({ policy }) => policy)]);
  expect(readdirSync(EXAMPLES).filter((name) => /\.(conf|csv)$/.test(name) && !used.has(name))).toEqual([]);
});
