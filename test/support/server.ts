import { spawn } from "node:child_process";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DEFAULT_ROLE_PREFIX } from "../../src/config/roles.ts";
import { openEmbedded } from "../../src/database/embedded/server.ts";
import { installPrograms, OLDER_VERSIONS } from "./postgres-programs.ts";
import { removeFolder } from "./remove-folder.ts";
import { openStockServer } from "./stock-server.ts";

/** The PostgreSQL server of a test run. */
export interface TestServer {
  /** A role that may create databases and roles; not for assertions. */
  readonly adminUrl: string;
  /** True if the server is ours alone, so that names on it cannot collide. */
  readonly isOurs: boolean;
  /** Temporary folder of an embedded server. */
  readonly folder?: string;
  stop(): Promise<void>;
}

/**
 * Throw-away data without disk syncs. Autovacuum is on, as doctor wants it, but does not come round during a run: it would change plans
 * and counts of blocks at any moment, and hold up the creation and the drop of databases.
 */
const FAST = {
  fsync: "off",
  full_page_writes: "off",
  synchronous_commit: "off",
  max_connections: "400",
  autovacuum_naptime: "1d",
};

/** The version of the embedded server, which needs no other programs. */
const EMBEDDED_VERSION = "18";

/**
 * TEST_DATABASE_URL names any server (a superuser, or a role with CREATEDB and CREATEROLE); TEST_DATABASE=testcontainers
 * starts one in a container; otherwise an embedded one runs in a temporary folder. TEST_POSTGRES_VERSION chooses the version.
 */
export async function startTestServer(
  env: Readonly<Record<string, string | undefined>> = process.env,
): Promise<TestServer> {
  if (env.TEST_DATABASE_URL) return { adminUrl: env.TEST_DATABASE_URL, isOurs: false, stop: async () => {} };
  const version = env.TEST_POSTGRES_VERSION || EMBEDDED_VERSION;
  switch (env.TEST_DATABASE ?? "embedded") {
    case "embedded":
      return startInFolder(version === EMBEDDED_VERSION ? openNewest : opener(version));
    case "testcontainers":
      return startContainer(env.TEST_DATABASE_IMAGE ?? `postgres:${version}-alpine`);
    default:
      throw new Error(`TEST_DATABASE is ${env.TEST_DATABASE}, but must be embedded or testcontainers.`);
  }
}

type Open = (folder: string) => Promise<Pick<TestServer, "adminUrl" | "stop">>;

async function openNewest(folder: string) {
  const server = await openEmbedded(
    { dataDirectory: folder, rolePrefix: DEFAULT_ROLE_PREFIX, embeddedPort: undefined },
    { settings: FAST },
  );
  return { adminUrl: server.superuserUrl("postgres"), stop: () => server.close() };
}

/** Installs the programs of an older version if they are missing. */
function opener(named: string): Open {
  const version = OLDER_VERSIONS.find((each) => String(each) === named);
  if (!version)
    throw new Error(
      `TEST_POSTGRES_VERSION is ${named}, but must be ${OLDER_VERSIONS.join(", ")} or ${EMBEDDED_VERSION}.`,
    );
  return async (folder) => {
    const found = await openStockServer(version, folder, FAST);
    if (found) return found;
    installPrograms();
    const server = await openStockServer(version, folder, FAST);
    if (!server) throw new Error(`PostgreSQL ${version} could not be installed.`);
    return server;
  };
}

async function startInFolder(open: Open): Promise<TestServer> {
  const folder = await mkdtemp(join(tmpdir(), "plinth-test-"));
  const watchdog = watch(folder);
  try {
    const server = await open(folder);
    return {
      adminUrl: server.adminUrl,
      isOurs: true,
      folder,
      async stop() {
        await server.stop();
        await removeFolder(folder);
        watchdog.end();
      },
    };
  } catch (error) {
    watchdog.end();
    throw error;
  }
}

/**
 * A shell that waits for this process to end in any way (a pipe closes even after kill -9), then stops the server and
 * removes its folder. It runs in a process group of its own, so that Ctrl-C does not end it with the rest.
 */
export function watch(folder: string): { end(): void } {
  const script = `
    cat > /dev/null
    pid=$(head -n 1 "$1/postgres/postmaster.pid" 2> /dev/null)
    # The number could have gone to another process; where there is no ps, that chance is taken.
    if [ -n "$pid" ] && { ! command -v ps > /dev/null || ps -o args= -p "$pid" | grep -q postgres; }; then
      kill -QUIT "$pid"
      # Its processes write until it ends, and a busy machine takes its time. A container may never remove it from its list (Z).
      i=0
      while kill -0 "$pid" 2> /dev/null && ! grep -q '^State:.Z' "/proc/$pid/status" 2> /dev/null && [ "$i" -lt 1500 ]; do
        i=$((i + 1)); sleep 0.2
      done
    fi
    rm -rf "$1"`;
  const child = spawn("/bin/sh", ["-c", script, "plinth-test-watchdog", folder], {
    detached: true,
    stdio: ["pipe", "ignore", "ignore"],
  });
  child.unref();
  const pipe = child.stdin as typeof child.stdin & { unref?(): void };
  pipe.unref?.();
  return { end: () => child.stdin.end() };
}

async function startContainer(image: string): Promise<TestServer> {
  const { PostgreSqlContainer } = await import("@testcontainers/postgresql");
  const settings = Object.entries(FAST).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
  const container = await new PostgreSqlContainer(image).withCommand(["postgres", ...settings]).start();
  return {
    adminUrl: container.getConnectionUri(),
    isOurs: true,
    async stop() {
      await container.stop();
    },
  };
}
