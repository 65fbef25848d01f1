import { deleteOldServerLogs as deleteFiles } from "../database/embedded/server-log.ts";
import type { JobFunction } from "./job.ts";

/** Deletes log files of the embedded server that are older than the retention policy keeps. */
export const deleteOldServerLogs: JobFunction = async ({ query, serverLog }) => {
  if (serverLog === undefined) return { files: 0 };
  const [row] = await query("select private.kept_since('server_log') as since", []);
  const since = row?.since as Date | null;
  return { files: since ? deleteFiles(serverLog, since) : 0 };
};
