import type { Command } from "commander";
import type { Application } from "../../application/application.ts";
import { PlinthError } from "../../support/errors.ts";
import { note, print, printable, printJson } from "../output.ts";
import { showProgress } from "../progress/progress.ts";
import { UsageError } from "../usage-error.ts";

interface Flags {
  readonly dir: string;
  readonly seed: string;
  readonly check?: boolean;
  readonly json?: boolean;
}

export function addAccessContract(command: Command): void {
  command
    .command("contract")
    .description("test what each role may do with the application's tables, and write a report")
    .option("--dir <folder>", "where to write; created if needed", "docs")
    .option(
      "--seed <file>",
      "SQL with rows that cannot be created from the catalogue",
      "test/contract-seed.sql",
    )
    .option("--check", "write nothing, and fail if the files are not up to date")
    .option("--json", "print the changed outcomes and the warnings as JSON")
    .addHelpText(
      "after",
      `
Runs all migrations on a temporary embedded database, creates a row of each table for two users, and selects, inserts, updates
and deletes as each role and as users with each permission. Writes access-contract.md for people and
access-contract.jsonl with each outcome, so that a review shows each change of access. Warns of tables without row-level
security or policies, and of rows of other users that are open. In the seed file, :user and :neighbor are the two users.

Example:
  $ plinth access contract
  $ plinth access contract --check`,
    )
    .action(contract);
}

async function contract({ dir, seed, check, json }: Flags): Promise<void> {
  const { differences } = await import("../../access-contract/contract.ts");
  const { readWarnings } = await import("../../access-contract/application-page.ts");
  const files = await import("../../access-contract/application-files.ts");
  const text = await attempt(await applicationHere(), seed);
  const before = await files.readContractFile(dir);
  const changes = before === undefined ? [] : differences(before, text);
  const warnings = readWarnings(text);
  const stale = await files.staleFiles(dir, text);
  if (!check) await files.writeContractFiles(dir, text);
  if (json) printJson({ changes, warnings, [check ? "stale" : "changed"]: stale });
  else {
    for (const change of changes) print(change);
    for (const { table, problem } of warnings) note(`warning: ${table} ${problem}.`);
    if (stale.length === 0) print("The files are up to date.");
    else if (!check) print(`Wrote ${stale.join(" and ")} to ${printable(dir)}.`);
  }
  if (check && stale.length > 0)
    throw new PlinthError("STALE_FILES", `Access has changed: ${stale.join(" and ")} in ${printable(dir)}.`, {
      hint: "If the change is right, run `plinth access contract` and commit the files.",
    });
}

async function applicationHere(): Promise<Application & { readonly schemas: readonly string[] }> {
  const { loadApplication } = await import("../../application/load-application.ts");
  const { loadConfig } = await import("../../config/config.ts");
  const application = await loadApplication(loadConfig());
  const { schemas = [] } = application;
  if (schemas.length === 0)
    throw new UsageError("This folder has no application with schemas: add them to plinth.config.");
  return { ...application, schemas };
}

async function attempt(
  application: Application & { readonly schemas: readonly string[] },
  seedFile: string,
): Promise<string> {
  const { attemptApplication } = await import("../../access-contract/application-contract.ts");
  const { readSeed } = await import("../../access-contract/application-files.ts");
  const { DEFAULT_ROLE_PREFIX } = await import("../../config/roles.ts");
  const { withConnection } = await import("../../database/connection.ts");
  const { withMigratedServer } = await import("../migrated-server.ts");
  const options = {
    rolePrefix: DEFAULT_ROLE_PREFIX,
    schemas: application.schemas,
    seed: await readSeed(seedFile),
    onProgress: showProgress,
  };
  return withMigratedServer((server) => {
    const database = new URL(server.url("owner")).pathname.slice(1);
    return withConnection({ connectionString: server.superuserUrl(database) }, (client) =>
      attemptApplication(client, options),
    );
  }, application);
}
