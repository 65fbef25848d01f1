import type { Input } from "./arguments.ts";
import type { Caller, Outcome } from "./caller.ts";

/** A part of an input and what it can hold, the most likely first. */
export interface Choice {
  readonly name: string;
  readonly options: readonly unknown[];
  put(input: Input, option: never): Input;
}

export interface Attempt {
  readonly actor: string;
  readonly input: Input;
  readonly outcome: Outcome;
}

/** Combinations that are tried before a mutation is given up. */
const MAX_ATTEMPTS = 60;

/**
 * Looks for an input with which the actor's call of a mutation would change something. An error that names an argument makes that
 * argument change next. Returns the attempts with different answers; a success is the last one.
 */
export async function findSuccess(
  caller: Caller,
  mutation: string,
  actor: string,
  start: Input,
  choices: readonly Choice[],
): Promise<Attempt[]> {
  const different = new Map<string, Attempt>();
  const at = choices.map(() => 0);
  for (let n = 0; n < MAX_ATTEMPTS && choices.every(({ options }) => options.length > 0); n++) {
    const input = choices.reduce((made, { options, put }, i) => put(made, options[at[i]!] as never), start);
    const outcome = await caller.call(mutation, actor, input);
    const attempt = { actor, input, outcome };
    if (outcome.kind === "allowed") return [...different.values(), attempt];
    const answer = `${outcome.kind} ${outcome.text.replace(/[0-9a-f-]{36}/g, "")}`;
    if (!different.has(answer)) different.set(answer, attempt);
    const named = choices.findIndex(({ name }) => name === outcome.field);
    if (!advance(at, choices, named)) break;
  }
  return [...different.values()];
}

/** Moves to the next combination, like an odometer whose first wheel is the one named. @returns false after the last one */
function advance(at: number[], choices: readonly Choice[], named: number): boolean {
  const isLast = (i: number) => at[i]! + 1 >= choices[i]!.options.length;
  if (named >= 0 && !isLast(named)) {
    at[named]! += 1;
    return true;
  }
  const wheel = at.findIndex((_, i) => !isLast(i));
  if (wheel < 0) return false;
  at.fill(0, 0, wheel);
  at[wheel]! += 1;
  return true;
}
