import { spawn } from "node:child_process";

/**
 * Environment of PostgreSQL's programs. Not ours: PGDATA, PGPORT, PGOPTIONS or a locale set for something else would
 * change what they do, and messages are matched in English. UTC keeps what a server prints the same everywhere.
 */
export const PROGRAM_ENVIRONMENT = { PATH: "/usr/bin:/bin", LC_ALL: "C", TZ: "UTC" };

/** The system user that PostgreSQL's programs run as. */
export interface RunAs {
  readonly uid: number;
  readonly gid: number;
}

export interface ProgramResult {
  /** Undefined if a signal ended it. */
  readonly status: number | undefined;
  /** What it printed to both standard output and standard error. */
  readonly output: string;
}

/**
 * Runs a program to its end.
 * @throws the system's error if it cannot be started.
 */
export function runProgram(
  program: string,
  args: readonly string[],
  options: {
    runAs?: RunAs | undefined;
    cwd?: string;
    input?: string;
    /** An open file that the program finds as /dev/fd/3. */
    inheritFile?: number;
  } = {},
): Promise<ProgramResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      cwd: options.cwd ?? "/",
      env: PROGRAM_ENVIRONMENT,
      stdio: ["pipe", "pipe", "pipe", ...(options.inheritFile === undefined ? [] : [options.inheritFile])],
      ...options.runAs,
    });
    let output = "";
    for (const stream of [child.stdout!, child.stderr!]) {
      stream.setEncoding("utf8");
      stream.on("data", (chunk: string) => {
        output += chunk;
      });
    }
    child.once("error", reject);
    child.once("close", (status) => resolve({ status: status ?? undefined, output }));
    // It may end without reading its input.
    child.stdin!.on("error", () => {});
    child.stdin!.end(options.input ?? "");
  });
}
