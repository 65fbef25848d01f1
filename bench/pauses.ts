// Runs tests while their processes stand still at random, as on a busy machine: a test that fails here depends on the clock or on luck.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";

const HELP = `Usage: node bench/pauses.ts [options] [--] [test files and options of Jest]

Runs \`npm test\` and stops a random Node or PostgreSQL process of it for a moment, again and again. Linux only.

  --longest S   longest pause in seconds (default 5); most are much shorter
`;

/** Between two pauses: most of the time, nothing stands still. */
const BETWEEN_MS = 150;

const { values: flags, positionals } = parseArgs({
  options: { longest: { type: "string", default: "5" }, help: { type: "boolean", default: false } },
  allowPositionals: true,
});
if (flags.help) {
  console.log(HELP);
  process.exit(0);
}

interface Process {
  readonly pid: number;
  readonly parent: number;
  readonly name: string;
}

/** All processes of the machine. */
function processes(): Process[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        // proc_pid_stat(5): the name is in brackets and may have some itself; state and parent follow.
        const [, name, , parent] = /^\d+ \((.*)\) (\S) (\d+)/s.exec(
          readFileSync(`/proc/${pid}/stat`, "utf8"),
        )!;
        return [{ pid: Number(pid), parent: Number(parent), name: name! }];
      } catch {
        return []; // It has ended.
      }
    });
}

/** The processes below one, without itself. */
function below(root: number): Process[] {
  const all = processes();
  const found = all.filter(({ parent }) => parent === root);
  for (const { pid } of found) found.push(...all.filter(({ parent }) => parent === pid));
  return found;
}

function signal(pid: number, name: "SIGSTOP" | "SIGCONT"): void {
  try {
    process.kill(pid, name);
  } catch {
    // It has ended.
  }
}

const run = spawn("npm", ["test", "--", ...positionals], { stdio: "inherit" });
const ended = once(run, "exit");
// The tests end and clean up; then this does, and leaves no process that stands still.
process.on("SIGINT", () => {}); // A terminal sends it to both.
process.on("SIGTERM", () => run.kill());
let pauses = 0;
while (run.exitCode === null && run.signalCode === null) {
  await Promise.race([ended, sleep(BETWEEN_MS)]);
  // Node calls its main thread so.
  const able = below(run.pid!).filter(({ name }) => /^(node|MainThread|postgres)/.test(name));
  const chosen = able[Math.floor(Math.random() * able.length)];
  if (!chosen) continue;
  signal(chosen.pid, "SIGSTOP");
  await sleep(50 + Math.random() ** 3 * Number(flags.longest) * 1_000);
  signal(chosen.pid, "SIGCONT");
  pauses++;
}
console.log(`${pauses} pauses.`);
process.exitCode = run.exitCode ?? 1;
