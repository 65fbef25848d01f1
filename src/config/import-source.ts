import { PlinthError } from "../support/errors.ts";
import { type Environment, textOrFile } from "./environment.ts";

/** Settings that only imports read; each may be in a file, as NAME_FILE. */
export const IMPORT_SETTINGS = ["PLINTH_IMPORT_URL", "PLINTH_IMPORT_EMAIL_SALT"];

/**
 * Returns what `plinth import system` reads: --from, the variable that --from-env names, or PLINTH_IMPORT_URL.
 * @throws PlinthError PASSWORD_IN_ARGUMENT, SOURCE_MISSING. No message contains the value.
 */
export function importSource(
  env: Environment,
  flags: { readonly from?: string | undefined; readonly fromEnv?: string | undefined },
): string {
  if (flags.from !== undefined) {
    if (/^\w+:\/\/[^/?#]*:[^/?#]*@|[?&]password=/i.test(flags.from))
      throw new PlinthError(
        "PASSWORD_IN_ARGUMENT",
        "The URL after --from contains a password, which other users of this machine could read.",
        { hint: "Put the URL into PLINTH_IMPORT_URL, or only the password into PGPASSWORD." },
      );
    return flags.from;
  }
  const found = flags.fromEnv === undefined ? textOrFile(env, "PLINTH_IMPORT_URL", "") : env[flags.fromEnv];
  if (found) return found.trim();
  throw new PlinthError("SOURCE_MISSING", `${flags.fromEnv ?? "PLINTH_IMPORT_URL"} is not set.`, {
    hint: "Use --from with a PostgreSQL URL, a SQLite file or a folder, or set the variable.",
  });
}

/** Returns the text that another system puts before an address when it hashes it; a secret, so it is not an argument. */
export const importEmailSalt = (env: Environment): string => textOrFile(env, "PLINTH_IMPORT_EMAIL_SALT", "");
