import { readdirSync } from "node:fs";
import { archiveFile, checkWritable, fetchFile } from "./segments.ts";

/*
 * The program of archive_command and restore_command. PostgreSQL runs it, as its own user and possibly from a copy of this
 * folder, which is why nothing here imports from other folders. The key is in the environment that the server passes on, so
 * that it appears neither in a list of processes nor in a setting.
 */

/** Above 125, PostgreSQL ends the recovery; below, it takes the file for missing, which would be the end of the WAL. */
const DAMAGED = 200;
const MISSING = 1;
const NOT_ACCESSIBLE = 3;

const [task, folder = "", ...args] = process.argv.slice(2);
const keys = (process.env.PLINTH_BACKUP_KEY ?? "")
  .split(",")
  .filter(Boolean)
  .map((key) => Buffer.from(key, "base64url"));
/** Set for the recovery of an encrypted backup. */
const isSealed = process.env.PLINTH_BACKUP_IS_SEALED === "1";

try {
  switch (task) {
    case "archive":
      await archiveFile(folder, args[0]!, args[1]!, keys);
      break;
    case "fetch":
      if (!(await fetchFile(folder, args[0]!, args[1]!, keys, isSealed))) process.exitCode = MISSING;
      break;
    case "check":
      checkWritable(folder);
      break;
    case "check-reading":
      readdirSync(folder);
      break;
    default:
      throw new Error(`unknown task ${task}`);
  }
} catch (error) {
  process.stderr.write(`plinth-wal: ${task} ${args.join(" ")} in ${folder}: ${(error as Error).message}\n`);
  process.exitCode = task === "fetch" ? DAMAGED : task?.startsWith("check") ? NOT_ACCESSIBLE : 1;
}
