import type { Command } from "commander";
import { SCHEMA_FOLDER } from "../../support/paths.ts";
import { note, print, printJson } from "../output.ts";

export function addSchema(program: Command): void {
  const command = program
    .command("schema")
    .description("the generated files in migrations/schema/: the schema as it is now")
    .addHelpText("after", "\nExample:\n  $ plinth schema dump\n  $ plinth schema check");

  command
    .command("dump")
    .description("write the files anew from the migrations")
    .option("--json", "print the names of the files that changed as JSON")
    .addHelpText(
      "after",
      `
Runs all migrations on a temporary embedded database and writes migrations/schema/<schema>.sql and schema.graphql.
Commit them with the migration, so that a review shows what it changes.

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
    .description("say whether the files are fresh; exit code 1 if not")
    .option("--json", "print the differences as JSON")
    .addHelpText(
      "after",
      `
Runs all migrations on a temporary embedded database and compares, for CI. Changes nothing.

Example:
  $ plinth schema check`,
    )
    .action(async ({ json }: { json?: boolean }) => {
      const { generateSchemaFiles } = await import("../schema-files.ts");
      const { checkSchemaFiles } = await import("../../schema-dump/schema-files.ts");
      const stale = await checkSchemaFiles(SCHEMA_FOLDER, await generateSchemaFiles());
      if (json) printJson({ fresh: stale.length === 0, stale });
      else if (stale.length === 0) print("The files are fresh.");
      else for (const { name, diff } of stale) print(`${name}\n${diff}`);
      if (stale.length > 0) {
        note(`error: ${stale.length} generated files are not what the migrations make.`);
        note("hint: Run plinth schema dump.");
        process.exitCode = 1;
      }
    });
}
