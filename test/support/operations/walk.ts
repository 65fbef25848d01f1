import type { GraphQLSchema } from "postgraphile/graphql";
import { parseExactJson } from "../../../src/support/exact-json.ts";
import type { Answer } from "../api.ts";
import { compareAnswers, type RawAnswer, type Send } from "./compare-answers.ts";
import { type Coverage, createCoverage } from "./coverage.ts";
import { makeDice } from "./dice.ts";
import { firstLook } from "./first-look.ts";
import { createKnownValues } from "./known-values.ts";
import { withOtherVariables } from "./other-variables.ts";
import {
  DEFAULT_OPTIONS,
  type Operation,
  type OperationOptions,
  randomOperation,
} from "./random-operation.ts";
import { shrink } from "./shrink.ts";
import { walkAnswer } from "./walk-answer.ts";

export interface WalkOptions {
  readonly schema: GraphQLSchema;
  readonly send: Readonly<Record<"a" | "b", Send>>;
  /** Users that send the operations, in turn. */
  readonly users: readonly string[];
  readonly seed: number;
  readonly count: number;
  /** Choices are random: the walk goes on, up to four times as far, until this holds. */
  readonly isEnough?: (walk: Pick<Walk, "filled" | "coverage">) => boolean;
  readonly operations?: Partial<OperationOptions>;
  readonly onOperation?: (done: number) => void;
  readonly onFault?: (fault: Fault) => void;
}

/** An operation with an answer that must not be. */
interface Fault {
  readonly user: string;
  readonly operation: Operation;
  readonly reason: string;
}

export interface Walk {
  readonly faults: readonly Fault[];
  /** Answers with at least one value of a row. */
  readonly filled: number;
  /** Answers with each code of an error. */
  readonly codes: ReadonlyMap<string, number>;
  readonly coverage: Coverage;
}

/** Codes that no operation of a walk may cause. */
const NEVER = new Set(["INTERNAL", "TIMEOUT", "UNAVAILABLE", "RATE_LIMITED", "GRAPHQL_PARSE_FAILED"]);

/** Sends random operations to both servers and compares the answers. */
export async function walk(options: WalkOptions): Promise<Walk> {
  const { schema, send, users, seed, count, isEnough = () => true } = options;
  const dice = makeDice(seed);
  const coverage = createCoverage(schema);
  const known = new Map(users.map((user) => [user, createKnownValues(schema)] as const));
  const faults: Fault[] = [];
  const codes = new Map<string, number>();
  let filled = 0;

  const reasonOf = async (operation: Operation, user: string) => {
    const { difference, a, b } = await compareAnswers(send, operation, user);
    const never = [a, b].flatMap(codesOf).find((code) => NEVER.has(code));
    return { reason: difference ? [difference, ...errorsOf(a), "and", ...errorsOf(b)].join("\n") : never, a };
  };

  async function compare(operation: Operation, user: string): Promise<RawAnswer> {
    const { reason, a } = await reasonOf(operation, user);
    if (!reason) return a;
    const isStillWrong = async (smaller: Operation) => (await reasonOf(smaller, user)).reason !== undefined;
    const smallest = await shrink(schema, operation, isStillWrong);
    const fault = { user, operation: smallest, reason: (await reasonOf(smallest, user)).reason ?? reason };
    faults.push(fault);
    options.onFault?.(fault);
    return a;
  }

  for (const [user, values] of known)
    for (const operation of firstLook(schema)) {
      const { text } = await send.a(operation, user);
      values.learn(operation, parseExactJson(text) as Answer);
    }

  for (let n = 0; n < count || (n < 4 * count && !isEnough({ filled, coverage })); n++) {
    const user = users[n % users.length]!;
    // Now and then with values that only another user has seen.
    const source = { dice, coverage, known: known.get(dice.chance(90) ? user : dice.pick(users))! };
    const operation = randomOperation(schema, source, { ...DEFAULT_OPTIONS, ...options.operations });
    const a = await compare(operation, user);
    // Again, since a server may treat a document that it knows in another way.
    await compare(withOtherVariables(schema, source, operation), dice.pick([user, dice.pick(users)]));
    for (const code of new Set(codesOf(a))) codes.set(code, (codes.get(code) ?? 0) + 1);
    const answer = parseExactJson(a.text) as Answer;
    known.get(user)!.learn(operation, answer);
    if (noteAnswer(schema, coverage, operation, answer.data)) filled++;
    options.onOperation?.(n + 1);
  }
  return { faults, filled, codes, coverage };
}

function codesOf({ text }: RawAnswer): string[] {
  const { errors = [] } = JSON.parse(text) as { errors?: { extensions?: { code?: string } }[] };
  return errors.map(({ extensions }) => extensions?.code ?? "none");
}

/** The errors of an answer as lines of text. */
function errorsOf({ text }: RawAnswer): string[] {
  const { errors = [] } = JSON.parse(text) as { errors?: unknown[] };
  return errors.map((error) => JSON.stringify(error));
}

/** @returns whether the answer contains a value of a row, not only counts, page information and type names */
function noteAnswer(
  schema: GraphQLSchema,
  coverage: Coverage,
  { document }: Operation,
  data: unknown,
): boolean {
  let isFilled = false;
  walkAnswer(schema, document, data, ({ type, field, node, value }) => {
    coverage.answer(`${type.name}.${field.name}`);
    const isOfRow = !node.selectionSet && !/^(Query|PageInfo|Node)$|Connection$/.test(type.name);
    if (isOfRow || (type.name === "Query" && !node.selectionSet && field.name !== "nodeId" && value !== null))
      isFilled = true;
  });
  return isFilled;
}

/** A fault as text that can be pasted. */
export const describeFault = ({ user, operation, reason }: Fault): string =>
  `${reason}\nas ${user}:\n${operation.text}\n${JSON.stringify(operation.variables)}`;
