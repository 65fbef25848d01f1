import { resolve } from "node:path";
import type { Command } from "commander";
import type { Config } from "../../config/config.ts";
import type { DemoAccount } from "../../demo/demo-data.ts";
import type { Plinth } from "../../start/plinth.ts";
import { note, print } from "../output.ts";
import { showProgress } from "../progress/progress.ts";
import { untilStopped } from "../until-stopped.ts";

export function addStart(program: Command): void {
  program
    .command("start")
    .description("run everything: the database, its migrations, the API and the jobs")
    .option("--demo", "also fill an empty external database with demo data")
    .option("--no-demo", "do not fill an empty database with demo data")
    .addHelpText(
      "after",
      `
Without PLINTH_…_URL variables it starts an embedded PostgreSQL with its data in .plinth/ (PLINTH_DATA). The first start
creates two demo accounts and prints their passwords. A local echo answers chats, or the model of PLINTH_LLM_URL.
Ctrl-C shuts down cleanly; a second Ctrl-C stops at once.

Example:
  $ plinth start
  $ PLINTH_PORT=8080 PLINTH_DATA=/var/lib/plinth plinth start --no-demo`,
    )
    .action(async ({ demo }: { demo?: boolean }) => {
      const { loadApplication } = await import("../../application/load-application.ts");
      const { loadConfig } = await import("../../config/config.ts");
      const { startPlinth } = await import("../../start/plinth.ts");
      const config = loadConfig();
      const application = await loadApplication(config);
      await untilStopped({
        start: (signal) =>
          startPlinth({
            config,
            application,
            log: note,
            onProgress: showProgress,
            signal,
            ...(demo === undefined ? {} : { demo }),
          }),
        started: (plinth) => printBanner(plinth, config),
      });
    });
}

function printBanner(plinth: Plinth, { http, dataDirectory, backups }: Config): void {
  const { url, database, demoAccounts, model } = plinth;
  // The setting may be missing in another terminal.
  const folder = dataDirectory === resolve(".plinth") ? "" : `PLINTH_DATA='${dataDirectory}' `;
  const lines = [
    "",
    "Plinth is running.",
    "",
    ...(http.graphiql ? [`  GraphiQL   ${url}/graphiql`] : []),
    ...(http.console ? [`  Console    ${url}/console (for administrators)`] : []),
    `  GraphQL    ${url}/graphql`,
    ...(http.schemaPage ? [`  Schema     ${url}/schema`] : []),
    ...(database.kind === "embedded"
      ? [`  psql       psql "$(${folder}npx plinth db url --role analyst)"`]
      : []),
    ...(database.kind === "embedded"
      ? [
          `  Backups    ${backups ? `${backups.folder} (${backups.schedule}, UTC)` : "none: set PLINTH_BACKUPS to a folder"}`,
        ]
      : []),
    ...(model
      ? [
          `  Model      ${model.provider}/${model.name} answers chats: createChat, sendChatMessage, requestAnswer (docs/models.md)`,
        ]
      : []),
    ...signIn(url, demoAccounts),
    "",
    "Press Ctrl-C to stop it.",
  ];
  print(lines.join("\n"));
}

function signIn(url: string, accounts: readonly DemoAccount[]): string[] {
  const [first] = accounts;
  if (!first) return [];
  const body = JSON.stringify({
    query: "mutation ($input: LoginInput!) { login(input: $input) { accessToken user { username } } }",
    variables: { input: { identifier: first.username, password: first.password } },
  });
  return [
    "",
    "  Demo accounts",
    ...accounts.map(({ username, password, role }) => `    ${username.padEnd(8)} ${password}  (${role})`),
    "",
    `  Sign in as ${first.username}:`,
    `    curl -s ${url}/graphql -H 'content-type: application/json' -d '${body}'`,
  ];
}
