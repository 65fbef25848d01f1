import type { Command } from "commander";
import type pg from "pg";
import type { Application } from "../../application/application.ts";
import type { SchemaModel } from "../../schema-docs/model.ts";
import { PlinthError } from "../../support/errors.ts";
import { note, print, printable, printJson } from "../output.ts";
import { withClient, withSession } from "../session.ts";

interface Flags {
  readonly dir: string;
  readonly live?: boolean;
  readonly check?: boolean;
  readonly json?: boolean;
}

export function addDocs(program: Command): void {
  program
    .command("docs")
    .description(
      "draw the schema: DBML for dbdiagram.io, Mermaid, and a picture of each domain and of the whole",
    )
    .option("--dir <folder>", "where to write; created if needed", "docs/schema")
    .option("--live", "read the configured database instead of running the migrations on a temporary one")
    .option("--check", "write nothing, and fail if the files are not up to date")
    .option("--json", "print the names of the changed or stale files as JSON")
    .addHelpText(
      "after",
      `
Everything comes from the catalogue: tables, columns, foreign keys and comments. Files of the same kinds in the folder
that are no longer generated are deleted. In a folder with plinth.config, it draws the application's schemas.

Example:
  $ plinth docs
  $ plinth docs --dir ./schema-docs --live`,
    )
    .action(writeDocs);
}

async function writeDocs({ dir, live, check, json }: Flags): Promise<void> {
  const { schemaDocs } = await import("../../schema-docs/files.ts");
  const { checkSchemaFiles, writeSchemaFiles } = await import("../../schema-dump/schema-files.ts");
  const application = await applicationHere();
  const files = await schemaDocs(
    await (live ? modelOfDatabase(application) : modelOfMigrations(application)),
  );
  if (!check) {
    const changed = await writeSchemaFiles(dir, files);
    if (json) printJson({ changed });
    else
      print(
        changed.length === 0
          ? "The files were up to date."
          : `Wrote ${changed.length} files to ${printable(dir)}.`,
      );
    return;
  }
  const stale = (await checkSchemaFiles(dir, files)).map(({ name }) => name);
  if (json) printJson({ stale });
  else if (stale.length === 0) print("The files are up to date.");
  if (stale.length === 0) return;
  for (const name of stale) note(`stale: ${name}`);
  throw new PlinthError("STALE_FILES", `${stale.length} files in ${printable(dir)} are not up to date.`, {
    hint: "Run `plinth docs` and commit the files.",
  });
}

async function applicationHere(): Promise<Application> {
  const { loadApplication } = await import("../../application/load-application.ts");
  const { loadConfig } = await import("../../config/config.ts");
  return loadApplication(loadConfig());
}

async function modelOfDatabase(application: Application): Promise<SchemaModel> {
  const read = await readerFor(application);
  return withSession(({ database }) => withClient(database, "owner", read));
}

async function modelOfMigrations(application: Application): Promise<SchemaModel> {
  const { withMigratedServer } = await import("../migrated-server.ts");
  const { withConnection } = await import("../../database/connection.ts");
  const read = await readerFor(application);
  return withMigratedServer(
    (server) => withConnection({ connectionString: server.url("owner") }, read),
    application,
  );
}

/** An application draws its own schemas; Plinth's are in Plinth's documentation. */
async function readerFor({
  schemas = [],
}: Application): Promise<(client: pg.ClientBase) => Promise<SchemaModel>> {
  const { readApplicationModel, readSchemaModel } = await import("../../schema-docs/model.ts");
  return schemas.length === 0 ? readSchemaModel : (client) => readApplicationModel(client, schemas);
}
