import type { Command } from "commander";
import { note } from "../output.ts";
import { untilStopped } from "../until-stopped.ts";

export function addWork(program: Command): void {
  program
    .command("work")
    .description("run only the jobs")
    .addHelpText(
      "after",
      `
Needs PLINTH_WORKER_URL. To send mail, also needs PLINTH_SMTP_URL, and PLINTH_MASTER_KEYS for mail with links and codes.
To make vectors of memories, also needs PLINTH_EMBEDDINGS_URL, PLINTH_EMBEDDINGS_MODEL and PLINTH_MASTER_KEYS.
Without any PLINTH_…_URL it uses the embedded database, shared with a running Plinth if there is one. Several workers
share the jobs. Does not run migrations. Writes its log to stdout as JSON lines.

Example:
  $ plinth work`,
    )
    .action(async () => {
      const { loadApplication } = await import("../../application/load-application.ts");
      const { timetableOf } = await import("../../application/timetable.ts");
      const { loadConfig } = await import("../../config/config.ts");
      const { openOrAttach } = await import("../open-or-attach.ts");
      const { startJobs } = await import("../../start/jobs.ts");
      const { createLogger } = await import("../../request/logger.ts");
      const config = loadConfig();
      const application = await loadApplication(config);
      const logger = createLogger(config.logLevel);
      await untilStopped({
        start: (signal) =>
          openOrAttach({ config, application, log: note, signal }, (database) =>
            startJobs(config, database, logger, { application, signal }),
          ),
        started: () =>
          note(
            `Running the jobs ${timetableOf(application)
              .map(({ name }) => name)
              .join(", ")}`,
          ),
      });
    });
}
