import { readdirSync, readFileSync } from "node:fs";

/** Clock ticks of /proc are hundredths of a second on Linux. */
const MS_PER_TICK = 10;

interface Stat {
  readonly parent: number;
  /** Milliseconds of CPU of the process. */
  readonly own: number;
  /** Milliseconds of CPU of its children that have ended. */
  readonly ended: number;
}

function stat(pid: number): Stat | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "utf8");
    const fields = text
      .slice(text.lastIndexOf(")") + 2)
      .split(" ")
      .map(Number);
    const ms = (from: number) => (fields[from]! + fields[from + 1]!) * MS_PER_TICK;
    return { parent: fields[1]!, own: ms(11), ended: ms(13) };
  } catch {
    return undefined; // it has ended, or this system has no /proc
  }
}

/** Milliseconds of CPU that a process has used; NaN where there is no /proc. */
export function cpuOf(pid: number): number {
  return stat(pid)?.own ?? Number.NaN;
}

/** Milliseconds of CPU that all children of a process have used so far, those included that have ended. */
export function cpuOfChildren(pid: number): number {
  let sum = stat(pid)?.ended ?? Number.NaN;
  for (const name of readdirSync("/proc")) {
    const child = /^\d+$/.test(name) ? stat(Number(name)) : undefined;
    if (child?.parent === pid) sum += child.own;
  }
  return sum;
}

/** Milliseconds of CPU that children of this process have used that have ended. */
export function cpuOfEndedChildren(): number {
  return stat(process.pid)?.ended ?? Number.NaN;
}

/** Resident size in MB. */
export function residentOf(pid: number): number {
  const kb = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
  return Number(kb) / 1024;
}
