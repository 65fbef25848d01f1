import type { Logger } from "pino";
import type { Config } from "../config/config.ts";
import type { LoginRole } from "../config/roles.ts";
import { awaitDatabase, type Waiting } from "../connection/await-database.ts";
import type { Database } from "../database/database.ts";

/**
 * Waits until an external database accepts connections with the URLs of these roles. The embedded one does when it is open.
 * @throws PlinthError DATABASE_URL_MISSING, DATABASE_UNREACHABLE, INTERRUPTED
 */
export async function awaitRoles(
  { connectTimeoutSeconds }: Config,
  database: Database,
  roles: readonly LoginRole[],
  waiting: Pick<Waiting, "log" | "signal">,
): Promise<void> {
  if (database.kind === "embedded") return;
  for (const role of roles) await awaitDatabase(database.url(role), { connectTimeoutSeconds, ...waiting });
}

/** Reports a wait as a warning of the log. */
export function waitingFor(logger: Logger, signal: AbortSignal | undefined): Pick<Waiting, "log" | "signal"> {
  return { log: (line: string) => logger.warn(line), signal };
}
