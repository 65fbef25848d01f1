import { execFileSync } from "node:child_process";
import { readFileSync, readlinkSync } from "node:fs";

/*
 * A pid alone does not identify a process: after a crash or a reboot, another process may have it. A pid together with the
 * start time of its process, on one boot of one machine, is unique.
 */

const UNKNOWN = "unknown";

/**
 * Returns the start time of a process: clock ticks since boot on Linux, a date to the second elsewhere. Undefined if the process
 * does not exist. A zombie counts as dead: if process 1 does not reap orphans (as in many containers), it would otherwise look
 * alive forever.
 */
export function processBirth(pid: number): string | undefined {
  return process.platform === "linux" ? birthFromProc(pid) : birthFromPs(pid);
}

/** Whether the process that had this pid and birth still runs. */
export function isRunning(pid: number, birth: string): boolean {
  const current = processBirth(pid);
  return current === UNKNOWN || (current !== undefined && current === birth);
}

function birthFromProc(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The command name may contain spaces and parentheses; fields 3, 4, … follow its last parenthesis (proc(5)).
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return fields[0] === "Z" || fields[0] === "X" ? undefined : fields[19];
  } catch {
    // /proc may hide other users' processes (hidepid). Such a process exists, but its start time is unknown.
    return exists(pid) ? UNKNOWN : undefined;
  }
}

function birthFromPs(pid: number): string | undefined {
  const line = commandOutput("ps", ["-o", "state=,lstart=", "-p", String(pid)]);
  if (!line || line.startsWith("Z")) return undefined;
  return line.replace(/^\S+\s+/, "");
}

function exists(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

let machine: string | undefined;

/**
 * Identifies the scope of pids: this boot of this machine and, on Linux, this pid namespace (each container has its own). Two
 * processes with different results cannot look each other up by pid.
 */
export function machineIdentity(): string {
  machine ??=
    process.platform === "linux"
      ? `${fileText("/proc/sys/kernel/random/boot_id")} ${linkText("/proc/self/ns/pid")}`
      : commandOutput("sysctl", ["-n", "kern.bootsessionuuid"]);
  return machine;
}

/** The command line of a process, for platforms without /proc; empty if it does not exist. */
export function commandLine(pid: number): string {
  return commandOutput("ps", ["-o", "command=", "-p", String(pid)]);
}

function commandOutput(command: string, args: string[]): string {
  try {
    const env = { PATH: "/usr/bin:/bin:/usr/sbin:/sbin", LC_ALL: "C" };
    return execFileSync(command, args, { env, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim();
  } catch {
    return "";
  }
}

function fileText(path: string): string {
  try {
    return readFileSync(path, "utf8").trim();
  } catch {
    return "";
  }
}

function linkText(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return "";
  }
}
