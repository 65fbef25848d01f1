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
 * Stops a server that outlived the Node process that started it (kill -9). The server is not reused, because only its parent
 * would notice at once if it died, and it runs with old settings and programs. Call this only while holding the lock.
 * @throws PlinthError DATABASE_STILL_IN_USE if it does not stop
 */
export async function stopLeftover(folder: string, log: (line: string) => void): Promise<void> {
  const pid = Number(postmasterFile(folder)[0]);
  // A server that starts in single-user mode writes its pid negated.
  if (!Number.isInteger(pid) || pid === 0) return;
  const birth = processBirth(Math.abs(pid));
  if (birth && worksIn(Math.abs(pid), folder)) {
    log(`Stopping PostgreSQL (process ${Math.abs(pid)}), left over from a Plinth that was killed`);
    await stop(Math.abs(pid), birth);
  } else if (birth || stillInTable(Math.abs(pid))) {
    // Another process now has this pid, or the dead server was never reaped. PostgreSQL would mistake either for a running
    // server. Without the file, it still refuses to start while the dead server's children hold the shared memory.
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
    // The process of another user, so not the server of this data.
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
      // It ended in the meantime.
    }
    for (const deadline = Date.now() + patience; Date.now() < deadline; await sleep(20))
      if (!isRunning(pid, birth)) return;
  }
  throw new PlinthError("DATABASE_STILL_IN_USE", `An earlier PostgreSQL (process ${pid}) does not stop.`, {
    hint: `End it (kill -9 ${pid}) and start again; committed data is recovered.`,
  });
}
