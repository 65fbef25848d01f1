import { type Command, InvalidArgumentError } from "commander";
import { addSystemOptions, runSystemImport, type SystemFlags } from "./run-system-import.ts";

export function addImportUsers(command: Command): void {
  const users = command
    .command("users")
    .argument("<file>", "NDJSON or CSV file")
    .description("import accounts with their password hashes from any product")
    .option("--system <name>", "name of the product, under which the ids are stored", systemName, "file");
  addSystemOptions(users)
    .addHelpText(
      "after",
      `
Columns: id (required), username, email, display_name, avatar_url, password_hash, password_salt, hash_algorithm,
password_changed_at, status (active, disabled or deleted), email_verified_at, phone_number, phone_verified_at, roles (separated by
commas), locked_until, failed_login_attempts, last_login_at, created_at, updated_at, and the JSON objects profile_data, preferences
and metadata. Importing the same file again changes nothing. See docs/moving-in.md.

Example:
  $ plinth import users ./users.ndjson --system acme --dry-run
  $ plinth import users ./users.ndjson --system acme --report left-out.csv`,
    )
    .action(async (file: string, flags: SystemFlags & { system: string }) => {
      const { fileUsers } = await import("../../import/system/users/file-users.ts");
      const { openFolder } = await import("../../import/system/sources/folder.ts");
      await runSystemImport(
        fileUsers(flags.system),
        (onBadLine) => openFolder(file, onBadLine, "users"),
        flags,
      );
    });
}

function systemName(text: string): string {
  if (/^[a-z][a-z0-9_]{0,62}$/.test(text)) return text;
  throw new InvalidArgumentError(
    "It must be lower-case letters, digits and underscores, and begin with a letter.",
  );
}
