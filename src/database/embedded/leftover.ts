import { rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { PlinthError } from "../../support/errors.ts";
import { unlessMissing } from "../../support/files.ts";
import { postmasterFile } from "./postmaster.ts";
import { commandLine, isRunning, processBirth } from "./process-identity.ts";

const FAST_SHUTDOWN_MS = 30_000;
const IMMEDIATE_SHUTDOWN_MS = 10_000;

/**
 * Stops a server that outlived the Node process which started it (kill -9). It is not adopted: only a parent learns at
 * once that its child died, and it runs with the settings and programs of before. Call it only with the lock held.
 * @throws PlinthError DATABASE_STILL_IN_USE if it does not end
 */
export async function stopLeftover(folder: string, log: (line: string) => void): Promise<void> {
  const pid = Number(postmasterFile(folder)[0]);
  // A server that starts in single-user mode writes its pid negated.
  if (!Number.isInteger(pid) || pid === 0) return;
  const birth = processBirth(Math.abs(pid));
  if (birth && worksIn(Math.abs(pid), folder)) {
    log(`Stopping the PostgreSQL (process ${Math.abs(pid)}) of a Plinth that was killed`);
    await stop(Math.abs(pid), birth);
  } else if (birth || stillInTable(Math.abs(pid))) {
    // Another process has the number now, or a dead one's entry was never reaped. PostgreSQL would take either for
    // its own. Without the file it still refuses to start while the dead server's children hold the shared memory.
    rmSync(join(folder, "postmaster.pid"), { force: true });
  }
}

function worksIn(pid: number, folder: string): boolean {
  if (process.platform !== "linux") return commandLine(pid).includes(folder);
  const data = statSync(folder);
  try {
    const current = statSync(`/proc/${pid}/cwd`);
    return current.dev === data.dev && current.ino === data.ino;
  } catch {
    // Another user's process, so not the server of this data.
    return false;
  }
}

function stillInTable(pid: number): boolean {
  return process.platform === "linux" && unlessMissing(() => statSync(`/proc/${pid}`)) !== undefined;
}

async function stop(pid: number, birth: string): Promise<void> {
  for (const [signal, patience] of [
    ["SIGINT", FAST_SHUTDOWN_MS],
    ["SIGQUIT", IMMEDIATE_SHUTDOWN_MS],
  ] as const) {
    try {
      process.kill(pid, signal);
    } catch {
      // Ended in between.
    }
    for (const deadline = Date.now() + patience; Date.now() < deadline; await sleep(20))
      if (!isRunning(pid, birth)) return;
  }
  throw new PlinthError("DATABASE_STILL_IN_USE", `An earlier PostgreSQL (process ${pid}) does not stop.`, {
    hint: `End it (kill -9 ${pid}) and start again; what was committed is recovered.`,
  });
}
