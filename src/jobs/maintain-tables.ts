import { withConnection } from "../database/connection.ts";
import { findTasks } from "../maintenance/find-tasks.ts";
import { runTasks } from "../maintenance/run-tasks.ts";
import type { JobFunction } from "./job.ts";

/**
 * Vacuums, analyzes and reindexes what needs it. Only the owner may, so a worker without the owner's URL does nothing: `plinth
 * doctor` and `plinth maintenance --plan` then name what is left to an operator.
 */
export const maintainTables: JobFunction = async ({ signal, ownerUrl: connectionString }) => {
  const done = { vacuumed: 0, analyzed: 0, reindexed: 0, dropped: 0, failed: 0 };
  if (connectionString === undefined) return done;
  return withConnection({ connectionString, application_name: "plinth maintenance" }, async (client) => {
    const results = await runTasks(client, await findTasks(client), {
      ownerUrl: connectionString,
      signal,
      log: () => {},
    });
    for (const { kind, error } of results) done[error ? "failed" : COUNTED[kind]] += 1;
    return done;
  });
};

const COUNTED = { vacuum: "vacuumed", analyze: "analyzed", reindex: "reindexed", drop: "dropped" } as const;
