import { jest } from "@jest/globals";
import { run } from "../../src/cli/run.ts";
import { cleanEnv, type Outcome } from "./run-cli.ts";

/**
 * Runs a command line in this process, which has loaded Plinth already: a process of its own costs a second of a processor. Use `cli`
 * where a signal, the input, or the process itself matters.
 */
export async function runHere(
  args: readonly string[],
  { env = {} }: { env?: Record<string, string> } = {},
): Promise<Outcome> {
  const before = { env: process.env, exitCode: process.exitCode };
  const written = { stdout: "", stderr: "" };
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
