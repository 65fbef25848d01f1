import { spawn } from "node:child_process";

/**
 * Environment of PostgreSQL's programs. They do not inherit ours: PGDATA, PGPORT, PGOPTIONS or a locale would change their
 * behavior, and Plinth matches their messages in English. UTC makes a server's output the same everywhere.
 */
export const PROGRAM_ENVIRONMENT = { PATH: "/usr/bin:/bin", LC_ALL: "C", TZ: "UTC" };

/** The system user that PostgreSQL's programs run as. */
export interface RunAs {
  readonly uid: number;
  readonly gid: number;
}

/** Settings as arguments of postgres. */
export function settingArguments(settings: Readonly<Record<string, string>>): string[] {
  return Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
}

export interface ProgramResult {
  /** Undefined if a signal ended it. */
  readonly status: number | undefined;
  /** Standard output and standard error together. */
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
    // The program may end without reading its input.
    child.stdin!.on("error", () => {});
    child.stdin!.end(options.input ?? "");
  });
}
