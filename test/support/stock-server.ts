import { chmodSync, chownSync, closeSync, mkdirSync, openSync, rmSync, writeFileSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Cluster, dataArgument } from "../../src/database/embedded/cluster.ts";
import { startPostmaster } from "../../src/database/embedded/postmaster.ts";
import { runProgram } from "../../src/database/embedded/programs.ts";
import { chooseRunAs } from "../../src/database/embedded/run-as.ts";
import { freePorts } from "./ports.ts";
import { findPrograms, type OlderVersion } from "./postgres-programs.ts";
import { removeFolder } from "./remove-folder.ts";

const PASSWORD = "secret";

export interface StockServer {
  readonly adminUrl: string;
  stop(): Promise<void>;
}

/** Starts a PostgreSQL of an older version in a temporary folder; undefined if its programs are not installed. */
export async function startStockServer(version: OlderVersion = 15): Promise<StockServer | undefined> {
  const dataDirectory = await mkdtemp(join(tmpdir(), "plinth-stock-"));
  const remove = () => removeFolder(dataDirectory);
  try {
    const server = await openStockServer(version, dataDirectory, { fsync: "off" });
    if (!server) await remove();
    return server && { ...server, stop: () => server.stop().finally(remove) };
  } catch (error) {
    await remove();
    throw error;
  }
}

/** The same in an empty folder of the caller's, whose subfolder `postgres` becomes the data. */
export async function openStockServer(
  version: OlderVersion,
  dataDirectory: string,
  settings: Readonly<Record<string, string>>,
): Promise<StockServer | undefined> {
  const cluster = await createStockCluster(version, dataDirectory);
  return cluster && startStockCluster(cluster, settings);
}

export async function startStockCluster(
  cluster: Cluster,
  settings: Readonly<Record<string, string>>,
): Promise<StockServer> {
  const [port] = (await freePorts(1)) as [number];
  const postmaster = await startPostmaster(cluster, { port, settings, log: () => {} });
  return {
    adminUrl: `postgres://admin:${PASSWORD}@127.0.0.1:${port}/postgres`,
    stop: () => postmaster.stop(),
  };
}

/** Creates the data without starting the server; undefined if the programs are not installed. */
export async function createStockCluster(
  version: OlderVersion,
  dataDirectory: string,
): Promise<Cluster | undefined> {
  const folder = join(dataDirectory, "postgres");
  const runAs = await chooseRunAs(folder);
  const binaries = await findPrograms(version, runAs);
  if (!binaries) return undefined;
  // Before version 16, its programs leave their folder for a moment and must be able to enter it again.
  chmodSync(dataDirectory, 0o755);
  mkdirSync(folder, { mode: 0o700 });
  const passwordFile = join(dataDirectory, "password");
  writeFileSync(passwordFile, PASSWORD, { mode: 0o600 });
  if (runAs) for (const path of [folder, passwordFile]) chownSync(path, runAs.uid, runAs.gid);
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
      // The order of bytes and all letters, as on the embedded server, whose provider these versions lack.
      "--locale=C",
      `--lc-ctype=${process.platform === "darwin" ? "en_US.UTF-8" : "C.UTF-8"}`,
      "--no-sync",
    ],
    { runAs, cwd: folder, inheritFile: file },
  ).finally(() => closeSync(file));
  if (status !== 0) throw new Error(`initdb failed: ${output}`);
  return { dataDirectory, folder, runAs, binaries };
}
