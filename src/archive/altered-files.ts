import { statSync } from "node:fs";
import { join } from "node:path";
import type { RegisteredArchive } from "./registered-archives.ts";

/** Returns the files that are missing or have another size than the registered one. Reads no file: verifyArchives does. */
export function findAlteredFiles(archives: readonly RegisteredArchive[], directory: string): string[] {
  return archives
    .filter(({ state }) => state === "archived" || state === "attached")
    .flatMap(({ fileName, fileBytes }) => {
      const size = statSync(join(directory, fileName!), { throwIfNoEntry: false })?.size;
      if (size === undefined) return [`${fileName} is missing`];
      return size === fileBytes ? [] : [`${fileName} has ${size} bytes instead of ${fileBytes}`];
    });
}
