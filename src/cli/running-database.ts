import { readFileSync } from "node:fs";
import { attachDatabase, type Database, type DatabaseConfig } from "../database/database.ts";
import type { LockHolder } from "../database/embedded/lock.ts";
import { isRunning } from "../database/embedded/process-identity.ts";
import { lockPath } from "../database/embedded/server.ts";
import { PlinthError } from "../errors.ts";

/**
 * The database if it is there without this process: an external server, or the embedded one of a running Plinth.
 * @throws PlinthError NOT_RUNNING
 */
export async function runningDatabase(config: DatabaseConfig): Promise<Database> {
  const external = Object.keys(config.databaseUrls).length > 0;
  if (!external && !isServed(config.dataDirectory))
    throw new PlinthError("NOT_RUNNING", `No Plinth is running on ${config.dataDirectory}.`, {
      hint: "Start one with plinth start, or name its folder with PLINTH_DATA.",
    });
  return attachDatabase(config);
}

function isServed(dataDirectory: string): boolean {
  try {
    const holder = JSON.parse(readFileSync(lockPath(dataDirectory), "utf8")) as LockHolder;
    return (
      holder.purpose === "server" && holder.databasePort !== undefined && isRunning(holder.pid, holder.birth)
    );
  } catch {
    // No lock, or one that is being written.
    return false;
  }
}
