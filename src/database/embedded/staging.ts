import { randomBytes } from "node:crypto";
import {
  chmodSync,
  closeSync,
  cpSync,
  existsSync,
  fsyncSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  realpathSync,
  renameSync,
  rmSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { PlinthError } from "../../support/errors.ts";
import { errno, syncFolder, unlessMissing } from "../../support/files.ts";

const STAGING_FOLDER = "/var/cache/plinth";

/**
 * Copies the programs to where every user can run them, once per version. Called by root for the server's user when
 * the checkout lies below a folder that this user cannot enter.
 * @param source the platform package's `native` folder
 * @param name of the copy, with version and platform
 * @returns the copy
 * @throws PlinthError STAGING_UNSAFE if anybody but root could have put something there, STAGING_FAILED
 */
export function stageBinaries(source: string, name: string, parent = STAGING_FOLDER): string {
  try {
    mkdirSync(parent, { recursive: true });
    const folder = realpathSync(parent);
    assertOnlyRootWrites(folder);
    // mkdir obeys the umask, which may have closed it.
    chmodSync(folder, 0o755);
    const target = join(folder, name);
    if (!unlessMissing(() => lstatSync(target))) copyWhole(source, target);
    assertOnlyRootWrites(target);
    return target;
  } catch (error) {
    if (error instanceof PlinthError) throw error;
    throw new PlinthError(
      "STAGING_FAILED",
      `PostgreSQL's programs could not be copied to ${parent}, where its user can run them: ${(error as Error).message}`,
      {
        hint: "Put Plinth below folders that every user can enter, or start it as an ordinary user.",
        cause: error,
      },
    );
  }
}

/** A copy has its name only when it is complete and on disk, also after a crash. */
function copyWhole(source: string, target: string): void {
  const unfinished = `${target}.${randomBytes(6).toString("hex")}`;
  try {
    // Static libraries are for compiling against PostgreSQL.
    cpSync(source, unfinished, {
      recursive: true,
      verbatimSymlinks: true,
      filter: (path) => !path.endsWith(".a"),
    });
    openToAll(unfinished);
    renameSync(unfinished, target);
  } catch (error) {
    // Another starter was faster; its copy is as good.
    if (!["ENOTEMPTY", "EEXIST"].includes(errno(error) ?? "") || !existsSync(target)) throw error;
  } finally {
    rmSync(unfinished, { recursive: true, force: true });
  }
  syncFolder(dirname(target));
}

/** Readable by everybody whatever the umask, writable by root only, and on disk. */
function openToAll(path: string): void {
  const stat = lstatSync(path);
  if (stat.isSymbolicLink()) return;
  chmodSync(path, stat.isDirectory() || (stat.mode & 0o100) !== 0 ? 0o755 : 0o644);
  if (stat.isDirectory()) for (const name of readdirSync(path)) openToAll(join(path, name));
  const handle = openSync(path, "r");
  fsyncSync(handle);
  closeSync(handle);
}

/** From the root folder down: an owner of any of them could have swapped the rest. */
function assertOnlyRootWrites(path: string): void {
  if (path !== "/") assertOnlyRootWrites(dirname(path));
  const stat = lstatSync(path);
  if (stat.isDirectory() && stat.uid === 0 && (stat.mode & 0o022) === 0) return;
  throw new PlinthError(
    "STAGING_UNSAFE",
    `${path} is not a folder that only root can write, so programs in it cannot be trusted.`,
    {
      hint: "Make it one (chown root, chmod 755), or put Plinth below folders that every user can enter.",
    },
  );
}
