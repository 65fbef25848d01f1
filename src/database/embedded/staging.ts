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
 * Copies the programs, once per version, to a folder from which any user can run them. Called by root if the server's user cannot
 * enter the folders above the checkout.
 * @param source the platform package's `native` folder, or a single program
 * @param name of the copy, with version and platform
 * @returns the copy
 * @throws PlinthError STAGING_UNSAFE if a user other than root could write there, STAGING_FAILED
 */
export function stageBinaries(source: string, name: string, parent = STAGING_FOLDER): string {
  try {
    mkdirSync(parent, { recursive: true });
    const folder = realpathSync(parent);
    assertOnlyRootWrites(folder);
    // mkdir applies the umask, which may have removed permissions.
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
        hint: "Move Plinth below folders that every user can enter, or start it as an ordinary user.",
        cause: error,
      },
    );
  }
}

/** A copy gets its name only when it is complete and on disk, so that a crash leaves no partial copy. */
function copyWhole(source: string, target: string): void {
  const unfinished = `${target}.${randomBytes(6).toString("hex")}`;
  try {
    // Static libraries are needed only to compile against PostgreSQL.
    cpSync(source, unfinished, {
      recursive: true,
      verbatimSymlinks: true,
      filter: (path) => !path.endsWith(".a"),
    });
    openToAll(unfinished);
    renameSync(unfinished, target);
  } catch (error) {
    // A concurrent start was faster; its copy is equivalent.
    if (!["ENOTEMPTY", "EEXIST"].includes(errno(error) ?? "") || !existsSync(target)) throw error;
  } finally {
    rmSync(unfinished, { recursive: true, force: true });
  }
  syncFolder(dirname(target));
}

/** Makes files readable by all users regardless of the umask and writable by root only, and syncs them to disk. */
function openToAll(path: string): void {
  const stat = lstatSync(path);
  if (stat.isSymbolicLink()) return;
  chmodSync(path, stat.isDirectory() || (stat.mode & 0o100) !== 0 ? 0o755 : 0o644);
  if (stat.isDirectory()) for (const name of readdirSync(path)) openToAll(join(path, name));
  const handle = openSync(path, "r");
  fsyncSync(handle);
  closeSync(handle);
}

/** Checks all parent folders too, because the owner of any of them could have replaced the rest. */
function assertOnlyRootWrites(path: string): void {
  if (path !== "/") assertOnlyRootWrites(dirname(path));
  const stat = lstatSync(path);
  // A file is the program itself; above it, there are only folders.
  if ((stat.isDirectory() || stat.isFile()) && stat.uid === 0 && (stat.mode & 0o022) === 0) return;
  throw new PlinthError(
    "STAGING_UNSAFE",
    `${path} is not a folder or program that only root can write, so programs in it cannot be trusted.`,
    {
      hint: "Run chown root and chmod 755 on it, or move Plinth below folders that every user can enter.",
    },
  );
}
