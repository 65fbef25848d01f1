import { backupKeysOf } from "../auth/backup-keys.ts";
import { generateAsymmetricSigningKey, parseSigningKeys, type SigningKey } from "../auth/signing-keys.ts";
import type { Config } from "../config/config.ts";
import type { Database } from "../database/database.ts";
import { loadSecrets, updateSecrets } from "../database/secrets.ts";
import { nextRun } from "../jobs/next-run.ts";
import type { ErasureBackups, ErasureFinisher } from "../privacy/finish-erasures.ts";
import { errno } from "../support/files.ts";
import { signingKeysOf } from "./key-settings.ts";

/** The settings of the last steps of an erasure. */
export function erasureSettings(
  config: Config,
  database: Pick<Database, "kind">,
): Pick<ErasureFinisher, "directory" | "keys" | "key" | "backups"> {
  return {
    directory: config.archives.directory,
    keys: backupKeysOf(config.archives),
    key: certificateKeyOf(config, database),
    backups: config.backups && { ...config.backups, expireBy: (time) => expiry(config.backups!, time) },
  };
}

/**
 * Returns the first asymmetric key that signs access tokens: others can verify with its public part, which
 * /.well-known/jwks.json publishes. The embedded server creates one, which the API publishes from its next start on.
 */
function certificateKeyOf(config: Config, database: Pick<Database, "kind">): SigningKey | undefined {
  const find = (keys: string) => parseSigningKeys(keys).find(({ algorithm }) => algorithm === "ES256");
  let keys: string;
  try {
    keys = signingKeysOf(config, database);
  } catch (error) {
    if (errno(error) === "SIGNING_KEYS_MISSING") return undefined;
    throw error;
  }
  const found = find(keys);
  if (found || config.auth.jwtKeys || config.auth.jwtKeysFile) return found;
  const { jwtKeys } = loadSecrets(config.dataDirectory);
  return find(
    updateSecrets(config.dataDirectory, { jwtKeys: `${jwtKeys},${generateAsymmetricSigningKey()}` }).jwtKeys,
  );
}

/** Backups from before the erasure are gone when as many newer ones exist as are kept. */
function expiry(
  { schedule, keep }: Pick<ErasureBackups, "keep"> & { schedule: string },
  time: Date,
): Date | undefined {
  let at: Date | undefined = time;
  for (let n = 0; n < keep && at; n++) at = nextRun(schedule, at);
  return at;
}
