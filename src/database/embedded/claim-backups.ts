import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { PlinthError } from "../../support/errors.ts";
import { unlessMissing, writeWhole } from "../../support/files.ts";

/** `backups.json` in the data folder. */
interface Own {
  readonly id: string;
  /** The folder of backups that this data used last. */
  readonly folder: string;
}

/** `owner.json` in the folder of backups. */
interface Owner {
  readonly id: string;
  readonly dataDirectory: string;
}

/**
 * A folder of backups belongs to one data folder. A restored copy that archived to it too would continue the history of the
 * original with its own, and the next restore would follow the copy.
 * @throws PlinthError BACKUPS_OF_OTHER_DATA, BACKUPS_GONE
 */
export function claimBackups(backups: string, dataDirectory: string): void {
  const ownPath = join(dataDirectory, "backups.json");
  const ownerPath = join(backups, "owner.json");
  const own = read<Own>(ownPath);
  const owner = read<Owner>(ownerPath);
  if (owner && owner.id !== own?.id)
    throw new PlinthError(
      "BACKUPS_OF_OTHER_DATA",
      `${backups} has the backups of other data (${owner.dataDirectory}).`,
      {
        hint:
          "Set PLINTH_BACKUPS to another folder. If that data is gone and this is its restored copy, " +
          `delete ${ownerPath} and start again.`,
      },
    );
  if (!owner && own?.folder === backups)
    throw new PlinthError("BACKUPS_GONE", `${backups} no longer has the backups of this data.`, {
      hint: `Check that its disk is mounted. To begin with an empty folder, delete ${ownPath} and start again.`,
    });
  const claimed = { id: own?.id ?? randomUUID(), folder: backups };
  if (own?.folder !== backups) writeWhole(ownPath, `${JSON.stringify(claimed)}\n`);
  if (!owner) writeWhole(ownerPath, `${JSON.stringify({ id: claimed.id, dataDirectory })}\n`);
}

function read<T>(path: string): T | undefined {
  const text = unlessMissing(() => readFileSync(path, "utf8"));
  return text === undefined ? undefined : (JSON.parse(text) as T);
}
