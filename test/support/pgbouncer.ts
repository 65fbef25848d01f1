import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { LoginRole } from "../../src/config/roles.ts";
import { until } from "./api.ts";
import { type TestDatabase, withClient } from "./database.ts";
import { freePorts } from "./ports.ts";

/** The program to run; PGBOUNCER names another one than the installed one. */
const PROGRAM = process.env.PGBOUNCER ?? "pgbouncer";
const PATH = `${process.env.PATH}:/usr/sbin:/usr/local/sbin`;

/** The version of the PgBouncer on this machine, such as [1, 18], or undefined. */
export const PGBOUNCER_VERSION: readonly [major: number, minor: number] | undefined = versionOf();

/** Whether it can keep prepared statements in transaction mode. */
export const KEEPS_STATEMENTS = PGBOUNCER_VERSION !== undefined && PGBOUNCER_VERSION[1] >= 21;

function versionOf(): readonly [number, number] | undefined {
  try {
    const text = execFileSync(PROGRAM, ["--version"], { env: { PATH }, encoding: "utf8" });
    const [, major, minor] = /(\d+)\.(\d+)/.exec(text) ?? [];
    return major === undefined ? undefined : [Number(major), Number(minor)];
  } catch {
    return undefined;
  }
}

export interface PgBouncer {
  /** The database with its URLs through PgBouncer. */
  readonly db: TestDatabase;
  close(): Promise<void>;
}

/** Starts PgBouncer in transaction mode in front of a database. */
export async function startPgBouncer(
  db: TestDatabase,
  { servers, preparedStatements }: { servers: number; preparedStatements: number },
): Promise<PgBouncer> {
  const folder = await mkdtemp(join(tmpdir(), "plinth-pgbouncer-"));
  const [port] = await freePorts(1);
  const urls = (["authenticator", "service"] as const).map((role) => new URL(db.url(role)));
  const users = urls.map(({ username, password }) => `"${username}" "${decodeURIComponent(password)}"`);
  const settings = [
    "[databases]",
    `* = host=${urls[0]!.hostname} port=${urls[0]!.port || 5432}`,
    "[pgbouncer]",
    `listen_addr = 127.0.0.1`,
    `listen_port = ${port}`,
    "unix_socket_dir =",
    "pool_mode = transaction",
    `default_pool_size = ${servers}`,
    "max_client_conn = 200",
    // Its limits are less than a busy machine may stand still.
    "query_wait_timeout = 0",
    "server_connect_timeout = 300",
    "client_login_timeout = 300",
    "auth_type = trust",
    `auth_file = ${join(folder, "users.txt")}`,
    ...(KEEPS_STATEMENTS ? [`max_prepared_statements = ${preparedStatements}`] : []),
  ];
  // PgBouncer refuses to run as root.
  const asNobody = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {};
  await writeFile(join(folder, "users.txt"), users.join("\n"));
  await writeFile(join(folder, "pgbouncer.ini"), settings.join("\n"));
  await chmod(folder, 0o755);
  const pooled = {
    ...db,
    url: (role: LoginRole) => {
      const through = new URL(db.url(role));
      through.hostname = "127.0.0.1";
      through.port = String(port);
      return through.href;
    },
  };
  const child = spawn(PROGRAM, ["--quiet", join(folder, "pgbouncer.ini")], {
    ...asNobody,
    env: { PATH },
    stdio: ["ignore", "ignore", "ignore"],
  });
  const ended = endOf(child);
  await until(() => withClient(pooled.url("authenticator"), () => Promise.resolve(true)).catch(() => false));
  return {
    db: pooled,
    async close() {
      child.kill("SIGKILL");
      await ended;
      await rm(folder, { recursive: true, force: true });
    },
  };
}

function endOf(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    child.once("exit", () => resolve());
    child.once("error", () => resolve());
  });
}
