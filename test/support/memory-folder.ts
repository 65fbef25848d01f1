import { chmod, mkdtemp, readFile, statfs } from "node:fs/promises";
import { freemem } from "node:os";
import { removeFolder } from "./remove-folder.ts";
import { watch } from "./server.ts";

/*
 * Each test file creates and deletes a database of 1,400 files. ext4 does not use the number of a file again for the seconds after
 * it was deleted, and to create a file it searches past all of those: 0.7 s of CPU for each database, against 0.06 s in memory.
 */

const MOUNT = "/dev/shm";
/** A run needs about 1 GB. */
const NEEDED_BYTES = 6 * 1024 ** 3;

/** Moves temporary files of this process and its children into memory where there is enough of it. TMPDIR, if set, stays. */
export async function useMemoryForTemporaryFiles(): Promise<{ remove(): Promise<void> }> {
  if (process.env.TMPDIR || !(await hasMemory())) return { async remove() {} };
  const folder = await mkdtemp(`${MOUNT}/plinth-`);
  // As /tmp, because PostgreSQL runs as another user if the tests run as root.
  await chmod(folder, 0o1777);
  const watchdog = watch(folder);
  process.env.TMPDIR = folder;
  return {
    async remove() {
      await removeFolder(folder);
      watchdog.end();
    },
  };
}

/** Containers often have a small `/dev/shm`, or one from which no program starts; tests write programs too. */
async function hasMemory(): Promise<boolean> {
  const mounts = await readFile("/proc/mounts", "utf8").catch(() => "");
  const options = mounts
    .split("\n")
    .find((line) => line.split(" ")[1] === MOUNT)
    ?.split(" ")[3];
  if (options === undefined || /\b(?:noexec|ro)\b/.test(options)) return false;
  const { bavail, bsize } = await statfs(MOUNT);
  return Math.min(bavail * bsize, freemem()) > NEEDED_BYTES;
}
