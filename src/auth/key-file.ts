import { closeSync, fstatSync, openSync, readSync, type Stats } from "node:fs";
import { PlinthError } from "../support/errors.ts";

/** A list of keys has a few hundred characters; a much larger file was named by mistake. */
const MAX_BYTES = 100_000;

/**
 * Reads keys from a file, such as a container secret. Rejects a file that anyone but its owner can read or write, because
 * reading it is enough to open what the keys protect. (Windows has no such modes.)
 * @param name the variable that names the file, for messages
 * @throws PlinthError KEY_FILE_MISSING, KEY_FILE_READABLE, KEY_FILE_INVALID; no message repeats the content
 */
export function readKeyFile(name: string, path: string): string {
  let file: number;
  try {
    file = openSync(path, "r");
  } catch (cause) {
    throw new PlinthError("KEY_FILE_MISSING", `${name}: ${path} cannot be read.`, {
      hint: "The file must exist and belong to the user that Plinth runs as.",
      cause,
    });
  }
  try {
    // Checks the opened file, not the name, which could point to another file by now.
    const stat = fstatSync(file);
    if (!stat.isFile()) throw new PlinthError("KEY_FILE_INVALID", `${name}: ${path} is not a file.`);
    if (process.platform !== "win32" && (stat.mode & 0o077) !== 0 && !isSystemdCredential(path, stat))
      throw new PlinthError(
        "KEY_FILE_READABLE",
        `${name}: others can read or write ${path} (mode ${(stat.mode & 0o777).toString(8)}).`,
        { hint: "chmod 600 it (for container secrets: mode 0400), then replace the keys in it." },
      );
    const buffer = Buffer.alloc(MAX_BYTES + 1);
    let length = 0;
    for (let read = -1; read !== 0 && length <= MAX_BYTES; length += read)
      read = readSync(file, buffer, length, buffer.length - length, null);
    const text = buffer.toString("utf8", 0, length).trim();
    if (length > MAX_BYTES || text === "")
      throw new PlinthError("KEY_FILE_INVALID", `${name}: ${path} contains no keys.`);
    return text;
  } finally {
    closeSync(file);
  }
}

/**
 * systemd (LoadCredential=) lets the service's user read the file by an access list, whose mask appears as the permission of root's
 * group. Only root can create files below this folder.
 */
function isSystemdCredential(path: string, { uid, gid, mode }: Stats): boolean {
  return path.startsWith("/run/credentials/") && uid === 0 && gid === 0 && (mode & 0o077) === 0o040;
}
