import type { Command } from "commander";
import type { Application } from "../../application/application.ts";
import { SCHEMA_FOLDER } from "../../support/paths.ts";
import { note, print, printJson } from "../output.ts";

export function addSchema(program: Command): void {
  const command = program
    .command("schema")
    .description("generate or check the files in migrations/schema/, which show the current schema")
    .addHelpText("after", "\nExample:\n  $ plinth schema dump\n  $ plinth schema check");

  command
    .command("dump")
    .description("regenerate the files from the migrations")
    .option("--json", "print the names of the changed files as JSON")
    .addHelpText(
      "after",
      `
Runs all migrations on a temporary embedded database and writes migrations/schema/<schema>.sql, schema.graphql
and catalogue.json, with which plinth doctor compares a live database.
Commit them with the migration, so that a review shows its effect.

Example:
  $ plinth schema dump`,
    )
    .action(async ({ json }: { json?: boolean }) => {
      const { generateSchemaFiles } = await import("../schema-files.ts");
      const { writeSchemaFiles } = await import("../../schema-dump/schema-files.ts");
      const changed = await writeSchemaFiles(SCHEMA_FOLDER, await generateSchemaFiles());
      if (json) printJson({ changed });
      else print(changed.length === 0 ? "The files were up to date." : `Wrote ${changed.join(", ")}.`);
    });

  command
    .command("check")
    .description("check that the files are up to date; exit code 1 if not")
    .option("--json", "print the differences as JSON")
    .addHelpText(
      "after",
      `
Runs all migrations on a temporary embedded database and compares the files, for CI. Changes nothing. In a folder with
plinth.config, it checks the application's tables instead: each foreign key must let accounts be deleted.

Example:
  $ plinth schema check`,
    )
    .action(async ({ json }: { json?: boolean }) => {
      const { loadApplication } = await import("../../application/load-application.ts");
      const { loadConfig } = await import("../../config/config.ts");
      const application = await loadApplication(loadConfig());
      if (application.migrations !== undefined) return checkApplication(application, json);
      const { generateSchemaFiles } = await import("../schema-files.ts");
      const { checkSchemaFiles } = await import("../../schema-dump/schema-files.ts");
      const stale = await checkSchemaFiles(SCHEMA_FOLDER, await generateSchemaFiles());
      if (json) printJson({ fresh: stale.length === 0, stale });
      else if (stale.length === 0) print("The files are up to date.");
      else for (const { name, diff } of stale) print(`${name}\n${diff}`);
      if (stale.length > 0) {
        note(`error: ${stale.length} generated files do not match the migrations.`);
        note("hint: Run plinth schema dump.");
        process.exitCode = 1;
      }
    });
}

/** Checks the tables that the application's migrations make. */
async function checkApplication(application: Application, json: boolean | undefined): Promise<void> {
  const { findUserDataGaps } = await import("../../database/user-data-gaps.ts");
  const { withConnection } = await import("../../database/connection.ts");
  const { withMigratedServer } = await import("../migrated-server.ts");
  const gaps = await withMigratedServer(
    (server) => withConnection({ connectionString: server.url("owner") }, findUserDataGaps),
    application,
  );
  const blocking = gaps.filter(({ kind }) => kind === "blocks");
  if (json) printJson({ gaps });
  else {
    for (const { kind, table, reason } of gaps)
      note(`${kind === "blocks" ? "error" : "warning"}: ${table} (${kind}): ${reason}`);
    if (blocking.length === 0) print("No foreign key blocks the deletion of an account.");
  }
  if (blocking.length === 0) return;
  note("hint: Give each of these foreign keys on delete cascade or on delete set null.");
  process.exitCode = 1;
}
