import type { Command } from "commander";
import type { UserDataGap } from "../../database/user-data-gaps.ts";
import type { StaleFile } from "../../schema-dump/schema-files.ts";
import { note, print, printable, printJson } from "../output.ts";
import type { GeneratedFiles } from "../schema-files.ts";

export function addSchema(program: Command): void {
  const command = program
    .command("schema")
    .description("generate or check the files that show the current schema, and the types of clients")
    .addHelpText("after", "\nExample:\n  $ plinth schema dump\n  $ plinth schema types --out src/schema.ts");

  command
    .command("dump")
    .description("regenerate the files from the migrations")
    .option("--json", "print the names of the changed files as JSON")
    .addHelpText(
      "after",
      `
Runs all migrations on a temporary embedded database and writes migrations/schema/<schema>.sql, schema.graphql
and catalogue.json, with which plinth doctor compares a live database, and the types of plinth/client.
Commit them with the migration, so that a review shows its effect. In a folder with plinth.config, the files are those of
the application's own schemas, next to its migrations; schema.graphql is the whole API.

Example:
  $ plinth schema dump`,
    )
    .action(async ({ json }: { json?: boolean }) => {
      const { writeSchemaFiles } = await import("../../schema-dump/schema-files.ts");
      const changed: string[] = [];
      for (const [folder, files] of (await generate()).folders)
        changed.push(...(await writeSchemaFiles(folder, files)));
      if (json) printJson({ changed });
      else print(changed.length === 0 ? "The files were up to date." : `Wrote ${changed.join(", ")}.`);
    });

  command
    .command("check")
    .description("check that the files are up to date, or with --live the database; exit code 1 if not")
    .option(
      "--live",
      "compare the configured database with its migrations, and print the SQL that corrects it",
    )
    .option("--json", "print the differences as JSON")
    .addHelpText(
      "after",
      `
Runs all migrations on a temporary embedded database and compares the files, for CI. Changes nothing. In a folder with
plinth.config, it also checks that no foreign key of the application blocks the deletion of an account.

With --live, it reads the catalogue of the configured database as any of its roles, and changes nothing either. Review
the SQL, then run it as the owner. Statements that lose rows, and those for an administrator, are comments.

Example:
  $ plinth schema check
  $ plinth schema check --live > mend.sql
  $ psql -1 -v ON_ERROR_STOP=1 -f mend.sql "$PLINTH_OWNER_URL"`,
    )
    .action(async ({ json, live }: { json?: boolean; live?: boolean }) => {
      if (live) {
        const { checkLiveDatabase } = await import("../check-live-database.ts");
        await checkLiveDatabase({ json: json ?? false });
        return;
      }
      const { checkSchemaFiles } = await import("../../schema-dump/schema-files.ts");
      const { folders, gaps } = await generate();
      const stale: StaleFile[] = [];
      for (const [folder, files] of folders) stale.push(...(await checkSchemaFiles(folder, files)));
      if (json) printJson({ fresh: stale.length === 0, stale, ...(gaps && { gaps }) });
      else if (stale.length === 0) print("The files are up to date.");
      else for (const { name, diff } of stale) print(`${name}\n${diff}`);
      for (const { kind, table, reason } of gaps ?? [])
        note(`${kind === "blocks" ? "error" : "warning"}: ${table} (${kind}): ${reason}`);
      if (stale.length > 0) {
        note(`error: ${stale.length} generated files do not match the migrations.`);
        note("hint: Run plinth schema dump.");
        process.exitCode = 1;
      }
      reportGaps(gaps ?? []);
    });

  command
    .command("types")
    .description("write the types of the API for a TypeScript client")
    .requiredOption("--out <file>", "the file to write, such as src/schema.ts")
    .addHelpText(
      "after",
      `
Reads the schema of the configured database, with the tables of your application. Pass the file's type to graphqlOf
of plinth/client/graphql: documents that graphql(…) makes then have the types of their results and variables.
Plinth's own types are in the package already.

Example:
  $ plinth schema types --out src/schema.ts`,
    )
    .action(writeTypes);
}

async function writeTypes({ out }: { out: string }): Promise<void> {
  const { writeFile } = await import("node:fs/promises");
  const { loadApplication } = await import("../../application/load-application.ts");
  const { readSchema } = await import("../../graphql/read-schema.ts");
  const { clientTypes } = await import("../../schema-dump/client-types.ts");
  const { writeError } = await import("../../export/write-error.ts");
  const { withSession } = await import("../session.ts");
  const schema = await withSession(async ({ config, database }) =>
    readSchema(config, database.url("authenticator"), await loadApplication(config)),
  );
  await writeFile(out, clientTypes(schema)).catch((error: unknown) => {
    throw writeError(out, error);
  });
  print(`Wrote ${printable(out)}.`);
}

async function generate(): Promise<GeneratedFiles> {
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
