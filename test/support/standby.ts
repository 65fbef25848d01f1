import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DEFAULT_ROLE_PREFIX, type LoginRole } from "../../src/config/roles.ts";
import { findBinaries } from "../../src/database/embedded/binaries.ts";
import { dataArgument } from "../../src/database/embedded/cluster.ts";
import { postmasterFile } from "../../src/database/embedded/postmaster.ts";
import { PROGRAM_ENVIRONMENT } from "../../src/database/embedded/programs.ts";
import { chooseRunAs } from "../../src/database/embedded/run-as.ts";
import { type EmbeddedServer, openEmbedded } from "../../src/database/embedded/server.ts";
import { EMBEDDED_DATABASE } from "../../src/database/embedded/url.ts";
import { migrateDatabase } from "../../src/database/migrate.ts";
import { QUEUES } from "../../src/jobs/index.ts";
import { until } from "./api.ts";
import { withClient } from "./client.ts";
import { freePorts } from "./ports.ts";
import { removeFolder } from "./remove-folder.ts";
import { watch } from "./server.ts";
import type { TestDatabase } from "./test-database.ts";

/** A server of its own, which standbys can follow. */
export interface Primary {
  readonly folder: string;
  readonly db: TestDatabase;
  restart(): Promise<void>;
  close(): Promise<void>;
}

/** A streaming standby of a primary, in a process of its own. */
export interface Standby {
  /** A connection URL of a role, with the primary's password. */
  url(role: LoginRole): string;
  readonly adminUrl: string;
  start(): Promise<void>;
  /** Kills the server as kill -9 does. */
  kill(): Promise<void>;
  /** Stops all of its processes where they are: connections stay open and are not answered. */
  freeze(): Promise<void>;
  thaw(): void;
  pauseReplay(): Promise<void>;
  resumeReplay(): Promise<void>;
  promote(): Promise<void>;
  close(): Promise<void>;
}

const FAST = { fsync: "off", full_page_writes: "off", shared_buffers: "16MB" };

/** @param isMigrated false for an empty database with the roles */
export async function startPrimary({ isMigrated = true } = {}): Promise<Primary> {
  const folder = await mkdtemp(join(tmpdir(), "plinth-primary-"));
  const watchdog = watch(folder);
  const open = () =>
    openEmbedded(
      { dataDirectory: folder, rolePrefix: DEFAULT_ROLE_PREFIX, embeddedPort: undefined },
      { settings: { ...FAST, autovacuum: "off", wal_keep_size: "256MB" } },
    );
  let server: EmbeddedServer = await open();
  const url = (role: LoginRole) => server.url(role);
  if (isMigrated)
    await migrateDatabase({ ownerUrl: url("owner"), rolePrefix: DEFAULT_ROLE_PREFIX, queues: QUEUES });
  const close = async () => {
    await server.close();
    watchdog.end();
    await removeFolder(folder);
  };
  return {
    folder,
    db: {
      name: EMBEDDED_DATABASE,
      rolePrefix: DEFAULT_ROLE_PREFIX,
      adminUrl: server.superuserUrl(),
      adminIsSuperuser: true,
      url,
      drop: close,
    },
    async restart() {
      await server.close();
      server = await open();
    },
    close,
  };
}

/** Copies a running primary and follows it. */
export async function startStandby(
  primary: Primary,
  settings: Readonly<Record<string, string>> = {},
): Promise<Standby> {
  const folder = await mkdtemp(join(tmpdir(), "plinth-standby-"));
  const watchdog = watch(folder);
  const data = join(folder, "postgres");
  await copyCluster(primary, data);
  const runAs = await chooseRunAs(data);
  if (runAs) execFileSync("chown", ["-R", `${runAs.uid}:${runAs.gid}`, data]);
  const { postgres } = await findBinaries(runAs);
  const [port] = (await freePorts(1)) as [number];
  const at = (url: string) => Object.assign(new URL(url), { port: String(port) }).href;
  const source = new URL(primary.db.adminUrl);
  const conninfo = `host=127.0.0.1 port=${source.port} user=${source.username} password=${decodeURIComponent(source.password)}`;
  const all = {
    ...FAST,
    listen_addresses: "127.0.0.1",
    port: String(port),
    unix_socket_directories: "",
    primary_conninfo: conninfo,
    wal_retrieve_retry_interval: "100ms",
    ...settings,
  };
  let child: ChildProcess | undefined;
  const frozen: number[] = [];

  const standby: Standby = {
    url: (role) => at(primary.db.url(role)),
    adminUrl: at(primary.db.adminUrl),
    async start() {
      const args = Object.entries(all).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
      const isReady = () => postmasterFile(data)[7]?.trim() === "ready";
      // The processes of a killed server use its memory for a moment: until they have noticed, a new one ends at once.
      await until(async () => {
        child = spawn(postgres, ["-D", dataArgument(data, runAs), ...args], {
          cwd: data,
          env: PROGRAM_ENVIRONMENT,
          detached: true,
          stdio: "ignore",
          ...runAs,
        });
        child.unref();
        const hasEnded = () => child!.exitCode !== null || child!.signalCode !== null;
        await until(() => isReady() || hasEnded());
        return !hasEnded();
      });
    },
    async kill() {
      const ended = once(child!, "exit");
      child!.kill("SIGKILL");
      await ended;
      await rm(join(data, "postmaster.pid"), { force: true });
    },
    async freeze() {
      const stop = (pid: number) => {
        process.kill(pid, "SIGSTOP");
        frozen.push(pid);
      };
      const { rows } = await withClient(standby.adminUrl, (client) => {
        // It starts the others.
        stop(child!.pid!);
        return client.query("select pid from pg_stat_activity where pid <> pg_backend_pid()");
      });
      for (const { pid } of rows) ifAlive(() => stop(pid));
    },
    thaw() {
      for (const pid of frozen.splice(0)) ifAlive(() => process.kill(pid, "SIGCONT"));
    },
    pauseReplay: () =>
      withClient(standby.adminUrl, async (client) => {
        await client.query("select pg_wal_replay_pause()");
        await until(async () => {
          const { rows } = await client.query("select pg_get_wal_replay_pause_state() as state");
          return rows[0].state === "paused";
        });
      }),
    resumeReplay: () =>
      withClient(standby.adminUrl, async (client) => {
        await client.query("select pg_wal_replay_resume()");
      }),
    promote: () =>
      withClient(standby.adminUrl, async (client) => {
        await client.query("select pg_promote(wait_seconds => 240)");
      }),
    async close() {
      standby.thaw();
      if (child && child.exitCode === null && child.signalCode === null) await standby.kill();
      watchdog.end();
      await removeFolder(folder);
    },
  };
  await standby.start();
  return standby;
}

/** A process whose connection has just ended may still be listed. */
function ifAlive(signal: () => unknown): void {
  try {
    signal();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

/** A base backup without pg_basebackup, which the embedded server's package does not contain. */
async function copyCluster({ folder, db }: Primary, data: string): Promise<void> {
  await withClient(db.adminUrl, async (client) => {
    await client.query("select pg_backup_start('standby', fast => true)");
    await mkdir(data, { mode: 0o700 });
    execFileSync("sh", ["-c", 'cp -a "$1"/postgres/. "$2" 2> /dev/null || true', "copy", folder, data]);
    await rm(join(data, "postmaster.pid"), { force: true });
    const { rows } = await client.query("select labelfile from pg_backup_stop(wait_for_archive => false)");
    await writeFile(join(data, "backup_label"), rows[0].labelfile);
    await writeFile(join(data, "standby.signal"), "");
  });
}
