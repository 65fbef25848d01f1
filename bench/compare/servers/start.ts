import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { PACKAGE_ROOT } from "../../../src/support/paths.ts";
import { end, freePort } from "../../support.ts";
import type { SeededDatabase } from "../database.ts";
import { type Dialect, dialectOf, POOL_SIZE, type ServerName } from "./names.ts";

export interface RunningServer {
  readonly name: ServerName;
  readonly dialect: Dialect;
  readonly url: string;
  readonly pid: number;
  stop(): Promise<void>;
}

/** Starts a server in a process of its own; resolves when it answers. */
export async function startServer(
  name: ServerName,
  { database, env }: SeededDatabase,
  key: string,
): Promise<RunningServer> {
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const dialect = dialectOf(name);
  const child =
    dialect === "plinth"
      ? spawn(process.execPath, [join(PACKAGE_ROOT, "src/cli/plinth.js"), "serve"], {
          env: {
            ...process.env,
            ...env,
            PLINTH_PORT: String(port),
            PLINTH_JWT_KEYS: `bench:${key}`,
            ...(name === "plinth-general" && { PLINTH_COMPILED_DOCUMENTS: "never" }),
            PLINTH_POOL_MAX: String(POOL_SIZE),
            // Connections stay open while other servers are measured.
            PLINTH_POOL_IDLE_TIMEOUT_MS: "86400000",
            PLINTH_RATE_LIMIT_REQUESTS: "10000000",
            // Each client may sign in only so often, so each request comes from an address of its own.
            PLINTH_TRUSTED_PROXIES: "127.0.0.1",
          },
          stdio: ["ignore", "ignore", "inherit"],
        })
      : spawn(process.execPath, [join(import.meta.dirname, `${name}.ts`)], {
          env: {
            ...process.env,
            NODE_ENV: "production",
            BENCH_PORT: String(port),
            BENCH_DATABASE_URL: database.url("authenticator"),
            BENCH_OWNER_URL: database.url("owner"),
            BENCH_KEY: key,
            BENCH_POOL: String(POOL_SIZE),
          },
          stdio: ["ignore", "ignore", "inherit", "ipc"],
        });
  await answers(child, url);
  return { name, dialect, url, pid: child.pid!, stop: () => end(child) };
}

async function answers(child: ChildProcess, url: string): Promise<void> {
  while (child.exitCode === null) {
    const answer = await fetch(`${url}/graphql`, { method: "POST" }).catch(() => null);
    if (answer) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`The server exited with ${child.exitCode}.`);
}
