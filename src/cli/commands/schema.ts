import type { Command } from "commander";
import type { UserDataGap } from "../../database/user-data-gaps.ts";
import type { SchemaFiles } from "../../schema-dump/schema-files.ts";
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
Commit them with the migration, so that a review shows its effect. In a folder with plinth.config, the files are those of
the application's own schemas, next to its migrations; schema.graphql is the whole API.

Example:
  $ plinth schema dump`,
    )
    .action(async ({ json }: { json?: boolean }) => {
      const { writeSchemaFiles } = await import("../../schema-dump/schema-files.ts");
      const { folder, files } = await generate();
      const changed = await writeSchemaFiles(folder, files);
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
plinth.config, it also checks that no foreign key of the application blocks the deletion of an account.

Example:
  $ plinth schema check`,
    )
    .action(async ({ json }: { json?: boolean }) => {
      const { checkSchemaFiles } = await import("../../schema-dump/schema-files.ts");
      const { folder, files, gaps } = await generate();
      const stale = await checkSchemaFiles(folder, files);
      if (json) printJson({ fresh: stale.length === 0, stale, ...(gaps && { gaps }) });
      else if (stale.length === 0) print("The files are up to date.");
      else for (const { name, diff } of stale) print(`${name}\n${diff}`);
      if (stale.length > 0) {
        note(`error: ${stale.length} generated files do not match the migrations.`);
        note("hint: Run plinth schema dump.");
        process.exitCode = 1;
      }
      reportGaps(gaps ?? []);
    });
}

async function generate(): Promise<{ folder: string; files: SchemaFiles; gaps?: readonly UserDataGap[] }> {
  const { loadApplication } = await import("../../application/load-application.ts");
  const { loadConfig } = await import("../../config/config.ts");
  const { generateSchemaFiles } = await import("../schema-files.ts");
  return generateSchemaFiles(await loadApplication(loadConfig()));
}

/** Reports the foreign keys of an application's tables that block the deletion of an account, and what may be an oversight. */
function reportGaps(gaps: readonly UserDataGap[]): void {
  const isBlocking = ({ kind }: UserDataGap) => kind === "blocks";
  for (const gap of gaps)
    note(`${isBlocking(gap) ? "error" : "warning"}: ${gap.table} (${gap.kind}): ${gap.reason}`);
  if (!gaps.some(isBlocking)) return;
  note("hint: Give each of these foreign keys on delete cascade or on delete set null.");
  process.exitCode = 1;
}
