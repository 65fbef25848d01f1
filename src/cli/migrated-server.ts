import type { Queue } from "pg-boss";
import type { Application } from "../application/application.ts";
import { DEFAULT_ROLE_PREFIX } from "../config/roles.ts";
import type { EmbeddedServer } from "../database/embedded/server.ts";
import { migrateDatabase } from "../database/migrate.ts";
import { withThrowawayServer } from "../database/throwaway-server.ts";
import { interruptible } from "./interrupt.ts";
import { showProgress } from "./progress/progress.ts";

/**
 * Runs `use` on a temporary embedded server with all migrations applied, also those of an application. Ctrl-C stops it.
 */
export function withMigratedServer<T>(
  use: (server: EmbeddedServer) => Promise<T>,
  application: Application = {},
): Promise<T> {
  const migrated = async (server: EmbeddedServer) => {
    await migrateDatabase({
      ownerUrl: server.url("owner"),
      rolePrefix: DEFAULT_ROLE_PREFIX,
      applicationMigrations: application.migrations,
      queues: await queuesFor(application),
      onProgress: showProgress,
    });
    showProgress({ step: "Reading the schema" });
    return use(server);
  };
  showProgress({ step: "Starting a temporary server" });
  return interruptible((_signal, orGiveUp) => withThrowawayServer((server) => orGiveUp(migrated(server))));
}

/** The triggers of an application may start its jobs. */
async function queuesFor(application: Application): Promise<readonly Queue[]> {
  if (!application.jobs) return [];
  const { timetableOf } = await import("../application/timetable.ts");
  const { queuesOf } = await import("../jobs/index.ts");
  return queuesOf(timetableOf(application));
}
