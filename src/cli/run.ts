import { inspect } from "node:util";
import { CommanderError } from "commander";
import { explainError } from "./explain-error.ts";
import { note } from "./output.ts";
import { buildProgram } from "./program.ts";
import { stopProgress } from "./progress/progress.ts";
import { UsageError } from "./usage-error.ts";

/** Exit codes, as `plinth --help` lists them. */
const EXIT = { ok: 0, failure: 1, usage: 2, bug: 70 } as const;

/**
 * Runs one command line and reports errors.
 * @param argv the arguments, without the program's own name
 * @returns the exit code
 */
export async function run(argv: readonly string[]): Promise<number> {
  try {
    await buildProgram().parseAsync(argv, { from: "user" }).finally(stopProgress);
    // Set by a command that finished but found a problem (doctor, schema check, import).
    return Number(process.exitCode ?? EXIT.ok);
  } catch (error) {
    return report(error);
  }
}

function report(error: unknown): number {
  // Commander has already printed its message. It also throws after printing help or the version.
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
  if (error instanceof UsageError) {
    note(`error: ${error.message}`);
    return EXIT.usage;
  }
  const known = explainError(error);
  if (known) {
    note(`error: ${known.message}`);
    if (known.hint) note(`hint: ${known.hint}`);
    return known.exitCode;
  }
  note(`error: Unexpected error. Please report it.\n${inspect(error)}`);
  return EXIT.bug;
}
