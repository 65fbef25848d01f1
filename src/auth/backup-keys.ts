import { randomBytes } from "node:crypto";
import { PlinthError } from "../support/errors.ts";
import { readKeyFile } from "./key-file.ts";
import { decodeKey, looksRandom } from "./key-text.ts";

const KEY_BYTES = 32;

/** Creates 256 random bits in base64url. */
export function generateBackupKey(): string {
  return randomBytes(KEY_BYTES).toString("base64url");
}

/**
 * Reads the keys of backups. The first encrypts, all decrypt; none means that backups are not encrypted.
 * @throws PlinthError INVALID_SETTING naming a key by its position only, and what readKeyFile throws
 */
export function backupKeysOf(settings: {
  readonly key: string | undefined;
  readonly keyFile: string | undefined;
}): readonly Buffer[] {
  const text = settings.key ?? (settings.keyFile && readKeyFile("PLINTH_BACKUP_KEY_FILE", settings.keyFile));
  return text ? text.split(",").map((entry, index) => parse(entry.trim(), index + 1)) : [];
}

function parse(entry: string, position: number): Buffer {
  const bytes = decodeKey(entry);
  if (bytes?.length === KEY_BYTES && looksRandom(bytes, entry)) return bytes;
  const fault = !bytes
    ? "is not valid base64url"
    : bytes.length === KEY_BYTES
      ? "is not random"
      : `has ${bytes.length * 8} bits, but must have ${KEY_BYTES * 8}`;
  throw new PlinthError("INVALID_SETTING", `PLINTH_BACKUP_KEY: key number ${position} ${fault}.`, {
    hint: "Create one with: plinth keys generate --kind backup",
  });
}
