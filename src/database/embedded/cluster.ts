import {
  appendFileSync,
  chmodSync,
  chownSync,
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { PlinthError } from "../../support/errors.ts";
import { namesIn, syncFolder } from "../../support/files.ts";
import type { Binaries } from "./binaries.ts";
import { explainFailure } from "./explain.ts";
import { type RunAs, runProgram } from "./programs.ts";

/** PostgreSQL's own data folder (a "cluster" in its terms) and the user and programs for it. */
export interface Cluster {
  readonly dataDirectory: string;
  /** `<dataDirectory>/postgres` */
  readonly folder: string;
  readonly runAs: RunAs | undefined;
  readonly binaries: Binaries;
}

/**
 * Returns the data folder's path for a program that is started in it. If Plinth runs as root, the programs run as a user who may
 * not be able to enter the parent folders (a clone below /root), but a process can always use the folder it was started in. Node
 * changes the folder before it changes the user, so the current folder's name in /proc always works.
 */
export function dataArgument(folder: string, runAs: RunAs | undefined): string {
  return runAs && process.platform === "linux" ? "/proc/self/cwd" : folder;
}

/**
 * Whether the folder already contains data.
 * @throws PlinthError DATA_FROM_NEWER_VERSION, DATA_FROM_OLDER_VERSION, DATA_NOT_POSTGRES
 */
export function hasCluster(folder: string, major: number): boolean {
  const names = namesIn(folder);
  if (!names || names.length === 0) return false;
  if (!names.includes("PG_VERSION") || !existsSync(join(folder, "global", "pg_control")))
    throw new PlinthError(
      "DATA_NOT_POSTGRES",
      `${folder} is not empty and is not a PostgreSQL data folder.`,
      {
        hint: "Move it away, or set PLINTH_DATA to another folder.",
      },
    );
  const found = Number.parseInt(readFileSync(join(folder, "PG_VERSION"), "utf8"), 10);
  if (found > major)
    throw new PlinthError(
      "DATA_FROM_NEWER_VERSION",
      `The data in ${folder} was created by PostgreSQL ${found}; this Plinth has PostgreSQL ${major}.`,
      { hint: "Install the newer Plinth that created it, or set PLINTH_DATA to another folder." },
    );
  if (found !== major)
    throw new PlinthError(
      "DATA_FROM_OLDER_VERSION",
      `The data in ${folder} was created by PostgreSQL ${found || "of an unknown version"}; this Plinth has PostgreSQL ${major}.`,
      {
        hint:
          "Start the Plinth that created it and dump the database with pg_dump. Then start this one on another folder " +
          "(PLINTH_DATA) and load the dump there.",
      },
    );
  // A copy or a chmod may have opened the folder to others; PostgreSQL would then refuse to use it.
  if ((statSync(folder).mode & 0o077) !== 0) chmodSync(folder, 0o700);
  return true;
}

const UNFINISHED = "postgres.new-";

/** Deletes the remains of a first start that was killed while it created the data. */
export function removeUnfinished(dataDirectory: string): void {
  for (const name of namesIn(dataDirectory) ?? []) {
    if (!name.startsWith(UNFINISHED)) continue;
    try {
      rmSync(join(dataDirectory, name), { recursive: true, force: true });
    } catch {
      // Its initdb may still be running and creating files; the next start deletes them.
    }
  }
}

/**
 * Creates the data folder under another name and renames it when it is complete, so that a crash leaves no partial folder.
 * @param options.durable false skips waiting for the disk (for tests)
 * @throws PlinthError with the reason that initdb failed
 */
export async function createCluster(
  cluster: Cluster,
  superuserPassword: string,
  options: { durable: boolean },
): Promise<void> {
  const { dataDirectory, folder, runAs } = cluster;
  const unfinished = mkdtempSync(join(dataDirectory, UNFINISHED));
  try {
    if (runAs) chownSync(unfinished, runAs.uid, runAs.gid);
    await initdb(cluster, unfinished, superuserPassword, options.durable);
    renameSync(unfinished, folder);
    syncFolder(dataDirectory);
  } finally {
    rmSync(unfinished, { recursive: true, force: true });
  }
}

/**
 * Sort order and case come from PostgreSQL's own C.UTF-8, which is the same on each system, so that a system update cannot break
 * an index. The system's character classes (LC_CTYPE) still define letters for text search. Plain C knows only ASCII letters, so
 * it comes last.
 */
const CTYPES = ["C.UTF-8", "en_US.UTF-8", "C"];

async function initdb(
  { binaries, runAs, dataDirectory }: Cluster,
  folder: string,
  password: string,
  durable: boolean,
): Promise<void> {
  const passwordFile = openPasswordFile(`${folder}.password`, password, runAs);
  try {
    for (const ctype of CTYPES) {
      const { status, output } = await runProgram(
        binaries.initdb,
        [
          `--pgdata=${dataArgument(folder, runAs)}`,
          "--username=postgres",
          "--pwfile=/dev/fd/3",
          "--auth=scram-sha-256",
          "--encoding=UTF8",
          "--locale=C",
          `--lc-ctype=${ctype}`,
          "--locale-provider=builtin",
          "--builtin-locale=C.UTF-8",
          "--no-instructions",
          ...(durable ? [] : ["--no-sync"]),
        ],
        { runAs, cwd: folder, inheritFile: passwordFile },
      );
      if (status === 0) return;
      if (/invalid locale name/.test(output) && ctype !== CTYPES.at(-1)) continue;
      appendToLog(dataDirectory, output);
      throw explainFailure("The database could not be created", output, { dataDirectory });
    }
  } finally {
    closeSync(passwordFile);
  }
}

/** Keeps the full output for the user. On a full disk, only the explanation remains. */
function appendToLog(dataDirectory: string, output: string): void {
  try {
    appendFileSync(join(dataDirectory, "postgres.log"), output, { mode: 0o600 });
  } catch {
    // The failure itself is reported.
  }
}

/** initdb reads the password from a file. The file is unlinked at once, so that a crash does not leave it behind. */
function openPasswordFile(path: string, password: string, runAs: RunAs | undefined): number {
  writeFileSync(path, `${password}\n`, { mode: 0o600, flag: "wx" });
  try {
    if (runAs) chownSync(path, runAs.uid, runAs.gid);
    return openSync(path, "r");
  } finally {
    rmSync(path);
  }
}
