import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { startCli } from "../../cli/run-cli.ts";

/** A command of Plinth in its own process. */
export interface PlinthProcess {
  /** The first group of the pattern that its output matched when it had started. */
  readonly announced: string;
  /** Ends it; returns its exit code. */
  end(signal: "SIGKILL" | "SIGTERM"): Promise<number | null>;
}

/** Starts processes, and kills at the end those that still run. */
export class Processes {
  readonly #running = new Set<ChildProcess>();

  /** Resolves when the process prints that it runs. */
  async start(command: string, env: Record<string, string>, started: RegExp): Promise<PlinthProcess> {
    const child = startCli([command], env);
    this.#running.add(child);
    child.once("exit", () => this.#running.delete(child));
    child.stdout!.resume();
    let output = "";
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    child.stderr!.setEncoding("utf8").on("data", (text: string) => {
      output += text;
      const [found, announced = ""] = started.exec(output) ?? [];
      if (found !== undefined) resolve(announced);
    });
    child.once("exit", () => reject(new Error(`plinth ${command} ended: ${output}`)));
    return {
      announced: await promise,
      async end(signal) {
        const exit = once(child, "exit");
        child.kill(signal);
        const [code] = await exit;
        return code as number | null;
      },
    };
  }

  async killAll(): Promise<void> {
    await Promise.all(
      [...this.#running].map((child) => {
        const exit = once(child, "exit");
        child.kill("SIGKILL");
        return exit;
      }),
    );
  }
}
