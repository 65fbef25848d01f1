import type pg from "pg";
import { loadApplication } from "../../application/load-application.ts";
import { roleName } from "../../config/roles.ts";
import { isWorkerConnected } from "../../jobs/worker-session.ts";
import { withClient, withSession } from "../session.ts";
import { type KnownJobs, knownJobs } from "./known-jobs.ts";

/** The connection and the timetable of the commands of `plinth jobs`. */
interface JobSession {
  readonly jobs: KnownJobs;
  /** As a role that may read and write the job queue. */
  readonly client: pg.Client;
  readonly signal: AbortSignal;
  hasWorker(): Promise<boolean>;
}

export function withJobs<T>(use: (session: JobSession) => Promise<T>): Promise<T> {
  return withSession(async ({ config, database, signal }) => {
    const jobs = knownJobs(config, await loadApplication(config));
    const role = database.kind === "external" && !config.databaseUrls.worker ? "owner" : "worker";
    return withClient(database, role, (client) =>
      use({
        jobs,
        client,
        signal,
        hasWorker: () => isWorkerConnected(client, roleName(config.rolePrefix, "worker")),
      }),
    );
  });
}

export const NO_WORKER =
  "No worker is connected. The run starts when one is: keep plinth work (or plinth start) running.";

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/**
 * Reads the argument of a command that takes a job's name or a run's id.
 * @throws PlinthError JOB_LEFT_OUT, JOB_UNKNOWN
 */
export function filterOf(jobs: KnownJobs, nameOrId: string | undefined): { job?: string; id?: string } {
  if (nameOrId === undefined) return {};
  return UUID.test(nameOrId) ? { id: nameOrId } : { job: jobs.find(nameOrId).name };
}
