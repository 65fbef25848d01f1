import { type ChildProcess, execFile, spawn } from "node:child_process";
import { randomInt } from "node:crypto";
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { PACKAGE_ROOT } from "../src/support/paths.ts";

export interface BenchPlinth {
  readonly url: string;
  /** Starts another server process on the same database; `stop()` ends it. */
  serve(): Promise<string>;
  /** Process id of the server that `serve` started last. */
  pid(): number;
  /** Starts such a process, stops it and resolves with the milliseconds until its /readyz returned 200. */
  serveTime(): Promise<number>;
  /** Runs another `plinth` command on the same data; resolves with its exit code. */
  command(...args: string[]): Promise<number>;
  /** Connection URL of a role of its database. */
  databaseUrl(role: string): Promise<string>;
  stop(): Promise<void>;
  /** Stops, then starts again on the same data; resolves with the milliseconds until /readyz returned 200. */
  restart(): Promise<number>;
}

export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}

/** Resolves with the milliseconds until the server's /readyz returned 200. */
async function ready(server: ChildProcess, url: string): Promise<number> {
  const started = performance.now();
  while (server.exitCode === null) {
    const answer = await fetch(`${url}/readyz`).catch(() => null);
    if (answer?.status === 200) return performance.now() - started;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error(`plinth exited with ${server.exitCode}`);
}

export async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGTERM");
  await exited;
}

/** Starts a separate Plinth as a user would: another process, durable settings, empty data in a temporary folder. */
export async function startPlinth(settings: Record<string, string> = {}): Promise<BenchPlinth> {
  const data = mkdtempSync(join(tmpdir(), "plinth-bench-"));
  chmodSync(data, 0o711);
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const env = {
    ...process.env,
    PLINTH_DATA: data,
    PLINTH_PORT: String(port),
    PLINTH_LOG_LEVEL: "error",
    PLINTH_RATE_LIMIT_REQUESTS: "10000000",
    // Benchmarks sign in more often than one address may, so each request comes from another address.
    PLINTH_TRUSTED_PROXIES: "127.0.0.1",
    ...settings,
  };
  const program = join(PACKAGE_ROOT, "src/cli/plinth.js");
  const launch = (args: string[], settings: Record<string, string> = {}) =>
    spawn(process.execPath, [program, ...args], {
      env: { ...env, ...settings },
      stdio: ["ignore", "ignore", "inherit"],
    });

  let server = launch(["start", "--no-demo"]);
  const others: ChildProcess[] = [];
  await ready(server, url);
  return {
    url,
    async serve() {
      const otherPort = await freePort();
      const otherUrl = `http://127.0.0.1:${otherPort}`;
      const other = launch(["serve"], { PLINTH_PORT: String(otherPort) });
      others.push(other);
      await ready(other, otherUrl);
      return otherUrl;
    },
    pid: () => others.at(-1)!.pid!,
    async serveTime() {
      const otherPort = await freePort();
      const other = launch(["serve"], { PLINTH_PORT: String(otherPort) });
      const time = await ready(other, `http://127.0.0.1:${otherPort}`);
      await end(other);
      return time;
    },
    command: (...args) => new Promise((resolve) => launch(args).once("exit", (code) => resolve(code ?? 1))),
    async databaseUrl(role) {
      const flags = [program, "db", "url", "--role", role];
      return (await promisify(execFile)(process.execPath, flags, { env })).stdout.trim();
    },
    async stop() {
      for (const child of [...others, server]) await end(child);
      rmSync(data, { recursive: true, force: true });
    },
    async restart() {
      await end(server);
      server = launch(["start", "--no-demo"]);
      return await ready(server, url);
    },
  };
}

export async function graphql(
  url: string,
  query: string,
  variables: object = {},
  token?: string,
): Promise<Record<string, unknown>> {
  const answer = await fetch(`${url}/graphql`, {
    method: "POST",
    headers: {
      "content-type": "application/json",
      "x-forwarded-for": `10.${randomInt(256)}.${randomInt(256)}.${randomInt(256)}`,
      ...(token && { authorization: `Bearer ${token}` }),
    },
    body: JSON.stringify({ query, variables }),
  });
  const body = (await answer.json()) as { data?: Record<string, unknown>; errors?: unknown };
  if (body.errors || !body.data) throw new Error(JSON.stringify(body));
  return body.data;
}

export function percentile(values: readonly number[], p: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * p))] ?? Number.NaN;
}
