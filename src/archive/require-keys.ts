import { PlinthError } from "../support/errors.ts";

/** @throws PlinthError BACKUP_KEY_MISSING */
export function requireKeys(keys: readonly Buffer[]): readonly Buffer[] {
  if (keys.length > 0) return keys;
  throw new PlinthError("BACKUP_KEY_MISSING", "The archive is encrypted.", {
    hint: "Set PLINTH_BACKUP_KEY to the key that encrypted it.",
  });
}
