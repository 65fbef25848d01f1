import { Argument, type Command } from "commander";
import { SYSTEMS } from "../../import/system/systems.ts";
import { addSystemOptions, openNamedSource, runSystemImport, type SystemFlags } from "./run-system-import.ts";

export function addImportSystem(command: Command): void {
  const system = command
    .command("system")
    .addArgument(new Argument("<system>", "the product to import").choices(Object.keys(SYSTEMS)))
    .description("import the users, passwords and data of an existing product")
    .option("--from <source>", "PostgreSQL URL, SQLite file, or folder of <table>.ndjson and <table>.csv")
    .option("--from-env <name>", "environment variable with the source (default: PLINTH_IMPORT_URL)")
    .option(
      "--email-hash <function>",
      "for a product that stores only hashes of addresses: sha256, sha512, sha1 or md5 of the lower-case address, after PLINTH_IMPORT_EMAIL_SALT",
    );
  addSystemOptions(system)
    .addHelpText(
      "after",
      `
The source is only read. Rows are imported in transactions of 500, and read back and compared at the end. An import that was
stopped continues when it is run again, and a finished one changes nothing. See docs/moving-in.md.

A URL with a password is never an argument, because arguments appear in the shell's history and in the list of processes: use
PLINTH_IMPORT_URL, or PGPASSWORD for the password alone.

Example:
  $ plinth import system headphone-mode --from ./app.db --dry-run --report left-out.csv
  $ plinth import system headphone-mode --from ./app.db`,
    )
    .action(async (name: string, flags: SystemFlags & { from?: string; fromEnv?: string }) => {
      const mapping = await SYSTEMS[name]!();
      await runSystemImport(mapping, (onBadLine) => openNamedSource(flags, onBadLine), flags);
    });
}
