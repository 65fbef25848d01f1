import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { LOGIN_ROLES } from "../../src/config/roles.ts";
import { PACKAGE_ROOT } from "../../src/support/paths.ts";
import type { TestDatabase } from "../support/database.ts";

export interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export const LAUNCHER = join(PACKAGE_ROOT, "src", "cli", "plinth.js");

/**
 * The environment of a command: this test's variables and none of the PLINTH variables from outside. On a slow machine, lines of
 * progress would be among the lines that tests expect.
 */
export function cleanEnv(own: Record<string, string> = {}): Record<string, string> {
  const inherited = Object.entries(process.env).filter(
    ([name, value]) => value !== undefined && !/^(PLINTH_|PG|npm_|NODE_OPTIONS)/.test(name),
  );
  return { ...(Object.fromEntries(inherited) as Record<string, string>), PLINTH_PROGRESS: "false", ...own };
}

/** The settings with which a command uses a test's database, as an external server. */
export function databaseEnv(db: Pick<TestDatabase, "url" | "rolePrefix">): Record<string, string> {
  const urls = LOGIN_ROLES.map((role) => [`PLINTH_${role.toUpperCase()}_URL`, db.url(role)]);
  return { ...Object.fromEntries(urls), PLINTH_ROLE_PREFIX: db.rolePrefix };
}

/** Starts the real command line in its own process. */
export function startCli(args: readonly string[], env: Record<string, string> = {}): ChildProcess {
  return spawn(process.execPath, [LAUNCHER, ...args], {
    env: cleanEnv(env),
    stdio: ["pipe", "pipe", "pipe"],
  });
}

/** Runs the real command line until it exits. */
export async function cli(
  args: readonly string[],
  options: { env?: Record<string, string>; stdin?: string } = {},
): Promise<Outcome> {
  const child = startCli(args, options.env);
  child.stdin!.end(options.stdin ?? "");
  return outcomeOf(child);
}

export async function outcomeOf(child: ChildProcess): Promise<Outcome> {
  let stdout = "";
  let stderr = "";
  child.stdout!.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
  });
  child.stderr!.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  const code = await new Promise<number | null>((resolve) => child.once("close", resolve));
  return { code, stdout, stderr };
}
