import type { Command } from "commander";
import { note } from "../output.ts";
import { untilStopped } from "../until-stopped.ts";

export function addServe(program: Command): void {
  program
    .command("serve")
    .description("run only the API")
    .addHelpText(
      "after",
      `
Needs PLINTH_AUTHENTICATOR_URL, PLINTH_SERVICE_URL, PLINTH_JWT_KEYS and PLINTH_MASTER_KEYS (or …_KEYS_FILE for the
keys). Without any PLINTH_…_URL it uses the embedded database: that of a running Plinth, or one that it starts. Does
not run migrations. Writes its log to stdout as JSON lines. SIGTERM makes /readyz return 503, waits for
PLINTH_SHUTDOWN_DELAY_SECONDS, and finishes the requests in progress. See docs/deployment.md.

Example:
  $ PLINTH_HOST=0.0.0.0 plinth serve`,
    )
    .action(async () => {
      const { loadApplication } = await import("../../application/load-application.ts");
      const { loadConfig } = await import("../../config/config.ts");
      const { openOrAttach } = await import("../open-or-attach.ts");
      const { createLogger } = await import("../../request/logger.ts");
      const config = loadConfig();
      const application = await loadApplication(config);
      const logger = createLogger(config.logLevel);
      await untilStopped({
        start: (signal) => {
          // The largest modules load while the database opens.
          const loading = import("../../start/api.ts");
          return openOrAttach({ config, application, log: note, signal }, async (database) => {
            const { serveApi } = await loading;
            return serveApi(config, database, logger, { application, signal });
          });
        },
        started: ({ service }) => note(`The API listens on ${service.url}/graphql`),
      });
    });
}
