import { spawn } from "node:child_process";
import { dirname } from "node:path";

/** A command of a walk, or a file that it writes. */
export type Step =
  | { readonly kind: "command"; readonly title: string }
  | { readonly kind: "file"; readonly title: string; readonly text: string };

const BLOCK = /(?:^`([^`\n]+)`:\n\n)?^```(\w+)\n([\s\S]*?)^```$/gm;

/** The steps of a page: each line of its `sh` blocks, and each block below a line with only a path. */
export function stepsOf(markdown: string): Step[] {
  return [...markdown.matchAll(BLOCK)].flatMap(([block, path, language, text = ""]): Step[] => {
    if (path !== undefined) return [{ kind: "file", title: path, text }];
    if (language !== "sh") throw new Error(`A block has no path: ${block}`);
    const commands = text.trim().split("\n");
    return commands.map((title) => ({ kind: "command", title }));
  });
}

/**
 * The environment of a user's shell. The variables of this run would make npm act on Plinth's own package and connect
 * Plinth to other databases. The npm settings of the machine stay.
 */
export function shellEnvironment(): Record<string, string> {
  const entries = Object.entries(process.env).filter(
    ([name, value]) =>
      value !== undefined &&
      (/^npm_config_(registry|cache|userconfig|globalconfig|.*proxy|cafile)$/i.test(name) ||
        !/^(npm_|PLINTH_|TEST_DATABASE|JEST_|NODE_OPTIONS$|NODE_ENV$|INIT_CWD$|GRAPHILE_ENV$)/.test(name)),
  ) as [string, string][];
  return { ...Object.fromEntries(entries), PATH: `${dirname(process.execPath)}:${process.env.PATH}` };
}

export interface Shell {
  cwd: string;
  readonly env: Record<string, string>;
}

/**
 * Runs a command and returns its output.
 * @param options.meanwhile called before that with the output
 * @param options.until stops it with SIGTERM as soon as this appears; npx then ends with that signal
 * @throws with all output if it fails
 */
export function run(
  shell: Shell,
  file: string,
  args: readonly string[],
  options: { until?: RegExp; meanwhile?: (output: string) => Promise<void> } = {},
): Promise<string> {
  const child = spawn(file, args, { cwd: shell.cwd, env: shell.env, stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  let isStopping = false;
  let failure: unknown;
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding("utf8").on("data", (text: string) => {
      output += text;
      if (isStopping || !options.until?.test(output)) return;
      isStopping = true;
      Promise.resolve(options.meanwhile?.(output))
        .catch((error: unknown) => {
          failure = error;
        })
        .finally(() => child.kill("SIGTERM"));
    });
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (status, signal) => {
      const isWanted = isStopping ? status === 0 || signal === "SIGTERM" : status === 0 && !options.until;
      if (failure !== undefined) reject(failure);
      else if (isWanted) resolve(output);
      else reject(new Error(`${file} ${args.join(" ")} ended with ${signal ?? status}:\n${output}`));
    });
  });
}
