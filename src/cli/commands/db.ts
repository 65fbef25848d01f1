import { type Command, Option } from "commander";
import { loadConfig } from "../../config/config.ts";
import { ALL_LOGIN_ROLES, type AnyLoginRole } from "../../config/roles.ts";
import { parseDatabaseUrl } from "../../connection/database-url.ts";
import { print, printJson } from "../output.ts";

export function addDb(program: Command): void {
  const command = program
    .command("db")
    .description("connect other tools to the database")
    .addHelpText("after", '\nExample:\n  $ psql "$(plinth db url --role analyst)"');

  command
    .command("url")
    .description("print the connection URL of a role, for psql and BI tools")
    .addOption(
      new Option("--role <role>", "role to connect as")
        .choices(ALL_LOGIN_ROLES as readonly string[] as string[])
        .makeOptionMandatory(),
    )
    .option("--json", "print the URL and its parts as JSON")
    .addHelpText(
      "after",
      `
Prints the URL of the embedded server, which must be running, or the one in PLINTH_…_URL.
The URL contains a password: do not paste it into a ticket or a chat.
The role "analyst" can read only the analytics schema, and the compatibility schemas without personal data. The role
"application" exists once a compatibility schema is enabled.

Example:
  $ psql "$(plinth db url --role analyst)"`,
    )
    .action(async ({ role, json }: { role: AnyLoginRole; json?: boolean }) => {
      const { runningDatabase } = await import("../../database/database.ts");
      const url = (await runningDatabase(loadConfig())).url(role);
      if (json) printJson(partsOf(url, role));
      else print(url);
    });
}

function partsOf(url: string, role: AnyLoginRole): Record<string, unknown> {
  const { hosts, database, user, password } = parseDatabaseUrl(url);
  const { host, port } = hosts[0]!;
  return { role, url, host, port: Number(port || 5432), database, user, password };
}
