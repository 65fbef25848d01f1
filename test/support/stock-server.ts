import {
  chmodSync,
  chownSync,
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Cluster, dataArgument } from "../../src/database/embedded/cluster.ts";
import { chooseFreePort } from "../../src/database/embedded/port.ts";
import { startPostmaster } from "../../src/database/embedded/postmaster.ts";
import { runProgram } from "../../src/database/embedded/programs.ts";
import { chooseRunAs } from "../../src/database/embedded/run-as.ts";

/** Where Debian and Ubuntu install the oldest PostgreSQL that Plinth supports. */
const PROGRAMS = "/usr/lib/postgresql/15/bin";
const PASSWORD = "secret";

export interface StockServer {
  readonly adminUrl: string;
  stop(): Promise<void>;
}

/** Starts the system's own PostgreSQL 15 in a temporary folder; undefined if it is not installed. */
export async function startStockServer(): Promise<StockServer | undefined> {
  if (!existsSync(join(PROGRAMS, "initdb"))) return undefined;
  const dataDirectory = await mkdtemp(join(tmpdir(), "plinth-stock-"));
  const remove = () => rm(dataDirectory, { recursive: true, force: true });
  try {
    const cluster = await createCluster(dataDirectory);
    const port = await chooseFreePort();
    const postmaster = await startPostmaster(cluster, { port, settings: { fsync: "off" }, log: () => {} });
    return {
      adminUrl: `postgres://admin:${PASSWORD}@127.0.0.1:${port}/postgres`,
      stop: () => postmaster.stop().finally(remove),
    };
  } catch (error) {
    await remove();
    throw error;
  }
}

async function createCluster(dataDirectory: string): Promise<Cluster> {
  const folder = join(dataDirectory, "postgres");
  const runAs = await chooseRunAs(folder);
  // Before version 16, its programs leave their folder for a moment and must be able to enter it again.
  chmodSync(dataDirectory, 0o755);
  mkdirSync(folder, { mode: 0o700 });
  const passwordFile = join(dataDirectory, "password");
  writeFileSync(passwordFile, PASSWORD, { mode: 0o600 });
  if (runAs) for (const path of [folder, passwordFile]) chownSync(path, runAs.uid, runAs.gid);
  const binaries = {
    initdb: join(PROGRAMS, "initdb"),
    postgres: join(PROGRAMS, "postgres"),
    version: "15",
    major: 15,
  };
  const file = openSync(passwordFile, "r");
  rmSync(passwordFile);
  const { status, output } = await runProgram(
    binaries.initdb,
    [
      `--pgdata=${dataArgument(folder, runAs)}`,
      "--username=admin",
      "--pwfile=/dev/fd/3",
      "--auth=scram-sha-256",
      "--encoding=UTF8",
      "--locale=C",
      "--no-sync",
    ],
    { runAs, cwd: folder, inheritFile: file },
  ).finally(() => closeSync(file));
  if (status !== 0) throw new Error(`initdb failed: ${output}`);
  return { dataDirectory, folder, runAs, binaries };
}
