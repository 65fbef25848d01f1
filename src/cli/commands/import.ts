import { setFlagsFromString } from "node:v8";
import type { Command } from "commander";
import { formatRemark, type ImportOptions, type ImportSummary } from "../../import/import.ts";
import { addImportSystem } from "../import/system.ts";
import { addImportUsers } from "../import/users.ts";
import { note, print, printable, printJson } from "../output.ts";
import { showProgress } from "../progress/progress.ts";
import { withClient, withSession } from "../session.ts";

interface Flags {
  readonly keepGoing?: boolean;
  readonly json?: boolean;
  readonly public?: boolean;
}

const KEEP_GOING = "import the valid rows even if others are rejected (otherwise nothing is imported)";

/** Number of warnings and of rejections that are printed; --json lists up to 1,000. */
const LISTED = 20;

export function addImport(program: Command): void {
  const command = program
    .command("import")
    .description("import an existing product, or models, prompts, chats or content from files")
    .addHelpText(
      "after",
      "\nExample:\n  $ plinth import system headphone-mode --from ./app.db --dry-run\n  $ plinth import prompts ./prompts.csv\n  $ plinth import models ./llm-prices",
    );

  addImportSystem(command);
  addImportUsers(command);

  command
    .command("models")
    .argument("<dir>", "folder of *.json files, one vendor each")
    .description("import models and their price histories")
    .option("--public", "make the imported models available to all users")
    .option("--keep-going", KEEP_GOING)
    .option("--json", "print the result as JSON")
    .addHelpText(
      "after",
      `
Each file holds {"vendor", "models": [{"id", "name", "price_history": [{"input", "output", "input_cached",
"reasoning", "from_date", "to_date"}]}]}: US dollars per million tokens, dates as YYYY-MM-DD, or null for "always" and "until
further notice". A file lists all prices of its models: periods that it does not list are deleted.
Importing the same files again changes nothing.

Example:
  $ plinth import models ./llm-prices --public`,
    )
    .action(async (folder: string, flags: Flags) => {
      const { importModels } = await import("../../import/models/import-models.ts");
      await runImport(flags, (options) =>
        importModels(folder, { ...options, makePublic: flags.public === true }),
      );
    });

  command
    .command("prompts")
    .argument("<file>", "CSV file")
    .description("import prompts into the shared library")
    .option("--keep-going", KEEP_GOING)
    .option("--json", "print the result as JSON")
    .addHelpText(
      "after",
      `
The first line names the columns act,prompt,for_devs,type,contributor in any order. Fields with commas, quotes or
line breaks are quoted; a quote inside them is doubled. Importing the same file again changes nothing.

Example:
  $ plinth import prompts ./prompts.csv --keep-going`,
    )
    .action(async (file: string, flags: Flags) => {
      const { importPrompts } = await import("../../import/prompts/import-prompts.ts");
      await runImport(flags, (options) => importPrompts(file, options));
    });

  command
    .command("chats")
    .description("import a user's chats from ChatGPT, Claude, LibreChat, Open WebUI or Plinth")
    .requiredOption("--user <name>", "owner of the imported chats")
    .requiredOption(
      "--file <path>",
      "conversations.json of ChatGPT or Claude, an export of LibreChat or Open WebUI, a chat exported from Plinth, or a folder of such files",
    )
    .option("--keep-going", KEEP_GOING)
    .option("--json", "print the result as JSON")
    .addHelpText(
      "after",
      `
The format is recognised by the content of the file. Times are kept, so the list of chats has the same order as before. Edits
and alternative answers are kept, and the path shown last becomes the active one. Importing the same file again changes nothing;
a newer export adds the new messages. Each skipped text is reported as a warning.

Example:
  $ plinth import chats --user ada --file ./conversations.json
  $ plinth export chats --user ada --dir ./chats --format json
  $ plinth import chats --user ada --file ./chats`,
    )
    .action(async (flags: Flags & { user: string; file: string }) => {
      const { importChats } = await import("../../import/chats/import-chats.ts");
      await runImport(flags, (options) => importChats(flags.file, { ...options, username: flags.user }));
    });

  command
    .command("content")
    .argument("<file>", "NDJSON file: one JSON object a line")
    .description("import and publish categories, courses and lessons")
    .option("--keep-going", KEEP_GOING)
    .option("--json", "print the result as JSON")
    .addHelpText(
      "after",
      `
A line is {"kind": "category", "path", "name", …} or {"kind": "item", "slug", "category", "type", "title", "body", …};
docs/learning.md lists the keys. A line may refer only to earlier lines or to rows that are already in the database.
Importing the same file again changes nothing; a changed body becomes a new version.

Example:
  $ plinth import content ./content.ndjson`,
    )
    .action(async (file: string, flags: Flags) => {
      const { importContent } = await import("../../import/content/import-content.ts");
      await runImport(flags, (options) => importContent(file, options));
    });
}

async function runImport(
  flags: Flags,
  start: (options: ImportOptions) => Promise<ImportSummary>,
): Promise<void> {
  // Objects from a stream become garbage at once. By default, Node lets the space for new objects grow to three times 32 MB. If
  // it stays small, the largest file needs half the memory and no more time.
  setFlagsFromString("--semi-space-growth-factor=1");
  const summary = await withSession(({ database, signal }) =>
    withClient(database, "owner", (client) =>
      start({
        client,
        signal,
        keepGoing: flags.keepGoing === true,
        onProgress: showProgress,
      }),
    ),
  );
  for (const warning of summary.warnings.slice(0, LISTED))
    note(`warning: ${formatRemark(warning, printable)}`);
  if (summary.warned > LISTED)
    note(`… and ${summary.warned - LISTED} more warnings; --json lists up to 1,000.`);
  if (flags.json) printJson(summary);
  else print(describe(summary));
  if (summary.rejected === 0) return;
  for (const rejection of summary.rejections.slice(0, LISTED))
    note(`rejected: ${formatRemark(rejection, printable)}`);
  if (summary.rejected > LISTED) note(`… and ${summary.rejected - LISTED} more.`);
  note(
    summary.kept
      ? `error: ${summary.rejected} rejected; the rest were imported.`
      : `error: Nothing was imported, because ${summary.rejected} ${summary.rejected === 1 ? "row was" : "rows were"} rejected.\nhint: Correct the file, or import the valid rows with --keep-going.`,
  );
  process.exitCode = 1;
}

function describe({ inserted, updated, unchanged, rejected, kept, milliseconds }: ImportSummary): string {
  const counts = `${inserted} inserted, ${updated} updated, ${unchanged} unchanged, ${rejected} rejected`;
  return `${counts} in ${(milliseconds / 1000).toFixed(1)} s${kept ? "" : "; all rolled back"}`;
}
