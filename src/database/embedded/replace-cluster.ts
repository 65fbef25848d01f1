import { existsSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { isDirectory, syncFolder } from "../../support/files.ts";
import { stopLeftover } from "./leftover.ts";

/*
 * A restore in place builds the data in another folder, renames it to "restored" when it is recovered, moves the old data aside
 * and gives the restored data its name. Whenever this is interrupted, either the old data still has its name, or the restored
 * data is whole and the next start gives it the name.
 */

export function clusterFolder(dataDirectory: string): string {
  return join(dataDirectory, "postgres");
}

/** The folder in which a restore builds the data. */
export function restoringFolder(dataDirectory: string): string {
  return join(dataDirectory, "postgres.restoring");
}

export function restoredFolder(dataDirectory: string): string {
  return join(dataDirectory, "postgres.restored");
}

/** @returns the folder that now has the old data; undefined if there was none */
export function replaceCluster(dataDirectory: string): string | undefined {
  renameSync(restoringFolder(dataDirectory), restoredFolder(dataDirectory));
  syncFolder(dataDirectory);
  const current = clusterFolder(dataDirectory);
  const stamp = new Date().toISOString().replace(/[-:]|\.\d+/g, "");
  const aside = existsSync(current) ? `${current}.before-restore-${stamp}` : undefined;
  if (aside) {
    renameSync(current, aside);
    syncFolder(dataDirectory);
  }
  finishRestore(dataDirectory);
  return aside;
}

/** Completes a restore that was interrupted after it had moved the old data aside. */
export function finishRestore(dataDirectory: string): void {
  const current = clusterFolder(dataDirectory);
  const restored = restoredFolder(dataDirectory);
  if (isDirectory(current) || !isDirectory(restored)) return;
  renameSync(restored, current);
  syncFolder(dataDirectory);
}

/** Deletes what an interrupted restore left in a folder, after stopping its server. */
export async function removeCluster(folder: string, log: (line: string) => void): Promise<void> {
  if (!isDirectory(folder)) return;
  await stopLeftover(folder, log);
  rmSync(folder, { recursive: true, force: true });
}
