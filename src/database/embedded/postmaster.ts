import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { PlinthError } from "../../support/errors.ts";
import { unlessMissing } from "../../support/files.ts";
import { type Cluster, dataArgument } from "./cluster.ts";
import { explainFailure, explainOutput } from "./explain.ts";
import { PROGRAM_ENVIRONMENT, settingArguments } from "./programs.ts";
import { openServerLog, SERVER_LOG } from "./server-log.ts";

/** A running server that this process started. */
export interface Postmaster {
  /** Resolves with a sentence if the server ends without a call of stop(). */
  readonly died: Promise<string>;
  stop(): Promise<void>;
}

export interface StartOptions {
  readonly port: number;
  /** Further settings, as after `postgres -c`. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Further variables of its environment, which the programs that it starts inherit. */
  readonly env?: Readonly<Record<string, string>>;
  readonly log: (line: string) => void;
  /** Stops the server while it is still recovering. */
  readonly signal?: AbortSignal;
}

/** Time for a fast shutdown, which writes memory to disk. After it, the shutdown is forced, and the next start replays the WAL. */
const FAST_SHUTDOWN_MS = 20_000;
const IMMEDIATE_SHUTDOWN_MS = 10_000;
const PROGRESS_MS = 5_000;
/** Time for the children of a killed server to notice and end, also on a machine that stands still for half a minute. */
const LINGER_MS = 60_000;

/**
 * Starts the server and waits until it accepts connections, however long the recovery takes.
 * @throws PlinthError with the reason that it did not start
 */
export async function startPostmaster(cluster: Cluster, options: StartOptions): Promise<Postmaster> {
  const deadline = Date.now() + LINGER_MS;
  for (;;) {
    try {
      return await startOnce(cluster, options);
    } catch (error) {
      // The children of a killed postmaster end within moments; until then they use the data.
      const lingering = error instanceof PlinthError && error.code === "DATABASE_STILL_IN_USE";
      if (!lingering || Date.now() > deadline) throw error;
      await sleep(250);
    }
  }
}

async function startOnce(cluster: Cluster, options: StartOptions): Promise<Postmaster> {
  const { dataDirectory, folder, runAs, binaries } = cluster;
  const situation = { dataDirectory, port: options.port };
  const log = openServerLog(join(dataDirectory, SERVER_LOG));
  const settings = {
    listen_addresses: "127.0.0.1",
    port: String(options.port),
    unix_socket_directories: "",
    ...options.settings,
  };
  const child = spawn(
    binaries.postgres,
    ["-D", dataArgument(folder, runAs), ...settingArguments(settings)],
    // A process group of its own: Ctrl-C in the terminal must not stop it while Node still drains requests.
    {
      cwd: folder,
      env: { ...PROGRAM_ENVIRONMENT, ...options.env },
      detached: true,
      stdio: ["ignore", log.handle, log.handle],
      ...runAs,
    },
  );
  const ended = endOf(child);
  const stopOnExit = () => child.kill("SIGINT");
  process.once("exit", stopOnExit);
  let stopping: Promise<void> | undefined;
  const died = ended.then((how) => {
    process.removeListener("exit", stopOnExit);
    if (stopping) return undefined;
    // Only the last lines can contain the reason; a killed server printed none.
    const lastWords = how.startsWith("signal") ? "" : log.text().split("\n").slice(-20).join("\n");
    const reason = explainOutput(lastWords, situation);
    return `The embedded PostgreSQL stopped unexpectedly (${how}). ${reason?.message ?? `See ${dataDirectory}/postgres.log for details.`}`;
  });
  const stop = () => {
    stopping ??= stopChild(child, ended).finally(() => log.close());
    return stopping;
  };

  try {
    await untilReady(child, ended, folder, options);
  } catch (error) {
    const output = log.text();
    await stop();
    options.signal?.throwIfAborted();
    throw explainFailure(`PostgreSQL did not start (${(error as Error).message})`, output, situation);
  }
  return {
    died: new Promise((resolve) => {
      void died.then((sentence) => sentence && resolve(sentence));
    }),
    stop,
  };
}

/** Resolves with the exit status or signal of the process, or the error if it could not be started. */
function endOf(child: ChildProcess): Promise<string> {
  return new Promise((resolve) => {
    child.once("error", (error) => resolve(error.message));
    child.once("exit", (status, signal) => resolve(signal ? `signal ${signal}` : `status ${status}`));
  });
}

/** The server writes its state to line 8 of postmaster.pid; pg_ctl waits for it too. */
async function untilReady(
  child: ChildProcess,
  ended: Promise<string>,
  folder: string,
  { log, signal }: Pick<StartOptions, "log" | "signal">,
): Promise<void> {
  let failure: string | undefined;
  void ended.then((how) => {
    failure = how;
  });
  const started = Date.now();
  let reported = started;
  for (;;) {
    await Promise.race([sleep(Date.now() - started < 2_000 ? 10 : 200), ended]);
    if (failure !== undefined) throw new Error(failure);
    signal?.throwIfAborted();
    const lines = postmasterFile(folder);
    if (Number(lines[0]) === child.pid && lines[7]?.trim() === "ready") return;
    if (Date.now() - reported < PROGRESS_MS) continue;
    reported = Date.now();
    log(`PostgreSQL is recovering its data (${Math.round((reported - started) / 1000)} s)`);
  }
}

/** The lines of postmaster.pid: pid, data folder, start time, port, …; empty if the file does not exist. */
export function postmasterFile(folder: string): string[] {
  return unlessMissing(() => readFileSync(join(folder, "postmaster.pid"), "utf8"))?.split("\n") ?? [];
}

/** Tries a fast shutdown, then an immediate one, then SIGKILL. */
async function stopChild(child: ChildProcess, ended: Promise<string>): Promise<void> {
  for (const [signal, patience] of [
    ["SIGINT", FAST_SHUTDOWN_MS],
    ["SIGQUIT", IMMEDIATE_SHUTDOWN_MS],
    ["SIGKILL", IMMEDIATE_SHUTDOWN_MS],
  ] as const) {
    if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
    child.kill(signal);
    const waiting = new AbortController();
    await Promise.race([ended, sleep(patience, undefined, { signal: waiting.signal }).catch(() => {})]);
    waiting.abort();
  }
}
