import type { MigrationOutcome } from "../database/migrate.ts";
import type { Plan } from "../migration-plan/plan.ts";
import { note } from "./output.ts";
import { showProgress } from "./progress/progress.ts";
import { scratchServerFor } from "./scratch-server.ts";
import { type Session, waiting } from "./session.ts";

/** Runs the pending migrations of Plinth and of the application in this folder. */
export async function migrate(
  { config, database, signal }: Session,
  waitSeconds: number | undefined,
): Promise<MigrationOutcome> {
  const { bringUpToDate } = await import("../start/up-to-date.ts");
  const { loadApplication } = await import("../application/load-application.ts");
  const application = await loadApplication(config);
  return bringUpToDate(waiting(config, waitSeconds), database, {
    application,
    log: note,
    onProgress: showProgress,
    signal,
  });
}

/** Returns what `migrate` would do now. */
export async function planOf({ config, database }: Pick<Session, "config" | "database">): Promise<Plan> {
  const { planMigrations } = await import("../migration-plan/plan-migrations.ts");
  const { loadApplication } = await import("../application/load-application.ts");
  const { migrations } = await loadApplication(config);
  return planMigrations({
    ownerUrl: database.url("owner"),
    rolePrefix: config.rolePrefix,
    applicationMigrations: migrations,
    withScratchServer: scratchServerFor(config),
    log: note,
    onProgress: showProgress,
  });
}
