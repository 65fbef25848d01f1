import { readKeyFile } from "../auth/key-file.ts";
import type { Config } from "../config/config.ts";
import type { Database } from "../database/database.ts";
import { loadSecrets } from "../database/secrets.ts";
import { PlinthError } from "../support/errors.ts";

type KeyConfig = Pick<Config, "auth" | "dataDirectory">;

/**
 * Returns the keys that sign access tokens, from the environment, a file, or secrets.json of the embedded server.
 * @throws PlinthError SIGNING_KEYS_MISSING, and what readKeyFile throws
 */
export function signingKeysOf({ auth, dataDirectory }: KeyConfig, { kind }: Pick<Database, "kind">): string {
  if (auth.jwtKeys) return auth.jwtKeys;
  if (auth.jwtKeysFile) return readKeyFile("PLINTH_JWT_KEYS_FILE", auth.jwtKeysFile);
  // With an external server, several processes may sign, and only their operator can make them share the keys.
  if (kind === "embedded") return loadSecrets(dataDirectory).jwtKeys;
  throw new PlinthError("SIGNING_KEYS_MISSING", "PLINTH_JWT_KEYS is not set.", {
    hint: "Use the same keys as your other servers. For the first server, generate a key: plinth keys generate --kind jwt.",
  });
}

/** Returns the master keys in the same way; undefined if an external server is used and no keys are set. */
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
    hint: "Set it to the keys that sealed the secrets in the database. For a new database, generate one: plinth keys generate.",
  });
}
