import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Config } from "../../config/config.ts";
import { type AnyLoginRole, roleName } from "../../config/roles.ts";
import { PlinthError } from "../../support/errors.ts";
import { isDirectory, makeFolder } from "../../support/files.ts";
import { loadSecrets, readSecrets, updateSecrets } from "../secrets.ts";
import { prepareArchiving } from "./archiving.ts";
import { findBinaries } from "./binaries.ts";
import { type Cluster, createCluster, hasCluster, removeUnfinished } from "./cluster.ts";
import { explainFileError } from "./explain.ts";
import { stopLeftover } from "./leftover.ts";
import { acquireLock, type LockHolder } from "./lock.ts";
import { chooseFreePort } from "./port.ts";
import { type Postmaster, type StartOptions, startPostmaster } from "./postmaster.ts";
import { prepareDatabase, resetSuperuserPassword } from "./prepare.ts";
import {
  clusterFolder,
  finishRestore,
  removeCluster,
  restoredFolder,
  restoringFolder,
} from "./replace-cluster.ts";
import { chooseRunAs } from "./run-as.ts";
import { embeddedUrl } from "./url.ts";

/** The part of the configuration that the embedded server depends on. */
export type EmbeddedConfig = Pick<Config, "dataDirectory" | "rolePrefix" | "embeddedPort"> &
  Partial<Pick<Config, "backups">>;

export interface EmbeddedOptions {
  readonly log?: (line: string) => void;
  /** Other processes may attach to a `server`; a `command` ends soon. */
  readonly purpose?: LockHolder["purpose"];
  /** Further server settings. Tests pass `{ fsync: "off" }`, which also creates the data without waiting for the disk. */
  readonly settings?: Readonly<Record<string, string>>;
}

export interface EmbeddedServer {
  readonly port: number;
  readonly died: Promise<string>;
  url(role: AnyLoginRole): string;
  /** For setting up databases and for backups. Everything else runs as an ordinary role. */
  superuserUrl(database?: string): string;
  close(): Promise<void>;
}

export function lockPath(dataDirectory: string): string {
  return join(dataDirectory, "plinth.lock");
}

/** Whether an embedded server was started on this folder, or is starting now. */
export function hasData(dataDirectory: string): boolean {
  return (
    isDirectory(clusterFolder(dataDirectory)) ||
    isDirectory(restoredFolder(dataDirectory)) ||
    existsSync(lockPath(dataDirectory))
  );
}

/**
 * Starts the embedded server and creates what is missing: folder, secrets, data, roles, database. A crash may interrupt any step;
 * the next start completes or repeats it.
 * @throws LockHeld, or PlinthError with the reason
 */
export async function openEmbedded(
  config: EmbeddedConfig,
  options: EmbeddedOptions = {},
): Promise<EmbeddedServer> {
  const { dataDirectory } = config;
  const log = options.log ?? (() => {});
  // Disposed in reverse order: the server first, the lock last.
  const held = new AsyncDisposableStack();
  try {
    makeFolder(dataDirectory);
    const lock = await acquireLock(lockPath(dataDirectory), options.purpose ?? "server", log);
    held.defer(() => lock.release());

    const cluster = await prepareCluster(config, options, log);
    const archiving = await prepareArchiving(config.backups, dataDirectory, cluster.runAs);
    const startOptions = {
      settings: { ...archiving.settings, ...options.settings },
      env: archiving.env,
      log,
    };
    let { postmaster, port } = await start(config, cluster, startOptions);
    held.defer(() => postmaster.stop());
    const { passwords } = updateSecrets(dataDirectory, { databasePort: port });

    if (!(await prepareDatabase(port, passwords, config.rolePrefix))) {
      log("Resetting the database's passwords to those in secrets.json");
      await postmaster.stop();
      await resetSuperuserPassword(cluster, passwords.superuser, archiving);
      postmaster = await startPostmaster(cluster, { ...startOptions, port });
      if (!(await prepareDatabase(port, passwords, config.rolePrefix)))
        throw new PlinthError(
          "DATABASE_START_FAILED",
          "The database rejected the password that was just set.",
          {
            hint: `See ${dataDirectory}/postgres.log for details.`,
          },
        );
    }
    lock.announce(port);

    let closing: Promise<void> | undefined;
    return {
      port,
      died: postmaster.died,
      url: (role) => embeddedUrl(port, roleName(config.rolePrefix, role), passwords[role]),
      superuserUrl: (database) => embeddedUrl(port, "postgres", passwords.superuser, database),
      close: () => {
        closing ??= held.disposeAsync();
        return closing;
      },
    };
  } catch (error) {
    await held.disposeAsync();
    throw explainFileError(error, { dataDirectory });
  }
}

/** Prepares the start of the server: finds the programs and the user, stops a leftover server, and creates the data. */
async function prepareCluster(
  { dataDirectory }: EmbeddedConfig,
  options: EmbeddedOptions,
  log: (line: string) => void,
): Promise<Cluster> {
  const folder = clusterFolder(dataDirectory);
  finishRestore(dataDirectory);
  await removeCluster(restoringFolder(dataDirectory), log);
  const runAs = await chooseRunAs(folder);
  const binaries = await findBinaries(runAs);
  const cluster: Cluster = { dataDirectory, folder, runAs, binaries };
  removeUnfinished(dataDirectory);
  if (hasCluster(folder, binaries.major)) {
    if (!readSecrets(dataDirectory)) throw secretsMissing(dataDirectory);
    await stopLeftover(folder, log);
  } else {
    // The secrets are on disk before the data: a crash in between leaves secrets without data, never data without secrets.
    const { passwords } = loadSecrets(dataDirectory);
    log(`Creating a PostgreSQL ${binaries.version} database in ${folder}`);
    await createCluster(cluster, passwords.superuser, { durable: options.settings?.fsync !== "off" });
  }
  return cluster;
}

/** Starts on the configured port, on the stored one, or on a free one, which is then stored. */
async function start(
  config: EmbeddedConfig,
  cluster: Cluster,
  options: Omit<StartOptions, "port">,
): Promise<{ postmaster: Postmaster; port: number }> {
  const kept = config.embeddedPort ?? loadSecrets(config.dataDirectory).databasePort;
  for (let attempt = 1; ; attempt++) {
    const port = kept ?? (await chooseFreePort());
    try {
      return { postmaster: await startPostmaster(cluster, { ...options, port }), port };
    } catch (error) {
      const taken = error instanceof PlinthError && error.code === "DATABASE_PORT_IN_USE";
      // Another program may take the free port before the server binds it.
      if (!taken || kept || attempt === 5) throw error;
    }
  }
}

function secretsMissing(dataDirectory: string): PlinthError {
  return new PlinthError(
    "SECRETS_MISSING",
    `${dataDirectory} contains a database but not its secrets.json.`,
    {
      hint:
        "Restore the file from a backup. To discard the old passwords and signing keys instead (all users must sign in " +
        "again), create the file with the content {} and start again.",
    },
  );
}
