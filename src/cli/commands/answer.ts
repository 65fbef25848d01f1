import type { Command } from "commander";
import { note } from "../output.ts";
import { untilStopped } from "../until-stopped.ts";

export function addAnswer(program: Command): void {
  program
    .command("answer")
    .description("run only the answerer, which writes requested answers with the models")
    .addHelpText(
      "after",
      `
Needs PLINTH_SERVICE_URL and PLINTH_MASTER_KEYS. Without any PLINTH_…_URL it uses the embedded database, shared with a
running Plinth if there is one. Several processes share the answers. Does not run migrations. Writes its log to stdout
as JSON lines. See docs/models.md.

Example:
  $ plinth answer`,
    )
    .action(async () => {
      const { loadApplication } = await import("../../application/load-application.ts");
      const { loadConfig } = await import("../../config/config.ts");
      const { openOrAttach } = await import("../open-or-attach.ts");
      const { startAnswers } = await import("../../start/answers.ts");
      const { createLogger } = await import("../../request/logger.ts");
      const config = loadConfig();
      const application = await loadApplication(config);
      const logger = createLogger(config.logLevel);
      await untilStopped({
        start: (signal) =>
          openOrAttach({ config, application, log: note, signal }, (database) =>
            startAnswers(config, database, logger, { signal }),
          ),
        started: () => note("Writing requested answers"),
      });
    });
}
