import { withConnection } from "../database/connection.ts";
import { finishErasures as finish } from "../privacy/finish-erasures.ts";
import { errno } from "../support/files.ts";
import type { JobFunction } from "./job.ts";

/** Erases deleted accounts from archives and signs their certificates. The connection is its own: it holds the archives' lock. */
export const finishErasures: JobFunction = async ({ signal, query, erasures, archives }) => {
  const nothing = { accounts: 0, rows: 0, files: 0, signed: 0, waiting: 0 };
  if (!erasures || !archives) return nothing;
  // Most runs have nothing to do and open no connection.
  const [found] = await query(
    `select exists (select from private.pending_archive_erasures())
       or exists (select from private.unsigned_certificates()) as found`,
    [],
  );
  if (!found?.found) return nothing;
  return withConnection(
    { connectionString: archives.workerUrl, application_name: "plinth-worker" },
    async (client) => {
      try {
        return { ...(await finish({ ...erasures, client, signal, log: () => {} })) };
      } catch (error) {
        // The archives' own job runs; the next run continues.
        if (errno(error) === "ARCHIVES_IN_USE") return nothing;
        throw error;
      }
    },
  );
};
