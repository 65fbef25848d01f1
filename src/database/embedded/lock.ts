import { randomUUID } from "node:crypto";
import { readFileSync, rmSync, statSync, utimesSync } from "node:fs";
import { hostname } from "node:os";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { PlinthError } from "../../support/errors.ts";
import { unlessMissing, writeWhole } from "../../support/files.ts";
import { isRunning, machineIdentity, processBirth } from "./process-identity.ts";

/** The holder of a data folder. A `server` keeps running and may be shared; a `command` ends soon and stops its server. */
export interface LockHolder {
  /** Identifies this acquisition of the lock. */
  readonly id: string;
  readonly pid: number;
  readonly birth: string;
  readonly machine: string;
  readonly host: string;
  /** ISO 8601. */
  readonly since: string;
  readonly purpose: "server" | "command";
  /** Set once the database accepts connections. */
  readonly databasePort?: number;
}

export interface Lock {
  /** Tells other processes that the database accepts connections on this port. */
  announce(databasePort: number): void;
  release(): void;
}

/** Another live process holds the data folder. */
export class LockHeld extends PlinthError {
  readonly holder: LockHolder;

  constructor(path: string, holder: LockHolder) {
    const folder = dirname(path);
    const here = holder.machine === machineIdentity();
    super(
      "DATA_LOCKED",
      `Another Plinth uses the data in ${folder}: process ${holder.pid}${here ? "" : ` on ${holder.host} (another container or machine)`}, since ${holder.since}.`,
      {
        hint: `Stop it first${here ? ` (kill ${holder.pid})` : ""}, or set PLINTH_DATA to another folder.`,
      },
    );
    this.holder = holder;
  }

  get isHere(): boolean {
    return this.holder.machine === machineIdentity();
  }
}

const HEARTBEAT_MS = 3_000;
const SILENT_MS = 12_000;

/**
 * Acquires the lock file at `path`, even from a holder that died.
 * @throws LockHeld if its holder is alive.
 */
export async function acquireLock(
  path: string,
  purpose: LockHolder["purpose"],
  log: (line: string) => void = () => {},
): Promise<Lock> {
  let own: LockHolder = {
    id: randomUUID(),
    pid: process.pid,
    birth: processBirth(process.pid) ?? "",
    machine: machineIdentity(),
    host: hostname(),
    since: new Date().toISOString(),
    purpose,
  };
  await take(path, own, log);
  const isOurs = () => readHolder(path)?.id === own.id;

  // For processes that cannot look up our pid; see isAlive().
  const heartbeat = setInterval(() => {
    try {
      if (isOurs()) utimesSync(path, new Date(), new Date());
    } catch {
      // A full or read-only disk is reported by the code that must write there.
    }
  }, HEARTBEAT_MS);
  heartbeat.unref();

  return {
    announce(databasePort) {
      own = { ...own, databasePort };
      if (isOurs()) writeWhole(path, JSON.stringify(own));
    },
    release() {
      clearInterval(heartbeat);
      if (isOurs()) rmSync(path, { force: true });
    },
  };
}

/** Returns the live holder of the lock file at `path`, if there is one. */
export async function findHolder(path: string): Promise<LockHolder | undefined> {
  const holder = readHolder(path);
  return holder && (await isAlive(holder, path)) ? holder : undefined;
}

/**
 * A stale lock must not simply be deleted: if two processes both find it stale, the slower one would delete the lock that the
 * faster one has just acquired. So a process first acquires a second lock, named after the stale lock's id, and then checks that
 * the stale lock still exists. A crash may leave this second lock behind too; it is taken over in the same way.
 */
async function take(path: string, own: LockHolder, log: (line: string) => void): Promise<void> {
  while (!writeWhole(path, JSON.stringify(own), { onlyIfMissing: true })) {
    const holder = readHolder(path);
    if (!holder) continue;
    if (await isAlive(holder, path, log)) throw new LockHeld(path, holder);
    const guard = `${path}.after-${holder.id}`;
    await take(guard, own, log);
    try {
      if (readHolder(path)?.id === holder.id) rmSync(path);
    } finally {
      rmSync(guard);
    }
  }
}

/** @throws PlinthError LOCK_DAMAGED if the file is not one that Plinth writes. */
function readHolder(path: string): LockHolder | undefined {
  const content = unlessMissing(() => readFileSync(path, "utf8"));
  if (content === undefined) return undefined;
  try {
    const holder = JSON.parse(content) as LockHolder;
    if (typeof holder.id === "string" && Number.isInteger(holder.pid)) return holder;
  } catch {
    // Reported below.
  }
  throw new PlinthError("LOCK_DAMAGED", `The lock file ${path} is damaged.`, {
    hint: "If no other Plinth uses this folder, delete the file and start again.",
  });
}

/**
 * A holder on this machine is in the process table. A holder elsewhere (another container on the same volume, a machine that
 * shares the folder) shows only its heartbeat, the lock file's modification time. Two servers on one data folder would destroy
 * it, so a recent heartbeat is watched until it changes or has been silent for long enough.
 */
async function isAlive(
  holder: LockHolder,
  path: string,
  log: (line: string) => void = () => {},
): Promise<boolean> {
  if (holder.machine === machineIdentity()) return isRunning(holder.pid, holder.birth);
  const modified = () => unlessMissing(() => statSync(path).mtimeMs);
  const first = modified();
  if (first === undefined) return false;
  const silentFor = Math.max(0, Date.now() - first);
  if (silentFor < SILENT_MS)
    log(`Checking whether the Plinth on ${holder.host} that used this data is still running`);
  for (let waited = 0; silentFor + waited < SILENT_MS; waited += 500) {
    await sleep(500);
    const current = modified();
    if (current === undefined) return false;
    if (current !== first) return true;
  }
  return false;
}
