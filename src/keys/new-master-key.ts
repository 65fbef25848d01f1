import { addMasterKey } from "../auth/master-keys.ts";
import type { Config } from "../config/config.ts";
import { type Database, runningDatabase } from "../database/database.ts";
import { loadSecrets, updateSecrets } from "../database/secrets.ts";
import { PlinthError } from "../support/errors.ts";

/**
 * Adds a master key to secrets.json.
 * @returns whether secrets may be resealed at once: not while a Plinth runs that has not read the new key
 * @throws PlinthError KEYS_ARE_SET if the keys are not in secrets.json
 */
export async function prepareNewKey(config: Config, database: Database): Promise<boolean> {
  const { masterKeys, masterKeysFile } = config.auth;
  if (database.kind !== "embedded" || masterKeys || masterKeysFile)
    throw new PlinthError(
      "KEYS_ARE_SET",
      "The master keys are not in secrets.json, so a new one cannot be added there.",
      {
        hint: "Add a key to PLINTH_MASTER_KEYS (plinth keys generate), restart all servers, then rotate without --new.",
      },
    );
  updateSecrets(config.dataDirectory, {
    masterKeys: addMasterKey(loadSecrets(config.dataDirectory).masterKeys),
  });
  return !(await isRunning(config));
}

async function isRunning(config: Config): Promise<boolean> {
  try {
    await runningDatabase(config);
    return true;
  } catch (error) {
    if (error instanceof PlinthError && error.code === "DATABASE_NOT_RUNNING") return false;
    throw error;
  }
}
