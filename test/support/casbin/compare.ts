import type pg from "pg";
import { makeDice } from "../operations/dice.ts";
import type { Case, Request } from "./case.ts";
import { type Answer, askNodeCasbin } from "./node-casbin.ts";
import { randomCase } from "./random-case.ts";
import { createSqlEnforcer, type List, type SqlAnswers } from "./sql.ts";

export interface CompareOptions {
  /** Connected as the owner. */
  readonly client: pg.ClientBase;
  readonly seed: number;
  readonly count: number;
  readonly onDifference?: (difference: Difference) => void;
  readonly onProgress?: (asked: number) => void;
}

/** A request that the two answer differently, or a model that only SQL refuses. */
export interface Difference {
  readonly asked: Case;
  readonly request: Request | undefined;
  readonly nodeCasbin: Answer | undefined;
  readonly sql: Answer | string;
}

/** Answers of one kind of model. */
interface Tally {
  allowed: number;
  denied: number;
  /** Requests for which node-casbin throws an error. SQL throws too, or denies. */
  errors: number;
}

export interface Comparison {
  readonly asked: number;
  readonly differences: readonly Difference[];
  readonly tallies: ReadonlyMap<string, Tally>;
}

/** Cases that are sent in one round trip. */
const BATCH = 20;

/** Lists of each case. */
const LISTS = 5;

/** Asks random requests of random models of node-casbin and of SQL. */
export async function compareWithNodeCasbin(options: CompareOptions): Promise<Comparison> {
  const { client, seed, count } = options;
  const dice = makeDice(seed);
  const askSql = await createSqlEnforcer(client);
  const differences: Difference[] = [];
  const tallies = new Map<string, Tally>();
  let asked = 0;
  while (asked < count) {
    const cases = Array.from({ length: BATCH }, () => randomCase(dice));
    const sql = await askSql(cases.map((one) => ({ ...one, lists: listsOf(one) })));
    for (const [index, one] of cases.entries()) {
      const expected = await askNodeCasbin(one.definition, one.rules, one.requests);
      for (const difference of await differencesOf(one, expected, sql[index]!)) {
        differences.push(difference);
        options.onDifference?.(difference);
      }
      for (const tag of one.tags) addTo(tallies, tag, expected);
      asked += expected.length;
    }
    options.onProgress?.(asked);
  }
  return { asked, differences, tallies };
}

async function differencesOf(
  asked: Case,
  expected: readonly Answer[],
  sql: SqlAnswers,
): Promise<Difference[]> {
  if ("refused" in sql) {
    // A model that node-casbin cannot evaluate may be refused at once.
    if (expected.every((answer) => answer === "error")) return [];
    return [{ asked, request: undefined, nodeCasbin: undefined, sql: sql.refused }];
  }
  const differences: Difference[] = sql.lists.map((list) => ({
    asked,
    request: undefined,
    nodeCasbin: undefined,
    sql: list,
  }));
  for (const [index, request] of asked.requests.entries()) {
    const [nodeCasbin, answer] = [expected[index]!, sql.answers[index]!];
    if (nodeCasbin === answer) continue;
    if (nodeCasbin === "error" && (answer === false || (await isTrueReordered(asked, request)))) continue;
    differences.push({ asked, request, nodeCasbin, sql: answer });
  }
  return differences;
}

/** Requests of a model of sub, obj and act, and perhaps of a domain, as requests for all objects of the case. */
function listsOf({ definition, requests }: Case): List[] {
  const names = /^r = (.*)$/m.exec(definition)![1]!.split(", ");
  const named = requests
    .filter(({ context }) => context.r === "r")
    .map(({ values }) => Object.fromEntries(names.map((name, index) => [name, values[index]])));
  const objs = [...new Set(named.map(({ obj }) => obj))].filter((obj) => typeof obj === "string");
  return named
    .filter(({ sub }) => typeof sub === "string" && objs.length > 0)
    .slice(0, LISTS)
    .map(({ sub, obj: _, act = "read", ...context }) => ({
      sub: sub as string,
      act: act as string,
      context,
      objs,
    }));
}

/**
 * SQL evaluates only the rules that can match a request. node-casbin evaluates every rule, and throws if a condition of any
 * fails. With the conditions in another order, the rules that cannot match no longer reach the one that fails.
 */
async function isTrueReordered({ reordered, rules }: Case, request: Request): Promise<boolean> {
  for (const definition of reordered)
    if ((await askNodeCasbin(definition, rules, [request]))[0] === true) return true;
  return false;
}

function addTo(tallies: Map<string, Tally>, tag: string, answers: readonly Answer[]): void {
  const tally = tallies.get(tag) ?? { allowed: 0, denied: 0, errors: 0 };
  tallies.set(tag, tally);
  for (const answer of answers) tally[answer === "error" ? "errors" : answer ? "allowed" : "denied"] += 1;
}

/** A difference with everything that is needed to repeat it. */
export function describeDifference({ asked, request, nodeCasbin, sql }: Difference): string {
  const rules = asked.rules.map(({ ptype, values }) => `  ${[ptype, ...values].join(", ")}`);
  return [
    asked.definition.trim(),
    ...rules,
    request ? `${JSON.stringify(request.values)} with ${request.context.m}` : "(the model)",
    `node-casbin: ${nodeCasbin ?? "accepted"}, SQL: ${sql}`,
  ].join("\n");
}
