import { readKeyFile } from "../auth/key-file.ts";
import type { Config } from "../config/config.ts";
import type { Database } from "../database/database.ts";
import { loadSecrets } from "../database/secrets.ts";
import { PlinthError } from "../support/errors.ts";

type KeyConfig = Pick<Config, "auth" | "dataDirectory">;

/**
 * The keys that sign access tokens: from the environment, a file, or secrets.json of the embedded server.
 * @throws PlinthError SIGNING_KEYS_MISSING, and what readKeyFile throws
 */
export function signingKeysOf({ auth, dataDirectory }: KeyConfig, { kind }: Pick<Database, "kind">): string {
  if (auth.jwtKeys) return auth.jwtKeys;
  if (auth.jwtKeysFile) return readKeyFile("PLINTH_JWT_KEYS_FILE", auth.jwtKeysFile);
  // Where the server is somebody's own, several processes sign and must share the keys, which only they can arrange.
  if (kind === "embedded") return loadSecrets(dataDirectory).jwtKeys;
  throw new PlinthError("SIGNING_KEYS_MISSING", "PLINTH_JWT_KEYS is not set.", {
    hint: "Give this server the keys of the others. For the first one, plinth keys generate --kind jwt makes a key.",
  });
}

/** The master keys, likewise; undefined where somebody's own server has none set. */
export function findMasterKeys(
  { auth, dataDirectory }: KeyConfig,
  { kind }: Pick<Database, "kind">,
): string | undefined {
  if (auth.masterKeys) return auth.masterKeys;
  if (auth.masterKeysFile) return readKeyFile("PLINTH_MASTER_KEYS_FILE", auth.masterKeysFile);
  return kind === "embedded" ? loadSecrets(dataDirectory).masterKeys : undefined;
}

/** @throws PlinthError MASTER_KEYS_MISSING, and what readKeyFile throws */
export function masterKeysOf(config: KeyConfig, database: Pick<Database, "kind">): string {
  const keys = findMasterKeys(config, database);
  if (keys !== undefined) return keys;
  throw new PlinthError("MASTER_KEYS_MISSING", "PLINTH_MASTER_KEYS is not set.", {
    hint: "Give it the keys that sealed what is in the database. For a new database, plinth keys generate makes one.",
  });
}
