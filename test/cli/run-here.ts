import { jest } from "@jest/globals";
import { run } from "../../src/cli/run.ts";
import { cleanEnv, type Outcome } from "./run-cli.ts";

/** Ends when the last command has: the environment, the output and the exit code belong to the process. */
let last: Promise<unknown> = Promise.resolve();

/**
 * Runs a command line in the test's process, one after the other: for what a command does and prints. A process of its own takes a second
 * of the processor more, and is for signals, stdin, the end of the process and imports of files, which limit its memory; see `cli`.
 */
export function runHere(
  args: readonly string[],
  { env }: { env?: Record<string, string> } = {},
): Promise<Outcome> {
  const outcome = last.then(() => runAlone(args, env));
  last = outcome.catch(() => {});
  return outcome;
}

async function runAlone(args: readonly string[], env?: Record<string, string>): Promise<Outcome> {
  const written = { stdout: "", stderr: "" };
  const before = { env: process.env, exitCode: process.exitCode };
  const spies = (["stdout", "stderr"] as const).map((name) =>
    jest.spyOn(process[name], "write").mockImplementation((text) => {
      written[name] += text;
      return true;
    }),
  );
  process.env = cleanEnv(env);
  process.exitCode = undefined;
  try {
    return { code: await run(args), ...written };
  } finally {
    Object.assign(process, before);
    for (const spy of spies) spy.mockRestore();
  }
}
