import { PlinthError } from "../support/errors.ts";
import { SealedFileError } from "../wal/sealed.ts";

/** Explains a file of a backup that cannot be read. */
export function explainDamage(error: unknown, path: string): unknown {
  if (error instanceof PlinthError) return error;
  if (error instanceof SealedFileError)
    return error.isWrongKey
      ? new PlinthError("BACKUP_KEY_WRONG", `${path} ${error.message}.`, {
          hint: "Set PLINTH_BACKUP_KEY to the key that encrypted the backup; several are separated by commas.",
        })
      : damaged(path, error.message);
  const code = (error as NodeJS.ErrnoException | undefined)?.code ?? "";
  if (code === "ENOENT") return damaged(path, "is missing");
  if (code.startsWith("ZSTD_") || code === "Z_BUF_ERROR") return damaged(path, "is damaged or cut off");
  return error;
}

/** @param fault the end of a sentence, such as "is cut off" */
export function damaged(path: string, fault: string): PlinthError {
  return new PlinthError("BACKUP_DAMAGED", `${path} ${fault}.`, {
    hint: "Restore from another backup (--from), and create a new one: plinth backup.",
  });
}
