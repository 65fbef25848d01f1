import type { Command } from "commander";
import type { SystemChange } from "../../database/compat/change.ts";
import type { CompatOptions } from "../../database/compat/options.ts";
import { note, print, printJson, write } from "../output.ts";
import { showProgress } from "../progress/progress.ts";
import { type Session, withClient, withSession } from "../session.ts";

interface Flags {
  readonly json?: boolean;
}

interface EnableFlags extends Flags {
  readonly plan?: boolean;
  readonly printRoles?: boolean;
}

/** The key of the hashes is not in the database. */
const CLEAR_TEXT =
  "Privacy mode is on, but accounts that are created through a view keep their name and address in clear text: hash them with plinth keys hash-emails and plinth keys hash-names.";

export function addCompat(program: Command): void {
  const command = program
    .command("compat")
    .description("keep the queries of a product that moved in running on Plinth's tables")
    .addHelpText("after", "\nExample:\n  $ plinth compat enable headphone-mode");
  addEnable(command);
  addDisable(command);
  addList(command);
}

function addEnable(command: Command): void {
  command
    .command("enable")
    .description("create the schemas of products, or bring them up to date")
    .argument(
      "[systems...]",
      "ai-training, cedrina, headphone-mode, rovertchat or socializer (default: those that are enabled)",
    )
    .option("--plan", "print what would be created, and change nothing")
    .option("--print-roles", "print the SQL that creates the roles, for an administrator, and change nothing")
    .option("--json", "print the result as JSON")
    .addHelpText(
      "after",
      `
Each product gets a schema with its own tables and columns as views, and its application the login plinth_application. Where the
product's ids are numbers, existing and new rows get one. Import the data first, and run the command again after each upgrade of
Plinth. It needs the owner's URL. --plan does everything in a transaction and rolls it back, so it holds the same locks. See
docs/compatibility.md.

Example:
  $ plinth compat enable headphone-mode --plan
  $ plinth compat enable headphone-mode
  $ plinth compat enable
  $ plinth compat enable --print-roles > roles.sql`,
    )
    .action(async (names: string[], { plan: isPlan, printRoles, json }: EnableFlags) => {
      if (printRoles) return writeRoles();
      const { enableCompat, listCompat } = await import("../../database/compat/compat.ts");
      const { findSystem } = await import("../../database/compat/systems.ts");
      const chosen = [...new Set(names.map(findSystem))];
      const changes = await withSession(async (session) => {
        const systems =
          chosen.length > 0
            ? chosen
            : (await withClient(session.database, "owner", listCompat))
                .filter(({ isEnabled }) => isEnabled)
                .map(({ system }) => system);
        if (systems.length === 0) return [];
        if (session.config.auth.privacyMode) note(CLEAR_TEXT);
        return enableCompat(systems, { ...(await optionsOf(session)), isPlan });
      });
      if (json) return printJson({ isPlan: isPlan ?? false, systems: changes });
      if (changes.length === 0) print("No compatibility schema is enabled.");
      for (const change of changes) printChange(change, isPlan ?? false);
    });
}

function addDisable(command: Command): void {
  command
    .command("disable")
    .description("drop the schemas of products")
    .argument("<systems...>", "ai-training, cedrina, headphone-mode, rovertchat or socializer")
    .option("--json", "print the result as JSON")
    .addHelpText(
      "after",
      `
No data is deleted: rows stay in Plinth's tables, and their numbers in plinth.external_ids, so that enabling the system again
gives the same numbers. The command needs the owner's URL.

Example:
  $ plinth compat disable headphone-mode`,
    )
    .action(async (names: string[], { json }: Flags) => {
      const { disableCompat } = await import("../../database/compat/compat.ts");
      const { compatSchema, findSystem } = await import("../../database/compat/systems.ts");
      const systems = [...new Set(names.map(findSystem))];
      const disabled = await withSession(async (session) => disableCompat(systems, await optionsOf(session)));
      if (json) return printJson({ disabled });
      for (const system of systems)
        print(
          disabled.includes(system)
            ? `Dropped ${compatSchema(system)}.`
            : `${compatSchema(system)} was not enabled.`,
        );
    });
}

function addList(command: Command): void {
  command
    .command("list")
    .description("list the products and whether their schemas are enabled")
    .option("--json", "print the list as JSON")
    .addHelpText("after", "\nExample:\n  $ plinth compat list")
    .action(async ({ json }: Flags) => {
      const { listCompat } = await import("../../database/compat/compat.ts");
      const systems = await withSession(({ database }) => withClient(database, "owner", listCompat));
      if (json) return printJson({ systems });
      for (const { schema, isEnabled, views } of systems)
        print(`${isEnabled ? "enabled " : "disabled"}  ${schema}${isEnabled ? `  ${views} views` : ""}`);
    });
}

function printChange({ schema, views, numberedTables, numberedRows }: SystemChange, isPlan: boolean): void {
  print(`${isPlan ? "Would create" : "Created"} ${schema} with ${views.length} views: ${views.join(", ")}.`);
  if (numberedTables.length > 0)
    print(
      `  ${isPlan ? "Would number" : "Numbered"} ${numberedRows} rows; new rows get numbers in ${numberedTables.join(", ")}.`,
    );
}

/** Needs no database. */
async function writeRoles(): Promise<void> {
  const { loadConfig } = await import("../../config/config.ts");
  const { roleName } = await import("../../config/roles.ts");
  const { compatRolesSql } = await import("../../database/compat/compat-roles-sql.ts");
  const { parseDatabaseUrl } = await import("../../connection/database-url.ts");
  const { rolePrefix: prefix, databaseUrls } = loadConfig();
  const owner = databaseUrls.owner === undefined ? undefined : parseDatabaseUrl(databaseUrls.owner).user;
  write(compatRolesSql({ prefix, owner: owner || roleName(prefix, "owner") }));
}

/** The embedded server's roles are created by its superuser, with the generated password. */
async function optionsOf({ config, database, signal }: Session): Promise<CompatOptions> {
  const { roleName } = await import("../../config/roles.ts");
  const { parseDatabaseUrl } = await import("../../connection/database-url.ts");
  const url = database.kind === "embedded" ? database.url("application") : config.databaseUrls.application;
  const { user, password } = url ? parseDatabaseUrl(url) : {};
  return {
    ownerUrl: database.url("owner"),
    rolePrefix: config.rolePrefix,
    patience: config.migrations,
    applicationPassword: user === roleName(config.rolePrefix, "application") ? password : undefined,
    adminUrl: database.adminUrl,
    log: note,
    onProgress: showProgress,
    signal,
  };
}
