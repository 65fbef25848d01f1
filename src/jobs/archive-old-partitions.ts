import { archiveDueMonths } from "../archive/archive-due-months.ts";
import { withConnection } from "../database/connection.ts";
import { errno } from "../support/files.ts";
import type { JobFunction } from "./job.ts";

/**
 * Archives or drops the months of logs that are older than their retention policy keeps. A worker without a folder for archives
 * drops months and leaves the others, which plinth doctor reports. The connection is its own, because the lock of the archives
 * belongs to it.
 */
export const archiveOldPartitions: JobFunction = async ({ signal, archives }) => {
  const nothing = { archived: 0, archivedRows: 0, dropped: 0, droppedRows: 0, waiting: 0 };
  if (!archives) return nothing;
  const { workerUrl: url, ...settings } = archives;
  return withConnection({ connectionString: url, application_name: "plinth-worker" }, async (client) => {
    try {
      return { ...(await archiveDueMonths({ ...settings, client, url, signal, log: () => {} })) };
    } catch (error) {
      // An operator runs the same by hand.
      if (errno(error) === "ARCHIVES_IN_USE") return nothing;
      throw error;
    }
  });
};
