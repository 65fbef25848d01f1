import type { Command } from "commander";
import { note } from "../output.ts";
import { untilStopped } from "../until-stopped.ts";

export function addWork(program: Command): void {
  program
    .command("work")
    .description("run the jobs only")
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
      const { loadConfig } = await import("../../config/config.ts");
      const { openOrAttach } = await import("../open-or-attach.ts");
      const { TIMETABLE } = await import("../../jobs/index.ts");
      const { startJobs } = await import("../../start/plinth.ts");
      const { createLogger } = await import("../../request/logger.ts");
      const config = loadConfig();
      const logger = createLogger(config.logLevel);
      await untilStopped({
        start: () => openOrAttach(config, note, (database) => startJobs(config, database, logger)),
        started: () => note(`Working the jobs ${TIMETABLE.map(({ name }) => name).join(", ")}`),
      });
    });
}
