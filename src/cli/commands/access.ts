import type { Command } from "commander";
import type pg from "pg";
import type { CasbinFiles, FileFault } from "../../casbin/read-files.ts";
import { PlinthError } from "../../support/errors.ts";
import { note, oneLine, print, printable, printJson, write } from "../output.ts";
import { withClient, withSession } from "../session.ts";
import { UsageError } from "../usage-error.ts";
import { wholeNumber } from "../whole-number.ts";
import { addAccessContract } from "./access-contract.ts";

/** Number of faults shown on the terminal. */
const LISTED = 20;

interface FileFlags {
  readonly model?: string;
  readonly policy?: string;
  readonly name: string;
  readonly json?: boolean;
}

const MODEL = "Casbin model file (.conf)";
const POLICY = "Casbin policy file (.csv)";

export function addAccess(program: Command): void {
  const command = program
    .command("access")
    .description("manage access rules in Casbin's formats, or report the access to an application's tables")
    .addHelpText(
      "after",
      "\nExample:\n  $ plinth access import --model model.conf --policy policy.csv\n  $ plinth access history",
    );

  command
    .command("import")
    .description("store a model and its rules; they apply at once")
    .option("--model <file>", MODEL)
    .option("--policy <file>", POLICY)
    .option("--name <name>", "name of the model in the database", "default")
    .option("--append", "add the rules; otherwise they replace the model's rules")
    .option("--dry-run", "report the changes without making them")
    .option("--json", "print the result as JSON")
    .addHelpText(
      "after",
      `
The import is one transaction and one version. If a line is rejected, nothing is imported. --model may be omitted if a model of
that name is stored, and --policy to keep the rules. Importing the same files again changes nothing.

Example:
  $ plinth access import --model model.conf --policy policy.csv
  $ plinth access import --policy more.csv --append`,
    )
    .action((flags: FileFlags & { append?: boolean; dryRun?: boolean }) => importFiles(flags));

  command
    .command("check")
    .description("report each line of a model and a policy that would be rejected, and change nothing")
    .option("--model <file>", MODEL)
    .option("--policy <file>", POLICY)
    .option("--name <name>", "name of the stored model to check a policy with", "default")
    .option("--json", "print the result as JSON")
    .addHelpText(
      "after",
      `
The exit code is 1 if a line is rejected.

Example:
  $ plinth access check --model model.conf --policy policy.csv`,
    )
    .action(check);

  command
    .command("export")
    .description("write a model and its rules in Casbin's formats")
    .option("--model <file>", "file to write the model to (.conf)")
    .option("--policy <file>", "file to write the rules to (.csv); without it, to stdout")
    .option("--name <name>", "name of the model in the database", "default")
    .option("--json", "print the model and the rules as JSON")
    .addHelpText(
      "after",
      `
The model is the text that was imported. The rules are written in their order, without comments and inactive rules.

Example:
  $ plinth access export > policy.csv
  $ plinth access export --model model.conf --policy policy.csv`,
    )
    .action(exportFiles);

  command
    .command("history")
    .description("list the versions of rules and models, newest first")
    .option("--limit <n>", "number of versions", wholeNumber, 20)
    .option("--json", "print the versions as JSON")
    .addHelpText("after", "\nExample:\n  $ plinth access history --limit 5")
    .action(history);

  command
    .command("restore")
    .argument("<version>", "number of the version, as plinth access history prints it", wholeNumber)
    .description("return rules and models to their state after a version, as a new version")
    .option("--json", "print the new version as JSON")
    .addHelpText("after", "\nExample:\n  $ plinth access restore 3")
    .action(restore);

  addAccessContract(command);
}

async function importFiles(flags: FileFlags & { append?: boolean; dryRun?: boolean }): Promise<void> {
  const files = await readFiles(flags);
  const { importPolicy } = await import("../../casbin/import-policy.ts");
  const summary = await withSession(({ database }) =>
    withClient(database, "owner", (client) => importPolicy(files, { ...flags, client })),
  ).catch(explainName);
  if (flags.json) printJson({ ...summary, dryRun: flags.dryRun === true });
  if (summary.faults.length > 0)
    return report(summary.faults, (lines) => `Nothing was imported, because ${lines} rejected.`);
  if (flags.json) return;
  const { model, added, removed, version } = summary;
  const outcome = flags.dryRun ? "nothing was written" : `version ${version}`;
  if (version === null) print(`Model ${model}: unchanged`);
  else print(`Model ${model}: ${added} added, ${removed} removed; ${outcome}`);
}

function explainName(error: pg.DatabaseError): never {
  if (error.constraint !== "casbin_models_name_check") throw error;
  throw new PlinthError(
    "BAD_USER_INPUT",
    "A model's name has at most 100 letters, digits, dots, hyphens and underscores, and begins with a letter or digit.",
    { cause: error },
  );
}

async function check(flags: FileFlags): Promise<void> {
  const files = await readFiles(flags);
  const { checkPolicy } = await import("../../casbin/find-faults.ts");
  const faults = await withSession(({ database }) =>
    withClient(database, "owner", (client) => checkPolicy(files, { ...flags, client })),
  );
  if (flags.json) printJson({ faults });
  if (faults.length > 0)
    return report(faults, (lines) => `${lines[0]!.toUpperCase()}${lines.slice(1)} rejected.`);
  if (!flags.json) print("All lines are accepted.");
}

async function readFiles(flags: FileFlags): Promise<CasbinFiles> {
  if (flags.model === undefined && flags.policy === undefined)
    throw new UsageError("Name a file with --model or --policy.");
  const { readCasbinFiles } = await import("../../casbin/read-files.ts");
  return readCasbinFiles(flags);
}

function report(faults: readonly FileFault[], sentence: (lines: string) => string): void {
  for (const { file, line, column, reason } of faults.slice(0, LISTED)) {
    const place = [printable(file), line, column].filter((part) => part !== undefined).join(":");
    note(`rejected: ${place}: ${oneLine(reason)}`);
  }
  if (faults.length > LISTED) note(`… and ${faults.length - LISTED} more; --json lists up to 1,000.`);
  note(`error: ${sentence(faults.length === 1 ? "a line was" : `${faults.length} lines were`)}`);
  note("hint: docs/access.md lists the supported parts of Casbin.");
  process.exitCode = 1;
}

async function exportFiles(flags: FileFlags): Promise<void> {
  const { exportPolicy } = await import("../../casbin/export-policy.ts");
  const { writeText } = await import("../../casbin/write-text.ts");
  const exported = await withSession(({ database }) =>
    withClient(database, "owner", (client) => exportPolicy(client, flags.name)),
  );
  if (flags.model !== undefined) await writeText(flags.model, exported.definition);
  if (flags.policy !== undefined) await writeText(flags.policy, exported.policy);
  if (flags.json) printJson(exported);
  else if (flags.policy === undefined) write(exported.policy);
  else
    print(
      `${exported.rules} ${exported.rules === 1 ? "rule" : "rules"} written to ${printable(flags.policy)}`,
    );
  if (exported.inactive > 0)
    note(
      `warning: ${exported.inactive} inactive ${exported.inactive === 1 ? "rule is" : "rules are"} omitted; the format cannot hold them.`,
    );
}

async function history({ limit, json }: { limit: number; json?: boolean }): Promise<void> {
  const { readVersions } = await import("../../casbin/versions.ts");
  const versions = await withSession(({ database }) =>
    withClient(database, "owner", (client) => readVersions(client, limit)),
  );
  if (json) return printJson({ versions });
  for (const { version, at, by, reason, models, added, changed, removed } of versions) {
    const counts = `${added} added, ${changed} changed, ${removed} removed`;
    print(
      [version, at.toISOString(), by, models.join(" "), counts, reason]
        .map(String)
        .map(oneLine)
        .filter(Boolean)
        .join("  "),
    );
  }
}

async function restore(version: number, { json }: { json?: boolean }): Promise<void> {
  const { restoreVersion } = await import("../../casbin/versions.ts");
  const created = await withSession(({ database }) =>
    withClient(database, "owner", (client) => restoreVersion(client, version)),
  );
  if (json) return printJson({ restored: version, version: created });
  print(
    created === null
      ? `Version ${version} is already the current state.`
      : `Restored version ${version} as version ${created}.`,
  );
}
