import { readKeyFile } from "../../auth/key-file.ts";
import { parseMasterKeys } from "../../auth/master-keys.ts";
import { parseSigningKeys } from "../../auth/signing-keys.ts";
import type { Config } from "../../config/config.ts";
import { isExternal } from "../../database/database.ts";
import { PlinthError } from "../../support/errors.ts";
import { type Finding, fail, ok, warn } from "./check.ts";

/** From this number on, doctor suggests dropping old keys: each of them still opens something. */
const MANY_KEYS = 5;

/** Checks the keys in the settings; sealed-secrets.ts checks the secrets in the database. */
export function checkKeySettings(config: Config): Finding[] {
  const { auth } = config;
  const needsKeys = isExternal(config);
  return [
    checkKeys({
      check: "signing-keys",
      name: "PLINTH_JWT_KEYS",
      text: auth.jwtKeys,
      file: auth.jwtKeysFile,
      needsKeys,
      inSecrets: "Access tokens are signed with the key in secrets.json.",
      describe: describeSigningKeys,
    }),
    checkKeys({
      check: "master-keys",
      name: "PLINTH_MASTER_KEYS",
      text: auth.masterKeys,
      file: auth.masterKeysFile,
      needsKeys,
      inSecrets: "Secrets in the database are sealed with the key in secrets.json.",
      describe: describeMasterKeys,
    }),
  ];
}

function checkKeys(options: {
  readonly check: string;
  readonly name: string;
  readonly text: string | undefined;
  readonly file: string | undefined;
  readonly needsKeys: boolean;
  readonly inSecrets: string;
  readonly describe: (text: string) => { message: string; count: number };
}): Finding {
  const { check, name, text, file, needsKeys, inSecrets, describe } = options;
  if (text === undefined && file === undefined)
    return needsKeys
      ? warn(check, `${name} is not set.`, "plinth serve needs it with an external database.")
      : ok(check, inSecrets);
  try {
    const { message, count } = describe(text ?? readKeyFile(`${name}_FILE`, file!));
    return count < MANY_KEYS
      ? ok(check, message)
      : warn(check, `${message} That is a lot.`, `Remove the keys that are no longer needed from ${name}.`);
  } catch (error) {
    if (!(error instanceof PlinthError)) throw error;
    return fail(check, error.message, error.hint ?? `Correct ${name}.`);
  }
}

/** A kid is part of each token, so it is not secret. */
function describeSigningKeys(text: string) {
  const keys = parseSigningKeys(text);
  const named = keys.map(({ kid, algorithm }) => `${kid} (${algorithm})`);
  const others = named.length > 1 ? `; ${named.slice(1).join(", ")} still verify` : "";
  const message = `${keys.length} signing ${keys.length === 1 ? "key" : "keys"}: ${named[0]} signs${others}.`;
  return { message, count: keys.length };
}

function describeMasterKeys(text: string) {
  const { current, versions } = parseMasterKeys(text);
  return { message: `Master key versions ${versions.join(", ")}; ${current} seals.`, count: versions.length };
}
